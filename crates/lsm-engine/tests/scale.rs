//! Shapes that are large in one dimension: many runs, many tables.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::sync::Arc;

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, Outcome, Reader, Tree, TreeOptions};
use lsm_fs::MemFs;

fn open(memory: &Arc<MemFs>, target_bytes: u64) -> Tree {
    let options = TreeOptions::new("/db")
        .store(|store| store.fs(memory.clone()))
        .tables(small_tables())
        .table_target_bytes(target_bytes);
    Tree::open(options).unwrap()
}

/// Proves D-35, E-65.
#[test]
fn three_hundred_runs_in_level_0_are_read_reopened_and_compacted() {
    let memory = Arc::new(MemFs::new());
    let tree = open(&memory, 1 << 20);
    for round in 0..300_u64 {
        tree.insert("a", round.to_be_bytes(), at(2 * round)).unwrap();
        tree.insert(format!("key-{round:03}"), "x", at(2 * round + 1)).unwrap();
        tree.insert("z", round.to_be_bytes(), at(2 * round + 1)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    assert_eq!(tree.stats().read_amplification(), 300);
    tree.close().unwrap();
    let tree = open(&memory, 1 << 20);
    assert_eq!(tree.stats().read_amplification(), 300);
    assert_eq!(tree.get("a").unwrap().unwrap(), &299_u64.to_be_bytes());
    assert_eq!(tree.view_at(at(101)).unwrap().get("a").unwrap().unwrap(), &50_u64.to_be_bytes());
    assert_eq!(tree.count().unwrap(), 302);
    tree.set_gc_watermark(at(600));
    let strategy = Leveled::default();
    while tree.compact(&strategy, &CompactOptions::default()).unwrap().outcome != Outcome::Idle {}
    assert_eq!(tree.stats().read_amplification(), 1);
    assert_eq!(tree.count().unwrap(), 302);
}

/// Proves C-95, E-66.
#[test]
fn two_thousand_tables_in_one_level_are_read_and_reopened() {
    let memory = Arc::new(MemFs::new());
    let tree = open(&memory, 1);
    for number in 0..2_000_u64 {
        tree.insert(format!("key-{number:05}"), number.to_be_bytes(), at(number)).unwrap();
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    assert_eq!(tree.stats().tables(), 2_000, "each key ends a table of one byte");
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.close().unwrap();
    let tree = open(&memory, 1);
    let stats = tree.stats();
    assert_eq!((stats.tables(), stats.read_amplification()), (2_000, 1));
    for number in (0..2_000_u64).step_by(37) {
        assert_eq!(tree.get(format!("key-{number:05}")).unwrap().unwrap(), &number.to_be_bytes());
    }
    assert_eq!(tree.iter().count(), 2_000);
    assert_eq!(tree.iter().rev().count(), 2_000);
}
