//! What an install and a replay cost.
//!
//! `version/install/*`: preview and commit of an edit that replaces one table, in a catalog of so many tables.
//! `version/replay/1m`: a million small edits, decoded and applied on top of 1,000 tables.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up should stop")]

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, Record, Replay, SeqNoRange, Sizes,
    TableDescriptor, TreeEdit, TreeIdentity, VersionEdit, write_snapshot,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, RouteId, RunId, SeqNo, Slice, TableId, TreeId,
    UnixNanos,
};

const TREE: TreeId = TreeId::new(0);
const LEVEL: Level = Level::new(6);
const RUN: RunId = RunId::new(1);

fn table(id: u64, slot: u64) -> Arc<TableDescriptor> {
    let key = |n: u64| Slice::from(format!("user{n:016}"));
    let range = KeyRange { min: key(slot * 10), max: key(slot * 10 + 9) };
    let seqnos = SeqNoRange { min: SeqNo::ZERO, max: SeqNo::new(id).unwrap() };
    Arc::new(TableDescriptor {
        id: TableId::new(id),
        uuid: FileUuid::from_bytes([3; 16]),
        file_len: 64 << 20,
        digest: id,
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(1_700_000_000_000_000_000),
        created_edit: EditIndex::new(id),
        coverage_start: Cut::Before(range.min.clone()),
        coverage_end: Cut::After(range.max.clone()),
        entries: Some(range),
        seqnos,
        point_seqnos: Some(seqnos),
        counts: Counts { entries: 500_000, ..Counts::default() },
        sizes: Sizes {
            data: 60 << 20,
            index: 1 << 20,
            filter: 1 << 20,
            raw_keys: 10 << 20,
            raw_values: 90 << 20,
        },
        census: Census { zstd: 4_000, ..Census::default() },
        directory: DirectoryHandle { offset: 60 << 20, len: 500 },
        filter_kind: 1,
        global_seqno: SeqNo::ZERO,
        references: lsm_types::ValueReferences::new(),
        restriction: None,
        vector: None,
        route: RouteId::PRIMARY,
        tail_len: 0,
    })
}

fn add(id: u64, slot: u64) -> TreeEdit {
    TreeEdit::AddTable { level: LEVEL, run: RUN, table: table(id, slot) }
}

fn catalog(tables: u64) -> Catalog {
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(u64::MAX));
    edit.create_tree(TREE, TreeIdentity::new("lsm.bytewise", 7));
    edit.push(TREE, TreeEdit::AddRun { level: LEVEL, run: RUN, age: 1 });
    (0..tables).for_each(|slot| edit.push(TREE, add(slot, slot)));
    Catalog::default().replay(&edit).unwrap()
}

fn install(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("version/install");
    for (name, tables) in [("1k", 1_000_u64), ("100k", 100_000)] {
        let mut catalog = catalog(tables);
        let mut next = tables;
        let mut slot_ids: Vec<u64> = (0..tables).collect();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    next += 1;
                    let slot = next.wrapping_mul(0x9E37_79B9_7F4A_7C15) % tables;
                    let place = slot_ids.get_mut(usize::try_from(slot).unwrap()).unwrap();
                    let old = std::mem::replace(place, next);
                    let mut edit = VersionEdit::default();
                    edit.push(TREE, TreeEdit::RemoveTable { id: TableId::new(old) });
                    edit.push(TREE, add(next, slot));
                    edit
                },
                |edit| {
                    let change = catalog.preview(black_box(&edit)).unwrap();
                    catalog.commit(change);
                    edit
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    const TABLES: u64 = 1_000;
    let mut records = Vec::new();
    write_snapshot::<()>(&catalog(TABLES), FileUuid::default(), EditIndex::new(0), |record| {
        records.push(record.to_vec());
        Ok(())
    })
    .unwrap();
    for at in 0..1_000_000_u64 {
        let (slot, id) = (at % TABLES, TABLES + at);
        let mut edit = VersionEdit::default();
        edit.push(TREE, TreeEdit::RemoveTable { id: TableId::new(id - TABLES) });
        edit.push(TREE, add(id, slot));
        let mut record = Vec::new();
        Record::encode_edits(EditIndex::new(at), [&edit], &mut record);
        records.push(record);
    }
    let orders = |_: TreeId, _: &TreeIdentity| Some(KeyOrder::bytewise());
    let mut group = criterion.benchmark_group("version/replay");
    group.sample_size(10).bench_function("1m", |bencher| {
        bencher.iter(|| {
            let mut replay = Replay::new(&orders);
            for record in &records {
                replay.feed(record).unwrap();
            }
            replay.finish().unwrap().catalog.table_count()
        });
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let catalog = catalog(100_000);
    let mut group = criterion.benchmark_group("version/snapshot");
    group.sample_size(10);
    let write = |records: &mut Vec<Vec<u8>>| {
        write_snapshot::<()>(&catalog, FileUuid::default(), EditIndex::new(0), |record| {
            records.push(record.to_vec());
            Ok(())
        })
        .unwrap();
    };
    group.bench_function("write/100k", |bencher| {
        bencher.iter(|| {
            let mut records = Vec::new();
            write(&mut records);
            records
        });
    });
    let mut records = Vec::new();
    write(&mut records);
    let orders = |_: TreeId, _: &TreeIdentity| Some(KeyOrder::bytewise());
    group.bench_function("read/100k", |bencher| {
        bencher.iter(|| {
            let mut replay = Replay::new(&orders);
            for record in &records {
                replay.feed(record).unwrap();
            }
            replay.finish().unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, install, replay, snapshot);
criterion_main!(benches);
