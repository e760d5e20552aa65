//! Random lives of a tree against its whole history: every form of read, at every bound that may be read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unnecessary_wraps,
    reason = "a test should fail where it fails"
)]

mod common;
#[path = "common/life.rs"]
mod life;
#[path = "common/read_forms.rs"]
mod read_forms;
#[path = "common/wrap.rs"]
mod wrap;

use std::num::NonZero;

use life::Living;
use lsm_fs::SystemClock;
use lsm_testkit::universe::{Campaign, Tally, campaign, relive};
use lsm_types::Clock as _;

const ONE: NonZero<usize> = NonZero::<usize>::MIN;

#[track_caller]
fn run(plan: &Campaign, more: impl Fn(&Tally) -> bool + Sync) -> Tally {
    match campaign::<Living>(plan, more) {
        Ok(tally) => tally,
        Err(failure) => panic!("{failure}"),
    }
}

/// Proves E-11, E-12, E-14, E-18, E-19, E-22, E-23, E-43, E-46, E-48, E-50, E-55, E-57, E-60, E-61, E-62, E-63, E-74, E-76, E-77,
/// E-78, E-79, E-83, E-96, E-98, E-100, E-102, I-1, E-29, E-30, E-31, E-32, E-33, E-34, E-36, E-37, E-42, E-128, E-129, E-130,
/// E-148, E-149, E-150, E-64, E-152, E-154, F-93, F-97. Fault: engine W-1, W-2.
/// Fault: engine W-34. Fault: formats W-44.
#[test]
fn every_read_answers_from_the_history() {
    let more = |tally: &Tally| tally.lives < 80 || (tally.lives < 300 && !tally.missing().is_empty());
    let tally = run(&Campaign { seed: 1, threads: ONE, ops_max: 60, shrink: true }, more);
    println!("model: {tally}");
    assert_eq!(tally.missing(), Vec::<String>::new(), "nothing is left out: {tally}");
}

/// Runs for `LSM_TORTURE_SECONDS` from `LSM_TORTURE_SEED`: see `cargo xtask torture oracle`. With `LSM_TORTURE_LIFE`, that one
/// life of the seed only, as it was.
#[test]
#[ignore = "takes as long as it is told to; run by `cargo xtask torture oracle`"]
fn torture() {
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok()).unwrap_or(default)
    };
    let (seed, seconds) = (number("LSM_TORTURE_SEED", 1), number("LSM_TORTURE_SECONDS", 60));
    let shrink = number("LSM_TORTURE_SHRINK", 1) != 0;
    let threads = std::thread::available_parallelism().unwrap_or(ONE);
    let clock = SystemClock::new();
    let plan = Campaign { seed, threads, ops_max: 300, shrink };
    if let Ok(life) = std::env::var("LSM_TORTURE_LIFE") {
        let life = life.parse().unwrap();
        relive::<Living>(&plan, life).map_err(|failure| failure.to_string()).unwrap();
        return;
    }
    let until = |_: &Tally| clock.monotonic_nanos() < seconds * 1_000_000_000;
    match campaign::<Living>(&plan, until) {
        Ok(tally) => {
            println!("torture: {tally}");
            println!("torture: no read differs, seed {seed}");
            assert_eq!(tally.missing(), Vec::<String>::new(), "nothing is left out");
        }
        Err(failure) => {
            let took = clock.monotonic_nanos() / 1_000_000;
            println!("torture: found after {} operations, {took} ms", failure.tally.operations);
            panic!("{failure}");
        }
    }
}
