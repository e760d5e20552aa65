//! Where everything lies in the bytes of a layered structure, checked once: what it says is inside of the bytes.

use core::cmp::Ordering;

use crate::band::threshold_bytes;
use crate::hash::{BLOCK, layer_seed};
use crate::header::{Header, LAYERS_MAX};
use crate::{FilterError, Structure};

/// One layer as a probe uses it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Layer {
    /// Places where an equation may start.
    pub(crate) starts: u64,
    pub(crate) seed: u64,
    /// First byte of the solution.
    pub(crate) solution: usize,
    /// First byte of the thresholds.
    pub(crate) thresholds: usize,
    /// Blocks that hold one word more, the first ones.
    pub(crate) wide_blocks: usize,
}

/// A layered structure.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// Words of a block.
    pub(crate) whole: usize,
    pub(crate) layers: [Layer; LAYERS_MAX],
    pub(crate) layer_count: usize,
    /// First byte of the stash.
    pub(crate) stash: usize,
    pub(crate) stash_count: usize,
}

/// The hash that a stash entry begins with.
fn stashed_hash(entry: &[u8]) -> u64 {
    entry.first_chunk().map_or(0, |hash| u64::from_le_bytes(*hash))
}

/// Bytes of a stash entry: the hash, and in a retrieval table the number that belongs to it.
pub(crate) fn stash_entry_len(structure: Structure) -> usize {
    if structure == Structure::Retrieval { 16 } else { 8 }
}

impl Geometry {
    /// Places all parts, and compares their lengths with those of `bytes`.
    pub(crate) fn new(header: &Header, bytes: &[u8]) -> Result<Self, FilterError> {
        let malformed = |field, value: u64| FilterError::Malformed { field, value };
        let whole = usize::from(header.bits.whole());
        let mut layers = [Layer::default(); LAYERS_MAX];
        // Sums of a few products of 32-bit numbers and small ones stay far below 2^64.
        let mut end = Header::len(header.structure, header.layer_count) as u64;
        for (number, (layer, entry)) in layers.iter_mut().zip(header.layers()).enumerate() {
            let (block, band, slots) = (BLOCK as u64, header.band.slots() as u64, u64::from(entry.slots));
            if slots < band || slots % block != 0 {
                return Err(malformed("slots", slots));
            }
            let wide_blocks = header.bits.wide_blocks(slots / block);
            layer.starts = slots - (band - 1);
            layer.seed = layer_seed(header.seed, number, entry.attempt);
            layer.wide_blocks = to_usize(wide_blocks, "slots")?;
            layer.solution = to_usize(end, "slots")?;
            end += (slots / block * whole as u64 + wide_blocks) * 8;
        }
        for (layer, entry) in layers.iter_mut().zip(header.layers()) {
            let slots = to_usize(entry.slots.into(), "slots")?;
            let buckets = header.band.buckets(slots);
            if entry.threshold_len as usize != threshold_bytes(buckets) {
                return Err(malformed("threshold bytes", entry.threshold_len.into()));
            }
            layer.thresholds = to_usize(end, "threshold bytes")?;
            end += u64::from(entry.threshold_len);
        }
        let stash = to_usize(end, "stash entries")?;
        end += u64::from(header.stash) * stash_entry_len(header.structure) as u64;
        let have = bytes.len() as u64;
        if have < end {
            return Err(FilterError::Truncated { need: end, have });
        }
        if have > end {
            return Err(malformed("length", have));
        }
        let stash_count = header.stash as usize;
        let entries = bytes.get(stash..).unwrap_or_default().chunks_exact(stash_entry_len(header.structure));
        if !entries.map(stashed_hash).is_sorted_by(|a, b| a < b) {
            return Err(malformed("stash entries", header.stash.into()));
        }
        Ok(Self { whole, layers, layer_count: header.layer_count, stash, stash_count })
    }

    /// The stash entry of a hash, if it has one.
    pub(crate) fn stashed<'a>(&self, bytes: &'a [u8], structure: Structure, hash: u64) -> Option<&'a [u8]> {
        let len = stash_entry_len(structure);
        let entry = |at: usize| bytes.get(self.stash + at * len..)?.get(..len);
        let (mut low, mut high) = (0, self.stash_count);
        while low < high {
            let middle = low.midpoint(high);
            match stashed_hash(entry(middle)?).cmp(&hash) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return entry(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    #[inline]
    pub(crate) fn layers(&self) -> &[Layer] {
        self.layers.get(..self.layer_count).unwrap_or_default()
    }
}

impl Layer {
    /// First byte of a block.
    #[inline]
    pub(crate) fn block_at(&self, whole: usize, block: usize) -> usize {
        self.solution + (block * whole + block.min(self.wide_blocks)) * 8
    }

    /// Columns that an equation has whose last slot lies in `last_block`.
    #[inline]
    pub(crate) fn columns(&self, whole: usize, last_block: usize) -> usize {
        whole + usize::from(last_block < self.wide_blocks)
    }
}

fn to_usize(value: u64, field: &'static str) -> Result<usize, FilterError> {
    usize::try_from(value).map_err(|_| FilterError::Malformed { field, value })
}
