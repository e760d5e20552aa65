//! Rows of one table that are dead for every reader, in a file of their own (`docs/format/delete_vector.md`).
//!
//! ```text
//! superblock | mirror of the vector, directory | gap | vector, superblock copy, directory, footer
//! ```
//!
//! The payload of the vector's one frame:
//!
//! | bytes  | field       | encoding                                            |
//! |--------|-------------|-----------------------------------------------------|
//! | 0..16  | table uuid  | as in the table's superblock                        |
//! | 16..24 | table id    | u64 LE                                              |
//! | 24..32 | rows        | u64 LE, entries of the table                        |
//! | 32..40 | watermark   | u64 LE, deletes below it were carried out           |
//! | 40..48 | cardinality | u64 LE, rows that are dead                          |
//! | 48..   | bitmap      | a Roaring bitmap in its portable form, runs allowed |
//!
//! A row is a stored version of a key; rows are counted from 0 in the order of the index. Reads ask the [`DeleteMap`] that
//! the rows are made into when a vector is loaded.
//!
//! [`DeleteMap`]: lsm_columnar::DeleteMap

use alloc::{boxed::Box, vec, vec::Vec};

use lsm_block::{
    BlockError, BlockKind, ByteRange, Encryption, Expect, FrameReader, FrameWriter, Handle, Located, Locator,
    LocatorHints, Section, SectionDigest, SectionFlags, Step, Superblock, Tail, TailPart, TailPlace,
    Transforms,
};
use lsm_codec::{Compression, Decoder};
use lsm_columnar::{ColumnarError, DeleteSet};
use lsm_types::{ByteReader, FileKind, FileUuid, Location, ReadAt, Result, SeqNo, TableId};

use crate::{SstError, layout::checked_encoding, payload::PayloadError, table::read};

const ENCODING: u8 = 1;
/// A vector no longer than this lies in its file twice.
const MIRRORED_MAX: usize = 64 << 10;

/// Rows of a table that are dead for every reader there is and will be.
#[derive(Clone, PartialEq, Debug)]
pub struct DeleteVector {
    /// The table they are rows of.
    pub table: TableId,
    /// Identity of its file.
    pub table_uuid: FileUuid,
    /// Deletes of ranges numbered below it that stood in tables were carried out.
    pub watermark: SeqNo,
    /// The rows.
    pub rows: DeleteSet,
}

/// A delete vector as the bytes of its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteVectorFile {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Digest over all frames of the file.
    pub digest: u64,
    /// Where its directory lies.
    pub directory: Handle,
}

impl DeleteVector {
    /// The bytes of its file. Making them durable is the caller's business.
    ///
    /// * `head`: what [`Superblock::begin`] returned for a file of kind [`FileKind::DeleteVector`].
    ///
    /// # Errors
    /// When sealing fails, or the vector is too long for a frame.
    pub fn encode_file(
        &self,
        (superblock, transforms): (Superblock, Transforms),
    ) -> Result<DeleteVectorFile> {
        debug_assert_eq!(superblock.identity.kind, FileKind::DeleteVector, "the head of a delete vector");
        let mut bytes = superblock.encode().to_vec();
        let mut payload = Vec::new();
        self.encode(&mut payload);
        let is_mirrored = payload.len() <= MIRRORED_MAX;
        let part = |kind, flags, payload, is_mirrored| TailPart {
            kind,
            encoding: ENCODING,
            flags,
            compression: Compression::None,
            payloads: vec![payload],
            is_mirrored,
        };
        let parts = [
            part(BlockKind::DELETE_VECTOR, SectionFlags::CRITICAL, payload, is_mirrored),
            part(BlockKind::SUPERBLOCK_COPY, SectionFlags::NONE, bytes.clone(), true),
        ];
        let offset = bytes.len() as u64;
        let place = TailPlace {
            offset,
            first_ordinal: 0,
            digest: SectionDigest::new(0),
            data_frames: 0,
            sections: Vec::new(),
        };
        let mut frames = FrameWriter::new(superblock.identity, transforms);
        let tail = Tail::build(&mut frames, &superblock, place, &parts).map_err(SstError::from)?;
        bytes.extend_from_slice(&tail.mirrors);
        let gap = usize::try_from(tail.gap).unwrap_or(usize::MAX);
        bytes.resize(bytes.len().saturating_add(gap), 0);
        bytes.extend_from_slice(&tail.primaries);
        Ok(DeleteVectorFile { bytes, digest: tail.digest, directory: tail.directory })
    }

    /// Reads the vector in `file`, and the digest over the frames of the file.
    ///
    /// * `hints`: what is known about the file; with an identity it has to be that file.
    /// * `encryption`: where keys come from, and what to make of a file that is not sealed.
    ///
    /// # Errors
    /// What is wrong with the file: the error of the first copy, with that of the second behind it.
    pub fn read_file<R: ReadAt>(
        file: &R,
        hints: LocatorHints,
        encryption: Option<&Encryption>,
    ) -> Result<(Self, u64)> {
        let file_len = file.len().map_err(SstError::Length)?;
        let (mut locator, mut range) = Locator::start(file_len, hints).map_err(SstError::from)?;
        let located = loop {
            match locator.feed(read(file, range)?).map_err(SstError::from)? {
                Step::Need(next) => range = next,
                Step::Done(located) => break located,
            }
        };
        let vector = Self::read_located(file, file_len, &located, encryption)?;
        Ok((vector, located.directory.file_digest))
    }

    fn read_located<R: ReadAt>(
        file: &R,
        file_len: u64,
        located: &Located,
        encryption: Option<&Encryption>,
    ) -> Result<Self> {
        let (identity, directory) = (located.superblock.identity, &located.directory);
        let at = identity.at(0);
        if identity.kind != FileKind::DeleteVector {
            return Err(SstError::from(BlockError::NotOurs { at }).into());
        }
        let known = [BlockKind::DELETE_VECTOR, BlockKind::SUPERBLOCK_COPY];
        directory.refuse_unknown(at, |kind| known.contains(&kind)).map_err(SstError::from)?;
        let reader = located.frame_reader(encryption).map_err(SstError::from)?;
        let kind = BlockKind::DELETE_VECTOR;
        let primary = directory.primary(kind).ok_or(SstError::NoSection { at, kind })?;
        let copy = |section| Self::read_copy(file, file_len, &reader, section);
        match (copy(primary), directory.mirror(kind)) {
            (Err(Failed::Bytes(primary)), Some(mirror)) => copy(mirror).map_err(|mirror| match mirror {
                Failed::Bytes(mirror) => SstError::BothCopies { primary, mirror }.into(),
                Failed::System(error) => error,
            }),
            (Err(Failed::Bytes(error)), None) => Err((*error).into()),
            (Err(Failed::System(error)), _) => Err(error),
            (Ok(vector), _) => Ok(vector),
        }
    }

    fn read_copy<R: ReadAt>(
        file: &R,
        file_len: u64,
        reader: &FrameReader,
        section: &Section,
    ) -> Result<Self, Failed> {
        let ordinal = Some(u32::try_from(section.aux).unwrap_or(u32::MAX));
        let expect = Expect { kind: section.kind, ordinal, handle: section.handle() };
        expect.check_handle(reader.identity(), file_len)?;
        let range = ByteRange { offset: expect.handle.offset, len: expect.handle.len.into() };
        let frame = read(file, range).map_err(Failed::System)?;
        let opened = reader.open(&expect, &frame, &mut Decoder::new(), expect.kind.cap())?;
        let payload = checked_encoding(reader, expect.kind, expect.handle, opened)?;
        Self::decode(&payload).map_err(|source| {
            let at: Location = reader.identity().at(expect.handle.offset);
            SstError::Payload { at, kind: expect.kind, source }.into()
        })
    }

    /// Appends the payload of the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.table_uuid.as_bytes());
        let numbers = [self.table.get(), self.rows.rows(), self.watermark.get(), self.rows.cardinality()];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.rows.encode(out);
    }

    /// The vector that is exactly `payload`.
    ///
    /// # Errors
    /// For anything that is not the one writing of a vector.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(payload);
        let table_uuid = FileUuid::from_bytes(reader.array()?);
        let table = TableId::new(reader.u64()?);
        let rows = reader.u64()?;
        let watermark = SeqNo::new(reader.u64()?).ok_or(PayloadError::field("watermark"))?;
        let cardinality = reader.u64()?;
        let rows = DeleteSet::decode(reader.take_rest(), rows, cardinality).map_err(|error| match error {
            ColumnarError::Malformed { field, .. } => PayloadError::field(field),
            _ => PayloadError::field("rows"),
        })?;
        Ok(Self { table, table_uuid, watermark, rows })
    }
}

/// Why a copy cannot be used: its bytes, where the other copy may help, or the system, where it does not.
enum Failed {
    Bytes(Box<SstError>),
    System(lsm_types::Error),
}

impl From<SstError> for Failed {
    fn from(error: SstError) -> Self {
        Self::Bytes(Box::new(error))
    }
}

impl From<BlockError> for Failed {
    fn from(error: BlockError) -> Self {
        SstError::from(error).into()
    }
}
