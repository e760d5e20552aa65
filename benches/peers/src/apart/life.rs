//! The life of one engine with long values. Each figure is printed as soon as it is known, so that an engine that ends
//! early leaves what it came to.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use super::Figure;
use crate::{
    data::{Dice, Values},
    engine::{Direction, Engine, Outcome},
    fill::fill,
    measure::{Stretch, disk_bytes},
    plan::Plan,
};

/// Steps of compaction after which an engine that still finds something to do is taken to never rest.
const STEPS_MAX: u32 = 1000;

/// Most point reads.
const GETS_MAX: u32 = 500_000;

/// Runs everything in `dir`, which is empty.
pub(crate) fn run<E: Engine>(plan: &Plan, dir: &Path) -> Outcome<()> {
    let mut life = Life { plan, dir, versions: vec![0; plan.key_count() as usize] };
    let engine = life.write::<E>()?;
    let engine = life.rest(engine)?;
    life.close(engine, Figure::Settled)?;
    let engine = life.reopen::<E>()?;
    life.verify(&engine)?;
    life.gets(&engine)?;
    let stretch = Stretch::begin();
    engine.major_compact()?;
    say(Figure::MajorSeconds, stretch.taken().seconds)?;
    life.verify(&engine)?;
    life.close(engine, Figure::Major)
}

fn say(figure: Figure, value: f64) -> Outcome<()> {
    println!("{}", serde_json::to_string(&BTreeMap::from([(figure, value)]))?);
    Ok(())
}

struct Life<'a> {
    plan: &'a Plan,
    dir: &'a Path,
    /// Which write of each key was the last.
    versions: Vec<u8>,
}

impl Life<'_> {
    fn open<E: Engine>(&self) -> Outcome<E> {
        E::open(self.dir, &self.plan.settings())
    }

    fn user_megabytes(&self) -> f64 {
        self.plan.user_bytes() as f64 / 1e6
    }

    /// Fills, overwrites in other orders, and lets it settle.
    fn write<E: Engine>(&mut self) -> Outcome<E> {
        let engine = self.open::<E>()?;
        let order = |seed| Dice::new(seed).permutation(self.plan.key_count()).into_iter().map(u64::from);
        let filled = fill(&engine, self.plan, 0, order(self.plan.seed))?;
        say(Figure::Fill, self.user_megabytes() / filled.front.seconds)?;
        say(Figure::FillQuiet, filled.quiet.seconds - filled.front.seconds)?;
        let copied_before = engine.copied();
        let part = (u64::from(self.plan.key_count()) * u64::from(self.plan.overwrite_percent)).div_ceil(100);
        let (mut seconds, mut quiet, mut written) = (0.0, 0.0, filled.quiet.written);
        for round in 1..=u64::from(self.plan.overwrite_rounds) {
            let numbers: Vec<u64> = order(self.plan.seed + round).take(part as usize).collect();
            for number in &numbers {
                self.versions[*number as usize] = round as u8;
            }
            let again = fill(&engine, self.plan, round, numbers.into_iter())?;
            seconds += again.front.seconds;
            quiet = again.quiet.seconds - again.front.seconds;
            written += again.quiet.written;
        }
        let overwritten = part * u64::from(self.plan.overwrite_rounds) * self.plan.entry_bytes();
        say(Figure::Overwrite, overwritten as f64 / 1e6 / seconds)?;
        let stretch = Stretch::begin();
        settle(&engine)?;
        let settled = stretch.taken();
        say(Figure::SettleSeconds, quiet + settled.seconds)?;
        written += settled.written;
        say(Figure::Written, written as f64 / (self.plan.user_bytes() + overwritten) as f64)?;
        if let (Some(before), Some(after)) = (copied_before, engine.copied()) {
            say(Figure::Copied, (after - before) as f64 / overwritten as f64)?;
        }
        say(Figure::Live, self.user_megabytes())?;
        Ok(engine)
    }

    /// What an engine does when nobody has written for a while, if that is asked for.
    fn rest<E: Engine>(&self, engine: E) -> Outcome<E> {
        if self.plan.rest == 0 {
            return Ok(engine);
        }
        // Space is told after closing: what was replaced may go in the background.
        self.close(engine, Figure::BeforeRest)?;
        let engine = self.open::<E>()?;
        thread::sleep(Duration::from_secs(self.plan.rest));
        settle(&engine)?;
        Ok(engine)
    }

    fn close<E: Engine>(&self, engine: E, space: Figure) -> Outcome<()> {
        engine.close()?;
        say(space, disk_bytes(self.dir)? as f64 / self.plan.user_bytes() as f64)
    }

    fn reopen<E: Engine>(&self) -> Outcome<E> {
        let stretch = Stretch::begin();
        let engine = self.open::<E>()?;
        engine.get(&self.key(0))?.ok_or("the first key is gone after reopening")?;
        say(Figure::ReopenMillis, stretch.taken().seconds * 1e3)?;
        let stretch = Stretch::begin();
        let entries = engine.scan(None, Direction::Forward, usize::MAX, |_, _| {})?;
        let taken = stretch.taken();
        if entries != self.plan.key_count() as usize {
            return Err(format!("{entries} entries after reopening, not {}", self.plan.key_count()).into());
        }
        say(Figure::Count, entries as f64 / taken.seconds)?;
        say(Figure::CountCpu, entries as f64 / taken.cpu_seconds)?;
        Ok(engine)
    }

    fn version(&self, number: u64) -> u64 {
        self.versions.get(number as usize).copied().unwrap_or_default().into()
    }

    fn key(&self, number: u64) -> [u8; crate::data::KEY_BYTES] {
        self.plan.key_shape.key(number)
    }

    /// Every byte of every entry, outside of any measured time.
    fn verify<E: Engine>(&self, engine: &E) -> Outcome<()> {
        let mut values = Values::new(self.plan.value_bytes as usize, self.plan.seed);
        let (mut number, mut wrong) = (0, 0_u64);
        engine.scan(None, Direction::Forward, usize::MAX, |key, value| {
            wrong +=
                u64::from(key != self.key(number) || value != values.value(number, self.version(number)));
            number += 1;
        })?;
        if wrong > 0 || number != u64::from(self.plan.key_count()) {
            return Err(format!("of {number} entries {wrong} are not what was written last").into());
        }
        Ok(())
    }

    fn gets<E: Engine>(&self, engine: &E) -> Outcome<()> {
        let count = u64::from(self.plan.key_count());
        let ops = self.plan.key_count().min(GETS_MAX);
        let mut dice = Dice::new(self.plan.seed + 2);
        let mut wrong = 0_u64;
        let stretch = Stretch::begin();
        for _ in 0..ops {
            let number = dice.below(count);
            let value = engine.get(&self.key(number))?.ok_or("a key is gone")?;
            let (value, name) = (value.as_ref(), Values::name(number, self.version(number)));
            let as_written = value.len() == self.plan.value_bytes as usize
                && value.iter().zip(name).all(|(byte, expected)| *byte == expected);
            wrong += u64::from(!as_written);
        }
        let taken = stretch.taken();
        if wrong > 0 {
            return Err(format!("{wrong} of {ops} gets give another value than was written last").into());
        }
        say(Figure::Gets, f64::from(ops) / taken.seconds)?;
        say(Figure::GetsCpu, f64::from(ops) / taken.cpu_seconds)
    }
}

/// Flushes and compacts until there is nothing to do.
fn settle(engine: &impl Engine) -> Outcome<()> {
    engine.flush()?;
    for _ in 0..STEPS_MAX {
        if !engine.compact()? {
            return Ok(());
        }
    }
    Err(format!("compaction does not rest after {STEPS_MAX} steps").into())
}
