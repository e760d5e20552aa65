//! A life that failed, made as short as it can be.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
};

use super::{axes::Axes, op::Op, subject::Subject, tally::Tally, world::World};
use crate::dice::Dice;

/// How many shorter lives are tried.
const ATTEMPTS: usize = 3_000;

/// A life in which the tree was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How the tree was set up.
    pub axes: Axes,
    /// What happened; after the last one everything is looked at.
    pub ops: Vec<Op>,
    /// What was wrong.
    pub message: String,
    /// Which life it was.
    pub origin: String,
    /// What had been done until then.
    pub tally: Tally,
}

impl fmt::Display for Failure {
    /// With a test to paste.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { axes, ops, message, origin, tally } = self;
        let (lives, operations) = (tally.lives, tally.operations);
        writeln!(f, "{message}\nfound after {operations} operations in {lives} lives, in {origin}\n")?;
        writeln!(f, "#[test]\nfn name_me() {{")?;
        writeln!(f, "    let axes = {axes:?};")?;
        writeln!(f, "    check(\n        &axes,\n        &[")?;
        ops.iter().try_for_each(|op| writeln!(f, "            {op:?},"))?;
        write!(f, "        ],\n    );\n}}")
    }
}

/// Lives a life, and looks at everything at its end.
///
/// # Errors
/// What is wrong.
pub fn replay<S: Subject>(axes: &Axes, ops: &[Op]) -> Result<(), String> {
    contained(|| {
        let mut tally = Tally::default();
        let mut world = World::<S>::new(axes, Dice::new(1), &mut tally)?;
        ops.iter().try_for_each(|op| world.step(*op))?;
        world.stare(true)?;
        world.is_clean()
    })
}

/// Runs `life`; a panic is a failure like others.
pub(super) fn contained(life: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    panic::catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let told = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        Err(format!("panicked: {told}"))
    })
}

/// The same failure, or another one, with less; panics are silent meanwhile.
pub(super) fn shrink<S: Subject>(failure: Failure) -> Failure {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let shrunk = Shrinking { attempts: 0, least: failure, subject: std::marker::PhantomData::<S> }.run();
    panic::set_hook(hook);
    shrunk
}

struct Shrinking<S> {
    attempts: usize,
    least: Failure,
    subject: std::marker::PhantomData<S>,
}

impl<S: Subject> Shrinking<S> {
    fn run(mut self) -> Failure {
        let (axes, ops) = (self.least.axes, self.least.ops.clone());
        if !self.fails(axes, ops) {
            return self.least;
        }
        self.shorten();
        self.simplify();
        self.shorten();
        self.least
    }

    /// Leaves out stretches of operations, shorter and shorter ones.
    fn shorten(&mut self) {
        let mut stretch = self.least.ops.len().div_ceil(2);
        loop {
            let mut from = 0;
            while from < self.least.ops.len() {
                let mut ops = self.least.ops.clone();
                ops.drain(from..ops.len().min(from + stretch));
                if !self.fails(self.least.axes, ops) {
                    from += stretch;
                }
            }
            if stretch <= 1 {
                return;
            }
            stretch = stretch.div_ceil(2);
        }
    }

    /// Sets axes back to what is plain, one by one.
    fn simplify(&mut self) {
        let plain = Axes::PLAIN;
        let changes: [fn(&mut Axes, &Axes); 11] = [
            |axes, plain| axes.keys = plain.keys,
            |axes, plain| axes.comparator = plain.comparator,
            |axes, plain| axes.folding = plain.folding,
            |axes, plain| axes.weak = plain.weak,
            |axes, plain| axes.first = plain.first,
            |axes, plain| axes.levels = plain.levels,
            |axes, plain| axes.block_bytes = plain.block_bytes,
            |axes, plain| axes.table_bytes = plain.table_bytes,
            |axes, plain| axes.cache_bytes = plain.cache_bytes,
            |axes, plain| axes.rotate_bytes = plain.rotate_bytes,
            |axes, plain| axes.variant = plain.variant,
        ];
        for change in changes {
            let mut axes = self.least.axes;
            change(&mut axes, &plain);
            let ops = self.least.ops.clone();
            if axes != self.least.axes {
                self.fails(axes, ops);
            }
        }
    }

    /// Whether this life fails, too; then it is the least so far.
    fn fails(&mut self, axes: Axes, ops: Vec<Op>) -> bool {
        self.attempts += 1;
        if self.attempts > ATTEMPTS {
            return false;
        }
        let Err(message) = replay::<S>(&axes, &ops) else { return false };
        self.least = Failure { axes, ops, message, ..self.least.clone() };
        true
    }
}
