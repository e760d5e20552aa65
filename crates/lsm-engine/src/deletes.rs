//! Range tombstones of one moment: those of the memtables, and those of the tables, found by key.
//!
//! Where there are none a read pays one branch per memtable and one for all tables together. Otherwise it searches:
//! in a memtable a few indexes of falling size, in a run the tables whose coverage holds the key.

use std::sync::Arc;

use lsm_table::Table;
use lsm_types::{Cut, KeyOrder, RangeTombstone, Result, SeqNo, TombstoneIndex};

use crate::super_version::SuperVersion;

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

/// The tables of a run that hold range tombstones.
#[derive(Debug)]
pub(crate) struct RunDeletes {
    /// By the start of their coverage.
    tables: Box<[Table]>,
    /// `reach[i]`: the farthest end of coverage among `tables[..=i]`.
    reach: Box<[Cut]>,
    /// Largest number among these tables.
    max_seqno: SeqNo,
}

impl RunDeletes {
    /// `None` without tables.
    pub(crate) fn new(tables: impl Iterator<Item = Table>, order: &KeyOrder) -> Option<Self> {
        let mut tables: Vec<Table> = tables.collect();
        tables.sort_by(|a, b| a.descriptor().coverage_start.compare(&b.descriptor().coverage_start, order));
        let mut reach: Vec<Cut> = Vec::with_capacity(tables.len());
        for table in &tables {
            let end = &table.descriptor().coverage_end;
            let farthest = reach.last().filter(|last| last.compare(end, order).is_gt()).unwrap_or(end);
            reach.push(farthest.clone());
        }
        let max_seqno = tables.iter().map(|table| table.descriptor().seqnos.max).max()?;
        Some(Self { tables: tables.into(), reach: reach.into(), max_seqno })
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Those whose coverage may hold `key`, from right to left.
    #[inline]
    fn around<'a>(&'a self, key: &'a [u8], order: &'a KeyOrder) -> impl Iterator<Item = &'a Table> {
        let begun =
            self.tables.partition_point(|table| table.descriptor().coverage_start.is_left_of(key, order));
        let begun = self.tables.iter().zip(&*self.reach).take(begun).rev();
        begun.take_while(|(_, reach)| !reach.is_left_of(key, order)).map(|(table, _)| table)
    }

    /// The larger one of `newest` and the largest number below `before` of a tombstone here that covers `key`.
    fn covering(
        &self,
        key: &[u8],
        before: SeqNo,
        mut newest: Option<SeqNo>,
        order: &KeyOrder,
    ) -> Result<Option<SeqNo>> {
        if newest >= Some(self.max_seqno) {
            return Ok(newest);
        }
        for table in self.around(key, order) {
            if newest < Some(table.descriptor().seqnos.max)
                && let Some(index) = table.tombstones()?
            {
                newest = newest.max(index.covering(key, before));
            }
        }
        Ok(newest)
    }
}

impl SuperVersion {
    /// Whether there is any range tombstone.
    #[inline]
    pub(crate) fn has_deletes(&self) -> bool {
        !self.active.deletes.is_empty()
            || !self.deletes.is_empty()
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
        let sealed = self.sealed.iter().map(|sealed| &sealed.deletes);
        let memory = std::iter::once(&self.active.deletes).chain(sealed);
        let mut newest = memory.filter_map(|deletes| deletes.covering(key, before)).max();
        for run in &*self.deletes {
            newest = run.covering(key, before, newest, order)?;
        }
        Ok(newest)
    }

    /// Reads the range tombstones of all tables that have some, so that walks find them in memory.
    pub(crate) fn load_deletes(&self) -> Result<()> {
        for table in self.deletes.iter().flat_map(RunDeletes::tables) {
            table.tombstones()?;
        }
        Ok(())
    }

    /// The stretch around `key` in which the answer is the same, as far as one search tells. After
    /// [`SuperVersion::load_deletes`].
    pub(crate) fn stretch(&self, key: &[u8], before: SeqNo, order: &KeyOrder) -> Stretch {
        let mut found = Stretch { start: Cut::Start, end: Cut::End, newest: None };
        let sealed = self.sealed.iter().map(|sealed| &sealed.deletes);
        for index in std::iter::once(&self.active.deletes).chain(sealed).flat_map(|deletes| &deletes.indexes)
        {
            found.narrow_by(index, key, before, order);
        }
        for run in &*self.deletes {
            let begun =
                run.tables.partition_point(|table| table.descriptor().coverage_start.is_left_of(key, order));
            if let Some(next) = run.tables.get(begun) {
                found.narrow(&Cut::Start, &next.descriptor().coverage_start, order);
            }
            for (table, reach) in run.tables.iter().zip(&*run.reach).take(begun).rev() {
                if reach.is_left_of(key, order) {
                    found.narrow(reach, &Cut::End, order);
                    break;
                }
                match table.tombstones() {
                    Ok(Some(index)) => found.narrow_by(index, key, before, order),
                    outcome => debug_assert!(outcome.is_ok(), "tombstones are loaded before a walk begins"),
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
