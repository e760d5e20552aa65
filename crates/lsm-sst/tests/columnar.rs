//! Tables by columns against the same tables by rows.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{Entry, build, current, entries, key, lower_bound, orders, put, seqno, small_options, sort};
use lsm_codec::Compression;
use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, Datum, DelimitedText, Schema};
use lsm_sst::{BuildOptions, ColumnarOptions, OpenOptions, SeqNoWindow, Splitters, Table, TableOptions};
use lsm_types::{EntryCursor, ErrorKind, KeyOrder, Kind, SeqNo};
use proptest::prelude::*;

fn schema() -> Schema {
    Schema::new(vec![
        Column::new(ColumnId::new(16), "number", ColumnType::I64).nullable(),
        Column::new(ColumnId::new(17), "text", ColumnType::Utf8).nullable(),
        Column::new(ColumnId::new(20), "flag", ColumnType::Bool).nullable(),
    ])
    .unwrap()
}

fn splitter() -> Arc<dyn ColumnSplitter> {
    Arc::new(DelimitedText::new("test.csv", schema(), b',').unwrap())
}

fn columnar(group_bytes: usize, part_rows: u16) -> ColumnarOptions {
    ColumnarOptions { splitter: Some(splitter()), group_bytes, part_rows, group_rows: 5000 }
}

fn open(bytes: Vec<u8>, order: &KeyOrder) -> Table<Vec<u8>> {
    let open = OpenOptions { splitters: Splitters::new(vec![splitter()]), ..OpenOptions::new(order.clone()) };
    Table::open(bytes, TableOptions::new().open(open)).unwrap()
}

/// Values of some puts as the splitter takes them, long ones among them; others it declines.
fn with_fields(mut entries: Vec<Entry>) -> Vec<Entry> {
    for (n, entry) in entries.iter_mut().enumerate().filter(|(_, entry)| entry.kind == Kind::Put) {
        let text = "x".repeat(n * 7 % 90);
        entry.value = match n % 7 {
            0 => continue,
            1 => b",,".to_vec(),
            2 => b"007,no,maybe".to_vec(),
            3 => format!("{},,true", n.cast_signed() - 50).into_bytes(),
            _ => format!("{},{text}{},{}", n * n, n % 5, n % 2 == 0).into_bytes(),
        };
    }
    entries
}

fn walk(table: &Table<Vec<u8>>) -> Vec<Entry> {
    let mut cursor = table.cursor();
    let mut found = Vec::new();
    cursor.seek_first().unwrap();
    while let Some(entry) = current(&cursor) {
        found.push(entry);
        cursor.next().unwrap();
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Proves F-108: entries of all kinds come out of columns as they went in.
    #[test]
    fn a_columnar_table_is_its_sorted_entries(
        entries in entries(100),
        probes in prop::collection::vec((key(), 0_u64..40), 1..12),
        spill in prop_oneof![Just(0_usize), Just(4 << 20)],
        group_bytes in prop_oneof![100_usize..800, Just(200_000)],
        part_rows in prop_oneof![1_u16..9, Just(5000)],
        is_split in any::<bool>(),
        codec in prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd { level: 3 })],
        global in prop_oneof![Just(0_u64), Just(1000)],
    ) {
        for order in orders() {
            let mut entries = with_fields(entries.clone());
            sort(&mut entries, &order);
            let options = |columnar| BuildOptions {
                index_spill_bytes: spill,
                compression: codec,
                global_seqno: seqno(global),
                seqno_bounds: true,
                columnar,
                ..small_options(&order)
            };
            let mut layout = columnar(group_bytes, part_rows);
            layout.splitter = layout.splitter.filter(|_| is_split);
            let (summary, bytes) = build(options(Some(layout)), &entries, &[]);
            prop_assert_eq!(summary.file_len, bytes.len() as u64);
            let table = open(bytes, &order);
            let rows = open(build(options(None), &entries, &[]).1, &order);
            let model: Vec<Entry> =
                entries.iter().map(|entry| Entry { seqno: entry.seqno + global, ..entry.clone() }).collect();
            prop_assert_eq!(&walk(&table), &model);
            let mut cursor = table.cursor();
            let mut found = Vec::new();
            cursor.seek_last().unwrap();
            while let Some(entry) = current(&cursor) {
                found.push(entry);
                cursor.prev().unwrap();
            }
            found.reverse();
            prop_assert_eq!(&found, &model);
            let mut points = probes.clone();
            for entry in model.iter().step_by(5) {
                points.extend([0, entry.seqno, entry.seqno + 1, SeqNo::LATEST.get()].map(|r| (entry.key.clone(), r)));
            }
            for (key, before) in points {
                let at = lower_bound(&model, &order, &key, before);
                cursor.seek(&key, seqno(before)).unwrap();
                prop_assert_eq!(current(&cursor), model.get(at).cloned());
                cursor.seek_back(&key, seqno(before)).unwrap();
                prop_assert_eq!(current(&cursor), at.checked_sub(1).map(|at| model[at].clone()));
                prop_assert_eq!(table.get(&key, seqno(before)).unwrap(), rows.get(&key, seqno(before)).unwrap());
            }
            let verified = table.verify(&mut |error| panic!("{error:?}")).unwrap();
            prop_assert_eq!((verified.entries, verified.findings), (model.len() as u64, 0));
            let properties = (table.meta().properties(), rows.meta().properties());
            prop_assert_eq!(properties.0.counters.raw_value_bytes, properties.1.counters.raw_value_bytes);
            prop_assert_eq!(&properties.0.keys, &properties.1.keys);
            prop_assert_eq!(table.meta().references(), rows.meta().references());
            let window = SeqNoWindow { since: seqno(global + 2), before: seqno(global + 9) };
            prop_assert_eq!(changes(&table, window), changes(&rows, window));
            check_groups(&table, &model, is_split)?;
        }
    }
}

fn changes(table: &Table<Vec<u8>>, window: SeqNoWindow) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
    let mut scan = table.meta().change_scan(table.source(), None);
    let mut found = Vec::new();
    while scan.next_block(window, None).unwrap() {
        let visit = |entry: lsm_types::EntryRef<'_>| {
            found.push((entry.key.to_vec(), entry.seqno.get(), entry.value.to_vec()));
            Ok(())
        };
        scan.for_each(window, true, visit).unwrap();
    }
    found
}

/// The groups, column by column, hold what the rows hold; bounds and zones hold.
fn check_groups(table: &Table<Vec<u8>>, model: &[Entry], is_split: bool) -> Result<(), TestCaseError> {
    let order = table.meta().order().clone();
    let mut scan = table.groups().unwrap();
    let mut row = 0;
    let mut cells = lsm_columnar::RowCells::new();
    let splitter = splitter();
    while scan.next_group(None).unwrap() {
        prop_assert_eq!(scan.first_row(), row as u64);
        let group = Arc::clone(scan.group().unwrap());
        let directory = group.directory();
        for part in 0..directory.part_count() {
            let versions = scan.versions(part).unwrap();
            let keys = scan.page(ColumnId::KEY, part).unwrap().unwrap().decode().unwrap();
            let columns: Vec<_> = schema()
                .columns()
                .iter()
                .filter_map(|column| scan.page(column.id(), part).unwrap())
                .map(|page| page.decode().unwrap())
                .collect();
            prop_assert_eq!(columns.len(), if is_split { 3 } else { 0 });
            for (at, _) in directory.part_rows(part).enumerate() {
                let entry = &model[row];
                prop_assert_eq!(keys.get(at), Datum::Bytes(&entry.key));
                prop_assert_eq!((versions.seqnos[at].get(), versions.kinds[at]), (entry.seqno, entry.kind));
                prop_assert!(scan.lower().is_none_or(|lower| order.compare(lower, &entry.key).is_le()));
                prop_assert!(order.compare(&entry.key, scan.upper().unwrap()).is_le());
                let is_whole = entry.kind != Kind::Put || !cells.split(&*splitter, &entry.value);
                for (idx, column) in columns.iter().enumerate() {
                    let expected = if is_whole { Datum::Null } else { cells.get(idx) };
                    prop_assert_eq!(column.get(at), expected);
                }
                row += 1;
            }
        }
    }
    prop_assert_eq!(row, model.len());
    if is_split {
        for column in schema().columns() {
            let zone = table.meta().column_zone(column.id()).unwrap();
            let position = schema().position(column.id()).unwrap();
            let mut has_cell = |entry: &&Entry| {
                let split = entry.kind == Kind::Put && cells.split(&*splitter, &entry.value);
                split && !cells.get(position).is_null()
            };
            let cells_of = model.iter().filter(|entry| has_cell(entry)).count();
            prop_assert_eq!(zone.rows() - zone.null_count(), cells_of as u64);
        }
        // Every number lies within the zone, and its ends are there.
        let number = ColumnId::new(16);
        let numbers: Vec<i64> = model
            .iter()
            .filter_map(|entry| {
                let split = entry.kind == Kind::Put && cells.split(&*splitter, &entry.value);
                match cells.get(0) {
                    Datum::I64(number) if split => Some(number),
                    _ => None,
                }
            })
            .collect();
        let zone = table.meta().column_zone(number).unwrap();
        let image = |number: i64| (number.cast_unsigned() ^ 1 << 63).to_be_bytes();
        if let (Some(min), Some(max)) = (numbers.iter().min(), numbers.iter().max()) {
            prop_assert_eq!(zone.min().unwrap().bytes(), image(*min));
            prop_assert_eq!(zone.max().unwrap().bytes(), image(*max));
        }
    }
    Ok(())
}

fn lines(count: usize) -> Vec<Entry> {
    (0..count)
        .map(|n| put(&format!("key{n:06}"), 5, &format!("{},name {},{}", n * 3, n % 50, n % 3 == 0)))
        .collect()
}

/// Without the splitter there are keys, numbers and columns, and an error in place of values that were split.
#[test]
fn values_need_the_splitter_that_took_them_apart() {
    let order = KeyOrder::bytewise();
    let options = BuildOptions { columnar: Some(columnar(4000, 100)), ..small_options(&order) };
    let bytes = build(options, &lines(500), &[]).1;
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    assert_eq!(table.get(b"key000007", SeqNo::LATEST).unwrap_err().kind(), ErrorKind::OptionMismatch);
    let mut scan = table.groups().unwrap();
    assert!(scan.next_group(None).unwrap());
    let numbers = scan.page(ColumnId::new(16), 0).unwrap().unwrap().decode().unwrap();
    assert_eq!(numbers.get(7), Datum::I64(21));
    assert_eq!(scan.rows().unwrap_err().kind(), ErrorKind::OptionMismatch);
}
