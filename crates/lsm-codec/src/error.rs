//! How compression fails.

use lsm_types::{CorruptionKind, ErrorKind, Fault};

use crate::Codec;

/// Why a block could not be compressed or decompressed.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The codec is not compiled into this binary.
    #[error("codec {} is not built into this binary", codec.name())]
    NotBuilt {
        /// The codec wanted.
        codec: Codec,
    },
    /// The stored bytes are not what the codec wrote.
    #[error("{} rejects the stored bytes", codec.name())]
    Malformed {
        /// The codec asked.
        codec: Codec,
    },
    /// The stored bytes are good but hold another number of bytes than promised.
    #[error("{} bytes of {} were promised, the stored bytes hold {got}", expected, codec.name())]
    Length {
        /// The codec asked.
        codec: Codec,
        /// Bytes promised by the block's header.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// Bytes that are no dictionary.
    #[error("these bytes are no dictionary")]
    Dictionary,
    /// The library has no memory for its context.
    #[error("no memory for a context of codec {}", codec.name())]
    NoMemory {
        /// The codec asked.
        codec: Codec,
    },
    /// The library refused to compress; it never should.
    #[error("codec {} failed to compress", codec.name())]
    Encode {
        /// The codec asked.
        codec: Codec,
    },
}

impl Fault for CodecError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBuilt { .. } => ErrorKind::NotBuilt,
            Self::Malformed { .. } | Self::Length { .. } | Self::Dictionary => {
                ErrorKind::Corruption(CorruptionKind::Decompress)
            }
            Self::NoMemory { .. } | Self::Encode { .. } => ErrorKind::Bug,
        }
    }
}
