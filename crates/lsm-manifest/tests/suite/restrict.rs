//! Tables of which a part is left: what an edit may say, and what follows from it.

use std::sync::Arc;

use lsm_manifest::{
    Catalog, DatabaseEdit, DirectoryHandle, ManifestError, Restriction, TableDescriptor, TreeEdit,
    VectorDescriptor, VersionEdit,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, RunId, SeqNo, Slice, TableId, TreeId,
    ValueReferences, VectorId, VlogId,
};

use crate::common::{identity, order, refer, table, vlog};

const TREE: TreeId = TreeId::new(0);

/// A run with these tables in level 1.
fn catalog(tables: &[TableDescriptor]) -> Catalog {
    catalog_of(TREE, tables)
}

fn catalog_of(tree: TreeId, tables: &[TableDescriptor]) -> Catalog {
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(1024));
    edit.create_tree(tree, identity(tree));
    let (level, run) = (Level::new(1), RunId::new(3));
    edit.push(tree, TreeEdit::AddRun { level, run, age: 9 });
    if tables.iter().any(|table| !table.references.is_empty()) {
        edit.push(tree, TreeEdit::AddVlog { vlog: Arc::new(vlog(300)) });
    }
    for table in tables {
        edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(table.clone()) });
    }
    let mut catalog = Catalog::default();
    catalog.set_order(tree, order(tree, &identity(tree)).unwrap());
    catalog.apply(&edit).unwrap()
}

fn to(lower: &[u8], entries: u64, consumed_bytes: u64) -> Restriction {
    Restriction { lower: lower.into(), entries, consumed_bytes }
}

fn step(to: Restriction, references: ValueReferences) -> VersionEdit {
    let mut edit = VersionEdit::default();
    edit.push(TREE, TreeEdit::RestrictTable { id: TableId::new(7), to, references });
    edit
}

fn plain(restriction: Restriction) -> VersionEdit {
    step(restriction, ValueReferences::new())
}

#[track_caller]
fn check_refused(catalog: &Catalog, edit: &VersionEdit, rule: &str) {
    match catalog.apply(edit) {
        Err(ManifestError::Restriction { table, rule: found }) => {
            assert_eq!((table, found), (TableId::new(7), rule));
        }
        other => panic!("{other:?}"),
    }
}

/// Proves C-127: what is left of a table is all of it that counts: for its neighbours, for its sizes.
#[test]
fn the_rest_of_a_table_is_the_table() {
    let before = catalog(&[table(7, b"b", b"h"), table(8, b"k", b"m")]);
    let after = before.apply(&plain(to(b"e", 6, 1_000))).unwrap();
    assert_eq!(after.check(), Ok(()));
    let rest = after.table(TableId::new(7)).unwrap();
    assert_eq!(rest.entries, Some(KeyRange { min: "e".into(), max: "h".into() }));
    assert_eq!((&rest.coverage_start, rest.live_entries()), (&Cut::Before("e".into()), 6));
    assert_eq!((rest.live_bytes(), rest.file_len - 1_000), (3_103, 3_103));
    assert_eq!(after.file_bytes(), before.file_bytes() - 1_000);
    let run = &after.tree(TREE).unwrap().levels.level(Level::new(1)).runs()[0];
    assert_eq!(run.tables.file_bytes(), after.file_bytes());
    assert_eq!(run.tables.find(b"d", &KeyOrder::bytewise()), None);
    // A table of what was taken over finds its place before the rest, in the same run.
    let mut place = VersionEdit::default();
    let (level, run) = (Level::new(1), RunId::new(3));
    place.push(TREE, TreeEdit::AddTable { level, run, table: Arc::new(table(9, b"b", b"dz")) });
    assert!(matches!(before.apply(&place), Err(ManifestError::Overlap { .. })));
    assert_eq!(after.apply(&place).unwrap().check(), Ok(()));
    // The whole goes as one.
    let mut remove = VersionEdit::default();
    remove.push(TREE, TreeEdit::RemoveTable { id: TableId::new(7) });
    assert_eq!(after.apply(&remove).unwrap().check(), Ok(()));
}

/// Proves F-137: a bound that excludes nothing, leaves nothing, or does not rise is refused, and so is a rest that
/// is more than there was.
#[test]
fn a_bound_rises_within_the_table() {
    let before = catalog(&[table(7, b"b", b"h")]);
    for (lower, rule) in [("", "the bound excludes nothing"), ("a", "the bound excludes nothing")] {
        check_refused(&before, &plain(to(lower.as_bytes(), 1, 0)), rule);
    }
    check_refused(&before, &plain(to(b"b", 1, 0)), "the bound excludes nothing");
    check_refused(&before, &plain(to(b"ha", 0, 0)), "the bound leaves nothing");
    check_refused(&before, &plain(to(b"c", 11, 0)), "entries are left that were not there");
    check_refused(&before, &plain(to(b"c", 1, 4_104)), "bytes were consumed that are not there");
    let once = before.apply(&plain(to(b"e", 6, 1_000))).unwrap();
    for lower in ["c", "e"] {
        check_refused(&once, &plain(to(lower.as_bytes(), 6, 1_000)), "the bound excludes nothing");
    }
    check_refused(&once, &plain(to(b"f", 7, 1_000)), "entries are left that were not there");
    check_refused(&once, &plain(to(b"f", 6, 999)), "bytes were consumed that are not there");
    let twice = once.apply(&plain(to(b"h", 1, 1_000))).unwrap();
    assert_eq!(twice.check(), Ok(()));
    let unknown = TreeEdit::RestrictTable {
        id: TableId::new(6),
        to: to(b"e", 1, 1),
        references: ValueReferences::new(),
    };
    let edit = VersionEdit { trees: vec![(TREE, unknown)], ..VersionEdit::default() };
    let expect = ManifestError::UnknownTable { tree: TREE, table: TableId::new(6) };
    assert_eq!(before.apply(&edit), Err(expect));
}

/// Proves C-127, with the largest keys first: the bound is a bound in the order of the tree.
#[test]
fn a_bound_is_one_in_the_order_of_the_tree() {
    let tree = TreeId::new(1);
    let before = catalog_of(tree, &[table(7, b"h", b"b")]);
    let restrict = |lower: &[u8]| {
        let (id, references) = (TableId::new(7), ValueReferences::new());
        let step = TreeEdit::RestrictTable { id, to: to(lower, 5, 10), references };
        before.apply(&VersionEdit { trees: vec![(tree, step)], ..VersionEdit::default() })
    };
    assert!(restrict(b"i").is_err() && restrict(b"a").is_err());
    let after = restrict(b"e").unwrap();
    let rest = after.table(TableId::new(7)).unwrap();
    assert_eq!(rest.entries, Some(KeyRange { min: "e".into(), max: "b".into() }));
    assert_eq!(after.check(), Ok(()));
}

/// Proves C-131: range tombstones stay in effect from the bound on, past the last entry too.
#[test]
fn range_tombstones_stay_from_the_bound_on() {
    let mut wide = table(7, b"f", b"h");
    wide.counts.range_tombstones = 2;
    (wide.coverage_start, wide.coverage_end) = (Cut::Start, Cut::Before("z".into()));
    let before = catalog(&[wide]);
    let after = before.apply(&plain(to(b"c", 10, 0))).unwrap();
    let rest = after.table(TableId::new(7)).unwrap();
    assert_eq!(
        (&rest.coverage_start, rest.entries.clone().unwrap().min),
        (&Cut::Before("c".into()), "f".into())
    );
    assert_eq!(after.check(), Ok(()));
    let after = after.apply(&plain(to(b"k", 0, 3_000))).unwrap();
    let rest = after.table(TableId::new(7)).unwrap();
    assert_eq!((&rest.coverage_start, &rest.entries), (&Cut::Before("k".into()), &None));
    assert_eq!(after.check(), Ok(()));
    check_refused(&before, &plain(to(b"k", 1, 3_000)), "entries are left above the largest key");
    check_refused(&after, &plain(to(b"z", 0, 3_000)), "the bound leaves nothing");
}

/// Proves D-81, D-83: a restricted table counts only what remains, and a value log goes with its last reference.
#[test]
fn a_restricted_table_counts_what_remains_of_values() {
    let mut separated = table(7, b"b", b"h");
    refer(&mut separated, 300, 3);
    let whole = separated.references.clone();
    let before = catalog(&[separated]);
    let mut left = table(9, b"b", b"h");
    refer(&mut left, 300, 2);
    let after = before.apply(&step(to(b"e", 6, 100), left.references.clone())).unwrap();
    assert_eq!(after.check(), Ok(()));
    let live = after.tree(TREE).unwrap().vlogs.get(VlogId::new(300)).unwrap().live;
    assert_eq!(Ok(live), left.references.total());
    let mut last = step(to(b"g", 1, 100), ValueReferences::new());
    let change = after.preview_whole(&mut last).unwrap();
    assert!(change.tree(TREE).unwrap().vlogs.is_empty(), "the edit removes the log");
    check_refused(&after, &step(to(b"g", 1, 100), whole), "values are referred to that were not before");
}

/// Proves F-137, D-43: a snapshot says what is left.
#[test]
fn a_snapshot_says_what_is_left() {
    let catalog = catalog(&[table(7, b"b", b"h")]).apply(&plain(to(b"e", 6, 1_000))).unwrap();
    let mut replay = lsm_manifest::Replay::new(&order);
    let database = FileUuid::from_bytes([0xD8; 16]);
    lsm_manifest::write_snapshot::<ManifestError>(&catalog, database, EditIndex::new(41), |record| {
        replay.feed(record)
    })
    .unwrap();
    let again = replay.finish().unwrap().catalog;
    assert!(again == catalog);
    let rest: Slice = again.table(TableId::new(7)).unwrap().restriction.clone().unwrap().lower;
    assert_eq!(rest, b"e");
}

fn vector(id: u64, cardinality: u64, watermark: u64) -> VectorDescriptor {
    VectorDescriptor {
        id: VectorId::new(id),
        uuid: FileUuid::from_bytes([id.to_le_bytes()[0]; 16]),
        file_len: 70_000,
        digest: 5,
        key_id: 0,
        created_edit: EditIndex::new(3),
        directory: DirectoryHandle { offset: 69_000, len: 300 },
        cardinality,
        watermark: SeqNo::new(watermark).unwrap(),
    }
}

fn attach(vector: VectorDescriptor) -> VersionEdit {
    let mut edit = VersionEdit::default();
    edit.push(TREE, TreeEdit::AttachVector { id: TableId::new(7), vector: Arc::new(vector) });
    edit
}

/// Proves F-132, D-36: a table gets a delete vector, and another one in its place with no fewer rows; what it counts for
/// follows, and a snapshot of the manifest bears it.
#[test]
fn a_table_gets_vectors_that_only_grow() {
    let mut only = table(7, b"a", b"z");
    only.counts.entries = 10;
    let before = catalog(&[only]);
    let bytes = before.file_bytes();
    let masked = before.apply(&attach(vector(8, 4, 20))).unwrap();
    masked.check().unwrap();
    let found = masked.table(TableId::new(7)).unwrap();
    assert_eq!((found.live_entries(), found.dead_entries(), found.stored_entries()), (6, 4, 10));
    assert_eq!(masked.file_bytes(), bytes + 70_000);
    let again = masked.apply(&attach(vector(9, 4, 20))).unwrap();
    assert_eq!(again.table(TableId::new(7)).unwrap().vector.as_ref().unwrap().id, VectorId::new(9));
    for (wrong, rule) in [
        (vector(8, 5, 20), "it is the one the table has"),
        (vector(9, 3, 20), "dead rows come back"),
        (vector(9, 4, 19), "its watermark falls"),
        (vector(9, 11, 20), "it kills rows that are not there, or none"),
        (vector(9, 0, 20), "it kills rows that are not there, or none"),
        (vector(7, 5, 20), "its number is a table's, or was never reserved"),
        (vector(1024, 5, 20), "its number is a table's, or was never reserved"),
    ] {
        match masked.apply(&attach(wrong)) {
            Err(ManifestError::Vector { table, rule: found }) => {
                assert_eq!((table, found), (TableId::new(7), rule));
            }
            other => panic!("{rule}: {other:?}"),
        }
    }
    let mut removed = VersionEdit::default();
    removed.push(TREE, TreeEdit::RemoveTable { id: TableId::new(7) });
    assert_eq!(again.apply(&removed).unwrap().file_bytes(), 0);
}
