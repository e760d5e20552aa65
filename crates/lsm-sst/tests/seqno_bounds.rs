//! Change scans over tables with and without bounds of their blocks.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{Entry, build, put, seqno, small_options};
use lsm_codec::Decoder;
use lsm_sst::{BuildOptions, ScanCounts, SeqNoWindow, Table, TableOptions, seqno_bounds::BlockBounds};
use lsm_types::{ErrorKind, KeyOrder, Result, SeqNo, Slice};
use proptest::prelude::*;

fn file(entries: &[Entry], spill: usize, global: u64, recorded: bool) -> Vec<u8> {
    let order = KeyOrder::bytewise();
    let options = BuildOptions {
        index_spill_bytes: spill,
        index_partition_bytes: 100,
        data_block_bytes: 120,
        global_seqno: seqno(global),
        seqno_bounds: recorded,
        ..small_options(&order)
    };
    build(options, entries, &[]).1
}

fn open(bytes: &[u8]) -> Table<Vec<u8>> {
    Table::open(bytes.to_vec(), TableOptions::new()).unwrap()
}

fn bounds(table: &Table<Vec<u8>>, bytes: &[u8]) -> Result<Option<Arc<BlockBounds>>> {
    let Some(range) = table.meta().bounds_range() else { return Ok(None) };
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let section = Slice::copy_from(&bytes[at(range.offset)..at(range.offset + range.len)]);
    table.meta().decode_bounds(&section, &mut Decoder::new()).map(|bounds| Some(Arc::new(bounds)))
}

/// Keys and numbers of the entries of a window, from `first` on, in blocks that begin left of `last`.
fn scan(
    table: &Table<Vec<u8>>,
    bounds: Option<Arc<BlockBounds>>,
    window: SeqNoWindow,
    (first, last): (&str, &str),
) -> Result<(Vec<(String, u64)>, ScanCounts)> {
    let mut scan = table.meta().change_scan(table.source(), bounds);
    scan.seek(first.as_bytes())?;
    let mut found = Vec::new();
    while scan.next_block(window, Some(last.as_bytes()))? {
        scan.for_each(window, true, |entry| {
            let key = String::from_utf8(entry.key.to_vec()).unwrap();
            if (first..=last).contains(&key.as_str()) {
                found.push((key, entry.seqno.get()));
            }
            Ok(())
        })?;
    }
    Ok((found, scan.counts()))
}

fn key(n: usize) -> String {
    format!("key/{n:03}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Proves F-101, F-104: a scan finds what lies in its window, with bounds and without, in tables with a number of
    /// their own, whatever the index looks like; the bounds hold.
    #[test]
    fn scans_find_what_lies_in_the_window(
        numbers in prop::collection::vec(0_u64..60, 1..120),
        spill in prop_oneof![Just(0_usize), Just(1 << 20)],
        global in prop_oneof![Just(0_u64), Just(1000)],
        (since, len) in (0_u64..60, 0_u64..30),
        (from, to) in (0_usize..120, 0_usize..120),
    ) {
        let entries: Vec<Entry> =
            numbers.iter().enumerate().map(|(n, number)| put(&key(n), *number, "some value")).collect();
        let window = SeqNoWindow { since: seqno(global + since), before: seqno(global + since + len) };
        let (first, last) = (key(from), key(to));
        let expected: Vec<_> = numbers
            .iter()
            .enumerate()
            .map(|(n, number)| (key(n), global + number))
            .filter(|(key, number)| window.contains(seqno(*number)) && (&first..=&last).contains(&key))
            .collect();
        let bytes = file(&entries, spill, global, true);
        let table = open(&bytes);
        let recorded = bounds(&table, &bytes).unwrap();
        prop_assert!(recorded.is_some());
        let (found, some) = scan(&table, recorded, window, (&first, &last)).unwrap();
        prop_assert_eq!(&found, &expected);
        let (found, all) = scan(&table, None, window, (&first, &last)).unwrap();
        prop_assert_eq!(&found, &expected);
        prop_assert!(some.read <= all.read && all.rows_skipped == 0);
        let mut findings = Vec::new();
        table.verify(&mut |error| findings.push(error)).unwrap();
        prop_assert!(findings.is_empty(), "{findings:?}");
        let unrecorded = file(&entries, spill, global, false);
        prop_assert!(open(&unrecorded).meta().bounds_range().is_none());
    }
}

/// Proves F-104: bounds that do not hold are found by a scan that checks, and by a check of the table; damaged ones are no
/// bounds, and hinder no other read.
#[test]
fn wrong_and_damaged_bounds_are_found() {
    let entries =
        |above: u64| (0..80).map(|n| put(&key(n), n as u64 + above, "some value")).collect::<Vec<_>>();
    let all = SeqNoWindow { since: SeqNo::ZERO, before: SeqNo::LATEST };
    for spill in [0, 1 << 20] {
        let (bytes, others) = (file(&entries(5), spill, 0, true), file(&entries(6), spill, 0, true));
        let (table, other) = (open(&bytes), open(&others));
        let wrong = bounds(&other, &others).unwrap();
        let error = scan(&table, wrong, all, ("key/000", "key/999")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corruption(_)), "{error}");
        let range = table.meta().bounds_range().unwrap();
        for offset in range.offset..range.offset + range.len {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(offset).unwrap()] ^= 0x10;
            let table = open(&damaged);
            assert!(bounds(&table, &damaged).is_err(), "a bit flipped at {offset}");
            assert_eq!(scan(&table, None, all, ("key/000", "key/999")).unwrap().0.len(), 80);
            let mut findings = 0;
            table.verify(&mut |_| findings += 1).unwrap();
            assert!(findings > 0, "a bit flipped at {offset}");
        }
    }
}
