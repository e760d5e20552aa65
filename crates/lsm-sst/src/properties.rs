//! Properties of a table: what there is to know about it without reading its data.
//!
//! The payload is a list sorted by id of `(id u16, type u8, length varint, bytes)`; types are 1 for a number (u64),
//! 2 for bytes and 3 for UTF-8. An id with its top bit set must be understood, any other may be skipped.

use alloc::{string::String, vec::Vec};

use lsm_codec::Codec;
use lsm_types::{ByteReader, Cut, Level, MAX_NAME_LEN, SeqNo, Slice, TableId, UnixNanos, varint};

use crate::{
    FilterProperties, SlicePart, TakenOver,
    columnar::{ColumnProperties, Statistics},
    lineage::{decode_taken_over, encode_taken_over},
    payload::PayloadError,
};

pub(crate) const NUMBER: u8 = 1;
pub(crate) const BYTES: u8 = 2;
pub(crate) const TEXT: u8 = 3;
/// Ids with this bit must be understood.
const CRITICAL: u16 = 1 << 15;

const WRITER: u16 = 0x0001;
const CREATED: u16 = 0x0002;
const TABLE_ID: u16 = 0x0003;
const LEVEL: u16 = 0x0004;
const COMPARATOR: u16 = 0x0005;
const MIN_KEY: u16 = 0x0200;
const MAX_KEY: u16 = 0x0201;
const LOWER_CUT: u16 = 0x0202;
const UPPER_CUT: u16 = 0x0203;
const MIN_SEQNO: u16 = 0x0210;
const MAX_SEQNO: u16 = 0x0211;
const MIN_POINT_SEQNO: u16 = 0x0212;
const MAX_POINT_SEQNO: u16 = 0x0213;
/// Must be understood: without it every number in the table is wrong.
const GLOBAL_SEQNO: u16 = CRITICAL | 0x0214;
const CODECS: u16 = 0x0500;
const INPUTS: u16 = 0x0600;
const SLICE: u16 = 0x0601;
const TAKEN_OVER: u16 = 0x0602;
/// A longer list of inputs is left out, so that the properties of a huge job keep within their block.
const INPUTS_MAX_BYTES: usize = 256 << 10;

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident = $id:literal;)*) => {
        /// Counts and sizes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counters {
            fn list(&self) -> impl Iterator<Item = (u16, u64)> {
                [$(($id, self.$field)),*].into_iter()
            }

            fn slot(&mut self, id: u16) -> Option<&mut u64> {
                match id {
                    $($id => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

counters! {
    /// Entries of all kinds, without range tombstones.
    entries = 0x0100;
    /// User keys.
    distinct_keys = 0x0101;
    /// Tombstones.
    tombstones = 0x0102;
    /// Weak tombstones.
    weak_tombstones = 0x0103;
    /// Weak tombstones with the put they annihilate right below them.
    reclaimable_weak_tombstones = 0x0104;
    /// Merge operands.
    merge_operands = 0x0105;
    /// Indirections to value logs.
    indirections = 0x0106;
    /// Range tombstones.
    range_tombstones = 0x0107;
    /// Bytes of user keys, counted once per entry.
    raw_key_bytes = 0x0300;
    /// Bytes of values as the table holds them.
    raw_value_bytes = 0x0301;
    /// Bytes of data blocks before compression.
    data_logical_bytes = 0x0302;
    /// Bytes of data blocks in the file, headers included.
    data_stored_bytes = 0x0303;
    /// Data blocks.
    data_blocks = 0x0304;
    /// Bytes of index partitions before compression.
    index_partition_logical_bytes = 0x0305;
    /// Bytes of index partitions in the file, headers included.
    index_partition_stored_bytes = 0x0306;
    /// Index partitions; zero for an index of one block.
    index_partitions = 0x0307;
    /// Bytes of filter partitions in the file, headers included.
    filter_stored_bytes = 0x0308;
    /// Filter partitions.
    filter_partitions = 0x0309;
}

/// How many data blocks, or directories and pages of row groups, are stored by which codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CodecCensus {
    /// Stored raw.
    pub raw: u64,
    /// LZ4.
    pub lz4: u64,
    /// Zstandard.
    pub zstd: u64,
}

impl CodecCensus {
    /// Counts a frame.
    pub(crate) const fn note(&mut self, codec: Codec) {
        match codec {
            Codec::Lz4 => self.lz4 += 1,
            Codec::Zstd => self.zstd += 1,
            Codec::None => self.raw += 1,
        }
    }
}

/// Smallest and largest of some sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeqNoBounds {
    /// Smallest.
    pub min: SeqNo,
    /// Largest.
    pub max: SeqNo,
}

impl SeqNoBounds {
    /// The bounds that also hold `seqno`.
    #[must_use]
    pub fn with(bounds: Option<Self>, seqno: SeqNo) -> Self {
        bounds.map_or(Self { min: seqno, max: seqno }, |bounds| Self {
            min: bounds.min.min(seqno),
            max: bounds.max.max(seqno),
        })
    }

    /// The bounds that also hold all of `other`.
    #[must_use]
    pub fn union(bounds: Option<Self>, other: Self) -> Self {
        Self::with(Some(Self::with(bounds, other.min)), other.max)
    }
}

/// What a table says about itself. Sequence numbers are local: the global one is to be added.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties {
    /// Name and version of the program that wrote the table.
    pub writer: String,
    /// When it was written, by the caller's clock.
    pub created: UnixNanos,
    /// Number of the table.
    pub table_id: TableId,
    /// Level it was written for.
    pub level: Level,
    /// Name of the comparator that orders it.
    pub comparator: String,
    /// Smallest and largest user key of entries.
    pub keys: Option<(Slice, Slice)>,
    /// What entries and range tombstones span together.
    pub extent: Option<(Cut, Cut)>,
    /// Bounds of all numbers, range tombstones included.
    pub seqnos: Option<SeqNoBounds>,
    /// Bounds of the numbers of entries.
    pub point_seqnos: Option<SeqNoBounds>,
    /// Number to add to every local one.
    pub global_seqno: SeqNo,
    /// Counts and sizes.
    pub counters: Counters,
    /// Codecs of data blocks.
    pub codecs: CodecCensus,
    /// Filters.
    pub filters: FilterProperties,
    /// Columns; `None` for a table of rows.
    pub columns: Option<ColumnProperties>,
    /// Tables that a compaction made it from, ascending; empty for a flush, and where they would take more than
    /// 256 KiB. A file of one of them that is still there is superseded if another one is gone.
    pub inputs: Vec<TableId>,
    /// The slice of a merge that it belongs to; such a table has no `inputs`.
    pub slice: Option<SlicePart>,
    /// Tables of which a part was taken over when this one was begun, ascending; `None` when there were too many to name.
    pub taken_over: Option<Vec<TakenOver>>,
}

impl Properties {
    /// Appends the list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut items: Vec<(u16, u8, Vec<u8>)> = Vec::new();
        let mut put = |id, ty, bytes: &[u8]| items.push((id, ty, bytes.to_vec()));
        put(WRITER, TEXT, self.writer.as_bytes());
        put(CREATED, NUMBER, &self.created.get().to_le_bytes());
        put(TABLE_ID, NUMBER, &self.table_id.get().to_le_bytes());
        put(LEVEL, NUMBER, &u64::from(self.level.get()).to_le_bytes());
        put(COMPARATOR, TEXT, self.comparator.as_bytes());
        for (id, count) in self.counters.list() {
            put(id, NUMBER, &count.to_le_bytes());
        }
        if let Some((min, max)) = &self.keys {
            put(MIN_KEY, BYTES, min);
            put(MAX_KEY, BYTES, max);
        }
        if let Some((lower, upper)) = &self.extent {
            put(LOWER_CUT, BYTES, &encode_cut(lower));
            put(UPPER_CUT, BYTES, &encode_cut(upper));
        }
        let bounds =
            [(self.seqnos, MIN_SEQNO, MAX_SEQNO), (self.point_seqnos, MIN_POINT_SEQNO, MAX_POINT_SEQNO)];
        for (bounds, min_id, max_id) in bounds {
            if let Some(bounds) = bounds {
                put(min_id, NUMBER, &bounds.min.get().to_le_bytes());
                put(max_id, NUMBER, &bounds.max.get().to_le_bytes());
            }
        }
        if self.global_seqno != SeqNo::ZERO {
            put(GLOBAL_SEQNO, NUMBER, &self.global_seqno.get().to_le_bytes());
        }
        let census: Vec<u8> = [self.codecs.raw, self.codecs.lz4, self.codecs.zstd]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        put(CODECS, BYTES, &census);
        self.filters.encode(&mut put);
        if let Some(columns) = &self.columns {
            columns.encode(&mut put);
        }
        let inputs = encode_inputs(&self.inputs);
        if !inputs.is_empty() && inputs.len() <= INPUTS_MAX_BYTES {
            put(INPUTS, BYTES, &inputs);
        }
        if let Some(slice) = &self.slice {
            let mut bytes = Vec::new();
            slice.encode(&mut bytes);
            put(SLICE, BYTES, &bytes);
        }
        if self.taken_over.as_ref().is_none_or(|list| !list.is_empty()) {
            let mut bytes = Vec::new();
            encode_taken_over(self.taken_over.as_deref().unwrap_or_default(), &mut bytes);
            put(TAKEN_OVER, BYTES, &bytes);
        }

        items.sort_by_key(|(id, _, _)| *id);
        for (id, ty, bytes) in &items {
            out.extend_from_slice(&id.to_le_bytes());
            out.push(*ty);
            varint::encode_prefixed(bytes, out);
        }
    }

    /// Reads a list.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(payload);
        let mut found = Self { taken_over: Some(Vec::new()), ..Self::default() };
        let mut keys = Pair::default();
        let mut extent = Pair::default();
        let mut seqnos = Pair::default();
        let mut point_seqnos = Pair::default();
        let mut columns = Statistics::default();
        let mut last_id = None;
        while !reader.is_empty() {
            let id = reader.u16()?;
            let ty = reader.u8()?;
            let item = Item { id, ty, bytes: reader.prefixed()? };
            if last_id.is_some_and(|last| last >= id) {
                return Err(item.wrong("property order"));
            }
            last_id = Some(id);
            match id {
                WRITER => found.writer = item.text()?,
                CREATED => found.created = UnixNanos::new(item.number()?),
                TABLE_ID => found.table_id = TableId::new(item.number()?),
                LEVEL => {
                    let level = u8::try_from(item.number()?).map_err(|_| item.wrong("level"))?;
                    found.level = Level::new(level);
                }
                COMPARATOR => found.comparator = item.text()?,
                MIN_KEY => keys.min = Some(Slice::from(item.bytes(BYTES)?)),
                MAX_KEY => keys.max = Some(Slice::from(item.bytes(BYTES)?)),
                LOWER_CUT => extent.min = Some(item.cut()?),
                UPPER_CUT => extent.max = Some(item.cut()?),
                MIN_SEQNO => seqnos.min = Some(item.seqno()?),
                MAX_SEQNO => seqnos.max = Some(item.seqno()?),
                MIN_POINT_SEQNO => point_seqnos.min = Some(item.seqno()?),
                MAX_POINT_SEQNO => point_seqnos.max = Some(item.seqno()?),
                GLOBAL_SEQNO => found.global_seqno = item.seqno()?,
                CODECS => found.codecs = item.census()?,
                INPUTS => found.inputs = item.inputs()?,
                SLICE => found.slice = Some(SlicePart::decode(item.bytes(BYTES)?)?),
                TAKEN_OVER => {
                    let list = decode_taken_over(item.bytes(BYTES)?)?;
                    found.taken_over = (!list.is_empty()).then_some(list);
                }
                _ => match found.counters.slot(id) {
                    Some(slot) => *slot = item.number()?,
                    None if found.filters.decode(&item)? || columns.decode(&item)? => {}
                    None if id & CRITICAL != 0 => {
                        return Err(PayloadError::Unsupported { part: "property", found: id.into() });
                    }
                    None => {}
                },
            }
        }
        found.keys = keys.whole("key bounds")?;
        found.extent = extent.whole("extent")?;
        found.seqnos = seqnos.whole("seqno bounds")?.map(|(min, max)| SeqNoBounds { min, max });
        found.point_seqnos =
            point_seqnos.whole("seqno bounds of points")?.map(|(min, max)| SeqNoBounds { min, max });
        found.columns = columns.finish()?;
        found.check()
    }

    fn check(self) -> Result<Self, PayloadError> {
        if self.keys.is_some() != (self.counters.entries > 0) {
            return Err(PayloadError::field("key bounds"));
        }
        let fits = |bounds: Option<SeqNoBounds>| {
            bounds.is_none_or(|SeqNoBounds { min, max }| {
                min <= max && max.checked_add(self.global_seqno.get()).is_some_and(SeqNo::is_write)
            })
        };
        if !fits(self.seqnos) || !fits(self.point_seqnos) {
            return Err(PayloadError::field("seqno bounds"));
        }
        Ok(self)
    }
}

/// Each number as a varint of its distance from the one before.
fn encode_inputs(inputs: &[TableId]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0;
    for input in inputs {
        varint::encode(input.get().wrapping_sub(last), &mut out);
        last = input.get();
    }
    out
}

/// Two properties that come together or not at all.
struct Pair<T> {
    min: Option<T>,
    max: Option<T>,
}

impl<T> Default for Pair<T> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl<T> Pair<T> {
    fn whole(self, field: &'static str) -> Result<Option<(T, T)>, PayloadError> {
        match (self.min, self.max) {
            (Some(min), Some(max)) => Ok(Some((min, max))),
            (None, None) => Ok(None),
            _ => Err(PayloadError::field(field)),
        }
    }
}

/// One property as it stands in the list.
pub(crate) struct Item<'a> {
    pub(crate) id: u16,
    ty: u8,
    bytes: &'a [u8],
}

impl<'a> Item<'a> {
    pub(crate) fn wrong(&self, field: &'static str) -> PayloadError {
        PayloadError::Item { field, item: self.id.into() }
    }

    pub(crate) fn bytes(&self, ty: u8) -> Result<&'a [u8], PayloadError> {
        if self.ty == ty { Ok(self.bytes) } else { Err(self.wrong("property type")) }
    }

    pub(crate) fn number(&self) -> Result<u64, PayloadError> {
        let bytes = self.bytes(NUMBER)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| self.wrong("number length"))
    }

    fn seqno(&self) -> Result<SeqNo, PayloadError> {
        let seqno = SeqNo::new(self.number()?).filter(|seqno| seqno.is_write());
        seqno.ok_or_else(|| self.wrong("seqno"))
    }

    fn inputs(&self) -> Result<Vec<TableId>, PayloadError> {
        let mut reader = ByteReader::new(self.bytes(BYTES)?);
        let mut inputs: Vec<TableId> = Vec::new();
        while !reader.is_empty() {
            let last = inputs.last().map_or(0, |id| id.get());
            let next = last.checked_add(reader.varint()?).ok_or_else(|| self.wrong("input"))?;
            if !inputs.is_empty() && next == last {
                return Err(self.wrong("input order"));
            }
            inputs.push(TableId::new(next));
        }
        Ok(inputs)
    }

    pub(crate) fn text(&self) -> Result<String, PayloadError> {
        let bytes = self.bytes(TEXT)?;
        if bytes.len() > MAX_NAME_LEN {
            return Err(self.wrong("text length"));
        }
        core::str::from_utf8(bytes).map(String::from).map_err(|_| self.wrong("text"))
    }

    fn cut(&self) -> Result<Cut, PayloadError> {
        match self.bytes(BYTES)?.split_first() {
            Some((0, [])) => Ok(Cut::Start),
            Some((1, key)) if !key.is_empty() => Ok(Cut::Before(Slice::from(key))),
            Some((2, key)) if !key.is_empty() => Ok(Cut::After(Slice::from(key))),
            Some((3, [])) => Ok(Cut::End),
            _ => Err(self.wrong("cut")),
        }
    }

    fn census(&self) -> Result<CodecCensus, PayloadError> {
        let bytes = self.bytes(BYTES)?;
        let mut reader = ByteReader::new(bytes);
        let census = CodecCensus { raw: reader.u64()?, lz4: reader.u64()?, zstd: reader.u64()? };
        if reader.is_empty() { Ok(census) } else { Err(self.wrong("codec census")) }
    }
}

fn encode_cut(cut: &Cut) -> Vec<u8> {
    let side = match cut {
        Cut::Start => 0,
        Cut::Before(_) => 1,
        Cut::After(_) => 2,
        Cut::End => 3,
    };
    let mut bytes = Vec::from([side]);
    bytes.extend_from_slice(cut.key().map_or(&[][..], |key| key));
    bytes
}
