//! The stretch of keys a scan keeps to.

use core::{cmp::Ordering, ops::Bound};

use lsm_types::{KeyOrder, Slice};

/// A lower and an upper bound, compared in the order of the tree; nothing lies between inverted ones.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) order: KeyOrder,
    pub(crate) lower: Bound<Slice>,
    pub(crate) upper: Bound<Slice>,
}

impl Window {
    #[inline]
    pub(crate) fn below_upper(&self, key: &[u8]) -> bool {
        match &self.upper {
            Bound::Included(upper) => self.order.compare(key, upper) != Ordering::Greater,
            Bound::Excluded(upper) => self.order.compare(key, upper) == Ordering::Less,
            Bound::Unbounded => true,
        }
    }

    #[inline]
    pub(crate) fn above_lower(&self, key: &[u8]) -> bool {
        match &self.lower {
            Bound::Included(lower) => self.order.compare(lower, key) != Ordering::Greater,
            Bound::Excluded(lower) => self.order.compare(lower, key) == Ordering::Less,
            Bound::Unbounded => true,
        }
    }
}
