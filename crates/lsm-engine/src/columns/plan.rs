//! Which keys of a scan are read as row groups, and which as rows (F-117).
//!
//! The groups of one run, the largest, are looked at one after the other. A group is read by columns when nothing else can
//! have a say in what is visible of it: no other run and no memtable has an entry between its first and its last key, every
//! row is a value, older than the view, split, and the only version of its key. What range tombstones hide of it, and what
//! the delete vector of its table says is dead, is taken out of what is selected. A group whose zones rule the predicate out is passed over without a look at its pages when nothing else has an entry where its keys lie:
//! whatever version is visible there, it is one of the group's. Everything else goes the way through rows, neighbours
//! in one piece.

use std::ops::{Bound, Range};

use lsm_columnar::{Bitmap, BoundPredicate, ColumnId, Datum, ZoneAnswer};
use lsm_table::{ReadMode, Table, TableGroups, TableList};
use lsm_types::{KeyOrder, Result, SeqNo, Slice};

use super::{
    ColumnPolicy,
    group::{GroupRows, ask_zones, directory, has_values_only, is_split, own_page},
    others::{Others, is_above, is_below},
};
use crate::{
    View,
    prefix_scan::Bounds,
    super_version::{ReadRun, TableSpot},
};

/// The next keys of a scan, and how they are read.
pub(super) enum Piece {
    /// As rows.
    Rows(Bounds),
    /// As the group that the plan stands on.
    Group(GroupRows),
    End,
}

/// Goes through the groups of one run.
pub(super) struct Plan {
    view: View,
    policy: ColumnPolicy,
    order: KeyOrder,
    run: ReadRun,
    others: Others,
    /// What has not been given out yet begins here.
    from: Bound<Slice>,
    upper: Bound<Slice>,
    /// The table that comes next.
    next_table: Option<TableSpot>,
    open: Option<OpenTable>,
    /// Comes behind the rows before it.
    held: Option<(GroupRows, Slice)>,
    is_done: bool,
}

struct OpenTable {
    table: Table,
    groups: TableGroups,
    /// One group further on.
    ahead: TableGroups,
    /// Whether its values were split by one of the policy's splitters, and all its numbers are visible.
    is_plain: bool,
}

/// What is to be made of a group.
enum Verdict {
    /// No row of it is wanted: keys from the first to the last are dealt with.
    Pass {
        first: Slice,
        last: Slice,
    },
    /// It is read by columns.
    Columns {
        rows: GroupRows,
        first: Slice,
        last: Slice,
    },
    /// None of its keys lies within the bounds.
    Outside,
    Rows,
}

impl Plan {
    /// A plan for a scan from the first key of `bounds` to the last; `None` where no run is worth one.
    pub(super) fn new(view: &View, policy: &ColumnPolicy, bounds: &Bounds) -> Option<Self> {
        let (pinned, order) = (&view.pinned, &view.tree.order);
        if pinned.overlay.is_some() {
            return None;
        }
        let bytes = |run: &ReadRun| {
            let within = run.tables().filter(|table| reaches(table, bounds, order));
            within.map(|table| table.descriptor().file_len).fold(0, u64::saturating_add)
        };
        let runs = pinned.runs.iter().enumerate().filter(|(_, run)| run.has_entries);
        let sizes = runs.map(|(at, run)| (bytes(run), at)).filter(|(bytes, _)| *bytes > 0);
        let (_, base) = sizes.max()?;
        let run = pinned.runs.get(base)?.clone();
        let next_table = match &bounds.0 {
            Bound::Unbounded => run.first(),
            Bound::Included(key) | Bound::Excluded(key) => run.first_reaching(key, order),
        };
        Some(Self {
            others: Others::new(view, base),
            view: view.clone(),
            policy: policy.clone(),
            order: order.clone(),
            run,
            from: bounds.0.clone(),
            upper: bounds.1.clone(),
            next_table,
            open: None,
            held: None,
            is_done: false,
        })
    }

    /// The groups of the table that the plan stands in.
    pub(super) fn groups(&self) -> Option<&TableGroups> {
        self.open.as_ref().map(|open| &open.groups)
    }

    /// What comes next.
    pub(super) fn next(&mut self, predicate: Option<&BoundPredicate>) -> Result<Piece> {
        if let Some((rows, last)) = self.held.take() {
            self.from = Bound::Excluded(last);
            return Ok(Piece::Group(rows));
        }
        if self.is_done {
            return Ok(Piece::End);
        }
        // Whether something from `from` on has to be read as rows.
        let mut has_rows = false;
        while self.next_group(&mut has_rows)? {
            match self.judge(predicate)? {
                Verdict::Outside => {}
                Verdict::Rows => has_rows = true,
                Verdict::Pass { first, last } => {
                    let before = (self.from.clone(), Bound::Included(first.clone()));
                    let is_one_key = self.order.compare(&first, &last).is_eq();
                    let has_rows =
                        has_rows || self.others.have(bound(&self.from), Bound::Excluded(&first))?;
                    if !has_rows {
                        // Older versions of a key that was dealt with bring it back no more.
                        if !is_below(&last, bound(&self.from), &self.order) {
                            self.from = Bound::Included(last);
                        }
                        continue;
                    }
                    self.from = if is_one_key { Bound::Excluded(last) } else { Bound::Included(last) };
                    return Ok(Piece::Rows(before));
                }
                Verdict::Columns { rows, first, last } => {
                    if has_rows || self.others.have(bound(&self.from), Bound::Excluded(&first))? {
                        self.held = Some((rows, last));
                        return Ok(Piece::Rows((self.from.clone(), Bound::Excluded(first))));
                    }
                    self.from = Bound::Excluded(last);
                    return Ok(Piece::Group(rows));
                }
            }
        }
        self.is_done = true;
        if has_rows || self.others.have(bound(&self.from), bound(&self.upper))? {
            return Ok(Piece::Rows((self.from.clone(), self.upper.clone())));
        }
        Ok(Piece::End)
    }

    /// Goes to the next group, in this table or the next columnar one; notes tables of rows on the way.
    fn next_group(&mut self, has_rows: &mut bool) -> Result<bool> {
        loop {
            let last = match &self.upper {
                Bound::Included(upper) | Bound::Excluded(upper) => Some(&upper[..]),
                Bound::Unbounded => None,
            };
            if let Some(open) = &mut self.open {
                if open.groups.next_group(last)? {
                    open.ahead.next_group(None)?;
                    return Ok(true);
                }
                self.open = None;
            }
            let Some(spot) = self.next_table else { return Ok(false) };
            let Some(table) = self.run.table(spot).cloned() else { return Ok(false) };
            if table.min_key().is_some_and(|min| is_above(min, bound(&self.upper), &self.order)) {
                self.next_table = None;
                return Ok(false);
            }
            self.next_table = self.run.after(spot);
            if table.is_columnar()? {
                self.open = Some(self.enter(table)?);
            } else {
                *has_rows = true;
            }
        }
    }

    /// Opens a table at its first group that may lie within the bounds.
    fn enter(&self, table: Table) -> Result<OpenTable> {
        let start = || {
            let mut groups = table.groups(ReadMode::SCAN)?;
            if let Bound::Included(key) | Bound::Excluded(key) = &self.from {
                groups.seek(key)?;
            }
            Ok::<_, lsm_types::Error>(groups)
        };
        let (groups, mut ahead) = (start()?, start()?);
        ahead.next_group(None)?;
        let is_plain = self.is_plain(&table)?;
        Ok(OpenTable { table, groups, ahead, is_plain })
    }

    fn is_plain(&self, table: &Table) -> Result<bool> {
        let layout = table.layout()?;
        let columns = layout.properties().columns.as_ref();
        let Some((schema, splitter)) =
            columns.and_then(|columns| Some((columns.schema_id, columns.splitter.as_ref()?)))
        else {
            return Ok(false);
        };
        Ok(self.policy.splitters().any(|known| {
            known.schema().id() == schema
                && known.name() == splitter.name
                && known.version() == splitter.version
        }))
    }

    /// What is to be made of the group that the plan stands on.
    fn judge(&mut self, predicate: Option<&BoundPredicate>) -> Result<Verdict> {
        let Some(open) = &self.open else { return Ok(Verdict::Rows) };
        if !open.is_plain || !is_split(&open.groups)? {
            return Ok(Verdict::Rows);
        }
        let answer = ask_zones(&open.groups, predicate)?;
        if answer == ZoneAnswer::None {
            return self.judge_unwanted();
        }
        let is_visible = open.table.is_older_than(self.view.before);
        if !is_visible || !has_values_only(&open.groups)? {
            return Ok(Verdict::Rows);
        }
        let open_bounds = (bound(&self.from), bound(&self.upper));
        let keys = GroupKeys { groups: &open.groups, order: &self.order };
        if !keys.are_distinct()? || keys.goes_on_behind(&open.ahead)? {
            return Ok(Verdict::Rows);
        }
        let Some(rows) = keys.within(open_bounds)? else { return Ok(Verdict::Outside) };
        let (first, last) = (keys.at(rows.start)?, keys.at(rows.end - 1)?);
        let is_again = open.groups.lower().is_some_and(|lower| self.order.compare(lower, &first).is_eq());
        if is_again {
            return Ok(Verdict::Rows);
        }
        if self.others.have(Bound::Included(&first), Bound::Included(&last))? {
            return Ok(Verdict::Rows);
        }
        let hidden = self.hidden(open, rows.clone())?;
        open.table.note_walked(rows.len());
        let rows = GroupRows::new(rows, hidden, answer == ZoneAnswer::All);
        Ok(Verdict::Columns { rows, first, last })
    }

    /// Which of these rows of a group deletes of ranges hide.
    fn hidden(&self, open: &OpenTable, rows: Range<usize>) -> Result<Option<Bitmap>> {
        let (pinned, before) = (&self.view.pinned, self.view.before);
        if !pinned.has_deletes() {
            return Ok(None);
        }
        pinned.load_deletes()?;
        let keys = GroupKeys { groups: &open.groups, order: &self.order };
        let mut hidden: Option<Bitmap> = None;
        let mut at = rows.start;
        while at < rows.end {
            let stretch = pinned.stretch(&keys.at(at)?, before, &self.order);
            let end = keys.first_row(at + 1..rows.end, |key| stretch.end.is_left_of(key, &self.order))?;
            if let Some(newest) = stretch.newest {
                let hidden = match &mut hidden {
                    Some(hidden) => hidden,
                    None => hidden.insert(Bitmap::none(keys.count()?)),
                };
                if open.table.is_older_than(newest) {
                    hidden.set_range(at..end, true);
                } else {
                    hide_older(&open.groups, at..end, newest, hidden)?;
                }
            }
            at = end;
        }
        Ok(hidden)
    }

    /// A group none of whose rows satisfies the predicate.
    fn judge_unwanted(&mut self) -> Result<Verdict> {
        let Some(open) = &self.open else { return Ok(Verdict::Rows) };
        let lower = open.groups.lower().or_else(|| open.table.min_key());
        let (Some(first), Some(last)) = (lower, open.groups.upper()) else { return Ok(Verdict::Rows) };
        // A separator may reach beyond the table.
        let last = match open.table.max_key() {
            Some(max) if self.order.compare(max, last).is_lt() => max,
            _ => last,
        };
        let (first, last) = (Slice::copy_from(first), Slice::copy_from(last));
        // What lies before the bounds is no business of the scan.
        let first = if is_below(&first, bound(&self.from), &self.order) { self.start(first) } else { first };
        // A separator may lie within them in front of keys that do not.
        if is_above(&first, bound(&self.upper), &self.order) {
            return Ok(Verdict::Outside);
        }
        if self.others.have(Bound::Included(&first), Bound::Included(&last))? {
            return Ok(Verdict::Rows);
        }
        Ok(Verdict::Pass { first, last })
    }

    /// The key that what has not been given out begins at or behind.
    fn start(&self, otherwise: Slice) -> Slice {
        match &self.from {
            Bound::Included(key) | Bound::Excluded(key) => key.clone(),
            Bound::Unbounded => otherwise,
        }
    }
}

/// The keys of a group.
struct GroupKeys<'a> {
    groups: &'a TableGroups,
    order: &'a KeyOrder,
}

impl GroupKeys<'_> {
    /// The key of a row of the group.
    fn at(&self, row: usize) -> Result<Slice> {
        let directory = directory(self.groups)?;
        let part = directory.part_of(u32::try_from(row).unwrap_or(u32::MAX));
        let page = own_page(self.groups, ColumnId::KEY, part)?;
        let mut scratch = Vec::new();
        let row = row - directory.part_rows(part).start;
        Ok(match page.page().get(page.payload(), row, &mut scratch) {
            Datum::Bytes(key) => Slice::copy_from(key),
            _ => Slice::empty(),
        })
    }

    fn count(&self) -> Result<usize> {
        Ok(directory(self.groups)?.head().rows as usize)
    }

    /// Whether no key of the group has two rows.
    fn are_distinct(&self) -> Result<bool> {
        let directory = directory(self.groups)?;
        for part in 0..directory.part_count() {
            let page = own_page(self.groups, ColumnId::KEY, part)?;
            if page.page().as_keys().is_none_or(lsm_columnar::KeyPage::has_repeats) {
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
    fn goes_on_behind(&self, ahead: &TableGroups) -> Result<bool> {
        let last = self.at(self.count()?.saturating_sub(1))?;
        let may_go_on = self.groups.upper().is_none_or(|upper| self.order.compare(upper, &last).is_le());
        if !may_go_on || ahead.group().is_none() {
            return Ok(false);
        }
        let next = GroupKeys { groups: ahead, order: self.order }.at(0)?;
        Ok(self.order.compare(&next, &last).is_eq())
    }

    /// Rows whose keys lie within `bounds`, and above the floor of a restricted table; `None` where there are none.
    fn within(&self, (lower, upper): (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Option<Range<usize>>> {
        let floor = self.groups.floor().map_or(Bound::Unbounded, |floor| Bound::Included(&floor[..]));
        let is_before = |key: &[u8]| is_below(key, lower, self.order) || is_below(key, floor, self.order);
        let count = self.count()?;
        // Mostly all of them are.
        let start =
            if is_before(&self.at(0)?) { self.first_row(0..count, |key| !is_before(key))? } else { 0 };
        let is_behind = |key: &[u8]| is_above(key, upper, self.order);
        let last = self.at(count.saturating_sub(1))?;
        let end = if is_behind(&last) { self.first_row(0..count, is_behind)? } else { count };
        Ok((start < end).then_some(start..end))
    }

    /// The first of these rows whose key satisfies `test`, which all behind it do, too; their end where none does.
    fn first_row(&self, rows: Range<usize>, test: impl Fn(&[u8]) -> bool) -> Result<usize> {
        let (mut from, mut to) = (rows.start, rows.end);
        while from < to {
            let middle = usize::midpoint(from, to);
            if test(&self.at(middle)?) {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        Ok(from)
    }
}

/// Hides those of these rows of a group that are numbered below `newest`.
fn hide_older(groups: &TableGroups, rows: Range<usize>, newest: SeqNo, hidden: &mut Bitmap) -> Result<()> {
    let directory = directory(groups)?;
    for part in 0..directory.part_count() {
        let of_part = directory.part_rows(part);
        let (start, end) = (rows.start.max(of_part.start), rows.end.min(of_part.end));
        if start >= end {
            continue;
        }
        let versions = groups.versions(part)?;
        for (row, seqno) in of_part.zip(versions.seqnos) {
            if (start..end).contains(&row) && seqno < newest {
                hidden.set(row, true);
            }
        }
    }
    Ok(())
}

fn bound(bound: &Bound<Slice>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

/// Whether the table may hold keys within `bounds`.
fn reaches(table: &Table, (lower, upper): &Bounds, order: &KeyOrder) -> bool {
    let (Some(min), Some(max)) = (table.min_key(), table.max_key()) else { return false };
    !is_above(min, bound(upper), order) && !is_below(max, bound(lower), order)
}
