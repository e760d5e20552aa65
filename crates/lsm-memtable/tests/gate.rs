//! What a memtable refuses because it comes too late or is numbered too low.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

use lsm_memtable::{Memtable, MemtableConfig, MemtableError};
use lsm_types::{EntryRef, KeyOrder, Kind, SeqNo};
use parking_lot::RawMutex;

fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

fn put(seqno: u64) -> EntryRef<'static> {
    EntryRef { key: b"k", seqno: at(seqno), kind: Kind::Put, value: b"v" }
}

#[test]
fn a_frozen_memtable_takes_nothing_and_still_answers() {
    let memtable = Memtable::<RawMutex>::new(KeyOrder::bytewise(), MemtableConfig::default());
    memtable.insert(b"k", at(1), Kind::Put, b"v").unwrap();
    memtable.freeze();
    assert_eq!(memtable.insert(b"k", at(2), Kind::Put, b"v"), Err(MemtableError::Frozen));
    assert_eq!(memtable.insert_batch([put(2)]), Err(MemtableError::Frozen));
    assert_eq!((memtable.len(), memtable.seqnos()), (1, Some((at(1), at(1)))));
    assert!(memtable.get(b"k", SeqNo::LATEST).is_some());
}

/// Proves E-99.
#[test]
fn numbers_below_the_floor_are_refused_one_by_one_and_in_batches() {
    let memtable = Memtable::<RawMutex>::new(KeyOrder::bytewise(), MemtableConfig::default());
    memtable.refuse_below(at(5));
    let refused = Err(MemtableError::BelowFloor { seqno: at(4), floor: at(5) });
    assert_eq!(memtable.insert(b"k", at(4), Kind::Put, b"v"), refused);
    assert_eq!(memtable.insert_batch([put(5), put(4)]), refused);
    assert!(memtable.is_empty(), "a batch is taken whole or not at all");
    memtable.insert(b"k", at(5), Kind::Put, b"v").unwrap();
    memtable.refuse_below(at(3));
    memtable.insert(b"k", at(4), Kind::Put, b"v").unwrap();
    assert_eq!(memtable.len(), 2);
}
