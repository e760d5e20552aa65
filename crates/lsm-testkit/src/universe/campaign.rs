//! Life after life, on several threads.

use std::{
    num::NonZero,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use parking_lot::Mutex;

use super::{
    axes::{Axes, Folding, Keys, Weak},
    op::Op,
    shrink::{Failure, contained, shrink},
    subject::Subject,
    tally::Tally,
    world::World,
};
use crate::dice::Dice;

/// Which lives to live.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The same seed gives the same lives.
    pub seed: u64,
    /// Threads that live them.
    pub threads: NonZero<usize>,
    /// Operations of a life at most.
    pub ops_max: u64,
    /// Whether a life that fails is made shorter.
    pub shrink: bool,
}

/// Lives as long as `more` says so of what was done.
///
/// # Errors
/// The first life in which the tree was wrong.
pub fn campaign<S: Subject>(
    plan: &Campaign,
    more: impl Fn(&Tally) -> bool + Sync,
) -> Result<Tally, Box<Failure>> {
    let total = Mutex::new(possible::<S>());
    let found = Mutex::new(None);
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..plan.threads.get() {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && more(&total.lock()) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let mut tally = Tally::default();
                    let outcome = live::<S>(plan, number, &mut tally);
                    total.lock().merge(&tally);
                    if let Err(failure) = outcome {
                        is_over.store(true, Ordering::Relaxed);
                        found.lock().get_or_insert(failure);
                    }
                }
            });
        }
    });
    let total = total.into_inner();
    let Some(failure) = found.into_inner() else { return Ok(total) };
    let failure = Failure { tally: total, ..*failure };
    Err(Box::new(if plan.shrink { shrink::<S>(failure) } else { failure }))
}

/// Everything that can happen, counted zero times.
fn possible<S: Subject>() -> Tally {
    let mut tally = Tally::default();
    let flavours = [
        "number out of order",
        "write refused",
        "read refused",
        "write repeated",
        "empty range",
        "scattered prefix",
        "ambiguous batch",
        "batch with one number",
        "batch with many numbers",
    ];
    let groups: [(&'static str, &[&'static str]); 10] = [
        ("operation", &Op::LABELS),
        ("form", &S::forms()),
        ("strategy", S::STRATEGIES),
        ("outcome", S::OUTCOMES),
        ("flavour", &flavours),
        ("order", &ORDERS),
        ("keys", &["slashes", "single", "numbers", "edges", "shared", "wide"]),
        ("folding", &["off", "compose", "join", "set edit"]),
        ("weak", &["legal", "misused", "strict"]),
        ("verdict", &["keep", "remove", "remove weakly", "replace", "destroy", "of a fold"]),
    ];
    for (group, names) in groups {
        for name in names {
            tally.add_many(group, name, 0);
        }
    }
    tally
}

const ORDERS: [&str; 6] =
    ["bytewise", "reverse", "length first", "numeric", "suffix first", "reverse by prefix"];

fn note(axes: &Axes, tally: &mut Tally) {
    tally.lives += 1;
    tally.add("order", ORDERS.get(usize::from(axes.comparator)).copied().unwrap_or_default());
    let keys = match axes.keys {
        Keys::Slashes => "slashes",
        Keys::Single => "single",
        Keys::Numbers => "numbers",
        Keys::Edges => "edges",
        Keys::Shared => "shared",
        Keys::Wide => "wide",
    };
    tally.add("keys", keys);
    let folding = match axes.folding {
        Folding::Off => "off",
        Folding::Compose => "compose",
        Folding::Join => "join",
        Folding::SetEdit => "set edit",
    };
    tally.add("folding", folding);
    let weak = match axes.weak {
        Weak::Legal => "legal",
        Weak::Misused => "misused",
        Weak::Strict => "strict",
    };
    tally.add("weak", weak);
}

/// One life: a glance after each operation, a longer look now and then, and at the end before and after reopening.
fn live<S: Subject>(plan: &Campaign, number: u64, tally: &mut Tally) -> Result<(), Box<Failure>> {
    let mut dice = Dice::new(Dice::new(plan.seed).roll() ^ number);
    let axes = Axes::random(&mut dice);
    note(&axes, tally);
    let is_wide = axes.keys == Keys::Wide;
    let len = 1 + dice.below(plan.ops_max) * if is_wide { 4 } else { 1 };
    let mut ops = Vec::new();
    let outcome = contained(|| {
        let mut world = World::<S>::new(&axes, Dice::new(dice.roll()), tally)?;
        for nth in 1..=len {
            let op = Op::random(&mut dice, &axes);
            ops.push(op);
            world.step(op)?;
            if !is_wide || nth.is_multiple_of(8) {
                world.glance()?;
            }
            if nth.is_multiple_of(if is_wide { 128 } else { 20 }) {
                world.stare(false)?;
            }
        }
        world.stare(dice.one_in(4) && !is_wide)?;
        ops.push(Op::Reopen);
        world.step(Op::Reopen)?;
        world.stare(false)?;
        world.is_clean()
    });
    outcome.map_err(|message| {
        let origin = format!("life {number} of seed {}", plan.seed);
        Box::new(Failure { axes, ops, message, origin, tally: Tally::default() })
    })
}

/// Lives one life of a campaign again, with the same looks at it: for what shows in these only.
///
/// # Errors
/// What is wrong.
pub fn relive<S: Subject>(plan: &Campaign, number: u64) -> Result<(), Box<Failure>> {
    live::<S>(plan, number, &mut Tally::default())
}
