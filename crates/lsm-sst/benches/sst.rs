//! What one block, one index and one table cost, hot.
#![allow(missing_docs, clippy::indexing_slicing, clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lsm_block::{BlockKind, ByteRange, FileIdentity, Handle, Step, Superblock};
use lsm_codec::Decoder;
use lsm_sst::{
    BlockRef, BlockSource, BuildOptions, OpenOptions, OpenSst, Result, TableBuilder, TableLayout,
    data_block::{DataBlock, DataBlockBuilder, RowOptions},
    index::{IndexBlock, IndexBlockBuilder, IndexEntry},
};
use lsm_types::{
    EditIndex, EntryCursor, FileKind, FileUuid, KeyHash, KeyOrder, Kind, SeqNo, Slice, TreeId, UnixNanos,
};

/// A repeatable sequence that looks random.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 3
}

/// Keys as applications have them: a common start, then digits that grow with gaps.
fn key(n: u64) -> Vec<u8> {
    format!("user{:012}", n * 7 + mix(n) % 7).into_bytes()
}

fn fill(builder: &mut DataBlockBuilder, first: u64, rows: u64, value_len: usize) {
    let value = vec![0xAB; value_len];
    for n in first..first + rows {
        builder.push(&key(n), false, SeqNo::new(n % 100).unwrap(), Kind::Put, &value);
    }
}

fn block(rows: u64, value_len: usize, options: RowOptions) -> DataBlock {
    let mut builder = DataBlockBuilder::new(options);
    fill(&mut builder, 1000, rows, value_len);
    let mut payload = Vec::new();
    builder.finish(&mut payload);
    DataBlock::decode(Slice::from(payload)).unwrap()
}

fn probes(first: u64, rows: u64) -> Vec<Vec<u8>> {
    (0..256).map(|n| key(first + mix(n) % rows)).collect()
}

fn blocks(c: &mut Criterion) {
    let order = KeyOrder::bytewise();
    let mut group = c.benchmark_group("block");
    for (rows, value_len) in [(35, 100), (140, 16)] {
        group.throughput(Throughput::Elements(rows));
        let mut builder = DataBlockBuilder::new(RowOptions::default());
        let mut out = Vec::new();
        group.bench_function(format!("encode/{rows}"), |b| {
            b.iter(|| {
                out.clear();
                fill(&mut builder, 1000, rows, value_len);
                builder.finish(&mut out);
                black_box(out.len())
            });
        });
        let mut payload = Vec::new();
        fill(&mut builder, 1000, rows, value_len);
        builder.finish(&mut payload);
        let payload = Slice::from(payload);
        group.bench_function(format!("decode/{rows}"), |b| {
            b.iter(|| black_box(DataBlock::decode(payload.clone()).unwrap().rows()));
        });
        let block = block(rows, value_len, RowOptions::default());
        let mut cursor = block.cursor(&order);
        group.bench_function(format!("next/{rows}"), |b| {
            b.iter(|| {
                cursor.seek_first();
                while let Some(entry) = cursor.entry() {
                    black_box(entry);
                    cursor.next();
                }
            });
        });
        group.bench_function(format!("prev/{rows}"), |b| {
            b.iter(|| {
                cursor.seek_last();
                while let Some(entry) = cursor.entry() {
                    black_box(entry);
                    cursor.prev();
                }
            });
        });
        let keys = probes(1000, rows);
        group.throughput(Throughput::Elements(keys.len() as u64));
        group.bench_function(format!("lower_bound/{rows}"), |b| {
            b.iter(|| {
                for key in &keys {
                    black_box(block.lower_bound(&order, key, SeqNo::LATEST));
                }
            });
        });
        let tagged = self::block(rows, value_len, RowOptions { tags: true, ..RowOptions::default() });
        let hashed: Vec<(KeyHash, &Vec<u8>)> = keys.iter().map(|key| (KeyHash::of(key), key)).collect();
        for (name, block) in [("find", &block), ("find_tagged", &tagged)] {
            group.bench_function(format!("{name}/{rows}"), |b| {
                b.iter(|| {
                    for (hash, key) in &hashed {
                        black_box(block.find(&order, *hash, key, SeqNo::LATEST));
                    }
                });
            });
        }
    }
    group.finish();
}

fn index(c: &mut Criterion) {
    let order = KeyOrder::bytewise();
    let mut group = c.benchmark_group("index");
    for entries in [256, 4 << 10, 65_000_u64] {
        let mut builder = IndexBlockBuilder::new(false);
        for n in 0..entries {
            let handle = Handle { offset: 512 + n * 4096, len: 4000 };
            let entry =
                IndexEntry { handle, ordinal: u32::try_from(n).unwrap(), rows: 40, last_seqno: SeqNo::ZERO };
            builder.push(&key(n * 40), entry);
        }
        let mut payload = Vec::new();
        builder.finish(&mut payload);
        let block = IndexBlock::decode(Slice::from(payload)).unwrap();
        let keys: Vec<Vec<u8>> = (0..4096).map(|n| key(mix(n) % (entries * 40))).collect();
        group.throughput(Throughput::Elements(keys.len() as u64));
        group.bench_function(format!("find/{entries}"), |b| {
            b.iter(|| {
                for key in &keys {
                    black_box(block.find(&order, key, SeqNo::LATEST));
                }
            });
        });
    }
    group.finish();
}

/// All blocks in memory, found by ordinal: the cost of a cache is not part of this.
struct Loaded(Vec<Arc<DataBlock>>);

impl BlockSource for Loaded {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        Ok(Arc::clone(&self.0[at.ordinal as usize]))
    }

    fn index(&self, _: BlockRef) -> Result<Arc<IndexBlock>> {
        unreachable!("the index has one block")
    }
}

fn superblock() -> Superblock {
    let identity = FileIdentity {
        kind: FileKind::Table,
        file_id: 1,
        uuid: FileUuid::from_bytes([1; 16]),
        database: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(0),
    };
    Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0))
}

fn build(rows: u64) -> Vec<u8> {
    let mut builder =
        TableBuilder::new(superblock(), BuildOptions::new(KeyOrder::bytewise()), Vec::new()).unwrap();
    let value = [0xCD; 100];
    for n in 0..rows {
        builder.add(&key(n), SeqNo::ZERO, Kind::Put, &value).unwrap();
    }
    builder.finish().unwrap().1
}

fn part(bytes: &Slice, range: ByteRange) -> Slice {
    let start = usize::try_from(range.offset).unwrap();
    bytes.slice(start..start + usize::try_from(range.len).unwrap())
}

fn open(bytes: &Slice) -> (Arc<TableLayout>, Loaded) {
    let options = OpenOptions::new(KeyOrder::bytewise());
    let (mut opening, mut range) = OpenSst::start(bytes.len() as u64, options).unwrap();
    let layout: Arc<TableLayout> = loop {
        match opening.feed(part(bytes, range)).unwrap() {
            Step::Need(next) => range = next,
            Step::Done(layout) => break layout.into(),
        }
    };
    let mut decoder = Decoder::new();
    let mut blocks = Vec::new();
    for idx in 0..layout.root().entries() {
        let at = BlockRef::from(layout.root().entry(idx).unwrap());
        layout.check_ref(BlockKind::DATA, at).unwrap();
        let frame = part(bytes, ByteRange { offset: at.handle.offset, len: at.handle.len.into() });
        blocks.push(Arc::new(layout.decode_data(at, &frame, &mut decoder).unwrap()));
    }
    (layout, Loaded(blocks))
}

fn tables(c: &mut Criterion) {
    const ROWS: u64 = 100_000;
    let bytes = Slice::from(build(ROWS));
    let (layout, source) = open(&bytes);
    let mut group = c.benchmark_group("table");
    let hits: Vec<Vec<u8>> = (0..4096).map(|n| key(mix(n) % ROWS)).collect();
    let misses: Vec<Vec<u8>> = hits.iter().map(|key| [&key[..], b"x"].concat()).collect();
    group.throughput(Throughput::Elements(4096));
    for (name, keys) in [("hit", &hits), ("miss", &misses)] {
        let keys: Vec<(KeyHash, &Vec<u8>)> = keys.iter().map(|key| (KeyHash::of(key), key)).collect();
        group.bench_function(format!("get/{name}"), |b| {
            b.iter(|| {
                for (hash, key) in &keys {
                    black_box(layout.get(&source, *hash, key, SeqNo::LATEST).unwrap());
                }
            });
        });
    }
    group.throughput(Throughput::Elements(ROWS));
    group.sample_size(20);
    let mut cursor = layout.cursor(&source);
    group.bench_function("scan", |b| {
        b.iter(|| {
            cursor.seek_first().unwrap();
            while let Some(entry) = cursor.entry() {
                black_box(entry);
                cursor.next().unwrap();
            }
        });
    });
    let keys: Vec<Vec<u8>> = (0..ROWS).map(key).collect();
    group.bench_function("build", |b| {
        b.iter_batched(
            || Vec::with_capacity(bytes.len()),
            |out| {
                let mut builder =
                    TableBuilder::new(superblock(), BuildOptions::new(KeyOrder::bytewise()), out).unwrap();
                for key in &keys {
                    builder.add(key, SeqNo::ZERO, Kind::Put, &[0xCD; 100]).unwrap();
                }
                builder.finish().unwrap().0.file_len
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, blocks, index, tables);
criterion_main!(benches);
