//! Views of tables of which a part is left: every way of reading one answers as if the rest had never been there, and
//! touches nothing of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lsm_columnar::{ColumnId, Datum};
use lsm_fs::{Fs, MemFs, OpenOptions, SyncLevel};
use lsm_manifest::TableDescriptor;
use lsm_table::{
    Answer, BatchLimits, BlockBatch, BlockCache, ColumnScheme, ColumnarOptions, ConsumedPrefix, DecoderPool,
    DescriptorCache, FileIds, FilterDesk, LineageDesk, LookUp, MultiWriter, ObsoleteFile, ReadMode, Reclaim,
    RunCursor, SeqNoWindow, Table, TableEnv, TablePolicy, TableRoutes, consumed_range,
};
use lsm_testkit::{
    dice::Dice,
    ports::{SeededRandom, TestClock},
};
use lsm_types::{
    Cut, EditIndex, EntryCursor, EntryRef, FileUuid, KeyHash, KeyOrder, Kind, Level, RangeTombstone, Result,
    SeqNo, Slice, TableId, TreeId, ValueReferences,
};

type Entry = (Vec<u8>, u64, Vec<u8>);

#[derive(Default)]
struct Desk {
    next: AtomicU64,
    prefixes: Mutex<Vec<ConsumedPrefix>>,
    released: AtomicU64,
}

impl FileIds for Desk {
    fn next(&self) -> Result<TableId> {
        Ok(TableId::new(self.next.fetch_add(1, Relaxed)))
    }

    fn last_edit(&self) -> EditIndex {
        EditIndex::new(5)
    }
}

impl Reclaim for Desk {
    fn note_obsolete(&self, _: TableId, _: u64) {}

    fn obsolete(&self) -> Vec<TableId> {
        Vec::new()
    }

    fn release(&self, _file: ObsoleteFile) {
        self.released.fetch_add(1, Relaxed);
    }

    fn release_prefix(&self, prefix: ConsumedPrefix) {
        self.prefixes.lock().unwrap().push(prefix);
    }

    fn retry(&self, file: ObsoleteFile) {
        panic!("{file:?}");
    }
}

struct Place {
    fs: MemFs,
    desk: Arc<Desk>,
    env: Arc<TableEnv>,
}

/// Tables of tiny blocks, nothing cached.
fn place(partitioned: bool) -> Place {
    let (fs, desk) = (MemFs::new(), Arc::new(Desk::default()));
    fs.create_dir_all(Path::new("tables")).unwrap();
    let mut policy = TablePolicy::default().data_block_bytes(256).seqno_bounds(true);
    policy.bundle_shift = vec![1];
    if partitioned {
        policy.index_spill_bytes = 256;
        policy.index_partition_bytes = 256;
        policy.filter_partition_bytes = 256;
        policy.filter_partitioning = vec![true];
    }
    let env = TableEnv {
        fs: Arc::new(fs.clone()),
        folder: PathBuf::from("tables"),
        routes: TableRoutes::default(),
        cache: BlockCache::new(0),
        descriptors: DescriptorCache::new(8),
        decoders: DecoderPool::new(),
        order: KeyOrder::bytewise(),
        database: FileUuid::from_bytes([3; 16]),
        tree: TreeId::new(0),
        ids: desk.clone(),
        reclaim: desk.clone(),
        clock: Arc::new(TestClock::new()),
        random: Arc::new(SeededRandom::new(7)),
        encryption: None,
        policy,
        prefix_extractor: None,
        domains: None,
        columns: lsm_table::ColumnDesk::default(),
        filters: FilterDesk::default(),
        lineage: LineageDesk::default(),
        sync_file: SyncLevel::None,
        sync_folder: SyncLevel::None,
        file_name: |table| format!("{table}.sst"),
    };
    Place { fs, desk, env: Arc::new(env) }
}

fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:05}").into_bytes()
}

/// Entries in internal order: every even number below `numbers` from `first` on is a key, with up to four versions.
fn draw(dice: &mut Dice, first: u64, numbers: u64) -> Vec<Entry> {
    let mut all = Vec::new();
    for number in (first..first + numbers).step_by(2) {
        let mut seqno = 90 + dice.below(10);
        for _ in 0..=dice.below(4) {
            let len = usize::try_from(dice.below(60)).unwrap();
            all.push((key(number), seqno, vec![seqno.to_le_bytes()[0]; len]));
            seqno -= 1 + dice.below(20);
        }
    }
    all
}

fn write(place: &Place, entries: &[Entry], deletes: &[RangeTombstone]) -> Table {
    let mut writer = MultiWriter::new(&place.env, Level::new(1), 4);
    for (key, seqno, value) in entries {
        writer.add(EntryRef { key, seqno: at(*seqno), kind: Kind::Put, value }).unwrap();
    }
    for delete in deletes {
        writer.add_tombstone(delete.clone()).unwrap();
    }
    let (mut staged, _) = writer.finish().unwrap();
    let table = staged[0].open(&place.env);
    staged.pop().unwrap().keep();
    table
}

/// What is left of a table from `lower` on.
fn rest(table: &Table, lower: &[u8]) -> Arc<TableDescriptor> {
    let restriction = table.restriction(lower.into()).unwrap();
    table.descriptor().restricted(restriction, ValueReferences::new(), &KeyOrder::bytewise()).unwrap()
}

/// Overwrites what nobody may read.
fn spoil(place: &Place, rest: &TableDescriptor) -> u64 {
    let consumed = consumed_range(rest);
    let file = place.fs.open(&place.env.path(rest.id, rest.route), &OpenOptions::WRITE).unwrap();
    file.write_at(consumed.start, &vec![0xA5; usize::try_from(consumed.end - consumed.start).unwrap()])
        .unwrap();
    consumed.end - consumed.start
}

fn shown(entry: EntryRef<'_>) -> Entry {
    (entry.key.to_vec(), entry.seqno.get(), entry.value.to_vec())
}

/// The entry under a cursor that may have put off the way there.
fn stand(cursor: &mut impl EntryCursor) -> Option<Entry> {
    while cursor.entry().is_none() && cursor.bound().is_some() {
        cursor.settle().unwrap();
    }
    cursor.entry().map(shown)
}

/// Everything from where `begin` goes to on, forward or back.
fn walk<C: EntryCursor>(cursor: &mut C, begin: impl FnOnce(&mut C), forward: bool) -> Vec<Entry> {
    begin(cursor);
    let mut all = Vec::new();
    while let Some(entry) = stand(cursor) {
        all.push(entry);
        if forward { cursor.next() } else { cursor.prev() }.unwrap();
    }
    all
}

fn reversed(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.reverse();
    entries
}

/// Holds every walk of `cursor` against `model`, which is in internal order.
fn check_walks<C: EntryCursor>(cursor: &mut C, model: &[Entry], points: &[(Vec<u8>, u64)]) {
    assert_eq!(walk(cursor, |cursor| cursor.seek_first().unwrap(), true), model);
    assert_eq!(walk(cursor, |cursor| cursor.seek_last().unwrap(), false), reversed(model.to_vec()));
    for (key, before) in points {
        // Entries from the point on, and those before it.
        let is_before = |entry: &Entry| entry.0 < *key || (entry.0 == *key && entry.1 >= *before);
        let split = model.partition_point(is_before);
        let seek = |cursor: &mut C| cursor.seek(key, at(*before)).unwrap();
        assert_eq!(walk(cursor, seek, true), model[split..], "from {key:?} {before}");
        let seek_back = |cursor: &mut C| cursor.seek_back(key, at(*before)).unwrap();
        assert_eq!(
            walk(cursor, seek_back, false),
            reversed(model[..split].to_vec()),
            "back from {key:?} {before}"
        );
        // There, and a step the other way.
        seek(cursor);
        if stand(cursor).is_some() {
            cursor.prev().unwrap();
            assert_eq!(stand(cursor), split.checked_sub(1).map(|at| model[at].clone()));
        }
    }
}

fn check_reads(view: &Table, model: &[Entry], keys: &[Vec<u8>]) {
    let bounds = [1, 50, 95, 1_000];
    let newest = |key: &[u8], before: u64| {
        model.iter().find(|entry| entry.0 == key && entry.1 < before).map(|entry| (entry.1, entry.2.clone()))
    };
    for key in keys {
        for before in bounds {
            let found = view.get(key, KeyHash::of(key), at(before)).unwrap();
            let found = found.map(|found| (found.seqno.get(), found.value.to_vec()));
            assert_eq!(found, newest(key, before), "{key:?} below {before}");
        }
    }
    let mut batch = BlockBatch::new(BatchLimits::default());
    let mut look_ups: Vec<_> = keys.iter().map(|key| LookUp::new(key, KeyHash::of(key), at(95))).collect();
    loop {
        view.look_up(&mut look_ups, &mut batch);
        batch.plan();
        if batch.reads().is_empty() {
            break;
        }
        batch.perform();
    }
    for look_up in &look_ups {
        let found = match &look_up.answer {
            Answer::Found(found) => Some((found.seqno.get(), found.value.to_vec())),
            Answer::Absent => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, newest(look_up.key, 95));
    }
}

fn check_changes(view: &Table, model: &[Entry], keys: &[Vec<u8>]) {
    let window = SeqNoWindow { since: at(40), before: at(96) };
    for first in std::iter::once(None).chain(keys.iter().step_by(7).map(Some)) {
        let mut scan = view.change_scan().unwrap();
        if let Some(first) = first {
            scan.seek(first).unwrap();
        }
        let mut found = Vec::new();
        while scan.next_block(window, None).unwrap() {
            scan.for_each(window, true, |entry| {
                found.push(shown(entry));
                Ok(())
            })
            .unwrap();
        }
        // Blocks begin before the key that is looked for.
        found.retain(|entry| first.is_none_or(|first| entry.0 >= *first));
        let is_wanted =
            |entry: &&Entry| window.contains(at(entry.1)) && first.is_none_or(|first| entry.0 >= *first);
        assert_eq!(found, model.iter().filter(is_wanted).cloned().collect::<Vec<_>>());
    }
}

/// The groups of a view hold what is left of the table, and know which rows of it that is.
fn check_groups(view: &Table, model: &[Entry], whole: &[Entry]) {
    for mode in [ReadMode::SCAN, ReadMode::PICK] {
        let mut scan = view.groups(mode).unwrap();
        let mut found = Vec::new();
        while scan.next_group(None).unwrap() {
            let mut row = usize::try_from(scan.first_row()).unwrap();
            for part in 0..scan.group().unwrap().directory().part_count() {
                let keys = scan.page(ColumnId::KEY, part).unwrap().unwrap().decode().unwrap();
                let values = scan.page(ColumnId::OPAQUE, part).unwrap().unwrap().decode().unwrap();
                for (at, seqno) in scan.versions(part).unwrap().seqnos.into_iter().enumerate() {
                    let (Datum::Bytes(key), Datum::Bytes(value)) = (keys.get(at), values.get(at)) else {
                        panic!("a row without key or value");
                    };
                    let entry = (key.to_vec(), seqno.get(), value.to_vec());
                    assert_eq!(entry, whole[row]);
                    row += 1;
                    if scan.floor().is_none_or(|floor| entry.0[..] >= floor[..]) {
                        found.push(entry);
                    }
                }
            }
        }
        assert_eq!(found, model);
        // From a key on, up to another one.
        let (first, last) = (&model[model.len() / 3].0, &model[model.len() / 2].0);
        scan.seek(first).unwrap();
        let mut rows = 0;
        while scan.next_group(Some(last)).unwrap() {
            assert!(
                scan.upper().unwrap() >= &first[..] && scan.lower().is_none_or(|lower| lower <= &last[..])
            );
            rows += scan.group().unwrap().rows();
        }
        let wanted = model.iter().filter(|entry| (first..=last).contains(&&entry.0)).count();
        assert!(rows >= wanted as u64);
    }
}

#[track_caller]
fn check(seed: u64, partitioned: bool, columnar: bool) {
    let mut dice = Dice::new(seed);
    let place = place(partitioned);
    if columnar {
        // Parts of three rows, and of all.
        let part_rows = if seed.is_multiple_of(2) { 3 } else { 1000 };
        let columnar = ColumnarOptions { group_bytes: 256, part_rows, ..ColumnarOptions::default() };
        place.env.columns.set(ColumnScheme {
            from_level: Some(Level::new(0)),
            columnar,
            ..ColumnScheme::default()
        });
    }
    let numbers = 20 + dice.below(400);
    let entries = draw(&mut dice, 1_000, numbers);
    let table = write(&place, &entries, &[]);
    // A neighbour on either side, for the cursor over a run.
    let (left, right) = (draw(&mut dice, 0, 40), draw(&mut dice, 3_000, 40));
    let outer = [write(&place, &left, &[]), write(&place, &right, &[])];
    let lower = key(1_001 + dice.below(numbers - 2));
    let model: Vec<_> = entries.iter().filter(|entry| entry.0 >= lower).cloned().collect();
    if model.is_empty() {
        return;
    }
    let rest = rest(&table, &lower);
    assert!(rest.live_entries() >= model.len() as u64);
    if dice.below(2) == 0 {
        table.layout().unwrap();
    }
    let shared = table.restricted(rest.clone());
    spoil(&place, &rest);
    let anew = Table::new(&place.env, rest.clone());
    let mut keys: Vec<_> = (998..1_002 + numbers).map(key).collect();
    keys.push(Vec::new());
    keys.push(lower.clone());
    keys.sort();
    let points: Vec<_> = (0..12)
        .map(|_| (keys[usize::try_from(dice.below(keys.len() as u64)).unwrap()].clone(), dice.below(110)))
        .chain([(lower.clone(), 1_000), (lower.clone(), 0), (Vec::new(), 5)])
        .collect();
    for view in [&shared, &anew] {
        check_reads(view, &model, &keys);
        check_changes(view, &model, &keys);
        assert_eq!(view.is_columnar().unwrap(), columnar);
        if columnar {
            check_groups(view, &model, &entries);
        }
        for mode in [ReadMode::SCAN, ReadMode::PICK, ReadMode::COMPACTION] {
            check_walks(&mut view.cursor(mode).unwrap(), &model, &points);
            let run = vec![outer[0].clone(), view.clone(), outer[1].clone()];
            let all: Vec<_> = [&left[..], &model, &right].concat();
            check_walks(&mut RunCursor::new(run, KeyOrder::bytewise(), mode), &all, &points);
        }
        assert!(view.samples().unwrap().iter().all(|(sample, _)| sample[..] >= lower[..]));
        assert!(view.may_hold(KeyHash::of(b"key"), Bound::Unbounded));
    }
}

/// Proves F-138, F-140, C-65, C-127: with a prefix that is filled with anything, under index and filter of one
/// part, every read answers what a filtered read of the whole answers.
#[test]
fn a_view_is_what_lies_above_its_bound() {
    for seed in 0..10 {
        check(seed, false, false);
    }
}

/// The same with row groups in place of data blocks.
/// Fault: formats W-10.
#[test]
fn a_view_of_columns_is_what_lies_above_its_bound() {
    for seed in 200..216 {
        check(seed, seed < 208, true);
    }
}

/// The same with partitions of index and filter among the blocks.
///
/// Proves F-137, F-138, C-127, C-129.
#[test]
fn a_view_is_what_lies_above_its_bound_under_partitions() {
    for seed in 100..110 {
        check(seed, true, false);
    }
}

/// Proves C-128: bytes are released below the least bound of all views, whichever goes last.
/// Fault: compaction W-4
#[test]
fn the_least_bound_of_all_views_decides() {
    let place = place(false);
    let entries = draw(&mut Dice::new(1), 0, 2_000);
    let whole = write(&place, &entries, &[]);
    let views: Vec<Table> = (1..4).fold(vec![whole], |mut views, nth| {
        let last = views.last().unwrap();
        let next = last.restricted(rest(last, &key(nth * 500)));
        views.push(next);
        views
    });
    let consumed: Vec<_> = views.iter().map(|view| view.descriptor().consumed_bytes()).collect();
    assert!(consumed.is_sorted() && consumed[1] > 8_192, "{consumed:?}");
    let to = |nth: usize| (512 + consumed[nth]) / 4_096 * 4_096;
    let [whole, one, two, three] = views.try_into().unwrap();
    let released =
        || place.desk.prefixes.lock().unwrap().iter().map(|one| (one.from, one.to)).collect::<Vec<_>>();
    let reader = whole.cursor(ReadMode::SCAN).unwrap();
    drop((whole, two));
    assert_eq!(released(), [], "a cursor holds the whole");
    let stats = three.release_stats();
    assert_eq!((stats.pinned_bytes, stats.releasable_bytes, stats.released_bytes), (consumed[3], 0, 0));
    drop(reader);
    assert_eq!(released(), [(4_096, to(1))]);
    place.desk.prefixes.lock().unwrap()[0].note_released();
    let stats = three.release_stats();
    assert_eq!((stats.pinned_bytes, stats.released_bytes), (consumed[3] - consumed[1], to(1) - 4_096));
    let again = one.clone();
    drop(one);
    assert_eq!(released().len(), 1);
    drop(again);
    assert_eq!(released()[1..], [(4_096, to(3))]);
    three.release_consumed();
    assert_eq!(released()[2..], [(4_096, to(3))], "as it is done when a store is opened");
    // Once it is to go as a whole, nothing is released in part.
    let four = three.restricted(rest(&three, &key(1_900)));
    four.mark_obsolete();
    drop(three);
    assert_eq!((released().len(), place.desk.released.load(Relaxed)), (3, 0));
    drop(four);
    assert_eq!(place.desk.released.load(Relaxed), 1);
}

/// Proves C-131: range tombstones of a view begin at its bound.
#[test]
fn range_tombstones_begin_at_the_bound() {
    let place = place(false);
    let delete = |start: u64, end: u64, seqno: u64| RangeTombstone {
        start: Cut::Before(key(start).into()),
        end: Cut::Before(key(end).into()),
        seqno: at(seqno),
    };
    let deletes = [delete(0, 50, 7), delete(20, 800, 5), delete(600, 900, 9)];
    let table = write(&place, &draw(&mut Dice::new(1), 0, 400), &deletes);
    let bound: Slice = key(100).into();
    let view = table.restricted(rest(&table, &bound));
    let left = view.tombstones().unwrap().unwrap().tombstones().to_vec();
    assert_eq!(
        left,
        [RangeTombstone { start: Cut::Before(bound), ..delete(0, 800, 5) }, delete(600, 900, 9)]
    );
    // Above all entries only they are left.
    let last = view.restricted(rest(&view, &key(700)));
    assert!(last.descriptor().entries.is_none());
    assert_eq!(
        walk(&mut last.cursor(ReadMode::SCAN).unwrap(), |cursor| cursor.seek_last().unwrap(), false),
        []
    );
    assert_eq!(last.tombstones().unwrap().unwrap().tombstones().len(), 2);
}
