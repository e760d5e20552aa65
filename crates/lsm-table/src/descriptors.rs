//! Open files, bounded and shared by trees.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_fs::{Fs, FsFile, OpenOptions};
use lsm_types::{IoError, IoKind};
use quick_cache::sync::Cache;

/// Files held open when the process may open many.
const DEFAULT_OPEN: usize = 1024;

/// Open files, bounded and shared by trees. Clones share it.
///
/// A file is named by a number that is unique in the process and never used twice, so a cached handle can never be
/// mistaken for that of a later file at the same path. Eviction drops the table's reference only: a handle in use
/// stays open until its user is done.
#[derive(Clone)]
pub struct DescriptorCache {
    open: Arc<Cache<u64, Arc<dyn FsFile>>>,
    next_file: Arc<AtomicU64>,
    is_pinned: bool,
}

impl DescriptorCache {
    /// A table of at most `capacity` open files, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { open: Arc::new(Cache::new(capacity.max(1))), next_file: Arc::default(), is_pinned: false }
    }

    /// A table of 1,024 open files, or of a quarter of what the process may open when that is less.
    pub fn for_process() -> Self {
        let quarter = lsm_fs::descriptor_limit().map_or(DEFAULT_OPEN, |limit| limit / 4);
        Self::new(quarter.min(DEFAULT_OPEN))
    }

    /// No bound: every file that was read once stays open as long as a version names it.
    pub fn pinned() -> Self {
        Self { is_pinned: true, ..Self::new(1) }
    }

    /// Whether files keep their own handles.
    pub(crate) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// A number for a file.
    pub(crate) fn new_file(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// The open file with this number, opened for reading at `path` when it is not there. Only then is the path asked for:
    /// putting it together costs as much as all else that a read does besides the system's part.
    pub(crate) fn get(
        &self,
        file: u64,
        fs: &dyn Fs,
        path: impl Fn() -> PathBuf,
    ) -> Result<Arc<dyn FsFile>, IoError> {
        self.open.get_or_insert_with(&file, || self.make_room_for(|| fs.open(&path(), &OpenOptions::READ)))
    }

    /// Opens a file. When the process is out of descriptors, every cached handle is let go and the open is tried once
    /// more.
    pub(crate) fn make_room_for(
        &self,
        open: impl Fn() -> Result<Arc<dyn FsFile>, IoError>,
    ) -> Result<Arc<dyn FsFile>, IoError> {
        match open() {
            Err(IoError { kind: IoKind::TooManyOpenFiles, .. }) => {
                self.open.clear();
                open()
            }
            opened => opened,
        }
    }

    /// Lets go of a file, before it is removed.
    pub(crate) fn forget(&self, file: u64) {
        self.open.remove(&file);
    }

    /// Files held open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no file is held open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl std::fmt::Debug for DescriptorCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_pinned {
            return f.write_str("DescriptorCache(pinned)");
        }
        write!(f, "DescriptorCache({} of {})", self.open.len(), self.open.capacity())
    }
}
