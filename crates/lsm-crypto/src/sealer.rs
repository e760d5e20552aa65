//! Sealing and opening blocks in place.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use chacha20poly1305::ChaCha20Poly1305;

use crate::{CryptoError, FileKey, KeyId, NonceAudit, Suite};

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

/// Both wipe their state when dropped. Boxed, because one is fourteen times the other.
enum Cipher {
    Aes(Box<Aes256Gcm>),
    ChaCha(Box<ChaCha20Poly1305>),
}

impl Sealer {
    /// Expands the key of a file.
    pub fn new(suite: Suite, key: &FileKey) -> Self {
        let bytes = (&*key.key).into();
        let cipher = match suite {
            Suite::Aes256Gcm => Cipher::Aes(Box::new(Aes256Gcm::new(bytes))),
            Suite::ChaCha20Poly1305 => Cipher::ChaCha(Box::new(ChaCha20Poly1305::new(bytes))),
        };
        Self { cipher, prefix: key.prefix, id: key.id(), check: key.check(), audit: key.audit.clone() }
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
        let (nonce, len) = ((&nonce).into(), block.len());
        let sealed = match &self.cipher {
            Cipher::Aes(cipher) => cipher.encrypt_inout_detached(nonce, data, block.into()),
            Cipher::ChaCha(cipher) => cipher.encrypt_inout_detached(nonce, data, block.into()),
        };
        sealed.map(Into::into).map_err(|_| CryptoError::TooLong { len })
    }

    /// Opens `block` in place.
    ///
    /// # Errors
    /// [`CryptoError::BrokenSeal`] if the block, its number or its associated data are not those sealed; `block` is
    /// then ciphertext or garbage, never plaintext.
    pub fn open(&self, ordinal: u32, data: &[u8], block: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        let nonce = self.nonce(ordinal);
        let (nonce, tag) = ((&nonce).into(), tag.into());
        let opened = match &self.cipher {
            Cipher::Aes(cipher) => cipher.decrypt_inout_detached(nonce, data, block.into(), tag),
            Cipher::ChaCha(cipher) => cipher.decrypt_inout_detached(nonce, data, block.into(), tag),
        };
        opened.map_err(|_| CryptoError::BrokenSeal)
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
