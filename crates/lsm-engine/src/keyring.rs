//! Keys that come and go while a store is open.

use lsm_crypto::{CryptoError, FileContext, FileKey, KeyChain, KeyId, KeyProvider, WrappedKey};
use lsm_types::TreeId;
use parking_lot::RwLock;

/// A [`KeyChain`] that can be changed while stores use it: new keys for files to come, old ones dropped.
///
/// Files that are open keep the key they were opened with until they are closed.
#[derive(Debug)]
pub struct Keyring {
    chain: RwLock<KeyChain>,
}

impl Keyring {
    /// A ring that begins with the keys of `chain`.
    pub fn new(chain: KeyChain) -> Self {
        Self { chain: RwLock::new(chain) }
    }

    /// Changes the keys, in one step as far as stores see it.
    pub fn change<T>(&self, change: impl FnOnce(&mut KeyChain) -> T) -> T {
        change(&mut self.chain.write())
    }
}

impl KeyProvider for Keyring {
    fn current_key_id(&self, tree: TreeId) -> Result<KeyId, CryptoError> {
        self.chain.read().current_key_id(tree)
    }

    fn file_key(
        &self,
        id: KeyId,
        context: &FileContext,
        wrapped: Option<&WrappedKey>,
    ) -> Result<FileKey, CryptoError> {
        self.chain.read().file_key(id, context, wrapped)
    }
}
