//! What every strategy has to keep to, as a test that anybody can run on their own.
//!
//! ```
//! use lsm_compaction_planner::{SizeTiered, contract::Contract};
//!
//! let strategy = SizeTiered { table_target_bytes: 2_000, ..SizeTiered::default() };
//! Contract::default().check(&strategy)?;
//! # Ok::<(), lsm_compaction_planner::contract::Breach>(())
//! ```
//!
//! The strategy is driven over trees in the simulator: keys in order, at random, a few of them again and again, and
//! deletes; one job at a time, and several side by side that end in another order than they began. After each step:
//!
//! - **Purity**: asked twice with equal views, it gives equal plans. A clock, dice or memory show here.
//! - **Validity**: [`validate`](crate::validate) accepts each plan; so no busy table is taken, nothing is lost or turned
//!   round.
//! - **Termination**: with no new writes it is idle after a bounded number of plans.
//! - **Debt falls**: while there are no new writes, debt at rest is not more than before, and a strategy at rest with
//!   nothing busy owes nothing.
//! - **Content**: merges and moves lose no key and bring none back.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use lsm_types::KeyOrder;

use crate::{
    CompactionStrategy, Debt,
    sim::{Job, Sim, SimError},
};

/// Levels of the trees that are tried.
const LEVEL_COUNTS: [u8; 4] = [2, 3, 7, 255];
/// Jobs that run side by side.
const JOBS_MAX: usize = 3;

/// How strategies are tried; the defaults suit one that takes any keys.
#[derive(Clone, Copy, Debug)]
pub struct Contract {
    /// The key of a number; must be the same for the same number, and ascend with it.
    pub key: fn(u64) -> Vec<u8>,
    /// Different keys that are written.
    pub keys: u64,
    /// Flushes of each workload.
    pub flushes: u64,
    /// Keys in a flush.
    pub flush_keys: u64,
    /// Bytes of an entry.
    pub entry_bytes: u64,
    /// Plans until a tree has to be at rest.
    pub steps_max: usize,
    /// Seconds between flushes.
    pub flush_secs: u64,
    /// Whether the strategy drops what has not been deleted, as a part of its job.
    pub forgets: bool,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            key: |nth| nth.to_be_bytes().to_vec(),
            keys: 600,
            flushes: 60,
            flush_keys: 20,
            entry_bytes: 100,
            steps_max: 300,
            flush_secs: 60,
            forgets: false,
        }
    }
}

/// What a strategy broke.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// Equal views gave different plans.
    #[error("{workload}, {levels} levels: equal views gave different plans, `{first}` and `{second}`")]
    Impure {
        /// The workload.
        workload: &'static str,
        /// Levels of the tree.
        levels: u8,
        /// The first plan, as text.
        first: String,
        /// The second one.
        second: String,
    },
    /// A plan may not run, or the strategy does not come to rest.
    #[error("{workload}, {levels} levels")]
    Broken {
        /// The workload.
        workload: &'static str,
        /// Levels of the tree.
        levels: u8,
        /// What is wrong.
        source: SimError,
    },
    /// Debt is left at rest, or has grown by working it off.
    #[error("{workload}, {levels} levels: {before:?} became {after:?} at rest")]
    Debt {
        /// The workload.
        workload: &'static str,
        /// Levels of the tree.
        levels: u8,
        /// Before the work.
        before: Debt,
        /// After it.
        after: Debt,
    },
    /// Keys were lost or came back, or an older version came to lie above a newer one.
    #[error(
        "{workload}, {levels} levels: {expected} keys should be left, {found} are, newest first: {ordered}"
    )]
    Content {
        /// The workload.
        workload: &'static str,
        /// Levels of the tree.
        levels: u8,
        /// Keys that should be left.
        expected: usize,
        /// Keys that are.
        found: usize,
        /// Whether newer versions lie above older ones.
        ordered: bool,
    },
}

/// Writes the flush of this number.
type Workload = (&'static str, fn(&Contract, &mut Sim, u64));

const WORKLOADS: [Workload; 4] = [
    ("keys in order", |contract, sim, flush| {
        let from = flush * contract.flush_keys;
        sim.flush((from..from + contract.flush_keys).map(contract.key));
    }),
    ("keys at random", |contract, sim, flush| {
        sim.flush(contract.numbers(flush, contract.keys).map(contract.key));
    }),
    ("few keys again and again", |contract, sim, flush| {
        let keys = if flush % 5 == 0 { contract.keys } else { contract.keys / 20 };
        sim.flush(contract.numbers(flush, keys).map(contract.key));
    }),
    ("writes and deletes", |contract, sim, flush| {
        let numbers = contract.numbers(flush / 2, contract.keys).map(contract.key);
        if flush % 2 == 0 { sim.flush(numbers) } else { sim.flush_deletes(numbers) }
    }),
];

impl Contract {
    /// Runs everything.
    ///
    /// # Errors
    /// The first breach.
    pub fn check(&self, strategy: &dyn CompactionStrategy) -> Result<(), Breach> {
        for (workload, write) in WORKLOADS {
            for levels in LEVEL_COUNTS {
                let mut trial = Trial {
                    contract: self,
                    strategy,
                    workload,
                    sim: Sim::new(levels, KeyOrder::bytewise(), self.entry_bytes),
                };
                trial.one_by_one(write)?;
                trial.side_by_side(write)?;
            }
        }
        Ok(())
    }

    /// Numbers of keys that look random.
    fn numbers(&self, flush: u64, below: u64) -> impl Iterator<Item = u64> + use<> {
        (0..self.flush_keys).map(move |nth| {
            let mixed = (flush << 20).wrapping_add(nth).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31) % below.max(1)
        })
    }
}

struct Trial<'a> {
    contract: &'a Contract,
    strategy: &'a dyn CompactionStrategy,
    workload: &'static str,
    sim: Sim,
}

impl Trial<'_> {
    fn one_by_one(&mut self, write: fn(&Contract, &mut Sim, u64)) -> Result<(), Breach> {
        for flush in 0..self.contract.flushes {
            self.sim.advance(self.contract.flush_secs);
            write(self.contract, &mut self.sim, flush);
            self.settle()?;
        }
        self.content(self.sim.key_count())
    }

    fn side_by_side(&mut self, write: fn(&Contract, &mut Sim, u64)) -> Result<(), Breach> {
        let mut running: Vec<Job> = Vec::new();
        for flush in 0..self.contract.flushes {
            self.sim.advance(self.contract.flush_secs);
            write(self.contract, &mut self.sim, flush);
            while running.len() < JOBS_MAX {
                self.pure()?;
                let Some(job) = self.sim.begin(self.strategy).map_err(|source| self.broken(source))? else {
                    break;
                };
                running.push(job);
            }
            // Not in the order in which they began.
            if flush % 3 != 0 && !running.is_empty() {
                let job = running.swap_remove(usize::from(flush % 2 == 0) % running.len());
                self.finish(job)?;
            }
        }
        for job in running {
            self.finish(job)?;
        }
        self.settle()
    }

    /// Until nothing is left to do; debt falls on the way.
    fn settle(&mut self) -> Result<(), Breach> {
        let before = self.strategy.debt(&self.sim.view());
        for _ in 0..self.contract.steps_max {
            self.pure()?;
            let Some(job) = self.sim.begin(self.strategy).map_err(|source| self.broken(source))? else {
                let after = self.strategy.debt(&self.sim.view());
                let (workload, levels) = (self.workload, self.sim.levels().count());
                let is_settled = after == Debt::ZERO && after <= before;
                return is_settled.then_some(()).ok_or(Breach::Debt { workload, levels, before, after });
            };
            self.finish(job)?;
        }
        Err(self.broken(SimError::Restless { steps: self.contract.steps_max }))
    }

    fn finish(&mut self, job: Job) -> Result<(), Breach> {
        let before = self.sim.key_count();
        self.sim.finish(job).map_err(|source| self.broken(source))?;
        self.content(before)
    }

    fn content(&self, before: usize) -> Result<(), Breach> {
        let (found, ordered) = (self.sim.key_count(), self.sim.is_newest_first());
        let is_kept = if self.contract.forgets { found <= before } else { found == before };
        if is_kept && ordered {
            return Ok(());
        }
        let (workload, levels) = (self.workload, self.sim.levels().count());
        Err(Breach::Content { workload, levels, expected: before, found, ordered })
    }

    fn pure(&self) -> Result<(), Breach> {
        let first = self.strategy.plan(&self.sim.view());
        let levels = self.sim.levels().clone();
        let busy = self.sim.view().busy.clone();
        let mut view = self.sim.view();
        (view.levels, view.busy) = (&levels, &busy);
        let second = self.strategy.plan(&view);
        if first == second {
            return Ok(());
        }
        let (first, second) = (first.to_string(), second.to_string());
        Err(Breach::Impure { workload: self.workload, levels: levels.count(), first, second })
    }

    fn broken(&self, source: SimError) -> Breach {
        Breach::Broken { workload: self.workload, levels: self.sim.levels().count(), source }
    }
}
