//! Sealed files: what a key opens, what nobody without it can change, and what can be checked without it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod common;

use std::sync::Arc;

use common::{decoder, identity, noise, text};
use lsm_block::{
    BlockError, BlockKind, Directory, DirectoryPointer, Expect, FileIdentity, Footer, FormatVersion,
    FrameHeader, FrameReader, FrameSpec, FrameWriter, Handle, Located, Locator, LocatorHints, Step,
    Superblock, Walk, Walked,
    log::{LogEncoder, LogFormat, LogPosition, LogScanner, Tail},
};
use lsm_codec::Compression;
use lsm_crypto::{Encryption, KeyChain, KeyId, PlainFiles, Secret, Suite};
use lsm_types::{EditIndex, ErrorKind, Fault, FileKind, Slice, UnixNanos};

/// What a forger does to the head of a frame, or of a file.
type Change = fn(&mut FrameHeader);
type Forgery = fn(&mut Superblock);

fn encryption(secret: u8) -> Encryption {
    Encryption::new(Arc::new(KeyChain::new(KeyId::new(4), Secret::new([secret; 32]))))
}

fn head_of(identity: FileIdentity, encryption: &Encryption) -> Superblock {
    let salt = identity.uuid.as_bytes()[0].wrapping_add(1);
    begin(identity, encryption, salt)
}

fn begin(identity: FileIdentity, encryption: &Encryption, salt: u8) -> Superblock {
    let head = Superblock::new(identity, UnixNanos::new(1), EditIndex::new(2));
    head.begin(Some(encryption), |bytes| bytes.fill(salt)).unwrap().0
}

fn spec(kind: BlockKind, ordinal: u32, compression: Compression) -> FrameSpec {
    FrameSpec { kind, encoding: 1, compression, ordinal }
}

/// One sealed frame at offset 512 of the file `id`, as bytes.
fn frame(id: u8, ordinal: u32, payload: &[u8]) -> (Expect, Vec<u8>) {
    frame_by(Compression::Lz4, id, ordinal, payload)
}

fn frame_by(compression: Compression, id: u8, ordinal: u32, payload: &[u8]) -> (Expect, Vec<u8>) {
    let head = head_of(identity(id), &encryption(1));
    let mut writer = FrameWriter::new(head.identity, head.transforms(Some(&encryption(1))).unwrap());
    let mut bytes = Vec::new();
    let mark = writer.append(spec(BlockKind::DATA, ordinal, compression), payload, 512, &mut bytes).unwrap();
    (Expect { kind: BlockKind::DATA, ordinal: Some(ordinal), handle: mark.handle }, bytes)
}

fn reader(id: u8) -> FrameReader {
    let head = head_of(identity(id), &encryption(1));
    FrameReader::new(head.identity, head.transforms(Some(&encryption(1))).unwrap())
}

fn open(reader: &FrameReader, expect: &Expect, bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
    reader
        .open(expect, &Slice::from(bytes.to_vec()), &mut decoder(), u32::MAX)
        .map(|frame| frame.payload.to_vec())
}

/// Somebody without the key who knows the format: rewrites header, check and context as a good frame at `offset` of
/// `identity` has them.
fn restamp(
    identity: &FileIdentity,
    offset: u64,
    change: impl FnOnce(&mut FrameHeader),
    stored: &[u8],
) -> Vec<u8> {
    let mut header = FrameHeader {
        kind: BlockKind::DATA,
        flags: 2,
        stored_len: u32::try_from(stored.len()).unwrap(),
        logical_len: u32::try_from(stored.len()).unwrap() - 16,
        codec: 0,
        encoding: 1,
        dictionary: 0,
        ordinal: 0,
        check: lsm_block::Checksum::Xxh3.of(stored),
    };
    change(&mut header);
    [&header.encode(identity, offset)[..], stored].concat()
}

/// A sealed frame takes 16 bytes more than a plain one.
/// Fault: formats W-22.
#[test]
fn sealed_frames_open_with_their_key_and_hide_their_payload() {
    for payload in [text(3000), noise(100, 7), Vec::new()] {
        let (expect, bytes) = frame(1, 9, &payload);
        assert!(
            bytes.len() <= FrameHeader::LEN + payload.len() + 16,
            "{} for {}",
            bytes.len(),
            payload.len()
        );
        assert_eq!(open(&reader(1), &expect, &bytes).unwrap(), payload);
        if payload.len() >= 8 {
            let shows = bytes.windows(8).any(|window| window == &payload[..8]);
            assert!(!shows, "the payload stands in the file");
        }
    }
}

/// The check needs no key; opening does.
#[test]
fn without_a_key_frames_are_checked_and_not_opened() {
    let (expect, bytes) = frame(1, 9, &text(3000));
    let head = head_of(identity(1), &encryption(1));
    let keyless = FrameReader::new(head.identity, head.transforms_without_key());
    keyless.check(&expect, &bytes, u32::MAX).unwrap();
    let refused = open(&keyless, &expect, &bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::KeyRequired);

    let mut damaged = bytes;
    damaged[40] ^= 1;
    assert!(matches!(keyless.check(&expect, &damaged, u32::MAX), Err(BlockError::Corrupt { .. })));
}

/// Damage is `Corrupt`, a change by somebody who recomputed the checks is `Tampered`; nothing opens. Proves F-53.
#[test]
fn damage_and_tampering_are_told_apart() {
    let payload = noise(200, 3);
    let (expect, bytes) = frame(1, 0, &payload);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = open(&reader(1), &expect, &damaged).unwrap_err();
        assert!(matches!(error, BlockError::Corrupt { .. }), "bit {bit}: {error}");
    }
    let stored = &bytes[FrameHeader::LEN..];
    let restamped = restamp(&identity(1), 512, |_| (), stored);
    assert_eq!(restamped, bytes, "the forger knows the format");
    for at in [0, 100, stored.len() - 1] {
        let mut forged = stored.to_vec();
        forged[at] ^= 1;
        let forged = restamp(&identity(1), 512, |_| (), &forged);
        let error = open(&reader(1), &expect, &forged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered, "byte {at}");
    }
    // Another encoding, a codec, another length, the seal taken off.
    let changes: [(&str, Change); 3] = [
        ("encoding", |header| header.encoding = 2),
        ("codec", |header| (header.flags, header.codec, header.logical_len) = (3, 1, 5000)),
        ("plain", |header| (header.flags, header.logical_len) = (0, header.stored_len)),
    ];
    for (name, change) in changes {
        let forged = restamp(&identity(1), 512, change, stored);
        assert_eq!(open(&reader(1), &expect, &forged).unwrap_err().kind(), ErrorKind::Tampered, "{name}");
    }
}

/// A seal binds place and shape whatever compressed the block, and when nothing did. Proves F-61.
/// Fault: formats W-17.
#[test]
fn a_seal_depends_on_no_codec() {
    let payload = text(3000);
    let mut lens = Vec::new();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd { level: 1 }] {
        let (expect, bytes) = frame_by(compression, 1, 0, &payload);
        assert_eq!(open(&reader(1), &expect, &bytes).unwrap(), payload);
        lens.push(bytes.len());
        let (_, other) = frame_by(compression, 1, 1, &payload);
        let header = FrameHeader::decode(&identity(1), 512, BlockKind::DATA, &other).unwrap();
        let codec = if header.codec == 1 { 2 } else { 1 };
        let moved = FrameHeader { ordinal: 0, ..header };
        let recoded = FrameHeader { codec, flags: header.flags | 1, logical_len: 5000, ..header };
        for (forged, ordinal) in [(moved, 0), (recoded, 1)] {
            let forged = [&forged.encode(&identity(1), 512)[..], &other[FrameHeader::LEN..]].concat();
            let expect = Expect { ordinal: Some(ordinal), ..expect };
            let error = open(&reader(1), &expect, &forged).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Tampered, "{compression:?}, {error}");
        }
    }
    assert_eq!(lens[0], FrameHeader::LEN + payload.len() + 16, "what is not compressed has its own length");
    assert!(lens[1] < lens[0] && lens[2] < lens[0]);
}

/// Blocks of equal shape swapped inside a file, between files, and replayed from an older life of the file.
/// Fault: formats W-16.
#[test]
fn a_block_opens_in_its_own_place_only() {
    let (first, first_bytes) = frame(1, 0, &noise(200, 1));
    let (_, second_bytes) = frame(1, 1, &noise(200, 2));
    let (_, other_bytes) = frame(2, 0, &noise(200, 1));
    for (name, bytes) in [("another block", second_bytes), ("another file", other_bytes)] {
        // The forger gives it the header that the reader expects.
        let forged = restamp(&identity(1), 512, |_| (), &bytes[FrameHeader::LEN..]);
        assert_eq!(open(&reader(1), &first, &forged).unwrap_err().kind(), ErrorKind::Tampered, "{name}");
    }
    // An older life: the same file number and uuid, another salt.
    let older = begin(identity(1), &encryption(1), 99);
    let older = FrameReader::new(older.identity, older.transforms(Some(&encryption(1))).unwrap());
    assert_eq!(open(&older, &first, &first_bytes).unwrap_err().kind(), ErrorKind::Tampered);
}

/// Proves F-57: the wrong key, an unknown one, none at all, and a plain file are refused before anything is opened.
#[test]
fn keys_are_proved_before_anything_is_opened() {
    let head = head_of(identity(1), &encryption(1));
    let kind = |encryption: Option<&Encryption>| head.transforms(encryption).unwrap_err().kind();
    assert_eq!(kind(None), ErrorKind::KeyRequired);
    assert_eq!(kind(Some(&encryption(2))), ErrorKind::WrongKey);
    let others = Encryption::new(Arc::new(KeyChain::new(KeyId::new(5), Secret::new([1; 32]))));
    assert_eq!(kind(Some(&others)), ErrorKind::UnknownKey);

    let plain = Superblock::new(identity(1), UnixNanos::new(1), EditIndex::new(2));
    let mut policy = encryption(1);
    assert_eq!(plain.transforms(Some(&policy)).unwrap_err().kind(), ErrorKind::PlaintextRejected);
    policy.plain_files = PlainFiles::Accept;
    plain.transforms(Some(&policy)).unwrap();
}

#[test]
fn superblocks_say_how_a_file_is_sealed() {
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        let mut policy = encryption(1);
        policy.suite = suite;
        let head = head_of(identity(1), &policy);
        let read = Superblock::decode(identity(1).at(0), &head.encode()).unwrap();
        assert_eq!(read, head);
        assert_eq!(read.sealing.as_ref().unwrap().suite, suite);
        read.transforms(Some(&policy)).unwrap();
        for bit in 0..Superblock::LEN * 8 {
            let mut raw = head.encode();
            raw[bit / 8] ^= 1 << (bit % 8);
            let read = Superblock::decode(identity(1).at(0), &raw);
            let pointer = matches!(&read, Ok(read) if read.directory == DirectoryPointer::Damaged);
            assert!(read.is_err() || pointer, "bit {bit}");
        }
    }
}

/// A sealed file of the ordinary shape, and a reader's way into it.
fn file(change: impl FnOnce(&mut Superblock)) -> Vec<u8> {
    let mut head = head_of(identity(1), &encryption(1));
    let mut writer = FrameWriter::new(head.identity, head.transforms(Some(&encryption(1))).unwrap());
    let digest = Superblock::digest_of(&head.encode());
    change(&mut head);
    let mut bytes = head.encode().to_vec();
    writer.append(spec(BlockKind::DATA, 0, Compression::None), &noise(900, 4), 512, &mut bytes).unwrap();
    let at = bytes.len() as u64;
    let forged = Superblock::digest_of(&head.encode());
    let mut payload =
        Directory { frames: 2, data_frames: 1, file_digest: 0, superblock_digest: digest, sections: vec![] };
    let mark =
        writer.append(spec(BlockKind::DIRECTORY, 1, Compression::None), &payload.encode(), at, &mut bytes);
    let handle = mark.unwrap().handle;
    if forged != digest {
        // The forger makes the directory vouch for the new superblock, and its check good.
        let start = usize::try_from(at).unwrap();
        let payload = Directory { superblock_digest: forged, ..payload }.encode();
        bytes[start + 32..start + 32 + payload.len()].copy_from_slice(&payload);
        let stored = bytes[start + 32..].to_vec();
        let header = |header: &mut FrameHeader| (header.kind, header.ordinal) = (BlockKind::DIRECTORY, 1);
        bytes.truncate(start);
        bytes.extend(restamp(&head.identity, at, header, &stored));
    }
    let footer = Footer {
        directory: handle,
        mirror: None,
        version: FormatVersion::CURRENT,
        incompat: 0,
        uuid: head.identity.uuid,
    };
    bytes.extend_from_slice(&footer.encode());
    bytes
}

fn locate(bytes: &[u8]) -> Result<Located, BlockError> {
    let (mut locator, mut range) = Locator::start(bytes.len() as u64, LocatorHints::default())?;
    loop {
        let start = usize::try_from(range.offset).unwrap();
        let part = bytes[start..start + usize::try_from(range.len).unwrap()].to_vec();
        match locator.feed(Slice::from(part))? {
            Step::Need(more) => range = more,
            Step::Done(located) => return Ok(located),
        }
    }
}

/// The directory is found without a key, and proved with it; it binds the superblock. Proves F-54 for the framing of
/// tables.
#[test]
fn directories_are_readable_and_cannot_be_forged() {
    let bytes = file(|_| ());
    let located = locate(&bytes).unwrap();
    let reader = located.frame_reader(Some(&encryption(1))).unwrap();
    let handle = Handle { offset: 512, len: 32 + 900 + 16 };
    let expect = Expect { kind: BlockKind::DATA, ordinal: Some(0), handle };
    assert_eq!(open(&reader, &expect, &bytes[512..512 + 948]).unwrap(), noise(900, 4));
    assert_eq!(located.frame_reader(None).unwrap_err().kind(), ErrorKind::KeyRequired);

    let forgeries: [(&str, Forgery); 3] = [
        ("feature bits", |head| head.features.compat = 1),
        ("edit index", |head| head.edit_index = EditIndex::new(77)),
        ("ceiling", |head| head.ceiling.minor = 9),
    ];
    for (name, forge) in forgeries {
        let located = locate(&file(forge)).unwrap();
        let refused = located.frame_reader(Some(&encryption(1))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Tampered, "{name}");
    }
    // What names the key is proved by the key itself.
    let located = locate(&file(|head| head.salt[0] ^= 1)).unwrap();
    assert_eq!(located.frame_reader(Some(&encryption(1))).unwrap_err().kind(), ErrorKind::WrongKey);
}

#[test]
fn walks_list_sealed_frames_without_a_key() {
    let bytes = file(|_| ());
    let head = Superblock::decode(identity(1).at(0), &bytes).unwrap();
    let frames: Vec<_> = Walk::file(bytes.as_slice(), &head)
        .unwrap()
        .map(|walked| match walked.unwrap() {
            Walked::Frame { header, .. } => (header.kind, header.is_sealed()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(frames, [(BlockKind::DATA, true), (BlockKind::DIRECTORY, true)]);
}

fn log(bodies: &[Vec<u8>]) -> (Superblock, Vec<u8>) {
    let identity = FileIdentity { kind: FileKind::Manifest, ..identity(1) };
    let head = head_of(identity, &encryption(1));
    let mut bytes = head.encode().to_vec();
    let transforms = head.transforms(Some(&encryption(1))).unwrap();
    let mut encoder = LogEncoder::new(identity, transforms, LogFormat::MANIFEST, LogPosition::START);
    for body in bodies {
        encoder.encode(0, body, &mut bytes).unwrap();
    }
    (head, bytes)
}

fn scanner<'a>(head: &Superblock, bytes: &'a [u8]) -> LogScanner<'a> {
    let transforms = head.transforms(Some(&encryption(1))).unwrap();
    LogScanner::new(head.identity, transforms, LogFormat::MANIFEST, bytes, 512).anchored(LogPosition::START)
}

/// Records of every size around the border of a block, cut and whole.
#[test]
fn sealed_logs_read_back_and_show_nothing() {
    let bodies: Vec<_> = [0, 1, 100, 3900, 3950, 4000, 4050, 4096, 9000].map(text).to_vec();
    let (head, bytes) = log(&bodies);
    let mut scanner = scanner(&head, &bytes);
    let read: Vec<_> = scanner.by_ref().map(|record| record.body.into_owned()).collect();
    assert_eq!(read, bodies);
    assert_eq!(scanner.tail(0), Tail::Clean { at: bytes.len() as u64 });
    assert!(!bytes.windows(8).any(|window| window == b"the quic"), "a record stands in the file");
}

/// No cut, exchange or omission of frames yields records that were not written, one after the other.
#[test]
fn sealed_logs_cannot_be_spliced() {
    let bodies: Vec<_> = (0..6).map(|seed| noise(60, seed)).collect();
    let (head, bytes) = log(&bodies);
    let len = 32 + 28 + 60 + 16;
    let frame = |at: usize| &bytes[512 + at * len..512 + (at + 1) * len];
    for order in [[1, 0, 2, 3, 4, 5], [0, 2, 3, 4, 5, 1], [0, 0, 1, 2, 3, 4], [0, 1, 3, 2, 4, 5]] {
        let mut forged = bytes[..512].to_vec();
        for (place, from) in order.into_iter().enumerate() {
            let header = |header: &mut FrameHeader| {
                (header.kind, header.ordinal) = (BlockKind::MANIFEST_WHOLE, u32::try_from(from).unwrap());
            };
            forged.extend(restamp(&head.identity, (512 + place * len) as u64, header, &frame(from)[32..]));
        }
        let read: Vec<_> = scanner(&head, &forged).map(|record| record.body.into_owned()).collect();
        let whole = order.iter().enumerate().take_while(|(place, from)| place == *from).count();
        assert_eq!(read, bodies[..whole], "{order:?}");
    }
    // A forged superblock: its first record proves it.
    let mut other = head.clone();
    other.edit_index = EditIndex::new(50);
    assert_eq!(scanner(&other, &bytes).count(), 0);
}

/// A record that begins at any distance from the border of a physical block.
#[test]
fn sealed_records_fit_before_every_border() {
    for len in 3800..3980 {
        let bodies = [vec![7; len], vec![8; 5], vec![9; 100]];
        let (head, bytes) = log(&bodies);
        let read: Vec<_> = scanner(&head, &bytes).map(|record| record.body.into_owned()).collect();
        assert_eq!(read, bodies, "{len}");
    }
}

/// A frame of another writing of the same record, such as one that failed, does not go with the rest of it.
#[test]
fn pieces_of_two_writings_do_not_make_a_record() {
    let identity = FileIdentity { kind: FileKind::Manifest, ..identity(1) };
    let head = head_of(identity, &encryption(1));
    let transforms = head.transforms(Some(&encryption(1))).unwrap();
    let mut encoder = LogEncoder::new(identity, transforms, LogFormat::MANIFEST, LogPosition::START);
    let (mut failed, mut stands) = (head.encode().to_vec(), head.encode().to_vec());
    let before = encoder.position();
    encoder.encode(0, &[1; 5000], &mut failed).unwrap();
    encoder.cut_back(before);
    encoder.encode(0, &[2; 5000], &mut stands).unwrap();
    assert_eq!(scanner(&head, &stands).count(), 1);
    let border = 4096;
    let mixed = [&failed[..border], &stands[border..]].concat();
    assert_eq!(scanner(&head, &mixed).count(), 0);
}

/// No crash leaves a good check on a broken seal, so such a frame is never taken for a torn tail.
#[test]
fn a_forged_last_record_is_no_torn_tail() {
    let (head, bytes) = log(&[noise(60, 1), noise(60, 2)]);
    let start = 512 + 32 + 28 + 60 + 16;
    let mut stored = bytes[start + 32..].to_vec();
    stored[40] ^= 1;
    let header = |header: &mut FrameHeader| (header.kind, header.ordinal) = (BlockKind::MANIFEST_WHOLE, 1);
    let forged = [&bytes[..start], &restamp(&head.identity, start as u64, header, &stored)].concat();
    let mut scanner = scanner(&head, &forged);
    assert_eq!(scanner.by_ref().count(), 1);
    let tail = scanner.tail(0);
    assert!(matches!(tail, Tail::Corrupt { why: Some(BlockError::Tampered { .. }), .. }), "{tail:?}");
}

#[test]
fn copies_between_files_are_sealed_anew() {
    let payload = text(3000);
    let (expect, bytes) = frame(1, 5, &payload);
    let head = head_of(identity(2), &encryption(1));
    let transforms = head.transforms(Some(&encryption(1))).unwrap();
    let mut writer = FrameWriter::new(head.identity, transforms.clone());
    let mut out = Vec::new();
    let mark = writer.append_copy(&reader(1), &expect, &bytes, (8, 4096), &mut out).unwrap();
    let moved = Expect { ordinal: Some(8), handle: mark.handle, ..expect };
    assert_eq!(open(&FrameReader::new(head.identity, transforms), &moved, &out).unwrap(), payload);
    assert_ne!(out[32..], bytes[32..], "another key");

    // To a plain file and back.
    let plain = Superblock::new(identity(3), UnixNanos::new(1), EditIndex::new(2));
    let mut writer = FrameWriter::new(plain.identity, plain.transforms(None).unwrap());
    let mut out = Vec::new();
    let mark = writer.append_copy(&reader(1), &expect, &bytes, (5, 512), &mut out).unwrap();
    let moved = Expect { handle: mark.handle, ..expect };
    let reader = FrameReader::new(plain.identity, plain.transforms(None).unwrap());
    assert_eq!(open(&reader, &moved, &out).unwrap(), payload);
}

/// The bytes of version 1.0, computed by Python's `cryptography` from `docs/format/crypto.md`; they stay as they are for
/// ever.
#[test]
fn sealed_bytes_agree_with_independent_ones() {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let cases = [
        (
            Suite::Aes256Gcm,
            "010104030201",
            "e20cba63e956fc8594a20674e6898edf",
            "c031073e9c238edfd30debd80446a577f7beae59a71ecb",
        ),
        (
            Suite::ChaCha20Poly1305,
            "020104030201",
            "e50e942d2eebd22f353516968b3de39f",
            "b74da12bf0a0c10db2c21373caf1dc7e0f07f339375fe6",
        ),
    ];
    for (suite, sealing, check, stored) in cases {
        let master = Secret::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let mut policy = Encryption::new(Arc::new(KeyChain::new(KeyId::new(0x0102_0304), master)));
        policy.suite = suite;
        let head = Superblock::new(identity(1), UnixNanos::new(1), EditIndex::new(2));
        let (head, transforms) = head.begin(Some(&policy), |salt| salt.fill(0x5A)).unwrap();
        let raw = head.encode();
        assert_eq!(hex(&raw[86..92]), sealing);
        assert_eq!(hex(&raw[96..128]), "5a".repeat(32));
        assert_eq!(hex(&raw[128..144]), check);
        assert!(raw[144..336].iter().all(|&byte| byte == 0));
        let mut out = Vec::new();
        let plain = spec(BlockKind::DATA, 0x0102, Compression::None);
        FrameWriter::new(head.identity, transforms).append(plain, b"payload", 0x200, &mut out).unwrap();
        assert_eq!(hex(&out[..20]), "f74c010217000000070000000001000002010000");
        assert_eq!(hex(&out[FrameHeader::LEN..]), stored);
    }
}
