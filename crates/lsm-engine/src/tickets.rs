//! Numbers whose writes are still on their way: what ends the prefix of which everything is applied.
//!
//! A caller with a log and several writers draws numbers before it writes them. Between the two the tree would not know
//! of them, and call durable what comes after. A ticket tells it.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use lsm_types::{Result, SeqNo};
use parking_lot::Mutex;

use crate::{EngineError, Tree};

/// Numbers that were drawn and whose writes are not all applied.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Ends of the ranges of open tickets, by start and ticket.
    open: BTreeMap<(SeqNo, u64), SeqNo>,
    next: u64,
    /// Numbers of which tables held some and a crash may have taken others; a log gives them back.
    gap: Option<Range<SeqNo>>,
    /// End of what was replayed.
    replayed: SeqNo,
}

impl Tickets {
    /// * `durable`: every write numbered below it is in tables.
    /// * `end`: bound above every number in tables.
    pub(crate) fn after_recovery(durable: SeqNo, end: SeqNo) -> Self {
        let gap = (durable < end).then_some(durable..end);
        Self(Mutex::new(State { gap, ..State::default() }))
    }

    fn open(&self, numbers: &Range<SeqNo>) -> u64 {
        let mut state = self.0.lock();
        let ticket = state.next;
        state.next += 1;
        state.open.insert((numbers.start, ticket), numbers.end);
        ticket
    }

    /// The lowest number that may still come; [`SeqNo::LATEST`] when none is known of.
    ///
    /// * `visible_end`: the bound above everything written. What passes the replayed numbers was written by a caller
    ///   who has nothing left to replay.
    pub(crate) fn lowest(&self, visible_end: SeqNo) -> SeqNo {
        let state = self.0.lock();
        let gap = state.gap.as_ref().filter(|gap| visible_end <= gap.end.max(state.replayed));
        let open = state.open.keys().next().map(|(start, _)| *start);
        gap.map(|gap| gap.start).into_iter().chain(open).min().unwrap_or(SeqNo::LATEST)
    }

    /// The bound above all numbers of open tickets.
    pub(crate) fn end(&self) -> SeqNo {
        self.0.lock().open.values().copied().max().unwrap_or_default()
    }

    /// The write with these numbers was replayed, and so was every one below.
    pub(crate) fn note_replayed(&self, end: SeqNo) {
        let mut state = self.0.lock();
        state.replayed = state.replayed.max(end);
        state.gap = state.gap.take().and_then(|gap| {
            let start = gap.start.max(end);
            (start < gap.end).then_some(start..gap.end)
        });
    }
}

/// Numbers that were drawn for a write: see [`Tree::begin`].
///
/// A ticket that is dropped stays open: its write failed, and the log still has to give it back.
#[derive(Debug)]
#[must_use = "a ticket that is not committed holds the durable watermark back until the tree is opened again"]
pub struct WriteTicket {
    tickets: Arc<Tickets>,
    numbers: Range<SeqNo>,
    ticket: u64,
}

impl WriteTicket {
    /// The numbers it stands for.
    pub fn numbers(&self) -> Range<SeqNo> {
        self.numbers.clone()
    }

    /// Says that the write has returned, or that it will never be made and no log will give it back.
    pub fn commit(self) {
        self.tickets.0.lock().open.remove(&(self.numbers.start, self.ticket));
    }
}

impl Tree {
    /// Says that `numbers` were drawn for a write that is on its way. Until the ticket is committed no flush calls
    /// anything numbered as high durable, and no log position of a seal from now on is kept.
    ///
    /// For callers whose log is replayed and who write from several threads, or to the log before the tree: draw the
    /// numbers, begin, and append to the log under one lock, then write and commit. Without tickets the tree knows of
    /// a write when it has returned.
    ///
    /// # Errors
    /// `SeqNoOutOfRange` for numbers that no write may carry; `InvalidArgument` for none; `BelowSnapshot` when writes
    /// so low are refused, or were called durable before: they were drawn and not begun under one lock.
    pub fn begin(&self, numbers: Range<SeqNo>) -> Result<WriteTicket> {
        let inner = &self.inner;
        inner.check_writable()?;
        if !numbers.start.is_write() {
            return Err(EngineError::SeqNoOutOfRange { seqno: numbers.start, what: "a write" }.into());
        }
        if numbers.is_empty() {
            let problem = "is empty; a batch without operations needs no ticket";
            return Err(EngineError::InvalidArgument { argument: "numbers", problem }.into());
        }
        // Open first: a flush that looks from now on knows of it.
        let ticket = inner.tickets.open(&numbers);
        let ticket = WriteTicket { tickets: inner.tickets.clone(), numbers, ticket };
        let bound = inner.holds.write_floor().max(self.persisted().watermark);
        let seqno = ticket.numbers.start;
        if seqno < bound {
            ticket.commit();
            return Err(EngineError::BelowSnapshot { seqno, bound }.into());
        }
        Ok(ticket)
    }

    /// Every number below this for which a ticket was begun is applied: what a caller with several writers may show to
    /// readers.
    pub fn applied_prefix(&self) -> SeqNo {
        let end = self.inner.visible_end();
        self.inner.tickets.lowest(end).min(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: u64) -> SeqNo {
        SeqNo::new(raw).unwrap()
    }

    #[test]
    fn a_gap_left_by_a_crash_closes_with_replay_or_with_the_first_write_above_it() {
        let tickets = || Tickets::after_recovery(at(5), at(10));
        assert_eq!(tickets().lowest(at(10)), at(5), "nothing was replayed yet");
        let replayed = tickets();
        replayed.note_replayed(at(7));
        assert_eq!(replayed.lowest(at(10)), at(7));
        replayed.note_replayed(at(12));
        assert_eq!(replayed.lowest(at(12)), SeqNo::LATEST);
        assert_eq!(tickets().lowest(at(11)), SeqNo::LATEST, "a write above what was there: nobody replays");
        assert_eq!(Tickets::after_recovery(at(10), at(10)).lowest(at(10)), SeqNo::LATEST);
    }
}
