//! Whether writers should slow down, so that flushes and compactions keep up (E-182, D-126).
//!
//! The tree gives advice and enforces nothing: who calls compactions himself must not be blocked by a tree that waits for
//! one. The advice is arithmetic over a few figures; the worst of them counts.

use std::time::Duration;

use lsm_compaction_planner::CompactionStrategy;
use lsm_types::Level;

use crate::Tree;

/// Where writers slow down and where they stop, by one figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ramp {
    /// Up to here nothing happens.
    pub slow: u64,
    /// From here on writes stop.
    pub stop: u64,
}

/// From which figures on writers slow down. All are off by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PressureLimits {
    /// Runs of level 0.
    pub l0_runs: Option<Ramp>,
    /// Bytes that compactions have yet to rewrite.
    pub debt_bytes: Option<Ramp>,
    /// Bytes in memtables that wait for their flush.
    pub sealed_bytes: Option<Ramp>,
    /// Memtables that wait for their flush.
    pub sealed_memtables: Option<Ramp>,
    /// What is left of the disk or the limit for writes: [`PressureFigures::room_short_permille`]. [`Ramp::ROOM`] slows from
    /// a tenth of the reserve on.
    pub room: Option<Ramp>,
    /// Delay of a write right before the stop. Default: a millisecond.
    pub max_delay: Duration,
}

impl Default for PressureLimits {
    fn default() -> Self {
        Self {
            l0_runs: None,
            debt_bytes: None,
            sealed_bytes: None,
            sealed_memtables: None,
            room: None,
            max_delay: Duration::from_millis(1),
        }
    }
}

/// What a tree has to catch up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PressureFigures {
    /// Runs of level 0.
    pub l0_runs: u64,
    /// Bytes that compactions have yet to rewrite.
    pub debt_bytes: u64,
    /// Bytes in memtables that wait for their flush.
    pub sealed_bytes: u64,
    /// Memtables that wait for their flush.
    pub sealed_memtables: u64,
    /// How much of the reserve writes lack beside it, in thousandths: 0 while they may take as much again as is reserved,
    /// 1,000 when all that is left is. 0 where writes do not ask for room. As old as the store's figure of free bytes, which
    /// is up to a second.
    pub room_short_permille: u64,
}

/// What writers should do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pressure {
    /// Go on.
    None,
    /// Wait so long before each write.
    Slowdown {
        /// How long.
        delay: Duration,
    },
    /// Wait for a flush or a compaction.
    Stop,
}

impl Ramp {
    /// Of room: from where a tenth of the reserve is left beside it to where nothing is, and writes are refused.
    pub const ROOM: Self = Self { slow: 900, stop: 1_000 };

    fn judge(self, figure: u64, max_delay: Duration) -> Pressure {
        if figure >= self.stop {
            return Pressure::Stop;
        }
        // Without a way between the two there is nothing to slow down on.
        let (above, way) = (figure.saturating_sub(self.slow), self.stop.saturating_sub(self.slow));
        let nanos = u128::from(above) * max_delay.as_nanos() / u128::from(way.max(1));
        match u64::try_from(nanos).unwrap_or(u64::MAX) {
            0 => Pressure::None,
            nanos => Pressure::Slowdown { delay: Duration::from_nanos(nanos) },
        }
    }
}

impl PressureLimits {
    /// The advice for these figures: a delay that grows evenly from nothing at `slow` to the longest at `stop`.
    pub fn judge(&self, figures: &PressureFigures) -> Pressure {
        let axes = [
            (self.l0_runs, figures.l0_runs),
            (self.debt_bytes, figures.debt_bytes),
            (self.sealed_bytes, figures.sealed_bytes),
            (self.sealed_memtables, figures.sealed_memtables),
            (self.room, figures.room_short_permille),
        ];
        let ramps = axes.into_iter().filter_map(|(ramp, figure)| ramp.map(|ramp| (ramp, figure)));
        ramps.map(|(ramp, figure)| ramp.judge(figure, self.max_delay)).max().unwrap_or(Pressure::None)
    }
}

impl Tree {
    /// What there is to catch up with, the debt as `strategy` reckons it.
    pub fn pressure_figures(&self, strategy: &dyn CompactionStrategy) -> PressureFigures {
        let pinned = self.inner.current.load();
        PressureFigures {
            l0_runs: pinned.version.levels.level(Level::new(0)).runs().len() as u64,
            debt_bytes: self.compaction_debt(strategy),
            sealed_bytes: pinned.sealed.iter().map(|sealed| sealed.bytes()).sum(),
            sealed_memtables: pinned.sealed.len() as u64,
            room_short_permille: self.inner.store.room_short_permille(),
        }
    }

    /// What writers should do by `limits`. Waits for no job.
    pub fn pressure(&self, limits: &PressureLimits, strategy: &dyn CompactionStrategy) -> Pressure {
        limits.judge(&self.pressure_figures(strategy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(1);

    fn slowdown(micros: u64) -> Pressure {
        Pressure::Slowdown { delay: Duration::from_micros(micros) }
    }

    /// Proves D-126, E-182: off without limits; evenly from nothing to the longest; the worst figure counts.
    #[test]
    fn advice() {
        let limits = PressureLimits {
            l0_runs: Some(Ramp { slow: 20, stop: 40 }),
            sealed_bytes: Some(Ramp { slow: 1_000, stop: 2_000 }),
            ..PressureLimits::default()
        };
        let judge = |l0_runs, sealed_bytes| {
            let figures = PressureFigures { l0_runs, sealed_bytes, ..PressureFigures::default() };
            assert_eq!(PressureLimits::default().judge(&figures), Pressure::None);
            limits.judge(&figures)
        };
        assert_eq!(judge(0, 0), Pressure::None);
        assert_eq!(judge(20, 1_000), Pressure::None);
        assert_eq!(judge(21, 0), slowdown(50));
        assert_eq!(judge(30, 0), slowdown(500));
        assert_eq!(judge(30, 1_900), slowdown(900));
        assert_eq!(judge(39, 0), slowdown(950));
        assert_eq!(judge(40, 0), Pressure::Stop);
        assert_eq!(judge(21, u64::MAX), Pressure::Stop);
    }

    /// Proves D-126: any limits and figures give an answer, which never falls while a figure grows.
    #[test]
    fn extremes() {
        let values = [0, 1, 2, 1 << 40, u64::MAX - 1, u64::MAX];
        for slow in values {
            for stop in values {
                let limits =
                    PressureLimits { debt_bytes: Some(Ramp { slow, stop }), ..PressureLimits::default() };
                let advice = values.map(|debt_bytes| {
                    limits.judge(&PressureFigures { debt_bytes, ..PressureFigures::default() })
                });
                assert!(advice.is_sorted(), "{slow} {stop}: {advice:?}");
                assert!(
                    !advice.iter().any(|one| matches!(one, Pressure::Slowdown { delay } if *delay > MAX))
                );
            }
        }
    }
}
