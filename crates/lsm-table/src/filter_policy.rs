//! How many bits a key gets in the filters of each level.
//!
//! A read of an absent key pays for the *sum* of the false-positive rates of all levels, and each level holds a fraction
//! of the keys of the next: bits are cheap at the top. So a level gets as many more bits than the last one as it is
//! smaller, in powers of two (Dayan, Athanassoulis, Idreos, "Monkey: Optimal Navigable Key-Value Store", SIGMOD 2017).

use lsm_sst::FilterBits;
use lsm_types::{Level, Result};

use crate::policy::PolicyError;

/// Bits per key at the last level when nothing else is said.
const LAST_BITS: f64 = 8.0;
/// Most bits a level gets on its own.
const AUTO_MAX: f64 = 14.0;
/// Most bits a level gets out of a budget.
const BUDGET_MAX: f64 = 16.0;
/// log2 of how much larger a level is than the one above, when nobody says otherwise: ten times.
const RATIO_LOG2: f64 = std::f64::consts::LOG2_10;

/// The filters of a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LevelFilter {
    /// As many bits as the place of the level suggests: 8 at the last one, about 3.3 more with each level up, at most
    /// 14, which level 0 always gets. Above a last level with bits of its own, it counts up from those.
    #[default]
    Auto,
    /// No filter.
    Off,
    /// This many bits per key.
    Bits(FilterBits),
}

impl LevelFilter {
    /// A filter of `bits` bits per key, 1 to 32, whole or not.
    ///
    /// # Errors
    /// `InvalidConfig`.
    pub fn bits(bits: f64) -> Result<Self> {
        let wrong = PolicyError { option: "filter", problem: "bits per key must be 1 to 32" };
        Ok(FilterBits::new(bits).map(Self::Bits).map_err(|_| wrong)?)
    }

    /// A filter that lets at most a share of `rate` of absent keys pass: the next whole number of bits that does.
    ///
    /// # Errors
    /// `InvalidConfig`.
    pub fn rate(rate: f64) -> Result<Self> {
        let problem = "the share of absent keys that pass must lie above 0, at 1 in 2^32 or more, and at most at one half";
        let wrong = PolicyError { option: "filter", problem };
        let bits = FilterBits::from_rate(rate).map_err(|_| wrong)?;
        let whole = f64::from(bits.whole()) + f64::from(u8::from(bits.fraction() > 0));
        Self::bits(whole)
    }
}

/// Whether point reads are expected to find what they look for, which makes the filter of the last level useless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExpectHits {
    /// The last level has filters.
    No,
    /// The last level has none.
    Yes,
    /// The last level has none as long as less than 2 % of the reads that get there find nothing, over at least
    /// 100,000 of them. It is decided anew with every table that is written there.
    #[default]
    Auto,
}

/// What a level holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LevelLoad {
    /// Entries.
    pub entries: u64,
    /// Runs: a read may look into each.
    pub runs: u32,
}

/// What is known about a tree when tables are written. The better it is known, the better bits are spent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FilterScene {
    /// The last level that holds anything; `None` when not known, and then it is the last there is.
    pub deepest: Option<Level>,
    /// Every level from 0 down, as it will be with the tables that are about to be written. Looked at when a budget is
    /// shared out.
    pub levels: Vec<LevelLoad>,
    /// Whether the reads that get to the last level find what they look for.
    pub reads_hit: bool,
}

impl FilterScene {
    /// How many levels `level`, of `level_count`, lies above the last one that holds anything.
    fn above_deepest(&self, level: Level, level_count: u8) -> u8 {
        let deepest = self.deepest.map_or(level_count.saturating_sub(1), Level::get);
        deepest.saturating_sub(level.get())
    }
}

/// Bits for tables of `level` by a list of settings, of which `pick` gives that of a level; `None` for no filter.
pub(crate) fn bits_at(
    pick: impl Fn(Level, bool) -> Option<LevelFilter>,
    scene: &FilterScene,
    level: Level,
    level_count: u8,
) -> Option<FilterBits> {
    let is_last = level.get() + 1 >= level_count;
    match pick(level, is_last).unwrap_or_default() {
        LevelFilter::Off => None,
        LevelFilter::Bits(bits) => Some(bits),
        LevelFilter::Auto => {
            let last = match pick(Level::new(level_count.saturating_sub(1)), true) {
                Some(LevelFilter::Bits(bits)) => f64::from(bits.whole()),
                _ => LAST_BITS,
            };
            let above = f64::from(scene.above_deepest(level, level_count));
            let bits = if level.get() == 0 { AUTO_MAX } else { last + (RATIO_LOG2 * above).round() };
            FilterBits::new(bits.min(AUTO_MAX.max(last))).ok()
        }
    }
}

/// Bits for tables of `level` when all filters of the tree together may take `budget` bytes; `None` for no filter.
///
/// The expected number of tables that a read looks into for nothing is the sum over all runs of 2 to the power of minus
/// their bits. With a fixed sum of bits it is least where the chance of a run, divided by its keys, is the same for all
/// runs: bits = c - log2(entries per run). The constant c is found by halving.
pub(crate) fn bits_within(budget: u64, scene: &FilterScene, level: Level) -> Option<FilterBits> {
    let loads: Vec<(f64, f64)> = scene.levels.iter().map(|load| size_of(*load)).collect();
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let budget_bits = budget as f64 * 8.0;
    let spent = |c: f64| loads.iter().map(|(entries, log)| entries * allotted(c, *log)).sum::<f64>();
    let (mut low, mut high) = (0.0_f64, 128.0_f64);
    if spent(high) > budget_bits {
        for _ in 0..64 {
            let middle = f64::midpoint(low, high);
            if spent(middle) > budget_bits { high = middle } else { low = middle }
        }
    } else {
        low = high;
    }
    let log = loads.get(usize::from(level.get())).map_or(0.0, |(_, log)| *log);
    FilterBits::new(allotted(low, log)).ok()
}

/// Entries of a level, and log2 of those of one of its runs.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn size_of(load: LevelLoad) -> (f64, f64) {
    let entries = load.entries as f64;
    (entries, (entries / f64::from(load.runs.max(1))).max(1.0).log2())
}

/// Less than a bit is no filter.
fn allotted(c: f64, log: f64) -> f64 {
    let bits = (c - log).min(BUDGET_MAX);
    if bits < 1.0 { 0.0 } else { bits }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;

    fn scene(entries: &[u64]) -> FilterScene {
        let levels = entries.iter().map(|entries| LevelLoad { entries: *entries, runs: 1 }).collect();
        FilterScene { deepest: None, levels, reads_hit: false }
    }

    fn whole(list: &[LevelFilter], scene: &FilterScene, level_count: u8) -> Vec<Option<u8>> {
        let pick = |level: Level, is_last: bool| {
            let at = if is_last { list.len() - 1 } else { usize::from(level.get()).min(list.len() - 1) };
            list.get(at).copied()
        };
        let bits = |level| bits_at(pick, scene, Level::new(level), level_count).map(FilterBits::whole);
        (0..level_count).map(bits).collect()
    }

    /// Proves F-85 in part: bits grow from the last level up, from what it has.
    #[test]
    fn bits_grow_upwards() {
        let some = |bits: &[u8]| bits.iter().map(|bits| Some(*bits)).collect::<Vec<_>>();
        let unknown = FilterScene::default();
        assert_eq!(whole(&[LevelFilter::Auto], &unknown, 4), some(&[14, 14, 11, 8]));
        // The last level that holds anything is where counting starts.
        let third = FilterScene { deepest: Some(Level::new(2)), ..FilterScene::default() };
        assert_eq!(whole(&[LevelFilter::Auto], &third, 5), some(&[14, 11, 8, 8, 8]));
        let own = [LevelFilter::Auto, LevelFilter::bits(4.0).unwrap()];
        assert_eq!(whole(&own, &unknown, 3), some(&[14, 4, 4]));
        let own = [LevelFilter::Auto, LevelFilter::Auto, LevelFilter::bits(4.0).unwrap()];
        assert_eq!(whole(&own, &unknown, 3), some(&[14, 7, 4]));
        assert_eq!(whole(&[LevelFilter::Off], &unknown, 3), [None; 3]);
        assert_eq!(whole(&[LevelFilter::rate(0.01).unwrap()], &unknown, 2), some(&[7, 7]));
    }

    /// What a tree with these levels spends, in bytes, and the false positives of a read that finds nothing.
    fn outcome(loads: &[(u64, f64)]) -> (f64, f64) {
        let spent: f64 = loads.iter().map(|(entries, bits)| *entries as f64 * bits / 8.0).sum();
        (spent, loads.iter().map(|(_, bits)| (-bits).exp2()).sum())
    }

    /// Proves F-85 in part: the budget is kept, used, and no better use of it is found by moving bits about.
    #[test]
    fn a_budget_is_spent_where_it_saves_most() {
        let entries = [10_000_u64, 50_000, 600_000, 5_000_000];
        let scene = scene(&entries);
        for budget in [1_000_000_u64, 3_000_000, 6_000_000, 9_000_000] {
            let bits = |level| {
                let bits = bits_within(budget, &scene, Level::new(level));
                bits.map_or(0.0, |bits| f64::from(bits.whole()) + f64::from(bits.fraction()) / 65_536.0)
            };
            let found: Vec<(u64, f64)> =
                entries.iter().zip(0..).map(|(entries, level)| (*entries, bits(level))).collect();
            let (spent, wasted) = outcome(&found);
            assert!(spent <= budget as f64 * 1.000_1, "{spent} of {budget}");
            let full = found.iter().all(|(_, bits)| *bits >= 16.0);
            assert!(full || found.iter().any(|(_, bits)| *bits == 0.0) || spent >= budget as f64 * 0.99);
            for from in 0..entries.len() {
                for to in 0..entries.len() {
                    let moved = entries[from] as f64 * 0.1;
                    let mut other = found.clone();
                    other[from].1 -= moved / entries[from] as f64;
                    other[to].1 += moved / entries[to] as f64;
                    if other[from].1 >= 1.0 && other[to].1 <= 16.0 && other[to].1 >= 1.0 {
                        let (_, worse) = outcome(&other);
                        assert!(worse >= wasted * 0.999_9, "{found:?} {other:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn settings_that_make_no_sense_say_what_would() {
        for wrong in
            [LevelFilter::bits(0.5), LevelFilter::bits(33.0), LevelFilter::rate(0.0), LevelFilter::rate(0.7)]
        {
            let error = wrong.unwrap_err();
            assert_eq!(error.kind(), lsm_types::ErrorKind::InvalidConfig);
            assert!(error.to_string().contains("must"), "{error}");
        }
    }
}
