//! Sealing and opening blocks.

use alloc::sync::Arc;
use core::fmt;

use crate::{CryptoError, FileKey, KeyId, NonceAudit, Suite, cipher::Cipher};

/// Bytes that a seal adds to a block.
pub const TAG_LEN: usize = 16;

/// What proves that a block is as it was sealed.
pub type Tag = [u8; TAG_LEN];

/// The expanded key of one open file. Expanding costs about as much as sealing a block, so it is done once.
pub struct Sealer {
    cipher: Cipher,
    prefix: [u8; 4],
    id: KeyId,
    check: [u8; FileKey::CHECK_LEN],
    audit: Option<Arc<dyn NonceAudit>>,
}

impl Sealer {
    /// Expands the key of a file.
    ///
    /// # Errors
    /// [`CryptoError::NoCipher`] where the cipher's library has no memory for it.
    pub fn new(suite: Suite, key: &FileKey) -> Result<Self, CryptoError> {
        let id = key.id();
        let cipher = Cipher::new(suite, &key.key).ok_or(CryptoError::NoCipher { key: id })?;
        Ok(Self { cipher, prefix: key.prefix, id, check: key.check(), audit: key.audit.clone() })
    }

    /// Number of the master key behind it.
    pub const fn key_id(&self) -> KeyId {
        self.id
    }

    /// Seals `block` in place and returns its tag. The caller hands out each `ordinal` once in the life of the file,
    /// whatever became of the block.
    ///
    /// # Errors
    /// [`CryptoError::TooLong`] beyond what the suite can seal under one nonce, 64 GiB; `block` is then unchanged.
    pub fn seal(&self, ordinal: u32, data: &[u8], block: &mut [u8]) -> Result<Tag, CryptoError> {
        let nonce = self.nonce(ordinal);
        if let Some(audit) = &self.audit {
            audit.spent(self.check, nonce);
        }
        let len = block.len();
        self.cipher.seal(nonce, data, block).ok_or(CryptoError::TooLong { len })
    }

    /// Opens the block `sealed` into `out`, which is as long, in one pass; `sealed` stays what it is.
    ///
    /// # Errors
    /// [`CryptoError::BrokenSeal`] if the block, its number or its associated data are not those sealed; nothing of the
    /// block is then in `out`.
    pub fn open(
        &self,
        ordinal: u32,
        data: &[u8],
        (sealed, tag): (&[u8], &Tag),
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        debug_assert_eq!(sealed.len(), out.len(), "a block is as long as its seal");
        let opened = self.cipher.open(self.nonce(ordinal), data, (sealed, tag), out);
        opened.ok_or(CryptoError::BrokenSeal)
    }

    /// The file's prefix, four zeros, the ordinal, little-endian. Prefix and key are the file's own, so a nonce
    /// repeats only if an ordinal does.
    fn nonce(&self, ordinal: u32) -> [u8; 12] {
        let mut nonce = [0; 12];
        let (prefix, rest) = nonce.split_at_mut(4);
        prefix.copy_from_slice(&self.prefix);
        rest.split_at_mut(4).1.copy_from_slice(&ordinal.to_le_bytes());
        nonce
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("key_id", &self.id).finish_non_exhaustive()
    }
}
