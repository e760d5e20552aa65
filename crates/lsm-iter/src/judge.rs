//! The decision about one entry of a flush or compaction; the table stands in `survivors.rs`.

use alloc::vec::Vec;

use lsm_types::{EntryRef, Kind, SeqNo};

use crate::{
    resolve::hidden,
    retention::{DropReason, DropSink, KeyContext, Retention},
};

/// Decides, entry by entry.
#[derive(Debug)]
pub(crate) struct Judge<K, S> {
    pub(crate) context: K,
    pub(crate) sink: S,
    retention: Retention,
    /// Whether there is an operator for operands.
    pub(crate) folds: bool,
    /// Whether separated values can be fetched.
    pub(crate) fetches: bool,
    pub(crate) floor: Option<SeqNo>,
    /// The highest number of an entry that went, or was written as something else, without a read missing it.
    pub(crate) altered: Option<SeqNo>,
    /// The highest number of an entry that a filter changed.
    pub(crate) filtered: Option<SeqNo>,
    /// The key in hand; `None` before the first.
    key: Option<Vec<u8>>,
    /// The newest range tombstone below W over the key.
    covering: Option<SeqNo>,
    /// Number of the newest decisive entry of the key.
    shadow: Option<SeqNo>,
    /// Nothing outside the job is older than the entry in hand.
    bottom: bool,
}

/// What becomes of an entry.
pub(crate) enum Decision {
    /// Write it with this number.
    Keep(SeqNo),
    Drop,
    /// The next entry decides about this weak tombstone.
    Pair(SeqNo),
    /// An operand that may fold with what lies below it.
    Fold,
    /// The filter decides first.
    Ask,
}

impl<K: KeyContext, S: DropSink> Judge<K, S> {
    pub(crate) fn new(context: K, retention: Retention, sink: S) -> Self {
        Self {
            context,
            sink,
            retention,
            folds: false,
            fetches: false,
            floor: None,
            altered: None,
            filtered: None,
            key: None,
            covering: None,
            shadow: None,
            bottom: false,
        }
    }

    /// The key in hand; empty before the first.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_deref().unwrap_or_default()
    }

    /// Goes on with another list of snapshots, or another watermark.
    pub(crate) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
        if let Some(key) = &self.key {
            self.covering = self.context.covering(key, self.retention.watermark());
        }
    }

    /// * `asks`: whether there is a filter.
    #[inline]
    pub(crate) fn judge(&mut self, entry: EntryRef<'_>, asks: bool) -> Decision {
        self.enter(entry.key);
        let watermark = self.retention.watermark();
        let deleted = hidden(entry.seqno, self.covering);
        if deleted && self.at_bottom(entry.key, entry.seqno) {
            return self.forget(DropReason::RangeDeleted, entry, watermark.saturating_prev());
        }
        if entry.kind == Kind::WeakTombstone {
            return self.settle_weak(entry.seqno);
        }
        if let Some(shadow) = self.shadow
            && let Some(floor) = self.retention.floor_without(shadow, entry.seqno)
        {
            return self.forget(DropReason::Shadowed, entry, floor);
        }
        if asks && self.is_asked_about(entry) {
            return Decision::Ask;
        }
        self.settle(entry)
    }

    /// Whether the filter is asked about an entry of the key in hand that is not garbage. It is not where a container
    /// outside the job may hold a copy of the entry, which would stand beside what the filter makes of this one.
    pub(crate) fn is_asked_about(&mut self, entry: EntryRef<'_>) -> bool {
        let is_shown = match entry.kind {
            Kind::Put | Kind::MergeOperand => true,
            Kind::Indirection => self.fetches,
            _ => false,
        };
        is_shown
            && !self.is_deleted(entry.seqno)
            && self.retention.may_filter(entry.seqno, self.shadow)
            && self.context.adjacent(entry.key, entry.seqno.next(), entry.seqno)
    }

    /// Decides about an entry of the key in hand that is neither garbage nor a weak tombstone.
    #[inline]
    pub(crate) fn settle(&mut self, entry: EntryRef<'_>) -> Decision {
        match entry.kind {
            Kind::Put | Kind::Indirection => return Decision::Keep(self.keep_value(entry)),
            Kind::Tombstone => {
                self.shadow = Some(entry.seqno);
                if entry.seqno < self.retention.watermark() && self.at_bottom(entry.key, entry.seqno) {
                    self.altered = self.altered.max(Some(entry.seqno));
                    self.sink.dropped(DropReason::Evicted, entry);
                    return Decision::Drop;
                }
            }
            Kind::MergeOperand if self.folds && self.is_collectable(entry.seqno) => return Decision::Fold,
            _ => {}
        }
        Decision::Keep(entry.seqno)
    }

    /// Decides about a weak tombstone.
    pub(crate) fn settle_weak(&self, seqno: SeqNo) -> Decision {
        if seqno < self.retention.watermark() { Decision::Pair(seqno) } else { Decision::Keep(seqno) }
    }

    /// Whether an operand is seen by no reader as anything but history, and not hidden from it.
    fn is_collectable(&self, seqno: SeqNo) -> bool {
        seqno < self.retention.watermark() && !self.is_deleted(seqno)
    }

    /// Notes that a filter made an entry into something else.
    pub(crate) fn filter(&mut self, seqno: SeqNo) {
        self.filtered = self.filtered.max(Some(seqno));
    }

    /// Drops an entry that a filter destroyed.
    pub(crate) fn destroy(&mut self, entry: EntryRef<'_>) {
        self.sink.dropped(DropReason::Filtered, entry);
    }

    /// Drops, for a filter, what operands up to `newest` folded into; what lay below them is history all the same.
    pub(crate) fn destroy_folded(&mut self, newest: SeqNo, value: &[u8]) {
        self.shadow = Some(newest);
        let key = self.key.as_deref().unwrap_or_default();
        self.sink.dropped(DropReason::Filtered, EntryRef { key, seqno: newest, kind: Kind::Put, value });
    }

    /// Whether the filter is asked about what operands of the key in hand up to `newest` folded into.
    pub(crate) fn is_asked_about_folded(&self, newest: SeqNo) -> bool {
        self.retention.may_filter(newest, self.shadow)
    }

    /// Decides about a tombstone that a filter has put in the place of an entry of the key in hand.
    pub(crate) fn settle_made(&mut self, seqno: SeqNo) -> Decision {
        let key = core::mem::take(&mut self.key);
        let entry =
            EntryRef { key: key.as_deref().unwrap_or_default(), seqno, kind: Kind::Tombstone, value: &[] };
        let decision = self.settle(entry);
        self.key = key;
        decision
    }

    /// The number with which a value is written.
    #[inline]
    fn keep_value(&mut self, entry: EntryRef<'_>) -> SeqNo {
        self.shadow = Some(entry.seqno);
        if !self.may_zero(entry.key, entry.seqno) {
            return entry.seqno;
        }
        self.forget_history(); // reads between the two numbers now see a value they did not see
        SeqNo::ZERO
    }

    /// Whether the weak tombstone `weak` of the key in hand goes together with `next`, the entry after it.
    pub(crate) fn annihilates(&mut self, weak: SeqNo, next: Option<EntryRef<'_>>) -> bool {
        let Some(put) = next.filter(|next| next.kind.is_value()) else { return false };
        if self.key.as_deref() != Some(put.key) || !self.context.adjacent(put.key, weak, put.seqno) {
            return false;
        }
        self.sink.dropped(DropReason::Annihilated, weak_tombstone(put.key, weak));
        self.forget(DropReason::Annihilated, put, self.retention.watermark().saturating_prev());
        true
    }

    /// Whether the weak tombstone `weak` of the key in hand, below W and without its put, has to be written.
    pub(crate) fn keeps_weak(&mut self, weak: SeqNo) -> bool {
        self.shadow = Some(weak);
        let Self { context, sink, key, bottom, altered, .. } = self;
        let Some(key) = key.as_deref() else { return true };
        *bottom = *bottom || context.bottom(key, weak);
        if *bottom {
            *altered = (*altered).max(Some(weak));
            sink.dropped(DropReason::Evicted, weak_tombstone(key, weak));
        }
        !*bottom
    }

    /// Whether a range tombstone below W hides an entry of the key in hand.
    pub(crate) fn is_deleted(&self, seqno: SeqNo) -> bool {
        hidden(seqno, self.covering)
    }

    /// Whether operands of the key in hand, the newest one numbered `newest`, may be folded onto `next`, the entry
    /// below them that is no operand of the same chain.
    ///
    /// They may when nothing outside the job comes in between: down to a value or a tombstone, down to the range
    /// tombstone that hides what follows, or, without either, down to nothing at all. A copy of the newest counts: it
    /// would be applied to the result again.
    pub(crate) fn may_fold(&mut self, newest: SeqNo, next: Option<(Kind, SeqNo)>) -> bool {
        let Self { context, key, covering, bottom, fetches, .. } = self;
        let Some(key) = key.as_deref() else { return false };
        let next = next.filter(|(_, seqno)| !hidden(*seqno, *covering));
        match (next, *covering) {
            (Some((Kind::Indirection, _)), _) if !*fetches => false,
            (Some((Kind::Put | Kind::Indirection | Kind::Tombstone | Kind::WeakTombstone, seqno)), _)
            | (None, Some(seqno)) => context.adjacent(key, newest.next(), seqno),
            (None, None) => {
                *bottom = *bottom || context.bottom(key, newest);
                *bottom
            }
            (Some(_), _) => false,
        }
    }

    /// Whether operands of the key in hand from `newest` to `oldest` may become one.
    pub(crate) fn may_compose(&mut self, newest: SeqNo, oldest: SeqNo) -> bool {
        let key = self.key.as_deref().unwrap_or_default();
        self.context.adjacent(key, newest.next(), oldest)
    }

    /// The number with which the value folded from operands up to `newest` is written.
    pub(crate) fn keep_folded(&mut self, newest: SeqNo) -> SeqNo {
        self.shadow = Some(newest);
        let key = core::mem::take(&mut self.key);
        let zero = key.as_deref().is_some_and(|key| self.may_zero(key, newest));
        self.key = key;
        if zero {
            self.forget_history();
            return SeqNo::ZERO;
        }
        newest
    }

    /// Notes that an operand is written as what it was folded or composed into.
    pub(crate) fn alter(&mut self, seqno: SeqNo) {
        self.altered = self.altered.max(Some(seqno));
    }

    /// Reports an entry of the key in hand that went into a fold.
    pub(crate) fn consume(&mut self, seqno: SeqNo, kind: Kind, value: &[u8]) {
        self.forget_history();
        let key = self.key.as_deref().unwrap_or_default();
        self.sink.dropped(DropReason::Folded, EntryRef { key, seqno, kind, value });
    }

    /// Reads below W now see less than there was.
    fn forget_history(&mut self) {
        self.floor = self.floor.max(Some(self.retention.watermark().saturating_prev()));
    }

    /// Drops an entry that older reads could see.
    fn forget(&mut self, reason: DropReason, entry: EntryRef<'_>, floor: SeqNo) -> Decision {
        self.floor = self.floor.max(Some(floor));
        self.sink.dropped(reason, entry);
        Decision::Drop
    }

    /// Takes `key` in hand.
    #[inline]
    fn enter(&mut self, key: &[u8]) {
        if self.key.as_deref() == Some(key) {
            return;
        }
        (self.shadow, self.bottom) = (None, false);
        self.covering = self.context.covering(key, self.retention.watermark());
        let kept = self.key.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(key);
    }

    #[inline]
    fn at_bottom(&mut self, key: &[u8], seqno: SeqNo) -> bool {
        self.bottom = self.bottom || self.context.bottom(key, seqno);
        self.bottom
    }

    /// Whether a value may be written with number zero: everything of the key below it is dropped, here and elsewhere
    /// there is nothing, and no range tombstone, older ones included, would hide it.
    #[inline]
    fn may_zero(&mut self, key: &[u8], seqno: SeqNo) -> bool {
        self.retention.may_zero(seqno)
            && self.at_bottom(key, seqno)
            && self.context.covering(key, SeqNo::LATEST).is_none()
    }
}

fn weak_tombstone(key: &[u8], seqno: SeqNo) -> EntryRef<'_> {
    EntryRef { key, seqno, kind: Kind::WeakTombstone, value: &[] }
}
