//! The operating system's files.

mod file;

// The one choice of platform: what the three files do differently stands behind the same signatures.
#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "disk/linux.rs")]
#[cfg_attr(target_vendor = "apple", path = "disk/apple.rs")]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android", target_vendor = "apple")),
    path = "disk/portable.rs"
)]
mod platform;

use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use lsm_types::{IoError, IoKind, IoOp};
use rustix::fs::OFlags;

pub use self::file::DiskFile;
use crate::{
    Capabilities, Creation, DirEntry, EntryKind, Fs, FsFile, InodeId, Metadata, NamespaceId, OpenOptions,
    SyncLevel, VolumeId, io_error,
};

/// The operating system's files, as its mounts present them.
///
/// Locks are `flock` locks: they belong to the open file, so two handles conflict within one process too. Promises are
/// read off the type of the mount, and a mount of unknown type promises nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFs;

impl DiskFs {
    /// The operating system's files.
    pub const fn new() -> Self {
        Self
    }
}

impl Fs for DiskFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        Ok(Arc::new(open(path, *options)?))
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        std::fs::create_dir(path).map_err(|e| io_error(IoOp::Dir, &e))
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        let list = || -> io::Result<Vec<DirEntry>> {
            std::fs::read_dir(path)?
                .map(|entry| {
                    let entry = entry?;
                    // An entry that vanished since, or cannot be asked about, still has its name.
                    let kind = entry.file_type().map_or(EntryKind::Other, kind_of);
                    Ok(DirEntry { name: entry.file_name(), kind })
                })
                .collect()
        };
        list().map_err(|e| io_error(IoOp::Dir, &e))
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        std::fs::remove_file(path).map_err(|e| io_error(IoOp::Remove, &e))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        std::fs::remove_dir(path).map_err(|e| io_error(IoOp::Remove, &e))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), IoError> {
        std::fs::remove_dir_all(path).map_err(|e| io_error(IoOp::Remove, &e))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        std::fs::rename(from, to).map_err(|e| io_error(IoOp::Rename, &e))
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        std::fs::metadata(path).map(|m| metadata_of(&m)).map_err(|e| io_error(IoOp::Dir, &e))
    }

    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        if level == SyncLevel::None {
            return Ok(());
        }
        let sync = || {
            let dir = std::fs::OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
                .open(path)?;
            // What a directory holds is metadata, which a data-only sync may skip.
            let level = if level == SyncLevel::Data { SyncLevel::Full } else { level };
            platform::sync(&dir, level)
        };
        sync().map_err(|e| io_error(IoOp::SyncDir, &e))
    }

    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        std::fs::hard_link(source, target).map_err(|e| io_error(IoOp::Link, &e))
    }

    fn reflink(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        platform::reflink(source, target).map_err(|e| io_error(IoOp::Link, &e))
    }

    fn available_space(&self, path: &Path) -> Result<Option<u64>, IoError> {
        let stat = rustix::fs::statvfs(path).map_err(|e| io_error(IoOp::Dir, &e.into()))?;
        Ok(stat.f_bavail.checked_mul(stat.f_frsize))
    }

    fn volume_id(&self, path: &Path) -> Result<Option<VolumeId>, IoError> {
        platform::volume_id(path).map_err(|e| io_error(IoOp::Dir, &e))
    }

    fn namespace_id(&self) -> Option<NamespaceId> {
        Some(NamespaceId::SYSTEM)
    }

    fn capabilities(&self, path: &Path) -> Result<Capabilities, IoError> {
        platform::capabilities(path).map_err(|e| io_error(IoOp::Dir, &e))
    }

    fn try_disable_cow(&self, dir: &Path) -> Result<bool, IoError> {
        platform::try_disable_cow(dir).map_err(|e| io_error(IoOp::Dir, &e))
    }
}

/// Opens a regular file and nothing else: a pipe or a directory under a name of ours is an error, not a hang.
fn open(path: &Path, options: OpenOptions) -> Result<DiskFile, IoError> {
    options.check()?;
    let mut how = std::fs::OpenOptions::new();
    how.read(true).write(options.write).truncate(options.truncate);
    match options.creation {
        Creation::Existing => {}
        Creation::IfMissing => _ = how.create(true),
        Creation::New => _ = how.create_new(true),
    }
    // Without it, opening a named pipe waits for its other end. Regular files ignore it.
    how.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = how.open(path).map_err(|e| io_error(IoOp::Open, &e))?;
    if !file.metadata().map_err(|e| io_error(IoOp::Open, &e))?.is_file() {
        return Err(IoError::new(IoOp::Open, IoKind::Other));
    }
    Ok(DiskFile::new(file, options.write))
}

fn kind_of(kind: std::fs::FileType) -> EntryKind {
    if kind.is_file() {
        EntryKind::File
    } else if kind.is_dir() {
        EntryKind::Dir
    } else {
        EntryKind::Other
    }
}

fn metadata_of(found: &std::fs::Metadata) -> Metadata {
    Metadata {
        len: found.len(),
        kind: kind_of(found.file_type()),
        nlink: Some(found.nlink()),
        inode: Some(InodeId { device: found.dev(), number: found.ino() }),
    }
}

/// How many files this process may have open; `None` without a limit.
pub fn descriptor_limit() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capability;

    #[test]
    fn pipes_and_directories_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        let fs = DiskFs::new();
        assert!(fs.open(dir.path(), &OpenOptions::READ).is_err());
        if made.is_ok_and(|status| status.success()) {
            assert!(fs.open(&pipe, &OpenOptions::READ).is_err());
            let kinds: Vec<_> = fs.read_dir(dir.path()).unwrap().into_iter().map(|e| e.kind).collect();
            assert_eq!(kinds, [EntryKind::Other]);
        }
    }

    /// Proves D-7: a mount without a known type promises nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_unknown_mount_promises_nothing() {
        let promised = DiskFs::new().capabilities(Path::new("/proc")).unwrap();
        assert_eq!(promised, Capabilities::NONE);
    }

    /// A mount that promises an operation carries it out; one that cannot says so and leaves nothing behind.
    #[cfg(target_os = "linux")]
    #[test]
    fn promises_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DiskFs::new();
        let promised = fs.capabilities(dir.path()).unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        let file = fs.open(&source, &OpenOptions::CREATE_NEW).unwrap();
        file.append(&[7; 16 << 10]).unwrap();
        if promised.has(Capability::PunchHole) {
            file.punch_hole(4 << 10, 4 << 10).unwrap();
        }
        match fs.reflink(&source, &target) {
            Ok(()) => assert_eq!(fs.metadata(&target).unwrap().len, 16 << 10),
            Err(error) => {
                assert!(!promised.has(Capability::Reflink), "{error}");
                assert_eq!(error.kind, IoKind::Unsupported);
                assert!(!fs.exists(&target).unwrap());
            }
        }
    }
}
