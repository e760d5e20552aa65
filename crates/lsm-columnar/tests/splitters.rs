//! Schemas, and the splitters that come along: what they split they give back, the rest they leave whole.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use common::{TYPES, any_seeds, with_datum};
use lsm_columnar::{
    Column, ColumnId, ColumnSplitter, ColumnType, ColumnVector, ColumnarError, Datum, DelimitedText,
    FixedStruct, RowCells, Schema, SchemaFault, assemble_image, split_image,
};
use proptest::prelude::*;

fn id(number: u16) -> ColumnId {
    ColumnId::new(number)
}

fn schema(types: &[ColumnType], nullable: bool) -> Schema {
    let columns = types.iter().zip(16..).map(|(ty, number)| {
        let column = Column::new(id(number), format!("column {number}"), *ty);
        if nullable { column.nullable() } else { column }
    });
    Schema::new(columns.collect()).unwrap()
}

#[track_caller]
fn check_split(splitter: &dyn ColumnSplitter, value: &[u8], expected: Option<&[Datum<'_>]>) {
    let mut cells = RowCells::new();
    assert_eq!(cells.split(splitter, value), expected.is_some(), "{}", String::from_utf8_lossy(value));
    let Some(expected) = expected else { return };
    let found: Vec<_> = (0..cells.len()).map(|idx| cells.get(idx)).collect();
    assert_eq!(found, expected);
    let mut again = Vec::new();
    splitter.assemble(&cells, &mut again).unwrap();
    assert_eq!(again, value);
    let mut vectors: Vec<_> =
        splitter.schema().columns().iter().map(|column| ColumnVector::new(column.ty())).collect();
    cells.append_to(&mut vectors).unwrap();
    assert!(vectors.iter().zip(expected).all(|(vector, datum)| vector.get(0) == *datum));
}

#[test]
fn delimited_text_is_split_where_it_can_be_put_together_again() {
    let types = [
        ColumnType::U16,
        ColumnType::Utf8,
        ColumnType::F64,
        ColumnType::Bool,
        ColumnType::Decimal { precision: 9, scale: 2 },
    ];
    let splitter = DelimitedText::new("tsv", schema(&types, true), b'\t').unwrap();
    check_split(
        &splitter,
        b"7\thello\t-0.5\ttrue\t-0.05",
        Some(&[Datum::U64(7), "hello".into(), Datum::F64(-0.5), Datum::Bool(true), Datum::I64(-5)]),
    );
    check_split(
        &splitter,
        b"\t\t\t\t12.50",
        Some(&[Datum::Null, Datum::Null, Datum::Null, Datum::Null, Datum::I64(1250)]),
    );
    for declined in [
        "07\ta\t1\ttrue\t1.00",
        "7\ta\t1e0\ttrue\t1.00",
        "7\ta\t1.0\ttrue\t1.00",
        "7\ta\t1\tTRUE\t1.00",
        "7\ta\t1\ttrue\t1.0",
        "7\ta\t1\ttrue\t+1.00",
        "65536\ta\t1\ttrue\t1.00",
        "7\ta\t1\ttrue\t12345678.00",
        "7\ta\t1\ttrue",
        "7\ta\t1\ttrue\t1.00\t",
        "",
    ] {
        check_split(&splitter, declined.as_bytes(), None);
    }
    check_split(&splitter, b"7\t\xFF\t1\ttrue\t1.00", None);
    let strict = DelimitedText::new("tsv", schema(&[ColumnType::Utf8, ColumnType::I8], false), b',').unwrap();
    check_split(&strict, b",-8", Some(&["".into(), Datum::I64(-8)]));
    check_split(&strict, b"a,", None);
    assert!(DelimitedText::new("tsv", schema(&[ColumnType::Fixed(4)], false), b',').is_err());
}

#[test]
fn structs_are_split_by_width() {
    let fixed: Vec<ColumnType> = TYPES.into_iter().filter(|ty| ty.fixed_len().is_some()).collect();
    let splitter = FixedStruct::new("struct", schema(&fixed, false)).unwrap();
    let len: usize = fixed.iter().map(|ty| ty.fixed_len().unwrap()).sum();
    let value: Vec<u8> = (0..len).map(|at| u8::try_from(at % 90).unwrap()).collect();
    let mut cells = RowCells::new();
    // Decimals of 38 digits do not take every pattern of bits; these small ones they do.
    assert!(cells.split(&splitter, &value));
    assert_eq!((cells.get(0), cells.get(1)), (Datum::Bool(false), Datum::U64(1)));
    let mut odd = value.clone();
    odd[0] = 2;
    assert!(!cells.split(&splitter, &odd) && !cells.split(&splitter, &value[1..]));
    assert!(FixedStruct::new("struct", schema(&[ColumnType::Utf8], false)).is_err());
    assert!(FixedStruct::new("struct", schema(&[ColumnType::U8], true)).is_err());
}

#[cfg(feature = "json")]
#[test]
fn json_objects_are_split_when_they_are_written_our_way() {
    use lsm_columnar::JsonLines;
    let columns = vec![
        Column::new(id(16), "id", ColumnType::U32),
        Column::new(id(17), "na\"me", ColumnType::Utf8).nullable(),
        Column::new(id(18), "rate", ColumnType::F64),
        Column::new(id(19), "ok", ColumnType::Bool),
    ];
    let splitter = JsonLines::new("json", Schema::new(columns).unwrap()).unwrap();
    check_split(
        &splitter,
        r#"{"id":7,"na\"me":"Zoë\n","rate":-0.25,"ok":true}"#.as_bytes(),
        Some(&[Datum::U64(7), "Zoë\n".into(), Datum::F64(-0.25), Datum::Bool(true)]),
    );
    check_split(
        &splitter,
        br#"{"id":7,"na\"me":null,"rate":0.5,"ok":false}"#,
        Some(&[Datum::U64(7), Datum::Null, Datum::F64(0.5), Datum::Bool(false)]),
    );
    for declined in [
        r#"{"id":7,"na\"me":"a","rate":0.5}"#,
        r#"{"id":7,"na\"me":"a","rate":0.5,"ok":true,"more":1}"#,
        r#"{"na\"me":"a","id":7,"rate":0.5,"ok":true}"#,
        r#"{"id": 7,"na\"me":"a","rate":0.5,"ok":true}"#,
        r#"{"id":7,"na\"me":"a","rate":5e-1,"ok":true}"#,
        r#"{"id":7,"na\"me":5,"rate":0.5,"ok":true}"#,
        r#"{"id":null,"na\"me":"a","rate":0.5,"ok":true}"#,
        "[]",
        "",
    ] {
        check_split(&splitter, declined.as_bytes(), None);
    }
    assert!(JsonLines::new("json", schema(&[ColumnType::Bytes], true)).is_err());
}

/// A splitter that loses what it does not understand.
struct Careless(Schema);

impl ColumnSplitter for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn version(&self) -> u32 {
        1
    }

    fn schema(&self) -> &Schema {
        &self.0
    }

    fn split(&self, value: &[u8], cells: &mut RowCells) -> Option<()> {
        cells.push(Datum::U64(value.len() as u64)).ok()
    }

    fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<(), ColumnarError> {
        let Datum::U64(len) = cells.get(0) else { return Err(ColumnarError::Assemble) };
        value.resize(usize::try_from(len).unwrap(), b'x');
        Ok(())
    }
}

#[test]
fn what_would_not_come_back_is_kept_whole() {
    let careless = Careless(schema(&[ColumnType::U8], false));
    check_split(&careless, b"xxx", Some(&[Datum::U64(3)]));
    check_split(&careless, b"xyx", None);
    check_split(&careless, &[b'x'; 256], None);
}

proptest! {
    /// Proves F-111.
    /// Fault: formats W-43.
    #[test]
    fn images_are_unambiguous(columns in prop::collection::vec(any_seeds(4), 1..20)) {
        let types: Vec<ColumnType> = columns.iter().map(|column| column.ty).collect();
        let schema = schema(&types, true);
        let rows = columns.iter().map(|column| column.seeds.len()).min().unwrap();
        let mut cells = RowCells::new();
        let mut images = Vec::new();
        for row in 0..rows {
            cells.reset(&schema);
            for column in &columns {
                match column.seeds[row] {
                    None => cells.push(Datum::Null).unwrap(),
                    Some(seed) => with_datum(column.ty, seed, |datum| cells.push(datum)).unwrap(),
                }
            }
            let mut image = Vec::new();
            assemble_image(&schema, &cells, &mut image).unwrap();
            let mut back = RowCells::new();
            split_image(&schema, &image, &mut back).unwrap();
            for (idx, ty) in types.iter().enumerate() {
                prop_assert!(common::same(cells.get(idx), back.get(idx)), "column {} of {:?}", idx, ty);
            }
            for len in 0..image.len() {
                prop_assert!(split_image(&schema, &image[..len], &mut back).is_err());
            }
            images.push(image);
        }
    }
}

fn fault(result: Result<Schema, ColumnarError>) -> SchemaFault {
    match result.unwrap_err() {
        ColumnarError::Schema { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

/// Proves F-107.
#[test]
fn schemas_keep_the_rules() {
    let a = || Column::new(id(16), "a", ColumnType::U8);
    let b = || Column::new(id(17), "b", ColumnType::Utf8).nullable();
    let schema = Schema::new(vec![a(), b()]).unwrap();
    assert_eq!(
        (schema.id(), schema.by_name("b").unwrap().id(), schema.position(id(17))),
        (1, id(17), Some(1))
    );
    let refused = |columns| fault(Schema::new(columns));
    assert_eq!(refused(vec![b(), a()]), SchemaFault::Order);
    assert_eq!(refused(vec![a(), a()]), SchemaFault::Order);
    assert_eq!(refused(vec![Column::new(id(15), "a", ColumnType::U8)]), SchemaFault::Id);
    assert_eq!(refused(vec![Column::new(id(16), "", ColumnType::U8)]), SchemaFault::Name);
    assert_eq!(refused(vec![Column::new(id(16), "x".repeat(256), ColumnType::U8)]), SchemaFault::Name);
    assert_eq!(refused(vec![a(), Column::new(id(18), "a", ColumnType::U8)]), SchemaFault::NameTaken);
    for ty in [
        ColumnType::Fixed(0),
        ColumnType::Fixed(4097),
        ColumnType::Decimal { precision: 39, scale: 0 },
        ColumnType::Decimal { precision: 0, scale: 0 },
        ColumnType::Decimal { precision: 5, scale: 6 },
    ] {
        assert_eq!(refused(vec![Column::new(id(16), "a", ty)]), SchemaFault::Type);
    }
    let many = (16..16 + 1025).map(|number| Column::new(id(number), format!("{number}"), ColumnType::Bool));
    assert_eq!(refused(many.clone().collect()), SchemaFault::Count);
    assert!(Schema::new(many.take(1024).collect()).is_ok());
    assert!(a().with_default(Datum::U64(256)).is_err() && a().with_default(Datum::Null).is_err());

    // A dropped column's id is never given out again, and a type never changes.
    let next = schema.evolve(vec![b(), Column::new(id(18), "c", ColumnType::I8).nullable()]).unwrap();
    assert_eq!(next.id(), 2);
    assert_eq!(
        fault(next.evolve(vec![Column::new(id(16), "a", ColumnType::U8).nullable(), b()])),
        SchemaFault::Reuse
    );
    assert_eq!(
        fault(next.evolve(vec![Column::new(id(17), "b", ColumnType::Bytes).nullable()])),
        SchemaFault::Reuse
    );
    assert_eq!(fault(next.evolve(vec![Column::new(id(17), "b", ColumnType::Utf8)])), SchemaFault::Reuse);
    assert_eq!(fault(next.evolve(vec![b(), Column::new(id(19), "d", ColumnType::U8)])), SchemaFault::Default);
    let with_default = Column::new(id(19), "d", ColumnType::U8).with_default(Datum::U64(9)).unwrap();
    let last = next.evolve(vec![with_default]).unwrap().evolve(vec![]).unwrap();
    assert_eq!(
        fault(last.evolve(vec![Column::new(id(19), "d", ColumnType::U8).nullable()])),
        SchemaFault::Reuse
    );

    for schema in [schema, next, last] {
        let mut bytes = Vec::new();
        schema.encode(&mut bytes);
        assert_eq!(Schema::decode(&bytes), Ok(schema));
        for len in 0..bytes.len() {
            assert!(Schema::decode(&bytes[..len]).is_err());
        }
    }
}

#[test]
fn schemas_carry_every_type_and_default() {
    let columns = TYPES.into_iter().zip(16..).map(|(ty, number)| {
        with_datum(ty, 77, |datum| {
            let column = Column::new(id(number), format!("{number}"), ty).with_default(datum).unwrap();
            assert!(common::same(column.default(), datum));
            column
        })
    });
    let schema = Schema::new(columns.collect()).unwrap();
    let mut bytes = Vec::new();
    schema.encode(&mut bytes);
    assert_eq!(Schema::decode(&bytes), Ok(schema));
}
