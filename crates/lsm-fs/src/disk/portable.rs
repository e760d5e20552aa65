//! What any Unix can do, and an honest refusal of the rest.
#![expect(clippy::unnecessary_wraps, reason = "the twins of this file can fail where this one cannot")]

use std::fs::File;
use std::io;
use std::path::Path;

use crate::{AccessHint, AllocateMode, Capabilities, SyncLevel, VolumeId};

pub(super) fn sync(file: &File, level: SyncLevel) -> io::Result<()> {
    match level {
        SyncLevel::None => Ok(()),
        SyncLevel::Data => file.sync_data(),
        SyncLevel::Full | SyncLevel::Barrier | SyncLevel::Device => file.sync_all(),
    }
}

pub(super) fn allocate(_file: &File, _offset: u64, _len: u64, _mode: AllocateMode) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn punch_hole(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn hint(_file: &File, _hint: AccessHint) {}

pub(super) fn reflink(_source: &Path, _target: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn volume_id(_path: &Path) -> io::Result<Option<VolumeId>> {
    Ok(None)
}

pub(super) fn capabilities(_path: &Path) -> io::Result<Capabilities> {
    Ok(Capabilities::NONE)
}

pub(super) fn try_disable_cow(_dir: &Path) -> io::Result<bool> {
    Ok(false)
}
