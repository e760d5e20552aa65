//! What goes wrong between a table and its file.

use std::path::PathBuf;

use lsm_types::{Error, ErrorKind, Fault, IoError, Location, TableId, VectorId};

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
    #[error("{} {}: {len} bytes at {} could not be read", at.kind.name(), at.id, at.offset)]
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
    /// The delete vector of a table cannot be used, so the table cannot be read.
    #[error("table {table}: its delete vector {vector} cannot be used")]
    Vector {
        /// The table.
        table: TableId,
        /// The vector.
        vector: VectorId,
        /// Why.
        source: Error,
    },
    /// A table that lies somewhere else did not become a table of the tree.
    #[error("the table at {} was not taken over", path.display())]
    NotTakenOver {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// A table cannot be taken over as a whole.
    #[error("{what}; read its entries and ingest them one by one")]
    Unfit {
        /// What stands in the way.
        what: &'static str,
    },
    /// A thread that compressed blocks for a writer panicked.
    #[error("compressing a block panicked: {message}")]
    HelperPanicked {
        /// What the panic said.
        message: String,
    },
    /// A block that was given to a thread did not come back.
    #[error("internal invariant broken: a block that is handed over comes back")]
    NoSuchBlock,
    /// A list of tables does not hold what it says it holds.
    #[error("internal invariant broken: a position of a run holds a table")]
    NoSuchSpot,
}

impl Fault for TableError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { source, .. } | Self::Read { source, .. } => source.kind(),
            Self::Disagrees { .. } => ErrorKind::Corruption(lsm_types::CorruptionKind::Decode),
            Self::NotTakenOver { source, .. } | Self::Vector { source, .. } => source.kind(),
            Self::Unfit { .. } => ErrorKind::Unsupported,
            Self::HelperPanicked { .. } | Self::NoSuchBlock | Self::NoSuchSpot => ErrorKind::Bug,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Read { at, .. } => Some(*at),
            Self::NotTakenOver { source, .. } | Self::Vector { source, .. } => source.location(),
            _ => None,
        }
    }
}
