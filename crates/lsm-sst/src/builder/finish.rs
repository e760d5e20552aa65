//! The end of a table: what is kept once, the mirror copies, the primary copies, the footer.
//!
//! ```text
//! data region | filter root | mirrors: index root, range tombstones, properties, superblock, directory
//!             | 64 KiB of zeros | the same again, directory last | footer
//! ```
//!
//! Both directories are the same and list both copies. So all frames are prepared before any is placed: their
//! lengths say where each will lie.

use alloc::{borrow::ToOwned, vec::Vec};

use lsm_block::{
    BlockKind, Directory, Footer, FrameSpec, Handle, Prepared, Section, SectionDigest, SectionFlags,
    Superblock,
};
use lsm_codec::Compression;
use lsm_types::{Cut, RangeTombstone, SeqNo, Slice, TableId};

use super::{
    ENCODING, TableBuilder,
    filter_writer::FinishedFilter,
    sink::{FrameSink, Output, Scattered},
};
use crate::{
    ExtractorId, FilterId, FilterProperties, Result,
    properties::{Properties, SeqNoBounds},
    range_tombstones, seqno_bounds,
};

/// Distance between the mirror copies and the primary ones.
const GAP: u64 = 64 << 10;
/// A block of range tombstones is closed when it may pass this size.
const TOMBSTONE_BLOCK_BYTES: usize = 1 << 20;
/// Range tombstones are mirrored up to this size of their section.
const MIRRORED_TOMBSTONE_BYTES: u64 = 256 << 10;
/// What metadata of a table takes besides index and range tombstones, roughly, per copy.
const META_BYTES: u64 = 2 << 10;

/// What is known about a table that was just written: all a manifest wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSummary {
    /// Length of the file.
    pub file_len: u64,
    /// Digest over all frames of the file.
    pub digest: u64,
    /// Where the directory's frame lies.
    pub directory: Handle,
    /// How much of the file's tail to read to open the table in one go, in bytes.
    pub tail_len: u64,
    /// What the table says about itself, with local sequence numbers.
    pub properties: Properties,
    /// Bytes of index blocks in the file, one copy of the root counted.
    pub index_bytes: u64,
    /// Bytes of all filters in the file, roots and headers included.
    pub filter_bytes: u64,
    /// Filters that were wanted and could not be built: the table has none in their place.
    pub filters_given_up: u32,
}

impl TableSummary {
    /// Smallest and largest user key of entries.
    pub fn keys(&self) -> Option<&(Slice, Slice)> {
        self.properties.keys.as_ref()
    }

    /// What entries and range tombstones span together.
    pub fn extent(&self) -> Option<&(Cut, Cut)> {
        self.properties.extent.as_ref()
    }

    /// Bounds of all effective numbers, range tombstones included.
    pub fn seqnos(&self) -> Option<SeqNoBounds> {
        self.properties.effective(self.properties.seqnos)
    }
}

/// Bytes of the file behind the data region, roughly.
pub(super) fn tail_len(index_len: usize, tombstones: usize) -> u64 {
    let root = index_len as u64;
    let tombstones = tombstones as u64 * 64;
    GAP + 2 * (root + tombstones + META_BYTES) + Footer::LEN as u64
}

/// Parts of the summary that are known before the metadata is placed.
struct Known {
    root_len: u64,
    filter_bytes: u64,
    filters_given_up: u32,
    properties: Properties,
}

/// A section of the metadata: its frames' payloads.
struct Part {
    kind: BlockKind,
    flags: SectionFlags,
    compression: Compression,
    payloads: Vec<Vec<u8>>,
    is_mirrored: bool,
}

impl Part {
    fn single(kind: BlockKind, flags: SectionFlags, payload: Vec<u8>) -> Self {
        let payloads = Vec::from([payload]);
        Self { kind, flags, compression: Compression::None, payloads, is_mirrored: true }
    }
}

/// One copy of the metadata, prepared but for its place.
struct Copy {
    buffer: Vec<u8>,
    frames: Vec<Prepared>,
    /// Frames of each section, in order, and the first one's ordinal.
    sections: Vec<(BlockKind, SectionFlags, usize, u32)>,
}

/// What is known when the last entry is written.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) filters: EndedFilters,
    /// The payload of the index root.
    pub(super) root: Vec<u8>,
    pub(super) sections: Vec<Section>,
}

/// What became of the filters.
#[derive(Debug)]
pub(super) struct EndedFilters {
    pub(super) properties: FilterProperties,
    /// Bytes of all their frames.
    pub(super) bytes: u64,
    pub(super) given_up: u32,
}

/// Writes the ends of filters and index.
pub(super) fn end_body<O: Output>(builder: &mut TableBuilder<O>) -> Result<Body> {
    let filters = finish_filters(builder)?;
    let mut root = Vec::new();
    builder.index.finish(&mut builder.sink, &mut root)?;
    let data_end = builder.sink.offset();
    let mut sections = Vec::new();
    for filter in &filters {
        let (kind, Some(payload)) = (filter.id.root_kind(), &filter.root) else { continue };
        let (mark, ordinal) = builder.sink.append_meta(kind, Compression::None, payload)?;
        let mut digest = SectionDigest::new(mark.handle.offset);
        digest.add(&mark);
        sections.push(Section {
            kind,
            flags: SectionFlags::NONE,
            frames: 1,
            offset: mark.handle.offset,
            len: mark.handle.len.into(),
            digest: digest.value(),
            aux: ordinal.into(),
        });
    }
    sections.extend(write_bounds(builder)?);
    let sink = &builder.sink;
    for scattered in [&sink.data, &sink.index, &sink.filter, &sink.prefix_filter] {
        sections.extend(scattered_section(scattered, data_end));
    }
    sort_tombstones(builder);
    let filters = EndedFilters {
        properties: describe_filters(builder, &filters),
        bytes: filter_bytes(builder, &filters),
        given_up: filters.iter().map(|filter| u32::from(filter.root.is_none())).sum(),
    };
    Ok(Body { filters, root, sections })
}

pub(super) fn finish<O: Output>(builder: TableBuilder<O>, body: Body) -> Result<(TableSummary, O)> {
    let Body { filters, root, sections } = body;
    let mut properties = complete_properties(&builder);
    properties.filters = filters.properties;
    let root_len = builder.sink.frames.raw_frame_len(BlockKind::INDEX_ROOT, root.len());
    let parts = parts(&builder, root, &properties);
    let summary =
        Known { root_len, filter_bytes: filters.bytes, filters_given_up: filters.given_up, properties };
    write_metadata(builder, &parts, sections, summary)
}

/// The bounds of data blocks, a frame for each index block that points to some, one after another.
fn write_bounds<O: Output>(builder: &mut TableBuilder<O>) -> Result<Option<Section>> {
    if builder.bounds.is_empty() {
        return Ok(None);
    }
    let (mut section, mut digest): (Option<Section>, _) = (None, SectionDigest::new(builder.sink.offset()));
    let (mut rest, compression) = (builder.bounds.as_slice(), builder.sink.index_compression);
    for &count in builder.index.entry_counts() {
        let (blocks, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        let mut payload = Vec::new();
        seqno_bounds::encode(blocks, &mut payload);
        let (mark, ordinal) = builder.sink.append_meta(BlockKind::SEQNO_BOUNDS, compression, &payload)?;
        digest.add(&mark);
        let section = section.get_or_insert(Section {
            kind: BlockKind::SEQNO_BOUNDS,
            flags: SectionFlags::NONE,
            frames: 0,
            offset: mark.handle.offset,
            len: 0,
            digest: 0,
            aux: ordinal.into(),
        });
        section.len += u64::from(mark.handle.len);
        (section.frames, section.digest) = (digest.frames(), digest.value());
        rest = others;
    }
    debug_assert!(rest.is_empty(), "every data block has its entry in the index");
    Ok(section)
}

fn finish_filters<O: Output>(builder: &mut TableBuilder<O>) -> Result<Vec<FinishedFilter>> {
    core::mem::take(&mut builder.filter).finish(&builder.last_key, &mut builder.sink)
}

/// Bytes of all frames of filters.
fn filter_bytes<O>(builder: &TableBuilder<O>, filters: &[FinishedFilter]) -> u64 {
    let frame_len = |filter: &FinishedFilter| {
        let root = filter.root.as_ref()?;
        Some(builder.sink.frames.raw_frame_len(filter.id.root_kind(), root.len()))
    };
    let roots: u64 = filters.iter().filter_map(frame_len).sum();
    builder.sink.filter.stored_bytes + builder.sink.prefix_filter.stored_bytes + roots
}

fn scattered_section(scattered: &Scattered, data_end: u64) -> Option<Section> {
    let critical = match scattered.kind {
        BlockKind::FILTER_PARTITION | BlockKind::PREFIX_FILTER_PARTITION => SectionFlags::NONE,
        _ => SectionFlags::CRITICAL,
    };
    (scattered.digest.frames() > 0).then(|| Section {
        kind: scattered.kind,
        flags: critical.with(SectionFlags::INTERLEAVED),
        frames: scattered.digest.frames(),
        offset: Superblock::LEN as u64,
        len: data_end - Superblock::LEN as u64,
        digest: scattered.digest.value(),
        aux: 0,
    })
}

fn sort_tombstones<O>(builder: &mut TableBuilder<O>) {
    let order = builder.options.order.clone();
    builder.tombstones.sort_by(|a, b| range_tombstones::compare(a, b, &order));
    // The same delete twice is one delete.
    builder.tombstones.dedup();
}

fn complete_properties<O: Output>(builder: &TableBuilder<O>) -> Properties {
    let mut properties = builder.properties.clone();
    let superblock = &builder.superblock;
    builder.options.writer.clone_into(&mut properties.writer);
    properties.created = superblock.created;
    properties.table_id = TableId::new(superblock.identity.file_id);
    properties.level = builder.options.level;
    builder.options.order.comparator().name().clone_into(&mut properties.comparator);
    properties.keys = builder.first_key.clone().map(|first| (first, Slice::copy_from(&builder.last_key)));
    properties.extent = builder.extent();
    properties.global_seqno = builder.options.global_seqno;
    properties.inputs.clone_from(&builder.options.inputs);
    properties.inputs.sort_unstable();
    properties.inputs.dedup();
    properties.seqnos = builder
        .tombstones
        .iter()
        .fold(properties.point_seqnos, |bounds, tombstone| Some(SeqNoBounds::with(bounds, tombstone.seqno)));
    let sink = &builder.sink;
    let counters = &mut properties.counters;
    counters.range_tombstones = builder.tombstones.len() as u64;
    counters.data_logical_bytes = sink.data.logical_bytes;
    counters.data_stored_bytes = sink.data.stored_bytes;
    counters.data_blocks = sink.data.digest.frames().into();
    counters.index_partition_logical_bytes = sink.index.logical_bytes;
    counters.index_partition_stored_bytes = sink.index.stored_bytes;
    counters.index_partitions = sink.index.digest.frames().into();
    counters.filter_stored_bytes = sink.filter.stored_bytes;
    counters.filter_partitions = sink.filter.digest.frames().into();
    properties
}

fn describe_filters<O>(builder: &TableBuilder<O>, filters: &[FinishedFilter]) -> FilterProperties {
    let mut properties = FilterProperties::default();
    for filter in filters.iter().filter(|filter| filter.root.is_some()) {
        match filter.id {
            FilterId::Keys => properties.keys = Some(filter.facts),
            FilterId::Prefixes => {
                let extractor = builder.options.prefix_filter.as_ref().map(|options| &options.extractor);
                let sink = &builder.sink.prefix_filter;
                properties.prefixes = Some(filter.facts);
                properties.extractor = extractor.map(|extractor| ExtractorId::of(extractor.as_ref()));
                properties.prefix_stored_bytes = sink.stored_bytes;
                properties.prefix_partitions = sink.digest.frames().into();
                properties.prefix_count = filter.hashes;
            }
        }
    }
    properties
}

fn parts<O>(builder: &TableBuilder<O>, root: Vec<u8>, properties: &Properties) -> Vec<Part> {
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    let mut parts = Vec::from([
        // The index root can be large: last things first, so that one short read finds all but it.
        Part::single(BlockKind::INDEX_ROOT, SectionFlags::CRITICAL, root),
    ]);
    let payloads = tombstone_payloads(builder);
    if !payloads.is_empty() {
        let len: u64 = payloads.iter().map(|payload| payload.len() as u64).sum();
        parts.push(Part {
            kind: BlockKind::RANGE_TOMBSTONES,
            flags: SectionFlags::CRITICAL,
            compression: builder.options.index_compression,
            payloads,
            is_mirrored: len <= MIRRORED_TOMBSTONE_BYTES,
        });
    }
    parts.push(Part::single(BlockKind::PROPERTIES, SectionFlags::CRITICAL, encoded));
    let superblock = builder.superblock.encode().to_vec();
    parts.push(Part::single(BlockKind::SUPERBLOCK_COPY, SectionFlags::NONE, superblock));
    parts
}

fn tombstone_payloads<O>(builder: &TableBuilder<O>) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut rest = builder.tombstones.as_slice();
    while !rest.is_empty() {
        let mut len = 0;
        let mut fits = |tombstone: &RangeTombstone| {
            len += range_tombstones::encoded_len_max(tombstone);
            len <= TOMBSTONE_BLOCK_BYTES
        };
        let count = rest.iter().take_while(|tombstone| fits(tombstone)).count().max(1);
        let (block, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        let mut payload = Vec::new();
        range_tombstones::encode(block, &mut payload);
        payloads.push(payload);
        rest = others;
    }
    payloads
}

fn write_metadata<O: Output>(
    mut builder: TableBuilder<O>,
    parts: &[Part],
    mut sections: Vec<Section>,
    known: Known,
) -> Result<(TableSummary, O)> {
    let sink = &mut builder.sink;
    let mirror = prepare(sink, parts.iter().filter(|part| part.is_mirrored))?;
    let mirror_ordinal = sink.take_ordinal()?;
    let primary = prepare(sink, parts.iter())?;
    let primary_ordinal = sink.take_ordinal()?;

    // From here on every length is known, and with it every place.
    let count = sections.len() + mirror.sections.len() + primary.sections.len();
    let directory_len = sink.frames.raw_frame_len(BlockKind::DIRECTORY, Directory::encoded_len(count));
    let mirror_at = sink.offset();
    let mirror_directory_at = mirror_at + mirror.buffer.len() as u64;
    let primary_at = mirror_directory_at + directory_len + GAP;
    let directory_at = primary_at + primary.buffer.len() as u64;
    describe(&mirror, mirror_at, SectionFlags::MIRROR, &mut sink.digest, &mut sections);
    describe(&primary, primary_at, SectionFlags::NONE, &mut sink.digest, &mut sections);
    let digest = sink.digest.value();
    let mut directory = Directory {
        frames: sink.digest.frames() + 2,
        data_frames: sink.data.digest.frames(),
        file_digest: digest,
        superblock_digest: Superblock::digest_of(&builder.superblock.encode()),
        sections,
    };
    let payload = directory.encode();

    sink.append_prepared(&mirror.frames, mirror.buffer)?;
    let mirror_handle = append_directory(sink, mirror_ordinal, &payload)?;
    debug_assert_eq!(
        mirror_handle.offset, mirror_directory_at,
        "the mirror directory lies where it was told"
    );
    sink.skip(GAP)?;
    sink.append_prepared(&primary.frames, primary.buffer)?;
    let handle = append_directory(sink, primary_ordinal, &payload)?;
    debug_assert_eq!(handle.offset, directory_at, "the directory lies where it was told");
    let footer = Footer {
        directory: handle,
        mirror: Some(mirror_handle),
        version: builder.superblock.version,
        incompat: builder.superblock.features.incompat,
        uuid: builder.superblock.identity.uuid,
    };
    sink.write(&footer.encode())?;

    let (file_len, output) = builder.sink.finish()?;
    let summary = TableSummary {
        file_len,
        digest,
        directory: handle,
        tail_len: file_len - primary_at,
        index_bytes: known.properties.counters.index_partition_stored_bytes + known.root_len,
        filter_bytes: known.filter_bytes,
        filters_given_up: known.filters_given_up,
        properties: known.properties,
    };
    Ok((summary, output))
}

fn prepare<'p, O: Output>(sink: &mut FrameSink<O>, parts: impl Iterator<Item = &'p Part>) -> Result<Copy> {
    let mut copy = Copy { buffer: Vec::new(), frames: Vec::new(), sections: Vec::new() };
    for part in parts {
        let mut first = None;
        for payload in &part.payloads {
            let ordinal = sink.take_ordinal()?;
            first.get_or_insert(ordinal);
            let spec =
                FrameSpec { kind: part.kind, encoding: ENCODING, compression: part.compression, ordinal };
            copy.frames.push(sink.frames.prepare(spec, payload, &mut copy.buffer)?);
        }
        copy.sections.push((part.kind, part.flags, part.payloads.len(), first.unwrap_or_default()));
    }
    Ok(copy)
}

/// Enters the sections of a copy that will lie at `offset`.
fn describe(
    copy: &Copy,
    mut offset: u64,
    role: SectionFlags,
    file_digest: &mut SectionDigest,
    sections: &mut Vec<Section>,
) {
    let mut frames = copy.frames.iter();
    for &(kind, flags, count, ordinal) in &copy.sections {
        let start = offset;
        let mut digest = SectionDigest::new(start);
        for frame in frames.by_ref().take(count) {
            let mark = frame.mark_at(offset);
            digest.add(&mark);
            file_digest.add(&mark);
            offset += u64::from(mark.handle.len);
        }
        sections.push(Section {
            kind,
            flags: flags.with(role),
            frames: digest.frames(),
            offset: start,
            len: offset - start,
            digest: digest.value(),
            aux: ordinal.into(),
        });
    }
}

fn append_directory<O: Output>(sink: &mut FrameSink<O>, ordinal: u32, payload: &[u8]) -> Result<Handle> {
    let mut buffer = Vec::new();
    let spec =
        FrameSpec { kind: BlockKind::DIRECTORY, encoding: ENCODING, compression: Compression::None, ordinal };
    let prepared = sink.frames.prepare(spec, payload, &mut buffer)?;
    let handle = prepared.mark_at(sink.offset()).handle;
    sink.append_prepared(&[prepared], buffer)?;
    Ok(handle)
}

impl Properties {
    /// Bounds with the global number added.
    pub fn effective(&self, local: Option<SeqNoBounds>) -> Option<SeqNoBounds> {
        let add = |seqno: SeqNo| seqno.checked_add(self.global_seqno.get()).unwrap_or(SeqNo::MAX_WRITE);
        local.map(|SeqNoBounds { min, max }| SeqNoBounds { min: add(min), max: add(max) })
    }
}
