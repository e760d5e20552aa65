//! Walks a memtable while it grows.
//!
//! The cursor copies the order of one leaf at a time and walks the copy, so an entry inserted meanwhile is either
//! seen in its place or missed, never seen twice or out of order: leaves are never removed, and what a leaf gives
//! away goes to leaves between it and the neighbour it had when it was copied.

use alloc::sync::Arc;

use lock_api::RawMutex;
use lsm_types::{Cut, EntryCursor, EntryRef, Result, SeqNo};

use crate::{
    Memtable,
    arena::At,
    entry::Entry,
    node::Leaf,
    tree::{Page, Point, View},
};

/// Where a walk starts loading the entries of the coming leaf: late enough that the leaf itself has come, which was
/// asked for one leaf before, and early enough that its entries come in time.
const WARM_RANK: usize = 3;

/// A cursor over the entries of a memtable, kept alive by it. It never fails.
///
/// Entries that were inserted before a seek are seen; those inserted later may be missed until the next seek.
pub struct MemCursor<R> {
    table: Arc<Memtable<R>>,
    stand: Option<Stand>,
}

/// Where the cursor stands: on `entry`, which has `rank` in the copy of a leaf.
#[derive(Clone, Copy)]
struct Stand {
    leaf: At<Leaf>,
    page: Page,
    rank: usize,
    entry: At<Entry>,
}

impl<R: RawMutex> MemCursor<R> {
    pub(crate) const fn new(table: Arc<Memtable<R>>) -> Self {
        Self { table, stand: None }
    }

    fn is_older_than(&self, than: SeqNo) -> bool {
        self.table.highest_seqno().is_some_and(|highest| highest < than)
    }

    /// The memtable it walks.
    pub const fn memtable(&self) -> &Arc<Memtable<R>> {
        &self.table
    }
}

impl Stand {
    /// On `rank` of a page, or on the first entry of the next page that has one.
    fn at_or_after(view: View<'_>, mut leaf: At<Leaf>, mut page: Page, mut rank: usize) -> Option<Self> {
        loop {
            if let Some(entry) = page.get(rank) {
                return Some(Self { leaf, page, rank, entry });
            }
            leaf = page.next?;
            page = view.page(leaf);
            rank = 0;
        }
    }

    /// Just below `rank` of a page, or on the last entry of the page before that has one.
    fn before(view: View<'_>, mut leaf: At<Leaf>, mut page: Page, mut rank: usize) -> Option<Self> {
        loop {
            if let Some(below) = rank.checked_sub(1)
                && let Some(entry) = page.get(below)
            {
                return Some(Self { leaf, page, rank: below, entry });
            }
            (leaf, page) = view.page_before(leaf)?;
            rank = page.len();
        }
    }
}

impl<R: RawMutex> EntryCursor for MemCursor<R> {
    fn seek_first(&mut self) -> Result<()> {
        self.stand = self.table.view().and_then(|view| {
            let leaf = view.first_leaf()?;
            Stand::at_or_after(view, leaf, view.page(leaf), 0)
        });
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand = self.table.view().and_then(|view| {
            let (leaf, page) = view.last_page()?;
            Stand::before(view, leaf, page, page.len())
        });
        Ok(())
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.stand = self.table.view().and_then(|view| {
            let (leaf, page, rank) =
                view.search(Point { key, before }, |spot| (spot.at, view.copy(spot), spot.rank))?;
            Stand::at_or_after(view, leaf, page, rank)
        });
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.stand = self.table.view().and_then(|view| {
            let (leaf, page, rank) =
                view.search(Point { key, before }, |spot| (spot.at, view.copy(spot), spot.rank))?;
            Stand::before(view, leaf, page, rank)
        });
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if let Some(stand) = &mut self.stand {
            stand.rank += 1;
            if let Some(entry) = stand.page.get(stand.rank) {
                stand.entry = entry;
                if stand.rank == WARM_RANK
                    && let Some((view, next)) = self.table.view().zip(stand.page.next)
                {
                    view.warm_leaf(next);
                }
            } else {
                let Stand { leaf, page, rank, .. } = *stand;
                self.stand = self.table.view().and_then(|view| Stand::at_or_after(view, leaf, page, rank));
            }
        }
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if let Some(stand) = &mut self.stand {
            if let Some(rank) = stand.rank.checked_sub(1)
                && let Some(entry) = stand.page.get(rank)
            {
                (stand.rank, stand.entry) = (rank, entry);
                if rank == WARM_RANK
                    && let Some(view) = self.table.view()
                    && let Some(prev) = view.space.node(stand.leaf).prev.load()
                {
                    view.warm_leaf(prev);
                }
            } else {
                let Stand { leaf, page, rank, .. } = *stand;
                self.stand = self.table.view().and_then(|view| Stand::before(view, leaf, page, rank));
            }
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        let stand = self.stand.as_ref()?;
        self.table.view().map(|view| view.space.entry(stand.entry))
    }

    #[inline]
    fn is_newest(&self) -> bool {
        let Some((stand, view)) = self.stand.as_ref().zip(self.table.view()) else { return false };
        let before = stand.rank.checked_sub(1).and_then(|rank| stand.page.get(rank));
        before.is_some_and(|before| view.space.entry(before).key != view.space.entry(stand.entry).key)
    }

    /// Goes to `to` when all numbers in the memtable are smaller than `than`.
    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let skips = self.is_older_than(than)
            && self.entry().is_some_and(|entry| !to.is_left_of(entry.key, self.table.order()));
        if skips {
            match to {
                Cut::Before(key) => self.seek(key, SeqNo::LATEST)?,
                Cut::After(key) => self.seek(key, SeqNo::ZERO)?,
                Cut::Start | Cut::End => self.stand = None,
            }
        }
        Ok(skips)
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let skips = self.is_older_than(than)
            && self.entry().is_some_and(|entry| to.is_left_of(entry.key, self.table.order()));
        if skips {
            match to {
                Cut::Before(key) => self.seek_back(key, SeqNo::LATEST)?,
                Cut::After(key) => self.seek_back(key, SeqNo::ZERO)?,
                Cut::Start | Cut::End => self.stand = None,
            }
        }
        Ok(skips)
    }
}
