//! What a read of merge operands may fail with.

use alloc::string::String;

use lsm_types::{Error, ErrorKind, Fault, SeqNo, Slice};

/// Errors of resolving a key; errors of the cursors pass through unchanged.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum IterError {
    /// The merge operator could not fold the operands of a key. Other keys are not concerned.
    #[error("the merge operator `{operator}` failed on the key {key:?}")]
    MergeFailed {
        /// The key.
        key: Slice,
        /// Name of the operator.
        operator: String,
        /// What it said.
        source: Error,
    },
    /// The compaction filter could not decide about an entry. Nothing is known to be wrong with the entry.
    #[error("the compaction filter failed on the key {key:?}, written at {seqno}")]
    FilterFailed {
        /// The key.
        key: Slice,
        /// Number of the entry.
        seqno: SeqNo,
        /// What it said.
        source: Error,
    },
    /// The operands of a key stand over a value that is kept in another file, which cannot be fetched here.
    #[error("the operands of the key {key:?} stand over a separated value")]
    SeparatedBase {
        /// The key.
        key: Slice,
    },
}

impl Fault for IterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MergeFailed { .. } => ErrorKind::MergeFailed,
            Self::FilterFailed { source, .. } => source.kind(),
            Self::SeparatedBase { .. } => ErrorKind::Unsupported,
        }
    }
}
