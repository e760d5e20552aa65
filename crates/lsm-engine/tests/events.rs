//! What a listener is told about flushes and compactions, and from where.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::sync::{Arc, OnceLock};

use common::{at, contents, flush, small_tables};
use lsm_compaction_planner::{Level, Leveled, Major, MoveDown};
use lsm_engine::{
    CompactOptions, Event, EventListener, ExecutorError, Failpoints, FlushOptions, Outcome, Reader,
    SpaceOptions, Tree, TreeOptions,
};
use lsm_fs::MemFs;
use lsm_testkit::dice::Dice;
use parking_lot::Mutex;

/// Writes down what it is told, and uses the tree meanwhile.
#[derive(Default)]
struct Notes {
    tree: OnceLock<Tree>,
    told: Mutex<Vec<String>>,
    panics: bool,
}

impl EventListener for Notes {
    fn event(&self, event: &Event) {
        let line = match event {
            Event::FlushBegun { memtables, .. } => format!("flush of {memtables}"),
            Event::FlushCommitted { report, .. } => format!("flushed {}", report.memtables),
            Event::FlushRolledBack { error, .. } => format!("flush: {:?}", error.kind()),
            Event::CompactionBegun(job) => format!("begun {} of {} by {:?}", job.id, job.tables, job.reason),
            Event::SegmentWritten(job, done) => format!("segment of {}: {} entries", job.id, done.entries),
            Event::SliceInstalled(job, sliced) => format!("slice {} of {}", sliced.slices, job.id),
            Event::CompactionCommitted(job, report) => format!("committed {}: {:?}", job.id, report.outcome),
            Event::CompactionStopped(job) => format!("stopped {}", job.id),
            Event::CompactionRolledBack(job, error) => format!("rolled back {}: {:?}", job.id, error.kind()),
            _ => panic!("an event without a line: {event:?}"),
        };
        self.told.lock().push(line);
        if let Some(tree) = self.tree.get() {
            // None of this waits for the job.
            tree.insert("from the listener", "value", at(1 << 30)).unwrap();
            tree.seal(None);
            assert!(tree.get("from the listener").unwrap().is_some());
            let _ = (tree.stats(), tree.store().space(), tree.store().storage_stats().unwrap());
            if matches!(event, Event::CompactionBegun(_) | Event::SegmentWritten(..)) {
                assert_eq!(tree.store().running_jobs().len(), 1);
            }
            // What has ended is not waited for, whatever waits for the locks of its call.
            if matches!(event, Event::CompactionStopped(_) | Event::CompactionRolledBack(..)) {
                assert_eq!(tree.store().running_jobs(), []);
                tree.flush(&FlushOptions::default()).unwrap();
                assert_eq!(tree.major_compact(&CompactOptions::default()).unwrap().outcome, Outcome::Merged);
            }
        }
        assert!(!self.panics, "a listener may panic");
    }
}

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock())
    }
}

fn open(fs: Arc<dyn lsm_fs::Fs>, notes: &Arc<Notes>) -> Tree {
    let listener = notes.clone();
    let options = TreeOptions::new("/db").store(|store| store.fs(fs).listener(listener));
    Tree::open(options.tables(small_tables())).unwrap()
}

fn fill(tree: &Tree, runs: std::ops::Range<u64>) {
    let end = runs.end;
    for run in runs {
        for key in 0..400_u64 {
            let value: Vec<u8> = (0..60).map(|n| (key * 31 + run * 7 + n).to_le_bytes()[0]).collect();
            tree.insert(format!("key-{key:05}"), value, at(1 + run * 400 + key)).unwrap();
        }
        flush(tree);
    }
    tree.set_gc_watermark(at(1 + end * 400));
}

/// Proves C-178, E-178: flushes and compactions are told of from their beginning to their end, slices in between.
#[test]
fn jobs_are_told_of_from_begin_to_end() {
    let notes = Arc::<Notes>::default();
    let tree = open(Arc::new(MemFs::new()), &notes);
    fill(&tree, 0..2);
    assert_eq!(notes.take(), ["flush of 1", "flushed 1", "flush of 1", "flushed 1"]);
    tree.flush(&FlushOptions::default()).unwrap();
    assert_eq!(notes.take(), [""; 0], "there was nothing to flush");
    tree.major_compact(&CompactOptions::default()).unwrap();
    let merged = ["begun 0 of 2 by Requested", "segment of 0: 400 entries", "committed 0: Merged"];
    assert_eq!(notes.take(), merged);
    tree.compact(&Leveled::default(), &CompactOptions::default()).unwrap();
    assert_eq!(notes.take(), [""; 0], "there was nothing to do");
    fill(&tree, 2..3);
    notes.take();
    let down = MoveDown { from: Level::new(0), to: Level::new(2) };
    tree.compact(&down, &CompactOptions::default()).unwrap();
    assert_eq!(notes.take(), ["begun 1 of 1 by Requested", "committed 1: Moved"]);
    // Slice by slice.
    let space = SpaceOptions::default().admission(true).tight(true).reserve_min_bytes(0);
    let space = space.slice_min_bytes(4_096).slice_max_bytes(Some(10_000));
    tree.store().set_space(space.limit_bytes(Some(tree.store().space().used_bytes + 120_000)));
    let report = tree.major_compact(&CompactOptions::default()).unwrap();
    let slices = report.sliced.unwrap().slices;
    let told = notes.take();
    assert!(slices > 1 && told.iter().filter(|line| line.starts_with("slice ")).count() as u64 == slices);
    assert_eq!(told.last().unwrap(), "committed 2: Sliced");
    assert_eq!(tree.store().running_jobs(), []);
}

/// Fails a job, or stops it, at a named place.
struct At(&'static str, Option<lsm_engine::Cancel>);

impl Failpoints for At {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        match &self.1 {
            _ if point != self.0 => Ok(()),
            Some(cancel) => {
                cancel.cancel();
                Ok(())
            }
            None => Err(ExecutorError::Injected { point }),
        }
    }
}

/// Proves C-178: a listener reads, writes and seals from within, and begins another job when one has ended, whatever ended
/// it; nothing waits for anything.
#[test]
fn a_listener_uses_the_tree_from_within() {
    let notes = Arc::<Notes>::default();
    let tree = open(Arc::new(MemFs::new()), &notes);
    fill(&tree, 0..2);
    notes.tree.set(tree.clone()).unwrap();
    notes.take();
    let merge = |failpoints: At, options: CompactOptions| {
        let failpoints: Arc<dyn Failpoints> = Arc::new(failpoints);
        tree.compact_with(&Major::default(), &options, &failpoints)
    };
    assert!(merge(At("segment.seal", None), CompactOptions::default()).is_err());
    let told = notes.take();
    assert_eq!(told[0], "begun 0 of 2 by Requested");
    assert!(told[1].starts_with("rolled back 0"), "{told:?}");
    assert!(told.contains(&"committed 1: Merged".to_owned()), "{told:?}");
    let options = CompactOptions::default();
    let stop = At("lease.taken", Some(options.cancel.clone()));
    assert!(merge(stop, options).is_err());
    let told = notes.take();
    assert!(told.iter().any(|line| line.starts_with("stopped")), "{told:?}");
    assert_eq!(contents(&tree).unwrap().len(), 401);
}

/// Proves C-178: a listener that panics disturbs nobody; a flush that fails is told of, and can be repeated.
#[test]
fn a_listener_that_panics_disturbs_nobody() {
    let notes = Arc::new(Notes { panics: true, ..Notes::default() });
    let tree = open(Arc::new(MemFs::new()), &notes);
    fill(&tree, 0..2);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(contents(&tree).unwrap().len(), 400);
    assert_eq!(notes.take().len(), 7);
    let tree = open(Arc::new(MemFs::with_capacity(64 << 10)), &notes);
    let mut dice = Dice::new(1);
    let value: Vec<u8> = (0..20_000).flat_map(|_| dice.roll().to_le_bytes()).collect();
    tree.insert("key", value, at(1)).unwrap();
    tree.seal(None);
    notes.take();
    assert!(tree.flush(&FlushOptions::default()).is_err());
    let told = notes.take();
    assert_eq!((told.len(), &*told[0]), (2, "flush of 1"));
    assert!(told[1].starts_with("flush: "), "{told:?}");
}
