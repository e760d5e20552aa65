//! What to compact: strategies of the `lsm` storage engine as pure functions of table descriptors.
//!
//! A [`CompactionStrategy`] looks at a [`PlanView`], the tables of a tree by level and run, and answers with a [`Plan`]:
//! merge these, move those, drop these, or nothing. It opens no file, reads no clock and keeps no state, so a decision
//! can be replayed and tried in the simulator ([`sim`]). [`validate`] says whether a plan may run at all; the engine asks
//! it before every job, so a strategy with a fault costs time, never data.
//!
//! [`Leveled`] is the strategy to start with. [`SizeTiered`] and [`LazyLeveling`] write less and read more, [`Fifo`]
//! forgets. [`Overdue`], [`DropRange`], [`Heal`] and [`ValueGc`] are put beside one of them by [`Fallback`] and [`PriorityList`].
//! [`relief`] lists what frees space, in the order in which to do it when the disk is short.
//! [`Major`], [`MoveDown`] and [`PullDown`] are asked once, by hand. Writing one's own takes one impl:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use lsm_compaction_planner::{
//!     CompactionStrategy, KeyOrder, Plan, PlanView, Settings, TableId, sim::Sim,
//! };
//!
//! /// Keys start with a date. Keeps one table a day, never mixes days, drops days past retention.
//! struct DailyTiers {
//!     keep_days: usize,
//! }
//!
//! impl CompactionStrategy for DailyTiers {
//!     fn name(&self) -> &'static str {
//!         "daily-tiers"
//!     }
//!
//!     fn settings(&self) -> Settings {
//!         Settings::new().with("keep_days", self.keep_days)
//!     }
//!
//!     fn plan(&self, view: &PlanView<'_>) -> Plan {
//!         if !view.busy.is_empty() {
//!             return Plan::Idle; // one job at a time
//!         }
//!         let mut days: BTreeMap<&[u8], Vec<TableId>> = BTreeMap::new();
//!         for (_, table) in view.levels.tables() {
//!             let Some(entries) = &table.entries else { continue };
//!             days.entry(&entries.min[.."2024-05-01".len()]).or_default().push(table.id);
//!         }
//!         if days.len() > self.keep_days {
//!             let oldest = days.into_values().next();
//!             return oldest.map_or(Plan::Idle, |tables| Plan::drop_tables(view, tables));
//!         }
//!         let full = days.into_values().find(|tables| tables.len() >= 4);
//!         full.map_or(Plan::Idle, |tables| Plan::merge(view, tables, view.last_level(), 256 << 20))
//!     }
//! }
//!
//! let mut sim = Sim::new(7, KeyOrder::bytewise(), 100);
//! let strategy = DailyTiers { keep_days: 3 };
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

mod busy;
mod compose;
mod cutter;
mod dead_weight;
mod drop_range;
mod fifo;
mod heal;
mod lazy;
mod leveled;
mod major;
mod output;
mod overdue;
mod plan;
mod purge;
mod relief;
mod settings;
mod slice;
mod space;
mod span;
mod strategy;
mod stripe;
mod tiered;
mod validate;
mod value_gc;
mod values;
mod view;
mod vlog_picker;

pub mod contract;
pub mod forecast;
pub mod sim;

pub use busy::BusySet;
pub use compose::{Fallback, PriorityList};
pub use cutter::Cutter;
pub use drop_range::{DropRange, is_covered};
pub use fifo::Fifo;
pub use heal::Heal;
pub use lazy::LazyLeveling;
pub use leveled::Leveled;
pub use lsm_manifest::{LevelRuns, Levels, Run, TableDescriptor, Tables};
pub use lsm_types::{KeyOrder, Level, RunId, TableId};
pub use major::{Major, MoveDown, PullDown};
pub use output::{BelowTable, OutputSpec};
pub use overdue::Overdue;
pub use plan::{DropPlan, Inputs, MergePlan, MovePlan, Plan, Reason, RunPart};
pub use purge::{DeadShare, DeleteStrategy, Purge};
pub use relief::{Relief, ReliefKind, ReliefLimits, Relieve, relief};
pub use settings::{SettingValue, Settings};
pub use slice::{SliceBudget, SliceLimits};
pub use space::{Admission, Demand, Grant, Ledger, Shortage, Space, Volume, admit};
pub use strategy::{CompactionStrategy, Debt, Obstacle};
pub use tiered::SizeTiered;
pub use validate::{Refusal, validate};
pub use value_gc::ValueGc;
pub use values::{Picked, ValuesView};
pub use view::{LevelsView, PlanView, TreeShape};
pub use vlog_picker::{VlogFigures, VlogPicker};
