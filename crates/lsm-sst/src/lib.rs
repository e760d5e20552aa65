//! Sorted table files of the `lsm` storage engine, as bytes: this crate opens no file.
//!
//! A table is written front to back by a [`TableBuilder`] into any [`Output`], and opened by a machine
//! ([`OpenSst`]) that asks for ranges of the file. The result, a [`TableLayout`], finds entries through a
//! [`BlockSource`]: the place for a cache. [`Table`] is the short way for tools: any [`ReadAt`](lsm_types::ReadAt)
//! will do. The bytes are described in `docs/format/sst.md`.
//!
//! ```
//! use lsm_block::{FileIdentity, Superblock};
//! use lsm_sst::{BuildOptions, Table, TableBuilder, TableOptions};
//! use lsm_types::{EditIndex, FileKind, FileUuid, KeyOrder, Kind, SeqNo, TreeId, UnixNanos};
//!
//! let identity = FileIdentity {
//!     kind: FileKind::Table,
//!     file_id: 7,
//!     uuid: FileUuid::from_bytes([1; 16]),
//!     database: FileUuid::from_bytes([2; 16]),
//!     tree: TreeId::new(0),
//! };
//! let superblock = Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0));
//! let mut builder = TableBuilder::new(superblock, BuildOptions::new(KeyOrder::bytewise()), Vec::new())?;
//! builder.add(b"apples", SeqNo::ZERO, Kind::Put, b"97")?;
//! let (summary, bytes) = builder.finish()?;
//! assert_eq!(summary.file_len, bytes.len() as u64);
//!
//! let table = Table::open(bytes, TableOptions::new())?;
//! let found = table.get(b"apples", SeqNo::LATEST)?.expect("it was just written");
//! assert_eq!(found.value, b"97");
//! # Ok::<(), lsm_sst::Error>(())
//! ```
#![no_std]

extern crate alloc;

mod builder;
mod change_scan;
mod columnar;
mod cursor;
mod dead;
mod dead_rows;
mod delete_vector;
mod error;
mod estimate;
mod filter;
mod hops;
mod layout;
mod lineage;
mod neighbours;
mod open;
mod payload;
mod table;
mod verify;

pub mod data_block;
pub mod index;
pub mod properties;
pub mod range_tombstones;
pub mod seqno_bounds;

pub use builder::{BlockJob, BlockJobs, BuildOptions, EndedTable, FileLen, TableBuilder, TableSummary};
pub use change_scan::{ChangeScan, ScanCounts, SeqNoWindow};
pub use columnar::{
    ColumnPage, ColumnProperties, ColumnStats, ColumnarOptions, GroupRows, GroupScan, GroupSource, PointRows,
    RowGroup, SplitterId, Splitters, Versions,
};
pub use cursor::TableCursor;
pub use dead_rows::{DeadRows, DeadStretch};
pub use delete_vector::{DeleteVector, DeleteVectorFile};
pub use error::SstError;
pub use filter::{
    ExtractorId, FilterAnswer, FilterAudit, FilterBits, FilterFacts, FilterId, FilterOptions,
    FilterPartition, FilterProperties, FilterShape, PrefixFilterOptions,
};
pub use hops::Hop;
pub use layout::{BlockRef, BlockSource, Found, TableLayout};
pub use lineage::{SlicePart, TakenOver};
pub use lsm_block::{ByteRange, Output, Step};
pub use lsm_types::{Error, Result};
pub use neighbours::Neighbours;
pub use open::{OpenOptions, OpenSst};
pub use payload::PayloadError;
pub use table::{BlockEntry, BlockInfo, Blocks, DirectSource, LoadedBlock, Table, TableOptions};
pub use verify::{CheckDepth, Remainder, Verified};
