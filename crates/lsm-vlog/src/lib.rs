//! Value-log files of the `lsm` storage engine, as bytes: this crate opens no file.
//!
//! A value log holds the values that were moved out of tables, each in a frame of its own with its key, or in several
//! when it is large. It is written front to back by a [`VlogBuilder`] into any [`Output`], and opened by a machine
//! ([`OpenVlog`]) that asks for ranges of the file. The result, a [`VlogLayout`], resolves the handles that tables hold.
//! [`Vlog`] is the short way for tools: any [`ReadAt`](lsm_types::ReadAt) will do. The bytes are described in
//! `docs/format/vlog.md`.
//!
//! ```
//! use lsm_types::{EditIndex, FileKind, FileUuid, KeyOrder, SeqNo, TreeId, UnixNanos};
//! use lsm_vlog::{FileIdentity, LocatorHints, Superblock, Vlog, VlogBuilder, VlogOptions};
//!
//! let identity = FileIdentity {
//!     kind: FileKind::ValueLog,
//!     file_id: 7,
//!     uuid: FileUuid::from_bytes([1; 16]),
//!     database: FileUuid::from_bytes([2; 16]),
//!     tree: TreeId::new(0),
//! };
//! let superblock = Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0));
//! let mut builder = VlogBuilder::new(superblock, VlogOptions::new(KeyOrder::bytewise()), Vec::new())?;
//! let handle = builder.add(b"apples", SeqNo::ZERO, b"many and red")?;
//! let (_, bytes) = builder.finish()?;
//!
//! let log = Vlog::open(bytes, LocatorHints::default(), None)?;
//! assert_eq!(log.get(&handle, b"apples")?, b"many and red");
//! assert!(log.get(&handle, b"pears").is_err());
//! # Ok::<(), lsm_vlog::Error>(())
//! ```
#![no_std]

extern crate alloc;

mod builder;
mod dictionaries;
mod error;
mod layout;
mod open;
mod payload;
mod scan;
mod verify;
mod vlog;

pub mod chunk_map;
pub mod frame_directory;
pub mod properties;

pub use builder::{DictionaryOptions, VlogBuilder, VlogOptions, VlogSummary};
pub use error::VlogError;
pub use layout::VlogLayout;
pub use lsm_block::{ByteRange, Encryption, FileIdentity, LocatorHints, Output, Step, Superblock};
pub use lsm_types::{Error, Result, ValueHandle, ValueReferences, ValueUsage};
pub use open::OpenVlog;
pub use payload::{PayloadError, ValuePayload};
pub use scan::{ScannedValue, VlogScan};
pub use verify::{CheckDepth, Verified};
pub use vlog::Vlog;
