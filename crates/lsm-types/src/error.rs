//! The one table of error kinds, and the error type that crosses every boundary.

use alloc::sync::Arc;
use core::fmt;

/// What the caller can do about an error.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorClass {
    /// Change the call or the options.
    Invalid,
    /// Repeating the call may succeed.
    Retry,
    /// Make room.
    NoSpace,
    /// Stored bytes are damaged.
    Corrupt,
    /// The instance refuses changes until it is reopened.
    Fenced,
    /// The instance was closed.
    Closed,
    /// This binary lacks a feature.
    NotBuilt,
    /// The system failed.
    Io,
    /// A broken promise of our own code.
    Bug,
}

/// What exactly about stored bytes is wrong.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CorruptionKind {
    /// The check over a header fails.
    HeaderCrc,
    /// The check over a payload fails.
    PayloadCheck,
    /// Lengths or positions do not fit the file or the handle.
    Geometry,
    /// A block that belongs elsewhere.
    Misplaced,
    /// The codec rejects the bytes or yields another length.
    Decompress,
    /// The decoder rejects a payload whose check is good.
    Decode,
    /// A row digest fails.
    RowDigest,
    /// Records are missing, repeated or out of order.
    Chain,
    /// An entry changed while it was in memory.
    Memtable,
}

/// What went wrong. One table for all crates; each crate's own error says the rest.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(
    missing_docs,
    reason = "the names are the documentation; the table stands in the engine's error page"
)]
pub enum ErrorKind {
    InvalidKey,
    ValueTooLarge,
    EntryTooLarge,
    BatchTooLarge,
    InvalidArgument,
    InvalidConfig,
    SeqNoOutOfRange,
    SeqNoTooLow,
    BelowSnapshot,
    AmbiguousBatch,
    OutOfOrder,
    SnapshotBelowRetention,
    HistoryCollected,
    MergeFailed,
    Unsupported,
    AlreadyExists,
    NotFound,
    Locked,
    NotOurs,
    UnsupportedFormat,
    ComparatorMismatch,
    OptionMismatch,
    DictionaryMissing,
    DictionaryMismatch,
    RouteMissing,
    RouteMismatch,
    KeyRequired,
    UnknownKey,
    WrongKey,
    PlaintextRejected,
    Cancelled,
    StorageFull,
    NoSpace,
    Corruption(CorruptionKind),
    Tampered,
    Truncated,
    DanglingBlob,
    MissingFiles,
    FileLengthMismatch,
    FileIdentityMismatch,
    ManifestRegression,
    PartialState,
    TornTail,
    Fenced,
    InstallOutcomeUnknown,
    Poisoned,
    Closed,
    NotBuilt,
    Io,
    Bug,
}

impl ErrorKind {
    /// What the caller can do now.
    pub const fn class(self) -> ErrorClass {
        match self {
            Self::InvalidKey
            | Self::ValueTooLarge
            | Self::EntryTooLarge
            | Self::BatchTooLarge
            | Self::InvalidArgument
            | Self::InvalidConfig
            | Self::SeqNoOutOfRange
            | Self::SeqNoTooLow
            | Self::BelowSnapshot
            | Self::AmbiguousBatch
            | Self::OutOfOrder
            | Self::SnapshotBelowRetention
            | Self::HistoryCollected
            | Self::MergeFailed
            | Self::Unsupported
            | Self::AlreadyExists
            | Self::NotFound
            | Self::Locked
            | Self::NotOurs
            | Self::UnsupportedFormat
            | Self::ComparatorMismatch
            | Self::OptionMismatch
            | Self::DictionaryMissing
            | Self::DictionaryMismatch
            | Self::RouteMissing
            | Self::RouteMismatch
            | Self::KeyRequired
            | Self::UnknownKey
            | Self::WrongKey
            | Self::PlaintextRejected => ErrorClass::Invalid,
            Self::Cancelled => ErrorClass::Retry,
            Self::StorageFull | Self::NoSpace => ErrorClass::NoSpace,
            Self::Corruption(_)
            | Self::Tampered
            | Self::Truncated
            | Self::DanglingBlob
            | Self::MissingFiles
            | Self::FileLengthMismatch
            | Self::FileIdentityMismatch
            | Self::ManifestRegression
            | Self::PartialState
            | Self::TornTail => ErrorClass::Corrupt,
            Self::Fenced | Self::InstallOutcomeUnknown | Self::Poisoned => ErrorClass::Fenced,
            Self::Closed => ErrorClass::Closed,
            Self::NotBuilt => ErrorClass::NotBuilt,
            Self::Io => ErrorClass::Io,
            Self::Bug => ErrorClass::Bug,
        }
    }
}

impl ErrorKind {
    /// Whether the right key, or another policy about keys, is all that is missing: nothing is known to be damaged.
    pub const fn is_about_keys(self) -> bool {
        matches!(self, Self::KeyRequired | Self::UnknownKey | Self::WrongKey | Self::PlaintextRejected)
    }
}

/// Kinds of files the engine writes.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// Sorted table.
    Table,
    /// Value log.
    ValueLog,
    /// Manifest generation or its mirror.
    Manifest,
    /// Delete vector.
    DeleteVector,
    /// Compression dictionary.
    Dictionary,
    /// Write-ahead log segment.
    Wal,
    /// The pointer to the manifest generation in use.
    Pointer,
}

/// What of a file is sealed when its database is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SealedParts {
    /// Every frame; copies of the superblock stay readable, directories are readable and proved.
    Frames,
    /// Nothing: the file is a fixed record without frames, and holds nothing a user wrote.
    Nothing,
}

impl FileKind {
    /// What of files of this kind is sealed. A new kind does not compile before it has an answer here.
    pub const fn sealed_parts(self) -> SealedParts {
        match self {
            Self::Table
            | Self::ValueLog
            | Self::Manifest
            | Self::DeleteVector
            | Self::Dictionary
            | Self::Wal => SealedParts::Frames,
            Self::Pointer => SealedParts::Nothing,
        }
    }

    /// The kind's short name, as it stands in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::ValueLog => "value log",
            Self::Manifest => "manifest",
            Self::DeleteVector => "delete vector",
            Self::Dictionary => "dictionary",
            Self::Wal => "log",
            Self::Pointer => "pointer",
        }
    }
}

/// Which stored bytes an error concerns. No path: the word has to live below the file system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Location {
    /// Kind of the file.
    pub kind: FileKind,
    /// Number of the file.
    pub id: u64,
    /// First byte concerned.
    pub offset: u64,
}

/// What each crate's error enum says about itself.
pub trait Fault: core::error::Error + Send + Sync + 'static {
    /// Row of the one table of kinds.
    fn kind(&self) -> ErrorKind;

    /// Where stored bytes are concerned, where they are.
    fn location(&self) -> Option<Location> {
        None
    }
}

/// Everything that can go wrong; cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<dyn Fault>);

/// Result with the shared error.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// Machine-readable category.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// Whether repeating the call may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind().class(), ErrorClass::Retry | ErrorClass::Io | ErrorClass::NoSpace)
    }

    /// Whether stored bytes are damaged.
    pub fn is_corruption(&self) -> bool {
        self.kind().class() == ErrorClass::Corrupt
    }

    /// File and offset, when the error concerns stored bytes.
    pub fn location(&self) -> Option<Location> {
        self.0.location()
    }
}

impl<F: Fault> From<F> for Error {
    #[cold]
    fn from(fault: F) -> Self {
        Self(Arc::new(fault))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IoError, IoKind, IoOp};

    /// Proves E-212.
    /// Fault: engine W-28.
    #[test]
    fn errors_are_shared_and_classified() {
        fn check<T: Clone + Send + Sync + core::error::Error + 'static>(_: &T) {}
        let full = Error::from(IoError::new(IoOp::Write, IoKind::NoSpace));
        check(&full);
        assert_eq!(full.clone().kind(), ErrorKind::NoSpace);
        assert!(full.is_retryable() && !full.is_corruption());
        assert_eq!(ErrorKind::Corruption(CorruptionKind::Chain).class(), ErrorClass::Corrupt);
    }
}
