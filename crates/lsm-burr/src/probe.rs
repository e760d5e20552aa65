//! Asks a layered filter: which instructions do it is chosen when the filter is opened, and all answer the same.
//!
//! A hash names a place in each layer. If the threshold there says that its keys went on, the next layer is asked, and
//! after the last one the stash. Otherwise the filter's bits under the equation are compared with the hash's own.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod prefetch;
mod scalar;
pub(crate) mod wide;

use crate::Structure;
use crate::geometry::{Geometry, Layer};
use crate::hash::{BLOCK, Mixed};
use crate::kernel::Kernel;
use crate::width::Coefficients;
use prefetch::prefetch;

/// Hashes whose cache misses overlap.
const BATCH: usize = 16;

/// The equation of a hash in the layer that decides about it.
#[derive(Clone, Copy, Debug)]
struct Equation {
    /// First byte of the block in which it starts, and its coefficients there.
    first: usize,
    first_row: u64,
    /// The same for the block in which it ends, which may be the same block: then no coefficient is left for it.
    last: usize,
    last_row: u64,
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
    match find_layer::<u64>(geometry, bytes, hash) {
        Some((layer, mixed, start)) => Found::Equation(equation(geometry, layer, mixed, start)),
        None => Found::Stash,
    }
}

/// The layer that decides about `hash`, what it makes of it, and where the equation starts; `None` for the stash.
#[inline]
fn find_layer<'a, C: Coefficients>(
    geometry: &'a Geometry,
    bytes: &[u8],
    hash: u64,
) -> Option<(&'a Layer, Mixed, usize)> {
    for layer in geometry.layers() {
        let mixed = Mixed::new(hash, layer.seed);
        let start = mixed.start(layer.starts);
        if !is_bumped::<C>(layer, bytes, start) {
            return Some((layer, mixed, start));
        }
    }
    None
}

/// Whether the keys that start at a slot live in a later layer.
#[inline]
fn is_bumped<C: Coefficients>(layer: &Layer, bytes: &[u8], start: usize) -> bool {
    let bucket = start >> C::BUCKET_LOG2;
    let four = bytes.get(layer.thresholds + bucket / 4).copied().unwrap_or_default();
    let limit = C::THRESHOLD_WORD >> ((four >> (bucket % 4 * 2) & 3) * 16) & 0xFFFF;
    ((start % C::BUCKET) as u64) < limit
}

#[inline]
fn equation(geometry: &Geometry, layer: &Layer, mixed: Mixed, start: usize) -> Equation {
    let last_block = start.div_ceil(BLOCK);
    let row = mixed.coefficients();
    let shift = start % BLOCK;
    Equation {
        first: layer.block_at(geometry.whole, start / BLOCK),
        first_row: row << shift,
        last: layer.block_at(geometry.whole, last_block),
        // In two steps, as a shift by 64 is none.
        last_row: row >> 1 >> (BLOCK - 1 - shift),
        columns: layer.columns(geometry.whole, last_block),
        fingerprint: mixed.fingerprint(),
    }
}

/// Answers for one hash.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "instructions that not every processor has"))]
#[inline]
pub(crate) fn one(kernel: Kernel, geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    match kernel {
        Kernel::Scalar => scalar::one(geometry, bytes, hash),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a filter's kernel is one that this processor has.
        Kernel::Avx2 => unsafe { avx2::one(geometry, bytes, hash) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a filter's kernel is one that this processor has.
        Kernel::Avx512 => unsafe { avx512::one(geometry, bytes, hash) },
        #[cfg(not(target_arch = "x86_64"))]
        Kernel::Avx2 | Kernel::Avx512 => scalar::one(geometry, bytes, hash),
    }
}

/// Answers for many hashes. The lines of a batch are asked for before the first of them is used.
pub(crate) fn many(kernel: Kernel, geometry: &Geometry, bytes: &[u8], hashes: &[u64], found: &mut [bool]) {
    let ask_for = |hash| ask_for::<u64>(geometry, bytes, hash);
    in_batches(hashes, found, ask_for, |hash| one(kernel, geometry, bytes, hash));
}

#[inline]
fn in_batches(hashes: &[u64], found: &mut [bool], ask_for: impl Fn(u64), one: impl Fn(u64) -> bool) {
    for (hashes, found) in hashes.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
        for &hash in hashes {
            ask_for(hash);
        }
        for (answer, &hash) in found.iter_mut().zip(hashes) {
            *answer = one(hash);
        }
    }
}

/// Starts loading the lines that nearly all hashes are decided by: those of the first layer.
#[inline]
pub(crate) fn ask_for<C: Coefficients>(geometry: &Geometry, bytes: &[u8], hash: u64) {
    let Some(layer) = geometry.layers.first().filter(|layer| layer.starts > 0) else { return };
    let start = Mixed::new(hash, layer.seed).start(layer.starts);
    let from = layer.block_at(geometry.whole, start / BLOCK);
    let to = layer.block_at(geometry.whole, start / BLOCK + C::BAND / BLOCK + 1);
    for line in bytes.get(from..to.min(bytes.len())).unwrap_or_default().chunks(prefetch::LINE) {
        prefetch(line.as_ptr());
    }
}

/// Whether the stash holds a hash.
#[cold]
fn stashed(geometry: &Geometry, bytes: &[u8], hash: u64) -> bool {
    geometry.stashed(bytes, Structure::Membership, hash).is_some()
}

/// The number that a retrieval table holds for a hash in its layers; `None` if no layer took it.
pub(crate) fn value(geometry: &Geometry, bytes: &[u8], hash: u64) -> Option<u32> {
    match find(geometry, bytes, hash) {
        Found::Equation(equation) => Some(scalar::value(bytes, &equation)),
        Found::Stash => None,
    }
}
