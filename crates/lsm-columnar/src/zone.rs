//! Zones: between which bounds the values of some rows lie, and how many are null.
//!
//! ```text
//! flags u8: 1 min there, 2 min exact, 4 max there, 8 max exact | min length u8 | max length u8 | min | max
//! ```
//!
//! Bounds are ordered bytes: images big-endian in the width of their type, text and bytes as they are. They are cut to
//! 64 bytes, outwards: a cut minimum is a start of the true one, a cut maximum is counted up; where nothing is left to
//! count up there is no maximum. A zone only ever excludes work, and it covers the values of dead rows too.

use alloc::vec::Vec;

use crate::{ColumnType, Result, cursor::Cursor, page::read_cell, types::Physical};

/// Longest bound, in bytes.
pub const ZONE_BOUND_LEN_MAX: usize = 64;

const MIN: u8 = 1;
const MIN_EXACT: u8 = 2;
const MAX: u8 = 4;
const MAX_EXACT: u8 = 8;

/// One side of a zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneBound {
    bytes: BoundBytes,
    is_exact: bool,
}

/// Ordered bytes. A directory has two bounds for each page: those of numbers, and short ones, need no memory of their own.
#[derive(Clone)]
enum BoundBytes {
    /// So many of these.
    Short(u8, [u8; SHORT_LEN]),
    Long(Vec<u8>),
}

/// Longest bound that is kept so: keys and integers of sixteen bytes are shorter.
const SHORT_LEN: usize = 22;

impl BoundBytes {
    fn of(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT_LEN];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self::Short(len, short)
            }
            _ => Self::Long(bytes.to_vec()),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for BoundBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for BoundBytes {}

impl core::fmt::Debug for BoundBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl ZoneBound {
    /// The bound, as ordered bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Whether a row has this very value; otherwise it was cut.
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    fn below(value: &[u8]) -> Self {
        let cut = value.get(..ZONE_BOUND_LEN_MAX);
        Self {
            bytes: BoundBytes::of(cut.unwrap_or(value)),
            is_exact: cut.is_none_or(|cut| cut.len() == value.len()),
        }
    }

    fn above(value: &[u8]) -> Option<Self> {
        if value.len() <= ZONE_BOUND_LEN_MAX {
            return Some(Self { bytes: BoundBytes::of(value), is_exact: true });
        }
        let mut bytes = value.get(..ZONE_BOUND_LEN_MAX)?.to_vec();
        while let Some(last) = bytes.pop() {
            if let Some(next) = last.checked_add(1) {
                bytes.push(next);
                return Some(Self { bytes: BoundBytes::of(&bytes), is_exact: false });
            }
        }
        None
    }
}

/// What is known about the values of one column in some rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    rows: u64,
    null_count: u64,
    min: Option<ZoneBound>,
    max: Option<ZoneBound>,
}

impl Zone {
    /// The zone of `rows` rows, `null_count` of them null, the others between two stored values.
    pub(crate) fn of(rows: u64, null_count: u64, bounds: Option<(&[u8], &[u8])>) -> Self {
        let min = bounds.map(|(min, _)| ZoneBound::below(min));
        let max = bounds.and_then(|(_, max)| ZoneBound::above(max));
        Self { rows, null_count, min, max }
    }

    /// Number of rows.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of nulls.
    pub const fn null_count(&self) -> u64 {
        self.null_count
    }

    /// A value at or below all others; absent when all rows are null.
    pub const fn min(&self) -> Option<&ZoneBound> {
        self.min.as_ref()
    }

    /// A value at or above all others; absent when all rows are null, or when no bound of 64 bytes is.
    pub const fn max(&self) -> Option<&ZoneBound> {
        self.max.as_ref()
    }

    /// Whether both bounds are values of rows.
    pub fn is_exact(&self) -> bool {
        let exact = |bound: &Option<ZoneBound>| bound.as_ref().is_some_and(ZoneBound::is_exact);
        exact(&self.min) && exact(&self.max)
    }

    /// Whether no row has a value.
    pub const fn is_all_null(&self) -> bool {
        self.null_count >= self.rows
    }

    /// Takes in the rows of another zone of the same column.
    pub fn merge(&mut self, other: &Self) {
        if self.is_all_null() {
            (self.min, self.max) = (other.min.clone(), other.max.clone());
        } else if !other.is_all_null() {
            let lower = |a: &ZoneBound, b: &ZoneBound| (a.bytes(), !a.is_exact) > (b.bytes(), !b.is_exact);
            match (&mut self.min, &other.min) {
                (Some(min), Some(theirs)) if lower(min, theirs) => *min = theirs.clone(),
                (min, None) => *min = None,
                _ => {}
            }
            match (&mut self.max, &other.max) {
                (Some(max), Some(theirs))
                    if (max.bytes(), max.is_exact) < (theirs.bytes(), theirs.is_exact) =>
                {
                    *max = theirs.clone();
                }
                (max, None) => *max = None,
                _ => {}
            }
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.null_count = self.null_count.saturating_add(other.null_count);
    }

    /// Appends the zone as a directory has it, without its counts.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// The zone that `bytes` are, all of them, of `rows` rows of a column of type `ty`, `null_count` of them null.
    ///
    /// # Errors
    /// [`ColumnarError::Malformed`](crate::ColumnarError) for anything else, `Unsupported` for unknown flags.
    pub fn decode(bytes: &[u8], ty: ColumnType, rows: u64, null_count: u64) -> Result<Self> {
        let mut cursor = Cursor::new("zone", bytes);
        let zone = Self::read(&mut cursor, ty, rows, null_count)?;
        cursor.finish()?;
        Ok(zone)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let flag = |bound: &Option<ZoneBound>, there: u8, exact: u8| {
            bound.as_ref().map_or(0, |bound| there | if bound.is_exact { exact } else { 0 })
        };
        let len = |bound: &Option<ZoneBound>| {
            bound.as_ref().map_or(0, |bound| u8::try_from(bound.bytes().len()).unwrap_or(u8::MAX))
        };
        out.push(flag(&self.min, MIN, MIN_EXACT) | flag(&self.max, MAX, MAX_EXACT));
        out.extend_from_slice(&[len(&self.min), len(&self.max)]);
        for bound in [&self.min, &self.max].into_iter().flatten() {
            out.extend_from_slice(bound.bytes());
        }
    }

    /// Takes a zone whose counts the caller knows.
    pub(crate) fn read(cursor: &mut Cursor<'_>, ty: ColumnType, rows: u64, null_count: u64) -> Result<Self> {
        let flags = cursor.u8("zone flags")?;
        let min_len = usize::from(cursor.u8("zone lengths")?);
        let max_len = usize::from(cursor.u8("zone lengths")?);
        let sides = [(min_len, MIN, MIN_EXACT), (max_len, MAX, MAX_EXACT)];
        let mut bounds = [None, None];
        for (bound, (len, there, exact)) in bounds.iter_mut().zip(sides) {
            let bytes = cursor.take(len, "zone bounds")?;
            let is_exact = flags & exact != 0;
            if flags & there == 0 {
                if len != 0 || is_exact {
                    return Err(cursor.malformed("zone flags"));
                }
                continue;
            }
            let fits = match ty.physical() {
                Physical::Word { .. } => is_exact && read_cell(ty, bytes).is_some(),
                Physical::Fixed(fixed) if is_exact => len == fixed && len <= ZONE_BOUND_LEN_MAX,
                _ => len <= ZONE_BOUND_LEN_MAX,
            };
            if !fits {
                return Err(cursor.malformed("zone bounds"));
            }
            *bound = Some(ZoneBound { bytes: BoundBytes::of(bytes), is_exact });
        }
        let [min, max] = bounds;
        let ordered = match (&min, &max) {
            (Some(min), Some(max)) => min.bytes() <= max.bytes(),
            (None, Some(_)) => false,
            _ => true,
        };
        if flags & !(MIN | MIN_EXACT | MAX | MAX_EXACT) != 0 || !ordered || null_count > rows {
            return Err(cursor.malformed("zone flags"));
        }
        if min.is_none() != (null_count == rows) {
            return Err(cursor.malformed("zone flags"));
        }
        Ok(Self { rows, null_count, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(0xFE), Just(0xFF)];
        prop_oneof![prop::collection::vec(byte.clone(), 0..4), prop::collection::vec(byte, 62..67)]
    }

    fn zone(values: &[Vec<u8>], nulls: u64) -> Zone {
        let bounds = values.iter().min().zip(values.iter().max());
        Zone::of(values.len() as u64 + nulls, nulls, bounds.map(|(min, max)| (&min[..], &max[..])))
    }

    fn holds(zone: &Zone, value: &[u8]) -> bool {
        zone.min().is_some_and(|min| min.bytes() <= value)
            && zone.max().is_none_or(|max| max.bytes() >= value)
    }

    proptest! {
        /// Proves F-127.
        #[test]
        fn bounds_are_rounded_outwards(
            a in prop::collection::vec(bytes(), 0..4), b in prop::collection::vec(bytes(), 0..4), nulls in 0_u64..2,
        ) {
            let mut merged = zone(&a, nulls);
            merged.merge(&zone(&b, 1));
            let all = [a.clone(), b].concat();
            for (zone, values) in [(zone(&a, nulls), &a), (merged.clone(), &all)] {
                prop_assert!(values.iter().all(|value| holds(&zone, value)));
                prop_assert_eq!(zone.is_all_null(), values.is_empty());
                for bound in [zone.min(), zone.max()].into_iter().flatten() {
                    prop_assert!(bound.bytes().len() <= ZONE_BOUND_LEN_MAX);
                    prop_assert_eq!(bound.is_exact(), values.iter().any(|value| value == bound.bytes()) && bound.is_exact());
                }
                let mut stored = vec![];
                zone.write(&mut stored);
                let mut cursor = Cursor::new("zone", &stored);
                let read = Zone::read(&mut cursor, ColumnType::Bytes, zone.rows(), zone.null_count());
                prop_assert_eq!(read, Ok(zone));
                prop_assert!(cursor.finish().is_ok());
            }
            prop_assert_eq!(merged.rows(), all.len() as u64 + nulls + 1);
        }
    }

    #[test]
    fn a_maximum_of_ones_has_no_bound() {
        let zone = zone(&[vec![0xFF; 65], vec![3; 70]], 0);
        assert_eq!(zone.max(), None);
        assert_eq!(zone.min(), Some(&ZoneBound { bytes: BoundBytes::of(&[3; 64]), is_exact: false }));
        assert!(!zone.is_all_null() && !zone.is_exact());
    }
}
