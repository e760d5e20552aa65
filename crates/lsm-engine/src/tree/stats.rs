//! Figures about a tree.

use std::sync::atomic::{AtomicU64, Ordering};

use lsm_compaction_executor::{CompactionReport, CompactionTotals, JobTotals, TotalsByReason};
use lsm_table::{FilterStats, ReleaseStats};
use lsm_types::{Level, Result, SeqNo};
use parking_lot::Mutex;

use super::{Tree, ValueLogStats};
use crate::ReclaimStats;

/// Bytes moved since the tree was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    memtable_bytes: AtomicU64,
    flushed_bytes: AtomicU64,
    compacted_in: AtomicU64,
    compacted_out: AtomicU64,
    compactions: Mutex<(CompactionTotals, TotalsByReason)>,
}

impl Counters {
    pub(crate) fn flushed(&self, memtable: u64, files: u64) {
        self.memtable_bytes.fetch_add(memtable, Ordering::Relaxed);
        self.flushed_bytes.fetch_add(files, Ordering::Relaxed);
    }

    /// Counts a call of a compaction.
    pub(crate) fn compaction(&self, call: &Result<CompactionReport>) {
        let (all, by_reason) = &mut *self.compactions.lock();
        all.add(call);
        if let Ok(report) = call {
            by_reason.add(report);
        }
    }

    pub(crate) fn compacted(&self, bytes_in: u64, bytes_out: u64) {
        self.compacted_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.compacted_out.fetch_add(bytes_out, Ordering::Relaxed);
    }
}

/// Figures about one level.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LevelStats {
    /// The level.
    pub level: Level,
    /// Number of runs.
    pub runs: usize,
    /// Number of tables.
    pub tables: usize,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Tables with a delete vector.
    pub vectors: usize,
    /// Entries, tombstones and old versions included.
    pub entries: u64,
    /// Entries besides these that are marked dead and still in the files.
    pub dead_entries: u64,
    /// Tombstones of all kinds.
    pub tombstones: u64,
    /// Those of weak deletes.
    pub weak_tombstones: u64,
    /// Those of weak deletes that stand directly above a put of their key, so that a merge can drop both.
    pub reclaimable_weak_tombstones: u64,
    /// Merge operands.
    pub merge_operands: u64,
    /// Range tombstones; one that lies in several tables counts in each.
    pub range_tombstones: u64,
    /// Keys and values before encoding.
    pub raw_bytes: u64,
    /// Filters.
    pub filters: FilterLevelStats,
}

/// Figures about the filters of one level.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterLevelStats {
    /// Tables with a filter over keys.
    pub tables: usize,
    /// Entries of these tables.
    pub entries: u64,
    /// Bytes of all filters in the files.
    pub file_bytes: u64,
    /// How they did, in the tables that are there now, since these were opened.
    pub reads: FilterStats,
}

impl FilterLevelStats {
    /// Bits of filters in the files for each entry of a table that has one.
    pub fn bits_per_entry(&self) -> Option<f64> {
        ratio(self.file_bytes.saturating_mul(8), self.entries)
    }
}

/// Figures about a tree, all from one moment.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeStats {
    /// Every level, from 0 down.
    pub levels: Vec<LevelStats>,
    /// Values that lie apart from their keys.
    pub value_logs: ValueLogStats,
    /// Bytes of the memtables.
    pub memtable_bytes: u64,
    /// Memtables waiting for their flush.
    pub sealed: usize,
    /// New reads at or below are refused.
    pub retention_floor: SeqNo,
    /// Changes below may be gone, or may not be there as they were written.
    pub changes_from: SeqNo,
    /// Followers of changes that jobs wait for.
    pub change_followers: usize,
    /// By how many numbers the last of them is behind the newest write.
    pub change_lag: u64,
    /// Highest number in tables.
    pub persisted: Option<SeqNo>,
    /// Bytes of memtables flushed since the tree was opened.
    pub memtable_bytes_flushed: u64,
    /// Bytes of files written by flushes since then.
    pub bytes_flushed: u64,
    /// Bytes of files read by compactions since then.
    pub bytes_compacted_in: u64,
    /// Bytes of files written by compactions since then.
    pub bytes_compacted_out: u64,
    /// Compactions since then, by what came of them, and what they did to entries.
    pub compactions: CompactionTotals,
    /// Tables that compactions work on now.
    pub tables_busy: usize,
    /// Filters that could not be built since then: their tables work without.
    pub filters_given_up: u64,
    /// Files of the directory that are not needed any more.
    pub reclaim: ReclaimStats,
    /// Bytes in front of tables in use that merges have taken over.
    pub release: ReleaseStats,
}

impl TreeStats {
    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.levels.iter().map(|level| level.tables).sum()
    }

    /// Bytes of all table files.
    pub fn file_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.file_bytes).sum()
    }

    /// Bytes of the directory taken by tables and value logs, and by files that readers or the queue still keep there.
    pub fn disk_bytes(&self) -> u64 {
        let obsolete = self.reclaim.pinned_bytes + self.reclaim.queued_bytes;
        self.file_bytes() + self.value_logs.file_bytes + self.release.kept_bytes() + obsolete
    }

    /// Runs that a read of an absent key may have to look into.
    pub fn read_amplification(&self) -> usize {
        self.levels.iter().map(|level| level.runs).sum()
    }

    /// Bytes written to tables for each byte that flushes wrote, since the tree was opened.
    pub fn write_amplification(&self) -> Option<f64> {
        let written = self.bytes_flushed + self.bytes_compacted_out;
        ratio(written, self.bytes_flushed)
    }

    /// Bytes of all files for each byte of the deepest level that holds any.
    pub fn space_amplification(&self) -> Option<f64> {
        let last = self.levels.iter().rev().find(|level| level.file_bytes > 0)?;
        ratio(self.file_bytes(), last.file_bytes)
    }
}

/// `None` when there is nothing to compare with.
#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn ratio(bytes: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| bytes as f64 / of as f64)
}

impl Tree {
    /// What compactions did since the tree was opened, by why they were wanted and how they were carried out.
    pub fn compactions_by_reason(&self) -> Vec<JobTotals> {
        self.inner.counters.compactions.lock().1.list()
    }

    /// Figures about the tree. Costs one look at each table.
    pub fn stats(&self) -> TreeStats {
        let pinned = self.inner.current.load_full();
        let levels = pinned.version.levels.iter().map(|(level, runs)| {
            let mut stats = LevelStats {
                level,
                runs: runs.runs().len(),
                tables: runs.table_count(),
                file_bytes: runs.file_bytes(),
                vectors: 0,
                entries: 0,
                dead_entries: 0,
                tombstones: 0,
                weak_tombstones: 0,
                reclaimable_weak_tombstones: 0,
                merge_operands: 0,
                range_tombstones: 0,
                raw_bytes: 0,
                filters: FilterLevelStats::default(),
            };
            for table in runs.tables() {
                stats.vectors += usize::from(table.vector.is_some());
                stats.entries += table.live_entries();
                stats.dead_entries += table.dead_entries();
                stats.tombstones += table.counts.tombstones + table.counts.weak_tombstones;
                stats.weak_tombstones += table.counts.weak_tombstones;
                stats.reclaimable_weak_tombstones += table.counts.reclaimable_weak_tombstones;
                stats.merge_operands += table.counts.operands;
                stats.range_tombstones += table.counts.range_tombstones;
                stats.raw_bytes += table.sizes.raw_keys + table.sizes.raw_values;
                stats.filters.file_bytes += table.sizes.filter;
                if table.filter_kind != 0 {
                    stats.filters.tables += 1;
                    stats.filters.entries += table.live_entries();
                }
            }
            stats
        });
        let mut levels: Vec<LevelStats> = levels.collect();
        for (level, table) in pinned.tables_by_level() {
            if let Some(stats) = levels.get_mut(usize::from(level.get())) {
                stats.filters.reads.add(&table.filter_stats());
            }
        }
        let counters = &self.inner.counters;
        let (change_followers, change_lag) = self.inner.follower_lag();
        TreeStats {
            levels,
            value_logs: ValueLogStats::of(&pinned.version),
            memtable_bytes: self.memtable_bytes(),
            sealed: pinned.sealed.len(),
            retention_floor: pinned.version.retention_floor,
            changes_from: pinned.version.changes_from,
            change_followers,
            change_lag,
            persisted: pinned.version.max_seqno,
            memtable_bytes_flushed: counters.memtable_bytes.load(Ordering::Relaxed),
            bytes_flushed: counters.flushed_bytes.load(Ordering::Relaxed),
            bytes_compacted_in: counters.compacted_in.load(Ordering::Relaxed),
            bytes_compacted_out: counters.compacted_out.load(Ordering::Relaxed),
            compactions: counters.compactions.lock().0,
            tables_busy: self.inner.busy.snapshot().len(),
            filters_given_up: self.inner.env.filters.given_up(),
            reclaim: self.inner.store.reclaimer().stats(),
            release: pinned.release_stats(),
        }
    }
}
