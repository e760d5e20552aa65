//! An open file in memory.

use std::fmt;
use std::sync::Arc;

use lsm_types::{IoError, IoKind, IoOp};

use super::inode::Inode;
use crate::{AllocateMode, FsFile, LockMode, Metadata, SyncLevel, WriteError, check_range};

/// An open file in memory.
pub(super) struct MemFile {
    inode: Arc<Inode>,
    /// Which handle this is: the owner of its locks.
    handle: u64,
    writable: bool,
}

impl MemFile {
    pub(super) fn new(inode: Arc<Inode>, handle: u64, writable: bool) -> Self {
        Self { inode, handle, writable }
    }

    fn check_writable(&self, op: IoOp) -> Result<(), IoError> {
        if self.writable { Ok(()) } else { Err(IoError::new(op, IoKind::PermissionDenied)) }
    }
}

impl FsFile for MemFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError> {
        check_range(IoOp::Read, offset, out.len() as u64)?;
        Ok(self.inode.read(offset, out))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_writable(IoOp::Write)?;
        self.inode.write(offset, bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result<u64, WriteError> {
        self.check_writable(IoOp::Write)?;
        self.inode.append(bytes)
    }

    fn len(&self) -> Result<u64, IoError> {
        Ok(self.inode.len())
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.check_writable(IoOp::Resize)?;
        check_range(IoOp::Resize, len, 0)?;
        self.inode.set_len(len);
        Ok(())
    }

    /// Nothing to do: nothing here outlives the process.
    fn sync(&self, _level: SyncLevel) -> Result<(), IoError> {
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata, IoError> {
        Ok(self.inode.metadata())
    }

    fn allocate(&self, offset: u64, len: u64, mode: AllocateMode) -> Result<(), IoError> {
        self.check_writable(IoOp::Resize)?;
        let end = check_range(IoOp::Resize, offset, len)?;
        if len == 0 { Ok(()) } else { self.inode.allocate(offset, end, mode) }
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<(), IoError> {
        self.check_writable(IoOp::Punch)?;
        let end = check_range(IoOp::Punch, offset, len)?;
        self.inode.punch(offset, end);
        Ok(())
    }

    fn try_lock(&self, mode: LockMode) -> Result<bool, IoError> {
        Ok(self.inode.try_lock(self.handle, mode))
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.inode.unlock(self.handle);
    }
}

impl fmt::Debug for MemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFile").field("len", &self.inode.len()).finish_non_exhaustive()
    }
}
