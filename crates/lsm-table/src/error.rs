//! What goes wrong between a table and its file.

use lsm_types::{ErrorKind, Fault, IoError, Location, TableId};

/// Why a table could not be used.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file could not be opened.
    #[error("table {table} could not be opened")]
    Open {
        /// The table.
        table: TableId,
        /// What the system says.
        source: IoError,
    },
    /// Bytes of the file could not be read.
    #[error("table {}: {len} bytes at {} could not be read", at.id, at.offset)]
    Read {
        /// First byte.
        at: Location,
        /// Bytes wanted.
        len: u32,
        /// What the system says.
        source: IoError,
    },
    /// What the table says about itself is not what the manifest says.
    #[error("table {table}: {what} is not what the manifest says")]
    Disagrees {
        /// The table.
        table: TableId,
        /// What differs.
        what: &'static str,
    },
    /// A list of tables does not hold what it says it holds.
    #[error("internal invariant broken: a position of a run holds a table")]
    NoSuchSpot,
}

impl Fault for TableError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { source, .. } | Self::Read { source, .. } => source.kind(),
            Self::Disagrees { .. } => ErrorKind::Corruption(lsm_types::CorruptionKind::Decode),
            Self::NoSuchSpot => ErrorKind::Bug,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Read { at, .. } => Some(*at),
            _ => None,
        }
    }
}
