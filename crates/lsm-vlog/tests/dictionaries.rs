//! Values that are compressed with a dictionary of their file: learnt, stored, copied, damaged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod common;

use common::{Built, Entry, build, builder, check_all, entry, noise, open, options};
use lsm_block::{BlockKind, Dictionaries, Section};
use lsm_codec::Compression;
use lsm_types::{ErrorKind, KeyOrder, ValueHandle};
use lsm_vlog::{DictionaryOptions, Vlog, VlogOptions};
use proptest::prelude::*;

const ZSTD: Compression = Compression::Zstd { level: 3 };

fn learning() -> VlogOptions {
    let dictionary = Some(DictionaryOptions { bytes: 4 << 10, sample_bytes: 20_000 });
    VlogOptions { compression: ZSTD, dictionary, ..options() }
}

/// Records that have names of fields and some words in common and little else; `family` has words of its own.
fn records(family: u64, count: u64) -> Vec<Entry> {
    let record = |number: u64| {
        let word = |at: u64| {
            noise(5, family * 1_000 + at % 7 + 1)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .concat()
        };
        let value = format!(
            "{{\"family\": {family}, \"number\": {number}, \"state\": \"{}\", \"city\": \"{}\", \"balance\": {}, \
             \"history\": [\"{}\", \"{}\"], \"description\": \"of no use to anybody\"}}",
            word(number),
            word(number / 3),
            number * 7919 % 100_003,
            word(number / 2),
            word(number + 3),
        );
        entry(&format!("key-{number:06}"), number + 1, value)
    };
    (0..count).map(record).collect()
}

fn stored(built: &Built) -> u64 {
    built.handles.iter().map(|handle| u64::from(handle.stored_len)).sum()
}

/// Both copies of the dictionaries of a file.
fn copies(log: &Vlog<Vec<u8>>) -> [Option<Section>; 2] {
    let directory = log.meta().directory();
    [directory.primary(BlockKind::DICTIONARY).copied(), directory.mirror(BlockKind::DICTIONARY).copied()]
}

/// Proves D-76, F-50 for value logs, F-49 for dictionaries in a file.
#[test]
fn values_that_are_alike_take_less_with_a_dictionary() {
    let entries = records(1, 600);
    for sealed in [false, true] {
        let (with, without) = (
            build(7, learning(), sealed, &entries),
            build(7, VlogOptions { dictionary: None, ..learning() }, sealed, &entries),
        );
        let log = open(with.bytes.clone(), sealed).unwrap();
        assert!(log.meta().detours().is_empty());
        check_all(&log, &with.handles, &entries);
        assert!(copies(&log).iter().all(|copy| copy.is_some_and(|copy| copy.frames == 1)));
        assert!(stored(&with) * 10 < stored(&without) * 8, "{} and {}", stored(&with), stored(&without));
        // The first values taught it, and did without.
        let teachers = with.handles.iter().zip(&without.handles).take_while(|(a, b)| a == b).count();
        assert!((80..200).contains(&teachers), "{teachers}");
        assert_eq!(
            with.bytes,
            build(7, learning(), sealed, &entries).bytes,
            "the same values give the same file"
        );
    }
}

#[track_caller]
fn check_none(options: VlogOptions, entries: &[Entry]) {
    let built = build(7, options, false, entries);
    let log = open(built.bytes, false).unwrap();
    check_all(&log, &built.handles, entries);
    assert_eq!(copies(&log), [None, None]);
}

/// Proves F-50 for value logs.
#[test]
fn what_does_not_pay_is_not_used() {
    let of_noise: Vec<_> =
        (0..200_u64).map(|number| entry("k", number + 1, noise(300, number + 1))).collect();
    check_none(learning(), &of_noise);
    // Too few.
    let large: Vec<_> = (0..7).map(|number| entry("k", number + 1, noise(20_000, number + 1))).collect();
    check_none(
        VlogOptions { dictionary: Some(DictionaryOptions { bytes: 256, sample_bytes: 1 }), ..learning() },
        &large,
    );
    check_none(learning(), &records(1, 10));
    check_none(VlogOptions { compression: Compression::Lz4, ..learning() }, &records(1, 600));
}

/// What lies in other files gets here as it is stored, with the dictionary it needs; more kinds of it than a file may have
/// dictionaries are compressed anew.
///
/// Proves D-76.
/// Fault: formats W-12.
#[test]
fn copies_take_their_dictionary_along() {
    for (from_sealed, to_sealed) in [(false, false), (false, true), (true, false), (true, true)] {
        let sources: Vec<_> = (1..=18_u8)
            .map(|id| {
                let entries = records(id.into(), 200);
                (build(id, learning(), from_sealed, &entries), entries)
            })
            .collect();
        let mut builder = builder(99, VlogOptions { compression: Compression::Lz4, ..options() }, to_sealed);
        let (mut handles, mut entries) = (Vec::new(), Vec::new());
        for (built, of_source) in &sources {
            let log = open(built.bytes.clone(), from_sealed).unwrap();
            for at in [0, 150, 190] {
                let (handle, entry) = (&built.handles[at], &of_source[at]);
                handles.push(builder.copy((log.meta(), log.file()), handle, &entry.key).unwrap());
                entries.push(entry.clone());
            }
        }
        let (_, bytes) = builder.finish().unwrap();
        let log = open(bytes, to_sealed).unwrap();
        check_all(&log, &handles, &entries);
        let slots = u32::from(Dictionaries::SLOTS_MAX);
        assert!(copies(&log).iter().all(|copy| copy.is_some_and(|copy| copy.frames == slots)));
        let codecs = log.meta().properties().codecs;
        // Of 16 files all, of the other two the value that needs no dictionary.
        assert_eq!((codecs.raw + codecs.lz4 + codecs.zstd, codecs.zstd >= 2 * u64::from(slots)), (54, true));
    }
}

fn flip(
    bytes: &[u8],
    place: std::ops::Range<u64>,
    step: usize,
) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap()).step_by(step).map(|at| {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (at % 8);
        (at, damaged)
    })
}

/// Values that still come, and the kinds of errors of those that do not.
fn outcomes(
    bytes: Vec<u8>,
    sealed: bool,
    handles: &[ValueHandle],
    entries: &[Entry],
) -> (usize, Vec<ErrorKind>) {
    let log = open(bytes, sealed).unwrap();
    let (mut good, mut errors) = (0, Vec::new());
    for (handle, entry) in handles.iter().zip(entries) {
        match log.get(handle, &entry.key) {
            Ok(value) => {
                assert_eq!(value, entry.value[..]);
                good += 1;
            }
            Err(error) => errors.push(error.kind()),
        }
    }
    (good, errors)
}

/// Proves F-29 for dictionaries: one copy is as good as two, and without both what needs none is still read.
#[test]
fn a_damaged_dictionary_is_made_good_or_told_by_those_that_need_it() {
    let entries = records(1, 200);
    for sealed in [false, true] {
        let built = build(7, learning(), sealed, &entries);
        let log = open(built.bytes.clone(), sealed).unwrap();
        let [primary, mirror] =
            copies(&log).map(|copy| copy.unwrap()).map(|copy| copy.offset..copy.offset + copy.len);
        for place in [&primary, &mirror] {
            for (at, damaged) in flip(&built.bytes, place.clone(), 61) {
                let (good, errors) = outcomes(damaged.clone(), sealed, &built.handles, &entries);
                assert_eq!((good, errors), (entries.len(), Vec::new()), "byte {at}");
                let log = open(damaged, sealed).unwrap();
                assert_eq!(log.meta().detours().is_empty(), place == &mirror, "byte {at}");
                let mut findings = 0;
                log.verify(Some(&KeyOrder::bytewise()), &mut |_| findings += 1).unwrap();
                assert!(findings > 0, "byte {at} is not found");
            }
        }
        for (at, damaged) in flip(&built.bytes, primary, 509) {
            for (_, damaged) in flip(&damaged, mirror.clone(), 509) {
                let (good, errors) = outcomes(damaged.clone(), sealed, &built.handles, &entries);
                assert!((80..200).contains(&good), "{good}");
                assert!(
                    errors.iter().all(|kind| matches!(kind, ErrorKind::Corruption(_))),
                    "byte {at}: {errors:?}"
                );
                let mut findings = 0;
                let log = open(damaged, sealed).unwrap();
                log.verify(None, &mut |_| findings += 1).unwrap();
                // The damage is told once for each copy, not once for each value.
                assert_eq!(findings, 2, "byte {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back_whatever_is_learnt(
        values in prop::collection::vec((0_u64..4, 0_usize..400), 30..200),
        bytes in 256_u32..2_000, sample_bytes in 1_u32..20_000, level in -3..12, sealed in any::<bool>(),
    ) {
        let dictionary = Some(DictionaryOptions { bytes, sample_bytes });
        let compression = Compression::Zstd { level };
        let entries: Vec<_> = values
            .iter()
            .zip(1..)
            .map(|((seed, len), number)| entry(&format!("k{number}"), number, noise(*len, seed + 1)))
            .collect();
        let built = build(7, VlogOptions { compression, dictionary, ..options() }, sealed, &entries);
        let log = open(built.bytes, sealed).unwrap();
        check_all(&log, &built.handles, &entries);
    }
}
