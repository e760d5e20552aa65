//! What sealing costs: the same tree plain and sealed, in one run. Times are processor time.
//!
//! Cached reads see blocks that are open already; uncached ones, scans and jobs open or seal every block they touch.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{CpuTime, KEY_BYTES, VALUE_BYTES, fill, key, permutation, scattered};
use lsm_codec::Compression;
use lsm_engine::{
    BlockCache, CompactOptions, Encryption, FlushOptions, KeyChain, KeyId, Reader, Secret, Suite,
    TablePolicy, Tree, TreeOptions,
};
use lsm_fs::MemFs;
use lsm_types::SeqNo;

const ENTRIES: u32 = 100_000;
const BATCH: usize = 64;
const ENTRY_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;

/// How files are sealed, with names.
const SEALS: [(&str, Option<Suite>); 3] =
    [("plain", None), ("aes", Some(Suite::Aes256Gcm)), ("chacha", Some(Suite::ChaCha20Poly1305))];

fn open(suite: Option<Suite>, compression: Compression, cache_bytes: u64) -> Tree {
    let tables = TablePolicy::default().compression(compression).data_block_bytes(4096);
    let options = TreeOptions::new("/bench").tables(tables).store(|store| {
        let store = store.fs(Arc::new(MemFs::new())).cache(BlockCache::new(cache_bytes));
        let Some(suite) = suite else { return store };
        let keys = KeyChain::new(KeyId::new(1), Secret::new([7; 32]));
        let mut encryption = Encryption::new(Arc::new(keys));
        encryption.suite = suite;
        store.encryption(encryption)
    });
    Tree::open(options).expect("memory does not fail")
}

fn filled(suite: Option<Suite>, compression: Compression, cache_bytes: u64, runs: usize) -> Tree {
    let tree = open(suite, compression, cache_bytes);
    let numbers = permutation(ENTRIES);
    let mut seqno = SeqNo::ZERO;
    for part in numbers.chunks(numbers.len().div_ceil(runs)) {
        seqno = fill(&tree, part, seqno).expect("memory does not fail");
        tree.seal(None);
        tree.flush(&FlushOptions::default()).expect("memory does not fail");
    }
    tree
}

fn get(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("sealed/get");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (which, cache_bytes) in [("cached", 1 << 30), ("uncached", 0)] {
        for (name, suite) in SEALS {
            let tree = filled(suite, Compression::Lz4, cache_bytes, 1);
            tree.major_compact(&CompactOptions::default()).expect("memory does not fail");
            let mut numbers = scattered(u64::from(ENTRIES));
            let mut hits = || (&mut numbers).take(BATCH).map(key).collect::<Vec<_>>();
            group.bench_function(BenchmarkId::new(which, name), |bencher| {
                bencher.iter_batched_ref(
                    &mut hits,
                    |keys| {
                        let is_there = |key: &_| tree.get(key).expect("memory does not fail").is_some();
                        keys.iter().filter(|key| is_there(key)).count()
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn scan(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("sealed/scan");
    group.throughput(Throughput::Elements(u64::from(ENTRIES))).sample_size(20);
    for (name, suite) in SEALS {
        let tree = filled(suite, Compression::Lz4, 0, 1);
        tree.major_compact(&CompactOptions::default()).expect("memory does not fail");
        group.bench_function(BenchmarkId::new("uncached", name), |bencher| {
            bencher.iter(|| {
                tree.iter().map(|entry| entry.expect("memory does not fail")).map(black_box).count()
            });
        });
    }
    group.finish();
}

fn jobs(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("sealed/jobs");
    group.throughput(Throughput::Bytes(u64::from(ENTRIES) * ENTRY_BYTES)).sample_size(10);
    for (name, suite) in SEALS {
        group.bench_function(BenchmarkId::new("flush", name), |bencher| {
            bencher.iter_batched_ref(
                || {
                    let tree = open(suite, Compression::Lz4, 0);
                    fill(&tree, &permutation(ENTRIES), SeqNo::ZERO).expect("memory does not fail");
                    tree.seal(None);
                    tree
                },
                |tree| tree.flush(&FlushOptions::default()).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("merge", name), |bencher| {
            bencher.iter_batched_ref(
                || filled(suite, Compression::Lz4, 0, 4),
                |tree| tree.major_compact(&CompactOptions::default()).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = sealed;
    config = Criterion::default().with_measurement(CpuTime).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = get, scan, jobs
}
criterion_main!(sealed);
