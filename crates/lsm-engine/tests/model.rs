//! Random operations against the whole history: every read, at every bound that may be read, in both directions.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use common::{LengthFirst, Reverse, ReverseByPrefix, at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    CompactOptions, FlushOptions, HoldGuard, LevelFilter, Reader, Tree, TreeBatch, TreeOptions, View,
};
use lsm_fs::MemFs;
use lsm_testkit::{
    comparators::SuffixFirst,
    operators::{Join, REFUSED},
    oracle::History,
};
use lsm_types::{
    Bytewise, Comparator, DelimitedPrefix, ErrorKind, FixedPrefix, KeyOrder, Kind, MergeOperator,
    PrefixExtractor, SeqNo,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Put {
        key: u8,
        len: u8,
        late: u8,
    },
    Delete {
        key: u8,
    },
    Batch(Vec<(u8, u8)>),
    DeleteRange {
        from: u8,
        to: u8,
        kinds: u8,
        late: u8,
    },
    Merge {
        key: u8,
        late: u8,
        refused: bool,
    },
    /// One of the keys that are only deleted weakly; a second put before that is a delete.
    Weak {
        key: u8,
        kind: Kind,
    },
    DeletePrefix {
        slashes: u8,
    },
    BatchAround {
        before: u8,
        from: u8,
        to: u8,
        after: u8,
    },
    Clear,
    Drop {
        from: u8,
        to: u8,
        purge: bool,
    },
    Seal,
    Flush,
    Compact,
    Major,
    Watermark {
        back: u8,
    },
    Hold {
        back: u8,
    },
    Release,
    TakeView,
    Reopen,
}

const KEYS: u8 = 14;
/// Keys from here on are only deleted weakly.
const WEAK_FROM: u8 = 10;

fn weak_kind() -> impl Strategy<Value = Kind> {
    let kinds =
        [Kind::Put, Kind::Put, Kind::WeakTombstone, Kind::WeakTombstone, Kind::MergeOperand, Kind::Tombstone];
    prop::sample::select(kinds.to_vec())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..WEAK_FROM, any::<u8>(), 0_u8..4).prop_map(|(key, len, late)| Op::Put { key, len, late }),
        5 => (0..WEAK_FROM).prop_map(|key| Op::Delete { key }),
        10 => (0..WEAK_FROM, 0_u8..4, prop::bool::weighted(0.02))
            .prop_map(|(key, late, refused)| Op::Merge { key, late, refused }),
        8 => (WEAK_FROM..KEYS, weak_kind()).prop_map(|(key, kind)| Op::Weak { key, kind }),
        3 => prop::collection::vec((0..WEAK_FROM, any::<u8>()), 0..6).prop_map(Op::Batch),
        4 => (0_u8..14, 0_u8..14, 0_u8..9, 0_u8..3)
            .prop_map(|(from, to, kinds, late)| Op::DeleteRange { from, to, kinds, late }),
        1 => (1_u8..4).prop_map(|slashes| Op::DeletePrefix { slashes }),
        1 => (0..WEAK_FROM, 0_u8..14, 0_u8..14, 0..WEAK_FROM)
            .prop_map(|(before, from, to, after)| Op::BatchAround { before, from, to, after }),
        1 => Just(Op::Clear),
        1 => (0_u8..14, 0_u8..14, any::<bool>()).prop_map(|(from, to, purge)| Op::Drop { from, to, purge }),
        3 => Just(Op::Seal),
        3 => Just(Op::Flush),
        3 => Just(Op::Compact),
        1 => Just(Op::Major),
        2 => (0_u8..10).prop_map(|back| Op::Watermark { back }),
        1 => (0_u8..10).prop_map(|back| Op::Hold { back }),
        1 => Just(Op::Release),
        1 => Just(Op::TakeView),
        1 => Just(Op::Reopen),
    ]
}

/// Keys of different lengths, with shared prefixes, so that orders differ and blocks bundle.
fn key(number: u8) -> Vec<u8> {
    let mut key = b"key".to_vec();
    key.extend(std::iter::repeat_n(b'/', usize::from(number % 4)));
    key.push(b'a' + number);
    key
}

/// How filters are set, which changes with every open and must not be seen.
#[derive(Clone, Copy, Debug)]
struct Filters {
    bits: LevelFilter,
    /// Which extractor the first open has; each later one has the next.
    first: usize,
}

impl Filters {
    const DEFAULT: Self = Self { bits: LevelFilter::Auto, first: 0 };

    fn extractor(self, opens: usize) -> Option<Arc<dyn PrefixExtractor>> {
        match (self.first + opens) % 6 {
            0 => None,
            1 | 2 => Some(Arc::new(DelimitedPrefix::new(b'/', 1))),
            3 => Some(Arc::new(DelimitedPrefix::new(b'/', 3))),
            4 => Some(Arc::new(FixedPrefix::new(4))),
            _ => Some(Arc::new(FixedPrefix::new(1))),
        }
    }
}

struct World {
    filters: Filters,
    opens: usize,
    comparator: Arc<dyn Comparator>,
    operator: Option<Arc<dyn MergeOperator>>,
    /// Keys that were put since their last weak delete.
    put: BTreeSet<u8>,
    order: KeyOrder,
    memory: Arc<MemFs>,
    tree: Option<Tree>,
    history: History,
    next: u64,
    holds: Vec<HoldGuard>,
    /// Views with what they have to show for ever, and the hold that keeps late writes out.
    views: Vec<(View, History, HoldGuard)>,
    /// Held reads at or below this lost what they saw.
    cut: SeqNo,
    /// Number of the last clear; nothing is numbered at or below it later, reopening or not.
    cleared: u64,
}

impl World {
    fn new(
        comparator: Arc<dyn Comparator>,
        operator: Option<Arc<dyn MergeOperator>>,
        filters: Filters,
    ) -> Self {
        let order = KeyOrder::new(comparator.clone());
        let memory = Arc::new(MemFs::new());
        let history = History::new().folding(operator.clone());
        let mut world = Self {
            filters,
            opens: 0,
            comparator,
            operator,
            put: BTreeSet::new(),
            order,
            memory,
            tree: None,
            history,
            next: 1,
            holds: Vec::new(),
            views: Vec::new(),
            cut: SeqNo::ZERO,
            cleared: 0,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let mut options = TreeOptions::new("/db")
            .store(|store| store.fs(self.memory.clone()))
            .comparator(self.comparator.clone())
            .tables(small_tables().filter(self.filters.bits))
            .table_target_bytes(2_000);
        if let Some(operator) = &self.operator {
            options = options.merge_operator(operator.clone());
        }
        if let Some(extractor) = self.filters.extractor(self.opens) {
            options = options.prefix_extractor(extractor);
        }
        self.opens += 1;
        self.tree = Some(Tree::open(options).unwrap());
    }

    fn tree(&self) -> &Tree {
        self.tree.as_ref().unwrap()
    }

    fn run(&mut self, op: Op) {
        let tree = self.tree().clone();
        match op {
            Op::Put { key: number, len, late } => {
                // Sometimes a number that was passed over comes late.
                let seqno = at(self.next.saturating_sub(u64::from(late)).max(self.cleared + 1));
                self.next += 2;
                let value = vec![number; usize::from(len)];
                match tree.insert(key(number), &value, seqno) {
                    Ok(_) => self.history.put(&key(number), seqno, &value),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::BelowSnapshot),
                }
            }
            Op::Delete { key: number } => {
                let seqno = at(self.next);
                self.next += 1;
                tree.remove(key(number), seqno).unwrap();
                self.history.delete(&key(number), seqno);
            }
            Op::Merge { key: number, late, refused } => self.merge(&tree, number, late, refused),
            Op::Weak { key: number, kind } => self.weak(&tree, number, kind),
            Op::Batch(writes) => self.batch(&tree, &writes),
            Op::DeleteRange { from, to, kinds, late } => self.delete_range(&tree, (from, to), kinds, late),
            Op::DeletePrefix { slashes } => self.delete_prefix(&tree, slashes),
            Op::BatchAround { before, from, to, after } => {
                self.batch_around(&tree, before, (from, to), after);
            }
            Op::Clear => {
                let seqno = at(self.next);
                self.next += 1;
                tree.clear(seqno).unwrap();
                self.delete_between((Bound::Unbounded, Bound::Unbounded), seqno);
                (self.cut, self.cleared) = (seqno, seqno.get());
            }
            Op::Drop { from, to, purge } => {
                let (seqno, bounds) = (at(self.next), (Bound::Included(key(from)), Bound::Excluded(key(to))));
                self.next += 1;
                let is_empty = self.order.compare(&key(from), &key(to)).is_ge();
                if purge {
                    tree.purge_range(bounds.clone(), seqno)
                } else {
                    tree.drop_range(bounds.clone(), seqno)
                }
                .unwrap();
                self.delete_between(bounds, seqno);
                if purge && !is_empty {
                    self.cut = seqno;
                }
            }
            Op::Seal => drop(tree.seal(None)),
            Op::Flush => drop(tree.flush(&FlushOptions::default()).unwrap()),
            Op::Compact => {
                let strategy = Leveled { l0_threshold: 2, table_target_bytes: 2_000, ..Leveled::default() };
                tree.compact(&strategy, &CompactOptions::default()).unwrap();
            }
            Op::Major => drop(tree.major_compact(&CompactOptions::default()).unwrap()),
            Op::Watermark { back } => tree.set_gc_watermark(at(self.next.saturating_sub(back.into()))),
            Op::Hold { back } => match tree.hold(at(self.next.saturating_sub(back.into()))) {
                Ok(hold) => self.holds.push(hold),
                Err(error) => assert_eq!(error.kind(), ErrorKind::SnapshotBelowRetention),
            },
            Op::Release => drop(self.holds.pop()),
            Op::TakeView => {
                let view = tree.view();
                if let Ok(hold) = tree.hold(view.before()) {
                    self.views.push((view, self.history.clone(), hold));
                }
            }
            Op::Reopen => {
                tree.seal(None);
                tree.flush(&FlushOptions::default()).unwrap();
                self.holds.clear();
                self.views.clear();
                drop(self.tree.take());
                tree.close().unwrap();
                self.open();
            }
        }
    }

    fn merge(&mut self, tree: &Tree, number: u8, late: u8, refused: bool) {
        let seqno = at(self.next.saturating_sub(u64::from(late)).max(self.cleared + 1));
        self.next += 2;
        let operand = if refused { REFUSED.to_vec() } else { seqno.to_string().into_bytes() };
        match tree.merge(key(number), &operand, seqno) {
            Ok(_) => self.history.write(&key(number), seqno, Kind::MergeOperand, &operand),
            Err(error) => assert_eq!(error.kind(), ErrorKind::BelowSnapshot),
        }
    }

    /// Keeps to the contract of weak deletes, under which the oracle takes them for ordinary ones.
    fn weak(&mut self, tree: &Tree, number: u8, kind: Kind) {
        let seqno = at(self.next);
        self.next += 1;
        let (key, value) = (key(number), seqno.to_string().into_bytes());
        let is_put = matches!(kind, Kind::Put | Kind::MergeOperand);
        let kind = if is_put && !self.put.insert(number) { Kind::WeakTombstone } else { kind };
        match kind {
            Kind::Put => tree.insert(&key, &value, seqno),
            Kind::MergeOperand => tree.merge(&key, &value, seqno),
            Kind::WeakTombstone => {
                self.put.remove(&number);
                tree.remove_weak(&key, seqno)
            }
            _ => tree.remove(&key, seqno),
        }
        .unwrap();
        self.history.write(&key, seqno, kind, if kind.is_tombstone() { &[] } else { &value });
    }

    fn batch(&mut self, tree: &Tree, writes: &[(u8, u8)]) {
        let mut batch = TreeBatch::new();
        let base = at(self.next);
        for (number, what) in writes {
            match what % 3 {
                0 => batch.remove(key(*number)),
                1 => batch.merge(key(*number), what.to_string()),
                _ => batch.insert(key(*number), [*number]),
            }
            .unwrap();
        }
        let used = tree.apply(&batch, base).unwrap();
        assert_eq!(used.end.get() - used.start.get(), writes.len() as u64);
        for (entry, seqno) in batch.iter().zip(used.start.get()..) {
            self.history.write(entry.key, at(seqno), entry.kind, entry.value);
        }
        self.next = used.end.get();
    }

    /// `kinds` says which of the nine forms the bounds have.
    fn delete_range(&mut self, tree: &Tree, (from, to): (u8, u8), kinds: u8, late: u8) {
        let seqno = at(self.next.saturating_sub(u64::from(late)).max(self.cleared + 1));
        self.next += 1;
        let bound = |kind: u8, key: Vec<u8>| match kind % 3 {
            0 => Bound::Included(key),
            1 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        };
        let (lower, upper) = (bound(kinds, key(from)), bound(kinds / 3, key(to)));
        match tree.remove_range((lower.clone(), upper.clone()), seqno) {
            Ok(_) => self.delete_between((lower, upper), seqno),
            Err(error) => assert_eq!(error.kind(), ErrorKind::BelowSnapshot),
        }
    }

    fn delete_between(&mut self, (lower, upper): (Bound<Vec<u8>>, Bound<Vec<u8>>), seqno: SeqNo) {
        let bounds = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        self.history.delete_range(bounds, seqno, &self.order);
    }

    fn delete_prefix(&mut self, tree: &Tree, slashes: u8) {
        let seqno = at(self.next);
        self.next += 1;
        let whole = key(slashes);
        let (prefix, _) = whole.split_at(3 + usize::from(slashes));
        match tree.remove_prefix(prefix, seqno) {
            // The keys with a prefix are those that a scan in byte order would find between two bounds.
            Ok(_) => {
                let mut end = prefix.to_vec();
                *end.last_mut().unwrap() += 1;
                let bounds = (Bound::Included(prefix), Bound::Excluded(end.as_slice()));
                self.history.delete_range(bounds, seqno, &KeyOrder::bytewise());
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        }
    }

    /// A batch that writes a key, deletes a range, and writes another.
    fn batch_around(&mut self, tree: &Tree, before: u8, (from, to): (u8, u8), after: u8) {
        let mut batch = TreeBatch::new();
        let base = self.next;
        self.next += 3;
        let bounds = (Bound::Included(key(from)), Bound::Included(key(to)));
        batch.insert(key(before), [1]).unwrap().remove_range(bounds.clone()).unwrap();
        batch.insert(key(after), [2]).unwrap();
        assert_eq!(tree.apply(&batch, at(base)).unwrap(), at(base)..at(base + 3));
        self.history.put(&key(before), at(base), &[1]);
        self.delete_between(bounds, at(base + 1));
        self.history.put(&key(after), at(base + 2), &[2]);
    }

    /// Every bound that may be read answers from the history; every other one is refused.
    fn check(&self) {
        let tree = self.tree();
        let floor = tree.retention_floor();
        for bound in (0..=self.next + 1).map(at).chain([SeqNo::LATEST]) {
            let mut held = self.holds.iter().chain(self.views.iter().map(|(_, _, hold)| hold));
            let is_held = held.any(|hold| hold.before() == bound) && bound > self.cut;
            match tree.view_at(bound) {
                Ok(view) => {
                    assert!(bound > floor || bound == SeqNo::ZERO || is_held);
                    check_reader(&view, &self.history, bound, &self.order);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::SnapshotBelowRetention);
                    assert!(bound <= floor && !is_held);
                }
            }
        }
        check_reader(tree, &self.history, SeqNo::LATEST, &self.order);
        for (view, history, _) in &self.views {
            check_reader(view, history, view.before(), &self.order);
        }
    }
}

fn check_reader(reader: &impl Reader, history: &History, before: SeqNo, order: &KeyOrder) {
    for number in 0..=KEYS {
        check_key(reader, history, before, &key(number));
    }
    let broken = history.broken(before);
    let all = history.all(before, order);
    assert_eq!(pairs(reader.iter(), broken.len()), all, "scan below {before}");
    let mut reversed = pairs(reader.iter().rev(), broken.len());
    reversed.reverse();
    assert_eq!(reversed, all, "reverse scan below {before}");
    let keys: BTreeSet<Vec<u8>> = reader.iter().keys().map(|key| key.unwrap().to_vec()).collect();
    assert!(keys.iter().eq(all.iter().map(|(key, _)| key).chain(&broken).collect::<BTreeSet<_>>()));
    assert_eq!(reader.count().unwrap(), keys.len() as u64);
    assert_eq!(reader.is_empty().unwrap(), keys.is_empty());
    if broken.is_empty() {
        assert_eq!(reader.first().unwrap().map(owned).as_ref(), all.first());
        assert_eq!(reader.last().unwrap().map(owned).as_ref(), all.last());
    }
    let (lower, upper) = (key(3), key(8));
    let bounds = (Bound::Excluded(lower.as_slice()), Bound::Included(upper.as_slice()));
    let inside = |key: &&Vec<u8>| order.compare(&lower, key).is_lt() && order.compare(key, &upper).is_le();
    let expected = history.range(bounds, before, order);
    assert_eq!(pairs(reader.range::<&[u8]>(bounds), broken.iter().filter(inside).count()), expected);
    for prefix in ["key/", "k", "key", "key//", "key///", "key////", "keya", "kex/", "key/b", "l"] {
        let has_prefix = |key: &[u8]| key.starts_with(prefix.as_bytes());
        let seen: Vec<_> = all.iter().filter(|(key, _)| has_prefix(key)).cloned().collect();
        let broken = broken.iter().filter(|key| has_prefix(key)).count();
        assert_eq!(pairs(reader.prefix(prefix), broken), seen, "prefix {prefix} below {before}");
        let mut reversed = pairs(reader.prefix(prefix).rev(), broken);
        reversed.reverse();
        assert_eq!(reversed, seen, "prefix {prefix} backwards below {before}");
    }
    check_narrow(reader, history, before, order);
    check_mixed(reader, &all, broken.len());
}

/// Ranges whose ends have much in common.
fn check_narrow(reader: &impl Reader, history: &History, before: SeqNo, order: &KeyOrder) {
    let broken = history.broken(before);
    for (lower, upper) in [("key/", "key//"), ("key//b", "key//z"), ("key/a", "key/c"), ("key//", "key/0")] {
        let (lower, upper) = (lower.as_bytes(), upper.as_bytes());
        if order.compare(lower, upper).is_gt() {
            continue;
        }
        for with_upper in [false, true] {
            let inside = |key: &&Vec<u8>| {
                let at_upper = order.compare(key, upper);
                order.compare(lower, key).is_le() && (at_upper.is_lt() || (with_upper && at_upper.is_eq()))
            };
            let end = if with_upper { Bound::Included(upper) } else { Bound::Excluded(upper) };
            let bounds = (Bound::Included(lower), end);
            let found = pairs(reader.range::<&[u8]>(bounds), broken.iter().filter(inside).count());
            assert_eq!(found, history.range(bounds, before, order));
        }
    }
}

/// Every form of a point read answers alike.
fn check_key(reader: &impl Reader, history: &History, before: SeqNo, key: &[u8]) {
    let Ok(expected) = history.value(key, before) else {
        assert_eq!(reader.get(key).unwrap_err().kind(), ErrorKind::MergeFailed, "{key:?} below {before}");
        assert!(reader.size_of(key).is_err() && reader.get_pinned(key).is_err());
        assert!(reader.contains_key(key).unwrap(), "what only needs the key folds nothing");
        return;
    };
    let expected = expected.as_deref();
    let mut into = Vec::new();
    assert_eq!(reader.get(key).unwrap().as_deref(), expected, "get {key:?} below {before}");
    assert_eq!(reader.get_pinned(key).unwrap().as_deref(), expected);
    assert_eq!(reader.get_with(key, <[u8]>::to_vec).unwrap().as_deref(), expected);
    assert_eq!(reader.get_into(key, &mut into).unwrap(), expected.is_some());
    assert_eq!(into, expected.unwrap_or_default());
    assert_eq!(reader.contains_key(key).unwrap(), expected.is_some());
    assert_eq!(reader.size_of(key).unwrap(), expected.map(<[u8]>::len));
}

fn owned(entry: lsm_engine::Entry) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = entry.into_pair().unwrap();
    (key.to_vec(), value.to_vec())
}

/// What a scan yields, besides `broken` keys whose operands do not fold.
fn pairs(
    entries: impl Iterator<Item = lsm_types::Result<lsm_engine::Entry>>,
    broken: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (found, errors): (Vec<_>, Vec<_>) = entries.partition(Result::is_ok);
    assert!(
        errors.iter().all(|error| error.as_ref().is_err_and(|error| error.kind() == ErrorKind::MergeFailed))
    );
    assert_eq!(errors.len(), broken, "each is an error once");
    found.into_iter().map(|entry| owned(entry.unwrap())).collect()
}

/// Both ends in turn yield each key once.
fn check_mixed(reader: &impl Reader, all: &[(Vec<u8>, Vec<u8>)], broken: usize) {
    let mut range = reader.iter();
    let (mut front, mut back, mut errors) = (Vec::new(), Vec::new(), 0);
    for turn in 0_u32.. {
        let next = if turn % 3 == 1 { range.next_back() } else { range.next() };
        let Some(entry) = next else { break };
        let Ok(entry) = entry else {
            errors += 1;
            continue;
        };
        let key = entry.key().to_vec();
        if turn % 3 == 1 { back.push(key) } else { front.push(key) }
    }
    assert!(range.next().is_none() && range.next_back().is_none(), "finished from both ends");
    front.extend(back.into_iter().rev());
    assert!(front.iter().eq(all.iter().map(|(key, _)| key)), "both ends");
    assert_eq!(errors, broken);
}

fn check_history(
    comparator: Arc<dyn Comparator>,
    operator: Option<Arc<dyn MergeOperator>>,
    filters: Filters,
    ops: Vec<Op>,
) {
    let mut world = World::new(comparator, operator, filters);
    for op in ops {
        world.run(op);
    }
    world.check();
    world.run(Op::Reopen);
    world.check();
    assert!(world.tree().verify().unwrap().is_clean());
}

/// None, one that composes, and one that does not.
fn operator() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![1 => Just(None), 2 => Just(Some(true)), 2 => Just(Some(false))]
}

fn joining(composes: Option<bool>) -> Option<Arc<dyn MergeOperator>> {
    composes.map(|composes| Arc::new(Join::new(composes)) as Arc<dyn MergeOperator>)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Proves E-11, E-12, E-14, E-18, E-22, E-43, E-46, E-48, E-50, E-55, E-60, E-61, E-62, E-63, E-74, E-76, E-77, E-78, E-79, E-83,
    /// E-96, E-98, E-100, E-102, I-1,
    /// E-29, E-30, E-31, E-32, E-33, E-34, E-36, E-37, E-42, E-128, E-129, E-130.
    #[test]
    fn every_read_answers_from_the_history(
        ops in prop::collection::vec(op(), 1..60), composes in operator(),
    ) {
        check_history(Arc::new(Bytewise), joining(composes), Filters::DEFAULT, ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 15, ..ProptestConfig::default() })]

    /// Proves E-148, E-149. Fault: engine W-1.
    #[test]
    fn every_read_answers_under_a_reversed_order(
        ops in prop::collection::vec(op(), 1..40), composes in operator(),
    ) {
        check_history(Arc::new(Reverse), joining(composes), Filters::DEFAULT, ops);
    }

    /// Proves E-150. Fault: engine W-2.
    #[test]
    fn every_read_answers_where_prefixes_are_scattered(
        ops in prop::collection::vec(op(), 1..40), composes in operator(),
    ) {
        check_history(Arc::new(LengthFirst), joining(composes), Filters::DEFAULT, ops);
    }

    #[test]
    fn every_read_answers_where_the_last_byte_counts_most(
        ops in prop::collection::vec(op(), 1..40), composes in operator(),
    ) {
        check_history(Arc::new(SuffixFirst), joining(composes), Filters::DEFAULT, ops);
    }

    /// Proves E-64, E-79, E-152, E-154, F-93, F-97: filters of any strength, and extractors that come, go and change,
    /// are never seen in an answer.
    #[test]
    fn no_filter_is_seen_in_an_answer(
        ops in prop::collection::vec(op(), 1..50),
        which in 0_usize..3,
        first in 0_usize..6,
        bits in prop_oneof![Just(Some(1.0)), Just(Some(4.5)), Just(Some(16.0)), Just(None)],
    ) {
        let comparator: Arc<dyn Comparator> = match which {
            0 => Arc::new(Bytewise),
            1 => Arc::new(LengthFirst),
            _ => Arc::new(ReverseByPrefix),
        };
        let bits = bits.map_or(LevelFilter::Off, |bits| LevelFilter::bits(bits).unwrap());
        check_history(comparator, joining(Some(true)), Filters { bits, first }, ops);
    }
}
