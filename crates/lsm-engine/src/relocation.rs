//! Old value logs: which are rewritten, and what planning gets to see of them.

use std::collections::{BTreeMap, BTreeSet};

use lsm_compaction_executor::{OnCorruption, Relocation};
use lsm_compaction_planner::{Picked, ValuesView, VlogFigures, VlogPicker};
use lsm_manifest::{LiveVlog, Version};
use lsm_table::consumed_values;
use lsm_types::{UnixNanos, VlogId};
use parking_lot::Mutex;

use crate::separated::ValueLogs;

/// Value logs with little garbage are left alone until nothing was flushed or ingested for so long.
const QUIET_NANOS: u64 = 60 * 1_000_000_000;

/// When and how compactions rewrite value logs that hold garbage.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RelocationOptions {
    /// Which value logs are rewritten.
    pub picker: VlogPicker,
    /// Bytes of values that a compaction reads before it writes them, and most bytes of a read. Default 256 KiB.
    pub readahead_bytes: u32,
    /// What becomes of a compaction when a value cannot be copied. Default: it fails.
    pub on_corruption: OnCorruption,
}

impl Default for RelocationOptions {
    fn default() -> Self {
        let (picker, on_corruption) = (VlogPicker::default(), OnCorruption::default());
        Self { picker, readahead_bytes: 256 << 10, on_corruption }
    }
}

impl RelocationOptions {
    /// The first option that cannot hold, and what it has to be.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if !(4 << 10..=16 << 20).contains(&self.readahead_bytes) {
            return Some(("relocation.readahead_bytes", "must be 4 KiB to 16 MiB"));
        }
        self.picker.problem()
    }
}

fn consumed(log: &LiveVlog) -> u64 {
    let range = consumed_values(log);
    range.end - range.start
}

/// The value logs of a tree as those see them who rewrite them.
pub(crate) struct Relocations {
    options: RelocationOptions,
    /// Value logs with values that could not be copied.
    damaged: Mutex<BTreeSet<VlogId>>,
    /// Value logs that are rewritten whatever is in them.
    due: Mutex<BTreeSet<VlogId>>,
    /// When something was flushed or ingested last; `None` as long as nothing was since the tree was opened. What
    /// relocation itself writes does not count: it would keep itself waiting.
    written: Mutex<Option<UnixNanos>>,
}

impl Relocations {
    pub(crate) fn new(options: RelocationOptions) -> Self {
        Self { options, damaged: Mutex::default(), due: Mutex::default(), written: Mutex::default() }
    }

    /// Something was flushed or ingested.
    pub(crate) fn note_write(&self, now: UnixNanos) {
        *self.written.lock() = Some(now);
    }

    /// What planning sees; `None` where there are no value logs.
    pub(crate) fn view(&self, version: &Version, now: UnixNanos) -> Option<ValuesView> {
        if version.vlogs.is_empty() {
            return None;
        }
        let mut damaged = self.damaged.lock();
        damaged.retain(|id| version.vlogs.get(*id).is_some());
        let logs = version.vlogs.iter().map(|log| VlogFigures {
            id: log.vlog.id,
            // Without what was given back from its front.
            total_bytes: log.vlog.total.stored_bytes.saturating_sub(consumed(log)),
            live_bytes: log.live.stored_bytes,
            tables: log.tables.clone(),
            is_damaged: damaged.contains(&log.vlog.id),
        });
        let newest = || version.levels.tables().map(|(_, table)| table.created_at).max().unwrap_or_default();
        let written = *self.written.lock().get_or_insert_with(newest);
        let is_quiet = now.get().saturating_sub(written.get()) >= QUIET_NANOS;
        let due = self.due.lock().clone();
        Some(ValuesView::new(logs, self.options.picker).quiet(is_quiet).due(due))
    }

    /// From now on these are rewritten by whatever compaction comes by, and no others but for what is in them.
    pub(crate) fn set_due(&self, logs: BTreeSet<VlogId>) {
        *self.due.lock() = logs;
    }

    /// What a job is told; `None` when nothing was picked for it.
    pub(crate) fn order(&self, picked: &Picked, logs: &ValueLogs) -> Option<Relocation> {
        let open = picked.logs.keys().filter_map(|id| Some((*id, logs.get(*id)?.clone())));
        let logs: BTreeMap<_, _> = open.collect();
        let RelocationOptions { readahead_bytes, on_corruption, .. } = self.options;
        (!logs.is_empty()).then(|| Relocation { logs: logs.into(), readahead_bytes, on_corruption })
    }

    /// Value logs that a job could not copy everything from: they are left alone until the tree is opened again.
    pub(crate) fn note_damaged(&self, logs: &BTreeSet<VlogId>) {
        self.damaged.lock().extend(logs);
    }
}
