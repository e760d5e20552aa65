//! `lsm compact`: merges tables.

use std::{fmt, path::PathBuf};

use lsm::tree::CompactOptions;
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
        tree.close()?;
        let nanos = clock.monotonic_nanos() - start;
        output.show(&Report { jobs, before, after, seconds: text::seconds(nanos), nanos })?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    jobs: u64,
    before: Levels,
    after: Levels,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs == 0 {
            return write!(f, "nothing to compact\n{}", self.after);
        }
        let jobs = text::counted(self.jobs, "job", "jobs");
        write!(f, "before\n{}after {jobs} in {}\n{}", self.before, text::duration(self.nanos), self.after)
    }
}
