//! Tables whose blocks are compressed by others are the tables that are written without.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]
#![expect(unsafe_code, reason = "counting allocations takes an allocator")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::VecDeque,
};

use common::{entries, orders, seqno, small_options, sort, superblock};
use lsm_codec::{Compression, Encoder};
use lsm_sst::{
    BlockJob, BlockJobs, BuildOptions, FilterBits, FilterOptions, Output, Result, TableBuilder,
    data_block::RowOptions,
};
use lsm_types::{ErrorKind, IoError, IoKind, IoOp, KeyOrder, Kind, SeqNo};
use proptest::prelude::*;

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

/// Somebody who is there now and then, and has done some of the blocks when they are asked for, in any order.
#[derive(Debug, Default)]
struct Fickle {
    dice: u64,
    encoder: Encoder,
    queue: VecDeque<BlockJob>,
    spare: Vec<BlockJob>,
    /// Is always there, and does every block at once.
    is_eager: bool,
    /// Fails when so many blocks have come back.
    fails_after: Option<u64>,
}

impl Fickle {
    fn new(seed: u64) -> Box<Self> {
        Box::new(Self { dice: seed | 1, ..Self::default() })
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }
}

impl BlockJobs for Fickle {
    fn is_manned(&mut self, _: usize) -> bool {
        self.is_eager || self.below(16) > 0
    }

    fn hand_over(&mut self, payload: &mut Vec<u8>, compression: Compression) {
        let mut job = self.spare.pop().unwrap_or_default();
        job.refill(payload, compression);
        self.queue.push_back(job);
        let newest = self.queue.len() - 1;
        let idx = if self.is_eager { newest } else { usize::try_from(self.below(64)).unwrap() };
        if let Some(job) = self.queue.get_mut(idx) {
            job.run(&mut self.encoder);
        }
    }

    fn take_back(&mut self, job: &mut BlockJob, encoder: &mut Encoder) -> Result<()> {
        if let Some(left) = &mut self.fails_after {
            let broken = IoError::new(IoOp::Write, IoKind::NoSpace);
            *left = left.checked_sub(1).ok_or(broken)?;
        }
        let idx = usize::try_from(self.below(8)).unwrap();
        if let Some(other) = self.queue.get_mut(idx) {
            other.run(encoder);
        }
        let next = self.queue.pop_front().unwrap();
        self.spare.push(std::mem::replace(job, next));
        Ok(())
    }

    fn memory_len(&self) -> usize {
        self.queue.iter().chain(&self.spare).map(BlockJob::memory_len).sum()
    }
}

fn filter() -> FilterOptions {
    FilterOptions { bits: FilterBits::new(10.0).unwrap(), partition_bytes: 64 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Proves F-145: byte for byte, and a writer that aims at a size decides alike at every entry.
    #[test]
    fn a_table_is_the_same_whoever_compresses(
        mut entries in entries(120),
        spill in prop_oneof![Just(0_usize), Just(300), Just(4 << 20)],
        partition in prop_oneof![Just(1_usize), Just(160), Just(32 << 10)],
        block_bytes in 1_usize..600,
        codec in prop_oneof![Just(Compression::Lz4), Just(Compression::Zstd { level: 3 })],
        index_codec in prop_oneof![Just(Compression::None), Just(Compression::Lz4)],
        filters in any::<bool>(),
        bounds in any::<bool>(),
        seed in any::<u64>(),
    ) {
        for order in orders() {
            sort(&mut entries, &order);
            let options = || BuildOptions {
                index_spill_bytes: spill,
                index_partition_bytes: partition,
                data_block_bytes: block_bytes,
                rows: RowOptions { bundle_shift: 2, tags: false },
                compression: codec,
                index_compression: index_codec,
                seqno_bounds: bounds,
                filter: filters.then(filter),
                ..small_options(&order)
            };
            let mut alone = TableBuilder::new(superblock(), options(), Vec::new()).unwrap();
            let mut helped = TableBuilder::new(superblock(), options(), Vec::new()).unwrap();
            helped.compress_through(Fickle::new(seed));
            let (mut dice, mut noted) = (Fickle::new(!seed), 0);
            for entry in &entries {
                for builder in [&mut alone, &mut helped] {
                    builder.add(&entry.key, seqno(entry.seqno), entry.kind, &entry.value).unwrap();
                }
                if dice.below(3) > 0 {
                    noted = alone.estimated_file_len();
                    let bounds = helped.note_file_len();
                    prop_assert!((bounds.least..=bounds.most).contains(&noted), "{noted} in {bounds:?}");
                    let now = alone.note_file_len();
                    prop_assert_eq!((now.least, now.most), (noted, noted));
                }
                if noted > 0 && dice.below(20) == 0 {
                    prop_assert_eq!(helped.noted_file_len().unwrap(), noted);
                }
            }
            let (alone, helped) = (alone.finish().unwrap(), helped.finish().unwrap());
            prop_assert!(alone == helped);
        }
    }
}

/// An output that runs out of space.
struct Discard {
    left: usize,
}

impl Output for Discard {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let full = IoError::new(IoOp::Write, IoKind::NoSpace);
        self.left = self.left.checked_sub(bytes.len()).ok_or(full)?;
        Ok(())
    }
}

fn add(builder: &mut TableBuilder<Discard>, number: u64) -> Result<()> {
    builder.add(&number.to_be_bytes(), SeqNo::ZERO, Kind::Put, &[b'v'; 100])
}

/// Proves F-146 in part: what is in flight is bounded, and memory does not grow with the table. Errors that come when
/// blocks come back end the table like those of blocks that never left.
#[test]
fn memory_stays_bounded_and_late_errors_count() {
    for (left, fails_after) in [(60 << 10, None), (usize::MAX, Some(400))] {
        let options = BuildOptions { write_buffer_bytes: 4 << 10, ..BuildOptions::new(KeyOrder::bytewise()) };
        let mut builder = TableBuilder::new(superblock(), options, Discard { left }).unwrap();
        builder.compress_through(Box::new(Fickle { fails_after, ..*Fickle::new(5) }));
        let (mut peak, mut number) = (0, 0);
        let error = loop {
            match add(&mut builder, number) {
                Ok(()) => peak = peak.max(builder.memory_usage()),
                Err(error) => break error,
            }
            number += 1;
        };
        assert!(number > 10_000 && peak < 2 << 20, "{number} entries, {peak} bytes");
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(add(&mut builder, u64::MAX).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(builder.noted_file_len().unwrap_err().kind(), ErrorKind::Poisoned);
        assert!(builder.finish().is_err());
    }
}

/// Blocks in flight take over the memory of those that came down; it grows for the rare block that is longer than all before.
#[test]
fn blocks_in_flight_reuse_memory() {
    let allocations = |jobs: Option<Box<dyn BlockJobs>>| {
        let options = BuildOptions::new(KeyOrder::bytewise());
        let mut builder = TableBuilder::new(superblock(), options, Discard { left: usize::MAX }).unwrap();
        if let Some(jobs) = jobs {
            builder.compress_through(jobs);
        }
        (0..20_000).for_each(|number| add(&mut builder, number).unwrap());
        let before = ALLOCATIONS.get();
        (20_000..60_000).for_each(|number| add(&mut builder, number).unwrap());
        ALLOCATIONS.get() - before
    };
    let eager = Fickle { is_eager: true, ..*Fickle::new(3) };
    let (helped, alone) = (allocations(Some(Box::new(eager))), allocations(None));
    // Two buffers for each of 64 blocks, while more than a thousand blocks fly.
    assert!(helped <= alone + 2 * 64, "{helped} and {alone}");
}
