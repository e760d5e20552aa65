//! A table read straight from its bytes, for tools: no cache, no threads.

use alloc::{sync::Arc, vec, vec::Vec};
use core::cell::RefCell;

use lsm_block::{BlockKind, ByteRange, FrameHeader, Step};
use lsm_codec::Decoder;
use lsm_columnar::PageEntry;
use lsm_types::{
    Comparator, KeyHash, KeyOrder, Kind, PrefixExtractor, RangeTombstone, ReadAt, Result, SeqNo, Slice,
    columns::KeyBuf,
};

use crate::{
    BlockRef, BlockSource, CheckDepth, ColumnPage, FilterId, FilterPartition, Found, GroupScan, GroupSource,
    OpenOptions, OpenSst, PointRows, Remainder, RowGroup, SstError, TableCursor, TableLayout, Verified,
    data_block::DataBlock,
    index::{IndexBlock, IndexEntry},
};

/// How a table is read.
#[derive(Clone)]
pub struct TableOptions {
    open: OpenOptions,
    filters: bool,
}

impl TableOptions {
    /// Byte order, filters in use.
    pub fn new() -> Self {
        Self { open: OpenOptions::new(KeyOrder::bytewise()), filters: true }
    }

    /// The comparator the table was written with.
    #[must_use]
    pub fn comparator(mut self, comparator: impl Comparator) -> Self {
        self.open.order = KeyOrder::new(Arc::new(comparator));
        self
    }

    /// What is known about the file beforehand; replaces everything set so far but the use of filters.
    #[must_use]
    pub fn open(mut self, open: OpenOptions) -> Self {
        self.open = open;
        self
    }

    /// Whether filters are asked; the answers are the same. Default: yes.
    #[must_use]
    pub fn filters(mut self, filters: bool) -> Self {
        self.filters = filters;
        self
    }
}

impl Default for TableOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for TableOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TableOptions").field("open", &self.open).finish_non_exhaustive()
    }
}

/// An open table over its bytes. Every block is read and decoded anew; one thread at a time.
#[derive(Debug)]
pub struct Table<R> {
    layout: Arc<TableLayout>,
    source: DirectSource<R>,
}

impl<R: ReadAt> Table<R> {
    /// Opens the table in `file`.
    pub fn open(file: R, options: TableOptions) -> Result<Self> {
        let (mut opening, mut range) = OpenSst::start(file.len().map_err(SstError::Length)?, options.open)?;
        let layout = loop {
            match opening.feed(read(&file, range)?)? {
                Step::Need(next) => range = next,
                Step::Done(layout) => break Arc::from(layout),
            }
        };
        let decoder = RefCell::new(Decoder::new());
        let source = DirectSource { file, layout: Arc::clone(&layout), decoder, filters: options.filters };
        Ok(Self { layout, source })
    }

    /// What is known about the table without reading its data.
    pub const fn meta(&self) -> &Arc<TableLayout> {
        &self.layout
    }

    /// Where the table's blocks come from, for the calls of [`TableLayout`].
    pub const fn source(&self) -> &DirectSource<R> {
        &self.source
    }

    /// Range tombstones with effective sequence numbers.
    pub fn range_tombstones(&self) -> &[RangeTombstone] {
        self.layout.range_tombstones()
    }

    /// The newest version of `key` numbered below `before`; range tombstones are not applied.
    pub fn get(&self, key: &[u8], before: SeqNo) -> Result<Option<Found>> {
        self.layout.get(&self.source, KeyHash::of(key), key, before)
    }

    /// A cursor over the entries.
    pub fn cursor(&self) -> TableCursor<&DirectSource<R>> {
        self.layout.cursor(&self.source)
    }

    /// A scan of the row groups of a columnar table.
    ///
    /// # Errors
    /// `Unsupported` for a table of rows.
    pub fn groups(&self) -> Result<GroupScan<&DirectSource<R>>> {
        self.layout.group_scan(&self.source)
    }

    /// Checks everything and hands what is wrong to `report`: [`TableLayout::verify`].
    pub fn verify(&self, report: &mut dyn FnMut(crate::Error)) -> Result<Verified> {
        self.layout.verify(&self.source.file, &self.source, report)
    }

    /// Checks the table no deeper than is said, and no more than is left of it: [`TableLayout::verify_to`].
    pub fn verify_to(
        &self,
        checks: (CheckDepth, Option<&dyn PrefixExtractor>),
        left: Option<&Remainder>,
        report: &mut dyn FnMut(CheckDepth, crate::Error),
    ) -> Result<Verified> {
        self.layout.verify_to(checks, left, &self.source.file, &self.source, report)
    }

    /// The data blocks in key order. Ends after the first error.
    pub fn blocks(&self) -> Blocks<'_, R> {
        Blocks { table: self, root_idx: 0, leaf: None, entry_idx: 0, failed: false }
    }
}

/// Blocks straight from the bytes of a file.
pub struct DirectSource<R> {
    file: R,
    layout: Arc<TableLayout>,
    decoder: RefCell<Decoder>,
    filters: bool,
}

impl<R> core::fmt::Debug for DirectSource<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DirectSource")
            .field("table", &self.layout.properties().table_id)
            .finish_non_exhaustive()
    }
}

impl<R: ReadAt> DirectSource<R> {
    fn read(&self, kind: BlockKind, at: BlockRef) -> Result<Slice> {
        self.layout.check_ref(kind, at)?;
        read(&self.file, ByteRange { offset: at.handle.offset, len: at.handle.len.into() })
    }
}

impl<R: ReadAt> BlockSource for DirectSource<R> {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        let frame = self.read(BlockKind::DATA, at)?;
        self.layout.decode_data(at, &frame, &mut self.decoder.borrow_mut()).map(Arc::new)
    }

    fn rows(&self, at: BlockRef) -> Result<PointRows> {
        let frame = self.read(BlockKind::DATA, at)?;
        self.layout.decode_point(at, &frame, &mut self.decoder.borrow_mut())
    }

    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>> {
        let frame = self.read(BlockKind::INDEX_PARTITION, at)?;
        self.layout.decode_index(at, &frame, &mut self.decoder.borrow_mut()).map(Arc::new)
    }

    fn filter(&self, id: FilterId, part: usize) -> Result<Option<Arc<FilterPartition>>> {
        if !self.filters {
            return Ok(None);
        }
        let Some(at) = self.layout.filter_ref(id, part) else { return Ok(None) };
        let frame = self.read(id.partition_kind(), at)?;
        let partition = self.layout.decode_filter(id, at, &frame, &mut self.decoder.borrow_mut())?;
        Ok(Some(Arc::new(partition)))
    }
}

impl<R: ReadAt> GroupSource for DirectSource<R> {
    fn group(&self, at: BlockRef) -> Result<Arc<RowGroup>> {
        self.layout.check_ref(BlockKind::DATA, at)?;
        let range = |len: u64| ByteRange { offset: at.handle.offset, len };
        let head = read(&self.file, range(FrameHeader::LEN as u64))?;
        let bytes = read(&self.file, range(self.layout.directory_len(at, &head)?.into()))?;
        self.layout.decode_group(at, &bytes, &mut self.decoder.borrow_mut()).map(Arc::new)
    }

    fn page(&self, group: &RowGroup, page: &PageEntry) -> Result<Arc<ColumnPage>> {
        let frame = match group.page_handle(page) {
            Some(handle) => {
                self.layout.check_page(group, handle)?;
                read(&self.file, ByteRange { offset: handle.offset, len: handle.len.into() })?
            }
            None => Slice::empty(),
        };
        self.layout.decode_page(group, page, &frame, &mut self.decoder.borrow_mut()).map(Arc::new)
    }
}

/// The data blocks of a table, in key order.
#[derive(Debug)]
pub struct Blocks<'t, R> {
    table: &'t Table<R>,
    root_idx: usize,
    leaf: Option<Arc<IndexBlock>>,
    entry_idx: usize,
    failed: bool,
}

impl<'t, R: ReadAt> Iterator for Blocks<'t, R> {
    type Item = Result<BlockInfo<'t, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let root = &self.table.layout.root;
        loop {
            if self.leaf.is_none() {
                let entry = root.entry(self.root_idx)?;
                self.leaf = match self.load_leaf(entry) {
                    Ok(leaf) => Some(leaf),
                    Err(error) => {
                        self.failed = true;
                        return Some(Err(error));
                    }
                };
                self.entry_idx = 0;
            }
            if let Some(entry) = self.leaf.as_ref().and_then(|leaf| leaf.entry(self.entry_idx)) {
                self.entry_idx += 1;
                return Some(Ok(BlockInfo { table: self.table, entry }));
            }
            self.leaf = None;
            self.root_idx = if root.is_upper() { self.root_idx + 1 } else { root.entries() };
        }
    }
}

impl<R: ReadAt> Blocks<'_, R> {
    fn load_leaf(&self, entry: IndexEntry) -> Result<Arc<IndexBlock>> {
        let root = &self.table.layout.root;
        if root.is_upper() { self.table.source.index(entry.into()) } else { Ok(Arc::clone(root)) }
    }
}

/// A data block that was not read yet.
#[derive(Debug)]
pub struct BlockInfo<'t, R> {
    table: &'t Table<R>,
    entry: IndexEntry,
}

impl<R: ReadAt> BlockInfo<'_, R> {
    /// Where the block lies.
    pub fn at(&self) -> BlockRef {
        self.entry.into()
    }

    /// Its rows.
    pub const fn rows(&self) -> u64 {
        self.entry.rows
    }

    /// Reads, checks and decompresses the block.
    pub fn load(&self) -> Result<LoadedBlock> {
        let block = self.table.source.data(self.at())?;
        Ok(LoadedBlock { block, layout: Arc::clone(&self.table.layout) })
    }
}

/// A data block of a table.
#[derive(Debug)]
pub struct LoadedBlock {
    block: Arc<DataBlock>,
    layout: Arc<TableLayout>,
}

impl LoadedBlock {
    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = BlockEntry> + '_ {
        let mut buf = KeyBuf::new();
        (0..self.block.rows()).map(move |row| {
            self.block.key(row, &mut buf);
            BlockEntry {
                key: buf.as_slice().to_vec(),
                seqno: self.layout.effective(self.block.seqno(row)),
                kind: self.block.kind(row),
                value: self.block.value_slice(row),
            }
        })
    }

    /// The rows themselves.
    pub fn rows(&self) -> &DataBlock {
        &self.block
    }
}

/// One entry of a loaded block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockEntry {
    key: Vec<u8>,
    seqno: SeqNo,
    kind: Kind,
    value: Slice,
}

impl BlockEntry {
    /// The user key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Effective sequence number.
    pub const fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// What the entry means.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Value, operand or handle.
    pub const fn value(&self) -> &Slice {
        &self.value
    }
}

pub(crate) fn read<R: ReadAt>(file: &R, range: ByteRange) -> Result<Slice> {
    // The range was held against the file's length, and against the cap of its kind, before it was asked for.
    let mut bytes = vec![0; usize::try_from(range.len).unwrap_or(usize::MAX)];
    file.read_exact_at(range.offset, &mut bytes).map_err(|source| SstError::Read {
        offset: range.offset,
        len: range.len,
        source,
    })?;
    Ok(Slice::from(bytes))
}
