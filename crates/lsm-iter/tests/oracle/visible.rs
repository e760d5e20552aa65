//! What a read sees, against `resolve` over all keys.

use std::ops::Bound;

use lsm_iter::{Candidate, ChainResolver, Merge, NoCoverage, PointResolver, Resolved, Visible};
use lsm_types::{EntryRef, ErrorKind, KeyOrder, Kind, MergeOperator, SeqNo, Slice};
use proptest::prelude::*;

use crate::{
    history::{Deletes, deletes, in_order, key, keys, resolve},
    support::{Join, Memory, Row, at, operators, orders, rows},
};

const NUMBERS: u64 = 40;

fn kind() -> impl Strategy<Value = Kind> {
    let all = vec![
        Kind::Put,
        Kind::Put,
        Kind::Tombstone,
        Kind::WeakTombstone,
        Kind::MergeOperand,
        Kind::Indirection,
    ];
    prop::sample::select(all)
}

/// Versions of a few keys, long chains among them, over up to five containers.
fn containers() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let version = (key(), 0..NUMBERS, kind(), 0_usize..5, any::<bool>());
    prop::collection::vec(version, 0..90).prop_map(|versions| {
        let mut containers = vec![Vec::new(); 5];
        let mut taken = std::collections::BTreeSet::new();
        for (key, seqno, kind, container, long) in versions {
            if taken.insert((key.clone(), seqno)) {
                let text = format!("{seqno}{}", "x".repeat(600 * usize::from(long)));
                let value = if kind.is_tombstone() { Vec::new() } else { text.into_bytes() };
                containers[container].push(Row { key, seqno: at(seqno), kind, value });
            }
        }
        containers
    })
}

fn bound() -> impl Strategy<Value = Bound<Slice>> {
    let any_key = prop_oneof![key(), Just(b"bb".to_vec())].prop_map(Slice::from);
    prop_oneof![
        Just(Bound::Unbounded),
        any_key.clone().prop_map(Bound::Included),
        any_key.prop_map(Bound::Excluded),
    ]
}

#[derive(Clone, Debug)]
enum Move {
    First,
    Last,
    Seek(Vec<u8>),
    SeekForPrev(Vec<u8>),
    Next,
    Prev,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let target = || prop_oneof![3 => key(), 1 => Just(b"bb".to_vec()), 1 => Just(Vec::new())];
    let step = prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        1 => target().prop_map(Move::Seek),
        1 => target().prop_map(Move::SeekForPrev),
        5 => Just(Move::Next),
        5 => Just(Move::Prev),
    ];
    prop::collection::vec(step, 1..40)
}

type Answer = (Vec<u8>, Kind, Vec<u8>);
/// A key with what a scan finds there, or that its operands do not fold.
type Found = Result<Answer, Vec<u8>>;

/// What the scan has to return, by definition.
fn expected(
    order: &KeyOrder,
    rows: &[Row],
    deletes: &Deletes,
    operator: Option<&dyn MergeOperator>,
    read: SeqNo,
    bounds: &(Bound<Slice>, Bound<Slice>),
) -> Vec<Found> {
    let inside = |key: &[u8]| {
        let above = match &bounds.0 {
            Bound::Included(lower) => order.compare(lower, key).is_le(),
            Bound::Excluded(lower) => order.compare(lower, key).is_lt(),
            Bound::Unbounded => true,
        };
        above
            && match &bounds.1 {
                Bound::Included(upper) => order.compare(key, upper).is_le(),
                Bound::Excluded(upper) => order.compare(key, upper).is_lt(),
                Bound::Unbounded => true,
            }
    };
    let mut keys = keys();
    keys.sort_by(|a, b| order.compare(a, b));
    keys.retain(|key| inside(key));
    let found = |key: Vec<u8>| match resolve(rows, deletes, operator, &key, read) {
        Ok(answer) => answer.map(|(kind, value)| Ok((key, kind, value))),
        Err(()) => Some(Err(key)),
    };
    keys.into_iter().filter_map(found).collect()
}

fn key_of(found: &Found) -> &[u8] {
    match found {
        Ok((key, ..)) | Err(key) => key,
    }
}

fn merged(order: &KeyOrder, containers: &[Vec<Row>]) -> Merge<Memory> {
    Merge::new(
        order.clone(),
        containers
            .iter()
            .map(|rows| Memory::new(order, rows.clone()).lazy(rows.len() % 2 == 0).jumps(rows.len() % 3 > 0)),
    )
}

fn answer(entry: EntryRef<'_>) -> Answer {
    (entry.key.into(), entry.kind, entry.value.into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Proves E-18, E-43, E-46, E-49, E-50, E-75, E-77, E-78, E-88, E-89, E-92: seeks and steps in any
    /// pattern, at any read bound, within any bounds, with and without an operator, give what `resolve` gives for each
    /// key, each key once; a key whose operands do not fold gives an error once, and the walk goes on from it in
    /// either direction. Fault: engine W-3.
    #[test]
    fn any_walk_sees_what_resolve_gives(
        containers in containers(), ranges in deletes(NUMBERS, 2), read in 0..=NUMBERS + 1,
        bounds in (bound(), bound()), order in 0_usize..5, operator in 0_usize..3, moves in moves(),
    ) {
        let order = &orders()[order];
        let operator = operators()[operator].clone();
        let deletes = in_order(order, &ranges);
        let read = if read > NUMBERS { SeqNo::LATEST } else { at(read) };
        let all = expected(order, &containers.concat(), &deletes, operator.as_deref(), read, &bounds);
        let mut visible = Visible::with_coverage(
            merged(order, &containers), order.clone(), read, bounds, deletes,
        ).folding(operator);
        let mut place: Option<usize> = None;
        for step in &moves {
            let to = |key: &[u8]| all.iter().filter(|found| order.compare(key_of(found), key).is_lt()).count();
            let past = |key: &[u8]| all.iter().filter(|found| order.compare(key_of(found), key).is_le()).count();
            let moved = match step {
                Move::First => visible.seek_first(),
                Move::Last => visible.seek_last(),
                Move::Seek(key) => visible.seek(key),
                Move::SeekForPrev(key) => visible.seek_for_prev(key),
                Move::Next => visible.move_next(),
                Move::Prev => visible.move_prev(),
            };
            let stood = place;
            place = match step {
                Move::First => Some(0),
                Move::Last => all.len().checked_sub(1),
                Move::Seek(key) => Some(to(key)),
                Move::SeekForPrev(key) => past(key).checked_sub(1),
                Move::Next => place.map(|place| place + 1),
                Move::Prev => place.and_then(|place| place.checked_sub(1)),
            }.filter(|&place| place < all.len());
            let stays = stood.is_none() && matches!(step, Move::Next | Move::Prev);
            let found = place.filter(|_| !stays).map(|place| &all[place]);
            prop_assert_eq!(visible.key(), found.map(key_of), "after {:?}", step);
            match found {
                Some(Err(_)) => {
                    prop_assert!(moved.is_err_and(|error| error.kind() != ErrorKind::Io));
                    prop_assert_eq!(visible.entry(), None);
                }
                Some(Ok(expected)) => {
                    moved.unwrap();
                    prop_assert_eq!(visible.entry().map(answer), Some(expected.clone()), "after {:?}", step);
                    prop_assert_eq!(&visible.value()[..], &expected.2[..]);
                }
                None => {
                    moved.unwrap();
                    prop_assert_eq!(visible.entry(), None);
                }
            }
        }
    }

    /// Proves E-46, E-53, E-64: a point read over operands that stops as early as it may agrees with `resolve`, whatever
    /// order the numbers arrived in.
    #[test]
    fn chains_follow_numbers(
        containers in containers(), ranges in deletes(NUMBERS, 2), read in 0..=NUMBERS, key in key(),
    ) {
        let order = KeyOrder::bytewise();
        let deletes = in_order(&order, &ranges);
        let read = at(read);
        // The range tombstones lie in the second container.
        let max = |at: usize| {
            let rows = containers[at].iter().map(|row| row.seqno);
            let deletes = deletes.all.iter().filter(|_| at == 1).map(|delete| delete.seqno);
            rows.chain(deletes).max()
        };
        let mut resolver = ChainResolver::new(read);
        for (place, rows) in containers.iter().enumerate() {
            if (place..containers.len()).filter_map(max).max().is_none_or(|max| resolver.can_stop(max)) {
                break;
            }
            for delete in deletes.all.iter().filter(|delete| place == 1 && delete.covers(&key, &order)) {
                resolver.cover(delete.seqno);
            }
            let mut rows: Vec<&Row> = rows.iter().filter(|row| row.key == key).collect();
            rows.sort_by_key(|row| std::cmp::Reverse(row.seqno));
            for row in rows {
                let candidate = Candidate { seqno: row.seqno, kind: row.kind, value: row.value.clone() };
                if !resolver.offer(candidate) {
                    break;
                }
            }
        }
        let operator = Join::new(false).refusing(b"13");
        let found = resolver.finish(&key, &operator, None).map_err(drop).map(|found| found.map(|found| match found {
            Resolved::Plain(found) => (found.kind, found.value),
            Resolved::Folded { value, .. } => (Kind::Put, value.to_vec()),
        }));
        prop_assert_eq!(found, resolve(&containers.concat(), &deletes, Some(&operator), &key, read));
    }

    /// Proves E-18, E-65, E-66: a point read that stops as early as it may agrees with `resolve`, whatever order the
    /// numbers arrived in. Fault: engine W-9.
    #[test]
    fn point_reads_follow_numbers(
        containers in containers(), ranges in deletes(NUMBERS, 2), read in 0..=NUMBERS, key in key(),
    ) {
        let order = KeyOrder::bytewise();
        let deletes = in_order(&order, &ranges);
        let read = at(read);
        // The range tombstones lie in the second container.
        let max = |at: usize| {
            let rows = containers[at].iter().map(|row| row.seqno);
            let deletes = deletes.all.iter().filter(|_| at == 1).map(|delete| delete.seqno);
            rows.chain(deletes).max()
        };
        let mut resolver = PointResolver::new(read);
        for (place, rows) in containers.iter().enumerate() {
            if (place..containers.len()).filter_map(max).max().is_none_or(|max| resolver.can_stop(max)) {
                break;
            }
            for delete in deletes.all.iter().filter(|delete| place == 1 && delete.covers(&key, &order)) {
                resolver.cover(delete.seqno);
            }
            for row in rows.iter().filter(|row| row.key == key) {
                resolver.offer(Candidate { seqno: row.seqno, kind: row.kind, value: row.value.clone() });
            }
        }
        let found = resolver.finish().map(|found| (found.kind, found.value));
        prop_assert_eq!(Ok(found), resolve(&containers.concat(), &deletes, None, &key, read));
    }

    /// Proves E-78: two cursors, one from each end, taking turns in any pattern, meet having given each key once.
    #[test]
    fn two_ends_meet(containers in containers(), read in 0..=NUMBERS, turns in prop::collection::vec(any::<bool>(), 8)) {
        let order = KeyOrder::bytewise();
        let read = at(read);
        let bounds = || (Bound::Unbounded, Bound::Unbounded);
        let open = || Visible::new(merged(&order, &containers), order.clone(), read, bounds());
        let (mut front, mut back) = (open(), open());
        front.seek_first().unwrap();
        back.seek_last().unwrap();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for turn in turns {
            let (Some(low), Some(high)) = (front.entry(), back.entry()) else { break };
            if order.compare(low.key, high.key).is_gt() {
                break;
            }
            if turn {
                left.push(answer(low));
                front.move_next().unwrap();
            } else {
                right.push(answer(high));
                back.move_prev().unwrap();
            }
        }
        left.extend(right.into_iter().rev());
        let none = in_order(&order, &[]);
        let left: Vec<Found> = left.into_iter().map(Ok).collect();
        prop_assert_eq!(left, expected(&order, &containers.concat(), &none, None, read, &bounds()));
    }
}

/// `count` versions of `b` between one of `a` and one of `c`.
fn chain(count: u64) -> Memory {
    let mut rows = rows("a:put@1 c:put@1");
    rows.extend((0..count).map(|number| Row {
        key: b"b".to_vec(),
        seqno: at(number),
        kind: Kind::Put,
        value: number.to_be_bytes().to_vec(),
    }));
    Memory::new(&KeyOrder::bytewise(), rows)
}

/// Proves E-94: passing and finding a key with 10^5 versions takes a bounded number of steps, both ways, whichever
/// version is seen.
#[test]
fn long_chains_are_jumped() {
    let count = 100_000;
    for read in [1, 5, count / 2, count - 2, count, count + 7] {
        let cursor = chain(count);
        let meter = cursor.meter.clone();
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        let mut visible = Visible::new(cursor, KeyOrder::bytewise(), at(read), bounds);
        let seen = |visible: &Visible<Memory, NoCoverage>| {
            visible.entry().map(|entry| (entry.key.to_vec(), entry.seqno.get()))
        };
        let version = (read - 1).min(count - 1);
        let mut expected = vec![(b"b".to_vec(), version)];
        if read > 1 {
            expected = vec![(b"a".to_vec(), 1), (b"b".to_vec(), version), (b"c".to_vec(), 1)];
        }
        visible.seek_first().unwrap();
        let mut found = Vec::new();
        while let Some(entry) = seen(&visible) {
            found.push(entry);
            visible.move_next().unwrap();
        }
        assert_eq!(found, expected);
        visible.seek_last().unwrap();
        while let Some(entry) = seen(&visible) {
            found.push(entry);
            visible.move_prev().unwrap();
        }
        expected.extend(expected.clone().into_iter().rev());
        assert_eq!(found, expected);
        assert!(
            meter.steps.get() < 80 && meter.seeks.get() < 12,
            "{} {}",
            meter.steps.get(),
            meter.seeks.get()
        );
    }
}

/// An error surfaces once and the view stands on nothing until the next seek.
#[test]
fn errors_surface_once() {
    for fails_in in 0..5 {
        let cursor = Memory::new(&KeyOrder::bytewise(), rows("a:put@1 a:put@0 b:del@1 c:put@1"));
        let meter = cursor.meter.clone();
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        let mut visible = Visible::new(cursor, KeyOrder::bytewise(), SeqNo::LATEST, bounds);
        meter.fails_in.set(Some(fails_in));
        let mut errors = 0;
        let mut result = if fails_in % 2 == 0 { visible.seek_first() } else { visible.seek_last() };
        for _ in 0..6 {
            if result.is_err() {
                errors += 1;
                assert_eq!(visible.entry(), None);
            }
            result = if fails_in % 2 == 0 { visible.move_next() } else { visible.move_prev() };
        }
        assert_eq!((errors, visible.entry()), (1, None), "failing call {fails_in}");
        visible.seek_first().unwrap();
        assert_eq!(visible.entry().map(|entry| entry.key), Some(b"a".as_slice()));
    }
}

/// Proves E-51: without an operator the newest operand's bytes are the value, in every direction and for points, and a
/// tombstone above hides it.
#[test]
fn the_newest_operand_stands_for_the_value() {
    let cursor = Memory::new(&KeyOrder::bytewise(), rows("a:put@1 a:op@2 a:op@3 b:op@1 b:del@2"));
    let bounds = (Bound::Unbounded, Bound::Unbounded);
    let mut visible = Visible::new(cursor, KeyOrder::bytewise(), SeqNo::LATEST, bounds);
    visible.seek_first().unwrap();
    assert_eq!(visible.entry().map(answer), Some((b"a".to_vec(), Kind::MergeOperand, b"3".to_vec())));
    visible.seek_last().unwrap();
    assert_eq!(visible.entry().map(answer), Some((b"a".to_vec(), Kind::MergeOperand, b"3".to_vec())));
    let mut read = PointResolver::new(at(3));
    for row in rows("a:op@3 a:op@2 a:put@1") {
        read.offer(Candidate { seqno: row.seqno, kind: row.kind, value: row.value });
    }
    assert_eq!(read.finish().map(|found| found.value), Some(b"2".to_vec()));
}

/// Proves E-46, E-47: from either end a chain ends at each of its boundaries, whether or not the walk can jump over what
/// lies below.
#[test]
fn walks_end_chains_at_their_boundary() {
    let cases = [
        ("a:put@1 a:op@3 a:op@4", "1+3+4"),
        ("a:put@1 a:del@2 a:op@3", "3"),
        ("a:put@1 a:weak@2 a:op@3", "3"),
        ("a:op@3 a:op@4", "3+4"),
        ("k:put@1 k:op@2 k:op@5 k:op@6", "5+6"),
        ("k:put@1 k:op@6", "6"),
        ("k:put@5 k:op@6", "5+6"),
        ("k:op@1 k:op@2 k:op@3 k:op@4 k:op@5 k:op@6 k:op@7 k:op@8 k:op@9 k:op@10", "5+6+7+8+9+10"),
    ];
    let order = KeyOrder::bytewise();
    for ((input, expected), jumps) in cases.into_iter().flat_map(|case| [(case, false), (case, true)]) {
        let deletes = in_order(&order, &[(b"k".to_vec(), b"l".to_vec(), 5)]);
        let cursor = Memory::new(&order, rows(input)).jumps(jumps);
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        let visible = Visible::with_coverage(cursor, order.clone(), SeqNo::LATEST, bounds, deletes);
        let mut visible = visible.folding(operators()[2].clone());
        let value = |visible: &Visible<Memory, Deletes>| {
            visible.entry().map(|entry| String::from_utf8_lossy(entry.value).into_owned())
        };
        visible.seek_first().unwrap();
        assert_eq!(value(&visible).as_deref(), Some(expected), "forward, {input}");
        visible.move_prev().unwrap();
        assert_eq!(value(&visible), None);
        visible.seek_last().unwrap();
        assert_eq!(value(&visible).as_deref(), Some(expected), "back, {input}");
        visible.move_next().unwrap();
        assert_eq!(value(&visible), None);
    }
}

/// What a chain of entries gives, offered container by container, and where the search may stop in between.
#[track_caller]
fn check_chain(containers: &[&str], delete: Option<u64>, expected: Option<&str>) {
    let mut read = ChainResolver::new(SeqNo::LATEST);
    if let Some(delete) = delete {
        read.cover(at(delete));
    }
    for container in containers {
        for row in rows(container) {
            if !read.offer(Candidate { seqno: row.seqno, kind: row.kind, value: row.value }) {
                break;
            }
        }
    }
    let found = read.finish(b"a", &Join::new(false), None).unwrap().map(|found| match found {
        Resolved::Plain(found) => found.value,
        Resolved::Folded { value, .. } => value.to_vec(),
    });
    assert_eq!(found.as_deref(), expected.map(str::as_bytes));
}

/// Proves E-20, E-46, E-53: copies count once, the newest container's; the chain ends at its boundary, and no container
/// is opened that is older.
#[test]
fn chains_end_at_their_boundary() {
    check_chain(&["a:op@5", "a:op@5 a:op@4 a:put@3"], None, Some("3+4+5"));
    check_chain(&["a:op@5", "a:put@5 a:put@4"], None, Some("4+5"));
    check_chain(&["a:put@5", "a:op@5 a:op@4"], None, Some("5"));
    check_chain(&["a:op@5 a:del@4", "a:put@3"], None, Some("5"));
    check_chain(&["a:op@5 a:weak@4", "a:put@3"], None, Some("5"));
    check_chain(&["a:op@5 a:put@2", "a:op@4 a:put@3"], None, Some("3+4+5"));
    check_chain(&["a:op@5 a:op@4", "a:put@3"], Some(4), Some("4+5"));
    check_chain(&["a:op@5 a:op@4", "a:put@3"], Some(6), None);
    check_chain(&["a:put@5", "a:op@4"], None, Some("5"));
    check_chain(&["a:del@5", "a:op@4"], None, None);

    let entry = |number: u64, kind| Candidate { seqno: at(number), kind, value: "" };
    let mut read = ChainResolver::new(SeqNo::LATEST);
    assert!(read.offer(entry(9, Kind::MergeOperand)) && !read.can_stop(at(1)), "the base may lie anywhere");
    assert!(!read.offer(entry(5, Kind::Put)));
    assert!(read.can_stop(at(5)) && !read.can_stop(at(6)), "an operand may lie above the base");
    read.cover(at(7));
    assert!(read.can_stop(at(6)) && !read.can_stop(at(7)), "at the number of the delete one survives");
}

/// Proves E-18 (the stop test), E-20 (ties between containers), E-32 (strictness): where numbers are equal.
#[test]
fn equal_numbers() {
    let put = |number: u64, value| Candidate { seqno: at(number), kind: Kind::Put, value };
    let mut read = PointResolver::new(SeqNo::LATEST);
    read.offer(put(5, "newer container"));
    read.offer(put(5, "older container"));
    assert!(read.can_stop(at(5)) && !read.can_stop(at(6)));
    read.cover(at(5));
    assert_eq!(read.finish().map(|found| found.value), Some("newer container"), "at the delete's own number");

    let mut read = PointResolver::new(SeqNo::LATEST);
    read.offer(put(4, "deleted"));
    read.cover(at(5));
    assert!(read.can_stop(at(4)));
    assert!(!read.can_stop(at(5)), "an entry at the delete's own number survives it");
    assert_eq!(read.finish(), None);

    let mut read = PointResolver::new(at(5));
    read.offer(put(5, "not seen yet"));
    read.cover(at(5));
    read.offer(put(4, "seen"));
    assert!(read.can_stop(SeqNo::LATEST), "nothing between this and the bound");
    assert_eq!(read.finish().map(|found| found.value), Some("seen"));
}

/// The scan keeps to its bounds while it looks: what lies beyond is neither stepped through nor read.
#[test]
fn bounds_stop_the_search() {
    let mut all = rows("a:put@1 b:put@1");
    all.extend((0..1000).map(|number| Row {
        key: format!("c{number}").into_bytes(),
        seqno: at(1),
        kind: Kind::Tombstone,
        value: Vec::new(),
    }));
    let cursor = Memory::new(&KeyOrder::bytewise(), all);
    let meter = cursor.meter.clone();
    let bounds = (Bound::Excluded("a".into()), Bound::Excluded("c".into()));
    let mut visible = Visible::new(cursor, KeyOrder::bytewise(), SeqNo::LATEST, bounds);
    visible.seek_first().unwrap();
    assert_eq!(visible.entry().map(|entry| entry.key), Some(b"b".as_slice()));
    visible.move_next().unwrap();
    assert_eq!(visible.entry(), None);
    visible.seek_for_prev(b"c5").unwrap();
    assert_eq!(visible.entry().map(|entry| entry.key), Some(b"b".as_slice()));
    assert!(meter.steps.get() < 5);
}
