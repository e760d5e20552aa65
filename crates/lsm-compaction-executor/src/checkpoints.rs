//! A job that is installed part by part: each batch with an edit of its own.
//!
//! Where the flavour says that there is room for it, the next batch is made while the one before is synced and installed,
//! by a thread of its own: that one waits for the disk most of the time, and the one that merges hardly ever.
//!
//! ```text
//! this thread   make 1 | make 2 | make 3      | make 4 ...
//! the other              sync, install 1 | sync, install 2 | ...
//!                                        ^ 2 is ended no earlier
//! ```
//!
//! One batch is on its way at a time, so edits keep their order. When it fails, what was made meanwhile goes with it; when the
//! one that is made meanwhile fails, it still comes to its end.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use lsm_types::{Error, ErrorClass, Result};
use parking_lot::Mutex;

use crate::{
    EditExtras, FlavourRun, Installer, Job, JobOutput,
    crew::contained,
    driver::{Made, Ready},
};

/// Makes and installs batches until the run has no more.
pub(crate) fn install_each(
    job: &Job,
    run: &mut dyn FlavourRun,
    installer: &dyn Installer,
    output: JobOutput,
) -> Result<JobOutput> {
    thread::scope(|scope| {
        let mut steps = Steps { job, installer, scope, made: Made::default(), output, flight: None };
        let ended = steps.go(run);
        // What is on its way when the run fails still comes to its end; its own failure comes first.
        let landed = steps.land(run);
        let Some(Stopped { error, before }) = landed.err().or(ended.err()) else {
            return Ok(JobOutput { sliced: run.sliced(), ..steps.output });
        };
        if error.kind().class() == ErrorClass::NoSpace && run.ran_out() {
            return Ok(JobOutput { sliced: run.sliced(), ..*before });
        }
        Err(error)
    })
}

/// What stopped a run.
struct Stopped {
    error: Error,
    /// What the job had done before, all of which is in the tree.
    before: Box<JobOutput>,
}

struct Steps<'scope, 'env> {
    job: &'env Job,
    installer: &'env dyn Installer,
    scope: &'scope thread::Scope<'scope, 'env>,
    made: Made,
    output: JobOutput,
    flight: Option<Flight>,
}

/// A batch on its way into the tree.
struct Flight {
    extras: EditExtras,
    /// What the job had done before.
    before: JobOutput,
    outcome: mpsc::Receiver<Result<()>>,
}

impl Steps<'_, '_> {
    fn go(&mut self, run: &mut dyn FlavourRun) -> Result<(), Stopped> {
        loop {
            let before = self.output.clone();
            let stopped = |error| Stopped { error, before: Box::new(before.clone()) };
            let batch = run.next_batch().map_err(stopped)?;
            if batch.is_empty() {
                return Ok(());
            }
            // What fails here is no reason to stop what is on its way.
            let cancel = self.job.cancel.clone();
            let cancel = if self.flight.is_some() { cancel.child() } else { cancel };
            self.made.add(self.job, &cancel, batch, &mut self.output).map_err(stopped)?;
            self.land(run)?;
            let ready = self.made.ready(self.job, run, false).map_err(stopped)?;
            let Some((ready, extras)) = ready else { continue };
            if run.runs_ahead(ready.written_bytes()) {
                self.take_off(ready, extras, before);
                continue;
            }
            ready.install(self.job, self.installer, false).map_err(stopped)?;
            self.installed(run, &extras);
        }
    }

    /// Has the batch installed while this thread goes on.
    fn take_off(&mut self, ready: Ready, extras: EditExtras, before: JobOutput) {
        let (job, installer) = (self.job, self.installer);
        let (landed, outcome) = mpsc::channel();
        job.in_flight.take_off();
        // Whoever comes first: this thread, where there is no other one to be had.
        let ready = Arc::new(Mutex::new(Some(ready)));
        let install = {
            let ready = ready.clone();
            move || {
                let Some(ready) = ready.lock().take() else { return };
                let done = contained(|| ready.install(job, installer, true));
                job.in_flight.land(done.is_ok());
                let _ = landed.send(done); // who is gone has an error of its own
            }
        };
        let named = thread::Builder::new().name("lsm-install".to_owned());
        if let Err(error) = named.spawn_scoped(self.scope, install.clone()) {
            tracing::warn!(%error, "no thread to install a slice; it is installed in place");
            install();
        }
        self.flight = Some(Flight { extras, before, outcome });
    }

    /// Waits for the batch that is on its way.
    fn land(&mut self, run: &mut dyn FlavourRun) -> Result<(), Stopped> {
        let Some(Flight { extras, before, outcome }) = self.flight.take() else { return Ok(()) };
        let waited = self.job.in_flight.wait(self.job.env.fs.as_ref());
        let outcome = outcome.recv().unwrap_or_else(|_| waited.map_err(Error::from));
        outcome.map_err(|error| Stopped { error, before: Box::new(before) })?;
        self.installed(run, &extras);
        Ok(())
    }

    fn installed(&mut self, run: &mut dyn FlavourRun, extras: &EditExtras) {
        run.installed(extras);
        self.output.sliced = run.sliced();
        if let Some(sliced) = run.sliced() {
            self.job.watch.slice(sliced);
        }
    }
}
