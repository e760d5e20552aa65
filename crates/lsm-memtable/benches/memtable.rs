//! What an insert, a read and a step cost per entry, beside the language's own ordered map.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a bench that meets the unexpected stops")]

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use lsm_memtable::{Memtable, MemtableConfig};
use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind, SeqNo};

type Table = Memtable<parking_lot::RawMutex>;
type Key = [u8; 16];

const VALUE: [u8; 100] = [7; 100];
const SIZES: [(&str, u64); 2] = [("10k", 10_000), ("1M", 1_000_000)];

/// How a number becomes a key of sixteen bytes.
type Shape = fn(u64) -> Key;

const SHAPES: [(&str, Shape); 2] = [("binary", binary), ("user", user)];

fn binary(n: u64) -> Key {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn user(n: u64) -> Key {
    let mut key = *b"user000000000000";
    let (mut rest, mut at) = (n, 15);
    while rest > 0 {
        key[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        (rest, at) = (rest / 10, at - 1);
    }
    key
}

/// The numbers below `count` in a scattered order, each once.
fn scattered(count: u64) -> Vec<u64> {
    let mix = |n: u64| {
        (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    };
    let mut numbers: Vec<u64> = (0..count).collect();
    numbers.sort_by_key(|n| mix(*n));
    numbers
}

fn keys(numbers: impl IntoIterator<Item = u64>, shape: Shape) -> Vec<Key> {
    numbers.into_iter().map(shape).collect()
}

fn empty() -> Arc<Table> {
    Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()))
}

fn fill(table: &Table, keys: &[Key]) {
    for (n, key) in keys.iter().enumerate() {
        table.insert(key, SeqNo::new(n as u64).expect("small"), Kind::Put, &VALUE).expect("there is room");
    }
}

fn filled(keys: &[Key]) -> Arc<Table> {
    let table = empty();
    fill(&table, keys);
    table
}

fn entries(keys: &[Key]) -> impl Iterator<Item = EntryRef<'_>> + Clone {
    keys.iter().map(|key| EntryRef { key, seqno: SeqNo::ZERO, kind: Kind::Put, value: &VALUE })
}

fn each_size_and_shape(
    c: &mut Criterion,
    group: &str,
    bench: impl Fn(&mut BenchmarkGroup<'_, WallTime>, &str, u64, Shape),
) {
    let mut group = c.benchmark_group(group);
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for (size, count) in SIZES {
        group.throughput(Throughput::Elements(count));
        for (shape, make) in SHAPES {
            bench(&mut group, &format!("{shape}/{size}"), count, make);
        }
    }
    group.finish();
}

fn insert_seq(c: &mut Criterion) {
    each_size_and_shape(c, "memtable/insert_seq", |group, id, count, make| {
        let keys = keys(0..count, make);
        group.bench_function(id, |b| {
            b.iter_batched(empty, |table| (fill(&table, &keys), table), BatchSize::PerIteration);
        });
    });
}

fn insert_rand(c: &mut Criterion) {
    each_size_and_shape(c, "memtable/insert_rand", |group, id, count, make| {
        let keys = keys(scattered(count), make);
        group.bench_function(id, |b| {
            b.iter_batched(empty, |table| (fill(&table, &keys), table), BatchSize::PerIteration);
        });
        let two_writers = |table: Arc<Table>| {
            let (left, right) = keys.split_at(keys.len() / 2);
            std::thread::scope(|scope| {
                scope.spawn(|| fill(&table, left));
                fill(&table, right);
            });
            table
        };
        group.bench_function(BenchmarkId::new("two_writers", id), |b| {
            b.iter_batched(empty, two_writers, BatchSize::PerIteration);
        });
        let tree = |mut map: BTreeMap<Key, [u8; 100]>| {
            map.extend(keys.iter().map(|key| (*key, VALUE)));
            map
        };
        group.bench_function(BenchmarkId::new("btreemap", id), |b| {
            b.iter_batched(BTreeMap::new, tree, BatchSize::PerIteration);
        });
    });
}

fn insert_batch_sorted(c: &mut Criterion) {
    each_size_and_shape(c, "memtable/insert_batch_sorted", |group, id, count, make| {
        let mut keys = keys(scattered(count), make);
        keys.chunks_mut(1000).for_each(<[Key]>::sort_unstable);
        let fill = |table: Arc<Table>| {
            for batch in keys.chunks(1000) {
                table.insert_batch(entries(batch)).expect("there is room");
            }
            table
        };
        group.bench_function(id, |b| b.iter_batched(empty, fill, BatchSize::PerIteration));
    });
}

/// Odd numbers are in the table, even ones are not; probes come in another order than inserts did.
fn get(c: &mut Criterion, name: &str, parity: u64) {
    each_size_and_shape(c, name, |group, id, count, make| {
        group.throughput(Throughput::Elements(1));
        let table = filled(&keys(scattered(count).into_iter().map(|n| 2 * n + 1), make));
        let probes = keys(scattered(count).into_iter().rev().map(|n| 2 * n + parity), make);
        group.bench_function(id, |b| {
            let mut next = probes.iter().cycle();
            b.iter(|| black_box(table.get(next.next().expect("endless"), SeqNo::LATEST)).is_some());
        });
        let map: BTreeMap<Key, [u8; 100]> =
            keys((0..count).map(|n| 2 * n + 1), make).into_iter().map(|key| (key, VALUE)).collect();
        group.bench_function(BenchmarkId::new("btreemap", id), |b| {
            let mut next = probes.iter().cycle();
            b.iter(|| black_box(map.get(next.next().expect("endless"))).is_some());
        });
    });
}

fn get_hit(c: &mut Criterion) {
    get(c, "memtable/get_hit", 1);
}

fn get_miss(c: &mut Criterion) {
    get(c, "memtable/get_miss", 0);
}

fn iter(c: &mut Criterion) {
    let mut group = c.benchmark_group("memtable/iter");
    group.sample_size(20);
    for (size, count) in SIZES {
        group.throughput(Throughput::Elements(count));
        for (name, order) in [("after_seq", (0..count).collect()), ("after_rand", scattered(count))] {
            let table = filled(&keys(order, user));
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(|| sum_ahead(&table)));
            group.bench_function(BenchmarkId::new(format!("{name}/back"), size), |b| {
                b.iter(|| sum_back(&table));
            });
        }
    }
    group.finish();
}

fn sum_ahead(table: &Arc<Table>) -> usize {
    let (mut cursor, mut sum) = (table.cursor(), 0);
    cursor.seek_first().expect("memory does not fail");
    while let Some(entry) = cursor.entry() {
        sum += usize::from(entry.key[15]) + entry.value.len();
        cursor.next().expect("memory does not fail");
    }
    sum
}

fn sum_back(table: &Arc<Table>) -> usize {
    let (mut cursor, mut sum) = (table.cursor(), 0);
    cursor.seek_last().expect("memory does not fail");
    while let Some(entry) = cursor.entry() {
        sum += usize::from(entry.key[15]) + entry.value.len();
        cursor.prev().expect("memory does not fail");
    }
    sum
}

criterion_group!(memtable, insert_seq, insert_rand, insert_batch_sorted, get_hit, get_miss, iter);
criterion_main!(memtable);
