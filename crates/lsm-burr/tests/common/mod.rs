//! Hashes to test with.

#![allow(dead_code, reason = "each suite uses a part")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::expect_used,
    reason = "figures of a test are small"
)]

use lsm_burr::{Bits, Builder, FilterRef, Stats, Structure};

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

/// No member is missing.
#[track_caller]
pub(crate) fn check_members(bytes: &[u8], keys: &[u64]) {
    let filter = FilterRef::open(bytes).expect("well formed");
    let missing = keys.iter().filter(|&&key| !filter.may_contain(key)).count();
    assert_eq!(missing, 0, "of {} keys", keys.len());
}

/// Bytes that a filter may take. The head is one cache line whatever the number of keys, so it is in every bound; so
/// are thresholds and a block of 64 slots, which is why no bound is below 0.04 or 0.05 bits.
pub(crate) fn len_max(keys: usize, r: u8) -> usize {
    let over = match keys {
        ..1024 => 8.0,
        1024..3072 => 0.13 * f64::from(r),
        3072..8192 => f64::max(0.04 * f64::from(r), 0.05),
        8192..32_768 => f64::max(0.015 * f64::from(r), 0.05),
        _ => 0.04,
    };
    // From 13 bits on, a block of 64 slots is more than the bound leaves to all slots that stay empty.
    let block = if r > 12 && keys >= 32_768 { 8.0 * f64::from(r) } else { 0.0 };
    (keys as f64 * (f64::from(r) + over) / 8.0 + block).ceil() as usize + 64
}

/// Absent hashes that are answered "maybe" stay within five standard deviations of one in 2^r.
#[track_caller]
pub(crate) fn check_rate(bytes: &[u8], rate: f64, probes: u32, seed: u64) {
    let filter = FilterRef::open(bytes).expect("well formed");
    let mut dice = Dice(seed);
    let wrong = (0..probes).filter(|_| filter.may_contain(dice.roll())).count() as f64;
    let expected = f64::from(probes) * rate;
    let deviation = (expected * (1.0 - rate)).sqrt();
    let over = (wrong - expected) / deviation.max(1.0);
    assert!(over <= 5.0, "{wrong} wrong, {expected} expected");
    // Fingerprints in a list may be equal, and fewer of them err less.
    assert!(
        over >= -5.0 || filter.stats().structure == Structure::FingerprintList,
        "{wrong}, {expected} expected"
    );
}
