//! Hashes to test with.

#![allow(dead_code, reason = "each suite uses a part")]

use lsm_burr::{Bits, Builder, Stats};

/// A sequence of random numbers (`SplitMix64`).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Random hashes, the same for the same seed.
pub(crate) fn hashes(seed: u64, count: usize) -> Vec<u64> {
    let mut dice = Dice(seed << 32 | 1);
    (0..count).map(|_| dice.roll()).collect()
}

/// Whole bits.
pub(crate) fn bits(r: u8) -> Bits {
    Bits::new(r.into()).expect("in range")
}

/// Builds a filter.
pub(crate) fn build(builder: &mut Builder, hashes: &[u64]) -> (Vec<u8>, Stats) {
    for &hash in hashes {
        builder.push(hash);
    }
    let mut bytes = Vec::new();
    let stats = builder.finish(&mut bytes).expect("few enough keys");
    assert_eq!(stats.len, bytes.len());
    (bytes, stats)
}
