//! What is written: classes of keys, each spread evenly, some more often than others.

use alloc::vec::Vec;

use super::{
    float,
    population::{Population, Strip, Weights},
    whole,
};

/// Keys that are written equally often, spread evenly over all positions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Class {
    /// Its part of all keys.
    pub keys: f64,
    /// Its part of all writes.
    pub writes: f64,
    /// Its part of the writes that are deletes.
    pub deletes: f64,
}

/// A fixed way of writing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its classes, two at most.
    pub classes: &'static [Class],
    /// Whether keys come in order, each once, with late ones among the newest hundredth.
    pub ascends: bool,
    /// Bytes of an entry.
    pub entry_bytes: f64,
    /// Bytes of a tombstone.
    pub tombstone_bytes: f64,
    /// Bytes that a table has however little is in it: the hole between both copies of its ends, and those.
    pub table_bytes: f64,
}

/// Every key as often as any other.
pub const OVERWRITE: Workload = Workload {
    name: "overwrite",
    about: "uniform overwrites of a full tree",
    classes: &[Class { keys: 1.0, writes: 1.0, deletes: 0.0 }],
    ascends: false,
    entry_bytes: 116.0,
    tombstone_bytes: 29.0,
    table_bytes: 70_000.0,
};

/// Few keys often, and deletes.
pub const SKEWED: Workload = Workload {
    name: "skewed",
    about: "nine of ten writes go to a tenth of the keys, one of ten writes is a delete",
    classes: &[
        Class { keys: 0.1, writes: 0.9, deletes: 0.1 },
        Class { keys: 0.9, writes: 0.1, deletes: 0.1 },
    ],
    ascends: false,
    entry_bytes: 116.0,
    tombstone_bytes: 29.0,
    table_bytes: 70_000.0,
};

/// Measurements as they come.
pub const SERIES: Workload = Workload {
    name: "series",
    about: "ascending keys into an empty tree, one of twenty writes corrects one of the latest",
    classes: &[Class { keys: 1.0, writes: 1.0, deletes: 0.0 }],
    ascends: true,
    entry_bytes: 116.0,
    tombstone_bytes: 29.0,
    table_bytes: 70_000.0,
};

/// The positions of all keys of a workload that does not grow.
pub(super) const POSITIONS: f64 = 1_152_921_504_606_846_976.0;
/// Writes of an ascending workload that are corrections.
const LATE: f64 = 0.05;
pub(super) const CLASSES: usize = 2;

/// A workload under way.
pub(super) struct Writes {
    workload: Workload,
    /// Keys of each class.
    pub(super) keys: [f64; CLASSES],
    /// The part of each class that is there: put, and not deleted.
    live: [f64; CLASSES],
    /// Keys that came in order so far.
    ascended: f64,
}

impl Writes {
    pub(super) fn new(workload: &Workload, live_bytes: u64) -> Self {
        let all = float(live_bytes) / workload.entry_bytes;
        let mut keys = [0.0; CLASSES];
        for (keys, class) in keys.iter_mut().zip(workload.classes) {
            *keys = all * class.keys;
        }
        Self { workload: *workload, keys, live: [1.0; CLASSES], ascended: 0.0 }
    }

    /// What tables come to.
    pub(super) fn weights(&self) -> Weights {
        let Workload { entry_bytes, tombstone_bytes, table_bytes, .. } = self.workload;
        Weights { entry_bytes, tombstone_bytes, table_bytes }
    }

    /// Keys of a class for each position.
    pub(super) fn density(&self, class: usize) -> f64 {
        if self.workload.ascends {
            return if class == 0 { 1.0 } else { 0.0 };
        }
        self.keys.get(class).copied().unwrap_or(0.0) / POSITIONS
    }

    /// Bytes of what is there.
    pub(super) fn live_bytes(&self) -> f64 {
        if self.workload.ascends {
            return self.ascended * self.workload.entry_bytes;
        }
        let live = self.keys.iter().zip(&self.live).map(|(keys, live)| keys * live);
        live.sum::<f64>() * self.workload.entry_bytes
    }

    /// Tables with every key once.
    pub(super) fn bulk(&self, table_bytes: u64) -> Vec<Population> {
        if self.workload.ascends {
            return Vec::new();
        }
        let room = (float(table_bytes) - self.workload.table_bytes).max(self.workload.entry_bytes);
        let tables = whole(self.live_bytes() / room).max(1);
        let width = POSITIONS / float(tables);
        let table = |nth: u64| {
            let (from, to) = (whole(float(nth) * width), whole(float(nth + 1) * width));
            let share = float(to - from) / POSITIONS;
            let mut table = Strip::new(from, to);
            for (live, keys) in table.live.iter_mut().zip(&self.keys) {
                *live = keys * share;
            }
            table.into()
        };
        (0..tables).map(table).collect()
    }

    /// What a memtable of `bytes` holds, in key order.
    pub(super) fn next(&mut self, bytes: u64, now_secs: f64) -> Vec<Population> {
        let writes = float(bytes) / self.workload.entry_bytes;
        if self.workload.ascends {
            return self.next_ascending(writes);
        }
        let mut table = Strip::new(0, whole(POSITIONS));
        for (at, class) in self.workload.classes.iter().enumerate() {
            let (Some(keys), Some(live)) = (self.keys.get(at), self.live.get_mut(at)) else { continue };
            // The part of the class that is hit at least once.
            let hit = 1.0 - power(1.0 - 1.0 / keys.max(2.0), whole(writes * class.writes));
            *live = *live * (1.0 - hit) + hit * (1.0 - class.deletes);
            table.add(at, keys * hit * (1.0 - class.deletes), keys * hit * class.deletes, now_secs);
        }
        alloc::vec![table.into()]
    }

    /// What is late apart from what is new: spread evenly over both it would be neither.
    fn next_ascending(&mut self, writes: f64) -> Vec<Population> {
        let fresh = writes * (1.0 - LATE);
        let window = (self.ascended * 0.01).max(1.0);
        let from = (self.ascended - window).max(0.0);
        let late = (writes * LATE).min(self.ascended - from);
        let mut tables = Vec::new();
        if late >= 1.0 {
            let mut table = Strip::new(whole(from), whole(self.ascended));
            table.add(0, late, 0.0, 0.0);
            tables.push(table.into());
        }
        let mut table = Strip::new(whole(self.ascended), whole(self.ascended + fresh));
        table.add(0, fresh, 0.0, 0.0);
        tables.push(table.into());
        self.ascended += fresh;
        tables
    }
}

/// `base` to a whole power.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}
