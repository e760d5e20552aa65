//! Where a compaction filter stands in the way of survivors.

use lsm_types::{EntryRef, Result, Verdict};

/// Is asked about entries on their way into a table.
pub trait FilterStage {
    /// Whether anything is asked at all.
    const IS_ACTIVE: bool;

    /// What becomes of `entry`, a value or an operand.
    ///
    /// # Errors
    /// Whatever ends the walk.
    fn ask(&mut self, entry: EntryRef<'_>) -> Result<Verdict>;
}

/// Everything stays; costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unfiltered;

impl FilterStage for Unfiltered {
    const IS_ACTIVE: bool = false;

    fn ask(&mut self, _: EntryRef<'_>) -> Result<Verdict> {
        Ok(Verdict::Keep)
    }
}
