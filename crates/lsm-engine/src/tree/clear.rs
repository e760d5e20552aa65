//! Deletes that free space at once: everything, or whole tables of a range.
//!
//! All of them begin as a delete of a range, which is a write like others, and end with the removal of tables. In
//! between the delete is made durable, so that no crash leaves the one without the other: a table that went could have
//! hidden older versions in a table that stayed. Only where nothing stays is there nothing to hide, and the removal
//! alone says it all.

use std::{ops::RangeBounds, sync::Arc};

use lsm_compaction_executor::{InstallError, InstallRequest, Placement};
use lsm_compaction_planner::{CompactionStrategy, DropRange, Plan, PlanView, TreeShape};
use lsm_manifest::{Catalog, TreeEdit, VersionEdit};
use lsm_table::Table;
use lsm_types::{Cut, ErrorKind, Level, RangeTombstone, Result, SeqNo, Slice, TableId, TombstoneIndex};
use parking_lot::Mutex;

use super::{Tree, TreeInner, publish::Published, range_delete::span};
use crate::{
    EngineError, FlushOptions,
    deletes::RunDeletes,
    store::{Draft, Proposal},
    super_version::SuperVersion,
};

/// How often tables that another job took meanwhile are looked for again.
const ROUNDS: usize = 3;

impl Tree {
    /// Replaces the content by nothing at `seqno`: everything numbered below is gone, in one step. Its space is free
    /// once the last view that shows it is gone.
    ///
    /// What was written at or above `seqno` stays. Reads at or below `seqno` are refused from now on, **held ones
    /// too**, and so are writes below it, as long as the tree is open: later, too, nothing may be numbered below it. The
    /// change is durable when the call returns.
    ///
    /// # Errors
    /// As [`Tree::insert`] and [`Tree::flush`]. After an error of the file system the content may be gone for reads,
    /// and back after a crash: repeat the call.
    pub fn clear(&self, seqno: SeqNo) -> Result<()> {
        let inner = &self.inner;
        inner.check_writable()?;
        // No ingestion and no flush comes in between: what is sealed below, and in tables, is all there was.
        let _no_ingestion = inner.ingesting.write();
        let flushing = inner.flushing.lock();
        inner.remove_span(Cut::Start, Cut::End, seqno)?;
        // Late writes would come back to life, since no tombstone is left to hide them.
        inner.change_holds(seqno, |holds| {
            holds.cut_off(seqno);
            holds.promise(seqno);
        });
        inner.seal(None);
        let view = inner.current.load_full();
        if is_older(&view, seqno) {
            return inner.remove_all(&view, seqno);
        }
        // Something newer stays, perhaps with older entries beside it.
        drop(flushing);
        self.flush(&FlushOptions::default())?;
        let everything = RangeTombstone { start: Cut::Start, end: Cut::End, seqno };
        inner.remove_under(everything, seqno)
    }

    /// Deletes a range as [`Tree::remove_range`] does, makes that durable, and removes, unread, the tables of the range
    /// in which nothing is left that a read at or above the watermark could see.
    ///
    /// The watermark is usually below `seqno`. Then tables go at the first compaction after it has passed.
    ///
    /// # Errors
    /// As [`Tree::remove_range`] and [`Tree::flush`]; after an error of the file system the range may be deleted or
    /// not, wholly in either case.
    pub fn drop_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, seqno: SeqNo) -> Result<()> {
        if self.remove_durably(&range, seqno)?.is_some() {
            self.inner.remove_covered()?;
        }
        Ok(())
    }

    /// As [`Tree::drop_range`], and takes the range's history from readers, too: tables that lie in the range and are
    /// older go whatever the watermark, and reads at or below `seqno` are refused from now on, **held ones too**.
    /// Views go on.
    ///
    /// For data that has to leave now, such as what a retention period ends.
    ///
    /// # Errors
    /// As [`Tree::drop_range`].
    pub fn purge_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, seqno: SeqNo) -> Result<()> {
        let Some(tombstone) = self.remove_durably(&range, seqno)? else { return Ok(()) };
        self.inner.change_holds(SeqNo::ZERO, |holds| holds.cut_off(seqno));
        self.inner.remove_under(tombstone, seqno)
    }

    /// Deletes a range and flushes; `None` when the bounds hold no key.
    fn remove_durably<K: AsRef<[u8]>>(
        &self,
        range: &impl RangeBounds<K>,
        seqno: SeqNo,
    ) -> Result<Option<RangeTombstone>> {
        let (start, end) = span(range)?;
        let tombstone = RangeTombstone { start, end, seqno };
        self.inner.remove_span(tombstone.start.clone(), tombstone.end.clone(), seqno)?;
        if !tombstone.is_valid(&self.inner.order) {
            return Ok(None);
        }
        self.inner.seal(None);
        self.flush(&FlushOptions::default())?;
        Ok(Some(tombstone))
    }
}

impl TreeInner {
    /// Removes all tables and the sealed memtables of `view` in one edit. The caller keeps flushes away, and all of it
    /// is older than `seqno`; so is what a compaction that is under way makes of it.
    fn remove_all(self: &Arc<Self>, view: &SuperVersion, seqno: SeqNo) -> Result<()> {
        let Some(newest) = view.sealed.first() else { return Ok(()) };
        let (tree, through) = (self.id, newest.id);
        let end = newest.end;
        let positions: Vec<_> =
            view.sealed.iter().rev().filter_map(|sealed| sealed.position.clone()).collect();
        let reached = positions.clone();
        let removed: Arc<Mutex<Vec<TableId>>> = Arc::default();
        let (me, gone) = (self.clone(), removed.clone());
        let build = Box::new(move |draft: &mut Draft<'_>| {
            let version = draft.version(tree).ok_or(EngineError::Closed)?;
            let ids: Vec<TableId> = version.levels.tables().map(|(_, table)| table.id).collect();
            let mut edit = VersionEdit::default();
            for id in &ids {
                edit.push(tree, TreeEdit::RemoveTable { id: *id });
            }
            *gone.lock() = ids;
            edit.push(tree, TreeEdit::MaxSeqNo(seqno));
            edit.push(tree, TreeEdit::RaiseFloor(seqno));
            let known = version.watermark.clone();
            let durable = me.durable_after(Some(through), end);
            edit.push(tree, TreeEdit::Watermark(me.next_watermark(known, durable, &reached)));
            Ok(edit)
        });
        let me = self.clone();
        let publish = Box::new(move |catalog: &Catalog| {
            let Some(version) = catalog.tree(tree) else { return };
            let removed = std::mem::take(&mut *removed.lock());
            let change = Published { removed, flushed_through: Some(through), ..Published::default() };
            me.publish(version, change);
        });
        let proposal = Proposal { build, publish, outputs: Vec::new() };
        self.store.install(proposal).map_err(InstallError::into_error)?;
        self.keep_positions(positions);
        Ok(())
    }

    /// Removes the tables that lie under `tombstone`, which is durable, whoever may still want to read them; refuses
    /// reads at or below `floor`.
    fn remove_under(self: &Arc<Self>, tombstone: RangeTombstone, floor: SeqNo) -> Result<()> {
        let cover = TombstoneIndex::new(vec![tombstone], self.order.clone());
        if self.remove_tables(&cover, SeqNo::LATEST, floor)? == 0 {
            self.remove(Vec::new(), floor)?;
        }
        Ok(())
    }

    /// Removes the tables that lie under range tombstones of tables that every read sees, without reading them; returns
    /// how many they were.
    ///
    /// Looks again only when tables or the watermark changed since it looked last.
    pub(super) fn remove_covered(self: &Arc<Self>) -> Result<usize> {
        let view = self.current.load_full();
        if view.deletes.is_empty() {
            return Ok(0);
        }
        let kept = self.holds.start_job(self.compaction_limit(), self.visible_end());
        let watermark = kept.retention.watermark();
        let looked = Some((watermark, Arc::as_ptr(&view.version) as usize));
        if std::mem::replace(&mut *self.looked_for_covered.lock(), looked) == looked {
            return Ok(0);
        }
        let Some(cover) = self.deletes_of_tables(&view)? else { return Ok(0) };
        self.remove_tables(&cover, watermark, watermark.saturating_prev())
    }

    /// The range tombstones of all tables; `None` when there are none. Put together anew only when other tables than the
    /// last time hold some.
    pub(crate) fn deletes_of_tables(&self, view: &SuperVersion) -> Result<Option<Arc<TombstoneIndex>>> {
        let tables = || view.deletes.iter().flat_map(RunDeletes::tables);
        if view.deletes.is_empty() {
            return Ok(None);
        }
        if let Some((of, index)) = &*self.deletes_of_tables.lock()
            && of.iter().cloned().eq(tables().map(part_of))
        {
            return Ok(Some(index.clone()));
        }
        let mut tombstones = Vec::new();
        for table in tables() {
            tombstones.extend(table.tombstones()?.into_iter().flat_map(|index| index.tombstones()).cloned());
        }
        let index = Arc::new(TombstoneIndex::new(tombstones, self.order.clone()));
        *self.deletes_of_tables.lock() = Some((tables().map(part_of).collect(), index.clone()));
        Ok(Some(index))
    }

    /// Removes idle tables all of whose entries and range tombstones lie under newer ones of `cover`, numbered below
    /// `before`; returns how many.
    ///
    /// What such a table hides elsewhere lies under the newer tombstone, too.
    fn remove_tables(self: &Arc<Self>, cover: &TombstoneIndex, before: SeqNo, floor: SeqNo) -> Result<usize> {
        for _ in 0..ROUNDS {
            // Busy before tables: a job that ends in between leaves its inputs busy and gone.
            let busy = self.busy.snapshot();
            let view = self.current.load_full();
            let shape = TreeShape::new(self.order.clone());
            let planning =
                PlanView::new(&view.version.levels, &busy, &shape).with_watermark(before).with_deletes(cover);
            let Plan::Drop(plan) = DropRange::default().plan(&planning) else { return Ok(0) };
            let Some(_lease) = self.busy.lease(&plan.inputs) else { continue };
            match self.remove(plan.inputs.tables().map(|table| table.id).collect(), floor) {
                // Taken and finished by another job since we looked.
                Err(error) if error.kind() == ErrorKind::Cancelled => {}
                outcome => return outcome.map(|()| plan.inputs.table_count()),
            }
        }
        Ok(0)
    }

    pub(super) fn remove(self: &Arc<Self>, tables: Vec<TableId>, floor: SeqNo) -> Result<()> {
        let request = InstallRequest {
            remove: tables,
            restrict: Vec::new(),
            rest: Vec::new(),
            add: Vec::new(),
            vlogs: Vec::new(),
            vectors: Vec::new(),
            relocate: Vec::new(),
            dest: Level::new(0),
            placement: Placement::OfInputs,
            floor: Some(floor),
            altered: None,
            filtered: None,
        };
        self.install(request, Vec::new()).map_err(InstallError::into_error)
    }
}

/// A table, and the key from which on it is left.
fn part_of(table: &Table) -> (TableId, Option<Slice>) {
    (table.id(), table.descriptor().restriction.as_ref().map(|restriction| restriction.lower.clone()))
}

/// Whether all tables and sealed memtables of `view` hold nothing above `seqno`, and nothing at it but the tombstone.
fn is_older(view: &SuperVersion, seqno: SeqNo) -> bool {
    let memory = view.sealed.iter().all(|sealed| {
        sealed.max_seqno <= seqno && sealed.entries.seqnos().is_none_or(|(_, highest)| highest < seqno)
    });
    memory && view.version.levels.tables().all(|(_, table)| table.seqnos.max < seqno)
}
