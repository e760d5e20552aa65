//! Room for the slices of a merge, one after another.
//!
//! Each slice is granted what the tighter of quota and disk leaves at that moment, once everything is given back that the
//! slices before it took the place of and nobody reads. Other jobs do not find free what the slice under way was granted.

use std::sync::Arc;

use lsm_compaction_executor::{SliceEnds, SliceRoom};
use lsm_compaction_planner::{Demand, Grant, OutputSpec, Shortage, SliceBudget};
use lsm_types::Level;
use parking_lot::Mutex;

use super::StoreInner;

/// That a merge may be done slice by slice.
pub(crate) struct TightRoom {
    store: Arc<StoreInner>,
    /// Whether the merge is known to leave less than it takes.
    reclaims: bool,
}

/// Grants room to the slices of one merge.
pub(crate) struct Slices {
    store: Arc<StoreInner>,
    reclaims: bool,
    dest: Level,
    /// Bytes at which its tables end.
    target_bytes: u64,
    /// What the slice under way was granted.
    grant: Mutex<Option<Grant>>,
}

impl TightRoom {
    pub(super) fn new(store: &Arc<StoreInner>, reclaims: bool) -> Self {
        Self { store: store.clone(), reclaims }
    }

    /// Room for slices that end up in `output`, and what each of them writes at least.
    pub(crate) fn slices(&self, output: &OutputSpec) -> (Arc<Slices>, u64) {
        let limits = self.store.space.options.lock().slices(output.target_bytes);
        let slices = Slices {
            store: self.store.clone(),
            reclaims: self.reclaims,
            dest: output.dest,
            target_bytes: output.target_bytes,
            grant: Mutex::new(None),
        };
        (Arc::new(slices), limits.min_bytes)
    }
}

impl Slices {
    fn release(&self) {
        if let Some(grant) = self.grant.lock().take() {
            self.store.space.ledger.lock().release(grant);
        }
    }
}

impl SliceRoom for Slices {
    fn next(&self, ends: SliceEnds) -> Result<SliceBudget, Shortage> {
        self.release();
        self.store.reclaimer().catch_up();
        let limits = self.store.space.options.lock().slices(self.target_bytes);
        // Measured under the lock of the ledger: what one merge was granted, another does not find free.
        let mut ledger = self.store.space.ledger.lock();
        let space = self.store.measure_space(self.dest);
        let budget = ledger.left_of(&space).slice(limits, self.reclaims)?;
        let table_bytes = match ends {
            SliceEnds::Blocks => budget.target_bytes,
            SliceEnds::Tables => budget.most_bytes,
        };
        let grant = ledger.grant(&space, Demand { table_bytes, value_bytes: 0, reclaims: self.reclaims })?;
        drop(ledger);
        *self.grant.lock() = Some(grant);
        Ok(budget)
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        self.release();
    }
}
