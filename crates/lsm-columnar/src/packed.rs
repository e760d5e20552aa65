//! Unsigned integers in as few bits as their range needs: a frame of reference and bit packing.
//!
//! ```text
//! base u64 | bits u8 | items: bits each, lowest first, one after another, the last byte filled up with zeros
//! ```
//!
//! An item is the base plus its bits. Widths run from 0 to 56 and 64, so that any item lies within eight bytes: one
//! load, one shift, one mask, wherever it is.

use alloc::vec::Vec;

use crate::{
    Bitmap, Result,
    cursor::{Cursor, load_u64},
};

/// Bytes before the items.
pub(crate) const HEAD_LEN: usize = 9;
/// Items unpacked in one go.
pub(crate) const BLOCK: usize = 64;
/// Widest items that are not whole words.
const BITS_MAX: u8 = 56;

/// Bits per item where the largest item exceeds the smallest by `span`.
pub(crate) const fn bits_for(span: u64) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
    let bits = (64 - span.leading_zeros()) as u8;
    if bits > BITS_MAX { 64 } else { bits }
}

/// Bytes of `count` items of `bits` bits, which are far from 2^56 items.
pub(crate) const fn items_len(count: usize, bits: u8) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Bytes of `count` items whose range is `span`, the head included.
pub(crate) const fn stored_len(count: usize, span: u64) -> usize {
    HEAD_LEN + items_len(count, bits_for(span))
}

/// Appends `items`, all of them in `base..=base + span`.
pub(crate) fn write(items: impl Iterator<Item = u64>, base: u64, span: u64, out: &mut Vec<u8>) {
    let bits = bits_for(span);
    out.extend_from_slice(&base.to_le_bytes());
    out.push(bits);
    write_items(items.map(|item| item.wrapping_sub(base)), bits, out);
}

/// Appends items that fit into `bits` bits.
pub(crate) fn write_items(items: impl Iterator<Item = u64>, bits: u8, out: &mut Vec<u8>) {
    if bits == 0 {
        items.for_each(|item| debug_assert_eq!(item, 0, "an item fits its width"));
        return;
    }
    // Fewer than eight bits wait at any time, so that 56 more have room.
    let (mut waiting, mut waiting_bits) = (0_u64, 0_u32);
    for item in items {
        debug_assert!(bits == 64 || item >> bits == 0, "an item fits its width");
        if bits == 64 {
            out.extend_from_slice(&item.to_le_bytes());
            continue;
        }
        waiting |= item << waiting_bits;
        waiting_bits += u32::from(bits);
        let bytes = waiting.to_le_bytes();
        out.extend_from_slice(bytes.get(..waiting_bits as usize / 8).unwrap_or_default());
        waiting = waiting.checked_shr(waiting_bits / 8 * 8).unwrap_or(0);
        waiting_bits %= 8;
    }
    if waiting_bits > 0 {
        let [low, ..] = waiting.to_le_bytes();
        out.push(low);
    }
}

/// Positions of packed integers in a payload. Holds no bytes; every access names the payload again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    pub(crate) base: u64,
    pub(crate) bits: u8,
    pub(crate) count: usize,
    mask: u64,
    start: usize,
}

impl Packed {
    /// Takes `count` items and their head.
    pub(crate) fn read(cursor: &mut Cursor<'_>, count: usize, field: &'static str) -> Result<Self> {
        let base = cursor.u64(field)?;
        Self::read_items(cursor, count, base, field)
    }

    /// Takes the width and `count` items over a base that the caller knows.
    pub(crate) fn read_items(
        cursor: &mut Cursor<'_>,
        count: usize,
        base: u64,
        field: &'static str,
    ) -> Result<Self> {
        let bits = cursor.u8(field)?;
        if bits > BITS_MAX && bits != 64 {
            return Err(cursor.malformed(field));
        }
        let start = cursor.at();
        let stored = cursor.take(items_len(count, bits), field)?;
        let used = count * usize::from(bits) % 8;
        if used != 0 && stored.last().is_some_and(|byte| byte >> used != 0) {
            return Err(cursor.malformed(field));
        }
        let mask = if bits == 0 { 0 } else { u64::MAX >> (64 - bits) };
        Ok(Self { base, bits, count, mask, start })
    }

    /// Takes `count` items of a width and over a base of 0, which the caller knows both.
    pub(crate) fn whole(cursor: &mut Cursor<'_>, count: usize, bits: u8) -> Result<Self> {
        let start = cursor.at();
        let stored = cursor.take(items_len(count, bits), "values")?;
        let used = count * usize::from(bits) % 8;
        if used != 0 && stored.last().is_some_and(|byte| byte >> used != 0) {
            return Err(cursor.malformed("values"));
        }
        Ok(Self { base: 0, bits, count, mask: u64::MAX >> (64 - bits), start })
    }

    /// `count` items that are all `item`; they take no bytes.
    pub(crate) const fn constant(item: u64, count: usize) -> Self {
        Self { base: item, bits: 0, count, mask: 0, start: 0 }
    }

    /// Item `idx`; one that is not there, which only a bug can ask for, is any number.
    #[inline]
    pub(crate) fn at(&self, payload: &[u8], idx: usize) -> u64 {
        let bit = idx * usize::from(self.bits);
        let raw = load_u64(payload, self.start + bit / 8) >> (bit % 8);
        self.base.wrapping_add(raw & self.mask)
    }

    /// Whether all items lie at or below `max` and no sum wraps.
    pub(crate) fn is_at_most(&self, payload: &[u8], max: u64) -> bool {
        let Some(room) = max.checked_sub(self.base) else { return self.count == 0 };
        if self.mask <= room {
            return true;
        }
        let (offsets, mut block) = (self.without_base(), [0; BLOCK]);
        (0..self.count).step_by(BLOCK).all(|first| {
            let Some(items) = block.get_mut(..BLOCK.min(self.count - first)) else { return false };
            offsets.unpack(payload, first, items);
            items.iter().fold(0, |largest, item| largest.max(*item)) <= room
        })
    }

    /// The offsets of the items from their base.
    pub(crate) const fn without_base(&self) -> Self {
        Self { base: 0, ..*self }
    }

    /// The offsets of items of one bit.
    pub(crate) fn as_bits(&self, payload: &[u8]) -> Bitmap {
        debug_assert_eq!(self.bits, 1, "one bit per item");
        Bitmap::read(payload, self.start, self.count)
    }

    /// Largest offset from the base that the width allows.
    pub(crate) const fn span(&self) -> u64 {
        self.mask
    }

    /// Unpacks items from `first` on, a multiple of eight, until `out` is full; they have to be there.
    #[inline]
    pub(crate) fn unpack(&self, payload: &[u8], first: usize, out: &mut [u64]) {
        debug_assert!(first.is_multiple_of(8) && first + out.len() <= self.count, "items that are there");
        let at = self.start + first / 8 * usize::from(self.bits);
        let stored = payload.get(at..).unwrap_or_default();
        let whole = out.len() / 8 * 8;
        let (groups, rest) = out.as_chunks_mut();
        // The last groups may lie so close to the payload's end that eight bytes cannot be loaded.
        let done = unpack_groups(self.bits, stored, self.base, groups) * 8;
        for (idx, item) in groups.iter_mut().flatten().enumerate().skip(done) {
            *item = self.at(payload, first + idx);
        }
        for (idx, item) in rest.iter_mut().enumerate() {
            *item = self.at(payload, first + whole + idx);
        }
    }
}

/// Groups of eight items with a width known to the compiler: shifts and masks become constants. Answers how many
/// groups it did.
fn groups_of<const BITS: usize>(stored: &[u8], base: u64, groups: &mut [[u64; 8]]) -> usize {
    let mask = u64::MAX >> (64 - BITS);
    for (done, group) in groups.iter_mut().enumerate() {
        let at = done * BITS;
        let Some(bytes) = stored.get(at..at + BITS + 8) else { return done };
        for (idx, item) in group.iter_mut().enumerate() {
            *item = base.wrapping_add(load_u64(bytes, idx * BITS / 8) >> (idx * BITS % 8) & mask);
        }
    }
    groups.len()
}

/// Calls the copy of [`groups_of`] for a width.
macro_rules! dispatch {
    ($bits:expr, $arguments:tt, $($width:literal)*) => {
        match $bits {
            $($width => groups_of::<$width> $arguments,)*
            _ => groups_of::<64> $arguments,
        }
    };
}

fn unpack_groups(bits: u8, stored: &[u8], base: u64, groups: &mut [[u64; 8]]) -> usize {
    if bits == 0 {
        groups.as_flattened_mut().fill(base);
        return groups.len();
    }
    dispatch!(bits, (stored, base, groups),
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38
        39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_leave_no_item_across_nine_bytes() {
        assert_eq!([0, 1, 2, 255, 256, u64::MAX].map(bits_for), [0, 1, 2, 8, 9, 64]);
        assert_eq!([(1 << 56) - 1, 1 << 56].map(bits_for), [56, 64]);
    }

    proptest! {
        #[test]
        fn items_come_back(base in any::<u64>(), shift in 0_u32..=64, raw in prop::collection::vec(any::<u64>(), 0..200)) {
            let span = u64::MAX.checked_shr(shift).unwrap_or(0);
            let base = base & !span;
            let items: Vec<u64> = raw.iter().map(|item| base + (item & span)).collect();
            let mut bytes = alloc::vec![9; 3];
            write(items.iter().copied(), base, span, &mut bytes);
            prop_assert_eq!(bytes.len(), 3 + stored_len(items.len(), span));
            let mut cursor = Cursor::new("test", &bytes);
            cursor.skip(3, "head").unwrap();
            let packed = Packed::read(&mut cursor, items.len(), "items").unwrap();
            cursor.finish().unwrap();
            let found: Vec<u64> = (0..items.len()).map(|idx| packed.at(&bytes, idx)).collect();
            prop_assert_eq!(&found, &items);
            let mut found = alloc::vec![0; items.len()];
            packed.unpack(&bytes, 0, &mut found);
            prop_assert_eq!(&found, &items);
            if let Some(&max) = items.iter().max() {
                prop_assert!(packed.is_at_most(&bytes, max));
                prop_assert!(max == base || !packed.is_at_most(&bytes, max - 1));
            }
        }
    }
}
