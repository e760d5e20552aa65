//! What stops a command, the exit code it leads to, and what to do about it.

use std::{io, path::PathBuf};

use lsm::{Error, ErrorClass, ErrorKind};

use crate::{
    columns::{ConditionError, SchemaError},
    rows::RowError,
};

/// How a command that did its work ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Nothing to complain about.
    Clean,
    /// Stored bytes are damaged.
    Damaged,
    /// What was asked for is not there.
    Absent,
}

impl From<Ending> for std::process::ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Clean => Self::SUCCESS,
            Ending::Damaged => Self::from(DAMAGED),
            Ending::Absent => Self::from(FAILED),
        }
    }
}

const DAMAGED: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_OPEN: u8 = 3;
const FAILED: u8 = 4;
/// What a shell reports for a program that ended through Ctrl-C.
const INTERRUPTED: u8 = 130;

/// What stops a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot open the database {}", path.display())]
    Open { path: PathBuf, source: Error },
    #[error("cannot look into {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot open {}: no database is there", path.display())]
    NoDatabase { path: PathBuf },
    #[error("cannot create a database in {}: other files are there", path.display())]
    Occupied { path: PathBuf },
    #[error("the database {} was not made by the demo, which would replace what is in it", path.display())]
    NotTheDemo { path: PathBuf },
    #[error("cannot open the table {}", path.display())]
    OpenTable { path: PathBuf, source: Error },
    #[error("cannot open the value log {}", path.display())]
    OpenVlog { path: PathBuf, source: Error },
    #[error("cannot make the checkpoint {}", target.display())]
    Checkpoint { target: PathBuf, source: Error },
    #[error("the engine reports a problem")]
    Engine(#[source] Error),
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the key file {} cannot be used", path.display())]
    KeyFile { path: PathBuf, source: Error },
    #[error("this command needs the keys of the database")]
    NoKeyFile,
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    #[error("a signal handler cannot be set up")]
    Signals(#[source] io::Error),
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    #[error("{input}, line {line}")]
    Row { input: String, line: u64, source: RowError },
    #[error("{input} is not readable as {format}")]
    Input { input: String, format: &'static str, source: RowError },
    #[error("the format of {input} is not clear from its name")]
    UnknownFormat { input: String },
    #[error("{argument} {value:?}: {problem}")]
    Argument { argument: &'static str, value: String, problem: &'static str },
    #[error("--schema {text:?}")]
    Schema { text: String, source: SchemaError },
    #[error("--where {text:?}")]
    Condition { text: String, source: ConditionError },
    #[error("there is no column `{name}`; there are {known}")]
    NoSuchColumn { name: String, known: String },
    #[error("the database has no columns: it was not loaded with a schema")]
    NoColumns,
    #[error("nothing says how far an earlier load came: its mark is missing in the database")]
    NothingToResume,
    #[error("the first {records} lines of {input} are not the ones that were loaded before")]
    OtherInput { input: String, records: u64 },
    #[error("{} reads back different from the file it came from", key)]
    ReadBack { key: String },
    #[error("there is no room to compact: {available} free, {needed} needed for the smallest slice")]
    NoRoom { available: String, needed: String },
    #[error("a scan yielded {found} entries where {expected} were written")]
    ScanCount { found: u64, expected: u64 },
    #[error("interrupted{note}")]
    Interrupted { note: String },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.kind() == ErrorKind::Cancelled {
            return Self::Interrupted { note: String::new() };
        }
        Self::Engine(error)
    }
}

impl Failure {
    /// The exit code of the program.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OpenTable { source, .. }
            | Self::OpenVlog { source, .. }
            | Self::Checkpoint { source, .. }
            | Self::Engine(source)
                if source.is_corruption() =>
            {
                DAMAGED
            }
            Self::ReadBack { .. } | Self::ScanCount { .. } => DAMAGED,
            Self::Open { .. }
            | Self::OpenTable { .. }
            | Self::OpenVlog { .. }
            | Self::Folder { .. }
            | Self::NoDatabase { .. }
            | Self::Occupied { .. }
            | Self::NotTheDemo { .. } => CANNOT_OPEN,
            Self::UnknownFormat { .. }
            | Self::Argument { .. }
            | Self::Schema { .. }
            | Self::Condition { .. }
            | Self::NoSuchColumn { .. }
            | Self::KeyFile { .. }
            | Self::NoKeyFile => USAGE,
            Self::Interrupted { .. } => INTERRUPTED,
            _ => FAILED,
        }
    }

    /// Whether the reader of our output went away.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Open { path, source } => return Some(advice_on_opening(path, source.kind())),
            Self::NoDatabase { .. } => {
                "check the path; `lsm load DB FILE` or `lsm put DB KEY VALUE` makes a new database"
            }
            Self::Occupied { .. } => "give a path that does not exist yet, or an empty directory",
            Self::NotTheDemo { .. } => "give another path with `--db`",
            Self::OpenTable { source, .. } | Self::OpenVlog { source, .. }
                if source.kind().is_about_keys() =>
            {
                "give the keys of its database with `--key-file FILE`, or none where it is not sealed"
            }
            Self::OpenTable { source, .. } => match source.kind().class() {
                ErrorClass::Corrupt => "`lsm verify DB` shows what else in its database is damaged",
                ErrorClass::Io => "check the path and the rights on the file",
                _ => "give a table file: `tables/*.sst` below a database",
            },
            Self::OpenVlog { source, .. } => match source.kind().class() {
                ErrorClass::Corrupt => "bring the file back from a backup",
                ErrorClass::Io => "check the path and the rights on the file",
                _ => "give a file of separated values: `blobs/*.blob` below a database",
            },
            Self::Checkpoint { source, .. } => match source.kind() {
                ErrorKind::AlreadyExists => "give a directory that does not exist yet",
                ErrorKind::InvalidArgument => {
                    "give a directory outside of the database, and an earlier checkpoint"
                }
                ErrorKind::NotOurs => {
                    "look into the staging directory beside the target, and give another target"
                }
                kind => return advice_on_work(kind).map(str::to_owned),
            },
            Self::Engine(error) => return advice_on_work(error.kind()).map(str::to_owned),
            Self::File { .. } | Self::Folder { .. } => "check the path and the rights on the file",
            Self::Row { .. } => {
                "correct the line and go on with `lsm load --resume`, or pass over such lines with `--on-error skip`"
            }
            Self::KeyFile { .. } => "write a line `NUMBER HEX` with 64 hexadecimal digits for each key",
            Self::NoKeyFile => "say `--key-file FILE`",
            Self::Input { .. } => "check `--format`, `--key` and `--no-header`",
            Self::UnknownFormat { .. } => "say `--format tsv`, `--format csv` or `--format ndjson`",
            Self::NoColumns => "load its rows into a new database with `lsm load --schema`",
            Self::NothingToResume => "load without `--resume`",
            Self::OtherInput { .. } => "give the file of the earlier load, or load without `--resume`",
            Self::NoRoom { .. } => {
                "make room on the disk, or raise `--limit`; `lsm space DB` shows what takes it"
            }
            Self::ReadBack { .. } | Self::ScanCount { .. } => "`lsm verify DB` shows what is damaged",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// An error with everything that led to it, on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// One answer for each thing that keeps a database from opening.
fn advice_on_opening(path: &std::path::Path, kind: ErrorKind) -> String {
    let path = path.display();
    match kind {
        ErrorKind::Locked => {
            "wait until the other program has closed it; `get`, `scan`, `stats` and `verify` work meanwhile"
                .into()
        }
        ErrorKind::UnsupportedFormat | ErrorKind::NotBuilt | ErrorKind::Unsupported => {
            "this version of lsm is older than the database, or lacks a part it needs; use a newer one".into()
        }
        ErrorKind::ComparatorMismatch => {
            "its keys have an order of their own; open it with the program that made it".into()
        }
        ErrorKind::InvalidConfig => "leave out `--schema`, or give the one that it has".into(),
        ErrorKind::KeyRequired => "it is sealed; say `--key-file FILE`".into(),
        ErrorKind::UnknownKey | ErrorKind::WrongKey => {
            "the key file lacks this key, or has another under its number; give the file of this database"
                .into()
        }
        ErrorKind::PlaintextRejected => {
            "it is not sealed; leave out `--key-file`, or seal it with `lsm rekey --accept-plain`".into()
        }
        ErrorKind::MissingFiles | ErrorKind::FileLengthMismatch => {
            format!("`lsm verify {path}` lists what is damaged; bring these files back from a backup")
        }
        ErrorKind::ManifestRegression => {
            "an older manifest was put back beside newer tables; restore the whole directory from one backup"
                .into()
        }
        kind if kind.class() == ErrorClass::Corrupt => {
            "the manifest is damaged; copy the directory before anything else, then restore it from a backup"
                .into()
        }
        kind if kind.class() == ErrorClass::NoSpace => "make room on the disk and try again".into(),
        _ => "check the path and the rights on the directory".into(),
    }
}

fn advice_on_work(kind: ErrorKind) -> Option<&'static str> {
    match kind.class() {
        ErrorClass::Corrupt => Some("`lsm verify DB` lists what is damaged"),
        ErrorClass::NoSpace => Some("make room on the disk and try again; what was durable before still is"),
        ErrorClass::Fenced => {
            Some("run the command again: it is not known whether the last change reached the disk")
        }
        ErrorClass::Io => Some("if another program is writing this database, run the command again"),
        _ => None,
    }
}
