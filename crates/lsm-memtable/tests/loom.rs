//! Every interleaving, within bounds, of one insert that divides a leaf with one reader.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p lsm-memtable --release --test loom`.
#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use lsm_memtable::{Memtable, MemtableConfig};
use lsm_types::{EntryCursor, KeyOrder, Kind, SeqNo};

/// A lock the model does not look at: there is one writer, so nobody ever waits for it.
struct OneWriter(AtomicBool);

#[expect(unsafe_code, reason = "a lock is unsafe by its trait")]
// SAFETY: the flag is taken by one holder at a time.
unsafe impl lock_api::RawMutex for OneWriter {
    #[expect(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = lock_api::GuardSend;

    fn lock(&self) {
        assert!(self.try_lock(), "one writer");
    }

    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

type Table = Memtable<OneWriter>;

fn insert(table: &Table, key: u8) {
    table.insert(&[key], SeqNo::ZERO, Kind::Put, &[key]).unwrap();
}

/// Keys 2, 4, .. 28 in a leaf as full as can be, which is the root.
const ALONE: u8 = 28;
/// The same leaf below a root, with key 30 in a neighbour.
const BELOW_ROOT: u8 = 30;

fn full(last: u8) -> Arc<Table> {
    let table = Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()));
    for n in 1..=last / 2 {
        insert(&table, 2 * n);
    }
    table
}

/// The reader runs in the spawned thread: the checker looks for other orders where a load meets an earlier store, and
/// would miss those where a store meets an earlier load, since the writer loads what it stores to first.
fn model(
    last: u8,
    write: impl Fn(&Table) + Send + Sync + 'static,
    read: impl Fn(&Arc<Table>) + Send + Sync + Copy + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 20_000;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let table = full(last);
        let reader = {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || read(&table))
        };
        write(&table);
        reader.join().unwrap();
        assert_eq!(walk(&table, false), walk(&table, true).into_iter().rev().collect::<Vec<_>>());
    });
    assert!(count.load(Ordering::Relaxed) > 10, "the checker saw hardly any orders");
}

fn walk(table: &Arc<Table>, back: bool) -> Vec<u8> {
    let (mut cursor, mut found) = (table.cursor(), Vec::new());
    if back { cursor.seek_last() } else { cursor.seek_first() }.unwrap();
    while let Some(entry) = cursor.entry() {
        assert_eq!(entry.key, entry.value);
        found.push(entry.key[0]);
        if back { cursor.prev() } else { cursor.next() }.unwrap();
    }
    found
}

fn check_walk(last: u8, mut found: Vec<u8>) {
    assert!(found.is_sorted_by(|a, b| a < b), "in order, each once: {found:?}");
    found.retain(|key| key % 2 == 0);
    assert_eq!(found, (1..=last / 2).map(|n| 2 * n).collect::<Vec<_>>());
}

/// In the middle, where slots are used again right after the division.
fn divide_and_refill(table: &Table) {
    insert(table, 5);
    insert(table, 7);
}

#[test]
fn gets_find_what_moves() {
    for last in [ALONE, BELOW_ROOT] {
        for key in [2_u8, 14, 16, 28] {
            model(last, divide_and_refill, move |table| {
                let found = table.get(&[key], SeqNo::LATEST).expect("it was there before");
                assert_eq!((found.key[0], found.value[0]), (key, key));
            });
        }
    }
}

#[test]
fn gets_of_the_new_entry_find_all_of_it_or_nothing() {
    model(ALONE, divide_and_refill, |table| {
        if let Some(found) = table.get(&[7], SeqNo::LATEST) {
            assert_eq!((found.key[0], found.value[0]), (7, 7));
            assert!(table.get(&[5], SeqNo::LATEST).is_some(), "it came first");
        }
    });
}

#[test]
fn walks_see_each_entry_once() {
    for last in [ALONE, BELOW_ROOT] {
        model(last, divide_and_refill, move |table| check_walk(last, walk(table, false)));
        model(last, |table| insert(table, 29), move |table| check_walk(last, walk(table, false)));
        model(last, |table| insert(table, 1), move |table| check_walk(last, walk(table, false)));
    }
}

#[test]
fn walks_back_see_each_entry_once() {
    for last in [ALONE, BELOW_ROOT] {
        let walk_back =
            move |table: &Arc<Table>| check_walk(last, walk(table, true).into_iter().rev().collect());
        model(last, divide_and_refill, walk_back);
        model(last, |table| insert(table, 29), walk_back);
    }
}
