//! What of a job is written and not yet installed while the job goes on.
//!
//! A merge that is installed slice by slice may read and write the next slice while the one before is made durable. What is
//! written meanwhile must not count before: a table of the next slice is ended when the one before is installed, and says so.

use lsm_fs::Fs;
use parking_lot::{Condvar, Mutex};

use crate::ExecutorError;

/// The slice of a job that is on its way into the tree, if there is one.
#[derive(Debug, Default)]
pub struct InFlight {
    state: Mutex<State>,
    landed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_up: bool,
    has_failed: bool,
}

impl InFlight {
    pub(crate) fn take_off(&self) {
        let mut state = self.state.lock();
        debug_assert!(!state.is_up, "one at a time");
        state.is_up = true;
    }

    /// It is installed, or will not be.
    pub(crate) fn land(&self, is_installed: bool) {
        *self.state.lock() = State { is_up: false, has_failed: !is_installed };
        self.landed.notify_all();
    }

    /// Returns when nothing is on its way.
    ///
    /// # Errors
    /// `Cancelled` when it was not installed: the job ends, and what stood against it is told elsewhere.
    pub(crate) fn wait(&self, fs: &dyn Fs) -> Result<(), ExecutorError> {
        let mut state = self.state.lock();
        let has_waited = state.is_up;
        while state.is_up {
            self.landed.wait(&mut state);
        }
        let has_failed = state.has_failed;
        drop(state);
        if has_waited {
            fs.yield_point();
        }
        if has_failed { Err(ExecutorError::Cancelled) } else { Ok(()) }
    }
}
