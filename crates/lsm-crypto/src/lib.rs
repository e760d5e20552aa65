//! Sealing of files of the `lsm` storage engine: everything about keys and ciphers, nothing about files or frames.
//!
//! Each file has a key of its own ([`FileKey`]), derived from a master key that a [`KeyProvider`] holds, or unwrapped
//! by it. A [`Sealer`] expands that key once per open file and then seals and opens blocks. The nonce of a block is its
//! ordinal in the file, so nonces are neither stored nor drawn at random, and no number of blocks under one master
//! key wears it out. What a block is and where it belongs is bound by [`AssociatedData`]. The bytes and the threat
//! model are described in `docs/format/crypto.md`.
//!
//! ```
//! use lsm_crypto::{AssociatedData, FileContext, KeyChain, KeyId, KeyProvider, Sealer, Secret, Suite};
//! use lsm_types::{FileUuid, TreeId};
//!
//! let keys = KeyChain::new(KeyId::new(1), Secret::new([7; 32]));
//! let context = FileContext {
//!     database: FileUuid::from_bytes([1; 16]),
//!     file: FileUuid::from_bytes([2; 16]),
//!     tree: TreeId::new(0),
//!     file_id: 7,
//!     kind: 1,
//!     suite: Suite::Aes256Gcm,
//!     salt: [3; 32],
//! };
//! let key = keys.file_key(KeyId::new(1), &context, None)?;
//! let sealer = Sealer::new(context.suite, &key)?;
//! let data = AssociatedData::of_file(&context).for_block(1, 1, 0, 0, [4, 4]);
//!
//! let mut block = *b"rows";
//! let tag = sealer.seal(0, data.as_bytes(), &mut block)?;
//! assert_ne!(&block, b"rows");
//! let mut opened = [0; 4];
//! sealer.open(0, data.as_bytes(), (&block, &tag), &mut opened)?;
//! assert_eq!(&opened, b"rows");
//! # Ok::<(), lsm_crypto::CryptoError>(())
//! ```
#![no_std]

extern crate alloc;

mod associated;
mod chain;
#[cfg_attr(not(feature = "aws-lc"), path = "cipher_portable.rs")]
mod cipher;
mod context;
mod encryption;
mod error;
mod key;
mod provider;
mod sealer;

pub use associated::AssociatedData;
pub use chain::{KeyChain, KeyFileError};
pub use context::{FileContext, Suite};
pub use encryption::{Encryption, PlainFiles};
pub use error::CryptoError;
pub use key::{FileKey, KeyId, Secret};
pub use provider::{KeyProvider, NewFileKey, NonceAudit, WrappedKey};
pub use sealer::{Sealer, TAG_LEN, Tag};
