//! Disks that are nearly full: merges done slice by slice under a capacity that the file system enforces, beside readers,
//! other jobs, stops, power cuts and reopening.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use common::{Pairs, at, contents, flush, small_tables};
use lsm_compaction_planner::{Leveled, Major, Shortage};
use lsm_engine::{
    BlockCache, Cancel, CheckpointOptions, CompactOptions, CompactionReport, ExecutorError, Failpoints,
    IngestOptions, Outcome, Reader, Sliced, SpaceOptions, SpaceStatus, Tree, TreeOptions, VlogPolicy,
};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::{
    dice::Dice,
    sim::{SimConfig, SimFs, Strategy},
};
use lsm_types::{ErrorKind, Result};
use parking_lot::Mutex;
use wrap::{Control, WrapFs};

const SLICE: u64 = 32 << 10;
/// What the tables of all slices, and the edits, take besides entries: metadata, and pages that are not full.
const SLACK: u64 = 400 << 10;

fn tight() -> SpaceOptions {
    let options = SpaceOptions::default().admission(true).reserve_min_bytes(0).tight(true);
    options.slice_min_bytes(8 << 10).slice_max_bytes(Some(SLICE))
}

/// Without a block cache: what is read comes from the file.
fn options(fs: Arc<dyn Fs>, space: SpaceOptions) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).space(space).cache(BlockCache::new(0)).manifest_rotate_min(8_000))
        .tables(small_tables().data_block_bytes(2_048))
        .table_target_bytes(8 << 20)
}

fn open(fs: &Arc<dyn Fs>, space: SpaceOptions) -> Tree {
    Tree::open(options(fs.clone(), space)).unwrap()
}

/// Runs of so many entries each, newer versions over older ones; bytes that do not compress.
fn fill(tree: &Tree, runs: u64, entries: u64) -> u64 {
    let mut dice = Dice::new(11);
    let mut next = 1;
    for run in 0..runs {
        for entry in 0..entries {
            let value: Vec<u8> = (0..25).flat_map(|_| dice.roll().to_le_bytes()).collect();
            tree.insert(format!("key-{:06}", entry * 3 + run % 2), value, at(next)).unwrap();
            next += 1;
        }
        flush(tree);
    }
    tree.set_gc_watermark(at(next));
    next
}

fn used(memory: &MemFs, capacity: u64) -> u64 {
    capacity - memory.available_space(Path::new("/")).unwrap().unwrap()
}

/// A disk that has so many bytes free once it is filled.
fn nearly_full(runs: u64, entries: u64, free: u64) -> (Arc<dyn Fs>, Tree, Pairs) {
    const AMPLE: u64 = 1 << 30;
    static USED: Mutex<BTreeMap<(u64, u64), u64>> = Mutex::new(BTreeMap::new());
    let known = USED.lock().get(&(runs, entries)).copied();
    let used = known.unwrap_or_else(|| {
        let ample = MemFs::with_capacity(AMPLE);
        let tree = open(&(Arc::new(ample.clone()) as _), tight());
        fill(&tree, runs, entries);
        used(&ample, AMPLE)
    });
    USED.lock().insert((runs, entries), used);
    let fs: Arc<dyn Fs> = Arc::new(MemFs::with_capacity(used + free));
    let tree = open(&fs, tight());
    fill(&tree, runs, entries);
    let expected = contents(&tree).unwrap();
    (fs, tree, expected)
}

fn major(tree: &Tree) -> Result<CompactionReport> {
    tree.major_compact(&CompactOptions::default())
}

fn sliced(report: &CompactionReport) -> Sliced {
    assert_eq!((report.outcome, report.flavour), (Outcome::Sliced, Some("tight-space")), "{report:?}");
    report.sliced.unwrap()
}

/// What the level shape is after a full compaction, and that nothing else lies on the disk.
#[track_caller]
fn check_whole(tree: &Tree, fs: &Arc<dyn Fs>, expected: &Pairs) {
    assert_eq!(&contents(tree).unwrap(), expected);
    let stats = tree.stats();
    assert_eq!(stats.read_amplification(), 1);
    assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), stats.tables());
}

/// Proves C-121, C-130, C-136, D-125: one large table, and several with versions over each other, are
/// rewritten as a whole on a disk that holds two slices more than they take. It opens as it was left.
/// Fault: compaction W-19. Fault: durability W-33.
#[test]
fn a_full_compaction_needs_two_slices() {
    for (runs, entries) in [(1, 4_500), (2, 2_600)] {
        let (fs, tree, expected) = nearly_full(runs, entries, 2 * SLICE + SLACK);
        assert_eq!(tree.store().space().status, SpaceStatus::TightCompactionAvailable);
        let before = tree.stats().file_bytes();
        let report = major(&tree).unwrap();
        let done = sliced(&report);
        assert!(done.slices > 10, "{report:?}");
        assert_eq!((done.remaining_bytes, done.shortage), (0, None));
        assert!(report.bytes_out < before + done.slices * (72 << 10), "{} for {before}", report.bytes_out);
        check_whole(&tree, &fs, &expected);
        drop(tree);
        check_whole(&open(&fs, tight()), &fs, &expected);
    }
}

/// Proves C-121: without punching a single table is left alone, and of several those that are through are given
/// back whole. Fault: compaction W-19.
#[test]
fn without_punching_whole_files_are_given_back() {
    for (runs, expected_outcome) in [(1, None), (6, Some(()))] {
        let memory = MemFs::new();
        let control = Arc::new(Control::default());
        let fs: Arc<dyn Fs> = Arc::new(WrapFs { inner: Arc::new(memory), control });
        // Tables as long as ever: slices may be, too.
        let space = tight().slice_max_bytes(None);
        let tree = open(&fs, space);
        // Runs that follow each other in the order of keys.
        let mut next = 1;
        for run in 0..runs {
            for entry in 0..1_000_u64 {
                tree.insert(format!("key-{run}-{entry:05}"), [entry as u8; 60], at(next)).unwrap();
                next += 1;
            }
            flush(&tree);
        }
        tree.set_gc_watermark(at(next));
        let expected = contents(&tree).unwrap();
        let one = tree.stats().file_bytes() / runs;
        let limit = tree.stats().file_bytes() + one + one / 2;
        tree.store().set_space(space.limit_bytes(Some(limit)));
        // One that no narrower plan is made of.
        let whole = Whole;
        let report = tree.compact(&whole, &CompactOptions::default()).unwrap();
        match expected_outcome {
            None => assert_eq!(report.outcome, Outcome::Merged, "{report:?}"),
            Some(()) => assert!(sliced(&report).slices >= 2, "{report:?}"),
        }
        assert_eq!(contents(&tree).unwrap(), expected);
        assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), tree.stats().tables());
    }
}

/// Every other key, flushed; how many tables there are.
fn fill_half(tree: &Tree, half: u64) -> usize {
    let mut dice = Dice::new(half);
    for entry in 0..2_000_u64 {
        let key = format!("key-{:06}", entry * 2 + half);
        let value: Vec<u8> = (0..30).flat_map(|_| dice.roll().to_le_bytes()).collect();
        tree.insert(key, value, at(10 + half * 2_000 + entry)).unwrap();
    }
    flush(tree);
    tree.stats().tables()
}

/// A tree with one key, on a file system that makes holes into files or none.
fn one_key(punches: bool, space: SpaceOptions) -> (Tree, Arc<dyn Fs>) {
    let memory: Arc<dyn Fs> = Arc::new(MemFs::new());
    let control = Arc::new(Control::default());
    let fs = if punches { memory } else { Arc::new(WrapFs { inner: memory, control }) };
    let tree = open(&fs, space);
    tree.insert("first", "key", at(1)).unwrap();
    flush(&tree);
    (tree, fs)
}

/// Proves C-121, C-136: where only whole files are given back, flushes, ingestions and merges write short tables when there is no
/// room for a copy of the largest level. A full compaction goes through then, with room for one table of each run and two
/// more, for which nothing would do if the tables were long. With room, with holes, and where slices are not asked for, tables are as
/// long as ever.
#[test]
fn tables_are_short_where_files_go_as_a_whole() {
    let short = tight().limit_bytes(Some(1));
    for (punches, space) in [(true, short), (false, short.tight(false)), (false, tight())] {
        let (tree, _) = one_key(punches, space);
        assert_eq!([fill_half(&tree, 0), fill_half(&tree, 1)], [2, 3]);
    }
    for is_short in [true, false] {
        let (tree, fs) = one_key(false, short.tight(is_short));
        let mut tables = vec![fill_half(&tree, 0), fill_half(&tree, 1)];
        let mut ingestion = tree.ingest(IngestOptions::at(at(5_000))).unwrap();
        let mut dice = Dice::new(3);
        for entry in 0..800_u64 {
            let value: Vec<u8> = (0..30).flat_map(|_| dice.roll().to_le_bytes()).collect();
            ingestion.put(format!("later-{entry:05}"), value).unwrap();
        }
        ingestion.finish().unwrap();
        tables.push(tree.stats().tables());
        assert_eq!(tables.windows(2).all(|pair| pair[0] + 2 < pair[1]), is_short, "{tables:?}");
        tree.set_gc_watermark(at(6_000));
        let expected = contents(&tree).unwrap();
        let used = tree.stats().file_bytes();
        // Two runs lie over each other; a table takes 64 KiB of gap besides.
        let room = 4 * (SLICE + (80 << 10));
        tree.store().set_space(tight().limit_bytes(Some(used + room)));
        let report = tree.compact(&Whole, &CompactOptions::default()).unwrap();
        if is_short {
            assert_eq!(sliced(&report).remaining_bytes, 0, "{report:?}");
            check_whole(&tree, &fs, &expected);
            assert!(tree.stats().tables() > 12, "what a merge writes is short, too: {report:?}");
        } else {
            // The key by itself is a table that is through.
            let done = sliced(&report);
            assert!(done.slices == 1 && done.shortage.is_some(), "{report:?}");
        }
        assert_eq!(contents(&tree).unwrap(), expected);
    }
}

/// Proves C-121, C-123: with less than the smallest slice nothing begins, and the reason is told; without the switch
/// nothing does either; with a little more, it goes.
#[test]
fn less_than_a_slice_is_refused() {
    let (_, tree, expected) = nearly_full(1, 4_000, 2 * SLICE + SLACK);
    let used = tree.store().space().used_bytes;
    let version = tree.stats().levels;
    for (space, shortage) in [
        (tight().limit_bytes(Some(used + (8 << 10) - 1)), Shortage::Quota),
        (tight().reserve_min_bytes(u64::MAX), Shortage::Reserve),
        (tight().tight(false), Shortage::Volume),
    ] {
        tree.store().set_space(space);
        assert_eq!(tree.store().space().status, SpaceStatus::NoFullCompaction);
        assert_eq!(major(&tree).unwrap().outcome, Outcome::Refused(shortage));
        assert_eq!(tree.stats().levels, version);
    }
    tree.store().set_space(tight().tight(false));
    let report = tree.major_compact(&CompactOptions::default().tight(true)).unwrap();
    assert_eq!(sliced(&report).remaining_bytes, 0);
    assert_eq!(contents(&tree).unwrap(), expected);
    assert_eq!((tree.store().space().tight, tree.store().space().granted_bytes), (1, 0));
}

/// Does something whenever a slice is installed.
struct Each<F>(F);

impl<F: Fn() + Send + Sync> Failpoints for Each<F> {
    fn hit(&self, point: &'static str) -> std::result::Result<(), ExecutorError> {
        if point == "install.after" {
            (self.0)();
        }
        Ok(())
    }
}

/// Stops the job, or fails, when a point was passed so many times.
struct At {
    point: &'static str,
    left: Mutex<u64>,
    cancel: Option<Cancel>,
}

impl Failpoints for At {
    fn hit(&self, point: &'static str) -> std::result::Result<(), ExecutorError> {
        let mut left = self.left.lock();
        if point != self.point || *left == 0 {
            return Ok(());
        }
        *left -= 1;
        match &self.cancel {
            _ if *left > 0 => Ok(()),
            Some(cancel) => {
                cancel.cancel();
                Ok(())
            }
            None => Err(ExecutorError::Injected { point }),
        }
    }
}

fn compact(tree: &Tree, failpoints: impl Failpoints + 'static) -> Result<CompactionReport> {
    let failpoints: Arc<dyn Failpoints> = Arc::new(failpoints);
    tree.compact_with(&Major { target_bytes: 8 << 20 }, &CompactOptions::default(), &failpoints)
}

/// A quota that is nearly used up, on a disk with room for what readers hold.
fn readers_world() -> (Arc<dyn Fs>, Tree, Pairs) {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let tree = open(&fs, tight());
    fill(&tree, 1, 10_000);
    let slices = tight().slice_max_bytes(Some(100 << 10));
    tree.store().set_space(slices.limit_bytes(Some(tree.stats().file_bytes() + (1_500 << 10))));
    let expected = contents(&tree).unwrap();
    (fs, tree, expected)
}

/// Proves C-132, C-128, I-1, I-7, F-139: iterators, views at a number, a registered hold and a checkpoint from
/// before the first slice and from between slices read what was there, past the block cache; what they held is given back when
/// they go. Fault: compaction W-4, W-9.
#[test]
fn readers_from_before_and_between_slices_read_on() {
    let (fs, tree, expected) = readers_world();
    let mut early = tree.iter().pairs();
    let (first, view) = (early.by_ref().next().unwrap().unwrap().0, tree.view());
    let held = tree.hold(at(9_500)).unwrap();
    let at_held = contents(&tree.view_at(held.before()).unwrap()).unwrap();
    let between = Arc::new(Mutex::new(Vec::new()));
    let each = {
        let (tree, between, fs) = (tree.clone(), between.clone(), fs.clone());
        move || {
            let mut between = between.lock();
            let number = between.len();
            if number < 5 {
                let path = format!("/copy-{number}");
                tree.checkpoint(Path::new(&path), &CheckpointOptions::default()).unwrap();
                assert!(fs.metadata(Path::new(&path)).is_ok());
                let mut iter = tree.iter().pairs();
                let front = iter.by_ref().next().unwrap().unwrap();
                between.push((tree.view(), iter, front, path));
            }
        }
    };
    let report = compact(&tree, Each(each)).unwrap();
    assert!(sliced(&report).slices >= 5, "{report:?}");
    let owned = |pair: (lsm_types::Slice, lsm_types::Slice)| (pair.0.to_vec(), pair.1.to_vec());
    let rest: Pairs = early.by_ref().map(|pair| owned(pair.unwrap())).collect();
    assert_eq!((&first[..], &rest[..]), (&expected[0].0[..], &expected[1..]));
    assert_eq!(contents(&view).unwrap(), expected);
    assert_eq!(contents(&tree.view_at(held.before()).unwrap()).unwrap(), at_held);
    for (view, iter, front, path) in between.lock().drain(..) {
        assert_eq!(contents(&view).unwrap(), expected);
        let rest: Pairs = std::iter::once(Ok(front)).chain(iter).map(|pair| owned(pair.unwrap())).collect();
        assert_eq!(rest, expected);
        let copy = Tree::open(options(fs.clone(), tight())).map(drop);
        assert!(copy.is_err(), "the store is open");
        let copied = TreeOptions::new(&path).store(|store| store.fs(fs.clone()).cache(BlockCache::new(0)));
        assert_eq!(contents(&Tree::open(copied.tables(small_tables())).unwrap()).unwrap(), expected);
    }
    drop((early, view, held));
    // What they held counted as used, so that the job may have ended early.
    tree.store().set_space(SpaceOptions::default());
    finish(&tree);
    check_whole(&tree, &fs, &expected);
    assert_eq!(tree.store().reclaim_stats().pinned_files, 0);
}

/// Proves C-132, C-136: bytes that a reader holds are not counted as free; the job ends early and says so, and goes on
/// when the reader is gone.
#[test]
fn a_reader_that_holds_everything_stops_the_job_in_time() {
    let (fs, tree, expected) = nearly_full(1, 5_000, 2 * SLICE + SLACK);
    let view = tree.view();
    let report = major(&tree).unwrap();
    let done = sliced(&report);
    assert!(done.shortage.is_some() && done.remaining_bytes > 0, "{report:?}");
    assert_eq!(contents(&view).unwrap(), expected);
    assert_eq!(contents(&tree).unwrap(), expected);
    drop(view);
    let report = major(&tree).unwrap();
    assert_eq!(sliced(&report).remaining_bytes, 0, "{report:?}");
    check_whole(&tree, &fs, &expected);
}

/// Does something whenever a place is passed.
struct On<F>(&'static str, F);

impl<F: Fn() + Send + Sync> Failpoints for On<F> {
    fn hit(&self, point: &'static str) -> std::result::Result<(), ExecutorError> {
        if point == self.0 {
            (self.1)();
        }
        Ok(())
    }
}

/// Proves C-123, C-165: free space that shrinks while the job runs makes it end with a reason, not with an error, between
/// two slices and when the disk is full under one; it goes on when there is space again.
#[test]
fn space_that_goes_away_ends_the_job() {
    for (point, left, installed) in [("install.after", 20 << 10, 4), ("segment.seal", 0, 3)] {
        let (fs, tree, expected) = nearly_full(1, 5_000, 2 * SLICE + SLACK);
        let passed = Arc::new(Mutex::new(0));
        let each = {
            let (fs, passed) = (fs.clone(), passed.clone());
            move || {
                let mut passed = passed.lock();
                *passed += 1;
                if *passed == 4 {
                    let free = fs.available_space(Path::new("/db")).unwrap().unwrap();
                    let file = fs.open(Path::new("/other"), &lsm_fs::OpenOptions::CREATE_NEW).unwrap();
                    file.write_at(0, &vec![1; free as usize - left]).unwrap();
                }
            }
        };
        let report = compact(&tree, On(point, each)).unwrap();
        let done = sliced(&report);
        assert_eq!((done.slices, done.shortage), (installed, Some(Shortage::Volume)), "{point}");
        assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), tree.stats().tables());
        assert_eq!(contents(&tree).unwrap(), expected);
        fs.remove_file(Path::new("/other")).unwrap();
        finish(&tree);
        check_whole(&tree, &fs, &expected);
    }
}

/// Proves C-134, C-161: while slices are installed, the tree is flushed, written to, compacted elsewhere and asked
/// how it stands. Fault: compaction W-20.
#[test]
fn other_work_goes_on_between_slices() {
    let (_, tree, expected) = readers_world();
    let rounds = Arc::new(Mutex::new(0_u64));
    let each = {
        let (tree, rounds) = (tree.clone(), rounds.clone());
        move || {
            let mut rounds = rounds.lock();
            if *rounds < 6 {
                tree.insert(format!("new-{rounds}"), "value", at(1 << 20 | *rounds)).unwrap();
                flush(&tree);
                assert_eq!(tree.store().space().status, SpaceStatus::CompactionInProgress);
                assert!(tree.stats().tables() > 0);
                // Its own inputs are busy; those of the flushes are not.
                let strategy = Leveled { l0_threshold: 2, ..Leveled::default() };
                let other = tree.compact(&strategy, &CompactOptions::default()).unwrap();
                assert_ne!(other.outcome, Outcome::Sliced);
            }
            *rounds += 1;
        }
    };
    let report = compact(&tree, Each(each)).unwrap();
    assert!(sliced(&report).slices >= 6);
    let mut all = expected;
    all.extend((0..6).map(|round| (format!("new-{round}").into_bytes(), b"value".to_vec())));
    assert_eq!(contents(&tree).unwrap(), all);
}

/// Proves C-133, C-159, C-164: failing or stopped at any place of any slice, the tree reads as before and has no
/// file too many; ordinary compaction, more slices, and both after opening again, go on with what is left.
/// Fault: compaction W-2, W-10, W-12.
#[test]
fn any_job_goes_on_with_what_a_job_has_left() {
    for ahead in [false, true] {
        whatever_has_failed(ahead);
    }
}

fn whatever_has_failed(ahead: bool) {
    let mut seed = 0;
    for point in lsm_engine::POINTS {
        for pass in [1, 3] {
            for stops in [false, true] {
                seed += 1;
                if seed % 2 == u64::from(pass == 1) && point != "install.before" {
                    continue;
                }
                let (fs, tree, expected) = nearly_full(2, 2_600, 2 * SLICE + SLACK);
                tree.store().set_space(tight().slices_ahead(Some(ahead)));
                let cancel = Cancel::new();
                let at = At { point, left: Mutex::new(pass), cancel: stops.then(|| cancel.clone()) };
                let options = CompactOptions::default().cancel(cancel);
                let at: Arc<dyn Failpoints> = Arc::new(at);
                let outcome = tree.compact_with(&Major { target_bytes: 8 << 20 }, &options, &at);
                // Some places are passed but once.
                if let Err(error) = outcome {
                    let kind = if stops { ErrorKind::Cancelled } else { ErrorKind::Bug };
                    assert_eq!(error.kind(), kind, "{point} {pass}: {error}");
                }
                assert_eq!(contents(&tree).unwrap(), expected, "{point} {pass}");
                let files = fs.read_dir(Path::new("/db/tables")).unwrap().len();
                assert_eq!(files, tree.stats().tables(), "{point} {pass} {stops}");
                let tree = if seed % 2 == 0 {
                    drop(tree);
                    open(&fs, tight())
                } else {
                    tree
                };
                if seed % 3 == 0 {
                    finish(&tree);
                } else {
                    // On a disk without bounds any merge runs.
                    let ample: Arc<dyn Fs> = Arc::new(MemFs::new());
                    copy(&fs, &ample, Path::new("/db"));
                    drop(tree);
                    let tree = open(&ample, SpaceOptions::default());
                    let report = major(&tree).unwrap();
                    assert!(matches!(report.outcome, Outcome::Merged | Outcome::Idle), "{report:?}");
                    check_whole(&tree, &ample, &expected);
                    continue;
                }
                check_whole(&tree, &fs, &expected);
            }
        }
    }
}

/// Proves C-121, C-125, C-133: slices of tables whose values are separated, before or by the slices themselves, leave every
/// value where a read finds it. After each slice the files agree with what is noted of them; a job that is stopped is gone
/// on with by slices or by an ordinary merge, after opening again. Values are not moved, and value logs of which nothing is
/// left go.
#[test]
fn separated_values_stay() {
    for (thresholds, stops_after) in
        [(vec![300], 0), (vec![300], 5), (vec![10_000, 300], 0), (vec![10_000, 300], 6)]
    {
        // Slices that separate values write two files each.
        let files = thresholds.len() as u64;
        let space = tight().slice_max_bytes(Some(files * SLICE));
        let policy = VlogPolicy { thresholds, ..VlogPolicy::default() };
        let ample = MemFs::with_capacity(1 << 30);
        fill_with_long_values(&(Arc::new(ample.clone()) as _), &policy);
        let capacity = used(&ample, 1 << 30) + files * (2 * SLICE + SLACK);
        let fs: Arc<dyn Fs> = Arc::new(MemFs::with_capacity(capacity));
        let tree = fill_with_long_values(&fs, &policy);
        tree.store().set_space(space);
        let expected = contents(&tree).unwrap();
        let cancel = Cancel::new();
        let slices = Arc::new(AtomicU64::new(0));
        let each = Each({
            let (tree, expected, cancel, slices) =
                (tree.clone(), expected.clone(), cancel.clone(), slices.clone());
            move || {
                let slice = slices.fetch_add(1, Relaxed) + 1;
                if slice % 10 == 1 {
                    assert_eq!(contents(&tree).unwrap(), expected);
                    assert!(tree.verify().unwrap().is_clean());
                }
                if slice == stops_after {
                    cancel.cancel();
                }
            }
        });
        let each: Arc<dyn Failpoints> = Arc::new(each);
        let outcome = tree.compact_with(&Whole, &CompactOptions::default().cancel(cancel), &each);
        drop(each);
        assert!(slices.load(Relaxed) >= 5);
        let (tree, fs) = match outcome {
            Ok(report) => {
                let done = sliced(&report);
                assert_eq!((stops_after, done.remaining_bytes, report.values_relocated), (0, 0, 0));
                (tree, fs)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                drop(tree);
                let tree = Tree::open(options(fs.clone(), tight()).separation(policy.clone())).unwrap();
                assert_eq!(contents(&tree).unwrap(), expected);
                if stops_after == 5 {
                    let report = tree.compact(&Whole, &CompactOptions::default()).unwrap();
                    assert_eq!(sliced(&report).remaining_bytes, 0);
                    (tree, fs)
                } else {
                    // On a disk without bounds any merge runs.
                    let ample: Arc<dyn Fs> = Arc::new(MemFs::new());
                    copy(&fs, &ample, Path::new("/db"));
                    let unbounded = options(ample.clone(), SpaceOptions::default());
                    let tree = Tree::open(unbounded.separation(policy.clone())).unwrap();
                    let report = tree.compact(&Whole, &CompactOptions::default()).unwrap();
                    assert_eq!(report.outcome, Outcome::Merged, "{report:?}");
                    (tree, ample)
                }
            }
        };
        assert_eq!(contents(&tree).unwrap(), expected);
        assert!(tree.verify().unwrap().is_clean());
        drop(tree);
        let tree = Tree::open(options(fs.clone(), tight()).separation(policy)).unwrap();
        assert_eq!(contents(&tree).unwrap(), expected);
        assert!(tree.verify().unwrap().is_clean());
        assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), tree.stats().tables());
    }
}

/// Two runs over each other, of which every fourth value is long.
fn fill_with_long_values(fs: &Arc<dyn Fs>, policy: &VlogPolicy) -> Tree {
    let tree = Tree::open(options(fs.clone(), tight()).separation(policy.clone())).unwrap();
    let (mut dice, mut next) = (Dice::new(5), 1);
    for run in [2, 3] {
        for entry in 0..5_500_u64 {
            let words = if entry % 4 == run { 50 } else { 16 };
            let value: Vec<u8> = (0..words).flat_map(|_| dice.roll().to_le_bytes()).collect();
            tree.insert(format!("key-{:06}", entry * run), value, at(next)).unwrap();
            next += 1;
        }
        flush(&tree);
    }
    tree.set_gc_watermark(at(next));
    tree
}

/// Compacts until nothing is left to do, in parts where these fit.
fn finish(tree: &Tree) {
    for _ in 0..20 {
        let report = major(tree).unwrap();
        let is_whole = !report.narrowed && report.sliced.is_none_or(|sliced| sliced.shortage.is_none());
        assert!(report.did_work() || report.outcome == Outcome::Idle, "{report:?}");
        if is_whole {
            return;
        }
    }
    panic!("no end");
}

/// A directory as it is, holes as zeros.
fn copy(from: &Arc<dyn Fs>, to: &Arc<dyn Fs>, directory: &Path) {
    to.create_dir_all(directory).unwrap();
    for entry in from.read_dir(directory).unwrap() {
        let path = directory.join(entry.name);
        if entry.kind == lsm_fs::EntryKind::Dir {
            copy(from, to, &path);
            continue;
        }
        let source = from.open(&path, &lsm_fs::OpenOptions::READ).unwrap();
        let mut bytes = vec![0; usize::try_from(lsm_fs::FsFile::len(source.as_ref()).unwrap()).unwrap()];
        lsm_types::ReadAt::read_exact_at(source.as_ref(), 0, &mut bytes).unwrap();
        to.open(&path, &lsm_fs::OpenOptions::CREATE_NEW).unwrap().write_at(0, &bytes).unwrap();
    }
}

const ONE_OF_EACH: Strategy =
    Strategy { survivors: false, torn_sectors: 1, exhaustive: 0, random: 0, singles: 1, seed: 5 };

/// Two runs over each other, with deletes of ranges.
fn deleting_runs(disk: &SimFs, ahead: bool) -> (Tree, u64) {
    let space = tight().slice_min_bytes(0).slice_max_bytes(Some(12 << 10)).slices_ahead(Some(ahead));
    deleting_runs_on(&(Arc::new(disk.clone()) as _), space)
}

fn deleting_runs_on(fs: &Arc<dyn Fs>, space: SpaceOptions) -> (Tree, u64) {
    let tree = open(fs, space);
    let mut dice = Dice::new(3);
    let mut next = 1;
    for run in 0..2_u64 {
        for entry in 0..500_u64 {
            let key = format!("key-{:05}", entry * 2 + run * (entry % 2));
            let value: Vec<u8> = (0..25).flat_map(|_| dice.roll().to_le_bytes()).collect();
            tree.insert(key, value, at(next)).unwrap();
            next += 1;
        }
        let range = format!("key-{:05}", 100 + run * 300)..format!("key-{:05}", 180 + run * 300);
        tree.remove_range(range, at(next)).unwrap();
        next += 1;
        flush(&tree);
    }
    tree.set_gc_watermark(at(next - 200));
    (tree, next)
}

/// Proves C-133, C-167, C-169, I-2, D-125, F-139: the power is cut at every call of a run of ten
/// slices. Whatever the disk kept opens with all keys; another run, sliced or ordinary, goes on from there.
/// Fault: compaction W-4, W-10.
#[test]
fn a_power_cut_at_every_call_of_ten_slices() {
    power_cuts(false, 140 << 10);
}

/// Proves C-133, C-167, C-169, I-2, D-125, F-139: the same where slices are made while the ones before are installed.
/// Fault: compaction W-4, W-10.
#[test]
fn a_power_cut_at_every_call_of_slices_made_ahead() {
    power_cuts(true, 170 << 10);
}

fn power_cuts(ahead: bool, room: u64) {
    let ample = SimFs::new(SimConfig::DEFAULT);
    let all = SimConfig::DEFAULT.capacity;
    drop(deleting_runs(&ample, ahead));
    let used = all - ample.available_space(Path::new("/")).unwrap().unwrap();
    let disk = SimFs::new(SimConfig { capacity: used + room, ..SimConfig::DEFAULT });
    let (tree, next) = deleting_runs(&disk, ahead);
    let expected = contents(&tree).unwrap();
    let before = disk.len();
    let report = compact(&tree, Each(|| ())).unwrap();
    assert!(sliced(&report).slices >= 10, "{report:?}");
    drop(tree);
    let (mut images, mut resumed) = (0_u64, 0_u64);
    let points = disk.crash_points().into_iter().filter(|at| *at >= before).collect();
    for (id, image) in disk.images_at(points, &ONE_OF_EACH) {
        images += 1;
        // On a disk without bounds an ordinary merge takes over; under a quota slices go on.
        let (cut, fs): (Arc<dyn Fs>, Arc<dyn Fs>) = (Arc::new(image), Arc::new(MemFs::new()));
        copy(&cut, &fs, Path::new("/db"));
        let tree = open(&fs, SpaceOptions::default());
        assert_eq!(contents(&tree).unwrap(), expected, "{id}");
        if images.is_multiple_of(15) {
            tree.set_gc_watermark(at(next - 200));
            if images.is_multiple_of(2) {
                let limit = tree.store().space().used_bytes + (150 << 10);
                tree.store().set_space(tight().limit_bytes(Some(limit)));
                resumed += u64::from(compact(&tree, Each(|| ())).unwrap().sliced.is_some());
                tree.store().set_space(SpaceOptions::default());
                assert_eq!(contents(&tree).unwrap(), expected, "{id}");
            }
            finish(&tree);
            check_whole(&tree, &fs, &expected);
        }
    }
    assert!(images > 200 && resumed > 3, "{images} images, {resumed} resumed");
}

/// Proves C-97, C-131, I-5: a table that is through early leaves a delete of a range that reaches over all slices behind it.
/// That delete is older than entries there, which a newer one hides: none of them comes back.
#[test]
fn a_delete_that_is_carried_along_brings_nothing_back() {
    for ahead in [false, true] {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::with_capacity(4 << 20));
        let tree = open(&fs, tight().slices_ahead(Some(ahead)));
        let (mut dice, mut next) = (Dice::new(4), 1);
        let mut put = |keys: std::ops::Range<u64>, next: &mut u64| {
            for key in keys {
                let value: Vec<u8> = (0..25).flat_map(|_| dice.roll().to_le_bytes()).collect();
                tree.insert(format!("key-{key:06}"), value, at(*next)).unwrap();
                *next += 1;
            }
        };
        put(0..50, &mut next);
        tree.remove_range("key-000040".."key-002500", at(next)).unwrap();
        next += 1;
        flush(&tree);
        put(0..3_000, &mut next);
        flush(&tree);
        tree.remove_range("key-001000".."key-002000", at(next)).unwrap();
        next += 1;
        put(500..600, &mut next);
        put(2_900..3_000, &mut next);
        flush(&tree);
        tree.set_gc_watermark(at(next));
        let expected = contents(&tree).unwrap();
        assert_eq!(expected.len(), 2_000);
        let free = fs.available_space(Path::new("/")).unwrap().unwrap();
        let other = fs.open(Path::new("/other"), &lsm_fs::OpenOptions::CREATE_NEW).unwrap();
        other.write_at(0, &vec![1; (free - 2 * SLICE - SLACK) as usize]).unwrap();
        let report = major(&tree).unwrap();
        assert_eq!(sliced(&report).remaining_bytes, 0, "{report:?}");
        assert_eq!(contents(&tree).unwrap().len(), expected.len());
        assert_eq!(contents(&tree).unwrap(), expected);
    }
}

/// Proves C-121, C-133, C-167, I-2: the power is cut at every call of slices that end with their inputs, on a disk that gives back whole
/// files only. Whatever it kept opens with all keys, and is compacted as a whole.
#[test]
fn a_power_cut_at_every_call_of_slices_that_end_with_tables() {
    let disk = SimFs::new(SimConfig::DEFAULT);
    let fs: Arc<dyn Fs> = Arc::new(WrapFs { inner: Arc::new(disk.clone()), control: Arc::default() });
    // Short tables, though each has a gap of 64 KiB: more is used than there may be, and merges alone are kept from it.
    let (first, _) = deleting_runs_on(&fs, tight().slice_max_bytes(Some(80 << 10)).limit_bytes(Some(1)));
    let (expected, used) = (contents(&first).unwrap(), first.stats().file_bytes());
    let slices = tight().slice_min_bytes(0).slice_max_bytes(Some(12 << 10));
    first.store().set_space(slices.limit_bytes(Some(used + 5 * (80 << 10))));
    let before = disk.len();
    let report = first.compact(&Whole, &CompactOptions::default().target_bytes(8 << 20)).unwrap();
    let done = sliced(&report);
    assert!(done.slices >= 6 && done.remaining_bytes == 0, "{report:?}");
    drop(first);
    let mut images = 0_u64;
    let points = disk.crash_points().into_iter().filter(|at| *at >= before).collect();
    for (id, image) in disk.images_at(points, &ONE_OF_EACH) {
        images += 1;
        let (cut, fs): (Arc<dyn Fs>, Arc<dyn Fs>) = (Arc::new(image), Arc::new(MemFs::new()));
        copy(&cut, &fs, Path::new("/db"));
        let tree = open(&fs, SpaceOptions::default());
        assert_eq!(contents(&tree).unwrap(), expected, "{id}");
        if images.is_multiple_of(15) {
            finish(&tree);
            check_whole(&tree, &fs, &expected);
        }
    }
    assert!(images > 100, "{images} images");
}

/// Proves C-101, C-135: slices of a few dozen keys, with filters and every other section.
/// Fault: compaction W-14.
#[test]
fn slices_of_a_few_keys() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let tree = open(&fs, tight());
    fill(&tree, 1, 3_000);
    let expected = contents(&tree).unwrap();
    let space = tight().slice_min_bytes(0).slice_max_bytes(Some(0));
    tree.store().set_space(space.limit_bytes(Some(tree.stats().file_bytes() + 600_000)));
    // As far as the limit goes: a file counts with its gaps.
    let report = major(&tree).unwrap();
    let done = sliced(&report);
    assert!(done.slices > 5 && report.entries_out / done.slices < 60, "{report:?}");
    assert_eq!(contents(&tree).unwrap(), expected);
    tree.store().set_space(tight().slice_max_bytes(Some(200 << 10)));
    major(&tree).unwrap();
    check_whole(&tree, &fs, &expected);
}

/// Merges all there is, as a whole or not at all.
struct Whole;

impl lsm_compaction_planner::CompactionStrategy for Whole {
    fn name(&self) -> &'static str {
        "test.whole"
    }

    fn settings(&self) -> lsm_compaction_planner::Settings {
        lsm_compaction_planner::Settings::new()
    }

    fn plan(&self, view: &lsm_compaction_planner::PlanView<'_>) -> lsm_compaction_planner::Plan {
        let all: Vec<_> = view.levels.tables().map(|(_, table)| table.id).collect();
        lsm_compaction_planner::Plan::merge(view, all, lsm_compaction_planner::Level::new(6), 1 << 20)
    }
}
