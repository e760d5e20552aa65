//! Flushes and compactions beside a load: one thread does them while the front goes on writing.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use lsm::{
    Result,
    compaction::Leveled,
    tree::{Cancel, CompactOptions, FlushOptions, FlushReport, Token, Tree},
};

use crate::failure::Failure;

/// Sealed memtables at which the front waits: one is being flushed, one is ready to be next.
const SEALED_MAX: usize = 2;
/// Runs of level 0 at which compaction comes before the next flush: reads look into all of them, and a load that only
/// ever flushed would never end up with fewer.
const L0_RUNS_MAX: usize = 12;
/// How long the front waits before it looks at the cancel flag again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Options of a flush that `cancel` stops.
pub(crate) fn flush_options(cancel: &Cancel) -> FlushOptions {
    let mut options = FlushOptions::default();
    options.cancel = cancel.clone();
    options
}

/// Asks the leveled strategy what to do until it finds nothing; returns the number of jobs.
pub(crate) fn settle(tree: &Tree, cancel: &Cancel) -> Result<u64> {
    let mut jobs = 0;
    while compact_step(tree, cancel)? {
        jobs += 1;
    }
    Ok(jobs)
}

/// Asks the strategy once; returns whether there was something to do.
fn compact_step(tree: &Tree, cancel: &Cancel) -> Result<bool> {
    let options = CompactOptions::default().cancel(cancel.clone());
    Ok(tree.compact(&Leveled::default(), &options)?.did_work())
}

/// The thread that flushes and compacts.
pub(crate) struct Maintenance {
    tree: Tree,
    cancel: Cancel,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// No memtable will be sealed any more.
    is_last: bool,
    /// The thread is gone, whatever the reason.
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maintenance {
    /// Starts the thread. `flushed` is called after each flush, when its rows are durable.
    pub(crate) fn start(
        tree: Tree,
        cancel: Cancel,
        flushed: impl Fn(&FlushReport) + Send + 'static,
    ) -> Result<Self, Failure> {
        let shared = Arc::<Shared>::default();
        let work = {
            let (tree, cancel, shared) = (tree.clone(), cancel.clone(), shared.clone());
            move || {
                let outcome = work(&tree, &cancel, &shared, &flushed);
                shared.lock().is_over = true;
                shared.changed.notify_all();
                outcome
            }
        };
        let thread =
            thread::Builder::new().name("maintenance".to_owned()).spawn(work).map_err(Failure::Thread)?;
        Ok(Self { tree, cancel, shared, thread: Some(thread) })
    }

    /// Hands what was written so far over to the thread, and waits while it is behind. Returns whether the thread
    /// still works; if it does not, [`Maintenance::finish`] says why.
    pub(crate) fn hand_over(&self, token: Token) -> bool {
        if let Some(sealed) = self.tree.seal(Some(token)) {
            // Nobody reads below what this program has written: old versions can go.
            self.tree.set_gc_watermark(sealed.max_seqno.next());
        }
        let mut state = self.shared.lock();
        self.shared.changed.notify_all();
        while !state.is_over && !self.cancel.is_cancelled() && self.tree.sealed_count() >= SEALED_MAX {
            let waited = self.shared.changed.wait_timeout(state, LOOK_AGAIN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.is_over
    }

    /// Waits until everything handed over is durable and the compaction that runs has ended.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.join() {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    fn join(&mut self) -> Option<thread::Result<Result<()>>> {
        self.shared.lock().is_last = true;
        self.shared.changed.notify_all();
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Maintenance {
    /// A front that fails does not leave the thread behind: a program that ends in the middle of a flush leaves files
    /// that nobody names.
    fn drop(&mut self) {
        self.join();
    }
}

/// Flushes come first, for the front waits for them, until level 0 is too full.
fn work(tree: &Tree, cancel: &Cancel, shared: &Shared, flushed: &impl Fn(&FlushReport)) -> Result<()> {
    let mut is_settled = true;
    loop {
        if tree.sealed_count() > 0 {
            let report = tree.flush(&flush_options(cancel))?;
            flushed(&report);
            is_settled = false;
            shared.changed.notify_all();
            while l0_runs(tree) >= L0_RUNS_MAX && compact_step(tree, cancel)? {}
            continue;
        }
        let state = shared.lock();
        if state.is_last {
            // The front seals before it says so; what it sealed last may have come in since we looked.
            if tree.sealed_count() == 0 {
                return Ok(());
            }
        } else if is_settled {
            drop(shared.changed.wait_timeout(state, LOOK_AGAIN));
        } else {
            drop(state);
            is_settled = !compact_step(tree, cancel)?;
        }
    }
}

fn l0_runs(tree: &Tree) -> usize {
    tree.stats().levels.first().map_or(0, |level| level.runs)
}
