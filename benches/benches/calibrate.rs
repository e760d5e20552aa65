//! What this machine charges for the things an engine is made of. Every report quotes these figures. Whatever needs the
//! processor alone is measured in processor time, the device in wall time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that fails says so and ends")]

use std::{fs::File, hint::black_box, os::unix::fs::FileExt, time::Duration};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use lsm_benches::{CpuTime, half_random, permutation};
use lsm_codec::{Compression, Decoder, Encoder};
use lsm_fs::SystemClock;
use lsm_types::Clock;
use rustix::fs::{FallocateFlags, fallocate};

const LINE: usize = 64;
const PAGE: usize = 4096;
const STEPS: u64 = 1024;

/// Sizes that fit the levels of the hierarchy of a server processor.
const LEVELS: [(&str, usize); 4] =
    [("l1_24KiB", 24 << 10), ("l2_512KiB", 512 << 10), ("l3_8MiB", 8 << 20), ("dram_256MiB", 256 << 20)];

/// Dependent loads: each finds the place of the next one.
fn chase(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("calibrate/chase");
    group.throughput(Throughput::Elements(STEPS));
    for (name, bytes) in LEVELS {
        let next = ring(bytes);
        let mut at = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for _ in 0..STEPS {
                    at = next[at as usize];
                }
                at
            });
        });
    }
    group.finish();
}

/// One word per cache line, all on one ring.
fn ring(bytes: usize) -> Vec<u32> {
    let words = LINE / size_of::<u32>();
    let order = permutation(u32::try_from(bytes / LINE).expect("fewer lines than that"));
    let step = u32::try_from(words).expect("a small number");
    let mut next = vec![0; bytes / size_of::<u32>()];
    for (at, to) in order.iter().zip(order.iter().cycle().skip(1)) {
        next[*at as usize * words] = to * step;
    }
    next
}

fn copy_and_compare(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("calibrate/copy");
    for (name, bytes) in [("4KiB", 4 << 10), ("256KiB", 256 << 10), ("64MiB", 64 << 20)] {
        let (source, mut target) = (vec![1_u8; bytes], vec![0_u8; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(|| target.copy_from_slice(black_box(&source))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("calibrate/compare");
    for (name, bytes) in [("16B", 16), ("4KiB", 4 << 10)] {
        let (one, other) = (vec![1_u8; bytes], vec![1_u8; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&one) == black_box(&other)));
    }
    group.finish();
}

fn hash(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("calibrate/hash");
    for (name, bytes) in [("xxh3_16B", 16), ("xxh3_4KiB", PAGE)] {
        let input = half_random(bytes, 1);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(|| xxhash_rust::xxh3::xxh3_64(black_box(&input))));
    }
    let input = half_random(PAGE, 1);
    group.bench_function("crc32c_4KiB", |bencher| bencher.iter(|| crc32c::crc32c(black_box(&input))));
    group.finish();
}

/// Compression of one block whose bytes are half noise.
fn codec(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("calibrate/codec");
    group.throughput(Throughput::Bytes(PAGE as u64));
    let block = half_random(PAGE, 1);
    let policies = [
        ("lz4", Compression::Lz4),
        ("zstd1", Compression::Zstd { level: 1 }),
        ("zstd3", Compression::Zstd { level: 3 }),
    ];
    for (name, compression) in policies {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let (mut stored, mut back) = (Vec::new(), Vec::new());
        group.bench_function(format!("{name}_in"), |bencher| {
            bencher.iter(|| {
                stored.clear();
                encoder.compress(compression, black_box(&block), &mut stored).expect("a block compresses")
            });
        });
        stored.clear();
        let codec = encoder.compress(compression, &block, &mut stored).expect("a block compresses");
        group.bench_function(format!("{name}_out"), |bencher| {
            bencher.iter(|| {
                decoder.decompress(codec, black_box(&stored), &mut back, PAGE).expect("it was a block");
            });
        });
    }
    group.finish();
}

/// Reads from the page cache, appends that are made durable, holes.
fn storage(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("calibrate/storage");
    let mut page = vec![7_u8; PAGE];
    let file = tempfile::tempfile().expect("a place for temporary files");
    file.write_all_at(&half_random(1 << 20, 1), 0).expect("the file can be written");
    let mut at = 0;
    group.bench_function("pread_cached_4KiB", |bencher| {
        bencher.iter(|| {
            at = (at + 37 * PAGE as u64) % (1 << 20);
            file.read_exact_at(&mut page, at).expect("the file can be read");
        });
    });
    group.sample_size(20).warm_up_time(Duration::from_millis(500));
    append(&mut group, "append_fdatasync_4KiB", PAGE, None);
    append(&mut group, "append_fdatasync_4KiB_preallocated", PAGE, Some(64 << 20));
    append(&mut group, "append_fdatasync_1MiB", 1 << 20, None);
    for (name, bytes) in [("punch_4KiB", 4 << 10), ("punch_64KiB", 64 << 10), ("punch_1MiB", 1 << 20)] {
        punch(&mut group, name, bytes);
    }
    group.finish();
}

/// Appends of `bytes` bytes, each followed by a sync of the data, into `reserved` bytes allocated before.
fn append(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bytes: usize, reserved: Option<u64>) {
    let file = tempfile::tempfile().expect("a place for temporary files");
    if let Some(reserved) = reserved {
        fallocate(&file, FallocateFlags::KEEP_SIZE, 0, reserved).expect("space can be reserved");
        file.sync_all().expect("the file can be synced");
    }
    let block = half_random(bytes, 2);
    let mut end = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            file.write_all_at(&block, end).expect("the file can be written");
            file.sync_data().expect("the file can be synced");
            end += bytes as u64;
        });
    });
}

/// Holes of `bytes` bytes, one after the other, in a file that is written before, outside of the measured time.
fn punch(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bytes: u64) {
    const FILE: u64 = 64 << 20;
    let file = tempfile::tempfile().expect("a place for temporary files");
    let mut at = FILE;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let clock = SystemClock::new();
            let mut nanos = 0;
            for _ in 0..rounds {
                if at + bytes > FILE {
                    write_whole(&file, FILE);
                    at = 0;
                }
                let started = clock.monotonic_nanos();
                fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, bytes)
                    .expect("the file system makes holes");
                nanos += clock.monotonic_nanos() - started;
                at += bytes;
            }
            Duration::from_nanos(nanos)
        });
    });
}

fn write_whole(file: &File, len: u64) {
    let chunk = half_random(1 << 20, 3);
    for at in (0..len).step_by(chunk.len()) {
        file.write_all_at(&chunk, at).expect("the file can be written");
    }
    file.sync_data().expect("the file can be synced");
}

fn small_things(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("calibrate/small");
    let clock = SystemClock::new();
    group.bench_function("clock_read", |bencher| bencher.iter(|| clock.monotonic_nanos()));
    group.bench_function("allocate_and_free_100B", |bencher| {
        bencher.iter(|| black_box(Vec::<u8>::with_capacity(black_box(100))));
    });
    let counter = std::sync::atomic::AtomicU64::new(0);
    group.bench_function("atomic_add", |bencher| {
        bencher.iter(|| counter.fetch_add(1, std::sync::atomic::Ordering::AcqRel));
    });
    group.finish();
}

criterion_group! {
    name = processor;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    targets = chase, copy_and_compare, hash, codec, small_things
}
criterion_group! {
    name = device;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = storage
}
criterion_main!(processor, device);
