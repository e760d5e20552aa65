//! One row group: what may be made of it, and its rows once that is known.

use std::{cell::OnceCell, ops::Range, sync::Arc};

use lsm_columnar::{Bitmap, BoundPredicate, ColumnId, Datum, Schema, Zone, ZoneAnswer};
use lsm_table::{ColumnPage, TableGroups};
use lsm_types::{Kind, Result};

use super::{
    ColumnBatch,
    scan::{Projected, Wanted},
};
use crate::EngineError;

/// Rows of the group that a scan stands on, every one of them the only version of its key, older than the view, and split.
pub(super) struct GroupRows {
    /// Rows of the group that lie within the bounds of the scan.
    rows: Range<usize>,
    /// Rows of the group that deletes of ranges hide; `None` where there are none.
    hidden: Option<Bitmap>,
    /// Whether all of them satisfy the predicate.
    all_match: bool,
    part: usize,
    /// Rows of the part that are still to come; `None` before it is asked.
    selection: Option<Bitmap>,
}

/// The group in hand. A scan that is asked for its group stands on one.
pub(super) fn directory(groups: &TableGroups) -> Result<&lsm_columnar::GroupDirectory> {
    let group = groups.group().ok_or(EngineError::Bug { invariant: "a scan of groups stands on one" })?;
    Ok(group.directory())
}

/// A page that a group has, because every group has it.
pub(super) fn own_page(groups: &TableGroups, column: ColumnId, part: usize) -> Result<Arc<ColumnPage>> {
    let page = groups.page(column, part)?;
    page.ok_or_else(|| EngineError::Bug { invariant: "groups have keys, numbers and kinds" }.into())
}

/// Whether all rows were split: none is an operand, leads to a value log or was kept whole.
pub(super) fn is_split(groups: &TableGroups) -> Result<bool> {
    let directory = directory(groups)?;
    Ok((0..directory.part_count()).all(|part| {
        let page = directory.page(ColumnId::OPAQUE, part);
        page.is_none_or(|page| page.null_count as usize == directory.part_rows(part).len())
    }))
}

/// Whether all rows are values, by the zones of their kinds.
pub(super) fn has_values_only(groups: &TableGroups) -> Result<bool> {
    let put = [Kind::Put.tag()];
    let zone = directory(groups)?.zone(ColumnId::KIND);
    let is_put = |bound: Option<&lsm_columnar::ZoneBound>| bound.is_some_and(|bound| bound.bytes() == put);
    Ok(zone.is_some_and(|zone| zone.null_count() == 0 && is_put(zone.min()) && is_put(zone.max())))
}

/// What the zones of the whole group say about a predicate.
pub(super) fn ask_zones(groups: &TableGroups, predicate: Option<&BoundPredicate>) -> Result<ZoneAnswer> {
    let Some(predicate) = predicate else { return Ok(ZoneAnswer::All) };
    let directory = directory(groups)?;
    let zones: Vec<(ColumnId, Option<Zone>)> =
        predicate.columns().iter().map(|column| (*column, directory.zone(*column))).collect();
    let zone = |wanted| zones.iter().find(|(column, _)| *column == wanted)?.1.as_ref();
    Ok(predicate.check_zones(zone))
}

impl GroupRows {
    pub(super) fn new(rows: Range<usize>, hidden: Option<Bitmap>, all_match: bool) -> Self {
        Self { rows, hidden, all_match, part: 0, selection: None }
    }

    /// Adds rows to `batch` until that has `limit` rows; `false` when none is left.
    pub(super) fn gather(
        &mut self,
        groups: &TableGroups,
        schema: &Schema,
        wanted: &Wanted,
        limit: usize,
        batch: &mut ColumnBatch,
    ) -> Result<bool> {
        let parts = directory(groups)?.part_count();
        while self.part < parts {
            let left = match self.selection.take() {
                Some(selection) => selection,
                None => self.select(groups, wanted)?,
            };
            let room = limit.saturating_sub(batch.rows());
            let (now, later) = cut(left, room);
            add(groups, schema, wanted, self.part, &now, batch)?;
            if let Some(later) = later {
                self.selection = Some(later);
                return Ok(true);
            }
            self.part += 1;
        }
        Ok(false)
    }

    /// The rows of the part that are wanted.
    fn select(&self, groups: &TableGroups, wanted: &Wanted) -> Result<Bitmap> {
        let directory = directory(groups)?;
        let of_part = directory.part_rows(self.part);
        let from = self.rows.start.clamp(of_part.start, of_part.end) - of_part.start;
        let to = self.rows.end.clamp(of_part.start, of_part.end) - of_part.start;
        let mut within = Bitmap::none(of_part.len());
        if from >= to {
            return Ok(within);
        }
        within.set_range(from..to, true);
        groups.mask(of_part.start, &mut within);
        if let Some(hidden) = &self.hidden {
            within.and_not(&hidden.slice(of_part.clone()));
        }
        if within.is_none() {
            return Ok(within);
        }
        let predicate = match &wanted.predicate {
            Some(predicate) if !self.all_match => predicate,
            _ => return Ok(within),
        };
        let zone = |column| directory.page(column, self.part)?.zone.as_ref();
        match predicate.check_zones(zone) {
            ZoneAnswer::None => return Ok(Bitmap::none(of_part.len())),
            ZoneAnswer::All => return Ok(within),
            ZoneAnswer::Some => {}
        }
        // Pages are read when the predicate comes to them, and not at all when nothing is left by then.
        let pages: Vec<(ColumnId, OnceCell<Option<Arc<ColumnPage>>>)> =
            predicate.columns().iter().map(|column| (*column, OnceCell::new())).collect();
        let matching = predicate.select::<lsm_types::Error>(of_part.len(), |column| {
            let Some((_, cell)) = pages.iter().find(|(id, _)| *id == column) else { return Ok(None) };
            if cell.get().is_none() {
                let _ = cell.set(groups.page(column, self.part)?);
            }
            let page = cell.get().and_then(Option::as_deref);
            Ok(page.map(|page| (page.page(), &page.payload()[..])))
        })?;
        within.and(&matching);
        Ok(within)
    }
}

/// The first `room` rows of `rows`, and the others, if there are any.
fn cut(rows: Bitmap, room: usize) -> (Bitmap, Option<Bitmap>) {
    if rows.count() <= room {
        return (rows, None);
    }
    let Some(first_later) = rows.rows().nth(room) else { return (rows, None) };
    let (mut now, mut later) = (rows.clone(), rows);
    now.set_range(first_later..now.len(), false);
    later.set_range(0..first_later, false);
    (now, Some(later))
}

/// Adds the rows of `selection`, a set of the rows of a part, to every column.
fn add(
    groups: &TableGroups,
    schema: &Schema,
    wanted: &Wanted,
    part: usize,
    selection: &Bitmap,
    batch: &mut ColumnBatch,
) -> Result<()> {
    let count = selection.count();
    if count == 0 {
        return Ok(());
    }
    // No row was kept whole: the group has no such column.
    let sources = wanted.columns.iter().map(|column| match column {
        Projected::Key => Ok((ColumnId::KEY, Datum::Null)),
        Projected::Opaque => Ok((ColumnId::OPAQUE, Datum::Null)),
        Projected::Column(at) => match schema.columns().get(*at) {
            Some(column) => Ok((column.id(), column.default())),
            None => Err(EngineError::Bug { invariant: "a column that was found exists" }),
        },
    });
    let (ids, missing): (Vec<_>, Vec<_>) = sources.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let pages = groups.pages(&ids, part)?;
    for ((page, missing), vector) in pages.iter().zip(missing).zip(batch.vectors_mut()) {
        match page {
            Some(page) => page.page().decode_selected(page.payload(), selection, vector)?,
            None => (0..count).try_for_each(|_| vector.push(missing))?,
        }
    }
    batch.added(count);
    Ok(())
}
