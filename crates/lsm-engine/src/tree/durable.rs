//! Up to where writes are in durable tables, and what that keeps compaction from forgetting.
//!
//! The watermark divides the numbers in two. Below it everything is in tables, and a replay passes it over. From it on a
//! write may be in tables or not, and a replay makes it again. So that this changes nothing where the write is in a
//! table, no job folds or collects anything from the watermark on: a second copy of the very same entry is one entry.
//! The watermark goes up in the edit of the flush that makes it true, and never down.

use lsm_compaction_executor::InstallError;
use lsm_manifest::{Catalog, TreeEdit, Version, VersionEdit, Watermark};
use lsm_types::{Result, SeqNo};

use super::{Tree, TreeInner, publish::Published};
use crate::{
    EngineError, Token,
    memtables::Position,
    store::{Draft, Proposal},
};

/// Up to where writes are in durable tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persisted {
    /// Highest number in durable tables.
    pub highest: Option<SeqNo>,
    /// Every write numbered below this is in durable tables, if its ticket was begun, or its call had returned, before
    /// the flush that raised the bound; [`Tree::replay`] passes it over.
    pub watermark: SeqNo,
}

/// What is in memory only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unflushed {
    /// Memtables with something in them, the active one included.
    pub memtables: usize,
    /// Bytes they take.
    pub bytes: u64,
    /// Lowest and highest number in them.
    pub seqnos: Option<(SeqNo, SeqNo)>,
}

impl Tree {
    /// The caller's log position up to which everything is in durable tables. A log is replayed from behind it.
    pub fn recovered_token(&self) -> Option<Token> {
        let pinned = self.inner.current.load();
        pinned.version.watermark.token.clone().and_then(|token| Token::new(token).ok())
    }

    /// Up to where writes are in durable tables.
    pub fn persisted(&self) -> Persisted {
        let pinned = self.inner.current.load();
        Persisted { highest: pinned.version.max_seqno, watermark: pinned.version.watermark.seqno }
    }

    /// What is in memory only.
    pub fn unflushed(&self) -> Unflushed {
        let pinned = self.inner.current.load();
        let sealed = pinned.sealed.iter().map(|sealed| (sealed.bytes(), sealed.seqnos()));
        let active = (!pinned.active.is_empty()).then(|| (pinned.active.bytes(), pinned.active.seqnos()));
        sealed.chain(active).fold(Unflushed::default(), |sum, (bytes, seqnos)| Unflushed {
            memtables: sum.memtables + 1,
            bytes: sum.bytes + bytes,
            seqnos: sum.seqnos.into_iter().chain(seqnos).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
        })
    }

    /// Highest number that any write of the tree has had, in memory or in tables, whether or not it is still there.
    pub fn highest_seqno(&self) -> Option<SeqNo> {
        let end = self.inner.visible_end();
        (end > SeqNo::ZERO).then(|| end.saturating_prev())
    }

    /// Whether the active memtable is empty. Takes no lock.
    pub fn is_active_empty(&self) -> bool {
        self.inner.current.load().active.is_empty()
    }

    /// Allows reads above `floor` again, after the caller has written back the history they need. Durable when the
    /// call returns.
    ///
    /// # Errors
    /// `InvalidArgument` when `floor` is above the present one, or above every number; else as [`Tree::flush`].
    pub fn lower_retention_floor(&self, floor: SeqNo) -> Result<()> {
        self.inner.check_changeable()?;
        if floor > self.retention_floor() {
            let problem = "is above the retention floor; only jobs that forget history raise it";
            return Err(EngineError::InvalidArgument { argument: "floor", problem }.into());
        }
        if Some(floor) > self.highest_seqno() {
            let problem = "is above the newest number";
            return Err(EngineError::InvalidArgument { argument: "floor", problem }.into());
        }
        let tree = self.inner.id;
        let build = Box::new(move |_: &mut Draft<'_>| {
            let mut edit = VersionEdit::default();
            edit.push(tree, TreeEdit::LowerFloor(floor));
            Ok(edit)
        });
        let me = self.inner.clone();
        let publish = Box::new(move |catalog: &Catalog| {
            let Some(version) = catalog.tree(tree) else { return };
            me.publish(version, Published::default());
        });
        let proposal = Proposal { build, publish, outputs: Vec::new() };
        self.inner.store.install(proposal).map_err(InstallError::into_error)
    }
}

impl TreeInner {
    /// The bound below which every write is durable once memtables up to `through` are in tables, of what was numbered
    /// below `end` so far: what is left in memory limits it, and what is on its way.
    pub(super) fn durable_after(&self, through: Option<u64>, end: SeqNo) -> SeqNo {
        // Tickets before memtables: a ticket that is committed by now has its write in one of them.
        let coming = self.tickets.lowest(self.visible_end());
        let pinned = self.current.load();
        let sealed = pinned.sealed.iter().filter(|sealed| Some(sealed.id) > through);
        let in_memory = sealed.map(|sealed| sealed.seqnos()).chain([pinned.active.seqnos()]).flatten();
        in_memory.map(|(min, _)| min).fold(end.min(coming), SeqNo::min)
    }

    /// The watermark that goes with `durable`, and the newest of `positions`, oldest first, that lies below it.
    pub(super) fn next_watermark(
        &self,
        known: Watermark,
        durable: SeqNo,
        positions: &[Position],
    ) -> Watermark {
        let seqno = durable.max(known.seqno);
        let waiting = self.positions.lock();
        let reached = waiting.iter().chain(positions).rfind(|position| position.end <= seqno);
        let token = reached.map(|position| position.token.clone()).or(known.token);
        Watermark { seqno, token }
    }

    /// Keeps those of `positions` that the watermark has not reached, for an install that comes later.
    pub(super) fn keep_positions(&self, positions: Vec<Position>) {
        let reached = self.current.load().version.watermark.seqno;
        let mut waiting = self.positions.lock();
        waiting.extend(positions);
        waiting.retain(|position| position.end > reached);
    }

    /// The watermark of an install that flushes nothing, where it can go up.
    pub(super) fn raised_watermark(&self, version: &Version) -> Option<Watermark> {
        let durable = self.durable_after(None, version.max_seqno.map_or(SeqNo::ZERO, SeqNo::next));
        let known = &version.watermark;
        (durable > known.seqno).then(|| self.next_watermark(known.clone(), durable, &[]))
    }

    /// From which number on a flush that starts now has to keep everything.
    pub(super) fn flush_limit(&self) -> SeqNo {
        let pinned = self.current.load();
        let Some(newest) = pinned.sealed.first() else { return SeqNo::LATEST };
        let durable = self.durable_after(Some(newest.id), newest.end);
        let highest = pinned.sealed.iter().map(|sealed| sealed.max_seqno).max();
        if Some(durable) > highest { SeqNo::LATEST } else { durable.max(pinned.version.watermark.seqno) }
    }

    /// From which number on a compaction with filters that starts now has to keep everything: a memtable may hold the very same entry
    /// again, written a second time, and would give back what they take.
    pub(super) fn filter_limit(&self) -> SeqNo {
        let pinned = self.current.load();
        let sealed = pinned.sealed.iter().map(|sealed| sealed.seqnos());
        let in_memory = sealed.chain([pinned.active.seqnos()]).flatten().map(|(min, _)| min);
        in_memory.fold(self.compaction_limit(), SeqNo::min)
    }

    /// From which number on a compaction that starts now has to keep everything.
    pub(crate) fn compaction_limit(&self) -> SeqNo {
        let pinned = self.current.load();
        let Some(highest) = pinned.version.max_seqno else { return SeqNo::LATEST };
        let durable = self.durable_after(None, highest.next());
        if durable > highest { SeqNo::LATEST } else { durable.max(pinned.version.watermark.seqno) }
    }
}
