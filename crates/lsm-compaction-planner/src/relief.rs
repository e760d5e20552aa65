//! What a tree can do when the disk is short, in the order in which to do it.
//!
//! ```text
//! drop tables that are deleted as a whole     takes nothing
//! merge, most bytes freed for each that is needed meanwhile first
//! move live values out of value logs that hold garbage
//! merge everything, slice by slice            takes a slice, and the most time
//! ```
//!
//! Figures are estimates, made of what the manifest says: which step frees how much is known when it is done.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

use lsm_types::{Level, TableId};

use crate::{
    CompactionStrategy, DropRange, Inputs, Major, MergePlan, OutputSpec, Plan, PlanView, Reason, RunPart,
    Settings, ValueGc,
    dead_weight::{Deleted, dead_weight},
    is_covered, validate,
};

/// Merges of a part of a tree that are looked at closely.
const MERGES_MAX: usize = 16;

/// A way to free space; the order is that in which they are tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum ReliefKind {
    /// Tables that range tombstones have deleted as a whole leave unread.
    Drop,
    /// A part of the tree is merged.
    Merge,
    /// Live values are copied out of a value log, so that its file can go.
    Relocate,
    /// Everything is merged, slice by slice.
    Slices,
}

/// A step that frees space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relief {
    /// How.
    pub kind: ReliefKind,
    /// What would be done.
    pub plan: Plan,
    /// Bytes that it is likely to free.
    pub frees_bytes: u64,
    /// Bytes that it takes before it gives any back.
    pub transient_bytes: u64,
}

impl Relief {
    /// The tables that it is about.
    pub fn tables(&self) -> Vec<TableId> {
        self.plan.inputs().into_iter().flat_map(Inputs::tables).map(|table| table.id).collect()
    }
}

/// What the steps of a tree are made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReliefLimits {
    /// Length of an output, in bytes.
    pub table_target_bytes: u64,
    /// What the smallest slice of a merge takes; `None` where merges are not done by slices.
    pub slice_bytes: Option<u64>,
}

/// What can be done, in the order in which to do it. Steps stand beside each other: one that is done may make others
/// impossible, or more worth while.
///
/// Costs a search by key for each table.
pub fn relief(view: &PlanView<'_>, limits: ReliefLimits) -> Vec<Relief> {
    let deleted = Deleted::of(view);
    let mut steps = Vec::new();
    let plan = DropRange::default().plan(view);
    if let Some(inputs) = plan.inputs() {
        let frees_bytes = inputs.file_bytes();
        steps.push(Relief { kind: ReliefKind::Drop, frees_bytes, transient_bytes: 0, plan });
    }
    let mut merges: Vec<Relief> = candidates(view, &deleted)
        .into_iter()
        .filter_map(|(inputs, dest)| merge(view, (inputs, dest), limits, &deleted))
        .collect();
    merges.sort_by_key(|step| (Reverse(per_mille(step)), step.transient_bytes));
    merges.dedup_by(|a, b| a.plan == b.plan);
    merges.retain(|step| validate(&step.plan, view).is_ok());
    merges.truncate(MERGES_MAX);
    steps.extend(merges);
    steps.extend(relocations(view, limits));
    steps.extend(slices(view, limits, &deleted));
    steps
}

/// Bytes freed for each thousand that are needed meanwhile.
fn per_mille(step: &Relief) -> u64 {
    let freed = u128::from(step.frees_bytes) * 1_000;
    u64::try_from(freed / u128::from(step.transient_bytes.max(1))).unwrap_or(u64::MAX)
}

/// The merges that come into question: a level into the next one that holds anything, each of its tables by itself, and
/// where nothing lies deeper, its runs into one and each table with deletes into itself.
fn candidates(view: &PlanView<'_>, deleted: &Deleted<'_>) -> Vec<(Inputs, Level)> {
    let filled: Vec<Level> =
        view.levels.iter().filter(|(_, runs)| !runs.is_empty()).map(|(level, _)| level).collect();
    let mut found = Vec::new();
    for (at, level) in filled.iter().copied().enumerate() {
        let runs = view.levels.level(level).runs();
        let whole = Inputs::of_runs(level, runs);
        let deeper = filled.get(at + 1).copied();
        let dest = match deeper {
            Some(deeper) => deeper,
            None if level.get() == 0 => view.last_level(),
            None => level,
        };
        if dest != level || runs.len() > 1 {
            found.push((whole.with_overlapping_below(view, level, dest), dest));
        }
        let [run] = runs else { continue };
        for table in run.tables.iter() {
            let is_deleting = table.has_deletes() || deleted.reach(table, view.order());
            if (deeper.is_some() || is_deleting) && !is_covered(table, view) {
                let alone = RunPart { level, run: run.id, tables: vec![table.clone()] };
                found.push((Inputs::new([alone]).with_overlapping_below(view, level, dest), dest));
            }
        }
    }
    found
}

impl Inputs {
    /// With what they overlap in `dest`, where that is a deeper level.
    fn with_overlapping_below(self, view: &PlanView<'_>, level: Level, dest: Level) -> Self {
        if dest > level { self.with_overlapping(view, dest) } else { self }
    }
}

fn merge(
    view: &PlanView<'_>,
    (inputs, dest): (Inputs, Level),
    limits: ReliefLimits,
    deleted: &Deleted<'_>,
) -> Option<Relief> {
    if inputs.tables().any(|table| view.busy.contains(table.id)) {
        return None;
    }
    let frees_bytes = dead_weight(&inputs, dest, view, deleted);
    if frees_bytes == 0 {
        return None;
    }
    let values = view.values.map(|values| values.pick(&inputs).bytes()).unwrap_or_default();
    let transient_bytes = inputs.file_bytes().saturating_add(values);
    let output = OutputSpec::new(view, &inputs, dest, dest, limits.table_target_bytes);
    let plan = Plan::Merge(MergePlan { inputs, output, reason: Reason::SpaceShort });
    Some(Relief { kind: ReliefKind::Merge, plan, frees_bytes, transient_bytes })
}

/// The value logs worth rewriting, best first. One that several tables refer to goes when all of them were rewritten.
fn relocations(view: &PlanView<'_>, limits: ReliefLimits) -> Vec<Relief> {
    let Some(values) = view.values else { return Vec::new() };
    let collector = ValueGc { table_target_bytes: limits.table_target_bytes };
    let stale = values.candidates().into_iter().filter(|log| log.garbage_bytes() > 0);
    let steps = stale.filter_map(|log| {
        let plan = collector.rewrite(view, log)?;
        let inputs = plan.inputs()?;
        let transient_bytes = inputs.file_bytes().saturating_add(values.pick(inputs).bytes());
        let frees_bytes = log.garbage_bytes();
        Some(Relief { kind: ReliefKind::Relocate, frees_bytes, transient_bytes, plan })
    });
    let mut steps: Vec<Relief> = steps.collect();
    steps.dedup_by(|a, b| a.plan == b.plan);
    steps
}

fn slices(view: &PlanView<'_>, limits: ReliefLimits, deleted: &Deleted<'_>) -> Option<Relief> {
    let transient_bytes = limits.slice_bytes?;
    let Plan::Merge(mut plan) = Major { target_bytes: limits.table_target_bytes }.plan(view) else {
        return None;
    };
    plan.reason = Reason::SpaceShort;
    let frees_bytes = dead_weight(&plan.inputs, plan.output.dest, view, deleted);
    let plan = Plan::Merge(plan);
    (frees_bytes > 0).then_some(Relief { kind: ReliefKind::Slices, plan, frees_bytes, transient_bytes })
}

/// Does one step of [`relief`]: that of this kind over these tables, if it is one still.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relieve {
    /// How.
    pub kind: ReliefKind,
    /// Over which tables.
    pub tables: Vec<TableId>,
    /// What the steps are made with.
    pub limits: ReliefLimits,
}

impl CompactionStrategy for Relieve {
    fn name(&self) -> &'static str {
        "ReliefCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("table_target_bytes", self.limits.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let steps = relief(view, self.limits).into_iter();
        let mut same = steps.filter(|step| step.kind == self.kind && step.tables() == self.tables);
        same.next().map_or(Plan::Idle, |step| step.plan)
    }
}
