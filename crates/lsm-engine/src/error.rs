//! What the engine itself refuses or finds broken.

use std::path::PathBuf;

use lsm_columnar::ColumnId;
use lsm_compaction_planner::Shortage;
use lsm_types::{
    CorruptionKind, Error, ErrorKind, Fault, FileKind, FileUuid, RouteId, SeqNo, Slice, TableId, TreeId,
};

use crate::LostFile;

/// Errors of the engine's own rules; errors of the layers below pass through unchanged.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A write carries a number that no write may carry.
    #[error("sequence number {seqno} is out of range for {what}; writes carry 0 to 2^63 - 2")]
    SeqNoOutOfRange {
        /// The number.
        seqno: SeqNo,
        /// What it was for.
        what: &'static str,
    },
    /// A write comes in below a read that is promised to stay the same.
    #[error("a write at {seqno} would change what reads below {bound} see; number writes above it")]
    BelowSnapshot {
        /// Number of the write.
        seqno: SeqNo,
        /// Highest registered read, or the watermark.
        bound: SeqNo,
    },
    /// An ingestion is numbered like writes that are there, or below them.
    #[error(
        "an ingestion at {seqno} would be older than the write at {existing}; choose a higher number, or backfill"
    )]
    SeqNoTooLow {
        /// Number of the ingestion.
        seqno: SeqNo,
        /// A number that may be in its range.
        existing: SeqNo,
    },
    /// What is ingested does not ascend.
    #[error("{offending:?} does not come after {previous:?}, which was ingested before it")]
    OutOfOrder {
        /// The key, or the start of a range, that came before.
        previous: Slice,
        /// The one that was refused.
        offending: Slice,
    },
    /// An ingestion failed before, and what it was given is not complete any more.
    #[error("the ingestion failed before and can only be dropped")]
    IngestionFailed,
    /// A read asks for history that may be gone.
    #[error(
        "a read at {requested} is not above the retention floor {floor}; hold the snapshot before writing past it"
    )]
    SnapshotBelowRetention {
        /// The bound asked for.
        requested: SeqNo,
        /// Reads at or below this are refused.
        floor: SeqNo,
    },
    /// Changes are asked for that may be gone, or may not be there as they were written.
    #[error(
        "changes from {since} on are complete only from {earliest_complete} on; read everything anew, and follow the changes from there"
    )]
    HistoryCollected {
        /// From where on changes were asked for.
        since: SeqNo,
        /// From here on all changes are there.
        earliest_complete: SeqNo,
    },
    /// There is no room for a compaction, by the limits that were set.
    #[error(
        "there is no room for the compaction ({shortage:?}); free space, raise the limit, or turn admission off"
    )]
    NoRoom {
        /// What stood against it.
        shortage: Shortage,
    },
    /// There is no room for a write, by the limits that were set.
    #[error(
        "there is no room for the write: {used} bytes are used and {reserve} kept for flushes, of {limit}; delete something and compact, free space, or raise the limit"
    )]
    StorageFull {
        /// Bytes of all files of the store.
        used: u64,
        /// Bytes that memtables may take in tables, or the least reserve.
        reserve: u64,
        /// The limit that was set, or what the tightest volume holds.
        limit: u64,
    },
    /// A batch passes its size limit.
    #[error("a batch of {bytes} bytes passes the limit of 4 GiB; split it")]
    BatchTooLarge {
        /// Its size with the operation that was refused.
        bytes: usize,
    },
    /// Operations of a batch with one number would depend on their order.
    #[error(
        "the batch has several operations on the key {key:?}, one of them a merge; in a batch with one number their order is lost"
    )]
    AmbiguousBatch {
        /// The key.
        key: Slice,
    },
    /// The merge operator panicked.
    #[error("the merge operator panicked")]
    OperatorPanicked,
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] lsm_crypto::CryptoError),
    /// An option makes no sense.
    #[error("option `{option}`: {problem}")]
    InvalidConfig {
        /// Name of the option.
        option: &'static str,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// An argument makes no sense.
    #[error("argument `{argument}`: {problem}")]
    InvalidArgument {
        /// Name of the argument.
        argument: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// Keys with a common prefix are not neighbours in this tree.
    #[error(
        "the tree's comparator does not keep keys with a common prefix together, so they cannot be removed at once"
    )]
    ScatteredPrefix,
    /// The tree was created with another comparator.
    #[error("the tree is ordered by `{stored}`, but was opened with `{supplied}`")]
    ComparatorMismatch {
        /// Name stored with the tree.
        stored: String,
        /// Name of the comparator given.
        supplied: String,
    },
    /// The operands of the tree were written for another merge operator.
    #[error("the tree's operands are for the merge operator `{stored}`, but it was opened with {}", supplied.as_deref().unwrap_or("none"))]
    OperatorMismatch {
        /// Name stored with the tree.
        stored: String,
        /// Name of the operator given, if one was.
        supplied: Option<String>,
    },
    /// The values of the tree were split by another splitter.
    #[error("values of schema {schema} were split by `{}` version {}, but the tree was opened with {}; give a changed splitter a schema of its own, made by `Schema::evolve`", .stored.0, .stored.1, splitter(.supplied.as_ref()))]
    SplitterMismatch {
        /// Number of the schema.
        schema: u32,
        /// Name and version stored with the tree.
        stored: (String, u32),
        /// Those of the splitter given, if one was.
        supplied: Option<(String, u32)>,
    },
    /// A schema does not go with those that the tree had before, or with the others that are given.
    #[error("schema {supplied}{}: {problem}", .stored.map_or_else(String::new, |stored| format!(" beside schema {stored}")))]
    SchemaMismatch {
        /// Number of a schema of the tree.
        stored: Option<u32>,
        /// Number of the schema that was given.
        supplied: u32,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// A column of a batch is not as the tree needs it.
    #[error("column {column} of the batch {problem}")]
    BatchColumn {
        /// The column.
        column: ColumnId,
        /// What is wrong.
        problem: &'static str,
    },
    /// A row of a batch cannot be one of the tree.
    #[error("row {row} of the batch{} {problem}", .column.map_or_else(String::new, |column| format!(", column {column},")))]
    BatchRow {
        /// The row, from 0.
        row: usize,
        /// The column, where it is about one.
        column: Option<ColumnId>,
        /// What is wrong.
        problem: &'static str,
    },
    /// Columns are asked for in a tree without them.
    #[error("the tree was opened without columns; say `TreeOptions::columns`")]
    NoColumns,
    /// The tree keeps long values in value logs and was opened as one that does not, or the other way round.
    #[error(
        "the tree was created {} separated values, but opened as one {}",
        if *.stored { "with" } else { "without" },
        if *.supplied { "with" } else { "without" }
    )]
    TreeTypeMismatch {
        /// Whether it was created with separated values.
        stored: bool,
        /// Whether they were asked for now.
        supplied: bool,
    },
    /// An entry leads to a value that is not there.
    #[error("the value of the key {key:?} is not where {handle:?} leads")]
    DanglingValue {
        /// The key.
        key: Slice,
        /// What the entry holds in place of the value.
        handle: Slice,
    },
    /// The tree was created with another option.
    #[error(
        "option `{option}` is {stored} in this tree, but {supplied} was given; leave it out to take what is stored"
    )]
    OptionMismatch {
        /// Name of the option.
        option: &'static str,
        /// Stored value.
        stored: u64,
        /// Value given.
        supplied: u64,
    },
    /// The tree is open already, in this process.
    #[error("tree {tree} is open; clone its handle instead")]
    TreeInUse {
        /// The tree.
        tree: TreeId,
    },
    /// The directory holds a database already.
    #[error("a database exists here, and the mode asks for a new one")]
    AlreadyExists,
    /// The directory holds no database.
    #[error("no database here, and the mode asks for one")]
    NotFound,
    /// Another process, or another handle of this one, has the directory open.
    #[error("the database is in use{holder}")]
    Locked {
        /// Who holds it, where that is known.
        holder: String,
    },
    /// Files the manifest lists are gone.
    #[error("{} files listed in the manifest are missing{}", files.len(), first_of(files))]
    MissingFiles {
        /// Which ones.
        files: Vec<LostFile>,
    },
    /// Tables lie in a directory that was not given, or that is not there.
    #[error(
        "{tables} tables lie on route {route} ({expected}), and none of the directories given is its; mount it, or give it as a level route"
    )]
    RouteMissing {
        /// The route.
        route: RouteId,
        /// Its identity, which the marker in its directory repeats.
        expected: FileUuid,
        /// How many.
        tables: usize,
    },
    /// A directory that was given for tables of some levels belongs to another database, or is one.
    #[error("{} is not a directory for tables of database {expected}: {}", path.display(), owner(found.as_ref()))]
    RouteMismatch {
        /// The directory.
        path: PathBuf,
        /// The database that is opened.
        expected: FileUuid,
        /// The database that it says it belongs to; `None` where its marker cannot be read, or it is a database itself.
        found: Option<FileUuid>,
    },
    /// A file has another length than the manifest says.
    #[error("table {table} has {found} bytes, the manifest says {expected}")]
    FileLengthMismatch {
        /// The table.
        table: TableId,
        /// Length in the manifest.
        expected: u64,
        /// Length found.
        found: u64,
    },
    /// A file is named like one table and says that it is another.
    #[error("the file of table {table} belongs to another table")]
    Misnamed {
        /// The table whose name it has.
        table: TableId,
    },
    /// A table says something about itself that no table of ours says.
    #[error("table {table} cannot be what it says: its {what}")]
    Implausible {
        /// The table.
        table: TableId,
        /// What is wrong.
        what: &'static str,
    },
    /// Tables of several databases lie in one directory, and no manifest says which one it is.
    #[error("the directory holds tables of {count} databases and no manifest that can be read")]
    SeveralDatabases {
        /// How many.
        count: usize,
    },
    /// A tree is ordered by a comparator that is not at hand.
    #[error("a tree is ordered by `{stored}`, which is not at hand")]
    UnknownComparator {
        /// Name stored with the tree.
        stored: String,
    },
    /// Something has the name that a checkpoint was to get.
    #[error("something exists where the checkpoint was to go; give another target")]
    TargetExists,
    /// Another checkpoint to the same target is under way, or one that died cannot be told from it.
    #[error("a checkpoint to this target is under way, or one that died left its staging directory")]
    TargetBusy,
    /// A directory that a checkpoint would clear holds something that is not ours.
    #[error("the staging directory holds {name}, which is not ours; nothing in it was removed")]
    ForeignFile {
        /// The first name that is not ours.
        name: String,
    },
    /// Changes are refused: an earlier one may or may not be on disk, and the manifest that would say so cannot be
    /// written. Every further change tries again.
    #[error(
        "changes are refused while it is unknown whether an earlier one reached the disk; try again, or reopen"
    )]
    Fenced {
        /// What failed when the outcome became unknown.
        #[source]
        cause: Error,
    },
    /// The tree was opened for reading only.
    #[error("the tree was opened read-only")]
    ReadOnly,
    /// The recovery gave something up, and nobody has accepted that yet.
    #[error("what the recovery gave up is not accepted yet; look at the report, then call `accept_recovery`")]
    NotAccepted,
    /// The handle was closed.
    #[error("the tree was closed")]
    Closed,
    /// The caller, or closing, stopped the operation.
    #[error("the operation was cancelled")]
    Cancelled,
    /// A broken promise of our own code; names the invariant.
    #[error("internal invariant broken: {invariant}")]
    Bug {
        /// The invariant.
        invariant: &'static str,
    },
}

fn first_of(files: &[LostFile]) -> String {
    files.first().map_or_else(String::new, |file| {
        if file.kind == FileKind::ValueLog {
            return format!(", the first is value log {} of tree {}", file.table, file.tree);
        }
        format!(", the first is table {} of tree {}, {}", file.table, file.tree, file.level)
    })
}

/// A splitter, by name and version.
fn splitter(supplied: Option<&(String, u32)>) -> String {
    supplied.map_or_else(|| "none".to_owned(), |(name, version)| format!("`{name}` version {version}"))
}

/// Whose a directory is.
fn owner(found: Option<&FileUuid>) -> String {
    match found {
        Some(database) => format!("it belongs to database {database}"),
        None => "its marker cannot be read, or it is a database itself".to_owned(),
    }
}

impl Fault for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::SeqNoOutOfRange { .. } => ErrorKind::SeqNoOutOfRange,
            Self::BelowSnapshot { .. } => ErrorKind::BelowSnapshot,
            Self::SeqNoTooLow { .. } => ErrorKind::SeqNoTooLow,
            Self::OutOfOrder { .. } => ErrorKind::OutOfOrder,
            Self::IngestionFailed => ErrorKind::Poisoned,
            Self::SnapshotBelowRetention { .. } => ErrorKind::SnapshotBelowRetention,
            Self::HistoryCollected { .. } => ErrorKind::HistoryCollected,
            Self::BatchTooLarge { .. } => ErrorKind::BatchTooLarge,
            Self::AmbiguousBatch { .. } => ErrorKind::AmbiguousBatch,
            Self::OperatorPanicked => ErrorKind::MergeFailed,
            Self::Key(source) => source.kind(),
            Self::InvalidConfig { .. } | Self::SchemaMismatch { .. } => ErrorKind::InvalidConfig,
            Self::InvalidArgument { .. }
            | Self::NoColumns
            | Self::BatchColumn { .. }
            | Self::BatchRow { .. } => ErrorKind::InvalidArgument,
            Self::ComparatorMismatch { .. } | Self::UnknownComparator { .. } => ErrorKind::ComparatorMismatch,
            Self::Implausible { .. } => ErrorKind::Corruption(CorruptionKind::Decode),
            Self::DanglingValue { .. } => ErrorKind::DanglingBlob,
            Self::Misnamed { .. } | Self::SeveralDatabases { .. } => ErrorKind::FileIdentityMismatch,
            Self::OptionMismatch { .. }
            | Self::OperatorMismatch { .. }
            | Self::SplitterMismatch { .. }
            | Self::TreeTypeMismatch { .. } => ErrorKind::OptionMismatch,
            Self::AlreadyExists | Self::TreeInUse { .. } | Self::TargetExists | Self::TargetBusy => {
                ErrorKind::AlreadyExists
            }
            Self::ForeignFile { .. } => ErrorKind::NotOurs,
            Self::NotFound => ErrorKind::NotFound,
            Self::Locked { .. } => ErrorKind::Locked,
            Self::MissingFiles { .. } => ErrorKind::MissingFiles,
            Self::RouteMissing { .. } => ErrorKind::RouteMissing,
            Self::RouteMismatch { .. } => ErrorKind::RouteMismatch,
            Self::FileLengthMismatch { .. } => ErrorKind::FileLengthMismatch,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::ReadOnly | Self::NotAccepted | Self::ScatteredPrefix => ErrorKind::Unsupported,
            Self::NoRoom { .. } | Self::StorageFull { .. } => ErrorKind::StorageFull,
            Self::Closed => ErrorKind::Closed,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Bug { .. } => ErrorKind::Bug,
        }
    }
}
