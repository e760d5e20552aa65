//! The one driver of every merge.
//!
//! Why it is safe: nothing outside the install changes shared state; every resource is a guard (lease, staged
//! file), so error, stop and panic take the same way out; the check before the install is the last point without
//! effect, after it the checkpoint is complete.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use lsm_types::{Result, SeqNo};

use crate::{
    Cancel, Checkpoint, CompactionFlavour, DropCounts, EditExtras, ExecutorError, FilterCounts, FlavourRun,
    InstallError, InstallRequest, Installer, Job, Relocated, SegmentDone, SegmentFilter, SegmentOutput,
    SegmentTask, Sliced, StagingArea,
    checkpoints::install_each,
    crew::{panic_message, run_batch},
    installer::Placement,
};

/// What a job wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobOutput {
    /// Name of the flavour that carried it out.
    pub flavour: &'static str,
    /// Segments, each a stretch of keys written by one thread.
    pub segments: usize,
    /// Tables written.
    pub tables: usize,
    /// Delete vectors written.
    pub vectors: usize,
    /// Bytes of the files written.
    pub bytes: u64,
    /// Entries written.
    pub entries: u64,
    /// Entries not written.
    pub dropped: DropCounts,
    /// What filters said.
    pub filtered: FilterCounts,
    /// Deletes of ranges in the tables written.
    pub range_tombstones: u64,
    /// Chains of operands that were kept because the merge operator failed on them.
    pub folds_failed: u64,
    /// Weak pairs with another value right below.
    pub weak_mismatches: u64,
    /// Values that were copied out of old value logs.
    pub relocated: Relocated,
    /// How far it came, if it was installed slice by slice.
    pub sliced: Option<Sliced>,
}

/// Carries out `job` with the first of `flavours` that applies.
///
/// # Errors
/// Whatever stopped it; the tree is as before, or as the last slice left it, and the job can be repeated, unless the error
/// says that an install may or may not have happened.
pub fn run_job(
    job: &Arc<Job>,
    flavours: &[&dyn CompactionFlavour],
    installer: &dyn Installer,
) -> Result<JobOutput> {
    job.cancel.check()?;
    job.failpoints.hit("lease.taken")?;
    let (flavour, mut run) = select(job, flavours)?;
    let mut output = JobOutput { flavour: flavour.name(), ..JobOutput::default() };
    if flavour.checkpoint() == Checkpoint::EachBatch {
        return install_each(job, run.as_mut(), installer, output);
    }
    let mut made = Made::default();
    loop {
        let batch = run.next_batch()?;
        if batch.is_empty() {
            if let Some((ready, _)) = made.ready(job, run.as_mut(), true)? {
                ready.install(job, installer, false)?;
            }
            return Ok(output);
        }
        made.add(job, &job.cancel, batch, &mut output)?;
    }
}

/// What was written and not installed yet, and what is to be said with it.
#[derive(Default)]
pub(crate) struct Made {
    staged: StagingArea,
    filters: Vec<SegmentFilter>,
    floor: Option<SeqNo>,
    altered: Option<SeqNo>,
    filtered: Option<SeqNo>,
}

/// A part of it that is ready to be installed. Dropping it removes its files.
pub(crate) struct Ready {
    staged: StagingArea,
    filters: Vec<SegmentFilter>,
    request: InstallRequest,
}

impl Made {
    /// Runs a batch.
    ///
    /// * `cancel`: raised when a segment fails.
    pub(crate) fn add(
        &mut self,
        job: &Job,
        cancel: &Cancel,
        batch: Vec<Box<dyn SegmentTask>>,
        output: &mut JobOutput,
    ) -> Result<()> {
        for segment in run_batch(batch, &job.parallelism, cancel)? {
            self.floor = self.floor.max(segment.floor);
            // What a filter changed is not as it was written, whoever lists changes.
            self.altered = self.altered.max(segment.altered).max(segment.filtered);
            self.filtered = self.filtered.max(segment.filtered);
            job.watch.segment(output.count(&segment));
            self.staged.add(segment.tables);
            self.staged.add_vlogs(segment.vlogs);
            self.staged.add_vectors(segment.vectors);
            self.filters.extend(segment.filter);
        }
        Ok(())
    }

    /// What there is to install now, and what becomes of the inputs; `None` where nothing is.
    ///
    /// * `last`: the job ends with it.
    pub(crate) fn ready(
        &mut self,
        job: &Job,
        run: &mut dyn FlavourRun,
        last: bool,
    ) -> Result<Option<(Ready, EditExtras)>> {
        job.cancel.check()?;
        self.filters.iter_mut().try_for_each(SegmentFilter::finish)?;
        let extras = run.extras(job)?;
        if !last && extras == EditExtras::default() && self.staged.is_empty() {
            return Ok(None);
        }
        let (staged, filters) = (std::mem::take(&mut self.staged), std::mem::take(&mut self.filters));
        let request = InstallRequest {
            remove: extras.remove.clone(),
            restrict: extras.restrictions.clone(),
            rest: extras.rest.clone(),
            add: staged.tables().iter().map(|table| table.descriptor().clone()).collect(),
            vlogs: staged.vlogs().iter().map(|vlog| vlog.descriptor().clone()).collect(),
            vectors: staged
                .vectors()
                .iter()
                .map(|vector| (vector.table(), vector.descriptor().clone()))
                .collect(),
            relocate: Vec::new(),
            dest: job.output.dest,
            placement: Placement::OfInputs,
            floor: self.floor,
            altered: self.altered,
            filtered: self.filtered.and(job.filter.as_ref()).map(|filter| filter.floor),
        };
        Ok(Some((Ready { staged, filters, request }, extras)))
    }
}

impl Ready {
    /// Length of its files.
    pub(crate) fn written_bytes(&self) -> u64 {
        let tables = self.staged.tables().iter().map(|table| table.descriptor().file_len);
        tables.chain(self.staged.vlogs().iter().map(|vlog| vlog.descriptor().file_len)).sum()
    }

    /// Makes the files durable, and then part of the tree.
    ///
    /// * `at_once`: files may be synced side by side.
    pub(crate) fn install(mut self, job: &Job, installer: &dyn Installer, at_once: bool) -> Result<()> {
        self.staged.sync(at_once)?;
        self.staged.seal(&job.env, job.vlogs.as_deref(), job.failpoints.as_ref())?;
        install(job, installer, self.request, &mut self.staged, &mut self.filters)
    }
}

/// The first flavour that applies and does not step back.
fn select<'f>(
    job: &Arc<Job>,
    flavours: &[&'f dyn CompactionFlavour],
) -> Result<(&'f dyn CompactionFlavour, Box<dyn FlavourRun>)> {
    for flavour in flavours {
        if flavour.applies(job)?
            && let Some(run) = flavour.attempt(job)?
        {
            return Ok((*flavour, run));
        }
    }
    Err(ExecutorError::NoFlavour.into())
}

fn install(
    job: &Job,
    installer: &dyn Installer,
    request: InstallRequest,
    staged: &mut StagingArea,
    filters: &mut Vec<SegmentFilter>,
) -> Result<()> {
    job.cancel.check()?; // the last way out without effect
    job.failpoints.hit("install.before")?;
    // An install that panics may have written its edit: what it names stays, as after an unknown outcome.
    let outcome = catch_unwind(AssertUnwindSafe(|| installer.install(request))).unwrap_or_else(|panic| {
        let message = panic_message(panic.as_ref());
        Err(InstallError::Unknown(ExecutorError::Panicked { message }.into()))
    });
    match outcome {
        Ok(()) => {
            staged.keep();
            filters.drain(..).for_each(SegmentFilter::commit);
            job.failpoints.hit("install.after")?;
            Ok(())
        }
        Err(InstallError::NotApplied(error)) => Err(error),
        Err(InstallError::Unknown(error)) => {
            staged.keep(); // the edit may name them; reopening decides
            Err(error)
        }
    }
}

impl JobOutput {
    /// Adds a segment; what there is to tell about it.
    fn count(&mut self, segment: &SegmentOutput) -> SegmentDone {
        let tables: u64 = segment.tables.iter().map(|table| table.descriptor().file_len).sum();
        let vlogs: u64 = segment.vlogs.iter().map(|vlog| vlog.descriptor().file_len).sum();
        let vectors: u64 = segment.vectors.iter().map(|vector| vector.descriptor().file_len).sum();
        let (bytes, entries) = (tables + vlogs + vectors, segment.entries);
        let done = SegmentDone { tables: segment.tables.len(), bytes, entries };
        self.segments += 1;
        self.tables += done.tables;
        self.bytes += bytes;
        self.entries += entries;
        self.vectors += segment.vectors.len();
        let tables = segment.tables.iter();
        self.range_tombstones += tables.map(|table| table.descriptor().counts.range_tombstones).sum::<u64>();
        self.dropped.add(&segment.dropped);
        self.filtered.add(&segment.filter.as_ref().map_or_else(FilterCounts::default, SegmentFilter::counts));
        self.folds_failed += segment.folds_failed;
        self.weak_mismatches += segment.weak_mismatches;
        self.relocated.add(&segment.relocated);
        done
    }
}
