//! The loser tree: which of many sorted sources comes first, one path of comparisons per step.
//!
//! The slots are padded to a power of two. An inner node holds the loser of the match played there, the root the
//! winner of all. A slot that changes replays the matches on its way to the root and no others:
//!
//! ```text
//!               [0] winner
//!                    |
//!                   [1]            losers of the final,
//!                 /     \
//!              [2]       [3]       of the semi-finals
//!             /   \     /   \
//!            s0   s1   s2   s3     slots 4..8 are not stored
//! ```
//!
//! Most matches are decided by the 64-bit head kept in the node. When one slot wins twice in a row the tree also
//! remembers who came second, and the slot goes on winning by one comparison until it loses that one.
//!
//! Source: Knuth, "The Art of Computer Programming", volume 3, section 5.4.1.
#![expect(
    clippy::indexing_slicing,
    reason = "nodes are numbered by this module, below the width it allocated"
)]

use alloc::vec::Vec;
use core::hint::select_unpredictable;

/// A contestant: the slot and the number that decides most of its matches, smaller first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) head: u64,
    pub(crate) slot: u32,
}

impl Node {
    /// The node of a slot with nothing left; where heads are equal, [`Slots::tie`] has to let it lose.
    pub(crate) const fn exhausted(slot: u32) -> Self {
        Self { head: u64::MAX, slot }
    }
}

/// What the tree asks about its slots.
pub(crate) trait Slots {
    /// Looks where `slot` stands now; padding is exhausted.
    fn node(&mut self, slot: u32) -> Node;

    /// Whether slot `a` comes before slot `b`; asked only where their heads are equal.
    fn tie(&mut self, a: u32, b: u32) -> bool;
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct LoserTree {
    nodes: Vec<Node>,
    /// Who came second, while the winner wins again.
    runner_up: Option<Node>,
}

impl LoserTree {
    /// A tree for `slots` slots; [`LoserTree::build`] comes next.
    pub(crate) fn with_slots(slots: usize) -> Self {
        let nodes = alloc::vec![Node::exhausted(u32::MAX); slots.next_power_of_two()];
        Self { nodes, runner_up: None }
    }

    /// Plays all matches anew.
    pub(crate) fn build(&mut self, slots: &mut impl Slots) {
        self.runner_up = None;
        self.nodes[0] = self.play(1, slots);
    }

    fn play(&mut self, at: usize, slots: &mut impl Slots) -> Node {
        if let Some(slot) = at.checked_sub(self.nodes.len()) {
            return slots.node(u32::try_from(slot).unwrap_or(u32::MAX));
        }
        let left = self.play(2 * at, slots);
        let right = self.play(2 * at + 1, slots);
        let (winner, loser) = decide(left, right, slots);
        self.nodes[at] = loser;
        winner
    }

    /// The slot that comes first.
    #[inline]
    pub(crate) fn winner(&self) -> u32 {
        self.nodes[0].slot
    }

    /// Lets the winning slot, which has moved, compete again.
    #[inline]
    pub(crate) fn advance(&mut self, slots: &mut impl Slots) {
        let node = slots.node(self.winner());
        if let Some(second) = self.runner_up
            && !comes_before(second, node, slots)
        {
            self.nodes[0] = node;
            return;
        }
        self.replay(node, slots);
    }

    fn replay(&mut self, node: Node, slots: &mut impl Slots) {
        let leaf = self.nodes.len() + node.slot as usize;
        let mut winner = node;
        let mut at = leaf / 2;
        while at > 0 {
            let loser;
            (winner, loser) = decide(winner, self.nodes[at], slots);
            self.nodes[at] = loser;
            at /= 2;
        }
        self.nodes[0] = winner;
        self.runner_up = if winner.slot == node.slot { self.second(leaf / 2, slots) } else { None };
    }

    /// The best of those who lost to the winner itself; `at` is the first match it played.
    fn second(&self, mut at: usize, slots: &mut impl Slots) -> Option<Node> {
        let mut best = *self.nodes.get(at)?;
        at /= 2;
        while at > 0 {
            (best, _) = decide(best, self.nodes[at], slots);
            at /= 2;
        }
        Some(best)
    }
}

#[inline]
fn comes_before(a: Node, b: Node, slots: &mut impl Slots) -> bool {
    if a.head == b.head { slots.tie(a.slot, b.slot) } else { a.head < b.head }
}

/// Winner and loser. Who wins is anybody's guess, so the choice is made without a branch.
#[inline]
fn decide(a: Node, b: Node, slots: &mut impl Slots) -> (Node, Node) {
    let a_first = comes_before(a, b, slots);
    (select_unpredictable(a_first, a, b), select_unpredictable(a_first, b, a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sorted runs and how far each is consumed; ties go to the lower slot.
    struct Runs<'a>(&'a [Vec<u64>], Vec<usize>);

    impl Slots for Runs<'_> {
        fn node(&mut self, slot: u32) -> Node {
            let head = self.0.get(slot as usize).and_then(|run| run.get(self.1[slot as usize]));
            head.map_or(Node::exhausted(slot), |&head| Node { head, slot })
        }

        fn tie(&mut self, a: u32, b: u32) -> bool {
            a < b
        }
    }

    fn drain(runs: &[Vec<u64>]) -> Vec<(u64, u32)> {
        let mut slots = Runs(runs, alloc::vec![0; runs.len()]);
        let mut tree = LoserTree::with_slots(runs.len());
        tree.build(&mut slots);
        let mut out = Vec::new();
        while tree.nodes[0].head != u64::MAX {
            let slot = tree.winner();
            out.push((tree.nodes[0].head, slot));
            slots.1[slot as usize] += 1;
            tree.advance(&mut slots);
        }
        out
    }

    #[test]
    fn two_slots_and_a_padded_tree() {
        assert_eq!(drain(&[alloc::vec![1, 3], alloc::vec![2]]), [(1, 0), (2, 1), (3, 0)]);
        assert_eq!(drain(&[alloc::vec![5], alloc::vec![], alloc::vec![5, 5]]), [(5, 0), (5, 2), (5, 2)]);
    }

    proptest! {
        /// Proves C-67: draining the tree sorts, ties by slot, for any number of slots.
        #[test]
        fn drains_in_order(mut runs in prop::collection::vec(prop::collection::vec(0_u64..20, 0..12), 2..11)) {
            let mut sorted = Vec::new();
            for (slot, run) in (0_u32..).zip(&mut runs) {
                run.sort_unstable();
                sorted.extend(run.iter().map(|&head| (head, slot)));
            }
            sorted.sort_unstable();
            prop_assert_eq!(drain(&runs), sorted);
        }
    }
}
