//! Which tables a running job owns.

use std::sync::Arc;

use lsm_compaction_planner::{BusySet, Inputs};
use parking_lot::Mutex;

/// The tables that running jobs own; no other job may take them.
#[derive(Clone, Debug, Default)]
pub struct BusyTables(Arc<Mutex<BusySet>>);

impl BusyTables {
    /// What is busy now.
    pub fn snapshot(&self) -> BusySet {
        self.0.lock().clone()
    }

    /// Takes all of `inputs`, or none when one is taken.
    pub fn lease(&self, inputs: &Inputs) -> Option<Lease> {
        self.0.lock().lease(inputs).then(|| Lease { busy: self.clone(), inputs: inputs.clone() })
    }
}

/// Ownership of the inputs of a job, given back when it drops, whatever the reason.
#[derive(Debug)]
pub struct Lease {
    busy: BusyTables,
    inputs: Inputs,
}

impl Lease {
    /// The tables owned.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.busy.0.lock().release(&self.inputs);
    }
}
