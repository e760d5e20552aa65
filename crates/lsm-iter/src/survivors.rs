//! Which entries a flush or compaction writes: one pass over the merged entries, one decision per entry.
//!
//! The entries of a key come newest first. The state of a key is the newest decisive entry met so far, the *shadow*:
//! what lies below it is hidden from every reader that sees the shadow. An entry that cannot be dropped is handed out
//! at once, so a key takes the same memory however many versions it has. Two kinds wait for what comes after them: a
//! weak tombstone, which has no value, for one entry; operands, if there is an operator, for the end of their chain.
//!
//! | entry              | condition                                        | decision                               |
//! |--------------------|--------------------------------------------------|----------------------------------------|
//! | any                | hidden by a range tombstone below W, bottom      | drop                                   |
//! | weak tombstone     | at or above W                                    | keep                                   |
//! | weak tombstone     | below W, a put directly below it                 | drop both                              |
//! | weak tombstone     | below W, otherwise                               | drop at the bottom, else keep; shadows |
//! | any other          | garbage under the shadow                         | drop                                   |
//! | value, indirection | otherwise                                        | keep, zero if allowed; shadows         |
//! | tombstone          | otherwise                                        | drop below W at the bottom, else keep; shadows |
//! | operand            | below W, not hidden, operator                    | fold as below                          |
//! | operand            | otherwise                                        | keep                                   |
//!
//! An entry is garbage when the shadow is below W, or below the caller's watermark with no registered snapshot
//! between the two. Weak tombstones are exempt above the bottom: the put one of them belongs to may lie in a table
//! outside the job, and what shadows it now may be annihilated later.
//!
//! A chain is the operands from the newest below W down to the first other entry, or the first one that a range
//! tombstone below W hides. Nothing outside the job may stand in between:
//!
//! | below the chain                                     | result                                                |
//! |-----------------------------------------------------|-------------------------------------------------------|
//! | a put, a separated one if it can be fetched         | a value with the number of the newest operand; the put goes |
//! | a tombstone, a range tombstone, nothing at all      | a value with the number of the newest operand         |
//! | something else, or not known                        | one operand if the operator composes, else all of them |
//!
//! A value shadows what is left of the key; a fold that fails leaves the operands as they are.
//!
//! A filter is asked about a value or an operand after garbage and what a range tombstone below W hides have gone, and
//! before anything else is decided: what it makes of the entry goes on through the table. It is asked about what a chain
//! folded into, too. In a chain, and about the value below it, it is asked when these are collected: the verdict about
//! an entry that ends the chain is kept until its turn.

mod asking;

use alloc::sync::Arc;
use core::fmt;

use lsm_types::{
    EntryCursor, EntryRef, Error, Kind, MergeOperator, Result, SeparatedValues, SeqNo, Slice, Verdict,
    check_entry,
};

use crate::{
    chain::{Chain, Met},
    filter::{FilterStage, Unfiltered},
    judge::{Decision, Judge},
    retention::{DropSink, KeyContext, Retention},
};
use asking::asked;

/// Memory for the operands of one chain. What is left of a longer one makes a chain of its own, which is as right.
const CHAIN_BYTES_MAX: usize = 64 << 20;

/// Walks the entries of `C` that have to be written, and tells the sink about the others.
///
/// A key is never split over two of these: the cursor gives all versions the job holds of every key it gives.
pub struct Survivors<C, K, S = (), F = Unfiltered> {
    cursor: C,
    judge: Judge<K, S>,
    filter: F,
    /// What the filter said about the entry under the cursor, as long as nothing has come of it.
    told: Option<Verdict>,
    stand: Stand,
    operator: Option<Arc<dyn MergeOperator>>,
    /// Fetches separated values for the operator and the filter.
    values: Option<Arc<dyn SeparatedValues>>,
    chain: Chain,
    /// The value of [`Stand::Made`].
    made: Slice,
    /// What ended the walk.
    error: Option<Error>,
    folds_failed: u64,
    weak_mismatches: u64,
}

/// Where the entry to write is.
#[derive(Clone, Copy, Debug)]
enum Stand {
    /// There is none; the cursor stands on the entry to look at next.
    Between,
    /// Under the cursor, to be written with this number.
    Cursor(SeqNo),
    /// A weak tombstone of the key in hand that the cursor has left.
    Weak(SeqNo),
    /// The operand at this position of the chain; the cursor has left it.
    Operand(usize),
    /// What an entry was made into, with its value in `made`; the cursor has left it.
    Made(SeqNo, Kind),
    /// Nowhere for good.
    Failed,
}

impl<C: EntryCursor, K: KeyContext, S: DropSink> Survivors<C, K, S> {
    /// Walks `cursor` from the entry it stands on to its end.
    pub fn new(cursor: C, retention: Retention, context: K, sink: S) -> Self {
        Self {
            cursor,
            judge: Judge::new(context, retention, sink),
            filter: Unfiltered,
            told: None,
            stand: Stand::Between,
            operator: None,
            values: None,
            chain: Chain::default(),
            made: Slice::empty(),
            error: None,
            folds_failed: 0,
            weak_mismatches: 0,
        }
    }

    /// Lets `filter` look at entries and change them.
    pub fn filtered_by<F: FilterStage>(self, filter: F) -> Survivors<C, K, S, F> {
        let Self { cursor, judge, told, stand, operator, values, chain, made, error, .. } = self;
        let (folds_failed, weak_mismatches) = (self.folds_failed, self.weak_mismatches);
        Survivors {
            cursor,
            judge,
            filter,
            told,
            stand,
            operator,
            values,
            chain,
            made,
            error,
            folds_failed,
            weak_mismatches,
        }
    }
}

impl<C: EntryCursor, K: KeyContext, S: DropSink, F: FilterStage> Survivors<C, K, S, F> {
    /// Folds operands with `operator`; without one they stay as they are.
    #[must_use]
    pub fn folding(mut self, operator: Option<Arc<dyn MergeOperator>>) -> Self {
        self.judge.folds = operator.is_some();
        self.operator = operator;
        self
    }

    /// Fetches separated values through `values`, to fold operands onto them and to show them to the filter; without,
    /// they pass unseen, and operands over them stay as they are. Nothing is fetched that neither of them needs.
    #[must_use]
    pub fn fetching(mut self, values: Option<Arc<dyn SeparatedValues>>) -> Self {
        self.judge.fetches = values.is_some();
        self.values = values;
        self
    }

    /// Goes on to the next entry to write; `false` at the end. An error of the cursor ends the walk for good.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        let found = self.find();
        if let Err(error) = &found {
            self.stand = Stand::Failed;
            self.error = Some(error.clone());
        }
        found
    }

    fn find(&mut self) -> Result<bool> {
        match core::mem::replace(&mut self.stand, Stand::Between) {
            Stand::Cursor(_) => self.cursor.next()?,
            Stand::Operand(at) if at + 1 < self.chain.count() => {
                self.stand = Stand::Operand(at + 1);
                return Ok(true);
            }
            Stand::Between | Stand::Weak(_) | Stand::Operand(_) | Stand::Made(..) => {}
            Stand::Failed => return self.error.clone().map_or(Ok(false), Err),
        }
        while let Some(entry) = self.cursor.entry() {
            // A weak tombstone in the place of the entry under the cursor is no garbage, as the entry may be.
            let decision = match self.told {
                Some(Verdict::RemoveWeak) if F::IS_ACTIVE => Decision::Ask,
                _ => self.judge.judge(entry, F::IS_ACTIVE),
            };
            match decision {
                Decision::Keep(seqno) => self.stand = Stand::Cursor(seqno),
                Decision::Drop => self.leave()?,
                Decision::Pair(seqno) => {
                    self.cursor.next()?;
                    self.stand = self.pair(seqno)?;
                }
                Decision::Fold => {
                    self.chain.clear();
                    self.stand = self.collect_and_fold()?;
                }
                Decision::Ask => self.stand = self.ask()?,
            }
            if !matches!(self.stand, Stand::Between) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes past the entry under the cursor.
    #[inline]
    fn leave(&mut self) -> Result<()> {
        if F::IS_ACTIVE {
            self.told = None;
        }
        self.cursor.next()
    }

    /// What becomes of the weak tombstone `seqno` below W, which the cursor has left.
    fn pair(&mut self, seqno: SeqNo) -> Result<Stand> {
        if self.judge.annihilates(seqno, self.cursor.entry()) {
            self.leave_pair()?;
            return Ok(Stand::Between);
        }
        Ok(if self.judge.keeps_weak(seqno) { Stand::Weak(seqno) } else { Stand::Between })
    }

    /// Leaves the put of a weak pair. A value right below it means that the key was put twice before its weak delete:
    /// that value is what readers see from now on.
    fn leave_pair(&mut self) -> Result<()> {
        self.leave()?;
        let below = self.cursor.entry().filter(|entry| entry.key == self.judge.key());
        self.weak_mismatches += u64::from(below.is_some_and(|entry| entry.kind.is_value()));
        Ok(())
    }

    /// Takes the operand under the cursor, or in its place `made`.
    fn take_operand(&mut self, made: Option<Slice>) -> Result<()> {
        match (made, self.cursor.entry()) {
            (Some(made), Some(entry)) => self.chain.push_made(entry.seqno, made),
            _ => self.chain.push(&self.cursor),
        }
        self.cursor.next()
    }

    #[inline(never)] // keeps the loop over entries without operands tight
    fn collect_and_fold(&mut self) -> Result<Stand> {
        self.collect()?;
        self.fold()
    }

    /// Takes the operands from the one under the cursor down to the end of the chain.
    fn collect(&mut self) -> Result<()> {
        while let Some(entry) = self.cursor.entry().filter(|entry| entry.key == self.judge.key()) {
            let is_asked_about = F::IS_ACTIVE && self.judge.is_asked_about(entry);
            let is_operand = entry.kind == Kind::MergeOperand && !self.judge.is_deleted(entry.seqno);
            if (!is_operand && !is_asked_about) || self.chain.weight() >= CHAIN_BYTES_MAX {
                return Ok(());
            }
            let verdict = if is_asked_about {
                asked(&mut self.filter, self.values.as_deref(), entry)?
            } else {
                Verdict::Keep
            };
            if verdict != Verdict::Keep {
                self.judge.filter(entry.seqno);
            }
            match verdict {
                Verdict::Keep if is_operand => self.take_operand(None)?,
                Verdict::Replace(made) if is_operand => self.take_operand(Some(made))?,
                Verdict::Keep | Verdict::Replace(_) | Verdict::Remove | Verdict::RemoveWeak => {
                    self.told = Some(verdict);
                    return Ok(());
                }
                _ => {
                    self.judge.destroy(entry);
                    self.cursor.next()?;
                }
            }
        }
        Ok(())
    }

    /// What the collected chain becomes; the cursor stands on the entry below it.
    #[inline(never)]
    fn fold(&mut self) -> Result<Stand> {
        let kept = Stand::Operand(0);
        let count = self.chain.count();
        let ends = self.chain.operand(0).zip(self.chain.operand(count.saturating_sub(1)));
        let (Some(((newest, _), (oldest, _))), Some(operator)) = (ends, self.operator.clone()) else {
            return Ok(kept);
        };
        let next = self.below().map(|next| (next.kind, next.seqno));
        if self.judge.may_fold(newest, next) {
            let base = next.is_some_and(|(kind, seqno)| kind.is_value() && !self.judge.is_deleted(seqno));
            match &self.told {
                Some(Verdict::Replace(value)) if base => self.chain.set_made_base(value.clone()),
                _ if base => self.chain.set_base(&self.cursor),
                _ => {}
            }
            let values = self.values.as_deref();
            let Ok(value) = self.chain.fold(operator.as_ref(), values, self.judge.key(), Met::NewestFirst)
            else {
                self.folds_failed += 1;
                return Ok(kept);
            };
            self.consume_older();
            if base {
                if let Some(put) = self.cursor.entry() {
                    self.judge.consume(put.seqno, put.kind, put.value);
                }
                self.leave()?;
            }
            self.judge.alter(newest);
            return self.write_folded(newest, value);
        }
        if count < 2 || !self.judge.may_compose(newest, oldest) {
            return Ok(kept);
        }
        let key = self.judge.key();
        let composed = self.chain.oldest_first(Met::NewestFirst, |operands| operator.compose(key, operands));
        let Some(value) = composed.filter(|value| check_entry(key, value.len()).is_ok()) else {
            return Ok(kept);
        };
        self.consume_older();
        self.made = value;
        self.judge.alter(newest);
        Ok(Stand::Made(newest, Kind::MergeOperand))
    }

    /// Reports all operands of the chain but the newest, in whose place the result is written.
    fn consume_older(&mut self) {
        for at in 1..self.chain.count() {
            if let Some((seqno, value)) = self.chain.operand(at) {
                self.judge.consume(seqno, Kind::MergeOperand, value);
            }
        }
    }

    /// The entry to write, lent until the next step; its number may have become zero.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        if let Stand::Cursor(seqno) = self.stand {
            return self.cursor.entry().map(|entry| EntryRef { seqno, ..entry });
        }
        let key = self.judge.key();
        match self.stand {
            Stand::Weak(seqno) => Some(EntryRef { key, seqno, kind: Kind::WeakTombstone, value: &[] }),
            Stand::Operand(at) => {
                let (seqno, value) = self.chain.operand(at)?;
                Some(EntryRef { key, seqno, kind: Kind::MergeOperand, value })
            }
            Stand::Made(seqno, kind) => Some(EntryRef { key, seqno, kind, value: &self.made }),
            Stand::Cursor(_) | Stand::Between | Stand::Failed => None,
        }
    }

    /// The value of the entry to write as a slice that outlives it.
    pub fn value(&self) -> Slice {
        match self.stand {
            Stand::Cursor(_) => self.cursor.value(),
            Stand::Operand(at) => self.chain.operand_value(at),
            Stand::Made(..) => self.made.clone(),
            Stand::Weak(_) | Stand::Between | Stand::Failed => Slice::empty(),
        }
    }

    /// The number up to which reads would now answer differently: the install raises the retention floor to at least
    /// this. `None` while no history was forgotten.
    pub fn floor(&self) -> Option<SeqNo> {
        self.judge.floor
    }

    /// The highest number of an entry that was not written, or was written as another one, though no read misses it:
    /// a tombstone with nothing left to hide, an operand in whose place a result stands. Whoever lists changes does.
    pub fn altered(&self) -> Option<SeqNo> {
        self.judge.altered
    }

    /// The highest number of an entry that the filter changed.
    pub fn filtered(&self) -> Option<SeqNo> {
        self.judge.filtered
    }

    /// How many chains the operator failed on; their operands were kept.
    pub fn folds_failed(&self) -> u64 {
        self.folds_failed
    }

    /// How many weak pairs had another value right below: keys that were put more than once before a weak delete.
    pub fn weak_mismatches(&self) -> u64 {
        self.weak_mismatches
    }

    /// Goes on with another list of snapshots, or another watermark.
    pub fn set_retention(&mut self, retention: Retention) {
        self.judge.set_retention(retention);
    }

    /// What is walked. At its end the walk goes on when there is more in it.
    pub fn cursor_mut(&mut self) -> &mut C {
        &mut self.cursor
    }

    /// What the walk was made of.
    pub fn into_parts(self) -> (C, K, S, F) {
        (self.cursor, self.judge.context, self.judge.sink, self.filter)
    }
}

impl<C, K, S, F> fmt::Debug for Survivors<C, K, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survivors").field("stand", &self.stand).finish_non_exhaustive()
    }
}
