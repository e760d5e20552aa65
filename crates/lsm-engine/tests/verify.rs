//! Verification: what each depth sees, that damage is named with its place, and that the way of checking makes no
//! difference to what is found.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{
    cmp::Ordering,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use common::{
    InPlace, at,
    layouts::{text_splitter, texts},
    small_tables,
};
use lsm_block::{
    BlockKind, Footer, Superblock, Walk, Walked,
    log::{LogEncoder, LogFormat, LogPosition, LogScanner},
};
use lsm_engine::{
    ColumnLayout, CompactOptions, DeleteStrategy, FlushOptions, Tree, TreeOptions, VerifyReport, VlogPolicy,
};
use lsm_fs::{Fs, MemFs, OpenOptions, SystemClock, SystemRandom};
use lsm_journal::{JournalEnv, Pointer, Recovery, RecoveryMode};
use lsm_manifest::TableDescriptor;
use lsm_repair::{
    Depth, Finding, LiveTable, LiveValues, Outcome, Scope, Selection, Splitters, VerifyOptions, verify,
};
use lsm_testkit::{
    dice::Dice,
    sim::{SimConfig, SimFs},
};
use lsm_types::{
    Comparator, ErrorKind, FileKind, KeyOrder, KeyRange, Level, Location, TableId, TreeId, ValueHandle,
    VlogId,
};

fn options(fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables()).table_target_bytes(3_000)
}

fn flush(tree: &Tree) {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

/// A closed database with one table in level 0 and several in the last level, and more than one generation.
fn database() -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs)).unwrap();
    for number in 0..120_u64 {
        tree.insert(format!("key-{number:04}"), [number as u8; 40], at(number)).unwrap();
    }
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.close().unwrap();
    let tree = Tree::open(options(&fs)).unwrap();
    for number in 0..30_u64 {
        tree.insert(format!("key-{:04}", number * 3), "newer", at(200 + number)).unwrap();
    }
    flush(&tree);
    tree.close().unwrap();
    fs
}

fn separating(fs: &SimFs) -> TreeOptions {
    let (thresholds, target_bytes) = (vec![8], 4_000);
    options(fs).separation(VlogPolicy { thresholds, target_bytes, ..VlogPolicy::default() })
}

/// A closed database with values in several value logs, and beside their keys.
fn separated() -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(separating(&fs)).unwrap();
    for number in 0..90_u64 {
        let value: Vec<u8> = (0..40).map(|byte| (number * 31 + byte * byte) as u8).collect();
        tree.insert(format!("key-{number:04}"), value, at(number)).unwrap();
    }
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    for number in 0..30_u64 {
        let value = if number < 20 { "new" } else { "newer and longer" };
        tree.insert(format!("key-{:04}", number * 3), value, at(200 + number)).unwrap();
    }
    flush(&tree);
    tree.close().unwrap();
    fs
}

/// A closed database with one table, whose columns have pages of their own and some of whose rows are marked dead.
fn marked_columns() -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    let policy = texts().layout(ColumnLayout::Columnar).groups(1 << 20, 1_500).page_rows(400);
    let options = options(&fs).columns(policy).delete_strategies([DeleteStrategy::MergeOnRead]);
    let tree = Tree::open(options.table_target_bytes(1 << 20)).unwrap();
    let mut dice = Dice::new(1);
    for number in 0..1_500_u64 {
        let text = format!("{:016x}{:016x}", dice.roll(), dice.roll());
        tree.insert(format!("key-{number:04}"), text, at(number)).unwrap();
    }
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.remove_range("key-0500".."key-0600", at(2_000)).unwrap();
    flush(&tree);
    tree.set_gc_watermark(at(2_001));
    let report = tree.compact(&InPlace(1 << 20), &CompactOptions::default()).unwrap();
    assert_eq!((report.outcome, report.dropped.range_deleted), (lsm_engine::Outcome::Masked, 100));
    tree.close().unwrap();
    fs
}

fn value_logs(fs: &SimFs) -> Vec<PathBuf> {
    files(fs).into_iter().filter(|path| path.starts_with("/db/blobs")).collect()
}

fn files(fs: &SimFs) -> Vec<PathBuf> {
    fs.files().into_keys().filter(|path| !path.ends_with("LOCK")).collect()
}

fn tables(fs: &SimFs) -> Vec<PathBuf> {
    files(fs).into_iter().filter(|path| path.starts_with("/db/tables")).collect()
}

fn check_in(fs: &Arc<dyn Fs>, depth: Depth, options: &VerifyOptions<'_>) -> VerifyReport {
    verify(&Scope::Directory { fs, root: Path::new("/db") }, depth, options).unwrap()
}

fn check_with(fs: &SimFs, depth: Depth, options: &VerifyOptions<'_>) -> VerifyReport {
    check_in(&(Arc::new(fs.clone()) as Arc<dyn Fs>), depth, options)
}

fn check(fs: &SimFs, depth: Depth) -> VerifyReport {
    check_with(fs, depth, &VerifyOptions::default())
}

fn check_file(fs: &SimFs, path: &Path, depth: Depth, options: &VerifyOptions<'_>) -> VerifyReport {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    verify(&Scope::File { fs: &fs, path }, depth, options).unwrap()
}

/// Findings in a form that can be compared.
fn list(report: &VerifyReport) -> Vec<String> {
    let line = |finding: &Finding| format!("{finding:?}");
    report.findings.iter().map(line).collect()
}

/// Findings about one file.
fn about<'r>(report: &'r VerifyReport, path: &Path) -> Vec<&'r Finding> {
    report.findings.iter().filter(|finding| Path::new("/db").join(&finding.file) == path).collect()
}

/// Proves D-105.
#[test]
fn a_sound_database_passes_at_every_depth() {
    check_sound(&database(), 150, 0);
    check_sound(&separated(), 120, 100);
}

#[track_caller]
fn check_sound(fs: &SimFs, entries_expected: u64, values_expected: u64) {
    let before = fs.state_hash();
    let mut entries = 0;
    for depth in Depth::ALL {
        let report = check(fs, depth);
        assert!(report.findings.is_empty(), "{depth}: {:?}", report.findings);
        assert_eq!(report.tables as usize, tables(fs).len());
        assert_eq!(report.value_logs as usize, value_logs(fs).len());
        assert_eq!(report.sound_value_logs, report.value_logs);
        assert_eq!(report.files as usize, files(fs).len());
        for other in Depth::ALL {
            // Manifest files go to the last depth, tables to the one before.
            let tables_too = other <= depth && other < Depth::Manifest;
            let others = report.files - report.tables - report.value_logs;
            let expected = if tables_too { report.files } else { others };
            let expected = if other <= depth { expected } else { 0 };
            assert_eq!(report.checked(other), expected, "{depth} {other}");
        }
        assert!(report.entries >= entries);
        entries = report.entries;
        let values = match depth {
            Depth::Entries => values_expected,
            // Once in its file, once as what an entry leads to.
            Depth::Structure | Depth::Manifest => 2 * values_expected,
            _ => 0,
        };
        assert_eq!(report.values, values, "{depth}");
    }
    assert_eq!(entries, entries_expected);
    assert_eq!(fs.state_hash(), before, "a check changes nothing");
}

/// The part of a file that has a check of its own and holds byte `at`.
fn unit(bytes: &[u8], at: u64) -> (u64, u64) {
    let location = Location { kind: FileKind::Table, id: 0, offset: 0 };
    let head = Superblock::decode(location, bytes).unwrap();
    let len = bytes.len() as u64;
    let mut units = vec![(0, Superblock::LEN as u64)];
    for step in Walk::file(bytes, &head).unwrap() {
        units.push(match step.unwrap() {
            Walked::Frame { mark, .. } => (mark.handle.offset, mark.handle.end().unwrap()),
            Walked::Zeros { extent } => (extent.start, extent.end),
            other => panic!("{other:?}"),
        });
    }
    units.push((len - Footer::LEN as u64, len));
    *units.iter().find(|(start, end)| (*start..*end).contains(&at)).unwrap()
}

/// One bit in each 64 bytes of a file, never at the same place of them twice in a row. Zeros between two copies hold
/// nothing: a few of them stand for all.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (u64, u8)> {
    let pieces = bytes.chunks(64).enumerate();
    let pieces = pieces.filter(|(step, piece)| step % 64 == 0 || piece.iter().any(|&byte| byte != 0));
    pieces.map(|(step, piece)| ((step * 64 + step * 29 % piece.len()) as u64, (step % 8) as u8))
}

/// A flipped bit is damage at V2 and has its place at V3.
#[track_caller]
fn check_flip(fs: &Arc<dyn Fs>, path: &Path, bytes: &[u8], byte: u64, bit: u8) {
    let file = fs.open(path, &OpenOptions::WRITE).unwrap();
    let sound = bytes[byte as usize];
    file.write_at(byte, &[sound ^ (1 << bit)]).unwrap();
    let report = check_in(fs, Depth::Digests, &VerifyOptions::default());
    let found = about(&report, path);
    let flagged =
        found.iter().any(|finding| finding.outcome == Outcome::Fail && finding.depth <= Depth::Digests);
    let file_name = path.display();
    assert!(flagged, "{file_name} byte {byte} at v2: {:?}", report.findings);
    let report = check_in(fs, Depth::Frames, &VerifyOptions::default());
    let (start, end) = if path.ends_with("CURRENT") { (0, 96) } else { unit(bytes, byte) };
    let is_there = |finding: &&Finding| finding.offset.is_some_and(|offset| (start..end).contains(&offset));
    let located = about(&report, path).into_iter().find(is_there);
    assert!(located.is_some(), "{file_name} byte {byte} of {start}..{end} at v3: {:?}", report.findings);
    assert!(
        report.damage().all(|finding| Path::new("/db").join(&finding.file) == path),
        "{file_name} byte {byte}: other files are accused: {:?}",
        report.findings
    );
    file.write_at(byte, &[sound]).unwrap();
}

/// Proves D-108, F-147. Fault: durability W-37.
/// Fault: formats W-39.
#[test]
fn every_flipped_bit_is_flagged_and_located() {
    check_flips(&database(), 1, |_| true);
    let separated = separated();
    let log = &value_logs(&separated)[1];
    check_flips(&separated, 1, |path| path == log);
}

/// Proves D-108, F-112: in directories and pages of columns, beside a delete vector.
#[test]
fn flipped_bits_of_columns_are_flagged_and_located() {
    let sound = marked_columns();
    let is_table = |path: &PathBuf| path.extension().is_some_and(|found| found == "sst");
    let table = tables(&sound).into_iter().find(is_table).unwrap();
    let bytes = &sound.files()[&table];
    let head = Superblock::decode(Location { kind: FileKind::Table, id: 0, offset: 0 }, bytes).unwrap();
    let frames = Walk::file(&bytes[..], &head).unwrap().map(Result::unwrap);
    let pages = frames
        .filter(|step| matches!(step, Walked::Frame { header, .. } if header.kind == BlockKind::COLUMN_PAGE));
    assert!(pages.count() > 12, "keys, numbers, kinds and texts, four parts of each");
    check_flips(&sound, 9, |path| path == table);
    // Who does not have the splitter is told that values were not looked at.
    let report = check(&sound, Depth::Manifest);
    let outcomes: Vec<_> = report.findings.iter().map(|finding| finding.outcome).collect();
    assert_eq!((outcomes, report.is_clean()), (vec![Outcome::Warn], true));
}

/// Flips one of so many bits.
#[track_caller]
fn check_flips(sound: &SimFs, step: usize, is_flipped: impl Fn(&Path) -> bool) {
    let all = sound.files();
    let memory = MemFs::new();
    for (path, bytes) in &all {
        memory.create_dir_all(path.parent().unwrap()).unwrap();
        memory.open(path, &OpenOptions::CREATE_NEW).unwrap().append(bytes).unwrap();
    }
    let fs: Arc<dyn Fs> = Arc::new(memory);
    let mut flipped = 0;
    for path in files(sound).into_iter().filter(|path| is_flipped(path)) {
        let bytes = &all[&path];
        for (byte, bit) in flips(bytes).step_by(step) {
            check_flip(&fs, &path, bytes, byte, bit);
            flipped += 1;
        }
    }
    assert!(flipped > 50, "{flipped}");
    let options =
        VerifyOptions { splitters: Splitters::new(vec![text_splitter()]), ..VerifyOptions::default() };
    let rest = check_in(&fs, Depth::Manifest, &options).findings;
    assert!(rest.is_empty(), "{rest:?}");
}

/// Proves D-108, D-26.
#[test]
fn lost_cut_and_swapped_files_show_without_reading_data() {
    for database in [database, separated] {
        check_lost(database);
    }
}

#[track_caller]
fn check_lost(database: fn() -> SimFs) {
    let sound = database();
    for path in files(&sound) {
        let fs = database();
        fs.remove(&path).unwrap();
        let report = check(&fs, Depth::Presence);
        assert!(!about(&report, &path).is_empty(), "{} is gone: {:?}", path.display(), report.findings);
    }
    for path in files(&sound) {
        let len = sound.files()[&path].len() as u64;
        for len in [0, len / 2, len - 1] {
            let fs = database();
            fs.truncate(&path, len).unwrap();
            let has_data = path.starts_with("/db/tables") || path.starts_with("/db/blobs");
            let depth = if has_data { Depth::Presence } else { Depth::Heads };
            let report = check(&fs, depth);
            assert!(
                !about(&report, &path).is_empty(),
                "{} has {len} bytes: {:?}",
                path.display(),
                report.findings
            );
        }
    }
    for files in [tables, value_logs] {
        let fs = database();
        let files = files(&fs);
        let Some(pair) = files.get(..2) else { continue };
        fs.swap(&pair[0], &pair[1]).unwrap();
        let report = check(&fs, Depth::Heads);
        for file in pair {
            let is_told = about(&report, file)
                .iter()
                .any(|finding| finding.error.kind() == ErrorKind::FileIdentityMismatch);
            assert!(is_told, "{:?}", report.findings);
        }
    }
}

/// Proves D-105, D-106, D-74: a damaged value is found in its file, and again from the key that leads to it.
#[test]
fn damaged_values_name_their_keys() {
    let fs = separated();
    let log = &value_logs(&fs)[0];
    // The payload of the first value.
    fs.flip(log, 512 + 60, 3).unwrap();
    let report = check(&fs, Depth::Structure);
    assert_eq!(
        (report.value_logs, report.sound_value_logs),
        (value_logs(&fs).len() as u64, report.value_logs - 1)
    );
    let found = about(&report, log);
    let own = found.iter().find(|finding| finding.table.is_none() && finding.offset == Some(512)).unwrap();
    assert_eq!((own.depth, own.section), (Depth::Frames, Some("value")));
    let led: Vec<_> = found.iter().filter(|finding| finding.table.is_some()).collect();
    assert_eq!(led.len(), 1, "{:?}", report.findings);
    assert_eq!((led[0].depth, led[0].offset), (Depth::Structure, Some(512)));
    let keys = led[0].keys.as_ref().unwrap();
    assert_eq!((&keys.min[..], &keys.max[..]), (&b"key-0000"[..], &b"key-0000"[..]));
    assert!(report.sound_tables < report.tables, "its values are not all there");
    // By itself the file is found damaged, too, and another one is not.
    let report = check_file(&fs, log, Depth::Structure, &VerifyOptions::default());
    assert!(report.damage().any(|finding| finding.offset == Some(512)), "{:?}", report.findings);
    let report = check_file(&fs, &value_logs(&fs)[1], Depth::Structure, &VerifyOptions::default());
    assert_eq!((report.findings.len(), report.value_logs), (0, 1), "{:?}", report.findings);
    assert!(report.values > 0);
}

/// Proves D-105: a handle that leads to a value log which the tree does not have.
#[test]
fn dangling_handles_are_found() {
    let fs = separated();
    let recovery = recover(&fs);
    let (tree, version) = recovery.catalog().trees().next().unwrap();
    let memory: Arc<dyn Fs> = Arc::new(fs.clone());
    let tables: Vec<LiveTable> = version
        .levels
        .tables()
        .map(|(level, descriptor)| LiveTable {
            tree,
            level,
            descriptor: descriptor.clone(),
            order: KeyOrder::bytewise(),
            prefix_extractor: None,
            root: "/db".into(),
        })
        .collect();
    let handles: u64 = tables.iter().map(|table| table.descriptor.counts.indirections).sum();
    let mut logs: Vec<_> = version.vlogs.iter().cloned().collect();
    let lost = logs.pop().unwrap().vlog;
    let values = vec![LiveValues { tree, logs, order: KeyOrder::bytewise(), root: "/db".into() }];
    let scope = Scope::Tables { fs: &memory, database: recovery.database(), tables, values };
    let report = verify(&scope, Depth::Structure, &VerifyOptions::default()).unwrap();
    assert!(handles > 0 && !report.is_clean());
    assert_eq!(report.damage().count() as u64, version.vlogs.get(lost.id).unwrap().live.entries);
    for finding in report.damage() {
        assert_eq!(finding.error.kind(), ErrorKind::DanglingBlob);
        assert_eq!(finding.value_log, Some(lost.id));
        let keys = finding.keys.as_ref().unwrap();
        assert_eq!(keys.min, keys.max, "each is named");
    }
}

/// Proves D-105, D-106, D-107, E-146.
#[test]
fn the_number_of_threads_makes_no_difference_and_a_cancelled_check_goes_on() {
    let fs = database();
    for (idx, table) in tables(&fs).iter().enumerate() {
        for offset in [600, 900 + idx as u64 * 7] {
            fs.flip(table, offset, 3).unwrap();
        }
    }
    fs.flip(&files(&fs)[1], 700, 1).unwrap();
    assert!(check(&fs, Depth::Heads).is_clean(), "heads are sound");
    let whole = check(&fs, Depth::Manifest);
    let located: Vec<_> = whole.damage().filter(|finding| finding.depth == Depth::Frames).collect();
    assert!(located.len() > tables(&fs).len(), "a check goes on after the first damage");
    assert!(located.iter().all(|finding| finding.offset.is_some() && !finding.file.as_os_str().is_empty()));
    assert!(whole.damage().count() > tables(&fs).len() * 2, "{:?}", whole.findings);
    assert!(whole.damage().any(|finding| finding.keys.is_some() && finding.section == Some("data")));
    for jobs in [2, 5] {
        let jobs = NonZeroUsize::new(jobs).unwrap();
        let report = check_with(&fs, Depth::Manifest, &VerifyOptions { jobs, ..VerifyOptions::default() });
        assert_eq!(list(&report), list(&whole));
        assert_eq!(format!("{report:?}"), format!("{whole:?}"));
    }

    // Stops after every file in turn.
    for stop_after in 0..whole.files as usize {
        let done = AtomicUsize::new(0);
        let count = |_: &lsm_repair::Progress<'_>| {
            done.fetch_add(1, Relaxed);
        };
        let manifests = (whole.files - whole.tables) as usize;
        let cancel = || done.load(Relaxed) + manifests > stop_after;
        let first =
            VerifyOptions { progress: Some(&count), cancel: Some(&cancel), ..VerifyOptions::default() };
        let mut report = check_with(&fs, Depth::Manifest, &first);
        let mut findings = list(&report);
        let mut tables = report.tables;
        if stop_after < manifests {
            continue;
        }
        while let Some(cursor) = report.cursor {
            let next = VerifyOptions { resume: Some(cursor), ..VerifyOptions::default() };
            report = check_with(&fs, Depth::Manifest, &next);
            findings.extend(list(&report));
            tables += report.tables;
        }
        assert_eq!((findings, tables), (list(&whole), whole.tables), "cut short after {stop_after}");
    }
}

/// Proves D-107.
#[test]
fn a_selection_leaves_the_rest_alone() {
    let fs = database();
    let selected = |selection: Selection| {
        let seen = Mutex::new(Vec::new());
        let tell = |progress: &lsm_repair::Progress<'_>| {
            seen.lock().unwrap().push(progress.file.to_path_buf());
        };
        let options = VerifyOptions { selection, progress: Some(&tell), ..VerifyOptions::default() };
        let report = check_with(&fs, Depth::Structure, &options);
        assert!(report.is_clean());
        seen.into_inner().unwrap()
    };
    let all = selected(Selection::default());
    assert_eq!(all.len(), 3);
    let top = selected(Selection { levels: Some(Level::new(0)..=Level::new(0)), ..Selection::default() });
    assert_eq!(top.len(), 1);
    let id: u64 = top[0].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let named = Selection { tables: Some(vec![TableId::new(id)]), ..Selection::default() };
    assert_eq!(selected(named), top);
    let keys = KeyRange { min: "key-0118".into(), max: "key-9".into() };
    let last = selected(Selection { keys: Some(keys), ..Selection::default() });
    assert_eq!(last.len(), 1);
    assert!(last != top && all.contains(&last[0]));
}

/// Proves D-107: single files.
#[test]
fn every_file_can_be_checked_by_itself() {
    let fs = database();
    for path in files(&fs).into_iter().filter(|path| !path.ends_with("CURRENT")) {
        let report = check_file(&fs, &path, Depth::Manifest, &VerifyOptions::default());
        assert!(report.findings.is_empty() && report.files == 1, "{path:?}: {:?}", report.findings);
        fs.flip(&path, 700, 2).unwrap();
        let report = check_file(&fs, &path, Depth::Frames, &VerifyOptions::default());
        assert!(
            report.damage().any(|finding| finding.offset.is_some_and(|offset| offset >= 512)),
            "{path:?}"
        );
        fs.flip(&path, 700, 2).unwrap();
    }
    fs.open(Path::new("/db/notes"), &OpenOptions::CREATE_NEW).unwrap().append(&[7; 5_000]).unwrap();
    let memory: Arc<dyn Fs> = Arc::new(fs.clone());
    let scope = Scope::File { fs: &memory, path: Path::new("/db/notes") };
    let refused = verify(&scope, Depth::Frames, &VerifyOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotOurs);
}

/// Byte order, or its reverse, under one name.
struct Named {
    is_reversed: bool,
}

impl Comparator for Named {
    fn name(&self) -> &'static str {
        "test.named"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if self.is_reversed { b.cmp(a) } else { a.cmp(b) }
    }
}

/// Proves D-106.
#[test]
fn what_cannot_be_checked_is_a_warning_and_entries_out_of_order_are_damage() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs).comparator(Arc::new(Named { is_reversed: false }))).unwrap();
    for number in 0..40_u64 {
        tree.insert(format!("key-{number:04}"), "value", at(number)).unwrap();
    }
    flush(&tree);
    drop(tree);
    let table = tables(&fs).remove(0);
    let report = check_file(&fs, &table, Depth::Structure, &VerifyOptions::default());
    assert_eq!(report.outcome(), Outcome::Warn);
    assert_eq!(report.findings[0].error.kind(), ErrorKind::ComparatorMismatch);
    assert!(report.frames > 5, "its frames are checked all the same");
    fs.flip(&table, 600, 0).unwrap();
    let report = check_file(&fs, &table, Depth::Structure, &VerifyOptions::default());
    assert_eq!(report.outcome(), Outcome::Fail);
    fs.flip(&table, 600, 0).unwrap();
    let with = |is_reversed| VerifyOptions {
        comparators: vec![Arc::new(Named { is_reversed })],
        ..VerifyOptions::default()
    };
    assert_eq!(check_file(&fs, &table, Depth::Structure, &with(false)).outcome(), Outcome::Ok);
    // Nothing but the order of the entries tells that this comparator is not the one they were written with.
    assert_eq!(check_file(&fs, &table, Depth::Frames, &with(true)).outcome(), Outcome::Ok);
    let report = check_file(&fs, &table, Depth::Entries, &with(true));
    assert!(report.damage().any(|finding| finding.depth == Depth::Entries), "{:?}", report.findings);

    let whole = Scope::Directory { fs: &(Arc::new(fs.clone()) as Arc<dyn Fs>), root: Path::new("/db") };
    let refused = verify(&whole, Depth::Presence, &VerifyOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ComparatorMismatch);
    assert!(verify(&whole, Depth::Manifest, &with(false)).unwrap().is_clean());
}

/// Proves D-107: open trees.
#[test]
fn an_open_tree_is_checked_while_it_is_compacted() {
    let fs = database();
    let tree = Tree::open(options(&fs)).unwrap();
    let pinned = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let checked = scope.spawn(|| {
            let wait = AtomicUsize::new(0);
            // The first table has been checked when everything is replaced.
            let progress = |_: &lsm_repair::Progress<'_>| {
                if wait.fetch_add(1, Relaxed) == 0 {
                    pinned.wait();
                    pinned.wait();
                }
            };
            let options = VerifyOptions { progress: Some(&progress), ..VerifyOptions::default() };
            tree.verify_with(Depth::Structure, &options).unwrap()
        });
        pinned.wait();
        tree.major_compact(&CompactOptions::default()).unwrap();
        pinned.wait();
        let report = checked.join().unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.entries, 150);
    });
    assert_eq!(
        tree.verify().unwrap().entries,
        tree.stats().levels.iter().map(|level| level.entries).sum::<u64>()
    );
}

/// Proves D-107: a directory whose owner replaces tables meanwhile.
#[test]
fn a_directory_is_checked_beside_its_writer() {
    let fs = database();
    let tree = Tree::open(options(&fs)).unwrap();
    let once = AtomicUsize::new(0);
    let progress = |_: &lsm_repair::Progress<'_>| {
        if once.fetch_add(1, Relaxed) == 0 {
            tree.major_compact(&CompactOptions::default()).unwrap();
        }
    };
    let beside = VerifyOptions { progress: Some(&progress), ..VerifyOptions::default() };
    let report = check_with(&fs, Depth::Manifest, &beside);
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// What the manifest of a closed database says.
fn recover(fs: &SimFs) -> Recovery {
    let env = JournalEnv {
        fs: Arc::new(fs.clone()),
        dir: PathBuf::from("/db"),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        encryption: None,
    };
    let orders = |_: TreeId, _: &lsm_manifest::TreeIdentity| Some(KeyOrder::bytewise());
    Recovery::read(&env, RecoveryMode::Strict, &orders).unwrap().unwrap()
}

/// Proves D-105: heads are held against the manifest.
#[test]
fn a_table_that_is_not_what_the_manifest_says_shows_at_its_head() {
    let fs = database();
    let recovery = recover(&fs);
    let (_, version) = recovery.catalog().trees().next().unwrap();
    let (level, descriptor) = version.levels.tables().next().unwrap();
    let memory: Arc<dyn Fs> = Arc::new(fs.clone());
    let findings = |change: &dyn Fn(&mut TableDescriptor)| {
        let mut descriptor = TableDescriptor::clone(descriptor);
        change(&mut descriptor);
        let table = LiveTable {
            tree: TreeId::new(0),
            level,
            descriptor: Arc::new(descriptor),
            order: KeyOrder::bytewise(),
            prefix_extractor: None,
            root: "/db".into(),
        };
        let database = recovery.database();
        let scope = Scope::Tables { fs: &memory, database, tables: vec![table], values: vec![] };
        verify(&scope, Depth::Heads, &VerifyOptions::default()).unwrap().findings
    };
    assert!(findings(&|_| ()).is_empty());
    let changes: [&dyn Fn(&mut TableDescriptor); 9] = [
        &|table| table.digest ^= 1,
        &|table| table.counts.tombstones += 1,
        &|table| table.entries.as_mut().unwrap().max = "key-9999".into(),
        &|table| table.seqnos.max = table.seqnos.max.next(),
        &|table| table.point_seqnos.as_mut().unwrap().min = at(1_000),
        &|table| table.sizes.raw_values += 1,
        &|table| table.census.raw += 1,
        &|table| table.format.1 += 1,
        &|table| {
            let handle = ValueHandle { file: VlogId::new(9), offset: 512, stored_len: 90, value_len: 40 };
            table.references.record(&handle).unwrap();
        },
    ];
    for (idx, change) in changes.into_iter().enumerate() {
        let found = findings(change);
        assert_eq!(found.len(), 1, "change {idx}: {found:?}");
        assert_eq!((found[0].depth, found[0].outcome), (Depth::Heads, Outcome::Fail));
    }
    let other = findings(&|table| table.uuid = lsm_types::FileUuid::from_bytes([7; 16]));
    assert_eq!(other[0].error.kind(), ErrorKind::FileIdentityMismatch);
}

/// Appends a record to a log, with everything in order but what it says.
fn append_record(fs: &SimFs, path: &Path, body: &[u8]) -> u64 {
    let bytes = fs.files().remove(path).unwrap();
    let head = Superblock::decode(Location { kind: FileKind::Manifest, id: 0, offset: 0 }, &bytes).unwrap();
    let (identity, format) = (head.identity, LogFormat::MANIFEST);
    let mut scanner = LogScanner::new(identity, head.transforms(None).unwrap(), format, &bytes, 0)
        .anchored(LogPosition::START);
    while scanner.next().is_some() {}
    let end = scanner.position();
    let mut record = Vec::new();
    LogEncoder::new(identity, head.transforms(None).unwrap(), format, end)
        .encode(end.index - 1, body, &mut record)
        .unwrap();
    fs.open(path, &OpenOptions::WRITE).unwrap().write_at(end.offset, &record).unwrap();
    end.offset
}

/// Proves D-105: the last depth looks into the records of the manifest.
#[test]
fn records_that_make_no_sense_show_at_the_last_depth() {
    let fs = database();
    let older = files(&fs)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("MANIFEST-00000000000000000001"));
    let [primary, mirror] = older.collect::<Vec<_>>().try_into().unwrap();
    let offset = append_record(&fs, &primary, b"no such record");
    append_record(&fs, &mirror, b"no such record");
    assert!(check(&fs, Depth::Structure).is_clean());
    let report = check(&fs, Depth::Manifest);
    let found = about(&report, &primary);
    assert_eq!(found.len(), 1, "{:?}", report.findings);
    assert_eq!((found[0].depth, found[0].offset), (Depth::Manifest, Some(offset)));

    // Both copies are sound by themselves, and they are not copies of each other.
    let fs = database();
    let offset = append_record(&fs, &primary, b"one thing");
    append_record(&fs, &mirror, b"the other");
    assert!(check(&fs, Depth::Heads).is_clean());
    let report = check(&fs, Depth::Digests);
    for path in [&primary, &mirror] {
        assert!(about(&report, path)[0].offset.unwrap() > offset, "{:?}", report.findings);
    }

    let fs = database();
    let current = Path::new("/db/CURRENT");
    let mut pointer = Pointer::decode(&fs.files()[current]).unwrap();
    pointer.snapshot_digest ^= 1;
    fs.open(current, &OpenOptions::WRITE).unwrap().write_at(0, &pointer.encode()).unwrap();
    assert!(check(&fs, Depth::Structure).is_clean());
    assert_eq!(about(&check(&fs, Depth::Manifest), current).len(), 1);
}

/// Proves D-107. Fault: durability W-3.
#[test]
fn without_a_manifest_tables_are_checked_all_the_same() {
    let fs = database();
    for path in files(&fs).into_iter().filter(|path| path.to_string_lossy().contains("MANIFEST")) {
        fs.remove(&path).unwrap();
    }
    let report = check(&fs, Depth::Structure);
    assert_eq!((report.tables, report.sound_tables, report.entries), (3, 3, 150));
    assert!(report.damage().any(|finding| finding.error.kind() == ErrorKind::PartialState));
    fs.flip(&tables(&fs)[1], 600, 1).unwrap();
    let report = check(&fs, Depth::Frames);
    assert_eq!((report.tables, report.sound_tables), (3, 2));

    // An older manifest beside newer tables is no sound database, either.
    let fs = database();
    let bytes = fs.files().remove(&tables(&fs)[0]).unwrap();
    let newer = Path::new("/db/tables/00000000000000009999.sst");
    fs.open(newer, &OpenOptions::CREATE_NEW).unwrap().append(&bytes).unwrap();
    let report = check(&fs, Depth::Presence);
    assert_eq!(about(&report, newer)[0].error.kind(), ErrorKind::ManifestRegression);
    assert_eq!(report.unnamed_files, 1);
}
