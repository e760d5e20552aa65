//! Cursors against a sorted vector: jumps, steps and peeks in any pattern, within any bounds, under any order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{cell::RefCell, ops::Bound, sync::Arc};

use common::{LengthFirst, Reverse, at, flush, small_tables};
use lsm_engine::{CompactOptions, Cursor, Entry, Reader, Tree, TreeOptions, View};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::{
    operators::{Join, REFUSED},
    oracle::History,
};
use lsm_types::{Bytewise, Comparator, ErrorKind, FixedPrefix, KeyOrder, Kind, Result, SeqNo, Slice};
use proptest::prelude::*;
use wrap::{Control, WrapFs};

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);
/// Keys with values, or without one where the operands do not fold.
type Seen = Vec<(Vec<u8>, Option<Vec<u8>>)>;

const KEYS: u8 = 24;

/// Keys of different lengths, so that orders differ, some of them with a long common prefix.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![b'a' + number / 6; usize::from(number % 3) + 1];
    key.push(b'k' + number % 6);
    key
}

#[derive(Clone, Debug)]
enum Write {
    Put(u8, usize),
    Delete(u8),
    Merge(u8, bool),
    DeleteRange(u8, u8),
    Seal,
    Flush,
    Major,
}

fn write() -> impl Strategy<Value = Write> {
    let long = prop_oneof![4 => 0_usize..20, 1 => 500_usize..530];
    prop_oneof![
        12 => (0..KEYS, long).prop_map(|(key, len)| Write::Put(key, len)),
        3 => (0..KEYS).prop_map(Write::Delete),
        4 => (0..KEYS, prop::bool::weighted(0.2)).prop_map(|(key, refused)| Write::Merge(key, refused)),
        1 => (0..KEYS, 0..KEYS).prop_map(|(from, to)| Write::DeleteRange(from, to)),
        1 => Just(Write::Seal),
        2 => Just(Write::Flush),
        1 => Just(Write::Major),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        2 => Just(Bound::Unbounded),
        2 => probe().prop_map(Bound::Included),
        2 => probe().prop_map(Bound::Excluded),
    ]
}

/// A key, or what lies beside one.
fn probe() -> impl Strategy<Value = Vec<u8>> {
    (0..KEYS, prop_oneof![4 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(0xFF))]).prop_map(
        |(number, more)| {
            let mut key = key(number);
            key.extend(more);
            key
        },
    )
}

#[derive(Clone, Debug)]
enum Move {
    First,
    Last,
    Seek(Vec<u8>),
    SeekForPrev(Vec<u8>),
    Next,
    Prev,
    Peek,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        3 => probe().prop_map(Move::Seek),
        3 => probe().prop_map(Move::SeekForPrev),
        6 => Just(Move::Next),
        6 => Just(Move::Prev),
        5 => Just(Move::Peek),
    ];
    prop::collection::vec(step, 0..60)
}

fn orders() -> [Arc<dyn Comparator>; 3] {
    [Arc::new(Bytewise), Arc::new(Reverse), Arc::new(LengthFirst)]
}

fn tree(comparator: Arc<dyn Comparator>) -> Tree {
    let options = TreeOptions::new("/db")
        .store(|store| store.fs(Arc::new(MemFs::new())))
        .comparator(comparator)
        .merge_operator(Arc::new(Join::new(true)))
        .tables(small_tables())
        .prefix_extractor(Arc::new(FixedPrefix::new(1)))
        .table_target_bytes(1_000);
    Tree::open(options).unwrap()
}

/// Applies the writes to a tree and to a history, which then knows what a read sees.
fn fill(tree: &Tree, history: &mut History, writes: &[Write], order: &KeyOrder) -> SeqNo {
    let mut next = SeqNo::ZERO;
    for write in writes {
        match write {
            Write::Put(number, len) => {
                let value = vec![b'v'; *len];
                tree.insert(key(*number), &value, next).unwrap();
                history.put(&key(*number), next, &value);
            }
            Write::Delete(number) => {
                tree.remove(key(*number), next).unwrap();
                history.delete(&key(*number), next);
            }
            Write::Merge(number, refused) => {
                let operand = if *refused { REFUSED } else { b"o" };
                tree.merge(key(*number), operand, next).unwrap();
                history.write(&key(*number), next, Kind::MergeOperand, operand);
            }
            Write::DeleteRange(from, to) => {
                let (from, to) = (key(*from), key(*to));
                if order.compare(&from, &to).is_ge() {
                    continue;
                }
                tree.remove_range(&from[..]..&to[..], next).unwrap();
                history.delete_range((Bound::Included(&from), Bound::Excluded(&to)), next, order);
            }
            Write::Seal => drop(tree.seal(None)),
            Write::Flush => flush(tree),
            Write::Major => drop(tree.major_compact(&CompactOptions::default()).unwrap()),
        }
        next = next.next();
    }
    next
}

fn is_within(key: &[u8], bounds: &Bounds, order: &KeyOrder) -> bool {
    let above = match &bounds.0 {
        Bound::Unbounded => true,
        Bound::Included(lower) => order.compare(lower, key).is_le(),
        Bound::Excluded(lower) => order.compare(lower, key).is_lt(),
    };
    let below = match &bounds.1 {
        Bound::Unbounded => true,
        Bound::Included(upper) => order.compare(key, upper).is_le(),
        Bound::Excluded(upper) => order.compare(key, upper).is_lt(),
    };
    above && below
}

fn seen(history: &History, before: SeqNo, bounds: &Bounds, order: &KeyOrder) -> Seen {
    let mut seen: Seen = history
        .keys()
        .filter(|key| is_within(key, bounds, order))
        .filter_map(|key| match history.value(key, before) {
            Ok(value) => value.map(|value| (key.to_vec(), Some(value))),
            Err(_) => Some((key.to_vec(), None)),
        })
        .collect();
    seen.sort_by(|(a, _), (b, _)| order.compare(a, b));
    seen
}

/// Makes the move; what a peek sees, otherwise whether there is an entry.
fn go(cursor: &mut Cursor, step: &Move) -> Result<(bool, Option<Vec<u8>>)> {
    Ok(match step {
        Move::First => (cursor.seek_first()?, None),
        Move::Last => (cursor.seek_last()?, None),
        Move::Seek(key) => (cursor.seek(key)?, None),
        Move::SeekForPrev(key) => (cursor.seek_for_prev(key)?, None),
        Move::Next => (cursor.move_next()?, None),
        Move::Prev => (cursor.move_prev()?, None),
        Move::Peek => {
            let peeked = cursor.peek_next()?.map(<[u8]>::to_vec);
            (cursor.key().is_some(), peeked)
        }
    })
}

/// Where the move leads in a sorted vector.
fn lead(seen: &Seen, from: Option<usize>, step: &Move, order: &KeyOrder) -> Option<usize> {
    let first_at = |key: &[u8]| seen.partition_point(|(other, _)| order.compare(other, key).is_lt());
    let first_after = |key: &[u8]| seen.partition_point(|(other, _)| order.compare(other, key).is_le());
    let to = match step {
        Move::First => Some(0),
        Move::Last => seen.len().checked_sub(1),
        Move::Seek(key) => Some(first_at(key)),
        Move::SeekForPrev(key) => first_after(key).checked_sub(1),
        Move::Next => from.map(|at| at + 1),
        Move::Prev => from.and_then(|at| at.checked_sub(1)),
        Move::Peek => from,
    };
    to.filter(|to| *to < seen.len())
}

fn check(cursor: &mut Cursor, seen: &Seen, moves: &[Move], order: &KeyOrder) -> Result<(), TestCaseError> {
    let mut stand = None;
    for (count, step) in moves.iter().enumerate() {
        let (found, peeked) = go(cursor, step).unwrap();
        if matches!(step, Move::Peek) {
            let next = stand.and_then(|at: usize| seen.get(at + 1)).map(|(key, _)| key.clone());
            prop_assert_eq!(peeked, next, "peek, move {}", count);
        }
        stand = lead(seen, stand, step, order);
        let expected = stand.map(|at| &seen[at]);
        prop_assert_eq!(cursor.key(), expected.map(|(key, _)| &key[..]), "move {}: {:?}", count, step);
        prop_assert_eq!(found, expected.is_some());
        match expected {
            Some((_, None)) => {
                prop_assert_eq!(cursor.value().unwrap_err().kind(), ErrorKind::MergeFailed);
                prop_assert_eq!(cursor.size().unwrap_err().kind(), ErrorKind::MergeFailed);
            }
            expected => {
                let value = expected.and_then(|(_, value)| value.as_deref());
                prop_assert_eq!(cursor.value().unwrap(), value, "move {}: {:?}", count, step);
                prop_assert_eq!(cursor.size().unwrap(), value.map(<[u8]>::len));
            }
        }
    }
    Ok(())
}

fn view(tree: &Tree, next: SeqNo, back: u64) -> (View, SeqNo) {
    let before = at(next.get().saturating_sub(back));
    (tree.view_at(before).unwrap(), before)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Proves E-77, E-88, E-89, E-91 (peeks see what steps yield, jumps forget them), E-92. Fault: engine W-1, W-2.
    #[test]
    fn a_cursor_is_a_position_in_a_sorted_vector(
        writes in prop::collection::vec(write(), 0..60),
        back in 0_u64..6,
        bounds in (bound(), bound()),
        moves in moves(),
        order in 0_usize..3,
    ) {
        let comparator = orders()[order].clone();
        let order = KeyOrder::new(comparator.clone());
        let (tree, mut history) = (tree(comparator), History::new().folding(Some(Arc::new(Join::new(true)))));
        let next = fill(&tree, &mut history, &writes, &order);
        let (view, before) = view(&tree, next, back);
        let seen = seen(&history, before, &bounds, &order);
        check(&mut view.cursor(bounds).unwrap(), &seen, &moves, &order)?;
    }

    /// Proves E-93: the same as the ranges one after the other, whatever they are.
    #[test]
    fn ranges_are_the_ranges_one_after_the_other(
        writes in prop::collection::vec(write(), 0..60),
        back in 0_u64..6,
        ranges in prop::collection::vec((bound(), bound()), 0..6),
        order in 0_usize..3,
    ) {
        let comparator = orders()[order].clone();
        let order = KeyOrder::new(comparator.clone());
        let (tree, mut history) = (tree(comparator), History::new().folding(Some(Arc::new(Join::new(true)))));
        let next = fill(&tree, &mut history, &writes, &order);
        let (view, before) = view(&tree, next, back);
        let expected: Seen = ranges.iter().flat_map(|bounds| seen(&history, before, bounds, &order)).collect();
        let mut found = view.ranges(ranges);
        for (key, value) in &expected {
            match (found.next().unwrap(), value) {
                (Ok(entry), Some(value)) => {
                    prop_assert_eq!((&entry.key()[..], &entry.value().unwrap()[..]), (&key[..], &value[..]));
                }
                (Err(error), None) => prop_assert_eq!(error.kind(), ErrorKind::MergeFailed),
                (found, value) => prop_assert!(false, "{found:?} for {value:?} of {key:?}"),
            }
        }
        prop_assert!(found.next().is_none());
        prop_assert!(found.next().is_none());
    }
}

fn letters(text: &str) -> Tree {
    let tree = tree(Arc::new(Bytewise));
    for (seqno, letter) in (0..).zip(text.bytes()) {
        tree.insert([letter], [letter, b'!'], at(seqno)).unwrap();
    }
    tree
}

/// Proves E-93: a range may be made from what the one before has yielded.
#[test]
fn the_next_range_is_asked_for_when_the_one_before_is_read() {
    let tree = letters("abcdefghijkl");
    flush(&tree);
    let last: RefCell<Option<Slice>> = RefCell::new(None);
    let starts = std::iter::from_fn(|| {
        let from = match &*last.borrow() {
            None => b'a',
            Some(key) if key[0] >= b'i' => return None,
            Some(key) => key[0] + 2,
        };
        Some([from]..[from + 2])
    });
    let mut found = String::new();
    for entry in tree.ranges(starts) {
        let key = entry.unwrap().key().clone();
        found.push(char::from(key[0]));
        *last.borrow_mut() = Some(key);
    }
    assert_eq!(found, "abdeghjk");
}

/// Proves E-91: a value that was peeked past is the one at the position, however long it is.
#[test]
fn the_position_stays_while_the_next_key_is_peeked_at() {
    let tree = tree(Arc::new(Bytewise));
    for (seqno, len) in [(0_u8, 0), (1, 512), (2, 513), (3, 70_000)] {
        tree.insert([seqno], vec![seqno; len], at(seqno.into())).unwrap();
    }
    for _ in 0..2 {
        let mut cursor = tree.cursor::<&[u8]>(..).unwrap();
        assert_eq!(cursor.peek_next().unwrap(), None, "a new cursor has no position");
        assert!(!cursor.move_next().unwrap() && !cursor.move_prev().unwrap());
        cursor.seek_first().unwrap();
        for (number, len) in [(0_u8, 0), (1, 512), (2, 513), (3, 70_000)] {
            let next = [number + 1];
            for _ in 0..2 {
                assert_eq!(cursor.peek_next().unwrap(), (number < 3).then_some(&next[..]));
                assert_eq!(cursor.key(), Some(&[number][..]));
                assert_eq!(cursor.value().unwrap(), Some(&vec![number; len][..]));
            }
            cursor.move_next().unwrap();
        }
        assert_eq!(cursor.key(), None);
        flush(&tree);
    }
}

/// Proves E-91: an error that a peek met is met by every further peek and by the step, and the position stays until then.
/// Fault: engine W-28.
#[test]
fn an_error_that_was_peeked_at_is_the_one_of_the_step() {
    let (memory, control) = (Arc::new(MemFs::new()), Arc::new(Control::default()));
    let open = || {
        let fs: Arc<dyn Fs> = Arc::new(WrapFs { inner: memory.clone(), control: control.clone() });
        Tree::open(TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())).unwrap()
    };
    let tree = open();
    for number in 0..40_u8 {
        tree.insert([number], [number; 60], at(number.into())).unwrap();
    }
    flush(&tree);
    drop(tree);
    let tree = open();
    // The table is open, and its first block read, before the reads that bring the rest.
    tree.get([0]).unwrap();
    control.take_reads();
    tree.get([20]).unwrap();
    let middle = control.take_reads().pop().unwrap();
    drop(tree);
    let tree = open();
    let mut cursor = tree.cursor::<&[u8]>(..).unwrap();
    cursor.seek_first().unwrap();
    control.spoil(&middle.path, middle.offset);
    let told = loop {
        let here = cursor.key().unwrap()[0];
        match cursor.peek_next().map(|next| next.map(|key| key[0])) {
            Ok(next) => {
                assert_eq!(next, Some(here + 1));
                cursor.move_next().unwrap();
            }
            Err(error) => break error.to_string(),
        }
    };
    let here = cursor.key().unwrap()[0];
    assert!((1..=20).contains(&here));
    for _ in 0..2 {
        assert_eq!(cursor.peek_next().unwrap_err().to_string(), told);
        assert_eq!(cursor.key(), Some(&[here][..]));
        assert_eq!(cursor.value().unwrap(), Some(&[here; 60][..]));
    }
    assert_eq!(cursor.move_next().unwrap_err().to_string(), told);
    assert_eq!(cursor.key(), None);
    control.heal();
    assert!(cursor.seek([here + 1]).unwrap() && cursor.key() == Some(&[here + 1][..]));
}

/// Proves E-82, E-86.
#[test]
fn questions_about_keys_alone() {
    let tree = tree(Arc::new(Bytewise));
    let empty = |tree: &Tree| tree.is_empty().unwrap();
    assert!(empty(&tree) && !tree.contains_prefix("").unwrap());
    for (seqno, key) in (0..).zip(["aa", "ab", "b", "ca", "cb"]) {
        tree.insert(key, "value", at(seqno)).unwrap();
    }
    tree.merge("b", REFUSED, at(5)).unwrap();
    for _ in 0..2 {
        assert!(!empty(&tree));
        assert_eq!(tree.count().unwrap(), 5, "what does not fold is there");
        assert_eq!(tree.range("ab".."cb").count_keys().unwrap(), 3);
        assert_eq!(tree.range("x".."a").count_keys().unwrap(), 0);
        assert!(tree.contains_prefix("a").unwrap() && tree.contains_prefix("").unwrap());
        assert!(!tree.contains_prefix("d").unwrap() && !tree.contains_prefix("aaa").unwrap());
        let keys: Vec<Slice> = tree.range("a".."c").keys().map(Result::unwrap).collect();
        assert_eq!(keys, ["aa", "ab", "b"].map(Slice::from));
        let back: Vec<Slice> = tree.range("a".."c").keys().rev().map(Result::unwrap).collect();
        assert_eq!(back, ["b", "ab", "aa"].map(Slice::from));
        let pairs: Vec<_> = tree.range("a".."b").pairs().map(Result::unwrap).collect();
        assert_eq!(pairs, ["aa", "ab"].map(|key| (key.into(), "value".into())));
        flush(&tree);
    }
    tree.remove_range("a".."ac", at(6)).unwrap();
    assert!(!tree.contains_prefix("a").unwrap() && tree.contains_prefix("c").unwrap());
    for (seqno, key) in (7..).zip(["b", "ca", "cb"]) {
        tree.remove(key, at(seqno)).unwrap();
    }
    assert!(empty(&tree) && tree.count().unwrap() == 0);
}

/// An entry gives its value when asked, and only if that is wanted.
#[test]
fn an_entry_gives_its_value_when_asked() {
    let tree = letters("ab");
    let entry = |key: &str| -> Entry { tree.range(key..).next().unwrap().unwrap() };
    assert_eq!(entry("a").size().unwrap(), 2);
    assert_eq!(entry("a").into_pair_if(|key| key == b"a").unwrap(), ("a".into(), Some("a!".into())));
    assert_eq!(entry("b").into_pair_if(|key| key == b"a").unwrap(), ("b".into(), None));
}

/// Proves E-90 in part: a cursor reads nothing before its first jump, also where there are range tombstones and filters
/// over prefixes; and E-89: a jump that is clamped away reads nothing. Proves E-84, E-85: who asks whether there is a key
/// reads less than who counts them.
#[test]
fn nothing_is_read_before_the_first_jump() {
    let control = Arc::new(Control::default());
    let memory: Arc<dyn Fs> = Arc::new(MemFs::new());
    let fs = Arc::new(WrapFs { inner: memory, control: control.clone() });
    let options = || {
        TreeOptions::new("/db")
            .store(|store| store.fs(fs.clone()))
            .tables(small_tables())
            .prefix_extractor(Arc::new(FixedPrefix::new(1)))
    };
    let tree = Tree::open(options()).unwrap();
    for number in 0..250_u8 {
        tree.insert([b'k', number], "value", at(number.into())).unwrap();
    }
    tree.remove_range([b'k', 7]..[b'k', 9], at(250)).unwrap();
    flush(&tree);
    drop(tree);
    let tree = Tree::open(options()).unwrap();
    let before = control.reads();
    let mut cursor = tree.cursor([b'k', 5]..[b'k', 20]).unwrap();
    assert_eq!(cursor.key(), None);
    assert!(!cursor.move_next().unwrap() && cursor.peek_next().unwrap().is_none());
    assert_eq!(control.reads(), before, "before the first jump");
    assert!(cursor.seek([b'k', 7]).unwrap());
    assert_eq!(cursor.key(), Some(&[b'k', 9][..]));
    let after = control.reads();
    assert!(before < after);
    assert!(!cursor.seek([b'k', 90]).unwrap() && !cursor.seek_for_prev([b'k', 0]).unwrap());
    assert_eq!(control.reads(), after, "outside the bounds");
    assert!(!tree.is_empty().unwrap() && tree.contains_prefix("k").unwrap());
    let asked = control.reads();
    assert_eq!(tree.count().unwrap(), 248);
    assert!(asked - after + 5 < control.reads() - asked, "{} reads to look for a key", asked - after);
}

/// Proves E-87: every version and every tombstone counts, wherever it lies, as one view has them.
#[test]
fn an_approximate_length_counts_all_versions() {
    let tree = tree(Arc::new(Bytewise));
    let mut expected = 0;
    for place in 0..3_u64 {
        for number in 0..40_u8 {
            tree.insert([number], "value", at(100 * place + u64::from(number))).unwrap();
        }
        tree.remove([3], at(100 * place + 50)).unwrap();
        expected += 41;
        if place == 0 {
            flush(&tree);
        } else if place == 1 {
            tree.seal(None);
        }
    }
    let view = tree.view();
    assert_eq!(view.approximate_len(), expected);
    tree.insert("more", "value", at(1_000)).unwrap();
    flush(&tree);
    assert_eq!(tree.view().approximate_len(), expected + 1);
}
