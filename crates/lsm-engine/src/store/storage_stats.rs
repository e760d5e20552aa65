//! What is on the disk, by what it is there for (D-121).
//!
//! Nothing here asks a file for its length: lengths of tables and value logs stand in the manifest, whose own files the
//! journal counts along; what is not needed any more is counted where it is given back.

use std::sync::Arc;

use lsm_manifest::Catalog;
use lsm_types::{Result, TreeId};

use super::{
    Store, StoreInner,
    install::{Installs, value_log_bytes},
    space::SpaceReport,
};
use crate::{
    holders::SpaceHolder,
    tree::{Tree, TreeInner},
};

/// What lies in the directories of a store, in bytes of files as they are long, holes that were given back not counted.
/// A table counts with a gap of 64 KiB that takes no room on most disks.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct StorageStats {
    /// What there is, what may still come, and which merges that leaves room for.
    pub space: SpaceReport,
    /// Live tables of all trees, open or not; of those of which a part is left, that part.
    pub table_bytes: u64,
    /// Live value logs of all trees.
    pub value_log_bytes: u64,
    /// Of these, values that nothing leads to any more, in the trees that are open.
    pub value_garbage_bytes: u64,
    /// The manifest: both copies, the generations that are kept, and the pointer to them. 0 where a store is only read.
    pub manifest_bytes: u64,
    /// What the newest state does not need and some reader does: whole files, and fronts of files.
    pub pinned_bytes: u64,
    /// What nobody needs and that still lies there.
    pub pending_bytes: u64,
    /// What is held back for a full disk.
    pub ballast_bytes: u64,
    /// Guards that keep files from being removed.
    pub deletion_holds: usize,
    /// Who needs what the newest state does not, tree by tree, the oldest first.
    pub holders: Vec<SpaceHolder>,
    /// The trees that are open.
    pub trees: Vec<TreeStorage>,
}

impl StorageStats {
    /// All of it: what the files of the directories come to, those of a log of the caller's not among them.
    pub fn disk_bytes(&self) -> u64 {
        let parts = [
            self.table_bytes,
            self.value_log_bytes,
            self.manifest_bytes,
            self.pinned_bytes,
            self.pending_bytes,
            self.ballast_bytes,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Bytes that merging everything is likely to give back, in the trees that are open.
    pub fn reclaimable_bytes(&self) -> u64 {
        self.trees.iter().map(|tree| tree.reclaimable_bytes).fold(0, u64::saturating_add)
    }
}

/// What one tree has on the disk.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TreeStorage {
    /// The tree.
    pub tree: TreeId,
    /// Number of tables.
    pub tables: usize,
    /// Their bytes; of those of which a part is left, that part.
    pub table_bytes: u64,
    /// Number of value logs.
    pub value_logs: usize,
    /// Their bytes.
    pub value_log_bytes: u64,
    /// Bytes of values in them that entries lead to.
    pub value_live_bytes: u64,
    /// Bytes of values in them that nothing leads to any more.
    pub value_garbage_bytes: u64,
    /// Entries in tables, old versions and deletes included; about as many where a part of a table is left.
    pub entries: u64,
    /// Bytes of a key, on average; `None` without entries.
    pub average_key_bytes: Option<f64>,
    /// Bytes of a value, wherever it lies, on average; deletes count as empty ones.
    pub average_value_bytes: Option<f64>,
    /// Bytes that an entry takes on the disk, on average.
    pub average_entry_bytes: Option<f64>,
    /// Bytes that merging everything is likely to give back; an estimate from what is known without reading.
    pub reclaimable_bytes: u64,
    /// What the front parts of tables still take that merges have taken over, needed by readers or not.
    pub consumed_bytes: u64,
}

impl TreeStorage {
    /// About how many more entries like those there are `bytes` would hold; `None` where nothing is known of them.
    pub fn entries_in(&self, bytes: u64) -> Option<u64> {
        let stored = self.table_bytes.saturating_add(self.value_log_bytes);
        let entries = u128::from(bytes) * u128::from(self.entries);
        (self.entries > 0 && stored > 0)
            .then(|| u64::try_from(entries / u128::from(stored)).unwrap_or(u64::MAX))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn average(bytes: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| bytes as f64 / of as f64)
}

impl TreeInner {
    fn storage(self: &Arc<Self>) -> Result<TreeStorage> {
        let view = self.current.load_full();
        let (levels, vlogs) = (&view.version.levels, &view.version.vlogs);
        let (mut tables, mut table_bytes, mut entries) = (0_usize, 0_u64, 0_u64);
        let (mut all_entries, mut keys, mut values) = (0_u64, 0_u64, 0_u64);
        for (_, table) in levels.tables() {
            tables += 1;
            table_bytes = table_bytes.saturating_add(table.live_bytes());
            entries = entries.saturating_add(table.live_entries());
            all_entries = all_entries.saturating_add(table.counts.entries);
            keys = keys.saturating_add(table.sizes.raw_keys);
            values = values.saturating_add(table.sizes.raw_values);
            let apart = table.references.iter().map(|(_, usage)| usage.value_bytes);
            values = apart.fold(values, u64::saturating_add);
        }
        let live = vlogs.iter().map(|log| log.live.stored_bytes).fold(0, u64::saturating_add);
        let garbage = vlogs.iter().map(|log| log.garbage().stored_bytes).fold(0, u64::saturating_add);
        let dead = self.dead_weight()?;
        Ok(TreeStorage {
            tree: self.id,
            tables,
            table_bytes,
            value_logs: vlogs.len(),
            value_log_bytes: vlogs.file_bytes(),
            value_live_bytes: live,
            value_garbage_bytes: garbage,
            entries,
            average_key_bytes: average(keys, all_entries),
            average_value_bytes: average(values, all_entries),
            average_entry_bytes: average(table_bytes.saturating_add(live), entries),
            reclaimable_bytes: dead.saturating_add(garbage),
            consumed_bytes: view.release_stats().kept_bytes(),
        })
    }

    /// Who keeps files that the newest state does not need.
    pub(super) fn holders_of_space(&self) -> Vec<SpaceHolder> {
        self.holders.list(self.id, &self.current.load(), self.store.clock().monotonic_nanos())
    }
}

impl Tree {
    /// What the tree has on the disk. Costs a look at each table; waits for no job.
    ///
    /// # Errors
    /// What reading range tombstones finds.
    pub fn storage(&self) -> Result<TreeStorage> {
        self.inner.storage()
    }
}

impl StoreInner {
    /// Bytes of live tables and value logs of all trees.
    fn live_bytes(&self) -> u64 {
        self.installs().map_or_else(|| self.with_catalog(Catalog::file_bytes), Installs::file_bytes)
    }

    /// Bytes of live value logs of all trees.
    fn value_log_bytes(&self) -> u64 {
        self.installs().map_or_else(|| self.with_catalog(value_log_bytes), Installs::value_log_bytes)
    }

    /// What lies on the disk, needed or not.
    pub(super) fn disk_bytes(&self) -> u64 {
        let kept =
            self.open_trees().iter().map(|tree| tree.current.load().release_stats().kept_bytes()).sum();
        let queue = self.reclaimer().stats();
        let parts = [
            self.live_bytes(),
            kept,
            queue.pinned_bytes,
            queue.queued_bytes,
            self.installs().map_or(0, Installs::manifest_bytes),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

impl Store {
    /// What is on the disk, by what it is there for. Asks no file; asks the volume for its free bytes. Costs a look at each
    /// table of the open trees; waits for no job.
    ///
    /// Figures of several trees, and of files that come and go meanwhile, are each of their own moment.
    ///
    /// # Errors
    /// What reading range tombstones finds.
    pub fn storage_stats(&self) -> Result<StorageStats> {
        let inner = &self.inner;
        let open = inner.open_trees();
        let space = self.space();
        let queue = inner.reclaimer().stats();
        let trees: Vec<TreeStorage> = open.iter().map(TreeInner::storage).collect::<Result<_>>()?;
        let (mut pinned_bytes, mut pending_bytes) = (queue.pinned_bytes, queue.queued_bytes);
        for tree in &open {
            let fronts = tree.current.load().release_stats();
            pinned_bytes = pinned_bytes.saturating_add(fronts.pinned_bytes);
            pending_bytes = pending_bytes.saturating_add(fronts.releasable_bytes);
        }
        let value_log_bytes = inner.value_log_bytes();
        Ok(StorageStats {
            space,
            table_bytes: inner.live_bytes().saturating_sub(value_log_bytes),
            value_log_bytes,
            value_garbage_bytes: trees.iter().map(|tree| tree.value_garbage_bytes).sum(),
            manifest_bytes: inner.installs().map_or(0, Installs::manifest_bytes),
            pinned_bytes,
            pending_bytes,
            ballast_bytes: inner.ballast.held_bytes(),
            deletion_holds: queue.holds,
            holders: open.iter().flat_map(|tree| tree.holders_of_space()).collect(),
            trees,
        })
    }
}
