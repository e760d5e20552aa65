//! Bulk loading: sorted input becomes tables without a detour through log and memtable.
//!
//! ```text
//! put, remove, remove_range ... -> tables with local numbers, written and synced but for their last part
//! finish -> claim a number -> complete and sync the tables -> one edit -> visible
//! ```
//!
//! Everything has one number, drawn at the end, and lies in the order of numbers with what is in memtables and tables:
//! reads follow numbers, wherever an entry lies, so no memtable has to be flushed for it and no writer waits. The number
//! is claimed until the tables are part of the tree: a snapshot or a watermark that would pass it waits that long.
//!
//! Until then the files belong to nobody. Dropping the ingestion removes them; after a crash the next open does, and as
//! their last part is missing nobody can take them for tables.

mod adopt;
mod columns;
mod install;
mod options;
mod tables;

use std::{ops::RangeBounds, sync::Arc};

use lsm_columnar::RowCells;
use lsm_compaction_planner::OutputSpec;
use lsm_types::{Cut, EntryRef, Kind, Level, Result, SeqNo, Slice, check_entry};

use super::{Tree, TreeInner, span};
use crate::{EngineError, store::Asks};
use columns::Values;
pub use options::IngestOptions;
use tables::Tables;

/// Entries between two looks at the flag that stops an ingestion.
const CHECK_EVERY: u64 = 1024;

/// What an ingestion did.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// The number of everything in it; `None` when there was nothing.
    pub seqno: Option<SeqNo>,
    /// Entries written.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Tables by the level they were placed in, levels without any left out.
    pub tables: Vec<(Level, usize)>,
}

/// Sorted input on its way into a tree. Nothing of it can be read before [`Ingestion::finish`]; dropping it leaves
/// nothing behind.
///
/// Keys ascend strictly, in the order of the tree; so do the starts of ranges, and a range comes no later than the first
/// key behind its start. A call that is refused changes nothing. After an error of the file system the ingestion can
/// only be dropped.
#[must_use = "dropping an ingestion throws away what it was given"]
pub struct Ingestion {
    tree: Arc<TreeInner>,
    options: IngestOptions,
    tables: Tables,
    /// The key that came last.
    last_key: Vec<u8>,
    /// Start of the range that came last.
    last_start: Option<Cut>,
    /// Where the table that was taken over last ends.
    reach: Option<Cut>,
    entries: u64,
    /// Bytes of keys and values.
    bytes: u64,
    /// Memory for the values of batches.
    values: Values,
    failed: bool,
}

impl Tree {
    /// Begins to load sorted input.
    ///
    /// What is ingested is durable when [`Ingestion::finish`] returns, also where writes before it still lie in memtables.
    ///
    /// # Errors
    /// `Closed`, `Unsupported` on a tree opened read-only, `Fenced`; `InvalidConfig` for options that cannot hold.
    pub fn ingest(&self, options: IngestOptions) -> Result<Ingestion> {
        let tree = self.inner.clone();
        tree.check_changeable()?;
        options.check()?;
        tree.store.admit_write(1, 0, Asks::Room)?;
        let usual = OutputSpec::sized(Level::new(0), tree.table_target_bytes);
        let target = options.target_bytes.unwrap_or_else(|| tree.table_bytes(&usual));
        let tables = Tables::new(&tree, target);
        Ok(Ingestion {
            tree,
            options,
            tables,
            last_key: Vec::new(),
            last_start: None,
            reach: None,
            entries: 0,
            bytes: 0,
            values: Values::default(),
            failed: false,
        })
    }
}

impl Ingestion {
    /// Puts `value` under `key`.
    ///
    /// # Errors
    /// `OutOfOrder`, `InvalidKey`, `ValueTooLarge`, `EntryTooLarge`, `Cancelled`: nothing was taken, and the next key may
    /// come. Others end the ingestion.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.add(key.as_ref(), Kind::Put, value.as_ref())
    }

    /// Deletes `key`, whether or not it exists.
    ///
    /// # Errors
    /// As [`Ingestion::put`].
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.add(key.as_ref(), Kind::Tombstone, &[])
    }

    /// Deletes `key` as [`Tree::remove_weak`] does.
    ///
    /// # Errors
    /// As [`Ingestion::put`].
    pub fn remove_weak(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let kind = self.tree.written_kind(Kind::WeakTombstone);
        self.add(key.as_ref(), kind, &[])
    }

    /// Deletes all older entries of a range: what the ingestion itself puts there stays.
    ///
    /// Inverted and empty bounds are a no-op.
    ///
    /// # Errors
    /// As [`Ingestion::put`]; `OutOfOrder` compares the start of the range.
    pub fn remove_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> Result<()> {
        self.check_usable()?;
        let (start, end) = span(&range)?;
        let order = &self.tree.order;
        if start.compare(&end, order).is_ge() {
            return Ok(());
        }
        let offending = || start.key().cloned().unwrap_or_default();
        if let Some(last) = &self.last_start
            && start.compare(last, order).is_le()
        {
            let previous = last.key().cloned().unwrap_or_default();
            return Err(EngineError::OutOfOrder { previous, offending: offending() }.into());
        }
        if let Some(reach) = &self.reach
            && start.compare(reach, order).is_lt()
        {
            let previous = reach.key().cloned().unwrap_or_default();
            return Err(EngineError::OutOfOrder { previous, offending: offending() }.into());
        }
        // The start may lie right before the last key, or after it.
        if !self.last_key.is_empty() && start.is_left_of(&self.last_key, order) {
            let at_key = matches!(&start, Cut::Before(key) if **key == *self.last_key);
            if !at_key {
                let previous = Slice::copy_from(&self.last_key);
                return Err(EngineError::OutOfOrder { previous, offending: offending() }.into());
            }
        }
        self.last_start = Some(start.clone());
        self.guard(|this| this.tables.add_range(&this.tree, start, end, this.entries))
    }

    /// Makes everything part of the tree, in one step and durably. An ingestion of nothing changes nothing.
    ///
    /// # Errors
    /// `SeqNoTooLow`, `BelowSnapshot`, `SeqNoOutOfRange` for its number; `NoSpace`, `Io`, `Cancelled`, `Closed`,
    /// `Fenced`: nothing changed. `InstallOutcomeUnknown`: it may be on disk, wholly.
    pub fn finish(mut self) -> Result<IngestReport> {
        self.check_usable()?;
        self.tree.check_changeable()?;
        self.tree.store.check_quota(self.bytes)?;
        let tables = std::mem::replace(&mut self.tables, Tables::new(&self.tree, 1));
        let (tables, vlogs) = tables.end(&self.tree, self.entries)?;
        if tables.is_empty() {
            return Ok(IngestReport::default());
        }
        install::install(&self.tree, self.options, (tables, vlogs), self.entries)
    }

    fn add(&mut self, key: &[u8], kind: Kind, value: &[u8]) -> Result<()> {
        self.check_usable()?;
        check_entry(key, value.len())?;
        self.check_order(key)?;
        self.guard(|this| this.append(key, kind, value, None))
    }

    /// Adds an entry that was checked. What fails now leaves the ingestion incomplete.
    fn append(&mut self, key: &[u8], kind: Kind, value: &[u8], cells: Option<&RowCells>) -> Result<()> {
        let entry = EntryRef { key, seqno: SeqNo::ZERO, kind, value };
        self.tables.add(&self.tree, entry, cells, self.entries)?;
        self.entries += 1;
        self.bytes = self.bytes.saturating_add((key.len() + value.len()) as u64);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    #[inline]
    fn check_order(&self, key: &[u8]) -> Result<()> {
        let order = &self.tree.order;
        let out_of_order = |previous: Slice| {
            let offending = Slice::copy_from(key);
            Err(EngineError::OutOfOrder { previous, offending }.into())
        };
        if !self.last_key.is_empty() && order.compare(&self.last_key, key).is_ge() {
            return out_of_order(Slice::copy_from(&self.last_key));
        }
        if let Some(reach) = &self.reach
            && !reach.is_left_of(key, order)
        {
            return out_of_order(reach.key().cloned().unwrap_or_default());
        }
        match &self.last_start {
            Some(start) if !start.is_left_of(key, order) => {
                out_of_order(start.key().cloned().unwrap_or_default())
            }
            _ => Ok(()),
        }
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            return Err(EngineError::IngestionFailed.into());
        }
        if self.entries.is_multiple_of(CHECK_EVERY) {
            self.check_going_on()?;
        }
        Ok(())
    }

    /// Whether nobody wants it to stop, and there is room.
    fn check_going_on(&self) -> Result<()> {
        self.options.cancel.check()?;
        self.tree.check_writable()?;
        self.tree.store.check_quota(self.bytes)
    }

    /// Runs a step that writes; after its error what was given is not complete.
    fn guard(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let outcome = step(self);
        self.failed = outcome.is_err();
        outcome
    }
}

impl std::fmt::Debug for Ingestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingestion").field("entries", &self.entries).finish_non_exhaustive()
    }
}
