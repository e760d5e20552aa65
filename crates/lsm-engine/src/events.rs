//! What goes on in the background, for whoever wants to know: a listener that is given at open, and the jobs that run now.
//!
//! ```text
//! begun -> segment written ... -> committed
//!       -> slice installed ... -> committed, or stopped, or rolled back
//! ```
//!
//! What ends a job is told after the locks of the call are gone, and what happens in between on the thread of the job while
//! it holds none that reads, writes, installs or other jobs wait for. A listener that panics is told of in the log, and the
//! job goes on.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_compaction_executor::{CompactionReport, JobWatch, NoWatch, SegmentDone, Sliced};
use lsm_compaction_planner::{MergePlan, Plan, Reason};
use lsm_types::{Error, ErrorKind, Level, Result, TreeId};
use parking_lot::Mutex;

use crate::FlushReport;

/// A compaction that was begun.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionJob {
    /// Its number, one after another since the store was opened.
    pub id: u64,
    /// The tree.
    pub tree: TreeId,
    /// Why it was wanted.
    pub reason: Reason,
    /// Where its tables go; `None` where they leave.
    pub dest: Option<Level>,
    /// Number of its inputs.
    pub tables: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of them that hold entries, which is what is read; 0 where nothing is.
    pub data_bytes: u64,
    /// Whether it is done slice by slice.
    pub is_sliced: bool,
}

/// Something that happened in the background.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Event {
    /// Sealed memtables are about to be written.
    FlushBegun {
        /// The tree.
        tree: TreeId,
        /// How many.
        memtables: usize,
        /// Bytes they take in memory.
        bytes: u64,
    },
    /// They are in tables.
    FlushCommitted {
        /// The tree.
        tree: TreeId,
        /// What was done.
        report: FlushReport,
    },
    /// They are not, and stay in memory.
    FlushRolledBack {
        /// The tree.
        tree: TreeId,
        /// Why.
        error: Error,
    },
    /// A compaction has its inputs.
    CompactionBegun(CompactionJob),
    /// A stretch of keys of it is written.
    SegmentWritten(CompactionJob, SegmentDone),
    /// A slice of it is part of the tree.
    SliceInstalled(CompactionJob, Sliced),
    /// It is through, or as far as there was room for it.
    CompactionCommitted(CompactionJob, Box<CompactionReport>),
    /// It was stopped. Slices that were installed stay, nothing else does.
    CompactionStopped(CompactionJob),
    /// It failed. Slices that were installed stay, nothing else does, unless the error says that nobody knows.
    CompactionRolledBack(CompactionJob, Error),
}

/// Is told what goes on in the background.
pub trait EventListener: Send + Sync {
    /// Called on the thread on which it happens: what takes long belongs elsewhere. Reads, writes, seals and figures may be
    /// asked for from within, and, once a job has ended, another one; what waits for the job itself never returns.
    fn event(&self, event: &Event);
}

/// A compaction that runs now.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobProgress {
    /// Which.
    pub job: CompactionJob,
    /// Bytes of its inputs that were read.
    pub read_bytes: u64,
}

impl JobProgress {
    /// The share of its inputs that was read, 0 to 1; `None` for a job that reads nothing.
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    pub fn share(&self) -> Option<f64> {
        let (read, all) = (self.read_bytes.min(self.job.data_bytes), self.job.data_bytes);
        (all > 0).then(|| read as f64 / all as f64)
    }
}

/// The jobs of a store, and who is told of them.
#[derive(Default)]
pub(crate) struct Jobs {
    listener: Option<Arc<dyn EventListener>>,
    running: Mutex<BTreeMap<u64, Arc<RunningJob>>>,
    next: AtomicU64,
}

/// One of them.
pub(crate) struct RunningJob {
    job: CompactionJob,
    read_bytes: AtomicU64,
    listener: Option<Arc<dyn EventListener>>,
}

fn tell(listener: Option<&Arc<dyn EventListener>>, event: impl FnOnce() -> Event) {
    let Some(listener) = listener else { return };
    let event = event();
    if catch_unwind(AssertUnwindSafe(|| listener.event(&event))).is_err() {
        tracing::error!(?event, "the listener panicked");
    }
}

impl JobWatch for RunningJob {
    fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn segment(&self, done: SegmentDone) {
        tell(self.listener.as_ref(), || Event::SegmentWritten(self.job, done));
    }

    fn slice(&self, sliced: Sliced) {
        tell(self.listener.as_ref(), || Event::SliceInstalled(self.job, sliced));
    }
}

impl Jobs {
    pub(crate) fn new(listener: Option<Arc<dyn EventListener>>) -> Self {
        Self { listener, ..Self::default() }
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        tell(self.listener.as_ref(), event);
    }

    pub(crate) fn running(&self) -> Vec<JobProgress> {
        let running = self.running.lock();
        let progress = |running: &Arc<RunningJob>| JobProgress {
            job: running.job,
            read_bytes: running.read_bytes.load(Ordering::Relaxed),
        };
        running.values().map(progress).collect()
    }
}

/// One call of a compaction. To be made before the locks of the call are taken: what ended its job is told when it is
/// dropped.
pub(crate) struct JobCall<'a> {
    jobs: &'a Jobs,
    running: Option<Arc<RunningJob>>,
    end: Option<Event>,
}

impl<'a> JobCall<'a> {
    pub(crate) fn new(jobs: &'a Jobs) -> Self {
        Self { jobs, running: None, end: None }
    }

    /// The inputs of `plan` are leased.
    pub(crate) fn begin(&mut self, tree: TreeId, plan: &Plan, is_sliced: bool) {
        let (Some(inputs), Some(reason)) = (plan.inputs(), reason_of(plan)) else { return };
        let data_of = |plan: &MergePlan| {
            let data =
                plan.inputs.tables().map(|table| table.sizes.data.saturating_sub(table.consumed_bytes()));
            data.fold(0, u64::saturating_add)
        };
        let job = CompactionJob {
            id: self.jobs.next.fetch_add(1, Ordering::Relaxed),
            tree,
            reason,
            dest: plan.output().map(|output| output.dest),
            tables: inputs.table_count(),
            bytes: inputs.file_bytes(),
            data_bytes: if let Plan::Merge(plan) = plan { data_of(plan) } else { 0 },
            is_sliced,
        };
        let listener = self.jobs.listener.clone();
        let running = Arc::new(RunningJob { job, read_bytes: AtomicU64::new(0), listener });
        self.jobs.running.lock().insert(job.id, running.clone());
        self.running = Some(running);
        self.jobs.tell(|| Event::CompactionBegun(job));
    }

    /// Who looks on while a merge runs.
    pub(crate) fn watch(&self) -> Arc<dyn JobWatch> {
        self.running.clone().map_or_else(|| Arc::new(NoWatch) as _, |running| running as _)
    }

    /// What came of it.
    pub(crate) fn end(&mut self, outcome: &Result<CompactionReport>) {
        let Some(running) = self.running.take() else { return };
        self.jobs.running.lock().remove(&running.job.id);
        if self.jobs.listener.is_none() {
            return;
        }
        self.end = Some(match outcome {
            Ok(report) => Event::CompactionCommitted(running.job, Box::new(report.clone())),
            Err(error) if error.kind() == ErrorKind::Cancelled => Event::CompactionStopped(running.job),
            Err(error) => Event::CompactionRolledBack(running.job, error.clone()),
        });
    }
}

impl Drop for JobCall<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // The call unwinds.
            self.jobs.running.lock().remove(&running.job.id);
        }
        if let Some(event) = self.end.take() {
            self.jobs.tell(|| event);
        }
    }
}

fn reason_of(plan: &Plan) -> Option<Reason> {
    match plan {
        Plan::Idle => None,
        Plan::Merge(plan) => Some(plan.reason),
        Plan::Move(plan) => Some(plan.reason),
        Plan::Drop(plan) => Some(plan.reason),
    }
}
