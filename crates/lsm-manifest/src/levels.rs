//! The levels of a tree: what a planner sees.

use alloc::{sync::Arc, vec::Vec};

use lsm_types::{KeyOrder, KeyRange, Level, RunId, TableId};

use crate::{Run, TableDescriptor};

/// The runs of one level, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LevelRuns {
    pub(crate) runs: Vec<Run>,
}

impl LevelRuns {
    /// The runs, newest first.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether the level holds nothing.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether no two tables of the level overlap because it is one run.
    pub fn is_disjoint(&self) -> bool {
        self.runs.len() <= 1
    }

    /// All tables, newest run first, each run in key order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        self.runs.iter().flat_map(|run| run.tables.iter())
    }

    /// Number of tables.
    pub fn table_count(&self) -> usize {
        self.runs.iter().map(|run| run.tables.len()).sum()
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.tables.file_bytes()).fold(0, u64::saturating_add)
    }

    /// The run with this number.
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// Smallest and largest entry key over all runs.
    pub fn key_range(&self, order: &KeyOrder) -> Option<KeyRange> {
        self.runs.iter().filter_map(|run| run.tables.key_range()).reduce(|a, b| a.union(&b, order))
    }

    pub(crate) fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id == id)
    }
}

/// All levels of a tree, immutable and cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Levels {
    pub(crate) levels: Vec<Arc<LevelRuns>>,
}

impl Levels {
    /// `count` empty levels.
    pub fn empty(count: u8) -> Self {
        Self { levels: (0..count).map(|_| Arc::default()).collect() }
    }

    /// Number of levels, empty ones included.
    pub fn count(&self) -> u8 {
        u8::try_from(self.levels.len()).unwrap_or(u8::MAX)
    }

    /// The deepest level.
    pub fn last(&self) -> Level {
        Level::new(self.count().saturating_sub(1))
    }

    /// The runs of a level; empty for a level that does not exist.
    pub fn level(&self, level: Level) -> &LevelRuns {
        const EMPTY: &LevelRuns = &LevelRuns { runs: Vec::new() };
        self.levels.get(usize::from(level.get())).map_or(EMPTY, Arc::as_ref)
    }

    /// All levels with their numbers, from 0 down.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Level, &LevelRuns)> {
        (0..self.count()).map(Level::new).zip(self.levels.iter().map(Arc::as_ref))
    }

    /// All tables with their levels, in the order in which reads look.
    pub fn tables(&self) -> impl Iterator<Item = (Level, &Arc<TableDescriptor>)> {
        self.iter().flat_map(|(level, runs)| runs.tables().map(move |table| (level, table)))
    }

    /// The table with this number, by a walk over all tables: for tools and tests.
    pub fn find_table(&self, id: TableId) -> Option<(Level, &Arc<TableDescriptor>)> {
        self.tables().find(|(_, table)| table.id == id)
    }

    /// Number of tables.
    pub fn table_count(&self) -> usize {
        self.levels.iter().map(|level| level.table_count()).sum()
    }
}
