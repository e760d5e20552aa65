//! Columns from Arrow record batches: the way back of `arrow.rs`, for batches that are to become rows of a tree.
//!
//! Beside the types that columns become, short strings (`Utf8`, `Binary`) and timestamps of any zone are taken. Values are
//! copied one by one, as each has to be one of its column's type.

use alloc::vec::Vec;

use arrow_array::{
    Array, PrimitiveArray, RecordBatch,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::{
    COLUMN_ID_KEY, Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Datum, Result, Schema,
    arrow_type,
};

/// The columns of a record batch: each is the one whose id its field's metadata have under [`COLUMN_ID_KEY`], otherwise the
/// one of `schema` with the field's name.
///
/// # Errors
/// [`ColumnarError::NoColumn`] for a field that is neither, [`ColumnarError::Type`] for a column of another type or a value
/// that its type does not have.
pub fn vectors(batch: &RecordBatch, schema: &Schema) -> Result<Vec<(ColumnId, ColumnVector)>> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let (id, ty) = column_of(field, schema).ok_or(ColumnarError::NoColumn)?;
        columns.push((id, vector(array.as_ref(), ty)?));
    }
    Ok(columns)
}

/// The array as a vector of type `ty`, which is valid.
///
/// # Errors
/// [`ColumnarError::Type`] where it has another type, or a value that `ty` does not have.
pub fn vector(array: &dyn Array, ty: ColumnType) -> Result<ColumnVector> {
    use ColumnType as T;
    if !is_taken(array.data_type(), ty) {
        return Err(ColumnarError::Type { ty });
    }
    match ty {
        T::Bool => fill(ty, array.as_boolean_opt(), |array, row| Datum::Bool(array.value(row))),
        T::U8 => words::<UInt8Type>(ty, array, |value| Datum::U64(value.into())),
        T::U16 => words::<UInt16Type>(ty, array, |value| Datum::U64(value.into())),
        T::U32 => words::<UInt32Type>(ty, array, |value| Datum::U64(value.into())),
        T::U64 => words::<UInt64Type>(ty, array, Datum::U64),
        T::I8 => words::<Int8Type>(ty, array, |value| Datum::I64(value.into())),
        T::I16 => words::<Int16Type>(ty, array, |value| Datum::I64(value.into())),
        T::I32 => words::<Int32Type>(ty, array, |value| Datum::I64(value.into())),
        T::I64 => words::<Int64Type>(ty, array, Datum::I64),
        T::F32 => words::<Float32Type>(ty, array, Datum::F32),
        T::F64 => words::<Float64Type>(ty, array, Datum::F64),
        T::Timestamp => words::<TimestampNanosecondType>(ty, array, Datum::I64),
        // What does not fit the column's type is refused as a value of another one.
        T::U128 => words::<Decimal256Type>(ty, array, |value| match value.to_parts() {
            (low, 0) => Datum::U128(low),
            _ => Datum::Bool(false),
        }),
        T::I128 => words::<Decimal256Type>(ty, array, |value| {
            value.to_i128().map_or(Datum::Bool(false), Datum::I128)
        }),
        T::Decimal { precision, .. } if precision <= 18 => words::<Decimal128Type>(ty, array, |value| {
            i64::try_from(value).map_or(Datum::Bool(false), Datum::I64)
        }),
        T::Decimal { .. } => words::<Decimal128Type>(ty, array, Datum::I128),
        T::Utf8 => match array.as_string_opt::<i32>() {
            Some(short) => fill(ty, Some(short), |array, row| Datum::from(array.value(row))),
            None => fill(ty, array.as_string_opt::<i64>(), |array, row| Datum::from(array.value(row))),
        },
        T::Bytes => match array.as_binary_opt::<i32>() {
            Some(short) => fill(ty, Some(short), |array, row| Datum::Bytes(array.value(row))),
            None => fill(ty, array.as_binary_opt::<i64>(), |array, row| Datum::Bytes(array.value(row))),
        },
        T::Fixed(_) => {
            fill(ty, array.as_fixed_size_binary_opt(), |array, row| Datum::Bytes(array.value(row)))
        }
    }
}

fn column_of(field: &Field, schema: &Schema) -> Option<(ColumnId, ColumnType)> {
    let columns = schema.columns();
    let of = |column: &Column| (column.id(), column.ty());
    let Some(id) = field.metadata().get(COLUMN_ID_KEY) else {
        return columns.iter().find(|column| column.name() == field.name()).map(of);
    };
    match ColumnId::new(id.parse().ok()?) {
        id @ (ColumnId::KEY | ColumnId::OPAQUE) => Some((id, ColumnType::Bytes)),
        id => columns.iter().find(|column| column.id() == id).map(of),
    }
}

fn is_taken(found: &DataType, ty: ColumnType) -> bool {
    match (ty, found) {
        (ColumnType::Utf8, DataType::Utf8)
        | (ColumnType::Bytes, DataType::Binary)
        | (ColumnType::Timestamp, DataType::Timestamp(TimeUnit::Nanosecond, _)) => true,
        _ => *found == arrow_type(ty),
    }
}

fn words<T: ArrowPrimitiveType>(
    ty: ColumnType,
    array: &dyn Array,
    datum: impl Fn(T::Native) -> Datum<'static>,
) -> Result<ColumnVector> {
    let array: Option<&PrimitiveArray<T>> = array.as_primitive_opt();
    fill(ty, array, |array, row| datum(array.value(row)))
}

fn fill<'a, A: Array>(
    ty: ColumnType,
    array: Option<&'a A>,
    datum: impl Fn(&'a A, usize) -> Datum<'a>,
) -> Result<ColumnVector> {
    let array = array.ok_or(ColumnarError::Type { ty })?;
    let mut vector = ColumnVector::new(ty);
    for row in 0..array.len() {
        vector.push(if array.is_null(row) { Datum::Null } else { datum(array, row) })?;
    }
    Ok(vector)
}
