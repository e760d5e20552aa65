//! Power cuts at every moment of a workload, and everything a disk may have kept of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/subject.rs"]
mod subject;

use lsm_fs::SystemClock;
use lsm_testkit::{
    crash::{Campaign, Effort, Tally, campaign},
    dice::Dice,
    sim::{Profile, SimConfig, Strategy},
};
use lsm_types::Clock as _;
use subject::TreeSubject;

/// Random workloads, half of them under a fault.
const RANDOM: Campaign = Campaign {
    seed: 1,
    first: 0,
    config: SimConfig::DEFAULT,
    effort: Effort { strategy: Strategy::GATE, nested_one_in: 100, go_on_one_in: 16, go_on_ops: 8, seed: 0 },
    ops_max: 40,
    exhaustive_len: 0,
    faulty_one_in: 2,
};

/// All workloads of up to so many operations.
const fn all_of(len: u32) -> Campaign {
    Campaign { ops_max: 0, exhaustive_len: len, ..RANDOM }
}

#[track_caller]
fn run(name: &str, plan: &Campaign, more: impl Fn(&Tally) -> bool + Sync) -> Tally {
    run_as(name, plan, TreeSubject::new, more)
}

/// The same with trees of a certain kind.
#[track_caller]
fn run_as(
    name: &str,
    plan: &Campaign,
    subject: impl Fn(&mut Dice) -> TreeSubject + Sync,
    more: impl Fn(&Tally) -> bool + Sync,
) -> Tally {
    match campaign(plan, subject, more) {
        Ok(tally) => {
            println!("crash: {name}: {tally}");
            tally
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// Proves D-14, D-23, D-28, D-32, D-39, D-41, D-46, D-47, E-4, E-114, E-127, I-2, C-147, C-167, C-169.
#[test]
fn every_image_of_a_power_cut_opens_with_what_a_flush_made_durable() {
    // No operation that writes is left out: each is crashed in, and so is each of its recoveries.
    let seen = |tally: &Tally, label: &str| {
        tally.counts.sites.keys().any(|site| site.starts_with(&format!("{label}: ")))
    };
    let labels = ["create", "flush", "ingest", "compact", "compact all", "slices", "reopen", "close"];
    let is_all = |tally: &Tally| labels.iter().all(|label| seen(tally, label));
    let more = |tally: &Tally| tally.workloads < 32 || (tally.workloads < 100 && !is_all(tally));
    let tally = run("random", &RANDOM, more);
    assert!(tally.counts.images > 5_000, "{tally}");
    for label in labels {
        assert!(seen(&tally, label), "{label}");
    }
    for site in ["rename", "sync directory", "remove", "set length", "failed sync"] {
        assert!(tally.counts.sites.keys().any(|known| known.contains(&format!(": {site} "))), "{site}");
    }
}

/// Tables of some levels lie in another directory.
///
/// Proves D-27.
#[test]
fn two_directories_are_one_database() {
    let plan = Campaign { seed: 7, ops_max: 20, ..RANDOM };
    run_as("two directories", &plan, TreeSubject::routed, |tally| tally.workloads < 3);
}

/// Values lie apart from their keys.
///
/// Proves D-82, C-173.
#[test]
fn value_logs_and_tables_are_one_state() {
    let plan = Campaign { seed: 9, ops_max: 16, ..RANDOM };
    run_as("separated", &plan, TreeSubject::separated, |tally| tally.workloads < 3);
}

/// Proves D-82.
#[test]
fn every_short_workload_survives_with_all_values_apart() {
    let tally = run_as("short, apart", &all_of(1), TreeSubject::apart, |_| true);
    assert_eq!(tally.workloads, 11);
}

#[test]
fn every_short_workload_survives() {
    let tally = run("short", &all_of(2), |_| true);
    assert_eq!(tally.workloads, 11 + 121);
}

/// Disks of other kinds: large sectors, stale bytes under a grown length, ext4.
///
/// Fault: durability W-36.
#[test]
fn every_kind_of_disk_is_survived() {
    for (name, config) in kinds() {
        run(name, &Campaign { config, ..RANDOM }, |tally| tally.workloads < 10);
    }
}

/// Proves D-14.
#[test]
fn nothing_relies_on_a_sync_through_another_handle() {
    let config = SimConfig { own_syncs_only: true, ..SimConfig::DEFAULT };
    run("own syncs", &Campaign { config, ..RANDOM }, |tally| tally.workloads < 12);
}

fn kinds() -> [(&'static str, SimConfig); 3] {
    [
        ("4 KiB sectors", SimConfig { sector: 4_096, ..SimConfig::DEFAULT }),
        ("stale bytes", SimConfig { profile: Profile::StaleExposed, ..SimConfig::DEFAULT }),
        ("ext4", SimConfig { profile: Profile::Ext4Ordered, ..SimConfig::DEFAULT }),
    ]
}

/// Runs for `LSM_TORTURE_SECONDS` from `LSM_TORTURE_SEED`: see `cargo xtask torture crash`.
#[test]
#[ignore = "takes as long as it is told to; run by `cargo xtask torture crash`"]
fn torture() {
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok()).unwrap_or(default)
    };
    let (seed, seconds) = (number("LSM_TORTURE_SEED", 1), number("LSM_TORTURE_SECONDS", 60));
    let clock = SystemClock::new();
    let until = |share: u64| {
        let clock = &clock;
        move |_: &Tally| clock.monotonic_nanos() < seconds * share * 10_000_000
    };
    let effort = Effort { strategy: Strategy::FULL, ..RANDOM.effort };
    let random = Campaign { seed, effort, ..RANDOM };
    // Everything short first, at most a third of the time; then a tenth for each other disk and for values apart; the rest
    // on the weakest.
    let mut tallies = vec![run("short", &Campaign { seed, effort, ..all_of(3) }, until(33))];
    let mut share = 33;
    for (name, config) in kinds() {
        share += 10;
        tallies.push(run(name, &Campaign { config, ..random }, until(share)));
    }
    share += 10;
    tallies.push(run_as("separated", &random, TreeSubject::separated, until(share)));
    tallies.push(run("random", &random, until(100)));
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    println!(
        "torture: {} workloads, {} images of power cuts and {} of power cuts while recovering, seed {seed}, no violation",
        sum(|tally| tally.workloads),
        sum(|tally| tally.counts.images),
        sum(|tally| tally.counts.nested),
    );
    for (site, points) in &tallies.last().unwrap().counts.sites {
        println!("torture: {points:8} crash points after {site}");
    }
}
