//! Ranges of coverage, and which tables overlap them.

use alloc::{sync::Arc, vec::Vec};

use lsm_manifest::{Run, TableDescriptor};
use lsm_types::{Cut, KeyOrder};

/// What lies between two cuts: entries and range tombstones of one or several tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span<'a> {
    pub(crate) start: &'a Cut,
    pub(crate) end: &'a Cut,
}

impl<'a> Span<'a> {
    pub(crate) fn of(table: &'a TableDescriptor) -> Self {
        Self { start: &table.coverage_start, end: &table.coverage_end }
    }
}

/// The coverage of `tables` as disjoint spans in key order: what lies between two of them is not covered.
pub(crate) fn merge_spans<'a>(
    tables: impl Iterator<Item = &'a Arc<TableDescriptor>>,
    order: &KeyOrder,
) -> Vec<Span<'a>> {
    let mut spans: Vec<Span<'a>> = tables.map(|table| Span::of(table)).collect();
    spans.sort_by(|a, b| a.start.compare(b.start, order));
    let mut merged: Vec<Span<'a>> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start.compare(last.end, order).is_le() => {
                if span.end.compare(last.end, order).is_gt() {
                    last.end = span.end;
                }
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// From the smallest start to the greatest end; `None` without tables.
pub(crate) fn hull<'a>(
    tables: impl Iterator<Item = &'a Arc<TableDescriptor>> + Clone,
    order: &KeyOrder,
) -> Option<Span<'a>> {
    let start = tables.clone().map(|table| &table.coverage_start).min_by(|a, b| a.compare(b, order))?;
    let end = tables.map(|table| &table.coverage_end).max_by(|a, b| a.compare(b, order))?;
    Some(Span { start, end })
}

/// The tables of `run` whose coverage overlaps one of the `spans`, in key order.
pub(crate) fn overlapping<'a>(
    run: &'a Run,
    spans: &'a [Span<'a>],
    order: &'a KeyOrder,
) -> Vec<&'a Arc<TableDescriptor>> {
    let mut found: Vec<&Arc<TableDescriptor>> =
        spans.iter().flat_map(|span| run.tables.covering(span.start, span.end, order)).collect();
    // A table that overlaps two spans is found twice, and one that range tombstones widen may be found out of order.
    found.sort_by(|a, b| match (&a.entries, &b.entries) {
        (Some(a), Some(b)) => order.compare(&a.min, &b.min),
        _ => a.id.cmp(&b.id),
    });
    found.dedup_by_key(|table| table.id);
    found
}

/// Whether a table of `run` overlaps one of the `spans`.
pub(crate) fn any_overlaps(run: &Run, spans: &[Span<'_>], order: &KeyOrder) -> bool {
    spans.iter().any(|span| run.tables.covering(span.start, span.end, order).next().is_some())
}
