//! Bundled keys against a plain sorted vector, through the public door.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use std::{cmp::Ordering, sync::Arc};

use lsm_types::{
    Comparator, KeyOrder,
    columns::{BundledKeys, KeyBuf, KeysWriter, Layout, Malformed, Point},
};
use proptest::prelude::*;

/// Shorter keys first, equal lengths from high to low: no prefix rule holds.
struct LengthFirst;

impl Comparator for LengthFirst {
    fn name(&self) -> &'static str {
        "test.length-first"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| b.cmp(a))
    }
}

fn orders() -> [KeyOrder; 2] {
    [KeyOrder::bytewise(), KeyOrder::new(Arc::new(LengthFirst))]
}

fn encode(keys: &[Vec<u8>], shift: u8) -> (Vec<u8>, KeysWriter) {
    let mut writer = KeysWriter::new(shift);
    for (row, key) in keys.iter().enumerate() {
        if row > 0 && keys[row - 1] == *key && !writer.at_bundle_head() {
            writer.repeat();
        } else {
            writer.push(key);
        }
        assert_eq!(writer.last(), key);
    }
    let mut payload = Vec::new();
    writer.write_columns(&mut payload);
    writer.write_heap(&mut payload);
    (payload, writer)
}

fn parse(writer: &KeysWriter, payload: &[u8]) -> Result<BundledKeys, Malformed> {
    let mut layout = Layout::new(0, payload.len());
    let mut keys = BundledKeys::place(writer.shape(), &mut layout)?;
    keys.place_heap(&mut layout)?;
    layout.finish()?;
    keys.check(payload)?;
    Ok(keys)
}

/// First row with the same key in the same bundle.
fn owner(keys: &[Vec<u8>], shift: u8, row: usize) -> usize {
    let first = row >> shift << shift;
    (first..=row).rev().take_while(|&other| keys[other] == keys[row]).last().unwrap()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0_u8), 2 => Just(0xFF), 2 => b'a'..b'd'];
    let stem = prop_oneof![Just(&b""[..]), Just(&b"user/"[..]), Just(&b"user/0000/0000/0000"[..])];
    (stem, prop::collection::vec(byte, 1..20)).prop_map(|(stem, tail)| [stem, &tail[..]].concat())
}

proptest! {
    #[test]
    fn keys_come_back_and_searches_agree_with_a_sorted_vector(
        mut keys in prop::collection::vec(key(), 1..80),
        mut probes in prop::collection::vec(key(), 1..20),
        repeats in prop::collection::vec(0_usize..6, 80),
        shift in 0_u8..6,
        newer in 0_usize..6,
    ) {
        probes.extend(keys.iter().take(20).cloned());
        for order in orders() {
            keys.sort_by(|a, b| order.compare(a, b));
            keys.dedup();
            let rows: Vec<Vec<u8>> = keys
                .iter()
                .zip(&repeats)
                .flat_map(|(key, &more)| std::iter::repeat_n(key.clone(), 1 + more))
                .collect();
            let (payload, writer) = encode(&rows, shift);
            prop_assert_eq!(payload.len(), writer.encoded_len());
            let parsed = parse(&writer, &payload).unwrap();

            let mut buf = KeyBuf::new();
            for (row, key) in rows.iter().enumerate() {
                let stored = owner(&rows, shift, row);
                parsed.key(&payload, stored, &mut buf);
                prop_assert_eq!(buf.as_slice(), key);
                prop_assert!(parsed.key_is(&payload, stored, key));
                prop_assert_eq!(parsed.key_len(&payload, stored), key.len());
            }

            let bundle_heads = parsed.bundle_heads(&payload);
            let row_heads: Vec<u64> =
                (0..rows.len()).map(|row| parsed.head(&payload, owner(&rows, shift, row))).collect();
            for probe in &probes {
                // The first `newer` rows of a key lie before the point, the others behind it.
                let is_before = |row: usize| {
                    let first = rows.iter().position(|key| *key == rows[row]).unwrap();
                    row - first < newer
                };
                let expected = rows
                    .iter()
                    .enumerate()
                    .position(|(row, key)| match order.compare(key, probe) {
                        Ordering::Less => false,
                        Ordering::Equal => !is_before(row),
                        Ordering::Greater => true,
                    })
                    .unwrap_or(rows.len());
                let point = Point { key: probe, owner: |row| owner(&rows, shift, row), is_before };
                prop_assert_eq!(parsed.lower_bound(&payload, &bundle_heads, &order, &point), expected);
                prop_assert_eq!(parsed.lower_bound_by_heads(&payload, &row_heads, &order, &point), expected);
            }
        }
    }

    /// Proves F-29.
    #[test]
    fn damaged_columns_are_refused_or_harmless(
        keys in prop::collection::vec(key(), 1..40),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut payload, writer) = encode(&keys, 2);
        for (at, byte) in hits {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let Ok(parsed) = parse(&writer, &payload) else { return Ok(()) };
        let mut buf = KeyBuf::new();
        for row in 0..parsed.rows() {
            parsed.key(&payload, row, &mut buf);
            prop_assert_eq!(buf.as_slice().len(), parsed.key_len(&payload, row));
        }
        let heads = parsed.bundle_heads(&payload);
        for order in orders() {
            let point = Point { key: &keys[0], owner: |row| row, is_before: |_| true };
            prop_assert!(parsed.lower_bound(&payload, &heads, &order, &point) <= keys.len());
        }
    }
}

#[test]
fn shared_parts_are_stored_once() {
    let keys: Vec<Vec<u8>> = (0..32).map(|n| format!("table/7/row/{n:04}").into_bytes()).collect();
    let (payload, writer) = encode(&keys, 4);
    assert_eq!(writer.shape().prefix_len, b"table/7/row/00".len());
    // The prefix, two bundles that share nothing more, and per row one byte of key end and two of suffix.
    assert_eq!(payload.len(), 14 + 2 * 6 + 32 * (1 + 2));
}

#[test]
fn an_empty_set_has_no_bytes() {
    let (payload, writer) = encode(&[], 4);
    assert!(payload.is_empty() && parse(&writer, &payload).unwrap().rows() == 0);
}
