//! `lsm space`: what takes space on the disk, and what would free it.

use std::{fmt, path::PathBuf};

use lsm::tree::{ReliefKind, SpaceOptions, SpacePlan, SpaceStep, StorageStats};
use serde::Serialize;

use crate::{
    commands::write::next_seqno,
    database,
    failure::{Ending, Failure},
    grid::{Align, Grid},
    keys::Keys,
    output::Output,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Space {
    /// Directory of the database.
    db: PathBuf,
    /// What the files of the database may come to, such as 800MiB; what the disk holds when not given.
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    limit: Option<u64>,
}

impl Space {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let tree = database::open_to_read(&self.db, keys)?;
        let store = tree.store();
        store.set_space(SpaceOptions::default().admission(true).tight(true).limit_bytes(self.limit));
        // As `lsm compact` would find it: no reader needs what newer versions hide.
        tree.set_gc_watermark(next_seqno(&tree));
        let (stats, plan) = (store.storage_stats()?, store.space_plan()?);
        output.show(&Report::of(&stats, &plan))?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    table_bytes: u64,
    value_log_bytes: u64,
    value_garbage_bytes: u64,
    reclaimable_bytes: u64,
    /// `null` when the disk does not tell.
    capacity_bytes: Option<u64>,
    available_bytes: Option<u64>,
    full_compaction_bytes: u64,
    tight_compaction_bytes: u64,
    steps: Vec<StepReport>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    step: &'static str,
    tables: usize,
    dest: Option<u8>,
    frees_bytes: u64,
    transient_bytes: u64,
    fits: bool,
}

impl Report {
    fn of(stats: &StorageStats, plan: &SpacePlan) -> Self {
        let known = stats.space.capacity_bytes < u64::MAX;
        Self {
            table_bytes: stats.table_bytes,
            value_log_bytes: stats.value_log_bytes,
            value_garbage_bytes: stats.value_garbage_bytes,
            reclaimable_bytes: stats.reclaimable_bytes(),
            capacity_bytes: known.then_some(stats.space.capacity_bytes),
            available_bytes: known.then_some(stats.space.available_bytes),
            full_compaction_bytes: stats.space.full_compaction_bytes,
            tight_compaction_bytes: stats.space.tight_compaction_bytes,
            steps: plan.steps.iter().map(StepReport::of).collect(),
        }
    }
}

impl StepReport {
    fn of(step: &SpaceStep) -> Self {
        Self {
            step: match step.kind {
                ReliefKind::Drop => "drop",
                ReliefKind::Merge => "merge",
                ReliefKind::Relocate => "move values",
                ReliefKind::Slices => "merge all, by slices",
                _ => "other",
            },
            tables: step.tables.len(),
            dest: step.dest.map(lsm::compaction::Level::get),
            frees_bytes: step.frees_bytes,
            transient_bytes: step.transient_bytes,
            fits: step.fits,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut grid = Grid::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        let mut row = |name: &str, bytes: Option<u64>, note: &str| {
            grid.row([name.to_owned(), bytes.map_or_else(|| "-".to_owned(), text::size), note.to_owned()]);
        };
        row("tables", Some(self.table_bytes), "");
        if self.value_log_bytes > 0 {
            row("values beside them", Some(self.value_log_bytes), "");
            row("garbage in them", Some(self.value_garbage_bytes), "values that nothing leads to any more");
        }
        row("could be freed", Some(self.reclaimable_bytes), "an estimate, made without reading");
        row("may come to", self.capacity_bytes, "all files together");
        row("free", self.available_bytes, "");
        row("a full compaction needs", Some(self.full_compaction_bytes), "at once");
        row("one by slices needs", Some(self.tight_compaction_bytes), "`lsm compact --tight`");
        writeln!(f, "{grid}")?;
        if self.steps.is_empty() {
            return writeln!(f, "nothing would free space");
        }
        let mut grid = Grid::new(&[
            ("step", Align::Left),
            ("tables", Align::Right),
            ("into", Align::Left),
            ("frees", Align::Right),
            ("needs", Align::Right),
            ("", Align::Left),
        ]);
        for step in &self.steps {
            grid.row([
                step.step.to_owned(),
                text::count(step.tables as u64),
                step.dest.map_or_else(|| "-".to_owned(), |level| format!("L{level}")),
                format!("~{}", text::size(step.frees_bytes)),
                text::size(step.transient_bytes),
                if step.fits { "" } else { "no room" }.to_owned(),
            ]);
        }
        write!(f, "{grid}")
    }
}
