//! States and the records they are rebuilt from.

use std::sync::Arc;

use crate::common::{Dice, draw_edit, identity, order, refer, table, vlog};
use lsm_manifest::{
    Catalog, DatabaseEdit, LostEdits, ManifestError, Record, Replay, Replayed, SNAPSHOT_CHUNK_MAX, Salvage,
    Salvaged, StoredSchema, TableDescriptor, TreeEdit, VersionEdit, write_snapshot,
};
use lsm_types::{EditIndex, FileUuid, Level, RouteId, RunId, TableId, TreeId, ValueUsage, VlogId};
use proptest::prelude::*;

const DATABASE: FileUuid = FileUuid::from_bytes([7; 16]);

fn records(catalog: &Catalog, edit_index: u64) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    write_snapshot::<()>(catalog, DATABASE, EditIndex::new(edit_index), |record| {
        records.push(record.to_vec());
        Ok(())
    })
    .unwrap();
    records
}

fn edit_record(follows: u64, edit: &VersionEdit) -> Vec<u8> {
    let mut out = Vec::new();
    Record::encode_edits(EditIndex::new(follows), [edit], &mut out);
    out
}

fn replay(records: &[Vec<u8>]) -> Result<Replayed, ManifestError> {
    let mut replay = Replay::new(&order);
    for record in records {
        replay.feed(record)?;
    }
    replay.finish().ok_or(ManifestError::OutOfPlace { expected: "the end of a snapshot" })
}

fn salvage<'a>(records: impl IntoIterator<Item = &'a Vec<u8>>, begin: u64) -> Salvaged {
    let mut salvage = Salvage::new(&order, EditIndex::new(begin));
    for record in records {
        salvage.feed(record).unwrap();
    }
    salvage.finish()
}

/// A catalog with the orders that its trees need.
fn with_orders() -> Catalog {
    let mut catalog = Catalog::default();
    for tree in (0..3).map(TreeId::new) {
        catalog.set_order(tree, order(tree, &identity(tree)).unwrap());
    }
    catalog
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Proves D-43, D-35, D-36, D-52: whatever edits were made, the state, its snapshot, and a replay from any
    /// point of rotation are the same, and all of them keep the rules.
    #[test]
    fn every_rotation_point_gives_the_same_state(seed in any::<u64>(), count in 0_usize..60, cut in 0_usize..60) {
        let dice = &mut Dice(seed);
        let mut catalog = with_orders();
        let mut states = vec![catalog.clone()];
        let mut edits = Vec::new();
        for _ in 0..count {
            let edit = draw_edit(&catalog, dice);
            catalog.apply_in_place(&edit).unwrap();
            catalog.check().unwrap();
            edits.push(edit);
            states.push(catalog.clone());
        }
        let cut = cut.min(count);
        let mut file = records(&states[cut], cut as u64);
        for (at, edit) in edits.iter().enumerate().skip(cut) {
            file.push(edit_record(at as u64, edit));
        }
        let replayed = replay(&file).unwrap();
        prop_assert_eq!(&replayed.catalog, &catalog);
        prop_assert_eq!(replayed.last_edit.get(), count as u64);
        prop_assert_eq!(replayed.begin.database, DATABASE);
        replayed.catalog.check().unwrap();
        // And the snapshot of the rebuilt state has the same bytes.
        prop_assert_eq!(records(&replayed.catalog, 9), records(&catalog, 9));
    }

    /// Proves D-49: with all records a salvage finds what a replay finds; without one of them it finds a state that
    /// keeps the rules, and says which edit is missing.
    #[test]
    fn a_salvage_makes_do_with_what_is_left(seed in any::<u64>(), count in 2_usize..40, lost in 0_usize..60) {
        let dice = &mut Dice(seed);
        let mut catalog = with_orders();
        let mut file = Vec::new();
        for at in 0..count {
            let edit = draw_edit(&catalog, dice);
            if at == count / 2 {
                file = records(&catalog, at as u64);
            }
            catalog.apply_in_place(&edit).unwrap();
            if !file.is_empty() {
                file.push(edit_record(at as u64, &edit));
            }
        }
        let begin = (count / 2) as u64;
        let whole = salvage(&file, begin);
        prop_assert_eq!(&whole.catalog, &catalog);
        prop_assert!(whole.lost.is_nothing() && whole.last_edit.get() == count as u64);

        let lost = lost % file.len();
        let rest = file.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, record)| record);
        let found = salvage(rest, begin);
        found.catalog.check().unwrap();
        let edits = count - count / 2;
        if lost + edits >= file.len() {
            let index = (count + lost - file.len()) as u64;
            let expect = LostEdits { after: EditIndex::new(index), last: EditIndex::new(index + 1) };
            let is_last = index + 1 == count as u64;
            prop_assert_eq!(found.lost.edits, if is_last { vec![] } else { vec![expect] });
        } else if lost > 0 {
            prop_assert!(found.lost.snapshot && found.last_edit.get() == count as u64);
        }
    }

    /// An edit that fails at any step leaves the state as it was.
    #[test]
    fn a_failed_edit_changes_nothing(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let mut catalog = with_orders();
        for _ in 0..40 {
            let edit = draw_edit(&catalog, dice);
            catalog.apply_in_place(&edit).unwrap();
        }
        let before = catalog.clone();
        let mut edit = draw_edit(&catalog, dice);
        edit.push(TreeId::new(0), TreeEdit::RemoveTable { id: TableId::new(u64::MAX) });
        prop_assert!(catalog.apply_in_place(&edit).is_err());
        prop_assert_eq!(&catalog, &before);
        prop_assert_eq!(records(&catalog, 1), records(&before, 1));
    }
}

fn small() -> Catalog {
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(100));
    edit.create_tree(TreeId::new(0), identity(TreeId::new(0)));
    edit.push(TreeId::new(0), add_run(1));
    edit.push(TreeId::new(0), add_table(1, 7, b"a", b"c"));
    with_orders().apply(&edit).unwrap()
}

fn add_run(run: u64) -> TreeEdit {
    TreeEdit::AddRun { level: Level::new(0), run: RunId::new(run), age: run }
}

fn add_table(run: u64, id: u64, min: &[u8], max: &[u8]) -> TreeEdit {
    let table = table(id, min, max).into();
    TreeEdit::AddTable { level: Level::new(0), run: RunId::new(run), table }
}

fn floor(seqno: u64) -> VersionEdit {
    let mut edit = VersionEdit::default();
    edit.push(TreeId::new(0), TreeEdit::RaiseFloor(lsm_types::SeqNo::new(seqno).unwrap()));
    edit
}

#[track_caller]
fn check_refused(records: &[Vec<u8>], expect: ManifestError) {
    assert_eq!(replay(records).err(), Some(expect));
}

/// Proves D-38: duplicated, dropped, swapped and misplaced records are refused. Fault: durability W-39.
#[test]
fn records_out_of_place_are_refused() {
    let snapshot = records(&small(), 4);
    let edits = [edit_record(4, &floor(1)), edit_record(5, &floor(2)), edit_record(6, &floor(3))];
    let mut close = Vec::new();
    Record::CleanClose.encode(&mut close);
    let file = |tail: &[&Vec<u8>]| -> Vec<Vec<u8>> {
        snapshot.iter().cloned().chain(tail.iter().map(|record| (*record).clone())).collect()
    };
    let whole = replay(&file(&[&edits[0], &edits[1], &edits[2], &close])).unwrap();
    assert!(whole.is_clean && whole.last_edit == EditIndex::new(7));
    let gap = |expected, found| ManifestError::Gap {
        expected: EditIndex::new(expected),
        found: EditIndex::new(found),
    };
    check_refused(&file(&[&edits[0], &edits[0]]), gap(5, 4));
    check_refused(&file(&[&edits[0], &edits[2]]), gap(5, 6));
    check_refused(&file(&[&edits[1], &edits[0]]), gap(4, 5));
    check_refused(&file(&[&close, &edits[0]]), ManifestError::OutOfPlace { expected: "the end of the file" });
    check_refused(&file(&[&snapshot[0]]), ManifestError::OutOfPlace { expected: "an edit" });
    check_refused(&edits, ManifestError::OutOfPlace { expected: "the start of a snapshot" });
    check_refused(&[], ManifestError::OutOfPlace { expected: "the end of a snapshot" });
    let unfinished = &snapshot[..snapshot.len() - 1];
    check_refused(unfinished, ManifestError::OutOfPlace { expected: "the end of a snapshot" });
    let without_chunk = [snapshot[0].clone(), snapshot[2].clone()];
    check_refused(&without_chunk, ManifestError::Snapshot { what: "pieces" });
}

#[test]
fn a_snapshot_must_have_what_it_says() {
    let mut records = records(&small(), 4);
    let Ok(Record::SnapshotBegin(begin)) = Record::decode(&records[0]) else { panic!("it begins") };
    let mut forge = |begin| {
        records[0].clear();
        Record::SnapshotBegin(begin).encode(&mut records[0]);
        replay(&records).err()
    };
    let tables = lsm_manifest::SnapshotBegin { table_count: 2, ..begin };
    assert_eq!(forge(tables), Some(ManifestError::Snapshot { what: "tables" }));
    let trees = lsm_manifest::SnapshotBegin { tree_count: 2, ..begin };
    assert_eq!(forge(trees), Some(ManifestError::Snapshot { what: "trees" }));
}

#[test]
fn an_unknown_comparator_is_named() {
    let mut replay = Replay::new(&|_: TreeId, _: &lsm_manifest::TreeIdentity| None);
    let file = records(&small(), 0);
    replay.feed(&file[0]).unwrap();
    assert_eq!(replay.feed(&file[1]), Err(ManifestError::UnknownOrder { tree: TreeId::new(0) }));
    assert!(replay.feed(&file[2]).is_err() && replay.finish().is_none());
}

/// Proves D-35: a state of any size is cut into bounded pieces.
#[test]
fn large_states_are_cut_into_pieces() {
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(5_000));
    edit.create_tree(TreeId::new(0), identity(TreeId::new(0)));
    edit.push(TreeId::new(0), add_run(1));
    for id in 0..4_000_u32 {
        let mut key = vec![0_u8; 700];
        key[..4].copy_from_slice(&id.to_be_bytes());
        edit.push(TreeId::new(0), add_table(1, id.into(), &key, &key));
    }
    let catalog = with_orders().apply(&edit).unwrap();
    let file = records(&catalog, 0);
    assert!(file.len() > 6, "{}", file.len());
    assert!(file.iter().all(|record| record.len() <= SNAPSHOT_CHUNK_MAX));
    assert_eq!(replay(&file).unwrap().catalog, catalog);
}

/// Proves D-35: neither runs nor tables of a level are counted in a byte, and an edit is as long as what it changes.
/// Fault: durability W-1, W-2.
#[test]
fn levels_hold_any_number_of_runs_and_tables() {
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(10_000));
    edit.create_tree(TreeId::new(0), identity(TreeId::new(0)));
    for run in 0..300 {
        edit.push(TreeId::new(0), add_run(run));
        edit.push(TreeId::new(0), add_table(run, run, b"a", b"z"));
    }
    for id in 300..3_000_u64 {
        edit.push(TreeId::new(0), add_run(300 + id));
        edit.push(TreeId::new(0), add_table(300 + id, id, &id.to_be_bytes(), &id.to_be_bytes()));
    }
    let catalog = with_orders().apply(&edit).unwrap();
    assert_eq!(replay(&records(&catalog, 0)).unwrap().catalog, catalog);
    let mut small = VersionEdit::default();
    small.push(TreeId::new(0), add_table(0, 9_000, b"za", b"zz"));
    assert!(edit_record(0, &small).len() < 200);
    catalog.apply(&small).unwrap();
}

/// Proves D-49: a salvage goes on from the state of an older file when that includes what its own snapshot would say.
#[test]
fn a_salvage_goes_on_from_an_older_state() {
    let base = small();
    let mut edits = Vec::new();
    for id in 8..12 {
        let mut edit = VersionEdit::default();
        edit.push(TreeId::new(0), add_run(id));
        edit.push(TreeId::new(0), add_table(id, id, b"k", b"l"));
        edits.push(edit);
    }
    let mut group = Vec::new();
    Record::encode_edits(EditIndex::new(5), &edits, &mut group);
    // The state on which it builds includes the first two of the four.
    let state = base.apply(&edits[0]).unwrap().apply(&edits[1]).unwrap();
    let mut salvage = Salvage::on(&order, state, EditIndex::new(7));
    for record in records(&Catalog::default(), 5).iter().chain([&group]) {
        salvage.feed(record).unwrap();
    }
    let found = salvage.finish();
    let expect = edits.iter().fold(base, |state, edit| state.apply(edit).unwrap());
    assert_eq!((found.catalog, found.last_edit.get(), found.edits), (expect, 9, 2));
    assert!(found.lost.is_nothing());
}

/// Proves D-49: a table whose run or place is lost gets a run of its own; what does not fit is counted.
#[test]
fn a_salvage_bends_steps_that_do_not_fit() {
    let steps = [
        add_table(77, 150, b"d", b"e"),
        add_table(1, 151, b"a", b"e"),
        TreeEdit::RemoveTable { id: TableId::new(66) },
    ];
    let mut edit = VersionEdit::default();
    for step in steps {
        edit.push(TreeId::new(0), step);
    }
    let mut salvage = Salvage::on(&order, small(), EditIndex::new(5));
    salvage.feed(&edit_record(9, &edit)).unwrap();
    let found = salvage.finish();
    found.catalog.check().unwrap();
    let tables: Vec<u64> = found
        .catalog
        .tree(TreeId::new(0))
        .unwrap()
        .levels
        .tables()
        .map(|(_, table)| table.id.get())
        .collect();
    assert!(tables.contains(&150) && tables.contains(&151), "{tables:?}");
    assert_eq!((found.lost.steps, found.lost.edit_count(), found.catalog.reserved_ids()), (3, 4, 152));
}

#[track_caller]
fn check_edit(steps: Vec<TreeEdit>, expect: Result<(), ManifestError>) {
    let mut edit = VersionEdit::default();
    for step in steps {
        edit.push(TreeId::new(0), step);
    }
    assert_eq!(small().preview(&edit).map(|_| ()), expect);
}

/// Proves D-23, D-50: an edit that breaks a rule does not apply.
#[test]
fn edits_that_break_rules_are_refused() {
    let (level, run, of) = (Level::new(0), RunId::new(1), TableId::new);
    check_edit(vec![add_table(1, 8, b"d", b"e")], Ok(()));
    check_edit(vec![add_table(1, 100, b"d", b"e")], Err(ManifestError::Unreserved { table: of(100) }));
    check_edit(vec![add_table(1, 7, b"d", b"e")], Err(ManifestError::TableExists { table: of(7) }));
    check_edit(vec![add_table(1, 8, b"b", b"e")], Err(ManifestError::Overlap { level, run, table: of(8) }));
    check_edit(
        vec![add_table(2, 8, b"d", b"e")],
        Err(ManifestError::UnknownRun { table: of(8), level, run: RunId::new(2) }),
    );
    check_edit(vec![add_run(1)], Err(ManifestError::RunExists { run }));
    let deep = TreeEdit::AddRun { level: Level::new(4), run: RunId::new(9), age: 9 };
    check_edit(vec![deep], Err(ManifestError::UnknownLevel { level: Level::new(4), count: 4 }));
    check_edit(
        vec![TreeEdit::RemoveTable { id: of(8) }],
        Err(ManifestError::UnknownTable { tree: TreeId::new(0), table: of(8) }),
    );
    let long = lsm_manifest::Watermark { token: Some([0_u8; 65].into()), ..Default::default() };
    check_edit(vec![TreeEdit::Watermark(long)], Err(ManifestError::TooLong { what: "token of a watermark" }));
    let long = TreeEdit::MergeOperator("x".repeat(256));
    check_edit(vec![long], Err(ManifestError::TooLong { what: "name of a merge operator" }));
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(99));
    let back = ManifestError::Regression { what: "reserved file numbers" };
    assert_eq!(small().preview(&edit).err(), Some(back));
}

/// Proves D-27: a table lies on a route that there is; two routes have neither number nor identity in common; and all
/// of it can be brought to one place.
#[test]
fn tables_lie_on_routes_that_there_are() {
    let (tree, route) = (TreeId::new(0), RouteId::new(2));
    let on = |route: RouteId| {
        let table = Arc::new(TableDescriptor { route, ..table(8, b"d", b"e") });
        TreeEdit::AddTable { level: Level::new(0), run: RunId::new(1), table }
    };
    let add = |number: u32, uuid: u8| {
        let mut edit = VersionEdit::default();
        let (route, uuid) = (RouteId::new(number), FileUuid::from_bytes([uuid; 16]));
        edit.database.push(DatabaseEdit::AddRoute { route, uuid });
        edit
    };
    check_edit(vec![on(route)], Err(ManifestError::UnknownRoute { table: TableId::new(8), route }));
    let mut edit = add(2, 7);
    edit.push(tree, on(route));
    let routed = small().apply(&edit).unwrap();
    assert_eq!(routed.routes().collect::<Vec<_>>(), [(route, FileUuid::from_bytes([7; 16]))]);
    for (number, uuid) in [(0, 9), (2, 9), (3, 7)] {
        let refused = ManifestError::RouteExists { route: RouteId::new(number) };
        assert_eq!(routed.preview(&add(number, uuid)).err(), Some(refused));
    }
    let flat = routed.without_routes().unwrap();
    assert_eq!(flat.routes().count(), 0);
    let mut edit = VersionEdit::default();
    edit.push(tree, on(RouteId::PRIMARY));
    assert_eq!(flat, small().apply(&edit).unwrap());
}

/// Proves D-50: a state read under another order than its own does not pass.
#[test]
fn a_wrong_order_is_found() {
    let mut edit = VersionEdit::default();
    edit.push(TreeId::new(0), add_table(1, 8, b"d", b"e"));
    let mut catalog = small().apply(&edit).unwrap();
    catalog.check().unwrap();
    catalog.set_order(TreeId::new(0), lsm_types::KeyOrder::new(std::sync::Arc::new(crate::common::Reverse)));
    let rule = "tables of a run overlap or are out of order";
    assert_eq!(catalog.check(), Err(ManifestError::Inconsistent { tree: TreeId::new(0), rule }));
}

/// Proves D-101: the mark of an exported file stays with its table until that leaves.
#[test]
fn an_export_is_remembered_as_long_as_its_table() {
    let (tree, level, run) = (TreeId::new(0), Level::new(0), RunId::new(0));
    let id = TableId::new(1);
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(4));
    edit.create_tree(tree, identity(tree));
    edit.push(tree, TreeEdit::AddRun { level, run, age: 1 });
    edit.push(tree, TreeEdit::AddTable { level, run, table: std::sync::Arc::new(table(1, b"a", b"b")) });
    let mut catalog = with_orders().apply(&edit).unwrap();
    assert!(!catalog.is_exported(id));

    let step = |step: TreeEdit| VersionEdit { trees: vec![(tree, step)], ..VersionEdit::default() };
    let export = step(TreeEdit::ExportTable { id });
    let mut bytes = Vec::new();
    export.encode(&mut bytes);
    assert_eq!(bytes, [0xB1, 2, 0, 1]);
    catalog.apply_in_place(&export).unwrap();
    let level = Level::new(1);
    let run = RunId::new(7);
    catalog.apply_in_place(&step(TreeEdit::AddRun { level, run, age: 1 })).unwrap();
    catalog.apply_in_place(&step(TreeEdit::MoveTable { id, level, run })).unwrap();
    let replayed = replay(&records(&catalog, 9)).unwrap().catalog;
    assert_eq!(replayed.exported().collect::<Vec<_>>(), [id]);
    assert_eq!(replayed, catalog);

    catalog.apply_in_place(&step(TreeEdit::RemoveTable { id })).unwrap();
    assert_eq!(catalog.exported().count(), 0);
    assert!(catalog.apply(&export).is_err(), "a table that is gone");
    let elsewhere = VersionEdit { trees: vec![(TreeId::new(1), TreeEdit::ExportTable { id })], ..edit };
    assert!(catalog.apply(&elsewhere).is_err(), "a table of another tree");
}

/// Proves D-101: that of a value log likewise.
#[test]
fn an_export_is_remembered_as_long_as_its_value_log() {
    let (tree, id) = (TreeId::new(0), VlogId::new(50));
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(60));
    edit.create_tree(tree, identity(tree));
    edit.push(tree, TreeEdit::AddVlog { vlog: Arc::new(vlog(50)) });
    edit.push(tree, TreeEdit::AddRun { level: Level::new(0), run: RunId::new(1), age: 1 });
    edit.push(tree, referring(1, b"a", 2));
    let mut catalog = with_orders().apply(&edit).unwrap();
    let exported = |catalog: &Catalog| catalog.tree(tree).unwrap().vlogs.get(id).map(|log| log.is_exported);
    assert_eq!(exported(&catalog), Some(false));
    let step = |step: TreeEdit| VersionEdit { trees: vec![(tree, step)], ..VersionEdit::default() };
    let export = step(TreeEdit::ExportVlog { id });
    let mut bytes = Vec::new();
    export.encode(&mut bytes);
    assert_eq!(bytes, [0xBC, 2, 0, 50]);
    catalog.apply_in_place(&export).unwrap();
    assert_eq!(exported(&catalog), Some(true));
    assert_eq!(replay(&records(&catalog, 9)).unwrap().catalog, catalog);
    let mut last = step(TreeEdit::RemoveTable { id: TableId::new(1) });
    catalog.preview_whole(&mut last).unwrap();
    catalog.apply_in_place(&last).unwrap();
    assert_eq!(exported(&catalog), None);
    assert_eq!(catalog.apply(&export), Err(ManifestError::UnknownVlog { vlog: id }));
}

/// Proves C-126, D-35: a frontier rises within the file, counts in what the files come to, survives a snapshot and goes with
/// its value log.
#[test]
fn a_frontier_rises() {
    let (tree, id) = (TreeId::new(0), VlogId::new(50));
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(60));
    edit.create_tree(tree, identity(tree));
    edit.push(tree, TreeEdit::AddVlog { vlog: Arc::new(vlog(50)) });
    edit.push(tree, TreeEdit::AddRun { level: Level::new(0), run: RunId::new(1), age: 1 });
    edit.push(tree, referring(1, b"a", 2));
    let mut catalog = with_orders().apply(&edit).unwrap();
    let whole = catalog.file_bytes();
    let step = |step: TreeEdit| VersionEdit { trees: vec![(tree, step)], ..VersionEdit::default() };
    let advance = |frontier| step(TreeEdit::AdvanceVlog { id, frontier });
    let refused = Err(ManifestError::VlogFrontier { vlog: id });
    assert_eq!(catalog.apply(&advance(0)), refused);
    catalog.apply_in_place(&advance(1_312)).unwrap();
    assert_eq!(catalog.apply(&advance(1_312)), refused);
    assert_eq!(catalog.apply(&advance(1_311)), refused);
    assert_eq!(catalog.apply(&advance(9_051)), refused);
    catalog.apply_in_place(&advance(9_050)).unwrap();
    let log = catalog.tree(tree).unwrap().vlogs.get(id).unwrap().clone();
    assert_eq!((log.frontier, log.live_bytes()), (9_050, 512), "the head stays");
    assert_eq!(catalog.file_bytes(), whole - (9_050 - 512));
    catalog.check().unwrap();
    assert_eq!(replay(&records(&catalog, 9)).unwrap().catalog, catalog);
    let mut last = step(TreeEdit::RemoveTable { id: TableId::new(1) });
    catalog.preview_whole(&mut last).unwrap();
    catalog.apply_in_place(&last).unwrap();
    assert_eq!(catalog.file_bytes(), 0);
    assert_eq!(catalog.apply(&advance(9_050)), Err(ManifestError::UnknownVlog { vlog: id }));
}

/// Proves F-107: schemas of a tree are kept, all of them, and their numbers only grow.
#[test]
fn schemas_are_kept_by_number() {
    let tree = TreeId::new(0);
    let schema = |id: u32, name: &str| {
        let schema = [id.to_le_bytes()[0]].into();
        TreeEdit::AddSchema(Arc::new(StoredSchema { id, splitter: name.into(), splitter_version: 1, schema }))
    };
    let step = |step: TreeEdit| VersionEdit { trees: vec![(tree, step)], ..VersionEdit::default() };
    let mut edit = VersionEdit::default();
    edit.create_tree(tree, identity(tree));
    edit.push(tree, schema(2, "a"));
    let mut catalog = with_orders().apply(&edit).unwrap();
    catalog.apply_in_place(&step(schema(5, "b"))).unwrap();
    let schemas = &catalog.tree(tree).unwrap().schemas;
    assert_eq!(schemas.iter().map(|schema| schema.id).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(schemas.get(2).map(|schema| schema.splitter.as_str()), Some("a"));
    assert_eq!((schemas.get(3), schemas.newest().map(|schema| schema.id)), (None, Some(5)));
    assert_eq!(replay(&records(&catalog, 9)).unwrap().catalog, catalog);

    let regression = Err(ManifestError::Regression { what: "the number of the schema" });
    assert_eq!(catalog.apply(&step(schema(5, "b"))), regression);
    assert_eq!(catalog.apply(&step(schema(3, "b"))), regression);
    assert_eq!(Catalog::default().apply(&edit).unwrap().apply(&step(schema(0, "b"))), regression);
    let name = "n".repeat(256);
    assert!(catalog.apply(&step(schema(6, ""))).is_err() && catalog.apply(&step(schema(6, &name))).is_err());
}

fn referring(id: u64, key: &[u8], count: u64) -> TreeEdit {
    let mut new = table(id, key, key);
    refer(&mut new, 50, count);
    TreeEdit::AddTable { level: Level::new(0), run: RunId::new(1), table: Arc::new(new) }
}

/// Proves D-81, D-83: what is live follows from the tables; the edit that takes the last reference takes the value log;
/// no edit refers to what is not there, to more than there is, or leaves a value log that nothing refers to.
#[test]
fn what_is_live_of_a_value_log_follows_from_tables() {
    let tree = TreeId::new(0);
    let id = VlogId::new(50);
    let apply = |catalog: &mut Catalog, steps: Vec<TreeEdit>| -> Result<usize, ManifestError> {
        let mut edit = VersionEdit::default();
        for step in steps {
            edit.push(tree, step);
        }
        let change = catalog.preview_whole(&mut edit)?;
        // Whoever replays it comes to the same.
        let replayed = catalog.clone().replay(&edit)?;
        catalog.commit(change);
        assert_eq!(*catalog, replayed);
        catalog.check()?;
        Ok(edit.trees.len())
    };
    let remove = |id: u64| TreeEdit::RemoveTable { id: TableId::new(id) };
    let mut catalog = small();
    let bytes = catalog.file_bytes();
    assert_eq!(
        apply(&mut catalog, vec![referring(10, b"d", 4)]),
        Err(ManifestError::UnknownVlog { vlog: id })
    );
    let add = TreeEdit::AddVlog { vlog: Arc::new(vlog(50)) };
    assert_eq!(apply(&mut catalog, vec![add.clone(), referring(10, b"d", 4), referring(11, b"e", 5)]), Ok(3));
    assert_eq!(catalog.file_bytes(), bytes + 9_050 + 2 * 4_096 + 21);
    let log = catalog.tree(tree).unwrap().vlogs.get(id).unwrap();
    let nine = ValueUsage { entries: 9, value_bytes: 4_500, stored_bytes: 7_200 };
    assert_eq!(log.tables.iter().map(|id| id.get()).collect::<Vec<_>>(), [10, 11]);
    assert_eq!((log.live, log.garbage()), (nine, vlog(50).total.checked_sub(nine).unwrap()));

    assert_eq!(apply(&mut catalog, vec![referring(12, b"f", 2)]), Err(ManifestError::VlogSums { vlog: id }));
    assert_eq!(
        apply(&mut catalog, vec![TreeEdit::RemoveVlog { id }]),
        Err(ManifestError::VlogInUse { vlog: id })
    );
    assert_eq!(apply(&mut catalog, vec![add]), Err(ManifestError::VlogExists { vlog: id }));
    let unreserved = TreeEdit::AddVlog { vlog: Arc::new(vlog(100)) };
    let expect = ManifestError::UnreservedVlog { vlog: VlogId::new(100) };
    assert_eq!(apply(&mut catalog, vec![unreserved]), Err(expect));
    let taken = TreeEdit::AddVlog { vlog: Arc::new(vlog(7)) };
    assert_eq!(apply(&mut catalog, vec![taken]), Err(ManifestError::VlogExists { vlog: VlogId::new(7) }));

    // A merge that keeps some of it: in between nothing refers to it, at the end something does.
    assert_eq!(apply(&mut catalog, vec![remove(10), remove(11), referring(12, b"d", 3)]), Ok(3));
    let mut incomplete = VersionEdit::default();
    incomplete.push(tree, remove(12));
    assert_eq!(catalog.clone().replay(&incomplete).err(), Some(ManifestError::VlogSums { vlog: id }));
    assert_eq!(apply(&mut catalog, vec![remove(12)]), Ok(2), "and the value log");
    assert!(catalog.tree(tree).unwrap().vlogs.is_empty());
    assert_eq!(catalog.file_bytes(), bytes);
}
