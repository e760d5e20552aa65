//! Which keys of a scan are read as row groups, and which as rows (F-117).
//!
//! The groups of one run, the largest, are looked at one after the other. A group is read by columns when nothing else can
//! have a say in what is visible of it: no other run and no memtable has an entry between its first and its last key, every
//! row is a value, older than the view, split, and the only version of its key. What range tombstones hide of it, and what
//! the delete vector of its table says is dead, is taken out of what is selected. A group whose zones rule the predicate out is passed over without a look at its pages when nothing else has an entry where its keys lie:
//! whatever version is visible there, it is one of the group's. Everything else goes the way through rows, neighbours
//! in one piece.
//!
//! Where no key of a table has two rows, the separators of the index mostly say all of this, and no key is read. Keys are
//! looked at where a bound of the scan, an entry elsewhere or the end of a range tombstone lies between separators.

use std::{
    cell::{Ref, RefCell},
    ops::{Bound, Range},
};

use lsm_columnar::{Bitmap, BoundPredicate, ZoneAnswer};
use lsm_table::{ReadMode, Table, TableGroups, TableList};
use lsm_types::{Cut, KeyOrder, Result, SeqNo, Slice};

use super::{
    ColumnPolicy,
    group::{GroupRows, ask_zones, directory, has_values_only, is_split},
    keys::GroupKeys,
    others::{Others, is_above, is_below},
};
use crate::{
    View,
    deletes::Stretch,
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
    /// The keys under the same range tombstones that were looked for last: mostly the next ones are among them.
    stretch: RefCell<Stretch>,
    /// Comes behind the rows before it.
    held: Option<(GroupRows, Slice)>,
    is_done: bool,
}

struct OpenTable {
    table: Table,
    groups: TableGroups,
    /// One group further on; `None` where no key has two rows, so that none goes on behind its group.
    ahead: Option<TableGroups>,
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
    /// All of its keys, and others for all that is known, lie from `first` to `last`.
    Columns {
        rows: GroupRows,
        first: Bound<Slice>,
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
            stretch: RefCell::new(Stretch { start: Cut::End, end: Cut::Start, newest: None }),
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
                    let before = end_before(first);
                    if has_rows || self.others.have(bound(&self.from), bound(&before))? {
                        self.held = Some((rows, last));
                        return Ok(Piece::Rows((self.from.clone(), before)));
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
                    if let Some(ahead) = &mut open.ahead {
                        ahead.next_group(None)?;
                    }
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
        let groups = start()?;
        let mut ahead = None;
        if !has_distinct_keys(&table)? {
            let ahead: &mut TableGroups = ahead.insert(start()?);
            ahead.next_group(None)?;
        }
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
        let all_match = answer == ZoneAnswer::All;
        if let Some((first, last)) = self.within_separators(open) {
            let from = first.as_ref().map(|key| &key[..]);
            if !self.others.have(from, Bound::Included(&last))? {
                let hidden = self.hidden_between(open, from, &last)?;
                let rows = 0..directory(&open.groups)?.head().rows as usize;
                open.table.note_walked(rows.len());
                return Ok(Verdict::Columns { rows: GroupRows::new(rows, hidden, all_match), first, last });
            }
        }
        let open_bounds = (bound(&self.from), bound(&self.upper));
        let keys = GroupKeys::new(&open.groups, &self.order);
        if let Some(ahead) = &open.ahead
            && (!keys.are_distinct()? || keys.goes_on_behind(ahead)?)
        {
            return Ok(Verdict::Rows);
        }
        let Some(rows) = keys.within(open_bounds)? else { return Ok(Verdict::Outside) };
        let (first, last) = (keys.at(rows.start)?, keys.at(rows.end - 1)?);
        let is_again = open.ahead.is_some()
            && open.groups.lower().is_some_and(|lower| self.order.compare(lower, &first).is_eq());
        if is_again {
            return Ok(Verdict::Rows);
        }
        if self.others.have(Bound::Included(&first), Bound::Included(&last))? {
            return Ok(Verdict::Rows);
        }
        let hidden = self.hidden(open, &keys, rows.clone())?;
        open.table.note_walked(rows.len());
        let rows = GroupRows::new(rows, hidden, all_match);
        Ok(Verdict::Columns { rows, first: Bound::Included(first), last })
    }

    /// Between which keys all rows of the group lie, if the separators around it show that these are within the bounds of
    /// the scan, that no row is below the floor of its table, and that none of the keys has a row elsewhere in the table.
    fn within_separators(&self, open: &OpenTable) -> Option<(Bound<Slice>, Slice)> {
        let (groups, order) = (&open.groups, &self.order);
        if open.ahead.is_some() {
            return None;
        }
        let starts_within = |first: &[u8], is_excluded: bool| match &self.from {
            Bound::Unbounded => true,
            Bound::Excluded(from) if !is_excluded => order.compare(from, first).is_lt(),
            Bound::Included(from) | Bound::Excluded(from) => order.compare(from, first).is_le(),
        };
        let is_floor_below = |first: &[u8]| groups.floor().is_none_or(|at| order.compare(at, first).is_le());
        let first = match (groups.lower(), open.table.min_key()) {
            (Some(lower), _) if starts_within(lower, true) && is_floor_below(lower) => {
                Bound::Excluded(Slice::copy_from(lower))
            }
            // Below a floor there may be rows that the smallest key knows nothing of.
            (None, Some(min)) if starts_within(min, false) && groups.floor().is_none() => {
                Bound::Included(Slice::copy_from(min))
            }
            _ => return None,
        };
        let last = last_of(open, order)?;
        (!is_above(last, bound(&self.upper), order)).then(|| (first, Slice::copy_from(last)))
    }

    /// Which rows of a group deletes of ranges hide, given that all keys lie between `first` and `last`. They are looked at
    /// where a range begins or ends among them.
    fn hidden_between(&self, open: &OpenTable, first: Bound<&[u8]>, last: &[u8]) -> Result<Option<Bitmap>> {
        let pinned = &self.view.pinned;
        if !pinned.has_deletes() {
            return Ok(None);
        }
        pinned.load_deletes()?;
        let rows = directory(&open.groups)?.head().rows as usize;
        if let Bound::Included(first) | Bound::Excluded(first) = first {
            let stretch = self.stretch(first);
            if !stretch.end.is_left_of(last, &self.order) {
                match stretch.newest {
                    None => return Ok(None),
                    Some(newest) if open.table.is_older_than(newest) => return Ok(Some(Bitmap::all(rows))),
                    Some(_) => {}
                }
            }
        }
        self.hidden(open, &GroupKeys::new(&open.groups, &self.order), 0..rows)
    }

    /// The keys around `key` under the same range tombstones. These are loaded.
    fn stretch(&self, key: &[u8]) -> Ref<'_, Stretch> {
        let is_in = |stretch: &Stretch| {
            stretch.start.is_left_of(key, &self.order) && !stretch.end.is_left_of(key, &self.order)
        };
        let is_known = is_in(&self.stretch.borrow());
        if !is_known {
            let found = self.view.pinned.stretch(key, self.view.before, &self.order);
            *self.stretch.borrow_mut() = found;
        }
        self.stretch.borrow()
    }

    /// Which of these rows of a group deletes of ranges hide.
    fn hidden(&self, open: &OpenTable, keys: &GroupKeys<'_>, rows: Range<usize>) -> Result<Option<Bitmap>> {
        let pinned = &self.view.pinned;
        if !pinned.has_deletes() {
            return Ok(None);
        }
        pinned.load_deletes()?;
        let mut hidden: Option<Bitmap> = None;
        let mut at = rows.start;
        while at < rows.end {
            let stretch = self.stretch(&keys.at(at)?);
            let end = keys.first_right_of(&stretch.end, at + 1..rows.end)?;
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
        let (Some(first), Some(last)) = (lower, last_of(open, &self.order)) else { return Ok(Verdict::Rows) };
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

/// A key of the table that no key of the group in hand lies above.
fn last_of<'a>(open: &'a OpenTable, order: &KeyOrder) -> Option<&'a [u8]> {
    let last = open.groups.upper()?;
    // A separator may reach beyond the table.
    Some(match open.table.max_key() {
        Some(max) if order.compare(max, last).is_lt() => max,
        _ => last,
    })
}

/// Whether no key of the table has two rows.
fn has_distinct_keys(table: &Table) -> Result<bool> {
    let layout = table.layout()?;
    let counters = &layout.properties().counters;
    Ok(counters.entries == counters.distinct_keys)
}

/// The end of what comes before a range of keys.
fn end_before(first: Bound<Slice>) -> Bound<Slice> {
    match first {
        Bound::Included(first) => Bound::Excluded(first),
        Bound::Excluded(before) => Bound::Included(before),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn bound(bound: &Bound<Slice>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

/// Whether the table may hold keys within `bounds`.
fn reaches(table: &Table, (lower, upper): &Bounds, order: &KeyOrder) -> bool {
    let (Some(min), Some(max)) = (table.min_key(), table.max_key()) else { return false };
    !is_above(min, bound(upper), order) && !is_below(max, bound(lower), order)
}
