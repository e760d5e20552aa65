//! Dead rows: what asking for one costs, and what they cost a walk that passes over them.
#![allow(missing_docs, clippy::indexing_slicing, clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{collections::HashMap, hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lsm_block::{FileIdentity, Superblock};
use lsm_columnar::{DeleteMap, DeleteSet};
use lsm_sst::{
    BlockRef, BlockSource, BuildOptions, Table, TableBuilder, TableOptions, data_block::DataBlock,
    index::IndexBlock,
};
use lsm_types::{
    EditIndex, EntryCursor, FileKind, FileUuid, KeyOrder, Kind, Result, SeqNo, TreeId, UnixNanos,
};

const ROWS: u64 = 200_000;

/// All blocks in memory: the cost of a cache is not part of this.
struct Loaded(HashMap<u32, Arc<DataBlock>>);

impl BlockSource for Loaded {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        Ok(Arc::clone(&self.0[&at.ordinal]))
    }

    fn index(&self, _: BlockRef) -> Result<Arc<IndexBlock>> {
        unreachable!("the index has one block")
    }
}

fn table() -> Table<Vec<u8>> {
    let identity = FileIdentity {
        kind: FileKind::Table,
        file_id: 1,
        uuid: FileUuid::from_bytes([1; 16]),
        database: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(0),
    };
    let superblock = Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0));
    let options = BuildOptions { data_block_bytes: 16 << 10, ..BuildOptions::new(KeyOrder::bytewise()) };
    let mut builder = TableBuilder::new(superblock, options, Vec::new()).unwrap();
    for n in 0..ROWS {
        let key = format!("user:{n:012}");
        builder.add(key.as_bytes(), SeqNo::ZERO, Kind::Put, &[7; 100]).unwrap();
    }
    Table::open(builder.finish().unwrap().1, TableOptions::new()).unwrap()
}

/// One row in so many is dead, or a run of rows that comes to the same share.
fn vector(every: u64, run: u64) -> Arc<DeleteMap> {
    let mut rows = DeleteSet::new(ROWS).unwrap();
    for start in (0..ROWS).step_by(usize::try_from(every * run).unwrap()) {
        rows.insert(start..(start + run).min(ROWS)).unwrap();
    }
    Arc::new(DeleteMap::new(rows))
}

fn membership(c: &mut Criterion) {
    let mut group = c.benchmark_group("delete-vector/contains");
    let rows: Vec<u64> = (0..4096_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % ROWS).collect();
    group.throughput(Throughput::Elements(rows.len() as u64));
    for (name, every, run) in [("1-percent", 100, 1), ("half", 2, 1), ("half-in-runs", 2, 1000)] {
        let vector = vector(every, run);
        group.bench_function(name, |b| {
            b.iter(|| rows.iter().filter(|row| vector.contains(**row)).count());
        });
    }
}

fn walk(c: &mut Criterion) {
    let table = table();
    let from_file = table.source();
    let blocks = table.blocks().map(|block| block.unwrap().at());
    let source = Loaded(blocks.map(|at| (at.ordinal, from_file.data(at).unwrap())).collect());
    let mut group = c.benchmark_group("delete-vector/walk");
    group.throughput(Throughput::Elements(ROWS));
    let none = Arc::new(DeleteMap::new(DeleteSet::new(ROWS).unwrap()));
    let cases = [
        ("no-vector", None),
        ("no-dead-row", Some(none)),
        ("1-percent", Some(vector(100, 1))),
        ("20-percent", Some(vector(5, 1))),
        ("half", Some(vector(2, 1))),
        ("half-in-runs", Some(vector(2, 1000))),
    ];
    for (name, dead) in cases {
        let mut cursor = table.meta().cursor(&source).without(dead);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut bytes = 0;
                cursor.seek_first().unwrap();
                while let Some(entry) = cursor.entry() {
                    bytes += black_box(entry.key).len();
                    cursor.next().unwrap();
                }
                bytes
            });
        });
    }
}

criterion_group!(benches, membership, walk);
criterion_main!(benches);
