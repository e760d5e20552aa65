//! The layers of one structure, each made of what the one before did not take, and how large each is.

use alloc::vec::Vec;

use crate::band::{Band, Eliminate, threshold_bytes};
use crate::hash::{BLOCK, layer_seed};
use crate::header::{Header, LAYERS_MAX, LayerEntry};
use crate::place::{Item, Plan};
use crate::width::Coefficients;
use crate::{BandWidth, Bits, HashId, Stats, Structure};

/// Layers we write at most: with them head and table still take one cache line.
pub(crate) const LAYERS: usize = 4;
/// Keys that a layer is offered for each 1000 slots it has. More leave fewer slots empty and more keys to the layers
/// after it; `docs/adr/0005-what-a-filter-weighs.md` has the figures.
const KEYS_PER_1000_SLOTS: usize = 1050;
/// Seeds tried for a layer that shall take all keys.
const ATTEMPTS: u8 = 16;
/// Seeds tried for a layer between the first and a whole one.
const MIDDLE_ATTEMPTS: u8 = 4;
/// Slots that such a layer leaves empty if it does well; twice as many are usual.
const EMPTY_AT_BEST: usize = 12;
/// What a filter may weigh over its bits and 64 bytes, per key in 1/65536 of a bit: 0.04 bits from 32 Ki keys on; the
/// least for fewer keys is 0.05. `docs/adr/0005-what-a-filter-weighs.md` has all bounds.
const OVER_LARGE: u64 = 2621;
const OVER_SMALL: u64 = 3277;
/// Slots that all layers of a filter leave empty at least, for most seeds, beside one in 1024.
const EMPTY_USUALLY: u64 = 16;
/// Leftovers that are kept as they are whatever the number of keys.
const STASH_SMALL: usize = 24;

/// Memory for building layers; all of it is kept for the next structure.
#[derive(Default)]
pub(crate) struct Tower<I, C> {
    band: Band<C>,
    /// What a layer is offered, but for the first one, and after it the same in the order of the layer.
    buffer: Vec<I>,
    thresholds: Vec<u8>,
}

/// What a structure shall be.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) structure: Structure,
    pub(crate) bits: Bits,
    pub(crate) hash_id: HashId,
    pub(crate) seed: u64,
    /// Layers at most; [`LAYERS`] but in tests.
    pub(crate) layers: usize,
}

/// Why a tower was not built. What was appended is to be cut off again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fallen {
    /// Many equations say the same: the keys have to be made distinct first.
    Repeats,
    /// This seed leaves too many keys over.
    Leftovers,
}

impl<I: Item, C: Eliminate> Tower<I, C> {
    /// Appends the structure for `items`; `write_stash` gets those no layer took, and says how many entries it wrote.
    pub(crate) fn build(
        &mut self,
        items: &[I],
        order: Order,
        out: &mut Vec<u8>,
        write_stash: impl FnOnce(&mut [I], &mut Vec<u8>) -> usize,
    ) -> Result<Stats, Fallen> {
        let begin = out.len();
        let (whole, columns) = (usize::from(order.bits.whole()), order.bits.columns());
        let mut layers = [LayerEntry::default(); LAYERS_MAX];
        let mut layer_count = 0;
        self.thresholds.clear();
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.reserve_exact(items.len());
        buffer.extend_from_slice(items);
        out.resize(begin + Header::len(order.structure, LAYERS), 0);

        let stash_limit = STASH_SMALL.max(items.len() / 100);
        let worth_a_layer = columns.min(STASH_SMALL);
        let mut left = items.len();
        for (number, entry) in layers.iter_mut().enumerate().take(order.layers) {
            if left <= worth_a_layer {
                break;
            }
            // The leftovers of a layer are few, so they and their order fit into the buffer.
            if buffer.len() < 2 * left && number > 0 {
                buffer.resize(2 * left, I::default());
            }
            let (offered, placed) = buffer.split_at_mut(if number == 0 { 0 } else { left });
            let placed = placed.get_mut(..left).unwrap_or_default();
            let offered = if number == 0 { items } else { &*offered };
            let whole_layer = left <= C::WHOLE_LAYER_KEYS || number + 1 == order.layers;
            let blocks = blocks_for::<C>(left, whole_layer);
            let first_threshold = self.thresholds.len();
            let slots = blocks * BLOCK;
            let mut bumped = left;
            for attempt in 0..ATTEMPTS {
                let plan = Plan { slots, seed: layer_seed(order.seed, number, attempt) };
                self.thresholds.truncate(first_threshold);
                let outcome = self.band.fill(offered, plan, columns, placed, &mut self.thresholds);
                bumped = outcome.bumped;
                if number == 0 && outcome.absorbed > offered.len() / 8 {
                    return Err(Fallen::Repeats);
                }
                entry.attempt = attempt;
                if is_good::<C>(number, left, slots, whole_layer, attempt, bumped) {
                    break;
                }
            }
            let leftovers = if number == 0 { 0..bumped } else { left..left + bumped };
            buffer.copy_within(leftovers, 0);
            left = bumped;
            if number == 0 && left > items.len() / 8 + 2 * C::BAND {
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
        let leftovers = buffer.get_mut(..left).unwrap_or_default();
        let stash = write_stash(leftovers, out);

        let header = Header {
            structure: order.structure,
            bits: order.bits,
            keys: u32::try_from(items.len()).unwrap_or(u32::MAX),
            seed: order.seed,
            hash_id: order.hash_id,
            band: C::WIDTH,
            stash: u32::try_from(stash).unwrap_or(u32::MAX),
            layer_count,
            layers,
        };
        let bytes = out.get_mut(begin..).unwrap_or_default();
        header.encode(bytes);
        Ok(Stats::new(&header, bytes.len()))
    }

    /// Bytes of memory held.
    pub(crate) fn memory_len(&self) -> usize {
        self.band.memory_len() + self.buffer.capacity() * size_of::<I>() + self.thresholds.capacity()
    }
}

/// Whether a layer may stay as it was filled. The first layer always may, as it costs most; a whole one has to leave
/// nothing over; one between, to which a second try costs a few percent of the first layer, has to waste so little that
/// the next one is spared a block, if that is near.
fn is_good<C: Coefficients>(
    number: usize,
    keys: usize,
    slots: usize,
    whole_layer: bool,
    attempt: u8,
    bumped: usize,
) -> bool {
    if whole_layer {
        return bumped == 0;
    }
    let fewest = (keys + EMPTY_AT_BEST).saturating_sub(slots);
    number == 0
        || attempt + 1 >= MIDDLE_ATTEMPTS
        || blocks_for::<C>(bumped, true) <= blocks_for::<C>(fewest, true)
}

/// Blocks of a layer that `keys` are offered to, all of which it shall take if it is to be `whole`. Otherwise it gets
/// fewer slots than keys, so that hardly any stays empty.
fn blocks_for<C: Coefficients>(keys: usize, whole: bool) -> usize {
    let per_block = KEYS_PER_1000_SLOTS * BLOCK;
    let blocks = if whole { C::whole_blocks(keys) } else { (keys * 1000 + per_block / 2) / per_block };
    blocks.max(C::BAND / BLOCK)
}

/// The bytes that so many keys come to, within half a percent and a block.
pub(crate) fn projected_len(keys: usize, bits: Bits, band: BandWidth) -> usize {
    let blocks = (keys + keys / 1024).div_ceil(BLOCK) + 1;
    let wide = usize::try_from(bits.wide_blocks(blocks as u64)).unwrap_or(blocks);
    let thresholds = threshold_bytes((blocks * BLOCK).div_ceil(1 << band.bucket_log2()));
    Header::len(Structure::Membership, LAYERS) + (blocks * usize::from(bits.whole()) + wide) * 8 + thresholds
}

/// Whether another seed may well give a filter that keeps its bound where this one does not. A bound that leaves no room
/// for the slots that always stay empty is out of reach.
pub(crate) fn is_heavy(stats: &Stats, bits: Bits) -> bool {
    let keys = u64::from(stats.keys);
    let steps = u64::from(bits.whole()) << 16 | u64::from(bits.fraction());
    let over = match keys {
        ..1024 => return false,
        1024..3072 => steps * 13 / 100,
        3072..8192 => (steps * 4 / 100).max(OVER_SMALL),
        8192..32_768 => (steps * 15 / 1000).max(OVER_SMALL),
        _ => OVER_LARGE,
    };
    let bound = ((keys * (steps + over)) >> 16) / 8 + 64;
    let block = (8 * steps) >> 16;
    let fixed = Header::len(stats.structure, LAYERS) as u64 + stats.slots / 512;
    let slots = bound.saturating_sub(fixed) / block.max(1) * BLOCK as u64;
    stats.len as u64 > bound && slots >= keys + keys / 1024 + EMPTY_USUALLY
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::FilterRef;
    use crate::hash::Mixed;

    /// One layer for many keys cannot take them all; the rest stands in the stash, sorted, and is found there. The
    /// thresholds that say so take each of their values.
    ///
    /// Proves F-89, F-91.
    #[test]
    fn what_the_last_layer_leaves_is_stashed() {
        let (structure, hash_id) = (Structure::Membership, HashId::WHOLE_KEY);
        let bits = Bits::from_parts(8, 0).expect("in range");
        let order = Order { structure, bits, hash_id, seed: 3, layers: 1 };
        // Numbers in a row spread too evenly for this.
        let items: Vec<u64> = (0..200_000).map(|i| Mixed::new(i, 99).coefficients()).collect();
        let mut bytes = Vec::new();
        let mut stashed = Vec::new();
        let stats = Tower::<u64, u64>::default().build(&items, order, &mut bytes, |left, out| {
            left.sort_unstable();
            stashed.extend_from_slice(left);
            for hash in left.iter() {
                out.extend_from_slice(&hash.to_le_bytes());
            }
            left.len()
        });
        let stats = stats.expect("one in a hundred may be left over");
        assert_eq!((stats.layers, stats.stash as usize), (1, stashed.len()));
        assert!((20..2000).contains(&stashed.len()), "{} left over", stashed.len());
        let filter = FilterRef::open(&bytes[..]).expect("well formed");
        assert!(items.iter().all(|&hash| filter.may_contain(hash)), "a member is missing");
        let wrong = (1 << 40..(1 << 40) + 100_000).filter(|&hash| filter.may_contain(hash)).count();
        assert!((290..490).contains(&wrong), "{wrong} of 100,000 wrong");

        let thresholds = bytes.len() - stashed.len() * 8;
        let slots = usize::try_from(stats.slots).expect("few");
        let buckets = BandWidth::Slots64.buckets(slots);
        let thresholds = &bytes[thresholds - threshold_bytes(buckets)..thresholds];
        let has = |value| thresholds.iter().any(|four| (0..4).any(|at| four >> (at * 2) & 3 == value));
        assert!(has(0) && has(1) && has(2), "thresholds of all lower values");
    }

    /// Many repeats are reported, so that they can be taken out.
    #[test]
    fn a_tower_that_falls_says_why() {
        let (structure, hash_id) = (Structure::Membership, HashId::WHOLE_KEY);
        let bits = Bits::from_parts(8, 0).expect("in range");
        let order = Order { structure, bits, hash_id, seed: 0, layers: LAYERS };
        let build = |items: &[u64]| {
            Tower::<u64, u64>::default()
                .build(items, order, &mut Vec::new(), |left, _| left.len())
                .map(|_| ())
        };
        assert_eq!(build(&vec![7; 5000]), Err(Fallen::Repeats));
        assert_eq!(build(&(0..5000).collect::<Vec<_>>()), Ok(()));
    }
}
