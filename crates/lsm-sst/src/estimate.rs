//! What the index alone says about where keys lie: sizes, ranks and split points, exact to one block.

use alloc::vec::Vec;

use lsm_block::{BlockKind, Superblock};
use lsm_types::{Result, SeqNo, Slice, columns::KeyBuf};

use crate::{BlockSource, FilterId, TableLayout, index::IndexBlock};

impl TableLayout {
    /// Bytes of the file before the block that would hold `key`, superblock and index partitions among them.
    pub fn approximate_offset<S: BlockSource + ?Sized>(&self, source: &S, key: &[u8]) -> Result<u64> {
        let Some((_, entry)) = self.locate(source, key, SeqNo::LATEST)? else { return Ok(self.data_end()) };
        Ok(entry.handle.offset)
    }

    /// Bytes of the file between `lower` and `upper`; zero when `upper` is not above `lower`.
    pub fn approximate_len<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        lower: &[u8],
        upper: &[u8],
    ) -> Result<u64> {
        let start = self.approximate_offset(source, lower)?;
        Ok(self.approximate_offset(source, upper)?.saturating_sub(start))
    }

    /// Entries before the block that would hold `key`.
    pub fn approximate_rank<S: BlockSource + ?Sized>(&self, source: &S, key: &[u8]) -> Result<u64> {
        let root_idx = self.root.find(&self.order, key, SeqNo::LATEST);
        let before = self.root.rows_before(root_idx);
        match self.root.entry(root_idx).filter(|_| self.root.is_upper()) {
            Some(entry) => {
                let partition = source.index(entry.into())?;
                let entry_idx = partition.find(&self.order, key, SeqNo::LATEST);
                Ok(before.saturating_add(partition.rows_before(entry_idx)))
            }
            None => Ok(before),
        }
    }

    /// What nobody reads any more once entries below `floor` are gone: bytes from the head of the file on, and entries.
    ///
    /// The bytes end where the first block begins that may hold an entry from `floor` on, or a partition of the index or of
    /// a filter that leads to one, or anything else than these. The entries are those of whole blocks.
    ///
    /// # Errors
    /// What reading an index partition finds.
    pub fn consumed_below<S: BlockSource + ?Sized>(&self, source: &S, floor: &[u8]) -> Result<(u64, u64)> {
        let head = Superblock::LEN as u64;
        let entries = self.approximate_rank(source, floor)?.min(self.entries());
        let data = self.approximate_offset(source, floor)?;
        let first = |index: &IndexBlock| index.entry(index.find(&self.order, floor, SeqNo::LATEST));
        let indexes =
            [Some(&*self.root), self.filters.get(FilterId::Keys), self.filters.get(FilterId::Prefixes)];
        let partitions = indexes.into_iter().flatten().filter_map(first).map(|entry| entry.handle.offset);
        let is_block = |kind| {
            let filters = [FilterId::Keys, FilterId::Prefixes].map(FilterId::partition_kind);
            let data =
                [BlockKind::DATA, BlockKind::ROW_GROUP, BlockKind::COLUMN_PAGE, BlockKind::INDEX_PARTITION];
            data.contains(&kind) || filters.contains(&kind)
        };
        let sections = self.directory.sections.iter().filter(|section| !is_block(section.kind));
        let kept = partitions.chain(sections.map(|section| section.offset)).min();
        Ok((data.min(kept.unwrap_or(data)).saturating_sub(head), entries))
    }

    /// Up to `parts - 1` keys that cut the table into parts of about equal numbers of entries: part `i` holds the keys
    /// above key `i - 1`, up to and including key `i`. Fewer when there are too few blocks.
    pub fn split_keys<S: BlockSource + ?Sized>(&self, source: &S, parts: usize) -> Result<Vec<Slice>> {
        let (mut keys, mut buf) = (Vec::new(), KeyBuf::new());
        let (entries, parts) = (u128::from(self.entries()), parts as u128);
        for part in 1..parts.min(entries) {
            let rank = u64::try_from(part * entries / parts).unwrap_or(u64::MAX);
            let (root_idx, rank) = entry_of_rank(&self.root, rank);
            let partition = match self.root.entry(root_idx).filter(|_| self.root.is_upper()) {
                Some(entry) => &source.index(entry.into())?,
                None => &self.root,
            };
            let entry_idx = if self.root.is_upper() { entry_of_rank(partition, rank).0 } else { root_idx };
            buf.reset();
            partition.separator(entry_idx, &mut buf);
            keys.push(Slice::copy_from(buf.as_slice()));
        }
        // Parts smaller than a block end at the same separator; the last block ends no part but the last.
        keys.dedup();
        if let Some((_, max)) = &self.properties.keys {
            keys.retain(|key| self.order.compare(key, max).is_lt());
        }
        Ok(keys)
    }

    fn data_end(&self) -> u64 {
        let data = self.directory.primary(self.data_kind());
        data.map_or(lsm_block::Superblock::LEN as u64, |section| section.offset.saturating_add(section.len))
    }
}

/// The entry that holds row `rank` of `index`, and the row's rank among the rows of that entry.
fn entry_of_rank(index: &IndexBlock, mut rank: u64) -> (usize, u64) {
    for idx in 0..index.entries() {
        let rows = index.entry(idx).map_or(0, |entry| entry.rows);
        if rank < rows {
            return (idx, rank);
        }
        rank -= rows;
    }
    (index.entries().saturating_sub(1), 0)
}
