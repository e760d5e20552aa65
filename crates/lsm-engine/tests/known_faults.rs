//! Wrong answers that engines of this kind are known to give, one by one, as somebody once met them.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use common::{LengthFirst, Rest, Reverse, ReverseByPrefix, at, contents, flush, small_tables};
use lsm_compaction_planner::{Leveled, PullDown};
use lsm_engine::{Cancel, CompactOptions, ExecutorError, Failpoints, Reader, Tree, TreeBatch, TreeOptions};
use lsm_fs::MemFs;
use lsm_testkit::operators::Join;
use lsm_types::{Comparator, ErrorKind, Level, SeqNo};

fn options() -> TreeOptions {
    TreeOptions::new("/db").store(|store| store.fs(Arc::new(MemFs::new()))).tables(small_tables())
}

fn open(options: TreeOptions) -> Tree {
    Tree::open(options).unwrap()
}

fn major(tree: &Tree) {
    tree.major_compact(&CompactOptions::default()).unwrap();
}

fn leveled(tree: &Tree) {
    let strategy = Leveled { l0_threshold: 1, table_target_bytes: 400, ..Leveled::default() };
    for _ in 0..4 {
        tree.compact(&strategy, &CompactOptions::default()).unwrap();
    }
}

fn keys(entries: impl Iterator<Item = lsm_types::Result<lsm_engine::Entry>>) -> Vec<String> {
    entries.map(|entry| String::from_utf8(entry.unwrap().key().to_vec()).unwrap()).collect()
}

/// Three keys forward are three keys backward. Fault: engine W-1.
#[test]
fn keys_stay_apart_backward_in_any_order() {
    let orders: [Arc<dyn Comparator>; 3] =
        [Arc::new(Reverse), Arc::new(LengthFirst), Arc::new(ReverseByPrefix)];
    for order in orders {
        let tree = open(options().comparator(order.clone()));
        for (key, number) in ["a", "b", "c"].into_iter().zip(1..) {
            tree.insert(key, "v", at(number)).unwrap();
        }
        for _ in 0..2 {
            let forward = keys(tree.iter());
            let mut backward = keys(tree.iter().rev());
            backward.reverse();
            assert_eq!((forward.len(), &backward), (3, &forward), "{}", order.name());
            flush(&tree);
        }
    }
}

/// A scan of a prefix finds its keys in any order, a seek inside a window of a reversed order starts where it says, and
/// tables of a range are found. Fault: engine W-2.
#[test]
fn prefixes_and_windows_follow_the_order() {
    let orders: [Arc<dyn Comparator>; 3] =
        [Arc::new(Reverse), Arc::new(LengthFirst), Arc::new(ReverseByPrefix)];
    for order in orders {
        let tree = open(options().comparator(order.clone()));
        for (key, number) in ["p/a", "p/b", "q", "p/cc"].into_iter().zip(1..) {
            tree.insert(key, "v", at(number)).unwrap();
        }
        for _ in 0..2 {
            let mut found = keys(tree.prefix("p/"));
            found.sort();
            assert_eq!(found, ["p/a", "p/b", "p/cc"], "{}", order.name());
            flush(&tree);
        }
    }
    let tree = open(options().comparator(Arc::new(Reverse)));
    for (key, number) in ["a", "b", "c", "d"].into_iter().zip(1..) {
        tree.insert(key, "v", at(number)).unwrap();
    }
    flush(&tree);
    assert_eq!(keys(tree.range("c"..="b")), ["c", "b"]);
    tree.set_gc_watermark(at(10));
    tree.drop_range::<&str>((Bound::Included("c"), Bound::Excluded("a")), at(10)).unwrap();
    assert_eq!(keys(tree.iter()), ["d", "a"]);
}

/// The newest version below the watermark stays when a newer one is above it: at the watermark, with numbers of the
/// caller, and after opening again. Fault: engine W-7.
/// Fault: compaction W-24.
#[test]
fn a_read_at_the_watermark_finds_what_it_saw() {
    let memory = Arc::new(MemFs::new());
    let options = || TreeOptions::new("/db").store(|store| store.fs(memory.clone())).tables(small_tables());
    let tree = open(options());
    tree.insert("a", "old", at(1)).unwrap();
    flush(&tree);
    tree.insert("a", "new", at(10)).unwrap();
    tree.set_gc_watermark(at(8));
    flush(&tree);
    leveled(&tree);
    major(&tree);
    let at_eight = |tree: &Tree| tree.view_at(at(8)).unwrap().get("a").unwrap();
    assert_eq!(at_eight(&tree).as_deref(), Some(b"old".as_slice()));
    tree.close().unwrap();
    let tree = open(options());
    assert_eq!(at_eight(&tree).as_deref(), Some(b"old".as_slice()));
    assert_eq!(tree.get("a").unwrap().as_deref(), Some(b"new".as_slice()));
}

/// A read below what is retained is an error, after opening again, too, and never an answer with something missing.
/// Proves E-63. Fault: engine W-8.
#[test]
fn reads_below_retained_history_are_refused() {
    let memory = Arc::new(MemFs::new());
    let options = || TreeOptions::new("/db").store(|store| store.fs(memory.clone())).tables(small_tables());
    let tree = open(options());
    for number in 1..=9 {
        tree.insert("a", number.to_string(), at(number)).unwrap();
    }
    let held = tree.hold(at(4)).unwrap();
    tree.set_gc_watermark(at(8));
    flush(&tree);
    major(&tree);
    for round in 0..2 {
        for before in 1..=12 {
            match tree.view_at(at(before)) {
                Ok(view) => {
                    let expected = (before - 1).min(9).to_string();
                    assert_eq!(
                        view.get("a").unwrap().as_deref(),
                        (before > 1).then_some(expected.as_bytes())
                    );
                    assert!(before == 4 || before > 7, "{round}: {before}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::SnapshotBelowRetention),
            }
        }
    }
    drop(held);
    major(&tree);
    tree.close().unwrap();
    let tree = open(options());
    for before in 1..8 {
        assert_eq!(tree.view_at(at(before)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
        assert_eq!(tree.hold(at(before)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    }
    assert_eq!(tree.view_at(at(8)).unwrap().get("a").unwrap().as_deref(), Some(b"7".as_slice()));
}

/// A write with a number that is reserved is refused, in every form, and nothing is written. Proves E-15.
/// Fault: engine W-15.
#[test]
fn numbers_that_no_read_could_see_are_refused() {
    let tree = open(options());
    let mut batch = TreeBatch::new();
    batch.insert("a", "v").unwrap().insert("b", "v").unwrap();
    let refused = [
        tree.insert("a", "v", SeqNo::LATEST).map(drop),
        tree.remove("a", SeqNo::LATEST).map(drop),
        tree.remove_weak("a", SeqNo::LATEST).map(drop),
        tree.merge("a", "v", SeqNo::LATEST).map(drop),
        tree.remove_range("a".."b", SeqNo::LATEST).map(drop),
        tree.apply(&batch, SeqNo::MAX_WRITE).map(drop),
        tree.apply_shared(&batch, SeqNo::LATEST).map(drop),
    ];
    for outcome in refused {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::SeqNoOutOfRange);
    }
    assert!(tree.is_empty().unwrap());
    assert_eq!(tree.view().before(), SeqNo::ZERO);
    tree.insert("a", "last", SeqNo::MAX_WRITE).unwrap();
    assert_eq!(tree.get("a").unwrap().as_deref(), Some(b"last".as_slice()));
    assert!(SeqNo::new(1 << 63).is_none());
}

/// Keys of a range that was deleted stay deleted where the tombstone is wider than what is left in its table.
/// Fault: compaction W-1.
#[test]
fn deletes_reach_beyond_the_keys_that_survive() {
    let compactions: [fn(&Tree); 3] = [leveled, major, |tree| {
        let down = PullDown { from: Level::new(0), to: Level::new(1) };
        tree.compact(&down, &CompactOptions::default()).unwrap();
    }];
    for compact in compactions {
        let tree = open(options().table_target_bytes(400));
        let key = |number: u64| format!("key-{number:02}");
        for number in 0..30 {
            tree.insert(key(number), [b'v'; 40], at(1 + number)).unwrap();
        }
        flush(&tree);
        major(&tree);
        // The tombstone's table holds two keys of its own, in its middle; nothing may be forgotten of it.
        tree.insert(key(14), "kept", at(40)).unwrap();
        tree.insert(key(15), "kept", at(41)).unwrap();
        tree.remove_range(key(2)..key(28), at(39)).unwrap();
        flush(&tree);
        tree.insert(key(15), "kept, too", at(42)).unwrap();
        flush(&tree);
        for _ in 0..2 {
            compact(&tree);
            let left: Vec<String> = [0, 1, 14, 15, 28, 29].map(key).into();
            assert_eq!(keys(tree.iter()), left);
        }
    }
}

/// Raises a flag when a job has come so far.
struct StopAt {
    point: &'static str,
    left: AtomicU32,
    cancel: Cancel,
}

impl Failpoints for StopAt {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.cancel.cancel();
        }
        Ok(())
    }
}

/// A compaction that is stopped on its way changes nothing; the next one does it all. Fault: compaction W-2.
#[test]
fn a_compaction_that_is_stopped_loses_nothing() {
    for point in lsm_engine::POINTS {
        for nth in [1, 2, 5] {
            let tree = open(options().table_target_bytes(400));
            for number in 0..100_u64 {
                tree.insert(format!("key-{number:03}"), [b'v'; 40], at(number)).unwrap();
            }
            flush(&tree);
            tree.insert("key-000", "new", at(200)).unwrap();
            flush(&tree);
            let before = contents(&tree).unwrap();
            let cancel = Cancel::new();
            let stop = StopAt { point, left: AtomicU32::new(nth), cancel: cancel.clone() };
            let options = CompactOptions::default().cancel(cancel);
            let strategy = Leveled { l0_threshold: 1, table_target_bytes: 400, ..Leveled::default() };
            let stop: Arc<dyn Failpoints> = Arc::new(stop);
            let outcome = tree.compact_with(&strategy, &options, &stop);
            assert!(outcome.is_ok() || outcome.is_err_and(|error| error.kind() == ErrorKind::Cancelled));
            assert_eq!(contents(&tree).unwrap(), before, "stopped at {point}, {nth}");
            major(&tree);
            assert_eq!((contents(&tree).unwrap().len(), tree.verify().unwrap().is_clean()), (100, true));
        }
    }
}

/// Trees of any number of levels keep their keys through every compaction. Fault: compaction W-5.
#[test]
fn any_number_of_levels_keeps_its_keys() {
    for levels in [2, 3, 7, 9, 255] {
        let tree = open(options().level_count(levels).table_target_bytes(400));
        for number in 0..60_u64 {
            tree.insert(format!("key-{:02}", number % 30), [b'v'; 40], at(number)).unwrap();
            if number % 20 == 19 {
                flush(&tree);
                leveled(&tree);
            }
        }
        assert_eq!(tree.count().unwrap(), 30, "{levels} levels");
        major(&tree);
        assert_eq!((tree.count().unwrap(), tree.stats().levels.len()), (30, usize::from(levels)));
        assert!(tree.stats().levels.last().unwrap().tables > 0);
    }
}

/// A table cannot go below an older one that overlaps it. Fault: compaction W-7.
#[test]
fn newer_tables_stay_above_older_ones() {
    let tree = open(options());
    let down = |from, to| {
        let strategy = lsm_compaction_planner::MoveDown { from: Level::new(from), to: Level::new(to) };
        tree.compact(&strategy, &CompactOptions::default())
    };
    tree.insert("a", "old", at(1)).unwrap();
    flush(&tree);
    down(0, 1).unwrap();
    tree.insert("a", "new", at(2)).unwrap();
    flush(&tree);
    for dest in [1, 2] {
        assert_eq!(down(0, dest).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(tree.get("a").unwrap().as_deref(), Some(b"new".as_slice()));
    }
}

/// Tombstones that go with the tables of a dropped range do not bring back what they hid elsewhere.
/// Fault: compaction W-8. Fault: engine W-10.
#[test]
fn a_dropped_range_stays_empty() {
    for number in [2, 3] {
        let tree = open(options());
        // A wide table at the bottom, and a tombstone of its own table above, inside the range.
        for key in ["a", "m", "z"] {
            tree.insert(key, "old", at(1)).unwrap();
        }
        flush(&tree);
        major(&tree);
        if number == 2 {
            tree.remove("m", at(2)).unwrap();
        } else {
            tree.insert("m", "new", at(2)).unwrap();
        }
        flush(&tree);
        tree.set_gc_watermark(at(9));
        tree.drop_range("c".."x", at(9)).unwrap();
        for _ in 0..2 {
            assert_eq!(keys(tree.iter()), ["a", "z"]);
            assert_eq!(tree.get("m").unwrap(), None);
            leveled(&tree);
        }
    }
}

/// In an order of its own the key after a weak tombstone is another key, however its bytes sort, and the weak tombstone
/// goes on hiding. Fault: compaction W-11.
#[test]
fn weak_deletes_hold_in_any_order() {
    let orders: [Arc<dyn Comparator>; 2] = [Arc::new(Reverse), Arc::new(LengthFirst)];
    for order in orders {
        let tree = open(options().comparator(order));
        tree.insert("b", "1", at(1)).unwrap();
        flush(&tree);
        major(&tree);
        tree.remove_weak("b", at(2)).unwrap();
        tree.insert("aa", "2", at(3)).unwrap();
        tree.insert("a", "2", at(4)).unwrap();
        tree.insert("c", "2", at(5)).unwrap();
        tree.set_gc_watermark(at(6));
        for _ in 0..2 {
            flush(&tree);
            assert_eq!(tree.get("b").unwrap(), None);
            assert_eq!(tree.count().unwrap(), 3);
            leveled(&tree);
        }
    }
}

/// Numbers that come in another order than they were given out: every read takes the highest, whatever container has
/// it. Fault: engine W-9.
#[test]
fn the_highest_number_wins_wherever_it_lies() {
    let join = Join::new(true);
    for first in [false, true] {
        let tree = open(options().merge_operator(Arc::new(join)));
        tree.insert("a", "ten", at(10)).unwrap();
        if first {
            flush(&tree);
        }
        tree.insert("a", "five", at(5)).unwrap();
        for _ in 0..3 {
            assert_eq!(tree.get("a").unwrap().as_deref(), Some(b"ten".as_slice()));
            assert_eq!(contents(&tree).unwrap(), [(b"a".to_vec(), b"ten".to_vec())]);
            let back = tree.iter().next_back().unwrap().unwrap();
            assert_eq!(&back.value().unwrap()[..], b"ten");
            let below = tree.view_at(at(10)).unwrap();
            assert_eq!(below.get("a").unwrap().as_deref(), Some(b"five".as_slice()));
            flush(&tree);
        }
    }
}

/// Byte order that counts.
#[derive(Default)]
struct Counting(AtomicU32);

impl Comparator for Counting {
    fn name(&self) -> &'static str {
        "test.counting"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.0.fetch_add(1, Ordering::Relaxed);
        a.cmp(b)
    }
}

/// Proves C-90: what a compaction has to know of range tombstones is kept from one to the next, and a job takes those that
/// reach its keys. Fault: compaction W-27.
#[test]
fn planning_does_not_gather_all_range_tombstones_anew() {
    let order = Arc::new(Counting::default());
    let tree = open(options().comparator(order.clone()).table_target_bytes(4_000));
    for number in 0..2_000 {
        let key = |plus: u64| format!("{:06}", 10 * number + plus);
        tree.insert(key(0), [7; 20], at(3 * number)).unwrap();
        tree.remove_range(key(3)..key(5), at(3 * number + 1)).unwrap();
    }
    flush(&tree);
    leveled(&tree);
    let one_more = |number: u64| {
        tree.insert("000000", [7; 20], at(number)).unwrap();
        flush(&tree);
        let before = order.0.load(Ordering::Relaxed);
        assert!(!tree.compact(&Rest, &CompactOptions::default()).unwrap().did_work());
        order.0.load(Ordering::Relaxed) - before
    };
    one_more(10_000);
    let comparisons = one_more(10_001);
    assert!(comparisons < 400, "{comparisons} for a tree with 2,000 range tombstones, of which none changed");
    let before = order.0.load(Ordering::Relaxed);
    let report =
        tree.compact(&PullDown { from: Level::new(0), to: Level::new(1) }, &CompactOptions::default());
    assert!(report.unwrap().did_work());
    let comparisons = order.0.load(Ordering::Relaxed) - before;
    assert!(comparisons < 4_000, "{comparisons} for a job that few of them reach");
}
