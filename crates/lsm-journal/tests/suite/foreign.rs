//! What is not ours stays; what was ours and lacks a manifest is not built over.

use std::{ffi::OsString, path::Path};

use lsm_fs::{Fs, OpenOptions};
use lsm_journal::{FileName, Folder, Journal, JournalError, JournalOptions, Recovery, RecoveryMode};
use lsm_manifest::TreeIdentity;
use lsm_testkit::sim::SimFs;
use lsm_types::{ErrorKind, Fault, KeyOrder, TableId, TreeId};

use crate::common::{DATABASE, Life, disk, env_on, first_state, found, read, recover, tables};

const FOREIGN: [&str; 24] = [
    ".DS_Store",
    "._CURRENT",
    "Thumbs.db",
    "desktop.ini",
    "lost+found",
    ".nfs00000001",
    "CURRENT~",
    "CURRENT.bak",
    ".CURRENT.swp",
    "MANIFEST",
    "MANIFEST-1",
    "MANIFEST-00000000000000000001.bak",
    "MANIFEST-0000000000000000001",
    "MANIFEST-00000000000000000001.m~",
    "vacation.jpg",
    "v1",
    "2024",
    "7.sst",
    "00000000000000000007",
    "CURRENT-1",
    "CURRENT-00000000000000000001.tmp",
    "tmp2",
    "Tables",
    "LOCK.old",
];

fn put(fs: &SimFs, path: &Path, bytes: &[u8]) {
    let file = fs.open(path, &OpenOptions::CREATE_NEW).unwrap();
    file.write_at(0, bytes).unwrap();
}

/// Proves D-53, D-56: foreign names, in the root and below, survive everything a journal does, and are reported.
/// Fault: durability W-15.
#[test]
fn foreign_files_are_left_alone() {
    let fs = disk();
    for folder in [Folder::Temporary, Folder::Tables] {
        fs.create_dir(&folder.path(Path::new("/db"))).unwrap();
    }
    let mut paths = Vec::new();
    for name in FOREIGN {
        for folder in [Folder::Root, Folder::Temporary, Folder::Tables] {
            let path = folder.path(Path::new("/db")).join(name);
            put(&fs, &path, b"precious");
            paths.push(path);
        }
    }
    // Our names on what is not ours: a directory, and files with another content.
    fs.create_dir(Path::new("/db/MANIFEST-00000000000000000002")).unwrap();
    let odd = FileName::Manifest(lsm_journal::Generation::new(3)).path(Path::new("/db"));
    put(&fs, &odd, &[7; 4_000]);
    paths.push(odd);

    let options = JournalOptions { keep_generations: 0, rotate_min_bytes: 0, ..JournalOptions::default() };
    let mut life = Life::create(&fs, options).unwrap();
    for _ in 0..3 {
        life.append(1, 8).unwrap();
        life.journal.rotate(&life.catalog).unwrap();
    }
    life.append(1, 8).unwrap();
    let report = recover(&fs, options).report;
    let mut names: Vec<OsString> = FOREIGN.iter().map(OsString::from).collect();
    names.push("MANIFEST-00000000000000000002".into());
    names.sort();
    assert_eq!(report.foreign, names);
    assert_eq!(found(&fs, &"foreign"), Some(life.tables()));
    let files = fs.files();
    for path in &paths {
        assert!(files.contains_key(path), "{}", path.display());
    }
    assert!(fs.exists(Path::new("/db/MANIFEST-00000000000000000002")).unwrap());
}

/// Proves D-21: pointers that never reached their place are wiped by the next one to write. Fault: durability W-45.
#[test]
fn temporary_files_of_ours_are_wiped() {
    let fs = disk();
    let life = Life::with_edits(&fs, JournalOptions::default(), 1);
    let old = FileName::NextPointer(lsm_journal::Generation::new(9)).path(Path::new("/db"));
    put(&fs, &old, b"torn");
    assert_eq!(found(&fs, &"reading wipes nothing"), Some(life.tables()));
    assert!(fs.exists(&old).unwrap());
    recover(&fs, JournalOptions::default());
    assert!(!fs.exists(&old).unwrap());
}

#[track_caller]
fn check_partial(fs: &SimFs, file: FileName) {
    let before = fs.state_hash();
    let error = read(fs, RecoveryMode::Strict).unwrap_err();
    assert_eq!(error, JournalError::PartialState { file });
    assert_eq!(error.kind(), ErrorKind::PartialState);
    let created = Journal::create(env_on(fs), JournalOptions::default(), DATABASE, &first_state());
    assert_eq!(created.err(), Some(error));
    assert_eq!(fs.state_hash(), before, "a refusal changes nothing");
}

/// Proves D-33: no database is created over files of one.
#[test]
fn remains_are_not_built_over() {
    let remains = [
        FileName::Current,
        FileName::Table(TableId::new(7)),
        FileName::DeleteVector(lsm_types::VectorId::new(7)),
        FileName::ValueLog(lsm_types::VlogId::new(7)),
        FileName::WalSegment(7),
        FileName::Dictionary(7),
    ];
    for file in remains {
        let fs = disk();
        fs.create_dir_all(&file.folder().path(Path::new("/db"))).unwrap();
        put(&fs, &file.path(Path::new("/db")), b"something");
        check_partial(&fs, file);
    }
    // A database whose manifest is lost altogether.
    let fs = disk();
    let life = Life::with_edits(&fs, JournalOptions::default(), 2);
    let generation = life.journal.status().generation;
    for file in [FileName::Manifest(generation), FileName::Mirror(generation)] {
        fs.remove(&file.path(Path::new("/db"))).unwrap();
    }
    check_partial(&fs, FileName::Current);
}

/// Proves D-32, D-33: empty folders and a lock are no database; a database is not created twice.
#[test]
fn creation_needs_a_free_directory() {
    let fs = disk();
    for folder in Folder::BELOW_ROOT {
        fs.create_dir(&folder.path(Path::new("/db"))).unwrap();
    }
    put(&fs, Path::new("/db/LOCK"), b"");
    assert_eq!(found(&fs, &"empty"), None);
    let life = Life::with_edits(&fs, JournalOptions::default(), 1);
    let again = Journal::create(env_on(&fs), JournalOptions::default(), DATABASE, &first_state());
    let generation = life.journal.status().generation;
    assert_eq!(again.err(), Some(JournalError::Exists { generation }));
    fs.remove(Path::new("/db/CURRENT")).unwrap();
    let again = Journal::create(env_on(&fs), JournalOptions::default(), DATABASE, &first_state());
    assert_eq!(again.err(), Some(JournalError::Exists { generation }));
    assert_eq!(found(&fs, &"without a pointer"), Some(life.tables()));
}

#[test]
fn a_missing_directory_is_no_database() {
    let fs = SimFs::default();
    assert_eq!(found(&fs, &"missing"), None);
}

/// Another comparator than the stored one is refused by name, with nothing changed.
#[test]
fn a_missing_comparator_is_named() {
    let fs = disk();
    Life::with_edits(&fs, JournalOptions::default(), 1);
    let before = fs.state_hash();
    let none = |_: TreeId, _: &TreeIdentity| None::<KeyOrder>;
    let error = Recovery::read(&env_on(&fs), RecoveryMode::Strict, &none).unwrap_err();
    let stored = "lsm.bytewise".to_owned();
    assert_eq!(error, JournalError::Comparator { tree: TreeId::new(0), stored });
    assert_eq!(error.kind(), ErrorKind::ComparatorMismatch);
    assert_eq!(fs.state_hash(), before);
}

/// Proves D-58: bits of later versions in a header whose checks are good. What must be understood is refused, what may
/// only be read is not written on, what may be ignored is.
#[test]
fn forged_feature_masks() {
    let forge = |change: fn(&mut lsm_block::Features)| {
        let fs = disk();
        let options = JournalOptions { mirror: false, ..JournalOptions::default() };
        let life = Life::with_edits(&fs, options, 2);
        let path = FileName::Manifest(life.journal.status().generation).path("/db".as_ref());
        let bytes = fs.files().remove(&path).unwrap();
        let at = lsm_types::Location { kind: lsm_types::FileKind::Manifest, id: 1, offset: 0 };
        let mut header = lsm_block::Superblock::decode(at, &bytes).unwrap();
        change(&mut header.features);
        fs.open(&path, &lsm_fs::OpenOptions::WRITE).unwrap().write_at(0, &header.encode()).unwrap();
        (fs, life.tables())
    };
    let (fs, _) = forge(|features| features.incompat = 1 << 63);
    for mode in [RecoveryMode::Strict, RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt] {
        let before = fs.state_hash();
        let error = read(&fs, mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error:?}");
        assert_eq!(fs.state_hash(), before);
    }
    let (fs, tables_) = forge(|features| features.read_compat = 1 << 62);
    let recovery = read(&fs, RecoveryMode::Strict).unwrap().unwrap();
    assert_eq!(tables(recovery.catalog()), tables_);
    let before = fs.state_hash();
    let error = recovery.start(env_on(&fs), JournalOptions::default()).unwrap_err();
    assert!(
        matches!(error, JournalError::ReadOnlyFormat { features, .. } if features == 1 << 62),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert_eq!(fs.state_hash(), before);
    let (fs, tables_) = forge(|features| features.compat = u64::MAX);
    assert_eq!(tables(&recover(&fs, JournalOptions::default()).catalog), tables_);
}
