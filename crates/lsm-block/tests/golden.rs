//! The bytes of format version 1, field by field. They stay as they are for ever: a change of the format is a new
//! version with its own golden bytes beside these.
#![expect(clippy::unwrap_used, reason = "a helper's panic fails the test")]

mod common;

use common::identity;
use lsm_block::{
    BlockKind, Checksum, Directory, DirectoryPointer, Expect, Footer, FormatVersion, FrameReader, FrameSpec,
    FrameWriter, Handle, Section, SectionDigest, SectionFlags, Superblock, Transforms,
    log::{LogEncoder, LogFormat, LogPosition, LogScanner, Tail},
};
use lsm_codec::{Compression, Decoder};
use lsm_types::{EditIndex, Slice, UnixNanos};

/// The bytes of an annotated dump: what stands before `|` on each line, in hex; `NN*COUNT` repeats a byte.
fn bytes_of(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in dump.lines().filter_map(|line| line.split('|').next()).flat_map(str::split_whitespace) {
        let (hex, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(hex, 16).unwrap();
        bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), byte);
    }
    bytes
}

#[track_caller]
fn check(bytes: &[u8], dump: &str) {
    let hex = |bytes: &[u8]| bytes.chunks(16).map(|chunk| format!("{chunk:02X?}")).collect::<Vec<_>>();
    assert_eq!(hex(bytes), hex(&bytes_of(dump)));
}

fn superblock() -> Superblock {
    let mut superblock = Superblock::new(identity(1), UnixNanos::new(0x0102_0304), EditIndex::new(9));
    superblock.directory = DirectoryPointer::At(Handle { offset: 0x1234, len: 0x70 });
    superblock.salt = [0x5A; 32];
    superblock
}

const SUPERBLOCK: &str = include_str!("golden/superblock.txt");
const FRAME: &str = include_str!("golden/frame.txt");
const COMPRESSED: &str = include_str!("golden/compressed.txt");
const DIRECTORY: &str = include_str!("golden/directory.txt");
const FOOTER: &str = include_str!("golden/footer.txt");
const LOG: &str = include_str!("golden/log.txt");

#[test]
fn superblock_bytes() {
    check(&superblock().encode(), SUPERBLOCK);
    assert_eq!(Superblock::decode(identity(1).at(0), &bytes_of(SUPERBLOCK)).unwrap(), superblock());
}

#[test]
fn frame_bytes() {
    let spec =
        FrameSpec { kind: BlockKind::DATA, encoding: 1, compression: Compression::None, ordinal: 0x0102 };
    let mut out = Vec::new();
    FrameWriter::new(identity(1), Transforms::default()).append(spec, b"payload", 0x200, &mut out).unwrap();
    check(&out, FRAME);
}

/// What the libraries write may change with their version; what they once wrote must be read.
#[test]
fn compressed_frames_stay_readable() {
    let frames = bytes_of(COMPRESSED);
    let mut offset = 0x200;
    let mut rest = Slice::from(frames);
    while !rest.is_empty() {
        let header = lsm_block::FrameHeader::decode(&identity(1), offset, BlockKind::DATA, &rest).unwrap();
        let len = header.frame_len().unwrap();
        let expect = Expect { kind: BlockKind::DATA, ordinal: None, handle: Handle { offset, len } };
        let reader = FrameReader::new(identity(1), Transforms::new(Checksum::Crc32c));
        let frame = rest.slice(..len as usize);
        let opened = reader.open(&expect, &frame, &mut Decoder::new(), 1000).unwrap();
        assert_eq!(opened.payload, b"abcdefgh".repeat(20)[..]);
        rest = rest.slice(len as usize..);
        offset += u64::from(len);
    }
    assert!(offset > 0x200 + 64);
}

fn directory() -> Directory {
    let section =
        |kind, flags, offset| Section { kind, flags, frames: 2, offset, len: 0x300, digest: 0xD1, aux: 5 };
    Directory {
        frames: 6,
        data_frames: 2,
        file_digest: 0xFD,
        superblock_digest: Superblock::digest_of(&superblock().encode()),
        sections: vec![
            section(BlockKind::DATA, SectionFlags::CRITICAL.with(SectionFlags::INTERLEAVED), 0x200),
            section(BlockKind::PROPERTIES, SectionFlags::CRITICAL.with(SectionFlags::MIRROR), 0x500),
        ],
    }
}

#[test]
fn directory_bytes() {
    check(&directory().encode(), DIRECTORY);
    let decoded = Directory::decode(identity(1).at(0), &bytes_of(DIRECTORY), 0x800).unwrap();
    assert_eq!(decoded, directory());
}

#[test]
fn footer_bytes() {
    let footer = Footer {
        directory: Handle { offset: 0x1234, len: 0x70 },
        mirror: Some(Handle { offset: 0x0400, len: 0x70 }),
        version: FormatVersion::CURRENT,
        incompat: 0,
        uuid: identity(1).uuid,
    };
    check(&footer.encode(), FOOTER);
    assert_eq!(Footer::decode(identity(1).at(0), &bytes_of(FOOTER)).unwrap(), footer);
}

/// Two whole records, one cut at a border with zero-filling before it.
#[test]
fn log_bytes() {
    let start = LogPosition { offset: 4096 - 256, index: 7, chain: 0xC0DE, ordinal: 3 };
    let mut out = Vec::new();
    let mut encoder = LogEncoder::new(identity(1), Transforms::default(), LogFormat::MANIFEST, start);
    encoder.encode(6, b"edit", &mut out).unwrap();
    encoder.encode(7, &[0xEE; 48], &mut out).unwrap();
    encoder.encode(8, b"behind the border", &mut out).unwrap();
    encoder.encode(9, &[0xAB; 4096], &mut out).unwrap();
    check(&out, LOG);

    let mut file = vec![0; 4096 - 256];
    file.extend_from_slice(&bytes_of(LOG));
    let mut scanner = LogScanner::new(identity(1), Transforms::default(), LogFormat::MANIFEST, &file, 512);
    scanner = scanner.anchored(start);
    let indexes: Vec<_> = scanner.by_ref().map(|record| (record.index, record.durable)).collect();
    assert_eq!(indexes, [(7, 6), (8, 7), (9, 8), (10, 9)]);
    assert_eq!(scanner.tail(0), Tail::Clean { at: file.len() as u64 });
}

#[test]
fn digest_value() {
    let spec = FrameSpec { kind: BlockKind::DATA, encoding: 1, compression: Compression::None, ordinal: 0 };
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    let mut digest = SectionDigest::new(0x200);
    for offset in [0x200, 0x227] {
        digest.add(&writer.append(spec, b"payload", offset, &mut Vec::new()).unwrap());
    }
    assert_eq!(digest.value(), 6_225_821_934_179_867_167);
}
