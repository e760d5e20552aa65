//! Reading bytes at a position, and how that fails.

use core::fmt;

use crate::{ErrorKind, Fault};

/// What was attempted.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IoOp {
    /// Opening or creating a file.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Making writes durable.
    Sync,
    /// Making directory entries durable.
    SyncDir,
    /// Changing a file's length or allocation.
    Resize,
    /// Releasing a range of a file.
    Punch,
    /// Removing a name.
    Remove,
    /// Renaming.
    Rename,
    /// Linking or cloning.
    Link,
    /// Listing or creating a directory, or asking about a path.
    Dir,
    /// Taking a lock.
    Lock,
}

/// What the system answered.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IoKind {
    /// No such file or directory.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The file ended before the range did.
    UnexpectedEof,
    /// No space left, or a quota or size limit was hit.
    NoSpace,
    /// Not permitted.
    PermissionDenied,
    /// Somebody else holds it.
    WouldBlock,
    /// The backend or the mount cannot do this.
    Unsupported,
    /// Source and target lie on different file systems.
    CrossesDevices,
    /// Too many open files.
    TooManyOpenFiles,
    /// An argument that no file can satisfy, such as an offset past the largest file.
    InvalidInput,
    /// Anything else; the system's number tells more.
    Other,
}

/// A failed operation on a file; cheap to copy, and comparable, unlike `std::io::Error`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoError {
    /// What was attempted.
    pub op: IoOp,
    /// What kind of answer came back.
    pub kind: IoKind,
    /// The system's error number, where there is one.
    pub os: Option<i32>,
}

impl IoError {
    /// An error without a system number.
    pub const fn new(op: IoOp, kind: IoKind) -> Self {
        Self { op, kind, os: None }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.op {
            IoOp::Open => "open",
            IoOp::Read => "read",
            IoOp::Write => "write",
            IoOp::Sync => "sync",
            IoOp::SyncDir => "directory sync",
            IoOp::Resize => "resize",
            IoOp::Punch => "hole punch",
            IoOp::Remove => "remove",
            IoOp::Rename => "rename",
            IoOp::Link => "link",
            IoOp::Dir => "directory operation",
            IoOp::Lock => "lock",
        };
        let why = match self.kind {
            IoKind::NotFound => "not found",
            IoKind::AlreadyExists => "already exists",
            IoKind::UnexpectedEof => "the file ends too early",
            IoKind::NoSpace => "no space left",
            IoKind::PermissionDenied => "permission denied",
            IoKind::WouldBlock => "held by somebody else",
            IoKind::Unsupported => "not supported here",
            IoKind::CrossesDevices => "crosses file systems",
            IoKind::TooManyOpenFiles => "too many open files",
            IoKind::InvalidInput => "invalid argument",
            IoKind::Other => "failed",
        };
        write!(f, "{what}: {why}")?;
        self.os.map_or(Ok(()), |number| write!(f, " (os error {number})"))
    }
}

impl core::error::Error for IoError {}

impl Fault for IoError {
    fn kind(&self) -> ErrorKind {
        match self.kind {
            IoKind::NoSpace => ErrorKind::NoSpace,
            IoKind::Unsupported => ErrorKind::Unsupported,
            IoKind::WouldBlock if self.op == IoOp::Lock => ErrorKind::Locked,
            _ => ErrorKind::Io,
        }
    }
}

/// Bytes that can be read at a position: a file, memory, a remote object.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> core::result::Result<u64, IoError>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> core::result::Result<bool, IoError> {
        self.len().map(|len| len == 0)
    }

    /// Fills `out` from `offset`; `UnexpectedEof` when fewer bytes are there.
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> core::result::Result<(), IoError>;
}

impl ReadAt for [u8] {
    fn len(&self) -> core::result::Result<u64, IoError> {
        Ok(<[u8]>::len(self) as u64)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> core::result::Result<(), IoError> {
        let eof = IoError::new(IoOp::Read, IoKind::UnexpectedEof);
        let start = usize::try_from(offset).map_err(|_| eof)?;
        let end = start.checked_add(out.len()).ok_or(eof)?;
        out.copy_from_slice(self.get(start..end).ok_or(eof)?);
        Ok(())
    }
}

impl ReadAt for alloc::vec::Vec<u8> {
    fn len(&self) -> core::result::Result<u64, IoError> {
        ReadAt::len(self.as_slice())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> core::result::Result<(), IoError> {
        self.as_slice().read_exact_at(offset, out)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for alloc::sync::Arc<R> {
    fn len(&self) -> core::result::Result<u64, IoError> {
        (**self).len()
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> core::result::Result<(), IoError> {
        (**self).read_exact_at(offset, out)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn len(&self) -> core::result::Result<u64, IoError> {
        (**self).len()
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> core::result::Result<(), IoError> {
        (**self).read_exact_at(offset, out)
    }
}
