//! Bounds of the sequence numbers of each data block, encoding 1: what lets a change scan pass blocks unread.
//!
//! ```text
//!  0  u32 entries        4  u64 base
//! 12  u16 width codes: bits 0-2 smallest, 3-5 spread (0,1,2,4,8 each), 6-15 reserved
//! 14  u16 reserved
//! smallest numbers, less the base | largest less smallest
//! ```
//!
//! A block of bounds goes with one index block whose entries are data blocks, entry by entry. Numbers are local. Reads
//! of keys never look here: the section lies apart and is read when the first change scan asks.

use alloc::vec::Vec;

use lsm_block::{BlockKind, ByteRange, FrameHeader, Handle};
use lsm_codec::Decoder;
use lsm_types::{
    ByteReader, SeqNo, Slice,
    columns::{Column, Layout, Malformed, Width},
};

use crate::{
    BlockRef, Result, SstError, TableLayout, index::ENTRIES_MAX, payload::PayloadError,
    properties::SeqNoBounds,
};

/// Bytes of the fixed header.
const HEADER_LEN: usize = 16;

/// Appends the block of bounds for `blocks`, of which there are as many as an index block has entries.
pub fn encode(blocks: &[SeqNoBounds], out: &mut Vec<u8>) {
    debug_assert!(blocks.len() <= ENTRIES_MAX, "an index block has no more entries");
    let base = blocks.iter().map(|bounds| bounds.min.get()).min().unwrap_or(0);
    let smallest = |bounds: &SeqNoBounds| bounds.min.get() - base;
    let spread = |bounds: &SeqNoBounds| bounds.max.get().saturating_sub(bounds.min.get());
    let width = |of: &dyn Fn(&SeqNoBounds) -> u64| Width::of(blocks.iter().map(of).max().unwrap_or(0));
    let (min_width, spread_width) = (width(&smallest), width(&spread));
    out.extend_from_slice(&u32::try_from(blocks.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&base.to_le_bytes());
    let codes = u16::from(min_width.code()) | u16::from(spread_width.code()) << 3;
    out.extend_from_slice(&codes.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    for bounds in blocks {
        min_width.put(smallest(bounds), out);
    }
    for bounds in blocks {
        spread_width.put(spread(bounds), out);
    }
}

/// A block of bounds of encoding 1 whose every field was checked.
#[derive(Clone, Debug)]
pub struct BoundsBlock {
    payload: Slice,
    entries: usize,
    smallest: Column,
    spreads: Column,
    all: Option<SeqNoBounds>,
}

impl BoundsBlock {
    /// Checks `payload`. Whatever bytes come in, the result is an error or a block whose accessors hold.
    pub fn decode(payload: Slice) -> core::result::Result<Self, PayloadError> {
        let mut reader = ByteReader::new(&payload);
        let entries = reader.u32()? as usize;
        let base = reader.u64()?;
        let codes = reader.u16()?;
        let reserved = reader.u16()?;
        if entries > ENTRIES_MAX {
            return Err(PayloadError::field("entries"));
        }
        if codes >> 6 != 0 || reserved != 0 {
            let found = u64::from(codes >> 6) | u64::from(reserved) << 16;
            return Err(PayloadError::Unsupported { part: "bounds flag", found });
        }
        let width =
            |code: u16| Width::from_code((code & 7).to_le_bytes()[0]).ok_or(Malformed::new("width codes"));
        let (min_width, spread_width) = (width(codes)?, width(codes >> 3)?);
        let mut layout = Layout::new(HEADER_LEN, payload.len());
        let smallest = layout.column(entries, min_width, base, "smallest numbers")?;
        let spreads = layout.column(entries, spread_width, 0, "spreads")?;
        layout.finish()?;
        if !smallest.is_at_most(&payload, entries, SeqNo::MAX_WRITE.get()) {
            return Err(PayloadError::field("smallest numbers"));
        }
        let mut block = Self { payload, entries, smallest, spreads, all: None };
        for entry in 0..entries {
            let wrong = PayloadError::Item { field: "spreads", item: entry };
            let bounds = block.checked(entry).ok_or(wrong)?;
            let all = block.all.get_or_insert(bounds);
            *all = SeqNoBounds { min: all.min.min(bounds.min), max: all.max.max(bounds.max) };
        }
        Ok(block)
    }

    /// Number of data blocks it speaks of.
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Bounds of data block `entry`; `None` past the last one.
    #[inline]
    pub fn get(&self, entry: usize) -> Option<SeqNoBounds> {
        if entry < self.entries { self.checked(entry) } else { None }
    }

    /// Bounds of all data blocks together; `None` without any.
    pub const fn all(&self) -> Option<SeqNoBounds> {
        self.all
    }

    #[inline]
    fn checked(&self, entry: usize) -> Option<SeqNoBounds> {
        let min = SeqNo::new(self.smallest.at(&self.payload, entry))?;
        let max = min.checked_add(self.spreads.at(&self.payload, entry)).filter(|max| max.is_write())?;
        Some(SeqNoBounds { min, max })
    }
}

/// The bounds of all data blocks of a table.
#[derive(Clone, Debug)]
pub struct BlockBounds {
    blocks: Vec<BoundsBlock>,
}

impl BlockBounds {
    pub(crate) const fn new(blocks: Vec<BoundsBlock>) -> Self {
        Self { blocks }
    }

    /// What goes with index partition `part`, or with the root of an index without partitions, which is part 0.
    pub fn part(&self, part: usize) -> Option<&BoundsBlock> {
        self.blocks.get(part)
    }

    /// Number of parts.
    pub const fn parts(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of memory they take.
    pub fn memory_len(&self) -> usize {
        self.blocks.iter().map(|block| size_of::<BoundsBlock>() + block.payload.len()).sum()
    }
}

impl TableLayout {
    /// Where the bounds of data blocks lie; `None` for a table without them.
    pub fn bounds_range(&self) -> Option<ByteRange> {
        let section = self.directory.primary(BlockKind::SEQNO_BOUNDS)?;
        let end = section.offset.checked_add(section.len)?;
        let fits = end <= self.file_len && section.len <= u64::from(BlockKind::SEQNO_BOUNDS.cap());
        fits.then_some(ByteRange { offset: section.offset, len: section.len })
    }

    /// Checks and parses the bounds of data blocks; `bytes` are exactly those of [`TableLayout::bounds_range`].
    ///
    /// # Errors
    /// Damage. A change scan does without them then.
    pub fn decode_bounds(&self, bytes: &Slice, decoder: &mut Decoder) -> Result<BlockBounds> {
        let kind = BlockKind::SEQNO_BOUNDS;
        let missing = || SstError::NoSection { at: self.superblock.identity.at(0), kind };
        let section = self.directory.primary(kind).ok_or_else(missing)?;
        let wrong = || self.disagree("extent of the bounds of data blocks");
        let mut blocks = Vec::new();
        let mut rest = 0_usize;
        for idx in 0..section.frames {
            let offset = section.offset.checked_add(rest as u64).ok_or_else(wrong)?;
            let head = bytes.get(rest..).ok_or_else(wrong)?;
            let header = FrameHeader::decode(self.reader.identity(), offset, kind, head);
            let len = header.map_err(SstError::from)?.frame_len().ok_or_else(wrong)?;
            let end = rest.checked_add(len as usize).filter(|end| *end <= bytes.len()).ok_or_else(wrong)?;
            let first = u32::try_from(section.aux).ok();
            let ordinal = first.and_then(|first| first.checked_add(idx)).ok_or_else(wrong)?;
            let at = BlockRef { handle: Handle { offset, len }, ordinal };
            let payload = self.open(kind, at, &bytes.slice(rest..end), decoder)?;
            blocks.push(BoundsBlock::decode(payload).map_err(|source| self.payload(kind, at, source))?);
            rest = end;
        }
        if rest == bytes.len() { Ok(BlockBounds::new(blocks)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn bounds(min: u64, max: u64) -> SeqNoBounds {
        SeqNoBounds { min: SeqNo::new(min).unwrap(), max: SeqNo::new(max).unwrap() }
    }

    #[test]
    fn what_was_encoded_is_read() {
        let max = SeqNo::MAX_WRITE.get();
        for blocks in [
            vec![],
            vec![bounds(0, 0); 3],
            vec![bounds(7, 7), bounds(300, 70_000), bounds(9, 9)],
            vec![bounds(0, max), bounds(max, max), bounds(5, 1 << 40)],
        ] {
            let mut payload = Vec::new();
            encode(&blocks, &mut payload);
            let read = BoundsBlock::decode(Slice::from(payload.clone())).unwrap();
            let found: Vec<_> = (0..read.entries()).filter_map(|entry| read.get(entry)).collect();
            assert_eq!((found, read.get(blocks.len())), (blocks.clone(), None));
            let min = blocks.iter().map(|bounds| bounds.min).min();
            let max = blocks.iter().map(|bounds| bounds.max).max();
            assert_eq!(read.all().map(|all| all.min), min);
            assert_eq!(read.all().map(|all| all.max), max);
            for cut in 0..payload.len() {
                assert!(BoundsBlock::decode(Slice::copy_from(&payload[..cut])).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn sums_beyond_the_last_number_are_refused() {
        let mut payload = Vec::new();
        encode(&[bounds(SeqNo::MAX_WRITE.get() - 1, SeqNo::MAX_WRITE.get())], &mut payload);
        *payload.last_mut().unwrap() = 2;
        let error = BoundsBlock::decode(Slice::from(payload)).unwrap_err();
        assert_eq!(error, PayloadError::Item { field: "spreads", item: 0 });
    }
}
