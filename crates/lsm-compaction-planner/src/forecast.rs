//! How a tree behaves at sizes that no test machine holds.
//!
//! Tables are kept as what the manifest knows of them and as expected numbers: how many keys of which kind lie between
//! two positions. A merge reckons with shares instead of entries, so a table of a gigabyte costs as much as one of a
//! kilobyte, and years of writes pass in minutes. What decides is the planner itself: plans, their validation, the cuts
//! of outputs and the busy set are those of the engine.
//!
//! ```
//! use lsm_compaction_planner::{Leveled, forecast::{Forecast, Machine, OVERWRITE}};
//!
//! let machine = Machine { memtable_bytes: 1 << 20, ..Machine::default() };
//! let strategy = Leveled { table_target_bytes: 1 << 20, ..Leveled::default() };
//! let mut forecast = Forecast::new(&strategy, &OVERWRITE, machine, 1 << 30, 1 << 20)?;
//! for _ in 0..100 {
//!     forecast.flush()?;
//! }
//! let figures = forecast.figures();
//! assert!(figures.write_amplification() < 20.0 && figures.space_amplification() < 1.3);
//! # Ok::<(), lsm_compaction_planner::sim::SimError>(())
//! ```

mod figures;
mod keys;
mod merger;
mod population;

pub use figures::Figures;
pub use keys::{Class, OVERWRITE, SERIES, SKEWED, Workload};

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use lsm_manifest::TableDescriptor;
use lsm_types::{KeyOrder, Level, TableId, UnixNanos};

use crate::{
    CompactionStrategy, Debt, MergePlan, OutputSpec, Plan, PlanView,
    sim::{SimError, stage::Stage},
    validate,
};
use keys::Writes;
use merger::Merger;
use population::Population;

/// What carries jobs out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Machine {
    /// Levels of the tree.
    pub level_count: u8,
    /// Bytes of writes that make a flush.
    pub memtable_bytes: u64,
    /// Bytes of writes that arrive in a second, as long as nothing stalls them.
    pub write_bytes_per_sec: u64,
    /// Jobs that run side by side.
    pub jobs_max: usize,
    /// Bytes of inputs that one job gets through in a second.
    pub job_bytes_per_sec: u64,
    /// Writes stall while level 0 holds this many runs.
    pub stall_runs: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            level_count: 7,
            memtable_bytes: 64 << 20,
            write_bytes_per_sec: 5 << 20,
            jobs_max: 4,
            job_bytes_per_sec: 100 << 20,
            stall_runs: 64,
        }
    }
}

/// A job under way.
#[derive(Debug)]
struct Running {
    ends_secs: f64,
    plan: Plan,
}

/// A tree of expected numbers under a strategy and a workload.
pub struct Forecast<'a> {
    strategy: &'a dyn CompactionStrategy,
    machine: Machine,
    table_bytes: u64,
    stage: Stage,
    populations: BTreeMap<TableId, Population>,
    writes: Writes,
    running: Vec<Running>,
    now_secs: f64,
    figures: Figures,
    /// Bytes of all tables.
    bytes: u64,
}

impl<'a> Forecast<'a> {
    /// A tree with every key of a workload once: in one run of the level where `strategy` wants its bulk, which it is
    /// asked for.
    ///
    /// * `live_bytes`: what the keys come to. A workload that only grows starts with none of it.
    /// * `table_bytes`: length at which a flush begins the next table, and of the tables to begin with.
    pub fn new(
        strategy: &'a dyn CompactionStrategy,
        workload: &Workload,
        machine: Machine,
        live_bytes: u64,
        table_bytes: u64,
    ) -> Result<Self, SimError> {
        let mut forecast = Self {
            strategy,
            machine,
            table_bytes,
            stage: Stage::new(machine.level_count, KeyOrder::bytewise()),
            populations: BTreeMap::new(),
            writes: Writes::new(workload, live_bytes),
            running: Vec::new(),
            now_secs: 0.0,
            figures: Figures::default(),
            bytes: 0,
        };
        let bulk = forecast.writes.bulk(table_bytes);
        forecast.place(Level::new(0), bulk, None)?;
        // A run that overlaps nothing goes where it belongs without being rewritten.
        while let Some(plan) = forecast.plan()? {
            let is_rewritten = matches!(plan, Plan::Merge(_));
            forecast.begin(plan);
            while forecast.finish_next()? {}
            if is_rewritten {
                break;
            }
        }
        forecast.figures = Figures::default();
        Ok(forecast)
    }

    /// Lets a memtable's worth of writes arrive and be flushed.
    pub fn flush(&mut self) -> Result<(), SimError> {
        let secs = float(self.machine.memtable_bytes) / float(self.machine.write_bytes_per_sec.max(1));
        let due_secs = self.now_secs + secs;
        self.work_until(due_secs)?;
        self.now_secs = due_secs;
        while self.stage.levels.level(Level::new(0)).runs().len() >= self.machine.stall_runs {
            // Nothing to wait for: the strategy leaves it at that, so writes have to go on.
            if !self.finish_next()? {
                break;
            }
        }
        self.figures.stalled_secs += self.now_secs - due_secs;
        self.set_clock();
        let tables = self.writes.next(self.machine.memtable_bytes, self.now_secs);
        self.figures.written_bytes += self.machine.memtable_bytes;
        // Written through the writer of all tables, which begins a new one at the target.
        let output = OutputSpec::sized(Level::new(0), self.table_bytes);
        let tables = Merger::new(&self.writes, &[tables], false).run(&output, self.stage.order());
        self.figures.flushed_bytes += self.file_bytes(&tables);
        self.place(Level::new(0), tables, None)?;
        self.start_jobs()?;
        self.sample();
        Ok(())
    }

    /// What came of it so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What a strategy sees now.
    pub fn view(&self) -> PlanView<'_> {
        self.stage.view()
    }

    /// Seconds of writing, stalls included.
    pub fn now_secs(&self) -> f64 {
        self.now_secs
    }

    /// What the strategy says is left to do.
    pub fn debt(&self) -> Debt {
        self.strategy.debt(&self.stage.view())
    }

    /// Carries out what ends by then, each job at its time.
    fn work_until(&mut self, secs: f64) -> Result<(), SimError> {
        while self.running.iter().any(|job| job.ends_secs <= secs) {
            self.finish_next()?;
        }
        Ok(())
    }

    /// Finishes the job that ends first and starts what may follow it; `false` when none runs.
    fn finish_next(&mut self) -> Result<bool, SimError> {
        let first = self.running.iter().enumerate().min_by(|a, b| a.1.ends_secs.total_cmp(&b.1.ends_secs));
        let Some((at, _)) = first else { return Ok(false) };
        let job = self.running.swap_remove(at);
        self.now_secs = self.now_secs.max(job.ends_secs);
        self.set_clock();
        self.finish(job.plan)?;
        self.start_jobs()?;
        Ok(true)
    }

    fn start_jobs(&mut self) -> Result<(), SimError> {
        while self.running.len() < self.machine.jobs_max.max(1) {
            let Some(plan) = self.plan()? else { break };
            self.begin(plan);
        }
        let in_flight: u64 = self.running.iter().filter_map(|job| merged(&job.plan)).sum();
        self.figures.transient_bytes_max = self.figures.transient_bytes_max.max(in_flight);
        self.figures.bytes_max = self.figures.bytes_max.max(self.bytes + in_flight);
        Ok(())
    }

    fn plan(&mut self) -> Result<Option<Plan>, SimError> {
        let view = self.stage.view();
        let plan = self.strategy.plan(&view);
        validate(&plan, &view)?;
        self.figures.plans += 1;
        Ok((!plan.is_idle()).then_some(plan))
    }

    fn begin(&mut self, plan: Plan) {
        let leased = plan.inputs().is_none_or(|inputs| self.stage.busy.lease(inputs));
        debug_assert!(leased, "a valid plan names idle tables");
        let secs = float(merged(&plan).unwrap_or(0)) / float(self.machine.job_bytes_per_sec.max(1));
        self.running.push(Running { ends_secs: self.now_secs + secs, plan });
    }

    fn finish(&mut self, plan: Plan) -> Result<(), SimError> {
        let Some(inputs) = plan.inputs() else { return Ok(()) };
        self.stage.busy.release(inputs);
        let newest = inputs.parts().first();
        let run = newest.and_then(|part| self.stage.levels.level(part.level).run(part.run));
        let age = run.map(|run| run.age);
        let moved = matches!(plan, Plan::Move(_));
        let read: Vec<Vec<Population>> = if moved { Vec::new() } else { self.take_out(&plan) };
        self.stage.remove(inputs)?;
        match plan {
            Plan::Idle | Plan::Drop(_) => {}
            Plan::Move(plan) => {
                self.figures.moved_bytes += plan.inputs.file_bytes();
                for part in plan.inputs.parts().iter().rev() {
                    self.stage.place(plan.output.dest, part.tables.clone(), None)?;
                }
            }
            Plan::Merge(plan) => {
                let stays = plan.inputs.parts().iter().all(|part| part.level == plan.output.dest);
                let outputs = self.merge(&plan, &read);
                let written = self.file_bytes(&outputs);
                self.figures.merged_bytes += written;
                self.figures.merges += 1;
                self.place(plan.output.dest, outputs, age.filter(|_| stays))?;
            }
        }
        Ok(())
    }

    /// The populations of the inputs, run by run, newest first.
    fn take_out(&mut self, plan: &Plan) -> Vec<Vec<Population>> {
        let parts = plan.inputs().map(crate::Inputs::parts).unwrap_or_default();
        let mut read = Vec::new();
        for part in parts {
            let tables: Vec<Population> =
                part.tables.iter().filter_map(|table| self.populations.remove(&table.id)).collect();
            self.bytes -= part.tables.iter().map(|table| table.live_bytes()).sum::<u64>();
            read.push(tables);
        }
        read
    }

    /// Called when the inputs have left.
    fn merge(&self, plan: &MergePlan, read: &[Vec<Population>]) -> Vec<Population> {
        let output = &plan.output;
        let deeper = self.stage.levels.iter().filter(|(level, _)| *level > output.dest);
        let is_last = deeper.into_iter().all(|(_, runs)| runs.is_empty());
        // In level 0 older runs may be left; below it outputs take in what they overlap.
        let drops_tombstones = is_last && (output.dest.get() > 0 || self.is_oldest_gone(plan));
        Merger::new(&self.writes, read, drops_tombstones).run(output, self.stage.order())
    }

    /// Whether no run of level 0 that is left is older than those merged, which have left.
    fn is_oldest_gone(&self, plan: &MergePlan) -> bool {
        let oldest = plan.inputs.parts().last().and_then(|part| part.tables.first());
        let older = |run: &crate::Run| run.tables.newest_edit() < oldest.map(|table| table.created_edit);
        !self.stage.levels.level(Level::new(0)).runs().iter().any(older)
    }

    fn place(&mut self, level: Level, tables: Vec<Population>, age: Option<u64>) -> Result<(), SimError> {
        let weights = self.writes.weights();
        let mut described: Vec<Arc<TableDescriptor>> = Vec::with_capacity(tables.len());
        for population in tables {
            let id = TableId::new(self.stage.next());
            let Some(table) = population.describe(id, self.stage.now, &weights) else { continue };
            self.bytes += table.live_bytes();
            self.populations.insert(id, population);
            described.push(Arc::new(table));
        }
        self.stage.place(level, described, age)?;
        Ok(())
    }

    fn file_bytes(&self, tables: &[Population]) -> u64 {
        let weights = self.writes.weights();
        tables.iter().map(|table| table.file_bytes(&weights)).sum()
    }

    fn set_clock(&mut self) {
        self.stage.now = UnixNanos::new(nanos(self.now_secs));
    }

    fn sample(&mut self) {
        let (runs, space) = (self.run_count(), self.space_amplification());
        self.figures.sample(runs, space);
    }

    /// Runs that a point read may have to ask, now.
    pub fn run_count(&self) -> u64 {
        let runs = self.stage.levels.iter().map(|(_, level)| level.runs().len());
        u64::try_from(runs.sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// Bytes of all tables for each byte of live entries, now.
    pub fn space_amplification(&self) -> f64 {
        let live = self.writes.live_bytes();
        if live > 0.0 { float(self.bytes) / live } else { 1.0 }
    }

    /// How long ago tombstones that are still there were written, in seconds: on average, and in the table where they
    /// are oldest.
    pub fn tombstone_age_secs(&self) -> (f64, f64) {
        let (mut count, mut written, mut oldest) = (0.0, 0.0, self.now_secs);
        for population in self.populations.values() {
            let (tombstones, written_sum) = population.tombstones();
            if tombstones >= 1.0 {
                count += tombstones;
                written += written_sum;
                oldest = f64::min(oldest, written_sum / tombstones);
            }
        }
        if count < 1.0 { (0.0, 0.0) } else { (self.now_secs - written / count, self.now_secs - oldest) }
    }
}

/// Bytes that a merge reads; `None` for what rewrites nothing.
fn merged(plan: &Plan) -> Option<u64> {
    match plan {
        Plan::Merge(plan) => Some(plan.inputs.file_bytes()),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures of a forecast are estimates")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive; saturates")]
fn nanos(secs: f64) -> u64 {
    (secs * 1e9) as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive; saturates")]
fn whole(count: f64) -> u64 {
    count as u64
}
