//! Everything a read needs, pinned by one pointer: memtables, and the runs of tables with their open handles.
//!
//! The pure picture of the tables is [`lsm_manifest::Version`]; this adds to each of its chunks the handles of the
//! tables, and the numbers by which a read decides early. Two super versions share the chunks that no edit
//! between them touched, so an install costs what it changes.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use lsm_manifest::{Chunk, Run, Version};
use lsm_table::{Table, TableList};
use lsm_types::{KeyOrder, SeqNo, TableId};

use crate::memtables::{ActiveMemtable, SealedMemtable};

/// Neighbouring tables of a run with what a search needs side by side.
#[derive(Debug)]
pub(crate) struct ReadChunk {
    /// The chunk of the version this was made from; tells whether it can be taken over.
    source: Arc<Chunk>,
    /// Heads of the largest keys.
    upper_heads: Box<[u64]>,
    tables: Box<[Table]>,
    max_seqno: SeqNo,
}

impl ReadChunk {
    fn new(
        source: &Arc<Chunk>,
        order: &KeyOrder,
        table: &mut impl FnMut(TableId) -> Option<Table>,
    ) -> Option<Self> {
        let tables: Option<Box<[Table]>> =
            source.tables().iter().map(|descriptor| table(descriptor.id)).collect();
        let tables = tables?;
        let upper_heads =
            tables.iter().map(|table| table.max_key().map_or(u64::MAX, |key| order.head(key))).collect();
        let max_seqno =
            source.tables().iter().map(|descriptor| descriptor.seqnos.max).max().unwrap_or_default();
        Some(Self { source: source.clone(), upper_heads, tables, max_seqno })
    }
}

/// A run with open handles.
#[derive(Debug, Clone)]
pub(crate) struct ReadRun {
    /// Heads of the largest key of each chunk.
    upper_heads: Arc<[u64]>,
    chunks: Arc<[Arc<ReadChunk>]>,
    /// Largest number in the run.
    pub(crate) max_seqno: SeqNo,
}

/// Position of a table in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableSpot {
    chunk: usize,
    table: usize,
}

impl ReadRun {
    /// The table whose entry range holds `key`.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], head: u64, order: &KeyOrder) -> Option<&Table> {
        let table = self.table(self.first_reaching(key, head, order)?)?;
        order.compare(table.min_key()?, key).is_le().then_some(table)
    }

    /// All tables, in key order.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.chunks.iter().flat_map(|chunk| chunk.tables.iter())
    }

    /// The position in `chunk` when there is a table.
    fn last_of(&self, chunk: usize) -> Option<TableSpot> {
        let table = self.chunks.get(chunk)?.tables.len().checked_sub(1)?;
        Some(TableSpot { chunk, table })
    }
}

impl TableList for ReadRun {
    type Spot = TableSpot;

    #[inline]
    fn table(&self, spot: TableSpot) -> Option<&Table> {
        self.chunks.get(spot.chunk)?.tables.get(spot.table)
    }

    #[inline]
    fn first_reaching(&self, key: &[u8], head: u64, order: &KeyOrder) -> Option<TableSpot> {
        let below = |upper: u64, max: Option<&[u8]>| match upper.cmp(&head) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => max.is_some_and(|max| order.compare(max, key).is_lt()),
        };
        let chunk = partition_point(&self.upper_heads, |at, upper| {
            below(upper, self.chunks.get(at).and_then(|chunk| chunk.tables.last()?.max_key()))
        });
        let inner = self.chunks.get(chunk)?;
        let table = partition_point(&inner.upper_heads, |at, upper| {
            below(upper, inner.tables.get(at).and_then(Table::max_key))
        });
        Some(TableSpot { chunk, table })
    }

    fn first(&self) -> Option<TableSpot> {
        let spot = TableSpot { chunk: 0, table: 0 };
        self.table(spot).map(|_| spot)
    }

    fn last(&self) -> Option<TableSpot> {
        self.last_of(self.chunks.len().checked_sub(1)?)
    }

    fn after(&self, spot: TableSpot) -> Option<TableSpot> {
        let next = TableSpot { chunk: spot.chunk, table: spot.table + 1 };
        if self.table(next).is_some() {
            return Some(next);
        }
        let next = TableSpot { chunk: spot.chunk + 1, table: 0 };
        self.table(next).map(|_| next)
    }

    fn before(&self, spot: TableSpot) -> Option<TableSpot> {
        match spot.table.checked_sub(1) {
            Some(table) => Some(TableSpot { chunk: spot.chunk, table }),
            None => self.last_of(spot.chunk.checked_sub(1)?),
        }
    }
}

/// First index at which `below` is false. A loop without early exit, so that it compiles without branches.
#[inline]
fn partition_point(heads: &[u64], below: impl Fn(usize, u64) -> bool) -> usize {
    let mut low = 0;
    let mut len = heads.len();
    while len > 0 {
        let half = len / 2;
        let middle = low + half;
        let Some(&head) = heads.get(middle) else { break };
        if below(middle, head) {
            low = middle + 1;
            len -= half + 1;
        } else {
            len = half;
        }
    }
    low
}

/// Memtables and tables at one moment.
#[derive(Debug)]
pub(crate) struct SuperVersion {
    pub(crate) active: Arc<ActiveMemtable>,
    /// Newest first.
    pub(crate) sealed: Arc<[Arc<SealedMemtable>]>,
    pub(crate) version: Arc<Version>,
    /// All runs in the order in which reads look: level 0 newest first, then level by level.
    pub(crate) runs: Arc<[ReadRun]>,
    /// `max_seqno_from[i]`: largest number in `runs[i..]`; one longer than `runs`.
    max_seqno_from: Arc<[SeqNo]>,
}

impl SuperVersion {
    /// A super version over `version`, taking over from `previous` what did not change.
    ///
    /// `open` gives the handle of a table that `previous` does not hold.
    pub(crate) fn new(
        active: Arc<ActiveMemtable>,
        sealed: Arc<[Arc<SealedMemtable>]>,
        version: Arc<Version>,
        previous: Option<&Self>,
        order: &KeyOrder,
        mut open: impl FnMut(TableId) -> Option<Table>,
    ) -> Option<Self> {
        let mut known: HashMap<*const Chunk, &Arc<ReadChunk>> = HashMap::new();
        for chunk in
            previous.iter().flat_map(|previous| previous.runs.iter()).flat_map(|run| run.chunks.iter())
        {
            known.insert(Arc::as_ptr(&chunk.source), chunk);
        }
        let mut runs = Vec::new();
        for (_, level) in version.levels.iter() {
            for run in level.runs() {
                runs.push(read_run(run, &known, order, &mut open)?);
            }
        }
        let max_seqno_from = suffix_max(&runs);
        Some(Self { active, sealed, version, runs: runs.into(), max_seqno_from })
    }

    /// The same tables under other memtables.
    pub(crate) fn with_memtables(
        &self,
        active: Arc<ActiveMemtable>,
        sealed: Arc<[Arc<SealedMemtable>]>,
    ) -> Self {
        Self {
            active,
            sealed,
            version: self.version.clone(),
            runs: self.runs.clone(),
            max_seqno_from: self.max_seqno_from.clone(),
        }
    }

    /// Largest number in the runs from `index` on.
    #[inline]
    pub(crate) fn max_seqno_from(&self, index: usize) -> SeqNo {
        self.max_seqno_from.get(index).copied().unwrap_or(SeqNo::ZERO)
    }
}

fn read_run(
    run: &Run,
    known: &HashMap<*const Chunk, &Arc<ReadChunk>>,
    order: &KeyOrder,
    open: &mut impl FnMut(TableId) -> Option<Table>,
) -> Option<ReadRun> {
    let mut chunks = Vec::with_capacity(run.tables.chunks().len());
    for chunk in run.tables.chunks() {
        chunks.push(match known.get(&Arc::as_ptr(chunk)) {
            Some(shared) => (*shared).clone(),
            None => Arc::new(ReadChunk::new(chunk, order, open)?),
        });
    }
    Some(ReadRun {
        upper_heads: chunks
            .iter()
            .map(|chunk| chunk.upper_heads.last().copied().unwrap_or(u64::MAX))
            .collect(),
        max_seqno: chunks.iter().map(|chunk| chunk.max_seqno).max().unwrap_or_default(),
        chunks: chunks.into(),
    })
}

fn suffix_max(runs: &[ReadRun]) -> Arc<[SeqNo]> {
    let mut out = vec![SeqNo::ZERO; runs.len() + 1];
    let mut max = SeqNo::ZERO;
    for (slot, run) in out.iter_mut().zip(runs).rev() {
        // `rev` walks both from the end; the extra last slot stays at zero.
        max = max.max(run.max_seqno);
        *slot = max;
    }
    out.into()
}
