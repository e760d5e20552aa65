//! What a read sees of a cursor: each visible key once, forward and back, within bounds.
//!
//! Versions of a key are adjacent, newest first. Walking forward the first one below the read bound decides, and it
//! is lent from the cursor itself. Walking back the oldest comes first, so versions are held, one at a time, until
//! the cursor leaves the key. In both directions the versions of one key that are passed over are stepped through a
//! few times and then jumped with a seek.

mod back;
mod forward;
mod held;

use alloc::{sync::Arc, vec::Vec};
use core::{fmt, ops::Bound};

use lsm_types::{
    EntryCursor, EntryRef, KeyOrder, Kind, MergeOperator, Result, SeparatedValues, SeqNo, Slice,
};

use crate::{
    chain::{Chain, Met},
    coverage::{Coverage, NoCoverage},
    refill::refill,
    source::{Heading, advance},
    window::Window,
};
use held::Held;

/// Versions of one key stepped over before the rest are jumped.
const SKIPS_MAX: u32 = 8;

/// The visible entries of `cursor` at a read bound, a cursor itself: after `move_next`, `move_prev` returns to the entry
/// before. The kind of an entry is [`Kind::Put`] or [`Kind::Indirection`]. Operands are folded into a put with the
/// number of the newest; without a merge operator the newest one stands for the value, and its kind is
/// [`Kind::MergeOperand`].
///
/// Bounds are keys in the order of the tree; inverted ones hold nothing, and a seek outside is clamped. After an
/// error of the cursor it stands on no entry until the next seek. After a failed fold it stands on no entry, but on
/// the key: the walk goes on from there.
pub struct Visible<C, R = NoCoverage> {
    cursor: C,
    /// Entries numbered below are seen.
    before: SeqNo,
    window: Window,
    coverage: R,
    operator: Option<Arc<dyn MergeOperator>>,
    /// Fetches the value below operands where it is separated.
    separated: Option<Arc<dyn SeparatedValues>>,
    /// Whether anybody asks for values.
    values: bool,
    stand: Stand,
    /// The key in hand: the current one, or while passing versions the one passed.
    key: Vec<u8>,
    held: Held,
    chain: Chain,
}

/// Where the visible entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// There is none.
    Nowhere,
    /// Under the cursor.
    Cursor,
    /// Under the cursor, and the entry before has another key.
    Sole,
    /// In `held`, its key in `key`.
    Held(Side),
    /// The operands of the key in `key` could not be folded.
    Failed(Side),
}

/// Where the cursor stands while the visible entry is not under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    /// On the entry before the key.
    Before,
    /// On an older version of the key, or behind it.
    Behind,
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
        mut cursor: C,
        order: KeyOrder,
        before: SeqNo,
        bounds: (Bound<Slice>, Bound<Slice>),
        coverage: R,
    ) -> Self {
        let (lower, upper) = bounds;
        cursor.expect_within(&lower, &upper);
        let window = Window { order, lower, upper };
        Self {
            cursor,
            before,
            window,
            coverage,
            operator: None,
            separated: None,
            values: true,
            stand: Stand::Nowhere,
            key: Vec::new(),
            held: Held::nothing(),
            chain: Chain::default(),
        }
    }

    /// Folds operands with `operator`; without one the newest operand is the value.
    #[must_use]
    pub fn folding(mut self, operator: Option<Arc<dyn MergeOperator>>) -> Self {
        self.operator = operator;
        self
    }

    /// Fetches separated values below operands through `values`; those without operands are lent as their handles.
    #[must_use]
    pub fn fetching(mut self, values: Option<Arc<dyn SeparatedValues>>) -> Self {
        self.separated = values;
        self
    }

    /// For walks that look at keys alone: values are not taken along, so that an entry may show an empty one.
    ///
    /// Not together with [`Visible::folding`].
    #[must_use]
    pub fn without_values(mut self) -> Self {
        self.values = false;
        self
    }

    /// Goes over to other bounds, standing on no entry until the next seek. The cursor stays where it is.
    pub fn set_bounds(&mut self, (lower, upper): (Bound<Slice>, Bound<Slice>)) {
        self.cursor.expect_within(&lower, &upper);
        (self.window.lower, self.window.upper) = (lower, upper);
        self.stand = Stand::Nowhere;
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
        if !self.window.below_upper(key) {
            return Ok(());
        }
        self.cursor.seek(key, self.before)?;
        self.find_forward()
    }

    /// Stands on the last visible entry at or before `key`.
    pub fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        self.seek_left(key, SeqNo::ZERO)
    }

    /// Stands on the last visible entry before `key`.
    pub fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.seek_left(key, SeqNo::LATEST)
    }

    /// Stands on the last visible entry left of the point `(key, before)`, which is one side of `key` or the other.
    fn seek_left(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        if !self.window.below_upper(key) {
            return self.seek_last();
        }
        self.stand = Stand::Nowhere;
        if !self.window.above_lower(key) {
            return Ok(());
        }
        self.cursor.seek_back(key, before)?;
        self.find_back()
    }

    /// Steps to the next visible entry; without an entry it does nothing, unless a fold failed here.
    ///
    /// # Errors
    /// `MergeFailed` for a key whose operands do not fold, once; the next step goes on behind it.
    #[inline]
    pub fn move_next(&mut self) -> Result<()> {
        match core::mem::replace(&mut self.stand, Stand::Nowhere) {
            Stand::Nowhere => return Ok(()),
            Stand::Cursor | Stand::Sole => self.leave_forward()?,
            Stand::Held(Side::Before) | Stand::Failed(Side::Before) => {
                self.cursor.seek(&self.key, SeqNo::ZERO)?;
            }
            Stand::Held(Side::Behind) | Stand::Failed(Side::Behind) => self.pass_versions()?,
        }
        self.find_forward()
    }

    /// Steps to the previous visible entry; without an entry it does nothing, unless a fold failed here.
    ///
    /// # Errors
    /// As [`Visible::move_next`].
    #[inline]
    pub fn move_prev(&mut self) -> Result<()> {
        match core::mem::replace(&mut self.stand, Stand::Nowhere) {
            Stand::Nowhere => return Ok(()),
            Stand::Sole => self.cursor.prev()?,
            Stand::Cursor => {
                self.take_key();
                self.cursor.seek_back(&self.key, SeqNo::LATEST)?;
            }
            Stand::Held(Side::Before) | Stand::Failed(Side::Before) => {}
            Stand::Held(Side::Behind) | Stand::Failed(Side::Behind) => {
                self.cursor.seek_back(&self.key, SeqNo::LATEST)?;
            }
        }
        self.find_back()
    }

    /// The visible entry, lent until the next step.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        match self.stand {
            Stand::Nowhere | Stand::Failed(_) => None,
            Stand::Cursor | Stand::Sole => self.cursor.entry(),
            Stand::Held(_) => {
                let Held { seqno, kind, copied, shared } = &self.held;
                let value = shared.as_deref().unwrap_or(copied);
                Some(EntryRef { key: &self.key, seqno: *seqno, kind: *kind, value })
            }
        }
    }

    /// The key of the visible entry, or the key whose fold has failed.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        match self.stand {
            Stand::Nowhere => None,
            Stand::Cursor | Stand::Sole => self.cursor.entry().map(|entry| entry.key),
            Stand::Held(_) | Stand::Failed(_) => Some(&self.key),
        }
    }

    /// The value of the visible entry as a slice that outlives it, shared with its block where there is one.
    pub fn value(&self) -> Slice {
        match (self.stand, &self.held.shared) {
            (Stand::Nowhere | Stand::Failed(_), _) => Slice::empty(),
            (Stand::Cursor | Stand::Sole, _) => self.cursor.value(),
            (Stand::Held(_), Some(value)) => value.clone(),
            (Stand::Held(_), None) => Slice::copy_from(&self.held.copied),
        }
    }

    /// Jumps towards the end of a deleted stretch; says whether that led anywhere. What remains of the key under the
    /// cursor, if anything, is deleted as well.
    fn jump(&mut self, heading: Heading, covering: Option<SeqNo>) -> Result<bool> {
        let (Some(than), Some((start, end))) = (covering, self.coverage.stretch()) else { return Ok(false) };
        match heading {
            Heading::Forward => self.cursor.skip(end, than),
            Heading::Back => self.cursor.skip_back(start, than),
        }
    }

    /// Stands on the value that the operands in the chain make, the cursor being on that side of the key.
    #[inline(never)]
    fn fold(&mut self, newest: SeqNo, met: Met, side: Side) -> Result<()> {
        let Some(operator) = self.operator.as_deref() else { return Ok(()) };
        self.stand = Stand::Failed(side);
        let value = self.chain.fold(operator, self.separated.as_deref(), &self.key, met)?;
        (self.held.seqno, self.held.kind) = (newest, Kind::Put);
        self.held.shared = Some(value);
        self.stand = Stand::Held(side);
        Ok(())
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
        match self.cursor.entry() {
            Some(entry) => refill(&mut self.key, entry.key),
            None => self.key.clear(),
        }
    }

    /// Whether the cursor stands on a version of the key in hand.
    #[inline]
    fn at_key(&self) -> bool {
        self.cursor.entry().is_some_and(|entry| entry.key == self.key)
    }
}

impl<C, R> fmt::Debug for Visible<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visible")
            .field("before", &self.before)
            .field("stand", &self.stand)
            .finish_non_exhaustive()
    }
}
