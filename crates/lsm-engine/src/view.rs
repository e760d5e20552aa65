//! Memtables and files at one moment, read at one bound.

use std::sync::Arc;

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

    /// The exclusive bound: writes with lower numbers are seen.
    pub fn before(&self) -> SeqNo {
        self.before
    }

    /// Entries in memtables and tables, tombstones and old versions included. Costs one look at each table.
    pub fn approximate_len(&self) -> u64 {
        let sealed = self.pinned.sealed.iter().map(|sealed| sealed.entries.len() as u64);
        let tables = self.pinned.version.levels.tables().map(|(_, table)| table.counts.entries);
        self.pinned.active.entries.len() as u64 + sealed.sum::<u64>() + tables.sum::<u64>()
    }

    /// Bytes of the files the view pins.
    pub fn pinned_file_bytes(&self) -> u64 {
        self.pinned.version.levels.iter().map(|(_, level)| level.file_bytes()).sum()
    }
}

impl Reader for View {
    fn with_read_point<T>(&self, read: impl FnOnce(ReadPoint<'_>) -> Result<T>) -> Result<T> {
        read(ReadPoint {
            view: &self.pinned,
            before: self.before,
            order: &self.tree.order,
            newest: None,
            operator: self.tree.operator.as_deref(),
        })
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
