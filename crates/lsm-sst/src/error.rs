//! How reading and writing tables fails.

use alloc::{boxed::Box, string::String};

use lsm_block::{BlockError, BlockKind};
use lsm_columnar::ColumnarError;
use lsm_types::{ErrorKind, Fault, IoError, Location, SeqNo, Slice};

use crate::payload::PayloadError;

/// Why a table could not be read or written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SstError {
    /// The framing of the file is wrong.
    #[error(transparent)]
    Framing(#[from] BlockError),
    /// The checks of a block are good, its contents make no sense.
    #[error("{} {}: {kind} block at {}", at.kind.name(), at.id, at.offset)]
    Payload {
        /// The block's frame.
        at: Location,
        /// The kind of block.
        kind: BlockKind,
        /// What makes no sense.
        source: PayloadError,
    },
    /// Both copies of something are damaged. The kind and place are those of the primary.
    #[error("the mirror copy is damaged as well: {mirror}")]
    BothCopies {
        /// What is wrong with the copy next to the footer.
        #[source]
        primary: Box<SstError>,
        /// What is wrong with the other one.
        mirror: Box<SstError>,
    },
    /// A section that every table has is not in the directory.
    #[error("{} {}: the directory lists no {kind} section", at.kind.name(), at.id)]
    NoSection {
        /// The file.
        at: Location,
        /// What is missing.
        kind: BlockKind,
    },
    /// The directory and the content disagree.
    #[error("{} {}: {what} does not agree with the properties", at.kind.name(), at.id)]
    Disagree {
        /// The file.
        at: Location,
        /// What differs.
        what: &'static str,
    },
    /// A filter denies a key that the table holds.
    #[error("{} {}: the filter at {} denies a key that the table holds", at.kind.name(), at.id, at.offset)]
    FilterDenies {
        /// The partition's frame.
        at: Location,
    },
    /// The table is ordered by another comparator.
    #[error("{} {} is ordered by comparator `{found}`, not `{expected}`", at.kind.name(), at.id)]
    Comparator {
        /// The file.
        at: Location,
        /// The comparator given.
        expected: String,
        /// The one the table was written with.
        found: String,
    },
    /// Values of the table cannot be put together: nobody gave the splitter that took them apart.
    #[error("{} {} needs splitter `{name}`, version {version}, with schema {schema}", at.kind.name(), at.id)]
    NoSplitter {
        /// The file.
        at: Location,
        /// Name of the splitter.
        name: String,
        /// Its version.
        version: u32,
        /// Number of its schema.
        schema: u32,
    },
    /// The table holds rows, and no columns that could be scanned.
    #[error("{} {} is not columnar", at.kind.name(), at.id)]
    NotColumnar {
        /// The file.
        at: Location,
    },
    /// Columns could not be built.
    #[error("the columns of a row group could not be built")]
    Columns(#[source] ColumnarError),
    /// The table cannot be taken over by another file without writing its entries anew.
    #[error("{} {} cannot be taken over as it is: {what}; read its entries and ingest them", at.kind.name(), at.id)]
    NotMovable {
        /// The file.
        at: Location,
        /// What stands in the way.
        what: &'static str,
    },
    /// Bytes could not be read.
    #[error("reading {len} bytes at {offset} of a table failed")]
    Read {
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        len: u64,
        /// What the system says.
        source: IoError,
    },
    /// The length of the file could not be asked.
    #[error("the length of a table is not known")]
    Length(#[source] IoError),
    /// An entry does not come after the one before.
    #[error("entry {next:?}{next_seqno:?} does not come after {prev:?}{prev_seqno:?}")]
    OutOfOrder {
        /// Key of the entry before.
        prev: Slice,
        /// Number of the entry before.
        prev_seqno: SeqNo,
        /// Key of the entry refused.
        next: Slice,
        /// Number of the entry refused.
        next_seqno: SeqNo,
    },
    /// An entry that no table may hold: a number past the last legal one, a tombstone with a value, a range tombstone
    /// between cuts that are out of order.
    #[error("{what}")]
    Entry {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Key and value together do not fit in a block.
    #[error("key and value take {len} bytes together, a block holds {max}")]
    EntryTooLarge {
        /// Bytes of key and value.
        len: usize,
        /// Bytes there is room for.
        max: usize,
    },
    /// A local number plus the table's global one passes the last legal number.
    #[error("number {local} plus the table's {global} is not a legal sequence number")]
    SeqNoOutOfRange {
        /// The local number.
        local: SeqNo,
        /// The table's.
        global: SeqNo,
    },
    /// The root of the index can take no further partition.
    #[error("the index of one table is full; write smaller tables")]
    IndexFull,
    /// The writer failed before, or is finished.
    #[error("the table writer takes nothing after an error")]
    WriterFailed,
    /// Settings that cannot hold.
    #[error("setting `{setting}` is out of range")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
    },
    /// A block this program built does not decode.
    #[error("a block just written does not decode")]
    OwnPayload(#[source] PayloadError),
}

impl Fault for SstError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Framing(source) => source.kind(),
            Self::Payload { source, .. } => source.kind(),
            Self::BothCopies { primary, .. } => primary.kind(),
            Self::NoSection { .. } | Self::Disagree { .. } | Self::FilterDenies { .. } => {
                ErrorKind::Corruption(lsm_types::CorruptionKind::Decode)
            }
            Self::Comparator { .. } => ErrorKind::ComparatorMismatch,
            Self::NoSplitter { .. } => ErrorKind::OptionMismatch,
            Self::Columns(source) => source.kind(),
            Self::Read { source, .. } | Self::Length(source) => source.kind(),
            Self::OutOfOrder { .. } => ErrorKind::OutOfOrder,
            Self::Entry { .. } => ErrorKind::InvalidArgument,
            Self::EntryTooLarge { .. } => ErrorKind::EntryTooLarge,
            Self::SeqNoOutOfRange { .. } => ErrorKind::SeqNoOutOfRange,
            Self::IndexFull | Self::NotMovable { .. } | Self::NotColumnar { .. } => ErrorKind::Unsupported,
            Self::WriterFailed => ErrorKind::Poisoned,
            Self::Setting { .. } => ErrorKind::InvalidConfig,
            Self::OwnPayload(_) => ErrorKind::Bug,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Framing(source) => source.location(),
            Self::BothCopies { primary, .. } => primary.location(),
            Self::Payload { at, .. }
            | Self::NoSection { at, .. }
            | Self::Disagree { at, .. }
            | Self::FilterDenies { at }
            | Self::Comparator { at, .. }
            | Self::NoSplitter { at, .. }
            | Self::NotColumnar { at }
            | Self::NotMovable { at, .. } => Some(*at),
            _ => None,
        }
    }
}
