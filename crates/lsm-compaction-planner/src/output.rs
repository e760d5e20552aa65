//! Where outputs go and where they end.

use alloc::{collections::BTreeSet, vec::Vec};

use lsm_manifest::Run;
use lsm_types::{Cut, Level, Slice};

use crate::{
    Inputs, PlanView,
    span::{Span, merge_spans, overlapping},
};

/// What the outputs of a plan shall be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OutputSpec {
    /// The level in which they are placed.
    pub dest: Level,
    /// The level they would stand at if the empty levels above did not exist: decides block sizes and codecs.
    pub canonical: Level,
    /// An output is closed when its file reaches this length.
    pub target_bytes: u64,
    /// No output has keys on both sides of one of these: a table stands there that is no input, in the level of the
    /// outputs. In key order.
    pub cuts: Vec<Cut>,
    /// Tables of the level below the outputs, in key order: good places to end an output, since what follows such a
    /// place overlaps other tables when it moves on.
    pub below: Vec<BelowTable>,
}

/// A table of the level below the outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BelowTable {
    /// Its largest key.
    pub max: Slice,
    /// Length of its file.
    pub file_bytes: u64,
}

impl OutputSpec {
    /// Outputs that end by their size alone: those of a flush.
    pub fn sized(level: Level, target_bytes: u64) -> Self {
        Self { dest: level, canonical: level, target_bytes, cuts: Vec::new(), below: Vec::new() }
    }

    /// Outputs of `inputs` in level `dest`; finds the places where they have to end or better do.
    pub fn new(
        view: &PlanView<'_>,
        inputs: &Inputs,
        dest: Level,
        canonical: Level,
        target_bytes: u64,
    ) -> Self {
        let mut output = Self { dest, canonical, target_bytes, cuts: Vec::new(), below: Vec::new() };
        // Runs of level 0 overlap anyway.
        if dest.get() > 0 {
            let spans = merge_spans(inputs.tables(), view.order());
            output.cuts = cuts(view, inputs, dest, &spans);
            output.below = below(view, dest, &spans);
        }
        output
    }
}

/// The gaps between inputs in which a table of `dest` stands that is not one of them.
fn cuts(view: &PlanView<'_>, inputs: &Inputs, dest: Level, spans: &[Span<'_>]) -> Vec<Cut> {
    let (level, order) = (view.levels.level(dest), view.order());
    let taken: usize =
        inputs.parts().iter().filter(|part| part.level == dest).map(|part| part.tables.len()).sum();
    if spans.len() < 2 || level.is_empty() || taken == level.table_count() {
        return Vec::new();
    }
    let ids: BTreeSet<_> = inputs.tables().map(|table| table.id).collect();
    let stays_in = |gap: Span<'_>| {
        let mut found = level.runs().iter().flat_map(|run| run.tables.covering(gap.start, gap.end, order));
        found.any(|table| !ids.contains(&table.id))
    };
    let gaps = spans.iter().zip(spans.iter().skip(1)).map(|(a, b)| Span { start: a.end, end: b.start });
    gaps.filter(|gap| stays_in(*gap)).map(|gap| gap.start.clone()).collect()
}

fn below(view: &PlanView<'_>, dest: Level, spans: &[Span<'_>]) -> Vec<BelowTable> {
    let Some(next) = dest.checked_add(1) else { return Vec::new() };
    // Usually there is one run; of several the largest tells most.
    let largest = |run: &&Run| run.tables.file_bytes();
    let Some(run) = view.levels.level(next).runs().iter().max_by_key(largest) else { return Vec::new() };
    let tables = overlapping(run, spans, view.order());
    let of = |entries: &lsm_types::KeyRange, file_bytes| BelowTable { max: entries.max.clone(), file_bytes };
    tables.iter().filter_map(|table| Some(of(table.entries.as_ref()?, table.live_bytes()))).collect()
}
