//! The size-tiered strategy and lazy leveling.

use lsm_compaction_planner::{
    CompactionStrategy, LazyLeveling, Level, Plan, Reason, SettingValue, SizeTiered,
};

use crate::{
    builder::{MIB, Scene},
    scene::{plan_text, valid_plan},
};

#[track_caller]
fn check(levels: &str, expected: &str) {
    check_with(&SizeTiered::default(), levels, expected);
}

#[track_caller]
fn check_with(strategy: &dyn CompactionStrategy, levels: &str, expected: &str) {
    assert_eq!(plan_text(strategy, &Scene::parse(7, levels)), expected, "{levels}");
}

/// Runs of these sizes in MiB, the newest first, all over the same keys; a `*` makes one busy.
fn runs(sizes: &str) -> String {
    let runs = sizes.split_whitespace().enumerate().map(|(at, size)| {
        let (size, busy) = size.strip_suffix('*').map_or((size, ""), |size| (size, "*"));
        format!("{}{busy}:[a..z]x{size}", 100 - at)
    });
    format!("L0 {}", runs.collect::<Vec<_>>().join(" | "))
}

fn lenient() -> SizeTiered {
    SizeTiered { max_space_amplification_percent: u64::MAX, ..SizeTiered::default() }
}

/// Proves C-31, C-32.
#[test]
fn tiers_merge_their_likes() {
    check("", "idle");
    check(&runs("64"), "idle");
    check_with(&lenient(), &runs("64 64 64"), "idle");
    check_with(&lenient(), &runs("64 64 64 64"), "merge 100 99 98 97 -> L0");
    check_with(&lenient(), &runs("64 64 64 64 256"), "merge 100 99 98 97 -> L0");
    // Each at most twice the one before.
    check_with(&lenient(), &runs("1 2 4 8"), "merge 100 99 98 97 -> L0");
    check_with(&lenient(), &runs("1 2 4 9"), "idle");
    check_with(&lenient(), &runs("1 10 100 1000"), "idle");
    let tight = SizeTiered { size_ratio: 0.0, ..lenient() };
    check_with(&tight, &runs("64 64 64 65"), "idle");
    check_with(&tight, &runs("64 64 64 64 65"), "merge 100 99 98 97 -> L0");
    for odd in [f64::NAN, f64::INFINITY, -1.0] {
        let odd = SizeTiered { size_ratio: odd, ..lenient() };
        check_with(&odd, &runs("1 2 4 8"), "merge 100 99 98 97 -> L0");
        check_with(&odd, &runs("1 2 4 9"), "idle");
    }
    // Empty runs are like any.
    check_with(&lenient(), &runs("0 0 0 64"), "merge 100 99 98 97 -> L0");
}

/// Proves C-31, C-32: widths.
#[test]
fn tiers_keep_to_their_widths() {
    let narrow = SizeTiered { min_merge_width: 2, ..lenient() };
    check_with(&narrow, &runs("64 64"), "merge 100 99 -> L0");
    let none = SizeTiered { min_merge_width: 0, max_merge_width: 0, ..lenient() };
    check_with(&none, &runs("64 64 64"), "merge 99 98 -> L0");
    let capped = SizeTiered { min_merge_width: 2, max_merge_width: 3, ..lenient() };
    check_with(&capped, &runs("64 64 64 64 64 64 64 64"), "merge 95 94 93 -> L0");
    let crossed = SizeTiered { min_merge_width: 4, max_merge_width: 3, ..lenient() };
    check_with(&crossed, &runs("64 64 64 64 64 64"), "idle");
}

/// Proves C-32: what all runs may come to.
#[test]
fn tiers_bound_the_space() {
    // Three times the largest.
    check(&runs("64 64 64"), "merge 100 99 98 -> L0");
    check(&runs("64 63 64"), "idle");
    check(&runs("1 1000 999 1000 2 2"), "merge 100 99 98 97 96 95 -> L0");
    check(&runs("10 1000"), "idle");
    let scene = Scene::parse(7, &runs("64 64 64"));
    let plan = valid_plan(&SizeTiered::default(), &scene);
    let Plan::Merge(merge) = &plan else { panic!("{plan}") };
    assert_eq!((merge.reason, merge.output.dest), (Reason::SpaceAmplification, Level::new(0)));
    // With the oldest run among them the outputs are the tree's last tables, else its first.
    assert_eq!(merge.output.canonical, Level::new(6));
    let plan = valid_plan(&lenient(), &Scene::parse(7, &runs("64 64 64 64 256")));
    assert_eq!(plan.output().unwrap().canonical, Level::new(0));
    // Lengths near the end of the numbers.
    check(&runs("17592186044415 17592186044415 17592186044415"), "merge 100 99 98 -> L0");
}

/// Proves C-33, C-17. Fault: compaction W-3.
#[test]
fn tiers_have_no_gaps_in_age() {
    let four = lenient();
    check_with(&four, &runs("1 1 1000 1 1"), "idle");
    check_with(&four, &runs("1 1 1 1000 1"), "idle");
    check_with(&four, &runs("1 1 1 1 1000 1"), "merge 100 99 98 97 -> L0");
    check_with(&four, &runs("1 1000 1 1 1 1"), "merge 98 97 96 95 -> L0");
    // Small and old, large and between, small and new: never the old with the new over what lies between.
    let two = SizeTiered { min_merge_width: 2, ..lenient() };
    check_with(&two, &runs("1 1000 1"), "idle");
    // A busy run is a gap too.
    check_with(&two, &runs("64 64* 64"), "idle");
    check_with(&two, &runs("64 64 64*"), "merge 100 99 -> L0");
    check(&runs("64 64 64* 64 64"), "idle");
    check(&runs("64 64 64 64*"), "merge 100 99 98 -> L0");
}

/// Proves C-35, C-21.
#[test]
fn tiers_tell_debt_and_settings() {
    let debt = |levels: &str| SizeTiered::default().debt(&Scene::parse(7, levels).view()).bytes / MIB;
    assert_eq!([debt(""), debt(&runs("900")), debt(&runs("64 64 64"))], [0, 0, 0]);
    assert_eq!(debt(&runs("64 64 64 64")), 64);
    assert_eq!(debt(&runs("64 64 64* 64")), 64, "what is busy is not merged yet");
    let strategy = SizeTiered { max_merge_width: 7, ..SizeTiered::default() };
    let mut bytes = Vec::new();
    for (_, value) in strategy.settings().iter() {
        value.encode(&mut bytes);
    }
    let expected = [
        &1.0_f64.to_le_bytes()[..],
        &[4, 0, 0, 0, 7, 0, 0, 0],
        &200_u64.to_le_bytes(),
        &(64_u64 << 20).to_le_bytes(),
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(strategy.settings().get("max_merge_width"), Some(&SettingValue::U32(7)));
    assert_eq!(strategy.name(), "SizeTieredCompaction");
}

#[test]
fn lazy_leveling_merges_likes_above_and_empties_them_at_once() {
    let lazy = LazyLeveling::default();
    check_with(&lazy, "", "idle");
    check_with(&lazy, &runs("64 64 64"), "idle");
    check_with(&lazy, &runs("64 64 64 64"), "merge 100 99 98 97 -> L0");
    // Nothing below yet: more than a few tables become the last level.
    check_with(&lazy, &runs("1 256"), "merge 100 99 -> L6");
    check_with(&lazy, &runs("257"), "move 100 -> L6");
    // A last level allows a fifth of itself above, a tenth on average.
    check_with(&lazy, &format!("{} / L6 1:[a..z]x2560", runs("256 256")), "idle");
    check_with(&lazy, &format!("{} / L6 1:[a..z]x2550", runs("256 256")), "merge 100 99 -> L5");
    check_with(&lazy, &format!("{} / L6 1:[a..z]x1000", runs("300")), "move 100 -> L5");
    // What is on its way down goes on, by windows; level 0 waits.
    let levels = "L0 9:[a..z]x900 / L5 8:[a..c]x100 7:[p..q]x100 / L6 1:[b..k]x2000 2:[l..o]x1000";
    let plan = plan_text(&lazy, &Scene::parse(7, levels));
    assert!(["move 7 -> L6", "merge 8 1 -> L6"].contains(&plan.as_str()), "{plan}");
    check_with(&lazy, "L0 9:[a..z]x900 / L5 8*:[a..c]x100 / L6 1*:[b..k]x2000", "idle");
    // Runs newer than a busy one stay.
    let busy = runs("300 200* 100 900");
    check_with(&lazy, &format!("{busy} / L6 1:[a..z]x2000"), "merge 98 97 -> L5");
    check_with(&lazy, &format!("{} / L6 1:[a..z]x2000", runs("300 200 100 900*")), "idle");
    // What another strategy left goes down level by level.
    check_with(&lazy, "L0 9:[a..z]x1 / L3 5:[a..c] / L6 1:[b..k]", "move 5 -> L4");
    let debt = |levels: &str| lazy.debt(&Scene::parse(7, levels).view()).bytes / MIB;
    assert_eq!(debt("L0 9:[a..z]x300 / L3 5:[a..c] / L6 1:[b..k]"), 300 + 64);
    assert_eq!(debt("L0 9:[a..z]x256 / L6 1:[b..k]"), 0);
    // Two levels: straight into the last one.
    let scene = Scene::parse(2, "L0 3:[a..z]x300 | 2:[a..z]x9 / L1 1:[a..z]x900");
    assert_eq!(plan_text(&lazy, &scene), "merge 3 2 1 -> L1");
    assert_eq!(lazy.name(), "LazyLevelingCompaction");
}
