//! Scans from either end.

use std::{iter::FusedIterator, ops::Bound};

use lsm_table::CacheUse;
use lsm_types::{EntryRef, Error, KeyOrder, Kind, Result, Slice};

use crate::{
    Entry, ReadAhead, View,
    prefix_scan::{Bounds, SharedPrefix},
    separated::ValueLogs,
    walk::{self, Walk},
};

/// One end of a scan.
struct End {
    walk: Walk,
    /// Whether the walk stands on the entry yielded last; otherwise nothing was yielded from this end yet.
    started: bool,
    /// Why the operands of the key under the walk could not be folded, until that is told.
    failed: Option<Error>,
    /// The separated value of the entry that was lent last.
    fetched: Slice,
}

impl End {
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
        keys_only: bool,
    ) -> Result<&'a mut Self> {
        if let Some(end) = slot {
            return Ok(end);
        }
        let walk = walk::open(view, bounds, shared, keys_only)?;
        Ok(slot.insert(Box::new(Self { walk, started: false, failed: None, fetched: Slice::empty() })))
    }
}

/// Entries of a range of keys, each key once, from either end.
///
/// The iterator owns its view: it may outlive the tree's handle and move to another thread, and nothing that
/// happens meanwhile changes what it yields. After an error it is finished, unless a key's operands could not be folded, or
/// its separated value not be fetched: that is an error of this key, yielded once.
pub struct Range {
    view: View,
    /// Whether nobody looks at values: then no operand is folded.
    keys_only: bool,
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
            keys_only: false,
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

    /// Keys alone; values are never touched. Nothing is folded, so no operator can fail.
    ///
    /// To be asked before the first step: an end that has stepped goes on as it began.
    pub fn keys(mut self) -> impl DoubleEndedIterator<Item = Result<Slice>> + FusedIterator + Send + 'static {
        self.keys_only = true;
        Keys(self)
    }

    /// Keys with values.
    pub fn pairs(
        self,
    ) -> impl DoubleEndedIterator<Item = Result<(Slice, Slice)>> + FusedIterator + Send + 'static {
        self.map(|entry| entry.and_then(Entry::into_pair))
    }

    /// The same entries; separated values of up to `entries` that come next are fetched together, before they are asked
    /// for. [`ReadAhead::ENTRIES`] is a good number where all values are wanted, 0 fetches none in advance. Without it
    /// each value is fetched when it is asked for.
    pub fn value_readahead(self, entries: usize) -> ReadAhead {
        ReadAhead::new(self, entries)
    }

    /// Whether the scan is over: at its end, or by an error that is not one of a single key.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Number of keys from here on, by a walk over all of them that looks at no value.
    ///
    /// # Errors
    /// What reading the blocks found.
    pub fn count_keys(mut self) -> Result<u64> {
        self.keys_only = true;
        let mut count = 0;
        while self.advance()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Whether there is no key from here on; looks at no value.
    pub(crate) fn holds_nothing(mut self) -> Result<bool> {
        self.keys_only = true;
        Ok(self.advance()?.is_none())
    }

    /// Steps forward and lends the entry, without making owned slices of it.
    ///
    /// # Errors
    /// What reading the next block found; the scan is finished then. `MergeFailed` when the operands of the next key
    /// could not be folded; the next step goes on behind it.
    #[inline]
    pub fn advance(&mut self) -> Result<Option<EntryRef<'_>>> {
        if !self.move_front()? {
            return Ok(None);
        }
        Self::lend(self.front.as_deref_mut(), &self.view.pinned.vlogs, self.keys_only)
    }

    /// Steps forward, and fetches nothing; whether there is an entry.
    #[inline]
    fn move_front(&mut self) -> Result<bool> {
        loop {
            let stepped = !self.finished && self.step_front().inspect_err(|_| self.finished = true)?;
            if !stepped {
                self.finished = true;
                return Ok(false);
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
        if !self.move_back()? {
            return Ok(None);
        }
        Self::lend(self.back.as_deref_mut(), &self.view.pinned.vlogs, self.keys_only)
    }

    /// Steps back, and fetches nothing; whether there is an entry.
    #[inline]
    fn move_back(&mut self) -> Result<bool> {
        loop {
            let stepped = !self.finished && self.step_back().inspect_err(|_| self.finished = true)?;
            if !stepped {
                self.finished = true;
                return Ok(false);
            }
            if self.filter.is_none() || self.passes(self.back.as_deref()) {
                return Self::outcome(self.back.as_deref_mut());
            }
        }
    }

    /// Whether an end that has just stepped has an entry, or why it could not be folded.
    #[inline]
    fn outcome(end: Option<&mut End>) -> Result<bool> {
        match end.and_then(|end| end.failed.take()) {
            Some(error) => Err(error),
            None => Ok(true),
        }
    }

    /// The entry at an end, with its value wherever that lies.
    #[inline]
    fn lend<'a>(end: Option<&'a mut End>, logs: &ValueLogs, keys_only: bool) -> Result<Option<EntryRef<'a>>> {
        let Some(end) = end else { return Ok(None) };
        match end.walk.entry() {
            Some(entry) if entry.kind == Kind::Indirection && !keys_only => {
                end.fetched = logs.value(entry.key, entry.value, CacheUse::Fill)?;
                Ok(end.walk.entry().map(|entry| EntryRef { kind: Kind::Put, value: &end.fetched, ..entry }))
            }
            entry => Ok(entry),
        }
    }

    /// Moves the front by one visible key; `false` when that meets the back or the end.
    #[inline]
    fn step_front(&mut self) -> Result<bool> {
        let end = End::of(&mut self.front, &self.view, &self.bounds, self.shared, self.keys_only)?;
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
        let end = End::of(&mut self.back, &self.view, &self.bounds, self.shared, self.keys_only)?;
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

fn owned(end: Option<&End>, logs: &ValueLogs) -> Option<Entry> {
    Entry::of_walk(&end?.walk, logs)
}

/// The keys of a range.
struct Keys(Range);

impl Iterator for Keys {
    type Item = Result<Slice>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.advance().map(|entry| entry.map(|entry| Slice::copy_from(entry.key))).transpose()
    }
}

impl DoubleEndedIterator for Keys {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.advance_back().map(|entry| entry.map(|entry| Slice::copy_from(entry.key))).transpose()
    }
}

impl FusedIterator for Keys {}

impl Iterator for Range {
    type Item = Result<Entry>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.move_front() {
            Ok(false) => None,
            Ok(true) => owned(self.front.as_deref(), &self.view.pinned.vlogs).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl DoubleEndedIterator for Range {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self.move_back() {
            Ok(false) => None,
            Ok(true) => owned(self.back.as_deref(), &self.view.pinned.vlogs).map(Ok),
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

fn is_empty(bounds: &Bounds, order: &KeyOrder) -> bool {
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
