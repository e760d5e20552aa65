//! Frames that are compressed with a dictionary of their file: found by its slot, known by its hash, bound by the seal.
#![expect(clippy::unwrap_used, reason = "a helper's panic fails the test")]

mod common;

use std::sync::Arc;

use common::{decoder, identity, text};
use lsm_block::{
    BlockError, BlockKind, Checksum, Dictionaries, Encryption, Expect, FrameHeader, FrameReader, FrameSpec,
    FrameWriter, Handle, KeyId, Part, Superblock, Transforms,
};
use lsm_codec::{Compression, Dictionary};
use lsm_crypto::{KeyChain, Secret};
use lsm_types::{CorruptionKind, EditIndex, ErrorKind, Fault, FileKind, Location, Slice, UnixNanos};

const AT: Location = Location { kind: FileKind::ValueLog, id: 1, offset: 512 };

fn dictionary(number: usize) -> Dictionary {
    let content = format!("{number} is what all the values have in common; ").into_bytes().repeat(8);
    let mut payload = Vec::new();
    Dictionaries::encode(&Dictionary::new(Checksum::Xxh3.of(&content), content).unwrap(), &mut payload);
    Dictionaries::decode(AT, &payload).unwrap()
}

fn payload() -> Vec<u8> {
    b"2 is what all the values have in common; 1 is what all the values have in common; !".to_vec()
}

fn transforms(sealed: bool) -> Transforms {
    let encryption = Encryption::new(Arc::new(KeyChain::new(KeyId::new(4), Secret::new([1; 32]))));
    let head = Superblock::new(identity(1), UnixNanos::new(1), EditIndex::new(2));
    if !sealed {
        return Transforms::default();
    }
    head.begin(Some(&encryption), |bytes| bytes.fill(7)).unwrap().1
}

const SPEC: FrameSpec = FrameSpec {
    kind: BlockKind::VALUE,
    encoding: 1,
    compression: Compression::Zstd { level: 3 },
    ordinal: 0,
};

/// A frame in slot 2 of a file with two dictionaries.
fn frame(sealed: bool) -> (Vec<u8>, Expect) {
    let mut writer = FrameWriter::new(identity(1), transforms(sealed));
    let slots = [1, 2, 1].map(|number| writer.dictionary_slot(&dictionary(number)).unwrap());
    assert_eq!(slots, [1, 2, 1]);
    let mut bytes = Vec::new();
    let prepared = writer.prepare_with_dictionary(SPEC, (3, 2), &payload(), &mut bytes).unwrap();
    let mark = writer.place(prepared, 512, &mut bytes);
    assert!(mark.stored_len < 60, "the dictionary is of no use: {mark:?}");
    (bytes, Expect { kind: BlockKind::VALUE, ordinal: Some(0), handle: mark.handle })
}

fn open(
    sealed: bool,
    slots: Vec<Result<Dictionary, BlockError>>,
    expect: &Expect,
    bytes: &[u8],
) -> Result<Slice, BlockError> {
    let reader =
        FrameReader::new(identity(1), transforms(sealed)).with_dictionaries(Dictionaries::new(slots));
    reader.open(expect, &Slice::from(bytes), &mut decoder(), u32::MAX).map(|frame| frame.payload)
}

/// Proves F-49 for dictionaries in a file.
#[test]
fn a_frame_names_its_dictionary() {
    for sealed in [false, true] {
        let (bytes, expect) = frame(sealed);
        let open = |slots| open(sealed, slots, &expect, &bytes);
        let (one, two) = (|| Ok(dictionary(1)), || Ok(dictionary(2)));
        assert_eq!(open(vec![one(), two()]).unwrap(), payload()[..]);
        for slots in [vec![], vec![two()]] {
            assert_eq!(open(slots).unwrap_err().kind(), ErrorKind::DictionaryMissing);
        }
        // Why it cannot be read is told by those that need it.
        let damage = BlockError::DictionaryMismatch { at: AT, expected: 1, found: 2 };
        assert_eq!(open(vec![one(), Err(damage)]).unwrap_err(), damage);
        assert_eq!(open(vec![Err(damage), two()]).unwrap(), payload()[..]);
        let other = open(vec![two(), one()]);
        if sealed {
            assert_eq!(other.unwrap_err().kind(), ErrorKind::Tampered, "the seal binds the dictionary");
        } else {
            assert_ne!(other.ok().as_deref(), Some(&payload()[..]));
        }
    }
}

/// Somebody without the key sends a frame to another dictionary of the file.
///
/// Proves F-49 for sealed files.
#[test]
fn another_slot_breaks_the_seal() {
    let (bytes, expect) = frame(true);
    let header = FrameHeader::decode(&identity(1), 512, BlockKind::VALUE, &bytes).unwrap();
    for (slot, kind) in [(1, ErrorKind::Tampered), (3, ErrorKind::DictionaryMissing)] {
        let mut forged = bytes.clone();
        let head = FrameHeader { dictionary: slot, ..header }.encode(&identity(1), 512);
        forged.get_mut(..FrameHeader::LEN).unwrap().copy_from_slice(&head);
        let slots = vec![Ok(dictionary(1)), Ok(dictionary(2))];
        assert_eq!(open(true, slots, &expect, &forged).unwrap_err().kind(), kind);
    }
}

/// Proves F-8 for dictionaries of frames.
#[test]
fn lies_about_dictionaries_are_refused() {
    let payload = text(300);
    let honest = FrameHeader {
        kind: BlockKind::VALUE,
        flags: 0b1_0001,
        stored_len: 300,
        logical_len: 400,
        codec: 2,
        encoding: 1,
        dictionary: 1,
        ordinal: 0,
        check: Checksum::Xxh3.of(&payload),
    };
    let check = |header: FrameHeader| {
        let bytes = [&header.encode(&identity(1), 512)[..], &payload[..]].concat();
        let expect = Expect { kind: header.kind, ordinal: Some(0), handle: Handle { offset: 512, len: 332 } };
        open(false, vec![Ok(dictionary(1))], &expect, &bytes).unwrap_err()
    };
    for lie in [
        FrameHeader { dictionary: 0, ..honest },
        FrameHeader { flags: 1, ..honest },
        FrameHeader { codec: 1, ..honest },
        FrameHeader { flags: 0b1_0000, codec: 0, logical_len: 300, ..honest },
        // Good lengths and a good check over what Zstandard never wrote.
        honest,
    ] {
        assert!(matches!(check(lie).kind(), ErrorKind::Corruption(_)), "{lie:?}");
    }
    for kind in [BlockKind::DATA, BlockKind::MANIFEST_WHOLE, BlockKind::VALUE_CHUNK] {
        let error = check(FrameHeader { kind, ..honest });
        assert!(
            matches!(error, BlockError::Unsupported { part: Part::FrameFlags(0b1_0000), .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_file_has_so_many_slots() {
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    let slots: Vec<_> = (1..20).map(|number| writer.dictionary_slot(&dictionary(number))).collect();
    let expected = (1..20_u16).map(|slot| (slot <= Dictionaries::SLOTS_MAX).then_some(slot));
    assert!(slots.iter().copied().eq(expected));
    assert_eq!(writer.dictionary_slot(&dictionary(3)), Some(3));
    assert_eq!(writer.dictionaries().len(), usize::from(Dictionaries::SLOTS_MAX));
}

/// Proves F-49: a content that is not what its hash says.
#[test]
fn a_dictionary_is_known_by_its_hash() {
    let mut payload = Vec::new();
    Dictionaries::encode(&dictionary(1), &mut payload);
    assert_eq!(Dictionaries::decode(AT, &payload).unwrap(), dictionary(1));
    for at in 0..payload.len() {
        let mut damaged = payload.clone();
        if let Some(byte) = damaged.get_mut(at) {
            *byte ^= 1;
        }
        let error = Dictionaries::decode(AT, &damaged).unwrap_err();
        assert_eq!((error.kind(), error.location()), (ErrorKind::DictionaryMismatch, Some(AT)));
    }
    for len in [0, 7] {
        assert_eq!(Dictionaries::decode(AT, &payload[..len]).unwrap_err().kind(), ErrorKind::Truncated);
    }
    // Nothing of it has the right hash, and no content is none.
    let empty = Checksum::Xxh3.of(b"").to_le_bytes();
    let kind = Dictionaries::decode(AT, &empty).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Corruption(CorruptionKind::Decompress));
}
