//! Collects index entries and writes them as one block.

use alloc::vec::Vec;

use lsm_types::{
    SeqNo,
    columns::{KeysWriter, Width},
};

use super::{ENTRIES_MAX, HEADER_LEN, IndexEntry, flag};

/// Separators are searched by their heads, so bundles only save space: 16 entries.
const BUNDLE_SHIFT: u8 = 4;

/// What an entry takes besides its separator, at most: six columns, and its bundle's place in the table of bundles.
const ENTRY_LEN_MAX: usize = 8 + 4 + 8 + 8 + 4 + 8 + 8;

/// Collects the entries of one index block. Reused from block to block, it keeps its memory.
#[derive(Debug)]
pub struct IndexBlockBuilder {
    upper: bool,
    keys: KeysWriter,
    entries: Vec<IndexEntry>,
    base_row: u64,
    rows: u64,
    len_max: u32,
    seqno_max: u64,
    rows_max: u64,
    consecutive: bool,
}

impl IndexBlockBuilder {
    /// An empty builder; `upper` says that entries point to index partitions rather than data blocks.
    pub const fn new(upper: bool) -> Self {
        Self {
            upper,
            keys: KeysWriter::new(BUNDLE_SHIFT),
            entries: Vec::new(),
            base_row: 0,
            rows: 0,
            len_max: 0,
            seqno_max: 0,
            rows_max: 0,
            consecutive: true,
        }
    }

    /// Number of entries.
    pub const fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the block can take no further entry.
    pub const fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX
    }

    /// Rows below all entries so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The separator pushed last.
    pub fn last_separator(&self) -> &[u8] {
        self.keys.last()
    }

    /// The entry pushed last.
    pub fn last_entry(&self) -> Option<&IndexEntry> {
        self.entries.last()
    }

    /// Adds an entry. Offsets and ordinals ascend.
    pub fn push(&mut self, separator: &[u8], entry: IndexEntry) {
        debug_assert!(!self.is_full());
        if let Some(last) = self.entries.last() {
            debug_assert!(last.handle.end() <= Some(entry.handle.offset) && last.ordinal < entry.ordinal);
            self.consecutive &= last.ordinal.checked_add(1) == Some(entry.ordinal);
        }
        self.keys.push(separator);
        self.rows += entry.rows;
        self.len_max = self.len_max.max(entry.handle.len);
        self.seqno_max = self.seqno_max.max(entry.last_seqno.get());
        self.rows_max = self.rows_max.max(entry.rows);
        self.entries.push(entry);
    }

    /// Bytes the block takes as it stands; exact.
    pub fn logical_len(&self) -> usize {
        HEADER_LEN + self.keys.encoded_len() + self.entries.len() * self.widths().bytes()
    }

    /// Bytes the block takes at most when `more` entries, whose separators have `key_bytes` together, have come.
    pub(super) const fn len_most(&self, more: usize, key_bytes: usize) -> usize {
        HEADER_LEN + self.keys.key_bytes() + key_bytes + (self.entries.len() + more) * ENTRY_LEN_MAX
    }

    /// Bytes of memory in use.
    pub const fn memory_len(&self) -> usize {
        self.keys.key_bytes() + self.entries.len() * (size_of::<IndexEntry>() + 4)
    }

    /// Appends the block to `out` and starts an empty one behind the rows of this.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let logical_len = self.logical_len();
        let start = out.len();
        out.reserve(logical_len);
        self.write(out);
        debug_assert_eq!(out.len() - start, logical_len, "the length is known before the bytes are");
        self.keys.clear();
        self.entries.clear();
        self.base_row += self.rows;
        self.rows = 0;
        self.len_max = 0;
        self.seqno_max = 0;
        self.rows_max = 0;
        self.consecutive = true;
    }

    fn write(&self, out: &mut Vec<u8>) {
        let shape = self.keys.shape();
        let widths = self.widths();
        let (base_ordinal, base_offset) = self.bases();
        let mut flags = flag::ROW_COUNTS;
        if self.upper {
            flags |= flag::UPPER;
        }
        if self.has_last_seqnos() {
            flags |= flag::LAST_SEQNOS;
        }
        let code = |width: Width, at: u32| u16::from(width.code()) << at;
        let codes = u16::from(shape.end_width.code() - 1)
            | code(widths.offset, 2)
            | code(widths.len, 5)
            | code(widths.seqno, 8)
            | code(widths.rows, 11)
            | code(widths.ordinal, 14);
        out.extend_from_slice(&[flags, shape.shift]);
        out.extend_from_slice(&u16::try_from(shape.rows).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&base_ordinal.to_le_bytes());
        out.extend_from_slice(&base_offset.to_le_bytes());
        out.extend_from_slice(&self.base_row.to_le_bytes());
        out.extend_from_slice(&u16::try_from(shape.prefix_len).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&codes.to_le_bytes());
        out.extend_from_slice(&u32::try_from(shape.heap_len).unwrap_or(u32::MAX).to_le_bytes());

        self.keys.write_columns(out);
        let mut column = |width: Width, item: &dyn Fn(&IndexEntry) -> u64| {
            for entry in &self.entries {
                width.put(item(entry), out);
            }
        };
        column(widths.offset, &|entry| entry.handle.offset - base_offset);
        column(widths.len, &|entry| entry.handle.len.into());
        column(widths.seqno, &|entry| entry.last_seqno.get());
        if widths.ordinal != Width::Zero {
            column(widths.ordinal, &|entry| (entry.ordinal - base_ordinal).into());
        }
        column(widths.rows, &|entry| entry.rows);
        self.keys.write_heap(out);
    }

    fn has_last_seqnos(&self) -> bool {
        self.seqno_max > SeqNo::ZERO.get()
    }

    /// Base ordinal and base offset.
    fn bases(&self) -> (u32, u64) {
        self.entries.first().map_or((0, 0), |first| (first.ordinal, first.handle.offset))
    }

    fn widths(&self) -> Widths {
        let (base_ordinal, base_offset) = self.bases();
        let (last_ordinal, last_offset) =
            self.entries.last().map_or((0, 0), |last| (last.ordinal, last.handle.offset));
        let ordinal = if self.consecutive { 0 } else { u64::from(last_ordinal - base_ordinal) };
        Widths {
            offset: Width::of(last_offset - base_offset),
            len: Width::of(self.len_max.into()),
            seqno: Width::of(self.seqno_max),
            rows: Width::of(self.rows_max),
            ordinal: Width::of(ordinal),
        }
    }
}

/// Widths of the integer columns.
struct Widths {
    offset: Width,
    len: Width,
    seqno: Width,
    rows: Width,
    ordinal: Width,
}

impl Widths {
    fn bytes(&self) -> usize {
        [self.offset, self.len, self.seqno, self.rows, self.ordinal].iter().map(|width| width.bytes()).sum()
    }
}
