//! A file system around another one, whose syncs can be made to wait, whose locks can be taken away, whose reads are
//! written down, and whose bytes can go bad.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_fs::{DirEntry, Fs, FsFile, LockMode, Metadata, OpenOptions, SyncLevel, WriteError};
use lsm_types::{IoError, IoKind, IoOp};
use parking_lot::{Condvar, Mutex};

/// What a wrapped file system does differently.
#[derive(Debug, Default)]
pub(crate) struct Control {
    hanging: Mutex<Hanging>,
    changed: Condvar,
    /// Whether the backend knows no locks.
    lockless: bool,
    /// Whether asking for free space fails.
    blind: bool,
    /// Whether the backend cannot tell its free space.
    silent: bool,
    reads: Mutex<Vec<ReadNote>>,
    /// How many times free space was asked for.
    probes: AtomicU64,
    /// How many times a file or a folder was opened, listed, or asked for its length.
    looks: AtomicU64,
    /// Bytes that cannot be read.
    bad: Mutex<Vec<(PathBuf, u64)>>,
}

/// A read that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadNote {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

#[derive(Debug, Default)]
struct Hanging {
    on: bool,
    /// Only one sync waits; those that come while it does go on.
    only_one: bool,
    waiting: usize,
}

impl Control {
    /// A backend without locks.
    pub(crate) fn lockless() -> Self {
        Self { lockless: true, ..Self::default() }
    }

    /// A backend that fails to tell its free space.
    pub(crate) fn blind() -> Self {
        Self { blind: true, ..Self::default() }
    }

    /// A backend that cannot tell its free space.
    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// How many times free space was asked for.
    pub(crate) fn probes(&self) -> u64 {
        self.probes.load(Ordering::SeqCst)
    }

    /// How many times files and folders were opened, listed, or asked for their lengths.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }

    fn look(&self) {
        self.looks.fetch_add(1, Ordering::SeqCst);
    }

    /// How many times files were read since the last [`Control::take_reads`].
    pub(crate) fn reads(&self) -> u64 {
        self.reads.lock().len() as u64
    }

    /// The reads since the last call.
    pub(crate) fn take_reads(&self) -> Vec<ReadNote> {
        std::mem::take(&mut self.reads.lock())
    }

    /// From now on reads of this byte fail.
    pub(crate) fn spoil(&self, path: &Path, offset: u64) {
        self.bad.lock().push((path.to_path_buf(), offset));
    }

    /// All bytes can be read again.
    pub(crate) fn heal(&self) {
        self.bad.lock().clear();
    }

    /// From now on syncs wait.
    pub(crate) fn hang(&self) {
        self.hanging.lock().on = true;
        self.changed.notify_all();
    }

    /// The next sync waits; others that come meanwhile do not.
    pub(crate) fn hang_one(&self) {
        let mut hanging = self.hanging.lock();
        (hanging.on, hanging.only_one) = (true, true);
        self.changed.notify_all();
    }

    /// Returns when a sync waits.
    pub(crate) fn wait_for_a_sync(&self) {
        let mut hanging = self.hanging.lock();
        while hanging.waiting == 0 {
            self.changed.wait(&mut hanging);
        }
    }

    /// Returns when a sync waits that was begun after [`Control::hang`], whoever calls that, and when.
    pub(crate) fn wait_for_a_sync_while_hanging(&self) {
        let mut hanging = self.hanging.lock();
        while !hanging.on || hanging.waiting == 0 {
            self.changed.wait(&mut hanging);
        }
    }

    /// Lets syncs go on.
    pub(crate) fn release(&self) {
        let mut hanging = self.hanging.lock();
        (hanging.on, hanging.only_one) = (false, false);
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut hanging = self.hanging.lock();
        if hanging.only_one && hanging.waiting > 0 {
            return;
        }
        hanging.waiting += 1;
        self.changed.notify_all();
        while hanging.on {
            self.changed.wait(&mut hanging);
        }
        hanging.waiting -= 1;
    }
}

/// The wrapped file system.
#[derive(Clone, Debug)]
pub(crate) struct WrapFs {
    pub(crate) inner: Arc<dyn Fs>,
    pub(crate) control: Arc<Control>,
}

#[derive(Debug)]
struct WrapFile {
    path: PathBuf,
    inner: Arc<dyn FsFile>,
    control: Arc<Control>,
}

impl Fs for WrapFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        self.control.look();
        let inner = self.inner.open(path, options)?;
        Ok(Arc::new(WrapFile { path: path.to_path_buf(), inner, control: self.control.clone() }))
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        self.control.look();
        self.inner.read_dir(path)
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.inner.rename(from, to)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        self.control.look();
        self.inner.metadata(path)
    }

    fn available_space(&self, path: &Path) -> Result<Option<u64>, IoError> {
        self.control.probes.fetch_add(1, Ordering::SeqCst);
        match (self.control.blind, self.control.silent) {
            (true, _) => Err(IoError::new(IoOp::Dir, IoKind::Other)),
            (_, true) => Ok(None),
            _ => self.inner.available_space(path),
        }
    }

    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        self.control.pass();
        self.inner.sync_dir(path, level)
    }
}

impl FsFile for WrapFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError> {
        let len = out.len();
        self.control.reads.lock().push(ReadNote { path: self.path.clone(), offset, len });
        let range = offset..offset + len as u64;
        if self.control.bad.lock().iter().any(|(path, at)| *path == self.path && range.contains(at)) {
            return Err(IoError::new(IoOp::Read, IoKind::Other));
        }
        self.inner.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.inner.write_at(offset, bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result<u64, WriteError> {
        self.inner.append(bytes)
    }

    fn len(&self) -> Result<u64, IoError> {
        self.control.look();
        FsFile::len(self.inner.as_ref())
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.inner.set_len(len)
    }

    fn sync(&self, level: SyncLevel) -> Result<(), IoError> {
        self.control.pass();
        self.inner.sync(level)
    }

    fn metadata(&self) -> Result<Metadata, IoError> {
        self.control.look();
        self.inner.metadata()
    }

    fn try_lock(&self, mode: LockMode) -> Result<bool, IoError> {
        if self.control.lockless {
            return Err(IoError::new(IoOp::Lock, IoKind::Unsupported));
        }
        self.inner.try_lock(mode)
    }
}
