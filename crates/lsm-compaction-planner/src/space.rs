//! Whether there is room for a merge.
//!
//! A merge writes its outputs before its inputs leave. What it may write is bounded twice: by a quota on everything the
//! store keeps, and by the free bytes of the volume the outputs land on. Both are judged from figures that the caller
//! measured; this file only reckons, so that the gate before a job and the status that users see cannot disagree.
//!
//! Jobs that run side by side share a [`Ledger`]: what one was granted is gone for the others until it ends.
//!
//! Moves and drops need no room and are not asked about.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{Inputs, MergePlan, PlanView};

/// One volume, as its backend reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// What tells it from other volumes; `None` when the backend cannot say.
    pub id: Option<u64>,
    /// Free bytes; `None` when the backend cannot say, which is taken for enough.
    pub free_bytes: Option<u64>,
}

/// What is known about space when a merge asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// What all live files may come to; `None` without a quota.
    pub limit_bytes: Option<u64>,
    /// Physical length of all live tables and value files.
    pub used_bytes: u64,
    /// Kept free on every volume, so that a flush can always land.
    pub reserve_bytes: u64,
    /// Where tables of the target level go.
    pub tables: Volume,
    /// Where value files go.
    pub values: Volume,
}

/// What a merge may write before it gives anything back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// Into tables.
    pub table_bytes: u64,
    /// Into value files.
    pub value_bytes: u64,
    /// Whether it is known to leave less than it takes: its inputs hold what no read can ask for.
    pub reclaims: bool,
}

impl Demand {
    /// The demand of a merge of these tables: its outputs are no longer than its inputs, and of values it copies those that
    /// the inputs hold in value logs picked for it. It reclaims where the inputs hold deletes that every read sees, or a
    /// value log with garbage goes.
    pub fn of(inputs: &Inputs, view: &PlanView<'_>) -> Self {
        let picked = view.values.map(|values| values.pick(inputs)).unwrap_or_default();
        let has_deletes =
            inputs.tables().any(|table| table.has_deletes() && table.seqnos.min < view.watermark);
        let (value_bytes, reclaims) = (picked.bytes(), has_deletes || picked.frees);
        Self { table_bytes: inputs.file_bytes(), value_bytes, reclaims }
    }

    fn bytes(self) -> u64 {
        self.table_bytes.saturating_add(self.value_bytes)
    }
}

/// What stood against a merge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shortage {
    /// The quota.
    Quota,
    /// The free bytes of a volume.
    Volume,
    /// The reserve: there are free bytes, but they are kept, and the merge is not known to give any back.
    Reserve,
}

impl Space {
    /// Whether there is room for `demand`.
    ///
    /// # Errors
    /// The first layer that has none.
    pub fn check(&self, demand: Demand) -> Result<(), Shortage> {
        if self.limit_bytes.is_some_and(|limit| demand.bytes() > limit.saturating_sub(self.used_bytes)) {
            return Err(Shortage::Quota);
        }
        let are_apart = matches!((self.tables.id, self.values.id), (Some(a), Some(b)) if a != b);
        if are_apart {
            self.check_volume(self.tables.free_bytes, demand.table_bytes, demand.reclaims)?;
            return self.check_volume(self.values.free_bytes, demand.value_bytes, demand.reclaims);
        }
        // Two routes to one volume, or to who knows: what both would take has to fit the smaller figure.
        let free = [self.tables.free_bytes, self.values.free_bytes].into_iter().flatten().min();
        self.check_volume(free, demand.bytes(), demand.reclaims)
    }

    fn check_volume(&self, free: Option<u64>, bytes: u64, reclaims: bool) -> Result<(), Shortage> {
        match free {
            Some(free) if bytes > free => Err(Shortage::Volume),
            Some(free) if !reclaims && bytes > free.saturating_sub(self.reserve_bytes) => {
                Err(Shortage::Reserve)
            }
            _ => Ok(()),
        }
    }

    /// All that the store may come to: its quota, or what it has and what is free; `u64::MAX` when nobody knows.
    pub fn capacity_bytes(&self) -> u64 {
        let free = self.tables.free_bytes.map_or(u64::MAX, |free| free.saturating_add(self.used_bytes));
        self.limit_bytes.map_or(free, |limit| limit.min(free))
    }

    /// What is left of it.
    pub fn available_bytes(&self) -> u64 {
        self.capacity_bytes().saturating_sub(self.used_bytes)
    }
}

/// What running merges were granted, by the number of the grant.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    grants: BTreeMap<u64, (Demand, Volume, Volume)>,
    next: u64,
}

/// Room that a merge was granted; give it back with [`Ledger::release`].
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub struct Grant(u64);

impl Ledger {
    /// Grants `demand`, if there is room beside what was granted before; `space` is as measured, without grants.
    ///
    /// # Errors
    /// The first layer that has no room.
    pub fn grant(&mut self, space: &Space, demand: Demand) -> Result<Grant, Shortage> {
        self.left_of(space).check(demand)?;
        let number = self.next;
        self.next += 1;
        self.grants.insert(number, (demand, space.tables, space.values));
        Ok(Grant(number))
    }

    /// A merge ended, one way or another.
    #[expect(clippy::needless_pass_by_value, reason = "a grant is given back once")]
    pub fn release(&mut self, grant: Grant) {
        let released = self.grants.remove(&grant.0);
        debug_assert!(released.is_some(), "a grant is given once and released once");
    }

    /// Bytes that are granted and not given back.
    pub fn granted_bytes(&self) -> u64 {
        self.grants.values().fold(0, |sum, (demand, ..)| sum.saturating_add(demand.bytes()))
    }

    /// What is left when all grants are used up.
    ///
    /// What running merges have written so far is counted twice, once as used or not free and once as granted: a merge
    /// may wait for room that is there, and never takes what another one needs.
    pub fn left_of(&self, space: &Space) -> Space {
        let mut left = *space;
        left.used_bytes = left.used_bytes.saturating_add(self.granted_bytes());
        for (demand, tables, values) in self.grants.values() {
            for volume in [&mut left.tables, &mut left.values] {
                let on = |other: &Volume| !matches!((volume.id, other.id), (Some(a), Some(b)) if a != b);
                let table_bytes = if on(tables) { demand.table_bytes } else { 0 };
                let value_bytes = if on(values) { demand.value_bytes } else { 0 };
                volume.free_bytes = volume
                    .free_bytes
                    .map(|free| free.saturating_sub(table_bytes.saturating_add(value_bytes)));
            }
        }
        left
    }
}

/// What becomes of a merge.
#[derive(PartialEq, Eq, Debug)]
pub enum Admission {
    /// It runs, in this form: the whole, or a part of it that fits.
    Run {
        /// What to carry out.
        plan: MergePlan,
        /// The room it was granted.
        grant: Grant,
        /// Whether it is a part of what was asked for.
        narrowed: bool,
    },
    /// There is no room, not even for a part.
    Refused {
        /// What stood against the whole.
        shortage: Shortage,
    },
}

/// Grants `plan` room, or else the smallest part of it that there is room for.
///
/// * `demand`: what a form of the plan needs. A part may need more than a smaller one of other tables, so each is asked
///   for by itself.
pub fn admit(
    plan: MergePlan,
    view: &PlanView<'_>,
    space: &Space,
    ledger: &mut Ledger,
    mut demand: impl FnMut(&MergePlan) -> Demand,
) -> Admission {
    let shortage = match ledger.grant(space, demand(&plan)) {
        Ok(grant) => return Admission::Run { plan, grant, narrowed: false },
        Err(shortage) => shortage,
    };
    let parts: Vec<MergePlan> = plan.smaller(view);
    for part in parts {
        if let Ok(grant) = ledger.grant(space, demand(&part)) {
            return Admission::Run { plan: part, grant, narrowed: true };
        }
    }
    Admission::Refused { shortage }
}
