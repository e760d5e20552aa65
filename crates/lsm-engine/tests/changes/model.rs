//! The change feed against a list of all writes: whatever flushes and compactions made of them.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use lsm_compaction_planner::Leveled;
use lsm_engine::{
    Change, Changed, ChangesOptions, CompactOptions, DeleteStrategy, TablePolicy, Tree, TreeBatch,
    TreeOptions,
};
use lsm_fs::MemFs;
use lsm_testkit::{comparators, operators::Join, oracle::History};
use lsm_types::{Comparator, Cut, ErrorKind, KeyOrder, Kind, SeqNo, Slice};
use proptest::prelude::*;

use crate::common::{
    InPlace, at, contents, flush,
    layouts::{Layout, texts},
    small_tables,
};

#[derive(Clone, Debug)]
enum Op {
    Write(Write),
    /// One batch, a number for each write; or one number for all of them.
    Batch(Vec<Write>, bool),
    /// Leaves a number out, and writes to it later.
    Late(Write),
    Seal,
    Flush,
    Compact,
    Major,
    /// The last level is merged where it stands: what is dead in it is marked.
    InPlace,
    Watermark,
    Follow,
    Advance,
    Reopen,
}

#[derive(Clone, Debug)]
enum Write {
    Put(u8),
    Merge(u8),
    Remove(u8),
    RemoveWeak(u8),
    RemoveRange(u8, u8),
}

fn write() -> impl Strategy<Value = Write> {
    let key = 0..12_u8;
    prop_oneof![
        4 => key.clone().prop_map(Write::Put),
        2 => key.clone().prop_map(Write::Merge),
        2 => key.clone().prop_map(Write::Remove),
        1 => key.clone().prop_map(Write::RemoveWeak),
        1 => (key.clone(), key).prop_map(|(a, b)| Write::RemoveRange(a, b)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => write().prop_map(Op::Write),
        3 => (prop::collection::vec(write(), 1..5), any::<bool>()).prop_map(|(all, shared)| Op::Batch(all, shared)),
        1 => write().prop_map(Op::Late),
        1 => Just(Op::Seal),
        3 => Just(Op::Flush),
        2 => Just(Op::Compact),
        1 => Just(Op::Major),
        1 => Just(Op::InPlace),
        1 => Just(Op::Watermark),
        1 => Just(Op::Follow),
        1 => Just(Op::Advance),
        1 => Just(Op::Reopen),
    ]
}

fn key(n: u8) -> String {
    format!("{}{n:02}", if n.is_multiple_of(3) { "k" } else { "key/" })
}

type Bounds = (Bound<String>, Bound<String>);

/// A range of keys between two of them, whatever the order says.
fn between(a: u8, b: u8, order: &KeyOrder) -> Bounds {
    let (a, b) = (key(a), key(b));
    let (a, b) = if order.compare(a.as_bytes(), b.as_bytes()).is_le() { (a, b) } else { (b, a) };
    (Bound::Included(a), Bound::Excluded(b))
}

/// All writes, by number; deletes of ranges before others, these by key.
#[derive(Default)]
struct Model {
    points: BTreeMap<u64, Vec<Change>>,
    ranges: BTreeMap<u64, (Bounds, Change)>,
}

impl Model {
    fn note(&mut self, write: &Write, seqno: u64, order: &KeyOrder) {
        let number = at(seqno);
        let slice = |n: &u8| Slice::from(key(*n).as_bytes());
        let value = format!("v{seqno}");
        let what = match write {
            Write::Put(k) => Changed::Put { key: slice(k), value: value.as_bytes().into() },
            Write::Merge(k) => Changed::Merge { key: slice(k), operand: value.as_bytes().into() },
            Write::Remove(k) => Changed::Remove { key: slice(k) },
            Write::RemoveWeak(k) => Changed::RemoveWeak { key: slice(k) },
            Write::RemoveRange(a, b) => {
                let bounds = between(*a, *b, order);
                let (start, end) = cuts(&bounds);
                if start.compare(&end, order).is_lt() {
                    let change = Change { seqno: number, what: Changed::RemoveRange { start, end } };
                    self.ranges.insert(seqno, (bounds, change));
                }
                return;
            }
        };
        let all = self.points.entry(seqno).or_default();
        let change = Change { seqno: number, what };
        all.retain(|other| key_of(other) != key_of(&change));
        all.push(change);
        all.sort_by(|a, b| order.compare(key_of(a), key_of(b)));
    }

    /// What a list from `since` on has to be.
    fn changes(&self, since: u64, scope: &Bounds, order: &KeyOrder) -> Vec<Change> {
        let (start, end) = cuts(scope);
        let mut found = Vec::new();
        let last = self.points.keys().chain(self.ranges.keys()).max().copied();
        for seqno in since..=last.unwrap_or(0) {
            let range = self.ranges.get(&seqno).map(|(_, change)| change);
            found.extend(range.filter(|change| {
                let Changed::RemoveRange { start: left, end: right } = &change.what else { return false };
                let left = if left.compare(&start, order).is_lt() { &start } else { left };
                let right = if right.compare(&end, order).is_gt() { &end } else { right };
                left.compare(right, order).is_lt()
            }));
            let points = self.points.get(&seqno).into_iter().flatten();
            found.extend(points.filter(|change| {
                start.is_left_of(key_of(change), order) && !end.is_left_of(key_of(change), order)
            }));
        }
        found.into_iter().cloned().collect()
    }
}

fn cuts((lower, upper): &Bounds) -> (Cut, Cut) {
    (
        Cut::from_lower(lower.as_ref().map(String::as_bytes)),
        Cut::from_upper(upper.as_ref().map(String::as_bytes)),
    )
}

fn key_of(change: &Change) -> &[u8] {
    match &change.what {
        Changed::Put { key, .. }
        | Changed::Merge { key, .. }
        | Changed::Remove { key }
        | Changed::RemoveWeak { key } => key,
        _ => &[],
    }
}

fn apply(write: &Write, seqno: u64, tree: &Tree, order: &KeyOrder) -> Result<(), lsm_types::Error> {
    let (value, number) = (format!("v{seqno}"), at(seqno));
    match write {
        Write::Put(k) => tree.insert(key(*k), value, number),
        Write::Merge(k) => tree.merge(key(*k), value, number),
        Write::Remove(k) => tree.remove(key(*k), number),
        Write::RemoveWeak(k) => tree.remove_weak(key(*k), number),
        Write::RemoveRange(a, b) => tree.remove_range(between(*a, *b, order), number),
    }
    .map(drop)
}

fn batch(writes: &[Write], base: u64, shared: bool, order: &KeyOrder) -> TreeBatch {
    let mut batch = TreeBatch::new();
    for (n, write) in (0..).zip(writes) {
        let value = format!("v{}", if shared { base } else { base + n });
        match write {
            Write::Put(k) => batch.insert(key(*k), value),
            Write::Merge(k) => batch.merge(key(*k), value),
            Write::Remove(k) => batch.remove(key(*k)),
            Write::RemoveWeak(k) => batch.remove_weak(key(*k)),
            Write::RemoveRange(a, b) => batch.remove_range(between(*a, *b, order)),
        }
        .unwrap();
    }
    batch
}

fn list(tree: &Tree, since: u64, scope: &Bounds, options: &ChangesOptions) -> Vec<Change> {
    let changes = tree.changes_with(at(since), scope.clone(), options).unwrap();
    changes.map(Result::unwrap).collect()
}

const ALL: Bounds = (Bound::Unbounded, Bound::Unbounded);

/// The list is right in every form, or refused where it could not be.
fn check(tree: &Tree, model: &Model, next: u64, order: &KeyOrder) {
    let from = tree.changes_from().get();
    for since in [0, 1, next / 3, next / 2, next.saturating_sub(3), next, next + 5] {
        if since < from {
            let error = tree.changes_with(at(since), ALL, &ChangesOptions::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HistoryCollected);
            continue;
        }
        let tiny = ChangesOptions::default().memory_bytes(200);
        let scopes = [ALL, between(2, 7, order), (Bound::Excluded(key(5)), Bound::Unbounded)];
        for scope in scopes {
            let expected = model.changes(since, &scope, order);
            for options in [ChangesOptions::default(), tiny.clone(), tiny.clone().read_everything()] {
                assert_eq!(
                    list(tree, since, &scope, &options),
                    expected,
                    "since {since} {scope:?} {options:?}"
                );
            }
            let last = model.changes(since, &scope, order).last().map(|change| change.seqno.get());
            assert_eq!(
                tree.changed_since(scope.clone(), at(since)).unwrap(),
                last.is_some(),
                "changed since {since} in {scope:?}"
            );
        }
        let half = since.midpoint(next);
        let until = list(tree, since, &ALL, &ChangesOptions::default().until(at(half)));
        let mut expected = model.changes(since, &ALL, order);
        expected.retain(|change| change.seqno.get() < half);
        assert_eq!(until, expected);
    }
}

/// Writes a list into an empty tree: every read in the window sees what the history says.
fn replay(tree: &Tree, model: &Model, next: u64, options: TreeOptions, order: &KeyOrder) {
    let copy = Tree::open(options).unwrap();
    let mut history = History::new().folding(Some(Arc::new(Join::new(false))));
    for change in tree.changes(SeqNo::ZERO, ALL).unwrap().map(Result::unwrap) {
        let n = change.seqno;
        match &change.what {
            Changed::Put { key, value } => copy.insert(key, value, n),
            Changed::Merge { key, operand } => copy.merge(key, operand, n),
            Changed::Remove { key } => copy.remove(key, n),
            Changed::RemoveWeak { key } => copy.remove_weak(key, n),
            Changed::RemoveRange { start, end } => {
                copy.remove_range((bound(start, true), bound(end, false)), n)
            }
            _ => unreachable!("there is no other kind"),
        }
        .unwrap();
    }
    for change in model.changes(0, &ALL, order) {
        let n = change.seqno;
        match &change.what {
            Changed::Put { key, value } => history.put(key, n, value),
            Changed::Merge { key, operand } => history.write(key, n, Kind::MergeOperand, operand),
            Changed::Remove { key } => history.delete(key, n),
            Changed::RemoveWeak { key } => history.write(key, n, Kind::WeakTombstone, &[]),
            Changed::RemoveRange { start, end } => {
                let (start, end) = (bound(start, true), bound(end, false));
                let bounds = (start.as_ref().map(AsRef::as_ref), end.as_ref().map(AsRef::as_ref));
                history.delete_range(bounds, n, order);
            }
            _ => unreachable!("there is no other kind"),
        }
    }
    for before in 0..=next {
        let view = copy.view_at(at(before)).unwrap();
        let expected = history.all(at(before), order);
        assert_eq!(contents(&view).unwrap(), expected, "below {before}");
    }
}

fn bound(cut: &Cut, is_start: bool) -> Bound<Slice> {
    match cut {
        Cut::Start | Cut::End => Bound::Unbounded,
        Cut::Before(key) if is_start => Bound::Included(key.clone()),
        Cut::After(key) if is_start => Bound::Excluded(key.clone()),
        Cut::Before(key) => Bound::Excluded(key.clone()),
        Cut::After(key) => Bound::Included(key.clone()),
    }
}

fn options(fs: &Arc<MemFs>, comparator: &Arc<dyn Comparator>, tables: TablePolicy) -> TreeOptions {
    let (fs, comparator) = (fs.clone(), comparator.clone());
    let options = TreeOptions::new("/db").store(|store| store.fs(fs)).tables(tables);
    let options = options.delete_strategies([DeleteStrategy::MergeOnRead]);
    options.merge_operator(Arc::new(Join::new(false))).comparator(comparator)
}

fn run(ops: &[Op], comparator: &Arc<dyn Comparator>, layout: Layout, bounds: bool, collects: bool) {
    let order = KeyOrder::new(comparator.clone());
    let fs = Arc::default();
    let mut opens = 0;
    let mut how = || {
        opens += 1;
        layout.set(options(&fs, comparator, small_tables().seqno_bounds(bounds)), texts(), opens)
    };
    let mut tree = Tree::open(how()).unwrap();
    let (mut model, mut next) = (Model::default(), 0);
    let mut follower = None;
    for op in ops {
        match op {
            Op::Write(write) => {
                apply(write, next, &tree, &order).unwrap();
                model.note(write, next, &order);
                next += 1;
            }
            Op::Batch(writes, false) => {
                tree.apply(&batch(writes, next, false, &order), at(next)).unwrap();
                for write in writes {
                    model.note(write, next, &order);
                    next += 1;
                }
            }
            Op::Batch(writes, true) => {
                let ranges = writes.iter().filter(|write| matches!(write, Write::RemoveRange(..))).count();
                let shared = batch(writes, next, true, &order);
                if ranges < 2 && tree.apply_shared(&shared, at(next)).is_ok() {
                    for write in writes {
                        model.note(write, next, &order);
                    }
                    next += 1;
                }
            }
            Op::Late(write) => {
                let late = next;
                apply(&Write::Put(3), late + 1, &tree, &order).unwrap();
                model.note(&Write::Put(3), late + 1, &order);
                // What was listed in between does not keep the number away any longer.
                drop(tree.changes_with(at(late), ALL, &ChangesOptions::default()));
                if apply(write, late, &tree, &order).is_ok() {
                    model.note(write, late, &order);
                }
                next += 2;
            }
            Op::Seal => drop(tree.seal(None)),
            Op::Flush => flush(&tree),
            Op::Compact => {
                let strategy = Leveled { l0_threshold: 2, ..Leveled::default() };
                tree.compact(&strategy, &CompactOptions::default()).unwrap();
            }
            Op::Major => drop(tree.major_compact(&CompactOptions::default()).unwrap()),
            Op::InPlace => drop(tree.compact(&InPlace(1 << 20), &CompactOptions::default()).unwrap()),
            Op::Watermark if collects => tree.set_gc_watermark(at(next)),
            Op::Follow if collects => follower = tree.follow_changes(at(next / 2), None).ok(),
            Op::Advance => {
                if let Some(follower) = &follower {
                    let position: SeqNo = follower.position();
                    assert!(tree.changes_from() <= position, "what it has to read is there");
                    follower.advance(at(position.get().midpoint(next)));
                }
            }
            Op::Reopen => {
                flush(&tree);
                let from = tree.changes_from();
                follower = None;
                tree.close().unwrap();
                tree = Tree::open(how()).unwrap();
                assert_eq!(tree.changes_from(), from);
            }
            Op::Watermark | Op::Follow => {}
        }
        if matches!(op, Op::Flush | Op::Compact | Op::Major | Op::InPlace | Op::Late(_)) {
            check(&tree, &model, next, &order);
        }
    }
    check(&tree, &model, next, &order);
    if !collects {
        assert_eq!(tree.changes_from(), SeqNo::ZERO);
        replay(&tree, &model, next, options(&Arc::default(), comparator, small_tables()), &order);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Proves E-132, E-134, E-135, E-136, E-42, F-105, F-110: in tables of rows, of columns and of both, the list is the history from any number on, and written
    /// again it answers every read as the history does. Fault: engine W-12, W-32.
    #[test]
    fn all_changes_are_listed_and_can_be_replayed(
        ops in prop::collection::vec(op(), 1..60),
        order in 0..comparators::all().len(),
        layout in 0..3_usize,
        bounds in any::<bool>(),
    ) {
        run(&ops, &comparators::all()[order], Layout::ALL[layout], bounds, false);
    }

    /// Proves E-137, C-92: with collection and delete vectors at work a list is whole or refused; what a follower has to read is never
    /// collected.
    #[test]
    fn lists_are_whole_or_refused(
        ops in prop::collection::vec(op(), 1..60),
        order in 0..comparators::all().len(),
        layout in 0..3_usize,
        bounds in any::<bool>(),
    ) {
        run(&ops, &comparators::all()[order], Layout::ALL[layout], bounds, true);
    }
}
