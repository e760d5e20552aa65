//! A table of another file, taken over without writing its entries anew (`docs/format/sst.md`).
//!
//! ```text
//! source   superblock | data region, filter roots, bounds | metadata, twice | footer
//! copy     new        | the same frames at the same place | written anew, with the new number
//! ```
//!
//! What points into the body says where a frame lies and what number it has, and both stay; so do filters and index.
//! The head of each frame binds it to its file: it is written for the new one after the frame was checked. A payload is
//! neither decompressed nor hashed again.

use alloc::vec::Vec;

use lsm_block::{
    BlockKind, ByteRange, Expect, FrameHeader, Handle, Output, Section, SectionDigest, SectionFlags,
    Superblock, Transforms, Walk, Walked,
};
use lsm_codec::Decoder;
use lsm_types::{RangeTombstone, ReadAt, SeqNo};

use super::{
    BuildOptions, EndedTable, TableBuilder,
    finish::{Body, EndedColumns, EndedFilters},
};
use crate::{
    Result, SstError, TableLayout,
    layout::section_ref,
    properties::{Properties, SeqNoBounds},
    table::read,
};

/// What is written anew for the new file.
const REWRITTEN: [BlockKind; 6] = [
    BlockKind::COLUMN_SCHEMA,
    BlockKind::INDEX_ROOT,
    BlockKind::RANGE_TOMBSTONES,
    BlockKind::LINKED_VALUE_LOGS,
    BlockKind::PROPERTIES,
    BlockKind::SUPERBLOCK_COPY,
];
/// What stays as it is.
const KEPT: [BlockKind; 9] = [
    BlockKind::DATA,
    BlockKind::ROW_GROUP,
    BlockKind::COLUMN_PAGE,
    BlockKind::INDEX_PARTITION,
    BlockKind::FILTER_PARTITION,
    BlockKind::FILTER_ROOT,
    BlockKind::PREFIX_FILTER_PARTITION,
    BlockKind::PREFIX_FILTER_ROOT,
    BlockKind::SEQNO_BOUNDS,
];

impl<O: Output> EndedTable<O> {
    /// Copies all of a table but its metadata, for another file and another number to be added to its local ones, all
    /// of which are 0.
    ///
    /// * `source`, `file`: the table, which was verified, and its bytes. That they are still the same is checked.
    /// * `superblock`: the new file's. It names the checks of the source, and neither file is sealed.
    /// * `options`: level, order and writer, which are recorded; the rest is as it was.
    /// * `proceed`: asked at every frame.
    ///
    /// # Errors
    /// `Unsupported` for a table that cannot be taken over as it is, `Corruption` for one that changed or is damaged;
    /// errors of `file`, `output` and `proceed`.
    pub fn relocate<R: ReadAt>(
        (source, file): (&TableLayout, &R),
        (superblock, transforms): (Superblock, Transforms),
        options: BuildOptions,
        output: O,
        proceed: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let (body_end, sections) = body(source)?;
        if superblock.sealing.is_some() || source.superblock.checksum != superblock.checksum {
            return Err(not_movable(source, "the new file seals or checks its blocks in another way"));
        }
        let root = index_root(source, file)?;
        let columns = source.properties.columns.clone().map(|properties| {
            let schema = source.columns.as_ref().and_then(|columns| columns.schema.as_deref());
            let schema = schema.map(|schema| {
                let mut out = Vec::new();
                schema.encode(&mut out);
                out
            });
            EndedColumns { properties, schema }
        });
        let mut builder = TableBuilder::with_transforms((superblock, transforms), options, output)?;
        builder.sink.data.kind = source.data_kind();
        copy_frames(&mut builder, source, file, body_end, proceed)?;
        let properties = &source.properties;
        if let Some((first, last)) = &properties.keys {
            builder.first_key = Some(first.clone());
            builder.last_key = last.to_vec();
        }
        let local = |tombstone: &RangeTombstone| RangeTombstone { seqno: SeqNo::ZERO, ..tombstone.clone() };
        builder.tombstones = source.tombstones.iter().map(local).collect();
        builder.references = source.references.clone();
        builder.properties = Properties {
            point_seqnos: properties.point_seqnos,
            counters: properties.counters,
            codecs: properties.codecs,
            ..Properties::default()
        };
        let of_filters = |section: &&Section| {
            [BlockKind::FILTER_ROOT, BlockKind::PREFIX_FILTER_ROOT].contains(&section.kind)
        };
        let roots: u64 = sections.iter().filter(of_filters).map(|section| section.len).sum();
        let filters = EndedFilters {
            properties: properties.filters.clone(),
            bytes: builder.sink.filter.stored_bytes + builder.sink.prefix_filter.stored_bytes + roots,
            given_up: 0,
        };
        Self::with_body(builder, Body { filters, root, sections, columns })
    }
}

impl TableLayout {
    /// Refuses a table that [`EndedTable::relocate`] cannot copy, whatever the new file.
    ///
    /// # Errors
    /// `Unsupported`, naming what stands in the way.
    pub fn check_movable(&self) -> Result<()> {
        body(self).map(drop)
    }
}

fn not_movable(source: &TableLayout, what: &'static str) -> crate::Error {
    SstError::NotMovable { at: source.superblock.identity.at(0), what }.into()
}

/// Where the metadata begins, and the sections before it; refuses what cannot be copied frame by frame.
fn body(source: &TableLayout) -> Result<(u64, Vec<Section>)> {
    let unfit = |what| Err(not_movable(source, what));
    if source.superblock.sealing.is_some() {
        return unfit("it is sealed");
    }
    if !source.superblock.features.may_modify() {
        return unfit("it has features of a later version");
    }
    let zero = SeqNoBounds { min: SeqNo::ZERO, max: SeqNo::ZERO };
    let global = source.properties.global_seqno;
    let is_local_zero = source.properties.point_seqnos.is_none_or(|bounds| bounds == zero)
        && source.tombstones.iter().all(|tombstone| tombstone.seqno == global);
    if !is_local_zero {
        return unfit("its entries have numbers of their own");
    }
    let all = &source.directory.sections;
    if all.iter().any(|section| !REWRITTEN.contains(&section.kind) && !KEPT.contains(&section.kind)) {
        return unfit("it has sections of a later version");
    }
    let metadata = all.iter().filter(|section| REWRITTEN.contains(&section.kind));
    let Some(body_end) = metadata.map(|section| section.offset).min() else {
        return unfit("it has no metadata");
    };
    let kept: Vec<_> = all.iter().filter(|section| KEPT.contains(&section.kind)).copied().collect();
    let is_before = |section: &Section| {
        let end = section.offset.checked_add(section.len);
        !section.flags.has(SectionFlags::MIRROR) && end.is_some_and(|end| end <= body_end)
    };
    if kept.iter().all(is_before) { Ok((body_end, kept)) } else { unfit("its parts lie in another order") }
}

/// The payload of the index root.
fn index_root<R: ReadAt>(source: &TableLayout, file: &R) -> Result<Vec<u8>> {
    let kind = BlockKind::INDEX_ROOT;
    let Some(section) = source.directory.primary(kind) else {
        return Err(SstError::NoSection { at: source.superblock.identity.at(0), kind }.into());
    };
    let at = section_ref(section);
    source.check_ref(kind, at)?;
    let frame = read(file, ByteRange { offset: at.handle.offset, len: at.handle.len.into() })?;
    Ok(source.open(kind, at, &frame, &mut Decoder::new())?.to_vec())
}

/// Copies everything between superblock and metadata. All frames of the file together must have the digest that they
/// had when it was verified.
fn copy_frames<R: ReadAt, O: Output>(
    builder: &mut TableBuilder<O>,
    source: &TableLayout,
    file: &R,
    body_end: u64,
    proceed: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let mut digest = SectionDigest::new(0);
    let mut buffer = Vec::new();
    for step in Walk::file(file, &source.superblock).map_err(SstError::from)? {
        match step.map_err(SstError::from)? {
            Walked::Frame { header, mark } => {
                proceed()?;
                if header.kind != BlockKind::DIRECTORY {
                    digest.add(&mark);
                }
                if mark.handle.offset < body_end {
                    copy_frame(builder, source, file, (&header, mark.handle), &mut buffer)?;
                }
            }
            Walked::Zeros { extent } if extent.start < body_end => {
                builder.sink.skip(extent.end.min(body_end) - extent.start)?;
            }
            Walked::Zeros { .. } => {}
            Walked::BadFrame { why, .. } | Walked::Damaged { why, .. } => {
                return Err(SstError::from(why).into());
            }
        }
    }
    if builder.sink.offset() != body_end {
        return Err(source.disagree("place of the metadata"));
    }
    if digest.value() != source.directory.file_digest {
        return Err(source.disagree("file digest"));
    }
    Ok(())
}

fn copy_frame<R: ReadAt, O: Output>(
    builder: &mut TableBuilder<O>,
    source: &TableLayout,
    file: &R,
    (header, handle): (&FrameHeader, Handle),
    buffer: &mut Vec<u8>,
) -> Result<()> {
    if builder.sink.offset() != handle.offset || !KEPT.contains(&header.kind) {
        return Err(source.disagree("order of its parts"));
    }
    // The walk has held the length against the file and the cap of its kind.
    buffer.resize(handle.len as usize, 0);
    let (offset, len) = (handle.offset, u64::from(handle.len));
    file.read_exact_at(offset, buffer).map_err(|source| SstError::Read { offset, len, source })?;
    let expect = Expect { kind: header.kind, ordinal: Some(header.ordinal), handle };
    builder.sink.append_copied(&source.reader, &expect, header, buffer)
}
