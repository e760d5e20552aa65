//! What is in a table, as expected numbers, and what a merge makes of it.

use alloc::vec::Vec;

use lsm_manifest::{Census, Counts, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor};
use lsm_types::{Cut, EditIndex, FileUuid, KeyOrder, KeyRange, RouteId, SeqNo, Slice, TableId, UnixNanos};

use super::{
    float,
    keys::{CLASSES, Writes},
    whole,
};
use crate::{Cutter, OutputSpec};

/// An output is looked at this many times before it reaches its target.
const LOOKS: f64 = 16.0;
/// A tombstone takes this part of an entry.
const TOMBSTONE: f64 = 0.25;

/// Expected numbers of the entries between two positions, spread evenly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Population {
    from: u64,
    /// Not included.
    to: u64,
    entry_bytes: f64,
    /// Puts by class.
    pub(super) live: [f64; CLASSES],
    /// Tombstones by class.
    tombstones: [f64; CLASSES],
    /// The times at which the tombstones were written, summed up.
    written_sum: f64,
}

impl Population {
    pub(super) fn new(from: u64, to: u64, entry_bytes: f64) -> Self {
        let (live, tombstones) = ([0.0; CLASSES], [0.0; CLASSES]);
        Self { from, to: to.max(from + 1), entry_bytes, live, tombstones, written_sum: 0.0 }
    }

    pub(super) fn add(&mut self, class: usize, live: f64, tombstones: f64, now_secs: f64) {
        if let (Some(has), Some(deletes)) = (self.live.get_mut(class), self.tombstones.get_mut(class)) {
            *has += live;
            *deletes += tombstones;
            self.written_sum += tombstones * now_secs;
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let entries = self.live.iter().sum::<f64>() + self.tombstones.iter().sum::<f64>() * TOMBSTONE;
        whole(entries * self.entry_bytes)
    }

    /// How many tombstones there are, and the sum of the times at which they were written.
    pub(super) fn tombstones(&self) -> (f64, f64) {
        (self.tombstones.iter().sum(), self.written_sum)
    }

    fn width(&self) -> f64 {
        float(self.to - self.from)
    }

    /// As the manifest knows it; `None` when less than an entry is left.
    pub(super) fn describe(&self, id: TableId, now: UnixNanos) -> Option<TableDescriptor> {
        let tombstones = whole(self.tombstones.iter().sum());
        let entries = whole(self.live.iter().sum::<f64>()) + tombstones;
        if entries == 0 {
            return None;
        }
        let range = KeyRange { min: key(self.from), max: key(self.to - 1) };
        let seqno = SeqNo::new(id.get()).unwrap_or(SeqNo::MAX_WRITE);
        let seqnos = SeqNoRange { min: seqno, max: seqno };
        Some(TableDescriptor {
            id,
            uuid: FileUuid::default(),
            file_len: self.bytes(),
            digest: 0,
            format: (1, 0),
            features: 0,
            key_id: 0,
            created_at: now,
            created_edit: EditIndex::new(id.get()),
            coverage_start: Cut::Before(range.min.clone()),
            coverage_end: Cut::After(range.max.clone()),
            entries: Some(range),
            seqnos,
            point_seqnos: Some(seqnos),
            global_seqno: SeqNo::ZERO,
            references: lsm_types::ValueReferences::new(),
            route: RouteId::PRIMARY,
            counts: Counts { entries, tombstones, ..Counts::default() },
            sizes: Sizes::default(),
            census: Census::default(),
            directory: DirectoryHandle::default(),
            filter_kind: 0,
            tail_len: 0,
        })
    }
}

fn key(position: u64) -> Slice {
    Slice::from(position.to_be_bytes().as_slice())
}

/// A merge of runs, newest first.
pub(super) struct Merger<'a> {
    writes: &'a Writes,
    runs: Vec<Vec<Population>>,
    drops_tombstones: bool,
}

impl<'a> Merger<'a> {
    pub(super) fn new(writes: &'a Writes, runs: Vec<Vec<Population>>, drops_tombstones: bool) -> Self {
        Self { writes, runs, drops_tombstones }
    }

    /// The outputs, cut as the engine cuts them.
    pub(super) fn run(&self, output: &OutputSpec, order: &KeyOrder) -> Vec<Population> {
        let mut borders: Vec<u64> =
            self.runs.iter().flatten().flat_map(|table| [table.from, table.to]).collect();
        // Where tables below end, so that outputs can end there too.
        borders.extend(output.below.iter().filter_map(|below| position(&below.max)?.checked_add(1)));
        borders.extend(output.cuts.iter().filter_map(|cut| position(cut.key()?)?.checked_add(1)));
        borders.sort_unstable();
        borders.dedup();
        let mut places: Vec<usize> = self.runs.iter().map(|_| 0).collect();
        let mut cutter = Cutter::new(output, order);
        let mut outputs = Vec::new();
        let mut open: Option<Population> = None;
        for (from, to) in borders.iter().zip(borders.iter().skip(1)) {
            let slice = self.slice(&mut places, *from, *to);
            let looks = (float(slice.bytes()) * LOOKS / float(output.target_bytes.max(1))).min(4096.0);
            let looks = whole(looks).clamp(1, to - from);
            for look in 0..looks {
                let (from, to) = (from + (to - from) / looks * look, from + (to - from) / looks * (look + 1));
                let to = if look + 1 == looks { slice.to } else { to };
                let part = slice.part(from, to);
                let open_bytes = open.as_ref().map_or(0, Population::bytes);
                if cutter.ends_before(&from.to_be_bytes(), open_bytes) {
                    outputs.extend(open.take());
                }
                if part.bytes() > 0 || open.is_some() {
                    open = Some(open.map_or(part, |open| open.joined(&part)));
                }
            }
        }
        outputs.extend(open);
        outputs
    }

    /// What all runs come to between two positions at which no table ends.
    fn slice(&self, places: &mut [usize], from: u64, to: u64) -> Population {
        let mut merged = Population::new(from, to, self.writes.entry_bytes());
        // The part of the keys that no newer run has, by class.
        let mut open = [1.0_f64; CLASSES];
        for (run, place) in self.runs.iter().zip(places.iter_mut()) {
            while run.get(*place).is_some_and(|table| table.to <= from) {
                *place += 1;
            }
            let Some(table) = run.get(*place).filter(|table| table.from <= from) else { continue };
            let part = merged.width() / table.width();
            let (tombstones, written) = table.tombstones();
            let written_each = if tombstones > 0.0 { written / tombstones } else { 0.0 };
            for (class, open) in open.iter_mut().enumerate() {
                let keys = (self.writes.density(class) * merged.width()).max(f64::MIN_POSITIVE);
                let share = |counts: &[f64; CLASSES]| counts.get(class).copied().unwrap_or(0.0) * part / keys;
                let (live, deleted) = (share(&table.live).min(1.0), share(&table.tombstones).min(1.0));
                let kept = if self.drops_tombstones { 0.0 } else { deleted * *open * keys };
                merged.add(class, live * *open * keys, kept, written_each);
                *open *= (1.0 - live - deleted).max(0.0);
            }
        }
        merged
    }
}

impl Population {
    fn part(&self, from: u64, to: u64) -> Self {
        let part = float(to - from) / self.width();
        let scaled = |counts: [f64; CLASSES]| counts.map(|count| count * part);
        Self {
            from,
            to,
            live: scaled(self.live),
            tombstones: scaled(self.tombstones),
            written_sum: self.written_sum * part,
            ..*self
        }
    }

    /// Both together, from the start of this one to the end of the next.
    fn joined(mut self, next: &Self) -> Self {
        for (class, (live, tombstones)) in next.live.iter().zip(&next.tombstones).enumerate() {
            self.add(class, *live, *tombstones, 0.0);
        }
        self.written_sum += next.written_sum;
        self.to = next.to;
        self
    }
}

fn position(key: &Slice) -> Option<u64> {
    key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}
