//! Telling when nothing can touch a directory any more.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Signal {
    state: Mutex<State>,
    fired: Condvar,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    callbacks: Vec<Callback>,
}

/// Fires the signal when it drops: the last field of a store.
#[derive(Default)]
pub(super) struct ClosedOnDrop(Arc<Signal>);

impl ClosedOnDrop {
    pub(super) fn handle(&self) -> CloseHandle {
        CloseHandle(self.0.clone())
    }
}

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        let callbacks = {
            let mut state = self.0.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.callbacks)
        };
        self.0.fired.notify_all();
        for callback in callbacks {
            callback();
        }
    }
}

/// Tells when nothing of a store can touch its directory any more: every handle, tree, view, iterator, pin and guard is
/// gone, no thread removes files, and the lock is released. Does not keep the store open.
#[derive(Clone)]
pub struct CloseHandle(Arc<Signal>);

impl CloseHandle {
    /// Whether it is so.
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().is_closed
    }

    /// Waits until it is so. Whoever holds something of the store itself waits for ever.
    pub fn wait_closed(&self) {
        let mut state = self.0.state.lock();
        while !state.is_closed {
            self.0.fired.wait(&mut state);
        }
    }

    /// Waits no longer than `timeout`; returns whether it is so.
    pub fn wait_closed_for(&self, timeout: Duration) -> bool {
        let mut state = self.0.state.lock();
        if !state.is_closed {
            let _ = self.0.fired.wait_while_for(&mut state, |state| !state.is_closed, timeout);
        }
        state.is_closed
    }

    /// Calls `callback` once it is so: at once when it is already, else on the thread that lets go of the last thing.
    pub fn on_closed(&self, callback: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state.lock();
        if state.is_closed {
            drop(state);
            callback();
        } else {
            state.callbacks.push(Box::new(callback));
        }
    }
}

impl std::fmt::Debug for CloseHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CloseHandle").field("is_closed", &self.is_closed()).finish()
    }
}
