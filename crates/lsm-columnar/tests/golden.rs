//! The examples of the format's page are what is really written: a change of the bytes is a new encoding.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test should fail where it fails"
)]

mod common;

use common::{STAMP, same};
use lsm_columnar::{
    Column, ColumnId, ColumnType, ColumnVector, Datum, DeleteSet, Encoding, EncodingSet, GroupDirectory,
    GroupEncoder, GroupHead, Page, PageEncoder, RowCells, Schema, assemble_image, split_image,
};
use lsm_types::SeqNo;

const PAGE: &str = include_str!("../../../docs/format/columnar.md");

/// The bytes of an example: what stands before `|` on each line, in hex.
fn example(name: &str) -> Vec<u8> {
    let (_, rest) =
        PAGE.split_once(&format!("<!-- golden: {name} -->\n```\n")).expect("an example of this name");
    let dump = rest.split("```").next().expect("a first part");
    let bytes = dump.lines().filter_map(|line| line.split('|').next()).flat_map(str::split_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
}

#[track_caller]
fn check_page(name: &str, ty: ColumnType, encoding: Encoding, data: &[Datum<'_>]) {
    let mut vector = ColumnVector::new(ty);
    for datum in data {
        vector.push(*datum).unwrap();
    }
    let mut bytes = Vec::new();
    let mut encoder = PageEncoder::new(EncodingSet::of(&[encoding]));
    let info = encoder.encode(STAMP, &vector, 0..data.len(), &mut bytes).unwrap();
    assert_eq!(info.encoding, encoding);
    assert_eq!(hex(&bytes), hex(&example(name)), "{name}");
    let page = Page::open(STAMP, ty, u32::try_from(data.len()).unwrap(), &bytes).unwrap();
    let mut scratch = Vec::new();
    for (row, datum) in data.iter().enumerate() {
        assert!(same(page.get(&bytes, row, &mut scratch), *datum), "row {row}");
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("{bytes:02X?}")
}

#[test]
fn the_pages_of_the_page() {
    let i = Datum::I64;
    let u = Datum::U64;
    check_page("plain", ColumnType::I16, Encoding::Plain, &[i(-1), i(300), i(-32_768)]);
    check_page("constant", ColumnType::U32, Encoding::Constant, &[u(5), Datum::Null, u(5)]);
    check_page("runs", ColumnType::U8, Encoding::RunLength, &[u(4), u(4), u(4), u(9)]);
    check_page(
        "dictionary",
        ColumnType::Utf8,
        Encoding::Dictionary,
        &["b".into(), "a".into(), "b".into(), "b".into(), "a".into(), "a".into(), "a".into(), "b".into()],
    );
    check_page("frame", ColumnType::I32, Encoding::FrameOfReference, &[i(-2), i(5), i(1)]);
    check_page(
        "delta",
        ColumnType::F64,
        Encoding::Delta,
        &[Datum::F64(1.0), Datum::F64(1.5), Datum::F64(1.75)],
    );
    check_page("lengths", ColumnType::Utf8, Encoding::Lengths, &["ab".into(), Datum::Null, "c".into()]);
    check_page(
        "keys",
        ColumnType::Bytes,
        Encoding::BundledKeys,
        &[Datum::Bytes(b"key1"), Datum::Bytes(b"key1"), Datum::Bytes(b"key22")],
    );
    check_page(
        "bits",
        ColumnType::Bool,
        Encoding::Bits,
        &[Datum::Bool(true), Datum::Bool(false), Datum::Bool(true)],
    );
}

fn schema() -> Schema {
    Schema::new(vec![
        Column::new(ColumnId::new(16), "n", ColumnType::U16).with_default(Datum::U64(3)).unwrap(),
        Column::new(ColumnId::new(18), "t", ColumnType::Utf8).nullable(),
    ])
    .unwrap()
}

#[test]
fn the_schema_and_the_image_of_the_page() {
    let mut bytes = Vec::new();
    schema().encode(&mut bytes);
    assert_eq!(hex(&bytes), hex(&example("schema")));
    assert_eq!(Schema::decode(&bytes), Ok(schema()));

    let mut cells = RowCells::new();
    cells.reset(&schema());
    cells.push(Datum::U64(258)).unwrap();
    cells.push("hi".into()).unwrap();
    let mut image = Vec::new();
    assemble_image(&schema(), &cells, &mut image).unwrap();
    assert_eq!(hex(&image), hex(&example("image")));
    let mut back = RowCells::new();
    split_image(&schema(), &image, &mut back).unwrap();
    assert_eq!((back.get(0), back.get(1)), (Datum::U64(258), "hi".into()));
}

#[test]
fn the_group_of_the_page() {
    let mut numbers = ColumnVector::new(ColumnType::U16);
    for datum in [Datum::U64(7), Datum::U64(9)] {
        numbers.push(datum).unwrap();
    }
    let columns = [(ColumnId::new(16), &numbers)];
    let group = GroupEncoder::new(1, EncodingSet::ALL).encode(5, &columns).unwrap();
    let head = GroupHead {
        ordinal: 5,
        rows: 2,
        schema_id: 1,
        seqno_min: SeqNo::new(3).unwrap(),
        seqno_max: SeqNo::new(4).unwrap(),
    };
    let mut payload = Vec::new();
    group.write_inline(&head, &mut payload).unwrap();
    assert_eq!(hex(&payload), hex(&example("group")));
    let directory = GroupDirectory::decode(&payload, Some(&schema())).unwrap();
    assert_eq!((directory.head(), directory.part_count()), (&head, 2));
}

#[test]
fn the_delete_vector_of_the_page() {
    let mut set = DeleteSet::new(100_000).unwrap();
    set.insert(1..10).unwrap();
    set.insert(70_000..70_001).unwrap();
    let mut bytes = Vec::new();
    set.encode(&mut bytes);
    assert_eq!(hex(&bytes), hex(&example("delete vector")));
    assert_eq!(DeleteSet::decode(&bytes, 100_000, 10), Ok(set));
}
