//! An open file.

use std::fmt;

use lsm_types::{IoError, IoKind, IoOp, ReadAt};

use crate::{AccessHint, AllocateMode, LockMode, Metadata, SyncLevel, WriteError};

/// An open file, read and written at positions; there is no cursor, so threads share a handle.
///
/// Operations without a default are the duty of every backend. The others default to refusing, or, for hints, to
/// nothing. A file whose last name is removed stays readable and writable through its open handles.
pub trait FsFile: Send + Sync + fmt::Debug {
    /// Reads from `offset` until `out` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// `InvalidInput` when the range lies past the largest file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError>;

    /// Writes all of `bytes` at `offset`; bytes between the end of the file and `offset` become zeros.
    ///
    /// # Errors
    /// Tells how many bytes landed. `InvalidInput` when the range lies past the largest file, `PermissionDenied` when
    /// the handle is read-only.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError>;

    /// Writes all of `bytes` at the end of the file; returns the offset of the first one.
    ///
    /// Appends through one handle queue up behind each other. Appends through several handles of one file at the same
    /// time are not ordered.
    ///
    /// # Errors
    /// As for [`FsFile::write_at`]; the bytes that landed extend the file.
    fn append(&self, bytes: &[u8]) -> Result<u64, WriteError>;

    /// Length in bytes.
    fn len(&self) -> Result<u64, IoError>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool, IoError> {
        self.len().map(|len| len == 0)
    }

    /// Cuts the file, or extends it with zeros that occupy no space.
    fn set_len(&self, len: u64) -> Result<(), IoError>;

    /// Makes what was written through this handle durable; the file's *name* needs [`crate::Fs::sync_dir`].
    fn sync(&self, level: SyncLevel) -> Result<(), IoError>;

    /// Length, number of names and identity of the open file.
    fn metadata(&self) -> Result<Metadata, IoError>;

    /// Reserves space for the `len` bytes from `offset`, whose contents stay as they are.
    ///
    /// # Errors
    /// `Unsupported` unless the backend can.
    fn allocate(&self, offset: u64, len: u64, mode: AllocateMode) -> Result<(), IoError> {
        let _ = (offset, len, mode);
        Err(IoError::new(IoOp::Resize, IoKind::Unsupported))
    }

    /// Gives back the space under the `len` bytes from `offset`, which then read as zeros; the length stays.
    ///
    /// # Errors
    /// `Unsupported` unless the backend can.
    fn punch_hole(&self, offset: u64, len: u64) -> Result<(), IoError> {
        let _ = (offset, len);
        Err(IoError::new(IoOp::Punch, IoKind::Unsupported))
    }

    /// Tells what comes next. Purely a hint: it cannot fail and changes no answer.
    fn hint(&self, hint: AccessHint) {
        let _ = hint;
    }

    /// Takes an advisory lock on the file without waiting; `false` when another handle, in this process or another,
    /// holds it. The lock ends with the handle. A holder may ask again in either mode; when that is refused, it may have
    /// lost what it held.
    ///
    /// # Errors
    /// `Unsupported` unless the backend can: a lock that cannot be taken is never reported as taken.
    fn try_lock(&self, mode: LockMode) -> Result<bool, IoError> {
        let _ = mode;
        Err(IoError::new(IoOp::Lock, IoKind::Unsupported))
    }

    /// The system's descriptor, where there is one; it lives as long as the handle.
    fn raw_fd(&self) -> Option<i32> {
        None
    }
}

impl ReadAt for dyn FsFile + '_ {
    fn len(&self) -> Result<u64, IoError> {
        FsFile::len(self)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        if FsFile::read_at(self, offset, out)? == out.len() {
            return Ok(());
        }
        Err(IoError::new(IoOp::Read, IoKind::UnexpectedEof))
    }
}
