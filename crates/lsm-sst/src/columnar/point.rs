//! Point reads in a row group: one row is put together, the others stay as they are.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering};

use lsm_block::BlockKind;
use lsm_codec::Decoder;
use lsm_columnar::{ColumnId, Datum, KeyPage, RowCells, RowPages};
use lsm_types::{Kind, Result, SeqNo, Slice, ValueHandle, columns::KeyBuf};

use super::{ColumnPage, RowGroup};
use crate::{BlockRef, Found, SstError, TableLayout, data_block::DataBlock, payload::PayloadError};

/// Rows of a group per look-up after which all of them are put together. A look-up in many pages costs about as much more
/// than one in a block as it costs to put this many rows together, so no more than twice of what was needed is ever spent.
const ROWS_PER_LOOK_UP: u32 = 16;

/// What a point read looks into.
#[derive(Clone, Debug)]
pub enum PointRows {
    /// A block of rows, read as one or put together.
    Block(Arc<DataBlock>),
    /// A row group as it is stored.
    Group(Arc<GroupRows>),
}

/// A row group and all of its pages, checked and not decoded.
#[derive(Debug)]
pub struct GroupRows {
    pub(super) group: RowGroup,
    /// In the order of the directory.
    pages: Vec<ColumnPage>,
    /// Look-ups so far.
    asked: AtomicU32,
}

/// A row by its part and its place there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowAt {
    part: usize,
    row: usize,
}

impl GroupRows {
    /// The page of a column and part.
    pub(super) fn page(&self, column: ColumnId, part: usize) -> Option<&ColumnPage> {
        let directory = self.group.directory();
        let column = directory.columns().binary_search_by_key(&column, |(id, _)| *id).ok()?;
        self.pages.get(column * directory.part_count() + part)
    }

    /// Notes a look-up, and says whether there were so many that a block of the rows is worth its making.
    pub fn is_worth_a_block(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        asked >= self.group.directory().head().rows / ROWS_PER_LOOK_UP
    }

    /// Bytes of memory, for a cache's account.
    pub fn memory_len(&self) -> usize {
        let is_inline = self.group.directory().is_inline();
        // Pages of a small group lie in its payload.
        let page = |page: &ColumnPage| page.memory_len() - if is_inline { page.payload().len() } else { 0 };
        self.group.memory_len() + self.pages.iter().map(page).sum::<usize>()
    }

    /// The newest version of `key` with a local number below `before`.
    pub(crate) fn find(&self, layout: &TableLayout, key: &[u8], before: SeqNo) -> Result<Option<Found>> {
        self.locate(layout, key, before).map(|at| self.found(layout, at)).transpose()
    }

    /// Where it lies.
    pub(crate) fn locate(&self, layout: &TableLayout, key: &[u8], before: SeqNo) -> Option<RowAt> {
        let part = self.part_of(layout, key, before);
        let (keys, payload) = self.keys(part)?;
        let is_before = |row| self.number(ColumnId::SEQNO, part, row) >= before.get();
        keys.find(payload, layout.order(), key, is_before).map(|row| RowAt { part, row })
    }

    /// Rows of the group.
    pub(crate) fn rows(&self) -> usize {
        self.group.directory().head().rows as usize
    }

    /// Rows of the group that come before.
    pub(crate) fn row_of(&self, at: RowAt) -> usize {
        self.group.directory().part_rows(at.part).start + at.row
    }

    /// The entry there, its value put together.
    pub(crate) fn found(&self, layout: &TableLayout, RowAt { part, row }: RowAt) -> Result<Found> {
        let wrong = |field| self.wrong(layout, PayloadError::Item { field, item: row });
        let seqno = SeqNo::new(self.number(ColumnId::SEQNO, part, row)).filter(|seqno| seqno.is_write());
        let seqno = seqno.ok_or_else(|| wrong("seqnos"))?;
        let tag = u8::try_from(self.number(ColumnId::KIND, part, row)).ok();
        let kind = tag.and_then(Kind::from_tag).ok_or_else(|| wrong("kind"))?;
        let value = self.value(layout, part, row, kind)?;
        let fits = match kind {
            Kind::Tombstone | Kind::WeakTombstone => value.is_empty(),
            Kind::Indirection => value.len() == ValueHandle::LEN,
            _ => true,
        };
        if !fits {
            return Err(wrong("value length").into());
        }
        Ok(Found { seqno: layout.effective(seqno), kind, value })
    }

    /// The first part that does not end before the point `(key, before)`; the last one if there is none.
    fn part_of(&self, layout: &TableLayout, key: &[u8], before: SeqNo) -> usize {
        let (mut low, mut high) = (0, self.group.directory().part_count() - 1);
        while low < high {
            let part = low + (high - low) / 2;
            if self.ends_before(layout, part, key, before) { low = part + 1 } else { high = part }
        }
        low
    }

    fn ends_before(&self, layout: &TableLayout, part: usize, key: &[u8], before: SeqNo) -> bool {
        let Some((keys, payload)) = self.keys(part) else { return false };
        let row = keys.rows().saturating_sub(1);
        let mut last = KeyBuf::new();
        keys.key(payload, row, &mut last);
        let order = layout.order().compare(last.as_slice(), key);
        order.is_lt() || (order.is_eq() && self.number(ColumnId::SEQNO, part, row) >= before.get())
    }

    fn keys(&self, part: usize) -> Option<(&KeyPage, &[u8])> {
        let page = self.page(ColumnId::KEY, part)?;
        Some((page.page().as_keys()?, page.payload()))
    }

    /// The sequence number or kind of a row; [`TableLayout::open_rows`] sees to it that there is one.
    fn number(&self, column: ColumnId, part: usize, row: usize) -> u64 {
        let Some(page) = self.page(column, part) else { return u64::MAX };
        match page.page().get(page.payload(), row, &mut Vec::new()) {
            Datum::U64(number) => number,
            _ => u64::MAX,
        }
    }

    fn value(&self, layout: &TableLayout, part: usize, row: usize, kind: Kind) -> Result<Slice> {
        let opaque = self.page(ColumnId::OPAQUE, part);
        if let Some(page) = opaque.filter(|page| page.page().is_valid(page.payload(), row)) {
            return Ok(match page.page().get(page.payload(), row, &mut Vec::new()) {
                Datum::Bytes(value) => Slice::copy_from(value),
                _ => Slice::empty(),
            });
        }
        if kind.is_tombstone() {
            return Ok(Slice::empty());
        }
        let splitter = layout.splitter_of(&self.group)?;
        let (mut cells, mut value) = (RowCells::new(), Vec::new());
        RowPages::load_one(splitter.schema(), self.schema_pages(layout, part)?, row, &mut cells);
        splitter.assemble(&cells, &mut value).map_err(|source| self.columns(layout, source))?;
        Ok(value.into())
    }

    pub(super) fn columns(&self, layout: &TableLayout, source: lsm_columnar::ColumnarError) -> SstError {
        layout.columns_error(BlockKind::ROW_GROUP, self.group.at(), source)
    }

    pub(super) fn wrong(&self, layout: &TableLayout, source: PayloadError) -> SstError {
        layout.payload(BlockKind::ROW_GROUP, self.group.at(), source)
    }
}

impl TableLayout {
    /// What a point read looks into, out of the bytes that a reference to a data block leads to; `frame` is exactly
    /// these.
    ///
    /// # Errors
    /// `Corruption` in all its forms, `UnsupportedFormat`.
    pub fn decode_point(&self, at: BlockRef, frame: &Slice, decoder: &mut Decoder) -> Result<PointRows> {
        if self.is_columnar() {
            return Ok(PointRows::Group(Arc::new(self.open_rows(at, frame, decoder)?)));
        }
        Ok(PointRows::Block(Arc::new(self.decode_data(at, frame, decoder)?)))
    }

    /// The rows of a group as a block.
    ///
    /// # Errors
    /// What putting them together finds: `Corruption`, or a splitter that is missing.
    pub fn block_of(&self, rows: &GroupRows) -> Result<DataBlock> {
        rows.block(self)
    }

    /// The group that `bytes` are, with all pages checked.
    pub(super) fn open_rows(&self, at: BlockRef, bytes: &Slice, decoder: &mut Decoder) -> Result<GroupRows> {
        let group = self.decode_group(at, bytes, decoder)?;
        let pages = self.all_pages(&group, bytes, decoder)?;
        let rows = GroupRows { group, pages, asked: AtomicU32::new(0) };
        for entry in rows.group.directory().pages() {
            let must_be_there = [ColumnId::SEQNO, ColumnId::KIND].contains(&entry.column);
            let is_wrong = (must_be_there && entry.null_count > 0)
                || (entry.column == ColumnId::KEY && rows.keys(entry.part.into()).is_none());
            if is_wrong {
                return Err(rows.wrong(self, PayloadError::field("keys, seqnos and kinds")).into());
            }
        }
        Ok(rows)
    }
}
