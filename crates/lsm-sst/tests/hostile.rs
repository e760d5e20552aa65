//! Decoders behind good checks, fed with damaged payloads: an error or something that holds, never a panic.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

mod common;

use common::{Entry, entries, orders, seqno, sort};
use lsm_block::Handle;
use lsm_sst::{
    PayloadError,
    data_block::{DataBlock, DataBlockBuilder, RowOptions},
    index::{IndexBlock, IndexBlockBuilder, IndexEntry},
    properties::{Counters, Properties, SeqNoBounds},
};
use lsm_types::{Cut, ErrorKind, KeyHash, KeyOrder, Kind, SeqNo, Slice, columns::KeyBuf};
use proptest::prelude::*;

fn block(entries: &[Entry], options: RowOptions) -> Vec<u8> {
    let mut builder = DataBlockBuilder::new(options);
    for (idx, entry) in entries.iter().enumerate() {
        let same_key = idx > 0 && entries[idx - 1].key == entry.key;
        builder.push(&entry.key, same_key, seqno(entry.seqno), entry.kind, &entry.value);
    }
    let (len, mut payload) = (builder.logical_len(), Vec::new());
    builder.finish(&mut payload);
    assert_eq!(payload.len(), len);
    payload
}

/// Asks a block everything it can answer.
fn exercise(block: &DataBlock, probe: &[u8]) {
    let mut key = KeyBuf::new();
    for row in 0..block.rows() {
        block.key(row, &mut key);
        assert!(!key.as_slice().is_empty());
        assert!(block.seqno(row).is_write());
        let value = block.value(row).to_vec();
        assert_eq!(block.value_slice(row), value.as_slice());
        assert!(!block.kind(row).is_tombstone() || value.is_empty());
    }
    for order in orders() {
        let at = block.lower_bound(&order, probe, seqno(5));
        assert!(at <= block.rows());
        let _ = block.find(&order, KeyHash::of(probe), probe, SeqNo::LATEST);
        let _ = block.verify(&order);
        let mut cursor = block.cursor(&order);
        cursor.seek_first();
        let mut steps = 0;
        while cursor.entry().is_some() {
            cursor.next();
            steps += 1;
        }
        cursor.seek_last();
        while cursor.entry().is_some() {
            cursor.prev();
            steps -= 1;
        }
        assert_eq!(steps, 0);
    }
}

type Damage = Vec<(prop::sample::Index, u8)>;

fn damage(header_len: usize) -> impl Strategy<Value = (Damage, Damage)> {
    // Headers decide most, so they are hit as often as everything else together.
    assert!(header_len == 32);
    let hits = || prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (hits(), hits())
}

fn apply(payload: &mut Vec<u8>, (header, body): &(Damage, Damage), cut: usize) {
    for (at, byte) in header {
        let at = at.index(32);
        payload[at] = *byte;
    }
    for (at, byte) in body {
        let at = at.index(payload.len());
        payload[at] = *byte;
    }
    payload.truncate(payload.len() - cut.min(payload.len()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Proves F-29, F-30.
    #[test]
    fn data_blocks(
        mut entries in entries(12),
        hits in damage(32),
        cut in prop_oneof![9 => Just(0_usize), 1 => 0_usize..300],
        tags in any::<bool>(),
        bundle_shift in 0_u8..5,
    ) {
        let order = KeyOrder::bytewise();
        sort(&mut entries, &order);
        let mut payload = block(&entries, RowOptions { bundle_shift, tags });
        let whole = DataBlock::decode(Slice::from(payload.clone())).unwrap();
        whole.verify(&order).unwrap();
        exercise(&whole, &entries[0].key);
        apply(&mut payload, &hits, cut);
        if let Ok(block) = DataBlock::decode(Slice::from(payload)) {
            exercise(&block, &entries[0].key);
        }
    }

    /// Proves F-29, F-30.
    #[test]
    fn index_blocks(
        mut entries in entries(20),
        hits in damage(32),
        cut in prop_oneof![9 => Just(0_usize), 1 => 0_usize..300],
        spread in 0_u64..(1 << 40),
    ) {
        let order = KeyOrder::bytewise();
        sort(&mut entries, &order);
        let mut builder = IndexBlockBuilder::new(false);
        let mut offset = 512;
        for (idx, entry) in entries.iter().enumerate() {
            let handle = Handle { offset, len: 32 + idx as u32 };
            let ordinal = idx as u32;
            let last_seqno = seqno(entry.seqno);
            builder.push(&entry.key, IndexEntry { handle, ordinal, rows: idx as u64, last_seqno });
            offset += 64 + idx as u64 + spread;
        }
        let (len, mut payload) = (builder.logical_len(), Vec::new());
        builder.finish(&mut payload);
        prop_assert_eq!(payload.len(), len);
        let whole = IndexBlock::decode(Slice::from(payload.clone())).unwrap();
        whole.verify(&order).unwrap();
        for (idx, entry) in entries.iter().enumerate() {
            let found = whole.entry(idx).unwrap();
            prop_assert_eq!((found.ordinal, found.rows, found.last_seqno.get()), (idx as u32, idx as u64, entry.seqno));
            prop_assert_eq!(whole.find(&order, &entry.key, found.last_seqno.next()), idx);
        }
        apply(&mut payload, &hits, cut);
        if let Ok(block) = IndexBlock::decode(Slice::from(payload)) {
            let mut key = KeyBuf::new();
            let mut last_end = 0;
            for idx in 0..block.entries() {
                block.separator(idx, &mut key);
                let entry = block.entry(idx).unwrap();
                prop_assert!(entry.handle.offset >= last_end);
                last_end = entry.handle.end().unwrap();
            }
            prop_assert!(block.entry(block.entries()).is_none());
            for order in orders() {
                prop_assert!(block.find(&order, &entries[0].key, SeqNo::LATEST) <= block.entries());
                let _ = block.verify(&order);
            }
            block.row_sum();
        }
    }

    /// Proves F-29, F-30.
    #[test]
    fn properties(
        min in prop::collection::vec(any::<u8>(), 1..9),
        count in 1_u64..9,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let properties = Properties {
            writer: "w".into(),
            comparator: "c".into(),
            keys: Some((Slice::from(min.clone()), Slice::from(min.clone()))),
            extent: Some((Cut::Before(Slice::from(min.clone())), Cut::End)),
            seqnos: Some(SeqNoBounds { min: seqno(1), max: seqno(9) }),
            point_seqnos: Some(SeqNoBounds { min: seqno(2), max: seqno(9) }),
            global_seqno: seqno(count),
            counters: Counters { entries: count, ..Counters::default() },
            inputs: (0..count).map(|n| lsm_types::TableId::new(count + n * n * 70)).collect(),
            ..Properties::default()
        };
        let mut payload = Vec::new();
        properties.encode(&mut payload);
        prop_assert_eq!(Properties::decode(&payload).unwrap(), properties);
        for (at, byte) in hits {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Ok(found) = Properties::decode(&payload) {
            let mut again = Vec::new();
            found.encode(&mut again);
            prop_assert_eq!(Properties::decode(&again).unwrap(), found);
        }
    }
}

#[track_caller]
fn check_block(change: impl Fn(&mut Vec<u8>), expected: PayloadError) {
    let entries = [
        Entry { key: b"k1".to_vec(), seqno: 9, kind: Kind::Put, value: b"new".to_vec() },
        Entry { key: b"k1".to_vec(), seqno: 4, kind: Kind::Tombstone, value: Vec::new() },
        Entry { key: b"k2".to_vec(), seqno: 7, kind: Kind::Put, value: b"x".to_vec() },
    ];
    let mut payload = block(&entries, RowOptions::default());
    change(&mut payload);
    assert_eq!(DataBlock::decode(Slice::from(payload)).unwrap_err(), expected);
}

/// Offset of the kind column in the block of `check_block`: header, prefix `k`, one bundle, three key ends.
const KINDS: usize = 32 + 1 + 6 + 3;

/// Proves F-1, F-8.
#[test]
fn what_is_unknown_or_contradictory_is_named() {
    let unsupported = |part, found| PayloadError::Unsupported { part, found };
    let item = |field, item| PayloadError::Item { field, item };
    check_block(|p| p[0] |= 1 << 1, unsupported("data block flag", 1 << 1));
    check_block(|p| p[0] |= 1 << 6, unsupported("data block flag", 1 << 6));
    check_block(|p| p[0] |= 1 << 7, unsupported("data block flag", 1 << 7));
    check_block(|p| p[7] = 1, unsupported("data block field", 1));
    check_block(|p| p[KINDS + 2] = 5, item("kind", 2));
    check_block(|p| p[KINDS + 2] = 1, item("value length", 2));
    check_block(|p| p[KINDS + 2] = 4, item("value length", 2));
    check_block(|p| p[KINDS + 2] = 1 << 4, item("kind", 2));
    check_block(|p| p[KINDS] |= 1 << 3, item("kind", 0));
    assert_eq!(unsupported("x", 1).kind(), ErrorKind::UnsupportedFormat);
    check_block(|p| p.push(0), PayloadError::Malformed(lsm_types::columns::Malformed::new("length")));
    check_block(|p| p[2] = 200, PayloadError::Malformed(lsm_types::columns::Malformed::new("bundle table")));
}

#[test]
fn a_block_of_65535_rows_and_one_of_a_huge_value_hold() {
    let order = KeyOrder::bytewise();
    let rows: Vec<Entry> = (0_u32..65_535)
        .map(|n| Entry {
            key: n.to_be_bytes().to_vec(),
            seqno: u64::from(n % 3),
            kind: Kind::Put,
            value: Vec::new(),
        })
        .collect();
    let full =
        DataBlock::decode(Slice::from(block(&rows, RowOptions { bundle_shift: 7, tags: true }))).unwrap();
    for n in [0_u32, 1, 127, 128, 40_000, 65_534] {
        let key = n.to_be_bytes();
        assert_eq!(full.find(&order, KeyHash::of(&key), &key, SeqNo::LATEST), Some(n as usize));
    }
    let long = [
        Entry { key: vec![1; 65_535], seqno: 0, kind: Kind::Put, value: vec![7; 1 << 20] },
        Entry { key: vec![2], seqno: SeqNo::MAX_WRITE.get(), kind: Kind::Put, value: Vec::new() },
    ];
    let huge = DataBlock::decode(Slice::from(block(&long, RowOptions::default()))).unwrap();
    assert_eq!(huge.value(0).len(), 1 << 20);
    assert_eq!(huge.find(&order, KeyHash::of(&[2]), &[2], SeqNo::LATEST), Some(1));
    assert_eq!(huge.find(&order, KeyHash::of(&[2]), &[2], SeqNo::MAX_WRITE), None);
}
