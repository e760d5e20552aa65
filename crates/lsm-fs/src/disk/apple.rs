//! What macOS and its relatives do in their own way.
#![expect(clippy::unnecessary_wraps, reason = "the twins of this file can fail where this one cannot")]

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, CloneFlags};
use rustix::io::Errno;

use crate::{AccessHint, AllocateMode, Capabilities, SyncLevel, VolumeId};

/// `fsync` leaves bytes in the drive's cache, in any order. `F_FULLFSYNC` pushes them through; it stands in for the
/// barrier too, being stronger.
pub(super) fn sync(file: &File, level: SyncLevel) -> io::Result<()> {
    match level {
        SyncLevel::None => Ok(()),
        SyncLevel::Data | SyncLevel::Full => Ok(rustix::fs::fsync(file)?),
        SyncLevel::Barrier | SyncLevel::Device => Ok(rustix::fs::fcntl_fullfsync(file)?),
    }
}

/// `F_PREALLOCATE` can cut the file, so it is not used.
pub(super) fn allocate(_file: &File, _offset: u64, _len: u64, _mode: AllocateMode) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn punch_hole(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn hint(file: &File, hint: AccessHint) {
    if let AccessHint::WillNeed { offset, len } = hint {
        let _ = rustix::fs::fcntl_rdadvise(file, offset, len);
    }
}

pub(super) fn reflink(source: &Path, target: &Path) -> io::Result<()> {
    match rustix::fs::fclonefileat(File::open(source)?, CWD, target, CloneFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::NOTSUP | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
        Err(error) => Err(error.into()),
    }
}

/// APFS volumes share the space of their container, and nothing cheap tells which.
pub(super) fn volume_id(_path: &Path) -> io::Result<Option<VolumeId>> {
    Ok(None)
}

/// Mounts are not told apart here, so none promises anything.
pub(super) fn capabilities(_path: &Path) -> io::Result<Capabilities> {
    Ok(Capabilities::NONE)
}

pub(super) fn try_disable_cow(_dir: &Path) -> io::Result<bool> {
    Ok(false)
}
