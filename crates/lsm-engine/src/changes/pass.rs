//! One pass over what may hold changes of a window.

use std::{cmp::Ordering, ops::Bound, sync::Arc};

use lsm_table::{SeqNoWindow, Table};
use lsm_types::{
    Cut, EntryCursor, EntryRef, KeyOrder, RangeTombstone, Result, SeqNo, Slice, join_tombstones,
};

use super::{ChangesProgress, pool::Pool};
use crate::{
    EngineError,
    deletes::{MemDeletes, RunDeletes},
    memtables::Memtable,
    prefix_scan::Bounds,
    super_version::{ReadRun, SuperVersion},
};

/// The keys whose changes are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    bounds: Bounds,
    order: KeyOrder,
}

impl Scope {
    pub(crate) fn new(bounds: Bounds, order: &KeyOrder) -> Self {
        Self { bounds, order: order.clone() }
    }

    pub(super) fn order(&self) -> &KeyOrder {
        &self.order
    }

    /// Its two ends.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The key at which the scope begins, or behind which.
    pub(crate) fn first(&self) -> Option<&Slice> {
        match &self.bounds.0 {
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        }
    }

    /// The key at which the scope ends, or before which.
    pub(crate) fn last(&self) -> Option<&Slice> {
        match &self.bounds.1 {
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        }
    }

    /// Where `key` lies: before the scope, in it, or behind it.
    #[inline]
    pub(crate) fn place(&self, key: &[u8]) -> Ordering {
        let is_before = match &self.bounds.0 {
            Bound::Included(lower) => self.order.compare(key, lower).is_lt(),
            Bound::Excluded(lower) => self.order.compare(key, lower).is_le(),
            Bound::Unbounded => false,
        };
        let is_behind = || match &self.bounds.1 {
            Bound::Included(upper) => self.order.compare(key, upper).is_gt(),
            Bound::Excluded(upper) => self.order.compare(key, upper).is_ge(),
            Bound::Unbounded => false,
        };
        if is_before {
            Ordering::Less
        } else if is_behind() {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// Whether entries of `table` may lie in the scope.
    pub(crate) fn reaches(&self, table: &Table) -> bool {
        table.max_key().is_some_and(|max| self.place(max).is_ge())
            && table.min_key().is_some_and(|min| self.place(min).is_le())
    }

    /// Whether some key of the scope may lie between the cuts of `tombstone`.
    fn meets(&self, tombstone: &RangeTombstone) -> bool {
        let cuts = (self.bounds.0.as_ref(), self.bounds.1.as_ref());
        let start = Cut::from_lower(cuts.0.map(AsRef::as_ref));
        let end = Cut::from_upper(cuts.1.map(AsRef::as_ref));
        tombstone.clip(&start, &end, &self.order).is_some()
    }

    /// Whether the scope holds no key.
    pub(crate) fn is_empty(&self) -> bool {
        let start = Cut::from_lower(self.bounds.0.as_ref().map(AsRef::as_ref));
        let end = Cut::from_upper(self.bounds.1.as_ref().map(AsRef::as_ref));
        start.compare(&end, &self.order).is_ge()
    }

    /// Calls `visit` with the entries of a memtable in the scope until it says that this is enough.
    pub(crate) fn walk(
        &self,
        memtable: &Arc<Memtable>,
        mut visit: impl FnMut(EntryRef<'_>) -> bool,
    ) -> Result<()> {
        let mut cursor = memtable.cursor();
        match self.first() {
            Some(first) => cursor.seek(first, SeqNo::LATEST)?,
            None => cursor.seek_first()?,
        }
        while let Some(entry) = cursor.entry() {
            match self.place(entry.key) {
                Ordering::Greater => break,
                Ordering::Equal if visit(entry) => break,
                _ => cursor.next()?,
            }
        }
        Ok(())
    }
}

/// What is looked at, and for which changes.
pub(super) struct Pass<'a> {
    pub(super) pinned: &'a SuperVersion,
    pub(super) scope: &'a Scope,
    pub(super) since: SeqNo,
    pub(super) reads_everything: bool,
}

/// A container of entries.
enum Container<'a> {
    Memory(&'a Arc<Memtable>),
    Table(&'a Table),
}

impl Pass<'_> {
    /// Offers every change of the scope from `since` on that is numbered below the pool's end.
    ///
    /// What holds the lowest numbers comes first: once the pool is full, the rest is passed.
    pub(super) fn run(&self, pool: &mut Pool, progress: &mut ChangesProgress) -> Result<()> {
        for (smallest, container) in self.containers(progress) {
            match container {
                Container::Memory(memtable) if smallest < pool.end() => {
                    self.scope.walk(memtable, |entry| {
                        if self.since <= entry.seqno {
                            pool.offer(entry);
                        }
                        false
                    })?;
                }
                Container::Table(table) if smallest < pool.end() || self.reads_everything => {
                    self.read(table, pool, progress)?;
                }
                Container::Memory(_) => {}
                Container::Table(_) => progress.tables_skipped += 1,
            }
        }
        Ok(())
    }

    /// Containers that may hold changes of the window, with their smallest number, ascending by it.
    fn containers(&self, progress: &mut ChangesProgress) -> Vec<(SeqNo, Container<'_>)> {
        let active = std::iter::once(&self.pinned.active.entries);
        let memtables = active.chain(self.pinned.sealed.iter().map(|sealed| &sealed.entries));
        let mut found = Vec::new();
        for memtable in memtables {
            if let Some((min, max)) = memtable.seqnos()
                && self.since <= max
            {
                found.push((min, Container::Memory(memtable)));
            }
        }
        for table in self.pinned.runs.iter().flat_map(ReadRun::tables) {
            let Some(numbers) = table.descriptor().point_seqnos else { continue };
            if !self.scope.reaches(table) {
                continue;
            }
            if numbers.max < self.since && !self.reads_everything {
                progress.tables_skipped += 1;
                continue;
            }
            found.push((numbers.min, Container::Table(table)));
        }
        found.sort_by_key(|(smallest, _)| *smallest);
        found
    }

    fn read(&self, table: &Table, pool: &mut Pool, progress: &mut ChangesProgress) -> Result<()> {
        const ALL: SeqNoWindow = SeqNoWindow { since: SeqNo::ZERO, before: SeqNo::LATEST };
        let mut scan = table.change_scan()?;
        if let Some(first) = self.scope.first() {
            scan.seek(first)?;
        }
        let last = self.scope.last().map(AsRef::as_ref);
        loop {
            let window = SeqNoWindow { since: self.since, before: pool.end() };
            if !scan.next_block(if self.reads_everything { ALL } else { window }, last)? {
                break;
            }
            scan.for_each(window, self.reads_everything, |entry| {
                if self.scope.place(entry.key).is_eq() {
                    pool.offer(entry);
                }
                Ok(())
            })?;
        }
        let counts = scan.counts();
        progress.blocks_read += counts.read;
        progress.block_bytes_read += counts.bytes;
        progress.entries_skipped += counts.rows_skipped;
        Ok(())
    }
}

impl SuperVersion {
    /// The deletes of ranges from `since` on and below `before` that reach into the scope, as they were written where
    /// pieces of them lie in several tables.
    ///
    /// # Errors
    /// What opening a table with range tombstones finds.
    pub(crate) fn deletes_within(
        &self,
        since: SeqNo,
        before: SeqNo,
        scope: &Scope,
    ) -> Result<Vec<RangeTombstone>, lsm_types::Error> {
        let own = self.overlay.iter().flat_map(|overlay| overlay.deletes.tombstones());
        let mut found: Vec<RangeTombstone> =
            own.filter(|one| since <= one.seqno && one.seqno < before).cloned().collect();
        let before = self.tree_bound(before);
        let is_wanted = |one: &&RangeTombstone| since <= one.seqno && one.seqno < before;
        let sealed = self.sealed.iter().map(|sealed| &sealed.deletes);
        let memory = std::iter::once(&self.active.deletes).chain(sealed);
        found.extend(memory.flat_map(MemDeletes::tombstones).filter(is_wanted).cloned());
        for table in self.deletes.iter().flat_map(RunDeletes::tables) {
            if table.descriptor().seqnos.max < since {
                continue;
            }
            if let Some(index) = table.tombstones()? {
                found.extend(index.tombstones().iter().filter(is_wanted).cloned());
            }
        }
        let mut joined = join_tombstones(found, &scope.order);
        joined.retain(|tombstone| scope.meets(tombstone));
        Ok(joined)
    }

    /// Whether the scope received a write numbered at or above `since`.
    ///
    /// # Errors
    /// `HistoryCollected` when that is not known; what reading finds.
    pub(crate) fn changed_since(&self, since: SeqNo, scope: &Scope) -> Result<bool> {
        let earliest_complete = self.version.changes_from;
        if since < earliest_complete {
            return Err(EngineError::HistoryCollected { since, earliest_complete }.into());
        }
        if scope.is_empty() {
            return Ok(false);
        }
        if self.has_deletes() && !self.deletes_within(since, SeqNo::LATEST, scope)?.is_empty() {
            return Ok(true);
        }
        let active = std::iter::once(&self.active.entries);
        for memtable in active.chain(self.sealed.iter().map(|sealed| &sealed.entries)) {
            let mut found = false;
            if memtable.highest_seqno() >= Some(since) {
                scope.walk(memtable, |entry| {
                    found = entry.seqno >= since;
                    found
                })?;
            }
            if found {
                return Ok(true);
            }
        }
        let window = SeqNoWindow { since, before: SeqNo::LATEST };
        let tables = self.runs.iter().flat_map(ReadRun::tables);
        for table in tables.filter(|table| !table.is_older_than(since) && scope.reaches(table)) {
            let mut scan = table.change_scan()?;
            if let Some(first) = scope.first() {
                scan.seek(first)?;
            }
            while scan.next_block(window, scope.last().map(AsRef::as_ref))? {
                let mut found = false;
                scan.for_each(window, false, |entry| {
                    found |= scope.place(entry.key).is_eq();
                    Ok(())
                })?;
                if found {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
