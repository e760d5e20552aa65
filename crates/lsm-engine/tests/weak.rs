//! Weak deletes, case by case.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::sync::Arc;

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeBatch, TreeOptions, WeakDeletes};
use lsm_fs::MemFs;
use lsm_types::ErrorKind;

fn options() -> TreeOptions {
    TreeOptions::new("/db").store(|store| store.fs(Arc::new(MemFs::new()))).tables(small_tables())
}

fn flush(tree: &Tree) {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

fn major(tree: &Tree) -> lsm_engine::CompactionReport {
    tree.major_compact(&CompactOptions::default()).unwrap()
}

fn entries(tree: &Tree) -> u64 {
    tree.stats().levels.iter().map(|level| level.entries).sum()
}

fn merge_upper(tree: &Tree) {
    let strategy = Leveled { l0_threshold: 2, table_target_bytes: 2_000, ..Leveled::default() };
    tree.compact(&strategy, &CompactOptions::default()).unwrap();
}

/// Proves E-13, E-55, E-56: a history within the contract never shows an older value, whatever is flushed and compacted
/// after each write. Fault: engine W-16.
#[test]
fn nothing_comes_back() {
    for schedule in 0..81_u32 {
        let tree = Tree::open(options()).unwrap();
        let mut left = schedule;
        for number in 1..=4 {
            let is_put = number % 2 == 1;
            if is_put {
                tree.insert("a", number.to_string(), at(number))
            } else {
                tree.remove_weak("a", at(number))
            }
            .unwrap();
            tree.set_gc_watermark(at(number + 1));
            match left % 3 {
                1 => flush(&tree),
                2 => {
                    flush(&tree);
                    if number % 4 == 1 {
                        major(&tree);
                    } else {
                        merge_upper(&tree);
                    }
                }
                _ => {}
            }
            left /= 3;
            let expected = is_put.then(|| number.to_string().into_bytes());
            assert_eq!(tree.get("a").unwrap().map(|value| value.to_vec()), expected, "{schedule} {number}");
            assert_eq!(tree.iter().rev().count(), usize::from(is_put));
        }
        flush(&tree);
        assert_eq!(tree.get("a").unwrap(), None);
        major(&tree);
        assert_eq!((tree.get("a").unwrap(), entries(&tree)), (None, 0));
    }
}

/// Proves E-57: a key that was put twice shows, after a weak delete, nothing or the value it had before the put that
/// went, never a third state; and that is counted. Fault: engine W-17.
#[test]
fn misuse_is_defined_and_counted() {
    let mut counted = 0;
    for schedule in 0..27_u32 {
        let tree = Tree::open(options()).unwrap();
        tree.insert("0", "other", at(1)).unwrap();
        tree.insert("b", "other", at(1)).unwrap();
        let mut left = schedule;
        for number in 2..=4 {
            if number < 4 {
                tree.insert("a", number.to_string(), at(number))
            } else {
                tree.remove_weak("a", at(4))
            }
            .unwrap();
            match left % 3 {
                1 => flush(&tree),
                2 => {
                    flush(&tree);
                    major(&tree);
                }
                _ => {}
            }
            left /= 3;
        }
        tree.set_gc_watermark(at(5));
        for _ in 0..2 {
            flush(&tree);
            counted += major(&tree).weak_mismatches;
            let found = tree.get("a").unwrap();
            assert!(found.is_none() || found.as_deref() == Some(b"2"), "{schedule}: {found:?}");
            assert_eq!(tree.get("b").unwrap().as_deref(), Some(b"other".as_slice()));
            assert_eq!(tree.get("0").unwrap().as_deref(), Some(b"other".as_slice()));
        }
    }
    assert!(counted > 0);
}

/// Proves E-57 (strict): weak deletes written as ordinary ones show nothing again, however often a key was put.
#[test]
fn strict_ones_are_ordinary() {
    let tree = Tree::open(options().weak_deletes(WeakDeletes::Strict)).unwrap();
    let mut batch = TreeBatch::new();
    batch.insert("b", "1").unwrap().insert("b", "2").unwrap().remove_weak("b").unwrap();
    tree.apply(&batch, at(1)).unwrap();
    tree.insert("a", "1", at(11)).unwrap();
    tree.insert("a", "2", at(12)).unwrap();
    tree.remove_weak("a", at(13)).unwrap();
    tree.set_gc_watermark(at(20));
    flush(&tree);
    major(&tree);
    assert_eq!((tree.get("a").unwrap(), tree.get("b").unwrap(), entries(&tree)), (None, None, 0));
}

/// Proves E-56, E-59: a queue gives its space back; tables count weak tombstones, and those whose put lies right below.
#[test]
fn a_queue_gives_its_space_back() {
    let tree = Tree::open(options()).unwrap();
    let key = |number: u64| format!("job-{number:06}");
    for number in 0..300 {
        tree.insert(key(number), "work", at(2 * number)).unwrap();
        tree.remove_weak(key(number), at(2 * number + 1)).unwrap();
    }
    tree.remove_weak("without-put", at(700)).unwrap();
    flush(&tree);
    let stats = tree.stats();
    let of = |count: fn(&lsm_engine::LevelStats) -> u64| stats.levels.iter().map(count).sum::<u64>();
    assert_eq!(
        (of(|level| level.weak_tombstones), of(|level| level.reclaimable_weak_tombstones)),
        (301, 300)
    );
    tree.set_gc_watermark(at(701));
    major(&tree);
    assert_eq!((entries(&tree), tree.stats().file_bytes()), (0, 0));
    // With the watermark above, pairs do not even reach a table.
    for number in 0..300 {
        tree.insert(key(number), "work", at(1000 + 2 * number)).unwrap();
        tree.remove_weak(key(number), at(1001 + 2 * number)).unwrap();
    }
    tree.set_gc_watermark(at(5000));
    flush(&tree);
    assert_eq!(entries(&tree), 0);
    assert!(tree.is_empty().unwrap() && tree.last().unwrap().is_none());
}

/// Proves E-58: over operands a weak delete is a delete, and takes none of them for its put.
#[test]
fn over_operands() {
    let join = lsm_testkit::operators::Join::new(true);
    let tree = Tree::open(options().merge_operator(Arc::new(join))).unwrap();
    tree.insert("a", "1", at(1)).unwrap();
    tree.merge("a", "2", at(2)).unwrap();
    tree.remove_weak("a", at(3)).unwrap();
    tree.set_gc_watermark(at(4));
    assert_eq!(tree.get("a").unwrap(), None);
    flush(&tree);
    assert_eq!(tree.get("a").unwrap(), None);
    tree.merge("a", "4", at(4)).unwrap();
    assert_eq!(tree.get("a").unwrap().as_deref(), Some(b"4".as_slice()));
}

/// Proves E-23: with one number for all, of several puts and deletes of a key the last one counts; a merge beside
/// another operation is refused, and nothing is written.
#[test]
fn batches_with_one_number() {
    type Add = fn(&mut TreeBatch) -> lsm_types::Result<&mut TreeBatch>;
    let operations: [(bool, Option<&str>, Add); 4] = [
        (false, Some("v"), |batch| batch.insert("k", "v")),
        (false, None, |batch| batch.remove("k")),
        (false, None, |batch| batch.remove_weak("k")),
        (true, Some("m"), |batch| batch.merge("k", "m")),
    ];
    for (first_merges, _, first) in operations {
        for (second_merges, value, second) in operations {
            let tree = Tree::open(options()).unwrap();
            let mut batch = TreeBatch::new();
            batch.insert("a", "1").unwrap();
            first(&mut batch).unwrap();
            batch.insert("z", "1").unwrap();
            second(&mut batch).unwrap();
            let applied = tree.apply_shared(&batch, at(7));
            if first_merges || second_merges {
                assert_eq!(applied.unwrap_err().kind(), ErrorKind::AmbiguousBatch);
                assert!(tree.is_empty().unwrap() && tree.memtable_bytes() < 4096);
                continue;
            }
            applied.unwrap();
            for before in [7, 8] {
                let view = tree.view_at(at(before)).unwrap();
                let expected = value.filter(|_| before == 8).map(str::as_bytes);
                assert_eq!(view.get("k").unwrap().as_deref(), expected);
                assert_eq!(view.count().unwrap(), u64::from(before == 8) * (2 + u64::from(value.is_some())));
            }
            assert_eq!(tree.view().approximate_len(), 3, "one entry for each key");
        }
    }
    let tree = Tree::open(options()).unwrap();
    let mut batch = TreeBatch::new();
    assert_eq!(tree.apply_shared(&batch, at(1)).unwrap().bytes_added, 0);
    batch.merge("a", "1").unwrap().insert("b", "1").unwrap();
    tree.apply_shared(&batch, at(1)).unwrap();
    assert_eq!(tree.count().unwrap(), 2);
    assert!(tree.apply_shared(&batch, lsm_types::SeqNo::LATEST).is_err());
}
