//! Opening in modes that give something up: what is left is right, what is gone is reported, nothing is written before
//! the loss is accepted, and then the database goes on like any other.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{at, small_tables};
use lsm_engine::{CompactOptions, FlushOptions, OpenMode, Reader, RecoveryMode, Tree, TreeOptions};
use lsm_fs::Fs;
use lsm_testkit::sim::{Choice, FaultPlan, FaultRule, SimConfig, SimFs, Strategy};
use lsm_types::{ErrorKind, IoKind, IoOp, SeqNo};

const FEW: Strategy =
    Strategy { survivors: false, torn_sectors: 2, exhaustive: 0, random: 1, singles: 8, seed: 2 };

fn options(fs: &SimFs, mode: RecoveryMode) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db")
        .store(|store| store.fs(fs).manifest_mirror(false).recovery_mode(mode))
        .tables(small_tables())
}

fn strict(fs: &SimFs) -> TreeOptions {
    options(fs, RecoveryMode::Strict)
}

/// All files but the lock.
fn files(fs: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    fs.files().into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
}

fn keys(tree: &Tree) -> String {
    let key = |pair: lsm_types::Result<(lsm_types::Slice, lsm_types::Slice)>| {
        String::from_utf8(pair.unwrap().0.to_vec()).unwrap()
    };
    tree.iter().pairs().map(key).collect()
}

struct Damaged {
    fs: SimFs,
    manifest: PathBuf,
    /// Where the edits of the flushes of `a`, `b`, `c` and `d` begin.
    edits: Vec<u64>,
}

/// A database of four tables with one key each, not closed.
fn database() -> Damaged {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(strict(&fs)).unwrap();
    let manifest = fs.files().into_keys().find(|path| path.to_string_lossy().contains("MANIFEST")).unwrap();
    let mut edits = Vec::new();
    for (key, seqno) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        edits.push(fs.metadata(&manifest).unwrap().len);
        tree.insert(key, "value", at(seqno)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    drop(tree);
    Damaged { fs: fs.image(fs.len(), Choice::Ceiling), manifest, edits }
}

impl Damaged {
    fn flip(&self, edit: usize) {
        let offset = self.edits.get(edit).unwrap() + 80;
        self.fs.flip(&self.manifest, offset, 3).unwrap();
    }

    fn table(&self, number: usize) -> PathBuf {
        self.fs.files().into_keys().filter(|path| path.starts_with("/db/tables")).nth(number).unwrap()
    }
}

/// Opens a database that a strict open refuses in this way; checks that nothing changes, that nothing can be written,
/// and what is there.
#[track_caller]
fn open_lossy(damaged: &Damaged, mode: RecoveryMode, refused: ErrorKind, expect: &str) -> Tree {
    let before = files(&damaged.fs);
    assert_eq!(Tree::open(strict(&damaged.fs)).map(drop).unwrap_err().kind(), refused);
    let reader =
        Tree::open(options(&damaged.fs, mode).store(|store| store.mode(OpenMode::ReadOnly))).unwrap();
    assert_eq!(keys(&reader), expect);
    assert_eq!(reader.store().accept_recovery().unwrap_err().kind(), ErrorKind::Unsupported);
    drop(reader);
    let tree = Tree::open(options(&damaged.fs, mode)).unwrap();
    assert_eq!(keys(&tree), expect);
    assert!(tree.open_report().awaits_acceptance && tree.open_report().files.deleted.is_empty());
    for refused in [
        tree.insert("x", "y", at(50)).unwrap_err(),
        tree.flush(&FlushOptions::default()).unwrap_err(),
        tree.major_compact(&CompactOptions::default()).map(drop).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    }
    assert_eq!(files(&damaged.fs), before, "nothing changes before the loss is accepted");
    tree
}

/// After the loss is accepted the database is like any other.
#[track_caller]
fn accept(damaged: &Damaged, tree: Tree, expect: &str) {
    tree.store().accept_recovery().unwrap();
    tree.store().accept_recovery().unwrap();
    let used = newest(&damaged.fs);
    tree.insert("x", "y", at(50)).unwrap();
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    drop(tree);
    let tree = Tree::open(strict(&damaged.fs)).unwrap();
    assert_eq!(keys(&tree), format!("{expect}x"));
    assert!(tree.verify().unwrap().is_clean());
    let report = tree.open_report();
    assert!(!report.awaits_acceptance && report.files.kept.is_empty() && report.files.deleted.is_empty());
    assert!(newest(&damaged.fs) > used, "numbers go on");
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(keys(&tree), format!("{expect}x"));
}

/// The highest number of a table, in use or set aside.
fn newest(fs: &SimFs) -> u64 {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".sst")?.parse().ok();
    fs.files().keys().filter_map(number).max().unwrap_or(0)
}

/// Proves D-46, D-49, D-51, E-8. Fault: durability W-4, W-22.
#[test]
fn up_to_a_point_in_time_the_prefix_is_kept() {
    let damaged = database();
    damaged.flip(2);
    let corrupt = Tree::open(strict(&damaged.fs)).map(drop).unwrap_err().kind();
    let tree = open_lossy(&damaged, RecoveryMode::PointInTime, corrupt, "ab");
    let report = tree.open_report();
    let losses = report.manifest.as_ref().unwrap().losses.as_ref().unwrap();
    assert!(losses.refused.is_some());
    assert_eq!(losses.lost.edit_count(), 2, "{losses:?}");
    assert_eq!((report.files.newer.len(), report.files.kept.len()), (1, 2), "{:?}", report.files);
    assert_eq!(report.trees[0].max_seqno, Some(at(2)));
    accept(&damaged, tree, "ab");
    assert_eq!(damaged.fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 2, "nothing is deleted");
}

/// Proves D-49, E-8. Fault: durability W-22.
#[test]
fn a_single_damaged_edit_is_skipped() {
    let damaged = database();
    damaged.flip(1);
    let corrupt = Tree::open(strict(&damaged.fs)).map(drop).unwrap_err().kind();
    let tree = open_lossy(&damaged, RecoveryMode::SkipCorrupt, corrupt, "acd");
    let report = tree.open_report();
    let losses = report.manifest.as_ref().unwrap().losses.as_ref().unwrap();
    assert_eq!(losses.lost.edit_count(), 1, "{losses:?}");
    assert_eq!(report.files.kept.len(), 1);
    accept(&damaged, tree, "acd");
}

/// Proves D-26, D-49, D-50, D-51, E-6, E-137: files that are gone or cut are named with tree, level and keys, and left
/// out; changes are not listed as if they were all there.
#[test]
fn missing_files_are_left_out_and_named() {
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt] {
        let damaged = database();
        damaged.fs.remove(&damaged.table(1)).unwrap();
        let tree = open_lossy(&damaged, mode, ErrorKind::MissingFiles, "acd");
        let [lost] = tree.open_report().files.lost.as_slice() else { panic!() };
        let range = lost.keys.clone().unwrap();
        assert_eq!((&range.min[..], &range.max[..], lost.found), (&b"b"[..], &b"b"[..], None));
        let refused = tree.changes::<&str>(SeqNo::ZERO, ..).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::HistoryCollected, "{refused}");
        accept(&damaged, tree, "acd");

        let damaged = database();
        damaged.fs.truncate(&damaged.table(3), 600).unwrap();
        let tree = open_lossy(&damaged, mode, ErrorKind::FileLengthMismatch, "abc");
        assert_eq!(tree.open_report().files.lost[0].found, Some(600));
        accept(&damaged, tree, "abc");
        assert_eq!(damaged.fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 1);
    }
}

/// Proves D-24, D-49: a manifest that went back in time refuses; a lossy mode shows what it knows and deletes nothing.
/// Fault: durability W-3.
#[test]
fn a_manifest_from_the_past_deletes_nothing() {
    let damaged = database();
    let old = damaged.edits[2];
    damaged.fs.truncate(&damaged.manifest, old).unwrap();
    let tree = open_lossy(&damaged, RecoveryMode::PointInTime, ErrorKind::ManifestRegression, "ab");
    assert_eq!(tree.open_report().files.newer.len(), 1);
    accept(&damaged, tree, "ab");
    assert_eq!(damaged.fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 2);
}

/// Proves D-47, D-49: a power cut anywhere in accepting leaves what was found before, or what was accepted.
#[test]
fn accepting_survives_a_crash_at_any_point() {
    let damaged = database();
    damaged.flip(2);
    let fs = damaged.fs.image(damaged.fs.len(), Choice::Ceiling);
    let tree = Tree::open(options(&fs, RecoveryMode::PointInTime)).unwrap();
    tree.store().accept_recovery().unwrap();
    let (mut before, mut after) = (0, 0);
    for (id, image) in fs.sweep(&FEW) {
        match Tree::open(strict(&image)) {
            Ok(tree) => {
                assert_eq!(keys(&tree), "ab", "{id}");
                assert!(tree.open_report().files.deleted.is_empty(), "{id}");
                after += 1;
            }
            Err(error) => {
                assert!(
                    error.is_corruption() || error.kind() == ErrorKind::ManifestRegression,
                    "{id} {error}"
                );
                let tree = Tree::open(options(&image, RecoveryMode::PointInTime)).unwrap();
                assert_eq!(keys(&tree), "ab", "{id}");
                tree.store().accept_recovery().unwrap();
                before += 1;
            }
        }
    }
    assert!(before > 5 && after > 0, "{before} {after}");
}

/// Proves D-49: accepting that fails can be repeated.
/// Fault: durability W-40.
#[test]
fn accepting_can_be_repeated() {
    for op in [IoOp::Rename, IoOp::Open, IoOp::Write, IoOp::Sync, IoOp::SyncDir, IoOp::Dir] {
        for nth in 0..6 {
            let damaged = database();
            damaged.flip(2);
            let tree = Tree::open(options(&damaged.fs, RecoveryMode::PointInTime)).unwrap();
            damaged.fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(op).nth(nth)));
            if tree.store().accept_recovery().is_err() {
                assert!(tree.open_report().awaits_acceptance);
            }
            damaged.fs.set_faults(FaultPlan::new());
            accept(&damaged, tree, "ab");
        }
    }
}

fn manifests(fs: &SimFs) -> Vec<PathBuf> {
    let is_manifest = |path: &PathBuf| {
        let name = path.to_string_lossy().into_owned();
        name.contains("MANIFEST") || name.contains("CURRENT")
    };
    fs.files().into_keys().filter(is_manifest).collect()
}

/// A database without any manifest.
fn bare() -> Damaged {
    let damaged = database();
    for path in manifests(&damaged.fs) {
        damaged.fs.remove(&path).unwrap();
    }
    damaged
}

fn rebuilt(tree: &Tree) -> (usize, Vec<(u64, String)>) {
    let report = tree.open_report().rebuilt.clone().unwrap();
    let left = report.left_out.iter().map(|(id, why)| {
        (id.get(), format!("{why:?}").split([' ', '(']).next().unwrap_or_default().to_owned())
    });
    (report.adopted.len(), left.collect())
}

/// Proves D-49, D-51, E-2: without any manifest the files of the tables are enough.
#[test]
fn a_database_is_put_together_from_its_tables() {
    let damaged = bare();
    let tree = open_lossy(&damaged, RecoveryMode::RebuildFromFiles, ErrorKind::PartialState, "abcd");
    assert_eq!(rebuilt(&tree), (4, vec![]));
    assert!(tree.verify().unwrap().is_clean());
    assert_eq!(tree.get("a").unwrap().unwrap(), b"value");
    assert_eq!(tree.retention_floor(), at(4));
    accept(&damaged, tree, "abcd");

    // A damaged table costs what it held.
    let damaged = bare();
    let table = damaged.table(2);
    let len = damaged.fs.metadata(&table).unwrap().len;
    damaged.fs.truncate(&table, len / 2).unwrap();
    let tree = open_lossy(&damaged, RecoveryMode::RebuildFromFiles, ErrorKind::PartialState, "abd");
    assert_eq!(rebuilt(&tree).1, [(2, "Damaged".to_owned())]);
    accept(&damaged, tree, "abd");
    assert_eq!(damaged.fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 1);
}

/// Puts back files that a compaction removed, as if it had been cut short.
fn put_back(fs: &SimFs, before: &BTreeMap<PathBuf, Vec<u8>>, which: &[usize]) {
    let tables: Vec<_> = before.iter().filter(|(path, _)| path.starts_with("/db/tables")).collect();
    for at in which {
        let (path, bytes) = tables.get(*at).unwrap();
        fs.open(path, &lsm_fs::OpenOptions::CREATE_NEW).unwrap().append(bytes).unwrap();
    }
}

/// Proves D-49, D-109: what a compaction dropped does not come back with the inputs that are still there, and a
/// compaction that may not have ended is as if it had not begun.
#[test]
fn lineage_decides_between_inputs_and_outputs() {
    let database = || {
        let damaged = database();
        let tree = Tree::open(strict(&damaged.fs)).unwrap();
        for key in ["b", "c"] {
            tree.remove(key, at(10)).unwrap();
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        tree.set_gc_watermark(at(20));
        let before = damaged.fs.files();
        tree.major_compact(&CompactOptions::default()).unwrap();
        assert_eq!(keys(&tree), "ad");
        drop(tree);
        for path in manifests(&damaged.fs) {
            damaged.fs.remove(&path).unwrap();
        }
        (damaged, before)
    };
    let (damaged, _) = database();
    let tree = open_lossy(&damaged, RecoveryMode::RebuildFromFiles, ErrorKind::PartialState, "ad");
    assert_eq!(rebuilt(&tree), (1, vec![]));
    accept(&damaged, tree, "ad");
    // Any part of the inputs, but not all: the deleted keys among them.
    for which in [vec![1], vec![0, 1, 2], vec![1, 2, 3], vec![0, 1, 2, 4]] {
        let (damaged, before) = database();
        put_back(&damaged.fs, &before, &which);
        let tree = open_lossy(&damaged, RecoveryMode::RebuildFromFiles, ErrorKind::PartialState, "ad");
        let (adopted, left) = rebuilt(&tree);
        assert_eq!((adopted, left.len()), (1, which.len()));
        assert!(left.iter().all(|(_, why)| why == "Superseded"));
        accept(&damaged, tree, "ad");
    }
    // All of them: the outputs add nothing.
    let (damaged, before) = database();
    put_back(&damaged.fs, &before, &[0, 1, 2, 3, 4]);
    let tree = open_lossy(&damaged, RecoveryMode::RebuildFromFiles, ErrorKind::PartialState, "ad");
    let (adopted, left) = rebuilt(&tree);
    assert_eq!((adopted, left.len()), (5, 1));
    assert!(left.iter().all(|(_, why)| why == "Unfinished"));
    accept(&damaged, tree, "ad");
}

/// Proves D-49, D-109: the edit of a compaction is lost and its inputs are gone. What it made takes their place.
/// Fault: durability W-4.
#[test]
fn tables_that_a_lost_compaction_replaced_are_made_good() {
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt] {
        let fs = SimFs::new(SimConfig::default());
        let tree = Tree::open(strict(&fs)).unwrap();
        for key in ["a", "b", "c", "d"] {
            tree.insert(key, "value", at(1)).unwrap();
            tree.seal(None);
            tree.flush(&FlushOptions::default()).unwrap();
        }
        let manifest =
            fs.files().into_keys().find(|path| path.to_string_lossy().contains("MANIFEST")).unwrap();
        let edit = fs.metadata(&manifest).unwrap().len;
        tree.insert("e", "later", at(2)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        tree.major_compact(&CompactOptions::default()).unwrap();
        let end = fs.metadata(&manifest).unwrap().len;
        tree.insert("f", "later", at(90)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        drop(tree);
        for offset in (edit..end).step_by(90) {
            fs.flip(&manifest, offset, 5).unwrap();
        }
        let damaged = Damaged { fs: fs.image(fs.len(), Choice::Ceiling), manifest, edits: Vec::new() };
        let kind = Tree::open(strict(&damaged.fs)).map(drop).unwrap_err().kind();
        let expect = if mode == RecoveryMode::PointInTime { "abcde" } else { "abcdef" };
        let tree = open_lossy(&damaged, mode, kind, expect);
        let files = &tree.open_report().files;
        assert_eq!((files.lost.len(), files.replaced.len()), (0, 4), "{files:?}");
        assert!(tree.verify().unwrap().is_clean());
        accept(&damaged, tree, expect);
    }
}

/// Proves D-53: files of another database are not taken for ours, and nobody guesses between two.
#[test]
fn tables_of_two_databases_are_not_mixed() {
    let (one, other) = (bare(), bare());
    let bytes = other.fs.files().remove(&other.table(3)).unwrap();
    let alien = Path::new("/db/tables/00000000000000000777.sst");
    one.fs.open(alien, &lsm_fs::OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
    let before = files(&one.fs);
    let error = Tree::open(options(&one.fs, RecoveryMode::RebuildFromFiles)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileIdentityMismatch);
    assert_eq!(files(&one.fs), before);
    // With a manifest, however damaged, it is known which ones are ours.
    let one = database();
    one.fs.open(alien, &lsm_fs::OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
    one.flip(2);
    let tree = Tree::open(options(&one.fs, RecoveryMode::RebuildFromFiles)).unwrap();
    assert_eq!(keys(&tree), "abcd");
    assert_eq!(tree.open_report().files.foreign, ["00000000000000000777.sst"]);
}

/// Proves D-20, D-53: a file under the highest number there is does not use up the numbers.
#[test]
fn an_absurd_number_is_not_believed() {
    for mode in [RecoveryMode::PointInTime, RecoveryMode::RebuildFromFiles] {
        let damaged = database();
        let bytes = damaged.fs.files().remove(&damaged.table(0)).unwrap();
        let last = Path::new("/db/tables/18446744073709551615.sst");
        damaged.fs.open(last, &lsm_fs::OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
        let tree = open_lossy(&damaged, mode, ErrorKind::ManifestRegression, "abcd");
        tree.store().accept_recovery().unwrap();
        tree.insert("x", "y", at(50)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        drop(tree);
        assert_eq!(keys(&Tree::open(strict(&damaged.fs)).unwrap()), "abcdx");
        assert!(damaged.fs.exists(Path::new("/db/quarantine/18446744073709551615.sst")).unwrap());
    }
}
