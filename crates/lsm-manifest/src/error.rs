//! Why a manifest value cannot be built.

use lsm_types::{
    CorruptionKind, EditIndex, ErrorKind, Fault, Level, RouteId, RunId, TableId, TreeId, VlogId,
    reader::ReadError,
};

/// Why an edit does not apply, or bytes do not decode.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The edit names a tree that is not there.
    #[error("edit names tree {tree}, which does not exist")]
    UnknownTree {
        /// The tree.
        tree: TreeId,
    },
    /// The edit creates a tree that exists.
    #[error("edit creates tree {tree}, which exists")]
    TreeExists {
        /// The tree.
        tree: TreeId,
    },
    /// The edit names a table that is not there.
    #[error("edit names table {table}, which is not in tree {tree}")]
    UnknownTable {
        /// The tree.
        tree: TreeId,
        /// The table.
        table: TableId,
    },
    /// The edit adds a table whose number is taken.
    #[error("edit adds table {table}, whose number is taken")]
    TableExists {
        /// The table.
        table: TableId,
    },
    /// The edit puts a table into a run that is not in that level.
    #[error("edit puts table {table} into run {run}, which is not in level {level}")]
    UnknownRun {
        /// The table.
        table: TableId,
        /// Where it was to go.
        level: Level,
        /// Where it was to go.
        run: RunId,
    },
    /// The edit creates a run whose number or place in age is taken.
    #[error("edit creates run {run}, whose number or age is taken")]
    RunExists {
        /// The run.
        run: RunId,
    },
    /// The edit names a level that the tree does not have.
    #[error("edit names level {level} of a tree with {count}")]
    UnknownLevel {
        /// The level.
        level: Level,
        /// Levels of the tree.
        count: u8,
    },
    /// Two tables of one run overlap, or one has no entries but is not alone in its run.
    #[error("run {run} of level {level}: table {table} overlaps its neighbour")]
    Overlap {
        /// The level.
        level: Level,
        /// The run.
        run: RunId,
        /// The table.
        table: TableId,
    },
    /// The edit, or a table, names a value log that is not there.
    #[error("value log {vlog} is not in the tree")]
    UnknownVlog {
        /// The value log.
        vlog: VlogId,
    },
    /// The edit adds a value log whose number is taken.
    #[error("edit adds value log {vlog}, whose number is taken")]
    VlogExists {
        /// The value log.
        vlog: VlogId,
    },
    /// The edit removes a value log that tables refer to.
    #[error("edit removes value log {vlog}, which tables refer to")]
    VlogInUse {
        /// The value log.
        vlog: VlogId,
    },
    /// The edit leaves a value log that nothing refers to, or more references to one than it holds.
    #[error("edit leaves wrong sums of value log {vlog}")]
    VlogSums {
        /// The value log.
        vlog: VlogId,
    },
    /// The edit says that values of a value log are behind all entries that were so before, or that are not there.
    #[error("edit advances the frontier of value log {vlog} to where it cannot lie")]
    VlogFrontier {
        /// The value log.
        vlog: VlogId,
    },
    /// The edit leaves something of a table that cannot be left of it.
    #[error("edit restricts table {table}, but {rule}")]
    Restriction {
        /// The table.
        table: TableId,
        /// What is wrong.
        rule: &'static str,
    },
    /// The edit gives a table a delete vector that it cannot have.
    #[error("edit gives table {table} a delete vector, but {rule}")]
    Vector {
        /// The table.
        table: TableId,
        /// What is wrong.
        rule: &'static str,
    },
    /// Numbers that only grow were to shrink.
    #[error("edit takes {what} back")]
    Regression {
        /// Which number.
        what: &'static str,
    },
    /// The edit adds a value log under a number that was not reserved before.
    #[error("edit adds value log {vlog}, whose number was never reserved")]
    UnreservedVlog {
        /// The value log.
        vlog: VlogId,
    },
    /// The edit adds a table under a number that was not reserved before.
    #[error("edit adds table {table}, whose number was never reserved")]
    Unreserved {
        /// The table.
        table: TableId,
    },
    /// The edit adds a route under a number or an identity that one has.
    #[error("edit adds route {route}, which there is")]
    RouteExists {
        /// The route.
        route: RouteId,
    },
    /// The edit adds a table in a directory that the manifest does not know.
    #[error("edit adds table {table} on route {route}, which there is not")]
    UnknownRoute {
        /// The table.
        table: TableId,
        /// The route.
        route: RouteId,
    },
    /// The edit creates a tree with too few levels.
    #[error("edit creates a tree with {count} levels, 2 are the least")]
    LevelCount {
        /// Levels asked for.
        count: u8,
    },
    /// The edit holds something empty or longer than may be stored.
    #[error("edit holds a {what} of a length that cannot be stored")]
    TooLong {
        /// What it is.
        what: &'static str,
    },
    /// Nobody knows the order of a tree's keys.
    #[error("the comparator of tree {tree} is not at hand")]
    UnknownOrder {
        /// The tree.
        tree: TreeId,
    },
    /// A rule of [`crate::Catalog::check`] is broken.
    #[error("tree {tree}: {rule}")]
    Inconsistent {
        /// The tree.
        tree: TreeId,
        /// The rule, as a statement of what is wrong.
        rule: &'static str,
    },
    /// A record that may not stand at its place.
    #[error("a record stands where {expected} should")]
    OutOfPlace {
        /// What should stand there.
        expected: &'static str,
    },
    /// An edit that does not follow the one before it.
    #[error("an edit follows number {found}, the one before it is number {expected}")]
    Gap {
        /// Index of the edit before it.
        expected: EditIndex,
        /// Index it names.
        found: EditIndex,
    },
    /// The pieces of a snapshot do not add up to what its first or last record says.
    #[error("the snapshot does not have the {what} that it says")]
    Snapshot {
        /// What differs.
        what: &'static str,
    },
    /// A field of a stored record is malformed.
    #[error("record field `{field}` is malformed")]
    Decode {
        /// The field.
        field: &'static str,
    },
    /// Bytes are missing or a length is wrong.
    #[error("record is malformed")]
    Bytes(#[from] ReadError),
    /// A record holds something that this version must, but does not, understand.
    #[error("record holds {what} {tag}, which this version does not understand")]
    UnknownTag {
        /// What kind of thing.
        what: &'static str,
        /// Its tag.
        tag: u64,
    },
}

impl Fault for ManifestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownTag { .. } => ErrorKind::UnsupportedFormat,
            Self::UnknownOrder { .. } => ErrorKind::ComparatorMismatch,
            Self::LevelCount { .. } | Self::TooLong { .. } => ErrorKind::InvalidArgument,
            Self::Decode { .. } | Self::Bytes(_) => ErrorKind::Corruption(CorruptionKind::Decode),
            _ => ErrorKind::Corruption(CorruptionKind::Chain),
        }
    }
}
