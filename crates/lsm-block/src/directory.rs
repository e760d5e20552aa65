//! The list of a file's sections (`docs/format/block.md`, section 4); payload of a frame of kind 8.
//!
//! | bytes  | field             | encoding                                                                |
//! |--------|-------------------|-------------------------------------------------------------------------|
//! | 0..4   | version           | u32 LE, 1                                                               |
//! | 4..8   | count             | u32 LE                                                                  |
//! | 8..16  | frames            | u32 LE of the file, u32 LE of them data                                 |
//! | 16..24 | file digest       | u64 LE                                                                  |
//! | 24..32 | superblock digest | u64 LE                                                                  |
//!
//! then one entry per section, ascending by (type, offset):
//!
//! | bytes  | field   | encoding                                                 |
//! |--------|---------|----------------------------------------------------------|
//! | 0..2   | type    | u16 LE, that of the frames it holds                      |
//! | 2..4   | flags   | u16 LE: 0 critical, 1 mirror, 2 raw, 3 interleaved       |
//! | 4..8   | frames  | u32 LE                                                   |
//! | 8..16  | offset  | u64 LE                                                   |
//! | 16..24 | length  | u64 LE                                                   |
//! | 24..32 | digest  | u64 LE, [`SectionDigest`](crate::SectionDigest)          |
//! | 32..40 | aux     | u64 LE, for the section's owner                          |

use alloc::vec::Vec;

use lsm_types::{ByteReader, CorruptionKind, Location, reader::ReadError};

use crate::{BlockError, BlockKind, Handle, Part};

const VERSION: u32 = 1;
const ENTRY_LEN: usize = 40;
const KNOWN_FLAGS: u16 = 0b1111;

/// What a section is to its readers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SectionFlags(u16);

impl SectionFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Who does not know the type cannot read the file.
    pub const CRITICAL: Self = Self(1 << 0);
    /// The second copy of a section.
    pub const MIRROR: Self = Self(1 << 1);
    /// Bytes without frames.
    pub const RAW: Self = Self(1 << 2);
    /// Its frames are scattered over the extent, among others.
    pub const INTERLEAVED: Self = Self(1 << 3);

    /// These flags and `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One section of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// What its frames hold. Sections are found by it.
    pub kind: BlockKind,
    /// What it is to its readers.
    pub flags: SectionFlags,
    /// Frames it has.
    pub frames: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes of its extent.
    pub len: u64,
    /// Digest of its frames.
    pub digest: u64,
    /// A number for its owner.
    pub aux: u64,
}

impl Section {
    /// The one frame of a section that has one. A length no frame has becomes a handle that no check lets pass.
    pub fn handle(&self) -> Handle {
        Handle { offset: self.offset, len: u32::try_from(self.len).unwrap_or(u32::MAX) }
    }
}

/// The sections of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directory {
    /// Frames of the file, those of directories included.
    pub frames: u32,
    /// Of them, data frames.
    pub data_frames: u32,
    /// Digest over all frames of the file but its directories, offsets counted from 0.
    pub file_digest: u64,
    /// [`Superblock::digest_of`](crate::Superblock::digest_of) the file's superblock.
    pub superblock_digest: u64,
    /// Ascending by (kind, offset).
    pub sections: Vec<Section>,
}

impl Directory {
    /// Bytes of the payload of a directory with `count` sections: lets the place of everything behind it be known
    /// before it is written.
    pub const fn encoded_len(count: usize) -> usize {
        32 + count * ENTRY_LEN
    }

    /// Puts the sections in order and returns the payload.
    pub fn encode(&mut self) -> Vec<u8> {
        self.sections.sort_by_key(|section| (section.kind, section.offset));
        let mut out = Vec::with_capacity(Self::encoded_len(self.sections.len()));
        // The cap of a directory is reached long before the count leaves 32 bits; the frame writer refuses it.
        let count = u32::try_from(self.sections.len()).unwrap_or(u32::MAX);
        for number in [VERSION, count, self.frames, self.data_frames] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.file_digest, self.superblock_digest] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for section in &self.sections {
            out.extend_from_slice(&u16::from(section.kind.code()).to_le_bytes());
            out.extend_from_slice(&section.flags.0.to_le_bytes());
            out.extend_from_slice(&section.frames.to_le_bytes());
            for number in [section.offset, section.len, section.digest, section.aux] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    /// Reads a directory's payload.
    ///
    /// * `at`: its frame, for the errors.
    /// * `file_len`: length of the file; every section must end within it.
    ///
    /// # Errors
    /// [`BlockError::Decode`] or [`BlockError::Corrupt`] for contradictions, [`BlockError::Unsupported`] for another
    /// version and for critical sections with a type or flag from the future. Whether the *caller* knows a critical
    /// section is its own question: [`Directory::refuse_unknown`].
    pub fn decode(at: Location, payload: &[u8], file_len: u64) -> Result<Self, BlockError> {
        let kind = BlockKind::DIRECTORY;
        let decode = |field| BlockError::Decode { at, kind, field };
        let broken = |_: ReadError| decode("length");
        let mut fields = ByteReader::new(payload);
        match fields.u32().map_err(broken)? {
            VERSION => {}
            version => {
                return Err(BlockError::Unsupported { at, part: Part::DirectoryVersion(version) });
            }
        }
        let count = fields.u32().map_err(broken)? as usize;
        let mut directory = Self {
            frames: fields.u32().map_err(broken)?,
            data_frames: fields.u32().map_err(broken)?,
            file_digest: fields.u64().map_err(broken)?,
            superblock_digest: fields.u64().map_err(broken)?,
            sections: Vec::new(),
        };
        if count.checked_mul(ENTRY_LEN) != Some(fields.remaining()) {
            return Err(decode("count"));
        }
        if directory.data_frames > directory.frames {
            return Err(decode("data frames"));
        }
        directory.sections.reserve_exact(count);
        let mut before = None;
        for _ in 0..count {
            let section = read_section(at, &mut fields, broken)?;
            let Some(section) = section else { continue };
            let order = (section.kind, section.offset);
            if before.replace(order).is_some_and(|before| before >= order) {
                return Err(decode("order"));
            }
            if section.offset.checked_add(section.len).is_none_or(|end| end > file_len) {
                let (what, found) = (CorruptionKind::Geometry, section.len);
                return Err(BlockError::Corrupt { at, kind, what, expected: file_len, found });
            }
            directory.sections.push(section);
        }
        Ok(directory)
    }

    /// Refuses a critical section whose kind `is_known` does not know.
    pub fn refuse_unknown(
        &self,
        at: Location,
        is_known: impl Fn(BlockKind) -> bool,
    ) -> Result<(), BlockError> {
        let unknown =
            |section: &&Section| section.flags.has(SectionFlags::CRITICAL) && !is_known(section.kind);
        match self.sections.iter().find(unknown) {
            None => Ok(()),
            Some(section) => {
                Err(BlockError::Unsupported { at, part: Part::Section(section.kind.code().into()) })
            }
        }
    }

    /// The section with this kind that is no mirror.
    pub fn primary(&self, kind: BlockKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind && !section.flags.has(SectionFlags::MIRROR))
    }

    /// The mirror of the section with this kind.
    pub fn mirror(&self, kind: BlockKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind && section.flags.has(SectionFlags::MIRROR))
    }
}

/// One entry; `None` for one that may be ignored.
fn read_section(
    at: Location,
    fields: &mut ByteReader<'_>,
    broken: impl Fn(ReadError) -> BlockError + Copy,
) -> Result<Option<Section>, BlockError> {
    let code = fields.u16().map_err(broken)?;
    let flags = SectionFlags(fields.u16().map_err(broken)?);
    let (frames, offset) = (fields.u32().map_err(broken)?, fields.u64().map_err(broken)?);
    let (len, digest) = (fields.u64().map_err(broken)?, fields.u64().map_err(broken)?);
    let aux = fields.u64().map_err(broken)?;
    let unsupported = |part| Err(BlockError::Unsupported { at, part });
    let critical = flags.has(SectionFlags::CRITICAL);
    let Ok(kind) = u8::try_from(code).map(BlockKind::from_code) else {
        return if critical { unsupported(Part::Section(code)) } else { Ok(None) };
    };
    if critical && flags.0 & !KNOWN_FLAGS != 0 {
        return unsupported(Part::SectionFlags(flags.0 & !KNOWN_FLAGS));
    }
    Ok(Some(Section { kind, flags, frames, offset, len, digest, aux }))
}
