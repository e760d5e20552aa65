//! The one way to walk a sorted sequence of entries.

use core::ops::Bound;

use crate::{Cut, Kind, Result, SeqNo, Slice};

/// One entry, borrowed from where the cursor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// Effective sequence number.
    pub seqno: SeqNo,
    /// What the entry means.
    pub kind: Kind,
    /// Value, operand or handle bytes; empty for tombstones.
    pub value: &'a [u8],
}

/// A position in a sequence sorted by internal order: user key ascending by the tree's comparator, then sequence
/// number descending.
///
/// A point in that order is named by a key and an exclusive bound: `(key, before)` lies just before the newest
/// version of `key` numbered below `before`. So `(key, LATEST)` is before every version of `key`, `(key, R)` is
/// where a read at `R` looks, and `(key, ZERO)` is after every version.
///
/// A cursor that ran off either end, was never positioned, or has failed stands on no entry. After an error it
/// stays without entry until the next seek; it never passes an error over as the end of the data.
pub trait EntryCursor {
    /// Stands on the first entry.
    fn seek_first(&mut self) -> Result<()>;

    /// Stands on the last entry.
    fn seek_last(&mut self) -> Result<()>;

    /// Stands on the first entry at or after the point `(key, before)`.
    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()>;

    /// Stands on the last entry before the point `(key, before)`.
    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()>;

    /// Steps to the next entry; without an entry it does nothing.
    fn next(&mut self) -> Result<()>;

    /// Steps to the previous entry; without an entry it does nothing.
    fn prev(&mut self) -> Result<()>;

    /// The entry under the cursor. `None` also while [`EntryCursor::bound`] is `Some`.
    fn entry(&self) -> Option<EntryRef<'_>>;

    /// The value under the cursor as a slice that outlives it, shared with the block where there is one.
    fn value(&self) -> Slice {
        self.entry().map_or_else(Slice::empty, |entry| Slice::copy_from(entry.value))
    }

    /// Whether [`EntryCursor::value`] shares what it gives, so that it costs nothing to take a long value along.
    #[inline]
    fn shares_value(&self) -> bool {
        false
    }

    /// Whether it is known for next to nothing that the entry before has another key, so that this is the newest version
    /// of its key. A cursor may always say no.
    #[inline]
    fn is_newest(&self) -> bool {
        false
    }

    /// For a cursor that has not read its block yet: a key that none of the coming entries passes on the near side
    /// (at or below them walking forward, at or above them walking back). [`EntryCursor::settle`] reads the block.
    fn bound(&self) -> Option<&[u8]> {
        None
    }

    /// Reads what a lazy seek put off, after which [`EntryCursor::bound`] is `None`.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Tells that the walk will keep to these bounds from now on, so that nothing beyond is worth reading in advance.
    ///
    /// It moves nothing and hides nothing: a walk that leaves the bounds all the same misses nothing.
    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        let _ = (lower, upper);
    }

    /// Jumps forward over entries numbered below `than` that lie left of the cut `to`, where that is possible without
    /// looking at each; says whether it moved.
    ///
    /// Only such entries are passed over. How far it gets is the cursor's choice: a table whose numbers are all
    /// smaller goes to the cut, others stay where they are, and a merge of both also misses what the former holds
    /// further on. A cursor without entry stays so, unless it has a [`EntryCursor::bound`].
    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let _ = (to, than);
        Ok(false)
    }

    /// As [`EntryCursor::skip`], back over entries that lie right of the cut `to`.
    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let _ = (to, than);
        Ok(false)
    }
}
