//! `lsm checkpoint`: a copy that is a database of its own.

use std::{fmt, path::PathBuf};

use lsm::tree::{CheckpointInfo, CheckpointOptions, CopyMethod};
use lsm_fs::SystemClock;
use lsm_types::{Clock, ErrorKind, FileKind};
use serde::Serialize;

use crate::{
    database,
    failure::{Ending, Failure},
    interrupt,
    keys::Keys,
    output::Output,
    progress::Progress,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    /// Directory of the database.
    db: PathBuf,
    /// Directory to make; must not exist, but the one above it must.
    target: PathBuf,
    /// Copies every byte, instead of sharing table files where the file system can.
    #[arg(long)]
    copy: bool,
    /// An earlier checkpoint: tables that are in it are linked from there.
    #[arg(long, value_name = "DIR")]
    since: Option<PathBuf>,
}

impl Checkpoint {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let clock = SystemClock::new();
        let tree = database::open_existing(&self.db, keys)?;
        let start = clock.monotonic_nanos();
        let mut options = CheckpointOptions::default();
        options.cancel = cancel;
        options.since = self.since;
        (options.reflink, options.hard_link) = (!self.copy, !self.copy);
        let progress = Progress::steps("copying", None);
        let taken = tree.checkpoint(&self.target, &options);
        drop(progress);
        let info = taken.map_err(|source| match source.kind() {
            ErrorKind::Cancelled => source.into(),
            _ => Failure::Checkpoint { target: self.target.clone(), source },
        })?;
        tree.close()?;
        output.show(&Report::new(&self.target, &info, clock.monotonic_nanos() - start))?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    target: PathBuf,
    /// Every write numbered below it is in the checkpoint.
    seqno: u64,
    tables: u64,
    value_logs: u64,
    bytes: u64,
    linked_bytes: u64,
    reflinked_bytes: u64,
    reused_bytes: u64,
    copied_bytes: u64,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

impl Report {
    fn new(target: &std::path::Path, info: &CheckpointInfo, nanos: u64) -> Self {
        let value_logs = info.files.iter().filter(|file| file.kind == FileKind::ValueLog).count() as u64;
        Self {
            target: target.to_owned(),
            seqno: info.seqno.get(),
            tables: info.files.len() as u64 - value_logs,
            value_logs,
            bytes: info.bytes(),
            linked_bytes: info.bytes_by(CopyMethod::Linked),
            reflinked_bytes: info.bytes_by(CopyMethod::Reflinked),
            reused_bytes: info.bytes_by(CopyMethod::Reused),
            copied_bytes: info.bytes_by(CopyMethod::Copied),
            seconds: text::seconds(nanos),
            nanos,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tables = text::counted(self.tables, "table", "tables");
        if self.value_logs > 0 {
            let logs = text::counted(self.value_logs, "value log", "value logs");
            tables = format!("{tables} and {logs}");
        }
        let (bytes, took) = (text::size(self.bytes), text::duration(self.nanos));
        writeln!(f, "{} holds {tables}, {bytes}, taken in {took}", self.target.display())?;
        let shared = self.linked_bytes + self.reflinked_bytes + self.reused_bytes;
        writeln!(
            f,
            "{} shared with other files, {} copied",
            text::size(shared),
            text::size(self.copied_bytes)
        )
    }
}
