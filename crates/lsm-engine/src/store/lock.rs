//! One writer per directory.
//!
//! The lock of the operating system keeps other processes out. Within a process a list of open directories does: some
//! systems give a lock to a process as a whole, and a directory may be reached by several paths.

use std::{collections::HashSet, path::Path, sync::Arc};

use lsm_fs::{Fs, FsFile, InodeId, LockMode, NamespaceId, OpenOptions};
use lsm_journal::FileName;
use lsm_types::Result;
use parking_lot::Mutex;

use crate::EngineError;

/// Directories that this process has open. Its users are all over the process, so it can only be one of the process.
static OPEN: Mutex<Option<HashSet<Directory>>> = Mutex::new(None);

/// A directory, whatever path leads to it.
type Directory = (NamespaceId, InodeId);

/// The exclusive lock on a directory, held until it drops.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// Released first: who finds the directory free in the list has to find it free in the system.
    _file: Arc<dyn FsFile>,
    _entry: Option<Entry>,
}

impl DirectoryLock {
    /// Takes the lock or fails at once with `Locked`.
    pub(crate) fn acquire(fs: &dyn Fs, root: &Path) -> Result<Self> {
        let entry = Entry::add(fs, root)?;
        let file = fs.open(&FileName::Lock.path(root), &OpenOptions::CREATE)?;
        if !file.try_lock(LockMode::Exclusive)? {
            return Err(EngineError::Locked { holder: holder(file.as_ref()) }.into());
        }
        // For whoever finds the lock taken. Nothing depends on it, so a failure to write it does not matter. A file
        // of this name that says something else is not ours to write to.
        let mut found = [0_u8; 4];
        let len = file.read_at(0, &mut found).unwrap_or(0);
        if (len == 0 || found == *b"pid ") && file.set_len(0).is_ok() {
            let note = format!("pid {}\n", std::process::id());
            let _ = file.write_at(0, note.as_bytes());
        }
        Ok(Self { _file: file, _entry: entry })
    }
}

/// A directory's place in the list of this process.
#[derive(Debug)]
struct Entry(Directory);

impl Entry {
    /// `None` where the backend cannot tell one directory from another.
    fn add(fs: &dyn Fs, root: &Path) -> Result<Option<Self>> {
        let Some(directory) = fs.namespace_id().zip(fs.metadata(root)?.inode) else { return Ok(None) };
        if !OPEN.lock().get_or_insert_with(HashSet::new).insert(directory) {
            return Err(EngineError::Locked { holder: " by this process".to_owned() }.into());
        }
        Ok(Some(Self(directory)))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(open) = OPEN.lock().as_mut() {
            open.remove(&self.0);
        }
    }
}

/// What the holder wrote about itself, made fit for a message.
fn holder(file: &dyn FsFile) -> String {
    let mut bytes = [0_u8; 32];
    let len = file.read_at(0, &mut bytes).unwrap_or(0);
    let text = bytes.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let text = text.trim();
    let printable = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    if printable { format!(" by {text}") } else { String::new() }
}
