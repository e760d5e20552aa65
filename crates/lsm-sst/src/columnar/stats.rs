//! What the properties of a columnar table say about its columns.
//!
//! | id | type | what |
//! |---|---|---|
//! | 0x8400 | number | layout: 1 columnar; absent for rows |
//! | 0x0401 | number | id of the schema; absent without one |
//! | 0x0006, 0x0007 | text, number | name and version of the splitter |
//! | 0x0700 | bytes | null counts: `column u16, count u64` each, ascending |
//! | 0x0710, 0x0720 | bytes | smallest and largest values: `column u16, exact u8, length u8, bound` each, ascending |

use alloc::{string::String, vec::Vec};

use lsm_columnar::{ColumnId, ColumnType, Zone, ZoneBound};
use lsm_types::ByteReader;

use crate::{
    payload::PayloadError,
    properties::{BYTES, Item, NUMBER, TEXT},
};

/// Must be understood: blocks of rows are not what the index leads to.
const LAYOUT: u16 = 1 << 15 | 0x0400;
const SCHEMA: u16 = 0x0401;
const SPLITTER: u16 = 0x0006;
const SPLITTER_VERSION: u16 = 0x0007;
const NULL_COUNTS: u16 = 0x0700;
const MINIMA: u16 = 0x0710;
const MAXIMA: u16 = 0x0720;
/// The only layout there is besides rows.
const COLUMNAR: u64 = 1;

/// What took values apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitterId {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

/// What is known about one column of the consumer in all rows of a table, dead ones included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnStats {
    /// The column.
    pub column: ColumnId,
    /// Rows without a cell: tombstones, operands, and values that were kept whole among them.
    pub null_count: u64,
    min: Option<Bound>,
    max: Option<Bound>,
}

/// A bound in ordered bytes, and whether a row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bound {
    is_exact: bool,
    bytes: Vec<u8>,
}

impl Bound {
    fn of(bound: &ZoneBound) -> Self {
        Self { is_exact: bound.is_exact(), bytes: bound.bytes().to_vec() }
    }
}

impl ColumnStats {
    pub(crate) fn new(column: ColumnId, zone: &Zone) -> Self {
        let (min, max) = (zone.min().map(Bound::of), zone.max().map(Bound::of));
        Self { column, null_count: zone.null_count(), min, max }
    }

    /// The zone of the column, which has type `ty`, in a table of `rows` rows; `None` where it makes no sense.
    pub fn zone(&self, ty: ColumnType, rows: u64) -> Option<Zone> {
        let sides = [(&self.min, 1, 2), (&self.max, 4, 8)];
        let flags = sides.iter().filter_map(|(bound, there, exact)| {
            bound.as_ref().map(|bound| if bound.is_exact { there | exact } else { *there })
        });
        let len = |bound: &Option<Bound>| bound.as_ref().map_or(0, |bound| bound.bytes.len());
        let lens = [u8::try_from(len(&self.min)).ok()?, u8::try_from(len(&self.max)).ok()?];
        let mut stored = Vec::from([flags.fold(0, |all, flag| all | flag)]);
        stored.extend_from_slice(&lens);
        for bound in [&self.min, &self.max].into_iter().flatten() {
            stored.extend_from_slice(&bound.bytes);
        }
        Zone::decode(&stored, ty, rows, self.null_count).ok()
    }
}

/// What the properties of a columnar table say about its columns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ColumnProperties {
    /// Number of the schema; 0 where all values are opaque.
    pub schema_id: u32,
    /// What took values apart; `None` where all values are opaque.
    pub splitter: Option<SplitterId>,
    /// The columns of the consumer, ascending.
    pub stats: Vec<ColumnStats>,
}

impl ColumnProperties {
    pub(crate) fn encode(&self, put: &mut impl FnMut(u16, u8, &[u8])) {
        put(LAYOUT, NUMBER, &COLUMNAR.to_le_bytes());
        if self.schema_id != 0 {
            put(SCHEMA, NUMBER, &u64::from(self.schema_id).to_le_bytes());
        }
        if let Some(SplitterId { name, version }) = &self.splitter {
            put(SPLITTER, TEXT, name.as_bytes());
            put(SPLITTER_VERSION, NUMBER, &u64::from(*version).to_le_bytes());
        }
        if self.stats.is_empty() {
            return;
        }
        let mut counts = Vec::new();
        for ColumnStats { column, null_count, .. } in &self.stats {
            counts.extend_from_slice(&column.get().to_le_bytes());
            counts.extend_from_slice(&null_count.to_le_bytes());
        }
        put(NULL_COUNTS, BYTES, &counts);
        let side = |bound: fn(&ColumnStats) -> &Option<Bound>| {
            let mut list = Vec::new();
            for stats in &self.stats {
                let Some(Bound { is_exact, bytes }) = bound(stats) else { continue };
                list.extend_from_slice(&stats.column.get().to_le_bytes());
                list.extend_from_slice(&[u8::from(*is_exact), u8::try_from(bytes.len()).unwrap_or(u8::MAX)]);
                list.extend_from_slice(bytes);
            }
            list
        };
        put(MINIMA, BYTES, &side(|stats| &stats.min));
        put(MAXIMA, BYTES, &side(|stats| &stats.max));
    }
}

/// What was read of the properties of columns so far.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    is_columnar: bool,
    schema_id: u32,
    name: Option<String>,
    version: Option<u32>,
    stats: Vec<ColumnStats>,
}

impl Statistics {
    /// Takes a property; `false` for one that is none of columns.
    pub(crate) fn decode(&mut self, item: &Item<'_>) -> Result<bool, PayloadError> {
        let small = |item: &Item<'_>| u32::try_from(item.number()?).map_err(|_| item.wrong("number"));
        match item.id {
            LAYOUT => {
                let found = item.number()?;
                if found != COLUMNAR {
                    return Err(PayloadError::Unsupported { part: "layout", found });
                }
                self.is_columnar = true;
            }
            SCHEMA => self.schema_id = small(item)?,
            SPLITTER => self.name = Some(item.text()?),
            SPLITTER_VERSION => self.version = Some(small(item)?),
            NULL_COUNTS => self.null_counts(item)?,
            MINIMA => self.bounds(item, |stats| &mut stats.min)?,
            MAXIMA => self.bounds(item, |stats| &mut stats.max)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What it came to; `None` for a table of rows.
    pub(crate) fn finish(self) -> Result<Option<ColumnProperties>, PayloadError> {
        if !self.is_columnar {
            return Ok(None);
        }
        let splitter = match (self.name, self.version) {
            (Some(name), Some(version)) => Some(SplitterId { name, version }),
            (None, None) => None,
            _ => return Err(PayloadError::field("splitter")),
        };
        if splitter.is_some() != (self.schema_id != 0) {
            return Err(PayloadError::field("splitter"));
        }
        let Self { schema_id, stats, .. } = self;
        Ok(Some(ColumnProperties { schema_id, splitter, stats }))
    }

    fn null_counts(&mut self, item: &Item<'_>) -> Result<(), PayloadError> {
        let mut reader = ByteReader::new(item.bytes(BYTES)?);
        while !reader.is_empty() {
            let (column, null_count) = (ColumnId::new(reader.u16()?), reader.u64()?);
            if self.stats.last().is_some_and(|last| last.column >= column) {
                return Err(item.wrong("column order"));
            }
            self.stats.push(ColumnStats { column, null_count, min: None, max: None });
        }
        Ok(())
    }

    /// Bounds of columns whose null counts came before.
    fn bounds(
        &mut self,
        item: &Item<'_>,
        side: fn(&mut ColumnStats) -> &mut Option<Bound>,
    ) -> Result<(), PayloadError> {
        let mut reader = ByteReader::new(item.bytes(BYTES)?);
        let mut stats = self.stats.iter_mut();
        while !reader.is_empty() {
            let column = ColumnId::new(reader.u16()?);
            let [is_exact, len] = reader.array()?;
            let bytes = reader.take(len.into())?.to_vec();
            // The iterator goes on behind the column before, so columns ascend.
            let Some(stats) = stats.find(|stats| stats.column == column).filter(|_| is_exact <= 1) else {
                return Err(item.wrong("column bounds"));
            };
            *side(stats) = Some(Bound { is_exact: is_exact == 1, bytes });
        }
        Ok(())
    }
}
