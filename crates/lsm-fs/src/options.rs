//! How a file is opened, synced, hinted at and locked.

use lsm_types::{IoError, IoKind, IoOp};

/// How to open a file. Every handle can read; see the constants for the usual ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOptions {
    /// Whether the handle can change the file.
    pub write: bool,
    /// Whether the file may, must or must not exist. Creating needs `write`.
    pub creation: Creation,
    /// Whether an existing file is cut to no bytes. Needs `write`.
    pub truncate: bool,
}

/// What to do about the existence of a file that is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Creation {
    /// The file has to exist.
    Existing,
    /// The file is created when it does not exist.
    IfMissing,
    /// The file must not exist; `AlreadyExists` otherwise.
    New,
}

impl OpenOptions {
    /// Reads an existing file.
    pub const READ: Self = Self { write: false, creation: Creation::Existing, truncate: false };

    /// Reads and writes an existing file.
    pub const WRITE: Self = Self { write: true, creation: Creation::Existing, truncate: false };

    /// Reads and writes a file, creating it when it is missing.
    pub const CREATE: Self = Self { write: true, creation: Creation::IfMissing, truncate: false };

    /// Creates a file that must not exist.
    pub const CREATE_NEW: Self = Self { write: true, creation: Creation::New, truncate: false };

    /// Creates a file, or empties the one that is there.
    pub const REPLACE: Self = Self { write: true, creation: Creation::IfMissing, truncate: true };

    /// Fails with `InvalidInput` when the file is to be created or truncated but not written. Every backend asks first.
    pub fn check(&self) -> Result<(), IoError> {
        if self.write || (self.creation == Creation::Existing && !self.truncate) {
            return Ok(());
        }
        Err(IoError::new(IoOp::Open, IoKind::InvalidInput))
    }
}

/// How far a sync goes. After any failed sync the file's unsynced bytes may be lost although reads still show them,
/// and the next sync may report success: a failed sync is never retried as proof of anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SyncLevel {
    /// Nothing is done.
    None,
    /// Contents and length (`fdatasync`).
    Data,
    /// Contents and all metadata (`fsync`).
    Full,
    /// Order only: what came before reaches the disk before what comes after. Where the system has no such call, at
    /// least [`SyncLevel::Full`].
    Barrier,
    /// Down to the medium, through the drive's cache. Differs from [`SyncLevel::Full`] on macOS alone.
    Device,
}

/// What a caller is about to do with a file. Never changes what any operation answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessHint {
    /// The system's usual reading ahead.
    Default,
    /// Front to back.
    Sequential,
    /// Here and there.
    Random,
    /// Written and synced, not to be read soon: its clean pages may leave the page cache.
    WriteOnce,
    /// This range is read next.
    WillNeed {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

/// Who may hold an advisory lock at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// One handle alone.
    Exclusive,
    /// Any number of handles, as long as none is exclusive.
    Shared,
}

/// Whether an allocation past the end of a file moves the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocateMode {
    /// The length stays.
    KeepLen,
    /// The length grows to the end of the range, and the new bytes read as zeros.
    ExtendLen,
}
