//! Points between keys, and ranges of keys.

use core::{cmp::Ordering, ops::Bound};

use crate::{KeyOrder, Slice};

/// A point between keys: one of the two ends, just before a key, or just after it.
///
/// Cuts order by key, then before < after; no successor key is ever made up.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Cut {
    /// Before every key.
    Start,
    /// Just before this key.
    Before(Slice),
    /// Just after this key.
    After(Slice),
    /// After every key.
    End,
}

impl Cut {
    /// The cut at which a range with this lower bound starts.
    pub fn from_lower(bound: Bound<&[u8]>) -> Self {
        match bound {
            Bound::Included(key) => Self::Before(key.into()),
            Bound::Excluded(key) => Self::After(key.into()),
            Bound::Unbounded => Self::Start,
        }
    }

    /// The cut at which a range with this upper bound ends.
    pub fn from_upper(bound: Bound<&[u8]>) -> Self {
        match bound {
            Bound::Included(key) => Self::After(key.into()),
            Bound::Excluded(key) => Self::Before(key.into()),
            Bound::Unbounded => Self::End,
        }
    }

    /// The key of an inner cut.
    pub fn key(&self) -> Option<&Slice> {
        match self {
            Self::Before(key) | Self::After(key) => Some(key),
            Self::Start | Self::End => None,
        }
    }

    /// The order of two cuts.
    pub fn compare(&self, other: &Self, order: &KeyOrder) -> Ordering {
        match (self.key(), other.key()) {
            (Some(a), Some(b)) => order.compare(a, b).then(self.side().cmp(&other.side())),
            _ => self.side().cmp(&other.side()),
        }
    }

    /// Whether `key` lies on the right of this cut.
    pub fn is_left_of(&self, key: &[u8], order: &KeyOrder) -> bool {
        match self {
            Self::Start => true,
            Self::Before(cut) => order.compare(cut, key).is_le(),
            Self::After(cut) => order.compare(cut, key).is_lt(),
            Self::End => false,
        }
    }

    fn side(&self) -> u8 {
        match self {
            Self::Start => 0,
            Self::Before(_) => 1,
            Self::After(_) => 2,
            Self::End => 3,
        }
    }
}

/// Keys from `min` to `max`, both included.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyRange {
    /// Smallest key.
    pub min: Slice,
    /// Largest key.
    pub max: Slice,
}

impl KeyRange {
    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8], order: &KeyOrder) -> bool {
        order.compare(&self.min, key).is_le() && order.compare(key, &self.max).is_le()
    }

    /// Whether the two ranges share a key.
    pub fn overlaps(&self, other: &Self, order: &KeyOrder) -> bool {
        order.compare(&self.min, &other.max).is_le() && order.compare(&other.min, &self.max).is_le()
    }

    /// The smallest range that holds both.
    pub fn union(&self, other: &Self, order: &KeyOrder) -> Self {
        let min = if order.compare(&self.min, &other.min).is_le() { &self.min } else { &other.min };
        let max = if order.compare(&self.max, &other.max).is_ge() { &self.max } else { &other.max };
        Self { min: min.clone(), max: max.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_order_by_key_then_side() {
        let order = KeyOrder::bytewise();
        let cuts =
            [Cut::Start, Cut::Before("a".into()), Cut::After("a".into()), Cut::Before("b".into()), Cut::End];
        for (i, a) in cuts.iter().enumerate() {
            for (j, b) in cuts.iter().enumerate() {
                assert_eq!(a.compare(b, &order), i.cmp(&j), "{a:?} {b:?}");
            }
        }
        assert!(Cut::Before("a".into()).is_left_of(b"a", &order));
        assert!(!Cut::After("a".into()).is_left_of(b"a", &order));
        assert!(Cut::Start.is_left_of(b"", &order) && !Cut::End.is_left_of(b"\xff", &order));
    }
}
