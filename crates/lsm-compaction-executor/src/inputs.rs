//! The tables of a job, for as long as it wants them.

use lsm_table::Table;
use lsm_types::TableId;
use parking_lot::RwLock;

/// The inputs of a job: runs, or parts of runs, newest first; the tables of each in key order.
///
/// A job that installs what it has made part by part lets go of tables on the way: their files go when the last handle
/// does, and the job's is one of them.
#[derive(Debug, Default)]
pub struct JobInputs {
    ids: Vec<TableId>,
    file_bytes: u64,
    entries: u64,
    runs: RwLock<Vec<Vec<Table>>>,
}

impl From<Vec<Vec<Table>>> for JobInputs {
    fn from(runs: Vec<Vec<Table>>) -> Self {
        let tables = || runs.iter().flatten();
        Self {
            ids: tables().map(Table::id).collect(),
            file_bytes: tables().map(|table| table.descriptor().live_bytes()).sum(),
            entries: tables().map(|table| table.descriptor().live_entries()).sum(),
            runs: RwLock::new(runs),
        }
    }
}

impl JobInputs {
    /// Numbers of all of them, of those let go of as well.
    pub fn ids(&self) -> &[TableId] {
        &self.ids
    }

    /// Bytes of all their files, of restricted tables those that are left.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Entries of all of them.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Those that are left, run by run.
    pub fn runs(&self) -> Vec<Vec<Table>> {
        self.runs.read().clone()
    }

    /// Those that are left.
    pub fn tables(&self) -> Vec<Table> {
        self.runs.read().iter().flatten().cloned().collect()
    }

    /// Changes what is left: each table for what `change` makes of it.
    pub(crate) fn change(&self, mut change: impl FnMut(Table) -> Option<Table>) {
        let mut runs = self.runs.write();
        for run in runs.iter_mut() {
            *run = std::mem::take(run).into_iter().filter_map(&mut change).collect();
        }
    }
}
