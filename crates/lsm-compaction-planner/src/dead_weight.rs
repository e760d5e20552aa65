//! How much of what a merge reads it is likely not to write again.
//!
//! Nobody knows without reading. What the manifest says gives an estimate: an entry of a newer run is taken for a newer
//! version of one that lies below it among the inputs, where there is one; a delete goes itself where nothing lies
//! deeper; and of a table that range tombstones reach in part, half is taken for gone. What readers may still ask for,
//! at or above the watermark, hides nothing.

use alloc::vec::Vec;

use lsm_manifest::TableDescriptor;
use lsm_types::{KeyOrder, Level, SeqNo};

use crate::{
    Inputs, PlanView, RunPart, is_covered,
    span::{Span, merge_spans},
};

/// Stretches of keys that range tombstones in tables have deleted for every reader, each with the number of the newest.
pub(crate) struct Deleted<'a>(Vec<(Span<'a>, SeqNo)>);

impl<'a> Deleted<'a> {
    pub(crate) fn of(view: &PlanView<'a>) -> Self {
        let Some(deletes) = view.deletes else { return Self(Vec::new()) };
        let stretches = deletes.stretches_from(&lsm_types::Cut::Start).filter_map(|stretch| {
            let newest = deletes.newest_below(stretch, view.watermark)?;
            let (start, end) = deletes.around(stretch);
            Some((Span { start, end }, newest))
        });
        Self(stretches.collect())
    }

    /// Whether some of them reach older entries of the table.
    pub(crate) fn reach(&self, table: &TableDescriptor, order: &KeyOrder) -> bool {
        let first =
            self.0.partition_point(|(span, _)| span.end.compare(&table.coverage_start, order).is_le());
        let reaching = self.0.iter().skip(first);
        reaching
            .take_while(|(span, _)| span.start.compare(&table.coverage_end, order).is_lt())
            .any(|(_, newest)| *newest > table.seqnos.min)
    }
}

impl PlanView<'_> {
    /// Bytes that merging everything into the last level is likely to free; an estimate, made of what the manifest says.
    pub fn dead_weight(&self) -> u64 {
        let runs =
            self.levels.iter().flat_map(|(level, runs)| runs.runs().iter().map(move |run| (level, run)));
        let all = Inputs::new(runs.map(|(level, run)| RunPart {
            level,
            run: run.id,
            tables: run.tables.iter().cloned().collect(),
        }));
        dead_weight(&all, self.last_level(), self, &Deleted::of(self))
    }
}

/// Bytes that a merge of `inputs` into `dest` is likely to free.
pub(crate) fn dead_weight(inputs: &Inputs, dest: Level, view: &PlanView<'_>, deleted: &Deleted<'_>) -> u64 {
    let order = view.order();
    let is_bottommost = view.levels.iter().all(|(level, runs)| level <= dest || runs.is_empty());
    let (mut freed, mut older_entries, mut older_bytes) = (0_u64, 0_u64, 0_u64);
    let parts = inputs.parts();
    // From the oldest part up.
    for (at, part) in parts.iter().enumerate().rev() {
        let below = parts.iter().skip(at + 1).flat_map(|part| part.tables.iter());
        let below = merge_spans(below, order);
        let (mut hiding, mut own_entries, mut own_bytes) = (0_u64, 0_u64, 0_u64);
        for table in &part.tables {
            let (entries, bytes) = (table.live_entries(), table.live_bytes());
            let (mut kept_entries, mut kept_bytes) = (entries, bytes);
            if is_covered(table, view) {
                (kept_entries, kept_bytes) = (0, 0);
            } else if deleted.reach(table, order) {
                (kept_entries, kept_bytes) = (entries / 2, bytes / 2);
            }
            if table.seqnos.min < view.watermark {
                if meets(&below, table, order) {
                    hiding = hiding.saturating_add(kept_entries);
                }
                if is_bottommost {
                    let counts = &table.counts;
                    let tombstones =
                        counts.tombstones.saturating_add(counts.weak_tombstones).min(kept_entries);
                    kept_bytes -= share(kept_bytes, tombstones, kept_entries);
                    kept_entries -= tombstones;
                }
            }
            freed = freed.saturating_add(bytes - kept_bytes);
            own_entries = own_entries.saturating_add(kept_entries);
            own_bytes = own_bytes.saturating_add(kept_bytes);
        }
        let hidden = hiding.min(older_entries);
        let gone = share(older_bytes, hidden, older_entries);
        freed = freed.saturating_add(gone);
        older_entries = (older_entries - hidden).saturating_add(own_entries);
        older_bytes = (older_bytes - gone).saturating_add(own_bytes);
    }
    freed
}

/// `part` of `whole`, in bytes.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(bytes) * u128::from(part.min(whole));
    u64::try_from(product / u128::from(whole.max(1))).unwrap_or(bytes)
}

fn meets(spans: &[Span<'_>], table: &TableDescriptor, order: &KeyOrder) -> bool {
    let first = spans.partition_point(|span| span.end.compare(&table.coverage_start, order).is_le());
    spans.get(first).is_some_and(|span| span.start.compare(&table.coverage_end, order).is_lt())
}
