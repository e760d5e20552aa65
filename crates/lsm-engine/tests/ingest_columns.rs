//! Batches of columns into tables: what comes back, and what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{path::Path, sync::Arc};

use common::{
    at, contents, flush,
    layouts::{Layout, texts},
    small_tables,
};
use lsm_columnar::{
    Column, ColumnId, ColumnSplitter, ColumnType, ColumnVector, Comparison, Datum, DelimitedText, Predicate,
    Schema,
};
use lsm_engine::{
    Cancel, ColumnBatch, ColumnLayout, ColumnPolicy, ColumnScan, CompactOptions, IngestOptions, Reader, Tree,
    TreeOptions, VlogPolicy,
};
use lsm_fs::{Fs, MemFs};
use lsm_table::{FoundTable, read_table};
use lsm_types::{Error, ErrorKind, KeyOrder};

const A: ColumnId = ColumnId::new(16);
const B: ColumnId = ColumnId::new(17);
const C: ColumnId = ColumnId::new(18);

/// A number, a text that may be missing, and a number that older rows do not have: `7,seven,49`.
fn schema() -> Schema {
    Schema::new(vec![
        Column::new(A, "a", ColumnType::I64),
        Column::new(B, "b", ColumnType::Utf8).nullable(),
        Column::new(C, "c", ColumnType::U32).with_default(Datum::U64(5)).unwrap(),
    ])
    .unwrap()
}

fn policy() -> ColumnPolicy {
    let splitter: Arc<dyn ColumnSplitter> =
        Arc::new(DelimitedText::new("test.comma", schema(), b',').unwrap());
    ColumnPolicy::new(splitter).groups(300, 8).page_rows(3)
}

fn options(fs: &Arc<MemFs>) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(fs.clone()))
        .tables(small_tables())
        .table_target_bytes(2_000)
}

fn open(layout: Layout, nth: u32) -> (Arc<MemFs>, Tree) {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(layout.set(options(&fs), policy(), nth)).unwrap();
    (fs, tree)
}

fn value(number: u32) -> String {
    match number % 9 {
        // What the splitter does not take.
        4 => format!("whole-{number}"),
        7 => format!("{number},,{}", number % 5),
        _ => format!("-{number},text of {number},{}", number % 5),
    }
}

fn all() -> ColumnScan<'static> {
    ColumnScan::new([B, ColumnId::OPAQUE, ColumnId::KEY, C, A])
}

fn batches(tree: &Tree, scan: &ColumnScan<'_>) -> Vec<ColumnBatch> {
    tree.scan_columns(scan).unwrap().map(Result::unwrap).collect()
}

fn vector(ty: ColumnType, data: &[Datum<'_>]) -> ColumnVector {
    let mut vector = ColumnVector::new(ty);
    for datum in data {
        vector.push(*datum).unwrap();
    }
    vector
}

/// A batch of keys, numbers and texts.
fn batch(rows: &[(&str, i64, Datum<'_>)]) -> Vec<(ColumnId, ColumnVector)> {
    let keys: Vec<_> = rows.iter().map(|row| Datum::Bytes(row.0.as_bytes())).collect();
    let numbers: Vec<_> = rows.iter().map(|row| Datum::I64(row.1)).collect();
    let texts: Vec<_> = rows.iter().map(|row| row.2).collect();
    vec![
        (ColumnId::KEY, vector(ColumnType::Bytes, &keys)),
        (A, vector(ColumnType::I64, &numbers)),
        (B, vector(ColumnType::Utf8, &texts)),
    ]
}

fn files(fs: &MemFs) -> Vec<FoundTable> {
    let folder = Path::new("/db/tables");
    let order = KeyOrder::bytewise();
    let names = fs.read_dir(folder).unwrap().into_iter().map(|entry| folder.join(entry.name));
    let mut found: Vec<_> =
        names.map(|path| read_table(fs, &path, std::slice::from_ref(&order), None).unwrap()).collect();
    found.sort_by_key(|found| found.descriptor.id);
    found
}

/// Proves F-109, F-120, E-121: what a scan in columns answers with becomes the same rows in another tree, however each of the
/// two stores them, and stays so through merges; at any length of batches, and with values beside their keys and apart.
#[test]
fn what_is_scanned_can_be_ingested() {
    for from in Layout::ALL {
        let (fs, tree) = open(if from == Layout::Mixed { Layout::Mixed } else { Layout::Columns }, 0);
        let (_keep, mut source) = (fs.clone(), tree);
        for number in 0..300 {
            if from == Layout::Mixed && number == 150 {
                flush(&source);
                source.close().unwrap();
                source = Tree::open(from.set(options(&fs), policy(), 1)).unwrap();
            }
            source.insert(format!("{number:04}"), value(number), at(u64::from(number))).unwrap();
        }
        if from != Layout::Rows {
            flush(&source);
        }
        let expected = contents(&source).unwrap();
        for (into, batch_rows, apart) in
            [(Layout::Columns, 1_000, false), (Layout::Rows, 7, false), (Layout::Columns, 64, true)]
        {
            let fs = Arc::new(MemFs::new());
            let options = || {
                let options = into.set(options(&fs), policy(), 0);
                let options = if into == Layout::Rows {
                    options.columns(policy().layout(ColumnLayout::Row))
                } else {
                    options
                };
                let policy = VlogPolicy { thresholds: vec![12], ..VlogPolicy::default() };
                if apart { options.separation(policy) } else { options }
            };
            let target = Tree::open(options()).unwrap();
            let mut ingestion = target.ingest(IngestOptions::at(at(900))).unwrap();
            for batch in source.scan_columns(&all().batch_rows(batch_rows)).unwrap() {
                ingestion.put_columns(&batch.unwrap()).unwrap();
            }
            let report = ingestion.finish().unwrap();
            assert_eq!((report.entries, report.seqno), (300, Some(at(900))));
            into.check(fs.as_ref(), Path::new("/db/tables"));
            for round in 0..3 {
                let told = format!("{from:?} into {into:?}, round {round}");
                assert!(contents(&target).unwrap() == expected, "{told}");
                assert_eq!(batches(&target, &all()), batches(&source, &all()), "{told}");
                let some = Predicate::Compare(A, Comparison::Gt, Datum::I64(-100));
                let some = all().filter(some);
                assert_eq!(batches(&target, &some), batches(&source, &some), "{told}");
                assert!(target.verify().unwrap().is_clean(), "{told}");
                target.insert("0000", value(0), at(1_000 + round)).unwrap();
                flush(&target);
                target.major_compact(&CompactOptions::default()).unwrap();
            }
        }
    }
}

/// Proves F-120, E-126: the tables are those that the same rows become as values, to the byte of their lengths.
#[test]
fn tables_are_as_if_values_had_come() {
    let found = |by_columns: bool| {
        let (fs, tree) = open(Layout::Columns, 0);
        let mut ingestion = tree.ingest(IngestOptions::at(at(7))).unwrap();
        if by_columns {
            let (_, source) = open(Layout::Columns, 0);
            for number in 0..300 {
                source.insert(format!("{number:04}"), value(number), at(1)).unwrap();
            }
            // Short batches: groups are as long as ever.
            for batch in batches(&source, &all().batch_rows(5)) {
                ingestion.put_columns(&batch).unwrap();
            }
        } else {
            for number in 0..300 {
                ingestion.put(format!("{number:04}"), value(number)).unwrap();
            }
        }
        ingestion.finish().unwrap();
        files(&fs).into_iter().map(|found| found.descriptor).collect::<Vec<_>>()
    };
    let (columns, values) = (found(true), found(false));
    assert!(columns.len() > 1);
    assert_eq!(columns.len(), values.len());
    for (a, b) in columns.iter().zip(&values) {
        assert_eq!(
            (a.file_len, a.counts, a.sizes, a.census, &a.entries),
            (b.file_len, b.counts, b.sizes, b.census, &b.entries)
        );
    }
}

/// Proves F-120: a column that a batch does not have reads as its default, or as null.
#[test]
fn missing_columns_have_their_default() {
    let (_, tree) = open(Layout::Columns, 0);
    let mut ingestion = tree.ingest(IngestOptions::at(at(1))).unwrap();
    let mut columns = batch(&[("a", 1, "x".into()), ("b", 2, Datum::Null)]);
    ingestion.put_columns(&ColumnBatch::from_columns(columns.clone()).unwrap()).unwrap();
    columns = batch(&[("c", 3, Datum::Null)]);
    columns.pop();
    ingestion.put_columns(&ColumnBatch::from_columns(columns).unwrap()).unwrap();
    ingestion.remove("d").unwrap();
    ingestion.put("e", "9,e,1").unwrap();
    ingestion.finish().unwrap();
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    let values: Vec<String> = contents(&tree).unwrap().into_iter().map(|(_, value)| text(value)).collect();
    assert_eq!(values, ["1,x,5", "2,,5", "3,,5", "9,e,1"]);
}

/// A batch that is refused, and why. Nothing of it comes in; what comes before and behind it does.
#[track_caller]
fn check_refused(columns: &[(ColumnId, ColumnVector)], kind: ErrorKind, told: &str) {
    for layout in [Layout::Columns, Layout::Mixed] {
        let (fs, tree) = open(layout, 0);
        let mut ingestion = tree.ingest(IngestOptions::at(at(5))).unwrap();
        ingestion.put("f", "0,before,1").unwrap();
        let batch = ColumnBatch::from_columns(columns.to_vec()).unwrap();
        let error = ingestion.put_columns(&batch).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(told), "{error}");
        ingestion.put("g", "0,behind,1").unwrap();
        assert_eq!(ingestion.finish().unwrap().entries, 2, "{told}");
        assert_eq!(contents(&tree).unwrap().len(), 2, "{told}");

        let mut ingestion = tree.ingest(IngestOptions::at(at(6))).unwrap();
        ingestion
            .put_columns(&ColumnBatch::from_columns(self::batch(&[("h", 1, "x".into())])).unwrap())
            .unwrap();
        assert!(ingestion.put_columns(&batch).is_err());
        let before = (contents(&tree).unwrap(), tree.stats().tables());
        drop(ingestion);
        assert_eq!((contents(&tree).unwrap(), tree.stats().tables()), before, "{told}: dropped");
        assert_eq!(files_in(&fs), tree.stats().tables(), "{told}: dropped");
    }
}

/// Proves F-120, E-119: columns and rows are held against the schema, keys against the order, before anything is written.
#[test]
fn what_is_not_a_batch_of_rows_is_refused_as_a_whole() {
    let row = |key| (key, 1, Datum::from("x"));
    let with = |columns: &[(ColumnId, ColumnVector)]| {
        let mut all = batch(&[row("p"), row("q")]);
        all.extend(columns.iter().cloned());
        all
    };
    let invalid = ErrorKind::InvalidArgument;
    let numbers = |numbers: [u64; 2]| vector(ColumnType::U32, &numbers.map(Datum::U64));

    check_refused(&batch(&[row("p"), row("r"), row("q")]), ErrorKind::OutOfOrder, "come after");
    check_refused(&batch(&[row("p"), row("p")]), ErrorKind::OutOfOrder, "come after");
    check_refused(&batch(&[row("f")]), ErrorKind::OutOfOrder, "come after");
    check_refused(&batch(&[row("p"), row("")]), ErrorKind::InvalidKey, "key");
    let long = "x".repeat(65_536);
    check_refused(&batch(&[row("p"), row(&long)]), ErrorKind::InvalidKey, "key");

    check_refused(&with(&[])[1..], invalid, "column 0 of the batch is missing");
    check_refused(
        &with(&[(ColumnId::new(19), numbers([1, 2]))]),
        invalid,
        "column 19 of the batch is not one of",
    );
    check_refused(
        &with(&[(ColumnId::SEQNO, numbers([1, 2]))]),
        invalid,
        "column 1 of the batch is not one of",
    );
    check_refused(&with(&[(C, numbers([1, 2])), (C, numbers([1, 2]))]), invalid, "stands there twice");
    let wide = vector(ColumnType::U64, &[Datum::U64(1), Datum::U64(2)]);
    check_refused(&with(&[(C, wide)]), invalid, "column 18 of the batch has another type");
    let without_a: Vec<_> = with(&[]).into_iter().filter(|(id, _)| *id != A).collect();
    check_refused(&without_a, invalid, "column 16 of the batch is missing");

    let null = vector(ColumnType::U32, &[Datum::U64(1), Datum::Null]);
    check_refused(&with(&[(C, null)]), invalid, "row 1 of the batch, column 18, takes no null");
    let whole = vector(ColumnType::Bytes, &[Datum::Null, Datum::Bytes(b"whole")]);
    check_refused(
        &with(&[(ColumnId::OPAQUE, whole)]),
        invalid,
        "row 1 of the batch, column 16, has a cell beside",
    );
    // No line of text has such a field.
    check_refused(
        &batch(&[row("p"), ("q", 1, "x,y".into())]),
        invalid,
        "row 1 of the batch has cells that no value",
    );
    check_refused(&batch(&[("p", 1, "".into())]), invalid, "row 0 of the batch has cells that no value");

    let uneven = vec![(A, vector(ColumnType::I64, &[Datum::I64(1)])), (C, numbers([1, 2]))];
    assert_eq!(ColumnBatch::from_columns(uneven).unwrap_err().kind(), invalid);
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs)).unwrap();
    let mut ingestion = tree.ingest(IngestOptions::at(at(1))).unwrap();
    let refused = ingestion.put_columns(&ColumnBatch::default()).unwrap_err();
    assert_eq!(refused.kind(), invalid, "a tree without columns: {refused}");
    assert_eq!(ingestion.put_columns(&ColumnBatch::default()).map(drop).unwrap_err().kind(), invalid);
}

/// Proves F-120: a value that a batch means may be too long.
#[test]
fn values_are_bounded() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs).columns(texts())).unwrap();
    let mut ingestion = tree.ingest(IngestOptions::at(at(1))).unwrap();
    let long = vec![b'x'; (256 << 20) - (64 << 10) + 1];
    let columns = vec![
        (ColumnId::KEY, vector(ColumnType::Bytes, &[Datum::Bytes(b"k")])),
        (ColumnId::OPAQUE, vector(ColumnType::Bytes, &[Datum::Bytes(&long)])),
    ];
    let refused = ingestion.put_columns(&ColumnBatch::from_columns(columns).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ValueTooLarge, "{refused}");
}

/// Proves E-120, F-120: an ingestion that is stopped within a batch is nowhere, and cannot go on.
#[test]
fn a_stopped_ingestion_leaves_nothing() {
    let (fs, tree) = open(Layout::Columns, 0);
    let cancel = Cancel::new();
    let mut ingestion = tree.ingest(IngestOptions::at(at(1)).cancel(cancel.clone())).unwrap();
    let rows: Vec<String> = (0..3_000).map(|number| format!("{number:05}")).collect();
    let rows: Vec<_> = rows.iter().map(|key| (key.as_str(), 1, Datum::Null)).collect();
    let batch = ColumnBatch::from_columns(batch(&rows)).unwrap();
    ingestion.put_columns(&batch).unwrap();
    assert!(files_in(&fs) > 1);
    cancel.cancel();
    let stopped: Error = ingestion.put_columns(&batch).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
    assert_eq!(ingestion.finish().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((files_in(&fs), contents(&tree).unwrap().len()), (0, 0));
}

fn files_in(fs: &MemFs) -> usize {
    fs.read_dir(Path::new("/db/tables")).map_or(0, |names| names.len())
}
