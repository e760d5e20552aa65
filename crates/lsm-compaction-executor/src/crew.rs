//! The segments of a batch, shared out among the thread of the job and those that come to help.
//!
//! The tasks lie in one queue. The thread of the job works it off like every helper does, so it waits at the end only for
//! tasks that have begun: a pool that is busy, has a single thread, is the one the job runs on, or runs nothing at all
//! costs time at most. The first error ends the batch: what has not begun is dropped, what has is cancelled.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use lsm_types::{Error, Result};
use parking_lot::{Condvar, Mutex};

use crate::{Cancel, ExecutorError, Parallelism, SegmentOutput, SegmentTask};

/// Runs all of `tasks` and returns what each of them made, in their order.
///
/// # Errors
/// The first one of a task, panics included. The outputs of the others are gone then.
pub(crate) fn run_batch(
    tasks: Vec<Box<dyn SegmentTask>>,
    parallelism: &Parallelism,
    cancel: &Cancel,
) -> Result<Vec<SegmentOutput>> {
    let count = tasks.len();
    let batch = Arc::new(Batch::new(tasks, cancel.clone()));
    if let Some(pool) = &parallelism.pool {
        for _ in 1..count.min(parallelism.threads) {
            let batch = batch.clone();
            pool.spawn(Box::new(move || batch.work()));
        }
    }
    batch.work();
    batch.finish()
}

struct Batch {
    state: Mutex<State>,
    ended: Condvar,
    cancel: Cancel,
}

struct State {
    waiting: VecDeque<(usize, Box<dyn SegmentTask>)>,
    running: usize,
    outputs: Vec<Option<SegmentOutput>>,
    error: Option<Error>,
}

impl Batch {
    fn new(tasks: Vec<Box<dyn SegmentTask>>, cancel: Cancel) -> Self {
        let outputs = tasks.iter().map(|_| None).collect();
        let waiting = tasks.into_iter().enumerate().collect();
        let state = Mutex::new(State { waiting, running: 0, outputs, error: None });
        Self { state, ended: Condvar::new(), cancel }
    }

    /// Works off what is in the queue.
    fn work(&self) {
        while let Some((number, task)) = self.take() {
            let outcome = contained(|| {
                self.cancel.check()?;
                task.run()
            });
            self.report(number, outcome);
        }
    }

    fn take(&self) -> Option<(usize, Box<dyn SegmentTask>)> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front()?;
        state.running += 1;
        Some(next)
    }

    fn report(&self, number: usize, outcome: Result<SegmentOutput>) {
        let mut state = self.state.lock();
        let mut dropped = VecDeque::new();
        match outcome {
            Ok(output) => {
                if let Some(slot) = state.outputs.get_mut(number) {
                    *slot = Some(output);
                }
            }
            Err(error) => {
                // Those that stop because of it come later, with an error that says less.
                state.error.get_or_insert(error);
                self.cancel.cancel();
                dropped = std::mem::take(&mut state.waiting);
            }
        }
        state.running -= 1;
        drop(state);
        self.ended.notify_all();
        drop(dropped);
    }

    /// Waits for what has begun.
    fn finish(&self) -> Result<Vec<SegmentOutput>> {
        let mut state = self.state.lock();
        while state.running > 0 {
            self.ended.wait(&mut state);
        }
        let outputs = std::mem::take(&mut state.outputs);
        let error = state.error.take();
        drop(state);
        match error {
            Some(error) => Err(error),
            None => Ok(outputs.into_iter().flatten().collect()),
        }
    }
}

/// Runs a piece of a job; a panic in it becomes an error of the job.
pub(crate) fn contained<T>(piece: impl FnOnce() -> Result<T>) -> Result<T> {
    // Whatever the piece held is dropped by unwinding: its files are removed by their guards, and nothing of it is
    // looked at again.
    catch_unwind(AssertUnwindSafe(piece)).unwrap_or_else(|panic| {
        let message = panic_message(panic.as_ref());
        Err(Error::from(ExecutorError::Panicked { message }))
    })
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lsm_types::Spawner;

    use super::*;
    use crate::CompactionPool;

    /// What a test does with the tasks it is given.
    enum Odd {
        /// Runs none of them.
        Drops,
        /// Runs each at once, on the thread that hands it over.
        AtOnce,
    }

    impl Spawner for Odd {
        fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
            match self {
                Self::Drops => {}
                Self::AtOnce => task(),
            }
        }
    }

    type Step = Box<dyn FnOnce() -> Result<SegmentOutput> + Send>;

    struct Does(Step);

    impl SegmentTask for Does {
        fn run(self: Box<Self>) -> Result<SegmentOutput> {
            (self.0)()
        }
    }

    fn pools() -> Vec<Option<Arc<dyn Spawner>>> {
        vec![
            None,
            Some(Arc::new(Odd::Drops)),
            Some(Arc::new(Odd::AtOnce)),
            Some(Arc::new(CompactionPool::new(1).unwrap())),
            Some(Arc::new(CompactionPool::new(3).unwrap())),
        ]
    }

    fn run(steps: Vec<Step>, pool: Option<Arc<dyn Spawner>>) -> Result<Vec<SegmentOutput>> {
        let tasks = steps.into_iter().map(|step| Box::new(Does(step)) as Box<dyn SegmentTask>).collect();
        run_batch(tasks, &Parallelism { pool, threads: 4, segment_min_bytes: 0 }, &Cancel::new())
    }

    fn makes(entries: u64) -> Step {
        Box::new(move || Ok(SegmentOutput { entries, ..SegmentOutput::default() }))
    }

    /// Proves C-141, C-142: whatever the pool does, all segments are worked off, and come back in key order.
    #[test]
    fn every_pool_gives_the_outputs_in_order() {
        for pool in pools() {
            let outputs = run((0..20).map(makes).collect(), pool).unwrap();
            let entries: Vec<u64> = outputs.iter().map(|output| output.entries).collect();
            assert_eq!(entries, (0..20).collect::<Vec<_>>());
        }
    }

    /// Proves C-142: a batch that is begun on the only thread of its pool ends.
    #[test]
    fn a_batch_may_be_run_on_the_pool_itself() {
        let pool: Arc<dyn Spawner> = Arc::new(CompactionPool::new(1).unwrap());
        let (send, receive) = std::sync::mpsc::channel();
        let inner = pool.clone();
        pool.spawn(Box::new(move || {
            let made = run((0..5).map(makes).collect(), Some(inner)).map(|outputs| outputs.len());
            send.send(made).unwrap();
        }));
        assert_eq!(receive.recv().unwrap().unwrap(), 5);
    }

    /// Proves C-144, C-145: the first error, or panic, is the one that is told, wherever it comes; what has not begun
    /// is not begun any more.
    #[test]
    fn the_first_failure_ends_the_batch() {
        for pool in pools() {
            for at in [0, 1, 4, 9] {
                for panics in [false, true] {
                    let begun = Arc::new(AtomicUsize::new(0));
                    let steps = (0..10).map(|number| -> Step {
                        let begun = begun.clone();
                        Box::new(move || {
                            begun.fetch_add(1, Ordering::SeqCst);
                            assert!(!(panics && number == at), "on purpose");
                            if number == at {
                                return Err(ExecutorError::Injected { point: "here" }.into());
                            }
                            Ok(SegmentOutput::default())
                        })
                    });
                    let error = run(steps.collect(), pool.clone()).unwrap_err();
                    let expected = if panics { "on purpose" } else { "injected failure at `here`" };
                    assert!(error.to_string().contains(expected), "{error}");
                    // How many others begin before a failure is told is a matter of time, unless there is one thread.
                    if pool.is_none() {
                        assert_eq!(begun.load(Ordering::SeqCst), at + 1);
                    }
                }
            }
        }
    }
}
