//! Asking the filters of a table.

use core::ops::Bound;

use lsm_types::{KeyHash, SeqNo};

use super::{FilterAnswer, FilterId};
use crate::{BlockRef, BlockSource, TableLayout};

impl TableLayout {
    /// Partitions of a filter; zero when there is no filter, or none that can be used.
    pub fn filter_partitions(&self, id: FilterId) -> usize {
        self.filters.get(id).map_or(0, crate::index::IndexBlock::entries)
    }

    /// Where partition `part` of a filter lies; `None` past the last one.
    pub fn filter_ref(&self, id: FilterId, part: usize) -> Option<BlockRef> {
        Some(self.filters.get(id)?.entry(part)?.into())
    }

    /// What the filter over keys says about `key`; `hash` is that of `key`.
    ///
    /// It speaks of entries alone: a range tombstone can cover a key that no entry has.
    #[inline]
    pub fn ask_key<S: BlockSource + ?Sized>(&self, source: &S, hash: KeyHash, key: &[u8]) -> FilterAnswer {
        match self.filter_part(key) {
            Some(part) => source.ask_filter(FilterId::Keys, part, hash),
            None => FilterAnswer::Unusable,
        }
    }

    /// Which partition of the filter over keys speaks for `key`; `None` without a filter that can be used.
    #[inline]
    pub fn filter_part(&self, key: &[u8]) -> Option<usize> {
        let root = self.filters.keys.as_ref()?;
        Some(match root.entries() {
            1 => 0,
            _ => root.find(&self.order, key, SeqNo::LATEST),
        })
    }

    /// Whether an entry may have a key in a range; `lower` is the start of the range, `hash` that of a prefix.
    ///
    /// The caller makes sure that every key of the range starts with that prefix, in whatever order, and that the
    /// extractor recorded in the table names it for each of them. One partition decides: the first that reaches into
    /// the range. Should there be keys of the range in a later one, the last key of this one lies in the range as well,
    /// and has named the prefix here.
    pub fn ask_prefix<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        hash: KeyHash,
        lower: Bound<&[u8]>,
    ) -> FilterAnswer {
        let Some(root) = &self.filters.prefixes else { return FilterAnswer::Unusable };
        let part = match lower {
            Bound::Unbounded => 0,
            Bound::Included(key) => root.find(&self.order, key, SeqNo::LATEST),
            // No separator of a filter carries a number, so with this bound an equal one counts as below.
            Bound::Excluded(key) => root.find(&self.order, key, SeqNo::ZERO),
        };
        source.ask_filter(FilterId::Prefixes, part, hash)
    }
}
