//! What large separated values cost in memory beyond themselves, in a flush, a merge that copies them, a check and a read.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]
#![expect(unsafe_code, reason = "counting memory takes an allocator")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use common::{at, flush};
use lsm_compaction_planner::VlogPicker;
use lsm_engine::{CompactOptions, Reader, RelocationOptions, Tree, TreeOptions, VlogPolicy};
use lsm_types::{MAX_VALUE_LEN, SeqNo};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `at` came from `alloc` above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes held at any time of `work` beyond those held before it.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let done = work();
    (done, PEAK.load(Relaxed) - before)
}

/// Three times what may be held beside a value, so that another copy of it would show.
const LEN: usize = 48 << 20;
const BESIDE_MAX: usize = 16 << 20;

/// What a value of `len` bytes takes beside itself in everything that is done with it.
#[track_caller]
fn check(len: usize) {
    let dir = tempfile::tempdir().unwrap();
    let options = TreeOptions::new(dir.path())
        .separation(VlogPolicy::default())
        .relocation(RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() });
    let tree = Tree::open(options).unwrap();
    let value: Vec<u8> = (0..len).map(|at| u8::try_from((at * 7 + at / 999) % 251).unwrap()).collect();
    tree.insert("a", &value, at(1)).unwrap();
    // The memtable holds the value; what the flush takes comes on top.
    let ((), flushing) = peak(|| flush(&tree));
    tree.insert("b", "short", at(2)).unwrap();
    flush(&tree);
    tree.set_gc_watermark(SeqNo::new(3).unwrap());
    let (report, relocating) = peak(|| tree.major_compact(&CompactOptions::default()).unwrap());
    assert!(report.value_bytes_relocated > 0, "the value was not copied");
    let (report, checking) = peak(|| tree.verify().unwrap());
    assert!(report.findings.is_empty());
    let (found, reading) = peak(|| tree.get("a").unwrap().unwrap());
    assert_eq!(found.len(), len);
    assert!(found == value[..]);
    drop(found);
    let (found, scanning) = peak(|| tree.iter().value_readahead(32).pairs().next().unwrap().unwrap().1);
    assert!(found == value[..]);
    let beside = [flushing, relocating, checking, reading.saturating_sub(len), scanning.saturating_sub(len)];
    println!("beside a value of {len} bytes: {beside:?}");
    assert!(beside.iter().all(|bytes| *bytes < BESIDE_MAX), "{beside:?}");
}

/// Beside D-75: a large value is written, copied by a relocation, checked and read with less than 16 MiB beside it.
#[test]
fn large_values_are_held_once() {
    check(LEN);
}

/// The same of the longest value there may be.
#[test]
#[ignore = "holds 600 MiB and takes a minute without optimisation"]
fn the_longest_value_is_held_once() {
    check(MAX_VALUE_LEN);
}
