//! Forecasts against trees of the engine: the same strategies, the same workloads, the same number of tables.
//!
//! `cargo xtask simulate agree` runs the full size and prints a table; the default suite runs a small one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test should fail where it fails"
)]

#[path = "../common/mod.rs"]
mod common;
mod figures;
mod forecast;
mod real;
mod trials;

use figures::{Amplifications, NAMES};
use lsm_compaction_planner::forecast::{OVERWRITE, SERIES, SKEWED, Workload};
use trials::{APART_PERCENT_MAX, FULL, SMALL, STRATEGIES, Size, WORKLOADS, strategy};

/// A workload under a strategy, forecast and run.
struct Pair {
    workload: &'static str,
    strategy: &'static str,
    forecast: Amplifications,
    real: Amplifications,
}

impl Pair {
    fn run(size: &Size, workload: &Workload, name: &'static str) -> Self {
        let bytes = real::weigh(size);
        let chosen = strategy(name, size.table_bytes);
        let forecast = forecast::run(size, workload, &*chosen, &bytes).unwrap();
        let real = real::run(size, workload, &*chosen, &bytes).amplifications();
        Self { workload: workload.name, strategy: name, forecast, real }
    }

    fn agrees(&self) -> bool {
        let most = 1.0 + f64::from(APART_PERCENT_MAX) / 100.0;
        self.forecast.ratios(&self.real).iter().all(|ratio| (1.0 / most..=most).contains(ratio))
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "| {} | {} ", self.workload, self.strategy)?;
        for (at, ratio) in self.forecast.ratios(&self.real).into_iter().enumerate() {
            write!(f, "| {:.2} | {:.2} | {ratio:.2} ", self.real.0[at], self.forecast.0[at])?;
        }
        write!(f, "|")
    }
}

#[track_caller]
fn check(workload: &Workload, strategy: &'static str) {
    let pair = Pair::run(&SMALL, workload, strategy);
    assert!(pair.agrees(), "too far apart: {pair}");
}

#[test]
fn leveling_under_overwrites_is_as_forecast() {
    check(&OVERWRITE, "leveled");
}

#[test]
fn tiering_under_skewed_writes_and_deletes_is_as_forecast() {
    check(&SKEWED, "tiered");
}

#[test]
fn lazy_leveling_of_a_series_is_as_forecast() {
    check(&SERIES, "lazy");
}

/// `cargo xtask simulate agree`.
#[test]
#[ignore = "minutes"]
fn agree() {
    let columns = NAMES.map(|name| format!("| {name} real | forecast | ratio "));
    println!("| workload | strategy {}|", columns.concat());
    println!("|---|---{}|", "|---|---|---".repeat(NAMES.len()));
    let mut far = Vec::new();
    for workload in WORKLOADS {
        for strategy in STRATEGIES {
            let pair = Pair::run(&FULL, workload, strategy);
            println!("{pair}");
            far.extend((!pair.agrees()).then(|| format!("{} {}", pair.workload, pair.strategy)));
        }
    }
    assert!(far.is_empty(), "more than {APART_PERCENT_MAX} % apart: {}", far.join(", "));
}
