//! Trees as a whole, in memory: writes, point reads, scans, flush and compaction, without a device in between. Times
//! are processor time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that fails says so and ends")]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{
    CpuTime, Filters, KEY_BYTES, Shape, VALUE_BYTES, fill, filled, four_levels, key, open, permutation,
    scattered,
};
use lsm_codec::Compression;
use lsm_engine::{CompactOptions, Cursor, Entry, FlushOptions, Reader, Tree};
use lsm_types::{Result, SeqNo};

/// Entries of a tree that reads are measured on.
const READ_ENTRIES: u32 = 200_000;

/// Entries that one flush or compaction works on.
const JOB_ENTRIES: u32 = 100_000;

/// Keys looked up, or iterators opened, in one measured round.
const BATCH: usize = 64;

const ENTRY_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;

/// Block compression of jobs.
const CODECS: [(&str, Compression); 3] =
    [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd1", Compression::Zstd { level: 1 })];

fn tree(count: u32, shape: Shape, compression: Compression) -> Tree {
    filled(count, shape, compression).expect("memory does not fail")
}

fn insert(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("tree/insert");
    group.throughput(Throughput::Elements(u64::from(JOB_ENTRIES)));
    let orders = [("sequential", (0..JOB_ENTRIES).collect()), ("random", permutation(JOB_ENTRIES))];
    for (name, numbers) in orders {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || open(Compression::None).expect("memory does not fail"),
                |tree| fill(tree, &numbers, SeqNo::ZERO).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn get(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("tree/get");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (shape_name, shape) in Shape::READ {
        let tree = tree(READ_ENTRIES, shape, Compression::None);
        let mut numbers = scattered(u64::from(READ_ENTRIES));
        let mut hits = || (&mut numbers).take(BATCH).map(key).collect::<Vec<_>>();
        group.bench_function(BenchmarkId::new("hit", shape_name), |bencher| {
            bencher.iter_batched_ref(
                &mut hits,
                |keys| {
                    keys.iter().filter(|key| tree.get(key).expect("memory does not fail").is_some()).count()
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("borrowed", shape_name), |bencher| {
            bencher.iter_batched_ref(
                &mut hits,
                |keys| {
                    let len =
                        |key| tree.get_with(key, <[u8]>::len).expect("memory does not fail").unwrap_or(0);
                    keys.iter().map(len).sum::<usize>()
                },
                BatchSize::SmallInput,
            );
        });
        let mut misses = || {
            let mut keys = hits();
            for key in &mut keys {
                key[KEY_BYTES - 1] ^= 1;
            }
            keys
        };
        group.bench_function(BenchmarkId::new("miss", shape_name), |bencher| {
            bencher.iter_batched_ref(
                &mut misses,
                |keys| {
                    keys.iter().filter(|key| tree.get(key).expect("memory does not fail").is_some()).count()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// What filters save a read of a tree of four levels, and what they cost it.
fn filtered(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("tree/four_levels");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, filters) in Filters::ALL {
        let tree = four_levels(READ_ENTRIES, filters).expect("memory does not fail");
        for (which, last_bit) in [("hit", 0), ("miss", 1)] {
            let mut numbers = scattered(u64::from(READ_ENTRIES));
            group.bench_function(BenchmarkId::new(which, name), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        let mut keys: Vec<_> = (&mut numbers).take(BATCH).map(key).collect();
                        for key in &mut keys {
                            key[KEY_BYTES - 1] ^= last_bit;
                        }
                        keys
                    },
                    |keys| {
                        keys.iter()
                            .filter(|key| tree.contains_key(key).expect("memory does not fail"))
                            .count()
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn seek(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("tree/seek");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (shape_name, shape) in Shape::READ {
        let tree = tree(READ_ENTRIES, shape, Compression::None);
        let mut numbers = scattered(u64::from(READ_ENTRIES));
        for (name, entries) in [("first", 1), ("10_entries", 10), ("100_entries", 100)] {
            group.bench_function(BenchmarkId::new(name, shape_name), |bencher| {
                bencher.iter_batched_ref(
                    || (&mut numbers).take(BATCH).map(key).collect::<Vec<_>>(),
                    |keys| keys.iter().map(|key| tree.range(&key[..]..).take(entries).count()).sum::<usize>(),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn scan(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("tree/scan");
    group.throughput(Throughput::Elements(u64::from(READ_ENTRIES))).sample_size(20);
    for (shape_name, shape) in Shape::READ {
        let tree = tree(READ_ENTRIES, shape, Compression::None);
        group.bench_function(BenchmarkId::new("forward", shape_name), |bencher| {
            bencher.iter(|| walk(tree.iter()));
        });
        group.bench_function(BenchmarkId::new("backward", shape_name), |bencher| {
            bencher.iter(|| walk(tree.iter().rev()));
        });
        group.bench_function(BenchmarkId::new("forward_borrowed", shape_name), |bencher| {
            bencher.iter(|| {
                let (mut entries, mut bytes) = (tree.iter(), 0);
                while let Some(entry) = entries.advance().expect("memory does not fail") {
                    bytes += entry.key.len() + entry.value.len();
                }
                bytes
            });
        });
    }
    group.finish();
}

/// Both ways in turn over the same entries, lent; and jumps of one cursor.
fn cursor(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("cursor");
    for (shape_name, shape) in Shape::READ {
        let tree = tree(READ_ENTRIES, shape, Compression::None);
        let mut cursor = tree.cursor::<&[u8]>(..).expect("memory does not fail");
        let mut bytes = 0;
        group.throughput(Throughput::Elements(u64::from(READ_ENTRIES))).sample_size(30);
        group.bench_function(BenchmarkId::new("forward", shape_name), |bencher| {
            bencher.iter(|| {
                let mut stands = cursor.seek_first().expect("memory does not fail");
                while stands {
                    bytes += cursor.key().map_or(0, <[u8]>::len);
                    bytes += cursor.value().expect("memory does not fail").map_or(0, <[u8]>::len);
                    stands = cursor.move_next().expect("memory does not fail");
                }
            });
        });
        group.bench_function(BenchmarkId::new("backward", shape_name), |bencher| {
            bencher.iter(|| {
                let mut stands = cursor.seek_last().expect("memory does not fail");
                while stands {
                    bytes += cursor.key().map_or(0, <[u8]>::len);
                    bytes += cursor.value().expect("memory does not fail").map_or(0, <[u8]>::len);
                    stands = cursor.move_prev().expect("memory does not fail");
                }
            });
        });
        black_box(bytes);
        group.throughput(Throughput::Elements(BATCH as u64)).sample_size(100);
        let entries = u64::from(READ_ENTRIES);
        let mut numbers = scattered(entries);
        // Few enough keys that all they touch stays in the caches of the processor.
        let hot = |number: u64| entries / 2 + number % 1000;
        let mut far = || (&mut numbers).take(BATCH).map(key).collect::<Vec<_>>();
        let jump = |cursor: &mut Cursor, keys: &mut Vec<[u8; KEY_BYTES]>| {
            keys.iter().filter(|key| cursor.seek(key).expect("memory does not fail")).count()
        };
        group.bench_function(BenchmarkId::new("jump_far", shape_name), |bencher| {
            bencher.iter_batched_ref(&mut far, |keys| jump(&mut cursor, keys), BatchSize::SmallInput);
        });
        let mut hot_numbers = scattered(entries).map(hot);
        group.bench_function(BenchmarkId::new("jump_hot", shape_name), |bencher| {
            bencher.iter_batched_ref(
                || (&mut hot_numbers).take(BATCH).map(key).collect::<Vec<_>>(),
                |keys| jump(&mut cursor, keys),
                BatchSize::SmallInput,
            );
        });
        let mut start = 0;
        group.bench_function(BenchmarkId::new("jump_ahead", shape_name), |bencher| {
            bencher.iter_batched_ref(
                || {
                    start = (start + 7) % 1000;
                    (0..BATCH as u64).map(|at| key(hot(start) + 3 * at)).collect::<Vec<_>>()
                },
                |keys| jump(&mut cursor, keys),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn walk(entries: impl Iterator<Item = Result<Entry>>) {
    for entry in entries {
        black_box(entry.expect("memory does not fail"));
    }
}

fn snapshot(criterion: &mut Criterion<CpuTime>) {
    let tree = tree(READ_ENTRIES, Shape::Runs(4), Compression::None);
    criterion.bench_function("snapshot/create_and_drop", |bencher| bencher.iter(|| black_box(tree.view())));
}

/// Bytes of keys and values per second: how fast a full memtable becomes a table.
fn flush(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("compact/flush");
    group.throughput(Throughput::Bytes(u64::from(JOB_ENTRIES) * ENTRY_BYTES)).sample_size(10);
    for (name, compression) in CODECS {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || {
                    let tree = tree(JOB_ENTRIES, Shape::Memtable, compression);
                    tree.seal(None);
                    tree
                },
                |tree| tree.flush(&FlushOptions::default()).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Bytes of keys and values per second: how fast four overlapping runs become one.
fn merge(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("compact/merge");
    group.throughput(Throughput::Bytes(u64::from(JOB_ENTRIES) * ENTRY_BYTES)).sample_size(10);
    for (name, compression) in CODECS {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || tree(JOB_ENTRIES, Shape::Runs(4), compression),
                |tree| tree.major_compact(&CompactOptions::default()).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = engine;
    config = Criterion::default().with_measurement(CpuTime).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = insert, get, filtered, seek, scan, cursor, snapshot, flush, merge
}
criterion_main!(engine);
