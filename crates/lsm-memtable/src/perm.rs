//! The order of a node's slots, in one word.
//!
//! ```text
//!  63..61   60        59..56 ... 7..4   3..0
//!  unused   dividing  slot 13 .. slot 0 count      (13..0 are ranks, the nibbles hold slot numbers)
//! ```
//!
//! The nibbles are always a permutation of all slots: ranks below `count` are the entries in order, the others name
//! the free slots. An insert fills the first free slot and publishes it, in its place, with one store of the word.
//!
//! The permutation word is Masstree's: Mao, Kohler, Morris, "Cache Craftiness for Fast Multicore Key-Value Storage",
//! `EuroSys` 2012.

use crate::sync::{AtomicU64, Ordering};

/// Slots of a node, leaf or inner.
pub(crate) const SLOTS: usize = 14;

const DIVIDING: u64 = 1 << 60;
const _: () = assert!(4 + 4 * SLOTS == 60, "the word is full");

/// Number of a slot, below [`SLOTS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(u8);

impl Slot {
    /// The number, below [`SLOTS`].
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Ranks and slots of one node at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Perm(u64);

impl Perm {
    /// No entries; rank `i` has slot `i`.
    pub(crate) const EMPTY: Self = {
        let (mut word, mut rank) = (0, 0);
        while rank < SLOTS {
            word |= (rank as u64) << (4 + 4 * rank);
            rank += 1;
        }
        Self(word)
    };

    /// Entries in the node.
    #[inline]
    pub(crate) const fn count(self) -> usize {
        (self.0 & 15) as usize
    }

    /// Whether no slot is free.
    pub(crate) const fn is_full(self) -> bool {
        self.count() == SLOTS
    }

    /// Whether the upper part of the node is moving to a new right neighbour, which the parent may not know yet.
    pub(crate) const fn is_dividing(self) -> bool {
        self.0 & DIVIDING != 0
    }

    /// The slot of `rank`, which is below [`SLOTS`].
    #[inline]
    pub(crate) const fn slot(self, rank: usize) -> Slot {
        debug_assert!(rank < SLOTS, "a rank is below the number of slots");
        Slot(((self.0 >> (4 + 4 * rank)) & 15) as u8)
    }

    /// With the first free slot put at `rank`, and that slot. The node is not full and `rank` is at most the count.
    #[inline]
    pub(crate) const fn with_slot_at(self, rank: usize) -> (Self, Slot) {
        let count = self.count();
        debug_assert!(rank <= count && count < SLOTS, "there is a free slot and no gap");
        let slot = self.slot(count);
        let body = self.0 >> 4;
        let below = body & ((1 << (4 * rank)) - 1);
        let moved = (body & ((1 << (4 * count)) - 1)) >> (4 * rank);
        let free = body >> (4 * (count + 1)) << (4 * (count + 1));
        let body = below | (slot.0 as u64) << (4 * rank) | moved << (4 * (rank + 1)) | free;
        (Self(body << 4 | (count as u64 + 1)), slot)
    }

    /// Only the first `count` ranks; the slots of the others become free.
    pub(crate) const fn cut(self, count: usize) -> Self {
        debug_assert!(count <= self.count(), "a cut never adds");
        Self(self.0 & !15 | count as u64)
    }

    /// The same, marked as dividing.
    pub(crate) const fn dividing(self) -> Self {
        Self(self.0 | DIVIDING)
    }
}

/// The word as it stands in a node.
#[derive(Debug)]
pub(crate) struct AtomicPerm(AtomicU64);

impl AtomicPerm {
    pub(crate) fn new(perm: Perm) -> Self {
        Self(AtomicU64::new(perm.0))
    }

    #[inline]
    pub(crate) fn load(&self, ordering: Ordering) -> Perm {
        Perm(self.0.load(ordering))
    }

    #[inline]
    pub(crate) fn store(&self, perm: Perm, ordering: Ordering) {
        self.0.store(perm.0, ordering);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn ranks(perm: Perm) -> Vec<usize> {
        (0..perm.count()).map(|rank| perm.slot(rank).index()).collect()
    }

    #[test]
    fn inserts_at_every_rank_keep_a_permutation() {
        for seed in 0..200_usize {
            let (mut perm, mut model) = (Perm::EMPTY, Vec::new());
            for step in 0..SLOTS {
                let rank = (seed * 7 + step * (seed + 3)) % (step + 1);
                let (next, slot) = perm.with_slot_at(rank);
                assert!(!model.contains(&slot.index()), "the slot was free");
                model.insert(rank, slot.index());
                perm = next;
                assert_eq!(ranks(perm), model);
            }
            assert!(perm.is_full());
            let mut all: Vec<_> = (0..SLOTS).map(|rank| perm.slot(rank).index()).collect();
            all.sort_unstable();
            assert!(all.iter().copied().eq(0..SLOTS));
        }
    }

    #[test]
    fn a_cut_frees_the_upper_slots() {
        let mut perm = Perm::EMPTY;
        for _ in 0..SLOTS {
            perm = perm.with_slot_at(0).0; // reversed: rank 0 holds the last slot
        }
        let cut = perm.cut(5);
        assert!(perm.dividing().is_dividing() && perm.dividing().cut(5).is_dividing() && !cut.is_dividing());
        assert_eq!(ranks(cut), [13, 12, 11, 10, 9]);
        let (again, slot) = cut.with_slot_at(2);
        assert_eq!(slot.index(), 8, "the first freed slot is used first");
        assert_eq!(ranks(again), [13, 12, 8, 11, 10, 9]);
    }
}
