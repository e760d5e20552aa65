//! The change feed: every write from a number on, in order of number, nothing left out and nothing summed up.
//!
//! Tables lie in order of key, changes are wanted in order of number. So a list of changes is made in windows of
//! numbers: one pass over all that may hold numbers of the window keeps the lowest ones that fit into the memory
//! allowed, sorts and yields them; the next window begins where this one ended. How much is read again depends on how
//! well numbers and places go together: tables straight from memtables are read once.

mod pass;
mod pool;

use std::sync::Arc;

use lsm_table::CacheUse;
use lsm_types::{Cut, Kind, RangeTombstone, Result, SeqNo, Slice};

use pass::Pass;
pub(crate) use pass::Scope;
use pool::Pool;

use crate::{EngineError, super_version::SuperVersion, tree::WriteBar};

/// Memory for the changes of one window, unless the options say otherwise.
const DEFAULT_MEMORY_BYTES: usize = 32 << 20;

/// A write, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<B = Slice> {
    /// Its number.
    pub seqno: SeqNo,
    /// What it did.
    pub what: Changed<B>,
}

/// What a write did.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed<B = Slice> {
    /// Put a value.
    Put {
        /// The key.
        key: B,
        /// The value.
        value: B,
    },
    /// Added an operand for the merge operator.
    Merge {
        /// The key.
        key: B,
        /// The operand.
        operand: B,
    },
    /// Deleted a key.
    Remove {
        /// The key.
        key: B,
    },
    /// Deleted a key that was put once.
    RemoveWeak {
        /// The key.
        key: B,
    },
    /// Deleted the keys between two cuts, as far as they are older: what has the same number stays.
    RemoveRange {
        /// Left cut.
        start: Cut,
        /// Right cut.
        end: Cut,
    },
}

impl Change<&[u8]> {
    /// The same change with copies of its bytes.
    pub fn to_owned(&self) -> Change {
        let what = match &self.what {
            Changed::Put { key, value } => Changed::Put { key: (*key).into(), value: (*value).into() },
            Changed::Merge { key, operand } => {
                Changed::Merge { key: (*key).into(), operand: (*operand).into() }
            }
            Changed::Remove { key } => Changed::Remove { key: (*key).into() },
            Changed::RemoveWeak { key } => Changed::RemoveWeak { key: (*key).into() },
            Changed::RemoveRange { start, end } => {
                Changed::RemoveRange { start: start.clone(), end: end.clone() }
            }
        };
        Change { seqno: self.seqno, what }
    }
}

/// How changes are listed.
#[derive(Clone, Debug)]
pub struct ChangesOptions {
    pub(crate) until: Option<SeqNo>,
    pub(crate) memory_bytes: usize,
    pub(crate) reads_everything: bool,
}

impl Default for ChangesOptions {
    fn default() -> Self {
        Self { until: None, memory_bytes: DEFAULT_MEMORY_BYTES, reads_everything: false }
    }
}

impl ChangesOptions {
    /// Leaves out changes numbered at or above `bound`, where the caller knows of none under way below it. Without it
    /// everything written so far is listed.
    #[must_use]
    pub fn until(mut self, bound: SeqNo) -> Self {
        self.until = Some(bound);
        self
    }

    /// Bytes of changes kept in memory at once; default 32 MiB. More is taken where the writes of one number take more.
    /// Growing takes up to twice as much for a moment.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Reads all tables and blocks, whatever their recorded numbers say, and refuses to go on where that record does not
    /// hold. The changes are the same.
    #[must_use]
    pub fn read_everything(mut self) -> Self {
        self.reads_everything = true;
        self
    }
}

/// What a list of changes has read so far.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ChangesProgress {
    /// Passes over the tree.
    pub passes: u64,
    /// Data blocks read.
    pub blocks_read: u64,
    /// Bytes of them in the files.
    pub block_bytes_read: u64,
    /// Entries below blocks that were passed unread, in tables that were looked into.
    pub entries_skipped: u64,
    /// Tables passed without a look.
    pub tables_skipped: u64,
}

/// Every write of a window of numbers, ascending. Of writes with one number, deletes of ranges come first, then the others
/// in order of key; written again in this order they make the same tree.
///
/// The list keeps memtables and files as they were when it was made, and lets no write below its bound come in between:
/// such writes are refused until it is dropped. After an error it is finished.
pub struct Changes {
    bar: WriteBar,
    pinned: Arc<SuperVersion>,
    scope: Scope,
    reads_everything: bool,
    /// Deletes of ranges, by number.
    deletes: Vec<RangeTombstone>,
    deletes_done: usize,
    pool: Pool,
    pool_done: usize,
    /// The separated value of the change that was lent last.
    fetched: Slice,
    /// Everything below is in the pool, or was yielded.
    filled: SeqNo,
    position: SeqNo,
    finished: bool,
    progress: ChangesProgress,
}

impl Changes {
    /// * `deletes`: by number.
    pub(crate) fn new(
        bar: WriteBar,
        pinned: Arc<SuperVersion>,
        since: SeqNo,
        scope: Scope,
        deletes: Vec<RangeTombstone>,
        options: &ChangesOptions,
    ) -> Self {
        Self {
            bar,
            pinned,
            scope,
            reads_everything: options.reads_everything,
            deletes,
            deletes_done: 0,
            pool: Pool::new(options.memory_bytes),
            pool_done: 0,
            fetched: Slice::empty(),
            filled: since,
            position: since,
            finished: false,
            progress: ChangesProgress::default(),
        }
    }

    /// The bound that was fixed when the list was made: all of it is numbered below, and a later list goes on from here.
    pub fn before(&self) -> SeqNo {
        self.bar.bound()
    }

    /// Every change numbered below was yielded: a list from here on goes on without a gap, repeating at most changes of
    /// this number.
    pub fn position(&self) -> SeqNo {
        self.position
    }

    /// What was read so far.
    pub fn progress(&self) -> ChangesProgress {
        self.progress
    }

    /// Steps to the next change and lends it.
    ///
    /// # Errors
    /// What reading blocks finds; the list is finished then, and a new one can go on from [`Changes::position`].
    #[inline]
    pub fn advance(&mut self) -> Result<Option<Change<&[u8]>>> {
        loop {
            if self.finished {
                return Ok(None);
            }
            let point = self.pool.seqno(self.pool_done);
            let delete = self.deletes.get(self.deletes_done).map(|delete| delete.seqno);
            if let Some(delete) =
                delete.filter(|delete| *delete < self.filled && point.is_none_or(|point| *delete <= point))
            {
                self.position = delete;
                self.deletes_done += 1;
                let found = self.deletes.get(self.deletes_done - 1);
                return Ok(found.map(|RangeTombstone { start, end, seqno }| Change {
                    seqno: *seqno,
                    what: Changed::RemoveRange { start: start.clone(), end: end.clone() },
                }));
            }
            if let Some(point) = point {
                let at = self.pool_done;
                self.pool_done += 1;
                let is_last = self.pool.seqno(at + 1) != Some(point) && self.deletes_done_above(point);
                self.position = if is_last { point.next() } else { point };
                self.finished = self.pool.get(at).is_none();
                return self.lend(at);
            }
            self.position = self.filled;
            if self.filled >= self.bar.bound() {
                self.finished = true;
            } else if let Err(error) = self.fill() {
                self.finished = true;
                return Err(error);
            }
        }
    }

    /// Whether the next delete of a range is numbered above `seqno`.
    fn deletes_done_above(&self, seqno: SeqNo) -> bool {
        self.deletes.get(self.deletes_done).is_none_or(|delete| delete.seqno > seqno)
    }

    fn lend(&mut self, at: usize) -> Result<Option<Change<&[u8]>>> {
        if let Some(entry) = self.pool.get(at)
            && entry.kind == Kind::Indirection
        {
            let fetched = self.pinned.vlogs.value(entry.key, entry.value, CacheUse::Fill);
            self.finished |= fetched.is_err();
            self.fetched = fetched?;
        }
        let Some(entry) = self.pool.get(at) else { return Ok(None) };
        let (key, value) = (entry.key, entry.value);
        let what = match entry.kind {
            Kind::Put => Changed::Put { key, value },
            Kind::Indirection => Changed::Put { key, value: &self.fetched },
            Kind::MergeOperand => Changed::Merge { key, operand: value },
            Kind::Tombstone => Changed::Remove { key },
            Kind::WeakTombstone => Changed::RemoveWeak { key },
            _ => return Err(EngineError::Bug { invariant: "values lie beside their keys" }.into()),
        };
        Ok(Some(Change { seqno: entry.seqno, what }))
    }

    /// Makes the next window.
    #[cold]
    fn fill(&mut self) -> Result<()> {
        self.pool_done = 0;
        self.pool.start(self.bar.bound());
        self.progress.passes += 1;
        let pass = Pass {
            pinned: &self.pinned,
            scope: &self.scope,
            since: self.filled,
            reads_everything: self.reads_everything,
        };
        pass.run(&mut self.pool, &mut self.progress)?;
        self.pool.sort(self.scope.order());
        self.filled = self.pool.end();
        Ok(())
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|change| change.map(|change| change.to_owned())).transpose()
    }
}

impl std::iter::FusedIterator for Changes {}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes")
            .field("position", &self.position)
            .field("before", &self.bar.bound())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn sendable<T: Send + 'static>() {}
    sendable::<Changes>();
};
