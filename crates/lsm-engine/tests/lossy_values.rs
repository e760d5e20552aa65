//! Recoveries that give something up, of databases with value logs: what is left is right, a table goes with its values,
//! and what is live is the sum over the tables that are left.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{at, contents, flush, small_tables};
use lsm_engine::{CompactOptions, LeftOut, RecoveryMode, Tree, TreeOptions, VlogPolicy};
use lsm_fs::{Fs, OpenOptions};
use lsm_testkit::sim::{Choice, SimConfig, SimFs};
use lsm_types::{ErrorKind, FileKind};

const LOSSY: [RecoveryMode; 3] =
    [RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt, RecoveryMode::RebuildFromFiles];

fn options(fs: &SimFs, mode: RecoveryMode) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).manifest_mirror(false).recovery_mode(mode))
        .tables(small_tables())
        .separation(VlogPolicy { thresholds: vec![10], ..VlogPolicy::default() })
}

fn long(key: &str) -> Vec<u8> {
    key.repeat(20).into_bytes()
}

fn insert(tree: &Tree, key: &str, seqno: u64) {
    tree.insert(key, long(key), at(seqno)).unwrap();
    tree.insert(format!("{key}2"), "short", at(seqno)).unwrap();
    flush(tree);
}

/// Keys with a separated value and others, each pair in a table of its own.
fn database(keys: &[&str]) -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs, RecoveryMode::Strict)).unwrap();
    for (key, seqno) in keys.iter().zip(1..) {
        insert(&tree, key, seqno);
    }
    tree.close().unwrap();
    fs
}

fn paths(fs: &SimFs, part: &str) -> Vec<PathBuf> {
    fs.files().into_keys().filter(|path| path.to_string_lossy().contains(part)).collect()
}

/// Opens, accepts, writes on, and opens as if nothing had been.
#[track_caller]
fn check(fs: &SimFs, mode: RecoveryMode, keys: &[&str], look: impl Fn(&Tree)) {
    let refused = Tree::open(options(fs, RecoveryMode::Strict)).map(drop).unwrap_err();
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::MissingFiles
                | ErrorKind::FileLengthMismatch
                | ErrorKind::PartialState
                | ErrorKind::Corruption(_)
                | ErrorKind::ManifestRegression
        ),
        "{refused}"
    );
    let before = fs.state_hash();
    let tree = Tree::open(options(fs, mode)).unwrap();
    look(&tree);
    check_holds(&tree, keys);
    assert_eq!(fs.state_hash(), before, "nothing changes before the loss is accepted");
    tree.store().accept_recovery().unwrap();
    insert(&tree, "x", 90);
    tree.close().unwrap();
    let tree = Tree::open(options(fs, RecoveryMode::Strict)).unwrap();
    let keys: Vec<&str> = keys.iter().copied().chain(["x"]).collect();
    check_holds(&tree, &keys);
    assert!(tree.open_report().files.deleted.is_empty() && tree.open_report().files.kept.is_empty());
    tree.set_gc_watermark(at(100));
    tree.major_compact(&CompactOptions::default()).unwrap();
    check_holds(&tree, &keys);
}

#[track_caller]
fn check_holds(tree: &Tree, keys: &[&str]) {
    let pairs = keys.iter().flat_map(|key| {
        [(key.as_bytes().to_vec(), long(key)), (format!("{key}2").into_bytes(), b"short".to_vec())]
    });
    assert_eq!(contents(tree).unwrap(), pairs.collect::<Vec<_>>());
    assert_eq!(tree.stats().value_logs.live.entries, keys.len() as u64);
    let report = tree.verify().unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// Proves D-49, D-81, D-82: without any manifest tables and value logs are enough, and sums follow from the tables.
/// Fault: durability W-28.
#[test]
fn a_database_is_put_together_from_tables_and_value_logs() {
    let bare = || {
        let fs = database(&["a", "b", "c"]);
        for path in paths(&fs, "/db/").into_iter().filter(|path| path.parent() == Some(Path::new("/db"))) {
            fs.remove(&path).unwrap();
        }
        fs
    };
    let mode = RecoveryMode::RebuildFromFiles;
    check(&bare(), mode, &["a", "b", "c"], |tree| {
        let report = tree.open_report().rebuilt.as_ref().unwrap();
        assert_eq!((report.adopted.len(), report.value_logs.len(), report.left_out.len()), (3, 3, 0));
    });

    // A value log that is damaged beyond reading costs the table that leads to it; both are set aside.
    let fs = bare();
    let log = paths(&fs, "blobs")[1].clone();
    fs.truncate(&log, 600).unwrap();
    check(&fs, mode, &["a", "c"], |tree| {
        let report = tree.open_report().rebuilt.as_ref().unwrap();
        assert!(matches!(report.left_out[0].1, LeftOut::WithoutValues { .. }), "{report:?}");
        assert!(matches!(report.left_out[1].1, LeftOut::Damaged(_)), "{report:?}");
    });
    assert_eq!(fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 2);

    // A value log whose table is gone is of no use.
    let fs = bare();
    fs.remove(&paths(&fs, "tables")[2]).unwrap();
    check(&fs, mode, &["a", "b"], |tree| {
        let report = tree.open_report().rebuilt.as_ref().unwrap();
        assert!(matches!(report.left_out[..], [(_, LeftOut::Unused)]), "{report:?}");
    });
    assert_eq!(fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 1);
}

/// Proves D-26, D-49, D-50: a value log that is gone or cut takes the tables along that lead to it; they are named and
/// set aside.
#[test]
fn tables_without_their_values_are_left_out() {
    for mode in LOSSY {
        for cut in [None, Some(700)] {
            let fs = database(&["a", "b", "c"]);
            let log = &paths(&fs, "blobs")[1];
            match cut {
                None => fs.remove(log).unwrap(),
                Some(len) => fs.truncate(log, len).unwrap(),
            }
            check(&fs, mode, &["a", "c"], |tree| {
                if mode == RecoveryMode::RebuildFromFiles {
                    return;
                }
                let lost = &tree.open_report().files.lost;
                let kinds: Vec<_> = lost.iter().map(|lost| (lost.kind, lost.values_in.is_some())).collect();
                assert_eq!(kinds.len(), 2, "{lost:?}");
                assert!(kinds.contains(&(FileKind::ValueLog, false)), "{lost:?}");
                assert!(kinds.contains(&(FileKind::Table, true)), "{lost:?}");
                let table = lost.iter().find(|lost| lost.kind == FileKind::Table).unwrap();
                assert_eq!(table.keys.as_ref().unwrap().min, b"b"[..]);
            });
            let set_aside = 1 + usize::from(cut.is_some());
            assert_eq!(
                fs.read_dir(Path::new("/db/quarantine")).unwrap().len(),
                set_aside,
                "{mode:?} {cut:?}"
            );
        }
    }
}

/// Proves D-49, D-81: a table that is gone leaves a value log without a reference, which goes with it.
#[test]
fn value_logs_without_a_table_go() {
    for mode in LOSSY {
        let fs = database(&["a", "b", "c"]);
        fs.remove(&paths(&fs, "tables")[0]).unwrap();
        if mode == RecoveryMode::RebuildFromFiles {
            let kept = Tree::open(options(&fs, mode)).unwrap();
            check_holds(&kept, &["b", "c"]);
            continue;
        }
        check(&fs, mode, &["b", "c"], |tree| assert_eq!(tree.open_report().files.lost.len(), 1));
        assert_eq!(fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 1);
        assert_eq!(paths(&fs, "blobs").len(), 3, "those of b, c and x");
    }
}

/// Proves D-49, D-109: the edits of a merge and of what it moved are lost, its inputs gone: its tables take their place,
/// with the old value logs and the new ones.
#[test]
fn what_a_lost_merge_wrote_takes_the_place_of_what_it_read() {
    for mode in LOSSY {
        let fs = SimFs::new(SimConfig::default());
        let tree = Tree::open(options(&fs, RecoveryMode::Strict)).unwrap();
        insert(&tree, "a", 1);
        insert(&tree, "b", 2);
        let manifest = paths(&fs, "MANIFEST").pop().unwrap();
        let edit = fs.metadata(&manifest).unwrap().len;
        // The value log of this one is known to no edit that is left.
        insert(&tree, "c", 3);
        tree.major_compact(&CompactOptions::default()).unwrap();
        let end = fs.metadata(&manifest).unwrap().len;
        drop(tree);
        for offset in (edit..end).step_by(90) {
            fs.flip(&manifest, offset, 5).unwrap();
        }
        let fs = fs.image(fs.len(), Choice::Ceiling);
        check(&fs, mode, &["a", "b", "c"], |_| ());
    }
}

/// Proves D-81: inputs and outputs of a merge that both are there refer to the same values twice: what is left out is
/// what was read, and nothing is counted twice.
#[test]
fn values_are_counted_once_when_a_merge_is_there_twice() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs, RecoveryMode::Strict)).unwrap();
    insert(&tree, "a", 1);
    insert(&tree, "b", 2);
    let inputs: Vec<_> =
        paths(&fs, "tables").into_iter().map(|path| (fs.files()[&path].clone(), path)).collect();
    tree.major_compact(&CompactOptions::default()).unwrap();
    insert(&tree, "c", 3);
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.close().unwrap();
    // What the first merge read is back, what it wrote is gone: nothing tells that the second one replaced it.
    for (bytes, path) in inputs {
        fs.open(&path, &OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
    }
    for path in paths(&fs, "MANIFEST") {
        fs.remove(&path).unwrap();
    }
    check(&fs, RecoveryMode::RebuildFromFiles, &["a", "b", "c"], |tree| {
        let report = tree.open_report().rebuilt.as_ref().unwrap();
        assert_eq!((report.adopted.len(), report.left_out.len()), (1, 2), "{report:?}");
    });
}
