//! Dropping, unread, what range tombstones have deleted as a whole.
//!
//! A table whose entries and own range tombstones all lie under newer range tombstones below the watermark has nothing
//! left for any read, and what it hides in older tables those tombstones hide just as well. So it may go from any level
//! in any order, and one edit frees its space.

use alloc::vec::Vec;

use lsm_manifest::TableDescriptor;
use lsm_types::Cut;

use crate::{
    CompactionStrategy, DropPlan, Inputs, Plan, PlanView, Reason, RunPart, Settings,
    span::{Span, overlapping},
};

/// Drops the idle tables between two cuts that lie under range tombstones as a whole; merges nothing.
///
/// Put before another strategy in a [`PriorityList`](crate::PriorityList), it spares that one the work of merging what
/// is gone anyway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropRange {
    /// Where the range starts.
    pub start: Cut,
    /// Where it ends.
    pub end: Cut,
}

impl Default for DropRange {
    /// Everywhere.
    fn default() -> Self {
        Self { start: Cut::Start, end: Cut::End }
    }
}

impl CompactionStrategy for DropRange {
    fn name(&self) -> &'static str {
        "DropRangeCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let Some(deletes) = view.deletes else { return Plan::Idle };
        let order = view.order();
        // Stretches below the watermark, within the range.
        let active: Vec<Span<'_>> = deletes
            .stretches_from(&self.start)
            .map(|stretch| (stretch, deletes.around(stretch)))
            .take_while(|(_, (start, _))| start.compare(&self.end, order).is_lt())
            .filter(|(stretch, _)| deletes.newest_below(*stretch, view.watermark).is_some())
            .map(|(_, (start, end))| Span { start, end })
            .collect();
        if active.is_empty() {
            return Plan::Idle;
        }
        let is_inside = |table: &TableDescriptor| {
            self.start.compare(&table.coverage_start, order).is_le()
                && table.coverage_end.compare(&self.end, order).is_le()
        };
        let may_go = |table: &TableDescriptor| {
            !view.busy.contains(table.id) && is_inside(table) && is_covered(table, view)
        };
        let runs =
            view.levels.iter().flat_map(|(level, runs)| runs.runs().iter().map(move |run| (level, run)));
        let inputs = Inputs::new(runs.map(|(level, run)| {
            let tables = overlapping(run, &active, order).into_iter();
            RunPart { level, run: run.id, tables: tables.filter(|table| may_go(table)).cloned().collect() }
        }));
        if inputs.is_empty() { Plan::Idle } else { Plan::Drop(DropPlan { inputs, reason: Reason::Covered }) }
    }
}

/// Whether all of a table lies under newer range tombstones of the view, numbered below its watermark: no read needs it
/// any more.
pub fn is_covered(table: &TableDescriptor, view: &PlanView<'_>) -> bool {
    let Some(deletes) = view.deletes else { return false };
    for stretch in deletes.stretches_from(&table.coverage_start) {
        if deletes.newest_below(stretch, view.watermark) <= Some(table.seqnos.max) {
            return false;
        }
        if deletes.around(stretch).1.compare(&table.coverage_end, view.order()).is_ge() {
            return true;
        }
    }
    false
}
