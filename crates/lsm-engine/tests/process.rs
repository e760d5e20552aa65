//! What a store takes of its process on a real disk, descriptors and threads, is given back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::path::Path;

use common::{at, contents, flush, small_tables};
use lsm_engine::{CheckpointOptions, CompactOptions, CopyMethod, DescriptorCache, Tree, TreeOptions};
use lsm_fs::{DiskFs, Fs};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn work(path: &Path, cache: DescriptorCache) -> Tree {
    let options = TreeOptions::new(path)
        .store(|store| store.descriptors(cache))
        .tables(small_tables())
        .table_target_bytes(1_000);
    let tree = Tree::open(options).unwrap();
    for round in 0..3 {
        let first = tree.persisted().highest.map_or(1, |seqno| seqno.get() + 1);
        for number in 0..40 {
            tree.insert(format!("key-{number:03}"), vec![round; 60], at(first + number)).unwrap();
        }
        flush(&tree);
        contents(&tree).unwrap();
    }
    tree.set_gc_watermark(at(tree.persisted().highest.unwrap().get() + 1));
    let mut iterator = tree.view();
    tree.major_compact(&CompactOptions::default()).unwrap();
    contents(&iterator).unwrap();
    iterator = tree.view();
    contents(&iterator).unwrap();
    tree
}

/// Proves D-67, D-68, E-9: nothing stays open and no thread stays behind, whether closed or dropped; the files are where
/// they should be. The only test in its program: it counts what belongs to the whole process.
#[test]
fn a_store_gives_everything_back() {
    let dir = tempfile::tempdir().unwrap();
    let before = (descriptors(), threads());
    for (round, close) in [true, false, true, false].into_iter().enumerate() {
        let path = dir.path().join("db");
        let cache = if round < 2 { DescriptorCache::new(2) } else { DescriptorCache::pinned() };
        let tree = work(&path, cache);
        assert_eq!(threads(), before.1 + 1, "files were removed by a thread");
        let copy = dir.path().join(format!("copy-{round}"));
        let info = tree.checkpoint(&copy, &CheckpointOptions::default()).unwrap();
        assert_eq!(info.bytes_by(CopyMethod::Copied), 0, "on one disk nothing is copied");
        let expected = contents(&tree).unwrap();
        let closed = tree.close_handle();
        let tables = tree.stats().tables();
        if close {
            tree.close().unwrap();
        } else {
            drop(tree);
        }
        closed.wait_closed();
        assert_eq!((descriptors(), threads()), before, "round {round}");
        assert_eq!(DiskFs::new().read_dir(&path.join("tables")).unwrap().len(), tables);
        let copied = Tree::open(TreeOptions::new(&copy)).unwrap();
        assert_eq!(contents(&copied).unwrap(), expected);
        assert!(copied.verify().unwrap().is_clean());
        drop(copied);
        std::fs::remove_dir_all(&copy).unwrap();
    }
}
