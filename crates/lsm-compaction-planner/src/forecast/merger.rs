//! What a merge makes of tables.

use alloc::vec::Vec;

use lsm_types::{KeyOrder, Slice};

use super::{
    float,
    keys::{CLASSES, Writes},
    population::{Population, Strip},
    whole,
};
use crate::{Cutter, OutputSpec};

/// An output is looked at this many times before it reaches its target.
const LOOKS: f64 = 16.0;

/// A merge of runs, newest first.
pub(super) struct Merger<'a> {
    writes: &'a Writes,
    runs: Vec<Vec<Strip>>,
    drops_tombstones: bool,
}

impl<'a> Merger<'a> {
    pub(super) fn new(writes: &'a Writes, runs: &[Vec<Population>], drops_tombstones: bool) -> Self {
        let strips = |run: &Vec<Population>| run.iter().flat_map(Population::strips).copied().collect();
        Self { writes, runs: runs.iter().map(strips).collect(), drops_tombstones }
    }

    /// The outputs, cut as the engine cuts them.
    pub(super) fn run(&self, output: &OutputSpec, order: &KeyOrder) -> Vec<Population> {
        let weights = self.writes.weights();
        let mut places: Vec<usize> = self.runs.iter().map(|_| 0).collect();
        let mut cutter = Cutter::new(output, order);
        let mut outputs = Vec::new();
        let mut open: Option<Population> = None;
        let borders = self.borders(output);
        for (from, to) in borders.iter().zip(borders.iter().skip(1)) {
            let slice = self.slice(&mut places, *from, *to);
            let looks = (slice.bytes(&weights) * LOOKS / float(output.target_bytes.max(1))).min(4096.0);
            let looks = whole(looks).clamp(1, to - from);
            for look in 0..looks {
                let (from, to) = (from + (to - from) / looks * look, from + (to - from) / looks * (look + 1));
                let to = if look + 1 == looks { slice.to } else { to };
                let part = slice.part(from, to);
                let open_bytes = open.as_ref().map_or(0, |open| open.file_bytes(&weights));
                if cutter.ends_before(&from.to_be_bytes(), open_bytes) {
                    outputs.extend(open.take().map(Population::trimmed));
                }
                match &mut open {
                    Some(open) => open.push(&part),
                    None if part.bytes(&weights) >= 1.0 => open = Some(Population::from(part)),
                    None => {}
                }
            }
        }
        outputs.extend(open.map(Population::trimmed));
        outputs
    }

    /// The positions between which nothing changes, and those where outputs may have to end.
    fn borders(&self, output: &OutputSpec) -> Vec<u64> {
        let mut borders: Vec<u64> =
            self.runs.iter().flatten().flat_map(|strip| [strip.from, strip.to]).collect();
        // Where tables below end, so that outputs can end there too.
        borders.extend(output.below.iter().filter_map(|below| position(&below.max)?.checked_add(1)));
        borders.extend(output.cuts.iter().filter_map(|cut| position(cut.key()?)?.checked_add(1)));
        borders.sort_unstable();
        borders.dedup();
        borders
    }

    /// What all runs come to between two positions at which no strip ends.
    fn slice(&self, places: &mut [usize], from: u64, to: u64) -> Strip {
        let mut merged = Strip::new(from, to);
        // The part of the keys that no newer run has, by class.
        let mut open = [1.0_f64; CLASSES];
        for (run, place) in self.runs.iter().zip(places.iter_mut()) {
            while run.get(*place).is_some_and(|strip| strip.to <= from) {
                *place += 1;
            }
            let Some(strip) = run.get(*place).filter(|strip| strip.from <= from) else { continue };
            let part = merged.width() / strip.width();
            let tombstones = strip.tombstone_count();
            let written_each = if tombstones > 0.0 { strip.written_sum / tombstones } else { 0.0 };
            for (class, open) in open.iter_mut().enumerate() {
                let keys = (self.writes.density(class) * merged.width()).max(f64::MIN_POSITIVE);
                let share = |counts: &[f64; CLASSES]| counts.get(class).copied().unwrap_or(0.0) * part / keys;
                let (live, deleted) = (share(&strip.live).min(1.0), share(&strip.tombstones).min(1.0));
                let kept = if self.drops_tombstones { 0.0 } else { deleted * *open * keys };
                merged.add(class, live * *open * keys, kept, written_each);
                *open *= (1.0 - live - deleted).max(0.0);
            }
        }
        merged
    }
}

fn position(key: &Slice) -> Option<u64> {
    key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}
