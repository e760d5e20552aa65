//! The way through rows: right for any tree at any time, and what the way through columns is held against.
//!
//! Entries come merged and resolved, as from any other scan. Only then are they split and asked: a version that is
//! hidden is never seen, so a predicate cannot bring one back (F-117).

use std::ops::Bound;

use lsm_columnar::Datum;
use lsm_types::{Result, Slice};

use super::{
    ColumnBatch, ColumnPolicy,
    cells::ValueCells,
    scan::{BATCH_BYTES_MAX, Projected, Wanted},
};
use crate::{Range, View};

/// Entries of a range, split one by one.
pub(crate) struct RowScan {
    range: Range,
    is_reverse: bool,
    is_finished: bool,
    cells: ValueCells,
}

impl RowScan {
    pub(crate) fn new(
        view: &View,
        policy: &ColumnPolicy,
        bounds: (Bound<Slice>, Bound<Slice>),
        is_reverse: bool,
    ) -> Self {
        let (range, cells) = (Range::new(view, bounds), ValueCells::new(policy));
        Self { range, is_reverse, is_finished: false, cells }
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Adds rows to `batch` until that has `limit` rows or very long ones, or the range ends.
    ///
    /// # Errors
    /// What reading finds; what `batch` holds then comes before it.
    pub(crate) fn fill(&mut self, wanted: &Wanted, limit: usize, batch: &mut ColumnBatch) -> Result<()> {
        let mut bytes = 0;
        while batch.rows() < limit && bytes < BATCH_BYTES_MAX {
            let entry = if self.is_reverse { self.range.advance_back() } else { self.range.advance() };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.is_finished = self.range.is_finished();
                    return Err(error);
                }
            };
            let Some(entry) = entry else {
                self.is_finished = true;
                break;
            };
            let is_split = self.cells.split(entry.value);
            let cells = &self.cells;
            if wanted.predicate.as_ref().is_some_and(|predicate| !predicate.holds(|id| cells.of(id))) {
                continue;
            }
            for (column, vector) in wanted.columns.iter().zip(batch.vectors_mut()) {
                vector.push(match column {
                    Projected::Key => Datum::Bytes(entry.key),
                    Projected::Opaque if is_split => Datum::Null,
                    Projected::Opaque => Datum::Bytes(entry.value),
                    Projected::Column(at) => cells.at(*at),
                })?;
            }
            batch.added(1);
            bytes += entry.key.len() + entry.value.len();
        }
        Ok(())
    }
}
