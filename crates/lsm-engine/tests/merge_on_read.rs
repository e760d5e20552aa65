//! Rows that deletes of ranges have killed are marked in delete vectors: what readers see, when it happens, and what is
//! left when it is cut short.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{
    ops::{Bound, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{InPlace, Pairs, at, contents, flush, layouts::Layout, sealed::encryption, small_tables};
use lsm_columnar::{Column, ColumnId, ColumnType, Comparison, Datum, DelimitedText, Predicate, Schema};
use lsm_compaction_planner::MoveDown;
use lsm_engine::{
    BlockCache, Cancel, CheckpointOptions, ColumnLayout, ColumnPolicy, ColumnScan, CompactOptions,
    CompactionReport, DeleteStrategy, ExecutorError, Failpoints, MASK_POINTS, Outcome, POINTS, Purge, Reader,
    Tree, TreeOptions, VlogPolicy,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_testkit::sim::{SimConfig, SimFs, Strategy};
use lsm_types::{ErrorKind, FileKind, Level, ReadAt};
use parking_lot::Mutex;

const KEYS: u64 = 600;
const LAST: Level = Level::new(2);

fn key(number: u64) -> String {
    format!("key-{number:05}")
}

fn options(path: &str, fs: Arc<dyn Fs>) -> TreeOptions {
    TreeOptions::new(path)
        .store(|store| store.fs(fs))
        .tables(small_tables())
        .level_count(3)
        .table_target_bytes(20_000)
        .delete_strategies([DeleteStrategy::MergeOnRead])
}

fn masked(fs: &Arc<dyn Fs>) -> TreeOptions {
    options("/data/db", fs.clone())
}

/// Two versions of each key in the last level, of which the older one is kept by a view.
fn fill(options: TreeOptions) -> (Tree, u64) {
    let tree = Tree::open(options).unwrap();
    insert(&tree, 0..KEYS, 1);
    tree.major_compact(&CompactOptions::default()).unwrap();
    (tree, 1 + 2 * KEYS)
}

/// Two versions of each of these keys, in a table of level 0.
fn insert(tree: &Tree, keys: Range<u64>, next: u64) {
    let (first, count) = (keys.start, keys.end - keys.start);
    for number in keys.clone() {
        tree.insert(key(number), format!("old-{number}"), at(next + number - first)).unwrap();
    }
    let kept = tree.view_at(at(next + count)).unwrap();
    for number in keys {
        tree.insert(key(number), format!("new-{number}"), at(next + count + number - first)).unwrap();
    }
    flush(tree);
    drop(kept);
}

/// The tree of [`masked`], its rows stored so; where both kinds of tables are wanted, in one of each.
fn on(layout: Layout, fs: &Arc<dyn Fs>, nth: u32) -> TreeOptions {
    let options = layout.set(masked(fs), columns(90), nth);
    if layout == Layout::Mixed { options.table_target_bytes(1 << 20) } else { options }
}

/// As [`fill`]; where both kinds of tables are wanted, the lower half of the keys lies in tables of rows.
fn fill_on(layout: Layout, fs: &Arc<dyn Fs>, configure: impl Fn(TreeOptions) -> TreeOptions) -> (Tree, u64) {
    let (tree, next) = if layout == Layout::Mixed {
        for (nth, keys) in [(0, 0..KEYS / 2), (1, KEYS / 2..KEYS)] {
            let tree = Tree::open(configure(on(layout, fs, nth))).unwrap();
            let next = 1 + 2 * keys.start;
            insert(&tree, keys, next);
            let down = MoveDown { from: Level::new(0), to: LAST };
            assert_eq!(tree.compact(&down, &CompactOptions::default()).unwrap().outcome, Outcome::Moved);
            tree.close().unwrap();
        }
        (Tree::open(configure(on(layout, fs, 1))).unwrap(), 1 + 2 * KEYS)
    } else {
        fill(configure(on(layout, fs, 1)))
    };
    layout.check(fs.as_ref(), Path::new("/data/db/tables"));
    (tree, next)
}

/// Deletes a range, and lets everybody see it.
fn delete(tree: &Tree, range: Range<u64>, seqno: u64) {
    tree.remove_range(key(range.start)..key(range.end), at(seqno)).unwrap();
    flush(tree);
    tree.set_gc_watermark(at(seqno + 1));
}

fn in_place(tree: &Tree) -> CompactionReport {
    tree.compact(&InPlace(20_000), &CompactOptions::default()).unwrap()
}

fn files(fs: &dyn Fs, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new("/data/db/tables");
    let entries = fs.read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| folder.join(entry.name)).collect();
    names.retain(|name| name.extension().is_some_and(|found| found == extension));
    names.sort();
    names
}

fn bytes(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, &OpenOptions::READ).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.as_ref().read_exact_at(0, &mut bytes).unwrap();
    bytes
}

fn all_bytes(fs: &dyn Fs) -> Vec<Vec<u8>> {
    files(fs, "sst").iter().map(|path| bytes(fs, path)).collect()
}

/// The first difference, not all of both.
#[track_caller]
fn assert_same(found: &Pairs, expected: &Pairs, told: &str) {
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let lens = (found.len(), expected.len());
    assert!(found == expected, "{told}: {lens:?} entries, {:?} for {:?}", found.get(at), expected.get(at));
}

/// What a read of every kind finds.
#[track_caller]
fn check_reads(reader: &impl Reader, expected: &Pairs) {
    assert_same(&contents(reader).unwrap(), expected, "forward");
    let mut back: Pairs = reader
        .iter()
        .pairs()
        .rev()
        .map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap())
        .collect();
    back.reverse();
    assert_same(&back, expected, "back");
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let known: std::collections::BTreeMap<_, _> = expected.iter().cloned().collect();
    for key in &keys {
        let found = reader.get(key).unwrap().map(|value| value.to_vec());
        assert_eq!(found.as_ref(), known.get(key.as_bytes()), "{key}");
    }
    for (found, key) in reader.multi_get(&keys).unwrap().into_iter().zip(&keys) {
        assert_eq!(found.map(|value| value.to_vec()).as_ref(), known.get(key.as_bytes()), "{key}");
    }
    for start in (0..KEYS).step_by(97) {
        let from = key(start);
        let bounds = (Bound::Included(from.as_str()), Bound::Unbounded);
        let first = reader.range::<&str>(bounds).pairs().next().map(|pair| pair.unwrap().0.to_vec());
        let wanted = known.range(from.clone().into_bytes()..).next().map(|(key, _)| key.clone());
        assert_eq!(first, wanted, "from {from}");
    }
}

const WORD: ColumnId = ColumnId::new(16);
const NUMBER: ColumnId = ColumnId::new(17);

/// A word and a number, in row groups of so many rows; parts are smaller.
fn columns(group_rows: usize) -> ColumnPolicy {
    let columns =
        vec![Column::new(WORD, "word", ColumnType::Utf8), Column::new(NUMBER, "number", ColumnType::U64)];
    let splitter = DelimitedText::new("test.dash", Schema::new(columns).unwrap(), b'-').unwrap();
    let rows = u16::try_from(group_rows / 3).unwrap();
    ColumnPolicy::new(Arc::new(splitter))
        .layout(ColumnLayout::Columnar)
        .groups(1 << 20, group_rows)
        .page_rows(rows)
}

/// What scans in columns find: numbers of some size, both ways.
#[track_caller]
fn check_columns(reader: &impl Reader, expected: &Pairs) {
    for from in [0, 250, 2 * KEYS] {
        let number =
            |value: &[u8]| std::str::from_utf8(value).unwrap().split_once('-')?.1.parse::<u64>().ok();
        let numbers = expected.iter().filter_map(|(key, value)| Some((key.clone(), number(value)?)));
        let wanted: Vec<_> = numbers.filter(|(_, number)| *number >= from).collect();
        let large = Predicate::Compare(NUMBER, Comparison::Ge, Datum::U64(from));
        let scan = ColumnScan::new([ColumnId::KEY, NUMBER]).filter(large).batch_rows(100);
        let find = |scan: &ColumnScan<'_>| {
            let mut found = Vec::new();
            for batch in reader.scan_columns(scan).unwrap() {
                let batch = batch.unwrap();
                for row in 0..batch.rows() {
                    match (batch.columns()[0].1.get(row), batch.columns()[1].1.get(row)) {
                        (Datum::Bytes(key), Datum::U64(number)) => found.push((key.to_vec(), number)),
                        other => panic!("{other:?}"),
                    }
                }
            }
            found
        };
        assert_eq!(find(&scan), wanted);
        let back: Vec<_> = find(&scan.reverse()).into_iter().rev().collect();
        assert_eq!(back, wanted);
    }
}

/// Proves C-114, C-115, C-117, C-118, F-130, F-131, F-133: at every share of dead rows, by rows and by columns, plain
/// and sealed, with values beside their keys and apart, readers find what they found before, no byte of a table changes,
/// what was dead stays so when more is deleted and when the tree is opened again, and a merge leaves nothing of it.
/// Fault: compaction W-33.
/// Fault: formats W-11.
#[test]
fn at_every_share_readers_find_what_they_found_before() {
    for variant in 0..6 {
        let check_reads = |reader: &Tree, expected: &Pairs| {
            check_reads(reader, expected);
            if variant > 3 {
                check_columns(reader, expected);
            }
        };
        for share in [0, 1, 5, 30, 50, 99, 100] {
            let memory = Arc::new(MemFs::new());
            let fs: Arc<dyn Fs> = memory.clone();
            let configure = |path: &str| {
                // One table, so that no delete but that of everything covers a whole one.
                let options = options(path, fs.clone()).table_target_bytes(1 << 20);
                let options = match variant {
                    4 => options.columns(columns(100)),
                    5 => options.columns(columns(7)).store(|store| store.encryption(encryption())),
                    1 => options.store(|store| store.encryption(encryption())),
                    2 => options.separation(VlogPolicy { thresholds: vec![1], ..VlogPolicy::default() }),
                    _ => options,
                };
                if variant == 3 { options.store(|store| store.cache(BlockCache::new(0))) } else { options }
            };
            let (tree, next) = fill(configure("/data/db"));
            let dead = KEYS * share / 100;
            let from = (KEYS - dead) / 2;
            let middle = from + dead / 2;
            delete(&tree, from..middle, next);
            let before = all_bytes(fs.as_ref());
            let expected = contents(&tree).unwrap();
            assert_eq!(expected.len() as u64, KEYS - dead / 2);
            let older = tree.view();
            let report = in_place(&tree);
            if share == 0 {
                // Nothing is there to be marked.
                assert_eq!((report.outcome, report.vectors), (Outcome::Merged, 0));
                check_reads(&tree, &expected);
                continue;
            }
            assert_eq!(
                (report.outcome, report.flavour),
                (Outcome::Masked, Some("merge-on-read")),
                "{share} %"
            );
            assert_eq!(report.dropped.range_deleted, 2 * (dead / 2), "versions are judged one by one");
            assert_eq!(files(fs.as_ref(), "dv").len(), report.vectors);
            assert_eq!(all_bytes(fs.as_ref()), before, "no byte of a table changes");
            assert_eq!(tree.view().approximate_len(), 2 * expected.len() as u64);
            check_reads(&tree, &expected);
            crate::check_reads(&older, &expected);
            drop(older);

            // More is deleted, and one key lives again.
            tree.insert(key(from), "again", at(next + 1)).unwrap();
            delete(&tree, middle..from + dead, next + 2);
            let expected = contents(&tree).unwrap();
            let report = in_place(&tree);
            if dead == KEYS {
                // No row is left: the table goes unread, and its vector with it.
                assert_eq!(report.outcome, Outcome::Dropped);
                check_reads(&tree, &expected);
                tree.close().unwrap();
                assert_eq!(files(fs.as_ref(), "dv"), Vec::<PathBuf>::new());
                continue;
            }
            assert_eq!(report.outcome, Outcome::Masked);
            let fresh = 2 * (dead - dead / 2);
            assert_eq!(report.dropped.range_deleted, fresh, "what was dead is not counted again");
            check_reads(&tree, &expected);
            let info = tree.checkpoint("/data/copy", &CheckpointOptions::default()).unwrap();
            let vectors = files(fs.as_ref(), "dv");
            assert_eq!(
                info.files.iter().filter(|file| file.kind == FileKind::DeleteVector).count(),
                vectors.len()
            );
            check_reads(&Tree::open(configure("/data/copy")).unwrap(), &expected);
            assert!(tree.verify().unwrap().is_clean());
            tree.close().unwrap();
            assert_eq!(files(fs.as_ref(), "dv"), vectors, "those that were replaced are gone");
            let tree = Tree::open(configure("/data/db")).unwrap();
            check_reads(&tree, &expected);

            // Nothing is left to be marked: the tables are written anew.
            tree.set_gc_watermark(at(next + 3));
            let report = in_place(&tree);
            assert_eq!(report.outcome, Outcome::Merged);
            check_reads(&tree, &expected);
            assert!(tree.verify().unwrap().is_clean());
            assert_eq!(tree.view().approximate_len(), expected.len() as u64, "dead rows go with the merge");
            tree.close().unwrap();
            assert_eq!(files(fs.as_ref(), "dv"), Vec::<PathBuf>::new(), "vectors go with their tables");
        }
    }
}

/// What a merge in place becomes when one thing is otherwise than for [`masked`].
#[track_caller]
fn check_falls_back(
    told: &str,
    configure: impl Fn(TreeOptions) -> TreeOptions,
    change: impl Fn(&Tree) -> CompactOptions,
) {
    for layout in Layout::ALL {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let (tree, next) = fill_on(layout, &fs, &configure);
        delete(&tree, 250..350, next);
        let options = change(&tree);
        let expected = contents(&tree).unwrap();
        let report = tree.compact(&InPlace(20_000), &options).unwrap();
        assert_eq!(report.outcome, Outcome::Merged, "{layout:?}: {told}");
        check_reads(&tree, &expected);
        assert_eq!(files(fs.as_ref(), "dv"), Vec::<PathBuf>::new(), "{layout:?}: {told}");
    }
}

/// Proves C-114, C-116, F-131: each precondition alone decides that the tables are written anew.
#[test]
fn a_merge_is_done_when_one_precondition_is_not_met() {
    let same = |options| options;
    let plain = |_: &Tree| CompactOptions::default();
    check_falls_back("the tree wants none", |options| options.delete_strategies([]), plain);
    let upper = [DeleteStrategy::MergeOnRead, DeleteStrategy::MergeOnRead, DeleteStrategy::CopyOnWrite];
    check_falls_back("the level wants none", |options| options.delete_strategies(upper), plain);
    for purge in [Purge::Percent(16), Purge::Percent(0)] {
        let strategy = [DeleteStrategy::Adaptive(purge)];
        check_falls_back("a rewrite is due", |options| options.delete_strategies(strategy), plain);
    }
    check_falls_back("the caller wants none", same, |_| CompactOptions::default().rewrite());
    check_falls_back("nothing is left to be marked", same, |tree| {
        assert_eq!(in_place(tree).outcome, Outcome::Masked);
        CompactOptions::default()
    });
    // The same with nothing otherwise.
    for (purge, layout) in [(Purge::Percent(17), Layout::Mixed), (Purge::ByCost, Layout::Columns)] {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let strategy = [DeleteStrategy::Adaptive(purge)];
        let (tree, next) = fill_on(layout, &fs, |options| options.delete_strategies(strategy));
        delete(&tree, 250..350, next);
        assert_eq!(in_place(&tree).outcome, Outcome::Masked, "{layout:?}");
    }
}

/// Proves C-116: a share of more than everything is refused when the tree is opened.
#[test]
fn more_than_everything_is_refused() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let options = masked(&fs).delete_strategies([DeleteStrategy::Adaptive(Purge::Percent(101))]);
    assert_eq!(Tree::open(options).unwrap_err().kind(), ErrorKind::InvalidConfig);
}

/// Proves C-115, C-118: what a reader may still see is not marked, nor is what is newer than the delete.
#[test]
fn what_a_reader_may_see_is_not_marked() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let (tree, next) = fill(masked(&fs));
    let held = tree.hold(at(next)).unwrap();
    let view = tree.view_at(at(next)).unwrap();
    let before = contents(&view).unwrap();
    delete(&tree, 100..200, next);
    assert_eq!(in_place(&tree).outcome, Outcome::Merged, "the delete is not below the watermark");
    check_reads(&view, &before);
    drop((held, view));
    let expected = contents(&tree).unwrap();
    assert_eq!(in_place(&tree).outcome, Outcome::Masked);
    check_reads(&tree, &expected);
    assert!(tree.view_at(at(next)).is_err(), "what read below the delete is refused from now on");
}

/// Proves C-116, F-131: passing over dead rows again and again makes a rewrite due.
#[test]
fn scans_make_a_rewrite_due() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let (tree, next) = fill(masked(&fs).delete_strategies([DeleteStrategy::Adaptive(Purge::ByCost)]));
    delete(&tree, 100..200, next);
    assert_eq!(in_place(&tree).outcome, Outcome::Masked);
    delete(&tree, 200..220, next + 2);
    for _ in 0..30 {
        contents(&tree).unwrap();
    }
    let expected = contents(&tree).unwrap();
    assert_eq!(in_place(&tree).outcome, Outcome::Merged);
    check_reads(&tree, &expected);
}

/// Proves F-132: without its delete vector a table is not read: a missing or cut file keeps the tree from opening,
/// a damaged or foreign one makes reads fail with a typed error, and a check finds each damaged byte.
#[test]
fn a_table_is_never_read_without_its_vector() {
    check_damage(|options| options);
    check_damage(|options| options.columns(columns(50)));
}

#[track_caller]
fn check_damage(configure: impl Fn(TreeOptions) -> TreeOptions) {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let masked = |fs| configure(masked(fs));
    let (tree, next) = fill(masked(&fs));
    delete(&tree, 100..200, next);
    in_place(&tree);
    tree.close().unwrap();
    let path = files(fs.as_ref(), "dv").remove(0);
    let whole = bytes(fs.as_ref(), &path);
    let put = |bytes: &[u8]| {
        let _ = fs.remove_file(&path);
        fs.open(&path, &OpenOptions::CREATE_NEW).unwrap().write_at(0, bytes).unwrap();
    };
    fs.remove_file(&path).unwrap();
    assert_eq!(Tree::open(masked(&fs)).unwrap_err().kind(), ErrorKind::MissingFiles);
    put(&whole[..whole.len() - 1]);
    assert_eq!(Tree::open(masked(&fs)).unwrap_err().kind(), ErrorKind::FileLengthMismatch);
    // Both copies of the vector, where the first one lies and where the second does.
    let mut damaged = whole.clone();
    for at in (512..1_000).chain(whole.len() - 2_500..whole.len() - 200) {
        damaged[at] ^= 0x55;
    }
    put(&damaged);
    let tree = Tree::open(masked(&fs)).unwrap();
    let error = contents(&tree).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    let error = (0..KEYS).find_map(|number| tree.get(key(number)).err()).unwrap();
    assert!(error.is_corruption(), "{error}");
    if let Ok(mut batches) = tree.scan_columns(&ColumnScan::new([])) {
        let error = batches.find_map(Result::err).unwrap();
        assert!(error.is_corruption(), "{error}");
    }
    assert!(!tree.verify().unwrap().is_clean());
    drop(tree);
    // One copy stands in for another: reads find what they found, and a check what is damaged.
    let meant: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for at in meant.into_iter().step_by(61) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        put(&damaged);
        let tree = Tree::open(masked(&fs)).unwrap();
        assert_eq!(contents(&tree).unwrap().len() as u64, KEYS - 100, "byte {at}");
        assert!(!tree.verify().unwrap().is_clean(), "byte {at}");
    }
    put(&whole);
    let tree = Tree::open(masked(&fs)).unwrap();
    assert_eq!(contents(&tree).unwrap().len() as u64, KEYS - 100);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Error,
    Panic,
    Stop,
}

struct FailAt {
    point: &'static str,
    failure: Failure,
    cancel: Cancel,
}

impl Failpoints for FailAt {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point != self.point {
            return Ok(());
        }
        match self.failure {
            Failure::Error => Err(ExecutorError::Injected { point }),
            Failure::Panic => panic!("injected at {point}"),
            Failure::Stop => {
                self.cancel.cancel();
                Ok(())
            }
        }
    }
}

/// Proves C-117, C-119, C-145, C-159, I-1, I-2, I-9: a job that fails, panics or is stopped at any of its steps
/// changes nothing, leaves no file, and can be repeated, in trees of rows, of columns and of both.
/// Fault: compaction W-33.
#[test]
fn a_job_that_fails_at_any_step_changes_nothing_and_can_be_repeated() {
    Layout::ALL.into_iter().for_each(check_failures);
}

#[track_caller]
fn check_failures(layout: Layout) {
    for point in POINTS.into_iter().chain(MASK_POINTS) {
        for failure in [Failure::Error, Failure::Panic, Failure::Stop] {
            let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
            let (tree, next) = fill_on(layout, &fs, |options| options);
            delete(&tree, 250..350, next);
            let expected = contents(&tree).unwrap();
            let tables = files(fs.as_ref(), "sst");
            let cancel = Cancel::new();
            let failpoints: Arc<dyn Failpoints> = Arc::new(FailAt { point, failure, cancel: cancel.clone() });
            let options = CompactOptions::default().cancel(cancel);
            let done =
                catch_unwind(AssertUnwindSafe(|| tree.compact_with(&InPlace(20_000), &options, &failpoints)));
            let is_late = point == "install.after" || (failure == Failure::Stop && point == "install.before");
            if let Ok(Ok(report)) = done {
                assert!(is_late && report.outcome == Outcome::Masked, "{layout:?}: {failure:?} at {point}");
            }
            assert_eq!(files(fs.as_ref(), "sst"), tables);
            assert_eq!(files(fs.as_ref(), "dv").is_empty(), !is_late, "{failure:?} at {point} leaves files");
            check_reads(&tree, &expected);
            let again = in_place(&tree);
            let outcome = if is_late { Outcome::Merged } else { Outcome::Masked };
            assert_eq!(again.outcome, outcome, "{failure:?} at {point}");
            check_reads(&tree, &expected);
            assert!(tree.verify().unwrap().is_clean());
        }
    }
}

/// Notes where on the disk's trace a job passes each place.
struct Marks {
    disk: SimFs,
    passed: Mutex<Vec<usize>>,
}

impl Failpoints for Marks {
    fn hit(&self, _: &'static str) -> Result<(), ExecutorError> {
        self.passed.lock().push(self.disk.len());
        Ok(())
    }
}

/// Proves F-132, C-117, D-55, I-2: the power is cut at every event of two jobs that mark rows, the second of which
/// replaces the vectors of the first: what opens holds what it held, and no file that nobody names. In trees of rows, and of
/// rows and columns.
#[test]
fn the_power_may_be_cut_at_any_step() {
    check_power_cuts(Layout::Rows);
    check_power_cuts(Layout::Mixed);
}

#[track_caller]
fn check_power_cuts(layout: Layout) {
    let disk = SimFs::new(SimConfig::DEFAULT);
    let as_fs = |disk: &SimFs| Arc::new(disk.clone()) as Arc<dyn Fs>;
    let (tree, next) = fill_on(layout, &as_fs(&disk), |options| options);
    let mut images = 0;
    for (round, range) in [(0, 250..350), (1, 300..450)] {
        delete(&tree, range, next + 2 * round);
        let expected = contents(&tree).unwrap();
        let marks = Arc::new(Marks { disk: disk.clone(), passed: Mutex::default() });
        let failpoints: Arc<dyn Failpoints> = marks.clone();
        let begun = disk.len();
        let report = tree.compact_with(&InPlace(20_000), &CompactOptions::default(), &failpoints).unwrap();
        assert_eq!(report.outcome, Outcome::Masked);
        let mut points = marks.passed.lock().clone();
        points.extend(disk.crash_points().into_iter().filter(|at| begun < *at));
        points.sort_unstable();
        points.dedup();
        for (id, image) in disk.images_at(points, &Strategy::GATE) {
            images += 1;
            let tree = Tree::open(on(layout, &as_fs(&image), 1)).unwrap();
            assert_same(&contents(&tree).unwrap(), &expected, &format!("round {round}, {id:?}"));
            if layout != Layout::Rows && images % 8 == 0 {
                check_columns(&tree, &expected);
            }
            let named: usize = tree.stats().levels.iter().map(|level| level.vectors).sum();
            assert_eq!(files(&image, "dv").len(), named, "round {round}, {id:?}");
            assert!(tree.verify().unwrap().is_clean(), "round {round}, {id:?}");
        }
    }
    assert!(images > 20, "{images} images");
}
