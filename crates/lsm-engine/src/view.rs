//! Memtables and files at one moment, read at one bound.

use std::{sync::Arc, time::Duration};

use lsm_types::{Result, SeqNo};

use crate::{
    reader::{ReadPoint, Reader},
    super_version::SuperVersion,
    tree::TreeInner,
};

/// Memtables and files at one moment, read at one bound; all reads of a view agree with each other.
///
/// A view keeps the files it pins, whatever flushes and compactions do meanwhile. Cloning shares it.
#[derive(Clone)]
pub struct View {
    /// Keeps the directory locked and the caches alive.
    pub(crate) tree: Arc<TreeInner>,
    pub(crate) pinned: Arc<SuperVersion>,
    pub(crate) before: SeqNo,
}

impl View {
    pub(crate) fn new(tree: Arc<TreeInner>, pinned: Arc<SuperVersion>, before: SeqNo) -> Self {
        Self { tree, pinned, before }
    }

    /// Where its reads look.
    pub(crate) fn read_point(&self) -> ReadPoint<'_> {
        ReadPoint {
            view: &self.pinned,
            before: self.before,
            order: &self.tree.order,
            newest: None,
            operator: self.tree.operator.as_deref(),
            fetches: true,
        }
    }

    /// The exclusive bound: writes with lower numbers are seen.
    pub fn before(&self) -> SeqNo {
        self.before
    }

    /// Entries in memtables and tables, tombstones and old versions included. Costs one look at each table.
    pub fn approximate_len(&self) -> u64 {
        let sealed = self.pinned.sealed.iter().map(|sealed| sealed.entries.len() as u64);
        let tables = self.pinned.version.levels.tables().map(|(_, table)| table.live_entries());
        let overlay = self.pinned.overlay.as_ref().map_or(0, |overlay| overlay.entries.len() as u64);
        overlay + self.pinned.active.entries.len() as u64 + sealed.sum::<u64>() + tables.sum::<u64>()
    }

    /// Bytes of the files the view pins.
    pub fn pinned_file_bytes(&self) -> u64 {
        self.pinned.pinned_bytes().0
    }

    /// Bytes of the memtables the view pins.
    pub fn pinned_memtable_bytes(&self) -> u64 {
        self.pinned.pinned_bytes().1
    }

    /// For how long flushes and compactions have been ahead of what the view pins: only since then does it keep
    /// anything that would be gone without it. Zero while it pins the newest state.
    pub fn pinned_for(&self) -> Duration {
        let now = self.tree.store.clock().monotonic_nanos();
        self.pinned.replaced_at().map_or(Duration::ZERO, |at| Duration::from_nanos(now.saturating_sub(at)))
    }
}

impl Reader for View {
    fn with_read_point<T>(&self, mut read: impl FnMut(ReadPoint<'_>) -> Result<T>) -> Result<T> {
        read(self.read_point())
    }

    fn to_view(&self) -> View {
        self.clone()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("before", &self.before).finish_non_exhaustive()
    }
}
