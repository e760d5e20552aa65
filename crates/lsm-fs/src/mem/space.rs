//! How much the files of one memory file system may occupy.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pages::PAGE_LEN;

/// Pages in use and pages allowed.
pub(super) struct Space {
    capacity: u64,
    used: AtomicU64,
}

impl Space {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        Self { capacity: capacity_bytes / PAGE_LEN, used: AtomicU64::new(0) }
    }

    /// Takes `pages` pages, or none when that many are not left.
    pub(super) fn take(&self, pages: u64) -> bool {
        let grown = |used: u64| used.checked_add(pages).filter(|&sum| sum <= self.capacity);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    pub(super) fn give_back(&self, pages: u64) {
        let before = self.used.fetch_sub(pages, Ordering::Relaxed);
        debug_assert!(pages <= before, "only pages that were taken come back");
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed) * PAGE_LEN
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity.saturating_sub(self.used.load(Ordering::Relaxed)) * PAGE_LEN
    }
}
