//! Typed columns over the values of a tree: what they are split into, and scans that answer in columns (F-106 to F-119).
//!
//! A tree that is opened with a [`ColumnPolicy`] has a schema. [`ColumnScan`] names columns of it, a predicate on them
//! and a range of keys; [`Reader::scan_columns`](crate::Reader::scan_columns) answers with batches of typed vectors.
//! What a row's cells are depends on its value alone, never on where that lies: so a scan finds the same in memtables,
//! row tables and columnar tables. One way is right for all of them, through rows; row groups that nothing else overlaps are
//! read by columns instead, as far as columns are asked for.

mod batch;
mod cells;
mod group;
mod keys;
mod others;
mod plan;
mod policy;
mod rows;
mod scan;
mod stored;

pub use batch::ColumnBatch;
pub use policy::{ColumnLayout, ColumnPolicy};
pub use scan::{BATCH_ROWS_DEFAULT, BATCH_ROWS_MAX, ColumnBatches, ColumnScan};

pub(crate) use stored::{check_schemas, new_schemas};
