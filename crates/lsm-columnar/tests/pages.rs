//! Every type in every encoding, whole, row by row and in part, against plain vectors.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::collections::HashSet;

use common::{TYPES, any_seeds, difference, encode, open, same};
use lsm_columnar::{
    Bitmap, ColumnId, ColumnType, ColumnVector, Datum, Encoding, EncodingSet, PAGE_HEAD_LEN, Page,
    PageEncoder, PageStamp, Values,
};
use lsm_types::KeyOrder;
use proptest::prelude::*;

/// Bytes of a column's rows, one after another, with a length of four bytes where lengths vary.
fn plain_len(vector: &ColumnVector) -> usize {
    match vector.values() {
        Values::Bool(bits) => bits.len().div_ceil(8),
        Values::Fixed { bytes, .. } => bytes.len(),
        Values::Bytes(strings) => strings.heap().len() + 4 * strings.len(),
        _ => vector.len() * vector.ty().fixed_len().unwrap(),
    }
}

#[track_caller]
fn check_page(vector: &ColumnVector, selection: &Bitmap, allowed: EncodingSet) -> Encoding {
    let (info, bytes) = encode(vector, allowed);
    let page = open(vector, &bytes);
    assert_eq!((page.rows(), page.encoding()), (vector.len(), info.encoding));
    let mut decoded = ColumnVector::new(vector.ty());
    page.decode(&bytes, &mut decoded).unwrap();
    assert_eq!(difference(vector, &decoded), None, "decoded, {:?}", info.encoding);
    // A second page goes behind the first.
    page.decode(&bytes, &mut decoded).unwrap();
    assert_eq!(decoded.len(), 2 * vector.len());
    assert_eq!(decoded.null_count(), 2 * vector.null_count());

    let mut scratch = Vec::new();
    for row in 0..vector.len() {
        assert!(
            same(page.get(&bytes, row, &mut scratch), vector.get(row)),
            "row {row} of {:?}",
            info.encoding
        );
    }
    let mut some = ColumnVector::new(vector.ty());
    page.decode_selected(&bytes, selection, &mut some).unwrap();
    // Again, behind what is there.
    page.decode_selected(&bytes, selection, &mut some).unwrap();
    let rows: Vec<usize> = selection.rows().chain(selection.rows()).collect();
    assert_eq!(some.len(), rows.len());
    for (at, &row) in rows.iter().enumerate() {
        assert!(same(some.get(at), vector.get(row)), "selected row {row} of {:?}", info.encoding);
    }

    assert_eq!(info.zone.rows(), vector.len() as u64);
    assert_eq!(info.zone.null_count(), vector.null_count() as u64);
    assert_eq!(info.is_nullable, vector.null_count() > 0);
    info.encoding
}

proptest! {
    /// Proves F-114, FI-7.
    #[test]
    fn pages_give_back_what_was_put_in(
        seeds in any_seeds(300), share in prop::sample::select(vec![0.02, 0.5, 0.95]), picks in prop::collection::vec(0.0..1.0, 300),
    ) {
        let vector = seeds.vector();
        let selection: Bitmap = picks.iter().take(vector.len()).map(|&pick: &f64| pick < share).collect();
        for encoding in Encoding::ALL {
            check_page(&vector, &selection, EncodingSet::of(&[encoding]));
        }
        check_page(&vector, &selection, EncodingSet::ALL);
        let (_, bytes) = encode(&vector, EncodingSet::ALL);
        let validity = if vector.null_count() > 0 { vector.len().div_ceil(8) } else { 0 };
        let most = plain_len(&vector) + PAGE_HEAD_LEN + validity + 22;
        prop_assert!(bytes.len() <= most, "{} bytes where plain ones take {}", bytes.len(), most);
    }
}

#[track_caller]
fn check_choice(
    seen: &mut HashSet<Encoding>,
    ty: ColumnType,
    value: impl Fn(u64) -> String,
    expected: Encoding,
) {
    let mut vector = ColumnVector::new(ty);
    for row in 0..1000 {
        let text = value(row);
        let datum = match ty {
            ColumnType::Bool => Datum::Bool(text == "1"),
            ColumnType::Utf8 => text.as_str().into(),
            ColumnType::Fixed(_) => Datum::Bytes(&text.as_bytes()[..4]),
            ColumnType::F64 => Datum::F64(text.parse().unwrap()),
            _ => Datum::I64(text.parse().unwrap()),
        };
        vector.push(datum).unwrap();
    }
    assert_eq!(check_page(&vector, &Bitmap::all(1000), EncodingSet::ALL), expected);
    seen.insert(expected);
}

/// Every encoding wins where it should, for words and for bytes.
#[test]
fn the_smallest_encoding_is_chosen() {
    let mut seen = HashSet::new();
    let mix = |row: u64| {
        let mixed = (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    };
    let i64s = ColumnType::I64;
    check_choice(&mut seen, i64s, |_| "-7".into(), Encoding::Constant);
    check_choice(&mut seen, i64s, |row| mix(row).cast_signed().to_string(), Encoding::Plain);
    check_choice(&mut seen, i64s, |row| (mix(row) % 1000).to_string(), Encoding::FrameOfReference);
    check_choice(&mut seen, i64s, |row| (row / 100 * 99).to_string(), Encoding::RunLength);
    check_choice(&mut seen, i64s, |row| ((mix(row) % 5) << 40).to_string(), Encoding::Dictionary);
    check_choice(&mut seen, i64s, |row| (row * 1_000_000 + mix(row) % 64).to_string(), Encoding::Delta);
    check_choice(&mut seen, ColumnType::Bool, |row| (mix(row) >> 63).to_string(), Encoding::Bits);
    check_choice(&mut seen, ColumnType::F64, |row| format!("{}.5", mix(row) % 3), Encoding::Dictionary);
    check_choice(&mut seen, ColumnType::Utf8, |_| "same".into(), Encoding::Constant);
    check_choice(&mut seen, ColumnType::Utf8, |row| mix(row).to_string(), Encoding::Lengths);
    check_choice(&mut seen, ColumnType::Utf8, |row| format!("city {}", mix(row) % 9), Encoding::Dictionary);
    check_choice(
        &mut seen,
        ColumnType::Utf8,
        |row| format!("a run of words {}", 9 - row / 100),
        Encoding::RunLength,
    );
    check_choice(&mut seen, ColumnType::Utf8, |row| format!("user/profile/{row:09}"), Encoding::BundledKeys);
    check_choice(&mut seen, ColumnType::Fixed(4), |row| mix(row).to_string(), Encoding::Plain);
    assert_eq!(seen.len(), Encoding::ALL.len());
}

/// Keys are stored in bundles, versions of one key once, and found without decoding.
#[test]
fn keys_are_found_where_they_lie() {
    let order = KeyOrder::bytewise();
    let mut vector = ColumnVector::new(ColumnType::Bytes);
    let mut keys: Vec<(String, u64)> = Vec::new();
    for key in 0..200_u64 {
        for version in 0..=(key % 7) * (key % 3) {
            keys.push((format!("user/{:04}/{}", key * 3, "x".repeat((key % 5) as usize)), 100 - version));
            vector.push(keys.last().unwrap().0.as_str().into()).unwrap();
        }
    }
    let stamp = PageStamp { group: 1, column: ColumnId::KEY, part: 0 };
    let mut bytes = Vec::new();
    let info =
        PageEncoder::new(EncodingSet::ALL).encode(stamp, &vector, 0..vector.len(), &mut bytes).unwrap();
    assert_eq!(info.encoding, Encoding::BundledKeys);
    let page = Page::open(stamp, ColumnType::Bytes, u32::try_from(keys.len()).unwrap(), &bytes).unwrap();
    let stored = page.as_keys().unwrap();
    for wanted in 0..620_u64 {
        for suffix in ["", "x", "xxxx", "z"] {
            let wanted = format!("user/{wanted:04}/{suffix}");
            for bound in [0, 95, 99, 101] {
                let first = keys.partition_point(|(key, version)| {
                    (key.as_str(), u64::MAX - version) < (&wanted, u64::MAX - bound)
                });
                let is_before = |row: usize| keys[row].1 > bound;
                assert_eq!(stored.lower_bound(&bytes, &order, wanted.as_bytes(), is_before), first);
                let hit = keys.get(first).is_some_and(|(key, _)| *key == wanted).then_some(first);
                assert_eq!(stored.find(&bytes, &order, wanted.as_bytes(), is_before), hit);
            }
        }
    }
    let repeats = (0..keys.len()).filter(|&row| stored.is_repeat(&bytes, row)).count();
    assert!(repeats > 300 && bytes.len() < keys.len() * 5, "{repeats} repetitions, {} bytes", bytes.len());
}

#[test]
fn a_page_has_one_place_and_one_type() {
    for ty in TYPES {
        let vector = common::Seeds { ty, seeds: vec![Some(1), None, Some(2)] }.vector();
        let (_, bytes) = encode(&vector, EncodingSet::ALL);
        let at = |group, column, part| PageStamp { group, column: ColumnId::new(column), part };
        for stamp in [at(8, 21, 3), at(7, 22, 3), at(7, 21, 4)] {
            let error = Page::open(stamp, ty, 3, &bytes).unwrap_err();
            assert!(matches!(error, lsm_columnar::ColumnarError::Misplaced { .. }), "{error}");
        }
        assert!(Page::open(at(7, 21, 3), ty, 4, &bytes).is_err());
        let mut other = ColumnVector::new(if ty == ColumnType::U8 { ColumnType::I8 } else { ColumnType::U8 });
        assert!(open(&vector, &bytes).decode(&bytes, &mut other).is_err());
    }
}

/// A value repeated under nulls does not make a page decode to many times its bytes.
#[test]
fn nulls_weigh_nothing() {
    let mut vector = ColumnVector::new(ColumnType::Bytes);
    vector.push(Datum::Bytes(&vec![b'x'; 1 << 20])).unwrap();
    vector.push_nulls(65_535).unwrap();
    let (_, bytes) = encode(&vector, EncodingSet::ALL);
    let mut decoded = ColumnVector::new(ColumnType::Bytes);
    open(&vector, &bytes).decode(&bytes, &mut decoded).unwrap();
    assert_eq!(difference(&vector, &decoded), None);
    assert!(decoded.heap_bytes() < 2 << 20, "{}", decoded.heap_bytes());
}

#[test]
fn a_page_has_limits() {
    let mut vector = ColumnVector::new(ColumnType::U8);
    vector.push_nulls(65_537).unwrap();
    let mut encoder = PageEncoder::new(EncodingSet::ALL);
    let mut bytes = vec![1];
    assert!(encoder.encode(common::STAMP, &vector, 0..65_537, &mut bytes).is_err());
    assert!(encoder.encode(common::STAMP, &vector, 5..5, &mut bytes).is_err());
    assert!(encoder.encode(common::STAMP, &vector, 65_000..65_538, &mut bytes).is_err());
    assert_eq!(bytes, [1]);
    assert!(encoder.encode(common::STAMP, &vector, 1..65_537, &mut bytes).is_ok());
}
