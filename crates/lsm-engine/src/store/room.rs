//! What frees space, and doing it: the order in which a store helps itself when the disk is short.
//!
//! ```text
//! give back what nobody needs -> drop what is deleted as a whole -> merges, most bytes freed for each that is needed
//! meanwhile first -> rewrite value logs that hold garbage -> merge everything, slice by slice
//! ```
//!
//! The planner lists the steps of a tree ([`relief`]); here those of all trees are put in one order, held against the
//! room that there is, and carried out until enough is freed. What a step frees is measured, not believed.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use lsm_compaction_executor::Outcome;
use lsm_compaction_planner::{
    BusySet, Demand, PlanView, Relief, ReliefKind, ReliefLimits, Relieve, TreeShape, relief,
};
use lsm_types::{Level, Result, TableId, TreeId};

use super::{Store, StoreInner};
use crate::{
    CompactOptions,
    holders::SpaceHolder,
    tree::{Tree, TreeInner},
};

/// Something that frees space.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpaceStep {
    /// How.
    pub kind: ReliefKind,
    /// In which tree.
    pub tree: TreeId,
    /// The tables that it is about.
    pub tables: Vec<TableId>,
    /// The level into which they are merged; `None` where they leave unread.
    pub dest: Option<Level>,
    /// Bytes that it is likely to free, once nobody reads what it takes the place of.
    pub frees_bytes: u64,
    /// Bytes that it takes before it gives any back.
    pub transient_bytes: u64,
    /// Whether there is room for that now.
    pub fits: bool,
}

/// What would free space, in the order in which it would be done.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpacePlan {
    /// What is free now, of the limit or the disk.
    pub available_bytes: u64,
    /// What nobody needs and still lies there: it goes first, and takes nothing.
    pub pending_bytes: u64,
    /// The steps. They stand beside each other: one that is done may make others impossible, or more worth while.
    pub steps: Vec<SpaceStep>,
    /// Who needs what the newest state does not: as long as they stay, steps free less.
    pub holders: Vec<SpaceHolder>,
}

/// A step that was taken.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomStep {
    /// Which.
    pub step: SpaceStep,
    /// What became of it.
    pub outcome: Outcome,
    /// Bytes by which the disk holds less since.
    pub freed_bytes: u64,
}

/// What [`Store::make_room`] came to.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomReport {
    /// Bytes by which the disk holds less.
    pub freed_bytes: u64,
    /// Of these, what nobody needed and still lay there.
    pub reclaimed_bytes: u64,
    /// What was done, one after another.
    pub steps: Vec<RoomStep>,
    /// What could be done besides, with who keeps space.
    pub left: SpacePlan,
}

impl TreeInner {
    /// Lets `read` look at the tree as planners do.
    pub(super) fn with_plan_view<T>(&self, read: impl FnOnce(&PlanView<'_>) -> T) -> Result<T> {
        let shape = TreeShape::new(self.order.clone());
        let busy: BusySet = self.busy.snapshot();
        let view = self.current.load_full();
        let deletes = self.deletes_of_tables(&view)?;
        let mut planning = PlanView::new(&view.version.levels, &busy, &shape)
            .at(self.store.clock().now())
            .with_watermark(self.holds.watermark(self.compaction_limit()));
        planning.deletes = deletes.as_deref();
        let values = self.relocations.view(&view.version, planning.now);
        planning.values = values.as_ref();
        Ok(read(&planning))
    }
}

impl TreeInner {
    /// Bytes that merging everything is likely to free.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is of a view of one lifetime")]
    pub(super) fn dead_weight(&self) -> Result<u64> {
        self.with_plan_view(|view| view.dead_weight())
    }
}

impl StoreInner {
    fn relief_limits(&self, tree: &TreeInner) -> ReliefLimits {
        let options = self.space.options();
        let moves = !tree.current.load().version.vlogs.is_empty();
        let limits = options.slices(tree.table_target_bytes, moves);
        let slice_bytes = options.admission.then_some(limits.min_bytes.saturating_add(limits.extra_bytes));
        ReliefLimits { table_target_bytes: tree.table_target_bytes, slice_bytes }
    }

    fn space_steps(&self, trees: &[Arc<TreeInner>]) -> Result<Vec<SpaceStep>> {
        let mut steps = Vec::new();
        for tree in trees {
            let limits = self.relief_limits(tree);
            let of_tree = tree.with_plan_view(|view| relief(view, limits))?;
            steps.extend(of_tree.iter().map(|step| self.space_step(tree.id, step)));
        }
        // Each tree's are in order; between trees merges go by what they free, too.
        steps.sort_by_key(|step| {
            let is_merge = step.kind == ReliefKind::Merge;
            (step.kind, Reverse(if is_merge { freed_per_mille(step) } else { 0 }))
        });
        Ok(steps)
    }

    fn space_step(&self, tree: TreeId, step: &Relief) -> SpaceStep {
        let dest = step.plan.output().map(|output| output.dest);
        let demand = Demand { table_bytes: step.transient_bytes, value_bytes: 0, reclaims: true };
        let space = self.measure_space(dest.unwrap_or(Level::new(0)));
        SpaceStep {
            kind: step.kind,
            tree,
            tables: step.tables(),
            dest,
            frees_bytes: step.frees_bytes,
            transient_bytes: step.transient_bytes,
            fits: self.space.ledger.lock().left_of(&space).check(demand).is_ok(),
        }
    }

    fn space_plan(&self) -> Result<SpacePlan> {
        let trees = self.open_trees();
        let fronts = trees.iter().map(|tree| tree.current.load().release_stats().releasable_bytes);
        let pending_bytes = fronts.fold(self.reclaimer().stats().queued_bytes, u64::saturating_add);
        Ok(SpacePlan {
            available_bytes: self.measure_space(Level::new(0)).available_bytes(),
            pending_bytes,
            steps: self.space_steps(&trees)?,
            holders: trees.iter().flat_map(|tree| tree.holders_of_space()).collect(),
        })
    }
}

fn freed_per_mille(step: &SpaceStep) -> u128 {
    u128::from(step.frees_bytes) * 1_000 / u128::from(step.transient_bytes.max(1))
}

impl Store {
    /// What would free space, by what, and what it would take; changes nothing and waits for no job. Looks at the trees that
    /// are open. Merging by slices is in it where merges ask for room, [`SpaceOptions::admission`](crate::SpaceOptions).
    ///
    /// Costs a search by key for each table.
    ///
    /// # Errors
    /// What reading range tombstones finds.
    pub fn space_plan(&self) -> Result<SpacePlan> {
        self.inner.space_plan()
    }

    /// Frees space until the disk holds `goal_bytes` less, or nothing is left to be done for which there is room: step by
    /// step as [`Store::space_plan`] lists them. A way that freed nothing in a tree is not tried there again; readers that
    /// keep what was replaced are named in what is left.
    ///
    /// # Errors
    /// As [`Tree::compact`]: steps that were done stay done, and the call can be repeated.
    pub fn make_room(&self, goal_bytes: u64, options: &CompactOptions) -> Result<RoomReport> {
        let inner = &self.inner;
        let before = inner.disk_bytes();
        inner.reclaimer().catch_up();
        let reclaimed_bytes = before.saturating_sub(inner.disk_bytes());
        let mut steps: Vec<RoomStep> = Vec::new();
        let mut barren: BTreeSet<(TreeId, ReliefKind)> = BTreeSet::new();
        let mut freed_bytes = reclaimed_bytes;
        while freed_bytes < goal_bytes {
            options.cancel.check()?;
            let trees = inner.open_trees();
            let mut next = inner.space_steps(&trees)?.into_iter();
            let next = next.find(|step| step.fits && !barren.contains(&(step.tree, step.kind)));
            let Some(step) = next else { break };
            let Some(tree) = trees.into_iter().find(|tree| tree.id == step.tree) else { break };
            let done = inner.take_step(tree, step, options)?;
            if done.freed_bytes == 0 {
                barren.insert((done.step.tree, done.step.kind));
            }
            steps.push(done);
            freed_bytes = before.saturating_sub(inner.disk_bytes());
        }
        Ok(RoomReport { freed_bytes, reclaimed_bytes, steps, left: inner.space_plan()? })
    }
}

impl StoreInner {
    fn take_step(&self, tree: Arc<TreeInner>, step: SpaceStep, options: &CompactOptions) -> Result<RoomStep> {
        let before = self.disk_bytes();
        let limits = self.relief_limits(&tree);
        let relieve = Relieve { kind: step.kind, tables: step.tables.clone(), limits };
        // What fits as a whole is not cut up, and what is last is.
        let options = options.clone().tight(step.kind == ReliefKind::Slices);
        let report = Tree { inner: tree }.compact(&relieve, &options)?;
        self.reclaimer().catch_up();
        let freed_bytes = before.saturating_sub(self.disk_bytes());
        tracing::info!(
            tree = step.tree.get(),
            kind = ?step.kind,
            outcome = ?report.outcome,
            expected_bytes = step.frees_bytes,
            freed_bytes,
            "a step to free space"
        );
        Ok(RoomStep { step, outcome: report.outcome, freed_bytes })
    }
}
