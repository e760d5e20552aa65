//! Where a job is split into segments.
//!
//! The candidates are the separators of the index roots of all inputs, each standing for its share of the file: they are
//! in memory as soon as a table is open, and there are enough of them to balance segments by bytes, also when the level
//! the job writes to is empty.

use lsm_types::{KeyOrder, Result, Slice};

use crate::Job;

/// A stretch of keys: from its start, up to and without its end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KeyStretch {
    /// The first key; without one it begins before all keys.
    pub(crate) start: Option<Slice>,
    /// The first key behind it; without one it ends behind all keys.
    pub(crate) end: Option<Slice>,
}

impl KeyStretch {
    /// Whether `key` lies in it.
    pub(crate) fn holds(&self, key: &[u8], order: &KeyOrder) -> bool {
        self.start.as_ref().is_none_or(|start| order.compare(start, key).is_le())
            && self.is_left_open_to(key, order)
    }

    /// Whether it begins at or before `max` and ends behind `min`.
    pub(crate) fn meets(&self, min: &[u8], max: &[u8], order: &KeyOrder) -> bool {
        self.start.as_ref().is_none_or(|start| order.compare(start, max).is_le())
            && self.is_left_open_to(min, order)
    }

    fn is_left_open_to(&self, key: &[u8], order: &KeyOrder) -> bool {
        self.end.as_ref().is_none_or(|end| order.compare(key, end).is_lt())
    }
}

/// Splits the keys of `job` into at most as many stretches as it may have segments, in key order, without a gap.
///
/// # Errors
/// What opening an input finds.
pub(crate) fn stretches(job: &Job) -> Result<Vec<KeyStretch>> {
    let count = job.parallelism.segments(job.input_bytes());
    if count < 2 {
        return Ok(vec![KeyStretch::default()]);
    }
    let borders = balance(samples(job)?, count, &job.order);
    let starts = std::iter::once(None).chain(borders.iter().cloned().map(Some));
    let ends = borders.iter().cloned().map(Some).chain(std::iter::once(None));
    Ok(starts.zip(ends).map(|(start, end)| KeyStretch { start, end }).collect())
}

/// Keys of all inputs, each with the bytes that lie left of it and right of the one before.
fn samples(job: &Job) -> Result<Vec<(Slice, u64)>> {
    let mut samples = Vec::new();
    for table in job.inputs.tables() {
        samples.extend(table.samples()?);
    }
    Ok(samples)
}

/// At most `count` - 1 of the sampled keys, ascending, with about the same bytes between each two of them.
fn balance(mut samples: Vec<(Slice, u64)>, count: usize, order: &KeyOrder) -> Vec<Slice> {
    samples.sort_by(|(a, _), (b, _)| order.compare(a, b));
    let total: u128 = samples.iter().map(|(_, bytes)| u128::from(*bytes)).sum();
    let mut borders: Vec<Slice> = Vec::new();
    let last = samples.last().map(|(key, _)| key.clone());
    let mut passed = 0;
    for (key, bytes) in samples {
        passed += u128::from(bytes);
        let share = total * (borders.len() as u128 + 1);
        let is_extreme = last.as_ref().is_some_and(|last| order.compare(&key, last).is_ge());
        if borders.len() + 1 >= count || is_extreme {
            break;
        }
        let is_new = borders.last().is_none_or(|border| order.compare(border, &key).is_lt());
        if passed * count as u128 >= share && is_new {
            borders.push(key);
        }
    }
    borders
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsm_types::{Bytewise, Comparator};

    use super::*;

    #[derive(Debug)]
    struct Backwards;

    impl Comparator for Backwards {
        fn name(&self) -> &'static str {
            "backwards"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
            b.cmp(a)
        }
    }

    fn sample(keys: &[(&str, u64)]) -> Vec<(Slice, u64)> {
        keys.iter().map(|(key, bytes)| (Slice::from(key.as_bytes()), *bytes)).collect()
    }

    #[track_caller]
    fn check(keys: &[(&str, u64)], count: usize, order: &KeyOrder, expected: &[&str]) {
        let borders = balance(sample(keys), count, order);
        let borders: Vec<&str> = borders.iter().map(|key| std::str::from_utf8(key).unwrap()).collect();
        assert_eq!(borders, expected);
    }

    /// Proves C-138: borders follow the bytes, not the number of samples; keys that are the same are one border, and the
    /// last key is none.
    #[test]
    fn borders_are_balanced_by_bytes() {
        let order = KeyOrder::new(Arc::new(Bytewise));
        let even: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|key| (key, 10)).to_vec();
        check(&even, 1, &order, &[]);
        check(&even, 2, &order, &["d"]);
        check(&even, 4, &order, &["b", "d", "f"]);
        check(&even, 99, &order, &["a", "b", "c", "d", "e", "f", "g"]);
        check(&[("a", 70), ("b", 10), ("c", 10), ("d", 10)], 2, &order, &["a"]);
        check(&[("a", 5), ("b", 5), ("c", 80), ("d", 10)], 4, &order, &["c"]);
        check(&[("k", 10), ("k", 10), ("k", 10), ("k", 10)], 4, &order, &[]);
        check(&[("d", 10), ("a", 10), ("c", 10), ("b", 10)], 2, &order, &["b"]);
        check(&[], 4, &order, &[]);
        check(&even, 2, &KeyOrder::new(Arc::new(Backwards)), &["e"]);
    }

    /// Proves C-139: of adjacent stretches one holds a key.
    #[test]
    fn a_key_lies_in_one_stretch() {
        let order = KeyOrder::new(Arc::new(Bytewise));
        let (left, right) = (
            KeyStretch { start: None, end: Some("m".into()) },
            KeyStretch { start: Some("m".into()), end: None },
        );
        for (key, in_left) in [("a", true), ("lz", true), ("m", false), ("m\0", false), ("z", false)] {
            assert_eq!(left.holds(key.as_bytes(), &order), in_left, "{key}");
            assert_eq!(right.holds(key.as_bytes(), &order), !in_left, "{key}");
        }
        assert!(left.meets(b"a", b"z", &order) && right.meets(b"a", b"z", &order));
        assert!(!left.meets(b"m", b"z", &order) && right.meets(b"m", b"m", &order));
        assert!(!right.meets(b"a", b"l", &order));
    }
}
