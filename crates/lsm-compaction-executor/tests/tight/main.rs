//! Merges carried out slice by slice, on tables in memory and with an installer that only takes notes: what is read is the
//! same after every slice.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a panic fails the test")]

mod world;
#[path = "../../../lsm-engine/tests/common/wrap.rs"]
mod wrap;

use std::sync::Arc;

use lsm_compaction_executor::{
    Cancel, ExecutorError, Failpoints, NoFailpoints, SliceEnds, Standard, TightSpace, run_job,
};
use lsm_compaction_planner::Shortage;
use lsm_testkit::dice::Dice;
use lsm_types::{ErrorKind, KeyOrder};
use parking_lot::Mutex;
use world::{Budgets, Disk, World};

fn tight(budgets: &Arc<Budgets>, min_bytes: u64) -> TightSpace<Standard> {
    TightSpace::new(Standard, budgets.clone(), min_bytes)
}

/// Merges all inputs of a random world, checks every step, and gives the number of slices, and of those that were begun
/// before the one before was installed.
fn merge_all(seed: u64, disk: Disk, goes_ahead: bool) -> (u64, u64) {
    let mut world = World::random(seed, disk);
    let expected = world.reads();
    let entries = world.entries();
    let budgets = Budgets::repeating(Dice::new(seed).below(3_000) + 200).going_ahead(goes_ahead);
    let budgets = Arc::new(budgets);
    let job = world.job(Cancel::new(), Arc::new(NoFailpoints));
    let notes = world.installer(&job, &expected);
    let done = run_job(&job, &[&tight(&budgets, 0)], &notes).unwrap();
    let sliced = done.sliced.unwrap();
    assert_eq!((done.flavour, sliced.remaining_bytes, sliced.shortage), ("tight-space", 0, None));
    assert_eq!(sliced.slices, notes.installs());
    assert_eq!(done.entries + done.dropped.total(), entries, "seed {seed}");
    drop(job);
    let left = notes.state();
    assert!(left.iter().all(|table| table.lower.is_none()), "seed {seed}: all inputs are gone");
    assert_eq!(world.files(), left.len(), "seed {seed}");
    (sliced.slices, budgets.ahead())
}

/// Proves C-124, C-125, C-130, C-131, C-97, I-1: versions, deletes of all kinds and range deletes over the borders;
/// all reads the watermark allows, after every slice. Fault: compaction W-1, W-14.
#[test]
fn reads_are_the_same_after_every_slice() {
    let mut slices = 0;
    for seed in 0..60 {
        slices += merge_all(seed, Disk::Punching, false).0;
    }
    assert!(slices > 300, "{slices}");
}

/// Proves C-124, C-125, C-130, C-131, C-97, I-1: the same where slices are made while the ones before are installed.
#[test]
fn slices_may_be_made_ahead() {
    let mut slices = (0, 0);
    for seed in 0..60 {
        let (all, ahead) = merge_all(seed, Disk::Punching, true);
        slices = (slices.0 + all, slices.1 + ahead);
    }
    assert!(slices.0 > 300 && slices.0 - slices.1 < 120, "{slices:?}");
}

/// Proves C-121: on a volume that gives back whole files alone, inputs leave one by one. Fault: compaction W-19.
#[test]
fn without_punching_inputs_leave_one_by_one() {
    let mut most = 0;
    for seed in 200..220 {
        let (slices, ahead) = merge_all(seed, Disk::Plain, true);
        assert_eq!(ahead, 0, "what one gives back the next one needs");
        most = most.max(slices);
    }
    assert!(most >= 3, "{most}");
}

/// Proves C-124, C-136: as much is read and written as by an ordinary merge, but for what each file takes by itself.
#[test]
fn slices_write_what_one_merge_writes() {
    for seed in 300..310 {
        let entries = |tight_space: bool| {
            let mut world = World::random(seed, Disk::Punching);
            let expected = world.reads();
            let job = world.job(Cancel::new(), Arc::new(NoFailpoints));
            let notes = world.installer(&job, &expected);
            let budgets = Arc::new(Budgets::repeating(700));
            let done = if tight_space {
                run_job(&job, &[&tight(&budgets, 0)], &notes)
            } else {
                run_job(&job, &[&Standard], &notes)
            };
            let done = done.unwrap();
            (done.entries, done.dropped, notes.entries_left())
        };
        assert_eq!(entries(true), entries(false), "seed {seed}");
    }
}

/// Proves C-135: a slice that drops most of what it reads goes on until it has written its least.
#[test]
fn slices_that_drop_much_go_on() {
    let mut world = World::shadowed(4_000);
    let expected = world.reads();
    let job = world.job(Cancel::new(), Arc::new(NoFailpoints));
    let notes = world.installer(&job, &expected);
    let budgets = Arc::new(Budgets::repeating(4_000));
    let done = run_job(&job, &[&tight(&budgets, 2_000)], &notes).unwrap();
    let (slices, tables) = (done.sliced.unwrap().slices, done.tables);
    assert!(tables as u64 <= slices && slices >= 3, "{slices} slices, {tables} tables");
    assert!(done.bytes / slices >= 2_000, "{} bytes in {slices}", done.bytes);
}

/// Proves C-123, C-133, D-125: when there is no room for the next slice the job ends with what it has, says why, and
/// the tree reads as before. Where there is none for the first one nothing happens.
#[test]
fn a_job_ends_where_room_ends() {
    for allowed in 0..4 {
        let mut world = World::shadowed(2_000);
        let expected = world.reads();
        let job = world.job(Cancel::new(), Arc::new(NoFailpoints));
        let notes = world.installer(&job, &expected);
        let budgets = Arc::new(Budgets::limited(2_000, allowed));
        let sliced = run_job(&job, &[&tight(&budgets, 0)], &notes).unwrap().sliced.unwrap();
        assert_eq!((sliced.slices, sliced.shortage), (allowed, Some(Shortage::Reserve)));
        assert_eq!(notes.installs(), allowed);
        assert!(sliced.remaining_bytes > 0 && (sliced.released_bytes > 0) == (allowed > 0));
        assert_eq!(budgets.asked(), vec![SliceEnds::Blocks; allowed as usize + 1]);
    }
}

/// Stops the job, or fails, when a point was passed so many times.
struct At {
    point: &'static str,
    left: Mutex<u64>,
    cancel: Option<Cancel>,
}

impl Failpoints for At {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        let mut left = self.left.lock();
        if point != self.point || *left == 0 {
            return Ok(());
        }
        *left -= 1;
        match &self.cancel {
            _ if *left > 0 => Ok(()),
            Some(cancel) => {
                cancel.cancel();
                Ok(())
            }
            None => Err(ExecutorError::Injected { point }),
        }
    }
}

/// Proves C-133, C-159, I-2: stopped or failing between slices and inside them, the job leaves whole slices and no
/// files besides. Fault: compaction W-2, W-38.
#[test]
fn a_stop_leaves_whole_slices() {
    check_stops(false);
}

/// Proves C-133, C-159, I-2: the same where a slice is made while the one before is installed: one that fails leaves the one
/// before alone, and takes the one behind along. Fault: compaction W-2, W-38.
#[test]
fn a_stop_of_slices_made_ahead_leaves_whole_slices() {
    check_stops(true);
}

fn check_stops(ahead: bool) {
    for point in ["segment.entry", "segment.seal", "sync.file", "sync.dir", "install.before", "install.after"]
    {
        for pass in 1..5 {
            for stops in [false, true] {
                let mut world = World::shadowed(2_000);
                let expected = world.reads();
                let cancel = Cancel::new();
                let at = At { point, left: Mutex::new(pass), cancel: stops.then(|| cancel.clone()) };
                let job = world.job(cancel, Arc::new(at));
                let notes = world.installer(&job, &expected);
                let budgets = Arc::new(Budgets::repeating(2_000).going_ahead(ahead));
                let error = run_job(&job, &[&tight(&budgets, 0)], &notes).unwrap_err();
                let kind = if stops { ErrorKind::Cancelled } else { ErrorKind::Bug };
                assert_eq!(error.kind(), kind, "{point} {pass}: {error}");
                // A stop that comes after the last look is heard after the install.
                let is_late = point == "install.after" || (point == "install.before" && stops);
                let whole = if is_late { pass } else { pass - 1 };
                // One on its way hears a stop, too, if it is not too late for that.
                let least = if stops && ahead { whole.saturating_sub(1) } else { whole };
                assert!((least..=whole).contains(&notes.installs()), "{point} {pass} {}", notes.installs());
                drop(job);
                assert_eq!(world.files(), notes.state().len(), "{point} {pass}");
            }
        }
    }
}

/// Proves C-123, D-125: where room ends while a slice is on its way the job ends when that one is installed.
#[test]
fn a_job_that_goes_ahead_ends_where_room_ends() {
    for allowed in 0..5 {
        let mut world = World::shadowed(2_000);
        let expected = world.reads();
        let job = world.job(Cancel::new(), Arc::new(NoFailpoints));
        let notes = world.installer(&job, &expected);
        let budgets = Arc::new(Budgets::limited(2_000, allowed).going_ahead(true));
        let done = run_job(&job, &[&tight(&budgets, 0)], &notes).unwrap();
        let sliced = done.sliced.unwrap();
        assert_eq!((sliced.slices, sliced.shortage), (allowed, Some(Shortage::Reserve)));
        assert_eq!((notes.installs(), budgets.ahead()), (allowed, allowed.saturating_sub(1)));
        assert!(sliced.remaining_bytes > 0 && (sliced.released_bytes > 0) == (allowed > 0));
    }
}

/// Proves I-12: whatever order keys have. Fault: compaction W-11.
#[test]
fn slices_follow_the_order_of_keys() {
    for (number, comparator) in lsm_testkit::comparators::all().into_iter().enumerate() {
        let mut world = World::ordered(40 + number as u64, KeyOrder::new(comparator));
        let expected = world.reads();
        let job = world.job(Cancel::new(), Arc::new(NoFailpoints));
        let notes = world.installer(&job, &expected);
        let budgets = Arc::new(Budgets::repeating(900));
        let done = run_job(&job, &[&tight(&budgets, 0)], &notes).unwrap();
        assert!(done.sliced.unwrap().slices > 2);
    }
}
