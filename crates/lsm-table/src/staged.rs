//! Files that no version knows yet.

use std::{path::PathBuf, sync::Arc};

use lsm_fs::{FsFile, OpenOptions};
use lsm_manifest::TableDescriptor;
use lsm_sst::Output;
use lsm_types::Result;

use crate::{Table, TableEnv};

/// A new file that is removed when nobody says that it stays.
pub(crate) struct NewFile {
    env: Arc<TableEnv>,
    path: PathBuf,
    pub(crate) handle: Arc<dyn FsFile>,
    kept: bool,
}

impl NewFile {
    pub(crate) fn create(env: &Arc<TableEnv>, path: PathBuf) -> Result<Self> {
        let handle = env.fs.open(&path, &OpenOptions::CREATE_NEW)?;
        Ok(Self { env: env.clone(), path, handle, kept: false })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            self.env.remove(&self.path);
        }
    }
}

/// Where the bytes of a new table go.
pub(crate) struct FileOutput {
    handle: Arc<dyn FsFile>,
    offset: u64,
}

impl FileOutput {
    pub(crate) fn new(handle: Arc<dyn FsFile>) -> Self {
        Self { handle, offset: 0 }
    }
}

impl Output for FileOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.handle.write_at(self.offset, bytes).map_err(|error| error.source)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        self.offset += len; // what is never written is a hole
        Ok(())
    }
}

/// A finished and synced table that no version knows yet. Dropping it removes the file.
pub struct StagedTable {
    descriptor: Arc<TableDescriptor>,
    file: NewFile,
}

impl StagedTable {
    pub(crate) fn new(descriptor: TableDescriptor, file: NewFile) -> Self {
        Self { descriptor: Arc::new(descriptor), file }
    }

    /// What the manifest will say about it.
    pub fn descriptor(&self) -> &Arc<TableDescriptor> {
        &self.descriptor
    }

    /// A handle for reading it.
    pub fn open(&self, env: &Arc<TableEnv>) -> Table {
        Table::new(env, self.descriptor.clone())
    }

    /// The file stays.
    pub fn keep(mut self) {
        self.file.kept = true;
    }
}

impl std::fmt::Debug for StagedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedTable({})", self.descriptor.id)
    }
}
