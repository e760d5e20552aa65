//! Bytes of unknown origin: a typed error or an answer, never a panic, never more memory than the bytes may ask for.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use common::{SHAPES, STAMP, Seeds, TYPES, encode, open};
use lsm_columnar::{
    Bitmap, Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Comparison, Datum, DeleteSet,
    Encoding, EncodingSet, Page, Predicate, RowCells, Schema, split_image,
};
use proptest::prelude::*;

/// Small pages of every type in every encoding that takes it.
fn samples() -> Vec<(ColumnType, u32, Vec<u8>)> {
    let mut samples = Vec::new();
    for ty in TYPES {
        for (shape, nulls) in SHAPES.into_iter().zip([false, true].into_iter().cycle()) {
            let seed = |row: u64| match shape {
                common::Shape::Any => row.wrapping_mul(0xD6E8_FEB8_6659_FD93),
                common::Shape::Small => row * row % 50,
                common::Shape::Few => row % 3,
                common::Shape::Runs => row / 6,
                common::Shape::Ascending => row * 1000 + row % 3,
                common::Shape::One => 77,
            };
            let seeds = (0..37).map(|row| (!nulls || row % 5 != 0).then(|| seed(row))).collect();
            let vector = Seeds { ty, seeds }.vector();
            for encoding in Encoding::ALL {
                let (info, bytes) = encode(&vector, EncodingSet::of(&[encoding]));
                if info.encoding == encoding {
                    samples.push((ty, 37, bytes));
                }
            }
        }
    }
    samples
}

/// Whatever the bytes, opening answers, and so does everything that may be asked of an open page.
fn poke(ty: ColumnType, rows: u32, bytes: &[u8]) -> Result<(), ColumnarError> {
    let page = Page::open(STAMP, ty, rows, bytes)?;
    let mut decoded = ColumnVector::new(ty);
    page.decode(bytes, &mut decoded)?;
    assert_eq!(decoded.len(), page.rows());
    let some: Bitmap = (0..page.rows()).map(|row| row % 3 == 0).collect();
    let mut gathered = ColumnVector::new(ty);
    page.decode_selected(bytes, &some, &mut gathered)?;
    let mut scratch = Vec::new();
    for (at, row) in some.rows().enumerate() {
        let alone = page.get(bytes, row, &mut scratch);
        assert!(common::same(alone, decoded.get(row)) && common::same(alone, gathered.get(at)));
    }
    let column = Column::new(STAMP.column, "c", ty).nullable();
    let schema = Schema::new(vec![column]).unwrap();
    let value = common::with_datum(ty, 6, |datum| {
        Predicate::Compare(STAMP.column, Comparison::Le, datum).bind(&schema).unwrap()
    });
    let found = value.select::<ColumnarError>(page.rows(), |_| Ok(Some((&page, bytes))))?;
    // The encoded form and the decoded one agree even on pages nobody wrote.
    let (_, again) = encode(&decoded, EncodingSet::of(&[Encoding::Plain, Encoding::Lengths]));
    let plain = open(&decoded, &again);
    assert_eq!(found, value.select::<ColumnarError>(page.rows(), |_| Ok(Some((&plain, &again[..]))))?);
    Ok(())
}

/// Proves FI-2, F-29, F-30.
#[test]
fn cut_and_changed_pages_are_errors_or_answers() {
    let samples = samples();
    assert!(samples.len() > 250, "{} samples", samples.len());
    for (idx, (ty, rows, bytes)) in samples.iter().enumerate() {
        for len in 0..bytes.len() {
            let text =
                matches!(ty, ColumnType::Utf8 | ColumnType::Bytes) && bytes[12] == Encoding::Constant.code();
            assert!(
                poke(*ty, *rows, &bytes[..len]).is_err() || text,
                "{ty:?} cut to {len} of {}",
                bytes.len()
            );
        }
        assert_eq!(poke(*ty, *rows, bytes), Ok(()));
        for at in 0..bytes.len() {
            let values = [bytes[at] ^ 1, bytes[at] ^ 0x80, 0, 0xFF, bytes[at].wrapping_add(1)];
            let mut changed = bytes.clone();
            changed[at] = values[(idx + at) % values.len()];
            let _ = poke(*ty, *rows, &changed);
        }
    }
}

#[test]
fn a_small_page_cannot_decode_to_much() {
    // A run of 65,536 rows over a string of 8 KiB.
    let mut vector = ColumnVector::new(ColumnType::Bytes);
    vector.push(Datum::Bytes(&[b'x'; 8192])).unwrap();
    let (_, mut bytes) = encode(&vector, EncodingSet::of(&[Encoding::Constant]));
    bytes[8..12].copy_from_slice(&65_536_u32.to_le_bytes());
    let page = Page::open(STAMP, ColumnType::Bytes, 65_536, &bytes).unwrap();
    let error = page.decode(&bytes, &mut ColumnVector::new(ColumnType::Bytes)).unwrap_err();
    assert!(matches!(error, ColumnarError::PageTooLarge { .. }), "{error}");
    bytes[8..12].copy_from_slice(&65_537_u32.to_le_bytes());
    assert!(Page::open(STAMP, ColumnType::Bytes, 65_537, &bytes).is_err());
}

fn small_schema() -> Schema {
    Schema::new(vec![
        Column::new(ColumnId::new(16), "a", ColumnType::U16).with_default(Datum::U64(3)).unwrap(),
        Column::new(ColumnId::new(20), "b", ColumnType::Decimal { precision: 20, scale: 3 }).nullable(),
        Column::new(ColumnId::new(40), "c", ColumnType::Utf8).nullable().with_default("x".into()).unwrap(),
    ])
    .unwrap()
}

proptest! {
    #[test]
    fn anything_may_be_offered_as_a_page(ty in common::any_type(), rows in 1_u32..70, encoding in 0_u8..9, body in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut bytes = Vec::from(7_u32.to_le_bytes());
        bytes.extend_from_slice(&[21, 0, 3, 0]);
        bytes.extend_from_slice(&rows.to_le_bytes());
        bytes.extend_from_slice(&[encoding, u8::from(rows % 2 == 0), 0, 0]);
        bytes.extend_from_slice(&body);
        let _ = poke(ty, rows, &bytes);
    }

    /// What is accepted is the one writing of what it says.
    ///
    /// Proves FI-7.
    #[test]
    fn accepted_schemas_images_and_sets_are_canonical(at in any::<prop::sample::Index>(), value in any::<u8>(), rows in prop::collection::vec(0_u64..200_000, 0..50), run in 0_u64..100_000) {
        let mut bytes = Vec::new();
        small_schema().encode(&mut bytes);
        let place = at.index(bytes.len());
        bytes[place] = value;
        if let Ok(schema) = Schema::decode(&bytes) {
            let mut again = Vec::new();
            schema.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }

        let mut set = DeleteSet::new(200_000).unwrap();
        for &row in &rows {
            set.insert(row..row + 1).unwrap();
        }
        set.insert(run..run + 70_000).unwrap();
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let place = at.index(bytes.len());
        bytes[place] = value;
        if let Ok(set) = DeleteSet::decode(&bytes, 200_000, set.cardinality()) {
            let mut again = Vec::new();
            set.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }

        let schema = small_schema();
        let mut cells = RowCells::new();
        let mut bytes = vec![1, 0b111, 0, 9, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2, b'h', b'i'];
        prop_assert_eq!(split_image(&schema, &bytes, &mut cells), Ok(()));
        let place = at.index(bytes.len());
        bytes[place] = value;
        if split_image(&schema, &bytes, &mut cells).is_ok() {
            let mut again = Vec::new();
            lsm_columnar::assemble_image(&schema, &cells, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn anything_may_be_offered_as_a_delete_vector(mut bytes in prop::collection::vec(any::<u8>(), 0..80), runs in any::<bool>(), rows in 0_u64..100_000, cardinality in 0_u64..100) {
        if bytes.len() >= 4 {
            bytes[..2].copy_from_slice(&(if runs { 12_347_u16 } else { 12_346 }).to_le_bytes());
            if !runs {
                bytes[2..4].fill(0);
            }
        }
        let _ = DeleteSet::decode(&bytes, rows, cardinality);
    }
}
