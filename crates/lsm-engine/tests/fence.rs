//! A manifest that cannot be written: what is acknowledged survives any crash, nothing in doubt is deleted, reads and
//! writes into memory go on, and when the disk is well again everything goes on without reopening.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{path::Path, sync::Arc};

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeOptions};
use lsm_fs::Fs;
use lsm_testkit::{
    oracle::History,
    sim::{FaultPlan, FaultRule, SimConfig, SimFs, Strategy},
};
use lsm_types::{Error, ErrorKind, IoKind, IoOp, KeyOrder};
use wrap::{Control, WrapFs};

/// A few images of each crash.
const FEW: Strategy =
    Strategy { survivors: false, torn_sectors: 1, exhaustive: 0, random: 2, singles: 4, seed: 5 };

fn options(fs: Arc<dyn Fs>) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).manifest_rotate_min(900).file_id_block(64))
        .tables(small_tables())
        .table_target_bytes(1_500)
}

fn open(fs: &SimFs) -> Tree {
    Tree::open(options(Arc::new(fs.clone()))).unwrap()
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn contents(reader: &impl Reader) -> Pairs {
    let owned = |(key, value): (lsm_types::Slice, lsm_types::Slice)| (key.to_vec(), value.to_vec());
    reader.iter().pairs().map(|pair| pair.map(owned).unwrap()).collect()
}

/// A tree at work, and what it acknowledged.
struct Life {
    fs: SimFs,
    tree: Tree,
    history: History,
    next: u64,
    /// Ends of flushes: what a crash may leave is the history up to one of them.
    bounds: Vec<u64>,
    /// The last one that returned.
    durable: u64,
    in_doubt: u64,
    fenced: u64,
}

impl Life {
    fn new() -> Self {
        let fs = SimFs::new(SimConfig::default());
        let tree = open(&fs);
        // A trace that begins with the database in place.
        drop(tree);
        let fs = fs.image(fs.len(), lsm_testkit::sim::Choice::Ceiling);
        let tree = open(&fs);
        Self {
            fs,
            tree,
            history: History::new(),
            next: 1,
            bounds: vec![1],
            durable: 1,
            in_doubt: 0,
            fenced: 0,
        }
    }

    /// Writes, flushes and compacts; failures may only be those of a manifest that cannot be written.
    fn round(&mut self, round: u64) {
        for number in 0..6 {
            let key = format!("key-{:02}", (number * 5 + round * 3) % 17);
            let value = vec![b'a' + round as u8; 30];
            self.tree.insert(&key, &value, at(self.next)).unwrap();
            self.history.put(key.as_bytes(), at(self.next), &value);
            self.next += 1;
        }
        self.tree.seal(None);
        self.bounds.push(self.next);
        let flushed = self.tree.flush(&FlushOptions::default()).map(drop);
        if flushed.is_ok() {
            self.durable = self.next;
        }
        self.note(flushed);
        let strategy = Leveled { l0_threshold: 2, table_target_bytes: 1_500, ..Leveled::default() };
        self.tree.set_gc_watermark(at(self.next));
        let compacted = self.tree.compact(&strategy, &CompactOptions::default()).map(drop);
        self.note(compacted);
        assert_eq!(contents(&self.tree), self.all(self.next), "reads are as good as ever");
    }

    fn note(&mut self, outcome: Result<(), Error>) {
        match outcome.map_err(|error| (error.kind(), error)) {
            Err((ErrorKind::InstallOutcomeUnknown, _)) => self.in_doubt += 1,
            Err((ErrorKind::Fenced, _)) => self.fenced += 1,
            Ok(()) | Err((ErrorKind::Io | ErrorKind::NoSpace, _)) => {}
            Err((_, error)) => panic!("{error} ({error:?})"),
        }
    }

    fn all(&self, bound: u64) -> Pairs {
        self.history.all(at(bound), &KeyOrder::bytewise())
    }

    /// Every image of a crash right now opens, and holds what was acknowledged.
    fn check_images(&self, what: &str) {
        for (id, image) in self.fs.images(self.fs.len(), &FEW) {
            let tree = match Tree::open(options(Arc::new(image.clone()))) {
                Ok(tree) => tree,
                Err(error) => panic!("{what}, image {id}: {error} ({error:?})"),
            };
            let found = contents(&tree);
            let legal = self.bounds.iter().filter(|bound| **bound >= self.durable);
            assert!(legal.clone().any(|bound| self.all(*bound) == found), "{what}, image {id}");
            assert!(tree.verify().unwrap().is_clean(), "{what}, image {id}");
        }
    }

    /// Without the fault everything goes on in the same process, and nothing is left over.
    fn go_on(&mut self, what: &str) {
        self.fs.set_faults(FaultPlan::new());
        self.round(9);
        assert_eq!(self.durable, self.next, "{what}: a flush works again");
        let files = self.fs.read_dir(Path::new("/db/tables")).unwrap();
        assert_eq!(files.len(), self.tree.stats().tables(), "{what}: {files:?}");
        self.check_images(what);
    }
}

/// Lets the manifest fail at one place, for every n-th time it is met, once and for good.
fn check_site(op: IoOp, glob: &str, failure: fn(IoKind) -> FaultRule) -> (u64, u64) {
    let (mut in_doubt, mut fenced) = (0, 0);
    for nth in 0.. {
        let mut has_struck = false;
        for lasting in [false, true] {
            let what = format!("{op:?} of {glob}, {nth}, {}", if lasting { "for good" } else { "once" });
            let mut life = Life::new();
            life.round(0);
            let rule = failure(IoKind::Other).on(op).path(glob);
            let rule = if lasting { rule.from(nth) } else { rule.nth(nth) };
            life.fs.set_faults(FaultPlan::new().with(rule));
            for round in 1..4 {
                life.round(round);
            }
            has_struck |= life.fs.faults_struck() > 0;
            assert!(lasting || life.in_doubt + life.fenced == 0, "{what}: one failure is made good at once");
            life.check_images(&what);
            life.go_on(&what);
            (in_doubt, fenced) = (in_doubt + life.in_doubt, fenced + life.fenced);
        }
        if !has_struck {
            assert!(nth > 0, "{op:?} of {glob} was never met");
            break;
        }
    }
    (in_doubt, fenced)
}

/// Proves D-16, C-152. Fault: durability W-5, W-6.
#[test]
fn a_manifest_that_does_not_sync_fences_and_is_stated_anew() {
    let kept = check_site(IoOp::Sync, "*/MANIFEST-*", FaultRule::fail);
    let lost = check_site(IoOp::Sync, "*/MANIFEST-*", FaultRule::lose);
    assert!(kept.0 > 0 && kept.1 > 0 && lost.0 > 0 && lost.1 > 0, "{kept:?} {lost:?}");
}

/// Proves D-16, D-41. Fault: durability W-6, W-23.
#[test]
fn a_pointer_that_cannot_be_switched_is_made_good() {
    check_site(IoOp::Sync, "*/CURRENT-*", FaultRule::lose);
    check_site(IoOp::SyncDir, "/db", FaultRule::lose);
    check_site(IoOp::Rename, "*/CURRENT", FaultRule::fail);
    check_site(IoOp::Rename, "*/CURRENT", FaultRule::fail_after);
}

/// Proves D-17: a torn append that cannot be cut back is in doubt, too. Fault: compaction W-13.
#[test]
fn a_torn_append_that_cannot_be_cut_back_is_in_doubt() {
    let mut life = Life::new();
    life.round(0);
    life.fs.set_faults(
        FaultPlan::new()
            .with(FaultRule::short(20, IoKind::Other).on(IoOp::Write).path("*/MANIFEST-*").from(0))
            .with(FaultRule::fail(IoKind::Other).on(IoOp::Resize).path("*/MANIFEST-*").from(0)),
    );
    life.round(1);
    assert!(life.in_doubt == 1 && life.fenced >= 1, "{} {}", life.in_doubt, life.fenced);
    life.check_images("torn");
    life.go_on("torn");
}

/// Proves D-16: what is in doubt is not deleted by an end without a new truth; reopening decides.
#[test]
fn a_store_that_ends_in_doubt_keeps_its_files() {
    let mut life = Life::new();
    life.round(0);
    let rule = FaultRule::fail(IoKind::Other).on(IoOp::Sync).path("*/MANIFEST-*").from(0);
    life.fs.set_faults(FaultPlan::new().with(rule));
    life.round(1);
    let Life { fs, tree, .. } = life;
    let before: Vec<_> = fs.files().into_keys().collect();
    let error = tree.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(std::error::Error::source(&error).is_some(), "the cause is told");
    let after: Vec<_> = fs.files().into_keys().collect();
    assert_eq!(before, after);
    fs.set_faults(FaultPlan::new());
    let tree = open(&fs);
    assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), tree.stats().tables());
}

/// Proves D-40, C-154. Fault: durability W-31.
#[test]
fn reads_and_writes_go_on_while_a_sync_hangs() {
    let control = Arc::new(Control::default());
    let inner: Arc<dyn Fs> = Arc::new(SimFs::new(SimConfig::default()));
    let fs = WrapFs { inner, control: control.clone() };
    let tree = Tree::open(options(Arc::new(fs))).unwrap();
    let mut next = 1;
    // A flush waits once for its table, once for the folder, once for each copy of the manifest.
    for _ in 0..6 {
        tree.insert("key", "old", at(next)).unwrap();
        tree.seal(None);
        control.hang();
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| tree.flush(&FlushOptions::default()));
            control.wait_for_a_sync();
            tree.insert("key", "new", at(next + 1)).unwrap();
            assert_eq!(tree.get("key").unwrap().unwrap(), b"new");
            let view = tree.view();
            tree.insert("other", "new", at(next + 2)).unwrap();
            assert!(tree.seal(None).is_some());
            assert_eq!(view.iter().pairs().filter_map(Result::ok).count(), usize::from(next > 1) + 1);
            let hold = tree.hold(tree.view().before()).unwrap();
            assert!(tree.memtable_bytes() > 0);
            drop(hold);
            control.release();
            flush.join().unwrap().unwrap();
        });
        next += 3;
    }
    assert_eq!(tree.count().unwrap(), 2);
}
