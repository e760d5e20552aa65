//! Rewriting value logs that no other compaction comes by.
//!
//! A value log is rewritten by the merges of the tables that refer to it. Where these lie in a level that has its shape,
//! no merge comes, and the garbage would stay. This strategy takes such tables and merges them into where they stand.
//!
//! Before that it finds out what is garbage. Tables are small where values lie apart, so much may be overwritten in upper
//! levels before these hold enough tables for a merge, and until then nobody knows.

use alloc::{sync::Arc, vec::Vec};

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::Level;

use crate::{
    CompactionStrategy, Debt, Inputs, MergePlan, OutputSpec, Plan, PlanView, Reason, RunPart, Settings,
    ValuesView, VlogFigures,
};

/// A job takes tables of at most this many times the length of an output.
const TARGETS_MAX: u64 = 50;

/// Merges what refers to many values into the last level, and rewrites the best value log that may be rewritten: a stretch of the tables of one run that refer to it, one job after
/// another, until none does. [`Leveled`](crate::Leveled), [`SizeTiered`](crate::SizeTiered) and
/// [`LazyLeveling`](crate::LazyLeveling) do so themselves when they have nothing else to do; beside others it is put by
/// [`Fallback`](crate::Fallback).
///
/// Which value logs these are is a setting of the tree. Idle where it does not separate values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueGc {
    /// Length of an output, in bytes.
    pub table_target_bytes: u64,
}

impl Default for ValueGc {
    fn default() -> Self {
        Self { table_target_bytes: 64 << 20 }
    }
}

impl CompactionStrategy for ValueGc {
    fn name(&self) -> &'static str {
        "ValueGcCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("table_target_bytes", self.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let Some(values) = view.values else { return Plan::Idle };
        if let Some(plan) = self.uncover(view, values) {
            return plan;
        }
        let stale = values.candidates().into_iter().filter(|log| log.garbage_bytes() > 0);
        let mut plans = stale.filter_map(|log| self.rewrite(view, log));
        plans.next().unwrap_or(Plan::Idle)
    }
}

impl ValueGc {
    /// Takes all that lies above the last level there, when it refers to much of all values: as much of the last level may
    /// be garbage.
    fn uncover(&self, view: &PlanView<'_>, values: &ValuesView) -> Option<Plan> {
        let filled: Vec<Level> =
            view.levels.iter().filter(|(_, runs)| !runs.is_empty()).map(|(level, _)| level).collect();
        let (last, upper) = filled.split_last()?;
        let held = |level: Level| {
            let tables = view.levels.level(level).tables();
            let referred = tables.flat_map(|table| table.references.iter());
            referred.fold(0, |sum: u64, (_, usage)| sum.saturating_add(usage.stored_bytes))
        };
        let above = upper.iter().fold(0, |sum: u64, level| sum.saturating_add(held(*level)));
        if !view.busy.is_empty() || !values.picker().is_worth_a_look(above, above.saturating_add(held(*last)))
        {
            return None;
        }
        let runs =
            upper.iter().flat_map(|level| view.levels.level(*level).runs().iter().map(|run| (*level, run)));
        let inputs = Inputs::new(runs.map(|(level, run)| RunPart {
            level,
            run: run.id,
            tables: run.tables.iter().cloned().collect(),
        }));
        let inputs = inputs.with_overlapping(view, *last);
        if inputs.file_bytes() > self.table_target_bytes.saturating_mul(TARGETS_MAX) {
            return None;
        }
        let output = OutputSpec::new(view, &inputs, *last, *last, self.table_target_bytes);
        Some(Plan::Merge(MergePlan { inputs, output, reason: Reason::SpaceAmplification }))
    }

    /// Rewrites what of the first stretch of tables that refer to `log` lies in it.
    pub(crate) fn rewrite(&self, view: &PlanView<'_>, log: &VlogFigures) -> Option<Plan> {
        let mut runs =
            view.levels.iter().flat_map(|(level, runs)| runs.runs().iter().map(move |run| (level, run)));
        let (level, run, tables) = runs.find_map(|(level, run)| {
            let tables = self.stretch(view, run, log);
            (!tables.is_empty()).then_some((level, run, tables))
        })?;
        Some(self.merged(view, level, run, tables))
    }

    /// The first tables of a run that refer to the log, follow each other and are idle.
    fn stretch(&self, view: &PlanView<'_>, run: &Run, log: &VlogFigures) -> Vec<Arc<TableDescriptor>> {
        let is_wanted =
            |table: &&Arc<TableDescriptor>| log.tables.contains(&table.id) && !view.busy.contains(table.id);
        let mut bytes = 0_u64;
        let cap_bytes = self.table_target_bytes.saturating_mul(TARGETS_MAX);
        let fits = |table: &&Arc<TableDescriptor>| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(table.file_len.max(1));
            is_first || bytes <= cap_bytes
        };
        run.tables
            .iter()
            .skip_while(|table| !is_wanted(table))
            .take_while(is_wanted)
            .take_while(fits)
            .cloned()
            .collect()
    }

    fn merged(
        &self,
        view: &PlanView<'_>,
        level: Level,
        run: &Run,
        tables: Vec<Arc<TableDescriptor>>,
    ) -> Plan {
        let inputs = Inputs::new([RunPart { level, run: run.id, tables }]);
        let output = OutputSpec::new(view, &inputs, level, level, self.table_target_bytes);
        Plan::Merge(MergePlan { inputs, output, reason: Reason::ValueGarbage })
    }
}

/// `plan`, or the rewriting of a value log where a strategy has nothing to do and owes nothing.
pub(crate) fn or_collect(
    plan: Plan,
    debt: impl FnOnce() -> Debt,
    view: &PlanView<'_>,
    target_bytes: u64,
) -> Plan {
    if plan.is_idle() && view.values.is_some() && debt() == Debt::ZERO {
        ValueGc { table_target_bytes: target_bytes }.plan(view)
    } else {
        plan
    }
}
