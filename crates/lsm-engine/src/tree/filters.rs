//! What the tree tells those who choose the filters of new tables: how its levels will be filled, and whether the
//! reads that get to the last level find what they look for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_compaction_planner::Inputs;
use lsm_manifest::Levels;
use lsm_table::{ExpectHits, FilterScene, FilterStats, LevelLoad, Table};
use lsm_types::Level;

use super::TreeInner;
use crate::super_version::SuperVersion;

/// Reads of the last level that have to be seen before they are believed.
const READS_MIN: u64 = 100_000;
/// Reads of tables that are gone count half when there are more.
const READS_KEPT: u64 = 1_000_000;

/// How the reads that got to the last level ended, in tables that are gone, and what was concluded last.
#[derive(Debug, Default)]
pub(crate) struct LastLevelReads {
    reads: AtomicU64,
    misses: AtomicU64,
    hit: AtomicBool,
}

impl LastLevelReads {
    /// Takes over the figures of tables of the last level that were replaced. One job at a time replaces a table.
    fn retire(&self, stats: &FilterStats) {
        let halve = if self.reads.load(Ordering::Relaxed) > READS_KEPT { 2 } else { 1 };
        let merge = |count: &AtomicU64, more: u64| {
            count.store(count.load(Ordering::Relaxed) / halve + more, Ordering::Relaxed);
        };
        merge(&self.reads, stats.reads());
        merge(&self.misses, stats.misses());
    }

    /// Whether reads hit, with those of the tables that are there; as before while there are too few to tell.
    fn conclude(&self, live: &FilterStats) {
        let reads = self.reads.load(Ordering::Relaxed) + live.reads();
        let misses = self.misses.load(Ordering::Relaxed) + live.misses();
        if reads >= READS_MIN {
            self.hit.store(misses.saturating_mul(50) < reads, Ordering::Relaxed);
        }
    }
}

impl TreeInner {
    /// Says how the tree will stand when `inputs` have become tables of `dest`, with `flushed` entries that come from
    /// memory. Costs a look at every table where there is a budget to share out, or when tables of the last level are
    /// written; flushes of many small memtables into a large tree are spared it.
    pub(super) fn set_filter_scene(
        &self,
        view: &SuperVersion,
        inputs: Option<&Inputs>,
        dest: Level,
        flushed: u64,
    ) {
        let policy = &self.env.policy;
        let levels = &view.version.levels;
        let is_last = dest.get() + 1 >= levels.count();
        if is_last && policy.expect_point_read_hits == ExpectHits::Auto {
            self.last_level_reads.conclude(&last_level(view));
        }
        let filled = levels.iter().filter(|(_, level)| level.table_count() > 0).map(|(level, _)| level);
        self.env.filters.set_scene(FilterScene {
            deepest: filled.max().max(Some(dest)),
            levels: policy
                .filter_budget_bytes
                .map_or_else(Vec::new, |_| loads(levels, inputs, dest, flushed)),
            reads_hit: self.last_level_reads.hit.load(Ordering::Relaxed),
        });
    }

    /// Keeps the figures of inputs that lay in the last level and are gone.
    pub(super) fn retire_reads(&self, view: &SuperVersion, inputs: &Inputs, tables: &[Vec<Table>]) {
        let last = view.version.levels.count().saturating_sub(1);
        let parts = inputs.parts().iter().zip(tables).filter(|(part, _)| part.level.get() == last);
        let mut gone = FilterStats::default();
        for table in parts.flat_map(|(_, tables)| tables) {
            gone.add(&table.filter_stats());
        }
        self.last_level_reads.retire(&gone);
    }
}

/// How the reads of the tables in the last level went.
fn last_level(view: &SuperVersion) -> FilterStats {
    let last = view.version.levels.count().saturating_sub(1);
    let mut live = FilterStats::default();
    for (_, table) in view.tables_by_level().filter(|(level, _)| level.get() == last) {
        live.add(&table.filter_stats());
    }
    live
}

fn loads(levels: &Levels, inputs: Option<&Inputs>, dest: Level, flushed: u64) -> Vec<LevelLoad> {
    let mut loads: Vec<LevelLoad> = levels
        .iter()
        .map(|(_, level)| LevelLoad {
            entries: level.tables().map(|table| table.live_entries()).sum(),
            runs: u32::try_from(level.runs().len()).unwrap_or(u32::MAX),
        })
        .collect();
    let mut moved = flushed;
    for part in inputs.iter().flat_map(|inputs| inputs.parts()) {
        let entries = part.tables.iter().map(|table| table.live_entries()).sum();
        moved += entries;
        if let Some(load) = loads.get_mut(usize::from(part.level.get())) {
            load.entries = load.entries.saturating_sub(entries);
        }
    }
    if let Some(load) = loads.get_mut(usize::from(dest.get())) {
        load.entries += moved;
        load.runs = load.runs.max(1) + u32::from(flushed > 0 && load.entries > moved);
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(hits: u64, misses: u64) -> FilterStats {
        let mut stats = FilterStats::default();
        (stats.unfiltered_hits, stats.unfiltered_misses) = (hits, misses);
        stats
    }

    /// Proves F-96 in part: the rule for when the last level does without filters, and when it gets them back.
    #[test]
    fn enough_reads_that_hit_are_believed_until_they_miss() {
        let reads = LastLevelReads::default();
        let hit = |live: &FilterStats| {
            reads.conclude(live);
            reads.hit.load(Ordering::Relaxed)
        };
        assert!(!hit(&stats(99_999, 0)), "too few to tell");
        assert!(!hit(&stats(98_000, 2_000)), "2 % miss");
        assert!(hit(&stats(98_001, 1_999)));
        assert!(hit(&stats(10, 10)), "too few to change one's mind");
        reads.retire(&stats(90_000, 0));
        assert!(hit(&stats(10_000, 0)));
        assert!(!hit(&stats(10_000, 10_000)), "the ratio rose");
        for _ in 0..40 {
            reads.retire(&stats(1_000_000, 0));
        }
        assert!(hit(&stats(0, 0)));
        for _ in 0..3 {
            reads.retire(&stats(0, 1_000_000));
        }
        assert!(!hit(&stats(0, 0)), "old reads do not count for ever");
    }
}
