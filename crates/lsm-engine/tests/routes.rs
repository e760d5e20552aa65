//! Tables of some levels in another directory, on another file system.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{path::Path, sync::Arc};

use common::{Pairs, at, contents, flush, small_tables};
use lsm_compaction_planner::{Leveled, MoveDown};
use lsm_engine::{
    CheckpointOptions, CompactOptions, OpenMode, Outcome, Reader, RecoveryMode, SpaceOptions, StoreOptions,
    Tree, TreeOptions,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_types::{ErrorKind, Level};

/// Two file systems; the database lies on the first.
#[derive(Clone)]
struct Disks {
    hot: Arc<MemFs>,
    cold: Arc<MemFs>,
}

impl Disks {
    fn new() -> Self {
        Self { hot: Arc::new(MemFs::new()), cold: Arc::new(MemFs::new()) }
    }

    fn plain(&self) -> StoreOptions {
        StoreOptions::new("/db").fs(self.hot.clone())
    }

    /// Levels from `from` on lie on the second one.
    fn routed(&self, from: u8) -> StoreOptions {
        self.plain().level_route(from..=6, "/cold", self.cold.clone())
    }

    /// Names of tables here and there.
    fn tables(&self) -> (Vec<String>, Vec<String>) {
        (names(&self.hot, "/db/tables"), names(&self.cold, "/cold/tables"))
    }

    fn counts(&self) -> (usize, usize) {
        let (hot, cold) = self.tables();
        (hot.len(), cold.len())
    }
}

fn names(fs: &MemFs, folder: &str) -> Vec<String> {
    let Ok(entries) = fs.read_dir(Path::new(folder)) else { return Vec::new() };
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn options(store: StoreOptions) -> TreeOptions {
    TreeOptions::in_store(store).tables(small_tables()).table_target_bytes(20_000)
}

fn open(store: StoreOptions) -> Tree {
    Tree::open(options(store)).unwrap()
}

#[track_caller]
fn refused(store: StoreOptions, kind: ErrorKind) -> String {
    let error = Tree::open(options(store)).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

/// Writes keys from `from` on and flushes them.
fn write(tree: &Tree, from: u64, count: u64) {
    for number in from..from + count {
        tree.insert(format!("key-{number:04}"), [number as u8; 50], at(number)).unwrap();
    }
    flush(tree);
}

/// A database with tables here and there.
fn database() -> (Disks, Pairs) {
    let disks = Disks::new();
    let tree = open(disks.routed(1));
    write(&tree, 0, 300);
    tree.major_compact(&CompactOptions::default()).unwrap();
    write(&tree, 300, 50);
    let pairs = contents(&tree).unwrap();
    assert!(disks.counts().0 > 0 && disks.counts().1 > 0, "{:?}", disks.counts());
    (disks, pairs)
}

/// Proves C-46, D-27: flushes go to one file system and what is compacted to the other, found again after opening, read,
/// verified, and removed when it is not needed any more.
#[test]
fn levels_go_where_they_are_sent() {
    let disks = Disks::new();
    let tree = open(disks.routed(1));
    assert_eq!(names(&disks.cold, "/cold"), ["ROUTE", "tables"]);
    write(&tree, 0, 300);
    let flushed = disks.tables();
    assert!(!flushed.0.is_empty() && flushed.1.is_empty(), "{flushed:?}");
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(disks.counts(), (0, tree.stats().tables()));
    write(&tree, 300, 100);
    tree.remove_range("key-0010".."key-0350", at(1_000)).unwrap();
    flush(&tree);
    let before = contents(&tree).unwrap();
    assert_eq!(before.len(), 60);
    tree.close().unwrap();

    let tree = open(disks.routed(1));
    assert_eq!(contents(&tree).unwrap(), before);
    assert!(tree.verify().unwrap().is_clean());
    assert_eq!(tree.get("key-0005").unwrap().unwrap(), [5; 50].as_slice());
    assert_eq!(tree.get("key-0200").unwrap(), None);
    tree.set_gc_watermark(at(2_000));
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(contents(&tree).unwrap(), before);
    assert_eq!(disks.counts(), (0, tree.stats().tables()));
    let reader = open(disks.routed(1).mode(OpenMode::ReadOnly));
    assert_eq!(contents(&reader).unwrap(), before);
}

/// Proves C-46, C-47: a move to a level of another directory is a merge; one within a directory is a move. Where a table
/// lies counts, not where its level is sent now.
#[test]
fn a_move_to_another_directory_rewrites() {
    let disks = Disks::new();
    let tree = open(disks.routed(3));
    write(&tree, 0, 50);
    let down = |tree: &Tree, from: u8, to: u8| {
        let strategy = MoveDown { from: Level::new(from), to: Level::new(to) };
        tree.compact(&strategy, &CompactOptions::default()).unwrap().outcome
    };
    let before = contents(&tree).unwrap();
    let files = disks.tables();
    assert_eq!(down(&tree, 0, 2), Outcome::Moved);
    assert_eq!(disks.tables(), files);
    assert_eq!(down(&tree, 2, 3), Outcome::Merged);
    assert_eq!(disks.counts(), (0, 1));
    let files = disks.tables();
    assert_eq!(down(&tree, 3, 4), Outcome::Moved);
    assert_eq!(disks.tables(), files);
    tree.close().unwrap();

    // Level 4 is sent elsewhere now, and so is level 5: the table itself lies where it lay.
    let tree = open(disks.routed(6));
    assert_eq!(contents(&tree).unwrap(), before);
    assert_eq!(disks.tables(), files);
    assert_eq!(down(&tree, 4, 5), Outcome::Merged);
    assert_eq!(disks.counts(), (1, 0));
    assert_eq!(down(&tree, 5, 6), Outcome::Merged);
    assert_eq!(disks.counts(), (0, 1));
    assert_eq!(contents(&tree).unwrap(), before);
}

/// Proves C-48: what would have been a move asks for room as every merge does; a move asks for none.
#[test]
fn a_move_to_another_directory_asks_for_room() {
    let disks = Disks::new();
    let full = SpaceOptions::default().admission(true).limit_bytes(Some(1));
    let tree = open(disks.routed(3).space(full));
    write(&tree, 0, 50);
    let down = |tree: &Tree, from: u8, to: u8| {
        let strategy = MoveDown { from: Level::new(from), to: Level::new(to) };
        tree.compact(&strategy, &CompactOptions::default()).unwrap().outcome
    };
    assert_eq!(down(&tree, 0, 2), Outcome::Moved);
    let files = disks.tables();
    let outcome = down(&tree, 2, 3);
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    assert_eq!(disks.tables(), files);
    tree.close().unwrap();
    let tree = open(disks.routed(3));
    assert_eq!(down(&tree, 2, 3), Outcome::Merged);
    assert_eq!(disks.counts(), (0, 1));
}

/// Proves E-6, D-27: a directory that is gone, not given, or another one, is explained, and nothing is changed.
#[test]
fn an_open_without_a_directory_explains() {
    let (disks, pairs) = database();
    let before = (disks.hot.used_bytes(), disks.cold.used_bytes(), disks.tables());
    let message = refused(disks.plain(), ErrorKind::RouteMissing);
    assert!(message.contains("tables lie on route 1"), "{message}");
    // Not mounted: an empty directory, or none.
    let nothing = Disks { cold: Arc::new(MemFs::new()), ..disks.clone() };
    refused(nothing.routed(1), ErrorKind::RouteMissing);
    refused(nothing.routed(1).mode(OpenMode::ReadOnly), ErrorKind::RouteMissing);
    refused(nothing.routed(1).recovery_mode(RecoveryMode::SkipCorrupt), ErrorKind::RouteMissing);
    assert_eq!(names(&nothing.cold, "/"), [""; 0], "nothing was made there");
    // The mount of another database.
    let (other, _) = database();
    let mixed = Disks { cold: other.cold, ..disks.clone() };
    refused(mixed.routed(1), ErrorKind::RouteMismatch);
    // The database itself, under another name.
    let alias = disks.plain().level_route(1..=6, "/db", disks.hot.clone());
    refused(alias, ErrorKind::RouteMismatch);
    // One directory twice.
    let twice = disks.plain().level_route(1..=2, "/cold", disks.cold.clone());
    refused(twice.level_route(3..=6, "/cold", disks.cold.clone()), ErrorKind::InvalidConfig);
    // A marker that is damaged.
    let damaged = Disks { cold: Arc::new(MemFs::new()), ..disks.clone() };
    damaged.cold.create_dir(Path::new("/cold")).unwrap();
    let file = damaged.cold.open(Path::new("/cold/ROUTE"), &OpenOptions::CREATE_NEW).unwrap();
    file.append(b"something else").unwrap();
    refused(damaged.routed(1), ErrorKind::RouteMismatch);
    assert_eq!((disks.hot.used_bytes(), disks.cold.used_bytes(), disks.tables()), before);
    let tree = open(disks.routed(1));
    assert_eq!(contents(&tree).unwrap(), pairs);
}

/// Proves D-27.
#[test]
fn routes_that_make_no_sense_are_refused() {
    let disks = Disks::new();
    let route = |store: StoreOptions, levels| store.level_route(levels, "/a", disks.cold.clone());
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is refused")]
    let inverted = 3..=2;
    refused(route(disks.plain(), inverted), ErrorKind::InvalidConfig);
    refused(route(route(disks.plain(), 1..=3), 3..=4), ErrorKind::InvalidConfig);
    refused(disks.plain().level_route(1..=1, "", disks.cold.clone()), ErrorKind::InvalidConfig);
    assert_eq!(names(&disks.hot, "/"), [""; 0]);
}

/// Proves D-27: a directory is known by its marker, so two of them may swap places, and one path may lead to two disks.
#[test]
fn directories_may_swap_places() {
    let disks = Disks::new();
    let third = Arc::new(MemFs::new());
    let store = |first: &Arc<MemFs>, second: &Arc<MemFs>| {
        let store = disks.plain().level_route(1..=5, "/cold", first.clone());
        store.level_route(6..=6, "/cold", second.clone())
    };
    let tree = open(store(&disks.cold, &third));
    write(&tree, 0, 100);
    tree.major_compact(&CompactOptions::default()).unwrap();
    write(&tree, 100, 100);
    let leveled = Leveled { l0_threshold: 1, ..Leveled::default() };
    tree.compact(&leveled, &CompactOptions::default()).unwrap();
    let before = contents(&tree).unwrap();
    assert!(!names(&third, "/cold/tables").is_empty());
    tree.close().unwrap();
    let tree = open(store(&third, &disks.cold));
    assert_eq!(contents(&tree).unwrap(), before);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(contents(&tree).unwrap(), before);
    assert!(names(&third, "/cold/tables").is_empty(), "level 6 lies on the other one now");
}

/// Proves C-156, D-53: what no version names is swept from every directory, and what is not ours is not.
#[test]
fn orphans_are_swept_from_every_directory() {
    let (disks, pairs) = database();
    let (hot, cold) = disks.tables();
    let copy = |fs: &MemFs, folder: &str, from: &str, to: &str| {
        let folder = Path::new(folder);
        let source = fs.open(&folder.join(from), &OpenOptions::READ).unwrap();
        let mut bytes = vec![0; 4_096];
        let len = source.read_at(0, &mut bytes).unwrap();
        fs.open(&folder.join(to), &OpenOptions::CREATE_NEW).unwrap().append(&bytes[..len]).unwrap();
    };
    // Numbers that were reserved and are not used: as after a crash in the middle of a job.
    copy(&disks.hot, "/db/tables", &hot[0], "00000000000000000901.sst");
    copy(&disks.cold, "/cold/tables", &cold[0], "00000000000000000902.sst");
    disks.cold.open(Path::new("/cold/tables/notes.txt"), &OpenOptions::CREATE_NEW).unwrap();
    let tree = open(disks.routed(1));
    let report = &tree.open_report().files;
    let deleted: Vec<u64> = report.deleted.iter().map(|id| id.get()).collect();
    assert_eq!(deleted, [901, 902]);
    assert_eq!(report.foreign, ["notes.txt"]);
    assert_eq!(contents(&tree).unwrap(), pairs);
    let (hot_now, mut cold_now) = disks.tables();
    assert_eq!(cold_now.pop().as_deref(), Some("notes.txt"));
    assert_eq!((hot_now, cold_now), (hot, cold));
}

/// Proves D-26, E-6: a file that is missing from a directory that is there is named with its route.
#[test]
fn a_missing_file_is_named() {
    let (disks, _) = database();
    let gone = &disks.tables().1[0];
    disks.cold.remove_file(&Path::new("/cold/tables").join(gone)).unwrap();
    refused(disks.routed(1), ErrorKind::MissingFiles);
    let tree = open(disks.routed(1).mode(OpenMode::ReadOnly).check_files(false));
    let lost = &tree.open_report().files.lost;
    assert_eq!((lost.len(), lost[0].route.get(), lost[0].found), (1, 1, None));
}

/// Proves D-98: a checkpoint has everything in one place, and opens without routes.
#[test]
fn a_checkpoint_is_in_one_place() {
    let (disks, pairs) = database();
    let tree = open(disks.routed(1));
    tree.checkpoint("/copy", &CheckpointOptions::default()).unwrap();
    let copied = open(StoreOptions::new("/copy").fs(disks.hot.clone()));
    assert_eq!(contents(&copied).unwrap(), pairs);
    assert!(copied.verify().unwrap().is_clean());
    assert_eq!(names(&disks.hot, "/copy/tables").len(), tree.stats().tables());
    let pinned = tree.pin();
    pinned.restore_to("/restored", &CheckpointOptions::default()).unwrap();
    let restored = open(StoreOptions::new("/restored").fs(disks.hot.clone()));
    assert_eq!(contents(&restored).unwrap(), pairs);
}

/// A database without any manifest is put together from the files of all directories.
#[test]
fn a_database_is_put_together_from_all_directories() {
    let (disks, pairs) = database();
    for entry in disks.hot.read_dir(Path::new("/db")).unwrap() {
        let name = entry.name.to_str().unwrap();
        if name == "CURRENT" || name.starts_with("MANIFEST") {
            disks.hot.remove_file(&Path::new("/db").join(name)).unwrap();
        }
    }
    let store = || disks.routed(1);
    let tree = open(store().recovery_mode(RecoveryMode::RebuildFromFiles));
    assert_eq!(contents(&tree).unwrap(), pairs);
    tree.store().accept_recovery().unwrap();
    tree.close().unwrap();
    let tree = open(store());
    assert_eq!(contents(&tree).unwrap(), pairs);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(disks.counts(), (0, tree.stats().tables()));
}
