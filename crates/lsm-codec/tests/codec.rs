//! Compression through the public door: round trips, the raw fallback, and bytes that lie.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper's panic fails the test")]

use lsm_codec::{Codec, CodecError, Compression, Decoder, Encoder, Trial};
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
