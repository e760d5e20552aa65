//! What to compact, decided from table descriptors alone: no files, no clock, no state.
#![no_std]

extern crate alloc;

mod busy;
mod cutter;
mod leveled;
mod major;
mod output;
mod plan;
mod settings;
mod span;
mod strategy;
mod validate;
mod view;

pub mod sim;

pub use busy::BusySet;
pub use cutter::Cutter;
pub use leveled::Leveled;
pub use lsm_manifest::{LevelRuns, Levels, Run, TableDescriptor, Tables};
pub use lsm_types::{KeyOrder, Level, RunId, TableId};
pub use major::{Major, MoveDown, PullDown};
pub use output::{BelowTable, OutputSpec};
pub use plan::{DropPlan, Inputs, MergePlan, MovePlan, Plan, Reason, RunPart};
pub use settings::{SettingValue, Settings};
pub use strategy::{CompactionStrategy, Debt};
pub use validate::{Refusal, validate};
pub use view::{LevelsView, PlanView, TreeShape};
