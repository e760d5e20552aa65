//! Small tables that come one after the other become one.

use alloc::{sync::Arc, vec::Vec};

use lsm_manifest::{Run, TableDescriptor};

use super::{Fifo, L0};
use crate::{Inputs, MergePlan, OutputSpec, Plan, PlanView, Reason, RunPart};

/// Tables with the greatest keys, which are those written last, that are looked at.
const LOOKED_AT_MAX: usize = 256;
/// A table is small when it is no longer than this part of the target.
const SMALL_PART: u64 = 4;
/// Tables are merged when together they come to this part of the target: what comes of them is not small.
const DECENT_PART: u64 = 2;
/// Tables are merged within this part of the time that they are kept.
const FRESH_PART: u64 = 8;

impl Fifo {
    /// The merge of the first small neighbours that together make a decent table.
    ///
    /// Tables with range tombstones are left alone: what a merge leaves of those may be a table without entries, and
    /// that is a run of its own.
    pub(super) fn merge_small(&self, view: &PlanView<'_>, run: &Run) -> Option<Plan> {
        let target_bytes = self.merge_target_bytes?;
        let stale_at = self.ttl().and_then(|secs| view.written_by(secs / FRESH_PART));
        let may_go = |table: &TableDescriptor| {
            let is_fresh = stale_at.is_none_or(|stale_at| table.created_at > stale_at);
            table.live_bytes() <= target_bytes / SMALL_PART && is_fresh && table.counts.range_tombstones == 0
        };
        let looked_at: Vec<&Arc<TableDescriptor>> = run.tables.iter().rev().take(LOOKED_AT_MAX).collect();
        let mut tables: Vec<Arc<TableDescriptor>> = Vec::new();
        let mut bytes = 0_u64;
        for table in looked_at.into_iter().rev() {
            if !may_go(table) {
                tables.clear();
                bytes = 0;
                continue;
            }
            bytes = bytes.saturating_add(table.live_bytes());
            tables.push(table.clone());
            if tables.len() > 1 && bytes >= target_bytes / DECENT_PART {
                let inputs = Inputs::new([RunPart { level: L0, run: run.id, tables }]);
                let output = OutputSpec::new(view, &inputs, L0, L0, target_bytes);
                return Some(Plan::Merge(MergePlan { inputs, output, reason: Reason::SmallTables }));
            }
        }
        None
    }
}
