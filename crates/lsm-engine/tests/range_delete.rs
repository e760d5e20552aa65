//! Deletes of ranges: bounds, visibility, containers, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{LengthFirst, Rest, Reverse, at, small_tables};
use lsm_compaction_planner::{Leveled, MoveDown, PullDown};
use lsm_engine::{CompactOptions, FlushOptions, Outcome, Reader, Tree, TreeBatch, TreeOptions};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_types::{Bytewise, Comparator, ErrorKind, KeyOrder, Level, SeqNo};

fn options(memory: &Arc<MemFs>) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(memory.clone()))
        .tables(small_tables())
        .table_target_bytes(2_000)
}

fn tree() -> Tree {
    Tree::open(options(&Arc::new(MemFs::new()))).unwrap()
}

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

fn flush(tree: &Tree) {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

fn major(tree: &Tree) {
    tree.major_compact(&CompactOptions::default()).unwrap();
}

fn keys(reader: &impl Reader) -> Vec<String> {
    let forward: Vec<_> =
        reader.iter().keys().map(|key| String::from_utf8(key.unwrap().to_vec()).unwrap()).collect();
    let mut back: Vec<_> =
        reader.iter().keys().rev().map(|key| String::from_utf8(key.unwrap().to_vec()).unwrap()).collect();
    back.reverse();
    assert_eq!(forward, back, "both directions");
    for key in &forward {
        assert!(reader.contains_key(key).unwrap(), "{key} is scanned and not found");
    }
    forward
}

/// Where the history lies when it is read.
const PLACES: [fn(&Tree); 5] = [
    |_| {},
    |tree| assert!(tree.seal(None).is_some()),
    flush,
    |tree| {
        flush(tree);
        major(tree);
    },
    |tree| {
        tree.set_gc_watermark(at(1_000));
        flush(tree);
        major(tree);
    },
];

#[track_caller]
fn check_bounds(comparator: &Arc<dyn Comparator>, bounds: (Bound<&str>, Bound<&str>)) {
    let order = KeyOrder::new(comparator.clone());
    let all = ["a", "b", "bb", "c", "d", "\u{7f}", "\u{7f}\u{7f}"];
    for (place, settle) in PLACES.iter().enumerate() {
        let tree = Tree::open(options(&Arc::new(MemFs::new())).comparator(comparator.clone())).unwrap();
        for key in all {
            tree.insert(key, "old", at(1)).unwrap();
        }
        tree.remove_range::<&str>(bounds, at(5)).unwrap();
        settle(&tree);
        let is_inside = |key: &str| {
            let above = match bounds.0 {
                Bound::Included(lower) => order.compare(lower.as_bytes(), key.as_bytes()).is_le(),
                Bound::Excluded(lower) => order.compare(lower.as_bytes(), key.as_bytes()).is_lt(),
                Bound::Unbounded => true,
            };
            let below = match bounds.1 {
                Bound::Included(upper) => order.compare(key.as_bytes(), upper.as_bytes()).is_le(),
                Bound::Excluded(upper) => order.compare(key.as_bytes(), upper.as_bytes()).is_lt(),
                Bound::Unbounded => true,
            };
            above && below
        };
        let mut expected: Vec<_> = all.into_iter().filter(|key| !is_inside(key)).collect();
        expected.sort_by(|a, b| order.compare(a.as_bytes(), b.as_bytes()));
        assert_eq!(keys(&tree), expected, "{bounds:?} in place {place}");
    }
}

/// Proves E-29, E-30.
#[test]
fn any_bounds_delete_what_lies_between_under_any_order() {
    let comparators: [Arc<dyn Comparator>; 3] =
        [Arc::new(Bytewise), Arc::new(Reverse), Arc::new(LengthFirst)];
    let forms = |key| [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded];
    for comparator in &comparators {
        for (lower, upper) in [("b", "d"), ("d", "b"), ("c", "c"), ("bb", "zz")] {
            for lower in forms(lower) {
                for upper in forms(upper) {
                    check_bounds(comparator, (lower, upper));
                }
            }
        }
    }
}

/// Proves E-29, E-30.
#[test]
fn the_longest_keys_are_bounds_like_others() {
    let tree = tree();
    let (longest, last) = (vec![b'k'; 65_535], vec![0xFF; 65_535]);
    for key in [&longest, &last] {
        tree.insert(key, "x", at(1)).unwrap();
    }
    tree.remove_range(longest.clone()..=longest.clone(), at(2)).unwrap();
    flush(&tree);
    assert!(tree.get(&longest).unwrap().is_none() && tree.get(&last).unwrap().is_some());
    tree.remove_range::<&Vec<u8>>((Bound::Excluded(&longest), Bound::Included(&last)), at(3)).unwrap();
    flush(&tree);
    assert!(tree.get(&last).unwrap().is_none());

    let too_long = vec![b'k'; 65_536];
    assert!(tree.remove_range::<&str>(.., at(4)).unwrap().bytes_added > 0);
    let refused = [
        tree.remove_range(too_long.clone().., at(9)).unwrap_err(),
        tree.remove_range(..too_long, at(9)).unwrap_err(),
        tree.remove_range::<&str>("".., at(9)).unwrap_err(),
    ];
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::InvalidKey));
    assert_eq!(tree.remove_range("a".., SeqNo::LATEST).unwrap_err().kind(), ErrorKind::SeqNoOutOfRange);
    assert_eq!(tree.remove_range("z".."a", at(9)).unwrap().bytes_added, 0);
    assert_eq!(tree.remove_range("a".."a", at(9)).unwrap().bytes_added, 0);
}

/// Proves E-31, E-151.
/// Fault: engine W-13.
#[test]
fn a_prefix_remove_hits_its_keys_and_no_others() {
    let around: [&[u8]; 14] = [
        b"`\xff",
        b"a",
        b"a\x00",
        b"a\xfe",
        b"a\xff",
        b"a\xff\x00",
        b"a\xff\xff",
        b"b",
        b"b\x00",
        b"\xfe\xff",
        b"\xff",
        b"\xff\x00",
        b"\xff\xff",
        b"\xff\xff\xff",
    ];
    for prefix in [&b"a"[..], b"a\xff", b"\xff", b"\xff\xff"] {
        for settle in PLACES {
            let tree = tree();
            for key in around {
                tree.insert(key, "x", at(1)).unwrap();
            }
            tree.remove_prefix(prefix, at(2)).unwrap();
            settle(&tree);
            let left: Vec<_> = tree.iter().keys().map(|key| key.unwrap().to_vec()).collect();
            let expected: Vec<_> = around.into_iter().filter(|key| !key.starts_with(prefix)).collect();
            assert_eq!(left, expected, "{prefix:?}");
        }
    }
    assert_eq!(tree().remove_prefix("", at(2)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let scattered = Tree::open(options(&Arc::new(MemFs::new())).comparator(Arc::new(LengthFirst))).unwrap();
    assert_eq!(scattered.remove_prefix("a", at(2)).unwrap_err().kind(), ErrorKind::Unsupported);
    let mut batch = TreeBatch::new();
    batch.insert("k", "v").unwrap().remove_prefix("a").unwrap();
    assert_eq!(scattered.apply(&batch, at(3)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(scattered.is_empty().unwrap(), "nothing of the batch was applied");
}

/// Proves E-32.
#[test]
fn a_range_tombstone_acts_above_its_number_on_what_is_strictly_older() {
    for settle in &PLACES[..4] {
        let tree = tree();
        for (key, seqno) in [("a", 4), ("b", 5), ("c", 6)] {
            tree.insert(key, "x", at(seqno)).unwrap();
        }
        tree.remove_range("a"..="z", at(5)).unwrap();
        settle(&tree);
        assert_eq!(keys(&tree), ["b", "c"]);
        assert_eq!(keys(&tree.view_at(at(5)).unwrap()), ["a"], "at its own number it does not act");
        assert_eq!(keys(&tree.view_at(at(6)).unwrap()), ["b"]);
        assert_eq!(keys(&tree.view_at(at(7)).unwrap()), ["b", "c"]);
    }
}

/// Proves E-34, C-98.
/// Fault: compaction W-1.
#[test]
fn it_hides_older_entries_whatever_it_was_flushed_with() {
    // What is flushed with the delete lies inside, around, left, right, or is not there at all.
    let companions: [&[&str]; 5] = [&["e"], &["a", "z"], &["a", "aa"], &["y", "z"], &[]];
    for companion in companions {
        for level in [0, 3, 6] {
            let tree = tree();
            for number in 0..40 {
                tree.insert(format!("k{number:02}"), noise(number, 400), at(1)).unwrap();
            }
            flush(&tree);
            if level > 0 {
                let down = MoveDown { from: Level::new(0), to: Level::new(level) };
                tree.compact(&down, &CompactOptions::default()).unwrap();
            }
            tree.remove_range("b".."x", at(10)).unwrap();
            for key in companion {
                tree.insert(key, "new", at(11)).unwrap();
            }
            flush(&tree);
            assert_eq!(keys(&tree), *companion, "level {level}");
            // Through every way down; nothing comes back.
            let leveled = Leveled { l0_threshold: 1, table_target_bytes: 500, ..Leveled::default() };
            for _ in 0..4 {
                tree.compact(&leveled, &CompactOptions::default()).unwrap();
                assert_eq!(keys(&tree), *companion, "level {level}");
            }
            let pull = PullDown { from: Level::new(0), to: Level::new(1) };
            tree.compact(&pull, &CompactOptions::default()).unwrap();
            assert_eq!(keys(&tree), *companion, "level {level}");
            major(&tree);
            assert_eq!(keys(&tree), *companion, "level {level}");
            assert_eq!(keys(&tree.view_at(at(10)).unwrap()).len(), 40, "history is kept");
        }
    }
}

/// Proves E-35, D-132, E-42, C-98.
/// Fault: formats W-41. Fault: engine W-33.
#[test]
fn range_tombstones_alone_make_a_table_that_lasts() {
    let memory = Arc::new(MemFs::new());
    let tree = Tree::open(options(&memory)).unwrap();
    tree.insert("k", "v", at(1)).unwrap();
    flush(&tree);
    tree.remove_range("a".."z", at(5)).unwrap();
    let sealed = tree.seal(None).unwrap();
    assert_eq!((sealed.min_seqno, sealed.max_seqno), (at(5), at(5)));
    let report = tree.flush(&FlushOptions::default()).unwrap();
    assert_eq!((report.tables, report.entries), (1, 0));
    assert_eq!((report.durable_seqno, tree.persisted().highest), (at(6), Some(at(5))));
    tree.close().unwrap();

    let tree = Tree::open(options(&memory)).unwrap();
    assert_eq!(tree.view().before(), at(6));
    let entries: u64 = tree.stats().levels.iter().map(|level| level.entries).sum();
    assert_eq!((entries, tree.stats().tables(), tree.view().approximate_len()), (1, 2, 1));
    assert!(keys(&tree).is_empty());
    assert_eq!(keys(&tree.view_at(at(5)).unwrap()), ["k"]);
    assert!(tree.verify().unwrap().is_clean());
    major(&tree);
    assert_eq!(keys(&tree.view_at(at(5)).unwrap()), ["k"], "above the watermark nothing goes");
    assert!(keys(&tree).is_empty());
}

/// Proves E-36, E-42, C-97.
/// Fault: engine W-14.
#[test]
fn it_survives_the_split_into_many_tables_with_every_gap() {
    let tree = tree();
    // Keys that only a gap between later outputs covers, and one beyond either end.
    for number in 0..400 {
        tree.insert(format!("{number:03}x"), noise(number, 200), at(1)).unwrap();
    }
    flush(&tree);
    let down = MoveDown { from: Level::new(0), to: Level::new(6) };
    tree.compact(&down, &CompactOptions::default()).unwrap();
    tree.remove_range("000".."999", at(10)).unwrap();
    for number in (50..350).step_by(3) {
        tree.insert(format!("{number:03}"), noise(number, 400), at(11)).unwrap();
    }
    let expected: Vec<String> = (50..350).step_by(3).map(|number| format!("{number:03}")).collect();
    flush(&tree);
    assert!(tree.stats().levels[0].tables > 3, "the flush made several tables");
    assert_eq!(keys(&tree), expected);
    let mut small = CompactOptions::default();
    small.target_bytes = Some(2_500);
    for to in 1..6 {
        let pull = PullDown { from: Level::new(to - 1), to: Level::new(to) };
        let report = tree.compact(&pull, &small).unwrap();
        assert!(report.tables_out > 3);
        assert_eq!(keys(&tree), expected, "in level {to}");
    }
    major(&tree);
    assert_eq!(keys(&tree), expected);
    assert_eq!(keys(&tree.view_at(at(10)).unwrap()).len(), 400);
}

fn range_tombstones(tree: &Tree) -> u64 {
    tree.stats().levels.iter().map(|level| level.range_tombstones).sum()
}

/// Proves E-37, C-89, C-99.
#[test]
fn below_the_watermark_entries_go_and_the_tombstone_after_them() {
    #[track_caller]
    fn check(watermark: u64, entries: u64, tombstones: u64, floor: u64) {
        let tree = tree();
        for key in ["a", "b", "c"] {
            tree.insert(key, "x", at(5)).unwrap();
        }
        tree.remove_range("a"..="b", at(10)).unwrap();
        tree.set_gc_watermark(at(watermark));
        flush(&tree);
        major(&tree);
        assert_eq!(tree.stats().levels.iter().map(|level| level.entries).sum::<u64>(), entries);
        assert_eq!(range_tombstones(&tree), tombstones);
        assert_eq!(keys(&tree), ["c"]);
        assert_eq!(tree.retention_floor(), at(floor));
        if tombstones > 0 {
            assert_eq!(keys(&tree.view_at(at(10)).unwrap()), ["a", "b", "c"]);
        }
    }
    check(0, 3, 1, 0);
    // At exactly the watermark a reader there does not see the delete yet. `c` got number zero: what reads below see of
    // it changed.
    check(10, 3, 1, 9);
    check(11, 1, 0, 10);
}

/// Proves C-99, E-37.
#[test]
fn a_tombstone_stays_where_an_older_entry_may_lie_outside() {
    let tree = tree();
    tree.insert("d", "old", at(1)).unwrap();
    flush(&tree);
    let down = MoveDown { from: Level::new(0), to: Level::new(6) };
    tree.compact(&down, &CompactOptions::default()).unwrap();
    tree.remove_range("a".."z", at(10)).unwrap();
    tree.set_gc_watermark(at(20));
    flush(&tree);
    assert_eq!(range_tombstones(&tree), 1);
    let pull = PullDown { from: Level::new(0), to: Level::new(1) };
    tree.compact(&pull, &CompactOptions::default()).unwrap();
    assert!(keys(&tree).is_empty(), "level 6 is no input");
    major(&tree);
    assert!(keys(&tree).is_empty());
    assert_eq!((range_tombstones(&tree), tree.stats().tables()), (0, 0));
}

/// Proves E-105, C-91, C-93.
#[test]
fn a_number_becomes_zero_only_where_no_tombstone_covers_the_key() {
    let tree = tree();
    // The delete is older than the entry and stands in another level; a zero would fall under it.
    tree.insert("k0", "deleted", at(1)).unwrap();
    flush(&tree);
    tree.compact(&MoveDown { from: Level::new(0), to: Level::new(6) }, &CompactOptions::default()).unwrap();
    tree.remove_range("k".."l", at(5)).unwrap();
    flush(&tree);
    tree.insert("k", "v", at(9)).unwrap();
    tree.set_gc_watermark(at(20));
    flush(&tree);
    for _ in 0..2 {
        let pull = PullDown { from: Level::new(0), to: Level::new(5) };
        tree.compact(&pull, &CompactOptions::default()).unwrap();
        assert_eq!(tree.get("k").unwrap().unwrap(), b"v");
        assert_eq!(keys(&tree), ["k"]);
    }
    major(&tree);
    assert_eq!(keys(&tree), ["k"]);
    tree.insert("k", "later", at(30)).unwrap();
    assert_eq!(tree.get("k").unwrap().unwrap(), b"later");
    flush(&tree);
    major(&tree);
    assert_eq!(tree.get("k").unwrap().unwrap(), b"later");
}

/// Proves E-37, E-129.
#[test]
fn tables_wholly_under_a_tombstone_go_unread() {
    let tree = tree();
    for number in 0..200 {
        tree.insert(format!("{number:03}"), noise(number, 400), at(1)).unwrap();
    }
    flush(&tree);
    let tables = tree.stats().tables();
    assert!(tables > 4);
    let hold = tree.hold(at(2)).unwrap();
    tree.drop_range("010".."190", at(5)).unwrap();
    tree.set_gc_watermark(at(6));
    let rest = || tree.compact(&Rest, &CompactOptions::default()).unwrap();
    assert_eq!(rest().outcome, Outcome::Idle, "a snapshot sees them");
    assert_eq!(keys(&tree.view_at(at(2)).unwrap()).len(), 200);
    drop(hold);
    let report = rest();
    assert_eq!(report.outcome, Outcome::Dropped);
    assert_eq!(tree.stats().tables(), tables + 1 - report.tables_in);
    assert!(report.tables_in > 2 && tree.retention_floor() == at(5));
    assert_eq!(keys(&tree).len(), 20);
    assert_eq!(rest().outcome, Outcome::Idle);
    major(&tree);
    assert_eq!((keys(&tree).len(), range_tombstones(&tree)), (20, 0));
}

/// Proves E-37.
#[test]
fn a_merge_does_not_read_inputs_wholly_under_a_tombstone() {
    let tree = tree();
    for number in 0..200 {
        tree.insert(format!("{number:03}"), noise(number, 400), at(1)).unwrap();
    }
    tree.set_gc_watermark(at(6));
    flush(&tree);
    tree.remove_range("000".."190", at(6)).unwrap();
    tree.insert("5", "x", at(7)).unwrap();
    flush(&tree);
    tree.set_gc_watermark(at(7));
    // The newer table is not under its own tombstone as a whole; the merge drops what is.
    let before = tree.stats().tables();
    let report = tree.major_compact(&CompactOptions::default()).unwrap();
    assert!(report.tables_in < before, "{} of {before}", report.tables_in);
    assert_eq!((keys(&tree).len(), range_tombstones(&tree)), (11, 0));
}

/// Proves E-129.
/// Fault: engine W-10.
#[test]
fn a_dropped_range_uncovers_nothing() {
    let tree = tree();
    // The old version lies in a wide table, the new one in a narrow one inside the range.
    for key in ["a", "m", "z"] {
        tree.insert(key, "old", at(1)).unwrap();
    }
    flush(&tree);
    tree.compact(&MoveDown { from: Level::new(0), to: Level::new(6) }, &CompactOptions::default()).unwrap();
    tree.insert("m", "new", at(5)).unwrap();
    flush(&tree);
    tree.drop_range("b".."y", at(10)).unwrap();
    tree.set_gc_watermark(at(20));
    assert_eq!(keys(&tree), ["a", "z"]);
    tree.drop_range("c".."d", at(30)).unwrap();
    assert_eq!(keys(&tree), ["a", "z"]);
    major(&tree);
    assert_eq!(keys(&tree), ["a", "z"]);
    tree.drop_range("y".."b", at(31)).unwrap();
    tree.drop_range::<&str>((Bound::Excluded("a"), Bound::Unbounded), at(32)).unwrap();
    assert_eq!(keys(&tree), ["a"]);
}

/// Proves E-130.
#[test]
fn a_purged_range_is_gone_for_snapshots_too() {
    let tree = tree();
    for number in 0..100 {
        tree.insert(format!("{number:03}"), noise(number, 400), at(1)).unwrap();
    }
    flush(&tree);
    let before = tree.stats().tables();
    let (hold, view) = (tree.hold(at(2)).unwrap(), tree.view());
    tree.purge_range("000".."090", at(5)).unwrap();
    assert_eq!(tree.retention_floor(), at(5));
    assert!(tree.stats().tables() < before, "{before} tables");
    assert_eq!(tree.view_at(hold.before()).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert_eq!(tree.hold(at(5)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert_eq!(keys(&view).len(), 100, "views go on");
    assert_eq!(keys(&tree).len(), 10);
}

/// Proves E-128, D-93. Fault: durability W-25.
#[test]
fn a_clear_leaves_nothing_but_what_is_newer() {
    let memory = Arc::new(MemFs::new());
    let tree = Tree::open(options(&memory)).unwrap();
    let token = lsm_engine::Token::new("log 7".as_bytes()).unwrap();
    for number in 0..100_u64 {
        tree.insert(format!("{number:03}"), noise(number, 400), at(number)).unwrap();
        if number % 30 == 0 {
            flush(&tree);
        }
    }
    tree.seal(Some(token.clone()));
    let (hold, view) = (tree.hold(at(50)).unwrap(), tree.view());
    tree.clear(at(200)).unwrap();
    assert!(keys(&tree).is_empty());
    assert_eq!((tree.stats().tables(), tree.sealed_count(), tree.retention_floor()), (0, 0, at(200)));
    assert_eq!(tree.view_at(hold.before()).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert_eq!(keys(&view).len(), 100, "views go on");
    assert_eq!(tree.insert("late", "x", at(199)).unwrap_err().kind(), ErrorKind::BelowSnapshot);
    tree.insert("new", "x", at(201)).unwrap();
    assert_eq!(tree.recovered_token(), Some(token));
    drop((hold, view));
    flush(&tree);
    tree.close().unwrap();
    let tree = Tree::open(options(&memory)).unwrap();
    assert_eq!(keys(&tree), ["new"]);
    assert_eq!(tree.view_at(at(200)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);

    // What is newer than the clear is in the same memtable, and in the same table, as what is older.
    tree.insert("old", "x", at(300)).unwrap();
    tree.insert("newer", "x", at(400)).unwrap();
    flush(&tree);
    tree.insert("old2", "x", at(301)).unwrap();
    tree.insert("newer2", "x", at(401)).unwrap();
    tree.clear(at(350)).unwrap();
    assert_eq!(keys(&tree), ["newer", "newer2"]);
    tree.close().unwrap();
    let tree = Tree::open(options(&memory)).unwrap();
    assert_eq!(keys(&tree), ["newer", "newer2"]);
}

/// Byte order, counting its comparisons.
struct Counting(Arc<AtomicU64>);

impl Comparator for Counting {
    fn name(&self) -> &'static str {
        "test.counting"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.0.fetch_add(1, Ordering::Relaxed);
        a.cmp(b)
    }
}

/// Comparisons that walks over a tree take in which `count` entries lie under one tombstone, forward and back.
fn cost_of_walks(count: u64, settle: fn(&Tree)) -> [u64; 2] {
    let counter = Arc::new(AtomicU64::new(0));
    let options = options(&Arc::new(MemFs::new())).comparator(Arc::new(Counting(counter.clone())));
    let tree = Tree::open(options.table_target_bytes(40_000)).unwrap();
    for number in 0..count {
        tree.insert(format!("k{number:06}"), "old", at(number)).unwrap();
    }
    for key in ["a", "z"] {
        tree.insert(key, "x", at(count)).unwrap();
    }
    settle(&tree);
    tree.remove_range("k".."l", at(count + 1)).unwrap();
    settle(&tree);
    // A newer entry in the middle of what is deleted is not passed over. In the same memtable it would make the walk
    // look at each of its entries.
    if tree.stats().tables() + tree.sealed_count() > 0 {
        tree.insert(format!("k{:06}", count / 2), "new", at(count + 2)).unwrap();
    } else {
        tree.insert("l", "x", at(count)).unwrap();
    }
    assert_eq!(tree.count().unwrap(), 3);
    let walk = |steps: &mut dyn FnMut() -> usize| {
        let before = counter.load(Ordering::Relaxed);
        assert_eq!(steps(), 3);
        counter.load(Ordering::Relaxed) - before
    };
    [walk(&mut || tree.iter().count()), walk(&mut || tree.iter().rev().count())]
}

/// Proves E-38.
#[test]
fn scans_jump_over_what_is_deleted() {
    let down: fn(&Tree) = |tree| {
        flush(tree);
        let down = MoveDown { from: Level::new(0), to: Level::new(6) };
        let _ = tree.compact(&down, &CompactOptions::default());
    };
    for settle in [PLACES[0], PLACES[1], PLACES[2], down] {
        for (few, many) in cost_of_walks(1_000, settle).into_iter().zip(cost_of_walks(20_000, settle)) {
            assert!(many < few + few / 2 + 200, "{few} comparisons over 1,000 entries, {many} over 20,000");
        }
    }
}

/// Proves E-38, E-39.
#[test]
fn tables_that_are_wholly_deleted_are_not_opened() {
    let memory = Arc::new(MemFs::new());
    let tree = Tree::open(options(&memory)).unwrap();
    for number in 0..410 {
        tree.insert(format!("{number:03}"), noise(number, 200), at(1)).unwrap();
    }
    flush(&tree);
    tree.remove_range("001".."405", at(5)).unwrap();
    flush(&tree);
    tree.close().unwrap();
    // All tables are destroyed but for the first and the last one, and that of the delete, the newest.
    let entries = memory.read_dir(Path::new("/db/tables")).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert!(names.len() > 10);
    for name in &names[1..names.len() - 2] {
        let file = memory.open(&Path::new("/db/tables").join(name), &OpenOptions::WRITE).unwrap();
        file.write_at(0, &vec![0x5A; file.len().unwrap() as usize]).unwrap();
    }
    let tree = Tree::open(options(&memory)).unwrap();
    assert_eq!(keys(&tree), ["000", "405", "406", "407", "408", "409"]);
    assert!((1..405).all(|number| !tree.contains_key(format!("{number:03}")).unwrap()));
}

/// Proves E-22.
/// Fault: engine W-22.
#[test]
fn in_a_batch_a_range_delete_hides_what_comes_before_it() {
    for settle in &PLACES[..4] {
        let tree = tree();
        tree.insert("k1", "old", at(1)).unwrap();
        let mut batch = TreeBatch::new();
        batch.insert("k2", "before").unwrap();
        batch.remove_range("k".."l").unwrap().remove_prefix("x").unwrap();
        batch.insert("k3", "after").unwrap().remove_range("z".."a").unwrap().insert("x", "x").unwrap();
        assert_eq!((batch.len(), batch.iter().count()), (6, 3));
        assert_eq!(tree.apply(&batch, at(10)).unwrap(), at(10)..at(16));
        settle(&tree);
        assert_eq!(keys(&tree), ["k3", "x"]);
        assert_eq!(tree.entry_info("k3").unwrap().unwrap().1, at(13));
        assert_eq!(tree.entry_info("x").unwrap().unwrap().1, at(15));
        assert_eq!(keys(&tree.view_at(at(11)).unwrap()), ["k1", "k2"]);
    }
    let tree = tree();
    let mut batch = TreeBatch::new();
    batch.insert("k", "v").unwrap().remove_range("a"..).unwrap();
    tree.set_gc_watermark(at(11));
    assert_eq!(tree.apply(&batch, at(10)).unwrap_err().kind(), ErrorKind::BelowSnapshot);
    assert!(tree.view().is_empty().unwrap());
}

/// Proves E-23.
#[test]
fn with_one_number_a_range_delete_may_not_follow_what_it_deletes() {
    let tree = tree();
    tree.insert("k1", "old", at(1)).unwrap();
    let mut batch = TreeBatch::new();
    batch.remove("k1").unwrap().insert("a", "x").unwrap();
    batch.remove_range("k".."l").unwrap().insert("k2", "new").unwrap();
    tree.apply_shared(&batch, at(5)).unwrap();
    assert_eq!(keys(&tree), ["a", "k2"]);
    batch.remove_prefix("k").unwrap();
    assert_eq!(tree.apply_shared(&batch, at(6)).unwrap_err().kind(), ErrorKind::AmbiguousBatch);
    let mut batch = TreeBatch::new();
    batch.merge("k", "x").unwrap().remove_range("k"..).unwrap();
    assert_eq!(tree.apply_shared(&batch, at(6)).unwrap_err().kind(), ErrorKind::AmbiguousBatch);
    assert_eq!(keys(&tree), ["a", "k2"], "nothing is applied on error");
}

/// Proves E-41.
#[test]
fn damaged_range_tombstones_are_an_error() {
    let memory = Arc::new(MemFs::new());
    let tree = Tree::open(options(&memory)).unwrap();
    tree.insert("k", "v", at(1)).unwrap();
    flush(&tree);
    tree.remove_range("a".."z", at(5)).unwrap();
    flush(&tree);
    let files = memory.read_dir(Path::new("/db/tables")).unwrap();
    tree.close().unwrap();
    // The table of range tombstones is the newer one. Both copies of what it says are destroyed.
    let newest = files.into_iter().map(|entry| entry.name).max().unwrap();
    let path = Path::new("/db/tables").join(newest);
    let file = memory.open(&path, &OpenOptions::WRITE).unwrap();
    let len = memory.metadata(&path).unwrap().len;
    file.write_at(512, &vec![0x5A; usize::try_from(len - 512).unwrap()]).unwrap();
    drop(file);
    let tree = Tree::open(options(&memory)).unwrap();
    for _ in 0..2 {
        assert!(tree.get("k").unwrap_err().is_corruption());
        assert!(tree.iter().next().unwrap().unwrap_err().is_corruption());
        assert!(tree.iter().next_back().unwrap().unwrap_err().is_corruption());
    }
    assert!(tree.major_compact(&CompactOptions::default()).unwrap_err().is_corruption());
}
