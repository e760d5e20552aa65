//! Deletion of every older entry between two cuts.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::{Cut, KeyOrder, SeqNo};

/// Deletes, for reads above `seqno`, every entry numbered strictly below it whose key lies between the cuts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RangeTombstone {
    /// Left cut; strictly left of `end`.
    pub start: Cut,
    /// Right cut.
    pub end: Cut,
    /// Number of the delete; an entry with the same number survives.
    pub seqno: SeqNo,
}

impl RangeTombstone {
    /// Whether `key` lies between the cuts.
    pub fn covers(&self, key: &[u8], order: &KeyOrder) -> bool {
        self.start.is_left_of(key, order) && !self.end.is_left_of(key, order)
    }

    /// Whether the cuts are in order and leave room between them.
    pub fn is_valid(&self, order: &KeyOrder) -> bool {
        self.start.compare(&self.end, order).is_lt()
    }

    /// The part that lies between two cuts; `None` where there is none.
    pub fn clip(&self, start: &Cut, end: &Cut, order: &KeyOrder) -> Option<Self> {
        let start = if self.start.compare(start, order).is_lt() { start } else { &self.start };
        let end = if self.end.compare(end, order).is_gt() { end } else { &self.end };
        let part = Self { start: start.clone(), end: end.clone(), seqno: self.seqno };
        part.is_valid(order).then_some(part)
    }

    /// The order of range tombstones in a file: by start, then end, then from new to old.
    pub fn compare(&self, other: &Self, order: &KeyOrder) -> Ordering {
        let ends = self.start.compare(&other.start, order).then_with(|| self.end.compare(&other.end, order));
        ends.then_with(|| other.seqno.cmp(&self.seqno))
    }
}

/// Joins pieces of one number that touch or overlap, drops repeated ones, and sorts by [`RangeTombstone::compare`].
/// Over each key lie the same numbers as before.
///
/// ```
/// use lsm_types::{Cut, KeyOrder, RangeTombstone, SeqNo, join_tombstones};
///
/// let piece = |start: &str, end: &str| RangeTombstone {
///     start: Cut::Before(start.into()),
///     end: Cut::Before(end.into()),
///     seqno: SeqNo::ZERO,
/// };
/// let joined = join_tombstones(vec![piece("m", "z"), piece("a", "m")], &KeyOrder::bytewise());
/// assert_eq!(joined, [piece("a", "z")]);
/// ```
pub fn join_tombstones(mut pieces: Vec<RangeTombstone>, order: &KeyOrder) -> Vec<RangeTombstone> {
    pieces.sort_by(|a, b| a.seqno.cmp(&b.seqno).then_with(|| a.start.compare(&b.start, order)));
    let mut joined: Vec<RangeTombstone> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.seqno == piece.seqno && piece.start.compare(&last.end, order).is_le() => {
                if piece.end.compare(&last.end, order).is_gt() {
                    last.end = piece.end;
                }
            }
            _ => joined.push(piece),
        }
    }
    joined.sort_by(|a, b| a.compare(b, order));
    joined
}
