//! Membership filters of a table: what they are made with, what they say, and how they are checked.
//!
//! A table may have two: one over its keys, and one over the prefixes that an extractor names. Each is cut into
//! partitions by key range; its root is an index block over them whose separators are whole keys.
//!
//! A filter is optional: it may only ever say that something is certainly absent. One that is missing, damaged, made
//! with another hash or of an unknown structure says nothing, and the answer of a read stays the same.

mod ask;
mod audit;
mod facts;
mod partition;

use alloc::sync::Arc;
use core::fmt;

use lsm_block::BlockKind;
pub use lsm_burr::Bits as FilterBits;
use lsm_types::{KeyHash, PrefixExtractor};

pub use audit::FilterAudit;
pub use facts::{ExtractorId, FilterFacts, FilterProperties};
pub(crate) use partition::PartitionBuilder;
pub use partition::{FilterPartition, FilterShape};

use crate::index::IndexBlock;

/// Which filter of a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FilterId {
    /// Over whole keys.
    Keys,
    /// Over the prefixes of keys that an extractor names.
    Prefixes,
}

impl FilterId {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Keys, Self::Prefixes];

    /// The kind of its partitions.
    pub const fn partition_kind(self) -> BlockKind {
        match self {
            Self::Keys => BlockKind::FILTER_PARTITION,
            Self::Prefixes => BlockKind::PREFIX_FILTER_PARTITION,
        }
    }

    /// The kind of its root.
    pub const fn root_kind(self) -> BlockKind {
        match self {
            Self::Keys => BlockKind::FILTER_ROOT,
            Self::Prefixes => BlockKind::PREFIX_FILTER_ROOT,
        }
    }

    /// Seed of the hashes it is asked with.
    pub const fn seed(self) -> u64 {
        match self {
            Self::Keys => KeyHash::SEED,
            Self::Prefixes => KeyHash::PREFIX_SEED,
        }
    }
}

/// What a filter says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FilterAnswer {
    /// Certainly not there.
    Absent,
    /// There, or a false positive.
    Maybe,
    /// There is no filter, or none that can be used. Counts as "maybe".
    Unusable,
}

/// How a filter is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilterOptions {
    /// Bits per key: false positives come at a rate of 2 to the power of minus this.
    pub bits: FilterBits,
    /// A partition is closed before it passes this many bytes.
    pub partition_bytes: usize,
}

impl FilterOptions {
    /// Most hashes in a partition, which bounds the memory of a build whatever the bits: 64 Ki for one of 32 KiB.
    pub(crate) fn hashes_max(&self) -> usize {
        self.partition_bytes.saturating_mul(2).min(1 << 18)
    }
}

/// How a filter over prefixes is built.
#[derive(Clone)]
pub struct PrefixFilterOptions {
    /// How it is built.
    pub filter: FilterOptions,
    /// What names the prefixes; its name and version are recorded.
    pub extractor: Arc<dyn PrefixExtractor>,
}

impl fmt::Debug for PrefixFilterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixFilterOptions")
            .field("filter", &self.filter)
            .field("extractor", &self.extractor.name())
            .finish()
    }
}

/// The roots of the filters of an open table that can be used.
#[derive(Debug, Default)]
pub(crate) struct FilterRoots {
    pub(crate) keys: Option<IndexBlock>,
    pub(crate) prefixes: Option<IndexBlock>,
}

impl FilterRoots {
    #[inline]
    pub(crate) const fn get(&self, id: FilterId) -> Option<&IndexBlock> {
        match id {
            FilterId::Keys => self.keys.as_ref(),
            FilterId::Prefixes => self.prefixes.as_ref(),
        }
    }

    pub(crate) fn memory_len(&self) -> usize {
        [&self.keys, &self.prefixes].into_iter().flatten().map(IndexBlock::memory_len).sum()
    }
}
