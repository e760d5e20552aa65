//! The entries of the block that is open: by rows, or by columns.

use alloc::boxed::Box;

use lsm_types::{Kind, SeqNo};

use super::{BuildOptions, SplitValue, group::GroupBuilder};
use crate::{Result, data_block::DataBlockBuilder};

/// Entries that are not written yet.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per table; rows are the usual case and stay where they are"
)]
pub(super) enum OpenRows {
    Rows(DataBlockBuilder),
    Columns(Box<GroupBuilder>),
}

impl OpenRows {
    pub(super) fn new(options: &BuildOptions) -> Self {
        match &options.columnar {
            Some(columnar) => Self::Columns(Box::new(GroupBuilder::new(columnar.clone()))),
            None => Self::Rows(DataBlockBuilder::new(options.rows)),
        }
    }

    #[inline]
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Rows(block) => block.rows(),
            Self::Columns(group) => group.rows(),
        }
    }

    /// Bytes it takes as it stands.
    #[inline]
    pub(super) fn logical_len(&self) -> usize {
        match self {
            Self::Rows(block) => block.logical_len(),
            Self::Columns(group) => group.logical_len(),
        }
    }

    pub(super) fn memory_len(&self) -> usize {
        match self {
            Self::Rows(block) => block.memory_len(),
            Self::Columns(group) => group.memory_len(),
        }
    }

    /// Whether it is to be closed.
    #[inline]
    pub(super) fn is_full(&self, block_bytes: usize) -> bool {
        match self {
            Self::Rows(block) => block.is_full() || block.logical_len() >= block_bytes,
            Self::Columns(group) => group.is_full(),
        }
    }

    #[inline]
    pub(super) fn push(
        &mut self,
        key: &[u8],
        repeats: bool,
        seqno: SeqNo,
        kind: Kind,
        split: SplitValue<'_>,
    ) -> Result<()> {
        match self {
            Self::Rows(block) => {
                block.push(key, repeats, seqno, kind, split.0);
                Ok(())
            }
            Self::Columns(group) => group.push(key, seqno, kind, split),
        }
    }
}
