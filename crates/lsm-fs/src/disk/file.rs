//! An open file of the operating system.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lsm_types::{IoError, IoKind, IoOp, ReadAt};
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use super::{metadata_of, open, platform};
use crate::{
    AccessHint, AllocateMode, FsFile, LockMode, Metadata, OpenOptions, SyncLevel, WriteError, check_range,
    io_error,
};

/// An open regular file of the operating system.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    writable: bool,
    /// Held from finding the end of the file until an append has extended it.
    append: Mutex<()>,
}

impl DiskFile {
    /// Opens an existing file for reading: the way in for tools that read a file without a file system around it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        open(path.as_ref(), OpenOptions::READ)
    }

    pub(super) fn new(file: File, writable: bool) -> Self {
        Self { file, writable, append: Mutex::new(()) }
    }

    /// The system may answer a write on a read-only descriptor in several ways; we answer in one.
    fn check_writable(&self, op: IoOp) -> Result<(), IoError> {
        if self.writable { Ok(()) } else { Err(IoError::new(op, IoKind::PermissionDenied)) }
    }

    /// Writes all of `bytes`; on failure says how many landed.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..)
            && !rest.is_empty()
        {
            match self.file.write_at(rest, offset + written as u64) {
                Ok(0) => {
                    return Err(WriteError { written, source: IoError::new(IoOp::Write, IoKind::Other) });
                }
                Ok(landed) => written += landed,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WriteError { written, source: io_error(IoOp::Write, &error) }),
            }
        }
        Ok(())
    }
}

impl FsFile for DiskFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError> {
        check_range(IoOp::Read, offset, out.len() as u64)?;
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error(IoOp::Read, &error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_writable(IoOp::Write)?;
        check_range(IoOp::Write, offset, bytes.len() as u64)?;
        self.write_all_at(offset, bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result<u64, WriteError> {
        self.check_writable(IoOp::Write)?;
        let _order = self.append.lock();
        let offset = FsFile::len(self)?;
        check_range(IoOp::Write, offset, bytes.len() as u64)?;
        self.write_all_at(offset, bytes)?;
        Ok(offset)
    }

    fn len(&self) -> Result<u64, IoError> {
        self.file.metadata().map(|m| m.len()).map_err(|e| io_error(IoOp::Read, &e))
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.check_writable(IoOp::Resize)?;
        check_range(IoOp::Resize, len, 0)?;
        self.file.set_len(len).map_err(|e| io_error(IoOp::Resize, &e))
    }

    fn sync(&self, level: SyncLevel) -> Result<(), IoError> {
        if level == SyncLevel::None {
            return Ok(());
        }
        platform::sync(&self.file, level).map_err(|e| io_error(IoOp::Sync, &e))
    }

    fn metadata(&self) -> Result<Metadata, IoError> {
        self.file.metadata().map(|m| metadata_of(&m)).map_err(|e| io_error(IoOp::Dir, &e))
    }

    fn allocate(&self, offset: u64, len: u64, mode: AllocateMode) -> Result<(), IoError> {
        self.check_writable(IoOp::Resize)?;
        check_range(IoOp::Resize, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        platform::allocate(&self.file, offset, len, mode).map_err(|e| io_error(IoOp::Resize, &e))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<(), IoError> {
        self.check_writable(IoOp::Punch)?;
        check_range(IoOp::Punch, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        platform::punch_hole(&self.file, offset, len).map_err(|e| io_error(IoOp::Punch, &e))
    }

    fn hint(&self, hint: AccessHint) {
        platform::hint(&self.file, hint);
    }

    fn try_lock(&self, mode: LockMode) -> Result<bool, IoError> {
        let operation = match mode {
            LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
            LockMode::Shared => FlockOperation::NonBlockingLockShared,
        };
        match retry_on_intr(|| rustix::fs::flock(&self.file, operation)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(io_error(IoOp::Lock, &error.into())),
        }
    }

    fn raw_fd(&self) -> Option<i32> {
        Some(self.file.as_raw_fd())
    }
}

impl ReadAt for DiskFile {
    fn len(&self) -> Result<u64, IoError> {
        FsFile::len(self)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        ReadAt::read_exact_at(self as &dyn FsFile, offset, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tool reads a file with nothing but its path.
    #[test]
    fn a_tool_reads_a_file_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bytes");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = DiskFile::open(&path).unwrap();
        let mut out = [0; 4];
        file.read_exact_at(3, &mut out).unwrap();
        assert_eq!((&out, ReadAt::len(&file).unwrap()), (b"3456", 10));
        let error = file.read_exact_at(8, &mut out).unwrap_err();
        assert_eq!(error.kind, IoKind::UnexpectedEof);
        assert_eq!(file.append(b"x").unwrap_err().source.kind, IoKind::PermissionDenied);
    }
}
