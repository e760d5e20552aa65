//! Bytes of every version of the format, field by field. Files of a released version never change.

use std::sync::Arc;

use crate::common::{identity, order, refer, table, vlog};
use lsm_manifest::{
    Catalog, DatabaseEdit, Record, Replay, Restriction, StoredSchema, TableDescriptor, TreeEdit, VersionEdit,
    Watermark, write_snapshot,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyRange, Level, RouteId, RunId, SeqNo, TableId, TreeId, UnixNanos,
    ValueReferences, VlogId,
};

const EDIT: &str = include_str!("../golden/edit-v1.txt");
const OPERATOR: &str = include_str!("../golden/operator-v1.txt");
const SCHEMA: &str = include_str!("../golden/schema-v1.txt");
const CHANGES: &str = include_str!("../golden/changes-v1.txt");
const VLOGS: &str = include_str!("../golden/vlogs-v1.txt");
const FRONTIER: &str = include_str!("../golden/frontier-v1.txt");
const ROUTE: &str = include_str!("../golden/route-v1.txt");
const FILTERED: &str = include_str!("../golden/filtered-v1.txt");
const RESTRICT: &str = include_str!("../golden/restrict-v1.txt");
const SNAPSHOT: &str = include_str!("../golden/snapshot-v1.txt");

/// The bytes of a golden file: hexadecimal up to `|`, then what they mean. An empty line ends a record.
fn parse(text: &str) -> Vec<Vec<u8>> {
    let mut records = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let hex = line.split('|').next().unwrap().trim();
        if hex.is_empty() {
            records.push(Vec::new());
        }
        let last = records.last_mut().unwrap();
        last.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    records.retain(|record| !record.is_empty());
    records
}

fn every_step() -> VersionEdit {
    let (tree, level, run) = (TreeId::new(0), Level::new(6), RunId::new(3));
    let mut first = table(7, b"apple", b"melon");
    first.features = 5;
    first.key_id = 2;
    first.tail_len = 700;
    first.created_at = UnixNanos::new(1_000_000);
    first.counts.range_tombstones = 1;
    first.coverage_end = Cut::Before("zoo".into());
    let mut second = table(8, b"", b"");
    (second.entries, second.point_seqnos, second.filter_kind) = (None, None, 0);
    (second.coverage_start, second.coverage_end) = (Cut::Start, Cut::After("zoo".into()));
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(1024));
    edit.create_tree(TreeId::new(0), identity(TreeId::new(0)));
    edit.push(tree, TreeEdit::AddRun { level, run, age: 9 });
    edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(first) });
    edit.push(tree, TreeEdit::AddTable { level: Level::new(0), run: RunId::new(4), table: Arc::new(second) });
    edit.push(tree, TreeEdit::RemoveTable { id: TableId::new(5) });
    edit.push(tree, TreeEdit::MoveTable { id: TableId::new(6), level, run });
    edit.push(tree, TreeEdit::RaiseFloor(SeqNo::new(300).unwrap()));
    edit.push(tree, TreeEdit::LowerFloor(SeqNo::new(200).unwrap()));
    edit.push(tree, TreeEdit::MaxSeqNo(SeqNo::new(400).unwrap()));
    let token = Some("log:17".into());
    edit.push(tree, TreeEdit::Watermark(Watermark { seqno: SeqNo::new(350).unwrap(), token }));
    edit
}

/// Proves D-36: one of every step and of every field.
#[test]
fn edit() {
    let record =
        Record::Edits { follows: EditIndex::new(41), edits: vec![every_step(), VersionEdit::default()] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(EDIT), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36: the step that names the merge operator of a tree.
#[test]
fn operator() {
    let mut edit = VersionEdit::default();
    edit.push(TreeId::new(3), TreeEdit::MergeOperator("lsm.append".into()));
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(OPERATOR), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36, F-107: the step that adds a schema.
#[test]
fn schema() {
    let schema = StoredSchema {
        id: 1,
        splitter: "test.tsv".into(),
        splitter_version: 2,
        schema: [1, 1, 0, 0, 0, 16, 0, 0, 0].into(),
    };
    let mut edit = VersionEdit::default();
    edit.push(TreeId::new(3), TreeEdit::AddSchema(Arc::new(schema)));
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(SCHEMA), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-27, D-36: the step that names a route, and a table that lies on it.
#[test]
fn route() {
    let (route, uuid) = (RouteId::new(2), FileUuid::from_bytes([0xA7; 16]));
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::AddRoute { route, uuid });
    let table = Arc::new(TableDescriptor { route, ..table(7, b"apple", b"melon") });
    edit.push(TreeId::new(3), TreeEdit::AddTable { level: Level::new(6), run: RunId::new(3), table });
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(ROUTE), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36: the step that says from where on changes are complete.
#[test]
fn changes() {
    let mut edit = VersionEdit::default();
    edit.push(TreeId::new(3), TreeEdit::ChangesFrom(SeqNo::new(300).unwrap()));
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(CHANGES), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36: the steps of value logs, and what a table refers to.
#[test]
fn value_logs() {
    let (tree, level, run) = (TreeId::new(3), Level::new(1), RunId::new(3));
    let mut only = table(7, b"a", b"c");
    refer(&mut only, 300, 2);
    let mut sealed = vlog(300);
    (sealed.features, sealed.key_id, sealed.tail_len) = (5, 2, 700);
    sealed.created_at = UnixNanos::new(1_000_000);
    let mut edit = VersionEdit::default();
    edit.push(tree, TreeEdit::AddVlog { vlog: Arc::new(sealed) });
    edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(only) });
    edit.push(tree, TreeEdit::RemoveVlog { id: VlogId::new(299) });
    edit.push(tree, TreeEdit::Separate);
    edit.push(tree, TreeEdit::ExportVlog { id: VlogId::new(298) });
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(VLOGS), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36, C-126: the step that says where the values of a value log begin, and a value log that has an order.
#[test]
fn frontier() {
    let tree = TreeId::new(3);
    let mut ordered = vlog(300);
    ordered.is_ordered = true;
    let mut edit = VersionEdit::default();
    edit.push(tree, TreeEdit::AddVlog { vlog: Arc::new(ordered) });
    edit.push(tree, TreeEdit::AdvanceVlog { id: VlogId::new(298), frontier: 5_000 });
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(FRONTIER), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36: the step that refuses reads of what a filter has changed.
#[test]
fn filtered() {
    let mut edit = VersionEdit::default();
    edit.push(TreeId::new(3), TreeEdit::ChangesFrom(SeqNo::new(20).unwrap()));
    edit.push(TreeId::new(3), TreeEdit::RefuseReads(SeqNo::new(300).unwrap()));
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(FILTERED), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

/// Proves D-36, F-137: the step that says what is left of a table, and a table of which a part is left.
#[test]
fn restricted() {
    let tree = TreeId::new(3);
    let to =
        |lower: &[u8], entries, consumed_bytes| Restriction { lower: lower.into(), entries, consumed_bytes };
    let mut only = table(7, b"melon", b"pear");
    refer(&mut only, 300, 1);
    let references = only.references.clone();
    only.counts.indirections = 4;
    only.restriction = Some(to(b"lime", 6, 300));
    let mut edit = VersionEdit::default();
    let (level, run) = (Level::new(1), RunId::new(3));
    edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(only) });
    let id = TableId::new(7);
    edit.push(tree, TreeEdit::RestrictTable { id, to: to(b"nut", 5, 1_000), references });
    let references = ValueReferences::new();
    edit.push(tree, TreeEdit::RestrictTable { id, to: to(b"oak", 1, 4_000), references });
    let record = Record::Edits { follows: EditIndex::new(41), edits: vec![edit] };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(parse(RESTRICT), [bytes.clone()], "{}", hex(&bytes));
    assert_eq!(Record::decode(&bytes), Ok(record));
}

fn small() -> Catalog {
    let (tree, level, run) = (TreeId::new(0), Level::new(1), RunId::new(3));
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(1024));
    edit.create_tree(tree, identity(tree));
    edit.push(tree, TreeEdit::AddRun { level, run, age: 9 });
    let mut only = table(7, b"a", b"c");
    only.entries = Some(KeyRange { min: "a".into(), max: "c".into() });
    edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(only) });
    edit.push(tree, TreeEdit::RaiseFloor(SeqNo::new(4).unwrap()));
    Catalog::default().apply(&edit).unwrap()
}

/// Proves D-35, D-43: the records of a small file: a snapshot and a clean close.
#[test]
fn snapshot() {
    let mut records = Vec::new();
    let database = FileUuid::from_bytes([0xD8; 16]);
    write_snapshot::<()>(&small(), database, EditIndex::new(41), |record| {
        records.push(record.to_vec());
        Ok(())
    })
    .unwrap();
    let mut close = Vec::new();
    Record::CleanClose.encode(&mut close);
    records.push(close);
    let text: Vec<String> = records.iter().map(|record| hex(record)).collect();
    assert_eq!(parse(SNAPSHOT), records, "{}", text.join("\n\n"));
    let mut replay = Replay::new(&order);
    for record in &records {
        replay.feed(record).unwrap();
    }
    let done = replay.finish().unwrap();
    assert!(done.is_clean && done.catalog == small() && done.begin.database == database);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X} "))
}
