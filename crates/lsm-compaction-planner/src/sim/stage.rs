//! Levels that plans are carried out on, without what is in the tables.

use alloc::{sync::Arc, vec::Vec};

use lsm_manifest::{
    Catalog, DatabaseEdit, Levels, ManifestError, Run, TableDescriptor, TreeEdit, TreeIdentity, VersionEdit,
};
use lsm_types::{KeyOrder, Level, RunId, SeqNo, TreeId, UnixNanos};

use crate::{BusySet, Inputs, PlanView, TreeShape};

const TREE: TreeId = TreeId::new(0);
/// Between the ages of runs, so that a run can be put between two of them.
const AGE_STEP: u64 = 1 << 20;

/// The levels, what of them is busy, and the time.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    catalog: Catalog,
    pub(crate) busy: BusySet,
    shape: TreeShape,
    pub(crate) levels: Levels,
    pub(crate) now: UnixNanos,
    counter: u64,
}

impl Stage {
    pub(crate) fn new(level_count: u8, order: KeyOrder) -> Self {
        let mut edit = VersionEdit::default();
        edit.create_tree(TREE, TreeIdentity::new(order.comparator().name(), level_count));
        edit.database.push(DatabaseEdit::ReserveIds(u64::MAX));
        let mut catalog = Catalog::default();
        catalog.set_order(TREE, order.clone());
        let created = catalog.apply_in_place(&edit);
        debug_assert!(created.is_ok(), "the first tree of a catalog can be created");
        Self {
            catalog,
            busy: BusySet::default(),
            shape: TreeShape::new(order),
            levels: Levels::empty(level_count),
            now: UnixNanos::new(0),
            counter: 0,
        }
    }

    pub(crate) fn order(&self) -> &KeyOrder {
        &self.shape.order
    }

    /// What a strategy sees now: all writes lie below the watermark.
    pub(crate) fn view(&self) -> PlanView<'_> {
        let watermark = SeqNo::new(self.counter + 1).unwrap_or(SeqNo::LATEST);
        PlanView::new(&self.levels, &self.busy, &self.shape).at(self.now).with_watermark(watermark)
    }

    /// A number that was not given out before.
    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn is_there(&self, table: lsm_types::TableId) -> bool {
        self.catalog.place(table).is_some()
    }

    pub(crate) fn remove(&mut self, inputs: &Inputs) -> Result<(), ManifestError> {
        let mut edit = VersionEdit::default();
        for table in inputs.tables() {
            edit.push(TREE, TreeEdit::RemoveTable { id: table.id });
        }
        self.apply(&edit)
    }

    /// Puts tables into the newest run of a level, or into a new one where they overlap it.
    ///
    /// * `age`: the place of the new run; on top without it.
    pub(crate) fn place(
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
        let is_free = |run: &&Run| {
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
        // A second holder of the levels would make the catalog copy what it changes.
        self.levels = Levels::empty(0);
        let applied = self.catalog.apply_in_place(edit);
        if let Some(version) = self.catalog.tree(TREE) {
            self.levels = version.levels.clone();
        }
        applied
    }
}
