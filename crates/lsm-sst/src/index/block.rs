//! An index block that was read: checked once, then searched by the heads of its separators.

use alloc::vec::Vec;

use lsm_block::Handle;
use lsm_types::{
    ByteReader, KeyOrder, SeqNo, Slice,
    columns::{BundledKeys, Column, KeyBuf, KeyShape, Layout, Malformed, Point, Width},
};

use super::{HEADER_LEN, flag};
use crate::payload::PayloadError;

/// Entries of which the rows are summed up in advance.
const SUMMED: usize = 32;

/// What an index says about one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// Where the block lies.
    pub handle: Handle,
    /// The ordinal its frame must have.
    pub ordinal: u32,
    /// Rows below it.
    pub rows: u64,
    /// Number of its last row when more versions of that key follow in the next block, zero otherwise.
    pub last_seqno: SeqNo,
}

/// An index block of encoding 1 whose every field was checked.
#[derive(Debug)]
pub struct IndexBlock {
    payload: Slice,
    upper: bool,
    keys: BundledKeys,
    offsets: Column,
    lens: Column,
    seqnos: Column,
    ordinals: Option<Column>,
    base_ordinal: u32,
    rows: Option<Column>,
    base_row: u64,
    row_sum: u64,
    /// Rows below the entries before every 32nd one, and below all; nothing when the index counts no rows.
    sums: Vec<u64>,
    /// Head of every separator, after the common prefix.
    heads: Vec<u64>,
}

impl IndexBlock {
    /// Checks `payload`. Whatever bytes come in, the result is an error or a block whose accessors hold.
    pub fn decode(payload: Slice) -> Result<Self, PayloadError> {
        let header = Header::decode(&payload)?;
        let entries = header.shape.rows;
        let mut layout = Layout::new(HEADER_LEN, payload.len());
        let mut keys = BundledKeys::place(header.shape, &mut layout)?;
        let offsets = layout.column(entries, header.offset_width, header.base_offset, "offsets")?;
        let lens = layout.column(entries, header.len_width, 0, "lengths")?;
        let seqnos = layout.column(entries, header.seqno_width, 0, "last seqnos")?;
        let ordinals = match header.ordinal_width {
            Width::Zero => None,
            width => Some(layout.column(entries, width, header.base_ordinal.into(), "ordinals")?),
        };
        let rows =
            header.rows_width.map(|width| layout.column(entries, width, 0, "row counts")).transpose()?;
        keys.place_heap(&mut layout)?;
        layout.finish()?;
        keys.check(&payload)?;
        let mut block = Self {
            payload,
            upper: header.upper,
            keys,
            offsets,
            lens,
            seqnos,
            ordinals,
            base_ordinal: header.base_ordinal,
            rows,
            base_row: header.base_row,
            row_sum: 0,
            sums: Vec::new(),
            heads: Vec::new(),
        };
        block.check_entries()?;
        if let Some(rows) = block.rows {
            block.sums.reserve(entries / SUMMED + 1);
            for from in (0..entries).step_by(SUMMED) {
                block.sums.push(block.row_sum);
                let to = entries.min(from + SUMMED);
                block.row_sum = rows.fold(&block.payload, from..to, block.row_sum, u64::saturating_add);
            }
        }
        block.heads = (0..entries).map(|entry| keys.head(&block.payload, entry)).collect();
        Ok(block)
    }

    /// Number of entries.
    #[inline]
    pub const fn entries(&self) -> usize {
        self.keys.rows()
    }

    /// Whether entries point to index partitions rather than data blocks.
    #[inline]
    pub const fn is_upper(&self) -> bool {
        self.upper
    }

    /// Bytes of memory the block takes, for a cache's account.
    pub fn memory_len(&self) -> usize {
        size_of::<Self>() + self.payload.len() + (self.heads.len() + self.sums.len()) * 8
    }

    /// First entry whose block can hold an entry at or after the point `(key, before)`; [`IndexBlock::entries`] if
    /// none can.
    #[inline]
    pub fn find(&self, order: &KeyOrder, key: &[u8], before: SeqNo) -> usize {
        let is_before = |entry| self.seqnos.at(&self.payload, entry) >= before.get();
        let point = Point { key, owner: |entry| entry, is_before };
        self.keys.lower_bound_by_heads(&self.payload, &self.heads, order, &point)
    }

    /// Whether block `entry` holds only entries before the point `(key, before)`.
    #[inline]
    pub(crate) fn lies_before(&self, order: &KeyOrder, entry: usize, key: &[u8], before: SeqNo) -> bool {
        let is_before = |entry| self.seqnos.at(&self.payload, entry) >= before.get();
        let point = Point { key, owner: |entry| entry, is_before };
        self.keys.lies_before(&self.payload, &self.heads, order, entry, &point)
    }

    /// What the index says about block `entry`; `None` past the last one.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "lengths and ordinals were checked to fit")]
    pub fn entry(&self, entry: usize) -> Option<IndexEntry> {
        if entry >= self.entries() {
            return None;
        }
        let payload = &self.payload;
        let handle =
            Handle { offset: self.offsets.at(payload, entry), len: self.lens.at(payload, entry) as u32 };
        let ordinal = match self.ordinals {
            Some(ordinals) => ordinals.at(payload, entry) as u32,
            None => self.base_ordinal + entry as u32,
        };
        let rows = self.rows.map_or(0, |rows| rows.at(payload, entry));
        let last_seqno = SeqNo::new(self.seqnos.at(payload, entry)).unwrap_or(SeqNo::LATEST);
        Some(IndexEntry { handle, ordinal, rows, last_seqno })
    }

    /// Assembles the separator of `entry`.
    pub fn separator(&self, entry: usize, out: &mut KeyBuf) {
        self.keys.key(&self.payload, entry, out);
    }

    /// Rows of the table before this block's first row; `None` when the index counts no rows.
    pub const fn base_row(&self) -> Option<u64> {
        if self.rows.is_some() { Some(self.base_row) } else { None }
    }

    /// Rows below the first `entry` entries, at most all of them; zero when the index counts no rows.
    pub fn rows_before(&self, entry: usize) -> u64 {
        let (Some(rows), false) = (self.rows, entry >= self.entries()) else { return self.row_sum };
        let from = entry / SUMMED;
        let summed = self.sums.get(from).copied().unwrap_or(self.row_sum);
        rows.fold(&self.payload, from * SUMMED..entry, summed, u64::saturating_add)
    }

    /// Rows below all entries; zero when the index counts no rows.
    pub const fn row_sum(&self) -> u64 {
        self.row_sum
    }

    /// Checks what searching relies on but does not test: separators ascend.
    pub fn verify(&self, order: &KeyOrder) -> Result<(), PayloadError> {
        let (mut last, mut key) = (KeyBuf::new(), KeyBuf::new());
        for entry in 0..self.entries() {
            self.separator(entry, &mut key);
            let found = order.compare(last.as_slice(), key.as_slice());
            let seqno = |entry| self.seqnos.at(&self.payload, entry);
            if entry > 0 && found.then_with(|| seqno(entry).cmp(&seqno(entry - 1))).is_ge() {
                return Err(PayloadError::Item { field: "separator order", item: entry });
            }
            core::mem::swap(&mut last, &mut key);
            key.reset();
        }
        Ok(())
    }

    fn check_entries(&self) -> Result<(), PayloadError> {
        let (payload, entries) = (&self.payload, self.entries());
        let (mut last_end, mut last_ordinal) = (0_u64, None);
        for entry in 0..entries {
            let wrong = |field| PayloadError::Item { field, item: entry };
            let (offset, len) = (self.offsets.at(payload, entry), self.lens.at(payload, entry));
            if offset < last_end {
                return Err(wrong("offsets"));
            }
            last_end = u32::try_from(len)
                .ok()
                .and_then(|len| offset.checked_add(len.into()))
                .ok_or_else(|| wrong("lengths"))?;
            let ordinal = match self.ordinals {
                Some(ordinals) => ordinals.at(payload, entry),
                None => u64::from(self.base_ordinal) + entry as u64,
            };
            if ordinal > u32::MAX.into() || last_ordinal.is_some_and(|last| last >= ordinal) {
                return Err(wrong("ordinals"));
            }
            last_ordinal = Some(ordinal);
            if self.keys.key_len(payload, entry) == 0 {
                return Err(wrong("separator"));
            }
        }
        // Offsets that wrapped would have gone down; the first one is the base itself.
        if !self.seqnos.is_at_most(payload, entries, SeqNo::MAX_WRITE.get()) {
            return Err(PayloadError::field("last seqnos"));
        }
        Ok(())
    }
}

/// The fixed header, checked as far as it can be alone.
struct Header {
    shape: KeyShape,
    upper: bool,
    base_ordinal: u32,
    base_offset: u64,
    base_row: u64,
    offset_width: Width,
    len_width: Width,
    seqno_width: Width,
    rows_width: Option<Width>,
    ordinal_width: Width,
}

impl Header {
    fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(payload);
        let flags = reader.u8()?;
        if flags & !flag::KNOWN != 0 {
            let found = u64::from(flags & !flag::KNOWN);
            return Err(PayloadError::Unsupported { part: "index block flag", found });
        }
        let shift = reader.u8()?;
        let entries = usize::from(reader.u16()?);
        let base_ordinal = reader.u32()?;
        let base_offset = reader.u64()?;
        let base_row = reader.u64()?;
        let prefix_len = usize::from(reader.u16()?);
        let codes = reader.u16()?;
        let heap_len = reader.u32()? as usize;
        let code = |at: u32, mask: u16| Width::from_code((codes >> at & mask).to_le_bytes()[0]);
        let width = |at| code(at, 7).ok_or(Malformed::new("width codes"));
        let end_width =
            Width::from_code((codes & 3).to_le_bytes()[0] + 1).ok_or(Malformed::new("width codes"))?;
        let ordinal_width = code(14, 3).ok_or(Malformed::new("width codes"))?;
        let rows_width = width(11)?;
        let seqno_width = width(8)?;
        let counts_rows = flags & flag::ROW_COUNTS != 0;
        if (flags & flag::LAST_SEQNOS != 0) != (seqno_width != Width::Zero)
            || (!counts_rows && rows_width != Width::Zero)
        {
            return Err(PayloadError::field("flags"));
        }
        Ok(Self {
            shape: KeyShape { rows: entries, shift, prefix_len, end_width, heap_len },
            upper: flags & flag::UPPER != 0,
            base_ordinal,
            base_offset,
            base_row,
            offset_width: width(2)?,
            len_width: width(5)?,
            seqno_width,
            rows_width: counts_rows.then_some(rows_width),
            ordinal_width,
        })
    }
}
