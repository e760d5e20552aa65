//! Getting one file into a checkpoint: a clone, a second name, or a copy.

use std::{ops::Range, path::Path};

use lsm_compaction_executor::Cancel;
use lsm_fs::{Capability, Fs, OpenOptions, SyncLevel};
use lsm_types::{IoError, IoKind, ReadAt, Result, TableId};

use crate::EngineError;

/// Bytes copied at once.
const COPY_LEN: usize = 1 << 20;

/// How a file came into a checkpoint.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CopyMethod {
    /// It shares its blocks with the original until one of them changes, which neither does.
    Reflinked,
    /// It is a second name of the original.
    Linked,
    /// It is a second name of a file of an earlier checkpoint.
    Reused,
    /// Its bytes were copied.
    Copied,
}

/// What is possible between two file systems, and wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) source: &'a dyn Fs,
    pub(crate) target: &'a dyn Fs,
    pub(crate) reflink: bool,
    pub(crate) link: bool,
    pub(crate) sync: SyncLevel,
}

impl<'a> Means<'a> {
    /// What is wanted and possible for files that go into `folder` of `target`.
    ///
    /// Names are only ever shared within one namespace that both sides know to be the same.
    pub(crate) fn between(
        source: &'a dyn Fs,
        target: &'a dyn Fs,
        folder: &Path,
        wanted: (bool, bool),
        sync: SyncLevel,
    ) -> Result<Self, IoError> {
        let namespace = source.namespace_id();
        let is_shared = namespace.is_some() && namespace == target.namespace_id();
        let (reflink, link) = wanted;
        let can_reflink = is_shared && reflink && target.capabilities(folder)?.has(Capability::Reflink);
        Ok(Self { source, target, reflink: can_reflink, link: is_shared && link, sync })
    }

    /// Brings the file at `from` to `to`, durable but for its name. Returns how, and how many better ways failed.
    ///
    /// * `skipped`: bytes that nobody reads; a copy has none of them.
    pub(crate) fn transfer(
        &self,
        from: &Path,
        to: &Path,
        skipped: &Range<u64>,
        cancel: &Cancel,
    ) -> Result<(CopyMethod, u64)> {
        let mut fallbacks = 0;
        if self.reflink {
            match self.source.reflink(from, to) {
                Ok(()) => {
                    // A clone is a new file: what it shares is durable, that it does so is not.
                    self.target.open(to, &OpenOptions::WRITE)?.sync(self.sync)?;
                    return Ok((CopyMethod::Reflinked, fallbacks));
                }
                Err(error) if is_impossible(error) => fallbacks += 1,
                Err(error) => return Err(error.into()),
            }
        }
        if self.link {
            match self.source.hard_link(from, to) {
                Ok(()) => return Ok((CopyMethod::Linked, fallbacks)),
                Err(error) if is_impossible(error) => fallbacks += 1,
                Err(error) => return Err(error.into()),
            }
        }
        self.copy(from, to, skipped, cancel)?;
        Ok((CopyMethod::Copied, fallbacks))
    }

    fn copy(&self, from: &Path, to: &Path, skipped: &Range<u64>, cancel: &Cancel) -> Result<()> {
        let source = self.source.open(from, &OpenOptions::READ)?;
        let target = self.target.open(to, &OpenOptions::CREATE_NEW)?;
        let len = source.len()?;
        let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN)];
        let mut offset = 0;
        while offset < len {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled.into());
            }
            if skipped.contains(&offset) {
                offset = skipped.end.min(len);
                continue;
            }
            let is_before = offset < skipped.start && !skipped.is_empty();
            let end = if is_before { skipped.start.min(len) } else { len };
            let step = usize::try_from(end - offset).unwrap_or(COPY_LEN).min(buffer.len());
            let part = buffer.get_mut(..step).unwrap_or_default();
            source.as_ref().read_exact_at(offset, part)?;
            target.write_at(offset, part)?;
            offset += step as u64;
        }
        if target.len()? < len {
            target.set_len(len)?;
        }
        Ok(target.sync(self.sync)?)
    }
}

/// Holds a file that came into a checkpoint against what the manifest says about it.
pub(crate) fn check_len(fs: &dyn Fs, path: &Path, (table, expected): (TableId, u64)) -> Result<()> {
    let found = fs.metadata(path)?.len;
    if found == expected {
        return Ok(());
    }
    Err(EngineError::FileLengthMismatch { table, expected, found }.into())
}

/// Whether an error says that this way is closed, rather than that something is wrong.
fn is_impossible(error: IoError) -> bool {
    matches!(error.kind, IoKind::CrossesDevices | IoKind::Unsupported | IoKind::PermissionDenied)
}
