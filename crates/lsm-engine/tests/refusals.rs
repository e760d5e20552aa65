//! Every way in which an open is refused: the error has its kind, and the directory is what it was, byte by byte.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{Reverse, at, small_tables};
use lsm_engine::{FlushOptions, OpenMode, Reader, RecoveryMode, Tree, TreeOptions};
use lsm_fs::{Fs, OpenOptions};
use lsm_testkit::sim::{Choice, FaultPlan, FaultRule, SimConfig, SimFs};
use lsm_types::{ErrorKind, IoKind, IoOp};

fn options(fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())
}

/// A database with three tables and two generations of its manifest.
fn database() -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    for round in 0..3 {
        let tree = Tree::open(options(&fs)).unwrap();
        tree.insert(format!("key-{round}"), "value", at(round + 1)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    fs.image(fs.len(), Choice::Ceiling)
}

fn named(fs: &SimFs, part: &str) -> Vec<PathBuf> {
    fs.files().into_keys().filter(|path| path.to_string_lossy().contains(part)).collect()
}

/// The newest generation, both copies.
fn manifest(fs: &SimFs) -> [PathBuf; 2] {
    let mirror = named(fs, "MANIFEST").pop().unwrap();
    [mirror.with_extension(""), mirror]
}

fn put(fs: &SimFs, path: &Path, bytes: &[u8]) {
    fs.open(path, &OpenOptions::REPLACE).unwrap().append(bytes).unwrap();
}

#[track_caller]
fn check_with(
    what: &str,
    kind: ErrorKind,
    damage: impl Fn(&SimFs),
    change: impl Fn(TreeOptions) -> TreeOptions,
) {
    let fs = database();
    damage(&fs);
    let before = fs.state_hash();
    let error = Tree::open(change(options(&fs))).map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{what}: {error} ({error:?})");
    assert_eq!(fs.state_hash(), before, "{what}: the directory is not what it was");
}

#[track_caller]
fn check(what: &str, kind: ErrorKind, damage: impl Fn(&SimFs)) {
    check_with(what, kind, &damage, |options| options);
    if kind != ErrorKind::TornTail {
        check_with(what, kind, &damage, |options| options.store(|store| store.mode(OpenMode::ReadOnly)));
    }
}

fn flip_both(fs: &SimFs, offset: u64) {
    for path in manifest(fs) {
        fs.flip(&path, offset, 4).unwrap();
    }
}

/// Proves D-26, D-33, D-34, D-46, E-2, E-4, E-5.
#[test]
fn every_refusal_leaves_every_byte() {
    let nothing = |_: &SimFs| {};
    check_with("comparator", ErrorKind::ComparatorMismatch, nothing, |it| it.comparator(Arc::new(Reverse)));
    check_with("levels", ErrorKind::OptionMismatch, nothing, |it| it.level_count(5));
    check_with("option", ErrorKind::InvalidConfig, nothing, |it| it.store(|store| store.file_id_block(0)));
    let sync = lsm_fs::SyncLevel::None;
    check_with("sync", ErrorKind::InvalidConfig, nothing, |it| {
        it.store(|store| store.sync_level(lsm_engine::FileClass::Table, sync))
    });
    check_with("mode", ErrorKind::AlreadyExists, nothing, |it| {
        it.store(|store| store.mode(OpenMode::MustNotExist))
    });
    check("no manifest", ErrorKind::PartialState, |fs| {
        let files = [named(fs, "MANIFEST"), named(fs, "CURRENT")].concat();
        for path in files {
            fs.remove(&path).unwrap();
        }
    });
    check("a lost generation", ErrorKind::ManifestRegression, |fs| {
        for path in manifest(fs) {
            fs.remove(&path).unwrap();
        }
    });
    check("a table from the future", ErrorKind::ManifestRegression, |fs| {
        let bytes = fs.files().remove(&named(fs, ".sst")[0]).unwrap();
        put(fs, Path::new("/db/tables/00000000000000099999.sst"), &bytes);
    });
    check("a missing table", ErrorKind::MissingFiles, |fs| fs.remove(&named(fs, ".sst")[1]).unwrap());
    check("a table cut short", ErrorKind::FileLengthMismatch, |fs| {
        fs.truncate(&named(fs, ".sst")[1], 800).unwrap();
    });
    // Any damage to both copies of the generation in use that is refused at all.
    let fs = database();
    let len = fs.metadata(&manifest(&fs)[0]).unwrap().len;
    let mut refused = 0;
    for offset in (0..len).step_by(13) {
        flip_both(&fs, offset);
        let before = fs.state_hash();
        let reader = options(&fs).store(|store| store.mode(OpenMode::ReadOnly));
        if Tree::open(reader).is_err() {
            let error = Tree::open(options(&fs)).map(drop).unwrap_err();
            let kind = error.kind();
            assert!(error.is_corruption() || kind == ErrorKind::ManifestRegression, "{offset}: {error}");
            refused += 1;
        }
        assert_eq!(fs.state_hash(), before, "{offset}");
        flip_both(&fs, offset);
    }
    assert!(refused > 20, "{refused} of {len}");
}

/// Proves D-46, D-49: a torn tail is cut off silently, or refused, as the mode says.
#[test]
fn a_torn_tail_is_a_matter_of_the_mode() {
    let tear = |fs: &SimFs| {
        for path in manifest(fs) {
            let len = fs.metadata(&path).unwrap().len;
            let torn = fs.files().remove(&path).unwrap();
            let piece = torn[torn.len() - 100..].to_vec();
            fs.open(&path, &OpenOptions::WRITE).unwrap().write_at(len, &piece).unwrap();
        }
    };
    check_with("torn", ErrorKind::TornTail, tear, |it| {
        it.store(|store| store.recovery_mode(RecoveryMode::StrictNoTruncate))
    });
    let fs = database();
    tear(&fs);
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(tree.open_report().manifest.as_ref().unwrap().tail.unwrap().bytes, 100);
    assert_eq!(tree.count().unwrap(), 3);
}

/// Proves D-46, E-3: who finds the directory locked does not touch it, wherever the owner is.
#[test]
fn a_locked_directory_is_left_alone() {
    let fs = database();
    let owner = Tree::open(options(&fs)).unwrap();
    let before = fs.state_hash();
    let error = Tree::open(options(&fs)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("this process"), "{error}");
    assert_eq!(fs.state_hash(), before);
    drop(owner);
    // Of many at once exactly one wins, also where the database is only being created.
    for fs in [fs, SimFs::new(SimConfig::default())] {
        let wins = std::sync::atomic::AtomicUsize::new(0);
        let barrier = std::sync::Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    barrier.wait();
                    let tree = Tree::open(options(&fs));
                    barrier.wait();
                    let kind = tree.as_ref().err().map(lsm_types::Error::kind);
                    assert!(kind.is_none_or(|kind| kind == ErrorKind::Locked), "{kind:?}");
                    wins.fetch_add(usize::from(tree.is_ok()), std::sync::atomic::Ordering::Relaxed);
                });
            }
        });
        assert_eq!(wins.into_inner(), 1);
    }
}

/// Proves D-46: a read that fails refuses the open, or does not matter; nothing is changed before everything was read.
#[test]
fn reads_that_fail_change_nothing() {
    let mut refused = 0;
    for op in [IoOp::Read, IoOp::Dir] {
        for nth in 0.. {
            let fs = database();
            let before = fs.state_hash();
            fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(op).path("/db*").nth(nth)));
            let opened = Tree::open(options(&fs)).map(drop);
            let has_struck = fs.faults_struck() > 0;
            fs.set_faults(FaultPlan::new());
            if opened.is_err() {
                // Once a generation is begun nothing is refused any more, but the disk may still fail.
                let is_begun =
                    fs.trace().iter().any(|event| event.path.to_string_lossy().contains("MANIFEST"));
                assert!(is_begun || fs.state_hash() == before, "{op:?} {nth}");
                refused += u64::from(!is_begun);
            }
            assert_eq!(Tree::open(options(&fs)).unwrap().count().unwrap(), 3, "{op:?} {nth}");
            if !has_struck {
                break;
            }
        }
    }
    assert!(refused > 3, "{refused}");
}

/// Proves D-22: a table replaced by an older file of the same length, or by another one, is noticed when it is read.
#[test]
fn another_file_under_a_name_is_noticed() {
    let fs = database();
    let tables = named(&fs, ".sst");
    let bytes = fs.files().remove(&tables[0]).unwrap();
    put(&fs, &tables[2], &bytes);
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(tree.get("key-2").unwrap_err().kind(), ErrorKind::FileIdentityMismatch);
    assert_eq!(tree.get("key-0").unwrap().unwrap(), b"value");
}

/// Proves D-24, D-54, D-55: a manifest that misses its last edits, cut exactly behind a record, is refused. Only the last
/// edit of all may be missed like one that never became durable.
#[test]
fn a_manifest_without_its_last_edits_deletes_nothing() {
    let fs = SimFs::new(SimConfig::default());
    let open = |fs: &SimFs| options(fs).store(|store| store.manifest_mirror(false));
    let tree = Tree::open(open(&fs)).unwrap();
    let manifest = named(&fs, "MANIFEST").pop().unwrap();
    let mut ends = Vec::new();
    for round in 0..110 {
        tree.insert(format!("key-{round}"), "value", at(round + 1)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        ends.push(fs.metadata(&manifest).unwrap().len);
    }
    drop(tree);
    let fs = fs.image(fs.len(), Choice::Ceiling);
    let tables = named(&fs, ".sst").len();
    let mut refused = 0;
    for end in ends.iter().step_by(9) {
        let past = fs.image(fs.len(), Choice::Ceiling);
        past.truncate(&manifest, *end).unwrap();
        let before = past.state_hash();
        match Tree::open(open(&past)) {
            Ok(tree) => {
                let deleted = tree.open_report().files.deleted.len();
                assert!(tree.count().unwrap() >= 109 && deleted <= 1, "{deleted}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ManifestRegression, "{error}");
                assert_eq!(past.state_hash(), before);
                assert_eq!(named(&past, ".sst").len(), tables);
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
