//! The history of one life, and what reads have to see of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    rc::Rc,
};

use lsm_types::{KeyOrder, Kind, SeqNo};

use super::{
    axes::Axes,
    snapshot::{Seen, Snapshot},
    subject::Write,
};
use crate::oracle::History;

/// A history with a memory for snapshots: most reads ask for what earlier ones asked for.
pub(super) struct Model {
    axes: Axes,
    order: KeyOrder,
    history: History,
    /// All writes, in the order in which they were made.
    log: Vec<(Write, SeqNo)>,
    /// Places of those in it that are in tables, although earlier ones may not be.
    ahead: BTreeSet<usize>,
    /// How many of them are in sealed memtables or tables.
    sealed: usize,
    /// How many of them are in tables.
    durable: usize,
    probes: Rc<[Vec<u8>]>,
    known: BTreeMap<SeqNo, Rc<Snapshot>>,
}

impl Model {
    pub(super) fn new(axes: &Axes) -> Self {
        Self {
            axes: *axes,
            order: KeyOrder::new(axes.comparator()),
            history: History::new().folding(axes.operator()),
            log: Vec::new(),
            ahead: BTreeSet::new(),
            sealed: 0,
            durable: 0,
            probes: axes.keys.probes().into(),
            known: BTreeMap::new(),
        }
    }

    pub(super) fn order(&self) -> &KeyOrder {
        &self.order
    }

    pub(super) fn write(&mut self, write: Write, seqno: SeqNo) {
        self.tell(&write, seqno);
        self.log.push((write, seqno));
        drop(self.known.split_off(&seqno.next()));
    }

    /// A write that is in a table at once.
    pub(super) fn ingest(&mut self, write: Write, seqno: SeqNo) {
        self.ahead.insert(self.log.len());
        self.write(write, seqno);
    }

    fn tell(&mut self, write: &Write, seqno: SeqNo) {
        match write {
            Write::Put(key, value) => self.history.put(key, seqno, value),
            Write::Delete(key) => self.history.delete(key, seqno),
            Write::DeleteWeak(key) => self.history.write(key, seqno, Kind::WeakTombstone, &[]),
            Write::Merge(key, operand) => self.history.write(key, seqno, Kind::MergeOperand, operand),
            Write::DeleteRange(lower, upper) => {
                let bounds = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
                self.history.delete_range(bounds, seqno, &self.order);
            }
            Write::DeletePrefix(prefix) => self.history.delete_prefix(prefix, seqno),
        }
    }

    /// The memtable is frozen.
    pub(super) fn seal(&mut self) {
        self.sealed = self.log.len();
    }

    /// What is frozen is in tables.
    pub(super) fn flush(&mut self) {
        self.durable = self.sealed;
    }

    /// What is not in tables never was.
    pub(super) fn lose(&mut self) {
        let (durable, ahead) = (self.durable, std::mem::take(&mut self.ahead));
        let mut place = 0;
        self.log.retain(|_| {
            place += 1;
            place <= durable || ahead.contains(&(place - 1))
        });
        self.durable = self.log.len();
        self.sealed = self.durable;
        self.history = History::new().folding(self.axes.operator());
        self.known.clear();
        for (write, seqno) in std::mem::take(&mut self.log) {
            self.tell(&write, seqno);
            self.log.push((write, seqno));
        }
    }

    /// The write `back` writes ago, if it is one of a single key, and no later one with its number took its place.
    pub(super) fn written(&self, back: u8) -> Option<&(Write, SeqNo)> {
        let mut later = self.log.iter().rev().take(back.into());
        let written = self.log.iter().rev().nth(back.into())?;
        let key = written.0.key().filter(|_| !matches!(written.0, Write::DeleteWeak(_)))?;
        let takes_place = |(write, seqno): &(Write, SeqNo)| *seqno == written.1 && write.key() == Some(key);
        (!later.any(takes_place)).then_some(written)
    }

    /// What stands under a key and a number.
    pub(super) fn standing(&self, key: &[u8], seqno: SeqNo) -> Option<&Write> {
        let mut log = self.log.iter().rev();
        log.find(|(write, number)| *number == seqno && write.key() == Some(key)).map(|(write, _)| write)
    }

    /// Whether `write` is a delete of a range that holds `key`.
    pub(super) fn deletes(&self, write: &Write, key: &[u8]) -> bool {
        match write {
            Write::DeleteRange(lower, upper) => {
                let single = (Bound::Included(key.to_vec()), Bound::Included(key.to_vec()));
                !is_empty((lower, &single.1), &self.order) && !is_empty((&single.0, upper), &self.order)
            }
            Write::DeletePrefix(prefix) => key.starts_with(prefix),
            _ => false,
        }
    }

    /// Whether a delete of a range up to `last` hides what is numbered `seqno` under `key`.
    pub(super) fn is_hidden(&self, key: &[u8], seqno: SeqNo, last: SeqNo) -> bool {
        let mut later = self.log.iter().filter(|(_, number)| seqno < *number && *number <= last);
        later.any(|(write, _)| self.deletes(write, key))
    }

    /// Whether the write of a key before `seqno`, or the one after it, in the order of numbers and apart from ordinary
    /// deletes, is a put or an operand.
    pub(super) fn is_beside_put(&self, key: &[u8], seqno: SeqNo) -> bool {
        let (mut before, mut after) = (None, None);
        for (write, number) in &self.log {
            let is_put = match write {
                Write::Put(other, _) | Write::Merge(other, _) if other == key => true,
                Write::DeleteWeak(other) if other == key => false,
                _ => continue,
            };
            if *number < seqno {
                before = before.max(Some((*number, is_put)));
            } else if after.is_none_or(|(known, _)| *number < known) {
                after = Some((*number, is_put));
            }
        }
        [before, after].into_iter().flatten().any(|(_, is_put)| is_put)
    }

    /// What a read sees that sees numbers below `before`.
    pub(super) fn at(&mut self, before: SeqNo) -> Rc<Snapshot> {
        if let Some(known) = self.known.get(&before) {
            return known.clone();
        }
        let seen = |key: &[u8]| match self.history.value(key, before) {
            Ok(value) => value.map(Seen::Value),
            Err(_) => Some(Seen::Broken),
        };
        let keys = self.history.keys();
        let entries = keys.filter_map(|key| seen(key).map(|seen| (key.to_vec(), seen))).collect();
        let snapshot = Rc::new(Snapshot::new(before, self.order.clone(), entries, self.probes.clone()));
        self.known.insert(before, snapshot.clone());
        snapshot
    }

    /// What a read may see of a key on which weak deletes are misused: where one of them is the newest that there is
    /// of the key, nothing or an older value, down to an ordinary delete.
    pub(super) fn may_be(&self, key: &[u8], before: SeqNo, found: Option<&[u8]>) -> bool {
        let mut is_weakly_deleted = false;
        for version in self.history.survivors(key, before) {
            match version.kind {
                Kind::WeakTombstone => is_weakly_deleted = true,
                Kind::Tombstone => break,
                _ if found == Some(&version.value) => return true,
                _ if is_weakly_deleted => {}
                _ => return false,
            }
        }
        found.is_none()
    }
}

/// Whether no key can lie between two bounds.
pub(super) fn is_empty(bounds: (&Bound<Vec<u8>>, &Bound<Vec<u8>>), order: &KeyOrder) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(lower), Bound::Included(upper)) => order.compare(lower, upper).is_gt(),
        (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) => order.compare(lower, upper).is_ge(),
    }
}
