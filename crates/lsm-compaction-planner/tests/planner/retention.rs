//! Strategies that look at what is in tables: ages, deletes, damage; and how strategies are put together.

use lsm_compaction_planner::{
    CompactionStrategy, DropRange, Fallback, Fifo, Heal, Leveled, Obstacle, Overdue, Plan, PlanView,
    PriorityList, Reason, Refusal, SettingValue, SizeTiered, TableId, validate,
};
use lsm_types::{Cut, KeyOrder, RangeTombstone, SeqNo, TombstoneIndex, UnixNanos};

use crate::builder::{MIB, Scene};

fn at_second(secs: u64) -> UnixNanos {
    UnixNanos::new(secs * 1_000_000_000)
}

/// The plan at a second, with all that is written below the watermark.
#[track_caller]
fn plan_at(strategy: &dyn CompactionStrategy, levels: &str, secs: u64) -> String {
    let scene = Scene::parse(7, levels);
    plan_of(strategy, &scene.view().at(at_second(secs)).with_watermark(SeqNo::LATEST))
}

#[track_caller]
fn plan_of(strategy: &dyn CompactionStrategy, view: &PlanView<'_>) -> String {
    let plan = strategy.plan(view);
    assert_eq!(plan, strategy.plan(view), "equal views give equal plans");
    assert_eq!(validate(&plan, view), Ok(()), "{plan}");
    plan.to_string()
}

/// Proves C-36, C-38.
#[test]
fn fifo_drops_the_oldest() {
    let limit = Fifo::new(192 * MIB);
    let levels = "L0 3:[a..b]@30 1:[c..d]@10 4:[e..f]@40 2:[g..h]@20";
    assert_eq!(plan_at(&limit, "", 100), "idle");
    assert_eq!(plan_at(&limit, "L0 3:[a..b] 1:[c..d] 2:[g..h]", 100), "idle");
    assert_eq!(plan_at(&limit, levels, 100), "drop 1");
    // Until the limit is kept.
    assert_eq!(plan_at(&Fifo::new(130 * MIB), levels, 100), "drop 1 2");
    assert_eq!(plan_at(&Fifo::new(127 * MIB), levels, 100), "drop 3 1 2");
    assert_eq!(plan_at(&Fifo::new(0), levels, 100), "drop 3 1 4 2");
    // Of equals the smaller number.
    assert_eq!(plan_at(&limit, "L0 4:[a..b] 3:[c..d] 2:[e..f] 5:[g..h]", 100), "drop 2");
    // At or before now - TTL.
    let ttl = Fifo { ttl_secs: Some(80), ..Fifo::new(u64::MAX) };
    assert_eq!(plan_at(&ttl, levels, 89), "idle");
    assert_eq!(plan_at(&ttl, levels, 90), "drop 1");
    assert_eq!(plan_at(&ttl, levels, 100), "drop 1 2");
    assert_eq!(plan_at(&ttl, levels, 79), "idle", "the clock has not come so far");
    // First what is expired, then what is too much of the rest.
    let both = Fifo { ttl_secs: Some(80), ..Fifo::new(128 * MIB) };
    assert_eq!(plan_at(&both, levels, 90), "drop 1 2");
    assert_eq!(plan_at(&both, levels, 110), "drop 3 1 2");
    let disabled = Fifo { ttl_secs: Some(0), ..Fifo::new(u64::MAX) };
    assert_eq!(plan_at(&disabled, levels, 1_000_000), "idle");
    let plan = limit.plan(&Scene::parse(7, levels).view());
    assert!(matches!(plan, Plan::Drop(plan) if plan.reason == Reason::Expired));
}

/// Proves C-37: small neighbours become a table that is not small, once.
#[test]
fn fifo_merges_small_tables() {
    let keep = Fifo::new(u64::MAX);
    assert_eq!(plan_at(&keep, "L0 1:[a..b]x10 2:[c..d]x10 3:[e..f]x10", 9), "idle", "not a decent table yet");
    assert_eq!(plan_at(&keep, "L0 1:[a..b]x16 2:[c..d]x16", 9), "merge 1 2 -> L0");
    // No more than that, and large ones part the small.
    let row = "L0 1:[a..b]x16 2:[c..d]x17 3:[e..f]x16 4:[g..h]x15 5:[i..j]x1 6:[k..l]x1";
    assert_eq!(plan_at(&keep, row, 9), "merge 3 4 5 -> L0");
    // What has to go goes first.
    let full = Fifo::new(20 * MIB);
    assert_eq!(plan_at(&full, "L0 1:[a..b]x16@1 2:[c..d]x16@2", 9), "drop 1");
    // A table counts as written when it is merged: only what is fresh is, so that nothing stays for long.
    let ttl = Fifo { ttl_secs: Some(80), ..keep.clone() };
    assert_eq!(plan_at(&ttl, "L0 1:[a..b]x16@91 2:[c..d]x16@95", 100), "merge 1 2 -> L0");
    assert_eq!(plan_at(&ttl, "L0 1:[a..b]x16@90 2:[c..d]x16@95", 100), "idle");
    // What may leave a run of range tombstones behind stays as it is.
    assert_eq!(plan_at(&keep, "L0 1:[a..b]<a..b>x16 2:[c..d]x16", 9), "idle");
    assert_eq!(plan_at(&keep, "L0 1*:[a..b]x16 2:[c..d]x16", 9), "idle");
    let never = Fifo { merge_target_bytes: None, ..keep };
    assert_eq!(plan_at(&never, "L0 1:[a..b]x16 2:[c..d]x16", 9), "idle");
}

/// Proves C-37: what keeps it idle is told. Fault: compaction W-16.
#[test]
fn fifo_tells_what_keeps_it_idle() {
    let all = Fifo::new(0);
    let obstacle =
        |strategy: &dyn CompactionStrategy, levels: &str| strategy.obstacle(&Scene::parse(7, levels).view());
    for (levels, expected) in [
        ("", None),
        ("L0 3:[a..b]", None),
        ("L0 3:[a..c] 2:[b..d]", Some(Obstacle::Overlap)),
        ("L0 3:[a..b] | 2:<c..d>", Some(Obstacle::Overlap)),
        ("L0 3:[a..b] 2*:[c..d]", Some(Obstacle::Busy)),
    ] {
        assert_eq!(obstacle(&all, levels), expected, "{levels}");
        assert_eq!(obstacle(&Fallback(Overdue::default(), all.clone()), levels), expected, "{levels}");
        assert_eq!(obstacle(&PriorityList(vec![Box::new(all.clone())]), levels), expected, "{levels}");
    }
    assert_eq!(obstacle(&Leveled::default(), "L0 3*:[a..c] 2:[b..d]"), None);
}

/// Fault: compaction W-16.
#[test]
fn fifo_does_nothing_where_it_cannot_know_the_order() {
    let all = Fifo::new(0);
    assert_eq!(plan_at(&all, "L0 3:[a..c] 2:[b..d]", 9), "idle");
    assert_eq!(plan_at(&all, "L0 3:[a..b] | 2:[c..d]", 9), "idle");
    assert_eq!(plan_at(&all, "L0 3:[a..b] 2*:[c..d]", 9), "idle");
    assert_eq!(plan_at(&all, "L0 3:[a..b] | 2:<c..d>", 9), "idle");
    assert_eq!(plan_at(&all, "L6 3:[a..b]", 9), "idle");
}

/// Proves C-21, C-22.
#[test]
fn fifo_tells_debt_and_settings() {
    let encode = |strategy: &Fifo| {
        let mut bytes = Vec::new();
        strategy.settings().iter().for_each(|(_, value)| value.encode(&mut bytes));
        bytes
    };
    let plain = Fifo { merge_target_bytes: None, ..Fifo::new(9) };
    assert_eq!(encode(&plain), [9, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(encode(&Fifo::new(9)), [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    let ttl = Fifo { ttl_secs: Some(5), ..plain };
    assert_eq!(encode(&ttl), [9, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ttl.name(), "FifoCompaction");
    let debt = |limit| Fifo::new(limit).debt(&Scene::parse(7, "L0 3:[a..b] 2:[c..d]").view()).bytes;
    assert_eq!([debt(100 * MIB), debt(200 * MIB)], [28 * MIB, 0]);
}

/// A drop of a table must not bring back what its range tombstones hide in a neighbour that shares no entry with it.
///
/// Proves C-41. Fault: compaction W-8.
#[test]
fn range_tombstones_reach_within_a_run() {
    let all_but_one = Fifo::new(64 * MIB);
    let scene = Scene::parse(7, "L0 3:[a..c]@20 2:[d..e]<b..e>@10");
    let plan = all_but_one.plan(&scene.view());
    assert_eq!(plan.to_string(), "drop 2");
    assert_eq!(validate(&plan, &scene.view()), Err(Refusal::Uncovers { older: TableId::new(3) }));
    assert_eq!(plan_at(&Fifo::new(0), "L0 3:[a..c] 2:[d..e]<b..e>", 9), "drop 3 2");
}

fn deletes(ranges: &[(&str, &str, u64)]) -> TombstoneIndex {
    let tombstone = |(start, end, seqno): &(&str, &str, u64)| RangeTombstone {
        start: Cut::Before((*start).into()),
        end: Cut::After((*end).into()),
        seqno: SeqNo::new(*seqno).unwrap(),
    };
    TombstoneIndex::new(ranges.iter().map(tombstone).collect(), KeyOrder::bytewise())
}

/// Tables are numbered like their writes.
///
/// Proves C-40, C-41, C-19.
#[test]
fn covered_tables_are_dropped_unread() {
    #[track_caller]
    fn check(ranges: &[(&str, &str, u64)], watermark: u64, levels: &str, expected: &str) {
        let (scene, deletes) = (Scene::parse(7, levels), deletes(ranges));
        let view = scene.view().with_watermark(SeqNo::new(watermark).unwrap()).with_deletes(&deletes);
        assert_eq!(plan_of(&DropRange::default(), &view), expected, "{ranges:?} {levels}");
    }
    let levels = "L0 9:[a..c] | 8:[a..b] / L1 7:[a..d] / L6 1:[a..b] 2:[c..e] 3*:[f..g]";
    check(&[], 99, levels, "idle");
    check(&[("a", "e", 50)], 99, levels, "drop 9 8 7 1 2");
    check(&[("a", "c", 50)], 99, levels, "drop 9 8 1");
    // Only what is older than the delete, and a delete that every read sees.
    check(&[("a", "e", 8)], 99, levels, "drop 7 1 2");
    check(&[("a", "e", 50)], 50, levels, "idle");
    check(&[("a", "e", 50)], 51, levels, "drop 9 8 7 1 2");
    // Two deletes that meet cover what neither covers alone; two that leave a gap do not.
    check(&[("a", "b", 50), ("b", "e", 60)], 99, "L1 7:[a..e]", "drop 7");
    check(&[("a", "b", 50), ("c", "e", 60)], 99, "L1 7:[a..e]", "idle");
    check(&[("a", "b", 50), ("b", "e", 6)], 99, "L1 7:[a..e]", "idle");
    // Range tombstones of a table are a part of it.
    check(&[("a", "e", 50)], 99, "L1 7:[a..b]<a..z>", "idle");
    check(&[("a", "z", 50)], 99, "L1 7:[a..b]<a..z>", "drop 7");
    check(&[("a", "z", 50)], 99, "L1 7:<a..z>", "drop 7");
    // What is covered may go from above something older, which the same delete hides.
    check(&[("a", "c", 50)], 99, "L0 9:[a..c] / L6 1:[a..z]", "drop 9");
    let scene = Scene::parse(7, "L0 9:[a..c] / L6 1:[a..z]");
    let plan = Plan::drop_tables(&scene.view(), [TableId::new(9)]);
    assert_eq!(validate(&plan, &scene.view()), Err(Refusal::Uncovers { older: TableId::new(1) }));
    // Within a range only.
    let part = DropRange { start: Cut::Before("a".into()), end: Cut::After("c".into()) };
    let (scene, everything) = (Scene::parse(7, levels), deletes(&[("a", "z", 50)]));
    let view = scene.view().with_watermark(SeqNo::LATEST).with_deletes(&everything);
    assert_eq!(plan_of(&part, &view), "drop 9 8 1");
    assert_eq!(part.name(), "DropRangeCompaction");
}

/// Proves C-42. Fault: compaction W-34.
#[test]
fn healing_goes_through_its_list() {
    let heal = |ids: &[u64]| Heal {
        tables: ids.iter().copied().map(TableId::new).collect(),
        table_target_bytes: 64 * MIB,
    };
    let levels = "L0 9:[a..c] | 8:[a..b] / L5 7*:[a..d] / L6 1:[a..b] 2:[c..e]";
    assert_eq!(plan_at(&heal(&[]), levels, 9), "idle");
    assert_eq!(plan_at(&heal(&[2]), levels, 9), "merge 2 -> L6");
    assert_eq!(plan_at(&heal(&[9]), levels, 9), "merge 9 -> L0");
    assert_eq!(plan_at(&heal(&[8]), levels, 9), "merge 8 -> L0");
    // Gone: the next. Busy: wait. Refused or failed: the table is still there, so it is still on the list.
    assert_eq!(plan_at(&heal(&[77, 1]), levels, 9), "merge 1 -> L6");
    assert_eq!(plan_at(&heal(&[7, 1]), levels, 9), "idle");
    assert_eq!(plan_at(&heal(&[77]), levels, 9), "idle");
    let Plan::Merge(plan) = heal(&[2]).plan(&Scene::parse(7, levels).view()) else { panic!("it merges") };
    assert_eq!((plan.reason, plan.output.canonical), (Reason::Damaged, plan.output.dest));
}

const DAY: u64 = 24 * 3600;

/// The deletes and ages of C-45; garbage in value files is not known yet.
#[test]
fn deletes_do_not_lie_around_for_ever() {
    let overdue = Overdue::default();
    // Half of a million entries are tombstones.
    let dense = "L4 5:[a..c]t400000 6:[d..f]t500000 / L6 1:[a..b] 2:[c..e] 3:[f..g]";
    assert_eq!(plan_at(&overdue, dense, 1), "merge 6 2 3 -> L6");
    assert_eq!(plan_at(&overdue, &dense.replace("t500000", "t499999"), 1), "idle");
    assert_eq!(plan_at(&overdue, &dense.replace("3:", "3*:"), 1), "idle");
    // The densest first, wherever it is.
    let two = "L4 5:[a..c]t600000 6:[d..f]t500000 / L5 4:[d..f]t700000 / L6 1:[a..b] 2:[c..e] 3:[f..g]";
    assert_eq!(plan_at(&overdue, two, 1), "merge 4 2 3 -> L6");
    assert_eq!(
        plan_at(&overdue, &two.replace("4:", "4*:"), 1),
        "merge 5 1 2 -> L6",
        "6 lies above what is busy"
    );
    // A few deletes, for a week.
    let old = "L4 5:[a..c]t1@7 6:[d..f]t1@8 / L6 1:[a..b] 2:[c..e] 3:[f..g]";
    assert_eq!(plan_at(&overdue, old, 7 * DAY), "idle");
    assert_eq!(plan_at(&overdue, old, 7 * DAY + 7), "merge 5 1 2 -> L6");
    assert_eq!(plan_at(&overdue, &old.replace("5:", "5*:"), 7 * DAY + 8), "merge 6 2 3 -> L6");
    assert_eq!(plan_at(&overdue, "L4 5:[a..c]<a..z> / L6 1:[a..b] 2:[y..zz]", 7 * DAY), "merge 5 1 2 -> L6");
    // At the bottom a table is rewritten where it stands, but not again and again.
    assert_eq!(plan_at(&overdue, "L6 1:[a..b]t500000@10", 3609), "idle");
    assert_eq!(plan_at(&overdue, "L6 1:[a..b]t500000@10", 3610), "merge 1 -> L6");
    assert_eq!(plan_at(&overdue, "L4 5:[a..b]t500000 / L6 1:[x..z]", 3600), "merge 5 -> L4");
    // Deletes that a reader may still look behind are not due.
    let scene = Scene::parse(7, dense);
    let view = |watermark| scene.view().at(at_second(1)).with_watermark(SeqNo::new(watermark).unwrap());
    assert_eq!(plan_of(&overdue, &view(6)), "idle");
    assert_eq!(plan_of(&overdue, &view(7)), "merge 6 2 3 -> L6");
    let never = Overdue { delete_deadline_secs: None, delete_percent: None, ..overdue };
    assert_eq!(plan_at(&never, dense, 99 * DAY), "idle");
}

/// The age of C-45.
#[test]
fn old_tables_are_rewritten() {
    let monthly = Overdue { delete_percent: None, age_secs: Some(30 * DAY), ..Overdue::default() };
    let levels = "L5 5:[a..c]@100 / L6 1:[a..b]@50 2:[c..e]@60 3:[f..g]@70";
    assert_eq!(plan_at(&monthly, levels, 30 * DAY + 49), "idle");
    assert_eq!(plan_at(&monthly, levels, 30 * DAY + 50), "merge 1 -> L6");
    assert_eq!(plan_at(&monthly, levels, 60 * DAY), "merge 1 -> L6");
    assert_eq!(plan_at(&monthly, &levels.replace("1:", "1*:"), 60 * DAY), "merge 2 -> L6");
    let settings = monthly.settings();
    assert_eq!(settings.get("age_secs"), Some(&SettingValue::OptionalU64(Some(30 * DAY))));
}

#[test]
fn strategies_are_put_together() {
    let full = "L0 5:[a..d] 4:[c..f] 3:[e..k] 2:[j..p] / L6 1:[a..f]t900000 7:[q..z]t900000";
    let both = Fallback(Leveled::default(), Overdue::default());
    assert_eq!(plan_at(&both, full, DAY), "merge 5 4 3 2 1 -> L6");
    assert_eq!(plan_at(&both, "L6 1:[a..f]t900000", DAY), "merge 1 -> L6");
    // The first is idle because what it wants is busy: the second must not take more of it.
    assert_eq!(plan_at(&both, &full.replace("1:", "1*:"), DAY), "idle");
    let heal = |id| Heal { tables: vec![TableId::new(id)], table_target_bytes: 1 };
    let list = |id| PriorityList(vec![Box::new(heal(id)), Box::new(Leveled::default())]);
    assert_eq!(plan_at(&list(7), full, DAY), "merge 7 -> L6");
    assert_eq!(plan_at(&list(70), full, DAY), "merge 5 4 3 2 1 -> L6");
    assert_eq!(plan_at(&PriorityList::default(), full, DAY), "idle");
    let view_of = Scene::parse(7, full);
    let debt = |strategy: &dyn CompactionStrategy| strategy.debt(&view_of.view()).bytes / MIB;
    assert_eq!([debt(&both), debt(&list(7)), debt(&PriorityList::default())], [256, 256, 0]);
    let tiers = Fallback(SizeTiered::default(), heal(1));
    let names: Vec<_> = tiers.settings().iter().map(|(name, _)| name).collect();
    assert_eq!((names[0], names[1], names.len()), ("first", "size_ratio", 9));
    assert_eq!(tiers.settings().get("second"), Some(&SettingValue::Name("EccHealCompaction")));
    assert_eq!(format!("{:?}", list(7)), r#"["EccHealCompaction", "LeveledCompaction"]"#);
}
