//! The files of a directory.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use lsm::types::MAX_VALUE_LEN;

use crate::failure::Failure;

/// Directories that hold nothing of interest and much of it.
const LEFT_OUT: [&str; 2] = [".git", "target"];

/// Files below a directory, with their paths from there as keys.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<(Vec<u8>, PathBuf)>,
    pub(super) skipped: Skipped,
}

/// What was not stored, and why.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped {
    /// Files and directories that cannot be read.
    pub(super) unreadable: u64,
    /// Files that no value can hold.
    pub(super) too_large: u64,
    /// Symbolic links, sockets and the like.
    pub(super) special: u64,
}

/// All files below `root`, in no particular order. Links are not followed; `database` is left out.
pub(super) fn find(root: &Path, database: &Path) -> Result<Found, Failure> {
    // Canonical, so that the database is known by whatever path it was named.
    let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut found = Found::default();
    let mut folders = vec![root.to_owned()];
    fs::read_dir(root).map_err(|source| Failure::File { what: "read", path: root.to_owned(), source })?;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            found.skipped.unreadable += 1;
            continue;
        };
        for entry in entries {
            let Ok((entry, kind)) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))
            else {
                found.skipped.unreadable += 1;
                continue;
            };
            let path = entry.path();
            if kind.is_dir() {
                let is_left_out = LEFT_OUT.iter().any(|name| entry.file_name() == *name);
                if !is_left_out && fs::canonicalize(&path).ok().as_ref() != Some(&database) {
                    folders.push(path);
                }
            } else if kind.is_file() {
                found.files.push((key_of(root, &path), path));
            } else {
                found.skipped.special += 1;
            }
        }
    }
    Ok(found)
}

/// The path from `root` on, with `/` between its parts.
fn key_of(root: &Path, path: &Path) -> Vec<u8> {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts = below.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join(&b'/')
}

impl Skipped {
    /// The content of a file; `None`, and a count, when it cannot be stored.
    pub(super) fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        let is_too_large = fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_VALUE_LEN as u64);
        match if is_too_large { Ok(None) } else { fs::read(path).map(Some) } {
            Ok(Some(content)) if content.len() <= MAX_VALUE_LEN => Some(content),
            Ok(_) => {
                self.too_large += 1;
                None
            }
            Err(_) => {
                self.unreadable += 1;
                None
            }
        }
    }
}
