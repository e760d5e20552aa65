//! Columns of every type and shape, for models to be held against.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a test should fail where it fails"
)]

use lsm_columnar::{
    ColumnId, ColumnType, ColumnVector, Datum, EncodingSet, Page, PageEncoder, PageInfo, PageStamp,
};
use proptest::prelude::*;

/// Every type, with parameters at their ends.
pub(crate) const TYPES: [ColumnType; 22] = [
    ColumnType::Bool,
    ColumnType::U8,
    ColumnType::U16,
    ColumnType::U32,
    ColumnType::U64,
    ColumnType::U128,
    ColumnType::I8,
    ColumnType::I16,
    ColumnType::I32,
    ColumnType::I64,
    ColumnType::I128,
    ColumnType::F32,
    ColumnType::F64,
    ColumnType::Timestamp,
    ColumnType::Decimal { precision: 18, scale: 2 },
    ColumnType::Decimal { precision: 38, scale: 0 },
    ColumnType::Utf8,
    ColumnType::Bytes,
    ColumnType::Fixed(1),
    ColumnType::Fixed(3),
    ColumnType::Fixed(16),
    ColumnType::Fixed(100),
];

/// Calls `visit` with the value of type `ty` that `seed` stands for; equal seeds give equal values.
pub(crate) fn with_datum<R>(ty: ColumnType, seed: u64, visit: impl FnOnce(Datum<'_>) -> R) -> R {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match ty {
        ColumnType::Bool => visit(Datum::Bool(seed & 1 == 1)),
        ColumnType::U8 => visit(Datum::U64(seed & 0xFF)),
        ColumnType::U16 => visit(Datum::U64(seed & 0xFFFF)),
        ColumnType::U32 => visit(Datum::U64(seed & 0xFFFF_FFFF)),
        ColumnType::U64 => visit(Datum::U64(seed)),
        ColumnType::U128 => visit(Datum::U128(u128::from(seed) << 64 | u128::from(mixed))),
        ColumnType::I8 => visit(Datum::I64((seed as i8).into())),
        ColumnType::I16 => visit(Datum::I64((seed as i16).into())),
        ColumnType::I32 => visit(Datum::I64((seed as i32).into())),
        ColumnType::I64 | ColumnType::Timestamp => visit(Datum::I64(seed as i64)),
        ColumnType::Decimal { precision, .. } if precision <= 18 => {
            visit(Datum::I64(seed as i64 % 1_000_000_000_000_000_000))
        }
        ColumnType::I128 | ColumnType::Decimal { .. } => {
            visit(Datum::I128((i128::from(seed as i64) << 62) | i128::from(mixed >> 2)))
        }
        ColumnType::F32 => visit(Datum::F32(f32::from_bits(seed as u32))),
        ColumnType::F64 => visit(Datum::F64(f64::from_bits(seed))),
        ColumnType::Fixed(len) => {
            let bytes: Vec<u8> = seed.to_be_bytes().into_iter().cycle().take(len.into()).collect();
            visit(Datum::Bytes(&bytes))
        }
        ColumnType::Bytes => {
            let bytes = &seed.to_be_bytes()[(seed % 9) as usize..];
            visit(Datum::Bytes(bytes))
        }
        _ => visit(format!("{:x}{}", seed, "-".repeat((seed % 80) as usize)).as_str().into()),
    }
}

/// How the values of a column follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Any,
    Small,
    Few,
    Runs,
    Ascending,
    One,
}

pub(crate) const SHAPES: [Shape; 6] =
    [Shape::Any, Shape::Small, Shape::Few, Shape::Runs, Shape::Ascending, Shape::One];

/// A column by the seeds of its values; `None` is a null.
#[derive(Clone, Debug)]
pub(crate) struct Seeds {
    pub(crate) ty: ColumnType,
    pub(crate) seeds: Vec<Option<u64>>,
}

impl Seeds {
    pub(crate) fn vector(&self) -> ColumnVector {
        let mut vector = ColumnVector::new(self.ty);
        for seed in &self.seeds {
            match seed {
                Some(seed) => with_datum(self.ty, *seed, |datum| vector.push(datum)).unwrap(),
                None => vector.push(Datum::Null).unwrap(),
            }
        }
        vector
    }
}

pub(crate) fn any_type() -> impl Strategy<Value = ColumnType> {
    prop::sample::select(TYPES.to_vec())
}

/// Columns of type `ty`, of up to `rows` rows.
pub(crate) fn seeds_of(ty: ColumnType, rows: usize) -> impl Strategy<Value = Seeds> {
    let raw = prop::collection::vec(any::<u64>(), 1..=rows);
    let nulls = prop_oneof![4 => Just(0.0), 2 => Just(0.3), 1 => Just(0.97), 1 => Just(1.0)];
    (raw, prop::sample::select(SHAPES.to_vec()), nulls, any::<u64>()).prop_map(
        move |(raw, shape, nulls, base)| {
            let seeds = raw.iter().enumerate().map(|(row, &raw)| {
                let seed = match shape {
                    Shape::Any => raw,
                    Shape::Small => raw % 1000,
                    Shape::Few => (raw % 5) << 56,
                    Shape::Runs => base.wrapping_add(row as u64 / 9),
                    Shape::Ascending => (base >> 1) + row as u64 * 300 + raw % 256,
                    Shape::One => base,
                };
                ((raw >> 11) as f64 / (1_u64 << 53) as f64 >= nulls).then_some(seed)
            });
            Seeds { ty, seeds: seeds.collect() }
        },
    )
}

pub(crate) fn any_seeds(rows: usize) -> impl Strategy<Value = Seeds> {
    any_type().prop_flat_map(move |ty| seeds_of(ty, rows))
}

pub(crate) const STAMP: PageStamp = PageStamp { group: 7, column: ColumnId::new(21), part: 3 };

/// The page of all rows of `vector`.
pub(crate) fn encode(vector: &ColumnVector, allowed: EncodingSet) -> (PageInfo, Vec<u8>) {
    let mut bytes = Vec::new();
    let info = PageEncoder::new(allowed).encode(STAMP, vector, 0..vector.len(), &mut bytes).unwrap();
    (info, bytes)
}

pub(crate) fn open(vector: &ColumnVector, bytes: &[u8]) -> Page {
    Page::open(STAMP, vector.ty(), vector.len() as u32, bytes).unwrap()
}

/// Equality bit by bit, so that a NaN equals itself and zeros differ.
pub(crate) fn same(a: Datum<'_>, b: Datum<'_>) -> bool {
    match (a, b) {
        (Datum::F64(a), Datum::F64(b)) => a.to_bits() == b.to_bits(),
        (Datum::F32(a), Datum::F32(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

/// The first row in which two columns differ.
pub(crate) fn difference(a: &ColumnVector, b: &ColumnVector) -> Option<usize> {
    if a.len() != b.len() {
        return Some(a.len().min(b.len()));
    }
    (0..a.len()).find(|&row| !same(a.get(row), b.get(row)))
}
