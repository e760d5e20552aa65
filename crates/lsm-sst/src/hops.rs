//! A point read one block at a time, for callers that look for many keys and fetch the blocks of all of them at once.
//!
//! The way is that of [`TableLayout::get`]: ask the filter's partition ([`TableLayout::filter_part`]), take the first
//! hop, the second one where the index has partitions, and look into the block.

use lsm_types::{KeyHash, KeyOrder, Result, SeqNo};

use crate::{
    BlockRef, Found, PointRows, TableLayout,
    data_block::DataBlock,
    index::{IndexBlock, IndexEntry},
};

/// Where the index root sends a point read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// To a partition of the index.
    Partition(BlockRef),
    /// To a data block.
    Block(BlockRef),
    /// Nowhere: every entry of the table comes before.
    Nowhere,
}

impl TableLayout {
    /// Where the index root sends a read of `key` that sees numbers below `before`.
    #[inline]
    pub fn first_hop(&self, key: &[u8], before: SeqNo) -> Hop {
        let local = self.local(before);
        match reaching(&self.root, &self.order, key, local) {
            // A bound at or below the table's global number sees nothing in it.
            _ if local == SeqNo::ZERO => Hop::Nowhere,
            None => Hop::Nowhere,
            Some(entry) if self.root.is_upper() => Hop::Partition(entry.into()),
            Some(entry) => Hop::Block(entry.into()),
        }
    }

    /// The data block that `partition`, to which the first hop led, sends the same read to.
    ///
    /// # Errors
    /// `Corruption` when the partition ends before the root says it does.
    #[inline]
    pub fn second_hop(&self, partition: &IndexBlock, key: &[u8], before: SeqNo) -> Result<BlockRef> {
        let entry = reaching(partition, &self.order, key, self.local(before));
        entry.map(BlockRef::from).ok_or_else(|| self.disagree("index root"))
    }

    /// The newest version of `key` numbered below `before` in the block that the hops led to.
    #[inline]
    pub fn find_in(&self, block: &DataBlock, hash: KeyHash, key: &[u8], before: SeqNo) -> Option<Found> {
        self.find_local(block, hash, key, self.local(before))
    }

    /// As [`TableLayout::find_in`], for what [`TableLayout::decode_point`] came to.
    ///
    /// # Errors
    /// What putting the row together finds: `Corruption`, or a splitter that is missing.
    #[inline]
    pub fn find_in_rows(
        &self,
        rows: &PointRows,
        hash: KeyHash,
        key: &[u8],
        before: SeqNo,
    ) -> Result<Option<Found>> {
        self.find_local_in_rows(rows, hash, key, self.local(before))
    }

    /// The same with a local number.
    #[inline]
    pub(crate) fn find_local_in_rows(
        &self,
        rows: &PointRows,
        hash: KeyHash,
        key: &[u8],
        before: SeqNo,
    ) -> Result<Option<Found>> {
        match rows {
            PointRows::Block(block) => Ok(self.find_local(block, hash, key, before)),
            PointRows::Group(rows) => rows.find(self, key, before),
        }
    }

    /// As [`TableLayout::find_in`], with a local number.
    #[inline]
    pub(crate) fn find_local(
        &self,
        block: &DataBlock,
        hash: KeyHash,
        key: &[u8],
        before: SeqNo,
    ) -> Option<Found> {
        block.find(&self.order, hash, key, before).map(|row| self.found_in(block, row))
    }

    #[inline]
    pub(crate) fn found_in(&self, block: &DataBlock, row: usize) -> Found {
        let (seqno, kind) = (self.effective(block.seqno(row)), block.kind(row));
        Found { seqno, kind, value: block.value_slice(row) }
    }
}

/// What `index` says about the first block that can hold an entry at or after the point `(key, before)`.
#[inline]
pub(crate) fn reaching(
    index: &IndexBlock,
    order: &KeyOrder,
    key: &[u8],
    before: SeqNo,
) -> Option<IndexEntry> {
    index.entry(index.find(order, key, before))
}
