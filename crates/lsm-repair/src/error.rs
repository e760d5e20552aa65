//! What a check finds, besides what the formats say themselves.

use lsm_types::{CorruptionKind, ErrorKind, Fault, Location, VlogId};

/// Why a check could not begin, or what it found.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// There is no database in the directory.
    #[error("no database is there")]
    NoDatabase,
    /// A file that the manifest names, or that every database has, is not there.
    #[error("the file is missing")]
    Missing,
    /// A file has another length than the manifest says.
    #[error("the file has {found} bytes, the manifest says {expected}")]
    Length {
        /// Bytes the manifest expects.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// An entry leads to a value log that the tree does not have.
    #[error("it leads to value log {vlog}, which the tree does not have")]
    NoValueLog {
        /// The value log.
        vlog: VlogId,
    },
    /// What a file says about itself is not what the manifest says.
    #[error("{what} is not what the manifest says")]
    Disagrees {
        /// What differs.
        what: &'static str,
    },
    /// The file is not, byte for byte, what was written.
    #[error("the file is not what was written")]
    Digest,
    /// A part could not be held against anything; what could be checked is sound.
    #[error("not checked: {what}")]
    NotChecked {
        /// What was left out, and why.
        what: &'static str,
    },
    /// The second copy of a manifest generation is behind the first one, as a crash leaves it.
    #[error("the copy lacks the last records")]
    Behind,
    /// The two copies of a manifest generation are different files.
    #[error("the copies of generation {generation} differ")]
    CopiesDiffer {
        /// The generation.
        generation: u64,
        /// First byte that differs.
        at: Location,
    },
    /// The pointer does not fit the generation that it names.
    #[error("{what} of CURRENT is not that of the generation it names")]
    Pointer {
        /// What differs.
        what: &'static str,
    },
    /// The pointer names another generation than the one in use, as a crash leaves it.
    #[error("CURRENT names generation {named}, generation {used} is in use")]
    OlderPointer {
        /// The generation it names.
        named: u64,
        /// The generation in use.
        used: u64,
    },
    /// A generation that was begun and never finished, as a crash leaves it.
    #[error("the generation was never finished")]
    Unfinished,
    /// Bytes behind the last record that were never acknowledged, as a crash leaves them.
    #[error("{bytes} bytes behind the last record belong to none")]
    Tail {
        /// First of them.
        at: Location,
        /// How many.
        bytes: u64,
    },
}

impl Fault for RepairError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDatabase => ErrorKind::NotFound,
            Self::Missing => ErrorKind::MissingFiles,
            Self::Length { .. } => ErrorKind::FileLengthMismatch,
            Self::NoValueLog { .. } => ErrorKind::DanglingBlob,
            Self::Digest => ErrorKind::Corruption(CorruptionKind::PayloadCheck),
            Self::Disagrees { .. } | Self::CopiesDiffer { .. } | Self::Pointer { .. } => {
                ErrorKind::Corruption(CorruptionKind::Decode)
            }
            Self::NotChecked { .. } => ErrorKind::Unsupported,
            Self::Behind | Self::OlderPointer { .. } | Self::Unfinished | Self::Tail { .. } => {
                ErrorKind::TornTail
            }
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::CopiesDiffer { at, .. } | Self::Tail { at, .. } => Some(*at),
            _ => None,
        }
    }
}
