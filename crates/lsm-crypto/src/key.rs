//! Keys: the master secret, and the key of one file.

use alloc::sync::Arc;
use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::{CryptoError, FileContext, NonceAudit};

/// Separates these derivations from any other use of the same master key.
const PURPOSE: &[u8] = b"lsm file key 1";

/// Number of a master key. Numbers are chosen by whoever manages the keys, and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KeyId(u32);

impl KeyId {
    /// Wraps a raw number.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 32 secret bytes, wiped when dropped and never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes over secret bytes. The caller's copy is the caller's to wipe.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 64 hexadecimal digits; `None` for anything else.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |char: u8| char::from(char).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The key of one file: what a [`Sealer`](crate::Sealer) is made from. Wiped when dropped.
#[derive(Clone)]
pub struct FileKey {
    id: KeyId,
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) prefix: [u8; 4],
    check: [u8; 16],
    pub(crate) audit: Option<Arc<dyn NonceAudit>>,
}

impl FileKey {
    /// Bytes of the key check value.
    pub const CHECK_LEN: usize = 16;

    /// Derives the key of the file `context` from `secret`, which is the master key `id`, or the file's own unwrapped
    /// secret: HKDF-SHA256 (RFC 5869) over the file's salt, 32 bytes of key, 4 of nonce prefix, 16 of key check.
    pub fn derive(id: KeyId, secret: &Secret, context: &FileContext) -> Self {
        let kind = context.kind.to_le_bytes();
        let suite = [context.suite.tag()];
        let info = [PURPOSE, context.database.as_bytes(), context.file.as_bytes(), &kind, &suite];
        let mut okm = Zeroizing::new([0; 52]);
        let expanded = Hkdf::<Sha256>::new(Some(&context.salt), secret.bytes())
            .expand_multi_info(&info, okm.as_mut_slice());
        debug_assert!(expanded.is_ok(), "52 bytes are far below what HKDF can give");
        let mut derived =
            Self { id, key: Zeroizing::new([0; 32]), prefix: [0; 4], check: [0; 16], audit: None };
        let (key, rest) = okm.split_at(32);
        let (prefix, check) = rest.split_at(4);
        derived.key.copy_from_slice(key);
        derived.prefix.copy_from_slice(prefix);
        derived.check.copy_from_slice(check);
        derived
    }

    /// The same key, reporting each nonce it spends.
    pub fn audited(mut self, audit: Arc<dyn NonceAudit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Number of the master key behind it.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What the superblock of the file keeps so that a wrong key is noticed before anything is opened. Tells nothing
    /// about the key.
    pub const fn check(&self) -> [u8; Self::CHECK_LEN] {
        self.check
    }

    /// Whether this is the key that a superblock with the value `stored` was made with. Takes the same time for any
    /// `stored`.
    ///
    /// # Errors
    /// [`CryptoError::WrongKey`] if it is another one.
    pub fn verify(&self, stored: &[u8; Self::CHECK_LEN]) -> Result<(), CryptoError> {
        if self.check.ct_eq(stored).into() { Ok(()) } else { Err(CryptoError::WrongKey { key: self.id }) }
    }
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.prefix.zeroize();
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").field("id", &self.id).finish_non_exhaustive()
    }
}
