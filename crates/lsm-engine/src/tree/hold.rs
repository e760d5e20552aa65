//! Keeping history readable.

use std::sync::Arc;

use lsm_types::{Result, SeqNo};

use super::{Tree, TreeInner};
use crate::{
    EngineError,
    holds::{Claim, Holds},
};

/// Keeps reads at its bound possible until it is dropped.
pub struct HoldGuard {
    tree: Arc<TreeInner>,
    before: SeqNo,
}

impl HoldGuard {
    /// The bound held.
    pub fn before(&self) -> SeqNo {
        self.before
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.tree.change_holds(SeqNo::ZERO, |holds| holds.release(self.before));
    }
}

impl std::fmt::Debug for HoldGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HoldGuard({:?})", self.before)
    }
}

impl Tree {
    /// Keeps reads at `before` possible until the guard is dropped, and refuses writes below it until then.
    ///
    /// # Errors
    /// `SnapshotBelowRetention` when history such a read needs may be gone already, or is about to be.
    pub fn hold(&self, before: SeqNo) -> Result<HoldGuard> {
        // Registered first: a job that asks later what it has to keep knows of it. What jobs that asked before may
        // forget shows in the floor when they have installed, and in the watermark while they run.
        self.inner.change_holds(before, |holds| holds.register(before));
        let guard = HoldGuard { tree: self.inner.clone(), before };
        // In this order: a job that ends in between has left the list, and stands in the floor.
        let running = self.inner.holds.floor_of_jobs();
        let floor = self.retention_floor().max(running);
        if before != SeqNo::ZERO && before <= floor {
            return Err(EngineError::SnapshotBelowRetention { requested: before, floor }.into());
        }
        Ok(guard)
    }

    /// Promises that nobody will start a read, or a write, below `watermark`. Never moves backwards.
    pub fn set_gc_watermark(&self, watermark: SeqNo) {
        self.inner.change_holds(watermark, |holds| holds.promise(watermark));
    }
}

impl TreeInner {
    /// Changes what is promised to readers, and tells the memtable which writes to refuse from now on. Returns when
    /// no write that would have to be refused is under way any more.
    ///
    /// * `floor`: writes below it are refused afterwards, if they were not before.
    pub(super) fn change_holds(&self, floor: SeqNo, change: impl FnOnce(&Holds)) {
        let publisher = loop {
            self.holds.wait_for_claims_below(floor);
            // Numbers are claimed under this lock.
            let publisher = self.publisher.lock();
            if !self.holds.has_claims_below(floor) {
                break publisher;
            }
        };
        change(&self.holds);
        self.current.load().active.entries.refuse_below(self.holds.write_floor());
        drop(publisher);
    }

    /// Takes a number for a write that ends in an install, under the lock that orders it against deletes of ranges, seals
    /// and promises. `draw` must not use the tree.
    pub(super) fn claim(&self, draw: impl FnOnce() -> SeqNo) -> Result<Claim<'_>> {
        let _publisher = self.publisher.lock();
        let seqno = draw();
        if !seqno.is_write() {
            return Err(EngineError::SeqNoOutOfRange { seqno, what: "a write" }.into());
        }
        Ok(self.holds.claim(seqno)?)
    }
}
