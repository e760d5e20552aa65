//! Room for the slices of a merge, one after another.
//!
//! Each slice is granted what the tighter of quota and disk leaves at that moment, once everything is given back that the
//! slices before it took the place of and nobody reads. Other jobs do not find free what the slice under way was granted.

use std::sync::Arc;

use lsm_compaction_executor::{SliceEnds, SliceRoom};
use lsm_compaction_planner::{Demand, Grant, Ledger, OutputSpec, Shortage, SliceBudget, Space};
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
    /// Whether values are moved, too.
    moves: bool,
    /// What the slice under way was granted.
    grants: Mutex<Vec<Grant>>,
}

impl TightRoom {
    pub(super) fn new(store: &Arc<StoreInner>, reclaims: bool) -> Self {
        Self { store: store.clone(), reclaims }
    }

    /// Room for slices that end up in `output`, and what each of them writes at least.
    ///
    /// * `moves`: whether values are moved with them.
    pub(crate) fn slices(&self, output: &OutputSpec, moves: bool) -> (Arc<Slices>, u64) {
        let limits = self.store.space.options.lock().slices(output.target_bytes, moves);
        let slices = Slices {
            store: self.store.clone(),
            reclaims: self.reclaims,
            dest: output.dest,
            target_bytes: output.target_bytes,
            moves,
            grants: Mutex::default(),
        };
        (Arc::new(slices), limits.min_bytes)
    }
}

/// What is left for slices when all grants are used up. Where values are moved, all of a slice may be values.
pub(super) fn left_for_slices(ledger: &Ledger, space: &Space, moves: bool) -> Space {
    let mut left = ledger.left_of(space);
    if moves {
        left.tables.free_bytes = [left.tables.free_bytes, left.values.free_bytes].into_iter().flatten().min();
    }
    left
}

impl Slices {
    fn release(&self) {
        let grants = std::mem::take(&mut *self.grants.lock());
        let mut ledger = self.store.space.ledger.lock();
        for grant in grants {
            ledger.release(grant);
        }
    }
}

impl SliceRoom for Slices {
    fn next(&self, ends: SliceEnds) -> Result<SliceBudget, Shortage> {
        self.release();
        self.store.reclaimer().catch_up();
        let limits = self.store.space.options.lock().slices(self.target_bytes, self.moves);
        // Measured under the lock of the ledger: what one merge was granted, another does not find free.
        let mut ledger = self.store.space.ledger.lock();
        let space = self.store.measure_space(self.dest);
        let left = left_for_slices(&ledger, &space, self.moves);
        let budget = left.slice(limits, self.reclaims)?;
        let table_bytes = match ends {
            SliceEnds::Blocks => budget.target_bytes,
            SliceEnds::Tables => budget.most_bytes,
        };
        let demand = Demand { table_bytes, value_bytes: 0, reclaims: self.reclaims };
        let mut grants = vec![ledger.grant(&space, demand)?];
        let are_apart = matches!((space.tables.id, space.values.id), (Some(a), Some(b)) if a != b);
        if self.moves && are_apart {
            // What goes into tables and what into value logs shows when it is written: there is room for either.
            let on_values = Space { limit_bytes: None, tables: space.values, ..space };
            grants.extend(ledger.grant(&on_values, demand));
        }
        drop(ledger);
        *self.grants.lock() = grants;
        Ok(budget)
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        self.release();
    }
}
