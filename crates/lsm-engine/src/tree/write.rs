//! Writes: checked, then copied into the active memtable.

use std::{ops::Range, sync::atomic::Ordering, thread};

use lsm_memtable::MemtableError;
use lsm_types::{EntryRef, Kind, Result, SeqNo, check_entry};

use super::{Sealed, Tree, TreeInner};
use crate::{EngineError, Token, TreeBatch, batch::BatchEntry, memtables::Memtable, store::Asks};

/// What a write added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteInfo {
    /// Bytes the write took in the memtable.
    pub bytes_added: u64,
    /// Bytes of the active memtable after it.
    pub memtable_bytes: u64,
}

impl Tree {
    /// Puts `value` under `key` at `seqno`.
    ///
    /// The write is visible to reads above `seqno` when the call returns; it is durable after a flush.
    ///
    /// # Errors
    /// `InvalidKey`, `ValueTooLarge`, `SeqNoOutOfRange`; `BelowSnapshot` when a registered read or the watermark
    /// forbids the number; `Closed`; `StorageFull` where [`SpaceOptions::writes`](crate::SpaceOptions::writes) is on and
    /// there is no room. Nothing changes on error.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, seqno: SeqNo) -> Result<WriteInfo> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.inner.store.admit_write(1, key.len() + value.len(), Asks::Room)?;
        self.inner.write(EntryRef { key, seqno, kind: Kind::Put, value })
    }

    /// Deletes `key` at `seqno`, whether or not it exists.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn remove(&self, key: impl AsRef<[u8]>, seqno: SeqNo) -> Result<WriteInfo> {
        let key = key.as_ref();
        self.inner.store.admit_write(1, key.len(), Asks::Reserve)?;
        self.inner.write(EntryRef { key, seqno, kind: Kind::Tombstone, value: &[] })
    }

    /// Deletes `key` at `seqno`; where the delete and the put below it meet, both go at once, in whatever level.
    ///
    /// Right only for a key that was put at most once since its last weak delete; an ordinary delete or a delete of a
    /// range in between does not start a new count, and a merge onto nothing counts as a put. A key that was put more
    /// often may show one of its older values again.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn remove_weak(&self, key: impl AsRef<[u8]>, seqno: SeqNo) -> Result<WriteInfo> {
        let (key, kind) = (key.as_ref(), self.inner.written_kind(Kind::WeakTombstone));
        self.inner.store.admit_write(1, key.len(), Asks::Reserve)?;
        self.inner.write(EntryRef { key, seqno, kind, value: &[] })
    }

    /// Adds `operand` to `key` at `seqno`, for the tree's merge operator to fold onto what is there.
    ///
    /// Allowed without an operator: then the newest operand is the key's value.
    ///
    /// # Errors
    /// As [`Tree::insert`]; the operator is not asked.
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>, seqno: SeqNo) -> Result<WriteInfo> {
        let (key, value) = (key.as_ref(), operand.as_ref());
        self.inner.store.admit_write(1, key.len() + value.len(), Asks::Room)?;
        self.inner.write(EntryRef { key, seqno, kind: Kind::MergeOperand, value })
    }

    /// Applies a batch wholly or not at all; operation `i` gets `base + i`. Returns the numbers used.
    ///
    /// An empty batch is a no-op that uses none.
    ///
    /// # Errors
    /// As [`Tree::insert`]; `BatchTooLarge` when it does not fit into a memtable.
    pub fn apply(&self, batch: &TreeBatch, base: SeqNo) -> Result<Range<SeqNo>> {
        self.inner.admit_batch(batch)?;
        self.inner.apply_from(batch, base, SeqNo::ZERO)
    }

    /// Applies a batch wholly or not at all; all its operations get the number `seqno`, for callers with one number per
    /// transaction. Of several puts and deletes of a key the last one counts.
    ///
    /// # Errors
    /// As [`Tree::apply`]; `AmbiguousBatch` when one of several operations on a key is a merge, or when a delete of a
    /// range comes after a write of one of its keys: with one number their order would be lost. What comes after such
    /// a delete stays.
    pub fn apply_shared(&self, batch: &TreeBatch, seqno: SeqNo) -> Result<WriteInfo> {
        self.inner.admit_batch(batch)?;
        self.inner.apply_shared(batch, seqno)
    }

    /// Freezes the active memtable, tagging it with the caller's log position: what the log holds up to there is in
    /// memtables and tables, or has an open ticket. `None` when the memtable is empty; the position is not kept then.
    pub fn seal(&self, token: Option<Token>) -> Option<Sealed> {
        self.inner.seal(token)
    }
}

impl TreeInner {
    fn write(&self, entry: EntryRef<'_>) -> Result<WriteInfo> {
        check_entry(entry.key, entry.value.len())?;
        if !entry.seqno.is_write() {
            return Err(EngineError::SeqNoOutOfRange { seqno: entry.seqno, what: "a write" }.into());
        }
        self.with_memtable(entry.seqno, |memtable| {
            memtable.insert(entry.key, entry.seqno, entry.kind, entry.value)
        })
    }

    /// Lets a batch pass, or refuses it. One of deletes alone counts as a delete.
    #[inline]
    fn admit_batch(&self, batch: &TreeBatch) -> Result<()> {
        let is_delete = |entry: BatchEntry<'_>| !matches!(entry.kind, Kind::Put | Kind::MergeOperand);
        let asks =
            if self.store.gates_writes() && batch.iter().all(is_delete) { Asks::Reserve } else { Asks::Room };
        self.store.admit_write(batch.len(), batch.byte_size(), asks)
    }

    /// Applies the operations of `batch` that are numbered `from` or above.
    pub(super) fn apply_from(&self, batch: &TreeBatch, base: SeqNo, from: SeqNo) -> Result<Range<SeqNo>> {
        let Some(last) = batch.len().checked_sub(1) else {
            self.check_writable()?;
            return Ok(base..base);
        };
        let out_of_range = EngineError::SeqNoOutOfRange { seqno: base, what: "the base of this batch" };
        let last = base.checked_add(last as u64).filter(|last| last.is_write()).ok_or(out_of_range)?;
        let numbered = self.entries_of(batch, base).filter(move |entry| entry.seqno >= from);
        let mut tombstones =
            self.batch_tombstones(batch, |at| base.checked_add(at as u64).unwrap_or(last))?;
        tombstones.retain(|(_, tombstone)| tombstone.seqno >= from);
        if tombstones.is_empty() {
            self.with_memtable(last, |memtable| memtable.insert_batch(numbered.clone()))?;
        } else {
            self.write_tombstones(&numbered, &tombstones, last)?;
        }
        Ok(base..last.next())
    }

    fn apply_shared(&self, batch: &TreeBatch, seqno: SeqNo) -> Result<WriteInfo> {
        if !seqno.is_write() {
            return Err(EngineError::SeqNoOutOfRange { seqno, what: "a write" }.into());
        }
        let tombstones = self.batch_tombstones(batch, |_| seqno)?;
        self.check_shared(batch, &tombstones)?;
        let entries = batch.reduced()?;
        if entries.is_empty() && tombstones.is_empty() {
            self.check_writable()?;
            return Ok(WriteInfo { bytes_added: 0, memtable_bytes: self.current.load().active.bytes() });
        }
        let numbered = entries.iter().map(|entry| EntryRef {
            key: entry.key,
            seqno,
            kind: self.written_kind(entry.kind),
            value: entry.value,
        });
        if !tombstones.is_empty() {
            return self.write_tombstones(&numbered, &tombstones, seqno);
        }
        self.with_memtable(seqno, |memtable| memtable.insert_batch(numbered.clone()))
    }

    /// The writes of single keys as entries, numbered from `base` on.
    pub(crate) fn entries_of<'b>(
        &self,
        batch: &'b TreeBatch,
        base: SeqNo,
    ) -> impl Iterator<Item = EntryRef<'b>> + Clone {
        batch.numbered().map(move |(at, entry)| EntryRef {
            key: entry.key,
            seqno: base.checked_add(at as u64).unwrap_or(SeqNo::LATEST),
            kind: self.written_kind(entry.kind),
            value: entry.value,
        })
    }

    /// What a write of this kind is written as.
    pub(super) fn written_kind(&self, kind: Kind) -> Kind {
        if kind == Kind::WeakTombstone && self.strict_weak_deletes { Kind::Tombstone } else { kind }
    }

    /// Runs `insert` on the active memtable. One that is being sealed is tried again until the next one is there; a
    /// full one is sealed.
    #[inline]
    fn with_memtable(
        &self,
        last: SeqNo,
        insert: impl Fn(&Memtable) -> Result<usize, MemtableError>,
    ) -> Result<WriteInfo> {
        self.check_writable()?;
        loop {
            let pinned = self.current.load();
            let memtable = &pinned.active.entries;
            match insert(memtable) {
                Ok(added) => {
                    self.visible_end.fetch_max(last.next().get(), Ordering::AcqRel);
                    return Ok(WriteInfo { bytes_added: added as u64, memtable_bytes: memtable.bytes() });
                }
                Err(MemtableError::Frozen) => thread::yield_now(),
                Err(MemtableError::Full { .. }) if !memtable.is_empty() => {
                    drop(pinned);
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
