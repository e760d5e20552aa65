//! Holding the keys of a table against its filters.

use alloc::sync::Arc;

use lsm_types::{Error, KeyHash, PrefixExtractor, SeqNo};

use super::{ExtractorId, FilterAnswer, FilterId, FilterPartition};
use crate::{BlockSource, SstError, TableLayout};

/// Checks that the filters of a table deny no key it holds. The keys are handed in, in order.
pub struct FilterAudit<'a> {
    layout: &'a TableLayout,
    extractor: Option<&'a dyn PrefixExtractor>,
    keys: Walk,
    prefixes: Walk,
}

/// How far the audit of one filter has come.
struct Walk {
    id: FilterId,
    /// Partitions before this one were opened.
    next: usize,
    /// The partition with index `next - 1`; `None` for one that is damaged, or denied a key before.
    open: Option<Arc<FilterPartition>>,
}

impl<'a> FilterAudit<'a> {
    /// An audit of the filters of `layout`. Prefixes are checked when `extractor` is the one recorded.
    pub fn new(layout: &'a TableLayout, extractor: Option<&'a dyn PrefixExtractor>) -> Self {
        let recorded = layout.properties().filters.extractor.as_ref();
        let extractor = extractor.filter(|extractor| recorded == Some(&ExtractorId::of(*extractor)));
        let walk = |id| Walk { id, next: 0, open: None };
        Self { layout, extractor, keys: walk(FilterId::Keys), prefixes: walk(FilterId::Prefixes) }
    }

    /// The same audit of keys from `floor` on: partitions that speak only for keys below may be gone.
    #[must_use]
    pub fn above(mut self, floor: Option<&[u8]>) -> Self {
        let Some(floor) = floor else { return self };
        for walk in [&mut self.keys, &mut self.prefixes] {
            let root = self.layout.filters.get(walk.id);
            walk.next = root.map_or(0, |root| root.find(self.layout.order(), floor, SeqNo::LATEST));
        }
        self
    }

    /// Takes in the next key; what is wrong goes to `report`, once for each partition.
    pub fn key<S: BlockSource + ?Sized>(&mut self, source: &S, key: &[u8], report: &mut dyn FnMut(Error)) {
        self.keys.reach(self.layout, source, key, report);
        self.keys.check(self.layout, KeyHash::of(key), report);
        let Some(extractor) = self.extractor else { return };
        self.prefixes.reach(self.layout, source, key, report);
        extractor.prefixes(key, &mut |prefix| {
            self.prefixes.check(self.layout, KeyHash::of_prefix(prefix), report);
        });
    }

    /// Opens the partitions that no key led to.
    pub fn finish<S: BlockSource + ?Sized>(mut self, source: &S, report: &mut dyn FnMut(Error)) {
        for walk in [&mut self.keys, &mut self.prefixes] {
            let parts = self.layout.filter_partitions(walk.id);
            while walk.next < parts {
                walk.open_next(source, report);
            }
        }
    }
}

impl Walk {
    /// Goes to the partition of `key`.
    fn reach<S: BlockSource + ?Sized>(
        &mut self,
        layout: &TableLayout,
        source: &S,
        key: &[u8],
        report: &mut dyn FnMut(Error),
    ) {
        let Some(root) = layout.filters.get(self.id) else { return };
        let part = root.find(layout.order(), key, SeqNo::LATEST);
        if part >= root.entries() {
            report(layout.disagree("root of a filter"));
            self.open = None;
            return;
        }
        while self.next <= part {
            self.open_next(source, report);
        }
    }

    fn open_next<S: BlockSource + ?Sized>(&mut self, source: &S, report: &mut dyn FnMut(Error)) {
        let opened = source.filter(self.id, self.next);
        self.open = opened.unwrap_or_else(|error| {
            report(error);
            None
        });
        self.next += 1;
    }

    fn check(&mut self, layout: &TableLayout, hash: KeyHash, report: &mut dyn FnMut(Error)) {
        if self.open.as_ref().is_some_and(|open| open.ask(hash) == FilterAnswer::Absent) {
            self.open = None;
            let offset = layout.filter_ref(self.id, self.next - 1).map_or(0, |at| at.handle.offset);
            let at = layout.superblock().identity.at(offset);
            report(SstError::FilterDenies { at }.into());
        }
    }
}

impl core::fmt::Debug for FilterAudit<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FilterAudit").field("next", &self.keys.next).finish_non_exhaustive()
    }
}
