//! A compaction fails at each of its steps: by an error, by a panic, by being stopped, by a power cut.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use common::{
    at, contents, flush,
    layouts::{Layout, texts},
    small_tables,
};
use lsm_compaction_planner::{Leveled, Major};
use lsm_engine::{
    Cancel, CompactOptions, ExecutorError, Failpoints, FlushOptions, Outcome, POINTS, RELOCATION_POINTS,
    Reader, RelocationOptions, Tree, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::sim::{SimConfig, SimFs, Strategy};
use lsm_types::{ErrorKind, SeqNo};
use parking_lot::Mutex;

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
    /// Values lie apart, and every one that survives gets another place.
    Relocating,
    RelocatingParallel,
    /// Tables store columns.
    Columns,
    /// Some of the tables store rows, some columns, which is what becomes of all.
    MixedParallel,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Serial,
        Self::Parallel,
        Self::Relocating,
        Self::RelocatingParallel,
        Self::Columns,
        Self::MixedParallel,
    ];

    fn options(self) -> CompactOptions {
        match self {
            Self::Serial | Self::Relocating | Self::Columns => CompactOptions::default(),
            Self::Parallel | Self::RelocatingParallel | Self::MixedParallel => {
                CompactOptions::default().segment_min_bytes(1_000)
            }
        }
    }

    fn is_parallel(self) -> bool {
        matches!(self, Self::Parallel | Self::RelocatingParallel | Self::MixedParallel)
    }

    fn relocates(self) -> bool {
        matches!(self, Self::Relocating | Self::RelocatingParallel)
    }

    fn layout(self) -> Layout {
        match self {
            Self::Columns => Layout::Columns,
            Self::MixedParallel => Layout::Mixed,
            _ => Layout::Rows,
        }
    }

    /// Options for the tree in its `nth` round.
    fn tree(self, options: TreeOptions, nth: u32) -> TreeOptions {
        let options = self.layout().set(options, texts(), nth);
        let options = options
            .store(|store| store.compaction_threads(3))
            .tables(small_tables())
            .table_target_bytes(20_000);
        if !self.relocates() {
            return options;
        }
        let policy = VlogPolicy { thresholds: vec![1], target_bytes: 10_000, ..VlogPolicy::default() };
        let relocation = RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() };
        options.separation(policy).relocation(relocation)
    }

    /// Three overlapping runs of so many keys, and nobody who reads below.
    fn fill(self, keys: u32, options: impl Fn(u32) -> TreeOptions) -> Tree {
        let mut tree = Tree::open(options(1)).unwrap();
        let mut next = 0;
        for round in 0..3_u32 {
            if round > 0 && self.layout() == Layout::Mixed {
                tree.close().unwrap();
                tree = Tree::open(options(1 + round)).unwrap();
            }
            for number in 0..keys {
                let key = format!("key-{:05}", number * 3 + round);
                tree.insert(key, [round as u8; 30], at(next)).unwrap();
                next += 1;
            }
            flush(&tree);
        }
        tree.set_gc_watermark(at(next));
        tree
    }

    /// Keys of a run.
    fn keys(self) -> u32 {
        if self.relocates() { 120 } else { 900 }
    }

    fn points(self) -> impl Iterator<Item = &'static str> {
        let more: &[&str] = if self.relocates() { &RELOCATION_POINTS } else { &[] };
        POINTS.iter().chain(more).copied()
    }
}

struct World {
    way: Way,
    memory: Arc<MemFs>,
    tree: Tree,
}

impl World {
    /// Three overlapping runs of a few tables each.
    fn new(way: Way) -> Self {
        let memory = Arc::new(MemFs::new());
        let options = || TreeOptions::new("/db").store(|store| store.fs(memory.clone()));
        let tree = way.fill(way.keys(), |nth| way.tree(options(), nth));
        way.layout().check(memory.as_ref(), Path::new("/db/tables"));
        Self { way, memory, tree }
    }

    fn contents(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let owned = |(key, value): (lsm_types::Slice, lsm_types::Slice)| (key.to_vec(), value.to_vec());
        self.tree.iter().pairs().map(|pair| owned(pair.unwrap())).collect()
    }

    /// Every file is one that the tree has.
    #[track_caller]
    fn check_files(&self, told: &str) {
        let count = |folder: &str| self.memory.read_dir(Path::new(folder)).map_or(0, |names| names.len());
        let stats = self.tree.stats();
        assert_eq!(count("/db/tables"), stats.tables(), "{:?}: {told} leaves files", self.way);
        assert_eq!(count("/db/blobs"), stats.value_logs.files, "{:?}: {told} leaves value logs", self.way);
        assert_eq!(self.way.relocates(), stats.value_logs.files > 0);
    }
}

#[track_caller]
fn check(way: Way, point: &'static str, failure: Failure) {
    let world = World::new(way);
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
            assert_eq!(report.segments > 1, way.is_parallel());
        }
        (_, outcome) => panic!("{way:?}: {failure:?} at {point}: {outcome:?}"),
    }
    assert_eq!(world.contents(), before, "{way:?}: {failure:?} at {point}");
    world.check_files(&format!("{failure:?} at {point}"));
    let too_late = installed || (failure == Failure::Stop && point == "install.before");
    if !too_late {
        assert_eq!(world.tree.stats().levels, version, "{way:?}: {failure:?} at {point} changes the tree");
    }
    // The inputs are free again: the same job succeeds.
    let report = world.tree.major_compact(&way.options()).unwrap();
    assert!(too_late || (report.segments > 1) == way.is_parallel(), "{report:?}");
    assert_eq!(report.values_relocated > 0, way.relocates());
    assert_eq!(world.contents(), before);
    world.check_files("a job");
    assert_eq!(world.tree.stats().read_amplification(), 1);
}

/// Notes where on the disk's trace a job passes each place.
struct Marks {
    disk: SimFs,
    passed: Mutex<Vec<(&'static str, usize)>>,
}

impl Failpoints for Marks {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        self.passed.lock().push((point, self.disk.len()));
        Ok(())
    }
}

const ROOT: &str = "/data/db";

fn on_disk(way: Way, disk: &SimFs, nth: u32) -> TreeOptions {
    let disk: Arc<dyn Fs> = Arc::new(disk.clone());
    way.tree(TreeOptions::new(ROOT).store(|store| store.fs(disk)), nth)
}

/// Every file is one that the tree has.
#[track_caller]
fn check_files_on(disk: &SimFs, tree: &Tree, told: &str) {
    let count = |folder: &str| disk.read_dir(&Path::new(ROOT).join(folder)).map_or(0, |names| names.len());
    let stats = tree.stats();
    assert_eq!(
        (count("tables"), count("blobs")),
        (stats.tables(), stats.value_logs.files),
        "{told} leaves files"
    );
}

/// What lies between two places at which a job may be cut off.
const BETWEEN: [(&str, &str); 2] = [("install.torn", "install.before"), ("release.unlink", "install.after")];

/// Cuts the power at every place of a job, and at every event of the install and of the removals after it; how many
/// images of each were opened.
fn crash_everywhere(way: Way) -> Vec<(&'static str, u64)> {
    let disk = SimFs::new(SimConfig::DEFAULT);
    let tree = way.fill(60, |nth| on_disk(way, &disk, nth));
    let before = contents(&tree).unwrap();
    let marks = Arc::new(Marks { disk: disk.clone(), passed: Mutex::default() });
    let failpoints: Arc<dyn Failpoints> = marks.clone();
    let strategy = Major { target_bytes: 20_000 };
    let report = tree.compact_with(&strategy, &way.options(), &failpoints).unwrap();
    assert_eq!(report.segments > 1, way.is_parallel());
    assert_eq!(report.values_relocated > 0, way.relocates());
    let passed = marks.passed.lock();
    let mark = |point: &str| -> Vec<usize> {
        passed.iter().filter(|(name, _)| *name == point).map(|(_, at)| *at).collect()
    };
    let all = disk.crash_points();
    let mut rows: Vec<(&'static str, Vec<usize>)> = way.points().map(|point| (point, mark(point))).collect();
    for (name, from) in BETWEEN {
        let from = *mark(from).first().unwrap();
        let after = *mark("install.after").first().unwrap();
        let to = if name == "install.torn" { after } else { disk.len() };
        rows.push((name, all.iter().copied().filter(|at| from < *at && *at <= to).collect()));
    }
    let check = |(name, mut points): (&'static str, Vec<usize>)| {
        points.sort_unstable();
        points.dedup();
        assert!(!points.is_empty(), "{name} is not passed");
        let mut images = 0;
        for (id, image) in disk.images_at(points, &Strategy::GATE) {
            images += 1;
            let tree = Tree::open(on_disk(way, &image, 3)).unwrap();
            assert_eq!(contents(&tree).unwrap(), before, "{way:?}: power cut at {name}, {id:?}");
            check_files_on(&image, &tree, &format!("{way:?}: {name}, {id:?}"));
            tree.major_compact(&way.options()).unwrap();
            assert_eq!(contents(&tree).unwrap(), before, "{way:?}: {name}, {id:?}");
            assert_eq!(tree.stats().read_amplification(), 1);
            check_files_on(&image, &tree, &format!("{way:?}: {name}, {id:?}, again"));
            assert!(tree.verify().unwrap().is_clean());
        }
        (name, images)
    };
    rows.into_iter().map(check).collect()
}

/// Proves C-144, C-145, C-156, C-159, C-162, C-164, C-167, I-2, I-9, D-82, D-88.
/// Fault: compaction W-2, W-12, W-38.
#[test]
fn a_job_that_fails_at_any_step_changes_nothing_and_can_be_repeated() {
    println!("{:20}{:16}{:>7}{:>7}{:>7}  crash", "standard", "at", "error", "panic", "stop");
    for way in Way::ALL {
        for (point, images) in crash_everywhere(way) {
            let way_name = format!("{way:?}").to_lowercase();
            if !way.points().any(|known| known == point) {
                println!("{way_name:20}{point:16}{:>7}{:>7}{:>7}  ok in {images} images", "-", "-", "-");
                continue;
            }
            for failure in [Failure::Error, Failure::Panic, Failure::Stop] {
                check(way, point, failure);
            }
            println!("{way_name:20}{point:16}{:>7}{:>7}{:>7}  ok in {images} images", "ok", "ok", "ok");
        }
    }
    println!("ok: no key lost, no input busy, no file left");
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
