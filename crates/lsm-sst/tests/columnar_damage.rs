//! Damaged and misplaced columns: the right content or an error.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{Entry, build, current, put, small_options, superblock};
use lsm_block::{BlockKind, Checksum, FrameSpec, FrameWriter, Transforms};
use lsm_codec::Compression;
use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, Datum, DelimitedText, Schema};
use lsm_sst::{BuildOptions, ColumnarOptions, OpenOptions, Splitters, Table, TableOptions};
use lsm_types::{CorruptionKind, EntryCursor, ErrorKind, KeyOrder, ReadAt, Result, SeqNo};

const COLUMNS: u16 = 10;

fn splitter() -> Arc<dyn ColumnSplitter> {
    let columns = (0..COLUMNS).map(|n| Column::new(ColumnId::new(16 + n), format!("c{n}"), ColumnType::U64));
    Arc::new(DelimitedText::new("test.numbers", Schema::new(columns.collect()).unwrap(), b',').unwrap())
}

/// Numbers that do not pack well, so that pages of all columns have one length.
fn number(row: usize, column: u16) -> u64 {
    (row as u64 * 31 + u64::from(column)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 << 63
}

fn entries(rows: usize) -> Vec<Entry> {
    let value =
        |row| (0..COLUMNS).map(|column| number(row, column).to_string()).collect::<Vec<_>>().join(",");
    (0..rows).map(|row| put(&format!("key{row:05}"), 9, &value(row))).collect()
}

fn file(rows: usize, group_bytes: usize) -> Vec<u8> {
    let columnar = ColumnarOptions { splitter: Some(splitter()), group_bytes, ..ColumnarOptions::default() };
    let order = KeyOrder::bytewise();
    build(BuildOptions { columnar: Some(columnar), ..small_options(&order) }, &entries(rows), &[]).1
}

fn open<R: ReadAt>(file: R) -> Result<Table<R>> {
    let splitters = Splitters::new(vec![splitter()]);
    let open = OpenOptions { splitters, ..OpenOptions::new(KeyOrder::bytewise()) };
    Table::open(file, TableOptions::new().open(open))
}

fn rows<R: ReadAt>(table: &Table<R>) -> Result<Vec<Entry>> {
    let mut cursor = table.cursor();
    let mut found = Vec::new();
    cursor.seek_first()?;
    while let Some(entry) = current(&cursor) {
        found.push(entry);
        cursor.next()?;
    }
    Ok(found)
}

/// One column of the table, without looking at others.
fn column<R: ReadAt>(table: &Table<R>, column: u16) -> Result<Vec<u64>> {
    let mut scan = table.groups()?;
    let mut found = Vec::new();
    while scan.next_group(None)? {
        for part in 0..scan.group().unwrap().directory().part_count() {
            let page = scan.page(ColumnId::new(16 + column), part)?.unwrap();
            let values = page.decode().unwrap();
            found.extend((0..values.len()).map(|row| match values.get(row) {
                Datum::U64(value) => value,
                other => panic!("{other:?}"),
            }));
        }
    }
    Ok(found)
}

/// Proves F-18 and F-20 for columns, FI-8.
#[test]
fn every_flipped_byte_gives_the_same_rows_or_an_error() {
    for (count, group_bytes, step) in [(12, 700, 1), (400, 60_000, 37)] {
        let (file, expected) = (file(count, group_bytes), entries(count));
        let (mut same, mut errors) = (0, 0);
        for at in (0..file.len()).step_by(step) {
            if file[at..].iter().take(64).all(|&byte| byte == 0) {
                continue;
            }
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            for probe in expected.iter().step_by(count / 2 + 1) {
                match open(damaged.clone()).and_then(|table| table.get(&probe.key, SeqNo::LATEST)) {
                    Ok(found) => assert_eq!(found.unwrap().value, probe.value[..], "byte {at}"),
                    Err(error) => assert!(error.is_corruption(), "byte {at}: {error}"),
                }
            }
            match open(damaged).and_then(|table| rows(&table)) {
                Ok(found) => {
                    assert_eq!(found, expected, "byte {at}");
                    same += 1;
                }
                Err(error) => {
                    assert!(error.is_corruption(), "byte {at}: {error}");
                    errors += 1;
                }
            }
        }
        assert!(same > 0 && errors > 0, "{same} the same, {errors} errors");
    }
}

/// Where the pages of the first group lie, by column.
fn places(file: &[u8]) -> Vec<(std::ops::Range<usize>, u32)> {
    let table = open(file.to_vec()).unwrap();
    let mut scan = table.groups().unwrap();
    assert!(scan.next_group(None).unwrap());
    let group = scan.group().unwrap();
    assert!(!group.directory().is_inline() && group.directory().part_count() == 1);
    let place = |column| {
        let page = group.directory().page(ColumnId::new(16 + column), 0).unwrap();
        let handle = group.page_handle(page).unwrap();
        let start = usize::try_from(handle.offset).unwrap();
        (start..start + handle.len as usize, page.logical_len)
    };
    (0..COLUMNS).map(place).collect()
}

/// Proves F-112 and F-113: what is wrong with one column is no business of another, and rows are not made up without it.
#[test]
fn a_damaged_column_leaves_the_others() {
    let mut file = file(800, 200_000);
    let expected = |column| (0..800).map(|row| number(row, column)).collect::<Vec<_>>();
    let at = places(&file)[4].0.clone();
    file[at.start + 100] ^= 0x20;
    let table = open(file).unwrap();
    for other in (0..COLUMNS).filter(|column| *column != 4) {
        assert_eq!(column(&table, other).unwrap(), expected(other));
    }
    assert!(column(&table, 4).unwrap_err().is_corruption());
    assert!(rows(&table).unwrap_err().is_corruption());
    assert!(table.get(b"key00003", SeqNo::LATEST).unwrap_err().is_corruption());
    let mut findings = Vec::new();
    table.verify(&mut |error| findings.push(error)).unwrap();
    assert!(!findings.is_empty() && findings.iter().all(lsm_sst::Error::is_corruption));
}

/// Proves F-113: the page of a sibling column is no stand-in, although its frame is good for the place.
#[test]
fn a_page_of_another_column_is_found_out() {
    let mut file = file(800, 200_000);
    let places = places(&file);
    let ((own, len), (other, other_len)) = (places[2].clone(), places[3].clone());
    assert_eq!((own.len(), len), (other.len(), other_len), "pages of one length");
    let payload = file[other.start + 32..other.end].to_vec();
    let ordinal = u32::from_le_bytes(file[own.start + 16..own.start + 20].try_into().unwrap());
    let mut frame = Vec::new();
    let mut writer = FrameWriter::new(superblock().identity, Transforms::new(Checksum::default()));
    let (kind, compression) = (BlockKind::COLUMN_PAGE, Compression::None);
    let spec = FrameSpec { kind, encoding: 1, compression, ordinal };
    writer.append(spec, &payload, own.start as u64, &mut frame).unwrap();
    file.splice(own, frame);
    let table = open(file).unwrap();
    let misplaced = ErrorKind::Corruption(CorruptionKind::Misplaced);
    assert_eq!(column(&table, 2).unwrap_err().kind(), misplaced);
    assert_eq!(rows(&table).unwrap_err().kind(), misplaced);
    assert!(column(&table, 3).is_ok());
}
