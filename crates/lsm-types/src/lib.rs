//! Shared words of the `lsm` storage engine.
//!
//! Every other crate speaks in these types: what a key is and how keys are ordered, how versions of a key are
//! numbered, what an entry means, how a sorted sequence of entries is walked, and through which small traits
//! the outside world (bytes of a file, time, randomness) enters.
//!
//! ```
//! use lsm_types::{KeyOrder, SeqNo, Slice};
//!
//! let order = KeyOrder::bytewise();
//! assert!(order.compare(b"apple", b"banana").is_lt());
//! let key = Slice::from("apple");
//! assert!(SeqNo::ZERO < SeqNo::LATEST && key.len() == 5);
//! ```
#![no_std]

extern crate alloc;

mod compaction_filter;
mod comparator;
mod cursor;
mod cut;
mod error;
mod ids;
mod io;
mod key_domains;
mod kind;
mod limits;
mod merge_operator;
mod ports;
mod prefix;
mod range_tombstone;
mod separated;
mod seqno;
mod slice;
mod tombstone_index;
mod value_handle;
mod value_references;

pub mod batch;
pub mod columns;
pub mod operators;
pub mod reader;
pub mod varint;

pub use compaction_filter::{CompactionFilter, CompactionFilterFactory, FilterContext, FilterEntry, Verdict};
pub use comparator::{Bytewise, Comparator, KeyOrder, head_of};
pub use cursor::{EntryCursor, EntryRef};
pub use cut::{Cut, KeyRange};
pub use error::{
    CorruptionKind, Error, ErrorClass, ErrorKind, Fault, FileKind, Location, Result, SealedParts,
};
pub use ids::{
    EditIndex, FileUuid, KeyHash, Level, RouteId, RunId, TableId, TreeId, UnixNanos, VectorId, VlogId,
};
pub use io::{IoError, IoKind, IoOp, ReadAt};
pub use key_domains::KeyDomains;
pub use kind::Kind;
pub use limits::{
    FILE_HEAD_LEN, MAX_ENTRY_LEN, MAX_KEY_LEN, MAX_NAME_LEN, MAX_VALUE_LEN, check_entry, check_key,
    check_name, check_value_len,
};
pub use merge_operator::{MergeError, MergeOperator};
pub use ports::{Clock, Random, Spawner};
pub use prefix::{DelimitedPrefix, FixedPrefix, PrefixExtractor};
pub use range_tombstone::{RangeTombstone, join_tombstones};
pub use reader::ByteReader;
pub use separated::{SeparatedValue, SeparatedValues};
pub use seqno::SeqNo;
pub use slice::Slice;
pub use tombstone_index::{Stretch, TombstoneIndex};
pub use value_handle::{HandleError, ValueHandle};
pub use value_references::{ReferenceError, ValueReferences, ValueUsage};
