//! The filters of a table while it is written.
//!
//! A filter is worth less than the table: one that cannot be built is left out, and the table goes on without.

use alloc::vec::Vec;

use lsm_block::{BlockKind, FrameHeader, Handle};
use lsm_types::{KeyHash, SeqNo};

use crate::{
    FilterFacts, FilterId, FilterOptions, PrefixFilterOptions, Result,
    filter::PartitionBuilder,
    index::{IndexBlockBuilder, IndexEntry},
};

/// Where a full partition of a filter goes: into the data region, behind all that is closed.
pub(super) trait FilterSink {
    /// Appends a frame for `payload`; where it lies and its ordinal.
    fn append_filter(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(Handle, u32)>;
}

/// Cuts the partitions of one filter between user keys and keeps their root, which is an index block over them:
/// separators are whole keys, row counts are the hashes of each partition.
#[derive(Debug)]
struct Partitions {
    id: FilterId,
    options: FilterOptions,
    builder: PartitionBuilder,
    root: IndexBlockBuilder,
    /// Whether a key came since the last cut, with or without a hash.
    is_open: bool,
    hashes: u64,
    payload: Vec<u8>,
    /// Whether the filter was given up.
    failed: bool,
}

impl Partitions {
    fn new(id: FilterId, options: FilterOptions) -> Self {
        Self {
            id,
            options,
            builder: PartitionBuilder::new(id, options.bits),
            root: IndexBlockBuilder::new(true),
            is_open: false,
            hashes: 0,
            payload: Vec::new(),
            failed: false,
        }
    }

    fn memory_len(&self) -> usize {
        self.builder.memory_len() + self.root.memory_len() + self.payload.capacity()
    }

    /// Before a new user key that brings `count` hashes: closes a partition they might not fit into, which then ends
    /// with the key `last`; says whether it did.
    fn make_room<S: FilterSink>(&mut self, count: usize, last: &[u8], sink: &mut S) -> Result<bool> {
        let fits = self.builder.len() + count <= self.options.hashes_max()
            && self.builder.fits(count, self.options.partition_bytes);
        let cut = !fits && self.builder.len() > 0;
        if cut {
            self.close(last, sink)?;
        }
        self.is_open = true;
        Ok(cut)
    }

    fn push(&mut self, hash: KeyHash) {
        if !self.failed {
            self.builder.push(hash);
        }
    }

    /// The payload of the root, after the last key; `None` when there was no key or the filter was given up.
    fn finish<S: FilterSink>(&mut self, last: &[u8], sink: &mut S) -> Result<Option<Vec<u8>>> {
        if self.is_open {
            self.close(last, sink)?;
        }
        if self.failed || self.root.is_empty() {
            return Ok(None);
        }
        let mut payload = Vec::new();
        self.root.finish(&mut payload);
        Ok(Some(payload))
    }

    fn close<S: FilterSink>(&mut self, last: &[u8], sink: &mut S) -> Result<()> {
        self.is_open = false;
        if self.failed {
            return Ok(());
        }
        let rows = self.builder.len() as u64;
        let kind = self.id.partition_kind();
        self.payload.clear();
        let root_len = self.root.logical_len() + last.len() + FrameHeader::LEN;
        let fits = !self.root.is_full() && root_len <= self.id.root_kind().cap() as usize;
        if !fits || !self.builder.finish(&mut self.payload) || self.payload.len() > kind.cap() as usize {
            self.give_up();
            return Ok(());
        }
        let (handle, ordinal) = sink.append_filter(kind, &self.payload)?;
        let entry = IndexEntry { handle, ordinal, rows, last_seqno: SeqNo::ZERO };
        self.root.push(last, entry);
        self.hashes += rows;
        Ok(())
    }

    #[cold]
    fn give_up(&mut self) {
        self.failed = true;
        self.builder = PartitionBuilder::new(self.id, self.options.bits);
        self.root = IndexBlockBuilder::new(true);
        self.payload = Vec::new();
    }
}

/// Both filters of a table, as far as they are wanted.
#[derive(Debug, Default)]
pub(super) struct FilterWriter {
    keys: Option<Partitions>,
    prefixes: Option<(PrefixFilterOptions, Partitions)>,
    /// Hashes of the prefixes of the key before and of this one.
    before: Vec<KeyHash>,
    now: Vec<KeyHash>,
}

/// What became of a filter.
#[derive(Debug)]
pub(super) struct FinishedFilter {
    pub(super) id: FilterId,
    /// The payload of its root; `None` when it was given up.
    pub(super) root: Option<Vec<u8>>,
    pub(super) facts: FilterFacts,
    /// Hashes in its partitions.
    pub(super) hashes: u64,
}

impl FilterWriter {
    pub(super) fn new(keys: Option<FilterOptions>, prefixes: Option<PrefixFilterOptions>) -> Self {
        Self {
            keys: keys.map(|options| Partitions::new(FilterId::Keys, options)),
            prefixes: prefixes.map(|options| {
                let partitions = Partitions::new(FilterId::Prefixes, options.filter);
                (options, partitions)
            }),
            before: Vec::new(),
            now: Vec::new(),
        }
    }

    pub(super) fn memory_len(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, Partitions::memory_len);
        keys + self.prefixes.as_ref().map_or(0, |(_, partitions)| partitions.memory_len())
    }

    /// Takes in a new user key; `last` is the one before.
    pub(super) fn push<S: FilterSink>(&mut self, key: &[u8], last: &[u8], sink: &mut S) -> Result<()> {
        if let Some(keys) = &mut self.keys {
            keys.make_room(1, last, sink)?;
            keys.push(KeyHash::of(key));
        }
        let Some((options, prefixes)) = &mut self.prefixes else { return Ok(()) };
        self.now.clear();
        options.extractor.prefixes(key, &mut |prefix| self.now.push(KeyHash::of_prefix(prefix)));
        if prefixes.make_room(self.now.len(), last, sink)? {
            // What both sides of the border have is named on both sides.
            self.before.clear();
        }
        for hash in &self.now {
            if !self.before.contains(hash) {
                prefixes.push(*hash);
            }
        }
        core::mem::swap(&mut self.before, &mut self.now);
        Ok(())
    }

    /// Closes the last partitions, after the key `last`.
    pub(super) fn finish<S: FilterSink>(self, last: &[u8], sink: &mut S) -> Result<Vec<FinishedFilter>> {
        let mut finished = Vec::new();
        for mut partitions in self.keys.into_iter().chain(self.prefixes.map(|(_, partitions)| partitions)) {
            if partitions.root.is_empty() && !partitions.is_open && !partitions.failed {
                continue; // a table without keys
            }
            let root = partitions.finish(last, sink)?;
            let facts = FilterFacts::new(partitions.id, partitions.options.bits);
            finished.push(FinishedFilter { id: partitions.id, root, facts, hashes: partitions.hashes });
        }
        Ok(finished)
    }
}
