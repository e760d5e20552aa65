//! How reading and writing value logs fails.

use alloc::boxed::Box;

use lsm_block::{BlockError, BlockKind};
use lsm_types::{CorruptionKind, ErrorKind, Fault, IoError, Location};

use crate::PayloadError;

/// Why a value log could not be read or written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum VlogError {
    /// The framing of the file is wrong.
    #[error(transparent)]
    Framing(#[from] BlockError),
    /// The checks of a frame are good, its contents make no sense.
    #[error("{} {}: {kind} at {}", at.kind.name(), at.id, at.offset)]
    Payload {
        /// The frame.
        at: Location,
        /// What it holds.
        kind: BlockKind,
        /// What makes no sense.
        source: PayloadError,
    },
    /// A handle leads to no value of its key.
    #[error("{} {}: a handle to {} dangles: {why}", at.kind.name(), at.id, at.offset)]
    Dangling {
        /// Where it leads.
        at: Location,
        /// What is there instead.
        why: &'static str,
    },
    /// Both copies of something are damaged. The kind and place are those of the primary.
    #[error("the mirror copy is damaged as well: {mirror}")]
    BothCopies {
        /// What is wrong with the copy next to the footer.
        #[source]
        primary: Box<VlogError>,
        /// What is wrong with the other one.
        mirror: Box<VlogError>,
    },
    /// A section that every value log has is not in the directory.
    #[error("{} {}: the directory lists no {kind} section", at.kind.name(), at.id)]
    NoSection {
        /// The file.
        at: Location,
        /// What is missing.
        kind: BlockKind,
    },
    /// What the file says about itself is not so.
    #[error("{} {}: {what} is not what the file says", at.kind.name(), at.id)]
    Disagree {
        /// The file.
        at: Location,
        /// What differs.
        what: &'static str,
    },
    /// Bytes could not be read.
    #[error("{} {}: reading {len} bytes at {} failed", at.kind.name(), at.id, at.offset)]
    Read {
        /// First byte wanted.
        at: Location,
        /// Bytes wanted.
        len: u64,
        /// What the system says.
        source: IoError,
    },
    /// The length of the file could not be asked.
    #[error("the length of a value log is not known")]
    Length(#[source] IoError),
    /// A number no write may carry.
    #[error("a value with a sequence number that no write may carry")]
    SeqNo,
    /// No further value fits.
    #[error("a value log is full; begin another one")]
    Full,
    /// The writer failed before.
    #[error("the writer of a value log takes nothing after an error")]
    WriterFailed,
    /// Settings that cannot hold.
    #[error("setting `{setting}` is out of range")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
    },
}

impl Fault for VlogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Framing(source) => source.kind(),
            Self::Payload { source, .. } => source.kind(),
            Self::Dangling { .. } => ErrorKind::DanglingBlob,
            Self::BothCopies { primary, .. } => primary.kind(),
            Self::NoSection { .. } | Self::Disagree { .. } => ErrorKind::Corruption(CorruptionKind::Decode),
            Self::Read { source, .. } | Self::Length(source) => source.kind(),
            Self::SeqNo => ErrorKind::SeqNoOutOfRange,
            Self::Full => ErrorKind::Unsupported,
            Self::WriterFailed => ErrorKind::Poisoned,
            Self::Setting { .. } => ErrorKind::InvalidConfig,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Framing(source) => source.location(),
            Self::BothCopies { primary, .. } => primary.location(),
            Self::Payload { at, .. }
            | Self::Dangling { at, .. }
            | Self::NoSection { at, .. }
            | Self::Disagree { at, .. }
            | Self::Read { at, .. } => Some(*at),
            Self::Length(_) | Self::SeqNo | Self::Full | Self::WriterFailed | Self::Setting { .. } => None,
        }
    }
}
