//! Collects entries by columns and writes them as row groups.

use alloc::vec::Vec;

use lsm_block::Output;
use lsm_codec::Compression;
use lsm_columnar::{
    ColumnId, ColumnType, ColumnVector, ColumnarError, Datum, EncodedGroup, EncodingSet, GroupEncoder,
    GroupHead, RowCells, Zone,
};
use lsm_types::{Kind, SeqNo};

use super::{SplitValue, sink::FrameSink};
use crate::{
    ColumnProperties, ColumnStats, ColumnarOptions, Result, SplitterId, SstError,
    index::IndexEntry,
    properties::{CodecCensus, SeqNoBounds},
};

/// What a row adds to the size of a group besides key and value, at most: number, kind, ends.
const ROW_BYTES: usize = 24;

/// Collects the entries of one row group. Reused from group to group, it keeps its memory.
#[derive(Debug)]
pub(super) struct GroupBuilder {
    options: ColumnarOptions,
    encoder: GroupEncoder,
    keys: ColumnVector,
    seqnos: ColumnVector,
    kinds: ColumnVector,
    /// Values that are kept whole; null where they are not, and where there is none.
    opaque: ColumnVector,
    has_opaque: bool,
    /// The columns of the consumer.
    columns: Vec<ColumnVector>,
    cells: RowCells,
    /// Of keys and values.
    bytes: usize,
    bounds: Option<SeqNoBounds>,
    /// Bounds of the columns of the consumer in the groups written so far.
    zones: Vec<Option<Zone>>,
}

impl GroupBuilder {
    pub(super) fn new(options: ColumnarOptions) -> Self {
        let schema = options.splitter.as_ref().map(|splitter| splitter.schema().columns());
        let columns: Vec<_> =
            schema.unwrap_or_default().iter().map(|column| ColumnVector::new(column.ty())).collect();
        Self {
            encoder: GroupEncoder::new(options.part_rows, EncodingSet::ALL),
            keys: ColumnVector::new(ColumnType::Bytes),
            seqnos: ColumnVector::new(ColumnType::U64),
            kinds: ColumnVector::new(ColumnType::U8),
            opaque: ColumnVector::new(ColumnType::Bytes),
            has_opaque: false,
            zones: columns.iter().map(|_| None).collect(),
            columns,
            cells: RowCells::new(),
            bytes: 0,
            bounds: None,
            options,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn logical_len(&self) -> usize {
        self.bytes + self.rows() * ROW_BYTES
    }

    pub(super) fn memory_len(&self) -> usize {
        let own = [&self.keys, &self.seqnos, &self.kinds, &self.opaque];
        own.into_iter().chain(&self.columns).map(ColumnVector::heap_bytes).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows() >= self.options.group_rows || self.bytes >= self.options.group_bytes
    }

    /// Adds an entry, which comes after the one before in internal order.
    pub(super) fn push(&mut self, key: &[u8], seqno: SeqNo, kind: Kind, split: SplitValue<'_>) -> Result<()> {
        self.append(key, seqno, kind, split).map_err(SstError::Columns)?;
        self.bytes += key.len() + split.0.len();
        self.bounds = Some(SeqNoBounds::with(self.bounds, seqno));
        Ok(())
    }

    fn append(
        &mut self,
        key: &[u8],
        seqno: SeqNo,
        kind: Kind,
        (value, cells): SplitValue<'_>,
    ) -> Result<(), ColumnarError> {
        self.keys.push(Datum::Bytes(key))?;
        self.seqnos.push(Datum::U64(seqno.get()))?;
        self.kinds.push(Datum::U64(kind.tag().into()))?;
        let splitter = self.options.splitter.as_deref().filter(|_| kind == Kind::Put);
        if let Some(splitter) = splitter {
            let given = cells.filter(|cells| cells.is_row_of(splitter.schema()));
            if let Some(cells) = given.or_else(|| self.cells.split(splitter, value).then_some(&self.cells)) {
                cells.append_to(&mut self.columns)?;
                return self.opaque.push(Datum::Null);
            }
        }
        self.columns.iter_mut().try_for_each(|column| column.push_nulls(1))?;
        let is_whole = !kind.is_tombstone();
        self.has_opaque |= is_whole;
        self.opaque.push(if is_whole { Datum::Bytes(value) } else { Datum::Null })
    }

    /// Writes the group and starts an empty one; its entry in the index but for the number in it.
    pub(super) fn write<O: Output>(
        &mut self,
        sink: &mut FrameSink<O>,
        compression: Compression,
        census: &mut CodecCensus,
    ) -> Result<IndexEntry> {
        let (ordinal, rows) = (sink.next_data_ordinal(), self.rows());
        let group = self.encode(ordinal).map_err(SstError::Columns)?;
        self.note_zones(&group);
        let zero = SeqNoBounds { min: SeqNo::ZERO, max: SeqNo::ZERO };
        let SeqNoBounds { min, max } = self.bounds.take().unwrap_or(zero);
        let schema_id = self.options.splitter.as_ref().map_or(0, |splitter| splitter.schema().id());
        let head = GroupHead {
            ordinal,
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            schema_id,
            seqno_min: min,
            seqno_max: max,
        };
        let handle = sink.append_group(&head, &group, compression, census)?;
        self.clear();
        Ok(IndexEntry { handle, ordinal, rows: rows as u64, last_seqno: SeqNo::ZERO })
    }

    fn encode(&mut self, ordinal: u32) -> Result<EncodedGroup, ColumnarError> {
        let mut columns = Vec::from([
            (ColumnId::KEY, &self.keys),
            (ColumnId::SEQNO, &self.seqnos),
            (ColumnId::KIND, &self.kinds),
        ]);
        // A column without any value tells nothing; a table may well consist of groups without it.
        if self.has_opaque {
            columns.push((ColumnId::OPAQUE, &self.opaque));
        }
        if let Some(splitter) = &self.options.splitter {
            let ids = splitter.schema().columns().iter().map(lsm_columnar::Column::id);
            columns.extend(ids.zip(&self.columns));
        }
        self.encoder.encode(ordinal, &columns)
    }

    fn note_zones(&mut self, group: &EncodedGroup) {
        let Some(splitter) = &self.options.splitter else { return };
        for (stamp, info, _) in group.pages() {
            let position = splitter.schema().position(stamp.column);
            match position.and_then(|position| self.zones.get_mut(position)) {
                Some(Some(zone)) => zone.merge(&info.zone),
                Some(none) => *none = Some(info.zone.clone()),
                None => {}
            }
        }
    }

    fn clear(&mut self) {
        let own = [&mut self.keys, &mut self.seqnos, &mut self.kinds, &mut self.opaque];
        own.into_iter().chain(&mut self.columns).for_each(ColumnVector::clear);
        (self.has_opaque, self.bytes) = (false, 0);
    }

    /// What the properties say of the columns.
    pub(super) fn properties(&self) -> ColumnProperties {
        let Some(splitter) = &self.options.splitter else { return ColumnProperties::default() };
        let columns = splitter.schema().columns().iter().zip(&self.zones);
        let stats = columns.filter_map(|(column, zone)| Some(ColumnStats::new(column.id(), zone.as_ref()?)));
        ColumnProperties {
            schema_id: splitter.schema().id(),
            splitter: Some(SplitterId { name: splitter.name().into(), version: splitter.version() }),
            stats: stats.collect(),
        }
    }

    /// The section with the schema; `None` without one.
    pub(super) fn schema(&self) -> Option<Vec<u8>> {
        let splitter = self.options.splitter.as_ref()?;
        let mut out = Vec::new();
        splitter.schema().encode(&mut out);
        Some(out)
    }
}
