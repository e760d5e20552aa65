//! Compactions whose keys are shared out among threads do what one thread does.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{at, small_tables};
use lsm_engine::{CompactOptions, FlushOptions, Outcome, Reader, StoreOptions, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_testkit::{comparators::Reverse, dice::Dice, operators::Join};
use lsm_types::{Comparator, SeqNo, Spawner};

fn options(
    order: Option<Arc<dyn Comparator>>,
    store: impl FnOnce(StoreOptions) -> StoreOptions,
) -> TreeOptions {
    let options = TreeOptions::new("/db")
        .store(|how| store(how.fs(Arc::new(MemFs::new()))))
        .tables(small_tables())
        .merge_operator(Arc::new(Join::new(true)))
        .table_target_bytes(3_000);
    match order {
        Some(order) => options.comparator(order),
        None => options,
    }
}

/// Puts, operands, tombstones and range deletes, which run over many keys, in six runs.
fn fill(tree: &Tree, seed: u64) -> SeqNo {
    let mut dice = Dice::new(seed);
    let mut next = 0;
    for _ in 0..6 {
        for _ in 0..300 {
            next += 1;
            let key = format!("key-{:04}", dice.below(700));
            let _ = match dice.below(10) {
                0 => tree.remove(key, at(next)).unwrap(),
                1 | 2 => tree.merge(key, format!("{next}"), at(next)).unwrap(),
                3 if dice.below(8) == 0 => {
                    let end = format!("key-{:04}", dice.below(700));
                    let (low, high) = if end < key { (end, key) } else { (key, end) };
                    tree.remove_range(low..high, at(next)).unwrap()
                }
                _ => tree.insert(key, [b'v'; 40], at(next)).unwrap(),
            };
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    at(next + 1)
}

fn contents(tree: &Tree, before: SeqNo) -> Vec<(Vec<u8>, Vec<u8>)> {
    let view = tree.view_at(before).unwrap();
    view.iter().pairs().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Proves C-137, C-139, C-140, C-143: whatever the watermark, reads at all numbers above it are what they were, in one
/// segment or many, and the entries that remain are the same ones.
#[test]
fn many_segments_make_what_one_makes() {
    for (seed, order) in [(1, false), (2, true), (3, false), (4, true)] {
        let order = || order.then(|| Arc::new(Reverse) as Arc<dyn Comparator>);
        let one = Tree::open(options(order(), |store| store)).unwrap();
        let many = Tree::open(options(order(), |store| store.compaction_threads(4))).unwrap();
        let end = fill(&one, seed);
        assert_eq!(fill(&many, seed), end);
        for watermark in [SeqNo::ZERO, at(end.get() / 3), at(end.get() - 1), end] {
            let reads = [at(watermark.get().max(1) + 1), at(end.get() / 2 + 1), end];
            let reads = || reads.iter().filter(|read| **read > watermark);
            let before: Vec<_> = reads().map(|read| contents(&one, *read)).collect();
            let mut entries = Vec::new();
            for tree in [&one, &many] {
                tree.set_gc_watermark(watermark);
                let how = CompactOptions::default().segment_min_bytes(2_000);
                let report = tree.major_compact(&how).unwrap();
                assert_eq!(report.outcome, Outcome::Merged);
                assert_eq!(report.segments, if std::ptr::eq(tree, &raw const many) { 4 } else { 1 });
                let after: Vec<_> = reads().map(|read| contents(tree, *read)).collect();
                assert_eq!(after, before, "seed {seed}, watermark {watermark}");
                entries.push(report.entries_out);
            }
            assert_eq!(entries.first(), entries.last());
        }
    }
}

/// Proves C-138: the level below may be empty, and the keys unevenly spread: no thread gets much more than its share.
/// Fault: compaction W-26.
#[test]
fn an_empty_level_below_still_splits() {
    let tree = Tree::open(options(None, |store| store.compaction_threads(2))).unwrap();
    // All keys but one begin alike.
    tree.insert("a", "", at(1)).unwrap();
    for number in 0..500_u64 {
        tree.insert(format!("zzz-{number:05}"), [b'v'; 40], at(2 + number)).unwrap();
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    let report = tree.major_compact(&CompactOptions::default().segment_min_bytes(0)).unwrap();
    assert_eq!(report.segments, 2);
    assert!(report.tables_out > 2);
}

/// A pool that counts what it is given.
struct Counting {
    tasks: AtomicUsize,
}

impl Spawner for Counting {
    fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(task);
    }
}

/// Proves C-137, C-141: jobs use the pool they are given, no more of it than they have segments, and not for little.
#[test]
fn the_pool_given_is_the_one_used() {
    let pool = Arc::new(Counting { tasks: AtomicUsize::new(0) });
    let shared: Arc<dyn Spawner> = pool.clone();
    let tree =
        Tree::open(options(None, |store| store.compaction_threads(3).compaction_pool(shared))).unwrap();
    fill(&tree, 9);
    let little = CompactOptions::default();
    assert_eq!(tree.major_compact(&little).unwrap().segments, 1);
    assert_eq!(pool.tasks.load(Ordering::Relaxed), 0);
    let much = CompactOptions::default().segment_min_bytes(0);
    assert_eq!(tree.major_compact(&much).unwrap().segments, 3);
    assert_eq!(pool.tasks.load(Ordering::Relaxed), 2, "the thread of the job is the third");
}
