//! How a scan or a cursor walks a view: one cursor per container, merged, resolved to what the view sees.

use std::{ops::Bound, sync::Arc};

use lsm_iter::{Merge, Visible};
use lsm_memtable::MemCursor;
use lsm_table::{ReadMode, RunCursor};
use lsm_types::{Cut, EntryCursor, EntryRef, Result, SeparatedValues, SeqNo, Slice};
use parking_lot::RawMutex;

use crate::{
    View,
    coverage::ViewCoverage,
    overlay::Under,
    prefix_scan::{Bounds, SharedPrefix},
    super_version::ReadRun,
};

/// The visible entries of a view, within bounds.
pub(crate) type Walk = Visible<Merge<Source>, ViewCoverage>;

/// A walk that stands on nothing yet; for `keys_only` nothing is folded, and values are not taken along.
///
/// # Errors
/// What opening a table with range tombstones finds.
pub(crate) fn open(
    view: &View,
    bounds: &Bounds,
    shared: Option<SharedPrefix>,
    keys_only: bool,
) -> Result<Walk> {
    let order = &view.tree.order;
    let may_hold = |run: &ReadRun| shared.is_none_or(|shared| shared.may_lie_in(run, bounds, order));
    let merge = Merge::new(order.clone(), sources(view, may_hold));
    let coverage = ViewCoverage::new(&view.pinned, order)?;
    let walk = Visible::with_coverage(merge, order.clone(), view.before, bounds.clone(), coverage);
    Ok(if keys_only {
        walk.without_values()
    } else {
        walk.folding(view.tree.operator.clone()).fetching(fetcher(view))
    })
}

/// What fetches the values of a view; `None` where none is separated.
fn fetcher(view: &View) -> Option<Arc<dyn SeparatedValues>> {
    let logs = &view.pinned.vlogs;
    (!logs.is_empty()).then(|| Arc::new(logs.clone()) as Arc<dyn SeparatedValues>)
}

/// A cursor for each container of entries that may matter, newest first; of runs those that `may_hold` what is wanted.
pub(crate) fn sources(view: &View, may_hold: impl Fn(&ReadRun) -> bool) -> Vec<Source> {
    let pinned = &view.pinned;
    let active = std::iter::once(&pinned.active.entries);
    let memtables = active.chain(pinned.sealed.iter().map(|sealed| &sealed.entries));
    let memory = memtables.filter(|entries| !entries.is_empty());
    let cursor = |run: &ReadRun| RunCursor::new(run.clone(), view.tree.order.clone(), ReadMode::SCAN);
    let runs = pinned.runs.iter().filter(|run| run.has_entries && may_hold(run));
    let tree = memory
        .map(|entries| Source::Memory(entries.cursor()))
        .chain(runs.map(|run| Source::Run(cursor(run))));
    let Some(overlay) = &pinned.overlay else { return tree.collect() };
    let own = std::iter::once(Source::Memory(overlay.entries.cursor()));
    own.chain(tree.map(|source| Source::Under(Box::new(Under::new(source, overlay.limit))))).collect()
}

/// One container of a view, as a cursor.
#[expect(clippy::large_enum_variant, reason = "a handful per scan; a box would cost a miss per entry")]
pub(crate) enum Source {
    Memory(MemCursor<RawMutex>),
    Run(RunCursor<ReadRun>),
    /// Either of them under an overlay.
    Under(Box<Under<Source>>),
}

macro_rules! each {
    ($self:expr, $cursor:ident => $call:expr) => {
        match $self {
            Self::Memory($cursor) => $call,
            Self::Run($cursor) => $call,
            Self::Under($cursor) => $call,
        }
    };
}

impl EntryCursor for Source {
    fn seek_first(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_first())
    }

    fn seek_last(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_last())
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        each!(self, cursor => cursor.seek(key, before))
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        each!(self, cursor => cursor.seek_back(key, before))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        each!(self, cursor => cursor.next())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        each!(self, cursor => cursor.prev())
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        each!(self, cursor => cursor.entry())
    }

    #[inline]
    fn value(&self) -> Slice {
        each!(self, cursor => cursor.value())
    }

    #[inline]
    fn is_newest(&self) -> bool {
        each!(self, cursor => cursor.is_newest())
    }

    #[inline]
    fn shares_value(&self) -> bool {
        each!(self, cursor => cursor.shares_value())
    }

    fn bound(&self) -> Option<&[u8]> {
        each!(self, cursor => cursor.bound())
    }

    fn settle(&mut self) -> Result<()> {
        each!(self, cursor => cursor.settle())
    }

    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        each!(self, cursor => cursor.expect_within(lower, upper));
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        each!(self, cursor => cursor.skip(to, than))
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        each!(self, cursor => cursor.skip_back(to, than))
    }
}
