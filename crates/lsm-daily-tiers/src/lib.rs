//! An example of a compaction strategy of one's own: daily partitions with retention.
//!
//! Keys start with a date, such as `2024-05-01T12:00`. The tables of a day are merged with each other and with no other
//! day's, and when there are more days than are kept, the oldest leaves unread, in one step, whatever its size.
//!
//! The crate depends on the planner alone: no engine, no files. It is tried in the planner's simulator and by its test
//! kit, and runs in a tree as it is: `tree.compact(&DailyTiers::default(), &CompactOptions::default())`.
//!
//! ```
//! use lsm_compaction_planner::{KeyOrder, sim::Sim};
//! use lsm_daily_tiers::DailyTiers;
//!
//! let mut sim = Sim::new(7, KeyOrder::bytewise(), 100);
//! let strategy = DailyTiers { keep_days: 3, ..DailyTiers::default() };
//! for day in 1..=5 {
//!     for hour in 0..4 {
//!         sim.flush((0..60).map(|minute| format!("2024-05-{day:02} {hour:02}:{minute:02}")));
//!         sim.settle(&strategy, 10)?;
//!     }
//! }
//! let days: Vec<_> = sim.levels().tables().map(|(level, table)| (level.get(), table.counts.entries)).collect();
//! assert_eq!(days, [(6, 240), (6, 240), (6, 240)]);
//! # Ok::<(), lsm_compaction_planner::sim::SimError>(())
//! ```
#![no_std]

extern crate alloc;

use alloc::{collections::BTreeMap, vec::Vec};

use lsm_compaction_planner::{
    CompactionStrategy, Plan, PlanView, Settings, TableDescriptor, TableId, validate,
};

/// One partition a day, for a number of days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DailyTiers {
    /// Days that are kept, the newest with data among them.
    pub keep_days: usize,
    /// Bytes at the start of a key that are its day.
    pub day_len: usize,
    /// A day with this many tables above the last level is merged into it.
    pub merge_width: usize,
    /// Length of a table, in bytes.
    pub table_target_bytes: u64,
}

impl Default for DailyTiers {
    /// Thirty days like `2024-05-01`.
    fn default() -> Self {
        Self { keep_days: 30, day_len: 10, merge_width: 4, table_target_bytes: 256 << 20 }
    }
}

impl CompactionStrategy for DailyTiers {
    fn name(&self) -> &'static str {
        "DailyTiers"
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .with("keep_days", self.keep_days)
            .with("day_len", self.day_len)
            .with("merge_width", self.merge_width)
            .with("table_target_bytes", self.table_target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let mut days: BTreeMap<&[u8], Day> = BTreeMap::new();
        for (level, table) in view.levels.tables() {
            let Some(name) = self.day(table) else { continue };
            let day = days.entry(name).or_default();
            day.tables.push(table.id);
            day.fresh_count += usize::from(level < view.last_level());
        }
        let expired = days.len().saturating_sub(self.keep_days.max(1));
        let drops =
            days.values().take(expired).map(|day| Plan::drop_tables(view, day.tables.iter().copied()));
        let full = days.values().skip(expired).filter(|day| day.fresh_count >= self.merge_width.max(1));
        let merges = full.map(|day| {
            Plan::merge(view, day.tables.iter().copied(), view.last_level(), self.table_target_bytes)
        });
        // A day may be busy, or wait for a table that reaches into the next day.
        let mut valid = drops.chain(merges).filter(|plan| validate(plan, view).is_ok());
        valid.next().unwrap_or(Plan::Idle)
    }
}

/// The tables of a day.
#[derive(Default)]
struct Day {
    tables: Vec<TableId>,
    /// How many of them stand above the last level.
    fresh_count: usize,
}

impl DailyTiers {
    /// The day of a table. One that was flushed around midnight belongs to the later one, so that nothing leaves early.
    fn day<'a>(&self, table: &'a TableDescriptor) -> Option<&'a [u8]> {
        let newest = table.entries.as_ref()?.max.as_ref();
        Some(newest.get(..self.day_len).unwrap_or(newest))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use lsm_compaction_planner::{KeyOrder, contract::Contract, sim::Sim};

    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        let strategy = DailyTiers { keep_days: 3, ..DailyTiers::default() };
        let contract = Contract {
            // A day is sixty keys.
            key: |nth| format!("{:010}T{:02}", nth / 60, nth % 60).into_bytes(),
            forgets: true,
            ..Contract::default()
        };
        assert_eq!(contract.check(&strategy), Ok(()));
    }

    #[test]
    fn a_table_that_reaches_over_midnight_stays_with_the_later_day() {
        let mut sim = Sim::new(7, KeyOrder::bytewise(), 1);
        let strategy = DailyTiers { keep_days: 1, ..DailyTiers::default() };
        sim.flush(["2024-05-01 10:00", "2024-05-01 11:00"]);
        sim.flush(["2024-05-01 23:59", "2024-05-02 00:01"]);
        sim.settle(&strategy, 10).unwrap();
        assert_eq!(sim.key_count(), 2, "the first day has left, but for what came with the second");
    }
}
