//! `lsm compact`: merges tables.

use std::{fmt, path::PathBuf};

use lsm::tree::{CompactOptions, CompactionTotals};
use lsm_fs::SystemClock;
use lsm_types::Clock;
use serde::Serialize;

use crate::{
    commands::write::next_seqno,
    database,
    failure::{Ending, Failure},
    interrupt,
    keys::Keys,
    levels::Levels,
    maintenance,
    output::Output,
    progress::Progress,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Compact {
    /// Directory of the database.
    db: PathBuf,
    /// Merges everything into the last level, instead of what the leveled strategy finds worthwhile.
    #[arg(long)]
    major: bool,
}

impl Compact {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let clock = SystemClock::new();
        let tree = database::open_existing(&self.db, keys)?;
        let start = clock.monotonic_nanos();
        let before = Levels::of(&tree);
        // Nobody else has the database open: no reader needs what newer versions hide.
        tree.set_gc_watermark(next_seqno(&tree));
        let progress = Progress::steps("compacting", None);
        let jobs = if self.major {
            let options = CompactOptions::default().cancel(cancel.clone());
            u64::from(tree.major_compact(&options)?.did_work())
        } else {
            maintenance::settle(&tree, &cancel)?
        };
        drop(progress);
        let after = Levels::of(&tree);
        let entries = Entries::of(&tree.stats().compactions);
        tree.close()?;
        let nanos = clock.monotonic_nanos() - start;
        output.show(&Report { jobs, before, after, entries, seconds: text::seconds(nanos), nanos })?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    jobs: u64,
    before: Levels,
    after: Levels,
    entries: Entries,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

/// What became of entries in merges.
#[derive(Debug, Serialize)]
struct Entries {
    read: u64,
    written: u64,
    shadowed: u64,
    evicted: u64,
    annihilated: u64,
    range_deleted: u64,
    folded: u64,
    filtered: u64,
    range_tombstones_read: u64,
    range_tombstones_written: u64,
}

impl Entries {
    fn of(totals: &CompactionTotals) -> Self {
        let dropped = totals.entries_dropped;
        Self {
            read: totals.entries_in,
            written: totals.entries_out,
            shadowed: dropped.shadowed,
            evicted: dropped.evicted,
            annihilated: dropped.annihilated,
            range_deleted: dropped.range_deleted,
            folded: dropped.folded,
            filtered: dropped.filtered,
            range_tombstones_read: totals.range_tombstones_in,
            range_tombstones_written: totals.range_tombstones_out,
        }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries read, {} written", self.read, self.written)?;
        let reasons = [
            (self.shadowed, "hidden by newer ones"),
            (self.evicted, "deletes with nothing left to hide"),
            (self.annihilated, "of weak deletes and their values"),
            (self.range_deleted, "deleted with their range"),
            (self.folded, "folded into others"),
            (self.filtered, "filtered"),
        ];
        reasons
            .iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, why)| write!(f, ", {count} {why}"))?;
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs == 0 {
            return write!(f, "nothing to compact\n{}", self.after);
        }
        let jobs = text::counted(self.jobs, "job", "jobs");
        let Self { before, entries, after, .. } = self;
        write!(f, "before\n{before}{entries}after {jobs} in {}\n{after}", text::duration(self.nanos))
    }
}
