//! Rows out of text: TSV, CSV and newline-delimited JSON.

mod delimited;
mod lines;
mod ndjson;
mod piped;

use std::{ffi::OsStr, fs::File, io::Read, path::Path};

use lsm::tree::Cancel;

pub(crate) use delimited::{Csv, Tsv};
pub(crate) use ndjson::NdJson;

use crate::failure::Failure;
use lines::Lines;
use piped::Piped;

/// What a line of text becomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Where rows come from.
pub(crate) trait Rows {
    /// Reads the next row into `row`; `None` at the end. A line that is no row is an error, and the one after it
    /// can be read.
    ///
    /// # Errors
    /// What is wrong with the line, and whether the lines after it can be read.
    fn next(&mut self, row: &mut Row) -> Option<Result<(), RowError>>;

    /// Number of the line on which the row read last, good or bad, begins; the first is 1.
    fn line(&self) -> u64;

    /// Bytes of the input used up so far.
    fn bytes(&self) -> u64;
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("the input cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the line is longer than {} MiB", max >> 20)]
    TooLong { max: usize },
    #[error("there is no line at all; a heading is expected")]
    NoHeading,
    #[error("the heading is not UTF-8")]
    HeadingNotUtf8,
    #[error("the heading names column `{name}` twice")]
    TwiceInHeading { name: String },
    #[error("there is no column `{name}`; there are {known}")]
    NoColumn { name: String, known: String },
    #[error("it has {found} fields, {expected} are expected")]
    FieldCount { found: usize, expected: usize },
    #[error("column `{name}` is not UTF-8, which JSON needs; `--value` takes a column as it is")]
    NotUtf8 { name: String },
    #[error("a quote is opened and never closed")]
    OpenQuote,
    #[error("a carriage return stands in the middle of the line; put the field into quotes")]
    StrayReturn,
    #[error("it is no JSON object")]
    Json(#[source] serde_json::Error),
    #[error("field `{name}` is missing")]
    NoField { name: String },
    #[error("column `{name}` holds a tab, which stands between the fields of a typed row")]
    TabInField { name: String },
    #[error(
        "there are {found} columns, and the schema has {expected}; without a heading it names all of them"
    )]
    ColumnCount { found: usize, expected: usize },
    #[error("the object has no fields")]
    NoFields,
    #[error("field `{name}` is the key and must be a string, a number, true or false")]
    NotAKey { name: String },
    #[error("it cannot be stored")]
    Refused(#[source] lsm::Error),
}

impl RowError {
    /// Whether nothing after this can be read.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// How rows are written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// Fields between tabs, without quotes.
    Tsv,
    /// Fields between commas, with quotes where needed.
    Csv,
    /// A JSON object on each line.
    Ndjson,
}

impl Format {
    /// What the end of a file's name says.
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase().as_str() {
            "tsv" | "tab" => Some(Self::Tsv),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tsv => "TSV",
            Self::Csv => "CSV",
            Self::Ndjson => "newline-delimited JSON",
        }
    }
}

/// Which parts of a row are used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Column of the key, by name or by number from 1. The first when there is none.
    pub(crate) key: Option<String>,
    /// Column of the value. The whole row when there is none.
    pub(crate) value: Option<String>,
    /// Columns of the value, which are put one behind the other with tabs between them.
    pub(crate) fields: Option<Vec<String>>,
    /// Whether the first line names the columns.
    pub(crate) has_heading: bool,
}

/// The input and its length, where that is known.
pub(crate) fn open(path: &Path, cancel: &Cancel) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(Piped::start(std::io::stdin(), cancel.clone())?), None));
    }
    let failed = |source| Failure::File { what: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        return Ok((Box::new(file), Some(metadata.len())));
    }
    Ok((Box::new(Piped::start(file, cancel.clone())?), None))
}

/// Rows of `input`.
pub(crate) fn read(
    input: Box<dyn Read>,
    format: Format,
    selection: &Selection,
) -> Result<Box<dyn Rows>, RowError> {
    let lines = Lines::new(input);
    Ok(match format {
        Format::Tsv => Box::new(Tsv::new(lines, selection)?),
        Format::Csv => Box::new(Csv::new(lines, selection)?),
        Format::Ndjson => Box::new(NdJson::new(lines, selection)),
    })
}
