//! What every file system backend has to do, as one suite.
//!
//! A backend is usable for a store if [`check`] returns. A failed check panics with the operation that went wrong.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "the suite is a test: its way of reporting is to panic"
)]

mod locks;
mod names;
mod positions;
mod space;

use std::path::Path;
use std::sync::Arc;

use lsm_fs::{Fs, FsFile, OpenOptions};
use lsm_types::{IoError, IoKind};

/// Runs the whole suite below `root`, an empty directory of `fs`, and leaves it empty again.
pub fn check(fs: &Arc<dyn Fs>, root: &Path) {
    assert!(fs.read_dir(root).unwrap().is_empty(), "the suite wants an empty directory");
    names::check(&**fs, root);
    positions::check(&**fs, root);
    space::check(&**fs, root);
    locks::check(&**fs, root);
    assert!(fs.read_dir(root).unwrap().is_empty(), "every check removes what it made");
}

/// Runs one check in a directory of its own.
fn within(fs: &dyn Fs, root: &Path, check: impl FnOnce(&dyn Fs, &Path)) {
    let dir = root.join("check");
    fs.create_dir(&dir).unwrap();
    check(fs, &dir);
    fs.remove_dir_all(&dir).unwrap();
    assert!(!fs.exists(&dir).unwrap(), "a removed directory is gone");
}

fn create(fs: &dyn Fs, path: &Path) -> Arc<dyn FsFile> {
    fs.open(path, &OpenOptions::CREATE_NEW).unwrap()
}

/// A new file with these contents.
fn create_with(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Arc<dyn FsFile> {
    let file = create(fs, path);
    assert_eq!(file.append(bytes), Ok(0));
    file
}

fn contents(file: &dyn FsFile) -> Vec<u8> {
    let mut bytes = vec![0xEE; usize::try_from(file.len().unwrap()).unwrap()];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn contents_at(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    contents(&*fs.open(path, &OpenOptions::READ).unwrap())
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, impl Into<IoError>>, expected: IoKind) {
    assert_eq!(result.map_err(|error| error.into().kind).unwrap_err(), expected);
}
