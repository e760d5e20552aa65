//! Ingestions among writes, flushes, compactions and snapshots, judged by the oracle.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use common::{LengthFirst, Pairs, Reverse, at, contents, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, HoldGuard, IngestOptions, Reader, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_testkit::{operators::Join, oracle::History};
use lsm_types::{Bytewise, Comparator, KeyOrder, Kind, MergeOperator, SeqNo, Slice};
use proptest::prelude::*;

const KEYS: [&str; 12] = ["a", "aa", "ab", "b", "ba", "bb", "bbb", "c", "ca", "d", "dd", "e"];

#[derive(Clone, Debug)]
enum Op {
    /// A write of a key; sometimes at a number that was left out before.
    Write {
        key: usize,
        kind: Kind,
        late: u8,
    },
    RemoveRange {
        from: usize,
        to: usize,
        late: u8,
    },
    /// By key: nothing, a put, a delete. And deletes of ranges.
    Ingest {
        rows: Vec<u8>,
        ranges: Vec<(usize, usize)>,
        late: u8,
        target: u64,
    },
    Seal,
    Flush,
    Compact,
    Major,
    Hold,
    Release,
    /// Promises that nothing below the newest hold is read.
    Promise,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    let late = prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    let kind = prop_oneof![4 => Just(Kind::Put), 2 => Just(Kind::Tombstone), 1 => Just(Kind::MergeOperand)];
    let rows = prop::collection::vec(prop_oneof![3 => Just(0_u8), 3 => Just(1), 1 => Just(2)], KEYS.len());
    let ranges = prop::collection::vec((key.clone(), key.clone()), 0..3);
    let target = prop_oneof![Just(1_u64), Just(700), Just(1 << 20)];
    prop_oneof![
        6 => (key.clone(), kind, late.clone()).prop_map(|(key, kind, late)| Op::Write { key, kind, late }),
        1 => (key.clone(), key, late.clone()).prop_map(|(from, to, late)| Op::RemoveRange { from, to, late }),
        5 => (rows, ranges, late, target)
            .prop_map(|(rows, ranges, late, target)| Op::Ingest { rows, ranges, late, target }),
        1 => Just(Op::Seal),
        3 => Just(Op::Flush),
        2 => Just(Op::Compact),
        1 => Just(Op::Major),
        1 => Just(Op::Hold),
        1 => Just(Op::Release),
        1 => Just(Op::Promise),
        1 => Just(Op::Reopen),
    ]
}

struct World {
    options: TreeOptions,
    order: KeyOrder,
    tree: Tree,
    history: History,
    next: u64,
    used: BTreeSet<u64>,
    /// Writes below it are refused.
    floor: u64,
    holds: Vec<HoldGuard>,
}

impl World {
    fn new(comparator: Arc<dyn Comparator>, with_operator: bool) -> Self {
        let fs = Arc::new(MemFs::new());
        let options = TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables());
        let mut options = options.comparator(comparator.clone()).table_target_bytes(900).level_count(4);
        let mut history = History::new();
        if with_operator {
            let operator: Arc<dyn MergeOperator> = Arc::new(Join::new(false));
            options = options.merge_operator(operator.clone());
            history = history.folding(Some(operator));
        }
        let tree = Tree::open(options.clone()).unwrap();
        let order = KeyOrder::new(comparator);
        let (used, holds) = (BTreeSet::new(), Vec::new());
        Self { options, order, tree, history, next: 0, used, floor: 0, holds }
    }

    /// A number nobody has: above all, or a lower one that was left out.
    fn number(&mut self, late: u8) -> SeqNo {
        let lower = self.next.saturating_sub(u64::from(late) % 24);
        let lowest = self.floor.max(lower);
        let seqno = (lowest..=self.next.max(lowest)).find(|seqno| !self.used.contains(seqno)).unwrap();
        self.used.insert(seqno);
        self.next = self.next.max(seqno + 1) + u64::from(late == 0);
        at(seqno)
    }

    fn bounds(&self, from: usize, to: usize) -> (&'static str, &'static str) {
        let (a, b) = (KEYS[from], KEYS[to]);
        if self.order.compare(a.as_bytes(), b.as_bytes()).is_le() { (a, b) } else { (b, a) }
    }

    fn delete_range(&mut self, from: &str, to: &str, seqno: SeqNo) {
        let bounds = (Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes()));
        self.history.delete_range(bounds, seqno, &self.order);
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write { key, kind, late } => {
                let (key, seqno) = (KEYS[*key], self.number(*late));
                let value = if kind.is_tombstone() { String::new() } else { format!("w{}", seqno.get()) };
                match kind {
                    Kind::Put => self.tree.insert(key, &value, seqno),
                    Kind::MergeOperand => self.tree.merge(key, &value, seqno),
                    _ => self.tree.remove(key, seqno),
                }
                .unwrap();
                self.history.write(key.as_bytes(), seqno, *kind, value.as_bytes());
            }
            Op::RemoveRange { from, to, late } => {
                let ((from, to), seqno) = (self.bounds(*from, *to), self.number(*late));
                self.tree.remove_range(from..to, seqno).unwrap();
                self.delete_range(from, to, seqno);
            }
            Op::Ingest { rows, ranges, late, target } => self.ingest(rows, ranges, *late, *target),
            Op::Seal => _ = self.tree.seal(None),
            Op::Flush => {
                self.tree.seal(None);
                self.tree.flush(&FlushOptions::default()).unwrap();
            }
            Op::Compact => {
                let leveled = Leveled { l0_threshold: 2, table_target_bytes: 900, ..Leveled::default() };
                self.tree.compact(&leveled, &CompactOptions::default()).unwrap();
            }
            Op::Major => _ = self.tree.major_compact(&CompactOptions::default()).unwrap(),
            Op::Hold => {
                self.holds.push(self.tree.hold(at(self.next)).unwrap());
                self.floor = self.next;
            }
            Op::Release => self.holds.clear(),
            Op::Promise => {
                self.tree.set_gc_watermark(at(self.next));
                self.floor = self.next;
            }
            Op::Reopen => {
                self.holds.clear();
                self.tree.seal(None);
                self.tree.flush(&FlushOptions::default()).unwrap();
                self.tree.clone().close().unwrap();
                // The directory is locked until the last handle is gone.
                let spare = TreeOptions::new("/spare").store(|store| store.fs(Arc::new(MemFs::new())));
                self.tree = Tree::open(spare).unwrap();
                self.tree = Tree::open(self.options.clone()).unwrap();
            }
        }
    }

    fn ingest(&mut self, rows: &[u8], ranges: &[(usize, usize)], late: u8, target: u64) {
        let seqno = self.number(late);
        let options =
            if late == 0 { IngestOptions::draw(move || seqno) } else { IngestOptions::at(seqno).backfill() };
        let mut ingestion = self.tree.ingest(options.target_bytes(target)).unwrap();
        let mut ranges: Vec<_> = ranges.iter().map(|(from, to)| self.bounds(*from, *to)).collect();
        ranges.sort_by(|a, b| self.order.compare(a.0.as_bytes(), b.0.as_bytes()));
        ranges.dedup_by_key(|range| range.0);
        let mut keys: Vec<_> = KEYS.iter().zip(rows).collect();
        keys.sort_by(|a, b| self.order.compare(a.0.as_bytes(), b.0.as_bytes()));
        let mut ranges = ranges.into_iter().peekable();
        for (key, row) in keys {
            while let Some((from, to)) =
                ranges.next_if(|(from, _)| self.order.compare(from.as_bytes(), key.as_bytes()).is_le())
            {
                ingestion.remove_range(from..to).unwrap();
                if from != to {
                    self.delete_range(from, to, seqno);
                }
            }
            let value = format!("i{}", seqno.get());
            match row {
                1 => {
                    ingestion.put(key, &value).unwrap();
                    self.history.put(key.as_bytes(), seqno, value.as_bytes());
                }
                2 => {
                    ingestion.remove(key).unwrap();
                    self.history.delete(key.as_bytes(), seqno);
                }
                _ => {}
            }
        }
        ingestion.finish().unwrap();
    }

    fn check(&self) {
        let floor = self.tree.retention_floor().get();
        let newest = [self.next, self.next + 50];
        let held = self.holds.iter().map(|hold| hold.before().get());
        let readable = (floor + 1..self.next).rev().take(6).chain(held).chain(newest);
        for before in readable {
            let before = at(before);
            let view = self.tree.view_at(before).unwrap();
            let expected = self.history.all(before, &self.order);
            assert_eq!(contents(&view).unwrap(), expected, "at {before}");
            let owned = |(key, value): (Slice, Slice)| (key.to_vec(), value.to_vec());
            let mut back: Pairs =
                view.iter().rev().map(|entry| owned(entry.unwrap().into_pair().unwrap())).collect();
            back.reverse();
            assert_eq!(back, expected, "backwards at {before}");
            for key in KEYS {
                let value = self.history.value(key.as_bytes(), before).unwrap();
                assert_eq!(view.get(key).unwrap().as_deref(), value.as_deref(), "{key} at {before}");
            }
        }
        let expected = self.history.all(SeqNo::LATEST, &self.order);
        assert_eq!(contents(&self.tree).unwrap(), expected);
    }
}

fn comparator(number: usize) -> Arc<dyn Comparator> {
    match number {
        0 => Arc::new(Bytewise),
        1 => Arc::new(Reverse),
        _ => Arc::new(LengthFirst),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Proves E-18, E-99, E-121, E-122.
    #[test]
    fn reads_are_those_of_the_history(
        order in 0..3_usize,
        with_operator in any::<bool>(),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let mut world = World::new(comparator(order), with_operator);
        for op in &ops {
            world.run(op);
            world.check();
        }
        prop_assert!(world.tree.verify().unwrap().is_clean());
    }
}
