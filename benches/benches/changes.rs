//! What listing changes costs, for each change. Times are processor time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{CpuTime, key, permutation, value};
use lsm_engine::{CompactOptions, FlushOptions, TablePolicy, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_types::{Result, SeqNo};

const ENTRIES: u32 = 1_000_000;

/// Where the changes lie.
#[derive(Clone, Copy)]
enum Place {
    Memtable,
    /// In eight tables straight from memtables.
    Flushed,
    /// In one level, numbers scattered over the keys.
    Compacted,
}

/// A tree of `ENTRIES` writes in scattered order of keys, and the bound above them.
fn tree(place: Place) -> Result<Tree> {
    let fs = Arc::new(MemFs::new());
    let tables = TablePolicy::default().seqno_bounds(true);
    let tree = Tree::open(TreeOptions::new("/changes").store(|store| store.fs(fs)).tables(tables))?;
    for (at, number) in (0_u64..).zip(permutation(ENTRIES)) {
        let seqno = SeqNo::ZERO.checked_add(at).unwrap_or_default();
        tree.insert(key(number.into()), value(number.into()), seqno)?;
        if !matches!(place, Place::Memtable) && (at + 1).is_multiple_of(u64::from(ENTRIES / 8)) {
            tree.seal(None);
            tree.flush(&FlushOptions::default())?;
        }
    }
    if matches!(place, Place::Compacted) {
        tree.major_compact(&CompactOptions::default())?;
    }
    Ok(tree)
}

/// How many changes a list from `since` on has.
fn count(tree: &Tree, since: SeqNo) -> Result<u64> {
    let mut changes = tree.changes::<&[u8]>(since, ..)?;
    let mut found = 0;
    while let Some(change) = changes.advance()? {
        black_box(change);
        found += 1;
    }
    Ok(found)
}

fn list(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("cdc");
    group.sample_size(10);
    for (name, place) in
        [("memtable", Place::Memtable), ("flushed", Place::Flushed), ("compacted", Place::Compacted)]
    {
        let tree = tree(place).expect("memory does not fail");
        for (share, percent) in [("1pct", 1), ("50pct", 50)] {
            let changes = u64::from(ENTRIES) * percent / 100;
            let since = SeqNo::ZERO.checked_add(u64::from(ENTRIES) - changes).unwrap_or_default();
            group.throughput(Throughput::Elements(changes));
            group.bench_function(format!("{share}/{name}"), |bencher| {
                bencher.iter(|| assert_eq!(count(&tree, since).expect("memory does not fail"), changes));
            });
        }
    }
}

criterion_group! { name = benches; config = Criterion::default().with_measurement(CpuTime); targets = list }
criterion_main!(benches);
