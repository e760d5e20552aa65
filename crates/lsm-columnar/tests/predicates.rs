//! Predicates on encoded pages and on zones, against rows looked at one by one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::cmp::Ordering;

use common::{Seeds, TYPES, any_type, encode, open, seeds_of, with_datum};
use lsm_columnar::{
    Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Comparison, Datum, Encoding, EncodingSet,
    Predicate, Schema, Zone, ZoneAnswer,
};
use proptest::prelude::*;

const A: ColumnId = ColumnId::new(21);
const B: ColumnId = ColumnId::new(22);
const GONE: ColumnId = ColumnId::new(23);

/// The order of values that is promised; unknown beside a null.
fn order(a: Datum<'_>, b: Datum<'_>) -> Option<Ordering> {
    let floats = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    Some(match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(&b),
        (Datum::U64(a), Datum::U64(b)) => a.cmp(&b),
        (Datum::I64(a), Datum::I64(b)) => a.cmp(&b),
        (Datum::U128(a), Datum::U128(b)) => a.cmp(&b),
        (Datum::I128(a), Datum::I128(b)) => a.cmp(&b),
        (Datum::F32(a), Datum::F32(b)) => floats(a.into(), b.into()),
        (Datum::F64(a), Datum::F64(b)) => floats(a, b),
        (Datum::Bytes(a), Datum::Bytes(b)) => a.cmp(b),
        _ => return None,
    })
}

/// Truth of a predicate for one row, by the book.
fn truth(predicate: &Predicate<'_>, row: &dyn Fn(ColumnId) -> Datum<'static>) -> Option<bool> {
    let compare = |id: ColumnId, comparison: Comparison, datum: Datum<'_>| {
        order(row(id), datum).map(|order| match comparison {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        })
    };
    let any = |truths: &mut dyn Iterator<Item = Option<bool>>| {
        let truths: Vec<Option<bool>> = truths.collect();
        if truths.contains(&Some(true)) {
            return Some(true);
        }
        if truths.contains(&None) { None } else { Some(false) }
    };
    match predicate {
        Predicate::Compare(id, comparison, datum) => compare(*id, *comparison, *datum),
        Predicate::Between(id, lower, upper) => {
            let sides = [compare(*id, Comparison::Lt, *lower), compare(*id, Comparison::Gt, *upper)];
            any(&mut sides.into_iter()).map(|outside| !outside)
        }
        Predicate::In(id, list) => any(&mut list.iter().map(|datum| compare(*id, Comparison::Eq, *datum))),
        Predicate::Prefix(id, prefix) => match row(*id) {
            Datum::Bytes(bytes) => Some(bytes.starts_with(prefix)),
            _ => None,
        },
        Predicate::IsNull(id) => Some(row(*id).is_null()),
        Predicate::IsNotNull(id) => Some(!row(*id).is_null()),
        Predicate::Or(nodes) => any(&mut nodes.iter().map(|node| truth(node, row))),
        Predicate::And(nodes) => {
            any(&mut nodes.iter().map(|node| truth(node, row).map(|truth| !truth))).map(|any| !any)
        }
        Predicate::Not(node) => truth(node, row).map(|truth| !truth),
        _ => None,
    }
}

/// The value a seed stands for, for as long as the test runs.
fn datum(ty: ColumnType, seed: u64) -> Datum<'static> {
    with_datum(ty, seed, keep)
}

fn keep(datum: Datum<'_>) -> Datum<'static> {
    match datum {
        Datum::Bytes(bytes) => Datum::Bytes(bytes.to_vec().leak()),
        Datum::Bool(value) => Datum::Bool(value),
        Datum::U64(value) => Datum::U64(value),
        Datum::I64(value) => Datum::I64(value),
        Datum::U128(value) => Datum::U128(value),
        Datum::I128(value) => Datum::I128(value),
        Datum::F32(value) => Datum::F32(value),
        Datum::F64(value) => Datum::F64(value),
        _ => Datum::Null,
    }
}

/// A column's type and some of its values: those of the column, and others.
type Values = Vec<Datum<'static>>;

fn leaf(id: ColumnId, values: Values) -> BoxedStrategy<Predicate<'static>> {
    let value = prop::sample::select(values);
    let comparison = prop::sample::select(vec![
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Le,
        Comparison::Gt,
        Comparison::Ge,
    ]);
    prop_oneof![
        4 => (comparison, value.clone()).prop_map(move |(comparison, datum)| Predicate::Compare(id, comparison, datum)),
        2 => (value.clone(), value.clone()).prop_map(move |(lower, upper)| Predicate::Between(id, lower, upper)),
        2 => prop::collection::vec(value.clone(), 0..9).prop_map(move |list| Predicate::In(id, list)),
        1 => Just(Predicate::IsNull(id)),
        1 => Just(Predicate::IsNotNull(id)),
        1 => (value, 0_usize..4).prop_map(move |(datum, len)| match datum {
            Datum::Bytes(bytes) => Predicate::Prefix(id, &bytes[..len.min(bytes.len())]),
            _ => Predicate::IsNotNull(id),
        }),
    ]
    .boxed()
}

fn tree(a: Values, b: Values, gone: Values) -> impl Strategy<Value = Predicate<'static>> {
    prop_oneof![3 => leaf(A, a), 2 => leaf(B, b), 1 => leaf(GONE, gone)].prop_recursive(3, 12, 3, |node| {
        prop_oneof![
            prop::collection::vec(node.clone(), 0..3).prop_map(Predicate::And),
            prop::collection::vec(node.clone(), 0..3).prop_map(Predicate::Or),
            node.prop_map(|node| Predicate::Not(Box::new(node))),
        ]
    })
}

fn candidates(column: &Seeds, others: &[u64]) -> Values {
    let own = column.seeds.iter().flatten().take(40).flat_map(|&seed| [seed, seed.wrapping_add(1)]);
    let edges = [0, 1, 1 << 31, 1 << 63, 0x7FF8_0000_0000_0000, 0x7FC0_0000, u64::MAX];
    let seeds = own.chain(others.iter().copied()).chain(edges);
    seeds.map(|seed| datum(column.ty, seed)).chain([Datum::Null]).collect()
}

fn cases() -> impl Strategy<Value = (Seeds, Seeds, Predicate<'static>, usize)> {
    (any_type(), any_type(), prop::collection::vec(any::<u64>(), 4)).prop_flat_map(|(a, b, others)| {
        (seeds_of(a, 200), seeds_of(b, 200)).prop_flat_map(move |(mut a, mut b)| {
            let rows = a.seeds.len().min(b.seeds.len());
            a.seeds.truncate(rows);
            b.seeds.truncate(rows);
            let predicates =
                tree(candidates(&a, &others), candidates(&b, &others), vec![Datum::I64(5), Datum::I64(6)]);
            (Just(a), Just(b), predicates, 0_usize..=Encoding::ALL.len())
        })
    })
}

fn schema(a: ColumnType, b: ColumnType) -> Schema {
    let gone = Column::new(GONE, "gone", ColumnType::I64).with_default(Datum::I64(5)).unwrap();
    Schema::new(vec![Column::new(A, "a", a).nullable(), Column::new(B, "b", b).nullable(), gone]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Proves F-127.
    /// Fault: formats W-9.
    #[test]
    fn predicates_select_the_rows_that_are_true((a, b, predicate, encoding) in cases()) {
        let (left, right) = (a.vector(), b.vector());
        let allowed = Encoding::ALL.get(encoding).map_or(EncodingSet::ALL, |one| EncodingSet::of(&[*one]));
        let (left_info, left_bytes) = encode(&left, allowed);
        let (right_info, right_bytes) = encode(&right, allowed);
        let (left_page, right_page) = (open(&left, &left_bytes), open(&right, &right_bytes));
        let bound = predicate.bind(&schema(a.ty, b.ty)).unwrap();
        let found = bound.select::<ColumnarError>(left.len(), |id| Ok(match id {
            A => Some((&left_page, &left_bytes[..])),
            B => Some((&right_page, &right_bytes[..])),
            _ => None,
        })).unwrap();
        let truths: Vec<bool> = (0..left.len()).map(|row| {
            truth(&predicate, &|id| match id {
                A => keep(left.get(row)),
                B => keep(right.get(row)),
                _ => Datum::I64(5),
            }) == Some(true)
        }).collect();
        for (row, expected) in truths.iter().enumerate() {
            let holds = bound.holds(|id| match id {
                A => left.get(row),
                B => right.get(row),
                _ => Datum::I64(5),
            });
            prop_assert_eq!(holds, *expected, "row {} by itself, {:?}", row, predicate);
            prop_assert_eq!(found.contains(row), *expected, "row {} of {:?}, {:?}", row, left_info.encoding, predicate);
        }
        let zone = |id: ColumnId| -> Option<&Zone> {
            match id {
                A => Some(&left_info.zone),
                B => Some(&right_info.zone),
                _ => None,
            }
        };
        match bound.check_zones(zone) {
            ZoneAnswer::All => prop_assert!(found.is_all()),
            ZoneAnswer::None => prop_assert!(found.is_none()),
            ZoneAnswer::Some => {}
        }
    }
}

#[track_caller]
fn check_zone(vector: &ColumnVector, predicate: &Predicate<'_>, expected: ZoneAnswer) {
    let (info, _) = encode(vector, EncodingSet::ALL);
    let column = Column::new(A, "a", vector.ty()).nullable();
    let bound = predicate.bind(&Schema::new(vec![column]).unwrap()).unwrap();
    assert_eq!(bound.check_zones(|_| Some(&info.zone)), expected);
    let blind = if bound.columns().is_empty() { expected } else { ZoneAnswer::Some };
    assert_eq!(bound.check_zones(|_| None), blind);
}

/// Zones settle what they can: not only are they right, they skip.
#[test]
fn zones_skip_what_lies_outside() {
    let vector = |ty, data: &[Datum<'_>]| {
        let mut vector = ColumnVector::new(ty);
        for datum in data {
            vector.push(*datum).unwrap();
        }
        vector
    };
    let numbers = vector(ColumnType::I16, &[Datum::I64(-5), Datum::I64(9)]);
    let with_null = vector(ColumnType::I16, &[Datum::I64(-5), Datum::Null, Datum::I64(9)]);
    let compare = |comparison, value| Predicate::Compare(A, comparison, Datum::I64(value));
    let (all, some, none) = (ZoneAnswer::All, ZoneAnswer::Some, ZoneAnswer::None);
    for (predicate, answer, with_nulls) in [
        (compare(Comparison::Gt, 9), none, none),
        (compare(Comparison::Ge, 9), some, some),
        (compare(Comparison::Ge, -5), all, some),
        (compare(Comparison::Lt, -5), none, none),
        (compare(Comparison::Le, 9), all, some),
        (compare(Comparison::Eq, 10), none, none),
        (compare(Comparison::Ne, 10), all, some),
        (compare(Comparison::Ne, 0), some, some),
        (Predicate::Between(A, Datum::I64(-5), Datum::I64(9)), all, some),
        (Predicate::Between(A, Datum::I64(10), Datum::I64(20)), none, none),
        (Predicate::In(A, vec![Datum::I64(-6), Datum::I64(10)]), none, none),
        (Predicate::IsNull(A), none, some),
        (Predicate::IsNotNull(A), all, some),
        (Predicate::Not(Box::new(compare(Comparison::Gt, 9))), all, some),
        (Predicate::And(vec![compare(Comparison::Ge, -5), compare(Comparison::Gt, 9)]), none, none),
        (Predicate::Or(vec![compare(Comparison::Ge, -5), compare(Comparison::Gt, 9)]), all, some),
        (Predicate::And(vec![]), all, all),
        (Predicate::Or(vec![]), none, none),
    ] {
        check_zone(&numbers, &predicate, answer);
        check_zone(&with_null, &predicate, with_nulls);
    }
    let long = "m".repeat(70);
    let texts = vector(ColumnType::Utf8, &["k".into(), long.as_str().into()]);
    check_zone(&texts, &Predicate::Prefix(A, b"n"), none);
    check_zone(&texts, &Predicate::Prefix(A, b"m"), some);
    check_zone(&texts, &Predicate::Compare(A, Comparison::Gt, "n".into()), none);
    // The maximum was cut, so what lies just above it cannot be excluded.
    check_zone(&texts, &Predicate::Compare(A, Comparison::Gt, long.as_str().into()), some);
    check_zone(&texts, &Predicate::Compare(A, Comparison::Ge, "k".into()), all);
    let ones = vector(ColumnType::Bytes, &[Datum::Bytes(&[0xFF; 65])]);
    check_zone(&ones, &Predicate::Compare(A, Comparison::Gt, Datum::Bytes(&[0xFF; 80])), some);
    check_zone(&ones, &Predicate::Compare(A, Comparison::Lt, Datum::Bytes(&[0xFE])), none);
    check_zone(&ones, &Predicate::Compare(A, Comparison::Gt, Datum::Bytes(&[0xFE])), all);
    check_zone(
        &vector(ColumnType::U8, &[Datum::Null]),
        &Predicate::Compare(A, Comparison::Ge, Datum::U64(0)),
        none,
    );
    check_zone(&vector(ColumnType::U8, &[Datum::Null]), &Predicate::IsNull(A), all);
}

/// Neither a list without values nor a range beside a null leaves open what is certain.
#[test]
fn what_is_known_beside_nulls() {
    let seeds = Seeds { ty: ColumnType::I64, seeds: vec![Some(3), None, Some(8)] };
    let vector = seeds.vector();
    let (_, bytes) = encode(&vector, EncodingSet::ALL);
    let page = open(&vector, &bytes);
    let rows = |predicate: Predicate<'_>| {
        let bound = predicate.bind(&schema(ColumnType::I64, ColumnType::I64)).unwrap();
        let found = bound.select::<ColumnarError>(3, |_| Ok(Some((&page, &bytes[..])))).unwrap();
        found.rows().collect::<Vec<_>>()
    };
    let not = |predicate| Predicate::Not(Box::new(predicate));
    let five = Datum::I64(5);
    assert_eq!(rows(Predicate::In(A, vec![])), [0_usize; 0]);
    assert_eq!(rows(not(Predicate::In(A, vec![]))), [0, 1, 2]);
    assert_eq!(rows(Predicate::In(A, vec![Datum::I64(3), Datum::Null])), [0]);
    assert_eq!(rows(not(Predicate::In(A, vec![Datum::I64(3), Datum::Null]))), [0_usize; 0]);
    assert_eq!(rows(Predicate::Between(A, Datum::Null, five)), [0_usize; 0]);
    assert_eq!(rows(not(Predicate::Between(A, Datum::Null, five))), [2]);
    assert_eq!(rows(not(Predicate::Compare(A, Comparison::Eq, Datum::I64(3)))), [2]);
    assert_eq!(rows(not(Predicate::Compare(A, Comparison::Eq, Datum::Null))), [0_usize; 0]);
}

#[test]
fn binding_refuses_what_makes_no_sense() {
    let schema = schema(ColumnType::U8, ColumnType::Utf8);
    let refused = |predicate: Predicate<'_>| predicate.bind(&schema).unwrap_err();
    assert_eq!(refused(Predicate::IsNull(ColumnId::new(99))), ColumnarError::NoColumn);
    assert_eq!(
        refused(Predicate::Compare(A, Comparison::Eq, Datum::U64(256))),
        ColumnarError::Type { ty: ColumnType::U8 }
    );
    assert_eq!(refused(Predicate::Prefix(A, b"x")), ColumnarError::Type { ty: ColumnType::U8 });
    let list = vec![Datum::U64(1); 1025];
    assert_eq!(refused(Predicate::In(A, list)), ColumnarError::ListTooLong { count: 1025 });
    assert_eq!(TYPES.len(), 22);
}
