//! Columnar tables: row groups in place of data blocks (`docs/format/sst.md`, section 11).
//!
//! ```text
//! data region   ... | directory of group 7 | pages by column, then by part | directory of group 8 | ...
//! index entry         offset, length of the whole group, rows
//! ```
//!
//! An index entry leads to a whole group, so all that works with blocks works with groups: a read of rows takes the
//! group in one piece and makes the block of rows of it that everybody knows ([`DataBlock`](crate::data_block::DataBlock)), which a
//! cache keeps. A point read puts one row together ([`GroupRows`]), until so many of them came that the block is worth it. A scan of columns ([`GroupScan`]) reads the directory alone, and then the pages it asks for.

mod group;
mod options;
mod point;
mod rows;
mod scan;
mod stats;
mod versions;

pub use group::{ColumnPage, GroupSource, RowGroup};
pub use options::{ColumnarOptions, Splitters};
pub use point::{GroupRows, PointRows};
pub use scan::{GroupScan, Versions};
pub use stats::{ColumnProperties, ColumnStats, SplitterId};

pub(crate) use group::GROUP_LEN_MAX;
pub(crate) use stats::Statistics;

use alloc::sync::Arc;

use lsm_columnar::{ColumnSplitter, Schema};

/// What an open columnar table knows about its columns.
#[derive(Clone)]
pub(crate) struct TableColumns {
    /// The columns of the consumer; `None` where all values are opaque.
    pub(crate) schema: Option<Arc<Schema>>,
    /// Puts values together; `None` where none is needed, or the one that is was not given.
    pub(crate) splitter: Option<Arc<dyn ColumnSplitter>>,
}

impl core::fmt::Debug for TableColumns {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let splitter = self.splitter.as_ref().map(|splitter| splitter.name());
        f.debug_struct("TableColumns").field("schema", &self.schema).field("splitter", &splitter).finish()
    }
}
