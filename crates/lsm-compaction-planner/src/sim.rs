//! A tree without files, in which strategies can be tried.
//!
//! Keys are kept, values are not: every entry counts as the same number of bytes, and of a key only the newest version
//! survives a merge. That is enough to see whether a strategy comes to rest, keeps its levels in order, and what it
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

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, Levels, ManifestError, SeqNoRange, Sizes,
    TableDescriptor, TreeEdit, TreeIdentity, VersionEdit,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, RunId, SeqNo, Slice, TableId, TreeId, UnixNanos,
};

use crate::{
    BusySet, CompactionStrategy, Cutter, Inputs, OutputSpec, Plan, PlanView, Refusal, TreeShape, validate,
};

const TREE: TreeId = TreeId::new(0);
/// Between the ages of runs, so that a run can be put between two of them.
const AGE_STEP: u64 = 1 << 20;

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

/// A key and the number of its write.
type Entry = (Slice, SeqNo);

/// A tree of keys without values.
#[derive(Clone, Debug)]
pub struct Sim {
    catalog: Catalog,
    contents: BTreeMap<TableId, Vec<Entry>>,
    busy: BusySet,
    shape: TreeShape,
    levels: Levels,
    entry_bytes: u64,
    counter: u64,
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
        let mut edit = VersionEdit::default();
        edit.create_tree(TREE, TreeIdentity::new(order.comparator().name(), level_count));
        edit.database.push(DatabaseEdit::ReserveIds(u64::MAX));
        let mut catalog = Catalog::default();
        catalog.set_order(TREE, order.clone());
        let created = catalog.apply_in_place(&edit);
        debug_assert!(created.is_ok(), "the first tree of a catalog can be created");
        Self {
            catalog,
            contents: BTreeMap::new(),
            busy: BusySet::default(),
            shape: TreeShape::new(order),
            levels: Levels::empty(level_count),
            entry_bytes,
            counter: 0,
            flushed_bytes: 0,
            merged_bytes: 0,
        }
    }

    /// Tables by level and run.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// What a strategy sees now.
    pub fn view(&self) -> PlanView<'_> {
        PlanView::new(&self.levels, &self.busy, &self.shape)
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
        let mut entries: Vec<Entry> = keys.into_iter().map(|key| (key.into(), SeqNo::ZERO)).collect();
        for entry in &mut entries {
            entry.1 = SeqNo::new(self.next()).unwrap_or(SeqNo::MAX_WRITE);
        }
        self.keep_newest(&mut entries);
        let created = EditIndex::new(self.next());
        let Some(table) = self.table(entries, created) else { return };
        self.flushed_bytes += table.file_len;
        let placed = self.place(Level::new(0), alloc::vec![table], None);
        debug_assert!(placed.is_ok(), "a new table fits into a new run");
    }

    /// Asks the strategy and takes the tables it names; `None` when it is idle.
    pub fn begin(&mut self, strategy: &dyn CompactionStrategy) -> Result<Option<Job>, SimError> {
        let view = self.view();
        let plan = strategy.plan(&view);
        validate(&plan, &view)?;
        let Some(inputs) = plan.inputs() else { return Ok(None) };
        let leased = self.busy.lease(inputs);
        debug_assert!(leased, "a valid plan names idle tables");
        Ok(Some(Job { plan }))
    }

    /// Carries a plan out, and gives it back.
    pub fn finish(&mut self, job: Job) -> Result<Plan, SimError> {
        let Some(inputs) = job.plan.inputs() else { return Ok(job.plan) };
        self.busy.release(inputs);
        let newest = inputs.parts().first().cloned();
        let age =
            newest.as_ref().and_then(|part| self.levels.level(part.level).run(part.run)).map(|run| run.age);
        self.remove(inputs)?;
        match &job.plan {
            Plan::Idle | Plan::Drop(_) => {}
            Plan::Move(plan) => {
                for part in plan.inputs.parts().iter().rev() {
                    self.place(plan.output.dest, part.tables.clone(), None)?;
                }
            }
            Plan::Merge(plan) => {
                let outputs = self.merge(&plan.inputs, &plan.output);
                let stays = plan.inputs.parts().iter().all(|part| part.level == plan.output.dest);
                self.place(plan.output.dest, outputs, age.filter(|_| stays))?;
            }
        }
        let gone = inputs.tables().filter(|table| self.catalog.place(table.id).is_none());
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
        self.levels.tables().flat_map(|(_, table)| self.entries(table.id)).all(|(key, seqno)| {
            let above = newest.insert(key, *seqno);
            above.is_none_or(|above| above > *seqno)
        })
    }

    /// Number of different keys.
    pub fn key_count(&self) -> usize {
        let mut keys: Vec<&Slice> =
            self.levels.tables().flat_map(|(_, table)| self.entries(table.id)).map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len()
    }

    fn entries(&self, table: TableId) -> &[Entry] {
        self.contents.get(&table).map_or(&[], Vec::as_slice)
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Sorts entries and keeps the newest of each key.
    fn keep_newest(&self, entries: &mut Vec<Entry>) {
        let order = &self.shape.order;
        entries.sort_by(|a, b| order.compare(&a.0, &b.0).then(b.1.cmp(&a.1)));
        entries.dedup_by(|later, kept| later.0 == kept.0);
    }

    fn merge(&mut self, inputs: &Inputs, output: &OutputSpec) -> Vec<Arc<TableDescriptor>> {
        let mut entries: Vec<Entry> =
            inputs.tables().flat_map(|table| self.entries(table.id)).cloned().collect();
        self.keep_newest(&mut entries);
        let order = self.shape.order.clone();
        let mut cutter = Cutter::new(output, &order);
        let created = EditIndex::new(self.next());
        let mut tables = Vec::new();
        let mut open: Vec<Entry> = Vec::new();
        for entry in entries {
            if cutter.ends_before(&entry.0, self.file_bytes(open.len())) {
                tables.extend(self.table(core::mem::take(&mut open), created));
            }
            open.push(entry);
        }
        tables.extend(self.table(open, created));
        self.merged_bytes += tables.iter().map(|table| table.file_len).sum::<u64>();
        tables
    }

    fn file_bytes(&self, entry_count: usize) -> u64 {
        self.entry_bytes.saturating_mul(u64::try_from(entry_count).unwrap_or(u64::MAX))
    }

    /// A table of sorted entries; `None` without any.
    fn table(&mut self, entries: Vec<Entry>, created_edit: EditIndex) -> Option<Arc<TableDescriptor>> {
        let (min, max) = (entries.first()?.0.clone(), entries.last()?.0.clone());
        let seqnos = entries.iter().map(|(_, seqno)| *seqno);
        let seqnos = SeqNoRange { min: seqnos.clone().min()?, max: seqnos.max()? };
        let id = TableId::new(self.next());
        let table = TableDescriptor {
            id,
            uuid: FileUuid::default(),
            file_len: self.file_bytes(entries.len()),
            digest: 0,
            format: (1, 0),
            features: 0,
            key_id: 0,
            created_at: UnixNanos::default(),
            created_edit,
            coverage_start: Cut::Before(min.clone()),
            coverage_end: Cut::After(max.clone()),
            entries: Some(KeyRange { min, max }),
            seqnos,
            point_seqnos: Some(seqnos),
            counts: Counts { entries: u64::try_from(entries.len()).unwrap_or(u64::MAX), ..Counts::default() },
            sizes: Sizes::default(),
            census: Census::default(),
            directory: DirectoryHandle::default(),
            filter_kind: 0,
            global_seqno: SeqNo::ZERO,
            tail_len: 0,
        };
        self.contents.insert(id, entries);
        Some(Arc::new(table))
    }

    fn remove(&mut self, inputs: &Inputs) -> Result<(), ManifestError> {
        let mut edit = VersionEdit::default();
        for table in inputs.tables() {
            edit.push(TREE, TreeEdit::RemoveTable { id: table.id });
        }
        self.apply(&edit)
    }

    /// Puts tables into the newest run of a level, or into a new one where they overlap it.
    ///
    /// * `age`: the place of the new run; on top without it.
    fn place(
        &mut self,
        level: Level,
        tables: Vec<Arc<TableDescriptor>>,
        age: Option<u64>,
    ) -> Result<(), ManifestError> {
        if tables.is_empty() {
            return Ok(());
        }
        let order = &self.shape.order;
        let runs = self.levels.level(level).runs();
        let newest = runs.iter().find(|run| age.is_none_or(|age| run.age <= age));
        let is_free = |run: &&lsm_manifest::Run| {
            let mut ranges = tables.iter().filter_map(|table| table.entries.as_ref());
            ranges.all(|range| run.tables.overlapping(range, order).next().is_none())
        };
        let mut edit = VersionEdit::default();
        let run = if let Some(run) = newest.filter(is_free).filter(|run| age.is_none_or(|age| run.age == age))
        {
            run.id
        } else {
            let top = runs.first().map_or(0, |run| run.age);
            let mut age = age.unwrap_or(top.saturating_add(AGE_STEP));
            // Below what stays of the newest input run.
            while runs.iter().any(|run| run.age == age) {
                age = age.saturating_sub(1);
            }
            let run = RunId::new(self.next());
            edit.push(TREE, TreeEdit::AddRun { level, run, age });
            run
        };
        for table in tables {
            edit.push(TREE, TreeEdit::AddTable { level, run, table });
        }
        self.apply(&edit)
    }

    fn apply(&mut self, edit: &VersionEdit) -> Result<(), ManifestError> {
        self.catalog.apply_in_place(edit)?;
        if let Some(version) = self.catalog.tree(TREE) {
            self.levels = version.levels.clone();
        }
        Ok(())
    }
}
