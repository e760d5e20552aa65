//! The end of a table: what is kept once, the mirror copies, the primary copies, the footer.
//!
//! ```text
//! data region | filter root | mirrors: index root, range tombstones, value logs, properties, superblock, directory
//!             | 64 KiB of zeros | the same again, directory last | footer
//! ```

use alloc::{borrow::ToOwned, vec::Vec};

use lsm_block::{
    BlockKind, Footer, Handle, Output, Section, SectionDigest, SectionFlags, Superblock, Tail, TailPart,
    TailPlace,
};
use lsm_codec::Compression;
use lsm_types::{Cut, RangeTombstone, SeqNo, Slice, TableId, ValueReferences};

use super::{ENCODING, TableBuilder, filter_writer::FinishedFilter, open_rows::OpenRows, sink::Scattered};
use crate::{
    ColumnProperties, ExtractorId, FilterId, FilterProperties, Result, SstError,
    properties::{Properties, SeqNoBounds},
    range_tombstones, seqno_bounds,
};

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
    /// What of value logs its entries refer to.
    pub references: ValueReferences,
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
    Tail::GAP + 2 * (root + tombstones + META_BYTES) + Footer::LEN as u64
}

/// Parts of the summary that are known before the metadata is placed.
struct Known {
    root_len: u64,
    filter_bytes: u64,
    filters_given_up: u32,
    properties: Properties,
}

fn single(kind: BlockKind, flags: SectionFlags, payload: Vec<u8>) -> TailPart {
    let payloads = Vec::from([payload]);
    TailPart { kind, encoding: ENCODING, flags, compression: Compression::None, payloads, is_mirrored: true }
}

/// What is known when the last entry is written.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) filters: EndedFilters,
    /// The payload of the index root.
    pub(super) root: Vec<u8>,
    pub(super) sections: Vec<Section>,
    pub(super) columns: Option<EndedColumns>,
}

/// What is known of the columns of a table of row groups.
#[derive(Debug)]
pub(super) struct EndedColumns {
    pub(super) properties: ColumnProperties,
    /// The payload of the section with the schema.
    pub(super) schema: Option<Vec<u8>>,
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
    for scattered in [&sink.data, &sink.pages, &sink.index, &sink.filter, &sink.prefix_filter] {
        sections.extend(scattered_section(scattered, data_end));
    }
    sort_tombstones(builder);
    let filters = EndedFilters {
        properties: describe_filters(builder, &filters),
        bytes: filter_bytes(builder, &filters),
        given_up: filters.iter().map(|filter| u32::from(filter.root.is_none())).sum(),
    };
    let columns = match &builder.block {
        OpenRows::Columns(group) => {
            Some(EndedColumns { properties: group.properties(), schema: group.schema() })
        }
        OpenRows::Rows(_) => None,
    };
    Ok(Body { filters, root, sections, columns })
}

pub(super) fn finish<O: Output>(builder: TableBuilder<O>, body: Body) -> Result<(TableSummary, O)> {
    let Body { filters, root, sections, columns } = body;
    let mut properties = complete_properties(&builder);
    let (columns, schema) = columns.map(|columns| (columns.properties, columns.schema)).unzip();
    properties.columns = columns;
    properties.filters = filters.properties;
    let root_len = builder.sink.frames.raw_frame_len(BlockKind::INDEX_ROOT, root.len());
    let parts = parts(&builder, root, schema.flatten(), &properties);
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
    properties.slice.clone_from(&builder.options.slice);
    properties.taken_over.clone_from(&builder.options.taken_over);
    if let Some(list) = &mut properties.taken_over {
        list.sort_unstable_by_key(|part| part.table);
        list.dedup_by_key(|part| part.table);
    }
    properties.seqnos = builder
        .tombstones
        .iter()
        .fold(properties.point_seqnos, |bounds, tombstone| Some(SeqNoBounds::with(bounds, tombstone.seqno)));
    let sink = &builder.sink;
    let counters = &mut properties.counters;
    counters.range_tombstones = builder.tombstones.len() as u64;
    (counters.data_stored_bytes, counters.data_logical_bytes) = sink.data_bytes();
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

fn parts<O>(
    builder: &TableBuilder<O>,
    root: Vec<u8>,
    schema: Option<Vec<u8>>,
    properties: &Properties,
) -> Vec<TailPart> {
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    let mut parts = Vec::from([
        // The index root can be large: last things first, so that one short read finds all but it.
        single(BlockKind::INDEX_ROOT, SectionFlags::CRITICAL, root),
    ]);
    let payloads = tombstone_payloads(builder);
    if !payloads.is_empty() {
        let len: u64 = payloads.iter().map(|payload| payload.len() as u64).sum();
        parts.push(TailPart {
            kind: BlockKind::RANGE_TOMBSTONES,
            encoding: ENCODING,
            flags: SectionFlags::CRITICAL,
            compression: builder.options.index_compression,
            payloads,
            is_mirrored: len <= MIRRORED_TOMBSTONE_BYTES,
        });
    }
    if !builder.references.is_empty() {
        let mut list = Vec::new();
        builder.references.encode(&mut list);
        parts.push(single(BlockKind::LINKED_VALUE_LOGS, SectionFlags::CRITICAL, list));
    }
    if let Some(schema) = schema {
        parts.push(single(BlockKind::COLUMN_SCHEMA, SectionFlags::CRITICAL, schema));
    }
    parts.push(single(BlockKind::PROPERTIES, SectionFlags::CRITICAL, encoded));
    let superblock = builder.superblock.encode().to_vec();
    parts.push(single(BlockKind::SUPERBLOCK_COPY, SectionFlags::NONE, superblock));
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
    parts: &[TailPart],
    sections: Vec<Section>,
    known: Known,
) -> Result<(TableSummary, O)> {
    let sink = &mut builder.sink;
    let place = TailPlace {
        offset: sink.offset(),
        first_ordinal: sink.next_ordinal(),
        digest: sink.digest.clone(),
        data_frames: sink.data.digest.frames(),
        sections,
    };
    let tail = Tail::build(&mut sink.frames, &builder.superblock, place, parts).map_err(SstError::from)?;
    sink.write(&tail.mirrors)?;
    sink.skip(tail.gap)?;
    let primary_at = sink.offset();
    sink.write(&tail.primaries)?;
    let (file_len, output) = builder.sink.finish()?;
    let summary = TableSummary {
        file_len,
        digest: tail.digest,
        directory: tail.directory,
        tail_len: file_len - primary_at,
        index_bytes: known.properties.counters.index_partition_stored_bytes + known.root_len,
        filter_bytes: known.filter_bytes,
        filters_given_up: known.filters_given_up,
        references: core::mem::take(&mut builder.references),
        properties: known.properties,
    };
    Ok((summary, output))
}

impl Properties {
    /// Bounds with the global number added.
    pub fn effective(&self, local: Option<SeqNoBounds>) -> Option<SeqNoBounds> {
        let add = |seqno: SeqNo| seqno.checked_add(self.global_seqno.get()).unwrap_or(SeqNo::MAX_WRITE);
        local.map(|SeqNoBounds { min, max }| SeqNoBounds { min: add(min), max: add(max) })
    }
}
