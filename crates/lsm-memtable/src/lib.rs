//! The concurrent, sorted write buffer of the `lsm` storage engine.
//!
//! Writes land here first: entries are copied into an arena and ordered by a tree of wide nodes whose readers take
//! no lock. A dependent cache miss is what costs, so a node spans a few neighbouring lines that are asked for at
//! once, and eight bytes of each key stand in the node itself.
//!
//! ```
//! use std::sync::Arc;
//! use lsm_memtable::{Memtable, MemtableConfig};
//! use lsm_types::{EntryCursor, Kind, KeyOrder, SeqNo};
//!
//! # fn main() -> Result<(), lsm_types::Error> {
//! let table = Arc::new(Memtable::<parking_lot::RawMutex>::new(KeyOrder::bytewise(), MemtableConfig::default()));
//! table.insert(b"apple", SeqNo::ZERO, Kind::Put, b"red")?;
//! table.insert(b"apple", SeqNo::ZERO.next(), Kind::Tombstone, b"")?;
//!
//! assert_eq!(table.get(b"apple", SeqNo::LATEST).map(|entry| entry.kind), Some(Kind::Tombstone));
//! assert_eq!(table.get(b"apple", SeqNo::ZERO.next()).map(|entry| entry.value), Some(&b"red"[..]));
//!
//! let mut cursor = table.cursor();
//! cursor.seek_first()?;
//! cursor.next()?;
//! assert_eq!(cursor.entry().map(|entry| entry.seqno), Some(SeqNo::ZERO));
//! # Ok(())
//! # }
//! ```
#![no_std]

extern crate alloc;

mod arena;
mod cursor;
mod entry;
mod error;
mod filter;
mod memtable;
mod node;
mod perm;
mod prefetch;
mod sync;
mod tree;
mod writer;

pub use cursor::MemCursor;
pub use error::MemtableError;
pub use memtable::{Memtable, MemtableConfig};
