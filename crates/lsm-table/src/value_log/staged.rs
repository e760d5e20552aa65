//! Value logs that no version knows yet.

use std::sync::Arc;

use super::{ValueLog, VlogEnv, VlogFacts};
use crate::staged::NewFile;

/// A finished and synced value log that no version knows yet. Dropping it removes the file.
pub struct StagedVlog {
    facts: Arc<VlogFacts>,
    file: NewFile,
}

impl StagedVlog {
    pub(super) fn new(facts: VlogFacts, file: NewFile) -> Self {
        Self { facts: Arc::new(facts), file }
    }

    /// What is known about it.
    pub fn facts(&self) -> &Arc<VlogFacts> {
        &self.facts
    }

    /// A handle for reading it.
    pub fn open(&self, env: &Arc<VlogEnv>) -> ValueLog {
        ValueLog::new(env, self.facts.clone())
    }

    /// The file stays.
    pub fn keep(self) {
        self.file.keep();
    }
}

impl std::fmt::Debug for StagedVlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedVlog({})", self.facts.id)
    }
}
