//! What a strategy sees: one moment of one tree.

use lsm_manifest::Levels;
use lsm_types::{KeyOrder, Level};

use crate::BusySet;

/// The levels of a tree as a planner sees them: those of its version, cheap to clone.
pub type LevelsView = Levels;

/// What about a tree stays while it is open.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TreeShape {
    /// The order of its keys.
    pub order: KeyOrder,
}

impl TreeShape {
    /// The shape of a tree with keys in this order.
    pub fn new(order: KeyOrder) -> Self {
        Self { order }
    }
}

/// Everything a plan may depend on: equal views give equal plans.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlanView<'a> {
    /// Tables by level and run.
    pub levels: &'a LevelsView,
    /// Tables that are taken.
    pub busy: &'a BusySet,
    /// What the tree is.
    pub shape: &'a TreeShape,
}

impl<'a> PlanView<'a> {
    /// A view of levels and the tables taken among them.
    pub fn new(levels: &'a LevelsView, busy: &'a BusySet, shape: &'a TreeShape) -> Self {
        Self { levels, busy, shape }
    }

    /// The order of keys.
    pub fn order(&self) -> &'a KeyOrder {
        &self.shape.order
    }

    /// The deepest level of the tree, empty or not.
    pub fn last_level(&self) -> Level {
        self.levels.last()
    }
}
