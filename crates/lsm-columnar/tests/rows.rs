//! Rows out of pages: batches give the very bytes that rows give one by one, whatever the pages are encoded as.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use common::{TYPES, seeds_of, with_datum};
use lsm_columnar::{
    Column, ColumnId, ColumnSplitter, ColumnType, ColumnarError, Datum, DelimitedText, Encoding, EncodingSet,
    FixedStruct, Page, PageEncoder, PageStamp, RowCells, RowPages, RowValues, Schema,
};
use proptest::prelude::*;

const ROWS: usize = 150;

/// Columns of values, and pages of them.
#[derive(Debug)]
struct Table {
    columns: Vec<common::Seeds>,
    pages: Vec<(Page, Vec<u8>)>,
}

impl Table {
    fn new(mut columns: Vec<common::Seeds>, allowed: &[EncodingSet]) -> Self {
        let rows = columns.iter().map(|column| column.seeds.len()).min().unwrap();
        for column in &mut columns {
            column.seeds.truncate(rows);
        }
        let page = |(idx, column): (usize, &common::Seeds)| {
            let stamp = PageStamp { group: 0, column: ColumnId::new(16), part: 0 };
            let (vector, mut bytes) = (column.vector(), Vec::new());
            let mut encoder = PageEncoder::new(allowed[idx % allowed.len()]);
            encoder.encode(stamp, &vector, 0..rows, &mut bytes).unwrap();
            (Page::open(stamp, column.ty, u32::try_from(rows).unwrap(), &bytes).unwrap(), bytes)
        };
        let pages = columns.iter().enumerate().map(page).collect();
        Self { columns, pages }
    }

    fn rows(&self) -> usize {
        self.columns[0].seeds.len()
    }

    fn sources(&self) -> impl Iterator<Item = (&Page, &[u8])> + Clone {
        self.pages.iter().map(|(page, bytes)| (page, &bytes[..]))
    }

    fn schema(&self, nullable: bool) -> Schema {
        let columns = self.columns.iter().zip(16..).map(|(column, number)| {
            let column = Column::new(ColumnId::new(number), format!("c\"{number}"), column.ty);
            if nullable { column.nullable() } else { column }
        });
        Schema::new(columns.collect()).unwrap()
    }

    /// What `splitter` makes of each row, one by one, from the values themselves.
    fn model(&self, splitter: &dyn ColumnSplitter) -> Vec<Result<Vec<u8>, ColumnarError>> {
        let mut cells = RowCells::new();
        let row = |row: usize| {
            cells.reset(splitter.schema());
            for column in &self.columns {
                match column.seeds[row] {
                    Some(seed) => with_datum(column.ty, seed, |datum| cells.push(datum)).unwrap(),
                    None => cells.push(Datum::Null).unwrap(),
                }
            }
            let mut value = Vec::new();
            splitter.assemble(&cells, &mut value).map(|()| value)
        };
        (0..self.rows()).map(row).collect()
    }

    /// Rows in batches, rows one by one, and the model agree.
    fn check(&self, splitter: &dyn ColumnSplitter, cut: usize) {
        let model = self.model(splitter);
        let mut cells = RowCells::new();
        for (row, expected) in model.iter().enumerate() {
            RowPages::load_one(splitter.schema(), self.sources(), row, &mut cells);
            let mut value = Vec::new();
            let found = splitter.assemble(&cells, &mut value).map(|()| value);
            assert_eq!(&found, expected, "row {row} alone");
        }
        let mut rows = RowPages::new(splitter.schema(), self.sources(), &mut cells);
        let mut values = RowValues::new(b"front".to_vec());
        let cut = cut % self.rows();
        let found = [0..cut, cut..self.rows()]
            .into_iter()
            .try_for_each(|range| rows.assemble(splitter, range, &mut cells, &mut values));
        if let Some(failed) = model.iter().find_map(|value| value.as_ref().err()) {
            assert_eq!(found, Err(*failed));
            return;
        }
        assert_eq!(found, Ok(()));
        assert_eq!(values.len(), self.rows());
        for (row, expected) in model.iter().enumerate() {
            assert_eq!(values.get(row), expected.as_ref().unwrap(), "row {row} in a batch");
        }
        let (bytes, ends) = values.into_parts();
        let whole: Vec<u8> = model.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(bytes, [b"front", &whole[..]].concat());
        assert_eq!(ends.last().map(|end| *end as usize), Some(whole.len()));
    }
}

/// All encodings, those of a kind that seldom win among them.
fn sets() -> Vec<EncodingSet> {
    let mut sets = vec![EncodingSet::ALL];
    sets.extend(Encoding::ALL.map(|encoding| EncodingSet::of(&[encoding])));
    sets
}

fn columns(types: Vec<ColumnType>) -> impl Strategy<Value = Vec<common::Seeds>> {
    let column = prop::sample::select(types).prop_flat_map(|ty| seeds_of(ty, ROWS));
    prop::collection::vec(column, 1..6)
}

fn without_nulls(mut columns: Vec<common::Seeds>) -> Vec<common::Seeds> {
    for seed in columns.iter_mut().flat_map(|column| &mut column.seeds) {
        seed.get_or_insert(9);
    }
    columns
}

fn types(which: impl Fn(ColumnType) -> bool) -> Vec<ColumnType> {
    TYPES.into_iter().filter(|ty| which(*ty)).collect()
}

fn tables(which: impl Fn(ColumnType) -> bool) -> impl Strategy<Value = Table> {
    let allowed = prop::collection::vec(prop::sample::select(sets()), 1..4);
    let sorted = prop::bool::weighted(0.3);
    (columns(types(which)), allowed, sorted).prop_map(|(mut columns, allowed, sorted)| {
        if sorted {
            columns = without_nulls(columns);
            for column in &mut columns {
                // Sorted text is bundled.
                column.seeds.sort_by_key(|seed| {
                    with_datum(column.ty, seed.unwrap(), |datum| match datum {
                        Datum::Bytes(bytes) => bytes.to_vec(),
                        _ => Vec::new(),
                    })
                });
            }
        }
        Table::new(columns, &allowed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Proves F-108, F-115.
    #[test]
    fn lines_come_in_batches_as_one_by_one(table in tables(|ty| !matches!(ty, ColumnType::Fixed(_))), cut in 0..ROWS) {
        let splitter = DelimitedText::new("tsv", table.schema(true), b'\t').unwrap();
        table.check(&splitter, cut);
    }

    /// Proves F-108, F-115.
    #[test]
    fn structs_come_in_batches_as_one_by_one(table in tables(|ty| ty.fixed_len().is_some()), cut in 0..ROWS) {
        let table = Table::new(without_nulls(table.columns), &[EncodingSet::ALL]);
        let splitter = FixedStruct::new("struct", table.schema(false)).unwrap();
        table.check(&splitter, cut);
    }

    /// Proves F-108, F-115.
    #[cfg(feature = "json")]
    #[test]
    fn objects_come_in_batches_as_one_by_one(
        table in tables(|ty| ty == ColumnType::Utf8 || ty.fixed_len().is_some_and(|len| len <= 8) && !matches!(ty, ColumnType::Fixed(_))),
        cut in 0..ROWS,
    ) {
        let splitter = lsm_columnar::JsonLines::new("json", table.schema(true)).unwrap();
        table.check(&splitter, cut);
    }
}

/// A page may say that there is nothing where a struct always has something.
#[test]
fn cells_that_no_value_has_are_refused() {
    let seeds = common::Seeds { ty: ColumnType::U8, seeds: vec![Some(1), Some(2), None] };
    let table = Table::new(vec![seeds], &[EncodingSet::ALL]);
    let splitter = FixedStruct::new("struct", table.schema(false)).unwrap();
    let (mut cells, mut values) = (RowCells::new(), RowValues::default());
    let mut rows = RowPages::new(splitter.schema(), table.sources(), &mut cells);
    assert_eq!(rows.assemble(&splitter, 0..2, &mut cells, &mut values), Ok(()));
    assert_eq!(rows.assemble(&splitter, 1..3, &mut cells, &mut values), Err(ColumnarError::Assemble));
    assert_eq!((values.get(0), values.get(1)), (&[1][..], &[2][..]));
}

/// Values may come to 256 MiB, however little the pages take.
#[test]
fn values_are_bounded() {
    let schema = Schema::new(vec![Column::new(ColumnId::new(16), "a", ColumnType::Bytes)]).unwrap();
    let splitter = DelimitedText::new("tsv", schema, b',').unwrap();
    let (stamp, mut payload) = (PageStamp { group: 0, column: ColumnId::new(16), part: 0 }, Vec::new());
    let mut vector = lsm_columnar::ColumnVector::new(ColumnType::Bytes);
    for _ in 0..3 {
        vector.push(Datum::Bytes(&vec![b'x'; 64 << 20])).unwrap();
    }
    PageEncoder::new(EncodingSet::ALL).encode(stamp, &vector, 0..3, &mut payload).unwrap();
    drop(vector);
    // The same value in as many rows as nobody wrote.
    payload[8..12].copy_from_slice(&60_000_u32.to_le_bytes());
    let page = Page::open(stamp, ColumnType::Bytes, 60_000, &payload).unwrap();
    let (mut cells, mut values) = (RowCells::new(), RowValues::default());
    let mut rows = RowPages::new(splitter.schema(), [(&page, &payload[..])], &mut cells);
    let found = rows.assemble(&splitter, 0..60_000, &mut cells, &mut values);
    assert!(matches!(found, Err(ColumnarError::PageTooLarge { rows: 5, .. })), "{found:?}");
}
