//! One column after another, up to the first that differs: two on average for an absent hash. The safe twin that the
//! vector kernels are tested against.

use super::{Equation, Found, find, stashed};
use crate::geometry::Geometry;

pub(super) fn one(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    match find(geometry, bytes, hash) {
        Found::Equation(equation) => holds(bytes, &equation),
        Found::Stash => stashed(geometry, bytes, hash),
    }
}

/// Whether the filter's bits under the equation are the hash's own.
#[inline]
fn holds(bytes: &[u8], equation: &Equation) -> bool {
    let [first, last] = equation.blocks.map(|at| words(bytes, at, equation.columns));
    let [first_row, last_row] = equation.rows;
    first.zip(last).enumerate().all(|(column, (a, b))| {
        let parity = (a & first_row ^ b & last_row).count_ones();
        (parity ^ equation.fingerprint >> column) & 1 == 0
    })
}

#[inline]
fn words(bytes: &[u8], at: usize, count: usize) -> impl Iterator<Item = u64> {
    let words = bytes.get(at..at + count * 8).unwrap_or_default();
    words.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)))
}
