//! Frames on their way out: numbered by their place, counted, digested, handed over in large pieces.

use alloc::vec::Vec;

use lsm_block::{
    BlockKind, Expect, FrameHeader, FrameMark, FrameReader, FrameSpec, FrameWriter, Output, Section,
    SectionDigest, SectionFlags, Superblock,
};
use lsm_codec::{Codec, Compression};
use lsm_types::{Result, ValueHandle};

use crate::{
    VlogError, chunk_map::ChunkMap, payload::ENCODING, payload::ValuePayload, properties::CodecCensus,
};

/// First ordinal of frames of the metadata: the other half of the range.
pub(super) const META_ORDINALS: u32 = 1 << 31;
/// Kinds of the frames that values lie in.
pub(crate) const VALUE_KINDS: [BlockKind; 3] =
    [BlockKind::VALUE, BlockKind::VALUE_CHUNK, BlockKind::VALUE_CHUNK_MAP];

/// The number of the frame of a value that begins at `offset`; `None` where no such frame can begin.
///
/// A frame is longer than 32 bytes, so no two have the same number. A handle names a place and no number, and this way
/// the seal of a frame binds it to its place nevertheless.
pub(crate) fn ordinal_at(offset: u64) -> Option<u32> {
    let place = offset.checked_sub(Superblock::LEN as u64)? / FrameHeader::LEN as u64;
    u32::try_from(place).ok().filter(|&ordinal| ordinal < META_ORDINALS)
}

/// Bytes a value takes in a file that does not compress it, at most; `len` is that of key and value.
fn longest(len: usize) -> u64 {
    let chunks = len as u64 / u64::from(ValueHandle::CHUNK_LEN) + 3;
    let map = ChunkMap::encoded_len(u32::try_from(len).unwrap_or(u32::MAX)) as u64;
    // A seal adds less to a frame than a header does.
    len as u64 + u64::from(ValuePayload::LEAD_MAX) + map + 2 * chunks * FrameHeader::LEN as u64
}

/// Appends frames to the output.
#[derive(Debug)]
pub(super) struct FrameSink<O> {
    pub(super) frames: FrameWriter,
    output: O,
    /// Bytes not handed over yet.
    buffer: Vec<u8>,
    buffer_limit: usize,
    /// Where in the file `buffer` starts.
    flushed: u64,
    /// Digest over all frames in file order.
    pub(super) digest: SectionDigest,
    /// Digests over the frames of each kind.
    kinds: [SectionDigest; VALUE_KINDS.len()],
    pub(super) codecs: CodecCensus,
}

impl<O: Output> FrameSink<O> {
    pub(super) fn new(frames: FrameWriter, output: O, buffer_limit: usize) -> Self {
        Self {
            frames,
            output,
            buffer: Vec::new(),
            buffer_limit,
            flushed: 0,
            digest: SectionDigest::new(0),
            kinds: VALUE_KINDS.map(|_| SectionDigest::new(Superblock::LEN as u64)),
            codecs: CodecCensus::default(),
        }
    }

    /// Where in the file the next byte goes.
    pub(super) const fn offset(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Bytes of memory in use.
    pub(super) const fn memory_len(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether every frame of a value has a number; `len` is that of key and value.
    pub(super) fn has_room(&self, len: usize) -> bool {
        ordinal_at(self.offset() + longest(len)).is_some()
    }

    /// Appends bytes that are no frame.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full()
    }

    /// Appends zero bytes.
    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        self.flush()?;
        self.output.skip(len)?;
        self.flushed += len;
        Ok(())
    }

    /// Appends a frame.
    pub(super) fn append(&mut self, kind: BlockKind, compression: Compression, payload: &[u8]) -> Result<()> {
        self.append_with(kind, compression, None, payload)
    }

    /// Appends a frame, compressed with the dictionary that is given by level and slot, if one is.
    pub(super) fn append_with(
        &mut self,
        kind: BlockKind,
        compression: Compression,
        dictionary: Option<(i32, u16)>,
        payload: &[u8],
    ) -> Result<()> {
        let offset = self.offset();
        let ordinal = ordinal_at(offset).ok_or(VlogError::Full)?;
        let spec = FrameSpec { kind, encoding: ENCODING, compression, ordinal };
        let prepared = match dictionary {
            Some(dictionary) => {
                self.frames.prepare_with_dictionary(spec, dictionary, payload, &mut self.buffer)
            }
            None => self.frames.prepare(spec, payload, &mut self.buffer),
        };
        let prepared = prepared.map_err(VlogError::from)?;
        let codec = prepared.codec();
        let mark = self.frames.place(prepared, offset, &mut self.buffer);
        self.count(&mark, codec);
        self.flush_if_full()
    }

    /// Whether a frame can be copied as it is stored: a dictionary that it needs has a slot here, too.
    pub(super) fn can_copy(&mut self, source: &FrameReader, expect: &Expect, frame: &[u8]) -> Result<bool> {
        let header = FrameHeader::decode(source.identity(), expect.handle.offset, expect.kind, frame)
            .map_err(VlogError::from)?;
        Ok(self.frames.can_copy(source, &header))
    }

    /// Appends the copy of a frame of another file. `frame` is checked first.
    pub(super) fn append_copy(&mut self, source: &FrameReader, expect: &Expect, frame: &[u8]) -> Result<()> {
        let offset = self.offset();
        let ordinal = ordinal_at(offset).ok_or(VlogError::Full)?;
        let header = FrameHeader::decode(source.identity(), expect.handle.offset, expect.kind, frame)
            .map_err(VlogError::from)?;
        let place = (ordinal, offset);
        let mark = self
            .frames
            .append_copy(source, expect, frame, place, &mut self.buffer)
            .map_err(VlogError::from)?;
        self.count(&mark, Codec::from_tag(header.codec));
        self.flush_if_full()
    }

    fn count(&mut self, mark: &FrameMark, codec: Option<Codec>) {
        self.digest.add(mark);
        for (kind, digest) in VALUE_KINDS.iter().zip(&mut self.kinds) {
            if *kind == mark.kind {
                digest.add(mark);
            }
        }
        if mark.kind != BlockKind::VALUE_CHUNK_MAP {
            self.codecs.add(codec);
        }
    }

    /// The sections that the frames so far make, which all lie in one stretch.
    pub(super) fn sections(&self) -> Vec<Section> {
        let offset = Superblock::LEN as u64;
        let present = VALUE_KINDS.iter().zip(&self.kinds).filter(|(_, digest)| digest.frames() > 0);
        let section = |(kind, digest): (&BlockKind, &SectionDigest)| Section {
            kind: *kind,
            flags: SectionFlags::CRITICAL.with(SectionFlags::INTERLEAVED),
            frames: digest.frames(),
            offset,
            len: self.offset() - offset,
            digest: digest.value(),
            aux: 0,
        };
        present.map(section).collect()
    }

    /// Hands over everything and returns the output.
    pub(super) fn finish(mut self) -> Result<(u64, O)> {
        self.flush()?;
        Ok((self.flushed, self.output))
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < self.buffer_limit {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.output.write(&self.buffer)?;
            self.flushed += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl CodecCensus {
    pub(crate) const fn add(&mut self, codec: Option<Codec>) {
        match codec {
            Some(Codec::Lz4) => self.lz4 += 1,
            Some(Codec::Zstd) => self.zstd += 1,
            _ => self.raw += 1,
        }
    }
}
