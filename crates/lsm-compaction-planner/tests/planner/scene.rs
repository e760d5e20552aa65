//! Levels as text.
//!
//! `L0 4:[c..f] 5:[a..d] / L1 2:[a..e]x10`: levels are divided by `/`, tables are `id:[smallest key..largest key]`. A
//! run is a row of tables in key order; where the order breaks, or at a `|`, an older run starts. `x10` is the length
//! in MiB, 64 without it. `4*` is busy. `<a..z>` is what range tombstones cover, alone or after the entries. `t9` is
//! the number of tombstones among a million entries.

use std::sync::Arc;

use lsm_compaction_planner::{
    BusySet, CompactionStrategy, KeyOrder, Level, Levels, Plan, PlanView, RunId, TableDescriptor, TableId,
    TreeShape, validate,
};
use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, SeqNoRange, Sizes, TreeEdit, TreeIdentity,
    VersionEdit,
};
use lsm_types::{Cut, EditIndex, FileUuid, KeyRange, SeqNo, Slice, TreeId, UnixNanos};

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

    pub(crate) fn parse(level_count: u8, text: &str) -> Self {
        let mut builder = Builder::new(level_count, KeyOrder::bytewise());
        let mut busy = Vec::new();
        for part in text.split('/').map(str::trim).filter(|part| !part.is_empty()) {
            let (level, tables) = part.split_once(' ').unwrap_or((part, ""));
            let level = Level::new(level.strip_prefix('L').unwrap().parse().unwrap());
            let mut end: Option<Cut> = None;
            for word in tables.split_whitespace() {
                if word == "|" {
                    end = None;
                    continue;
                }
                let (table, is_busy) = parse_table(word);
                let follows = end
                    .as_ref()
                    .zip(table.entries.as_ref())
                    .is_some_and(|(end, entries)| end.is_left_of(&entries.min, &KeyOrder::bytewise()));
                if !follows {
                    builder.run(level);
                }
                end = table.entries.as_ref().map(|entries| Cut::After(entries.max.clone()));
                if is_busy {
                    busy.push((level, table.clone()));
                }
                builder.table(table);
            }
        }
        let mut scene = builder.scene();
        for (level, table) in busy {
            scene.busy.insert(level, &table);
        }
        scene
    }
}

fn parse_table(word: &str) -> (TableDescriptor, bool) {
    let (id, rest) = word.split_once(':').unwrap();
    let (id, busy) = id.strip_suffix('*').map_or((id, false), |id| (id, true));
    let between = |open: char, close: char| {
        let (_, rest) = rest.split_once(open)?;
        let (range, _) = rest.split_once(close)?;
        range.split_once("..")
    };
    let number = |mark: char| {
        let tail = rest.rsplit([']', '>']).next().unwrap();
        let digits: String = tail.split_once(mark)?.1.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let entries = between('[', ']').map(|(min, max)| KeyRange { min: min.into(), max: max.into() });
    let mut table = descriptor(id.parse().unwrap(), entries, number('x').unwrap_or(64) * MIB);
    if let Some((start, end)) = between('<', '>') {
        table.coverage_start = Cut::Before(start.into());
        table.coverage_end = Cut::After(end.into());
        table.counts.range_tombstones = 1;
    }
    table.counts.tombstones = number('t').unwrap_or(0);
    (table, busy)
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
    edit: VersionEdit,
    order: KeyOrder,
    level_count: u8,
    run: (Level, u64),
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

/// The plan as text; made twice, and valid.
#[track_caller]
pub(crate) fn plan_text(strategy: &dyn CompactionStrategy, scene: &Scene) -> String {
    let plan = valid_plan(strategy, scene);
    plan.to_string()
}

#[track_caller]
pub(crate) fn valid_plan(strategy: &dyn CompactionStrategy, scene: &Scene) -> Plan {
    let plan = strategy.plan(&scene.view());
    assert_eq!(plan, strategy.plan(&scene.view()), "equal views give equal plans");
    assert_eq!(validate(&plan, &scene.view()), Ok(()), "{plan}");
    plan
}
