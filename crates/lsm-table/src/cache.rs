//! Decoded blocks, bounded by their bytes and shared by trees.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use lsm_columnar::DeleteMap;
use lsm_sst::{ColumnPage, FilterPartition, GroupRows, RowGroup, data_block::DataBlock, index::IndexBlock};
use lsm_types::Result;
use quick_cache::{DefaultHashBuilder, Weighter, sync::Cache};

use crate::value_log::CachedValue;

/// Bytes of bookkeeping that an entry costs besides its block.
const ENTRY_OVERHEAD: u64 = 96;
/// Size of a block, for the first guess of how many there will be.
const TYPICAL_BLOCK: u64 = 4 << 10;

/// A block as the cache holds it.
#[derive(Clone, Debug)]
pub(crate) enum CachedBlock {
    Data(Arc<DataBlock>),
    /// In place of [`CachedBlock::Data`], until its rows are put together.
    Rows(Arc<GroupRows>),
    Index(Arc<IndexBlock>),
    Filter(Arc<FilterPartition>),
    Value(Arc<CachedValue>),
    Vector(Arc<DeleteMap>),
    Group(Arc<RowGroup>),
    Page(Arc<ColumnPage>),
}

impl CachedBlock {
    fn memory_len(&self) -> u64 {
        let len = match self {
            Self::Data(block) => block.memory_len(),
            Self::Rows(rows) => rows.memory_len(),
            Self::Index(block) => block.memory_len(),
            Self::Filter(partition) => partition.memory_len(),
            Self::Value(value) => value.memory_len(),
            Self::Vector(vector) => vector.memory_len(),
            Self::Group(group) => group.memory_len(),
            Self::Page(page) => page.memory_len(),
        };
        len as u64
    }

    /// Bytes it is charged with.
    pub(crate) fn weight(&self) -> u64 {
        self.memory_len() + ENTRY_OVERHEAD
    }
}

/// Which block: a file by a number that is never used twice for the same cache, and the block's place in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct BlockKey {
    file: u64,
    offset: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlockKey, CachedBlock> for ByBytes {
    fn weight(&self, _: &BlockKey, block: &CachedBlock) -> u64 {
        block.weight()
    }
}

/// A cache of decoded blocks. Clones share it.
///
/// Files are told apart by numbers of the cache's own, so a hit can never come from an earlier file of the same
/// name. Several threads that miss the same block read it once.
#[derive(Clone)]
pub struct BlockCache {
    blocks: Arc<Cache<BlockKey, CachedBlock, ByBytes, DefaultHashBuilder>>,
    next_file: Arc<AtomicU64>,
}

impl BlockCache {
    /// A cache of `bytes` bytes, bookkeeping included; 0 caches nothing.
    pub fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes / TYPICAL_BLOCK).unwrap_or(usize::MAX).max(16);
        Self { blocks: Arc::new(Cache::with_weighter(blocks, bytes, ByBytes)), next_file: Arc::default() }
    }

    /// Bytes it may hold.
    pub fn capacity(&self) -> u64 {
        self.blocks.capacity()
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.blocks.weight()
    }

    /// Blocks it holds.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// A number for a file.
    pub(crate) fn new_file(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn get(&self, file: u64, offset: u64) -> Option<CachedBlock> {
        self.blocks.get(&BlockKey { file, offset })
    }

    /// Whether the block is there. Asking does not count as a use of it.
    pub(crate) fn contains(&self, file: u64, offset: u64) -> bool {
        self.blocks.contains_key(&BlockKey { file, offset })
    }

    /// Takes a block that was read elsewhere.
    pub(crate) fn insert(&self, file: u64, offset: u64, block: CachedBlock) {
        self.blocks.insert(BlockKey { file, offset }, block);
    }

    /// The block, read by `load` when it is not there.
    pub(crate) fn get_or_load(
        &self,
        file: u64,
        offset: u64,
        load: impl FnOnce() -> Result<CachedBlock>,
    ) -> Result<CachedBlock> {
        self.blocks.get_or_insert_with(&BlockKey { file, offset }, load)
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCache({} of {} bytes)", self.bytes(), self.capacity())
    }
}
