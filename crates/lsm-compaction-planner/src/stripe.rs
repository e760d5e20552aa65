//! Parts of a merge that may run by themselves.
//!
//! A **stripe** is what a merge reads between two keys: of the oldest run a row of neighbouring tables, of each newer
//! run the tables that lie wholly between their ends, up to the run of which one reaches across an end. Nothing older
//! than a table of the stripe is left out of it, so that the outputs may take its place.
//!
//! ```text
//!   newer   |--a--|--b--|----c----|          b
//!   older      |---d---|---e---|--f--|   ->  d e  where the row is d, e
//! ```

use alloc::{sync::Arc, vec::Vec};

use lsm_manifest::TableDescriptor;
use lsm_types::{Cut, KeyOrder};

use crate::{Inputs, MergePlan, OutputSpec, PlanView, RunPart, span::hull, validate};

/// Alternatives that are looked at, at most.
const TRIED_MAX: usize = 64;

impl MergePlan {
    /// Smaller plans that lead the same way, the smallest first; each is valid on `view` if this plan is.
    ///
    /// For when there is no room for the whole. A merge within one run is narrowed to pairs of neighbours. Any other is
    /// narrowed to its older runs, and to stripes that take, between two keys, what every run holds there. Made only
    /// when asked for: most plans are carried out as they are.
    pub fn smaller(&self, view: &PlanView<'_>) -> Vec<Self> {
        let parts = self.inputs.parts();
        let mut found = match parts {
            [] => Vec::new(),
            [only] => only.tables.windows(2).map(|pair| vec_of(only, pair)).take(TRIED_MAX).collect(),
            _ => {
                let mut found = older_runs(parts, self);
                found.extend(stripes(parts, view.order()));
                found
            }
        };
        let whole = self.inputs.table_count();
        found.retain(|parts| {
            let count: usize = parts.iter().map(|part| part.tables.len()).sum();
            count > 0 && count < whole && leads_on(parts, self)
        });
        let mut plans: Vec<Self> = found.into_iter().map(|parts| self.narrowed(view, parts)).collect();
        plans.sort_by_key(|plan| plan.inputs.file_bytes());
        plans.retain(|plan| validate(&crate::Plan::Merge(plan.clone()), view).is_ok());
        plans
    }

    fn narrowed(&self, view: &PlanView<'_>, parts: Vec<RunPart>) -> Self {
        let inputs = Inputs::new(parts);
        let output =
            OutputSpec::new(view, &inputs, self.output.dest, self.output.canonical, self.output.target_bytes);
        Self { inputs, output, reason: self.reason }
    }
}

fn vec_of(part: &RunPart, tables: &[Arc<TableDescriptor>]) -> Vec<RunPart> {
    alloc::vec![RunPart { tables: tables.to_vec(), ..part.clone() }]
}

/// Whether the tables are not only rewritten where they stand, unless the whole plan does no more than that.
fn leads_on(parts: &[RunPart], plan: &MergePlan) -> bool {
    let filled = || parts.iter().filter(|part| !part.tables.is_empty());
    let whole = plan.inputs.parts();
    if whole.iter().all(|part| part.level == plan.output.dest) {
        return whole.len() == 1 || filled().count() > 1;
    }
    filled().any(|part| part.level != plan.output.dest)
}

/// The plan without its newest run, without its two newest, and so on; with those tables of the level of the outputs
/// that what is left overlaps.
fn older_runs(parts: &[RunPart], plan: &MergePlan) -> Vec<Vec<RunPart>> {
    let newest = parts.iter().take_while(|part| part.level != plan.output.dest).count();
    (1..newest.max(1)).map(|skipped| parts.iter().skip(skipped).cloned().collect()).collect()
}

/// Stripes over rows of one, two, four and so on neighbouring tables of the oldest run.
fn stripes(parts: &[RunPart], order: &KeyOrder) -> Vec<Vec<RunPart>> {
    let Some((oldest, newer)) = parts.split_last() else { return Vec::new() };
    let mut found = Vec::new();
    let mut width = 1;
    while width < oldest.tables.len() {
        for row in oldest.tables.chunks(width) {
            if found.len() >= TRIED_MAX {
                return found;
            }
            found.push(stripe(oldest, row, newer, order));
        }
        width *= 2;
    }
    found
}

/// The stripe over a row of neighbouring tables of `oldest`; `newer` are the runs above it, newest first.
fn stripe(
    oldest: &RunPart,
    row: &[Arc<TableDescriptor>],
    newer: &[RunPart],
    order: &KeyOrder,
) -> Vec<RunPart> {
    let mut parts = vec_of(oldest, row);
    let Some(span) = hull(row.iter(), order) else { return parts };
    for part in newer.iter().rev() {
        let before = |a: &Cut, b: &Cut| a.compare(b, order).is_lt();
        let overlapping = part.tables.iter().filter(|table| {
            before(&table.coverage_start, span.end) && before(span.start, &table.coverage_end)
        });
        let (within, across): (Vec<_>, Vec<_>) = overlapping.cloned().partition(|table| {
            !before(&table.coverage_start, span.start) && !before(span.end, &table.coverage_end)
        });
        parts.push(RunPart { tables: within, ..part.clone() });
        if !across.is_empty() {
            break;
        }
    }
    parts.reverse();
    parts
}
