//! Eight columns as two vectors of four, whose parities are found by folding each word onto itself.

#![expect(unsafe_code, reason = "loads of vectors take an address")]

use core::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpgt_epi64,
    _mm256_maskload_epi64, _mm256_movemask_ps, _mm256_permute4x64_epi64, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_setzero_si256, _mm256_shuffle_ps, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_srli_epi64, _mm256_srlv_epi32, _mm256_xor_si256,
};

use super::{Equation, Found, find, stashed};
use crate::geometry::Geometry;
use crate::hash::low_bits;

/// Columns of a vector.
const LANES: usize = 4;
/// Bit i is the parity of the four bits of i.
const PARITIES: i32 = 0x6996;

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn one(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    match find(geometry, bytes, hash) {
        Found::Equation(equation) => holds(bytes, &equation),
        Found::Stash => stashed(geometry, bytes, hash),
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[inline]
fn holds(bytes: &[u8], equation: &Equation) -> bool {
    for column in (0..equation.columns).step_by(2 * LANES) {
        let count = (equation.columns - column).min(2 * LANES);
        let low = combined(bytes, equation, column, count.min(LANES));
        let high = combined(bytes, equation, column + LANES, count.saturating_sub(LANES));
        let parities = parities(low, high);
        if (parities ^ equation.fingerprint >> column) & low_bits(count) != 0 {
            return false;
        }
    }
    true
}

/// Up to four columns under the equation's coefficients.
#[target_feature(enable = "avx2")]
#[inline]
fn combined(bytes: &[u8], equation: &Equation, column: usize, count: usize) -> __m256i {
    let first_row = _mm256_set1_epi64x(equation.first_row.cast_signed());
    let last_row = _mm256_set1_epi64x(equation.last_row.cast_signed());
    let first = load(bytes, equation.first + column * 8, count);
    let last = load(bytes, equation.last + column * 8, count);
    _mm256_xor_si256(_mm256_and_si256(first, first_row), _mm256_and_si256(last, last_row))
}

/// The parities of eight words, the first in the lowest bit.
#[target_feature(enable = "avx2")]
#[inline]
fn parities(low: __m256i, high: __m256i) -> u32 {
    let low = _mm256_xor_si256(low, _mm256_srli_epi64::<32>(low));
    let high = _mm256_xor_si256(high, _mm256_srli_epi64::<32>(high));
    // The lower halves of all words side by side: first in each half of the vector, then in order.
    let halves = _mm256_shuffle_ps::<0b10_00_10_00>(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
    let mut folded = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(halves));
    folded = _mm256_xor_si256(folded, _mm256_srli_epi32::<16>(folded));
    folded = _mm256_xor_si256(folded, _mm256_srli_epi32::<8>(folded));
    folded = _mm256_xor_si256(folded, _mm256_srli_epi32::<4>(folded));
    let nibble = _mm256_and_si256(folded, _mm256_set1_epi32(15));
    let parity = _mm256_srlv_epi32(_mm256_set1_epi32(PARITIES), nibble);
    _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32::<31>(parity))).cast_unsigned()
}

/// The first `count` words at a byte, and zeros.
#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &[u8], at: usize, count: usize) -> __m256i {
    let Some(words) = bytes.get(at..at + count * 8) else { return _mm256_setzero_si256() };
    let lanes = _mm256_setr_epi64x(0, 1, 2, 3);
    let mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x((count as u64).cast_signed()), lanes);
    // SAFETY: only the lanes of the mask are read, and those `count` words are `words`.
    unsafe { _mm256_maskload_epi64(words.as_ptr().cast(), mask) }
}
