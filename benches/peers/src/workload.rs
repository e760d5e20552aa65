//! The workloads, the same for every engine. What they see is summed up, so that answers can be compared.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::{
    data::{Dice, Values},
    engine::{Direction, Engine, Outcome, Settings},
    fill::{Filled, fill},
    measure::{Stretch, disk_bytes, peak_resident},
    plan::{Plan, RUNS},
    report::Measured,
};

/// Entries of a short scan.
const SCAN_ENTRIES: usize = 100;

/// Most point reads of one workload.
const GETS_MAX: u32 = 500_000;

/// Short scans of one workload.
const SCANS_MAX: u32 = 10_000;

/// Runs everything in `dir`, which is empty.
pub(crate) fn run<E: Engine>(plan: &Plan, dir: &Path) -> Outcome<Measured> {
    let mut bench =
        Bench { plan, settings: plan.settings(), measured: Measured::new(E::NAME), order: Vec::new() };
    bench.order = Dice::new(plan.seed).permutation(plan.key_count());
    bench.random_then_overwrite::<E>(&dir.join("random"))?;
    bench.sequential::<E>(&dir.join("sequential"))?;
    bench.runs_then_compaction::<E>(&dir.join("runs"))?;
    bench.measured.fact("peak memory, MiB", mebibytes(peak_resident().unwrap_or(0)));
    Ok(bench.measured)
}

struct Bench<'a> {
    plan: &'a Plan,
    settings: Settings,
    measured: Measured,
    /// The keys in the order of random fills.
    order: Vec<u32>,
}

impl Bench<'_> {
    fn open<E: Engine>(&self, dir: &Path) -> Outcome<E> {
        std::fs::create_dir_all(dir)?;
        E::open(dir, &self.settings)
    }

    fn random_then_overwrite<E: Engine>(&mut self, dir: &Path) -> Outcome<()> {
        let engine = self.open::<E>(dir)?;
        let order = std::mem::take(&mut self.order);
        self.fill(&engine, "random fill", 0, order.iter().map(|number| u64::from(*number)))?;
        self.order = order;
        self.measured.fact("peak memory filling, MiB", mebibytes(peak_resident().unwrap_or(0)));
        self.measured.fact("disk / user bytes, random fill", self.disk_ratio(dir)?);
        let count = self.plan.key_count();
        let mut dice = Dice::new(self.plan.seed + 1);
        let writes = (count as usize).saturating_mul(self.plan.overwrites as usize);
        self.fill(&engine, "overwrite", 1, (0..writes).map(|_| dice.below(u64::from(count))))?;
        self.measured.fact("disk / user bytes, overwritten", self.disk_ratio(dir)?);
        self.digest(&engine, "after overwriting")?;
        engine.close()?;
        Ok(std::fs::remove_dir_all(dir)?)
    }

    fn sequential<E: Engine>(&mut self, dir: &Path) -> Outcome<()> {
        let engine = self.open::<E>(dir)?;
        self.fill(&engine, "sequential fill", 2, (0..self.plan.key_count()).map(u64::from))?;
        self.digest(&engine, "after sequential fill")?;
        engine.close()?;
        Ok(std::fs::remove_dir_all(dir)?)
    }

    /// Writes with the background thread at work: the time in front, and the time until all is quiet.
    fn fill<E: Engine>(
        &mut self,
        engine: &E,
        name: &str,
        version: u64,
        numbers: impl ExactSizeIterator<Item = u64>,
    ) -> Outcome<()> {
        let ops = numbers.len() as u64;
        let Filled { front, quiet } = fill(engine, self.plan, version, numbers)?;
        self.measured.row(&format!("{name}, in front"), ops, front);
        self.measured.row(&format!("{name}, until quiet"), ops, quiet);
        let user_bytes = ops * self.plan.entry_bytes();
        self.measured.fact(&format!("write amplification, {name}"), quiet.written as f64 / user_bytes as f64);
        Ok(())
    }

    /// Some runs that overlap; reads over them; one compaction into one run; reads over that.
    fn runs_then_compaction<E: Engine>(&mut self, dir: &Path) -> Outcome<()> {
        let engine = self.open::<E>(dir)?;
        self.flush_runs(&engine)?;
        let over = format!("{RUNS} runs");
        self.reads(&engine, &over)?;
        let ops = u64::from(self.plan.key_count());
        let stretch = Stretch::begin();
        engine.major_compact()?;
        let taken = stretch.taken();
        self.measured.row("compaction of all", ops, taken);
        self.measured.fact(
            "compaction, MB/s of output per CPU second",
            per_cpu_second(taken.written, taken.cpu_seconds),
        );
        self.measured.fact("disk / user bytes, one run", self.disk_ratio(dir)?);
        engine.close()?;

        let stretch = Stretch::begin();
        let engine = self.open::<E>(dir)?;
        let first = engine.get(&self.plan.key_shape.key(ops / 2))?;
        let taken = stretch.taken();
        first.ok_or("a key is gone after reopening")?;
        self.measured.row("reopen to first get", 1, taken);
        self.reads(&engine, "1 run")?;
        self.digest(&engine, "after compaction")?;
        engine.close()?;
        Ok(std::fs::remove_dir_all(dir)?)
    }

    fn flush_runs<E: Engine>(&mut self, engine: &E) -> Outcome<()> {
        let mut values = Values::new(self.plan.value_bytes as usize, self.plan.seed);
        let (mut seconds, mut cpu_seconds, mut written, mut read) = (0.0, 0.0, 0, 0);
        for part in self.order.chunks(self.order.len().div_ceil(RUNS as usize)) {
            for number in part.iter().map(|number| u64::from(*number)) {
                engine.insert(&self.plan.key_shape.key(number), values.value(number, 3))?;
            }
            engine.seal()?;
            let stretch = Stretch::begin();
            engine.flush()?;
            let taken = stretch.taken();
            seconds += taken.seconds;
            cpu_seconds += taken.cpu_seconds;
            written += taken.written;
            read += taken.read;
        }
        let taken = crate::measure::Taken { seconds, cpu_seconds, written, read };
        self.measured.row("flush", self.order.len() as u64, taken);
        self.measured.fact("flush, MB/s of output per CPU second", per_cpu_second(written, cpu_seconds));
        Ok(())
    }

    fn reads<E: Engine>(&mut self, engine: &E, over: &str) -> Outcome<()> {
        self.warm_up(engine)?;
        self.gets(engine, over)?;
        self.gets_of_absent_keys(engine, over)?;
        self.short_scans(engine, over, Direction::Forward)?;
        self.short_scans(engine, over, Direction::Backward)?;
        self.full_scan(engine, over, Direction::Forward)?;
        self.full_scan(engine, over, Direction::Backward)
    }

    /// Brings every block into a cache that is large enough: one get for each half block of keys.
    fn warm_up<E: Engine>(&self, engine: &E) -> Outcome<()> {
        let step = (u64::from(self.settings.block_bytes) / self.plan.entry_bytes() / 2).max(1);
        for number in (0..u64::from(self.plan.key_count())).step_by(step as usize) {
            engine.get(&self.plan.key_shape.key(number))?.ok_or("a key is gone")?;
        }
        Ok(())
    }

    fn gets<E: Engine>(&mut self, engine: &E, over: &str) -> Outcome<()> {
        let count = u64::from(self.plan.key_count());
        let ops = u64::from(self.plan.key_count().min(GETS_MAX));
        let mut dice = Dice::new(self.plan.seed + 2);
        let mut sum = Sum::default();
        let stretch = Stretch::begin();
        for _ in 0..ops {
            let value = engine.get(&self.plan.key_shape.key(dice.below(count)))?.ok_or("a key is gone")?;
            sum.add(value.as_ref());
        }
        self.measured.row(&format!("get, {over}"), ops, stretch.taken());
        self.measured.answer(&format!("get, {over}"), sum.0);
        Ok(())
    }

    /// Keys that lie right beside those that are there, and are not.
    fn gets_of_absent_keys<E: Engine>(&mut self, engine: &E, over: &str) -> Outcome<()> {
        let count = u64::from(self.plan.key_count());
        let ops = u64::from(self.plan.key_count().min(GETS_MAX));
        let mut dice = Dice::new(self.plan.seed + 4);
        let mut found = 0_u64;
        let stretch = Stretch::begin();
        for _ in 0..ops {
            let mut key = self.plan.key_shape.key(dice.below(count));
            if let Some(last) = key.last_mut() {
                *last ^= 0x80;
            }
            found += u64::from(engine.get(&key)?.is_some());
        }
        let taken = stretch.taken();
        if found > 0 {
            return Err(format!("{found} keys that were never written have values").into());
        }
        self.measured.row(&format!("get of absent keys, {over}"), ops, taken);
        Ok(())
    }

    fn short_scans<E: Engine>(&mut self, engine: &E, over: &str, direction: Direction) -> Outcome<()> {
        let count = u64::from(self.plan.key_count());
        let mut dice = Dice::new(self.plan.seed + 3);
        let mut sum = Sum::default();
        let mut entries = 0;
        let stretch = Stretch::begin();
        for _ in 0..self.plan.key_count().min(SCANS_MAX) {
            let start = self.plan.key_shape.key(dice.below(count));
            entries += engine.scan(Some(&start), direction, SCAN_ENTRIES, |key, value| {
                sum.add(key);
                sum.add(value);
            })?;
        }
        let taken = stretch.taken();
        let name = format!("{SCAN_ENTRIES}-entry scans {}, {over}", word(direction));
        self.measured.row(&name, entries as u64, taken);
        self.measured.answer(&name, sum.0);
        Ok(())
    }

    fn full_scan<E: Engine>(&mut self, engine: &E, over: &str, direction: Direction) -> Outcome<()> {
        let mut sum = Sum::default();
        let stretch = Stretch::begin();
        let entries = engine.scan(None, direction, usize::MAX, |key, value| {
            sum.add(key);
            sum.add(value);
        })?;
        let taken = stretch.taken();
        let name = format!("full scan {}, {over}", word(direction));
        self.measured.row(&name, entries as u64, taken);
        self.measured.answer(&name, sum.0.wrapping_add(entries as u64));
        Ok(())
    }

    /// Every byte of every entry, in order, outside of any measured time.
    fn digest<E: Engine>(&mut self, engine: &E, when: &str) -> Outcome<()> {
        let mut hasher = Xxh3::new();
        let entries = engine.scan(None, Direction::Forward, usize::MAX, |key, value| {
            hasher.update(&(key.len() as u64).to_le_bytes());
            hasher.update(key);
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value);
        })?;
        if entries != self.plan.key_count() as usize {
            return Err(format!("{entries} entries {when}, not {}", self.plan.key_count()).into());
        }
        self.measured.answer(&format!("content {when}"), hasher.digest());
        Ok(())
    }

    fn disk_ratio(&self, dir: &Path) -> Outcome<f64> {
        Ok(disk_bytes(dir)? as f64 / self.plan.user_bytes() as f64)
    }
}

/// A sum that proves a slice was looked at, for a nanosecond.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    #[inline]
    fn add(&mut self, bytes: &[u8]) {
        let head = bytes.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
        let last = bytes.last().map_or(0, |last| u64::from(*last));
        self.0 = self.0.wrapping_add(head).wrapping_add(last).wrapping_add(bytes.len() as u64);
    }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Backward => "backward",
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn per_cpu_second(bytes: u64, cpu_seconds: f64) -> f64 {
    bytes as f64 / 1e6 / cpu_seconds
}
