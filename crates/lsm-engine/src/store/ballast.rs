//! A file of no use but its length: it is given up when the disk is full, so that one more flush, or the edit that lets
//! tables go, has room (D-124).
//!
//! It comes back when there is room for it twice over. That it is missing is never an error; what is in it is never read.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_fs::{AllocateMode, Fs, OpenOptions, SyncLevel};
use lsm_journal::FileName;
use lsm_types::IoError;
use parking_lot::Mutex;

use super::StoreInner;

/// Bytes written at a time where a file system cannot allocate.
const CHUNK: usize = 1 << 20;

/// Keeps the file.
pub(crate) struct Ballast {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    root: PathBuf,
    sync: SyncLevel,
    /// Bytes it should have.
    wanted: AtomicU64,
    /// Bytes it has.
    held: Mutex<u64>,
}

impl Ballast {
    /// Finds out what is there. Changes nothing.
    pub(super) fn new(fs: Arc<dyn Fs>, root: PathBuf, sync: SyncLevel, wanted: u64) -> Self {
        let path = FileName::Ballast.path(&root);
        let held = fs.metadata(&path).map_or(0, |metadata| metadata.len);
        Self { fs, path, root, sync, wanted: wanted.into(), held: held.into() }
    }

    /// Bytes held back.
    pub(super) fn held_bytes(&self) -> u64 {
        *self.held.lock()
    }

    /// Changes how long it should be; [`Ballast::settle`] makes it so.
    pub(super) fn set(&self, wanted: u64) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Gives it up; whether there was any.
    pub(crate) fn release(&self) -> bool {
        let mut held = self.held.lock();
        if *held == 0 {
            return false;
        }
        let is_gone = self.fs.remove_file(&self.path).is_ok();
        if is_gone {
            let _ = self.fs.sync_dir(&self.root, self.sync);
            tracing::warn!(bytes = *held, "the disk is full; the ballast was given up");
            *held = 0;
        }
        is_gone
    }

    /// Makes the file what it should be, if there is room for it twice over. Cheap when nothing is to do.
    pub(crate) fn settle(&self) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        let mut held = self.held.lock();
        if *held == wanted {
            return;
        }
        if *held > 0 && self.fs.remove_file(&self.path).is_ok() {
            *held = 0;
        }
        if wanted == 0 || *held > 0 {
            return;
        }
        let free = self.fs.available_space(&self.root).ok().flatten();
        if free.is_some_and(|free| free / 2 < wanted) {
            return;
        }
        match self.make(wanted) {
            Ok(()) => *held = wanted,
            Err(error) => {
                tracing::debug!(%error, "no ballast could be laid down");
                let _ = self.fs.remove_file(&self.path);
            }
        }
    }

    fn make(&self, bytes: u64) -> Result<(), IoError> {
        let file = self.fs.open(&self.path, &OpenOptions::REPLACE)?;
        if file.allocate(0, bytes, AllocateMode::ExtendLen).is_err() {
            let zeros = vec![0; CHUNK];
            let mut left = bytes;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                file.append(zeros.get(..part).unwrap_or(&zeros)).map_err(|error| error.source)?;
                left -= part as u64;
            }
        }
        file.sync(SyncLevel::Full)?;
        self.fs.sync_dir(&self.root, self.sync)
    }
}

impl StoreInner {
    /// Gives the ballast up; whether there was any.
    pub(crate) fn release_ballast(&self) -> bool {
        self.ballast.release()
    }

    /// Lays it down again, if there is room.
    pub(crate) fn settle_ballast(&self) {
        self.ballast.settle();
    }
}
