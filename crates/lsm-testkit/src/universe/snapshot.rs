//! What every read at one bound has to see.

use std::{ops::Bound, rc::Rc};

use lsm_types::{KeyOrder, SeqNo};

/// What a read sees of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This value.
    Value(Vec<u8>),
    /// That its operands do not fold.
    Broken,
}

/// What every read at one bound has to see.
#[derive(Clone, Debug)]
pub struct Snapshot {
    before: SeqNo,
    order: KeyOrder,
    /// Keys in the order of the tree.
    entries: Vec<(Vec<u8>, Seen)>,
    probes: Rc<[Vec<u8>]>,
}

impl Snapshot {
    /// * `entries`: the keys that are there, in any order.
    /// * `probes`: keys to ask for, there or not.
    pub(super) fn new(
        before: SeqNo,
        order: KeyOrder,
        mut entries: Vec<(Vec<u8>, Seen)>,
        probes: Rc<[Vec<u8>]>,
    ) -> Self {
        entries.sort_by(|(a, _), (b, _)| order.compare(a, b));
        Self { before, order, entries, probes }
    }

    /// The bound: what is numbered below is seen.
    pub fn before(&self) -> SeqNo {
        self.before
    }

    /// The order of keys.
    pub fn order(&self) -> &KeyOrder {
        &self.order
    }

    /// All keys that are there.
    pub fn entries(&self) -> &[(Vec<u8>, Seen)] {
        &self.entries
    }

    /// Keys to ask for.
    pub fn probes(&self) -> &[Vec<u8>] {
        &self.probes
    }

    /// What is seen of `key`.
    pub fn of(&self, key: &[u8]) -> Option<&Seen> {
        let found = self.entries.binary_search_by(|(other, _)| self.order.compare(other, key)).ok()?;
        self.entries.get(found).map(|(_, seen)| seen)
    }

    /// The keys between two bounds; none for inverted ones.
    pub fn between(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> &[(Vec<u8>, Seen)] {
        let from = match bounds.0 {
            Bound::Unbounded => 0,
            Bound::Included(lower) => self.rank(|key| self.order.compare(key, lower).is_lt()),
            Bound::Excluded(lower) => self.rank(|key| self.order.compare(key, lower).is_le()),
        };
        let to = match bounds.1 {
            Bound::Unbounded => self.entries.len(),
            Bound::Included(upper) => self.rank(|key| self.order.compare(key, upper).is_le()),
            Bound::Excluded(upper) => self.rank(|key| self.order.compare(key, upper).is_lt()),
        };
        self.entries.get(from..to).unwrap_or_default()
    }

    fn rank(&self, is_left: impl Fn(&[u8]) -> bool) -> usize {
        self.entries.partition_point(|(key, _)| is_left(key))
    }

    /// The keys that start with `prefix`.
    pub fn with_prefix(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Seen)> {
        self.entries.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect()
    }

    /// Sees `seen` of `key` instead.
    pub(super) fn set(&mut self, key: &[u8], seen: Option<Seen>) {
        let found = self.entries.binary_search_by(|(other, _)| self.order.compare(other, key));
        match (found, seen) {
            (Ok(at), Some(seen)) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.1 = seen;
                }
            }
            (Ok(at), None) => _ = self.entries.remove(at),
            (Err(at), Some(seen)) => self.entries.insert(at, (key.to_vec(), seen)),
            (Err(_), None) => {}
        }
    }
}
