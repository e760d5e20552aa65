//! What the values of a tree are split into, and where they are stored that way.

use std::{fmt, sync::Arc};

use lsm_columnar::{ColumnSplitter, Schema};
use lsm_table::{ColumnScheme, ColumnarOptions};
use lsm_types::{Level, Result, check_name};

use crate::EngineError;

/// Which tables of a tree store columns. Reads, and everything else, answer the same whatever it says, and it may change
/// from open to open: a table stays as it is until it is rewritten.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ColumnLayout {
    /// None: columns are split out of the values while they are scanned.
    #[default]
    Row,
    /// All.
    Columnar,
    /// Those written for this level and deeper ones.
    ColumnarFrom(Level),
}

impl ColumnLayout {
    /// Tables for this level and deeper ones store columns.
    fn first_level(self) -> Option<Level> {
        match self {
            Self::Row => None,
            Self::Columnar => Some(Level::new(0)),
            Self::ColumnarFrom(first) => Some(first),
        }
    }
}

/// What the values of a tree are split into, by whom, and which tables store them so.
#[derive(Clone)]
pub struct ColumnPolicy {
    splitter: Arc<dyn ColumnSplitter>,
    /// Newest first.
    older: Vec<Arc<dyn ColumnSplitter>>,
    layout: ColumnLayout,
    groups: ColumnarOptions,
}

impl ColumnPolicy {
    /// Values are split by `splitter`, into the columns of its schema. Tables store rows until [`ColumnPolicy::layout`]
    /// says something else.
    pub fn new(splitter: Arc<dyn ColumnSplitter>) -> Self {
        let groups = ColumnarOptions::default();
        Self { splitter, older: Vec::new(), layout: ColumnLayout::default(), groups }
    }

    /// A splitter of an earlier schema of the tree, for values that were written for it. Needed as long as there are
    /// columnar tables of that schema; elsewhere values that only it takes have cells instead of nulls.
    ///
    /// A later splitter has to read a value that an earlier one takes as that one does, or to decline it.
    pub fn older(mut self, splitter: Arc<dyn ColumnSplitter>) -> Self {
        self.older.push(splitter);
        self.older.sort_by_key(|splitter| std::cmp::Reverse(splitter.schema().id()));
        self
    }

    /// Which tables store columns. Default: [`ColumnLayout::Row`].
    pub fn layout(mut self, layout: ColumnLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Bytes of keys and values, and rows, after which a row group is closed. Default: what [`ColumnarOptions`] says.
    pub fn groups(mut self, bytes: usize, rows: usize) -> Self {
        (self.groups.group_bytes, self.groups.group_rows) = (bytes, rows);
        self
    }

    /// Rows of a page of a column: what a point read takes of it, and what zones tell about. Default: what
    /// [`ColumnarOptions`] says.
    pub fn page_rows(mut self, rows: u16) -> Self {
        self.groups.part_rows = rows;
        self
    }

    /// How tables are written, and what it takes to read them.
    pub(crate) fn scheme(&self) -> ColumnScheme {
        let splitter = Some(self.splitter.clone());
        ColumnScheme {
            from_level: self.layout.first_level(),
            columnar: ColumnarOptions { splitter, ..self.groups.clone() },
            former: self.older.clone(),
        }
    }

    /// The schema that values are split into.
    pub fn schema(&self) -> &Schema {
        self.splitter.schema()
    }

    /// The splitter of the newest schema.
    pub(crate) fn splitter(&self) -> &dyn ColumnSplitter {
        self.splitter.as_ref()
    }

    /// The splitters, that of the newest schema first.
    pub(crate) fn splitters(&self) -> impl DoubleEndedIterator<Item = &Arc<dyn ColumnSplitter>> {
        std::iter::once(&self.splitter).chain(&self.older)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.splitters().try_for_each(|splitter| check_name(splitter.name()))?;
        let mut newest_first = self.splitters().map(|splitter| splitter.schema());
        let Some(mut newer) = newest_first.next() else { return Ok(()) };
        for schema in newest_first {
            if schema.id() >= newer.id() {
                return Err(EngineError::SchemaMismatch {
                    stored: None,
                    supplied: schema.id(),
                    problem: "schemas of older splitters have lower numbers, each its own",
                }
                .into());
            }
            if schema.id() + 1 == newer.id() {
                super::stored::check_follows(schema, newer)?;
            }
            newer = schema;
        }
        Ok(())
    }
}

impl fmt::Debug for ColumnPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnPolicy")
            .field("splitter", &self.splitter.name())
            .field("schema", &self.schema().id())
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
