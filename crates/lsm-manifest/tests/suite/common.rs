//! Small tables and random edits that always apply.

use std::sync::Arc;

use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, Restriction, SeqNoRange, Sizes, StoredSchema,
    TableDescriptor, TreeEdit, TreeIdentity, VectorDescriptor, VersionEdit, VlogDescriptor, Watermark,
};
use lsm_types::{
    Comparator, Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, RouteId, RunId, SeqNo, TableId, TreeId,
    UnixNanos, ValueHandle, ValueReferences, ValueUsage, VectorId, VlogId,
};

/// Byte order, reversed.
pub(crate) struct Reverse;

impl Comparator for Reverse {
    fn name(&self) -> &'static str {
        "test.reverse"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        b.cmp(a)
    }
}

/// Byte order for trees with an even number, reversed for the others.
pub(crate) fn identity(tree: TreeId) -> TreeIdentity {
    TreeIdentity::new(if tree.get().is_multiple_of(2) { "lsm.bytewise" } else { "test.reverse" }, 4)
}

/// The order that belongs to [`identity`].
pub(crate) fn order(_: TreeId, identity: &TreeIdentity) -> Option<KeyOrder> {
    match identity.comparator.as_str() {
        "lsm.bytewise" => Some(KeyOrder::bytewise()),
        "test.reverse" => Some(KeyOrder::new(Arc::new(Reverse))),
        _ => None,
    }
}

/// A table over the keys `min..=max`.
pub(crate) fn table(id: u64, min: &[u8], max: &[u8]) -> TableDescriptor {
    let seqnos = SeqNoRange { min: SeqNo::new(id).unwrap(), max: SeqNo::new(id + 5).unwrap() };
    TableDescriptor {
        id: TableId::new(id),
        uuid: FileUuid::from_bytes([u8::try_from(id % 251).unwrap(); 16]),
        file_len: 4096 + id,
        digest: id.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(0),
        created_edit: EditIndex::new(id / 2),
        entries: Some(KeyRange { min: min.into(), max: max.into() }),
        coverage_start: Cut::Before(min.into()),
        coverage_end: Cut::After(max.into()),
        seqnos,
        point_seqnos: Some(seqnos),
        counts: Counts { entries: 10, ..Counts::default() },
        sizes: Sizes { data: 4000, ..Sizes::default() },
        census: Census { lz4: 1, ..Census::default() },
        directory: DirectoryHandle { offset: 3000, len: 200 },
        filter_kind: 1,
        global_seqno: SeqNo::ZERO,
        references: lsm_types::ValueReferences::new(),
        restriction: None,
        vector: None,
        route: RouteId::PRIMARY,
        tail_len: 0,
    }
}

/// Random numbers by `SplitMix64`.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A value log with ten values.
pub(crate) fn vlog(id: u64) -> VlogDescriptor {
    VlogDescriptor {
        id: VlogId::new(id),
        uuid: FileUuid::from_bytes([u8::try_from(id % 251).unwrap(); 16]),
        file_len: 9_000 + id,
        digest: id.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(0),
        created_edit: EditIndex::new(id / 2),
        total: ValueUsage { entries: 10, value_bytes: 5_000, stored_bytes: 8_000 },
        directory: DirectoryHandle { offset: 8_500, len: 100 },
        tail_len: 0,
        is_ordered: false,
    }
}

/// Lets a table refer to `count` values of a log.
pub(crate) fn refer(table: &mut TableDescriptor, vlog: u64, count: u64) {
    for number in 0..count {
        let file = VlogId::new(vlog);
        let handle = ValueHandle { file, offset: 512 + number * 800, stored_len: 800, value_len: 500 };
        table.references.record(&handle).unwrap();
        table.counts.indirections += 1;
    }
}

/// Lets some tables refer to logs that are there.
fn separate(table: &mut TableDescriptor, catalog: &Catalog, tree: TreeId, dice: &mut Dice) {
    let Some(version) = catalog.tree(tree) else { return };
    for log in version.vlogs.iter() {
        let count = dice.below(4);
        refer(table, log.vlog.id.get(), count);
    }
}

/// Draws an edit that applies to `catalog`: one to four steps, checked step by step.
pub(crate) fn draw_edit(catalog: &Catalog, dice: &mut Dice) -> VersionEdit {
    let mut edit = VersionEdit::default();
    for _ in 0..=dice.below(4) {
        let mut longer = edit.clone();
        draw_step(catalog, dice, &mut longer);
        if catalog.preview_whole(&mut longer).is_ok() {
            edit = longer;
        }
    }
    edit
}

fn draw_vector(catalog: &Catalog, entries: u64, dice: &mut Dice) -> VectorDescriptor {
    VectorDescriptor {
        id: VectorId::new(dice.below(catalog.reserved_ids().max(1)) | 1),
        uuid: FileUuid::from_bytes(dice.next().to_le_bytes().repeat(2).try_into().unwrap()),
        file_len: dice.below(1 << 20),
        digest: dice.next(),
        key_id: 0,
        created_edit: EditIndex::new(dice.below(100)),
        directory: DirectoryHandle::default(),
        cardinality: dice.below(entries + 2),
        watermark: SeqNo::new(dice.below(100)).unwrap(),
    }
}

/// Mostly the next one, now and then one that is not new.
fn draw_schema(catalog: &Catalog, tree: TreeId, dice: &mut Dice) -> StoredSchema {
    let schemas = catalog.tree(tree).map(|version| version.schemas.clone()).unwrap_or_default();
    StoredSchema {
        id: schemas.newest().map_or(0, |newest| newest.id) + u32::from(dice.below(4) > 0),
        splitter: "test.splitter".into(),
        splitter_version: 1,
        schema: dice.below(400).to_be_bytes().into(),
    }
}

fn draw_step(catalog: &Catalog, dice: &mut Dice, edit: &mut VersionEdit) {
    let tree = TreeId::new(u32::try_from(dice.below(3)).unwrap());
    let tables: Vec<TableId> = catalog
        .tree(tree)
        .map(|version| version.levels.tables().map(|(_, table)| table.id).collect())
        .unwrap_or_default();
    let pick = |dice: &mut Dice| tables[usize::try_from(dice.next()).unwrap() % tables.len()];
    let level = Level::new(u8::try_from(dice.below(4)).unwrap());
    let run = RunId::new(dice.below(4));
    match dice.below(21) {
        0 => {
            edit.database.push(DatabaseEdit::ReserveIds(catalog.reserved_ids() + dice.below(60)));
            if dice.below(8) == 0 {
                edit.database.push(DatabaseEdit::WithoutSync);
            }
            if dice.below(3) == 0 {
                let route = u8::try_from(1 + dice.below(5)).unwrap();
                let uuid = FileUuid::from_bytes([route; 16]);
                edit.database.push(DatabaseEdit::AddRoute { route: RouteId::new(route.into()), uuid });
            }
        }
        1 => edit.create_tree(tree, identity(tree)),
        2 => edit.push(tree, TreeEdit::AddRun { level, run, age: dice.below(6) }),
        3..=6 => {
            let mut ends = [dice.below(400), dice.below(400)];
            ends.sort_unstable();
            if tree.get() % 2 == 1 {
                ends.reverse();
            }
            let key = |n: u64| n.to_be_bytes();
            // Value logs have odd numbers: nobody gives one twice.
            let id = dice.below(catalog.reserved_ids().max(1)) & !1;
            let mut new = table(id, &key(ends[0]), &key(ends[1]));
            if dice.below(8) == 0 {
                (new.entries, new.point_seqnos) = (None, None);
            }
            separate(&mut new, catalog, tree, dice);
            if dice.below(3) == 0 {
                new.route = catalog.routes().last().map(|(route, _)| route).unwrap_or_default();
            }
            edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(new) });
        }
        14 => {
            // Comes with a table that refers to it.
            let id = dice.below(catalog.reserved_ids().max(1)) | 1;
            let key = id.to_be_bytes();
            let mut first = table(dice.below(catalog.reserved_ids().max(1)) & !1, &key, &key);
            refer(&mut first, id, 1 + dice.below(3));
            edit.push(tree, TreeEdit::AddVlog { vlog: Arc::new(vlog(id)) });
            edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(first) });
        }
        15 | 7 if !tables.is_empty() => edit.push(tree, TreeEdit::RemoveTable { id: pick(dice) }),
        8 if !tables.is_empty() => edit.push(tree, TreeEdit::MoveTable { id: pick(dice), level, run }),
        9 => edit.push(tree, TreeEdit::RaiseFloor(SeqNo::new(dice.below(100)).unwrap())),
        13 => edit.push(tree, TreeEdit::ChangesFrom(SeqNo::new(dice.below(100)).unwrap())),
        17 => edit.push(tree, TreeEdit::RefuseReads(SeqNo::new(dice.below(100)).unwrap())),
        16 if dice.below(2) == 0 => {
            let logs = catalog.tree(tree).into_iter().flat_map(|version| version.vlogs.iter());
            let logs: Vec<VlogId> = logs.map(|log| log.vlog.id).collect();
            let id = logs.first().copied().unwrap_or(VlogId::new(dice.below(50)));
            edit.push(tree, TreeEdit::ExportVlog { id });
        }
        16 => {
            let logs = catalog.tree(tree).into_iter().flat_map(|version| version.vlogs.iter());
            let Some((id, frontier)) = logs.map(|log| (log.vlog.id, log.frontier)).last() else { return };
            edit.push(tree, TreeEdit::AdvanceVlog { id, frontier: frontier + dice.below(3_000) });
        }
        12 if !tables.is_empty() => edit.push(tree, TreeEdit::ExportTable { id: pick(dice) }),
        18 if !tables.is_empty() => {
            let id = pick(dice);
            let Some(table) = catalog.table(id) else { return };
            let is_kept = dice.below(2) == 0;
            let references = if is_kept { table.references.clone() } else { ValueReferences::new() };
            let to = Restriction {
                lower: dice.below(400).to_be_bytes().into(),
                entries: dice.below(table.live_entries() + 2),
                consumed_bytes: table.consumed_bytes() + dice.below(200),
            };
            edit.push(tree, TreeEdit::RestrictTable { id, to, references });
        }
        19 if !tables.is_empty() => {
            let id = pick(dice);
            let Some(table) = catalog.table(id) else { return };
            let vector = Arc::new(draw_vector(catalog, table.counts.entries, dice));
            edit.push(tree, TreeEdit::AttachVector { id, vector });
        }
        20 => edit.push(tree, TreeEdit::AddSchema(Arc::new(draw_schema(catalog, tree, dice)))),
        10 => edit.push(tree, TreeEdit::LowerFloor(SeqNo::new(dice.below(100)).unwrap())),
        11 => edit.push(tree, TreeEdit::MergeOperator(format!("operator.{}", dice.below(3)))),
        _ => edit.push(
            tree,
            TreeEdit::Watermark(Watermark {
                seqno: SeqNo::new(dice.below(1000)).unwrap(),
                token: (dice.below(2) == 0).then(|| dice.next().to_le_bytes().into()),
            }),
        ),
    }
}
