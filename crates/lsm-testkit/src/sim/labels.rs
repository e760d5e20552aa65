//! Names for what a program is doing, so that a report says where in the program an event came from.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::fs::SimFs;

/// What each thread is doing, outermost first.
#[derive(Default)]
pub(super) struct Labels(HashMap<ThreadId, Vec<Arc<str>>>);

impl Labels {
    /// What the calling thread is doing.
    pub(super) fn current(&self) -> Option<Arc<str>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&thread::current().id())?.last().cloned()
    }
}

/// Marks what the thread that made it does on the disk, until it drops; see [`SimFs::label`].
#[must_use = "the label lasts as long as this"]
pub struct Label {
    fs: SimFs,
    thread: ThreadId,
}

impl SimFs {
    /// Marks every event that the calling thread causes until the answer drops. Labels nest: an inner one is written
    /// behind those around it, as `flush/install`.
    pub fn label(&self, text: &str) -> Label {
        let thread = thread::current().id();
        let mut state = self.lock();
        let stack = state.labels.0.entry(thread).or_default();
        let full = stack.last().map_or_else(|| Arc::from(text), |outer| Arc::from(format!("{outer}/{text}")));
        stack.push(full);
        Label { fs: self.clone(), thread }
    }
}

impl Drop for Label {
    fn drop(&mut self) {
        let mut state = self.fs.lock();
        if let Some(stack) = state.labels.0.get_mut(&self.thread) {
            stack.pop();
            if stack.is_empty() {
                state.labels.0.remove(&self.thread);
            }
        }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Label").finish_non_exhaustive()
    }
}
