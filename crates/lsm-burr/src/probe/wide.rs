//! Equations that cover 128 slots, two blocks or three, in plain words. Filters that have them are seldom asked.

use super::scalar::{matches, word};
use super::{ask_for, find_layer, in_batches, stashed};
use crate::geometry::Geometry;
use crate::hash::BLOCK;

/// Answers for one hash.
pub(crate) fn one(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    let Some((layer, mixed, start)) = find_layer::<u128>(geometry, bytes, hash) else {
        return stashed(geometry, bytes, hash);
    };
    let (low, high) = (mixed.coefficients(), mixed.more_coefficients());
    let shift = start % BLOCK;
    // What a shift pushes out of a word, in two steps, as a shift by 64 is none.
    let pushed_out = |word: u64| word >> 1 >> (BLOCK - 1 - shift);
    let rows = [low << shift, high << shift | pushed_out(low), pushed_out(high)];
    // An equation that starts with a block has no third one: the second stands in for it, without coefficients.
    let last_block = start.div_ceil(BLOCK) + 1;
    let blocks = [start / BLOCK, start / BLOCK + 1, last_block];
    let [a, b, c] = blocks.map(|block| layer.block_at(geometry.whole, block));
    let [row_a, row_b, row_c] = rows;
    matches(layer.columns(geometry.whole, last_block), mixed.fingerprint(), |column| {
        let at = column * 8;
        word(bytes, a + at) & row_a ^ word(bytes, b + at) & row_b ^ word(bytes, c + at) & row_c
    })
}

/// Answers for many hashes, like [`super::many`].
pub(crate) fn many(geometry: &Geometry, bytes: &[u8], hashes: &[u64], found: &mut [bool]) {
    let ask_for = |hash| ask_for::<u128>(geometry, bytes, hash);
    in_batches(hashes, found, ask_for, |hash| one(geometry, bytes, hash));
}
