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
    fn conclude(&self, live: &FilterStats) -> bool {
        let reads = self.reads.load(Ordering::Relaxed) + live.reads();
        let misses = self.misses.load(Ordering::Relaxed) + live.misses();
        if reads >= READS_MIN {
            self.hit.store(misses.saturating_mul(50) < reads, Ordering::Relaxed);
        }
        self.hit.load(Ordering::Relaxed)
    }
}

impl TreeInner {
    /// Says how the tree will stand when `inputs` have become tables of `dest`, with `flushed` entries that come from
    /// memory.
    pub(super) fn set_filter_scene(
        &self,
        view: &SuperVersion,
        inputs: Option<&Inputs>,
        dest: Level,
        flushed: u64,
    ) {
        let levels = loads(&view.version.levels, inputs, dest, flushed);
        let reads_hit = self.env.policy.expect_point_read_hits == ExpectHits::Auto
            && self.last_level_reads.conclude(&self.live_last_level(view));
        self.env.filters.set_scene(FilterScene { levels, reads_hit });
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

    fn live_last_level(&self, view: &SuperVersion) -> FilterStats {
        let last = Level::new(view.version.levels.count().saturating_sub(1));
        let mut live = FilterStats::default();
        let tables = view.version.levels.level(last).tables().map(|descriptor| descriptor.id);
        for table in tables.filter_map(|id| self.table(id)) {
            live.add(&table.filter_stats());
        }
        live
    }
}

fn loads(levels: &Levels, inputs: Option<&Inputs>, dest: Level, flushed: u64) -> Vec<LevelLoad> {
    let mut loads: Vec<LevelLoad> = levels
        .iter()
        .map(|(_, level)| LevelLoad {
            entries: level.tables().map(|table| table.counts.entries).sum(),
            runs: u32::try_from(level.runs().len()).unwrap_or(u32::MAX),
        })
        .collect();
    let mut moved = flushed;
    for part in inputs.iter().flat_map(|inputs| inputs.parts()) {
        let entries = part.tables.iter().map(|table| table.counts.entries).sum();
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
        assert!(!reads.conclude(&stats(99_999, 0)), "too few to tell");
        assert!(!reads.conclude(&stats(98_000, 2_000)), "2 % miss");
        assert!(reads.conclude(&stats(98_001, 1_999)));
        assert!(reads.conclude(&stats(10, 10)), "too few to change one's mind");
        reads.retire(&stats(90_000, 0));
        assert!(reads.conclude(&stats(10_000, 0)));
        assert!(!reads.conclude(&stats(10_000, 10_000)), "the ratio rose");
        for _ in 0..40 {
            reads.retire(&stats(1_000_000, 0));
        }
        assert!(reads.conclude(&stats(0, 0)));
        for _ in 0..3 {
            reads.retire(&stats(0, 1_000_000));
        }
        assert!(!reads.conclude(&stats(0, 0)), "old reads do not count for ever");
    }
}
