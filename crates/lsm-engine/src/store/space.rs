//! Whether there is room for a merge, asked once for all trees of a store.
//!
//! The planner's [`admit`] decides; here are the figures it decides from, and the ledger that jobs which run side by side
//! share. What is used is known from the manifest, so no file is asked for its length; free bytes are asked of the
//! volume before each merge.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_compaction_executor::SLICED_INPUTS_MAX;
use lsm_compaction_planner::{
    Admission, Demand, Grant, Inputs, Ledger, MergePlan, Picked, PlanView, Reason, Shortage, SliceLimits,
    Space, Volume, admit,
};
use lsm_fs::{Capability, Fs};
use lsm_journal::Folder;
use lsm_manifest::{Catalog, Version};
use lsm_types::{Level, TableId, VlogId};
use parking_lot::Mutex;

use super::{
    Store, StoreInner,
    install::Installs,
    slices::{TightRoom, left_for_slices},
};
use crate::tree::TreeInner;

/// Whether compactions ask for room, and how much there may be.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceOptions {
    /// Whether a merge that may not fit is narrowed to a part that does, or put off. Default: no; every merge runs, and
    /// one that meets a full disk fails and leaves nothing behind.
    pub admission: bool,
    /// What all tables of the store may come to, in bytes. Default: whatever the disk holds.
    pub limit_bytes: Option<u64>,
    /// Whether writes of values and operands are refused when memtables could not be flushed, with the reserve left over.
    /// Deletes may use the reserve. Default: no; a flush that meets a full disk fails, and can be repeated.
    pub writes: bool,
    /// Least bytes that merges and writes leave free, so that a flush can always land. More are kept while memtables hold
    /// more. Default: 1 MiB.
    pub reserve_min_bytes: u64,
    /// Length of a file that is given up when the disk is full, so that a flush has room. Default: 0, no such file.
    pub ballast_bytes: u64,
    /// Whether a merge for which there is no room, not even in part, is done slice by slice, each of which gives back
    /// what it took the place of. Merges that do not ask for room are never done so. On volumes that give back nothing but
    /// whole files tables are then short, as soon as there is no room for a copy of the largest level. Default: no.
    pub tight: bool,
    /// Bytes of the smallest slice; at least 4,096. Default: 1 MiB.
    pub slice_min_bytes: u64,
    /// Bytes of the largest slice, and of a table that is kept short. Default: those of an output table, and 8 MiB.
    pub slice_max_bytes: Option<u64>,
    /// Whether a slice is made while the one before is synced and installed, by a thread of its own, where there is room for
    /// both. `None`: it is on the system's own file systems; on others, such as one in memory, nothing is waited for.
    pub slices_ahead: Option<bool>,
}

/// What a slice writes at least, whatever is asked for.
const SLICE_LEAST_BYTES: u64 = 4_096;

/// What the smallest table takes besides its entries, with the edit that adds it. Filters and indexes come to a small part
/// of the entries, for which there is room in the half that a slice leaves.
const SLICE_EXTRA_BYTES: u64 = 16 << 10;

impl Default for SpaceOptions {
    fn default() -> Self {
        Self {
            admission: false,
            writes: false,
            limit_bytes: None,
            reserve_min_bytes: 1 << 20,
            ballast_bytes: 0,
            tight: false,
            slice_min_bytes: 1 << 20,
            slice_max_bytes: None,
            slices_ahead: None,
        }
    }
}

impl SpaceOptions {
    /// Merges ask for room.
    pub fn admission(mut self, is_on: bool) -> Self {
        self.admission = is_on;
        self
    }

    /// Writes are refused before the disk is full.
    pub fn writes(mut self, is_on: bool) -> Self {
        self.writes = is_on;
        self
    }

    /// Length of a file that is given up when the disk is full.
    pub fn ballast_bytes(mut self, bytes: u64) -> Self {
        self.ballast_bytes = bytes;
        self
    }

    /// What all tables may come to, in bytes.
    pub fn limit_bytes(mut self, limit: Option<u64>) -> Self {
        self.limit_bytes = limit;
        self
    }

    /// Least bytes that merges leave free.
    pub fn reserve_min_bytes(mut self, bytes: u64) -> Self {
        self.reserve_min_bytes = bytes;
        self
    }

    /// A merge for which there is no room is done slice by slice.
    pub fn tight(mut self, is_on: bool) -> Self {
        self.tight = is_on;
        self
    }

    /// Bytes of the smallest slice.
    pub fn slice_min_bytes(mut self, bytes: u64) -> Self {
        self.slice_min_bytes = bytes;
        self
    }

    /// Bytes of the largest slice.
    pub fn slice_max_bytes(mut self, bytes: Option<u64>) -> Self {
        self.slice_max_bytes = bytes;
        self
    }

    /// A slice is made while the one before is synced and installed.
    pub fn slices_ahead(mut self, is_on: Option<bool>) -> Self {
        self.slices_ahead = is_on;
        self
    }

    /// The slices of a merge whose tables end at `target_bytes`.
    ///
    /// * `moves`: whether values are moved: then a slice makes a value log, too.
    pub(super) fn slices(&self, target_bytes: u64, moves: bool) -> SliceLimits {
        let min_bytes = self.slice_min_bytes.max(SLICE_LEAST_BYTES);
        let max_bytes = self.slice_max_bytes.unwrap_or(target_bytes);
        let files = if moves { 2 } else { 1 };
        SliceLimits { min_bytes, max_bytes, extra_bytes: files * (SLICE_EXTRA_BYTES + min_bytes / 16) }
    }
}

/// What there is room for.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceStatus {
    /// Merges do not ask for room, or nothing bounds it.
    Healthy,
    /// A merge runs.
    CompactionInProgress,
    /// There is room to rewrite the largest level of every tree that is open.
    FullCompactionAvailable,
    /// There is none for that, and there is for a slice of a merge, and then the next.
    TightCompactionAvailable,
    /// There is none for that; smaller merges may fit.
    NoFullCompaction,
    /// Values and operands are refused until there is room.
    ReadOnlyOutOfSpace,
}

/// What there is, and what may still come.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceReport {
    /// Bytes of all live tables, of those that readers still need of restricted ones, and of what waits to be given back.
    pub used_bytes: u64,
    /// The limit, or what is used and what is free; `u64::MAX` when the backend cannot say.
    pub capacity_bytes: u64,
    /// What is left of it.
    pub available_bytes: u64,
    /// Whether a merge of some size can run: there is a MiB.
    pub is_compaction_possible: bool,
    /// What rewriting the largest level of an open tree takes.
    pub full_compaction_bytes: u64,
    /// Bytes that merges were kept free.
    pub reserve_bytes: u64,
    /// What running merges were granted.
    pub granted_bytes: u64,
    /// Merges put off since the store was opened, there being no room even for a part.
    pub refused: u64,
    /// Merges of which a part was done, there being no room for the whole.
    pub narrowed: u64,
    /// Writes refused since the store was opened.
    pub writes_refused: u64,
    /// Bytes held back for a full disk.
    pub ballast_bytes: u64,
    /// Merges begun slice by slice, there being no room even for a part.
    pub tight: u64,
    /// Bytes that the smallest slice of such a merge takes.
    pub tight_compaction_bytes: u64,
    /// Which merges there is room for.
    pub status: SpaceStatus,
}

/// Decides over merges.
#[derive(Debug, Default)]
pub(crate) struct SpaceGate {
    pub(super) options: Mutex<SpaceOptions>,
    pub(super) ledger: Mutex<Ledger>,
    /// Length of files of slices that are written and may not be installed yet.
    pub(super) in_flight_bytes: AtomicU64,
    running: AtomicU64,
    refused: AtomicU64,
    narrowed: AtomicU64,
    tight: AtomicU64,
}

/// Room that a merge has, until it ends.
pub(crate) struct Room {
    store: Arc<StoreInner>,
    /// `None` when merges do not ask.
    grant: Option<Grant>,
    pub(crate) is_narrowed: bool,
    /// Whether there is room for copies of values.
    relocates: bool,
    /// Where the merge asks before each slice, when it is done so.
    pub(crate) tight: Option<TightRoom>,
}

impl Room {
    /// The value logs that a merge of `inputs` rewrites.
    ///
    /// * `version`: the one that was planned on.
    pub(crate) fn picks(&self, view: &PlanView<'_>, inputs: &Inputs, version: &Version) -> Option<Picked> {
        if self.tight.is_some() {
            return self.store.sliced_picks(view, inputs, version);
        }
        view.values.filter(|_| self.relocates).map(|values| values.pick(inputs))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let gate = &self.store.space;
        gate.running.fetch_sub(1, Ordering::Relaxed);
        if let Some(grant) = self.grant.take() {
            gate.ledger.lock().release(grant);
        }
    }
}

impl SpaceGate {
    pub(crate) fn new(options: SpaceOptions) -> Self {
        Self { options: Mutex::new(options), ..Self::default() }
    }

    pub(super) fn options(&self) -> SpaceOptions {
        *self.options.lock()
    }
}

impl StoreInner {
    /// Room for `plan`, or for as much of it as there is room for. Where that is not the whole of it, what nobody needs any
    /// more and still lies there is given back first.
    ///
    /// * `version`: the one that was planned on.
    /// * `tight`: whether it may be done slice by slice, if not what the store says.
    ///
    /// # Errors
    /// What stands against the whole, or against the smallest slice of it, when there is none for a part either.
    pub(crate) fn make_room(
        self: &Arc<Self>,
        plan: MergePlan,
        planned: (&PlanView<'_>, &Version),
        tight: Option<bool>,
    ) -> Result<(MergePlan, Room), Shortage> {
        let mut found = self.find_room(plan.clone(), planned, tight);
        let is_whole = found.as_ref().is_ok_and(|(_, room)| !room.is_narrowed);
        if !is_whole && self.reclaimer().stats().queued_bytes > 0 {
            drop(found);
            self.reclaimer().catch_up();
            found = self.find_room(plan, planned, tight);
        }
        let gate = &self.space;
        match &found {
            Ok((_, room)) => {
                gate.narrowed.fetch_add(u64::from(room.is_narrowed), Ordering::Relaxed);
                gate.tight.fetch_add(u64::from(room.tight.is_some()), Ordering::Relaxed);
            }
            Err(shortage) => {
                gate.refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(?shortage, "no room for a compaction");
            }
        }
        found
    }

    fn find_room(
        self: &Arc<Self>,
        plan: MergePlan,
        (view, version): (&PlanView<'_>, &Version),
        tight: Option<bool>,
    ) -> Result<(MergePlan, Room), Shortage> {
        let gate = &self.space;
        let options = *gate.options.lock();
        let is_asked = options.admission;
        // What is for nothing but values that slices leave where they are would be planned again.
        let is_for_nothing = |plan: &MergePlan| {
            let picks = || self.sliced_picks(view, &plan.inputs, version);
            plan.reason == Reason::ValueGarbage && !picks().is_some_and(|picked| picked.frees)
        };
        let is_tight = is_asked && tight.unwrap_or(options.tight) && !is_for_nothing(&plan);
        let whole = is_tight.then(|| plan.clone());
        let (mut relocates, mut tight) = (true, None);
        let (plan, grant, is_narrowed) = if is_asked {
            // Measured under the lock of the ledger: what one merge was granted, another does not find free.
            let mut ledger = gate.ledger.lock();
            let space = self.measure_space(plan.output.dest);
            // What rewrites value logs on the way can do without; what is for nothing else cannot.
            let staying = view.with_values(None);
            let fallback =
                (view.values.is_some() && plan.reason != Reason::ValueGarbage).then(|| plan.clone());
            let mut admitted = admit(plan, view, &space, &mut ledger, |part| Demand::of(&part.inputs, view));
            let fits = |ledger: &Ledger, plan: &MergePlan, moves: bool| {
                let reclaims = Demand::of(&plan.inputs, &staying).reclaims;
                let limits = options.slices(plan.output.target_bytes, moves);
                let left = left_for_slices(ledger, &space, moves);
                left.slice(limits, reclaims).map(|_| TightRoom::new(self, reclaims))
            };
            let moves = |plan: &MergePlan| {
                self.sliced_picks(view, &plan.inputs, version).is_some_and(|picked| !picked.logs.is_empty())
            };
            if let Admission::Refused { .. } = &admitted {
                // Values that slices can move are worth more than the merge at once without them.
                if let Some(plan) = whole.as_ref().filter(|plan| moves(plan)) {
                    tight = fits(&ledger, plan, true).ok();
                }
                if let (None, Some(plan)) = (&tight, fallback) {
                    relocates = false;
                    let demand = |part: &MergePlan| Demand::of(&part.inputs, &staying);
                    admitted = admit(plan, view, &space, &mut ledger, demand);
                }
            }
            // Of what somebody asked for as a whole, a part would be followed by the next part, again and again.
            let sliced = whole.as_ref().filter(|plan| {
                plan.reason == Reason::Requested && plan.inputs.tables().count() <= SLICED_INPUTS_MAX
            });
            let admitted = match (admitted, sliced) {
                (Admission::Run { plan: part, grant, narrowed: true }, Some(plan)) => {
                    ledger.release(grant);
                    tight = fits(&ledger, plan, moves(plan)).ok();
                    let values = if relocates { view } else { &staying };
                    match ledger.grant(&space, Demand::of(&part.inputs, values)) {
                        Ok(grant) if tight.is_none() => Admission::Run { plan: part, grant, narrowed: true },
                        Ok(grant) => {
                            ledger.release(grant);
                            Admission::Refused { shortage: Shortage::Volume }
                        }
                        Err(shortage) => Admission::Refused { shortage },
                    }
                }
                (admitted, _) => admitted,
            };
            match admitted {
                Admission::Run { plan, grant, narrowed } => (plan, Some(grant), narrowed),
                Admission::Refused { shortage } => {
                    let room = |plan: MergePlan| match tight.take() {
                        Some(room) => Ok((plan, room)),
                        None => fits(&ledger, &plan, false).map(|room| (plan, room)),
                    };
                    match whole.map_or(Err(shortage), room) {
                        Ok((plan, room)) => {
                            tight = Some(room);
                            (plan, None, false)
                        }
                        Err(shortage) => {
                            return Err(shortage);
                        }
                    }
                }
            }
        } else {
            (plan, None, false)
        };
        gate.running.fetch_add(1, Ordering::Relaxed);
        Ok((plan, Room { store: self.clone(), grant, is_narrowed, relocates, tight }))
    }

    /// The value logs that a merge of `inputs` rewrites when it is done slice by slice: those that give back from their
    /// front what a slice has copied. The others stay, as their copies would come on top of them.
    fn sliced_picks(&self, view: &PlanView<'_>, inputs: &Inputs, version: &Version) -> Option<Picked> {
        let folder = Folder::Blobs.path(self.root());
        let can_punch =
            self.fs().capabilities(&folder).is_ok_and(|promised| promised.has(Capability::PunchHole));
        let gives_back = |id: VlogId| {
            let is_ordered = version.vlogs.get(id).is_some_and(|log| log.vlog.is_ordered);
            is_ordered && !self.reclaimer().is_exported(TableId::new(id.get()))
        };
        let values = view.values.filter(|_| can_punch)?;
        Some(values.pick_alone(inputs, gives_back))
    }

    /// What is used and what is free where tables of `level` go, without what running merges were granted.
    pub(super) fn measure_space(&self, level: Level) -> Space {
        let options = *self.space.options.lock();
        let used_bytes =
            self.installs().map_or_else(|| self.with_catalog(Catalog::file_bytes), Installs::file_bytes);
        // What the front of a file takes until it is given back.
        let kept = |tree: &Arc<TreeInner>| tree.current.load().release_stats().kept_bytes();
        let used_bytes = self.open_trees().iter().map(kept).fold(used_bytes, u64::saturating_add);
        let used_bytes = used_bytes.saturating_add(self.space.in_flight_bytes.load(Ordering::Relaxed));
        let pending: u64 = self.open_trees().iter().map(|tree| tree.memtable_bytes()).sum();
        let at = |root: &Path| volume(self.fs().as_ref(), &Folder::Tables.path(root));
        Space {
            limit_bytes: options.limit_bytes,
            used_bytes,
            // A memtable makes tables no longer than itself and an eighth.
            reserve_bytes: options.reserve_min_bytes.max(pending.saturating_add(pending / 8)),
            tables: at(self.routes().root(self.root(), self.routes().of_level(level))),
            values: at(self.root()),
        }
    }
}

/// A volume that cannot be asked counts as one with room: an error of the probe is not a full disk.
fn volume(fs: &dyn Fs, folder: &Path) -> Volume {
    Volume {
        id: fs.volume_id(folder).ok().flatten().map(|volume| volume.0),
        free_bytes: fs.available_space(folder).ok().flatten(),
    }
}

impl Store {
    /// What there is on the disk, what may still come, and which merges that leaves room for. Asks the volume for its
    /// free bytes, and waits for no job.
    pub fn space(&self) -> SpaceReport {
        let gate = &self.inner.space;
        let options = *gate.options.lock();
        let open = self.inner.open_trees();
        let last = open.iter().map(|tree| tree.current.load().version.levels.count()).max();
        // A full compaction goes to the last level.
        let space = self.inner.measure_space(Level::new(last.unwrap_or_default().saturating_sub(1)));
        let ledger = gate.ledger.lock();
        let trees = self.inner.open_trees();
        let full_compaction_bytes =
            trees.iter().map(|tree| tree.largest_level_bytes()).max().unwrap_or_default();
        let value_bytes = trees.iter().map(|tree| tree.relocatable_bytes()).max().unwrap_or_default();
        let full = Demand { table_bytes: full_compaction_bytes, value_bytes, reclaims: false };
        let is_bounded =
            options.admission && (space.limit_bytes.is_some() || space.tables.free_bytes.is_some());
        let limits = options.slices(u64::MAX, false);
        let status = if self.inner.writes.is_on() && self.inner.write_room().is_full() {
            SpaceStatus::ReadOnlyOutOfSpace
        } else if gate.running.load(Ordering::Relaxed) > 0 {
            SpaceStatus::CompactionInProgress
        } else if !is_bounded {
            SpaceStatus::Healthy
        } else if ledger.left_of(&space).check(full).is_ok() {
            SpaceStatus::FullCompactionAvailable
        } else if options.tight && ledger.left_of(&space).slice(limits, false).is_ok() {
            SpaceStatus::TightCompactionAvailable
        } else {
            SpaceStatus::NoFullCompaction
        };
        SpaceReport {
            used_bytes: space.used_bytes,
            capacity_bytes: space.capacity_bytes(),
            available_bytes: space.available_bytes(),
            is_compaction_possible: space.available_bytes() >= 1 << 20,
            full_compaction_bytes,
            reserve_bytes: space.reserve_bytes,
            granted_bytes: ledger.granted_bytes(),
            refused: gate.refused.load(Ordering::Relaxed),
            narrowed: gate.narrowed.load(Ordering::Relaxed),
            writes_refused: self.inner.writes.refused(),
            ballast_bytes: self.inner.ballast.held_bytes(),
            tight: gate.tight.load(Ordering::Relaxed),
            tight_compaction_bytes: limits.min_bytes + limits.extra_bytes,
            status,
        }
    }

    /// Changes whether merges and writes ask for room, and how much there may be, from the next one on.
    pub fn set_space(&self, options: SpaceOptions) {
        *self.inner.space.options.lock() = options;
        self.inner.writes.set(options.writes);
        self.inner.ballast.set(options.ballast_bytes);
        if !self.inner.is_read_only() {
            self.inner.ballast.settle();
        }
    }
}
