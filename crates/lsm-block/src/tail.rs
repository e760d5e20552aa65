//! The end of a file: metadata in two copies far apart, a directory behind each, the footer.
//!
//! ```text
//! mirrors: part | part | .. | directory
//! 64 KiB of zeros
//! primaries: part | part | .. | directory | footer
//! ```
//!
//! Both directories are the same and list both copies. So all frames are prepared before any is placed: their lengths
//! say where each will lie.

use alloc::vec::Vec;

use lsm_codec::Compression;

use crate::{
    BlockError, BlockKind, Directory, Footer, FrameMark, FrameSpec, FrameWriter, Handle, Prepared, Section,
    SectionDigest, SectionFlags, Superblock,
};

/// Version of the payload encoding of a directory.
const DIRECTORY_ENCODING: u8 = 1;

/// A section of the metadata: the payloads of its frames.
#[derive(Clone, Debug)]
pub struct TailPart {
    /// What its frames hold.
    pub kind: BlockKind,
    /// Version of the payloads' encoding.
    pub encoding: u8,
    /// What it is to readers.
    pub flags: SectionFlags,
    /// What to try. Kinds that are never compressed ignore it.
    pub compression: Compression,
    /// One per frame.
    pub payloads: Vec<Vec<u8>>,
    /// Whether there are two copies of it.
    pub is_mirrored: bool,
}

/// What lies before the end of a file.
#[derive(Debug)]
pub struct TailPlace {
    /// Where the end begins.
    pub offset: u64,
    /// Number of its first frame; the others count on from there.
    pub first_ordinal: u32,
    /// Digest over all frames before it, offsets counted from 0.
    pub digest: SectionDigest,
    /// Data frames before it.
    pub data_frames: u32,
    /// Sections before it.
    pub sections: Vec<Section>,
}

/// The end of a file.
#[derive(Debug)]
pub struct Tail {
    /// The mirrors: what is written first.
    pub mirrors: Vec<u8>,
    /// Zeros that follow; holes will do.
    pub gap: u64,
    /// The rest of the file.
    pub primaries: Vec<u8>,
    /// Where the directory lies.
    pub directory: Handle,
    /// Digest over all frames of the file.
    pub digest: u64,
}

impl Tail {
    /// Distance between the two copies, in bytes.
    pub const GAP: u64 = 64 << 10;

    /// Puts the end of a file together. `parts` lie in the order given.
    ///
    /// # Errors
    /// As [`FrameWriter::prepare`].
    pub fn build(
        frames: &mut FrameWriter,
        superblock: &Superblock,
        place: TailPlace,
        parts: &[TailPart],
    ) -> Result<Self, BlockError> {
        let TailPlace { offset, first_ordinal, mut digest, data_frames, mut sections } = place;
        let mut next = first_ordinal;
        let mut mirror = Copy::prepare(frames, &mut next, parts.iter().filter(|part| part.is_mirrored))?;
        let mirror_ordinal = take(&mut next)?;
        let mut primary = Copy::prepare(frames, &mut next, parts.iter())?;
        let primary_ordinal = take(&mut next)?;

        // From here on every length is known, and with it every place.
        let count = sections.len() + mirror.sections.len() + primary.sections.len();
        let directory_len = frames.raw_frame_len(BlockKind::DIRECTORY, Directory::encoded_len(count));
        let mirror_directory_at = offset + mirror.buffer.len() as u64;
        let primary_at = mirror_directory_at + directory_len + Self::GAP;
        let directory_at = primary_at + primary.buffer.len() as u64;
        mirror.describe(offset, SectionFlags::MIRROR, &mut digest, &mut sections);
        primary.describe(primary_at, SectionFlags::NONE, &mut digest, &mut sections);
        let file_digest = digest.value();
        let mut directory = Directory {
            frames: digest.frames() + 2,
            data_frames,
            file_digest,
            superblock_digest: Superblock::digest_of(&superblock.encode()),
            sections,
        };
        let payload = directory.encode();

        mirror.place(frames, offset);
        let mut mirrors = mirror.buffer;
        let at_mirror =
            append_directory(frames, mirror_ordinal, mirror_directory_at, &payload, &mut mirrors)?;
        debug_assert_eq!(u64::from(at_mirror.len), directory_len, "a directory has the length it was given");
        primary.place(frames, primary_at);
        let mut primaries = primary.buffer;
        let directory = append_directory(frames, primary_ordinal, directory_at, &payload, &mut primaries)?;
        let footer = Footer {
            directory,
            mirror: Some(at_mirror),
            version: superblock.version,
            incompat: superblock.features.incompat,
            uuid: superblock.identity.uuid,
        };
        primaries.extend_from_slice(&footer.encode());
        Ok(Self { mirrors, gap: Self::GAP, primaries, directory, digest: file_digest })
    }
}

/// The next ordinal.
fn take(next: &mut u32) -> Result<u32, BlockError> {
    let ordinal = *next;
    let kind = BlockKind::DIRECTORY;
    *next = ordinal.checked_add(1).ok_or(BlockError::TooLarge { kind, len: 0, cap: kind.cap() })?;
    Ok(ordinal)
}

fn append_directory(
    frames: &mut FrameWriter,
    ordinal: u32,
    offset: u64,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<Handle, BlockError> {
    let (kind, compression) = (BlockKind::DIRECTORY, Compression::None);
    let spec = FrameSpec { kind, encoding: DIRECTORY_ENCODING, compression, ordinal };
    Ok(frames.append(spec, payload, offset, out)?.handle)
}

/// One copy of the metadata, prepared but for its place.
struct Copy {
    buffer: Vec<u8>,
    frames: Vec<Prepared>,
    /// Frames of each section, in order, and the first one's ordinal.
    sections: Vec<(BlockKind, SectionFlags, usize, u32)>,
}

impl Copy {
    fn prepare<'p>(
        frames: &mut FrameWriter,
        next: &mut u32,
        parts: impl Iterator<Item = &'p TailPart>,
    ) -> Result<Self, BlockError> {
        let mut copy = Self { buffer: Vec::new(), frames: Vec::new(), sections: Vec::new() };
        for part in parts {
            let first = *next;
            for payload in &part.payloads {
                let ordinal = take(next)?;
                let TailPart { kind, encoding, compression, .. } = *part;
                let spec = FrameSpec { kind, encoding, compression, ordinal };
                copy.frames.push(frames.prepare(spec, payload, &mut copy.buffer)?);
            }
            copy.sections.push((part.kind, part.flags, part.payloads.len(), first));
        }
        Ok(copy)
    }

    /// The frames with the places they have when the copy lies at `offset`.
    fn marks(&self, mut offset: u64) -> impl Iterator<Item = FrameMark> {
        self.frames.iter().map(move |frame| {
            let mark = frame.mark_at(offset);
            offset += u64::from(mark.handle.len);
            mark
        })
    }

    /// Enters the sections of the copy, which will lie at `offset`.
    fn describe(
        &self,
        offset: u64,
        role: SectionFlags,
        file_digest: &mut SectionDigest,
        sections: &mut Vec<Section>,
    ) {
        let mut marks = self.marks(offset);
        let mut start = offset;
        for &(kind, flags, count, ordinal) in &self.sections {
            let mut digest = SectionDigest::new(start);
            let mut end = start;
            for mark in marks.by_ref().take(count) {
                digest.add(&mark);
                file_digest.add(&mark);
                end += u64::from(mark.handle.len);
            }
            sections.push(Section {
                kind,
                flags: flags.with(role),
                frames: digest.frames(),
                offset: start,
                len: end - start,
                digest: digest.value(),
                aux: ordinal.into(),
            });
            start = end;
        }
    }

    fn place(&mut self, frames: &FrameWriter, mut offset: u64) {
        for frame in &self.frames {
            let mark = frames.place(*frame, offset, &mut self.buffer);
            offset += u64::from(mark.handle.len);
        }
    }
}
