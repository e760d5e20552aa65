//! How file operations fail, in the words of `lsm-types`.

use std::io;

use lsm_types::{ErrorKind, Fault, IoError, IoKind, IoOp};
use thiserror::Error;

/// Largest length of a file on any backend: the largest offset of the system's calls.
pub const MAX_FILE_LEN: u64 = i64::MAX as u64;

/// A write that failed, possibly after some bytes had landed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("write stopped after {written} bytes")]
pub struct WriteError {
    /// Bytes that landed, counted from the start of the caller's buffer.
    pub written: usize,
    /// Why it stopped.
    pub source: IoError,
}

impl Fault for WriteError {
    fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

impl From<WriteError> for IoError {
    fn from(error: WriteError) -> Self {
        error.source
    }
}

impl From<IoError> for WriteError {
    fn from(source: IoError) -> Self {
        Self { written: 0, source }
    }
}

/// End of the `len` bytes from `offset`; `InvalidInput` when no file can be that long.
///
/// Every backend checks ranges with it, so that an overflow is the same error everywhere.
pub const fn check_range(op: IoOp, offset: u64, len: u64) -> Result<u64, IoError> {
    match offset.checked_add(len) {
        Some(end) if end <= MAX_FILE_LEN => Ok(end),
        _ => Err(IoError::new(op, IoKind::InvalidInput)),
    }
}

/// The system's answer to `op` in the engine's words; keeps the system's number.
pub fn io_error(op: IoOp, error: &io::Error) -> IoError {
    let os = error.raw_os_error();
    let kind =
        if os.is_some_and(is_descriptor_limit) { IoKind::TooManyOpenFiles } else { kind_of(error.kind()) };
    IoError { op, kind, os }
}

/// Whether the number means that the process or the system has no descriptor left; `std` has no word for it.
#[cfg(unix)]
fn is_descriptor_limit(number: i32) -> bool {
    use rustix::io::Errno;
    number == Errno::MFILE.raw_os_error() || number == Errno::NFILE.raw_os_error()
}

/// Whether the number means that the process has no descriptor left (`ERROR_TOO_MANY_OPEN_FILES`).
#[cfg(not(unix))]
fn is_descriptor_limit(number: i32) -> bool {
    number == 4
}

fn kind_of(kind: io::ErrorKind) -> IoKind {
    use io::ErrorKind as K;
    match kind {
        K::NotFound => IoKind::NotFound,
        K::AlreadyExists => IoKind::AlreadyExists,
        K::UnexpectedEof => IoKind::UnexpectedEof,
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => IoKind::NoSpace,
        K::PermissionDenied | K::ReadOnlyFilesystem => IoKind::PermissionDenied,
        K::WouldBlock => IoKind::WouldBlock,
        // A file that has all the names it may have cannot be linked here.
        K::Unsupported | K::TooManyLinks => IoKind::Unsupported,
        K::CrossesDevices => IoKind::CrossesDevices,
        K::InvalidInput | K::InvalidFilename => IoKind::InvalidInput,
        _ => IoKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &io::Error, expected: IoKind) {
        let mapped = io_error(IoOp::Write, error);
        assert_eq!((mapped.kind, mapped.os), (expected, error.raw_os_error()));
    }

    #[cfg(unix)]
    #[test]
    fn numbers_map_to_kinds_and_survive() {
        use rustix::io::Errno;
        let check = |number: Errno, expected| check(&io::Error::from(number), expected);
        check(Errno::NOENT, IoKind::NotFound);
        check(Errno::EXIST, IoKind::AlreadyExists);
        check(Errno::NOSPC, IoKind::NoSpace);
        check(Errno::DQUOT, IoKind::NoSpace);
        check(Errno::FBIG, IoKind::NoSpace);
        check(Errno::ACCESS, IoKind::PermissionDenied);
        check(Errno::PERM, IoKind::PermissionDenied);
        check(Errno::ROFS, IoKind::PermissionDenied);
        check(Errno::WOULDBLOCK, IoKind::WouldBlock);
        check(Errno::OPNOTSUPP, IoKind::Unsupported);
        check(Errno::NOSYS, IoKind::Unsupported);
        check(Errno::XDEV, IoKind::CrossesDevices);
        check(Errno::MFILE, IoKind::TooManyOpenFiles);
        check(Errno::NFILE, IoKind::TooManyOpenFiles);
        check(Errno::INVAL, IoKind::InvalidInput);
        check(Errno::IO, IoKind::Other);
    }

    #[test]
    fn ranges_end_at_the_largest_offset() {
        check(&io::Error::from(io::ErrorKind::UnexpectedEof), IoKind::UnexpectedEof);
        assert_eq!(check_range(IoOp::Read, MAX_FILE_LEN - 1, 1), Ok(MAX_FILE_LEN));
        let invalid = Err(IoError::new(IoOp::Read, IoKind::InvalidInput));
        assert_eq!(check_range(IoOp::Read, MAX_FILE_LEN, 1), invalid);
        assert_eq!(check_range(IoOp::Read, u64::MAX, 1), invalid);
    }
}
