//! What a job did.

use lsm_compaction_planner::{Obstacle, Reason, Shortage};
use lsm_types::{Level, VlogId};

use crate::{DropCounts, FilterCounts, Sliced};

/// What became of a plan.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The strategy had nothing to do.
    Idle,
    /// Inputs are owned by another job.
    Busy,
    /// There was no room for a merge, not even for a part of it.
    Refused(Shortage),
    /// Tables went to another level as they are.
    Moved,
    /// Tables were removed unread.
    Dropped,
    /// Tables were merged.
    Merged,
    /// Rows of tables were marked dead; the tables stay.
    Masked,
    /// Tables were merged slice by slice, there being no room for the whole, as far as there was room for that.
    Sliced,
}

/// What one call of a compaction did, and what it cost.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionReport {
    /// What became of the plan.
    pub outcome: Outcome,
    /// Why the strategy wanted it.
    pub reason: Option<Reason>,
    /// What kept the strategy idle.
    pub obstacle: Option<Obstacle>,
    /// Where the outputs went.
    pub dest: Option<Level>,
    /// Flavour that carried out a merge.
    pub flavour: Option<&'static str>,
    /// Stretches of keys that a merge was split into, each written by one thread at a time.
    pub segments: usize,
    /// Whether only a part of a merge was done, there being no room for the whole.
    pub narrowed: bool,
    /// How far a merge came that was done slice by slice.
    pub sliced: Option<Sliced>,
    /// Tables taken.
    pub tables_in: usize,
    /// Tables made or moved.
    pub tables_out: usize,
    /// Delete vectors written.
    pub vectors: usize,
    /// Bytes of the files taken.
    pub bytes_in: u64,
    /// Bytes of the files written.
    pub bytes_out: u64,
    /// Entries read.
    pub entries_in: u64,
    /// Entries written.
    pub entries_out: u64,
    /// Entries not written, by reason; together with those written they are those read.
    pub dropped: DropCounts,
    /// What filters said.
    pub filtered: FilterCounts,
    /// Deletes of ranges in the tables taken; one that lies in several tables counts in each.
    pub range_tombstones_in: u64,
    /// Those in the tables written.
    pub range_tombstones_out: u64,
    /// Chains of operands that were kept because the merge operator failed on them.
    pub folds_failed: u64,
    /// Keys that were put more than once before a weak delete took the newest value away.
    pub weak_mismatches: u64,
    /// Values that were copied out of old value logs.
    pub values_relocated: u64,
    /// Bytes of their frames in the new ones.
    pub value_bytes_relocated: u64,
    /// Values that were to be copied and could not be read: they stayed.
    pub values_carried: u64,
    /// The value logs in which these lie. They are not picked again while the tree is open.
    pub vlogs_damaged: Vec<VlogId>,
    /// Value logs that the tables taken were the last to refer to.
    pub vlogs_removed: usize,
    /// Nanoseconds from plan to publication.
    pub nanos: u64,
    /// Where they went, and the wait before them.
    pub stages: StageNanos,
}

/// How long the stages of a call took.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StageNanos {
    /// For calls that exclude each other to end.
    pub wait: u64,
    /// To plan, to make room and to get hold of the inputs.
    pub plan: u64,
    /// To read, merge and write.
    pub write: u64,
    /// To make the change durable and visible. What is done beside writing, as slices are, counts there.
    pub install: u64,
}

impl CompactionReport {
    /// A report of a call that changed nothing.
    pub fn nothing(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            obstacle: None,
            dest: None,
            flavour: None,
            segments: 0,
            narrowed: false,
            sliced: None,
            tables_in: 0,
            tables_out: 0,
            vectors: 0,
            bytes_in: 0,
            bytes_out: 0,
            entries_in: 0,
            entries_out: 0,
            dropped: DropCounts::default(),
            filtered: FilterCounts::default(),
            range_tombstones_in: 0,
            range_tombstones_out: 0,
            folds_failed: 0,
            weak_mismatches: 0,
            values_relocated: 0,
            value_bytes_relocated: 0,
            values_carried: 0,
            vlogs_damaged: Vec::new(),
            vlogs_removed: 0,
            nanos: 0,
            stages: StageNanos::default(),
        }
    }

    /// Whether the tree changed.
    pub fn did_work(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Moved | Outcome::Dropped | Outcome::Merged | Outcome::Masked | Outcome::Sliced
        )
    }
}
