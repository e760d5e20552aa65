//! Damaged files: the right content or an error, never other content.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use common::{Entry, build, current, put, seqno, small_options, superblock};
use lsm_block::{BlockKind, FileIdentity, LocatorHints};
use lsm_sst::{BuildOptions, Error, OpenOptions, SstError, Table, TableOptions};
use lsm_types::{
    CorruptionKind, Cut, EntryCursor, ErrorKind, FileUuid, IoError, IoKind, IoOp, KeyOrder, Kind,
    RangeTombstone, ReadAt, Result, SeqNo, ValueHandle, VlogId,
};

fn sample() -> (Vec<Entry>, Vec<RangeTombstone>) {
    let entries = (0..40).map(|n| put(&format!("key/{n:03}"), n, &format!("value of {n}"))).collect();
    let tombstones = vec![
        RangeTombstone {
            start: Cut::Before("key/010".into()),
            end: Cut::After("key/012".into()),
            seqno: seqno(3),
        },
        RangeTombstone { start: Cut::After("key/020".into()), end: Cut::End, seqno: seqno(8) },
    ];
    (entries, tombstones)
}

fn sample_file(spill: usize) -> Vec<u8> {
    let (entries, tombstones) = sample();
    let order = KeyOrder::bytewise();
    let options = BuildOptions { index_spill_bytes: spill, data_block_bytes: 120, ..small_options(&order) };
    build(options, &entries, &tombstones).1
}

fn scan<R: ReadAt>(table: &Table<R>) -> Result<Vec<Entry>> {
    let mut cursor = table.cursor();
    let mut found = Vec::new();
    cursor.seek_first()?;
    while let Some(entry) = current(&cursor) {
        found.push(entry);
        cursor.next()?;
    }
    Ok(found)
}

/// Reads everything there is.
fn content(bytes: Vec<u8>) -> Result<(Vec<Entry>, Vec<RangeTombstone>)> {
    let table = Table::open(bytes, TableOptions::new())?;
    let found = scan(&table)?;
    let mut cursor = table.cursor();
    cursor.seek_last()?;
    let mut back = Vec::new();
    while let Some(entry) = current(&cursor) {
        back.push(entry);
        cursor.prev()?;
    }
    back.reverse();
    assert_eq!(found, back);
    for entry in found.iter().step_by(5) {
        let value = table.get(&entry.key, SeqNo::LATEST)?.map(|found| found.value.to_vec());
        assert_eq!(value, Some(entry.value.clone()));
    }
    assert!(table.get(b"key/0015", SeqNo::LATEST)?.is_none());
    Ok((found, table.range_tombstones().to_vec()))
}

/// Proves F-18, F-20, FI-8.
/// Fault: formats W-28.
#[test]
fn every_flipped_byte_gives_the_same_content_or_an_error() {
    for spill in [0, 4 << 20] {
        let file = sample_file(spill);
        let (mut same, mut errors) = (0, 0);
        for at in 0..file.len() {
            // Zeros between the copies hold nothing; a few of them stand for all.
            if file[at..].iter().take(64).all(|&byte| byte == 0) && at % 997 != 0 {
                continue;
            }
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            match content(damaged) {
                Ok(found) => {
                    assert_eq!(found, sample(), "byte {at}");
                    same += 1;
                }
                Err(error) => {
                    assert!(error.is_corruption(), "byte {at}: {error}");
                    errors += 1;
                }
            }
        }
        assert!(same > 1000 && errors > 500, "{same} {errors}");
    }
}

/// A file that lost no more than its footer and some of its directory may still open by another route.
#[test]
fn every_truncation_is_refused_or_loses_nothing() {
    let file = sample_file(0);
    for len in (0..file.len()).filter(|len| len % 61 == 0 || *len < 700 || file.len() - len < 700) {
        match content(file[..len].to_vec()) {
            Ok(found) => assert_eq!(found, sample()),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Corruption(_)),
                    "{len}: {error}"
                );
            }
        }
    }
    assert_eq!(content(file[..575].to_vec()).unwrap_err().kind(), ErrorKind::Truncated);
    assert!(content(file[..file.len() / 2].to_vec()).unwrap_err().is_corruption());
}

/// Proves F-10.
#[test]
fn any_lost_sector_of_mirrored_metadata_leaves_the_table_readable() {
    let file = sample_file(0);
    let table = Table::open(file.clone(), TableOptions::new()).unwrap();
    let data = table.meta().directory().primary(BlockKind::DATA).copied().unwrap();
    let metadata_at = usize::try_from(data.offset + data.len).unwrap();
    drop(table);
    for sector in (metadata_at.next_multiple_of(4096)..file.len()).step_by(4096) {
        let mut damaged = file.clone();
        let end = (sector + 4096).min(file.len());
        let was_zero = damaged[sector..end].iter().all(|&byte| byte == 0);
        damaged[sector..end].fill(0xA5);
        let table = Table::open(damaged.clone(), TableOptions::new()).unwrap();
        assert!(was_zero || !table.meta().detours().is_empty(), "damage at {sector} goes unreported");
        assert_eq!(content(damaged).unwrap(), sample(), "sector at {sector}");
    }
}

/// One primary copy damaged: the table reads well, says so, and a full check finds the place.
#[test]
fn a_copy_made_good_is_told() {
    let file = sample_file(4 << 20);
    let table = Table::open(file.clone(), TableOptions::new()).unwrap();
    assert!(table.meta().detours().is_empty());
    for kind in [BlockKind::INDEX_ROOT, BlockKind::PROPERTIES, BlockKind::RANGE_TOMBSTONES] {
        let primary = table.meta().directory().primary(kind).unwrap();
        let mut damaged = file.clone();
        damaged[usize::try_from(primary.offset).unwrap() + 40] ^= 1;
        assert_eq!(content(damaged.clone()).unwrap(), sample());
        let table = Table::open(damaged, TableOptions::new()).unwrap();
        assert_eq!(table.meta().detours().len(), 1, "{kind}");
        let mut found = Vec::new();
        table.verify(&mut |error| found.push(error.location().unwrap().offset)).unwrap();
        assert_eq!(found, [primary.offset]);
    }
}

/// Proves F-21: a full check of a good table finds nothing, and of one with any byte flipped something.
#[test]
fn a_full_check_misses_no_flipped_byte() {
    for spill in [0, 4 << 20] {
        let file = sample_file(spill);
        let table = Table::open(file.clone(), TableOptions::new()).unwrap();
        let verified = table.verify(&mut |error| panic!("{error}")).unwrap();
        assert_eq!((verified.entries, verified.findings), (40, 0));
        assert_eq!(verified.frames, table.meta().directory().frames);
        let gap = file.windows(4096).position(|bytes| bytes.iter().all(|&byte| byte == 0)).unwrap();
        for at in (0..gap).chain(gap + (64 << 10)..file.len()).step_by(13) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let Ok(table) = Table::open(damaged, TableOptions::new()) else { continue };
            let mut findings = table.meta().detours().len() as u64;
            findings += table.verify(&mut |_| ()).unwrap().findings;
            assert!(findings > 0, "byte {at} goes unnoticed");
        }
    }
}

/// Proves D-81: what a table leads to is under a check of its own: a flipped byte of it is an error or made good, and never
/// other references. Fault: durability W-20.
/// Fault: formats W-27.
#[test]
fn references_are_the_right_ones_or_an_error() {
    let handle = |n: u32| {
        let file = VlogId::new(u64::from(n) % 3 + 1);
        ValueHandle { file, offset: u64::from(n) * 900 + 512, stored_len: 800 + n, value_len: 700 + n }
    };
    let entries: Vec<Entry> = (0..40)
        .map(|n| {
            let value = handle(n).encode().to_vec();
            Entry { kind: Kind::Indirection, value, ..put(&format!("key/{n:03}"), u64::from(n), "") }
        })
        .collect();
    let file = build(small_options(&KeyOrder::bytewise()), &entries, &[]).1;
    let table = Table::open(file.clone(), TableOptions::new()).unwrap();
    let references = table.meta().references().clone();
    assert_eq!(references.iter().count(), 3);
    let section = table.meta().directory().primary(BlockKind::LINKED_VALUE_LOGS).unwrap();
    let (start, len) = (usize::try_from(section.offset).unwrap(), usize::try_from(section.len).unwrap());
    let mut errors = 0;
    for at in start..start + len {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            match Table::open(damaged, TableOptions::new()) {
                Ok(table) => assert_eq!(*table.meta().references(), references, "byte {at}, bit {bit}"),
                Err(error) => {
                    assert!(error.is_corruption(), "{error}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 0 || table.meta().directory().mirror(BlockKind::LINKED_VALUE_LOGS).is_some());
}

/// Both copies of one section destroyed; the error is the primary's, with the mirror's as context.
///
/// Proves F-10, F-159 (both copies).
#[test]
fn both_copies_lost_refuse_the_table() {
    let file = sample_file(4 << 20);
    let table = Table::open(file.clone(), TableOptions::new()).unwrap();
    for kind in [BlockKind::INDEX_ROOT, BlockKind::PROPERTIES, BlockKind::RANGE_TOMBSTONES] {
        let directory = table.meta().directory();
        let (primary, mirror) = (directory.primary(kind).unwrap(), directory.mirror(kind).unwrap());
        let distance = primary.offset - mirror.offset;
        assert!(distance >= 64 << 10, "copies of {kind} are {distance} bytes apart");
        let mut damaged = file.clone();
        for section in [primary, mirror] {
            damaged[usize::try_from(section.offset).unwrap() + 40] ^= 1;
        }
        let error = content(damaged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption(CorruptionKind::PayloadCheck));
        assert_eq!(error.location().unwrap().offset, primary.offset);
    }
}

/// A source that counts reads, remembers their lengths, and can be told to fail one.
struct Flaky {
    bytes: Vec<u8>,
    reads: Arc<AtomicUsize>,
    fail_at: usize,
}

impl ReadAt for Flaky {
    fn len(&self) -> std::result::Result<u64, IoError> {
        ReadAt::len(&self.bytes)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> std::result::Result<(), IoError> {
        if self.reads.fetch_add(1, Relaxed) == self.fail_at {
            return Err(IoError::new(IoOp::Read, IoKind::Other));
        }
        self.bytes.read_exact_at(offset, out)
    }
}

fn flaky(bytes: &[u8], fail_at: usize) -> (Flaky, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    (Flaky { bytes: bytes.to_vec(), reads: Arc::clone(&reads), fail_at }, reads)
}

/// Proves F-9, F-14 in part: an ordinary table opens with one read.
#[test]
fn an_ordinary_table_opens_with_one_read() {
    let (source, reads) = flaky(&sample_file(4 << 20), usize::MAX);
    let table = Table::open(source, TableOptions::new()).unwrap();
    assert_eq!(reads.load(Relaxed), 1);
    table.get(b"key/007", SeqNo::LATEST).unwrap().unwrap();
    assert_eq!(reads.load(Relaxed), 2);
}

/// Proves F-9.
#[test]
fn a_large_root_needs_one_read_more_or_none_with_the_tail_known() {
    let order = KeyOrder::bytewise();
    let entries: Vec<Entry> =
        (0..12_000).map(|n| put(&format!("{:016x}", n * 0x9E37_79B9_u64), 1, "v")).collect();
    let mut sorted = entries;
    common::sort(&mut sorted, &order);
    let options = BuildOptions { data_block_bytes: 32, ..small_options(&order) };
    let (summary, bytes) = build(options, &sorted, &[]);
    assert!(summary.tail_len > 100 << 10);
    let (source, reads) = flaky(&bytes, usize::MAX);
    Table::open(source, TableOptions::new()).unwrap();
    assert_eq!(reads.load(Relaxed), 2);
    let (source, reads) = flaky(&bytes, usize::MAX);
    let hints = LocatorHints { tail_len: summary.tail_len, ..LocatorHints::default() };
    let options = OpenOptions { hints, ..OpenOptions::new(order) };
    let table = Table::open(source, TableOptions::new().open(options)).unwrap();
    assert_eq!(reads.load(Relaxed), 1);
    // A cursor that stays in a block reads it once.
    let mut cursor = table.cursor();
    for entry in sorted.iter().take(2) {
        cursor.seek(&entry.key, SeqNo::LATEST).unwrap();
        cursor.seek(&entry.key, SeqNo::LATEST).unwrap();
    }
    assert_eq!(reads.load(Relaxed), 3);
}

/// Proves F-31, F-160.
/// Fault: formats W-28.
#[test]
fn a_failed_read_is_never_the_end_of_the_data() {
    let (expected, _) = sample();
    let file = sample_file(0);
    let (source, reads) = flaky(&file, usize::MAX);
    scan(&Table::open(source, TableOptions::new()).unwrap()).unwrap();
    let total = reads.load(Relaxed);
    assert!(total > 6, "{total} reads are too few to mean much");
    for fail_at in 1..total {
        let (source, _) = flaky(&file, fail_at);
        let table = Table::open(source, TableOptions::new()).unwrap();
        let mut cursor = table.cursor();
        let mut found = Vec::new();
        let mut failure = cursor.seek_first().err();
        while let (None, Some(entry)) = (&failure, current(&cursor)) {
            found.push(entry);
            failure = cursor.next().err();
        }
        assert_eq!(failure.unwrap().kind(), ErrorKind::Io);
        assert!(found.len() < expected.len() && found == expected[..found.len()]);
        // Poisoned until a seek, which finds the source well again.
        assert!(cursor.entry().is_none());
        assert_eq!(cursor.next().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(cursor.prev().unwrap_err().kind(), ErrorKind::Io);
        cursor.seek(&expected[found.len()].key, SeqNo::LATEST).unwrap();
        assert_eq!(current(&cursor).as_ref(), Some(&expected[found.len()]));
    }
    let (source, _) = flaky(&file, 1);
    let table = Table::open(source, TableOptions::new()).unwrap();
    assert_eq!(table.get(b"nothing", SeqNo::LATEST).unwrap(), None);
    assert_eq!(table.get(b"key/0155", SeqNo::LATEST).unwrap_err().kind(), ErrorKind::Io);
}

/// Proves F-161.
#[test]
fn one_damaged_block_fails_only_what_needs_it() {
    let mut file = sample_file(4 << 20);
    let table = Table::open(file.clone(), TableOptions::new()).unwrap();
    let second = table.blocks().nth(1).unwrap().unwrap().at().handle;
    file[usize::try_from(second.offset).unwrap() + 50] ^= 1;
    let table = Table::open(file, TableOptions::new()).unwrap();
    assert!(table.get(b"key/000", SeqNo::LATEST).unwrap().is_some());
    assert!(table.get(b"key/039", SeqNo::LATEST).unwrap().is_some());
    let damaged = table.blocks().filter(|block| block.as_ref().unwrap().load().is_err()).count();
    assert_eq!(damaged, 1);
    let mut cursor = table.cursor();
    cursor.seek_last().unwrap();
    let error: Error = loop {
        match cursor.prev() {
            Ok(()) => assert!(cursor.entry().is_some(), "the scan ended early"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corruption(CorruptionKind::PayloadCheck));
    assert_eq!(error.location().unwrap().offset, second.offset);
}

/// Proves F-20: two frames of equal length change places.
#[test]
fn swapped_blocks_are_refused() {
    let order = KeyOrder::bytewise();
    let entries: Vec<Entry> = (0..100).map(|n| put(&format!("key/{n:03}"), 1, "same length")).collect();
    let (_, mut file) = build(small_options(&order), &entries, &[]);
    let table = Table::open(file.clone(), TableOptions::new()).unwrap();
    let blocks: Vec<_> = table.blocks().map(|block| block.unwrap().at().handle).collect();
    assert_eq!(blocks[1].len, blocks[2].len);
    let range = |n: usize| {
        usize::try_from(blocks[n].offset).unwrap()..usize::try_from(blocks[n].end().unwrap()).unwrap()
    };
    let (one, two) = (file[range(1)].to_vec(), file[range(2)].to_vec());
    file[range(1)].copy_from_slice(&two);
    file[range(2)].copy_from_slice(&one);
    let error = content(file).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corruption(CorruptionKind::Misplaced)), "{error:?}");
}

/// Proves F-122.
#[test]
fn another_file_is_refused() {
    let identity = superblock().identity;
    let hints = |identity| LocatorHints { identity: Some(identity), ..LocatorHints::default() };
    let open = |identity| {
        let options = OpenOptions { hints: hints(identity), ..OpenOptions::new(KeyOrder::bytewise()) };
        Table::open(sample_file(0), TableOptions::new().open(options))
    };
    open(identity).unwrap();
    for other in [
        FileIdentity { file_id: 8, ..identity },
        FileIdentity { uuid: FileUuid::from_bytes([9; 16]), ..identity },
        FileIdentity { database: FileUuid::from_bytes([9; 16]), ..identity },
    ] {
        assert_eq!(open(other).unwrap_err().kind(), ErrorKind::FileIdentityMismatch);
    }
    let error = Table::open(vec![7; 4096], TableOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOurs);
    assert_eq!(SstError::IndexFull.to_string(), "the index of one table is full; write smaller tables");
}
