//! Membership filters alone: building, probing from each level of the memory hierarchy, and what they weigh; beside
//! the filters of other crates. All in processor time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]
#![allow(clippy::cast_precision_loss, reason = "figures to look at")]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{CpuTime, mix};
use lsm_burr::{BandWidth, Bits, Builder, FilterRef, Kernel};

const BUILD_SIZES: [(&str, usize); 4] = [("512", 512), ("4k", 4 << 10), ("32k", 32 << 10), ("1M", 1 << 20)];
const BUILD_BITS: [u8; 4] = [4, 8, 10, 14];
/// Keys of filters of 8 bits that fit the levels of the hierarchy of a server processor.
const LEVELS: [(&str, usize); 3] = [("l1", 32 << 10), ("l2", 500 << 10), ("dram", 64 << 20)];
/// Probes of one measurement, each for another hash: so many that a filter out of cache stays out of it.
const PROBES: usize = 1 << 14;
const PROBES_DRAM: usize = 1 << 20;
/// Sizes and bits of the table of weights.
const SPACE_SIZES: [usize; 5] = [500, 4 << 10, 32 << 10, 1_000_000, 10_000_000];
const SPACE_BITS: [u8; 5] = [4, 7, 8, 10, 14];
/// Keys of a partition in that table.
const PARTITION: usize = 32 << 10;

fn hashes(first: u64, count: usize) -> Vec<u64> {
    (first..).take(count).map(mix).collect()
}

fn builder(bits: u8) -> Builder {
    Builder::new(Bits::new(bits.into()).expect("bits in range"))
}

fn append(builder: &mut Builder, hashes: &[u64], out: &mut Vec<u8>) {
    for &hash in hashes {
        builder.push(hash);
    }
    builder.finish(out).expect("few enough keys");
}

/// A filter that lies at a multiple of 64, as a block of a file does.
struct Aligned {
    bytes: Vec<u8>,
    at: usize,
}

impl Aligned {
    fn new(hashes: &[u64]) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(hashes.len() + hashes.len() / 8 + 1024);
        let at = bytes.as_ptr().align_offset(64);
        bytes.resize(at, 0);
        append(&mut builder(8), hashes, &mut bytes);
        Self { bytes, at }
    }

    fn filter(&self, kernel: Kernel) -> Option<FilterRef<'_>> {
        let bytes = self.bytes.get(self.at..).expect("the filter follows");
        FilterRef::open(bytes).expect("just built").with_kernel(kernel)
    }
}

fn build(criterion: &mut Criterion<CpuTime>) {
    for (name, keys) in BUILD_SIZES {
        let set = hashes(1, keys);
        let mut group = criterion.benchmark_group(format!("filter/build/{name}"));
        group.throughput(Throughput::Elements(keys as u64));
        let mut out = Vec::new();
        for bits in BUILD_BITS {
            let mut builder = builder(bits);
            group.bench_function(format!("r{bits}"), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    append(&mut builder, &set, &mut out);
                });
            });
        }
        let mut wide = builder(8).with_band(BandWidth::Slots128);
        group.bench_function("r8_band128", |bencher| {
            bencher.iter(|| {
                out.clear();
                append(&mut wide, &set, &mut out);
            });
        });
        group.bench_function("peer_binary_fuse8", |bencher| {
            bencher.iter(|| xorf::BinaryFuse8::try_from(black_box(&set)).expect("hashes are distinct"));
        });
        group.bench_function("peer_bloom_10_bits", |bencher| {
            bencher.iter(|| bloom(black_box(&set)));
        });
        group.finish();
    }
}

/// A Bloom filter of 10 bits per key, about the rate of 7 bits of ours.
fn bloom(set: &[u64]) -> fastbloom::BloomFilter {
    let mut filter = fastbloom::BloomFilter::with_num_bits(set.len() * 10).expected_items(set.len());
    for hash in set {
        filter.insert(hash);
    }
    filter
}

fn probe(criterion: &mut Criterion<CpuTime>) {
    for (level, keys) in LEVELS {
        if !asked(&["filter/probe", "filter/batch", level]) {
            continue;
        }
        let set = hashes(1, keys);
        let stored = Aligned::new(&set);
        let count = if keys > 1 << 20 { PROBES_DRAM } else { PROBES };
        let absent = hashes(1 << 40, count);
        let present: Vec<u64> = (0..count as u64).map(|at| mix(1 + mix(at) % keys as u64)).collect();
        for (sign, probes) in [("neg", &absent), ("pos", &present)] {
            let mut group = criterion.benchmark_group(format!("filter/probe_{sign}/{level}"));
            group.throughput(Throughput::Elements(count as u64));
            for kernel in Kernel::ALL {
                let Some(filter) = stored.filter(kernel) else { continue };
                let name = format!("{kernel:?}").to_lowercase();
                group.bench_function(name, |bencher| {
                    bencher.iter(|| probes.iter().filter(|&&hash| filter.may_contain(hash)).count());
                });
            }
            if keys <= 1 << 20 {
                let fuse = xorf::BinaryFuse8::try_from(&set).expect("hashes are distinct");
                group.bench_function("peer_binary_fuse8", |bencher| {
                    bencher.iter(|| probes.iter().filter(|hash| xorf::Filter::contains(&fuse, hash)).count());
                });
                let bloom = bloom(&set);
                group.bench_function("peer_bloom_10_bits", |bencher| {
                    bencher.iter(|| probes.iter().filter(|&hash| bloom.contains(hash)).count());
                });
            }
            group.finish();
        }
        let mut group = criterion.benchmark_group(format!("filter/batch16/{level}"));
        group.throughput(Throughput::Elements(count as u64));
        for kernel in Kernel::ALL {
            let Some(filter) = stored.filter(kernel) else { continue };
            group.bench_function(format!("{kernel:?}").to_lowercase(), |bencher| {
                bencher.iter_batched_ref(
                    || [false; 16],
                    |found| {
                        absent.chunks(16).fold(0, |sum, hashes| {
                            filter.may_contain_batch(hashes, found);
                            sum + found.iter().filter(|&&found| found).count()
                        })
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

/// Bits per key with all bytes counted, and by how much that is more than the bits themselves.
fn space(_: &mut Criterion<CpuTime>) {
    if !asked(&["filter/space"]) {
        return;
    }
    for keys in SPACE_SIZES {
        let set = hashes(1, keys);
        let widths = [BandWidth::Slots64, BandWidth::Slots128];
        for (band, bits) in widths.into_iter().flat_map(|band| SPACE_BITS.map(|bits| (band, bits))) {
            let mut builder = builder(bits).with_band(band);
            let mut one = Vec::new();
            append(&mut builder, &set, &mut one);
            let mut parts = Vec::new();
            for part in set.chunks(PARTITION) {
                append(&mut builder, part, &mut parts);
            }
            let per_key = |len: usize| len as f64 * 8.0 / keys as f64;
            let over = |len: usize| (per_key(len) / f64::from(bits) - 1.0) * 100.0;
            println!(
                "filter/space {keys:>9} keys r {bits:>2} band {:>3}: {:.3} bits per key, {:.2} % over; in partitions {:.3}, {:.2} % over",
                band.slots(),
                per_key(one.len()),
                over(one.len()),
                per_key(parts.len()),
                over(parts.len()),
            );
            // From 13 bits on, a block more than the bound (ADR 0005).
            if keys > 1_000_000 && bits <= 12 {
                let bound = f64::from(bits) + 0.04 + 512.0 / PARTITION as f64;
                assert!(per_key(parts.len()) <= bound, "partitions are heavier than allowed");
            }
        }
    }
    let set = hashes(1, 1_000_000);
    let fuse = xorf::BinaryFuse8::try_from(&set).expect("hashes are distinct");
    println!(
        "filter/space   1000000 keys, binary fuse of 8 bits: {:.3} bits per key",
        xorf::Filter::<u64>::len(&fuse) as f64 * 8.0 / 1e6
    );
}

/// Whether the command line asks for one of these names, or for everything.
fn asked(names: &[&str]) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none()
        || words.any(|word| names.iter().any(|name| word.contains(name) || name.contains(&word)))
}

criterion_group! {
    name = filter;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(300));
    targets = build, probe, space
}
criterion_main!(filter);
