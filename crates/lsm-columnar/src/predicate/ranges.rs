//! Sets of values as sorted borders between "outside" and "inside", so that a complement costs nothing to think about.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Ordering;

/// A place between values, where membership changes: just before a value, or just after it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Border<V> {
    value: V,
    is_after: bool,
}

impl<V: Ord> Border<V> {
    pub(super) const fn before(value: V) -> Self {
        Self { value, is_after: false }
    }

    pub(super) const fn after(value: V) -> Self {
        Self { value, is_after: true }
    }

    /// Whether the border lies below a value, given how the border's own value compares to it.
    fn is_below(&self, order: Ordering) -> bool {
        order.is_lt() || (order.is_eq() && !self.is_after)
    }
}

/// Values between every first and second border, the last perhaps without an end. Borders ascend strictly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ranges<V> {
    borders: Vec<Border<V>>,
    /// Whether values below the first border are inside.
    starts_inside: bool,
}

impl<V: Ord + Clone> Ranges<V> {
    /// No value.
    pub(super) const fn none() -> Self {
        Self { borders: Vec::new(), starts_inside: false }
    }

    /// Values from `lower`, or all from the least on, up to `upper`, or all; nothing where the two cross.
    pub(super) fn between(lower: Option<Border<V>>, upper: Option<Border<V>>) -> Self {
        if let (Some(lower), Some(upper)) = (&lower, &upper)
            && lower >= upper
        {
            return Self::none();
        }
        let starts_inside = lower.is_none();
        Self { borders: lower.into_iter().chain(upper).collect(), starts_inside }
    }

    /// Values in any of these.
    pub(super) fn union(parts: impl Iterator<Item = Self>) -> Self {
        // At each border, by how much the number of parts around it changes.
        let mut changes: BTreeMap<Border<V>, i32> = BTreeMap::new();
        let mut open = 0;
        for part in parts {
            open += i32::from(part.starts_inside);
            let mut inside = part.starts_inside;
            for border in part.borders {
                *changes.entry(border).or_default() += if inside { -1 } else { 1 };
                inside = !inside;
            }
        }
        let mut union = Self { borders: Vec::new(), starts_inside: open > 0 };
        for (border, change) in changes {
            if (open > 0) != (open + change > 0) {
                union.borders.push(border);
            }
            open += change;
        }
        union
    }

    /// All other values.
    pub(super) fn complement(mut self) -> Self {
        self.starts_inside = !self.starts_inside;
        self
    }

    /// Whether a value is inside, given how any border's value compares to it.
    #[inline]
    pub(super) fn contains(&self, order: impl Fn(&V) -> Ordering) -> bool {
        self.is_inside(self.borders_below(order))
    }

    /// How many borders lie below a value.
    #[inline]
    pub(super) fn borders_below(&self, order: impl Fn(&V) -> Ordering) -> usize {
        self.borders.partition_point(|border| border.is_below(order(&border.value)))
    }

    /// Number of borders.
    pub(super) const fn border_count(&self) -> usize {
        self.borders.len()
    }

    /// Whether a value with this many borders below it is inside.
    #[inline]
    pub(super) const fn is_inside(&self, below: usize) -> bool {
        self.starts_inside != (below % 2 == 1)
    }
}

impl Ranges<u64> {
    /// The values as ranges with both ends in them, among those up to `max`.
    pub(super) fn inclusive(&self, max: u64) -> Vec<(u64, u64)> {
        // Every border as the first value above it.
        let starts = self
            .borders
            .iter()
            .map(|border| if border.is_after { border.value.checked_add(1) } else { Some(border.value) });
        let mut ranges = Vec::new();
        let mut from = self.starts_inside.then_some(0);
        for start in starts {
            match from.take() {
                Some(from) => {
                    // `None`: the border lies above everything.
                    let last = start.map_or(Some(max), |start| start.checked_sub(1));
                    ranges.extend(last.map(|last| (from, last.min(max))));
                }
                None => from = start,
            }
            if start.is_none() {
                from = None;
                break;
            }
        }
        ranges.extend(from.map(|from| (from, max)));
        ranges.retain(|(from, last)| from <= last);
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    type Part = (Option<(u64, bool)>, Option<(u64, bool)>);

    fn border((value, is_after): (u64, bool)) -> Border<u64> {
        Border { value: if value == 9 { u64::MAX } else { value }, is_after }
    }

    proptest! {
        #[test]
        fn ranges_are_sets(parts in prop::collection::vec(any::<bool>().prop_flat_map(|_| {
            let side = prop::option::of((0_u64..=9, any::<bool>()));
            (side.clone(), side)
        }), 0..5)) {
            let parts: Vec<Part> = parts;
            let inside = |value: u64| parts.iter().any(|(lower, upper)| {
                lower.is_none_or(|lower| border(lower).is_below(border(lower).value.cmp(&value)))
                    && upper.is_none_or(|upper| !border(upper).is_below(border(upper).value.cmp(&value)))
            });
            let set = Ranges::union(parts.iter().map(|(lower, upper)| Ranges::between(lower.map(border), upper.map(border))));
            prop_assert!(set.borders.windows(2).all(|pair| pair[0] < pair[1]));
            let ranges = set.inclusive(u64::MAX);
            let rest = set.clone().complement();
            for value in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, u64::MAX - 1, u64::MAX] {
                let found = set.contains(|border| border.cmp(&value));
                prop_assert_eq!(found, inside(value), "{}", value);
                prop_assert_eq!(rest.contains(|border| border.cmp(&value)), !found);
                prop_assert_eq!(ranges.iter().any(|(from, last)| (from..=last).contains(&&value)), found);
            }
        }
    }

    #[test]
    fn points_are_ranges() {
        let point = |value: u64| Ranges::between(Some(Border::before(value)), Some(Border::after(value)));
        let set = Ranges::union([3, 1, 2, 7, 3].into_iter().map(point));
        assert_eq!(set.inclusive(u64::MAX), vec![(1, 1), (2, 2), (3, 3), (7, 7)]);
        assert_eq!(set.complement().inclusive(255), vec![(0, 0), (4, 6), (8, 255)]);
    }
}
