//! Range tombstones of one moment: those of the memtables, and those of the tables, found by key.
//!
//! Where there are none a read pays one branch per memtable and one for all tables together. Otherwise it searches:
//! in a memtable a few indexes of falling size, in a run the tables whose coverage holds the key.

use std::sync::{Arc, OnceLock};

use lsm_table::Table;
use lsm_types::{Cut, Error, KeyOrder, RangeTombstone, Result, SeqNo, TombstoneIndex};

use crate::{EngineError, super_version::SuperVersion};

/// An index of a memtable is at least this many times as large as the next one.
const GROWTH: usize = 8;

/// The range tombstones of a memtable, copied when one is added.
///
/// They are kept in indexes of falling size: a new one swallows those before it that are not much larger. So n
/// tombstones, added one by one, are indexed about `GROWTH` log n times, and a read searches log n indexes.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemDeletes {
    indexes: Vec<Arc<TombstoneIndex>>,
    /// Smallest and largest number.
    seqnos: Option<(SeqNo, SeqNo)>,
    bytes: u64,
}

impl MemDeletes {
    /// These and `added`, of which there is at least one.
    pub(crate) fn with(&self, added: &[RangeTombstone], order: &KeyOrder) -> Self {
        let mut indexes = self.indexes.clone();
        let mut newest = added.to_vec();
        while let Some(last) = indexes.pop_if(|last| last.tombstones().len() < GROWTH * newest.len()) {
            newest.extend_from_slice(last.tombstones());
        }
        indexes.push(Arc::new(TombstoneIndex::new(newest, order.clone())));
        let bounds = indexes.iter().filter_map(|index| index.seqnos());
        let seqnos = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let bytes = indexes.iter().map(|index| index.bytes() as u64).sum();
        Self { indexes, seqnos, bytes }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Smallest and largest number.
    pub(crate) fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        self.seqnos
    }

    /// Bytes they take in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn tombstones(&self) -> impl Iterator<Item = &RangeTombstone> {
        self.indexes.iter().flat_map(|index| index.tombstones())
    }

    /// The largest number below `before` of one that covers `key`.
    #[inline]
    fn covering(&self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        self.indexes.iter().filter_map(|index| index.covering(key, before)).max()
    }
}

/// The tables of a run that hold range tombstones, by the start of their coverage.
#[derive(Debug)]
pub(crate) struct RunDeletes {
    tables: Box<[DeletingTable]>,
    /// Largest number among these tables.
    max_seqno: SeqNo,
}

/// A table with range tombstones, and beside it what a search asks for.
#[derive(Debug)]
struct DeletingTable {
    table: Table,
    index: OnceLock<Arc<TombstoneIndex>>,
    start: Cut,
    /// The farthest end of coverage among the tables up to this one.
    reach: Cut,
    max_seqno: SeqNo,
}

impl DeletingTable {
    /// Its range tombstones, in memory after the first call.
    #[inline]
    fn index(&self) -> Result<&TombstoneIndex> {
        match self.index.get() {
            Some(index) => Ok(index),
            None => self.load(),
        }
    }

    #[cold]
    fn load(&self) -> Result<&TombstoneIndex> {
        let none = EngineError::Bug { invariant: "a table that is listed for its range tombstones has some" };
        let index = self.table.tombstones()?.ok_or(none)?;
        Ok(self.index.get_or_init(|| index.clone()))
    }
}

impl RunDeletes {
    /// `None` without tables.
    pub(crate) fn new(tables: impl Iterator<Item = Table>, order: &KeyOrder) -> Option<Self> {
        let mut tables: Vec<Table> = tables.collect();
        tables.sort_by(|a, b| a.descriptor().coverage_start.compare(&b.descriptor().coverage_start, order));
        let mut sorted: Vec<DeletingTable> = Vec::with_capacity(tables.len());
        for table in tables {
            let descriptor = table.descriptor();
            let end = &descriptor.coverage_end;
            let reach =
                sorted.last().map(|last| &last.reach).filter(|reach| reach.compare(end, order).is_gt());
            let (start, reach) = (descriptor.coverage_start.clone(), reach.unwrap_or(end).clone());
            let max_seqno = descriptor.seqnos.max;
            sorted.push(DeletingTable { table, index: OnceLock::new(), start, reach, max_seqno });
        }
        let max_seqno = sorted.iter().map(|table| table.max_seqno).max()?;
        Some(Self { tables: sorted.into(), max_seqno })
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().map(|table| &table.table)
    }

    /// Those whose coverage reaches keys between two cuts. Others cost nothing but a search.
    pub(crate) fn reaching<'s>(
        &'s self,
        start: &'s Cut,
        end: &Cut,
        order: &'s KeyOrder,
    ) -> impl Iterator<Item = &'s Table> {
        let begun = self.tables.partition_point(|table| table.start.compare(end, order).is_lt());
        let begun = self.tables.get(..begun).unwrap_or_default();
        let near = begun.iter().rev().take_while(|table| table.reach.compare(start, order).is_gt());
        near.map(|table| &table.table)
            .filter(|table| table.descriptor().coverage_end.compare(start, order).is_gt())
    }

    /// Those that start left of `key`; of a single table only its index is asked.
    #[inline]
    fn begun(&self, key: &[u8], order: &KeyOrder) -> &[DeletingTable] {
        match &*self.tables {
            [_] => &self.tables,
            many => {
                let begun = many.partition_point(|table| table.start.is_left_of(key, order));
                many.get(..begun).unwrap_or_default()
            }
        }
    }

    /// The larger one of `newest` and the largest number below `before` of a tombstone here that covers `key`; `index`
    /// gives the tombstones of a table.
    #[inline]
    fn covering<'s, E>(
        &'s self,
        key: &[u8],
        before: SeqNo,
        mut newest: Option<SeqNo>,
        order: &KeyOrder,
        index: impl Fn(&'s DeletingTable) -> Result<&'s TombstoneIndex, E>,
    ) -> Result<Option<SeqNo>, E> {
        if newest >= Some(self.max_seqno) {
            return Ok(newest);
        }
        let begun = self.begun(key, order);
        for (left, table) in begun.iter().enumerate().rev() {
            if left > 0 && table.reach.is_left_of(key, order) {
                break;
            }
            if newest < Some(table.max_seqno) {
                newest = newest.max(index(table)?.covering(key, before));
            }
        }
        Ok(newest)
    }
}

/// Why it is not known which range tombstones cover a key.
pub(crate) enum Hindrance<'s> {
    /// The table was not opened yet.
    Closed(&'s Table),
    /// Its tombstones cannot be had.
    Failed(Error),
}

impl SuperVersion {
    /// Whether there is any range tombstone.
    #[inline]
    pub(crate) fn has_deletes(&self) -> bool {
        !self.active.deletes.is_empty()
            || !self.deletes.is_empty()
            || self.overlay.as_ref().is_some_and(|overlay| !overlay.deletes.is_empty())
            || self.sealed.iter().any(|sealed| !sealed.deletes.is_empty())
    }

    /// The largest number below `before` of a range tombstone that covers `key`, whatever container holds it.
    ///
    /// # Errors
    /// What opening a table with range tombstones finds.
    #[inline]
    pub(crate) fn covering(&self, key: &[u8], before: SeqNo, order: &KeyOrder) -> Result<Option<SeqNo>> {
        if self.has_deletes() { self.search_deletes(key, before, order) } else { Ok(None) }
    }

    fn search_deletes(&self, key: &[u8], before: SeqNo, order: &KeyOrder) -> Result<Option<SeqNo>> {
        self.search_deletes_by(key, before, order, DeletingTable::index)
    }

    /// As [`SuperVersion::covering`], but reads no file.
    pub(crate) fn covering_in_memory(
        &self,
        key: &[u8],
        before: SeqNo,
        order: &KeyOrder,
    ) -> Result<Option<SeqNo>, Hindrance<'_>> {
        if !self.has_deletes() {
            return Ok(None);
        }
        self.search_deletes_by(key, before, order, |deleting| {
            if !deleting.table.is_open() {
                return Err(Hindrance::Closed(&deleting.table));
            }
            deleting.index().map_err(Hindrance::Failed)
        })
    }

    #[inline]
    fn search_deletes_by<'s, E>(
        &'s self,
        key: &[u8],
        before: SeqNo,
        order: &KeyOrder,
        index: impl Fn(&'s DeletingTable) -> Result<&'s TombstoneIndex, E>,
    ) -> Result<Option<SeqNo>, E> {
        let overlay = self.overlay.as_ref().and_then(|overlay| overlay.deletes.covering(key, before));
        let before = self.tree_bound(before);
        let sealed = self.sealed.iter().map(|sealed| &sealed.deletes);
        let memory = std::iter::once(&self.active.deletes).chain(sealed);
        let mut newest = memory.filter_map(|deletes| deletes.covering(key, before)).chain(overlay).max();
        for run in &*self.deletes {
            newest = run.covering(key, before, newest, order, &index)?;
        }
        Ok(newest)
    }

    /// Reads the range tombstones of all tables that have some, so that walks find them in memory.
    pub(crate) fn load_deletes(&self) -> Result<()> {
        self.deletes.iter().flat_map(|run| &run.tables).try_for_each(|table| table.index().map(drop))
    }

    /// The stretch around `key` in which the answer is the same, as far as one search tells. After
    /// [`SuperVersion::load_deletes`].
    pub(crate) fn stretch(&self, key: &[u8], before: SeqNo, order: &KeyOrder) -> Stretch {
        let mut found = Stretch { start: Cut::Start, end: Cut::End, newest: None };
        for index in self.overlay.iter().flat_map(|overlay| &overlay.deletes.indexes) {
            found.narrow_by(index, key, before, order);
        }
        let before = self.tree_bound(before);
        let sealed = self.sealed.iter().map(|sealed| &sealed.deletes);
        for index in std::iter::once(&self.active.deletes).chain(sealed).flat_map(|deletes| &deletes.indexes)
        {
            found.narrow_by(index, key, before, order);
        }
        for run in &*self.deletes {
            let begun = run.begun(key, order);
            if let Some(next) = run.tables.get(begun.len()) {
                found.narrow(&Cut::Start, &next.start, order);
            }
            for table in begun.iter().rev() {
                if table.reach.is_left_of(key, order) {
                    found.narrow(&table.reach, &Cut::End, order);
                    break;
                }
                match table.index() {
                    Ok(index) => found.narrow_by(index, key, before, order),
                    Err(_) => debug_assert!(false, "tombstones are loaded before a walk begins"),
                }
            }
        }
        found
    }
}

/// Keys under the same range tombstones, as seen by one read.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) start: Cut,
    pub(crate) end: Cut,
    /// The largest number below the read's bound.
    pub(crate) newest: Option<SeqNo>,
}

impl Stretch {
    fn narrow(&mut self, start: &Cut, end: &Cut, order: &KeyOrder) {
        if self.start.compare(start, order).is_lt() {
            self.start = start.clone();
        }
        if self.end.compare(end, order).is_gt() {
            self.end = end.clone();
        }
    }

    fn narrow_by(&mut self, index: &TombstoneIndex, key: &[u8], before: SeqNo, order: &KeyOrder) {
        let stretch = index.find(key);
        let (start, end) = index.around(stretch);
        self.narrow(start, end, order);
        self.newest = self.newest.max(index.newest_below(stretch, before));
    }
}
