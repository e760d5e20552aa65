//! Compression through the public door: round trips, the raw fallback, and bytes that lie.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper's panic fails the test")]

use lsm_codec::{Codec, CodecError, Compression, Decoder, Dictionary, Encoder, Trial};
use proptest::prelude::*;

const ALL: [Compression; 6] = [
    Compression::None,
    Compression::Lz4,
    Compression::Zstd { level: -5 },
    Compression::Zstd { level: 1 },
    Compression::Zstd { level: 3 },
    Compression::Zstd { level: 19 },
];

fn text(len: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog; ".iter().copied().cycle().take(len).collect()
}

/// Bytes that no codec shrinks: a linear congruential walk, high bytes only.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 56) as u8
    };
    (0..len).map(|_| step(&mut state)).collect()
}

#[track_caller]
fn check_round_trip(encoder: &mut Encoder, decoder: &mut Decoder, compression: Compression, block: &[u8]) {
    let mut stored = b"before".to_vec();
    let codec = encoder.compress(compression, block, &mut stored).unwrap();
    let mut back = b"leftover".to_vec();
    decoder.decompress(codec, &stored[6..], &mut back, block.len()).unwrap();
    assert_eq!(back, block);
    assert_eq!(&stored[..6], b"before");
}

/// Proves F-46: one encoder and one decoder serve every codec and size in turn.
#[test]
fn every_codec_round_trips_through_one_pair_of_contexts() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for compression in ALL.map(Compression::or_weaker) {
        for len in [0, 1, 2, 15, 100, 4096, 65_534, 65_535, 65_536, 300_000, 100] {
            check_round_trip(&mut encoder, &mut decoder, compression, &text(len));
            check_round_trip(&mut encoder, &mut decoder, compression, &noise(len, 7));
        }
    }
}

#[cfg(feature = "lz4")]
/// Proves F-44: the 3 % border, the streak of 16, every 8th after it, and the return.
/// Fault: formats W-15.
#[test]
fn what_does_not_shrink_is_stored_raw_and_seldom_tried() {
    let compress = |encoder: &mut Encoder, block: &[u8]| {
        encoder.compress(Compression::Lz4, block, &mut Vec::new()).unwrap()
    };
    let mut encoder = Encoder::new();
    for _ in 0..16 {
        assert_eq!(compress(&mut encoder, &noise(4096, 3)), Codec::None);
    }
    // Blocks 17 to 23 would shrink but are not tried; the 24th is.
    let tried: Vec<_> = (0..8).map(|_| compress(&mut encoder, &text(4096))).collect();
    assert_eq!(tried[..7], [Codec::None; 7]);
    assert_eq!(tried[7], Codec::Lz4);
    assert_eq!(compress(&mut encoder, &text(4096)), Codec::Lz4);

    for _ in 0..16 + 8 + 8 + 3 {
        compress(&mut encoder, &noise(4096, 3));
    }
    assert_eq!(compress(&mut encoder, &text(4096)), Codec::None);
    encoder.restart();
    assert_eq!(compress(&mut encoder, &text(4096)), Codec::Lz4);

    // 2 % of text at the end of noise is not enough, 10 % is.
    for (part, codec) in [(2, Codec::None), (10, Codec::Lz4)] {
        let mut block = noise(10_000, 5);
        block.truncate(10_000 - part * 100);
        block.resize(10_000, b'x');
        assert_eq!(compress(&mut Encoder::new(), &block), codec);
    }
}

/// Proves F-45: shorter, longer and trailing input is an error, and so is every cut of the stored bytes.
#[test]
fn only_one_whole_block_of_the_promised_length_is_accepted() {
    let block = text(5000);
    for compression in ALL.map(Compression::or_weaker) {
        let mut stored = Vec::new();
        let codec = Encoder::new().compress(compression, &block, &mut stored).unwrap();
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        for wrong in [0, 1, 4999, 5001, 1 << 20] {
            decoder.decompress(codec, &stored, &mut out, wrong).unwrap_err();
            assert!(out.is_empty());
        }
        for cut in 0..stored.len() {
            decoder.decompress(codec, &stored[..cut], &mut out, block.len()).unwrap_err();
        }
        for tail in
            [&[0_u8][..], &[0; 4], &[0x00, 0x00, 0x01, 0x00, 0x00], &[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0]]
        {
            let longer = [&stored[..], tail].concat();
            decoder.decompress(codec, &longer, &mut out, block.len()).unwrap_err();
        }
        decoder.decompress(codec, &stored, &mut out, block.len()).unwrap();
        assert_eq!(out, block);
    }
}

/// Proves F-45: no magic, no checksum, no content size, no dictionary id, and a window no larger than the block
/// needs (a power of two, at least the format's 1 KiB).
#[cfg(feature = "zstd")]
#[test]
fn zstd_blocks_are_bare_frames_with_a_small_window() {
    for len in [600, 4096, 100_000] {
        let mut stored = Vec::new();
        let codec = Encoder::new().compress(Compression::Zstd { level: 3 }, &text(len), &mut stored).unwrap();
        assert_eq!(codec, Codec::Zstd);
        assert_eq!(stored[0], 0, "descriptor: no optional field");
        let (exponent, mantissa) = (stored[1] >> 3, stored[1] & 7);
        let window = (1_usize << (10 + exponent)) + (1 << (10 + exponent)) / 8 * usize::from(mantissa);
        assert!(window <= len.next_power_of_two().max(1024), "{window} for {len}");
    }
}

/// Proves FI-2 for the codecs: changed bytes give an error or a block of the right length, never a panic.
#[test]
fn changed_bytes_never_panic() {
    let block = text(3000);
    for compression in ALL.map(Compression::or_weaker) {
        let mut stored = Vec::new();
        let codec = Encoder::new().compress(compression, &block, &mut stored).unwrap();
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        for round in 0..3000_usize {
            let mut changed = stored.clone();
            for byte in noise(1 + round % 4, round as u64).chunks(2) {
                let at = (usize::from(byte[0]) * 131 + round) % changed.len();
                changed[at] ^= byte.last().unwrap() | 1;
            }
            if decoder.decompress(codec, &changed, &mut out, block.len()).is_ok() {
                assert_eq!(out.len(), block.len());
            }
        }
        // The context survives all that.
        decoder.decompress(codec, &stored, &mut out, block.len()).unwrap();
        assert_eq!(out, block);
    }
}

#[test]
fn numbers_of_codecs_are_fixed() {
    for (tag, codec) in [(0, Codec::None), (1, Codec::Lz4), (2, Codec::Zstd)] {
        assert_eq!((codec.tag(), Codec::from_tag(tag)), (tag, Some(codec)));
    }
    assert_eq!(Codec::from_tag(3), None);
}

/// Proves F-43 and F-47 in a build without codecs: the weaker one is chosen, the absent one is named.
/// Fault: formats W-37.
#[test]
fn what_is_not_built_is_named_or_replaced() {
    for compression in ALL {
        let weaker = compression.or_weaker();
        assert!(weaker.codec().is_built());
        let codec = compression.codec();
        if codec.is_built() {
            assert_eq!(weaker, compression);
            continue;
        }
        let not_built = Err(CodecError::NotBuilt { codec });
        assert_eq!(Encoder::new().compress(compression, b"x", &mut Vec::new()), not_built.map(|()| codec));
        assert_eq!(Decoder::new().decompress(codec, b"x", &mut Vec::new(), 1), not_built);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Proves F-145 for compression: the same blocks give the same bytes.
    #[test]
    fn round_trips_and_repeats(
        blocks in prop::collection::vec((prop::collection::vec(0_u8..4, 0..3000), 0_usize..6), 1..6)
    ) {
        let (mut first, mut second, mut decoder) = (Encoder::new(), Encoder::new(), Decoder::new());
        for (block, which) in blocks {
            let compression = ALL[which].or_weaker();
            let (mut stored, mut again, mut back) = (Vec::new(), Vec::new(), Vec::new());
            let codec = first.compress(compression, &block, &mut stored).unwrap();
            prop_assert_eq!(second.compress(compression, &block, &mut again).unwrap(), codec);
            prop_assert_eq!(&stored, &again);
            decoder.decompress(codec, &stored, &mut back, block.len()).unwrap();
            prop_assert_eq!(back, block);
        }
    }
}

fn blocks() -> impl Strategy<Value = Vec<(usize, Vec<u8>, u8)>> {
    let block = prop_oneof![
        2 => (1_usize..9000).prop_map(text),
        1 => (1_usize..9000, any::<u64>()).prop_map(|(len, seed)| noise(len, seed)),
        1 => Just(noise(100, 3)),
    ];
    prop::collection::vec((0_usize..ALL.len(), block, 0_u8..3), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Proves F-145 in part: what an encoder makes of a block does not depend on what it did before, so that a trial made
    /// elsewhere, ahead of its turn, or not at all changes no byte.
    #[test]
    fn trials_change_nothing(blocks in blocks()) {
        let (mut alone, mut helped, mut helper) = (Encoder::new(), Encoder::new(), Encoder::new());
        let (mut plain, mut tried, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for (which, block, who) in blocks {
            let compression = ALL[which].or_weaker();
            let codec = alone.compress(compression, &block, &mut plain).unwrap();
            let len = match who {
                0 => Encoder::new().try_on(compression, &block, &mut stored).unwrap(),
                _ => helper.try_on(compression, &block, &mut stored).unwrap(),
            };
            let trial = match len {
                _ if who == 1 => Trial::NotMade,
                Some(len) => Trial::Smaller(&stored[..len]),
                None => Trial::NotSmaller,
            };
            prop_assert_eq!(helped.compress_tried(compression, &block, trial, &mut tried).unwrap(), codec);
            prop_assert!(plain == tried);
            prop_assert_eq!(alone.is_idle(), helped.is_idle());
        }
    }
}

#[cfg(feature = "zstd")]
mod dictionaries {
    use super::*;

    /// Records with words in common.
    fn samples(count: usize) -> (Vec<u8>, Vec<usize>) {
        let sample = |number: usize| {
            format!("{{\"number\": {number}, \"state\": \"open\", \"sum\": {}}}", number * 7919)
        };
        let samples: Vec<String> = (0..count).map(sample).collect();
        (samples.concat().into_bytes(), samples.iter().map(String::len).collect())
    }

    fn trained() -> Dictionary {
        let (bytes, lens) = samples(500);
        Dictionary::new(1, Dictionary::train(&bytes, &lens, 1024).unwrap()).unwrap()
    }

    /// Proves F-50 for what is too little.
    #[test]
    fn training_is_repeatable_and_asks_for_samples() {
        let (bytes, lens) = samples(500);
        let first = Dictionary::train(&bytes, &lens, 1024).unwrap();
        assert_eq!(Dictionary::train(&bytes, &lens, 1024).unwrap(), first);
        assert!((Dictionary::MIN_LEN..=1024).contains(&first.len()));
        let few: usize = lens[..7].iter().sum();
        assert_eq!(Dictionary::train(&bytes[..few], &lens[..7], 1024), None);
        assert_eq!(Dictionary::train(&bytes[1..], &lens, 1024), None, "lengths of other samples");
        assert_eq!(Dictionary::train(&bytes, &[usize::MAX; 9], 1024), None);
        assert_eq!(Dictionary::train(&[], &[0; 9], 1024), None);
    }

    #[test]
    fn other_lengths_are_no_dictionary() {
        for len in [0, 1, Dictionary::MIN_LEN - 1, Dictionary::MAX_LEN + 1] {
            assert_eq!(Dictionary::new(1, noise(len, 3)).unwrap_err(), CodecError::Dictionary);
        }
        assert!(Dictionary::new(1, noise(Dictionary::MAX_LEN, 3)).is_ok());
        // It begins like a trained one and is none.
        let mut forged = noise(400, 5);
        forged[..4].copy_from_slice(&0xEC30_A437_u32.to_le_bytes());
        assert_eq!(Dictionary::new(1, forged).unwrap_err(), CodecError::Dictionary);
    }

    /// One encoder and one decoder take turns between dictionaries, levels and none; a small block gets smaller.
    #[test]
    fn blocks_round_trip_with_dictionaries_in_turn() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let dictionaries = [trained(), Dictionary::new(2, text(300)).unwrap()];
        let block = b"{\"number\": 123456, \"state\": \"open\", \"sum\": 42}";
        for round in 0..3 {
            for (dictionary, level) in dictionaries.iter().zip([1, 3, 19].into_iter().cycle().skip(round)) {
                for block in [&block[..], &text(5_000), &noise(500, 1), b""] {
                    let (mut stored, mut back) = (Vec::new(), Vec::new());
                    let codec = encoder.compress_with(level, dictionary, block, &mut stored).unwrap();
                    let with = (codec == Codec::Zstd).then_some(dictionary);
                    decoder.decompress_with(codec, with, &stored, &mut back, block.len()).unwrap();
                    assert_eq!(back, block);
                    check_round_trip(&mut encoder, &mut decoder, Compression::Zstd { level }, block);
                }
            }
        }
        let (mut with, mut without) = (Vec::new(), Vec::new());
        assert_eq!(encoder.compress_with(3, &trained(), block, &mut with).unwrap(), Codec::Zstd);
        Encoder::new().compress(Compression::Zstd { level: 3 }, block, &mut without).unwrap();
        assert!(with.len() * 10 < without.len() * 7, "{} and {}", with.len(), without.len());
    }

    /// Proves F-45 with dictionaries: another length, another dictionary or none gives an error or other bytes, in bounded
    /// memory.
    #[test]
    fn what_was_not_written_with_it_is_refused_or_bounded() {
        let block = text(3_000);
        let mut stored = Vec::new();
        Encoder::new().compress_with(3, &trained(), &block, &mut stored).unwrap();
        let (mut decoder, mut back) = (Decoder::new(), Vec::new());
        for len in [0, 1, block.len() - 1, block.len() + 1] {
            decoder.decompress_with(Codec::Zstd, Some(&trained()), &stored, &mut back, len).unwrap_err();
            assert!(back.is_empty());
        }
        stored.push(0);
        decoder.decompress_with(Codec::Zstd, Some(&trained()), &stored, &mut back, block.len()).unwrap_err();
    }

    proptest! {
        #[test]
        fn hostile_bytes_neither_panic_nor_grow(
            stored in prop::collection::vec(any::<u8>(), 0..300), content in prop::collection::vec(any::<u8>(), 256..600),
        ) {
            let mut back = Vec::new();
            if let Ok(dictionary) = Dictionary::new(9, content) {
                let stored = [&[0, 0x58][..], &stored].concat();
                let _ = Decoder::new().decompress_with(Codec::Zstd, Some(&dictionary), &stored, &mut back, 1_000);
                prop_assert!(back.capacity() <= 2_000);
            }
        }
    }
}
