//! Copying values out of old value logs.

use std::{collections::BTreeMap, sync::Arc};

use lsm_table::{Frames, StagedVlog, Throttle, ValueLog, VlogEnv, VlogWriter};
use lsm_types::{Error, ErrorKind, Result, ValueHandle, VlogId};

use super::{OnCorruption, Relocated, Relocation, batch::Batch};
use crate::Failpoints;

/// Copies the values of one segment.
pub(crate) struct Copier<'a> {
    relocation: &'a Relocation,
    /// The value logs to copy from.
    logs: BTreeMap<VlogId, ValueLog>,
    writer: VlogWriter,
    throttle: Arc<dyn Throttle>,
    failpoints: &'a dyn Failpoints,
    done: Relocated,
}

/// Frames of one file that lie side by side.
struct Stretch {
    log: VlogId,
    start: u64,
    end: u64,
    /// What was read; nothing where that failed, so that each value tells its own error.
    frames: Option<Frames>,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(
        relocation: &'a Relocation,
        env: &Arc<VlogEnv>,
        throttle: Arc<dyn Throttle>,
        failpoints: &'a dyn Failpoints,
    ) -> Self {
        let writer = VlogWriter::new(env).throttled(throttle.clone());
        let logs = relocation.logs.open();
        Self { relocation, logs, writer, throttle, failpoints, done: Relocated::default() }
    }

    /// Bytes of the new files so far.
    pub(super) fn written_len(&self) -> u64 {
        self.writer.written_len()
    }

    pub(super) fn readahead_bytes(&self) -> u64 {
        self.relocation.readahead_bytes.into()
    }

    /// Whether the value behind a handle is to be copied.
    pub(super) fn wants(&self, handle: &ValueHandle) -> bool {
        self.logs.contains_key(&handle.file)
    }

    /// Copies the values of a batch that are to be, and leads their entries to the copies.
    pub(super) fn relocate(&mut self, batch: &mut Batch) -> Result<()> {
        if batch.wanted.is_empty() {
            return Ok(());
        }
        self.failpoints.hit("relocate.read")?;
        let stretches = self.read(&batch.wanted)?;
        self.failpoints.hit("relocate.copy")?;
        for (at, handle) in std::mem::take(&mut batch.wanted) {
            let frames = frames_of(&stretches, &handle);
            match self.copy(&handle, batch.key(at), frames) {
                Ok(copy) => {
                    self.done.values += 1;
                    self.done.bytes += u64::from(copy.stored_len);
                    batch.lead(at, &copy);
                }
                Err(Failed::Source(error)) if self.relocation.on_corruption == OnCorruption::Carry => {
                    self.carry(&handle, &error);
                }
                Err(Failed::Source(error) | Failed::Other(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the files; their names are not synced yet.
    ///
    /// * `syncs_later`: the last file is not, either.
    pub(crate) fn finish(self, syncs_later: bool) -> Result<(Vec<StagedVlog>, Relocated)> {
        if self.done.values > 0 {
            self.failpoints.hit("relocate.seal")?;
        }
        let logs = if syncs_later { self.writer.finish_unsynced()? } else { self.writer.finish()? };
        Ok((logs, self.done))
    }

    /// Reads the frames of values that are not stored in chunks, file by file and in the order they lie in.
    fn read(&self, wanted: &[(usize, ValueHandle)]) -> Result<Vec<Stretch>> {
        let mut handles: Vec<_> = wanted.iter().map(|(_, handle)| *handle).collect();
        handles.retain(|handle| !handle.is_chunked() && self.leads_into_its_file(handle));
        handles.sort_unstable();
        let mut stretches: Vec<Stretch> = Vec::new();
        for handle in handles {
            let (log, start) = (handle.file, handle.offset);
            let end = start.saturating_add(handle.stored_len.into());
            match stretches.last_mut() {
                Some(last)
                    if last.log == log && last.end == start && end - last.start <= self.readahead_bytes() =>
                {
                    last.end = end;
                }
                _ => stretches.push(Stretch { log, start, end, frames: None }),
            }
        }
        for stretch in &mut stretches {
            let Some(source) = self.logs.get(&stretch.log) else { continue };
            self.throttle.pass(stretch.end - stretch.start)?;
            stretch.frames = source.frames(stretch.start..stretch.end).ok();
        }
        Ok(stretches)
    }

    /// Asked before memory is taken for what a handle claims.
    fn leads_into_its_file(&self, handle: &ValueHandle) -> bool {
        let source = self.logs.get(&handle.file);
        source.is_some_and(|source| source.layout().is_ok_and(|layout| layout.check_handle(handle).is_ok()))
    }

    fn copy(
        &mut self,
        handle: &ValueHandle,
        key: &[u8],
        frames: Option<&Frames>,
    ) -> Result<ValueHandle, Failed> {
        let Some(source) = self.logs.get(&handle.file) else { return Ok(*handle) };
        if handle.is_chunked() {
            self.look_at(source, handle, key)?;
            return self.writer.copy(source, handle, key).map_err(Failed::Other);
        }
        let alone = if frames.is_none() { Some(self.read_alone(source, handle)?) } else { None };
        let Some(frames) = frames.or(alone.as_ref()) else { return Ok(*handle) };
        // The bytes are in memory: nothing but a check finds fault with them.
        self.writer.copy_from(source, frames, handle, key).map_err(|error| {
            if is_about_the_value(&error) { Failed::Source(error) } else { Failed::Other(error) }
        })
    }

    /// Reads a value that could not be read along with its neighbours.
    fn read_alone(&self, source: &ValueLog, handle: &ValueHandle) -> Result<Frames, Failed> {
        let layout = source.layout().map_err(Failed::Source)?;
        layout.check_handle(handle).map_err(Failed::Source)?;
        self.throttle.pass(handle.stored_len.into()).map_err(Failed::Other)?;
        let end = handle.offset.saturating_add(handle.stored_len.into());
        source.frames(handle.offset..end).map_err(Failed::Source)
    }

    /// Reads a large value chunk by chunk where a fault of it must not end the job: once its copy is begun it is too late.
    fn look_at(&self, source: &ValueLog, handle: &ValueHandle, key: &[u8]) -> Result<(), Failed> {
        self.throttle.pass(handle.stored_len.into()).map_err(Failed::Other)?;
        if self.relocation.on_corruption == OnCorruption::Abort {
            return Ok(());
        }
        let mut start = 0;
        while start < handle.value_len {
            let end = start.saturating_add(ValueHandle::CHUNK_LEN);
            source.get_range(handle, key, start..end).map_err(Failed::Source)?;
            start = end;
        }
        Ok(())
    }

    fn carry(&mut self, handle: &ValueHandle, error: &Error) {
        self.done.carried += 1;
        if self.done.damaged.insert(handle.file) {
            tracing::warn!(log = %handle.file, %error, "a value cannot be copied; its value log stays");
        }
    }
}

/// Where a copy failed.
enum Failed {
    /// At what was to be copied.
    Source(Error),
    /// Anywhere else.
    Other(Error),
}

fn frames_of<'s>(stretches: &'s [Stretch], handle: &ValueHandle) -> Option<&'s Frames> {
    let at = stretches.partition_point(|one| (one.log, one.start) <= (handle.file, handle.offset));
    let stretch = stretches.get(at.checked_sub(1)?)?;
    let is_in = stretch.log == handle.file && handle.end().is_some_and(|end| end <= stretch.end);
    if is_in && !handle.is_chunked() { stretch.frames.as_ref() } else { None }
}

/// Whether stored bytes of a value are at fault, not those who copy it.
fn is_about_the_value(error: &Error) -> bool {
    error.is_corruption()
        || matches!(
            error.kind(),
            ErrorKind::UnsupportedFormat | ErrorKind::DictionaryMissing | ErrorKind::DictionaryMismatch
        )
}
