//! Values as text, the way the standard library writes them by default, straight into the buffer they end up in.
//!
//! Eight digits are made at once: a number is halved three times, by multiplications that work on all its pieces side by
//! side in one word. That has no branch per digit and no buffer to copy from.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::{ColumnType, Datum};

/// One more than the largest number of eight digits.
const EIGHT: u64 = 100_000_000;
/// Short texts are copied in one piece of this size where there is room for it.
const PIECE: usize = 16;
/// The largest piece.
const PIECE_MAX: usize = 32;

/// What text is appended to.
pub(super) trait Out {
    /// The first `len` bytes of `piece`.
    fn piece<const N: usize>(&mut self, piece: [u8; N], len: usize);

    /// All of `bytes`.
    fn whole(&mut self, bytes: &[u8]);

    /// `bytes[start..start + len]`, which has to be there; short ones in one copy of a size that is known.
    #[inline]
    fn part(&mut self, bytes: &[u8], (start, len): (usize, usize)) {
        match bytes.get(start..).and_then(<[u8]>::first_chunk::<PIECE>) {
            Some(piece) if len <= PIECE => self.piece(*piece, len),
            _ => self.whole(bytes.get(start..start.saturating_add(len)).unwrap_or_default()),
        }
    }
}

impl Out for Vec<u8> {
    #[inline]
    fn piece<const N: usize>(&mut self, piece: [u8; N], len: usize) {
        self.extend_from_slice(piece.get(..len).unwrap_or(&piece));
    }

    #[inline]
    fn whole(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Text of a row in memory that is there already, so that its length is all that a write has to keep. What has no room
/// is only counted; then the line is written again with more.
pub(super) struct Line<'m> {
    room: &'m mut [u8],
    len: usize,
}

impl<'m> Line<'m> {
    /// An empty line in `room`.
    pub(super) const fn new(room: &'m mut Vec<u8>) -> Self {
        Self { room: room.as_mut_slice(), len: 0 }
    }

    /// Makes `room` large enough for a line of `len` bytes.
    pub(super) fn make_room(room: &mut Vec<u8>, len: usize) {
        // Pieces are written whole, whatever there is of them.
        room.resize(room.len().max(len.saturating_add(PIECE_MAX)), 0);
    }

    /// Bytes it takes.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The line, if it had room.
    pub(super) fn finish(self) -> Option<&'m [u8]> {
        if self.len == 0 || self.len.saturating_add(PIECE_MAX) <= self.room.len() {
            self.room.get(..self.len)
        } else {
            None
        }
    }
}

impl Out for Line<'_> {
    #[inline]
    fn piece<const N: usize>(&mut self, piece: [u8; N], len: usize) {
        const { assert!(N <= PIECE_MAX, "a line that has room for its bytes has room for their pieces") };
        if let Some(place) = self.room.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            *place = piece;
        }
        self.len += len;
    }

    #[inline]
    fn whole(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.room.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
        }
        self.len = end;
    }
}

/// Appends a value of type `ty`; nothing for a null.
pub(super) fn write(ty: ColumnType, datum: Datum<'_>, out: &mut impl Out) {
    match datum {
        Datum::Null => {}
        Datum::Bytes(bytes) => out.whole(bytes),
        Datum::Bool(value) => write_bool(value, out),
        Datum::U64(value) => write_u64(value, out),
        Datum::I64(value) => write_signed(ty, value, out),
        Datum::U128(value) => write_u128(value, out),
        Datum::I128(value) => {
            if value < 0 {
                out.piece([b'-'], 1);
            }
            match ty {
                ColumnType::Decimal { scale: scale @ 1.., .. } => {
                    write_decimal(value.unsigned_abs(), scale, out);
                }
                _ => write_u128(value.unsigned_abs(), out),
            }
        }
        Datum::F32(value) => display(value, out),
        Datum::F64(value) => display(value, out),
    }
}

#[inline]
pub(super) fn write_bool(value: bool, out: &mut impl Out) {
    if value { out.piece(*b"true", 4) } else { out.piece(*b"false", 5) }
}

fn write_signed(ty: ColumnType, value: i64, out: &mut impl Out) {
    match ty {
        ColumnType::Decimal { scale: scale @ 1.., .. } => write_decimal_word(value, scale, out),
        _ => write_i64(value, out),
    }
}

#[inline]
pub(super) fn write_i64(value: i64, out: &mut impl Out) {
    out.piece([b'-'], usize::from(value < 0));
    write_u64(value.unsigned_abs(), out);
}

/// Appends a decimal of at most eight bytes, which has 1 to 18 digits behind its point.
pub(super) fn write_decimal_word(value: i64, scale: u8, out: &mut impl Out) {
    out.piece([b'-'], usize::from(value < 0));
    let one = 10_u64.checked_pow(scale.into()).unwrap_or(u64::MAX);
    write_u64(value.unsigned_abs() / one, out);
    out.piece([b'.'], 1);
    write_fraction((value.unsigned_abs() % one).into(), scale, out);
}

#[inline]
pub(super) fn write_u64(value: u64, out: &mut impl Out) {
    if value < EIGHT {
        return write_leading(value, out);
    }
    let (rest, low) = (value / EIGHT, value % EIGHT);
    if rest < EIGHT {
        write_leading(rest, out);
    } else {
        write_leading(rest / EIGHT, out);
        write_trailing(rest % EIGHT, 8, out);
    }
    write_trailing(low, 8, out);
}

fn write_u128(value: u128, out: &mut impl Out) {
    match u64::try_from(value) {
        Ok(value) => write_u64(value, out),
        Err(_) => display(value, out),
    }
}

/// `scale` digits behind the point, one in front of it at least.
fn write_decimal(value: u128, scale: u8, out: &mut impl Out) {
    // A scale has 38 digits at most.
    let one = 10_u128.checked_pow(scale.into()).unwrap_or(u128::MAX);
    write_u128(value / one, out);
    out.piece([b'.'], 1);
    write_fraction(value % one, scale, out);
}

/// As many digits as are said, leading zeros among them.
fn write_fraction(value: u128, digits: u8, out: &mut impl Out) {
    let eight = u128::from(EIGHT);
    if digits > 8 {
        write_fraction(value / eight, digits - 8, out);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of eight digits")]
    write_trailing((value % eight) as u64, digits.min(8), out);
}

/// A number of up to eight digits, without leading zeros.
#[inline]
fn write_leading(value: u64, out: &mut impl Out) {
    let digits = eight_digits(value);
    // A zero has a digit too.
    let zeros = (digits | (1 << 56)).trailing_zeros() / 8;
    out.piece(((digits | ASCII) >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize);
}

/// The last 1 to 8 digits.
#[inline]
fn write_trailing(value: u64, count: u8, out: &mut impl Out) {
    let text = (eight_digits(value) | ASCII) >> (8 * (8 - count));
    out.piece(text.to_le_bytes(), count.into());
}

/// Eight times the byte `0`.
const ASCII: u64 = 0x3030_3030_3030_3030;

/// The digits of a number below 10^8, a byte each, the first in the lowest.
#[inline]
const fn eight_digits(value: u64) -> u64 {
    let halves = (value / 10_000) | ((value % 10_000) << 32);
    // 10486 / 2^20 and 103 / 2^10 are close enough to a hundredth and a tenth for numbers of four and two digits.
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let quarters = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | ((quarters - 10 * tens) << 8)
}

/// Appends what the standard library writes.
fn display(value: impl fmt::Display, out: &mut impl Out) {
    let written = write!(Text(out), "{value}");
    debug_assert!(written.is_ok(), "text is taken whatever it is");
}

struct Text<'o, O>(&'o mut O);

impl<O: Out> fmt::Write for Text<'_, O> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.whole(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn text(ty: ColumnType, datum: Datum<'_>) -> String {
        let mut out = Vec::from(*b"before ");
        write(ty, datum, &mut out);
        String::from_utf8(out.split_off(7)).unwrap()
    }

    #[test]
    fn all_numbers_of_four_digits_and_the_ends_of_all_lengths() {
        let ends = (0..20).flat_map(|digits| {
            let power = 10_u64.pow(digits);
            [power - 1, power, power + 1, power.wrapping_mul(9), u64::MAX / power]
        });
        for value in (0..10_000).chain(ends) {
            for value in [value, value % 10_000 * 10_000] {
                assert_eq!(text(ColumnType::U64, Datum::U64(value)), format!("{value}"));
            }
        }
        for value in [0, 1, -1, i64::MIN, i64::MAX] {
            assert_eq!(text(ColumnType::I64, Datum::I64(value)), format!("{value}"));
        }
        for value in [i128::MIN, i128::MAX, -5, 1 << 64] {
            assert_eq!(text(ColumnType::I128, Datum::I128(value)), format!("{value}"));
        }
    }

    #[test]
    fn decimals_have_their_digits_behind_the_point() {
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        for (scale, value, expected) in [
            (2, 0, "0.00"),
            (2, -5, "-0.05"),
            (2, 1250, "12.50"),
            (18, 7, "0.000000000000000007"),
            (0, 7, "7"),
            (1, i64::MIN, "-922337203685477580.8"),
        ] {
            assert_eq!(text(decimal(18, scale), Datum::I64(value)), expected);
            assert_eq!(text(decimal(38, scale), Datum::I128(value.into())), expected);
        }
        let most = 10_i128.pow(38) - 1;
        assert_eq!(text(decimal(38, 38), Datum::I128(-most)), format!("-0.{most}"));
        assert_eq!(text(decimal(38, 37), Datum::I128(10_i128.pow(37))), format!("1.{}", "0".repeat(37)));
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_does(bits in any::<u64>(), shift in 0_u32..64, wide in any::<i128>()) {
            let value = bits >> shift;
            prop_assert_eq!(text(ColumnType::U64, Datum::U64(value)), format!("{value}"));
            prop_assert_eq!(text(ColumnType::I64, Datum::I64(value.cast_signed())), format!("{}", value.cast_signed()));
            prop_assert_eq!(text(ColumnType::U128, Datum::U128(wide.unsigned_abs())), format!("{}", wide.unsigned_abs()));
            let float = f64::from_bits(bits);
            prop_assert_eq!(text(ColumnType::F64, Datum::F64(float)), format!("{float}"));
        }

        /// A line has no room of its own: it says how much it would have taken, and is right once it has that.
        #[test]
        fn lines_are_what_vectors_are(cells in prop::collection::vec((any::<u64>(), 0_u32..64, 0_usize..60), 0..20)) {
            fn fill(cells: &[(u64, u32, usize)], out: &mut impl Out) {
                let words = [b'w'; 100];
                for &(bits, shift, len) in cells {
                    write(ColumnType::I64, Datum::I64(bits.cast_signed() >> shift), out);
                    write(ColumnType::Decimal { precision: 18, scale: 7 }, Datum::I64(bits.cast_signed() >> shift), out);
                    write(ColumnType::F32, Datum::F32(f32::from_bits((bits >> 32) as u32)), out);
                    out.part(&words, (3, len));
                }
            }
            let mut expected = Vec::new();
            fill(&cells, &mut expected);
            let mut room = Vec::new();
            let mut line = Line::new(&mut room);
            fill(&cells, &mut line);
            let needed = line.len();
            prop_assert_eq!(needed, expected.len());
            prop_assert_eq!(Line::new(&mut room).finish(), Some(&[][..]));
            let mut line = Line::new(&mut room);
            fill(&cells, &mut line);
            prop_assert!(needed == 0 || line.finish().is_none());
            Line::make_room(&mut room, needed);
            let mut line = Line::new(&mut room);
            fill(&cells, &mut line);
            prop_assert_eq!(line.finish(), Some(&expected[..]));
        }

        #[test]
        fn parts_are_copied_as_they_are(bytes in prop::collection::vec(any::<u8>(), 0..60), at in any::<[prop::sample::Index; 2]>()) {
            let mut at = at.map(|at| at.index(bytes.len() + 1));
            at.sort_unstable();
            let [start, end] = at;
            let mut out = Vec::new();
            out.part(&bytes, (start, end - start));
            prop_assert_eq!(out, &bytes[start..end]);
        }
    }
}
