//! The cells of a value: what a scan takes a row for, wherever the value lies.
//!
//! The first splitter, from the newest on, that takes the value says what its cells are; columns that its schema does
//! not have read as their default, or as null. A value that no splitter takes has nulls only, and is had whole as
//! [`ColumnId::OPAQUE`].

use std::sync::Arc;

use lsm_columnar::{ColumnId, ColumnSplitter, Datum, RowCells, Schema};

use super::ColumnPolicy;

/// Splits one value after the other.
pub(crate) struct ValueCells {
    policy: ColumnPolicy,
    splitters: Vec<Mapped>,
    row: RowCells,
    /// Which of the splitters took the value.
    taken_by: Option<usize>,
}

/// A splitter, and where its schema has the columns of the newest one.
struct Mapped {
    splitter: Arc<dyn ColumnSplitter>,
    places: Vec<Option<usize>>,
}

impl ValueCells {
    pub(crate) fn new(policy: &ColumnPolicy) -> Self {
        let splitters = policy.splitters().map(|splitter| {
            let columns = policy.schema().columns().iter();
            let places = columns.map(|column| splitter.schema().position(column.id())).collect();
            Mapped { splitter: splitter.clone(), places }
        });
        let splitters = splitters.collect();
        Self { policy: policy.clone(), splitters, row: RowCells::new(), taken_by: None }
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.policy.schema()
    }

    /// Takes the next value; whether it was split.
    pub(crate) fn split(&mut self, value: &[u8]) -> bool {
        let Self { splitters, row, .. } = self;
        self.taken_by = splitters.iter().position(|mapped| row.split(mapped.splitter.as_ref(), value));
        self.taken_by.is_some()
    }

    /// The cell in the column of the newest schema that stands at `at`.
    pub(crate) fn at(&self, at: usize) -> Datum<'_> {
        let Some(mapped) = self.taken_by.and_then(|taken_by| self.splitters.get(taken_by)) else {
            return Datum::Null;
        };
        match mapped.places.get(at).copied().flatten() {
            Some(place) => self.row.get(place),
            None => self.schema().columns().get(at).map_or(Datum::Null, lsm_columnar::Column::default),
        }
    }

    /// The cell in a column of the newest schema.
    pub(crate) fn of(&self, column: ColumnId) -> Datum<'_> {
        self.schema().position(column).map_or(Datum::Null, |at| self.at(at))
    }
}
