//! Strategies over time.
//!
//! Entries are one byte long, tables hold 64 of them, and so does a flush.

use std::collections::BTreeMap;

use lsm_compaction_planner::{
    KeyOrder, Level, Leveled, Major, Plan, Reason, TableId,
    sim::{Job, Sim},
};

const TABLE: u64 = 64;

/// A sequence of numbers that looks random and is always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Nine of ten times among the first tenth.
    fn roll_skewed(&mut self, sides: u64) -> u64 {
        let hot = self.roll(10) < 9;
        self.roll(if hot { sides / 10 } else { sides })
    }
}

fn key(at: u64) -> Vec<u8> {
    at.to_be_bytes().to_vec()
}

fn leveled() -> Leveled {
    Leveled { table_target_bytes: TABLE, ..Leveled::default() }
}

fn empty(level_count: u8) -> Sim {
    Sim::new(level_count, KeyOrder::bytewise(), 1)
}

/// A tree with every key once, in tables of the last level.
fn filled(level_count: u8, key_count: u64) -> Sim {
    let mut sim = empty(level_count);
    sim.flush((0..key_count).map(key));
    sim.step(&Major { target_bytes: TABLE }).unwrap();
    sim
}

/// Bytes written by merges for each byte flushed, in hundredths, when keys are overwritten at random.
#[track_caller]
fn amplification(strategy: &Leveled, key_count: u64, flushes: u64) -> u64 {
    let mut sim = filled(7, key_count);
    let mut dice = Dice(7);
    let mut start = (0, 0);
    for flush in 0..2 * flushes {
        if flush == flushes {
            start = (sim.flushed_bytes(), sim.merged_bytes());
        }
        sim.flush((0..TABLE).map(|_| key(dice.roll(key_count))));
        sim.settle(strategy, 1000).unwrap();
    }
    assert!(sim.is_newest_first());
    assert_eq!(sim.key_count() as u64, key_count);
    (sim.merged_bytes() - start.1) * 100 / (sim.flushed_bytes() - start.0)
}

/// With `L` levels and a ratio of `T`, an entry is rewritten about `L (T + 1) / 2` times.
#[test]
fn writes_stay_near_the_model() {
    // Tables of 64, three levels of 10: 3 * 11 / 2.
    let dynamic = amplification(&leveled(), 27_000, 400);
    assert!(dynamic < 1650 * 5 / 4, "{dynamic}");
    let fixed = Leveled { dynamic_level_bytes: false, ..leveled() };
    let fixed = amplification(&fixed, 27_000, 400);
    assert!(fixed < 1650 * 5 / 4, "{fixed}");
    // Four levels of 4: 4 * 5 / 2.
    let narrow = Leveled { level_ratios: vec![4.0], ..leveled() };
    let narrow = amplification(&narrow, 8_192, 250);
    assert!(narrow < 1000 * 5 / 4, "{narrow}");
}

/// Proves C-26: What stands above the last level is a tenth of it and a tenth of that, and level 0.
#[test]
fn little_space_is_lost_to_old_versions() {
    let mut sim = filled(7, 27_000);
    let mut dice = Dice(7);
    for _ in 0..800 {
        sim.flush((0..TABLE).map(|_| key(dice.roll(27_000))));
        sim.settle(&leveled(), 1000).unwrap();
        let bytes: u64 = sim.levels().tables().map(|(_, table)| table.file_len).sum();
        assert!(bytes < 27_000 * 113 / 100 + 4 * TABLE, "{bytes}");
    }
}

#[test]
fn what_comes_in_order_is_never_rewritten() {
    let mut sim = empty(7);
    for flush in 0..500 {
        sim.flush((0..TABLE).map(|nth| key(flush * TABLE + nth)));
        sim.settle(&leveled(), 10).unwrap();
        let middle: usize = (0..6).map(|level| sim.levels().level(Level::new(level)).table_count()).sum();
        assert_eq!(middle, 0);
    }
    assert_eq!(sim.merged_bytes(), 0);
    assert_eq!(sim.levels().level(Level::new(6)).runs().len(), 1);
}

/// Proves C-29.
#[test]
fn no_table_waits_for_ever() {
    #[track_caller]
    fn check(roll: fn(&mut Dice, u64) -> u64) {
        let mut sim = filled(7, 27_000);
        let mut dice = Dice(3);
        // Since a table came into its level: picks there, each as a part of the tables that could have been picked. As
        // many picks as there are tables are a round; in thousandths.
        let mut waits: BTreeMap<TableId, (Level, usize)> = BTreeMap::new();
        let mut longest = 0;
        for _ in 0..700 {
            sim.flush((0..TABLE).map(|_| key(roll(&mut dice, 27_000))));
            loop {
                let counts: Vec<usize> = sim.levels().iter().map(|(_, level)| level.table_count()).collect();
                let plan = sim.step(&leveled()).unwrap();
                let picked = match &plan {
                    Plan::Idle => break,
                    Plan::Move(plan) if plan.reason == Reason::LevelFull => Some(plan.output.dest),
                    Plan::Merge(plan) if plan.reason == Reason::LevelFull => Some(plan.output.dest),
                    _ => None,
                };
                let mut now = BTreeMap::new();
                for (level, table) in sim.levels().tables() {
                    let before = waits.get(&table.id).filter(|wait| wait.0 == level).map_or(0, |wait| wait.1);
                    let was_picked = picked.is_some_and(|dest| dest.get() == level.get() + 1);
                    let part = if was_picked { 1000 / counts[usize::from(level.get())] } else { 0 };
                    now.insert(table.id, (level, before + part));
                    longest = longest.max(before + part);
                }
                waits = now;
            }
        }
        assert!(longest <= 4000, "{longest}");
    }
    check(Dice::roll);
    check(Dice::roll_skewed);
}

/// Proves C-13, C-14, C-28: any parameters in any tree come to rest, with valid plans and newer above older.
#[test]
fn any_shape_comes_to_rest() {
    for level_count in [2, 3, 4, 7, 255] {
        for (dynamic_level_bytes, multi_level) in [(false, false), (false, true), (true, false), (true, true)]
        {
            for (l0_threshold, ratio) in [(1, 2.0), (2, 10.0), (4, 1.5), (4, 0.5)] {
                let strategy = Leveled {
                    l0_threshold,
                    table_target_bytes: 16,
                    level_ratios: vec![ratio],
                    dynamic_level_bytes,
                    multi_level,
                };
                let mut sim = empty(level_count);
                let mut dice = Dice(u64::from(level_count));
                for flush in 0..60 {
                    match flush % 3 {
                        0 => sim.flush((0..12).map(|nth| key(10_000 + flush * 12 + nth))),
                        1 => sim.flush((0..12).map(|_| key(dice.roll(2_000)))),
                        _ => sim.flush((0..3).map(|_| key(dice.roll_skewed(2_000)))),
                    }
                    sim.settle(&strategy, 500).unwrap();
                }
                assert!(sim.is_newest_first(), "{level_count} {strategy:?}");
                assert_eq!(strategy_is_done(&sim, &strategy), Ok(()));
            }
        }
    }
}

/// At rest, nothing is due.
fn strategy_is_done(sim: &Sim, strategy: &Leveled) -> Result<(), u64> {
    use lsm_compaction_planner::CompactionStrategy;
    match strategy.debt(&sim.view()).bytes {
        0 => Ok(()),
        bytes => Err(bytes),
    }
}

/// Proves C-14, C-16.
#[test]
fn jobs_run_side_by_side() {
    let mut sim = filled(7, 6_000);
    let mut dice = Dice(11);
    let strategy = Leveled { level_ratios: vec![3.0], l0_threshold: 2, ..leveled() };
    let (mut running, mut side_by_side): (Vec<Job>, usize) = (Vec::new(), 0);
    for flush in 0..800 {
        sim.flush((0..TABLE).map(|_| key(dice.roll_skewed(6_000))));
        while running.len() < 4
            && let Some(job) = sim.begin(&strategy).unwrap()
        {
            running.push(job);
        }
        side_by_side = side_by_side.max(running.len());
        let finished = usize::try_from(dice.roll(3)).unwrap().min(running.len());
        for _ in 0..finished {
            let nth = usize::try_from(dice.roll(running.len() as u64)).unwrap();
            sim.finish(running.swap_remove(nth)).unwrap();
        }
        if flush % 50 == 0 {
            assert!(sim.is_newest_first());
        }
    }
    assert!(side_by_side >= 3, "{side_by_side}");
    for job in running {
        sim.finish(job).unwrap();
    }
    sim.settle(&strategy, 1000).unwrap();
    assert!(sim.is_newest_first());
    assert_eq!(sim.key_count(), 6_000);
    let runs = sim.levels().iter().skip(1).map(|(_, level)| level.runs().len()).max();
    assert_eq!(runs, Some(1));
}
