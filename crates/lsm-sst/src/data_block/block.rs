//! A data block that was read: checked once, then every row is an addition away.

use alloc::vec::Vec;

use lsm_types::{
    ByteReader, EntryRef, KeyHash, KeyOrder, Kind, SeqNo, Slice, ValueHandle,
    columns::{BundledKeys, Column, KeyBuf, KeyShape, Layout, Malformed, Point, Width},
};

use super::{HEADER_LEN, KIND_BITS, RowCursor, SAME_KEY, flag, tag_of};
use crate::payload::PayloadError;

/// Tags are compared in groups of this many.
const TAG_GROUP: usize = 32;

/// A data block of row encoding 1 whose every field was checked.
#[derive(Debug)]
pub struct DataBlock {
    payload: Slice,
    keys: BundledKeys,
    kinds: Kinds,
    seqnos: Column,
    values: Values,
    tags: Option<usize>,
    /// Whether some row repeats the key of the row before.
    has_runs: bool,
    /// Heads of the bundles' first keys.
    heads: Vec<u64>,
}

/// Where the parts of a block lie that was not read as one.
pub(super) struct Parts {
    pub(super) payload: Slice,
    pub(super) keys: BundledKeys,
    pub(super) heads: Vec<u64>,
    /// Start of the kinds; `None` where all rows have `kind`.
    pub(super) kinds: Option<usize>,
    pub(super) kind: Kind,
    pub(super) seqnos: Column,
    pub(super) value_ends: Column,
    pub(super) values: usize,
    pub(super) has_runs: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kinds {
    All(Kind),
    /// Start of the column.
    Each(usize),
}

#[derive(Clone, Copy, Debug)]
enum Values {
    Fixed { heap: usize, width: usize },
    Ends { heap: usize, ends: Column },
}

impl DataBlock {
    /// Checks `payload`. Whatever bytes come in, the result is an error or a block whose accessors hold.
    pub fn decode(payload: Slice) -> Result<Self, PayloadError> {
        let header = Header::decode(&payload)?;
        let rows = header.shape.rows;
        let mut layout = Layout::new(HEADER_LEN, payload.len());
        let mut keys = BundledKeys::place(header.shape, &mut layout)?;
        let kinds = match header.kind {
            Some(kind) => Kinds::All(kind),
            None => Kinds::Each(layout.take(rows, 1, "kinds")?),
        };
        let seqnos = layout.column(rows, header.seqno_width, header.seqno_base, "seqnos")?;
        let ends =
            header.value_end_width.map(|width| layout.column(rows, width, 0, "value ends")).transpose()?;
        let tags = header.has_tags.then(|| layout.take(rows, 1, "tags")).transpose()?;
        keys.place_heap(&mut layout)?;
        let heap = layout.take(header.value_heap_len, 1, "value heap")?;
        layout.finish()?;
        let values = match ends {
            Some(ends) => Values::Ends { heap, ends },
            None => Values::Fixed { heap, width: header.value_width },
        };
        keys.check(&payload)?;
        let mut block =
            Self { payload, keys, kinds, seqnos, values, tags, has_runs: header.has_runs, heads: Vec::new() };
        block.check_values(header.value_heap_len)?;
        block.check_kinds()?;
        if !seqnos.is_at_most(&block.payload, rows, SeqNo::MAX_WRITE.get()) {
            return Err(PayloadError::field("seqnos"));
        }
        block.heads = keys.bundle_heads(&block.payload);
        Ok(block)
    }

    /// The block that lies in parts: as if it had been decoded.
    pub(super) fn of_parts(parts: Parts) -> Result<Self, PayloadError> {
        let Parts { payload, keys, heads, kinds, kind, seqnos, value_ends, values, has_runs } = parts;
        let heap_len = payload.len().saturating_sub(values);
        let block = Self {
            payload,
            keys,
            kinds: kinds.map_or(Kinds::All(kind), Kinds::Each),
            seqnos,
            values: Values::Ends { heap: values, ends: value_ends },
            tags: None,
            has_runs,
            heads,
        };
        block.check_values(heap_len)?;
        block.check_kinds()?;
        if block.seqnos.is_at_most(&block.payload, block.rows(), SeqNo::MAX_WRITE.get()) {
            Ok(block)
        } else {
            Err(PayloadError::field("seqnos"))
        }
    }

    /// Number of rows.
    #[inline]
    pub const fn rows(&self) -> usize {
        self.keys.rows()
    }

    /// Bytes of memory the block takes, for a cache's account.
    pub fn memory_len(&self) -> usize {
        size_of::<Self>() + self.payload.len() + self.heads.len() * 8
    }

    /// Local sequence number of `row`.
    #[inline]
    pub fn seqno(&self, row: usize) -> SeqNo {
        SeqNo::new(self.seqnos.at(&self.payload, row)).unwrap_or(SeqNo::LATEST)
    }

    /// Kind of `row`.
    #[inline]
    pub fn kind(&self, row: usize) -> Kind {
        match self.kinds {
            Kinds::All(kind) => kind,
            Kinds::Each(_) => Kind::from_tag(self.kind_byte(row) & KIND_BITS).unwrap_or(Kind::Put),
        }
    }

    /// Value of `row`.
    #[inline]
    pub fn value(&self, row: usize) -> &[u8] {
        let (start, end) = self.value_extent(row);
        self.payload.get(start..end).unwrap_or_default()
    }

    /// Value of `row`, sharing the block's buffer.
    #[inline]
    pub fn value_slice(&self, row: usize) -> Slice {
        let (start, end) = self.value_extent(row);
        if row < self.rows() { self.payload.slice(start..end) } else { Slice::empty() }
    }

    /// Assembles the key of `row`.
    #[inline]
    pub fn key(&self, row: usize, out: &mut KeyBuf) {
        self.keys.key(&self.payload, self.owner(row), out);
    }

    /// First row at or after the point `(key, before)`; [`DataBlock::rows`] if there is none.
    #[inline]
    pub fn lower_bound(&self, order: &KeyOrder, key: &[u8], before: SeqNo) -> usize {
        let is_before = |row| self.seqno(row) >= before;
        if self.has_runs {
            let point = Point { key, owner: |row| self.owner(row), is_before };
            return self.keys.lower_bound(&self.payload, &self.heads, order, &point);
        }
        let point = Point { key, owner: |row| row, is_before };
        self.keys.lower_bound(&self.payload, &self.heads, order, &point)
    }

    /// The row of the newest version of `key` numbered below `before`. The stored key is compared, not assembled.
    ///
    /// `hash` is asked for only when the block has tags.
    #[inline]
    pub fn find(&self, order: &KeyOrder, hash: KeyHash, key: &[u8], before: SeqNo) -> Option<usize> {
        if let Some(tags) = self.tags {
            return self.find_by_tag(tags, tag_of(hash), key, before);
        }
        let is_before = |row| self.seqno(row) >= before;
        if self.has_runs {
            let point = Point { key, owner: |row| self.owner(row), is_before };
            return self.keys.find(&self.payload, &self.heads, order, &point);
        }
        let point = Point { key, owner: |row| row, is_before };
        self.keys.find(&self.payload, &self.heads, order, &point)
    }

    /// A cursor over the rows.
    pub fn cursor<'b>(&'b self, order: &KeyOrder) -> RowCursor<&'b Self> {
        RowCursor::new(self, order.clone())
    }

    /// Calls `visit` with every entry in order; stops at its first error.
    pub fn for_each<E>(&self, mut visit: impl FnMut(EntryRef<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut key = KeyBuf::new();
        for row in 0..self.rows() {
            self.key(row, &mut key);
            visit(EntryRef {
                key: key.as_slice(),
                seqno: self.seqno(row),
                kind: self.kind(row),
                value: self.value(row),
            })?;
        }
        Ok(())
    }

    /// Checks what reading relies on but does not test: rows ascend strictly in internal order, tags are right.
    pub fn verify(&self, order: &KeyOrder) -> Result<(), PayloadError> {
        let (mut last, mut key) = (KeyBuf::new(), KeyBuf::new());
        for row in 0..self.rows() {
            self.key(row, &mut key);
            if row > 0 {
                let found = order.compare(last.as_slice(), key.as_slice());
                let ascends = found.then_with(|| self.seqno(row).cmp(&self.seqno(row - 1)));
                if ascends.is_ge() {
                    return Err(PayloadError::Item { field: "row order", item: row });
                }
            }
            if let Some(tags) = self.tags
                && self.payload.get(tags + row) != Some(&tag_of(KeyHash::of(key.as_slice())))
            {
                return Err(PayloadError::Item { field: "tags", item: row });
            }
            core::mem::swap(&mut last, &mut key);
            key.reset();
        }
        Ok(())
    }

    fn find_by_tag(&self, tags: usize, tag: u8, key: &[u8], before: SeqNo) -> Option<usize> {
        let tags = self.payload.get(tags..tags + self.rows())?;
        for (group_idx, group) in tags.chunks(TAG_GROUP).enumerate() {
            // Without an early exit the compare of a group is a vector operation.
            if group.iter().fold(0, |hits, &other| hits | u8::from(other == tag)) == 0 {
                continue;
            }
            for (idx, _) in group.iter().enumerate().filter(|(_, other)| **other == tag) {
                let row = group_idx * TAG_GROUP + idx;
                if self.seqno(row) < before && self.keys.key_is(&self.payload, self.owner(row), key) {
                    return Some(row);
                }
            }
        }
        None
    }

    /// The row that stores the key of `row`: itself, or the first of a run of versions.
    #[inline]
    pub(super) fn owner(&self, mut row: usize) -> usize {
        if self.has_runs {
            while self.kind_byte(row) & SAME_KEY != 0 && row > 0 {
                row -= 1;
            }
        }
        row
    }

    /// Whether `row` has the key of the row before, as far as that is marked.
    #[inline]
    pub(super) fn repeats_key(&self, row: usize) -> bool {
        self.has_runs && self.kind_byte(row) & SAME_KEY != 0
    }

    /// Whether `row`, which is not the first and has this key, has the key of the row before.
    #[inline]
    pub(super) fn has_key_of_before(&self, row: usize, key: &[u8]) -> bool {
        // Repetitions are marked, except where a bundle begins.
        if self.keys.is_bundle_head(row) {
            return self.keys.key_is(&self.payload, self.owner(row - 1), key);
        }
        self.repeats_key(row)
    }

    #[inline]
    fn kind_byte(&self, row: usize) -> u8 {
        match self.kinds {
            Kinds::All(kind) => kind.tag(),
            Kinds::Each(start) => self.payload.get(start + row).copied().unwrap_or_default(),
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "value ends take at most four bytes")]
    fn value_extent(&self, row: usize) -> (usize, usize) {
        match self.values {
            Values::Fixed { heap, width } => (heap + row * width, heap + (row + 1) * width),
            Values::Ends { heap, ends } => {
                let start = row.checked_sub(1).map_or(0, |before| ends.at(&self.payload, before) as usize);
                (heap + start, heap + ends.at(&self.payload, row) as usize)
            }
        }
    }

    fn check_values(&self, heap_len: usize) -> Result<(), PayloadError> {
        match self.values {
            Values::Fixed { width, .. } => {
                if self.rows().checked_mul(width) != Some(heap_len) {
                    return Err(PayloadError::field("value heap length"));
                }
            }
            Values::Ends { ends, .. } => {
                let (last, ascends) =
                    ends.fold(&self.payload, 0..self.rows(), (0, true), |(last, ok), end| {
                        (end, ok && end >= last)
                    });
                if !ascends {
                    return Err(PayloadError::field("value ends"));
                }
                if last != heap_len as u64 {
                    return Err(PayloadError::field("value heap length"));
                }
            }
        }
        Ok(())
    }

    fn check_kinds(&self) -> Result<(), PayloadError> {
        if let (Kinds::All(Kind::Put | Kind::MergeOperand), false) = (self.kinds, self.has_runs) {
            return self.check_key_lens();
        }
        let mut has_runs = false;
        for row in 0..self.rows() {
            let byte = self.kind_byte(row);
            let Some(kind) = Kind::from_tag(byte & KIND_BITS) else {
                return Err(PayloadError::Item { field: "kind", item: row });
            };
            let repeats = byte & SAME_KEY != 0;
            has_runs |= repeats;
            let stray = repeats
                && (self.keys.is_bundle_head(row) || !self.keys.suffix(&self.payload, row).is_empty());
            if byte & !(KIND_BITS | SAME_KEY) != 0 || stray {
                return Err(PayloadError::Item { field: "kind", item: row });
            }
            let fits = match kind {
                Kind::Tombstone | Kind::WeakTombstone => self.value(row).is_empty(),
                Kind::Indirection => self.value(row).len() == ValueHandle::LEN,
                _ => true,
            };
            if !fits {
                return Err(PayloadError::Item { field: "value length", item: row });
            }
        }
        if has_runs != self.has_runs {
            return Err(PayloadError::field("flags"));
        }
        self.check_key_lens()
    }

    /// Keys have at least one byte.
    fn check_key_lens(&self) -> Result<(), PayloadError> {
        if !self.keys.block_prefix(&self.payload).is_empty() {
            return Ok(());
        }
        match (0..self.rows()).find(|&row| self.keys.key_len(&self.payload, self.owner(row)) == 0) {
            Some(item) => Err(PayloadError::Item { field: "key length", item }),
            None => Ok(()),
        }
    }
}

/// The fixed header, checked as far as it can be alone.
struct Header {
    shape: KeyShape,
    kind: Option<Kind>,
    seqno_width: Width,
    seqno_base: u64,
    value_end_width: Option<Width>,
    value_heap_len: usize,
    value_width: usize,
    has_tags: bool,
    has_runs: bool,
}

impl Header {
    fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(payload);
        let flags = reader.u8()?;
        let unknown = flags & (flag::ROW_DIGESTS | flag::EXPIRY | flag::VALUE_DIGESTS);
        if unknown != 0 {
            return Err(PayloadError::Unsupported { part: "data block flag", found: u64::from(unknown) });
        }
        let shift = reader.u8()?;
        let rows = usize::from(reader.u16()?);
        let prefix_len = usize::from(reader.u16()?);
        let widths = reader.u8()?;
        let digest = reader.u8()?;
        let seqno_base = reader.u64()?;
        let heap_len = reader.u32()? as usize;
        let value_heap_len = reader.u32()? as usize;
        let value_width = reader.u32()? as usize;
        let [kind, reserved @ ..] = reader.array::<4>()?;
        if digest != 0 || reserved != [0; 3] || widths & 0x80 != 0 {
            return Err(PayloadError::Unsupported { part: "data block field", found: u64::from(digest) });
        }
        let seqno_width = Width::from_code(widths & 7).ok_or(Malformed::new("seqno width"))?;
        let end_width = Width::from_code((widths >> 3 & 3) + 1).ok_or(Malformed::new("key end width"))?;
        let value_end_width =
            Width::from_code((widths >> 5 & 3) + 1).ok_or(Malformed::new("value end width"))?;
        let fixed = flags & flag::FIXED_VALUES != 0;
        let constant_kind = flags & flag::CONSTANT_KIND != 0;
        // Two ways to say one thing would be two encodings of one content.
        if (flags & flag::CONSTANT_SEQNO != 0) != (seqno_width == Width::Zero)
            || (!fixed && (value_width != 0 || value_end_width == Width::Eight))
            || (fixed && value_end_width != Width::One)
            || (!constant_kind && kind != 0)
            || (constant_kind && flags & flag::RUNS != 0)
            || rows == 0
        {
            return Err(PayloadError::field("flags"));
        }
        let kind = if constant_kind {
            Some(Kind::from_tag(kind).ok_or(PayloadError::Item { field: "kind", item: 0 })?)
        } else {
            None
        };
        Ok(Self {
            shape: KeyShape { rows, shift, prefix_len, end_width, heap_len },
            kind,
            seqno_width,
            seqno_base,
            value_end_width: (!fixed).then_some(value_end_width),
            value_heap_len,
            value_width,
            has_tags: flags & flag::TAGS != 0,
            has_runs: flags & flag::RUNS != 0,
        })
    }
}
