//! A row group as a block of rows.

use alloc::vec::Vec;

use lsm_block::BlockKind;
use lsm_codec::Decoder;
use lsm_columnar::{
    Column, ColumnId, ColumnSplitter, ColumnType, ColumnVector, Datum, Page, RowCells, RowPages, RowValues,
    Values,
};
use lsm_types::{Kind, Result, Slice};

use super::{GroupRows, RowGroup};
use crate::{
    BlockRef, SstError, TableLayout,
    data_block::{DataBlock, RowColumns},
    payload::PayloadError,
};

/// Memory for values is set aside up to this much before they are there to be counted.
const VALUES_HINT_MAX: u64 = 1 << 20;

impl GroupRows {
    fn kinds_and_seqnos(&self, layout: &TableLayout) -> Result<(ColumnVector, ColumnVector)> {
        let (mut kinds, mut seqnos) = (ColumnVector::new(ColumnType::U8), ColumnVector::new(ColumnType::U64));
        for part in 0..self.group.directory().part_count() {
            for (id, vector) in [(ColumnId::SEQNO, &mut seqnos), (ColumnId::KIND, &mut kinds)] {
                if let Some(page) = self.page(id, part) {
                    let decoded = page.page().decode(page.payload(), vector);
                    decoded.map_err(|source| self.columns(layout, source))?;
                }
            }
        }
        Ok((kinds, seqnos))
    }

    /// The rows as a block.
    pub(super) fn block(&self, layout: &TableLayout) -> Result<DataBlock> {
        let directory = self.group.directory();
        let parts = directory.part_count();
        let (kinds, seqnos) = self.kinds_and_seqnos(layout)?;
        let (Values::U64(seqnos), Values::U8(kinds), None, None) =
            (seqnos.values(), kinds.values(), seqnos.validity(), kinds.validity())
        else {
            return Err(self.wrong(layout, PayloadError::field("seqnos and kinds")).into());
        };
        let key_pages = (0..parts).filter_map(|part| self.page(ColumnId::KEY, part));
        let keys: Vec<_> =
            key_pages.filter_map(|page| Some((page.page().as_keys()?, &page.payload()[..]))).collect();
        let columns = RowColumns { keys: &keys, seqnos, kinds };
        let hint = layout.values_hint(kinds.len());
        let (block, payload) =
            DataBlock::begin(&columns, hint).map_err(|source| self.wrong(layout, source))?;
        let mut values = RowValues::new(payload);
        values.reserve_rows(kinds.len());
        let mut cells = RowCells::new();
        for part in 0..parts {
            let kinds = kinds.get(directory.part_rows(part)).unwrap_or_default();
            self.part_values(layout, part, kinds, &mut cells, &mut values)?;
        }
        Ok(block.finish(values).map_err(|source| self.wrong(layout, source))?)
    }

    /// Adds the values of the rows of a part, whose kinds these are.
    fn part_values(
        &self,
        layout: &TableLayout,
        part: usize,
        kinds: &[u8],
        cells: &mut RowCells,
        values: &mut RowValues,
    ) -> Result<()> {
        let opaque = self.page(ColumnId::OPAQUE, part);
        let whole = |row| opaque.filter(|page| page.page().is_valid(page.payload(), row));
        let is_split = |row: usize, kind: u8| {
            whole(row).is_none() && !Kind::from_tag(kind).is_some_and(Kind::is_tombstone)
        };
        if opaque.is_none() && !kinds.iter().any(|kind| Kind::from_tag(*kind).is_some_and(Kind::is_tombstone))
        {
            let (splitter, mut pages) = self.begin_rows(layout, part, cells)?;
            let added = pages.assemble(splitter, 0..kinds.len(), cells, values);
            return Ok(added.map_err(|source| self.columns(layout, source))?);
        }
        let mut split = None;
        let (mut no_keys, mut row) = (Vec::new(), 0);
        while let Some(&kind) = kinds.get(row) {
            if is_split(row, kind) {
                // Rows that were split come in long runs.
                let rest = kinds.iter().enumerate().skip(row);
                let count = rest.take_while(|(row, kind)| is_split(*row, **kind)).count();
                let (splitter, pages) = match &mut split {
                    Some(split) => split,
                    None => split.insert(self.begin_rows(layout, part, cells)?),
                };
                let added = pages.assemble(*splitter, row..row + count, cells, values);
                added.map_err(|source| self.columns(layout, source))?;
                row += count;
                continue;
            }
            if let Some(page) = whole(row)
                && let Datum::Bytes(value) = page.page().get(page.payload(), row, &mut no_keys)
            {
                values.bytes().extend_from_slice(value);
            }
            values.end_row().map_err(|source| self.columns(layout, source))?;
            row += 1;
        }
        Ok(())
    }

    /// What puts the values of a part together, and the pages it does that from.
    fn begin_rows<'a>(
        &'a self,
        layout: &'a TableLayout,
        part: usize,
        cells: &mut RowCells,
    ) -> Result<(&'a dyn ColumnSplitter, RowPages<'a>)> {
        let splitter = layout.splitter_of(&self.group)?;
        let pages = self.schema_pages(layout, part)?;
        Ok((splitter, RowPages::new(splitter.schema(), pages, cells)))
    }

    /// The pages of a part that its values are put together from.
    pub(super) fn schema_pages<'a>(
        &'a self,
        layout: &'a TableLayout,
        part: usize,
    ) -> Result<impl Iterator<Item = (&'a Page, &'a [u8])> + use<'a>> {
        let columns = layout.splitter_of(&self.group)?.schema().columns();
        let page = move |column: &Column| {
            let page = self.page(column.id(), part)?;
            Some((page.page(), &page.payload()[..]))
        };
        if columns.iter().any(|column| page(column).is_none()) {
            return Err(self.wrong(layout, PayloadError::field("columns")).into());
        }
        Ok(columns.iter().filter_map(page))
    }
}

impl TableLayout {
    /// The rows of the group that `bytes` are.
    pub(crate) fn decode_rows(
        &self,
        at: BlockRef,
        bytes: &Slice,
        decoder: &mut Decoder,
    ) -> Result<DataBlock> {
        self.open_rows(at, bytes, decoder)?.block(self)
    }

    /// Bytes that the values of so many rows may well come to.
    fn values_hint(&self, rows: usize) -> usize {
        let counters = &self.properties.counters;
        let each = counters.raw_value_bytes / counters.entries.max(1);
        let bytes = (each + each / 8 + 1).saturating_mul(rows as u64).min(VALUES_HINT_MAX);
        usize::try_from(bytes).unwrap_or(0)
    }

    /// What puts the values of a group together.
    pub(super) fn splitter_of(&self, group: &RowGroup) -> Result<&dyn ColumnSplitter> {
        let columns = self.columns.as_ref();
        let schema_id = columns.and_then(|columns| columns.schema.as_ref()).map_or(0, |schema| schema.id());
        let found = self.properties.columns.as_ref().and_then(|columns| columns.splitter.as_ref());
        // All groups of a table have its schema.
        let (Some(id), true) = (found, group.directory().head().schema_id == schema_id) else {
            let source = PayloadError::field("schema id");
            return Err(self.payload(BlockKind::ROW_GROUP, group.at(), source).into());
        };
        columns.and_then(|columns| columns.splitter.as_deref()).ok_or_else(|| {
            let (name, version) = (id.name.clone(), id.version);
            let at = self.reader.identity().at(0);
            SstError::NoSplitter { at, name, version, schema: schema_id }.into()
        })
    }
}
