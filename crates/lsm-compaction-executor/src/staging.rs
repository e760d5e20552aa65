//! Outputs of a job that no version knows yet.

use std::thread;

use lsm_table::{StagedTable, StagedVector, StagedVlog, TableEnv, VlogEnv};
use lsm_types::Result;

use crate::{ExecutorError, Failpoints, crew::panic_message};

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

    /// Takes over finished tables.
    pub fn add(&mut self, tables: Vec<StagedTable>) {
        self.tables.extend(tables);
    }

    /// Takes over finished value logs.
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

    /// Makes the files durable as far as they were not synced when they were finished.
    ///
    /// * `at_once`: tables and value logs at the same time, so that a file system that writes its journal for one writes it
    ///   for both.
    pub(crate) fn sync(&mut self, at_once: bool) -> Result<()> {
        let Self { tables, vlogs, .. } = self;
        if !at_once || tables.is_empty() || vlogs.is_empty() {
            tables.iter_mut().try_for_each(StagedTable::sync)?;
            return vlogs.iter_mut().try_for_each(StagedVlog::sync);
        }
        let beside = thread::scope(|scope| {
            let sync = || vlogs.iter_mut().try_for_each(StagedVlog::sync);
            let beside = thread::Builder::new().name("lsm-sync".to_owned()).spawn_scoped(scope, sync);
            tables.iter_mut().try_for_each(StagedTable::sync)?;
            beside.map(thread::ScopedJoinHandle::join).map_or(Ok(()), |joined| {
                joined.unwrap_or_else(|panic| {
                    let message = panic_message(panic.as_ref());
                    Err(ExecutorError::Panicked { message }.into())
                })
            })
        });
        // Where there was no thread to be had, nothing of it was done; otherwise this does nothing.
        beside.and_then(|()| vlogs.iter_mut().try_for_each(StagedVlog::sync))
    }

    /// Makes the names of the staged files durable. The files themselves were synced before.
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
