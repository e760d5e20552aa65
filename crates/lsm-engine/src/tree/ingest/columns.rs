//! Batches of columns into tables: rows that were never put together as values by whoever brings them.
//!
//! A row has the cells of its value (`docs/adr/0031`), so a batch says which values it means, by the splitter of the newest
//! schema: the one value that this takes apart into the very cells of the row. All of a batch is looked at before any of it
//! is written, and a columnar table gets the cells as they came.

use lsm_columnar::{Column, ColumnId, ColumnType, ColumnVector, Datum, RowCells, Schema};
use lsm_types::{Error, Kind, Result, Slice, check_entry};

use super::{CHECK_EVERY, Ingestion};
use crate::{ColumnBatch, EngineError};

/// The values of a batch, one after the other; kept for its memory.
#[derive(Default)]
pub(super) struct Values {
    heap: Vec<u8>,
    ends: Vec<usize>,
}

impl Values {
    fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|row| self.ends.get(row)).copied().unwrap_or(0);
        let end = self.ends.get(row).copied().unwrap_or(start);
        self.heap.get(start..end).unwrap_or_default()
    }
}

impl Ingestion {
    /// Puts the rows of a batch, whose keys ascend and come behind everything before: what a scan in columns of another tree
    /// answers with, or what was made with [`ColumnBatch::from_columns`].
    ///
    /// * `batch`: has [`ColumnId::KEY`], and columns of the newest schema; one that is not there has its default, or null,
    ///   in all rows. A row that has bytes in [`ColumnId::OPAQUE`] has these as its value, and no other cell. From a tree with
    ///   values that no splitter takes, a scan has to ask for that column, too.
    ///
    /// # Errors
    /// `InvalidArgument` for a tree without columns, a column that the schema does not have or has with another type, a null
    /// where none may be, and cells that no value has; `OutOfOrder`, `InvalidKey`, `ValueTooLarge`, `EntryTooLarge`,
    /// `Cancelled`: nothing of the batch was taken, and another may come. Others end the ingestion.
    pub fn put_columns(&mut self, batch: &ColumnBatch) -> Result<()> {
        self.check_usable()?;
        self.check_going_on()?;
        let Some(policy) = self.tree.columns.clone() else { return Err(EngineError::NoColumns.into()) };
        let columns = Columns::new(batch, policy.schema())?;
        let mut values = std::mem::take(&mut self.values);
        let mut cells = RowCells::new();
        let outcome = self.check_rows(&columns, policy.splitter(), &mut cells, &mut values);
        let outcome = outcome.and_then(|()| {
            self.guard(|this| {
                (0..columns.rows()).try_for_each(|row| {
                    if this.entries.is_multiple_of(CHECK_EVERY) {
                        this.check_going_on()?;
                    }
                    let cells = columns.load(row, &mut cells)?.then_some(&cells);
                    this.append(columns.key(row), Kind::Put, values.get(row), cells)
                })
            })
        });
        self.values = values;
        outcome
    }

    /// Makes the values of all rows, none of which is refused later for what it is.
    fn check_rows(
        &self,
        columns: &Columns<'_>,
        splitter: &dyn lsm_columnar::ColumnSplitter,
        cells: &mut RowCells,
        values: &mut Values,
    ) -> Result<()> {
        values.heap.clear();
        values.ends.clear();
        let mut again = RowCells::new();
        for row in 0..columns.rows() {
            let start = values.heap.len();
            if columns.load(row, cells)? {
                let refused = |_| refuse(row, None, "has cells that no value of the splitter has");
                cells.assemble(splitter, &mut again, &mut values.heap).map_err(refused)?;
            } else {
                values.heap.extend_from_slice(columns.whole(row));
            }
            values.ends.push(values.heap.len());
            let key = columns.key(row);
            check_entry(key, values.heap.len() - start)?;
            match row.checked_sub(1).map(|before| columns.key(before)) {
                None => self.check_order(key)?,
                Some(previous) if self.tree.order.compare(previous, key).is_ge() => {
                    let (previous, offending) = (Slice::copy_from(previous), Slice::copy_from(key));
                    return Err(EngineError::OutOfOrder { previous, offending }.into());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The columns of a batch, by their places in the schema.
struct Columns<'b> {
    schema: &'b Schema,
    keys: &'b ColumnVector,
    opaque: Option<&'b ColumnVector>,
    cells: Vec<Cells<'b>>,
}

/// The cells of one column.
enum Cells<'b> {
    Given(ColumnId, &'b ColumnVector),
    /// All alike, if they may be.
    Missing(ColumnId, Datum<'b>),
}

impl<'b> Columns<'b> {
    fn new(batch: &'b ColumnBatch, schema: &'b Schema) -> Result<Self> {
        let wrong = |column, problem| Error::from(EngineError::BatchColumn { column, problem });
        for (nth, (column, vector)) in batch.columns().iter().enumerate() {
            let ty = match *column {
                ColumnId::KEY | ColumnId::OPAQUE => Some(ColumnType::Bytes),
                column => schema.position(column).and_then(|at| schema.columns().get(at)).map(Column::ty),
            };
            match ty {
                None => return Err(wrong(*column, "is not one of the tree's newest schema")),
                Some(ty) if ty != vector.ty() => {
                    return Err(wrong(*column, "has another type than the schema says"));
                }
                Some(_) if batch.columns().iter().take(nth).any(|(other, _)| other == column) => {
                    return Err(wrong(*column, "stands there twice"));
                }
                Some(_) => {}
            }
        }
        let Some(keys) = batch.column(ColumnId::KEY) else {
            return Err(wrong(ColumnId::KEY, "is missing: rows have keys"));
        };
        let opaque = batch.column(ColumnId::OPAQUE);
        let cells = schema.columns().iter().map(|column| match batch.column(column.id()) {
            Some(vector) => Cells::Given(column.id(), vector),
            None => Cells::Missing(column.id(), column.default()),
        });
        Ok(Self { schema, keys, opaque, cells: cells.collect() })
    }

    fn rows(&self) -> usize {
        self.keys.len()
    }

    /// The key of a row; empty, which no key is, for one that has none.
    fn key(&self, row: usize) -> &'b [u8] {
        bytes(self.keys, row)
    }

    /// The value of a row that is kept whole.
    fn whole(&self, row: usize) -> &'b [u8] {
        self.opaque.map_or(&[], |opaque| bytes(opaque, row))
    }

    /// Puts the cells of a row in place of those in `into`; `false` for a row whose value is kept whole.
    fn load(&self, row: usize, into: &mut RowCells) -> Result<bool> {
        let given = self.cells.iter().filter_map(|cells| match cells {
            Cells::Given(column, vector) => Some((*column, *vector)),
            Cells::Missing(..) => None,
        });
        if self.opaque.is_some_and(|opaque| opaque.is_valid(row)) {
            return match given.into_iter().find(|(_, vector)| vector.is_valid(row)) {
                Some((column, _)) => {
                    Err(refuse(row, Some(column), "has a cell beside a value that is kept whole"))
                }
                None => Ok(false),
            };
        }
        into.reset(self.schema);
        for cells in &self.cells {
            match cells {
                Cells::Missing(column, datum) => into.push(*datum).map_err(|_| {
                    let problem = "is missing, and has neither a default nor nulls";
                    EngineError::BatchColumn { column: *column, problem }
                })?,
                Cells::Given(column, vector) => {
                    let datum = vector.get(row);
                    let problem =
                        if datum.is_null() { "takes no null" } else { "has a value of another type" };
                    into.push(datum).map_err(|_| refuse(row, Some(*column), problem))?;
                }
            }
        }
        Ok(true)
    }
}

#[cold]
fn refuse(row: usize, column: Option<ColumnId>, problem: &'static str) -> Error {
    EngineError::BatchRow { row, column, problem }.into()
}

fn bytes(vector: &ColumnVector, row: usize) -> &[u8] {
    match vector.get(row) {
        Datum::Bytes(bytes) => bytes,
        _ => &[],
    }
}
