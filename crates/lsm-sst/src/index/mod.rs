//! Index blocks, encoding 1: where the data blocks lie and which keys divide them.
//!
//! ```text
//!  0  u8  flags: 0 last seqno column, 1 row counts, 2 uniform gaps, 3 lower-bound entry,
//!                4 entries point to index partitions, 5-7 reserved
//!  1  u8  bundle shift      2  u16 entries        4  u32 base ordinal
//!  8  u64 base offset      16  u64 base row      24  u16 prefix length
//! 26  u16 width codes: bits 0-1 key end (1,2,4), 2-4 offset, 5-7 length, 8-10 last seqno, 11-13 row count
//!                      (0,1,2,4,8 each), 14-15 ordinal (0,1,2,4)
//! 28  u32 heap length
//! separator prefix | bundle table | separator ends | offsets | lengths | last seqnos | ordinals | row counts
//!   | separator heap
//! ```
//!
//! Offsets and ordinals count from their bases. Without an ordinal column the ordinal of entry `i` is the base plus
//! `i`. The separator of an entry is at or above every key of its block and below every key of the next; where the
//! versions of one key fill more than one block it is that key, and the last-seqno column tells the blocks apart.

mod block;
mod builder;
mod writer;

pub use block::{IndexBlock, IndexEntry};
pub use builder::IndexBlockBuilder;
pub(crate) use writer::{IndexWriter, PartitionSink};

/// Bytes of the fixed header.
pub(crate) const HEADER_LEN: usize = 32;
/// Most entries of a block.
pub const ENTRIES_MAX: usize = u16::MAX as usize;

/// Bits of the flag byte.
pub(crate) mod flag {
    pub(crate) const LAST_SEQNOS: u8 = 1 << 0;
    pub(crate) const ROW_COUNTS: u8 = 1 << 1;
    pub(crate) const UNIFORM: u8 = 1 << 2;
    pub(crate) const UPPER: u8 = 1 << 4;
    /// Everything this version understands.
    pub(crate) const KNOWN: u8 = LAST_SEQNOS | ROW_COUNTS | UNIFORM | UPPER;
}
