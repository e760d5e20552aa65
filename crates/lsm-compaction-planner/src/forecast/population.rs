//! What is in a table, as expected numbers.
//!
//! A table is a row of strips in each of which entries are spread evenly: where a window went down, what is left above is
//! thin, beside it it is dense, and which table is the cheapest to take next depends on that.

use alloc::vec::Vec;

use lsm_manifest::{Census, Counts, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor};
use lsm_types::{Cut, EditIndex, FileUuid, KeyRange, RouteId, SeqNo, Slice, TableId, UnixNanos};

use super::{float, keys::CLASSES, whole};

/// Strips of a table, at most.
const STRIPS_MAX: usize = 16;

/// What a table and what is in it come to.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(clippy::struct_field_names, reason = "the unit comes last")]
pub(super) struct Weights {
    pub(super) entry_bytes: f64,
    pub(super) tombstone_bytes: f64,
    pub(super) table_bytes: f64,
}

/// Expected numbers of the entries between two positions, spread evenly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Strip {
    pub(super) from: u64,
    /// Not included.
    pub(super) to: u64,
    /// Puts by class.
    pub(super) live: [f64; CLASSES],
    /// Tombstones by class.
    pub(super) tombstones: [f64; CLASSES],
    /// The times at which the tombstones were written, summed up.
    pub(super) written_sum: f64,
}

impl Strip {
    pub(super) fn new(from: u64, to: u64) -> Self {
        let (live, tombstones) = ([0.0; CLASSES], [0.0; CLASSES]);
        Self { from, to: to.max(from + 1), live, tombstones, written_sum: 0.0 }
    }

    pub(super) fn add(&mut self, class: usize, live: f64, tombstones: f64, now_secs: f64) {
        if let (Some(has), Some(deletes)) = (self.live.get_mut(class), self.tombstones.get_mut(class)) {
            *has += live;
            *deletes += tombstones;
            self.written_sum += tombstones * now_secs;
        }
    }

    pub(super) fn width(&self) -> f64 {
        float(self.to - self.from)
    }

    pub(super) fn tombstone_count(&self) -> f64 {
        self.tombstones.iter().sum()
    }

    fn entry_count(&self) -> f64 {
        self.live.iter().sum::<f64>() + self.tombstone_count()
    }

    pub(super) fn bytes(&self, weights: &Weights) -> f64 {
        self.live.iter().sum::<f64>() * weights.entry_bytes + self.tombstone_count() * weights.tombstone_bytes
    }

    /// The part of it between two positions.
    pub(super) fn part(&self, from: u64, to: u64) -> Self {
        let part = float(to - from) / self.width();
        let scaled = |counts: [f64; CLASSES]| counts.map(|count| count * part);
        let (live, tombstones) = (scaled(self.live), scaled(self.tombstones));
        Self { from, to, live, tombstones, written_sum: self.written_sum * part }
    }

    /// Both together, spread evenly from the start of this one to the end of the next.
    fn join(&mut self, next: &Self) {
        for (class, (live, tombstones)) in next.live.iter().zip(&next.tombstones).enumerate() {
            self.add(class, *live, *tombstones, 0.0);
        }
        self.written_sum += next.written_sum;
        self.to = next.to;
    }

    /// Whether both are about as dense: within an eighth.
    fn is_like(&self, next: &Self) -> bool {
        let alike = |a: f64, b: f64| {
            let (a, b) = (a / self.width(), b / next.width());
            (a - b).max(b - a) * 8.0 <= a.max(b)
        };
        let live = self.live.iter().zip(&next.live).all(|(a, b)| alike(*a, *b));
        live && alike(self.tombstone_count(), next.tombstone_count())
    }
}

/// What is in a table: strips in the order of positions.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Population {
    strips: Vec<Strip>,
}

impl Population {
    /// Adds what follows.
    pub(super) fn push(&mut self, next: &Strip) {
        let is_full = self.strips.len() >= STRIPS_MAX;
        match self.strips.last_mut() {
            Some(last) if is_full || last.is_like(next) => last.join(next),
            _ => self.strips.push(*next),
        }
    }

    /// Without strips at the end that hold less than an entry: a table ends with its last entry.
    pub(super) fn trimmed(mut self) -> Self {
        while self.strips.len() > 1 && self.strips.last().is_some_and(|strip| strip.entry_count() < 1.0) {
            self.strips.pop();
        }
        self
    }

    pub(super) fn strips(&self) -> &[Strip] {
        &self.strips
    }

    /// Length of a table with this in it.
    pub(super) fn file_bytes(&self, weights: &Weights) -> u64 {
        let entries = self.strips.iter().map(|strip| strip.bytes(weights));
        whole(entries.sum::<f64>() + weights.table_bytes)
    }

    /// How many tombstones there are, and the sum of the times at which they were written.
    pub(super) fn tombstones(&self) -> (f64, f64) {
        let each = self.strips.iter().map(|strip| (strip.tombstone_count(), strip.written_sum));
        each.fold((0.0, 0.0), |sum, strip| (sum.0 + strip.0, sum.1 + strip.1))
    }

    /// As the manifest knows it; `None` when less than an entry is left.
    pub(super) fn describe(&self, id: TableId, now: UnixNanos, weights: &Weights) -> Option<TableDescriptor> {
        let tombstones = whole(self.tombstones().0);
        let entries = whole(self.strips.iter().map(Strip::entry_count).sum());
        if entries == 0 {
            return None;
        }
        let range = KeyRange { min: key(self.strips.first()?.from), max: key(self.strips.last()?.to - 1) };
        let seqno = SeqNo::new(id.get()).unwrap_or(SeqNo::MAX_WRITE);
        let seqnos = SeqNoRange { min: seqno, max: seqno };
        Some(TableDescriptor {
            id,
            uuid: FileUuid::default(),
            file_len: self.file_bytes(weights),
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
            restriction: None,
            vector: None,
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

impl From<Strip> for Population {
    fn from(strip: Strip) -> Self {
        Self { strips: alloc::vec![strip] }
    }
}

fn key(position: u64) -> Slice {
    Slice::from(position.to_be_bytes().as_slice())
}
