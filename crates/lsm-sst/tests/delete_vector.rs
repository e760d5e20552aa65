//! Dead rows: finding them, the file that names them, and reading a table as if they were not there.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

mod common;

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use common::{Entry, build, current, entries, key, lower_bound, orders, put, seqno, small_options, sort};
use lsm_block::{FileIdentity, LocatorHints, Superblock};
use lsm_columnar::{Bitmap, ColumnId, DeleteMap, PageEntry};
use lsm_sst::{
    BlockRef, BlockSource, BuildOptions, ColumnPage, ColumnarOptions, DeadRows, DeadStretch, DeleteVector,
    GroupSource, RowGroup, SeqNoWindow, Table, TableOptions, data_block::DataBlock, index::IndexBlock,
};
use lsm_types::{
    Cut, EditIndex, EntryCursor, Error, ErrorKind, FileKind, FileUuid, KeyHash, KeyOrder, Result, SeqNo,
    Slice, TableId, TreeId, UnixNanos,
};
use proptest::prelude::*;

const GOLDEN: &str = include_str!("golden/delete_vector.txt");

fn superblock() -> Superblock {
    let identity = FileIdentity {
        kind: FileKind::DeleteVector,
        file_id: 9,
        uuid: FileUuid::from_bytes([0x33; 16]),
        database: FileUuid::from_bytes([0x22; 16]),
        tree: TreeId::new(3),
    };
    Superblock::new(identity, UnixNanos::new(1_700_000_000_000_000_000), EditIndex::new(5))
}

/// * `groups`: rows of a group and of its parts, for a columnar table.
fn table(
    entries: &[Entry],
    order: &KeyOrder,
    (spill, global): (usize, u64),
    groups: Option<(usize, u16)>,
) -> Table<Vec<u8>> {
    let columnar = groups.map(|(group_rows, part_rows)| ColumnarOptions {
        group_rows,
        part_rows,
        ..ColumnarOptions::default()
    });
    let options = BuildOptions {
        index_spill_bytes: spill,
        index_partition_bytes: 100,
        data_block_bytes: 120,
        global_seqno: seqno(global),
        columnar,
        ..small_options(order)
    };
    let (_, bytes) = build(options, entries, &[]);
    Table::open(bytes, TableOptions::new().comparator(Shared(order.clone()))).unwrap()
}

/// An order as a comparator.
struct Shared(KeyOrder);

impl lsm_types::Comparator for Shared {
    fn name(&self) -> &'static str {
        match self.0.comparator().name() {
            "test.reverse" => "test.reverse",
            "test.length-first" => "test.length-first",
            _ => "lsm.bytewise",
        }
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.0.compare(a, b)
    }
}

fn search(
    table: &Table<Vec<u8>>,
    stretches: &[DeadStretch],
    known: Option<&DeleteMap>,
    floor: Option<&[u8]>,
) -> DeadRows {
    table.meta().dead_rows(&table.source(), stretches, known, floor, &mut || Ok(())).unwrap().unwrap()
}

fn vector(rows: DeadRows) -> DeleteVector {
    let (table, table_uuid) = (TableId::new(7), FileUuid::from_bytes([0x11; 16]));
    DeleteVector { table, table_uuid, watermark: seqno(40), rows: rows.rows }
}

fn stretch(start: &str, end: &str, before: u64) -> DeadStretch {
    DeadStretch { start: Cut::Before(start.into()), end: Cut::Before(end.into()), before: seqno(before) }
}

/// Ascending, disjoint stretches between some keys.
fn stretches(keys: &[Vec<u8>], befores: &[u64], order: &KeyOrder) -> Vec<DeadStretch> {
    let mut cuts: Vec<Cut> =
        keys.iter()
            .enumerate()
            .map(|(at, key)| {
                if at % 2 == 0 {
                    Cut::Before(key.as_slice().into())
                } else {
                    Cut::After(key.as_slice().into())
                }
            })
            .collect();
    cuts.sort_by(|a, b| a.compare(b, order));
    cuts.dedup();
    let pairs = cuts.windows(2).zip(befores);
    pairs
        .filter(|(_, before)| *before % 3 != 0)
        .map(|(pair, before)| DeadStretch {
            start: pair[0].clone(),
            end: pair[1].clone(),
            before: seqno(*before),
        })
        .collect()
}

fn is_dead(entry: &Entry, stretches: &[DeadStretch], global: u64, order: &KeyOrder) -> bool {
    stretches.iter().any(|stretch| {
        let inside =
            stretch.start.is_left_of(&entry.key, order) && !stretch.end.is_left_of(&entry.key, order);
        inside && entry.seqno + global < stretch.before.get()
    })
}

/// What is found is what a test of each row finds, and cursors, points and change scans answer as a table would that never
/// had these rows.
#[track_caller]
fn check(
    mut all: Vec<Entry>,
    order: &KeyOrder,
    (spill, global, groups): (usize, u64, Option<(usize, u16)>),
    stretches: &[DeadStretch],
    floor: Option<&[u8]>,
) {
    sort(&mut all, order);
    let table = table(&all, order, (spill, global), groups);
    let is_left = |entry: &Entry| floor.is_none_or(|floor| order.compare(&entry.key, floor).is_ge());
    let found = search(&table, stretches, None, floor);
    for (row, entry) in all.iter().enumerate() {
        if is_left(entry) {
            let expected = is_dead(entry, stretches, global, order);
            assert_eq!(found.rows.contains(row as u64), expected, "row {row}: {entry:?}");
        }
    }
    assert_eq!(found.fresh, found.rows.cardinality());
    let rows = found.rows;
    let dead = Arc::new(DeleteMap::new(rows.clone()));
    let again = search(&table, stretches, Some(&dead), floor);
    assert_eq!((again.fresh, &again.rows), (0, &rows));

    let effective = |entry: &Entry| Entry { seqno: entry.seqno + global, ..entry.clone() };
    let live: Vec<Entry> = all
        .iter()
        .enumerate()
        .filter(|(row, entry)| is_left(entry) && !dead.contains(*row as u64))
        .map(|(_, entry)| effective(entry))
        .collect();
    let floor = floor.map(Slice::copy_from);
    for lazy in [false, true] {
        let cursor = table.cursor().above(floor.clone()).without(Some(dead.clone()));
        let mut cursor = if lazy { cursor.lazy() } else { cursor };
        cursor.seek_first().unwrap();
        let mut walked = Vec::new();
        loop {
            cursor.settle().unwrap();
            let Some(entry) = current(&cursor) else { break };
            walked.push(entry);
            cursor.next().unwrap();
        }
        assert_eq!(walked, live);
        cursor.seek_last().unwrap();
        let mut walked = Vec::new();
        loop {
            cursor.settle().unwrap();
            let Some(entry) = current(&cursor) else { break };
            walked.push(entry);
            cursor.prev().unwrap();
        }
        walked.reverse();
        assert_eq!(walked, live);
        for entry in &all {
            for before in [SeqNo::LATEST.get(), entry.seqno + global] {
                let at = lower_bound(&live, order, &entry.key, before);
                cursor.seek(&entry.key, seqno(before)).unwrap();
                cursor.settle().unwrap();
                assert_eq!(current(&cursor).as_ref(), live.get(at));
                cursor.seek_back(&entry.key, seqno(before)).unwrap();
                cursor.settle().unwrap();
                assert_eq!(current(&cursor).as_ref(), at.checked_sub(1).map(|at| &live[at]));
            }
        }
    }
    for entry in all.iter().filter(|entry| is_left(entry)) {
        let point = (KeyHash::of(&entry.key), &entry.key[..], SeqNo::LATEST);
        let got = table.meta().get_live(table.source(), point, &dead).unwrap();
        let newest = live.iter().find(|one| one.key == entry.key);
        let got = got.map(|found| (found.seqno.get(), found.value.to_vec()));
        assert_eq!(got, newest.map(|one| (one.seqno, one.value.clone())), "{entry:?}");
    }
    let mut scan = table.meta().change_scan(table.source(), None).without(Some(dead.clone()));
    if let Some(floor) = &floor {
        scan = scan.above(floor).unwrap();
    }
    let window = SeqNoWindow { since: SeqNo::ZERO, before: SeqNo::LATEST };
    let mut scanned = Vec::new();
    while scan.next_block(window, None).unwrap() {
        scan.for_each(window, false, |entry| {
            scanned.push((entry.key.to_vec(), entry.seqno.get()));
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(scanned, live.iter().map(|entry| (entry.key.clone(), entry.seqno)).collect::<Vec<_>>());
    if groups.is_none() {
        return;
    }
    let mut scan = table.groups().unwrap().without(Some(dead.clone())).above(floor).unwrap();
    let mut rows = Vec::new();
    while scan.next_group(None).unwrap() {
        let count = scan.group().unwrap().rows();
        let mut selection = Bitmap::all(count as usize);
        scan.mask(0, &mut selection);
        assert!(!selection.is_none(), "a group without a row is passed over");
        rows.extend(selection.rows().map(|row| scan.first_row() + row as u64));
    }
    let below = all.iter().position(is_left).unwrap_or(all.len()) as u64;
    rows.retain(|row| below <= *row);
    let expected = (below..all.len() as u64).filter(|row| !dead.contains(*row));
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Proves F-130, F-133, C-115.
    #[test]
    fn a_masked_table_is_one_without_the_rows(
        all in entries(40),
        cuts in prop::collection::vec(key(), 0..8),
        befores in prop::collection::vec(1_u64..80, 8),
        (partitioned, global, order) in (any::<bool>(), prop_oneof![Just(0_u64), Just(20)], 0_usize..3),
        floor in prop::option::of(key()),
        groups in prop::option::of((1_usize..9, 1_u16..5)),
    ) {
        let order = &orders()[order];
        let stretches = stretches(&cuts, &befores, order);
        check(all, order, (if partitioned { 0 } else { 1 << 20 }, global, groups), &stretches, floor.as_deref());
    }

    /// Proves F-30: whatever stands where a vector should, the answer is an error or a vector that is written the same.
    #[test]
    fn hostile_payloads_are_refused(
        mut payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            Just(golden_payload()),
        ],
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (at, byte) in flips {
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
        }
        if let Ok(vector) = DeleteVector::decode(&payload) {
            let mut again = Vec::new();
            vector.encode(&mut again);
            prop_assert_eq!(again, payload);
        }
    }

    /// Proves F-30: the same for whole files.
    #[test]
    fn hostile_files_are_refused(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let whole = golden_vector().encode_file(head()).unwrap().bytes;
        let mut bytes = whole.clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(whole.len()));
        }
        if let Ok((vector, _)) = DeleteVector::read_file(&bytes, LocatorHints::default(), None) {
            prop_assert_eq!(vector, golden_vector());
        }
    }
}

fn head() -> (Superblock, lsm_block::Transforms) {
    let superblock = superblock();
    let transforms = superblock.transforms(None).unwrap();
    (superblock, transforms)
}

fn golden_vector() -> DeleteVector {
    let all: Vec<Entry> = (0..30).map(|at| put(&format!("k{at:02}"), 5, "v")).collect();
    let table = table(&all, &KeyOrder::bytewise(), (1 << 20, 0), None);
    let stretches = [stretch("k03", "k04", 9), stretch("k10", "k25", 9), stretch("k26", "k28", 5)];
    vector(search(&table, &stretches, None, None))
}

fn golden_payload() -> Vec<u8> {
    let mut payload = Vec::new();
    golden_vector().encode(&mut payload);
    payload
}

/// Proves F-12: the bytes of a vector stay as they are for ever.
#[test]
fn golden_bytes() {
    let mut bytes = Vec::new();
    for word in GOLDEN.lines().filter_map(|line| line.split('|').next()).flat_map(str::split_whitespace) {
        let (hex, count) = word.split_once('*').unwrap_or((word, "1"));
        bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), u8::from_str_radix(hex, 16).unwrap());
    }
    assert_eq!(golden_payload(), bytes, "{:02X?}", golden_payload());
    assert_eq!(DeleteVector::decode(&bytes).unwrap(), golden_vector());
}

/// Proves F-132: a file is read as it was written, from its second copy when the first one is damaged; it is no other
/// file, and no table.
#[test]
fn a_file_is_read_as_it_was_written() {
    let vector = golden_vector();
    let file = vector.encode_file(head()).unwrap();
    let read = |bytes: &Vec<u8>, hints| DeleteVector::read_file(bytes, hints, None);
    assert_eq!(read(&file.bytes, LocatorHints::default()).unwrap(), (vector.clone(), file.digest));
    let identity = superblock().identity;
    let hints =
        LocatorHints { identity: Some(identity), directory: Some(file.directory), ..LocatorHints::default() };
    assert_eq!(read(&file.bytes, hints).unwrap(), (vector.clone(), file.digest));
    let other = FileIdentity { uuid: FileUuid::from_bytes([0x44; 16]), ..identity };
    let hints = LocatorHints { identity: Some(other), ..LocatorHints::default() };
    assert!(read(&file.bytes, hints).is_err());
    // The mirror lies right behind the head.
    let mut damaged = file.bytes.clone();
    damaged[560] ^= 1;
    assert_eq!(read(&damaged, LocatorHints::default()).unwrap().0, vector);
    let (_, table) = build(small_options(&KeyOrder::bytewise()), &[put("a", 1, "x")], &[]);
    let error = read(&table, LocatorHints::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOurs);
}

/// A source that counts the blocks it gives out.
struct Counting<'t> {
    table: &'t Table<Vec<u8>>,
    data: Cell<u64>,
    indexes: Cell<u64>,
    pages: RefCell<Vec<ColumnId>>,
}

impl<'t> Counting<'t> {
    fn new(table: &'t Table<Vec<u8>>) -> Self {
        Self { table, data: Cell::new(0), indexes: Cell::new(0), pages: RefCell::default() }
    }
}

impl BlockSource for Counting<'_> {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        self.data.set(self.data.get() + 1);
        self.table.source().data(at)
    }

    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>> {
        self.indexes.set(self.indexes.get() + 1);
        self.table.source().index(at)
    }
}

impl GroupSource for Counting<'_> {
    fn group(&self, at: BlockRef) -> Result<Arc<RowGroup>> {
        self.data.set(self.data.get() + 1);
        self.table.source().group(at)
    }

    fn page(&self, group: &RowGroup, page: &PageEntry) -> Result<Arc<ColumnPage>> {
        self.pages.borrow_mut().push(page.column);
        self.table.source().page(group, page)
    }
}

/// Proves C-119: of a wide delete only the blocks at its ends are read, of partitions of the index only those it reaches;
/// where rows may be newer than the delete all of its blocks are. The search can be ended before each block, and a walk
/// reads no block of which all rows are dead.
/// Fault: compaction W-33.
#[test]
fn a_search_reads_what_the_index_does_not_tell() {
    let order = KeyOrder::bytewise();
    let all: Vec<Entry> = (0..5_000).map(|at| put(&format!("k{at:05}"), 5, "value")).collect();
    let table = table(&all, &order, (0, 0), None);
    let blocks = table.blocks().count() as u64;
    let counting = || Counting::new(&table);
    let wide = [stretch("k01000", "k04000", 6)];
    let source = counting();
    let found = table.meta().dead_rows(&source, &wide, None, None, &mut || Ok(())).unwrap().unwrap();
    assert_eq!(
        (found.fresh, found.rows.ranges(0).next(), found.rows.ranges(0).count()),
        (3_000, Some(1_000..4_000), 1)
    );
    assert!(found.blocks_read <= 2 && source.data.get() == found.blocks_read, "{found:?}");
    let source = counting();
    let narrow = [stretch("k01000", "k01001", 6)];
    table.meta().dead_rows(&source, &narrow, None, None, &mut || Ok(())).unwrap().unwrap();
    assert!(source.indexes.get() <= 2 && source.data.get() <= 2);
    // A row that is as new as the delete, anywhere: the index cannot tell where.
    let source = counting();
    let not_newer = [stretch("k01000", "k04000", 5)];
    let none = table.meta().dead_rows(&source, &not_newer, None, None, &mut || Ok(())).unwrap().unwrap();
    assert_eq!(none.fresh, 0);
    assert!(source.data.get() > blocks / 2 && source.data.get() < blocks * 7 / 10);

    let steps = Cell::new(0);
    let mut step = || {
        steps.set(steps.get() + 1);
        if steps.get() == 3 {
            Err(Error::from(lsm_sst::SstError::Length(lsm_types::IoError::new(
                lsm_types::IoOp::Read,
                lsm_types::IoKind::InvalidInput,
            ))))
        } else {
            Ok(())
        }
    };
    assert!(table.meta().dead_rows(&counting(), &not_newer, None, None, &mut step).is_err());
    assert_eq!(steps.get(), 3);

    let source = counting();
    let mut cursor = table.meta().cursor(&source).without(Some(Arc::new(DeleteMap::new(found.rows))));
    cursor.seek(b"k00999", SeqNo::LATEST).unwrap();
    let before = source.data.get();
    cursor.next().unwrap();
    assert_eq!(current(&cursor).unwrap().key, b"k04000");
    assert!(source.data.get() - before <= 2, "dead blocks are not read");
}

/// Proves C-119, F-112: of the groups in which a delete begins or ends keys and numbers are read, and nothing else.
#[test]
fn a_search_of_groups_reads_keys_and_numbers() {
    let order = KeyOrder::bytewise();
    let all: Vec<Entry> = (0..5_000).map(|at| put(&format!("k{at:05}"), 5, &"value".repeat(40))).collect();
    let table = table(&all, &order, (0, 0), Some((300, 100)));
    let source = Counting::new(&table);
    let wide = [stretch("k01000", "k04000", 6)];
    let found = table.meta().dead_rows(&source, &wide, None, None, &mut || Ok(())).unwrap().unwrap();
    assert_eq!((found.fresh, found.rows.ranges(0).next()), (3_000, Some(1_000..4_000)));
    assert_eq!((found.blocks_read, source.data.get()), (2, 2));
    let pages = source.pages.take();
    assert!(pages.iter().all(|column| [ColumnId::KEY, ColumnId::SEQNO].contains(column)), "{pages:?}");
}
