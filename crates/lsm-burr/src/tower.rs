//! The layers of one structure, each made of what the one before did not take, and how large each is.

use alloc::vec::Vec;

use crate::band::{Band, threshold_bytes};
use crate::geometry::stash_entry_len;
use crate::hash::{BAND, layer_seed};
use crate::header::{Header, LAYERS_MAX, LayerEntry};
use crate::place::{Item, Plan};
use crate::{Bits, HashId, Stats, Structure};

/// Layers we write at most: with them head and table still take one cache line.
const LAYERS: usize = 4;
/// Keys that a layer is offered for each 1000 slots it has. More leave fewer slots empty and more keys to the layers
/// after it; `docs/adr/0005-what-a-filter-weighs.md` has the figures.
const KEYS_PER_1000_SLOTS: usize = 1050;
/// A layer of no more keys than this takes all of them, in one slot in 64 more than there are keys. That succeeds for
/// about every third seed at worst, and the layers after it need not exist.
const WHOLE_LAYER_KEYS: usize = 1024;
/// Seeds tried for a layer that shall take all keys.
const ATTEMPTS: u8 = 16;
/// Seeds tried for a layer between the first and a whole one.
const MIDDLE_ATTEMPTS: u8 = 4;
/// Slots that such a layer leaves empty if it does well; twice as many are usual.
const EMPTY_AT_BEST: usize = 12;
/// Leftovers that are kept as they are whatever the number of keys.
const STASH_SMALL: usize = 24;

/// Memory for building layers; all of it is kept for the next structure.
#[derive(Default)]
pub(crate) struct Tower<I> {
    band: Band,
    /// Leftovers of the last layer, at first in the order of the layer.
    placed: Vec<I>,
    /// What the current layer is offered.
    offered: Vec<I>,
    thresholds: Vec<u8>,
}

/// What a structure shall be.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) structure: Structure,
    pub(crate) bits: Bits,
    pub(crate) hash_id: HashId,
    pub(crate) seed: u64,
}

/// Why a tower was not built. What was appended is to be cut off again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fallen {
    /// Many equations say the same: the keys have to be made distinct first.
    Repeats,
    /// This seed leaves too many keys over.
    Leftovers,
}

impl<I: Item> Tower<I> {
    /// Appends the structure for `items`; `write_stash` gets those no layer took.
    pub(crate) fn build(
        &mut self,
        items: &[I],
        order: Order,
        out: &mut Vec<u8>,
        write_stash: impl FnOnce(&mut [I], &mut Vec<u8>),
    ) -> Result<Stats, Fallen> {
        let begin = out.len();
        let (whole, columns) = (usize::from(order.bits.whole()), order.bits.columns());
        let mut layers = [LayerEntry::default(); LAYERS_MAX];
        let mut layer_count = 0;
        self.thresholds.clear();
        // The larger of the two buffers holds the first layer's keys; layers swap them.
        if self.placed.capacity() < self.offered.capacity() {
            core::mem::swap(&mut self.placed, &mut self.offered);
        }
        out.resize(begin + Header::len(order.structure, LAYERS), 0);

        let stash_limit = STASH_SMALL.max(items.len() / 100);
        let worth_a_layer = columns.min(STASH_SMALL);
        let mut left = items.len();
        for (number, entry) in layers.iter_mut().enumerate().take(LAYERS) {
            if left <= worth_a_layer {
                break;
            }
            if number > 0 {
                core::mem::swap(&mut self.placed, &mut self.offered);
            }
            let offered = if number == 0 { items } else { &self.offered };
            let whole_layer = left <= WHOLE_LAYER_KEYS || number + 1 == LAYERS;
            let blocks = blocks_for(left, whole_layer);
            let first_threshold = self.thresholds.len();
            let slots = blocks * BAND;
            for attempt in 0..ATTEMPTS {
                let plan = Plan { slots, seed: layer_seed(order.seed, number, attempt) };
                self.thresholds.truncate(first_threshold);
                let outcome = self.band.fill(offered, plan, columns, &mut self.placed, &mut self.thresholds);
                if number == 0 && outcome.absorbed > offered.len() / 8 {
                    return Err(Fallen::Repeats);
                }
                entry.attempt = attempt;
                if is_good(number, left, slots, whole_layer, attempt, outcome.bumped) {
                    break;
                }
            }
            left = self.placed.len();
            if number == 0 && left > items.len() / 8 + 2 * BAND {
                return Err(Fallen::Leftovers);
            }
            entry.slots = u32::try_from(slots).unwrap_or(u32::MAX);
            entry.threshold_len = u32::try_from(self.thresholds.len() - first_threshold).unwrap_or(u32::MAX);
            let wide = usize::try_from(order.bits.wide_blocks(blocks as u64)).unwrap_or(blocks);
            self.band.solve(slots, whole, wide, out);
            layer_count = number + 1;
        }
        if left > stash_limit {
            return Err(Fallen::Leftovers);
        }
        out.extend_from_slice(&self.thresholds);
        out.reserve(left * stash_entry_len(order.structure));
        write_stash(self.placed.get_mut(..left).unwrap_or_default(), out);

        let header = Header {
            structure: order.structure,
            bits: order.bits,
            keys: u32::try_from(items.len()).unwrap_or(u32::MAX),
            seed: order.seed,
            hash_id: order.hash_id,
            stash: u32::try_from(left).unwrap_or(u32::MAX),
            layer_count,
            layers,
        };
        let bytes = out.get_mut(begin..).unwrap_or_default();
        header.encode(bytes);
        Ok(Stats::new(&header, bytes.len()))
    }

    /// Bytes of memory held.
    pub(crate) fn memory_len(&self) -> usize {
        let items = self.placed.capacity() + self.offered.capacity();
        self.band.memory_len() + items * size_of::<I>() + self.thresholds.capacity()
    }
}

/// Whether a layer may stay as it was filled. The first layer always may, as it costs most; a whole one has to leave
/// nothing over; one between, to which a second try costs a few percent of the first layer, has to waste so little that
/// the next one is spared a block, if that is near.
fn is_good(number: usize, keys: usize, slots: usize, whole_layer: bool, attempt: u8, bumped: usize) -> bool {
    if whole_layer {
        return bumped == 0;
    }
    let fewest = (keys + EMPTY_AT_BEST).saturating_sub(slots);
    number == 0 || attempt + 1 >= MIDDLE_ATTEMPTS || blocks_for(bumped, true) <= blocks_for(fewest, true)
}

/// Blocks of a layer that `keys` are offered to, all of which it shall take if it is to be `whole`. Otherwise it gets
/// fewer slots than keys, so that hardly any stays empty.
fn blocks_for(keys: usize, whole: bool) -> usize {
    if whole {
        return keys.div_ceil(BAND - 1);
    }
    let per_block = KEYS_PER_1000_SLOTS * BAND;
    (keys * 1000 + per_block / 2) / per_block
}

/// The bytes that so many keys come to, within half a percent and a block.
pub(crate) fn projected_len(keys: usize, bits: Bits) -> usize {
    let blocks = (keys + keys / 1024).div_ceil(BAND) + 1;
    let wide = usize::try_from(bits.wide_blocks(blocks as u64)).unwrap_or(blocks);
    let thresholds = threshold_bytes(blocks.div_ceil(2));
    Header::len(Structure::Membership, LAYERS) + (blocks * usize::from(bits.whole()) + wide) * 8 + thresholds
}
