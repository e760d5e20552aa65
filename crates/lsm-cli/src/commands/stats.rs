//! `lsm stats`: levels, tables and what they cost.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    database,
    failure::{Ending, Failure},
    grid::{Align, Grid},
    keys::Keys,
    levels::Levels,
    output::Output,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// Directory of the database.
    db: PathBuf,
}

impl Stats {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let tree = database::open_to_read(&self.db, keys)?;
        let stats = tree.stats();
        let raw_bytes: u64 = stats.levels.iter().map(|level| level.raw_bytes).sum();
        let report = Report {
            tables: stats.tables() as u64,
            entries: stats.levels.iter().map(|level| level.entries).sum(),
            delete_vectors: stats.levels.iter().map(|level| level.vectors).sum(),
            dead_entries: stats.levels.iter().map(|level| level.dead_entries).sum(),
            file_bytes: stats.file_bytes(),
            value_logs: stats.value_logs.files as u64,
            value_log_bytes: stats.value_logs.file_bytes,
            value_garbage_bytes: stats.value_logs.garbage_bytes(),
            value_garbage_tenths: stats.value_logs.garbage_tenths,
            raw_bytes,
            highest_seqno: stats.persisted.map(lsm::SeqNo::get),
            durable_seqno: tree.persisted().watermark.get(),
            read_amplification: stats.read_amplification() as u64,
            space_amplification: stats.space_amplification(),
            bytes_per_raw_byte: (raw_bytes > 0).then(|| text::quotient(stats.file_bytes(), raw_bytes)),
            levels: Levels::of_stats(&stats),
        };
        output.show(&report)?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    tables: u64,
    entries: u64,
    /// Tables of which some entries are marked dead.
    delete_vectors: usize,
    dead_entries: u64,
    file_bytes: u64,
    value_logs: u64,
    value_log_bytes: u64,
    value_garbage_bytes: u64,
    /// Value logs by their share of garbage: below a tenth, below two tenths, and so on.
    value_garbage_tenths: [usize; 10],
    raw_bytes: u64,
    highest_seqno: Option<u64>,
    durable_seqno: u64,
    read_amplification: u64,
    space_amplification: Option<f64>,
    bytes_per_raw_byte: Option<f64>,
    levels: Levels,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.levels)?;
        let mut grid = Grid::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        let mut row = |name: &str, figure: String, note: &str| {
            grid.row([name.to_owned(), figure, note.to_owned()]);
        };
        let none = || "-".to_owned();
        row("entries", text::count(self.entries), "old versions and deletes included");
        row("tables", text::count(self.tables), "");
        if self.delete_vectors > 0 {
            let besides = format!("besides, in {} of the tables", text::count(self.delete_vectors as u64));
            row("marked dead", text::count(self.dead_entries), &besides);
        }
        row("on disk", text::size(self.file_bytes), "");
        if self.value_logs > 0 {
            row("value logs", text::count(self.value_logs), "");
            row("values on disk", text::size(self.value_log_bytes), "beside the tables");
            row(
                "garbage in them",
                text::size(self.value_garbage_bytes),
                "values that nothing leads to any more",
            );
            let half: usize = self.value_garbage_tenths.iter().skip(5).sum();
            row("mostly garbage", text::count(half as u64), "value logs");
        }
        row("raw", text::size(self.raw_bytes), "keys and values as they were written");
        let ratio = self.bytes_per_raw_byte.map_or_else(none, text::ratio);
        row("disk per raw byte", ratio, "");
        row(
            "read amplification",
            text::count(self.read_amplification),
            "runs that a read may have to look into",
        );
        let space = self.space_amplification.map_or_else(none, text::ratio);
        row("space amplification", space, "all files per byte of the deepest level");
        let highest = self.highest_seqno.map_or_else(none, text::count);
        row("highest sequence number", highest, "");
        write!(f, "{grid}")
    }
}
