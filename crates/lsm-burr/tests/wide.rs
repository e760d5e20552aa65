//! Filters whose equations cover 128 slots: the same promises as the others', in fewer bytes.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "figures of a test are small"
)]

mod common;

use common::{bits, build, check_members, check_rate, hashes, len_max};
use lsm_burr::{BandWidth, Bits, Builder, FilterRef, Kernel, Structure};

const SIZES: [usize; 14] =
    [0, 1, 100, 256, 257, 300, 1000, 2048, 3120, 5000, 10_000, 32 << 10, 64 << 10, 300_000];

fn builder(bits: Bits) -> Builder {
    Builder::new(bits).with_band(BandWidth::Slots128)
}

/// Members are found, the rate is right, the weight is within the bound of the others.
///
/// Proves F-86.
#[test]
fn members_rate_and_weight() {
    for r in [1, 3, 8, 12, 16] {
        let mut builder = builder(bits(r));
        for keys in SIZES {
            let members = hashes(keys as u64, keys);
            for &hash in &members {
                builder.push(hash);
            }
            let projected = builder.projected_len();
            let (bytes, stats) = build(&mut builder, &[]);
            check_members(&bytes, &members);
            assert!(bytes.len() <= len_max(keys, r), "{keys} keys of {r} bits: {stats:?}");
            let allowed = keys * usize::from(r) / 8 / 200 + 16 * usize::from(r) + 16;
            assert!(projected.abs_diff(bytes.len()) <= allowed, "{keys} keys: {projected} for {stats:?}");
            if keys > 0 {
                check_rate(&bytes, bits(r).rate(), 100_000, 7);
            }
            let layered = keys > 256;
            assert_eq!(stats.band, layered.then_some(BandWidth::Slots128));
            assert!(!layered || bytes[17..20] == [128, 8, 2], "{:?}", &bytes[17..20]);
        }
    }
}

#[test]
fn fractions_of_bits() {
    for steps in [1.5, 7.25, 8.999, 31.5] {
        let asked = Bits::new(steps).expect("in range");
        let members = hashes(3, 20_000);
        let (bytes, stats) = build(&mut builder(asked), &members);
        check_members(&bytes, &members);
        check_rate(&bytes, asked.rate(), 1_000_000, 9);
        assert!(stats.bits_per_key() < steps * 1.005 + 0.06, "{steps}: {stats:?}");
    }
}

/// What all bytes of some filters are over their `r` bits per key.
fn weight_over(band: BandWidth, keys: usize, sets: u64) -> usize {
    let mut builder = Builder::new(bits(8)).with_band(band);
    (0..sets).map(|seed| build(&mut builder, &hashes(seed + 40, keys)).0.len() - keys).sum()
}

/// What is over the bits themselves is less than with 64 slots in a partition, and less than half of it in a large
/// filter.
#[test]
fn wide_equations_weigh_less() {
    let (narrow, wide) =
        [BandWidth::Slots64, BandWidth::Slots128].map(|band| weight_over(band, 32 << 10, 20)).into();
    assert!(wide < narrow * 95 / 100, "{wide} bytes, {narrow} with 64 slots");
    let (narrow, wide) =
        [BandWidth::Slots64, BandWidth::Slots128].map(|band| weight_over(band, 1_000_000, 1)).into();
    assert!(wide * 2 < narrow, "{wide} bytes, {narrow} with 64 slots");
}

/// Proves F-90.
#[test]
fn many_seeds() {
    let mut builder = builder(bits(8));
    for keys in (0..20).map(|step| 260 + step * 236) {
        for seed in 0..20 {
            let members = hashes(seed << 16 | keys as u64, keys);
            let (bytes, stats) = build(&mut builder, &members);
            check_members(&bytes, &members);
            assert_eq!(stats.structure, Structure::Membership);
            assert!(bytes.len() <= len_max(keys, 8), "{keys} keys, seed {seed}: {stats:?}");
        }
    }
}

#[track_caller]
fn check_adversary(name: &str, members: &[u64], distinct: usize) {
    for r in [1, 8, 16] {
        let (bytes, stats) = build(&mut builder(bits(r)), members);
        check_members(&bytes, members);
        assert!(bytes.len() <= len_max(distinct, r) + 16 * usize::from(r), "{name}: {stats:?}");
    }
}

/// Proves F-90.
#[test]
fn adversarial_sets() {
    check_adversary("all equal", &vec![42; 10_000], 1);
    check_adversary("two distinct", &[1, u64::MAX].repeat(5000), 2);
    check_adversary("sequential", &(0..40_000).collect::<Vec<_>>(), 40_000);
    check_adversary("multiples", &(0..40_000).map(|i| i << 40).collect::<Vec<_>>(), 40_000);
    check_adversary("lowest bits only", &(0..5000).map(|i| i * 3).collect::<Vec<_>>(), 5000);
    check_adversary("thrice each", &hashes(6, 3000).repeat(3), 3000);
    check_adversary("a tenth twice", &[hashes(7, 20_000), hashes(7, 2000)].concat(), 22_000);
}

/// Proves F-89.
#[test]
fn order_does_not_matter() {
    for keys in [257, 3120, 20_000, 70_000] {
        let mut members = hashes(11, keys);
        members.extend_from_within(..keys / 20);
        let mut used = builder(bits(8));
        build(&mut used, &hashes(12, 5000));
        let first = build(&mut used, &members).0;
        members.reverse();
        let reversed = build(&mut builder(bits(8)), &members).0;
        members.sort_unstable();
        let sorted = build(&mut used, &members).0;
        assert!(first == reversed && first == sorted, "{keys} keys");
    }
}

/// A reader written from the format's page alone, one bit at a time.
mod page {
    const A: u64 = 0x9E37_79B9_7F4A_7C15;
    const B: u64 = 0xD6E8_FEB8_6659_FD93;
    const C: u64 = 0xA076_1D64_78BD_642F;
    const D: u64 = 0xE703_7ED1_A0B4_28DB;

    fn fold(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    }

    fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
        (0..len).map(|i| u64::from(bytes[at + i]) << (i * 8)).sum()
    }

    /// Whether a filter of equations of 128 slots says "maybe".
    pub(super) fn may_contain(bytes: &[u8], hash: u64) -> bool {
        let whole = usize::from(bytes[2]);
        let layers = usize::from(bytes[3]);
        let (seed, fraction) = (number(bytes, 8, 8), number(bytes, 30, 2));
        let mut solution = if layers <= 4 { 64 } else { 128 };
        let table = |layer: usize| number(bytes, 32 + layer * 8, 4) as usize;
        let wide_blocks = |layer: usize| ((table(layer) as u64 / 64 * fraction) >> 16) as usize;
        let words = |layer: usize| table(layer) / 64 * whole + wide_blocks(layer);
        let mut thresholds = solution + (0..layers).map(words).sum::<usize>() * 8;
        for layer in 0..layers {
            let slots = table(layer);
            let number_of_layer = layer as u64 * 256 + u64::from(bytes[24 + layer]);
            let layer_seed =
                fold(seed ^ C, B ^ number_of_layer.wrapping_mul(A)) ^ number_of_layer.wrapping_mul(C);
            let x = fold(hash ^ layer_seed, A);
            let start = ((u128::from(x) * (slots as u128 - 127)) >> 64) as usize;
            let threshold = bytes[thresholds + start / 256 / 4] >> (start / 256 % 4 * 2) & 3;
            if start % 256 >= [0, 32, 85, 256][usize::from(threshold)] {
                let coefficients = u128::from(fold(x, B) | 1) | u128::from(fold(x, D)) << 64;
                let fingerprint = x.wrapping_mul(C) >> 32;
                let word_at = |block: usize| solution + (block * whole + block.min(wide_blocks(layer))) * 8;
                let columns = whole + usize::from((start + 127) / 64 < wide_blocks(layer));
                return (0..columns).all(|column| {
                    let ones = (0..128).filter(|i| coefficients >> i & 1 == 1).filter(|i| {
                        let slot = start + i;
                        number(bytes, word_at(slot / 64) + column * 8, 8) >> (slot % 64) & 1 == 1
                    });
                    ones.count() as u64 & 1 == fingerprint >> column & 1
                });
            }
            solution += words(layer) * 8;
            thresholds += number(bytes, 36 + layer * 8, 4) as usize;
        }
        (thresholds..bytes.len()).step_by(8).any(|at| number(bytes, at, 8) == hash)
    }
}

/// Probes, one by one and in batches, at every alignment and whatever the kernel, answer as the page says.
///
/// Proves F-91, F-95.
#[test]
fn probes_follow_the_page() {
    for (keys, asked) in [(300, 1.0), (3000, 5.5), (70_000, 8.0), (9000, 31.25)] {
        let members = hashes(21, keys);
        let (bytes, stats) = build(&mut builder(Bits::new(asked).expect("in range")), &members);
        assert!(keys < 70_000 || stats.layers > 2, "{stats:?}");
        let asked: Vec<u64> = members.iter().step_by(7).copied().chain(hashes(22, 5000)).collect();
        let expected: Vec<bool> = asked.iter().map(|&hash| page::may_contain(&bytes, hash)).collect();
        for shift in [0, 1, 8, 33] {
            let shifted = [vec![0xAA; shift], bytes.clone()].concat();
            let opened = FilterRef::open(&shifted[shift..]).expect("well formed");
            for kernel in Kernel::ALL {
                let Some(filter) = opened.clone().with_kernel(kernel) else { continue };
                for &hash in &asked {
                    filter.prefetch(hash);
                }
                let one_by_one: Vec<bool> = asked.iter().map(|&hash| filter.may_contain(hash)).collect();
                assert!(one_by_one == expected, "{keys} keys at {shift}");
                let mut batch = vec![false; asked.len() - 3];
                filter.may_contain_batch(&asked, &mut batch);
                assert!(batch == expected[..batch.len()], "{keys} keys in batches");
            }
        }
    }
}
