//! Deletion of every older entry between two cuts.

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
}
