//! Values that are lines of text with a delimiter between fields: TSV, simple CSV, logs.

use alloc::{string::String, vec::Vec};

use super::{
    ColumnSplitter, RowBatch, RowCells, RowValues,
    rows::Source,
    slots::{CellText, SlotText, write_rows},
    text::{Line, Out, write},
};
use crate::{ColumnType, ColumnarError, Datum, Result, Schema, SchemaFault};

/// Splits text at a delimiter, one field per column, in the order of the schema. There is no quoting. An empty field
/// is null in a nullable column. Numbers stand as they are written by default: `-7`, `0.5`, `true`; whatever is
/// written differently (`+7`, `1e3`, `007`) is kept whole, as is a line with another number of fields.
#[derive(Clone, Debug)]
pub struct DelimitedText {
    name: String,
    schema: Schema,
    delimiter: u8,
}

impl DelimitedText {
    /// A splitter at `delimiter`.
    ///
    /// # Errors
    /// [`ColumnarError::Schema`] for a column of fixed bytes.
    pub fn new(name: impl Into<String>, schema: Schema, delimiter: u8) -> Result<Self> {
        let fixed = schema.columns().iter().find(|column| matches!(column.ty(), ColumnType::Fixed(_)));
        if let Some(column) = fixed {
            return Err(ColumnarError::Schema { column: column.id(), fault: SchemaFault::Type });
        }
        Ok(Self { name: name.into(), schema, delimiter })
    }
}

impl ColumnSplitter for DelimitedText {
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
        let mut fields = value.split(|&byte| byte == self.delimiter);
        for column in self.schema.columns() {
            let field = fields.next()?;
            let datum = if field.is_empty() && column.is_nullable() {
                Datum::Null
            } else {
                parse(column.ty(), field)?
            };
            cells.push(datum).ok()?;
        }
        fields.next().is_none().then_some(())
    }

    fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<()> {
        for (idx, column) in self.schema.columns().iter().enumerate() {
            if idx > 0 {
                value.push(self.delimiter);
            }
            write(column.ty(), cells.get(idx), value);
        }
        Ok(())
    }

    fn assemble_rows(&self, rows: &RowBatch<'_>, cells: &mut RowCells, values: &mut RowValues) -> Result<()> {
        let _ = cells;
        write_rows(rows, self, values)
    }
}

impl CellText for DelimitedText {
    #[inline]
    fn lead(&self, column: usize) -> Option<u8> {
        (column > 0).then_some(self.delimiter)
    }

    #[inline]
    fn null(&self, _: &mut SlotText<'_>) {}

    #[inline]
    fn string(&self, bytes: &[u8], place: (usize, usize), out: &mut SlotText<'_>) {
        out.part(bytes, place);
    }

    #[inline]
    fn before(&self, _: usize, _: &mut Line<'_>) {}

    fn long(&self, column: &Source<'_>, row: usize, line: &mut Line<'_>) {
        write(column.ty(), column.get(row), line);
    }

    #[inline]
    fn after(&self, _: &mut Line<'_>) {}
}

/// The value a field stands for; generous, since what is not written back the same way is kept whole.
pub(super) fn parse(ty: ColumnType, field: &[u8]) -> Option<Datum<'_>> {
    use ColumnType as T;
    if matches!(ty, T::Utf8 | T::Bytes) {
        return Some(Datum::Bytes(field));
    }
    let text = core::str::from_utf8(field).ok()?;
    Some(match ty {
        T::Bool => Datum::Bool(text.parse().ok()?),
        T::U8 | T::U16 | T::U32 | T::U64 => Datum::U64(text.parse().ok()?),
        T::I8 | T::I16 | T::I32 | T::I64 | T::Timestamp => Datum::I64(text.parse().ok()?),
        T::U128 => Datum::U128(text.parse().ok()?),
        T::I128 => Datum::I128(text.parse().ok()?),
        T::F32 => Datum::F32(text.parse().ok()?),
        T::F64 => Datum::F64(text.parse().ok()?),
        T::Decimal { precision, scale } => {
            let number = parse_decimal(text, scale.into())?;
            if precision <= 18 { Datum::I64(i64::try_from(number).ok()?) } else { Datum::I128(number) }
        }
        T::Fixed(_) | T::Utf8 | T::Bytes => return None,
    })
}

/// `12.50` as 1250 for a scale of 2; exactly that many digits have to follow the point.
fn parse_decimal(text: &str, scale: usize) -> Option<i128> {
    if scale == 0 {
        return text.parse().ok();
    }
    let (whole, fraction) = text.split_once('.')?;
    if fraction.len() != scale {
        return None;
    }
    let mut digits = String::with_capacity(text.len());
    digits.push_str(whole);
    digits.push_str(fraction);
    digits.parse().ok()
}
