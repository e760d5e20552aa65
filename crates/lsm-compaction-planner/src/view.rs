//! What a strategy sees: one moment of one tree.

use lsm_manifest::Levels;
use lsm_types::{KeyOrder, Level, SeqNo, TombstoneIndex, UnixNanos};

use crate::{BusySet, ValuesView};

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
    /// The time. Ages of tables are measured against it.
    pub now: UnixNanos,
    /// No read will start below it, none is under way there: what only such reads could see may go.
    pub watermark: SeqNo,
    /// Range tombstones that stand in tables; `None` when none does, or nobody looked.
    pub deletes: Option<&'a TombstoneIndex>,
    /// Value logs, and when they are rewritten; `None` for a tree that keeps values beside their keys, and where values
    /// are to stay where they are.
    pub values: Option<&'a ValuesView>,
}

impl<'a> PlanView<'a> {
    /// A view of levels and the tables taken among them: at time 0, with a watermark that certifies nothing.
    pub fn new(levels: &'a LevelsView, busy: &'a BusySet, shape: &'a TreeShape) -> Self {
        Self {
            levels,
            busy,
            shape,
            now: UnixNanos::new(0),
            watermark: SeqNo::ZERO,
            deletes: None,
            values: None,
        }
    }

    /// The view at this time.
    #[must_use]
    pub fn at(self, now: UnixNanos) -> Self {
        Self { now, ..self }
    }

    /// The view with this watermark.
    #[must_use]
    pub fn with_watermark(self, watermark: SeqNo) -> Self {
        Self { watermark, ..self }
    }

    /// The view with these range tombstones, which stand in tables.
    #[must_use]
    pub fn with_deletes(self, deletes: &'a TombstoneIndex) -> Self {
        Self { deletes: Some(deletes), ..self }
    }

    /// The view with these value logs; `None` for one in which values stay where they are.
    #[must_use]
    pub fn with_values(self, values: Option<&'a ValuesView>) -> Self {
        Self { values, ..self }
    }

    /// The latest time of writing of what is `secs` old by now; `None` when nothing can be that old.
    pub(crate) fn written_by(&self, secs: u64) -> Option<UnixNanos> {
        self.now.get().checked_sub(secs.checked_mul(1_000_000_000)?).map(UnixNanos::new)
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
