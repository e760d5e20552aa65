//! A compaction fails at each of its steps: by an error, by a panic, by being stopped.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use common::{at, small_tables};
use lsm_compaction_planner::{Leveled, Major};
use lsm_engine::{
    Cancel, CompactOptions, ExecutorError, Failpoints, FlushOptions, Outcome, POINTS, Reader, Tree,
    TreeOptions,
};
use lsm_fs::{Fs, MemFs};
use lsm_types::{ErrorKind, SeqNo};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Error,
    Panic,
    Stop,
}

/// Fails at one place, every time it is passed.
struct FailAt {
    point: &'static str,
    failure: Failure,
    cancel: Cancel,
}

impl Failpoints for FailAt {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point != self.point {
            return Ok(());
        }
        match self.failure {
            Failure::Error => Err(ExecutorError::Injected { point }),
            Failure::Panic => panic!("injected at {point}"),
            Failure::Stop => {
                self.cancel.cancel();
                Ok(())
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Serial,
    Parallel,
}

impl Way {
    fn options(self) -> CompactOptions {
        match self {
            Self::Serial => CompactOptions::default(),
            Self::Parallel => CompactOptions::default().segment_min_bytes(1_000),
        }
    }
}

struct World {
    memory: Arc<MemFs>,
    tree: Tree,
}

impl World {
    /// Three overlapping runs of a few tables each.
    fn new() -> Self {
        let memory = Arc::new(MemFs::new());
        let options = TreeOptions::new("/db")
            .store(|store| store.fs(memory.clone()).compaction_threads(3))
            .tables(small_tables())
            .table_target_bytes(20_000);
        let tree = Tree::open(options).unwrap();
        let mut next = 0;
        for round in 0..3_u32 {
            for number in 0..900_u32 {
                let key = format!("key-{:05}", number * 3 + round);
                tree.insert(key, [round as u8; 30], at(next)).unwrap();
                next += 1;
            }
            tree.seal(None);
            tree.flush(&FlushOptions::default()).unwrap();
        }
        tree.set_gc_watermark(at(next));
        Self { memory, tree }
    }

    fn contents(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let owned = |(key, value): (lsm_types::Slice, lsm_types::Slice)| (key.to_vec(), value.to_vec());
        self.tree.iter().pairs().map(|pair| owned(pair.unwrap())).collect()
    }

    fn files(&self) -> usize {
        self.memory.read_dir(Path::new("/db/tables")).unwrap().len()
    }
}

#[track_caller]
fn check(way: Way, point: &'static str, failure: Failure) {
    let world = World::new();
    let before = world.contents();
    let version = world.tree.stats().levels;
    let cancel = Cancel::new();
    let failpoints: Arc<dyn Failpoints> = Arc::new(FailAt { point, failure, cancel: cancel.clone() });
    let options = way.options().cancel(cancel);
    let strategy = Major { target_bytes: 20_000 };
    let outcome =
        catch_unwind(AssertUnwindSafe(|| world.tree.compact_with(&strategy, &options, &failpoints)));
    let installed = point == "install.after";
    match (failure, outcome) {
        (Failure::Error, Ok(Err(error))) => assert_eq!(error.kind(), ErrorKind::Bug, "{error}"),
        // A panic inside a segment becomes an error of the job; elsewhere it reaches the caller.
        (Failure::Panic, Ok(Err(error))) => assert!(error.to_string().contains("injected at"), "{error}"),
        (Failure::Panic, Err(_)) => {}
        (Failure::Stop, Ok(Err(error))) => assert_eq!(error.kind(), ErrorKind::Cancelled),
        // Stopped after the last way out: the job is done.
        (Failure::Stop, Ok(Ok(report))) if installed || point == "install.before" => {
            assert_eq!(report.outcome, Outcome::Merged);
            assert_eq!(report.segments > 1, way == Way::Parallel);
        }
        (_, outcome) => panic!("{way:?}: {failure:?} at {point}: {outcome:?}"),
    }
    assert_eq!(world.contents(), before, "{way:?}: {failure:?} at {point}");
    assert_eq!(world.files(), world.tree.stats().tables(), "{way:?}: {failure:?} at {point} leaves files");
    let too_late = installed || (failure == Failure::Stop && point == "install.before");
    if !too_late {
        assert_eq!(world.tree.stats().levels, version, "{way:?}: {failure:?} at {point} changes the tree");
    }
    // The inputs are free again: the same job succeeds.
    let report = world.tree.major_compact(&way.options()).unwrap();
    assert!(too_late || (report.segments > 1) == (way == Way::Parallel), "{report:?}");
    assert_eq!(world.contents(), before);
    assert_eq!(world.files(), world.tree.stats().tables());
    assert_eq!(world.tree.stats().read_amplification(), 1);
}

/// Proves C-144, C-145, C-156, C-159, C-162, C-164, I-2, I-9.
/// Fault: compaction W-2, W-12.
#[test]
fn a_job_that_fails_at_any_step_changes_nothing_and_can_be_repeated() {
    for way in [Way::Serial, Way::Parallel] {
        for point in POINTS {
            for failure in [Failure::Error, Failure::Panic, Failure::Stop] {
                check(way, point, failure);
                println!("{way:?}, {point}, {failure:?}: nothing lost, nothing busy, no file left");
            }
        }
    }
}

/// Proves D-68.
#[test]
fn a_job_stopped_in_the_middle_of_its_stream_installs_nothing() {
    check(Way::Serial, "segment.entry", Failure::Stop);
    check(Way::Parallel, "segment.entry", Failure::Stop);
}

/// Proves C-10.
#[test]
fn an_idle_tree_writes_no_edit() {
    let memory = Arc::new(MemFs::new());
    let tree = Tree::open(TreeOptions::new("/db").store(|store| store.fs(memory.clone()))).unwrap();
    let bytes = memory.used_bytes();
    let report = tree.compact(&Leveled::default(), &CompactOptions::default()).unwrap();
    assert_eq!(report.outcome, Outcome::Idle);
    assert_eq!(tree.major_compact(&CompactOptions::default()).unwrap().outcome, Outcome::Idle);
    assert_eq!(tree.flush(&FlushOptions::default()).unwrap().memtables, 0);
    assert_eq!(memory.used_bytes(), bytes);
    assert_eq!(tree.get("nothing").unwrap(), None);
    assert_eq!(tree.view_at(SeqNo::ZERO).unwrap().count().unwrap(), 0);
}
