//! Scans that pass over runs without a key of their prefix.
//!
//! When all keys of a range start with a prefix that the tree's extractor names for each of them, one filter decides
//! for a whole run: that of the first table that reaches into the range. If keys of the range lie in a later one, the
//! last key of this one lies in the range as well.

use std::ops::{Bound, RangeBounds};

use lsm_table::TableList;
use lsm_types::{KeyHash, KeyOrder, PrefixExtractor, Slice};

use crate::super_version::ReadRun;

/// The two ends of a range.
pub(crate) type Bounds = (Bound<Slice>, Bound<Slice>);

/// A copy of the two ends of `range`.
pub(crate) fn owned_bounds<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> Bounds {
    let owned = |bound: Bound<&K>| bound.map(|key| Slice::from(key.as_ref()));
    (owned(range.start_bound()), owned(range.end_bound()))
}

/// What a scan knows about all keys of its range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedPrefix {
    /// Hash of the prefix by which filters are asked.
    hash: KeyHash,
}

impl SharedPrefix {
    /// For the range of all keys that start with `prefix`, where an order has such a range.
    pub(crate) fn of_prefix(extractor: Option<&dyn PrefixExtractor>, prefix: &[u8]) -> Option<Self> {
        longest_covered(extractor?, prefix)
    }

    /// For any range: what its ends share in front, in byte order, is shared by all keys between them.
    pub(crate) fn of_bounds(
        extractor: Option<&dyn PrefixExtractor>,
        bounds: &Bounds,
        order: &KeyOrder,
    ) -> Option<Self> {
        let extractor = extractor.filter(|_| order.is_bytewise())?;
        let (Bound::Included(lower) | Bound::Excluded(lower)) = &bounds.0 else { return None };
        match &bounds.1 {
            Bound::Included(upper) => longest_covered(extractor, shared(lower, upper)),
            Bound::Excluded(upper) => longest_covered(extractor, shared_below(lower, upper)),
            Bound::Unbounded => None,
        }
    }

    /// Whether an entry of `run` may have a key in the range.
    pub(crate) fn may_lie_in(self, run: &ReadRun, bounds: &Bounds, order: &KeyOrder) -> bool {
        let lower = bounds.0.as_ref().map(|key| &**key);
        let first = match lower {
            Bound::Unbounded => run.first(),
            Bound::Included(key) | Bound::Excluded(key) => run.first_reaching(key, order),
        };
        let Some(table) = first.and_then(|spot| run.table(spot)) else { return false };
        // The largest key is not below the range; if it is not above it either, there is nothing to ask.
        let max_is_within = table.max_key().is_none_or(|max| match &bounds.1 {
            Bound::Unbounded => true,
            Bound::Included(upper) => order.compare(max, upper).is_le(),
            Bound::Excluded(upper) => order.compare(max, upper).is_lt(),
        });
        max_is_within || table.may_hold(self.hash, lower)
    }
}

/// The longest prefix of `shared` that `extractor` names for every key that starts with `shared`.
fn longest_covered(extractor: &dyn PrefixExtractor, shared: &[u8]) -> Option<SharedPrefix> {
    let mut found: Option<(usize, KeyHash)> = None;
    let mut consider = |prefix: &[u8]| {
        let longer = found.is_none_or(|(len, _)| len <= prefix.len());
        if longer && shared.starts_with(prefix) && extractor.covers(prefix) {
            found = Some((prefix.len(), KeyHash::of_prefix(prefix)));
        }
    };
    if !shared.is_empty() {
        extractor.prefixes(shared, &mut consider);
        consider(shared);
    }
    found.map(|(_, hash)| SharedPrefix { hash })
}

/// What two keys have in common in front.
fn shared<'k>(a: &'k [u8], b: &[u8]) -> &'k [u8] {
    let len = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    a.get(..len).unwrap_or_default()
}

/// What all keys from `lower` on and below `upper` have in common in front. The keys right below `upper` are, with its
/// last byte counted down, followed by any number of FF; those below `a` followed by 0 start with `a`.
fn shared_below<'k>(lower: &'k [u8], upper: &[u8]) -> &'k [u8] {
    let Some((last, stem)) = upper.split_last() else { return &[] };
    let common = shared(lower, stem).len();
    if common < stem.len() {
        return lower.get(..common).unwrap_or_default();
    }
    let end = match (last.checked_sub(1), lower.get(common)) {
        (Some(below), Some(byte)) if below == *byte => {
            let rest = lower.get(common + 1..).unwrap_or_default();
            common + 1 + rest.iter().take_while(|byte| **byte == 0xFF).count()
        }
        _ => common,
    };
    lower.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lsm_types::{Bytewise, Comparator, DelimitedPrefix, FixedPrefix};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_prefix_that_is_covered_counts() {
        let delimited = DelimitedPrefix::new(b'/', 2);
        let hash = |shared: &[u8]| longest_covered(&delimited, shared).map(|found| found.hash);
        assert_eq!(hash(b"a/b/c"), Some(KeyHash::of_prefix(b"a/b/")));
        assert_eq!(hash(b"a/bc"), Some(KeyHash::of_prefix(b"a/")));
        assert_eq!(hash(b"a"), None);
        assert_eq!(hash(b""), None);
        let fixed = FixedPrefix::new(2);
        assert_eq!(longest_covered(&fixed, b"a").map(|found| found.hash), None, "shorter than what is named");
        assert_eq!(longest_covered(&fixed, b"abc").map(|found| found.hash), Some(KeyHash::of_prefix(b"ab")));
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(0xFE), Just(0xFF)], 1..5)
    }

    proptest! {
        /// Proves E-152 in part: what is taken as shared is shared by every key of the range.
        #[test]
        fn every_key_between_starts_with_what_is_shared(lower in key(), upper in key(), keys in prop::collection::vec(key(), 0..40)) {
            for key in keys.iter().filter(|key| lower <= **key) {
                prop_assert!(*key > upper || key.starts_with(shared(&lower, &upper)));
                prop_assert!(*key >= upper || key.starts_with(shared_below(&lower, &upper)), "{lower:?} {upper:?} {key:?}");
            }
        }

        /// The range of a prefix shares at least that prefix, also where it ends in FF.
        #[test]
        fn the_range_of_a_prefix_shares_it(prefix in key()) {
            let (Bound::Included(lower), Bound::Excluded(upper)) = Bytewise.prefix_bounds(&prefix).unwrap() else {
                return Ok(());
            };
            prop_assert_eq!(shared_below(&lower, &upper), &prefix[..]);
        }
    }
}
