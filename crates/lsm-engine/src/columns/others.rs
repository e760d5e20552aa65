//! Whatever of a view is not in the run whose groups are scanned: is there an entry between two keys?

use std::ops::Bound;

use lsm_table::RunCursor;
use lsm_types::{EntryCursor, KeyOrder, Result, SeqNo};

use crate::{View, super_version::ReadRun, walk::Source};

/// Memtables and the other runs, each with a cursor that mostly goes forward.
pub(super) struct Others {
    order: KeyOrder,
    all: Vec<Other>,
}

struct Other {
    cursor: Source,
    /// The bound that was sought last, and whether its key was left out: nothing lies between it and the cursor.
    sought: Option<(Vec<u8>, bool)>,
}

impl Others {
    /// All containers of entries of `view` but the run at `base`.
    pub(super) fn new(view: &View, base: usize) -> Self {
        let (pinned, order) = (&view.pinned, &view.tree.order);
        let active = std::iter::once(&pinned.active.entries);
        let memtables = active.chain(pinned.sealed.iter().map(|sealed| &sealed.entries));
        let memory = memtables.filter(|entries| !entries.is_empty());
        let runs = pinned.runs.iter().enumerate().filter(|(at, run)| *at != base && run.has_entries);
        let cursor = |run: &ReadRun| RunCursor::new(run.clone(), order.clone(), lsm_table::ReadMode::SCAN);
        let sources = memory
            .map(|entries| Source::Memory(entries.cursor()))
            .chain(runs.map(|(_, run)| Source::Run(cursor(run))));
        Self { order: order.clone(), all: sources.map(|cursor| Other { cursor, sought: None }).collect() }
    }

    /// Whether any of them has an entry within these bounds, whatever its number.
    pub(super) fn have(&mut self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Result<bool> {
        let order = &self.order;
        for other in &mut self.all {
            other.place(lower, order)?;
            // What a lazy cursor has not read yet is not read where its bound tells enough.
            while let Some(key) = other.key().filter(|key| !is_above(key, upper, order)) {
                if other.cursor.bound().is_some() {
                    other.cursor.settle()?;
                } else if is_below(key, lower, order) {
                    other.cursor.next()?;
                } else {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Other {
    fn key(&self) -> Option<&[u8]> {
        self.cursor.bound().or_else(|| self.cursor.entry().map(|entry| entry.key))
    }

    /// Stands on the first entry from `lower` on, or before it. Nothing moves where nothing lies in between.
    fn place(&mut self, lower: Bound<&[u8]>, order: &KeyOrder) -> Result<()> {
        let (key, is_excluded) = match lower {
            Bound::Unbounded => {
                self.sought = None;
                return self.cursor.seek_first();
            }
            Bound::Included(key) => (key, false),
            Bound::Excluded(key) => (key, true),
        };
        let is_behind = self.sought.as_ref().is_some_and(|(sought, was_excluded)| {
            let order = order.compare(sought, key);
            order.is_lt() || (order.is_eq() && (is_excluded || !was_excluded))
        });
        if is_behind && self.key().is_none_or(|at| order.compare(at, key).is_ge()) {
            return Ok(());
        }
        let sought = self.sought.get_or_insert_default();
        sought.0.clear();
        sought.0.extend_from_slice(key);
        sought.1 = is_excluded;
        self.cursor.seek(key, SeqNo::LATEST)
    }
}

pub(super) fn is_above(key: &[u8], upper: Bound<&[u8]>, order: &KeyOrder) -> bool {
    match upper {
        Bound::Unbounded => false,
        Bound::Included(upper) => order.compare(key, upper).is_gt(),
        Bound::Excluded(upper) => order.compare(key, upper).is_ge(),
    }
}

pub(super) fn is_below(key: &[u8], lower: Bound<&[u8]>, order: &KeyOrder) -> bool {
    match lower {
        Bound::Unbounded => false,
        Bound::Included(lower) => order.compare(key, lower).is_lt(),
        Bound::Excluded(lower) => order.compare(key, lower).is_le(),
    }
}
