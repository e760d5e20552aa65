//! A value log that was opened: handles are resolved here.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use lsm_block::{
    BlockError, BlockKind, Directory, Expect, FileIdentity, FrameReader, Handle, OpenedFrame, Part,
    Superblock,
};
use lsm_codec::Decoder;
use lsm_types::{CorruptionKind, Error, KeyHash, ReadAt, Result, SeqNo, Slice, ValueHandle};

use crate::{
    PayloadError, ValuePayload, VlogError,
    builder::{VALUE_KINDS, ordinal_at},
    chunk_map::ChunkMap,
    frame_directory::FrameDirectory,
    payload::ENCODING,
    properties::Properties,
};

/// An opened value log: everything but its values.
#[derive(Debug)]
pub struct VlogLayout {
    pub(crate) superblock: Superblock,
    pub(crate) directory: Directory,
    pub(crate) properties: Properties,
    pub(crate) reader: FrameReader,
    pub(crate) file_len: u64,
    pub(crate) detours: Vec<Error>,
}

impl VlogLayout {
    /// The head of the file.
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The sections of the file.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What the file says about itself.
    pub const fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Length of the file.
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// What failed while the file was opened and was made good from a mirror or by another route. Not empty: the file is
    /// damaged, and can be healed.
    pub fn detours(&self) -> &[Error] {
        &self.detours
    }

    /// The part of the file that values lie in.
    pub fn values_extent(&self) -> Range<u64> {
        let start = Superblock::LEN as u64;
        let sections = VALUE_KINDS.iter().filter_map(|kind| self.directory.primary(*kind));
        // The directory has been held against the length of the file.
        start..sections.map(|section| section.offset + section.len).max().unwrap_or(start).max(start)
    }

    /// Reads the value behind `handle`.
    ///
    /// * `file`: the bytes of this file.
    /// * `key`: the key whose entry holds the handle.
    ///
    /// A value that is not stored in chunks takes one read; what is not compressed is not copied. A large one is put
    /// together chunk by chunk, with about two chunks of memory besides the value.
    ///
    /// # Errors
    /// `DanglingBlob` for a handle that leads to no value of this key; what the checks find; what `file` says.
    pub fn read<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        handle: &ValueHandle,
        key: &[u8],
        decoder: &mut Decoder,
    ) -> Result<Slice> {
        self.check_handle(handle)?;
        if !handle.is_chunked() {
            let frame = read(file, self.identity(), Self::expect_value(handle).handle)?;
            return self.decode(handle, key, &frame, decoder);
        }
        let map = self.read_map(file, handle, key, decoder)?;
        let mut value = Vec::with_capacity(handle.value_len as usize);
        for idx in 0..map.chunks() {
            value.extend_from_slice(&self.read_chunk(file, handle, (key, &map), idx, decoder)?);
        }
        Ok(Slice::from(value))
    }

    /// Reads the part `range` of the value behind `handle`, as far as the value goes; of a value that is stored in chunks
    /// only those that hold it.
    ///
    /// # Errors
    /// As [`VlogLayout::read`].
    pub fn read_range<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        handle: &ValueHandle,
        key: &[u8],
        range: Range<u32>,
        decoder: &mut Decoder,
    ) -> Result<Slice> {
        let end = range.end.min(handle.value_len);
        let start = range.start.min(end);
        if !handle.is_chunked() {
            let value = self.read(file, handle, key, decoder)?;
            return Ok(value.slice(start as usize..end as usize));
        }
        self.check_handle(handle)?;
        let map = self.read_map(file, handle, key, decoder)?;
        let mut out = Vec::with_capacity((end - start) as usize);
        for idx in 0..map.chunks() {
            let part = map.part(idx);
            let (from, to) = (start.max(part.start), end.min(part.end));
            if from < to {
                let chunk = self.read_chunk(file, handle, (key, &map), idx, decoder)?;
                let (from, to) = ((from - part.start) as usize, (to - part.start) as usize);
                out.extend_from_slice(chunk.get(from..to).unwrap_or_default());
            }
        }
        Ok(Slice::from(out))
    }

    /// Refuses a handle that cannot lead to a value of this file. To be asked before a buffer is allocated for it.
    ///
    /// # Errors
    /// `DanglingBlob`, `Corruption`.
    pub fn check_handle(&self, handle: &ValueHandle) -> Result<()> {
        if handle.file.get() != self.identity().file_id {
            return Err(self.dangling(handle, "it names another file"));
        }
        let extent = self.values_extent();
        if handle.offset < extent.start || handle.end().is_none_or(|end| end > extent.end) {
            return Err(self.dangling(handle, "it leads out of the file's values"));
        }
        if ordinal_at(handle.offset).is_none() {
            return Err(self.dangling(handle, "no value begins there"));
        }
        let expect = if handle.is_chunked() { self.expect_map(handle)? } else { Self::expect_value(handle) };
        expect.check_handle(self.identity(), self.file_len).map_err(VlogError::from)?;
        Ok(())
    }

    /// Checks and decodes a value that is not stored in chunks; `frame` is exactly the bytes that the handle names.
    ///
    /// # Errors
    /// As [`VlogLayout::read`].
    pub fn decode(
        &self,
        handle: &ValueHandle,
        key: &[u8],
        frame: &Slice,
        decoder: &mut Decoder,
    ) -> Result<Slice> {
        self.decode_payload(handle, key, frame, decoder).map(|payload| payload.value)
    }

    pub(crate) fn decode_payload(
        &self,
        handle: &ValueHandle,
        key: &[u8],
        frame: &Slice,
        decoder: &mut Decoder,
    ) -> Result<ValuePayload> {
        let value_max = ValuePayload::LEAD_MAX.saturating_add(handle.value_len);
        let payload = self.open(&Self::expect_value(handle), frame, decoder, value_max)?;
        self.value_of(handle, key, BlockKind::VALUE, &payload, handle.value_len)
    }

    /// Takes a payload apart; its value must be of this key and length.
    fn value_of(
        &self,
        handle: &ValueHandle,
        key: &[u8],
        kind: BlockKind,
        payload: &Slice,
        value_len: u32,
    ) -> Result<ValuePayload> {
        let value = ValuePayload::decode(payload)
            .map_err(|source| source.at(self.identity(), handle.offset, kind))?;
        if value.key != key {
            return Err(self.dangling(handle, "the value there is of another key"));
        }
        if value.value.len() != value_len as usize {
            return Err(self.dangling(handle, "the value there has another length"));
        }
        Ok(value)
    }

    /// Reads the map of a value that is stored in chunks; the handle was checked.
    pub(crate) fn read_map<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        handle: &ValueHandle,
        key: &[u8],
        decoder: &mut Decoder,
    ) -> Result<ChunkMap> {
        let expect = self.expect_map(handle)?;
        let kind = expect.kind;
        let frame = read(file, self.identity(), expect.handle)?;
        let payload = self.open(&expect, &frame, decoder, kind.cap())?;
        let broken = |source: PayloadError| source.at(self.identity(), expect.handle.offset, kind);
        let map = ChunkMap::decode(&payload).map_err(broken)?;
        if map.key() != KeyHash::of(key) {
            return Err(self.dangling(handle, "the value there is of another key"));
        }
        if map.value_len() != handle.value_len {
            return Err(self.dangling(handle, "the value there has another length"));
        }
        if u64::from(map.stored_len()) + u64::from(expect.handle.len) != u64::from(handle.stored_len) {
            return Err(broken(PayloadError::Field("ends")).into());
        }
        Ok(map)
    }

    fn read_chunk<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        handle: &ValueHandle,
        (key, map): (&[u8], &ChunkMap),
        idx: usize,
        decoder: &mut Decoder,
    ) -> Result<Slice> {
        let expect = self.expect_chunk(handle, map, idx)?;
        let frame = read(file, self.identity(), expect.handle)?;
        self.decode_chunk(handle, (key, map), idx, &frame, decoder).map(|(_, part)| part)
    }

    /// Checks and decodes a chunk; the first one has the number of the value.
    pub(crate) fn decode_chunk(
        &self,
        handle: &ValueHandle,
        (key, map): (&[u8], &ChunkMap),
        idx: usize,
        frame: &Slice,
        decoder: &mut Decoder,
    ) -> Result<(Option<SeqNo>, Slice)> {
        let expect = self.expect_chunk(handle, map, idx)?;
        let part = map.part(idx);
        let len = part.end - part.start;
        let lead = if idx == 0 { ValuePayload::LEAD_MAX } else { 0 };
        let payload = self.open(&expect, frame, decoder, lead.saturating_add(len))?;
        if idx == 0 {
            let value = self.value_of(handle, key, expect.kind, &payload, len)?;
            return Ok((Some(value.seqno), value.value));
        }
        if payload.len() != len as usize {
            let broken = PayloadError::Field("length");
            return Err(broken.at(self.identity(), expect.handle.offset, expect.kind).into());
        }
        Ok((None, payload))
    }

    /// The frame of a value that is not stored in chunks.
    pub(crate) fn expect_value(handle: &ValueHandle) -> Expect {
        let place = Handle { offset: handle.offset, len: handle.stored_len };
        expect_at(BlockKind::VALUE, place)
    }

    /// The map of a value that is stored in chunks: the last of its frames.
    fn expect_map(&self, handle: &ValueHandle) -> Result<Expect> {
        let kind = BlockKind::VALUE_CHUNK_MAP;
        let len = self.reader.raw_frame_len(kind, ChunkMap::encoded_len(handle.value_len));
        let len = u32::try_from(len).ok().filter(|&len| len < handle.stored_len);
        let dangling = || self.dangling(handle, "its value is shorter than its map");
        let len = len.ok_or_else(dangling)?;
        let offset = handle.end().and_then(|end| end.checked_sub(len.into())).ok_or_else(dangling)?;
        Ok(expect_at(kind, Handle { offset, len }))
    }

    /// The frame of chunk `idx`.
    pub(crate) fn expect_chunk(&self, handle: &ValueHandle, map: &ChunkMap, idx: usize) -> Result<Expect> {
        let place = map.handle(idx, handle.offset);
        let place = place.ok_or_else(|| self.dangling(handle, "its map names no such chunk"))?;
        let expect = expect_at(BlockKind::VALUE_CHUNK, place);
        expect.check_handle(self.identity(), self.file_len).map_err(VlogError::from)?;
        Ok(expect)
    }

    /// The places of values, as the file lists them.
    ///
    /// # Errors
    /// What the checks find; what `file` says.
    pub fn frame_directory<R: ReadAt + ?Sized>(&self, file: &R) -> Result<FrameDirectory> {
        let kind = BlockKind::VALUE_DIRECTORY;
        let payload = self.read_section(file, kind, false)?;
        let offset = self.directory.primary(kind).map_or(0, |section| section.offset);
        Ok(FrameDirectory::decode(&payload).map_err(|source| source.at(self.identity(), offset, kind))?)
    }

    /// The payload of a section of the metadata.
    pub(crate) fn read_section<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        kind: BlockKind,
        mirror: bool,
    ) -> Result<Slice> {
        let section = if mirror { self.directory.mirror(kind) } else { self.directory.primary(kind) };
        let section = section.ok_or(VlogError::NoSection { at: self.identity().at(0), kind })?;
        let expect = Expect { kind, ordinal: u32::try_from(section.aux).ok(), handle: section.handle() };
        expect.check_handle(self.identity(), self.file_len).map_err(VlogError::from)?;
        let frame = read(file, self.identity(), expect.handle)?;
        self.open(&expect, &frame, &mut Decoder::new(), kind.cap())
    }

    pub(crate) fn open(
        &self,
        expect: &Expect,
        frame: &Slice,
        decoder: &mut Decoder,
        max_logical: u32,
    ) -> Result<Slice> {
        let frame = self.reader.open(expect, frame, decoder, max_logical).map_err(VlogError::from)?;
        Ok(checked_encoding(self.identity(), expect, frame)?)
    }

    pub(crate) const fn identity(&self) -> &FileIdentity {
        self.reader.identity()
    }

    pub(crate) const fn reader(&self) -> &FrameReader {
        &self.reader
    }

    #[cold]
    fn dangling(&self, handle: &ValueHandle, why: &'static str) -> Error {
        VlogError::Dangling { at: self.identity().at(handle.offset), why }.into()
    }

    pub(crate) fn disagree(&self, what: &'static str) -> Error {
        VlogError::Disagree { at: self.identity().at(0), what }.into()
    }
}

/// The payload of a frame whose encoding this version knows.
pub(crate) fn checked_encoding(
    identity: &FileIdentity,
    expect: &Expect,
    frame: OpenedFrame,
) -> Result<Slice, VlogError> {
    if frame.encoding != ENCODING {
        let part = Part::Encoding(expect.kind, frame.encoding);
        return Err(BlockError::Unsupported { at: identity.at(expect.handle.offset), part }.into());
    }
    Ok(frame.payload)
}

/// A frame of a value, whose number follows from its place. One that lies where no value can has a number that none has.
pub(crate) fn expect_at(kind: BlockKind, handle: Handle) -> Expect {
    Expect { kind, ordinal: Some(ordinal_at(handle.offset).unwrap_or(u32::MAX)), handle }
}

/// The bytes of a frame. Its place was held against the length of the file, and its length against what its kind may
/// have.
pub(crate) fn read<R: ReadAt + ?Sized>(file: &R, identity: &FileIdentity, handle: Handle) -> Result<Slice> {
    let Handle { offset, len } = handle;
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(offset, &mut bytes).map_err(|source| VlogError::Read {
        at: identity.at(offset),
        len: len.into(),
        source,
    })?;
    Ok(Slice::from(bytes))
}

impl VlogLayout {
    /// Lengths and places that do not fit each other.
    pub(crate) fn geometry(&self, kind: BlockKind, offset: u64, expected: u64, found: u64) -> VlogError {
        let (at, what) = (self.identity().at(offset), CorruptionKind::Geometry);
        BlockError::Corrupt { at, kind, what, expected, found }.into()
    }
}
