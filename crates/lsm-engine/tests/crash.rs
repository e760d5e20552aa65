//! Power cuts at every moment of a workload, and everything a disk may have kept of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/subject.rs"]
mod subject;

use lsm_fs::SystemClock;
use lsm_testkit::{
    crash::{Campaign, Effort, Tally, campaign},
    sim::{Profile, SimConfig, Strategy},
};
use lsm_types::Clock as _;
use subject::TreeSubject;

const SLICE: Campaign = Campaign {
    seed: 1,
    first: 0,
    config: SimConfig::DEFAULT,
    effort: Effort { strategy: Strategy::GATE, nested_one_in: 50, go_on_one_in: 16, go_on_ops: 8, seed: 0 },
    ops_max: 40,
    exhaustive_len: 3,
    faulty_one_in: 2,
};

#[track_caller]
fn check(plan: &Campaign, workloads: u64) -> Tally {
    let more = |tally: &Tally| tally.workloads < workloads;
    match campaign(plan, TreeSubject::new, more) {
        Ok(tally) => {
            println!("crash: {tally}");
            tally
        }
        Err(violation) => panic!("{violation}"),
    }
}

/// Proves D-14, D-23, D-28, D-32, D-39, D-41, D-46, D-47, E-4, E-114, I-2, C-147, C-167, C-169.
#[test]
fn every_image_of_a_power_cut_opens_with_what_a_flush_made_durable() {
    let tally = check(&SLICE, 40);
    assert!(tally.counts.images > 200);
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
    let mut sum = 0;
    // A tenth of the time on each of these, the rest on the weakest disk.
    let kinds = [
        ("4 KiB sectors", SimConfig { sector: 4_096, ..SimConfig::DEFAULT }),
        ("stale bytes", SimConfig { profile: Profile::StaleExposed, ..SimConfig::DEFAULT }),
        ("own syncs", SimConfig { own_syncs_only: true, ..SimConfig::DEFAULT }),
        ("ext4", SimConfig { profile: Profile::Ext4Ordered, ..SimConfig::DEFAULT }),
        ("POSIX", SimConfig::DEFAULT),
    ];
    for (index, (name, config)) in kinds.into_iter().enumerate() {
        let effort = Effort { strategy: Strategy::FULL, nested_one_in: 200, ..SLICE.effort };
        let plan = Campaign { seed, config, effort, ..SLICE };
        let share = if index + 1 == kinds.len() { seconds } else { seconds * (index as u64 + 1) / 10 };
        let more = |_: &Tally| clock.monotonic_nanos() < share * 1_000_000_000;
        match campaign(&plan, TreeSubject::new, more) {
            Ok(tally) => {
                println!("torture: {name}: {tally}");
                sum += tally.counts.images + tally.counts.nested;
            }
            Err(violation) => panic!("{name}: {violation}"),
        }
    }
    println!("torture: {sum} images opened and checked, no violation");
}
