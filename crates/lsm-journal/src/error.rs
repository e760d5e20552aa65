//! What can go wrong between the manifest and its files.

use lsm_block::BlockError;
use lsm_manifest::ManifestError;
use lsm_types::{CorruptionKind, EditIndex, ErrorKind, Fault, FileKind, FileUuid, IoError, Location};

use crate::{FileName, Folder, FoundFile, Generation, HighWater, PointerError, TailClass};

/// Why a journal could not be created, recovered or written.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// An operation on a file failed.
    #[error("file {file}")]
    File {
        /// The file.
        file: FileName,
        /// What the system says.
        source: IoError,
    },
    /// An operation on a directory failed.
    #[error("directory {:?}", folder.name())]
    Folder {
        /// The directory.
        folder: Folder,
        /// What the system says.
        source: IoError,
    },
    /// There is a database already.
    #[error("the directory holds a database, generation {generation}")]
    Exists {
        /// Its newest generation.
        generation: Generation,
    },
    /// Files of a database are there, but no manifest that says what they are.
    #[error("the directory holds {file} but no manifest that can be read")]
    PartialState {
        /// One of the files.
        file: FileName,
    },
    /// A later version wrote `CURRENT`.
    #[error("the pointer is {0}")]
    Pointer(PointerError),
    /// The header of a generation is good but cannot be used, or a record could not be framed.
    #[error("generation {generation}")]
    Block {
        /// The generation.
        generation: Generation,
        /// What is wrong.
        source: BlockError,
    },
    /// A later version wrote the generation in a way that this one may read but must not write on.
    #[error("generation {generation} has features {features:#x}, with which this version may only read")]
    ReadOnlyFormat {
        /// The generation.
        generation: Generation,
        /// Its features of that kind.
        features: u64,
    },
    /// The generation belongs to another database than the rest.
    #[error("generation {generation} belongs to database {found}, not to {expected}")]
    OtherDatabase {
        /// The generation.
        generation: Generation,
        /// The database that the rest belongs to.
        expected: FileUuid,
        /// The database it belongs to.
        found: FileUuid,
    },
    /// A record that had been durable cannot be read in either copy.
    #[error("generation {generation}: record {record} at byte {offset} had been durable and is damaged")]
    Damaged {
        /// The generation.
        generation: Generation,
        /// The record, counted from 1 within the generation.
        record: u64,
        /// The last edit before it.
        after_edit: EditIndex,
        /// Where it begins.
        offset: u64,
    },
    /// The generation in use ends in bytes that are no record, and the mode does not drop them.
    #[error("generation {generation}: {bytes} bytes from {offset} on are no record ({class:?})")]
    TornTail {
        /// The generation.
        generation: Generation,
        /// First byte that belongs to no record.
        offset: u64,
        /// How many there are.
        bytes: u64,
        /// What they are.
        class: TailClass,
    },
    /// A record verifies but makes no sense here.
    #[error("generation {generation}: record {record}")]
    Record {
        /// The generation.
        generation: Generation,
        /// The record, counted from 1 within the generation.
        record: u64,
        /// What is wrong.
        source: ManifestError,
    },
    /// The state breaks a rule.
    #[error("the state of generation {generation}")]
    State {
        /// The generation.
        generation: Generation,
        /// The rule.
        source: ManifestError,
    },
    /// A comparator is not at hand.
    #[error("the keys of tree {tree} are ordered by {stored:?}, which is not at hand")]
    Comparator {
        /// The tree.
        tree: lsm_types::TreeId,
        /// The comparator's name.
        stored: String,
    },
    /// The generation that `CURRENT` names is gone, and the one before it may lack its edits.
    #[error("generation {named} is in use but cannot be found, the newest that can is {found:?}")]
    GenerationLost {
        /// The generation named by `CURRENT`.
        named: Generation,
        /// The newest generation that can be used.
        found: Option<Generation>,
    },
    /// All generations end before the edit that `CURRENT` says is the least.
    #[error("the newest edit found is {found}, edit {expected} had been durable")]
    EditsLost {
        /// An edit that had been durable.
        expected: EditIndex,
        /// The last edit found.
        found: EditIndex,
    },
    /// A file was made after the manifest's last edit.
    #[error("{} {} was made after the manifest's last edit, {}", file.kind.name(), file.id, high_water.last_edit)]
    FileFromTheFuture {
        /// The file.
        file: FoundFile,
        /// How far the manifest has come.
        high_water: HighWater,
    },
    /// A record is longer than may be stored.
    #[error("a record of {len} bytes, {max} are the most")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The most.
        max: usize,
    },
    /// The generation has grown far past the point where it should have been replaced, because that fails.
    #[error("generation {generation} holds {bytes} bytes of edits and cannot be replaced")]
    RotationOverdue {
        /// The generation.
        generation: Generation,
        /// Bytes of its edits.
        bytes: u64,
    },
    /// The outcome of an earlier write is unknown; nothing is written before the truth is stated anew.
    #[error("the outcome of an earlier write is unknown")]
    Fenced,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// All numbers are used up.
    #[error("no {what} is left")]
    Exhausted {
        /// Which number.
        what: &'static str,
    },
}

impl JournalError {
    pub(crate) fn file(file: FileName) -> impl Fn(IoError) -> Self {
        move |source| Self::File { file, source }
    }

    pub(crate) fn folder(folder: Folder) -> impl Fn(IoError) -> Self {
        move |source| Self::Folder { folder, source }
    }
}

impl Fault for JournalError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } | Self::Folder { source, .. } => source.kind(),
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::PartialState { .. } => ErrorKind::PartialState,
            Self::Pointer(_) | Self::ReadOnlyFormat { .. } => ErrorKind::UnsupportedFormat,
            Self::Block { source, .. } => source.kind(),
            Self::OtherDatabase { .. } => ErrorKind::FileIdentityMismatch,
            Self::Damaged { .. } => ErrorKind::Corruption(CorruptionKind::PayloadCheck),
            Self::TornTail { .. } => ErrorKind::TornTail,
            Self::Record { source, .. } | Self::State { source, .. } => source.kind(),
            Self::Comparator { .. } => ErrorKind::ComparatorMismatch,
            Self::GenerationLost { .. } | Self::EditsLost { .. } | Self::FileFromTheFuture { .. } => {
                ErrorKind::ManifestRegression
            }
            Self::TooLarge { .. } => ErrorKind::BatchTooLarge,
            Self::RotationOverdue { .. } => ErrorKind::NoSpace,
            Self::Fenced => ErrorKind::Fenced,
            Self::Closed => ErrorKind::Closed,
            Self::Exhausted { .. } => ErrorKind::Unsupported,
        }
    }

    fn location(&self) -> Option<Location> {
        let at = |id: Generation, offset| Some(Location { kind: FileKind::Manifest, id: id.get(), offset });
        match self {
            Self::Damaged { generation, offset, .. } | Self::TornTail { generation, offset, .. } => {
                at(*generation, *offset)
            }
            Self::Block { source, .. } => source.location(),
            _ => None,
        }
    }
}

/// What became of edits that were to be appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// They are not in the manifest and never will be; the journal goes on where it may.
    #[error("the edits were not applied")]
    NotApplied(#[source] JournalError),
    /// They may or may not be there after a crash. The journal takes no more until [`crate::Journal::reanchor`].
    #[error("whether the edits were applied is unknown")]
    Unknown(#[source] JournalError),
}

impl Fault for AppendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotApplied(source) => source.kind(),
            Self::Unknown(_) => ErrorKind::InstallOutcomeUnknown,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::NotApplied(source) | Self::Unknown(source) => source.location(),
        }
    }
}

/// What became of an attempt to replace the generation in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// The generation in use stays; the next attempt is due later.
    #[error("the generation was not replaced")]
    NotSwitched(#[source] JournalError),
    /// Which generation is in use after a crash is unknown; both state the same. The journal takes no edits until
    /// [`crate::Journal::reanchor`].
    #[error("whether the generation was replaced is unknown")]
    Unknown(#[source] JournalError),
}

impl Fault for RotateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotSwitched(source) => source.kind(),
            Self::Unknown(_) => ErrorKind::InstallOutcomeUnknown,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::NotSwitched(source) | Self::Unknown(source) => source.location(),
        }
    }
}
