//! What the levels of a tree hold, as a report.

use std::fmt;

use lsm::tree::{Tree, TreeStats};
use serde::Serialize;

use crate::{
    grid::{Align, Grid},
    text,
};

/// The levels that hold anything.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Levels(Vec<LevelReport>);

#[derive(Clone, Debug, Serialize)]
struct LevelReport {
    level: u8,
    runs: usize,
    tables: usize,
    entries: u64,
    tombstones: u64,
    file_bytes: u64,
    raw_bytes: u64,
    /// Bytes of all filters in the files.
    filter_bytes: u64,
    /// Tables with a filter over keys.
    filtered_tables: usize,
    /// Bits of filters for each entry of these tables.
    filter_bits_per_entry: Option<f64>,
}

impl Levels {
    pub(crate) fn of(tree: &Tree) -> Self {
        Self::of_stats(&tree.stats())
    }

    pub(crate) fn of_stats(stats: &TreeStats) -> Self {
        let used = stats.levels.iter().filter(|level| level.tables > 0);
        let levels = used.map(|level| LevelReport {
            level: level.level.get(),
            runs: level.runs,
            tables: level.tables,
            entries: level.entries,
            tombstones: level.tombstones,
            file_bytes: level.file_bytes,
            raw_bytes: level.raw_bytes,
            filter_bytes: level.filters.file_bytes,
            filtered_tables: level.filters.tables,
            filter_bits_per_entry: level.filters.bits_per_entry(),
        });
        Self(levels.collect())
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "  no tables");
        }
        let mut grid = Grid::new(&[
            ("level", Align::Left),
            ("runs", Align::Right),
            ("tables", Align::Right),
            ("entries", Align::Right),
            ("deletes", Align::Right),
            ("on disk", Align::Right),
            ("raw", Align::Right),
            ("filters", Align::Right),
            ("bits/entry", Align::Right),
        ]);
        for level in &self.0 {
            grid.row([
                format!("L{}", level.level),
                text::count(level.runs as u64),
                text::count(level.tables as u64),
                text::count(level.entries),
                text::count(level.tombstones),
                text::size(level.file_bytes),
                text::size(level.raw_bytes),
                text::size(level.filter_bytes),
                level.filter_bits_per_entry.map_or_else(|| "-".to_owned(), text::ratio),
            ]);
        }
        write!(f, "{grid}")
    }
}
