//! The one writer: where an entry goes, and how nodes divide.
//!
//! ```text
//!  left  | a b c d e f g | ->  N        1. right is made, with next = N
//!                                       2. left's ranks are marked as dividing
//!  left  | a b c | -> right | d e f g | 3. left.next = right
//!                           -> N        4. left's ranks are cut
//!                                       5. N.prev = right, the parent learns right's fence
//!                                       6. left's mark is taken away
//! ```
//!
//! A leaf at the end of an ascending run divides by opening an empty neighbour, so sequential fills leave full
//! leaves behind; one at the start of a descending run moves all it has.

use lsm_types::{EntryRef, SeqNo};

use crate::{
    MemtableError,
    arena::{At, Bump, Need, Space},
    entry::{self, Entry},
    node::{Frame, Inner, Leaf, NodeAt, Wide},
    perm::{Perm, SLOTS},
    sync::Ordering,
    tree::{Point, Tree, View},
};

const HALF: usize = SLOTS / 2;

/// The writer's state, behind the lock.
pub(crate) struct Writer {
    bump: Bump,
    finger: Option<Finger>,
    /// Whether the last entry went next to the one before: then the finger is tried before the tree is searched.
    is_run: bool,
    leaf_count: u64,
    inner_count: u64,
    height: u64,
    /// Whether no more entries are taken.
    frozen: bool,
    /// Lowest number taken.
    floor: SeqNo,
}

/// Where the last entry went.
#[derive(Clone, Copy)]
struct Finger {
    leaf: At<Leaf>,
    rank: usize,
    entry: At<Entry>,
}

/// Where the next entry goes: before `rank`, unless it is the one there `over` which it is written.
struct Target {
    leaf: At<Leaf>,
    rank: usize,
    over: Option<At<Entry>>,
    /// It follows, or precedes, the last entry in the same leaf.
    side: Side,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    AfterLast,
    BeforeLast,
    Elsewhere,
}

/// What an insert did.
#[derive(Clone, Copy, Default)]
pub(crate) struct Added {
    /// Entries more than before: 0 when one was there with the same key and number.
    pub(crate) entries: usize,
    /// Bytes written.
    pub(crate) bytes: usize,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self {
            bump: Bump::new(),
            finger: None,
            is_run: false,
            leaf_count: 0,
            inner_count: 0,
            height: 0,
            frozen: false,
            floor: SeqNo::ZERO,
        }
    }

    /// Takes no entries from now on.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Takes no entries numbered below `floor` from now on.
    pub(crate) fn refuse_below(&mut self, floor: SeqNo) {
        self.floor = floor;
    }

    /// Refuses an entry that comes too late or is numbered too low.
    #[inline]
    fn admit(&self, seqno: SeqNo) -> Result<(), MemtableError> {
        if self.frozen {
            return Err(MemtableError::Frozen);
        }
        if seqno < self.floor {
            return Err(MemtableError::BelowFloor { seqno, floor: self.floor });
        }
        Ok(())
    }

    /// Checks an entry and reserves all it can need within `max` bytes.
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        tree: &Tree,
        entry: &EntryRef<'_>,
        max: u64,
    ) -> Result<(), MemtableError> {
        self.admit(entry.seqno)?;
        entry::check(entry)?;
        let len = entry::inside_len(entry) as u64;
        let need = Need {
            inside: len + LEAF_NEED + (self.height + 1) * INNER_NEED,
            inside_alone: len + LEAF_NEED + INNER_NEED,
            piece: len.max(INNER_NEED),
            outside: entry::outside_len(entry) as u64,
        };
        tree.arena.reserve(&mut self.bump, need, max)
    }

    /// The same for all entries of a batch; returns how many they are.
    pub(crate) fn reserve_all<'e>(
        &mut self,
        tree: &Tree,
        entries: impl Iterator<Item = EntryRef<'e>>,
        max: u64,
    ) -> Result<u64, MemtableError> {
        let (mut count, mut len_sum) = (0_u64, 0);
        let mut need = Need { inside: 0, inside_alone: 0, piece: INNER_NEED, outside: 0 };
        for entry in entries {
            self.admit(entry.seqno)?;
            entry::check(&entry)?;
            let len = entry::inside_len(&entry) as u64;
            count += 1;
            len_sum += len;
            need.piece = need.piece.max(len);
            need.outside += entry::outside_len(&entry) as u64;
        }
        need.inside = len_sum + nodes_need(count, self.leaf_count, self.inner_count, self.height);
        need.inside_alone = len_sum + nodes_need(count, 0, 0, 0);
        tree.arena.reserve(&mut self.bump, need, max)?;
        Ok(count)
    }

    /// Starts loading what the next inserts of a batch need, unless they go next to the last one.
    pub(crate) fn warm<'e>(&self, tree: &Tree, entries: impl Iterator<Item = EntryRef<'e>> + Clone) {
        if let Some(view) = tree.view().filter(|_| !self.is_run) {
            view.warm_leaves(&entries.map(|entry| Point { key: entry.key, before: entry.seqno }));
        }
    }

    /// Inserts an entry for which space was reserved.
    #[inline]
    pub(crate) fn insert(&mut self, tree: &Tree, entry: &EntryRef<'_>) -> Result<Added, MemtableError> {
        self.try_insert(tree, entry)
            .ok_or(MemtableError::OutOfMemory { len: entry::inside_len(entry) as u64 })
    }

    /// `None` only when space was not reserved.
    #[inline]
    fn try_insert(&mut self, tree: &Tree, entry: &EntryRef<'_>) -> Option<Added> {
        let view = tree.view()?;
        let target = match self.near_finger(view, entry) {
            Some(target) => target,
            None => self.find(view, entry)?,
        };
        if let Some(old) = target.over {
            return self.replace(view, &target, old, entry);
        }
        let at = self.bump.place_entry(view.space, entry)?;
        let leaf = view.space.node(target.leaf);
        let perm = leaf.perm().load(Ordering::Relaxed);
        let (leaf, rank) = if perm.is_full() {
            self.divide_leaf(view, &target, at)?
        } else {
            put(view, leaf, perm, target.rank, at, entry.key);
            (target.leaf, target.rank)
        };
        self.finger = Some(Finger { leaf, rank, entry: at });
        Some(Added { entries: 1, bytes: entry::inside_len(entry) + entry::outside_len(entry) })
    }

    /// The place next to the last entry, if it is known to be the right one without a search.
    #[inline]
    fn near_finger(&self, view: View<'_>, entry: &EntryRef<'_>) -> Option<Target> {
        let finger = self.finger.filter(|_| self.is_run)?;
        let leaf = view.space.node(finger.leaf);
        let perm = leaf.perm().load(Ordering::Relaxed);
        let order = |at| view.space.compare(&view.tree.order, at, entry.key, entry.seqno);
        let target = |rank, side| Some(Target { leaf: finger.leaf, rank, over: None, side });
        if order(finger.entry).is_lt() {
            let rank = finger.rank + 1;
            let following = if rank < perm.count() {
                leaf.place(perm.slot(rank))
            } else {
                leaf.next().load().and_then(|next| view.space.node(next).low())
            };
            if following.is_none_or(|at| order(at).is_gt()) {
                return target(rank, Side::AfterLast);
            }
        } else if order(finger.entry).is_gt() {
            let preceding = match finger.rank.checked_sub(1) {
                Some(rank) => leaf.place(perm.slot(rank)),
                None => leaf.low(), // the first leaf has no fence and nothing before it
            };
            if preceding.is_none_or(|at| order(at).is_lt()) {
                return target(finger.rank, Side::BeforeLast);
            }
        }
        None
    }

    /// The place by a search from the root, which is made if there is none.
    #[inline]
    fn find(&mut self, view: View<'_>, entry: &EntryRef<'_>) -> Option<Target> {
        if view.tree.root.load().is_none() {
            let frame = Frame { low: None, skip: 0, loose: false };
            let first = self.bump.place_node(view.space, Leaf::new(frame, None, None))?;
            self.leaf_count = 1;
            view.tree.root.store(NodeAt::Leaf(first));
        }
        // The point just after all that is not above the entry: one with the same number stands right before it.
        let point = Point { key: entry.key, before: entry.seqno };
        let (leaf, rank, last) = view.search(point, |spot| {
            let last = spot.rank.checked_sub(1).and_then(|rank| spot.leaf.place(spot.perm.slot(rank)));
            (spot.at, spot.rank, last)
        })?;
        let node = view.space.node(leaf);
        let last_head = |rank| node.head(node.perm().load(Ordering::Relaxed).slot(rank));
        let head = view.head(node, node.is_loose(), entry.key);
        let over = last.filter(|at| {
            last_head(rank - 1) == head
                && view.space.compare(&view.tree.order, *at, entry.key, entry.seqno).is_eq()
        });
        self.is_run =
            self.finger.is_some_and(|finger| finger.leaf == leaf || node.prev.load() == Some(finger.leaf));
        Some(Target { leaf, rank, over, side: Side::Elsewhere })
    }

    /// Writes over the entry with the same key and number, or leaves it if it says the same.
    fn replace(
        &mut self,
        view: View<'_>,
        target: &Target,
        old: At<Entry>,
        entry: &EntryRef<'_>,
    ) -> Option<Added> {
        if view.space.entry(old) == *entry {
            return Some(Added::default());
        }
        let at = self.bump.place_entry(view.space, entry)?;
        let leaf = view.space.node(target.leaf);
        leaf.set_place(leaf.perm().load(Ordering::Relaxed).slot(target.rank - 1), at);
        Some(Added { entries: 0, bytes: entry::inside_len(entry) + entry::outside_len(entry) })
    }

    /// Divides a full leaf and puts the entry into one of the parts; returns where it is.
    #[cold]
    fn divide_leaf(&mut self, view: View<'_>, target: &Target, new: At<Entry>) -> Option<(At<Leaf>, usize)> {
        let Target { leaf: left_at, rank, side, .. } = *target;
        let space = view.space;
        let left = space.node(left_at);
        let perm = left.perm().load(Ordering::Relaxed);
        let next = left.next().load();
        let keep = match (rank, side) {
            (SLOTS, Side::AfterLast) => SLOTS,
            (SLOTS, _) if next.is_none() => SLOTS,
            (0, Side::BeforeLast) => 0,
            _ => HALF,
        };
        let goes_right = rank > keep || keep == SLOTS;
        let low = if keep == SLOTS { new } else { left.place(perm.slot(keep))? };
        let last = if keep == SLOTS || (goes_right && rank == SLOTS) {
            new
        } else {
            left.place(perm.slot(SLOTS - 1))?
        };
        let high = next.and_then(|next| space.node(next).low());
        let sample = left.low().or_else(|| left.place(perm.slot(0)));
        let (frame, same_heads) = frame_right(view, left, perm, keep, Fences { low, high, last, sample });

        let right = Leaf::new(frame, Some(left_at), next);
        let mut right_perm = Perm::EMPTY;
        for from in keep..SLOTS {
            let slot = perm.slot(from);
            let at = left.place(slot)?;
            let head =
                if same_heads { left.head(slot) } else { view.head(&right, frame.loose, space.key(at)) };
            let (more, to) = right_perm.with_slot_at(from - keep);
            right.fill(to, head, at);
            right_perm = more;
        }
        right.perm().store(right_perm, Ordering::Relaxed);
        let key = space.key(new);
        if goes_right {
            put(view, &right, right_perm, rank - keep, new, key);
        }
        let right_at = self.bump.place_node(space, right)?;
        self.leaf_count += 1;

        let perm = publish_right(left, perm, keep, right_at);
        if let Some(next) = next {
            space.node(next).prev.store(Some(right_at));
        }
        self.add_child(view, 1, NodeAt::Leaf(left_at), low, NodeAt::Leaf(right_at))?;
        left.perm().store(perm, Ordering::Release);
        tighten(view, left, low);
        if goes_right {
            return Some((right_at, rank - keep));
        }
        put(view, left, perm, rank, new, key);
        Some((left_at, rank))
    }

    /// Makes the parent level know that `right` starts at `low`, right of `left`.
    fn add_child(
        &mut self,
        view: View<'_>,
        level: u8,
        left: NodeAt,
        low: At<Entry>,
        right: NodeAt,
    ) -> Option<()> {
        if view.tree.root.load() == Some(left) {
            return self.add_root(view, level, left, low, right);
        }
        let entry = view.space.entry(low);
        let point = Point { key: entry.key, before: entry.seqno };
        let parent_at = view.inner_at(level, point)?;
        let parent = view.space.node(parent_at);
        let perm = parent.perm().load(Ordering::Relaxed);
        let rank = view.rank(parent, perm, parent.is_loose(), point);
        if perm.is_full() {
            return self.divide_inner(view, parent_at, rank, low, right);
        }
        put_child(view, parent, perm, rank, low, right);
        Some(())
    }

    fn add_root(
        &mut self,
        view: View<'_>,
        level: u8,
        left: NodeAt,
        low: At<Entry>,
        right: NodeAt,
    ) -> Option<()> {
        let sample = match left {
            NodeAt::Leaf(at) => first_place(view.space.node(at)),
            NodeAt::Inner(at) => first_place(view.space.node(at)),
        };
        let frame = open_frame(view, None, low, sample);
        let root = Inner::new(frame, Some(low), level, left, None);
        put_child(view, &root, Perm::EMPTY, 0, low, right);
        let root = self.bump.place_node(view.space, root)?;
        view.tree.root.store(NodeAt::Inner(root));
        self.inner_count += 1;
        self.height = u64::from(level);
        Some(())
    }

    /// Divides a full inner node; the separator in the middle moves up.
    fn divide_inner(
        &mut self,
        view: View<'_>,
        left_at: At<Inner>,
        rank: usize,
        separator: At<Entry>,
        child: NodeAt,
    ) -> Option<()> {
        let space = view.space;
        let left = space.node(left_at);
        let perm = left.perm().load(Ordering::Relaxed);
        let next = left.next().load();
        let appends = rank == SLOTS && next.is_none();
        let keep = if appends { SLOTS } else { HALF };
        let low = if appends { separator } else { left.place(perm.slot(keep))? };
        let first = if appends { child } else { left.child(perm, keep + 1)? };
        let last = if rank == SLOTS { separator } else { left.place(perm.slot(SLOTS - 1))? };
        let high = next.and_then(|next| space.node(next).low());
        let sample = left.low().or_else(|| left.place(perm.slot(0)));
        let (frame, same_heads) = frame_right(view, left, perm, keep, Fences { low, high, last, sample });

        let right = Inner::new(frame, Some(low), left.level(), first, next);
        let mut right_perm = Perm::EMPTY;
        for from in keep + 1..SLOTS {
            let slot = perm.slot(from);
            let at = left.place(slot)?;
            let head =
                if same_heads { left.head(slot) } else { view.head(&right, frame.loose, space.key(at)) };
            let (more, to) = right_perm.with_slot_at(from - keep - 1);
            right.fill_child(to, head, at, left.child(perm, from + 1)?);
            right_perm = more;
        }
        right.perm().store(right_perm, Ordering::Relaxed);
        let goes_right = !appends && rank > keep;
        if goes_right {
            put_child(view, &right, right_perm, rank - keep - 1, separator, child);
        }
        let right_at = self.bump.place_node(space, right)?;
        self.inner_count += 1;

        let perm = publish_right(left, perm, keep, right_at);
        self.add_child(view, left.level() + 1, NodeAt::Inner(left_at), low, NodeAt::Inner(right_at))?;
        left.perm().store(perm, Ordering::Release);
        tighten(view, left, low);
        if !goes_right && !appends {
            put_child(view, left, perm, rank, separator, child);
        }
        Some(())
    }
}

const LEAF_NEED: u64 = (size_of::<Leaf>() + align_of::<Leaf>() - 1) as u64;
const INNER_NEED: u64 = (size_of::<Inner>() + align_of::<Inner>() - 1) as u64;

/// Bytes of all nodes that `count` inserts can add to a tree of this size.
///
/// A node fills up by at least seven inserts, and then divides at most twice: once at an end, which leaves it full,
/// and once in the middle. Every node that is there already may do so at once.
fn nodes_need(count: u64, leaf_count: u64, inner_count: u64, height: u64) -> u64 {
    let leaves = count.min(2 * leaf_count + 2 * count / 7) + 1;
    let inners = (leaves * (height + 1)).min(2 * inner_count + 2 * leaves / 7) + height + 8;
    leaves * LEAF_NEED + inners * INNER_NEED
}

/// Puts an entry before `rank` of a leaf with a free slot.
#[inline]
fn put(view: View<'_>, leaf: &Leaf, perm: Perm, rank: usize, at: At<Entry>, key: &[u8]) {
    let (more, slot) = perm.with_slot_at(rank);
    leaf.fill(slot, view.head(leaf, leaf.is_loose(), key), at);
    leaf.perm().store(more, Ordering::Release);
}

/// Puts a separator before `rank` of an inner node with a free slot, and its child after it.
fn put_child(view: View<'_>, node: &Inner, perm: Perm, rank: usize, separator: At<Entry>, child: NodeAt) {
    let (more, slot) = perm.with_slot_at(rank);
    let head = view.head(node, node.is_loose(), view.space.key(separator));
    node.fill_child(slot, head, separator, child);
    node.perm().store(more, Ordering::Release);
}

/// Steps 2 to 4 of a division. Returns the ranks the left node keeps, to be stored when the parent knows (T5).
fn publish_right<N: Wide>(left: &N, perm: Perm, keep: usize, right: At<N>) -> Perm {
    let cut = perm.cut(keep);
    left.perm().store(perm.dividing(), Ordering::Release);
    left.next().store(Some(right));
    left.perm().store(cut.dividing(), Ordering::Release);
    cut
}

/// Makes a loose node strict, now that it has a right neighbour, if its range shares the prefix (T4).
fn tighten<N: Wide>(view: View<'_>, left: &N, high: At<Entry>) {
    if left.is_loose()
        && let Some(low) = left.low()
        && shared(view.space, low, high) >= left.skip()
    {
        left.loose().store(0, Ordering::Release);
    }
}

/// What is known of the range of a node to be.
#[derive(Clone, Copy)]
struct Fences {
    low: At<Entry>,
    high: Option<At<Entry>>,
    /// The last entry or separator the node starts with.
    last: At<Entry>,
    /// An early entry of the left node.
    sample: Option<At<Entry>>,
}

/// The frame of the right part of `left`, and whether heads can be taken over.
fn frame_right<N: Wide>(view: View<'_>, left: &N, perm: Perm, keep: usize, fences: Fences) -> (Frame, bool) {
    let Fences { low, high, last, sample } = fences;
    if !view.tree.order.is_bytewise() {
        return (Frame { low: Some(low), skip: 0, loose: false }, true);
    }
    if !left.is_loose() && keep < SLOTS {
        // Reading keys costs a miss each: stay with the prefix while heads tell the keys apart well.
        let (first, last) = (left.head(perm.slot(keep)), left.head(perm.slot(SLOTS - 1)));
        if (first ^ last).leading_zeros() < 40 {
            let skip = u16::try_from(left.skip()).unwrap_or(u16::MAX);
            return (Frame { low: Some(low), skip, loose: false }, true);
        }
    }
    if let Some(high) = high {
        return (Frame { low: Some(low), skip: to_skip(shared(view.space, low, high)), loose: false }, false);
    }
    let guess = if low == last { sample } else { Some(last) };
    (open_frame(view, Some(low), low, guess), false)
}

/// The frame of a node without right fence: its prefix is a guess from two of its keys, one byte shorter.
fn open_frame(view: View<'_>, low: Option<At<Entry>>, guide: At<Entry>, guess: Option<At<Entry>>) -> Frame {
    if !view.tree.order.is_bytewise() {
        return Frame { low, skip: 0, loose: false };
    }
    let len = guess.map_or(0, |guess| shared(view.space, guide, guess));
    Frame { low, skip: to_skip(len.saturating_sub(1)), loose: true }
}

fn to_skip(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX) // a shorter prefix is as right
}

/// Bytes two keys start with in common.
fn shared(space: Space<'_>, a: At<Entry>, b: At<Entry>) -> usize {
    space.key(a).iter().zip(space.key(b)).take_while(|(a, b)| a == b).count()
}

fn first_place<N: Wide>(node: &N) -> Option<At<Entry>> {
    node.place(node.perm().load(Ordering::Relaxed).slot(0))
}
