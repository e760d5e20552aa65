//! Opening every image of a run, and judging it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::run::{Run, names_given};
use super::subject::Subject;
use super::violation::Violation;
use crate::dice::Dice;
use crate::sim::{ImageId, SimFs, Strategy};

/// How hard to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Which images to make.
    pub strategy: Strategy,
    /// One image in so many is crashed again, at every point of its recovery; 0 for none.
    pub nested_one_in: u64,
    /// In one image in so many the store goes on; 0 for none.
    pub go_on_one_in: u64,
    /// Operations with which it goes on.
    pub go_on_ops: usize,
    /// Where chance comes from.
    pub seed: u64,
}

/// Which images of a recovery to make.
const NESTED: Strategy = Strategy { singles: 4, torn_sectors: 1, ..Strategy::GATE };

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Images opened and checked: pairs of a crash point and what survived there, each state once.
    pub images: u64,
    /// Images of the recovery of an image.
    pub nested: u64,
    /// Images in which the store went on.
    pub went_on: u64,
    /// Crash points by the place in the program where the event before them came from.
    pub sites: BTreeMap<String, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.images += other.images;
        self.nested += other.nested;
        self.went_on += other.went_on;
        for (site, points) in other.sites {
            *self.sites.entry(site).or_insert(0) += points;
        }
    }
}

/// Checks every image of a run; stops at the first one that is wrong.
///
/// # Errors
/// What is wrong with it, and how to make it again.
pub fn check_run<S: Subject>(subject: &S, run: &Run<S>, effort: &Effort) -> Result<Counts, Box<Violation>> {
    let mut counts = Counts::default();
    let trace = run.fs.trace();
    // What lies before the first failure is as in a workload without one.
    let start = run.fs.first_failure().unwrap_or(0);
    let points: Vec<usize> = run.fs.crash_points().into_iter().filter(|point| *point >= start).collect();
    for &point in &points {
        let event = point.checked_sub(1).and_then(|event| trace.get(event));
        if let Some(event) = event {
            *counts.sites.entry(event.site()).or_insert(0) += 1;
        }
    }
    let mut dice = Dice::new(effort.seed);
    for (id, image) in run.fs.images_at(points, &effort.strategy).epochs(run.epochs()) {
        counts.images += 1;
        let extra = Extra {
            nested: dice.one_in(effort.nested_one_in).then_some(NESTED),
            go_on: dice.one_in(effort.go_on_one_in).then(|| Dice::new(dice.roll())),
            go_on_ops: effort.go_on_ops,
        };
        match judge(subject, run, id.point, &image, extra) {
            Ok(more) => counts.add(more),
            Err(problem) => return Err(explain(subject, run, id, problem)),
        }
    }
    Ok(counts)
}

/// What to do with an image besides opening it.
#[derive(Default)]
struct Extra {
    nested: Option<Strategy>,
    go_on: Option<Dice>,
    go_on_ops: usize,
}

/// Opens an image of a crash at `point` and holds it against what is legal there.
fn judge<S: Subject>(
    subject: &S,
    run: &Run<S>,
    point: usize,
    image: &SimFs,
    extra: Extra,
) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let db = subject.open(image).map_err(|problem| format!("does not open: {problem}"))?;
    let found = subject.read(&db).map_err(|problem| format!("does not read: {problem}"))?;
    let legal = run.legal(point);
    if !legal.contains(&&found) {
        return Err(differences(&found, &legal));
    }
    subject.check(&db, image)?;
    if let Some(strategy) = extra.nested {
        counts.nested = judge_recovery(subject, image, &found, &strategy)?;
    }
    let mut later = Run::new(image, found);
    let mut db = db;
    if let Some(mut dice) = extra.go_on {
        counts.went_on = 1;
        let ops: Vec<S::Op> = (0..extra.go_on_ops).map(|_| subject.random_op(&mut dice)).collect();
        let told = |problem: String| format!("going on with {ops:?}: {problem}");
        db = later.go_on(subject, db, &ops).map_err(|violation| told(violation.problem))?;
        subject.check(&db, image).map_err(told)?;
    }
    let given = names_given(subject, &run.fs, point);
    if let Some(again) = names_given(subject, image, usize::MAX).intersection(&given).next() {
        return Err(format!("{} is given a second time", again.display()));
    }
    drop(db);
    later.reopen(subject).map_err(|violation| violation.problem)?;
    Ok(counts)
}

/// Cuts the power at every point of the recovery that `image` has just been through.
fn judge_recovery<S: Subject>(
    subject: &S,
    image: &SimFs,
    found: &S::State,
    strategy: &Strategy,
) -> Result<u64, String> {
    let mut images = 0;
    for (id, nested) in image.sweep(strategy) {
        images += 1;
        let within = |problem: String| format!("crashed again while recovering, image {id}: {problem}");
        let db = subject.open(&nested).map_err(|problem| within(format!("does not open: {problem}")))?;
        let again = subject.read(&db).map_err(|problem| within(format!("does not read: {problem}")))?;
        if again != *found {
            return Err(within(differences(&again, &[found])));
        }
        subject.check(&db, &nested).map_err(within)?;
    }
    Ok(images)
}

fn differences<T: Debug>(found: &T, legal: &[&T]) -> String {
    format!("holds {found:?}\n  legal are {legal:?}")
}

/// Makes a report of an image that is wrong: the fewest losses that still show it, and the strongest disk.
fn explain<S: Subject>(subject: &S, run: &Run<S>, id: ImageId, problem: String) -> Box<Violation> {
    let is_wrong = |point: usize, image: &SimFs| {
        judge(subject, run, point, image, Extra { nested: None, go_on: None, go_on_ops: 0 }).err()
    };
    let mut violation = Violation::new(&run.fs, Some(id), problem);
    violation.seek_fewest_losses(&run.fs, |id| is_wrong(id.point, &run.fs.image(id.point, id.choice)));
    violation.seek_strongest_profile(&run.fs, is_wrong);
    violation.note_records(run);
    violation
}
