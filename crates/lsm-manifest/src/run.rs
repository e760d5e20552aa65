//! A run: tables with disjoint entry ranges, in key order, searched as one sorted unit.
//!
//! Tables are kept in chunks shared between versions, so that an edit copies the chunks it touches and one spine,
//! whatever the size of the run.

use alloc::{sync::Arc, vec::Vec};
use core::cmp::Ordering;

use lsm_types::{Cut, EditIndex, KeyOrder, KeyRange, RunId, Slice, UnixNanos};

use crate::TableDescriptor;

/// Largest number of tables in a chunk; a fuller one is split. An edit copies a chunk and the spine, so this is
/// near the root of the number of tables in a large run.
pub(crate) const CHUNK_MAX: usize = 256;

/// Neighbouring tables of a run, never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    tables: Vec<Arc<TableDescriptor>>,
    summary: Summary,
}

impl Chunk {
    /// The tables, in key order.
    pub fn tables(&self) -> &[Arc<TableDescriptor>] {
        &self.tables
    }

    /// When the first of them was written.
    pub fn oldest_at(&self) -> UnixNanos {
        self.summary.oldest_at
    }

    /// When the first of those that hold deletes of any kind was written; `None` when none does.
    pub fn oldest_deletes_at(&self) -> Option<UnixNanos> {
        self.summary.oldest_deletes_at
    }

    /// The largest share of tombstones in a table, in thousandths of its entries.
    pub fn delete_share_max(&self) -> u16 {
        self.summary.delete_share
    }

    fn max(&self) -> Option<&Slice> {
        self.tables.last()?.entries.as_ref().map(|range| &range.max)
    }
}

/// The tables of a run, in key order. Cheap to clone; equal when the tables are, however they are cut into chunks.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    chunks: Arc<Vec<Arc<Chunk>>>,
    len: usize,
    file_bytes: u64,
    /// How many tables reach beyond their entries, because range tombstones do.
    widened_count: usize,
}

impl PartialEq for Tables {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Tables {}

/// Where a key belongs in a run: in which chunk, and before which of its tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spot {
    chunk: usize,
    table: usize,
}

impl Tables {
    /// Number of tables.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks; two versions share those that no edit between them touched.
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// All tables, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<TableDescriptor>> {
        self.chunks.iter().flat_map(|chunk| chunk.tables.iter())
    }

    /// The first table whose largest key is at or above `key`.
    pub fn first_reaching(&self, key: &[u8], order: &KeyOrder) -> Option<&Arc<TableDescriptor>> {
        let spot = self.spot(key, order);
        self.chunks.get(spot.chunk)?.tables.get(spot.table)
    }

    /// The table whose entry range holds `key`.
    pub fn find(&self, key: &[u8], order: &KeyOrder) -> Option<&Arc<TableDescriptor>> {
        let table = self.first_reaching(key, order)?;
        table.entries.as_ref().filter(|range| order.compare(&range.min, key).is_le()).map(|_| table)
    }

    /// The tables whose entry ranges overlap `range`, in key order.
    pub fn overlapping<'a>(
        &'a self,
        range: &'a KeyRange,
        order: &'a KeyOrder,
    ) -> impl Iterator<Item = &'a Arc<TableDescriptor>> {
        self.reaching(&range.min, order).take_while(move |table| {
            table.entries.as_ref().is_some_and(|entries| order.compare(&entries.min, &range.max).is_le())
        })
    }

    /// The tables from [`Tables::first_reaching`] on, in key order.
    pub fn reaching(&self, key: &[u8], order: &KeyOrder) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        self.after(self.spot(key, order))
    }

    /// The tables whose coverage overlaps what lies between two cuts, in key order.
    ///
    /// Costs a search by key plus the answer; where range tombstones reach beyond entries, a look at every chunk.
    pub fn covering<'a>(
        &'a self,
        start: &'a Cut,
        end: &'a Cut,
        order: &'a KeyOrder,
    ) -> impl Iterator<Item = &'a Arc<TableDescriptor>> {
        // Coverage follows the order of entries unless it is wider than they are.
        let sorted = self.widened_count == 0;
        let spot = if sorted { self.coverage_spot(start, order) } else { Spot { chunk: 0, table: 0 } };
        let starts_before_end = move |from: &Cut| from.compare(end, order).is_lt();
        let ends_after_start = move |to: &Cut| start.compare(to, order).is_lt();
        let chunks = self.chunks.get(spot.chunk..).unwrap_or_default().iter().enumerate();
        chunks
            .filter(move |(_, chunk)| sorted || chunk.summary.overlaps(start, end, order))
            .flat_map(move |(nth, chunk)| {
                let skipped = if nth == 0 { spot.table } else { 0 };
                chunk.tables.get(skipped..).unwrap_or_default()
            })
            .take_while(move |table| !sorted || starts_before_end(&table.coverage_start))
            .filter(move |table| {
                sorted || (starts_before_end(&table.coverage_start) && ends_after_start(&table.coverage_end))
            })
    }

    /// The table that was begun first: with the smallest `created_edit`, then the smallest number.
    pub fn oldest(&self) -> Option<&Arc<TableDescriptor>> {
        let edit = self.chunks.iter().map(|chunk| chunk.summary.oldest).min()?;
        let chunks = self.chunks.iter().filter(|chunk| chunk.summary.oldest == edit);
        let tables = chunks.flat_map(|chunk| chunk.tables.iter());
        tables.filter(|table| table.created_edit == edit).min_by_key(|table| table.id)
    }

    /// The greatest `created_edit` of a table.
    pub fn newest_edit(&self) -> Option<EditIndex> {
        self.chunks.iter().map(|chunk| chunk.summary.newest).max()
    }

    /// Smallest and largest key over all tables; `None` when there are none, or only range tombstones.
    pub fn key_range(&self) -> Option<KeyRange> {
        let first = self.chunks.first()?.tables.first()?.entries.as_ref()?;
        let last = self.chunks.last()?.max()?;
        Some(KeyRange { min: first.min.clone(), max: last.clone() })
    }

    /// Bytes of all files, of restricted tables those that are left; kept, not summed up.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn after(&self, spot: Spot) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        let first = self.chunks.get(spot.chunk).and_then(|chunk| chunk.tables.get(spot.table..));
        let later = self.chunks.get(spot.chunk + 1..).unwrap_or_default();
        first.unwrap_or_default().iter().chain(later.iter().flat_map(|chunk| chunk.tables.iter()))
    }

    /// The first table whose coverage ends after `start`, where coverage follows the order of entries.
    fn coverage_spot(&self, start: &Cut, order: &KeyOrder) -> Spot {
        let ends_before = |end: &Cut| end.compare(start, order).is_le();
        let chunk = self.chunks.partition_point(|chunk| ends_before(&chunk.summary.end));
        let table = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.tables.partition_point(|table| ends_before(&table.coverage_end)));
        Spot { chunk, table }
    }

    fn spot(&self, key: &[u8], order: &KeyOrder) -> Spot {
        let ends_below =
            |max: Option<&Slice>| max.is_some_and(|max| order.compare(max, key) == Ordering::Less);
        let chunk = self.chunks.partition_point(|chunk| ends_below(chunk.max()));
        let table = self.chunks.get(chunk).map_or(0, |chunk| {
            chunk.tables.partition_point(|table| ends_below(table.entries.as_ref().map(|range| &range.max)))
        });
        Spot { chunk, table }
    }

    /// Adds a table; `false` when it overlaps one that is there, or has no entries and is not alone.
    #[must_use]
    pub(crate) fn insert(&mut self, table: Arc<TableDescriptor>, order: &KeyOrder) -> bool {
        let Some(range) = table.entries.as_ref() else {
            if !self.is_empty() {
                return false;
            }
            self.count_in(&table);
            let summary = Summary::of(&table);
            self.chunks = Arc::new(alloc::vec![Arc::new(Chunk { tables: alloc::vec![table], summary })]);
            return true;
        };
        let spot = self.spot(&range.min, order);
        let neighbour = self.chunks.get(spot.chunk).and_then(|chunk| chunk.tables.get(spot.table));
        let appends = neighbour.is_none();
        let free = match neighbour {
            None => self.chunks.last().is_none_or(|chunk| chunk.max().is_some()),
            Some(next) => {
                next.entries.as_ref().is_some_and(|next| order.compare(&range.max, &next.min).is_lt())
            }
        };
        if !free {
            return false;
        }
        self.count_in(&table);
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::new(Chunk { tables: Vec::new(), summary: Summary::of(&table) }));
        }
        // Past every table: the last chunk takes it.
        let (at, in_chunk) = if appends { (chunks.len() - 1, usize::MAX) } else { (spot.chunk, spot.table) };
        let Some(shared) = chunks.get_mut(at) else { return false };
        let chunk = Arc::make_mut(shared);
        chunk.summary.widen(&table, order);
        chunk.tables.insert(in_chunk.min(chunk.tables.len()), table);
        if chunk.tables.len() > CHUNK_MAX {
            // Appending keeps the left chunk full; otherwise both halves get room.
            let cut = if appends { CHUNK_MAX } else { CHUNK_MAX / 2 };
            let right = chunk.tables.split_off(cut);
            if let (Some(left_summary), Some(summary)) =
                (Summary::of_all(&chunk.tables, order), Summary::of_all(&right, order))
            {
                chunk.summary = left_summary;
                chunks.insert(at + 1, Arc::new(Chunk { tables: right, summary }));
            }
        }
        true
    }

    /// Takes a table out; `None` when it is not there.
    pub(crate) fn remove(
        &mut self,
        table: &TableDescriptor,
        order: &KeyOrder,
    ) -> Option<Arc<TableDescriptor>> {
        let spot =
            table.entries.as_ref().map_or(Spot { chunk: 0, table: 0 }, |range| self.spot(&range.min, order));
        if self.chunks.get(spot.chunk)?.tables.get(spot.table)?.id != table.id {
            return None;
        }
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(spot.chunk)?);
        let removed = chunk.tables.remove(spot.table);
        if chunk.tables.is_empty() {
            chunks.remove(spot.chunk);
        } else {
            chunk.summary.narrow(&removed, &chunk.tables, order);
        }
        self.len -= 1;
        self.file_bytes = self.file_bytes.wrapping_sub(removed.live_bytes());
        self.widened_count -= usize::from(is_widened(&removed));
        Some(removed)
    }

    fn count_in(&mut self, table: &TableDescriptor) {
        self.len += 1;
        // Wraps, so that lengths no disk has, read from a damaged manifest, cannot stop a removal from undoing this.
        self.file_bytes = self.file_bytes.wrapping_add(table.live_bytes());
        self.widened_count += usize::from(is_widened(table));
    }
}

/// Whether a table reaches beyond its entries.
fn is_widened(table: &TableDescriptor) -> bool {
    table.entries.as_ref().is_none_or(|entries| {
        table.coverage_start != Cut::Before(entries.min.clone())
            || table.coverage_end != Cut::After(entries.max.clone())
    })
}

/// What planning asks of a chunk without walking it. A function of its tables alone.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Summary {
    /// Smallest start of coverage.
    start: Cut,
    /// Greatest end of coverage.
    end: Cut,
    /// Smallest `created_edit`.
    oldest: EditIndex,
    /// Greatest `created_edit`.
    newest: EditIndex,
    /// Smallest `created_at`.
    oldest_at: UnixNanos,
    /// Smallest `created_at` of a table with deletes.
    oldest_deletes_at: Option<UnixNanos>,
    /// Greatest share of tombstones, in thousandths.
    delete_share: u16,
}

impl Summary {
    fn of(table: &TableDescriptor) -> Self {
        Self {
            start: table.coverage_start.clone(),
            end: table.coverage_end.clone(),
            oldest: table.created_edit,
            newest: table.created_edit,
            oldest_at: table.created_at,
            oldest_deletes_at: table.has_deletes().then_some(table.created_at),
            delete_share: table.delete_share(),
        }
    }

    fn of_all(tables: &[Arc<TableDescriptor>], order: &KeyOrder) -> Option<Self> {
        let (first, rest) = tables.split_first()?;
        let mut summary = Self::of(first);
        for table in rest {
            summary.widen(table, order);
        }
        Some(summary)
    }

    fn widen(&mut self, table: &TableDescriptor, order: &KeyOrder) {
        if table.coverage_start.compare(&self.start, order).is_lt() {
            self.start = table.coverage_start.clone();
        }
        if table.coverage_end.compare(&self.end, order).is_gt() {
            self.end = table.coverage_end.clone();
        }
        self.oldest = self.oldest.min(table.created_edit);
        self.newest = self.newest.max(table.created_edit);
        self.oldest_at = self.oldest_at.min(table.created_at);
        let deletes_at = table.has_deletes().then_some(table.created_at);
        self.oldest_deletes_at = self.oldest_deletes_at.into_iter().chain(deletes_at).min();
        self.delete_share = self.delete_share.max(table.delete_share());
    }

    /// Takes back what rested on `removed` alone; `rest` are the tables left, at least one. What did not rest on it
    /// is not looked at: edits are cheap to go through, cuts are not.
    fn narrow(&mut self, removed: &TableDescriptor, rest: &[Arc<TableDescriptor>], order: &KeyOrder) {
        if self.oldest == removed.created_edit || self.newest == removed.created_edit {
            let edits = || rest.iter().map(|table| table.created_edit);
            self.oldest = edits().min().unwrap_or(self.oldest);
            self.newest = edits().max().unwrap_or(self.newest);
        }
        if self.oldest_at == removed.created_at {
            self.oldest_at = rest.iter().map(|table| table.created_at).min().unwrap_or(self.oldest_at);
        }
        if removed.has_deletes() {
            let with_deletes = rest.iter().filter(|table| table.has_deletes());
            self.oldest_deletes_at = with_deletes.map(|table| table.created_at).min();
            self.delete_share = rest.iter().map(|table| table.delete_share()).max().unwrap_or(0);
        }
        if self.start == removed.coverage_start {
            let starts = rest.iter().map(|table| &table.coverage_start);
            self.start = starts.min_by(|a, b| a.compare(b, order)).unwrap_or(&self.start).clone();
        }
        if self.end == removed.coverage_end {
            let ends = rest.iter().map(|table| &table.coverage_end);
            self.end = ends.max_by(|a, b| a.compare(b, order)).unwrap_or(&self.end).clone();
        }
    }

    fn overlaps(&self, start: &Cut, end: &Cut, order: &KeyOrder) -> bool {
        self.start.compare(end, order).is_lt() && start.compare(&self.end, order).is_lt()
    }
}

/// Tables with disjoint entry ranges. A table of range tombstones only is alone in its run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Number of the run, stable while it lives.
    pub id: RunId,
    /// Place in the order of age within its level: greater is newer.
    pub age: u64,
    /// Its tables.
    pub tables: Tables,
}

impl Run {
    pub(crate) fn new(id: RunId, age: u64) -> Self {
        Self { id, age, tables: Tables::default() }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use core::cmp::Ordering;

    use lsm_types::{Comparator, Cut, EditIndex, FileUuid, RouteId, SeqNo, TableId, UnixNanos};
    use proptest::prelude::*;

    use super::*;
    use crate::{Census, Counts, DirectoryHandle, SeqNoRange, Sizes};

    struct Reverse;

    impl Comparator for Reverse {
        fn name(&self) -> &'static str {
            "test.reverse"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            b.cmp(a)
        }
    }

    fn table(id: u64, entries: Option<KeyRange>) -> Arc<TableDescriptor> {
        let tombstones = if id.is_multiple_of(3) { id % 50 } else { 0 };
        let seqnos = SeqNoRange { min: SeqNo::ZERO, max: SeqNo::ZERO };
        Arc::new(TableDescriptor {
            id: TableId::new(id),
            uuid: FileUuid::default(),
            file_len: 1,
            digest: 0,
            format: (1, 0),
            features: 0,
            key_id: 0,
            created_at: UnixNanos::new(id * 7907 % 89),
            created_edit: EditIndex::new(id * 7919 % 97),
            coverage_start: entries.as_ref().map_or(Cut::Start, |range| Cut::Before(range.min.clone())),
            coverage_end: entries.as_ref().map_or(Cut::End, |range| Cut::After(range.max.clone())),
            entries,
            seqnos,
            point_seqnos: None,
            counts: Counts { entries: 100, tombstones, ..Counts::default() },
            sizes: Sizes::default(),
            census: Census::default(),
            directory: DirectoryHandle::default(),
            filter_kind: 0,
            global_seqno: SeqNo::ZERO,
            references: lsm_types::ValueReferences::new(),
            restriction: None,
            vector: None,
            route: RouteId::PRIMARY,
            tail_len: 0,
        })
    }

    fn key(n: u32) -> Slice {
        n.to_be_bytes().into()
    }

    /// A run over integer keys beside the plainest model: first key to (last key, table number).
    struct Pair {
        order: KeyOrder,
        run: Tables,
        model: BTreeMap<u32, (u32, u64)>,
        next_id: u64,
    }

    impl Pair {
        fn new(reverse: bool) -> Self {
            let order = if reverse { KeyOrder::new(Arc::new(Reverse)) } else { KeyOrder::bytewise() };
            Self { order, run: Tables::default(), model: BTreeMap::new(), next_id: 0 }
        }

        /// The range as the order sees it: its smaller end first.
        fn range(&self, low: u32, high: u32) -> KeyRange {
            let (low, high) = (key(low), key(high));
            if self.order.compare(&low, &high).is_le() {
                KeyRange { min: low, max: high }
            } else {
                KeyRange { min: high, max: low }
            }
        }

        fn insert(&mut self, low: u32, high: u32) {
            let free = self.model_overlapping(low, high).is_empty();
            self.next_id += 1;
            let table = table(self.next_id, Some(self.range(low, high)));
            assert_eq!(self.run.insert(table, &self.order), free, "{low}..={high}");
            if free {
                self.model.insert(low, (high, self.next_id));
            }
        }

        fn remove(&mut self, near: u32) {
            let found = self.model.range(near..).next().map(|(low, (high, id))| (*low, *high, *id));
            let Some((low, high, id)) = found else { return };
            let stranger = table(id + 1_000_000, Some(self.range(low, high)));
            assert!(self.run.remove(&stranger, &self.order).is_none());
            let removed = self.run.remove(&table(id, Some(self.range(low, high))), &self.order);
            assert_eq!(removed.map(|table| table.id), Some(TableId::new(id)));
            self.model.remove(&low);
        }

        fn model_overlapping(&self, low: u32, high: u32) -> Vec<u64> {
            let hits = self.model.iter().filter(|(first, (last, _))| **first <= high && low <= *last);
            let mut ids: Vec<u64> = hits.map(|(_, (_, id))| *id).collect();
            if !self.order.is_bytewise() {
                ids.reverse();
            }
            ids
        }

        fn check(&self, low: u32, high: u32) {
            let range = self.range(low, high);
            let ids: Vec<u64> =
                self.run.overlapping(&range, &self.order).map(|table| table.id.get()).collect();
            assert_eq!(ids, self.model_overlapping(low, high), "{low}..={high}");
            let found = self.run.find(&key(low), &self.order).map(|table| table.id.get());
            assert_eq!(found, self.model_overlapping(low, low).first().copied(), "{low}");
            assert_eq!(self.run.len(), self.model.len());
            assert_eq!(self.run.iter().count(), self.model.len());
            assert!(self.run.chunks().iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.tables().len())));
            for chunk in self.run.chunks() {
                assert_eq!(Summary::of_all(&chunk.tables, &self.order).as_ref(), Some(&chunk.summary));
            }
            let ends = self.model.first_key_value().zip(self.model.last_key_value());
            let ends = ends.map(|((low, _), (_, (high, _)))| self.range(*low, *high));
            assert_eq!(self.run.key_range(), ends);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Searching a run is searching a sorted list of disjoint tables.
        #[test]
        fn behaves_like_a_sorted_list(
            reverse in any::<bool>(),
            ascending in any::<bool>(),
            steps in prop::collection::vec((0_u8..6, 0_u32..18_000, 0_u32..8), 1..1_200),
        ) {
            let mut pair = Pair::new(reverse);
            if ascending {
                (0..1_800_u32).for_each(|n| pair.insert(n * 10, n * 10 + 3));
            } else {
                (0..1_800_u32).for_each(|n| pair.insert(n * 7919 % 1_800 * 10, n * 7919 % 1_800 * 10 + 3));
            }
            prop_assert!(pair.run.chunks().len() > 6);
            for (at, (step, low, width)) in steps.into_iter().enumerate() {
                match step {
                    0..=1 => pair.remove(low),
                    _ => pair.insert(low, low + width),
                }
                if at % 50 == 0 {
                    pair.check(low, low + width * 40);
                }
            }
            pair.check(0, u32::MAX);
            pair.check(17, 17);
        }
    }

    #[test]
    fn a_table_without_entries_is_alone() {
        let order = KeyOrder::bytewise();
        let range = KeyRange { min: key(1), max: key(2) };
        let (bare, full) = (table(1, None), table(2, Some(range)));
        let mut run = Tables::default();
        assert!(run.insert(bare.clone(), &order));
        assert!(!run.insert(full.clone(), &order) && !run.insert(table(3, None), &order));
        assert_eq!((run.len(), run.key_range()), (1, None));
        assert!(run.remove(&bare, &order).is_some() && run.is_empty());
        assert!(run.insert(full, &order) && !run.insert(bare, &order));
    }

    /// Two versions share what no edit between them touched.
    #[test]
    fn clones_share_chunks() {
        let mut pair = Pair::new(false);
        (0..1_800_u32).for_each(|n| pair.insert(n * 10, n * 10 + 3));
        let before = pair.run.clone();
        pair.remove(4_000);
        let shared = before.chunks().iter().zip(pair.run.chunks()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, before.chunks().len() - 1);
    }
}
