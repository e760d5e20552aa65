//! A row group as a block of rows.

use alloc::vec::Vec;

use lsm_block::BlockKind;
use lsm_codec::Decoder;
use lsm_columnar::{ColumnId, ColumnSplitter, ColumnType, ColumnVector, Datum, RowCells, RowPages, Values};
use lsm_types::{Kind, Result, Slice};

use super::{ColumnPage, RowGroup};
use crate::{
    BlockRef, SstError, TableLayout,
    data_block::{DataBlock, RowColumns},
    payload::PayloadError,
};

/// Most bytes that the values of a group come to: no more than a writer takes.
const VALUES_MAX: usize = BlockKind::DATA.cap() as usize;

/// The values of the rows before, one after another.
#[derive(Default)]
struct RowValues {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl TableLayout {
    /// The rows of the group that `bytes` are.
    pub(crate) fn decode_rows(
        &self,
        at: BlockRef,
        bytes: &Slice,
        decoder: &mut Decoder,
    ) -> Result<DataBlock> {
        let group = self.decode_group(at, bytes, decoder)?;
        let pages = self.all_pages(&group, bytes, decoder)?;
        let directory = group.directory();
        let parts = directory.part_count();
        let wrong = |source| self.columns_error(BlockKind::ROW_GROUP, at, source);
        let column = |id| directory.columns().iter().position(|(column, _)| *column == id);
        let page = |column: usize, part: usize| pages.get(column * parts + part);
        let (mut seqnos, mut kinds) = (ColumnVector::new(ColumnType::U64), ColumnVector::new(ColumnType::U8));
        let mut keys = Vec::with_capacity(parts);
        for part in 0..parts {
            for (id, vector) in [(ColumnId::SEQNO, &mut seqnos), (ColumnId::KIND, &mut kinds)] {
                if let Some(page) = column(id).and_then(|column| page(column, part)) {
                    page.page().decode(page.payload(), vector).map_err(wrong)?;
                }
            }
            let key_page = column(ColumnId::KEY).and_then(|column| page(column, part));
            keys.extend(key_page.and_then(|page| Some((page.page().as_keys()?, &page.payload()[..]))));
        }
        let (Values::U64(seqnos), Values::U8(kinds), None, None) =
            (seqnos.values(), kinds.values(), seqnos.validity(), kinds.validity())
        else {
            return Err(self
                .payload(BlockKind::ROW_GROUP, at, PayloadError::field("seqnos and kinds"))
                .into());
        };
        let mut values = RowValues { ends: Vec::with_capacity(kinds.len()), bytes: Vec::new() };
        let mut cells = RowCells::new();
        for part in 0..parts {
            let opaque = column(ColumnId::OPAQUE).and_then(|column| page(column, part));
            let rows = kinds.get(directory.part_rows(part)).unwrap_or_default();
            let consumer = |id| page(column(id)?, part);
            self.values(&group, (rows, opaque), consumer, &mut cells, &mut values)?;
        }
        let RowValues { ends, bytes } = &values;
        let columns = RowColumns { keys: &keys, seqnos, kinds, value_ends: ends, values: bytes };
        DataBlock::of_columns(&columns)
            .map_err(|source| self.payload(BlockKind::ROW_GROUP, at, source).into())
    }

    /// Adds the values of the rows of a part, whose kinds and opaque values these are.
    fn values<'p>(
        &self,
        group: &RowGroup,
        (kinds, opaque): (&[u8], Option<&'p ColumnPage>),
        consumer: impl Fn(ColumnId) -> Option<&'p ColumnPage>,
        cells: &mut RowCells,
        values: &mut RowValues,
    ) -> Result<()> {
        let mut split = None;
        let mut no_keys = Vec::new();
        for (row, kind) in kinds.iter().enumerate() {
            let is_whole = opaque.filter(|page| page.page().is_valid(page.payload(), row));
            if let Some(page) = is_whole {
                if let Datum::Bytes(value) = page.page().get(page.payload(), row, &mut no_keys) {
                    values.bytes.extend_from_slice(value);
                }
            } else if !Kind::from_tag(*kind).is_some_and(Kind::is_tombstone) {
                let (splitter, pages) = if let Some(split) = &mut split {
                    split
                } else {
                    split.insert(self.begin_rows(group, &consumer, cells)?)
                };
                pages.load(row, cells);
                splitter
                    .assemble(cells, &mut values.bytes)
                    .map_err(|source| self.columns_error(BlockKind::ROW_GROUP, group.at(), source))?;
            }
            let end = u32::try_from(values.bytes.len()).ok().filter(|&end| end as usize <= VALUES_MAX);
            let Some(end) = end else {
                return Err(self
                    .payload(BlockKind::ROW_GROUP, group.at(), PayloadError::field("values"))
                    .into());
            };
            values.ends.push(end);
        }
        Ok(())
    }

    /// What puts the values of a part together, and the pages it does that from.
    fn begin_rows<'p>(
        &self,
        group: &RowGroup,
        consumer: impl Fn(ColumnId) -> Option<&'p ColumnPage>,
        cells: &mut RowCells,
    ) -> Result<(&dyn ColumnSplitter, RowPages<'p>)> {
        let splitter = self.splitter_of(group)?;
        let columns = splitter.schema().columns().iter();
        let pages =
            columns.map(|column| consumer(column.id()).map(|page| (page.page(), &page.payload()[..])));
        let Some(pages) = pages.collect::<Option<Vec<_>>>() else {
            let source = PayloadError::field("columns");
            return Err(self.payload(BlockKind::ROW_GROUP, group.at(), source).into());
        };
        Ok((splitter, RowPages::new(splitter.schema(), pages, cells)))
    }

    /// What puts the values of a group together.
    fn splitter_of(&self, group: &RowGroup) -> Result<&dyn ColumnSplitter> {
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
