//! Which range tombstones lie over a key: built once, searched often.
//!
//! The cuts of all tombstones part the keys into stretches; all keys of a stretch lie under the same tombstones. To
//! list these for every stretch would take quadratic space where tombstones nest. So their numbers hang in a binary
//! tree over the stretches: each tombstone stands at the few nodes that together make up its span, and what covers a
//! stretch stands on its way to the root.
//!
//! ```text
//! cuts           a     c     f     h       [c,f)@9 stands at the leaf of stretch 2,
//! stretches   0  |  1  |  2  |  3  |  4    [a,h)@5 where its three stretches meet in as few nodes as can be
//! ```
//!
//! The newest one over each stretch is written down beside the tree, since most reads see everything. The index of n
//! tombstones takes room for 2n numbers when they do not overlap, and for n log n at worst.
//!
//! Source: de Berg, Cheong, van Kreveld, Overmars, "Computational Geometry", section 10.3 (segment trees).

use crate::{Cut, KeyOrder, RangeTombstone, SeqNo};
use alloc::{boxed::Box, vec, vec::Vec};

static START: Cut = Cut::Start;
static END: Cut = Cut::End;

/// Range tombstones, searched by key. See the head of the file.
#[derive(Clone, Debug)]
pub struct TombstoneIndex {
    order: KeyOrder,
    tombstones: Box<[RangeTombstone]>,
    cuts: Cuts,
    /// The read bound just above the largest number over each stretch, zero where there is none: the answer to most
    /// questions.
    newest: Box<[SeqNo]>,
    /// Node `n` of the tree holds `numbers[starts[n]..starts[n + 1]]`, newest first. The root is node 1, node `n` has
    /// the children `2n` and `2n + 1`, and the leaf of stretch `s` is node `leaves + s`.
    starts: Box<[u32]>,
    numbers: Box<[SeqNo]>,
    /// Smallest and largest number.
    seqnos: Option<(SeqNo, SeqNo)>,
}

/// A stretch of keys under the same tombstones, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch(usize);

impl TombstoneIndex {
    /// An index of `tombstones`, each of them with its start left of its end in `order`; they may overlap.
    ///
    /// Costs n log n comparisons.
    pub fn new(tombstones: Vec<RangeTombstone>, order: KeyOrder) -> Self {
        debug_assert!(tombstones.iter().all(|tombstone| tombstone.is_valid(&order)), "spans are not empty");
        let cuts = Cuts::new(&tombstones, &order);
        let leaves = cuts.all.len() + 1;
        let mut newest_first: Vec<(SeqNo, usize, usize)> = tombstones
            .iter()
            .map(|tombstone| {
                let place = |cut: &Cut| cuts.all.partition_point(|other| other.compare(cut, &order).is_lt());
                (tombstone.seqno, place(&tombstone.start) + 1, place(&tombstone.end) + 1)
            })
            .collect();
        newest_first.sort_unstable_by_key(|one| core::cmp::Reverse(one.0));
        let (starts, numbers) = hang(&newest_first, leaves);
        let seqnos =
            newest_first.last().zip(newest_first.first()).map(|(oldest, newest)| (oldest.0, newest.0));
        let mut index = Self {
            order,
            tombstones: tombstones.into(),
            cuts,
            newest: Box::default(),
            starts,
            numbers,
            seqnos,
        };
        let newest = |stretch| index.climb(stretch, SeqNo::LATEST).map_or(SeqNo::ZERO, SeqNo::next);
        index.newest = index.stretches().map(newest).collect();
        index
    }

    /// What it was made of.
    pub fn tombstones(&self) -> &[RangeTombstone] {
        &self.tombstones
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tombstones.is_empty()
    }

    /// Smallest and largest number.
    pub fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        self.seqnos
    }

    /// Bytes it takes, those of the keys included, which it may share.
    pub fn bytes(&self) -> usize {
        let key_len = |cut: &Cut| cut.key().map_or(0, |key| key.len());
        let keys: usize =
            self.tombstones.iter().map(|tombstone| key_len(&tombstone.start) + key_len(&tombstone.end)).sum();
        keys + size_of_val(&*self.tombstones)
            + size_of_val(&*self.cuts.all)
            + size_of_val(&*self.cuts.heads)
            + size_of_val(&*self.cuts.samples)
            + size_of_val(&*self.newest)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.numbers)
    }

    /// The largest number below `before` of a tombstone that covers `key`.
    #[inline]
    pub fn covering(&self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        self.newest_below(self.find(key), before)
    }

    /// The stretch in which `key` lies.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Stretch {
        Stretch(self.cuts.left_of(key, &self.order))
    }

    /// As [`TombstoneIndex::find`], for a key that lies in `from` or right of it: a walk over ascending keys compares each of
    /// them about twice, whatever number of tombstones there are.
    #[inline]
    pub fn find_from(&self, from: Stretch, key: &[u8]) -> Stretch {
        let rest = self.cuts.all.get(from.0..).unwrap_or_default();
        let is_left = |cut: &Cut| cut.is_left_of(key, &self.order);
        // Steps that double until one goes too far: what was passed lies left of the key.
        let (mut passed, mut step) = (0, 1);
        while rest.get(passed + step - 1).is_some_and(is_left) {
            passed += step;
            step *= 2;
        }
        let ahead = rest.get(passed..rest.len().min(passed + step - 1)).unwrap_or_default();
        Stretch(from.0 + passed + ahead.partition_point(is_left))
    }

    /// All stretches, from left to right; the first and the last one lie under nothing.
    pub fn stretches(&self) -> impl DoubleEndedIterator<Item = Stretch> + use<> {
        (0..=self.cuts.all.len()).map(Stretch)
    }

    /// The stretches from the one that starts at or spans `cut` on.
    pub fn stretches_from(&self, cut: &Cut) -> impl Iterator<Item = Stretch> + use<> {
        let first = self.cuts.all.partition_point(|other| other.compare(cut, &self.order).is_le());
        (first..=self.cuts.all.len()).map(Stretch)
    }

    /// The cuts around a stretch, left and right.
    pub fn around(&self, stretch: Stretch) -> (&Cut, &Cut) {
        let cut = |at: usize| self.cuts.all.get(at);
        (stretch.0.checked_sub(1).and_then(cut).unwrap_or(&START), cut(stretch.0).unwrap_or(&END))
    }

    /// The largest number below `before` of a tombstone over a stretch.
    #[inline]
    pub fn newest_below(&self, stretch: Stretch, before: SeqNo) -> Option<SeqNo> {
        let bound = self.newest.get(stretch.0).copied().unwrap_or_default();
        match bound.get() {
            0 => None,
            _ if bound <= before => Some(bound.saturating_prev()),
            _ => self.climb(stretch, before),
        }
    }

    /// Looks at what stands between the leaf of a stretch and the root.
    fn climb(&self, stretch: Stretch, before: SeqNo) -> Option<SeqNo> {
        let mut node = stretch.0 + self.cuts.all.len() + 1;
        let mut newest = None;
        while node > 0 {
            if let Some(&[from, to]) = self.starts.get(node..node + 2)
                && from < to
            {
                let numbers = self.numbers.get(from as usize..to as usize).unwrap_or_default();
                let seen = numbers.partition_point(|&number| before <= number);
                newest = newest.max(numbers.get(seen).copied());
            }
            node /= 2;
        }
        newest
    }
}

/// Hangs each number, given newest first with the stretches it covers, at the nodes of the tree.
fn hang(newest_first: &[(SeqNo, usize, usize)], leaves: usize) -> (Box<[u32]>, Box<[SeqNo]>) {
    let mut starts = vec![0_u32; 2 * leaves + 1];
    for &(_, from, to) in newest_first {
        // Counted one node further on, so that the sums are where each node starts.
        each_node(from + leaves, to + leaves, |node| {
            if let Some(count) = starts.get_mut(node + 1) {
                *count += 1;
            }
        });
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut next = starts.clone();
    let mut numbers = vec![SeqNo::ZERO; sum as usize];
    for &(number, from, to) in newest_first {
        each_node(from + leaves, to + leaves, |node| {
            if let Some(place) = next.get_mut(node) {
                if let Some(slot) = numbers.get_mut(*place as usize) {
                    *slot = number;
                }
                *place += 1;
            }
        });
    }
    (starts.into(), numbers.into())
}

/// The fewest nodes that together have the leaves `from..to` below them.
fn each_node(mut from: usize, mut to: usize, mut visit: impl FnMut(usize)) {
    while from < to {
        if from % 2 == 1 {
            visit(from);
            from += 1;
        }
        if to % 2 == 1 {
            to -= 1;
            visit(to);
        }
        (from, to) = (from / 2, to / 2);
    }
}

/// Ascending cuts, ready to be searched: what their keys share in front is kept once, and of each the eight bytes
/// behind that, side by side. The cuts themselves are looked at only where these are equal.
#[derive(Clone, Debug)]
struct Cuts {
    all: Box<[Cut]>,
    shared: Box<[u8]>,
    heads: Box<[u64]>,
    /// The last head of each full group of [`GROUP`]: few enough to stay in the cache between two reads.
    samples: Box<[u64]>,
}

/// Heads that are compared one by one, all of them asked for at once: a search that halves them would wait for each.
const GROUP: usize = 32;

impl Cuts {
    fn new(tombstones: &[RangeTombstone], order: &KeyOrder) -> Self {
        let ends = tombstones.iter().flat_map(|tombstone| [&tombstone.start, &tombstone.end]);
        let mut all: Vec<Cut> = ends.cloned().collect();
        all.sort_unstable_by(|a, b| a.compare(b, order));
        all.dedup();
        let mut keys = all.iter().filter_map(Cut::key);
        let shared = match (keys.next(), keys.next_back()) {
            (Some(first), Some(last)) if order.is_bytewise() => {
                let len = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
                first.get(..len).unwrap_or_default()
            }
            _ => &[],
        };
        let head = |cut: &Cut| match cut.key() {
            Some(key) => order.head(key.get(shared.len()..).unwrap_or_default()),
            None if *cut == Cut::Start || !order.is_bytewise() => 0,
            None => u64::MAX,
        };
        let heads: Box<[u64]> = all.iter().map(head).collect();
        let samples = heads.chunks_exact(GROUP).filter_map(|group| group.last().copied()).collect();
        Self { heads, samples, shared: shared.into(), all: all.into() }
    }

    /// How many heads are below `head`.
    #[inline]
    fn heads_below(&self, head: u64) -> usize {
        let group = self.samples.partition_point(|sample| *sample < head) * GROUP;
        let rest = self.heads.get(group..).unwrap_or_default();
        let group_end = rest.len().min(GROUP);
        let below = rest.get(..group_end).unwrap_or_default().iter().filter(|cut| **cut < head);
        group + below.count()
    }

    /// How many of the cuts lie left of `key`.
    #[inline]
    fn left_of(&self, key: &[u8], order: &KeyOrder) -> usize {
        let head = match key.strip_prefix(&*self.shared) {
            Some(rest) => order.head(rest),
            // All cuts at keys lie on one side of it.
            None if key < &*self.shared => 0,
            None => u64::MAX,
        };
        let from = self.heads_below(head);
        if self.heads.get(from) != Some(&head) {
            return from;
        }
        let to = self.heads.partition_point(|cut| *cut <= head);
        let alike = self.all.get(from..to).unwrap_or_default();
        from + alike.partition_point(|cut| cut.is_left_of(key, order))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{sync::Arc, vec::Vec};

    use proptest::prelude::*;

    use core::cmp::Ordering;

    use super::*;
    use crate::{Comparator, Slice, join_tombstones};

    /// Against byte order.
    struct Reverse;

    impl Comparator for Reverse {
        fn name(&self) -> &'static str {
            "test.reverse"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            b.cmp(a)
        }
    }

    const KEYS: [&str; 16] = [
        "a",
        "aa",
        "ab",
        "b",
        "c",
        "key-0000000a",
        "key-0000000aa",
        "key-0000000b",
        "key-0000000c",
        "key-0000000d",
        "key-1",
        "l",
        "m",
        "x\u{7f}",
        "y",
        "z",
    ];

    fn cuts() -> impl Strategy<Value = Cut> {
        // Sometimes all keys share a prefix, sometimes they do not.
        let key = prop::sample::select(&KEYS[..]).prop_map(Slice::from);
        prop_oneof![
            1 => Just(Cut::Start),
            1 => Just(Cut::End),
            8 => key.clone().prop_map(Cut::Before),
            8 => key.prop_map(Cut::After),
        ]
    }

    fn tombstones(order: &KeyOrder, spans: Vec<(Cut, Cut, u64)>) -> Vec<RangeTombstone> {
        let spans = spans.into_iter().map(|(a, b, seqno)| {
            let (start, end) = if a.compare(&b, order).is_le() { (a, b) } else { (b, a) };
            RangeTombstone { start, end, seqno: SeqNo::new(seqno).unwrap() }
        });
        spans.filter(|tombstone| tombstone.is_valid(order)).collect()
    }

    fn naive(all: &[RangeTombstone], key: &str, before: SeqNo, order: &KeyOrder) -> Option<SeqNo> {
        let seen = all.iter().filter(|one| one.seqno < before && one.covers(key.as_bytes(), order));
        seen.map(|one| one.seqno).max()
    }

    fn check(order: &KeyOrder, spans: Vec<(Cut, Cut, u64)>) {
        let all = tombstones(order, spans);
        let index = TombstoneIndex::new(all.clone(), order.clone());
        let joined = join_tombstones(all.clone(), order);
        assert!(joined.iter().all(|one| one.is_valid(order)));
        for key in KEYS {
            for before in (0..24).map(|raw| SeqNo::new(raw).unwrap()) {
                let expected = naive(&all, key, before, order);
                assert_eq!(index.covering(key.as_bytes(), before), expected, "{key} below {before}");
                assert_eq!(naive(&joined, key, before, order), expected, "joined, {key} below {before}");
            }
            let here = index.find(key.as_bytes());
            for from in index.stretches().take_while(|from| from.0 <= here.0) {
                assert_eq!(index.find_from(from, key.as_bytes()), here);
            }
            let (start, end) = index.around(here);
            assert!(start.is_left_of(key.as_bytes(), order) && !end.is_left_of(key.as_bytes(), order));
        }
        let mut stretches = index.stretches();
        assert_eq!(stretches.next().and_then(|first| index.newest_below(first, SeqNo::LATEST)), None);
    }

    proptest! {
        /// Proves E-32, E-33.
        #[test]
        fn a_key_lies_under_the_newest_tombstone_seen(
            spans in prop::collection::vec((cuts(), cuts(), 0_u64..24), 0..40),
        ) {
            check(&KeyOrder::bytewise(), spans.clone());
            check(&KeyOrder::new(Arc::new(Reverse)), spans);
        }

        #[test]
        fn keys_with_a_common_prefix_are_told_apart(
            spans in prop::collection::vec((5_usize..10, 5_usize..10, 0_u64..24), 0..12),
        ) {
            let cut = |at: usize| Cut::Before(KEYS[at].into());
            check(&KeyOrder::bytewise(), spans.into_iter().map(|(a, b, s)| (cut(a), cut(b), s)).collect());
        }
    }

    /// Nested tombstones take n log n numbers, not n squared.
    #[test]
    fn nested_tombstones_stay_small() {
        let key = |at: u32| Slice::from(at.to_be_bytes().as_slice());
        let nested = (0..1000_u32).map(|at| RangeTombstone {
            start: Cut::Before(key(at)),
            end: Cut::After(key(4000 - at)),
            seqno: SeqNo::new(at.into()).unwrap(),
        });
        let index = TombstoneIndex::new(nested.collect(), KeyOrder::bytewise());
        assert!(index.numbers.len() < 1000 * 22, "{} numbers", index.numbers.len());
        assert_eq!(index.covering(&key(2000), SeqNo::LATEST), SeqNo::new(999));
        assert_eq!(index.covering(&key(2000), SeqNo::new(7).unwrap()), SeqNo::new(6));
        assert_eq!(index.covering(&key(3), SeqNo::LATEST), SeqNo::new(3));
    }
}
