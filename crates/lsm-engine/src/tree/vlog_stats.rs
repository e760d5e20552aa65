//! Figures about value logs.

use lsm_manifest::{LiveVlog, Version};
use lsm_types::{ValueUsage, VlogId};

use super::Tree;

/// Figures about the value logs of a tree.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ValueLogStats {
    /// Number of files.
    pub files: usize,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// All values in them.
    pub total: ValueUsage,
    /// Those that entries of tables lead to. The others are garbage: their entries were dropped.
    pub live: ValueUsage,
    /// Files by their share of garbage, in stored bytes: below a tenth, below two tenths, and so on.
    pub garbage_tenths: [usize; 10],
}

impl ValueLogStats {
    pub(super) fn of(version: &Version) -> Self {
        let mut stats = Self::default();
        for log in version.vlogs.iter() {
            stats.files += 1;
            stats.file_bytes = stats.file_bytes.saturating_add(log.vlog.file_len);
            stats.total = stats.total.checked_add(log.vlog.total).unwrap_or(stats.total);
            stats.live = stats.live.checked_add(log.live).unwrap_or(stats.live);
            if let Some(files) = stats.garbage_tenths.get_mut(tenth(log)) {
                *files += 1;
            }
        }
        stats
    }

    /// Bytes of the frames of values that nothing leads to any more. A file goes when all of it is garbage.
    pub fn garbage_bytes(&self) -> u64 {
        self.total.stored_bytes.saturating_sub(self.live.stored_bytes)
    }
}

/// In which tenth the share of garbage lies.
fn tenth(log: &LiveVlog) -> usize {
    let (garbage, total) = (log.garbage().stored_bytes, log.vlog.total.stored_bytes.max(1));
    usize::try_from(u128::from(garbage) * 10 / u128::from(total)).map_or(9, |tenth| tenth.min(9))
}

/// Figures about one value log.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlogStats {
    /// Its number: the smaller, the older.
    pub id: VlogId,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// All values in it.
    pub total: ValueUsage,
    /// Those that entries of tables lead to.
    pub live: ValueUsage,
    /// Tables with such entries.
    pub tables: usize,
    /// Offset of the first byte of the file that such an entry may lead to; 0 while that may be any. What lies in front was
    /// given back, or will be.
    pub frontier: u64,
}

impl VlogStats {
    /// Bytes of the frames of values that nothing leads to any more.
    pub fn garbage_bytes(&self) -> u64 {
        self.total.stored_bytes.saturating_sub(self.live.stored_bytes)
    }
}

impl Tree {
    /// Figures about each value log, from the oldest to the newest. Costs one look at each.
    pub fn value_logs(&self) -> Vec<VlogStats> {
        let pinned = self.inner.current.load();
        let of = |log: &LiveVlog| VlogStats {
            id: log.vlog.id,
            file_bytes: log.vlog.file_len,
            total: log.vlog.total,
            live: log.live,
            tables: log.tables.len(),
            frontier: log.frontier,
        };
        pinned.version.vlogs.iter().map(of).collect()
    }
}
