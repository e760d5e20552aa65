//! A row group that was found: its directory, and the way to its pages.

use alloc::{sync::Arc, vec::Vec};

use lsm_block::{BlockError, BlockKind, Expect, FrameHeader, Handle};
use lsm_codec::Decoder;
use lsm_columnar::{ColumnId, ColumnVector, ColumnarError, GroupDirectory, Page, PageEntry};
use lsm_types::{CorruptionKind, Result, Slice};

use crate::{BlockRef, BlockSource, SstError, TableLayout, layout::checked_encoding, payload::PayloadError};

/// Most bytes of a group in the file. A group holds little more than a block of rows may; what its directory says
/// of the rest is bounded by the file.
pub(crate) const GROUP_LEN_MAX: u32 = 1 << 30;

/// The directory of a row group, and its pages too where they are few.
#[derive(Debug)]
pub struct RowGroup {
    at: BlockRef,
    directory: GroupDirectory,
    /// Bytes of the directory's frame.
    frame_len: u32,
    /// What the frame holds, where the pages follow in it.
    payload: Option<Slice>,
}

/// An opened page and its bytes.
#[derive(Debug)]
pub struct ColumnPage {
    page: Page,
    payload: Slice,
}

/// Where groups and pages of a table come from.
pub trait GroupSource: BlockSource {
    /// The group at `at`; only its directory is read, as far as that is possible.
    ///
    /// # Errors
    /// What reading and checking it finds.
    fn group(&self, at: BlockRef) -> Result<Arc<RowGroup>>;

    /// A page of a group; no other one is read.
    ///
    /// # Errors
    /// What reading and checking it finds.
    fn page(&self, group: &RowGroup, page: &PageEntry) -> Result<Arc<ColumnPage>>;

    /// Pages of a group, in the order that is given. A source that reads may read those together that lie side by side.
    ///
    /// # Errors
    /// As for [`GroupSource::page`].
    fn pages(&self, group: &RowGroup, pages: &[&PageEntry]) -> Result<Vec<Arc<ColumnPage>>> {
        pages.iter().map(|page| self.page(group, page)).collect()
    }
}

impl<S: GroupSource + ?Sized> GroupSource for &S {
    fn group(&self, at: BlockRef) -> Result<Arc<RowGroup>> {
        (**self).group(at)
    }

    fn page(&self, group: &RowGroup, page: &PageEntry) -> Result<Arc<ColumnPage>> {
        (**self).page(group, page)
    }

    fn pages(&self, group: &RowGroup, pages: &[&PageEntry]) -> Result<Vec<Arc<ColumnPage>>> {
        (**self).pages(group, pages)
    }
}

impl RowGroup {
    /// Where the group lies, its pages included.
    pub const fn at(&self) -> BlockRef {
        self.at
    }

    /// What it says about its pages.
    pub const fn directory(&self) -> &GroupDirectory {
        &self.directory
    }

    /// Number of rows.
    pub const fn rows(&self) -> u64 {
        self.directory.head().rows as u64
    }

    /// Bytes of the frame with the directory.
    pub const fn frame_len(&self) -> u32 {
        self.frame_len
    }

    /// Where a page lies in the file; `None` for a group that is one frame.
    pub fn page_handle(&self, page: &PageEntry) -> Option<Handle> {
        if self.payload.is_some() {
            return None;
        }
        let offset = self.at.handle.offset.saturating_add(page.offset.into());
        Some(Handle { offset, len: page.stored_len })
    }

    /// Bytes of memory, for a cache's account.
    pub fn memory_len(&self) -> usize {
        let zones = self.directory.pages().iter().filter_map(|page| page.zone.as_ref());
        let bounds = zones.flat_map(|zone| [zone.min(), zone.max()]).flatten();
        size_of::<Self>()
            + self.payload.as_ref().map_or(0, |payload| payload.len())
            + size_of_val(self.directory.pages())
            + bounds.map(|bound| bound.bytes().len()).sum::<usize>()
    }
}

impl ColumnPage {
    /// Positions in the payload.
    pub const fn page(&self) -> &Page {
        &self.page
    }

    /// The bytes that every access names.
    pub const fn payload(&self) -> &Slice {
        &self.payload
    }

    /// All rows, decoded.
    ///
    /// # Errors
    /// [`ColumnarError::PageTooLarge`] where they come to more than a page may hold.
    pub fn decode(&self) -> Result<ColumnVector, ColumnarError> {
        let mut rows = ColumnVector::new(self.page.ty());
        self.page.decode(&self.payload, &mut rows)?;
        Ok(rows)
    }

    /// Bytes of memory, for a cache's account.
    pub fn memory_len(&self) -> usize {
        size_of::<Self>() + self.payload.len() + self.page.heap_bytes()
    }
}

impl TableLayout {
    /// How many bytes of a group to read to have its directory.
    ///
    /// * `head`: the first bytes of the group, [`FrameHeader::LEN`] of them at least.
    ///
    /// # Errors
    /// `Corruption` for what is no head of a directory's frame, or of one longer than the group.
    pub fn directory_len(&self, at: BlockRef, head: &[u8]) -> Result<u32> {
        let kind = BlockKind::ROW_GROUP;
        let header = FrameHeader::decode(self.reader.identity(), at.handle.offset, kind, head);
        let len = header.map_err(SstError::from)?.frame_len();
        len.filter(|&len| len <= at.handle.len).ok_or_else(|| self.group_geometry(at))
    }

    /// Checks and parses the directory of the group at `at`.
    ///
    /// * `bytes`: the first bytes of the group, [`TableLayout::directory_len`] of them or more.
    ///
    /// # Errors
    /// `Corruption` in all its forms, `UnsupportedFormat`.
    pub fn decode_group(&self, at: BlockRef, bytes: &Slice, decoder: &mut Decoder) -> Result<RowGroup> {
        let kind = BlockKind::ROW_GROUP;
        let frame_len = self.directory_len(at, bytes)?;
        let frame = bytes.slice(0..(frame_len as usize).min(bytes.len()));
        let handle = Handle { len: frame_len, ..at.handle };
        let payload = self.open(kind, BlockRef { handle, ..at }, &frame, decoder)?;
        let schema = self.columns.as_ref().and_then(|columns| columns.schema.as_deref());
        let directory = GroupDirectory::decode(&payload, schema)
            .map_err(|source| self.columns_error(kind, at, source))?;
        let has = |column| directory.page(column, 0).is_some();
        let needed = [ColumnId::KEY, ColumnId::SEQNO, ColumnId::KIND];
        if directory.head().ordinal != at.ordinal || !needed.into_iter().all(has) {
            return Err(self.payload(kind, at, PayloadError::field("group")).into());
        }
        // Pages do not overlap, so they fill the group when they come to its length.
        let stored = directory.pages().iter().map(|page| u64::from(page.stored_len)).sum::<u64>();
        let pages = if directory.is_inline() { 0 } else { stored };
        let starts = directory.pages().iter().map(|page| page.offset).min();
        let is_behind = directory.is_inline() || starts >= Some(frame_len);
        if u64::from(frame_len) + pages != u64::from(at.handle.len) || !is_behind {
            return Err(self.group_geometry(at));
        }
        // What pages promise to decompress to is bounded before any of them is.
        let logical = directory.pages().iter().map(|page| u64::from(page.logical_len)).sum::<u64>();
        if logical > GROUP_LEN_MAX.into() {
            return Err(self.group_geometry(at));
        }
        let payload = directory.is_inline().then_some(payload);
        Ok(RowGroup { at, directory, frame_len, payload })
    }

    /// Checks and parses a page.
    ///
    /// * `frame`: exactly the bytes of [`RowGroup::page_handle`]; not looked at where there is none.
    ///
    /// # Errors
    /// `Corruption` in all its forms, a page that belongs elsewhere among them; `UnsupportedFormat`.
    pub fn decode_page(
        &self,
        group: &RowGroup,
        page: &PageEntry,
        frame: &Slice,
        decoder: &mut Decoder,
    ) -> Result<ColumnPage> {
        let kind = BlockKind::COLUMN_PAGE;
        let payload = match (&group.payload, group.page_handle(page)) {
            (Some(payload), _) => {
                let start = page.offset as usize;
                let end = start.saturating_add(page.stored_len as usize).min(payload.len());
                payload.slice(start.min(end)..end)
            }
            (None, Some(handle)) => {
                let expect = Expect { kind, ordinal: None, handle };
                let most = self.max_block_bytes.min(page.logical_len);
                let opened = self.reader.open(&expect, frame, decoder, most);
                checked_encoding(&self.reader, kind, handle, opened.map_err(SstError::from)?)?
            }
            (None, None) => Slice::empty(),
        };
        let opened = group.directory.open_page(page, &payload);
        let at = BlockRef { handle: group.page_handle(page).unwrap_or(group.at.handle), ..group.at };
        let page = opened.map_err(|source| self.columns_error(kind, at, source))?;
        Ok(ColumnPage { page, payload })
    }

    /// Refuses a page's place that cannot be right in this file. To be asked before a buffer is allocated for it.
    ///
    /// # Errors
    /// `Corruption`.
    pub fn check_page(&self, group: &RowGroup, handle: Handle) -> Result<()> {
        let expect = Expect { kind: BlockKind::COLUMN_PAGE, ordinal: None, handle };
        expect.check_handle(self.reader.identity(), self.file_len).map_err(SstError::from)?;
        if handle.end() <= group.at.handle.end() { Ok(()) } else { Err(self.group_geometry(group.at)) }
    }

    /// All pages of a group, out of its bytes, in the order of its directory.
    pub(crate) fn all_pages(
        &self,
        group: &RowGroup,
        bytes: &Slice,
        decoder: &mut Decoder,
    ) -> Result<Vec<ColumnPage>> {
        let frame = |page: &PageEntry| {
            // The directory keeps pages within the group.
            let start = (page.offset as usize).min(bytes.len());
            let end = start.saturating_add(page.stored_len as usize).min(bytes.len());
            bytes.slice(start..end)
        };
        let pages = group.directory.pages().iter();
        pages.map(|page| self.decode_page(group, page, &frame(page), decoder)).collect()
    }

    pub(crate) fn columns_error(&self, kind: BlockKind, at: BlockRef, source: ColumnarError) -> SstError {
        self.payload(kind, at, PayloadError::Columns(source))
    }

    fn group_geometry(&self, at: BlockRef) -> crate::Error {
        let (kind, what) = (BlockKind::ROW_GROUP, CorruptionKind::Geometry);
        let (expected, found) = (at.handle.len.into(), at.handle.offset);
        let at = self.reader.identity().at(at.handle.offset);
        SstError::from(BlockError::Corrupt { at, kind, what, expected, found }).into()
    }
}
