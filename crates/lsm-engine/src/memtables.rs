//! The memtables of a tree, with what the engine adds: their order, and the caller's log position.

use std::sync::Arc;

use lsm_types::{SeqNo, Slice};

/// The write buffer with the lock that the engine gives it.
pub(crate) type Memtable = lsm_memtable::Memtable<parking_lot::RawMutex>;

/// The memtable that takes writes.
#[derive(Debug)]
pub(crate) struct ActiveMemtable {
    /// Grows by one with each memtable of a tree.
    pub(crate) id: u64,
    pub(crate) entries: Arc<Memtable>,
}

/// A frozen memtable waiting for its flush.
#[derive(Debug)]
pub(crate) struct SealedMemtable {
    pub(crate) id: u64,
    pub(crate) entries: Arc<Memtable>,
    pub(crate) token: Option<Slice>,
    pub(crate) max_seqno: SeqNo,
}
