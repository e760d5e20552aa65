//! The one way from a payload to a frame and back.
//!
//! Writing: compress, seal, check, (parity), then the place. Reading: header check, geometry against the handle,
//! seal or payload check, (parity), decompress into exactly the promised length. Nothing is decompressed that was
//! not checked. A seal proves more than a check, so a sealed payload is not hashed unless its seal is broken: the
//! check then tells damage from tampering. Parity has one place on either path, named below; until it exists, frames
//! that ask for it are refused in [`FrameHeader::codec`].

use alloc::{sync::Arc, vec::Vec};

use lsm_codec::{Codec, CodecError, Compression, Decoder, Dictionary, Encoder, Trial};
use lsm_types::{CorruptionKind, Slice};

use crate::{
    BlockError, BlockKind, Checksum, Dictionaries, FileIdentity, FrameHeader, Handle,
    check::{crc32c_seeded, header_seed},
    frame::{self, COMPRESSED, DICTIONARY, SEALED},
    seal::{Cover, Seal},
};

/// What happens to every payload of a file on its way; follows from the superblock.
#[derive(Clone, Debug, Default)]
pub struct Transforms {
    checksum: Checksum,
    seal: Option<Arc<Seal>>,
}

impl Transforms {
    /// Transforms with payload checks of the given algorithm.
    pub const fn new(checksum: Checksum) -> Self {
        Self { checksum, seal: None }
    }

    /// The same, with every payload sealed.
    pub(crate) const fn sealed(checksum: Checksum, seal: Arc<Seal>) -> Self {
        Self { checksum, seal: Some(seal) }
    }

    /// Whether payloads of this kind are sealed.
    pub(crate) fn seals(&self, kind: BlockKind) -> bool {
        self.seal.is_some() && Cover::of(kind) != Cover::None
    }

    /// What a seal adds to a payload of this kind, in bytes.
    pub(crate) fn tag_len(&self, kind: BlockKind) -> usize {
        if self.seals(kind) { TAG_LEN } else { 0 }
    }

    /// Seals the payload that is in `out` from `start` on, as the header (whose flags say so) describes it, and
    /// completes the header. `false`, and nothing done, for a payload that no cipher takes.
    ///
    /// * `dictionary`: hash of the dictionary that the payload is compressed with; 0 without one.
    pub(crate) fn finish(
        &self,
        header: &mut FrameHeader,
        dictionary: u64,
        start: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        if let Some(seal) = self.seal.as_ref().filter(|_| header.is_sealed())
            && seal.seal(header, dictionary, start, out).is_err()
        {
            return false;
        }
        header.check = self.checksum.of(out.get(start..).unwrap_or_default());
        true
    }

    /// The algorithm of payload checks.
    pub const fn checksum(&self) -> Checksum {
        self.checksum
    }
}

/// What a writer says about one frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameSpec {
    /// What the payload is.
    pub kind: BlockKind,
    /// Version of the payload's encoding.
    pub encoding: u8,
    /// What to try. Kinds that are never compressed ignore it.
    pub compression: Compression,
    /// Number of the frame in its file.
    pub ordinal: u32,
}

/// What indexes, directories and digests say about one written frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameMark {
    /// Where the frame lies.
    pub handle: Handle,
    /// What it holds.
    pub kind: BlockKind,
    /// Bytes of payload in the file.
    pub stored_len: u32,
    /// Check of the stored payload, without its place.
    pub check: u64,
}

impl FrameMark {
    pub(crate) fn new(header: &FrameHeader, handle: Handle) -> Self {
        Self { handle, kind: header.kind, stored_len: header.stored_len, check: header.check }
    }
}

/// A frame that is finished but for its place.
#[derive(Clone, Copy, Debug)]
#[must_use = "the frame is not valid before it is placed"]
pub struct Prepared {
    header: FrameHeader,
    start: usize,
    len: u32,
}

impl Prepared {
    /// Bytes of the whole frame.
    pub const fn frame_len(&self) -> u32 {
        self.len
    }

    /// Number of the frame in its file.
    pub const fn ordinal(&self) -> u32 {
        self.header.ordinal
    }

    /// The codec the payload is stored with.
    pub const fn codec(&self) -> Option<Codec> {
        Codec::from_tag(self.header.codec)
    }

    /// What [`FrameWriter::place`] will answer when told `offset`: lets a directory be built before the frames it
    /// lists are placed.
    pub fn mark_at(&self, offset: u64) -> FrameMark {
        FrameMark::new(&self.header, Handle { offset, len: self.len })
    }

    /// Finishes the frame for `offset` of the file `identity`, in the buffer it was prepared into.
    pub fn place(self, identity: &FileIdentity, offset: u64, buffer: &mut [u8]) -> FrameMark {
        let end = self.start + FrameHeader::LEN;
        let head = buffer.get_mut(self.start..end);
        debug_assert!(head.is_some(), "a frame is placed in the buffer it was prepared into");
        if let Some(head) = head {
            head.copy_from_slice(&self.header.encode(identity, offset));
        }
        self.mark_at(offset)
    }
}

/// Turns payloads into frames of one file.
#[derive(Debug)]
pub struct FrameWriter {
    identity: FileIdentity,
    transforms: Transforms,
    encoder: Encoder,
    /// Dictionaries that frames of the file use, in the order of their slots.
    dictionaries: Vec<Dictionary>,
}

impl FrameWriter {
    /// A writer for the file `identity`.
    pub fn new(identity: FileIdentity, transforms: Transforms) -> Self {
        Self::with_encoder(identity, transforms, Encoder::new())
    }

    /// A writer that takes over the warm contexts of an earlier one.
    pub fn with_encoder(identity: FileIdentity, transforms: Transforms, mut encoder: Encoder) -> Self {
        encoder.restart();
        Self { identity, transforms, encoder, dictionaries: Vec::new() }
    }

    /// The contexts, for the next writer.
    pub fn into_encoder(self) -> Encoder {
        self.encoder
    }

    /// The file written to.
    pub const fn identity(&self) -> &FileIdentity {
        &self.identity
    }

    /// The contexts, and what is known of how well payloads compress.
    pub const fn encoder_mut(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Dictionaries that frames of the file use, in the order of their slots: what the file has to hold.
    pub fn dictionaries(&self) -> &[Dictionary] {
        &self.dictionaries
    }

    /// The slot of `dictionary`, which gets one if it has none; `None` when the file has as many as it may.
    pub fn dictionary_slot(&mut self, dictionary: &Dictionary) -> Option<u16> {
        let known = self.dictionaries.iter().position(|known| known == dictionary);
        let idx = known.unwrap_or(self.dictionaries.len());
        let slot = u16::try_from(idx + 1).ok().filter(|&slot| slot <= Dictionaries::SLOTS_MAX)?;
        if known.is_none() {
            self.dictionaries.push(dictionary.clone());
        }
        Some(slot)
    }

    /// Hash of the dictionary in a slot that frames of this writer name; 0 for none.
    fn dictionary_hash(&self, slot: u16) -> u64 {
        let idx = slot.checked_sub(1).map(usize::from);
        idx.and_then(|idx| self.dictionaries.get(idx)).map_or(0, Dictionary::hash)
    }

    /// Bytes of a frame with a payload of this kind and length that is not compressed.
    pub fn raw_frame_len(&self, kind: BlockKind, payload_len: usize) -> u64 {
        (FrameHeader::LEN + payload_len + self.transforms.tag_len(kind)) as u64
    }

    /// As [`FrameWriter::prepare`], compressed by Zstandard with the dictionary of `slot`, which
    /// [`FrameWriter::dictionary_slot`] gave. The kind is one that takes a dictionary.
    ///
    /// # Errors
    /// As [`FrameWriter::prepare`].
    pub fn prepare_with_dictionary(
        &mut self,
        spec: FrameSpec,
        (level, slot): (i32, u16),
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Prepared, BlockError> {
        let idx = slot.checked_sub(1).map(usize::from);
        let dictionary = idx.and_then(|idx| self.dictionaries.get(idx)).cloned();
        debug_assert!(
            dictionary.is_some() && spec.kind.takes_dictionary(),
            "a slot is given out before it is used"
        );
        let Some(dictionary) = dictionary.filter(|_| spec.kind.takes_dictionary()) else {
            return self.prepare(spec, payload, out);
        };
        self.prepare_by(spec, payload, out, |encoder, out| {
            let codec = encoder.compress_with(level, &dictionary, payload, out)?;
            Ok((codec, if codec == Codec::None { 0 } else { slot }))
        })
    }

    /// Appends a frame to `out` that still lacks its place. Costs one copy and one hash of the payload besides
    /// compression, and no allocation once `out` has grown.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`] over the cap of the kind; [`BlockError::Codec`] for a codec that is not built.
    /// `out` is then as it was.
    pub fn prepare(
        &mut self,
        spec: FrameSpec,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Prepared, BlockError> {
        self.prepare_tried(spec, payload, Trial::NotMade, out)
    }

    fn prepare_tried(
        &mut self,
        spec: FrameSpec,
        payload: &[u8],
        trial: Trial<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Prepared, BlockError> {
        let kind = spec.kind;
        let compression = if kind.is_compressible() { spec.compression } else { Compression::None };
        self.prepare_by(spec, payload, out, |encoder, out| {
            Ok((encoder.compress_tried(compression, payload, trial, out)?, 0))
        })
    }

    /// Prepares a frame whose payload `compress` appends; it says by which codec and with which dictionary.
    fn prepare_by(
        &mut self,
        spec: FrameSpec,
        payload: &[u8],
        out: &mut Vec<u8>,
        compress: impl FnOnce(&mut Encoder, &mut Vec<u8>) -> Result<(Codec, u16), CodecError>,
    ) -> Result<Prepared, BlockError> {
        let FrameSpec { kind, encoding, ordinal, .. } = spec;
        let too_large = BlockError::TooLarge { kind, len: payload.len(), cap: kind.cap() };
        let Some(logical_len) = u32::try_from(payload.len()).ok().filter(|&len| len <= kind.cap()) else {
            return Err(too_large);
        };
        let start = out.len();
        out.reserve(FrameHeader::LEN + payload.len() + TAG_LEN);
        out.extend_from_slice(&[0; FrameHeader::LEN]);
        let (codec, dictionary) = compress(&mut self.encoder, out).map_err(|source| {
            out.truncate(start);
            BlockError::Codec { at: self.identity.at(0), kind, source }
        })?;
        let compressed = if codec == Codec::None { 0 } else { COMPRESSED };
        let with_dictionary = if dictionary == 0 { 0 } else { DICTIONARY };
        let codec = codec.tag();
        let header = FrameHeader {
            kind,
            flags: compressed | with_dictionary,
            stored_len: 0,
            logical_len,
            codec,
            encoding,
            dictionary,
            ordinal,
            check: 0,
        };
        self.complete(header, start, out).ok_or_else(|| {
            out.truncate(start);
            too_large
        })
    }

    /// Seals and checks the compressed payload that stands in `out` behind the room for a header at `start`.
    fn complete(&self, mut header: FrameHeader, start: usize, out: &mut Vec<u8>) -> Option<Prepared> {
        let payload = start + FrameHeader::LEN;
        let tag = self.transforms.tag_len(header.kind);
        header.flags = (header.flags & !SEALED) | if tag > 0 { SEALED } else { 0 };
        header.stored_len = u32::try_from(out.len().checked_sub(payload)? + tag).ok()?;
        let dictionary = self.dictionary_hash(header.dictionary);
        if !self.transforms.finish(&mut header, dictionary, payload, out) {
            return None;
        }
        // Parity belongs here: over the canonical header and the stored payload, appended behind it.
        Some(Prepared { header, start, len: frame_len(header.stored_len) })
    }

    /// Finishes a prepared frame for `offset`; `buffer` is the one it was prepared into.
    pub fn place(&self, prepared: Prepared, offset: u64, buffer: &mut [u8]) -> FrameMark {
        prepared.place(&self.identity, offset, buffer)
    }

    /// Appends a whole frame to `out`, to be written at `offset` of the file.
    ///
    /// # Errors
    /// As [`FrameWriter::prepare`].
    pub fn append(
        &mut self,
        spec: FrameSpec,
        payload: &[u8],
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<FrameMark, BlockError> {
        self.append_tried(spec, payload, Trial::NotMade, offset, out)
    }

    /// As [`FrameWriter::append`], given what compressing the payload as the spec says came to elsewhere: the frame is
    /// the same either way.
    ///
    /// # Errors
    /// As [`FrameWriter::prepare`].
    pub fn append_tried(
        &mut self,
        spec: FrameSpec,
        payload: &[u8],
        trial: Trial<'_>,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<FrameMark, BlockError> {
        let prepared = self.prepare_tried(spec, payload, trial, out)?;
        Ok(self.place(prepared, offset, out))
    }

    /// Appends a copy of a frame of another file, not compressed again, with a new number and place. The frame is
    /// checked first. Between plain files its payload is not hashed again unless they use different checks; sealed
    /// ones have keys of their own, so what comes from or goes to one is opened and sealed anew. A dictionary that the
    /// frame needs gets a slot here, too.
    ///
    /// # Errors
    /// As [`FrameReader::open`] for the source. `DictionaryMissing` when there is no slot left: see
    /// [`FrameWriter::can_copy`].
    pub fn append_copy(
        &mut self,
        source: &FrameReader,
        expect: &Expect,
        frame: &[u8],
        (ordinal, offset): (u32, u64),
        out: &mut Vec<u8>,
    ) -> Result<FrameMark, BlockError> {
        if source.transforms.seals(expect.kind) || self.transforms.seals(expect.kind) {
            return self.append_resealed(source, expect, frame, (ordinal, offset), out);
        }
        let header = source.check(expect, frame, u32::MAX)?;
        let header = self.rename_dictionary(source, expect, header)?;
        let stored = frame.get(FrameHeader::LEN..).unwrap_or_default();
        let same = source.transforms.checksum == self.transforms.checksum;
        let check = if same { header.check } else { self.transforms.checksum.of(stored) };
        let header = FrameHeader { ordinal, check, ..header };
        out.extend_from_slice(&header.encode(&self.identity, offset));
        out.extend_from_slice(stored);
        Ok(FrameMark::new(&header, Handle { offset, len: expect.handle.len }))
    }
}

impl FrameWriter {
    /// Whether a frame of `source`, which is checked later, can be copied here as it is stored: there is a slot for the
    /// dictionary it needs.
    pub fn can_copy(&mut self, source: &FrameReader, header: &FrameHeader) -> bool {
        match source.dictionaries.of(source.identity.at(0), header.dictionary) {
            Ok(Some(dictionary)) => self.dictionary_slot(dictionary).is_some(),
            Ok(None) => true,
            // What is wrong with it is found when the frame is read.
            Err(_) => false,
        }
    }

    /// The header of a frame of `source` with the slot that its dictionary has here.
    fn rename_dictionary(
        &mut self,
        source: &FrameReader,
        expect: &Expect,
        header: FrameHeader,
    ) -> Result<FrameHeader, BlockError> {
        let at = source.identity.at(expect.handle.offset);
        let Some(dictionary) = source.dictionaries.of(at, header.dictionary)? else { return Ok(header) };
        let missing = BlockError::DictionaryMissing { at, slot: header.dictionary };
        let dictionary = self.dictionary_slot(dictionary).ok_or(missing)?;
        Ok(FrameHeader { dictionary, ..header })
    }

    fn append_resealed(
        &mut self,
        source: &FrameReader,
        expect: &Expect,
        frame: &[u8],
        (ordinal, offset): (u32, u64),
        out: &mut Vec<u8>,
    ) -> Result<FrameMark, BlockError> {
        let (header, _) = source.admit(expect, frame, u32::MAX)?;
        let mut room = Vec::new();
        let is_in_room = source.unseal(expect, &header, frame, &mut room)?;
        let end = FrameHeader::LEN + header.unsealed_len() as usize;
        let in_frame = frame.get(FrameHeader::LEN..end).unwrap_or_default();
        let stored = if is_in_room { &room } else { in_frame };
        let start = out.len();
        out.extend_from_slice(&[0; FrameHeader::LEN]);
        out.extend_from_slice(stored);
        let header = match self.rename_dictionary(source, expect, FrameHeader { ordinal, ..header }) {
            Ok(header) => header,
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        };
        let Some(prepared) = self.complete(header, start, out) else {
            out.truncate(start);
            let cap = expect.kind.cap();
            return Err(BlockError::TooLarge { kind: expect.kind, len: frame.len(), cap });
        };
        Ok(self.place(prepared, offset, out))
    }
}

/// What the holder of a handle knows about the frame behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expect {
    /// What the frame must hold.
    pub kind: BlockKind,
    /// The number it must have, where that is known.
    pub ordinal: Option<u32>,
    /// Where it lies.
    pub handle: Handle,
}

impl Expect {
    /// Refuses a handle that cannot be right in a file of `file_len` bytes. To be asked before a buffer is
    /// allocated for a handle that came from the file itself.
    pub fn check_handle(&self, identity: &FileIdentity, file_len: u64) -> Result<(), BlockError> {
        let Self { kind, handle, .. } = *self;
        let longest = frame_len(kind.cap()) + frame::TAG_LEN;
        let shortest = frame_len(0);
        let inside = handle.end().is_some_and(|end| end <= file_len);
        if inside && (shortest..=longest).contains(&handle.len) {
            return Ok(());
        }
        let at = identity.at(handle.offset);
        let what = CorruptionKind::Geometry;
        Err(BlockError::Corrupt { at, kind, what, expected: file_len, found: handle.len.into() })
    }
}

/// A frame whose checks are good, and its payload as it was given to the writer.
#[derive(Clone, Debug)]
pub struct OpenedFrame {
    /// Version of the payload's encoding; the kind's decoder refuses what it does not know.
    pub encoding: u8,
    /// Number of the frame in its file.
    pub ordinal: u32,
    /// The payload. Shares the bytes read when the frame is not compressed.
    pub payload: Slice,
    /// What digests say about the frame.
    pub mark: FrameMark,
}

/// Checks and opens frames of one file.
#[derive(Clone, Debug)]
pub struct FrameReader {
    identity: FileIdentity,
    transforms: Transforms,
    dictionaries: Dictionaries,
}

impl FrameReader {
    /// A reader for the file `identity`.
    pub fn new(identity: FileIdentity, transforms: Transforms) -> Self {
        Self { identity, transforms, dictionaries: Dictionaries::default() }
    }

    /// The same reader, for frames that use these dictionaries of the file.
    pub fn with_dictionaries(self, dictionaries: Dictionaries) -> Self {
        Self { dictionaries, ..self }
    }

    /// The file read from.
    pub const fn identity(&self) -> &FileIdentity {
        &self.identity
    }

    /// What a seal adds to a payload of this kind, in bytes.
    pub(crate) fn tag_len(&self, kind: BlockKind) -> usize {
        self.transforms.tag_len(kind)
    }

    /// Bytes of a frame with a payload of this kind and length that is not compressed.
    pub fn raw_frame_len(&self, kind: BlockKind, payload_len: usize) -> u64 {
        (FrameHeader::LEN + payload_len + self.transforms.tag_len(kind)) as u64
    }

    /// Checks everything about a frame that needs no decompression; `frame` is exactly the bytes of the handle.
    ///
    /// * `max_logical`: the caller's own limit on the decompressed length, in bytes; the kind's cap holds anyway.
    pub fn check(&self, expect: &Expect, frame: &[u8], max_logical: u32) -> Result<FrameHeader, BlockError> {
        let (header, _) = self.admit(expect, frame, max_logical)?;
        self.check_payload(expect, &header, frame)?;
        Ok(header)
    }

    /// Checks a frame and returns its payload; `frame` is exactly the bytes of the handle.
    ///
    /// * `max_logical`: the caller's own limit on the decompressed length, in bytes; the kind's cap holds anyway.
    pub fn open(
        &self,
        expect: &Expect,
        frame: &Slice,
        decoder: &mut Decoder,
        max_logical: u32,
    ) -> Result<OpenedFrame, BlockError> {
        let (header, codec) = self.admit(expect, frame, max_logical)?;
        let mut block = Vec::new();
        let payload = if codec == Codec::None {
            let end = FrameHeader::LEN + header.unsealed_len() as usize;
            let is_in_block = self.unseal(expect, &header, frame, &mut block)?;
            if is_in_block { Slice::from(block) } else { frame.slice(FrameHeader::LEN..end) }
        } else {
            let mut room = decoder.take_room();
            let is_in_room = self.unseal(expect, &header, frame, &mut room)?;
            let in_frame = frame.get(FrameHeader::LEN..).unwrap_or_default();
            let stored = if is_in_room { &room } else { in_frame };
            let (at, kind) = (self.identity.at(expect.handle.offset), expect.kind);
            let wrap = |source| BlockError::Codec { at, kind, source };
            let dictionary = self.dictionaries.of(at, header.dictionary)?;
            // The length was held against the cap and the caller's limit when the frame was admitted.
            let len = header.logical_len as usize;
            decoder.decompress_with(codec, dictionary, stored, &mut block, len).map_err(wrap)?;
            decoder.keep_room(room);
            Slice::from(block)
        };
        let mark = FrameMark::new(&header, expect.handle);
        Ok(OpenedFrame { encoding: header.encoding, ordinal: header.ordinal, payload, mark })
    }

    /// Opens a sealed payload into `out`, before any decompressor sees it; of a plain one, makes the payload check. Says
    /// whether the payload is in `out` now, still compressed; otherwise it stands in the frame.
    pub(crate) fn unseal(
        &self,
        expect: &Expect,
        header: &FrameHeader,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, BlockError> {
        let Expect { kind, handle, .. } = *expect;
        let at = self.identity.at(handle.offset);
        let cover = Cover::of(kind);
        let Some(seal) = self.transforms.seal.as_ref().filter(|_| cover != Cover::None) else {
            self.check_payload(expect, header, frame)?;
            if header.is_sealed() && cover == Cover::Sealed {
                return Err(BlockError::Sealed { at, kind });
            }
            return Ok(false);
        };
        let tampered = BlockError::Tampered { at, kind, key: seal.key() };
        if !header.is_sealed() {
            return Err(tampered);
        }
        let dictionary = self.dictionaries.of(at, header.dictionary)?.map_or(0, Dictionary::hash);
        if let Ok(is_out) =
            seal.open(header, dictionary, frame.get(FrameHeader::LEN..).unwrap_or_default(), out)
        {
            return Ok(is_out);
        }
        // The check needs no key, so it tells damage from changes by somebody who recomputed it.
        self.check_payload(expect, header, frame)?;
        Err(tampered)
    }

    fn check_payload(&self, expect: &Expect, header: &FrameHeader, frame: &[u8]) -> Result<(), BlockError> {
        let found = self.transforms.checksum.of(frame.get(FrameHeader::LEN..).unwrap_or_default());
        if found == header.check {
            return Ok(());
        }
        // Correction by parity belongs here: before the verdict.
        let (at, kind) = (self.identity.at(expect.handle.offset), expect.kind);
        let what = CorruptionKind::PayloadCheck;
        Err(BlockError::Corrupt { at, kind, what, expected: header.check, found })
    }

    /// Header check, what the handle says, geometry: in this order, so that no length is believed before its header
    /// is. The payload is still to be checked or opened.
    pub(crate) fn admit(
        &self,
        expect: &Expect,
        frame: &[u8],
        max_logical: u32,
    ) -> Result<(FrameHeader, Codec), BlockError> {
        let Expect { kind, ordinal, handle } = *expect;
        let header = FrameHeader::decode(&self.identity, handle.offset, kind, frame)
            .map_err(|error| self.name_misplaced(error, frame))?;
        let geometry = |expected: u64, found: u64| {
            let at = self.identity.at(handle.offset);
            Err(BlockError::Corrupt { at, kind, what: CorruptionKind::Geometry, expected, found })
        };
        if header.kind != kind {
            return geometry(kind.code().into(), header.kind.code().into());
        }
        if ordinal.is_some_and(|ordinal| ordinal != header.ordinal) {
            return geometry(ordinal.unwrap_or_default().into(), header.ordinal.into());
        }
        let codec = header.codec(&self.identity, handle.offset)?;
        if header.frame_len() != Some(handle.len) || frame.len() != handle.len as usize {
            return geometry(handle.len.into(), u64::from(header.stored_len) + FrameHeader::LEN as u64);
        }
        if header.logical_len > max_logical {
            return geometry(max_logical.into(), header.logical_len.into());
        }
        Ok((header, codec))
    }

    /// A frame that fails here but is whole in itself belongs elsewhere. Its own payload gives the context away: the
    /// stored check XOR the hash, and the header's CRC must then agree.
    #[cold]
    fn name_misplaced(&self, error: BlockError, frame: &[u8]) -> BlockError {
        let Some(raw) = frame.first_chunk::<{ FrameHeader::LEN }>() else { return error };
        let (header, crc) = FrameHeader::parse(raw);
        let end = header.frame_len().map_or(usize::MAX, |len| len as usize);
        let Some(stored) = frame.get(FrameHeader::LEN..end) else { return error };
        let context = header.check ^ self.transforms.checksum.of(stored);
        if crc != crc32c_seeded(header_seed(context), &raw[..28]) {
            return error;
        }
        match error {
            BlockError::Corrupt { at, kind, expected, found, .. } => {
                BlockError::Corrupt { at, kind, what: CorruptionKind::Misplaced, expected, found }
            }
            other => other,
        }
    }
}

const TAG_LEN: usize = lsm_crypto::TAG_LEN;

/// Bytes of a frame with `stored_len` bytes of payload, which a cap has bounded.
fn frame_len(stored_len: u32) -> u32 {
    stored_len + 32
}
