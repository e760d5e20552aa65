//! The tree and how it is searched.
//!
//! A B-link tree: a B+-tree whose nodes know their right neighbour. A node divides by giving its upper part to a new
//! right neighbour, first through `next`, later through the parent, so a reader that arrives too early or too late
//! finds the entry by stepping right. Readers take no lock and write nothing. They may have to look again at one
//! node when it divided under their eyes, which means that a writer made progress.
//!
//! The rules readers rely on:
//!
//! * T1: slots named by a node's ranks do not change until the node has divided, that is until `next` has changed
//!   and the ranks are no longer marked as dividing (but for an entry replaced by one with the same key and number).
//! * T2: a search enters a strict node only with a point that shares the node's prefix. From above: the parent's
//!   ranks were still the same after the child was found strict. From the left: the point is below the next fence.
//! * T3: a node's fence `low` is an entry of the node, or of its first child, from the start; it is never below it.
//! * T4: a node turns from loose to strict only after the parent knows its right neighbour.
//! * T5: a node is marked as dividing from before `next` changes until the parent knows the new neighbour. So if a
//!   child was not dividing, and its parent's ranks are the same after it was read as before, then a point that the
//!   parent sent to the child is below the child's next fence.
//!
//! Lehman, Yao, "Efficient Locking for Concurrent Operations on B-Trees", TODS 1981.

use core::cmp::Ordering;

use lsm_types::{KeyOrder, SeqNo};

use crate::{
    arena::{Arena, At, Space},
    entry::Entry,
    node::{Inner, Leaf, NodeAt, Root, Wide},
    perm::{Perm, SLOTS},
    sync::{Ordering as Atomic, retry},
};

/// Most points whose leaves are loaded together.
pub(crate) const WARM_AT_ONCE: usize = 8;

/// A place between entries: just before the newest version of `key` numbered below `before`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) before: SeqNo,
}

/// Memory, root and order.
pub(crate) struct Tree {
    pub(crate) arena: Arena,
    pub(crate) root: Root,
    pub(crate) order: KeyOrder,
}

/// The tree as a reader sees it; the directory of chunks is loaded once.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) space: Space<'a>,
    pub(crate) tree: &'a Tree,
}

/// A node on a search's way.
struct Stop<'a, N> {
    at: At<N>,
    node: &'a N,
    /// Whether the search must check the prefix here.
    loose: bool,
    next: Option<At<N>>,
    perm: Perm,
    /// Whether the point is known to lie below the fence of `next` (T5).
    is_sure: bool,
}

impl<N: Wide> Stop<'_, N> {
    /// Looks at the node again. What was known from above no longer counts.
    #[cold]
    fn again(&mut self) {
        retry();
        self.next = self.node.next().load();
        self.perm = self.node.perm().load(Atomic::Acquire);
        self.is_sure = false;
    }
}

/// Where a point lies in a leaf.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) at: At<Leaf>,
    pub(crate) leaf: &'a Leaf,
    pub(crate) next: Option<At<Leaf>>,
    pub(crate) perm: Perm,
    /// Entries of the leaf before the point.
    pub(crate) rank: usize,
}

impl Tree {
    pub(crate) fn new(order: KeyOrder) -> Self {
        Self { arena: Arena::new(), root: Root::new(), order }
    }

    /// The readers' side; `None` before the first insert.
    #[inline]
    pub(crate) fn view(&self) -> Option<View<'_>> {
        self.arena.space().map(|space| View { space, tree: self })
    }
}

impl<'a> View<'a> {
    /// Finds `point` and calls `read` on its spot, again if the leaf divides meanwhile.
    ///
    /// Every entry of the tree before the point is in the leaf below the rank, or left of the leaf.
    #[inline]
    pub(crate) fn search<T>(self, point: Point<'_>, read: impl Fn(Spot<'a>) -> T) -> Option<T> {
        let mut stop = self.descend(point)?;
        loop {
            let Stop { at, node: leaf, next, perm, .. } = stop;
            let rank = self.rank(leaf, perm, stop.loose, point);
            if let Some(right) = self.right_of(&stop, rank, point) {
                stop = self.step_right(right, point);
                continue;
            }
            let found = read(Spot { at, leaf, next, perm, rank });
            if leaf.is_undivided(next, perm) {
                return Some(found);
            }
            stop.again();
        }
    }

    /// The first entry that is not before `point`.
    #[inline]
    pub(crate) fn find(self, point: Point<'_>) -> Option<At<Entry>> {
        let (here, next) = self.search(point, |Spot { leaf, next, perm, rank, .. }| {
            (if rank < perm.count() { leaf.place(perm.slot(rank)) } else { None }, next)
        })?;
        here.or_else(|| {
            // The first entry of a leaf with a fence is the fence, in the same slot for life.
            let right = self.space.node(next?);
            right.place(right.perm().load(Atomic::Acquire).slot(0))
        })
    }

    /// The leaf that held `point` when its parent was read.
    #[inline]
    fn descend(self, point: Point<'_>) -> Option<Stop<'a, Leaf>> {
        match self.tree.root.load()? {
            NodeAt::Leaf(at) => Some(self.stop(at, false)),
            NodeAt::Inner(at) => {
                let mut stop = self.stop(at, false);
                loop {
                    match self.child(&mut stop, point)? {
                        Below::Leaf(leaf) => return Some(leaf),
                        Below::Inner(inner) => stop = inner,
                    }
                }
            }
        }
    }

    /// The inner node at `level` whose range holds `point`. Only the writer may call it.
    pub(crate) fn inner_at(self, level: u8, point: Point<'_>) -> Option<At<Inner>> {
        let NodeAt::Inner(mut at) = self.tree.root.load()? else { return None };
        let mut node = self.space.node(at);
        while node.level() > level {
            let perm = node.perm().load(Atomic::Relaxed);
            let rank = self.rank(node, perm, node.is_loose(), point);
            let Some(NodeAt::Inner(below)) = node.child(perm, rank) else { return None };
            (at, node) = (below, self.space.node(below));
        }
        (node.level() == level).then_some(at)
    }

    /// Starts loading the leaves of a few points, whose misses overlap. Only the writer may call it.
    pub(crate) fn warm_leaves<'k>(self, points: &(impl Iterator<Item = Point<'k>> + Clone)) {
        let Some(NodeAt::Inner(root)) = self.tree.root.load() else { return };
        let mut ways = [root; WARM_AT_ONCE];
        for _ in 0..self.space.node(root).level() {
            for (at, point) in ways.iter_mut().zip(points.clone()) {
                let node = self.space.node(*at);
                let perm = node.perm().load(Atomic::Relaxed);
                match node.child(perm, self.rank(node, perm, node.is_loose(), point)) {
                    Some(NodeAt::Inner(below)) => {
                        self.space.prefetch_node(below);
                        *at = below;
                    }
                    Some(NodeAt::Leaf(leaf)) => self.space.prefetch_node(leaf),
                    None => {}
                }
            }
        }
    }

    #[inline]
    fn stop<N: Wide>(self, at: At<N>, is_sure: bool) -> Stop<'a, N> {
        let node = self.space.node(at);
        node.prefetch_rest();
        let loose = node.is_loose();
        let next = node.next().load();
        let perm = node.perm().load(Atomic::Acquire);
        Stop { at, node, loose, next, perm, is_sure: is_sure && !perm.is_dividing() }
    }

    /// One step down, or right and then down; `stop` follows.
    #[inline]
    fn child(self, stop: &mut Stop<'a, Inner>, point: Point<'_>) -> Option<Below<'a>> {
        loop {
            let Stop { node, next, perm, .. } = *stop;
            let rank = self.rank(node, perm, stop.loose, point);
            if let Some(right) = self.right_of(stop, rank, point) {
                *stop = self.step_right(right, point);
                continue;
            }
            let below = match node.child(perm, rank)? {
                NodeAt::Leaf(at) => Below::Leaf(self.stop(at, true)),
                NodeAt::Inner(at) => Below::Inner(self.stop(at, true)),
            };
            // The ranks are the same after the child was read: T2, T5.
            if node.is_undivided(next, perm) && node.perm().load(Atomic::Relaxed) == perm {
                return Some(below);
            }
            stop.again();
        }
    }

    /// The right neighbour, if the point belongs there or further right.
    #[inline]
    fn right_of<N: Wide>(self, stop: &Stop<'a, N>, rank: usize, point: Point<'_>) -> Option<At<N>> {
        if rank < stop.perm.count() || stop.is_sure { None } else { self.beyond(stop.next, point) }
    }

    /// `next`, if its fence is before the point.
    #[inline]
    fn beyond<N: Wide>(self, next: Option<At<N>>, point: Point<'_>) -> Option<At<N>> {
        let at = next?;
        self.is_before(self.space.node(at).low()?, point).then_some(at)
    }

    /// The node from `at` to the right whose neighbour's fence is not before the point any more.
    #[cold]
    fn step_right<N: Wide>(self, mut at: At<N>, point: Point<'_>) -> Stop<'a, N> {
        loop {
            let stop = self.stop(at, false);
            match self.beyond(stop.next, point) {
                Some(right) => at = right,
                None => return stop,
            }
        }
    }

    /// Entries, or separators, of the node before the point, among the ranks of `perm`.
    #[inline]
    pub(crate) fn rank<N: Wide>(self, node: &N, perm: Perm, loose: bool, point: Point<'_>) -> usize {
        let head = self.head(node, loose, point.key);
        let below = node.heads_below(perm, head);
        let same_to = if self.tree.order.is_bytewise() {
            let same = |rank: &usize| node.head(perm.slot(*rank)) == head;
            below + (below..perm.count()).take_while(same).count()
        } else {
            perm.count() // all heads are equal and say nothing
        };
        if below == same_to { below } else { self.rank_among(node, perm, below, same_to, point) }
    }

    /// The same among ranks `low..high`, by full comparison.
    fn rank_among<N: Wide>(
        self,
        node: &N,
        perm: Perm,
        mut low: usize,
        mut high: usize,
        point: Point<'_>,
    ) -> usize {
        while low < high {
            let middle = usize::midpoint(low, high);
            match node.place(perm.slot(middle)) {
                Some(at) if self.is_before(at, point) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    #[inline]
    pub(crate) fn is_before(self, at: At<Entry>, point: Point<'_>) -> bool {
        self.space.compare(&self.tree.order, at, point.key, point.before).is_le()
    }

    /// The head of `key` in `node`.
    #[inline]
    pub(crate) fn head<N: Wide>(self, node: &N, loose: bool, key: &[u8]) -> u64 {
        if !self.tree.order.is_bytewise() {
            return 0;
        }
        let skip = node.skip();
        if loose && let Some(guide) = node.guide() {
            let guide = self.space.key(guide);
            match prefix(key, skip).cmp(prefix(guide, skip)) {
                Ordering::Less => return 0,
                Ordering::Greater => return u64::MAX,
                Ordering::Equal => {}
            }
        }
        head_after(key, skip)
    }
}

/// A child found on the way down.
enum Below<'a> {
    Leaf(Stop<'a, Leaf>),
    Inner(Stop<'a, Inner>),
}

/// The first `len` bytes, or all.
#[inline]
fn prefix(key: &[u8], len: usize) -> &[u8] {
    key.get(..len).unwrap_or(key)
}

/// Eight bytes of `key` from `skip` on, big-endian, padded with zeros.
#[inline]
fn head_after(key: &[u8], skip: usize) -> u64 {
    if let Some(head) = key.get(skip..).and_then(<[u8]>::first_chunk) {
        return u64::from_be_bytes(*head);
    }
    let rest_len = key.len().saturating_sub(skip);
    match key.last_chunk() {
        // The last eight bytes hold the rest at their low end.
        Some(tail) if rest_len > 0 => u64::from_be_bytes(*tail) << (64 - 8 * rest_len),
        _ => lsm_types::head_of(key.get(skip..).unwrap_or_default()),
    }
}

/// A leaf's entries in order, copied at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    entries: [Option<At<Entry>>; SLOTS],
    len: usize,
    /// The leaf to the right at that moment.
    pub(crate) next: Option<At<Leaf>>,
}

impl Page {
    /// Entries in the copy.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The entry at `rank`.
    #[inline]
    pub(crate) fn get(&self, rank: usize) -> Option<At<Entry>> {
        if rank < self.len { self.entries.get(rank).copied().flatten() } else { None }
    }
}

impl<'a> View<'a> {
    /// Copies the entries of a spot's leaf. Only valid if the leaf has not divided since.
    #[inline]
    pub(crate) fn copy(self, spot: Spot<'a>) -> Page {
        let Spot { leaf, next, perm, .. } = spot;
        let mut page = Page { entries: [None; SLOTS], len: perm.count(), next };
        for (rank, entry) in page.entries.iter_mut().enumerate() {
            *entry = leaf.place(perm.slot(rank));
        }
        if perm.is_dividing()
            && let Some(low) = next.and_then(|right| self.space.node(right).low())
        {
            // The upper part may be in the neighbour already: do not give it twice.
            let moved = page.entries.iter().take(page.len).position(|entry| *entry == Some(low));
            page.len = moved.unwrap_or(page.len);
        }
        page
    }

    /// The entries of the leaf at `at`.
    pub(crate) fn page(self, at: At<Leaf>) -> Page {
        let leaf = self.space.node(at);
        loop {
            let next = leaf.next().load();
            let perm = leaf.perm().load(Atomic::Acquire);
            let page = self.copy(Spot { at, leaf, next, perm, rank: 0 });
            if leaf.is_undivided(next, perm) {
                return page;
            }
            retry();
        }
    }

    /// The first leaf.
    pub(crate) fn first_leaf(self) -> Option<At<Leaf>> {
        let mut node = self.tree.root.load()?;
        loop {
            match node {
                NodeAt::Leaf(at) => return Some(at),
                NodeAt::Inner(at) => node = self.space.node(at).child(Perm::EMPTY, 0)?,
            }
        }
    }

    /// The last leaf and its entries.
    pub(crate) fn last_page(self) -> Option<(At<Leaf>, Page)> {
        let mut node = self.tree.root.load()?;
        loop {
            match node {
                NodeAt::Leaf(mut at) => loop {
                    at = self.rightmost(at);
                    let page = self.page(at);
                    if page.next.is_none() {
                        return Some((at, page));
                    }
                },
                NodeAt::Inner(at) => {
                    let inner = self.space.node(self.rightmost(at));
                    let perm = inner.perm().load(Atomic::Acquire);
                    // A stale rank leads to a node further left, from which the last one is reached all the same.
                    node = inner.child(perm, perm.count())?;
                }
            }
        }
    }

    fn rightmost<N: Wide>(self, mut at: At<N>) -> At<N> {
        while let Some(right) = self.space.node(at).next().load() {
            at = right;
        }
        at
    }

    /// The leaf left of `at`, and its entries.
    pub(crate) fn page_before(self, at: At<Leaf>) -> Option<(At<Leaf>, Page)> {
        let mut left = self.space.node(at).prev.load()?;
        loop {
            let page = self.page(left);
            match page.next {
                Some(next) if next == at => return Some((left, page)),
                // The left neighbour divided: its new part lies between.
                Some(next) => left = next,
                None => {
                    debug_assert!(false, "the chain of leaves leads from `prev` back to the leaf");
                    return None;
                }
            }
        }
    }
}

impl View<'_> {
    /// Starts loading the entries of a leaf, and the leaves beside it.
    pub(crate) fn warm_leaf(self, at: At<Leaf>) {
        let leaf = self.space.node(at);
        let perm = leaf.perm().load(Atomic::Acquire);
        for rank in 0..perm.count() {
            if let Some(entry) = leaf.place(perm.slot(rank)) {
                self.space.prefetch_entry(entry);
            }
        }
        for beside in [leaf.next().load(), leaf.prev.load()].into_iter().flatten() {
            self.space.prefetch_node(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn heads_after_a_prefix_are_heads_of_the_rest(
            key in prop::collection::vec(any::<u8>(), 0..24),
            skip in 0_usize..30,
        ) {
            let rest = key.get(skip..).unwrap_or_default();
            prop_assert_eq!(head_after(&key, skip), lsm_types::head_of(rest));
        }
    }
}
