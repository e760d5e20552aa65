//! What the manifest says about a table, taken from the table: when it is written, and when the manifest is lost.

use std::path::Path;

use lsm_block::{BlockKind, Encryption, Footer, Handle, Superblock};
use lsm_fs::{Fs, OpenOptions};
use lsm_manifest::{Census, Counts, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor};
use lsm_sst::{OpenSst, SlicePart, Step, TableLayout, TableSummary, TakenOver};
use lsm_types::{
    Cut, ErrorKind, FileUuid, KeyOrder, Level, Location, ReadAt, Result, RouteId, SeqNo, TableId, TreeId,
};

/// A table that was found, with what it says about itself.
#[derive(Clone, Debug)]
pub struct FoundTable {
    /// What a manifest would say about it.
    pub descriptor: TableDescriptor,
    /// The database it belongs to.
    pub database: FileUuid,
    /// The tree it belongs to.
    pub tree: TreeId,
    /// Name of the comparator that orders it.
    pub comparator: String,
    /// Level it was written for.
    pub level: Level,
    /// Tables that it was made from, together with others that name the same ones; empty for a flush.
    pub inputs: Vec<TableId>,
    /// The slice of a merge that it belongs to.
    pub slice: Option<SlicePart>,
    /// Tables of which a part was taken over when this one was begun; `None` when there were too many to name.
    pub taken_over: Option<Vec<TakenOver>>,
}

/// Opens the file at `path` knowing nothing about it but the orders it may have and where its key comes from.
///
/// # Errors
/// `ComparatorMismatch` when it has none of the orders; what is wrong with its key; damage; what the system says.
pub fn read_table(
    fs: &dyn Fs,
    path: &Path,
    orders: &[KeyOrder],
    encryption: Option<&Encryption>,
) -> Result<FoundTable> {
    let file = fs.open(path, &OpenOptions::READ)?;
    let file_len = lsm_fs::FsFile::len(file.as_ref())?;
    let read = |offset: u64, len: u64| -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        ReadAt::read_exact_at(file.as_ref(), offset, &mut bytes)?;
        Ok(bytes)
    };
    let mut refused = None;
    for order in orders {
        match open(file_len, order, encryption, read) {
            Ok(layout) => {
                let footer_len = Footer::LEN as u64;
                let at = layout.superblock().identity.at(file_len.saturating_sub(footer_len));
                let footer = Footer::decode(at, &read(at.offset, footer_len)?);
                // Without it the directory is found by another route, as it was now.
                return Ok(found(&layout, footer.ok().map(|footer| footer.directory)));
            }
            Err(error) if error.kind() == ErrorKind::ComparatorMismatch => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    let nowhere = Location { kind: lsm_types::FileKind::Table, id: 0, offset: 0 };
    Err(refused.unwrap_or_else(|| lsm_block::BlockError::NotOurs { at: nowhere }.into()))
}

fn open(
    file_len: u64,
    order: &KeyOrder,
    encryption: Option<&Encryption>,
    read: impl Fn(u64, u64) -> Result<Vec<u8>>,
) -> Result<Box<TableLayout>> {
    let options =
        lsm_sst::OpenOptions { encryption: encryption.cloned(), ..lsm_sst::OpenOptions::new(order.clone()) };
    let (mut opening, mut range) = OpenSst::start(file_len, options)?;
    loop {
        match opening.feed(read(range.offset, range.len)?)? {
            Step::Need(next) => range = next,
            Step::Done(layout) => return Ok(layout),
        }
    }
}

fn found(layout: &TableLayout, directory: Option<Handle>) -> FoundTable {
    let properties = layout.properties().clone();
    let identity = layout.superblock().identity;
    let sections = &layout.directory().sections;
    let root = sections.iter().find(|section| section.kind == BlockKind::INDEX_ROOT);
    let index_bytes =
        properties.counters.index_partition_stored_bytes + root.map_or(0, |section| section.len);
    let (comparator, level) = (properties.comparator.clone(), properties.level);
    let (inputs, slice, taken_over) =
        (properties.inputs.clone(), properties.slice.clone(), properties.taken_over.clone());
    let summary = TableSummary {
        file_len: layout.file_len(),
        digest: layout.directory().file_digest,
        directory: directory.unwrap_or_default(),
        tail_len: 0,
        index_bytes,
        filter_bytes: properties.counters.filter_stored_bytes,
        filters_given_up: 0,
        references: layout.references().clone(),
        properties,
    };
    FoundTable {
        descriptor: describe(layout.superblock(), &summary),
        database: identity.database,
        tree: identity.tree,
        comparator,
        level,
        inputs,
        slice,
        taken_over,
    }
}

/// What the manifest will say about a finished table.
pub(crate) fn describe(superblock: &Superblock, summary: &TableSummary) -> TableDescriptor {
    let properties = &summary.properties;
    let counters = &properties.counters;
    let (coverage_start, coverage_end) = summary.extent().cloned().unwrap_or((Cut::Start, Cut::End));
    let range = |bounds: lsm_sst::properties::SeqNoBounds| SeqNoRange { min: bounds.min, max: bounds.max };
    TableDescriptor {
        id: TableId::new(superblock.identity.file_id),
        uuid: superblock.identity.uuid,
        file_len: summary.file_len,
        digest: summary.digest,
        format: (superblock.version.major, superblock.version.minor),
        features: superblock.features.incompat,
        key_id: superblock.sealing.as_ref().map_or(0, |sealing| sealing.key.get()),
        created_at: superblock.created,
        created_edit: superblock.edit_index,
        entries: summary.keys().map(|(min, max)| lsm_types::KeyRange { min: min.clone(), max: max.clone() }),
        coverage_start,
        coverage_end,
        seqnos: summary.seqnos().map_or(SeqNoRange { min: SeqNo::ZERO, max: SeqNo::ZERO }, range),
        point_seqnos: properties.effective(properties.point_seqnos).map(range),
        counts: Counts {
            entries: counters.entries,
            tombstones: counters.tombstones,
            weak_tombstones: counters.weak_tombstones,
            reclaimable_weak_tombstones: counters.reclaimable_weak_tombstones,
            operands: counters.merge_operands,
            indirections: counters.indirections,
            range_tombstones: counters.range_tombstones,
        },
        sizes: Sizes {
            data: counters.data_stored_bytes,
            index: summary.index_bytes,
            filter: summary.filter_bytes,
            raw_keys: counters.raw_key_bytes,
            raw_values: counters.raw_value_bytes,
        },
        census: Census {
            raw: properties.codecs.raw,
            lz4: properties.codecs.lz4,
            zstd: properties.codecs.zstd,
        },
        directory: DirectoryHandle { offset: summary.directory.offset, len: summary.directory.len },
        tail_len: u32::try_from(summary.tail_len).unwrap_or(u32::MAX),
        filter_kind: u8::from(properties.filters.keys.is_some()),
        global_seqno: properties.global_seqno,
        references: summary.references.clone(),
        restriction: None,
        vector: None,
        route: RouteId::PRIMARY,
    }
}
