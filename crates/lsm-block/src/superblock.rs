//! The first 512 bytes of every file (`docs/format/block.md`, section 1).
//!
//! | bytes    | field            | encoding                                                             |
//! |----------|------------------|----------------------------------------------------------------------|
//! | 0..8     | magic            | `4C 53 4D 46 0D 0A 1A 0A`                                            |
//! | 8..10    | file kind        | u16 LE: 1 table, 2 value log, 3 manifest, 4 delete vector, 5 dictionary, 6 log |
//! | 10..14   | version          | u16 LE major, u16 LE minor                                           |
//! | 14..16   | used length      | u16 LE, bytes that have a meaning                                    |
//! | 16..40   | features         | u64 LE incompat, read-compat, compat                                 |
//! | 40..56   | file uuid        |                                                                      |
//! | 56..64   | file id          | u64 LE                                                               |
//! | 64..80   | database uuid    |                                                                      |
//! | 80       | payload checksum | u8, [`Checksum`]                                                     |
//! | 81..85   | parity           | scheme, data shards, parity shards, flags; zero in this version      |
//! | 85       | alignment        | u8, power of two; zero in this version                               |
//! | 86..92   | sealing          | suite (0: not sealed), key derivation (1 derived, 2 wrapped), u32 LE key id |
//! | 92..96   | tree id          | u32 LE                                                               |
//! | 96..128  | salt             |                                                                      |
//! | 128..144 | key check        | proves that a key is the right one                                   |
//! | 144..336 | wrapped key      | u16 LE length, then bytes                                            |
//! | 336..348 | directory        | u64 LE offset, u32 LE length; zero until back-patched                |
//! | 348..356 | created          | u64 LE, nanoseconds since 1970                                       |
//! | 356..364 | edit index       | u64 LE, the manifest edit in force when the file was made            |
//! | 364..368 | ceiling          | u16 LE major, u16 LE minor                                           |
//! | 368..504 | reserved         | zero                                                                 |
//! | 504..508 | pointer crc      | CRC32C of bytes 336..348, 0 when those are zero                      |
//! | 508..512 | crc              | CRC32C of bytes 0..504 with 336..348 taken as zero                   |

use alloc::vec::Vec;

use lsm_crypto::{Encryption, KeyId, PlainFiles, Suite, WrappedKey};
use lsm_types::{
    ByteReader, CorruptionKind, EditIndex, FileKind, FileUuid, Location, TreeId, UnixNanos, reader::ReadError,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    BlockError, BlockKind, Checksum, FileIdentity, Handle, Part, Sealing, Transforms, check::crc32c,
    seal::Seal,
};

/// The bytes every file begins with; line-end conversion and a cleared eighth bit both destroy them.
pub(crate) const MAGIC: [u8; 8] = *b"LSMF\r\n\x1A\n";
const POINTER: core::ops::Range<usize> = 336..348;
const CHECKED: usize = 504;
const USED: u16 = 368;
/// The file's key is derived from the master key.
const DERIVED: u8 = 1;
/// The file's key is derived from a secret of its own, which stands wrapped in the superblock.
const WRAPPED: u8 = 2;

/// A version of the format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FormatVersion {
    /// Another one cannot be read.
    pub major: u16,
    /// A higher one only adds what may be ignored.
    pub minor: u16,
}

impl FormatVersion {
    /// The version this code writes.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Refuses another major version.
    pub(crate) fn check(self, at: Location) -> Result<(), BlockError> {
        if self.major == Self::CURRENT.major {
            return Ok(());
        }
        Err(BlockError::Unsupported { at, part: Part::Major(self.major) })
    }
}

/// What a reader of a file must, should or may know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    /// An unknown bit: the file cannot be opened.
    pub incompat: u64,
    /// An unknown bit: the file can be read, not rewritten in place or appended to.
    pub read_compat: u64,
    /// Bits anyone may ignore.
    pub compat: u64,
}

impl Features {
    /// Incompat bits this version understands.
    pub const KNOWN_INCOMPAT: u64 = 0;
    /// Read-compat bits this version understands.
    pub const KNOWN_READ_COMPAT: u64 = 0;

    /// Refuses incompat bits this version does not understand.
    pub(crate) fn check_incompat(incompat: u64, at: Location) -> Result<(), BlockError> {
        match incompat & !Self::KNOWN_INCOMPAT {
            0 => Ok(()),
            unknown => Err(BlockError::Unsupported { at, part: Part::Incompat(unknown) }),
        }
    }

    /// Whether this version may append to the file or rewrite parts of it.
    pub const fn may_modify(&self) -> bool {
        self.read_compat & !Self::KNOWN_READ_COMPAT == 0
    }
}

/// What the superblock says about the section directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DirectoryPointer {
    /// Nothing: not back-patched, or a file without a directory.
    #[default]
    Absent,
    /// Where its frame lies.
    At(Handle),
    /// Something whose check fails; the rest of the superblock is good.
    Damaged,
}

/// The head of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Which file this is.
    pub identity: FileIdentity,
    /// Format of the file.
    pub version: FormatVersion,
    /// What its reader must know.
    pub features: Features,
    /// Algorithm of payload checks.
    pub checksum: Checksum,
    /// Random bytes, fresh for each life of the file.
    pub salt: [u8; 32],
    /// How the file is sealed, if it is.
    pub sealing: Option<Sealing>,
    /// Where the directory is.
    pub directory: DirectoryPointer,
    /// When the file was made, by the caller's clock.
    pub created: UnixNanos,
    /// The last manifest edit in force when the file was made.
    pub edit_index: EditIndex,
    /// Highest format the tree allowed when the file was written.
    pub ceiling: FormatVersion,
}

impl Superblock {
    /// Bytes of a superblock; the first frame follows at once.
    pub const LEN: usize = lsm_types::FILE_HEAD_LEN;

    /// A superblock of the current version with XXH3 checks and no directory pointer.
    pub const fn new(identity: FileIdentity, created: UnixNanos, edit_index: EditIndex) -> Self {
        Self {
            identity,
            version: FormatVersion::CURRENT,
            features: Features { incompat: 0, read_compat: 0, compat: 0 },
            checksum: Checksum::Xxh3,
            salt: [0; 32],
            sealing: None,
            directory: DirectoryPointer::Absent,
            created,
            edit_index,
            ceiling: FormatVersion::CURRENT,
        }
    }

    /// What happens to payloads of this file.
    ///
    /// # Errors
    /// [`BlockError::KeyRequired`] for a sealed file without `encryption`; [`BlockError::Key`] when its key is not to
    /// be had or is another one; [`BlockError::PlaintextRejected`] for a plain file where only sealed ones are taken.
    pub fn transforms(&self, encryption: Option<&Encryption>) -> Result<Transforms, BlockError> {
        let at = self.identity.at(0);
        match (&self.sealing, encryption) {
            (None, None) => Ok(Transforms::new(self.checksum)),
            (None, Some(encryption)) => match encryption.plain_files {
                PlainFiles::Accept => Ok(Transforms::new(self.checksum)),
                PlainFiles::Reject => Err(BlockError::PlaintextRejected { at }),
            },
            (Some(sealing), None) => Err(BlockError::KeyRequired { at, key: sealing.key }),
            (Some(sealing), Some(encryption)) => {
                let seal = Seal::fetch(self, sealing, &*encryption.keys)
                    .and_then(|key| Seal::new(self, sealing.suite, &key))
                    .map_err(|source| BlockError::Key { at, source })?;
                Ok(Transforms::sealed(self.checksum, seal))
            }
        }
    }

    /// What a tool without keys can check of this file: everything but what is sealed.
    pub const fn transforms_without_key(&self) -> Transforms {
        Transforms::new(self.checksum)
    }

    /// The superblock's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = self.encode_without_pointer();
        let DirectoryPointer::At(handle) = self.directory else { return bytes };
        let mut pointer = [0; 12];
        let (offset, len) = pointer.split_at_mut(8);
        offset.copy_from_slice(&handle.offset.to_le_bytes());
        len.copy_from_slice(&handle.len.to_le_bytes());
        bytes[POINTER].copy_from_slice(&pointer);
        bytes[CHECKED..508].copy_from_slice(&crc32c(&pointer).to_le_bytes());
        bytes
    }

    /// XXH3-64 of what the main check covers, of an encoded superblock: the same before and after the directory
    /// pointer is patched in. The directory holds it.
    pub fn digest_of(raw: &[u8; Self::LEN]) -> u64 {
        let mut checked = *raw;
        checked[POINTER].fill(0);
        xxh3_64(&checked[..CHECKED])
    }

    /// The bytes the main check covers, without the directory pointer, which is patched in later, and without what
    /// names the key, which a provider may replace.
    pub(crate) fn bound_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(self.encode_without_pointer());
        bytes.truncate(CHECKED);
        for field in [88..92, 128..POINTER.end] {
            if let Some(field) = bytes.get_mut(field) {
                field.fill(0);
            }
        }
        bytes
    }

    fn encode_without_pointer(&self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&file_kind_code(self.identity.kind).to_le_bytes());
        for number in [self.version.major, self.version.minor, USED] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for mask in [self.features.incompat, self.features.read_compat, self.features.compat] {
            out.extend_from_slice(&mask.to_le_bytes());
        }
        out.extend_from_slice(self.identity.uuid.as_bytes());
        out.extend_from_slice(&self.identity.file_id.to_le_bytes());
        out.extend_from_slice(self.identity.database.as_bytes());
        out.push(self.checksum.tag());
        // Parity and alignment.
        out.resize(86, 0);
        if let Some(sealing) = &self.sealing {
            let derivation = if sealing.wrapped.is_some() { WRAPPED } else { DERIVED };
            out.extend_from_slice(&[sealing.suite.tag(), derivation]);
            out.extend_from_slice(&sealing.key.get().to_le_bytes());
        }
        out.resize(92, 0);
        out.extend_from_slice(&self.identity.tree.get().to_le_bytes());
        out.extend_from_slice(&self.salt);
        if let Some(sealing) = &self.sealing {
            out.extend_from_slice(&sealing.check);
            if let Some(wrapped) = &sealing.wrapped {
                let len = u16::try_from(wrapped.as_bytes().len()).unwrap_or_default();
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(wrapped.as_bytes());
            }
        }
        // What is left of the place for a wrapped key, then the directory pointer.
        out.resize(POINTER.end, 0);
        out.extend_from_slice(&self.created.get().to_le_bytes());
        out.extend_from_slice(&self.edit_index.get().to_le_bytes());
        for number in [self.ceiling.major, self.ceiling.minor] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(Self::LEN, 0);
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&out);
        let crc = crc32c(&bytes[..CHECKED]);
        bytes[508..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a superblock. `file`, the file the bytes come from, only serves the errors.
    ///
    /// # Errors
    /// [`BlockError::Truncated`], [`BlockError::NotOurs`] without the magic, [`BlockError::Corrupt`] when the check
    /// fails, [`BlockError::Unsupported`] for what a newer version wrote.
    pub fn decode(file: Location, bytes: &[u8]) -> Result<Self, BlockError> {
        let at = Location { offset: 0, ..file };
        let Some(raw) = bytes.first_chunk::<{ Self::LEN }>() else {
            let (need, have) = (Self::LEN as u64, bytes.len() as u64);
            return Err(BlockError::Truncated { at, need, have });
        };
        if raw[..8] != MAGIC {
            return Err(BlockError::NotOurs { at });
        }
        let mut checked = *raw;
        checked[POINTER].fill(0);
        let expected = crc32c(&checked[..CHECKED]);
        let mut crcs = ByteReader::new(&raw[CHECKED..]);
        let broken =
            |_: ReadError| BlockError::Decode { at, kind: BlockKind::SUPERBLOCK_COPY, field: "length" };
        let (pointer_crc, found) = (crcs.u32().map_err(broken)?, crcs.u32().map_err(broken)?);
        if found != expected {
            let (what, kind) = (CorruptionKind::HeaderCrc, BlockKind::SUPERBLOCK_COPY);
            return Err(BlockError::Corrupt {
                at,
                kind,
                what,
                expected: expected.into(),
                found: found.into(),
            });
        }
        let mut fields = ByteReader::new(&raw[8..CHECKED]);
        Self::decode_fields(at, &mut fields, pointer(raw, pointer_crc), broken)
    }

    fn decode_fields(
        at: Location,
        fields: &mut ByteReader<'_>,
        directory: DirectoryPointer,
        broken: impl Fn(ReadError) -> BlockError + Copy,
    ) -> Result<Self, BlockError> {
        let unsupported = |part| BlockError::Unsupported { at, part };
        let kind_code = fields.u16().map_err(broken)?;
        let version = read_version(fields).map_err(broken)?;
        version.check(at)?;
        let used = fields.u16().map_err(broken)?;
        let features = Features {
            incompat: fields.u64().map_err(broken)?,
            read_compat: fields.u64().map_err(broken)?,
            compat: fields.u64().map_err(broken)?,
        };
        Features::check_incompat(features.incompat, at)?;
        let kind = file_kind(kind_code).ok_or(unsupported(Part::FileKind(kind_code)))?;
        let uuid = FileUuid::from_bytes(fields.array().map_err(broken)?);
        let file_id = fields.u64().map_err(broken)?;
        let database = FileUuid::from_bytes(fields.array().map_err(broken)?);
        let checksum_tag = fields.u8().map_err(broken)?;
        let checksum = Checksum::from_tag(checksum_tag).ok_or(unsupported(Part::Checksum(checksum_tag)))?;
        match fields.u32().map_err(broken)? {
            0 => {}
            scheme => return Err(unsupported(Part::Ecc(scheme))),
        }
        match fields.u8().map_err(broken)? {
            0 => {}
            log2 => return Err(unsupported(Part::Alignment(log2))),
        }
        let suite = [fields.u8().map_err(broken)?, fields.u8().map_err(broken)?];
        let key = KeyId::new(fields.u32().map_err(broken)?);
        let tree = TreeId::new(fields.u32().map_err(broken)?);
        let salt = fields.array().map_err(broken)?;
        let sealing = sealing(at, suite, key, fields.take(POINTER.start - 128).map_err(broken)?)?;
        fields.take(POINTER.len()).map_err(broken)?;
        let created = UnixNanos::new(fields.u64().map_err(broken)?);
        let edit_index = EditIndex::new(fields.u64().map_err(broken)?);
        let ceiling = read_version(fields).map_err(broken)?;
        // A later minor version may use more bytes, which may be ignored; none may stand where no version wrote.
        let extra = usize::from(used.checked_sub(USED).unwrap_or(u16::MAX));
        if fields.take_rest().get(extra..).is_none_or(|rest| rest.iter().any(|&byte| byte != 0)) {
            return Err(BlockError::Decode { at, kind: BlockKind::SUPERBLOCK_COPY, field: "used length" });
        }
        let identity = FileIdentity { kind, file_id, uuid, database, tree };
        Ok(Self {
            identity,
            version,
            features,
            checksum,
            salt,
            sealing,
            directory,
            created,
            edit_index,
            ceiling,
        })
    }
}

/// Reads how a file is sealed; `keys` are the key check and the place of the wrapped key.
fn sealing(
    at: Location,
    [suite, derivation]: [u8; 2],
    key: KeyId,
    keys: &[u8],
) -> Result<Option<Sealing>, BlockError> {
    let decode = |field| BlockError::Decode { at, kind: BlockKind::SUPERBLOCK_COPY, field };
    let zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    if suite == 0 {
        let plain = derivation == 0 && key == KeyId::default() && zero(keys);
        return if plain { Ok(None) } else { Err(decode("sealing")) };
    }
    let unknown = BlockError::Unsupported { at, part: Part::Encryption(suite) };
    let suite = Suite::from_tag(suite).ok_or(unknown)?;
    let (check, place) = keys.split_first_chunk().ok_or(decode("key check"))?;
    let (len, place) = place.split_first_chunk().ok_or(decode("wrapped key"))?;
    let (wrapped, rest) =
        place.split_at_checked(usize::from(u16::from_le_bytes(*len))).ok_or(decode("wrapped key"))?;
    if !zero(rest) {
        return Err(decode("wrapped key"));
    }
    let wrapped = match (derivation, wrapped) {
        (DERIVED, []) => None,
        (WRAPPED, [_, ..]) => {
            Some(WrappedKey::new(Vec::from(wrapped)).map_err(|source| BlockError::Key { at, source })?)
        }
        (DERIVED | WRAPPED, _) => return Err(decode("wrapped key")),
        (other, _) => return Err(BlockError::Unsupported { at, part: Part::KeyDerivation(other) }),
    };
    Ok(Some(Sealing { suite, key, check: *check, wrapped }))
}

fn read_version(fields: &mut ByteReader<'_>) -> Result<FormatVersion, ReadError> {
    Ok(FormatVersion { major: fields.u16()?, minor: fields.u16()? })
}

fn pointer(raw: &[u8; Superblock::LEN], crc: u32) -> DirectoryPointer {
    let mut fields = ByteReader::new(&raw[POINTER]);
    match (fields.u64(), fields.u32()) {
        (Ok(0), Ok(0)) if crc == 0 => DirectoryPointer::Absent,
        (Ok(offset), Ok(len)) if crc == crc32c(&raw[POINTER]) => DirectoryPointer::At(Handle { offset, len }),
        _ => DirectoryPointer::Damaged,
    }
}

/// The number of a kind of file; 0 for those that have no superblock.
pub(crate) fn file_kind_code(kind: FileKind) -> u16 {
    let code = match kind {
        FileKind::Table => 1,
        FileKind::ValueLog => 2,
        FileKind::Manifest => 3,
        FileKind::DeleteVector => 4,
        FileKind::Dictionary => 5,
        FileKind::Wal => 6,
        _ => 0,
    };
    debug_assert!(code != 0, "a {} has no superblock", kind.name());
    code
}

fn file_kind(code: u16) -> Option<FileKind> {
    Some(match code {
        1 => FileKind::Table,
        2 => FileKind::ValueLog,
        3 => FileKind::Manifest,
        4 => FileKind::DeleteVector,
        5 => FileKind::Dictionary,
        6 => FileKind::Wal,
        _ => return None,
    })
}
