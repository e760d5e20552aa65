//! A stream of entries that runs ahead of its reader by a batch.

use std::ops::Range;

use lsm_types::{EntryRef, Kind, Result, SeqNo, Slice, ValueHandle};

use super::Copier;
use crate::stream::EntryStream;

/// Most entries of a batch.
const ENTRIES_MAX: usize = 1024;
/// Bytes of keys and values at which a batch ends.
const BYTES_MAX: usize = 256 << 10;
/// A longer value is shared with the block it comes from instead of copied.
const COPY_MAX: usize = 1 << 10;

/// Entries of a stream whose values are being relocated.
pub(crate) struct Ahead<'a, 'c, I> {
    inner: &'a mut I,
    copier: Copier<'c>,
    batch: Batch,
    /// The entry that is lent, and how many before it were.
    at: usize,
    is_begun: bool,
    is_through: bool,
}

impl<'a, 'c, I: EntryStream> Ahead<'a, 'c, I> {
    pub(crate) fn new(inner: &'a mut I, copier: Copier<'c>) -> Self {
        Self { inner, copier, batch: Batch::default(), at: 0, is_begun: false, is_through: false }
    }

    /// What copies, when everything is through.
    pub(crate) fn into_copier(self) -> Copier<'c> {
        self.copier
    }

    /// Bytes written for what was copied.
    pub(crate) fn copied_len(&self) -> u64 {
        self.copier.written_len()
    }

    /// Where all was given out: the stream, which goes on when it was moved on.
    pub(crate) fn go_on(&mut self) -> &mut I {
        (self.is_begun, self.is_through, self.at) = (false, false, 0);
        self.batch.clear();
        self.inner
    }

    fn fill(&mut self) -> Result<()> {
        self.batch.clear();
        while self.batch.has_room(self.copier.readahead_bytes()) {
            if !self.inner.advance()? {
                self.is_through = true;
                break;
            }
            let Some(entry) = self.inner.entry() else { break };
            let shared = (entry.value.len() > COPY_MAX).then(|| self.inner.value());
            self.batch.push(entry, shared, &self.copier);
        }
        self.copier.relocate(&mut self.batch)
    }
}

impl<I: EntryStream> EntryStream for Ahead<'_, '_, I> {
    fn advance(&mut self) -> Result<bool> {
        if self.is_begun {
            self.at += 1;
        }
        self.is_begun = true;
        if self.at >= self.batch.entries.len() && !self.is_through {
            self.at = 0;
            self.fill()?;
        }
        Ok(self.at < self.batch.entries.len())
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.batch.entry(self.at)
    }

    fn value(&self) -> Slice {
        self.entry().map_or_else(Slice::empty, |entry| Slice::copy_from(entry.value))
    }
}

/// Entries that wait to be written.
#[derive(Default)]
pub(super) struct Batch {
    /// Keys and short values.
    bytes: Vec<u8>,
    entries: Vec<Waiting>,
    shared_bytes: usize,
    /// The entries to relocate, ascending, and where their values lie.
    pub(super) wanted: Vec<(usize, ValueHandle)>,
    wanted_bytes: u64,
}

struct Waiting {
    key: Range<usize>,
    seqno: SeqNo,
    kind: Kind,
    value: Held,
}

enum Held {
    Own(Range<usize>),
    Shared(Slice),
    Handle([u8; ValueHandle::LEN]),
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.wanted.clear();
        (self.shared_bytes, self.wanted_bytes) = (0, 0);
    }

    fn has_room(&self, readahead_bytes: u64) -> bool {
        self.entries.len() < ENTRIES_MAX
            && self.bytes.len() + self.shared_bytes < BYTES_MAX
            && self.wanted_bytes < readahead_bytes
    }

    fn push(&mut self, entry: EntryRef<'_>, shared: Option<Slice>, copier: &Copier<'_>) {
        let key = self.append(entry.key);
        let value = match shared {
            Some(value) => {
                self.shared_bytes += value.len();
                Held::Shared(value)
            }
            None => Held::Own(self.append(entry.value)),
        };
        // What is no handle is the business of whoever writes it.
        if entry.kind == Kind::Indirection
            && let Ok(handle) = ValueHandle::decode(entry.value)
            && copier.wants(&handle)
        {
            self.wanted_bytes = self.wanted_bytes.saturating_add(handle.stored_len.into());
            self.wanted.push((self.entries.len(), handle));
        }
        self.entries.push(Waiting { key, seqno: entry.seqno, kind: entry.kind, value });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    pub(super) fn key(&self, at: usize) -> &[u8] {
        self.entries.get(at).and_then(|entry| self.bytes.get(entry.key.clone())).unwrap_or_default()
    }

    /// The value of an entry lies somewhere else now.
    pub(super) fn lead(&mut self, at: usize, to: &ValueHandle) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.value = Held::Handle(to.encode());
        }
    }

    fn entry(&self, at: usize) -> Option<EntryRef<'_>> {
        let entry = self.entries.get(at)?;
        let value = match &entry.value {
            Held::Own(range) => self.bytes.get(range.clone())?,
            Held::Shared(value) => value,
            Held::Handle(bytes) => bytes,
        };
        Some(EntryRef { key: self.key(at), seqno: entry.seqno, kind: entry.kind, value })
    }
}
