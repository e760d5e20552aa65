//! Row groups: some rows with all their columns, cut into parts (`docs/format/columnar.md`, section 4).
//!
//! A directory says where each page lies, how it is encoded and what its zone is. A small group is one payload, the
//! directory followed by its pages; a large one is a directory and a frame per page, so that a projection reads only
//! the columns it names.

mod encode;

pub use encode::{EncodedGroup, GROUP_INLINE_MAX, GroupEncoder, PagePlace};

use alloc::vec::Vec;
use core::ops::Range;

use lsm_types::SeqNo;

use crate::{
    ColumnId, ColumnType, ColumnarError, Encoding, PAGE_HEAD_LEN, PAGE_ROWS_MAX, Page, PageStamp, Result,
    Schema, Zone, cursor::Cursor,
};

const WHAT: &str = "row group directory";
/// Bytes of an entry of the page table.
const ENTRY_LEN: usize = 30;
const FLAG_NULLABLE: u8 = 1;
const FLAG_CONSTANT: u8 = 2;
const FLAG_SORTED: u8 = 4;
const FLAG_EXACT: u8 = 8;
/// Stands in place of a zone's offset where there is no zone.
const NO_ZONE: u32 = u32::MAX;

/// What a directory says about its group besides its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupHead {
    /// Ordinal of the directory's frame.
    pub ordinal: u32,
    /// Number of rows.
    pub rows: u32,
    /// The schema its values were split by; 0 where none is.
    pub schema_id: u32,
    /// Smallest sequence number of a row.
    pub seqno_min: SeqNo,
    /// Largest sequence number of a row.
    pub seqno_max: SeqNo,
}

/// One page of a group, as the directory has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageEntry {
    /// The column.
    pub column: ColumnId,
    /// The part.
    pub part: u16,
    /// Where it starts: from the payload's start in a small group, else from the start of the directory's frame.
    pub offset: u32,
    /// Bytes it takes there: its payload in a small group, else its frame.
    pub stored_len: u32,
    /// Bytes of its payload.
    pub logical_len: u32,
    /// Codec of its frame, by the number the block layer gives it; 0 in a small group.
    pub codec: u8,
    /// Dictionary slot of its frame; 0 in a small group.
    pub dictionary_slot: u16,
    /// How its values are laid out.
    pub encoding: Encoding,
    /// Whether no value is below the one before it.
    pub is_sorted: bool,
    /// Number of nulls.
    pub null_count: u32,
    /// Bounds of its values; absent where none were kept.
    pub zone: Option<Zone>,
}

/// A decoded directory. One that exists is well formed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDirectory {
    head: GroupHead,
    is_inline: bool,
    part_starts: Vec<u32>,
    columns: Vec<(ColumnId, ColumnType)>,
    /// By column, then by part.
    pages: Vec<PageEntry>,
}

impl GroupDirectory {
    /// The directory that `payload` is, or starts with if the group is small; `schema` is the table's.
    ///
    /// # Errors
    /// [`ColumnarError::Malformed`] for anything that does not fit, [`ColumnarError::Unsupported`] for unknown
    /// encodings and flags.
    pub fn decode(payload: &[u8], schema: Option<&Schema>) -> Result<Self> {
        let mut cursor = Cursor::new(WHAT, payload);
        let ordinal = cursor.u32("group")?;
        let rows = cursor.u32("rows")?;
        let part_count = usize::from(cursor.u16("parts")?);
        let column_count = usize::from(cursor.u16("columns")?);
        let schema_id = cursor.u32("schema id")?;
        let seqno_min = seqno(&mut cursor, "seqno min")?;
        let seqno_max = seqno(&mut cursor, "seqno max")?;
        if rows == 0 || part_count == 0 || column_count == 0 || seqno_min > seqno_max {
            return Err(cursor.malformed("rows"));
        }
        let head = GroupHead { ordinal, rows, schema_id, seqno_min, seqno_max };
        let starts = cursor.take(part_count * 4, "part table")?;
        let part_starts: Vec<u32> =
            starts.as_chunks().0.iter().map(|start| u32::from_le_bytes(*start)).collect();
        check_parts(&cursor, &part_starts, rows)?;
        // Both counts have 16 bits: the product fits 32.
        let page_count = part_count * column_count;
        let table = cursor.take(page_count * ENTRY_LEN, "page table")?;
        let zones_at = cursor.at();
        let mut directory =
            Self { head, is_inline: false, part_starts, columns: Vec::new(), pages: Vec::new() };
        for (idx, stored) in table.chunks_exact(ENTRY_LEN).enumerate() {
            directory.read_entry(idx, Cursor::new(WHAT, stored), &mut cursor, zones_at, schema)?;
        }
        directory.is_inline = cursor.remaining() > 0;
        directory.check_extents(&cursor, payload.len())?;
        Ok(directory)
    }

    fn read_entry(
        &mut self,
        idx: usize,
        mut entry: Cursor<'_>,
        zones: &mut Cursor<'_>,
        zones_at: usize,
        schema: Option<&Schema>,
    ) -> Result<()> {
        let parts = self.part_starts.len();
        let (part_idx, is_first) = (idx % parts, idx.is_multiple_of(parts));
        let column = ColumnId::new(entry.u16("column id")?);
        let part = entry.u16("part")?;
        let offset = entry.u32("page offset")?;
        let stored_len = entry.u32("stored length")?;
        let logical_len = entry.u32("logical length")?;
        let codec = entry.u8("codec")?;
        let code = entry.u8("encoding")?;
        let flags = entry.u8("flags")?;
        let reserved = entry.u8("reserved")?;
        let dictionary_slot = entry.u16("dictionary slot")?;
        let null_count = entry.u32("null count")?;
        let zone_offset = entry.u32("zone offset")?;
        if is_first {
            let last = self.columns.last().map(|(last, _)| *last);
            let ty = column.intrinsic_type().or_else(|| schema?.column(column).map(crate::Column::ty));
            match ty {
                Some(ty) if last.is_none_or(|last| last < column) => self.columns.push((column, ty)),
                _ => return Err(entry.malformed("column id")),
            }
        }
        let Some(&(expected, ty)) = self.columns.last() else { return Err(entry.malformed("column id")) };
        if column != expected || usize::from(part) != part_idx {
            return Err(entry.malformed("column id"));
        }
        let Some(encoding) = Encoding::from_code(code) else {
            return Err(entry.unsupported("encoding", code.into()));
        };
        if flags & !(FLAG_NULLABLE | FLAG_CONSTANT | FLAG_SORTED | FLAG_EXACT) != 0 || reserved != 0 {
            return Err(entry.unsupported("flags", flags.into()));
        }
        let rows = u32::try_from(self.part_rows(part_idx).len()).unwrap_or(u32::MAX);
        let is_nullable = flags & FLAG_NULLABLE != 0;
        if null_count > rows
            || (null_count > 0) != is_nullable
            || (encoding == Encoding::Constant) != (flags & FLAG_CONSTANT != 0)
            || (logical_len as usize) < PAGE_HEAD_LEN
        {
            return Err(entry.malformed("flags"));
        }
        let mut zone = None;
        if zone_offset != NO_ZONE {
            if zone_offset as usize != zones.at() - zones_at {
                return Err(entry.malformed("zone offset"));
            }
            zone = Some(Zone::read(zones, ty, rows.into(), null_count.into())?);
        }
        if (flags & FLAG_EXACT != 0) != zone.as_ref().is_some_and(Zone::is_exact) {
            return Err(entry.malformed("flags"));
        }
        self.pages.push(PageEntry {
            column,
            part,
            offset,
            stored_len,
            logical_len,
            codec,
            dictionary_slot,
            encoding,
            is_sorted: flags & FLAG_SORTED != 0,
            null_count,
            zone,
        });
        Ok(())
    }

    /// Pages of a small group fill the rest of its payload; those of others do not overlap.
    fn check_extents(&self, cursor: &Cursor<'_>, payload_len: usize) -> Result<()> {
        if self.is_inline {
            let mut at = cursor.at() as u64;
            for page in &self.pages {
                let is_bare =
                    page.stored_len == page.logical_len && page.codec == 0 && page.dictionary_slot == 0;
                if u64::from(page.offset) != at || !is_bare {
                    return Err(cursor.malformed("page offset"));
                }
                at += u64::from(page.stored_len);
            }
            return if at == payload_len as u64 { Ok(()) } else { Err(cursor.malformed("length")) };
        }
        let mut extents: Vec<(u32, u32)> =
            self.pages.iter().map(|page| (page.offset, page.stored_len)).collect();
        extents.sort_unstable();
        let mut end = 1; // The directory itself lies at 0.
        for (offset, len) in extents {
            if offset < end || len == 0 {
                return Err(cursor.malformed("page offset"));
            }
            end = offset.checked_add(len).ok_or_else(|| cursor.malformed("stored length"))?;
        }
        Ok(())
    }

    /// Ordinal, rows, schema and bounds of numbers.
    pub const fn head(&self) -> &GroupHead {
        &self.head
    }

    /// Whether the pages follow the directory in the same payload.
    pub const fn is_inline(&self) -> bool {
        self.is_inline
    }

    /// Number of parts.
    pub const fn part_count(&self) -> usize {
        self.part_starts.len()
    }

    /// Rows of the group that make up part `part`.
    pub fn part_rows(&self, part: usize) -> Range<usize> {
        let start = |part: usize| self.part_starts.get(part).copied().unwrap_or(self.head.rows) as usize;
        start(part)..start(part + 1)
    }

    /// The part that `row` of the group lies in.
    pub fn part_of(&self, row: u32) -> usize {
        self.part_starts.partition_point(|&start| start <= row).saturating_sub(1)
    }

    /// The columns that are there, in order, with their types.
    pub fn columns(&self) -> &[(ColumnId, ColumnType)] {
        &self.columns
    }

    /// All pages, by column, then by part.
    pub fn pages(&self) -> &[PageEntry] {
        &self.pages
    }

    /// The page of a column and part.
    pub fn page(&self, column: ColumnId, part: usize) -> Option<&PageEntry> {
        let column = self.columns.binary_search_by_key(&column, |(id, _)| *id).ok()?;
        (part < self.part_starts.len()).then(|| self.pages.get(column * self.part_starts.len() + part))?
    }

    /// Bounds of a column over the whole group; `None` where a part has no zone.
    pub fn zone(&self, column: ColumnId) -> Option<Zone> {
        let zones = (0..self.part_count()).map(|part| self.page(column, part)?.zone.as_ref());
        let mut merged: Option<Zone> = None;
        for zone in zones {
            match &mut merged {
                Some(merged) => merged.merge(zone?),
                None => merged = Some(zone?.clone()),
            }
        }
        merged
    }

    /// Payload of a page of a small group, given the group's payload.
    pub fn inline_page<'p>(&self, payload: &'p [u8], page: &PageEntry) -> &'p [u8] {
        let start = page.offset as usize;
        let end = start.saturating_add(page.stored_len as usize);
        if self.is_inline { payload.get(start..end).unwrap_or_default() } else { &[] }
    }

    /// Opens a page of this group and holds it to what the directory says.
    ///
    /// # Errors
    /// As for [`Page::open`]; [`ColumnarError::Malformed`] also where directory and page disagree.
    pub fn open_page(&self, entry: &PageEntry, payload: &[u8]) -> Result<Page> {
        let ty = self.columns.binary_search_by_key(&entry.column, |(id, _)| *id).ok();
        let Some(&(_, ty)) = ty.and_then(|idx| self.columns.get(idx)) else {
            return Err(ColumnarError::NoColumn);
        };
        let stamp = PageStamp { group: self.head.ordinal, column: entry.column, part: entry.part };
        let rows = self.part_rows(entry.part.into()).len();
        let page = Page::open(stamp, ty, u32::try_from(rows).unwrap_or(u32::MAX), payload)?;
        let nulls = page.validity(payload).map_or(0, |validity| validity.len() - validity.count());
        let agrees = page.encoding() == entry.encoding
            && nulls == entry.null_count as usize
            && payload.len() == entry.logical_len as usize;
        if agrees {
            Ok(page)
        } else {
            Err(ColumnarError::Malformed { what: "column page", field: "directory entry" })
        }
    }
}

fn seqno(cursor: &mut Cursor<'_>, field: &'static str) -> Result<SeqNo> {
    let raw = cursor.u64(field)?;
    SeqNo::new(raw).ok_or_else(|| cursor.malformed(field))
}

/// Parts start at row 0, ascend, and hold as many rows as a page may.
fn check_parts(cursor: &Cursor<'_>, starts: &[u32], rows: u32) -> Result<()> {
    let mut last = None;
    for end in starts.iter().copied().chain([rows]) {
        let fits = match last {
            None => end == 0,
            Some(start) => start < end && (end - start) as usize <= PAGE_ROWS_MAX,
        };
        if !fits {
            return Err(cursor.malformed("part table"));
        }
        last = Some(end);
    }
    Ok(())
}
