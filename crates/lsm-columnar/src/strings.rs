//! Byte strings of any length, each reached in a few steps: packed lengths, an anchor every 16 rows, a heap.
//!
//! ```text
//! heap length u32 | anchors: packed, start of every 16th string | lengths: packed | heap
//! ```

use alloc::vec::Vec;

use crate::{
    Result,
    cursor::Cursor,
    packed::{self, BLOCK, Packed},
};

/// Rows that share an anchor.
pub(crate) const ANCHOR_ROWS: usize = 16;

/// Positions of strings in a payload. Holds no bytes; every access names the payload again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strings {
    anchors: Packed,
    lens: Packed,
    heap: usize,
    heap_len: usize,
}

impl Strings {
    /// Takes `count` strings and checks them once: lengths fill the heap, anchors agree with lengths.
    pub(crate) fn read(cursor: &mut Cursor<'_>, payload: &[u8], count: usize) -> Result<Self> {
        let heap_len = cursor.u32("heap length")?;
        let anchors = Packed::read(cursor, count.div_ceil(ANCHOR_ROWS), "anchors")?;
        let lens = Packed::read(cursor, count, "lengths")?;
        let heap = cursor.skip(heap_len as usize, "heap")?;
        if !lens.is_at_most(payload, heap_len.into()) {
            return Err(cursor.malformed("lengths"));
        }
        // At most 2^16 lengths of at most 2^32: the sum cannot wrap.
        let (mut end, mut block) = (0_u64, [0; BLOCK]);
        for first in (0..count).step_by(BLOCK) {
            let Some(lens_of) = block.get_mut(..BLOCK.min(count - first)) else { continue };
            lens.unpack(payload, first, lens_of);
            for (idx, lens) in lens_of.chunks(ANCHOR_ROWS).enumerate() {
                if anchors.at(payload, first / ANCHOR_ROWS + idx) != end {
                    return Err(cursor.malformed("anchors"));
                }
                end += lens.iter().sum::<u64>();
            }
        }
        if end != u64::from(heap_len) {
            return Err(cursor.malformed("heap length"));
        }
        Ok(Self { anchors, lens, heap, heap_len: heap_len as usize })
    }

    /// Number of strings.
    pub(crate) const fn count(&self) -> usize {
        self.lens.count
    }

    /// Whether every string has `len` bytes.
    pub(crate) const fn all_have(&self, len: usize) -> bool {
        self.lens.bits == 0 && self.lens.base == len as u64
    }

    /// The strings, one after another.
    pub(crate) fn heap<'p>(&self, payload: &'p [u8]) -> &'p [u8] {
        payload.get(self.heap..self.heap + self.heap_len).unwrap_or_default()
    }

    /// String `row`; one that is not there, which only a bug can ask for, is empty.
    #[inline]
    pub(crate) fn at<'p>(&self, payload: &'p [u8], row: usize) -> &'p [u8] {
        let (start, len) = self.place(payload, row);
        payload.get(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// Where string `row` starts in the payload, and its length.
    #[inline]
    pub(crate) fn place(&self, payload: &[u8], row: usize) -> (usize, usize) {
        let first = row / ANCHOR_ROWS * ANCHOR_ROWS;
        let mut start = self.anchors.at(payload, row / ANCHOR_ROWS);
        if self.lens.bits == 0 {
            start = start.wrapping_add(self.lens.base.wrapping_mul((row - first) as u64));
        } else {
            for before in first..row {
                start = start.wrapping_add(self.lens.at(payload, before));
            }
        }
        let start = usize::try_from(start).unwrap_or(usize::MAX).saturating_add(self.heap);
        (start, usize::try_from(self.lens.at(payload, row)).unwrap_or(usize::MAX))
    }

    /// The same for the strings from `first`, a multiple of [`BLOCK`], on until `out` is full; they have to be there.
    pub(crate) fn places(&self, payload: &[u8], first: usize, out: &mut [(usize, usize)]) {
        let (mut start, _) = self.place(payload, first);
        let mut lens = [0; BLOCK];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let Some(lens) = lens.get_mut(..out.len()) else { continue };
            self.lens.unpack(payload, first + block * BLOCK, lens);
            for (place, len) in out.iter_mut().zip(lens) {
                let len = usize::try_from(*len).unwrap_or(usize::MAX);
                *place = (start, len);
                start = start.saturating_add(len);
            }
        }
    }

    /// Lengths of the strings from `first`, a multiple of eight, on.
    pub(crate) fn lens(&self, payload: &[u8], first: usize, out: &mut [u64]) {
        self.lens.unpack(payload, first, out);
    }
}

/// Bytes that `count` strings of `heap_len` bytes in all take, whose lengths run over `len_span`.
pub(crate) fn stored_len(count: usize, heap_len: usize, len_span: u64, last_anchor: u64) -> usize {
    4 + packed::stored_len(count.div_ceil(ANCHOR_ROWS), last_anchor)
        + packed::stored_len(count, len_span)
        + heap_len
}

/// Appends strings; `heap_len` is the sum of their lengths and fits `u32`.
pub(crate) fn write<'v>(strings: impl Iterator<Item = &'v [u8]> + Clone, heap_len: usize, out: &mut Vec<u8>) {
    debug_assert!(u32::try_from(heap_len).is_ok(), "a page is far smaller than 4 GiB");
    out.extend_from_slice(&u32::try_from(heap_len).unwrap_or(u32::MAX).to_le_bytes());
    let ends =
        strings.clone().scan(0_u64, |end, string| Some(core::mem::replace(end, *end + string.len() as u64)));
    let anchors = ends.step_by(ANCHOR_ROWS);
    packed::write(anchors.clone(), 0, anchors.last().unwrap_or(0), out);
    let lens = strings.clone().map(|string| string.len() as u64);
    let min = lens.clone().min().unwrap_or(0);
    let max = lens.clone().max().unwrap_or(0);
    packed::write(lens, min, max - min, out);
    for string in strings {
        out.extend_from_slice(string);
    }
}
