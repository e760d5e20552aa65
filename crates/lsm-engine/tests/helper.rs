//! Files that a second thread helped to write are those that one thread writes, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{at, flush, sealed::encryption};
use lsm_codec::Compression;
use lsm_compaction_executor::{Cancel, ExecutorError, Failpoints};
use lsm_compaction_planner::Major;
use lsm_engine::{CompactOptions, LevelFilter, StoreOptions, TablePolicy, Tree, TreeOptions};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::{
    dice::Dice,
    ports::{SeededRandom, TestClock},
};
use lsm_types::{ErrorKind, ReadAt, Spawner};

/// A thread for each task; how many were begun.
#[derive(Default)]
struct Threads(AtomicU64);

impl Spawner for Threads {
    fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(task);
    }
}

/// Stops a job, or makes it fail or panic, when it is half way through.
struct HalfWay {
    entries: AtomicU64,
    how: How,
    cancel: Cancel,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    Error,
    Panic,
    Stop,
}

impl Failpoints for HalfWay {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point != "segment.entry" || self.entries.fetch_add(1, Ordering::Relaxed) != 6 {
            return Ok(());
        }
        match self.how {
            How::Error => Err(ExecutorError::Injected { point }),
            How::Panic => panic!("injected at {point}"),
            How::Stop => {
                self.cancel.cancel();
                Ok(())
            }
        }
    }
}

/// How tables are written in one case.
struct Case {
    compression: Compression,
    block_bytes: u32,
    sealed: bool,
    /// Every so many values are noise; 0 for none.
    noise: u64,
}

/// Every file of tables after two flushes and a merge into tables of 300 KiB, by name.
fn files(case: &Case, store: impl FnOnce(StoreOptions) -> StoreOptions) -> Vec<(String, Vec<u8>)> {
    let memory = Arc::new(MemFs::new());
    let mut tables = TablePolicy::default().data_block_bytes(case.block_bytes);
    tables.compression = vec![case.compression.or_weaker()];
    tables.filter = vec![LevelFilter::bits(10.0).unwrap()];
    tables.index_spill_bytes = 4 << 10;
    tables.index_partition_bytes = 2 << 10;
    tables.filter_partition_bytes = 1 << 10;
    tables.filter_partitioning = vec![true];
    let options = TreeOptions::new("/db").tables(tables).table_target_bytes(300 << 10).store(|how| {
        let how =
            how.fs(memory.clone()).clock(Arc::new(TestClock::new())).random(Arc::new(SeededRandom::new(7)));
        store(if case.sealed { how.encryption(encryption()) } else { how })
    });
    let tree = Tree::open(options).unwrap();
    let (mut dice, mut next) = (Dice::new(11), 0);
    for run in 0..2_u64 {
        for number in 0..6_000_u64 {
            // Half of it goes, or next to nothing.
            let is_noise = case.noise > 0 && number % (20 * case.noise) < 19 * case.noise;
            let noise_len = if is_noise { 240 } else { 120 };
            let mut value: Vec<u8> =
                (0..noise_len / 8).flat_map(|_| dice.below(u64::MAX).to_le_bytes()).collect();
            value.resize(240, b'-');
            tree.insert((number * 2 + run).to_be_bytes(), value, at(next)).unwrap();
            next += 1;
        }
        flush(&tree);
    }
    let report = tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(report.segments, 1);
    assert!(report.tables_out > 1, "{report:?}");
    tree.close().unwrap();
    let dir = Path::new("/db/tables");
    let mut names: Vec<_> = memory.read_dir(dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let read = |name: std::ffi::OsString| {
        let file = memory.open(&dir.join(&name), &lsm_fs::OpenOptions::READ).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(0, &mut bytes).unwrap();
        (name.into_string().unwrap(), bytes)
    };
    names.into_iter().map(read).collect()
}

/// Proves C-141, F-145: codecs, blocks of all sizes, sealed ones, blocks that do not shrink.
#[test]
fn helped_files_are_the_same() {
    let (lz4, zstd) = (Compression::Lz4, Compression::Zstd { level: 3 });
    for (compression, block_bytes, sealed, noise) in [
        (lz4, 4 << 10, false, 0),
        (zstd, 4 << 10, false, 0),
        (zstd, 16 << 10, true, 0),
        (lz4, 700, false, 40),
        (Compression::None, 4 << 10, false, 0),
        (zstd, 300 << 10, false, 0),
    ] {
        let case = Case { compression, block_bytes, sealed, noise };
        let alone = files(&case, |store| store.compaction_threads(1));
        let threads = Arc::new(Threads::default());
        let pool: Arc<dyn Spawner> = threads.clone();
        let helped = files(&case, |store| store.compaction_threads(2).compaction_pool(pool));
        let begun = threads.0.load(Ordering::Relaxed);
        assert_eq!(begun > 0, compression != Compression::None, "{begun} threads for {compression:?}");
        assert!(alone == helped, "{compression:?} in blocks of {block_bytes}, sealed: {sealed}");
    }
}

/// Proves C-144, C-145, C-164: a job that ends while somebody helps it leaves nothing behind, and can be repeated.
#[test]
fn a_helped_job_that_fails_leaves_nothing() {
    for how in [How::Error, How::Panic, How::Stop] {
        let memory = Arc::new(MemFs::new());
        let threads = Arc::new(Threads::default());
        let pool: Arc<dyn Spawner> = threads.clone();
        let options = TreeOptions::new("/db")
            .store(|store| store.fs(memory.clone()).compaction_threads(2).compaction_pool(pool));
        let tree = Tree::open(options).unwrap();
        let mut dice = Dice::new(3);
        for run in 0..2_u64 {
            for number in 0..6_000_u64 {
                let value: Vec<u8> =
                    (0..25).flat_map(|_| dice.below(u64::MAX).to_le_bytes()[..5].to_vec()).collect();
                tree.insert((number * 2 + run).to_be_bytes(), value, at(run * 6_000 + number)).unwrap();
            }
            flush(&tree);
        }
        let begun = threads.0.load(Ordering::Relaxed);
        let cancel = Cancel::new();
        let half_way: Arc<dyn Failpoints> =
            Arc::new(HalfWay { entries: AtomicU64::new(0), how, cancel: cancel.clone() });
        let strategy = Major { target_bytes: 1 << 20 };
        let options = CompactOptions::default().cancel(cancel);
        let error = tree.compact_with(&strategy, &options, &half_way).unwrap_err();
        let expected = if how == How::Stop { ErrorKind::Cancelled } else { ErrorKind::Bug };
        assert_eq!(error.kind(), expected, "{how:?}: {error}");
        assert!(threads.0.load(Ordering::Relaxed) > begun, "somebody was asked to help");
        let files = || memory.read_dir(Path::new("/db/tables")).unwrap().len();
        assert_eq!((files(), tree.stats().tables()), (2, 2), "{how:?}");
        let report = tree.major_compact(&CompactOptions::default()).unwrap();
        assert_eq!((report.entries_out, files()), (12_000, tree.stats().tables()), "{how:?}");
    }
}
