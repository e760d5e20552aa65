//! Puts keys in the order in which a layer takes them: buckets from left to right, and within a bucket the three
//! classes that its thresholds tell apart, from the right end to the left.
//!
//! One counting pass does it; within a class the order is free.

use alloc::vec::Vec;

use crate::hash::Mixed;
use crate::width::Coefficients;

/// What a layer stores: a hash and the bits to be found under it.
pub(crate) trait Item: Copy + Default {
    fn hash(self) -> u64;
    /// The bits; a filter makes them up from the hash.
    fn result(self, mixed: Mixed) -> u32;
}

/// A filter's item is the hash alone.
impl Item for u64 {
    #[inline]
    fn hash(self) -> u64 {
        self
    }

    #[inline]
    fn result(self, mixed: Mixed) -> u32 {
        mixed.fingerprint()
    }
}

/// Classes of a bucket.
pub(crate) const CLASSES: usize = 3;

/// A layer's size and seed.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) slots: usize,
    pub(crate) seed: u64,
}

impl Plan {
    /// Places at which an equation may start: the band ends within the slots.
    #[inline]
    pub(crate) fn starts<C: Coefficients>(self) -> u64 {
        self.slots as u64 - (C::BAND as u64 - 1)
    }

    pub(crate) fn buckets<C: Coefficients>(self) -> usize {
        C::WIDTH.buckets(self.slots)
    }
}

/// Which class of which bucket starts at `start`, in the order of insertion.
#[inline]
fn group<C: Coefficients>(start: usize) -> usize {
    let [_, low, high, _] = C::THRESHOLDS;
    let offset = start % C::BUCKET;
    (start >> C::BUCKET_LOG2) * CLASSES
        + usize::from(offset < usize::from(high))
        + usize::from(offset < usize::from(low))
}

/// Copies `items` to `placed`, which is as long, in order; `ends[g]` is then where group `g` ends.
pub(crate) fn place<I: Item, C: Coefficients>(
    items: &[I],
    plan: Plan,
    placed: &mut [I],
    ends: &mut Vec<u32>,
) {
    let groups = plan.buckets::<C>() * CLASSES;
    let starts = plan.starts::<C>();
    let group_of = |item: I| group::<C>(Mixed::new(item.hash(), plan.seed).start(starts));
    ends.clear();
    ends.resize(groups, 0);
    for &item in items {
        if let Some(count) = ends.get_mut(group_of(item)) {
            *count += 1;
        }
    }
    let mut before = 0;
    for end in ends.iter_mut() {
        before += core::mem::replace(end, before);
    }
    for &item in items {
        if let Some(next) = ends.get_mut(group_of(item))
            && let Some(slot) = placed.get_mut(*next as usize)
        {
            *slot = item;
            *next += 1;
        }
    }
}
