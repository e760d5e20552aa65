//! Walking the frames of whole and damaged files.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper's panic fails the test")]

mod common;

use common::{Dice, identity, noise, text};
use lsm_block::{
    BlockKind, DirectoryPointer, Footer, FormatVersion, FrameHeader, FrameMark, FrameReader, FrameSpec,
    FrameWriter, Handle, SectionDigest, Superblock, Transforms, Walk, Walked,
};
use lsm_codec::Compression;
use lsm_types::{EditIndex, ErrorKind, Fault, IoError, IoKind, IoOp, ReadAt, UnixNanos};

fn superblock() -> Superblock {
    Superblock::new(identity(1), UnixNanos::new(1), EditIndex::new(1))
}

/// A file of frames of several kinds, with a gap of zeros in the middle, and their marks.
fn build(gap_len: usize) -> (Vec<u8>, Vec<FrameMark>) {
    let mut bytes = superblock().encode().to_vec();
    let mut writer = FrameWriter::new(identity(1), Transforms::default());
    let mut marks = Vec::new();
    let payloads = [text(900), noise(300, 1), Vec::new(), text(40), noise(5000, 2)];
    let kinds = [BlockKind::DATA, BlockKind::FILTER_PARTITION, BlockKind::from_code(210), BlockKind::DATA];
    for (ordinal, payload) in (0..20).zip(payloads.iter().cycle()) {
        let kind = kinds[ordinal as usize % kinds.len()];
        let compression = Compression::Lz4.or_weaker();
        let spec = FrameSpec { kind, encoding: 1, compression, ordinal };
        let at = bytes.len() as u64;
        marks.push(writer.append(spec, payload, at, &mut bytes).unwrap());
        if ordinal == 11 {
            bytes.resize(bytes.len() + gap_len, 0);
        }
    }
    let footer = Footer {
        directory: Handle::default(),
        mirror: None,
        version: FormatVersion::CURRENT,
        incompat: 0,
        uuid: identity(1).uuid,
    };
    bytes.extend_from_slice(&footer.encode());
    (bytes, marks)
}

fn walk(bytes: &[u8]) -> Vec<Walked> {
    let steps: Vec<_> = Walk::file(bytes, &superblock()).unwrap().map(Result::unwrap).collect();
    let mut at = 512.min(bytes.len() as u64);
    for step in &steps {
        let extent = match step {
            Walked::Frame { mark, .. } => mark.handle.offset..mark.handle.end().unwrap(),
            Walked::BadFrame { handle, .. } => handle.offset..handle.end().unwrap(),
            Walked::Damaged { extent, .. } | Walked::Zeros { extent } => extent.clone(),
        };
        assert_eq!(extent.start, at, "steps tile the file");
        at = extent.end;
    }
    assert!(at == bytes.len() as u64 || at == bytes.len() as u64 - 64, "the walk reaches the end");
    steps
}

fn marks(steps: &[Walked]) -> Vec<FrameMark> {
    let mark = |step: &Walked| match step {
        Walked::Frame { mark, .. } => Some(*mark),
        _ => None,
    };
    steps.iter().filter_map(mark).collect()
}

/// Proves F-7 as far as one file goes, and F-21: a walk needs no index, and its digest is the writer's.
#[test]
fn a_walk_finds_every_frame_and_its_digest() {
    let (bytes, written) = build(700_000);
    let steps = walk(&bytes);
    assert_eq!(marks(&steps), written);
    assert_eq!(steps.len(), written.len() + 1);
    assert!(matches!(&steps[12], Walked::Zeros { extent } if extent.end - extent.start == 700_000));
    let digest = |marks: &[FrameMark]| {
        let mut digest = SectionDigest::new(0);
        for mark in marks {
            digest.add(mark);
        }
        digest.value()
    };
    assert_eq!(digest(&marks(&steps)), digest(&written));
}

/// Proves F-148: after any one damaged byte all other frames are still found.
/// Fault: formats W-39.
#[test]
fn one_damaged_byte_costs_one_frame() {
    let (bytes, written) = build(3000);
    for (which, mark) in written.iter().enumerate() {
        let start = usize::try_from(mark.handle.offset).unwrap();
        for at in
            (start..start + mark.handle.len as usize).step_by(if mark.handle.len > 500 { 37 } else { 1 })
        {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            let steps = walk(&changed);
            let found = marks(&steps);
            let expected: Vec<_> = written.iter().copied().filter(|other| other != mark).collect();
            assert_eq!(found, expected, "frame {which}, byte {at}");
            let told = steps.iter().any(|step| match step {
                Walked::BadFrame { handle, .. } => *handle == mark.handle,
                Walked::Damaged { extent, .. } => extent.contains(&mark.handle.offset),
                _ => false,
            });
            assert!(told, "frame {which}, byte {at}");
        }
    }
}

#[test]
fn a_frame_overwritten_by_its_neighbour_is_damage() {
    let (mut bytes, written) = build(3000);
    // These two have the same kind and payload: all that differs is their number and place.
    let (from, to) = (written[0].handle, written[15].handle);
    assert_eq!(from.len, to.len);
    let source = usize::try_from(from.offset).unwrap();
    let target = usize::try_from(to.offset).unwrap();
    bytes.copy_within(source..source + from.len as usize, target);
    let found = marks(&walk(&bytes));
    assert_eq!(found.len(), written.len() - 1);
    assert!(!found.contains(&written[15]));
}

#[test]
fn frames_from_the_future_are_listed_with_their_reason() {
    let (mut bytes, written) = build(3000);
    let handle = written[1].handle;
    let start = usize::try_from(handle.offset).unwrap();
    let header = FrameHeader::decode(&identity(1), handle.offset, BlockKind::DATA, &bytes[start..]).unwrap();
    let sealed = FrameHeader { flags: header.flags | 4, ..header }.encode(&identity(1), handle.offset);
    bytes[start..start + 32].copy_from_slice(&sealed);
    let steps = walk(&bytes);
    assert_eq!(marks(&steps).len(), written.len() - 1);
    let Walked::BadFrame { why, .. } = &steps[1] else { panic!("{:?}", steps[1]) };
    assert_eq!(why.kind(), ErrorKind::UnsupportedFormat);
}

/// Proves FI-2 and F-29 for the walker: any bytes are tiled, and frames found are as they were written.
#[test]
fn mutated_files_are_tiled_and_never_lie() {
    let (bytes, written) = build(3000);
    let gap_start = usize::try_from(written[11].handle.end().unwrap()).unwrap();
    let bytes = [&bytes[..gap_start], &[0; 300]].concat();
    let mut dice = Dice::new(5);
    for _ in 0..1500 {
        let mut changed = bytes.clone();
        dice.mutate(&mut changed);
        for mark in marks(&walk(&changed)) {
            assert!(written.contains(&mark));
        }
    }
    for len in 0..1500 {
        walk(&bytes[..len]);
    }
}

/// A source that fails ends the walk with its error, once.
#[test]
fn a_failing_source_ends_the_walk() {
    struct Failing(Vec<u8>);
    impl ReadAt for Failing {
        fn len(&self) -> Result<u64, IoError> {
            Ok(self.0.len() as u64)
        }

        fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            if offset > 300_000 && out.len() != Footer::LEN {
                return Err(IoError::new(IoOp::Read, IoKind::Other));
            }
            self.0.read_exact_at(offset, out)
        }
    }
    let steps: Vec<_> = Walk::file(Failing(build(700_000).0), &superblock()).unwrap().collect();
    assert_eq!(steps.iter().filter(|step| step.is_err()).count(), 1);
    assert_eq!(steps.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn zeros_are_told_from_damage() {
    let check = |gap: &[u8], zeros: bool| {
        let reader = FrameReader::new(identity(1), Transforms::default());
        let steps: Vec<_> = Walk::new(gap, reader, 0..gap.len() as u64).map(Result::unwrap).collect();
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert_eq!(matches!(steps[0], Walked::Zeros { .. }), zeros, "{gap:?}");
    };
    check(&[0; 100], true);
    check(&[0xF7], false);
    for at in 0..100 {
        for byte in [1, 0xF7] {
            let mut gap = [0; 100];
            gap[at] = byte;
            check(&gap, false);
        }
    }
}

/// A part of a file can be walked from any place: the first bytes may be damage.
#[test]
fn a_walk_may_begin_in_the_middle_of_a_frame() {
    let (bytes, written) = build(3000);
    let reader = FrameReader::new(identity(1), Transforms::default());
    let extent = written[0].handle.offset + 5..written[3].handle.end().unwrap();
    let steps: Vec<_> = Walk::new(&bytes[..], reader, extent).map(Result::unwrap).collect();
    assert_eq!(marks(&steps), written[1..4]);
    assert_eq!(superblock().directory, DirectoryPointer::Absent);
}
