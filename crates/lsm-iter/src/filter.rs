//! Where a compaction filter stands in the way of survivors.

use lsm_types::{EntryRef, Kind, Result, SeparatedValue, Verdict};

/// Is asked about entries on their way into a table.
pub trait FilterStage {
    /// Whether anything is asked at all.
    const IS_ACTIVE: bool;

    /// What becomes of `entry`, a value or an operand.
    ///
    /// # Errors
    /// Whatever ends the walk.
    fn ask(&mut self, entry: EntryRef<'_>) -> Result<Verdict>;

    /// What becomes of an entry whose value is separated. Fetches it first, unless told otherwise.
    ///
    /// # Errors
    /// As [`FilterStage::ask`]; what fetching the value finds.
    fn ask_separated(&mut self, entry: EntryRef<'_>, value: &SeparatedValue<'_>) -> Result<Verdict> {
        self.ask(EntryRef { kind: Kind::Put, value: value.get()?, ..entry })
    }
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
