//! Rewriting damaged tables where they stand.

use alloc::vec::Vec;

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::{Level, TableId};

use crate::{CompactionStrategy, Inputs, MergePlan, OutputSpec, Plan, PlanView, Reason, RunPart, Settings};

/// Rewrites tables in place, in the order of a list, one at a time: tables in which reads had to repair something, so
/// that the next damage does not meet them weakened.
///
/// The list needs no upkeep. A number leaves it by leaving the tree: a table that was rewritten has another number, and
/// one whose rewriting was refused or failed is still there when the strategy is asked again. While the first table of
/// the list that exists is busy, nothing is done.
///
/// ```
/// use lsm_compaction_planner::{Heal, TableId};
///
/// // while tree.compact(&heal, &CompactOptions::default())?.did_work() {}
/// let heal = Heal { tables: vec![TableId::new(17), TableId::new(4)], table_target_bytes: 64 << 20 };
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heal {
    /// The tables, the most urgent first.
    pub tables: Vec<TableId>,
    /// Length of an output, in bytes.
    pub table_target_bytes: u64,
}

impl CompactionStrategy for Heal {
    fn name(&self) -> &'static str {
        "EccHealCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("tables", self.tables.len()).with("table_target_bytes", self.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let found = self.tables.iter().find_map(|id| find(view, *id));
        let Some((level, run, table)) = found.filter(|(_, _, table)| !view.busy.contains(table.id)) else {
            return Plan::Idle;
        };
        rewrite(view, level, run, table, self.table_target_bytes, Reason::Damaged)
    }
}

/// Where a table stands, by a walk over all levels.
fn find<'a>(
    view: &PlanView<'a>,
    id: TableId,
) -> Option<(Level, &'a Run, &'a alloc::sync::Arc<TableDescriptor>)> {
    let mut runs =
        view.levels.iter().flat_map(|(level, runs)| runs.runs().iter().map(move |run| (level, run)));
    runs.find_map(|(level, run)| {
        let table = run.tables.iter().find(|table| table.id == id)?;
        Some((level, run, table))
    })
}

/// Merges a single table into its own level.
pub(crate) fn rewrite(
    view: &PlanView<'_>,
    level: Level,
    run: &Run,
    table: &alloc::sync::Arc<TableDescriptor>,
    target_bytes: u64,
    reason: Reason,
) -> Plan {
    let inputs = Inputs::new([RunPart { level, run: run.id, tables: alloc::vec![table.clone()] }]);
    let output = OutputSpec::new(view, &inputs, level, level, target_bytes);
    Plan::Merge(MergePlan { inputs, output, reason })
}
