//! What sealing costs: the same tree plain and sealed, in one run. Times are processor time.
//!
//! The cipher comes first, by itself: what a block of so many bytes costs at least.
//!
//! Blocks are compressed, but for those of the rows named `raw`. Cached reads see blocks that are open already; uncached ones, scans and jobs open or seal every block they touch.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{CpuTime, KEY_BYTES, VALUE_BYTES, fill, key, permutation, scattered};
use lsm_codec::Compression;
use lsm_crypto::{AssociatedData, FileContext, FileKey, Sealer};
use lsm_engine::{
    BlockCache, CompactOptions, Encryption, FlushOptions, KeyChain, KeyId, Reader, Secret, Suite,
    TablePolicy, Tree, TreeOptions,
};
use lsm_fs::MemFs;
use lsm_types::{FileUuid, SeqNo, TreeId};

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

/// Bytes of sealed payloads: a short one, a block of 4 KiB that lz4 halved, the same plain, blocks of 16 and 64 KiB.
const PAYLOADS: [usize; 5] = [256, 2304, 4096, 16_384, 65_536];

fn cipher(criterion: &mut Criterion<CpuTime>) {
    for (name, suite) in SEALS {
        let Some(suite) = suite else { continue };
        let mut group = criterion.benchmark_group(format!("sealed/cipher/{name}"));
        let context = FileContext {
            database: FileUuid::from_bytes([1; 16]),
            file: FileUuid::from_bytes([2; 16]),
            tree: TreeId::new(0),
            file_id: 7,
            kind: 1,
            suite,
            salt: [3; 32],
        };
        let key = FileKey::derive(KeyId::new(1), &Secret::new([7; 32]), &context);
        let sealer = Sealer::new(suite, &key).expect("there is memory");
        let data = AssociatedData::of_file(&context);
        for len in PAYLOADS {
            let mut block = vec![7; len];
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new("seal", len), |bencher| {
                bencher.iter(|| sealer.seal(1, data.as_bytes(), &mut block).expect("it is not too long"));
            });
            let tag = sealer.seal(1, data.as_bytes(), &mut block).expect("it is not too long");
            let mut out = vec![0; len];
            group.bench_function(BenchmarkId::new("open", len), |bencher| {
                bencher.iter(|| {
                    sealer.open(1, data.as_bytes(), (&block, &tag), &mut out).expect("it is whole");
                    out.first().copied()
                });
            });
        }
        group.finish();
    }
}

fn get(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("sealed/get");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (lz4, raw) = (Compression::Lz4, Compression::None);
    for (which, codec, cache_bytes) in
        [("cached", lz4, 1 << 30), ("uncached", lz4, 0), ("uncached_raw", raw, 0)]
    {
        for (name, suite) in SEALS {
            let tree = filled(suite, codec, cache_bytes, 1);
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
    for (which, codec) in [("uncached", Compression::Lz4), ("uncached_raw", Compression::None)] {
        for (name, suite) in SEALS {
            let tree = filled(suite, codec, 0, 1);
            tree.major_compact(&CompactOptions::default()).expect("memory does not fail");
            group.bench_function(BenchmarkId::new(which, name), |bencher| {
                bencher.iter(|| {
                    tree.iter().map(|entry| entry.expect("memory does not fail")).map(black_box).count()
                });
            });
        }
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
    targets = cipher, get, scan, jobs
}
criterion_main!(sealed);
