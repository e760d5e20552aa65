//! One namespace over the file systems of all routes, so that nobody but this file needs to know that there are several.
//!
//! ```text
//! /db/tables/7.sst            -> the file system of the store, as it is
//! /db/.route-0/tables/8.sst   -> the file system of the first route, /cold/tables/8.sst
//! ```
//!
//! The names on the left of the second line exist nowhere. Nothing is linked or renamed from one of these places to
//! another, and no namespace is claimed that would let others try.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_fs::{Capabilities, DirEntry, Fs, FsFile, Metadata, OpenOptions, SyncLevel, VolumeId};
use lsm_types::{IoError, IoKind, IoOp};

/// A directory of some file system under a name of its own.
#[derive(Debug)]
pub(super) struct Mount {
    /// The name.
    pub(super) at: PathBuf,
    pub(super) fs: Arc<dyn Fs>,
    /// The directory.
    pub(super) root: PathBuf,
}

/// The file system of a store with others mounted on it.
#[derive(Debug)]
pub(super) struct RoutedFs {
    pub(super) primary: Arc<dyn Fs>,
    pub(super) mounts: Vec<Mount>,
}

impl RoutedFs {
    fn find<'a>(&self, path: &'a Path) -> (&Arc<dyn Fs>, Cow<'a, Path>) {
        for mount in &self.mounts {
            if let Ok(rest) = path.strip_prefix(&mount.at) {
                // Joined with nothing, a path would end in a separator.
                let real =
                    if rest.as_os_str().is_empty() { mount.root.clone() } else { mount.root.join(rest) };
                return (&mount.fs, Cow::Owned(real));
            }
        }
        (&self.primary, Cow::Borrowed(path))
    }

    /// The mount that both paths lie in; 0 for none.
    fn common(&self, one: &Path, other: &Path, op: IoOp) -> Result<(), IoError> {
        let number = |path: &Path| self.mounts.iter().position(|mount| path.starts_with(&mount.at));
        if number(one) == number(other) { Ok(()) } else { Err(IoError::new(op, IoKind::CrossesDevices)) }
    }
}

impl Fs for RoutedFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        let (fs, path) = self.find(path);
        fs.open(&path, options)
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        let (fs, path) = self.find(path);
        fs.create_dir(&path)
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        let (fs, path) = self.find(path);
        fs.read_dir(&path)
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        let (fs, path) = self.find(path);
        fs.remove_file(&path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        let (fs, path) = self.find(path);
        fs.remove_dir(&path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.common(from, to, IoOp::Rename)?;
        let ((fs, from), (_, to)) = (self.find(from), self.find(to));
        fs.rename(&from, &to)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        let (fs, path) = self.find(path);
        fs.metadata(&path)
    }

    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        let (fs, path) = self.find(path);
        fs.sync_dir(&path, level)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        self.common(source, target, IoOp::Link)?;
        let ((fs, source), (_, target)) = (self.find(source), self.find(target));
        fs.hard_link(&source, &target)
    }

    fn reflink(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        self.common(source, target, IoOp::Link)?;
        let ((fs, source), (_, target)) = (self.find(source), self.find(target));
        fs.reflink(&source, &target)
    }

    fn available_space(&self, path: &Path) -> Result<Option<u64>, IoError> {
        let (fs, path) = self.find(path);
        fs.available_space(&path)
    }

    fn volume_id(&self, path: &Path) -> Result<Option<VolumeId>, IoError> {
        let (fs, path) = self.find(path);
        fs.volume_id(&path)
    }

    fn capabilities(&self, path: &Path) -> Result<Capabilities, IoError> {
        let (fs, path) = self.find(path);
        fs.capabilities(&path)
    }

    fn yield_point(&self) {
        self.primary.yield_point();
    }

    fn try_disable_cow(&self, dir: &Path) -> Result<bool, IoError> {
        let (fs, dir) = self.find(dir);
        fs.try_disable_cow(&dir)
    }
}
