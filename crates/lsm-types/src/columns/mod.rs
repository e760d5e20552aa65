//! Columns of integers and keys in which any item is reached without decoding its neighbours.
//!
//! A payload built of columns starts with a fixed header that says how long each column is. [`Layout`] turns the
//! header into positions, once, and insists that the columns fill the payload exactly. After that an access is an
//! addition and a load: no varint, no walk, nothing to check again.

mod keys;
mod search;
mod writer;

pub use keys::{BundledKeys, KeyBuf, KeyShape};
pub use search::Point;
pub use writer::KeysWriter;

use alloc::vec::Vec;

/// A payload that contradicts itself: the field that gave it away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("field `{field}` does not fit the payload")]
pub struct Malformed {
    /// Name of the field, as the format page has it.
    pub field: &'static str,
}

impl Malformed {
    /// An error over `field`.
    pub const fn new(field: &'static str) -> Self {
        Self { field }
    }
}

/// Bytes per item of an integer column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Width {
    /// No bytes: every item equals the column's base.
    Zero,
    /// One byte.
    One,
    /// Two bytes, little-endian.
    Two,
    /// Four bytes, little-endian.
    Four,
    /// Eight bytes, little-endian.
    Eight,
}

impl Width {
    /// The narrowest width that holds `max`.
    pub const fn of(max: u64) -> Self {
        match max {
            0 => Self::Zero,
            1..=0xFF => Self::One,
            0x100..=0xFFFF => Self::Two,
            0x1_0000..=0xFFFF_FFFF => Self::Four,
            _ => Self::Eight,
        }
    }

    /// Bytes per item.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The code 0 to 4 that stands for it in headers.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The width with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Zero),
            1 => Some(Self::One),
            2 => Some(Self::Two),
            3 => Some(Self::Four),
            4 => Some(Self::Eight),
            _ => None,
        }
    }

    /// Appends `delta`, which must fit, to `out`.
    #[inline]
    pub fn put(self, delta: u64, out: &mut Vec<u8>) {
        debug_assert!(Self::of(delta) <= self, "an item must fit its column");
        let bytes = delta.to_le_bytes();
        out.extend_from_slice(bytes.get(..self.bytes()).unwrap_or_default());
    }
}

/// Hands out consecutive extents of a payload and checks that they end where the payload does.
#[derive(Debug)]
pub struct Layout {
    at: usize,
    len: usize,
}

impl Layout {
    /// Extents of a payload of `len` bytes whose header takes the first `header_len`.
    pub const fn new(header_len: usize, len: usize) -> Self {
        Self { at: header_len, len }
    }

    /// Start of the next `count` items of `item_len` bytes.
    pub fn take(&mut self, count: usize, item_len: usize, field: &'static str) -> Result<usize, Malformed> {
        let start = self.at;
        let end = count.checked_mul(item_len).and_then(|len| start.checked_add(len));
        match end {
            Some(end) if end <= self.len => {
                self.at = end;
                Ok(start)
            }
            _ => Err(Malformed::new(field)),
        }
    }

    /// The next `count` integers.
    pub fn column(
        &mut self,
        count: usize,
        width: Width,
        base: u64,
        field: &'static str,
    ) -> Result<Column, Malformed> {
        Ok(Column::new(self.take(count, width.bytes(), field)?, width, base))
    }

    /// Refuses bytes that belong to no column.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.at == self.len { Ok(()) } else { Err(Malformed::new("length")) }
    }
}

/// Integers of one width over a common base.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    start: usize,
    /// Bytes per item.
    stride: usize,
    /// The bits of an item among eight bytes loaded.
    mask: u64,
    base: u64,
}

impl Column {
    fn new(start: usize, width: Width, base: u64) -> Self {
        let bits = 8 * width.bytes();
        let mask = if bits == 0 { 0 } else { u64::MAX >> (64 - bits) };
        Self { start, stride: width.bytes(), mask, base }
    }

    /// Item `idx` of the column in `payload`; an index outside it, which only a bug can bring, yields any number.
    #[inline]
    pub fn at(&self, payload: &[u8], idx: usize) -> u64 {
        let at = self.start + idx * self.stride;
        // Eight bytes are loaded whatever the width: cheaper than telling widths apart. At the very end of a payload
        // they are not there.
        let raw = match payload.get(at..at.wrapping_add(8)) {
            Some(bytes) => u64::from_le_bytes(load(bytes, 0)),
            None => load_short(payload, at),
        };
        self.base.wrapping_add(raw & self.mask)
    }

    /// Folds the items of `rows`, without the base, in order: for checks that look at every item once.
    #[inline]
    pub fn fold<A>(
        &self,
        payload: &[u8],
        rows: core::ops::Range<usize>,
        init: A,
        mut step: impl FnMut(A, u64) -> A,
    ) -> A {
        let bytes = payload.get(self.start + rows.start * self.stride..self.start + rows.end * self.stride);
        let bytes = bytes.unwrap_or_default();
        match self.stride {
            0 => rows.fold(init, |acc, _| step(acc, 0)),
            1 => bytes.iter().fold(init, |acc, &item| step(acc, item.into())),
            2 => {
                bytes.as_chunks().0.iter().fold(init, |acc, &item| step(acc, u16::from_le_bytes(item).into()))
            }
            4 => {
                bytes.as_chunks().0.iter().fold(init, |acc, &item| step(acc, u32::from_le_bytes(item).into()))
            }
            _ => bytes.as_chunks().0.iter().fold(init, |acc, &item| step(acc, u64::from_le_bytes(item))),
        }
    }

    /// Whether all `count` items lie at or below `max` and no sum wraps.
    pub fn is_at_most(&self, payload: &[u8], count: usize, max: u64) -> bool {
        let Some(room) = max.checked_sub(self.base) else { return count == 0 };
        // The widest item may fit without a look.
        self.mask <= room || self.fold(payload, 0..count, 0, u64::max) <= room
    }
}

/// Up to eight bytes from `at` to the end of `payload`, little-endian.
#[cold]
fn load_short(payload: &[u8], at: usize) -> u64 {
    let rest = payload.get(at..).unwrap_or_default();
    rest.iter().take(8).rev().fold(0, |raw, &byte| raw << 8 | u64::from(byte))
}

/// `N` bytes at `at`; zeros when they are not there.
#[inline]
fn load<const N: usize>(payload: &[u8], at: usize) -> [u8; N] {
    payload.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn columns_return_what_was_put() {
        for (base, items) in [
            (0, vec![0, 0, 0]),
            (7, vec![7, 7 + 0xFF]),
            (7, vec![8, 7 + 0xFFFF]),
            (0, vec![1, 0xFFFF_FFFF]),
            (5, vec![5, u64::MAX]),
        ] {
            let width = Width::of(items.iter().map(|item| item - base).max().unwrap());
            let mut bytes = vec![9, 9];
            for item in &items {
                width.put(item - base, &mut bytes);
            }
            let mut layout = Layout::new(2, bytes.len());
            let column = layout.column(items.len(), width, base, "items").unwrap();
            layout.finish().unwrap();
            let found: Vec<u64> = (0..items.len()).map(|idx| column.at(&bytes, idx)).collect();
            assert_eq!(found, items);
            let max = *items.iter().max().unwrap();
            assert!(column.is_at_most(&bytes, items.len(), max));
            assert!(max == 0 || !column.is_at_most(&bytes, items.len(), max - 1));
        }
    }

    /// Proves F-30.
    #[test]
    fn extents_must_fill_the_payload_exactly() {
        assert!(Layout::new(0, 10).column(3, Width::Four, 0, "x").is_err());
        assert!(Layout::new(0, 10).take(usize::MAX, 8, "x").is_err());
        let mut layout = Layout::new(0, 10);
        layout.take(2, 4, "x").unwrap();
        assert_eq!(layout.finish(), Err(Malformed::new("length")));
        assert!(Layout::new(11, 10).finish().is_err());
    }

    #[test]
    fn accesses_past_the_end_are_harmless() {
        let column = Layout::new(0, 4).column(1, Width::Four, 3, "x").unwrap();
        assert_eq!(column.at(&[1, 0, 0, 0], 0), 4);
        assert_eq!(column.at(&[1, 0, 0, 0], 9), 3);
    }
}
