//! What keeps a store open, or keeps its files in place, without being one.

use std::sync::{Arc, Weak};

use super::{Store, StoreInner};

/// A handle of a store that does not keep it open.
#[derive(Clone)]
pub struct WeakStore {
    pub(super) inner: Weak<StoreInner>,
}

impl WeakStore {
    /// The store, unless everything that kept it open is gone.
    pub fn upgrade(&self) -> Option<Store> {
        self.inner.upgrade().map(|inner| Store { inner })
    }
}

impl std::fmt::Debug for WeakStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakStore").finish_non_exhaustive()
    }
}

/// Holds back the removal of files until it is dropped, and keeps the store open as long.
pub struct DeletionHold {
    store: Arc<StoreInner>,
}

impl DeletionHold {
    /// Returns when no removal is under way.
    pub(crate) fn new(store: Arc<StoreInner>) -> Self {
        store.reclaimer.hold();
        Self { store }
    }
}

impl Drop for DeletionHold {
    fn drop(&mut self) {
        self.store.reclaimer.unhold();
    }
}

impl std::fmt::Debug for DeletionHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeletionHold").finish_non_exhaustive()
    }
}
