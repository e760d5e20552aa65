//! A disk that is full after every possible byte of a flush, a compaction, an append to the manifest and a rotation,
//! and then has room again: nothing is left behind, the next attempt succeeds, and nobody has to reopen anything.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{collections::BTreeSet, path::Path, path::PathBuf, sync::Arc};

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, Outcome, Reader, Tree, TreeOptions};
use lsm_fs::Fs;
use lsm_testkit::sim::{SimConfig, SimFs, Strategy};
use lsm_types::{Error, ErrorKind};

const FEW: Strategy =
    Strategy { survivors: false, torn_sectors: 1, exhaustive: 0, random: 1, singles: 2, seed: 8 };

fn options(fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db")
        .store(|store| {
            store.fs(fs).manifest_rotate_min(700).manifest_keep_generations(1).file_id_block(5_000)
        })
        .tables(small_tables())
        .table_target_bytes(2_000)
}

struct World {
    fs: SimFs,
    tree: Tree,
    next: u64,
}

impl World {
    fn new() -> Self {
        let fs = SimFs::new(SimConfig::default());
        let tree = Tree::open(options(&fs)).unwrap();
        Self { fs, tree, next: 1 }
    }

    fn fill(&mut self, count: u64) {
        for _ in 0..count {
            self.tree.insert(format!("key-{:03}", self.next * 7 % 40), [b'v'; 40], at(self.next)).unwrap();
            self.next += 1;
        }
        self.tree.seal(None);
    }

    fn flush(&self) -> Result<(), Error> {
        self.tree.flush(&FlushOptions::default()).map(drop)
    }

    fn compact(&self) -> Result<(), Error> {
        let strategy = Leveled { l0_threshold: 2, table_target_bytes: 2_000, ..Leveled::default() };
        self.tree.set_gc_watermark(at(self.next));
        while self.tree.compact(&strategy, &CompactOptions::default())?.outcome != Outcome::Idle {}
        Ok(())
    }

    /// A full disk is an error of its kind, and leaves no file and no byte more than there were.
    #[track_caller]
    fn check_refused(&self, outcome: &Result<(), Error>, before: &BTreeSet<(PathBuf, usize)>, budget: u64) {
        let error = outcome.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error} ({error:?})");
        if budget.is_multiple_of(16) {
            assert_eq!(&self.files(), before);
        }
    }

    fn files(&self) -> BTreeSet<(PathBuf, usize)> {
        self.fs.files().into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
    }

    /// What is on disk is what the tree names, and opens after a crash.
    fn check(&self, crash: bool) {
        let files = self.fs.read_dir(Path::new("/db/tables")).unwrap();
        assert_eq!(files.len(), self.tree.stats().tables(), "{files:?}");
        assert!(self.fs.read_dir(Path::new("/db/tmp")).unwrap().is_empty());
        // The generation in use and one before it, two copies each.
        let manifests =
            self.fs.files().into_keys().filter(|path| path.to_string_lossy().contains("MANIFEST"));
        assert!(manifests.count() <= 4);
        if crash {
            let count = self.tree.count().unwrap();
            for (id, image) in self.fs.images(self.fs.len(), &FEW) {
                let tree = Tree::open(options(&image)).unwrap();
                assert_eq!(tree.count().unwrap(), count, "{id}");
            }
        }
    }
}

/// Proves D-17, D-18, C-165. Fault: durability W-4, W-24.
#[test]
fn a_flush_on_a_disk_that_is_full_after_any_byte() {
    let mut world = World::new();
    world.fill(8);
    world.flush().unwrap();
    world.fill(8);
    let before = world.files();
    let mut refused = 0;
    for budget in 0.. {
        world.fs.set_budget(Some(budget));
        let outcome = world.flush();
        world.fs.set_budget(None);
        if outcome.is_ok() {
            break;
        }
        world.check_refused(&outcome, &before, budget);
        refused += 1;
    }
    assert_eq!(world.files().len(), before.len() + 1, "nothing but the new table");
    assert!(refused > 1_000, "{refused}");
    world.check(true);
}

/// Proves D-18, C-165. Fault: durability W-24. Fault: compaction W-13.
#[test]
fn a_compaction_on_a_disk_that_is_full_after_any_byte() {
    let mut world = World::new();
    for _ in 0..3 {
        world.fill(5);
        world.flush().unwrap();
    }
    let before = world.files();
    let mut refused = 0;
    for budget in 0.. {
        world.fs.set_budget(Some(budget));
        let outcome = world.compact();
        world.fs.set_budget(None);
        if outcome.is_ok() {
            break;
        }
        world.check_refused(&outcome, &before, budget);
        refused += 1;
    }
    assert!(refused > 1_000, "{refused}");
    assert_eq!(world.tree.count().unwrap(), 15);
    world.check(true);
}

/// Proves D-41: the first edit past the size makes a rotation due; wherever the disk is full, the edit counts, the
/// attempt leaves nothing, and a later one works. Fault: durability W-23.
#[test]
fn a_rotation_on_a_disk_that_is_full_after_any_byte() {
    let (mut refused, mut put_off) = (0, 0);
    let mut world = World::new();
    for step in 0..400 {
        let budget = step * 25;
        world.fill(2);
        let generations = |world: &World| {
            let names = world.files().into_iter().map(|(path, _)| path.to_string_lossy().into_owned());
            names.filter(|name| name.contains("MANIFEST")).max()
        };
        world.fs.set_budget(Some(budget));
        let outcome = world.flush();
        world.fs.set_budget(None);
        if outcome.is_err() {
            refused += 1;
            world.flush().unwrap();
        } else {
            let newest = generations(&world);
            world.fill(2);
            world.flush().unwrap();
            put_off += u64::from(generations(&world) != newest);
        }
        if step % 4 == 3 {
            world.compact().unwrap();
        }
        world.check(step % 150 == 0);
    }
    assert!(refused > 50 && put_off > 8, "{refused} {put_off}");
}
