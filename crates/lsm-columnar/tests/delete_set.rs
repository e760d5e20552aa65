//! Sets of dead rows against a plain set.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

use std::collections::BTreeSet;

use lsm_columnar::{Bitmap, ColumnarError, DeleteSet};
use proptest::prelude::*;

const ROWS: u64 = 140_000;

fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..ROWS, prop_oneof![Just(1_u64), 1_u64..300, 1_u64..80_000]), 0..12)
}

fn build(ranges: &[(u64, u64)]) -> (DeleteSet, BTreeSet<u64>) {
    let (mut set, mut plain) = (DeleteSet::new(ROWS).unwrap(), BTreeSet::new());
    for &(start, len) in ranges {
        let range = start..(start + len).min(ROWS);
        let added = range.clone().filter(|row| plain.insert(*row)).count();
        assert_eq!(set.insert(range), Ok(added as u64));
    }
    (set, plain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn a_set_is_its_rows(a in ranges(), b in ranges(), from in 0..ROWS) {
        let (mut set, mut plain) = build(&a);
        let (other, others) = build(&b);
        set.union(&other).unwrap();
        plain.extend(others);
        prop_assert_eq!(set.cardinality(), plain.len() as u64);
        prop_assert_eq!(set.is_empty(), plain.is_empty());
        prop_assert_eq!(set.rank(from), plain.range(..from).count() as u64);
        prop_assert_eq!(set.contains(from), plain.contains(&from));
        let found: Vec<u64> = set.ranges(from).flatten().collect();
        prop_assert_eq!(found, plain.range(from..).copied().collect::<Vec<_>>());
        prop_assert!(set.ranges(0).zip(set.ranges(0).skip(1)).all(|(one, two)| one.end < two.start));

        let mut selection = Bitmap::all(3000);
        set.mask(from, &mut selection);
        prop_assert!((0..3000).all(|row| selection.contains(row) != plain.contains(&(from + row as u64))));

        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        prop_assert_eq!(&DeleteSet::decode(&bytes, ROWS, set.cardinality()).unwrap(), &set);
        prop_assert!(DeleteSet::decode(&bytes, ROWS, set.cardinality() + 1).is_err());
        if let Some(&last) = plain.last() {
            prop_assert_eq!(DeleteSet::decode(&bytes, last, set.cardinality()), Err(ColumnarError::Row { row: last, rows: last }));
        }
        // However a set came about, its bytes are the same.
        let mut again = DeleteSet::new(ROWS).unwrap();
        for &row in &plain {
            again.insert(row..row + 1).unwrap();
        }
        let mut rebuilt = Vec::new();
        again.encode(&mut rebuilt);
        prop_assert_eq!(rebuilt, bytes);
    }
}

#[test]
fn a_set_knows_its_table() {
    let mut set = DeleteSet::new(10).unwrap();
    assert_eq!(set.insert(8..11), Err(ColumnarError::Row { row: 10, rows: 10 }));
    assert_eq!((set.insert(3..3), set.insert(8..10), set.cardinality()), (Ok(0), Ok(2), 2));
    assert!(set.union(&DeleteSet::new(11).unwrap()).is_err());
    assert!(!set.contains(1 << 40) && set.rank(0) == 0 && set.rank(u64::MAX) == 2);
    let mut whole = DeleteSet::new(1 << 32).unwrap();
    assert_eq!(whole.insert(0..1 << 32), Ok(1 << 32));
    assert_eq!((whole.cardinality(), whole.ranges(5).next()), (1 << 32, Some(5..1 << 32)));
    assert!(DeleteSet::new((1 << 32) + 1).is_err());
}
