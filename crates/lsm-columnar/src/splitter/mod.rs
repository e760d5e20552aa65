//! Values into cells and back: the plug-in that knows what a value means.

mod delimited;
mod fixed;
mod image;
#[cfg(feature = "json")]
mod json;
mod rows;
mod slots;
mod text;
mod values;

pub use delimited::DelimitedText;
pub use fixed::FixedStruct;
pub use image::{assemble_image, split_image};
#[cfg(feature = "json")]
pub use json::JsonLines;
pub use rows::{RowBatch, RowPages};
pub use values::RowValues;

use alloc::vec::Vec;

use crate::{ColumnVector, ColumnarError, Datum, Result, Schema, types::Cell};

/// Splits values into cells, and assembles cells into values.
///
/// Both have to be pure. Where `assemble` would not give back the very bytes that were split, the row is declined and
/// its value is kept whole in the opaque column: [`RowCells::split`] sees to that, so that a splitter may be generous.
pub trait ColumnSplitter: Send + Sync + 'static {
    /// Name of the splitter, 1 to 255 bytes; recorded in tables.
    fn name(&self) -> &str;

    /// Version of what it does; recorded in tables.
    fn version(&self) -> u32;

    /// The columns it splits into.
    fn schema(&self) -> &Schema;

    /// Pushes the cells of `value` to `cells`, one per column of the schema, in its order. `None`: keep it whole. What
    /// was pushed then does not matter.
    fn split(&self, value: &[u8], cells: &mut RowCells) -> Option<()>;

    /// Appends to `value` what the cells, one per column of the schema, came from.
    ///
    /// # Errors
    /// [`ColumnarError::Assemble`] for cells that no value gives.
    fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<()>;

    /// Adds the values of all rows of a batch, each ended by [`RowValues::end_row`]: the very bytes that
    /// [`ColumnSplitter::assemble`] makes of each. That is also what is done by default; walking over the batch itself
    /// spares a copy of each cell.
    ///
    /// * `cells`: ready for rows of the schema; what it holds does not matter.
    ///
    /// # Errors
    /// As for [`ColumnSplitter::assemble`], and those of [`RowValues::end_row`].
    fn assemble_rows(&self, rows: &RowBatch<'_>, cells: &mut RowCells, values: &mut RowValues) -> Result<()> {
        for row in 0..rows.len() {
            rows.load(row, cells);
            self.assemble(cells, values.bytes())?;
            values.end_row()?;
        }
        Ok(())
    }
}

/// A stored cell; bytes lie in the row's heap.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Null,
    Word(u64),
    Wide([u8; 16]),
    Bytes { start: usize, end: usize },
}

/// The cells of one row; reused from row to row.
#[derive(Clone, Debug, Default)]
pub struct RowCells {
    cells: Vec<Stored>,
    heap: Vec<u8>,
    types: Vec<crate::ColumnType>,
    nullable: Vec<bool>,
    again: Vec<u8>,
}

impl RowCells {
    /// No cells.
    pub const fn new() -> Self {
        Self {
            cells: Vec::new(),
            heap: Vec::new(),
            types: Vec::new(),
            nullable: Vec::new(),
            again: Vec::new(),
        }
    }

    /// Makes room for a row of `schema` and forgets the row before.
    pub fn reset(&mut self, schema: &Schema) {
        self.cells.clear();
        self.heap.clear();
        if !self.is_for(schema) {
            let columns = schema.columns();
            self.types = columns.iter().map(crate::Column::ty).collect();
            self.nullable = columns.iter().map(crate::Column::is_nullable).collect();
        }
    }

    /// Whether it holds, or can take, a row of `schema`.
    fn is_for(&self, schema: &Schema) -> bool {
        let columns = schema.columns();
        self.types.len() == columns.len()
            && columns.iter().zip(&self.types).all(|(column, ty)| column.ty() == *ty)
            && columns.iter().zip(&self.nullable).all(|(column, nullable)| column.is_nullable() == *nullable)
    }

    /// Whether these are the cells of a whole row of `schema`.
    pub fn is_row_of(&self, schema: &Schema) -> bool {
        self.cells.len() == self.types.len() && self.is_for(schema)
    }

    /// Adds the cell of the next column.
    ///
    /// # Errors
    /// [`ColumnarError::Type`] for a value that is not one of the column's type, [`ColumnarError::NoColumn`] past the
    /// last column and for a null where none may be.
    pub fn push(&mut self, datum: Datum<'_>) -> Result<()> {
        let at = self.cells.len();
        let (Some(&ty), Some(&is_nullable)) = (self.types.get(at), self.nullable.get(at)) else {
            return Err(ColumnarError::NoColumn);
        };
        let stored = match datum.cell(ty)? {
            Cell::Null if !is_nullable => return Err(ColumnarError::Type { ty }),
            Cell::Null => Stored::Null,
            Cell::Word(image) => Stored::Word(image),
            Cell::Wide(bytes) => Stored::Wide(bytes),
            Cell::Bytes(bytes) => {
                let start = self.heap.len();
                self.heap.extend_from_slice(bytes);
                Stored::Bytes { start, end: self.heap.len() }
            }
        };
        self.cells.push(stored);
        Ok(())
    }

    /// The cell of column `idx` of the schema; one that is not there is null.
    pub fn get(&self, idx: usize) -> Datum<'_> {
        let Some(&ty) = self.types.get(idx) else { return Datum::Null };
        match self.cell(idx) {
            Cell::Null => Datum::Null,
            Cell::Word(image) => Datum::from_image(ty, image),
            Cell::Bytes(bytes) => Datum::from_bytes(ty, bytes),
            Cell::Wide(bytes) => match ty {
                crate::ColumnType::U128 => Datum::U128(u128::from_be_bytes(bytes)),
                _ => Datum::I128(crate::native::from_wide_signed(bytes)),
            },
        }
    }

    fn cell(&self, idx: usize) -> Cell<'_> {
        match self.cells.get(idx) {
            None | Some(Stored::Null) => Cell::Null,
            Some(Stored::Word(image)) => Cell::Word(*image),
            Some(Stored::Wide(bytes)) => Cell::Wide(*bytes),
            Some(Stored::Bytes { start, end }) => {
                Cell::Bytes(self.heap.get(*start..*end).unwrap_or_default())
            }
        }
    }

    /// Number of cells.
    pub const fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no cell.
    pub const fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Splits `value` and makes sure that it can be assembled again. `false`: it has to be kept whole.
    pub fn split(&mut self, splitter: &dyn ColumnSplitter, value: &[u8]) -> bool {
        self.reset(splitter.schema());
        if splitter.split(value, self).is_none() || self.cells.len() != self.types.len() {
            return false;
        }
        let mut again = core::mem::take(&mut self.again);
        again.clear();
        let is_same = splitter.assemble(self, &mut again).is_ok() && again == value;
        self.again = again;
        is_same
    }

    /// Appends to `value` the value that has these cells: `splitter` takes it apart into the very same ones.
    ///
    /// * `again`: what it holds does not matter.
    ///
    /// # Errors
    /// [`ColumnarError::Assemble`] where no value has them; then nothing was appended.
    pub fn assemble(
        &self,
        splitter: &dyn ColumnSplitter,
        again: &mut Self,
        value: &mut Vec<u8>,
    ) -> Result<()> {
        let start = value.len();
        let made = if self.is_row_of(splitter.schema()) {
            splitter.assemble(self, value)
        } else {
            Err(ColumnarError::Assemble)
        };
        again.reset(splitter.schema());
        let is_same = made.is_ok()
            && splitter.split(value.get(start..).unwrap_or_default(), again).is_some()
            && again.len() == self.len()
            && (0..self.len()).all(|idx| again.cell(idx) == self.cell(idx));
        if is_same {
            return Ok(());
        }
        value.truncate(start);
        Err(ColumnarError::Assemble)
    }

    /// Adds the cells to the vectors of the schema's columns, in order; rows that were not split are nulls there.
    ///
    /// # Errors
    /// [`ColumnarError::PageTooLarge`] where a vector would pass 4 GiB, [`ColumnarError::NoColumn`] where the number of
    /// vectors is not that of cells.
    pub fn append_to(&self, vectors: &mut [ColumnVector]) -> Result<()> {
        if vectors.len() != self.cells.len() {
            return Err(ColumnarError::NoColumn);
        }
        vectors.iter_mut().enumerate().try_for_each(|(idx, vector)| vector.push_cell(self.cell(idx)))
    }
}
