//! The byte count against what the allocator really gave out.
#![allow(clippy::cast_precision_loss, reason = "figures to compare with a margin")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
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

use lsm_memtable::MemtableConfig;
use lsm_types::{KeyOrder, Kind};
use twin::{Table, seqno};

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(i64::try_from(layout.size()).unwrap(), Ordering::Relaxed);
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
fn check(table: &Arc<Table>, before: i64, share: f64) {
    let (truth, counted) = ((live() - before) as f64, table.bytes() as f64);
    assert!((truth - counted).abs() <= share * truth, "{truth} bytes allocated, {counted} counted");
}

/// One test, since the count is shared by all threads. Proves E-109.
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
        assert!(live() - before < 80_000, "a first entry costs a small chunk and the directory");
        check(&table, before, 0.01);
        for n in 0..2000_u64 {
            table
                .insert(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes(), seqno(n), Kind::Put, &value)
                .unwrap();
        }
        check(&table, before, 0.01);
        drop(value);
        let cursor = table.cursor();
        drop(table);
        assert!(live() > start, "a cursor keeps the memtable");
        drop(cursor);
        assert_eq!(live(), start, "everything was given back");
    }
    overhead_is_small(start);
}

fn overhead_is_small(start: i64) {
    const COUNT: u64 = 300_000;
    for scatter in [1_u64, 0x9E37_79B9_7F4A_7C15] {
        let table = Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()));
        for n in 0..COUNT {
            table.insert(&n.wrapping_mul(scatter).to_be_bytes(), seqno(n), Kind::Put, &[0; 100]).unwrap();
        }
        check(&table, start, 0.01);
        let per_entry = table.bytes() as f64 / COUNT as f64 - 108.0;
        assert!(per_entry < 54.0, "{per_entry} bytes beyond key and value");
    }
}
