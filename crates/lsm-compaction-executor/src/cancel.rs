//! Stopping work from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::ExecutorError;

/// A flag that stops a job at its next check. Clones share it; a child also stops with its parent.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    raised: Arc<AtomicBool>,
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// A flag that nobody has raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag of its own that is also raised with `self`.
    pub fn child(&self) -> Self {
        Self { raised: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// A flag that is raised with either of the two.
    pub fn either(&self, other: &Self) -> Self {
        Self {
            raised: self.raised.clone(),
            parent: Some(Arc::new(Self {
                raised: other.raised.clone(),
                parent: match (&self.parent, &other.parent) {
                    (None, parent) | (parent, None) => parent.clone(),
                    (Some(a), Some(b)) => Some(Arc::new(a.either(b))),
                },
            })),
        }
    }

    /// Raises the flag, for good.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is raised.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
            || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
    }

    /// Stops here when the flag is raised.
    #[inline]
    pub fn check(&self) -> Result<(), ExecutorError> {
        if self.is_cancelled() { Err(ExecutorError::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_stop_with_either_parent_and_not_the_other_way() {
        let (a, b) = (Cancel::new(), Cancel::new());
        let child = a.child();
        let both = child.either(&b.child());
        assert!(!both.is_cancelled());
        b.cancel();
        assert!(both.is_cancelled() && !a.is_cancelled() && !child.is_cancelled());
        a.cancel();
        assert!(child.check().is_err());
    }
}
