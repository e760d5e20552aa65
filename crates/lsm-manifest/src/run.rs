//! A run: tables with disjoint entry ranges, in key order, searched as one sorted unit.
//!
//! Tables are kept in chunks shared between versions, so that an edit copies the chunks it touches and one spine,
//! whatever the size of the run.

use alloc::{sync::Arc, vec::Vec};
use core::cmp::Ordering;

use lsm_types::{KeyOrder, KeyRange, RunId, Slice};

use crate::TableDescriptor;

/// Largest number of tables in a chunk; a fuller one is split.
pub(crate) const CHUNK_MAX: usize = 128;

/// Neighbouring tables of a run, never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    tables: Vec<Arc<TableDescriptor>>,
}

impl Chunk {
    /// The tables, in key order.
    pub fn tables(&self) -> &[Arc<TableDescriptor>] {
        &self.tables
    }

    fn max(&self) -> Option<&Slice> {
        self.tables.last()?.entries.as_ref().map(|range| &range.max)
    }
}

/// The tables of a run, in key order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    chunks: Vec<Arc<Chunk>>,
    len: usize,
}

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
        let spot = self.spot(&range.min, order);
        let first = self.chunks.get(spot.chunk).and_then(|chunk| chunk.tables.get(spot.table..));
        let later = self.chunks.get(spot.chunk + 1..).unwrap_or_default();
        first.unwrap_or_default().iter().chain(later.iter().flat_map(|chunk| chunk.tables.iter())).take_while(
            move |table| {
                table.entries.as_ref().is_some_and(|entries| order.compare(&entries.min, &range.max).is_le())
            },
        )
    }

    /// Smallest and largest key over all tables; `None` when there are none, or only range tombstones.
    pub fn key_range(&self) -> Option<KeyRange> {
        let first = self.chunks.first()?.tables.first()?.entries.as_ref()?;
        let last = self.chunks.last()?.max()?;
        Some(KeyRange { min: first.min.clone(), max: last.clone() })
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.iter().map(|table| table.file_len).sum()
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
            self.chunks.push(Arc::new(Chunk { tables: alloc::vec![table] }));
            self.len = 1;
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
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(Arc::new(Chunk { tables: Vec::new() }));
        }
        // Past every table: the last chunk takes it.
        let (at, in_chunk) =
            if appends { (self.chunks.len() - 1, usize::MAX) } else { (spot.chunk, spot.table) };
        let Some(shared) = self.chunks.get_mut(at) else { return false };
        let chunk = Arc::make_mut(shared);
        chunk.tables.insert(in_chunk.min(chunk.tables.len()), table);
        if chunk.tables.len() > CHUNK_MAX {
            // Appending keeps the left chunk full; otherwise both halves get room.
            let cut = if appends { CHUNK_MAX } else { CHUNK_MAX / 2 };
            let right = chunk.tables.split_off(cut);
            self.chunks.insert(at + 1, Arc::new(Chunk { tables: right }));
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
        let shared = self.chunks.get_mut(spot.chunk)?;
        if shared.tables.get(spot.table)?.id != table.id {
            return None;
        }
        let chunk = Arc::make_mut(shared);
        let removed = chunk.tables.remove(spot.table);
        self.len -= 1;
        if chunk.tables.is_empty() {
            self.chunks.remove(spot.chunk);
        }
        Some(removed)
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
