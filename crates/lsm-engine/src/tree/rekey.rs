//! Bringing the tables and value logs of a tree under the key that new files get.

use std::collections::BTreeSet;

use lsm_compaction_executor::Outcome;
use lsm_compaction_planner::{
    CompactionStrategy, Plan, PlanView, Reason, Settings, TableDescriptor, ValuesView,
};
use lsm_types::{Result, TableId, VlogId};

use super::Tree;
use crate::{CompactOptions, EngineError, events::JobCall, relocation::Relocations};

/// What became of the tables and values of a tree.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RekeyReport {
    /// Tables that were rewritten.
    pub tables: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Value logs that are gone with that.
    pub value_logs: u64,
    /// Values that were moved.
    pub values: u64,
    /// Bytes of their frames in the new value logs.
    pub value_bytes: u64,
}

/// While it is there, value logs are rewritten by whatever compaction comes by.
struct Due<'a>(&'a Relocations);

impl Drop for Due<'_> {
    fn drop(&mut self) {
        self.0.set_due(BTreeSet::new());
    }
}

impl Tree {
    /// Rewrites, one after the other and each within its level, the tables that are sealed under another key than the
    /// one new files get, plain ones too, and those that lead to value logs under such a key: the values are moved. Reads,
    /// writes and flushes go on meanwhile.
    ///
    /// What was in memory goes under the new key anyway. The manifest is brought along by
    /// [`Store::renew_manifest`](crate::Store::renew_manifest), and
    /// [`Store::key_usage`](crate::Store::key_usage) tells when nothing is left: files that somebody still reads are. A
    /// value log with values that cannot be read stays, where [`RelocationOptions`](crate::RelocationOptions) say that these
    /// are carried along.
    ///
    /// # Errors
    /// `InvalidConfig` in a store that is not sealed; `StorageFull` when there is no room for a table or for the values it
    /// leads to; as [`Tree::compact`]. What was rewritten until then stays so.
    pub fn rekey(&self, options: &CompactOptions) -> Result<RekeyReport> {
        let Some(encryption) = &self.inner.env.encryption else {
            let problem = "is not set, so there is no key to go under";
            return Err(EngineError::InvalidConfig { option: "encryption", problem }.into());
        };
        let mut report = RekeyReport::default();
        let key = encryption.keys.current_key_id(self.inner.id).map_err(EngineError::Key)?.get();
        let target_bytes = self.inner.table_target_bytes;
        let version = self.inner.current.load_full().version.clone();
        let is_stale = |table: &TableDescriptor| {
            table.key_id != key || table.vector.as_ref().is_some_and(|vector| vector.key_id != key)
        };
        let stale = version.levels.tables().filter(|(_, table)| is_stale(table));
        let logs = version.vlogs.iter().map(|log| &log.vlog).filter(|log| log.key_id != key);
        let logs: BTreeSet<VlogId> = logs.map(|log| log.id).collect();
        let tables = stale.map(|(_, table)| table.id).collect();
        drop(version);
        self.inner.relocations.set_due(logs.clone());
        let _due = Due(&self.inner.relocations);
        let strategy = Rekey { tables, logs, target_bytes };
        loop {
            // Tables that other compactions rewrite meanwhile go under the new key by that. Waits for those that run.
            let mut call = JobCall::new(self.inner.store.jobs());
            let _alone = self.inner.compacting.write();
            let options = CompactOptions { rewrite: true, ..options.clone() };
            let done =
                self.inner.compact(&strategy, &options, &super::compact::no_failpoints(), &mut call)?;
            match done.outcome {
                Outcome::Merged => {}
                Outcome::Sliced => {
                    if let Some(shortage) = done.sliced.and_then(|sliced| sliced.shortage) {
                        return Err(EngineError::NoRoom { shortage }.into());
                    }
                }
                Outcome::Refused(shortage) => return Err(EngineError::NoRoom { shortage }.into()),
                _ => return Ok(report),
            }
            report.tables += done.tables_in as u64;
            report.bytes += done.bytes_in;
            report.value_logs += done.vlogs_removed as u64;
            report.values += done.values_relocated;
            report.value_bytes += done.value_bytes_relocated;
        }
    }
}

/// Picks the first table that was under another key, or leads to values that were.
struct Rekey {
    tables: BTreeSet<TableId>,
    logs: BTreeSet<VlogId>,
    target_bytes: u64,
}

impl Rekey {
    /// Whether values of the table are to be moved, and can be.
    fn leads(&self, view: &PlanView<'_>, table: TableId) -> bool {
        let logs = view.values.into_iter().flat_map(ValuesView::logs);
        let mut stale = logs.filter(|log| self.logs.contains(&log.id) && !log.is_damaged);
        stale.any(|log| log.tables.contains(&table))
    }
}

impl CompactionStrategy for Rekey {
    fn name(&self) -> &'static str {
        "RekeyCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("target_bytes", self.target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let is_stale = |id| self.tables.contains(&id) || self.leads(view, id);
        let stale = view.levels.tables().find(|(_, table)| is_stale(table.id));
        let Some((level, table)) = stale else { return Plan::Idle };
        let plan = Plan::merge(view, [table.id], level, self.target_bytes);
        match plan {
            // It has to move them: left where they are, they would be planned again.
            Plan::Merge(mut plan) if self.leads(view, table.id) => {
                plan.reason = Reason::ValueGarbage;
                Plan::Merge(plan)
            }
            plan => plan,
        }
    }
}
