//! Outputs of a job that no version knows yet.

use lsm_table::{StagedTable, StagedVector, StagedVlog, TableEnv, VlogEnv};
use lsm_types::Result;

use crate::Failpoints;

/// Files a job has written. Dropping it deletes those that were not installed.
#[derive(Default)]
pub struct StagingArea {
    tables: Vec<StagedTable>,
    vlogs: Vec<StagedVlog>,
    vectors: Vec<StagedVector>,
}

impl StagingArea {
    /// Nothing staged.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.vlogs.is_empty() && self.vectors.is_empty()
    }

    /// Takes over finished, synced files.
    pub fn add(&mut self, tables: Vec<StagedTable>) {
        self.tables.extend(tables);
    }

    /// Takes over finished, synced value logs.
    pub fn add_vlogs(&mut self, vlogs: Vec<StagedVlog>) {
        self.vlogs.extend(vlogs);
    }

    /// Takes over finished, synced delete vectors.
    pub fn add_vectors(&mut self, vectors: Vec<StagedVector>) {
        self.vectors.extend(vectors);
    }

    /// The staged delete vectors.
    pub fn vectors(&self) -> &[StagedVector] {
        &self.vectors
    }

    /// The staged value logs.
    pub fn vlogs(&self) -> &[StagedVlog] {
        &self.vlogs
    }

    /// The staged tables.
    pub fn tables(&self) -> &[StagedTable] {
        &self.tables
    }

    /// Makes the names of the staged files durable. The files themselves were synced when they were finished.
    ///
    /// * `vlogs`: where value logs lie, if the tree has any.
    pub fn seal(&self, env: &TableEnv, vlogs: Option<&VlogEnv>, failpoints: &dyn Failpoints) -> Result<()> {
        failpoints.hit("sync.dir")?;
        if let Some(vlogs) = vlogs.filter(|_| !self.vlogs.is_empty()) {
            vlogs.sync_directory()?;
        }
        let tables = self.tables.iter().map(|table| table.descriptor().route);
        env.sync_folders(tables.chain(self.vectors.iter().map(StagedVector::route)))
    }

    /// The files belong to a version now, or may do so after a crash: they stay whatever happens.
    pub fn keep(&mut self) {
        for table in self.tables.drain(..) {
            table.keep();
        }
        for vlog in self.vlogs.drain(..) {
            vlog.keep();
        }
        for vector in self.vectors.drain(..) {
            vector.keep();
        }
    }
}
