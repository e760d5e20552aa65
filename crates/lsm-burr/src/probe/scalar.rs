//! Four columns at a time in plain words. The safe twin that the vector kernels are tested against.

use super::{Equation, Found, find, stashed};
use crate::geometry::Geometry;
use crate::hash::low_bits;

/// Columns that are compared at once. Leaving at the first column that differs takes two steps on average, but nobody
/// can guess how many; after four columns the answer is nearly always known.
const STEP: usize = 4;

pub(super) fn one(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    match find(geometry, bytes, hash) {
        Found::Equation(equation) => holds(bytes, &equation),
        Found::Stash => stashed(geometry, bytes, hash),
    }
}

/// Whether the filter's bits under the equation are the hash's own.
#[inline]
fn holds(bytes: &[u8], equation: &Equation) -> bool {
    matches(equation.columns, equation.fingerprint, |column| combined(bytes, equation, column))
}

/// Whether the parities of so many columns are the lowest bits of a fingerprint.
#[inline]
pub(super) fn matches(columns: usize, fingerprint: u32, combined: impl Fn(usize) -> u64) -> bool {
    let folded = |column| folded(combined(column));
    let mut column = 0;
    while column < columns {
        // Beyond the last column there may be anything; the mask leaves it out.
        let (a, b, c, d) = (folded(column), folded(column + 1), folded(column + 2), folded(column + 3));
        let parities = parities(a | b << 16 | c << 32 | d << 48);
        if (parities ^ fingerprint >> column) & low_bits((columns - column).min(STEP)) != 0 {
            return false;
        }
        column += STEP;
    }
    true
}

/// The filter's bits under the equation.
pub(super) fn value(bytes: &[u8], equation: &Equation) -> u32 {
    (0..equation.columns).fold(0, |value, column| {
        let parity = combined(bytes, equation, column).count_ones() & 1;
        value | parity << column
    })
}

/// A column under the equation's coefficients.
#[inline]
fn combined(bytes: &[u8], equation: &Equation, column: usize) -> u64 {
    let first = word(bytes, equation.first + column * 8) & equation.first_row;
    let last = word(bytes, equation.last + column * 8) & equation.last_row;
    first ^ last
}

/// 16 bits of the same parity.
#[inline]
fn folded(mut combined: u64) -> u64 {
    combined ^= combined >> 32;
    combined ^= combined >> 16;
    combined & 0xFFFF
}

#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The parities of four groups of 16 bits, the lowest first.
#[inline]
fn parities(mut groups: u64) -> u32 {
    for shift in [8, 4, 2, 1] {
        groups ^= groups >> shift;
    }
    // Brings bits 0, 16, 32 and 48 side by side; no two products meet.
    let gather = 1 << 48 | 1 << 33 | 1 << 18 | 1 << 3;
    ((groups & 0x0001_0001_0001_0001).wrapping_mul(gather) >> 48) as u32 & 0xF
}
