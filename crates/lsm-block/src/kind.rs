//! Kinds of blocks (`docs/format/block.md`, section 3).

use core::fmt;

/// What a frame holds. Any number can stand in a file: a walker lists kinds it has never heard of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKind(u8);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $cap:expr, $compressible:literal;)*) => {
        impl BlockKind {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The kind's name, as it stands in messages; `unknown` for a number that has none yet.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => $text,)*
                    128.. => "application",
                    _ => "unknown",
                }
            }

            /// Whether this format version gives the number a meaning.
            pub const fn is_known(self) -> bool {
                matches!(self.0, $($code)|*)
            }

            /// Longest payload of this kind, stored or logical, in bytes. Writers and readers refuse more.
            pub const fn cap(self) -> u32 {
                match self.0 {
                    $($code => $cap,)*
                    _ => 64 * MIB,
                }
            }

            /// Whether writers may compress blocks of this kind.
            pub const fn is_compressible(self) -> bool {
                match self.0 {
                    $($code => $compressible,)*
                    _ => true,
                }
            }
        }
    };
}

const MIB: u32 = 1 << 20;

kinds! {
    /// Rows.
    DATA = 1, "data", 256 * MIB, true;
    /// Part of an index.
    INDEX_PARTITION = 2, "index partition", 16 * MIB, true;
    /// Root of an index.
    INDEX_ROOT = 3, "index root", 64 * MIB, true;
    /// Part of a filter.
    FILTER_PARTITION = 4, "filter partition", 16 * MIB, false;
    /// Root of a filter.
    FILTER_ROOT = 5, "filter root", 64 * MIB, false;
    /// Range tombstones.
    RANGE_TOMBSTONES = 6, "range tombstones", 64 * MIB, true;
    /// Properties of a table.
    PROPERTIES = 7, "properties", MIB, false;
    /// Section directory.
    DIRECTORY = 8, "directory", MIB, false;
    /// Compression dictionary.
    DICTIONARY = 9, "dictionary", MIB, false;
    /// Bounds of sequence numbers.
    SEQNO_BOUNDS = 10, "seqno bounds", 64 * MIB, true;
    /// Zone map.
    ZONE_MAP = 11, "zone map", 64 * MIB, true;
    /// Directory of a row group; the pages too where they are few. Only then worth to be compressed.
    ROW_GROUP = 12, "row group", 64 * MIB, true;
    /// Page of a column. As long as a block of rows may be: any value fits one.
    COLUMN_PAGE = 13, "column page", 256 * MIB, true;
    /// Schema of the columns.
    COLUMN_SCHEMA = 14, "column schema", 64 * MIB, false;
    /// List of linked value logs.
    LINKED_VALUE_LOGS = 15, "linked value logs", 64 * MIB, true;
    /// Locator.
    LOCATOR = 16, "locator", 64 * MIB, false;
    /// Delete vector.
    DELETE_VECTOR = 17, "delete vector", 64 * MIB, false;
    /// Copy of the superblock.
    SUPERBLOCK_COPY = 18, "superblock copy", 64 * MIB, false;
    /// Parity over a stripe of frames.
    STRIPE_PARITY = 19, "stripe parity", 64 * MIB, false;
    /// Map of the sub-frames of a large block.
    SUB_FRAME_MAP = 20, "sub-frame map", 64 * MIB, false;
    /// Part of a filter over prefixes.
    PREFIX_FILTER_PARTITION = 21, "prefix filter partition", 16 * MIB, false;
    /// Root of a filter over prefixes.
    PREFIX_FILTER_ROOT = 22, "prefix filter root", 64 * MIB, false;
    /// A whole separated value.
    VALUE = 32, "value", 256 * MIB, true;
    /// A piece of a separated value.
    VALUE_CHUNK = 33, "value chunk", 64 * MIB, true;
    /// Directory of the frames of a value log.
    VALUE_DIRECTORY = 34, "value directory", 64 * MIB, false;
    /// Where the chunks of a separated value end.
    VALUE_CHUNK_MAP = 35, "value chunk map", MIB, false;
    /// A whole record of a manifest.
    MANIFEST_WHOLE = 40, "manifest record", 64 * MIB, true;
    /// The first piece of a record of a manifest.
    MANIFEST_FIRST = 41, "manifest record, first piece", 64 * MIB, true;
    /// A middle piece of a record of a manifest.
    MANIFEST_MIDDLE = 42, "manifest record, middle piece", 64 * MIB, true;
    /// The last piece of a record of a manifest.
    MANIFEST_LAST = 43, "manifest record, last piece", 64 * MIB, true;
    /// A whole record of a write-ahead log.
    WAL_WHOLE = 44, "log record", 64 * MIB, true;
    /// The first piece of a record of a write-ahead log.
    WAL_FIRST = 45, "log record, first piece", 64 * MIB, true;
    /// A middle piece of a record of a write-ahead log.
    WAL_MIDDLE = 46, "log record, middle piece", 64 * MIB, true;
    /// The last piece of a record of a write-ahead log.
    WAL_LAST = 47, "log record, last piece", 64 * MIB, true;
}

impl BlockKind {
    /// The kind with number `code`, known or not.
    pub const fn from_code(code: u8) -> Self {
        Self(code)
    }

    /// Whether blocks of this kind may be compressed with a dictionary of their file.
    pub const fn takes_dictionary(self) -> bool {
        matches!(self, Self::VALUE)
    }

    /// The number that stands in the file.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}
