//! How a columnar table is written, and what it takes to read one.

use alloc::{sync::Arc, vec::Vec};

use lsm_columnar::{ColumnSplitter, Schema};
use lsm_types::check_name;

use super::SplitterId;
use crate::{Result, SstError};

/// How values are laid out in columns.
#[derive(Clone)]
pub struct ColumnarOptions {
    /// What splits values; without one they are kept whole in one column.
    pub splitter: Option<Arc<dyn ColumnSplitter>>,
    /// A row group is closed by the entry that brings its keys and values to this many bytes.
    pub group_bytes: usize,
    /// The same for its rows.
    pub group_rows: usize,
    /// Rows of a page: a group is cut into parts of so many.
    pub part_rows: u16,
}

impl Default for ColumnarOptions {
    fn default() -> Self {
        Self { splitter: None, group_bytes: 64 << 10, group_rows: 64 << 10, part_rows: 16 << 10 }
    }
}

impl core::fmt::Debug for ColumnarOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ColumnarOptions")
            .field("splitter", &self.splitter.as_ref().map(|splitter| splitter.name()))
            .field("group_bytes", &self.group_bytes)
            .field("group_rows", &self.group_rows)
            .field("part_rows", &self.part_rows)
            .finish()
    }
}

/// Most bytes of keys and values after which a group is closed.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Most rows of a group.
const GROUP_ROWS_MAX: usize = 1 << 20;

impl ColumnarOptions {
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |setting| Err(SstError::Setting { setting }.into());
        if self.group_bytes == 0 || self.group_bytes > GROUP_BYTES_MAX {
            return wrong("columnar.group_bytes");
        }
        if self.group_rows == 0 || self.group_rows > GROUP_ROWS_MAX {
            return wrong("columnar.group_rows");
        }
        // Parts are counted in 16 bits.
        if self.part_rows == 0 || self.group_rows.div_ceil(self.part_rows.into()) > usize::from(u16::MAX) {
            return wrong("columnar.part_rows");
        }
        self.splitter.as_ref().map_or(Ok(()), |splitter| check_name(splitter.name()))
    }
}

/// The splitters a reader has. A table's values are put together by the one that took them apart: the one with its name,
/// version and schema.
#[derive(Clone, Default)]
pub struct Splitters(Vec<Arc<dyn ColumnSplitter>>);

impl Splitters {
    /// These splitters; of two with the same name, version and schema the first is used.
    pub fn new(splitters: Vec<Arc<dyn ColumnSplitter>>) -> Self {
        Self(splitters)
    }

    /// The splitter of a table.
    pub(crate) fn find(&self, id: &SplitterId, schema: &Schema) -> Option<Arc<dyn ColumnSplitter>> {
        let is_it = |splitter: &&Arc<dyn ColumnSplitter>| {
            splitter.name() == id.name && splitter.version() == id.version && splitter.schema() == schema
        };
        self.0.iter().find(is_it).cloned()
    }
}

impl core::fmt::Debug for Splitters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names =
            self.0.iter().map(|splitter| (splitter.name(), splitter.version(), splitter.schema().id()));
        f.debug_list().entries(names).finish()
    }
}
