//! Giving back what a crash took: a log's records, each applied exactly once.

use lsm_types::{Result, SeqNo};

use super::{Tree, TreeInner};
use crate::{EngineError, Token, TreeBatch};

/// What a replay did with the operations of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// Those applied.
    pub applied: usize,
    /// Those passed over, since durable tables hold what became of them.
    pub skipped: usize,
}

impl Tree {
    /// Applies a record of the caller's log as [`Tree::apply`] did before the crash: with its operations and its base.
    /// Those numbered below the durable watermark are passed over; of those above it that are in tables a second copy
    /// changes nothing.
    ///
    /// After opening, replay every record behind [`Tree::recovered_token`] in the order of the log, which is that of its
    /// numbers, before anything else is written. Where records do not lie in the order of their numbers, hold a ticket
    /// for all of them meanwhile ([`Tree::begin`]). The next seal has `token` unless it is given one.
    ///
    /// * `token`: the record's position.
    ///
    /// # Errors
    /// As [`Tree::apply`].
    pub fn replay(&self, batch: &TreeBatch, base: SeqNo, token: Token) -> Result<Replayed> {
        self.inner.replay(batch, base, token)
    }
}

impl TreeInner {
    fn replay(&self, batch: &TreeBatch, base: SeqNo, token: Token) -> Result<Replayed> {
        let out_of_range = EngineError::SeqNoOutOfRange { seqno: base, what: "the base of this batch" };
        let end = base.checked_add(batch.len() as u64).ok_or(out_of_range)?;
        let durable = self.current.load().version.watermark.seqno;
        let skipped = durable.get().saturating_sub(base.get()).min(batch.len() as u64);
        if base < end && skipped < batch.len() as u64 {
            self.apply_from(batch, base, durable)?;
        } else {
            self.check_writable()?;
        }
        self.tickets.note_replayed(end);
        self.note_position(token);
        let skipped = usize::try_from(skipped).unwrap_or(batch.len());
        Ok(Replayed { applied: batch.len() - skipped, skipped })
    }
}
