//! The lazy leveling strategy: many runs above, one run at the bottom.
//!
//! Most bytes lie in the last level, and keeping the levels above it to one run each is most of the rest of what leveling
//! writes. So level 0 holds runs of all sizes here, merged with their likes as size tiering does. When together they have
//! come to a part of the last level, they are merged into one run in the level above it, and that run is emptied into
//! the last level window by window, the cheapest first, while level 0 fills again.
//!
//! ```text
//!   L0    | 1 | 1 | 4 | 4 | 16 |   likes are merged with likes
//!   L5    ========.........        what level 0 came to, on its way down
//!   L6    ======================   nearly everything, once
//! ```

use lsm_manifest::Run;
use lsm_types::Level;

use crate::{
    CompactionStrategy, Debt, Inputs, MergePlan, MovePlan, OutputSpec, Plan, PlanView, Reason, Settings,
    leveled::pick, tiered::Likes, value_gc::or_collect,
};

const L0: Level = Level::new(0);
/// A window and what lies below it come to at most this many targets, unless a single table does.
const WINDOW_TARGETS_MAX: u64 = 50;

/// The lazy leveling strategy and its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LazyLeveling {
    /// This many runs of like size, or more, are merged into one; at least 2.
    pub merge_width: u32,
    /// The last level is this many times as large as what lies above it on average: level 0 goes down when it has come
    /// to twice that part. 0 counts as 1.
    pub last_ratio: u32,
    /// Length of a table, in bytes.
    pub table_target_bytes: u64,
}

impl Default for LazyLeveling {
    fn default() -> Self {
        Self { merge_width: 4, last_ratio: 10, table_target_bytes: 64 << 20 }
    }
}

impl CompactionStrategy for LazyLeveling {
    fn name(&self) -> &'static str {
        "LazyLevelingCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .with("merge_width", self.merge_width)
            .with("last_ratio", self.last_ratio)
            .with("table_target_bytes", self.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let runs = view.levels.level(L0).runs();
        let likes = Likes { ratio: 1.0, min: self.merge_width, max: u32::MAX };
        if let Some((from, to)) = likes.find(view, runs) {
            let inputs = Inputs::of_runs(L0, runs.get(from..to).unwrap_or_default());
            let output = OutputSpec::new(view, &inputs, L0, L0, self.table_target_bytes);
            return Plan::Merge(MergePlan { inputs, output, reason: Reason::LikeSizes });
        }
        let plan = match middle(view).rev().find(|level| !view.levels.level(*level).is_empty()) {
            Some(level) => self.drain(view, level),
            None if self.is_l0_due(view) => self.empty_l0(view, runs),
            None => Plan::Idle,
        };
        or_collect(plan, || self.debt(view), view, self.table_target_bytes)
    }

    /// What lies between level 0 and the last one, and level 0 when it is due, whoever is at work on them.
    fn debt(&self, view: &PlanView<'_>) -> Debt {
        let middle = middle(view).map(|level| view.levels.level(level).file_bytes());
        let l0 = if self.is_l0_due(view) { view.levels.level(L0).file_bytes() } else { 0 };
        Debt { bytes: middle.fold(l0, u64::saturating_add) }
    }
}

/// The levels between level 0 and the last: what is in them is on its way down.
fn middle(view: &PlanView<'_>) -> impl DoubleEndedIterator<Item = Level> + use<> {
    (1..view.last_level().get()).map(Level::new)
}

impl LazyLeveling {
    /// Whether level 0 has come to its part of the last level, and to more than a few tables.
    fn is_l0_due(&self, view: &PlanView<'_>) -> bool {
        let bottom = view.levels.level(view.last_level()).file_bytes();
        let base = self.table_target_bytes.saturating_mul(u64::from(self.merge_width.max(2)));
        let allowed = (bottom / u64::from(self.last_ratio.max(1))).saturating_mul(2).max(base);
        view.levels.level(L0).file_bytes() > allowed
    }

    /// Level 0, but for runs newer than a busy one, becomes one run above the last level; or the last level, where that
    /// is empty or there is none above it.
    fn empty_l0(&self, view: &PlanView<'_>, runs: &[Run]) -> Plan {
        let last = view.last_level();
        let above = Level::new(last.get().saturating_sub(1));
        let dest = if above == L0 || view.levels.level(last).is_empty() { last } else { above };
        let from = runs.iter().rposition(|run| view.busy.holds_of(run.id)).map_or(0, |at| at + 1);
        let inputs = Inputs::of_runs(L0, runs.get(from..).unwrap_or_default());
        self.lower(view, inputs, dest, Reason::Level0Full)
    }

    /// A window of a level goes one level down.
    fn drain(&self, view: &PlanView<'_>, level: Level) -> Plan {
        let cap_bytes = self.table_target_bytes.saturating_mul(WINDOW_TARGETS_MAX);
        let next = Level::new(level.get().saturating_add(1));
        match pick::pick(view, level, cap_bytes) {
            Some(part) => self.lower(view, Inputs::new([part]), next, Reason::LevelFull),
            None => Plan::Idle,
        }
    }

    /// Merges tables with what they overlap in a deeper level; moves them when that is nothing and they are of one run.
    fn lower(&self, view: &PlanView<'_>, inputs: Inputs, dest: Level, reason: Reason) -> Plan {
        let own_count = inputs.table_count();
        let may_move =
            inputs.parts().len() == 1 && !inputs.tables().any(|table| table.is_range_tombstones_only());
        let inputs = inputs.with_overlapping(view, dest);
        if inputs.is_empty() || inputs.tables().any(|table| view.busy.contains(table.id)) {
            return Plan::Idle;
        }
        let output = OutputSpec::new(view, &inputs, dest, dest, self.table_target_bytes);
        if may_move && inputs.table_count() == own_count {
            return Plan::Move(MovePlan { inputs, output, reason });
        }
        Plan::Merge(MergePlan { inputs, output, reason })
    }
}
