//! Compaction filters in a job.
//!
//! A filter has a state of its own and segments may run at the same time: so each segment has one of its own, made when
//! it begins, and a serial job, which is one segment, has one. What they said becomes true at once, when the job
//! installs; until then they are kept with what the segments have written.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use lsm_iter::FilterStage;
use lsm_types::{
    CompactionFilter, CompactionFilterFactory, EntryRef, FilterContext, FilterEntry, Result, SeparatedValue,
    SeqNo, Verdict,
};

use crate::crew::contained;

/// What a job filters with.
#[derive(Clone)]
pub struct JobFilter {
    /// Makes a filter for each segment.
    pub factory: Arc<dyn CompactionFilterFactory>,
    /// Reads at or below, unless they are held, are refused once the filter has changed anything.
    pub floor: SeqNo,
}

/// What filters said, by verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterCounts {
    /// Entries that stayed as they were.
    pub kept: u64,
    /// Entries that became deletes.
    pub removed: u64,
    /// Entries that became weak deletes.
    pub removed_weakly: u64,
    /// Entries with another value.
    pub replaced: u64,
    /// Entries that went without a trace.
    pub destroyed: u64,
}

impl FilterCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kept += other.kept;
        self.removed += other.removed;
        self.removed_weakly += other.removed_weakly;
        self.replaced += other.replaced;
        self.destroyed += other.destroyed;
    }

    /// Entries that are not as they were.
    pub fn changed(&self) -> u64 {
        self.removed + self.removed_weakly + self.replaced + self.destroyed
    }
}

/// The filter of one segment. Dropping it tells the filter how the job ended.
pub struct SegmentFilter {
    filter: Box<dyn CompactionFilter>,
    counts: FilterCounts,
    is_committed: bool,
}

impl SegmentFilter {
    /// Has a filter made.
    pub fn new(factory: &dyn CompactionFilterFactory, context: &FilterContext) -> Self {
        let filter = factory.make(context);
        let counts = FilterCounts::default();
        Self { filter, counts, is_committed: false }
    }

    /// What it said so far.
    pub fn counts(&self) -> FilterCounts {
        self.counts
    }

    /// Tells the filter that no more entries come and the job is about to commit. Its panic is an error.
    pub(crate) fn finish(&mut self) -> Result<()> {
        contained(|| self.filter.finish())
    }

    /// What the filter said is installed.
    pub(crate) fn commit(mut self) {
        self.is_committed = true;
    }
}

impl FilterStage for SegmentFilter {
    const IS_ACTIVE: bool = true;

    fn ask(&mut self, entry: EntryRef<'_>) -> Result<Verdict> {
        FilterEntry::new(entry).map_or(Ok(Verdict::Keep), |entry| self.ask_about(entry))
    }

    fn ask_separated(&mut self, entry: EntryRef<'_>, value: &SeparatedValue<'_>) -> Result<Verdict> {
        self.ask_about(FilterEntry::separated(entry, value))
    }
}

impl SegmentFilter {
    fn ask_about(&mut self, entry: FilterEntry<'_>) -> Result<Verdict> {
        let verdict = self.filter.filter(entry)?;
        let count = match &verdict {
            Verdict::Remove => &mut self.counts.removed,
            Verdict::RemoveWeak => &mut self.counts.removed_weakly,
            Verdict::Replace(_) => &mut self.counts.replaced,
            Verdict::Destroy => &mut self.counts.destroyed,
            _ => &mut self.counts.kept,
        };
        *count += 1;
        Ok(verdict)
    }
}

impl Drop for SegmentFilter {
    fn drop(&mut self) {
        // This may run while another panic unwinds, and the job has ended anyhow.
        let told = catch_unwind(AssertUnwindSafe(|| self.filter.ended(self.is_committed)));
        if told.is_err() {
            tracing::warn!("a compaction filter panicked when it was told how its job ended");
        }
    }
}

impl std::fmt::Debug for SegmentFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentFilter").field("counts", &self.counts).finish_non_exhaustive()
    }
}
