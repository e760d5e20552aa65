//! What compaction filters say becomes what was written: the history is changed as they said, and reads follow it.
//!
//! A filter may only be shown what stands in the history and no held read sees. In an order that a job may choose it
//! changes entries one by one, so the rules of a subject say nothing whose result depends on what was collected
//! before: what is destroyed has to be absent afterwards, as what is removed.

use lsm_types::{SeqNo, Verdict};

use super::{
    super::{axes::Folding, snapshot::Seen, subject::Subject},
    Judged, World, Write,
};
use crate::filters::Said;

impl<S: Subject> World<'_, S> {
    /// Takes over what filters did in the last job.
    ///
    /// * `newest`: the bound above everything when it began.
    pub(super) fn judge_filters(&mut self, newest: SeqNo) -> Judged {
        let said = self.subject()?.filtered();
        let of_views = self.views.iter().filter_map(|kept| kept.hold.as_ref());
        let held = self.holds.iter().chain(of_views).map(|(before, _)| *before);
        let held: Vec<SeqNo> = held.filter(|before| self.cut < *before).collect();
        let seen: Vec<_> = held.iter().map(|before| self.model.at(*before)).collect();
        for said in &said {
            self.tally.add("verdict", name_of(&said.verdict));
            self.take_over(said)?;
            if said.verdict != Verdict::Keep {
                self.changed = self.changed.max(newest.saturating_prev());
            }
        }
        for (before, seen) in held.into_iter().zip(seen) {
            if self.model.at(before).entries() != seen.entries() {
                return Err(format!("a filter has changed what a held read below {before} sees"));
            }
        }
        Ok(())
    }

    fn take_over(&mut self, said: &Said) -> Judged {
        let Said { key, seqno, is_operand, value, verdict } = said;
        if *seqno == SeqNo::ZERO && *verdict == Verdict::Keep {
            return Ok(()); // which of the older ones this was is not told any more
        }
        let is_right = match (self.model.standing(key, *seqno), is_operand) {
            (Some(Write::Put(_, put)), false) => put == value,
            (Some(Write::Merge(_, operand)), true) => {
                operand == value || self.axes.folding == Folding::Compose
            }
            (Some(Write::Merge(..)), false) => {
                self.tally.add("verdict", "of a fold");
                // Under a delete that every read sees, tables go unread, and the base of a chain with them. What is
                // left of the chain is folded for nobody until a merge drops it.
                let unread = self.subject()?.floor().max(self.cut);
                self.model.at(seqno.next()).of(key) == Some(&Seen::Value(value.clone()))
                    || self.model.is_hidden(key, *seqno, unread)
            }
            _ => false,
        };
        if !is_right {
            let standing = self.model.standing(key, *seqno);
            return Err(format!("a filter was shown {said:?}, where {standing:?} stands"));
        }
        let write = match verdict {
            Verdict::Keep => return Ok(()),
            Verdict::RemoveWeak => Write::DeleteWeak(key.clone()),
            Verdict::Replace(value) if *is_operand => Write::Merge(key.clone(), value.to_vec()),
            Verdict::Replace(value) => Write::Put(key.clone(), value.to_vec()),
            _ => Write::Delete(key.clone()),
        };
        self.model.ingest(write, *seqno);
        Ok(())
    }
}

fn name_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Keep => "keep",
        Verdict::Remove => "remove",
        Verdict::RemoveWeak => "remove weakly",
        Verdict::Replace(_) => "replace",
        _ => "destroy",
    }
}
