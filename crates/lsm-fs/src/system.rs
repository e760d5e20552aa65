//! The system's clock and randomness: the one place where either enters.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lsm_types::{Clock, Random, UnixNanos};

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// Where monotonic time starts counting.
    start: Instant,
}

impl SystemClock {
    /// The machine's clock; its monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock through which time enters")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock through which time enters")]
    fn now(&self) -> UnixNanos {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos::new(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    fn monotonic_nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// When the operating system has no randomness to give: identities drawn from anything weaker could repeat, and a
    /// repeated identity is a wrong answer later.
    fn fill(&self, out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            panic!("the operating system refuses randomness: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_randomness_differs() {
        let clock = SystemClock::new();
        let before = clock.monotonic_nanos();
        assert!(clock.monotonic_nanos() >= before);
        assert!(clock.now() > UnixNanos::new(1_600_000_000_000_000_000));
        let (mut one, mut two) = ([0; 16], [0; 16]);
        SystemRandom.fill(&mut one);
        SystemRandom.fill(&mut two);
        assert_ne!(one, two);
    }
}
