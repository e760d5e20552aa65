//! The life of one engine on a disk that is nearly full. Each figure is printed as soon as it is known, so that an engine
//! that ends early leaves what it came to.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use super::Figure;
use crate::{
    data::Values,
    engine::{Direction, Engine, Outcome},
    measure::{Stretch, disk_bytes},
    plan::Plan,
};

/// How often free space is looked at while the engine compacts.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Free space settles after files were removed; it is waited for this long at most.
const SETTLE: Duration = Duration::from_secs(3);

/// Bytes that the other file grows by.
const CHUNK: usize = 1 << 20;

/// Compactions that are asked for until all is one run, and the time between two of them.
const CALLS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes by which more may be free than is asked for.
const CLOSE_ENOUGH: usize = 64 << 10;

/// Runs everything in `dir`, on a file system of its own.
pub(crate) fn run<E: Engine>(plan: &Plan, dir: &Path) -> Outcome<()> {
    let life = Life { plan, dir };
    let engine = life.fill::<E>()?;
    life.take_the_rest()?;
    let (before, free) = (disk_bytes(dir)?, free_bytes(dir)?);
    say(Figure::Before, megabytes(before))?;
    say(Figure::Free, megabytes(free))?;
    let compacted = life.compact(&engine, free);
    say(Figure::Finished, yes(engine.is_one_run()))?;
    // Whatever came of it, what was written has to be there, now and after reopening.
    let mut intact = life.is_intact(&engine)?;
    engine.close()?;
    let engine = E::open(dir, &plan.settings())?;
    intact &= life.is_intact(&engine)?;
    say(Figure::Intact, yes(intact))?;
    thread::sleep(SETTLE);
    say(Figure::After, megabytes(disk_bytes(dir)?))?;
    say(Figure::FreeAfter, megabytes(free_bytes(dir)?))?;
    let goes_on = life.write_on(&engine);
    say(Figure::GoesOn, yes(goes_on.is_ok()))?;
    engine.close()?;
    compacted.and(goes_on)
}

fn yes(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn say(figure: Figure, value: f64) -> Outcome<()> {
    println!("{}", serde_json::to_string(&BTreeMap::from([(figure, value)]))?);
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn free_bytes(dir: &Path) -> Outcome<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

struct Life<'a> {
    plan: &'a Plan,
    dir: &'a Path,
}

impl Life<'_> {
    /// Two runs that lie over each other, on a disk with room: each with every other key, or both with all of them.
    fn fill<E: Engine>(&self) -> Outcome<E> {
        let engine = E::open(self.dir, &self.plan.settings())?;
        let mut values = Values::new(self.plan.value_bytes as usize, self.plan.seed);
        for run in 0..2 {
            let (first, step) = if self.plan.garbage { (0, 1) } else { (run, 2) };
            for number in (first..self.keys()).step_by(step) {
                engine.insert(&self.plan.key_shape.key(number), values.value(number, self.version(run)))?;
            }
            engine.seal()?;
            engine.flush()?;
        }
        Ok(engine)
    }

    /// So many that the database is as large with garbage as without.
    fn keys(&self) -> u64 {
        u64::from(self.plan.key_count()) / if self.plan.garbage { 2 } else { 1 }
    }

    /// Which write of a key run number `run` holds.
    fn version(&self, run: u64) -> u64 {
        if self.plan.garbage { run } else { 0 }
    }

    /// Another program's file, so long that as much is left as is asked for.
    fn take_the_rest(&self) -> Outcome<()> {
        let path = self.dir.parent().ok_or("no place for another file")?.join("other");
        let mut file = fs::File::create(path)?;
        let chunk = vec![1_u8; CHUNK];
        let wanted = self.plan.free_mib << 20;
        loop {
            let too_much = free_bytes(self.dir)?.saturating_sub(wanted).min(CHUNK as u64) as usize;
            let Some(bytes) = chunk.get(..too_much).filter(|bytes| bytes.len() > CLOSE_ENOUGH) else {
                return Ok(());
            };
            file.write_all(bytes)?;
            file.sync_data()?;
        }
    }

    /// Merges everything into one run, and looks how much of the disk that takes at most.
    fn compact<E: Engine>(&self, engine: &E, free: u64) -> Outcome<()> {
        let (least, is_done) = (AtomicU64::new(free), AtomicBool::new(false));
        let stretch = Stretch::begin();
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    if let Ok(now) = free_bytes(self.dir) {
                        least.fetch_min(now, Ordering::Relaxed);
                    }
                    thread::sleep(LOOK_EVERY);
                }
            });
            let outcome = until_one_run(engine);
            is_done.store(true, Ordering::Relaxed);
            outcome
        });
        let taken = stretch.taken();
        say(Figure::Seconds, taken.seconds)?;
        say(Figure::Written, megabytes(taken.written))?;
        say(Figure::Peak, megabytes(free.saturating_sub(least.into_inner())))?;
        outcome
    }

    fn is_intact<E: Engine>(&self, engine: &E) -> Outcome<bool> {
        let mut values = Values::new(self.plan.value_bytes as usize, self.plan.seed);
        let (mut number, mut is_right) = (0, true);
        let count = engine.scan(None, Direction::Forward, usize::MAX, |key, value| {
            is_right &=
                key == self.plan.key_shape.key(number) && value == values.value(number, self.version(1));
            number += 1;
        })?;
        Ok(is_right && count as u64 == self.keys())
    }

    /// One more entry, to the disk.
    fn write_on<E: Engine>(&self, engine: &E) -> Outcome<()> {
        let key = self.plan.key_shape.key(self.keys());
        engine.insert(&key, &key)?;
        engine.seal()?;
        engine.flush()?;
        let value = engine.get(&key)?;
        value
            .filter(|value| value.as_ref() == key)
            .map(drop)
            .ok_or_else(|| "what was written last is gone".into())
    }
}

/// A compaction may do a part of what is asked for: it is asked again as long as it ends without an error.
fn until_one_run<E: Engine>(engine: &E) -> Outcome<()> {
    let mut calls = 0;
    let outcome = loop {
        calls += 1;
        match engine.major_compact() {
            Ok(()) if !engine.is_one_run() && calls < CALLS_MAX => thread::sleep(PAUSE),
            ended => break ended,
        }
    };
    say(Figure::Calls, f64::from(calls))?;
    outcome
}
