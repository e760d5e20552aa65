//! Outputs of a job that no version knows yet.

use lsm_table::{StagedTable, TableEnv};
use lsm_types::Result;

use crate::Failpoints;

/// Files a job has written. Dropping it deletes those that were not installed.
#[derive(Default)]
pub struct StagingArea {
    tables: Vec<StagedTable>,
}

impl StagingArea {
    /// Nothing staged.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over finished, synced files.
    pub fn add(&mut self, tables: Vec<StagedTable>) {
        self.tables.extend(tables);
    }

    /// The staged files.
    pub fn tables(&self) -> &[StagedTable] {
        &self.tables
    }

    /// Makes the names of the staged files durable. The files themselves were synced when they were finished.
    pub fn seal(&self, env: &TableEnv, failpoints: &dyn Failpoints) -> Result<()> {
        failpoints.hit("sync.dir")?;
        env.sync_folders(self.tables.iter().map(|table| table.descriptor().route))
    }

    /// The files belong to a version now, or may do so after a crash: they stay whatever happens.
    pub fn keep(&mut self) {
        for table in self.tables.drain(..) {
            table.keep();
        }
    }
}
