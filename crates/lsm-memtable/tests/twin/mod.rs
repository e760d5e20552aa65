//! The safe twin: the same promises over a `BTreeMap`, and nothing clever.

#![allow(dead_code, reason = "each test file uses its part of the twin")]

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use lsm_memtable::Memtable;
use lsm_types::{Comparator, EntryCursor, EntryRef, KeyOrder, Kind, SeqNo};

pub(crate) type Table = Memtable<parking_lot::RawMutex>;

/// A key that orders as the twin's comparator says, then by number descending.
#[derive(Clone, Debug)]
pub(crate) struct InternalKey {
    order: KeyOrder,
    pub(crate) key: Vec<u8>,
    pub(crate) seqno: u64,
}

impl Ord for InternalKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.compare(&self.key, &other.key).then_with(|| other.seqno.cmp(&self.seqno))
    }
}

impl PartialOrd for InternalKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for InternalKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InternalKey {}

/// An entry with its own bytes.
pub(crate) type Owned = (Vec<u8>, u64, Kind, Vec<u8>);

pub(crate) fn owned(entry: EntryRef<'_>) -> Owned {
    (entry.key.to_vec(), entry.seqno.get(), entry.kind, entry.value.to_vec())
}

pub(crate) fn seqno(raw: u64) -> SeqNo {
    SeqNo::new(raw).expect("a legal number")
}

pub(crate) struct Twin {
    order: KeyOrder,
    entries: BTreeMap<InternalKey, (Kind, Vec<u8>)>,
}

impl Twin {
    pub(crate) fn new(order: KeyOrder) -> Self {
        Self { order, entries: BTreeMap::new() }
    }

    fn at(&self, key: &[u8], seqno: u64) -> InternalKey {
        InternalKey { order: self.order.clone(), key: key.to_vec(), seqno }
    }

    pub(crate) fn insert(&mut self, key: &[u8], seqno: u64, kind: Kind, value: &[u8]) {
        let at = self.at(key, seqno);
        self.entries.insert(at, (kind, value.to_vec()));
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn all(&self) -> Vec<Owned> {
        self.entries.iter().map(own).collect()
    }

    pub(crate) fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        let numbers = || self.entries.keys().map(|key| seqno(key.seqno));
        numbers().min().zip(numbers().max())
    }

    /// Entries at or after the point `(key, before)`, and before it, each outwards.
    pub(crate) fn around(&self, key: &[u8], before: u64) -> (Vec<Owned>, Vec<Owned>) {
        let is_before =
            |at: &InternalKey| self.order.compare(&at.key, key).then(before.cmp(&at.seqno)).is_le();
        let (mut back, ahead): (Vec<_>, Vec<_>) = self.entries.iter().partition(|(at, _)| is_before(at));
        back.reverse();
        (ahead.into_iter().map(own).collect(), back.into_iter().map(own).collect())
    }

    pub(crate) fn get(&self, key: &[u8], before: u64) -> Option<Owned> {
        self.around(key, before).0.into_iter().next().filter(|entry| entry.0 == key)
    }
}

fn own((at, (kind, value)): (&InternalKey, &(Kind, Vec<u8>))) -> Owned {
    (at.key.clone(), at.seqno, *kind, value.clone())
}

/// All entries from where the cursor stands, walking ahead.
pub(crate) fn walk(cursor: &mut impl EntryCursor) -> Vec<Owned> {
    let mut found = Vec::new();
    while let Some(entry) = cursor.entry() {
        found.push(owned(entry));
        cursor.next().expect("memory does not fail");
    }
    found
}

/// All entries from where the cursor stands, walking back.
pub(crate) fn walk_back(cursor: &mut impl EntryCursor) -> Vec<Owned> {
    let mut found = Vec::new();
    while let Some(entry) = cursor.entry() {
        found.push(owned(entry));
        cursor.prev().expect("memory does not fail");
    }
    found
}

/// Descending byte order.
pub(crate) struct Reverse;

impl Comparator for Reverse {
    fn name(&self) -> &'static str {
        "test.reverse"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

/// Short keys first.
pub(crate) struct LengthFirst;

impl Comparator for LengthFirst {
    fn name(&self) -> &'static str {
        "test.length-first"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

pub(crate) fn orders() -> [KeyOrder; 3] {
    [KeyOrder::bytewise(), KeyOrder::new(Arc::new(Reverse)), KeyOrder::new(Arc::new(LengthFirst))]
}
