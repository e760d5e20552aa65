//! Values that are JSON objects, as written by a program that always writes the same fields in the same order.

use alloc::{string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{
    ColumnSplitter, RowBatch, RowCells, RowValues,
    delimited::parse,
    rows::Source,
    slots::{CellText, SlotText, write_rows},
    text::{Line, Out, write},
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
            let is_text = write_text(column.name().as_bytes(), &mut head);
            debug_assert!(is_text, "a name is text");
            head.push(b':');
            head
        });
        let heads = heads.collect();
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
                Datum::Bytes(bytes) if !write_text(bytes, value) => return Err(ColumnarError::Assemble),
                Datum::Bytes(_) => {}
                datum => write(column.ty(), datum, value),
            }
        }
        value.push(b'}');
        Ok(())
    }

    fn assemble_rows(&self, rows: &RowBatch<'_>, cells: &mut RowCells, values: &mut RowValues) -> Result<()> {
        let _ = cells;
        for column in rows.columns().iter().filter(|column| column.images().is_none()) {
            // What is no text is refused before anything is written.
            let is_text = |row| core::str::from_utf8(column.bytes(row)).is_ok();
            if !rows.rows().all(|row| !column.is_valid(row) || is_text(row)) {
                return Err(ColumnarError::Assemble);
            }
        }
        write_rows(rows, self, values)
    }
}

impl CellText for JsonLines {
    #[inline]
    fn lead(&self, _: usize) -> Option<u8> {
        None
    }

    #[inline]
    fn null(&self, out: &mut SlotText<'_>) {
        out.piece(*b"null", 4);
    }

    #[inline]
    fn string(&self, bytes: &[u8], (start, len): (usize, usize), out: &mut SlotText<'_>) {
        let text = bytes.get(start..start.saturating_add(len)).unwrap_or_default();
        if !text.iter().all(|byte| is_plain(*byte)) {
            return out.overflow();
        }
        out.piece([b'"'], 1);
        out.part(bytes, (start, len));
        out.piece([b'"'], 1);
    }

    #[inline]
    fn before(&self, column: usize, line: &mut Line<'_>) {
        if let Some(head) = self.heads.get(column) {
            line.part(head, (0, head.len()));
        }
    }

    fn long(&self, column: &Source<'_>, row: usize, line: &mut Line<'_>) {
        match column.get(row) {
            Datum::Null => line.whole(b"null"),
            Datum::Bytes(bytes) => {
                let is_text = write_text(bytes, line);
                debug_assert!(is_text, "what is no text was refused");
            }
            datum => write(column.ty(), datum, line),
        }
    }

    #[inline]
    fn after(&self, line: &mut Line<'_>) {
        line.whole(if self.heads.is_empty() { b"{}" } else { b"}" });
    }
}

/// Whether a byte stands in a string as it is.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// A string between quotes; most have nothing in them that is written otherwise. `false` for bytes that are no text.
fn write_text(bytes: &[u8], out: &mut impl Out) -> bool {
    if bytes.iter().all(|byte| is_plain(*byte)) {
        out.piece([b'"'], 1);
        out.part(bytes, (0, bytes.len()));
        out.piece([b'"'], 1);
        return true;
    }
    let mut escaped = Vec::new();
    let written =
        core::str::from_utf8(bytes).is_ok_and(|text| serde_json::to_writer(&mut escaped, text).is_ok());
    out.whole(&escaped);
    written
}
