//! The default framing of a row, where no caller's code assembles values: self-describing and unambiguous
//! (`docs/format/columnar.md`, section 5).

use alloc::{vec, vec::Vec};

use lsm_types::varint;

use super::RowCells;
use crate::{
    Bitmap, ColumnarError, Datum, Result, Schema,
    cursor::Cursor,
    page::{read_cell, write_cell},
    types::Cell,
};

const WHAT: &str = "row image";

/// Appends the image of `cells`, one per column of `schema`.
///
/// # Errors
/// [`ColumnarError::Assemble`] where the number of cells is another.
pub fn assemble_image(schema: &Schema, cells: &RowCells, out: &mut Vec<u8>) -> Result<()> {
    if cells.len() != schema.columns().len() {
        return Err(ColumnarError::Assemble);
    }
    varint::encode(schema.id().into(), out);
    let present: Bitmap = (0..cells.len()).map(|idx| cells.cell(idx) != Cell::Null).collect();
    present.write(out);
    let columns = || schema.columns().iter().enumerate().filter(|(idx, _)| present.contains(*idx));
    for (idx, column) in columns().filter(|(_, column)| column.ty().fixed_len().is_some()) {
        write_cell(column.ty(), cells.cell(idx), out);
    }
    for (idx, _) in columns().filter(|(_, column)| column.ty().fixed_len().is_none()) {
        varint::encode_prefixed(cells.cell(idx).bytes(), out);
    }
    Ok(())
}

/// The cells that the image `value` of a row of `schema` holds.
///
/// # Errors
/// [`ColumnarError::Malformed`] for anything that is no image of this very schema.
pub fn split_image(schema: &Schema, value: &[u8], cells: &mut RowCells) -> Result<()> {
    cells.reset(schema);
    let count = schema.columns().len();
    let mut cursor = Cursor::new(WHAT, value);
    if cursor.varint("schema id")? != u64::from(schema.id()) {
        return Err(cursor.malformed("schema id"));
    }
    let stored = cursor.take(Bitmap::stored_len(count), "presence")?;
    if !Bitmap::is_trimmed(stored, count) {
        return Err(cursor.malformed("presence"));
    }
    let present = Bitmap::read(stored, 0, count);
    let mut data = vec![Datum::Null; count];
    for is_fixed in [true, false] {
        for (idx, column) in schema.columns().iter().enumerate().filter(|(idx, _)| present.contains(*idx)) {
            let ty = column.ty();
            let stored = match (ty.fixed_len(), is_fixed) {
                (Some(len), true) => cursor.take(len, "fixed cell")?,
                (None, false) => cursor.prefixed("cell")?,
                _ => continue,
            };
            let datum = match read_cell(ty, stored) {
                Some(Cell::Word(image)) => Datum::from_image(ty, image),
                Some(Cell::Bytes(bytes)) => Datum::from_bytes(ty, bytes),
                _ => return Err(cursor.malformed("cell")),
            };
            if let Some(place) = data.get_mut(idx) {
                *place = datum;
            }
        }
    }
    for datum in data {
        cells.push(datum).map_err(|_| cursor.malformed("cell"))?;
    }
    cursor.finish()
}
