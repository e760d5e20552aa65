//! Bytes of unknown origin: a typed error or an answer, never a panic.

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

use common::{bits, build, hashes};
use lsm_burr::{BandWidth, Builder, FilterError, FilterRef, Kernel, Retrieval, RetrievalBuilder};
use proptest::prelude::*;

/// A list, one layer, two layers, a retrieval table with a stash, and two layers of 128 slots per equation.
fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<_> =
        [0, 40, 300, 3000].map(|keys| build(&mut Builder::new(bits(5)), &hashes(1, keys)).0).into();
    let mut retrieval = RetrievalBuilder::new(9).expect("in range");
    for (value, hash) in hashes(2, 400).into_iter().enumerate() {
        retrieval.push(hash, value as u32).expect("fits");
    }
    retrieval.push(hashes(2, 1)[0], 511).expect("fits");
    let mut bytes = Vec::new();
    retrieval.finish(&mut bytes).expect("few enough keys");
    samples.push(bytes);
    let mut wide = Builder::new(bits(5)).with_band(BandWidth::Slots128);
    samples.push(build(&mut wide, &hashes(1, 3000)).0);
    samples
}

/// Whatever the bytes, opening answers and so do probes of all kinds.
fn poke(bytes: &[u8]) -> (Result<(), FilterError>, Result<(), FilterError>) {
    let asked = hashes(3, 40);
    let mut found = [false; 40];
    let filter = FilterRef::open(bytes);
    if let Ok(filter) = &filter {
        for kernel in Kernel::ALL {
            if let Some(filter) = filter.clone().with_kernel(kernel) {
                filter.may_contain_batch(&asked, &mut found);
            }
        }
    }
    let table = Retrieval::open(bytes);
    if let Ok(table) = &table {
        let answers = asked.iter().filter_map(|&hash| table.get(hash));
        assert!(answers.count() <= asked.len());
    }
    (filter.map(|_| ()), table.map(|_| ()))
}

/// Proves F-29, F-30, F-93.
#[test]
fn a_cut_filter_is_refused() {
    for bytes in samples() {
        for len in 0..bytes.len() {
            let (filter, table) = poke(&bytes[..len]);
            assert!(filter.is_err() && table.is_err(), "cut to {len} of {}", bytes.len());
        }
        let longer = [&bytes[..], &[0]].concat();
        let keyless = bytes[4..8] == [0; 4];
        assert!(keyless || poke(&longer).0.is_err(), "one byte too many");
    }
}

/// Proves F-29, F-93.
#[test]
fn every_byte_of_a_head_may_be_anything() {
    for bytes in samples() {
        for at in 0..bytes.len().min(64) {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = poke(&changed);
            }
        }
    }
}

#[track_caller]
fn check_refused(sample: usize, at: usize, value: u8, expected: FilterError) {
    let mut bytes = samples().swap_remove(sample);
    bytes[at] = value;
    assert_eq!(poke(&bytes).0, Err(expected), "byte {at} set to {value}");
}

/// What is unknown is told from what is damaged.
///
/// Proves F-93.
#[test]
fn refusals_say_why() {
    check_refused(3, 0, 4, FilterError::Unsupported { field: "structure", value: 4 });
    check_refused(3, 0, 3, FilterError::Unsupported { field: "structure", value: 3 });
    check_refused(3, 1, 2, FilterError::Unsupported { field: "encoding", value: 2 });
    check_refused(3, 17, 32, FilterError::Unsupported { field: "band", value: 32 });
    check_refused(3, 17, 128, FilterError::Unsupported { field: "log2 bucket", value: 7 });
    check_refused(3, 18, 6, FilterError::Unsupported { field: "log2 bucket", value: 6 });
    check_refused(3, 19, 1, FilterError::Unsupported { field: "threshold bits", value: 1 });
    check_refused(3, 2, 0, FilterError::Malformed { field: "result bits", value: 0 });
    check_refused(3, 2, 33, FilterError::Malformed { field: "result bits", value: 33 });
    check_refused(3, 3, 7, FilterError::Malformed { field: "layers", value: 7 });
    check_refused(5, 17, 64, FilterError::Unsupported { field: "log2 bucket", value: 8 });
    check_refused(5, 17, 255, FilterError::Unsupported { field: "band", value: 255 });
    check_refused(5, 18, 7, FilterError::Unsupported { field: "log2 bucket", value: 7 });
    check_refused(5, 0, 3, FilterError::Unsupported { field: "band", value: 128 });
    check_refused(1, 17, 128, FilterError::Unsupported { field: "band", value: 128 });
    check_refused(3, 32, 1, FilterError::Malformed { field: "slots", value: 2817 });
}

/// A layer that is smaller than the band is none, though it has a whole block.
#[test]
fn a_layer_holds_an_equation() {
    let mut bytes = samples().swap_remove(5);
    bytes[32..36].copy_from_slice(&64_u32.to_le_bytes());
    assert_eq!(poke(&bytes).0, Err(FilterError::Malformed { field: "slots", value: 64 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Proves F-29.
    #[test]
    fn noise_is_answered(sample in 0_usize..6, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let mut bytes = samples().swap_remove(sample);
        let len = bytes.len();
        for (at, value) in changes {
            bytes[at % len] = value;
        }
        let _ = poke(&bytes);
    }
}
