//! Keys in bundles: what all keys share is stored once, what a bundle shares once per bundle.
//!
//! ```text
//! key of row i = block prefix | prefix of bundle i >> shift | suffix i
//!
//! bundle table   per bundle: start in the key heap u32, length of the bundle prefix u16
//! key ends       per row: end of the suffix, counted from the end of its bundle's prefix
//! key heap       per bundle: its prefix, then its suffixes in row order
//! ```

use alloc::vec::Vec;
use core::ops::Range;

use super::{Column, Layout, Malformed, Width, load, search::same};
use crate::{MAX_KEY_LEN, head_of};

/// Bytes of the bundle table per bundle.
pub(super) const BUNDLE_ENTRY_LEN: usize = 6;
/// Largest bundle shift: 128 rows.
const SHIFT_MAX: u8 = 7;
/// Keys are copied in pieces of this size where the payload has room for it.
const COPY_LEN: usize = 16;

/// Sizes of bundled keys, as a payload's header has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyShape {
    /// Number of keys.
    pub rows: usize,
    /// Rows per bundle, as a power of two.
    pub shift: u8,
    /// Length of the prefix of all keys.
    pub prefix_len: usize,
    /// Bytes per key end: one, two or four.
    pub end_width: Width,
    /// Length of the key heap.
    pub heap_len: usize,
}

/// Positions of bundled keys in a payload. Holds no bytes; every access names the payload again.
#[derive(Clone, Copy, Debug)]
pub struct BundledKeys {
    pub(super) shape: KeyShape,
    prefix: usize,
    table: usize,
    ends: Column,
    heap: usize,
}

/// One bundle's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle {
    /// Where its prefix starts in the payload.
    pub(super) start: usize,
    /// Where its prefix ends and its suffixes start.
    pub(super) suffixes: usize,
}

impl BundledKeys {
    /// Takes block prefix, bundle table and key ends from `layout`. The heap comes later:
    /// [`BundledKeys::place_heap`].
    pub fn place(shape: KeyShape, layout: &mut Layout) -> Result<Self, Malformed> {
        if shape.shift > SHIFT_MAX {
            return Err(Malformed::new("bundle shift"));
        }
        if !matches!(shape.end_width, Width::One | Width::Two | Width::Four) {
            return Err(Malformed::new("key end width"));
        }
        let prefix = layout.take(shape.prefix_len, 1, "block prefix")?;
        let table = layout.take(bundle_count(shape), BUNDLE_ENTRY_LEN, "bundle table")?;
        let ends = layout.column(shape.rows, shape.end_width, 0, "key ends")?;
        Ok(Self { shape, prefix, table, ends, heap: prefix })
    }

    /// Takes the key heap from `layout`.
    pub fn place_heap(&mut self, layout: &mut Layout) -> Result<(), Malformed> {
        self.heap = layout.take(self.shape.heap_len, 1, "key heap")?;
        Ok(())
    }

    /// Checks once what every access relies on: bundles tile the heap, ends ascend, no key is over-long.
    pub fn check(&self, payload: &[u8]) -> Result<(), Malformed> {
        let mut expected = self.heap;
        for bundle_idx in 0..self.bundles() {
            let bundle = self.bundle(payload, bundle_idx);
            if bundle.start != expected {
                return Err(Malformed::new("bundle start"));
            }
            let stem_len = self.shape.prefix_len.saturating_add(bundle.suffixes.saturating_sub(bundle.start));
            // The last end, the longest suffix, and whether no end was below the one before.
            let (last, longest, ascends) = self.ends.fold(
                payload,
                self.rows_of(bundle_idx),
                (0_u64, 0_u64, true),
                |(last, longest, ok), end| (end, longest.max(end.wrapping_sub(last)), ok && end >= last),
            );
            if !ascends {
                return Err(Malformed::new("key ends"));
            }
            if longest.saturating_add(stem_len as u64) > MAX_KEY_LEN as u64 {
                return Err(Malformed::new("key length"));
            }
            let last = usize::try_from(last).unwrap_or(usize::MAX);
            expected = bundle.suffixes.saturating_add(last);
        }
        if expected == self.heap + self.shape.heap_len {
            Ok(())
        } else {
            Err(Malformed::new("key heap length"))
        }
    }

    /// Number of keys.
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Number of bundles.
    pub const fn bundles(&self) -> usize {
        bundle_count(self.shape)
    }

    /// The bundle that row `row` lies in.
    #[inline]
    pub const fn bundle_of(&self, row: usize) -> usize {
        row >> self.shape.shift
    }

    /// The rows of bundle `bundle_idx`.
    #[inline]
    pub fn rows_of(&self, bundle_idx: usize) -> Range<usize> {
        let first = bundle_idx << self.shape.shift;
        first..((bundle_idx + 1) << self.shape.shift).min(self.shape.rows)
    }

    /// Whether `row` is the first of its bundle.
    #[inline]
    pub const fn is_bundle_head(&self, row: usize) -> bool {
        row & ((1 << self.shape.shift) - 1) == 0
    }

    /// What all keys start with.
    #[inline]
    pub fn block_prefix<'p>(&self, payload: &'p [u8]) -> &'p [u8] {
        payload.get(self.prefix..self.prefix + self.shape.prefix_len).unwrap_or_default()
    }

    /// What the keys of the bundle of `row` have in common after the block prefix.
    #[inline]
    pub fn bundle_prefix<'p>(&self, payload: &'p [u8], row: usize) -> &'p [u8] {
        let bundle = self.bundle(payload, self.bundle_of(row));
        payload.get(bundle.start..bundle.suffixes).unwrap_or_default()
    }

    /// The rest of the key of `row`.
    #[inline]
    pub fn suffix<'p>(&self, payload: &'p [u8], row: usize) -> &'p [u8] {
        let (start, end) = self.suffix_extent(payload, self.bundle(payload, self.bundle_of(row)), row);
        payload.get(start..end).unwrap_or_default()
    }

    /// Length of the key of `row`.
    pub fn key_len(&self, payload: &[u8], row: usize) -> usize {
        let bundle = self.bundle(payload, self.bundle_of(row));
        let (start, end) = self.suffix_extent(payload, bundle, row);
        self.shape.prefix_len + (bundle.suffixes - bundle.start) + (end - start)
    }

    /// Whether the key of `row` is `key`; assembles nothing.
    #[inline]
    pub fn key_is(&self, payload: &[u8], row: usize, key: &[u8]) -> bool {
        let bundle = self.bundle(payload, self.bundle_of(row));
        let (start, end) = self.suffix_extent(payload, bundle, row);
        let stem_len = bundle.suffixes - bundle.start;
        let Some((prefix, rest)) = key.split_at_checked(self.shape.prefix_len) else { return false };
        let Some((stem, suffix)) = rest.split_at_checked(stem_len) else { return false };
        // Suffixes differ most often.
        same(payload.get(start..end).unwrap_or_default(), suffix)
            && same(payload.get(bundle.start..bundle.suffixes).unwrap_or_default(), stem)
            && same(self.block_prefix(payload), prefix)
    }

    /// The key of `row`, assembled in `out`.
    #[inline]
    pub fn key(&self, payload: &[u8], row: usize, out: &mut KeyBuf) {
        if !out.rows.contains(&row) {
            self.enter_bundle(payload, row, out);
        }
        let start = if row == out.rows.start { 0 } else { self.end(payload, row - 1) };
        out.set_suffix(payload, out.suffixes + start, out.suffixes + self.end(payload, row));
    }

    #[inline(never)]
    fn enter_bundle(&self, payload: &[u8], row: usize, out: &mut KeyBuf) {
        let bundle_idx = self.bundle_of(row);
        let bundle = self.bundle(payload, bundle_idx);
        let stem = payload.get(bundle.start..bundle.suffixes).unwrap_or_default();
        out.set_stem(self.block_prefix(payload), stem);
        out.rows = self.rows_of(bundle_idx);
        out.suffixes = bundle.suffixes;
    }

    /// First eight bytes, after the block prefix, of the key of `row`.
    pub fn head(&self, payload: &[u8], row: usize) -> u64 {
        let stem = self.bundle_prefix(payload, row);
        let suffix = self.suffix(payload, row);
        let mut head = [0_u8; 8];
        for (to, from) in head.iter_mut().zip(stem.iter().chain(suffix)) {
            *to = *from;
        }
        u64::from_be_bytes(head)
    }

    /// Heads of the first row of every bundle, for [`BundledKeys::lower_bound`].
    pub fn bundle_heads(&self, payload: &[u8]) -> Vec<u64> {
        (0..self.bundles()).map(|idx| self.head(payload, idx << self.shape.shift)).collect()
    }

    /// Bundle `bundle_idx`. Sums wrap rather than panic: [`BundledKeys::check`] is the first to call this.
    #[inline]
    pub(super) fn bundle(&self, payload: &[u8], bundle_idx: usize) -> Bundle {
        let at = self.table + bundle_idx * BUNDLE_ENTRY_LEN;
        let [s0, s1, s2, s3, l0, l1] = load::<BUNDLE_ENTRY_LEN>(payload, at);
        let start = self.heap.wrapping_add(u32::from_le_bytes([s0, s1, s2, s3]) as usize);
        Bundle { start, suffixes: start.wrapping_add(usize::from(u16::from_le_bytes([l0, l1]))) }
    }

    /// Where the suffix of `row` starts and ends in the payload.
    #[inline]
    pub(super) fn suffix_extent(&self, payload: &[u8], bundle: Bundle, row: usize) -> (usize, usize) {
        let start = if self.is_bundle_head(row) { 0 } else { self.end(payload, row - 1) };
        (bundle.suffixes + start, bundle.suffixes + self.end(payload, row))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "key ends take at most four bytes")]
    fn end(&self, payload: &[u8], row: usize) -> usize {
        self.ends.at(payload, row) as usize
    }
}

const fn bundle_count(shape: KeyShape) -> usize {
    shape.rows.div_ceil(1 << shape.shift)
}

/// A key under assembly, reused from row to row: the shared part stays while rows of one bundle pass by.
#[derive(Debug, Default)]
pub struct KeyBuf {
    /// The key, then spare bytes so that suffixes can be copied in whole pieces.
    bytes: Vec<u8>,
    len: usize,
    stem_len: usize,
    /// Rows of the bundle whose stem is in `bytes`, and where in the payload its suffixes start.
    rows: Range<usize>,
    suffixes: usize,
}

impl KeyBuf {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), len: 0, stem_len: 0, rows: 0..0, suffixes: 0 }
    }

    /// The key.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Forgets the shared part; to be called before keys of another payload come.
    pub fn reset(&mut self) {
        self.rows = 0..0;
        self.len = 0;
    }

    fn set_stem(&mut self, prefix: &[u8], stem: &[u8]) {
        self.stem_len = prefix.len() + stem.len();
        self.bytes.truncate(0);
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(stem);
        self.bytes.resize(self.stem_len + COPY_LEN, 0);
    }

    #[inline]
    fn set_suffix(&mut self, payload: &[u8], start: usize, end: usize) {
        let len = end.saturating_sub(start);
        self.len = self.stem_len + len;
        // Short suffixes are the rule; a copy of constant length costs no call.
        if len <= COPY_LEN
            && let Some(source) = payload.get(start..).and_then(|rest| rest.first_chunk::<COPY_LEN>())
            && let Some(target) = self.bytes.get_mut(self.stem_len..)
            && let Some(target) = target.first_chunk_mut::<COPY_LEN>()
        {
            *target = *source;
            return;
        }
        self.bytes.truncate(self.stem_len);
        self.bytes.extend_from_slice(payload.get(start..end).unwrap_or_default());
        self.bytes.resize(self.bytes.len().max(self.stem_len + COPY_LEN), 0);
    }
}

/// [`head_of`] of the bytes `start..end` of `payload`, without a branch on their length where eight bytes are there.
#[inline]
pub(super) fn head_at(payload: &[u8], start: usize, end: usize) -> u64 {
    let len = end.saturating_sub(start);
    match payload.get(start..start.wrapping_add(8)) {
        Some(bytes) => {
            let keep = if len < 8 { !(u64::MAX >> (8 * len)) } else { u64::MAX };
            u64::from_be_bytes(load(bytes, 0)) & keep
        }
        None => head_of(payload.get(start..end).unwrap_or_default()),
    }
}
