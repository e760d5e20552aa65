//! What a flavour gets to know about the job it carries out.

use std::sync::Arc;

use lsm_compaction_planner::OutputSpec;
use lsm_iter::Retention;
use lsm_table::{Table, TableEnv};
use lsm_types::{KeyOrder, TableId};

use crate::{Cancel, Failpoints, Lease, OutsideContainer};

/// A leased and validated merge.
pub struct Job {
    /// Runs, or parts of runs, newest first; the tables of each in key order.
    pub inputs: Vec<Vec<Table>>,
    /// Where the outputs go and how large they get.
    pub output: OutputSpec,
    /// Number of levels of the tree.
    pub level_count: u8,
    /// Order of keys.
    pub order: KeyOrder,
    /// Which history has to stay readable.
    pub retention: Retention,
    /// Lists what is not an input and may hold keys of the job.
    pub outside: Arc<dyn Fn() -> Vec<OutsideContainer> + Send + Sync>,
    /// Where tables are written and read.
    pub env: Arc<TableEnv>,
    /// Stops the job.
    pub cancel: Cancel,
    /// Makes the job fail on purpose.
    pub failpoints: Arc<dyn Failpoints>,
    /// Keeps other jobs away from the inputs.
    pub lease: Lease,
}

impl Job {
    /// Numbers of the inputs.
    pub fn input_ids(&self) -> Vec<TableId> {
        self.inputs.iter().flatten().map(Table::id).collect()
    }

    /// Bytes of the input files.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().flatten().map(|table| table.descriptor().file_len).sum()
    }

    /// Entries of the inputs.
    pub fn input_entries(&self) -> u64 {
        self.inputs.iter().flatten().map(|table| table.descriptor().counts.entries).sum()
    }
}
