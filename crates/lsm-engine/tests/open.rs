//! Opening: what each mode finds and does, what is refused, and that a refused open changes nothing.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use common::{Reverse, at, small_tables};
use lsm_engine::{CompactOptions, FlushOptions, OpenMode, OrphanPolicy, Reader, Token, Tree, TreeOptions};
use lsm_fs::{Fs, OpenOptions};
use lsm_testkit::sim::{SimConfig, SimFs};
use lsm_types::ErrorKind;

fn options(fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables()).table_target_bytes(4_000)
}

fn mode(fs: &SimFs, mode: OpenMode) -> TreeOptions {
    options(fs).store(|store| store.mode(mode))
}

/// A database with a few tables, closed.
fn database() -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs)).unwrap();
    for number in 0..200_u64 {
        tree.insert(format!("key-{number:04}"), [7; 50], at(number)).unwrap();
    }
    tree.seal(Some(Token::new("here").unwrap()));
    tree.flush(&FlushOptions::default()).unwrap();
    tree.close().unwrap();
    fs
}

fn tables(fs: &SimFs) -> Vec<PathBuf> {
    fs.files().into_keys().filter(|path| path.starts_with("/db/tables")).collect()
}

/// The open is refused in this way and leaves every byte as it was; only the lock file may be new.
#[track_caller]
fn refused(fs: &SimFs, options: TreeOptions, kind: ErrorKind) {
    let all = |fs: &SimFs| -> BTreeMap<PathBuf, Vec<u8>> {
        fs.files().into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
    };
    let before = all(fs);
    let error = Tree::open(options).map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{error} ({error:?})");
    assert_eq!(all(fs), before, "a refused open changed something");
}

/// Proves E-1.
#[test]
fn each_mode_finds_what_it_asks_for() {
    let nothing = || SimFs::new(SimConfig::default());
    refused(&nothing(), mode(&nothing(), OpenMode::MustExist), ErrorKind::NotFound);
    refused(&nothing(), mode(&nothing(), OpenMode::ReadOnly), ErrorKind::NotFound);
    let empty = nothing();
    empty.create_dir(Path::new("/db")).unwrap();
    refused(&empty, mode(&empty, OpenMode::MustExist), ErrorKind::NotFound);
    assert!(!empty.exists(Path::new("/db/LOCK")).unwrap(), "not even the lock file is made");
    let foreign = nothing();
    foreign.create_dir(Path::new("/db")).unwrap();
    foreign
        .open(Path::new("/db/LOCK"), &OpenOptions::CREATE_NEW)
        .unwrap()
        .append(b"somebody else's")
        .unwrap();
    refused(&foreign, mode(&foreign, OpenMode::MustExist), ErrorKind::NotFound);
    drop(Tree::open(options(&foreign)).unwrap());
    assert_eq!(foreign.files()[Path::new("/db/LOCK")], b"somebody else's");
    drop(Tree::open(mode(&empty, OpenMode::MustNotExist)).unwrap());
    let existing = database();
    refused(&existing, mode(&existing, OpenMode::MustNotExist), ErrorKind::AlreadyExists);
    for mode_ in [OpenMode::CreateIfMissing, OpenMode::MustExist, OpenMode::ReadOnly] {
        assert_eq!(Tree::open(mode(&existing, mode_)).unwrap().count().unwrap(), 200, "{mode_:?}");
    }
}

/// Proves D-31.
#[test]
fn a_read_only_open_writes_nothing_and_takes_no_lock() {
    let fs = database();
    let writer = Tree::open(options(&fs)).unwrap();
    let (state, events) = (fs.state_hash(), fs.len());
    let reader = Tree::open(mode(&fs, OpenMode::ReadOnly)).unwrap();
    assert_eq!(reader.count().unwrap(), 200);
    assert_eq!(reader.insert("a", "b", at(900)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(reader.flush(&FlushOptions::default()).is_err());
    assert!(reader.major_compact(&CompactOptions::default()).is_err());
    drop(reader);
    assert_eq!((fs.state_hash(), fs.len()), (state, events));
    drop(writer);
}

/// Proves E-3, D-29.
#[test]
fn a_second_writer_is_locked_out_until_the_last_user_is_gone() {
    let fs = database();
    let tree = Tree::open(options(&fs)).unwrap();
    let mut scan = tree.iter();
    scan.next().unwrap().unwrap();
    refused(&fs, options(&fs), ErrorKind::Locked);
    tree.close().unwrap();
    refused(&fs, options(&fs), ErrorKind::Locked);
    assert_eq!(scan.count(), 199, "a scan outlives the handle");
    drop(Tree::open(options(&fs)).unwrap());
}

/// Proves E-4, E-5, D-34.
#[test]
fn other_identities_are_refused_before_anything_changes() {
    let fs = database();
    refused(&fs, options(&fs).comparator(Arc::new(Reverse)), ErrorKind::ComparatorMismatch);
    refused(&fs, options(&fs).level_count(5), ErrorKind::OptionMismatch);
    refused(&fs, options(&fs).level_count(1), ErrorKind::InvalidConfig);
    Tree::open(options(&fs).level_count(7)).unwrap();
}

/// Proves E-6, D-26, D-50.
#[test]
fn tables_that_are_gone_or_cut_are_reported_and_the_rest_stays() {
    let fs = database();
    let table = tables(&fs).pop().unwrap();
    fs.truncate(&table, 700).unwrap();
    refused(&fs, options(&fs), ErrorKind::FileLengthMismatch);
    refused(&fs, mode(&fs, OpenMode::ReadOnly), ErrorKind::FileLengthMismatch);
    let tolerant = mode(&fs, OpenMode::ReadOnly).store(|store| store.check_files(false));
    let report = Tree::open(tolerant).unwrap().verify().unwrap();
    assert_eq!(report.tables - report.sound_tables, 1);
    fs.remove(&table).unwrap();
    refused(&fs, options(&fs), ErrorKind::MissingFiles);
    refused(&fs, mode(&fs, OpenMode::ReadOnly), ErrorKind::MissingFiles);
}

/// Proves E-2, D-33.
#[test]
fn a_lost_pointer_is_made_good_and_a_lost_manifest_is_not() {
    let fs = database();
    fs.remove(Path::new("/db/CURRENT")).unwrap();
    assert_eq!(Tree::open(options(&fs)).unwrap().count().unwrap(), 200);
    for path in fs.files().into_keys().filter(|path| path.to_string_lossy().contains("MANIFEST")) {
        fs.remove(&path).unwrap();
    }
    fs.remove(Path::new("/db/CURRENT")).unwrap();
    refused(&fs, options(&fs), ErrorKind::PartialState);
}

/// Proves D-53, D-54, D-57.
#[test]
fn orphans_go_and_foreign_names_stay() {
    let fs = database();
    let table = tables(&fs).pop().unwrap();
    let bytes = fs.files().remove(&table).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = fs.open(&Path::new("/db/tables").join(name), &OpenOptions::CREATE_NEW).unwrap();
        file.append(bytes).unwrap();
    };
    // Left by a crash: a copy of one of ours under a number that was promised, and one whose head never arrived.
    write("00000000000000000900.sst", &bytes);
    write("00000000000000000901.sst", &[0; 2000]);
    write("00000000000000000902.sst", b"short");
    // Not ours.
    write("00000000000000000903.sst", &[9; 2000]);
    write("notes.txt", b"hello");
    write("2024", b"vacation");
    let tree = Tree::open(options(&fs)).unwrap();
    let report = tree.open_report().files.clone();
    let deleted: Vec<u64> = report.deleted.iter().map(|id| id.get()).collect();
    assert_eq!(deleted, [900, 901, 902]);
    assert_eq!(report.foreign.len(), 3, "{report:?}");
    assert_eq!(tree.count().unwrap(), 200);
    assert!(fs.exists(Path::new("/db/tables/notes.txt")).unwrap());
    assert!(fs.exists(Path::new("/db/tables/00000000000000000903.sst")).unwrap());
}

/// Proves D-55.
#[test]
fn suspiciously_many_orphans_are_set_aside() {
    let fs = database();
    let bytes = fs.files().remove(&tables(&fs).pop().unwrap()).unwrap();
    for number in 500..570 {
        let name = format!("/db/tables/{number:020}.sst");
        fs.open(Path::new(&name), &OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
    }
    let tree = Tree::open(options(&fs)).unwrap();
    let report = tree.open_report().files.clone();
    assert!(report.fuse_blown && report.deleted.is_empty());
    assert_eq!(report.quarantined.len(), 70);
    assert_eq!(fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), 70);
}

#[test]
fn orphans_stay_where_the_policy_says_so() {
    let fs = database();
    fs.open(Path::new("/db/tables/00000000000000000900.sst"), &OpenOptions::CREATE_NEW).unwrap();
    let keep = options(&fs).store(|store| store.orphans(OrphanPolicy::Keep));
    assert_eq!(Tree::open(keep).unwrap().open_report().files.kept.len(), 1);
    let aside = options(&fs).store(|store| store.orphans(OrphanPolicy::Quarantine));
    assert_eq!(Tree::open(aside).unwrap().open_report().files.quarantined.len(), 1);
}

/// Proves D-24.
#[test]
fn a_table_newer_than_the_manifest_stops_the_open() {
    let fs = database();
    let bytes = fs.files().remove(&tables(&fs).pop().unwrap()).unwrap();
    let newer = Path::new("/db/tables/00000000000000009999.sst");
    fs.open(newer, &OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
    refused(&fs, options(&fs), ErrorKind::ManifestRegression);
}

/// Proves E-7.
#[test]
fn a_moved_directory_opens_as_before() {
    let fs = database();
    fs.rename(Path::new("/db"), Path::new("/elsewhere")).unwrap();
    let memory: Arc<dyn Fs> = Arc::new(fs.clone());
    let moved = TreeOptions::new("/elsewhere").store(|store| store.fs(memory)).tables(small_tables());
    let tree = Tree::open(moved).unwrap();
    assert_eq!(tree.count().unwrap(), 200);
    assert!(tree.verify().unwrap().is_clean());
}

/// Proves E-117.
#[test]
fn the_token_of_the_last_flush_comes_back() {
    let fs = database();
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(tree.recovered_token().unwrap(), Token::new("here").unwrap());
    assert_eq!(tree.persisted().highest, Some(at(199)));
    assert_eq!(tree.persisted().watermark, at(200));
    // A memtable that was not flushed holds the watermark back.
    tree.insert("late", "1", at(500)).unwrap();
    tree.seal(Some(Token::new("there").unwrap()));
    assert_eq!(tree.recovered_token().unwrap(), Token::new("here").unwrap());
    tree.flush(&FlushOptions::default()).unwrap();
    assert_eq!(tree.recovered_token().unwrap(), Token::new("there").unwrap());
    assert!(Token::new(vec![0; 65]).is_err());
}

/// Proves D-25. Fault: durability W-41.
#[test]
fn opening_reads_no_table() {
    let fs = database();
    for table in tables(&fs) {
        fs.flip(&table, 600, 1).unwrap();
    }
    let tree = Tree::open(options(&fs)).unwrap();
    assert!(tree.get("key-0000").is_err() || tree.get("key-0199").is_err(), "a damaged block is an error");
    let report = tree.verify().unwrap();
    assert!(!report.is_clean());
    assert!(report.damage().all(|finding| finding.error.is_corruption()), "{report:?}");
}

/// Proves D-22.
#[test]
fn swapped_tables_are_noticed() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs)).unwrap();
    for (key, seqno) in [("a", 1), ("b", 2)] {
        tree.insert(key, "value", at(seqno)).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    tree.close().unwrap();
    let files = tables(&fs);
    let [one, other] = files.as_slice() else { panic!("{files:?}") };
    fs.swap(one, other).unwrap();
    // Both have the length that the manifest expects: only their heads tell.
    let tree = Tree::open(options(&fs)).unwrap();
    for key in ["a", "b"] {
        assert_eq!(tree.get(key).unwrap_err().kind(), ErrorKind::FileIdentityMismatch);
    }
    assert_eq!(tree.verify().unwrap().damage().count(), 2);
}
