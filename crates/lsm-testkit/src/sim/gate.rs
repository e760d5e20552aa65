//! A gate that operations wait at until a test opens it.

use std::fmt;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// A gate, closed at first. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<Passage>, Condvar)>);

#[derive(Default)]
struct Passage {
    is_open: bool,
    arrived: u64,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody pass, now and later.
    pub fn open(&self) {
        self.0.0.lock().is_open = true;
        self.0.1.notify_all();
    }

    /// Waits until somebody stands at the gate, or has passed it.
    pub fn wait_for_arrival(&self) {
        let mut passage = self.0.0.lock();
        while passage.arrived == 0 {
            self.0.1.wait(&mut passage);
        }
    }

    /// Waits until the gate is open.
    pub(super) fn pass(&self) {
        let mut passage = self.0.0.lock();
        passage.arrived += 1;
        self.0.1.notify_all();
        while !passage.is_open {
            self.0.1.wait(&mut passage);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.0.0.lock().is_open).finish()
    }
}
