//! Values that lie in value logs: the open logs of one version, and the way from a handle to its value.

use std::{collections::BTreeMap, sync::Arc};

use lsm_table::{CacheUse, ValueLog};
use lsm_types::{Kind, Result, SeparatedValues, Slice, ValueHandle, VlogId};

use crate::EngineError;

/// The value logs of a version. Whoever holds them keeps their files.
#[derive(Clone, Default)]
pub(crate) struct ValueLogs {
    logs: Arc<BTreeMap<VlogId, ValueLog>>,
}

impl ValueLogs {
    pub(crate) fn new(logs: BTreeMap<VlogId, ValueLog>) -> Self {
        Self { logs: Arc::new(logs) }
    }

    pub(crate) fn get(&self, id: VlogId) -> Option<&ValueLog> {
        self.logs.get(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ValueLog> {
        self.logs.values()
    }

    /// Bytes of their files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.iter().map(|log| log.descriptor().file_len).sum()
    }

    /// The value of `key` behind `stored`, the payload of an indirection.
    ///
    /// # Errors
    /// `DanglingValue` where it leads nowhere; what reading the value finds.
    pub(crate) fn value(&self, key: &[u8], stored: &[u8], cache: CacheUse) -> Result<Slice> {
        let handle = handle_of(key, stored)?;
        match self.get(handle.file) {
            Some(log) => log.get(&handle, key, cache),
            None => Err(dangling(key, stored)),
        }
    }

    /// The value of an entry as it is stored; fetched where it is separated.
    pub(crate) fn resolve(&self, key: &[u8], kind: Kind, stored: Slice) -> Result<Slice> {
        if kind == Kind::Indirection { self.value(key, &stored, CacheUse::Fill) } else { Ok(stored) }
    }
}

/// Length of the value of an entry as it is stored. Fetches nothing.
pub(crate) fn value_len(key: &[u8], kind: Kind, stored: &[u8]) -> Result<usize> {
    if kind != Kind::Indirection {
        return Ok(stored.len());
    }
    Ok(handle_of(key, stored)?.value_len as usize)
}

fn handle_of(key: &[u8], stored: &[u8]) -> Result<ValueHandle> {
    ValueHandle::decode(stored).map_err(|_| dangling(key, stored))
}

#[cold]
fn dangling(key: &[u8], stored: &[u8]) -> lsm_types::Error {
    EngineError::DanglingValue { key: key.into(), handle: stored.into() }.into()
}

impl SeparatedValues for ValueLogs {
    fn fetch(&self, key: &[u8], handle: &[u8]) -> Result<Slice> {
        self.value(key, handle, CacheUse::Fill)
    }
}

/// The same for compactions, which leave the cache to readers.
pub(crate) struct PastCache(pub(crate) ValueLogs);

impl SeparatedValues for PastCache {
    fn fetch(&self, key: &[u8], handle: &[u8]) -> Result<Slice> {
        self.0.value(key, handle, CacheUse::Look)
    }
}

impl std::fmt::Debug for ValueLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.logs.keys()).finish()
    }
}
