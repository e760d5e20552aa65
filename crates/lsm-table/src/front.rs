//! The front of a file, which views of it have done with one after another.
//!
//! A file counts its views by how much of it each has done with, and only what *all* of them have done with is given back:
//! bytes below the smallest count, whichever view goes last.
//!
//! ```text
//! | head | consumed by every view | consumed by the newest | what the newest reads | metadata |
//!          given back               pinned
//! ```

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_block::Superblock;
use lsm_types::TableId;
use parking_lot::Mutex;

/// What a file system gives back at once. Where its blocks are larger, it gives back fewer of them.
pub(crate) const FS_BLOCK: u64 = 4096;

/// A file of which all views have done with the bytes in front. Those bytes may be read as zeros from now on.
#[derive(Clone, Debug)]
pub struct ConsumedPrefix {
    /// The table or value log it holds, by its number.
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

/// How much of a file its views have done with.
#[derive(Default)]
pub(crate) struct Front {
    /// How many views have done with so many bytes behind the head.
    views: Mutex<BTreeMap<u64, usize>>,
    released: Arc<AtomicU64>,
}

impl Front {
    /// A view came that has done with so many bytes.
    pub(crate) fn enter(&self, consumed: u64) {
        *self.views.lock().entry(consumed).or_default() += 1;
    }

    /// A view went. Where it was the last one that held bytes, what all that are left have done with.
    pub(crate) fn leave(&self, consumed: u64) -> Option<u64> {
        let mut views = self.views.lock();
        let lowest = views.first_key_value().map(|(lowest, _)| *lowest);
        if let Some(count) = views.get_mut(&consumed) {
            *count -= 1;
            if *count == 0 {
                views.remove(&consumed);
            }
        }
        let now = views.first_key_value().map(|(lowest, _)| *lowest);
        now.filter(|now| lowest < Some(*now))
    }

    /// What every view has done with; `None` when there is none.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.views.lock().first_key_value().map(|(lowest, _)| *lowest)
    }

    /// The first `consumed` bytes behind the head of a file of `len` bytes, as far as they can be given back.
    pub(crate) fn prefix(
        &self,
        consumed: u64,
        (table, len): (TableId, u64),
        path: impl FnOnce() -> PathBuf,
    ) -> Option<ConsumedPrefix> {
        let head = Superblock::LEN as u64;
        let from = head.next_multiple_of(FS_BLOCK);
        let to = head.saturating_add(consumed).min(len) / FS_BLOCK * FS_BLOCK;
        let released = self.released.clone();
        (from < to).then(|| ConsumedPrefix { table, path: path(), from, to, released })
    }

    /// * `consumed`: bytes that the newest view has done with.
    pub(crate) fn stats(&self, consumed: u64) -> ReleaseStats {
        let lowest = self.lowest().unwrap_or(consumed);
        let released_bytes = self.released.load(Ordering::Relaxed);
        ReleaseStats {
            pinned_bytes: consumed.saturating_sub(lowest),
            releasable_bytes: lowest.min(consumed).saturating_sub(released_bytes),
            released_bytes,
        }
    }
}
