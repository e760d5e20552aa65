//! The size-tiered strategy: all runs in level 0, merged with their likes.
//!
//! An entry is rewritten about once for each factor of the merge width between a flush and the whole, far less often
//! than in levels; the price is more runs for a read to ask, and room for a second copy of everything while the largest
//! merge is under way.

use alloc::vec::Vec;

use lsm_manifest::Run;
use lsm_types::Level;

use crate::{
    CompactionStrategy, Debt, Inputs, MergePlan, OutputSpec, Plan, PlanView, Reason, Settings,
    value_gc::or_collect,
};

const L0: Level = Level::new(0);

/// The size-tiered strategy and its parameters.
#[derive(Clone, PartialEq, Debug)]
pub struct SizeTiered {
    /// How much larger than the next smaller run a run may be, as a part of it, to be merged with it; 1 where it is
    /// negative or no number.
    pub size_ratio: f64,
    /// Fewer runs than this are not merged, unless space asks for it; at least 2.
    pub min_merge_width: u32,
    /// More runs than this are not merged at once, unless space asks for it; at least 2.
    pub max_merge_width: u32,
    /// All runs are merged when they are larger than the largest by this percentage of it.
    pub max_space_amplification_percent: u64,
    /// Length of a table, in bytes.
    pub table_target_bytes: u64,
}

impl Default for SizeTiered {
    fn default() -> Self {
        Self {
            size_ratio: 1.0,
            min_merge_width: 4,
            max_merge_width: u32::MAX,
            max_space_amplification_percent: 200,
            table_target_bytes: 64 << 20,
        }
    }
}

impl CompactionStrategy for SizeTiered {
    fn name(&self) -> &'static str {
        "SizeTieredCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .with("size_ratio", self.size_ratio)
            .with("min_merge_width", self.min_merge_width)
            .with("max_merge_width", self.max_merge_width)
            .with("max_space_amplification_percent", self.max_space_amplification_percent)
            .with("table_target_bytes", self.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let runs = view.levels.level(L0).runs();
        if let Some((from, to)) = self.all(view, runs) {
            return self.merge(view, runs, from, to, Reason::SpaceAmplification);
        }
        let likes = Likes { ratio: self.size_ratio, min: self.min_merge_width, max: self.max_merge_width };
        match likes.find(view, runs) {
            Some((from, to)) => self.merge(view, runs, from, to, Reason::LikeSizes),
            None => or_collect(Plan::Idle, || self.debt(view), view, self.table_target_bytes),
        }
    }

    fn debt(&self, view: &PlanView<'_>) -> Debt {
        let runs = view.levels.level(L0).runs();
        if runs.len() < 2 {
            return Debt::ZERO;
        }
        let (total, largest) = (sum_of(runs), largest_of(runs));
        let allowed = largest.saturating_mul(100 + u128::from(self.max_space_amplification_percent)) / 100;
        Debt { bytes: u64::try_from(total.saturating_sub(allowed)).unwrap_or(u64::MAX) }
    }
}

/// Bytes of runs; a sum of 64-bit lengths, so it does not overflow.
fn sum_of(runs: &[Run]) -> u128 {
    runs.iter().map(|run| u128::from(run.tables.file_bytes())).sum()
}

fn largest_of(runs: &[Run]) -> u128 {
    u128::from(runs.iter().map(|run| run.tables.file_bytes()).max().unwrap_or(0))
}

impl SizeTiered {
    /// All idle runs, when they take too much space; their places, the end not included.
    ///
    /// Busy runs are left out, as long as they do not stand between the others in age.
    fn all(&self, view: &PlanView<'_>, runs: &[Run]) -> Option<(usize, usize)> {
        let is_idle = |run: &Run| !view.busy.holds_of(run.id);
        let from = runs.iter().position(is_idle)?;
        let to = runs.iter().rposition(is_idle)? + 1;
        let idle = runs.get(from..to)?;
        if idle.len() < 2 || !idle.iter().all(is_idle) {
            return None;
        }
        let percent = u128::from(self.max_space_amplification_percent);
        let is_due = sum_of(idle) * 100 >= largest_of(idle).saturating_mul(100 + percent);
        is_due.then_some((from, to))
    }

    fn merge(&self, view: &PlanView<'_>, runs: &[Run], from: usize, to: usize, reason: Reason) -> Plan {
        let inputs = Inputs::of_runs(L0, runs.get(from..to).unwrap_or_default());
        let is_bottom = to == runs.len() && view.levels.iter().skip(1).all(|(_, level)| level.is_empty());
        // What holds the oldest entries holds most of them: it is built like a last level.
        let canonical = if is_bottom { view.last_level() } else { L0 };
        let output = OutputSpec::new(view, &inputs, L0, canonical, self.table_target_bytes);
        Plan::Merge(MergePlan { inputs, output, reason })
    }
}

/// What makes runs worth merging with each other.
pub(crate) struct Likes {
    pub(crate) ratio: f64,
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Likes {
    /// Runs that follow each other in age and are of like size, the smallest of all among the candidates; their
    /// places, the end not included.
    ///
    /// Sorted by size, candidates are the longest row from the smallest on in which each is at most so much larger
    /// than the one before. Of these a stretch is merged that nothing stands between in age: what is newer must not
    /// come to lie below what is older.
    pub(crate) fn find(&self, view: &PlanView<'_>, runs: &[Run]) -> Option<(usize, usize)> {
        let min = usize::try_from(self.min.max(2)).unwrap_or(usize::MAX);
        let max = usize::try_from(self.max.max(2)).unwrap_or(usize::MAX);
        let idle = runs.iter().enumerate().filter(|(_, run)| !view.busy.holds_of(run.id));
        let mut by_size: Vec<(u64, usize)> = idle.map(|(at, run)| (run.tables.file_bytes(), at)).collect();
        if by_size.len() < min || max < min {
            return None;
        }
        by_size.sort_unstable();
        let pairs = by_size.iter().zip(by_size.iter().skip(1));
        let like_count = 1 + pairs.take_while(|((a, _), (b, _))| self.is_like(*a, *b)).count();
        let mut places: Vec<usize> = by_size.iter().take(like_count).map(|(_, at)| *at).collect();
        places.sort_unstable();
        let stretches = places.chunk_by(|a, b| a + 1 == *b).filter(|stretch| stretch.len() >= min);
        let windows = stretches.flat_map(|stretch| stretch.windows(stretch.len().min(max)));
        // The widest, then the smallest, then the oldest.
        let weigh = |window: &&[usize]| {
            let bytes = window.iter().filter_map(|at| runs.get(*at)).map(|run| run.tables.file_bytes());
            (window.len(), core::cmp::Reverse(bytes.fold(0, u64::saturating_add)), window.first().copied())
        };
        let best = windows.max_by_key(weigh)?;
        Some((*best.first()?, *best.last()? + 1))
    }

    fn is_like(&self, smaller: u64, larger: u64) -> bool {
        let ratio = if self.ratio.is_finite() && self.ratio >= 0.0 { self.ratio } else { 1.0 };
        smaller == 0 || float(larger) <= float(smaller) * (1.0 + ratio)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are compared by a ratio")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}
