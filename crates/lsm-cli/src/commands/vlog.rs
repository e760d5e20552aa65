//! `lsm vlog`: what is in one file of separated values. It needs no database around it, and no engine.

use std::{fmt, path::PathBuf};

use lsm_fs::DiskFile;
use lsm_types::Slice;
use lsm_vlog::{LocatorHints, ScannedValue, Vlog as ValueLog, VlogLayout};
use serde::Serialize;

use crate::{
    bytes::Notation,
    failure::{Ending, Failure},
    grid::{Align, Grid},
    keys::Keys,
    output::Output,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Vlog {
    /// The file.
    file: PathBuf,
    /// Values shown, from the first one on.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    values: usize,
    /// Reads and checks every value.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    notation: Notation,
}

const KEY_WIDTH: usize = 32;

impl Vlog {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let failed = |source: lsm::Error| Failure::OpenVlog { path: self.file.clone(), source };
        let file = DiskFile::open(&self.file).map_err(|error| failed(error.into()))?;
        let log = ValueLog::open(file, LocatorHints::default(), keys.encryption()?).map_err(failed)?;
        let mut report = Report::new(log.meta(), self.notation);
        for value in log.scan().take(self.values) {
            match value {
                Ok(value) => report.first.push(ValueReport::new(&value, self.notation)),
                // Told below, with whatever else is wrong, where everything is checked.
                Err(_) if self.verify => break,
                Err(error) => report.findings.push(error.to_string()),
            }
        }
        if self.verify {
            let mut findings = Vec::new();
            let verified = log.verify(None, &mut |error| findings.push(error.to_string()))?;
            report.verified_values = Some(verified.values);
            report.findings = findings;
        }
        let is_sound = report.findings.is_empty() && report.detours.is_empty();
        output.show(&report)?;
        Ok(if is_sound { Ending::Clean } else { Ending::Damaged })
    }
}

#[derive(Debug, Serialize)]
struct Report {
    id: u64,
    writer: String,
    comparator: String,
    file_bytes: u64,
    values: u64,
    chunked_values: u64,
    key_bytes: u64,
    value_bytes: u64,
    stored_bytes: u64,
    raw_frames: u64,
    lz4_frames: u64,
    zstd_frames: u64,
    first_seqno: Option<u64>,
    last_seqno: Option<u64>,
    first_key: Option<String>,
    last_key: Option<String>,
    first: Vec<ValueReport>,
    /// Values read by a full check.
    verified_values: Option<u64>,
    findings: Vec<String>,
    /// Damage that was got around while opening.
    detours: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ValueReport {
    key: String,
    seqno: u64,
    offset: u64,
    stored_bytes: u32,
    value_bytes: u32,
    chunked: bool,
    #[serde(skip)]
    key_text: String,
}

impl ValueReport {
    fn new(value: &ScannedValue, notation: Notation) -> Self {
        Self {
            key: notation.text(&value.key),
            seqno: value.seqno.get(),
            offset: value.handle.offset,
            stored_bytes: value.handle.stored_len,
            value_bytes: value.handle.value_len,
            chunked: value.handle.is_chunked(),
            key_text: notation.short(&value.key, KEY_WIDTH),
        }
    }
}

impl Report {
    fn new(layout: &VlogLayout, notation: Notation) -> Self {
        let properties = layout.properties();
        let key = |pick: fn(&(Slice, Slice)) -> &Slice| {
            properties.keys.as_ref().map(|keys| notation.text(pick(keys)))
        };
        Self {
            id: properties.file.get(),
            writer: properties.writer.clone(),
            comparator: properties.comparator.clone(),
            file_bytes: layout.file_len(),
            values: properties.values,
            chunked_values: properties.chunked_values,
            key_bytes: properties.key_bytes,
            value_bytes: properties.value_bytes,
            stored_bytes: properties.stored_bytes,
            raw_frames: properties.codecs.raw,
            lz4_frames: properties.codecs.lz4,
            zstd_frames: properties.codecs.zstd,
            first_seqno: properties.seqnos.map(|(min, _)| min.get()),
            last_seqno: properties.seqnos.map(|(_, max)| max.get()),
            first_key: key(|keys| &keys.0),
            last_key: key(|keys| &keys.1),
            first: Vec::new(),
            verified_values: None,
            findings: Vec::new(),
            detours: layout.detours().iter().map(ToString::to_string).collect(),
        }
    }

    fn properties(&self) -> Grid {
        let mut grid = Grid::new(&[("", Align::Left), ("", Align::Left)]);
        let mut row = |name: &str, fact: String| grid.row([name.to_owned(), fact]);
        row("value log", format!("{}, written by {}", self.id, self.writer));
        row("order of keys", self.comparator.clone());
        row("file", text::size(self.file_bytes));
        let chunked = text::count(self.chunked_values);
        row("values", format!("{}, {chunked} of them in chunks", text::count(self.values)));
        let (raw, stored) = (text::size(self.value_bytes), text::size(self.stored_bytes));
        row("bytes", format!("{raw} of values, {} of keys, {stored} stored", text::size(self.key_bytes)));
        row(
            "frames",
            format!(
                "{} raw, {} lz4, {} zstd",
                text::count(self.raw_frames),
                text::count(self.lz4_frames),
                text::count(self.zstd_frames),
            ),
        );
        if let (Some(first), Some(last)) = (self.first_seqno, self.last_seqno) {
            row("sequence numbers", format!("{} to {}", text::count(first), text::count(last)));
        }
        if let Some(values) = self.verified_values {
            row("checked", text::counted(values, "value", "values"));
        }
        grid
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.properties())?;
        if !self.first.is_empty() {
            let mut grid = Grid::new(&[
                ("offset", Align::Right),
                ("seqno", Align::Right),
                ("stored", Align::Right),
                ("value", Align::Right),
                ("key", Align::Left),
            ]);
            for value in &self.first {
                grid.row([
                    text::count(value.offset),
                    text::count(value.seqno),
                    text::size(value.stored_bytes.into()),
                    text::size(value.value_bytes.into()),
                    value.key_text.clone(),
                ]);
            }
            write!(f, "\nfirst values\n{grid}")?;
        }
        for finding in &self.findings {
            writeln!(f, "\ndamaged: {finding}")?;
        }
        for detour in &self.detours {
            writeln!(f, "\ndamaged, but read another way: {detour}")?;
        }
        Ok(())
    }
}
