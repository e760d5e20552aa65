//! How large each level is and how large it may be.

use alloc::vec::Vec;

use lsm_types::Level;

use super::Leveled;
use crate::PlanView;

/// Ratio where none is given, or one that is no positive number.
const RATIO_DEFAULT: f32 = 10.0;

/// Sizes of the levels, from sums that the levels keep: no table is looked at.
pub(super) struct Survey {
    levels: Vec<LevelSizes>,
    /// Runs of level 0.
    pub(super) run_count: usize,
    /// Runs of level 0 that have an idle table.
    pub(super) idle_run_count: usize,
}

#[derive(Clone, Copy, Default)]
struct LevelSizes {
    bytes: u64,
    busy_bytes: u64,
    busy_count: usize,
    is_empty: bool,
}

impl Survey {
    pub(super) fn of(view: &PlanView<'_>) -> Self {
        let mut levels: Vec<LevelSizes> = view
            .levels
            .iter()
            .map(|(_, level)| LevelSizes {
                bytes: level.file_bytes(),
                is_empty: level.is_empty(),
                ..LevelSizes::default()
            })
            .collect();
        for busy in view.busy.iter() {
            if let Some(level) = levels.get_mut(usize::from(busy.level.get())) {
                level.busy_bytes = level.busy_bytes.saturating_add(busy.file_bytes);
                level.busy_count += 1;
            }
        }
        let l0 = view.levels.level(Level::new(0)).runs();
        let busy = levels.first().is_some_and(|l0| l0.busy_count > 0);
        let has_idle = |run: &&crate::Run| run.tables.iter().any(|table| !view.busy.contains(table.id));
        let idle_run_count = if busy { l0.iter().filter(has_idle).count() } else { l0.len() };
        Self { levels, run_count: l0.len(), idle_run_count }
    }

    /// The levels between level 0 and the last one.
    pub(super) fn middle(&self) -> impl DoubleEndedIterator<Item = Level> + use<> {
        (1..self.last().get()).map(Level::new)
    }

    pub(super) fn last(&self) -> Level {
        Level::new(u8::try_from(self.levels.len().saturating_sub(1)).unwrap_or(u8::MAX))
    }

    /// All bytes of a level.
    pub(super) fn bytes(&self, level: Level) -> u64 {
        self.at(level).bytes
    }

    /// The bytes of a level that no job works on.
    pub(super) fn idle_bytes(&self, level: Level) -> u64 {
        let at = self.at(level);
        at.bytes.saturating_sub(at.busy_bytes)
    }

    pub(super) fn is_busy(&self, level: Level) -> bool {
        self.at(level).busy_count > 0
    }

    /// The levels below level 0 that hold something.
    fn filled(&self) -> impl DoubleEndedIterator<Item = Level> {
        (1..=self.last().get()).map(Level::new).filter(|level| !self.at(*level).is_empty)
    }

    fn at(&self, level: Level) -> LevelSizes {
        self.levels.get(usize::from(level.get())).copied().unwrap_or_default()
    }
}

/// What the levels may hold.
pub(super) struct Targets {
    /// The level that level 0 is merged into: level 1 in a tree without the empty levels above it.
    pub(super) first: Level,
    /// By level; `u64::MAX` for those that are never too large.
    bytes: Vec<u64>,
}

impl Targets {
    pub(super) fn of(strategy: &Leveled, survey: &Survey) -> Self {
        let last = survey.last();
        let filled = survey.filled().next().zip(survey.filled().next_back());
        let Some((top, bottom)) = filled else {
            return Self { first: last, bytes: Vec::new() };
        };
        let model = Model { strategy, survey, bottom };
        let opens = top.get() > 1 && model.opens_above(top);
        let first = if opens { Level::new(top.get() - 1) } else { top };
        Self { first, bytes: model.targets(first) }
    }

    /// What a level may hold.
    pub(super) fn bytes(&self, level: Level) -> u64 {
        self.bytes.get(usize::from(level.get())).copied().unwrap_or(u64::MAX)
    }

    /// The place of a level in a tree without the empty levels between level 0 and the first.
    pub(super) fn canonical(&self, level: Level) -> Level {
        let below_first = level.get().checked_sub(self.first.get().max(1));
        Level::new(below_first.map_or(0, |steps| steps.saturating_add(1)))
    }
}

struct Model<'a> {
    strategy: &'a Leveled,
    survey: &'a Survey,
    /// The deepest level that holds something.
    bottom: Level,
}

impl Model<'_> {
    /// C-25: whether a level is opened above `first`.
    ///
    /// With fixed sizes, when all levels hold more than they may. Sizes that follow from the bottom are never too large
    /// by that measure: there a level is opened as soon as it may be as large as a first level has to be.
    fn opens_above(&self, first: Level) -> bool {
        if self.strategy.dynamic_level_bytes {
            let opened = Level::new(first.get() - 1);
            return self.scaled_down(opened, opened).is_some_and(|target| target >= self.base());
        }
        self.survey.filled().all(|level| self.survey.idle_bytes(level) > self.fixed(first, level))
    }

    /// Targets by level, when `first` is the first one.
    fn targets(&self, first: Level) -> Vec<u64> {
        // A tree too small for sizes that follow from the bottom has fixed ones.
        let dynamic = self.strategy.dynamic_level_bytes
            && self.scaled_down(first, first).is_some_and(|target| target >= self.base());
        let target = |level: Level| match level {
            _ if level < first || level >= self.survey.last() => u64::MAX,
            // What stands above empty levels may not rest there, so its own size is no measure for it.
            _ if dynamic && level < self.bottom => self.scaled_down(first, level).unwrap_or(u64::MAX),
            _ => self.fixed(first, level),
        };
        (0..=self.survey.last().get()).map(|level| target(Level::new(level))).collect()
    }

    /// The fixed size of a first level.
    fn base(&self) -> u64 {
        self.strategy.table_target_bytes.saturating_mul(u64::from(self.strategy.l0_threshold.max(1)))
    }

    /// C-24: the size of `level`, counted up from `first`.
    fn fixed(&self, first: Level, level: Level) -> u64 {
        let steps = level.get().saturating_sub(first.get());
        (1..=steps).fold(self.base(), |bytes, step| scale(bytes, self.ratio(step).unwrap_or(RATIO_DEFAULT)))
    }

    /// C-26: the size of `level`, counted down from the bottom, with `first` as the first level.
    ///
    /// `None` when a ratio is no positive number.
    fn scaled_down(&self, first: Level, level: Level) -> Option<u64> {
        let steps = self.bottom.get().saturating_sub(first.get());
        let up_to = level.get().saturating_sub(first.get());
        let ratios = (up_to + 1..=steps).rev().map(|step| self.ratio(step));
        ratios
            .into_iter()
            .try_fold(self.survey.idle_bytes(self.bottom), |bytes, ratio| Some(shrink(bytes, ratio?)))
    }

    /// The ratio between the level that is `step - 1` below the first and the next one; `None` when it is unusable.
    fn ratio(&self, step: u8) -> Option<f32> {
        let ratios = &self.strategy.level_ratios;
        let ratio = ratios.get(usize::from(step).saturating_sub(1)).or(ratios.last());
        Some(ratio.copied().unwrap_or(RATIO_DEFAULT)).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
    }
}

/// How full a level is, in thousandths.
pub(super) fn score(size: u64, target: u64) -> u64 {
    let thousandths = u128::from(size) * 1000 / u128::from(target.max(1));
    u64::try_from(thousandths).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are estimates, ratios are positive, and the cast back saturates"
)]
fn scale(bytes: u64, ratio: f32) -> u64 {
    (bytes as f64 * f64::from(ratio)) as u64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are estimates, ratios are positive, and the cast back saturates"
)]
fn shrink(bytes: u64, ratio: f32) -> u64 {
    (bytes as f64 / f64::from(ratio)) as u64
}
