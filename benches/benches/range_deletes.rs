//! What deletes of ranges cost reads, next to the same keys deleted one by one. Times are processor time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{CpuTime, Shape, filled, key, scattered};
use lsm_codec::Compression;
use lsm_engine::{FlushOptions, Reader, Tree};
use lsm_types::SeqNo;

const ENTRIES: u32 = 200_000;

/// Deleted stretches, spread evenly over the keys.
const RANGES: u32 = 10_000;

/// Keys of each stretch that is deleted.
const EACH: u32 = 4;

/// Keys looked up, or iterators opened, in one measured round.
const BATCH: usize = 64;

/// In which way the same keys are deleted.
#[derive(Clone, Copy)]
enum Deletes {
    None,
    Points,
    Ranges,
}

const WAYS: [(&str, Deletes); 3] =
    [("no_deletes", Deletes::None), ("point_deletes", Deletes::Points), ("range_deletes", Deletes::Ranges)];

/// A tree with its entries in the last level, and deletes in level 0.
fn tree(deletes: Deletes) -> Tree {
    let tree = filled(ENTRIES, Shape::Compacted, Compression::None).expect("memory does not fail");
    let mut seqno = tree.view().before();
    for start in (0..RANGES).map(|range| u64::from(range * (ENTRIES / RANGES))) {
        match deletes {
            Deletes::None => {}
            Deletes::Points => {
                for number in start..start + u64::from(EACH) {
                    tree.remove(key(number), seqno).expect("memory does not fail");
                    seqno = seqno.next();
                }
            }
            Deletes::Ranges => {
                let range = key(start)..key(start + u64::from(EACH));
                tree.remove_range(range, seqno).expect("memory does not fail");
                seqno = seqno.next();
            }
        }
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).expect("memory does not fail");
    tree
}

fn get(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("range_deletes/get");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, deletes) in WAYS {
        let tree = tree(deletes);
        let step = u64::from(ENTRIES / RANGES);
        let is_deleted = |number: &u64| number % step < u64::from(EACH);
        for (keys, deleted) in [("any", None), ("kept", Some(false)), ("deleted", Some(true))] {
            let mut numbers = scattered(u64::from(ENTRIES))
                .filter(|number| deleted.is_none_or(|deleted| deleted == is_deleted(number)));
            group.bench_function(BenchmarkId::new(keys, name), |bencher| {
                bencher.iter_batched_ref(
                    || (&mut numbers).take(BATCH).map(key).collect::<Vec<_>>(),
                    |keys| {
                        keys.iter()
                            .filter(|key| tree.get(key).expect("memory does not fail").is_some())
                            .count()
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn scan(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("range_deletes/scan");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    for (name, deletes) in WAYS {
        let tree = tree(deletes);
        let mut numbers = scattered(u64::from(ENTRIES));
        for entries in [10, 1000] {
            group.bench_function(BenchmarkId::new(entries.to_string(), name), |bencher| {
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

/// A scan over entries that lie under one tombstone, however many they are.
fn covered(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("range_deletes/covered_scan");
    for count in [10_000, 100_000, 1_000_000] {
        let tree = filled(count, Shape::Compacted, Compression::None).expect("memory does not fail");
        let seqno = tree.view().before();
        tree.remove_range(key(1)..key(u64::from(count) - 1), seqno).expect("memory does not fail");
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| black_box(tree.iter().count()));
        });
    }
    group.finish();
}

/// One more delete of a range in a memtable that has many.
fn insert(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("range_deletes/insert");
    group.throughput(Throughput::Elements(u64::from(RANGES))).sample_size(10);
    group.bench_function("10000", |bencher| {
        bencher.iter_batched_ref(
            || lsm_benches::open(Compression::None).expect("memory does not fail"),
            |tree| {
                let mut seqno = SeqNo::ZERO;
                for number in scattered(u64::from(ENTRIES)).take(RANGES as usize) {
                    tree.remove_range(key(number)..key(number + 2), seqno).expect("memory does not fail");
                    seqno = seqno.next();
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = range_deletes;
    config = Criterion::default().with_measurement(CpuTime).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = get, scan, covered, insert
}
criterion_main!(range_deletes);
