//! Room for merges, and merges that are made smaller.

use lsm_compaction_planner::{
    Admission, CompactionStrategy, Demand, Heal, Ledger, Leveled, Major, MergePlan, Plan, PullDown, Shortage,
    SizeTiered, Space, TableId, Volume, admit, validate,
};
use lsm_types::{Level, SeqNo};

use crate::builder::{MIB, Scene};

fn volume(id: u64, free_mib: u64) -> Volume {
    Volume { id: Some(id), free_bytes: Some(free_mib * MIB) }
}

fn tables_of(mib: u64) -> Demand {
    Demand { table_bytes: mib * MIB, ..Demand::default() }
}

/// One volume with so much free.
fn free(mib: u64) -> Space {
    Space { tables: volume(1, mib), values: volume(1, mib), ..Space::default() }
}

/// Proves C-54, C-56.
#[test]
fn a_quota_bounds_what_is_added() {
    let space = |limit: u64, used: u64| Space {
        limit_bytes: Some(limit * MIB),
        used_bytes: used * MIB,
        ..Space::default()
    };
    assert_eq!(space(100, 40).check(tables_of(60)), Ok(()));
    assert_eq!(space(100, 41).check(tables_of(60)), Err(Shortage::Quota));
    // Values count too, and more than all is used at once.
    let both = Demand { table_bytes: 30 * MIB, value_bytes: 31 * MIB, reclaims: true };
    assert_eq!(space(100, 40).check(both), Err(Shortage::Quota));
    assert_eq!(space(100, 400).check(tables_of(1)), Err(Shortage::Quota));
    // Nothing is known: nothing is in the way.
    assert_eq!(Space::default().check(tables_of(u64::MAX / MIB)), Ok(()));
    let ample = Space { limit_bytes: Some(10 * MIB), ..free(1 << 30) };
    assert_eq!(ample.check(tables_of(11)), Err(Shortage::Quota));
}

/// Proves C-55, C-56.
#[test]
fn volumes_are_judged_apart_only_when_they_are_known_to_be() {
    let demand = Demand { table_bytes: 60 * MIB, value_bytes: 50 * MIB, reclaims: false };
    let space = |tables, values| Space { tables, values, ..Space::default() };
    assert_eq!(space(volume(1, 60), volume(2, 50)).check(demand), Ok(()));
    assert_eq!(space(volume(1, 59), volume(2, 50)).check(demand), Err(Shortage::Volume));
    assert_eq!(space(volume(1, 60), volume(2, 49)).check(demand), Err(Shortage::Volume));
    // The same one, or who knows: the sum has to fit the smaller figure.
    assert_eq!(space(volume(1, 109), volume(1, 200)).check(demand), Err(Shortage::Volume));
    assert_eq!(space(volume(1, 110), volume(1, 200)).check(demand), Ok(()));
    let unknown = Volume { id: None, ..volume(0, 100) };
    assert_eq!(space(unknown, volume(2, 500)).check(demand), Err(Shortage::Volume));
    // A backend that cannot tell what is free has enough.
    let silent = Volume { id: Some(1), free_bytes: None };
    assert_eq!(space(silent, volume(2, 50)).check(demand), Ok(()));
    assert_eq!(space(silent, silent).check(demand), Ok(()));
}

/// Proves C-57. Fault: compaction W-17.
#[test]
fn the_reserve_is_for_merges_that_give_back() {
    let space = Space { reserve_bytes: 20 * MIB, ..free(100) };
    let reclaiming = |mib| Demand { reclaims: true, ..tables_of(mib) };
    assert_eq!(space.check(tables_of(80)), Ok(()));
    assert_eq!(space.check(tables_of(81)), Err(Shortage::Reserve));
    assert_eq!(space.check(reclaiming(81)), Ok(()));
    assert_eq!(space.check(reclaiming(100)), Ok(()));
    assert_eq!(space.check(reclaiming(101)), Err(Shortage::Volume));
    // A reserve larger than what is free.
    let tight = Space { reserve_bytes: 200 * MIB, ..free(100) };
    assert_eq!([tight.check(tables_of(1)), tight.check(reclaiming(1))], [Err(Shortage::Reserve), Ok(())]);
}

#[test]
fn demand_follows_from_the_inputs() {
    let scene = Scene::parse(7, "L0 5:[a..d]x10 4:[c..f]x20 / L6 1:[a..f]x30t9");
    let view = |watermark| scene.view().with_watermark(SeqNo::new(watermark).unwrap());
    let Plan::Merge(plan) = Major::default().plan(&scene.view()) else { panic!("everything is merged") };
    let demand = |watermark| Demand::of(&plan.inputs, &view(watermark));
    assert_eq!(demand(9), Demand { table_bytes: 60 * MIB, value_bytes: 0, reclaims: true });
    assert!(!demand(1).reclaims, "deletes that a read may look behind free nothing");
}

/// Proves C-61.
#[test]
fn what_is_granted_is_gone_for_others() {
    let mut ledger = Ledger::default();
    let space = free(100);
    let first = ledger.grant(&space, tables_of(60)).unwrap();
    assert_eq!(ledger.grant(&space, tables_of(60)), Err(Shortage::Volume));
    let second = ledger.grant(&space, tables_of(40)).unwrap();
    assert_eq!((ledger.granted_bytes(), ledger.left_of(&space).tables.free_bytes), (100 * MIB, Some(0)));
    ledger.release(first);
    assert!(ledger.grant(&space, tables_of(61)).is_err());
    ledger.release(second);
    assert_eq!(ledger.granted_bytes(), 0);
    // A quota is shared by all volumes, free bytes are not.
    let other = Space { tables: volume(2, 100), values: volume(2, 100), ..Space::default() };
    let grant = ledger.grant(&space, tables_of(90)).unwrap();
    assert!(ledger.left_of(&other).check(tables_of(100)).is_ok());
    let quota = Space { limit_bytes: Some(100 * MIB), used_bytes: 5 * MIB, ..other };
    assert_eq!(ledger.left_of(&quota).check(tables_of(6)), Err(Shortage::Quota));
    let unknown = Space { tables: Volume { id: None, ..volume(0, 100) }, ..other };
    assert_eq!(ledger.left_of(&unknown).check(tables_of(11)), Err(Shortage::Volume));
    ledger.release(grant);
}

#[test]
fn figures_are_there_whatever_bounds() {
    let figures = |space: Space| (space.capacity_bytes() / MIB, space.available_bytes() / MIB);
    let used = |space| Space { used_bytes: 30 * MIB, ..space };
    assert_eq!(figures(used(free(70))), (100, 70));
    assert_eq!(figures(Space { limit_bytes: Some(50 * MIB), ..used(free(70)) }), (50, 20));
    assert_eq!(figures(Space { limit_bytes: Some(20 * MIB), ..used(free(70)) }), (20, 0));
    assert_eq!(Space::default().available_bytes(), u64::MAX);
}

#[track_caller]
fn merge_of(strategy: &dyn CompactionStrategy, scene: &Scene) -> MergePlan {
    match strategy.plan(&scene.view()) {
        Plan::Merge(plan) => plan,
        other => panic!("{other} is no merge"),
    }
}

#[track_caller]
fn check_smaller(strategy: &dyn CompactionStrategy, levels: &str, expected: &[&str]) {
    let scene = Scene::parse(7, levels);
    let plan = merge_of(strategy, &scene);
    let smaller = plan.smaller(&scene.view());
    let found: Vec<String> = smaller.iter().map(|plan| Plan::Merge(plan.clone()).to_string()).collect();
    assert_eq!(found, expected, "{levels}");
    for plan in smaller {
        assert_eq!(validate(&Plan::Merge(plan.clone()), &scene.view()), Ok(()));
        assert_eq!(plan.reason, merge_of(strategy, &scene).reason);
    }
}

/// Proves C-59, C-20.
#[test]
fn a_merge_within_a_run_is_narrowed_to_pairs() {
    let levels = "L6 1:[a..b]x30 2:[c..d]x10 3:[e..f]x15 4:[g..h]x90";
    check_smaller(&Major::default(), levels, &["merge 2 3 -> L6", "merge 1 2 -> L6", "merge 3 4 -> L6"]);
    let heal = Heal { tables: vec![TableId::new(2)], table_target_bytes: 1 };
    check_smaller(&heal, levels, &[]);
}

/// Proves C-59, C-20. Fault: compaction W-18.
#[test]
fn merges_over_levels_are_narrowed_to_stripes() {
    let pull = PullDown { from: Level::new(5), to: Level::new(6) };
    // 6 reaches across the border between 2 and 3.
    let levels = "L5 5:[a..b]x10 6:[e..h]x20 7:[m..n]x5 / L6 1:[a..c]x30 2:[d..f]x30 3:[g..k]x30 4:[l..p]x30";
    check_smaller(
        &pull,
        levels,
        &["merge 7 4 -> L6", "merge 5 1 -> L6", "merge 7 3 4 -> L6", "merge 5 1 2 -> L6"],
    );
    // Flushes over all keys: the oldest alone.
    let leveled = Leveled::default();
    let flushes = "L0 9:[a..z]x4 | 8:[a..z]x3 | 7:[a..z]x2 | 6:[a..z]x1 / L6 1:[a..k]x30 2:[l..z]x30";
    check_smaller(&leveled, flushes, &["merge 6 1 2 -> L6", "merge 7 6 1 2 -> L6", "merge 8 7 6 1 2 -> L6"]);
    // Tiers: stripes of the level itself, of two runs at least.
    let tiers = SizeTiered { min_merge_width: 2, ..SizeTiered::default() };
    check_smaller(
        &tiers,
        "L0 9:[a..b]x20 8:[m..n]x20 | 7:[a..c]x20 6:[l..p]x20",
        &["merge 9 7 -> L0", "merge 8 6 -> L0"],
    );
}

/// The gate of C-58, without slices.
#[test]
fn a_merge_runs_narrows_or_waits() {
    let scene = Scene::parse(7, "L5 5:[a..b]x10 7:[m..n]x5 / L6 1:[a..c]x30 2:[d..f]x30 4:[l..p]x30");
    let pull = PullDown { from: Level::new(5), to: Level::new(6) };
    let view = scene.view();
    let mut ledger = Ledger::default();
    let mut ask = |space: &Space| {
        let plan = merge_of(&pull, &scene);
        match admit(plan, &view, space, &mut ledger, |plan| Demand::of(&plan.inputs, &view)) {
            Admission::Run { plan, grant, narrowed } => {
                ledger.release(grant);
                Ok((Plan::Merge(plan).to_string(), narrowed))
            }
            Admission::Refused { shortage } => Err(shortage),
        }
    };
    assert_eq!(ask(&free(105)), Ok(("merge 5 7 1 2 4 -> L6".into(), false)));
    assert_eq!(ask(&free(104)), Ok(("merge 7 4 -> L6".into(), true)));
    assert_eq!(ask(&free(35)), Ok(("merge 7 4 -> L6".into(), true)));
    assert_eq!(ask(&free(34)), Err(Shortage::Volume));
    let reserved = Space { reserve_bytes: 80 * MIB, ..free(110) };
    assert_eq!(ask(&reserved), Err(Shortage::Reserve));
    // What is smaller in tables may be larger in values: each part is asked about by itself.
    let plan = merge_of(&pull, &scene);
    let with_values = |plan: &MergePlan| Demand {
        value_bytes: if plan.inputs.tables().any(|table| table.id == TableId::new(7)) { 90 * MIB } else { 0 },
        ..Demand::of(&plan.inputs, &view)
    };
    let Admission::Run { plan, narrowed: true, .. } =
        admit(plan, &view, &free(100), &mut Ledger::default(), with_values)
    else {
        panic!("a part fits")
    };
    assert_eq!(Plan::Merge(plan).to_string(), "merge 5 1 -> L6");
}
