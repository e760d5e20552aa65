//! The file of a table, which every view of the table shares.
//!
//! A restricted table is a view of the same file with a higher bound. Readers that came before hold views with lower
//! bounds: what they hold of it, [`Front`] knows.

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use lsm_block::Superblock;
use lsm_fs::FsFile;
use lsm_manifest::TableDescriptor;
use lsm_types::{RouteId, TableId};

use crate::{ObsoleteFile, ReleaseStats, TableEnv, front::Front};

/// The bytes of a table's file that a view with this descriptor has done with.
pub fn consumed_range(descriptor: &TableDescriptor) -> Range<u64> {
    let head = Superblock::LEN as u64;
    head..head.saturating_add(descriptor.consumed_bytes()).min(descriptor.file_len)
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
    front: Front,
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
            front: Front::default(),
        })
    }

    /// A view came that has done with so many bytes.
    pub(crate) fn enter(&self, consumed: u64) {
        self.front.enter(consumed);
    }

    /// A view went. Where it was the last one that held bytes, they go as well.
    pub(crate) fn leave(&self, consumed: u64) {
        if let Some(now) = self.front.leave(consumed) {
            self.release(now);
        }
    }

    /// Hands over what every view has done with, also where that was done before.
    pub(crate) fn release_again(&self) {
        self.release(self.front.lowest().unwrap_or(0));
    }

    /// Hands over the first `consumed` bytes behind the head, unless the file is about to go as a whole.
    fn release(&self, consumed: u64) {
        if self.is_obsolete.load(Ordering::Acquire) {
            return;
        }
        let (table, path) = (self.table, || self.env.path(self.table, self.route));
        if let Some(prefix) = self.front.prefix(consumed, (table, self.len), path) {
            self.env.reclaim.release_prefix(prefix);
        }
    }

    /// No version names the table any more.
    pub(crate) fn mark_obsolete(&self) {
        if !self.is_obsolete.swap(true, Ordering::AcqRel) {
            self.env.reclaim.note_obsolete(self.table, self.len);
        }
    }

    /// * `consumed`: bytes that the newest view has done with.
    pub(crate) fn stats(&self, consumed: u64) -> ReleaseStats {
        self.front.stats(consumed)
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
