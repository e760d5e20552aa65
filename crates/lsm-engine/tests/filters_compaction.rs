//! Compaction filters in a tree: what they see, what reads see afterwards, and what a failure leaves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{Pairs, at, contents, flush, small_tables};
use lsm_engine::{Cancel, CompactOptions, FilterCounts, Outcome, Tree, TreeOptions};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::{
    filters::{Recorded, Said},
    operators::Join,
};
use lsm_types::{
    CompactionFilter, CompactionFilterFactory, ErrorKind, FilterContext, FilterEntry, IoError, IoKind, IoOp,
    Level, Result, SeqNo, Verdict,
};

fn options(fs: &Arc<MemFs>, factory: impl CompactionFilterFactory) -> TreeOptions {
    let fs = fs.clone();
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).compaction_threads(3))
        .tables(small_tables())
        .table_target_bytes(4_000)
        .compaction_filter_factory(Arc::new(factory))
}

fn open(factory: impl CompactionFilterFactory) -> Tree {
    Tree::open(options(&Arc::default(), factory)).unwrap()
}

/// Filters that go by the first letter of values: `r`emove, `w`eakly, `d`estroy, `n`ew value.
fn by_letter() -> Recorded {
    Recorded::new(|entry| {
        Ok(match entry.value()?.first() {
            Some(b'r') => Verdict::Remove,
            Some(b'w') => Verdict::RemoveWeak,
            Some(b'd') => Verdict::Destroy,
            Some(b'n') => Verdict::Replace("old".into()),
            _ => Verdict::Keep,
        })
    })
}

fn major(tree: &Tree) -> lsm_engine::CompactionReport {
    tree.major_compact(&CompactOptions::default()).unwrap()
}

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn numbers(said: &[Said]) -> Vec<u64> {
    said.iter().map(|said| said.seqno.get()).collect()
}

/// Proves C-83, C-86, C-4: every verdict, each entry shown with its own number and once, the end of the job told.
#[test]
fn verdicts_become_true() {
    let filters = by_letter();
    let tree = open(filters.clone());
    for (seqno, (key, value)) in
        (1..).zip([("a", "x"), ("b", "r"), ("c", "w"), ("d", "d"), ("e", "n"), ("f", "y")])
    {
        tree.insert(key, value, at(seqno)).unwrap();
    }
    tree.remove("g", at(7)).unwrap();
    flush(&tree);
    let before = tree.view();
    let report = major(&tree);
    let expected = FilterCounts { kept: 2, removed: 1, removed_weakly: 1, replaced: 1, destroyed: 1 };
    assert_eq!((report.filtered, report.filtered.changed()), (expected, 4));
    assert_eq!((report.entries_in, report.entries_out, report.dropped.total()), (7, 6, 1));
    assert_eq!(report.dropped.filtered, 1);
    let log = filters.take();
    assert_eq!(numbers(&log.committed), [1, 2, 3, 4, 5, 6], "no delete is shown");
    assert_eq!((log.made.len(), log.finished, log.ended), (1, 1, vec![true]));
    assert_eq!((log.made[0].dest, log.made[0].is_last_level), (Level::new(6), true));
    let left = pairs(&[("a", "x"), ("e", "old"), ("f", "y")]);
    assert_eq!(contents(&tree).unwrap(), left);
    assert_eq!(contents(&before).unwrap().len(), 6, "a view stays as it is");
    assert_eq!(contents(&tree.view_at(at(8)).unwrap()).unwrap(), left);
    // The next job asks again about what is left, and has nothing more to change.
    let report = major(&tree);
    assert_eq!((report.filtered.kept, report.filtered.changed()), (3, 0));
    assert_eq!(tree.retention_floor(), at(7));
    assert!(tree.verify().unwrap().is_clean());
}

/// Proves C-83: a job into a level above the last one says so; a flush asks nobody.
#[test]
fn the_level_is_told() {
    let filters = by_letter();
    let tree = open(filters.clone());
    for seqno in 1..=2 {
        tree.insert("a", "x", at(seqno)).unwrap();
        flush(&tree);
    }
    assert!(filters.take().made.is_empty());
    let down = lsm_compaction_planner::PullDown { from: Level::new(0), to: Level::new(3) };
    assert_eq!(tree.compact(&down, &CompactOptions::default()).unwrap().outcome, Outcome::Merged);
    let made = filters.take().made;
    assert_eq!((made[0].dest, made[0].is_last_level), (Level::new(3), false));
}

/// Proves E-103, C-5: a held read keeps what it sees, though nothing may be collected; who reads now sees what the
/// filter made; a read in between is refused, also after a restart.
#[test]
fn held_reads_keep_what_they_see() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs, by_letter())).unwrap();
    tree.insert("a", "r1", at(1)).unwrap();
    tree.insert("b", "r2", at(2)).unwrap();
    let hold = tree.hold(at(3)).unwrap();
    tree.insert("b", "r4", at(4)).unwrap();
    tree.insert("c", "r5", at(5)).unwrap();
    flush(&tree);
    tree.insert("d", "in memory", at(6)).unwrap();
    major(&tree);
    assert_eq!(
        contents(&tree).unwrap(),
        pairs(&[("a", "r1"), ("d", "in memory")]),
        "what a hold sees is not shown"
    );
    assert_eq!(contents(&tree.view_at(at(3)).unwrap()).unwrap(), pairs(&[("a", "r1"), ("b", "r2")]));
    assert_eq!(tree.retention_floor(), at(6), "all there was when the job began");
    for before in [1, 2, 4, 5, 6] {
        assert_eq!(tree.view_at(at(before)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
        assert_eq!(tree.hold(at(before)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    }
    drop(tree.hold(tree.view().before()).unwrap());
    drop(hold);
    major(&tree);
    assert_eq!(contents(&tree).unwrap(), pairs(&[("d", "in memory")]));
    // The write in memory is lost, the floor is not: what is read from now on can be held.
    tree.close().unwrap();
    let tree = Tree::open(options(&fs, by_letter())).unwrap();
    assert_eq!((tree.retention_floor(), tree.view().before()), (at(6), at(7)));
    assert!(tree.view_at(at(6)).is_err());
    drop(tree.hold(tree.view().before()).unwrap());
    assert!(contents(&tree).unwrap().is_empty());
}

/// Proves E-103, C-84: a filter that changes nothing raises no floor.
#[test]
fn an_idle_filter_costs_no_history() {
    let tree = open(by_letter());
    tree.insert("a", "x", at(1)).unwrap();
    tree.insert("a", "y", at(2)).unwrap();
    flush(&tree);
    major(&tree);
    assert_eq!((tree.retention_floor(), tree.changes_from()), (SeqNo::ZERO, SeqNo::ZERO));
    assert_eq!(contents(&tree.view_at(at(2)).unwrap()).unwrap(), pairs(&[("a", "x")]));
}

/// Proves C-84, C-92, E-137: changes stay complete above the highest one that a filter altered, and a follower gets what
/// it has yet to read as it was written.
#[test]
fn followers_get_what_was_written() {
    let tree = open(by_letter());
    for seqno in 1..=6 {
        tree.insert(format!("{seqno}"), "r", at(seqno)).unwrap();
    }
    flush(&tree);
    let follower = tree.follow_changes(at(4), None).unwrap();
    let report = major(&tree);
    assert_eq!(report.filtered.removed, 3);
    assert_eq!((tree.changes_from(), tree.retention_floor()), (at(4), at(6)));
    let values = |since| {
        tree.changes::<&str>(at(since), ..)
            .map(|changes| changes.map(|change| change.unwrap().seqno.get()).collect::<Vec<_>>())
    };
    assert_eq!(values(4).unwrap(), [4, 5, 6]);
    assert_eq!(values(3).unwrap_err().kind(), ErrorKind::HistoryCollected);
    assert_eq!(contents(&tree).unwrap().len(), 3);
    follower.advance(at(6));
    major(&tree);
    assert_eq!((contents(&tree).unwrap().len(), tree.changes_from()), (1, at(6)));
    drop(follower);
    major(&tree);
    assert_eq!((contents(&tree).unwrap().len(), tree.changes_from()), (0, at(7)));
    let versions: Vec<_> = tree.view().versions::<&str>(..).map(|entry| entry.unwrap()).collect();
    assert!(versions.iter().all(|entry| entry.value.is_empty() && entry.kind == lsm_types::Kind::Tombstone));
}

/// Proves C-84, C-89: what a delete of a range hides from everybody is not shown, at the bottom or above it, in tables
/// that are read or left unread; what it hides from some is.
#[test]
fn deletes_of_ranges() {
    let filters = by_letter();
    let tree = open(filters.clone());
    for (seqno, key) in (1..).zip(["a", "b", "c", "d"]) {
        tree.insert(key, "n", at(seqno)).unwrap();
    }
    tree.remove_range("b".."d", at(5)).unwrap();
    flush(&tree);
    major(&tree);
    assert_eq!(numbers(&filters.take().committed), [1, 2, 3, 4]);
    assert_eq!(contents(&tree).unwrap(), pairs(&[("a", "old"), ("d", "old")]));
    tree.set_gc_watermark(at(6));
    major(&tree);
    assert_eq!(numbers(&filters.take().committed), [1, 4]);
}

/// Proves C-84: operands and what they fold into are shown; a replaced operand still folds.
#[test]
fn operands_are_shown() {
    let filters = Recorded::new(|entry| {
        Ok(match (entry.is_operand(), entry.value()?) {
            (true, b"2") => Verdict::Replace("two".into()),
            (false, folded) if folded.starts_with(b"gone+") => Verdict::Remove,
            _ => Verdict::Keep,
        })
    });
    let tree =
        Tree::open(options(&Arc::default(), filters.clone()).merge_operator(Arc::new(Join::new(false))))
            .unwrap();
    for (base, key) in [("1", "a"), ("gone", "b")] {
        let seqno = tree.view().before().max(at(1));
        tree.insert(key, base, seqno).unwrap();
        tree.merge(key, "2", seqno.next()).unwrap();
        tree.merge(key, "3", seqno.next().next()).unwrap();
    }
    flush(&tree);
    let report = major(&tree);
    assert_eq!((report.filtered.replaced, report.dropped.folded), (2, 0));
    assert_eq!(contents(&tree).unwrap(), pairs(&[("a", "1+two+3"), ("b", "gone+two+3")]));
    tree.set_gc_watermark(at(7));
    let report = major(&tree);
    let shown: Vec<_> =
        filters.take().committed.into_iter().map(|said| (said.seqno.get(), said.is_operand)).collect();
    assert_eq!(
        shown[6..],
        [(3, true), (2, true), (1, false), (3, false), (6, true), (5, true), (4, false), (6, false)]
    );
    assert_eq!((report.filtered.removed, report.entries_out), (1, 1));
    assert_eq!(contents(&tree).unwrap(), pairs(&[("a", "1+two+3")]));
}

/// Proves C-83, C-86, C-140: many segments, each with a filter of its own, make what one makes.
#[test]
fn each_segment_has_its_filter() {
    let ends_in = |digit: u8| {
        move |entry: FilterEntry<'_>| {
            Ok(if entry.key().last() == Some(&digit) { Verdict::Remove } else { Verdict::Keep })
        }
    };
    let (one, many) = (Recorded::new(ends_in(b'3')), Recorded::new(ends_in(b'3')));
    let mut left = Vec::new();
    for (filters, how) in
        [(one, CompactOptions::default()), (many, CompactOptions::default().segment_min_bytes(2_000))]
    {
        let tree = open(filters.clone());
        for number in 0..1_000 {
            tree.insert(format!("{number:04}"), [b'v'; 40], at(1 + number)).unwrap();
        }
        flush(&tree);
        let report = tree.major_compact(&how).unwrap();
        let log = filters.take();
        assert_eq!(
            (log.made.len(), log.finished, log.ended.len()),
            (report.segments, report.segments, report.segments)
        );
        assert!(log.ended.iter().all(|committed| *committed));
        assert_eq!((report.filtered.removed, report.filtered.kept, log.committed.len()), (100, 900, 1_000));
        left.push((contents(&tree).unwrap(), tree.retention_floor(), tree.changes_from()));
        assert_eq!(report.segments, if left.len() == 1 { 1 } else { 3 });
    }
    assert_eq!(left[0], left[1]);
    assert_eq!((left[0].0.len(), left[0].1, left[0].2), (900, at(1_000), at(995)));
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Make,
    Filter,
    Finish,
    Ended,
}

/// Fails at one step as long as it is told to, by an error or by a panic.
#[derive(Clone)]
struct Fails {
    step: Step,
    panics: bool,
    is_on: Arc<AtomicBool>,
    then: Recorded,
}

impl Fails {
    fn at(&self, step: Step) -> Result<()> {
        if step != self.step || !self.is_on.load(Ordering::SeqCst) {
            return Ok(());
        }
        assert!(!self.panics, "on purpose");
        Err(IoError::new(IoOp::Read, IoKind::Other).into())
    }
}

impl CompactionFilterFactory for Fails {
    fn name(&self) -> &'static str {
        "test.fails"
    }

    fn make(&self, context: &FilterContext) -> Box<dyn CompactionFilter> {
        _ = self.at(Step::Make);
        Box::new(Failing { of: self.clone(), then: self.then.make(context) })
    }
}

struct Failing {
    of: Fails,
    then: Box<dyn CompactionFilter>,
}

impl CompactionFilter for Failing {
    fn filter(&mut self, entry: FilterEntry<'_>) -> Result<Verdict> {
        if entry.key() == b"0700" {
            self.of.at(Step::Filter)?;
        }
        self.then.filter(entry)
    }

    fn finish(&mut self) -> Result<()> {
        self.of.at(Step::Finish)?;
        self.then.finish()
    }

    fn ended(&mut self, committed: bool) {
        self.then.ended(committed);
        _ = self.of.at(Step::Ended);
    }
}

/// Proves C-86, C-87, C-145, I-2, I-9: whatever fails, by whatever means, with one segment or many: nothing has
/// changed, nothing lies about, the filters hear of it, and the next job succeeds. Fault: compaction W-12, W-38.
#[test]
fn failures_leave_nothing() {
    for (step, panics) in [
        (Step::Make, true),
        (Step::Filter, false),
        (Step::Filter, true),
        (Step::Finish, false),
        (Step::Finish, true),
    ] {
        for how in [CompactOptions::default(), CompactOptions::default().segment_min_bytes(2_000)] {
            let (fs, is_on) = (Arc::new(MemFs::new()), Arc::new(AtomicBool::new(true)));
            let then = Recorded::new(|_| Ok(Verdict::Remove));
            let fails = Fails { step, panics, is_on: is_on.clone(), then: then.clone() };
            let tree = Tree::open(options(&fs, fails)).unwrap();
            for number in 0..1_000 {
                tree.insert(format!("{number:04}"), [b'v'; 40], at(1 + number)).unwrap();
            }
            flush(&tree);
            let state = |tree: &Tree| {
                let files = fs.read_dir(Path::new("/db/tables")).unwrap().len();
                (files, contents(tree).unwrap().len(), tree.retention_floor(), tree.changes_from())
            };
            let before = state(&tree);
            let error = tree.major_compact(&how).unwrap_err();
            assert_eq!(
                error.kind(),
                if panics { ErrorKind::Bug } else { ErrorKind::Io },
                "{step:?}: {error}"
            );
            assert_eq!(state(&tree), before, "{step:?}");
            let log = then.take();
            let finished = if step == Step::Finish { 0 } else { log.finished };
            assert_eq!((finished, log.committed.len()), (0, 0), "{step:?}");
            assert_eq!(log.ended, vec![false; log.made.len()]);
            is_on.store(false, Ordering::SeqCst);
            assert_eq!(tree.major_compact(&how).unwrap().filtered.removed, 1_000);
            assert!(contents(&tree).unwrap().is_empty());
            assert!(then.take().ended.iter().all(|committed| *committed));
        }
    }
}

/// Proves C-86, C-145: a filter that panics when it hears how its job ended changes nothing about that.
#[test]
fn the_end_may_panic() {
    let then = Recorded::new(|_| Ok(Verdict::Remove));
    let is_on = Arc::new(AtomicBool::new(true));
    let tree = open(Fails { step: Step::Ended, panics: true, is_on, then: then.clone() });
    tree.insert("a", "x", at(1)).unwrap();
    flush(&tree);
    assert_eq!(major(&tree).filtered.removed, 1);
    assert_eq!(then.take().ended, [true]);
    assert!(contents(&tree).unwrap().is_empty());
}

/// Proves C-86, C-159: a job that is stopped while the filter is asked ends without `finish`, and without effect.
#[test]
fn a_stopped_job() {
    let cancel = Cancel::new();
    let raised = cancel.clone();
    let filters = Recorded::new(move |entry| {
        if entry.key() == b"1500" {
            raised.cancel();
        }
        Ok(Verdict::Destroy) // none is written: who counts only those never looks
    });
    let tree = open(filters.clone());
    for number in 0..6_000 {
        tree.insert(format!("{number:04}"), "v", at(1 + number)).unwrap();
    }
    flush(&tree);
    let error = tree.major_compact(&CompactOptions::default().cancel(cancel)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let log = filters.take();
    assert_eq!((log.finished, log.ended, log.committed.len()), (0, vec![false], 0));
    assert!(log.rolled_back.len() < 3_000, "{}", log.rolled_back.len());
    assert_eq!(contents(&tree).unwrap().len(), 6_000);
}

/// Proves C-87, E-15: a value that is too long for an entry ends the job.
#[test]
fn a_value_may_be_too_long() {
    let tree = open(Recorded::new(|_| Ok(Verdict::Replace(vec![0; lsm_types::MAX_VALUE_LEN + 1].into()))));
    tree.insert("a", "x", at(1)).unwrap();
    flush(&tree);
    let error = tree.major_compact(&CompactOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueTooLarge);
    assert_eq!(contents(&tree).unwrap(), pairs(&[("a", "x")]));
}
