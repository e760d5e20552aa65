//! What a scan in columns answers with, and what an ingestion takes.

use lsm_columnar::{ColumnId, ColumnVector};
use lsm_types::Result;

use crate::EngineError;

/// Rows as columns. A scan answers with those that satisfy the predicate, and no others, gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnBatch {
    rows: usize,
    columns: Vec<(ColumnId, ColumnVector)>,
}

impl ColumnBatch {
    pub(crate) fn new(columns: impl IntoIterator<Item = (ColumnId, lsm_columnar::ColumnType)>) -> Self {
        let columns = columns.into_iter().map(|(id, ty)| (id, ColumnVector::new(ty))).collect();
        Self { rows: 0, columns }
    }

    /// A batch of these columns.
    ///
    /// # Errors
    /// `InvalidArgument` where they have not all the same number of rows.
    pub fn from_columns(columns: Vec<(ColumnId, ColumnVector)>) -> Result<Self> {
        let rows = columns.first().map_or(0, |(_, vector)| vector.len());
        match columns.iter().find(|(_, vector)| vector.len() != rows) {
            Some((column, _)) => {
                let problem = "has another number of rows than the first";
                Err(EngineError::BatchColumn { column: *column, problem }.into())
            }
            None => Ok(Self { rows, columns }),
        }
    }

    /// The columns by value, in the order that was asked for.
    pub fn into_columns(self) -> Vec<(ColumnId, ColumnVector)> {
        self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in the order that was asked for, all of them as long as there are rows.
    pub fn columns(&self) -> &[(ColumnId, ColumnVector)] {
        &self.columns
    }

    /// The first column with this id; `None` for one that was not asked for.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnVector> {
        self.columns.iter().find(|(column, _)| *column == id).map(|(_, vector)| vector)
    }

    /// Bytes of memory that the values take, about.
    pub fn heap_bytes(&self) -> usize {
        self.columns.iter().map(|(_, vector)| vector.heap_bytes()).sum()
    }

    /// Forgets the rows, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
        self.columns.iter_mut().for_each(|(_, vector)| vector.clear());
    }

    /// The rows, and nothing stays.
    pub(crate) fn take(&mut self) -> Self {
        let types = self.columns.iter().map(|(id, vector)| (*id, vector.ty()));
        let empty = Self::new(types);
        std::mem::replace(self, empty)
    }

    pub(crate) fn vectors_mut(&mut self) -> impl Iterator<Item = &mut ColumnVector> {
        self.columns.iter_mut().map(|(_, vector)| vector)
    }

    /// So many rows were added to every column.
    pub(crate) fn added(&mut self, rows: usize) {
        self.rows += rows;
        debug_assert!(self.columns.iter().all(|(_, vector)| vector.len() == self.rows), "columns are even");
    }
}
