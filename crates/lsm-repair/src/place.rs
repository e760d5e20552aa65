//! From an offset in a table to the part of it that lies there, and to the keys that part answers for.

use std::collections::BTreeMap;

use lsm_block::{BlockKind, Footer, Handle, Superblock};
use lsm_sst::{BlockSource, FilterId, Table, TableLayout, index::IndexBlock};
use lsm_types::{KeyRange, ReadAt, Slice, columns::KeyBuf};

use crate::report::Finding;

/// Name of the head of a file.
const HEAD: &str = "superblock";
/// Name of its last bytes.
const FOOTER: &str = "footer";

/// Says of findings with an offset in which section they are and which keys they concern. Costs a walk over the
/// index, so nobody asks for a sound table.
pub(crate) fn locate<R: ReadAt>(table: &Table<R>, findings: &mut [Finding]) {
    let layout = table.meta();
    let mut places = Places { layout, wanted: BTreeMap::new() };
    for offset in findings.iter().filter_map(|finding| finding.offset) {
        places.wanted.insert(offset, Place { section: section_at(layout, offset), keys: None });
    }
    if places.wanted.is_empty() {
        return;
    }
    places.walk(table.source());
    for finding in findings {
        let Some(place) = finding.offset.and_then(|offset| places.wanted.get(&offset)) else { continue };
        finding.section = finding.section.or(place.section);
        finding.keys = finding.keys.take().or_else(|| place.keys.clone());
    }
}

/// The metadata at an offset; blocks of data lie between each other and are found by the index.
fn section_at(layout: &TableLayout, offset: u64) -> Option<&'static str> {
    if offset < Superblock::LEN as u64 {
        return Some(HEAD);
    }
    if offset >= layout.file_len().saturating_sub(Footer::LEN as u64) {
        return Some(FOOTER);
    }
    let lies = |start: u64, len: u64| start <= offset && offset - start < len;
    let sections = layout.directory().sections.iter();
    let mut found = sections.filter(|section| lies(section.offset, section.len)).map(|section| section.kind);
    match (found.next(), found.next()) {
        (Some(kind), None) => Some(kind.name()),
        _ => None,
    }
}

#[derive(Debug)]
struct Place {
    section: Option<&'static str>,
    keys: Option<KeyRange>,
}

struct Places<'t> {
    layout: &'t TableLayout,
    wanted: BTreeMap<u64, Place>,
}

impl Places<'_> {
    fn walk<S: BlockSource>(&mut self, source: &S) {
        let layout = self.layout;
        for id in FilterId::ALL {
            let parts = (0..layout.filter_partitions(id)).filter_map(|part| layout.filter_ref(id, part));
            for part in parts {
                self.note(part.handle, id.partition_kind(), None);
            }
        }
        let Some((min, max)) = &layout.properties().keys else { return };
        let root = layout.root();
        let mut lower = min.clone();
        for root_idx in 0..root.entries() {
            let upper = self.upper(root, root_idx, max);
            let Some(entry) = root.entry(root_idx) else { continue };
            if root.is_upper() {
                self.note(entry.handle, BlockKind::INDEX_PARTITION, Some((&lower, &upper)));
                if let Ok(partition) = source.index(entry.into()) {
                    self.partition(&partition, lower.clone(), max);
                }
            } else {
                self.note(entry.handle, self.layout.data_kind(), Some((&lower, &upper)));
            }
            lower = upper;
        }
    }

    fn partition(&mut self, partition: &IndexBlock, mut lower: Slice, max: &Slice) {
        for idx in 0..partition.entries() {
            let upper = self.upper(partition, idx, max);
            if let Some(entry) = partition.entry(idx) {
                self.note(entry.handle, self.layout.data_kind(), Some((&lower, &upper)));
            }
            lower = upper;
        }
    }

    /// The largest key that entry `idx` can lead to.
    fn upper(&self, index: &IndexBlock, idx: usize, max: &Slice) -> Slice {
        let mut key = KeyBuf::new();
        index.separator(idx, &mut key);
        let separator = key.as_slice();
        let is_past = self.layout.order().compare(separator, max).is_gt();
        if is_past { max.clone() } else { Slice::copy_from(separator) }
    }

    fn note(&mut self, handle: Handle, kind: BlockKind, keys: Option<(&Slice, &Slice)>) {
        let end = handle.end().unwrap_or(u64::MAX);
        for (_, place) in self.wanted.range_mut(handle.offset..end.max(handle.offset)) {
            place.section = Some(kind.name());
            place.keys = keys.map(|(min, max)| KeyRange { min: min.clone(), max: max.clone() });
        }
    }
}
