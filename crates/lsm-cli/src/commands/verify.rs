//! `lsm verify`: every byte of a database, of a copy of one, or of one file.

use std::{
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm::ErrorKind;
use lsm_fs::{DiskFile, DiskFs, Fs, SystemClock};
use lsm_repair::{Depth, Finding, Outcome, Pace, Scope, Splitters, VerifyOptions, VerifyReport};
use lsm_sst::{OpenOptions, Table as Sst, TableOptions};
use lsm_types::{Clock, KeyOrder};
use serde::Serialize;

use crate::{
    bytes::Notation,
    columns, database,
    failure::{Ending, Failure, causes},
    interrupt,
    keys::Keys,
    output::Output,
    progress::Progress,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Directory of a database or of a copy of one, or one of its files.
    path: PathBuf,
    /// How deep: v0 presence and length, v1 heads, v2 digests, v3 blocks, v4 entries, v5 index, filters and
    /// separated values, v6 manifest.
    #[arg(long, value_name = "DEPTH", default_value_t = Depth::Manifest)]
    level: Depth,
    /// Threads.
    #[arg(long, value_name = "COUNT", default_value_t = NonZeroUsize::MIN)]
    jobs: NonZeroUsize,
    /// Reads at most so many bytes in a second.
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    rate: Option<u64>,
    #[command(flatten)]
    notation: Notation,
}

impl Verify {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let clock = SystemClock::new();
        let start = clock.monotonic_nanos();
        let bar = Progress::steps("checking", None);
        let is_cancelled = || cancel.is_cancelled();
        let progress = |progress: &lsm_repair::Progress<'_>| bar.set(progress.files_done);
        let pause = |time| std::thread::sleep(time);
        let options = VerifyOptions {
            jobs: self.jobs,
            cancel: Some(&is_cancelled),
            progress: Some(&progress),
            pace: self.rate.map(|bytes_per_second| Pace { bytes_per_second, clock: &clock, pause: &pause }),
            encryption: keys.encryption()?,
            splitters: self.splitters(keys)?,
            ..VerifyOptions::default()
        };
        let checked = check(&self.path, self.level, &options)?;
        drop(bar);
        if checked.cursor.is_some() {
            interrupt::check(&cancel)?;
        }
        let report = Report::new(&checked, self.notation, clock.monotonic_nanos() - start);
        output.show(&report)?;
        Ok(if report.clean { Ending::Clean } else { Ending::Damaged })
    }

    /// What puts values of columnar tables together. Whatever cannot be opened is checked without it.
    fn splitters(&self, keys: &Keys) -> Result<Splitters, Failure> {
        if self.path.is_file() {
            let open =
                OpenOptions { encryption: keys.encryption()?, ..OpenOptions::new(KeyOrder::bytewise()) };
            let file = DiskFile::open(&self.path).map_err(lsm::Error::from);
            let table = file.and_then(|file| Sst::open(file, TableOptions::new().open(open)));
            return Ok(
                table.map_or_else(|_| Splitters::default(), |table| columns::splitters_of(table.meta()))
            );
        }
        let schema =
            database::open_to_read(&self.path, keys).ok().and_then(|tree| columns::schema_of(&tree).ok()?);
        let splitter = schema.and_then(|schema| columns::splitter(schema).ok());
        Ok(Splitters::new(splitter.into_iter().collect()))
    }
}

fn check(path: &Path, depth: Depth, options: &VerifyOptions<'_>) -> Result<VerifyReport, Failure> {
    let fs: Arc<dyn Fs> = Arc::new(DiskFs::new());
    let is_file = path.is_file();
    let scope =
        if is_file { Scope::File { fs: &fs, path } } else { Scope::Directory { fs: &fs, root: path } };
    lsm_repair::verify(&scope, depth, options).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Failure::NoDatabase { path },
            _ if is_file => Failure::OpenTable { path, source },
            _ => Failure::Open { path, source },
        }
    })
}

#[derive(Debug, Serialize)]
struct Report {
    clean: bool,
    level: &'static str,
    /// Files looked at, those of the manifest among them.
    files: u64,
    /// Tables without damage.
    tables: u64,
    /// Value logs without damage.
    value_logs: u64,
    blocks: u64,
    entries: u64,
    /// Values read in value logs; one that a table leads to once more.
    values: u64,
    bytes: u64,
    damage: Vec<Place>,
    warnings: Vec<Place>,
    /// Findings left out, of files that have very many.
    suppressed: u64,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

/// Something found, and where.
#[derive(Debug, Serialize)]
struct Place {
    file: String,
    /// The depth at which it showed.
    level: &'static str,
    section: Option<&'static str>,
    /// First byte concerned, where that is known.
    offset: Option<u64>,
    /// The keys concerned lie within.
    first_key: Option<String>,
    last_key: Option<String>,
    problem: String,
}

impl Place {
    fn new(finding: &Finding, notation: Notation) -> Self {
        let file = finding.file.to_string_lossy();
        let keys = finding.keys.as_ref();
        Self {
            file: if file.is_empty() { "manifest".to_owned() } else { file.into_owned() },
            level: finding.depth.name(),
            section: finding.section,
            offset: finding.offset,
            first_key: keys.map(|keys| notation.text(&keys.min)),
            last_key: keys.map(|keys| notation.text(&keys.max)),
            problem: causes(&finding.error),
        }
    }
}

impl Report {
    fn new(checked: &VerifyReport, notation: Notation, nanos: u64) -> Self {
        let places = |outcome: Outcome| {
            let findings = checked.findings.iter().filter(|finding| finding.outcome == outcome);
            findings.map(|finding| Place::new(finding, notation)).collect()
        };
        Self {
            clean: checked.is_clean(),
            level: checked.depth.name(),
            files: checked.files,
            tables: checked.sound_tables,
            value_logs: checked.sound_value_logs,
            blocks: checked.frames,
            entries: checked.entries,
            values: checked.values,
            bytes: checked.bytes_read,
            damage: places(Outcome::Fail),
            warnings: places(Outcome::Warn),
            suppressed: checked.suppressed,
            seconds: text::seconds(nanos),
            nanos,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = text::counted(self.tables, "sound table", "sound tables");
        let sound = match self.value_logs {
            0 => tables,
            count => format!("{tables}, {}", text::counted(count, "sound value log", "sound value logs")),
        };
        writeln!(
            f,
            "checked {}: {sound}, {}, {}, {} read in {}",
            text::counted(self.files, "file", "files"),
            text::counted(self.blocks, "block", "blocks"),
            text::counted(self.entries, "entry", "entries"),
            text::size(self.bytes),
            text::duration(self.nanos),
        )?;
        for warning in &self.warnings {
            write!(f, "to know: {warning}")?;
        }
        if self.damage.is_empty() {
            return writeln!(f, "no damage");
        }
        writeln!(
            f,
            "{}:",
            text::counted(self.damage.len() as u64, "thing is damaged", "things are damaged")
        )?;
        for damage in &self.damage {
            write!(f, "  {damage}")?;
        }
        if self.suppressed > 0 {
            writeln!(f, "  and {} more in files named above", text::count(self.suppressed))?;
        }
        writeln!(
            f,
            "try: bring these files back from a backup; `lsm table FILE` and `lsm vlog FILE` show what can still be read"
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        if let Some(section) = self.section {
            write!(f, ", {section}")?;
        }
        if let (Some(first), Some(last)) = (&self.first_key, &self.last_key) {
            let short = |key: &str| key.chars().take(KEY_WIDTH).collect::<String>();
            write!(f, ", keys {} to {}", short(first), short(last))?;
        }
        writeln!(f, "\n    {}", self.problem)
    }
}

const KEY_WIDTH: usize = 32;
