//! Nodes of the tree: a word of ranks, eight bytes of each key, and where the rest lies.
//!
//! ```text
//!  Leaf, 3 lines                            Inner, 4 lines
//!  | perm next prev low skip loose |        | perm next low guide first skip loose level |
//!  | heads x 14   entries x 14     |        | heads x 14   separators x 14   children x 14 |
//! ```
//!
//! * `low`: the fence. Nothing below it is in the node; it never changes. The first node of each level has none.
//! * `next`: the right neighbour. It changes only when the node divides, and then to a node that did not exist
//!   before, so a reader that finds it unchanged knows that no slot it read was used again meanwhile.
//! * `skip`: bytes of a key left out of its head. In a *strict* node all keys that a search may bring along share
//!   them. In a *loose* one they need not: they are compared with the guide's, and a key outside its prefix gets
//!   the lowest or the highest head.
//!
//! A slot holds a place or, until it is first used, nothing; whatever a reader finds in it is safe to follow.

#![expect(unsafe_code, reason = "unchecked slots and places read back from atomics")]

use core::marker::PhantomData;

use crate::{
    arena::{At, Node},
    entry::Entry,
    perm::{AtomicPerm, Perm, SLOTS, Slot},
    prefetch::{LINE, prefetch},
    sync::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};

/// A place that changes: `None` or an `At<T>` of the arena it lives in.
pub(crate) struct AtomicAt<T> {
    raw: AtomicU32,
    what: PhantomData<fn() -> T>,
}

impl<T> AtomicAt<T> {
    pub(crate) fn new(at: Option<At<T>>) -> Self {
        Self { raw: AtomicU32::new(at.map_or(0, At::raw)), what: PhantomData }
    }

    #[inline]
    pub(crate) fn load(&self) -> Option<At<T>> {
        let raw = self.raw.load(Ordering::Acquire);
        // SAFETY: only `new` and `store` put numbers here, of an `At<T>` of the same arena; the store releases.
        unsafe { At::from_raw(raw) }
    }

    /// Whether it still is `at`. Loads the number only, without ordering.
    #[inline]
    fn is(&self, at: Option<At<T>>) -> bool {
        self.raw.load(Ordering::Relaxed) == at.map_or(0, At::raw)
    }

    #[inline]
    pub(crate) fn store(&self, at: Option<At<T>>) {
        self.raw.store(at.map_or(0, At::raw), Ordering::Release);
    }
}

/// What both kinds of nodes have.
pub(crate) trait Wide: Node {
    fn perm(&self) -> &AtomicPerm;
    fn next(&self) -> &AtomicAt<Self>
    where
        Self: Sized;
    fn low(&self) -> Option<At<Entry>>;
    /// The entry whose first `skip` bytes are the prefix of a loose node.
    fn guide(&self) -> Option<At<Entry>>;
    fn skip(&self) -> usize;
    fn loose(&self) -> &AtomicU8;
    fn heads(&self) -> &[AtomicU64; SLOTS];
    /// Entries of a leaf, separators of an inner node.
    fn places(&self) -> &[AtomicAt<Entry>; SLOTS];

    #[inline]
    fn head(&self, slot: Slot) -> u64 {
        // SAFETY: the number of a slot is below `SLOTS`, as `Perm` promises.
        unsafe { self.heads().get_unchecked(slot.index()) }.load(Ordering::Relaxed)
    }

    #[inline]
    fn place(&self, slot: Slot) -> Option<At<Entry>> {
        // SAFETY: the number of a slot is below `SLOTS`, as `Perm` promises.
        unsafe { self.places().get_unchecked(slot.index()) }.load()
    }

    /// Fills a slot. Both stores release, so a reader that sees them sees what the writer did before, too.
    #[inline]
    fn fill(&self, slot: Slot, head: u64, place: At<Entry>) {
        // SAFETY: the number of a slot is below `SLOTS`, as `Perm` promises.
        unsafe { self.heads().get_unchecked(slot.index()) }.store(head, Ordering::Release);
        self.set_place(slot, place);
    }

    #[inline]
    fn set_place(&self, slot: Slot, place: At<Entry>) {
        // SAFETY: the number of a slot is below `SLOTS`, as `Perm` promises.
        unsafe { self.places().get_unchecked(slot.index()) }.store(Some(place));
    }

    /// Ranks whose head is below `head`. One pass without branches: all lines of the node are asked for at once.
    #[inline]
    fn heads_below(&self, perm: Perm, head: u64) -> usize {
        let mut below = 0_u32;
        for rank in 0..SLOTS {
            below |= u32::from(self.head(perm.slot(rank)) < head) << rank;
        }
        // Heads ascend with rank, so the ones are at the low end; what free slots hold lies beyond the count.
        (below.trailing_ones() as usize).min(perm.count())
    }

    #[inline]
    fn is_loose(&self) -> bool {
        self.loose().load(Ordering::Acquire) != 0
    }

    /// Whether all slots named by `perm` were valid until now, given that `next` was loaded before it.
    ///
    /// The node has not divided since `next` was loaded. If it was in the midst of it, with `next` new and the ranks
    /// still old, then the ranks must not have been cut either, for then the freed slots are used again.
    #[inline]
    fn is_undivided(&self, next: Option<At<Self>>, perm: Perm) -> bool
    where
        Self: Sized,
    {
        fence(Ordering::Acquire);
        self.next().is(next) && (!perm.is_dividing() || self.perm().load(Ordering::Relaxed) == perm)
    }

    /// Starts loading the node; the first line comes by itself.
    #[inline]
    fn prefetch_rest(&self)
    where
        Self: Sized,
    {
        let start = core::ptr::from_ref(self).cast::<u8>();
        for line in 1..size_of::<Self>() / LINE {
            prefetch(start.wrapping_add(line * LINE));
        }
    }
}

/// A node of entries.
#[repr(C, align(64))]
pub(crate) struct Leaf {
    perm: AtomicPerm,
    next: AtomicAt<Leaf>,
    /// A node to the left, mostly the neighbour: from there `next` leads here.
    pub(crate) prev: AtomicAt<Leaf>,
    low: Option<At<Entry>>,
    skip: u16,
    loose: AtomicU8,
    heads: [AtomicU64; SLOTS],
    entries: [AtomicAt<Entry>; SLOTS],
}

/// A node of nodes: `first` covers what is below the first separator, each child what is at or above its own.
#[repr(C, align(64))]
pub(crate) struct Inner {
    perm: AtomicPerm,
    next: AtomicAt<Inner>,
    low: Option<At<Entry>>,
    guide: Option<At<Entry>>,
    first: AtomicU32,
    skip: u16,
    loose: AtomicU8,
    level: u8,
    heads: [AtomicU64; SLOTS],
    separators: [AtomicAt<Entry>; SLOTS],
    children: [AtomicU32; SLOTS],
}

#[cfg(not(loom))]
const _: () =
    assert!(size_of::<Leaf>() == 3 * LINE && size_of::<Inner>() == 4 * LINE, "nodes fill whole lines");
#[cfg(not(loom))]
const _: () = assert!(size_of::<Option<At<Entry>>>() == 4, "an optional place costs nothing");

// SAFETY: only `place_node` places it; `low` and `skip` never change, the rest is atomic.
unsafe impl Node for Leaf {}

// SAFETY: only `place_node` places it; `low`, `guide`, `skip` and `level` never change, the rest is atomic.
unsafe impl Node for Inner {}

/// What a node is made with and keeps for life.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) low: Option<At<Entry>>,
    pub(crate) skip: u16,
    pub(crate) loose: bool,
}

/// A node of either kind.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum NodeAt {
    Leaf(At<Leaf>),
    Inner(At<Inner>),
}

impl NodeAt {
    const fn raw(self) -> u32 {
        match self {
            Self::Leaf(at) => at.raw(),
            Self::Inner(at) => at.raw(),
        }
    }
}

impl Leaf {
    /// A leaf without entries.
    pub(crate) fn new(frame: Frame, prev: Option<At<Self>>, next: Option<At<Self>>) -> Self {
        Self {
            perm: AtomicPerm::new(Perm::EMPTY),
            next: AtomicAt::new(next),
            prev: AtomicAt::new(prev),
            low: frame.low,
            skip: frame.skip,
            loose: AtomicU8::new(u8::from(frame.loose)),
            heads: core::array::from_fn(|_| AtomicU64::new(0)),
            entries: core::array::from_fn(|_| AtomicAt::new(None)),
        }
    }
}

impl Inner {
    /// An inner node with one child, `level` levels above the leaves.
    pub(crate) fn new(
        frame: Frame,
        guide: Option<At<Entry>>,
        level: u8,
        first: NodeAt,
        next: Option<At<Self>>,
    ) -> Self {
        debug_assert!(matches!(first, NodeAt::Leaf(_)) == (level == 1), "leaves have level 0");
        Self {
            perm: AtomicPerm::new(Perm::EMPTY),
            next: AtomicAt::new(next),
            low: frame.low,
            guide,
            first: AtomicU32::new(first.raw()),
            skip: frame.skip,
            loose: AtomicU8::new(u8::from(frame.loose)),
            level,
            heads: core::array::from_fn(|_| AtomicU64::new(0)),
            separators: core::array::from_fn(|_| AtomicAt::new(None)),
            children: core::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// Levels above the leaves, at least 1.
    pub(crate) const fn level(&self) -> u8 {
        self.level
    }

    /// The child right of `rank` separators.
    #[inline]
    pub(crate) fn child(&self, perm: Perm, rank: usize) -> Option<NodeAt> {
        let cell = match rank.checked_sub(1) {
            None => &self.first,
            // SAFETY: the number of a slot is below `SLOTS`, as `Perm` promises.
            Some(before) => unsafe { self.children.get_unchecked(perm.slot(before).index()) },
        };
        // SAFETY: the level says which kind of node the numbers here belong to.
        unsafe { node_from_raw(self.level == 1, cell.load(Ordering::Acquire)) }
    }

    /// Fills a slot with a separator and the child that starts there.
    pub(crate) fn fill_child(&self, slot: Slot, head: u64, separator: At<Entry>, child: NodeAt) {
        debug_assert!(matches!(child, NodeAt::Leaf(_)) == (self.level == 1), "all children are of one kind");
        // SAFETY: the number of a slot is below `SLOTS`, as `Perm` promises.
        unsafe { self.children.get_unchecked(slot.index()) }.store(child.raw(), Ordering::Release);
        self.fill(slot, head, separator);
    }
}

/// # Safety
/// `raw` is zero or the number of a leaf, or of an inner node, as `leaf` says, read back from an atomic that was
/// stored with release and loaded with acquire.
#[inline]
unsafe fn node_from_raw(leaf: bool, raw: u32) -> Option<NodeAt> {
    if leaf {
        // SAFETY: the caller's promise.
        unsafe { At::from_raw(raw) }.map(NodeAt::Leaf)
    } else {
        // SAFETY: the caller's promise.
        unsafe { At::from_raw(raw) }.map(NodeAt::Inner)
    }
}

/// The top of the tree: `None` before the first insert.
pub(crate) struct Root(AtomicU64);

impl Root {
    const INNER: u64 = 1 << 32;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the number is the lower half of the word")]
    pub(crate) fn load(&self) -> Option<NodeAt> {
        let word = self.0.load(Ordering::Acquire);
        // SAFETY: only `store` puts words here, with the kind of node beside the number, and it releases.
        unsafe { node_from_raw(word & Self::INNER == 0, word as u32) }
    }

    pub(crate) fn store(&self, node: NodeAt) {
        let kind = if matches!(node, NodeAt::Inner(_)) { Self::INNER } else { 0 };
        self.0.store(kind | u64::from(node.raw()), Ordering::Release);
    }
}

macro_rules! wide {
    ($node:ident, $guide:ident, $places:ident) => {
        impl Wide for $node {
            #[inline]
            fn perm(&self) -> &AtomicPerm {
                &self.perm
            }

            #[inline]
            fn next(&self) -> &AtomicAt<Self> {
                &self.next
            }

            #[inline]
            fn low(&self) -> Option<At<Entry>> {
                self.low
            }

            #[inline]
            fn guide(&self) -> Option<At<Entry>> {
                self.$guide
            }

            #[inline]
            fn skip(&self) -> usize {
                usize::from(self.skip)
            }

            #[inline]
            fn loose(&self) -> &AtomicU8 {
                &self.loose
            }

            #[inline]
            fn heads(&self) -> &[AtomicU64; SLOTS] {
                &self.heads
            }

            #[inline]
            fn places(&self) -> &[AtomicAt<Entry>; SLOTS] {
                &self.$places
            }
        }
    };
}

wide!(Leaf, low, entries);
wide!(Inner, guide, separators);
