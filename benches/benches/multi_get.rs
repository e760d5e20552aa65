//! Many keys at once against each by itself: from memory, and with a block cache that keeps nothing. Times are processor
//! time; without a cache the files are in the system's page cache, so what is saved is system calls and checks.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]

use std::{path::Path, sync::Arc};

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use lsm_benches::{
    CpuTime, Filters, KEY_BYTES, Shape, fill, filled, four_levels, key, permutation, scattered,
};
use lsm_codec::Compression;
use lsm_engine::{BlockCache, CompactOptions, FlushOptions, Reader, TablePolicy, Tree, TreeOptions};
use lsm_fs::DiskFs;
use lsm_types::SeqNo;

/// Entries of a tree.
const ENTRIES: u32 = 200_000;

/// Keys asked for at once.
const COUNTS: [usize; 3] = [16, 64, 100];

type Keys = Vec<[u8; KEY_BYTES]>;

/// The same keys, each by itself and all at once.
fn both(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    tree: &Tree,
    mut keys: impl FnMut(usize) -> Keys,
) {
    for count in COUNTS {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new(format!("{name}/each"), count), |bencher| {
            bencher.iter_batched_ref(
                || keys(count),
                |keys| {
                    let get = |key| tree.get(key).expect("nothing fails");
                    keys.iter().map(get).collect::<Vec<_>>()
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new(format!("{name}/many"), count), |bencher| {
            bencher.iter_batched_ref(
                || keys(count),
                |keys| tree.multi_get(keys).expect("nothing fails"),
                BatchSize::SmallInput,
            );
        });
    }
}

fn hot(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("multi_get/hot");
    let mut numbers = scattered(u64::from(ENTRIES));
    let mut hits = |count| (&mut numbers).take(count).map(key).collect::<Keys>();
    for (name, shape) in Shape::READ {
        let tree = filled(ENTRIES, shape, Compression::None).expect("memory does not fail");
        both(&mut group, name, &tree, &mut hits);
    }
    let tree = four_levels(ENTRIES, Filters::Pinned).expect("memory does not fail");
    both(&mut group, "4_levels", &tree, &mut hits);
    let misses = |count| {
        let mut keys = hits(count);
        keys.iter_mut().filter_map(|key| key.last_mut()).for_each(|byte| *byte ^= 1);
        keys
    };
    both(&mut group, "4_levels_absent", &tree, misses);
    let tree = filled(ENTRIES, Shape::Compacted, Compression::None).expect("memory does not fail");
    both(&mut group, "1_run_sorted", &tree, |count| {
        let mut keys = hits(count);
        keys.sort_unstable();
        keys
    });
    group.finish();
}

/// A tree of one run on disk whose blocks are read anew each time.
fn uncached_tree(path: &Path) -> Tree {
    let tables = TablePolicy::default().compression(Compression::None).data_block_bytes(4096);
    let store = |store: lsm_engine::StoreOptions| store.fs(Arc::new(DiskFs::new())).cache(BlockCache::new(0));
    let tree =
        Tree::open(TreeOptions::new(path).tables(tables).store(store)).expect("the disk does not fail");
    fill(&tree, &permutation(ENTRIES), SeqNo::ZERO).expect("memory does not fail");
    tree.seal(None);
    tree.flush(&FlushOptions::default()).expect("the disk does not fail");
    tree.major_compact(&CompactOptions::default()).expect("the disk does not fail");
    tree
}

fn uncached(criterion: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().expect("there is room for temporary files");
    let tree = uncached_tree(&dir.path().join("db"));
    let mut group = criterion.benchmark_group("multi_get/uncached");
    group.sample_size(30);
    let mut numbers = scattered(u64::from(ENTRIES));
    both(&mut group, "apart", &tree, |count| (&mut numbers).take(count).map(key).collect());
    // Every tenth of a stretch of keys: three or so in each block, and blocks that touch.
    let mut sorted: Keys = (0..u64::from(ENTRIES)).map(key).collect();
    sorted.sort_unstable();
    let mut starts = scattered(u64::from(ENTRIES) - 1_000);
    both(&mut group, "close", &tree, |count| {
        let start = starts.next().and_then(|start| usize::try_from(start).ok()).unwrap_or(0);
        sorted.iter().skip(start).step_by(10).take(count).copied().collect()
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = hot, uncached
}
criterion_main!(benches);
