//! What all jobs of a tree did, by what came of them.

use lsm_types::{ErrorKind, Result};

use crate::{CompactionReport, DropCounts, FilterCounts, Outcome};

/// Sums over calls.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompactionTotals {
    /// Calls that found nothing to do.
    pub idle: u64,
    /// Calls whose inputs others had.
    pub busy: u64,
    /// Merges for which there was no room.
    pub refused: u64,
    /// Jobs that moved tables as they are.
    pub moved: u64,
    /// Jobs that removed tables unread.
    pub dropped: u64,
    /// Merges.
    pub merged: u64,
    /// Merges of which only a part was done.
    pub narrowed: u64,
    /// Merges done slice by slice, wholly or in part.
    pub sliced: u64,
    /// Calls that were stopped, or whose inputs went away.
    pub stopped: u64,
    /// Calls that failed otherwise.
    pub failed: u64,
    /// Entries that merges read.
    pub entries_in: u64,
    /// Entries that merges wrote.
    pub entries_out: u64,
    /// Entries that merges did not write, by reason.
    pub entries_dropped: DropCounts,
    /// What filters said.
    pub filtered: FilterCounts,
    /// Deletes of ranges in the tables that merges read.
    pub range_tombstones_in: u64,
    /// Deletes of ranges in the tables that merges wrote.
    pub range_tombstones_out: u64,
    /// Chains of operands that were kept because the merge operator failed on them.
    pub folds_failed: u64,
    /// Keys that were put more than once before a weak delete took the newest value away.
    pub weak_mismatches: u64,
    /// Values that merges copied out of old value logs.
    pub values_relocated: u64,
    /// Bytes of their frames in the new ones.
    pub value_bytes_relocated: u64,
    /// Value logs that went with merges.
    pub vlogs_removed: u64,
}

impl CompactionTotals {
    /// Counts a call.
    pub fn add(&mut self, call: &Result<CompactionReport>) {
        let report = match call {
            Ok(report) => report,
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                self.stopped += 1;
                return;
            }
            Err(_) => {
                self.failed += 1;
                return;
            }
        };
        *match report.outcome {
            Outcome::Idle => &mut self.idle,
            Outcome::Busy => &mut self.busy,
            Outcome::Refused(_) => &mut self.refused,
            Outcome::Moved => &mut self.moved,
            Outcome::Dropped => &mut self.dropped,
            Outcome::Merged => &mut self.merged,
            Outcome::Sliced => &mut self.sliced,
        } += 1;
        self.narrowed += u64::from(report.narrowed);
        self.entries_in += report.entries_in;
        self.entries_out += report.entries_out;
        self.entries_dropped.add(&report.dropped);
        self.filtered.add(&report.filtered);
        self.range_tombstones_in += report.range_tombstones_in;
        self.range_tombstones_out += report.range_tombstones_out;
        self.folds_failed += report.folds_failed;
        self.weak_mismatches += report.weak_mismatches;
        self.values_relocated += report.values_relocated;
        self.value_bytes_relocated += report.value_bytes_relocated;
        self.vlogs_removed += report.vlogs_removed as u64;
    }
}
