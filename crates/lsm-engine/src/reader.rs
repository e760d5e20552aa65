//! What every reader can do: views, and the tree itself for its newest state.

use std::ops::{Bound, RangeBounds};

use lsm_iter::Candidate;
use lsm_types::{KeyOrder, Kind, MergeOperator, Result, SeqNo, Slice};

use crate::{
    ColumnBatches, ColumnScan, Cursor, Entry, Range, Ranges, View,
    get::{self, FoundValue},
    multi_get,
    prefix_scan::owned_bounds,
    separated::value_len,
    super_version::SuperVersion,
    tree::TreeInner,
};

/// Where and at which bound a read looks.
#[derive(Clone, Copy)]
pub struct ReadPoint<'a> {
    pub(crate) view: &'a SuperVersion,
    pub(crate) before: SeqNo,
    pub(crate) order: &'a KeyOrder,
    /// The tree, for reads of its newest state.
    pub(crate) newest: Option<&'a TreeInner>,
    /// Folds operands; without one the newest operand is the value.
    pub(crate) operator: Option<&'a dyn MergeOperator>,
    /// Whether separated values are fetched; otherwise their handles stand for them.
    pub(crate) fetches: bool,
}

impl<'a> ReadPoint<'a> {
    /// The value of `key`.
    fn find(&self, key: &[u8]) -> Result<Option<Candidate<FoundValue<'a>>>> {
        let found = get::resolve(self.view, key, self.before, self.order, self.operator, self.fetches)?;
        match self.newest {
            // A range tombstone or an ingestion came meanwhile, which what was pinned does not show, and perhaps a newer
            // entry after it, which the memtable does show.
            Some(tree) if tree.is_overtaken(self.view) => self.find_again(tree, key),
            _ => Ok(found),
        }
    }

    #[cold]
    fn find_again(&self, tree: &TreeInner, key: &[u8]) -> Result<Option<Candidate<FoundValue<'a>>>> {
        loop {
            let view = tree.current.load_full();
            let found = get::resolve(&view, key, self.before, self.order, self.operator, self.fetches)?;
            if !tree.is_overtaken(&view) {
                return Ok(found.map(|found| Candidate {
                    seqno: found.seqno,
                    kind: found.kind,
                    value: found.value.into_owned(),
                }));
            }
        }
    }

    /// The values of `keys`, all as one view shows them.
    fn find_all<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Slice>>> {
        let Some(tree) = self.newest else { return multi_get::read_all(self, keys) };
        loop {
            let before = tree.visible_end();
            let view = tree.current.load();
            // As for a view of the tree: what lies below the bound is in what was pinned.
            if before == tree.visible_end() {
                return multi_get::read_all(&ReadPoint { view: &view, before, newest: None, ..*self }, keys);
            }
        }
    }

    /// The same for callers that need a value's length at most.
    fn without_fetching(self) -> Self {
        Self { fetches: false, ..self }
    }

    /// The same for callers that do not need the value: operands are not folded, the newest stands for them.
    fn without_folding(self) -> Self {
        Self { operator: None, fetches: false, ..self }
    }
}

/// A value that keeps the buffer it lies in alive, however long that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    value: Slice,
    shared: bool,
}

impl Pinned {
    /// Whether the value shares its block; otherwise it was copied.
    pub fn is_pinned(&self) -> bool {
        self.shared
    }

    /// The value, not copied.
    pub fn into_slice(self) -> Slice {
        self.value
    }
}

impl std::ops::Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.value
    }
}

/// Reads, the same for a [`View`] and for the newest state of a [`crate::Tree`].
///
/// Keys that may not be written are simply not there. Where a key has merge operands, what returns its value fails with
/// `MergeFailed` when the tree's operator does; other keys are not concerned.
pub trait Reader {
    /// Calls `read` with what the read looks at.
    ///
    /// A second time when the first failed because a file is gone, and there is something newer to look at.
    fn with_read_point<T>(&self, read: impl FnMut(ReadPoint<'_>) -> Result<T>) -> Result<T>;

    /// A view that sees what this reader sees now.
    fn to_view(&self) -> View;

    /// The value of `key`, shared with its block where there is one.
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        let key = key.as_ref();
        self.with_read_point(|point| Ok(point.find(key)?.map(|found| found.value.into_slice())))
    }

    /// The value of `key`, and whether it shares its block.
    fn get_pinned(&self, key: impl AsRef<[u8]>) -> Result<Option<Pinned>> {
        let key = key.as_ref();
        self.with_read_point(|point| {
            Ok(point
                .find(key)?
                .map(|found| Pinned { shared: found.value.is_shared(), value: found.value.into_slice() }))
        })
    }

    /// What `read` makes of the value of `key`, which is only borrowed.
    fn get_with<T>(&self, key: impl AsRef<[u8]>, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let key = key.as_ref();
        let mut read = Some(read);
        self.with_read_point(|point| {
            let found = point.find(key)?;
            Ok(found.and_then(|found| read.take().map(|read| read(found.value.as_bytes()))))
        })
    }

    /// Replaces the content of `out` by the value of `key`; `false`, and `out` empty, when there is none.
    fn get_into(&self, key: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Result<bool> {
        out.clear();
        Ok(self.get_with(key, |value| out.extend_from_slice(value))?.is_some())
    }

    /// The values of `keys`, in their order, all from one view; the same as a [`Reader::get`] for each through it.
    ///
    /// Blocks that are not in memory are read together, each once, neighbours in one read; separated values likewise. Keys may repeat and stand in
    /// any order; ascending ones take the least work.
    ///
    /// # Errors
    /// That of the first key that has one. [`Tree::start_multi_get`](crate::Tree::start_multi_get) tells what came of
    /// each.
    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Slice>>> {
        self.with_read_point(|point| point.find_all(keys))
    }

    /// Whether `key` has a value. Nothing is folded for the answer.
    fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.with_read_point(|point| Ok(point.without_folding().find(key)?.is_some()))
    }

    /// Length of the value of `key`, in bytes. A separated value is not fetched for it.
    fn size_of(&self, key: impl AsRef<[u8]>) -> Result<Option<usize>> {
        let key = key.as_ref();
        self.with_read_point(|point| {
            let found = point.without_fetching().find(key)?;
            found.map(|found| value_len(key, found.kind, found.value.as_bytes())).transpose()
        })
    }

    /// Kind and number of the newest entry of `key`, when that is a value or an operand.
    fn entry_info(&self, key: impl AsRef<[u8]>) -> Result<Option<(Kind, SeqNo)>> {
        let key = key.as_ref();
        self.with_read_point(|point| {
            let found = point.without_folding().find(key)?;
            // Where a value lies is nobody's business.
            let kind = |kind| if kind == Kind::Indirection { Kind::Put } else { kind };
            Ok(found.map(|found| (kind(found.kind), found.seqno)))
        })
    }

    /// Entries of keys within `bounds`, in key order from either end.
    ///
    /// Inverted or empty bounds give an empty iterator. The iterator owns its view.
    fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        Range::new(&self.to_view(), owned_bounds(&bounds))
    }

    /// All entries, in key order from either end.
    fn iter(&self) -> Range {
        Range::new(&self.to_view(), (Bound::Unbounded, Bound::Unbounded))
    }

    /// Entries of the keys that start with `prefix`, in key order from either end; all for an empty prefix.
    fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        Range::prefix(&self.to_view(), prefix.as_ref())
    }

    /// A cursor over the entries of keys within `bounds`, standing on none. It owns its view.
    ///
    /// # Errors
    /// None: nothing is read before the first jump.
    fn cursor<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Cursor> {
        Ok(Cursor::new(self.to_view(), owned_bounds(&bounds)))
    }

    /// The entries of many ranges, one range after the other, through one cursor. The iterator owns its view.
    ///
    /// A range is asked for when the one before is at its end. Ascending ranges that do not overlap are the fast case.
    fn ranges<K, B, I>(&self, ranges: I) -> Ranges<I::IntoIter, K>
    where
        K: AsRef<[u8]>,
        B: RangeBounds<K>,
        I: IntoIterator<Item = B>,
    {
        Ranges::new(self.to_view(), ranges.into_iter())
    }

    /// Columns of the rows of a range, in batches; see [`ColumnScan`]. The iterator owns its view.
    ///
    /// # Errors
    /// `InvalidArgument` for a tree without columns, for a column or a value that the schema does not have, and for a
    /// batch of no rows or too many.
    fn scan_columns(&self, scan: &ColumnScan<'_>) -> Result<ColumnBatches> {
        ColumnBatches::new(&self.to_view(), scan)
    }

    /// The entry with the smallest key.
    fn first(&self) -> Result<Option<Entry>> {
        self.iter().next().transpose()
    }

    /// The entry with the largest key.
    fn last(&self) -> Result<Option<Entry>> {
        self.iter().next_back().transpose()
    }

    /// Whether there is no entry; looks no further than the first one.
    fn is_empty(&self) -> Result<bool> {
        self.iter().holds_nothing()
    }

    /// Whether any key starts with `prefix`; looks no further than the first one.
    fn contains_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<bool> {
        Ok(!self.prefix(prefix).holds_nothing()?)
    }

    /// Number of entries, by a walk over all keys. [`Range::count_keys`] counts those of a range.
    fn count(&self) -> Result<u64> {
        self.iter().count_keys()
    }
}
