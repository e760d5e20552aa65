//! The memtables of a tree, with what the engine adds: their order, their range tombstones, and the caller's log
//! position.
//!
//! Entries lie in a buffer that grows while it is read. Range tombstones are few and are looked at by every read, so
//! each one that comes makes a new set, published with the next super version: what a reader has pinned does not
//! change. Whoever publishes holds the lock that sealing takes, so none is added to a memtable that is sealed.

use std::sync::Arc;

use lsm_types::{SeqNo, Slice};

use crate::deletes::MemDeletes;

/// The write buffer with the lock that the engine gives it.
pub(crate) type Memtable = lsm_memtable::Memtable<parking_lot::RawMutex>;

/// The memtable that takes writes.
#[derive(Debug)]
pub(crate) struct ActiveMemtable {
    /// Grows by one with each memtable of a tree.
    pub(crate) id: u64,
    pub(crate) entries: Arc<Memtable>,
    pub(crate) deletes: MemDeletes,
}

/// A frozen memtable waiting for its flush.
#[derive(Debug)]
pub(crate) struct SealedMemtable {
    pub(crate) id: u64,
    pub(crate) entries: Arc<Memtable>,
    pub(crate) deletes: MemDeletes,
    pub(crate) position: Option<Position>,
    /// Largest number in it, range tombstones included.
    pub(crate) max_seqno: SeqNo,
    /// Bound above every number written before it was sealed, here or in older memtables.
    pub(crate) end: SeqNo,
}

/// A position in the caller's log.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) token: Slice,
    /// What the log holds up to there is numbered below this.
    pub(crate) end: SeqNo,
}

impl ActiveMemtable {
    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.deletes.is_empty()
    }

    /// Smallest and largest number in it.
    pub(crate) fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        seqnos(&self.entries, &self.deletes)
    }

    /// Bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.bytes() + self.deletes.bytes()
    }
}

impl SealedMemtable {
    /// Smallest and largest number in it.
    pub(crate) fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        seqnos(&self.entries, &self.deletes)
    }

    /// Bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.bytes() + self.deletes.bytes()
    }
}

fn seqnos(entries: &Memtable, deletes: &MemDeletes) -> Option<(SeqNo, SeqNo)> {
    let bounds = entries.seqnos().into_iter().chain(deletes.seqnos());
    bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
