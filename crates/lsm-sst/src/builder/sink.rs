//! Frames on their way out: placed, counted, digested, handed over in large pieces.

use alloc::vec::Vec;

use lsm_block::{
    BlockKind, Expect, FrameHeader, FrameMark, FrameReader, FrameSpec, FrameWriter, Handle, Output,
    SectionDigest, Superblock,
};
use lsm_codec::{Compression, Trial};

use super::filter_writer::FilterSink;
use crate::{Result, SstError, index::PartitionSink};

/// First ordinal of frames that are not data: the other half of the range.
pub(crate) const META_ORDINALS: u32 = 1 << 31;
/// Version of every payload encoding this crate writes.
pub(crate) const ENCODING: u8 = 1;

/// What has become of the frames of one kind that lie scattered over the data region.
#[derive(Debug)]
pub(crate) struct Scattered {
    pub(crate) kind: BlockKind,
    pub(crate) digest: SectionDigest,
    pub(crate) logical_bytes: u64,
    pub(crate) stored_bytes: u64,
}

impl Scattered {
    fn new(kind: BlockKind) -> Self {
        let digest = SectionDigest::new(Superblock::LEN as u64);
        Self { kind, digest, logical_bytes: 0, stored_bytes: 0 }
    }
}

/// Appends frames to the output.
#[derive(Debug)]
pub(crate) struct FrameSink<O> {
    pub(crate) frames: FrameWriter,
    output: O,
    /// Bytes not handed over yet.
    buffer: Vec<u8>,
    buffer_limit: usize,
    /// Where in the file `buffer` starts.
    flushed: u64,
    /// Digest over all frames in file order, directories apart.
    pub(crate) digest: SectionDigest,
    pub(crate) data: Scattered,
    pub(crate) index: Scattered,
    pub(crate) filter: Scattered,
    pub(crate) prefix_filter: Scattered,
    next_data: u32,
    next_meta: u32,
    pub(crate) index_compression: Compression,
}

impl<O: Output> FrameSink<O> {
    pub(crate) fn new(
        frames: FrameWriter,
        output: O,
        buffer_limit: usize,
        index_compression: Compression,
    ) -> Self {
        Self {
            frames,
            output,
            buffer: Vec::new(),
            buffer_limit,
            flushed: 0,
            digest: SectionDigest::new(0),
            data: Scattered::new(BlockKind::DATA),
            index: Scattered::new(BlockKind::INDEX_PARTITION),
            filter: Scattered::new(BlockKind::FILTER_PARTITION),
            prefix_filter: Scattered::new(BlockKind::PREFIX_FILTER_PARTITION),
            next_data: 0,
            next_meta: META_ORDINALS,
            index_compression,
        }
    }

    /// Where in the file the next byte goes.
    pub(crate) const fn offset(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Bytes of memory in use.
    pub(crate) const fn memory_len(&self) -> usize {
        self.buffer.capacity()
    }

    /// Appends bytes that are no frame.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full()
    }

    /// Appends zero bytes.
    pub(crate) fn skip(&mut self, len: u64) -> Result<()> {
        self.flush()?;
        self.output.skip(len)?;
        self.flushed += len;
        Ok(())
    }

    /// Appends a data block, given what compressing it came to elsewhere; its mark and ordinal.
    pub(crate) fn append_data(
        &mut self,
        payload: &[u8],
        compression: Compression,
        trial: Trial<'_>,
    ) -> Result<(FrameMark, u32)> {
        let ordinal = self.next_data;
        // Half of the range is for data.
        self.next_data =
            ordinal.checked_add(1).filter(|&next| next < META_ORDINALS).ok_or(SstError::IndexFull)?;
        let mark = self.append((BlockKind::DATA, compression, ordinal), payload, trial)?;
        Ok((mark, ordinal))
    }

    /// Appends any other frame; its mark and ordinal.
    pub(crate) fn append_meta(
        &mut self,
        kind: BlockKind,
        compression: Compression,
        payload: &[u8],
    ) -> Result<(FrameMark, u32)> {
        let ordinal = self.next_meta;
        self.next_meta = ordinal.checked_add(1).ok_or(SstError::IndexFull)?;
        let mark = self.append((kind, compression, ordinal), payload, Trial::NotMade)?;
        Ok((mark, ordinal))
    }

    /// Appends the copy of a frame of another file, which had the same place there and keeps its number. `frame` is
    /// checked first.
    pub(crate) fn append_copied(
        &mut self,
        source: &FrameReader,
        expect: &Expect,
        header: &FrameHeader,
        frame: &[u8],
    ) -> Result<()> {
        let place = (header.ordinal, self.offset());
        let mark = self.frames.append_copy(source, expect, frame, place, &mut self.buffer)?;
        self.count(&mark, header.logical_len.into());
        if header.ordinal >= self.next_meta {
            self.next_meta = header.ordinal.checked_add(1).ok_or(SstError::IndexFull)?;
        }
        self.flush_if_full()
    }

    /// The ordinal of the next frame that is not data.
    pub(crate) const fn next_ordinal(&self) -> u32 {
        self.next_meta
    }

    /// Hands over everything and gives the memory for it back.
    pub(crate) fn flush_and_shrink(&mut self) -> Result<()> {
        self.flush()?;
        self.buffer = Vec::new();
        Ok(())
    }

    pub(crate) const fn output_mut(&mut self) -> &mut O {
        &mut self.output
    }

    /// Hands over everything and returns the output.
    pub(crate) fn finish(mut self) -> Result<(u64, O)> {
        self.flush()?;
        Ok((self.flushed, self.output))
    }

    fn append(
        &mut self,
        (kind, compression, ordinal): (BlockKind, Compression, u32),
        payload: &[u8],
        trial: Trial<'_>,
    ) -> Result<FrameMark> {
        let spec = FrameSpec { kind, encoding: ENCODING, compression, ordinal };
        let offset = self.offset();
        let mark = self.frames.append_tried(spec, payload, trial, offset, &mut self.buffer)?;
        self.count(&mark, payload.len() as u64);
        self.flush_if_full()?;
        Ok(mark)
    }

    fn count(&mut self, mark: &FrameMark, logical_len: u64) {
        self.digest.add(mark);
        for section in [&mut self.data, &mut self.index, &mut self.filter, &mut self.prefix_filter] {
            if section.kind == mark.kind {
                section.digest.add(mark);
                section.logical_bytes += logical_len;
                section.stored_bytes += u64::from(mark.handle.len);
            }
        }
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

impl<O: Output> PartitionSink for FrameSink<O> {
    fn append(&mut self, payload: &[u8]) -> Result<(Handle, u32)> {
        let (mark, ordinal) =
            self.append_meta(BlockKind::INDEX_PARTITION, self.index_compression, payload)?;
        Ok((mark.handle, ordinal))
    }
}

impl<O: Output> FilterSink for FrameSink<O> {
    fn append_filter(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(Handle, u32)> {
        let (mark, ordinal) = self.append_meta(kind, Compression::None, payload)?;
        Ok((mark.handle, ordinal))
    }
}
