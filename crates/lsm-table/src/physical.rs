//! The file of a table, which every view of the table shares.
//!
//! A restricted table is a view of the same file with a higher bound. Readers that came before hold views with lower
//! bounds. So the file counts its views by how much of it each has done with, and only what *all* of them have done with
//! is given back: bytes below the smallest count, whichever view goes last.
//!
//! ```text
//! | head | consumed by every view | consumed by the newest | blocks of the newest | metadata |
//!          given back               pinned
//! ```

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use lsm_block::Superblock;
use lsm_fs::FsFile;
use lsm_manifest::TableDescriptor;
use lsm_types::{RouteId, TableId};
use parking_lot::Mutex;

use crate::{ObsoleteFile, TableEnv};

/// What a file system gives back at once. Where its blocks are larger, it gives back fewer of them.
const FS_BLOCK: u64 = 4096;

/// A file of which all views have done with the bytes in front. Those bytes may be read as zeros from now on.
#[derive(Clone, Debug)]
pub struct ConsumedPrefix {
    /// The table it holds.
    pub table: TableId,
    /// Where it lies.
    pub path: PathBuf,
    /// First byte to give back; a multiple of 4,096.
    pub from: u64,
    /// First byte to keep; a multiple of 4,096, above `from`.
    pub to: u64,
    released: Arc<AtomicU64>,
}

impl ConsumedPrefix {
    /// The bytes were given back. Returns how many of them were there before.
    pub fn note_released(&self) -> u64 {
        let len = self.to.saturating_sub(self.from);
        len.saturating_sub(self.released.fetch_max(len, Ordering::Relaxed))
    }
}

/// The bytes of a table's file that a view with this descriptor has done with.
pub fn consumed_range(descriptor: &TableDescriptor) -> Range<u64> {
    let head = Superblock::LEN as u64;
    head..head.saturating_add(descriptor.consumed_bytes()).min(descriptor.file_len)
}

/// What became of the bytes of a file that its newest view has done with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReleaseStats {
    /// Bytes that an older view may still read.
    pub pinned_bytes: u64,
    /// Bytes that nobody reads and that still take space.
    pub releasable_bytes: u64,
    /// Bytes that were given back since the file was first used.
    pub released_bytes: u64,
}

impl ReleaseStats {
    /// Both together, file by file.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            pinned_bytes: self.pinned_bytes.saturating_add(other.pinned_bytes),
            releasable_bytes: self.releasable_bytes.saturating_add(other.releasable_bytes),
            released_bytes: self.released_bytes.saturating_add(other.released_bytes),
        }
    }

    /// Bytes that take space although the newest view has done with them.
    pub fn kept_bytes(&self) -> u64 {
        self.pinned_bytes.saturating_add(self.releasable_bytes)
    }
}

/// A file that views of a table share. Goes with the last of them.
pub(crate) struct PhysicalFile {
    env: Arc<TableEnv>,
    table: TableId,
    route: RouteId,
    len: u64,
    /// Its number in the block cache.
    pub(crate) cache_number: u64,
    /// Its number in the table of open files.
    pub(crate) open_number: u64,
    /// The open file where descriptors are not shared.
    pub(crate) pinned: OnceLock<Arc<dyn FsFile>>,
    is_obsolete: AtomicBool,
    /// How many views have done with so many bytes behind the head.
    views: Mutex<BTreeMap<u64, usize>>,
    released: Arc<AtomicU64>,
}

impl PhysicalFile {
    pub(crate) fn new(env: &Arc<TableEnv>, descriptor: &TableDescriptor) -> Arc<Self> {
        Arc::new(Self {
            env: env.clone(),
            table: descriptor.id,
            route: descriptor.route,
            len: descriptor.file_len,
            cache_number: env.cache.new_file(),
            open_number: env.descriptors.new_file(),
            pinned: OnceLock::new(),
            is_obsolete: AtomicBool::new(false),
            views: Mutex::default(),
            released: Arc::default(),
        })
    }

    /// A view came that has done with so many bytes.
    pub(crate) fn enter(&self, consumed: u64) {
        *self.views.lock().entry(consumed).or_default() += 1;
    }

    /// A view went. Where it was the last one that held bytes, they go as well.
    pub(crate) fn leave(&self, consumed: u64) {
        let mut views = self.views.lock();
        let lowest = views.first_key_value().map(|(lowest, _)| *lowest);
        if let Some(count) = views.get_mut(&consumed) {
            *count -= 1;
            if *count == 0 {
                views.remove(&consumed);
            }
        }
        let lowest_now = views.first_key_value().map(|(lowest, _)| *lowest);
        drop(views);
        if let Some(now) = lowest_now
            && lowest < Some(now)
        {
            self.release(now);
        }
    }

    /// Hands over what every view has done with, also where that was done before.
    pub(crate) fn release_again(&self) {
        let lowest = self.views.lock().first_key_value().map(|(lowest, _)| *lowest);
        self.release(lowest.unwrap_or(0));
    }

    /// Hands over the first `consumed` bytes behind the head, unless the file is about to go as a whole.
    fn release(&self, consumed: u64) {
        let head = Superblock::LEN as u64;
        let from = head.next_multiple_of(FS_BLOCK);
        let to = head.saturating_add(consumed).min(self.len) / FS_BLOCK * FS_BLOCK;
        if to <= from || self.is_obsolete.load(Ordering::Acquire) {
            return;
        }
        let (table, path) = (self.table, self.env.path(self.table, self.route));
        let released = self.released.clone();
        self.env.reclaim.release_prefix(ConsumedPrefix { table, path, from, to, released });
    }

    /// No version names the table any more.
    pub(crate) fn mark_obsolete(&self) {
        if !self.is_obsolete.swap(true, Ordering::AcqRel) {
            self.env.reclaim.note_obsolete(self.len);
        }
    }

    /// * `consumed`: bytes that the newest view has done with.
    pub(crate) fn stats(&self, consumed: u64) -> ReleaseStats {
        let lowest = self.views.lock().first_key_value().map_or(consumed, |(lowest, _)| *lowest);
        let released_bytes = self.released.load(Ordering::Relaxed);
        ReleaseStats {
            pinned_bytes: consumed.saturating_sub(lowest),
            releasable_bytes: lowest.min(consumed).saturating_sub(released_bytes),
            released_bytes,
        }
    }
}

impl Drop for PhysicalFile {
    fn drop(&mut self) {
        // Closed before it is removed: some systems refuse to remove a file that is open.
        self.env.descriptors.forget(self.open_number);
        drop(self.pinned.take());
        if *self.is_obsolete.get_mut() {
            let (path, len) = (self.env.path(self.table, self.route), self.len);
            self.env.reclaim.release(ObsoleteFile { table: self.table, path, len });
        }
    }
}
