//! Entries as they were written, nothing resolved: for tools and replication. A separated value is shown like any other.

use std::{
    cmp::Ordering,
    ops::{Bound, RangeBounds},
};

use lsm_iter::Merge;
use lsm_table::CacheUse;
use lsm_types::{EntryCursor, EntryRef, Kind, RangeTombstone, Result, SeqNo, Slice};

use crate::{
    View,
    changes::Scope,
    separated::ValueLogs,
    walk::{self, Source},
};

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// The key.
    pub key: Slice,
    /// Number of the write.
    pub seqno: SeqNo,
    /// What the write did.
    pub kind: Kind,
    /// Value or operand; empty for deletes.
    pub value: Slice,
}

impl View {
    /// All versions of the keys within `range` that the view holds, in key order, newest first within a key: nothing is
    /// hidden by deletes, and no operand is folded. Deletes of ranges are listed by [`View::range_tombstones`].
    ///
    /// Older versions may be gone, as the retention allows.
    pub fn versions<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Versions {
        let scope = self.scope(&range);
        let mut merge = Merge::new(self.tree.order.clone(), walk::sources(self, |_| true));
        let (lower, upper) = scope.bounds();
        merge.expect_within(lower, upper);
        let logs = self.pinned.vlogs.clone();
        Versions { merge, scope, before: self.before, stand: Stand::Start, logs, fetched: Slice::empty() }
    }

    /// Deletes of ranges that reach into `range`, in order of number; pieces of one that lie in several tables are put
    /// together.
    ///
    /// # Errors
    /// What opening a table with range tombstones finds.
    pub fn range_tombstones<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
    ) -> Result<Vec<RangeTombstone>> {
        let mut found = self.pinned.deletes_within(SeqNo::ZERO, self.before, &self.scope(&range))?;
        found.sort_by_key(|tombstone| tombstone.seqno);
        Ok(found)
    }

    /// The entry that decides `key`, as it is stored: the newest one that no delete of a range hides, which may itself be
    /// a delete or an operand.
    ///
    /// # Errors
    /// What reading blocks finds.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<RawEntry>> {
        let key = key.as_ref();
        let Some(newest) = self.versions(key..=key).next().transpose()? else { return Ok(None) };
        let hidden_below = self.pinned.covering(key, self.before, &self.tree.order)?;
        Ok(Some(newest).filter(|newest| hidden_below.is_none_or(|delete| delete <= newest.seqno)))
    }

    fn scope<K: AsRef<[u8]>>(&self, range: &impl RangeBounds<K>) -> Scope {
        let owned = |bound: Bound<&K>| bound.map(|key| Slice::from(key.as_ref()));
        Scope::new((owned(range.start_bound()), owned(range.end_bound())), &self.tree.order)
    }
}

/// Versions in key order, newest first within a key. After an error it is finished.
pub struct Versions {
    merge: Merge<Source>,
    scope: Scope,
    before: SeqNo,
    stand: Stand,
    logs: ValueLogs,
    /// The separated value of the version that was lent last.
    fetched: Slice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    Start,
    OnEntry,
    End,
}

impl Versions {
    /// Steps to the next version and lends it.
    ///
    /// # Errors
    /// What reading the next block found.
    pub fn advance(&mut self) -> Result<Option<EntryRef<'_>>> {
        let found = self.step();
        if !matches!(found, Ok(true)) {
            self.stand = Stand::End;
        }
        if !found? {
            return Ok(None);
        }
        match self.merge.entry() {
            Some(entry) if entry.kind == Kind::Indirection => {
                let fetched = self.logs.value(entry.key, entry.value, CacheUse::Fill);
                if fetched.is_err() {
                    self.stand = Stand::End;
                }
                self.fetched = fetched?;
                let value = &self.fetched;
                Ok(self.merge.entry().map(|entry| EntryRef { kind: Kind::Put, value, ..entry }))
            }
            entry => Ok(entry),
        }
    }

    fn step(&mut self) -> Result<bool> {
        match (std::mem::replace(&mut self.stand, Stand::OnEntry), self.scope.first()) {
            (Stand::End, _) => return Ok(false),
            (Stand::OnEntry, _) => self.merge.next()?,
            (Stand::Start, _) if self.scope.is_empty() => return Ok(false),
            (Stand::Start, Some(first)) => self.merge.seek(first, SeqNo::LATEST)?,
            (Stand::Start, None) => self.merge.seek_first()?,
        }
        while let Some(entry) = self.merge.entry() {
            match self.scope.place(entry.key) {
                Ordering::Equal if entry.seqno < self.before => return Ok(true),
                Ordering::Greater => return Ok(false),
                _ => self.merge.next()?,
            }
        }
        Ok(false)
    }
}

impl Iterator for Versions {
    type Item = Result<RawEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, seqno, kind) = match self.advance() {
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
            Ok(Some(EntryRef { key, seqno, kind, .. })) => (Slice::from(key), seqno, kind),
        };
        let is_separated = self.merge.entry().is_some_and(|entry| entry.kind == Kind::Indirection);
        let value = if is_separated { self.fetched.clone() } else { self.merge.value() };
        Some(Ok(RawEntry { key, seqno, kind, value }))
    }
}

impl std::iter::FusedIterator for Versions {}

impl std::fmt::Debug for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versions").field("scope", &self.scope).finish_non_exhaustive()
    }
}
