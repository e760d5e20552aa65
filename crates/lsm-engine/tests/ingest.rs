//! Ingestion, case by case.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{at, contents, flush, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    Cancel, CompactOptions, IngestOptions, IngestReport, Ingestion, Reader, RecoveryMode, Tree, TreeOptions,
};
use lsm_fs::{Fs, MemFs};
use lsm_table::{FoundTable, read_table};
use lsm_types::{Error, ErrorKind, FixedPrefix, KeyDomains, KeyOrder, Level, Slice};

fn options(fs: &Arc<MemFs>) -> TreeOptions {
    TreeOptions::new("/db").store(|store| store.fs(fs.clone())).tables(small_tables())
}

fn open() -> (Arc<MemFs>, Tree) {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs)).unwrap();
    (fs, tree)
}

/// Ingests puts of the letters in `keys`, each with the value `value`.
fn ingest(tree: &Tree, options: IngestOptions, keys: &str, value: &str) -> Result<IngestReport, Error> {
    let mut ingestion = tree.ingest(options)?;
    put_all(&mut ingestion, keys, value);
    ingestion.finish()
}

fn put_all(ingestion: &mut Ingestion, keys: &str, value: &str) {
    for key in keys.chars() {
        ingestion.put(key.to_string(), value).unwrap();
    }
}

/// Keys and values as `a=1 b=2`.
fn shown(reader: &impl Reader) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let pairs = contents(reader).unwrap().into_iter();
    pairs.map(|(key, value)| format!("{}={}", text(key), text(value))).collect::<Vec<_>>().join(" ")
}

/// What the files say about themselves, by key.
fn files(fs: &MemFs, order: &KeyOrder) -> Vec<FoundTable> {
    let names = fs.read_dir(Path::new("/db/tables")).unwrap().into_iter();
    let path = |entry: lsm_fs::DirEntry| Path::new("/db/tables").join(entry.name);
    let mut found: Vec<_> =
        names.map(|entry| read_table(fs, &path(entry), std::slice::from_ref(order), None).unwrap()).collect();
    found.sort_by(|a, b| a.descriptor.coverage_start.compare(&b.descriptor.coverage_start, order));
    found
}

/// Proves E-119, E-15: what does not ascend is refused alone, and what no entry may be is, too.
/// Fault: engine W-19.
#[test]
fn what_does_not_ascend_is_refused_and_nothing_else() {
    let (_, tree) = open();
    let mut ingestion = tree.ingest(IngestOptions::at(at(5))).unwrap();
    let refused = |outcome: Result<(), Error>, kind: ErrorKind| {
        assert_eq!(outcome.unwrap_err().kind(), kind);
    };
    ingestion.put("b", "1").unwrap();
    refused(ingestion.put("b", "2"), ErrorKind::OutOfOrder);
    refused(ingestion.put("a", "2"), ErrorKind::OutOfOrder);
    refused(ingestion.remove("b"), ErrorKind::OutOfOrder);
    refused(ingestion.remove_weak("ab"), ErrorKind::OutOfOrder);
    refused(ingestion.remove_range("a".."z"), ErrorKind::OutOfOrder);
    refused(ingestion.put("", "2"), ErrorKind::InvalidKey);
    refused(ingestion.put(vec![b'x'; 65_536], "2"), ErrorKind::InvalidKey);
    refused(ingestion.put("x", vec![0; (256 << 20) - (64 << 10) + 1]), ErrorKind::ValueTooLarge);
    ingestion.remove_range::<&str>("b"..="d").unwrap();
    refused(ingestion.remove_range("b".."c"), ErrorKind::OutOfOrder);
    ingestion.remove_range("f".."h").unwrap();
    ingestion.remove_range("z".."a").unwrap(); // no key
    refused(ingestion.put("e", "2"), ErrorKind::OutOfOrder);
    put_all(&mut ingestion, "fg", "1");
    let report = ingestion.finish().unwrap();
    assert_eq!((report.entries, report.seqno), (3, Some(at(5))));
    assert_eq!(shown(&tree), "b=1 f=1 g=1");
}

/// Proves E-120, D-92: what is not finished is nowhere.
#[test]
fn an_ingestion_is_nothing_until_it_is_finished() {
    let (fs, tree) = open();
    let list = || fs.read_dir(Path::new("/db/tables")).map_or(0, |entries| entries.len());
    let edits = |tree: &Tree| (tree.stats().tables(), tree.persisted(), tree.view().before());
    let before = edits(&tree);
    let manifest = |fs: &MemFs| fs.used_bytes();
    let used = manifest(&fs);
    assert_eq!(tree.ingest(IngestOptions::at(at(5))).unwrap().finish().unwrap(), IngestReport::default());
    assert_eq!((edits(&tree), manifest(&fs)), (before, used), "nothing of nothing");

    let mut ingestion = tree.ingest(IngestOptions::at(at(5)).target_bytes(300)).unwrap();
    for key in 0..800 {
        ingestion.put(format!("{key:03}"), [7; 30]).unwrap();
    }
    assert!(list() > 3);
    assert_eq!(contents(&tree).unwrap(), []);
    drop(ingestion);
    assert_eq!((list(), edits(&tree)), (0, before));

    // What comes after it was stopped is refused, and it can only be dropped.
    let cancel = Cancel::new();
    let mut ingestion = tree.ingest(IngestOptions::at(at(5)).cancel(cancel.clone())).unwrap();
    ingestion.put("a", "1").unwrap();
    cancel.cancel();
    assert_eq!(ingestion.finish().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((list(), edits(&tree)), (0, before));
    let ingestion = tree.ingest(IngestOptions::at(at(5))).unwrap();
    tree.close().unwrap();
    assert_eq!(ingestion.finish().unwrap_err().kind(), ErrorKind::Closed);
}

/// Proves E-121, F-5: one number for everything, and only that one is drawn.
#[test]
fn everything_appears_at_one_number() {
    let (fs, tree) = open();
    for key in ["a", "c", "e"] {
        tree.insert(key, "0", at(3)).unwrap();
    }
    let supply = Arc::new(AtomicU64::new(7));
    let draw = supply.clone();
    let drawn = IngestOptions::draw(move || at(draw.fetch_add(1, Ordering::Relaxed))).target_bytes(1);
    let mut ingestion = tree.ingest(drawn).unwrap();
    ingestion.put("a", "1").unwrap();
    ingestion.remove_range("b".."d").unwrap();
    put_all(&mut ingestion, "bdf", "1");
    assert_eq!(supply.load(Ordering::Relaxed), 7);
    let report = ingestion.finish().unwrap();
    assert_eq!((report.seqno, supply.load(Ordering::Relaxed)), (Some(at(7)), 8));
    for before in 4..=7 {
        assert_eq!(shown(&tree.view_at(at(before)).unwrap()), "a=0 c=0 e=0");
    }
    assert_eq!(shown(&tree.view_at(at(8)).unwrap()), "a=1 b=1 d=1 e=0 f=1");
    assert_eq!(tree.view().before(), at(8));
    tree.seal(None);
    flush(&tree);
    drop(tree);
    for found in files(&fs, &KeyOrder::bytewise()) {
        let table = &found.descriptor;
        let ingested = table.seqnos.min == at(7);
        assert_eq!(table.global_seqno, if ingested { at(7) } else { at(0) });
        assert_eq!(table.seqnos.max, if ingested { at(7) } else { at(3) });
    }
    let tree = Tree::open(options(&fs)).unwrap();
    assert!(tree.verify().unwrap().is_clean());
    assert_eq!(shown(&tree), "a=1 b=1 d=1 e=0 f=1");
    assert_eq!(shown(&tree.view_at(at(7)).unwrap()), "a=0 c=0 e=0");
    assert_eq!(tree.view().before(), at(8));
}

/// Proves E-121: a number that is given must be above what is there, as far as the range goes, unless it is to fill in.
#[test]
fn a_number_below_what_is_there_is_refused() {
    #[track_caller]
    fn check(tree: &Tree, number: u64, keys: &str, expected: Option<ErrorKind>) {
        let outcome = ingest(tree, IngestOptions::at(at(number)), keys, "x");
        assert_eq!(outcome.map(drop).err().map(|error| error.kind()), expected, "{keys} at {number}");
    }

    let (_, tree) = open();
    tree.insert("c", "1", at(10)).unwrap();
    tree.insert("x", "1", at(20)).unwrap();
    let too_low = Some(ErrorKind::SeqNoTooLow);
    check(&tree, 10, "c", too_low);
    check(&tree, 9, "bd", too_low);
    check(&tree, 9, "ab", None);
    check(&tree, 11, "de", None);
    tree.remove_range("p".."q", at(30)).unwrap();
    check(&tree, 25, "op", too_low);
    check(&tree, 25, "qr", None);
    flush(&tree);
    // The table counts whole.
    check(&tree, 29, "m", too_low);
    check(&tree, 31, "m", None);
    check(&tree, lsm_types::SeqNo::LATEST.get(), "m", Some(ErrorKind::SeqNoOutOfRange));
    let below = |number| IngestOptions::at(at(number)).backfill();
    ingest(&tree, below(9), "cx", "old").unwrap();
    ingest(&tree, below(15), "cx", "between").unwrap();
    assert_eq!(tree.get("c").unwrap().unwrap(), b"between");
    assert_eq!(tree.get("x").unwrap().unwrap(), b"1");
    assert_eq!(tree.view_at(at(10)).unwrap().get("x").unwrap().unwrap(), b"old");

    // What is promised to stay the same stays the same.
    let guard = tree.hold(at(40)).unwrap();
    assert_eq!(ingest(&tree, below(39), "m", "x").unwrap_err().kind(), ErrorKind::BelowSnapshot);
    drop(guard);
    tree.set_gc_watermark(at(35));
    assert_eq!(ingest(&tree, below(34), "m", "x").unwrap_err().kind(), ErrorKind::BelowSnapshot);
    ingest(&tree, below(35), "m", "x").unwrap();
}

/// Proves E-122, E-18: numbers decide, not places and not the order of calls; nothing is flushed for it.
/// Fault: engine W-9.
#[test]
fn a_writer_that_drew_a_lower_number_loses_and_one_with_a_higher_number_wins() {
    for flushes in 0..8_u32 {
        let (_, tree) = open();
        let step = |bit: u32| {
            if flushes & (1 << bit) != 0 {
                flush(&tree);
            }
        };
        tree.insert("a", "newer", at(20)).unwrap();
        tree.insert("b", "older", at(5)).unwrap();
        step(0);
        let options = IngestOptions::draw(|| at(10));
        let sealed = tree.sealed_count();
        ingest(&tree, options, "abcd", "ingested").unwrap();
        assert_eq!(tree.sealed_count(), sealed);
        // Drawn before the ingestion's, written after it.
        tree.insert("c", "late", at(8)).unwrap();
        tree.remove("d", at(9)).unwrap();
        step(1);
        let check = || {
            let expected = "a=newer b=ingested c=ingested d=ingested";
            assert_eq!(shown(&tree), expected, "{flushes}");
            assert_eq!(tree.get("c").unwrap().unwrap(), b"ingested", "{flushes}");
            assert_eq!(tree.get("d").unwrap().unwrap(), b"ingested", "{flushes}");
            assert_eq!(shown(&tree.view_at(at(10)).unwrap()), "b=older c=late", "{flushes}");
        };
        check();
        if flushes & 4 != 0 {
            flush(&tree);
            tree.major_compact(&CompactOptions::default()).unwrap();
            check();
        }
    }
}

/// Proves E-123: the deepest level down to which nothing is in the way, range tombstones included; by table.
#[test]
fn tables_go_as_deep_as_nothing_is_in_the_way() {
    #[track_caller]
    fn check(tree: &Tree, number: u64, keys: &str, expected: &[(u8, usize)]) {
        let options = IngestOptions::at(at(number)).backfill().target_bytes(1);
        let report = ingest(tree, options, keys, "1").unwrap();
        let expected: Vec<_> = expected.iter().map(|(level, count)| (Level::new(*level), *count)).collect();
        assert_eq!(report.tables, expected, "{keys}");
    }

    let (_, tree) = open();
    check(&tree, 1, "bdf", &[(6, 3)]);
    check(&tree, 2, "ace", &[(6, 3)]);
    check(&tree, 3, "abg", &[(5, 2), (6, 1)]);
    check(&tree, 4, "a", &[(4, 1)]);
    tree.insert("x", "1", at(5)).unwrap();
    // What lies in memory is not in the way: it goes by numbers.
    check(&tree, 6, "x", &[(6, 1)]);
    flush(&tree);
    check(&tree, 7, "x", &[(0, 1)]);
    tree.remove_range("p".."r", at(8)).unwrap();
    flush(&tree);
    check(&tree, 9, "oqs", &[(0, 1), (6, 2)]);
    let mut deletes = tree.ingest(IngestOptions::at(at(10))).unwrap();
    deletes.remove_range("s".."t").unwrap();
    deletes.remove_range("u".."v").unwrap();
    assert_eq!(deletes.finish().unwrap().tables, [(Level::new(5), 1)], "one table that spans both");
    check(&tree, 11, "u", &[(4, 1)]);
    let all = "a=1 b=1 c=1 d=1 e=1 f=1 g=1 o=1 q=1 u=1 x=1";
    assert_eq!(shown(&tree), all);
    tree.set_gc_watermark(at(12));
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(shown(&tree), all);
    assert!(tree.verify().unwrap().is_clean());
}

/// Proves E-126: filters over keys and prefixes, counts and sizes are those of a flush of the same rows.
/// Fault: engine W-24.
#[test]
fn tables_are_as_a_flush_would_write_them() {
    let found = |by_ingestion: bool| {
        let fs = Arc::new(MemFs::new());
        let options = options(&fs).prefix_extractor(Arc::new(FixedPrefix::new(3))).level_count(2);
        let tree = Tree::open(options.table_target_bytes(6_000)).unwrap();
        let rows = (0..2_000_u32).map(|n| (format!("{n:06}"), [b'v'; 20]));
        if by_ingestion {
            // A table in the way of all, so that they are written for level 0.
            tree.insert("000000", "", at(0)).unwrap();
            tree.insert("001999", "", at(0)).unwrap();
            flush(&tree);
            let mut ingestion = tree.ingest(IngestOptions::at(at(7))).unwrap();
            for (key, value) in rows {
                ingestion.put(key, value).unwrap();
            }
            ingestion.finish().unwrap();
        } else {
            for (key, value) in rows {
                tree.insert(key, value, at(7)).unwrap();
            }
            flush(&tree);
        }
        drop(tree);
        let all = files(&fs, &KeyOrder::bytewise());
        all.into_iter()
            .map(|found| found.descriptor)
            .filter(|table| table.counts.entries > 2)
            .collect::<Vec<_>>()
    };
    let (ingested, flushed) = (found(true), found(false));
    assert!(ingested.len() > 3);
    assert_eq!(ingested.len(), flushed.len());
    for (a, b) in ingested.iter().zip(&flushed) {
        assert_eq!(a.filter_kind, 1);
        assert_eq!((a.filter_kind, a.counts, a.census), (b.filter_kind, b.counts, b.census));
        assert_eq!(
            (a.sizes.filter, a.sizes.raw_keys, a.sizes.raw_values),
            (b.sizes.filter, b.sizes.raw_keys, b.sizes.raw_values)
        );
        assert_eq!((&a.entries, a.seqnos, a.point_seqnos), (&b.entries, b.seqnos, b.point_seqnos));
    }
}

/// Numbers of ingested entries are found without a manifest, so an older value does not come to the top.
/// Fault: durability W-11.
#[test]
fn files_alone_tell_the_numbers() {
    let (fs, tree) = open();
    ingest(&tree, IngestOptions::at(at(10)), "ab", "newer").unwrap();
    tree.insert("a", "older", at(5)).unwrap();
    flush(&tree);
    tree.close().unwrap();
    for entry in fs.read_dir(Path::new("/db")).unwrap() {
        let path = Path::new("/db").join(&entry.name);
        if fs.metadata(&path).is_ok_and(|found| found.kind == lsm_fs::EntryKind::File) {
            fs.remove_file(&path).unwrap();
        }
    }
    let manifests = Path::new("/db/manifest");
    for entry in fs.read_dir(manifests).unwrap_or_default() {
        fs.remove_file(&manifests.join(&entry.name)).unwrap();
    }
    let lossy = options(&fs).store(|store| store.recovery_mode(RecoveryMode::RebuildFromFiles));
    let tree = Tree::open(lossy).unwrap();
    assert_eq!(shown(&tree), "a=newer b=newer");
}

/// A domain per first byte.
struct FirstByte;

impl KeyDomains for FirstByte {
    fn end_of(&self, key: &[u8]) -> Option<Slice> {
        Some([key.first()?.checked_add(1)?].as_slice().into())
    }
}

/// Proves E-131: whoever writes tables, none holds keys of two domains.
#[test]
fn no_table_spans_two_domains() {
    #[track_caller]
    fn check(fs: &MemFs, tables: usize) {
        let found = files(fs, &KeyOrder::bytewise());
        for table in &found {
            let Some(range) = &table.descriptor.entries else { continue };
            assert_eq!(range.min[0], range.max[0], "{range:?}");
        }
        assert_eq!(found.len(), tables);
    }

    let fs = Arc::new(MemFs::new());
    let options = options(&fs).key_domains(Arc::new(FirstByte));
    let tree = Tree::open(options).unwrap();
    let keys = ["a1", "a2", "b1", "d1", "d2", "d3"];
    for (number, key) in keys.iter().enumerate() {
        tree.insert(key, "0", at(number as u64)).unwrap();
    }
    tree.remove_range("a2".."d2", at(10)).unwrap();
    flush(&tree);
    check(&fs, 3);
    let mut ingestion = tree.ingest(IngestOptions::at(at(20))).unwrap();
    ingestion.remove_range("a".."c").unwrap();
    for key in ["a2", "a3", "c1", "d1", "d4"] {
        ingestion.put(key, "1").unwrap();
    }
    ingestion.finish().unwrap();
    check(&fs, 6);
    let expected = "a2=1 a3=1 c1=1 d1=1 d2=0 d3=0 d4=1";
    assert_eq!(shown(&tree), expected);
    tree.compact(&Leveled { l0_threshold: 1, ..Leveled::default() }, &CompactOptions::default()).unwrap();
    assert_eq!(shown(&tree), expected);
    tree.set_gc_watermark(at(30));
    tree.major_compact(&CompactOptions::default()).unwrap();
    check(&fs, 3);
    assert_eq!(shown(&tree), expected);
    // So that a domain goes as a whole.
    tree.set_gc_watermark(at(31));
    tree.purge_range("d".."e", at(40)).unwrap();
    assert_eq!(shown(&tree), "a2=1 a3=1 c1=1");
    assert_eq!(tree.stats().levels.iter().map(|level| level.entries).sum::<u64>(), 3);
}

/// An ingested weak delete goes together with the put below it.
#[test]
fn weak_deletes_are_ingested_as_such() {
    let (_, tree) = open();
    ingest(&tree, IngestOptions::at(at(1)), "ab", "1").unwrap();
    let mut ingestion = tree.ingest(IngestOptions::at(at(2))).unwrap();
    ingestion.remove_weak("a").unwrap();
    ingestion.finish().unwrap();
    assert_eq!(shown(&tree), "b=1");
    assert_eq!(tree.stats().levels.iter().map(|level| level.weak_tombstones).sum::<u64>(), 1);
    tree.set_gc_watermark(at(3));
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(
        (shown(&tree).as_str(), tree.stats().levels.iter().map(|level| level.entries).sum::<u64>()),
        ("b=1", 1)
    );
}

/// Proves E-128: what is ingested at a higher number outlives a clear, and what is older goes.
#[test]
fn a_clear_goes_by_numbers_too() {
    let (_, tree) = open();
    ingest(&tree, IngestOptions::at(at(5)), "ab", "1").unwrap();
    ingest(&tree, IngestOptions::at(at(9)), "bc", "2").unwrap();
    tree.clear(at(7)).unwrap();
    assert_eq!(shown(&tree), "b=2 c=2");
    assert_eq!(
        ingest(&tree, IngestOptions::at(at(6)).backfill(), "d", "3").unwrap_err().kind(),
        ErrorKind::BelowSnapshot
    );
    tree.clear(at(20)).unwrap();
    assert_eq!((shown(&tree).as_str(), tree.stats().tables()), ("", 0));
}
