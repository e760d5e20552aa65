//! Clock and chance that repeat: two runs with the same seed write the same bytes.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lsm_types::{Clock, Random, UnixNanos};

use crate::dice::Dice;

/// A clock that moves by one microsecond whenever somebody looks at it.
#[derive(Debug, Default)]
pub struct TestClock(AtomicU64);

impl TestClock {
    /// A clock at the beginning of time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets so much time pass.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn tick(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixNanos {
        UnixNanos::new(self.tick())
    }

    fn monotonic_nanos(&self) -> u64 {
        self.tick()
    }
}

/// Identities and salts that repeat from run to run, and never within one.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    calls: AtomicU64,
}

impl SeededRandom {
    /// Chance that a seed decides.
    pub fn new(seed: u64) -> Self {
        Self { seed, calls: AtomicU64::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice::new(Dice::new(self.seed).roll() ^ call);
        for bytes in out.chunks_mut(8) {
            let roll = dice.roll().to_le_bytes();
            bytes.iter_mut().zip(roll).for_each(|(byte, roll)| *byte = roll);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_repeats_from_run_to_run_and_never_within_one() {
        let draw = |random: &SeededRandom| {
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            bytes
        };
        let (one, two) = (SeededRandom::new(7), SeededRandom::new(7));
        let drawn = draw(&one);
        assert_eq!(drawn, draw(&two));
        assert_ne!(drawn, draw(&one));
        let clock = TestClock::new();
        assert!(clock.monotonic_nanos() < clock.monotonic_nanos());
    }
}
