//! Strategies made of strategies, so that none of them needs a flag for what another one does.
//!
//! ```
//! use lsm_compaction_planner::{Fallback, Heal, Leveled, Overdue, PriorityList};
//!
//! // Damaged tables first, the shape of the tree next, and what lies around for too long when there is time.
//! let heal = Heal { tables: Vec::new(), table_target_bytes: 64 << 20 };
//! let shape = Fallback(Leveled::default(), Overdue::default());
//! let all = PriorityList(vec![Box::new(heal), Box::new(shape)]);
//! # let _: &dyn lsm_compaction_planner::CompactionStrategy = &all;
//! ```

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use crate::{CompactionStrategy, Debt, Obstacle, Plan, PlanView, Settings};

/// The first strategy, and the second when the first has nothing to do: it is idle and owes nothing.
///
/// While the first is idle because what it wants is busy, the second waits too: it could take tables away from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fallback<P, S>(pub P, pub S);

impl<P: CompactionStrategy, S: CompactionStrategy> CompactionStrategy for Fallback<P, S> {
    fn name(&self) -> &'static str {
        "Fallback"
    }

    fn settings(&self) -> Settings {
        let first = Settings::new().with("first", self.0.name()).and(self.0.settings());
        first.with("second", self.1.name()).and(self.1.settings())
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let plan = self.0.plan(view);
        if plan.is_idle() && self.0.debt(view) == Debt::ZERO { self.1.plan(view) } else { plan }
    }

    fn obstacle(&self, view: &PlanView<'_>) -> Option<Obstacle> {
        self.0.obstacle(view).or_else(|| self.1.obstacle(view))
    }

    fn debt(&self, view: &PlanView<'_>) -> Debt {
        self.0.debt(view).and(self.1.debt(view))
    }
}

/// The first of some strategies that has a plan.
#[derive(Default)]
pub struct PriorityList(pub Vec<Box<dyn CompactionStrategy>>);

impl CompactionStrategy for PriorityList {
    fn name(&self) -> &'static str {
        "PriorityList"
    }

    fn settings(&self) -> Settings {
        let all = self.0.iter();
        all.fold(Settings::new(), |settings, one| settings.with("next", one.name()).and(one.settings()))
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let plans = self.0.iter().map(|one| one.plan(view));
        plans.into_iter().find(|plan| !plan.is_idle()).unwrap_or(Plan::Idle)
    }

    fn obstacle(&self, view: &PlanView<'_>) -> Option<Obstacle> {
        self.0.iter().find_map(|one| one.obstacle(view))
    }

    fn debt(&self, view: &PlanView<'_>) -> Debt {
        self.0.iter().fold(Debt::ZERO, |sum, one| sum.and(one.debt(view)))
    }
}

impl fmt::Debug for PriorityList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|one| one.name())).finish()
    }
}
