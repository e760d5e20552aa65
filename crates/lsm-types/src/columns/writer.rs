//! Collects keys and lays them out in bundles.

use alloc::vec::Vec;

use super::{KeyShape, Width, keys::BUNDLE_ENTRY_LEN};

/// Collects keys; knows at any time exactly how many bytes they will take.
#[derive(Debug)]
pub struct KeysWriter {
    shift: u8,
    /// Whole keys, one after another; a repeated key appears once.
    keys: Vec<u8>,
    /// Per row: end of its key in `keys`; equal to the one before for a repeated key.
    ends: Vec<u32>,
    /// Per closed bundle: length of what its keys share.
    shared: Vec<u16>,
    /// Length of what all keys share.
    prefix_len: usize,
    /// What the keys of the open bundle share, and where its first key starts.
    open_shared: usize,
    open_start: usize,
    open_keys: usize,
    /// Bytes of suffixes and bundle prefixes of closed bundles, were there no block prefix.
    closed_heap: usize,
    /// Longest run of suffixes of a closed bundle.
    closed_end_max: usize,
}

impl KeysWriter {
    /// A writer of bundles of `1 << shift` rows.
    pub const fn new(shift: u8) -> Self {
        Self {
            shift,
            keys: Vec::new(),
            ends: Vec::new(),
            shared: Vec::new(),
            prefix_len: 0,
            open_shared: 0,
            open_start: 0,
            open_keys: 0,
            closed_heap: 0,
            closed_end_max: 0,
        }
    }

    /// Number of keys.
    pub const fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Whether the next key will be the first of a bundle.
    pub const fn at_bundle_head(&self) -> bool {
        self.ends.len() & ((1 << self.shift) - 1) == 0
    }

    /// The key pushed last.
    pub fn last(&self) -> &[u8] {
        let end = self.ends.last().map_or(0, |&end| end as usize);
        // Repeated keys have equal ends; the key starts at the last end below.
        let start =
            self.ends.iter().rev().find(|&&other| other as usize != end).map_or(0, |&end| end as usize);
        self.keys.get(start..end).unwrap_or_default()
    }

    /// Bytes of whole keys held, as a measure of memory.
    pub const fn key_bytes(&self) -> usize {
        self.keys.len()
    }

    /// Adds a key.
    #[expect(clippy::cast_possible_truncation, reason = "a payload stays far below 4 GiB: its owner cuts it")]
    pub fn push(&mut self, key: &[u8]) {
        if self.at_bundle_head() {
            self.close_bundle();
            self.open_start = self.keys.len();
            self.open_shared = key.len();
            self.open_keys = 0;
        } else {
            let first = self.keys.get(self.open_start..).unwrap_or_default();
            self.open_shared = shared_len(first, key, self.open_shared);
        }
        self.prefix_len =
            if self.ends.is_empty() { key.len() } else { shared_len(&self.keys, key, self.prefix_len) };
        self.open_keys += 1;
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len() as u32);
    }

    /// Adds a row with the key of the row before; never first in a bundle.
    pub fn repeat(&mut self) {
        debug_assert!(!self.at_bundle_head(), "a bundle starts with a key of its own");
        self.ends.push(self.ends.last().copied().unwrap_or_default());
    }

    fn close_bundle(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let (heap, end_max) = self.open_sizes();
        self.closed_heap += heap;
        self.closed_end_max = self.closed_end_max.max(end_max);
        self.shared.push(u16::try_from(self.open_shared).unwrap_or(u16::MAX));
    }

    /// Heap bytes of the open bundle, were there no block prefix, and its last key end.
    fn open_sizes(&self) -> (usize, usize) {
        let suffixes = self.keys.len() - self.open_start - self.open_keys * self.open_shared;
        (suffixes + self.open_shared, suffixes)
    }

    /// The sizes for the payload's header.
    pub fn shape(&self) -> KeyShape {
        let rows = self.ends.len();
        let bundles = rows.div_ceil(1 << self.shift);
        let (heap, end_max) = if rows == 0 { (0, 0) } else { self.open_sizes() };
        let end_width = Width::of(self.closed_end_max.max(end_max) as u64).max(Width::One);
        KeyShape {
            rows,
            shift: self.shift,
            prefix_len: self.prefix_len,
            end_width,
            heap_len: self.closed_heap + heap - bundles * self.prefix_len,
        }
    }

    /// Bytes that prefix, table, ends and heap will take together.
    pub fn encoded_len(&self) -> usize {
        let shape = self.shape();
        let bundles = shape.rows.div_ceil(1 << self.shift);
        shape.prefix_len + bundles * BUNDLE_ENTRY_LEN + shape.rows * shape.end_width.bytes() + shape.heap_len
    }

    /// Appends block prefix, bundle table and key ends.
    pub fn write_columns(&self, out: &mut Vec<u8>) {
        let shape = self.shape();
        out.extend_from_slice(self.keys.get(..shape.prefix_len).unwrap_or_default());
        let mut heap_at = 0_u32;
        self.for_bundles(|keys_start, shared, ends| {
            let stem_len = shared - shape.prefix_len;
            out.extend_from_slice(&heap_at.to_le_bytes());
            out.extend_from_slice(&u16::try_from(stem_len).unwrap_or(u16::MAX).to_le_bytes());
            let last = ends.last().map_or(keys_start, |&end| end as usize);
            let suffixes = last - keys_start - distinct(ends, keys_start).count() * shared;
            heap_at += u32::try_from(stem_len + suffixes).unwrap_or(u32::MAX);
        });
        self.for_bundles(|keys_start, shared, ends| {
            let (mut last, mut end) = (keys_start, 0);
            for &key_end in ends {
                if key_end as usize != last {
                    end += key_end as usize - last - shared;
                    last = key_end as usize;
                }
                shape.end_width.put(end as u64, out);
            }
        });
    }

    /// Appends the key heap.
    pub fn write_heap(&self, out: &mut Vec<u8>) {
        let prefix_len = self.prefix_len;
        self.for_bundles(|keys_start, shared, ends| {
            out.extend_from_slice(
                self.keys.get(keys_start + prefix_len..keys_start + shared).unwrap_or_default(),
            );
            let mut start = keys_start;
            for end in distinct(ends, keys_start) {
                out.extend_from_slice(self.keys.get(start + shared..end).unwrap_or_default());
                start = end;
            }
        });
    }

    /// Forgets all keys, keeps the memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
        self.shared.clear();
        self.prefix_len = 0;
        self.open_shared = 0;
        self.open_start = 0;
        self.open_keys = 0;
        self.closed_heap = 0;
        self.closed_end_max = 0;
    }

    /// Calls `visit` with each bundle's start in `keys`, the length its keys share, and its ends.
    fn for_bundles(&self, mut visit: impl FnMut(usize, usize, &[u32])) {
        let mut start = 0;
        for (idx, ends) in self.ends.chunks(1 << self.shift).enumerate() {
            let shared = self.shared.get(idx).map_or(self.open_shared, |&len| usize::from(len));
            visit(start, shared, ends);
            start = ends.last().map_or(start, |&end| end as usize);
        }
    }
}

/// The ends of keys that are there once, without their repetitions.
fn distinct(ends: &[u32], start: usize) -> impl Iterator<Item = usize> + '_ {
    let mut last = start;
    ends.iter().map(|&end| end as usize).filter(move |&end| core::mem::replace(&mut last, end) != end)
}

/// Length of the common start of `a` and `b`, at most `limit`.
fn shared_len(a: &[u8], b: &[u8], limit: usize) -> usize {
    let limit = limit.min(a.len()).min(b.len());
    let (Some(a), Some(b)) = (a.get(..limit), b.get(..limit)) else { return 0 };
    if a == b {
        return limit; // the rule once a prefix has settled: one vector compare
    }
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}
