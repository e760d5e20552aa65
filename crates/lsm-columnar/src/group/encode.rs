//! Groups from columns.

use alloc::vec::Vec;
use core::ops::Range;

use super::{ENTRY_LEN, FLAG_CONSTANT, FLAG_EXACT, FLAG_NULLABLE, FLAG_SORTED, GroupHead, NO_ZONE};
use crate::{
    ColumnId, ColumnVector, ColumnarError, Encoding, EncodingSet, PAGE_ROWS_MAX, PageEncoder, PageInfo,
    PageStamp, Result,
};

/// Groups whose pages take no more than this are one payload: pages of their own would cost more than they save.
pub const GROUP_INLINE_MAX: usize = 32 << 10;

/// Where a page of a large group came to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PagePlace {
    /// First byte of its frame, from the start of the directory's frame.
    pub offset: u32,
    /// Bytes of its frame.
    pub stored_len: u32,
    /// Codec of its frame.
    pub codec: u8,
    /// Dictionary slot of its frame.
    pub dictionary_slot: u16,
}

/// Encodes groups; kept for its memory.
#[derive(Debug)]
pub struct GroupEncoder {
    rows_per_part: usize,
    pages: PageEncoder,
}

impl GroupEncoder {
    /// An encoder that cuts groups into parts of `rows_per_part` rows, at least 1.
    pub fn new(rows_per_part: u16, allowed: EncodingSet) -> Self {
        Self { rows_per_part: usize::from(rows_per_part).max(1), pages: PageEncoder::new(allowed) }
    }

    /// Encodes the pages of a group of `columns`, in the order of their ids, all of one length.
    ///
    /// # Errors
    /// [`ColumnarError::PageTooLarge`] where a page would be, for no row and for more than 65,535 parts;
    /// [`ColumnarError::NoColumn`] for columns of differing lengths or out of order.
    pub fn encode(&mut self, ordinal: u32, columns: &[(ColumnId, &ColumnVector)]) -> Result<EncodedGroup> {
        let rows = columns.first().map_or(0, |(_, vector)| vector.len());
        let parts = rows.div_ceil(self.rows_per_part);
        if rows == 0 || u32::try_from(rows).is_err() || u16::try_from(parts).is_err() {
            return Err(ColumnarError::PageTooLarge { rows, bytes: 0 });
        }
        let ascend = columns.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
        if !ascend || columns.iter().any(|(_, vector)| vector.len() != rows) {
            return Err(ColumnarError::NoColumn);
        }
        debug_assert!(self.rows_per_part <= PAGE_ROWS_MAX, "a part fits a page");
        let mut group = EncodedGroup {
            ordinal,
            rows,
            rows_per_part: self.rows_per_part,
            columns: columns.len(),
            pages: Vec::with_capacity(columns.len() * parts),
            bytes: Vec::new(),
        };
        for (column, vector) in columns {
            for part in 0..parts {
                let start = part * self.rows_per_part;
                let stamp = PageStamp {
                    group: ordinal,
                    column: *column,
                    part: u16::try_from(part).unwrap_or(u16::MAX),
                };
                let from = group.bytes.len();
                let upto = (start + self.rows_per_part).min(rows);
                let info = self.pages.encode(stamp, vector, start..upto, &mut group.bytes)?;
                group.pages.push(EncodedPage { stamp, info, bytes: from..group.bytes.len() });
            }
        }
        Ok(group)
    }
}

#[derive(Clone, Debug)]
struct EncodedPage {
    stamp: PageStamp,
    info: PageInfo,
    bytes: Range<usize>,
}

/// Pages of a group, waiting for a place.
#[derive(Clone, Debug)]
pub struct EncodedGroup {
    ordinal: u32,
    rows: usize,
    rows_per_part: usize,
    columns: usize,
    pages: Vec<EncodedPage>,
    bytes: Vec<u8>,
}

impl EncodedGroup {
    /// Payloads of the pages, by column, then by part.
    pub fn pages(&self) -> impl Iterator<Item = (PageStamp, &PageInfo, &[u8])> {
        self.pages
            .iter()
            .map(|page| (page.stamp, &page.info, self.bytes.get(page.bytes.clone()).unwrap_or_default()))
    }

    /// Whether the group should be one payload.
    pub const fn is_small(&self) -> bool {
        self.bytes.len() <= GROUP_INLINE_MAX
    }

    /// Appends the payload of a small group: its directory and its pages. `head` has the group's ordinal and rows.
    ///
    /// # Errors
    /// [`ColumnarError::PageTooLarge`] where positions pass 4 GiB.
    pub fn write_inline(&self, head: &GroupHead, out: &mut Vec<u8>) -> Result<()> {
        let pages_at = self.directory_len();
        if u32::try_from(pages_at + self.bytes.len()).is_err() {
            return Err(ColumnarError::PageTooLarge { rows: self.rows, bytes: self.bytes.len() });
        }
        self.write(head, out, |page| PagePlace {
            offset: u32::try_from(pages_at + page.bytes.start).unwrap_or(u32::MAX),
            stored_len: u32::try_from(page.bytes.len()).unwrap_or(u32::MAX),
            codec: 0,
            dictionary_slot: 0,
        });
        out.extend_from_slice(&self.bytes);
        Ok(())
    }

    /// Appends the directory of a group whose pages came to lie at `places`, in the order of [`EncodedGroup::pages`].
    ///
    /// # Errors
    /// [`ColumnarError::NoColumn`] where the number of places is not that of pages.
    pub fn write_directory(&self, head: &GroupHead, places: &[PagePlace], out: &mut Vec<u8>) -> Result<()> {
        if places.len() != self.pages.len() {
            return Err(ColumnarError::NoColumn);
        }
        let mut places = places.iter();
        let nowhere = PagePlace { offset: 0, stored_len: 0, codec: 0, dictionary_slot: 0 };
        self.write(head, out, |_| places.next().copied().unwrap_or(nowhere));
        Ok(())
    }

    /// Bytes of the directory; they do not depend on where pages lie.
    pub fn directory_len(&self) -> usize {
        let mut zones = Vec::new();
        self.pages.iter().filter(|page| has_zone(page)).for_each(|page| page.info.zone.write(&mut zones));
        32 + 4 * self.parts() + ENTRY_LEN * self.pages.len() + zones.len()
    }

    const fn parts(&self) -> usize {
        self.rows.div_ceil(self.rows_per_part)
    }

    fn write(&self, head: &GroupHead, out: &mut Vec<u8>, mut place: impl FnMut(&EncodedPage) -> PagePlace) {
        debug_assert!(
            head.ordinal == self.ordinal && head.rows as usize == self.rows,
            "the head of this group"
        );
        let start = out.len();
        let u16_of = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
        let u32_of = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&head.ordinal.to_le_bytes());
        out.extend_from_slice(&head.rows.to_le_bytes());
        out.extend_from_slice(&u16_of(self.parts()));
        out.extend_from_slice(&u16_of(self.columns));
        out.extend_from_slice(&head.schema_id.to_le_bytes());
        out.extend_from_slice(&head.seqno_min.get().to_le_bytes());
        out.extend_from_slice(&head.seqno_max.get().to_le_bytes());
        for part in 0..self.parts() {
            out.extend_from_slice(&u32_of(part * self.rows_per_part));
        }
        let mut zones = Vec::new();
        for page in &self.pages {
            let place = place(page);
            let info = &page.info;
            let zone_offset = if has_zone(page) { u32_of(zones.len()) } else { NO_ZONE.to_le_bytes() };
            let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
            let flags = flag(info.is_nullable, FLAG_NULLABLE)
                | flag(info.encoding == Encoding::Constant, FLAG_CONSTANT)
                | flag(info.is_sorted, FLAG_SORTED)
                | flag(has_zone(page) && info.zone.is_exact(), FLAG_EXACT);
            out.extend_from_slice(&page.stamp.column.get().to_le_bytes());
            out.extend_from_slice(&page.stamp.part.to_le_bytes());
            out.extend_from_slice(&place.offset.to_le_bytes());
            out.extend_from_slice(&place.stored_len.to_le_bytes());
            out.extend_from_slice(&u32_of(page.bytes.len()));
            out.extend_from_slice(&[place.codec, info.encoding.code(), flags, 0]);
            out.extend_from_slice(&place.dictionary_slot.to_le_bytes());
            out.extend_from_slice(&u32::try_from(info.zone.null_count()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(&zone_offset);
            if has_zone(page) {
                info.zone.write(&mut zones);
            }
        }
        out.extend_from_slice(&zones);
        debug_assert_eq!(out.len() - start, self.directory_len(), "the length was known");
    }
}

/// Values that nothing looks into have no zone.
fn has_zone(page: &EncodedPage) -> bool {
    page.stamp.column != ColumnId::OPAQUE && page.stamp.column != ColumnId::ROW_DIGEST
}
