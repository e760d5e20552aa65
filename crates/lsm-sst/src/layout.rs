//! A table that was opened: everything but its blocks.

use alloc::{sync::Arc, vec::Vec};

use lsm_block::{
    BlockError, BlockKind, Directory, Expect, FrameHeader, FrameReader, Handle, OpenedFrame, Part, Section,
    Superblock,
};
use lsm_codec::{Codec, Decoder};
use lsm_types::{
    CorruptionKind, Error, KeyHash, KeyOrder, Kind, RangeTombstone, Result, SeqNo, Slice, ValueReferences,
};

use crate::{
    FilterAnswer, FilterId, FilterPartition, Neighbours, PointRows, SstError, TableCursor,
    builder::ENCODING,
    columnar::{GROUP_LEN_MAX, TableColumns},
    data_block::DataBlock,
    filter::FilterRoots,
    hops::reaching,
    index::{IndexBlock, IndexEntry},
    payload::PayloadError,
    properties::{Properties, SeqNoBounds},
};

/// Which block: where its frame lies and the ordinal it must have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockRef {
    /// Where the frame lies.
    pub handle: Handle,
    /// Its ordinal.
    pub ordinal: u32,
}

impl From<IndexEntry> for BlockRef {
    fn from(entry: IndexEntry) -> Self {
        Self { handle: entry.handle, ordinal: entry.ordinal }
    }
}

/// Where blocks of one table come from: a file, or a cache in front of one.
///
/// An implementation reads the bytes of the handle after [`TableLayout::check_ref`] and has them checked and parsed by
/// [`TableLayout::decode_data`] and its siblings. An error is passed on as it is, never taken for absence.
pub trait BlockSource {
    /// A data block.
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>>;

    /// The same for a point read, which does with a row group as it is stored.
    #[inline]
    fn rows(&self, at: BlockRef) -> Result<PointRows> {
        self.data(at).map(PointRows::Block)
    }

    /// The same for a cursor: `near` knows which blocks it comes to next, so they can be read in advance.
    fn data_of_walk(&self, at: BlockRef, near: &Neighbours<'_>) -> Result<Arc<DataBlock>> {
        let _ = near;
        self.data(at)
    }

    /// An index partition.
    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>>;

    /// Partition `part` of a filter, found by [`TableLayout::filter_ref`]; `None` when filters are not used here.
    ///
    /// # Errors
    /// Why the partition cannot be used. That hinders no read.
    fn filter(&self, id: FilterId, part: usize) -> Result<Option<Arc<FilterPartition>>> {
        let _ = (id, part);
        Ok(None)
    }

    /// What partition `part` of a filter says about `hash`.
    #[inline]
    fn ask_filter(&self, id: FilterId, part: usize, hash: KeyHash) -> FilterAnswer {
        match self.filter(id, part) {
            Ok(Some(partition)) => partition.ask(hash),
            _ => FilterAnswer::Unusable,
        }
    }

    /// Told after every point read: what the filter over keys said, and whether the key was found.
    #[inline]
    fn note_get(&self, answer: FilterAnswer, found: bool) {
        let _ = (answer, found);
    }
}

impl<S: BlockSource + ?Sized> BlockSource for &S {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        (**self).data(at)
    }

    #[inline]
    fn rows(&self, at: BlockRef) -> Result<PointRows> {
        (**self).rows(at)
    }

    fn data_of_walk(&self, at: BlockRef, near: &Neighbours<'_>) -> Result<Arc<DataBlock>> {
        (**self).data_of_walk(at, near)
    }

    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>> {
        (**self).index(at)
    }

    fn filter(&self, id: FilterId, part: usize) -> Result<Option<Arc<FilterPartition>>> {
        (**self).filter(id, part)
    }

    #[inline]
    fn ask_filter(&self, id: FilterId, part: usize, hash: KeyHash) -> FilterAnswer {
        (**self).ask_filter(id, part, hash)
    }

    #[inline]
    fn note_get(&self, answer: FilterAnswer, found: bool) {
        (**self).note_get(answer, found);
    }
}

impl<S: BlockSource + ?Sized> BlockSource for Arc<S> {
    fn data(&self, at: BlockRef) -> Result<Arc<DataBlock>> {
        (**self).data(at)
    }

    #[inline]
    fn rows(&self, at: BlockRef) -> Result<PointRows> {
        (**self).rows(at)
    }

    fn data_of_walk(&self, at: BlockRef, near: &Neighbours<'_>) -> Result<Arc<DataBlock>> {
        (**self).data_of_walk(at, near)
    }

    fn index(&self, at: BlockRef) -> Result<Arc<IndexBlock>> {
        (**self).index(at)
    }

    fn filter(&self, id: FilterId, part: usize) -> Result<Option<Arc<FilterPartition>>> {
        (**self).filter(id, part)
    }

    #[inline]
    fn ask_filter(&self, id: FilterId, part: usize, hash: KeyHash) -> FilterAnswer {
        (**self).ask_filter(id, part, hash)
    }

    #[inline]
    fn note_get(&self, answer: FilterAnswer, found: bool) {
        (**self).note_get(answer, found);
    }
}

/// The newest version of a key that a read sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Effective sequence number.
    pub seqno: SeqNo,
    /// What the entry means.
    pub kind: Kind,
    /// Value, operand or handle, sharing the block's buffer.
    pub value: Slice,
}

/// Everything of an opened table but its blocks.
#[derive(Debug)]
pub struct TableLayout {
    pub(crate) superblock: Superblock,
    pub(crate) directory: Directory,
    pub(crate) properties: Properties,
    pub(crate) order: KeyOrder,
    pub(crate) root: Arc<IndexBlock>,
    pub(crate) filters: FilterRoots,
    pub(crate) tombstones: Vec<RangeTombstone>,
    pub(crate) references: ValueReferences,
    pub(crate) reader: FrameReader,
    pub(crate) file_len: u64,
    pub(crate) max_block_bytes: u32,
    pub(crate) detours: Vec<Error>,
    /// What is needed to read row groups; `None` for a table of rows.
    pub(crate) columns: Option<TableColumns>,
}

impl TableLayout {
    /// The head of the file.
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The sections of the file.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What the table says about itself, with local sequence numbers.
    pub const fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Order of the keys.
    pub const fn order(&self) -> &KeyOrder {
        &self.order
    }

    /// The index root.
    pub const fn root(&self) -> &Arc<IndexBlock> {
        &self.root
    }

    /// Range tombstones with effective sequence numbers, ascending by start, then end, then from new to old.
    pub fn range_tombstones(&self) -> &[RangeTombstone] {
        &self.tombstones
    }

    /// What of value logs its entries refer to.
    pub const fn references(&self) -> &ValueReferences {
        &self.references
    }

    /// Length of the file.
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// What failed while the table was opened and was made good from a mirror or by another route. Not empty: the
    /// file is damaged, and can be healed.
    pub fn detours(&self) -> &[Error] {
        &self.detours
    }

    /// Entries of all kinds, without range tombstones.
    pub const fn entries(&self) -> u64 {
        self.properties.counters.entries
    }

    /// Bounds of all effective sequence numbers.
    pub fn seqnos(&self) -> Option<SeqNoBounds> {
        self.properties.effective(self.properties.seqnos)
    }

    /// The codec of most data blocks.
    pub fn codec(&self) -> Codec {
        let census = &self.properties.codecs;
        let counts = [(census.raw, Codec::None), (census.lz4, Codec::Lz4), (census.zstd, Codec::Zstd)];
        counts.into_iter().max_by_key(|(count, _)| *count).map_or(Codec::None, |(_, codec)| codec)
    }

    /// Bytes of memory the opened table takes.
    pub fn memory_len(&self) -> usize {
        size_of::<Self>()
            + self.root.memory_len()
            + self.filters.memory_len()
            + self.tombstones.len() * size_of::<RangeTombstone>()
    }

    /// The newest version of `key` numbered below `before`. Range tombstones are the caller's to apply: they may
    /// cover a key that no entry has, and that the filter therefore denies.
    ///
    /// Allocates nothing and assembles no key; `hash` is that of `key`.
    pub fn get<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        hash: KeyHash,
        key: &[u8],
        before: SeqNo,
    ) -> Result<Option<Found>> {
        if self.spans(key) { self.get_within(source, hash, key, before) } else { Ok(None) }
    }

    /// As [`TableLayout::get`], for a key that is known to lie between the smallest and the largest one.
    #[inline]
    pub fn get_within<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        hash: KeyHash,
        key: &[u8],
        before: SeqNo,
    ) -> Result<Option<Found>> {
        let before = self.local(before);
        if before == SeqNo::ZERO {
            return Ok(None);
        }
        let answer = self.ask_key(source, hash, key);
        let found = match answer {
            FilterAnswer::Absent => None,
            _ => self.find(source, hash, key, before)?,
        };
        source.note_get(answer, found.is_some());
        Ok(found)
    }

    /// The newest version of `key` with a local number below `before`, whatever the filter says.
    fn find<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        hash: KeyHash,
        key: &[u8],
        before: SeqNo,
    ) -> Result<Option<Found>> {
        let Some((_, entry)) = self.locate(source, key, before)? else { return Ok(None) };
        self.find_local_in_rows(&source.rows(entry.into())?, hash, key, before)
    }

    /// Whether `key` lies between the smallest and the largest key of entries.
    fn spans(&self, key: &[u8]) -> bool {
        self.properties.keys.as_ref().is_some_and(|(min, max)| {
            self.order.compare(key, min).is_ge() && self.order.compare(key, max).is_le()
        })
    }

    /// A cursor over the entries.
    pub fn cursor<S: BlockSource>(self: &Arc<Self>, source: S) -> TableCursor<S> {
        TableCursor::new(Arc::clone(self), source)
    }

    /// The block that holds the first entry at or after the point `(key, before)`, and the partition that says so.
    /// `before` is local.
    pub(crate) fn locate<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        key: &[u8],
        before: SeqNo,
    ) -> Result<Option<(Option<Arc<IndexBlock>>, IndexEntry)>> {
        let Some(entry) = reaching(&self.root, &self.order, key, before) else { return Ok(None) };
        if !self.root.is_upper() {
            return Ok(Some((None, entry)));
        }
        let partition = source.index(entry.into())?;
        match reaching(&partition, &self.order, key, before) {
            Some(found) => Ok(Some((Some(partition), found))),
            None => Err(self.disagree("index root")),
        }
    }

    /// Refuses a reference that cannot be right in this file. To be asked before a buffer is allocated for it.
    pub fn check_ref(&self, kind: BlockKind, at: BlockRef) -> Result<()> {
        if kind == BlockKind::DATA && self.is_columnar() {
            return self.check_group(at);
        }
        expect(kind, at).check_handle(self.reader.identity(), self.file_len).map_err(SstError::from)?;
        Ok(())
    }

    /// What entries of the index lead to: data blocks or row groups.
    pub const fn data_kind(&self) -> BlockKind {
        if self.is_columnar() { BlockKind::ROW_GROUP } else { BlockKind::DATA }
    }

    /// A row group takes more than the frame it begins with.
    fn check_group(&self, at: BlockRef) -> Result<()> {
        let Handle { offset, len } = at.handle;
        let is_inside = at.handle.end().is_some_and(|end| end <= self.file_len);
        if is_inside && (FrameHeader::LEN..=GROUP_LEN_MAX as usize).contains(&(len as usize)) {
            return Ok(());
        }
        let (kind, what) = (BlockKind::ROW_GROUP, CorruptionKind::Geometry);
        let at = self.reader.identity().at(offset);
        let (expected, found) = (self.file_len, len.into());
        Err(SstError::from(BlockError::Corrupt { at, kind, what, expected, found }).into())
    }

    /// Checks and parses a data block, or the rows of a row group; `frame` is exactly the bytes of the reference.
    pub fn decode_data(&self, at: BlockRef, frame: &Slice, decoder: &mut Decoder) -> Result<DataBlock> {
        if self.is_columnar() {
            return self.decode_rows(at, frame, decoder);
        }
        let payload = self.open(BlockKind::DATA, at, frame, decoder)?;
        Ok(DataBlock::decode(payload).map_err(|source| self.payload(BlockKind::DATA, at, source))?)
    }

    /// Checks and parses an index partition; `frame` is exactly the bytes of the reference.
    pub fn decode_index(&self, at: BlockRef, frame: &Slice, decoder: &mut Decoder) -> Result<IndexBlock> {
        let kind = BlockKind::INDEX_PARTITION;
        let payload = self.open(kind, at, frame, decoder)?;
        let block = IndexBlock::decode(payload).map_err(|source| self.payload(kind, at, source))?;
        if block.is_upper() || block.entries() == 0 {
            return Err(self.payload(kind, at, PayloadError::field("flags")).into());
        }
        Ok(block)
    }

    /// Checks and parses a filter partition; `frame` is exactly the bytes of the reference.
    ///
    /// It is used from where it lies, fastest when its payload starts at a multiple of 64 bytes.
    pub fn decode_filter(
        &self,
        id: FilterId,
        at: BlockRef,
        frame: &Slice,
        decoder: &mut Decoder,
    ) -> Result<FilterPartition> {
        let kind = id.partition_kind();
        let payload = self.open(kind, at, frame, decoder)?;
        Ok(FilterPartition::decode(id, payload).map_err(|source| self.payload(kind, at, source))?)
    }

    pub(crate) fn open(
        &self,
        kind: BlockKind,
        at: BlockRef,
        frame: &Slice,
        decoder: &mut Decoder,
    ) -> Result<Slice> {
        let opened = self.reader.open(&expect(kind, at), frame, decoder, self.max_block_bytes);
        Ok(checked_encoding(&self.reader, kind, at.handle, opened.map_err(SstError::from)?)?)
    }

    pub(crate) fn payload(&self, kind: BlockKind, at: BlockRef, source: PayloadError) -> SstError {
        SstError::Payload { at: self.reader.identity().at(at.handle.offset), kind, source }
    }

    pub(crate) fn disagree(&self, what: &'static str) -> crate::Error {
        SstError::Disagree { at: self.reader.identity().at(0), what }.into()
    }

    /// The read bound among local numbers.
    #[inline]
    pub(crate) fn local(&self, before: SeqNo) -> SeqNo {
        let local = before.get().saturating_sub(self.properties.global_seqno.get());
        SeqNo::new(local).unwrap_or(SeqNo::LATEST)
    }

    /// The number as the tree counts it.
    #[inline]
    pub(crate) fn effective(&self, local: SeqNo) -> SeqNo {
        local.checked_add(self.properties.global_seqno.get()).unwrap_or(SeqNo::MAX_WRITE)
    }
}

pub(crate) const fn expect(kind: BlockKind, at: BlockRef) -> Expect {
    Expect { kind, ordinal: Some(at.ordinal), handle: at.handle }
}

/// The one frame of a section of the metadata.
pub(crate) fn section_ref(section: &Section) -> BlockRef {
    BlockRef { handle: section.handle(), ordinal: u32::try_from(section.aux).unwrap_or(u32::MAX) }
}

/// The payload of a frame whose encoding this version knows.
pub(crate) fn checked_encoding(
    reader: &FrameReader,
    kind: BlockKind,
    handle: Handle,
    frame: OpenedFrame,
) -> Result<Slice, SstError> {
    if frame.encoding != ENCODING {
        let at = reader.identity().at(handle.offset);
        return Err(BlockError::Unsupported { at, part: Part::Encoding(kind, frame.encoding) }.into());
    }
    Ok(frame.payload)
}
