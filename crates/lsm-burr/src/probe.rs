//! Asks a layered filter: which instructions do it is chosen when the filter is opened, and all answer the same.
//!
//! A hash names a place in each layer. If the threshold there says that its keys went on, the next layer is asked, and
//! after the last one the stash. Otherwise the filter's bits under the equation are compared with the hash's own.

mod scalar;

use crate::geometry::{Geometry, Layer};
use crate::hash::{BAND, BUCKET, BUCKET_LOG2, Mixed, THRESHOLDS};

/// Hashes whose cache misses overlap.
const BATCH: usize = 16;

/// Instructions to probe with.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kernel {
    /// Column by column, up to the first that differs.
    Scalar,
}

impl Kernel {
    /// The fastest this processor has.
    pub(crate) fn best() -> Self {
        Self::Scalar
    }

    /// Whether this processor has them.
    pub fn is_available(self) -> bool {
        true
    }
}

/// The equation of a hash in the layer that decides about it.
#[derive(Clone, Copy, Debug)]
struct Equation {
    /// First byte of the block in which it starts, and of the block in which it ends.
    blocks: [usize; 2],
    /// Coefficients within these blocks.
    rows: [u64; 2],
    columns: usize,
    /// The bits the hash is known by.
    fingerprint: u32,
}

/// Where the answer about a hash is.
enum Found {
    Equation(Equation),
    Stash,
}

/// Walks down to the layer that decides about `hash`.
#[inline]
fn find(geometry: &Geometry, bytes: &[u8], hash: u64) -> Found {
    for layer in geometry.layers() {
        let mixed = Mixed::new(hash, layer.seed);
        let start = mixed.start(layer.starts);
        if !is_bumped(layer, bytes, start) {
            return Found::Equation(equation(geometry, layer, mixed, start));
        }
    }
    Found::Stash
}

/// Whether the keys that start at a slot live in a later layer.
#[inline]
fn is_bumped(layer: &Layer, bytes: &[u8], start: usize) -> bool {
    let bucket = start >> BUCKET_LOG2;
    let four = bytes.get(layer.thresholds + bucket / 4).copied().unwrap_or_default();
    // Four limits of a byte each in one word: no load, no branch.
    let limit = u32::from_le_bytes(THRESHOLDS) >> ((four >> (bucket % 4 * 2) & 3) * 8) & 0xFF;
    start % BUCKET < limit as usize
}

#[inline]
fn equation(geometry: &Geometry, layer: &Layer, mixed: Mixed, start: usize) -> Equation {
    let (first, last) = (start / BAND, (start + BAND - 1) / BAND);
    let row = mixed.coefficients();
    let shift = start % BAND;
    Equation {
        blocks: [first, last].map(|block| layer.block_at(geometry.whole, block)),
        // In two steps, as a shift by 64 is none.
        rows: [row << shift, row >> 1 >> (BAND - 1 - shift)],
        columns: layer.columns(geometry.whole, last),
        fingerprint: mixed.fingerprint(),
    }
}

/// Answers for one hash.
#[inline]
pub(crate) fn one(kernel: Kernel, geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    match kernel {
        Kernel::Scalar => scalar::one(geometry, bytes, hash),
    }
}

/// Answers for many hashes.
pub(crate) fn many(kernel: Kernel, geometry: &Geometry, bytes: &[u8], hashes: &[u64], found: &mut [bool]) {
    for (hashes, found) in hashes.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
        for (answer, &hash) in found.iter_mut().zip(hashes) {
            *answer = one(kernel, geometry, bytes, hash);
        }
    }
}

/// Whether the stash holds a hash.
#[cold]
fn stashed(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    let entries = bytes.get(geometry.stash..).unwrap_or_default();
    let (mut low, mut high) = (0, geometry.stash_count);
    while low < high {
        let middle = low.midpoint(high);
        let Some(entry) = entries.get(middle * 8..).and_then(<[u8]>::first_chunk) else { return true };
        match u64::from_le_bytes(*entry).cmp(&hash) {
            core::cmp::Ordering::Less => low = middle + 1,
            core::cmp::Ordering::Equal => return true,
            core::cmp::Ordering::Greater => high = middle,
        }
    }
    false
}
