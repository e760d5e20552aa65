//! Superblock, directory and footer, and the ways from a file's length to them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper's panic fails the test")]

mod common;

use common::{Dice, identity, noise};
use lsm_block::{
    BlockError, BlockKind, ByteRange, Checksum, Directory, DirectoryPointer, Features, Footer, FormatVersion,
    FrameSpec, FrameWriter, Handle, Located, Locator, LocatorHints, Part, Route, Section, SectionDigest,
    SectionFlags, Step, Superblock,
};
use lsm_codec::Compression;
use lsm_types::{CorruptionKind, EditIndex, ErrorKind, Fault, FileKind, Slice, UnixNanos};

fn superblock() -> Superblock {
    let mut superblock =
        Superblock::new(identity(1), UnixNanos::new(1_700_000_000_000_000_000), EditIndex::new(9));
    superblock.salt = [0x5A; 32];
    superblock.features.compat = 1 << 40;
    superblock
}

/// Recomputes the main check of a changed superblock.
fn restamp(mut bytes: [u8; 512]) -> [u8; 512] {
    let mut checked = bytes;
    checked[336..348].fill(0);
    let crc = u32::try_from(Checksum::Crc32c.of(&checked[..504])).unwrap();
    bytes[508..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_superblock_round_trips_with_and_without_its_pointer() {
    for kind in [
        FileKind::Table,
        FileKind::ValueLog,
        FileKind::Manifest,
        FileKind::DeleteVector,
        FileKind::Dictionary,
        FileKind::Wal,
    ] {
        for checksum in Checksum::ALL {
            let mut superblock = superblock();
            superblock.identity.kind = kind;
            superblock.checksum = checksum;
            let plain = superblock.encode();
            assert_eq!(Superblock::decode(identity(1).at(0), &plain).unwrap(), superblock);

            superblock.directory = DirectoryPointer::At(Handle { offset: 1 << 40, len: 77 });
            let patched = superblock.encode();
            assert_eq!(Superblock::decode(identity(1).at(0), &patched).unwrap(), superblock);
            assert_eq!(plain[508..], patched[508..], "the main check survives the patch");
            assert_eq!(Superblock::digest_of(&plain), Superblock::digest_of(&patched));
        }
    }
}

/// Every changed bit is an error, or, within the pointer, a pointer that is known to be damaged.
#[test]
fn every_flipped_bit_of_a_superblock_shows() {
    let mut superblock = superblock();
    superblock.directory = DirectoryPointer::At(Handle { offset: 4096, len: 77 });
    let bytes = superblock.encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes;
            changed[at] ^= 1 << bit;
            let decoded = Superblock::decode(identity(1).at(0), &changed);
            if (336..348).contains(&at) || (504..508).contains(&at) {
                let expected = Superblock { directory: DirectoryPointer::Damaged, ..superblock.clone() };
                assert_eq!(decoded.unwrap(), expected, "byte {at}");
                continue;
            }
            let kind = decoded.unwrap_err().kind();
            let wrong_crc = ErrorKind::Corruption(CorruptionKind::HeaderCrc);
            assert_eq!(kind, if at < 8 { ErrorKind::NotOurs } else { wrong_crc }, "byte {at}");
        }
    }
    for cut in 0..bytes.len() {
        assert_eq!(
            Superblock::decode(identity(1).at(0), &bytes[..cut]).unwrap_err().kind(),
            ErrorKind::Truncated
        );
    }
}

/// What a newer version may write, behind a good check: refused by name where it must be understood, read where it
/// may be ignored.
///
/// Proves F-8 for superblocks, FI-9 as far as masks go.
#[test]
fn what_must_be_understood_is_refused_by_name() {
    let with = |at: usize, byte: u8| {
        let mut bytes = superblock().encode();
        bytes[at] = byte;
        Superblock::decode(identity(1).at(0), &restamp(bytes))
    };
    let unsupported = |at, byte, part| match with(at, byte) {
        Err(BlockError::Unsupported { part: found, .. }) => assert_eq!(found, part, "byte {at}"),
        other => panic!("byte {at}: {other:?}"),
    };
    unsupported(8, 9, Part::FileKind(9));
    unsupported(8, 0, Part::FileKind(0));
    unsupported(10, 2, Part::Major(2));
    for bit in 0..64 {
        unsupported(16 + bit / 8, 1 << (bit % 8), Part::Incompat(1 << bit));
    }
    unsupported(80, 3, Part::Checksum(3));
    unsupported(80, 0, Part::Checksum(0));
    unsupported(81, 1, Part::Ecc(1));
    unsupported(85, 12, Part::Alignment(12));
    unsupported(86, 3, Part::Encryption(3));
    unsupported(86, 1, Part::KeyDerivation(0));
    // What belongs to a seal where there is none, and a bit where no version has written yet, are damage that the
    // check cannot see.
    for at in (87..92).chain(128..336) {
        assert_eq!(with(at, 1).unwrap_err().kind(), ErrorKind::Corruption(CorruptionKind::Decode));
    }
    for at in 368..504 {
        assert_eq!(with(at, 1).unwrap_err().kind(), ErrorKind::Corruption(CorruptionKind::Decode));
    }
    // A higher minor version, read-compat and compat bits are read past; read-compat bars changes.
    assert_eq!(with(12, 7).unwrap().version, FormatVersion { major: 1, minor: 7 });
    assert!(with(32, 1).is_ok_and(|superblock| superblock.features.compat & 1 == 1));
    let newer = with(24, 1).unwrap();
    assert!(!newer.features.may_modify() && superblock().features.may_modify());
    // More bytes in use than we know of.
    let mut longer = superblock().encode();
    longer[14..16].copy_from_slice(&380_u16.to_le_bytes());
    longer[379] = 1;
    assert!(Superblock::decode(identity(1).at(0), &restamp(longer)).is_ok());
    longer[380] = 1;
    assert!(Superblock::decode(identity(1).at(0), &restamp(longer)).is_err());
}

fn footer() -> Footer {
    Footer {
        directory: Handle { offset: 1 << 33, len: 312 },
        mirror: Some(Handle { offset: 1 << 20, len: 312 }),
        version: FormatVersion::CURRENT,
        incompat: 0,
        uuid: identity(1).uuid,
    }
}

#[test]
fn a_footer_round_trips_and_shows_every_flipped_bit() {
    for footer in [footer(), Footer { mirror: None, ..footer() }] {
        let bytes = footer.encode();
        assert_eq!(Footer::decode(identity(1).at(0), &bytes).unwrap(), footer);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[at] ^= 1 << bit;
                Footer::decode(identity(1).at(0), &changed).unwrap_err();
            }
            Footer::decode(identity(1).at(0), &bytes[..at]).unwrap_err();
        }
    }
    let newer = Footer { incompat: 1 << 63, ..footer() }.encode();
    let error = Footer::decode(identity(1).at(0), &newer).unwrap_err();
    assert!(matches!(error, BlockError::Unsupported { part: Part::Incompat(bits), .. } if bits == 1 << 63));
    let newer = Footer { version: FormatVersion { major: 2, minor: 0 }, ..footer() }.encode();
    assert!(
        Footer::decode(identity(1).at(0), &newer).is_err_and(|e| e.kind() == ErrorKind::UnsupportedFormat)
    );
}

fn section(kind: BlockKind, offset: u64, flags: SectionFlags) -> Section {
    Section { kind, flags, frames: 1, offset, len: 100, digest: 7, aux: offset }
}

fn directory() -> Directory {
    let critical = SectionFlags::CRITICAL;
    Directory {
        frames: 9,
        data_frames: 4,
        file_digest: 1,
        superblock_digest: 2,
        sections: vec![
            section(BlockKind::PROPERTIES, 5000, critical),
            section(BlockKind::PROPERTIES, 3000, critical.with(SectionFlags::MIRROR)),
            section(BlockKind::DATA, 512, critical.with(SectionFlags::INTERLEAVED)),
            section(BlockKind::from_code(200), 4000, SectionFlags::NONE),
        ],
    }
}

#[test]
fn a_directory_round_trips_sorted_and_is_found_by_kind() {
    let mut directory = directory();
    let bytes = directory.encode();
    assert_eq!(bytes.len(), Directory::encoded_len(4));
    let decoded = Directory::decode(identity(1).at(0), &bytes, 10_000).unwrap();
    assert_eq!(decoded, directory);
    assert_eq!(decoded.primary(BlockKind::PROPERTIES).unwrap().offset, 5000);
    assert_eq!(decoded.mirror(BlockKind::PROPERTIES).unwrap().offset, 3000);
    assert_eq!(decoded.mirror(BlockKind::DATA), None);
    for cut in 0..bytes.len() {
        Directory::decode(identity(1).at(0), &bytes[..cut], 10_000).unwrap_err();
    }
}

/// Proves F-8 for sections, F-14 and F-30 for directories.
#[test]
fn a_directory_must_fit_its_file_and_its_reader() {
    let decode =
        |directory: &mut Directory, len| Directory::decode(identity(1).at(0), &directory.encode(), len);
    let geometry = ErrorKind::Corruption(CorruptionKind::Geometry);
    assert!(decode(&mut directory(), 5100).is_ok());
    assert_eq!(decode(&mut directory(), 5099).unwrap_err().kind(), geometry);
    let mut far = directory();
    far.sections[0].offset = 5 << 32;
    far.sections[0].len = 6 << 32;
    assert_eq!(decode(&mut far, 11 << 32).unwrap(), far);
    assert_eq!(decode(&mut far, (11 << 32) - 1).unwrap_err().kind(), geometry);
    far.sections.last_mut().unwrap().len = u64::MAX;
    assert_eq!(decode(&mut far, u64::MAX).unwrap_err().kind(), geometry);

    // An unknown kind is refused when critical, by the reader who does not know it.
    let known = |kind: BlockKind| kind.is_known();
    let at = identity(1).at(0);
    assert!(directory().refuse_unknown(at, known).is_ok());
    let mut critical = directory();
    critical.sections[3].flags = SectionFlags::CRITICAL;
    let error = decode(&mut critical, 10_000).unwrap().refuse_unknown(at, known).unwrap_err();
    assert!(matches!(error, BlockError::Unsupported { part: Part::Section(200), .. }));

    // Flags and types from the future: fatal in a critical section, kept or skipped in others.
    let entry = 32 + 3 * 40;
    for (critical, at, byte) in [(0, entry + 1, 1), (0, entry + 3, 1), (1, entry + 1, 1), (1, entry + 3, 1)] {
        let mut bytes = directory().encode();
        bytes[at] = byte;
        bytes[entry + 2] = critical;
        let decoded = Directory::decode(identity(1).at(0), &bytes, 10_000);
        match decoded {
            Ok(_) => assert_eq!(critical, 0),
            Err(error) => assert_eq!((critical, error.kind()), (1, ErrorKind::UnsupportedFormat)),
        }
    }

    // A count that the bytes do not bear, and entries out of order.
    let mut bytes = directory().encode();
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    Directory::decode(identity(1).at(0), &bytes, 10_000).unwrap_err();
    let mut bytes = directory().encode();
    bytes.copy_within(32..72, 72);
    Directory::decode(identity(1).at(0), &bytes, 10_000).unwrap_err();
}

/// Proves F-21: the digest follows the frames' contents and order, not their place.
#[test]
fn a_section_digest_survives_a_move() {
    let digest = |base: u64, payloads: &[&[u8]]| {
        let mut writer = FrameWriter::new(identity(1), superblock().transforms(None).unwrap());
        let mut bytes = Vec::new();
        let mut digest = SectionDigest::new(base);
        for payload in payloads {
            let spec =
                FrameSpec { kind: BlockKind::DATA, encoding: 1, compression: Compression::None, ordinal: 0 };
            digest.add(&writer.append(spec, payload, base + bytes.len() as u64, &mut bytes).unwrap());
        }
        (digest.value(), digest.frames())
    };
    let one = digest(512, &[b"a", b"b"]);
    assert_eq!(one, digest(1 << 40, &[b"a", b"b"]));
    assert_ne!(one.0, digest(512, &[b"b", b"a"]).0);
    assert_ne!(one.0, digest(512, &[b"a"]).0);
    assert_ne!(one.0, digest(512, &[b"a", b"c"]).0);
    assert_eq!(one.1, 2);
}

/// A small file of the ordinary shape: data, mirrors, a gap, primaries, footer. Returns the bytes and the handles of
/// the superblock copy and directory, mirror first.
struct Built {
    bytes: Vec<u8>,
    copies: [Handle; 2],
    directories: [Handle; 2],
}

fn build(checksum: Checksum) -> Built {
    let mut head = superblock();
    head.checksum = checksum;
    let copy = head.clone();
    build_with(head, &copy)
}

/// The same, with a copy of the superblock that may differ.
fn build_with(mut head: Superblock, stored_copy: &Superblock) -> Built {
    let mut writer = FrameWriter::new(head.identity, head.transforms(None).unwrap());
    let mut bytes = head.encode().to_vec();
    let spec = |kind, ordinal| FrameSpec { kind, encoding: 1, compression: Compression::None, ordinal };
    for ordinal in 0..4 {
        let at = bytes.len() as u64;
        writer.append(spec(BlockKind::DATA, ordinal), &noise(1000, ordinal.into()), at, &mut bytes).unwrap();
    }
    let raw = head.encode();
    let frame_len = |payload: usize| (payload + 32) as u64;
    let group_len = frame_len(512) + frame_len(Directory::encoded_len(2));
    let mirror_at = bytes.len() as u64;
    let primary_at = mirror_at + group_len + (64 << 10);
    let copy = |offset, flags| Section {
        kind: BlockKind::SUPERBLOCK_COPY,
        flags,
        frames: 1,
        offset,
        len: frame_len(512),
        digest: 0,
        aux: 0,
    };
    let mut directory = Directory {
        frames: 8,
        data_frames: 4,
        file_digest: 0,
        superblock_digest: Superblock::digest_of(&raw),
        sections: vec![copy(mirror_at, SectionFlags::MIRROR), copy(primary_at, SectionFlags::NONE)],
    };
    let payload = directory.encode();
    let (mut copies, mut directories) = ([Handle::default(); 2], [Handle::default(); 2]);
    for (which, at) in [mirror_at, primary_at].into_iter().enumerate() {
        bytes.resize(usize::try_from(at).unwrap(), 0);
        copies[which] = writer
            .append(spec(BlockKind::SUPERBLOCK_COPY, 10), &stored_copy.encode(), at, &mut bytes)
            .unwrap()
            .handle;
        let at = bytes.len() as u64;
        directories[which] =
            writer.append(spec(BlockKind::DIRECTORY, 11), &payload, at, &mut bytes).unwrap().handle;
    }
    let [mirror, primary] = directories;
    let footer = Footer { directory: primary, mirror: Some(mirror), ..footer() };
    bytes.extend_from_slice(&footer.encode());
    head.directory = DirectoryPointer::At(primary);
    bytes[..512].copy_from_slice(&head.encode());
    Built { bytes, copies, directories }
}

/// Drives a locator; also returns the ranges it asked for.
fn locate(bytes: &[u8], hints: LocatorHints) -> (Result<Located, BlockError>, Vec<ByteRange>) {
    let (mut locator, mut range) = match Locator::start(bytes.len() as u64, hints) {
        Ok(started) => started,
        Err(error) => return (Err(error), Vec::new()),
    };
    let mut asked = Vec::new();
    loop {
        asked.push(range);
        assert!(asked.len() < 12, "no progress");
        let start = usize::try_from(range.offset).unwrap();
        let end = start + usize::try_from(range.len).unwrap();
        match locator.feed(Slice::from(&bytes[start..end])) {
            Ok(Step::Need(next)) => range = next,
            Ok(Step::Done(located)) => return (Ok(located), asked),
            Err(error) => return (Err(error), asked),
        }
    }
}

fn smash(bytes: &mut [u8], handle: Handle) {
    let start = usize::try_from(handle.offset).unwrap();
    bytes[start + 40] ^= 0xFF;
}

/// Proves F-9: from its length alone an ordinary file takes one read of its tail, with a handle too.
#[test]
fn one_read_of_the_tail_is_enough() {
    for checksum in Checksum::ALL {
        let built = build(checksum);
        let (located, asked) = locate(&built.bytes, LocatorHints::default());
        let located = located.unwrap();
        let tail_at = built.bytes.len() as u64 - (64 << 10);
        assert_eq!(asked, [ByteRange { offset: tail_at, len: 64 << 10 }]);
        assert_eq!((located.route, located.directory_at), (Route::Footer, built.directories[1]));
        assert_eq!((located.superblock.identity, located.superblock.checksum), (identity(1), checksum));
        assert!(located.detours.is_empty());
        let copy = ByteRange { offset: built.copies[1].offset, len: built.copies[1].len.into() };
        assert!(located.tail_bytes(copy).is_some());
        assert!(located.tail_bytes(ByteRange { offset: 0, len: 512 }).is_none());

        let hints = LocatorHints {
            identity: Some(identity(1)),
            directory: Some(built.directories[1]),
            ..LocatorHints::default()
        };
        let (located, asked) = locate(&built.bytes, hints);
        assert_eq!((located.unwrap().route, asked.len()), (Route::Hint, 1));
    }
}

/// Every set of damaged ways in: the best one left is taken and every loss is told, until none is left.
#[test]
fn the_next_route_is_taken_when_one_is_damaged() {
    for damaged in 0..32_u32 {
        let Built { mut bytes, copies, directories } = build(Checksum::Xxh3);
        let is = |bit: u32| damaged & 1 << bit != 0;
        let footer_at = bytes.len() - 20;
        if is(0) {
            bytes[footer_at] ^= 1;
        }
        if is(1) {
            smash(&mut bytes, directories[1]);
        }
        if is(2) {
            bytes[100] ^= 1;
        }
        if is(3) {
            smash(&mut bytes, directories[0]);
        }
        if is(4) {
            smash(&mut bytes, copies[1]);
        }
        let (located, _) = locate(&bytes, LocatorHints::default());
        let expected = match (is(0), is(1), is(2), is(3)) {
            (_, true, _, true) => None,
            (false, false, ..) => Some(Route::Footer),
            (false, true, ..) => Some(Route::FooterMirror),
            (true, false, false, _) => Some(Route::Superblock),
            _ => Some(Route::Scan),
        };
        match (located, expected) {
            (Ok(located), Some(route)) => {
                assert_eq!(located.route, route, "{damaged:05b}");
                assert_eq!(located.superblock.identity, identity(1));
                // A damaged head alone is not looked at when the copy in the tail is good.
                assert_eq!(located.detours.is_empty(), damaged & 0b10011 == 0, "{damaged:05b}");
            }
            (Err(error), None) => {
                assert!(matches!(error.kind(), ErrorKind::Corruption(_)), "{damaged:05b}: {error:?}");
            }
            (located, expected) => panic!("{damaged:05b}: {located:?}, expected {expected:?}"),
        }
    }
}

/// Proves FI-8 and FI-2 for the ways in: any one damaged byte of a file leaves it open, with the same answer.
/// Fault: formats W-26.
#[test]
fn any_one_damaged_byte_leaves_a_way_in() {
    let built = build(Checksum::Xxh3);
    let (whole, _) = locate(&built.bytes, LocatorHints::default());
    let whole = whole.unwrap();
    for at in (0..built.bytes.len()).filter(|&at| at < 6000 || at > built.bytes.len() - 1000) {
        let mut bytes = built.bytes.clone();
        bytes[at] ^= 0x10;
        let (located, _) = locate(&bytes, LocatorHints::default());
        let located = located.unwrap_or_else(|error| panic!("byte {at}: {error}"));
        assert_eq!((located.directory, located.superblock.identity), (whole.directory.clone(), identity(1)));
    }
}

/// A superblock with good checks that is not the one the directory vouches for is not believed.
#[test]
fn a_superblock_must_be_the_one_vouched_for() {
    let stale = Superblock { edit_index: EditIndex::new(8), ..superblock() };
    let built = build_with(superblock(), &stale);
    let located = locate(&built.bytes, LocatorHints::default()).0.unwrap();
    assert_eq!((located.superblock.edit_index, located.detours.len()), (EditIndex::new(9), 1));

    let mut bytes = built.bytes;
    bytes[..512].copy_from_slice(&stale.encode());
    let error = locate(&bytes, LocatorHints::default()).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption(CorruptionKind::Decode));
}

#[test]
fn another_file_is_refused() {
    let built = build(Checksum::Xxh3);
    let other_file = ErrorKind::FileIdentityMismatch;
    let hints = |identity| LocatorHints { identity: Some(identity), ..LocatorHints::default() };
    assert_eq!(locate(&built.bytes, hints(identity(2))).0.unwrap_err().kind(), other_file);
    let renumbered = lsm_block::FileIdentity { file_id: 2, ..identity(1) };
    assert_eq!(locate(&built.bytes, hints(renumbered)).0.unwrap_err().kind(), other_file);
    assert!(locate(&built.bytes, hints(identity(1))).0.is_ok());

    for len in [0, 1, 575] {
        let error = locate(&built.bytes[..len], LocatorHints::default()).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
    }
    assert_eq!(locate(&[7; 4000], LocatorHints::default()).0.unwrap_err().kind(), ErrorKind::NotOurs);
    assert_eq!(locate(&noise(4000, 1), LocatorHints::default()).0.unwrap_err().kind(), ErrorKind::NotOurs);
}

/// A file cut short opens when only footer or directory are gone, and tells; never when a section is.
#[test]
fn a_file_cut_at_any_length_is_whole_or_refused() {
    let built = build(Checksum::Xxh3);
    let sections_end = built.copies[1].end().unwrap();
    for len in (576..built.bytes.len()).step_by(97).chain(built.bytes.len() - 700..built.bytes.len()) {
        match locate(&built.bytes[..len], LocatorHints::default()).0 {
            Ok(located) => {
                assert!(len as u64 >= sections_end && !located.detours.is_empty(), "{len}");
            }
            Err(error) => {
                assert!((len as u64) < sections_end, "{len}: {error}");
                assert!(matches!(error.kind(), ErrorKind::Corruption(_)), "{len}: {error:?}");
            }
        }
    }
}

/// Proves F-29 and FI-2 for superblock, directory, footer and the ways to them: changed bytes give answers, not
/// panics.
#[test]
fn mutated_metadata_never_panics() {
    let built = build(Checksum::Xxh3);
    let mut dice = Dice::new(11);
    let tail_from = built.bytes.len() - 2000;
    let small: Vec<u8> = [&built.bytes[..1600], &built.bytes[tail_from..]].concat();
    for round in 0..4000 {
        let mut bytes = if round % 2 == 0 { small.clone() } else { directory().encode() };
        dice.mutate(&mut bytes);
        let _ = Superblock::decode(identity(1).at(0), &bytes);
        let _ = Footer::decode(identity(1).at(0), &bytes);
        let _ = Directory::decode(identity(1).at(0), &bytes, 1 << 20);
        if let Ok(superblock) = Superblock::decode(identity(1).at(0), &restamp_front(&bytes)) {
            let _ = Superblock::decode(identity(1).at(0), &superblock.encode()).unwrap();
        }
        let _ = locate(&bytes, LocatorHints::default());
    }
    assert_eq!(Features::KNOWN_INCOMPAT & Features::KNOWN_READ_COMPAT, 0);
}

/// The first 512 bytes, with a good check.
fn restamp_front(bytes: &[u8]) -> [u8; 512] {
    let mut front = [0; 512];
    let len = bytes.len().min(512);
    front[..len].copy_from_slice(&bytes[..len]);
    front[..8].copy_from_slice(&superblock().encode()[..8]);
    restamp(front)
}
