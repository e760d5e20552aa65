//! What a block is stored as, and what a writer is asked to try.

use crate::{lz4, zstd};

/// How the bytes of one block are stored. The numbers are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// As they are.
    None,
    /// LZ4 block format.
    Lz4,
    /// Zstandard, without magic, checksum, content size and dictionary id.
    Zstd,
}

impl Codec {
    /// The number that stands in a block's header.
    pub const fn tag(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    /// The codec with number `tag`, `None` for a number this format version does not know.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The codec's name, as it stands in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this binary can read and write the codec.
    pub const fn is_built(self) -> bool {
        match self {
            Self::None => true,
            Self::Lz4 => lz4::BUILT,
            Self::Zstd => zstd::BUILT,
        }
    }
}

/// What a writer tries on a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Nothing.
    #[default]
    None,
    /// LZ4: fast both ways.
    Lz4,
    /// Zstandard.
    Zstd {
        /// -131072 (fastest) to 22 (smallest); the library clamps what lies outside. 0 means 3.
        level: i32,
    },
}

impl Compression {
    /// The codec of a block that this compressed.
    pub const fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd { .. } => Codec::Zstd,
        }
    }

    /// This, or the strongest weaker one that is built into this binary.
    pub const fn or_weaker(self) -> Self {
        match self {
            Self::Zstd { .. } if !zstd::BUILT => Self::Lz4.or_weaker(),
            Self::Lz4 if !lz4::BUILT => Self::None,
            _ => self,
        }
    }
}
