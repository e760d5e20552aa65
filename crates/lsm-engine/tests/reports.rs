//! What a call of a compaction says about itself, and who waits for whom.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::sync::{
    Arc, Barrier, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use common::{at, contents, flush, small_tables};
use lsm_compaction_planner::{
    CompactionStrategy, DropRange, Level, Leveled, Major, MoveDown, Plan, PlanView, Settings,
};
use lsm_engine::{
    Cancel, CompactOptions, CompactionReport, ExecutorError, Failpoints, Outcome, StageNanos, Tree,
    TreeOptions, WeakTree,
};
use lsm_fs::MemFs;
use lsm_testkit::{filters::Recorded, operators::Join};
use lsm_types::{Clock, ErrorKind, SeqNo, UnixNanos, Verdict};

/// A clock on which every look takes time.
#[derive(Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> UnixNanos {
        UnixNanos::new(self.monotonic_nanos())
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

fn options() -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(Arc::new(MemFs::new())))
        .tables(small_tables())
        .table_target_bytes(2_000)
}

fn open() -> Tree {
    Tree::open(options()).unwrap()
}

fn fill(tree: &Tree, from: u64) {
    for number in from..from + 100 {
        tree.insert(format!("{:03}", number % 100), [b'v'; 40], at(number)).unwrap();
    }
    flush(tree);
}

fn compact(tree: &Tree, strategy: &dyn CompactionStrategy) -> CompactionReport {
    tree.compact(strategy, &CompactOptions::default()).unwrap()
}

/// A strategy that tells when it is asked.
struct Asked<S, F> {
    strategy: S,
    tell: F,
}

impl<S: CompactionStrategy, F: Fn() + Send + Sync> CompactionStrategy for Asked<S, F> {
    fn name(&self) -> &'static str {
        "AskedCompaction"
    }

    fn settings(&self) -> Settings {
        self.strategy.settings()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        (self.tell)();
        self.strategy.plan(view)
    }
}

/// Proves C-3: the action, the level, and the tables on both sides.
#[test]
fn actions() {
    let tree = open();
    let mut nothing = compact(&tree, &Major::default());
    nothing.stages = StageNanos::default(); // others may have made it wait
    assert_eq!(nothing, CompactionReport::nothing(Outcome::Idle));
    fill(&tree, 1);
    let tables = tree.stats().tables();
    assert!(tables > 1);
    let moved = compact(&tree, &MoveDown { from: Level::new(0), to: Level::new(3) });
    assert_eq!((moved.outcome, moved.dest), (Outcome::Moved, Some(Level::new(3))));
    assert_eq!((moved.tables_in, moved.tables_out, moved.bytes_out), (tables, tables, 0));
    let merged = compact(&tree, &Major::default());
    assert_eq!((merged.outcome, merged.dest), (Outcome::Merged, Some(Level::new(6))));
    assert_eq!((merged.tables_in, merged.tables_out), (tables, tree.stats().tables()));
    let left = tree.stats();
    tree.remove_range::<&str>(.., at(101)).unwrap();
    flush(&tree);
    tree.set_gc_watermark(at(102));
    let dropped = compact(&tree, &DropRange::default());
    assert_eq!((dropped.outcome, dropped.dest), (Outcome::Dropped, None));
    assert_eq!((dropped.tables_in >= left.tables(), dropped.tables_out), (true, 0));
    let sums = tree.stats().compactions;
    assert_eq!((sums.idle, sums.moved, sums.merged, sums.dropped), (1, 1, 1, 1));
}

/// Proves C-4, C-177: what a merge read, wrote and left out, by reason, and where its time went.
#[test]
fn costs() {
    let filters =
        Recorded::new(|entry| Ok(if entry.key() == b"f" { Verdict::Destroy } else { Verdict::Keep }));
    let tree = Tree::open(
        options()
            .store(|store| store.clock(Arc::new(Ticks::default())))
            .merge_operator(Arc::new(Join::new(true)))
            .compaction_filter_factory(Arc::new(filters)),
    )
    .unwrap();
    let mut next = (1..).map(at);
    let mut seqno = || next.next().unwrap();
    tree.insert("a", "shadowed", seqno()).unwrap();
    tree.insert("a", "stays", seqno()).unwrap();
    tree.remove("b", seqno()).unwrap();
    tree.insert("c", "goes", seqno()).unwrap();
    tree.remove_weak("c", seqno()).unwrap();
    for _ in 0..3 {
        tree.merge("d", "folds", seqno()).unwrap();
    }
    tree.insert("e", "deleted", seqno()).unwrap();
    tree.remove_range("e".."f", seqno()).unwrap();
    tree.insert("f", "filtered", seqno()).unwrap();
    let mut end = seqno();
    flush(&tree);
    tree.insert("g", "another run", end).unwrap();
    end = end.next();
    flush(&tree);
    tree.set_gc_watermark(end);
    let before = tree.stats();
    let report = compact(&tree, &Major { target_bytes: 1 << 20 });
    let after = tree.stats();
    assert_eq!((report.bytes_in, report.bytes_out), (before.file_bytes(), after.file_bytes()));
    assert_eq!((report.entries_in, report.entries_out), (11, 3), "{report:?}");
    let dropped = report.dropped;
    assert_eq!((dropped.shadowed, dropped.evicted, dropped.annihilated), (1, 1, 2));
    assert_eq!((dropped.range_deleted, dropped.folded, dropped.filtered), (1, 2, 1));
    assert_eq!(report.entries_in, report.entries_out + dropped.total());
    assert_eq!((report.range_tombstones_in, report.range_tombstones_out), (1, 0));
    assert_eq!((report.flavour, report.segments, report.narrowed), (Some("standard"), 1, false));
    assert_eq!((report.folds_failed, report.weak_mismatches, report.filtered.destroyed), (0, 0, 1));
    let stages = report.stages;
    assert_eq!(stages.plan + stages.write + stages.install, report.nanos);
    assert!(stages.write > 0 && stages.install > 0 && stages.plan > 0);
    let sums = after.compactions;
    assert_eq!((sums.entries_in, sums.entries_out, sums.entries_dropped), (11, 3, dropped));
    assert_eq!((sums.filtered, sums.range_tombstones_in), (report.filtered, 1));
    assert_eq!((sums.bytes_in, sums.bytes_out), (report.bytes_in, report.bytes_out));
    let [job] = tree.compactions_by_reason()[..] else { panic!("one job ran") };
    assert_eq!((Some(job.reason), job.flavour, job.jobs), (report.reason, report.flavour, 1));
    assert_eq!((job.bytes_in, job.bytes_out), (report.bytes_in, report.bytes_out));
    assert_eq!((job.entries_in, job.entries_out, job.nanos), (11, 3, report.nanos));
}

/// Fails before anything is installed.
struct Fails;

impl Failpoints for Fails {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point == "install.before" { Err(ExecutorError::Injected { point }) } else { Ok(()) }
    }
}

/// Proves C-4: why nothing happened; failures and stops are counted.
#[test]
fn reasons_for_nothing() {
    let tree = open();
    fill(&tree, 1);
    fill(&tree, 101);
    assert_eq!(compact(&tree, &MoveDown { from: Level::new(4), to: Level::new(5) }).outcome, Outcome::Idle);
    let cancel = Cancel::new();
    cancel.cancel();
    let stopped = tree.compact(&Major::default(), &CompactOptions::default().cancel(cancel)).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
    let failing = tree.compact_with(
        &Major::default(),
        &CompactOptions::default(),
        &(Arc::new(Fails) as Arc<dyn Failpoints>),
    );
    assert_eq!(failing.unwrap_err().kind(), ErrorKind::Bug);
    let sums = tree.stats().compactions;
    assert_eq!((sums.idle, sums.merged, sums.stopped, sums.failed), (1, 0, 1, 1));
}

/// Proves C-5: with a watermark of zero nothing is forgotten; with one above everything, all that can go goes.
#[test]
fn watermarks() {
    let tree = open();
    fill(&tree, 1);
    fill(&tree, 101);
    let report = compact(&tree, &Major::default());
    assert_eq!((report.entries_in, report.entries_out, report.dropped.total()), (200, 200, 0));
    assert_eq!(
        (tree.retention_floor(), contents(&tree.view_at(at(101)).unwrap()).unwrap().len()),
        (SeqNo::ZERO, 100)
    );
    tree.set_gc_watermark(at(201));
    let report = compact(&tree, &Major::default());
    assert_eq!((report.entries_in, report.entries_out, report.dropped.shadowed), (200, 100, 100));
    assert_eq!(contents(&tree).unwrap().len(), 100);
}

/// Proves C-1: a strategy is asked once, and several calls run at once.
#[test]
fn calls_run_beside_each_other() {
    let tree = open();
    fill(&tree, 1);
    let asked = AtomicUsize::new(0);
    let once = Asked { strategy: Major::default(), tell: || _ = asked.fetch_add(1, Ordering::SeqCst) };
    assert_eq!(compact(&tree, &once).outcome, Outcome::Merged);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // Each waits, within its plan, for the other one to be asked.
    let both = Barrier::new(2);
    let idle = || Asked { strategy: Leveled::default(), tell: || _ = both.wait() };
    std::thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| compact(&tree, &idle()).outcome));
        assert_eq!(calls.map(|call| call.join().unwrap()), [Outcome::Idle; 2]);
    });
}

/// Proves C-2: a major compaction begins when the others have ended.
#[test]
fn a_major_compaction_runs_alone() {
    let filters = Recorded::new(|_| Ok(Verdict::Keep));
    let tree = Tree::open(options().compaction_filter_factory(Arc::new(filters.clone()))).unwrap();
    fill(&tree, 1);
    let (begun, other) = (Barrier::new(2), tree.clone());
    std::thread::scope(|scope| {
        let major = scope.spawn(|| {
            begun.wait();
            other.major_compact(&CompactOptions::default()).unwrap()
        });
        let first = Asked {
            strategy: Major::default(),
            tell: || {
                begun.wait();
                std::thread::yield_now();
            },
        };
        let first = compact(&tree, &first);
        let second = major.join().unwrap();
        assert_eq!((first.outcome, second.outcome), (Outcome::Merged, Outcome::Merged));
        assert_eq!(second.tables_in, first.tables_out, "it takes what the first one has made");
    });
    assert_eq!(filters.take().ended, [true, true]);
}

/// Proves C-179: who asks how things are, from within a job, gets an answer.
#[test]
fn status_does_not_wait() {
    let within: Arc<Mutex<Option<WeakTree>>> = Arc::default();
    let (seen, of) = (Arc::new(Mutex::new(Vec::new())), within.clone());
    let told = seen.clone();
    let filters = Recorded::new(move |_| {
        let tree = of.lock().unwrap().as_ref().and_then(WeakTree::upgrade).unwrap();
        let debt = tree.compaction_debt(&Leveled::default());
        told.lock().unwrap().push((tree.stats().tables_busy, tree.stats().compactions.merged, debt));
        Ok(Verdict::Keep)
    });
    let tree = Tree::open(options().compaction_filter_factory(Arc::new(filters))).unwrap();
    *within.lock().unwrap() = Some(tree.downgrade());
    fill(&tree, 1);
    let tables = tree.stats().tables();
    assert_eq!(tree.major_compact(&CompactOptions::default()).unwrap().outcome, Outcome::Merged);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 100);
    assert!(seen.iter().all(|(busy, merged, _)| (*busy, *merged) == (tables, 0)));
    assert_eq!((tree.stats().tables_busy, tree.stats().compactions.merged), (0, 1));
}
