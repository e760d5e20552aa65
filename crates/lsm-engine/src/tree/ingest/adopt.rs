//! Tables that exist become part of a tree as they are.
//!
//! ```text
//! open -> read and check everything -> copy into a file of the tree, without its last part -> as every ingestion
//! ```
//!
//! The source is read, never changed and never shared: it may be removed when the ingestion is finished. Blocks, index
//! and filters are copied as they are, so this costs reading and writing, not compressing and sorting.

use std::path::Path;

use lsm_table::ForeignTable;
use lsm_types::{Cut, Kind, Result};

use super::{IngestOptions, IngestReport, Ingestion};
use crate::{EngineError, tree::Tree};

impl Tree {
    /// Makes the tables at `paths`, files of the tree's file system, part of the tree in one step: all of their entries
    /// and range deletes get the number of the ingestion, and each table goes where [`Tree::ingest`] would have put it.
    ///
    /// A table may come from another tree or database, or from a stand-alone writer; it is checked in
    /// full, and copied. See [`Ingestion::adopt_table`]. Tables come in any order, but do not overlap.
    ///
    /// # Errors
    /// As [`Ingestion::adopt_table`] and [`Ingestion::finish`]; nothing changed then.
    pub fn adopt<P: AsRef<Path>>(
        &self,
        paths: impl IntoIterator<Item = P>,
        options: IngestOptions,
    ) -> Result<IngestReport> {
        let mut ingestion = self.ingest(options)?;
        let (env, order) = (&self.inner.env, &self.inner.order);
        let open =
            |path: P| ForeignTable::open(env, path.as_ref()).map(|table| (table.extent().0.clone(), path));
        // They are opened twice: more tables may come than files can be open.
        let mut tables = paths.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        tables.sort_by(|a, b| a.0.compare(&b.0, order));
        for (_, path) in tables {
            ingestion.adopt_table(path)?;
        }
        ingestion.finish()
    }
}

impl Ingestion {
    /// Takes over the table at `path`, a file of the tree's file system: everything in it lies behind what came before,
    /// and before what comes later.
    ///
    /// Its entries have no numbers of their own, as those of tables that were ingested, written with number 0, or
    /// compacted until nobody could tell their numbers apart; a number for the whole table is replaced. Merge operands
    /// are folded by the operator of this tree. How it was compressed and which filters it has stays until it is
    /// compacted.
    ///
    /// # Errors
    /// `OutOfOrder`; `ComparatorMismatch`; `NotOurs` and `UnsupportedFormat` for what is no table of this version;
    /// damage, as `Corruption`; `Unsupported` for a table that is sealed or goes into a sealed tree, whose entries have
    /// numbers of their own, whose values lie in value logs, which spans key domains, or has weak deletes where the tree
    /// takes none; `Io`, `Cancelled`: nothing was taken. An error while it is copied ends the ingestion.
    pub fn adopt_table(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.check_usable()?;
        self.options.cancel.check()?;
        let table = ForeignTable::open(&self.tree.env, path.as_ref())?;
        self.check_extent(table.extent())?;
        let counters = table.layout().properties().counters;
        let is_weak_allowed = self.tree.written_kind(Kind::WeakTombstone) == Kind::WeakTombstone;
        if counters.weak_tombstones > 0 && !is_weak_allowed {
            return Err(table.unfit("it has weak deletes, and the tree writes strict ones"));
        }
        table.verify(&self.tree.env)?;
        let cancel = self.options.cancel.clone();
        self.guard(|this| {
            let tree = this.tree.clone();
            let mut proceed = || {
                cancel.check()?;
                tree.check_writable()
            };
            this.tables.adopt(&tree, &table, this.entries, &mut proceed)
        })?;
        self.entries += counters.entries;
        self.reach = Some(table.extent().1.clone());
        Ok(())
    }

    /// Refuses a table that does not lie behind everything that came before.
    fn check_extent(&self, (start, _): &(Cut, Cut)) -> Result<()> {
        let order = &self.tree.order;
        let reaches = [self.reach.as_ref(), self.tables.deleted_reach()].into_iter().flatten();
        let is_reached = reaches.into_iter().any(|reach| start.compare(reach, order).is_lt());
        let is_passed = !self.last_key.is_empty() && start.is_left_of(&self.last_key, order);
        if !is_reached && !is_passed {
            return Ok(());
        }
        let previous = self.reach.as_ref().and_then(Cut::key).cloned();
        let previous = previous.unwrap_or_else(|| self.last_key.as_slice().into());
        let offending = start.key().cloned().unwrap_or_default();
        Err(EngineError::OutOfOrder { previous, offending }.into())
    }
}
