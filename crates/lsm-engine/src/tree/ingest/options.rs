//! How an ingestion goes.

use lsm_compaction_executor::Cancel;
use lsm_types::{Result, SeqNo};

use crate::EngineError;

/// How an ingestion goes, and the number of everything in it.
#[non_exhaustive]
pub struct IngestOptions {
    pub(super) number: Number,
    pub(super) backfill: bool,
    pub(super) target_bytes: Option<u64>,
    pub(super) cancel: Cancel,
}

/// Where the number comes from.
pub(super) enum Number {
    /// The caller has chosen it.
    Given(SeqNo),
    /// It is drawn when the ingestion becomes part of the tree.
    Drawn(Box<dyn FnOnce() -> SeqNo + Send>),
}

impl IngestOptions {
    /// An ingestion numbered `seqno`, above all writes in its range.
    pub fn at(seqno: SeqNo) -> Self {
        Self::numbered(Number::Given(seqno))
    }

    /// An ingestion whose number `draw` takes from the caller's supply when it ends.
    ///
    /// `draw` runs while ranges are not deleted, memtables not sealed and snapshots not held; it must not use the tree.
    pub fn draw(draw: impl FnOnce() -> SeqNo + Send + 'static) -> Self {
        Self::numbered(Number::Drawn(Box::new(draw)))
    }

    fn numbered(number: Number) -> Self {
        Self { number, backfill: false, target_bytes: None, cancel: Cancel::new() }
    }

    /// Allows a given number that is not above all writes in the range: what is numbered higher stays on top. No entry of
    /// the ingestion may have the key and the number of one that is there.
    pub fn backfill(mut self) -> Self {
        self.backfill = true;
        self
    }

    /// Bytes at which the next table begins. Default: the tree's.
    pub fn target_bytes(mut self, bytes: u64) -> Self {
        self.target_bytes = Some(bytes);
        self
    }

    /// Stops the ingestion when `cancel` is raised.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.target_bytes == Some(0) {
            let (option, problem) = ("target_bytes", "must be at least 1");
            return Err(EngineError::InvalidConfig { option, problem }.into());
        }
        Ok(())
    }
}

impl std::fmt::Debug for IngestOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = match &self.number {
            Number::Given(seqno) => Some(seqno),
            Number::Drawn(_) => None,
        };
        f.debug_struct("IngestOptions")
            .field("number", &number)
            .field("backfill", &self.backfill)
            .finish_non_exhaustive()
    }
}
