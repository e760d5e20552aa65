//! Files that no version knows yet.

use std::{path::PathBuf, sync::Arc};

use lsm_fs::{FsFile, OpenOptions};
use lsm_manifest::TableDescriptor;
use lsm_sst::Output;
use lsm_types::{Result, RouteId, TableId};

use crate::{Table, TableEnv, Throttle};

/// A new file that is removed when nobody says that it stays.
pub(crate) struct NewFile {
    env: Arc<TableEnv>,
    table: TableId,
    pub(crate) route: RouteId,
    path: PathBuf,
    /// `None` once it is synced: a job may stage more tables than the process may have files open.
    handle: Option<Arc<dyn FsFile>>,
    kept: bool,
}

impl NewFile {
    /// Creates the file of `table`, and gives the place where its bytes go.
    ///
    /// * `route`: where it lies.
    /// * `throttle`: asked before each piece that is written.
    pub(crate) fn create(
        env: &Arc<TableEnv>,
        (table, route): (TableId, RouteId),
        throttle: Option<Arc<dyn Throttle>>,
    ) -> Result<(Self, FileOutput)> {
        Self::create_at(env, (table, route), env.path(table, route), throttle)
    }

    /// Creates the file at `path`, whose number is taken from the same counter.
    pub(crate) fn create_at(
        env: &Arc<TableEnv>,
        (table, route): (TableId, RouteId),
        path: PathBuf,
        throttle: Option<Arc<dyn Throttle>>,
    ) -> Result<(Self, FileOutput)> {
        let handle = env.descriptors.make_room_for(|| env.fs.open(&path, &OpenOptions::CREATE_NEW))?;
        let output = FileOutput { handle: Some(handle.clone()), offset: 0, throttle };
        Ok((Self { env: env.clone(), table, route, path, handle: Some(handle), kept: false }, output))
    }

    /// Makes the bytes durable through the handle that wrote them, and closes it: only this handle is sure to be told
    /// of a write that did not arrive. Does nothing when that was done.
    pub(crate) fn sync_and_close(&mut self) -> Result<()> {
        match self.handle.take() {
            Some(handle) => Ok(handle.sync(self.env.sync_file)?),
            None => Ok(()),
        }
    }
}

impl NewFile {
    /// The file stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Opens the file again for `output`, when it was closed.
    pub(crate) fn reopen(&mut self, output: &mut FileOutput) -> Result<()> {
        if self.handle.is_none() {
            let open = || self.env.fs.open(&self.path, &OpenOptions::WRITE);
            let handle = self.env.descriptors.make_room_for(open)?;
            output.handle = Some(handle.clone());
            self.handle = Some(handle);
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Closed first: some systems refuse to remove a file that is open.
            drop(self.handle.take());
            self.env.remove_unborn(self.table, &self.path);
        }
    }
}

/// Where the bytes of a new table go.
pub(crate) struct FileOutput {
    /// `None` while the file is closed.
    handle: Option<Arc<dyn FsFile>>,
    offset: u64,
    throttle: Option<Arc<dyn Throttle>>,
}

impl FileOutput {
    pub(crate) fn close(&mut self) {
        self.handle = None;
    }
}

impl Output for FileOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let closed = lsm_types::IoError::new(lsm_types::IoOp::Write, lsm_types::IoKind::InvalidInput);
        let handle = self.handle.as_ref().ok_or(closed)?;
        if let Some(throttle) = &self.throttle {
            throttle.pass(bytes.len() as u64)?;
        }
        handle.write_at(self.offset, bytes).map_err(|error| error.source)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        self.offset += len; // what is never written is a hole
        Ok(())
    }
}

/// A finished table that no version knows yet. Dropping it removes the file.
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

    /// Makes its bytes durable, where the writer left that for later ([`MultiWriter::syncing_later`]).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// [`MultiWriter::syncing_later`]: crate::MultiWriter::syncing_later
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_and_close()
    }

    /// A handle for reading it.
    pub fn open(&self, env: &Arc<TableEnv>) -> Table {
        Table::new(env, self.descriptor.clone())
    }

    /// The file stays.
    pub fn keep(self) {
        self.file.keep();
    }
}

impl std::fmt::Debug for StagedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedTable({})", self.descriptor.id)
    }
}
