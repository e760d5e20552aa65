//! Why the bytes of a block do not decode, before it is known which block of which file they are.

use lsm_columnar::ColumnarError;
use lsm_types::{CorruptionKind, ErrorKind, Fault, ReferenceError, columns::Malformed, reader::ReadError};

/// A payload that a decoder refuses.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PayloadError {
    /// Header and content contradict each other.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// One item contradicts its column.
    #[error("field `{field}` of item {item} does not fit the payload")]
    Item {
        /// Name of the field, as the format page has it.
        field: &'static str,
        /// Number of the row or entry.
        item: usize,
    },
    /// Columns that make no sense.
    #[error(transparent)]
    Columns(#[from] ColumnarError),
    /// Something this version must understand and does not.
    #[error("{part} {found} is not known to this version")]
    Unsupported {
        /// What is not known.
        part: &'static str,
        /// Its number or bits.
        found: u64,
    },
}

impl PayloadError {
    pub(crate) const fn field(field: &'static str) -> Self {
        Self::Malformed(Malformed::new(field))
    }

    /// Row of the one table of kinds.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(_) | Self::Item { .. } => ErrorKind::Corruption(CorruptionKind::Decode),
            Self::Columns(source) => match source.kind() {
                kind @ (ErrorKind::Corruption(_) | ErrorKind::UnsupportedFormat) => kind,
                // A rule that a writer would have kept, broken by what was read.
                _ => ErrorKind::Corruption(CorruptionKind::Decode),
            },
            Self::Unsupported { .. } => ErrorKind::UnsupportedFormat,
        }
    }
}

impl From<ReferenceError> for PayloadError {
    fn from(error: ReferenceError) -> Self {
        Self::field(match error {
            ReferenceError::Field(field) => field,
            _ => "value references",
        })
    }
}

impl From<ReadError> for PayloadError {
    fn from(_: ReadError) -> Self {
        Self::field("length")
    }
}
