//! Full compactions on disks of which ten times less is free than a database takes, beside all that may stand in their way,
//! and the same with room. `cargo xtask torture tight` runs them large, on file systems that are mounted for it; the default
//! suite small, in memory.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a test should fail where it fails, and figures are printed"
)]

mod common;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/mount.rs"]
mod mount;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use common::{at, flush, sealed};
use lsm_compaction_planner::{CompactionStrategy, Level, Plan, PlanView, Settings};
use lsm_engine::{
    CheckpointOptions, CompactOptions, CompactionReport, ExecutorError, Failpoints, Outcome, Reader,
    ReclaimOptions, RelocationOptions, SpaceOptions, Tree, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs, OpenOptions, SyncLevel};
use lsm_testkit::{dice::Dice, operators::Join};

use frames::Frames;
use wrap::WrapFs;

/// What is in the way of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Plain,
    /// Every other value lies apart from its key, and stays where it is.
    Separated,
    /// All values lie apart, a quarter of them garbage, and what is left is moved.
    Moved,
    /// Deletes of ranges that reach over many slices.
    Ranges,
    /// Views and iterators from before the job.
    Readers,
    /// A copy is taken between slices.
    Checkpoint,
    Sealed,
    /// Operands on top of values.
    Operands,
    /// No holes can be made into files: space comes back file by file. Flushes have the length of a slice.
    WholeFiles,
}

const CASES: [Case; 9] = [
    Case::Plain,
    Case::Separated,
    Case::Moved,
    Case::Ranges,
    Case::Readers,
    Case::Checkpoint,
    Case::Sealed,
    Case::Operands,
    Case::WholeFiles,
];

/// A disk for a database and what fills the rest of it.
struct Disk {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    free: u64,
    case: Case,
}

/// What was seen of a run.
struct Seen {
    bytes_out: u64,
    data_bytes: u64,
    slices: u64,
    /// Most bytes that were in use besides those at the beginning.
    peak: u64,
    seconds: f64,
    /// Of all cores.
    cpu_seconds: f64,
    contents: Contents,
    /// What it left.
    frames: Frames,
}

/// No byte that the merge operator takes for an order.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Number of pairs, and a sum over all their bytes.
type Contents = (u64, u64);

impl Disk {
    fn new(fs: Arc<dyn Fs>, root: PathBuf, free: u64, case: Case) -> Self {
        let without_holes = || Arc::new(WrapFs { inner: fs.clone(), control: Arc::default() });
        let fs = if case == Case::WholeFiles { without_holes() } else { fs };
        Self { fs, root, free, case }
    }

    fn slice(&self) -> u64 {
        self.free / 4
    }

    fn options(&self, root: &Path) -> TreeOptions {
        let space = SpaceOptions::default().admission(true).reserve_min_bytes(self.free / 16).tight(true);
        let space = space.slice_min_bytes(self.slice() / 4).slice_max_bytes(Some(self.slice()));
        let reclaim = ReclaimOptions { thread: Some(false), ..ReclaimOptions::default() };
        let options = TreeOptions::new(root)
            .store(|store| {
                let store = store.fs(self.fs.clone()).space(space).reclaim(reclaim);
                if self.case == Case::Sealed { store.encryption(sealed::encryption()) } else { store }
            })
            .merge_operator(Arc::new(Join::new(true)))
            // What a copy shares with the tree is given back as whole files: there have to be several.
            .table_target_bytes(if self.case == Case::Checkpoint { self.slice() } else { 1 << 40 });
        let apart = |from| VlogPolicy { thresholds: vec![from], ..VlogPolicy::default() };
        let moves = RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() };
        match self.case {
            Case::Separated => options.separation(apart(1_000)),
            Case::Moved => options.separation(apart(500)).relocation(moves),
            _ => options,
        }
    }

    fn db(&self) -> PathBuf {
        self.root.join("db")
    }

    fn available(&self) -> u64 {
        self.fs.available_space(&self.root).unwrap().unwrap()
    }

    /// Two runs over each other, of ten times what is to be free.
    fn fill(&self) -> Tree {
        let tree = Tree::open(self.options(&self.db())).unwrap();
        let (mut dice, mut next) = (Dice::new(5), 1_u64);
        let entries = 10 * self.free / 1_024;
        for run in 0..2 {
            for entry in 0..entries / 2 {
                let words = if self.case == Case::Separated { 60 + entry % 2 * 128 } else { 124 };
                let value: Vec<u8> = (0..words).flat_map(|_| (dice.roll() | HIGH).to_le_bytes()).collect();
                let over = matches!(self.case, Case::Operands | Case::Moved) && run == 1 && entry % 2 == 0;
                let key = format!("key-{:012}", entry * 2 + u64::from(run == 1 && !over));
                if over && self.case == Case::Operands {
                    tree.merge(key, value, at(next))
                } else {
                    tree.insert(key, value, at(next))
                }
                .unwrap();
                next += 1;
                if self.case == Case::WholeFiles && (entry + 1) % (self.slice() >> 10) == 0 {
                    flush(&tree);
                }
            }
            if self.case == Case::Ranges {
                for part in 0..4 {
                    let (from, len) = (entries * part / 4, entries / 20);
                    let range = format!("key-{from:012}")..format!("key-{:012}", from + len);
                    tree.remove_range(range, at(next)).unwrap();
                    next += 1;
                }
            }
            flush(&tree);
        }
        tree.set_gc_watermark(at(next));
        tree
    }

    /// Fills the disk but for what is to be free.
    fn crowd(&self) {
        let file = self.fs.open(&self.root.join("ballast"), &OpenOptions::CREATE_NEW).unwrap();
        let chunk = vec![1_u8; 1 << 18];
        while self.available() > self.free + (1 << 18) {
            file.append(&chunk).unwrap();
        }
        file.sync(SyncLevel::Full).unwrap();
    }

    /// One job; looks at what is free all the time, and calls `each` after each install.
    fn job(&self, tree: &Tree, each: impl Fn() + Send + Sync + 'static) -> (CompactionReport, u64) {
        let least = Arc::new(AtomicU64::new(u64::MAX));
        let (fs, root, lowest) = (self.fs.clone(), self.root.clone(), least.clone());
        let look = move || _ = lowest.fetch_min(fs.available_space(&root).unwrap().unwrap(), Relaxed);
        let looks: Arc<dyn Fn() + Send + Sync> = Arc::new(look);
        let failpoints: Arc<dyn Failpoints> = Arc::new(Watch { look: looks.clone(), each });
        let is_done = AtomicBool::new(false);
        let report = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !is_done.load(Relaxed) {
                    looks();
                    thread::park_timeout(Duration::from_millis(1));
                }
            });
            let report = tree.compact_with(&Whole, &CompactOptions::default(), &failpoints).unwrap();
            is_done.store(true, Relaxed);
            watch.thread().unpark();
            report
        });
        (report, least.load(Relaxed))
    }

    /// Compacts everything, in as many jobs as it takes when something is in the way.
    fn compact(&self, tree: &Tree) -> Seen {
        let contents = contents(tree);
        let before = self.available();
        #[expect(clippy::disallowed_methods, reason = "how long it takes is printed")]
        let (clock, cpu, mut least) = (Instant::now(), cpu_seconds(), u64::MAX);
        let mut seen = Seen {
            bytes_out: 0,
            data_bytes: 0,
            slices: 0,
            peak: 0,
            seconds: 0.0,
            cpu_seconds: 0.0,
            contents,
            frames: Frames::default(),
        };
        let mut readers = (self.case == Case::Readers).then(|| (tree.view(), tree.iter().pairs()));
        let (copies, installs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for attempt in 0.. {
            let each = {
                let (tree, copies, to) = (tree.clone(), copies.clone(), self.root.join("copy"));
                let (wanted, installs) = (self.case == Case::Checkpoint, installs.clone());
                move || {
                    if installs.fetch_add(1, Relaxed) == 2 && wanted {
                        tree.checkpoint(&to, &CheckpointOptions::default()).unwrap();
                        copies.fetch_add(1, Relaxed);
                    }
                }
            };
            let (report, low) = self.job(tree, each);
            least = least.min(low);
            seen.bytes_out += report.bytes_out;
            match (report.outcome, report.sliced) {
                (Outcome::Idle, _) => break,
                (Outcome::Merged, _) => continue,
                (Outcome::Sliced, Some(sliced)) if sliced.remaining_bytes == 0 => continue,
                (Outcome::Sliced | Outcome::Refused(_), _) => {}
                _ => panic!("{report:?}"),
            }
            // What was in the way is right to the last, and goes.
            if let Some((view, mut iter)) = readers.take() {
                assert_eq!(digest(view.iter().pairs()), contents, "a view from before");
                assert_eq!(digest(&mut iter), contents, "an iterator from before");
            } else if copies.swap(0, Relaxed) > 0 {
                self.drop_copy(contents);
            } else {
                panic!("attempt {attempt} of {:?} ended early: {report:?}", self.case);
            }
        }
        seen.slices = installs.load(Relaxed);
        seen.seconds = clock.elapsed().as_secs_f64();
        seen.cpu_seconds = cpu_seconds() - cpu;
        if let Some((view, mut iter)) = readers.take() {
            assert_eq!((digest(view.iter().pairs()), digest(&mut iter)), (contents, contents));
        }
        if copies.load(Relaxed) > 0 {
            self.drop_copy(contents);
        }
        seen.peak = before.saturating_sub(least);
        seen.data_bytes = tree.stats().levels.iter().map(|level| level.raw_bytes).sum();
        assert_eq!(self::contents(tree), contents, "after the job");
        seen
    }

    /// What the tables of the database hold, which is closed.
    fn frames(&self, tables: usize) -> Frames {
        let folder = self.db().join("tables");
        assert_eq!(self.fs.read_dir(&folder).unwrap().len(), tables, "no other files");
        let encryption = (self.case == Case::Sealed).then(sealed::encryption);
        Frames::read(self.fs.as_ref(), &folder, encryption.as_ref())
    }

    /// The copy holds what the tree held, and goes.
    fn drop_copy(&self, expected: Contents) {
        let path = self.root.join("copy");
        let copy = Tree::open(self.options(&path)).unwrap();
        assert_eq!(contents(&copy), expected, "the copy");
        drop(copy);
        remove(self.fs.as_ref(), &path);
    }

    /// Leaves an empty disk.
    fn clear(&self) {
        for name in ["db", "copy"] {
            remove(self.fs.as_ref(), &self.root.join(name));
        }
        let _ = self.fs.remove_file(&self.root.join("ballast"));
    }
}

fn remove(fs: &dyn Fs, path: &Path) {
    for entry in fs.read_dir(path).unwrap_or_default() {
        let path = path.join(&entry.name);
        if entry.kind == lsm_fs::EntryKind::Dir { remove(fs, &path) } else { fs.remove_file(&path).unwrap() }
    }
    let _ = fs.remove_dir(path);
}

/// What this program has computed so far, where the system tells.
fn cpu_seconds() -> f64 {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = line.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn contents(tree: &Tree) -> Contents {
    digest(tree.iter().pairs())
}

fn digest(pairs: impl Iterator<Item = lsm_types::Result<(lsm_types::Slice, lsm_types::Slice)>>) -> Contents {
    let sum = |bytes: &[u8]| {
        bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
    };
    pairs.fold((0, 0), |(count, total), pair| {
        let (key, value) = pair.unwrap();
        (count + 1, total.wrapping_add(sum(&key) ^ sum(&value).rotate_left(7)))
    })
}

/// Looks at every place that a job passes.
struct Watch<F> {
    look: Arc<dyn Fn() + Send + Sync>,
    each: F,
}

impl<F: Fn() + Send + Sync> Failpoints for Watch<F> {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        (self.look)();
        if point == "install.after" {
            (self.each)();
        }
        Ok(())
    }
}

/// Merges all that is not at the bottom yet, as a whole or not at all.
struct Whole;

impl CompactionStrategy for Whole {
    fn name(&self) -> &'static str {
        "test.whole"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let bottom = Level::new(6);
        let all = view.levels.tables().filter(|(level, _)| *level < bottom).map(|(_, table)| table.id);
        let all: Vec<_> = all.collect();
        if all.is_empty() { Plan::Idle } else { Plan::merge(view, all, bottom, 1 << 20) }
    }
}

/// By so much a run with little room may be longer.
const TIME: f64 = 1.25;

/// By so many bytes of frames two runs may differ for each border between tables: what begins there has a head of its own,
/// and what comes behind it shares prefixes of keys in other groups.
const BORDER_BYTES: u64 = 512;

/// Runs with little room until one is soon enough, but not more often than this: other programs run beside it.
const ROUNDS: usize = 3;

fn run_tight(disk: &Disk) -> (Seen, u64, u64) {
    let tree = disk.fill();
    disk.crowd();
    let (free, data) = (disk.available(), tree.store().space().used_bytes);
    let mut tight = disk.compact(&tree);
    drop(tree);
    let tree = Tree::open(disk.options(&disk.db())).unwrap();
    assert_eq!(contents(&tree), tight.contents, "opened again");
    let tables = tree.stats().tables();
    drop(tree);
    tight.frames = disk.frames(tables);
    disk.clear();
    (tight, free, data)
}

fn run_ample(disk: &Disk) -> Seen {
    let tree = disk.fill();
    tree.store().set_space(SpaceOptions::default());
    let mut whole = disk.compact(&tree);
    let tables = tree.stats().tables();
    drop(tree);
    whole.frames = disk.frames(tables);
    disk.clear();
    whole
}

/// A run with little room and one with as much as it wants, as a line of a table; whether it is as it should be.
fn compare(name: &str, disk: &Disk, ample: &Disk, is_timed: bool) -> bool {
    let (tight, free, data) = run_tight(disk);
    let whole = run_ample(ample);
    assert_eq!(tight.contents, whole.contents);
    let mut times = (tight.seconds, whole.seconds);
    let cpu = tight.cpu_seconds / whole.cpu_seconds;
    let is_watched = is_timed && !matches!(disk.case, Case::Readers | Case::Checkpoint);
    for _ in (1..ROUNDS).filter(|_| is_watched) {
        if times.0 <= TIME * times.1 {
            break;
        }
        times = (times.0.min(run_tight(disk).0.seconds), times.1.min(run_ample(ample).seconds));
    }
    let time = times.0 / times.1;
    // Each file has a gap that takes no space.
    let values = |seen: &Seen| if disk.case == Case::Moved { seen.slices.max(1) } else { 0 };
    let files = |seen: &Seen| seen.frames.tables() + values(seen);
    let written = |seen: &Seen| seen.bytes_out.saturating_sub(files(seen) * (64 << 10)) as f64;
    let ratio = written(&tight) / written(&whole);
    let frames = tight.frames.compare(&whole.frames);
    let is_freed = !matches!(disk.case, Case::Readers | Case::Checkpoint);
    let is_whole = disk.case == Case::WholeFiles;
    let passes = [
        // Where whole files go, each of two runs has one under way, and one is written.
        ("peak", !is_freed || tight.peak <= (2 + u64::from(is_whole)) * disk.slice() + (2 << 20)),
        // What each file takes besides weighs more in small ones.
        ("bytes", (ratio - 1.0).abs() <= if is_timed { 0.02 } else { 0.10 }),
        ("data", tight.data_bytes == whole.data_bytes),
        ("frames", frames.counts[0].abs_diff(frames.counts[1]) <= frames.borders),
        ("frame bytes", frames.bytes[0].abs_diff(frames.bytes[1]) <= frames.borders * BORDER_BYTES),
        ("time", !is_timed || !is_freed || time <= TIME),
    ];
    let missed: Vec<_> = passes.iter().filter(|(_, holds)| !holds).map(|(what, _)| *what).collect();
    println!(
        "torture: | {:?} | {name} | {} | {} | {} | {} | {time:.2} of {:.2} s | {cpu:.2} | {ratio:.4} | \
         {} of {} | {} | {} | {} |",
        disk.case,
        free >> 20,
        data >> 20,
        tight.slices,
        tight.peak >> 10,
        times.1,
        frames.same,
        frames.counts[1],
        frames.borders,
        frames.bytes[0].cast_signed() - frames.bytes[1].cast_signed(),
        if missed.is_empty() { "pass".to_owned() } else { format!("FAIL: {}", missed.join(", ")) },
    );
    missed.is_empty()
}

fn head() {
    println!(
        "torture: | case | file system | free MiB | data MiB | slices | peak KiB | time | processor | bytes | \
         frames alike | borders | more bytes of frames | |"
    );
    println!("torture: |---|---|---|---|---|---|---|---|---|---|---|---|---|");
}

/// Proves C-136, C-130, C-132: what the torture does, small.
/// Fault: compaction W-37.
#[test]
fn ten_times_the_free_space() {
    for case in CASES {
        let disk =
            |capacity| Disk::new(Arc::new(MemFs::with_capacity(capacity)), PathBuf::from("/"), 1 << 20, case);
        assert!(compare("memory", &disk(24 << 20), &disk(1 << 30), false), "{case:?}");
    }
}

/// Runs with `LSM_TORTURE_FREE_MIB` free: see `cargo xtask torture tight`.
#[test]
#[ignore = "takes as long as it is told to; run by `cargo xtask torture tight`"]
fn torture() {
    let word = std::env::var("LSM_TORTURE_FREE_MIB").ok();
    let free: u64 = word.and_then(|value| value.parse().ok()).unwrap_or(16);
    let (crowded, ample) = (free * 14 + 32, free * 40);
    let mut passes = true;
    head();
    let only = std::env::var("LSM_TORTURE_CASE").ok();
    let is_wanted =
        |case: &Case| only.as_ref().is_none_or(|only| format!("{case:?}").eq_ignore_ascii_case(only));
    for case in CASES.into_iter().filter(is_wanted) {
        let disk = |fs: Arc<dyn Fs>, root| Disk::new(fs, root, free << 20, case);
        let memory = |mib: u64| disk(Arc::new(MemFs::with_capacity(mib << 20)), PathBuf::from("/"));
        passes &= compare("memory", &memory(crowded), &memory(ample), true);
        for kind in [mount::Kind::Ext4, mount::Kind::Tmpfs] {
            match (mount::Mount::new(kind, crowded), mount::Mount::new(kind, ample)) {
                (Ok(small), Ok(large)) => {
                    let on = |mount: &mount::Mount| disk(Arc::new(lsm_fs::DiskFs), mount.point());
                    passes &= compare(&format!("{kind:?}").to_lowercase(), &on(&small), &on(&large), true);
                }
                (Err(reason), _) | (_, Err(reason)) => {
                    println!("torture: {kind:?} is left out: {reason}");
                }
            }
        }
    }
    assert!(passes, "see above");
}
