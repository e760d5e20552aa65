//! Which plans may run.
//!
//! A plan is judged by the view it will run on, which may be newer than the one it was made from. The rules keep newer
//! entries above older ones, whoever wrote the strategy: reads decide by sequence number, but the places at which an
//! entry may be dropped rest on this order.

use alloc::{collections::BTreeSet, vec::Vec};

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::{ErrorKind, Fault, Level, TableId};

use crate::{
    Inputs, OutputSpec, Plan, PlanView, RunPart,
    drop_range::is_covered,
    span::{Span, merge_spans},
};

/// Why a plan may not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The plan names no table.
    #[error("plan names no table")]
    Empty,
    /// A table is not where the plan says it is.
    #[error("table {table} is not where the plan says it is")]
    Unknown {
        /// The table.
        table: TableId,
    },
    /// A table belongs to a running job.
    #[error("table {table} belongs to a running job")]
    Busy {
        /// The table.
        table: TableId,
    },
    /// A table stands twice in the plan, or after a newer one or a greater one of its run.
    #[error("table {table} stands twice in the plan or out of order")]
    OutOfOrder {
        /// The table.
        table: TableId,
    },
    /// The plan names a level that the tree does not have.
    #[error("plan names level {level} of a tree with {count}")]
    UnknownLevel {
        /// The level.
        level: Level,
        /// Levels of the tree.
        count: u8,
    },
    /// A table would go up, or be moved to where it stands.
    #[error("table {table} would not go down by going to level {dest}")]
    NotDown {
        /// The table.
        table: TableId,
        /// Where it would go.
        dest: Level,
    },
    /// A table between inputs in age overlaps them and is not one.
    #[error("table {table} lies between inputs in age, overlaps them and is not one")]
    AgeGap {
        /// The table.
        table: TableId,
    },
    /// A table would pass an older one that overlaps it and stays.
    #[error("a table would pass the older table {older}, which overlaps it and stays")]
    LeftBehind {
        /// The older table.
        older: TableId,
    },
    /// Outputs would hide a newer table of their level behind them.
    #[error("outputs would pass the newer table {newer} of their level, which overlaps inputs and stays")]
    Overtaken {
        /// The newer table.
        newer: TableId,
    },
    /// A moved table overlaps one of the level it goes to.
    #[error("a moved table overlaps table {table} of the level it goes to")]
    Overlap {
        /// The table that is there.
        table: TableId,
    },
    /// Dropping a table would bring back what it hides in an older one.
    #[error("dropping a table may bring back what it hides in table {older}")]
    Uncovers {
        /// The older table.
        older: TableId,
    },
}

impl Fault for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            // The view may have been older than the job that took the table.
            Self::Busy { .. } => ErrorKind::Cancelled,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

/// Whether `plan` may run on `view`.
///
/// Costs a search by key for each input and each run that it passes; nothing for runs that are inputs as a whole.
pub fn validate(plan: &Plan, view: &PlanView<'_>) -> Result<(), Refusal> {
    match plan {
        Plan::Idle => Ok(()),
        Plan::Move(plan) => {
            let checked = Checked::of(&plan.inputs, view)?;
            checked.levels(&plan.output, true)?;
            checked.age_contiguous()?;
            checked.closed_downward(plan.output.dest)?;
            checked.lands_free(plan.output.dest)
        }
        Plan::Merge(plan) => {
            let checked = Checked::of(&plan.inputs, view)?;
            checked.levels(&plan.output, false)?;
            checked.age_contiguous()?;
            checked.closed_downward(plan.output.dest)?;
            checked.on_top(plan.output.dest)
        }
        Plan::Drop(plan) => Checked::of(&plan.inputs, view)?.uncovers_nothing(),
    }
}

/// Inputs that exist, are idle, and stand in order, each once.
struct Checked<'a> {
    view: PlanView<'a>,
    ids: BTreeSet<TableId>,
    parts: Vec<CheckedPart<'a>>,
}

struct CheckedPart<'a> {
    part: &'a RunPart,
    /// The run it is a part of.
    run: &'a Run,
    /// Which run of its level, counted from the newest.
    run_idx: usize,
    spans: Vec<Span<'a>>,
}

impl<'a> Checked<'a> {
    fn of(inputs: &'a Inputs, view: &PlanView<'a>) -> Result<Self, Refusal> {
        if let Some(table) = inputs.missing {
            return Err(Refusal::Unknown { table });
        }
        let mut checked = Self { view: *view, ids: BTreeSet::new(), parts: Vec::new() };
        for part in inputs.parts() {
            checked.add(part)?;
        }
        if checked.ids.is_empty() { Err(Refusal::Empty) } else { Ok(checked) }
    }

    fn add(&mut self, part: &'a RunPart) -> Result<(), Refusal> {
        // A part without tables asks for nothing.
        let Some(first) = part.tables.first() else { return Ok(()) };
        let order = self.view.order();
        let mut runs = self.view.levels.level(part.level).runs().iter().enumerate();
        let Some((run_idx, run)) = runs.find(|(_, run)| run.id == part.run) else {
            return Err(Refusal::Unknown { table: first.id });
        };
        for table in &part.tables {
            if !holds(run, table, &self.view) {
                return Err(Refusal::Unknown { table: table.id });
            }
            if self.view.busy.contains(table.id) {
                return Err(Refusal::Busy { table: table.id });
            }
            if !self.ids.insert(table.id) {
                return Err(Refusal::OutOfOrder { table: table.id });
            }
        }
        let unsorted = part.tables.iter().zip(part.tables.iter().skip(1)).find(|(a, b)| {
            let (Some(a), Some(b)) = (&a.entries, &b.entries) else { return true };
            order.compare(&a.min, &b.min).is_ge()
        });
        if let Some((_, table)) = unsorted {
            return Err(Refusal::OutOfOrder { table: table.id });
        }
        let is_newer = |last: &CheckedPart<'_>| (last.part.level, last.run_idx) < (part.level, run_idx);
        if !self.parts.last().is_none_or(is_newer) {
            return Err(Refusal::OutOfOrder { table: first.id });
        }
        let spans = merge_spans(part.tables.iter(), order);
        self.parts.push(CheckedPart { part, run, run_idx, spans });
        Ok(())
    }

    fn levels(&self, output: &OutputSpec, moved: bool) -> Result<(), Refusal> {
        let count = self.view.levels.count();
        if let Some(level) = [output.dest, output.canonical].into_iter().find(|level| level.get() >= count) {
            return Err(Refusal::UnknownLevel { level, count });
        }
        let dest = output.dest;
        let up = |part: &&CheckedPart<'_>| part.part.level > dest || (moved && part.part.level == dest);
        let first_up = self.parts.iter().find(up).and_then(|part| part.part.tables.first());
        first_up.map_or(Ok(()), |table| Err(Refusal::NotDown { table: table.id, dest }))
    }

    /// C-17: of one level, no run between inputs has a table that overlaps them and stays.
    fn age_contiguous(&self) -> Result<(), Refusal> {
        for part in &self.parts {
            let level = part.part.level;
            let of_level = || self.parts.iter().filter(|other| other.part.level == level);
            let (Some(newest), Some(oldest)) = (of_level().next(), of_level().next_back()) else { continue };
            let between = self.runs(level, newest.run_idx + 1, oldest.run_idx);
            if let Some(table) = self.left_out(between, &part.spans) {
                return Err(Refusal::AgeGap { table });
            }
        }
        Ok(())
    }

    /// C-18: what goes down takes along what is older and overlaps it, up to the level where it goes.
    fn closed_downward(&self, dest: Level) -> Result<(), Refusal> {
        for part in self.parts.iter().filter(|part| part.part.level < dest) {
            if let Some(older) = self.left_out(self.older_runs(part, dest), &part.spans) {
                return Err(Refusal::LeftBehind { older });
            }
        }
        Ok(())
    }

    /// Outputs that go on top of their level hold nothing older than a table of it that overlaps them.
    fn on_top(&self, dest: Level) -> Result<(), Refusal> {
        if self.parts.iter().all(|part| part.part.level == dest) {
            return Ok(());
        }
        for part in self.parts.iter().filter(|part| part.part.level == dest) {
            if let Some(newer) = self.left_out(self.runs(dest, 0, part.run_idx), &part.spans) {
                return Err(Refusal::Overtaken { newer });
            }
        }
        Ok(())
    }

    fn lands_free(&self, dest: Level) -> Result<(), Refusal> {
        for part in &self.parts {
            if let Some(table) = self.left_out(self.view.levels.level(dest).runs().iter(), &part.spans) {
                return Err(Refusal::Overlap { table });
            }
        }
        Ok(())
    }

    /// I-4: what is dropped hides nothing that stays, or lies under range tombstones that hide it just as well.
    fn uncovers_nothing(&self) -> Result<(), Refusal> {
        for part in &self.parts {
            if self.view.deletes.is_some()
                && part.part.tables.iter().all(|table| is_covered(table, &self.view))
            {
                continue;
            }
            // Tables of a run share no entries, but the range tombstones of one may reach the entries of another.
            let reaching = part.part.tables.iter().filter(|table| table.counts.range_tombstones > 0);
            let reaching = merge_spans(reaching, self.view.order());
            if let Some(older) = self.left_out(core::iter::once(part.run), &reaching) {
                return Err(Refusal::Uncovers { older });
            }
            let deepest = self.view.last_level();
            let older = self.older_runs(part, deepest).chain(self.view.levels.level(deepest).runs());
            // In the deepest level the chain starts with the part's own run; its tables do not overlap each other.
            let older = older.filter(|run| !core::ptr::eq(*run, part.run) && !self.is_newer(run, part));
            if let Some(older) = self.left_out(older, &part.spans) {
                return Err(Refusal::Uncovers { older });
            }
        }
        Ok(())
    }

    /// The older runs of the part's own level, and all runs of the levels between it and `dest`.
    fn older_runs<'b>(&'b self, part: &'b CheckedPart<'_>, dest: Level) -> impl Iterator<Item = &'b Run> {
        let level = part.part.level;
        let between = self.view.levels.iter().filter(move |(between, _)| level < *between && *between < dest);
        self.runs(level, part.run_idx + 1, usize::MAX).chain(between.flat_map(|(_, level)| level.runs()))
    }

    /// Whether a run stands above the part in its own level.
    fn is_newer(&self, run: &Run, part: &CheckedPart<'_>) -> bool {
        self.runs(part.part.level, 0, part.run_idx).any(|newer| core::ptr::eq(newer, run))
    }

    /// Runs of a level by place, `from` included, `to` not.
    fn runs(&self, level: Level, from: usize, to: usize) -> impl Iterator<Item = &Run> {
        self.view.levels.level(level).runs().iter().take(to).skip(from)
    }

    /// A table of `runs` that overlaps `spans` and is no input.
    fn left_out<'b>(
        &'b self,
        mut runs: impl Iterator<Item = &'b Run>,
        spans: &'b [Span<'_>],
    ) -> Option<TableId> {
        let order = self.view.order();
        runs.find_map(|run| {
            if self.is_whole(run) {
                return None;
            }
            let mut found = spans.iter().flat_map(|span| run.tables.covering(span.start, span.end, order));
            found.find(|table| !self.ids.contains(&table.id)).map(|table| table.id)
        })
    }

    /// Whether all tables of a run are inputs.
    fn is_whole(&self, run: &Run) -> bool {
        let part = self.parts.iter().find(|part| core::ptr::eq(part.run, run));
        part.is_some_and(|part| part.part.tables.len() == run.tables.len())
    }
}

fn holds(run: &Run, table: &TableDescriptor, view: &PlanView<'_>) -> bool {
    let found = match &table.entries {
        Some(entries) => run.tables.find(&entries.min, view.order()),
        None => run.tables.iter().next(),
    };
    found.is_some_and(|found| found.id == table.id)
}
