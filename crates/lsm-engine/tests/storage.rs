//! What lies on the disk: figures against a walk over the directory, after every step of a life; who keeps space; and what
//! frees it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{path::Path, sync::Arc};

use common::{contents, flush, small_tables};
use lsm_compaction_planner::{Level, Leveled, MoveDown};
use lsm_engine::{
    CheckpointOptions, CompactOptions, DeletionHold, Outcome, Reader, ReliefKind, SpaceOptions, Store,
    StoreOptions, Tree, TreeOptions, View, VlogPolicy,
};
use lsm_fs::{EntryKind, Fs, MemFs, OpenOptions};
use lsm_testkit::dice::Dice;
use lsm_types::{ReadAt, SeqNo, TreeId};
use proptest::prelude::*;

const PAGE: u64 = 4_096;

/// Bytes below `folder`, those of holes in front of tables and value logs not counted.
fn walk(fs: &MemFs, folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs.read_dir(folder).unwrap() {
        let path = folder.join(&entry.name);
        // Who has it open is written there.
        if entry.name == "LOCK" {
            continue;
        }
        if entry.kind == EntryKind::Dir {
            bytes += walk(fs, &path);
            continue;
        }
        let len = fs.metadata(&path).unwrap().len;
        let gives_back = path.extension().is_some_and(|ending| ending == "sst" || ending == "blob");
        bytes += len - if gives_back { hole(fs, &path, len) } else { 0 };
    }
    bytes
}

/// Bytes of the hole in front of a table or a value log: each of them has one stretch of zeros, the gap between copies of
/// its metadata; where there are two, the first one was given back.
fn hole(fs: &MemFs, path: &Path, len: u64) -> u64 {
    let file = fs.open(path, &OpenOptions::READ).unwrap();
    let mut stretches: Vec<u64> = vec![0];
    for page in 0..len / PAGE {
        let mut read = vec![0_u8; PAGE as usize];
        file.read_exact_at(page * PAGE, &mut read).unwrap();
        match (read.iter().all(|byte| *byte == 0), stretches.last_mut().unwrap()) {
            (true, last) => *last += 1,
            (false, 0) => {}
            (false, _) => stretches.push(0),
        }
    }
    stretches.retain(|pages| *pages > 0);
    if stretches.len() > 1 { stretches[0] * PAGE } else { 0 }
}

fn tight() -> SpaceOptions {
    let options = SpaceOptions::default().admission(true).reserve_min_bytes(0).tight(true);
    options.slice_min_bytes(8 << 10).slice_max_bytes(Some(24 << 10))
}

fn open(fs: &Arc<MemFs>, separates: bool) -> (Store, Tree) {
    open_with(fs, separates, 120_000)
}

fn open_with(fs: &Arc<MemFs>, separates: bool, table_target_bytes: u64) -> (Store, Tree) {
    let store = StoreOptions::new("/db").fs(fs.clone()).manifest_rotate_min(6_000);
    let store = Store::open(store).unwrap();
    let options = TreeOptions::in_store(StoreOptions::new("/db"))
        .tables(small_tables().data_block_bytes(1_024))
        .table_target_bytes(table_target_bytes);
    let policy = VlogPolicy { thresholds: vec![150], ..VlogPolicy::default() };
    let options = if separates { options.separation(policy) } else { options };
    let tree = store.tree(TreeId::new(1), &options).unwrap();
    (store, tree)
}

fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

struct Life {
    fs: Arc<MemFs>,
    open: Option<(Store, Tree)>,
    separates: bool,
    dice: Dice,
    next: u64,
    views: Vec<View>,
    holds: Vec<DeletionHold>,
    copies: u64,
}

impl Life {
    fn new(separates: bool, seed: u64) -> Self {
        let fs = Arc::new(MemFs::new());
        let open = Some(open(&fs, separates));
        let (views, holds) = (Vec::new(), Vec::new());
        Self { fs, open, separates, dice: Dice::new(seed), next: 1, views, holds, copies: 0 }
    }

    fn tree(&self) -> Tree {
        self.open.as_ref().unwrap().1.clone()
    }

    fn store(&self) -> Store {
        self.open.as_ref().unwrap().0.clone()
    }

    fn fill(&mut self) {
        let tree = self.tree();
        for _ in 0..300 {
            let key = format!("key-{:05}", self.dice.roll() % 900);
            let words = 10 + self.dice.roll() % 30;
            let value: Vec<u8> = (0..words).flat_map(|_| self.dice.roll().to_le_bytes()).collect();
            tree.insert(key, value, at(self.next)).unwrap();
            self.next += 1;
        }
        flush(&tree);
    }

    fn step(&mut self, step: u8) {
        let (tree, store) = (self.tree(), self.store());
        match step % 13 {
            0..=2 => self.fill(),
            3 => {
                let from = self.dice.roll() % 800;
                let (from, to) = (format!("key-{from:05}"), format!("key-{:05}", from + 100));
                tree.remove_range(from..to, at(self.next)).unwrap();
                self.next += 1;
                flush(&tree);
            }
            4 => tree.set_gc_watermark(at(self.next)),
            5 => {
                store.set_space(SpaceOptions::default());
                tree.major_compact(&CompactOptions::default()).unwrap();
            }
            6 | 7 => {
                // There is room for a few slices of it, for a part, or for all.
                let extra = 60_000 + self.dice.roll() % 400_000;
                store.set_space(tight().limit_bytes(Some(store.space().used_bytes + extra)));
                tree.major_compact(&CompactOptions::default()).unwrap();
            }
            8 => self.views.push(tree.view()),
            9 => self.views.clear(),
            10 => {
                let path = format!("/copy-{}", self.copies);
                self.copies += 1;
                tree.checkpoint(Path::new(&path), &CheckpointOptions::default()).unwrap();
            }
            11 => match self.holds.pop() {
                Some(_) => {}
                None => self.holds.push(store.hold_deletions()),
            },
            // A file with another name and a hole in it is known to have the hole only until it is closed.
            _ if self.copies == 0 => {
                self.views.clear();
                self.holds.clear();
                drop((tree, store, self.open.take()));
                self.open = Some(open(&self.fs, self.separates));
            }
            _ => {}
        }
    }

    fn check(&self) {
        let (tree, store) = (self.tree(), self.store());
        let stats = store.storage_stats().unwrap();
        assert_eq!(stats.disk_bytes(), walk(&self.fs, Path::new("/db")), "{stats:?}");
        assert_eq!(stats.deletion_holds, self.holds.len());
        let [of_tree] = stats.trees[..] else { panic!("one tree is open") };
        assert_eq!(
            (of_tree.table_bytes, of_tree.value_log_bytes),
            (stats.table_bytes, stats.value_log_bytes)
        );
        assert_eq!(of_tree, tree.storage().unwrap());
        assert_eq!(of_tree.entries, tree.stats().levels.iter().map(|level| level.entries).sum::<u64>());
        assert!(of_tree.reclaimable_bytes <= stats.table_bytes + stats.value_log_bytes, "{stats:?}");
        assert_eq!(of_tree.average_key_bytes.is_some(), of_tree.entries > 0);
        // Who reads what is not needed is named, and nobody else is.
        assert!(stats.holders.is_empty() || !self.views.is_empty() || stats.pinned_bytes > 0, "{stats:?}");
        let most = stats.holders.iter().map(|holder| holder.bytes).max().unwrap_or_default();
        assert!(most <= stats.pinned_bytes, "{stats:?}");
        if self.holds.is_empty() && self.views.is_empty() {
            assert_eq!((stats.pinned_bytes, stats.holders.len()), (0, 0), "{stats:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Proves D-121: after every step of a life the figures are what lies in the directory, with value logs, tables of
    /// which a part was given back, readers, held deletions, checkpoints that share files, and reopening.
    #[test]
    fn figures_are_what_lies_in_the_directory(
        separates: bool, seed: u64, steps in proptest::collection::vec(any::<u8>(), 4..24),
    ) {
        let mut life = Life::new(separates, seed);
        life.fill();
        for step in steps {
            life.step(step);
            life.check();
        }
        let expected = contents(&life.tree()).unwrap();
        life.views.clear();
        life.holds.clear();
        life.check();
        prop_assert_eq!(contents(&life.tree()).unwrap(), expected);
    }
}

/// Proves D-121: where the front of a table goes after the table as a whole is obsolete, because deletions were held back
/// when slices had done with it and a reader came meanwhile, those bytes are pinned no more.
#[test]
fn a_front_given_back_late_is_not_counted() {
    let mut life = Life::new(false, 1_072_649_003_374);
    life.fill();
    let (hold, slices, view, merge) = (11, 6, 8, 5);
    for step in [hold, slices, view, merge] {
        life.step(step);
        life.check();
    }
    let before = life.store().storage_stats().unwrap().pinned_bytes;
    life.step(hold);
    life.check();
    assert!(life.store().storage_stats().unwrap().pinned_bytes < before);
}

/// Proves D-121, C-177: who keeps what was replaced is told with its bytes, for as long as it does.
#[test]
fn readers_that_hold_space_are_named() {
    let mut life = Life::new(true, 3);
    life.fill();
    let tree = life.tree();
    let early = tree.view();
    assert_eq!(life.store().storage_stats().unwrap().holders, [], "it reads the newest state");
    life.fill();
    let both = tree.view();
    tree.set_gc_watermark(at(life.next));
    let before = life.store().storage_stats().unwrap();
    assert_eq!((before.pinned_bytes, before.holders.len()), (0, 0), "nothing is gone that they need");
    tree.major_compact(&CompactOptions::default()).unwrap();
    let stats = life.store().storage_stats().unwrap();
    let [first, second] = stats.holders[..] else { panic!("{stats:?}") };
    assert_eq!((first.tables, second.tables), (1, 2));
    assert_eq!((second.tree, second.bytes), (TreeId::new(1), stats.pinned_bytes));
    assert!(first.bytes < second.bytes && first.age >= second.age, "{stats:?}");
    assert_eq!(stats.disk_bytes(), walk(&life.fs, Path::new("/db")));
    drop(both);
    let stats = life.store().storage_stats().unwrap();
    let [left] = stats.holders[..] else { panic!("{stats:?}") };
    assert_eq!((left.tables, left.bytes), (1, stats.pinned_bytes));
    assert_eq!(early.count().unwrap() > 0, left.bytes > 0);
    drop(early);
    let stats = life.store().storage_stats().unwrap();
    assert_eq!((stats.pinned_bytes, stats.pending_bytes, stats.holders.len()), (0, 0, 0));
}

const KEYS: u64 = 2_000;

/// Runs of which each writes the same keys anew, in a store with so much room besides.
fn overwritten(runs: u64, space: impl Fn(u64) -> SpaceOptions) -> Life {
    let mut life = Life::new(false, 5);
    drop(life.open.take());
    life.open = Some(open_with(&life.fs, false, 1 << 20));
    let tree = life.tree();
    for run in 0..runs {
        for key in 0..KEYS {
            let value: Vec<u8> = (0..25).flat_map(|_| life.dice.roll().to_le_bytes()).collect();
            tree.insert(format!("key-{key:05}"), value, at(1 + run * KEYS + key)).unwrap();
        }
        flush(&tree);
        let down = MoveDown { from: Level::new(0), to: Level::new(6 - run as u8) };
        tree.compact(&down, &CompactOptions::default()).unwrap();
    }
    life.next = 1 + runs * KEYS;
    tree.set_gc_watermark(at(life.next));
    life.store().set_space(space(life.store().space().used_bytes));
    life
}

/// Proves C-45, C-58: what is deleted as a whole goes first, then merges that free much for little, and slices come last
/// and only where nothing else fits; it ends when enough is free.
#[test]
fn room_is_made_by_the_cheapest_steps_first() {
    // Ample: a merge does it, and no more is done than is asked for.
    let life = overwritten(3, |used| tight().limit_bytes(Some(used * 3)));
    let (tree, store) = (life.tree(), life.store());
    let expected = contents(&tree).unwrap();
    let plan = store.space_plan().unwrap();
    assert!(plan.steps.is_sorted_by_key(|step| step.kind) && plan.steps[0].fits, "{plan:?}");
    assert_eq!(plan.steps.last().unwrap().kind, ReliefKind::Slices);
    let report = store.make_room(1, &CompactOptions::default()).unwrap();
    assert_eq!(report.steps.len(), 1, "{report:?}");
    assert_eq!((report.steps[0].step.kind, report.steps[0].outcome), (ReliefKind::Merge, Outcome::Merged));
    assert!(report.freed_bytes > 0 && report.freed_bytes == report.steps[0].freed_bytes);
    let rest = store.make_room(u64::MAX, &CompactOptions::default()).unwrap();
    assert!(rest.freed_bytes > 0 && rest.left.steps.is_empty(), "{rest:?}");
    assert_eq!(tree.stats().read_amplification(), 1);
    assert_eq!(contents(&tree).unwrap(), expected);
    assert_eq!(store.make_room(u64::MAX, &CompactOptions::default()).unwrap().steps, []);
    // Tight: only slices fit.
    let life =
        overwritten(2, |used| tight().slice_max_bytes(Some(200 << 10)).limit_bytes(Some(used + 450_000)));
    let expected = contents(&life.tree()).unwrap();
    let plan = life.store().space_plan().unwrap();
    let fitting: Vec<_> = plan.steps.iter().filter(|step| step.fits).map(|step| step.kind).collect();
    assert_eq!(fitting, [ReliefKind::Slices], "{plan:?}");
    let report = life.store().make_room(u64::MAX, &CompactOptions::default()).unwrap();
    assert_eq!(report.steps[0].outcome, Outcome::Sliced, "{report:?}");
    assert!(report.freed_bytes > 50_000, "{report:?}");
    assert_eq!(contents(&life.tree()).unwrap(), expected);
    // Deleted as a whole: that alone is enough, and takes no room at all.
    let life = overwritten(2, |used| tight().limit_bytes(Some(used)));
    life.tree().remove_range::<&str>(.., at(life.next)).unwrap();
    flush(&life.tree());
    life.tree().set_gc_watermark(at(life.next + 1));
    let plan = life.store().space_plan().unwrap();
    assert_eq!((plan.steps[0].kind, plan.steps[0].transient_bytes), (ReliefKind::Drop, 0), "{plan:?}");
    let report = life.store().make_room(1, &CompactOptions::default()).unwrap();
    assert_eq!(report.steps[0].outcome, Outcome::Dropped);
    assert_eq!(report.steps.len(), 1);
}

/// Proves D-121: a reader that keeps what a step took the place of is named, and the step is not repeated for ever.
#[test]
fn a_step_that_frees_nothing_is_not_repeated() {
    let life = overwritten(3, |used| tight().limit_bytes(Some(used * 4)));
    let view = life.tree().view();
    let report = life.store().make_room(u64::MAX, &CompactOptions::default()).unwrap();
    assert_eq!(report.freed_bytes, 0, "{report:?}");
    assert!((1..=3).contains(&report.steps.len()), "{report:?}");
    let [holder] = report.left.holders[..] else { panic!("{report:?}") };
    assert_eq!(holder.tree, TreeId::new(1));
    drop(view);
    assert!(life.store().make_room(1, &CompactOptions::default()).unwrap().steps.len() <= 1);
    let idle = life.tree().compact(&Leveled::default(), &CompactOptions::default()).unwrap();
    assert!(!matches!(idle.outcome, Outcome::Refused(_)));
}
