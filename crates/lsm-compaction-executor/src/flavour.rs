//! The ways of carrying out a merge, behind one trait.

use std::sync::Arc;

use lsm_types::{Result, SeqNo};

use crate::{DropCounts, EditExtras, Job, Relocated, SegmentFilter, Sliced};
use lsm_table::{StagedTable, StagedVector, StagedVlog};

/// When the outputs of a job become part of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checkpoint {
    /// All at once, at the end.
    Once,
    /// After each batch of segments; what is installed stays.
    EachBatch,
}

/// A way of carrying out a merge. The driver owns lease, staging, cancellation and commit; a flavour sees sources
/// and writers, never a version or a manifest.
pub trait CompactionFlavour: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// When outputs are installed.
    fn checkpoint(&self) -> Checkpoint;

    /// Whether the flavour applies to the job, from metadata alone.
    fn applies(&self, job: &Job) -> Result<bool>;

    /// Begins the run.
    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>>;

    /// Begins the run, or steps back for the next flavour, having changed nothing. By default it always begins.
    ///
    /// # Errors
    /// As [`CompactionFlavour::start`].
    fn attempt(&self, job: &Arc<Job>) -> Result<Option<Box<dyn FlavourRun>>> {
        self.start(job).map(Some)
    }
}

/// A merge under way.
pub trait FlavourRun: Send {
    /// The next segments, in key order; empty when the run is finished. They may be run at the same time.
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask>>>;

    /// What the next install changes besides adding what the batches since the last one made; by default all inputs
    /// leave.
    fn extras(&mut self, job: &Job) -> Result<EditExtras> {
        Ok(EditExtras { remove: job.input_ids(), ..EditExtras::default() })
    }

    /// What was made so far is installed, with `extras`.
    fn installed(&mut self, extras: &EditExtras) {
        let _ = extras;
    }

    /// Whether the next batch may be made while the one whose changes were asked for last is synced and installed. Then
    /// [`FlavourRun::installed`] is called for that one when the next is made. Default: no.
    ///
    /// * `written_bytes`: length of the files that are on their way.
    fn runs_ahead(&mut self, written_bytes: u64) -> bool {
        let _ = written_bytes;
        false
    }

    /// The disk was full under what was to be installed next, and all of that is gone. Whether the run ends here in
    /// good order, with what was installed before. Default: no, the job fails.
    fn ran_out(&mut self) -> bool {
        false
    }

    /// How far a run has come that is installed slice by slice; `None` for one that is not.
    fn sliced(&self) -> Option<Sliced> {
        None
    }
}

/// One key range of a job, written by one worker.
pub trait SegmentTask: Send {
    /// Reads, decides and writes until the range is through.
    fn run(self: Box<Self>) -> Result<SegmentOutput>;
}

/// What a segment made.
#[derive(Debug, Default)]
pub struct SegmentOutput {
    /// Finished files in key order, synced unless that is left to whoever installs them.
    pub tables: Vec<StagedTable>,
    /// Finished value logs that some of these lead to, synced likewise.
    pub vlogs: Vec<StagedVlog>,
    /// Finished, synced delete vectors of inputs.
    pub vectors: Vec<StagedVector>,
    /// What of old value logs was copied into these.
    pub relocated: Relocated,
    /// Entries written.
    pub entries: u64,
    /// Entries not written.
    pub dropped: DropCounts,
    /// Chains of operands that were kept because the merge operator failed on them.
    pub folds_failed: u64,
    /// Weak pairs with another value right below.
    pub weak_mismatches: u64,
    /// New reads at or below this bound have lost history.
    pub floor: Option<SeqNo>,
    /// The highest number of a change that is gone or altered though no read misses it.
    pub altered: Option<SeqNo>,
    /// The highest number of an entry that the filter changed.
    pub filtered: Option<SeqNo>,
    /// The filter of the segment, if there is one, when it has seen its last entry.
    pub filter: Option<SegmentFilter>,
}
