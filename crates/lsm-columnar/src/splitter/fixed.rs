//! Values that are structs of fixed width: every field at its place, little-endian.

use alloc::{string::String, vec::Vec};

use super::{ColumnSplitter, RowBatch, RowCells, RowValues, rows::Source};
use crate::{ColumnType, ColumnarError, Datum, Result, Schema, SchemaFault, native::Native};

/// Splits packed structs: the columns of the schema, one after another, without gaps. Integers and floats are
/// little-endian, a `bool` is a byte of 0 or 1. No column is nullable, none is of varying length.
#[derive(Clone, Debug)]
pub struct FixedStruct {
    name: String,
    schema: Schema,
    len: usize,
}

impl FixedStruct {
    /// A splitter for structs of the columns of `schema`.
    ///
    /// # Errors
    /// [`ColumnarError::Schema`] for a column that is nullable or of varying length.
    pub fn new(name: impl Into<String>, schema: Schema) -> Result<Self> {
        let mut len = 0;
        for column in schema.columns() {
            match column.ty().fixed_len() {
                Some(width) if !column.is_nullable() => len += width,
                _ => return Err(ColumnarError::Schema { column: column.id(), fault: SchemaFault::Type }),
            }
        }
        Ok(Self { name: name.into(), schema, len })
    }
}

impl ColumnSplitter for FixedStruct {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn split(&self, value: &[u8], cells: &mut RowCells) -> Option<()> {
        if value.len() != self.len {
            return None;
        }
        let mut rest = value;
        for column in self.schema.columns() {
            let (field, tail) = rest.split_at_checked(column.ty().fixed_len()?)?;
            rest = tail;
            cells.push(datum(column.ty(), field)?).ok()?;
        }
        Some(())
    }

    fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<()> {
        for (idx, column) in self.schema.columns().iter().enumerate() {
            write(column.ty(), cells.get(idx), value).ok_or(ColumnarError::Assemble)?;
        }
        Ok(())
    }

    /// Column by column: every field of every row has its place.
    fn assemble_rows(&self, rows: &RowBatch<'_>, cells: &mut RowCells, values: &mut RowValues) -> Result<()> {
        let _ = cells;
        if rows.columns().iter().any(|column| !column.all_valid(rows.rows())) {
            return Err(ColumnarError::Assemble);
        }
        let out = values.zeros(rows.len(), self.len)?;
        let mut at = 0;
        for column in rows.columns() {
            let Some(images) = column.images() else {
                put_bytes(column, rows, self.len, at, out);
                at += column.ty().fixed_len().unwrap_or_default();
                continue;
            };
            let images = images.get(rows.rows()).unwrap_or_default();
            at += put_images(column.ty(), images, self.len, at, out);
        }
        Ok(())
    }
}

fn datum(ty: ColumnType, field: &[u8]) -> Option<Datum<'_>> {
    use ColumnType as T;
    Some(match ty {
        T::Bool => match field {
            [0] => Datum::Bool(false),
            [1] => Datum::Bool(true),
            _ => return None,
        },
        T::U8 | T::U16 | T::U32 | T::U64 => Datum::U64(unsigned(field)),
        T::I8 => Datum::I64(i8::from_le_bytes(field.try_into().ok()?).into()),
        T::I16 => Datum::I64(i16::from_le_bytes(field.try_into().ok()?).into()),
        T::I32 => Datum::I64(i32::from_le_bytes(field.try_into().ok()?).into()),
        T::F32 => Datum::F32(f32::from_le_bytes(field.try_into().ok()?)),
        T::F64 => Datum::F64(f64::from_le_bytes(field.try_into().ok()?)),
        T::U128 => Datum::U128(u128::from_le_bytes(field.try_into().ok()?)),
        T::Fixed(_) => Datum::Bytes(field),
        _ if field.len() == 16 => Datum::I128(i128::from_le_bytes(field.try_into().ok()?)),
        _ => Datum::I64(i64::from_le_bytes(field.try_into().ok()?)),
    })
}

fn unsigned(field: &[u8]) -> u64 {
    field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Appends the field; `None` for a cell that no struct has.
fn write(ty: ColumnType, datum: Datum<'_>, out: &mut Vec<u8>) -> Option<()> {
    let len = ty.fixed_len()?;
    match datum {
        Datum::Null => return None,
        Datum::Bool(value) => out.push(value.into()),
        Datum::U64(value) => out.extend_from_slice(value.to_le_bytes().get(..len)?),
        Datum::I64(value) => out.extend_from_slice(value.to_le_bytes().get(..len)?),
        Datum::U128(value) => out.extend_from_slice(&value.to_le_bytes()),
        Datum::I128(value) => out.extend_from_slice(&value.to_le_bytes()),
        Datum::F32(value) => out.extend_from_slice(&value.to_le_bytes()),
        Datum::F64(value) => out.extend_from_slice(&value.to_le_bytes()),
        Datum::Bytes(bytes) => out.extend_from_slice(bytes),
    }
    Some(())
}

/// Writes the fields of a column with images at byte `at` of every struct of `len` bytes. Answers their width.
fn put_images(ty: ColumnType, images: &[u64], len: usize, at: usize, out: &mut [u8]) -> usize {
    use ColumnType as T;
    match ty {
        T::Bool | T::U8 => put(images, len, at, out, |image| u8::from_image(image).to_le_bytes()),
        T::U16 => put(images, len, at, out, |image| u16::from_image(image).to_le_bytes()),
        T::U32 => put(images, len, at, out, |image| u32::from_image(image).to_le_bytes()),
        T::U64 => put(images, len, at, out, u64::to_le_bytes),
        T::I8 => put(images, len, at, out, |image| i8::from_image(image).to_le_bytes()),
        T::I16 => put(images, len, at, out, |image| i16::from_image(image).to_le_bytes()),
        T::I32 => put(images, len, at, out, |image| i32::from_image(image).to_le_bytes()),
        T::F32 => put(images, len, at, out, |image| f32::from_image(image).to_le_bytes()),
        T::F64 => put(images, len, at, out, |image| f64::from_image(image).to_le_bytes()),
        _ => put(images, len, at, out, |image| i64::from_image(image).to_le_bytes()),
    }
}

#[inline]
fn put<const WIDTH: usize>(
    images: &[u64],
    len: usize,
    at: usize,
    out: &mut [u8],
    field: impl Fn(u64) -> [u8; WIDTH],
) -> usize {
    for (row, &image) in out.chunks_exact_mut(len).zip(images) {
        if let Some(place) = row.get_mut(at..at + WIDTH) {
            place.copy_from_slice(&field(image));
        }
    }
    WIDTH
}

/// The same for fixed bytes and wide integers.
fn put_bytes(column: &Source<'_>, rows: &RowBatch<'_>, len: usize, at: usize, out: &mut [u8]) {
    for (row, idx) in out.chunks_exact_mut(len).zip(rows.rows()) {
        let bytes = column.bytes(idx);
        let Some(place) = row.get_mut(at..at + bytes.len()) else { continue };
        match Datum::from_bytes(column.ty(), bytes) {
            Datum::U128(value) => place.copy_from_slice(&value.to_le_bytes()),
            Datum::I128(value) => place.copy_from_slice(&value.to_le_bytes()),
            _ => place.copy_from_slice(bytes),
        }
    }
}
