//! The bytes of encoding 1, field by field. They stay as they are for ever: a change of the format is a new encoding
//! with its own golden bytes beside these.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a helper's panic fails the test")]

mod common;

use std::{fmt::Write as _, sync::Arc};

use common::{Entry, build, put, seqno, small_options};
use lsm_block::{Handle, SectionFlags};
use lsm_codec::Compression;
use lsm_columnar::{Column, ColumnId, ColumnType, DelimitedText};
use lsm_sst::{
    BuildOptions, ColumnarOptions, ExtractorId, FilterFacts, FilterProperties, Table, TableOptions,
    data_block::{DataBlock, DataBlockBuilder, RowOptions},
    index::{IndexBlock, IndexBlockBuilder, IndexEntry},
    properties::{CodecCensus, Counters, Properties, SeqNoBounds},
    range_tombstones,
    seqno_bounds::{self, BoundsBlock},
};
use lsm_types::{
    Cut, FixedPrefix, KeyHash, KeyOrder, Kind, Level, RangeTombstone, SeqNo, Slice, TableId, UnixNanos,
    columns::KeyBuf,
};

/// The bytes of an annotated dump: what stands before `|` on each line, in hex; `NN*COUNT` repeats a byte.
fn bytes_of(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in dump.lines().filter_map(|line| line.split('|').next()).flat_map(str::split_whitespace) {
        let (hex, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(hex, 16).unwrap();
        bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), byte);
    }
    bytes
}

#[track_caller]
fn check(bytes: &[u8], dump: &str) {
    let hex = |bytes: &[u8]| bytes.chunks(16).map(|chunk| format!("{chunk:02X?}")).collect::<Vec<_>>();
    assert_eq!(hex(bytes), hex(&bytes_of(dump)));
}

fn rows() -> Vec<Entry> {
    vec![
        put("app/a1", 9, "new"),
        Entry { kind: Kind::MergeOperand, ..put("app/a1", 7, "+1") },
        Entry { kind: Kind::Tombstone, ..put("app/a2", 8, "") },
        put("app/a20", 7, "x"),
        put("app/b", 300, "yes"),
    ]
}

fn data_block(entries: &[Entry], options: RowOptions) -> Vec<u8> {
    let mut builder = DataBlockBuilder::new(options);
    let mut last: Option<&Entry> = None;
    for entry in entries {
        let same_key = last.replace(entry).is_some_and(|last| last.key == entry.key);
        builder.push(&entry.key, same_key, seqno(entry.seqno), entry.kind, &entry.value);
    }
    let mut payload = Vec::new();
    builder.finish(&mut payload);
    payload
}

#[track_caller]
fn check_rows(dump: &str, expected: &[Entry]) {
    let block = DataBlock::decode(Slice::from(bytes_of(dump))).unwrap();
    let mut found = Vec::new();
    let end: Result<(), ()> = block.for_each(|entry| {
        let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
        found.push(Entry { key, seqno: entry.seqno.get(), kind: entry.kind, value });
        Ok(())
    });
    assert_eq!((end, found), (Ok(()), expected.to_vec()));
}

const DATA: &str = include_str!("golden/data.txt");
const DATA_CONSTANT: &str = include_str!("golden/data_constant.txt");
const INDEX: &str = include_str!("golden/index.txt");
const INDEX_UPPER: &str = include_str!("golden/index_upper.txt");
const BOUNDS: &str = include_str!("golden/seqno_bounds.txt");
const TOMBSTONES: &str = include_str!("golden/range_tombstones.txt");
const PROPERTIES: &str = include_str!("golden/properties.txt");
const FILTER_PROPERTIES: &str = include_str!("golden/filter_properties.txt");

#[test]
fn data_block_bytes() {
    check(&data_block(&rows(), RowOptions { bundle_shift: 1, tags: true }), DATA);
    check_rows(DATA, &rows());
}

#[test]
fn data_block_bytes_with_constant_columns() {
    let rows = [put("k1", 0, "aa"), put("k2", 0, "bb"), put("k3", 0, "cc")];
    check(&data_block(&rows, RowOptions::default()), DATA_CONSTANT);
    check_rows(DATA_CONSTANT, &rows);
}

#[track_caller]
fn check_index(upper: bool, entries: &[(&str, IndexEntry)], dump: &str) {
    let mut builder = IndexBlockBuilder::new(upper);
    for (separator, entry) in entries {
        builder.push(separator.as_bytes(), *entry);
    }
    let mut payload = Vec::new();
    builder.finish(&mut payload);
    check(&payload, dump);
    let block = IndexBlock::decode(Slice::from(bytes_of(dump))).unwrap();
    assert_eq!((block.is_upper(), block.entries()), (upper, entries.len()));
    let mut key = KeyBuf::new();
    for (idx, (separator, entry)) in entries.iter().enumerate() {
        block.separator(idx, &mut key);
        assert_eq!((key.as_slice(), block.entry(idx)), (separator.as_bytes(), Some(*entry)));
    }
}

#[test]
fn index_block_bytes() {
    let entry = |offset, len, ordinal, rows, last| IndexEntry {
        handle: Handle { offset, len },
        ordinal,
        rows,
        last_seqno: seqno(last),
    };
    let leaf = [
        ("app/b", entry(0x200, 0x0F00, 3, 40, 0)),
        ("app/m", entry(0x1100, 0x1010, 4, 41, 9)),
        ("app/m", entry(0x2110, 0x0800, 5, 300, 0)),
    ];
    check_index(false, &leaf, INDEX);
    let upper = [
        ("c", entry(0x5000, 0x90, 0x8000_0000, 400, 0)),
        ("z", entry(0x2_0000, 0x80, 0x8000_0007, 70_000, 0)),
    ];
    check_index(true, &upper, INDEX_UPPER);
}

#[test]
fn seqno_bounds_bytes() {
    let bounds = |min, max| SeqNoBounds { min: seqno(min), max: seqno(max) };
    let blocks = [bounds(0x100, 0x100), bounds(0x180, 0x280), bounds(0x11F, 0x120)];
    let mut payload = Vec::new();
    seqno_bounds::encode(&blocks, &mut payload);
    check(&payload, BOUNDS);
    let read = BoundsBlock::decode(Slice::from(bytes_of(BOUNDS))).unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|entry| read.get(entry)),
        [Some(blocks[0]), Some(blocks[1]), Some(blocks[2]), None]
    );
    assert_eq!(read.all(), Some(bounds(0x100, 0x280)));
}

#[test]
fn range_tombstone_bytes() {
    let order = KeyOrder::bytewise();
    let range = |start, end, number| RangeTombstone { start, end, seqno: seqno(number) };
    let tombstones = [
        range(Cut::Start, Cut::Before("b".into()), 300),
        range(Cut::Before("ka".into()), Cut::After("kz".into()), 20),
        range(Cut::After("kb".into()), Cut::End, 25),
    ];
    let mut payload = Vec::new();
    range_tombstones::encode(&tombstones, &mut payload);
    check(&payload, TOMBSTONES);
    assert_eq!(range_tombstones::decode(&bytes_of(TOMBSTONES), &order).unwrap(), tombstones);
}

#[test]
fn properties_bytes() {
    let properties = Properties {
        writer: "lsm 1".into(),
        created: UnixNanos::new(0x0102_0304),
        table_id: TableId::new(7),
        level: Level::new(6),
        comparator: "lsm.bytewise".into(),
        keys: Some(("a".into(), "m".into())),
        extent: Some((Cut::Before("a".into()), Cut::End)),
        seqnos: Some(SeqNoBounds { min: seqno(1), max: seqno(9) }),
        point_seqnos: Some(SeqNoBounds { min: seqno(1), max: seqno(8) }),
        global_seqno: seqno(0x40),
        counters: Counters {
            entries: 10,
            distinct_keys: 9,
            tombstones: 2,
            range_tombstones: 1,
            raw_key_bytes: 20,
            raw_value_bytes: 30,
            data_logical_bytes: 0x100,
            data_stored_bytes: 0xC0,
            data_blocks: 1,
            ..Counters::default()
        },
        codecs: CodecCensus { raw: 0, lz4: 1, zstd: 0 },
        filters: FilterProperties::default(),
        columns: None,
        inputs: Vec::new(),
        slice: None,
        taken_over: Some(Vec::new()),
    };
    let mut payload = Vec::new();
    properties.encode(&mut payload);
    check(&payload, PROPERTIES);
    assert_eq!(Properties::decode(&bytes_of(PROPERTIES)).unwrap(), properties);

    let filters = FilterProperties {
        keys: Some(FilterFacts { bits: 8 << 16, seed: KeyHash::SEED }),
        prefixes: Some(FilterFacts { bits: 21 << 15, seed: KeyHash::PREFIX_SEED }),
        extractor: Some(ExtractorId::of(&FixedPrefix::new(4))),
        prefix_stored_bytes: 0x123,
        prefix_partitions: 2,
        prefix_count: 300,
    };
    let properties = Properties { filters, ..properties };
    payload.clear();
    properties.encode(&mut payload);
    let (before, after) = PROPERTIES.split_at(PROPERTIES.find("00 05 02").unwrap());
    let dump = [before, FILTER_PROPERTIES, after].concat();
    check(&payload, &dump);
    assert_eq!(Properties::decode(&bytes_of(&dump)).unwrap(), properties);
}

/// Where everything lies.
fn sections(table: &Table<Vec<u8>>) -> String {
    let map = table.meta().directory().sections.iter().map(|section| {
        let flag = |flag, name| if section.flags.has(flag) { name } else { "" };
        let flags = [
            flag(SectionFlags::CRITICAL, " critical"),
            flag(SectionFlags::MIRROR, " mirror"),
            flag(SectionFlags::INTERLEAVED, " interleaved"),
        ];
        format!(
            "{} at {} len {} frames {} digest {:016x}{}",
            section.kind.name(),
            section.offset,
            section.len,
            section.frames,
            section.digest,
            flags.concat()
        )
    });
    map.map(|line| line + "\n").collect()
}

/// A whole table: its digest, its length and where everything lies.
#[test]
fn table_sections() {
    let order = KeyOrder::bytewise();
    let entries: Vec<Entry> = (0..60).map(|n| put(&format!("key/{n:03}"), n, "value")).collect();
    let tombstone = RangeTombstone { start: Cut::Before("key/5".into()), end: Cut::End, seqno: SeqNo::ZERO };
    let options = BuildOptions { index_spill_bytes: 0, ..small_options(&order) };
    let (summary, bytes) = build(options, &entries, &[tombstone]);
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    let head = format!("file len {} digest {:016x}\n", summary.file_len, summary.digest);
    assert_eq!(head + &sections(&table), include_str!("golden/table.txt"));
}

/// Proves F-112 in part: a table by columns, as bytes, stays as it is.
#[test]
fn columnar_tables() {
    let schema = lsm_columnar::Schema::new(vec![
        Column::new(ColumnId::new(16), "n", ColumnType::U32).nullable(),
        Column::new(ColumnId::new(17), "t", ColumnType::Utf8).nullable(),
    ])
    .unwrap();
    let splitter = Arc::new(DelimitedText::new("test.csv", schema, b',').unwrap());
    let mut found = String::new();
    // One group of one frame; groups of a directory and pages.
    for (rows, compression) in [(5_usize, Compression::None), (3000, Compression::Lz4)] {
        let columnar = ColumnarOptions {
            splitter: Some(splitter.clone()),
            group_bytes: 60_000,
            part_rows: 700,
            ..ColumnarOptions::default()
        };
        let order = KeyOrder::bytewise();
        let options = BuildOptions { columnar: Some(columnar), compression, ..small_options(&order) };
        let mut entries: Vec<Entry> = (0..rows)
            .map(|n| put(&format!("key{n:05}"), 7, &format!("{},{:0>40}", n * n, n * 7919)))
            .collect();
        entries[3] = Entry { kind: Kind::Tombstone, ..put("key00003", 8, "") };
        entries[4].value = b"kept whole".to_vec();
        let (summary, bytes) = build(options, &entries, &[]);
        let table = Table::open(bytes.clone(), TableOptions::new()).unwrap();
        writeln!(found, "file len {} digest {:016x}", summary.file_len, summary.digest).unwrap();
        found.push_str(&sections(&table));
        if rows == 5 {
            let mut scan = table.groups().unwrap();
            assert!(scan.next_group(None).unwrap());
            let handle = scan.group().unwrap().at().handle;
            let start = usize::try_from(handle.offset).unwrap() + 32;
            for line in bytes[start..usize::try_from(handle.end().unwrap()).unwrap()].chunks(16) {
                writeln!(found, "{line:02X?}").unwrap();
            }
        }
    }
    assert_eq!(found, include_str!("golden/columnar.txt"));
}
