//! Columns as Arrow arrays: every type, value by value.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, LargeBinaryArray, LargeStringArray, PrimitiveArray, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampNanosecondType, UInt8Type, UInt64Type},
};
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};
use lsm_columnar::{
    COLUMN_ID_KEY, Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Datum, EncodingSet, Page,
    PageEncoder, PageStamp, Schema, Values, array, arrow_schema, arrow_type, record_batch,
    vector as from_array, vectors,
};
use proptest::prelude::*;

fn vector(ty: ColumnType, data: &[Datum<'_>]) -> ColumnVector {
    let mut vector = ColumnVector::new(ty);
    for datum in data {
        vector.push(*datum).unwrap();
    }
    vector
}

/// The array of `first`, a null and `second`.
#[track_caller]
fn check<'a>(ty: ColumnType, first: Datum<'a>, second: Datum<'a>) -> ArrayRef {
    let made = array(vector(ty, &[first, Datum::Null, second])).unwrap();
    assert_eq!((made.data_type(), made.len()), (&arrow_type(ty), 3));
    assert_eq!((made.is_null(0), made.is_null(1), made.is_null(2)), (false, true, false));
    let back = from_array(made.as_ref(), ty).unwrap();
    assert_eq!(array(back).unwrap().to_data(), made.to_data(), "and back");
    assert_eq!(array(vector(ty, &[first, second])).unwrap().nulls(), None);
    made
}

/// Proves F-118.
#[test]
fn every_type_becomes_its_arrow_type() {
    let made = check(ColumnType::Bool, Datum::Bool(true), Datum::Bool(false));
    assert!(made.as_boolean().value(0) && !made.as_boolean().value(2));
    let made = check(ColumnType::U8, Datum::U64(7), Datum::U64(255));
    assert_eq!(
        (made.as_primitive::<UInt8Type>().value(0), made.as_primitive::<UInt8Type>().value(2)),
        (7, 255)
    );
    let made = check(ColumnType::I64, Datum::I64(i64::MIN), Datum::I64(-1));
    assert_eq!(
        (made.as_primitive::<Int64Type>().value(0), made.as_primitive::<Int64Type>().value(2)),
        (i64::MIN, -1)
    );

    let made = check(ColumnType::F32, Datum::F32(-0.0), Datum::F32(f32::NAN));
    let floats: &Float32Array = made.as_primitive();
    assert_eq!((floats.value(0).to_bits(), floats.value(2).is_nan()), ((-0.0_f32).to_bits(), true));
    let made = check(ColumnType::F64, Datum::F64(1.5), Datum::F64(f64::INFINITY));
    let floats: &Float64Array = made.as_primitive();
    assert_eq!(floats.value(0).to_bits(), 1.5_f64.to_bits());

    let made = check(ColumnType::Timestamp, Datum::I64(1_700_000_000_000_000_000), Datum::I64(-5));
    assert_eq!(made.data_type(), &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())));
    assert_eq!(made.as_primitive::<TimestampNanosecondType>().value(0), 1_700_000_000_000_000_000);

    let made = check(ColumnType::Decimal { precision: 9, scale: 2 }, Datum::I64(-12_345), Datum::I64(1));
    let decimals: &Decimal128Array = made.as_primitive();
    assert_eq!((decimals.value_as_string(0), decimals.value_as_string(2)), ("-123.45".into(), "0.01".into()));
    let long = 12_345_678_901_234_567_890_123_i128;
    let made = check(ColumnType::Decimal { precision: 38, scale: 0 }, Datum::I128(-long), Datum::I128(long));
    let decimals: &Decimal128Array = made.as_primitive();
    assert_eq!((decimals.value(0), decimals.value(2)), (-long, long));

    let made = check(ColumnType::U128, Datum::U128(u128::MAX), Datum::U128(0));
    let wide: &Decimal256Array = made.as_primitive();
    assert_eq!((wide.value(0).to_string(), wide.value(2)), (u128::MAX.to_string(), i256::ZERO));
    let made = check(ColumnType::I128, Datum::I128(i128::MIN), Datum::I128(i128::MAX));
    let wide: &Decimal256Array = made.as_primitive();
    assert_eq!((wide.value(0), wide.value(2)), (i256::from_i128(i128::MIN), i256::from_i128(i128::MAX)));

    let made = check(ColumnType::Utf8, "gr\u{fc}n".into(), "".into());
    let texts: &LargeStringArray = made.as_string();
    assert_eq!((texts.value(0), texts.value(1), texts.value(2)), ("gr\u{fc}n", "", ""));
    let made = check(ColumnType::Bytes, Datum::Bytes(&[0xFF, 0]), Datum::Bytes(&[1]));
    let bytes: &LargeBinaryArray = made.as_binary();
    assert_eq!((bytes.value(0), bytes.value(2)), (&[0xFF, 0][..], &[1][..]));
    let made = check(ColumnType::Fixed(3), Datum::Bytes(b"abc"), Datum::Bytes(b"xyz"));
    let fixed: &FixedSizeBinaryArray = made.as_fixed_size_binary();
    assert_eq!((fixed.value(0), fixed.value(2)), (&b"abc"[..], &b"xyz"[..]));
}

/// Proves F-118.
#[test]
fn vectors_of_words_and_heaps_are_handed_over() {
    let numbers = vector(ColumnType::U64, &[Datum::U64(1), Datum::U64(2)]);
    let Values::U64(values) = numbers.values() else { panic!("a vector of U64") };
    let place = values.as_ptr();
    let made = array(numbers).unwrap();
    let primitive: &PrimitiveArray<UInt64Type> = made.as_primitive();
    assert_eq!(primitive.values().as_ptr(), place);

    let texts = vector(ColumnType::Utf8, &["a".into(), "bc".into()]);
    let Values::Bytes(strings) = texts.values() else { panic!("a vector of strings") };
    let place = strings.heap().as_ptr();
    let made = array(texts).unwrap();
    assert_eq!(made.as_string::<i64>().value_data().as_ptr(), place);
}

fn columns() -> Vec<Column> {
    vec![
        Column::new(ColumnId::FIRST, "n", ColumnType::U64),
        Column::new(ColumnId::new(18), "t", ColumnType::Utf8).nullable(),
    ]
}

#[test]
fn a_batch_has_names_ids_and_rows() {
    let columns = columns();
    let schema = arrow_schema(&columns);
    assert_eq!((schema.field(1).name().as_str(), schema.field(1).is_nullable()), ("t", true));
    assert_eq!(schema.field(1).metadata()[COLUMN_ID_KEY], "18");
    let vectors = [
        vector(ColumnType::U64, &[Datum::U64(1), Datum::U64(2)]),
        vector(ColumnType::Utf8, &[Datum::Null, "b".into()]),
    ];
    let batch: RecordBatch = record_batch(schema, vectors, 2).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns(), batch.column(1).null_count()), (2, 2, 1));
    let bare = record_batch(arrow_schema(&[]), [], 5).unwrap();
    assert_eq!((bare.num_rows(), bare.num_columns()), (5, 0));
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    let columns = columns();
    let number = || vector(ColumnType::U64, &[Datum::U64(1)]);
    let refused = |vectors: Vec<ColumnVector>| {
        assert!(matches!(
            record_batch(arrow_schema(&columns), vectors, 1),
            Err(ColumnarError::Malformed { .. })
        ));
    };
    refused(vec![number()]);
    refused(vec![number(), number()]);
    refused(vec![number(), vector(ColumnType::Utf8, &["a".into(), "b".into()])]);
    refused(vec![vector(ColumnType::U64, &[Datum::Null]), vector(ColumnType::Utf8, &["a".into()])]);
}

/// Proves F-120 in part: fields are columns by id, or by name, and what a column cannot hold is refused.
#[test]
fn a_batch_becomes_columns_again() {
    let schema = Schema::new(columns()).unwrap();
    let key = Column::new(ColumnId::KEY, "key", ColumnType::Bytes);
    let keys = vector(ColumnType::Bytes, &[Datum::Bytes(b"a"), Datum::Bytes(b"b")]);
    let numbers = vector(ColumnType::U64, &[Datum::U64(1), Datum::U64(2)]);
    let texts = vector(ColumnType::Utf8, &[Datum::Null, "b".into()]);
    let all = std::iter::once(&key).chain(schema.columns());
    let vectors_of = [keys.clone(), numbers.clone(), texts.clone()];
    let batch = record_batch(arrow_schema(all), vectors_of, 2).unwrap();
    let expected =
        vec![(ColumnId::KEY, keys), (ColumnId::FIRST, numbers.clone()), (ColumnId::new(18), texts)];
    assert_eq!(vectors(&batch, &schema).unwrap(), expected);

    // By name, of a foreign batch.
    let foreign =
        |name: &str, array: ArrayRef| vectors(&RecordBatch::try_from_iter([(name, array)]).unwrap(), &schema);
    assert_eq!(foreign("n", array(numbers.clone()).unwrap()).unwrap(), [(ColumnId::FIRST, numbers.clone())]);
    let short: ArrayRef = std::sync::Arc::new(arrow_array::StringArray::from(vec![None, Some("b")]));
    assert_eq!(foreign("t", short).unwrap(), expected[2..]);
    assert_eq!(foreign("u", array(numbers.clone()).unwrap()), Err(ColumnarError::NoColumn));
    let wrong = ColumnarError::Type { ty: ColumnType::Utf8 };
    assert_eq!(foreign("t", array(numbers).unwrap()), Err(wrong));
    let wide = vector(ColumnType::U128, &[Datum::U128(u128::MAX)]);
    let wrong = ColumnarError::Type { ty: ColumnType::I128 };
    assert_eq!(from_array(array(wide).unwrap().as_ref(), ColumnType::I128), Err(wrong));
}

/// A page may hold anything in a column of text if its check is right; Arrow's strings are always text.
#[test]
fn a_text_that_is_none_is_refused() {
    let stamp = PageStamp { group: 0, column: ColumnId::FIRST, part: 0 };
    let mut payload = Vec::new();
    let bytes = vector(ColumnType::Bytes, &[Datum::Bytes(&[0xC0, 0x80])]);
    PageEncoder::new(EncodingSet::ALL).encode(stamp, &bytes, 0..1, &mut payload).unwrap();
    let page = Page::open(stamp, ColumnType::Utf8, 1, &payload).unwrap();
    let mut forged = ColumnVector::new(ColumnType::Utf8);
    page.decode(&payload, &mut forged).unwrap();
    assert_eq!(array(forged).err(), Some(ColumnarError::Malformed { what: "record batch", field: "text" }));
}

proptest! {
    #[test]
    fn bits_and_nulls_keep_their_rows(rows in prop::collection::vec(any::<Option<bool>>(), 0..200)) {
        let data: Vec<Datum<'_>> = rows.iter().map(|row| row.map_or(Datum::Null, Datum::Bool)).collect();
        let made = array(vector(ColumnType::Bool, &data)).unwrap();
        let plain: &BooleanArray = made.as_boolean();
        prop_assert_eq!(plain.iter().collect::<Vec<_>>(), rows);
    }
}
