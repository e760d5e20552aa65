//! Values of consecutive rows, one after another.

use alloc::vec::Vec;

use super::{slots::Slots, text::Line};
use crate::{ColumnarError, PAGE_BYTES_MAX, Result};

/// Values, one after another, and where each ends.
#[derive(Clone, Debug, Default)]
pub struct RowValues {
    bytes: Vec<u8>,
    /// Where the first value starts.
    start: usize,
    ends: Vec<u32>,
    /// Where text of a row is put together.
    line: Vec<u8>,
    slots: Slots,
}

impl RowValues {
    /// No values. They will follow what is in `front`.
    pub const fn new(front: Vec<u8>) -> Self {
        Self { start: front.len(), bytes: front, ends: Vec::new(), line: Vec::new(), slots: Vec::new() }
    }

    /// What the value of the next row is to be appended to.
    #[inline]
    pub const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the value of a row.
    ///
    /// # Errors
    /// [`ColumnarError::PageTooLarge`] where the values come to more than 256 MiB.
    #[inline]
    pub fn end_row(&mut self) -> Result<()> {
        let bytes = self.bytes.len().saturating_sub(self.start);
        match u32::try_from(bytes) {
            Ok(end) if bytes <= PAGE_BYTES_MAX => {
                self.ends.push(end);
                Ok(())
            }
            _ => Err(ColumnarError::PageTooLarge { rows: self.ends.len() + 1, bytes }),
        }
    }

    /// Number of values that were ended.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The value of row `row`; one that is not there is empty.
    pub fn get(&self, row: usize) -> &[u8] {
        let end = |row: usize| self.ends.get(row).map_or(0, |&end| end as usize);
        let start = row.checked_sub(1).map_or(0, end);
        self.bytes.get(self.start + start..self.start + end(row)).unwrap_or_default()
    }

    /// Makes room for that many more rows.
    pub fn reserve_rows(&mut self, rows: usize) {
        self.ends.reserve(rows);
    }

    /// All bytes, those in front included, and where each value ends behind them.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u32>) {
        (self.bytes, self.ends)
    }

    /// Slots for the cells of a batch, to be given back.
    pub(super) fn take_slots(&mut self) -> Slots {
        core::mem::take(&mut self.slots)
    }

    pub(super) fn give_slots(&mut self, slots: Slots) {
        self.slots = slots;
    }

    /// Adds the value that `write` puts together. It is called again where it needs more room than it was given.
    #[inline]
    pub(super) fn line(&mut self, mut write: impl FnMut(&mut Line<'_>)) -> Result<()> {
        loop {
            let mut line = Line::new(&mut self.line);
            write(&mut line);
            let len = line.len();
            if let Some(text) = line.finish() {
                self.bytes.extend_from_slice(text);
                return self.end_row();
            }
            if len > PAGE_BYTES_MAX {
                return Err(ColumnarError::PageTooLarge { rows: self.ends.len() + 1, bytes: len });
            }
            Line::make_room(&mut self.line, len.next_power_of_two());
        }
    }

    /// Adds `rows` values of `len` zeros each.
    pub(super) fn zeros(&mut self, rows: usize, len: usize) -> Result<&mut [u8]> {
        let at = self.bytes.len();
        let end = at.saturating_add(rows.saturating_mul(len));
        let bytes = end.saturating_sub(self.start);
        let fits = u32::try_from(bytes).is_ok() && bytes <= PAGE_BYTES_MAX;
        let (true, Ok(mut last)) = (fits, u32::try_from(at - self.start)) else {
            return Err(ColumnarError::PageTooLarge { rows: self.ends.len() + rows, bytes });
        };
        self.bytes.resize(end, 0);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.ends.extend((0..rows).map(|_| {
            last = last.saturating_add(len);
            last
        }));
        Ok(self.bytes.get_mut(at..).unwrap_or_default())
    }
}
