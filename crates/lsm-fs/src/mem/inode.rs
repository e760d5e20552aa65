//! A file as such, apart from its names and handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_types::{IoError, IoKind, IoOp};
use parking_lot::{Mutex, RwLock};

use super::pages::Pages;
use super::space::Space;
use crate::{AllocateMode, EntryKind, InodeId, LockMode, Metadata, WriteError, check_range};

/// A file. It lives while a name or a handle holds it, and occupies its space as long.
pub(super) struct Inode {
    number: u64,
    names: AtomicU64,
    pages: RwLock<Pages>,
    /// Handles that hold a lock, by their number.
    locks: Mutex<Vec<(u64, LockMode)>>,
    space: Arc<Space>,
}

impl Inode {
    pub(super) fn new(number: u64, space: Arc<Space>) -> Self {
        let (pages, locks) = (RwLock::default(), Mutex::default());
        Self { number, names: AtomicU64::new(0), pages, locks, space }
    }

    pub(super) fn add_name(&self) {
        self.names.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_name(&self) {
        self.names.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn metadata(&self) -> Metadata {
        Metadata {
            len: self.len(),
            kind: EntryKind::File,
            nlink: Some(self.names.load(Ordering::Relaxed)),
            inode: Some(InodeId { device: 0, number: self.number }),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.pages.read().len()
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        self.pages.read().read(offset, out)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_locked(&mut self.pages.write(), offset, bytes)
    }

    pub(super) fn append(&self, bytes: &[u8]) -> Result<u64, WriteError> {
        let mut pages = self.pages.write();
        let offset = pages.len();
        self.write_locked(&mut pages, offset, bytes)?;
        Ok(offset)
    }

    fn write_locked(&self, pages: &mut Pages, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        check_range(IoOp::Write, offset, bytes.len() as u64)?;
        let written = pages.write(offset, bytes, || self.space.take(1));
        if written == bytes.len() {
            return Ok(());
        }
        Err(WriteError { written, source: IoError::new(IoOp::Write, IoKind::NoSpace) })
    }

    pub(super) fn set_len(&self, len: u64) {
        let dropped = self.pages.write().set_len(len);
        self.space.give_back(dropped);
    }

    pub(super) fn allocate(&self, offset: u64, end: u64, mode: AllocateMode) -> Result<(), IoError> {
        let mut pages = self.pages.write();
        if !self.space.take(pages.missing(offset, end)) {
            return Err(IoError::new(IoOp::Resize, IoKind::NoSpace));
        }
        pages.reserve(offset, end);
        if mode == AllocateMode::ExtendLen && pages.len() < end {
            pages.set_len(end);
        }
        Ok(())
    }

    pub(super) fn punch(&self, offset: u64, end: u64) {
        let dropped = self.pages.write().punch(offset, end);
        self.space.give_back(dropped);
    }

    pub(super) fn try_lock(&self, handle: u64, mode: LockMode) -> bool {
        let mut locks = self.locks.lock();
        let conflict = |&(holder, held): &(u64, LockMode)| {
            holder != handle && (mode == LockMode::Exclusive || held == LockMode::Exclusive)
        };
        if locks.iter().any(conflict) {
            return false;
        }
        locks.retain(|&(holder, _)| holder != handle);
        locks.push((handle, mode));
        true
    }

    pub(super) fn unlock(&self, handle: u64) {
        self.locks.lock().retain(|&(holder, _)| holder != handle);
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.space.give_back(self.pages.get_mut().page_count());
    }
}
