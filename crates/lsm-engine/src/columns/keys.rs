//! The keys of a row group, where they have to be looked at one by one.

use std::{
    cell::{Cell, Ref, RefCell},
    ops::{Bound, Range},
    sync::Arc,
};

use lsm_columnar::{ColumnId, Datum, KeyPage};
use lsm_table::{ColumnPage, TableGroups};
use lsm_types::{Cut, KeyOrder, Result, Slice};

use super::{
    group::{directory, own_page},
    others::{is_above, is_below},
};
use crate::EngineError;

/// The keys of the group that a scan stands on. A search looks at many: the page of the last one stays at hand.
pub(super) struct GroupKeys<'a> {
    groups: &'a TableGroups,
    order: &'a KeyOrder,
    page: RefCell<Option<(usize, Arc<ColumnPage>)>>,
    scratch: Cell<Vec<u8>>,
}

impl<'a> GroupKeys<'a> {
    pub(super) fn new(groups: &'a TableGroups, order: &'a KeyOrder) -> Self {
        Self { groups, order, page: RefCell::new(None), scratch: Cell::default() }
    }

    /// What `look` says of the key of a row of the group.
    fn with<T>(&self, row: usize, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let (part, of_part) = self.part_of(row)?;
        let page = self.page(part)?;
        let row = row - of_part.start;
        let mut scratch = self.scratch.take();
        let found = match page.page().get(page.payload(), row, &mut scratch) {
            Datum::Bytes(key) => look(key),
            _ => look(&[]),
        };
        self.scratch.set(scratch);
        Ok(found)
    }

    /// The part that a row lies in, and its rows.
    fn part_of(&self, row: usize) -> Result<(usize, Range<usize>)> {
        let directory = directory(self.groups)?;
        let part = directory.part_of(u32::try_from(row).unwrap_or(u32::MAX));
        Ok((part, directory.part_rows(part)))
    }

    fn page(&self, part: usize) -> Result<Ref<'_, ColumnPage>> {
        let is_at_hand = self.page.borrow().as_ref().is_some_and(|(at, _)| *at == part);
        if !is_at_hand {
            *self.page.borrow_mut() = Some((part, own_page(self.groups, ColumnId::KEY, part)?));
        }
        let page = Ref::filter_map(self.page.borrow(), |page| page.as_ref().map(|(_, page)| &**page));
        page.map_err(|_| EngineError::Bug { invariant: "a page that was put there is there" }.into())
    }

    /// The key of a row of the group.
    pub(super) fn at(&self, row: usize) -> Result<Slice> {
        self.with(row, Slice::copy_from)
    }

    pub(super) fn count(&self) -> Result<usize> {
        Ok(directory(self.groups)?.head().rows as usize)
    }

    /// Whether no key of the group has two rows.
    pub(super) fn are_distinct(&self) -> Result<bool> {
        let directory = directory(self.groups)?;
        for part in 0..directory.part_count() {
            let page = own_page(self.groups, ColumnId::KEY, part)?;
            if page.page().as_keys().is_none_or(KeyPage::has_repeats) {
                return Ok(false);
            }
            let start = directory.part_rows(part).start;
            if part > 0 && self.at(start - 1)? == self.at(start)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the last key has further versions in the next group, on which `ahead` stands.
    pub(super) fn goes_on_behind(&self, ahead: &TableGroups) -> Result<bool> {
        let last = self.at(self.count()?.saturating_sub(1))?;
        let may_go_on = self.groups.upper().is_none_or(|upper| self.order.compare(upper, &last).is_le());
        if !may_go_on || ahead.group().is_none() {
            return Ok(false);
        }
        let next = GroupKeys::new(ahead, self.order).at(0)?;
        Ok(self.order.compare(&next, &last).is_eq())
    }

    /// Rows whose keys lie within `bounds`, and above the floor of a restricted table; `None` where there are none.
    pub(super) fn within(
        &self,
        (lower, upper): (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<Range<usize>>> {
        let floor = self.groups.floor().map_or(Bound::Unbounded, |floor| Bound::Included(&floor[..]));
        let is_before = |key: &[u8]| is_below(key, lower, self.order) || is_below(key, floor, self.order);
        let is_behind = |key: &[u8]| is_above(key, upper, self.order);
        let count = self.count()?;
        // Mostly all of them are.
        let start =
            if self.with(0, is_before)? { self.first_row(0..count, |key| !is_before(key))? } else { 0 };
        let is_cut = self.with(count.saturating_sub(1), is_behind)?;
        let end = if is_cut { self.first_row(0..count, is_behind)? } else { count };
        Ok((start < end).then_some(start..end))
    }

    /// The first of these rows whose key satisfies `test`, which all behind it do, too; their end where none does.
    pub(super) fn first_row(&self, rows: Range<usize>, test: impl Fn(&[u8]) -> bool) -> Result<usize> {
        let (mut from, mut to) = (rows.start, rows.end);
        while from < to {
            let middle = usize::midpoint(from, to);
            if self.with(middle, &test)? {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        Ok(from)
    }

    /// The first of these rows whose key lies right of `cut`; their end where none does.
    pub(super) fn first_right_of(&self, cut: &Cut, rows: Range<usize>) -> Result<usize> {
        let (key, is_passed) = match cut {
            Cut::Start => return Ok(rows.start),
            Cut::End => return Ok(rows.end),
            Cut::Before(key) => (key, false),
            Cut::After(key) => (key, true),
        };
        let mut at = rows.start;
        while at < rows.end {
            let (part, of_part) = self.part_of(at)?;
            let page = self.page(part)?;
            let Some(keys) = page.page().as_keys() else {
                return Err(EngineError::Bug { invariant: "keys are bundled" }.into());
            };
            let found = of_part.start + keys.lower_bound(page.payload(), self.order, key, |_| is_passed);
            if found < of_part.end {
                return Ok(found.clamp(at, rows.end));
            }
            at = of_part.end;
        }
        Ok(rows.end)
    }
}
