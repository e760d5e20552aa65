//! Every strategy on real trees: what is read before, during and after is what was written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{at, contents, flush, small_tables};
use lsm_compaction_planner::{
    CompactionStrategy, DropRange, Fallback, Fifo, Heal, LazyLeveling, Level, Leveled, Obstacle, Overdue,
    Plan, PlanView, PriorityList, PullDown, Reason, SizeTiered,
};
use lsm_engine::{CompactOptions, Outcome, Reader, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_testkit::{comparators::Reverse, dice::Dice, oracle::History};
use lsm_types::{Bytewise, Clock, Comparator, ErrorKind, KeyOrder, TableId, UnixNanos};

const TARGET: u64 = 1_000;

/// A clock that stands until it is moved.
#[derive(Default)]
struct Hands(AtomicU64);

impl Hands {
    fn advance(&self, secs: u64) {
        self.0.fetch_add(secs * 1_000_000_000, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> UnixNanos {
        UnixNanos::new(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn options(memory: &Arc<MemFs>, clock: &Arc<Hands>) -> TreeOptions {
    TreeOptions::new("/db")
        .store(|store| store.fs(memory.clone()).clock(clock.clone()))
        .tables(small_tables())
        .table_target_bytes(TARGET)
}

fn open() -> (Tree, Arc<Hands>) {
    let clock = Arc::new(Hands::default());
    (Tree::open(options(&Arc::new(MemFs::new()), &clock)).unwrap(), clock)
}

/// Bytes that do not compress.
fn noise(dice: &mut Dice) -> Vec<u8> {
    (0..20).map(|_| dice.roll() as u8).collect()
}

fn compact(tree: &Tree, strategy: &dyn CompactionStrategy) -> Outcome {
    tree.compact(strategy, &CompactOptions::default()).unwrap().outcome
}

/// Until the strategy is idle; gives the number of jobs.
fn settle(tree: &Tree, strategy: &dyn CompactionStrategy) -> usize {
    (0..500).find(|_| compact(tree, strategy) == Outcome::Idle).expect("it comes to rest")
}

fn ids(tree: &Tree) -> Vec<TableId> {
    let ids = std::sync::Mutex::new(Vec::new());
    let all = Look(|view: &PlanView<'_>| {
        ids.lock().unwrap().extend(view.levels.tables().map(|(_, table)| table.id));
    });
    assert_eq!(compact(tree, &all), Outcome::Idle);
    ids.into_inner().unwrap()
}

/// A strategy that only looks.
struct Look<F>(F);

impl<F: Fn(&PlanView<'_>) + Send + Sync> CompactionStrategy for Look<F> {
    fn name(&self) -> &'static str {
        "Look"
    }

    fn settings(&self) -> lsm_compaction_planner::Settings {
        lsm_compaction_planner::Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        (self.0)(view);
        Plan::Idle
    }
}

/// Strategies that keep the content.
fn strategies() -> Vec<Box<dyn CompactionStrategy>> {
    let leveled = |l0_threshold| Leveled { l0_threshold, table_target_bytes: TARGET, ..Leveled::default() };
    let tiered =
        |min_merge_width| SizeTiered { min_merge_width, table_target_bytes: TARGET, ..SizeTiered::default() };
    let overdue = Overdue {
        delete_deadline_secs: Some(60),
        delete_percent: Some(20),
        age_secs: Some(100_000),
        table_target_bytes: TARGET,
    };
    vec![
        Box::new(leveled(1)),
        Box::new(Leveled { multi_level: true, level_ratios: vec![2.0], ..leveled(2) }),
        Box::new(tiered(2)),
        Box::new(tiered(4)),
        Box::new(LazyLeveling { merge_width: 2, last_ratio: 3, table_target_bytes: TARGET }),
        Box::new(Fallback(leveled(3), overdue)),
        Box::new(PriorityList(vec![Box::new(DropRange::default()), Box::new(tiered(3))])),
        Box::new(PullDown { from: Level::new(0), to: Level::new(2) }),
        Box::new(PullDown { from: Level::new(2), to: Level::new(4) }),
    ]
}

/// Random writes and deletes of keys and ranges, flushes, and any strategy at any moment: reads at the newest number,
/// at held ones and at any above the watermark see what the oracle sees; also after the tree was opened again.
#[track_caller]
fn check_history(seed: u64, comparator: &Arc<dyn Comparator>, steps: u64) {
    let (memory, clock) = (Arc::new(MemFs::new()), Arc::new(Hands::default()));
    let open = || Tree::open(options(&memory, &clock).comparator(comparator.clone())).unwrap();
    let order = KeyOrder::new(comparator.clone());
    let (mut tree, mut history, mut dice) = (open(), History::new(), Dice::new(seed));
    let all = strategies();
    let (mut number, mut watermark) = (1, 0);
    let mut held = Vec::new();
    for step in 0..steps {
        for _ in 0..dice.below(12) {
            let key = |dice: &mut Dice| format!("k{:02}", dice.below(60));
            let name = key(&mut dice);
            match dice.below(12) {
                0..=7 => {
                    let value = noise(&mut dice);
                    tree.insert(&name, &value, at(number)).unwrap();
                    history.put(name.as_bytes(), at(number), &value);
                }
                8..=10 => {
                    tree.remove(&name, at(number)).unwrap();
                    history.delete(name.as_bytes(), at(number));
                }
                _ => {
                    let other = key(&mut dice);
                    let (lower, upper) = if order.compare(name.as_bytes(), other.as_bytes()).is_le() {
                        (name, other)
                    } else {
                        (other, name)
                    };
                    let bounds = (
                        Bound::Included(lower.as_bytes().to_vec()),
                        Bound::Excluded(upper.as_bytes().to_vec()),
                    );
                    tree.remove_range::<Vec<u8>>(bounds, at(number)).unwrap();
                    let bounds = (Bound::Included(lower.as_bytes()), Bound::Excluded(upper.as_bytes()));
                    history.delete_range(bounds, at(number), &order);
                }
            }
            number += 1;
        }
        clock.advance(dice.below(2_000));
        match dice.below(12) {
            0..=5 => flush(&tree),
            6 => {
                watermark = watermark + dice.below(number - watermark);
                tree.set_gc_watermark(at(watermark));
            }
            7 if held.len() < 3 => held.push(tree.hold(at(number)).unwrap()),
            8 => drop(held.pop()),
            9 if step % 7 == 0 => {
                held.clear();
                flush(&tree);
                tree.close().unwrap();
                tree = open();
                // What was promised is the caller's to repeat.
                tree.set_gc_watermark(at(watermark));
            }
            _ => {}
        }
        let strategy = &all[dice.index(all.len())];
        match tree.compact(strategy.as_ref(), &CompactOptions::default()) {
            // Pulling down over a level in between is refused, and changes nothing.
            Err(error) if strategy.name() == "PullDownCompaction" => {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            }
            outcome => drop(outcome.unwrap()),
        }
        let lowest = watermark.max(tree.retention_floor().get() + 1);
        let any = lowest + dice.below((number + 1).saturating_sub(lowest).max(1));
        let bounds = held
            .iter()
            .map(lsm_engine::HoldGuard::before)
            .chain([at(number), at(any.min(number).max(lowest))]);
        for before in bounds {
            let view = tree.view_at(before).unwrap();
            let expected = history.all(before, &order);
            assert_eq!(
                contents(&view).unwrap(),
                expected,
                "seed {seed}, step {step}, before {before:?}, {}",
                strategy.name()
            );
        }
    }
    assert!(tree.verify().unwrap().is_clean());
}

/// Proves I-1, I-3, I-4. Fault: compaction W-1, W-3, W-8.
#[test]
fn no_strategy_changes_what_is_read() {
    for seed in 0..6 {
        check_history(seed, &(Arc::new(Bytewise) as Arc<dyn Comparator>), 120);
        check_history(seed + 100, &(Arc::new(Reverse) as Arc<dyn Comparator>), 60);
    }
}

/// Proves C-33, C-34: a weak or lone tombstone goes with the oldest run, and with no other. Fault: compaction W-6.
#[test]
fn tiers_drop_tombstones_with_the_oldest_run() {
    let (tree, _) = open();
    let mut dice = Dice::new(3);
    let key = |nth: u64| format!("k{nth:03}");
    // A large old run, then runs of tombstones.
    for nth in 0..200 {
        tree.insert(key(nth), noise(&mut dice), at(1)).unwrap();
    }
    flush(&tree);
    for round in 0..4 {
        for nth in 0..50 {
            tree.remove(key(round * 50 + nth), at(10 + round)).unwrap();
        }
        // So that the runs overlap.
        tree.insert("a", "x", at(10 + round)).unwrap();
        tree.insert("z", "x", at(10 + round)).unwrap();
        flush(&tree);
    }
    tree.set_gc_watermark(at(100));
    let tombstones = |tree: &Tree| tree.stats().levels.iter().map(|level| level.tombstones).sum::<u64>();
    let tiered = SizeTiered { table_target_bytes: TARGET, ..SizeTiered::default() };
    assert_eq!(compact(&tree, &tiered), Outcome::Merged);
    assert_eq!(
        (tombstones(&tree), contents(&tree).unwrap().len()),
        (200, 2),
        "the old run was not among them"
    );
    let all = SizeTiered { max_space_amplification_percent: 0, ..tiered };
    assert_eq!(compact(&tree, &all), Outcome::Merged);
    assert_eq!((tombstones(&tree), contents(&tree).unwrap().len()), (0, 2));
}

/// Proves C-36, C-38, C-41. Fault: compaction W-16.
#[test]
fn fifo_forgets_and_says_so() {
    let (tree, clock) = open();
    let mut dice = Dice::new(3);
    let mut written = |number: u64| {
        for nth in 0..10 {
            tree.insert(format!("{number:03}/{nth}"), noise(&mut dice), at(number)).unwrap();
        }
        flush(&tree);
        clock.advance(100);
    };
    (1..=6).for_each(&mut written);
    let held = tree.hold(at(2)).unwrap();
    let late = tree.hold(at(7)).unwrap();
    let view = tree.view_at(at(2)).unwrap();
    let days = Fifo { ttl_secs: Some(401), ..Fifo::new(u64::MAX) };
    let report = tree.compact(&days, &CompactOptions::default()).unwrap();
    assert_eq!(
        (report.outcome, report.reason, report.tables_out),
        (Outcome::Dropped, Some(Reason::Expired), 0)
    );
    let first = |reader: &dyn Fn() -> Vec<(Vec<u8>, Vec<u8>)>| reader().first().unwrap().0.clone();
    assert_eq!(first(&|| contents(&tree).unwrap()), b"003/0");
    // A view goes on; a bound that was held only is refused; one above what went still reads.
    assert_eq!(first(&|| contents(&view).unwrap()), b"001/0");
    assert_eq!(tree.view_at(held.before()).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert_eq!(first(&|| contents(&tree.view_at(late.before()).unwrap()).unwrap()), b"003/0");
    assert_eq!(tree.retention_floor(), at(2));
    assert_eq!(compact(&tree, &days), Outcome::Idle);
    // By size: the oldest go until what is left fits.
    let half = Fifo::new(tree.stats().levels[0].file_bytes / 2);
    assert!(tree.compaction_debt(&half) > 0);
    assert_eq!(compact(&tree, &half), Outcome::Dropped);
    assert_eq!((first(&|| contents(&tree).unwrap()), tree.compaction_debt(&half)), (b"005/0".to_vec(), 0));
    // Keys that do not ascend: nothing is dropped, and nothing breaks.
    tree.insert("000", "x", at(9)).unwrap();
    tree.insert("999", "x", at(9)).unwrap();
    flush(&tree);
    let report = tree.compact(&Fifo::new(0), &CompactOptions::default()).unwrap();
    assert_eq!((report.outcome, report.obstacle), (Outcome::Idle, Some(Obstacle::Overlap)));
}

/// Proves C-37: small flushes of ascending keys come to few tables, and every key stays.
#[test]
fn fifo_merges_what_small_flushes_leave() {
    let (tree, _) = open();
    let mut dice = Dice::new(3);
    let strategy = Fifo { merge_target_bytes: Some(1 << 20), ..Fifo::new(u64::MAX) };
    for number in 0..30_u64 {
        tree.insert(format!("{number:03}"), noise(&mut dice), at(number)).unwrap();
        flush(&tree);
        if number % 7 == 3 {
            while compact(&tree, &strategy) != Outcome::Idle {}
        }
    }
    while compact(&tree, &strategy) != Outcome::Idle {}
    let stats = tree.stats();
    assert!(stats.levels[0].runs == 1 && stats.tables() < 15, "{stats:?}");
    assert_eq!((tree.count().unwrap(), tree.verify().unwrap().is_clean()), (30, true));
}

/// Proves C-42. Fault: compaction W-34.
#[test]
fn healing_survives_refusals() {
    let (tree, _) = open();
    let mut dice = Dice::new(3);
    for number in 1..=3_u64 {
        for nth in 0..40 {
            tree.insert(format!("k{nth}"), noise(&mut dice), at(number)).unwrap();
        }
        flush(&tree);
    }
    let before = contents(&tree).unwrap();
    let flagged = ids(&tree)[1..3].to_vec();
    let heal =
        Heal { tables: [vec![TableId::new(1 << 40)], flagged.clone()].concat(), table_target_bytes: TARGET };
    // A job that is stopped leaves the table where it is, and so on the list.
    let stopped = CompactOptions::default();
    stopped.cancel.cancel();
    assert_eq!(tree.compact(&heal, &stopped).unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(flagged.iter().all(|id| ids(&tree).contains(id)));
    assert_eq!(settle(&tree, &heal), 2);
    assert!(!flagged.iter().any(|id| ids(&tree).contains(id)), "both were rewritten");
    assert_eq!(contents(&tree).unwrap(), before);
}

/// Proves C-40.
#[test]
fn covered_tables_go_unread_through_the_strategy() {
    let (tree, _) = open();
    let mut dice = Dice::new(3);
    for nth in 0..1000 {
        tree.insert(format!("k{nth:03}"), noise(&mut dice), at(1)).unwrap();
    }
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.remove_range("k200".."k800", at(5)).unwrap();
    flush(&tree);
    let count = ids(&tree).len();
    assert!(count > 4, "{count} tables");
    assert_eq!(compact(&tree, &DropRange::default()), Outcome::Idle, "reads below the delete are possible");
    tree.set_gc_watermark(at(6));
    assert_eq!(compact(&tree, &DropRange::default()), Outcome::Dropped);
    assert!(ids(&tree).len() < count);
    assert_eq!(contents(&tree).unwrap().len(), 400);
}

/// Proves E-173.
#[test]
fn debt_can_be_asked_for() {
    let (tree, _) = open();
    let mut dice = Dice::new(3);
    let leveled = Leveled { l0_threshold: 2, table_target_bytes: TARGET, ..Leveled::default() };
    assert_eq!(tree.compaction_debt(&leveled), 0);
    for number in 1..=3_u64 {
        for nth in 0..40 {
            tree.insert(format!("k{nth}"), noise(&mut dice), at(number)).unwrap();
        }
        flush(&tree);
    }
    assert_eq!(tree.compaction_debt(&leveled), tree.stats().levels[0].file_bytes);
    assert_eq!(tree.compaction_debt(&Heal { tables: Vec::new(), table_target_bytes: 1 }), 0);
    settle(&tree, &leveled);
    assert_eq!(tree.compaction_debt(&leveled), 0);
}
