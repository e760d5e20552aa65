//! The sums and searches of a run against a walk over its tables.

use std::{collections::BTreeMap, sync::Arc};

use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor, Tables,
    TreeEdit, TreeIdentity, VersionEdit,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, RouteId, RunId, SeqNo, Slice, TableId, TreeId,
    UnixNanos,
};
use proptest::prelude::*;

const TREE: TreeId = TreeId::new(0);

/// A table of keys `10 * nth` to `10 * nth + 9`, its coverage `reach` keys wider on both sides.
fn table(nth: u16, reach: u16, edit: u64) -> Arc<TableDescriptor> {
    let key = |at: u16| Slice::from(at.to_be_bytes().as_slice());
    let seqnos = SeqNoRange { min: SeqNo::ZERO, max: SeqNo::ZERO };
    let (low, high) = (1000 + 10 * nth, 1009 + 10 * nth);
    Arc::new(TableDescriptor {
        id: TableId::new(u64::from(nth)),
        uuid: FileUuid::default(),
        file_len: 100 + u64::from(nth),
        digest: 0,
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(0),
        created_edit: EditIndex::new(edit),
        entries: Some(KeyRange { min: key(low), max: key(high) }),
        coverage_start: Cut::Before(key(low - reach)),
        coverage_end: Cut::After(key(high + reach)),
        seqnos,
        point_seqnos: Some(seqnos),
        counts: Counts::default(),
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
    })
}

fn check(tables: &Tables, model: &BTreeMap<u16, Arc<TableDescriptor>>, probe: (u16, u16)) {
    let order = KeyOrder::bytewise();
    let ids = |tables: Vec<&Arc<TableDescriptor>>| tables.iter().map(|table| table.id).collect::<Vec<_>>();
    assert_eq!(tables.len(), model.len());
    assert_eq!(tables.file_bytes(), model.values().map(|table| table.file_len).sum::<u64>());
    assert_eq!(tables.newest_edit(), model.values().map(|table| table.created_edit).max());
    let oldest = model.values().min_by_key(|table| (table.created_edit, table.id));
    assert_eq!(tables.oldest(), oldest);

    let start = Cut::Before(Slice::from(probe.0.to_be_bytes().as_slice()));
    let end = Cut::After(Slice::from((probe.0 + probe.1).to_be_bytes().as_slice()));
    let overlaps = |table: &&Arc<TableDescriptor>| {
        table.coverage_start.compare(&end, &order).is_lt()
            && start.compare(&table.coverage_end, &order).is_lt()
    };
    assert_eq!(
        ids(tables.covering(&start, &end, &order).collect()),
        ids(model.values().filter(overlaps).collect())
    );
    let first = probe.0.to_be_bytes();
    let reaches = |table: &&Arc<TableDescriptor>| {
        table.entries.as_ref().is_some_and(|range| order.compare(&range.max, &first).is_ge())
    };
    assert_eq!(ids(tables.reaching(&first, &order).collect()), ids(model.values().filter(reaches).collect()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sums_and_searches_equal_a_walk(
        steps in prop::collection::vec((0..400_u16, 0..3_u64), 1..700),
        reaches in prop::sample::select(vec![0_u16, 0, 25]),
        probes in prop::collection::vec((900..5100_u16, 0..300_u16), 8),
    ) {
        let mut catalog = Catalog::default();
        let mut edit = VersionEdit::default();
        edit.create_tree(TREE, TreeIdentity::new("lsm.bytewise", 2));
        edit.database.push(DatabaseEdit::ReserveIds(1000));
        catalog.apply_in_place(&edit).unwrap();
        let (level, run) = (Level::new(1), RunId::new(1));
        let mut model = BTreeMap::new();
        for (index, (nth, created)) in steps.iter().enumerate() {
            let mut edit = VersionEdit::default();
            if model.is_empty() {
                edit.push(TREE, TreeEdit::AddRun { level, run, age: 1 });
            }
            if model.remove(nth).is_some() {
                edit.push(TREE, TreeEdit::RemoveTable { id: TableId::new(u64::from(*nth)) });
            } else {
                let reach = if index % 5 == 0 { reaches } else { 0 };
                let table = table(*nth, reach, *created);
                edit.push(TREE, TreeEdit::AddTable { level, run, table: table.clone() });
                model.insert(*nth, table);
            }
            catalog.apply_in_place(&edit).unwrap();
        }
        let levels = &catalog.tree(TREE).unwrap().levels;
        let empty = Tables::default();
        let tables = levels.level(level).run(run).map_or(&empty, |run| &run.tables);
        for probe in probes {
            check(tables, &model, probe);
        }
    }
}
