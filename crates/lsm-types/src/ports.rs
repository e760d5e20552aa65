//! Small ports through which time, chance and threads enter.

use alloc::boxed::Box;

use crate::UnixNanos;

/// Where time comes from. Nothing about correctness may depend on it.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time; may jump in either direction.
    fn now(&self) -> UnixNanos;

    /// Nanoseconds since some fixed moment; never goes back.
    fn monotonic_nanos(&self) -> u64;
}

/// Where randomness comes from: identities and salts.
pub trait Random: Send + Sync + 'static {
    /// Fills `out` with bytes that an adversary cannot foresee.
    fn fill(&self, out: &mut [u8]);
}

/// Threads that take work over.
///
/// Nothing depends on a task being run: whoever hands one over does the work itself when nobody comes, and never waits
/// for a task that has not begun. So tasks may be run in any order, at once, late, or not at all, and a job may be
/// started from one of the threads.
pub trait Spawner: Send + Sync + 'static {
    /// Takes over `task`.
    fn spawn(&self, task: Box<dyn FnOnce() + Send>);
}
