//! What all jobs of a tree did, by what came of them, and by why and how they were done.

use std::collections::BTreeMap;

use lsm_compaction_planner::{Reason, Shortage};
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
    /// Of these, those that the quota stood against.
    pub refused_by_quota: u64,
    /// Those that the free bytes of a volume stood against.
    pub refused_by_volume: u64,
    /// Those that would have taken what is kept for flushes.
    pub refused_by_reserve: u64,
    /// Jobs that moved tables as they are.
    pub moved: u64,
    /// Jobs that removed tables unread.
    pub dropped: u64,
    /// Merges.
    pub merged: u64,
    /// Merges of which only a part was done.
    pub narrowed: u64,
    /// Jobs that marked rows dead instead of merging.
    pub masked: u64,
    /// Merges done slice by slice, wholly or in part.
    pub sliced: u64,
    /// Their slices.
    pub slices: u64,
    /// Calls that were stopped, or whose inputs went away.
    pub stopped: u64,
    /// Calls that failed otherwise.
    pub failed: u64,
    /// Of these, plans that broke a rule.
    pub declined: u64,
    /// Bytes of the files that jobs took.
    pub bytes_in: u64,
    /// Bytes of the files that merges wrote.
    pub bytes_out: u64,
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
            Err(error) => {
                self.failed += 1;
                self.declined += u64::from(error.kind() == ErrorKind::InvalidArgument);
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
            Outcome::Masked => &mut self.masked,
            Outcome::Sliced => &mut self.sliced,
        } += 1;
        if let Outcome::Refused(shortage) = report.outcome {
            *match shortage {
                Shortage::Quota => &mut self.refused_by_quota,
                Shortage::Volume => &mut self.refused_by_volume,
                Shortage::Reserve => &mut self.refused_by_reserve,
            } += 1;
        }
        self.narrowed += u64::from(report.narrowed);
        self.slices += report.sliced.map_or(0, |sliced| sliced.slices);
        self.bytes_in += report.bytes_in;
        self.bytes_out += report.bytes_out;
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

/// What jobs with one reason, carried out by one flavour, did.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobTotals {
    /// Why they were wanted.
    pub reason: Reason,
    /// How merges were carried out; `None` for tables that were moved or removed.
    pub flavour: Option<&'static str>,
    /// How many there were that changed the tree.
    pub jobs: u64,
    /// Bytes of the files they took.
    pub bytes_in: u64,
    /// Bytes of the files they wrote.
    pub bytes_out: u64,
    /// Entries they read.
    pub entries_in: u64,
    /// Entries they wrote.
    pub entries_out: u64,
    /// Nanoseconds they took.
    pub nanos: u64,
}

/// What all jobs did, by reason and flavour.
#[derive(Clone, Debug, Default)]
pub struct TotalsByReason(BTreeMap<(Reason, Option<&'static str>), JobTotals>);

impl TotalsByReason {
    /// Counts a job that changed the tree.
    pub fn add(&mut self, report: &CompactionReport) {
        let (Some(reason), true) = (report.reason, report.did_work()) else { return };
        let flavour = report.flavour;
        let new = || JobTotals {
            reason,
            flavour,
            jobs: 0,
            bytes_in: 0,
            bytes_out: 0,
            entries_in: 0,
            entries_out: 0,
            nanos: 0,
        };
        let totals = self.0.entry((reason, flavour)).or_insert_with(new);
        totals.jobs += 1;
        totals.bytes_in += report.bytes_in;
        totals.bytes_out += report.bytes_out;
        totals.entries_in += report.entries_in;
        totals.entries_out += report.entries_out;
        totals.nanos += report.nanos;
    }

    /// All of them, in a fixed order.
    pub fn list(&self) -> Vec<JobTotals> {
        self.0.values().copied().collect()
    }
}
