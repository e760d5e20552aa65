//! Merges through memtables, flushes, compactions and reopening, case by case.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::sync::Arc;

use common::{at, small_tables};
use lsm_engine::{
    CheckpointOptions, CompactOptions, FlushOptions, NameMismatch, Reader, Tree, TreeBatch, TreeOptions,
};
use lsm_fs::MemFs;
use lsm_testkit::operators::{Join, REFUSED, SetEdit};
use lsm_types::{ErrorKind, MergeOperator, Result, SeqNo, Slice};

fn options(fs: &Arc<MemFs>) -> TreeOptions {
    let fs = fs.clone();
    TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())
}

fn open(operator: impl MergeOperator) -> Tree {
    Tree::open(options(&Arc::default()).merge_operator(Arc::new(operator))).unwrap()
}

fn flush(tree: &Tree) -> lsm_engine::FlushReport {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap()
}

fn major(tree: &Tree) -> lsm_engine::CompactionReport {
    tree.major_compact(&CompactOptions::default()).unwrap()
}

/// The value of `key` by every form, and by a scan from either end.
#[track_caller]
fn check(reader: &impl Reader, key: &str, expected: Option<&str>) {
    let expected = expected.map(str::as_bytes);
    assert_eq!(reader.get(key).unwrap().as_deref(), expected);
    assert_eq!(reader.size_of(key).unwrap(), expected.map(<[u8]>::len));
    assert_eq!(reader.contains_key(key).unwrap(), expected.is_some());
    let found = |entry: Option<Result<lsm_engine::Entry>>| entry.map(|entry| entry.unwrap().value().unwrap());
    assert_eq!(found(reader.range(key..=key).next()).as_deref(), expected);
    assert_eq!(found(reader.range(key..=key).next_back()).as_deref(), expected);
}

/// Proves E-14, E-51: operands may be written without an operator; the newest one is the value then, under tombstones
/// and range tombstones like any other.
#[test]
fn without_an_operator() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs)).unwrap();
    tree.insert("a", "base", at(1)).unwrap();
    tree.merge("a", "x", at(2)).unwrap();
    tree.merge("a", "y", at(3)).unwrap();
    tree.merge("b", "z", at(4)).unwrap();
    tree.remove("b", at(5)).unwrap();
    tree.set_gc_watermark(at(6));
    for _ in 0..2 {
        check(&tree, "a", Some("y"));
        check(&tree, "b", None);
        flush(&tree);
        major(&tree);
    }
    tree.close().unwrap();
    // Nothing was lost on the way.
    let tree = Tree::open(options(&fs).merge_operator(Arc::new(Join::new(true)))).unwrap();
    check(&tree, "a", Some("base+x+y"));
    tree.remove_range("a"..="a", at(7)).unwrap();
    check(&tree, "a", None);
}

/// Proves E-22, E-49: several operands of a key in one batch are all seen, from either end, before and after a flush.
/// Fault: engine W-3.
#[test]
fn operands_of_one_batch() {
    let tree = open(Join::new(false));
    let mut batch = TreeBatch::new();
    batch.merge("a", "x").unwrap().merge("a", "y").unwrap().merge("a", "z").unwrap();
    tree.apply(&batch, at(1)).unwrap();
    check(&tree, "a", Some("x+y+z"));
    flush(&tree);
    check(&tree, "a", Some("x+y+z"));
}

/// Proves E-47: an operand after a delete of a range folds onto nothing, though the flush that folds it holds the base.
/// Fault: engine W-4.
#[test]
fn a_range_delete_cuts_the_chain() {
    for watermark in 0..6 {
        let tree = open(Join::new(true));
        tree.insert("a", "gone", at(1)).unwrap();
        tree.remove_range("a".."b", at(2)).unwrap();
        tree.merge("a", "kept", at(3)).unwrap();
        tree.set_gc_watermark(at(watermark));
        check(&tree, "a", Some("kept"));
        flush(&tree);
        check(&tree, "a", Some("kept"));
        major(&tree);
        check(&tree, "a", Some("kept"));
    }
}

/// Proves E-44: an edit of a base that lies in an older table is never lost, whatever is flushed and compacted in
/// between. Fault: engine W-5.
#[test]
fn edits_find_their_base_across_levels() {
    for schedule in 0..64_u32 {
        let tree = open(SetEdit);
        let edits = ["-b", "+d", "-c"];
        tree.insert("a", "abc", at(1)).unwrap();
        flush(&tree);
        major(&tree);
        for (step, edit) in (0_u32..).zip(edits) {
            let seqno = at(2 + u64::from(step));
            tree.merge("a", edit, seqno).unwrap();
            tree.set_gc_watermark(seqno.next());
            if schedule >> (2 * step) & 1 == 1 {
                flush(&tree);
            }
            if schedule >> (2 * step + 1) & 1 == 1 {
                major(&tree);
            }
        }
        check(&tree, "a", Some("ad"));
        flush(&tree);
        major(&tree);
        check(&tree, "a", Some("ad"));
        assert_eq!(tree.stats().levels.iter().map(|level| level.merge_operands).sum::<u64>(), 0);
    }
}

/// Proves E-102, E-48: a flush folds and forgets below the watermark like a compaction, and not above it.
#[test]
fn a_flush_folds() {
    let tree = open(Join::new(true));
    tree.insert("a", "0", at(1)).unwrap();
    for number in 2..=5 {
        tree.merge("a", number.to_string(), at(number)).unwrap();
    }
    tree.set_gc_watermark(at(4));
    let report = flush(&tree);
    // The put and two operands became one value; two operands are not below the watermark.
    assert_eq!((report.entries, report.dropped, report.folds_failed), (3, 2, 0));
    assert_eq!(tree.retention_floor(), at(3));
    for (before, expected) in [(4, "0+2+3"), (5, "0+2+3+4"), (6, "0+2+3+4+5")] {
        check(&tree.view_at(at(before)).unwrap(), "a", Some(expected));
    }
    assert_eq!(tree.view_at(at(3)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
}

/// Proves E-50, C-82: what an operator refuses is an error of that key alone, once per walk in either direction; jobs
/// keep its operands and count it, and a later operator folds them.
#[test]
fn a_failing_operator() {
    let fs = Arc::default();
    let join = || Arc::new(Join::new(true));
    let tree = Tree::open(options(&fs).merge_operator(join())).unwrap();
    let all = [("a", "1"), ("b", "x"), ("c", "2")];
    for (number, (key, operand)) in (1..).zip(all) {
        let operand = if key == "b" { REFUSED } else { operand.as_bytes() };
        tree.insert(key, "0", at(2 * number)).unwrap();
        tree.merge(key, operand, at(2 * number + 1)).unwrap();
    }
    tree.set_gc_watermark(at(20));
    for round in 0..3 {
        let error = tree.get("b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MergeFailed);
        assert!(error.to_string().contains("test.join") && error.to_string().contains('b'), "{error}");
        assert_eq!(tree.count().unwrap(), 3);
        let seen = |entry: Result<lsm_engine::Entry>| entry.map(|entry| entry.key().to_vec()).map_err(drop);
        let expected = [Ok(b"a".to_vec()), Err(()), Ok(b"c".to_vec())];
        assert!(tree.iter().map(seen).eq(expected.clone()));
        assert!(tree.iter().rev().map(seen).eq(expected.iter().rev().cloned()));
        // One end meets the key after the other has told about it.
        let mut both = tree.iter();
        assert!(both.next().unwrap().is_ok() && both.next().unwrap().is_err());
        assert!(both.next_back().unwrap().is_ok() && both.next_back().is_none());
        check(&tree, "a", Some("0+1"));
        check(&tree, "c", Some("0+2"));
        match round {
            0 => assert_eq!(flush(&tree).folds_failed, 1),
            1 => {
                flush(&tree);
                tree.insert("d", "", at(30)).unwrap();
                flush(&tree);
                assert_eq!(major(&tree).folds_failed, 1);
                tree.remove("d", at(31)).unwrap();
            }
            _ => {}
        }
    }
    flush(&tree);
    tree.close().unwrap();
    let tree =
        Tree::open(options(&fs).merge_operator(Arc::new(Named(lsm_types::operators::Append)))).unwrap();
    check(&tree, "b", Some("0!"));
}

/// An operator under the name of another.
struct Named<O>(O);

impl<O: MergeOperator> MergeOperator for Named<O> {
    fn name(&self) -> &'static str {
        "test.join"
    }

    fn full_merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        self.0.full_merge(key, base, operands)
    }
}

/// Panics on every call.
struct Panics;

impl MergeOperator for Panics {
    fn name(&self) -> &'static str {
        "test.panics"
    }

    fn full_merge(&self, _: &[u8], _: Option<&[u8]>, _: &[&[u8]]) -> Result<Slice> {
        panic!("on purpose")
    }

    fn compose(&self, _: &[u8], _: &[&[u8]]) -> Option<Slice> {
        panic!("on purpose")
    }
}

/// Proves E-50, E-155: a panic of an operator is an error of the key it was called for, in reads and in jobs.
#[test]
fn a_panicking_operator() {
    let tree = open(Panics);
    tree.insert("a", "0", at(1)).unwrap();
    flush(&tree);
    major(&tree);
    tree.merge("a", "1", at(2)).unwrap();
    tree.merge("a", "2", at(3)).unwrap();
    tree.insert("b", "0", at(4)).unwrap();
    tree.set_gc_watermark(at(9));
    flush(&tree);
    assert_eq!(tree.get("a").unwrap_err().kind(), ErrorKind::MergeFailed);
    check(&tree, "b", Some("0"));
    assert_eq!(major(&tree).folds_failed, 1);
    assert_eq!(tree.get("a").unwrap_err().kind(), ErrorKind::MergeFailed);
    check(&tree, "b", Some("0"));
}

/// Proves D-34: the operator's name is stored; another one, or none, is refused, or let in on demand.
#[test]
fn the_name_is_held_against_the_stored_one() {
    let fs: Arc<MemFs> = Arc::default();
    let join = || options(&fs).merge_operator(Arc::new(Join::new(true)));
    let tree = Tree::open(join()).unwrap();
    tree.merge("a", "1", at(1)).unwrap();
    flush(&tree);
    tree.close().unwrap();
    let refused = |options: TreeOptions| Tree::open(options).unwrap_err();
    let other = || options(&fs).merge_operator(Arc::new(SetEdit));
    let error = refused(other());
    assert_eq!(error.kind(), ErrorKind::OptionMismatch);
    assert!(
        error.to_string().contains("test.join") && error.to_string().contains("test.set-edit"),
        "{error}"
    );
    assert_eq!(refused(options(&fs)).kind(), ErrorKind::OptionMismatch);
    let tree = Tree::open(join()).unwrap();
    check(&tree, "a", Some("1"));
    tree.close().unwrap();
    let tree = Tree::open(options(&fs).on_name_mismatch(NameMismatch::Warn)).unwrap();
    check(&tree, "a", Some("1"));
    tree.close().unwrap();
    Tree::open(other().on_name_mismatch(NameMismatch::Warn)).unwrap().close().unwrap();
    assert_eq!(refused(join()).kind(), ErrorKind::OptionMismatch, "the new name is stored");
    Tree::open(other()).unwrap().close().unwrap();
}

/// A copy of a tree is for the same operator as the tree, and holds the operands that were in memory.
#[test]
fn a_checkpoint_keeps_the_operator() {
    let fs: Arc<MemFs> = Arc::default();
    let tree = Tree::open(options(&fs).merge_operator(Arc::new(Join::new(true)))).unwrap();
    tree.insert("a", "0", at(1)).unwrap();
    flush(&tree);
    tree.merge("a", "1", at(2)).unwrap();
    tree.set_gc_watermark(at(9));
    tree.checkpoint("/copy", &CheckpointOptions::default()).unwrap();
    let copy = |operator: Arc<dyn MergeOperator>| {
        let fs = fs.clone();
        let options = TreeOptions::new("/copy").store(|store| store.fs(fs)).tables(small_tables());
        Tree::open(options.merge_operator(operator))
    };
    assert_eq!(copy(Arc::new(SetEdit)).unwrap_err().kind(), ErrorKind::OptionMismatch);
    check(&copy(Arc::new(Join::new(true))).unwrap(), "a", Some("0+1"));
    check(&tree, "a", Some("0+1"));
}

/// A chain of 20,000 operands, in memory, in a table, over both, from either end.
#[test]
fn long_chains() {
    let tree = open(lsm_types::operators::AddI64);
    let add = |from: u64, to: u64| {
        for number in from..to {
            tree.merge("a", 1_i64.to_le_bytes(), at(number)).unwrap();
        }
    };
    let check = |sum: i64| {
        let sum = Slice::from(sum.to_le_bytes());
        assert_eq!(tree.get("a").unwrap().unwrap(), sum);
        assert_eq!(tree.first().unwrap().unwrap().value().unwrap(), sum);
        assert_eq!(tree.last().unwrap().unwrap().value().unwrap(), sum);
    };
    add(1, 10_001);
    check(10_000);
    flush(&tree);
    check(10_000);
    add(10_001, 20_001);
    check(20_000);
    tree.set_gc_watermark(SeqNo::MAX_WRITE);
    flush(&tree);
    check(20_000);
    major(&tree);
    check(20_000);
    assert_eq!(tree.stats().levels.iter().map(|level| level.entries).sum::<u64>(), 1);
}
