//! The blocks around one that a walk comes to, for sources that read ahead.

use core::ops::Bound;

use lsm_types::{SeqNo, Slice};

use crate::{BlockRef, TableLayout, index::IndexBlock};

/// What the index says about the blocks around one that a walk comes to, as far as the index block at hand knows them.
#[derive(Debug)]
pub struct Neighbours<'a> {
    pub(crate) layout: &'a TableLayout,
    /// The index block whose entries are data blocks.
    pub(crate) leaf: &'a IndexBlock,
    pub(crate) entry_idx: usize,
    /// Keys that the walk will not leave.
    pub(crate) bounds: &'a (Bound<Slice>, Bound<Slice>),
    /// What lies below may be gone.
    pub(crate) floor: Option<&'a Slice>,
}

impl Neighbours<'_> {
    /// The blocks that the walk comes to next when it goes forward, up to the one where it passes its upper bound.
    pub fn after(&self) -> impl Iterator<Item = BlockRef> {
        let past = match &self.bounds.1 {
            Bound::Unbounded => usize::MAX,
            Bound::Included(key) => self.find(key, SeqNo::ZERO).saturating_add(1),
            Bound::Excluded(key) => self.find(key, SeqNo::LATEST).saturating_add(1),
        };
        self.refs(self.entry_idx + 1..past.min(self.leaf.entries()))
    }

    /// The same back, down to the block where it passes its lower bound; the nearest one comes first.
    pub fn before(&self) -> impl Iterator<Item = BlockRef> {
        let first = match &self.bounds.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.find(key, SeqNo::LATEST),
            Bound::Excluded(key) => self.find(key, SeqNo::ZERO),
        };
        let floor = self.floor.map_or(0, |floor| self.find(floor, SeqNo::LATEST));
        self.refs((first.max(floor)..self.entry_idx).rev())
    }

    /// Whether the block is the first one of its index block. Index partitions lie among data blocks, so there may be a
    /// gap before it.
    pub fn is_first(&self) -> bool {
        self.entry_idx == 0
    }

    /// Whether the block is the last one of its index block, so that there may be a gap behind it.
    pub fn is_last(&self) -> bool {
        self.entry_idx + 1 >= self.leaf.entries()
    }

    fn find(&self, key: &[u8], before: SeqNo) -> usize {
        self.leaf.find(&self.layout.order, key, self.layout.local(before))
    }

    fn refs(&self, entries: impl Iterator<Item = usize>) -> impl Iterator<Item = BlockRef> {
        entries.filter_map(|entry| self.leaf.entry(entry)).map(BlockRef::from)
    }
}
