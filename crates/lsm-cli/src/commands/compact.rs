//! `lsm compact`: merges tables.

use std::{fmt, path::PathBuf, sync::Arc};

use lsm::tree::{
    CompactOptions, CompactionTotals, Event, EventListener, Outcome, Sliced, SpaceOptions, Tree,
};
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
    /// As `--major`, with what room there is: slice by slice where it does not fit as a whole, each slice giving back
    /// what it took the place of.
    #[arg(long)]
    tight: bool,
    /// With `--tight`: what the files of the database may come to meanwhile, such as 800MiB; what the disk holds when not
    /// given.
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size, requires = "tight")]
    limit: Option<u64>,
}

impl Compact {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let clock = SystemClock::new();
        let progress = Arc::new(Progress::share("compacting"));
        let tree = database::open_existing_told(&self.db, keys, Arc::new(Slices(progress.clone())))?;
        let start = clock.monotonic_nanos();
        let before = Levels::of(&tree);
        // Nobody else has the database open: no reader needs what newer versions hide.
        tree.set_gc_watermark(next_seqno(&tree));
        let mut sliced = None;
        let jobs = progress.shown_while(&tree, || {
            if !self.major && !self.tight {
                return Ok::<_, Failure>(maintenance::settle(&tree, &cancel)?);
            }
            if self.tight {
                tree.store().set_space(SpaceOptions::default().admission(true).limit_bytes(self.limit));
            }
            let options = CompactOptions::default().cancel(cancel.clone()).tight(self.tight);
            let mut jobs = 0;
            loop {
                let done = tree.major_compact(&options)?;
                if let Outcome::Refused(_) = done.outcome {
                    return Err(no_room(&tree));
                }
                jobs += u64::from(done.did_work());
                sliced = done.sliced.map(SlicesReport::of).or(sliced);
                // A part of it fitted, and gave back what makes room for more.
                if !done.narrowed {
                    return Ok(jobs);
                }
            }
        })?;
        drop(progress);
        let after = Levels::of(&tree);
        let entries = Entries::of(&tree.stats().compactions);
        tree.close()?;
        let nanos = clock.monotonic_nanos() - start;
        let seconds = text::seconds(nanos);
        output.show(&Report { jobs, before, after, entries, sliced, seconds, nanos })?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    jobs: u64,
    before: Levels,
    after: Levels,
    entries: Entries,
    #[serde(skip_serializing_if = "Option::is_none")]
    sliced: Option<SlicesReport>,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

/// How far a merge came that was done slice by slice.
#[derive(Clone, Copy, Debug, Serialize)]
struct SlicesReport {
    slices: u64,
    /// Bytes of inputs that are left; 0 when it is through.
    remaining_bytes: u64,
}

impl SlicesReport {
    fn of(sliced: Sliced) -> Self {
        Self { slices: sliced.slices, remaining_bytes: sliced.remaining_bytes }
    }
}

impl fmt::Display for SlicesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", text::counted(self.slices, "slice", "slices"))?;
        match self.remaining_bytes {
            0 => writeln!(f),
            left => writeln!(f, ", {} are left for lack of room; run it again", text::size(left)),
        }
    }
}

fn no_room(tree: &Tree) -> Failure {
    let space = tree.store().space();
    Failure::NoRoom {
        available: text::size(space.available_bytes),
        needed: text::size(space.tight_compaction_bytes),
    }
}

/// A line for each slice where no bar is shown, and a note above it where one is.
struct Slices(Arc<Progress>);

impl EventListener for Slices {
    fn event(&self, event: &Event) {
        let Event::SliceInstalled(_, sliced) = event else { return };
        let (done, left) = (text::size(sliced.released_bytes), text::size(sliced.remaining_bytes));
        self.0.line(&format!("slice {}: {done} merged, {left} left", sliced.slices));
    }
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
        write!(f, "before\n{before}{entries}")?;
        self.sliced.iter().try_for_each(|sliced| write!(f, "{sliced}"))?;
        write!(f, "after {jobs} in {}\n{after}", text::duration(self.nanos))
    }
}
