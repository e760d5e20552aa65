//! Eight columns at a time: both blocks are loaded, masked with the coefficients and combined, and the parities of
//! all columns are counted at once.

#![expect(unsafe_code, reason = "loads of vectors take an address")]

use core::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_maskz_loadu_epi64, _mm512_popcnt_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_test_epi64_mask, _mm512_xor_si512,
};

use super::{Equation, Found, find, stashed};
use crate::geometry::Geometry;
use crate::hash::low_bits;

/// Columns of a vector.
const LANES: usize = 8;

#[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn one(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    match find(geometry, bytes, hash) {
        Found::Equation(equation) => holds(bytes, &equation),
        Found::Stash => stashed(geometry, bytes, hash),
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,lzcnt,popcnt")]
#[inline]
fn holds(bytes: &[u8], equation: &Equation) -> bool {
    let first_row = _mm512_set1_epi64(equation.first_row.cast_signed());
    let last_row = _mm512_set1_epi64(equation.last_row.cast_signed());
    for column in (0..equation.columns).step_by(LANES) {
        let count = (equation.columns - column).min(LANES);
        let first = _mm512_and_si512(load(bytes, equation.first + column * 8, count), first_row);
        let last = _mm512_and_si512(load(bytes, equation.last + column * 8, count), last_row);
        let ones = _mm512_popcnt_epi64(_mm512_xor_si512(first, last));
        let parities = u32::from(_mm512_test_epi64_mask(ones, _mm512_set1_epi64(1)));
        if (parities ^ equation.fingerprint >> column) & low_bits(count) != 0 {
            return false;
        }
    }
    true
}

/// The first `count` words at a byte, and zeros.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(bytes: &[u8], at: usize, count: usize) -> __m512i {
    let Some(words) = bytes.get(at..at + count * 8) else { return _mm512_setzero_si512() };
    let mask = u8::try_from((1_u32 << count) - 1).unwrap_or(u8::MAX);
    // SAFETY: only the lanes of the mask are read, and those `count` words are `words`.
    unsafe { _mm512_maskz_loadu_epi64(mask, words.as_ptr().cast()) }
}
