//! Which entries a flush or compaction writes: one pass over the merged entries, one decision per entry.
//!
//! The entries of a key come newest first. The state of a key is the newest decisive entry met so far, the *shadow*:
//! what lies below it is hidden from every reader that sees the shadow. An entry that cannot be dropped is handed out
//! at once, so a key takes the same memory however many versions it has; only a weak tombstone, which has no value,
//! waits for the entry after it.
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
//! | operand            | otherwise                                        | keep                                   |
//!
//! An entry is garbage when the shadow is below W, or below the caller's watermark with no registered snapshot
//! between the two. Weak tombstones are exempt above the bottom: the put one of them belongs to may lie in a table
//! outside the job, and what shadows it now may be annihilated later.

use alloc::vec::Vec;

use lsm_types::{EntryCursor, EntryRef, Error, Kind, Result, SeqNo, Slice};

use crate::{
    resolve::hidden,
    retention::{DropReason, DropSink, KeyContext, Retention},
};

/// Walks the entries of `C` that have to be written, and tells the sink about the others.
///
/// A key is never split over two of these: the cursor gives all versions the job holds of every key it gives.
#[derive(Debug)]
pub struct Survivors<C, K, S = ()> {
    cursor: C,
    judge: Judge<K, S>,
    stand: Stand,
}

/// Where the entry to write is.
#[derive(Debug)]
enum Stand {
    /// There is none; the cursor stands on the entry to look at next.
    Between,
    /// Under the cursor, to be written with this number.
    Cursor(SeqNo),
    /// A weak tombstone of the key in hand that the cursor has left.
    Weak(SeqNo),
    Failed(Error),
}

/// Decides, entry by entry.
#[derive(Debug)]
struct Judge<K, S> {
    context: K,
    sink: S,
    retention: Retention,
    floor: Option<SeqNo>,
    /// The key in hand; `None` before the first.
    key: Option<Vec<u8>>,
    /// Number of the newest decisive entry of the key.
    shadow: Option<SeqNo>,
    /// Nothing outside the job is older than the entry in hand.
    bottom: bool,
}

enum Verdict {
    /// Write it with this number.
    Keep(SeqNo),
    Drop,
    /// The next entry decides about this weak tombstone.
    Pair(SeqNo),
}

impl<C: EntryCursor, K: KeyContext, S: DropSink> Survivors<C, K, S> {
    /// Walks `cursor` from the entry it stands on to its end.
    pub fn new(cursor: C, retention: Retention, context: K, sink: S) -> Self {
        let judge = Judge { context, sink, retention, floor: None, key: None, shadow: None, bottom: false };
        Self { cursor, judge, stand: Stand::Between }
    }

    /// Goes on to the next entry to write; `false` at the end. An error of the cursor ends the walk for good.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        let found = self.find();
        if let Err(error) = &found {
            self.stand = Stand::Failed(error.clone());
        }
        found
    }

    fn find(&mut self) -> Result<bool> {
        match core::mem::replace(&mut self.stand, Stand::Between) {
            Stand::Cursor(_) => self.cursor.next()?,
            Stand::Between | Stand::Weak(_) => {}
            Stand::Failed(error) => return Err(error),
        }
        while let Some(entry) = self.cursor.entry() {
            match self.judge.judge(entry) {
                Verdict::Keep(seqno) => {
                    self.stand = Stand::Cursor(seqno);
                    return Ok(true);
                }
                Verdict::Drop => self.cursor.next()?,
                Verdict::Pair(seqno) => {
                    self.cursor.next()?;
                    if self.judge.annihilates(seqno, self.cursor.entry()) {
                        self.cursor.next()?;
                    } else if self.judge.keeps_weak(seqno) {
                        self.stand = Stand::Weak(seqno);
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// The entry to write, lent until the next step; its number may have become zero.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        match self.stand {
            Stand::Cursor(seqno) => self.cursor.entry().map(|entry| EntryRef { seqno, ..entry }),
            Stand::Weak(seqno) => {
                let key = self.judge.key.as_deref()?;
                Some(EntryRef { key, seqno, kind: Kind::WeakTombstone, value: &[] })
            }
            Stand::Between | Stand::Failed(_) => None,
        }
    }

    /// The value of the entry to write as a slice that outlives it.
    pub fn value(&self) -> Slice {
        if matches!(self.stand, Stand::Cursor(_)) { self.cursor.value() } else { Slice::empty() }
    }

    /// The number up to which reads would now answer differently: the install raises the retention floor to at least
    /// this. `None` while no history was forgotten.
    pub fn floor(&self) -> Option<SeqNo> {
        self.judge.floor
    }

    /// Goes on with another list of snapshots, or another watermark.
    pub fn set_retention(&mut self, retention: Retention) {
        self.judge.retention = retention;
    }

    /// What the walk was made of.
    pub fn into_parts(self) -> (C, K, S) {
        (self.cursor, self.judge.context, self.judge.sink)
    }
}

impl<K: KeyContext, S: DropSink> Judge<K, S> {
    #[inline]
    fn judge(&mut self, entry: EntryRef<'_>) -> Verdict {
        self.enter(entry.key);
        let watermark = self.retention.watermark();
        let covering = self.context.covering(entry.key, watermark);
        if hidden(entry.seqno, covering) && self.at_bottom(entry.key, entry.seqno) {
            return self.forget(DropReason::RangeDeleted, entry, watermark.saturating_prev());
        }
        if entry.kind == Kind::WeakTombstone {
            return if entry.seqno < watermark {
                Verdict::Pair(entry.seqno)
            } else {
                Verdict::Keep(entry.seqno)
            };
        }
        if let Some(shadow) = self.shadow
            && let Some(floor) = self.retention.floor_without(shadow, entry.seqno)
        {
            return self.forget(DropReason::Shadowed, entry, floor);
        }
        match entry.kind {
            Kind::Put | Kind::Indirection => {
                self.shadow = Some(entry.seqno);
                if self.may_zero(entry) {
                    // Reads between the two numbers now see a value they did not see.
                    self.floor = self.floor.max(Some(watermark.saturating_prev()));
                    return Verdict::Keep(SeqNo::ZERO);
                }
            }
            Kind::Tombstone => {
                self.shadow = Some(entry.seqno);
                if entry.seqno < watermark && self.at_bottom(entry.key, entry.seqno) {
                    self.sink.dropped(DropReason::Evicted, entry);
                    return Verdict::Drop;
                }
            }
            _ => {}
        }
        Verdict::Keep(entry.seqno)
    }

    /// Whether the weak tombstone `weak` of the key in hand goes together with `next`, the entry after it.
    fn annihilates(&mut self, weak: SeqNo, next: Option<EntryRef<'_>>) -> bool {
        let Some(put) = next.filter(|next| next.kind.is_value()) else { return false };
        if self.key.as_deref() != Some(put.key) || !self.context.adjacent(put.key, weak, put.seqno) {
            return false;
        }
        self.sink.dropped(DropReason::Annihilated, weak_tombstone(put.key, weak));
        self.forget(DropReason::Annihilated, put, self.retention.watermark().saturating_prev());
        true
    }

    /// Whether the weak tombstone `weak` of the key in hand, below W and without its put, has to be written.
    fn keeps_weak(&mut self, weak: SeqNo) -> bool {
        self.shadow = Some(weak);
        let Self { context, sink, key, bottom, .. } = self;
        let Some(key) = key.as_deref() else { return true };
        *bottom = *bottom || context.bottom(key, weak);
        if *bottom {
            sink.dropped(DropReason::Evicted, weak_tombstone(key, weak));
        }
        !*bottom
    }

    /// Drops an entry that older reads could see.
    fn forget(&mut self, reason: DropReason, entry: EntryRef<'_>, floor: SeqNo) -> Verdict {
        self.floor = self.floor.max(Some(floor));
        self.sink.dropped(reason, entry);
        Verdict::Drop
    }

    /// Takes `key` in hand.
    #[inline]
    fn enter(&mut self, key: &[u8]) {
        if self.key.as_deref() == Some(key) {
            return;
        }
        (self.shadow, self.bottom) = (None, false);
        let kept = self.key.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(key);
    }

    #[inline]
    fn at_bottom(&mut self, key: &[u8], seqno: SeqNo) -> bool {
        self.bottom = self.bottom || self.context.bottom(key, seqno);
        self.bottom
    }

    /// Whether the value may be written with number zero: everything of the key below it is dropped, here and
    /// elsewhere there is nothing, and no range tombstone, older ones included, would hide it.
    #[inline]
    fn may_zero(&mut self, entry: EntryRef<'_>) -> bool {
        self.retention.may_zero(entry.seqno)
            && self.at_bottom(entry.key, entry.seqno)
            && self.context.covering(entry.key, SeqNo::LATEST).is_none()
    }
}

fn weak_tombstone(key: &[u8], seqno: SeqNo) -> EntryRef<'_> {
    EntryRef { key, seqno, kind: Kind::WeakTombstone, value: &[] }
}
