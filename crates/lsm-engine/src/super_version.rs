//! Everything a read needs, pinned by one pointer: memtables, and the runs of tables with their open handles.
//!
//! The pure picture of the tables is [`lsm_manifest::Version`]; this adds to each of its chunks the handles of the
//! tables, and the numbers by which a read decides early. Two super versions share the chunks that no edit
//! between them touched, so an install costs what it changes.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as AtomicOrdering},
    },
};

use lsm_manifest::{Chunk, Run, TableDescriptor, Version};
use lsm_table::{ReleaseStats, Table, TableList, ValueLog};
use lsm_types::{KeyOrder, Level, SeqNo};

use crate::{
    deletes::RunDeletes,
    memtables::{ActiveMemtable, SealedMemtable},
    overlay::Overlay,
    separated::ValueLogs,
};

/// Neighbouring tables of a run with what a search needs side by side.
#[derive(Debug)]
pub(crate) struct ReadChunk {
    /// The chunk of the version this was made from; tells whether it can be taken over.
    source: Arc<Chunk>,
    /// The largest keys.
    uppers: Fences,
    tables: Box<[Table]>,
    /// Those with range tombstones.
    deleting: Box<[Table]>,
    /// Those of which a part is left.
    restricted: Box<[Table]>,
    /// Largest number of an entry.
    max_seqno: SeqNo,
}

impl ReadChunk {
    fn new(
        source: &Arc<Chunk>,
        order: &KeyOrder,
        table: &mut impl FnMut(&Arc<TableDescriptor>) -> Table,
    ) -> Self {
        let tables: Box<[Table]> = source.tables().iter().map(table).collect();
        let uppers = Fences::new(tables.iter().filter_map(Table::max_key), order);
        let entries = source.tables().iter().filter_map(|descriptor| descriptor.point_seqnos);
        let max_seqno = entries.map(|numbers| numbers.max).max().unwrap_or_default();
        let deletes = |table: &&Table| table.descriptor().counts.range_tombstones > 0;
        let deleting = tables.iter().filter(deletes).cloned().collect();
        let is_restricted = |table: &&Table| table.descriptor().restriction.is_some();
        let restricted = tables.iter().filter(is_restricted).cloned().collect();
        Self { source: source.clone(), uppers, tables, deleting, restricted, max_seqno }
    }
}

/// A run with open handles.
#[derive(Debug, Clone)]
pub(crate) struct ReadRun {
    /// The largest key of each chunk.
    uppers: Arc<Fences>,
    chunks: Arc<[Arc<ReadChunk>]>,
    /// Largest number of an entry of the run.
    pub(crate) max_seqno: SeqNo,
    /// Whether there are entries; a run of range tombstones only has none.
    pub(crate) has_entries: bool,
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
    pub(crate) fn find(&self, key: &[u8], order: &KeyOrder) -> Option<&Table> {
        let table = self.table(self.first_reaching(key, order)?)?;
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
    fn first_reaching(&self, key: &[u8], order: &KeyOrder) -> Option<TableSpot> {
        let chunk =
            self.uppers.first_reaching(key, order, |at| self.chunks.get(at)?.tables.last()?.max_key());
        let inner = self.chunks.get(chunk)?;
        let table = inner.uppers.first_reaching(key, order, |at| inner.tables.get(at)?.max_key());
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

/// Ascending keys, ready to be searched: what they share in front is kept once, and of each the eight bytes behind
/// that, side by side. Keys themselves are looked at only where these bytes are equal.
#[derive(Debug)]
struct Fences {
    shared: Box<[u8]>,
    heads: Box<[u64]>,
}

impl Fences {
    fn new<'k>(keys: impl Iterator<Item = &'k [u8]> + Clone, order: &KeyOrder) -> Self {
        let shared = match (keys.clone().next(), keys.clone().last()) {
            (Some(first), Some(last)) if order.is_bytewise() => shared_prefix(first, last),
            _ => &[],
        };
        let heads = keys.map(|key| order.head(key.get(shared.len()..).unwrap_or_default())).collect();
        Self { shared: shared.into(), heads }
    }

    /// Index of the first key at or above `key`; `key_at` gives a key by its index.
    #[inline]
    fn first_reaching<'k>(
        &self,
        key: &[u8],
        order: &KeyOrder,
        key_at: impl Fn(usize) -> Option<&'k [u8]>,
    ) -> usize {
        let Some(rest) = key.strip_prefix(&*self.shared) else {
            // All keys lie on one side of it.
            return if key < &*self.shared { 0 } else { self.heads.len() };
        };
        let head = order.head(rest);
        let is_below = |at: usize, upper: u64| match upper.cmp(&head) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => key_at(at).is_some_and(|upper| order.compare(upper, key).is_lt()),
        };
        partition_point(&self.heads, is_below)
    }
}

/// What two keys have in common in front; the same as what all keys between them have.
fn shared_prefix<'k>(first: &'k [u8], last: &[u8]) -> &'k [u8] {
    let len = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    first.get(..len).unwrap_or_default()
}

/// First index at which `is_below` is false.
#[inline]
fn partition_point(heads: &[u64], is_below: impl Fn(usize, u64) -> bool) -> usize {
    let (mut low, mut len) = (0, heads.len());
    while len > 0 {
        let half = len / 2;
        let middle = low + half;
        let Some(&head) = heads.get(middle) else { break };
        if is_below(middle, head) {
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
    /// Its value logs.
    pub(crate) vlogs: ValueLogs,
    /// All runs in the order in which reads look: level 0 newest first, then level by level.
    pub(crate) runs: Arc<[ReadRun]>,
    /// `max_seqno_from[i]`: largest number of an entry in `runs[i..]`; one longer than `runs`.
    max_seqno_from: Arc<[SeqNo]>,
    /// Of the runs those with range tombstones.
    pub(crate) deletes: Arc<[RunDeletes]>,
    /// Grows with each range tombstone that is written and each ingestion: what memtables shared with an older one do
    /// not show.
    pub(crate) overtaken_count: u64,
    /// Uncommitted writes that one reader sees above all.
    pub(crate) overlay: Option<Overlay>,
    /// When the next one took its place, by the clock's monotonic nanoseconds; 0 before that.
    replaced_at: AtomicU64,
}

impl SuperVersion {
    /// A super version over `version`, taking over from `previous` what did not change.
    ///
    /// `open` gives the handle of a table that `previous` does not hold.
    pub(crate) fn new(
        active: Arc<ActiveMemtable>,
        sealed: Arc<[Arc<SealedMemtable>]>,
        (version, vlogs): (Arc<Version>, ValueLogs),
        previous: Option<&Self>,
        order: &KeyOrder,
        mut open: impl FnMut(&Arc<TableDescriptor>) -> Table,
    ) -> Self {
        let mut known: HashMap<*const Chunk, &Arc<ReadChunk>> = HashMap::new();
        for chunk in
            previous.iter().flat_map(|previous| previous.runs.iter()).flat_map(|run| run.chunks.iter())
        {
            known.insert(Arc::as_ptr(&chunk.source), chunk);
        }
        let mut runs = Vec::new();
        for (_, level) in version.levels.iter() {
            for run in level.runs() {
                runs.push(read_run(run, &known, order, &mut open));
            }
        }
        let max_seqno_from = suffix_max(&runs);
        let deleting = |run: &ReadRun| {
            RunDeletes::new(run.chunks.iter().flat_map(|chunk| chunk.deleting.iter().cloned()), order)
        };
        let deletes = runs.iter().filter_map(deleting).collect();
        let overtaken_count = previous.map_or(0, |previous| previous.overtaken_count);
        let replaced_at = AtomicU64::new(0);
        let runs = runs.into();
        let overlay = None;
        Self {
            active,
            sealed,
            version,
            vlogs,
            runs,
            max_seqno_from,
            deletes,
            overtaken_count,
            overlay,
            replaced_at,
        }
    }

    /// The same with another set of range tombstones in the active memtable.
    pub(crate) fn with_deletes(&self, active: Arc<ActiveMemtable>) -> Self {
        let overtaken_count = self.overtaken_count + 1;
        Self { overtaken_count, ..self.with_memtables(active, self.sealed.clone()) }
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
            vlogs: self.vlogs.clone(),
            runs: self.runs.clone(),
            max_seqno_from: self.max_seqno_from.clone(),
            deletes: self.deletes.clone(),
            overtaken_count: self.overtaken_count,
            overlay: None,
            replaced_at: AtomicU64::new(0),
        }
    }

    /// The same under uncommitted writes.
    pub(crate) fn with_overlay(&self, overlay: Overlay) -> Self {
        Self { overlay: Some(overlay), ..self.with_memtables(self.active.clone(), self.sealed.clone()) }
    }

    /// The bound with which memtables and tables are read by a read at `before`; an overlay is read at `before`.
    #[inline]
    pub(crate) fn tree_bound(&self, before: SeqNo) -> SeqNo {
        self.overlay.as_ref().map_or(before, |overlay| before.min(overlay.limit))
    }

    /// All tables with their levels.
    pub(crate) fn tables_by_level(&self) -> impl Iterator<Item = (Level, &Table)> {
        let levels = self.version.levels.iter();
        let runs =
            levels.flat_map(|(level, runs)| runs.runs().iter().map(move |_| level)).zip(self.runs.iter());
        runs.flat_map(|(level, run)| run.tables().map(move |table| (level, table)))
    }

    /// The tables of which a part is left. Costs a look at each chunk.
    pub(crate) fn restricted(&self) -> impl Iterator<Item = &Table> {
        let chunks = self.runs.iter().flat_map(|run| run.chunks.iter());
        chunks.flat_map(|chunk| chunk.restricted.iter())
    }

    /// What became of the parts that are not, and of the values in front of frontiers.
    pub(crate) fn release_stats(&self) -> ReleaseStats {
        let tables = self.restricted().map(Table::release_stats);
        let logs = self.vlogs.iter().map(ValueLog::release_stats);
        tables.chain(logs).fold(ReleaseStats::default(), ReleaseStats::plus)
    }

    /// Notes that the next super version took the place of this one at `now`.
    pub(crate) fn note_replaced(&self, now: u64) {
        self.replaced_at.store(now.max(1), AtomicOrdering::Relaxed);
    }

    /// When that was; `None` for the newest one.
    pub(crate) fn replaced_at(&self) -> Option<u64> {
        let pinned = self.overlay.as_ref().map_or(self, |overlay| &overlay.under);
        Some(pinned.replaced_at.load(AtomicOrdering::Relaxed)).filter(|at| *at > 0)
    }

    /// Bytes of the files and memtables it keeps.
    pub(crate) fn pinned_bytes(&self) -> (u64, u64) {
        let tables: u64 = self.version.levels.iter().map(|(_, level)| level.file_bytes()).sum();
        let files = tables + self.vlogs.file_bytes();
        let sealed = self.sealed.iter().map(|sealed| sealed.bytes()).sum::<u64>();
        let overlay =
            self.overlay.as_ref().map_or(0, |overlay| overlay.entries.bytes() + overlay.deletes.bytes());
        (files, self.active.bytes() + sealed + overlay)
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
    open: &mut impl FnMut(&Arc<TableDescriptor>) -> Table,
) -> ReadRun {
    let mut chunks = Vec::with_capacity(run.tables.chunks().len());
    for chunk in run.tables.chunks() {
        chunks.push(match known.get(&Arc::as_ptr(chunk)) {
            Some(shared) => (*shared).clone(),
            None => Arc::new(ReadChunk::new(chunk, order, open)),
        });
    }
    ReadRun {
        uppers: Arc::new(Fences::new(
            chunks.iter().filter_map(|chunk| chunk.tables.last()?.max_key()),
            order,
        )),
        max_seqno: chunks.iter().map(|chunk| chunk.max_seqno).max().unwrap_or_default(),
        has_entries: chunks.iter().any(|chunk| chunk.tables.iter().any(|table| table.min_key().is_some())),
        chunks: chunks.into(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves E-64.
    #[test]
    fn fences_find_what_a_walk_finds() {
        let order = KeyOrder::bytewise();
        let lists: [&[&str]; 5] = [
            &[],
            &["b"],
            &["key-000100", "key-000200", "key-000200x", "key-000300"],
            &["prefix-aaaaaaaa1", "prefix-aaaaaaaa2", "prefix-aaaaaaaa3"],
            &["a", "ab", "abc", "b"],
        ];
        let probes = [
            "",
            "a",
            "aa",
            "ab",
            "abb",
            "b",
            "c",
            "key",
            "key-",
            "key-000100",
            "key-0002",
            "key-000200",
            "key-z",
        ];
        let more = ["prefix-aaaaaaaa", "prefix-aaaaaaaa2", "prefix-aaaaaaaa25", "prefix-b", "pre", "z"];
        for keys in lists {
            let fences = Fences::new(keys.iter().map(|key| key.as_bytes()), &order);
            for probe in probes.iter().chain(&more) {
                let found = fences
                    .first_reaching(probe.as_bytes(), &order, |at| keys.get(at).map(|key| key.as_bytes()));
                assert_eq!(found, keys.partition_point(|key| key < probe), "{probe} in {keys:?}");
            }
        }
    }
}
