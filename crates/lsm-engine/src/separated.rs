//! Values that lie in value logs: the open logs of one version, and the way from a handle to its value.

use std::{collections::BTreeMap, sync::Arc};

use lsm_table::{CacheUse, ValueLog};
use lsm_types::{Kind, Result, SeparatedValues, Slice, ValueHandle, VlogId};
use parking_lot::RwLock;

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

    /// The same for a job that lets go of values as it goes on.
    pub(crate) fn passing(&self) -> Self {
        Self::new(self.logs.iter().map(|(id, log)| (*id, log.passing())).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ValueLog> {
        self.logs.values()
    }

    /// Bytes of their files that it keeps.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.iter().map(|log| log.descriptor().file_len.saturating_sub(log.frontier())).sum()
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

    /// The values of many entries, each a key and the payload of its indirection, in the order asked. Each fails on its
    /// own. What is not in the cache is read file by file, in the order it lies there, neighbours in one read.
    pub(crate) fn values(&self, wants: &[(&[u8], &[u8])], cache: CacheUse) -> Vec<Result<Slice>> {
        let mut by_log: BTreeMap<VlogId, Vec<(usize, ValueHandle)>> = BTreeMap::new();
        for (at, (_, stored)) in wants.iter().enumerate() {
            if let Ok(handle) = ValueHandle::decode(stored) {
                by_log.entry(handle.file).or_default().push((at, handle));
            }
        }
        let mut found: Vec<Option<Result<Slice>>> = wants.iter().map(|_| None).collect();
        for (id, handles) in by_log {
            let Some(log) = self.get(id) else { continue };
            let key = |at: usize| wants.get(at).map(|(key, _)| *key).unwrap_or_default();
            let batch: Vec<_> = handles.iter().map(|(at, handle)| (*handle, key(*at))).collect();
            for ((at, _), value) in handles.iter().zip(log.get_batch(&batch, cache)) {
                found.get_mut(*at).into_iter().for_each(|slot| *slot = Some(value.clone()));
            }
        }
        let found = wants.iter().zip(found);
        found.map(|((key, stored), found)| found.unwrap_or_else(|| Err(dangling(key, stored)))).collect()
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

/// The same for compactions, which leave the cache to readers, and let go of value logs that are gone.
pub(crate) struct PastCache(RwLock<ValueLogs>);

impl PastCache {
    pub(crate) fn new(logs: ValueLogs) -> Self {
        Self(RwLock::new(logs))
    }

    /// Lets go of value logs that are not to be kept.
    pub(crate) fn keep(&self, is_kept: impl Fn(VlogId) -> bool) {
        let logs = self.0.read().clone();
        if logs.iter().all(|log| is_kept(log.id())) {
            return;
        }
        let kept = logs.logs.iter().filter(|(id, _)| is_kept(**id));
        let kept = ValueLogs::new(kept.map(|(id, log)| (*id, log.clone())).collect());
        let before = std::mem::replace(&mut *self.0.write(), kept);
        // Dropped without the lock: the last handle of a file removes it.
        drop((before, logs));
    }
}

impl SeparatedValues for PastCache {
    fn fetch(&self, key: &[u8], handle: &[u8]) -> Result<Slice> {
        let logs = self.0.read().clone();
        logs.value(key, handle, CacheUse::Look)
    }
}

impl std::fmt::Debug for ValueLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.logs.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_types::{Error, ErrorKind};

    #[track_caller]
    fn check(error: &Error) {
        assert_eq!(error.kind(), ErrorKind::DanglingBlob);
        assert!(error.to_string().contains("\"key\""), "{error}");
    }

    /// Proves E-191, D-74: what leads nowhere is an error that names the key and what stands in place of its value.
    /// Fault: durability W-25.
    #[test]
    fn what_leads_nowhere_is_an_error_of_its_key() {
        let logs = ValueLogs::default();
        let handle =
            ValueHandle { file: VlogId::new(7), offset: 512, stored_len: 90, value_len: 40 }.encode();
        for stored in [&handle[..], b"no handle"] {
            let error = logs.value(b"key", stored, CacheUse::Fill).unwrap_err();
            check(&error);
            assert!(error.to_string().contains(&format!("{:?}", Slice::copy_from(stored))), "{error}");
            check(&logs.resolve(b"key", Kind::Indirection, Slice::copy_from(stored)).unwrap_err());
            check(&logs.fetch(b"key", stored).unwrap_err());
            check(&PastCache::new(logs.clone()).fetch(b"key", stored).unwrap_err());
            for found in logs.values(&[(b"key", stored), (b"key", &handle)], CacheUse::Look) {
                check(&found.unwrap_err());
            }
        }
        check(&value_len(b"key", Kind::Indirection, b"no handle").unwrap_err());
        assert_eq!(value_len(b"key", Kind::Indirection, &handle).unwrap(), 40);
    }
}
