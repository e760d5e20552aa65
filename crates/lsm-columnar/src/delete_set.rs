//! Rows of one table that are dead for every reader, as a Roaring bitmap (`docs/format/columnar.md`, section 6).

use alloc::vec::Vec;
use core::ops::Range;

use roaring::RoaringBitmap;

use crate::{Bitmap, ColumnarError, Result};

const WHAT: &str = "delete vector";
/// Most rows a set can speak of.
const ROWS_MAX: u64 = 1 << 32;
/// Cookies of the portable form: without and with runs.
const COOKIE_PLAIN: u32 = 12_346;
const COOKIE_RUNS: u16 = 12_347;

/// Ordinals of rows of a table. Rows are counted from 0 in the order of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct DeleteSet {
    /// Rows of the table.
    rows: u64,
    set: RoaringBitmap,
}

impl DeleteSet {
    /// No row of a table of `rows` rows.
    ///
    /// # Errors
    /// [`ColumnarError::Row`] for more than 2^32 rows.
    pub fn new(rows: u64) -> Result<Self> {
        if rows > ROWS_MAX {
            return Err(ColumnarError::Row { row: rows, rows: ROWS_MAX });
        }
        Ok(Self { rows, set: RoaringBitmap::new() })
    }

    /// Rows of the table.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of rows in the set.
    pub fn cardinality(&self) -> u64 {
        self.set.len()
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether `row` is in the set.
    #[inline]
    pub fn contains(&self, row: u64) -> bool {
        u32::try_from(row).is_ok_and(|row| self.set.contains(row))
    }

    /// Adds rows; answers how many were not in the set before.
    ///
    /// # Errors
    /// [`ColumnarError::Row`] for rows the table does not have; then nothing was added.
    pub fn insert(&mut self, rows: Range<u64>) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        if rows.end > self.rows {
            return Err(ColumnarError::Row { row: rows.end - 1, rows: self.rows });
        }
        Ok(self.add(&rows))
    }

    /// The set of rows that come in ranges, all of which the table has.
    pub(crate) fn of(rows: u64, ranges: impl Iterator<Item = Range<u64>>) -> Self {
        let mut set = Self { rows, set: RoaringBitmap::new() };
        for range in ranges.filter(|range| !range.is_empty()) {
            debug_assert!(range.end <= rows, "rows of the table");
            set.add(&range);
        }
        set
    }

    fn add(&mut self, rows: &Range<u64>) -> u64 {
        let ordinal = |row: u64| u32::try_from(row).unwrap_or(u32::MAX);
        self.set.insert_range(ordinal(rows.start)..=ordinal(rows.end - 1))
    }

    /// Adds the rows of another set of the same table.
    ///
    /// # Errors
    /// [`ColumnarError::Row`] where the other table has another number of rows.
    pub fn union(&mut self, other: &Self) -> Result<()> {
        if other.rows != self.rows {
            return Err(ColumnarError::Row { row: other.rows, rows: self.rows });
        }
        self.set |= &other.set;
        Ok(())
    }

    /// Number of rows in the set among the first `row` of the table.
    pub fn rank(&self, row: u64) -> u64 {
        match row.checked_sub(1) {
            Some(last) => self.set.rank(u32::try_from(last).unwrap_or(u32::MAX)),
            None => 0,
        }
    }

    /// The rows in the set from `from` on, as ranges that do not touch.
    pub fn ranges(&self, from: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut rows = u32::try_from(from).ok().map(|from| self.set.range(from..));
        core::iter::from_fn(move || {
            let range = rows.as_mut()?.next_range()?;
            Some(u64::from(*range.start())..u64::from(*range.end()) + 1)
        })
    }

    /// Takes rows of the set out of `selection`, whose row 0 is row `first` of the table.
    pub fn mask(&self, first: u64, selection: &mut Bitmap) {
        let end = first.saturating_add(selection.len() as u64);
        for range in self.ranges(first).take_while(|range| range.start < end) {
            let row = |row: u64| usize::try_from(row.min(end) - first).unwrap_or(usize::MAX);
            selection.set_range(row(range.start)..row(range.end), false);
        }
    }

    /// Appends the set in the portable form of Roaring bitmaps; equal sets give equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut set = self.set.clone();
        set.remove_run_compression();
        set.optimize();
        let written = set.serialize_into(&mut *out);
        debug_assert!(written.is_ok(), "memory takes any number of bytes");
    }

    /// The set of `cardinality` rows of a table of `rows` rows that `bytes` are, all of them.
    ///
    /// # Errors
    /// [`ColumnarError::Malformed`] for anything else, another writing of the same set included;
    /// [`ColumnarError::Row`] for rows the table does not have.
    pub fn decode(bytes: &[u8], rows: u64, cardinality: u64) -> Result<Self> {
        let malformed = |field| ColumnarError::Malformed { what: WHAT, field };
        let mut decoded = Self::new(rows)?;
        check_container_count(bytes)?;
        let mut rest = bytes;
        decoded.set = RoaringBitmap::deserialize_from(&mut rest).map_err(|_| malformed("bitmap"))?;
        if decoded.set.len() != cardinality {
            return Err(malformed("cardinality"));
        }
        if let Some(last) = decoded.set.max().filter(|last| u64::from(*last) >= rows) {
            return Err(ColumnarError::Row { row: last.into(), rows });
        }
        // Positions of containers, counts of runs and bytes at the end are not looked at by the library.
        let mut again = Vec::with_capacity(bytes.len());
        decoded.encode(&mut again);
        if again == bytes { Ok(decoded) } else { Err(malformed("bitmap")) }
    }

    /// Bytes of memory, about.
    pub fn heap_bytes(&self) -> usize {
        self.set.serialized_size()
    }
}

/// A count of containers is believed only when their descriptions are there.
fn check_container_count(bytes: &[u8]) -> Result<()> {
    let malformed = ColumnarError::Malformed { what: WHAT, field: "containers" };
    let Some((cookie, rest)) = bytes.split_first_chunk::<4>() else { return Err(malformed) };
    let cookie = u32::from_le_bytes(*cookie);
    let [low, high, ..] = cookie.to_le_bytes();
    let count = if cookie == COOKIE_PLAIN {
        rest.first_chunk().map_or(u32::MAX, |count| u32::from_le_bytes(*count)) as usize
    } else if u16::from_le_bytes([low, high]) == COOKIE_RUNS {
        (cookie >> 16) as usize + 1
    } else {
        return Err(malformed);
    };
    if count.saturating_mul(4) > rest.len() { Err(malformed) } else { Ok(()) }
}
