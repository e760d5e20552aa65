//! Walking the rows of one block in both directions.

use core::ops::Deref;

use lsm_types::{EntryRef, KeyOrder, SeqNo, Slice, columns::KeyBuf};

use super::DataBlock;

/// Stands on a row of a block, or on none. `B` is a borrowed or a shared block.
///
/// The key is assembled as the cursor moves: in steps within a bundle only the suffix changes.
#[derive(Debug)]
pub struct RowCursor<B> {
    block: B,
    order: KeyOrder,
    /// The row; the number of rows when the cursor stands on none.
    row: usize,
    rows: usize,
    key: KeyBuf,
}

impl<B: Deref<Target = DataBlock>> RowCursor<B> {
    /// A cursor on no row.
    pub fn new(block: B, order: KeyOrder) -> Self {
        let rows = block.rows();
        Self { block, order, row: rows, rows, key: KeyBuf::new() }
    }

    /// Goes over to another block, standing on no row.
    pub fn replace(&mut self, block: B) {
        self.key.reset();
        self.rows = block.rows();
        self.row = self.rows;
        self.block = block;
    }

    /// Whether the cursor stands on a row.
    #[inline]
    pub const fn is_on_row(&self) -> bool {
        self.row < self.rows
    }

    /// Stands on the first row.
    pub fn seek_first(&mut self) {
        self.stand_on(0);
    }

    /// Stands on the last row.
    pub fn seek_last(&mut self) {
        self.stand_on(self.rows.wrapping_sub(1));
    }

    /// Stands on the first row at or after the point `(key, before)`.
    pub fn seek(&mut self, key: &[u8], before: SeqNo) {
        self.stand_on(self.block.lower_bound(&self.order, key, before));
    }

    /// Stands on the last row before the point `(key, before)`.
    pub fn seek_back(&mut self, key: &[u8], before: SeqNo) {
        self.stand_on(self.block.lower_bound(&self.order, key, before).wrapping_sub(1));
    }

    /// The row; as many as there are when the cursor stands on none.
    pub const fn row(&self) -> usize {
        self.row
    }

    /// Stands on a row by its number; past the last one, on none.
    pub fn seek_row(&mut self, row: usize) {
        self.stand_on(row);
    }

    /// Steps to the next row; past the last one, to none.
    #[inline]
    pub fn next(&mut self) {
        if self.row < self.rows {
            self.row += 1;
            if self.row < self.rows && !self.block.repeats_key(self.row) {
                self.block.key(self.row, &mut self.key);
            }
        }
    }

    /// Steps to the row before; before the first one, to none.
    #[inline]
    pub fn prev(&mut self) {
        if self.row < self.rows {
            if self.row == 0 {
                self.row = self.rows;
                return;
            }
            let same_key = self.block.repeats_key(self.row);
            self.row -= 1;
            if !same_key {
                self.block.key(self.row, &mut self.key);
            }
        }
    }

    /// The entry under the cursor, with its local sequence number.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        if self.row >= self.rows {
            return None;
        }
        Some(EntryRef {
            key: self.key.as_slice(),
            seqno: self.block.seqno(self.row),
            kind: self.block.kind(self.row),
            value: self.block.value(self.row),
        })
    }

    /// Whether the row before has another key; `false` also when it lies in another block.
    #[inline]
    pub fn is_newest(&self) -> bool {
        0 < self.row && self.row < self.rows && !self.block.has_key_of_before(self.row, self.key.as_slice())
    }

    /// The value under the cursor, sharing the block's buffer; empty without a row.
    pub fn value(&self) -> Slice {
        self.block.value_slice(self.row)
    }

    #[inline]
    fn stand_on(&mut self, row: usize) {
        self.row = row.min(self.rows);
        if self.row < self.rows {
            self.block.key(self.row, &mut self.key);
        }
    }
}
