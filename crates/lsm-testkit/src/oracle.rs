//! The judge of every read: the whole history, and what a read at some bound sees of it.
//!
//! Written from the definition in the engine text, section 2.3, without a thought for speed, and without a line in
//! common with the engine.

use std::{collections::BTreeMap, ops::Bound};

use lsm_types::{KeyOrder, Kind, SeqNo};

/// One write of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Number of the write.
    pub seqno: SeqNo,
    /// What it means.
    pub kind: Kind,
    /// Its value; empty for deletes.
    pub value: Vec<u8>,
}

/// Everything ever written to a tree.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By key, in byte order; the versions of a key in the order of writing.
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
}

impl History {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write. A second one with the same key and number takes the place of the first.
    pub fn write(&mut self, key: &[u8], seqno: SeqNo, kind: Kind, value: &[u8]) {
        let versions = self.keys.entry(key.to_vec()).or_default();
        versions.retain(|version| version.seqno != seqno);
        versions.push(Version { seqno, kind, value: value.to_vec() });
    }

    /// Adds a put.
    pub fn put(&mut self, key: &[u8], seqno: SeqNo, value: &[u8]) {
        self.write(key, seqno, Kind::Put, value);
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: &[u8], seqno: SeqNo) {
        self.write(key, seqno, Kind::Tombstone, &[]);
    }

    /// Forgets every write numbered at or above `from`: what a crash does that lost them.
    pub fn forget_from(&mut self, from: SeqNo) {
        for versions in self.keys.values_mut() {
            versions.retain(|version| version.seqno < from);
        }
    }

    /// What a read of `key` sees that sees numbers below `before`.
    pub fn get(&self, key: &[u8], before: SeqNo) -> Option<&[u8]> {
        let versions = self.keys.get(key)?;
        let seen = versions.iter().filter(|version| version.seqno < before);
        let newest = seen.max_by_key(|version| version.seqno)?;
        match newest.kind {
            Kind::Tombstone | Kind::WeakTombstone => None,
            _ => Some(&newest.value),
        }
    }

    /// What a scan sees, in the order of `order`, of keys between the bounds.
    pub fn range(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        before: SeqNo,
        order: &KeyOrder,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let above = |key: &[u8]| match bounds.0 {
            Bound::Unbounded => true,
            Bound::Included(lower) => order.compare(lower, key).is_le(),
            Bound::Excluded(lower) => order.compare(lower, key).is_lt(),
        };
        let below = |key: &[u8]| match bounds.1 {
            Bound::Unbounded => true,
            Bound::Included(upper) => order.compare(key, upper).is_le(),
            Bound::Excluded(upper) => order.compare(key, upper).is_lt(),
        };
        let mut seen: Vec<_> = self
            .keys
            .keys()
            .filter(|key| above(key) && below(key))
            .filter_map(|key| Some((key.clone(), self.get(key, before)?.to_vec())))
            .collect();
        seen.sort_by(|(a, _), (b, _)| order.compare(a, b));
        seen
    }

    /// Everything a scan sees.
    pub fn all(&self, before: SeqNo, order: &KeyOrder) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.range((Bound::Unbounded, Bound::Unbounded), before, order)
    }

    /// All keys ever written.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.keys().map(Vec::as_slice)
    }
}
