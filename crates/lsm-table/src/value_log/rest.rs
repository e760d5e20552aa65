//! What is left of a value log whose front was given back, told from the file alone: for recoveries that have no manifest
//! to tell it.

use std::{path::Path, sync::Arc};

use lsm_block::{Encryption, LocatorHints, Superblock};
use lsm_fs::{Fs, FsFile, OpenOptions};
use lsm_types::{ReadAt as _, Result, ValueHandle};
use lsm_vlog::Vlog;

use crate::front::FS_BLOCK;

/// Bytes that are looked at with one read: blocks of the file system.
const STRETCH: u64 = 16 * FS_BLOCK;

/// A value log that is read without anything being known of it but how it is sealed.
pub struct RestOfVlog {
    log: Vlog<Arc<dyn FsFile>>,
    empty_to: u64,
}

impl RestOfVlog {
    /// Opens the file at `path`: its metadata, which is never given back, and as much of the front as is empty.
    ///
    /// # Errors
    /// As for [`crate::read_vlog`].
    pub fn open(fs: &dyn Fs, path: &Path, encryption: Option<&Encryption>) -> Result<Self> {
        let file = fs.open(path, &OpenOptions::READ)?;
        let log = Vlog::open(file, LocatorHints::default(), encryption.cloned())?;
        let empty_to = empty_to(log.file().as_ref(), log.meta().file_len())?;
        Ok(Self { log, empty_to })
    }

    /// Whether bytes in front may have been given back: they are empty as far as whole blocks of the file system go.
    pub fn is_front_empty(&self) -> bool {
        self.empty_to > 0
    }

    /// Whether the value behind `handle`, which an entry of `key` holds, was given back: it lies, in part, where the file is
    /// empty, and cannot be read.
    pub fn is_gone(&self, handle: &ValueHandle, key: &[u8]) -> bool {
        handle.offset < self.empty_to && self.log.get(handle, key).is_err()
    }
}

/// Where the blocks of the file system behind the head end that hold nothing; 0 when the first holds something.
fn empty_to(file: &dyn FsFile, len: u64) -> Result<u64> {
    let start = (Superblock::LEN as u64).next_multiple_of(FS_BLOCK);
    let mut bytes = vec![0; usize::try_from(STRETCH).unwrap_or(usize::MAX)];
    let mut at = start;
    while at.saturating_add(FS_BLOCK) <= len {
        let whole = (len - at) / FS_BLOCK * FS_BLOCK;
        bytes.truncate(usize::try_from(whole).unwrap_or(usize::MAX));
        file.read_exact_at(at, &mut bytes)?;
        if let Some(used) = bytes.iter().position(|byte| *byte != 0) {
            at += used as u64 / FS_BLOCK * FS_BLOCK;
            break;
        }
        at += bytes.len() as u64;
    }
    Ok(if at > start { at } else { 0 })
}
