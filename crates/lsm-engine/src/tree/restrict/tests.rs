//! Slices of merges, installed as a merge in steps installs them: outputs come and inputs are restricted in one edit.

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_compaction_executor::{InstallError, InstallRequest, Placement};
use lsm_fs::{Fs, MemFs};
use lsm_repair::Depth;
use lsm_table::{BlockCache, MultiWriter, ReadMode, StagedTable, Table, VlogPolicy};
use lsm_testkit::{
    dice::Dice,
    sim::{FaultPlan, FaultRule, SimConfig, SimFs, Strategy},
};
use lsm_types::{
    Cut, EntryCursor, EntryRef, IoKind, IoOp, Kind, Level, RangeTombstone, Result, SeqNo, Slice, TableId,
};

use crate::{CheckpointOptions, CompactOptions, FlushOptions, Reader, TablePolicy, Tree, TreeOptions};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

const LAST: Level = Level::new(6);

fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:05}").into_bytes()
}

/// Small blocks, nothing cached.
fn options(fs: Arc<dyn Fs>) -> TreeOptions {
    let mut tables = TablePolicy::default().data_block_bytes(512);
    tables.index_spill_bytes = 1_024;
    tables.index_partition_bytes = 512;
    tables.filter_partition_bytes = 256;
    tables.filter_partitioning = vec![true];
    TreeOptions::new("/db").store(|store| store.fs(fs).cache(BlockCache::new(0))).tables(tables)
}

fn flush(tree: &Tree) {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

/// `count` keys from 0 on, in a table of their own; values that do not compress.
fn fill(tree: &Tree, count: u64, seqno: u64, len: usize) {
    let mut dice = Dice::new(seqno);
    for number in 0..count {
        let value: Vec<u8> = (0..len).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        tree.insert(key(number), value, at(seqno + number)).unwrap();
    }
    flush(tree);
}

fn contents(reader: &impl Reader) -> Pairs {
    reader
        .iter()
        .pairs()
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
        .collect()
}

fn tables(tree: &Tree) -> Vec<Table> {
    tree.inner.current.load().tables_by_level().map(|(_, table)| table.clone()).collect()
}

/// What of range tombstones lies left of `lower`.
fn clipped(table: &Table, lower: &[u8]) -> Vec<RangeTombstone> {
    let order = table.layout().unwrap().order().clone();
    let all = table.tombstones().unwrap().map(|index| index.tombstones().to_vec()).unwrap_or_default();
    let end = Cut::Before(lower.into());
    let parts = all.into_iter().filter(|one| one.start.compare(&end, &order).is_lt());
    parts
        .map(|one| match one.end.compare(&end, &order) {
            std::cmp::Ordering::Greater => RangeTombstone { end: end.clone(), ..one },
            _ => one,
        })
        .collect()
}

/// Merges what lies below `lower` in `inputs`, all of the tree that holds such keys, and leaves the rest where it is.
fn slice(tree: &Tree, inputs: &[TableId], lower: &[u8]) -> Result<()> {
    let (inner, order) = (&tree.inner, tree.inner.order.clone());
    let mut merged = Vec::new();
    let mut deletes = Vec::new();
    let (mut remove, mut restrict) = (Vec::new(), Vec::new());
    for id in inputs {
        let Some(table) = inner.table(*id) else { continue };
        let mut cursor = table.cursor(ReadMode::COMPACTION)?;
        cursor.seek_first()?;
        loop {
            cursor.settle()?;
            let Some(entry) = cursor.entry() else { break };
            if order.compare(entry.key, lower).is_ge() {
                break;
            }
            merged.push((entry.key.to_vec(), entry.seqno, entry.kind, entry.value.to_vec()));
            cursor.next()?;
        }
        deletes.extend(clipped(&table, lower));
        let start = Cut::Before(lower.into());
        let descriptor = table.descriptor();
        if descriptor.coverage_end.compare(&start, &order).is_le() {
            remove.push(*id);
        } else if descriptor.coverage_start.compare(&start, &order).is_lt() {
            restrict.push((*id, lower.into()));
        }
    }
    merged.sort_by(|a, b| order.compare(&a.0, &b.0).then(b.1.cmp(&a.1)));
    let mut writer = MultiWriter::new(&inner.env, LAST, 7);
    for (key, seqno, kind, value) in &merged {
        writer.add(EntryRef { key, seqno: *seqno, kind: *kind, value })?;
    }
    deletes.into_iter().try_for_each(|one| writer.add_tombstone(one))?;
    let (staged, _) = writer.finish()?;
    inner.env.sync_folders(staged.iter().map(|table| table.descriptor().route))?;
    let request = InstallRequest {
        remove,
        restrict,
        rest: Vec::new(),
        add: staged.iter().map(|table| table.descriptor().clone()).collect(),
        vlogs: Vec::new(),
        vectors: Vec::new(),
        relocate: Vec::new(),
        dest: LAST,
        placement: Placement::OfInputs,
        floor: None,
        altered: None,
        filtered: None,
    };
    let added = staged.iter().map(|table| table.open(&inner.env)).collect();
    inner.install(request, added).map_err(InstallError::into_error)?;
    staged.into_iter().for_each(StagedTable::keep);
    Ok(())
}

fn ids(tree: &Tree) -> Vec<TableId> {
    tables(tree).iter().map(Table::id).collect()
}

#[track_caller]
fn check(tree: &Tree, expected: &Pairs) {
    assert_eq!(contents(tree), *expected);
    let owned = |(key, value): (Slice, Slice)| (key.to_vec(), value.to_vec());
    let reversed: Pairs = tree.iter().pairs().rev().map(|pair| owned(pair.unwrap())).collect();
    assert!(reversed.iter().rev().eq(expected));
    for (key, value) in expected.iter().step_by(7) {
        assert_eq!(tree.get(key).unwrap().as_deref(), Some(&value[..]));
    }
    let report = tree.verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// Proves F-137, F-138, C-127, C-128, C-133, D-64: a reader that was there before reads to its end with
/// nothing cached; what it held is released when it goes; half-done tables are compacted like any other.
/// Fault: compaction W-4
/// Fault: compaction W-10
#[test]
fn readers_hold_what_slices_have_taken_over() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(fs.clone())).unwrap();
    fill(&tree, 2_000, 1, 60);
    let expected = contents(&tree);
    let inputs = ids(&tree);
    let mut reader = tree.iter().pairs();
    let first: Vec<_> = reader.by_ref().take(10).map(|pair| pair.unwrap().0.to_vec()).collect();
    let view = tree.view();
    let before = fs.used_bytes();
    for lower in [400, 800, 1_200, 1_600] {
        slice(&tree, &inputs, &key(lower)).unwrap();
        check(&tree, &expected);
        let stats = tree.stats();
        assert_eq!((stats.release.released_bytes, stats.release.releasable_bytes), (0, 0));
        assert!(stats.release.pinned_bytes > 60 * (lower - 50), "{stats:?}");
        assert!(tree.verify().unwrap().released_bytes > 0);
    }
    let grown = fs.used_bytes() - before;
    assert!(grown > 1_600 * 60 / 2, "nothing was released: {grown}");
    let rest: Vec<_> = reader.map(|pair| pair.unwrap().0.to_vec()).collect();
    assert!(first.iter().chain(&rest).eq(expected.iter().map(|(key, _)| key)));
    assert_eq!(contents(&view), expected);
    drop(view);
    let stats = tree.stats();
    assert_eq!(stats.release.pinned_bytes, 0);
    assert!(stats.release.released_bytes > 1_600 * 40, "{stats:?}");
    assert!(stats.release.releasable_bytes < 8_192, "{stats:?}");
    assert_eq!(stats.reclaim.punched_bytes, stats.release.released_bytes);
    assert_eq!(fs.used_bytes() + stats.release.released_bytes, before + grown);
    check(&tree, &expected);
    tree.close().unwrap();
    let tree = Tree::open(options(fs.clone())).unwrap();
    check(&tree, &expected);
    let stats = tree.stats();
    assert!(stats.release.released_bytes > 1_600 * 40, "known again after opening: {stats:?}");
    slice(&tree, &inputs, &key(1_800)).unwrap();
    check(&tree, &expected);
    tree.major_compact(&CompactOptions::default()).unwrap();
    check(&tree, &expected);
    assert_eq!((tree.stats().release.kept_bytes(), tree.stats().release.released_bytes), (0, 0));
    assert!(tables(&tree).iter().all(|table| table.descriptor().restriction.is_none()));
}

/// Several tables, overwritten and deleted keys, range tombstones that span the bounds.
///
/// Proves C-131.
#[test]
fn range_tombstones_stay_in_effect_across_slices() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(fs)).unwrap();
    fill(&tree, 300, 1, 40);
    tree.remove_range(key(50)..key(170), at(1_000)).unwrap();
    for number in (0..300).step_by(3) {
        tree.insert(key(number), [2; 30], at(2_000 + number)).unwrap();
    }
    tree.remove(key(200), at(2_500)).unwrap();
    flush(&tree);
    tree.remove_range(key(160)..key(190), at(3_000)).unwrap();
    tree.insert(key(161), "over", at(3_001)).unwrap();
    flush(&tree);
    let expected = contents(&tree);
    let old = || contents(&tree.view_at(at(1_500)).unwrap());
    let before = old();
    let inputs = ids(&tree);
    assert_eq!(inputs.len(), 3);
    for lower in [20, 60, 120, 162, 175, 250] {
        slice(&tree, &inputs, &key(lower)).unwrap();
        check(&tree, &expected);
        assert_eq!(old(), before, "history stays");
    }
    slice(&tree, &inputs, &key(9_999)).unwrap();
    check(&tree, &expected);
    assert!(inputs.iter().all(|input| !ids(&tree).contains(input)), "all are gone");
}

/// Proves D-81, D-82: a restricted table counts what remains; what is live is exact after each slice.
#[test]
fn live_sums_of_value_logs_stay_exact() {
    let fs = Arc::new(MemFs::new());
    let policy = VlogPolicy { thresholds: vec![50], ..VlogPolicy::default() };
    let tree = Tree::open(options(fs).separation(policy)).unwrap();
    fill(&tree, 300, 1, 90);
    let (expected, live) = (contents(&tree), tree.stats().value_logs.live);
    let inputs = ids(&tree);
    for lower in [100, 200, 290] {
        slice(&tree, &inputs, &key(lower)).unwrap();
        assert_eq!(tree.stats().value_logs.live, live);
        check(&tree, &expected);
        let left = tables(&tree).into_iter().find(|table| table.id() == inputs[0]).unwrap();
        assert_eq!(left.descriptor().references.total().unwrap().entries, 300 - lower);
    }
    tree.major_compact(&CompactOptions::default()).unwrap();
    check(&tree, &expected);
}

fn table_path(tree: &Tree, id: TableId) -> PathBuf {
    let env = &tree.inner.env;
    env.path(id, lsm_types::RouteId::PRIMARY)
}

/// Proves C-129, D-65, D-101: a file with another name is not punched, whoever gave it; nor is one that a checkpoint shares.
#[test]
fn shared_files_are_left_whole() {
    for linked_by_us in [false, true] {
        let fs = Arc::new(MemFs::new());
        let tree = Tree::open(options(fs.clone())).unwrap();
        fill(&tree, 1_000, 1, 60);
        let (expected, inputs) = (contents(&tree), ids(&tree));
        slice(&tree, &inputs, &key(300)).unwrap();
        let punched = tree.stats().reclaim.punched_bytes;
        assert!(punched > 8_192);
        if linked_by_us {
            tree.checkpoint("/copy", &CheckpointOptions { reflink: false, ..CheckpointOptions::default() })
                .unwrap();
        } else {
            fs.hard_link(&table_path(&tree, inputs[0]), Path::new("/other")).unwrap();
        }
        slice(&tree, &inputs, &key(700)).unwrap();
        let stats = tree.stats();
        assert_eq!((stats.reclaim.punched_bytes, stats.reclaim.errors), (punched, 0));
        assert!(stats.reclaim.punches_refused > 0 && stats.release.releasable_bytes > 8_192, "{stats:?}");
        check(&tree, &expected);
        if linked_by_us {
            let copy = Tree::open(TreeOptions::new("/copy").store(|store| store.fs(fs.clone()))).unwrap();
            assert_eq!(contents(&copy), expected);
            assert!(copy.verify().unwrap().is_clean());
        }
    }
}

/// A copy holds what remains, and no more.
#[test]
fn a_copied_checkpoint_holds_what_remains() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(fs.clone())).unwrap();
    fill(&tree, 1_000, 1, 60);
    let (expected, inputs) = (contents(&tree), ids(&tree));
    let view = tree.view();
    slice(&tree, &inputs, &key(900)).unwrap();
    let before = fs.used_bytes();
    tree.checkpoint(
        "/copy",
        &CheckpointOptions { reflink: false, hard_link: false, ..CheckpointOptions::default() },
    )
    .unwrap();
    let copied = fs.used_bytes() - before;
    assert!(copied < tree.stats().file_bytes() + 40_000, "{copied}");
    assert_eq!(contents(&view), expected);
    let copy = Tree::open(TreeOptions::new("/copy").store(|store| store.fs(fs.clone()))).unwrap();
    check(&copy, &expected);
}

/// Proves F-139: where space cannot be given back nothing fails; it is counted.
#[test]
fn a_volume_that_cannot_give_back_is_a_figure() {
    for kind in [IoKind::Unsupported, IoKind::Other] {
        let fs = SimFs::new(SimConfig::default());
        fs.create_dir_all(Path::new("/")).unwrap();
        let tree = Tree::open(options(Arc::new(fs.clone()))).unwrap();
        fill(&tree, 500, 1, 60);
        let (expected, inputs) = (contents(&tree), ids(&tree));
        fs.set_faults(FaultPlan::new().with(FaultRule::fail(kind).on(IoOp::Punch).every(1)));
        slice(&tree, &inputs, &key(400)).unwrap();
        let stats = tree.stats();
        let told = (stats.reclaim.punches_refused, stats.reclaim.errors);
        assert_eq!(told, if kind == IoKind::Unsupported { (1, 0) } else { (0, 1) });
        assert!(stats.release.releasable_bytes > 8_192 && stats.release.released_bytes == 0);
        fs.lift_faults();
        check(&tree, &expected);
        slice(&tree, &inputs, &key(450)).unwrap();
        assert!(tree.stats().release.released_bytes > 8_192, "all of it at the next occasion");
    }
}

/// Cut off at each call of slices with and without a reader; opened again, everything is there, and any job goes on.
///
/// Proves F-137, F-139, C-133, C-168.
#[test]
fn a_crash_leaves_an_old_view_and_a_full_file_or_a_new_view() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(Arc::new(fs.clone()))).unwrap();
    fill(&tree, 400, 1, 60);
    let (expected, inputs) = (contents(&tree), ids(&tree));
    let opened = fs.len();
    for lower in [100, 200] {
        slice(&tree, &inputs, &key(lower)).unwrap();
    }
    let view = tree.view();
    slice(&tree, &inputs, &key(350)).unwrap();
    drop(view);
    tree.close().unwrap();
    let points: Vec<_> = fs.crash_points().into_iter().filter(|point| *point >= opened).collect();
    let mut images = 0_u64;
    for (id, image) in fs.images_at(points, &Strategy::GATE) {
        images += 1;
        let tree =
            Tree::open(options(Arc::new(image.clone()))).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(contents(&tree), expected, "{id}");
        let report = tree.verify_with(Depth::Structure, &lsm_repair::VerifyOptions::default()).unwrap();
        assert!(report.is_clean(), "{id}: {:?}", report.findings);
        let stats = tree.stats();
        assert!(stats.release.releasable_bytes < 8_192, "{id}: punched again at open: {stats:?}");
        if images.is_multiple_of(8) {
            slice(&tree, &inputs, &key(380)).unwrap();
            tree.major_compact(&CompactOptions::default()).unwrap();
            assert_eq!(contents(&tree), expected, "{id}");
        }
    }
    assert!(images > 50, "only {images} images");
}

/// Proves C-127: versions are listed as before.
#[test]
fn versions_are_listed_as_before() {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(fs)).unwrap();
    fill(&tree, 500, 1, 60);
    let inputs = ids(&tree);
    let versions = |tree: &Tree| -> Vec<_> {
        let bounds = (Bound::<&[u8]>::Unbounded, Bound::Unbounded);
        tree.view().versions::<&[u8]>(bounds).map(|entry| entry.unwrap()).collect()
    };
    let before = versions(&tree);
    assert!(before.len() == 500 && before.iter().all(|entry| entry.kind == Kind::Put));
    slice(&tree, &inputs, &key(300)).unwrap();
    assert_eq!(versions(&tree), before);
}
