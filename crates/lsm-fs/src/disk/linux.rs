//! What Linux does in its own way.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, IFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::{AccessHint, AllocateMode, Capabilities, Capability, SyncLevel, VolumeId};

/// File system types, as `statfs` numbers them (`linux/magic.h`; ZFS uses its own).
const BTRFS: i128 = 0x9123_683E;
const EXT4: i128 = 0xEF53;
const TMPFS: i128 = 0x0102_1994;
const XFS: i128 = 0x5846_5342;
const ZFS: i128 = 0x2FC1_2FC1;

/// `fsync` flushes the drive's cache too, so only [`SyncLevel::Data`] differs from the rest.
pub(super) fn sync(file: &File, level: SyncLevel) -> io::Result<()> {
    match level {
        SyncLevel::None => Ok(()),
        SyncLevel::Data => file.sync_data(),
        SyncLevel::Full | SyncLevel::Barrier | SyncLevel::Device => file.sync_all(),
    }
}

pub(super) fn allocate(file: &File, offset: u64, len: u64, mode: AllocateMode) -> io::Result<()> {
    let flags = match mode {
        AllocateMode::KeepLen => FallocateFlags::KEEP_SIZE,
        AllocateMode::ExtendLen => FallocateFlags::empty(),
    };
    Ok(retry_on_intr(|| rustix::fs::fallocate(file, flags, offset, len))?)
}

pub(super) fn punch_hole(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(retry_on_intr(|| rustix::fs::fallocate(file, flags, offset, len))?)
}

/// A mount may refuse any advice; nothing depends on it being taken.
pub(super) fn hint(file: &File, hint: AccessHint) {
    let (offset, len, advice) = match hint {
        AccessHint::Default => (0, None, Advice::Normal),
        AccessHint::Sequential => (0, None, Advice::Sequential),
        AccessHint::Random => (0, None, Advice::Random),
        AccessHint::WriteOnce => (0, None, Advice::DontNeed),
        AccessHint::WillNeed { len: 0, .. } => return,
        AccessHint::WillNeed { offset, len } => (offset, NonZeroU64::new(len), Advice::WillNeed),
    };
    let _ = rustix::fs::fadvise(file, offset, len, advice);
}

pub(super) fn reflink(source: &Path, target: &Path) -> io::Result<()> {
    let from = File::open(source)?;
    let to = File::create_new(target)?;
    rustix::fs::ioctl_ficlone(&to, &from).map_err(|error| {
        // Best effort: the error that matters is the one of the clone.
        let _ = std::fs::remove_file(target);
        match error {
            // How mounts that cannot share blocks, or cannot share these, say so.
            Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS => Errno::OPNOTSUPP.into(),
            error => error.into(),
        }
    })
}

/// The device, except where several devices draw from one pool.
pub(super) fn volume_id(path: &Path) -> io::Result<Option<VolumeId>> {
    match mount_type(path)? {
        EXT4 | TMPFS | XFS => Ok(Some(VolumeId(std::fs::metadata(path)?.dev()))),
        _ => Ok(None),
    }
}

pub(super) fn capabilities(path: &Path) -> io::Result<Capabilities> {
    use Capability as C;
    if cfg!(target_pointer_width = "32") {
        return Ok(Capabilities::NONE);
    }
    let durable_names = Capabilities::NONE.with(C::DirSync).with(C::RenameDurableAfterDirSync).with(C::Locks);
    let checked = |set: Capabilities| {
        set.with(C::IntegrityOnRead)
            .with(C::BackgroundScrub)
            .with(C::CopyOnWrite)
            .with(C::Reflink)
            .with(C::NativeSnapshot)
            .with(C::PunchHole)
    };
    Ok(match mount_type(path)? {
        BTRFS => checked(durable_names).with(C::Allocate),
        // ZFS takes a preallocation and reserves nothing.
        ZFS => checked(durable_names),
        XFS => durable_names.with(C::CopyOnWrite).with(C::Reflink).with(C::PunchHole).with(C::Allocate),
        EXT4 => durable_names.with(C::PunchHole).with(C::Allocate),
        // Nothing on it outlives the machine, so no sync means anything.
        TMPFS => Capabilities::NONE.with(C::Locks).with(C::PunchHole).with(C::Allocate),
        _ => Capabilities::NONE,
    })
}

/// Only Btrfs has a switch for it.
pub(super) fn try_disable_cow(dir: &Path) -> io::Result<bool> {
    if mount_type(dir)? != BTRFS {
        return Ok(false);
    }
    let dir = File::open(dir)?;
    let flags = rustix::fs::ioctl_getflags(&dir)?;
    rustix::fs::ioctl_setflags(&dir, flags | IFlags::NOCOW)?;
    Ok(true)
}

fn mount_type(path: &Path) -> io::Result<i128> {
    Ok(i128::from(rustix::fs::statfs(path)?.f_type))
}
