//! Whether a thread sleeps, as far as the system tells.

use std::fs;
use std::path::PathBuf;

/// A thread that can be asked whether it sleeps.
#[derive(Debug)]
pub(super) struct Sleeper {
    /// The kernel's word on it.
    stat: PathBuf,
}

impl Sleeper {
    /// The calling thread; nothing where the system does not tell.
    pub(super) fn current() -> Option<Self> {
        let thread = fs::read_link("/proc/thread-self").ok()?;
        Some(Self { stat: PathBuf::from("/proc").join(thread).join("stat") })
    }

    /// Whether it sleeps right now, waiting for somebody.
    pub(super) fn is_asleep(&self) -> bool {
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        // The state stands behind the name, which is in parentheses and may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }
}
