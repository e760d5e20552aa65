//! Scans from either end.

use std::{iter::FusedIterator, ops::Bound};

use lsm_iter::{Merge, Visible};
use lsm_memtable::MemCursor;
use lsm_table::{ReadMode, RunCursor};
use lsm_types::{Cut, EntryCursor, EntryRef, Error, KeyOrder, Result, SeqNo, Slice};
use parking_lot::RawMutex;

use crate::{
    View,
    coverage::ViewCoverage,
    overlay::Under,
    prefix_scan::{Bounds, SharedPrefix},
    super_version::ReadRun,
};

/// A key with its value, as a scan yields it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    key: Slice,
    value: Slice,
    seqno: SeqNo,
}

impl Entry {
    /// The key.
    pub fn key(&self) -> &Slice {
        &self.key
    }

    /// The value, shared with its block where there is one.
    ///
    /// # Errors
    /// None for values that lie beside their key, as all do that are not separated.
    pub fn value(&self) -> Result<Slice> {
        Ok(self.value.clone())
    }

    /// Length of the value in bytes.
    ///
    /// # Errors
    /// As [`Entry::value`].
    pub fn size(&self) -> Result<usize> {
        Ok(self.value.len())
    }

    /// Number of the write.
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// Key and value.
    ///
    /// # Errors
    /// As [`Entry::value`].
    pub fn into_pair(self) -> Result<(Slice, Slice)> {
        Ok((self.key, self.value))
    }
}

/// One container of a view, as a cursor.
#[expect(clippy::large_enum_variant, reason = "a handful per scan; a box would cost a miss per entry")]
enum Source {
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

    fn bound(&self) -> Option<&[u8]> {
        each!(self, cursor => cursor.bound())
    }

    fn settle(&mut self) -> Result<()> {
        each!(self, cursor => cursor.settle())
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        each!(self, cursor => cursor.skip(to, than))
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        each!(self, cursor => cursor.skip_back(to, than))
    }
}

/// One end of a scan.
struct End {
    walk: Visible<Merge<Source>, ViewCoverage>,
    /// Whether the walk stands on the entry yielded last; otherwise nothing was yielded from this end yet.
    started: bool,
    /// Why the operands of the key under the walk could not be folded, until that is told.
    failed: Option<Error>,
}

impl End {
    fn new(view: &View, bounds: &Bounds, shared: Option<SharedPrefix>, folds: bool) -> Result<Self> {
        let order = &view.tree.order;
        let pinned = &view.pinned;
        let active = std::iter::once(&pinned.active.entries);
        let memtables = active.chain(pinned.sealed.iter().map(|sealed| &sealed.entries));
        let memory = memtables.filter(|entries| !entries.is_empty());
        let mut sources: Vec<Source> = memory
            .map(|entries| Source::Memory(entries.cursor()))
            .chain(
                pinned
                    .runs
                    .iter()
                    .filter(|run| run.has_entries)
                    .filter(|run| shared.is_none_or(|shared| shared.may_lie_in(run, bounds, order)))
                    .map(|run| Source::Run(RunCursor::new(run.clone(), order.clone(), ReadMode::SCAN))),
            )
            .collect();
        if let Some(overlay) = &pinned.overlay {
            let under = |source| Source::Under(Box::new(Under::new(source, overlay.limit)));
            let own = std::iter::once(Source::Memory(overlay.entries.cursor()));
            sources = own.chain(sources.into_iter().map(under)).collect();
        }
        let merge = Merge::new(order.clone(), sources);
        let coverage = ViewCoverage::new(pinned, order)?;
        let walk = Visible::with_coverage(merge, order.clone(), view.before, bounds.clone(), coverage);
        let operator = view.tree.operator.clone().filter(|_| folds);
        Ok(Self { walk: walk.folding(operator), started: false, failed: None })
    }

    /// The key under the walk after a move. That its operands could not be folded is kept for later: the key may be one
    /// that the other end has yielded.
    #[inline]
    fn stand(&mut self, moved: Result<()>) -> Result<Option<&[u8]>> {
        self.failed = None;
        if let Err(error) = moved {
            if self.walk.key().is_none() {
                return Err(error);
            }
            self.failed = Some(error);
        }
        Ok(self.walk.key())
    }

    /// The end in `slot`, set up when it is used first.
    #[inline]
    fn of<'a>(
        slot: &'a mut Option<Box<Self>>,
        view: &View,
        bounds: &Bounds,
        shared: Option<SharedPrefix>,
        folds: bool,
    ) -> Result<&'a mut Self> {
        match slot {
            Some(end) => Ok(end),
            None => Ok(slot.insert(Box::new(Self::new(view, bounds, shared, folds)?))),
        }
    }
}

/// Entries of a range of keys, each key once, from either end.
///
/// The iterator owns its view: it may outlive the tree's handle and move to another thread, and nothing that
/// happens meanwhile changes what it yields. After an error it is finished, unless a key's operands could not be folded:
/// that is an error of this key, yielded once.
pub struct Range {
    view: View,
    /// Whether operands are folded; not for those who look at keys only.
    folds: bool,
    bounds: Bounds,
    /// Passes over keys that do not start with this; only for orders in which prefixes are not contiguous.
    filter: Option<Slice>,
    /// What lets the scan pass over runs.
    shared: Option<SharedPrefix>,
    front: Option<Box<End>>,
    back: Option<Box<End>>,
    finished: bool,
}

impl Range {
    pub(crate) fn new(view: &View, bounds: Bounds) -> Self {
        let tree = &view.tree;
        let shared = SharedPrefix::of_bounds(tree.env.prefix_extractor.as_deref(), &bounds, &tree.order);
        let finished = is_empty(&bounds, &tree.order);
        Self {
            view: view.clone(),
            folds: true,
            bounds,
            filter: None,
            shared,
            front: None,
            back: None,
            finished,
        }
    }

    pub(crate) fn prefix(view: &View, prefix: &[u8]) -> Self {
        if let Some(bounds) = view.tree.order.comparator().prefix_bounds(prefix) {
            let extractor = view.tree.env.prefix_extractor.as_deref();
            let shared = SharedPrefix::of_prefix(extractor, prefix);
            return Self { shared, ..Self::new(view, bounds) };
        }
        let all = Self::new(view, (Bound::Unbounded, Bound::Unbounded));
        Self { filter: Some(prefix.into()), ..all }
    }

    /// Keys alone. Nothing is folded, so no operator can fail.
    pub fn keys(mut self) -> impl DoubleEndedIterator<Item = Result<Slice>> {
        self.folds = false;
        self.map(|entry| entry.map(|entry| entry.key))
    }

    /// Keys with values.
    pub fn pairs(self) -> impl DoubleEndedIterator<Item = Result<(Slice, Slice)>> {
        self.map(|entry| entry.and_then(Entry::into_pair))
    }

    /// Steps forward and lends the entry, without making owned slices of it.
    ///
    /// # Errors
    /// What reading the next block found; the scan is finished then. `MergeFailed` when the operands of the next key
    /// could not be folded; the next step goes on behind it.
    #[inline]
    pub fn advance(&mut self) -> Result<Option<EntryRef<'_>>> {
        loop {
            let stepped = !self.finished && self.step_front().inspect_err(|_| self.finished = true)?;
            if !stepped {
                self.finished = true;
                return Ok(None);
            }
            if self.filter.is_none() || self.passes(self.front.as_deref()) {
                return Self::outcome(self.front.as_deref_mut());
            }
        }
    }

    /// Steps back and lends the entry, without making owned slices of it.
    ///
    /// # Errors
    /// As [`Range::advance`].
    #[inline]
    pub fn advance_back(&mut self) -> Result<Option<EntryRef<'_>>> {
        loop {
            let stepped = !self.finished && self.step_back().inspect_err(|_| self.finished = true)?;
            if !stepped {
                self.finished = true;
                return Ok(None);
            }
            if self.filter.is_none() || self.passes(self.back.as_deref()) {
                return Self::outcome(self.back.as_deref_mut());
            }
        }
    }

    /// The entry at an end that has just stepped, or why it could not be folded.
    #[inline]
    fn outcome(end: Option<&mut End>) -> Result<Option<EntryRef<'_>>> {
        let Some(end) = end else { return Ok(None) };
        match end.failed.take() {
            Some(error) => Err(error),
            None => Ok(end.walk.entry()),
        }
    }

    /// Moves the front by one visible key; `false` when that meets the back or the end.
    #[inline]
    fn step_front(&mut self) -> Result<bool> {
        let end = End::of(&mut self.front, &self.view, &self.bounds, self.shared, self.folds)?;
        let moved = if std::mem::replace(&mut end.started, true) {
            end.walk.move_next()
        } else {
            end.walk.seek_first()
        };
        let Some(key) = end.stand(moved)? else { return Ok(false) };
        let Some(other) = self.back.as_ref().and_then(|end| end.walk.key()) else { return Ok(true) };
        Ok(self.view.tree.order.compare(key, other).is_lt())
    }

    /// Moves the back by one visible key; `false` when that meets the front or the start.
    #[inline]
    fn step_back(&mut self) -> Result<bool> {
        let end = End::of(&mut self.back, &self.view, &self.bounds, self.shared, self.folds)?;
        let moved = if std::mem::replace(&mut end.started, true) {
            end.walk.move_prev()
        } else {
            end.walk.seek_last()
        };
        let Some(key) = end.stand(moved)? else { return Ok(false) };
        let Some(other) = self.front.as_ref().and_then(|end| end.walk.key()) else { return Ok(true) };
        Ok(self.view.tree.order.compare(key, other).is_gt())
    }

    fn passes(&self, end: Option<&End>) -> bool {
        let key = end.and_then(|end| end.walk.key());
        key.zip(self.filter.as_ref()).is_some_and(|(key, prefix)| key.starts_with(prefix))
    }
}

fn owned(end: Option<&End>) -> Option<Entry> {
    let walk = &end?.walk;
    let entry = walk.entry()?;
    Some(Entry { key: Slice::copy_from(entry.key), value: walk.value(), seqno: entry.seqno })
}

impl Iterator for Range {
    type Item = Result<Entry>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(None) => None,
            Ok(Some(_)) => owned(self.front.as_deref()).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl DoubleEndedIterator for Range {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self.advance_back() {
            Ok(None) => None,
            Ok(Some(_)) => owned(self.back.as_deref()).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl FusedIterator for Range {}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

fn is_empty(bounds: &(Bound<Slice>, Bound<Slice>), order: &KeyOrder) -> bool {
    match (&bounds.0, &bounds.1) {
        (Bound::Included(lower), Bound::Included(upper)) => order.compare(lower, upper).is_gt(),
        (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) => order.compare(lower, upper).is_ge(),
        _ => false,
    }
}

const _: () = {
    const fn sendable<T: Send + 'static>() {}
    sendable::<Range>();
};
