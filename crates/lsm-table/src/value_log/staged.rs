//! Value logs that no version knows yet.

use std::sync::Arc;

use lsm_manifest::VlogDescriptor;
use lsm_types::Result;

use super::{ValueLog, VlogEnv};
use crate::staged::NewFile;

/// A finished value log that no version knows yet. Dropping it removes the file.
pub struct StagedVlog {
    descriptor: Arc<VlogDescriptor>,
    file: NewFile,
}

impl StagedVlog {
    pub(super) fn new(descriptor: VlogDescriptor, file: NewFile) -> Self {
        Self { descriptor: Arc::new(descriptor), file }
    }

    /// What the manifest will say about it.
    pub fn descriptor(&self) -> &Arc<VlogDescriptor> {
        &self.descriptor
    }

    /// Makes its bytes durable, where the writer left that for later ([`VlogWriter::finish_unsynced`]).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// [`VlogWriter::finish_unsynced`]: super::VlogWriter::finish_unsynced
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_and_close()
    }

    /// A handle for reading it.
    pub fn open(&self, env: &Arc<VlogEnv>) -> ValueLog {
        ValueLog::new(env, self.descriptor.clone(), 0)
    }

    /// The file stays.
    pub fn keep(self) {
        self.file.keep();
    }
}

impl std::fmt::Debug for StagedVlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedVlog({})", self.descriptor.id)
    }
}
