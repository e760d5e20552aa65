//! Levels built table by table.

use std::sync::Arc;

use lsm_compaction_planner::{
    BusySet, KeyOrder, Level, Levels, PlanView, RunId, TableDescriptor, TableId, TreeShape,
};
use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, SeqNoRange, Sizes, TreeEdit, TreeIdentity,
    VersionEdit,
};
use lsm_types::{Cut, EditIndex, FileUuid, KeyRange, RouteId, SeqNo, Slice, TreeId, UnixNanos};

pub(crate) const MIB: u64 = 1 << 20;
const TREE: TreeId = TreeId::new(0);

/// Levels, and which of their tables are busy.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) levels: Levels,
    pub(crate) busy: BusySet,
    pub(crate) shape: TreeShape,
}

impl Scene {
    pub(crate) fn view(&self) -> PlanView<'_> {
        PlanView::new(&self.levels, &self.busy, &self.shape)
    }
}

pub(crate) fn descriptor(id: u64, entries: Option<KeyRange>, file_len: u64) -> TableDescriptor {
    let seqno = SeqNo::new(id).unwrap();
    let seqnos = SeqNoRange { min: seqno, max: seqno };
    TableDescriptor {
        id: TableId::new(id),
        uuid: FileUuid::default(),
        file_len,
        digest: 0,
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(0),
        created_edit: EditIndex::new(id),
        coverage_start: entries.as_ref().map_or(Cut::Start, |range| Cut::Before(range.min.clone())),
        coverage_end: entries.as_ref().map_or(Cut::End, |range| Cut::After(range.max.clone())),
        point_seqnos: entries.as_ref().map(|_| seqnos),
        counts: Counts { entries: if entries.is_some() { 1_000_000 } else { 0 }, ..Counts::default() },
        entries,
        seqnos,
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
    }
}

/// A table of the keys between two numbers.
pub(crate) fn numbered(id: u64, keys: (u32, u32), file_len: u64) -> TableDescriptor {
    let key = |at: u32| Slice::from(at.to_be_bytes().as_slice());
    descriptor(id, Some(KeyRange { min: key(keys.0), max: key(keys.1) }), file_len)
}

/// Builds levels run by run, the newest run of a level first.
pub(crate) struct Builder {
    catalog: Catalog,
    pub(crate) edit: VersionEdit,
    order: KeyOrder,
    level_count: u8,
    /// Level and number of the last run.
    pub(crate) run: (Level, u64),
}

impl Builder {
    pub(crate) fn new(level_count: u8, order: KeyOrder) -> Self {
        let mut catalog = Catalog::default();
        catalog.set_order(TREE, order.clone());
        let mut edit = VersionEdit::default();
        edit.create_tree(TREE, TreeIdentity::new(order.comparator().name(), level_count));
        edit.database.push(DatabaseEdit::ReserveIds(u64::MAX));
        catalog.apply_in_place(&edit).unwrap();
        Self { catalog, edit: VersionEdit::default(), order, level_count, run: (Level::new(0), 0) }
    }

    /// Starts a run older than those before it.
    pub(crate) fn run(&mut self, level: Level) {
        self.run = (level, self.run.1 + 1);
        let (run, age) = (RunId::new(self.run.1), u64::MAX - self.run.1);
        self.edit.push(TREE, TreeEdit::AddRun { level, run, age });
    }

    /// Adds a table to the last run.
    pub(crate) fn table(&mut self, table: TableDescriptor) {
        let (level, run) = (self.run.0, RunId::new(self.run.1));
        self.edit.push(TREE, TreeEdit::AddTable { level, run, table: Arc::new(table) });
    }

    pub(crate) fn scene(mut self) -> Scene {
        self.catalog.apply_in_place(&self.edit).unwrap();
        let levels = self.catalog.tree(TREE).unwrap().levels.clone();
        assert_eq!(levels.count(), self.level_count);
        Scene { levels, busy: BusySet::default(), shape: TreeShape::new(self.order) }
    }
}
