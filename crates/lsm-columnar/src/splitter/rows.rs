//! Rows out of pages: values for whole batches of rows at once, or the cells of a single row.
//!
//! A batch is what lies within a block of 64 rows. Entering one unpacks the images of each column, and finds out where its
//! strings lie in the payload, in loops of their own; then splitters walk over these arrays. Nothing is copied but into
//! the values themselves, and memory does not depend on the number of rows, whatever a page decodes to.

use alloc::vec::Vec;
use core::ops::Range;

use super::{ColumnSplitter, RowCells, RowValues, Stored};
use crate::{
    ColumnarError, Datum, Page, Result, Schema,
    packed::BLOCK,
    page::{Body, BytesBody},
};

/// Most entries of a dictionary whose places are all kept while its page is read.
const ENTRIES_MAX: usize = 1024;

/// The pages of some columns in the same rows.
#[derive(Debug)]
pub struct RowPages<'p> {
    columns: Vec<Source<'p>>,
    /// First row of the block that was entered.
    first: Option<usize>,
}

/// One column, and its rows of the block that was entered.
#[derive(Debug)]
pub(super) struct Source<'p> {
    page: &'p Page,
    payload: &'p [u8],
    block: Block,
    /// Which of the rows have a value.
    valid: u64,
    /// Places of the entries of a small dictionary.
    entries: Vec<(usize, usize)>,
    /// Keys of the block, which lie in pieces in the payload.
    keys: Vec<u8>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each column, and every part of a group needs new ones"
)]
enum Block {
    Images([u64; BLOCK]),
    /// Starts and lengths.
    Places([(usize, usize); BLOCK]),
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
        Self { columns: pages.into_iter().map(Source::new).collect(), first: None }
    }

    /// Puts the cells of `row` in place of those in `cells`, which are made ready for `schema`. Reaches for this one row
    /// alone; the pages are as for [`RowPages::new`].
    pub fn load_one(
        schema: &Schema,
        pages: impl IntoIterator<Item = (&'p Page, &'p [u8])>,
        row: usize,
        cells: &mut RowCells,
    ) {
        cells.reset(schema);
        let mut keys = Vec::new();
        for (page, payload) in pages {
            let stored = if row >= page.rows() || !page.is_valid(payload, row) {
                Stored::Null
            } else {
                match &page.body {
                    Body::Words(words) => Stored::Word(words.at(payload, row)),
                    Body::Bytes(body) => {
                        stored_bytes(page, body.at(payload, row, &mut keys), &mut cells.heap)
                    }
                }
            };
            cells.cells.push(stored);
        }
    }

    /// Adds the values of `rows`, as `splitter`, whose schema the pages have, puts them together.
    ///
    /// # Errors
    /// Those of [`ColumnSplitter::assemble_rows`], and [`ColumnarError::Assemble`] where it adds another number of values.
    pub fn assemble(
        &mut self,
        splitter: &dyn ColumnSplitter,
        rows: Range<usize>,
        cells: &mut RowCells,
        values: &mut RowValues,
    ) -> Result<()> {
        if self.columns.iter().any(|column| column.page.rows() < rows.end) {
            return Err(ColumnarError::Assemble);
        }
        let mut start = rows.start;
        while start < rows.end {
            let first = start / BLOCK * BLOCK;
            let end = rows.end.min(first + BLOCK);
            if self.first != Some(first) {
                self.columns.iter_mut().for_each(|column| column.enter(first));
                self.first = Some(first);
            }
            let batch = RowBatch { columns: &self.columns, rows: start - first..end - first };
            let expected = values.len() + batch.len();
            splitter.assemble_rows(&batch, cells, values)?;
            if values.len() != expected {
                return Err(ColumnarError::Assemble);
            }
            start = end;
        }
        Ok(())
    }
}

/// The cells of up to 64 rows, column by column.
#[derive(Debug)]
pub struct RowBatch<'b> {
    columns: &'b [Source<'b>],
    /// Within the block.
    rows: Range<usize>,
}

impl<'b> RowBatch<'b> {
    /// Number of rows.
    pub const fn len(&self) -> usize {
        self.rows.end - self.rows.start
    }

    /// Whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of column `column` of the schema in row `row` of the batch; one that is not there is null.
    #[inline]
    pub fn get(&self, column: usize, row: usize) -> Datum<'_> {
        let at = self.rows.start + row;
        let source = self.columns.get(column).filter(|_| at < self.rows.end);
        source.map_or(Datum::Null, |source| source.get(at))
    }

    /// Puts the cells of row `row` of the batch in place of those in `cells`, which were made ready for the schema.
    pub fn load(&self, row: usize, cells: &mut RowCells) {
        let at = self.rows.start + row;
        cells.cells.clear();
        cells.heap.clear();
        for source in self.columns {
            let stored = match &source.block {
                _ if !source.is_valid(at) => Stored::Null,
                Block::Images(images) => images.get(at).map_or(Stored::Null, |image| Stored::Word(*image)),
                Block::Places(_) => stored_bytes(source.page, source.bytes(at), &mut cells.heap),
            };
            cells.cells.push(stored);
        }
    }

    /// The columns, whose cells are reached by [`RowBatch::rows`].
    pub(super) const fn columns(&self) -> &'b [Source<'b>] {
        self.columns
    }

    /// The rows, as columns count them.
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }
}

/// A cell of bytes, which are copied to `heap`.
fn stored_bytes(page: &Page, bytes: &[u8], heap: &mut Vec<u8>) -> Stored {
    match bytes.try_into() {
        Ok(wide) if page.ty().is_wide() => Stored::Wide(wide),
        _ => {
            let start = heap.len();
            heap.extend_from_slice(bytes);
            Stored::Bytes { start, end: heap.len() }
        }
    }
}

impl<'p> Source<'p> {
    fn new((page, payload): (&'p Page, &'p [u8])) -> Self {
        let mut entries = Vec::new();
        let block = match &page.body {
            Body::Words(_) => Block::Images([0; BLOCK]),
            Body::Bytes(body) => {
                if let BytesBody::Dictionary { entries: strings, .. } = body
                    && strings.count() <= ENTRIES_MAX
                {
                    entries.resize(strings.count(), (0, 0));
                    strings.places(payload, 0, &mut entries);
                }
                Block::Places([(0, 0); BLOCK])
            }
        };
        Self { page, payload, block, valid: 0, entries, keys: Vec::new() }
    }

    /// Looks up the rows from `first` on.
    fn enter(&mut self, first: usize) {
        let Self { page, payload, block, valid, entries, keys } = self;
        let count = BLOCK.min(page.rows().saturating_sub(first));
        *valid = page.valid_word(payload, first);
        match (&page.body, block) {
            (Body::Words(words), Block::Images(images)) => {
                if let Some(images) = images.get_mut(..count) {
                    words.unpack(payload, first, images);
                }
            }
            (Body::Bytes(body), Block::Places(places)) => {
                let Some(places) = places.get_mut(..count) else { return };
                if body.places(payload, first, entries, places) {
                    return;
                }
                keys.clear();
                let mut key = Vec::new();
                for (place, row) in places.iter_mut().zip(first..) {
                    let start = keys.len();
                    keys.extend_from_slice(body.at(payload, row, &mut key));
                    *place = (start, keys.len() - start);
                }
            }
            _ => {}
        }
    }

    /// The cell in row `at` of the block.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Datum<'_> {
        match &self.block {
            _ if !self.is_valid(at) => Datum::Null,
            Block::Images(images) => {
                images.get(at).map_or(Datum::Null, |image| Datum::from_image(self.ty(), *image))
            }
            Block::Places(_) => Datum::from_bytes(self.ty(), self.bytes(at)),
        }
    }

    /// Whether row `at` of the block has a value.
    #[inline]
    pub(super) const fn is_valid(&self, at: usize) -> bool {
        self.valid >> at & 1 == 1
    }

    /// Whether these rows of the block have values.
    pub(super) fn all_valid(&self, rows: Range<usize>) -> bool {
        self.valid == u64::MAX || rows.into_iter().all(|at| self.is_valid(at))
    }

    /// Type of the column.
    pub(super) const fn ty(&self) -> crate::ColumnType {
        self.page.ty()
    }

    /// Images of the block; `None` where values are bytes.
    #[inline]
    pub(super) const fn images(&self) -> Option<&[u64; BLOCK]> {
        match &self.block {
            Block::Images(images) => Some(images),
            Block::Places(_) => None,
        }
    }

    /// Where the value of row `at` of the block lies: in which bytes, from where on, how long.
    #[inline]
    pub(super) fn place(&self, at: usize) -> (&[u8], (usize, usize)) {
        let bytes = match &self.page.body {
            Body::Bytes(BytesBody::Keys(_)) => &self.keys[..],
            _ => self.payload,
        };
        match &self.block {
            Block::Places(places) => (bytes, places.get(at).copied().unwrap_or_default()),
            Block::Images(_) => (bytes, (0, 0)),
        }
    }

    /// The value of row `at` of the block, where values are bytes.
    #[inline]
    pub(super) fn bytes(&self, at: usize) -> &[u8] {
        let (bytes, (start, len)) = self.place(at);
        bytes.get(start..start.saturating_add(len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec, vec::Vec};

    use super::*;
    use crate::{Column, ColumnId, ColumnType, ColumnVector, EncodingSet, PageEncoder, PageStamp};

    /// Spells cells out.
    struct Spelled {
        schema: Schema,
        one_by_one: bool,
    }

    fn spell<'c>(cells: impl Iterator<Item = Datum<'c>>, out: &mut Vec<u8>) {
        for (idx, datum) in cells.enumerate() {
            let bar = if idx == 0 { "" } else { "|" };
            out.extend_from_slice(alloc::format!("{bar}{datum:?}").as_bytes());
        }
    }

    impl ColumnSplitter for Spelled {
        fn name(&self) -> &'static str {
            "spelled"
        }

        fn version(&self) -> u32 {
            1
        }

        fn schema(&self) -> &Schema {
            &self.schema
        }

        fn split(&self, _: &[u8], _: &mut RowCells) -> Option<()> {
            None
        }

        fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<()> {
            spell((0..cells.len()).map(|idx| cells.get(idx)), value);
            Ok(())
        }

        fn assemble_rows(
            &self,
            rows: &RowBatch<'_>,
            cells: &mut RowCells,
            values: &mut RowValues,
        ) -> Result<()> {
            for row in 0..rows.len() {
                if self.one_by_one {
                    rows.load(row, cells);
                    self.assemble(cells, values.bytes())?;
                } else {
                    let count = self.schema.columns().len();
                    spell((0..count).map(|column| rows.get(column, row)), values.bytes());
                }
                values.end_row()?;
            }
            Ok(())
        }
    }

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
        for row in (0..200).chain([3, 4, 199, 64, 0]) {
            RowPages::load_one(&schema, sources.clone(), row, &mut cells);
            for (idx, (_, make)) in cases.iter().enumerate() {
                assert_eq!(cells.get(idx), make(row as u64, &strings[row]), "column {idx} of row {row}");
            }
        }
        let expected = |rows: Range<usize>| {
            rows.map(|row| {
                cases
                    .iter()
                    .map(|(_, make)| {
                        // No two data have one text.
                        alloc::format!("{:?}", make(row as u64, &strings[row]))
                    })
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect::<Vec<_>>()
        };
        let mut rows = RowPages::new(&schema, sources, &mut cells);
        for range in [0..200, 3..5, 60..130, 199..200, 0..1, 64..64] {
            for one_by_one in [false, true] {
                let mut values = RowValues::default();
                let splitter = Spelled { schema: schema.clone(), one_by_one };
                rows.assemble(&splitter, range.clone(), &mut cells, &mut values)?;
                let found =
                    (0..values.len()).map(|row| String::from_utf8_lossy(values.get(row)).into_owned());
                assert_eq!(found.collect::<Vec<_>>(), expected(range.clone()), "{range:?}");
            }
        }
        let splitter = Spelled { schema, one_by_one: false };
        let past = rows.assemble(&splitter, 199..201, &mut cells, &mut RowValues::default());
        assert_eq!(past, Err(ColumnarError::Assemble));
        Ok(())
    }
}
