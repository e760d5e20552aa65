//! What can be wrong with the framing of a file.

use lsm_codec::CodecError;
use lsm_crypto::{CryptoError, KeyId};
use lsm_types::{CorruptionKind, ErrorKind, Fault, FileUuid, IoError, Location};

use crate::BlockKind;

/// Why framing could not be read or written.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlockError {
    /// The file does not begin like one of ours.
    #[error("{} {} does not begin like a file of this engine", at.kind.name(), at.id)]
    NotOurs {
        /// The file.
        at: Location,
    },
    /// The file, or what was read of it, ends too early.
    #[error("{} {} at {}: {need} bytes wanted, {have} there", at.kind.name(), at.id, at.offset)]
    Truncated {
        /// The first byte wanted.
        at: Location,
        /// Bytes wanted.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// The bytes are good but use something this version does not know.
    #[error("{} {} at {}: unsupported {part:?}", at.kind.name(), at.id, at.offset)]
    Unsupported {
        /// Where it stands.
        at: Location,
        /// What it is.
        part: Part,
    },
    /// A check fails, or lengths and places disagree.
    #[error(
        "{} {} at {}: {kind} is damaged ({what:?}: expected {expected:#x}, found {found:#x})",
        at.kind.name(), at.id, at.offset
    )]
    Corrupt {
        /// The frame or structure concerned.
        at: Location,
        /// The kind of block that was expected there.
        kind: BlockKind,
        /// Which check fails.
        what: CorruptionKind,
        /// What the check should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The checks are good, the contents make no sense.
    #[error("{} {} at {}: {kind} does not decode, field `{field}`", at.kind.name(), at.id, at.offset)]
    Decode {
        /// The frame or structure concerned.
        at: Location,
        /// The kind of block.
        kind: BlockKind,
        /// The field that makes no sense.
        field: &'static str,
    },
    /// The file is a good one, but another.
    #[error("{} {} has identity {found}, expected {expected}", at.kind.name(), at.id)]
    OtherFile {
        /// The file.
        at: Location,
        /// The identity expected.
        expected: FileUuid,
        /// The identity found.
        found: FileUuid,
    },
    /// A writer was given more than its kind of block can hold.
    #[error("{kind} of {len} bytes, at most {cap} fit")]
    TooLarge {
        /// The kind of block.
        kind: BlockKind,
        /// Bytes given.
        len: usize,
        /// Bytes that fit.
        cap: u32,
    },
    /// A payload could not be compressed or decompressed.
    #[error("{} {} at {}: {kind}", at.kind.name(), at.id, at.offset)]
    Codec {
        /// The frame.
        at: Location,
        /// The kind of block.
        kind: BlockKind,
        /// What the codec says.
        source: CodecError,
    },
    /// The checks are good, the seal is not: somebody changed the bytes who could compute checks but had no key.
    #[error("{} {} at {}: {kind} was tampered with (key {key})", at.kind.name(), at.id, at.offset)]
    Tampered {
        /// The frame.
        at: Location,
        /// The kind of block.
        kind: BlockKind,
        /// Number of the file's key.
        key: KeyId,
    },
    /// The frame is sealed, and its reader has no key; its check is good.
    #[error("{} {} at {}: {kind} is sealed; give a key provider or a key file", at.kind.name(), at.id, at.offset)]
    Sealed {
        /// The frame.
        at: Location,
        /// The kind of block.
        kind: BlockKind,
    },
    /// The file is sealed, and no key provider was given.
    #[error("{} {} is sealed with key {key}; give a key provider or a key file", at.kind.name(), at.id)]
    KeyRequired {
        /// The file.
        at: Location,
        /// Number of the file's key.
        key: KeyId,
    },
    /// The file is not sealed, and the reader takes sealed ones only.
    #[error("{} {} is not sealed, and only sealed files are accepted", at.kind.name(), at.id)]
    PlaintextRejected {
        /// The file.
        at: Location,
    },
    /// No key, or not the right one.
    #[error("{} {}: the file's key cannot be had", at.kind.name(), at.id)]
    Key {
        /// The file.
        at: Location,
        /// Why not.
        source: CryptoError,
    },
    /// A frame names a dictionary that its file does not have.
    #[error("{} {} at {}: the file has no dictionary {slot}", at.kind.name(), at.id, at.offset)]
    DictionaryMissing {
        /// The frame.
        at: Location,
        /// Slot of the dictionary, from 1.
        slot: u16,
    },
    /// A dictionary is not the one that it says it is.
    #[error(
        "{} {} at {}: the dictionary there has hash {found:#x}, not {expected:#x}",
        at.kind.name(), at.id, at.offset
    )]
    DictionaryMismatch {
        /// The dictionary.
        at: Location,
        /// The hash that it is known by.
        expected: u64,
        /// The hash that its content has.
        found: u64,
    },
    /// The bytes could not be read.
    #[error("{} {} at {}: reading {len} bytes failed", at.kind.name(), at.id, at.offset)]
    Read {
        /// The first byte wanted.
        at: Location,
        /// Bytes wanted.
        len: u64,
        /// What the system says.
        source: IoError,
    },
}

/// Something a newer or differently built version would understand.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Bits of the incompat mask.
    Incompat(u64),
    /// A major format version.
    Major(u16),
    /// A kind of file.
    FileKind(u16),
    /// A version of a directory.
    DirectoryVersion(u32),
    /// A critical section.
    Section(u16),
    /// Bits of a critical section's flags.
    SectionFlags(u16),
    /// A payload checksum.
    Checksum(u8),
    /// A scheme of error correction.
    Ecc(u32),
    /// An AEAD suite.
    Encryption(u8),
    /// A way of deriving a file's key.
    KeyDerivation(u8),
    /// A frame alignment, as a power of two.
    Alignment(u8),
    /// Bits of a frame's flags.
    FrameFlags(u8),
    /// A dictionary slot.
    Dictionary(u16),
    /// A codec.
    Codec(u8),
    /// A payload encoding of a kind of block.
    Encoding(BlockKind, u8),
}

impl Fault for BlockError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotOurs { .. } => ErrorKind::NotOurs,
            Self::Truncated { .. } => ErrorKind::Truncated,
            Self::Unsupported { .. } => ErrorKind::UnsupportedFormat,
            Self::Corrupt { what, .. } => ErrorKind::Corruption(*what),
            Self::Decode { .. } => ErrorKind::Corruption(CorruptionKind::Decode),
            Self::OtherFile { .. } => ErrorKind::FileIdentityMismatch,
            Self::TooLarge { .. } => ErrorKind::EntryTooLarge,
            Self::Codec { source, .. } => source.kind(),
            Self::Tampered { .. } => ErrorKind::Tampered,
            Self::Sealed { .. } | Self::KeyRequired { .. } => ErrorKind::KeyRequired,
            Self::PlaintextRejected { .. } => ErrorKind::PlaintextRejected,
            Self::Key { source, .. } => source.kind(),
            Self::DictionaryMissing { .. } => ErrorKind::DictionaryMissing,
            Self::DictionaryMismatch { .. } => ErrorKind::DictionaryMismatch,
            Self::Read { source, .. } => source.kind(),
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::NotOurs { at }
            | Self::Truncated { at, .. }
            | Self::Unsupported { at, .. }
            | Self::Corrupt { at, .. }
            | Self::Decode { at, .. }
            | Self::OtherFile { at, .. }
            | Self::Codec { at, .. }
            | Self::Tampered { at, .. }
            | Self::Sealed { at, .. }
            | Self::KeyRequired { at, .. }
            | Self::PlaintextRejected { at }
            | Self::Key { at, .. }
            | Self::DictionaryMissing { at, .. }
            | Self::DictionaryMismatch { at, .. }
            | Self::Read { at, .. } => Some(*at),
            Self::TooLarge { .. } => None,
        }
    }
}
