//! The one background thread every engine gets: it flushes what the front sealed, and compacts.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::{Engine, Outcome};

/// Sealed memtables that may wait before the front waits for them.
const SEALED_MAX: u32 = 2;

/// Steps of compaction after one flush; a guard against a strategy that never rests.
const STEPS_MAX: u32 = 64;

#[derive(Default)]
struct State {
    sealed: u32,
    working: bool,
    ended: bool,
    failed: bool,
}

/// What the front tells the background thread, and waits for.
#[derive(Default)]
pub(crate) struct Background {
    state: Mutex<State>,
    changed: Condvar,
}

impl Background {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, busy: impl Fn(&State) -> bool) {
        let state = self.lock();
        let waited = self.changed.wait_while(state, |state| busy(state) && !state.failed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// One more memtable is sealed; waits while there are too many.
    pub(crate) fn sealed(&self) {
        self.lock().sealed += 1;
        self.changed.notify_all();
        self.wait_while(|state| state.sealed > SEALED_MAX);
    }

    /// Waits until everything is flushed and compaction rests.
    pub(crate) fn wait_until_quiet(&self) {
        self.wait_while(|state| state.sealed > 0 || state.working);
    }

    /// Lets the thread end.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// The life of the thread.
    pub(crate) fn run(&self, engine: &impl Engine) -> Outcome<()> {
        let mut fate = Fate { of: self, failed: true };
        let outcome = self.work(engine);
        fate.failed = outcome.is_err();
        outcome
    }

    fn work(&self, engine: &impl Engine) -> Outcome<()> {
        loop {
            let state = self.lock();
            let waited = self.changed.wait_while(state, |state| state.sealed == 0 && !state.ended);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let flushing = state.sealed;
            if flushing == 0 {
                return Ok(());
            }
            state.working = true;
            drop(state);
            engine.flush()?;
            self.lock().sealed -= flushing;
            self.changed.notify_all();
            // What is sealed meanwhile is flushed before the next step: a front that waits costs more.
            for _ in 0..STEPS_MAX {
                if self.lock().sealed > 0 || !engine.compact()? {
                    break;
                }
            }
            self.lock().working = false;
            self.changed.notify_all();
        }
    }
}

/// Tells the front how the thread ended, even when an engine panics in it: the front would wait for ever.
struct Fate<'a> {
    of: &'a Background,
    failed: bool,
}

impl Drop for Fate<'_> {
    fn drop(&mut self) {
        self.of.lock().failed = self.failed;
        self.of.changed.notify_all();
    }
}
