//! The same seed gives the same interleaving, other seeds give others, and locks do not stop the schedule.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::Path;

use lsm_fs::{Fs, OpenOptions, SyncLevel};
use lsm_testkit::schedule::{Policy, Schedule, Work};
use lsm_testkit::sim::SimFs;
use parking_lot::Mutex;

/// Three tasks that append to files of their own; `lock` is held over every second append.
fn run(seed: u64, policy: Policy) -> (Vec<String>, (u64, u64)) {
    let (fs, schedule) = (SimFs::default(), Schedule::new(seed, policy));
    let lock = Mutex::new(0);
    let work = |name: &'static str| -> Work<'_> {
        let (fs, lock) = (&fs, &lock);
        Box::new(move || {
            let file = fs.open(Path::new(name), &OpenOptions::CREATE_NEW).unwrap();
            for number in 0..4_u8 {
                let mut held = (number % 2 == 0).then(|| lock.lock());
                file.append(&[number]).unwrap();
                file.sync(SyncLevel::Full).unwrap();
                if let Some(held) = &mut held {
                    **held += 1;
                }
            }
        })
    };
    schedule.run(&fs, vec![("one", work("/a")), ("two", work("/b")), ("three", work("/c"))]);
    assert_eq!(*lock.lock(), 6);
    (fs.trace().iter().map(ToString::to_string).collect(), schedule.order())
}

#[test]
fn a_seed_repeats_its_interleaving() {
    for policy in [Policy::Random, Policy::RoundRobin, Policy::Priorities(3)] {
        let mut seen = BTreeSet::new();
        for seed in 0..8 {
            let first = run(seed, policy);
            assert_eq!(run(seed, policy), first, "{policy:?}, seed {seed}");
            seen.insert(first.0);
        }
        let expected = if policy == Policy::RoundRobin { 1 } else { 4 };
        assert!(seen.len() >= expected, "{policy:?} knows {} interleavings", seen.len());
    }
}

#[test]
fn a_task_that_panics_ends_the_run() {
    let (fs, schedule) = (SimFs::default(), Schedule::new(1, Policy::Random));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let fails: Work<'_> = Box::new(|| panic!("on purpose"));
        let goes_on: Work<'_> = Box::new(|| {
            fs.open(Path::new("/a"), &OpenOptions::CREATE_NEW).unwrap();
        });
        schedule.run(&fs, vec![("fails", fails), ("goes on", goes_on)]);
    }));
    assert!(outcome.is_err() && fs.exists(Path::new("/a")).unwrap());
}
