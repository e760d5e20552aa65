//! The door for those who decide what to compact.

use crate::{Plan, PlanView, Settings};

/// Decides what to compact next.
///
/// Pure: no clock, no dice, no memory of earlier calls. Equal views give equal plans, so a decision can be replayed
/// from a manifest alone. Whoever calls it runs the plan, or declines it where [`validate`](crate::validate) does.
pub trait CompactionStrategy: Send + Sync {
    /// Name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Parameters, for diagnostics.
    fn settings(&self) -> Settings;

    /// The next step; [`Plan::Idle`] when the tree is in shape or what should be done is busy.
    fn plan(&self, view: &PlanView<'_>) -> Plan;

    /// What keeps the strategy idle though there may be something to do; asked when its plan is [`Plan::Idle`]. Goes into
    /// the report.
    fn obstacle(&self, view: &PlanView<'_>) -> Option<Obstacle> {
        let _ = view;
        None
    }

    /// How much is left to be done; slows writers down when it grows.
    fn debt(&self, view: &PlanView<'_>) -> Debt {
        let _ = view;
        Debt::ZERO
    }
}

/// What keeps a strategy from its work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Obstacle {
    /// Tables it would take belong to another job.
    Busy,
    /// Runs overlap, or may, where it needs one.
    Overlap,
}

/// Work that is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Debt {
    /// Bytes that must still be rewritten.
    pub bytes: u64,
}

impl Debt {
    /// Nothing is due.
    pub const ZERO: Self = Self { bytes: 0 };

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes) }
    }
}
