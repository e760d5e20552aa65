//! Keys for tests, and an audit of the nonces spent under them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use lsm_engine::{
    CryptoError, Encryption, FileContext, FileKey, KeyChain, KeyId, KeyProvider, NonceAudit, Secret,
    WrappedKey,
};
use lsm_types::TreeId;

/// Seals with one key, number 1.
pub(crate) fn encryption() -> Encryption {
    Encryption::new(Arc::new(chain()))
}

/// One key, number 1.
pub(crate) fn chain() -> KeyChain {
    KeyChain::new(KeyId::new(1), secret(1))
}

/// The secret of a key with this number.
pub(crate) fn secret(number: u8) -> Secret {
    Secret::new([number; 32])
}

/// Every nonce that was spent, by key.
#[derive(Default)]
pub(crate) struct Audit {
    spent: Mutex<HashMap<[u8; FileKey::CHECK_LEN], HashSet<[u8; 12]>>>,
}

impl Audit {
    /// Seals with `keys` and writes down every nonce.
    pub(crate) fn over(self: &Arc<Self>, keys: Arc<dyn KeyProvider>) -> Encryption {
        Encryption::new(Arc::new(Audited { keys, audit: self.clone() }))
    }

    /// Keys and nonces spent so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let spent = self.spent.lock().unwrap();
        (spent.len(), spent.values().map(HashSet::len).sum())
    }
}

impl NonceAudit for Audit {
    fn spent(&self, check: [u8; FileKey::CHECK_LEN], nonce: [u8; 12]) {
        let is_new = self.spent.lock().unwrap().entry(check).or_default().insert(nonce);
        assert!(is_new, "nonce {nonce:?} is spent twice under one key");
    }
}

struct Audited {
    keys: Arc<dyn KeyProvider>,
    audit: Arc<Audit>,
}

impl KeyProvider for Audited {
    fn current_key_id(&self, tree: TreeId) -> Result<KeyId, CryptoError> {
        self.keys.current_key_id(tree)
    }

    fn file_key(
        &self,
        id: KeyId,
        context: &FileContext,
        wrapped: Option<&WrappedKey>,
    ) -> Result<FileKey, CryptoError> {
        Ok(self.keys.file_key(id, context, wrapped)?.audited(self.audit.clone()))
    }
}
