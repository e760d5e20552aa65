//! Tables that are due for what is in them, not for the size of their level.
//!
//! A level that is small enough is left alone by strategies that look at sizes, and so are the deletes in it: their
//! space stays taken, and scans go on stumbling over them. This strategy takes such tables one at a time: down, towards
//! what they delete, and in the end over themselves.

use alloc::{sync::Arc, vec::Vec};
use core::cmp::Reverse;

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::{Level, UnixNanos};

use crate::{
    CompactionStrategy, Inputs, MergePlan, OutputSpec, Plan, PlanView, Reason, RunPart, Settings,
    heal::rewrite,
    span::{Span, any_overlaps},
};

/// A table that was rewritten in place and is still due is not taken again for this long: whatever kept its deletes
/// alive does not go away by trying.
const RETRY_SECS: u64 = 3600;

/// Takes tables that are due for their deletes or for their age. Best after a strategy that keeps the tree in shape:
/// [`Fallback`](crate::Fallback)`(Leveled::default(), Overdue::default())`.
///
/// A table goes into the next level that holds something below it, with what it overlaps there; when nothing is left
/// below, it is rewritten where it stands. Deletes at or above the watermark are not due: they have to stay.
/// Of a level with several runs the oldest one is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overdue {
    /// A table is due when deletes have been in it for this long.
    pub delete_deadline_secs: Option<u64>,
    /// A table is due when at least this share of its entries are tombstones, in percent.
    pub delete_percent: Option<u8>,
    /// A table is due when it was written this long ago: old codecs, keys and filters go that way.
    pub age_secs: Option<u64>,
    /// Length of an output, in bytes.
    pub table_target_bytes: u64,
}

impl Default for Overdue {
    /// Deletes are due after a week, or when they are half of a table.
    fn default() -> Self {
        Self {
            delete_deadline_secs: Some(7 * 24 * 3600),
            delete_percent: Some(50),
            age_secs: None,
            table_target_bytes: 64 << 20,
        }
    }
}

impl CompactionStrategy for Overdue {
    fn name(&self) -> &'static str {
        "OverdueCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .with("delete_deadline_secs", self.delete_deadline_secs)
            .with("delete_percent", self.delete_percent.map(u64::from))
            .with("age_secs", self.age_secs)
            .with("table_target_bytes", self.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let rules = [
            self.delete_deadline_secs.and_then(|secs| view.written_by(secs)).map(Rule::Deadline),
            self.delete_percent.map(|percent| Rule::Share(u16::from(percent.min(100)) * 10)),
            self.age_secs.and_then(|secs| view.written_by(secs)).map(Rule::Age),
        ];
        rules.into_iter().flatten().find_map(|rule| self.apply(view, rule)).unwrap_or(Plan::Idle)
    }
}

/// What makes a table due.
#[derive(Clone, Copy)]
enum Rule {
    /// It has deletes and was written by then.
    Deadline(UnixNanos),
    /// It has at least this share of tombstones, in thousandths.
    Share(u16),
    /// It was written by then.
    Age(UnixNanos),
}

impl Rule {
    fn reason(self) -> Reason {
        match self {
            Self::Deadline(_) => Reason::DeleteDeadline,
            Self::Share(_) => Reason::Tombstones,
            Self::Age(_) => Reason::Age,
        }
    }

    /// How overdue a table, or the worst table of a chunk, is; `None` when it is not due.
    fn weigh(self, written: UnixNanos, deletes: Option<UnixNanos>, share: u16) -> Option<u64> {
        match self {
            Self::Deadline(by) => deletes.filter(|at| *at <= by).map(|at| u64::MAX - at.get()),
            Self::Share(least) => (share > 0 && share >= least).then(|| u64::from(share)),
            Self::Age(by) => (written <= by).then(|| u64::MAX - written.get()),
        }
    }

    fn is_for_deletes(self) -> bool {
        !matches!(self, Self::Age(_))
    }
}

impl Overdue {
    /// The plan for the table that is most overdue by a rule: over all levels, by what their chunks know of themselves.
    fn apply(&self, view: &PlanView<'_>, rule: Rule) -> Option<Plan> {
        let oldest_runs = view.levels.iter().filter_map(|(level, runs)| Some((level, runs.runs().last()?)));
        let mut chunks: Vec<_> = oldest_runs
            .flat_map(|(level, run)| run.tables.chunks().iter().map(move |chunk| (level, run, chunk)))
            .filter_map(|(level, run, chunk)| {
                let worst =
                    rule.weigh(chunk.oldest_at(), chunk.oldest_deletes_at(), chunk.delete_share_max())?;
                Some((worst, level, run, chunk))
            })
            .collect();
        chunks.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        // Usually the first chunk has a table that can be taken.
        chunks.into_iter().find_map(|(_, level, run, chunk)| {
            let due = chunk.tables().iter().filter_map(|table| {
                let deletes = table.has_deletes().then_some(table.created_at);
                Some((rule.weigh(table.created_at, deletes, table.delete_share())?, table))
            });
            // The most overdue one that can be taken; whether it can is asked of as few as possible.
            let mut due: Vec<_> = due.collect();
            due.sort_by_key(|(weight, table)| Reverse((*weight, table.id)));
            due.into_iter().find_map(|(_, table)| {
                let target = target_of(view, rule, level, table)?;
                self.take(view, rule, (level, run, table), target)
            })
        })
    }

    fn take(
        &self,
        view: &PlanView<'_>,
        rule: Rule,
        (level, run, table): (Level, &Run, &Arc<TableDescriptor>),
        target: Level,
    ) -> Option<Plan> {
        if target == level {
            return Some(rewrite(view, level, run, table, self.table_target_bytes, rule.reason()));
        }
        let part = RunPart { level, run: run.id, tables: alloc::vec![table.clone()] };
        let inputs = Inputs::new([part]).with_overlapping(view, target);
        if inputs.tables().any(|table| view.busy.contains(table.id)) {
            return None;
        }
        let output = OutputSpec::new(view, &inputs, target, target, self.table_target_bytes);
        Some(Plan::Merge(MergePlan { inputs, output, reason: rule.reason() }))
    }
}

/// The level a due table goes to; `None` when it has to wait.
fn target_of(view: &PlanView<'_>, rule: Rule, level: Level, table: &Arc<TableDescriptor>) -> Option<Level> {
    if view.busy.contains(table.id) || (rule.is_for_deletes() && table.seqnos.max >= view.watermark) {
        return None;
    }
    let spans = [Span::of(table)];
    let reaches = |run: &Run| any_overlaps(run, &spans, view.order());
    let mut deeper = view.levels.iter().filter(|(below, _)| *below > level);
    if let Some((next, _)) = deeper.find(|(_, runs)| runs.runs().iter().any(reaches)) {
        return Some(next);
    }
    view.written_by(RETRY_SECS).is_some_and(|by| table.created_at <= by).then_some(level)
}
