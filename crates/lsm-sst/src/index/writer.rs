//! The index of a table while it is written: one block as long as it is small, then partitions below a root.
//!
//! Memory holds one open partition and the root. The single block that grew past the limit is cut into partitions
//! once, by reading it back.

use alloc::vec::Vec;

use lsm_block::Handle;
use lsm_types::{Result, SeqNo, Slice, columns::KeyBuf};

use super::{ENTRIES_MAX, IndexBlock, IndexBlockBuilder, IndexEntry};
use crate::error::SstError;

/// Where a full partition goes: into the data region, right away.
pub(crate) trait PartitionSink {
    /// Appends a frame for `payload`; where it lies and its ordinal.
    fn append(&mut self, payload: &[u8]) -> Result<(Handle, u32)>;
}

/// Collects index entries of a table.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    /// The single block, or the open partition.
    open: IndexBlockBuilder,
    /// The root; used once there are partitions.
    root: IndexBlockBuilder,
    partitioned: bool,
    spill: usize,
    partition_len: usize,
    payload: Vec<u8>,
    /// Entries of each block whose entries are data blocks, in order; complete after the last one.
    entry_counts: Vec<usize>,
}

/// What more entries can make of an index, in bytes.
pub(crate) struct IndexBounds {
    /// What the index still adds to the file, uncompressed: at least, and at most.
    pub(crate) pending_least: usize,
    pub(crate) pending_most: usize,
    /// What goes to the sink meanwhile, at most.
    pub(crate) written_most: usize,
}

/// What a frame adds to a partition, at most, in bytes.
const FRAME_MOST: usize = 128;

impl IndexWriter {
    /// * `spill`: length, in bytes, at which a single block is cut into partitions; 0 for partitions always.
    /// * `partition_len`: length, in bytes, at which a partition is closed.
    pub(crate) fn new(spill: usize, partition_len: usize) -> Self {
        Self {
            open: IndexBlockBuilder::new(false),
            root: IndexBlockBuilder::new(true),
            partitioned: spill == 0,
            spill,
            partition_len,
            payload: Vec::new(),
            entry_counts: Vec::new(),
        }
    }

    /// Bytes of memory in use.
    pub(crate) const fn memory_len(&self) -> usize {
        self.open.memory_len()
            + self.root.memory_len()
            + self.payload.capacity()
            + self.entry_counts.capacity() * 8
    }

    /// Bytes the index will still add to the file, uncompressed.
    pub(crate) fn pending_len(&self) -> usize {
        self.open.logical_len() + self.root.logical_len()
    }

    /// What `more` entries, whose separators have `key_bytes` together, can make of it.
    pub(crate) fn bounds(&self, more: usize, key_bytes: usize) -> IndexBounds {
        let open = self.open.len_most(more, key_bytes);
        if !self.partitioned && open < self.spill && self.open.entries() + more < ENTRIES_MAX {
            let pending_least = self.pending_len();
            return IndexBounds {
                pending_least,
                pending_most: open + self.root.len_most(0, 0),
                written_most: 0,
            };
        }
        // Each partition is as long as it has to be, but for the last one, and ends with an entry that the root gets too.
        let partitions = more + open / self.partition_len.max(1) + 2;
        let written_most = open + partitions * FRAME_MOST;
        let pending_most = written_most + open + self.root.len_most(more, key_bytes);
        IndexBounds { pending_least: self.root.logical_len(), pending_most, written_most }
    }

    /// Entries of each block whose entries are data blocks, after [`IndexWriter::finish`].
    pub(crate) fn entry_counts(&self) -> &[usize] {
        &self.entry_counts
    }

    /// Adds the entry of a data block.
    pub(crate) fn push(
        &mut self,
        separator: &[u8],
        entry: IndexEntry,
        sink: &mut dyn PartitionSink,
    ) -> Result<()> {
        self.open.push(separator, entry);
        if self.partitioned {
            if self.open.logical_len() >= self.partition_len || self.open.is_full() {
                self.close_partition(sink)?;
            }
            return Ok(());
        }
        if self.open.logical_len() >= self.spill || self.open.is_full() {
            self.cut_single(sink)?;
        }
        Ok(())
    }

    /// The payload of the root, after the last entry.
    pub(crate) fn finish(&mut self, sink: &mut dyn PartitionSink, out: &mut Vec<u8>) -> Result<()> {
        if !self.partitioned {
            self.entry_counts.push(self.open.entries());
            self.open.finish(out);
            return Ok(());
        }
        if !self.open.is_empty() {
            self.close_partition(sink)?;
        }
        self.root.finish(out);
        Ok(())
    }

    fn cut_single(&mut self, sink: &mut dyn PartitionSink) -> Result<()> {
        let mut payload = Vec::new();
        self.open.finish(&mut payload);
        self.open = IndexBlockBuilder::new(false);
        self.partitioned = true;
        let single = IndexBlock::decode(Slice::from(payload)).map_err(SstError::OwnPayload)?;
        let mut separator = KeyBuf::new();
        for idx in 0..single.entries() {
            let Some(entry) = single.entry(idx) else { break };
            single.separator(idx, &mut separator);
            self.push(separator.as_slice(), entry, sink)?;
        }
        Ok(())
    }

    fn close_partition(&mut self, sink: &mut dyn PartitionSink) -> Result<()> {
        if self.root.is_full() {
            return Err(SstError::IndexFull.into());
        }
        let separator = self.open.last_separator().to_vec();
        let last_seqno = self.open.last_entry().map_or(SeqNo::ZERO, |entry| entry.last_seqno);
        let rows = self.open.rows();
        self.entry_counts.push(self.open.entries());
        self.payload.clear();
        self.open.finish(&mut self.payload);
        let (handle, ordinal) = sink.append(&self.payload)?;
        self.root.push(&separator, IndexEntry { handle, ordinal, rows, last_seqno });
        Ok(())
    }
}
