//! The port through which keys come.

use alloc::vec::Vec;
use core::fmt;

use lsm_types::TreeId;

use crate::{CryptoError, FileContext, FileKey, KeyId};

/// Holds master keys, or reaches those who do.
///
/// Calls come at the creation and opening of files, never for single blocks. A provider may be asked by several
/// threads at once. Which key is current may change at any time; files that exist keep theirs.
pub trait KeyProvider: Send + Sync {
    /// The key that new files of `tree` get. Files of the whole database count as those of tree 0.
    ///
    /// # Errors
    /// [`CryptoError::Provider`], and then no file is made.
    fn current_key_id(&self, tree: TreeId) -> Result<KeyId, CryptoError>;

    /// The key of an existing file.
    ///
    /// * `wrapped`: what [`KeyProvider::new_file_key`] had stored in the file's superblock, if anything.
    ///
    /// # Errors
    /// [`CryptoError::UnknownKey`] without the key; [`CryptoError::CannotUnwrap`]; [`CryptoError::Provider`].
    fn file_key(
        &self,
        id: KeyId,
        context: &FileContext,
        wrapped: Option<&WrappedKey>,
    ) -> Result<FileKey, CryptoError>;

    /// The key of a file about to be made. By default it is derived from the current master key; a provider that
    /// draws a secret per file and wraps it (as key services do) returns the wrapped form too, to be kept in the
    /// file's superblock.
    ///
    /// # Errors
    /// As [`KeyProvider::file_key`].
    fn new_file_key(&self, context: &FileContext) -> Result<NewFileKey, CryptoError> {
        let id = self.current_key_id(context.tree)?;
        Ok(NewFileKey { key: self.file_key(id, context, None)?, wrapped: None })
    }
}

impl fmt::Debug for dyn KeyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyProvider(..)")
    }
}

/// The key of a file about to be made.
#[derive(Debug)]
pub struct NewFileKey {
    /// The key.
    pub key: FileKey,
    /// What the provider wants to be given back when the file is opened.
    pub wrapped: Option<WrappedKey>,
}

/// A file's secret as a provider wrapped it. It stands in the clear in the superblock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrappedKey(Vec<u8>);

impl WrappedKey {
    /// Most bytes a superblock can hold.
    pub const MAX_LEN: usize = 190;

    /// Takes over wrapped bytes.
    ///
    /// # Errors
    /// [`CryptoError::WrappedTooLong`] over [`WrappedKey::MAX_LEN`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, CryptoError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(CryptoError::WrappedTooLong { len: bytes.len(), max: Self::MAX_LEN });
        }
        Ok(Self(bytes))
    }

    /// The wrapped bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Is told of each nonce spent under a file's key, before the block is sealed: for audits that no nonce is ever
/// spent twice.
pub trait NonceAudit: Send + Sync {
    /// * `check`: the key check value, which names the key without telling it.
    /// * `nonce`: the whole nonce.
    fn spent(&self, check: [u8; FileKey::CHECK_LEN], nonce: [u8; 12]);
}
