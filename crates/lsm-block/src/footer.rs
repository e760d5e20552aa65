//! The last 64 bytes of every file but logs (`docs/format/block.md`, section 5).
//!
//! | bytes  | field            | encoding                          |
//! |--------|------------------|-----------------------------------|
//! | 0..8   | directory offset | u64 LE                            |
//! | 8..12  | directory length | u32 LE, bytes of the whole frame  |
//! | 12..16 | version          | u16 LE major, u16 LE minor        |
//! | 16..24 | incompat         | u64 LE                            |
//! | 24..32 | mirror offset    | u64 LE                            |
//! | 32..48 | file uuid        |                                   |
//! | 48..52 | mirror length    | u32 LE, 0 = no mirror             |
//! | 52..56 | crc              | CRC32C of bytes 0..52             |
//! | 56..64 | magic            | `4C 53 4D 46 45 4E 44 0A`         |

use lsm_types::{ByteReader, CorruptionKind, FileUuid, Location, reader::ReadError};

use crate::{BlockError, BlockKind, Features, FormatVersion, Handle, check::crc32c};

const MAGIC: [u8; 8] = *b"LSMFEND\n";

/// The end of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footer {
    /// Where the directory lies.
    pub directory: Handle,
    /// Where its mirror lies, where there is one.
    pub mirror: Option<Handle>,
    /// Format of the file; that of its superblock.
    pub version: FormatVersion,
    /// Incompat bits; those of its superblock.
    pub incompat: u64,
    /// Identity of the file; that of its superblock.
    pub uuid: FileUuid,
}

impl Footer {
    /// Bytes of a footer.
    pub const LEN: usize = 64;

    /// The footer's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mirror = self.mirror.unwrap_or_default();
        bytes[..8].copy_from_slice(&self.directory.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.directory.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.version.major.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.version.minor.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incompat.to_le_bytes());
        bytes[24..32].copy_from_slice(&mirror.offset.to_le_bytes());
        bytes[32..48].copy_from_slice(self.uuid.as_bytes());
        bytes[48..52].copy_from_slice(&mirror.len.to_le_bytes());
        let crc = crc32c(&bytes[..52]);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
        bytes[56..].copy_from_slice(&MAGIC);
        bytes
    }

    /// Reads the footer from the last [`Footer::LEN`] bytes of a file; `at` is the first of them.
    ///
    /// # Errors
    /// [`BlockError::Truncated`] for fewer bytes, [`BlockError::Corrupt`] when magic or check are wrong,
    /// [`BlockError::Unsupported`] for what a newer version wrote.
    pub fn decode(at: Location, bytes: &[u8]) -> Result<Self, BlockError> {
        let Some(raw) = bytes.last_chunk::<{ Self::LEN }>() else {
            let (need, have) = (Self::LEN as u64, bytes.len() as u64);
            return Err(BlockError::Truncated { at, need, have });
        };
        let mut fields = ByteReader::new(raw);
        let broken = |_: ReadError| BlockError::Decode { at, kind: BlockKind::DIRECTORY, field: "footer" };
        let footer = Self::read(&mut fields).map_err(broken)?;
        let (crc, expected) = (fields.u32().map_err(broken)?, crc32c(&raw[..52]));
        if crc != expected || fields.take_rest() != MAGIC {
            let (kind, what) = (BlockKind::DIRECTORY, CorruptionKind::HeaderCrc);
            return Err(BlockError::Corrupt { at, kind, what, expected: expected.into(), found: crc.into() });
        }
        footer.version.check(at)?;
        Features::check_incompat(footer.incompat, at)?;
        Ok(footer)
    }

    fn read(fields: &mut ByteReader<'_>) -> Result<Self, ReadError> {
        let directory = Handle { offset: fields.u64()?, len: fields.u32()? };
        let version = FormatVersion { major: fields.u16()?, minor: fields.u16()? };
        let incompat = fields.u64()?;
        let mirror_offset = fields.u64()?;
        let uuid = FileUuid::from_bytes(fields.array()?);
        let mirror = Handle { offset: mirror_offset, len: fields.u32()? };
        Ok(Self {
            directory,
            mirror: (mirror != Handle::default()).then_some(mirror),
            version,
            incompat,
            uuid,
        })
    }
}
