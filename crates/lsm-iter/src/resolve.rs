//! What a read sees of one key (engine text, section 2.3).
//!
//! Without a merge operator the newest entry below the read bound decides alone: a value or an operand is what the
//! read returns, a tombstone is absence, and a range tombstone with a larger number hides it.

use lsm_types::{Kind, SeqNo};

/// Whether the newest entry a read may see gives the key a value; `covering` is the largest number, below the read
/// bound, of a range tombstone over the key.
#[inline]
pub(crate) fn gives_value(kind: Kind, seqno: SeqNo, covering: Option<SeqNo>) -> bool {
    !kind.is_tombstone() && !hidden(seqno, covering)
}

/// Whether a range tombstone numbered `covering` hides an entry; one with the same number survives.
#[inline]
pub(crate) fn hidden(seqno: SeqNo, covering: Option<SeqNo>) -> bool {
    covering.is_some_and(|delete| seqno < delete)
}

/// An entry of the key that a container offers; `T` is however the caller holds its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<T> {
    /// Effective sequence number.
    pub seqno: SeqNo,
    /// What the entry means.
    pub kind: Kind,
    /// The value, or the way to it.
    pub value: T,
}

/// Answers a point read from what each container offers, whatever order the numbers arrived in.
///
/// Containers are asked newest first, each for its newest entry below the bound:
///
/// ```
/// use lsm_iter::{Candidate, PointResolver};
/// use lsm_types::{Kind, SeqNo};
///
/// let at = |raw| SeqNo::new(raw).unwrap();
/// let mut read = PointResolver::new(SeqNo::LATEST);
/// read.offer(Candidate { seqno: at(5), kind: Kind::Put, value: "late" });
/// assert!(!read.can_stop(at(10)), "an older container holds numbers up to 10");
/// read.offer(Candidate { seqno: at(10), kind: Kind::Put, value: "newest" });
/// assert_eq!(read.finish().map(|found| found.value), Some("newest"));
/// ```
#[derive(Clone, Debug)]
pub struct PointResolver<T> {
    before: SeqNo,
    newest: Option<Candidate<T>>,
    covering: Option<SeqNo>,
}

impl<T> PointResolver<T> {
    /// A read that sees numbers below `before`.
    pub const fn new(before: SeqNo) -> Self {
        Self { before, newest: None, covering: None }
    }

    /// Takes an entry of the key; one the read does not see is passed over.
    ///
    /// Of two entries with the same number the one offered first counts, as it is in the newer container.
    #[inline]
    pub fn offer(&mut self, candidate: Candidate<T>) {
        let newer = |newest: &Candidate<T>| newest.seqno < candidate.seqno;
        if candidate.seqno < self.before && self.newest.as_ref().is_none_or(newer) {
            self.newest = Some(candidate);
        }
    }

    /// Takes the number of a range tombstone that covers the key; one the read does not see is passed over.
    pub fn cover(&mut self, delete: SeqNo) {
        if delete < self.before {
            self.covering = self.covering.max(Some(delete));
        }
    }

    /// Whether containers with numbers up to `remaining_max` cannot change the answer, their range tombstones
    /// included.
    #[inline]
    pub fn can_stop(&self, remaining_max: SeqNo) -> bool {
        let max = remaining_max.min(self.before.saturating_prev());
        self.newest.as_ref().is_some_and(|newest| max <= newest.seqno)
            || self.covering.is_some_and(|delete| max < delete)
    }

    /// The entry whose value the read returns; `None` when the key is absent.
    pub fn finish(self) -> Option<Candidate<T>> {
        let covering = self.covering;
        self.newest.filter(|newest| gives_value(newest.kind, newest.seqno, covering))
    }
}
