//! Values that are JSON objects, as written by a program that always writes the same fields in the same order.

use alloc::{string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{ColumnSplitter, RowCells, delimited::parse, text::write};
use crate::{ColumnType, ColumnarError, Datum, Result, Schema, SchemaFault};

/// Splits compact JSON objects whose fields are the columns of the schema, by name and in its order. A field that is
/// `null` is a null. Objects with blanks, other fields, another order, or other ways to write the same value are kept
/// whole.
#[derive(Clone, Debug)]
pub struct JsonLines {
    name: String,
    schema: Schema,
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
        Ok(Self { name: name.into(), schema })
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
        let string = |text: &str, value: &mut Vec<u8>| {
            serde_json::to_writer(value, text).map_err(|_| ColumnarError::Assemble)
        };
        value.push(b'{');
        for (idx, column) in self.schema.columns().iter().enumerate() {
            if idx > 0 {
                value.push(b',');
            }
            string(column.name(), value)?;
            value.push(b':');
            match cells.get(idx) {
                Datum::Null => value.extend_from_slice(b"null"),
                Datum::Bytes(bytes) => {
                    string(core::str::from_utf8(bytes).map_err(|_| ColumnarError::Assemble)?, value)?;
                }
                datum => write(column.ty(), datum, value),
            }
        }
        value.push(b'}');
        Ok(())
    }
}
