//! Frames through the public door: round trips, damage, misplacement, lies behind good checks.
#![expect(clippy::unwrap_used, reason = "a helper's panic fails the test")]

mod common;

use common::{decoder, identity, noise, text};
use lsm_block::{
    BlockError, BlockKind, Checksum, Expect, FrameHeader, FrameReader, FrameSpec, FrameWriter, Handle, Part,
    Transforms,
};
use lsm_codec::Compression;
use lsm_types::{CorruptionKind, ErrorKind, Fault, Slice};
use proptest::prelude::*;

const ALL: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd { level: 1 }];

fn spec(kind: BlockKind, compression: Compression, ordinal: u32) -> FrameSpec {
    FrameSpec { kind, encoding: 1, compression: compression.or_weaker(), ordinal }
}

fn data(compression: Compression) -> FrameSpec {
    spec(BlockKind::DATA, compression, 5)
}

/// One frame of `payload` at `offset` of file 1, and what its handle says.
fn frame(payload: &[u8], compression: Compression, offset: u64) -> (Vec<u8>, Expect) {
    let mut out = Vec::new();
    let mark = FrameWriter::new(identity(1), Transforms::default())
        .append(data(compression), payload, offset, &mut out)
        .unwrap();
    (out, Expect { kind: BlockKind::DATA, ordinal: Some(5), handle: mark.handle })
}

fn reader() -> FrameReader {
    FrameReader::new(identity(1), Transforms::default())
}

fn open(expect: &Expect, bytes: &[u8]) -> Result<Slice, BlockError> {
    reader().open(expect, &Slice::from(bytes), &mut decoder(), u32::MAX).map(|frame| frame.payload)
}

#[track_caller]
fn check_corrupt(result: Result<Slice, BlockError>, what: CorruptionKind) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Corruption(what));
}

/// Proves F-18: every changed bit of a frame is an error that names its place and check, never other data.
#[test]
fn every_flipped_bit_is_an_error() {
    for compression in ALL {
        let (bytes, expect) = frame(&text(300), compression, 8192);
        assert_eq!(open(&expect, &bytes).unwrap(), text(300)[..]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let error = open(&expect, &changed).unwrap_err();
                assert_eq!(error.location(), Some(identity(1).at(8192)));
                let what = if at < 32 { CorruptionKind::HeaderCrc } else { CorruptionKind::PayloadCheck };
                assert_eq!(error.kind(), ErrorKind::Corruption(what), "byte {at}");
            }
        }
        for cut in 0..bytes.len() {
            open(&expect, &bytes[..cut]).unwrap_err();
        }
    }
}

/// A whole frame of the wrong place or the wrong file is told apart from a damaged one.
#[test]
fn a_frame_from_elsewhere_is_named_misplaced() {
    let (bytes, expect) = frame(&text(300), Compression::None, 8192);
    let moved = Expect { handle: Handle { offset: 4096, ..expect.handle }, ..expect };
    check_corrupt(open(&moved, &bytes), CorruptionKind::Misplaced);
    let other = FrameReader::new(identity(2), Transforms::default());
    let result = other.open(&expect, &Slice::from(&bytes[..]), &mut decoder(), u32::MAX);
    check_corrupt(result.map(|frame| frame.payload), CorruptionKind::Misplaced);
}

/// Two frames of one length, swapped on disk, both fail, even where all their numbers fit.
///
/// Proves F-20.
#[test]
fn a_frame_must_be_what_its_handle_says() {
    let (bytes, expect) = frame(&text(300), Compression::None, 8192);
    for wrong in [
        Expect { kind: BlockKind::INDEX_PARTITION, ..expect },
        Expect { ordinal: Some(6), ..expect },
        Expect { handle: Handle { len: expect.handle.len - 1, ..expect.handle }, ..expect },
        Expect { handle: Handle { len: expect.handle.len + 1, ..expect.handle }, ..expect },
    ] {
        check_corrupt(open(&wrong, &bytes), CorruptionKind::Geometry);
    }
    let longer = [&bytes[..], &[0]].concat();
    check_corrupt(open(&expect, &longer), CorruptionKind::Geometry);
    let limited = reader().open(&expect, &Slice::from(&bytes[..]), &mut decoder(), 299);
    check_corrupt(limited.map(|frame| frame.payload), CorruptionKind::Geometry);
    assert!(open(&Expect { ordinal: None, ..expect }, &bytes).is_ok());

    let (second, second_expect) = frame(&text(300), Compression::None, 8192 + 332);
    check_corrupt(open(&expect, &second), CorruptionKind::Misplaced);
    check_corrupt(open(&second_expect, &bytes), CorruptionKind::Misplaced);
}

/// A handle is refused before anything is allocated for it.
///
/// Proves F-16.
#[test]
fn handles_are_held_against_file_and_cap() {
    #[track_caller]
    fn check(kind: BlockKind, offset: u64, len: u32, good: bool) {
        let expect = Expect { kind, ordinal: None, handle: Handle { offset, len } };
        assert_eq!(expect.check_handle(&identity(1), 1 << 40).is_ok(), good);
    }
    let cap = BlockKind::PROPERTIES.cap();
    check(BlockKind::PROPERTIES, 512, 32, true);
    check(BlockKind::PROPERTIES, 512, 31, false);
    check(BlockKind::PROPERTIES, 512, 0, false);
    check(BlockKind::PROPERTIES, 512, cap + 32 + 16, true);
    check(BlockKind::PROPERTIES, 512, cap + 32 + 17, false);
    check(BlockKind::DATA, 512, u32::MAX, false);
    check(BlockKind::DATA, (1 << 40) - 32, 32, true);
    check(BlockKind::DATA, (1 << 40) - 31, 32, false);
    check(BlockKind::DATA, u64::MAX, 32, false);
}

/// The writer refuses what no reader would take, and leaves the buffer alone.
///
/// Proves F-16.
#[test]
fn a_payload_over_its_cap_is_not_written() {
    let cap = BlockKind::PROPERTIES.cap() as usize;
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    let mut out = b"before".to_vec();
    let spec = spec(BlockKind::PROPERTIES, Compression::None, 0);
    let error = writer.append(spec, &vec![0; cap + 1], 512, &mut out).unwrap_err();
    assert!(matches!(error, BlockError::TooLarge { .. }));
    assert_eq!(out, b"before");
    writer.append(spec, &vec![0; cap], 512, &mut out).unwrap();
}

/// What a liar with good checks can write. Every case is re-stamped, so the header's own check passes.
///
/// Proves F-8 for flags and codecs, F-16, F-30 for frames.
#[test]
fn lies_behind_good_checks_are_refused() {
    let payload = text(300);
    let honest = FrameHeader {
        kind: BlockKind::DATA,
        flags: 0,
        stored_len: 300,
        logical_len: 300,
        codec: 0,
        encoding: 1,
        dictionary: 0,
        ordinal: 5,
        check: Checksum::Xxh3.of(&payload),
    };
    let try_open = |header: FrameHeader| {
        let bytes = [&header.encode(&identity(1), 512)[..], &payload[..]].concat();
        let handle = Handle { offset: 512, len: 332 };
        open(&Expect { kind: header.kind, ordinal: Some(5), handle }, &bytes)
    };
    assert!(try_open(honest).is_ok());
    let unsupported = |header, part| match try_open(header) {
        Err(BlockError::Unsupported { part: found, .. }) => assert_eq!(found, part),
        other => panic!("{other:?}"),
    };
    for bit in 2..8 {
        unsupported(FrameHeader { flags: 1 << bit, ..honest }, Part::FrameFlags(1 << bit));
    }
    unsupported(FrameHeader { flags: 1, codec: 3, ..honest }, Part::Codec(3));
    unsupported(FrameHeader { dictionary: 9, ..honest }, Part::Dictionary(9));
    for (flags, codec) in [(1, 0), (0, 1), (0, 2)] {
        check_corrupt(try_open(FrameHeader { flags, codec, ..honest }), CorruptionKind::Decode);
    }
    let compressed_filter = FrameHeader { kind: BlockKind::FILTER_PARTITION, flags: 1, codec: 1, ..honest };
    check_corrupt(try_open(FrameHeader { logical_len: 301, ..compressed_filter }), CorruptionKind::Decode);
    for (stored_len, logical_len) in
        [(300, 301), (300, 299), (299, 300), (u32::MAX, u32::MAX), (300, u32::MAX)]
    {
        let lie = FrameHeader { stored_len, logical_len, ..honest };
        check_corrupt(try_open(lie), CorruptionKind::Geometry);
        check_corrupt(try_open(FrameHeader { kind: BlockKind::PROPERTIES, ..lie }), CorruptionKind::Geometry);
    }
    for logical_len in [0, 299, 300, 256 << 20 | 1, u32::MAX] {
        let lie = FrameHeader { flags: 1, codec: 2, logical_len, ..honest };
        check_corrupt(try_open(lie), CorruptionKind::Geometry);
    }
}

/// Good checks over bytes that decompress to more or less than promised.
///
/// Proves F-45.
#[test]
fn stored_bytes_must_decompress_to_the_promise() {
    for compression in [Compression::Lz4, Compression::Zstd { level: 1 }] {
        let (bytes, expect) = frame(&text(3000), compression, 512);
        let header = FrameHeader::decode(&identity(1), 512, BlockKind::DATA, &bytes).unwrap();
        assert!(header.stored_len < 2999);
        for logical_len in [2999, 3001, 1 << 20] {
            let lie = FrameHeader { logical_len, ..header }.encode(&identity(1), 512);
            let result = open(&expect, &[&lie[..], &bytes[32..]].concat());
            check_corrupt(result, CorruptionKind::Decompress);
        }
    }
}

/// Kinds that are never compressed stay raw whatever the writer asks; each frame says what it is.
#[test]
fn only_compressible_kinds_are_compressed() {
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    for (kind, smaller) in
        [(BlockKind::DATA, true), (BlockKind::PROPERTIES, false), (BlockKind::FILTER_PARTITION, false)]
    {
        let mut out = Vec::new();
        let spec = spec(kind, Compression::Zstd { level: 3 }, 0);
        let mark = writer.append(spec, &text(4000), 512, &mut out).unwrap();
        assert_eq!((mark.stored_len < 4000, out.len() < 4000), (smaller, smaller));
    }
}

/// What one file did to the encoder is forgotten in the next: the same input gives the same bytes.
///
/// Proves F-145 as far as frames go, and F-46: contexts pass from file to file.
#[test]
fn a_warm_encoder_starts_each_file_afresh() {
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    for ordinal in 0..20 {
        let spec = spec(BlockKind::DATA, Compression::Lz4, ordinal);
        writer.append(spec, &noise(1000, ordinal.into()), 512, &mut Vec::new()).unwrap();
    }
    let mut warm = FrameWriter::with_encoder(identity(2), Transforms::default(), writer.into_encoder());
    let mut cold = FrameWriter::new(identity(2), Transforms::default());
    let (mut one, mut other) = (Vec::new(), Vec::new());
    warm.append(data(Compression::Lz4), &text(1000), 512, &mut one).unwrap();
    cold.append(data(Compression::Lz4), &text(1000), 512, &mut other).unwrap();
    assert_eq!(one, other);
}

/// Proves F-41 as far as frames go: an uncompressed payload shares the bytes read.
#[test]
fn an_uncompressed_payload_is_not_copied() {
    let (bytes, expect) = frame(&noise(4096, 1), Compression::Lz4, 512);
    let bytes = Slice::from(bytes);
    let opened = reader().open(&expect, &bytes, &mut decoder(), u32::MAX).unwrap();
    assert_eq!(opened.payload.as_ptr(), bytes[32..].as_ptr());
    assert_eq!((opened.encoding, opened.ordinal, opened.mark.handle), (1, 5, expect.handle));
}

/// A copy carries the stored bytes, a new number and a new place; damage is not copied.
///
/// Proves F-22.
#[test]
fn a_frame_is_copied_verbatim_and_restamped() {
    for checksum in Checksum::ALL {
        let (mut bytes, expect) = frame(&text(3000), Compression::Lz4, 8192);
        let target = Transforms::new(checksum);
        let mut writer = FrameWriter::new(identity(2), target.clone());
        let mut out = Vec::new();
        let mark = writer.append_copy(&reader(), &expect, &bytes, (77, 512), &mut out).unwrap();
        assert_eq!(out[32..], bytes[32..]);
        let moved = Expect { kind: BlockKind::DATA, ordinal: Some(77), handle: mark.handle };
        let opened = FrameReader::new(identity(2), target)
            .open(&moved, &Slice::from(&out[..]), &mut decoder(), u32::MAX)
            .unwrap();
        assert_eq!((opened.payload, opened.mark), (Slice::from(text(3000)), mark));

        *bytes.last_mut().unwrap() ^= 1;
        writer.append_copy(&reader(), &expect, &bytes, (78, 4096), &mut out).unwrap_err();
        assert_eq!(out.len(), mark.handle.len as usize);
    }
}

/// The other algorithm works, and the wrong one never passes for it.
///
/// Proves F-17 as far as frames go.
#[test]
fn both_payload_checks_work() {
    for (written, read) in [(Checksum::Crc32c, Checksum::Crc32c), (Checksum::Crc32c, Checksum::Xxh3)] {
        let mut out = Vec::new();
        let mark = FrameWriter::new(identity(1), Transforms::new(written))
            .append(data(Compression::None), &text(100), 512, &mut out)
            .unwrap();
        let expect = Expect { kind: BlockKind::DATA, ordinal: None, handle: mark.handle };
        let reader = FrameReader::new(identity(1), Transforms::new(read));
        assert_eq!(reader.check(&expect, &out, u32::MAX).is_ok(), written == read);
    }
}

/// Prepared in any order, placed in file order, the bytes are those of a serial writer.
#[test]
fn prepared_frames_take_their_place_later() {
    let payloads = [text(4000), noise(500, 3), Vec::new(), text(90)];
    let mut serial = Vec::new();
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    for (ordinal, payload) in (0..).zip(&payloads) {
        let at = 512 + serial.len() as u64;
        writer.append(spec(BlockKind::DATA, Compression::Lz4, ordinal), payload, at, &mut serial).unwrap();
    }
    let prepare = |(ordinal, payload): (u32, &Vec<u8>)| {
        let mut own = Vec::new();
        let spec = spec(BlockKind::DATA, Compression::Lz4, ordinal);
        let prepared =
            FrameWriter::new(identity(1), Transforms::default()).prepare(spec, payload, &mut own).unwrap();
        (prepared, own)
    };
    let mut prepared: Vec<_> = (0..4).zip(&payloads).rev().map(prepare).collect();
    prepared.reverse();
    let mut parallel = Vec::new();
    for (prepared, mut own) in prepared {
        let at = 512 + parallel.len() as u64;
        let promised = prepared.mark_at(at);
        assert_eq!(prepared.place(&identity(1), at, &mut own), promised);
        parallel.extend_from_slice(&own);
    }
    assert_eq!(serial, parallel);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_round_trip(
        payload in prop::collection::vec(0_u8..5, 0..5000),
        which in 0_usize..3,
        offset in 0_u64..1 << 62,
        checksum in 0_usize..2,
    ) {
        let transforms = Transforms::new(Checksum::ALL[checksum]);
        let mut out = Vec::new();
        let mark = FrameWriter::new(identity(1), transforms.clone())
            .append(data(ALL[which]), &payload, offset, &mut out)
            .unwrap();
        let expect = Expect { kind: BlockKind::DATA, ordinal: Some(5), handle: mark.handle };
        let opened = FrameReader::new(identity(1), transforms)
            .open(&expect, &Slice::from(out), &mut decoder(), u32::MAX)
            .unwrap();
        prop_assert_eq!(opened.payload, Slice::from(payload));
        prop_assert_eq!(opened.mark, mark);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let handle = Handle { offset: 512, len: u32::try_from(bytes.len()).unwrap() };
        let expect = Expect { kind: BlockKind::DATA, ordinal: None, handle };
        prop_assert!(open(&expect, &bytes).is_err());
    }
}
