//! Data blocks, row encoding 1: sorted entries in columns.
//!
//! ```text
//!  0  u8  flags: 0 tags, 1 row digests, 2 constant seqno, 3 constant kind, 4 fixed value width,
//!                5 contains same-key runs, 6 expiry column, 7 value digest column
//!  1  u8  bundle shift (rows per bundle = 1 << shift)
//!  2  u16 rows                         4  u16 block prefix length
//!  6  u8  width codes: bits 0-2 seqno delta (0,1,2,4,8), 3-4 key end (1,2,4), 5-6 value end (1,2,4)
//!  7  u8  row digest algorithm         8  u64 seqno base (minimum in the block)
//! 16  u32 key heap length             20  u32 value heap length
//! 24  u32 fixed value width           28  u8  kind of all rows when constant   29  reserved
//! block prefix | bundle table | key ends | kinds | seqno deltas | value ends | tags | key heap | value heap
//! ```
//!
//! A kind byte holds the kind in bits 0 to 2 and in bit 3 whether the row repeats the user key of the row before;
//! such a row has an empty suffix and is never the first of its bundle. Flags 1, 6 and 7 are reserved: a block
//! that sets them is refused.

mod block;
mod builder;
mod columns;
mod cursor;

pub use block::DataBlock;
pub use builder::{DataBlockBuilder, RowOptions};
pub(crate) use columns::RowColumns;
pub use cursor::RowCursor;

use lsm_types::KeyHash;

/// Bytes of the fixed header.
pub(crate) const HEADER_LEN: usize = 32;
/// Most rows of a block.
pub const ROWS_MAX: usize = u16::MAX as usize;
/// Blocks with more rows carry no tags: the search is as fast as comparing them all.
pub(crate) const TAGGED_ROWS_MAX: usize = 512;

/// Bits of the flag byte.
pub(crate) mod flag {
    pub(crate) const TAGS: u8 = 1 << 0;
    pub(crate) const ROW_DIGESTS: u8 = 1 << 1;
    pub(crate) const CONSTANT_SEQNO: u8 = 1 << 2;
    pub(crate) const CONSTANT_KIND: u8 = 1 << 3;
    pub(crate) const FIXED_VALUES: u8 = 1 << 4;
    pub(crate) const RUNS: u8 = 1 << 5;
    pub(crate) const EXPIRY: u8 = 1 << 6;
    pub(crate) const VALUE_DIGESTS: u8 = 1 << 7;
}

/// Bits of a kind byte.
pub(crate) const KIND_BITS: u8 = 0b111;
/// The row repeats the user key of the row before.
pub(crate) const SAME_KEY: u8 = 1 << 3;

/// The byte of a key's hash that stands in the tag column.
pub(crate) fn tag_of(hash: KeyHash) -> u8 {
    let [tag, ..] = hash.get().to_be_bytes();
    tag
}
