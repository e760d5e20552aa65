//! Every operation of the file system fails once: nothing acknowledged is lost, nothing is left behind, and what can
//! be repeated succeeds when it is.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{ops::Bound, path::Path, sync::Arc};

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeOptions};
use lsm_fs::Fs;
use lsm_testkit::{
    oracle::History,
    sim::{Choice, FaultPlan, FaultRule, SimConfig, SimFs},
};
use lsm_types::{Error, ErrorClass, IoKind, IoOp, KeyOrder, SeqNo};

fn options(fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).manifest_rotate_min(500).file_id_block(3))
        .tables(small_tables())
        .table_target_bytes(1_500)
}

struct World {
    fs: SimFs,
    tree: Option<Tree>,
    history: History,
    next: u64,
    /// Everything below is durable.
    durable: SeqNo,
    /// An error said that a change may be on disk.
    in_doubt: bool,
}

impl World {
    fn new() -> Self {
        let fs = SimFs::new(SimConfig::default());
        let tree = Some(Tree::open(options(&fs)).unwrap());
        Self { fs, tree, history: History::new(), next: 1, durable: SeqNo::ZERO, in_doubt: false }
    }

    fn tree(&self) -> &Tree {
        self.tree.as_ref().unwrap()
    }

    fn fill(&mut self, round: u64) {
        for number in 0..10 {
            let key = format!("key-{:02}", (number * 7 + round * 3) % 23);
            let value = vec![b'a' + round as u8; 40];
            self.tree().insert(&key, &value, at(self.next)).unwrap();
            self.history.put(key.as_bytes(), at(self.next), &value);
            self.next += 1;
        }
        if round % 2 == 1 {
            let (lower, upper) = (format!("key-{:02}", 3 * round), format!("key-{:02}", 3 * round + 4));
            let bounds = (Bound::Included(lower.as_bytes()), Bound::Excluded(upper.as_bytes()));
            self.tree().remove_range::<&[u8]>(bounds, at(self.next)).unwrap();
            self.history.delete_range(bounds, at(self.next), &KeyOrder::bytewise());
            self.next += 1;
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.tree().seal(None);
        self.tree().flush(&FlushOptions::default())?;
        self.durable = at(self.next);
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Error> {
        let strategy = Leveled { l0_threshold: 2, table_target_bytes: 1_500, ..Leveled::default() };
        self.tree().set_gc_watermark(at(self.next));
        self.tree().compact(&strategy, &CompactOptions::default()).map(drop)
    }

    /// A step that may fail. An error that leaves the outcome open, or refuses because of an earlier one, calls for
    /// a reopening.
    fn may_fail(&mut self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            match error.kind().class() {
                ErrorClass::Fenced => self.in_doubt = true,
                ErrorClass::Io | ErrorClass::NoSpace | ErrorClass::Retry => {}
                class => panic!("{class:?}: {error} ({error:?})"),
            }
        }
        self.check_reads();
    }

    /// Whatever failed, every write so far is still there to read.
    fn check_reads(&self) {
        // The fault may wait for a read; it strikes once.
        let found = contents(self.tree()).or_else(|_| contents(self.tree())).unwrap();
        assert_eq!(found, self.history.all(SeqNo::LATEST, &KeyOrder::bytewise()));
    }

    /// No file among the tables that the tree does not name.
    fn check_no_leftovers(&self) {
        let files = self.fs.read_dir(Path::new("/db/tables")).unwrap();
        assert_eq!(files.len(), self.tree().stats().tables(), "{files:?}");
    }

    /// Without faults everything goes on; what is in memory is flushed, or lost with a process that has to restart.
    fn recover(&mut self) {
        self.fs.set_faults(FaultPlan::new());
        self.fs.set_budget(None);
        if self.in_doubt {
            drop(self.tree.take());
        } else {
            self.flush().unwrap();
            self.compact().unwrap();
            self.check_reads();
            self.check_no_leftovers();
            self.tree.take().unwrap().close().unwrap();
        }
        let tree = Tree::open(options(&self.fs)).unwrap();
        let found = contents(&tree).unwrap();
        let order = KeyOrder::bytewise();
        // A flush in doubt may have made it; nothing older than the last acknowledged one may be missing.
        let legal = (self.durable.get()..=self.next).map(|bound| self.history.all(at(bound), &order));
        assert!(legal.into_iter().any(|state| state == found), "an acknowledged write is gone");
        self.tree = Some(tree);
        self.check_no_leftovers();
        assert!(self.tree().verify().unwrap().is_clean());
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn contents(reader: &impl Reader) -> Result<Pairs, Error> {
    let owned = |(key, value): (lsm_types::Slice, lsm_types::Slice)| (key.to_vec(), value.to_vec());
    reader.iter().pairs().map(|pair| pair.map(owned)).collect()
}

/// Lets `rule(n)` strike once in a workload, for every `n` until it strikes no more; returns how often it did.
fn check_each(rule: impl Fn(u64) -> FaultRule) -> u64 {
    for nth in 0.. {
        let mut world = World::new();
        world.fill(0);
        world.flush().unwrap();
        world.fs.set_faults(FaultPlan::new().with(rule(nth)));
        for round in 1..5 {
            world.fill(round);
            let flushed = world.flush();
            world.may_fail(flushed);
            let compacted = world.compact();
            world.may_fail(compacted);
        }
        let struck = world.fs.faults_struck();
        world.recover();
        if struck == 0 {
            return nth;
        }
    }
    unreachable!()
}

/// Proves D-17, D-18, D-19, C-164, C-165, I-2.
#[test]
fn writes_that_find_no_space_leave_nothing_behind() {
    let struck = check_each(|nth| FaultRule::fail(IoKind::NoSpace).on(IoOp::Write).nth(nth));
    assert!(struck > 20, "only {struck}");
    check_each(|nth| FaultRule::short(100, IoKind::NoSpace).on(IoOp::Write).nth(nth));
}

/// Proves D-15, D-16.
#[test]
fn syncs_that_fail_and_drop_what_was_dirty_lose_nothing_acknowledged() {
    let struck = check_each(|nth| FaultRule::lose(IoKind::Other).on(IoOp::Sync).nth(nth));
    assert!(struck > 20, "only {struck}");
    check_each(|nth| FaultRule::fail(IoKind::Other).on(IoOp::SyncDir).nth(nth));
}

/// Proves C-164.
#[test]
fn creations_and_renames_that_fail_can_be_repeated() {
    check_each(|nth| FaultRule::fail(IoKind::Other).on(IoOp::Open).nth(nth));
    check_each(|nth| FaultRule::fail(IoKind::Other).on(IoOp::Rename).nth(nth));
    check_each(|nth| FaultRule::fail_after(IoKind::Other).on(IoOp::Rename).nth(nth));
}

/// Proves E-211.
#[test]
fn reads_that_fail_are_errors_of_that_read_alone() {
    let mut world = World::new();
    world.fill(0);
    world.flush().unwrap();
    let cold = TreeOptions::new("/db").store(|store| {
        let fs: Arc<dyn Fs> = Arc::new(world.fs.clone());
        store.fs(fs).cache(lsm_engine::BlockCache::new(0))
    });
    world.tree.take().unwrap().close().unwrap();
    let tree = Tree::open(cold).unwrap();
    tree.get("key-00").unwrap();
    world.fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(IoOp::Read).nth(0)));
    assert!(tree.get("key-00").is_err());
    assert_eq!(tree.get("key-00").unwrap().as_deref(), world.history.get(b"key-00", SeqNo::LATEST));
    world.fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(IoOp::Read).nth(0)));
    let mut scan = tree.iter();
    let failed = (0..100).find_map(|_| scan.next().and_then(Result::err));
    assert!(failed.is_some() && scan.next().is_none(), "an error ends a scan, and is not taken for its end");
}

/// Proves D-18.
#[test]
fn a_hundred_flushes_on_a_full_disk_leave_no_byte() {
    let mut world = World::new();
    world.fill(0);
    world.flush().unwrap();
    let before = world.fs.files().keys().cloned().collect::<Vec<_>>();
    world.fill(1);
    world.fs.set_budget(Some(200));
    for _ in 0..100 {
        assert!(world.flush().is_err());
    }
    let after = world.fs.files().keys().cloned().collect::<Vec<_>>();
    assert_eq!(before, after);
    world.recover();
}

/// Proves D-28.
#[test]
fn a_folder_whose_name_was_dropped_by_a_failed_sync_is_made_anew() {
    for nth in 0..5 {
        let fs = SimFs::new(SimConfig::DEFAULT);
        fs.set_faults(FaultPlan::new().with(FaultRule::lose(IoKind::Other).on(IoOp::SyncDir).nth(nth)));
        let options = || TreeOptions::new("/data/db").store(|store| store.fs(Arc::new(fs.clone())));
        let tree = Tree::open(options()).or_else(|_| Tree::open(options())).unwrap();
        tree.insert("key", "value", at(1)).unwrap();
        tree.seal(None);
        if tree.flush(&FlushOptions::default()).is_err() {
            tree.flush(&FlushOptions::default()).unwrap();
        }
        assert_eq!(fs.faults_struck(), 1);
        let image = fs.image(fs.len(), Choice::Floor);
        let reopened =
            Tree::open(TreeOptions::new("/data/db").store(|store| store.fs(Arc::new(image)))).unwrap();
        assert_eq!(reopened.get("key").unwrap().unwrap(), b"value", "directory sync {nth}");
    }
}

/// Proves D-15.
#[test]
fn syncs_that_fail_and_throw_pages_away_lose_nothing_acknowledged() {
    let struck = check_each(|nth| FaultRule::drop_dirty(IoKind::Other).on(IoOp::Sync).nth(nth));
    assert!(struck > 20, "only {struck}");
    check_each(|nth| FaultRule::lose(IoKind::Other).on(IoOp::SyncDir).nth(nth));
}

/// Proves D-18.
#[test]
fn space_that_is_missed_only_at_the_sync_is_missed_cleanly() {
    for bytes in (0..9_000).step_by(450) {
        let mut world = World::new();
        world.fill(0);
        world.flush().unwrap();
        world.fs.set_late_budget(Some(bytes));
        for round in 1..4 {
            world.fill(round);
            let flushed = world.flush();
            world.may_fail(flushed);
            let compacted = world.compact();
            world.may_fail(compacted);
        }
        world.fs.set_late_budget(None);
        world.recover();
    }
}

/// A table that reads wrong bytes says so; nothing is answered from them, and the next read is right.
///
/// Proves D-20.
#[test]
fn wrong_bytes_from_the_disk_are_an_error_or_no_difference() {
    let mut world = World::new();
    world.fill(0);
    world.flush().unwrap();
    world.tree.take().unwrap().close().unwrap();
    let expected = world.history.all(SeqNo::LATEST, &KeyOrder::bytewise());
    let (path, bytes) =
        world.fs.files().into_iter().find(|(path, _)| path.ends_with("00000000000000000000.sst")).unwrap();
    let mut failed = 0;
    let used = (0_u64..).zip(&bytes).filter(|(_, byte)| **byte != 0).map(|(offset, _)| offset);
    for offset in used.step_by(23) {
        let cold = TreeOptions::new("/db").store(|store| store.fs(Arc::new(world.fs.clone())));
        let tree = Tree::open(cold).unwrap();
        let glob = path.to_str().unwrap();
        world.fs.set_faults(FaultPlan::new().with(FaultRule::corrupt(offset, 0x10).path(glob)));
        match contents(&tree) {
            Ok(found) => assert_eq!(found, expected, "byte {offset}"),
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind().class(), ErrorClass::Corrupt, "byte {offset}: {error}");
            }
        }
        world.fs.lift_faults();
        assert_eq!(contents(&tree).unwrap(), expected, "byte {offset}");
    }
    assert!(failed > 3, "only {failed} reads noticed");
}
