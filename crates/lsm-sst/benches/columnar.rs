//! The same rows by rows and by columns: reads of rows with every block in memory and with none, and scans of columns.
#![allow(missing_docs, clippy::indexing_slicing, clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{collections::HashMap, hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lsm_block::{FileIdentity, Superblock};
use lsm_codec::Compression;
use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, DelimitedText, Schema};
use lsm_sst::{
    BlockRef, BlockSource, BuildOptions, ColumnarOptions, OpenOptions, Result, Splitters, Table,
    TableBuilder, TableOptions, data_block::DataBlock, index::IndexBlock,
};
use lsm_types::{
    EditIndex, EntryCursor, FileKind, FileUuid, KeyHash, KeyOrder, Kind, SeqNo, TreeId, UnixNanos,
};

const ROWS: u64 = 100_000;
const COLUMNS: u16 = 10;

/// A repeatable sequence that looks random.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 3
}

fn key(n: u64) -> Vec<u8> {
    format!("user{:012}", n * 7 + mix(n) % 7).into_bytes()
}

/// Numbers of several sizes, flags and words: about 70 bytes.
fn value(n: u64) -> Vec<u8> {
    const WORDS: [&str; 8] = ["red", "green", "blue", "yellow", "violet", "black", "white", "grey"];
    let (a, b) = (mix(n), mix(n ^ 0xFFFF));
    format!(
        "{n}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
        a % 1000,
        a % 1_000_000_007,
        WORDS[(a % 8) as usize],
        a % 2 == 0,
        1_700_000_000 + n * 3,
        b % 100,
        WORDS[(b % 3) as usize],
        b % 50_000,
        b,
    )
    .into_bytes()
}

fn splitter() -> Arc<dyn ColumnSplitter> {
    use ColumnType as T;
    let types = [T::U64, T::U16, T::U32, T::Utf8, T::Bool, T::Timestamp, T::U8, T::Utf8, T::U32, T::U64];
    let columns = types.into_iter().zip(0..COLUMNS);
    let columns = columns.map(|(ty, n)| Column::new(ColumnId::new(16 + n), format!("c{n}"), ty));
    Arc::new(DelimitedText::new("bench.tsv", Schema::new(columns.collect()).unwrap(), b'\t').unwrap())
}

fn build(columnar: Option<ColumnarOptions>, compression: Compression) -> Vec<u8> {
    let identity = FileIdentity {
        kind: FileKind::Table,
        file_id: 1,
        uuid: FileUuid::from_bytes([1; 16]),
        database: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(0),
    };
    let superblock = Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0));
    let options = BuildOptions {
        data_block_bytes: 16 << 10,
        compression,
        columnar,
        ..BuildOptions::new(KeyOrder::bytewise())
    };
    let mut builder = TableBuilder::new(superblock, options, Vec::new()).unwrap();
    for n in 0..ROWS {
        builder.add(&key(n), SeqNo::ZERO, Kind::Put, &value(n)).unwrap();
    }
    builder.finish().unwrap().1
}

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

fn tables(c: &mut Criterion) {
    let columnar = |group_bytes, part_rows| {
        Some(ColumnarOptions {
            splitter: Some(splitter()),
            group_bytes,
            part_rows,
            ..ColumnarOptions::default()
        })
    };
    let layouts = [
        ("rows", None),
        ("columns-16k", columnar(16 << 10, 16 << 10)),
        ("columns-64k", columnar(64 << 10, 16 << 10)),
        ("columns-1m", columnar(1 << 20, 16 << 10)),
    ];
    let keys: Vec<_> = (0..4096).map(|n| key(mix(n) % ROWS)).map(|key| (KeyHash::of(&key), key)).collect();
    for (name, layout) in layouts {
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        let bytes = build(layout.clone(), Compression::Lz4);
        println!("{name}: {} bytes", bytes.len());
        let open = OpenOptions {
            splitters: Splitters::new(vec![splitter()]),
            ..OpenOptions::new(KeyOrder::bytewise())
        };
        let table = Table::open(bytes, TableOptions::new().open(open)).unwrap();
        let root = table.meta().root();
        let at = (0..root.entries()).map(|idx| BlockRef::from(root.entry(idx).unwrap()));
        let source = Loaded(at.map(|at| (at.ordinal, table.source().data(at).unwrap())).collect());
        group.throughput(Throughput::Elements(4096));
        group.bench_function("get", |b| {
            b.iter(|| {
                for (hash, key) in &keys {
                    black_box(table.meta().get(&source, *hash, key, SeqNo::LATEST).unwrap());
                }
            });
        });
        group.throughput(Throughput::Elements(64));
        group.bench_function("get-uncached", |b| {
            b.iter(|| {
                for (_, key) in keys.iter().take(64) {
                    black_box(table.get(key, SeqNo::LATEST).unwrap());
                }
            });
        });
        group.throughput(Throughput::Elements(ROWS));
        let mut cursor = table.meta().cursor(&source);
        group.bench_function("scan", |b| {
            b.iter(|| {
                cursor.seek_first().unwrap();
                while let Some(entry) = cursor.entry() {
                    black_box(entry);
                    cursor.next().unwrap();
                }
            });
        });
        let mut cursor = table.cursor();
        group.bench_function("scan-uncached", |b| {
            b.iter(|| {
                cursor.seek_first().unwrap();
                while let Some(entry) = cursor.entry() {
                    black_box(entry);
                    cursor.next().unwrap();
                }
            });
        });
        group.bench_function("build", |b| b.iter(|| build(layout.clone(), Compression::Lz4).len()));
        for columns in [1, 3, COLUMNS] {
            if layout.is_none() {
                continue;
            }
            group.bench_function(format!("columns/{columns}"), |b| {
                b.iter(|| {
                    let mut scan = table.groups().unwrap();
                    while scan.next_group(None).unwrap() {
                        for part in 0..scan.group().unwrap().directory().part_count() {
                            for column in 0..columns {
                                let page = scan.page(ColumnId::new(16 + column), part).unwrap().unwrap();
                                black_box(page.decode().unwrap());
                            }
                        }
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, tables);
criterion_main!(benches);
