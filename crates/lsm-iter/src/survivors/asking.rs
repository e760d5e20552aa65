//! The filter's part in the walk: what its verdicts make of entries, of the end of a chain, and of what a chain became.

use lsm_types::{
    EntryCursor, EntryRef, Kind, Result, SeparatedValue, SeparatedValues, SeqNo, Slice, Verdict, check_entry,
};

use super::{Stand, Survivors};
use crate::{
    IterError,
    filter::FilterStage,
    judge::Decision,
    retention::{DropSink, KeyContext},
};

impl<C: EntryCursor, K: KeyContext, S: DropSink, F: FilterStage> Survivors<C, K, S, F> {
    /// What becomes of the entry under the cursor, which is the filter's to decide about.
    #[inline(never)]
    pub(super) fn ask(&mut self) -> Result<Stand> {
        let Some(entry) = self.cursor.entry() else { return Ok(Stand::Between) };
        let (seqno, kind) = (entry.seqno, entry.kind);
        let verdict = match self.told.take() {
            Some(verdict) => verdict,
            None => asked(&mut self.filter, self.values.as_deref(), entry)?,
        };
        match verdict {
            Verdict::Keep => {
                return Ok(match self.judge.settle(entry) {
                    Decision::Fold => {
                        self.chain.clear();
                        self.take_operand(None)?;
                        self.collect_and_fold()?
                    }
                    Decision::Keep(seqno) => Stand::Cursor(seqno),
                    Decision::Drop | Decision::Pair(_) | Decision::Ask => Stand::Between,
                });
            }
            Verdict::Replace(value) => {
                self.judge.filter(seqno);
                let decision = self.judge.settle(entry);
                if matches!(decision, Decision::Fold) {
                    self.chain.clear();
                    self.take_operand(Some(value))?;
                    return self.collect_and_fold();
                }
                self.made = value;
                self.cursor.next()?;
                return Ok(if let Decision::Keep(seqno) = decision {
                    // A value that takes the place of a separated one lies beside its key, until it is written.
                    Stand::Made(seqno, if kind == Kind::Indirection { Kind::Put } else { kind })
                } else {
                    Stand::Between
                });
            }
            Verdict::Remove => {
                self.judge.filter(seqno);
                self.cursor.next()?;
                return Ok(self.made_tombstone(seqno));
            }
            Verdict::RemoveWeak => {
                self.judge.filter(seqno);
                self.cursor.next()?;
                return if let Decision::Pair(seqno) = self.judge.settle_weak(seqno) {
                    self.pair(seqno)
                } else {
                    Ok(Stand::Weak(seqno))
                };
            }
            // `Destroy`; what later versions may say is not known here.
            _ => {
                self.judge.filter(seqno);
                self.judge.destroy(entry);
            }
        }
        self.cursor.next()?;
        Ok(Stand::Between)
    }

    /// Writes a tombstone in the place of the entry numbered `seqno` of the key in hand, which the cursor has left.
    fn made_tombstone(&mut self, seqno: SeqNo) -> Stand {
        self.made = Slice::empty();
        if let Decision::Keep(seqno) = self.judge.settle_made(seqno) {
            Stand::Made(seqno, Kind::Tombstone)
        } else {
            Stand::Between
        }
    }

    /// The entry of the key in hand below the chain, as the filter has it.
    pub(super) fn below(&self) -> Option<EntryRef<'_>> {
        let entry = self.cursor.entry().filter(|entry| entry.key == self.judge.key())?;
        Some(match &self.told {
            Some(Verdict::Remove) => EntryRef { kind: Kind::Tombstone, value: &[], ..entry },
            Some(Verdict::RemoveWeak) => EntryRef { kind: Kind::WeakTombstone, value: &[], ..entry },
            Some(Verdict::Replace(value)) => EntryRef { kind: Kind::Put, value, ..entry },
            _ => entry,
        })
    }

    /// What becomes of the value that operands up to `newest` folded into.
    pub(super) fn write_folded(&mut self, newest: SeqNo, value: Slice) -> Result<Stand> {
        let mut verdict = Verdict::Keep;
        if F::IS_ACTIVE && self.judge.is_asked_about_folded(newest) {
            let key = self.judge.key();
            let entry = EntryRef { key, seqno: newest, kind: Kind::Put, value: &value };
            verdict = asked(&mut self.filter, None, entry)?;
            if verdict != Verdict::Keep {
                self.judge.filter(newest);
            }
        }
        self.made = match verdict {
            Verdict::Keep => value,
            Verdict::Replace(value) => value,
            Verdict::Remove => return Ok(self.made_tombstone(newest)),
            Verdict::RemoveWeak => {
                let is_kept = self.judge.keeps_weak(newest);
                return Ok(if is_kept { Stand::Weak(newest) } else { Stand::Between });
            }
            _ => {
                self.judge.destroy_folded(newest, &value);
                return Ok(Stand::Between);
            }
        };
        Ok(Stand::Made(self.judge.keep_folded(newest), Kind::Put))
    }
}

/// What the filter says about an entry, which it sees with its value wherever that lies.
pub(super) fn asked(
    filter: &mut impl FilterStage,
    values: Option<&dyn SeparatedValues>,
    entry: EntryRef<'_>,
) -> Result<Verdict> {
    let verdict = match (entry.kind, values) {
        (Kind::Indirection, Some(values)) => {
            let value = SeparatedValue::new(values, entry.key, entry.value);
            let verdict = filter.ask_separated(entry, &value);
            // Whatever a filter makes of it: what cannot be read is nothing to decide about.
            match value.failure() {
                Some(error) => return Err(error),
                None => verdict,
            }
        }
        (Kind::Indirection, None) => {
            return Err(IterError::SeparatedBase { key: entry.key.into() }.into());
        }
        _ => filter.ask(entry),
    };
    let verdict = verdict.and_then(|verdict| {
        if let Verdict::Replace(value) = &verdict {
            check_entry(entry.key, value.len())?;
        }
        Ok(verdict)
    });
    verdict.map_err(|source| {
        IterError::FilterFailed { key: entry.key.into(), seqno: entry.seqno, source }.into()
    })
}
