//! The filter of a table while it is written.

use alloc::vec::Vec;

use lsm_block::BlockKind;
use lsm_codec::Compression;
use lsm_types::{KeyHash, SeqNo};

use super::sink::{FrameSink, Output};
use crate::{
    BoxedFilterBuilder, Result, SstError,
    index::{IndexBlockBuilder, IndexEntry},
};

/// Cuts filter partitions between user keys and keeps their root, which is an index block over them: separators
/// are whole keys, row counts are keys per partition.
#[derive(Debug)]
pub(super) struct FilterWriter {
    builder: BoxedFilterBuilder,
    root: IndexBlockBuilder,
    keys: u64,
    payload: Vec<u8>,
}

impl FilterWriter {
    pub(super) fn new(builder: BoxedFilterBuilder) -> Self {
        Self { builder, root: IndexBlockBuilder::new(true), keys: 0, payload: Vec::new() }
    }

    pub(super) fn memory_len(&self) -> usize {
        self.builder.memory_len() + self.root.memory_len() + self.payload.capacity()
    }

    /// Before a new user key comes: closes a full partition, which ends with the key `last`.
    pub(super) fn push<O: Output>(&mut self, key: &[u8], last: &[u8], sink: &mut FrameSink<O>) -> Result<()> {
        if self.builder.is_full() && self.keys > 0 {
            self.close(last, sink)?;
        }
        self.builder.push(KeyHash::of(key));
        self.keys += 1;
        Ok(())
    }

    /// The payload of the root, after the last key; `None` when there was no key.
    pub(super) fn finish<O: Output>(
        mut self,
        last: &[u8],
        sink: &mut FrameSink<O>,
    ) -> Result<Option<Vec<u8>>> {
        if self.keys > 0 {
            self.close(last, sink)?;
        }
        if self.root.is_empty() {
            return Ok(None);
        }
        let mut payload = Vec::new();
        self.root.finish(&mut payload);
        Ok(Some(payload))
    }

    fn close<O: Output>(&mut self, last: &[u8], sink: &mut FrameSink<O>) -> Result<()> {
        if self.root.is_full() {
            return Err(SstError::IndexFull.into());
        }
        self.payload.clear();
        self.builder.finish_partition(&mut self.payload);
        let (mark, ordinal) =
            sink.append_meta(BlockKind::FILTER_PARTITION, Compression::None, &self.payload)?;
        let entry = IndexEntry { handle: mark.handle, ordinal, rows: self.keys, last_seqno: SeqNo::ZERO };
        self.root.push(last, entry);
        self.keys = 0;
        Ok(())
    }
}
