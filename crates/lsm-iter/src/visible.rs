//! What a read sees of a cursor: each visible key once, forward and back, within bounds.
//!
//! Versions of a key are adjacent, newest first. Walking forward the first one below the read bound decides, and it
//! is lent from the cursor itself. Walking back the oldest comes first, so versions are held, one at a time, until
//! the cursor leaves the key. In both directions the versions of one key that are passed over are stepped through a
//! few times and then jumped with a seek.

use alloc::vec::Vec;
use core::ops::Bound;

use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind, Result, SeqNo, Slice};

use crate::{
    coverage::{Coverage, NoCoverage},
    resolve::gives_value,
    source::{Heading, advance},
    window::Window,
};

/// Versions of one key stepped over before the rest are jumped.
const SKIPS_MAX: u32 = 8;

/// Values up to this many bytes are copied while walking back, longer ones shared.
const COPY_MAX: usize = 512;

/// The visible entries of `cursor` at a read bound, a cursor itself: after `move_next`, `move_prev` returns to the entry
/// before. The kind of an entry is [`Kind::Put`], [`Kind::Indirection`], or [`Kind::MergeOperand`] where a key has
/// operands: without a merge operator the newest one stands for the value.
///
/// Bounds are keys in the order of the tree; inverted ones hold nothing, and a seek outside is clamped. After an
/// error it stands on no entry until the next seek.
#[derive(Debug)]
pub struct Visible<C, R = NoCoverage> {
    cursor: C,
    /// Entries numbered below are seen.
    before: SeqNo,
    window: Window,
    coverage: R,
    stand: Stand,
    /// The key in hand: the current one, or while passing versions the one passed.
    key: Vec<u8>,
    held: Held,
}

/// Where the visible entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// There is none.
    Nowhere,
    /// Under the cursor.
    Cursor,
    /// In `held`, its key in `key`; the cursor stands on the entry before.
    Held,
}

/// A version that the cursor has left.
#[derive(Debug)]
struct Held {
    seqno: SeqNo,
    kind: Kind,
    /// The value, unless it is shared.
    copied: Vec<u8>,
    shared: Option<Slice>,
}

impl<C: EntryCursor> Visible<C> {
    /// What a read at `before` sees of `cursor`, in internal order, from the lower to the upper bound.
    ///
    /// Stands on no entry until the first seek.
    pub fn new(cursor: C, order: KeyOrder, before: SeqNo, bounds: (Bound<Slice>, Bound<Slice>)) -> Self {
        Self::with_coverage(cursor, order, before, bounds, NoCoverage)
    }
}

impl<C: EntryCursor, R: Coverage> Visible<C, R> {
    /// As [`Visible::new`], with the range tombstones over the cursor's entries.
    pub fn with_coverage(
        cursor: C,
        order: KeyOrder,
        before: SeqNo,
        bounds: (Bound<Slice>, Bound<Slice>),
        coverage: R,
    ) -> Self {
        let held = Held { seqno: SeqNo::ZERO, kind: Kind::Tombstone, copied: Vec::new(), shared: None };
        let (lower, upper) = bounds;
        let window = Window { order, lower, upper };
        Self { cursor, before, window, coverage, stand: Stand::Nowhere, key: Vec::new(), held }
    }

    /// Stands on the first visible entry.
    pub fn seek_first(&mut self) -> Result<()> {
        self.stand = Stand::Nowhere;
        match &self.window.lower {
            Bound::Included(key) => self.cursor.seek(key, self.before)?,
            Bound::Excluded(key) => self.cursor.seek(key, SeqNo::ZERO)?,
            Bound::Unbounded => self.cursor.seek_first()?,
        }
        self.find_forward()
    }

    /// Stands on the last visible entry.
    pub fn seek_last(&mut self) -> Result<()> {
        self.stand = Stand::Nowhere;
        match &self.window.upper {
            Bound::Included(key) => self.cursor.seek_back(key, SeqNo::ZERO)?,
            Bound::Excluded(key) => self.cursor.seek_back(key, SeqNo::LATEST)?,
            Bound::Unbounded => self.cursor.seek_last()?,
        }
        self.find_back()
    }

    /// Stands on the first visible entry at or after `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        if !self.window.above_lower(key) {
            return self.seek_first();
        }
        self.stand = Stand::Nowhere;
        self.cursor.seek(key, self.before)?;
        self.find_forward()
    }

    /// Stands on the last visible entry at or before `key`.
    pub fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        if !self.window.below_upper(key) {
            return self.seek_last();
        }
        self.stand = Stand::Nowhere;
        self.cursor.seek_back(key, SeqNo::ZERO)?;
        self.find_back()
    }

    /// Steps to the next visible entry; without an entry it does nothing.
    #[inline]
    pub fn move_next(&mut self) -> Result<()> {
        match core::mem::replace(&mut self.stand, Stand::Nowhere) {
            Stand::Nowhere => return Ok(()),
            Stand::Cursor => self.leave_forward()?,
            Stand::Held => self.cursor.seek(&self.key, SeqNo::ZERO)?,
        }
        self.find_forward()
    }

    /// Steps to the previous visible entry; without an entry it does nothing.
    #[inline]
    pub fn move_prev(&mut self) -> Result<()> {
        match core::mem::replace(&mut self.stand, Stand::Nowhere) {
            Stand::Nowhere => return Ok(()),
            Stand::Cursor => {
                self.take_key();
                self.cursor.seek_back(&self.key, SeqNo::LATEST)?;
            }
            Stand::Held => {}
        }
        self.find_back()
    }

    /// The visible entry, lent until the next step.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        match self.stand {
            Stand::Nowhere => None,
            Stand::Cursor => self.cursor.entry(),
            Stand::Held => {
                let Held { seqno, kind, copied, shared } = &self.held;
                let value = shared.as_deref().unwrap_or(copied);
                Some(EntryRef { key: &self.key, seqno: *seqno, kind: *kind, value })
            }
        }
    }

    /// The value of the visible entry as a slice that outlives it, shared with its block where there is one.
    pub fn value(&self) -> Slice {
        match (self.stand, &self.held.shared) {
            (Stand::Nowhere, _) => Slice::empty(),
            (Stand::Cursor, _) => self.cursor.value(),
            (Stand::Held, Some(value)) => value.clone(),
            (Stand::Held, None) => Slice::copy_from(&self.held.copied),
        }
    }

    /// From the start of a key, or from among its versions at or above the bound, to the next visible entry.
    fn find_forward(&mut self) -> Result<()> {
        while let Some(entry) = self.cursor.entry() {
            if !self.window.below_upper(entry.key) {
                return Ok(());
            }
            if self.before <= entry.seqno {
                self.pass_unseen(Heading::Forward)?;
                continue;
            }
            let covering = self.coverage.covering(entry.key, self.before);
            if gives_value(entry.kind, entry.seqno, covering) {
                self.stand = Stand::Cursor;
                return Ok(());
            }
            self.leave_forward()?;
        }
        Ok(())
    }

    /// From a key's deciding version to the next key.
    #[inline]
    fn leave_forward(&mut self) -> Result<()> {
        self.take_key();
        for _ in 0..SKIPS_MAX {
            self.cursor.next()?;
            if !self.at_key() {
                return Ok(());
            }
        }
        self.cursor.seek(&self.key, SeqNo::ZERO)
    }

    /// From the end of a key, or from among its versions at or above the bound, to the previous visible entry.
    fn find_back(&mut self) -> Result<()> {
        while let Some(entry) = self.cursor.entry() {
            if !self.window.above_lower(entry.key) {
                return Ok(());
            }
            if self.before <= entry.seqno {
                self.pass_unseen(Heading::Back)?;
                continue;
            }
            let stand = self.hold_newest()?;
            let covering = self.coverage.covering(&self.key, self.before);
            let (seqno, kind) = match (stand, self.cursor.entry()) {
                (Stand::Cursor, Some(entry)) => (entry.seqno, entry.kind),
                _ => (self.held.seqno, self.held.kind),
            };
            if gives_value(kind, seqno, covering) {
                self.stand = stand;
                return Ok(());
            }
            if stand == Stand::Cursor {
                self.cursor.seek_back(&self.key, SeqNo::LATEST)?;
            }
        }
        Ok(())
    }

    /// From a key's oldest version to the newest one that is seen; says where that is.
    fn hold_newest(&mut self) -> Result<Stand> {
        self.take_key();
        for _ in 0..SKIPS_MAX {
            self.held.take(&self.cursor);
            self.cursor.prev()?;
            let newer = |entry: EntryRef<'_>| entry.seqno < self.before && entry.key == self.key;
            if !self.cursor.entry().is_some_and(newer) {
                return Ok(Stand::Held);
            }
        }
        self.cursor.seek(&self.key, self.before)?;
        Ok(Stand::Cursor)
    }

    /// Passes versions at or above the read bound until one below it, another key, or the end.
    fn pass_unseen(&mut self, heading: Heading) -> Result<()> {
        self.take_key();
        for _ in 0..SKIPS_MAX {
            advance(&mut self.cursor, heading)?;
            let unseen = |entry: EntryRef<'_>| self.before <= entry.seqno && entry.key == self.key;
            if !self.cursor.entry().is_some_and(unseen) {
                return Ok(());
            }
        }
        match heading {
            Heading::Forward => self.cursor.seek(&self.key, self.before),
            Heading::Back => self.cursor.seek_back(&self.key, SeqNo::LATEST),
        }
    }

    #[inline]
    fn take_key(&mut self) {
        self.key.clear();
        if let Some(entry) = self.cursor.entry() {
            self.key.extend_from_slice(entry.key);
        }
    }

    /// Whether the cursor stands on a version of the key in hand.
    #[inline]
    fn at_key(&self) -> bool {
        self.cursor.entry().is_some_and(|entry| entry.key == self.key)
    }
}

impl Held {
    /// Takes the entry under the cursor, its key apart.
    #[inline]
    fn take(&mut self, cursor: &impl EntryCursor) {
        let Some(entry) = cursor.entry() else { return };
        (self.seqno, self.kind) = (entry.seqno, entry.kind);
        self.copied.clear();
        if entry.value.len() <= COPY_MAX {
            self.copied.extend_from_slice(entry.value);
            self.shared = None;
        } else {
            self.shared = Some(cursor.value());
        }
    }
}
