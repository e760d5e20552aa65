//! What frees space, in which order, at which price.

use lsm_compaction_planner::{
    CompactionStrategy, PlanView, Relief, ReliefKind, ReliefLimits, Relieve, TableId, ValuesView,
    VlogFigures, VlogPicker, relief, validate,
};
use lsm_types::{Cut, RangeTombstone, SeqNo, TombstoneIndex, VlogId};

use crate::builder::{MIB, Scene};

const LIMITS: ReliefLimits = ReliefLimits { table_target_bytes: 64 * MIB, slice_bytes: Some(2 * MIB) };

fn deletes(ranges: &[(&str, &str, u64)]) -> TombstoneIndex {
    let tombstones = ranges.iter().map(|(start, end, seqno)| {
        let (start, end) = (Cut::Before((*start).into()), Cut::Before((*end).into()));
        RangeTombstone { start, end, seqno: SeqNo::new(*seqno).unwrap() }
    });
    TombstoneIndex::new(tombstones.collect(), lsm_types::KeyOrder::bytewise())
}

/// The steps as text, with MiB freed and needed.
fn text(steps: &[Relief]) -> Vec<String> {
    let mib = |bytes: u64| bytes / MIB;
    let line = |step: &Relief| {
        let slices = if step.kind == ReliefKind::Slices { " by slices" } else { "" };
        format!("{}{slices} frees {} for {}", step.plan, mib(step.frees_bytes), mib(step.transient_bytes))
    };
    steps.iter().map(line).collect()
}

/// Lists the steps; each of them may run, and is found again by its tables.
#[track_caller]
fn check_on(view: &PlanView<'_>, expected: &[&str]) {
    let steps = relief(view, LIMITS);
    assert_eq!(text(&steps), expected);
    assert!(steps.is_sorted_by_key(|step| step.kind), "{steps:?}");
    for step in &steps {
        assert_eq!(validate(&step.plan, view), Ok(()), "{}", step.plan);
        let again = Relieve { kind: step.kind, tables: step.tables(), limits: LIMITS };
        assert_eq!(again.plan(view), step.plan);
    }
    let other = Relieve { kind: ReliefKind::Merge, tables: vec![TableId::new(999)], limits: LIMITS };
    assert!(other.plan(view).is_idle());
}

#[track_caller]
fn check(levels: &str, ranges: &[(&str, &str, u64)], expected: &[&str]) {
    let (scene, deletes) = (Scene::parse(7, levels), deletes(ranges));
    check_on(&scene.view().with_watermark(SeqNo::LATEST).with_deletes(&deletes), expected);
}

/// Proves C-45: tables that are deleted as a whole come first and need nothing, merges follow by what they free for
/// each byte they need meanwhile, all of it by slices comes last.
#[test]
fn cheap_steps_come_first() {
    check("", &[], &[]);
    check("L6 1:[a..z]x100", &[], &[]);
    // Newer over older: each entry hides one below, if there are as many.
    check(
        "L5 2:[a..c]x10 / L6 1:[a..z]x100",
        &[],
        &["merge 2 1 -> L6 frees 100 for 110", "merge 2 1 -> L6 by slices frees 100 for 2"],
    );
    // What frees most for each byte it takes, whether that is a part or the whole.
    check(
        "L5 3:[a..c]x50 4:[p..q]x10 / L6 1:[a..d]x50 2:[e..z]x200",
        &[],
        &[
            "merge 4 2 -> L6 frees 200 for 210",
            "merge 3 4 1 2 -> L6 frees 250 for 310",
            "merge 3 1 -> L6 frees 50 for 100",
            "merge 3 4 1 2 -> L6 by slices frees 250 for 2",
        ],
    );
    // Deletes go with what they hide.
    check(
        "L5 3:[a..c]x10t900000 4:[p..q]x10 / L6 1:[a..d]x50 2:[e..z]x50",
        &[],
        &[
            "merge 3 1 -> L6 frees 59 for 60",
            "merge 3 4 1 2 -> L6 frees 109 for 120",
            "merge 4 2 -> L6 frees 50 for 60",
            "merge 3 4 1 2 -> L6 by slices frees 109 for 2",
        ],
    );
    // Nothing lies below what is moved: nothing is freed.
    check("L5 2:[a..c]x10 / L6 1:[m..z]x100", &[], &[]);
    // What lies under a range tombstone as a whole leaves unread; what does in part is rewritten where it stands.
    check(
        "L6 1:[a..c]x40 2:[d..m]x60 3:[n..z]x20",
        &[("a", "f", 50)],
        &[
            "drop 1 frees 40 for 0",
            "merge 2 -> L6 frees 30 for 60",
            "merge 1 2 3 -> L6 by slices frees 70 for 2",
        ],
    );
}

/// What readers may ask for frees nothing, what another job has is left alone, and without slices none are listed.
#[test]
fn what_cannot_be_freed_is_not_listed() {
    let scene = Scene::parse(7, "L5 2:[a..c]x10 / L6 1:[a..z]x100");
    check_on(&scene.view().with_watermark(SeqNo::ZERO), &[]);
    check_on(&scene.view().with_watermark(SeqNo::new(2).unwrap()), &[]);
    assert_eq!(scene.view().with_watermark(SeqNo::LATEST).dead_weight() / MIB, 100);
    let busy = Scene::parse(7, "L5 2:[a..c]x10 / L6 1*:[a..z]x100");
    check_on(&busy.view().with_watermark(SeqNo::LATEST), &[]);
    let without = ReliefLimits { slice_bytes: None, ..LIMITS };
    let steps = relief(&scene.view().with_watermark(SeqNo::LATEST), without);
    assert_eq!(text(&steps), ["merge 2 1 -> L6 frees 100 for 110"]);
}

/// Value logs with garbage are rewritten in the order of the picker, the old before the young.
#[test]
fn values_are_moved_after_merges() {
    let scene = Scene::parse(7, "L6 1:[a..c]x1 2:[d..z]x1");
    let log = |id: u64, live: u64, table: u64| VlogFigures {
        id: VlogId::new(id),
        total_bytes: 100 * MIB,
        live_bytes: live * MIB,
        tables: std::sync::Arc::new([TableId::new(table)].into()),
        is_damaged: false,
    };
    let values = ValuesView::new([log(7, 20, 1), log(8, 10, 2), log(9, 100, 2)], VlogPicker::default());
    let view = scene.view().with_watermark(SeqNo::LATEST).with_values(Some(&values));
    check_on(&view, &["merge 1 -> L6 frees 80 for 1", "merge 2 -> L6 frees 90 for 1"]);
}
