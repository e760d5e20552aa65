//! The merge against a sorted vector.

use crate::support::{Memory, Row, at, compare, orders, rows};
use lsm_iter::Merge;
use lsm_types::{Cut, EntryCursor, KeyOrder, SeqNo};
use proptest::prelude::*;

/// Every entry once, the first source's copy.
fn union(order: &KeyOrder, sources: &[Vec<Row>]) -> Vec<Row> {
    let mut all: Vec<Row> = sources.concat();
    all.sort_by(|a, b| compare(order, a, b)); // stable: precedence stays
    all.dedup_by(|later, earlier| compare(order, later, earlier).is_eq());
    all
}

fn merge(order: &KeyOrder, sources: &[Vec<Row>], lazy: u32) -> Merge<Memory> {
    let cursor = |(at, rows): (usize, &Vec<Row>)| Memory::new(order, rows.clone()).lazy(lazy >> at & 1 == 1);
    Merge::new(order.clone(), sources.iter().enumerate().map(cursor))
}

fn under(cursor: &impl EntryCursor) -> Option<Row> {
    cursor.entry().map(Row::from)
}

#[derive(Clone, Debug)]
enum Move {
    First,
    Last,
    Seek(Vec<u8>, SeqNo),
    SeekBack(Vec<u8>, SeqNo),
    Next,
    Prev,
    Skip(Vec<u8>, SeqNo),
    SkipBack(Vec<u8>, SeqNo),
}

/// Where the move leads among `all`, from `from`.
fn lead(order: &KeyOrder, all: &[Row], from: Option<usize>, step: &Move) -> Option<usize> {
    let point = |key: &[u8], before: SeqNo| {
        let left = |row: &Row| order.compare(&row.key, key).then(before.cmp(&row.seqno)).is_le();
        all.iter().filter(|row| left(row)).count()
    };
    let to = match step {
        Move::First => Some(0),
        Move::Last => all.len().checked_sub(1),
        Move::Seek(key, before) => Some(point(key, *before)),
        Move::SeekBack(key, before) => point(key, *before).checked_sub(1),
        Move::Next => from.map(|from| from + 1),
        Move::Prev => from.and_then(|from| from.checked_sub(1)),
        Move::Skip(key, than) => from.map(|from| {
            let passed = |row: &&Row| row.seqno < *than && order.compare(&row.key, key).is_lt();
            from + all[from..].iter().take_while(passed).count()
        }),
        Move::SkipBack(key, than) => from.and_then(|from| {
            let passed = |row: &&Row| row.seqno < *than && order.compare(&row.key, key).is_ge();
            from.checked_sub(all[..=from].iter().rev().take_while(passed).count())
        }),
    };
    to.filter(|&to| to < all.len())
}

fn go(cursor: &mut impl EntryCursor, step: &Move) -> lsm_types::Result<()> {
    match step {
        Move::First => cursor.seek_first(),
        Move::Last => cursor.seek_last(),
        Move::Seek(key, before) => cursor.seek(key, *before),
        Move::SeekBack(key, before) => cursor.seek_back(key, *before),
        Move::Next => cursor.next(),
        Move::Prev => cursor.prev(),
        Move::Skip(key, than) => cursor.skip(&Cut::Before(key.as_slice().into()), *than).map(drop),
        Move::SkipBack(key, than) => cursor.skip_back(&Cut::Before(key.as_slice().into()), *than).map(drop),
    }
}

/// The moves, each jump after a step in its direction, as a merge jumps only the way it goes, and before one back, as
/// sources may jump further than the merge as a whole.
fn with_heading(moves: Vec<Move>) -> Vec<Move> {
    let turned = |step: Move| match step {
        Move::Skip(..) => vec![Move::Next, step, Move::Prev],
        Move::SkipBack(..) => vec![Move::Prev, step, Move::Next],
        _ => vec![step],
    };
    moves.into_iter().flat_map(turned).collect()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', b'b', 0xFF]), 0..4)
        .prop_map(|tail| [b"shared!".as_slice(), &tail].concat())
}

fn number() -> impl Strategy<Value = SeqNo> {
    prop_oneof![4 => (0_u64..6).prop_map(at), 1 => Just(SeqNo::LATEST)]
}

/// Up to nine sources whose rows tell where they come from.
fn sources() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let source = prop::collection::btree_set((key(), 0_u64..6), 0..14);
    prop::collection::vec(source, 0..10).prop_map(|sources| {
        let row = |source: usize, (key, seqno): (Vec<u8>, u64)| Row {
            key,
            seqno: at(seqno),
            kind: lsm_types::Kind::Put,
            value: vec![u8::try_from(source).expect("few sources")],
        };
        let rows = |(source, set): (usize, std::collections::BTreeSet<_>)| {
            set.into_iter().map(|pair| row(source, pair)).collect()
        };
        sources.into_iter().enumerate().map(rows).collect()
    })
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        1 => (key(), number()).prop_map(|(key, before)| Move::Seek(key, before)),
        1 => (key(), number()).prop_map(|(key, before)| Move::SeekBack(key, before)),
        8 => Just(Move::Next),
        8 => Just(Move::Prev),
        1 => (key(), number()).prop_map(|(key, than)| Move::Skip(key, than)),
        1 => (key(), number()).prop_map(|(key, than)| Move::SkipBack(key, than)),
    ];
    prop::collection::vec(step, 1..60).prop_map(with_heading)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Proves C-66, C-67, C-74, E-20: from end to end, both ways, the merge is the sorted union with the
    /// earliest source's copy of each entry, whatever the number of sources, their laziness and the comparator.
    #[test]
    fn both_ways_it_is_the_sorted_union(sources in sources(), lazy in any::<u32>(), order in 0_usize..5) {
        let order = &orders()[order];
        let mut expected = union(order, &sources);
        let mut merge = merge(order, &sources, lazy);
        prop_assert_eq!(under(&merge), None);
        let mut found = Vec::new();
        merge.seek_first().unwrap();
        while let Some(row) = under(&merge) {
            prop_assert_eq!(&merge.value()[..], &row.value[..]);
            found.push(row);
            merge.next().unwrap();
        }
        prop_assert_eq!(&found, &expected);
        found.clear();
        merge.seek_last().unwrap();
        while let Some(row) = under(&merge) {
            found.push(row);
            merge.prev().unwrap();
        }
        expected.reverse();
        prop_assert_eq!(&found, &expected);
    }

    /// Proves C-67: seeks, steps and jumps over deleted stretches in any pattern, turning around anywhere.
    #[test]
    fn any_walk_follows_the_sorted_union(
        sources in sources(), lazy in any::<u32>(), order in 0_usize..5, moves in moves(),
    ) {
        let order = &orders()[order];
        let all = union(order, &sources);
        let mut merge = merge(order, &sources, lazy);
        let mut place = None;
        for step in &moves {
            go(&mut merge, step).unwrap();
            place = lead(order, &all, place, step);
            prop_assert_eq!(under(&merge), place.map(|at| all[at].clone()), "after {:?}", step);
        }
    }

    /// Proves C-66: an error of a source surfaces once, leaves no entry to stand on, and is over with the next seek.
    #[test]
    fn an_error_surfaces_once(
        sources in sources(), lazy in any::<u32>(), broken in 0_usize..9, fails_in in 0_u32..12, moves in moves(),
    ) {
        if sources.is_empty() {
            return Ok(());
        }
        let broken = broken % sources.len();
        let order = KeyOrder::bytewise();
        let all = union(&order, &sources);
        let cursors: Vec<_> = (0..).zip(&sources)
            .map(|(at, rows)| Memory::new(&order, rows.clone()).lazy(lazy >> at & 1 == 1))
            .collect();
        let meter = cursors[broken].meter.clone();
        meter.fails_in.set(Some(fails_in));
        let mut merge = Merge::new(order.clone(), cursors);
        let mut place = None;
        for step in &moves {
            let armed = meter.fails_in.get().is_some();
            let result = go(&mut merge, step);
            prop_assert_eq!(result.is_err(), armed && meter.fails_in.get().is_none());
            place = if result.is_ok() { lead(&order, &all, place, step) } else { None };
            prop_assert_eq!(under(&merge), place.map(|at| all[at].clone()), "after {:?}", step);
        }
    }
}

/// Proves C-74, E-20: the newest container's copy counts in both directions, also when its source moved on by a
/// single comparison before.
#[test]
fn of_copies_the_first_source_counts() {
    let order = KeyOrder::bytewise();
    let mut sources =
        [rows("a:put@9 a:put@8 a:put@7 b:put@1 d:put@1"), rows("b:put@1 c:op@1"), rows("b:del@1")];
    for (value, source) in (b'0'..).zip(&mut sources) {
        for row in source {
            row.value = vec![value];
        }
    }
    let mut merge = merge(&order, &sources, 0);
    merge.seek_first().unwrap();
    let mut seen = Vec::new();
    while let Some(row) = under(&merge) {
        seen.push(format!("{row:?}"));
        merge.next().unwrap();
    }
    assert_eq!(seen.join(" "), "a:put@9=0 a:put@8=0 a:put@7=0 b:put@1=0 c:op@1=1 d:put@1=0");
    merge.seek_back(b"c", at(1)).unwrap();
    merge.prev().unwrap();
    assert_eq!(format!("{:?}", under(&merge).unwrap()), "b:put@1=0");
}

/// A source whose bound never comes first is never read.
#[test]
fn lazy_sources_are_read_when_they_win() {
    let order = KeyOrder::bytewise();
    let near = Memory::new(&order, rows("a:put@1 b:put@1"));
    let far = Memory::new(&order, rows("k:put@1 l:put@1")).lazy(true);
    let meter = far.meter.clone();
    let mut merge = Merge::new(order, [near, far]);
    merge.seek_first().unwrap();
    merge.next().unwrap();
    assert_eq!((under(&merge).unwrap().key, meter.settled.get()), (b"b".to_vec(), 0));
    merge.next().unwrap();
    assert_eq!((under(&merge).unwrap().key, meter.settled.get()), (b"k".to_vec(), 1));
}
