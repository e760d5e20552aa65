//! Walking the row groups of a table without reading more of them than is asked for.

use alloc::{sync::Arc, vec::Vec};

use lsm_columnar::{Bitmap, ColumnId, DeleteMap, Schema, Zone};
use lsm_types::{Kind, Result, SeqNo, Slice, columns::KeyBuf};

use super::{ColumnPage, GroupSource, RowGroup};
use crate::{
    TableLayout,
    data_block::DataBlock,
    index::{IndexBlock, IndexEntry},
};

/// Numbers and kinds of the rows of a part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Versions {
    /// Effective sequence numbers.
    pub seqnos: Vec<SeqNo>,
    /// What the entries mean.
    pub kinds: Vec<Kind>,
}

/// Walks row groups in key order. Made by [`TableLayout::group_scan`]; stands before the first group at first.
///
/// A group it comes to has its directory read and nothing else. Pages come one by one.
#[derive(Debug)]
pub struct GroupScan<S> {
    layout: Arc<TableLayout>,
    source: S,
    /// Entry of the root; stays at 0 for an index of one block.
    root_idx: usize,
    /// The partition behind it, once it is loaded.
    partition: Option<Arc<IndexBlock>>,
    /// Entry of the index block whose entries are groups, to be looked at next.
    entry_idx: usize,
    /// Rows of the table before the next group.
    next_row: u64,
    group: Option<Arc<RowGroup>>,
    /// Rows of the table before the group in hand.
    first_row: u64,
    /// What the keys of the group before do not pass.
    lower: KeyBuf,
    has_lower: bool,
    /// What the keys of the group in hand do not pass.
    upper: KeyBuf,
    floor: Option<Slice>,
    /// Rows that are not there.
    dead: Option<Arc<DeleteMap>>,
}

impl TableLayout {
    /// Whether the table holds row groups in place of data blocks.
    pub const fn is_columnar(&self) -> bool {
        self.columns.is_some()
    }

    /// The columns that values are split into; `None` for a table of rows, and where all values are opaque.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.columns.as_ref()?.schema.as_ref()
    }

    /// What is known of a column of the consumer in all rows of the table, dead ones included.
    pub fn column_zone(&self, column: ColumnId) -> Option<Zone> {
        let ty = self.schema()?.column(column)?.ty();
        let stats = self.properties.columns.as_ref()?.stats.iter().find(|stats| stats.column == column)?;
        stats.zone(ty, self.entries())
    }

    /// A scan of the row groups, which only a columnar table has.
    ///
    /// # Errors
    /// `Unsupported` for a table of rows.
    pub fn group_scan<S: GroupSource>(self: &Arc<Self>, source: S) -> Result<GroupScan<S>> {
        if !self.is_columnar() {
            return Err(crate::SstError::NotColumnar { at: self.reader.identity().at(0) }.into());
        }
        Ok(GroupScan {
            layout: Arc::clone(self),
            source,
            root_idx: 0,
            partition: None,
            entry_idx: 0,
            next_row: 0,
            group: None,
            first_row: 0,
            lower: KeyBuf::new(),
            has_lower: false,
            upper: KeyBuf::new(),
            floor: None,
            dead: None,
        })
    }
}

impl<S: GroupSource> GroupScan<S> {
    /// The same scan over the entries from `floor` on, standing before the first group that may hold one. Groups below it
    /// are not read; they may be gone. Rows of the first group may lie below: [`GroupScan::floor`].
    ///
    /// # Errors
    /// What reading an index partition finds.
    pub fn above(mut self, floor: Option<Slice>) -> Result<Self> {
        if let Some(floor) = &floor {
            self.seek(floor)?;
        }
        self.floor = floor;
        Ok(self)
    }

    /// The same scan without groups of which all rows are in `dead`: they are not read. What is dead of the others has to be
    /// taken out: [`GroupScan::mask`].
    #[must_use]
    pub fn without(self, dead: Option<Arc<DeleteMap>>) -> Self {
        Self { dead, ..self }
    }

    /// Goes before the first group that may hold `key` or a larger one.
    ///
    /// # Errors
    /// What reading an index partition finds.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let floor = self.floor.clone();
        let key = match &floor {
            Some(floor) if layout.order.compare(key, floor).is_lt() => &floor[..],
            _ => key,
        };
        (self.group, self.partition, self.has_lower) = (None, None, false);
        let root = &layout.root;
        let root_idx = root.find(&layout.order, key, SeqNo::LATEST);
        self.next_row = root.rows_before(root_idx);
        if !root.is_upper() {
            self.entry_idx = root_idx;
            self.note_lower(root_idx.checked_sub(1).map(|before| (&**root, before)));
            return Ok(());
        }
        (self.root_idx, self.entry_idx) = (root_idx, 0);
        self.note_lower(root_idx.checked_sub(1).map(|before| (&**root, before)));
        if let Some(entry) = root.entry(root_idx) {
            let partition = self.load_partition(entry)?;
            self.entry_idx = partition.find(&layout.order, key, SeqNo::LATEST);
            self.next_row = self.next_row.saturating_add(partition.rows_before(self.entry_idx));
            if let Some(before) = self.entry_idx.checked_sub(1) {
                self.note_lower(Some((&partition, before)));
            }
        }
        Ok(())
    }

    /// Goes to the next group and reads its directory; `false` behind the last one, and where the next one begins right
    /// of `last`, the largest key of interest.
    ///
    /// # Errors
    /// What reading the directory finds.
    pub fn next_group(&mut self, last: Option<&[u8]>) -> Result<bool> {
        if self.group.take().is_some() {
            self.pass();
        }
        loop {
            // Every key behind a separator is above it, but for further versions of the same key.
            let order = &self.layout.order;
            if let (true, Some(last)) = (self.has_lower, last)
                && order.compare(self.lower.as_slice(), last).is_gt()
            {
                return Ok(false);
            }
            let Some((leaf, entry)) = self.next_entry()? else { return Ok(false) };
            self.upper.reset();
            leaf.separator(self.entry_idx, &mut self.upper);
            self.first_row = self.next_row;
            let next_row = self.next_row.saturating_add(entry.rows);
            let is_dead = self.dead.as_ref().is_some_and(|dead| dead.covers(self.first_row..next_row));
            if !is_dead {
                self.group = Some(self.load_group(entry)?);
            }
            (self.entry_idx, self.next_row) = (self.entry_idx + 1, next_row);
            if !is_dead {
                return Ok(true);
            }
            self.pass();
        }
    }

    /// What no key of this group passes, no key of the next one lies below.
    fn pass(&mut self) {
        core::mem::swap(&mut self.lower, &mut self.upper);
        self.has_lower = true;
    }

    fn load_group(&self, entry: IndexEntry) -> Result<Arc<RowGroup>> {
        let group = self.source.group(entry.into())?;
        if group.rows() == entry.rows {
            Ok(group)
        } else {
            Err(self.layout.disagree("row count of a row group"))
        }
    }

    fn next_entry(&mut self) -> Result<Option<(Arc<IndexBlock>, IndexEntry)>> {
        let root = Arc::clone(&self.layout.root);
        if !root.is_upper() {
            let entry = root.entry(self.entry_idx);
            return Ok(entry.map(|entry| (root, entry)));
        }
        while let Some(upper) = root.entry(self.root_idx) {
            let partition = match &self.partition {
                Some(partition) => Arc::clone(partition),
                None => self.load_partition(upper)?,
            };
            if let Some(entry) = partition.entry(self.entry_idx) {
                return Ok(Some((partition, entry)));
            }
            (self.root_idx, self.entry_idx, self.partition) = (self.root_idx + 1, 0, None);
        }
        Ok(None)
    }

    fn load_partition(&mut self, entry: IndexEntry) -> Result<Arc<IndexBlock>> {
        let partition = self.source.index(entry.into())?;
        if partition.row_sum() != entry.rows {
            return Err(self.layout.disagree("row count of an index partition"));
        }
        self.partition = Some(Arc::clone(&partition));
        Ok(partition)
    }

    fn note_lower(&mut self, before: Option<(&IndexBlock, usize)>) {
        self.has_lower = before.is_some();
        if let Some((index, idx)) = before {
            self.lower.reset();
            index.separator(idx, &mut self.lower);
        }
    }

    /// The group in hand.
    pub fn group(&self) -> Option<&Arc<RowGroup>> {
        self.group.as_ref()
    }

    /// Rows of the table before the group in hand: with the rows before it in the group, the ordinal of a row.
    pub const fn first_row(&self) -> u64 {
        self.first_row
    }

    /// A key that no key of the group in hand lies below; `None` for the first group of the table.
    pub fn lower(&self) -> Option<&[u8]> {
        self.has_lower.then(|| self.lower.as_slice())
    }

    /// A key that no key of the group in hand lies above.
    pub fn upper(&self) -> Option<&[u8]> {
        self.group.is_some().then(|| self.upper.as_slice())
    }

    /// The key below which entries are not there.
    pub const fn floor(&self) -> Option<&Slice> {
        self.floor.as_ref()
    }

    /// The page of a column in part `part` of the group in hand; `None` where the group has none.
    ///
    /// # Errors
    /// What reading the page finds. Other pages are not looked at.
    pub fn page(&self, column: ColumnId, part: usize) -> Result<Option<Arc<ColumnPage>>> {
        let Some(group) = &self.group else { return Ok(None) };
        group.directory().page(column, part).map(|page| self.source.page(group, page)).transpose()
    }

    /// The pages of some columns in part `part` of the group in hand, `None` for those that the group does not have. What is
    /// not in memory may be read at once.
    ///
    /// # Errors
    /// What reading the pages finds. Other pages are not looked at.
    pub fn pages(&self, columns: &[ColumnId], part: usize) -> Result<Vec<Option<Arc<ColumnPage>>>> {
        let Some(group) = &self.group else { return Ok(columns.iter().map(|_| None).collect()) };
        let entries: Vec<_> = columns.iter().map(|column| group.directory().page(*column, part)).collect();
        let there: Vec<_> = entries.iter().copied().flatten().collect();
        let mut pages = self.source.pages(group, &there)?.into_iter();
        Ok(entries.into_iter().map(|entry| entry.and_then(|_| pages.next())).collect())
    }

    /// Effective numbers and kinds of the rows of part `part` of the group in hand.
    ///
    /// # Errors
    /// What reading their pages finds.
    pub fn versions(&self, part: usize) -> Result<Versions> {
        let Some(group) = &self.group else { return Ok(Versions::default()) };
        let seqnos = self.layout.seqnos_of(&self.source, group, part)?;
        let seqnos = seqnos.into_iter().map(|local| self.layout.effective(local)).collect();
        Ok(Versions { seqnos, kinds: self.layout.kinds_of(&self.source, group, part)? })
    }

    /// Takes rows of the group in hand that are dead out of `selection`, whose row 0 is row `first` of the group.
    pub fn mask(&self, first: usize, selection: &mut Bitmap) {
        if let Some(dead) = &self.dead {
            dead.mask(self.first_row.saturating_add(first as u64), selection);
        }
    }

    /// The rows of the group in hand, values put together: all of its pages are read.
    ///
    /// # Errors
    /// What reading them finds, a splitter that is missing among it.
    pub fn rows(&self) -> Result<Option<Arc<DataBlock>>> {
        self.group.as_ref().map(|group| self.source.data(group.at())).transpose()
    }

    /// What is known about the table.
    pub const fn layout(&self) -> &Arc<TableLayout> {
        &self.layout
    }
}
