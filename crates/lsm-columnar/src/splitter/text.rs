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

/// Appends a value of type `ty`; nothing for a null.
pub(super) fn write(ty: ColumnType, datum: Datum<'_>, out: &mut Vec<u8>) {
    match datum {
        Datum::Null => {}
        Datum::Bytes(bytes) => out.extend_from_slice(bytes),
        Datum::Bool(value) => write_bool(value, out),
        Datum::U64(value) => write_u64(value, out),
        Datum::I64(value) => write_i64(ty, value, out),
        Datum::U128(value) => write_u128(value, out),
        Datum::I128(value) => {
            if value < 0 {
                out.push(b'-');
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

/// Appends a value of type `ty`, a type of at most eight bytes, by its image.
#[inline]
pub(super) fn write_image(ty: ColumnType, image: u64, out: &mut Vec<u8>) {
    use ColumnType as T;
    match ty {
        T::U8 | T::U16 | T::U32 | T::U64 => write_u64(image, out),
        _ => write(ty, Datum::from_image(ty, image), out),
    }
}

fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a signed integer, or a decimal, of at most eight bytes.
#[inline]
fn write_i64(ty: ColumnType, value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    match ty {
        ColumnType::Decimal { scale: scale @ 1.., .. } => {
            write_decimal(value.unsigned_abs().into(), scale, out);
        }
        _ => write_u64(value.unsigned_abs(), out),
    }
}

#[inline]
fn write_u64(value: u64, out: &mut Vec<u8>) {
    if value < EIGHT {
        return write_leading(value, out);
    }
    let (rest, low) = (value / EIGHT, value % EIGHT);
    if rest < EIGHT {
        write_leading(rest, out);
    } else {
        write_leading(rest / EIGHT, out);
        write_eight(rest % EIGHT, out);
    }
    write_eight(low, out);
}

fn write_u128(value: u128, out: &mut Vec<u8>) {
    match u64::try_from(value) {
        Ok(value) => write_u64(value, out),
        Err(_) => display(value, out),
    }
}

/// `scale` digits behind the point, one in front of it at least.
fn write_decimal(value: u128, scale: u8, out: &mut Vec<u8>) {
    let point = match (u64::try_from(value), 10_u64.checked_pow(scale.into())) {
        // The one in front makes room for the point, and keeps the zeros behind it. There are 18 digits at most.
        (Ok(value), Some(one)) if scale <= 18 => {
            write_u64(value / one, out);
            let point = out.len();
            write_u64(one + value % one, out);
            point
        }
        _ => {
            // A scale has 38 digits at most: twice this much is still a number.
            let one = 10_u128.checked_pow(scale.into()).unwrap_or(1);
            write_u128(value / one, out);
            let point = out.len();
            write_u128(one.saturating_add(value % one), out);
            point
        }
    };
    if let Some(byte) = out.get_mut(point) {
        *byte = b'.';
    }
}

/// A number of up to eight digits, without leading zeros.
#[inline]
fn write_leading(value: u64, out: &mut Vec<u8>) {
    let digits = eight_digits(value);
    // A zero has a digit too.
    let zeros = (digits | (1 << 56)).trailing_zeros() / 8;
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&((digits | ASCII) >> (8 * zeros)).to_le_bytes());
    out.truncate(end);
}

/// All eight digits.
#[inline]
fn write_eight(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(eight_digits(value) | ASCII).to_le_bytes());
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

/// Appends `bytes[start..start + len]`, which has to be there; short ones in one copy of a size that is known.
#[inline]
pub(super) fn write_part(bytes: &[u8], (start, len): (usize, usize), out: &mut Vec<u8>) {
    if len <= PIECE
        && let Some(piece) = bytes.get(start..).and_then(<[u8]>::first_chunk::<PIECE>)
    {
        let end = out.len() + len;
        out.extend_from_slice(piece);
        out.truncate(end);
        return;
    }
    out.extend_from_slice(bytes.get(start..start.saturating_add(len)).unwrap_or_default());
}

/// Appends what the standard library writes.
fn display(value: impl fmt::Display, out: &mut Vec<u8>) {
    let written = write!(Text(out), "{value}");
    debug_assert!(written.is_ok(), "a vector takes any text");
}

struct Text<'v>(&'v mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
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

        #[test]
        fn parts_are_copied_as_they_are(bytes in prop::collection::vec(any::<u8>(), 0..60), at in any::<[prop::sample::Index; 2]>()) {
            let mut at = at.map(|at| at.index(bytes.len() + 1));
            at.sort_unstable();
            let [start, end] = at;
            let mut out = Vec::new();
            write_part(&bytes, (start, end - start), &mut out);
            prop_assert_eq!(out, &bytes[start..end]);
        }
    }
}
