//! Reads through uncommitted writes: the same as applying them and reading then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{ops::Bound, sync::Arc};

use common::{Pairs, at, contents, flush, small_tables};
use lsm_engine::{CompactOptions, Reader, Tree, TreeBatch, TreeOptions, View};
use lsm_fs::MemFs;
use lsm_testkit::{
    comparators,
    operators::{Join, SetEdit},
    oracle::History,
};
use lsm_types::{Comparator, KeyOrder, Kind, MergeOperator, SeqNo};
use proptest::prelude::*;

const KEYS: usize = 10;

/// Keys of eight bytes, as the order of numbers wants them, that share some of their ends.
fn key(number: usize) -> Vec<u8> {
    let number = u8::try_from(number).unwrap();
    vec![b'k', 0, number % 3, 0, 0xFF, 0, number, number % 2]
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize, u8),
    Remove(usize),
    RemoveWeak(usize),
    Merge(usize, u8),
    RemoveRange(usize, usize),
    RemovePrefix(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..KEYS;
    prop_oneof![
        4 => (key(), any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => key().prop_map(Op::Remove),
        1 => key().prop_map(Op::RemoveWeak),
        3 => (key(), b'a'..=b'z').prop_map(|(key, value)| Op::Merge(key, value)),
        2 => (key(), key()).prop_map(|(lower, upper)| Op::RemoveRange(lower, upper)),
        1 => key().prop_map(Op::RemovePrefix),
    ]
}

/// What the base goes through before it is read.
#[derive(Clone, Debug)]
enum Step {
    Write(Op),
    Seal,
    Flush,
    Major,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => op().prop_map(Step::Write),
        1 => Just(Step::Seal),
        1 => Just(Step::Flush),
        1 => Just(Step::Major),
    ]
}

type OwnedBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

struct World {
    tree: Tree,
    history: History,
    order: KeyOrder,
    next: u64,
}

impl World {
    fn new(comparator: Arc<dyn Comparator>, operator: Option<Arc<dyn MergeOperator>>) -> Self {
        let options = TreeOptions::new("/db").comparator(comparator.clone());
        let options = options.store(|store| store.fs(Arc::<MemFs>::default())).tables(small_tables());
        let options = match &operator {
            Some(operator) => options.merge_operator(operator.clone()),
            None => options,
        };
        let tree = Tree::open(options).unwrap();
        let history = History::new().folding(operator);
        Self { tree, history, order: KeyOrder::new(comparator), next: 1 }
    }

    /// Adds `op` to a batch, unless keys with its prefix are scattered.
    fn add(&self, batch: &mut TreeBatch, op: &Op) {
        match op {
            Op::Put(number, value) => batch.insert(key(*number), [b'v', *value]),
            Op::Remove(number) => batch.remove(key(*number)),
            Op::RemoveWeak(number) => batch.remove_weak(key(*number)),
            Op::Merge(number, value) => batch.merge(key(*number), [b'+', *value]),
            Op::RemoveRange(lower, upper) => batch.remove_range(key(*lower)..key(*upper)),
            Op::RemovePrefix(number) if self.prefix(*number).is_some() => {
                batch.remove_prefix(&key(*number)[..3])
            }
            Op::RemovePrefix(number) => batch.remove_range(key(*number)..),
        }
        .unwrap();
    }

    fn prefix(&self, number: usize) -> Option<OwnedBounds> {
        let bounds = self.order.comparator().prefix_bounds(&key(number)[..3])?;
        Some((bounds.0.map(|key| key.to_vec()), bounds.1.map(|key| key.to_vec())))
    }

    /// The same for the judge.
    fn note(&self, history: &mut History, op: &Op, seqno: SeqNo) {
        let mut delete = |lower: Bound<&[u8]>, upper: Bound<&[u8]>| {
            history.delete_range((lower, upper), seqno, &self.order);
        };
        match op {
            Op::RemoveRange(lower, upper) => {
                delete(Bound::Included(&key(*lower)), Bound::Excluded(&key(*upper)));
            }
            Op::RemovePrefix(number) => match self.prefix(*number) {
                Some((lower, upper)) => {
                    delete(lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
                }
                None => delete(Bound::Included(&key(*number)), Bound::Unbounded),
            },
            Op::Put(number, value) => history.put(&key(*number), seqno, &[b'v', *value]),
            Op::Remove(number) => history.delete(&key(*number), seqno),
            Op::RemoveWeak(number) => history.write(&key(*number), seqno, Kind::WeakTombstone, &[]),
            Op::Merge(number, value) => {
                history.write(&key(*number), seqno, Kind::MergeOperand, &[b'+', *value]);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(op) => {
                let mut batch = TreeBatch::new();
                self.add(&mut batch, op);
                self.tree.apply(&batch, at(self.next)).unwrap();
                let mut history = std::mem::take(&mut self.history);
                self.note(&mut history, op, at(self.next));
                self.history = history;
                self.next += 1;
            }
            Step::Seal => _ = self.tree.seal(None),
            Step::Flush => flush(&self.tree),
            Step::Major => _ = self.tree.major_compact(&CompactOptions::default()).unwrap(),
        }
    }

    fn batch(&self, ops: &[Op]) -> TreeBatch {
        let mut batch = TreeBatch::new();
        for op in ops {
            self.add(&mut batch, op);
        }
        batch
    }

    /// What a read at `bound` has to see with `ops` right above it.
    fn over(&self, bound: SeqNo, ops: &[Op]) -> (History, SeqNo) {
        let mut history = self.history.clone();
        history.forget_from(bound);
        for (seqno, op) in (bound.get()..).zip(ops) {
            self.note(&mut history, op, at(seqno));
        }
        (history, at(bound.get() + ops.len() as u64))
    }

    /// Every form of reading against the judge.
    fn check(&self, reader: &impl Reader, history: &History, before: SeqNo) {
        let expected = history.all(before, &self.order);
        assert_eq!(contents(reader).unwrap(), expected);
        let mut back: Pairs =
            reader.iter().rev().map(|entry| entry.unwrap().into_pair().unwrap()).map(owned).collect();
        back.reverse();
        assert_eq!(back, expected);
        let (mut both, mut scan) = (Vec::new(), reader.iter());
        while let Some(entry) = scan.next() {
            both.push(owned(entry.unwrap().into_pair().unwrap()));
            both.extend(scan.next_back().map(|entry| owned(entry.unwrap().into_pair().unwrap())));
        }
        both.sort_by(|(a, _), (b, _)| self.order.compare(a, b));
        assert_eq!(both, expected);
        assert_eq!(reader.count().unwrap(), expected.len() as u64);
        assert_eq!(reader.is_empty().unwrap(), expected.is_empty());
        let end = |entry: Option<lsm_engine::Entry>| entry.map(|entry| owned(entry.into_pair().unwrap()));
        assert_eq!(end(reader.first().unwrap()).as_ref(), expected.first());
        assert_eq!(end(reader.last().unwrap()).as_ref(), expected.last());
        for number in 0..KEYS {
            let key = key(number);
            let value = history.value(&key, before).unwrap();
            assert_eq!(reader.get(&key).unwrap().as_deref(), value.as_deref(), "{key:?}");
            assert_eq!(reader.size_of(&key).unwrap(), value.as_ref().map(Vec::len));
            assert_eq!(reader.contains_key(&key).unwrap(), value.is_some());
            assert_eq!(reader.get_pinned(&key).unwrap().as_deref(), value.as_deref());
            assert_eq!(reader.entry_info(&key).unwrap().is_some(), value.is_some());
            let bounds = (Bound::Excluded(key.as_slice()), Bound::Unbounded);
            let above: Pairs =
                reader.range::<&[u8]>(bounds).pairs().map(|pair| owned(pair.unwrap())).collect();
            assert_eq!(above, history.range(bounds, before, &self.order));
            let mut prefixed: Pairs = expected.clone();
            prefixed.retain(|(other, _)| other.starts_with(&key[..3]));
            let found: Pairs = reader.prefix(&key[..3]).pairs().map(|pair| owned(pair.unwrap())).collect();
            assert_eq!(found, prefixed);
        }
    }
}

fn owned((key, value): (lsm_types::Slice, lsm_types::Slice)) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

fn operator(choice: u8) -> Option<Arc<dyn MergeOperator>> {
    match choice {
        0 => None,
        1 => Some(Arc::new(Join::new(true))),
        2 => Some(Arc::new(Join::new(false))),
        _ => Some(Arc::new(SetEdit)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Proves E-40, E-95: over views at any bound, with writes at and above it in every container of the tree, under five
    /// orders, with and without an operator; and over another overlay.
    /// Fault: engine W-21.
    #[test]
    fn an_overlay_reads_as_if_it_were_applied(
        (comparator, operators) in (0..5_usize, 0..4_u8),
        before in prop::collection::vec(step(), 0..24),
        after in prop::collection::vec(step(), 0..16),
        lower in prop::collection::vec(op(), 0..10),
        upper in prop::collection::vec(op(), 0..6),
    ) {
        let mut world = World::new(comparators::all()[comparator].clone(), operator(operators));
        for step in &before {
            world.step(step);
        }
        let (old, bound) = (world.tree.view(), at(world.next));
        let early = old.overlaid(&world.batch(&lower)).unwrap();
        for step in &after {
            world.step(step);
        }
        let (history, top) = world.over(bound, &lower);
        world.check(&early, &history, top);
        // A view of now that reads as of then: what came after lies in its containers.
        let late = world.tree.view_at(bound).unwrap();
        let overlaid = late.overlaid(&world.batch(&lower)).unwrap();
        world.check(&overlaid, &history, top);
        world.check(&late, &world.history, bound);
        let both: Vec<Op> = lower.iter().chain(&upper).cloned().collect();
        let (history, top) = world.over(bound, &both);
        world.check(&overlaid.to_view().overlaid(&world.batch(&upper)).unwrap(), &history, top);
        // Over the newest state it is what the tree shows once the batch is applied.
        let newest = world.tree.view();
        let shown = contents(&newest.overlaid(&world.batch(&lower)).unwrap()).unwrap();
        world.tree.apply(&world.batch(&lower), newest.before()).unwrap();
        prop_assert_eq!(shown, contents(&world.tree).unwrap());
    }
}

/// A tree with versions of one key in all its containers, and more of them above the view than are stepped over.
fn many_versions() -> (World, View) {
    let mut world = World::new(comparators::all()[0].clone(), None);
    for round in 0..3 {
        for number in 0..KEYS {
            world.step(&Step::Write(Op::Put(number, round)));
        }
        world.step(&Step::Flush);
    }
    let bound = at(world.next);
    for round in 0..40 {
        world.step(&Step::Write(Op::Put(4, round)));
        if round == 20 {
            world.step(&Step::Flush);
        }
    }
    let view = world.tree.view_at(bound).unwrap();
    (world, view)
}

/// Proves E-95: versions above the view are passed over in both directions, however many.
#[test]
fn what_is_above_the_view_stays_invisible() {
    let (world, view) = many_versions();
    let ops = [Op::Merge(3, b'x'), Op::Remove(5), Op::RemoveRange(7, 9)];
    let overlaid = view.overlaid(&world.batch(&ops)).unwrap();
    let (history, top) = world.over(view.before(), &ops);
    world.check(&overlaid, &history, top);
    assert_eq!(view.count().unwrap(), KEYS as u64, "the view itself does not change");
}

/// Proves E-40: a delete of a range in the overlay hides nothing that the overlay writes later, one in the tree above the
/// view hides nothing of either, and of two over a key the newer one counts.
#[test]
fn range_deletes_act_by_their_own_visibility() {
    let mut world = World::new(comparators::all()[0].clone(), None);
    world.step(&Step::Write(Op::Put(1, 1)));
    world.step(&Step::Write(Op::RemoveRange(0, 2)));
    world.step(&Step::Write(Op::Put(2, 1)));
    world.step(&Step::Write(Op::Put(5, 1)));
    let bound = at(world.next);
    world.step(&Step::Write(Op::RemoveRange(0, 8)));
    let view = world.tree.view_at(bound).unwrap();
    let ops = [Op::Put(0, 2), Op::RemoveRange(0, 8), Op::Put(1, 2)];
    let overlaid = view.overlaid(&world.batch(&ops)).unwrap();
    assert_eq!(contents(&overlaid).unwrap(), [(key(1), vec![b'v', 2])]);
    assert_eq!(contents(&view).unwrap(), [(key(2), vec![b'v', 1]), (key(5), vec![b'v', 1])]);
}

/// An overlay needs numbers above its view; a view of everything there may ever be leaves those above what there is.
#[test]
fn a_view_of_everything_can_be_overlaid() {
    let mut world = World::new(comparators::all()[0].clone(), None);
    world.step(&Step::Write(Op::Put(1, 1)));
    let view = world.tree.view_at(SeqNo::LATEST).unwrap();
    let overlaid = view.overlaid(&world.batch(&[Op::Put(2, 2)])).unwrap();
    assert_eq!(overlaid.count().unwrap(), 2);
    world.tree.insert(key(3), "x", SeqNo::MAX_WRITE).unwrap();
    assert!(world.tree.view().overlaid(&world.batch(&[Op::Put(2, 2)])).is_err());
    assert!(world.tree.view().overlaid(&TreeBatch::new()).is_ok());
}

/// What the overlay takes belongs to what the view pins.
#[test]
fn an_overlay_counts_as_pinned() {
    let (world, view) = many_versions();
    let overlaid = view.overlaid(&world.batch(&[Op::Put(2, 2), Op::RemoveRange(1, 2)])).unwrap().to_view();
    assert!(overlaid.pinned_memtable_bytes() > view.pinned_memtable_bytes());
    assert_eq!(overlaid.pinned_file_bytes(), view.pinned_file_bytes());
    assert_eq!(overlaid.approximate_len(), view.approximate_len() + 1);
}
