//! Records of logs: manifests and write-ahead logs (`docs/format/block.md`, section 6).
//!
//! A log is a superblock and then records, cut into frames so that none crosses the border of a physical block.
//! A border with less than 64 bytes before it (80 in a sealed log, whose frames end in a tag) is zero-filled. A record has a head of 28 bytes, then its body; the
//! head is the front of the payload of its first (or only) frame:
//!
//! | bytes  | field        | encoding                                                              |
//! |--------|--------------|-----------------------------------------------------------------------|
//! | 0..8   | index        | u64 LE, from 1, one more than that of the record before               |
//! | 8..16  | chain        | u64 LE, digest of the record before                                   |
//! | 16..24 | durable hint | u64 LE, highest index known durable when this was written, 0 = none   |
//! | 24..28 | body length  | u32 LE, over all frames of the record                                 |
//!
//! The digest of a record is XXH3-64 over (index u64 LE, chain u64 LE, body). The durable hint is left out, so that
//! two copies of a log that were synced at different times have one chain.
//!
//! [`LogEncoder`] writes, [`LogScanner`] reads and then judges why it came to an end ([`Tail`]).

mod encode;
mod scan;

pub use encode::{LogEncoder, RecordSpan};
pub use scan::{LogScanner, Record, Tail};

use crate::BlockKind;
use xxhash_rust::xxh3::Xxh3;

/// Longest body of a record, in bytes.
pub const MAX_RECORD_LEN: usize = 64 << 20;

/// Less room than this before a border is zero-filled.
const MIN_ROOM: u64 = 64;
/// Bytes of a record's head.
const HEAD_LEN: usize = 28;
const _: () = assert!(MIN_ROOM >= (crate::FrameHeader::LEN + HEAD_LEN) as u64, "the head of a record fits");

/// How a kind of log is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogFormat {
    first_kind: u8,
    block_len: u64,
    synced_each: bool,
}

impl LogFormat {
    /// Manifests: physical blocks of 4 KiB. Each record is durable before the next is written, so anything good
    /// behind something bad proves damage.
    pub const MANIFEST: Self =
        Self { first_kind: BlockKind::MANIFEST_WHOLE.code(), block_len: 4 << 10, synced_each: true };
    /// Write-ahead logs: physical blocks of 32 KiB. Records may be written long before they are durable.
    pub const WAL: Self =
        Self { first_kind: BlockKind::WAL_WHOLE.code(), block_len: 32 << 10, synced_each: false };

    /// Bytes of a physical block.
    pub const fn block_len(&self) -> u64 {
        self.block_len
    }

    const fn kind(self, piece: Piece) -> BlockKind {
        BlockKind::from_code(self.first_kind + piece as u8)
    }

    fn piece(self, kind: BlockKind) -> Option<Piece> {
        Some(match kind.code().checked_sub(self.first_kind)? {
            0 => Piece::Whole,
            1 => Piece::First,
            2 => Piece::Middle,
            3 => Piece::Last,
            _ => return None,
        })
    }

    /// Bytes from `offset` to the next border.
    const fn room(self, offset: u64) -> u64 {
        self.block_len - offset % self.block_len
    }

    /// Where a frame that comes next at `offset` really begins. `tag` is what a seal adds to a frame, in bytes.
    const fn frame_start(self, offset: u64, tag: usize) -> u64 {
        let room = self.room(offset);
        if room < MIN_ROOM + tag as u64 { offset + room } else { offset }
    }
}

/// Which part of its record a frame holds; in the order of the kinds' numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece {
    Whole,
    First,
    Middle,
    Last,
}

/// The place between two records: where the next one goes and what it must say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPosition {
    /// First byte after the record before.
    pub offset: u64,
    /// Index of the next record.
    pub index: u64,
    /// Digest of the record before.
    pub chain: u64,
    /// Ordinal of the next frame.
    pub ordinal: u32,
}

impl LogPosition {
    /// The position of the first record of a log that begins a new count: directly behind the superblock.
    pub const START: Self = Self { offset: crate::Superblock::LEN as u64, index: 1, chain: 0, ordinal: 0 };
}

/// Digest of a record.
fn record_digest(index: u64, chain: u64, body: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&index.to_le_bytes());
    hash.update(&chain.to_le_bytes());
    hash.update(body);
    hash.digest()
}
