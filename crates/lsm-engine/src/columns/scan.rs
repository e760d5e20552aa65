//! Scans that answer in columns.

use std::{
    collections::VecDeque,
    iter::FusedIterator,
    ops::{Bound, RangeBounds},
};

use lsm_columnar::{BoundPredicate, ColumnId, ColumnType, ColumnarError, Predicate};
use lsm_types::{Error, Result};

use super::{
    ColumnBatch, ColumnPolicy,
    group::GroupRows,
    plan::{Piece, Plan},
    rows::RowScan,
};
use crate::{
    EngineError, View,
    prefix_scan::{Bounds, owned_bounds},
};

/// Rows of a batch when nothing is said.
pub const BATCH_ROWS_DEFAULT: usize = 4096;

/// Most rows of a batch.
pub const BATCH_ROWS_MAX: usize = 65_536;

/// Bytes of values after which a batch is closed, however few rows it has.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// Which columns of which rows a scan is to find.
///
/// Columns are named by their ids; besides those of the tree's newest schema there are [`ColumnId::KEY`], the user's
/// key, and [`ColumnId::OPAQUE`], the whole value of a row that no splitter took, null in others.
#[derive(Clone, Debug)]
pub struct ColumnScan<'p> {
    columns: Vec<ColumnId>,
    predicate: Option<Predicate<'p>>,
    bounds: Bounds,
    is_reverse: bool,
    limit: u64,
    batch_rows: usize,
}

impl<'p> ColumnScan<'p> {
    /// These columns of all rows, in the order of keys. Without columns rows are only counted.
    pub fn new(columns: impl IntoIterator<Item = ColumnId>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            predicate: None,
            bounds: (Bound::Unbounded, Bound::Unbounded),
            is_reverse: false,
            limit: u64::MAX,
            batch_rows: BATCH_ROWS_DEFAULT,
        }
    }

    /// Only rows for which this is true; where it is unknown because of nulls, they are left out. It may name other
    /// columns than those that are wanted.
    pub fn filter(mut self, predicate: Predicate<'p>) -> Self {
        self.predicate = Some(predicate);
        self
    }

    /// Only keys within `bounds`.
    pub fn range<K: AsRef<[u8]>>(mut self, bounds: impl RangeBounds<K>) -> Self {
        self.bounds = owned_bounds(&bounds);
        self
    }

    /// From the last key to the first.
    pub fn reverse(mut self) -> Self {
        self.is_reverse = true;
        self
    }

    /// At most so many rows, the first ones in the direction of the scan.
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = rows;
        self
    }

    /// Rows of a batch, 1 to [`BATCH_ROWS_MAX`]. Default: [`BATCH_ROWS_DEFAULT`]. The last batch may have fewer, as may
    /// those of long values.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }
}

/// What a scan comes to once it is held against a schema.
pub(crate) struct Wanted {
    pub(crate) columns: Vec<Projected>,
    pub(crate) predicate: Option<BoundPredicate>,
    pub(crate) batch_rows: usize,
}

/// Where a column that is wanted comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Projected {
    Key,
    Opaque,
    /// A column of the schema, by its place there.
    Column(usize),
}

/// Batches of rows as columns, in the order of the scan, none of them empty.
///
/// It owns its view, as an iterator of entries does. After an error it is finished, unless the operands of a key could
/// not be folded, or its separated value not be fetched: that is an error of this key, yielded once and in its place.
pub struct ColumnBatches {
    view: View,
    policy: ColumnPolicy,
    way: Way,
    wanted: Wanted,
    batch: ColumnBatch,
    /// Comes behind the batch that was yielded last.
    failed: VecDeque<Error>,
    /// Rows that may still come.
    left: u64,
    is_finished: bool,
}

/// How the rows are come by.
enum Way {
    /// All as rows.
    Rows(Box<RowScan>),
    /// As rows and as row groups, by turns.
    Mixed { plan: Box<Plan>, piece: Current },
}

/// What is read just now.
enum Current {
    Nothing,
    Rows(Box<RowScan>),
    Group(GroupRows),
}

impl ColumnBatches {
    pub(crate) fn new(view: &View, scan: &ColumnScan<'_>) -> Result<Self> {
        let Some(policy) = view.tree.columns.as_ref() else { return Err(EngineError::NoColumns.into()) };
        if !(1..=BATCH_ROWS_MAX).contains(&scan.batch_rows) {
            let problem = "has to be 1 to 65,536";
            return Err(EngineError::InvalidArgument { argument: "batch_rows", problem }.into());
        }
        let schema = policy.schema();
        let predicate = scan.predicate.as_ref().map(|predicate| predicate.bind(schema)).transpose()?;
        let columns = scan.columns.iter().map(|id| projected(policy, *id)).collect::<Result<Vec<_>>>()?;
        let types = columns.iter().zip(&scan.columns).map(|(projected, id)| (*id, ty_of(policy, *projected)));
        let batch = ColumnBatch::new(types);
        let wanted = Wanted { columns, predicate, batch_rows: scan.batch_rows };
        let plan = if scan.is_reverse { None } else { Plan::new(view, policy, &scan.bounds) };
        let way = match plan {
            Some(plan) => Way::Mixed { plan: Box::new(plan), piece: Current::Nothing },
            None => Way::Rows(Box::new(RowScan::new(view, policy, scan.bounds.clone(), scan.is_reverse))),
        };
        Ok(Self {
            view: view.clone(),
            policy: policy.clone(),
            way,
            wanted,
            batch,
            failed: VecDeque::new(),
            left: scan.limit,
            is_finished: false,
        })
    }

    /// The next batch, lent; its memory is used again for the one after it.
    ///
    /// # Errors
    /// What reading finds: see [`ColumnBatches`].
    pub fn advance(&mut self) -> Result<Option<&ColumnBatch>> {
        if let Some(error) = self.failed.pop_front() {
            return Err(error);
        }
        self.batch.clear();
        if self.is_finished || self.left == 0 {
            return Ok(None);
        }
        if let Err(error) = self.fill() {
            if self.batch.rows() == 0 {
                return Err(error);
            }
            self.failed.push_back(error);
        }
        self.left = self.left.saturating_sub(self.batch.rows() as u64);
        Ok(if self.batch.rows() == 0 { None } else { Some(&self.batch) })
    }
}

impl ColumnBatches {
    /// Fills the batch, or finishes.
    fn fill(&mut self) -> Result<()> {
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.wanted.batch_rows);
        let Self { view, policy, way, wanted, batch, is_finished, .. } = self;
        let (plan, piece) = match way {
            Way::Rows(rows) => {
                let filled = rows.fill(wanted, limit, batch);
                *is_finished = rows.is_finished();
                return filled;
            }
            Way::Mixed { plan, piece } => (plan, piece),
        };
        // Whatever fails below but a key by itself is the end.
        *is_finished = true;
        while batch.rows() < limit && batch.heap_bytes() < BATCH_BYTES_MAX {
            match piece {
                Current::Nothing => {
                    *piece = match plan.next(wanted.predicate.as_ref())? {
                        Piece::Rows(bounds) => {
                            Current::Rows(Box::new(RowScan::new(view, policy, bounds, false)))
                        }
                        Piece::Group(rows) => Current::Group(rows),
                        Piece::End => return Ok(()),
                    };
                }
                Current::Rows(rows) => {
                    let filled = rows.fill(wanted, limit, batch);
                    if filled.is_err() {
                        *is_finished = rows.is_finished();
                        return filled;
                    }
                    if rows.is_finished() {
                        *piece = Current::Nothing;
                    }
                }
                Current::Group(rows) => {
                    let Some(groups) = plan.groups() else {
                        return Err(EngineError::Bug { invariant: "a group that is read has a table" }.into());
                    };
                    if !rows.gather(groups, policy.schema(), wanted, limit, batch)? {
                        *piece = Current::Nothing;
                    }
                }
            }
        }
        *is_finished = false;
        Ok(())
    }
}

impl Iterator for ColumnBatches {
    type Item = Result<ColumnBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(None) => None,
            Ok(Some(_)) => Some(Ok(self.batch.take())),
            Err(error) => Some(Err(error)),
        }
    }
}

impl FusedIterator for ColumnBatches {}

impl std::fmt::Debug for ColumnBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColumnBatches").field("is_finished", &self.is_finished).finish_non_exhaustive()
    }
}

fn projected(policy: &ColumnPolicy, id: ColumnId) -> Result<Projected> {
    match id {
        ColumnId::KEY => Ok(Projected::Key),
        ColumnId::OPAQUE => Ok(Projected::Opaque),
        id => {
            let place = policy.schema().position(id).ok_or(ColumnarError::NoColumn)?;
            Ok(Projected::Column(place))
        }
    }
}

fn ty_of(policy: &ColumnPolicy, projected: Projected) -> ColumnType {
    match projected {
        Projected::Key | Projected::Opaque => ColumnType::Bytes,
        Projected::Column(at) => {
            policy.schema().columns().get(at).map_or(ColumnType::Bytes, lsm_columnar::Column::ty)
        }
    }
}
