//! Views of a table with a lower bound: what is left once a merge in steps has taken over the keys below.
//!
//! Nothing below the bound is answered, and no block that holds only such entries is read: it may be gone. Points below
//! are absent, walks stop at the bound or start there, range tombstones begin there. The block in which the bound lies is
//! filtered entry by entry.

use std::{ops::Bound, sync::Arc};

use lsm_manifest::{Restriction, TableDescriptor};
use lsm_types::{Cut, KeyOrder, RangeTombstone, Result, Slice};

use crate::{
    ReleaseStats, Table,
    filters::TableFilters,
    source::CachedSource,
    table::{Opened, TableInner},
    vector::VectorFile,
};

impl Table {
    /// A view of the same open file, as `descriptor` says what is left of it and which rows are dead.
    ///
    /// To be made of a descriptor that is durable: once no other view holds the bytes in front, they are given back.
    pub fn restricted(&self, descriptor: Arc<TableDescriptor>) -> Self {
        debug_assert_eq!(self.id(), descriptor.id, "views are of one table");
        Self { inner: Arc::new(self.view(descriptor)) }
    }

    /// The same view for a merge that goes through the table once and installs what it has made on the way: it keeps
    /// the file, and none of the bytes in front that others have done with.
    ///
    /// Whoever has it reads nothing below the bound that was last installed.
    #[must_use]
    pub fn passing(&self) -> Self {
        let mut view = self.view(self.descriptor().clone());
        view.is_passing = true;
        view.file.leave(view.descriptor.consumed_bytes());
        Self { inner: Arc::new(view) }
    }

    fn view(&self, descriptor: Arc<TableDescriptor>) -> TableInner {
        let before = &*self.inner;
        let vector = VectorFile::after(before.vector.as_ref(), &before.env, &descriptor);
        let view = TableInner::new(&before.env, (before.file.clone(), vector), descriptor);
        if let Some(Opened { layout, .. }) = before.opened.get() {
            let filters = TableFilters::new(layout, &view.env);
            let _ = view.opened.set(Opened { layout: layout.clone(), filters });
        }
        if let Some(bounds) = before.bounds.get() {
            let _ = view.bounds.set(bounds.clone());
        }
        view
    }

    /// What would be left of the table from `lower` on, told from its index: entries of whole blocks below are not
    /// counted, those of the block in which `lower` lies are.
    ///
    /// # Errors
    /// What opening the table and reading a partition of its index finds.
    pub fn restriction(&self, lower: Slice) -> Result<Restriction> {
        let Opened { layout, filters } = self.inner.opened()?;
        let source = CachedSource { table: &self.inner, layout, filters };
        let (consumed, entries) = layout.consumed_below(&source, &lower)?;
        let max = self.descriptor().entries.as_ref().map(|range| &range.max);
        let is_left = max.is_some_and(|max| self.inner.env.order.compare(&lower, max).is_le());
        let left = layout.entries().saturating_sub(entries).min(self.descriptor().stored_entries());
        let consumed_bytes = consumed.max(self.descriptor().consumed_bytes());
        Ok(Restriction { lower, entries: if is_left { left } else { 0 }, consumed_bytes })
    }

    /// Gives back what every view has done with, as it may not have been before a crash. For the owner of the file,
    /// when it first uses it.
    pub fn release_consumed(&self) {
        self.inner.file.release_again();
    }

    /// What became of the bytes that this view has done with.
    pub fn release_stats(&self) -> ReleaseStats {
        self.inner.file.stats(self.descriptor().consumed_bytes())
    }
}

impl TableInner {
    /// Whether entries with this key do not belong to the table any more.
    #[inline]
    pub(crate) fn is_below_floor(&self, key: &[u8]) -> bool {
        self.floor.as_ref().is_some_and(|floor| self.env.order.compare(key, floor).is_lt())
    }

    /// A lower bound that is not below that of the view.
    pub(crate) fn clamp<'a>(&'a self, lower: Bound<&'a [u8]>) -> Bound<&'a [u8]> {
        match (&self.floor, lower) {
            (Some(floor), Bound::Unbounded) => Bound::Included(floor),
            (Some(floor), Bound::Included(key) | Bound::Excluded(key)) if self.is_below_floor(key) => {
                Bound::Included(floor)
            }
            _ => lower,
        }
    }

    /// The part of a range tombstone that belongs to the view.
    pub(crate) fn clip(&self, tombstone: &RangeTombstone, order: &KeyOrder) -> Option<RangeTombstone> {
        let mut left = tombstone.clone();
        if let Some(floor) = &self.floor {
            let floor = Cut::Before(floor.clone());
            if left.end.compare(&floor, order).is_le() {
                return None;
            }
            if left.start.compare(&floor, order).is_lt() {
                left.start = floor;
            }
        }
        Some(left)
    }
}
