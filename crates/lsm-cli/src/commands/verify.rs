//! `lsm verify`: every block and every index entry of every table.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use lsm::tree::VerifyReport;
use lsm_fs::SystemClock;
use lsm_types::Clock;
use serde::Serialize;

use crate::{
    database,
    failure::{Ending, Failure, causes},
    output::Output,
    progress::Progress,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Directory of the database.
    db: PathBuf,
}

impl Verify {
    pub(crate) fn run(self, output: &mut Output) -> Result<Ending, Failure> {
        let clock = SystemClock::new();
        let start = clock.monotonic_nanos();
        let checked = check(&self.db)?;
        let report = Report::new(&checked, clock.monotonic_nanos() - start);
        output.show(&report)?;
        Ok(if report.damage.is_empty() { Ending::Clean } else { Ending::Damaged })
    }
}

/// Checks the tables without a lock. While somebody else compacts, a table may go while it is read; damage is
/// believed only where a second look, at what the manifest names by then, finds it again.
fn check(db: &Path) -> Result<VerifyReport, Failure> {
    let look = || {
        let _progress = Progress::steps("checking", None);
        Ok::<_, Failure>(database::open_to_examine(db)?.verify()?)
    };
    let first = look()?;
    if first.is_clean() {
        return Ok(first);
    }
    let suspects: BTreeSet<_> = first.damage.iter().map(|(table, _)| *table).collect();
    let mut second = look()?;
    second.damage.retain(|(table, _)| suspects.contains(table));
    Ok(second)
}

#[derive(Debug, Serialize)]
struct Report {
    clean: bool,
    tables: u64,
    blocks: u64,
    entries: u64,
    bytes: u64,
    damage: Vec<Damage>,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

#[derive(Debug, Serialize)]
struct Damage {
    file: String,
    /// First byte concerned, where that is known.
    offset: Option<u64>,
    problem: String,
}

impl Report {
    fn new(checked: &VerifyReport, nanos: u64) -> Self {
        let damage = checked.damage.iter().map(|(table, error)| Damage {
            file: format!("tables/{:020}.sst", table.get()),
            offset: error.location().map(|location| location.offset),
            problem: causes(error),
        });
        Self {
            clean: checked.is_clean(),
            tables: checked.tables as u64,
            blocks: checked.blocks,
            entries: checked.entries,
            bytes: checked.bytes,
            damage: damage.collect(),
            seconds: text::seconds(nanos),
            nanos,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "checked {}: {}, {}, {} in {}",
            text::counted(self.tables, "sound table", "sound tables"),
            text::counted(self.blocks, "block", "blocks"),
            text::counted(self.entries, "entry", "entries"),
            text::size(self.bytes),
            text::duration(self.nanos),
        )?;
        if self.damage.is_empty() {
            return writeln!(f, "no damage");
        }
        writeln!(
            f,
            "{}:",
            text::counted(self.damage.len() as u64, "table is damaged", "tables are damaged")
        )?;
        for damage in &self.damage {
            let place = damage.offset.map(|offset| format!(", byte {offset}")).unwrap_or_default();
            writeln!(f, "  {}{place}\n    {}", damage.file, damage.problem)?;
        }
        writeln!(
            f,
            "try: bring these files back from a backup; `lsm table FILE` shows what can still be read"
        )
    }
}
