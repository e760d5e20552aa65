//! A table whose entries are all written and whose number is still open.
//!
//! Tables that are loaded in bulk hold local numbers, and get the one that is added to them when they become part of the
//! tree (`docs/format/sst.md`). By then all but the metadata at the end of the file is written, and can be durable.

use alloc::vec::Vec;

use lsm_block::Output;
use lsm_types::{Cut, SeqNo, Slice};

use super::{
    TableBuilder,
    finish::{self, Body, TableSummary},
    open_rows::OpenRows,
};
use crate::{
    Result, SstError, builder::filter_writer::FilterWriter, data_block::DataBlockBuilder, index::IndexWriter,
};

/// A table without its last part; see [`TableBuilder::end`]. Dropping it leaves a file that cannot be opened.
#[derive(Debug)]
pub struct EndedTable<O> {
    builder: TableBuilder<O>,
    body: Body,
}

impl<O: Output> EndedTable<O> {
    pub(super) fn new(mut builder: TableBuilder<O>) -> Result<Self> {
        let body = finish::end_body(&mut builder)?;
        Self::with_body(builder, body)
    }

    pub(super) fn with_body(mut builder: TableBuilder<O>, body: Body) -> Result<Self> {
        builder.sink.flush_and_shrink()?;
        // Many tables may wait at once: what is used up takes no memory.
        builder.block = OpenRows::Rows(DataBlockBuilder::new(builder.options.rows));
        builder.index = IndexWriter::new(0, 1);
        builder.filter = FilterWriter::default();
        (builder.payload, builder.separator, builder.bounds) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { builder, body })
    }

    /// Where the bytes go, for callers that put it aside meanwhile.
    pub fn output_mut(&mut self) -> &mut O {
        self.builder.sink.output_mut()
    }

    /// Smallest and largest user key of entries.
    pub fn keys(&self) -> Option<(&Slice, &[u8])> {
        self.builder.first_key.as_ref().map(|first| (first, self.builder.last_key.as_slice()))
    }

    /// What entries and range tombstones span together; `None` for an empty table.
    pub fn extent(&self) -> Option<(Cut, Cut)> {
        self.builder.extent()
    }

    /// Changes the number that is added to every local one.
    ///
    /// # Errors
    /// `SeqNoOutOfRange` when an entry or a range tombstone would get a number that no write may carry.
    pub fn set_global_seqno(&mut self, global: SeqNo) -> Result<()> {
        let builder = &mut self.builder;
        let points = builder.properties.point_seqnos.map(|bounds| bounds.max);
        let deletes = builder.tombstones.iter().map(|tombstone| tombstone.seqno);
        let local = deletes.chain(points).max().unwrap_or_default();
        if !local.checked_add(global.get()).is_some_and(SeqNo::is_write) {
            return Err(SstError::SeqNoOutOfRange { local, global }.into());
        }
        builder.options.global_seqno = global;
        Ok(())
    }

    /// Writes the metadata and describes the table. Making it durable is the caller's business.
    pub fn finish(self) -> Result<(TableSummary, O)> {
        finish::finish(self.builder, self.body)
    }
}
