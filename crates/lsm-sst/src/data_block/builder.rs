//! Collects sorted entries and writes them as one data block.

use alloc::vec::Vec;

use lsm_types::{
    KeyHash, Kind, SeqNo,
    columns::{KeysWriter, Width},
};

use super::{HEADER_LEN, ROWS_MAX, SAME_KEY, TAGGED_ROWS_MAX, flag, tag_of};

/// How the rows of a block are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowOptions {
    /// Rows per bundle, as a power of two: 0 to 7.
    pub bundle_shift: u8,
    /// Whether each row carries a byte of its key's hash, so that a get finds its row without searching.
    pub tags: bool,
}

impl Default for RowOptions {
    fn default() -> Self {
        Self { bundle_shift: 4, tags: false }
    }
}

/// Collects the entries of one block. Reused from block to block, it keeps its memory.
#[derive(Debug)]
pub struct DataBlockBuilder {
    options: RowOptions,
    keys: KeysWriter,
    kinds: Vec<u8>,
    seqnos: Vec<u64>,
    value_ends: Vec<u32>,
    values: Vec<u8>,
    tags: Vec<u8>,
    seqno_min: u64,
    seqno_max: u64,
    fixed_values: bool,
    constant_kind: bool,
    runs: bool,
}

impl DataBlockBuilder {
    /// An empty builder.
    pub const fn new(options: RowOptions) -> Self {
        Self {
            options,
            keys: KeysWriter::new(options.bundle_shift),
            kinds: Vec::new(),
            seqnos: Vec::new(),
            value_ends: Vec::new(),
            values: Vec::new(),
            tags: Vec::new(),
            seqno_min: u64::MAX,
            seqno_max: 0,
            fixed_values: true,
            constant_kind: true,
            runs: false,
        }
    }

    /// Number of entries.
    pub const fn rows(&self) -> usize {
        self.kinds.len()
    }

    /// Whether the block can take no further entry.
    pub const fn is_full(&self) -> bool {
        self.rows() >= ROWS_MAX
    }

    /// The key pushed last.
    pub fn last_key(&self) -> &[u8] {
        self.keys.last()
    }

    /// The number pushed last.
    pub fn last_seqno(&self) -> SeqNo {
        self.seqnos.last().copied().and_then(SeqNo::new).unwrap_or(SeqNo::ZERO)
    }

    /// Adds an entry, which must come after the one before in internal order. `same_key` says that it is another
    /// version of the key pushed last.
    pub fn push(&mut self, key: &[u8], same_key: bool, seqno: SeqNo, kind: Kind, value: &[u8]) {
        debug_assert!(!self.is_full() && seqno.is_write());
        debug_assert!(!same_key || (self.rows() > 0 && key == self.last_key()));
        let repeated = same_key && !self.keys.at_bundle_head();
        let byte = kind.tag() | if repeated { SAME_KEY } else { 0 };
        if repeated {
            self.keys.repeat();
        } else {
            self.keys.push(key);
        }
        if self.options.tags && self.rows() < TAGGED_ROWS_MAX {
            let tag = match self.tags.last() {
                Some(&tag) if same_key => tag,
                _ => tag_of(KeyHash::of(key)),
            };
            self.tags.push(tag);
        }
        self.runs |= repeated;
        self.constant_kind &= self.kinds.first().is_none_or(|&first| first == byte);
        self.fixed_values &= self.value_ends.first().is_none_or(|&first| first as usize == value.len());
        self.kinds.push(byte);
        self.seqno_min = self.seqno_min.min(seqno.get());
        self.seqno_max = self.seqno_max.max(seqno.get());
        self.seqnos.push(seqno.get());
        self.values.extend_from_slice(value);
        debug_assert!(u32::try_from(self.values.len()).is_ok(), "blocks are cut far below 4 GiB");
        self.value_ends.push(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
    }

    /// Bytes the block takes as it stands; exact.
    pub fn logical_len(&self) -> usize {
        let rows = self.rows();
        let kinds = if self.constant_kind { 0 } else { rows };
        let tags = if self.has_tags() { rows } else { 0 };
        HEADER_LEN
            + self.keys.encoded_len()
            + kinds
            + rows * self.seqno_width().bytes()
            + rows * self.value_end_width().map_or(0, Width::bytes)
            + tags
            + self.values.len()
    }

    /// Bytes of memory in use.
    pub const fn memory_len(&self) -> usize {
        self.keys.key_bytes() + self.values.len() + self.rows() * 18
    }

    /// Appends the block to `out` and starts an empty one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let logical_len = self.logical_len();
        let start = out.len();
        out.reserve(logical_len);
        self.write_header(out);
        self.keys.write_columns(out);
        if !self.constant_kind {
            out.extend_from_slice(&self.kinds);
        }
        let width = self.seqno_width();
        self.seqnos.iter().for_each(|seqno| width.put(seqno - self.seqno_min, out));
        if let Some(width) = self.value_end_width() {
            self.value_ends.iter().for_each(|&end| width.put(u64::from(end), out));
        }
        if self.has_tags() {
            out.extend_from_slice(&self.tags);
        }
        self.keys.write_heap(out);
        out.extend_from_slice(&self.values);
        debug_assert_eq!(out.len() - start, logical_len, "the length is known before the bytes are");
        self.clear();
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        let shape = self.keys.shape();
        let flags = [
            (self.has_tags(), flag::TAGS),
            (self.seqno_width() == Width::Zero, flag::CONSTANT_SEQNO),
            (self.constant_kind, flag::CONSTANT_KIND),
            (self.fixed_values, flag::FIXED_VALUES),
            (self.runs, flag::RUNS),
        ];
        let flags = flags.iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit);
        let value_end = self.value_end_width().map_or(0, |width| width.code() - 1);
        let widths = self.seqno_width().code() | (shape.end_width.code() - 1) << 3 | value_end << 5;
        let fixed = if self.fixed_values { self.value_ends.first().copied().unwrap_or(0) } else { 0 };
        let kind = if self.constant_kind { self.kinds.first().copied().unwrap_or(0) } else { 0 };
        out.extend_from_slice(&[flags, shape.shift]);
        out.extend_from_slice(&small(shape.rows).to_le_bytes());
        out.extend_from_slice(&small(shape.prefix_len).to_le_bytes());
        out.extend_from_slice(&[widths, 0]);
        out.extend_from_slice(&self.seqno_base().to_le_bytes());
        out.extend_from_slice(&u32::try_from(shape.heap_len).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.values.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&fixed.to_le_bytes());
        out.extend_from_slice(&[kind, 0, 0, 0]);
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.kinds.clear();
        self.seqnos.clear();
        self.value_ends.clear();
        self.values.clear();
        self.tags.clear();
        self.seqno_min = u64::MAX;
        self.seqno_max = 0;
        self.fixed_values = true;
        self.constant_kind = true;
        self.runs = false;
    }

    fn has_tags(&self) -> bool {
        self.options.tags && self.rows() <= TAGGED_ROWS_MAX
    }

    fn seqno_base(&self) -> u64 {
        if self.seqnos.is_empty() { 0 } else { self.seqno_min }
    }

    fn seqno_width(&self) -> Width {
        Width::of(self.seqno_max.saturating_sub(self.seqno_base()))
    }

    /// `None` when all values have one length.
    fn value_end_width(&self) -> Option<Width> {
        (!self.fixed_values).then(|| Width::of(self.values.len() as u64).max(Width::One))
    }
}

fn small(len: usize) -> u16 {
    debug_assert!(u16::try_from(len).is_ok());
    u16::try_from(len).unwrap_or(u16::MAX)
}
