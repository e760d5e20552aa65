//! How tables are written, by level.

use lsm_codec::Compression;
use lsm_sst::{BuildOptions, FilterBits, FilterOptions, data_block::RowOptions};
use lsm_types::{ErrorKind, Fault, KeyOrder, Level, Result};

use crate::{
    ExpectHits, FilterScene, LevelFilter,
    filter_policy::{bits_at, bits_within},
};

/// How tables are written. Lists are by level; the last element holds for all deeper levels.
///
/// The deepest level of a tree takes the last element of a list, however few levels lie above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePolicy {
    /// Bytes at which a data block is closed, before compression. Default 4 KiB, 16 KiB at the last level.
    pub data_block_bytes: Vec<u32>,
    /// Rows that share a key prefix, as a power of two up to 7. Default 4, which is 16 rows.
    pub bundle_shift: Vec<u8>,
    /// Compression of data blocks. Default LZ4 for levels 0 and 1, zstd 3 below.
    pub compression: Vec<Compression>,
    /// Compression of index partitions. Default LZ4 from level 2 on.
    pub index_compression: Vec<Compression>,
    /// Bytes at which an index is cut into partitions; 0 cuts always. Default 4 MiB.
    pub index_spill_bytes: u32,
    /// Bytes of an index partition. Default 32 KiB.
    pub index_partition_bytes: u32,
    /// Bytes handed to the file system at once. Default 256 KiB.
    pub file_buffer_bytes: u32,
    /// Whether tables record the bounds of the sequence numbers of each data block, so that change scans pass what did
    /// not change. Takes at most 16 bytes per block in the file, mostly less than 8. Default no.
    pub seqno_bounds: bool,
    /// Filters over keys. Default [`LevelFilter::Auto`] everywhere.
    pub filter: Vec<LevelFilter>,
    /// Bytes that the filters over keys of a tree may take together, shared out among its levels so that reads of
    /// absent keys look into as few tables as possible; replaces the bits in `filter`, not [`LevelFilter::Off`].
    /// Approached as tables are written anew. Default none.
    pub filter_budget_bytes: Option<u64>,
    /// Bytes of a filter partition where filters are partitioned. Default 32 KiB.
    pub filter_partition_bytes: u32,
    /// Whether filters are cut into partitions. One that is not is cut when it passes 256 KiB. Default from level 2 on.
    pub filter_partitioning: Vec<bool>,
    /// Whether filters stay in memory while their table is open, beside the cache. Goes by the level a table was
    /// written for. Default level 0 alone.
    pub pin_filter: Vec<bool>,
    /// Whether the last level does without filters over keys. Default [`ExpectHits::Auto`].
    pub expect_point_read_hits: ExpectHits,
    /// Filters over prefixes, where there is an extractor. Default as `filter`.
    pub prefix_filter_bits: Option<Vec<LevelFilter>>,
}

impl Default for TablePolicy {
    fn default() -> Self {
        let zstd = Compression::Zstd { level: 3 };
        Self {
            data_block_bytes: vec![4 << 10, 4 << 10, 4 << 10, 4 << 10, 4 << 10, 4 << 10, 16 << 10],
            bundle_shift: vec![4],
            compression: vec![Compression::Lz4, Compression::Lz4, zstd],
            index_compression: vec![Compression::None, Compression::None, Compression::Lz4],
            index_spill_bytes: 4 << 20,
            index_partition_bytes: 32 << 10,
            file_buffer_bytes: 256 << 10,
            seqno_bounds: false,
            filter: vec![LevelFilter::Auto],
            filter_budget_bytes: None,
            filter_partition_bytes: 32 << 10,
            filter_partitioning: vec![false, false, true],
            pin_filter: vec![true, false],
            expect_point_read_hits: ExpectHits::default(),
            prefix_filter_bits: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("option `{option}`: {problem}")]
pub(crate) struct PolicyError {
    pub(crate) option: &'static str,
    pub(crate) problem: &'static str,
}

impl Fault for PolicyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidConfig
    }
}

impl TablePolicy {
    /// The same compression for data blocks of all levels.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = vec![compression];
        self
    }

    /// The same size of data blocks at all levels.
    pub fn data_block_bytes(mut self, bytes: u32) -> Self {
        self.data_block_bytes = vec![bytes];
        self
    }

    /// Bounds of the sequence numbers of each data block, or none.
    pub fn seqno_bounds(mut self, recorded: bool) -> Self {
        self.seqno_bounds = recorded;
        self
    }

    /// The same filters over keys at all levels.
    pub fn filter(mut self, filter: LevelFilter) -> Self {
        self.filter = vec![filter];
        self
    }

    /// Refuses what no table can be written with: `InvalidConfig`.
    ///
    /// # Errors
    /// Names the option and what it has to be.
    pub fn validate(&self) -> Result<()> {
        let wrong = |option, problem| Err(PolicyError { option, problem }.into());
        let lists = [self.data_block_bytes.len(), self.bundle_shift.len(), self.compression.len()];
        if lists.contains(&0) || self.index_compression.is_empty() {
            return wrong("tables", "lists by level must have at least one element");
        }
        if !self.data_block_bytes.iter().all(|bytes| (256..=4 << 20).contains(bytes)) {
            return wrong("data_block_bytes", "must be 256 bytes to 4 MiB");
        }
        if !self.bundle_shift.iter().all(|shift| *shift <= 7) {
            return wrong("bundle_shift", "must be at most 7");
        }
        if self.index_spill_bytes > 32 << 20 {
            return wrong("index_spill_bytes", "must be at most 32 MiB");
        }
        if !(256..=8 << 20).contains(&self.index_partition_bytes) {
            return wrong("index_partition_bytes", "must be 256 bytes to 8 MiB");
        }
        if !(4 << 10..=64 << 20).contains(&self.file_buffer_bytes) {
            return wrong("file_buffer_bytes", "must be 4 KiB to 64 MiB");
        }
        let lists = [self.filter.len(), self.filter_partitioning.len(), self.pin_filter.len()];
        if lists.contains(&0) || self.prefix_filter_bits.as_ref().is_some_and(Vec::is_empty) {
            return wrong(
                "filter",
                "lists by level must have at least one element; to have no filter, say `Off`",
            );
        }
        if !(256..=SINGLE_FILTER_BYTES).contains(&self.filter_partition_bytes) {
            return wrong("filter_partition_bytes", "must be 256 bytes to 256 KiB");
        }
        if self.filter_budget_bytes == Some(0) {
            return wrong(
                "filter_budget_bytes",
                "must be at least 1; to have no filter, set `filter` to `Off`",
            );
        }
        Ok(())
    }

    /// How a table for `level`, of `level_count` levels, is written.
    pub(crate) fn build_options(&self, order: &KeyOrder, level: Level, level_count: u8) -> BuildOptions {
        let is_last = level.get() + 1 >= level_count;
        let mut options = BuildOptions::new(order.clone());
        options.level = level;
        options.data_block_bytes = pick(&self.data_block_bytes, level, is_last).unwrap_or(4 << 10) as usize;
        let bundle_shift = pick(&self.bundle_shift, level, is_last).unwrap_or(4);
        options.rows = RowOptions { bundle_shift, ..RowOptions::default() };
        options.compression = pick(&self.compression, level, is_last).unwrap_or(Compression::None);
        options.index_compression =
            pick(&self.index_compression, level, is_last).unwrap_or(Compression::None);
        options.index_spill_bytes = self.index_spill_bytes as usize;
        options.index_partition_bytes = self.index_partition_bytes as usize;
        options.seqno_bounds = self.seqno_bounds;
        options.write_buffer_bytes = self.file_buffer_bytes as usize;
        options
    }
}

/// Bytes at which a filter that is not to be partitioned is cut all the same.
const SINGLE_FILTER_BYTES: u32 = 256 << 10;

impl TablePolicy {
    /// The filter over keys of a table for `level`, of `level_count` levels; `None` for none.
    pub(crate) fn key_filter(
        &self,
        scene: &FilterScene,
        level: Level,
        level_count: u8,
    ) -> Option<FilterOptions> {
        let is_last = level.get() + 1 >= level_count;
        let hits = match self.expect_point_read_hits {
            ExpectHits::No => false,
            ExpectHits::Yes => true,
            ExpectHits::Auto => scene.reads_hit,
        };
        if is_last && hits {
            return None;
        }
        let bits = bits_at(|level, is_last| pick(&self.filter, level, is_last), scene, level, level_count)?;
        let bits = match self.filter_budget_bytes {
            Some(budget) => bits_within(budget, scene, level)?,
            None => bits,
        };
        Some(self.filter_options(bits, level, is_last))
    }

    /// The filter over prefixes of a table for `level`, of `level_count` levels; `None` for none.
    pub(crate) fn prefix_filter(
        &self,
        scene: &FilterScene,
        level: Level,
        level_count: u8,
    ) -> Option<FilterOptions> {
        let list = self.prefix_filter_bits.as_ref().unwrap_or(&self.filter);
        let bits = bits_at(|level, is_last| pick(list, level, is_last), scene, level, level_count)?;
        Some(self.filter_options(bits, level, level.get() + 1 >= level_count))
    }

    fn filter_options(&self, bits: FilterBits, level: Level, is_last: bool) -> FilterOptions {
        let partitioned = pick(&self.filter_partitioning, level, is_last).unwrap_or(true);
        let partition_bytes = if partitioned { self.filter_partition_bytes } else { SINGLE_FILTER_BYTES };
        FilterOptions { bits, partition_bytes: partition_bytes as usize }
    }

    /// Whether the filters of tables written for `level` stay in memory.
    pub(crate) fn pins_filter(&self, level: Level) -> bool {
        pick(&self.pin_filter, level, false).unwrap_or(false)
    }
}

fn pick<T: Copy>(list: &[T], level: Level, is_last: bool) -> Option<T> {
    let deepest = list.last().copied();
    if is_last { deepest } else { list.get(usize::from(level.get())).copied().or(deepest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves F-36, F-43.
    #[test]
    fn lists_repeat_their_last_element_and_the_deepest_level_takes_it() {
        let policy = TablePolicy::default();
        let at = |level, count| policy.build_options(&KeyOrder::bytewise(), Level::new(level), count);
        assert_eq!(at(0, 7).data_block_bytes, 4 << 10);
        assert_eq!(at(6, 7).data_block_bytes, 16 << 10);
        assert_eq!(at(1, 2).data_block_bytes, 16 << 10, "the deepest of two");
        assert_eq!(at(1, 7).compression, Compression::Lz4);
        assert_eq!(at(2, 7).compression, Compression::Zstd { level: 3 });
        assert_eq!(at(9, 12).compression, Compression::Zstd { level: 3 });
    }

    /// Fault: engine W-19.
    #[test]
    fn impossible_settings_are_refused() {
        assert!(TablePolicy::default().validate().is_ok());
        assert!(TablePolicy::default().data_block_bytes(255).validate().is_err());
        assert!(TablePolicy { bundle_shift: vec![8], ..TablePolicy::default() }.validate().is_err());
        assert!(TablePolicy { compression: vec![], ..TablePolicy::default() }.validate().is_err());
    }
}
