//! A number for each key.

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

use common::hashes;
use lsm_burr::{BuildError, HashId, Retrieval, RetrievalBuilder};

/// Numbers that fit into `width` bits.
fn pairs(seed: u64, keys: usize, width: u8) -> Vec<(u64, u32)> {
    let values = hashes(seed + 1, keys).into_iter().map(|value| (value >> (64 - width)) as u32);
    hashes(seed, keys).into_iter().zip(values).collect()
}

fn build(builder: &mut RetrievalBuilder, pairs: &[(u64, u32)]) -> Vec<u8> {
    for &(hash, value) in pairs {
        builder.push(hash, value).expect("fits");
    }
    let mut bytes = Vec::new();
    builder.finish(&mut bytes).expect("few enough keys");
    bytes
}

/// Every number is found again, in about as many bits as it has.
///
/// Proves F-100.
#[test]
fn numbers_are_found_again() {
    for width in [1, 2, 7, 8, 9, 16, 31, 32] {
        let mut builder = RetrievalBuilder::new(width).expect("in range");
        for keys in [0, 1, 2, 30, 64, 65, 100, 300, 3120, 33_000] {
            let pairs = pairs(5, keys, width);
            let bytes = build(&mut builder, &pairs);
            let table = Retrieval::open(&bytes).expect("well formed");
            let wrong = pairs.iter().filter(|&&(hash, value)| table.get(hash) != Some(value)).count();
            assert_eq!(wrong, 0, "{keys} keys of {width} bits");
            assert_eq!(table.width(), width);
            let limit =
                keys * usize::from(width) / 8 * 103 / 100 + keys / 8 + 64 + 12 * usize::from(width) + 16;
            assert!(bytes.len() <= limit, "{keys} keys of {width} bits take {}", bytes.len());
        }
    }
}

/// A hash with one number given twice has it; one with two numbers has none, and spoils no other.
///
/// Proves F-100.
#[test]
fn repeats_and_contradictions() {
    for keys in [10, 1000, 20_000] {
        let mut given = pairs(9, keys, 12);
        let repeated = given.clone();
        let contradicted: Vec<_> = given.iter().step_by(7).map(|&(hash, value)| (hash, value ^ 1)).collect();
        given.extend(repeated);
        given.extend(&contradicted);
        let mut builder = RetrievalBuilder::new(12).expect("in range");
        let bytes = build(&mut builder, &given);
        let table = Retrieval::open(&bytes).expect("well formed");
        for (at, &(hash, value)) in given[..keys].iter().enumerate() {
            let expected = (at % 7 != 0).then_some(value);
            assert_eq!(table.get(hash), expected, "pair {at} of {keys}");
        }
        given.reverse();
        assert!(build(&mut builder, &given) == bytes, "order does not matter");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut builder = RetrievalBuilder::new(4).expect("in range").with_hash_id(HashId::PREFIX);
    assert_eq!(builder.push(1, 16), Err(BuildError::Value { value: 16, width: 4 }));
    assert!(builder.is_empty());
    assert!(RetrievalBuilder::new(0).is_err() && RetrievalBuilder::new(33).is_err());
    let bytes = build(&mut builder, &[(1, 15)]);
    assert_eq!(Retrieval::open(bytes).expect("well formed").hash_id(), HashId::PREFIX);
}
