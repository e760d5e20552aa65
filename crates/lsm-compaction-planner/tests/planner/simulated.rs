//! Strategies over time.
//!
//! Entries are one byte long, tables hold 64 of them, and so does a flush.

use std::collections::BTreeMap;

use lsm_compaction_planner::{
    CompactionStrategy, Debt, DropRange, Fallback, Fifo, Heal, KeyOrder, LazyLeveling, Level, Leveled, Major,
    Overdue, Plan, PlanView, PriorityList, Reason, Settings, SizeTiered, TableId,
    contract::{Breach, Contract},
    sim::{Job, Sim, SimError},
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

/// The stock strategies, over tables of so many bytes.
fn stock(table_target_bytes: u64) -> Vec<Box<dyn CompactionStrategy>> {
    let leveled = Leveled { table_target_bytes, ..Leveled::default() };
    let overdue = Overdue { delete_deadline_secs: Some(600), table_target_bytes, ..Overdue::default() };
    vec![
        Box::new(Leveled { multi_level: true, level_ratios: vec![4.0], ..leveled.clone() }),
        Box::new(SizeTiered { table_target_bytes, ..SizeTiered::default() }),
        Box::new(SizeTiered {
            min_merge_width: 2,
            size_ratio: 0.2,
            table_target_bytes,
            ..SizeTiered::default()
        }),
        Box::new(LazyLeveling { table_target_bytes, ..LazyLeveling::default() }),
        Box::new(LazyLeveling { merge_width: 2, last_ratio: 3, table_target_bytes }),
        Box::new(Fallback(leveled.clone(), overdue.clone())),
        // A list of what takes turns: nothing of it may undo what another did.
        Box::new(PriorityList(vec![
            Box::new(DropRange::default()),
            Box::new(Heal { tables: vec![TableId::new(5), TableId::new(1)], table_target_bytes }),
            Box::new(Fallback(leveled, overdue)),
        ])),
        Box::new(Fifo { merge_target_bytes: Some(table_target_bytes), ..Fifo::new(u64::MAX) }),
        Box::new(DropRange::default()),
        Box::new(Heal { tables: vec![TableId::new(3)], table_target_bytes }),
    ]
}

/// Proves C-13, C-14, C-22, C-32: equal views give equal plans, plans are valid, everything comes to rest, and at rest
/// nothing is owed.
#[test]
fn stock_strategies_keep_the_contract() {
    for strategy in stock(500) {
        assert_eq!(Contract::default().check(strategy.as_ref()), Ok(()), "{:?}", strategy.settings());
    }
    let forgetting = Contract { forgets: true, ..Contract::default() };
    let fifo = Fifo { ttl_secs: Some(900), ..Fifo::new(u64::MAX) };
    assert_eq!(forgetting.check(&fifo), Ok(()));
    let merging = Fifo { merge_target_bytes: Some(16_000), ..fifo };
    assert_eq!(forgetting.check(&merging), Ok(()));
}

/// Proves C-37: of ascending keys in small flushes an entry is rewritten once, and nothing stays for longer than its time
/// and an eighth.
#[test]
fn fifo_rewrites_an_entry_once() {
    let mut sim = empty(7);
    let strategy = Fifo { ttl_secs: Some(800), merge_target_bytes: Some(4 * TABLE), ..Fifo::new(u64::MAX) };
    for flush in 0..600_u64 {
        sim.advance(5);
        sim.flush((0..TABLE / 4).map(|nth| key(flush * TABLE / 4 + nth)));
        sim.settle(&strategy, 20).unwrap();
        assert!(sim.merged_bytes() <= sim.flushed_bytes(), "{flush}");
        let tables = sim.levels().level(Level::new(0)).table_count();
        // Eight flushes make a decent table.
        assert!(tables <= 160 * 9 / 8 / 8 + 9, "{flush}: {tables}");
        let oldest = sim.levels().tables().find_map(|(_, table)| table.entries.as_ref()).unwrap();
        let written = u64::from_be_bytes(oldest.min.as_ref().try_into().unwrap()) / (TABLE / 4);
        assert!((flush - written) * 5 <= 900, "{flush} {written}");
    }
    assert!(sim.merged_bytes() * 10 > sim.flushed_bytes() * 9);
}

/// A strategy made of a function.
struct Rule(fn(&PlanView<'_>) -> Plan, Debt);

impl CompactionStrategy for Rule {
    fn name(&self) -> &'static str {
        "Rule"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        (self.0)(view)
    }

    fn debt(&self, _: &PlanView<'_>) -> Debt {
        self.1
    }
}

/// Every kind of breach is found.
#[test]
fn the_contract_finds_what_breaks_it() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let check = |plan, debt| Contract::default().check(&Rule(plan, debt)).unwrap_err();
    // Remembers that it was asked before.
    let moody = |view: &PlanView<'_>| match CALLS.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Plan::Idle,
        _ => Plan::merge(view, view.levels.tables().map(|(_, table)| table.id), view.last_level(), 1),
    };
    assert!(matches!(check(moody, Debt::ZERO), Breach::Impure { .. }));
    // Never has enough.
    let restless = |view: &PlanView<'_>| {
        Plan::merge(view, view.levels.tables().map(|(_, table)| table.id), view.last_level(), 1)
    };
    let breach = check(restless, Debt::ZERO);
    assert!(matches!(breach, Breach::Broken { source: SimError::Restless { .. }, .. }), "{breach}");
    // Takes what is not there.
    let dreaming = |view: &PlanView<'_>| Plan::merge(view, [TableId::new(u64::MAX)], view.last_level(), 1);
    let breach = check(dreaming, Debt::ZERO);
    assert!(matches!(breach, Breach::Broken { source: SimError::Refused(_), .. }), "{breach}");
    // Rests in debt.
    assert!(matches!(check(|_| Plan::Idle, Debt { bytes: 1 }), Breach::Debt { .. }));
    // Loses keys.
    let forgetful = |view: &PlanView<'_>| {
        let oldest = view.levels.tables().last().map(|(_, table)| table.id);
        Plan::drop_tables(view, oldest)
    };
    assert!(matches!(check(forgetful, Debt::ZERO), Breach::Content { .. }));
}

/// Size tiering rewrites an entry about once for each factor of the merge width; lazy leveling that often above the last
/// level, and there about as often as leveling does.
#[test]
fn tiers_write_less_than_levels() {
    #[track_caller]
    fn amplification_of(strategy: &dyn CompactionStrategy) -> u64 {
        let mut sim = filled(7, 27_000);
        if strategy.name() == "SizeTieredCompaction" {
            sim = empty(7);
            sim.flush((0..27_000).map(key));
        }
        let mut dice = Dice(7);
        let mut start = (0, 0);
        for flush in 0..800 {
            if flush == 400 {
                start = (sim.flushed_bytes(), sim.merged_bytes());
            }
            sim.flush((0..TABLE).map(|_| key(dice.roll(27_000))));
            sim.settle(strategy, 1000).unwrap();
        }
        assert!(sim.is_newest_first());
        assert_eq!(sim.key_count(), 27_000);
        (sim.merged_bytes() - start.1) * 100 / (sim.flushed_bytes() - start.0)
    }
    let tiered = amplification_of(&SizeTiered { table_target_bytes: TABLE, ..SizeTiered::default() });
    let lazy = amplification_of(&LazyLeveling { table_target_bytes: TABLE, ..LazyLeveling::default() });
    let leveled = amplification_of(&leveled());
    assert!(tiered < 600 && tiered < lazy && lazy < leveled, "{tiered} {lazy} {leveled}");
}

/// With time, deletes and what they delete are gone, and so are the tombstones.
#[test]
fn deletes_are_carried_out_in_the_end() {
    let mut sim = filled(7, 6_000);
    let strategy = Fallback(leveled(), Overdue { table_target_bytes: TABLE, ..Overdue::default() });
    let mut dice = Dice(5);
    for _ in 0..40 {
        sim.flush_deletes((0..TABLE).map(|_| key(dice.roll(6_000))));
        sim.settle(&leveled(), 1000).unwrap();
        sim.advance(60);
    }
    let left = sim.key_count();
    assert!(sim.tombstone_count() > 0 && left < 5_000);
    for _ in 0..5 {
        sim.advance(8 * 24 * 3600);
        sim.settle(&strategy, 10_000).unwrap();
    }
    assert_eq!((sim.tombstone_count(), sim.key_count()), (0, left));
}
