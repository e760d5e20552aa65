//! What can go wrong: a schema or a value that breaks the rules, and anything at all in bytes of unknown origin.

use lsm_types::{CorruptionKind, ErrorKind, Fault};

use crate::{ColumnId, ColumnType, PageStamp};

/// Which rule a schema breaks.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemaFault {
    /// Columns stand in the order of their ids, each id once.
    #[error("ids of columns have to ascend")]
    Order,
    /// Ids below 16 belong to the engine, and those from `next_column` on are not given out yet.
    #[error("the id is not one of a column of the consumer")]
    Id,
    /// Names take 1 to 255 bytes.
    #[error("a name takes 1 to 255 bytes")]
    Name,
    /// No two columns have one name.
    #[error("the name is taken")]
    NameTaken,
    /// At most 1,024 columns.
    #[error("more than 1024 columns")]
    Count,
    /// Fixed widths and digits of decimals have bounds.
    #[error("the type's width or digits are out of bounds")]
    Type,
    /// A default is a value of the column's type; only a nullable column may do without one once rows exist.
    #[error("the default does not fit the column")]
    Default,
    /// A column keeps type and nullability for ever, and a dropped id is never given out again.
    #[error("a column may not change its type, and an id is used once")]
    Reuse,
}

/// Why columns could not be built or read.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ColumnarError {
    /// A field contradicts the others or the length.
    #[error("field `{field}` of a {what} does not fit")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// Name of the field, as the format page has it.
        field: &'static str,
    },
    /// A newer or foreign form: not damaged, only unknown here.
    #[error("field `{field}` of a {what} holds {value}, which this version does not know")]
    Unsupported {
        /// Which structure.
        what: &'static str,
        /// Name of the field, as the format page has it.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A page that belongs elsewhere.
    #[error("a page of {found:?} stands where that of {expected:?} belongs")]
    Misplaced {
        /// Place the directory names.
        expected: PageStamp,
        /// Place the page names.
        found: PageStamp,
    },
    /// The schema breaks a rule.
    #[error("column {column} of the schema: {fault}")]
    Schema {
        /// The column, by its id.
        column: ColumnId,
        /// Which rule.
        fault: SchemaFault,
    },
    /// No column has this name or id.
    #[error("the schema has no such column")]
    NoColumn,
    /// A value is not one of its column's type.
    #[error("the value is not one of type {ty:?}")]
    Type {
        /// The column's type.
        ty: ColumnType,
    },
    /// A null in a column that takes none.
    #[error("column {column} takes no null")]
    Null {
        /// The column.
        column: ColumnId,
    },
    /// A page may decode to 256 MiB and hold 65,536 rows at most.
    #[error("a page of {rows} rows and {bytes} bytes is too large")]
    PageTooLarge {
        /// Rows wanted.
        rows: usize,
        /// Bytes wanted.
        bytes: usize,
    },
    /// A list of values in a predicate holds 1,024 at most.
    #[error("a list of {count} values is too long")]
    ListTooLong {
        /// Values given.
        count: usize,
    },
    /// Cells that no value can be made of.
    #[error("the splitter cannot assemble a value from these cells")]
    Assemble,
    /// A row ordinal outside the table.
    #[error("row {row} lies outside a table of {rows} rows")]
    Row {
        /// The row.
        row: u64,
        /// Rows of the table.
        rows: u64,
    },
}

impl Fault for ColumnarError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } | Self::Assemble => ErrorKind::Corruption(CorruptionKind::Decode),
            Self::Misplaced { .. } => ErrorKind::Corruption(CorruptionKind::Misplaced),
            Self::Unsupported { .. } => ErrorKind::UnsupportedFormat,
            Self::Schema { .. } => ErrorKind::InvalidConfig,
            Self::PageTooLarge { .. } => ErrorKind::ValueTooLarge,
            Self::NoColumn
            | Self::Type { .. }
            | Self::Null { .. }
            | Self::ListTooLong { .. }
            | Self::Row { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// Result with this crate's error.
pub type Result<T, E = ColumnarError> = core::result::Result<T, E>;
