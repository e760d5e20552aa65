//! What the containers outside a job may still hold: decides whether a key is at its bottom.

use std::sync::Arc;

use lsm_iter::{Coverage, KeyContext};
use lsm_types::{Cut, KeyOrder, SeqNo, Stretch, TombstoneIndex};

/// A table or memtable that is not an input of the job.
#[derive(Clone, Debug)]
pub struct OutsideContainer {
    /// Left end of its entries and range tombstones.
    pub start: Cut,
    /// Right end of its entries and range tombstones.
    pub end: Cut,
    /// Smallest number in it.
    pub min_seqno: SeqNo,
    /// Largest number in it, or that may come into it.
    pub max_seqno: SeqNo,
}

/// Answers, for keys that ascend, what may lie outside the job (compaction text, C-71).
///
/// The containers are gathered when the first question comes: most streams have nothing to ask. Then one sweep in
/// the order of their left ends: those that the walk has reached and not yet left are active; a key asks only
/// these.
///
/// Of range tombstones it knows those that are in tables, or come into tables together with the job's outputs: an
/// entry must not go for the sake of a delete that a crash may take back.
pub struct Outside<G> {
    order: KeyOrder,
    tombstones: Arc<TombstoneIndex>,
    /// The stretch of `tombstones` where the walk is.
    stretch: Option<Stretch>,
    gather: Option<G>,
    /// By left end; those before `next` were reached.
    containers: Vec<OutsideContainer>,
    next: usize,
    active: Vec<usize>,
}

impl<G: FnOnce() -> Vec<OutsideContainer>> Outside<G> {
    /// A sweep over the containers that `gather` lists.
    ///
    /// * `tombstones`: those of the job and of tables outside that reach keys of the job.
    pub fn new(gather: G, tombstones: Arc<TombstoneIndex>, order: KeyOrder) -> Self {
        Self {
            order,
            tombstones,
            stretch: None,
            gather: Some(gather),
            containers: Vec::new(),
            next: 0,
            active: Vec::new(),
        }
    }

    /// The containers whose coverage holds `key`.
    fn around(&mut self, key: &[u8]) -> impl Iterator<Item = &OutsideContainer> {
        let order = &self.order;
        if let Some(gather) = self.gather.take() {
            self.containers = gather();
            self.containers.sort_by(|a, b| a.start.compare(&b.start, order));
        }
        while let Some(container) = self.containers.get(self.next) {
            if !container.start.is_left_of(key, order) {
                break;
            }
            self.active.push(self.next);
            self.next += 1;
        }
        let containers = &self.containers;
        self.active
            .retain(|&at| containers.get(at).is_some_and(|container| !container.end.is_left_of(key, order)));
        self.active.iter().filter_map(|&at| containers.get(at))
    }
}

impl<G: FnOnce() -> Vec<OutsideContainer>> Coverage for Outside<G> {
    #[inline]
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        if self.tombstones.is_empty() {
            return None;
        }
        // Keys ascend, and so do the stretches they lie in.
        let here = match self.stretch {
            Some(here) => self.tombstones.find_from(here, key),
            None => self.tombstones.find(key),
        };
        self.stretch = Some(here);
        self.tombstones.newest_below(here, before)
    }
}

impl<G: FnOnce() -> Vec<OutsideContainer>> KeyContext for Outside<G> {
    fn bottom(&mut self, key: &[u8], seqno: SeqNo) -> bool {
        self.around(key).all(|container| container.min_seqno > seqno)
    }

    fn adjacent(&mut self, key: &[u8], newer: SeqNo, older: SeqNo) -> bool {
        self.around(key).all(|container| container.max_seqno < older || newer <= container.min_seqno)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cmp::Ordering,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
    };

    use lsm_types::{Comparator, RangeTombstone};

    use super::*;

    /// Byte order that counts.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Comparator for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            self.0.fetch_add(1, Relaxed);
            a.cmp(b)
        }
    }

    /// Comparisons that a walk over `entries` keys under `count` range tombstones takes, which overlap `deep` at a time.
    fn comparisons(entries: u64, count: u64, deep: u64) -> u64 {
        let counting = Arc::new(Counting::default());
        let order = KeyOrder::new(counting.clone());
        let width = entries / count;
        let cut = |number: u64| Cut::Before(number.to_be_bytes().as_slice().into());
        let tombstone = |number: u64| RangeTombstone {
            start: cut(number * width),
            end: cut((number + deep) * width),
            seqno: at(number % 7 + 1),
        };
        let index = TombstoneIndex::new((0..count).map(tombstone).collect(), order.clone());
        let mut outside = Outside::new(Vec::new, Arc::new(index), order);
        counting.0.store(0, Relaxed);
        for key in 0..entries {
            let newest = outside.covering(&key.to_be_bytes(), at(100)).map(SeqNo::get);
            let over = (key / width).saturating_sub(deep - 1)..=(key / width).min(count - 1);
            assert_eq!(newest, over.map(|number| number % 7 + 1).max(), "key {key}");
        }
        counting.0.load(Relaxed)
    }

    /// Proves C-90: one sweep. How many range tombstones there are, and how they overlap, does not count per entry.
    #[test]
    fn a_walk_compares_each_key_and_each_cut_about_once() {
        for (count, deep) in [(1, 1), (10, 3), (1_000, 1), (1_000, 50), (5_000, 500)] {
            let (entries, cuts) = (10_000, 2 * count);
            let counted = comparisons(entries, count, deep);
            assert!(counted <= entries + 3 * cuts + 100, "{count} tombstones, {deep} deep: {counted}");
        }
    }

    fn at(raw: u64) -> SeqNo {
        SeqNo::new(raw).unwrap()
    }

    fn outside_of(containers: Vec<OutsideContainer>) -> Outside<impl FnOnce() -> Vec<OutsideContainer>> {
        let order = KeyOrder::bytewise();
        Outside::new(|| containers, Arc::new(TombstoneIndex::new(Vec::new(), order.clone())), order)
    }

    fn container(start: &str, end: &str, numbers: (u64, u64)) -> OutsideContainer {
        OutsideContainer {
            start: Cut::Before(start.into()),
            end: Cut::After(end.into()),
            min_seqno: at(numbers.0),
            max_seqno: at(numbers.1),
        }
    }

    /// Proves C-71.
    #[test]
    fn a_key_is_at_its_bottom_when_nothing_older_may_lie_outside() {
        let containers =
            vec![container("c", "f", (5, 9)), container("a", "d", (9, 9)), container("x", "x", (0, 7))];
        let mut outside = outside_of(containers);
        let mut check = |key: &str, seqno: u64, bottom: bool| {
            assert_eq!(outside.bottom(key.as_bytes(), at(seqno)), bottom, "{key}@{seqno}");
        };
        check("a", 8, true);
        check("a", 9, false);
        check("c", 5, false);
        check("c", 4, true);
        check("d", 4, true);
        check("e", 6, false);
        check("g", 100, true);
        check("x", 0, false);
        check("y", 100, true);
    }

    /// Proves C-73.
    #[test]
    fn neighbours_are_adjacent_when_nothing_in_between_may_lie_outside() {
        let mut outside = outside_of(vec![container("c", "f", (5, 9))]);
        assert!(outside.adjacent(b"c", at(5), at(3)));
        assert!(!outside.adjacent(b"c", at(6), at(3)));
        assert!(outside.adjacent(b"c", at(12), at(10)));
        assert!(!outside.adjacent(b"c", at(12), at(9)), "a copy of the older one counts");
        assert!(outside.adjacent(b"g", at(12), at(3)));
    }
}
