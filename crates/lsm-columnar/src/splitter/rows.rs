//! Rows out of pages: the cells of one row after another, for splitters to assemble.

use alloc::vec::Vec;

use super::{RowCells, Stored};
use crate::{
    Page, Schema,
    packed::BLOCK,
    page::{Body, BytesBody},
};

/// The pages of some columns in the same rows, read row by row. Fastest in order; memory does not depend on the number of
/// rows, whatever a page decodes to.
#[derive(Debug)]
pub struct RowPages<'p> {
    columns: Vec<Source<'p>>,
}

/// One column, and what reading it in order makes use of.
#[derive(Debug)]
struct Source<'p> {
    page: &'p Page,
    payload: &'p [u8],
    /// Images of the block that starts at row `first`.
    images: [u64; BLOCK],
    first: usize,
    /// Where the string of row `next` starts in the heap.
    next: usize,
    start: usize,
}

impl<'p> RowPages<'p> {
    /// Pages of one number of rows, each with its payload: one per column of `schema`, in its order. `cells` is made ready
    /// for rows of the schema.
    pub fn new(
        schema: &Schema,
        pages: impl IntoIterator<Item = (&'p Page, &'p [u8])>,
        cells: &mut RowCells,
    ) -> Self {
        cells.reset(schema);
        let source = |(page, payload)| Source {
            page,
            payload,
            images: [0; BLOCK],
            first: usize::MAX,
            next: 0,
            start: 0,
        };
        Self { columns: pages.into_iter().map(source).collect() }
    }

    /// Puts the cells of `row` in place of those in `cells`, which [`RowPages::new`] made ready.
    pub fn load(&mut self, row: usize, cells: &mut RowCells) {
        cells.cells.clear();
        cells.heap.clear();
        for column in &mut self.columns {
            let stored = column.cell(row, &mut cells.heap);
            cells.cells.push(stored);
        }
    }
}

impl Source<'_> {
    #[inline]
    fn cell(&mut self, row: usize, heap: &mut Vec<u8>) -> Stored {
        let Self { page, payload, .. } = *self;
        if row >= page.rows() || !page.is_valid(payload, row) {
            return Stored::Null;
        }
        let Body::Bytes(body) = &page.body else { return Stored::Word(self.image(row)) };
        let start = heap.len();
        match body {
            BytesBody::Strings(strings) if row == self.next => {
                let len = strings.len_at(payload, row);
                let value = strings.heap(payload).get(self.start..self.start.saturating_add(len));
                heap.extend_from_slice(value.unwrap_or_default());
                (self.next, self.start) = (row + 1, self.start.saturating_add(len));
            }
            // Keys are columns of no schema, so nothing is put together in pieces here.
            _ => heap.extend_from_slice(body.at(payload, row, &mut Vec::new())),
        }
        match page.ty().fixed_len().and_then(|_| heap.get(start..)?.try_into().ok()) {
            Some(wide) if page.ty().is_wide() => Stored::Wide(wide),
            _ => Stored::Bytes { start, end: heap.len() },
        }
    }

    #[inline]
    fn image(&mut self, row: usize) -> u64 {
        let Body::Words(words) = &self.page.body else { return 0 };
        let first = row / BLOCK * BLOCK;
        if self.first != first {
            let count = BLOCK.min(self.page.rows() - first);
            if let Some(images) = self.images.get_mut(..count) {
                words.unpack(self.payload, first, images);
            }
            self.first = first;
        }
        self.images.get(row - first).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::{
        Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Datum, EncodingSet, PageEncoder, PageStamp,
    };

    type Make = fn(u64, &str) -> Datum<'_>;

    /// Rows of all types come out of pages as they went in, in order and out of it.
    #[test]
    fn rows_come_back_from_pages_of_every_type() -> Result<(), ColumnarError> {
        let text = |row: u64| alloc::format!("{:1$}", row, (row % 20) as usize);
        let strings: Vec<_> = (0..200).map(text).collect();
        let cases: Vec<(ColumnType, Make)> = vec![
            (ColumnType::U64, |row, _| Datum::U64(row * row)),
            (ColumnType::I16, |row, _| Datum::I64(7 - row.cast_signed())),
            (ColumnType::Bool, |row, _| Datum::Bool(row.is_multiple_of(3))),
            (ColumnType::F64, |row, _| Datum::F64(f64::from_bits(row << 40))),
            (ColumnType::I128, |row, _| Datum::I128(-i128::from(row) << 70)),
            (ColumnType::U128, |row, _| Datum::U128(u128::from(row) << 90)),
            (ColumnType::Fixed(1), |_, text| Datum::Bytes(&text.as_bytes()[..1])),
            (ColumnType::Utf8, |_, text| Datum::Bytes(text.as_bytes())),
            (ColumnType::Bytes, |row, text| if row.is_multiple_of(5) { Datum::Null } else { text.into() }),
        ];
        let columns = cases
            .iter()
            .zip(16..)
            .map(|((ty, _), id)| Column::new(ColumnId::new(id), alloc::format!("c{id}"), *ty).nullable());
        let schema = Schema::new(columns.collect())?;
        let mut pages = vec![];
        for (column, (ty, make)) in schema.columns().iter().zip(&cases) {
            let mut vector = ColumnVector::new(*ty);
            for (row, text) in (0..).zip(&strings) {
                vector.push(make(row, text))?;
            }
            let stamp = PageStamp { group: 0, column: column.id(), part: 0 };
            let mut payload = vec![];
            PageEncoder::new(EncodingSet::ALL).encode(stamp, &vector, 0..200, &mut payload)?;
            pages.push((Page::open(stamp, *ty, 200, &payload)?, payload));
        }
        let mut cells = RowCells::new();
        let sources = pages.iter().map(|(page, payload)| (page, &payload[..]));
        let mut rows = RowPages::new(&schema, sources, &mut cells);
        for row in (0..200).chain([3, 4, 199, 64, 0]) {
            rows.load(row, &mut cells);
            for (idx, (_, make)) in cases.iter().enumerate() {
                assert_eq!(cells.get(idx), make(row as u64, &strings[row]), "column {idx} of row {row}");
            }
        }
        Ok(())
    }
}
