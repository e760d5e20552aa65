//! The stock provider: master keys in memory.

use alloc::vec::Vec;

use lsm_types::{ErrorKind, Fault, TreeId};
use zeroize::Zeroizing;

use crate::{CryptoError, FileContext, FileKey, KeyId, KeyProvider, Secret, WrappedKey};

/// Master keys by number: one of them is current, and trees may have ones of their own.
///
/// A tree with a key of its own can be erased by dropping that key, wherever copies of its files are.
#[derive(Clone, Debug)]
pub struct KeyChain {
    keys: Vec<(KeyId, Secret)>,
    current: KeyId,
    trees: Vec<(TreeId, KeyId)>,
}

impl KeyChain {
    /// A chain of one key, which is current.
    pub fn new(id: KeyId, secret: Secret) -> Self {
        Self { keys: Vec::from([(id, secret)]), current: id, trees: Vec::new() }
    }

    /// Adds a key that is not current, or replaces the one of that number.
    #[must_use]
    pub fn with_key(mut self, id: KeyId, secret: Secret) -> Self {
        self.insert(id, secret);
        self
    }

    /// Adds a key that is not current, or replaces the one of that number.
    pub fn insert(&mut self, id: KeyId, secret: Secret) {
        self.keys.retain(|(known, _)| *known != id);
        self.keys.push((id, secret));
    }

    /// Lets new files get the key `id` from now on, but for those of trees with a key of their own.
    ///
    /// # Errors
    /// [`CryptoError::UnknownKey`] if the chain does not have it; nothing changes then.
    pub fn make_current(&mut self, id: KeyId) -> Result<(), CryptoError> {
        self.secret(id)?;
        self.current = id;
        Ok(())
    }

    /// Lets new files of `tree` get the key `id` from now on. Tree 0 shares its key with the manifest.
    ///
    /// # Errors
    /// [`CryptoError::UnknownKey`] if the chain does not have it; nothing changes then.
    pub fn assign(&mut self, tree: TreeId, id: KeyId) -> Result<(), CryptoError> {
        self.secret(id)?;
        self.trees.retain(|(known, _)| *known != tree);
        self.trees.push((tree, id));
        Ok(())
    }

    /// Wipes a key: what is sealed under it cannot be opened any more by whoever has only this chain.
    ///
    /// # Errors
    /// [`CryptoError::InUse`] for a key that new files get; nothing changes then.
    pub fn remove(&mut self, id: KeyId) -> Result<(), CryptoError> {
        if self.current == id || self.trees.iter().any(|(_, of_tree)| *of_tree == id) {
            return Err(CryptoError::InUse { key: id });
        }
        self.keys.retain(|(known, _)| *known != id);
        Ok(())
    }

    /// Lets new files of `tree` get the current key again.
    pub fn unassign(&mut self, tree: TreeId) {
        self.trees.retain(|(known, _)| *known != tree);
    }

    /// Reads a key file: one key per line, `NUMBER HEX`, where `HEX` is 64 hexadecimal digits; the last one is
    /// current. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`KeyFileError`] names the line; it never quotes it.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut chain: Option<Self> = None;
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let mut words = content.split_whitespace();
            let (id, digits) = (words.next(), words.next());
            let id = id.and_then(|word| word.parse().ok()).map(KeyId::new);
            let (Some(id), None) = (id, words.next()) else { return Err(KeyFileError::Line { line }) };
            let secret = digits.and_then(Secret::from_hex).ok_or(KeyFileError::Line { line })?;
            let grown = match chain {
                None => Self::new(id, secret),
                Some(known) if known.secret(id).is_ok() => return Err(KeyFileError::Repeated { line, id }),
                Some(known) => Self { current: id, ..known.with_key(id, secret) },
            };
            chain = Some(grown);
        }
        chain.ok_or(KeyFileError::Empty)
    }

    /// As [`KeyChain::parse`], from the bytes of the file, which are wiped.
    ///
    /// # Errors
    /// As [`KeyChain::parse`]; bytes that are no text are a fault of the first line.
    pub fn from_file(bytes: Vec<u8>) -> Result<Self, KeyFileError> {
        let bytes = Zeroizing::new(bytes);
        Self::parse(core::str::from_utf8(&bytes).map_err(|_| KeyFileError::Line { line: 1 })?)
    }

    fn secret(&self, id: KeyId) -> Result<&Secret, CryptoError> {
        let found = self.keys.iter().find(|(known, _)| *known == id);
        found.map(|(_, secret)| secret).ok_or(CryptoError::UnknownKey { key: id })
    }
}

impl KeyProvider for KeyChain {
    fn current_key_id(&self, tree: TreeId) -> Result<KeyId, CryptoError> {
        let of_tree = self.trees.iter().find(|(known, _)| *known == tree);
        Ok(of_tree.map_or(self.current, |(_, id)| *id))
    }

    fn file_key(
        &self,
        id: KeyId,
        context: &FileContext,
        wrapped: Option<&WrappedKey>,
    ) -> Result<FileKey, CryptoError> {
        if wrapped.is_some() {
            return Err(CryptoError::CannotUnwrap { key: id });
        }
        Ok(FileKey::derive(id, self.secret(id)?, context))
    }
}

/// What is wrong with a key file.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A line that is no key.
    #[error("line {line} of the key file is not `NUMBER HEX` with 64 hexadecimal digits")]
    Line {
        /// The line, from 1.
        line: u32,
    },
    /// A number that stands there twice.
    #[error("line {line} of the key file repeats key {id}; numbers of keys are never reused")]
    Repeated {
        /// The line, from 1.
        line: u32,
        /// The number.
        id: KeyId,
    },
    /// A file without keys.
    #[error("the key file holds no key; write a line `1 HEX` with 64 hexadecimal digits")]
    Empty,
}

impl Fault for KeyFileError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidConfig
    }
}
