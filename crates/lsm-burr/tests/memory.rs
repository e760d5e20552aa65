//! What a builder holds and allocates.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "figures of a test are small"
)]
#![expect(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{bits, build, hashes};
use lsm_burr::{BandWidth, Builder, FilterRef};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(calls: usize, grown: isize) {
    CALLS.with(|cell| cell.set(cell.get() + calls));
    LIVE.with(|cell| cell.set(cell.get() + grown));
    PEAK.with(|peak| peak.set(peak.get().max(LIVE.with(Cell::get))));
}

// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Builds a filter into a buffer that is large enough.
fn fill(builder: &mut Builder, set: &[u64], out: &mut Vec<u8>) {
    for &hash in set {
        builder.push(hash);
    }
    builder.finish(out).expect("few enough keys");
}

/// A partition takes 28 bytes per key to build, 36 with wide equations, and once there was one, no further allocation.
///
/// Proves F-99.
#[test]
fn building_takes_28_bytes_per_key() {
    for (band, limit) in [(BandWidth::Slots64, 28), (BandWidth::Slots128, 36)] {
        check_building(band, limit);
    }
}

#[track_caller]
fn check_building(band: BandWidth, limit: isize) {
    for r in [4, 8, 16] {
        for keys in [32_000, 32 << 10, 64 << 10] {
            let sets: Vec<_> = (0..5).map(|seed| hashes(seed, keys)).collect();
            let mut out = Vec::with_capacity(keys * 3);
            let mut builder = Builder::new(bits(r)).with_band(band);
            let before = LIVE.with(Cell::get);
            PEAK.with(|peak| peak.set(before));
            fill(&mut builder, &sets[0], &mut out);
            let peak = PEAK.with(Cell::get) - before;
            assert!(peak <= limit * keys as isize, "{:.2} bytes per key", peak as f64 / keys as f64);
            let held = LIVE.with(Cell::get) - before;
            assert!(builder.memory_len().abs_diff(held.cast_unsigned()) <= 64, "{held} bytes held");

            let calls = CALLS.with(Cell::get);
            for set in &sets[1..] {
                out.clear();
                fill(&mut builder, set, &mut out);
            }
            assert_eq!(CALLS.with(Cell::get), calls, "allocations of four more filters");
        }
    }
}

/// Opening and probing allocate nothing, whatever the bytes.
///
/// Proves F-95.
#[test]
fn probing_allocates_nothing() {
    for (band, keys) in [(BandWidth::Slots64, 100), (BandWidth::Slots64, 5000), (BandWidth::Slots128, 5000)] {
        let members = hashes(1, keys);
        let (bytes, _) = build(&mut Builder::new(bits(8)).with_band(band), &members);
        let mut found = vec![false; keys];
        let calls = CALLS.with(Cell::get);
        let filter = FilterRef::open(&bytes).expect("well formed");
        assert!(members.iter().all(|&hash| filter.may_contain(hash)));
        filter.may_contain_batch(&members, &mut found);
        assert!(FilterRef::open(&bytes[..40]).is_err());
        assert_eq!(CALLS.with(Cell::get), calls);
        assert_eq!(found, vec![true; keys]);
    }
}
