//! Plans that may run and plans that may not.

use lsm_compaction_planner::{
    Inputs, Level, MergePlan, MovePlan, OutputSpec, Plan, Reason, Refusal, RunPart, TableId, validate,
};
use lsm_types::{ErrorClass, Fault};

use crate::builder::Scene;

fn ids(numbers: &[u64]) -> impl Iterator<Item = TableId> + use<> {
    numbers.iter().copied().map(TableId::new).collect::<Vec<_>>().into_iter()
}

fn merge(scene: &Scene, tables: &[u64], level: u8) -> Plan {
    Plan::merge(&scene.view(), ids(tables), Level::new(level), 1)
}

fn moved(scene: &Scene, tables: &[u64], level: u8) -> Plan {
    let (view, level) = (scene.view(), Level::new(level));
    let inputs = Inputs::select(&view, ids(tables));
    let output = OutputSpec::new(&view, &inputs, level, level, 1);
    Plan::Move(MovePlan { inputs, output, reason: Reason::Requested })
}

fn dropped(scene: &Scene, tables: &[u64], _level: u8) -> Plan {
    Plan::drop_tables(&scene.view(), ids(tables))
}

/// Levels, tables and the level they go to; four levels.
#[track_caller]
fn check(
    plan: fn(&Scene, &[u64], u8) -> Plan,
    levels: &str,
    tables: &[u64],
    level: u8,
    expected: Result<(), Refusal>,
) {
    let scene = Scene::parse(4, levels);
    let plan = plan(&scene, tables, level);
    assert_eq!(validate(&plan, &scene.view()), expected, "{plan} of {levels}");
}

const fn table(id: u64) -> TableId {
    TableId::new(id)
}

/// Proves C-14, C-15, C-11.
#[test]
fn tables_exist_once_and_are_idle() {
    let levels = "L0 3:[a..c] 2:[b..d] / L3 1*:[a..z]";
    check(merge, levels, &[3, 2], 0, Ok(()));
    check(merge, levels, &[], 0, Ok(()));
    check(merge, levels, &[3, 9], 0, Err(Refusal::Unknown { table: table(9) }));
    check(dropped, levels, &[9], 0, Err(Refusal::Unknown { table: table(9) }));
    for plan in [merge, moved, dropped] {
        check(plan, levels, &[3, 2, 1], 3, Err(Refusal::Busy { table: table(1) }));
    }
    check(moved, levels, &[], 3, Err(Refusal::Empty));
    check(merge, levels, &[3, 2], 4, Err(Refusal::UnknownLevel { level: Level::new(4), count: 4 }));
    check(moved, levels, &[3, 2], 4, Err(Refusal::UnknownLevel { level: Level::new(4), count: 4 }));
    assert_eq!(Refusal::Empty.kind().class(), ErrorClass::Invalid);
    assert_eq!(Refusal::Busy { table: table(1) }.kind().class(), ErrorClass::Retry);
}

/// Proves C-15.
#[test]
fn parts_stand_in_order() {
    let scene = Scene::parse(4, "L0 4:[a..c] 5:[d..e] 2:[b..d] / L3 1:[a..z]");
    let whole = Inputs::select(&scene.view(), ids(&[1, 2, 4, 5]));
    let refusal = |parts: Vec<RunPart>| {
        let inputs = Inputs::new(parts);
        let output = OutputSpec::new(&scene.view(), &inputs, Level::new(3), Level::new(3), 1);
        let plan = Plan::Merge(MergePlan { inputs, output, reason: Reason::Requested });
        validate(&plan, &scene.view()).err()
    };
    let parts = whole.parts().to_vec();
    assert_eq!(refusal(parts.clone()), None);
    let mut swapped = parts.clone();
    swapped.swap(0, 1);
    assert_eq!(refusal(swapped), Some(Refusal::OutOfOrder { table: table(4) }));
    let mut upward = parts.clone();
    upward.rotate_right(1);
    assert_eq!(refusal(upward), Some(Refusal::OutOfOrder { table: table(4) }));
    let mut twice = parts.clone();
    twice.push(parts[2].clone());
    assert_eq!(refusal(twice), Some(Refusal::OutOfOrder { table: table(1) }));
    let mut unsorted = parts.clone();
    unsorted[0].tables.swap(0, 1);
    assert_eq!(refusal(unsorted), Some(Refusal::OutOfOrder { table: table(4) }));
    let mut elsewhere = parts.clone();
    elsewhere[0].run = elsewhere[1].run;
    assert_eq!(refusal(elsewhere), Some(Refusal::Unknown { table: table(4) }));
    let mut split = parts.clone();
    let rest = split[0].tables.split_off(1);
    split.insert(1, RunPart { tables: rest, ..parts[0].clone() });
    assert_eq!(refusal(split), Some(Refusal::OutOfOrder { table: table(5) }));
}

/// Proves C-17, C-19. Fault: compaction W-3.
#[test]
fn ages_have_no_gaps() {
    let gap = |id| Err(Refusal::AgeGap { table: table(id) });
    check(merge, "L0 3:[a..c] 2:[b..d] 1:[a..c]", &[3, 1], 0, gap(2));
    check(merge, "L0 3:[a..c] | 2:[x..z] 1:[a..c]", &[3, 1], 0, Ok(()));
    check(merge, "L0 3:[a..c] | 2:[x..z]<c..z> 1:[a..b]", &[3, 1], 0, gap(2));
    check(merge, "L0 3:[a..c]<a..y> | 2:[x..z] 1:[a..b]", &[3, 1], 0, gap(2));
    check(merge, "L0 3:[a..c] 2:<b..d> 1:[a..c]", &[3, 1], 0, gap(2));
    check(merge, "L0 3:[a..c] 2:[b..d] 1:[a..c]", &[3, 2], 0, Ok(()));
    // A table between that is taken for some of its run only.
    check(merge, "L0 3:[a..c] 2:[b..d] 4:[x..y] 1:[a..c]", &[3, 2, 1], 0, Ok(()));
    check(merge, "L0 3:[a..c] 2:[b..d] 4:[x..y] 1:[a..x]", &[3, 2, 1], 0, gap(4));
}

/// Proves C-18, C-19. Fault: compaction W-7.
#[test]
fn nothing_older_is_passed() {
    let left = |id| Err(Refusal::LeftBehind { older: table(id) });
    for plan in [merge, moved] {
        check(plan, "L0 3:[a..c] 2:[b..d]", &[3], 1, left(2));
        check(plan, "L0 3:[a..c] 2:[b..d]", &[2], 1, Ok(()));
        check(plan, "L0 3:[a..c] 2:[b..d]", &[3, 2], 1, Ok(()));
        check(plan, "L0 3:[a..c] | 2:[d..e]", &[3], 1, Ok(()));
        check(plan, "L0 3:[a..c] | 2:[d..e]<c..e>", &[3], 1, left(2));
        check(plan, "L1 3:[a..c] | 2:[b..d]", &[3], 2, left(2));
        // A level between.
        check(plan, "L0 3:[a..c] / L1 2:[c..d]", &[3], 2, left(2));
        check(plan, "L0 3:[a..c] / L1 2:[d..e]", &[3], 2, Ok(()));
    }
}

/// Proves C-15.
#[test]
fn nothing_newer_is_overtaken() {
    let newer = |id| Err(Refusal::Overtaken { newer: table(id) });
    check(merge, "L0 4:[a..b] / L1 3:[f..m] | 1:[b..g]", &[4, 1], 1, newer(3));
    check(merge, "L0 4:[a..b] / L1 3:[f..m] | 1:[b..g]", &[4, 3, 1], 1, Ok(()));
    check(merge, "L0 4:[a..b] / L1 3:[b..m] | 1:[f..g]", &[4, 3], 1, Ok(()));
    // In its own level a table stays where it is.
    check(merge, "L1 3:[f..m] | 1:[b..g]", &[1], 1, Ok(()));
}

/// Proves C-15.
#[test]
fn tables_go_down() {
    let up = |id, dest| Err(Refusal::NotDown { table: table(id), dest: Level::new(dest) });
    check(merge, "L1 1:[a..b]", &[1], 0, up(1, 0));
    check(moved, "L1 1:[a..b]", &[1], 0, up(1, 0));
    check(moved, "L1 1:[a..b]", &[1], 1, up(1, 1));
    check(merge, "L1 1:[a..b]", &[1], 1, Ok(()));
}

/// Proves C-15.
#[test]
fn moves_land_where_nothing_is() {
    let overlap = |id| Err(Refusal::Overlap { table: table(id) });
    check(moved, "L0 3:[d..f] / L3 1:[a..d]", &[3], 3, overlap(1));
    check(moved, "L0 3:[d..f] / L3 1:[a..c]<a..e>", &[3], 3, overlap(1));
    check(moved, "L0 3:[d..f]<a..f> / L3 1:[a..c]", &[3], 3, overlap(1));
    check(moved, "L0 3:[d..f] / L3 1:[a..c] | 2:[e..k]", &[3], 3, overlap(2));
    check(moved, "L0 3:[d..f] / L3 1:[a..c] 2:[g..k]", &[3], 3, Ok(()));
}

/// Proves C-41.
#[test]
fn drops_uncover_nothing() {
    let uncovers = |id| Err(Refusal::Uncovers { older: table(id) });
    check(dropped, "L0 3:[a..c] 2:[b..d]", &[3], 0, uncovers(2));
    check(dropped, "L0 3:[a..c] 2:[b..d]", &[2], 0, Ok(()));
    check(dropped, "L0 3:[a..c] 2:[b..d]", &[3, 2], 0, Ok(()));
    check(dropped, "L0 3:[a..c] / L2 2:[b..d]", &[3], 0, uncovers(2));
    check(dropped, "L0 3:[a..c] / L3 2:[b..d]", &[3], 0, uncovers(2));
    check(dropped, "L0 3:<a..c> / L3 2:[b..d]", &[3], 0, uncovers(2));
    check(dropped, "L3 3:[a..c] 2:[d..e]<b..e>", &[3], 0, Ok(()));
    check(dropped, "L3 3:[a..c] | 2:[b..e]", &[3], 0, uncovers(2));
    check(dropped, "L3 3:[a..c] | 2:[b..e]", &[2], 0, Ok(()));
}
