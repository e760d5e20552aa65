//! Framing of every file of the `lsm` storage engine, as bytes: this crate opens no file.
//!
//! A file is a [`Superblock`], then frames: a header of 32 bytes and a stored payload, checked and bound to its
//! place. Tables end in a [`Directory`] of their sections and a [`Footer`]; logs are records cut into frames
//! ([`log`]). One pipeline takes payloads to frames ([`FrameWriter`]) and back ([`FrameReader`]), and one walker
//! ([`Walk`]) lists the frames of any file without help. The bytes are described in `docs/format/block.md`.
//!
//! ```
//! use lsm_block::{BlockKind, Expect, FileIdentity, FrameReader, FrameSpec, FrameWriter, Transforms};
//! use lsm_codec::{Compression, Decoder};
//! use lsm_types::{FileKind, FileUuid, Slice, TreeId};
//!
//! let identity = FileIdentity {
//!     kind: FileKind::Table,
//!     file_id: 7,
//!     uuid: FileUuid::from_bytes([1; 16]),
//!     database: FileUuid::from_bytes([2; 16]),
//!     tree: TreeId::new(0),
//! };
//! let spec = FrameSpec { kind: BlockKind::DATA, encoding: 1, compression: Compression::None, ordinal: 0 };
//! let mut bytes = Vec::new();
//! let mark = FrameWriter::new(identity, Transforms::default()).append(spec, b"rows", 512, &mut bytes)?;
//!
//! let expect = Expect { kind: BlockKind::DATA, ordinal: Some(0), handle: mark.handle };
//! let reader = FrameReader::new(identity, Transforms::default());
//! let frame = reader.open(&expect, &Slice::from(bytes), &mut Decoder::new(), u32::MAX)?;
//! assert_eq!(frame.payload, b"rows");
//! # Ok::<(), lsm_block::BlockError>(())
//! ```
#![no_std]

extern crate alloc;

mod check;
mod dictionary;
mod digest;
mod directory;
mod error;
mod footer;
mod frame;
mod identity;
mod kind;
mod locate;
mod output;
mod pipeline;
mod seal;
mod superblock;
mod tail;
mod walk;

pub mod log;

pub use check::Checksum;
pub use dictionary::Dictionaries;
pub use digest::SectionDigest;
pub use directory::{Directory, Section, SectionFlags};
pub use error::{BlockError, Part};
pub use footer::Footer;
pub use frame::{FrameHeader, Handle};
pub use identity::FileIdentity;
pub use kind::BlockKind;
pub use locate::{ByteRange, Located, Locator, LocatorHints, Route, Step};
pub use lsm_crypto::{Encryption, KeyId};
pub use output::Output;
pub use pipeline::{
    Expect, FrameMark, FrameReader, FrameSpec, FrameWriter, OpenedFrame, Prepared, Transforms,
};
pub use seal::Sealing;
pub use superblock::{DirectoryPointer, Features, FormatVersion, Superblock};
pub use tail::{Tail, TailPart, TailPlace};
pub use walk::{Walk, Walked};
