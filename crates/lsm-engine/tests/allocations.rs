//! Reads that find everything in memory allocate nothing: point reads, whatever their filters say, and jumps and steps of a
//! cursor, over however many containers.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]
#![expect(unsafe_code, reason = "counting allocations takes an allocator")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use common::{at, flush, small_tables};
use lsm_engine::{FlushOptions, LevelFilter, Reader, TablePolicy, Tree, TreeOptions};
use lsm_fs::MemFs;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Proves F-95 in part: probes use partitions where they lie, pinned or cached.
#[test]
fn cached_reads_allocate_nothing() {
    for (pinned, bits) in [(true, 10.0), (false, 10.0), (false, 1.0)] {
        let mut tables = TablePolicy::default().filter(LevelFilter::bits(bits).unwrap());
        tables.pin_filter = vec![pinned];
        let options = TreeOptions::new("/db").store(|store| store.fs(Arc::new(MemFs::new()))).tables(tables);
        let tree = Tree::open(options).unwrap();
        for run in 0..3_u64 {
            for n in 0..500_u64 {
                tree.insert(format!("key-{:05}", 3 * n + run), "some value", at(run * 1_000 + n)).unwrap();
            }
            tree.seal(None);
            tree.flush(&FlushOptions::default()).unwrap();
        }
        let keys: Vec<String> = (0..1_500).map(|n| format!("key-{n:05}")).collect();
        let absent: Vec<String> = (0..1_500).map(|n| format!("key-{n:05}x")).collect();
        let read_all = || {
            let found = |key: &String| tree.get_with(key, <[u8]>::len).unwrap() == Some(10);
            assert!(keys.iter().all(found));
            assert!(absent.iter().all(|key| !tree.contains_key(key).unwrap()));
        };
        read_all();
        let before = ALLOCATIONS.get();
        read_all();
        assert_eq!(ALLOCATIONS.get() - before, 0, "pinned: {pinned}, {bits} bits");
    }
}

/// Proves E-112: sealing costs the same whatever the memtable holds.
#[test]
fn a_seal_allocates_the_same_for_any_memtable() {
    let tree = Tree::open(TreeOptions::new("/db").store(|store| store.fs(Arc::new(MemFs::new())))).unwrap();
    let cost = |entries: u64| {
        for n in 0..entries {
            tree.insert(n.to_be_bytes(), [7; 100], at(n)).unwrap();
        }
        let before = ALLOCATIONS.get();
        tree.seal(None).unwrap();
        let allocations = ALLOCATIONS.get() - before;
        tree.flush(&FlushOptions::default()).unwrap();
        allocations
    };
    cost(1);
    assert_eq!(cost(10), cost(5_000));
}

/// A tree of that many runs of several tables each, and a memtable.
fn tree_of(runs: u64) -> Tree {
    let options = TreeOptions::new("/db")
        .store(|store| store.fs(Arc::new(MemFs::new())))
        .tables(small_tables())
        .table_target_bytes(4_000);
    let tree = Tree::open(options).unwrap();
    let mut seqno = (0..).map(at);
    for run in 0..=runs {
        for n in 0..300_u64 {
            let value = vec![b'v'; if n % 50 == 7 { 600 } else { 10 }];
            tree.insert(format!("key-{:05}", (runs + 1) * n + run), value, seqno.next().unwrap()).unwrap();
        }
        let from = format!("key-{:05}", 90 * run);
        tree.remove_range(from.clone()..format!("{from}x"), seqno.next().unwrap()).unwrap();
        if run < runs {
            flush(&tree);
        }
    }
    tree
}

/// Proves E-90 in part: jumps and steps allocate nothing once the buffers have their size, however many sources there
/// are. Values that are too long to be copied on the way back are shared, which allocates nothing either.
#[test]
fn cursors_allocate_nothing() {
    for runs in [0, 1, 5] {
        let tree = tree_of(runs);
        let probes: Vec<String> =
            (0..300).map(|n| format!("key-{:05}", n * 577 % (310 * (runs + 1)))).collect();
        let mut cursor = tree.cursor::<&str>(..).unwrap();
        let mut move_about = || {
            let mut bytes = 0;
            for probe in &probes {
                cursor.seek(probe).unwrap();
                bytes += cursor.key().map_or(0, <[u8]>::len);
                for _ in 0..12 {
                    cursor.move_next().unwrap();
                }
                cursor.seek_for_prev(probe).unwrap();
                for _ in 0..12 {
                    cursor.move_prev().unwrap();
                    bytes += cursor.value().unwrap().map_or(0, <[u8]>::len);
                }
            }
            bytes
        };
        let expected = move_about();
        let before = ALLOCATIONS.get();
        assert_eq!(move_about(), expected);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{runs} runs");
    }
}
