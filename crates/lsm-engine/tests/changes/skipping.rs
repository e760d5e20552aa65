//! Change scans read what changed, and say the same as those that read everything.

use std::sync::Arc;

use lsm_engine::{Change, ChangesOptions, ChangesProgress, CompactOptions, TablePolicy, Tree, TreeOptions};
use lsm_fs::MemFs;

use crate::common::{at, flush, small_tables};

fn open(tables: TablePolicy) -> Tree {
    let fs: Arc<MemFs> = Arc::default();
    Tree::open(TreeOptions::new("/db").store(|store| store.fs(fs)).tables(tables)).unwrap()
}

/// Keys with their own numbers in one level, and after them every hundredth once more.
fn fill(tree: &Tree, count: u64) {
    for n in 0..count {
        tree.insert(format!("{n:06}"), [b'v'; 60], at(n)).unwrap();
    }
    flush(tree);
    let rewritten = count / 100;
    for n in 0..rewritten {
        tree.insert(format!("{:06}", count / 2 + n), [b'w'; 60], at(count + n)).unwrap();
    }
    flush(tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
}

fn list(tree: &Tree, since: u64, options: &ChangesOptions) -> (Vec<Change>, ChangesProgress) {
    let mut changes = tree.changes_with::<&str>(at(since), .., options).unwrap();
    let found = changes.by_ref().map(Result::unwrap).collect();
    (found, changes.progress())
}

/// Proves E-139, F-101, F-104: with 1 % changed the blocks that hold it are read and no others, where the table says which
/// these are; without, all of them; the list is the same.
#[test]
fn blocks_that_did_not_change_are_passed() {
    let count = 20_000;
    for tables in [TablePolicy::default().data_block_bytes(1 << 10), small_tables()] {
        let recorded = open(tables.clone().seqno_bounds(true));
        let unrecorded = open(tables.clone());
        fill(&recorded, count);
        fill(&unrecorded, count);
        let (expected, every) = list(&unrecorded, count, &ChangesOptions::default());
        let (found, some) = list(&recorded, count, &ChangesOptions::default());
        let (careful, all) = list(&recorded, count, &ChangesOptions::default().read_everything());
        assert_eq!(expected.len() as u64, count / 100);
        assert!(found == expected && careful == expected);
        // What changed lies side by side, each with the version before it: a block more at either end than they take.
        let changed = every.block_bytes_read * 2 / 101;
        let block = every.block_bytes_read / every.blocks_read;
        assert!(some.block_bytes_read <= changed * 13 / 10 + 2 * block, "{some:?} of {every:?}");
        assert!(some.entries_skipped > count * 9 / 10 && every.entries_skipped == 0);
        assert_eq!(all.blocks_read, every.blocks_read);
        assert!(!recorded.changed_since("000000".."000100", at(count)).unwrap());
    }
}

/// Proves F-102, E-139: tables whose numbers lie outside are passed unopened, also where trees are mixed.
#[test]
fn tables_that_did_not_change_are_passed() {
    let tree = open(small_tables());
    for table in 0..10_u64 {
        for n in 0..20 {
            tree.insert(format!("{table}/{n}"), "v", at(table * 20 + n)).unwrap();
        }
        flush(&tree);
    }
    let (found, progress) = list(&tree, 190, &ChangesOptions::default());
    assert_eq!((found.len(), progress.tables_skipped), (10, 9));
    let (same, progress) = list(&tree, 190, &ChangesOptions::default().read_everything());
    assert_eq!((same, progress.tables_skipped), (found, 0));
    let mut half = tree.changes_with(at(0), "4/".."6/", &ChangesOptions::default()).unwrap();
    assert_eq!((half.by_ref().count(), half.progress().tables_skipped), (40, 0));
}
