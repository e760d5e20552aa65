//! One writer per directory.

use std::{path::Path, sync::Arc};

use lsm_fs::{Fs, FsFile, LockMode, OpenOptions};
use lsm_journal::FileName;
use lsm_types::Result;

use crate::EngineError;

/// The exclusive lock on a directory, held until it drops.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: Arc<dyn FsFile>,
}

impl DirectoryLock {
    /// Takes the lock or fails at once with `Locked`.
    pub(crate) fn acquire(fs: &dyn Fs, root: &Path) -> Result<Self> {
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
        Ok(Self { _file: file })
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
