//! Frames on their way out: placed, counted, digested, handed over in large pieces.

use alloc::vec::Vec;

use lsm_block::{
    BlockKind, Expect, FrameHeader, FrameMark, FrameReader, FrameSpec, FrameWriter, Handle, Output,
    SectionDigest, Superblock,
};
use lsm_codec::{Codec, Compression, Trial};
use lsm_columnar::{EncodedGroup, GroupHead, PagePlace};

use super::filter_writer::FilterSink;
use crate::{Result, SstError, columnar::GROUP_LEN_MAX, index::PartitionSink, properties::CodecCensus};

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
    /// Data blocks, or directories of row groups.
    pub(crate) data: Scattered,
    /// Pages of columns.
    pub(crate) pages: Scattered,
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
            pages: Scattered::new(BlockKind::COLUMN_PAGE),
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
        let ordinal = self.take_data_ordinal()?;
        let mark = self.append((BlockKind::DATA, compression, ordinal), payload, trial)?;
        Ok((mark, ordinal))
    }

    /// Bytes of all frames with data, in the file and before compression.
    pub(crate) const fn data_bytes(&self) -> (u64, u64) {
        let Self { data, pages, .. } = self;
        (data.stored_bytes + pages.stored_bytes, data.logical_bytes + pages.logical_bytes)
    }

    /// The ordinal of the next data block or row group.
    pub(crate) const fn next_data_ordinal(&self) -> u32 {
        self.next_data
    }

    fn take_data_ordinal(&mut self) -> Result<u32> {
        let ordinal = self.next_data;
        // Half of the range is for data.
        let next = ordinal.checked_add(1).filter(|&next| next < META_ORDINALS);
        self.next_data = next.ok_or(SstError::IndexFull)?;
        Ok(ordinal)
    }

    /// Appends a row group: one frame, or a directory and a frame per page behind it. Where all of it lies.
    pub(crate) fn append_group(
        &mut self,
        head: &GroupHead,
        group: &EncodedGroup,
        compression: Compression,
        census: &mut CodecCensus,
    ) -> Result<Handle> {
        let ordinal = self.take_data_ordinal()?;
        debug_assert_eq!(ordinal, head.ordinal, "pages were stamped for this place");
        let mut payload = Vec::new();
        if group.is_small() {
            group.write_inline(head, &mut payload).map_err(SstError::Columns)?;
            let spec = (BlockKind::ROW_GROUP, compression, ordinal);
            let mark = self.append(spec, &payload, Trial::NotMade)?;
            let compressed = (mark.stored_len as usize) < payload.len();
            census.note(if compressed { compression.codec() } else { Codec::None });
            return Ok(mark.handle);
        }
        // The directory comes first and says where pages lie. Its length is known, so theirs is all that is missing.
        let directory_len = self.frames.raw_frame_len(BlockKind::ROW_GROUP, group.directory_len());
        let (mut pages, mut frames, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut len = directory_len;
        for (_, _, payload) in group.pages() {
            let ordinal = self.next_meta;
            self.next_meta = ordinal.checked_add(1).ok_or(SstError::IndexFull)?;
            let spec = FrameSpec { kind: BlockKind::COLUMN_PAGE, encoding: ENCODING, compression, ordinal };
            let frame = self.frames.prepare(spec, payload, &mut pages).map_err(SstError::from)?;
            let codec = frame.codec().unwrap_or(Codec::None);
            census.note(codec);
            let (offset, stored_len) = (group_offset(len)?, frame.frame_len());
            places.push(PagePlace { offset, stored_len, codec: codec.tag(), dictionary_slot: 0 });
            frames.push((frame, payload.len() as u64));
            len += u64::from(stored_len);
        }
        let group_len = group_offset(len)?;
        group.write_directory(head, &places, &mut payload).map_err(SstError::Columns)?;
        let spec = (BlockKind::ROW_GROUP, Compression::None, ordinal);
        let directory = self.append(spec, &payload, Trial::NotMade)?;
        census.note(Codec::None);
        debug_assert_eq!(u64::from(directory.handle.len), directory_len, "the length was known");
        for ((frame, logical_len), place) in frames.into_iter().zip(&places) {
            let offset = directory.handle.offset + u64::from(place.offset);
            let mark = self.frames.place(frame, offset, &mut pages);
            self.count(&mark, logical_len);
        }
        self.write(&pages)?;
        Ok(Handle { len: group_len, ..directory.handle })
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
        for section in
            [&mut self.data, &mut self.pages, &mut self.index, &mut self.filter, &mut self.prefix_filter]
        {
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

/// A place within a group; groups are far shorter than places can say.
fn group_offset(len: u64) -> Result<u32> {
    let max = GROUP_LEN_MAX as usize;
    let len_in = u32::try_from(len).ok().filter(|&len| len <= GROUP_LEN_MAX);
    let too_long = || SstError::EntryTooLarge { len: usize::try_from(len).unwrap_or(usize::MAX), max };
    Ok(len_in.ok_or_else(too_long)?)
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
