//! The tables of an ingestion while they are written.
//!
//! A table is written as the settings of the level say where its first key would lie now. Where it is placed is decided
//! when the ingestion ends, by all it spans.

use lsm_columnar::RowCells;
use lsm_table::{ForeignTable, MultiWriter, StagedVlog, SuspendedTable};
use lsm_types::{Cut, EntryRef, Level, RangeTombstone, Result, SeqNo};

use super::install::level_for;
use crate::tree::TreeInner;

/// Range tombstones, which lie in memory, after which a table ends.
const TOMBSTONES_MAX: usize = 1 << 16;

/// Tables written so far.
pub(super) struct Tables {
    writer: MultiWriter,
    target_bytes: u64,
    /// Whether a table is open.
    is_open: bool,
    /// Range tombstones of the open table.
    tombstones: usize,
    /// The stretch of deleted ranges, joined where they meet, that reaches furthest: not yet in a table.
    deleted: Option<(Cut, Cut)>,
    done: Vec<SuspendedTable>,
}

impl Tables {
    pub(super) fn new(tree: &TreeInner, target_bytes: u64) -> Self {
        let level_count = tree.current.load().version.levels.count();
        let writer = MultiWriter::new(&tree.env, Level::new(0), level_count).separating(tree.vlogs.as_ref());
        Self { writer, target_bytes, is_open: false, tombstones: 0, deleted: None, done: Vec::new() }
    }

    /// Adds an entry, whose order was checked, with its cells where they are known; `entries` came before.
    pub(super) fn add(
        &mut self,
        tree: &TreeInner,
        entry: EntryRef<'_>,
        cells: Option<&RowCells>,
        entries: u64,
    ) -> Result<()> {
        if self.is_open {
            let is_long = self.writer.open_reaches(self.target_bytes)?;
            let domain_end = self.writer.domain_ends_before(entry.key);
            if domain_end.is_some() || is_long {
                let border = domain_end.cloned().unwrap_or_else(|| entry.key.into());
                self.cut(tree, &Cut::Before(border))?;
            }
        }
        if !self.is_open {
            self.begin(tree, &Cut::Before(entry.key.into()), &Cut::After(entry.key.into()), entries);
        }
        match cells {
            Some(cells) => self.writer.add_split(entry, cells),
            None => self.writer.add(entry),
        }
    }

    /// Adds the delete of a range, whose order was checked.
    pub(super) fn add_range(&mut self, tree: &TreeInner, start: Cut, end: Cut, entries: u64) -> Result<()> {
        let order = &tree.order;
        if let Some((_, reach)) = &mut self.deleted
            && start.compare(reach, order).is_le()
        {
            if end.compare(reach, order).is_gt() {
                *reach = end;
            }
            return Ok(());
        }
        if let Some((from, to)) = self.deleted.take() {
            self.write_deleted(tree, from, to, entries)?;
            if self.tombstones >= TOMBSTONES_MAX {
                self.cut(tree, &start)?;
            }
        }
        self.deleted = Some((start, end));
        Ok(())
    }

    /// Where the deletes of ranges that are not in a table yet end.
    pub(super) fn deleted_reach(&self) -> Option<&Cut> {
        self.deleted.as_ref().map(|(_, reach)| reach)
    }

    /// Takes over a verified table that lies behind everything before it.
    pub(super) fn adopt(
        &mut self,
        tree: &TreeInner,
        table: &ForeignTable,
        entries: u64,
        proceed: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let (start, end) = table.extent();
        if let Some((from, to)) = self.deleted.take() {
            self.write_deleted(tree, from, to, entries)?;
        }
        if self.is_open {
            self.cut(tree, start)?;
        }
        let view = tree.current.load_full();
        self.writer.retarget(level_for(&view.version.levels, start, end, &tree.order));
        self.done.push(self.writer.take_over(table, proceed)?);
        Ok(())
    }

    /// Ends the last table and the value logs. What comes back is in key order.
    pub(super) fn end(
        mut self,
        tree: &TreeInner,
        entries: u64,
    ) -> Result<(Vec<SuspendedTable>, Vec<StagedVlog>)> {
        if let Some((from, to)) = self.deleted.take() {
            self.write_deleted(tree, from, to, entries)?;
        }
        self.done.extend(self.writer.suspend_table(true)?);
        let vlogs = self.writer.end_vlogs()?;
        Ok((self.done, vlogs))
    }

    fn write_deleted(&mut self, tree: &TreeInner, start: Cut, end: Cut, entries: u64) -> Result<()> {
        if !self.is_open {
            self.begin(tree, &start, &end, entries);
        }
        self.tombstones += 1;
        self.writer.add_tombstone(RangeTombstone { start, end, seqno: SeqNo::ZERO })
    }

    /// Ends the open table at `border`, which the deletes that reach over it are cut at.
    fn cut(&mut self, tree: &TreeInner, border: &Cut) -> Result<()> {
        if let Some((from, to)) = self.deleted.take() {
            let whole = RangeTombstone { start: from, end: to, seqno: SeqNo::ZERO };
            if let Some(part) = whole.clip(&Cut::Start, border, &tree.order) {
                self.writer.add_tombstone(part)?;
            }
            let rest = whole.clip(border, &Cut::End, &tree.order);
            self.deleted = rest.map(|rest| (rest.start, rest.end));
        }
        self.done.extend(self.writer.suspend_table(false)?);
        (self.is_open, self.tombstones) = (false, 0);
        Ok(())
    }

    /// Says how the next table, which begins with what lies between the cuts, is to be written.
    fn begin(&mut self, tree: &TreeInner, start: &Cut, end: &Cut, entries: u64) {
        let view = tree.current.load_full();
        let level = level_for(&view.version.levels, start, end, &tree.order);
        tree.set_filter_scene(&view, None, level, entries);
        self.writer.retarget(level);
        self.is_open = true;
    }
}
