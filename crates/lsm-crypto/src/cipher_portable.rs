//! The ciphers, in Rust, for wherever Rust goes: the twin of `cipher.rs`.

use alloc::boxed::Box;

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit, inout::InOutBuf},
};
use chacha20poly1305::ChaCha20Poly1305;

use crate::{Suite, Tag};

/// An expanded key. Both wipe their state when dropped. Boxed, because one is fourteen times the other.
pub(crate) enum Cipher {
    Aes(Box<Aes256Gcm>),
    ChaCha(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// Expands a key.
    #[expect(clippy::unnecessary_wraps, reason = "its twin can fail")]
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Option<Self> {
        Some(match suite {
            Suite::Aes256Gcm => Self::Aes(Box::new(Aes256Gcm::new(key.into()))),
            Suite::ChaCha20Poly1305 => Self::ChaCha(Box::new(ChaCha20Poly1305::new(key.into()))),
        })
    }

    /// Encrypts `block` in place; `None` for more bytes than one nonce can seal.
    pub(crate) fn seal(&self, nonce: [u8; 12], data: &[u8], block: &mut [u8]) -> Option<Tag> {
        let (nonce, block) = ((&nonce).into(), block.into());
        let tag = match self {
            Self::Aes(cipher) => cipher.encrypt_inout_detached(nonce, data, block),
            Self::ChaCha(cipher) => cipher.encrypt_inout_detached(nonce, data, block),
        };
        tag.ok().map(Into::into)
    }

    /// Decrypts `sealed` into `out`, which is as long; `None`, and no plaintext there, when the tag does not fit.
    pub(crate) fn open(
        &self,
        nonce: [u8; 12],
        data: &[u8],
        (sealed, tag): (&[u8], &Tag),
        out: &mut [u8],
    ) -> Option<()> {
        let (nonce, tag) = ((&nonce).into(), tag.into());
        let bytes = InOutBuf::new(sealed, out).ok()?;
        let opened = match self {
            Self::Aes(cipher) => cipher.decrypt_inout_detached(nonce, data, bytes, tag),
            Self::ChaCha(cipher) => cipher.decrypt_inout_detached(nonce, data, bytes, tag),
        };
        opened.ok()
    }
}
