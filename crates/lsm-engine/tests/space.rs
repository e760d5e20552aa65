//! Room for merges: which run, which are done in part, which are put off, and that none of it changes what is read.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{path::Path, sync::Arc};

use common::{Pairs, at, contents, flush, small_tables};
use lsm_compaction_planner::{DropRange, Level, Leveled, MoveDown, PullDown, Shortage};
use lsm_engine::{
    BlockCache, CompactOptions, CompactionReport, Outcome, ReclaimOptions, SpaceOptions, SpaceStatus, Store,
    StoreOptions, Tree, TreeOptions,
};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::dice::Dice;
use lsm_types::{SeqNo, TreeId};
use wrap::{Control, WrapFs};

const TABLES: u64 = 12;
const ENTRIES: u64 = 200;

fn admission() -> SpaceOptions {
    SpaceOptions::default().admission(true).reserve_min_bytes(0)
}

/// Without a block cache: what is read comes from the files.
fn open_on(fs: Arc<dyn Fs>, space: SpaceOptions) -> (Store, Tree) {
    let store = StoreOptions::new("/db").fs(fs).space(space).cache(BlockCache::new(0));
    let store = Store::open(store).unwrap();
    let options =
        TreeOptions::in_store(StoreOptions::new("/db")).tables(small_tables()).table_target_bytes(40_000);
    let tree = store.tree(TreeId::new(1), &options).unwrap();
    (store, tree)
}

fn open(space: SpaceOptions) -> (Store, Tree) {
    open_on(Arc::new(MemFs::new()), space)
}

/// Tables in level 0 that all overlap, of bytes that do not compress.
fn fill(tree: &Tree) -> Pairs {
    let mut dice = Dice::new(7);
    for table in 0..TABLES {
        for entry in 0..ENTRIES {
            let value: Vec<u8> = (0..40).map(|_| dice.roll() as u8).collect();
            let key = format!("{:05}", dice.roll() % 100_000);
            tree.insert(key, value, at(1 + table * ENTRIES + entry)).unwrap();
        }
        flush(tree);
    }
    contents(tree).unwrap()
}

fn major(tree: &Tree) -> CompactionReport {
    tree.major_compact(&CompactOptions::default()).unwrap()
}

/// Proves C-52, C-63: with admission off every merge runs and figures are told all the same; with it on, a merge
/// that passes the limit is put off, changes nothing, is told and counted, and runs once the limit is raised.
#[test]
fn a_limit_puts_merges_off_until_it_is_raised() {
    let (store, tree) = open(SpaceOptions::default().limit_bytes(Some(1)));
    let expected = fill(&tree);
    let used = store.space().used_bytes;
    assert_eq!(used, tree.stats().levels.iter().map(|level| level.file_bytes).sum::<u64>());
    let report = store.space();
    assert_eq!((report.status, report.available_bytes), (SpaceStatus::Healthy, 0));
    assert!(!report.is_compaction_possible);
    store.set_space(admission().limit_bytes(Some(used)));
    assert_eq!(store.space().status, SpaceStatus::NoFullCompaction);
    let refused = major(&tree);
    assert_eq!(refused.outcome, Outcome::Refused(Shortage::Quota));
    assert!(!refused.did_work());
    assert_eq!((store.space().refused, store.space().used_bytes), (1, used));
    assert_eq!(contents(&tree).unwrap(), expected);
    store.set_space(admission().limit_bytes(Some(2 * used)));
    let report = store.space();
    assert_eq!((report.status, report.full_compaction_bytes), (SpaceStatus::FullCompactionAvailable, used));
    let merged = major(&tree);
    assert_eq!((merged.outcome, merged.narrowed), (Outcome::Merged, false));
    assert_eq!(contents(&tree).unwrap(), expected);
    store.set_space(SpaceOptions::default().limit_bytes(Some(1)));
    assert_eq!(major(&tree).outcome, Outcome::Merged, "off: every merge runs");
    assert_eq!(store.space().granted_bytes, 0);
}

/// Proves C-59: where the whole does not fit a part of it is done; part after part leaves the same contents and a
/// tree in which less is used.
#[test]
fn a_merge_that_does_not_fit_is_done_in_parts() {
    let (store, tree) = open(admission());
    for round in 0..4 {
        for number in 0..400_u64 {
            let value: Vec<u8> = (0..40).map(|n| (number * 31 + round * 17 + n) as u8).collect();
            tree.insert(format!("{number:05}"), value, at(1 + round * 400 + number)).unwrap();
        }
        flush(&tree);
    }
    tree.set_gc_watermark(at(10_000));
    let expected = contents(&tree).unwrap();
    let before = store.space().used_bytes;
    store.set_space(admission().limit_bytes(Some(before + before * 2 / 3)));
    let mut narrowed = 0;
    for _ in 0..40 {
        let done = major(&tree);
        match done.outcome {
            Outcome::Merged => narrowed += u64::from(done.narrowed),
            other => panic!("{other:?} with {:?}", store.space()),
        }
        assert_eq!(contents(&tree).unwrap(), expected);
        if !done.narrowed {
            break;
        }
    }
    assert!(narrowed > 0, "the whole did not fit");
    assert_eq!(store.space().narrowed, narrowed);
    let space = store.space();
    assert!(space.used_bytes < before, "{space:?}, before {before}");
    assert_eq!(tree.stats().levels.last().unwrap().runs, 1);
}

/// Proves C-59, C-20: a merge of a level into the next one, for which there is no room, is done stripe by stripe, each with all
/// that lies in it of both levels; what is read is the same after each. Fault: compaction W-18.
#[test]
fn a_merge_over_levels_is_done_in_stripes() {
    let (store, tree) = open(SpaceOptions::default());
    fill(&tree);
    assert_eq!(major(&tree).outcome, Outcome::Merged);
    let (above, below) = (Level::new(5), Level::new(6));
    // Newer values, and a tombstone, in tables that follow each other.
    for stripe in 0..3_u64 {
        for number in 0..100 {
            let key = format!("{:05}", stripe * 33_000 + number * 40);
            tree.insert(key, [stripe as u8; 60], at(10_000 + stripe * 200 + number)).unwrap();
        }
        tree.remove(format!("{:05}", stripe * 33_000), at(10_100 + stripe * 200)).unwrap();
        flush(&tree);
    }
    let down = MoveDown { from: Level::new(0), to: above };
    assert_eq!(tree.compact(&down, &CompactOptions::default()).unwrap().outcome, Outcome::Moved);
    tree.set_gc_watermark(at(20_000));
    let expected = contents(&tree).unwrap();
    let tables = |level: Level| tree.stats().levels.iter().find(|it| it.level == level).unwrap().tables;
    assert!(tables(above) >= 3 && tables(below) > 3, "{} over {}", tables(above), tables(below));
    let used = store.space().used_bytes;
    store.set_space(admission().limit_bytes(Some(used + used * 3 / 5)));
    let pull = PullDown { from: above, to: below };
    let mut narrowed = 0;
    while tables(above) > 0 {
        let report = tree.compact(&pull, &CompactOptions::default()).unwrap();
        match report.outcome {
            Outcome::Merged => narrowed += u64::from(report.narrowed),
            // Stripes put together what they take of the level below: the last of them may be too large.
            Outcome::Refused(Shortage::Quota) if narrowed >= 3 => store.set_space(admission()),
            other => panic!("{other:?} with {:?}", store.space()),
        }
        assert_eq!(contents(&tree).unwrap(), expected);
    }
    assert_eq!(store.space().narrowed, narrowed);
    assert_eq!((tree.stats().read_amplification(), store.space().granted_bytes), (1, 0));
}

/// Proves C-59, C-123: what somebody asks for as a whole, and may be done slice by slice, is not done in parts: the tables of
/// one run would be merged pair by pair for ever.
#[test]
fn what_is_asked_for_as_a_whole_goes_slice_by_slice() {
    let (store, tree) = open(SpaceOptions::default());
    let expected = fill(&tree);
    assert_eq!(major(&tree).outcome, Outcome::Merged);
    let level = tree.stats().levels.last().unwrap().clone();
    assert!(level.runs == 1 && level.tables > 3, "{level:?}");
    let room = store.space().used_bytes * 5 / 3;
    store.set_space(admission().limit_bytes(Some(room)));
    let part = major(&tree);
    assert!(part.narrowed, "there is room for a part: {part:?} {level:?}");
    let tight = admission().tight(true).slice_min_bytes(8 << 10).slice_max_bytes(Some(24 << 10));
    store.set_space(tight.limit_bytes(Some(room)));
    let report = major(&tree);
    assert_eq!((report.outcome, report.narrowed), (Outcome::Sliced, false), "{report:?}");
    assert_eq!(report.sliced.unwrap().remaining_bytes, 0);
    assert_eq!(contents(&tree).unwrap(), expected);
    assert_eq!((store.space().narrowed, store.space().granted_bytes), (1, 0));
}

/// Proves C-52: what a merge has replaced and a slow thread has not removed yet is no reason to refuse the next one.
#[test]
fn what_waits_to_be_removed_makes_room() {
    let reclaim = ReclaimOptions { thread: Some(true), files_per_s: 1, ..ReclaimOptions::default() };
    let open = |fs: Arc<dyn Fs>| {
        let store = StoreOptions::new("/db").fs(fs).space(admission()).reclaim(reclaim);
        let store = Store::open(store).unwrap();
        let options = TreeOptions::in_store(StoreOptions::new("/db")).tables(small_tables());
        let tree = store.tree(TreeId::new(1), &options.table_target_bytes(40_000)).unwrap();
        (store, tree)
    };
    let ample = MemFs::with_capacity(1 << 30);
    let (_, tree) = open(Arc::new(ample.clone()));
    fill(&tree);
    let taken = (1 << 30) - ample.available_space(Path::new("/")).unwrap().unwrap();
    // Room for one merge and a little more.
    let free = tree.store().space().used_bytes * 6 / 5;
    let (store, tree) = open(Arc::new(MemFs::with_capacity(taken + free)));
    let expected = fill(&tree);
    for _ in 0..10 {
        let report = major(&tree);
        assert_eq!((report.outcome, report.narrowed), (Outcome::Merged, false), "{report:?}");
    }
    assert_eq!(store.space().refused, 0);
    assert_eq!(contents(&tree).unwrap(), expected);
}

/// Proves C-57: the reserve is for merges that are known to give space back.
/// Fault: compaction W-17.
#[test]
fn the_reserve_is_for_what_gives_space_back() {
    let memory = Arc::new(MemFs::with_capacity(4 << 20));
    let (store, tree) = open_on(memory, admission());
    fill(&tree);
    let (used, free) = (store.space().used_bytes, store.space().available_bytes);
    assert!(used < free);
    store.set_space(admission().reserve_min_bytes(free));
    assert_eq!(major(&tree).outcome, Outcome::Refused(Shortage::Reserve));
    tree.remove("00001", at(9_000)).unwrap();
    flush(&tree);
    assert_eq!(
        major(&tree).outcome,
        Outcome::Refused(Shortage::Reserve),
        "readers may ask for what it hides"
    );
    tree.set_gc_watermark(at(9_001));
    assert_eq!(major(&tree).outcome, Outcome::Merged);
}

/// Proves C-51: what moves or drops tables asks for no room.
#[test]
fn moves_and_drops_need_no_room() {
    let (store, tree) = open(admission().limit_bytes(Some(0)));
    for number in 0..100 {
        tree.insert(format!("{number:03}"), [7; 40], at(number)).unwrap();
    }
    flush(&tree);
    let down = MoveDown { from: Level::new(0), to: Level::new(3) };
    assert_eq!(tree.compact(&down, &CompactOptions::default()).unwrap().outcome, Outcome::Moved);
    tree.remove_range::<&str>(.., at(100)).unwrap();
    flush(&tree);
    tree.set_gc_watermark(at(101));
    let dropped = tree.compact(&DropRange::default(), &CompactOptions::default()).unwrap();
    assert_eq!((dropped.outcome, dropped.tables_in), (Outcome::Dropped, 2));
    assert_eq!(store.space().refused, 0);
}

/// Proves C-56: a volume that cannot be asked, or does not answer, counts as one with room.
#[test]
fn a_volume_that_does_not_answer_is_not_full() {
    for control in [Control::silent(), Control::blind()] {
        let fs = WrapFs { inner: Arc::new(MemFs::with_capacity(2 << 20)), control: Arc::new(control) };
        let (store, tree) = open_on(Arc::new(fs), admission().reserve_min_bytes(4 << 20));
        fill(&tree);
        assert_eq!(store.space().available_bytes, u64::MAX - store.space().used_bytes);
        assert_eq!(major(&tree).outcome, Outcome::Merged);
    }
}

/// Proves D-121: figures about tables and space are known; no file or folder is opened, listed or asked for them.
/// Fault: durability W-44. Fault: engine W-33.
#[test]
fn figures_are_told_without_asking_a_file() {
    let control: Arc<Control> = Arc::default();
    let fs = WrapFs { inner: Arc::new(MemFs::with_capacity(4 << 20)), control: control.clone() };
    let (store, tree) = open_on(Arc::new(fs), admission());
    fill(&tree);
    let looks = control.looks();
    assert!(looks > TABLES);
    for _ in 0..3 {
        assert!(tree.stats().tables() as u64 >= TABLES);
        assert!(store.space().available_bytes > 0);
        assert!(store.storage_stats().unwrap().space.used_bytes > 0);
        assert_eq!(control.looks(), looks);
    }
}

/// Proves C-61: what one merge was granted is not granted to another until it ends.
#[test]
fn merges_at_once_share_the_room() {
    let control: Arc<Control> = Arc::default();
    let fs = WrapFs { inner: Arc::new(MemFs::new()), control: control.clone() };
    let (store, first) = open_on(Arc::new(fs), admission());
    let options = TreeOptions::in_store(StoreOptions::new("/db")).tables(small_tables());
    let second = store.tree(TreeId::new(2), &options).unwrap();
    fill(&first);
    fill(&second);
    let before = store.space();
    // Room for the larger one, and for no part of the other.
    let limit = before.used_bytes + before.full_compaction_bytes + 10_000;
    store.set_space(admission().limit_bytes(Some(limit)));
    // Of the first merge; one that is granted room by mistake comes to its end.
    control.hang_one();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| major(&first));
        control.wait_for_a_sync();
        let report = store.space();
        let other = second.compact(&Leveled::default(), &CompactOptions::default());
        control.release();
        assert_eq!(running.join().unwrap().outcome, Outcome::Merged);
        assert_eq!(report.status, SpaceStatus::CompactionInProgress);
        assert_eq!(report.granted_bytes, before.full_compaction_bytes);
        let other = other.unwrap();
        assert!(matches!(other.outcome, Outcome::Refused(Shortage::Quota)), "{other:?}");
    });
    assert_eq!(store.space().granted_bytes, 0);
    assert!(major(&second).did_work());
    assert_ne!(second.view().before(), SeqNo::ZERO);
}
