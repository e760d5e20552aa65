//! The one way in which value logs come to be: separation and relocation write through here.

use std::sync::Arc;

use lsm_block::Superblock;
use lsm_types::{ReadAt, Result, RouteId, SeqNo, TableId, ValueHandle, VlogId};
use lsm_vlog::{VlogBuilder, VlogOptions};

use super::{StagedVlog, ValueLog, VlogEnv, describe};
use crate::{
    Throttle,
    staged::{FileOutput, NewFile},
};

/// Writes values into value logs, one after another; a file is begun by the first value it takes.
///
/// Dropping the writer removes what it wrote.
pub struct VlogWriter {
    env: Arc<VlogEnv>,
    throttle: Option<Arc<dyn Throttle>>,
    open: Option<OpenLog>,
    done: Vec<StagedVlog>,
}

struct OpenLog {
    builder: VlogBuilder<FileOutput>,
    file: NewFile,
    superblock: Superblock,
}

impl VlogWriter {
    /// A writer of value logs.
    pub fn new(env: &Arc<VlogEnv>) -> Self {
        Self { env: env.clone(), throttle: None, open: None, done: Vec::new() }
    }

    /// The same writer; `throttle` is asked before each piece that is written.
    pub fn throttled(mut self, throttle: Arc<dyn Throttle>) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// Writes a value and returns its handle.
    ///
    /// # Errors
    /// Limits, which refuse the value alone; what the file system says: the writer can then only be dropped.
    pub fn add(&mut self, key: &[u8], seqno: SeqNo, value: &[u8]) -> Result<ValueHandle> {
        self.log()?.builder.add(key, seqno, value)
    }

    /// Copies the value behind `handle` of `source`, as it is stored, and returns its new handle.
    ///
    /// # Errors
    /// As [`VlogBuilder::copy`].
    pub fn copy(&mut self, source: &ValueLog, handle: &ValueHandle, key: &[u8]) -> Result<ValueHandle> {
        self.copy_from(source, source.bytes(), handle, key)
    }

    /// As [`VlogWriter::copy`], with the bytes of `source` read from `bytes`.
    ///
    /// # Errors
    /// As [`VlogBuilder::copy`].
    pub fn copy_from<R: ReadAt + ?Sized>(
        &mut self,
        source: &ValueLog,
        bytes: &R,
        handle: &ValueHandle,
        key: &[u8],
    ) -> Result<ValueHandle> {
        let layout = source.layout()?;
        self.log()?.builder.copy((layout, bytes), handle, key)
    }

    /// Bytes written to all files so far.
    pub fn written_len(&self) -> u64 {
        let done = self.done.iter().map(|log| log.descriptor().file_len);
        done.sum::<u64>() + self.open.as_ref().map_or(0, |open| open.builder.written_len())
    }

    /// Ends the open file; the next value begins another one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn end_file(&mut self) -> Result<()> {
        self.end_unsynced()?.map_or(Ok(()), StagedVlog::sync)
    }

    /// Ends the open file, and leaves it to the caller to sync it.
    fn end_unsynced(&mut self) -> Result<Option<&mut StagedVlog>> {
        let Some(OpenLog { builder, file, superblock }) = self.open.take() else { return Ok(None) };
        if builder.is_empty() {
            return Ok(None); // what was to come was refused: the file goes
        }
        let (summary, output) = builder.finish()?;
        drop(output);
        self.done.push(StagedVlog::new(describe(&superblock, &summary), file));
        Ok(self.done.last_mut())
    }

    /// Ends the last file; all files in the order they were begun, synced, their names not yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self) -> Result<Vec<StagedVlog>> {
        self.end_file()?;
        Ok(std::mem::take(&mut self.done))
    }

    /// As [`VlogWriter::finish`]; the last file is left to the caller to be synced ([`StagedVlog::sync`]).
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish_unsynced(mut self) -> Result<Vec<StagedVlog>> {
        self.end_unsynced()?;
        Ok(std::mem::take(&mut self.done))
    }

    /// The file that the next value goes to.
    fn log(&mut self) -> Result<&mut OpenLog> {
        let target = self.env.policy.target_bytes;
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.builder.written_len() >= target && !open.builder.is_empty())
        {
            self.end_file()?;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        Ok(self.open.insert(open))
    }

    fn begin(&self) -> Result<OpenLog> {
        let (env, policy) = (&self.env.tables, &self.env.policy);
        let id = VlogId::new(env.ids.next()?.get());
        let (superblock, transforms) = self.env.begin(id)?;
        let (file, output) = NewFile::create_at(
            env,
            (TableId::new(id.get()), RouteId::PRIMARY),
            self.env.path(id),
            self.throttle.clone(),
        )?;
        let options = VlogOptions {
            compression: policy.compression,
            dictionary: policy.dictionary,
            directory_every: policy.directory_every,
            ..VlogOptions::new(env.order.clone())
        };
        let builder = VlogBuilder::with_transforms((superblock.clone(), transforms), options, output)?;
        Ok(OpenLog { builder, file, superblock })
    }
}
