//! How one table is to be written.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use lsm_codec::Compression;
use lsm_types::{KeyOrder, Level, SeqNo, TableId, check_name};

use crate::{
    ColumnarOptions, FilterOptions, PrefixFilterOptions, Result, SlicePart, SstError, TakenOver,
    data_block::RowOptions,
};

/// How one table is to be written. All sizes are in bytes before compression.
#[derive(Debug)]
pub struct BuildOptions {
    /// Order of the keys.
    pub order: KeyOrder,
    /// Level the table is written for; recorded.
    pub level: Level,
    /// A data block is closed by the entry that brings it to this size.
    pub data_block_bytes: usize,
    /// How rows are stored.
    pub rows: RowOptions,
    /// Compression of data blocks.
    pub compression: Compression,
    /// Compression of index partitions and range tombstones. Roots and properties are never compressed.
    pub index_compression: Compression,
    /// Size at which an index of one block is cut into partitions; 0 for partitions always.
    pub index_spill_bytes: usize,
    /// An index partition is closed by the entry that brings it to this size.
    pub index_partition_bytes: usize,
    /// Finished bytes are handed over in pieces of at least this size.
    pub write_buffer_bytes: usize,
    /// Number to add to every local one; recorded in the properties. Entries are given local numbers.
    pub global_seqno: SeqNo,
    /// Name and version of the writing program; recorded.
    pub writer: String,
    /// Whether the bounds of the sequence numbers of each data block are recorded, for change scans.
    pub seqno_bounds: bool,
    /// Tables that a compaction makes it from; recorded in ascending order.
    pub inputs: Vec<TableId>,
    /// The slice of a merge that it belongs to; recorded.
    pub slice: Option<SlicePart>,
    /// Tables of which a part is taken over by now, in any order; recorded. `None` when there are too many to name.
    pub taken_over: Option<Vec<TakenOver>>,
    /// Rows are laid out in columns, in groups in place of data blocks.
    pub columnar: Option<ColumnarOptions>,
    /// The filter over keys, where one is wanted.
    pub filter: Option<FilterOptions>,
    /// The filter over prefixes, where one is wanted.
    pub prefix_filter: Option<PrefixFilterOptions>,
}

impl BuildOptions {
    /// Defaults: blocks of 4 KiB, LZ4, an index of one block up to 4 MiB, no filter.
    pub fn new(order: KeyOrder) -> Self {
        Self {
            order,
            level: Level::new(0),
            data_block_bytes: 4 << 10,
            rows: RowOptions::default(),
            compression: Compression::Lz4,
            index_compression: Compression::Lz4,
            index_spill_bytes: 4 << 20,
            index_partition_bytes: 32 << 10,
            write_buffer_bytes: 256 << 10,
            global_seqno: SeqNo::ZERO,
            writer: concat!("lsm ", env!("CARGO_PKG_VERSION")).to_owned(),
            seqno_bounds: false,
            inputs: Vec::new(),
            slice: None,
            taken_over: Some(Vec::new()),
            columnar: None,
            filter: None,
            prefix_filter: None,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |setting| Err(SstError::Setting { setting }.into());
        check_name(self.order.comparator().name())?;
        check_name(&self.writer)?;
        if let Some(prefixes) = &self.prefix_filter {
            check_name(prefixes.extractor.name())?;
        }
        let filters = [self.filter, self.prefix_filter.as_ref().map(|prefixes| prefixes.filter)];
        if filters.iter().flatten().any(|filter| filter.partition_bytes > 4 << 20) {
            return wrong("filter.partition_bytes");
        }
        if let Some(columnar) = &self.columnar {
            columnar.check()?;
        }
        if self.rows.bundle_shift > 7 {
            return wrong("rows.bundle_shift");
        }
        // A block takes one more entry than fits; the cap of its kind leaves room for the largest.
        if self.data_block_bytes == 0 || self.data_block_bytes > 64 << 20 {
            return wrong("data_block_bytes");
        }
        if self.index_spill_bytes > 32 << 20 {
            return wrong("index_spill_bytes");
        }
        if self.index_partition_bytes == 0 || self.index_partition_bytes > 8 << 20 {
            return wrong("index_partition_bytes");
        }
        if !self.global_seqno.is_write() {
            return wrong("global_seqno");
        }
        Ok(())
    }
}
