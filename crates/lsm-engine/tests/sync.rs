//! How far things are synced, in which order, and what happens without.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{path::Path, sync::Arc};

use common::{at, small_tables};
use lsm_engine::{CompactOptions, FileClass, FlushOptions, Reader, Tree, TreeOptions};
use lsm_fs::{Fs, MemFs, SyncLevel};
use lsm_testkit::{
    oracle::History,
    sim::{EventKind, SimConfig, SimFs, Strategy},
};
use lsm_types::{ErrorKind, KeyOrder};
use wrap::{Control, WrapFs};

fn options(fs: Arc<dyn Fs>) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).manifest_rotate_min(600).file_id_block(4))
        .tables(small_tables())
        .table_target_bytes(1_500)
}

fn grow(tree: &Tree, from: u64, count: u64) {
    for number in from..from + count {
        tree.insert(format!("key-{number:04}"), [3; 60], at(number)).unwrap();
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

/// Proves D-11: each class is synced as asked, `CURRENT` with the manifest.
#[test]
fn each_class_has_its_level() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(Arc::new(fs.clone())).store(|store| {
        store
            .sync_level(FileClass::Table, SyncLevel::Data)
            .sync_level(FileClass::Manifest, SyncLevel::Device)
            .sync_level(FileClass::Directory, SyncLevel::Barrier)
    }))
    .unwrap();
    for round in 0..6 {
        grow(&tree, 1 + round * 10, 10);
    }
    let mut seen = [0; 3];
    for event in fs.trace() {
        let path = event.path.to_string_lossy().into_owned();
        match (&event.kind, path) {
            (EventKind::SyncDir(level), _) => {
                assert_eq!(*level, SyncLevel::Barrier);
                seen[0] += 1;
            }
            (EventKind::Sync(level), path) if path.contains("/tables/") => {
                assert_eq!(*level, SyncLevel::Data, "{path}");
                seen[1] += 1;
            }
            (EventKind::Sync(level), path) => {
                assert!(path.contains("MANIFEST") || path.contains("CURRENT"), "{path}");
                assert_eq!(*level, SyncLevel::Device, "{path}");
                seen[2] += 1;
            }
            _ => {}
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

/// Proves D-39: tables of one flush are synced one by one, their folder once, then the manifest, once. Fault:
/// durability W-42.
#[test]
fn a_flush_syncs_its_folder_once() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(Arc::new(fs.clone())).store(|store| store.file_id_block(1_000))).unwrap();
    grow(&tree, 1, 10);
    let start = fs.len();
    grow(&tree, 11, 200);
    let trace = fs.trace();
    let syncs: Vec<String> = trace
        .iter()
        .skip(start)
        .filter(|event| matches!(event.kind, EventKind::Sync(_) | EventKind::SyncDir(_)))
        .map(|event| event.path.to_string_lossy().into_owned())
        .collect();
    let of = |what: &str| syncs.iter().filter(|path| path.contains(what)).count();
    assert!(of("/tables/") > 3 && of("/tables") - of("/tables/") == 1, "{syncs:?}");
    let folder = syncs.iter().position(|path| path.ends_with("/tables")).unwrap();
    let last_table = syncs.iter().rposition(|path| path.contains("/tables/")).unwrap();
    let manifest = syncs.iter().position(|path| path.contains("MANIFEST")).unwrap();
    assert!(last_table < folder && folder < manifest, "{syncs:?}");
}

/// Proves D-44: when a flush has returned, the second copy has its edit, and no power cut takes it away: each copy alone
/// is enough.
#[test]
fn either_copy_of_the_manifest_is_enough_after_a_flush() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(Arc::new(fs.clone()))).unwrap();
    for round in 0..5 {
        grow(&tree, 1 + round * 10, 10);
        for (id, image) in fs.images(fs.len(), &Strategy::GATE) {
            for lost in image.files().into_keys().filter(|path| path.to_string_lossy().contains("MANIFEST")) {
                let damaged = image.image(image.len(), lsm_testkit::sim::Choice::Ceiling);
                damaged.remove(&lost).unwrap();
                let tree = Tree::open(options(Arc::new(damaged))).unwrap();
                assert_eq!(tree.count().unwrap(), 10 * (round + 1), "{id} without {lost:?}");
            }
        }
    }
}

/// Proves D-13: without syncs a power cut leaves an older state or one that says that it is damaged, never another one;
/// and the manifest remembers.
#[test]
fn without_syncs_a_power_cut_leaves_nothing_wrong() {
    let fs = SimFs::new(SimConfig::default());
    let unsafe_ = |fs: &SimFs| options(Arc::new(fs.clone())).store(|store| store.unsafe_no_sync(true));
    let tree = Tree::open(unsafe_(&fs)).unwrap();
    let mut history = History::new();
    let mut bounds = vec![1];
    let order = KeyOrder::bytewise();
    let mut next = 1;
    for round in 0..4 {
        for number in 0..8 {
            let (key, value) = (format!("key-{}", (number * 3 + round) % 11), format!("value-{round}"));
            tree.insert(&key, &value, at(next)).unwrap();
            history.put(key.as_bytes(), at(next), value.as_bytes());
            next += 1;
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        bounds.push(next);
        if round == 2 {
            tree.set_gc_watermark(at(next));
            tree.major_compact(&CompactOptions::default()).unwrap();
        }
    }
    assert!(tree.open_report().without_sync);
    assert!(!fs.trace().iter().any(|event| matches!(event.kind, EventKind::Sync(_) | EventKind::SyncDir(_))));
    drop(tree);
    let (mut refused, mut opened) = (0, 0);
    let strategy = Strategy { survivors: true, random: 4, singles: 12, ..Strategy::GATE };
    for point in (0..=fs.len()).step_by(7) {
        for (id, image) in fs.images(point, &strategy) {
            let Ok(tree) = Tree::open(options(Arc::new(image))) else {
                refused += 1;
                continue;
            };
            let pairs: Result<Vec<_>, _> = tree.iter().pairs().collect();
            let Ok(pairs) = pairs else {
                refused += 1;
                continue;
            };
            let found: Vec<_> =
                pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            let is_legal = bounds.iter().any(|bound| history.all(at(*bound), &order) == found);
            assert!(is_legal, "{id}: {found:?}");
            opened += 1;
        }
    }
    assert!(refused > 10 && opened > 10, "{refused} {opened}");
    let tree = Tree::open(options(Arc::new(fs))).unwrap();
    assert!(tree.open_report().without_sync, "it is remembered");
}

/// Proves D-30: a backend without locks refuses, and does as it is told.
#[test]
fn a_backend_without_locks_is_not_trusted() {
    let control = Arc::new(Control::lockless());
    let fs: Arc<dyn Fs> = Arc::new(WrapFs { inner: Arc::new(MemFs::new()), control });
    let error = Tree::open(options(fs.clone())).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!fs.exists(Path::new("/db/CURRENT")).unwrap());
    let tree = Tree::open(options(fs).store(|store| store.directory_lock(false))).unwrap();
    grow(&tree, 1, 10);
    assert_eq!(tree.count().unwrap(), 10);
}

/// Proves D-52: the highest number survives zeroing, a restart, and the loss of the table that held it. Fault:
/// durability W-18.
#[test]
fn the_highest_number_never_falls_back() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(Arc::new(fs.clone()))).unwrap();
    grow(&tree, 1, 109);
    for number in 1..110 {
        tree.remove(format!("key-{number:04}"), at(200 + number)).unwrap();
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    tree.set_gc_watermark(at(1_000));
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!((tree.stats().tables(), tree.persisted().highest), (0, Some(at(309))));
    tree.close().unwrap();
    let tree = Tree::open(options(Arc::new(fs))).unwrap();
    assert_eq!(tree.persisted().highest, Some(at(309)));
    let report = tree.open_report();
    assert_eq!(report.trees.first().unwrap().max_seqno, Some(at(309)));
    assert!(report.manifest.as_ref().unwrap().reserved_ids > 1);
}
