//! A tree without files, in which strategies can be tried.
//!
//! Keys are kept, values are not: every entry counts as the same number of bytes, and of a key only the newest version
//! survives a merge; a tombstone does until nothing outside the merge may hold its key. That is enough to see whether a strategy comes to rest, keeps its levels in order, and what it
//! writes for each byte that is written to it.
//!
//! ```
//! use lsm_compaction_planner::{KeyOrder, Leveled, Level, sim::Sim};
//!
//! let mut sim = Sim::new(3, KeyOrder::bytewise(), 100);
//! let strategy = Leveled { table_target_bytes: 1000, ..Leveled::default() };
//! for round in 0..20_u32 {
//!     sim.flush((0..10).map(|nth: u32| (nth * 7 + round).to_be_bytes().to_vec()));
//!     sim.settle(&strategy, 10)?;
//! }
//! assert!(sim.is_newest_first());
//! assert!(sim.levels().level(Level::new(2)).table_count() > 0);
//! assert!(sim.merged_bytes() < 5 * sim.flushed_bytes());
//! # Ok::<(), lsm_compaction_planner::sim::SimError>(())
//! ```

pub(crate) mod stage;

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use lsm_manifest::{
    Census, Counts, DirectoryHandle, Levels, ManifestError, SeqNoRange, Sizes, TableDescriptor,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, RouteId, SeqNo, Slice, TableId, UnixNanos,
};

use crate::{CompactionStrategy, Cutter, Inputs, OutputSpec, Plan, PlanView, Refusal, validate};
use stage::Stage;

/// What a strategy did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// It made a plan that may not run.
    #[error("the plan may not run")]
    Refused(#[from] Refusal),
    /// It did not come to rest.
    #[error("the strategy is not idle after {steps} steps")]
    Restless {
        /// Steps taken.
        steps: usize,
    },
    /// A plan that may run led to levels that may not be.
    #[error("the outcome of a plan is not a tree")]
    Broken(#[from] ManifestError),
}

/// A key, the number of its write, and whether that was a delete.
type Entry = (Slice, SeqNo, bool);

/// A tree of keys without values.
#[derive(Clone, Debug)]
pub struct Sim {
    stage: Stage,
    contents: BTreeMap<TableId, Vec<Entry>>,
    entry_bytes: u64,
    flushed_bytes: u64,
    merged_bytes: u64,
}

/// A plan that is being carried out: its tables are busy until [`Sim::finish`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Job {
    plan: Plan,
}

impl Job {
    /// What is being done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Sim {
    /// An empty tree of `level_count` levels, with `entry_bytes` for every entry.
    pub fn new(level_count: u8, order: KeyOrder, entry_bytes: u64) -> Self {
        Self {
            stage: Stage::new(level_count, order),
            contents: BTreeMap::new(),
            entry_bytes,
            flushed_bytes: 0,
            merged_bytes: 0,
        }
    }

    /// Tables by level and run.
    pub fn levels(&self) -> &Levels {
        &self.stage.levels
    }

    /// What a strategy sees now: all writes lie below the watermark.
    pub fn view(&self) -> PlanView<'_> {
        self.stage.view()
    }

    /// Lets time pass.
    pub fn advance(&mut self, secs: u64) {
        let nanos = secs.saturating_mul(1_000_000_000);
        self.stage.now = UnixNanos::new(self.stage.now.get().saturating_add(nanos));
    }

    /// Bytes of all flushes.
    pub fn flushed_bytes(&self) -> u64 {
        self.flushed_bytes
    }

    /// Bytes of all outputs of merges.
    pub fn merged_bytes(&self) -> u64 {
        self.merged_bytes
    }

    /// Writes keys, each with a fresh number, into one table of level 0.
    pub fn flush<K: Into<Slice>>(&mut self, keys: impl IntoIterator<Item = K>) {
        self.write(keys, false);
    }

    /// As [`Sim::flush`], with a tombstone for each key.
    pub fn flush_deletes<K: Into<Slice>>(&mut self, keys: impl IntoIterator<Item = K>) {
        self.write(keys, true);
    }

    fn write<K: Into<Slice>>(&mut self, keys: impl IntoIterator<Item = K>, deletes: bool) {
        let mut entries: Vec<Entry> =
            keys.into_iter().map(|key| (key.into(), SeqNo::ZERO, deletes)).collect();
        for entry in &mut entries {
            entry.1 = SeqNo::new(self.stage.next()).unwrap_or(SeqNo::MAX_WRITE);
        }
        self.keep_newest(&mut entries);
        let created = EditIndex::new(self.stage.next());
        let Some(table) = self.table(entries, created) else { return };
        self.flushed_bytes += table.live_bytes();
        let placed = self.stage.place(Level::new(0), alloc::vec![table], None);
        debug_assert!(placed.is_ok(), "a new table fits into a new run");
    }

    /// Asks the strategy and takes the tables it names; `None` when it is idle.
    pub fn begin(&mut self, strategy: &dyn CompactionStrategy) -> Result<Option<Job>, SimError> {
        let view = self.view();
        let plan = strategy.plan(&view);
        validate(&plan, &view)?;
        let Some(inputs) = plan.inputs() else { return Ok(None) };
        let leased = self.stage.busy.lease(inputs);
        debug_assert!(leased, "a valid plan names idle tables");
        Ok(Some(Job { plan }))
    }

    /// Carries a plan out, and gives it back.
    pub fn finish(&mut self, job: Job) -> Result<Plan, SimError> {
        let Some(inputs) = job.plan.inputs() else { return Ok(job.plan) };
        self.stage.busy.release(inputs);
        let newest = inputs.parts().first().cloned();
        let age = newest
            .as_ref()
            .and_then(|part| self.stage.levels.level(part.level).run(part.run))
            .map(|run| run.age);
        self.stage.remove(inputs)?;
        match &job.plan {
            Plan::Idle | Plan::Drop(_) => {}
            Plan::Move(plan) => {
                for part in plan.inputs.parts().iter().rev() {
                    self.stage.place(plan.output.dest, part.tables.clone(), None)?;
                }
            }
            Plan::Merge(plan) => {
                let outputs = self.merge(&plan.inputs, &plan.output);
                let stays = plan.inputs.parts().iter().all(|part| part.level == plan.output.dest);
                self.stage.place(plan.output.dest, outputs, age.filter(|_| stays))?;
            }
        }
        let gone = inputs.tables().filter(|table| !self.stage.is_there(table.id));
        let gone: Vec<TableId> = gone.map(|table| table.id).collect();
        for id in gone {
            self.contents.remove(&id);
        }
        Ok(job.plan)
    }

    /// Asks the strategy once and carries its plan out.
    pub fn step(&mut self, strategy: &dyn CompactionStrategy) -> Result<Plan, SimError> {
        match self.begin(strategy)? {
            Some(job) => self.finish(job),
            None => Ok(Plan::Idle),
        }
    }

    /// Asks the strategy until it is idle, `steps_max` times at most; gives the number of plans carried out.
    pub fn settle(&mut self, strategy: &dyn CompactionStrategy, steps_max: usize) -> Result<usize, SimError> {
        for steps in 0..steps_max {
            if self.step(strategy)?.is_idle() {
                return Ok(steps);
            }
        }
        if strategy.plan(&self.view()).is_idle() {
            Ok(steps_max)
        } else {
            Err(SimError::Restless { steps: steps_max })
        }
    }

    /// Whether of every key a newer version stands above an older one: a higher level or a newer run.
    pub fn is_newest_first(&self) -> bool {
        let mut newest: BTreeMap<&[u8], SeqNo> = BTreeMap::new();
        self.stage.levels.tables().flat_map(|(_, table)| self.entries(table.id)).all(|(key, seqno, _)| {
            let above = newest.insert(key, *seqno);
            above.is_none_or(|above| above > *seqno)
        })
    }

    /// Number of different keys whose newest version is no tombstone.
    pub fn key_count(&self) -> usize {
        let mut all: Vec<&Entry> =
            self.stage.levels.tables().flat_map(|(_, table)| self.entries(table.id)).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        all.dedup_by(|later, kept| later.0 == kept.0);
        all.iter().filter(|entry| !entry.2).count()
    }

    /// Number of tombstones in all tables.
    pub fn tombstone_count(&self) -> u64 {
        self.stage.levels.tables().map(|(_, table)| table.counts.tombstones).sum()
    }

    fn entries(&self, table: TableId) -> &[Entry] {
        self.contents.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Sorts entries and keeps the newest of each key.
    fn keep_newest(&self, entries: &mut Vec<Entry>) {
        let order = self.stage.order();
        entries.sort_by(|a, b| order.compare(&a.0, &b.0).then(b.1.cmp(&a.1)));
        entries.dedup_by(|later, kept| later.0 == kept.0);
    }

    fn merge(&mut self, inputs: &Inputs, output: &OutputSpec) -> Vec<Arc<TableDescriptor>> {
        let mut entries: Vec<Entry> =
            inputs.tables().flat_map(|table| self.entries(table.id)).cloned().collect();
        self.keep_newest(&mut entries);
        let order = self.stage.order().clone();
        // Called when the inputs have left: whatever has the key now is outside.
        let is_outside = |key: &[u8]| {
            let mut runs = self.stage.levels.iter().flat_map(|(_, level)| level.runs());
            runs.any(|run| run.tables.find(key, &order).is_some())
        };
        entries.retain(|entry| !entry.2 || is_outside(&entry.0));
        let mut cutter = Cutter::new(output, &order);
        let created = EditIndex::new(self.stage.next());
        let mut tables = Vec::new();
        let mut open: Vec<Entry> = Vec::new();
        for entry in entries {
            if cutter.ends_before(&entry.0, self.file_bytes(open.len())) {
                tables.extend(self.table(core::mem::take(&mut open), created));
            }
            open.push(entry);
        }
        tables.extend(self.table(open, created));
        self.merged_bytes += tables.iter().map(|table| table.live_bytes()).sum::<u64>();
        tables
    }

    fn file_bytes(&self, entry_count: usize) -> u64 {
        self.entry_bytes.saturating_mul(u64::try_from(entry_count).unwrap_or(u64::MAX))
    }

    /// A table of sorted entries; `None` without any.
    fn table(&mut self, entries: Vec<Entry>, created_edit: EditIndex) -> Option<Arc<TableDescriptor>> {
        let (min, max) = (entries.first()?.0.clone(), entries.last()?.0.clone());
        let seqnos = entries.iter().map(|(_, seqno, _)| *seqno);
        let seqnos = SeqNoRange { min: seqnos.clone().min()?, max: seqnos.max()? };
        let id = TableId::new(self.stage.next());
        let table = TableDescriptor {
            id,
            uuid: FileUuid::default(),
            file_len: self.file_bytes(entries.len()),
            digest: 0,
            format: (1, 0),
            features: 0,
            key_id: 0,
            created_at: self.stage.now,
            created_edit,
            coverage_start: Cut::Before(min.clone()),
            coverage_end: Cut::After(max.clone()),
            entries: Some(KeyRange { min, max }),
            seqnos,
            point_seqnos: Some(seqnos),
            counts: Counts {
                entries: count(entries.len()),
                tombstones: count(entries.iter().filter(|entry| entry.2).count()),
                ..Counts::default()
            },
            sizes: Sizes::default(),
            census: Census::default(),
            directory: DirectoryHandle::default(),
            filter_kind: 0,
            global_seqno: SeqNo::ZERO,
            references: lsm_types::ValueReferences::new(),
            restriction: None,
            vector: None,
            route: RouteId::PRIMARY,
            tail_len: 0,
        };
        self.contents.insert(id, entries);
        Some(Arc::new(table))
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
