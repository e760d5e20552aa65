//! Uncommitted writes over a view: reads see what they would see if the batch were applied.
//!
//! The batch is indexed in a memtable of its own, numbered from the view's bound on, so that it ranks above everything
//! the view sees. What the tree holds at or above that bound, written meanwhile or later, has numbers of the same
//! range: each container is therefore read with its own bound, the tree's with the view's.

use std::{ops::Bound, sync::Arc};

use lsm_memtable::MemtableConfig;
use lsm_types::{Cut, EntryCursor, EntryRef, RangeTombstone, Result, SeqNo, Slice};

use crate::{
    EngineError, Reader, TreeBatch, View, deletes::MemDeletes, memtables::Memtable, reader::ReadPoint,
    super_version::SuperVersion,
};

/// A batch, indexed, and what it lies over.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(crate) entries: Arc<Memtable>,
    pub(crate) deletes: MemDeletes,
    /// Of the tree, what is numbered below this is seen.
    pub(crate) limit: SeqNo,
    pub(crate) under: Arc<SuperVersion>,
}

/// A view with uncommitted writes over it: see [`View::overlaid`].
///
/// Entries of the batch show numbers from the view's bound on.
#[derive(Clone, Debug)]
pub struct Overlaid {
    view: View,
}

impl View {
    /// Lays the writes of `batch` over this view: every read answers as if the batch had been applied right above it.
    /// The batch is indexed once, in memory of its own; what is added to it later is not seen.
    ///
    /// # Errors
    /// What applying the batch would find in it; `SeqNoOutOfRange` when there are no numbers left above the view.
    pub fn overlaid(&self, batch: &TreeBatch) -> Result<Overlaid> {
        let tree = &self.tree;
        let room = |base: SeqNo| base.checked_add(batch.len() as u64);
        // A view of everything there may ever be has no numbers above it: then those above what there is do.
        let base =
            if room(self.before).is_some() { self.before } else { tree.visible_end().min(self.before) };
        let out_of_range = EngineError::SeqNoOutOfRange { seqno: base, what: "the base of this overlay" };
        let before = room(base).ok_or(out_of_range)?;
        let entries = Memtable::new(tree.order.clone(), MemtableConfig::default());
        entries.insert_batch(tree.entries_of(batch, base))?;
        let number = |at: usize| base.checked_add(at as u64).unwrap_or(before);
        let written = tree.batch_tombstones(batch, number)?.into_iter().map(|(_, tombstone)| tombstone);
        let mut tombstones: Vec<RangeTombstone> = written.collect();
        let (mut limit, mut under) = (base, &self.pinned);
        if let Some(lower) = &self.pinned.overlay {
            // One overlay for both: the numbers of the upper one begin where those of the lower one end.
            copy(&lower.entries, &entries, base)?;
            tombstones.extend(lower.deletes.tombstones().filter(|one| one.seqno < base).cloned());
            (limit, under) = (lower.limit, &lower.under);
        }
        let none = MemDeletes::default();
        let deletes = if tombstones.is_empty() { none } else { none.with(&tombstones, &tree.order) };
        let overlay = Overlay { entries: Arc::new(entries), deletes, limit, under: under.clone() };
        let pinned = Arc::new(under.with_overlay(overlay));
        Ok(Overlaid { view: Self::new(tree.clone(), pinned, before) })
    }
}

/// Copies what is numbered below `before`.
fn copy(from: &Arc<Memtable>, to: &Memtable, before: SeqNo) -> Result<()> {
    let mut cursor = from.cursor();
    cursor.seek_first()?;
    while let Some(entry) = cursor.entry() {
        if entry.seqno < before {
            to.insert(entry.key, entry.seqno, entry.kind, entry.value)?;
        }
        cursor.next()?;
    }
    Ok(())
}

impl Reader for Overlaid {
    fn with_read_point<T>(&self, read: impl FnMut(ReadPoint<'_>) -> Result<T>) -> Result<T> {
        self.view.with_read_point(read)
    }

    fn to_view(&self) -> View {
        self.view.clone()
    }
}

/// A cursor that passes over what is numbered at or above a limit: a container of the tree under an overlay.
pub(crate) struct Under<C> {
    cursor: C,
    limit: SeqNo,
    /// Which way it went last.
    back: bool,
}

impl<C: EntryCursor> Under<C> {
    pub(crate) fn new(cursor: C, limit: SeqNo) -> Self {
        Self { cursor, limit, back: false }
    }

    fn hidden(&self) -> Option<EntryRef<'_>> {
        self.cursor.entry().filter(|entry| entry.seqno >= self.limit)
    }

    /// Goes on to what is below the limit: at one key a few versions are stepped over, the rest is jumped.
    fn pass(&mut self) -> Result<()> {
        let mut steps = 0;
        while let Some(entry) = self.hidden() {
            steps += 1;
            if steps % STEPS_MAX == 0 {
                let key = Slice::copy_from(entry.key);
                self.cursor.seek(&key, self.limit)?;
            } else {
                self.cursor.next()?;
            }
        }
        Ok(())
    }

    fn pass_back(&mut self) -> Result<()> {
        let mut steps = 0;
        while let Some(entry) = self.hidden() {
            steps += 1;
            if steps % STEPS_MAX == 0 {
                let key = Slice::copy_from(entry.key);
                // Above a hidden version there are only hidden ones.
                self.cursor.seek_back(&key, SeqNo::LATEST)?;
            } else {
                self.cursor.prev()?;
            }
        }
        Ok(())
    }
}

/// Hidden versions in a row that are stepped over before a jump.
const STEPS_MAX: u32 = 8;

impl<C: EntryCursor> EntryCursor for Under<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.back = false;
        self.cursor.seek_first()?;
        self.pass()
    }

    fn seek_last(&mut self) -> Result<()> {
        self.back = true;
        self.cursor.seek_last()?;
        self.pass_back()
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.back = false;
        self.cursor.seek(key, before.min(self.limit))?;
        self.pass()
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.back = true;
        self.cursor.seek_back(key, before)?;
        self.pass_back()
    }

    fn next(&mut self) -> Result<()> {
        self.back = false;
        self.cursor.next()?;
        self.pass()
    }

    fn prev(&mut self) -> Result<()> {
        self.back = true;
        self.cursor.prev()?;
        self.pass_back()
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.cursor.entry()
    }

    fn value(&self) -> Slice {
        self.cursor.value()
    }

    fn bound(&self) -> Option<&[u8]> {
        self.cursor.bound()
    }

    fn settle(&mut self) -> Result<()> {
        self.cursor.settle()?;
        if self.back { self.pass_back() } else { self.pass() }
    }

    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        self.cursor.expect_within(lower, upper);
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let moved = self.cursor.skip(to, than)?;
        self.back = false;
        self.pass()?;
        Ok(moved)
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let moved = self.cursor.skip_back(to, than)?;
        self.back = true;
        self.pass_back()?;
        Ok(moved)
    }
}
