//! What a flavour gets to know about the job it carries out.

use std::sync::Arc;

use lsm_compaction_planner::OutputSpec;
use lsm_iter::Retention;
use lsm_table::{Table, TableEnv, Throttle, VlogEnv};
use lsm_types::{
    Cut, KeyOrder, KeyRange, MergeOperator, RangeTombstone, Result, SeparatedValues, SeqNo, TableId,
    TombstoneIndex,
};

use crate::{
    Cancel, Failpoints, InFlight, JobFilter, JobInputs, JobWatch, Lease, OutsideContainer, Parallelism,
    RateLimiter, Relocation, limiter::Toll, split::KeyStretch,
};

/// A leased and validated merge.
pub struct Job {
    /// What is merged.
    pub inputs: JobInputs,
    /// Where the outputs go and how large they get.
    pub output: OutputSpec,
    /// Number of levels of the tree.
    pub level_count: u8,
    /// Order of keys.
    pub order: KeyOrder,
    /// Folds operands; without one they stay. Its panics end the job.
    pub operator: Option<Arc<dyn MergeOperator>>,
    /// Looks at entries and changes them.
    pub filter: Option<JobFilter>,
    /// Which history has to stay readable.
    pub retention: Retention,
    /// What is written and not yet installed while the job goes on.
    pub in_flight: InFlight,
    /// Lists what is neither an input nor an output and may hold keys of the job. What it has installed part by part holds
    /// none of the keys that are left, only deletes of inputs that it knows.
    pub outside: Arc<dyn Fn() -> Vec<OutsideContainer> + Send + Sync>,
    /// Range tombstones of tables that are not inputs and reach keys of the job.
    pub tombstones: Vec<RangeTombstone>,
    /// Where tables are written and read.
    pub env: Arc<TableEnv>,
    /// Where long values go; `None` for a tree that keeps them in tables.
    pub vlogs: Option<Arc<VlogEnv>>,
    /// Fetches separated values of the inputs, and keeps their files.
    pub values: Option<Arc<dyn SeparatedValues>>,
    /// Value logs that the job rewrites as far as its inputs refer to them.
    pub relocation: Option<Relocation>,
    /// How segments are shared out.
    pub parallelism: Parallelism,
    /// Stops the job. The job raises it itself when one of its segments fails: it stops nothing else.
    pub cancel: Cancel,
    /// How fast it may read and write.
    pub limiter: Arc<RateLimiter>,
    /// Makes the job fail on purpose.
    pub failpoints: Arc<dyn Failpoints>,
    /// Looks on.
    pub watch: Arc<dyn JobWatch>,
    /// Keeps other jobs away from the inputs.
    pub lease: Lease,
}

/// Entries of inputs that go without being looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unread {
    pub(crate) entries: u64,
    /// New reads at or below this bound have lost history.
    pub(crate) floor: Option<SeqNo>,
}

impl Job {
    /// What the readers and writers of the job ask.
    pub fn throttle(&self) -> Arc<dyn Throttle> {
        Arc::new(self.toll(None))
    }

    /// What those ask who read the inputs.
    pub(crate) fn input_throttle(&self) -> Arc<dyn Throttle> {
        Arc::new(self.toll(Some(self.watch.clone())))
    }

    fn toll(&self, watch: Option<Arc<dyn JobWatch>>) -> Toll {
        Toll { limiter: self.limiter.clone(), cancel: self.cancel.clone(), watch }
    }

    /// Numbers of the inputs.
    pub fn input_ids(&self) -> Vec<TableId> {
        self.inputs.ids().to_vec()
    }

    /// Range tombstones of the inputs.
    ///
    /// # Errors
    /// What opening an input finds.
    pub fn input_tombstones(&self) -> Result<Vec<RangeTombstone>> {
        let mut all = Vec::new();
        for table in self.inputs.tables() {
            all.extend(table.tombstones()?.into_iter().flat_map(|index| index.tombstones()).cloned());
        }
        Ok(all)
    }

    /// The runs without tables that need not be read: those without entries in `stretch`, and those that lie as a whole
    /// under range tombstones of `cover` that every reader sees.
    ///
    /// A table that lies in several stretches is counted in the first of them.
    pub(crate) fn runs_to_read(
        &self,
        stretch: &KeyStretch,
        cover: &TombstoneIndex,
    ) -> (Vec<Vec<Table>>, Unread) {
        let mut unread = Unread::default();
        let watermark = self.retention.watermark();
        let mut is_read = |table: &Table| {
            let Some(entries) = &table.descriptor().entries else { return false };
            if !stretch.meets(&entries.min, &entries.max, &self.order) {
                return false;
            }
            let is_covered = !cover.is_empty() && self.is_covered(table, entries, cover);
            if is_covered && stretch.holds(&entries.min, &self.order) {
                unread.entries += table.descriptor().live_entries();
            }
            if is_covered {
                unread.floor = Some(watermark.saturating_prev());
            }
            !is_covered
        };
        let runs = self.inputs.runs().into_iter();
        let runs = runs.map(|run| run.into_iter().filter(&mut is_read).collect());
        let runs = runs.filter(|run: &Vec<Table>| !run.is_empty()).collect();
        (runs, unread)
    }

    /// Whether over every key of the table lies a tombstone that is newer than all entries and below the watermark.
    fn is_covered(&self, table: &Table, entries: &KeyRange, cover: &TombstoneIndex) -> bool {
        let watermark = self.retention.watermark();
        for stretch in cover.stretches_from(&Cut::Before(entries.min.clone())) {
            let newest = cover.newest_below(stretch, watermark);
            if !newest.is_some_and(|newest| table.is_older_than(newest)) {
                return false;
            }
            if !cover.around(stretch).1.is_left_of(&entries.max, &self.order) {
                return true;
            }
        }
        false
    }

    /// Bytes of the input files.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.file_bytes()
    }

    /// Entries of the inputs.
    pub fn input_entries(&self) -> u64 {
        self.inputs.entries()
    }
}
