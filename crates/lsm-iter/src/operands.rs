//! Point reads of keys with merge operands.

use alloc::vec::Vec;

use lsm_types::{Kind, MergeOperator, Result, SeparatedValues, SeqNo, Slice};

use crate::{
    chain::{as_slices, fetch, fold},
    resolve::{Candidate, hidden},
};

/// Answers a point read of a key that may have operands from the entries that each container offers, whatever order
/// the numbers arrived in.
///
/// Containers are asked newest first, each for its entries below the bound, newest first, until
/// [`ChainResolver::offer`] wants no older one. The chain ends at the newest value, tombstone, or covering range
/// tombstone.
///
/// ```
/// use lsm_iter::{Candidate, ChainResolver, Resolved};
/// use lsm_types::{Kind, SeqNo, operators::Append};
///
/// let entry = |raw, kind, value| Candidate { seqno: SeqNo::new(raw).unwrap(), kind, value };
/// let mut read = ChainResolver::new(SeqNo::LATEST);
/// assert!(read.offer(entry(9, Kind::MergeOperand, "c")), "what lies below is wanted");
/// assert!(read.offer(entry(7, Kind::MergeOperand, "b")));
/// assert!(!read.offer(entry(5, Kind::Put, "a")), "the chain ends here");
/// match read.finish(b"key", &Append, None)? {
///     Some(Resolved::Folded { value, .. }) => assert_eq!(value, b"abc"),
///     _ => unreachable!("there are operands"),
/// }
/// # Ok::<(), lsm_types::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChainResolver<T> {
    before: SeqNo,
    covering: Option<SeqNo>,
    /// The newest value or tombstone.
    boundary: Option<Candidate<T>>,
    /// Those above the boundary, and maybe some that were offered before it was found.
    operands: Vec<Candidate<T>>,
}

/// What a read finds under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolved<T> {
    /// A value as it was written.
    Plain(Candidate<T>),
    /// What the operator made of operands.
    Folded {
        /// Number of the newest operand.
        seqno: SeqNo,
        /// The value.
        value: Slice,
    },
}

impl<T: AsRef<[u8]>> ChainResolver<T> {
    /// A read that sees numbers below `before`.
    pub const fn new(before: SeqNo) -> Self {
        Self { before, covering: None, boundary: None, operands: Vec::new() }
    }

    /// Takes the number of a range tombstone that covers the key; one the read does not see is passed over.
    pub fn cover(&mut self, delete: SeqNo) {
        if delete < self.before {
            self.covering = self.covering.max(Some(delete));
        }
    }

    /// Takes an entry of the key; says whether an older one of the same container may matter.
    ///
    /// Of two entries with the same number the one offered first counts, as it is in the newer container.
    pub fn offer(&mut self, candidate: Candidate<T>) -> bool {
        let seqno = candidate.seqno;
        if self.before <= seqno {
            return true;
        }
        if hidden(seqno, self.covering) || self.ends_above(seqno) {
            return false;
        }
        if candidate.kind == Kind::MergeOperand {
            self.operands.push(candidate);
            return true;
        }
        if self.operands.iter().any(|operand| operand.seqno == seqno) {
            return true;
        }
        self.boundary = Some(candidate);
        false
    }

    /// Whether the chain is known to end at `seqno` or above.
    fn ends_above(&self, seqno: SeqNo) -> bool {
        self.boundary.as_ref().is_some_and(|boundary| seqno <= boundary.seqno)
    }

    /// Whether containers with numbers up to `remaining_max` cannot change the answer, their range tombstones
    /// included.
    pub fn can_stop(&self, remaining_max: SeqNo) -> bool {
        let max = remaining_max.min(self.before.saturating_prev());
        self.ends_above(max) || hidden(max, self.covering)
    }

    /// The value of `key`; `None` when it is absent.
    ///
    /// * `values`: fetches the value below the operands where it is separated.
    ///
    /// # Errors
    /// `MergeFailed` with what the operator said; what fetching finds, `SeparatedBase` where nobody does.
    pub fn finish(
        self,
        key: &[u8],
        operator: &dyn MergeOperator,
        values: Option<&dyn SeparatedValues>,
    ) -> Result<Option<Resolved<T>>> {
        let Self { covering, boundary, mut operands, .. } = self;
        let boundary = boundary.filter(|boundary| !hidden(boundary.seqno, covering));
        let end = boundary.as_ref().map(|boundary| boundary.seqno);
        operands.retain(|operand| end < Some(operand.seqno) && !hidden(operand.seqno, covering));
        if !operands.is_sorted_by(|newer, older| newer.seqno > older.seqno) {
            // Stable: of copies the one that was offered first stays in front.
            operands.sort_by_key(|operand| core::cmp::Reverse(operand.seqno));
            operands.dedup_by_key(|operand| operand.seqno);
        }
        let base = boundary.filter(|boundary| boundary.kind.is_value());
        let Some(newest) = operands.first() else { return Ok(base.map(Resolved::Plain)) };
        let fetched = match &base {
            Some(base) if base.kind == Kind::Indirection => Some(fetch(values, key, base.value.as_ref())?),
            _ => None,
        };
        let base = fetched.as_deref().or(base.as_ref().map(|base| base.value.as_ref()));
        let oldest_first = operands.iter().rev().map(|operand| operand.value.as_ref());
        let value = as_slices(oldest_first, |operands| fold(operator, key, base, operands))?;
        Ok(Some(Resolved::Folded { seqno: newest.seqno, value }))
    }
}
