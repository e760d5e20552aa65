//! Levels in, decision out.

use crate::{
    builder::{MIB, Scene},
    scene::{plan_text, valid_plan},
};
use lsm_compaction_planner::{
    CompactionStrategy, Level, Leveled, Major, MoveDown, Plan, PullDown, Reason, SettingValue,
};

/// Plans of the default parameters in a tree of seven levels.
#[track_caller]
fn check(levels: &str, expected: &str) {
    check_with(&Leveled::default(), 7, levels, expected);
}

#[track_caller]
fn check_with(strategy: &dyn CompactionStrategy, level_count: u8, levels: &str, expected: &str) {
    let scene = Scene::parse(level_count, levels);
    assert_eq!(plan_text(strategy, &scene), expected, "{levels}");
}

/// Plans of a level that is too full: the cheapest window at most edits, the one that waits longest at others.
#[track_caller]
fn check_pick(levels: &str, cheapest: &str, oldest: &str) {
    check_pick_with(&Leveled::default(), 7, levels, cheapest, oldest);
}

#[track_caller]
fn check_pick_with(strategy: &Leveled, level_count: u8, levels: &str, cheapest: &str, oldest: &str) {
    let plan = |edits| plan_text(strategy, &Scene::parse_later(level_count, levels, edits));
    let plans: Vec<String> = (0..64).map(plan).collect();
    let count = |expected: &str| plans.iter().filter(|plan| *plan == expected).count();
    let (cheap, old) = (count(cheapest), count(oldest));
    assert!(old > 0 && (cheapest == oldest || cheap + old == 64), "{levels}: {plans:?}");
    assert!(cheap > 16, "{levels}: {plans:?}");
}

fn fixed() -> Leveled {
    Leveled { dynamic_level_bytes: false, ..Leveled::default() }
}

/// Proves C-27 (step 1), C-28.
#[test]
fn step_1_moves_to_the_last_level() {
    check("", "idle");
    check("L0 1:[a..c]", "move 1 -> L6");
    check("L0 2:[d..f] 3:[g..h] / L6 1:[a..c]", "move 2 3 -> L6");
    check("L0 2:[c..f] / L6 1:[a..c]", "idle");
    check("L0 2*:[d..f] / L6 1:[a..c]", "idle");
    check("L0 2:[d..f] / L6 1*:[a..c]", "idle");
    // Two runs are not one, even when they do not overlap.
    check("L0 2:[d..f] | 3:[g..h] / L6 1:[a..c]", "idle");
    // Range tombstones count.
    check("L0 2:[d..f]<c..f> / L6 1:[a..c]", "idle");
    check("L0 2:[d..f] / L6 1:[a..c]<a..e>", "idle");
    check("L0 2:<d..f> / L6 1:[a..c]", "merge 2 -> L6");
    check("L0 2:<c..f> / L6 1:[a..c]", "idle");
}

/// Proves C-27 (step 2).
#[test]
fn step_2_moves_to_the_first_level() {
    check("L0 3:[d..f] / L5 2:[a..c] / L6 1:[a..f]", "move 3 -> L5");
    check("L0 3:[c..f] / L5 2:[a..c] / L6 1:[a..f]", "idle");
    check("L0 3*:[d..f] / L5 2:[a..c] / L6 1:[a..f]", "idle");
    check("L0 3:[d..f] / L5 2*:[a..c] / L6 1:[a..f]", "idle");
    check("L0 4:[g..h] / L5 3:[a..c] | 2:[b..d] / L6 1:[a..f]", "idle");
}

/// Proves C-27 (step 3).
#[test]
fn step_3_merges_small_neighbours() {
    check("L0 3:[a..d]x16 2:[c..f]x16 / L6 1:[a..f]", "merge 3 2 -> L0");
    check("L0 3:[a..d]x17 2:[c..f]x16 / L6 1:[a..f]", "idle");
    check("L0 4:[a..d]x1 3:[c..f]x17 2:[c..f]x1 / L6 1:[a..f]", "idle");
    // A run counts as a whole.
    check("L0 3:[a..b]x9 4:[c..d]x9 2:[c..f]x1 / L6 1:[a..f]", "idle");
    check("L0 4:[a..d]x1 3:[c..f]x1 2:[a..f]x64 / L6 1:[a..f]", "merge 4 3 -> L0");
    check("L0 4*:[a..d]x1 3:[c..f]x1 2:[a..f]x1 / L6 1:[a..f]", "idle");
    let scene = Scene::parse(7, "L0 3:[a..d]x1 2:[c..f]x1 / L6 1:[a..f]");
    let Plan::Merge(plan) = valid_plan(&Leveled::default(), &scene) else { panic!("small runs are merged") };
    assert_eq!((plan.output.canonical, plan.reason), (Level::new(0), Reason::SmallRuns));
    // Of two stretches the newer.
    let five = Leveled { l0_threshold: 6, ..Leveled::default() };
    let levels = "L0 6:[a..d]x1 5:[c..f]x1 4:[a..f]x64 3:[a..f]x1 2:[a..f]x1 / L6 1:[a..f]";
    check_with(&five, 7, levels, "merge 6 5 -> L0");
}

/// Proves C-27 (step 5), C-23.
#[test]
fn step_5_empties_level_0() {
    let full = "L0 5:[a..d] 4:[c..f] 3:[e..k] 2:[j..p]";
    check(&format!("{full} / L6 1:[a..f]"), "merge 5 4 3 2 1 -> L6");
    check(full, "merge 5 4 3 2 -> L6");
    check(&format!("{full} / L6 1:[r..z]"), "merge 5 4 3 2 -> L6");
    check(&format!("{full} / L5 6:[a..b] 7:[q..z] / L6 1:[a..f]"), "merge 5 4 3 2 6 -> L5");
    check(&format!("{full} / L6 1*:[a..f]"), "idle");
    check("L0 5*:[a..d] 4:[c..f] 3:[e..k] 2:[j..p] 6:[a..z] / L6 1:[a..f]", "idle");
    // Many tables that do not overlap are one run.
    check("L0 5:[a..b] 4:[c..d] 3:[e..f] 2:[g..h] / L6 1:[a..f]", "idle");
    // Range tombstones reach tables that no entry reaches.
    check("L0 5:[a..d]<a..z> 4:[c..f] 3:[e..k] 2:[j..p] / L6 1:[r..s]", "merge 5 4 3 2 1 -> L6");
    check("L0 5:<r..z> 4:[c..f] 3:[e..k] 2:[j..p] / L6 1:[r..s]", "merge 5 4 3 2 1 -> L6");
    // What lies in a gap stays, and no output may span it.
    let scene = Scene::parse(7, "L0 5:[a..b] 4:[a..b] | 3:[x..z] 2:[x..z] / L6 1:[a..c] 6:[f..k] 7:[y..z]");
    let plan = valid_plan(&Leveled::default(), &scene);
    assert_eq!(plan.to_string(), "merge 5 4 3 2 1 7 -> L6");
    let cuts = &plan.output().unwrap().cuts;
    assert_eq!(format!("{cuts:?}"), "[After(b\"c\")]");
    let one = Leveled { l0_threshold: 1, ..Leveled::default() };
    check_with(&one, 7, "L0 3:[d..f] / L5 2*:[a..c] / L6 1:[a..f]", "idle");
}

/// Proves C-27 (step 6).
#[test]
fn step_6_skips_a_full_first_level() {
    let both = Leveled { multi_level: true, ..Leveled::default() };
    let l0 = "L0 5:[a..d] 4:[c..f] 3:[e..k] 2:[j..p] 10:[k..m]";
    // The first level is full at 256 MiB.
    let full = format!("{l0} / L5 6:[a..b]x200 7:[q..z]x57 / L6 1:[a..c] 8:[p..r] 9:[zz..zzz]");
    check_with(&both, 7, &full, "merge 5 4 3 2 10 6 7 1 8 -> L6");
    check(&full, "merge 5 4 3 2 10 6 -> L5");
    let room = format!("{l0} / L5 6:[a..b]x200 7:[q..z]x56 / L6 1:[a..c] 8:[p..r]");
    check_with(&both, 7, &room, "merge 5 4 3 2 10 6 -> L5");
    // The second level is busy.
    let busy = format!("{l0} / L5 6:[a..b]x200 7:[q..z]x57 / L6 1:[a..c] 8:[p..r] 9*:[zz..zzz]");
    check_with(&both, 7, &busy, "merge 5 4 3 2 10 6 -> L5");
    // With four runs level 0 is full, but the first level is fuller.
    check_with(&both, 7, &full.replace("10:[k..m]", ""), "merge 6 1 -> L6");
    // Gaps pull nothing in.
    let sparse = "L0 5:[a..b] 4:[a..b] | 3:[x..z] 2:[x..z] 10:[x..z] / L5 6:[a..b]x300 / L6 1:[a..c] 7:[f..k] 8:[y..z]";
    check_with(&both, 7, sparse, "merge 5 4 3 2 10 6 1 8 -> L6");
    let fixed_both = Leveled { multi_level: true, ..fixed() };
    check_with(&fixed_both, 7, &full, "merge 5 4 3 2 10 6 7 1 8 -> L6");
}

/// Proves C-27 (steps 4 and 7), C-24, C-16.
#[test]
fn step_7_shrinks_a_full_level() {
    let two = |l5: &str| format!("L5 {l5} / L6 1:[a..c] 2:[d..f] 3:[g..i]");
    check(&two("4:[a..b]x128 5:[d..k]x128"), "idle");
    // One MiB over: the table with less below it for its bytes.
    check_pick(&two("5:[a..b]x129 4:[d..k]x128"), "merge 5 1 -> L6", "merge 4 2 3 -> L6");
    // What overlaps nothing goes first, together with its neighbours, as it is.
    check_pick(
        &two("4:[a..b]x129 5:[j..k]x64 6:[l..m]x64 7:[n..o]x1"),
        "move 5 6 7 -> L6",
        "merge 4 1 -> L6",
    );
    check_pick(&two("4:[a..b]x129 5:[j..k]x65 6*:[l..m]x64 7:[n..o]x64"), "move 5 -> L6", "merge 4 1 -> L6");
    // Busy tables do not count towards the size.
    check(&two("4:[a..b]x129 5*:[d..k]x128"), "idle");
    check(&two("4:[a..b]x300 5*:[d..k]x128"), "merge 4 1 -> L6");
    // What is above a busy table waits.
    check("L5 4:[a..b]x300 5:[d..k]x128 / L6 1*:[a..c] 2:[d..f] 3:[g..i]", "merge 5 2 3 -> L6");
    check("L5 4:[a..b]x300 5:[d..k]x128 / L6 1*:[a..c] 2*:[d..f] 3:[g..i]", "idle");
    // A neighbour that adds nothing below comes along.
    check_pick(
        "L5 4:[a..b]x300 5:[c..d]x9 3:[k..l]x10 / L6 1:[a..e]x640 2:[k..z]x640",
        "merge 4 5 1 -> L6",
        "merge 3 2 -> L6",
    );
    // Of levels equally full the deeper.
    let three = "L3 7:[a..b]x512 / L4 4:[a..b]x5120 / L5 5:[a..z]x25600 / L6 6:[a..z]x9";
    check_with(&fixed(), 7, three, "merge 4 5 -> L5");
    // The next level is empty: whatever the scores, a move.
    check_with(&fixed(), 7, "L3 7:[a..b]x25600 / L4 4:[a..b]x2561 / L6 6:[a..z]x9", "move 4 -> L5");
}

/// Proves C-29.
#[test]
fn tombstones_count_for_what_they_free() {
    let levels = |tombstones: &str| {
        format!("L5 5:[a..b]x150{tombstones} 4:[d..k]x200 / L6 1:[a..c]x500 2:[d..f]x250 3:[g..i]x250")
    };
    check_pick(&levels(""), "merge 4 2 3 -> L6", "merge 4 2 3 -> L6");
    check_pick(&levels("t500000"), "merge 5 1 -> L6", "merge 4 2 3 -> L6");
}

/// Proves C-25, C-24.
#[test]
fn fixed_sizes_open_levels_upward() {
    let l0 = "L0 9:[a..d] 8:[a..d] 7:[a..d] 6:[a..d] 5:[a..d]";
    check_with(&fixed(), 7, &format!("{l0} / L6 1:[a..z]x256"), "merge 9 8 7 6 5 1 -> L6");
    check_with(&fixed(), 7, &format!("{l0} / L6 1:[a..z]x257"), "merge 9 8 7 6 5 -> L5");
    let canonical = |text: &str| {
        let plan = valid_plan(&fixed(), &Scene::parse(7, text));
        let output = plan.output().unwrap().clone();
        (output.dest.get(), output.canonical.get())
    };
    assert_eq!(canonical(&format!("{l0} / L6 1:[a..z]x257")), (5, 1));
    assert_eq!(canonical(&format!("{l0} / L5 2:[a..z]x257 / L6 1:[a..z]x2560")), (5, 1));
    assert_eq!(canonical(&format!("{l0} / L5 2:[a..z]x257 / L6 1:[a..z]x2561")), (4, 1));
    assert_eq!(canonical("L5 2:[a..z]x257 / L6 1:[a..z]x2560"), (6, 2));
    // Busy tables do not count.
    assert_eq!(canonical(&format!("{l0} / L6 1:[a..z]x256 2*:[za..zz]x900 / L5 3:[x..y]x257")), (5, 1));
    // There is nothing above level 1.
    let full = "L1 2:[a..c]x100 3:[x..z]x100 / L2 1:[a..z]x99999";
    check_with(&fixed(), 3, &format!("{l0} / {full}"), "merge 9 8 7 6 5 2 -> L1");
}

/// Proves C-26.
#[test]
fn dynamic_sizes_follow_the_last_level() {
    let l0 = "L0 9:[a..d] 8:[a..d] 7:[a..d] 6:[a..d] 5:[a..d]";
    // A level opens when it may hold 256 MiB.
    check(&format!("{l0} / L6 1:[a..z]x2559"), "merge 9 8 7 6 5 1 -> L6");
    check(&format!("{l0} / L6 1:[a..z]x2560"), "merge 9 8 7 6 5 -> L5");
    check("L5 2:[a..z]x300 / L6 1:[a..z]x3000", "idle");
    check("L5 2:[a..z]x301 / L6 1:[a..z]x3000", "merge 2 1 -> L6");
    // The first of two levels opens when the second is full and the last is large enough.
    check(&format!("{l0} / L5 2:[a..z]x2500 / L6 1:[a..z]x25600"), "merge 9 8 7 6 5 -> L4");
    check(&format!("{l0} / L5 2:[a..z]x2500 / L6 1:[a..z]x25599"), "merge 9 8 7 6 5 2 -> L5");
    // Small trees have fixed sizes.
    check("L5 2:[a..z]x256 / L6 1:[a..z]x100", "idle");
    check("L5 2:[a..z]x257 / L6 1:[a..z]x100", "merge 2 1 -> L6");
    // What fills the deepest level in use does not rest above an empty one.
    check("L5 2:[a..z]x9000", "move 2 -> L6");
    // Ratios that are no numbers: fixed sizes, with ten in their place.
    for ratio in [f32::NAN, f32::INFINITY, 0.0, -3.0] {
        let odd = Leveled { level_ratios: vec![ratio], ..Leveled::default() };
        check_with(&odd, 7, "L5 2:[a..z]x257 / L6 1:[a..z]x5000", "merge 2 1 -> L6");
        check_with(&odd, 7, "L4 3:[a..z]x1 / L5 2:[a..z]x2560 / L6 1:[a..z]x5000", "idle");
    }
    // Ratios step by step, the last repeated.
    let steps = Leveled { level_ratios: vec![4.0, 8.0], ..fixed() };
    check_with(&steps, 7, "L3 9:[a..b]x1 / L4 3:[a..z]x1024 / L5 2:[a..z]x8192 / L6 1:[a..z]x1", "idle");
    check_with(
        &steps,
        7,
        "L3 9:[a..b]x1 / L4 3:[a..z]x1025 / L5 2:[a..z]x8192 / L6 1:[a..z]x1",
        "merge 3 2 -> L5",
    );
    check_with(
        &steps,
        7,
        "L3 9:[a..b]x1 / L4 3:[a..z]x1024 / L5 2:[a..z]x8193 / L6 1:[a..z]x1",
        "merge 2 1 -> L6",
    );
}

/// Proves C-18, C-17. Fault: compaction W-7.
#[test]
fn runs_of_a_level_are_closed_downward() {
    // Only the oldest run may leave first; a part of a newer run would pass it.
    check("L5 4:[a..c]x200 5:[j..k]x90 | 2:[b..d]x200 / L6 1:[x..z]", "merge 2 -> L6");
    check("L5 4:[a..c]x200 | 2:[b..d]x200 / L6 1:[a..b] 3:[c..z]", "merge 2 1 3 -> L6");
    // Outputs go on top of the next level, so what overlaps them there comes along from every run.
    check("L5 4:[a..b]x300 / L6 3:[f..m] | 1:[b..g] | 2:[l..p]", "merge 4 3 1 2 -> L6");
    check("L5 4:[a..b]x300 / L6 3*:[f..m] | 1:[b..g]", "idle");
}

/// Proves C-19.
#[test]
fn range_tombstones_widen_what_is_taken() {
    check("L5 4:[a..b]<a..z>x300 / L6 1:[a..c] 2:[x..z]", "merge 4 1 2 -> L6");
    check("L5 4:[a..b]x300 / L6 1:[a..c] 2:[x..y] 3:[z..zz]<b..zz>", "merge 4 1 3 -> L6");
    check("L5 4:<a..z>x300 / L6 1:[a..c] 2:[x..z]", "merge 4 1 2 -> L6");
    check("L0 5:<a..k> | 4:<c..f> | 3:<e..k> | 2:<j..p>", "merge 5 4 3 2 -> L6");
    check("L0 5:<a..k>x1 | 4:<c..f>x1 / L6 1:[a..z]", "merge 5 4 -> L0");
}

/// Proves C-27 (step 7), C-29: a window larger than fifty targets only where there is no smaller one.
#[test]
fn windows_are_capped() {
    let levels = "L1 5:[a..b]x300 4:[x..y]x10 / L2 1:[a..c]x3201 2:[w..z]x800";
    check_pick_with(&fixed(), 3, levels, "merge 4 2 -> L2", "merge 4 2 -> L2");
    let levels = "L1 4:[a..b]x300 / L2 1:[a..c]x3201";
    check_pick_with(&fixed(), 3, levels, "merge 4 1 -> L2", "merge 4 1 -> L2");
    // Together they would come to more.
    let levels = "L1 4:[a..b]x1600 5:[c..d]x1601 / L2 1:[b..c]x9";
    check_pick_with(&fixed(), 3, levels, "merge 5 1 -> L2", "merge 4 1 -> L2");
}

/// Proves C-28. Fault: compaction W-5.
#[test]
fn any_number_of_levels() {
    let l0 = "L0 9:[a..d] 8:[a..d] 7:[a..d] 6:[a..d]";
    check_with(&Leveled::default(), 2, l0, "merge 9 8 7 6 -> L1");
    check_with(&Leveled::default(), 2, &format!("{l0} / L1 1:[a..z]x99999"), "merge 9 8 7 6 1 -> L1");
    check_with(&Leveled::default(), 3, &format!("{l0} / L2 1:[a..z]x99999"), "merge 9 8 7 6 -> L1");
    check_with(&Leveled::default(), 9, "L0 1:[a..c]", "move 1 -> L8");
    check_with(&Leveled::default(), 255, l0, "merge 9 8 7 6 -> L254");
    check_with(&Leveled::default(), 255, &format!("{l0} / L254 1:[a..z]x2560"), "merge 9 8 7 6 -> L253");
    for count in [2, 3, 7, 9, 255] {
        let last = count - 1;
        check_with(&Major::default(), count, l0, &format!("merge 9 8 7 6 -> L{last}"));
    }
}

/// Proves C-22, C-30.
#[test]
fn debt_is_what_must_be_rewritten() {
    #[track_caller]
    fn debt(strategy: &Leveled, levels: &str, mib: u64) {
        let scene = Scene::parse(7, levels);
        assert_eq!(strategy.debt(&scene.view()).bytes, mib * MIB, "{levels}");
    }
    debt(&fixed(), "", 0);
    debt(&fixed(), "L0 9:[a..d] 8:[a..d] 7:[a..d]", 0);
    debt(&fixed(), "L0 9:[a..d] 8:[a..d] 7:[a..d] 6:[a..d]x2", 194);
    // The first level in use is measured as the first, wherever it stands.
    debt(&fixed(), "L5 2:[a..z]x300 / L6 1:[a..z]x2560", 44);
    debt(&fixed(), "L4 3:[a..z]x300 / L5 2:[a..z]x2600 / L6 1:[a..z]x25600", 84);
    debt(&Leveled::default(), "L5 2:[a..z]x301 / L6 1:[a..z]x3000", 1);
    // Running jobs have not rewritten it yet.
    debt(&fixed(), "L5 2*:[a..z]x300 / L6 1:[a..z]x2560", 44);
    debt(&fixed(), "L0 9*:[a..d] 8*:[a..d] 7*:[a..d] 6*:[a..d]", 256);
}

/// Proves C-21.
#[test]
fn settings_are_listed_and_encoded() {
    let strategy = Leveled { level_ratios: vec![10.0, 8.0], ..Leveled::default() };
    assert_eq!(strategy.name(), "LeveledCompaction");
    let settings = strategy.settings();
    let names: Vec<_> = settings.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["l0_threshold", "table_target_bytes", "level_ratios", "dynamic_level_bytes", "multi_level"]
    );
    let mut bytes = Vec::new();
    for (_, value) in settings.iter() {
        value.encode(&mut bytes);
    }
    assert_eq!(bytes, [4, 0, 0, 0, 4, 0, 0, 0, 0, 2, 0, 0, 0x20, 0x41, 0, 0, 0, 0x41, 1, 0]);
    assert_eq!(settings.get("multi_level"), Some(&SettingValue::Bool(false)));
}

/// Proves C-39, C-43.
#[test]
fn one_shots() {
    let major = Major::default();
    check_with(&major, 7, "", "idle");
    check_with(&major, 7, "L0 3:[a..c] 2:[b..d] / L3 4:[a..z] / L6 1:[a..z]", "merge 3 2 4 1 -> L6");
    check_with(&major, 7, "L0 3:[a..c] 2:[b..d] / L6 1*:[a..z]", "idle");
    check_with(&major, 7, "L6 1:[a..z]", "merge 1 -> L6");
    let plan = valid_plan(&Major { target_bytes: 5 }, &Scene::parse(7, "L0 3:[a..c] / L6 1:[a..z]"));
    let output = plan.output().unwrap();
    assert_eq!((output.dest, output.canonical, output.target_bytes), (Level::new(6), Level::new(6), 5));

    let down = MoveDown { from: Level::new(0), to: Level::new(3) };
    check_with(&down, 7, "L0 3:[a..c] 2:[b..d] / L6 1:[a..z]", "move 3 2 -> L3");
    check_with(&down, 7, "L0 3:[a..c] 2*:[b..d]", "idle");
    let pull = PullDown { from: Level::new(5), to: Level::new(6) };
    check_with(&pull, 7, "L0 9:[a..b] / L5 3:[a..c] 2:[x..z] / L6 1:[a..z]", "merge 3 2 1 -> L6");
    check_with(&pull, 7, "L5 3:[a..c] / L6 1*:[a..z]", "idle");
    let names = [major.name(), down.name(), pull.name()];
    assert_eq!(names, ["MajorCompaction", "MoveDownCompaction", "PullDownCompaction"]);
}
