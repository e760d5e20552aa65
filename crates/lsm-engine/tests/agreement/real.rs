//! A workload written to a tree of the engine.

use std::sync::Arc;

use lsm_codec::Compression;
use lsm_compaction_planner::{CompactionStrategy, forecast::Workload};
use lsm_engine::{CompactOptions, LevelFilter, Outcome, Reader, TablePolicy, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_testkit::dice::Dice;

use lsm_types::SeqNo;

use crate::{
    common::{at, flush},
    figures::{Bytes, Figures, float},
    trials::{KEY_LEN, SEED, Size},
};

/// What entries, tombstones and tables come to: from the lengths of three tables, with so many entries, half as many,
/// and as many of which half are tombstones.
pub(crate) fn weigh(size: &Size) -> Bytes {
    let weigh = |writes: u64, is_delete: fn(u64) -> bool| {
        let mut real = Real::new(&Size { table_bytes: u64::MAX, ..*size });
        (0..writes).for_each(|number| real.write(number, is_delete(number)));
        flush(&real.tree);
        assert_eq!(real.tree.stats().tables(), 1);
        float(real.tree.stats().file_bytes())
    };
    let writes = size.flush_writes / 2 * 2;
    let (whole, half) = (weigh(writes, |_| false), weigh(writes / 2, |_| false));
    let mixed = weigh(writes, |number| number % 2 == 1);
    let each = 2.0 / float(writes);
    Bytes { entry: (whole - half) * each, tombstone: (mixed - half) * each, table: 2.0 * half - whole }
}

/// Writes everything; after each flush, `strategy` is asked until it is idle.
pub(crate) fn run(
    size: &Size,
    workload: &Workload,
    strategy: &dyn CompactionStrategy,
    bytes: &Bytes,
) -> Figures {
    let mut real = Real::new(size);
    let mut figures = Figures::default();
    if !workload.ascends {
        (0..size.keys).for_each(|number| real.write(number, false));
        flush(&real.tree);
        // The forecast begins, too, where the strategy wants its bulk.
        real.settle(strategy);
    }
    let mut throw = Throw { size, workload, dice: Dice::new(SEED), ascended: 0, late_from: 0 };
    for _ in 0..size.flushes() {
        throw.late_from = throw.ascended - throw.ascended / 100;
        for _ in 0..size.flush_writes {
            let (number, is_delete) = throw.next();
            real.write(number, is_delete);
        }
        let before = real.tree.stats();
        flush(&real.tree);
        let after = real.tree.stats();
        figures.flushed_bytes += after.bytes_flushed - before.bytes_flushed;
        figures.sample(after.read_amplification() as u64, after.file_bytes(), float(real.live) * bytes.entry);
        real.settle(strategy);
        figures.merged_bytes += real.tree.stats().bytes_compacted_out - after.bytes_compacted_out;
    }
    assert_eq!(real.tree.count().unwrap(), real.live, "what is read is what was written");
    figures
}

/// A tree, and which keys are there.
struct Real {
    tree: Tree,
    value_len: usize,
    seqno: SeqNo,
    dice: Dice,
    is_live: Vec<bool>,
    live: u64,
}

impl Real {
    fn new(size: &Size) -> Self {
        // An entry takes the same bytes at every level: codecs and filters are no part of a forecast.
        let tables = TablePolicy::default()
            .compression(Compression::None)
            .data_block_bytes(4 << 10)
            .filter(LevelFilter::Off);
        let tables = TablePolicy { index_compression: vec![Compression::None], ..tables };
        let options = TreeOptions::new("/db")
            .store(|store| store.fs(Arc::new(MemFs::new())))
            .tables(tables)
            .table_target_bytes(size.table_bytes);
        let tree = Tree::open(options).unwrap();
        Self {
            tree,
            value_len: size.value_len,
            seqno: at(1),
            dice: Dice::new(SEED),
            is_live: Vec::new(),
            live: 0,
        }
    }

    fn write(&mut self, number: u64, is_delete: bool) {
        let mut key = [0; KEY_LEN];
        key[KEY_LEN - 8..].copy_from_slice(&number.to_be_bytes());
        let place = usize::try_from(number).unwrap();
        self.is_live.resize(self.is_live.len().max(place + 1), false);
        let was_live = std::mem::replace(&mut self.is_live[place], !is_delete);
        self.live = self.live + u64::from(!is_delete) - u64::from(was_live);
        if is_delete {
            self.tree.remove(key, self.seqno).unwrap();
        } else {
            let mut value = vec![0; self.value_len];
            value.chunks_mut(8).for_each(|chunk| {
                chunk.copy_from_slice(&self.dice.roll().to_le_bytes()[..chunk.len()]);
            });
            self.tree.insert(key, value, self.seqno).unwrap();
        }
        self.seqno = at(self.seqno.get() + 1);
    }

    fn settle(&self, strategy: &dyn CompactionStrategy) {
        self.tree.set_gc_watermark(self.seqno);
        while self.tree.compact(strategy, &CompactOptions::default()).unwrap().outcome != Outcome::Idle {}
    }
}

/// Says what is written next.
struct Throw<'a> {
    size: &'a Size,
    workload: &'a Workload,
    dice: Dice,
    /// Keys that came in order so far.
    ascended: u64,
    /// The oldest key that may still be corrected.
    late_from: u64,
}

impl Throw<'_> {
    /// The number of a key, and whether it is deleted.
    fn next(&mut self) -> (u64, bool) {
        if self.workload.ascends {
            let was = self.ascended;
            if was > 0 && self.dice.one_in(20) {
                return (self.late_from + self.dice.below(was - self.late_from), false);
            }
            self.ascended += 1;
            return (was, false);
        }
        match self.workload.classes {
            [_] => (self.dice.below(self.size.keys), false),
            [few, _] => {
                // Every so many keys is one of the few.
                let (stride, keys) = (count(1.0 / few.keys), self.size.keys);
                let number = if self.happens(few.writes) {
                    self.dice.below(keys / stride) * stride
                } else {
                    let nth = self.dice.below(keys - keys.div_ceil(stride));
                    nth + nth / (stride - 1) + 1
                };
                (number, self.happens(few.deletes))
            }
            _ => panic!("workloads have one class or two"),
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        self.dice.below(1_000_000) < count(share * 1_000_000.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are positive and small")]
fn count(number: f64) -> u64 {
    number.round() as u64
}
