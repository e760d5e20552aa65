//! Columns as Arrow record batches.
//!
//! | column type | Arrow type |
//! |---|---|
//! | bool, integers of up to eight bytes, floats | the same |
//! | `U128`, `I128` | `Decimal256(39, 0)` |
//! | timestamp | `Timestamp(Nanosecond, "UTC")` |
//! | decimal | `Decimal128` of its digits |
//! | text | `LargeUtf8` |
//! | bytes | `LargeBinary` |
//! | fixed bytes | `FixedSizeBinary` |
//!
//! Vectors of integers and floats, heaps of strings, fixed bytes and bitmaps are handed over without a copy. Offsets of
//! strings are widened, as Arrow's begin with 0, and decimals and sixteen-byte integers are turned over one by one.

use alloc::{string::ToString, sync::Arc, vec::Vec};
use std::collections::HashMap;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    types::{
        ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};

use crate::{
    Bitmap, ByteStrings, Column, ColumnType, ColumnVector, ColumnarError, Result, Values,
    native::from_wide_signed,
};

/// Key of a field's metadata under which the column's id stands, in decimal digits.
pub const COLUMN_ID_KEY: &str = "lsm.column";

/// Digits of the decimals that sixteen-byte integers become.
const WIDE_DIGITS: u8 = 39;

/// Arrow's type of a column.
pub fn arrow_type(ty: ColumnType) -> DataType {
    use ColumnType as T;
    match ty {
        T::Bool => DataType::Boolean,
        T::U8 => DataType::UInt8,
        T::U16 => DataType::UInt16,
        T::U32 => DataType::UInt32,
        T::U64 => DataType::UInt64,
        T::I8 => DataType::Int8,
        T::I16 => DataType::Int16,
        T::I32 => DataType::Int32,
        T::I64 => DataType::Int64,
        T::F32 => DataType::Float32,
        T::F64 => DataType::Float64,
        T::U128 | T::I128 => DataType::Decimal256(WIDE_DIGITS, 0),
        T::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        T::Decimal { precision, scale } => {
            DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
        }
        T::Utf8 => DataType::LargeUtf8,
        T::Bytes => DataType::LargeBinary,
        T::Fixed(len) => DataType::FixedSizeBinary(i32::from(len)),
    }
}

/// Arrow's schema of these columns: name, type, nullability, and the id as metadata.
pub fn arrow_schema<'a>(columns: impl IntoIterator<Item = &'a Column>) -> SchemaRef {
    let field = |column: &Column| {
        let id = HashMap::from([(COLUMN_ID_KEY.to_string(), column.id().get().to_string())]);
        Field::new(column.name(), arrow_type(column.ty()), column.is_nullable()).with_metadata(id)
    };
    Arc::new(ArrowSchema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

/// A record batch of `rows` rows, a vector for each field of `schema`, which [`arrow_schema`] made of their columns.
///
/// # Errors
/// [`ColumnarError::Malformed`] where vectors and fields differ in number, type or length, or a null stands in a column that
/// takes none, or a text is none, which only damage or a foreign writer brings about.
pub fn record_batch(
    schema: SchemaRef,
    vectors: impl IntoIterator<Item = ColumnVector>,
    rows: usize,
) -> Result<RecordBatch> {
    let arrays = vectors.into_iter().map(array).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|_| malformed("columns"))
}

/// The vector as an Arrow array.
///
/// # Errors
/// [`ColumnarError::Malformed`] for a text that is none.
pub fn array(vector: ColumnVector) -> Result<ArrayRef> {
    let ty = vector.ty();
    let (values, validity) = vector.into_parts();
    let nulls = validity.map(|validity| NullBuffer::new(bits(validity)));
    Ok(match values {
        Values::Bool(values) if nulls.as_ref().is_some_and(|nulls| nulls.len() != values.len()) => {
            return Err(malformed("nulls"));
        }
        Values::Bool(values) => Arc::new(BooleanArray::new(bits(values), nulls)),
        Values::U8(values) => words::<UInt8Type>(values, nulls)?,
        Values::U16(values) => words::<UInt16Type>(values, nulls)?,
        Values::U32(values) => words::<UInt32Type>(values, nulls)?,
        Values::U64(values) => words::<UInt64Type>(values, nulls)?,
        Values::I8(values) => words::<Int8Type>(values, nulls)?,
        Values::I16(values) => words::<Int16Type>(values, nulls)?,
        Values::I32(values) => words::<Int32Type>(values, nulls)?,
        Values::F32(values) => words::<Float32Type>(values, nulls)?,
        Values::F64(values) => words::<Float64Type>(values, nulls)?,
        Values::I64(values) => match ty {
            ColumnType::Timestamp => {
                let array = primitive::<TimestampNanosecondType>(values, nulls)?;
                Arc::new(array.with_timezone("UTC"))
            }
            ColumnType::Decimal { .. } => decimals(values.into_iter().map(i128::from).collect(), nulls, ty)?,
            _ => words::<Int64Type>(values, nulls)?,
        },
        Values::Fixed { len, bytes } => fixed(ty, len, bytes, nulls)?,
        Values::Bytes(strings) => texts(ty, strings, nulls)?,
    })
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>> {
    PrimitiveArray::try_new(ScalarBuffer::from(values), nulls).map_err(|_| malformed("nulls"))
}

fn words<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    Ok(Arc::new(primitive::<T>(values, nulls)?))
}

fn decimals(values: Vec<i128>, nulls: Option<NullBuffer>, ty: ColumnType) -> Result<ArrayRef> {
    let array =
        Decimal128Array::try_new(ScalarBuffer::from(values), nulls).map_err(|_| malformed("nulls"))?;
    Ok(Arc::new(array.with_data_type(arrow_type(ty))))
}

/// Fixed bytes, and what is stored as sixteen of them.
fn fixed(ty: ColumnType, len: usize, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let wide = |to_value: fn([u8; 16]) -> i256| -> Result<ArrayRef> {
        let values: Vec<i256> = bytes.as_chunks().0.iter().map(|bytes| to_value(*bytes)).collect();
        let array = Decimal256Array::try_new(ScalarBuffer::from(values), nulls.clone());
        Ok(Arc::new(array.map_err(|_| malformed("nulls"))?.with_data_type(arrow_type(ty))))
    };
    match ty {
        ColumnType::U128 => wide(|bytes| i256::from_parts(u128::from_be_bytes(bytes), 0)),
        ColumnType::I128 => wide(|bytes| i256::from_i128(from_wide_signed(bytes))),
        ColumnType::Decimal { .. } => {
            decimals(bytes.as_chunks().0.iter().map(|bytes| from_wide_signed(*bytes)).collect(), nulls, ty)
        }
        _ => {
            let len = i32::try_from(len).map_err(|_| malformed("length"))?;
            let array = FixedSizeBinaryArray::try_new(len, Buffer::from_vec(bytes), nulls);
            Ok(Arc::new(array.map_err(|_| malformed("length"))?))
        }
    }
}

fn texts(ty: ColumnType, strings: ByteStrings, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let (ends, heap) = strings.into_parts();
    let offsets: Vec<i64> = core::iter::once(0).chain(ends.into_iter().map(i64::from)).collect();
    let (offsets, heap) = (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(heap));
    let wrong = |_: ArrowError| malformed("text");
    Ok(match ty {
        ColumnType::Utf8 => Arc::new(LargeStringArray::try_new(offsets, heap, nulls).map_err(wrong)?),
        _ => Arc::new(LargeBinaryArray::try_new(offsets, heap, nulls).map_err(wrong)?),
    })
}

/// Arrow's bits are numbered as ours: the lowest of the first byte is row 0.
fn bits(bitmap: Bitmap) -> BooleanBuffer {
    let len = bitmap.len();
    let words = bitmap.into_words();
    let bytes = if cfg!(target_endian = "little") {
        Buffer::from_vec(words)
    } else {
        Buffer::from_vec(words.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    };
    BooleanBuffer::new(bytes, 0, len)
}

const fn malformed(field: &'static str) -> ColumnarError {
    ColumnarError::Malformed { what: "record batch", field }
}
