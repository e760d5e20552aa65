//! The same rows by rows and by columns: reads of rows with every block in memory and with none, and scans of columns.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a benchmark may panic"
)]

use std::{collections::HashMap, hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lsm_block::{FileIdentity, Superblock};
use lsm_codec::Compression;
use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, DelimitedText, FixedStruct, Schema};
use lsm_sst::{
    BlockRef, BlockSource, BuildOptions, ColumnarOptions, OpenOptions, PointRows, Result, Splitters, Table,
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

const WORDS: [&str; 8] = ["red", "green", "blue", "yellow", "violet", "black", "white", "grey"];

/// The same rows in two forms.
#[derive(Clone, Copy)]
enum Form {
    /// Lines of text of about 70 bytes: what is assembled has to be written as text again.
    Text,
    /// Packed structs of 45 bytes: what is assembled is moved.
    Struct,
}

impl Form {
    /// Numbers of several sizes, flags and words.
    fn value(self, n: u64) -> Vec<u8> {
        let (a, b) = (mix(n), mix(n ^ 0xFFFF));
        let (word, other) = (WORDS[(a % 8) as usize], WORDS[(b % 3) as usize]);
        let (short, long, flag, time) = (a % 1000, a % 1_000_000_007, a % 2 == 0, 1_700_000_000 + n * 3);
        let (byte, middle) = (b % 100, b % 50_000);
        match self {
            Self::Text => {
                format!("{n}\t{short}\t{long}\t{word}\t{flag}\t{time}\t{byte}\t{other}\t{middle}\t{b}")
                    .into_bytes()
            }
            Self::Struct => {
                let mut value = Vec::with_capacity(45);
                value.extend_from_slice(&n.to_le_bytes());
                value.extend_from_slice(&(short as u16).to_le_bytes());
                value.extend_from_slice(&(long as u32).to_le_bytes());
                value.extend_from_slice(format!("{word:6}").as_bytes());
                value.push(flag.into());
                value.extend_from_slice(&(time as i64).to_le_bytes());
                value.push(byte as u8);
                value.extend_from_slice(&format!("{other:6}").as_bytes()[..3]);
                value.extend_from_slice(&(middle as u32).to_le_bytes());
                value.extend_from_slice(&b.to_le_bytes());
                value
            }
        }
    }

    fn splitter(self) -> Arc<dyn ColumnSplitter> {
        use ColumnType as T;
        let schema = |types: [ColumnType; COLUMNS as usize]| {
            let columns = types.into_iter().zip(0..);
            let columns = columns.map(|(ty, n)| Column::new(ColumnId::new(16 + n), format!("c{n}"), ty));
            Schema::new(columns.collect()).unwrap()
        };
        let (word, other) = match self {
            Self::Text => (T::Utf8, T::Utf8),
            Self::Struct => (T::Fixed(6), T::Fixed(3)),
        };
        let types = [T::U64, T::U16, T::U32, word, T::Bool, T::Timestamp, T::U8, other, T::U32, T::U64];
        match self {
            Self::Text => Arc::new(DelimitedText::new("bench.tsv", schema(types), b'\t').unwrap()),
            Self::Struct => Arc::new(FixedStruct::new("bench.struct", schema(types)).unwrap()),
        }
    }
}

fn build(form: Form, columnar: Option<ColumnarOptions>, compression: Compression) -> Vec<u8> {
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
        builder.add(&key(n), SeqNo::ZERO, Kind::Put, &form.value(n)).unwrap();
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

/// The same as point reads that miss the block of rows leave it in a cache: row groups as they are stored.
struct Stored(HashMap<u32, PointRows>);

impl BlockSource for Stored {
    fn data(&self, _: BlockRef) -> Result<Arc<DataBlock>> {
        unreachable!("point reads ask for rows")
    }

    fn rows(&self, at: BlockRef) -> Result<PointRows> {
        Ok(self.0[&at.ordinal].clone())
    }

    fn index(&self, _: BlockRef) -> Result<Arc<IndexBlock>> {
        unreachable!("the index has one block")
    }
}

fn tables(c: &mut Criterion) {
    for (name, form) in [("text", Form::Text), ("struct", Form::Struct)] {
        tables_of(c, name, form);
    }
}

fn tables_of(c: &mut Criterion, form_name: &str, form: Form) {
    let columnar = |group_bytes| {
        Some(ColumnarOptions { splitter: Some(form.splitter()), group_bytes, ..ColumnarOptions::default() })
    };
    let layouts = [
        ("rows", None),
        ("columns-16k", columnar(16 << 10)),
        ("columns-64k", columnar(64 << 10)),
        ("columns-1m", columnar(1 << 20)),
    ];
    let keys: Vec<_> = (0..4096).map(|n| key(mix(n) % ROWS)).map(|key| (KeyHash::of(&key), key)).collect();
    for (name, layout) in layouts {
        let name = format!("{form_name}-{name}");
        let mut group = c.benchmark_group(&name);
        group.sample_size(10);
        let bytes = build(form, layout.clone(), Compression::Lz4);
        println!("{name}: {} bytes", bytes.len());
        let open = OpenOptions {
            splitters: Splitters::new(vec![form.splitter()]),
            ..OpenOptions::new(KeyOrder::bytewise())
        };
        let table = Table::open(bytes, TableOptions::new().open(open)).unwrap();
        let root = table.meta().root();
        let at = || (0..root.entries()).map(|idx| BlockRef::from(root.entry(idx).unwrap()));
        let source = Loaded(at().map(|at| (at.ordinal, table.source().data(at).unwrap())).collect());
        let stored = Stored(at().map(|at| (at.ordinal, table.source().rows(at).unwrap())).collect());
        group.throughput(Throughput::Elements(4096));
        group.bench_function("get", |b| {
            b.iter(|| {
                for (hash, key) in &keys {
                    black_box(table.meta().get(&source, *hash, key, SeqNo::LATEST).unwrap());
                }
            });
        });
        group.bench_function("get-stored", |b| {
            b.iter(|| {
                for (hash, key) in &keys {
                    black_box(table.meta().get(&stored, *hash, key, SeqNo::LATEST).unwrap());
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
        group.bench_function("build", |b| b.iter(|| build(form, layout.clone(), Compression::Lz4).len()));
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
