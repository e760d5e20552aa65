//! Workload after workload, on all processors.

use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use lsm_types::{IoKind, IoOp};
use parking_lot::Mutex;

use super::check::{Counts, Effort, check_run};
use super::run::Run;
use super::subject::Subject;
use super::violation::Violation;
use crate::dice::Dice;
use crate::sim::{FaultPlan, FaultRule, SimConfig, SimFs};

/// Which workloads to run, and how hard to look at each.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Names the workloads: the same seed gives the same ones.
    pub seed: u64,
    /// Number of the first workload.
    pub first: u64,
    /// The disk.
    pub config: SimConfig,
    /// How hard to look; the seed in it is not used.
    pub effort: Effort,
    /// Operations of a random workload at most; 0 for no random workloads: the campaign ends with the short ones.
    pub ops_max: usize,
    /// Length up to which all workloads of the subject's alphabet are run; each takes turns with a random one. 0 for
    /// random ones alone.
    pub exhaustive_len: u32,
    /// One random workload in so many runs under a fault; 0 for none.
    pub faulty_one_in: u64,
}

/// What a campaign has looked at.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Workloads.
    pub workloads: u64,
    /// Of these, workloads made of the alphabet.
    pub exhaustive: u64,
    /// Of these, workloads under a fault.
    pub faulty: u64,
    /// What was looked at.
    pub counts: Counts,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points: u64 = self.counts.sites.values().sum();
        write!(
            f,
            "{} images of {points} crash points at {} places, {} nested, {} went on; {} workloads, {} of them all \
             short ones, {} under a fault",
            self.counts.images,
            self.counts.sites.len(),
            self.counts.nested,
            self.counts.went_on,
            self.workloads,
            self.exhaustive,
            self.faulty,
        )
    }
}

/// Runs workloads for as long as `more` says, given what was done so far; `make` makes the store of each.
///
/// # Errors
/// The violation of the first workload that has one, whichever thread is faster. Its origin tells seed and number of the
/// workload.
pub fn campaign<S: Subject>(
    plan: &Campaign,
    make: impl Fn(&mut Dice) -> S + Sync,
    more: impl Fn(&Tally) -> bool + Sync,
) -> Result<Tally, Box<Violation>> {
    let next = AtomicU64::new(plan.first);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let violation: Mutex<Option<(u64, Box<Violation>)>> = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::Relaxed) && more(&tally.lock()) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            match run_one(plan, &make, number) {
                Ok(Some(done)) => tally.lock().add(done),
                Ok(None) => return,
                Err(found) => {
                    stop.store(true, Ordering::Relaxed);
                    let mut violation = violation.lock();
                    if violation.as_ref().is_none_or(|(first, _)| number < *first) {
                        *violation = Some((number, found));
                    }
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    match violation.into_inner() {
        Some((_, violation)) => Err(violation),
        None => Ok(tally.into_inner()),
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.workloads += other.workloads;
        self.exhaustive += other.exhaustive;
        self.faulty += other.faulty;
        self.counts.add(other.counts);
    }
}

fn run_one<S: Subject>(
    plan: &Campaign,
    make: impl Fn(&mut Dice) -> S,
    number: u64,
) -> Result<Option<Tally>, Box<Violation>> {
    let mut dice = Dice::new(plan.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let subject = make(&mut dice);
    let short = short_workload(&subject, plan, number);
    let is_short = short.is_some();
    if !is_short && plan.ops_max == 0 {
        return Ok(None);
    }
    let ops = short.unwrap_or_else(|| {
        let len = 1 + dice.index(plan.ops_max);
        (0..len).map(|_| subject.random_op(&mut dice)).collect()
    });
    let fs = SimFs::new(plan.config);
    let fault = (!is_short && dice.one_in(plan.faulty_one_in)).then(|| set_fault(&fs, &mut dice));
    // What fails is over half-way, so that the rest shows whether the store recovers by itself.
    let lift_at = if fault.is_some() { ops.len().div_ceil(2) } else { 0 };
    let effort = Effort { seed: dice.roll(), ..plan.effort };
    let outcome =
        Run::execute(&subject, &fs, &ops, lift_at).and_then(|run| check_run(&subject, &run, &effort));
    match outcome {
        Ok(counts) => Ok(Some(Tally {
            workloads: 1,
            exhaustive: u64::from(is_short),
            faulty: u64::from(fault.is_some()),
            counts,
        })),
        Err(mut violation) => {
            violation.origin = format!("seed {}, number {number}, fault {fault:?}, {ops:?}", plan.seed);
            Err(violation)
        }
    }
}

/// The even numbers stand for all workloads of the alphabet, the short ones first; all numbers do where there are no
/// random ones.
fn short_workload<S: Subject>(subject: &S, plan: &Campaign, number: u64) -> Option<Vec<S::Op>> {
    let takes_turns = plan.ops_max > 0;
    if plan.exhaustive_len == 0 || (takes_turns && !number.is_multiple_of(2)) {
        return None;
    }
    let alphabet = subject.alphabet();
    let letters = alphabet.len() as u64;
    let mut rank = if takes_turns { number / 2 } else { number };
    for len in 1..=plan.exhaustive_len {
        let words = letters.checked_pow(len)?;
        if rank < words {
            let letter = |_| {
                let letter = rank.checked_rem(letters)?;
                rank /= letters;
                alphabet.get(usize::try_from(letter).ok()?).cloned()
            };
            return (0..len).map(letter).collect();
        }
        rank -= words;
    }
    None
}

/// Plans one failure at a random place; tells which.
fn set_fault(fs: &SimFs, dice: &mut Dice) -> String {
    // Early ones more often: everything after a failure is examined.
    let reach = 1 + dice.below(60);
    let nth = dice.below(reach);
    let rules = [
        ("write finds no space", FaultRule::fail(IoKind::NoSpace).on(IoOp::Write)),
        ("write lands in part", FaultRule::short(300, IoKind::NoSpace).on(IoOp::Write)),
        ("write fails after its effect", FaultRule::fail_after(IoKind::Other).on(IoOp::Write)),
        ("sync fails", FaultRule::fail(IoKind::Other).on(IoOp::Sync)),
        ("sync fails after its effect", FaultRule::fail_after(IoKind::Other).on(IoOp::Sync)),
        ("sync loses, reads show", FaultRule::lose(IoKind::Other).on(IoOp::Sync)),
        ("sync loses, reads do not show", FaultRule::drop_dirty(IoKind::Other).on(IoOp::Sync)),
        ("directory sync fails", FaultRule::fail(IoKind::Other).on(IoOp::SyncDir)),
        ("directory sync loses", FaultRule::lose(IoKind::Other).on(IoOp::SyncDir)),
        ("open fails", FaultRule::fail(IoKind::TooManyOpenFiles).on(IoOp::Open)),
        ("rename fails", FaultRule::fail(IoKind::Other).on(IoOp::Rename)),
        ("rename fails after its effect", FaultRule::fail_after(IoKind::Other).on(IoOp::Rename)),
        ("remove fails", FaultRule::fail(IoKind::Other).on(IoOp::Remove)),
        ("resize fails", FaultRule::fail(IoKind::Other).on(IoOp::Resize)),
        ("read fails", FaultRule::fail(IoKind::Other).on(IoOp::Read)),
    ];
    let which = dice.index(rules.len() + 2);
    if let Some((name, rule)) = rules.get(which) {
        fs.set_faults(FaultPlan::new().with(rule.clone().nth(nth)));
        return format!("{name}, number {nth}");
    }
    let bytes = dice.below(20_000);
    if which == rules.len() {
        fs.set_budget(Some(bytes));
        format!("the disk is full after {bytes} bytes")
    } else {
        fs.set_late_budget(Some(bytes));
        format!("the disk is full after {bytes} bytes, told by syncs")
    }
}
