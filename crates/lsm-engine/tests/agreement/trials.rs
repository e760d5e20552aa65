//! What is run, fixed before it was run for the first time: three workloads under three strategies, in two sizes.
//!
//! The workloads are those that `cargo xtask simulate` forecasts. A tree of 20 GiB in tables of 64 MiB has 320 tables,
//! and so has one of 160 MiB in tables of 512 KiB: levels, windows and cuts are the same, only the bytes are fewer.

use lsm_compaction_planner::{
    CompactionStrategy, LazyLeveling, Leveled, SizeTiered,
    forecast::{OVERWRITE, SERIES, SKEWED, Workload},
};

use crate::figures::Bytes;

pub(crate) const WORKLOADS: [&Workload; 3] = [&OVERWRITE, &SKEWED, &SERIES];
pub(crate) const STRATEGIES: [&str; 3] = ["leveled", "tiered", "lazy"];

/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 16;
/// Where the dice of the real runs start.
pub(crate) const SEED: u64 = 2026;

/// How far figures of both may be apart, in percent of the smaller.
pub(crate) const APART_PERCENT_MAX: u8 = 25;

/// A size of the trees.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of a value.
    pub(crate) value_len: usize,
    /// Different keys of a workload that does not grow; an ascending one writes as many for each round.
    pub(crate) keys: u64,
    /// Writes that make a flush.
    pub(crate) flush_writes: u64,
    /// Writes after all keys are there, in percent of the keys; an ascending workload starts with nothing.
    pub(crate) percent: u64,
    /// Target of tables, in bytes: what a flush comes to.
    pub(crate) table_bytes: u64,
}

impl Size {
    /// Flushes of a run.
    pub(crate) fn flushes(&self) -> u64 {
        self.keys * self.percent / 100 / self.flush_writes
    }

    /// What so many entries come to.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes of a trial are small"
    )]
    pub(crate) fn bytes(entries: u64, bytes: &Bytes) -> u64 {
        (entries as f64 * bytes.entry).round() as u64
    }
}

/// As many tables as 20 GiB have: a minute or two, optimised.
pub(crate) const FULL: Size =
    Size { value_len: 100, keys: 1_446_311, flush_writes: 4_519, percent: 300, table_bytes: 512 << 10 };

/// Seconds, in a debug build. Values are large because a table takes more than 64 KiB whatever is in it.
pub(crate) const SMALL: Size =
    Size { value_len: 1_000, keys: 16_520, flush_writes: 180, percent: 150, table_bytes: 256 << 10 };

/// A strategy with its defaults, but for the length of tables.
pub(crate) fn strategy(name: &str, table_target_bytes: u64) -> Box<dyn CompactionStrategy> {
    match name {
        "leveled" => Box::new(Leveled { table_target_bytes, ..Leveled::default() }),
        "tiered" => Box::new(SizeTiered { table_target_bytes, ..SizeTiered::default() }),
        _ => Box::new(LazyLeveling { table_target_bytes, ..LazyLeveling::default() }),
    }
}
