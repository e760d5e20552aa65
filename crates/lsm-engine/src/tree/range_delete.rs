//! Deletes of ranges of keys, alone and in batches.

use std::{
    ops::{Bound, RangeBounds},
    sync::{Arc, atomic::Ordering},
};

use lsm_memtable::MemtableError;
use lsm_types::{Cut, EntryRef, RangeTombstone, Result, SeqNo, check_key};

use super::{Tree, TreeInner, WriteInfo};
use crate::{
    EngineError, TreeBatch, batch::RangeKeys, memtables::ActiveMemtable, store::Asks,
    super_version::SuperVersion,
};

impl Tree {
    /// Deletes, at `seqno`, every key within `range`, whatever it holds: a read above `seqno` sees no entry there that
    /// is numbered below it. Costs the same however many keys that are.
    ///
    /// Inverted and empty bounds are a no-op that adds nothing.
    ///
    /// # Errors
    /// As [`Tree::insert`]; a bound is a key, or open.
    pub fn remove_range<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        seqno: SeqNo,
    ) -> Result<WriteInfo> {
        let (start, end) = span(&range)?;
        self.inner.admit_range()?;
        self.inner.remove_span(start, end, seqno)
    }

    /// Deletes, at `seqno`, the keys that start with `prefix`; as [`Tree::remove_range`].
    ///
    /// # Errors
    /// As [`Tree::remove_range`]; `InvalidArgument` for an empty prefix: `remove_range(..)` says that. `Unsupported`
    /// when the tree's comparator does not keep keys with a common prefix together.
    pub fn remove_prefix(&self, prefix: impl AsRef<[u8]>, seqno: SeqNo) -> Result<WriteInfo> {
        let (start, end) = self.inner.prefix_span(prefix.as_ref())?;
        self.inner.admit_range()?;
        self.inner.remove_span(start, end, seqno)
    }
}

/// Refuses a prefix that says nothing, and one that no key can have.
pub(crate) fn check_prefix(prefix: &[u8]) -> Result<()> {
    if prefix.is_empty() {
        let problem = "an empty prefix is the prefix of every key; remove the range `..` instead";
        return Err(EngineError::InvalidArgument { argument: "prefix", problem }.into());
    }
    check_key(prefix)
}

/// The cuts of `range`.
pub(crate) fn span<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> Result<(Cut, Cut)> {
    let checked = |bound: Bound<&K>| -> Result<()> {
        match bound {
            Bound::Included(key) | Bound::Excluded(key) => check_key(key.as_ref()),
            Bound::Unbounded => Ok(()),
        }
    };
    let (lower, upper) = (range.start_bound(), range.end_bound());
    checked(lower)?;
    checked(upper)?;
    Ok((Cut::from_lower(lower.map(AsRef::as_ref)), Cut::from_upper(upper.map(AsRef::as_ref))))
}

/// Bytes of a tombstone and its keys.
fn bytes_of(tombstone: &RangeTombstone) -> u64 {
    let keys = [&tombstone.start, &tombstone.end].into_iter().filter_map(Cut::key);
    keys.map(|key| key.len() as u64).sum::<u64>() + size_of::<RangeTombstone>() as u64
}

impl TreeInner {
    /// Whether a range tombstone was written, or something ingested, that `view` does not show.
    #[inline]
    pub(crate) fn is_overtaken(&self, view: &SuperVersion) -> bool {
        self.overtaken_count.load(Ordering::Acquire) != view.overtaken_count
    }

    /// A delete of a range is small and frees much: it may use the reserve.
    fn admit_range(&self) -> Result<()> {
        self.store.admit_write(1, size_of::<RangeTombstone>(), Asks::Reserve)
    }

    /// The cuts around the keys that start with `prefix`.
    pub(crate) fn prefix_span(&self, prefix: &[u8]) -> Result<(Cut, Cut)> {
        check_prefix(prefix)?;
        let bounds = self.order.comparator().prefix_bounds(prefix).ok_or(EngineError::ScatteredPrefix)?;
        span(&bounds)
    }

    pub(super) fn remove_span(&self, start: Cut, end: Cut, seqno: SeqNo) -> Result<WriteInfo> {
        if !seqno.is_write() {
            return Err(EngineError::SeqNoOutOfRange { seqno, what: "a write" }.into());
        }
        let tombstone = RangeTombstone { start, end, seqno };
        if !tombstone.is_valid(&self.order) {
            self.check_writable()?;
            let memtable_bytes = self.current.load().active.bytes();
            return Ok(WriteInfo { bytes_added: 0, memtable_bytes });
        }
        self.write_tombstones(&std::iter::empty(), &[(0, tombstone)], seqno)
    }

    /// The deletes of ranges in `batch`, each with how many operations come before it and the number that `number` gives
    /// it for that; those of no key are left out.
    pub(crate) fn batch_tombstones(
        &self,
        batch: &TreeBatch,
        number: impl Fn(usize) -> SeqNo,
    ) -> Result<Vec<(usize, RangeTombstone)>> {
        let mut tombstones = Vec::with_capacity(batch.ranges().len());
        for range in batch.ranges() {
            let (start, end) = match &range.keys {
                RangeKeys::Between(start, end) => (start.clone(), end.clone()),
                RangeKeys::Prefix(prefix) => self.prefix_span(prefix)?,
            };
            tombstones.push((range.at, RangeTombstone { start, end, seqno: number(range.at) }));
        }
        tombstones.retain(|(_, tombstone)| tombstone.is_valid(&self.order));
        Ok(tombstones)
    }

    /// Refuses a batch that deletes what it has written before: with one number for both the write would stay.
    pub(super) fn check_shared(
        &self,
        batch: &TreeBatch,
        tombstones: &[(usize, RangeTombstone)],
    ) -> Result<(), EngineError> {
        if tombstones.is_empty() {
            return Ok(());
        }
        let written = batch.numbered().filter(|(_, entry)| !entry.kind.is_tombstone());
        for (at, entry) in written {
            let deletes = |(later, tombstone): &(usize, RangeTombstone)| {
                at < *later && tombstone.covers(entry.key, &self.order)
            };
            if tombstones.iter().any(deletes) {
                return Err(EngineError::AmbiguousBatch { key: entry.key.into() });
            }
        }
        Ok(())
    }

    /// Writes entries and range tombstones, with numbers up to `last`, into one memtable: all or none.
    ///
    /// The lock that sealing takes is held meanwhile, so that both land in the same memtable, and before it is sealed.
    pub(super) fn write_tombstones<'e>(
        &self,
        entries: &(impl Iterator<Item = EntryRef<'e>> + Clone),
        tombstones: &[(usize, RangeTombstone)],
        last: SeqNo,
    ) -> Result<WriteInfo> {
        self.check_writable()?;
        let tombstones: Vec<RangeTombstone> = tombstones.iter().map(|(_, one)| one.clone()).collect();
        loop {
            let publisher = self.publisher.lock();
            let bound = self.holds.write_floor();
            if let Some(seqno) = tombstones.iter().map(|one| one.seqno).find(|seqno| *seqno < bound) {
                return Err(EngineError::BelowSnapshot { seqno, bound }.into());
            }
            let current = self.current.load_full();
            let active = &current.active;
            match active.entries.insert_batch(entries.clone()) {
                Ok(added) => {
                    let next = Arc::new(ActiveMemtable {
                        id: active.id,
                        entries: active.entries.clone(),
                        deletes: active.deletes.with(&tombstones, &self.order),
                    });
                    let memtable_bytes = next.bytes();
                    let added = added as u64 + tombstones.iter().map(bytes_of).sum::<u64>();
                    let next = current.with_deletes(next);
                    let count = next.overtaken_count;
                    self.replace(&current, next);
                    self.overtaken_count.store(count, Ordering::Release);
                    drop(publisher);
                    self.visible_end.fetch_max(last.next().get(), Ordering::AcqRel);
                    return Ok(WriteInfo { bytes_added: added, memtable_bytes });
                }
                Err(MemtableError::Full { .. }) if !active.is_empty() => {
                    drop(publisher);
                    self.seal(None);
                }
                Err(MemtableError::BelowFloor { seqno, floor }) => {
                    return Err(EngineError::BelowSnapshot { seqno, bound: floor }.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
