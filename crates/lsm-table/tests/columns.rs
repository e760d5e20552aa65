//! Scans of columns on a file system: what is read, what is cached, and the rows of large groups beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

#[path = "../../lsm-engine/tests/common/wrap.rs"]
mod wrap;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, Datum, DelimitedText, Schema};
use lsm_crypto::{Encryption, KeyChain, KeyId, Secret};
use lsm_fs::{Fs, MemFs, SyncLevel};
use lsm_table::{
    Answer, BatchLimits, BlockBatch, BlockCache, ColumnDesk, ColumnScheme, ColumnarOptions, ConsumedPrefix,
    DecoderPool, DescriptorCache, FileIds, FilterDesk, LookUp, MultiWriter, ObsoleteFile, ReadMode, Reclaim,
    Table, TableEnv, TablePolicy, TableRoutes,
};
use lsm_testkit::ports::{SeededRandom, TestClock};
use lsm_types::{
    EditIndex, EntryCursor, EntryRef, ErrorKind, FileUuid, KeyHash, KeyOrder, Kind, Level, Result, SeqNo,
    TableId, TreeId,
};
use wrap::{Control, WrapFs};

#[derive(Default)]
struct Desk(AtomicU64);

impl FileIds for Desk {
    fn next(&self) -> Result<TableId> {
        Ok(TableId::new(self.0.fetch_add(1, Relaxed)))
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
    fn release(&self, _file: ObsoleteFile) {}
    fn release_prefix(&self, _prefix: ConsumedPrefix) {}
    fn retry(&self, file: ObsoleteFile) {
        panic!("{file:?}");
    }
}

struct Place {
    control: Arc<Control>,
    env: Arc<TableEnv>,
}

impl Place {
    fn new(cache_bytes: u64) -> Self {
        Self::sealed(cache_bytes, None)
    }

    fn sealed(cache_bytes: u64, encryption: Option<Encryption>) -> Self {
        let (control, desk) = (Arc::new(Control::default()), Arc::new(Desk::default()));
        let fs = WrapFs { inner: Arc::new(MemFs::new()), control: control.clone() };
        fs.create_dir_all(Path::new("tables")).unwrap();
        let env = TableEnv {
            fs: Arc::new(fs),
            folder: PathBuf::from("tables"),
            routes: TableRoutes::default(),
            cache: BlockCache::new(cache_bytes),
            descriptors: DescriptorCache::new(8),
            decoders: DecoderPool::new(),
            order: KeyOrder::bytewise(),
            database: FileUuid::from_bytes([3; 16]),
            tree: TreeId::new(0),
            ids: desk.clone(),
            reclaim: desk,
            clock: Arc::new(TestClock::new()),
            random: Arc::new(SeededRandom::new(7)),
            encryption,
            policy: TablePolicy::default(),
            prefix_extractor: None,
            domains: None,
            columns: ColumnDesk::default(),
            filters: FilterDesk::default(),
            lineage: lsm_table::LineageDesk::default(),
            sync_file: SyncLevel::None,
            sync_folder: SyncLevel::None,
            file_name: |table| format!("{table}.sst"),
        };
        Self { control, env: Arc::new(env) }
    }

    /// Bytes read since the last call.
    fn read(&self) -> u64 {
        self.control.take_reads().iter().map(|read| read.len as u64).sum()
    }
}

const COLUMNS: u16 = 10;
const ROWS: u64 = 6_000;

fn splitter() -> Arc<dyn ColumnSplitter> {
    let columns = (0..COLUMNS).map(|n| Column::new(ColumnId::new(16 + n), format!("c{n}"), ColumnType::U64));
    Arc::new(DelimitedText::new("test.numbers", Schema::new(columns.collect()).unwrap(), b',').unwrap())
}

fn number(row: u64, column: u16) -> u64 {
    (row * 31 + u64::from(column)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 << 63
}

fn value(row: u64) -> Vec<u8> {
    let fields = (0..COLUMNS).map(|column| number(row, column).to_string());
    fields.collect::<Vec<_>>().join(",").into_bytes()
}

fn key(row: u64) -> Vec<u8> {
    format!("key-{row:05}").into_bytes()
}

fn write(place: &Place) -> Table {
    place.env.columns.set(ColumnScheme {
        from_level: Some(Level::new(2)),
        columnar: ColumnarOptions {
            splitter: Some(splitter()),
            group_bytes: 120_000,
            part_rows: 200,
            ..ColumnarOptions::default()
        },
        ..ColumnScheme::default()
    });
    let mut writer = MultiWriter::new(&place.env, Level::new(3), 4);
    for row in 0..ROWS {
        let (key, value) = (key(row), value(row));
        let entry = EntryRef { key: &key, seqno: SeqNo::new(7).unwrap(), kind: Kind::Put, value: &value };
        writer.add(entry).unwrap();
    }
    let (mut staged, _) = writer.finish().unwrap();
    let table = staged[0].open(&place.env);
    staged.pop().unwrap().keep();
    table
}

/// Sums some columns by their pages.
fn scan(table: &Table, mode: ReadMode, columns: u16) -> u64 {
    let mut scan = table.groups(mode).unwrap();
    let mut rows = 0;
    while scan.next_group(None).unwrap() {
        for part in 0..scan.group().unwrap().directory().part_count() {
            for column in 0..columns {
                let values = scan.page(ColumnId::new(16 + column), part).unwrap().unwrap().decode().unwrap();
                let start = scan.group().unwrap().directory().part_rows(part).start;
                let first = scan.first_row() + start as u64;
                assert_eq!(values.get(3), Datum::U64(number(first + 3, column)));
                rows += values.len() as u64;
            }
        }
    }
    rows
}

/// Proves F-112: bytes read of the file grow with the columns asked for, and none are read twice for the cache's sake.
/// Fault: formats W-7.
#[test]
fn a_scan_reads_the_columns_it_names() {
    let place = Place::new(0);
    let table = write(&place);
    table.layout().unwrap();
    let read = |mode, columns| {
        place.read();
        assert_eq!(scan(&table, mode, columns), ROWS * u64::from(columns));
        place.read()
    };
    let column = ROWS * 8;
    let (none, one, three, all) =
        (read(ReadMode::PICK, 0), read(ReadMode::PICK, 1), read(ReadMode::PICK, 3), read(ReadMode::PICK, 10));
    // Directories name a page per column and part.
    assert!(none < column, "{none}");
    for (columns, bytes) in [(1, one), (3, three), (10, all)] {
        let pages = bytes - none;
        assert!((column * columns..column * columns * 11 / 10).contains(&pages), "{columns}: {pages}");
    }
    // With a cache the second scan reads nothing, and rows do not get in the way of columns.
    let place = Place::new(64 << 20);
    let table = write(&place);
    table.get(&key(9), KeyHash::of(&key(9)), SeqNo::LATEST).unwrap().unwrap();
    scan(&table, ReadMode::SCAN, 2);
    place.read();
    scan(&table, ReadMode::SCAN, 2);
    assert_eq!(place.read(), 0);
}

/// Rows of large groups come one by one, in batches and in walks, cached and past the cache.
#[test]
fn rows_of_large_groups_are_the_rows() {
    let sealed = Encryption::new(Arc::new(KeyChain::new(KeyId::new(4), Secret::new([7; 32]))));
    for (cache_bytes, encryption) in [(0, None), (64 << 20, None), (0, Some(sealed))] {
        let place = Place::sealed(cache_bytes, encryption);
        let table = write(&place);
        assert_eq!(scan(&table, ReadMode::PICK, 2), 2 * ROWS);
        let keys: Vec<_> = (0..ROWS).step_by(97).map(key).collect();
        for (at, key) in keys.iter().enumerate() {
            let found = table.get(key, KeyHash::of(key), SeqNo::LATEST).unwrap().unwrap();
            assert_eq!(found.value, value(at as u64 * 97)[..]);
        }
        let mut batch = BlockBatch::new(BatchLimits::default());
        let look_up = |key: &'static [u8]| LookUp::new(key, KeyHash::of(key), SeqNo::LATEST);
        let mut look_ups = [look_up(b"key-00007"), look_up(b"key-03001"), look_up(b"key-03001x")];
        loop {
            table.look_up(&mut look_ups, &mut batch);
            batch.plan();
            if batch.reads().is_empty() {
                break;
            }
            batch.perform();
        }
        let found = look_ups.map(|look_up| match look_up.answer {
            Answer::Found(found) => Some(found.value.to_vec()),
            Answer::Absent => None,
            other => panic!("{other:?}"),
        });
        assert_eq!(found, [Some(value(7)), Some(value(3001)), None]);
        for mode in [ReadMode::SCAN, ReadMode::PICK, ReadMode::COMPACTION] {
            let mut cursor = table.cursor(mode).unwrap();
            cursor.seek_first().unwrap();
            for row in 0..ROWS {
                cursor.settle().unwrap();
                let entry = cursor.entry().unwrap();
                assert_eq!((entry.key, entry.value), (&key(row)[..], &value(row)[..]));
                cursor.next().unwrap();
            }
            cursor.settle().unwrap();
            assert!(cursor.entry().is_none());
        }
    }
}

/// Proves F-115: a get reads its group once and keeps it as it is stored; the rows are put together when they were asked
/// for often, or by a walk, and then take its place in the cache.
#[test]
fn rows_are_put_together_when_it_pays() {
    let place = Place::new(64 << 20);
    let table = write(&place);
    let get = |row: u64| {
        let key = key(row);
        let found = table.get(&key, KeyHash::of(&key), SeqNo::LATEST).unwrap().unwrap();
        assert_eq!(found.value, value(row)[..]);
        assert!(table.get(b"key-00003x", KeyHash::of(b"key-00003x"), SeqNo::LATEST).unwrap().is_none());
    };
    get(0);
    let (stored, blocks) = (place.env.cache.bytes(), place.env.cache.len());
    place.read();
    for row in 1..9 {
        get(row);
    }
    assert_eq!(place.env.cache.bytes(), stored, "some rows more do not pay");
    for row in (0..400).rev() {
        get(row);
    }
    let assembled = place.env.cache.bytes();
    // Numbers of 64 bits take 8 bytes, and 20 as text.
    assert!(assembled - stored > 30_000, "{stored} to {assembled}");
    assert_eq!((place.read(), place.env.cache.len()), (0, blocks), "nothing was read again");

    let (other, last) = (3_000, ROWS - 1);
    get(other);
    get(last);
    let stored = place.env.cache.bytes();
    place.read();
    let mut cursor = table.cursor(ReadMode::SCAN).unwrap();
    cursor.seek(&key(other), SeqNo::LATEST).unwrap();
    cursor.settle().unwrap();
    assert_eq!(cursor.entry().unwrap().value, value(other));
    assert_eq!(place.read(), 0, "a walk takes what a get left");
    assert!(place.env.cache.bytes() - stored > 30_000);
    batch(&table, last..last + 1);
    assert_eq!(place.read(), 0, "and so does a batch");
}

fn batch(table: &Table, rows: std::ops::Range<u64>) {
    let keys: Vec<_> = rows.clone().map(key).collect();
    let mut look_ups: Vec<_> =
        keys.iter().map(|key| LookUp::new(key, KeyHash::of(key), SeqNo::LATEST)).collect();
    let mut batch = BlockBatch::new(BatchLimits::default());
    loop {
        table.look_up(&mut look_ups, &mut batch);
        batch.plan();
        if batch.reads().is_empty() {
            break;
        }
        batch.perform();
    }
    for (row, look_up) in rows.zip(look_ups) {
        assert!(matches!(look_up.answer, Answer::Found(found) if found.value == value(row)[..]), "row {row}");
    }
}

/// Proves F-115: a batch keeps a group as it is stored while it looks for few of its rows, and has them put together when it
/// looks for many; without a cache the answers are the same.
#[test]
fn a_batch_puts_rows_together_when_it_pays() {
    for cache_bytes in [0, 64 << 20] {
        let place = Place::new(cache_bytes);
        let table = write(&place);
        batch(&table, 100..103);
        let stored = place.env.cache.bytes();
        batch(&table, 100..103);
        assert_eq!(place.env.cache.bytes(), stored, "some rows do not pay");
        batch(&table, 0..400);
        let together = place.env.cache.bytes();
        // Numbers of 64 bits take 8 bytes, and 20 as text.
        assert!(cache_bytes == 0 || together - stored > 30_000, "{stored} to {together}");
    }
}

/// A scheme that forgets a splitter takes values away, and no more; tables above its level are rows.
#[test]
fn tables_keep_the_splitter_they_were_written_with() {
    let place = Place::new(0);
    let table = write(&place);
    let descriptor = table.descriptor().clone();
    place.env.columns.set(ColumnScheme::default());
    let anew = Table::new(&place.env, descriptor.clone());
    let error = anew.get(&key(1), KeyHash::of(&key(1)), SeqNo::LATEST).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OptionMismatch);
    assert_eq!(scan(&anew, ReadMode::PICK, 1), ROWS);
    place.env.columns.set(ColumnScheme { former: vec![splitter()], ..ColumnScheme::default() });
    let anew = Table::new(&place.env, descriptor);
    assert!(anew.get(&key(1), KeyHash::of(&key(1)), SeqNo::LATEST).unwrap().is_some());
    let mut writer = MultiWriter::new(&place.env, Level::new(3), 4);
    writer.add(EntryRef { key: b"a", seqno: SeqNo::new(7).unwrap(), kind: Kind::Put, value: b"b" }).unwrap();
    let (staged, _) = writer.finish().unwrap();
    let rows = staged[0].open(&place.env);
    assert!(!rows.is_columnar().unwrap());
    assert_eq!(rows.groups(ReadMode::PICK).err().unwrap().kind(), ErrorKind::Unsupported);
}
