//! An example of a compaction flavour of one's own: merges that are checked before they count, and leave a line each.
//!
//! A strategy decides what is merged, a flavour ([`CompactionFlavour`]) carries it out: it is asked whether it applies, cuts
//! the job into segments, and writes tables. It sees sources and writers, never a version or a manifest: leasing inputs,
//! syncing, the commit and the clean-up after a failure are the driver's, so a flavour with a fault costs time, never data.
//!
//! [`Audited`] wraps another flavour. What that one wrote is refused, and the job fails without effect, when tables are not in
//! order or hold more entries than went in.
//!
//! ```
//! use lsm_compaction_executor::{CompactionFlavour, Standard};
//! use lsm_merge_audit::{AuditLine, Audited};
//!
//! let audited = Audited::new(Standard, |line: &AuditLine| println!("{line}"));
//! assert_eq!(audited.name(), "audited");
//! // tree.compact(&Leveled::default(), &CompactOptions::default().flavour(Arc::new(audited)))?;
//! ```

mod line;
mod tally;

use std::sync::Arc;

use lsm_compaction_executor::{Checkpoint, CompactionFlavour, FlavourRun, Job, SegmentOutput, SegmentTask};
use lsm_types::Result;

pub use line::{AuditError, AuditLine, Verdict};
use tally::Tally;

/// Where lines go. Called once for each merge, on the thread that carries it out.
type Log = dyn Fn(&AuditLine) + Send + Sync;

/// A flavour whose merges are checked and told.
pub struct Audited<F> {
    inner: F,
    log: Arc<Log>,
}

impl<F> Audited<F> {
    /// Checks what `inner` writes, and gives a line for each merge to `log`.
    pub fn new(inner: F, log: impl Fn(&AuditLine) + Send + Sync + 'static) -> Self {
        Self { inner, log: Arc::new(log) }
    }
}

impl<F: CompactionFlavour> CompactionFlavour for Audited<F> {
    fn name(&self) -> &'static str {
        "audited"
    }

    fn checkpoint(&self) -> Checkpoint {
        self.inner.checkpoint()
    }

    /// Where outputs count before the merge is through, it would be too late for a refusal.
    fn applies(&self, job: &Job) -> Result<bool> {
        Ok(self.checkpoint() == Checkpoint::Once && self.inner.applies(job)?)
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        let tally = Arc::new(Tally::new(job.clone()));
        // From here on a line is owed, even if the first step fails.
        let mut run = Run { inner: None, tally, log: self.log.clone() };
        run.inner = Some(self.inner.start(job)?);
        Ok(Box::new(run))
    }
}

/// A merge under way.
struct Run {
    inner: Option<Box<dyn FlavourRun>>,
    tally: Arc<Tally>,
    log: Arc<Log>,
}

impl FlavourRun for Run {
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask>>> {
        let Some(inner) = &mut self.inner else { return Ok(Vec::new()) };
        let batch = inner.next_batch()?;
        if batch.is_empty() {
            self.inner = None;
            let checked = self.tally.check();
            let verdict = if checked.is_ok() { Verdict::Written } else { Verdict::Refused };
            (self.log)(&self.tally.line(verdict));
            checked?;
        }
        let first = self.tally.make_room(batch.len());
        let watched = batch.into_iter().enumerate().map(|(nth, inner)| {
            Box::new(Watched { inner, nth: first + nth, tally: self.tally.clone() }) as Box<dyn SegmentTask>
        });
        Ok(watched.collect())
    }
}

impl Drop for Run {
    /// A merge that did not come to its end failed or was stopped.
    fn drop(&mut self) {
        if self.inner.take().is_some() {
            (self.log)(&self.tally.line(Verdict::Abandoned));
        }
    }
}

/// A segment that tells what it made.
struct Watched {
    inner: Box<dyn SegmentTask>,
    nth: usize,
    tally: Arc<Tally>,
}

impl SegmentTask for Watched {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let output = self.inner.run()?;
        self.tally.add(self.nth, &output);
        Ok(output)
    }
}
