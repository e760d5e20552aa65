//! What a filter promises: no false negative, the rate asked for, and its weight.

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
use lsm_burr::{Bits, Builder, Filter, FilterRef, Kernel, Structure};

const SIZES: [usize; 20] = [
    0,
    1,
    2,
    10,
    63,
    64,
    65,
    100,
    127,
    128,
    129,
    300,
    1000,
    3120,
    5000,
    10_000,
    32 << 10,
    64 << 10,
    100_000,
    1_000_000,
];

/// Every size with every number of bits: members are found, the rate is right, the weight is within the bound of
/// `docs/adr/0005-what-a-filter-weighs.md`, which is wider than F-87 for small filters and for many bits.
///
/// Proves F-86.
/// Fault: formats W-1.
#[test]
fn members_rate_and_weight() {
    for r in 1..=16 {
        let mut builder = Builder::new(bits(r));
        for keys in SIZES {
            let members = hashes(keys as u64, keys);
            let (bytes, stats) = build(&mut builder, &members);
            check_members(&bytes, &members);
            assert!(bytes.len() <= len_max(keys, r), "{keys} keys of {r} bits: {stats:?}");
            if keys > 0 {
                check_rate(&bytes, bits(r).rate(), 100_000, 7);
            }
            if keys == 10_000 {
                check_rate(&bytes, bits(r).rate(), 1_000_000, 8);
            }
        }
    }
}

/// Fractions of bits lie between whole ones, in rate and in weight.
#[test]
fn fractions_of_bits() {
    for steps in [1.5, 7.25, 8.5, 8.999, 15.75, 31.5] {
        let asked = Bits::new(steps).expect("in range");
        let members = hashes(3, 20_000);
        let (bytes, stats) = build(&mut Builder::new(asked), &members);
        check_members(&bytes, &members);
        check_rate(&bytes, asked.rate(), 1_000_000, 9);
        assert!(stats.bits_per_key() < steps * 1.004 + 0.08, "{steps}: {stats:?}");
        assert_eq!(FilterRef::open(&bytes).expect("well formed").bits(), asked);
    }
}

/// Every size up to 2000: members are found, and the projection is near.
///
/// Proves F-90.
#[test]
fn all_small_sizes() {
    for r in [3, 8, 12] {
        let mut builder = Builder::new(bits(r));
        for keys in 0..=2000 {
            let members = hashes(keys as u64 + 77, keys);
            for &hash in &members {
                builder.push(hash);
            }
            let projected = builder.projected_len();
            let (bytes, stats) = build(&mut builder, &[]);
            check_members(&bytes, &members);
            let allowed = keys * usize::from(r) / 8 / 200 + 8 * usize::from(r) + 16;
            assert!(projected.abs_diff(bytes.len()) <= allowed, "{keys} keys: {projected} for {stats:?}");
            let expected = if keys <= 256 { Structure::FingerprintList } else { Structure::Membership };
            assert_eq!(stats.structure, expected, "{keys} keys");
        }
    }
}

/// A hundred seeds at each of twenty sizes between 500 and 5000, where other methods fail now and then.
///
/// Proves F-90.
/// Fault: formats W-2.
#[test]
fn many_seeds() {
    let mut builder = Builder::new(bits(8));
    for keys in (0..20).map(|step| 500 + step * 236) {
        for seed in 0..100 {
            let members = hashes(seed << 16 | keys as u64, keys);
            let (bytes, stats) = build(&mut builder, &members);
            check_members(&bytes, &members);
            assert_eq!(stats.structure, Structure::Membership);
            assert!(bytes.len() <= len_max(keys, 8), "{keys} keys, seed {seed}: {stats:?}");
        }
    }
}

/// The parameters that stand in every head: band 64, buckets of 128 slots, thresholds of two bits, and a first layer
/// of 0.95 slots per key.
///
/// Proves F-88.
#[test]
fn parameters() {
    for keys in [5000, 32 << 10, 1_000_000] {
        let (bytes, stats) = build(&mut Builder::new(bits(8)), &hashes(5, keys));
        assert_eq!(bytes[17..20], [64, 7, 2]);
        let load = stats.first_slots as f64 / keys as f64;
        assert!((0.94..0.965).contains(&load), "{load} slots per key");
        assert!(stats.layers <= 4 && stats.stash <= 24, "{stats:?}");
        let thresholds = (stats.slots / 128).div_ceil(4) as usize;
        let solution = stats.slots as usize;
        assert!(
            bytes.len().abs_diff(64 + solution + thresholds + stats.stash as usize * 8) <= 4,
            "{stats:?}"
        );
    }
}

/// A set that would break a weaker construction is still found whole, in no more space than a random one.
#[track_caller]
fn check_adversary(name: &str, members: &[u64], distinct: usize) {
    for r in [1, 8, 16] {
        let (bytes, stats) = build(&mut Builder::new(bits(r)), members);
        check_members(&bytes, members);
        assert!(bytes.len() <= len_max(distinct, r) + 8 * usize::from(r), "{name}: {stats:?}");
    }
}

/// Proves F-90.
/// Fault: formats W-2.
#[test]
fn adversarial_sets() {
    check_adversary("all equal", &vec![42; 10_000], 1);
    check_adversary("two distinct", &[1, u64::MAX].repeat(5000), 2);
    check_adversary("sequential", &(0..40_000).collect::<Vec<_>>(), 40_000);
    check_adversary("multiples", &(0..40_000).map(|i| i << 40).collect::<Vec<_>>(), 40_000);
    check_adversary("lowest bits only", &(0..5000).map(|i| i * 3).collect::<Vec<_>>(), 5000);
    check_adversary("bits of one", &(0..64).map(|i| 1 << i).collect::<Vec<_>>(), 64);
    let thrice = hashes(6, 3000).repeat(3);
    check_adversary("thrice each", &thrice, 3000);
    let tenth_twice = [hashes(7, 20_000), hashes(7, 2000)].concat();
    check_adversary("a tenth twice", &tenth_twice, 22_000);
}

/// The same hashes give the same bytes, in any order, from a builder of any past.
///
/// Proves F-89.
#[test]
fn order_does_not_matter() {
    for keys in [1, 200, 257, 3120, 20_000, 70_000] {
        let mut members = hashes(11, keys);
        members.extend_from_within(..keys / 20);
        let mut used = Builder::new(bits(8));
        build(&mut used, &hashes(12, 5000));
        let first = build(&mut used, &members).0;
        members.reverse();
        let reversed = build(&mut Builder::new(bits(8)), &members).0;
        members.sort_unstable();
        let sorted = build(&mut used, &members).0;
        assert!(first == reversed && first == sorted, "{keys} keys");
    }
}

/// All kernels answer the same, at every alignment, alone and in batches; bytes may be owned or lent.
///
/// Proves F-91, F-95.
#[test]
fn kernels_and_alignments_agree() {
    for (keys, asked) in [(100, 8.0), (300, 1.0), (3000, 5.5), (20_000, 8.0), (20_000, 13.0), (9000, 31.25)] {
        let members = hashes(21, keys);
        let (bytes, _) = build(&mut Builder::new(Bits::new(asked).expect("in range")), &members);
        let asked: Vec<u64> = members.iter().copied().chain(hashes(22, 20_000)).collect();
        let scalar =
            FilterRef::open(&bytes).expect("well formed").with_kernel(Kernel::Scalar).expect("everywhere");
        let expected: Vec<bool> = asked.iter().map(|&hash| scalar.may_contain(hash)).collect();
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
            for shift in [0, 1, 7, 8, 33] {
                let shifted = [vec![0xAA; shift], bytes.clone()].concat();
                let filter = FilterRef::open(&shifted[shift..]).expect("well formed");
                let filter = filter.with_kernel(kernel).expect("available");
                let one_by_one: Vec<bool> = asked.iter().map(|&hash| filter.may_contain(hash)).collect();
                assert!(one_by_one == expected, "{kernel:?} {keys} keys at {shift}");
                let mut batch = vec![false; asked.len() - 3];
                filter.may_contain_batch(&asked, &mut batch);
                assert!(batch == expected[..batch.len()], "{kernel:?} in batches");
            }
        }
        let owned = Filter::open(bytes.clone()).expect("well formed");
        assert!(asked.iter().zip(&expected).all(|(&hash, &found)| owned.may_contain(hash) == found));
    }
}

/// A filter without keys knows nothing.
///
/// Proves F-93.
#[test]
fn an_empty_filter_says_maybe() {
    let (bytes, _) = build(&mut Builder::new(bits(8)), &[]);
    let filter = FilterRef::open(&bytes).expect("well formed");
    assert!(hashes(1, 100).into_iter().all(|hash| filter.may_contain(hash)));
    let mut found = [false; 20];
    filter.may_contain_batch(&hashes(1, 20), &mut found);
    assert_eq!(found, [true; 20]);
}
