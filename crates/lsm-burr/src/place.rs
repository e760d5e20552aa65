//! Puts keys in the order in which a layer takes them: buckets from left to right, and within a bucket the three
//! classes that its thresholds tell apart, from the right end to the left.
//!
//! One counting pass does it; within a class the order is free.

use alloc::vec::Vec;

use crate::hash::{BAND, BUCKET, BUCKET_LOG2, Mixed, THRESHOLDS};

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
    pub(crate) fn starts(self) -> u64 {
        self.slots as u64 - (BAND as u64 - 1)
    }

    pub(crate) fn buckets(self) -> usize {
        (self.slots - BAND) / BUCKET + 1
    }
}

/// Which class of which bucket starts at `start`, in the order of insertion.
#[inline]
fn group(start: usize) -> usize {
    const LOW: usize = THRESHOLDS[1] as usize;
    const HIGH: usize = THRESHOLDS[2] as usize;
    let offset = start % BUCKET;
    (start >> BUCKET_LOG2) * CLASSES + usize::from(offset < HIGH) + usize::from(offset < LOW)
}

/// Copies `items` to `placed`, which is as long, in order; `ends[g]` is then where group `g` ends.
pub(crate) fn place<I: Item>(items: &[I], plan: Plan, placed: &mut [I], ends: &mut Vec<u32>) {
    let groups = plan.buckets() * CLASSES;
    let starts = plan.starts();
    let group_of = |item: I| group(Mixed::new(item.hash(), plan.seed).start(starts));
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
