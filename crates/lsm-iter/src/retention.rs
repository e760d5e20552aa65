//! What a flush or compaction may forget, and what it has to know to decide.

use alloc::vec::Vec;

use lsm_types::{EntryRef, SeqNo};

use crate::coverage::Coverage;

/// Which history has to stay readable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Versions hidden by one numbered below this may go. Never above a registered snapshot. At zero, the default,
    /// nothing is forgotten.
    watermark: SeqNo,
    /// The watermark if there were no registered snapshots.
    callers: SeqNo,
    /// Registered snapshots, ascending.
    snapshots: Vec<SeqNo>,
    /// Numbers below this may be replaced by zero.
    zero_below: SeqNo,
    /// A filter may change what is numbered below this.
    filter_below: SeqNo,
}

impl Default for Retention {
    fn default() -> Self {
        Self::above(SeqNo::ZERO)
    }
}

impl Retention {
    /// Keeps what a read at `watermark` or above sees.
    pub fn above(watermark: SeqNo) -> Self {
        let (zero_below, filter_below) = (watermark, SeqNo::LATEST);
        Self { watermark, callers: watermark, snapshots: Vec::new(), zero_below, filter_below }
    }

    /// Keeps what a read at `watermark` or above, or at one of `snapshots`, in any order, sees.
    ///
    /// Between two snapshots, too, versions go that neither can see.
    pub fn with_snapshots(watermark: SeqNo, snapshots: &[SeqNo]) -> Self {
        let mut snapshots = snapshots.to_vec();
        snapshots.sort_unstable();
        let oldest = snapshots.first().copied().unwrap_or(watermark).min(watermark);
        let filter_below = SeqNo::LATEST;
        Self { watermark: oldest, callers: watermark, snapshots, zero_below: oldest, filter_below }
    }

    /// Leaves numbers at or above `limit` as they are: someone still follows changes from there.
    #[must_use]
    pub fn zeroing_below(mut self, limit: SeqNo) -> Self {
        self.zero_below = limit.min(self.watermark);
        self
    }

    /// Keeps filters away from numbers at or above `limit`: someone still follows changes from there, or a log may give
    /// them back.
    #[must_use]
    pub fn filtering_below(mut self, limit: SeqNo) -> Self {
        self.filter_below = limit;
        self
    }

    /// Numbers below this are seen by no reader as anything but history.
    pub fn watermark(&self) -> SeqNo {
        self.watermark
    }

    /// The retention floor the install has to persist if a version hidden by `newer` with number `older` goes;
    /// `None` when it has to stay.
    pub(crate) fn floor_without(&self, newer: SeqNo, older: SeqNo) -> Option<SeqNo> {
        if newer < self.watermark {
            return Some(self.watermark.saturating_prev());
        }
        let between = || {
            let from = self.snapshots.partition_point(|&snapshot| snapshot <= older);
            self.snapshots.get(from).is_some_and(|&snapshot| snapshot <= newer)
        };
        (newer < self.callers && !between()).then(|| self.callers.saturating_prev())
    }

    /// Whether a filter may change an entry: no snapshot sees it, and nobody is to get it as it is.
    ///
    /// * `shadow`: the next newer entry of the key that hides it.
    pub(crate) fn may_filter(&self, seqno: SeqNo, shadow: Option<SeqNo>) -> bool {
        let from = self.snapshots.partition_point(|&snapshot| snapshot <= seqno);
        let is_seen = |snapshot: &SeqNo| shadow.is_none_or(|shadow| *snapshot <= shadow);
        seqno < self.filter_below && !self.snapshots.get(from).is_some_and(is_seen)
    }

    pub(crate) fn may_zero(&self, seqno: SeqNo) -> bool {
        SeqNo::ZERO < seqno && seqno < self.zero_below
    }
}

/// What is known about the containers outside a job, asked with keys ascending and, within a key, numbers
/// descending. Answers may be too careful, never too bold.
///
/// [`Coverage`] speaks of the range tombstones of all containers, inside the job and outside.
pub trait KeyContext: Coverage {
    /// Whether no container outside the job, memtables included, can hold an entry of `key` numbered `seqno` or
    /// below. If so for one number then also for all below it.
    fn bottom(&mut self, key: &[u8], seqno: SeqNo) -> bool;

    /// Whether no container outside the job, memtables included, can hold an entry of `key` numbered below `newer` and
    /// not below `older`; a copy of the older entry counts.
    fn adjacent(&mut self, key: &[u8], newer: SeqNo, older: SeqNo) -> bool;
}

/// Why an entry was not written.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DropReason {
    /// A newer version hides it from every reader.
    Shadowed,
    /// A tombstone with nothing left to hide.
    Evicted,
    /// A weak tombstone and the put below it went together.
    Annihilated,
    /// A range tombstone hides it from every reader.
    RangeDeleted,
    /// It went into the result of a merge operator, which is written in the place of a newer operand.
    Folded,
    /// A filter destroyed it.
    Filtered,
}

/// Hears of every entry that is not written, once, in internal order but for what a filter takes out of a chain of
/// operands. Of an entry that a filter made into another one it hears when that one is not written.
pub trait DropSink {
    /// `entry` is dropped.
    fn dropped(&mut self, reason: DropReason, entry: EntryRef<'_>);
}

/// Nobody listens.
impl DropSink for () {
    #[inline]
    fn dropped(&mut self, _: DropReason, _: EntryRef<'_>) {}
}

impl<F: FnMut(DropReason, EntryRef<'_>)> DropSink for F {
    #[inline]
    fn dropped(&mut self, reason: DropReason, entry: EntryRef<'_>) {
        self(reason, entry);
    }
}
