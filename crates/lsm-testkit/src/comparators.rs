//! Orders other than that of bytes, to find out who compares bytes where keys should be compared.

use std::{cmp::Ordering, ops::Bound, sync::Arc};

use lsm_types::{Bytewise, Comparator, Slice};

/// Byte order, backwards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reverse;

/// Byte order, backwards, in which the keys with a prefix have bounds: the upper one of byte order comes first.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReverseByPrefix;

/// Shorter keys first, then byte order: keys with a common prefix do not stand together.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthFirst;

/// Keys of eight bytes are numbers, little-endian, and come first; others follow in byte order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numeric;

/// The last byte counts most: byte order of the keys written backwards.
#[derive(Clone, Copy, Debug, Default)]
pub struct SuffixFirst;

impl Comparator for Reverse {
    fn name(&self) -> &'static str {
        "test.reverse"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

impl Comparator for ReverseByPrefix {
    fn name(&self) -> &'static str {
        "test.reverse-by-prefix"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }

    fn prefix_bounds(&self, prefix: &[u8]) -> Option<(Bound<Slice>, Bound<Slice>)> {
        Bytewise.prefix_bounds(prefix).map(|(lower, upper)| (upper, lower))
    }
}

impl Comparator for LengthFirst {
    fn name(&self) -> &'static str {
        "test.length-first"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl Comparator for Numeric {
    fn name(&self) -> &'static str {
        "test.numeric"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let number = |key: &[u8]| key.try_into().ok().map(u64::from_le_bytes);
        match (number(a), number(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (None, None) => a.cmp(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

impl Comparator for SuffixFirst {
    fn name(&self) -> &'static str {
        "test.suffix-first"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.iter().rev().cmp(b.iter().rev())
    }
}

/// Byte order and all the others.
pub fn all() -> [Arc<dyn Comparator>; 6] {
    [
        Arc::new(Bytewise),
        Arc::new(Reverse),
        Arc::new(LengthFirst),
        Arc::new(Numeric),
        Arc::new(SuffixFirst),
        Arc::new(ReverseByPrefix),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(0_u8..3, 1..5),
            prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFF)], 8),
        ]
    }

    proptest! {
        /// Keys are equal only where their bytes are, and each order is total.
        #[test]
        fn orders_are_total(a in key(), b in key(), c in key()) {
            for order in all() {
                let compare = |a: &[u8], b: &[u8]| order.compare(a, b);
                prop_assert_eq!(compare(&a, &b).is_eq(), a == b, "{}", order.name());
                prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse(), "{}", order.name());
                if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                    prop_assert!(compare(&a, &c).is_le(), "{}", order.name());
                }
                // Where keys with a prefix have bounds, these hold them and no others.
                if let Some((lower, upper)) = order.prefix_bounds(&a) {
                    let above = match &lower {
                        Bound::Unbounded => true,
                        Bound::Included(lower) => compare(lower, &b).is_le(),
                        Bound::Excluded(lower) => compare(lower, &b).is_lt(),
                    };
                    let below = match &upper {
                        Bound::Unbounded => true,
                        Bound::Included(upper) => compare(&b, upper).is_le(),
                        Bound::Excluded(upper) => compare(&b, upper).is_lt(),
                    };
                    prop_assert_eq!(above && below, b.starts_with(&a), "{}", order.name());
                }
            }
        }
    }
}
