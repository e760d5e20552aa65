//! The door through which a life drives a tree.

use std::ops::Bound;

use lsm_types::{Result, SeqNo};

use super::{axes::Axes, snapshot::Snapshot};
use crate::{dice::Dice, filters::Said};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A put of a value.
    Put(Vec<u8>, Vec<u8>),
    /// A delete.
    Delete(Vec<u8>),
    /// A weak delete.
    DeleteWeak(Vec<u8>),
    /// An operand.
    Merge(Vec<u8>, Vec<u8>),
    /// A delete of a range.
    DeleteRange(Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// A delete of what starts so.
    DeletePrefix(Vec<u8>),
}

impl Write {
    /// The key that is written; `None` for deletes of many keys.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Put(key, _) | Self::Delete(key) | Self::DeleteWeak(key) | Self::Merge(key, _) => Some(key),
            Self::DeleteRange(..) | Self::DeletePrefix(_) => None,
        }
    }
}

/// What happens to a tree besides writes and reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// [`super::Op::Clear`] at a number.
    Clear(SeqNo),
    /// [`super::Op::DropRange`] at a number.
    DropRange(Bound<Vec<u8>>, Bound<Vec<u8>>, SeqNo),
    /// [`super::Op::PurgeRange`] at a number.
    PurgeRange(Bound<Vec<u8>>, Bound<Vec<u8>>, SeqNo),
    /// The memtable is frozen.
    Seal,
    /// Frozen memtables become tables.
    Flush,
    /// Nobody reads below any more.
    Watermark(SeqNo),
}

/// A tree that can be looked at in every way.
///
/// Everything a subject chooses by itself comes from the axes, and from seeds it is given: a life repeats.
pub trait Subject: Sized {
    /// A view.
    type View;
    /// A hold.
    type Hold;

    /// Names of the strategies of compaction.
    const STRATEGIES: &'static [&'static str];
    /// What may come of a compaction.
    const OUTCOMES: &'static [&'static str];

    /// An empty tree.
    ///
    /// # Errors
    /// As those that follow, whatever the tree says.
    fn create(axes: &Axes) -> Result<Self>;

    /// Closes the tree, with what is not flushed lost, and opens it.
    fn reopen(self) -> Result<Self>;

    /// A checkpoint, opened.
    fn copy(&mut self) -> Result<Self>;

    /// Ends.
    fn close(self) -> Result<()>;

    /// One write.
    fn write(&self, write: &Write, seqno: SeqNo) -> Result<()>;

    /// Several, with the numbers from `seqno` on, or all with that one.
    fn batch(&self, writes: &[Write], seqno: SeqNo, shared: bool) -> Result<()>;

    /// Sorted puts and deletes that come into tables at once, with one number.
    fn ingest(&self, rows: &[Write], seqno: SeqNo) -> Result<()>;

    /// The same rows, but puts come as batches of columns, whose lengths the seed says.
    fn ingest_columns(&self, rows: &[Write], seqno: SeqNo, seed: u32) -> Result<()>;

    /// Something else.
    fn live(&self, life: &Life) -> Result<()>;

    /// One job of the strategy with this index; says what came of it.
    fn compact(&self, strategy: usize, seed: u32) -> Result<&'static str>;

    /// What compaction filters said, in jobs that were committed, since this was last asked for.
    fn filtered(&self) -> Vec<Said>;

    /// A view of the newest state, and its bound.
    fn view(&self) -> (Self::View, SeqNo);

    /// A view at a bound.
    fn view_at(&self, before: SeqNo) -> Result<Self::View>;

    /// A hold at a bound.
    fn hold(&self, before: SeqNo) -> Result<Self::Hold>;

    /// Reads at or below are refused.
    fn floor(&self) -> SeqNo;

    /// Whether every file is sound.
    fn is_clean(&self) -> Result<bool>;

    /// Names of the forms of reads.
    fn forms() -> Vec<&'static str>;

    /// Reads with the form of this index, from a view or the newest state; returns how many keys or entries were
    /// compared.
    ///
    /// # Errors
    /// How a read differs from `expected`.
    fn read(
        &self,
        view: Option<&Self::View>,
        form: usize,
        expected: &Snapshot,
        dice: &mut Dice,
    ) -> Result<u64, String>;

    /// The value of a key, from a view or the newest state.
    fn get(&self, view: Option<&Self::View>, key: &[u8]) -> Result<Option<Vec<u8>>>;
}
