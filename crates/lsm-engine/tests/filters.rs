//! Filters in trees: what they save, what they cost, who decides about them, and what happens when they are damaged.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{LengthFirst, ReverseByPrefix, at, small_tables};
use lsm_compaction_planner::{CompactionStrategy, Plan, PlanView, Settings};
use lsm_engine::{
    BlockCache, CompactOptions, ExpectHits, FilterStats, FlushOptions, LevelFilter, Reader, TablePolicy,
    Tree, TreeOptions,
};
use lsm_fs::{DirEntry, Fs, FsFile, MemFs, Metadata, OpenOptions, SyncLevel};
use lsm_sst::{FilterId, Table, TableOptions};
use lsm_types::{
    Bytewise, Comparator, DelimitedPrefix, ErrorKind, FixedPrefix, IoError, Level, PrefixExtractor,
};

/// A file system that counts reads of data blocks.
#[derive(Debug, Default)]
struct Counted {
    inner: MemFs,
    data_reads: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedFile {
    inner: Arc<dyn FsFile>,
    data_reads: Arc<AtomicU64>,
}

impl Fs for Counted {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        let inner = self.inner.open(path, options)?;
        Ok(Arc::new(CountedFile { inner, data_reads: self.data_reads.clone() }))
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        self.inner.read_dir(path)
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.inner.rename(from, to)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        self.inner.metadata(path)
    }

    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        self.inner.sync_dir(path, level)
    }
}

impl FsFile for CountedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError> {
        let len = self.inner.read_at(offset, out)?;
        // A frame of kind 1.
        let is_data = len > 32 && offset >= 512 && out[2] == 1 && out.len() < 4 << 10;
        self.data_reads.fetch_add(u64::from(is_data), Ordering::Relaxed);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), lsm_fs::WriteError> {
        self.inner.write_at(offset, bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result<u64, lsm_fs::WriteError> {
        self.inner.append(bytes)
    }

    fn len(&self) -> Result<u64, IoError> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.inner.set_len(len)
    }

    fn sync(&self, level: SyncLevel) -> Result<(), IoError> {
        self.inner.sync(level)
    }

    fn metadata(&self) -> Result<Metadata, IoError> {
        self.inner.metadata()
    }

    fn try_lock(&self, mode: lsm_fs::LockMode) -> Result<bool, IoError> {
        self.inner.try_lock(mode)
    }
}

/// Merges level 0 into a level.
#[derive(Debug)]
struct Push(u8);

impl CompactionStrategy for Push {
    fn name(&self) -> &'static str {
        "test.push"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let tables = view.levels.level(Level::new(0)).tables().map(|table| table.id);
        Plan::merge(view, tables.collect::<Vec<_>>(), Level::new(self.0), u64::MAX)
    }
}

fn options(fs: Arc<dyn Fs>, tables: TablePolicy) -> TreeOptions {
    TreeOptions::new("/db").store(|store| store.fs(fs)).level_count(4).tables(tables)
}

fn flush(tree: &Tree) {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

fn compact(tree: &Tree, strategy: &dyn CompactionStrategy) {
    assert!(tree.compact(strategy, &CompactOptions::default()).unwrap().did_work());
}

fn filters(tree: &Tree) -> FilterStats {
    let mut all = FilterStats::default();
    tree.stats().levels.iter().for_each(|level| all.add(&level.filters.reads));
    all
}

/// Proves E-64, F-92: what absent keys cost in a tree of four levels is the sum of the rates of
/// its filters, in block reads as in the counters.
#[test]
fn absent_keys_cost_the_sum_of_the_rates() {
    let fs = Arc::new(Counted::default());
    let mut tables = small_tables();
    tables.filter = [5.0, 4.0, 3.0, 2.0].map(|bits| LevelFilter::bits(bits).unwrap()).to_vec();
    let options = options(fs.clone(), tables).store(|store| store.cache(BlockCache::new(0)));
    let tree = Tree::open(options).unwrap();
    for level in [3_u8, 2, 1, 0] {
        for n in 0..2_000_u64 {
            let key = format!("key-{:06}", 4 * n + u64::from(level));
            tree.insert(key, [level; 20], at(10_000 * u64::from(4 - level) + n)).unwrap();
        }
        flush(&tree);
        if level > 0 {
            compact(&tree, &Push(level));
        }
    }
    assert!(tree.stats().levels.iter().all(|level| level.tables == 1 && level.filters.tables == 1));
    let absent = 20_000_u64;
    let get_absent =
        |n: u64| assert!(tree.get(format!("key-{:06}x{n}", 50 + n * 7 % 7_900)).unwrap().is_none());
    (0..1_000).for_each(get_absent); // index partitions and filters are read now
    let before = filters(&tree);
    fs.data_reads.store(0, Ordering::Relaxed);
    (0..absent).for_each(get_absent);
    let reads = fs.data_reads.load(Ordering::Relaxed);
    let now = filters(&tree);
    assert_eq!(now.false_positives - before.false_positives, reads);
    assert_eq!(now.probes - before.probes, 4 * absent);
    assert_eq!((now.unusable, now.unfiltered_misses), (0, 0));
    let rates = [5, 4, 3, 2].map(|bits| 0.5_f64.powi(bits));
    let expected: f64 = rates.iter().sum::<f64>() * absent as f64;
    let sigma = rates.iter().map(|rate| rate * (1.0 - rate) * absent as f64).sum::<f64>().sqrt();
    assert!(
        (reads as f64 - expected).abs() < 5.0 * sigma,
        "{reads} reads, {expected} expected, sigma {sigma}"
    );
    // Keys that are there cost one read each, and false positives above.
    fs.data_reads.store(0, Ordering::Relaxed);
    for n in 0..2_000_u64 {
        assert!(tree.get(format!("key-{:06}", 4 * n)).unwrap().is_some());
    }
    assert_eq!(fs.data_reads.load(Ordering::Relaxed), 2_000, "the newest level decides");
}

/// The only table file of a tree, and where the partitions of its filter over keys lie.
fn table_file(fs: &MemFs) -> (PathBuf, Vec<u8>, Vec<u64>) {
    let folder = Path::new("/db/tables");
    let name = fs.read_dir(folder).unwrap().remove(0).name;
    let path = folder.join(name);
    let file = fs.open(&path, &OpenOptions::READ).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    let table = Table::open(bytes.clone(), TableOptions::new()).unwrap();
    let meta = table.meta();
    let parts = (0..meta.filter_partitions(FilterId::Keys))
        .map(|part| meta.filter_ref(FilterId::Keys, part).unwrap().handle.offset);
    (path, bytes, parts.collect())
}

/// Proves F-33 (filter part), F-93: damage is counted once, remembered, and reported by a check.
#[test]
fn a_damaged_partition_is_remembered_and_reported() {
    let fs = Arc::new(MemFs::new());
    for pinned in [false, true] {
        let _ = fs.remove_dir_all(Path::new("/db"));
        let mut tables = small_tables().filter(LevelFilter::bits(12.0).unwrap());
        tables.pin_filter = vec![pinned];
        let open = || Tree::open(options(fs.clone(), tables.clone())).unwrap();
        let tree = open();
        for n in 0..1_000_u64 {
            tree.insert(format!("key-{n:04}"), "value", at(n)).unwrap();
        }
        flush(&tree);
        assert!(tree.verify().unwrap().is_clean());
        tree.close().unwrap();

        let (path, bytes, parts) = table_file(&fs);
        assert!(parts.len() > 3);
        let write = |offset: u64, byte: u8| {
            fs.open(&path, &OpenOptions::WRITE).unwrap().write_at(offset, &[byte]).unwrap();
        };
        let hit = parts[1] + 40;
        let old = bytes[usize::try_from(hit).unwrap()];
        write(hit, old ^ 0x10);
        let tree = open();
        let read_all = || {
            for n in 0..1_000_u64 {
                assert_eq!(tree.get(format!("key-{n:04}")).unwrap().unwrap(), b"value");
                assert!(tree.get(format!("key-{n:04}x")).unwrap().is_none());
            }
        };
        read_all();
        let first = filters(&tree);
        assert_eq!(first.damaged_partitions, 1);
        assert!(first.unusable > 100 && first.negatives > 500, "{first:?}");
        assert_eq!(first.probes + first.unusable, 2_000 - 1, "one absent key lies behind the table");
        assert_eq!(first.pinned_bytes > 0, pinned);
        let report = tree.verify().unwrap();
        assert!(!report.is_clean());
        assert_eq!(report.damage().find_map(|finding| finding.offset), Some(parts[1]));
        // Made good behind its back: what was found damaged is not read again while the table is open.
        write(hit, old);
        read_all();
        assert_eq!(filters(&tree).unusable, 2 * first.unusable);
        assert!(tree.verify().unwrap().is_clean());
        tree.close().unwrap();
        let tree = open();
        assert!(tree.get("key-0500").unwrap().is_some());
        assert_eq!(filters(&tree).unusable, 0);
        tree.close().unwrap();
    }
}

/// Proves F-33 (filter part): without its root there is no filter, and a check says so.
#[test]
fn a_damaged_root_is_reported() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(fs.clone(), small_tables())).unwrap();
    for n in 0..1_000_u64 {
        tree.insert(format!("key-{n:04}"), "value", at(n)).unwrap();
    }
    flush(&tree);
    tree.close().unwrap();
    let (path, bytes, _) = table_file(&fs);
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    let root = *table.meta().directory().primary(FilterId::Keys.root_kind()).unwrap();
    fs.open(&path, &OpenOptions::WRITE).unwrap().write_at(root.offset + 50, &[0xAA]).unwrap();
    let tree = Tree::open(options(fs, small_tables())).unwrap();
    for n in 0..1_000_u64 {
        assert!(tree.get(format!("key-{n:04}")).unwrap().is_some());
    }
    let stats = filters(&tree);
    assert_eq!((stats.probes, stats.unusable, stats.unfiltered_hits), (0, 1_000, 0));
    assert!(!tree.verify().unwrap().is_clean());
}

/// Runs in which one group of four has keys, each spanning all groups.
fn grouped(
    comparator: Arc<dyn Comparator>,
    extractor: Option<Arc<dyn PrefixExtractor>>,
    fs: &Arc<MemFs>,
) -> Tree {
    let mut options = options(fs.clone(), small_tables()).comparator(comparator);
    if let Some(extractor) = extractor {
        options = options.prefix_extractor(extractor);
    }
    let tree = Tree::open(options).unwrap();
    if tree.stats().tables() > 0 {
        return tree;
    }
    for run in 0..4_u64 {
        for group in (0..80_u64).filter(|group| group % 4 == run || *group == 0 || *group == 79) {
            for n in 0..5_u64 {
                let seqno = at(run * 1_000 + group * 10 + n);
                tree.insert(format!("g{group:02}/{n}"), run.to_be_bytes(), seqno).unwrap();
            }
        }
        tree.insert([0xFF, b'0' + u8::try_from(run).unwrap()], "x", at(run * 1_000 + 900)).unwrap();
        flush(&tree);
    }
    tree
}

fn keys_of(range: lsm_engine::Range) -> Vec<Vec<u8>> {
    range.keys().map(|key| key.unwrap().to_vec()).collect()
}

#[track_caller]
fn check_groups(tree: &Tree) {
    for group in 0..82_u64 {
        let prefix = format!("g{group:02}/");
        let mut found = keys_of(tree.prefix(&prefix));
        assert_eq!(found.len(), if group < 80 { 5 } else { 0 }, "{prefix}");
        assert!(found.iter().all(|key| key.starts_with(prefix.as_bytes())));
        found.reverse();
        let back: Vec<_> = tree.prefix(&prefix).rev().map(|entry| entry.unwrap().key().to_vec()).collect();
        assert_eq!(back, found);
    }
    assert_eq!(tree.prefix([0xFF]).count(), 4);
    assert_eq!(tree.prefix([0xFF, b'2']).count(), 1);
    assert_eq!(tree.prefix("").count(), 404);
}

/// Proves E-79, E-152, E-153, F-97: scans of a prefix pass over the runs that lack it, under the extractor with which
/// these were written and no other.
/// Fault: formats W-5. Fault: engine W-35.
#[test]
fn scans_of_a_prefix_pass_over_runs_without_it() {
    let delimited = |depth| -> Arc<dyn PrefixExtractor> { Arc::new(DelimitedPrefix::new(b'/', depth)) };
    let fs = Arc::new(MemFs::new());
    let order = || -> Arc<dyn Comparator> { Arc::new(Bytewise) };
    let tree = grouped(order(), Some(delimited(1)), &fs);
    check_groups(&tree);
    let stats = filters(&tree);
    // Each of 78 groups is missing from three of four runs, forward and back; 14 bits let hardly any pass.
    assert!(stats.prefix_negatives >= 78 * 3 * 2 - 2, "{stats:?}");
    // Ranges within one group, or the whole of it, profit as well; others do not ask.
    let before = filters(&tree);
    assert_eq!(keys_of(tree.range("g05/1".."g05/3")).len(), 2);
    assert_eq!(keys_of(tree.range("g05/".."g050")).len(), 5);
    assert_eq!(keys_of(tree.range("g05/2"..="g05/2")).len(), 1);
    let asked = filters(&tree);
    assert_eq!(asked.prefix_probes - before.prefix_probes, 12, "four runs, three scans");
    assert!(asked.prefix_negatives - before.prefix_negatives >= 8);
    assert_eq!(keys_of(tree.range("g05/1".."g07/")).len(), 9);
    assert_eq!(keys_of(tree.prefix("g0")).len(), 50);
    assert_eq!(filters(&tree).prefix_probes, asked.prefix_probes);
    tree.close().unwrap();

    // Another extractor, then none: the filters are there, and say nothing.
    for extractor in
        [Some(delimited(2)), Some(Arc::new(FixedPrefix::new(4)) as Arc<dyn PrefixExtractor>), None]
    {
        let tree = grouped(order(), extractor, &fs);
        check_groups(&tree);
        assert_eq!(filters(&tree).prefix_probes, 0);
        assert!(tree.verify().unwrap().is_clean());
        tree.close().unwrap();
    }
    // Tables that are written anew get filters of the new one.
    let tree = grouped(order(), Some(delimited(2)), &fs);
    compact(&tree, &Push(2));
    check_groups(&tree);
    assert!(filters(&tree).prefix_probes > 0);
    assert!(tree.verify().unwrap().is_clean());
    assert_eq!(tree.prefix("g90/").count(), 0);
}

/// Proves E-79, E-150 in part: filters over prefixes are used where an order has ranges of prefixes, and only there.
#[test]
fn orders_without_ranges_of_prefixes_do_not_ask() {
    let extractor = || Some(Arc::new(DelimitedPrefix::new(b'/', 1)) as Arc<dyn PrefixExtractor>);
    let tree = grouped(Arc::new(ReverseByPrefix), extractor(), &Arc::new(MemFs::new()));
    check_groups(&tree);
    assert!(filters(&tree).prefix_negatives >= 78 * 3 * 2 - 2, "{:?}", filters(&tree));
    assert_eq!(tree.range("g05/3".."g05/1").count(), 2);
    let tree = grouped(Arc::new(LengthFirst), extractor(), &Arc::new(MemFs::new()));
    check_groups(&tree);
    assert_eq!(filters(&tree).prefix_probes, 0);
}

fn filled(fs: &Arc<MemFs>, tables: TablePolicy, count: u64) -> Tree {
    let tree = Tree::open(options(fs.clone(), tables)).unwrap();
    for n in 0..count {
        tree.insert(format!("key-{n:06}"), "some value", at(n)).unwrap();
    }
    flush(&tree);
    tree
}

fn last_level_filters(tree: &Tree) -> usize {
    tree.stats().levels.last().unwrap().filters.tables
}

fn major(tree: &Tree) {
    tree.major_compact(&CompactOptions::default()).unwrap();
}

/// Proves F-96: the last level does without filters when it is told so, or when reads hit it.
#[test]
fn the_last_level_does_without_filters_when_reads_hit() {
    let hits = |hits| TablePolicy { expect_point_read_hits: hits, ..small_tables() };
    let tree = filled(&Arc::new(MemFs::new()), hits(ExpectHits::Yes), 100);
    assert_eq!(tree.stats().levels[0].filters.tables, 1, "only the last level is meant");
    major(&tree);
    assert_eq!(last_level_filters(&tree), 0);
    let tree = filled(&Arc::new(MemFs::new()), hits(ExpectHits::No), 100);
    major(&tree);
    assert_eq!(last_level_filters(&tree), 1);

    let tree = filled(&Arc::new(MemFs::new()), hits(ExpectHits::Auto), 100);
    major(&tree);
    assert_eq!(last_level_filters(&tree), 1, "nothing known yet");
    let read = |count: u64, suffix: &str| {
        for n in 0..count {
            tree.contains_key(format!("key-{:06}{suffix}", n % 100)).unwrap();
        }
    };
    read(99_000, "");
    major(&tree);
    assert_eq!(last_level_filters(&tree), 1, "too few reads to tell");
    read(2_000, "");
    major(&tree);
    assert_eq!(last_level_filters(&tree), 0);
    // Without a filter the reads are still counted.
    read(4_000, "x");
    assert!(filters(&tree).unfiltered_misses > 3_000);
    major(&tree);
    assert_eq!(last_level_filters(&tree), 1, "the ratio rose");
}

/// Proves F-85 in part, on files: bits by level, and a budget for all of them.
#[test]
fn bits_are_chosen_by_level_and_budget() {
    #[track_caller]
    fn check(found: f64, expected: f64) {
        assert!(found >= expected && found < expected * 1.03 + 0.1, "{found} for {expected}");
    }
    let bits = |tree: &Tree, level: usize| tree.stats().levels[level].filters.bits_per_entry().unwrap_or(0.0);
    let one_partition = || TablePolicy { filter_partition_bytes: 256 << 10, ..small_tables() };
    let tree = filled(&Arc::new(MemFs::new()), one_partition(), 20_000);
    check(bits(&tree, 0), 14.0);
    compact(&tree, &Push(2));
    check(bits(&tree, 2), 8.0);
    for n in 0..20_000_u64 {
        tree.insert(format!("key-{n:06}"), "newer", at(100_000 + n)).unwrap();
    }
    flush(&tree);
    compact(&tree, &Push(1));
    check(bits(&tree, 1), 11.0);
    tree.set_gc_watermark(at(200_000)); // of each key one version stays
    major(&tree);
    check(bits(&tree, 3), 8.0);

    let budget = TablePolicy { filter_budget_bytes: Some(10_000), ..one_partition() };
    let tree = filled(&Arc::new(MemFs::new()), budget, 20_000);
    check(bits(&tree, 0), 4.0);
    major(&tree);
    check(bits(&tree, 3), 4.0);
    let tree = filled(&Arc::new(MemFs::new()), one_partition().filter(LevelFilter::Off), 1_000);
    assert_eq!((tree.stats().levels[0].filters.tables, tree.stats().levels[0].filters.file_bytes), (0, 0));
    assert!(tree.get("key-000005").unwrap().is_some() && tree.get("key-000005x").unwrap().is_none());
    let stats = filters(&tree);
    assert_eq!((stats.probes, stats.unfiltered_hits, stats.unfiltered_misses), (0, 1, 1));
}

#[test]
fn settings_that_make_no_sense_are_refused_with_advice() {
    let check = |change: fn(&mut TablePolicy)| {
        let mut tables = TablePolicy::default();
        change(&mut tables);
        let error = Tree::open(options(Arc::new(MemFs::new()), tables)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("must"), "{error}");
    };
    check(|tables| tables.filter = Vec::new());
    check(|tables| tables.prefix_filter_bits = Some(Vec::new()));
    check(|tables| tables.filter_partition_bytes = 100);
    check(|tables| tables.filter_partition_bytes = 1 << 20);
    check(|tables| tables.filter_budget_bytes = Some(0));
    check(|tables| tables.pin_filter = Vec::new());
}

/// A cache too small for all partitions throws some out again and again: they are read anew, and none is taken for
/// damaged.
#[test]
fn partitions_leave_the_cache_and_come_back() {
    let mut tables = small_tables().filter(LevelFilter::bits(8.0).unwrap());
    tables.pin_filter = vec![false];
    let options = options(Arc::new(MemFs::new()), tables);
    let tree = Tree::open(options.store(|store| store.cache(BlockCache::new(32 << 10)))).unwrap();
    for n in 0..20_000_u64 {
        tree.insert(format!("key-{n:06}"), "some value", at(n)).unwrap();
    }
    flush(&tree);
    for round in 0..3_u64 {
        for n in 0..5_000_u64 {
            let n = (n * 7_919 + round) % 20_000;
            assert!(tree.get(format!("key-{n:06}")).unwrap().is_some());
            assert!(tree.get(format!("key-{n:06}x")).unwrap().is_none());
        }
    }
    let stats = filters(&tree);
    assert_eq!((stats.unusable, stats.damaged_partitions, stats.pinned_bytes), (0, 0, 0));
    assert!(stats.negatives > 14_500 && stats.false_positives < 200, "{stats:?}");
}
