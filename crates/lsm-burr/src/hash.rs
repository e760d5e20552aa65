//! What a layer makes of a hash: a place, a row of coefficients, and the bits the key is known by.
//!
//! All three come out of one product of the hash and the layer's seed, so a layer needs no hash function of the key,
//! and equal hashes give equal equations. The caller's hashes need not be random: sequential numbers do.

/// Slots of a block.
pub(crate) const BLOCK: usize = 64;
/// Bits of a threshold.
pub(crate) const THRESHOLD_BITS: u8 = 2;

const PLACE: u64 = 0x9E37_79B9_7F4A_7C15;
const ROW: u64 = 0xD6E8_FEB8_6659_FD93;
const RESULT: u64 = 0xA076_1D64_78BD_642F;
const MORE: u64 = 0xE703_7ED1_A0B4_28DB;

/// The two halves of a product, folded.
#[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Seed of one layer. `attempt` tells apart the tries to fill a layer without leftovers.
pub(crate) fn layer_seed(seed: u64, layer: usize, attempt: u8) -> u64 {
    let number = (layer as u64) << 8 | u64::from(attempt);
    fold(seed ^ RESULT, ROW ^ number.wrapping_mul(PLACE)) ^ number.wrapping_mul(RESULT)
}

/// A hash as one layer sees it.
#[derive(Clone, Copy)]
pub(crate) struct Mixed(u64);

impl Mixed {
    #[inline]
    pub(crate) fn new(hash: u64, layer_seed: u64) -> Self {
        Self(fold(hash ^ layer_seed, PLACE))
    }

    /// The first slot of the equation, below `starts`.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half fits")]
    #[inline]
    pub(crate) fn start(self, starts: u64) -> usize {
        ((u128::from(self.0) * u128::from(starts)) >> 64) as usize
    }

    /// Which of the slots from the start on take part; the first always does.
    #[inline]
    pub(crate) fn coefficients(self) -> u64 {
        fold(self.0, ROW) | 1
    }

    /// The same for the 64 slots after the first 64, in wide equations.
    #[inline]
    pub(crate) fn more_coefficients(self) -> u64 {
        fold(self.0, MORE)
    }

    /// The bits a member is known by; a filter of `r` bits takes the low `r`.
    #[inline]
    pub(crate) fn fingerprint(self) -> u32 {
        (self.0.wrapping_mul(RESULT) >> 32) as u32
    }

    /// The hash scaled to `0..keys * 2^64`: the upper part picks a list's bucket, the lower one tells keys apart.
    #[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
    pub(crate) fn scaled(self, keys: u64) -> (u64, u64) {
        let product = u128::from(self.0) * u128::from(keys);
        ((product >> 64) as u64, product as u64)
    }
}

/// The lowest `count` bits of 32.
#[inline]
pub(crate) fn low_bits(count: usize) -> u32 {
    u32::try_from((1_u64 << count.min(32)) - 1).unwrap_or(u32::MAX)
}
