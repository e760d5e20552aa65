//! Reads of many keys at once answer what reads of each answer, whoever fetches the blocks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::sync::Arc;

use common::{LengthFirst, Reverse, at, flush, small_tables};
use lsm_compaction_planner::MoveDown;
use lsm_engine::{BlockCache, CompactOptions, LevelFilter, MultiGet, Reader, Tree, TreeOptions, View};
use lsm_fs::MemFs;
use lsm_testkit::{
    comparators::Numeric,
    dice::Dice,
    operators::{Join, REFUSED},
    oracle::History,
};
use lsm_types::{
    Bytewise, Comparator, ErrorKind, KeyOrder, Kind, Level, MergeOperator, Result, SeqNo, Slice,
};

/// Reads what is wanted until nothing is.
fn drive(mut read: MultiGet) -> Vec<Result<Option<Slice>>> {
    while !read.wanted().is_empty() {
        let outcomes: Vec<_> = read.wanted().iter().map(lsm_engine::BlockRead::read).collect();
        read.supply(outcomes);
    }
    read.finish_each()
}

/// Keys of different lengths and common prefixes; from `PLAIN` on they are deleted weakly.
fn key(number: u64) -> Vec<u8> {
    match number % 3 {
        0 => format!("key-{number:02}").into_bytes(),
        1 => format!("k{number}").into_bytes(),
        _ => (number * 0x0101_0001).to_le_bytes().to_vec(),
    }
}

const PLAIN: u64 = 24;
const KEYS: u64 = 30;

/// A tree, its whole history, and views of it.
struct World {
    tree: Tree,
    order: KeyOrder,
    history: History,
    next: u64,
    views: Vec<View>,
    /// Which keys that are deleted weakly have a value.
    alive: Vec<bool>,
}

impl World {
    fn new(order: usize, operator: Option<Arc<dyn MergeOperator>>, cache: u64, filter: LevelFilter) -> Self {
        let comparator: Arc<dyn Comparator> = match order {
            0 => Arc::new(Bytewise),
            1 => Arc::new(Reverse),
            2 => Arc::new(LengthFirst),
            _ => Arc::new(Numeric),
        };
        let options = TreeOptions::new("/db")
            .store(|store| store.fs(Arc::new(MemFs::new())).cache(BlockCache::new(cache)))
            .comparator(comparator.clone())
            .tables(small_tables().filter(filter))
            .level_count(4)
            .table_target_bytes(900);
        let options = match &operator {
            Some(operator) => options.merge_operator(operator.clone()),
            None => options,
        };
        Self {
            tree: Tree::open(options).unwrap(),
            order: KeyOrder::new(comparator),
            history: History::new().folding(operator),
            next: 1,
            views: Vec::new(),
            alive: vec![false; usize::try_from(KEYS).unwrap()],
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        let seqno = at(self.next);
        self.next += 1;
        let plain = key(dice.below(PLAIN));
        let value = format!("{}-{}", self.next, "v".repeat(dice.index(70)));
        match dice.below(40) {
            0..=13 => {
                self.tree.insert(&plain, &value, seqno).unwrap();
                self.history.put(&plain, seqno, value.as_bytes());
            }
            14..=17 => {
                self.tree.remove(&plain, seqno).unwrap();
                self.history.delete(&plain, seqno);
            }
            18..=24 => {
                self.tree.merge(&plain, &value, seqno).unwrap();
                self.history.write(&plain, seqno, Kind::MergeOperand, value.as_bytes());
            }
            25..=28 => self.step_weakly(PLAIN + dice.below(KEYS - PLAIN), &value, seqno),
            29..=31 => {
                let mut ends = [plain, key(dice.below(PLAIN))];
                ends.sort_by(|a, b| self.order.compare(a, b));
                let [from, to] = ends;
                self.tree.remove_range(&from[..]..=&to[..], seqno).unwrap();
                let bounds = (std::ops::Bound::Included(&from[..]), std::ops::Bound::Included(&to[..]));
                self.history.delete_range(bounds, seqno, &self.order);
            }
            32 => drop(self.tree.seal(None)),
            33..=35 => flush(&self.tree),
            36 => {
                let from = Level::new(u8::try_from(dice.below(3)).unwrap());
                let to = Level::new(from.get() + 1);
                // Refused where what lies there overlaps.
                drop(self.tree.compact(&MoveDown { from, to }, &CompactOptions::default()));
            }
            37 => {
                self.tree.set_gc_watermark(at(self.next - dice.below(self.next.min(40))));
                self.tree.major_compact(&CompactOptions::default()).unwrap();
            }
            38 => self.views.push(self.tree.view()),
            _ => drop((self.views.len() > 2).then(|| self.views.remove(0))),
        }
    }

    fn step_weakly(&mut self, number: u64, value: &str, seqno: SeqNo) {
        let (key, alive) = (key(number), &mut self.alive[usize::try_from(number).unwrap()]);
        if *alive {
            self.tree.remove_weak(&key, seqno).unwrap();
            self.history.write(&key, seqno, Kind::WeakTombstone, b"");
        } else {
            self.tree.insert(&key, value, seqno).unwrap();
            self.history.put(&key, seqno, value.as_bytes());
        }
        *alive = !*alive;
    }

    /// Many keys at once, by all ways, for the tree and its views.
    fn check(&self, dice: &mut Dice, what: &str) {
        let mut keys: Vec<Vec<u8>> = (0..dice.below(40)).map(|_| key(dice.below(KEYS + 10))).collect();
        if dice.coin() {
            keys.push(Vec::new());
        }
        let now = self.tree.view();
        for view in self.views.iter().chain([&now]) {
            let single: Vec<_> = keys.iter().map(|key| view.get(key).unwrap()).collect();
            let history = keys.iter().map(|key| self.history.value(key, view.before()).unwrap());
            assert!(
                history.eq(single.iter().map(|value| value.as_ref().map(|value| value.to_vec()))),
                "{what}"
            );
            let driven: Vec<_> =
                drive(self.tree.start_multi_get(view, &keys)).into_iter().map(Result::unwrap).collect();
            assert_eq!(driven, single, "driven, {what}");
            assert_eq!(view.multi_get(&keys).unwrap(), single, "{what}");
        }
        let single: Vec<_> = keys.iter().map(|key| self.tree.get(key).unwrap()).collect();
        assert_eq!(self.tree.multi_get(&keys).unwrap(), single, "newest, {what}");
    }
}

/// Proves E-68, E-70: many keys at once are what each of them is alone, and what the history says, in the order they
/// were given, absent ones and repeated ones among them; for whoever fetches the blocks, with a cache that keeps
/// everything and with one that keeps nothing, over memtables, runs and levels, operands, deletes of ranges, weak
/// deletes and old views.
#[test]
fn many_are_as_each() {
    for seed in 0..48_u64 {
        let mut dice = Dice::new(seed);
        let operator = dice.coin().then(|| Arc::new(Join::new(dice.coin())) as Arc<dyn MergeOperator>);
        let cache = if dice.coin() { 0 } else { 1 << 20 };
        let filter = if dice.one_in(3) { LevelFilter::Off } else { LevelFilter::bits(4.0).unwrap() };
        let mut world = World::new(dice.index(4), operator, cache, filter);
        for step in 0..150 {
            world.step(&mut dice);
            if step % 5 == 0 {
                world.check(&mut dice, &format!("seed {seed}, step {step}"));
            }
        }
    }
}

/// Proves E-68: for no key, for one, and for the same one many times.
#[test]
fn few_keys() {
    let world = World::new(0, None, 0, LevelFilter::Off);
    world.tree.insert("a", "1", at(1)).unwrap();
    flush(&world.tree);
    assert_eq!(world.tree.multi_get::<&str>(&[]).unwrap(), []);
    let one = Some(Slice::from(&b"1"[..]));
    assert_eq!(world.tree.multi_get(&["a"]).unwrap(), std::slice::from_ref(&one));
    assert_eq!(world.tree.multi_get(&["b", "a"]).unwrap(), [None, one.clone()]);
    assert_eq!(world.tree.multi_get(&["a", "a", "a"]).unwrap(), [one.clone(), one.clone(), one]);
    assert_eq!(world.tree.view_at(at(0)).unwrap().multi_get(&["a"]).unwrap(), [None]);
}

/// Proves E-46 in part, E-68: an operator that fails fails the call, and no other key.
#[test]
fn an_operator_fails_its_own_key_alone() {
    let world = World::new(0, Some(Arc::new(Join::new(false))), 1 << 20, LevelFilter::Off);
    world.tree.insert("a", "1", at(1)).unwrap();
    world.tree.merge("b", REFUSED, at(2)).unwrap();
    world.tree.merge("c", "2", at(3)).unwrap();
    for _ in 0..2 {
        let error = world.tree.multi_get(&["c", "b", "a"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MergeFailed);
        let each = drive(world.tree.start_multi_get(&world.tree.view(), &["c", "b", "a"]));
        assert_eq!(each[0].as_ref().unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(each[1].as_ref().unwrap_err().kind(), ErrorKind::MergeFailed);
        assert_eq!(each[2].as_ref().unwrap().as_deref(), Some(&b"1"[..]));
        flush(&world.tree);
    }
}

/// Proves E-46 in part: a chain of operands longer than blocks, memtables and runs is folded whole.
#[test]
fn long_chains() {
    let world = World::new(0, Some(Arc::new(Join::new(false))), 0, LevelFilter::bits(8.0).unwrap());
    world.tree.insert("k", "0", at(1)).unwrap();
    let mut expected = String::from("0");
    for number in 2..120_u64 {
        let operand = format!("{number}-{}", "x".repeat(40));
        world.tree.merge("k", &operand, at(number)).unwrap();
        expected = format!("{expected}+{operand}");
        if number % 50 == 0 {
            flush(&world.tree);
        }
    }
    let found = world.tree.multi_get(&["j", "k", "l", "k"]).unwrap();
    assert_eq!(found[1].as_deref(), Some(expected.as_bytes()));
    assert_eq!(found[3], found[1]);
    assert_eq!((&found[0], &found[2]), (&None, &None));
}
