//! Row groups: what was put in comes out, of the right page, and nothing else is accepted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use common::{TYPES, difference, seeds_of};
use lsm_columnar::{
    Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Datum, EncodingSet, GROUP_INLINE_MAX,
    GroupDirectory, GroupEncoder, GroupHead, PagePlace, Schema,
};
use lsm_types::SeqNo;
use proptest::prelude::*;

fn head(ordinal: u32, rows: usize) -> GroupHead {
    GroupHead {
        ordinal,
        rows: u32::try_from(rows).unwrap(),
        schema_id: 1,
        seqno_min: SeqNo::new(5).unwrap(),
        seqno_max: SeqNo::new(9).unwrap(),
    }
}

/// Keys, numbers, kinds, opaque values, and a column of each type.
fn columns(rows: usize) -> impl Strategy<Value = Vec<(ColumnId, ColumnVector)>> {
    let consumer: Vec<_> = TYPES.into_iter().map(|ty| seeds_of(ty, rows)).collect();
    consumer.prop_map(move |seeds| {
        let rows = seeds.iter().map(|seeds| seeds.seeds.len()).min().unwrap();
        let mut keys = ColumnVector::new(ColumnType::Bytes);
        let mut numbers = ColumnVector::new(ColumnType::U64);
        let mut opaque = ColumnVector::new(ColumnType::Bytes);
        for row in 0..rows {
            keys.push(format!("key {row:05}").as_str().into()).unwrap();
            numbers.push(Datum::U64(5 + row as u64 % 5)).unwrap();
            opaque.push(Datum::Null).unwrap();
        }
        let mut columns = vec![(ColumnId::KEY, keys), (ColumnId::SEQNO, numbers), (ColumnId::OPAQUE, opaque)];
        for (idx, mut seeds) in seeds.into_iter().enumerate() {
            seeds.seeds.truncate(rows);
            columns.push((ColumnId::new(16 + u16::try_from(idx).unwrap()), seeds.vector()));
        }
        columns
    })
}

fn schema() -> Schema {
    let columns = TYPES.into_iter().zip(16..);
    Schema::new(
        columns.map(|(ty, id)| Column::new(ColumnId::new(id), format!("c{id}"), ty).nullable()).collect(),
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Proves F-113.
    #[test]
    fn groups_give_back_what_was_put_in(columns in columns(120), per_part in 1_u16..130, is_apart in any::<bool>()) {
        let rows = columns[0].1.len();
        let given: Vec<_> = columns.iter().map(|(id, vector)| (*id, vector)).collect();
        let group = GroupEncoder::new(per_part, EncodingSet::ALL).encode(3, &given).unwrap();
        let head = head(3, rows);
        let mut payload = Vec::new();
        let mut frames = Vec::new();
        if is_apart {
            let mut at = 100;
            for (_, _, page) in group.pages() {
                let place = PagePlace { offset: at, stored_len: 32 + u32::try_from(page.len()).unwrap(), codec: 1, dictionary_slot: 2 };
                at += place.stored_len;
                frames.push((place, page.to_vec()));
            }
            let places: Vec<PagePlace> = frames.iter().map(|(place, _)| *place).collect();
            group.write_directory(&head, &places, &mut payload).unwrap();
            prop_assert!(group.write_directory(&head, &places[1..], &mut Vec::new()).is_err());
        } else {
            group.write_inline(&head, &mut payload).unwrap();
        }
        let schema = schema();
        let directory = GroupDirectory::decode(&payload, Some(&schema)).unwrap();
        prop_assert_eq!(directory.head(), &head);
        prop_assert_eq!(directory.is_inline(), !is_apart);
        prop_assert_eq!(directory.part_count(), rows.div_ceil(per_part.into()));
        prop_assert_eq!(directory.columns().len(), columns.len());
        for (id, vector) in &columns {
            let mut decoded = ColumnVector::new(vector.ty());
            for part in 0..directory.part_count() {
                let entry = directory.page(*id, part).unwrap();
                let bytes = if is_apart {
                    &frames.iter().find(|(place, _)| place.offset == entry.offset).unwrap().1
                } else {
                    directory.inline_page(&payload, entry)
                };
                prop_assert_eq!(entry.zone.is_none(), *id == ColumnId::OPAQUE);
                let page = directory.open_page(entry, bytes).unwrap();
                prop_assert_eq!(page.rows(), directory.part_rows(part).len());
                page.decode(bytes, &mut decoded).unwrap();
                // No page stands in for another, not even one of the same length.
                for other in directory.pages().iter().filter(|other| *other != entry) {
                    prop_assert!(directory.open_page(other, bytes).is_err());
                }
            }
            prop_assert_eq!(difference(vector, &decoded), None);
            if let Some(zone) = directory.zone(*id) {
                prop_assert_eq!(zone.null_count(), vector.null_count() as u64);
                prop_assert_eq!(zone.rows(), rows as u64);
            }
        }
        for row in 0..rows {
            prop_assert!(directory.part_rows(directory.part_of(u32::try_from(row).unwrap())).contains(&row));
        }
        prop_assert!(GroupDirectory::decode(&payload, None).is_err());
    }
}

#[test]
fn groups_have_rules() {
    let mut one = ColumnVector::new(ColumnType::U8);
    one.push(Datum::U64(1)).unwrap();
    let mut two = one.clone();
    two.push(Datum::U64(2)).unwrap();
    let empty = ColumnVector::new(ColumnType::U8);
    let (a, b) = (ColumnId::new(16), ColumnId::new(17));
    let mut encoder = GroupEncoder::new(1024, EncodingSet::ALL);
    assert_eq!(encoder.encode(0, &[(a, &one), (b, &two)]).unwrap_err(), ColumnarError::NoColumn);
    assert_eq!(encoder.encode(0, &[(b, &one), (a, &one)]).unwrap_err(), ColumnarError::NoColumn);
    assert_eq!(encoder.encode(0, &[(a, &one), (a, &one)]).unwrap_err(), ColumnarError::NoColumn);
    assert!(matches!(encoder.encode(0, &[(a, &empty)]).unwrap_err(), ColumnarError::PageTooLarge { .. }));
    assert!(encoder.encode(0, &[]).is_err());
    assert!(encoder.encode(0, &[(a, &one), (b, &one)]).unwrap().is_small());
    let mut wide = ColumnVector::new(ColumnType::Bytes);
    wide.push(Datum::Bytes(&vec![7; GROUP_INLINE_MAX])).unwrap();
    assert!(!encoder.encode(0, &[(a, &wide)]).unwrap().is_small());
}

/// Every field of a directory is held to the others: no change of a byte goes by with other pages in view.
#[test]
fn a_changed_directory_is_refused_or_decodes_the_same_way() {
    let mut numbers = ColumnVector::new(ColumnType::U32);
    let mut texts = ColumnVector::new(ColumnType::Utf8);
    for row in 0..40_u64 {
        numbers.push(if row % 7 == 0 { Datum::Null } else { Datum::U64(row * row) }).unwrap();
        texts.push(format!("text {}", row % 3).as_str().into()).unwrap();
    }
    let schema = Schema::new(vec![
        Column::new(ColumnId::new(16), "number", ColumnType::U32).nullable(),
        Column::new(ColumnId::new(17), "text", ColumnType::Utf8),
    ])
    .unwrap();
    let columns = [(ColumnId::new(16), &numbers), (ColumnId::new(17), &texts)];
    let group = GroupEncoder::new(16, EncodingSet::ALL).encode(1, &columns).unwrap();
    let mut payload = Vec::new();
    group.write_inline(&head(1, 40), &mut payload).unwrap();
    for len in 0..payload.len() {
        assert!(
            GroupDirectory::decode(&payload[..len], Some(&schema)).is_err() || len == group.directory_len()
        );
    }
    let original = GroupDirectory::decode(&payload, Some(&schema)).unwrap();
    let mut accepted = 0;
    for at in 0..group.directory_len() {
        for bit in 0..8 {
            let mut changed = payload.clone();
            changed[at] ^= 1 << bit;
            let Ok(directory) = GroupDirectory::decode(&changed, Some(&schema)) else { continue };
            accepted += 1;
            for (before, entry) in original.pages().iter().zip(directory.pages()) {
                assert_eq!((before.offset, before.stored_len), (entry.offset, entry.stored_len));
                let bytes = directory.inline_page(&changed, entry);
                if let Ok(page) = directory.open_page(entry, bytes) {
                    let mut decoded = ColumnVector::new(page.ty());
                    page.decode(bytes, &mut decoded).unwrap();
                }
            }
        }
    }
    // Ordinal, schema id, bounds of numbers, encodings, the flag "sorted", bounds of zones: the checks of the frame.
    assert!(accepted < group.directory_len() * 3, "{accepted} of {} changes", group.directory_len() * 8);
}
