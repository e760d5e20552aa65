//! What a strategy answers.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use core::fmt;

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::{Level, RunId, TableId};

use crate::{
    OutputSpec, PlanView,
    span::{merge_spans, overlapping},
};

/// The next step of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Nothing to do.
    Idle,
    /// Tables go to a deeper level as they are.
    Move(MovePlan),
    /// Tables leave unread.
    Drop(DropPlan),
    /// Tables are merged into new ones.
    Merge(MergePlan),
}

impl Plan {
    /// Merges the tables with these numbers into `level`, into tables of `target_bytes`; idle without tables.
    ///
    /// Finds the tables by a walk over all levels. A number that no table has makes a plan that
    /// [`validate`](crate::validate) refuses.
    pub fn merge(
        view: &PlanView<'_>,
        ids: impl IntoIterator<Item = TableId>,
        level: Level,
        target_bytes: u64,
    ) -> Self {
        let inputs = Inputs::select(view, ids);
        if inputs.is_empty() {
            return Self::Idle;
        }
        let output = OutputSpec::new(view, &inputs, level, level, target_bytes);
        Self::Merge(MergePlan { inputs, output, reason: Reason::Requested })
    }

    /// Drops the tables with these numbers unread, with everything in them; idle without tables.
    ///
    /// For data whose time has come, such as the oldest day of a log. Refused where the tables hide older entries in
    /// tables that stay. Finds the tables by a walk over all levels.
    pub fn drop_tables(view: &PlanView<'_>, ids: impl IntoIterator<Item = TableId>) -> Self {
        let inputs = Inputs::select(view, ids);
        if inputs.is_empty() {
            Self::Idle
        } else {
            Self::Drop(DropPlan { inputs, reason: Reason::Requested })
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// The tables concerned; `None` when there is nothing to do.
    pub fn inputs(&self) -> Option<&Inputs> {
        match self {
            Self::Idle => None,
            Self::Move(plan) => Some(&plan.inputs),
            Self::Drop(plan) => Some(&plan.inputs),
            Self::Merge(plan) => Some(&plan.inputs),
        }
    }

    /// Where tables go: a level of a move or a merge.
    pub fn output(&self) -> Option<&OutputSpec> {
        match self {
            Self::Idle | Self::Drop(_) => None,
            Self::Move(plan) => Some(&plan.output),
            Self::Merge(plan) => Some(&plan.output),
        }
    }
}

/// Tables that go to a deeper level without being rewritten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovePlan {
    /// What is moved: each part becomes a run on top of the level, the newest uppermost.
    pub inputs: Inputs,
    /// Where to; the rest of it is for a move that has to be carried out as a merge, between two folders.
    pub output: OutputSpec,
    /// Why.
    pub reason: Reason,
}

/// Tables that leave with everything in them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropPlan {
    /// What leaves.
    pub inputs: Inputs,
    /// Why.
    pub reason: Reason,
}

/// Tables that are merged into new ones.
///
/// Where all inputs stand at the level of the outputs, these take the place in age of the newest input run, below what
/// stays of it. Otherwise they go on top of their level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergePlan {
    /// What is read and leaves.
    pub inputs: Inputs,
    /// What is written.
    pub output: OutputSpec,
    /// Why.
    pub reason: Reason,
}

/// Why a strategy wants a plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The tables overlap nothing below them.
    NoOverlap,
    /// Small neighbouring runs of level 0 cost reads more than one run would.
    SmallRuns,
    /// Small neighbouring tables of a run cost files.
    SmallTables,
    /// Level 0 holds as many runs as it may.
    Level0Full,
    /// A level holds more bytes than it may.
    LevelFull,
    /// Neighbouring runs are of like size.
    LikeSizes,
    /// All runs together are much larger than the largest.
    SpaceAmplification,
    /// The tables are older than what is kept, or more than what is kept.
    Expired,
    /// The tables lie under range tombstones.
    Covered,
    /// A table consists of tombstones for a large part.
    Tombstones,
    /// Deletes wait for too long to be carried out.
    DeleteDeadline,
    /// A table was not rewritten for too long.
    Age,
    /// A table is damaged in a way that rewriting repairs.
    Damaged,
    /// The tables refer to value logs that are full of garbage.
    ValueGarbage,
    /// The disk is short of space, and this gives some back.
    SpaceShort,
    /// Someone asked.
    Requested,
}

/// Neighbouring or single tables of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunPart {
    /// Where the run stands.
    pub level: Level,
    /// The run.
    pub run: RunId,
    /// The tables taken from it, in key order.
    pub tables: Vec<Arc<TableDescriptor>>,
}

/// The tables of a plan, by run, newest run first: upper levels before lower ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inputs {
    parts: Vec<RunPart>,
    /// A number that was asked for and that no table has.
    pub(crate) missing: Option<TableId>,
}

impl Inputs {
    /// Inputs from their parts, newest first; parts without tables are left out.
    pub fn new(parts: impl IntoIterator<Item = RunPart>) -> Self {
        let parts = parts.into_iter().filter(|part| !part.tables.is_empty()).collect();
        Self { parts, missing: None }
    }

    /// The tables with these numbers, by a walk over all levels.
    pub fn select(view: &PlanView<'_>, ids: impl IntoIterator<Item = TableId>) -> Self {
        let mut wanted: BTreeSet<TableId> = ids.into_iter().collect();
        let mut parts = Vec::new();
        for (level, runs) in view.levels.iter() {
            for run in runs.runs() {
                let tables = run.tables.iter().filter(|table| wanted.remove(&table.id)).cloned().collect();
                parts.push(RunPart { level, run: run.id, tables });
            }
        }
        Self { missing: wanted.pop_first(), ..Self::new(parts) }
    }

    /// All tables of some runs of a level, given from the newest on.
    pub(crate) fn of_runs<'r>(level: Level, runs: impl IntoIterator<Item = &'r Run>) -> Self {
        Self::new(runs.into_iter().map(|run| RunPart {
            level,
            run: run.id,
            tables: run.tables.iter().cloned().collect(),
        }))
    }

    /// Adds the tables of a deeper level that overlap these: what outputs in that level take the place of.
    ///
    /// Where that level has several runs, what overlaps the added ones is added in turn: outputs go on top of a level,
    /// so they must hold nothing older than a table that stays in it.
    pub fn with_overlapping(mut self, view: &PlanView<'_>, level: Level) -> Self {
        let order = view.order();
        let runs = view.levels.level(level).runs();
        let own_count = self.parts.len();
        loop {
            let spans = merge_spans(self.tables(), order);
            let found = runs.iter().map(|run| RunPart {
                level,
                run: run.id,
                tables: overlapping(run, &spans, order).into_iter().cloned().collect(),
            });
            let found: Vec<RunPart> = found.filter(|part| !part.tables.is_empty()).collect();
            let before = self.table_count();
            self.parts.truncate(own_count);
            self.parts.extend(found);
            if runs.len() <= 1 || self.table_count() == before {
                return self;
            }
        }
    }

    /// The parts, newest first.
    pub fn parts(&self) -> &[RunPart] {
        &self.parts
    }

    /// All tables, newest run first, each run in key order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        self.parts.iter().flat_map(|part| part.tables.iter())
    }

    /// Number of tables.
    pub fn table_count(&self) -> usize {
        self.parts.iter().map(|part| part.tables.len()).sum()
    }

    /// Bytes of their files.
    pub fn file_bytes(&self) -> u64 {
        self.tables().fold(0, |sum, table| sum.saturating_add(table.live_bytes()))
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.missing.is_none()
    }
}

/// Numbers of tables, newest run first: `4 5 2`.
impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, table) in self.tables().enumerate() {
            let gap = if nth == 0 { "" } else { " " };
            write!(f, "{gap}{}", table.id)?;
        }
        Ok(())
    }
}

/// As it stands in logs and tests: `idle`, `move 4 -> L6`, `drop 4 5`, `merge 4 5 2 -> L1`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Move(plan) => write!(f, "move {} -> L{}", plan.inputs, plan.output.dest),
            Self::Drop(plan) => write!(f, "drop {}", plan.inputs),
            Self::Merge(plan) => write!(f, "merge {} -> L{}", plan.inputs, plan.output.dest),
        }
    }
}
