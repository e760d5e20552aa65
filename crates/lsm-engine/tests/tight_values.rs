//! Values that are moved slice by slice, on disks with no room for all of them at once: beside readers and checkpoints,
//! through stops, failures and power cuts, and on from there.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use common::{Pairs, Reverse, at, contents, flush, sealed::encryption, small_tables};
use lsm_compaction_planner::{Level, Leveled, Plan, PlanView, Settings, Shortage};
use lsm_engine::{
    BlockCache, Cancel, CheckpointOptions, CompactOptions, CompactionReport, ExecutorError, Failpoints,
    Outcome, Reader, RelocationOptions, Sliced, SpaceOptions, Tree, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs};
use lsm_repair::{Depth, Scope, VerifyOptions};
use lsm_testkit::{
    dice::Dice,
    sim::{SimConfig, SimFs, Strategy},
};
use lsm_types::{ErrorKind, Result};
use parking_lot::Mutex;
use wrap::{Control, WrapFs};

const SLICE: u64 = 128 << 10;
/// What the files of slices and edits take besides entries and values: metadata, and pages that are not full.
const SLACK: u64 = 700 << 10;

fn tight() -> SpaceOptions {
    let options = SpaceOptions::default().admission(true).reserve_min_bytes(0).tight(true);
    options.slice_min_bytes(8 << 10).slice_max_bytes(Some(SLICE))
}

/// Without a block cache: what is read comes from the file.
fn options(fs: &Arc<dyn Fs>, space: SpaceOptions) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(fs.clone()).space(space).cache(BlockCache::new(0)).manifest_rotate_min(8_000))
        .tables(small_tables().data_block_bytes(1_024))
        .table_target_bytes(8 << 20)
        .separation(VlogPolicy { thresholds: vec![300], ..VlogPolicy::default() })
        .relocation(RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() })
}

fn open(fs: &Arc<dyn Fs>, space: SpaceOptions) -> Tree {
    Tree::open(options(fs, space)).unwrap()
}

fn value(dice: &mut Dice, bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).collect()
}

/// Two runs: all keys, and then `again` of each four once more. Most values are long, some are not.
fn fill(tree: &Tree, entries: u64, again: u64) -> u64 {
    let (mut dice, mut next) = (Dice::new(11), 1);
    for run in 0..2 {
        for entry in (0..entries).filter(|entry| run == 0 || entry % 4 < again) {
            let bytes = if entry % 9 == 5 { 40 } else { 900 };
            tree.insert(format!("key-{entry:06}"), value(&mut dice, bytes), at(next)).unwrap();
            next += 1;
        }
        flush(tree);
    }
    tree.set_gc_watermark(at(next));
    next
}

/// A disk that has so many bytes free once it is filled.
fn nearly_full(entries: u64, again: u64, free: u64) -> (Arc<dyn Fs>, Tree, Pairs) {
    nearly_full_of(&|fs| options(fs, tight()), entries, again, free)
}

fn nearly_full_of(
    options: &dyn Fn(&Arc<dyn Fs>) -> TreeOptions,
    entries: u64,
    again: u64,
    free: u64,
) -> (Arc<dyn Fs>, Tree, Pairs) {
    const AMPLE: u64 = 1 << 30;
    let ample = MemFs::with_capacity(AMPLE);
    fill(&Tree::open(options(&(Arc::new(ample.clone()) as _))).unwrap(), entries, again);
    let used = AMPLE - ample.available_space(Path::new("/")).unwrap().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(MemFs::with_capacity(used + free));
    let tree = Tree::open(options(&fs)).unwrap();
    fill(&tree, entries, again);
    let expected = contents(&tree).unwrap();
    (fs, tree, expected)
}

/// Merges all there is, as a whole or not at all.
struct Whole;

impl lsm_compaction_planner::CompactionStrategy for Whole {
    fn name(&self) -> &'static str {
        "test.whole"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let all: Vec<_> = view.levels.tables().map(|(_, table)| table.id).collect();
        if all.is_empty() { Plan::Idle } else { Plan::merge(view, all, Level::new(6), 8 << 20) }
    }
}

fn whole(tree: &Tree, failpoints: impl Failpoints + 'static) -> Result<CompactionReport> {
    let failpoints: Arc<dyn Failpoints> = Arc::new(failpoints);
    tree.compact_with(&Whole, &CompactOptions::default(), &failpoints)
}

fn sliced(report: &CompactionReport) -> Sliced {
    assert_eq!((report.outcome, report.flavour), (Outcome::Sliced, Some("tight-space")), "{report:?}");
    report.sliced.unwrap()
}

/// Everything agrees, in memory and on the disk, and no file lies there that is not named.
#[track_caller]
fn check(tree: &Tree, fs: &Arc<dyn Fs>, expected: &Pairs) {
    assert_eq!(&contents(tree).unwrap(), expected);
    let verified = tree.verify().unwrap();
    assert!(verified.is_clean(), "{verified:?}");
    let scope = Scope::Directory { fs, root: Path::new("/db") };
    let verified = lsm_repair::verify(&scope, Depth::Structure, &VerifyOptions::default()).unwrap();
    assert!(verified.is_clean(), "{verified:?}");
    assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), tree.stats().tables());
    assert_eq!(fs.read_dir(Path::new("/db/blobs")).unwrap().len(), tree.value_logs().len());
}

/// The sum of what frontiers have passed.
fn passed(tree: &Tree) -> u64 {
    tree.value_logs().iter().map(|log| log.frontier).sum()
}

/// Does something whenever a slice is installed; is told its number.
struct Each<F>(F, AtomicU64);

impl<F: Fn(u64) + Send + Sync> Each<F> {
    fn new(then: F) -> Self {
        Self(then, AtomicU64::new(0))
    }
}

impl<F: Fn(u64) + Send + Sync> Failpoints for Each<F> {
    fn hit(&self, point: &'static str) -> std::result::Result<(), ExecutorError> {
        if point == "install.after" {
            (self.0)(self.1.fetch_add(1, Relaxed) + 1);
        }
        Ok(())
    }
}

/// Looks at every place a job passes.
struct Sampled<F>(F);

impl<F: Fn() + Send + Sync> Failpoints for Sampled<F> {
    fn hit(&self, _: &'static str) -> std::result::Result<(), ExecutorError> {
        (self.0)();
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

/// Proves C-123, C-125, C-126, C-130, D-81, D-83, F-138: all values are moved on a disk that holds two slices more than
/// there is. In the middle the value logs begin further behind, and what lies in front is no damage to anybody; in the end
/// they are gone. Fault: compaction W-10, W-19.
#[test]
fn values_move_slice_by_slice() {
    for again in [2, 4] {
        let (fs, tree, expected) = nearly_full(2_500, again, 2 * SLICE + SLACK);
        let before: Vec<_> = tree.value_logs().iter().map(|log| log.id).collect();
        let most = Arc::new(AtomicU64::new(0));
        let each = {
            let (tree, fs, expected, most) = (tree.clone(), fs.clone(), expected.clone(), most.clone());
            move |slice| {
                most.fetch_max(passed(&tree), Relaxed);
                if slice % 6 == 4 {
                    check(&tree, &fs, &expected);
                }
            }
        };
        let report = whole(&tree, Each::new(each)).unwrap();
        let done = sliced(&report);
        assert!(done.slices > 10 && report.values_relocated > 2_000, "{report:?}");
        assert_eq!((done.remaining_bytes, done.shortage, report.vlogs_removed), (0, None, 2));
        assert!(most.load(Relaxed) > 1 << 20 && tree.store().reclaim_stats().punched_bytes > 1 << 20);
        assert!(tree.value_logs().iter().all(|log| !before.contains(&log.id) && log.garbage_bytes() == 0));
        check(&tree, &fs, &expected);
        drop(tree);
        check(&open(&fs, tight()), &fs, &expected);
    }
}

/// Proves C-126, C-133, C-125, F-139, I-2: failing or stopped at any place of a slice that moves values, the tree reads as
/// before, has no file too many and says no value is damaged, also after opening again; slices and ordinary merges go on
/// from there. Fault: compaction W-2, W-10, W-15.
#[test]
fn any_job_goes_on_with_what_a_job_has_left() {
    for ahead in [false, true] {
        whatever_has_failed(ahead);
    }
}

fn whatever_has_failed(ahead: bool) {
    let points = lsm_engine::POINTS.into_iter().chain(["relocate.read", "relocate.copy", "relocate.seal"]);
    for (seed, point) in points.enumerate() {
        for stops in [false, true] {
            let (fs, tree, expected) = nearly_full(1_200, 2, 2 * SLICE + SLACK);
            tree.store().set_space(tight().slices_ahead(Some(ahead)));
            let cancel = Cancel::new();
            let point_at = At { point, left: Mutex::new(4), cancel: stops.then(|| cancel.clone()) };
            let point_at: Arc<dyn Failpoints> = Arc::new(point_at);
            let outcome = tree.compact_with(&Whole, &CompactOptions::default().cancel(cancel), &point_at);
            if let Err(error) = &outcome {
                let kind = if stops { ErrorKind::Cancelled } else { ErrorKind::Bug };
                assert_eq!(error.kind(), kind, "{point}: {error}");
            }
            let is_under_way = !["plan.done", "lease.taken"].contains(&point);
            assert_eq!(outcome.is_err() && passed(&tree) > 0, is_under_way, "{point} {stops}: {outcome:?}");
            check(&tree, &fs, &expected);
            let frontiers = passed(&tree);
            let tree = if (seed + usize::from(stops)).is_multiple_of(2) {
                drop(tree);
                let tree = open(&fs, tight());
                assert_eq!(passed(&tree), frontiers);
                check(&tree, &fs, &expected);
                tree
            } else {
                tree
            };
            if seed % 3 == 0 {
                // On a disk without bounds any merge runs.
                let ample: Arc<dyn Fs> = Arc::new(MemFs::new());
                copy(&fs, &ample, Path::new("/db"));
                drop(tree);
                let tree = open(&ample, SpaceOptions::default());
                assert_eq!(passed(&tree), frontiers);
                let report = whole(&tree, Each::new(|_| ())).unwrap();
                assert_eq!(report.outcome, Outcome::Merged, "{report:?}");
                check(&tree, &ample, &expected);
                continue;
            }
            let report = whole(&tree, Each::new(|_| ())).unwrap();
            assert!(report.did_work(), "{report:?}");
            check(&tree, &fs, &expected);
        }
    }
}

/// A quota that is nearly used up, on a disk with room for what readers hold.
fn readers_world() -> (Arc<dyn Fs>, Tree, Pairs) {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let tree = open(&fs, tight());
    fill(&tree, 2_500, 2);
    // Of quotas every file takes 64 KiB more.
    tree.store().set_space(tight().limit_bytes(Some(tree.store().space().used_bytes + (2 << 20))));
    let expected = contents(&tree).unwrap();
    (fs, tree, expected)
}

/// Proves C-126, C-128, C-129, C-132, D-65, D-89, I-7: iterators, views and checkpoints from before the first slice and from
/// between slices read values that slices have moved, past the block cache. What readers hold is given back when they go;
/// a value log with a second name is left whole. Fault: compaction W-4, W-9.
#[test]
fn readers_from_before_and_between_slices_read_on() {
    for copies in [false, true] {
        let (fs, tree, expected) = readers_world();
        let mut early = tree.iter().pairs();
        let (first, view) = (early.by_ref().next().unwrap().unwrap(), tree.view());
        let between = Arc::new(Mutex::new(Vec::new()));
        let each = {
            let (tree, between) = (tree.clone(), between.clone());
            move |slice: u64| {
                if slice % 2 == 1 && slice < 8 {
                    let path = format!("/copy-{slice}");
                    if copies {
                        tree.checkpoint(Path::new(&path), &CheckpointOptions::default()).unwrap();
                    }
                    let mut iter = tree.iter().pairs();
                    let front = iter.by_ref().next().unwrap().unwrap();
                    between.lock().push((tree.view(), iter, front, path));
                }
            }
        };
        let report = whole(&tree, Each::new(each)).unwrap();
        assert!(sliced(&report).slices >= 5, "{report:?}");
        let punched = tree.store().reclaim_stats().punched_bytes;
        let owned = |pair: (lsm_types::Slice, lsm_types::Slice)| (pair.0.to_vec(), pair.1.to_vec());
        let rest: Pairs = std::iter::once(Ok(first)).chain(early).map(|pair| owned(pair.unwrap())).collect();
        assert!(rest == expected, "the iterator from before");
        assert!(contents(&view).unwrap() == expected, "the view from before");
        for (view, iter, front, path) in between.lock().drain(..) {
            assert!(contents(&view).unwrap() == expected, "a view from between");
            let rest: Pairs =
                std::iter::once(Ok(front)).chain(iter).map(|pair| owned(pair.unwrap())).collect();
            assert!(rest == expected, "an iterator from between");
            if copies {
                let at_copy = |store: lsm_engine::StoreOptions| store.fs(fs.clone());
                let copied = TreeOptions::new(&path).store(at_copy).tables(small_tables());
                let copied = Tree::open(copied.separation(VlogPolicy::default())).unwrap();
                assert!(contents(&copied).unwrap() == expected, "a checkpoint from between");
                assert!(copied.verify().unwrap().is_clean());
            }
        }
        drop(view);
        if !copies {
            assert!(tree.store().reclaim_stats().punched_bytes >= punched);
            assert_eq!(tree.store().reclaim_stats().pinned_files, 0);
        }
        tree.store().set_space(SpaceOptions::default());
        whole(&tree, Each::new(|_| ())).unwrap();
        assert!(contents(&tree).unwrap() == expected);
        assert!(tree.verify().unwrap().is_clean());
    }
}

/// Proves C-132, C-136: values that a reader holds are not counted as free: the job ends early and says so, and goes on when
/// the reader is gone.
#[test]
fn a_reader_that_holds_everything_stops_the_job_in_time() {
    let (fs, tree, expected) = nearly_full(2_000, 2, 2 * SLICE + SLACK);
    let view = tree.view();
    let done = sliced(&whole(&tree, Each::new(|_| ())).unwrap());
    assert!(done.shortage.is_some() && done.remaining_bytes > 0, "{done:?}");
    assert!(contents(&view).unwrap() == expected);
    drop(view);
    let done = sliced(&whole(&tree, Each::new(|_| ())).unwrap());
    assert_eq!((done.shortage, done.remaining_bytes), (None, 0));
    check(&tree, &fs, &expected);
}

/// Proves C-123: a value that is longer than all the room there is begins no slice, and a slice ends in front of it. With
/// room for it, it goes.
#[test]
fn a_slice_ends_in_front_of_a_value_that_does_not_fit() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let tree = open(&fs, tight());
    let mut dice = Dice::new(3);
    for number in 0..600 {
        let bytes = if number == 450 { 3 << 20 } else { 900 };
        tree.insert(format!("key-{number:03}"), value(&mut dice, bytes), at(number + 1)).unwrap();
    }
    flush(&tree);
    tree.set_gc_watermark(at(601));
    let expected = contents(&tree).unwrap();
    let limit = |more: u64| tight().limit_bytes(Some(tree.store().space().used_bytes + more));
    tree.store().set_space(limit(2 << 20));
    let report = whole(&tree, Each::new(|_| ())).unwrap();
    let done = sliced(&report);
    assert_eq!((done.shortage, report.values_relocated), (Some(Shortage::Quota), 450), "{report:?}");
    check(&tree, &fs, &expected);
    tree.store().set_space(limit(7 << 20));
    let done = whole(&tree, Each::new(|_| ())).unwrap();
    assert!(done.did_work(), "{done:?}");
    check(&tree, &fs, &expected);
}

/// Proves C-121: where nothing but whole files is given back, values stay where they are; so they do in value logs that
/// other tables lead to, and in exported ones.
#[test]
fn values_stay_where_slices_give_nothing_back() {
    for case in ["no holes", "other tables", "exported"] {
        let control = Arc::new(Control::default());
        let memory: Arc<dyn Fs> = Arc::new(MemFs::new());
        let fs = if case == "no holes" { Arc::new(WrapFs { inner: memory, control }) } else { memory };
        // Several tables that lead to the same value log.
        let target = if case == "other tables" { 16 << 10 } else { 8 << 20 };
        let tree = Tree::open(options(&fs, tight()).table_target_bytes(target)).unwrap();
        fill(&tree, 1_200, 2);
        if case == "exported" {
            tree.checkpoint(Path::new("/copy"), &CheckpointOptions::default()).unwrap();
        }
        let expected = contents(&tree).unwrap();
        let used = tree.store().space().used_bytes;
        tree.store().set_space(tight().limit_bytes(Some(used + (90 << 10))));
        let narrow = Leveled { l0_threshold: 1, ..Leveled::default() };
        let options = CompactOptions::default();
        let report = match case {
            "other tables" => tree.compact(&Oldest, &options).unwrap(),
            "exported" => tree.compact(&Whole, &options).unwrap(),
            _ => tree.compact(&narrow, &options).unwrap(),
        };
        assert_eq!(report.values_relocated, 0, "{case}: {report:?}");
        assert_eq!(contents(&tree).unwrap(), expected, "{case}");
        assert!(tree.verify().unwrap().is_clean(), "{case}");
    }
}

/// Merges the oldest run alone.
struct Oldest;

impl lsm_compaction_planner::CompactionStrategy for Oldest {
    fn name(&self) -> &'static str {
        "test.oldest"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let oldest = view.levels.tables().last().map(|(level, table)| (level, table.id));
        oldest.map_or(Plan::Idle, |(level, id)| Plan::merge(view, [id], level, 8 << 20))
    }
}

/// Proves I-12, D-77, D-79: with keys in another order, and sealed.
#[test]
fn in_any_order_and_sealed() {
    let options = |fs: &Arc<dyn Fs>| {
        let options = options(fs, tight()).comparator(Arc::new(Reverse));
        options.store(|store| store.encryption(encryption()))
    };
    let (fs, tree, expected) = nearly_full_of(&options, 1_500, 2, 2 * SLICE + SLACK);
    let cancel = Cancel::new();
    let stop = At { point: "install.after", left: Mutex::new(4), cancel: Some(cancel.clone()) };
    let stop: Arc<dyn Failpoints> = Arc::new(stop);
    tree.compact_with(&Whole, &CompactOptions::default().cancel(cancel), &stop).unwrap_err();
    let frontiers = passed(&tree);
    drop(tree);
    let tree = Tree::open(options(&fs)).unwrap();
    assert!(frontiers > 0 && passed(&tree) == frontiers);
    assert!(tree.verify().unwrap().is_clean());
    tree.set_gc_watermark(at(1 << 20));
    let report = whole(&tree, Each::new(|_| ())).unwrap();
    assert!(sliced(&report).remaining_bytes == 0 && report.values_relocated > 500, "{report:?}");
    assert_eq!(contents(&tree).unwrap(), expected);
    assert!(tree.verify().unwrap().is_clean());
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

/// Proves C-126, C-133, C-167, D-82, F-139, I-2: the power is cut at every call of a run of slices that move values. What the
/// disk kept opens with all of them, nothing is damaged behind the frontiers, and any merge goes on from there.
/// Fault: compaction W-4, W-10.
#[test]
fn a_power_cut_at_every_call() {
    power_cuts(false, 150 << 10);
}

/// Proves C-126, C-133, C-167, D-82, F-139, I-2: the same where slices are made while the ones before are installed.
/// Fault: compaction W-4, W-10.
#[test]
fn a_power_cut_at_every_call_of_slices_made_ahead() {
    power_cuts(true, 190 << 10);
}

fn power_cuts(ahead: bool, room: u64) {
    let filled = |disk: &SimFs| {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let space = tight().slice_min_bytes(0).slice_max_bytes(Some(16 << 10));
        let tree = open(&fs, space.slices_ahead(Some(ahead)));
        let next = fill(&tree, 150, 2);
        (tree, next)
    };
    let ample = SimFs::new(SimConfig::DEFAULT);
    drop(filled(&ample));
    let used = SimConfig::DEFAULT.capacity - ample.available_space(Path::new("/")).unwrap().unwrap();
    let disk = SimFs::new(SimConfig { capacity: used + room, ..SimConfig::DEFAULT });
    let (tree, next) = filled(&disk);
    let expected = contents(&tree).unwrap();
    let before = disk.len();
    let report = whole(&tree, Each::new(|_| ())).unwrap();
    assert!(sliced(&report).slices >= 5 && report.values_relocated > 100, "{report:?}");
    drop(tree);
    let (mut images, mut advanced) = (0_u64, 0_u64);
    let points = disk.crash_points().into_iter().filter(|at| *at >= before).collect();
    for (id, image) in disk.images_at(points, &ONE_OF_EACH) {
        images += 1;
        let (cut, fs): (Arc<dyn Fs>, Arc<dyn Fs>) = (Arc::new(image), Arc::new(MemFs::new()));
        copy(&cut, &fs, Path::new("/db"));
        let tree = open(&fs, SpaceOptions::default());
        assert!(contents(&tree).unwrap() == expected, "{id}");
        advanced += u64::from(passed(&tree) > 0);
        if images.is_multiple_of(7) {
            check(&tree, &fs, &expected);
        }
        if images.is_multiple_of(21) {
            tree.set_gc_watermark(at(next));
            if images.is_multiple_of(2) {
                let limit = tree.store().space().used_bytes + (200 << 10);
                tree.store().set_space(tight().limit_bytes(Some(limit)));
                whole(&tree, Each::new(|_| ())).unwrap();
                tree.store().set_space(SpaceOptions::default());
            }
            whole(&tree, Each::new(|_| ())).unwrap();
            check(&tree, &fs, &expected);
        }
    }
    assert!(images > 150 && advanced > 50, "{images} images, {advanced} behind a frontier");
}

/// Proves C-136, D-125: a database of ten times the free space, half of it overwritten values, is rewritten with two slices,
/// two MiB and a value to spare.
#[test]
fn ten_times_the_free_space() {
    let (free, slice) = (4 << 19, 4 << 17);
    let fs: Arc<dyn Fs> = Arc::new(MemFs::with_capacity(64 << 20));
    let space = SpaceOptions::default().admission(true).reserve_min_bytes(free / 16).tight(true);
    let space = space.slice_min_bytes(slice / 4).slice_max_bytes(Some(slice));
    let tree = Tree::open(options(&fs, space)).unwrap();
    let (mut dice, mut next) = (Dice::new(5), 1);
    let entries = 10 * free / 2 / 4_096;
    for _ in 0..2 {
        for entry in 0..entries {
            tree.insert(format!("key-{entry:06}"), value(&mut dice, 4_000), at(next)).unwrap();
            next += 1;
        }
        flush(&tree);
    }
    tree.set_gc_watermark(at(next));
    let available = {
        let fs = fs.clone();
        move || fs.available_space(Path::new("/")).unwrap().unwrap()
    };
    let ballast = fs.open(Path::new("/ballast"), &lsm_fs::OpenOptions::CREATE_NEW).unwrap();
    ballast.write_at(0, &vec![1; (available() - free) as usize]).unwrap();
    let (before, least) = (available(), Arc::new(AtomicU64::new(available())));
    let lowest = {
        let (available, least) = (available.clone(), least.clone());
        Sampled(move || {
            least.fetch_min(available(), Relaxed);
        })
    };
    let expected = contents(&tree).unwrap();
    let report = whole(&tree, lowest).unwrap();
    let done = sliced(&report);
    assert_eq!((done.remaining_bytes, done.shortage), (0, None), "{report:?}");
    assert_eq!(report.values_relocated, entries);
    let peak = before - least.load(Relaxed);
    assert!(peak <= 2 * slice + (2 << 20), "{peak} bytes at most, {slice} a slice");
    assert!(available() > before + entries * 3_500, "{} of {before}", available());
    check(&tree, &fs, &expected);
}
