//! Blocks of a table: from the cache, or from the file.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use lsm_block::BlockKind;
use lsm_fs::{AccessHint, FsFile, OpenOptions};
use lsm_sst::{
    BlockRef, BlockSource, FilterAnswer, FilterId, FilterPartition, GroupRows, Neighbours, PointRows,
    TableLayout, data_block::DataBlock, index::IndexBlock,
};
use lsm_types::{FileKind, IoError, KeyHash, Location, Result, Slice};

use crate::{
    TableError, Throttle, ahead::ReadAhead, cache::CachedBlock, columns::DIRECTORY_GUESS,
    filters::TableFilters, table::TableInner,
};

/// What the payload of a filter partition is aligned to in memory: a cache line.
const ALIGN: usize = 64;
/// Bytes a compaction reads at once.
const READ_AHEAD: usize = 1 << 20;

/// How a cursor reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadMode {
    /// Whether blocks go into the cache.
    fill_cache: bool,
    /// Whether the file is read ahead: with the cache, as a walk shows that it goes on; past it, in large pieces.
    read_ahead: bool,
}

impl ReadMode {
    /// A scan by a reader: blocks come from the cache and go there; those that are missing are read ahead.
    pub const SCAN: Self = Self { fill_cache: true, read_ahead: true };
    /// A walk that picks blocks and will not come back: the cache is left alone, nothing is read ahead.
    pub const PICK: Self = Self { fill_cache: false, read_ahead: false };
    /// A walk through the whole table that will not come back: large reads, the cache is left alone.
    pub const COMPACTION: Self = Self { fill_cache: false, read_ahead: true };

    /// Whether blocks come from the cache and go there.
    pub(crate) const fn fills_cache(self) -> bool {
        self.fill_cache
    }
}

/// Blocks for point reads.
pub(crate) struct CachedSource<'a> {
    pub(crate) table: &'a TableInner,
    pub(crate) layout: &'a TableLayout,
    pub(crate) filters: &'a TableFilters,
}

impl BlockSource for CachedSource<'_> {
    #[inline]
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        self.table.cached_data(self.layout, at)
    }

    #[inline]
    fn rows(&self, at: BlockRef) -> Result<PointRows> {
        if self.layout.is_columnar() {
            return self.table.cached_rows(self.layout, at);
        }
        self.table.cached_data(self.layout, at).map(PointRows::Block)
    }

    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>> {
        self.table.cached_index(self.layout, at)
    }

    #[inline]
    fn ask_filter(&self, id: FilterId, part: usize, hash: KeyHash) -> FilterAnswer {
        self.table.ask_filter(self.layout, self.filters, id, part, hash)
    }

    #[inline]
    fn note_get(&self, answer: FilterAnswer, found: bool) {
        self.filters.note_get(answer, found);
    }
}

/// Blocks for a cursor, which owns its table.
pub struct CursorSource {
    pub(crate) table: Arc<TableInner>,
    pub(crate) layout: Arc<TableLayout>,
    pub(crate) mode: ReadMode,
    /// Asked before each block that is read past the cache.
    pub(crate) throttle: Option<Arc<dyn Throttle>>,
    /// What was read ahead past the cache, and where in the file it begins.
    pieces: RefCell<(u64, Slice)>,
    /// What was read ahead for a scan.
    ahead: RefCell<ReadAhead>,
    /// Bytes of the directory of a row group that was read last.
    pub(crate) directory_guess: Cell<u32>,
}

impl CursorSource {
    pub(crate) fn new(
        table: Arc<TableInner>,
        layout: Arc<TableLayout>,
        mode: ReadMode,
        throttle: Option<Arc<dyn Throttle>>,
    ) -> Self {
        let pieces = RefCell::new((0, Slice::empty()));
        let (ahead, directory_guess) = (RefCell::new(ReadAhead::new()), Cell::new(DIRECTORY_GUESS));
        Self { table, layout, mode, throttle, pieces, ahead, directory_guess }
    }

    pub(crate) fn pass(&self, len: u32) -> Result<()> {
        self.throttle.as_ref().map_or(Ok(()), |throttle| throttle.pass(len.into()))
    }

    fn frame(&self, kind: BlockKind, at: BlockRef) -> Result<Slice> {
        self.pass(at.handle.len)?;
        if !self.mode.read_ahead {
            return self.table.read_frame(&self.layout, kind, at);
        }
        self.layout.check_ref(kind, at)?;
        let (offset, len) = (at.handle.offset, at.handle.len as usize);
        let mut pieces = self.pieces.borrow_mut();
        if let Some(frame) = part(&pieces, offset, len) {
            return Ok(frame);
        }
        let left = usize::try_from(self.layout.file_len() - offset).unwrap_or(usize::MAX);
        let bytes = self.table.read(offset, len.max(READ_AHEAD.min(left)))?;
        *pieces = (offset, bytes);
        Ok(part(&pieces, offset, len).unwrap_or_default())
    }
}

/// The bytes of a frame, if all of them were read ahead.
fn part((start, bytes): &(u64, Slice), offset: u64, len: usize) -> Option<Slice> {
    let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
    let to = from.checked_add(len)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

impl BlockSource for CursorSource {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        if self.mode.fill_cache {
            return self.table.cached_data(&self.layout, at);
        }
        let frame = self.frame(BlockKind::DATA, at)?;
        let decoders = &self.table.env.decoders;
        Ok(Arc::new(decoders.with(|decoder| self.layout.decode_data(at, &frame, decoder))?))
    }

    fn data_of_walk(&self, at: BlockRef, near: &Neighbours<'_>) -> Result<Arc<DataBlock>> {
        if self.mode != ReadMode::SCAN {
            return self.data(at);
        }
        let mut ahead = self.ahead.borrow_mut();
        ahead.come_to(at, near);
        let (table, layout) = (&*self.table, &*self.layout);
        let block = table.data_by(layout, at, || ahead.frame(table, layout, at, near))?;
        if let Some(vector) = &table.vector {
            vector.note_walked(block.rows());
        }
        Ok(block)
    }

    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>> {
        if self.mode.fill_cache {
            return self.table.cached_index(&self.layout, at);
        }
        self.pass(at.handle.len)?;
        // An index partition lies behind its blocks: reading ahead from there would throw away what was read.
        let frame = self.table.read_frame(&self.layout, BlockKind::INDEX_PARTITION, at)?;
        let decoders = &self.table.env.decoders;
        Ok(Arc::new(decoders.with(|decoder| self.layout.decode_index(at, &frame, decoder))?))
    }

    /// For checks alone: past the cache.
    fn filter(&self, id: FilterId, part: usize) -> Result<Option<Arc<FilterPartition>>> {
        self.table.read_filter(&self.layout, id, part).map(|partition| Some(Arc::new(partition)))
    }
}

impl TableInner {
    #[inline]
    pub(crate) fn cached_data(&self, layout: &TableLayout, at: BlockRef) -> Result<Arc<DataBlock>> {
        self.data_by(layout, at, || self.read_frame(layout, BlockKind::DATA, at))
    }

    /// A data block from the cache, or out of what `frame` reads.
    #[inline]
    fn data_by(
        &self,
        layout: &TableLayout,
        at: BlockRef,
        frame: impl FnOnce() -> Result<Slice>,
    ) -> Result<Arc<DataBlock>> {
        let cache = &self.env.cache;
        let block = match cache.get(self.cache_file, at.handle.offset) {
            Some(block) => block,
            None => cache
                .get_or_load(self.cache_file, at.handle.offset, || self.take_data(layout, at, &frame()?))?,
        };
        match block {
            CachedBlock::Data(block) => Ok(block),
            CachedBlock::Rows(rows) => self.take_rows(layout, at, &rows),
            _ => Err(self.disagrees("kind of a block").into()),
        }
    }

    /// What a point read of a columnar table looks into: the row group as it is stored, until its rows are asked for so
    /// often, or by somebody who needs all of them, that the cache has them put together.
    fn cached_rows(&self, layout: &TableLayout, at: BlockRef) -> Result<PointRows> {
        let (cache, offset) = (&self.env.cache, at.handle.offset);
        let load = || self.take_point(layout, at, &self.read_frame(layout, BlockKind::DATA, at)?);
        let found = match cache.get(self.cache_file, offset) {
            Some(block) => block,
            None => cache.get_or_load(self.cache_file, offset, load)?,
        };
        match found {
            CachedBlock::Data(block) => Ok(PointRows::Block(block)),
            CachedBlock::Rows(rows) if rows.is_worth_a_block() => {
                self.take_rows(layout, at, &rows).map(PointRows::Block)
            }
            CachedBlock::Rows(rows) => Ok(PointRows::Group(rows)),
            _ => Err(self.disagrees("kind of a block").into()),
        }
    }

    /// The rows of a cached group, put together; they take its place in the cache.
    pub(crate) fn take_rows(
        &self,
        layout: &TableLayout,
        at: BlockRef,
        rows: &GroupRows,
    ) -> Result<Arc<DataBlock>> {
        let block = Arc::new(layout.block_of(rows)?);
        self.env.cache.insert(self.cache_file, at.handle.offset, CachedBlock::Data(block.clone()));
        Ok(block)
    }

    /// A data block out of the bytes of its frame, which somebody read.
    pub(crate) fn take_data(&self, layout: &TableLayout, at: BlockRef, frame: &Slice) -> Result<CachedBlock> {
        let block = self.env.decoders.with(|decoder| layout.decode_data(at, frame, decoder))?;
        Ok(CachedBlock::Data(Arc::new(block)))
    }

    /// The same for point reads: a row group stays as it is stored.
    pub(crate) fn take_point(
        &self,
        layout: &TableLayout,
        at: BlockRef,
        frame: &Slice,
    ) -> Result<CachedBlock> {
        let rows = self.env.decoders.with(|decoder| layout.decode_point(at, frame, decoder))?;
        Ok(match rows {
            PointRows::Block(block) => CachedBlock::Data(block),
            PointRows::Group(rows) => CachedBlock::Rows(rows),
        })
    }

    /// The same for an index partition.
    pub(crate) fn take_index(
        &self,
        layout: &TableLayout,
        at: BlockRef,
        frame: &Slice,
    ) -> Result<CachedBlock> {
        let block = self.env.decoders.with(|decoder| layout.decode_index(at, frame, decoder))?;
        Ok(CachedBlock::Index(Arc::new(block)))
    }

    pub(crate) fn cached_index(&self, layout: &TableLayout, at: BlockRef) -> Result<Arc<IndexBlock>> {
        let block = self.env.cache.get_or_load(self.cache_file, at.handle.offset, || {
            self.take_index(layout, at, &self.read_frame(layout, BlockKind::INDEX_PARTITION, at)?)
        })?;
        match block {
            CachedBlock::Index(block) => Ok(block),
            _ => Err(self.disagrees("kind of a block").into()),
        }
    }

    /// The bytes of a frame whose place was checked against the file.
    fn read_frame(&self, layout: &TableLayout, kind: BlockKind, at: BlockRef) -> Result<Slice> {
        layout.check_ref(kind, at)?;
        self.read(at.handle.offset, at.handle.len as usize)
    }

    /// Bytes of the file. The caller has checked that they are there.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Slice> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(Slice::from(bytes))
    }

    /// As [`TableInner::read`], into memory where the byte behind the first `lead` ones lies at a multiple of 64.
    pub(crate) fn read_aligned(&self, offset: u64, len: usize, lead: usize) -> Result<Slice> {
        aligned(len, lead, |bytes| self.read_into(offset, bytes))
    }

    pub(crate) fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let id = self.descriptor.id;
        let file = self.open_file().map_err(|source| TableError::Open { table: id, source })?;
        lsm_types::ReadAt::read_exact_at(file.as_ref(), offset, bytes).map_err(|source| {
            let at = Location { kind: FileKind::Table, id: id.get(), offset };
            TableError::Read { at, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX), source }
        })?;
        Ok(())
    }

    /// Tells the system that a range of the file is read soon. Whatever hinders that shows when it is read.
    pub(crate) fn announce(&self, offset: u64, len: u64) {
        if let Ok(file) = self.open_file() {
            file.hint(AccessHint::WillNeed { offset, len });
        }
    }

    /// The open file.
    fn open_file(&self) -> Result<Arc<dyn FsFile>, IoError> {
        let path = || self.env.path(self.descriptor.id, self.descriptor.route);
        if !self.env.descriptors.is_pinned() {
            return self.env.descriptors.get(self.file.open_number, self.env.fs.as_ref(), path);
        }
        if let Some(file) = self.file.pinned.get() {
            return Ok(file.clone());
        }
        let file = self.env.descriptors.make_room_for(|| self.env.fs.open(&path(), &OpenOptions::READ))?;
        Ok(self.file.pinned.get_or_init(|| file).clone())
    }

    pub(crate) fn disagrees(&self, what: &'static str) -> TableError {
        TableError::Disagrees { table: self.descriptor.id, what }
    }
}

/// `len` bytes that `fill` writes, in memory where the byte behind the first `lead` ones lies at a multiple of 64.
pub(crate) fn aligned(len: usize, lead: usize, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Slice> {
    let mut bytes = vec![0; len + (ALIGN - 1)];
    let skip = (bytes.as_ptr() as usize).wrapping_add(lead).wrapping_neg() % ALIGN;
    fill(bytes.get_mut(skip..skip + len).unwrap_or_default())?;
    // The bytes stay where they are when the vector becomes a slice: it is exactly as long as its memory.
    let frame = Slice::from(bytes).slice(skip..skip + len);
    debug_assert_eq!((frame.as_ptr() as usize + lead) % ALIGN, 0, "a vector's bytes do not move");
    Ok(frame)
}
