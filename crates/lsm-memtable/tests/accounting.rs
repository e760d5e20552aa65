//! The byte count against what the allocator really gave out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod twin;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use lsm_memtable::{MemtableConfig, MemtableError};
use lsm_types::{EntryRef, KeyOrder, Kind, SeqNo};
use twin::{Table, seqno};

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);
/// Blocks of the arena, known by their alignment, are refused when they would pass this.
static LIVE_MAX: AtomicI64 = AtomicI64::new(i64::MAX);

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = i64::try_from(layout.size()).unwrap();
        if layout.align() >= 64 && LIVE.load(Ordering::Relaxed) + size > LIVE_MAX.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        LIVE.fetch_add(size, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(i64::try_from(layout.size()).unwrap(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

#[track_caller]
fn check(table: &Arc<Table>, before: i64) {
    let (truth, counted) = ((live() - before) as f64, table.bytes() as f64);
    assert!((truth - counted).abs() <= 0.05 * truth, "{truth} bytes allocated, {counted} counted");
}

/// One test, since the count is shared by all threads. Proves E-109.
/// Fault: engine W-27.
#[test]
fn bytes_are_the_allocators_truth_and_all_of_them_come_back() {
    let start = live();
    for value_len in [0_usize, 100, 512, 513, 4096, 100_000] {
        let before = live();
        let table = Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()));
        assert!(live() - before <= 4096, "an empty memtable is small");
        let value = vec![3; value_len];
        let own = live() - before - i64::try_from(value_len).unwrap();
        assert!(table.bytes() <= 4096 && own <= 4096);
        let before = before + i64::try_from(value_len).unwrap();
        table.insert(b"first", seqno(0), Kind::Put, b"").unwrap();
        assert!(
            live() - before < 90_000,
            "a first entry costs a small chunk, the directory and a small filter"
        );
        check(&table, before);
        for n in 0..2000_u64 {
            table
                .insert(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes(), seqno(n), Kind::Put, &value)
                .unwrap();
        }
        check(&table, before);
        drop(value);
        let cursor = table.cursor();
        drop(table);
        assert!(live() > start + 60_000, "a cursor keeps the memtable");
        drop(cursor);
        check_given_back(start);
    }
    overhead_is_small(start);
    no_memory_is_an_error_that_changes_nothing();
    check_given_back(start);
}

/// But for what the test harness allocates beside the test.
#[track_caller]
fn check_given_back(start: i64) {
    assert!(live() - start < 4096, "{} bytes were not given back", live() - start);
}

fn no_memory_is_an_error_that_changes_nothing() {
    for (limit, value_len) in [(1_000, 10), (100_000, 10), (500_000, 1000), (9 << 20, 100)] {
        let table = Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()));
        let value = vec![5; value_len];
        LIVE_MAX.store(live() + limit, Ordering::Relaxed);
        let mut count = 0_u64;
        let error = loop {
            match table.insert(&count.to_be_bytes(), seqno(count), Kind::Put, &value) {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, MemtableError::OutOfMemory { .. }), "{error}");
        let keys = [count.to_be_bytes(), (count + 1).to_be_bytes()];
        let batch =
            keys.iter().map(|key| EntryRef { key, seqno: seqno(count), kind: Kind::Put, value: &value });
        let error = table.insert_batch(batch.clone()).unwrap_err();
        assert!(matches!(error, MemtableError::OutOfMemory { .. }), "{error}");
        assert_eq!(table.len() as u64, count);
        assert_eq!(table.highest_seqno(), count.checked_sub(1).map(seqno));
        assert!(table.get(&count.to_be_bytes(), SeqNo::LATEST).is_none());
        LIVE_MAX.store(i64::MAX, Ordering::Relaxed);
        table.insert_batch(batch).unwrap();
        assert!((0..count + 2).all(|n| table.get(&n.to_be_bytes(), SeqNo::LATEST).is_some()));
    }
}

fn overhead_is_small(start: i64) {
    const COUNT: u64 = 300_000;
    for scatter in [1_u64, 0x9E37_79B9_7F4A_7C15] {
        let table = Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()));
        for n in 0..COUNT {
            table.insert(&n.wrapping_mul(scatter).to_be_bytes(), seqno(n), Kind::Put, &[0; 100]).unwrap();
        }
        check(&table, start);
        let per_entry = table.bytes() as f64 / COUNT as f64 - 108.0;
        assert!(per_entry < 54.0, "{per_entry} bytes beyond key and value");
    }
}
