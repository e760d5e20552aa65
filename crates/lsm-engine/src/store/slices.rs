//! Room for the slices of a merge, one after another.
//!
//! Each slice is granted what the tighter of quota and disk leaves at that moment, once everything is given back that the
//! slices before it took the place of and nobody reads. Other jobs do not find free what the slice under way was granted.
//!
//! A slice may be granted room while the one before is written and has not given anything back yet. What that one was
//! granted is in use by then, and free bytes show it; a quota, which counts what is installed, is told.

use std::sync::{Arc, atomic::Ordering};

use lsm_compaction_executor::{SliceEnds, SliceRoom};
use lsm_compaction_planner::{Demand, Grant, Ledger, OutputSpec, Shortage, SliceBudget, Space};
use lsm_fs::NamespaceId;
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
    /// Whether a slice may be made before the one before it is installed.
    goes_ahead: bool,
    /// What the slice under way was granted.
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    grants: Vec<Grant>,
    /// Bytes that it aims at.
    target_bytes: u64,
    /// Of the store's bytes in flight, those of the slice before it.
    in_flight_bytes: u64,
}

impl TightRoom {
    pub(super) fn new(store: &Arc<StoreInner>, reclaims: bool) -> Self {
        Self { store: store.clone(), reclaims }
    }

    /// Room for slices that end up in `output`, and what each of them writes at least.
    ///
    /// * `moves`: whether values are moved with them.
    pub(crate) fn slices(&self, output: &OutputSpec, moves: bool) -> (Arc<Slices>, u64) {
        let options = self.store.space.options();
        let limits = options.slices(output.target_bytes, moves);
        let is_system = self.store.fs().namespace_id() == Some(NamespaceId::SYSTEM);
        let slices = Slices {
            store: self.store.clone(),
            reclaims: self.reclaims,
            dest: output.dest,
            target_bytes: output.target_bytes,
            moves,
            goes_ahead: options.slices_ahead.unwrap_or(is_system),
            under_way: Mutex::default(),
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
    /// What was granted is in use, or not needed any more.
    ///
    /// * `in_flight_bytes`: length of files that are not installed yet.
    fn settle(&self, in_flight_bytes: u64) {
        let UnderWay { grants, in_flight_bytes: before, .. } = std::mem::replace(
            &mut *self.under_way.lock(),
            UnderWay { in_flight_bytes, ..UnderWay::default() },
        );
        let gate = &self.store.space;
        let mut ledger = gate.ledger.lock();
        for grant in grants {
            ledger.release(grant);
        }
        gate.in_flight_bytes.fetch_add(in_flight_bytes, Ordering::Relaxed);
        gate.in_flight_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Room for a slice of `least` bytes at least.
    fn grant(&self, ends: SliceEnds, least: u64) -> Result<SliceBudget, Shortage> {
        self.store.reclaimer().catch_up();
        let limits = self.store.space.options.lock().slices(self.target_bytes, self.moves);
        // Measured under the lock of the ledger: what one merge was granted, another does not find free.
        let mut ledger = self.store.space.ledger.lock();
        let space = self.store.measure_space(self.dest);
        let left = left_for_slices(&ledger, &space, self.moves);
        let budget = left.slice(limits, self.reclaims)?;
        if budget.target_bytes < least {
            return Err(budget.binding);
        }
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
        let mut under_way = self.under_way.lock();
        (under_way.grants, under_way.target_bytes) = (grants, budget.target_bytes);
        Ok(budget)
    }
}

impl SliceRoom for Slices {
    fn next(&self, ends: SliceEnds) -> Result<SliceBudget, Shortage> {
        self.settle(0);
        self.grant(ends, 0)
    }

    fn ahead(&self, written_bytes: u64) -> Option<SliceBudget> {
        if !self.goes_ahead {
            return None;
        }
        let least = self.under_way.lock().target_bytes;
        self.settle(written_bytes);
        self.grant(SliceEnds::Blocks, least).ok()
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        self.settle(0);
    }
}
