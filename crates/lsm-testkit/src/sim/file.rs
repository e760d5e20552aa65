//! An open file on a simulated disk.

use std::fmt;
use std::path::{Path, PathBuf};

use lsm_fs::{AllocateMode, FsFile, LockMode, Metadata, SyncLevel, WriteError, check_range};
use lsm_types::{IoError, IoKind, IoOp};

use super::content::DataEffect;
use super::faults::Failure;
use super::fs::{SimFs, metadata_of};
use super::state::Target;
use super::trace::EventKind;
use super::volume::Ino;

/// An open file on a simulated disk.
pub(super) struct SimFile {
    fs: SimFs,
    ino: Ino,
    handle: u64,
    writable: bool,
    /// The name it was opened by, for the trace and for fault rules.
    path: PathBuf,
}

impl SimFile {
    pub(super) fn new(fs: SimFs, ino: Ino, handle: u64, writable: bool, path: &Path) -> Self {
        Self { fs, ino, handle, writable, path: path.to_owned() }
    }

    fn target(&self) -> Target<'_> {
        Target { ino: self.ino, handle: self.handle, path: &self.path }
    }

    fn check_writable(&self, op: IoOp) -> Result<(), IoError> {
        if self.writable { Ok(()) } else { Err(IoError::new(op, IoKind::PermissionDenied)) }
    }
}

impl FsFile for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError> {
        check_range(IoOp::Read, offset, out.len() as u64)?;
        let mut state = self.fs.enter(IoOp::Read, &[&self.path])?;
        let mut most = out.len();
        let failure =
            state.strike_range(IoOp::Read, &[&self.path], offset..offset.saturating_add(out.len() as u64));
        if let Some(Failure::Short(bytes, _)) = failure {
            most = most.min(bytes);
        } else if let Some(kind) = failure.as_ref().and_then(Failure::kind) {
            return Err(IoError::new(IoOp::Read, kind));
        }
        let content = state.live.content(IoOp::Read, self.ino)?;
        let read = content.read(offset, out.get_mut(..most).unwrap_or_default());
        if let Some(Failure::Corrupt { offset: at, mask }) = failure
            && let Some(byte) =
                usize::try_from(at - offset).ok().and_then(|at| out.get_mut(..read)?.get_mut(at))
        {
            *byte ^= mask;
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_writable(IoOp::Write)?;
        self.fs.enter(IoOp::Write, &[&self.path])?.write(&self.target(), Some(offset), bytes).map(|_| ())
    }

    fn append(&self, bytes: &[u8]) -> Result<u64, WriteError> {
        self.check_writable(IoOp::Write)?;
        self.fs.enter(IoOp::Write, &[&self.path])?.write(&self.target(), None, bytes)
    }

    fn len(&self) -> Result<u64, IoError> {
        Ok(self.fs.lock().live.content(IoOp::Read, self.ino)?.len())
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.check_writable(IoOp::Resize)?;
        check_range(IoOp::Resize, len, 0)?;
        self.fs
            .enter(IoOp::Resize, &[&self.path])?
            .run(IoOp::Resize, &[&self.path], |state| state.set_len(&self.target(), len))
    }

    fn sync(&self, level: SyncLevel) -> Result<(), IoError> {
        self.fs.enter(IoOp::Sync, &[&self.path])?.sync(&self.target(), level)
    }

    fn metadata(&self) -> Result<Metadata, IoError> {
        metadata_of(&self.fs.lock(), IoOp::Dir, self.ino)
    }

    fn allocate(&self, offset: u64, len: u64, mode: AllocateMode) -> Result<(), IoError> {
        self.check_writable(IoOp::Resize)?;
        let end = check_range(IoOp::Resize, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        self.fs.enter(IoOp::Resize, &[&self.path])?.run(IoOp::Resize, &[&self.path], |state| {
            if state.free_bytes() < len {
                return Err(IoError::new(IoOp::Resize, IoKind::NoSpace));
            }
            if mode == AllocateMode::ExtendLen && state.live.content(IoOp::Resize, self.ino)?.len() < end {
                state.set_len(&self.target(), end)?;
            }
            Ok(())
        })
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<(), IoError> {
        self.check_writable(IoOp::Punch)?;
        let end = check_range(IoOp::Punch, offset, len)?;
        self.fs.enter(IoOp::Punch, &[&self.path])?.run(IoOp::Punch, &[&self.path], |state| {
            let effect: DataEffect = state.live.content(IoOp::Punch, self.ino)?.punch_effect(offset, end);
            state.change_data(&self.target(), EventKind::Punch { offset, len }, effect);
            Ok(())
        })
    }

    fn try_lock(&self, mode: LockMode) -> Result<bool, IoError> {
        self.fs
            .enter(IoOp::Lock, &[&self.path])?
            .run(IoOp::Lock, &[&self.path], |state| Ok(state.try_lock(self.ino, self.handle, mode)))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.fs.lock().close_handle(self.ino, self.handle);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}
