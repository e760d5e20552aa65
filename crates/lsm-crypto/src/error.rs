//! What can go wrong with keys and seals. No error holds a key, a plaintext or a part of one.

use lsm_types::{ErrorKind, Fault};

use crate::KeyId;

/// Why something could not be sealed or opened.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CryptoError {
    /// The tag does not fit: another key, another place, or changed bytes.
    #[error("the seal is broken: the bytes, their place or their key are not those that were sealed")]
    BrokenSeal,
    /// The provider's key is not the one the file was sealed with, although it has the same number.
    #[error("key {key} is not the key the file was sealed with")]
    WrongKey {
        /// The number of the key.
        key: KeyId,
    },
    /// The provider does not have the key.
    #[error("key {key} is not among the keys given; add it to the key file or the provider")]
    UnknownKey {
        /// The number of the key.
        key: KeyId,
    },
    /// The provider cannot unwrap file keys, or not this one.
    #[error("the wrapped key of a file cannot be unwrapped with key {key}")]
    CannotUnwrap {
        /// The number of the wrapping key.
        key: KeyId,
    },
    /// The provider's own failure, such as a key service that does not answer.
    #[error("the key provider could not hand out key {key}")]
    Provider {
        /// The number of the key asked for.
        key: KeyId,
    },
    /// The library of the cipher could not be set up.
    #[error("the cipher of key {key} could not be set up")]
    NoCipher {
        /// The number of the key.
        key: KeyId,
    },
    /// A key that new files get cannot be dropped.
    #[error("new files get key {key}; let them get another one first")]
    InUse {
        /// The number of the key.
        key: KeyId,
    },
    /// More bytes than the suite can seal under one nonce.
    #[error("a block of {len} bytes is too long to be sealed")]
    TooLong {
        /// Bytes of the block.
        len: usize,
    },
    /// A wrapped key that does not fit its place in a superblock.
    #[error("a wrapped key of {len} bytes, at most {max} fit")]
    WrappedTooLong {
        /// Bytes of the wrapped key.
        len: usize,
        /// Bytes that fit.
        max: usize,
    },
}

impl Fault for CryptoError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BrokenSeal => ErrorKind::Tampered,
            Self::WrongKey { .. } => ErrorKind::WrongKey,
            Self::UnknownKey { .. } | Self::CannotUnwrap { .. } => ErrorKind::UnknownKey,
            Self::Provider { .. } => ErrorKind::KeyRequired,
            Self::NoCipher { .. } => ErrorKind::Unsupported,
            Self::InUse { .. } | Self::TooLong { .. } | Self::WrappedTooLong { .. } => {
                ErrorKind::InvalidArgument
            }
        }
    }
}
