//! A disk that another program fills at random moments, and gives back: calls fail with `NoSpace` while it is full, and at
//! no other time; nothing that was written is lost, and the same tree goes on once there is space.
//! `cargo xtask torture full` does it many times, on a file system that is mounted for it as well.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test should fail where it fails; figures are printed, and another program has a clock of its own"
)]

mod common;
#[path = "common/mount.rs"]
mod mount;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Pairs, at, contents, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    CheckpointOptions, CompactOptions, FlushOptions, SpaceOptions, Tree, TreeOptions, VlogPolicy,
};
use lsm_fs::{DiskFs, Fs, SystemClock};
use lsm_testkit::{
    dice::Dice,
    ports::TestClock,
    sim::{SimConfig, SimFs},
};
use lsm_types::{Clock, Error, ErrorClass, ErrorKind};

const KEYS: u64 = 1_500;

fn options(fs: Arc<dyn Fs>, clock: &Arc<dyn Clock>, root: &Path) -> TreeOptions {
    let space = SpaceOptions::default().admission(true).tight(true).writes(true).ballast_bytes(128 << 10);
    let space = space.reserve_min_bytes(512 << 10).slice_min_bytes(32 << 10).slice_max_bytes(Some(256 << 10));
    TreeOptions::new(root)
        .store(|store| store.fs(fs).clock(clock.clone()).space(space).manifest_rotate_min(20_000))
        .tables(small_tables())
        .table_target_bytes(200_000)
        .separation(VlogPolicy { thresholds: vec![1_500], ..VlogPolicy::default() })
}

struct World {
    tree: Tree,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    root: PathBuf,
    /// What was written, whether it was flushed or not.
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    next: u64,
    dice: Dice,
    refused: u64,
}

impl World {
    fn new(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, root: &Path, seed: u64) -> Self {
        let tree = Tree::open(options(fs.clone(), &clock, &root.join("db"))).unwrap();
        let (model, dice) = (BTreeMap::new(), Dice::new(seed));
        Self { tree, fs, clock, root: root.to_path_buf(), model, next: 1, dice, refused: 0 }
    }

    /// One of all calls that write. What failed has had no effect.
    fn step(&mut self) -> Result<(), Error> {
        match self.dice.below(24) {
            0..=13 => self.write(),
            14..=17 => self.flush(),
            18..=20 => {
                self.tree.set_gc_watermark(at(self.next));
                let strategy = Leveled { l0_threshold: 2, table_target_bytes: 200_000, ..Leveled::default() };
                self.tree.compact(&strategy, &CompactOptions::default()).map(drop)
            }
            21..=22 => {
                self.tree.set_gc_watermark(at(self.next));
                self.tree.major_compact(&CompactOptions::default()).map(drop)
            }
            _ => {
                let copy = self.root.join("copy");
                let made = self.tree.checkpoint(&copy, &CheckpointOptions::default()).map(drop);
                remove(self.fs.as_ref(), &copy);
                made
            }
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        for _ in 0..self.dice.below(40) {
            let key = format!("key-{:05}", self.dice.below(KEYS)).into_bytes();
            let number = at(self.next);
            if self.dice.one_in(5) {
                self.tree.remove(&key, number)?;
                self.model.remove(&key);
            } else {
                let words = if self.dice.one_in(9) { 200 } else { 1 + self.dice.below(80) };
                let value: Vec<u8> = (0..words).flat_map(|_| self.dice.roll().to_le_bytes()).collect();
                self.tree.insert(&key, value.clone(), number)?;
                self.model.insert(key, value);
            }
            self.next += 1;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.tree.seal(None);
        self.tree.flush(&FlushOptions::default()).map(drop)
    }

    /// A step that may have met a full disk.
    #[track_caller]
    fn step_on_a_full_disk(&mut self) {
        if let Err(error) = self.step() {
            assert!(is_full(&error), "{error} ({error:?})");
            self.refused += 1;
        }
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let expected: Pairs = self.model.clone().into_iter().collect();
        assert!(contents(&self.tree).unwrap() == expected, "{what}");
    }

    /// All is there after opening again, and no file too many.
    fn finish(self) -> u64 {
        self.flush().unwrap();
        self.check("at the end");
        let Self { tree, fs, clock, root, model, refused, .. } = self;
        tree.close().unwrap();
        let tree = Tree::open(options(fs, &clock, &root.join("db"))).unwrap();
        assert!(contents(&tree).unwrap() == model.into_iter().collect::<Pairs>(), "opened again");
        assert!(tree.verify().unwrap().is_clean());
        assert!(tree.open_report().files.deleted.is_empty(), "{:?}", tree.open_report());
        refused
    }
}

/// Where it is not known whether an edit is on the disk, the next change finds out, which may take space.
fn is_full(error: &Error) -> bool {
    error.kind().class() == ErrorClass::NoSpace
        || matches!(error.kind(), ErrorKind::InstallOutcomeUnknown | ErrorKind::Fenced)
}

fn remove(fs: &dyn Fs, path: &Path) {
    for entry in fs.read_dir(path).unwrap_or_default() {
        let path = path.join(&entry.name);
        if entry.kind == lsm_fs::EntryKind::Dir { remove(fs, &path) } else { fs.remove_file(&path).unwrap() }
    }
    let _ = fs.remove_dir(path);
}

/// So many times the disk is full after some bytes, where space is taken at once and where it is taken when files are synced.
fn simulated(times: u64, seed: u64) {
    let fs = SimFs::new(SimConfig::DEFAULT);
    let clock = Arc::new(TestClock::new());
    let mut world = World::new(Arc::new(fs.clone()), clock.clone(), Path::new("/"), seed);
    for round in 0..times {
        for _ in 0..world.dice.below(6) {
            world.step().unwrap();
        }
        let most = if world.dice.coin() { 20_000 } else { 600_000 };
        let budget = world.dice.below(most);
        let (now, late) = if world.dice.coin() { (Some(budget), None) } else { (None, Some(budget)) };
        fs.set_budget(now);
        fs.set_late_budget(late);
        for _ in 0..3 + world.dice.below(20) {
            world.step_on_a_full_disk();
        }
        if round % 8 == 0 {
            world.check("while the disk is full");
        }
        fs.set_budget(None);
        fs.set_late_budget(None);
        // Refusals are computed from figures that are up to a second old.
        clock.advance(RESUMES);
        world.write().unwrap();
        world.flush().unwrap();
        world.check("there is space again");
    }
    let refused = world.finish();
    println!("torture: full: simulated, {times} times, {refused} calls refused");
    assert!(refused >= times / 4, "{refused} calls refused, the disk was hardly ever full");
}

/// Proves D-17, D-18, C-165, E-184: whatever call meets the full disk, it says so and can be repeated; nothing has to be opened
/// again. Fault: durability W-4, W-24.
#[test]
fn a_disk_that_others_fill() {
    simulated(12, 3);
}

/// Another program: fills the disk but for some bytes, waits, and gives all back.
struct Filler {
    path: PathBuf,
    /// Odd while it takes space.
    turn: AtomicU64,
}

impl Filler {
    fn run(&self, times: u64, resumed: &AtomicU64, returned: &parking_lot::Mutex<Instant>) {
        let mut dice = Dice::new(77);
        for time in 0..times {
            thread::sleep(Duration::from_micros(dice.below(30_000)));
            self.turn.fetch_add(1, SeqCst);
            let file = std::fs::File::create(&self.path).unwrap();
            let mut step = vec![1_u8; 1 << 20];
            while !step.is_empty() {
                if std::io::Write::write_all(&mut &file, &step).is_err() {
                    step.truncate(step.len() / 2);
                }
            }
            let len = file.metadata().unwrap().len();
            file.set_len(len.saturating_sub(dice.below(600_000))).unwrap();
            thread::sleep(Duration::from_micros(dice.below(60_000)));
            drop(file);
            std::fs::remove_file(&self.path).unwrap();
            *returned.lock() = Instant::now();
            self.turn.fetch_add(1, SeqCst);
            while resumed.load(SeqCst) <= time {
                thread::sleep(Duration::from_micros(200));
            }
        }
    }
}

/// The same on a mounted file system, beside a program that takes no notice of what the tree does.
fn mounted(kind: mount::Kind, times: u64) {
    let mount = match mount::Mount::new(kind, 64) {
        Ok(mount) => mount,
        Err(reason) => return println!("torture: full: {kind:?} is left out: {reason}"),
    };
    let mut world = World::new(Arc::new(DiskFs), Arc::new(SystemClock::new()), &mount.point(), 9);
    let filler = Filler { path: mount.point().join("filler"), turn: AtomicU64::new(0) };
    let (resumed, returned) = (AtomicU64::new(0), parking_lot::Mutex::new(Instant::now()));
    let mut longest = Duration::ZERO;
    thread::scope(|scope| {
        scope.spawn(|| filler.run(times, &resumed, &returned));
        let mut done = 0;
        while done < times {
            let before = filler.turn.load(SeqCst);
            let outcome = world.step();
            let after = filler.turn.load(SeqCst);
            if let Err(error) = outcome {
                assert!(is_full(&error), "{error} ({error:?})");
                // Refusals are computed from figures that are up to a second old.
                let is_late = before == after && before.is_multiple_of(2);
                assert!(!is_late || returned.lock().elapsed() < RESUMES * 2, "{error}, there is space");
                world.refused += 1;
            }
            if after.is_multiple_of(2) && after / 2 > done {
                // There is space again: what waits is written.
                let is_resumed = world.write().and_then(|()| world.flush());
                let since = returned.lock().elapsed();
                match is_resumed {
                    Ok(()) => {
                        longest = longest.max(since);
                        done += 1;
                        if done % 20 == 0 {
                            world.check("there is space again");
                        }
                        resumed.store(done, SeqCst);
                    }
                    Err(error) => assert!(is_full(&error) && since < RESUMES * 3, "{error} after {since:?}"),
                }
            }
        }
    });
    let refused = world.finish();
    println!(
        "torture: full: {kind:?}, {times} times, {refused} calls refused, resumed after {longest:?} at most"
    );
    assert!(longest <= RESUMES, "{longest:?}");
}

/// So soon the tree goes on when there is space.
const RESUMES: Duration = Duration::from_secs(1);

/// Runs `LSM_TORTURE_TIMES` times: see `cargo xtask torture full`.
#[test]
#[ignore = "takes as long as it is told to; run by `cargo xtask torture full`"]
fn torture() {
    let word = std::env::var("LSM_TORTURE_TIMES").ok();
    let times: u64 = word.and_then(|value| value.parse().ok()).unwrap_or(200);
    simulated(times, 5);
    for kind in [mount::Kind::Ext4, mount::Kind::Tmpfs] {
        mounted(kind, times);
    }
}
