//! Strategies that are asked once, by hand.

use lsm_types::Level;

use crate::{
    CompactionStrategy, Inputs, MergePlan, MovePlan, OutputSpec, Plan, PlanView, Reason, RunPart, Settings,
};

/// Merges all tables into the last level. Idle while a table is busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Major {
    /// Length of an output, in bytes.
    pub target_bytes: u64,
}

impl Default for Major {
    /// Outputs of any length.
    fn default() -> Self {
        Self { target_bytes: u64::MAX }
    }
}

impl CompactionStrategy for Major {
    fn name(&self) -> &'static str {
        "MajorCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("target_bytes", self.target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let levels = view.levels.iter().map(|(level, _)| level);
        merge_all(view, levels, view.last_level(), self.target_bytes)
    }
}

/// Moves all tables of one level to a deeper one. Idle while one of them is busy; for tests and tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveDown {
    /// The level that is emptied.
    pub from: Level,
    /// Where its tables go.
    pub to: Level,
}

impl CompactionStrategy for MoveDown {
    fn name(&self) -> &'static str {
        "MoveDownCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("from", self.from.get()).with("to", self.to.get())
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        match all_of(view, [self.from].into_iter()) {
            Some(inputs) => {
                let output = OutputSpec::new(view, &inputs, self.to, self.to, u64::MAX);
                Plan::Move(MovePlan { inputs, output, reason: Reason::Requested })
            }
            None => Plan::Idle,
        }
    }
}

/// Merges all tables of two levels into the deeper one. Idle while one of them is busy; for tests and tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PullDown {
    /// The level that is emptied.
    pub from: Level,
    /// Where its tables go.
    pub to: Level,
}

impl PullDown {
    const TARGET_BYTES: u64 = 64_000_000;
}

impl CompactionStrategy for PullDown {
    fn name(&self) -> &'static str {
        "PullDownCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("from", self.from.get()).with("to", self.to.get())
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        merge_all(view, [self.from, self.to].into_iter(), self.to, Self::TARGET_BYTES)
    }
}

fn merge_all(
    view: &PlanView<'_>,
    levels: impl Iterator<Item = Level>,
    dest: Level,
    target_bytes: u64,
) -> Plan {
    let Some(inputs) = all_of(view, levels) else { return Plan::Idle };
    // These rewrite for good, so the outputs are built as those of the last level are.
    let output = OutputSpec::new(view, &inputs, dest, view.last_level(), target_bytes);
    Plan::Merge(MergePlan { inputs, output, reason: Reason::Requested })
}

/// All tables of some levels, given from above to below; `None` when there are none or one is busy.
fn all_of(view: &PlanView<'_>, levels: impl Iterator<Item = Level>) -> Option<Inputs> {
    let runs = levels.flat_map(|level| view.levels.level(level).runs().iter().map(move |run| (level, run)));
    let inputs = Inputs::new(runs.map(|(level, run)| RunPart {
        level,
        run: run.id,
        tables: run.tables.iter().cloned().collect(),
    }));
    let idle = !inputs.tables().any(|table| view.busy.contains(table.id));
    (idle && !inputs.is_empty()).then_some(inputs)
}
