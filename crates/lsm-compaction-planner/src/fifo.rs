//! The FIFO strategy: what is oldest leaves, and next to nothing is rewritten.
//!
//! For data that comes in the order of its keys and is worth nothing after a while, such as logs and measurements.
//! Tables leave unread, with everything in them: a write costs one byte per byte, and reads ask one run. Where flushes
//! are small, neighbours become one table as soon as they make a decent one, so that an entry is rewritten once.

mod small;

use alloc::{collections::BinaryHeap, sync::Arc, vec::Vec};
use core::cmp::{Ordering, Reverse};

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::{Level, TableId, UnixNanos};

use crate::{
    CompactionStrategy, Debt, DropPlan, Inputs, Obstacle, Plan, PlanView, Reason, RunPart, Settings,
};

const L0: Level = Level::new(0);

/// The FIFO strategy and its parameters. Idle while level 0 is not one idle run: it is made for keys that ascend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fifo {
    /// Tables of level 0 may come to this many bytes.
    pub limit_bytes: u64,
    /// Tables written longer ago than this leave whatever their size; 0 is taken for `None`.
    pub ttl_secs: Option<u64>,
    /// Length of a table that small neighbours are merged into, in bytes; `None` leaves them as they are.
    ///
    /// Small is up to a quarter of it. A merged table counts as written when it was merged, so only tables of the last
    /// eighth of `ttl_secs` are: nothing stays longer than the time and an eighth.
    pub merge_target_bytes: Option<u64>,
}

impl Fifo {
    /// Keeps `limit_bytes`, however old, in tables of up to 64 MiB.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, ttl_secs: None, merge_target_bytes: Some(64 << 20) }
    }

    fn ttl(&self) -> Option<u64> {
        self.ttl_secs.filter(|secs| *secs > 0)
    }
}

impl CompactionStrategy for Fifo {
    fn name(&self) -> &'static str {
        "FifoCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .with("limit_bytes", self.limit_bytes)
            .with("ttl", self.ttl().is_some())
            .with("ttl_secs", self.ttl())
            .with("merge_target_bytes", self.merge_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let [run] = view.levels.level(L0).runs() else { return Plan::Idle };
        if view.busy.holds_of(run.id) {
            return Plan::Idle;
        }
        let expired = self.ttl().and_then(|secs| view.written_by(secs));
        let mut left = run.tables.file_bytes();
        let mut gone: Vec<Arc<TableDescriptor>> = Vec::new();
        for table in OldestFirst::of(run) {
            let is_expired = expired.is_some_and(|expired| table.created_at <= expired);
            if !is_expired && left <= self.limit_bytes {
                break;
            }
            left = left.saturating_sub(table.live_bytes());
            gone.push(table.clone());
        }
        if gone.is_empty() {
            return self.merge_small(view, run).unwrap_or(Plan::Idle);
        }
        // A plan lists them in key order; a table without entries is alone in its run.
        gone.sort_by(|a, b| match (&a.entries, &b.entries) {
            (Some(a), Some(b)) => view.order().compare(&a.min, &b.min),
            _ => Ordering::Equal,
        });
        let inputs = Inputs::new([RunPart { level: L0, run: run.id, tables: gone }]);
        Plan::Drop(DropPlan { inputs, reason: Reason::Expired })
    }

    fn obstacle(&self, view: &PlanView<'_>) -> Option<Obstacle> {
        match view.levels.level(L0).runs() {
            [] => None,
            [run] => view.busy.holds_of(run.id).then_some(Obstacle::Busy),
            _ => Some(Obstacle::Overlap),
        }
    }

    /// What exceeds the limit. Nothing has to be rewritten for it, but it has to go.
    fn debt(&self, view: &PlanView<'_>) -> Debt {
        Debt { bytes: view.levels.level(L0).file_bytes().saturating_sub(self.limit_bytes) }
    }
}

/// The tables of a run by the time they were written, equal ones by number. Opens a chunk of the run only when its turn
/// has come, so that the first tables cost no walk over all.
struct OldestFirst<'a> {
    /// The chunks that are not opened, the oldest last.
    chunks: Vec<(UnixNanos, &'a [Arc<TableDescriptor>])>,
    opened: BinaryHeap<Reverse<(UnixNanos, TableId, usize, usize)>>,
    /// The tables of opened chunks, by the third number of the heap.
    tables: Vec<&'a [Arc<TableDescriptor>]>,
}

impl<'a> OldestFirst<'a> {
    fn of(run: &'a Run) -> Self {
        let chunks = run.tables.chunks().iter();
        let mut chunks: Vec<_> = chunks.map(|chunk| (chunk.oldest_at(), chunk.tables())).collect();
        chunks.sort_by_key(|(oldest_at, _)| Reverse(*oldest_at));
        Self { chunks, opened: BinaryHeap::new(), tables: Vec::new() }
    }
}

impl<'a> Iterator for OldestFirst<'a> {
    type Item = &'a Arc<TableDescriptor>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((oldest_at, tables)) = self.chunks.last().copied() {
            if self.opened.peek().is_some_and(|Reverse(first)| first.0 < oldest_at) {
                break;
            }
            self.chunks.pop();
            let chunk = self.tables.len();
            self.tables.push(tables);
            let entry = |(at, table): (usize, &Arc<TableDescriptor>)| {
                Reverse((table.created_at, table.id, chunk, at))
            };
            self.opened.extend(tables.iter().enumerate().map(entry));
        }
        let Reverse((_, _, chunk, at)) = self.opened.pop()?;
        self.tables.get(chunk)?.get(at)
    }
}
