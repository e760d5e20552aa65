//! Scans that fetch separated values in advance, many with one read (D-80).
//!
//! ```text
//! keys as they come:  a -> log 7, 900   b -> log 7, 100   c inline   d -> log 9, 40   e -> log 7, 500
//! reads:              log 7: 100, 500, 900, neighbours in one      log 9: 40
//! ```
//!
//! A window of entries is walked first, then their values are read in the order in which they lie in their files, then
//! the entries are given out. Windows grow from few to as many as are wanted: who takes one entry pays for few.

use std::{collections::VecDeque, iter::FusedIterator};

use lsm_table::CacheUse;
use lsm_types::{Result, Slice, ValueHandle};

use crate::{Entry, Range, separated::ValueLogs};

/// Entries of the first window.
const FIRST: usize = 4;
/// Bytes of values after which a window takes no further entry.
const WINDOW_BYTES: usize = 4 << 20;

/// A scan whose separated values are fetched in advance; made by [`Range::value_readahead`].
///
/// Values above 1 MiB are not: they are fetched when they are asked for. One that cannot be fetched is an error of its
/// entry, as without reading ahead.
#[derive(Debug)]
pub struct ReadAhead {
    scan: Range,
    entries_max: usize,
    front: Window,
    back: Window,
}

/// What was walked at one end and not given out yet.
#[derive(Debug, Default)]
struct Window {
    /// In the order they are given out from this end; with whether the scan is over with that.
    entries: VecDeque<(Result<Entry>, bool)>,
    /// How many were wanted last.
    wanted: usize,
}

impl ReadAhead {
    /// Entries whose values are worth fetching together.
    pub const ENTRIES: usize = 32;

    pub(crate) fn new(scan: Range, entries_max: usize) -> Self {
        Self { scan, entries_max, front: Window::default(), back: Window::default() }
    }

    /// Keys with values.
    pub fn pairs(
        self,
    ) -> impl DoubleEndedIterator<Item = Result<(Slice, Slice)>> + FusedIterator + Send + 'static {
        self.map(|entry| entry.and_then(Entry::into_pair))
    }

    /// Gives out an entry; behind an error that ends the scan comes nothing more.
    fn give(&mut self, taken: Option<(Result<Entry>, bool)>) -> Option<Result<Entry>> {
        let (entry, is_last) = taken?;
        if is_last {
            self.front.entries.clear();
            self.back.entries.clear();
        }
        Some(entry)
    }
}

impl Window {
    /// Walks on and fetches.
    fn fill(
        &mut self,
        scan: &mut Range,
        entries_max: usize,
        step: impl Fn(&mut Range) -> Option<Result<Entry>>,
    ) {
        self.wanted = self.wanted.saturating_mul(2).max(FIRST).min(entries_max.max(1));
        let mut bytes = 0;
        while self.entries.len() < self.wanted && bytes < WINDOW_BYTES {
            let Some(entry) = step(scan) else { break };
            let is_last = entry.is_err() && scan.is_finished();
            bytes += entry.as_ref().map_or(0, |entry| entry.size().unwrap_or_default());
            self.entries.push_back((entry, is_last));
        }
        if entries_max > 0 {
            self.fetch();
        }
    }

    /// Fetches the values of the entries, all of one view.
    fn fetch(&mut self) {
        let mut logs: Option<ValueLogs> = None;
        let mut wants: Vec<(&[u8], &[u8])> = Vec::new();
        let mut places: Vec<usize> = Vec::new();
        for (at, (entry, _)) in self.entries.iter().enumerate() {
            let Some((of, key, stored)) = entry.as_ref().ok().and_then(Entry::separated) else { continue };
            if ValueHandle::decode(stored).is_ok_and(|handle| !handle.is_chunked()) {
                logs.get_or_insert_with(|| of.clone());
                wants.push((key, stored));
                places.push(at);
            }
        }
        let Some(logs) = logs else { return };
        let values = logs.values(&wants, CacheUse::Fill);
        for (at, value) in places.into_iter().zip(values) {
            // What failed is asked for once more with the entry, and tells why.
            if let (Ok(value), Some((Ok(entry), _))) = (value, self.entries.get_mut(at)) {
                entry.supply(value);
            }
        }
    }
}

impl Iterator for ReadAhead {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.front.entries.is_empty() {
            self.front.fill(&mut self.scan, self.entries_max, Range::next);
        }
        // What the other end has walked in advance is what is left in the end.
        let taken = self.front.entries.pop_front().or_else(|| self.back.entries.pop_back());
        self.give(taken)
    }
}

impl DoubleEndedIterator for ReadAhead {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.back.entries.is_empty() {
            self.back.fill(&mut self.scan, self.entries_max, Range::next_back);
        }
        let taken = self.back.entries.pop_front().or_else(|| self.front.entries.pop_back());
        self.give(taken)
    }
}

impl FusedIterator for ReadAhead {}
