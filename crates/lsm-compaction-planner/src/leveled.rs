//! The leveled strategy: one sorted run per level, each level larger than the one above by a fixed ratio.
//!
//! Reads look into few runs, and little space is lost to old versions; the price is that an entry is rewritten about
//! half a ratio's number of times per level. With dynamic sizes the last level decides how large the others may be,
//! so that all levels above it together hold about a tenth of the data whatever its amount.

pub(crate) mod pick;
mod targets;

use alloc::vec::Vec;

use lsm_types::Level;

use crate::{
    CompactionStrategy, Debt, Inputs, MergePlan, MovePlan, OutputSpec, Plan, PlanView, Reason, RunPart,
    Settings,
    span::{any_overlaps, merge_spans},
    value_gc::or_collect,
};
use targets::{Survey, Targets};

/// The leveled strategy and its parameters.
///
/// ```
/// use lsm_compaction_planner::Leveled;
///
/// let strategy = Leveled { table_target_bytes: 32 << 20, ..Leveled::default() };
/// assert_eq!(strategy.l0_threshold, 4);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Leveled {
    /// Level 0 is merged down when it holds this many runs; 0 counts as 1.
    pub l0_threshold: u8,
    /// Length of a table, in bytes.
    pub table_target_bytes: u64,
    /// How much larger each level is than the one above, from the first below level 0 on; the last ratio repeats.
    /// 10 where there is none or it is not a positive number.
    pub level_ratios: Vec<f32>,
    /// Whether sizes follow from the last level instead of the first.
    pub dynamic_level_bytes: bool,
    /// Whether level 0 and a full first level may be merged into the second at once.
    pub multi_level: bool,
}

impl Default for Leveled {
    fn default() -> Self {
        Self {
            l0_threshold: 4,
            table_target_bytes: 64 << 20,
            level_ratios: alloc::vec![10.0],
            dynamic_level_bytes: true,
            multi_level: false,
        }
    }
}

impl CompactionStrategy for Leveled {
    fn name(&self) -> &'static str {
        "LeveledCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .with("l0_threshold", self.l0_threshold)
            .with("table_target_bytes", self.table_target_bytes)
            .with("level_ratios", self.level_ratios.clone())
            .with("dynamic_level_bytes", self.dynamic_level_bytes)
            .with("multi_level", self.multi_level)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let survey = Survey::of(view);
        let targets = Targets::of(self, &survey);
        let plan = Planner { strategy: self, view, survey, targets }.plan();
        or_collect(plan, || self.debt(view), view, self.table_target_bytes)
    }

    fn debt(&self, view: &PlanView<'_>) -> Debt {
        let survey = Survey::of(view);
        let targets = Targets::of(self, &survey);
        // What running jobs are about to rewrite is not rewritten yet, so it counts.
        let l0 = if self.l0_is_full(survey.run_count) { survey.bytes(Level::new(0)) } else { 0 };
        let over = |level| survey.bytes(level).saturating_sub(targets.bytes(level));
        let bytes = survey.middle().map(over).fold(l0, u64::saturating_add);
        Debt { bytes }
    }
}

impl Leveled {
    fn threshold(&self) -> usize {
        usize::from(self.l0_threshold.max(1))
    }

    fn l0_is_full(&self, run_count: usize) -> bool {
        run_count >= self.threshold()
    }
}

/// One decision.
struct Planner<'a> {
    strategy: &'a Leveled,
    view: &'a PlanView<'a>,
    survey: Survey,
    targets: Targets,
}

const L0: Level = Level::new(0);

impl Planner<'_> {
    /// The order of decisions of C-27.
    fn plan(&self) -> Plan {
        let steps = [Self::move_to_last, Self::move_to_first, Self::merge_small_runs];
        if let Some(plan) = steps.into_iter().find_map(|step| step(self)) {
            return plan;
        }
        match self.fullest() {
            Some(L0) => self.empty_l0(),
            Some(level) => self.shrink(level),
            None => Plan::Idle,
        }
    }

    /// 1: with nothing in between, what overlaps nothing in the last level goes there.
    fn move_to_last(&self) -> Option<Plan> {
        let between = self.survey.middle().any(|level| !self.view.levels.level(level).is_empty());
        if between { None } else { self.move_l0(self.view.last_level()) }
    }

    /// 2: what overlaps nothing in the first level below level 0 goes there.
    fn move_to_first(&self) -> Option<Plan> {
        let first = self.targets.first;
        if self.view.levels.level(first).is_disjoint() { self.move_l0(first) } else { None }
    }

    /// Moves level 0, when it is one run and overlaps nothing in `dest`, and neither is busy.
    fn move_l0(&self, dest: Level) -> Option<Plan> {
        let is_one_run = self.view.levels.level(L0).runs().len() == 1;
        if !is_one_run || self.survey.is_busy(L0) || self.survey.is_busy(dest) || dest == L0 {
            return None;
        }
        let inputs = self.whole_levels([L0]);
        (!self.overlaps(&inputs, dest)).then(|| self.moved(inputs, dest, Reason::NoOverlap))
    }

    /// 3: below the threshold, small runs that follow each other in age become one.
    fn merge_small_runs(&self) -> Option<Plan> {
        let runs = self.view.levels.level(L0).runs();
        if self.strategy.l0_is_full(runs.len()) || self.survey.is_busy(L0) {
            return None;
        }
        let small_bytes = self.strategy.table_target_bytes / 4;
        let stretches = runs.split(|run| run.tables.file_bytes() > small_bytes);
        // Of the longest ones the newest, which comes first.
        let longest = stretches.reduce(|best, next| if next.len() > best.len() { next } else { best })?;
        if longest.len() < 2 {
            return None;
        }
        let inputs = Inputs::new(longest.iter().map(|run| RunPart {
            level: L0,
            run: run.id,
            tables: run.tables.iter().cloned().collect(),
        }));
        Some(self.merged(inputs, L0, Reason::SmallRuns))
    }

    /// 4: the level that is largest in relation to what it may hold; of equals the deepest.
    fn fullest(&self) -> Option<Level> {
        let l0 = self.strategy.l0_is_full(self.survey.idle_run_count).then(|| {
            let runs = u64::try_from(self.survey.idle_run_count).unwrap_or(u64::MAX);
            let threshold = u64::try_from(self.strategy.threshold()).unwrap_or(u64::MAX);
            (targets::score(runs, threshold), L0)
        });
        let deeper = self.survey.middle().filter_map(|level| {
            let (bytes, target) = (self.survey.idle_bytes(level), self.targets.bytes(level));
            let next = Level::new(level.get().saturating_add(1));
            let next_is_empty = self.view.levels.level(next).is_empty();
            let score = if next_is_empty { u64::MAX } else { targets::score(bytes, target) };
            (bytes > target).then_some((score, level))
        });
        l0.into_iter().chain(deeper).max().map(|(_, level)| level)
    }

    /// 5 and 6: level 0 goes down as a whole.
    fn empty_l0(&self) -> Plan {
        let first = self.targets.first;
        if self.survey.is_busy(L0) || self.survey.is_busy(first) || first == L0 {
            return Plan::Idle;
        }
        if let Some(plan) = self.merge_two_levels(first) {
            return plan;
        }
        let inputs = self.whole_levels([L0]);
        if self.view.levels.level(L0).is_disjoint() && !self.overlaps(&inputs, first) {
            return self.moved(inputs, first, Reason::Level0Full);
        }
        let inputs = inputs.with_overlapping(self.view, first);
        self.merged(inputs, first, Reason::Level0Full)
    }

    /// 6: a first level that is full anyway is emptied along with level 0.
    fn merge_two_levels(&self, first: Level) -> Option<Plan> {
        let second = first.checked_add(1).filter(|second| *second <= self.view.last_level())?;
        let full = self.survey.idle_bytes(first) > self.targets.bytes(first);
        if !self.strategy.multi_level || !full || self.survey.is_busy(second) {
            return None;
        }
        let inputs = self.whole_levels([L0, first]).with_overlapping(self.view, second);
        Some(self.merged(inputs, second, Reason::Level0Full))
    }

    /// 7: a part of a full level goes one level down.
    fn shrink(&self, level: Level) -> Plan {
        let Some(next) = level.checked_add(1) else { return Plan::Idle };
        let Some(part) = pick::pick(self.view, level, self.strategy.table_target_bytes.saturating_mul(50))
        else {
            return Plan::Idle;
        };
        let inputs = Inputs::new([part]);
        if self.overlaps(&inputs, next) || !self.view.levels.level(level).is_disjoint() {
            let inputs = inputs.with_overlapping(self.view, next);
            return self.merged(inputs, next, Reason::LevelFull);
        }
        self.moved(inputs, next, Reason::LevelFull)
    }

    fn whole_levels<const N: usize>(&self, levels: [Level; N]) -> Inputs {
        let runs = levels
            .into_iter()
            .flat_map(|level| self.view.levels.level(level).runs().iter().map(move |run| (level, run)));
        Inputs::new(runs.map(|(level, run)| RunPart {
            level,
            run: run.id,
            tables: run.tables.iter().cloned().collect(),
        }))
    }

    fn overlaps(&self, inputs: &Inputs, level: Level) -> bool {
        let order = self.view.order();
        let spans = merge_spans(inputs.tables(), order);
        self.view.levels.level(level).runs().iter().any(|run| any_overlaps(run, &spans, order))
    }

    /// Moves inputs. Range tombstones without entries would be left as a run of their own, so they are merged: that is
    /// cheap, and where nothing older is left it is their end.
    fn moved(&self, inputs: Inputs, dest: Level, reason: Reason) -> Plan {
        if inputs.tables().any(|table| table.is_range_tombstones_only()) {
            return self.merged(inputs, dest, reason);
        }
        let output = self.output(&inputs, dest);
        Plan::Move(MovePlan { inputs, output, reason })
    }

    fn merged(&self, inputs: Inputs, dest: Level, reason: Reason) -> Plan {
        if inputs.tables().any(|table| self.view.busy.contains(table.id)) {
            return Plan::Idle;
        }
        let output = self.output(&inputs, dest);
        Plan::Merge(MergePlan { inputs, output, reason })
    }

    fn output(&self, inputs: &Inputs, dest: Level) -> OutputSpec {
        let canonical = self.targets.canonical(dest);
        OutputSpec::new(self.view, inputs, dest, canonical, self.strategy.table_target_bytes)
    }
}
