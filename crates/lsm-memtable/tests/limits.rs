//! What is refused, and that a refusal changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod twin;

use std::sync::Arc;

use lsm_memtable::{MemtableConfig, MemtableError};
use lsm_types::{EntryCursor, EntryRef, ErrorKind, Fault, KeyOrder, Kind, MAX_KEY_LEN, MAX_VALUE_LEN, SeqNo};
use twin::{Table, owned, seqno, walk};

fn table(bytes_max: u64) -> Arc<Table> {
    Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::with_bytes_max(bytes_max)))
}

#[track_caller]
fn check_entry(key: &[u8], number: SeqNo, value_len: usize, expected: Result<(), ErrorKind>) {
    let value = vec![0; value_len];
    let entry = EntryRef { key, seqno: number, kind: Kind::Put, value: &value };
    let good = EntryRef { key: b"good", seqno: SeqNo::ZERO, kind: Kind::Put, value: b"" };
    let (one, batch) = (table(1 << 30), table(1 << 30));
    let results = [
        one.insert(key, number, Kind::Put, &value).map_err(|error| error.kind()),
        batch.insert_batch([good, entry]).map_err(|error| error.kind()),
    ];
    for (found, expected_len, table) in [(results[0], 1, &one), (results[1], 2, &batch)] {
        assert_eq!(found.map(|_| ()), expected);
        assert_eq!(table.len(), if expected.is_ok() { expected_len } else { 0 });
        assert_eq!(table.get(key, SeqNo::LATEST).is_some(), expected.is_ok());
        assert_eq!(table.seqnos().is_some(), expected.is_ok());
    }
}

/// Proves E-15.
/// Fault: engine W-19. Fault: formats W-34.
#[test]
fn every_limit_is_checked_on_both_sides() {
    let longest = vec![b'k'; MAX_KEY_LEN + 1];
    check_entry(b"", SeqNo::ZERO, 0, Err(ErrorKind::InvalidKey));
    check_entry(b"k", SeqNo::ZERO, 0, Ok(()));
    check_entry(&longest[1..], SeqNo::ZERO, 0, Ok(()));
    check_entry(&longest, SeqNo::ZERO, 0, Err(ErrorKind::InvalidKey));
    check_entry(b"k", SeqNo::MAX_WRITE, 0, Ok(()));
    check_entry(b"k", SeqNo::LATEST, 0, Err(ErrorKind::SeqNoOutOfRange));
    check_entry(b"k", SeqNo::ZERO, MAX_VALUE_LEN, Ok(()));
    check_entry(b"k", SeqNo::ZERO, MAX_VALUE_LEN + 1, Err(ErrorKind::ValueTooLarge));
}

/// Fault: engine W-19.
#[test]
fn a_full_memtable_says_so_and_goes_on_reading() {
    for (bytes_max, value_len) in [(80_000, 10), (200_000, 100), (9 << 20, 400), (2 << 20, 10_000)] {
        let table = table(bytes_max);
        let value = vec![7; value_len];
        let mut count = 0_u64;
        let error = loop {
            match table.insert(&count.to_be_bytes(), seqno(count), Kind::Put, &value) {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, MemtableError::Full { .. }), "{error}");
        assert!(table.bytes() <= bytes_max);
        assert!(
            count as usize * (value_len + 60) > bytes_max as usize / 3,
            "most of the room was used: {count}"
        );
        assert_eq!(table.len() as u64, count);
        assert_eq!(table.highest_seqno(), Some(seqno(count - 1)));
        let mut cursor = table.cursor();
        cursor.seek_first().unwrap();
        assert_eq!(walk(&mut cursor).len() as u64, count);
    }
}

#[test]
fn what_can_never_fit_is_told_apart_from_a_full_memtable() {
    let table = table(1 << 20);
    let huge = vec![1; 2 << 20];
    let error = table.insert(b"k", SeqNo::ZERO, Kind::Put, &huge).unwrap_err();
    assert!(matches!(error, MemtableError::EntryTooLarge { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::EntryTooLarge);
    assert!(table.is_empty() && table.get(b"k", SeqNo::LATEST).is_none());
    table.insert(b"k", SeqNo::ZERO, Kind::Put, &huge[..1 << 19]).unwrap();
    let error = table.insert(b"l", SeqNo::ZERO, Kind::Put, &huge[..1 << 19]).unwrap_err();
    assert!(matches!(error, MemtableError::Full { .. }), "{error}");
}

/// Proves E-24.
#[test]
fn a_batch_that_does_not_fit_leaves_no_trace() {
    let table = table(1 << 20);
    for n in 0..4000_u64 {
        table.insert(&n.to_be_bytes(), seqno(n), Kind::Put, &[1; 100]).unwrap();
    }
    let all = |table: &Arc<Table>| {
        let mut cursor = table.cursor();
        cursor.seek_first().unwrap();
        walk(&mut cursor)
    };
    let before = (all(&table), table.seqnos(), table.len());
    let keys: Vec<_> = (0..20_000_u64).map(|n| (n * 7).to_be_bytes()).collect();
    let batch =
        keys.iter().map(|key| EntryRef { key, seqno: seqno(5000), kind: Kind::Put, value: &[2; 100] });
    let error = table.insert_batch(batch.clone()).unwrap_err();
    assert!(matches!(error, MemtableError::EntryTooLarge { .. }), "{error}");
    let error = table.insert_batch(batch.clone().take(3000)).unwrap_err();
    assert!(matches!(error, MemtableError::Full { .. }), "{error}");
    assert_eq!((all(&table), table.seqnos(), table.len()), before);

    // Proves E-26.
    assert_eq!(table.insert_batch(core::iter::empty()), Ok(0));
    assert!(table.insert_batch(batch.take(100)).unwrap() > 100 * 108);
    assert_eq!(table.len(), 4100);
}

/// Proves E-20.
#[test]
fn the_later_call_wins_and_the_same_call_changes_nothing() {
    let table = table(1 << 30);
    let put = |value: &[u8]| table.insert(b"k", seqno(5), Kind::Put, value).unwrap();
    assert!(put(b"one") > 0);
    let bytes = table.bytes();
    assert_eq!(put(b"one"), 0);
    assert_eq!(table.bytes(), bytes);
    assert!(put(b"two") > 0);
    assert_eq!(
        table.get(b"k", SeqNo::LATEST).map(owned),
        Some((b"k".to_vec(), 5, Kind::Put, b"two".to_vec()))
    );
    table.insert(b"k", seqno(5), Kind::Tombstone, b"").unwrap();
    let last = (b"k".to_vec(), 5, Kind::Tombstone, Vec::new());
    assert_eq!(table.get(b"k", SeqNo::LATEST).map(owned), Some(last.clone()));
    assert_eq!(table.len(), 1);
    let mut cursor = table.cursor();
    cursor.seek_last().unwrap();
    assert_eq!(twin::walk_back(&mut cursor), [last]);
}

#[test]
fn odd_bounds_find_nothing_but_do_no_harm() {
    let table = table(1 << 30);
    let mut cursor = table.cursor();
    for key in [&b""[..], &vec![0xFF; MAX_KEY_LEN + 10], b"k"] {
        for round in 0..2 {
            assert!(table.get(key, SeqNo::ZERO).is_none());
            cursor.seek(key, SeqNo::ZERO).unwrap();
            cursor.seek_back(key, SeqNo::LATEST).unwrap();
            cursor.next().unwrap();
            cursor.prev().unwrap();
            assert!(cursor.entry().is_none() || round == 1 || !table.is_empty());
        }
        table.insert(b"m", seqno(1), Kind::Put, b"").unwrap();
    }
    cursor.seek(b"", SeqNo::LATEST).unwrap();
    assert_eq!(cursor.entry().map(|entry| entry.key), Some(&b"m"[..]));
    cursor.next().unwrap();
    assert!(cursor.entry().is_none());
    cursor.prev().unwrap();
    assert!(cursor.entry().is_none(), "a cursor that ran off stays off");
}

#[test]
fn tables_and_cursors_may_change_threads() {
    fn check<T: Send + Sync>() {}
    check::<Table>();
    check::<lsm_memtable::MemCursor<parking_lot::RawMutex>>();
}
