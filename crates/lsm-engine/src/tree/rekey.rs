//! Bringing the tables of a tree under the key that new files get.

use std::collections::BTreeSet;

use lsm_compaction_executor::Outcome;
use lsm_compaction_planner::{CompactionStrategy, Plan, PlanView, Settings};
use lsm_types::{Result, TableId};

use super::Tree;
use crate::{CompactOptions, EngineError};

/// What became of the tables of a tree.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RekeyReport {
    /// Tables that were rewritten.
    pub tables: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl Tree {
    /// Rewrites, one after the other and each within its level, the tables that are sealed under another key than the
    /// one new files get, plain ones too. Reads, writes and flushes go on meanwhile.
    ///
    /// What was in memory goes under the new key anyway. The manifest is brought along by
    /// [`Store::renew_manifest`](crate::Store::renew_manifest), and
    /// [`Store::key_usage`](crate::Store::key_usage) tells when nothing is left. Separated values stay in their value
    /// logs, and these under their keys, until their values are moved or dropped.
    ///
    /// # Errors
    /// `InvalidConfig` in a store that is not sealed; `StorageFull` when there is no room for a table; as [`Tree::compact`]. What was rewritten until then stays so.
    pub fn rekey(&self, options: &CompactOptions) -> Result<RekeyReport> {
        let Some(encryption) = &self.inner.env.encryption else {
            let problem = "is not set, so there is no key to go under";
            return Err(EngineError::InvalidConfig { option: "encryption", problem }.into());
        };
        let mut report = RekeyReport::default();
        let key = encryption.keys.current_key_id(self.inner.id).map_err(EngineError::Key)?.get();
        let target_bytes = self.inner.table_target_bytes;
        let levels = &self.inner.current.load_full().version.levels;
        let stale = levels.tables().filter(|(_, table)| table.key_id != key).map(|(_, table)| table.id);
        let strategy = Rekey { stale: stale.collect(), target_bytes };
        loop {
            // Tables that other compactions rewrite meanwhile go under the new key by that. Waits for those that run.
            let _alone = self.inner.compacting.write();
            let done = self.inner.compact(&strategy, options, &super::compact::no_failpoints())?;
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
        }
    }
}

/// Picks the first table that was under another key.
struct Rekey {
    stale: BTreeSet<TableId>,
    target_bytes: u64,
}

impl CompactionStrategy for Rekey {
    fn name(&self) -> &'static str {
        "RekeyCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("target_bytes", self.target_bytes)
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let stale = view.levels.tables().find(|(_, table)| self.stale.contains(&table.id));
        stale.map_or(Plan::Idle, |(level, table)| Plan::merge(view, [table.id], level, self.target_bytes))
    }
}
