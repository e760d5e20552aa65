//! Values that are JSON objects, as written by a program that always writes the same fields in the same order.

use alloc::{string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{
    ColumnSplitter, RowBatch, RowCells, RowValues,
    delimited::parse,
    text::{write, write_image},
};
use crate::{ColumnType, ColumnarError, Datum, Result, Schema, SchemaFault};

/// Splits compact JSON objects whose fields are the columns of the schema, by name and in its order. A field that is
/// `null` is a null. Objects with blanks, other fields, another order, or other ways to write the same value are kept
/// whole.
#[derive(Clone, Debug)]
pub struct JsonLines {
    name: String,
    schema: Schema,
    /// What stands before the value of each column: `{` or `,`, the name, `:`.
    heads: Vec<Vec<u8>>,
}

impl JsonLines {
    /// A splitter of objects with the columns of `schema`.
    ///
    /// # Errors
    /// [`ColumnarError::Schema`] for a column of bytes, fixed bytes or sixteen-byte integers, which JSON has not.
    pub fn new(name: impl Into<String>, schema: Schema) -> Result<Self> {
        let foreign = schema.columns().iter().find(|column| {
            column.ty() == ColumnType::Bytes
                || column.ty().fixed_len().is_some_and(|len| len > 8 || is_raw(column.ty()))
        });
        if let Some(column) = foreign {
            return Err(ColumnarError::Schema { column: column.id(), fault: SchemaFault::Type });
        }
        let heads = schema.columns().iter().enumerate().map(|(idx, column)| {
            let mut head = alloc::vec![if idx == 0 { b'{' } else { b',' }];
            write_string(column.name(), &mut head)?;
            head.push(b':');
            Ok(head)
        });
        let heads = heads.collect::<Result<_>>()?;
        Ok(Self { name: name.into(), schema, heads })
    }
}

const fn is_raw(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::Fixed(_))
}

impl ColumnSplitter for JsonLines {
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
        let object: Map<String, Value> = serde_json::from_slice(value).ok()?;
        if object.len() != self.schema.columns().len() {
            return None;
        }
        for column in self.schema.columns() {
            let pushed = match object.get(column.name())? {
                Value::Null => cells.push(Datum::Null),
                Value::Bool(value) => cells.push(Datum::Bool(*value)),
                Value::String(text) if column.ty() == ColumnType::Utf8 => cells.push(text.as_str().into()),
                Value::Number(number) => {
                    let text = alloc::format!("{number}");
                    cells.push(parse(column.ty(), text.as_bytes())?)
                }
                _ => return None,
            };
            pushed.ok()?;
        }
        Some(())
    }

    fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<()> {
        if self.heads.is_empty() {
            value.push(b'{');
        }
        for ((idx, column), head) in self.schema.columns().iter().enumerate().zip(&self.heads) {
            value.extend_from_slice(head);
            match cells.get(idx) {
                Datum::Null => value.extend_from_slice(b"null"),
                Datum::Bytes(bytes) => write_text(bytes, value)?,
                datum => write(column.ty(), datum, value),
            }
        }
        value.push(b'}');
        Ok(())
    }

    fn assemble_rows(&self, rows: &RowBatch<'_>, cells: &mut RowCells, values: &mut RowValues) -> Result<()> {
        let _ = cells;
        for row in rows.rows() {
            let out = values.bytes();
            if self.heads.is_empty() {
                out.push(b'{');
            }
            for (column, head) in rows.columns().iter().zip(&self.heads) {
                out.extend_from_slice(head);
                match column.images() {
                    _ if !column.is_valid(row) => out.extend_from_slice(b"null"),
                    Some(images) => {
                        images.get(row).into_iter().for_each(|image| write_image(column.ty(), *image, out));
                    }
                    None => write_text(column.bytes(row), out)?,
                }
            }
            out.push(b'}');
            values.end_row()?;
        }
        Ok(())
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, text).map_err(|_| ColumnarError::Assemble)
}

/// A string between quotes; most have nothing in them that is written otherwise.
fn write_text(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let is_plain = |byte: &u8| (b' '..0x7F).contains(byte) && *byte != b'"' && *byte != b'\\';
    if bytes.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return Ok(());
    }
    write_string(core::str::from_utf8(bytes).map_err(|_| ColumnarError::Assemble)?, out)
}
