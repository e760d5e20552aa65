//! What the segments of a merge have made so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsm_compaction_executor::{DropCounts, Job, SegmentOutput};
use lsm_types::{KeyRange, TableId};

use crate::{AuditError, AuditLine, Verdict};

/// The sums of a job. Segments run at the same time, on several threads.
pub(crate) struct Tally {
    job: Arc<Job>,
    /// In key order.
    segments: Mutex<Vec<Segment>>,
}

/// What a segment made; nothing, as long as it has not run.
#[derive(Clone, Default)]
struct Segment {
    tables: Vec<Written>,
    entries: u64,
    dropped: DropCounts,
}

/// A table that was written.
#[derive(Clone)]
struct Written {
    id: TableId,
    bytes: u64,
    /// `None` when it holds range tombstones alone.
    keys: Option<KeyRange>,
}

impl Tally {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self { job, segments: Mutex::default() }
    }

    /// Makes room for segments behind those that are there, and gives the place of the first.
    pub(crate) fn make_room(&self, count: usize) -> usize {
        let mut segments = self.segments();
        let first = segments.len();
        segments.resize(first + count, Segment::default());
        first
    }

    pub(crate) fn add(&self, nth: usize, output: &SegmentOutput) {
        let written = output.tables.iter().map(|table| {
            let table = table.descriptor();
            Written { id: table.id, bytes: table.file_len, keys: table.entries.clone() }
        });
        let (tables, entries, dropped) = (written.collect(), output.entries, output.dropped);
        if let Some(segment) = self.segments().get_mut(nth) {
            *segment = Segment { tables, entries, dropped };
        }
    }

    /// Whether tables follow each other in key order, and nothing came from nowhere.
    pub(crate) fn check(&self) -> Result<(), AuditError> {
        let segments = self.segments();
        let tables = segments.iter().flat_map(|segment| &segment.tables);
        let keyed: Vec<_> = tables.filter_map(|table| Some((table.id, table.keys.as_ref()?))).collect();
        for ((table, keys), (next, next_keys)) in keyed.iter().zip(keyed.iter().skip(1)) {
            if self.job.order.compare(&keys.max, &next_keys.min).is_ge() {
                return Err(AuditError::Disorder { table: *table, next: *next });
            }
        }
        let entries_out = segments.iter().map(|segment| segment.entries).sum();
        let entries_in = self.job.input_entries();
        if entries_out > entries_in {
            return Err(AuditError::Grown { entries_in, entries_out });
        }
        Ok(())
    }

    pub(crate) fn line(&self, verdict: Verdict) -> AuditLine {
        let segments = self.segments();
        let tables = || segments.iter().flat_map(|segment| &segment.tables);
        AuditLine {
            verdict,
            inputs: self.job.input_ids(),
            outputs: tables().map(|table| table.id).collect(),
            dest: self.job.output.dest,
            bytes_in: self.job.input_bytes(),
            bytes_out: tables().map(|table| table.bytes).sum(),
            entries_in: self.job.input_entries(),
            entries_out: segments.iter().map(|segment| segment.entries).sum(),
            dropped: segments.iter().fold(DropCounts::default(), |sum, segment| sum_of(sum, segment.dropped)),
        }
    }

    /// A segment that panicked left nothing half done here.
    fn segments(&self) -> MutexGuard<'_, Vec<Segment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum_of(a: DropCounts, b: DropCounts) -> DropCounts {
    DropCounts {
        shadowed: a.shadowed + b.shadowed,
        evicted: a.evicted + b.evicted,
        annihilated: a.annihilated + b.annihilated,
        range_deleted: a.range_deleted + b.range_deleted,
        folded: a.folded + b.folded,
        filtered: a.filtered + b.filtered,
    }
}
