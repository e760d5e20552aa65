//! Opening a table without doing I/O: a machine that asks for ranges of the file.
//!
//! One read of the tail is enough for an ordinary table. Directory and superblock come through the
//! [`Locator`] and its routes; index root, properties and range tombstones from their mirrors when the copies next
//! to the footer are damaged.
//!
//! After each read the machine goes over all sections again with the bytes it holds: opening is cheap next to
//! reading, and the code stays a straight line.

use alloc::{boxed::Box, string::ToString, sync::Arc, vec::Vec};

use lsm_block::{
    BlockError, BlockKind, ByteRange, Directory, Encryption, Expect, FrameHeader, FrameReader, Handle,
    Located, Locator, LocatorHints, Section, Step,
};
use lsm_codec::Decoder;
use lsm_columnar::Schema;
use lsm_types::{
    CorruptionKind, FileKind, KeyOrder, Location, RangeTombstone, Result, Slice, ValueReferences,
};

use crate::{
    ColumnProperties, FilterId, Splitters, SstError, TableLayout, columnar::TableColumns,
    filter::FilterRoots, index::IndexBlock, layout::checked_encoding, payload::PayloadError,
    properties::Properties, range_tombstones,
};

/// How far apart sections may lie to be read in one go, in bytes.
const SLACK: u64 = 64 << 10;

/// What is known about a table before it is opened, and how it is to be read.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Order of the keys; must be the one the table was written with.
    pub order: KeyOrder,
    /// What is known about the file: its identity, its directory, and how much of its tail to read first
    /// ([`TableSummary::tail_len`](crate::TableSummary::tail_len) reads everything at once).
    pub hints: LocatorHints,
    /// Longest block, in bytes, that will be decompressed; below the cap of its kind.
    pub max_block_bytes: u32,
    /// Where keys come from, and what to make of a table that is not sealed; `None` opens plain tables only.
    pub encryption: Option<Encryption>,
    /// What puts the values of columnar tables together. Without the right one there are keys and columns, and no values.
    pub splitters: Splitters,
}

impl OpenOptions {
    /// Opens any plain table with this order.
    pub fn new(order: KeyOrder) -> Self {
        Self {
            order,
            hints: LocatorHints::default(),
            max_block_bytes: u32::MAX,
            encryption: None,
            splitters: Splitters::default(),
        }
    }
}

/// A table being opened.
#[derive(Debug)]
pub struct OpenSst {
    options: OpenOptions,
    file_len: u64,
    stage: Stage,
    decoder: Decoder,
}

#[derive(Debug)]
enum Stage {
    /// Looking for directory and superblock.
    Locating(Locator),
    /// Reading sections: what was read so far, and what was asked for.
    Reading(Box<Reading>),
}

#[derive(Debug)]
struct Reading {
    located: Located,
    reader: FrameReader,
    windows: Vec<(u64, Slice)>,
    wanted: ByteRange,
}

/// Why one attempt ended early.
enum Stop {
    Need(ByteRange),
    Fail(SstError),
}

impl<E: Into<SstError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.into())
    }
}

type Attempt<T> = core::result::Result<T, Stop>;

impl OpenSst {
    /// Starts to open a file of `file_len` bytes; the range to read first.
    ///
    /// # Errors
    /// `Truncated` for a file too short to be a table.
    pub fn start(file_len: u64, options: OpenOptions) -> Result<(Self, ByteRange)> {
        let (locator, range) = Locator::start(file_len, options.hints)?;
        Ok((Self { options, file_len, stage: Stage::Locating(locator), decoder: Decoder::new() }, range))
    }

    /// Takes the bytes of the range asked for last.
    ///
    /// # Errors
    /// What makes the table unreadable: the error of the primary copy, with that of the mirror behind it.
    pub fn feed(&mut self, bytes: impl Into<Slice>) -> Result<Step<Box<TableLayout>>> {
        match &mut self.stage {
            Stage::Locating(locator) => match locator.feed(bytes.into())? {
                Step::Need(range) => return Ok(Step::Need(range)),
                Step::Done(located) => {
                    let tail = located.tail.clone();
                    let wanted = ByteRange { offset: 0, len: 0 };
                    let reader = located.frame_reader(self.options.encryption.as_ref())?;
                    let windows = Vec::from([tail]);
                    self.stage = Stage::Reading(Box::new(Reading { located, reader, windows, wanted }));
                }
            },
            Stage::Reading(reading) => {
                let Reading { located, windows, wanted, .. } = &mut **reading;
                let bytes = bytes.into();
                let have = bytes.len() as u64;
                if have != wanted.len {
                    let at = located.superblock.identity.at(wanted.offset);
                    return Err(BlockError::Truncated { at, need: wanted.len, have }.into());
                }
                windows.push((wanted.offset, bytes));
            }
        }
        let Stage::Reading(reading) = &mut self.stage else {
            return Err(
                BlockError::NotOurs { at: Location { kind: FileKind::Table, id: 0, offset: 0 } }.into()
            );
        };
        let Reading { located, reader, windows, wanted } = &mut **reading;
        let max_block_bytes = self.options.max_block_bytes;
        let sections = Sections {
            reader: reader.clone(),
            directory: &located.directory,
            windows,
            decoder: &mut self.decoder,
            file_len: self.file_len,
            max_block_bytes,
            detours: located.detours.iter().map(|error| SstError::from(*error)).collect(),
        };
        match assemble(sections, located, &self.options) {
            Ok(layout) => Ok(Step::Done(Box::new(layout))),
            Err(Stop::Need(range)) => {
                *wanted = range;
                Ok(Step::Need(range))
            }
            Err(Stop::Fail(error)) => Err(error.into()),
        }
    }
}

/// Reads all sections and puts the table together.
fn assemble(mut sections: Sections<'_>, located: &Located, options: &OpenOptions) -> Attempt<TableLayout> {
    let superblock = located.superblock.clone();
    let at = superblock.identity.at(0);
    if superblock.identity.kind != FileKind::Table {
        return Err(BlockError::NotOurs { at }.into());
    }
    sections.directory.refuse_unknown(at, is_known)?;
    sections.prefetch()?;
    let properties =
        sections.required(BlockKind::PROPERTIES, |frames| Properties::decode(single(frames)?))?;
    let expected = options.order.comparator().name();
    if properties.comparator != expected {
        let (expected, found) = (expected.to_string(), properties.comparator);
        return Err(SstError::Comparator { at, expected, found }.into());
    }
    let root =
        sections.required(BlockKind::INDEX_ROOT, |frames| IndexBlock::decode(single(frames)?.clone()))?;
    let tombstones =
        sections.load(BlockKind::RANGE_TOMBSTONES, |frames| read_tombstones(frames, &options.order))?;
    let references = sections
        .load(BlockKind::LINKED_VALUE_LOGS, |frames| Ok(ValueReferences::decode(single(frames)?)?))?;
    let columns = match &properties.columns {
        Some(columns) => Some(sections.columns(columns, &options.splitters)?),
        None => None,
    };
    let mut filters = FilterRoots::default();
    if properties.filters.is_usable(FilterId::Keys) {
        filters.keys = sections.filter_root(FilterId::Keys)?;
    }
    if properties.filters.is_usable(FilterId::Prefixes) {
        filters.prefixes = sections.filter_root(FilterId::Prefixes)?;
    }
    let layout = TableLayout {
        superblock,
        directory: located.directory.clone(),
        tombstones: Vec::new(),
        references: references.unwrap_or_default(),
        properties,
        order: options.order.clone(),
        root: Arc::new(root),
        filters,
        reader: sections.reader,
        file_len: sections.file_len,
        max_block_bytes: options.max_block_bytes,
        detours: sections.detours.into_iter().map(Into::into).collect(),
        columns,
    };
    Ok(complete(layout, tombstones.unwrap_or_default())?)
}

/// Sections that are read when a table is opened and lie together.
const META_KINDS: [BlockKind; 5] = [
    BlockKind::INDEX_ROOT,
    BlockKind::PROPERTIES,
    BlockKind::RANGE_TOMBSTONES,
    BlockKind::LINKED_VALUE_LOGS,
    BlockKind::COLUMN_SCHEMA,
];
/// Kinds of blocks that lie in the data region.
const DATA_KINDS: [BlockKind; 4] =
    [BlockKind::DATA, BlockKind::INDEX_PARTITION, BlockKind::ROW_GROUP, BlockKind::COLUMN_PAGE];

/// The sections of a file, each read from its mirror when the primary copy is damaged.
struct Sections<'o> {
    reader: FrameReader,
    directory: &'o Directory,
    windows: &'o [(u64, Slice)],
    decoder: &'o mut Decoder,
    file_len: u64,
    max_block_bytes: u32,
    /// What failed on the way.
    detours: Vec<SstError>,
}

impl Sections<'_> {
    /// Asks for all primary sections in one range when they are not there yet.
    fn prefetch(&self) -> Attempt<()> {
        let sections = || META_KINDS.iter().filter_map(|kind| self.directory.primary(*kind));
        let start = sections().map(|section| section.offset).min().unwrap_or(0);
        let end = sections().map(|section| section.offset + section.len).max().unwrap_or(0);
        let range = ByteRange { offset: start, len: end - start.min(end) };
        // Sections that lie far apart, which only a damaged directory says, are read one by one.
        let wanted: u64 = sections().map(|section| section.len).fold(0, u64::saturating_add);
        let caps: u64 = META_KINDS.iter().map(|kind| u64::from(kind.cap())).sum();
        if range.len > wanted.saturating_add(SLACK) || range.len > caps {
            return Ok(());
        }
        self.bytes(range).map(|_| ())
    }

    /// Reads and parses a section every table has.
    fn required<T>(
        &mut self,
        kind: BlockKind,
        parse: impl Fn(&[Slice]) -> core::result::Result<T, PayloadError>,
    ) -> Attempt<T> {
        let at = self.reader.identity().at(0);
        self.load(kind, parse)?.ok_or(Stop::Fail(SstError::NoSection { at, kind }))
    }

    /// Reads and parses the section of `kind`; `None` when the file has none.
    fn load<T>(
        &mut self,
        kind: BlockKind,
        parse: impl Fn(&[Slice]) -> core::result::Result<T, PayloadError>,
    ) -> Attempt<Option<T>> {
        let directory = self.directory;
        let Some(section) = directory.primary(kind) else { return Ok(None) };
        let primary = match self.try_load(section, &parse) {
            Err(Stop::Fail(error)) => error,
            other => return other.map(Some),
        };
        let Some(mirror) = directory.mirror(kind) else { return Err(Stop::Fail(primary)) };
        match self.try_load(mirror, &parse) {
            Ok(found) => {
                self.detours.push(primary);
                Ok(Some(found))
            }
            Err(Stop::Fail(mirror)) => {
                Err(Stop::Fail(SstError::BothCopies { primary: Box::new(primary), mirror: Box::new(mirror) }))
            }
            Err(need) => Err(need),
        }
    }

    /// What is needed to read the row groups of a table with these properties.
    fn columns(&mut self, properties: &ColumnProperties, splitters: &Splitters) -> Attempt<TableColumns> {
        let Some(id) = &properties.splitter else { return Ok(TableColumns { schema: None, splitter: None }) };
        let schema = self.required(BlockKind::COLUMN_SCHEMA, |frames| {
            let schema = Schema::decode(single(frames)?)?;
            if schema.id() == properties.schema_id {
                Ok(schema)
            } else {
                Err(PayloadError::field("schema id"))
            }
        })?;
        let splitter = splitters.find(id, &schema);
        Ok(TableColumns { schema: Some(Arc::new(schema)), splitter })
    }

    /// The root of a filter; damage means that there is no filter.
    fn filter_root(&mut self, id: FilterId) -> Attempt<Option<IndexBlock>> {
        match self.load(id.root_kind(), |frames| IndexBlock::decode(single(frames)?.clone())) {
            Err(Stop::Fail(error)) => {
                self.detours.push(error);
                Ok(None)
            }
            other => other,
        }
    }

    fn try_load<T>(
        &mut self,
        section: &Section,
        parse: impl Fn(&[Slice]) -> core::result::Result<T, PayloadError>,
    ) -> Attempt<T> {
        let frames = self.frames(section)?;
        let (at, kind) = (self.reader.identity().at(section.offset), section.kind);
        parse(&frames).map_err(|source| Stop::Fail(SstError::Payload { at, kind, source }))
    }

    /// The payloads of a section's frames, which follow each other.
    fn frames(&mut self, section: &Section) -> Attempt<Vec<Slice>> {
        let kind = section.kind;
        let end = section.offset + section.len;
        let geometry = |this: &Self, offset: u64| {
            let (at, what) = (this.reader.identity().at(offset), CorruptionKind::Geometry);
            BlockError::Corrupt { at, kind, what, expected: end, found: offset }
        };
        let mut frames = Vec::new();
        let mut offset = section.offset;
        for idx in 0..section.frames {
            // A section of one frame gives its length away; others have to be walked.
            let len = if section.frames == 1 {
                u32::try_from(section.len).ok()
            } else {
                let head = self.bytes(ByteRange { offset, len: FrameHeader::LEN as u64 })?;
                FrameHeader::decode(self.reader.identity(), offset, kind, &head)?.frame_len()
            };
            let handle = Handle { offset, len: len.ok_or_else(|| geometry(self, offset))? };
            let Some(frame_end) = handle.end().filter(|frame_end| *frame_end <= end) else {
                return Err(geometry(self, offset).into());
            };
            let ordinal = u32::try_from(section.aux).ok().and_then(|first| first.checked_add(idx));
            let ordinal = ordinal.ok_or_else(|| geometry(self, offset))?;
            frames.push(self.frame(&Expect { kind, ordinal: Some(ordinal), handle })?);
            offset = frame_end;
        }
        if offset == end { Ok(frames) } else { Err(geometry(self, offset).into()) }
    }

    /// The payload of the frame that must lie at `expect`.
    fn frame(&mut self, expect: &Expect) -> Attempt<Slice> {
        expect.check_handle(self.reader.identity(), self.file_len)?;
        let Handle { offset, len } = expect.handle;
        let bytes = self.bytes(ByteRange { offset, len: len.into() })?;
        let opened = self.reader.open(expect, &bytes, self.decoder, self.max_block_bytes)?;
        Ok(checked_encoding(&self.reader, expect.kind, expect.handle, opened)?)
    }

    /// The bytes of `range`, or the wish to read them.
    fn bytes(&self, range: ByteRange) -> Attempt<Slice> {
        let part = |(offset, bytes): &(u64, Slice)| {
            let start = usize::try_from(range.offset.checked_sub(*offset)?).ok()?;
            let end = start.checked_add(usize::try_from(range.len).ok()?)?;
            (end <= bytes.len()).then(|| bytes.slice(start..end))
        };
        self.windows.iter().find_map(part).ok_or(Stop::Need(range))
    }
}

/// Kinds of sections this version can read.
fn is_known(kind: BlockKind) -> bool {
    META_KINDS.contains(&kind) || DATA_KINDS.contains(&kind) || kind == BlockKind::SUPERBLOCK_COPY
}

fn single(frames: &[Slice]) -> core::result::Result<&Slice, PayloadError> {
    match frames {
        [frame] => Ok(frame),
        _ => Err(PayloadError::field("frames")),
    }
}

fn read_tombstones(
    frames: &[Slice],
    order: &KeyOrder,
) -> core::result::Result<Vec<RangeTombstone>, PayloadError> {
    let mut all: Vec<RangeTombstone> = Vec::new();
    for payload in frames {
        let block = range_tombstones::decode(payload, order)?;
        if let (Some(last), Some(first)) = (all.last(), block.first())
            && range_tombstones::compare(last, first, order).is_ge()
        {
            return Err(PayloadError::field("order"));
        }
        all.extend(block);
    }
    Ok(all)
}

/// Holds the parts against each other and adds the global number to the tombstones.
fn complete(
    mut layout: TableLayout,
    tombstones: Vec<RangeTombstone>,
) -> core::result::Result<TableLayout, SstError> {
    let at = layout.superblock.identity.at(0);
    let disagree = |what| Err(SstError::Disagree { at, what });
    let counters = &layout.properties.counters;
    if layout.properties.table_id.get() != layout.superblock.identity.file_id {
        return disagree("table id");
    }
    if counters.range_tombstones != tombstones.len() as u64 {
        return disagree("number of range tombstones");
    }
    if layout.references.total().map(|usage| usage.entries) != Ok(counters.indirections) {
        return disagree("number of separated values");
    }
    if layout.root.row_sum() != counters.entries {
        return disagree("number of entries");
    }
    if counters.data_blocks != u64::from(layout.directory.data_frames) {
        return disagree("number of data blocks");
    }
    let effective =
        |tombstone: RangeTombstone| RangeTombstone { seqno: layout.effective(tombstone.seqno), ..tombstone };
    layout.tombstones = tombstones.into_iter().map(effective).collect();
    Ok(layout)
}
