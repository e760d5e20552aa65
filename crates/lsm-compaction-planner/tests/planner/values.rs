//! Which value logs are rewritten, and by which merges.
#![allow(clippy::cast_precision_loss, reason = "numbers of a test are small")]

use std::{collections::BTreeSet, sync::Arc};

use lsm_compaction_planner::{
    CompactionStrategy, Demand, Inputs, Leveled, Plan, Reason, SizeTiered, TableId, ValueGc, ValuesView,
    VlogFigures, VlogPicker, validate,
};
use lsm_manifest::{DirectoryHandle, TreeEdit, VlogDescriptor};
use lsm_types::{
    EditIndex, FileUuid, KeyOrder, Level, TreeId, UnixNanos, ValueHandle, ValueReferences, ValueUsage, VlogId,
};
use proptest::prelude::*;

use crate::builder::{Builder, MIB, Scene, numbered};

/// A value log of 100 bytes, so much of it live, to which these tables refer.
fn log(id: u64, live: u64, tables: &[u64]) -> VlogFigures {
    VlogFigures {
        id: VlogId::new(id),
        total_bytes: 100,
        live_bytes: live,
        tables: Arc::new(tables.iter().map(|id| TableId::new(*id)).collect()),
        is_damaged: false,
    }
}

fn logs(live: &[u64]) -> Vec<VlogFigures> {
    (1..).zip(live).map(|(id, live)| log(id, *live, &[])).collect()
}

/// Figures of value logs by age, the oldest first, and the numbers of those picked.
#[track_caller]
fn check(picker: VlogPicker, live: &[u64], expected: &[u64]) {
    let logs = logs(live);
    let found: Vec<_> = picker.candidates(&logs, true).into_iter().map(|log| log.id.get()).collect();
    assert_eq!(found, expected, "{live:?}");
}

/// Proves D-85. Fault: compaction W-23. Fault: durability W-27.
#[test]
fn the_oldest_quarter_of_all_is_looked_at_and_what_is_mostly_garbage() {
    let picker = VlogPicker::default();
    // One, two, three: the share of all is rounded up.
    check(picker, &[70], &[1]);
    check(picker, &[70, 70], &[1]);
    check(picker, &[70, 70, 70], &[1]);
    check(picker, &[70, 70, 70, 70, 70], &[1, 2]);
    // Just under and at the threshold.
    check(picker, &[76], &[]);
    check(picker, &[75], &[1]);
    // The oldest are full of live values: the share is one of all logs, not of the stale ones.
    check(picker, &[100, 70, 70, 70], &[]);
    // Whatever the age.
    check(picker, &[100, 100, 26, 25, 5], &[5, 4]);
    check(picker, &[100, 0], &[]);
    check(picker, &[], &[]);
    check(VlogPicker::NEVER, &[1, 1, 1, 1], &[]);
    check(VlogPicker::ALWAYS, &[0, 100, 50], &[3, 2]);
}

/// Old before young, garbage before little of it.
#[test]
fn the_best_comes_first() {
    let all = VlogPicker { age_cutoff: 1.0, ..VlogPicker::default() };
    check(all, &[50, 50, 50], &[1, 2, 3]);
    check(all, &[60, 50, 20], &[3, 2, 1]);
    check(all, &[70, 5], &[2, 1]);
}

/// While tables are written, what is less than half garbage waits: it is on its way to more.
#[test]
fn what_is_not_urgent_waits_for_a_quiet_hour() {
    let logs = logs(&[51, 100, 100, 100, 26, 25]);
    let picked = |is_quiet| {
        let all = VlogPicker { age_cutoff: 1.0, ..VlogPicker::default() }.candidates(&logs, is_quiet);
        all.into_iter().map(|log| log.id.get()).collect::<Vec<_>>()
    };
    assert_eq!(picked(true), [5, 6, 1]);
    assert_eq!(picked(false), [5, 6]);
    let half = ValuesView::new(logs.clone(), VlogPicker { age_cutoff: 1.0, ..VlogPicker::default() });
    assert_eq!(half.candidates().len(), 2);
    assert_eq!(half.quiet(true).candidates().len(), 3);
}

/// Proves D-84.
#[test]
fn a_cap_on_space_makes_further_ones_due() {
    let capped = |amp| VlogPicker { max_space_amp: Some(amp), ..VlogPicker::NEVER };
    check(capped(2.0), &[50, 50, 50], &[]);
    // 300 for 140 live, 20 too many: the best frees 50.
    check(capped(2.0), &[50, 50, 40], &[1]);
    check(capped(1.5), &[50, 50, 40], &[1, 2]);
    check(capped(1.0), &[100, 99, 100], &[2]);
    // What is due anyway counts.
    let both = VlogPicker { force_staleness: 0.6, ..capped(2.0) };
    check(both, &[50, 50, 40], &[3]);
}

#[test]
fn settings_that_cannot_hold_are_named() {
    let default = VlogPicker::default();
    assert_eq!([default, VlogPicker::NEVER, VlogPicker::ALWAYS].map(|one| one.problem()), [None; 3]);
    let problem = |picker: VlogPicker| picker.problem().map(|(name, _)| name);
    for wrong in [-0.1, 1.1, f64::NAN] {
        let staleness = VlogPicker { staleness_threshold: wrong, ..default };
        assert_eq!(problem(staleness), Some("staleness_threshold"));
        assert_eq!(problem(VlogPicker { age_cutoff: wrong, ..default }), Some("age_cutoff"));
        assert_eq!(problem(VlogPicker { force_staleness: wrong, ..default }), Some("force_staleness"));
    }
    for wrong in [0.99, f64::NAN, f64::INFINITY] {
        assert_eq!(problem(VlogPicker { max_space_amp: Some(wrong), ..default }), Some("max_space_amp"));
    }
    let none = VlogPicker { table_references_max: 0, ..default };
    assert_eq!(problem(none), Some("table_references_max"));
}

proptest! {
    /// Proves D-85: whatever the figures, the order is total and the rules hold.
    #[test]
    fn candidates_follow_the_rules(
        live in prop::collection::vec(0_u64..=100, 0..20),
        (threshold, cutoff, force) in (0.0..=1.0_f64, 0.0..=1.0_f64, 0.0..=1.0_f64),
        amp in prop::option::of(1.0..3.0_f64),
    ) {
        let picker = VlogPicker {
            staleness_threshold: threshold,
            age_cutoff: cutoff,
            force_staleness: force,
            max_space_amp: amp,
            ..VlogPicker::default()
        };
        let logs = logs(&live);
        let picked: BTreeSet<u64> = picker.candidates(&logs, true).iter().map(|log| log.id.get()).collect();
        prop_assert_eq!(picked.len(), picker.candidates(&logs, true).len());
        for (rank, log) in logs.iter().enumerate() {
            let share = log.garbage_share();
            let is_old = (rank as f64) < cutoff * logs.len() as f64;
            let is_due = log.live_bytes > 0 && (share >= force || (is_old && share >= threshold));
            let is_picked = picked.contains(&log.id.get());
            prop_assert!(!is_due || is_picked, "{} is due", log.id);
            prop_assert!(is_due || !is_picked || amp.is_some(), "{} is not", log.id);
            prop_assert!(log.live_bytes > 0 || !is_picked);
        }
        let (all, alive): (u64, u64) = (100 * live.len() as u64, live.iter().sum());
        let freed: u64 = logs.iter().filter(|log| picked.contains(&log.id.get())).map(VlogFigures::garbage_bytes).sum();
        if let Some(amp) = amp {
            let dead = live.iter().filter(|live| **live == 0).count() as u64 * 100;
            let fits = (all - freed) as f64 <= alive as f64 * amp;
            prop_assert!(fits || all - freed == alive + dead, "everything that helps is picked");
        }
    }
}

/// A value log that holds enough for any table.
fn vlog(id: u64) -> VlogDescriptor {
    VlogDescriptor {
        id: VlogId::new(id),
        uuid: FileUuid::default(),
        file_len: 1 << 51,
        digest: 0,
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(0),
        created_edit: EditIndex::new(0),
        total: ValueUsage { entries: 1 << 20, value_bytes: 1 << 50, stored_bytes: 1 << 50 },
        directory: DirectoryHandle::default(),
        tail_len: 0,
        is_ordered: true,
    }
}

/// Number, level, keys, and value logs of a table.
type Row<'a> = (u64, u8, (u32, u32), &'a [u64]);

/// Tables of two levels, with the value logs that each refers to: a MiB of values in each of them.
fn scene(tables: &[Row<'_>]) -> Scene {
    let mut builder = Builder::new(7, KeyOrder::bytewise());
    let logs: BTreeSet<u64> = tables.iter().flat_map(|(_, _, _, logs)| logs.iter().copied()).collect();
    for id in logs {
        builder.edit.push(TreeId::new(0), TreeEdit::AddVlog { vlog: Arc::new(vlog(id)) });
    }
    let mut level = None;
    for (id, at, keys, logs) in tables {
        if level != Some(*at) {
            builder.run(Level::new(*at));
            level = Some(*at);
        }
        let mut references = ValueReferences::new();
        for log in *logs {
            let (value_len, stored_len) = (1 << 20, 1 << 20);
            let handle = ValueHandle { file: VlogId::new(*log), offset: 512, stored_len, value_len };
            references.record(&handle).unwrap();
        }
        let mut table = numbered(*id, *keys, MIB);
        table.references = references;
        builder.table(table);
    }
    builder.scene()
}

fn view_of(scene: &Scene, picker: VlogPicker, stale: &[(u64, u64)]) -> ValuesView {
    let of = |&(id, live): &(u64, u64)| {
        let refers = |table: &&Arc<lsm_compaction_planner::TableDescriptor>| {
            table.references.get(VlogId::new(id)).entries > 0
        };
        let tables: Vec<_> = scene.levels.tables().map(|(_, table)| table).collect();
        let tables: Vec<u64> =
            tables.iter().filter(|table| refers(table)).map(|table| table.id.get()).collect();
        log(id, live, &tables)
    };
    ValuesView::new(stale.iter().map(of), picker)
}

const TABLES: [Row<'_>; 5] = [
    (20, 0, (0, 9), &[]),
    (10, 6, (0, 1), &[101]),
    (11, 6, (2, 3), &[101, 102]),
    (12, 6, (4, 5), &[102, 103]),
    (13, 6, (6, 7), &[101, 103]),
];
const STALE: [(u64, u64); 4] = [(101, 10), (102, 90), (103, 20), (105, 100)];

/// Proves D-87, C-106. Fault: compaction W-23.
#[test]
fn what_no_merge_comes_by_is_rewritten_where_it_stands() {
    let mut scene = scene(&TABLES);
    let values = view_of(&scene, VlogPicker::default(), &STALE);
    let gc = ValueGc { table_target_bytes: 64 * MIB };
    let plan = gc.plan(&scene.view().with_values(Some(&values)));
    assert_eq!(plan.to_string(), "merge 10 11 -> L6", "the tables next to each other that refer to the best");
    let Plan::Merge(merge) = &plan else { panic!("{plan}") };
    assert_eq!(merge.reason, Reason::ValueGarbage);
    assert_eq!(validate(&plan, &scene.view()), Ok(()));
    // A strategy with nothing else to do does the same, one that has does not.
    let leveled = Leveled { l0_threshold: 4, ..Leveled::default() };
    assert_eq!(leveled.plan(&scene.view().with_values(Some(&values))).to_string(), "merge 10 11 -> L6");
    assert_eq!(leveled.plan(&scene.view()).to_string(), "idle");
    let full = Leveled { l0_threshold: 1, ..Leveled::default() };
    let first = full.plan(&scene.view().with_values(Some(&values)));
    assert!(!first.is_idle() && first == full.plan(&scene.view()), "{first}");
    let tiered = SizeTiered { max_space_amplification_percent: u64::MAX, ..SizeTiered::default() };
    assert_eq!(tiered.plan(&scene.view().with_values(Some(&values))).to_string(), "merge 10 11 -> L6");
    // What is busy waits, what is not goes on.
    let taken = Inputs::select(&scene.view(), [TableId::new(10), TableId::new(11)]);
    assert!(scene.busy.lease(&taken));
    let plan = gc.plan(&scene.view().with_values(Some(&values)));
    assert_eq!(plan.to_string(), "merge 13 -> L6");
    let taken = Inputs::select(&scene.view(), [TableId::new(13)]);
    assert!(scene.busy.lease(&taken));
    let plan = gc.plan(&scene.view().with_values(Some(&values)));
    assert_eq!(plan.to_string(), "merge 12 -> L6", "the next best");
    let never = view_of(&scene, VlogPicker::NEVER, &STALE);
    assert!(gc.plan(&scene.view().with_values(Some(&never))).is_idle());
}

#[test]
fn a_job_takes_tables_up_to_its_limit() {
    let scene = scene(&TABLES);
    let values = view_of(&scene, VlogPicker::default(), &STALE);
    let tiny = ValueGc { table_target_bytes: 1 };
    let plan = tiny.plan(&scene.view().with_values(Some(&values)));
    assert_eq!(plan.to_string(), "merge 10 -> L6");
}

/// Where tables are small and their values are not, upper levels may hide much of the last one.
#[test]
fn what_may_be_garbage_is_found_out() {
    let plan_of = |upper: &[u64], picker: VlogPicker| {
        let eight = [101, 101, 101, 101, 102, 102, 102, 102];
        let scene = scene(&[(20, 0, (0, 9), upper), (10, 6, (0, 5), &eight), (11, 6, (20, 30), &eight[..4])]);
        let values = view_of(&scene, picker, &[(101, 100), (102, 100), (105, 100)]);
        Leveled::default().plan(&scene.view().with_values(Some(&values))).to_string()
    };
    // One of thirteen is less than an eighth, two of fourteen are more.
    let default = VlogPicker::default();
    assert_eq!(plan_of(&[105], default), "idle");
    assert_eq!(plan_of(&[105, 105], default), "merge 20 10 -> L6");
    assert_eq!(plan_of(&[105; 9], VlogPicker::NEVER), "idle");
    let later = VlogPicker { staleness_threshold: 0.5, ..default };
    assert_eq!(plan_of(&[105, 105], later), "idle");
}

/// Proves C-53, C-57, C-106: what is copied is what the inputs hold of those picked.
#[test]
fn demand_holds_the_live_bytes_of_what_is_picked() {
    let scene = scene(&TABLES);
    let values = view_of(&scene, VlogPicker::default(), &STALE);
    let view = scene.view().with_values(Some(&values));
    let demand =
        |ids: &[u64]| Demand::of(&Inputs::select(&view, ids.iter().map(|id| TableId::new(*id))), &view);
    let of = |table_mib, value_mib, reclaims| Demand {
        table_bytes: table_mib * MIB,
        value_bytes: value_mib * MIB,
        reclaims,
    };
    assert_eq!(demand(&[10]), of(1, 1, false));
    assert_eq!(demand(&[11]), of(1, 1, false), "102 is not stale enough");
    assert_eq!(demand(&[10, 11, 13]), of(3, 4, true), "nothing refers to 101 any more");
    assert_eq!(demand(&[20]), of(1, 0, false));
    let plain = view.with_values(None);
    assert_eq!(Demand::of(&Inputs::select(&plain, [TableId::new(10)]), &plain), of(1, 0, false));
}

/// A table that refers to many value logs gathers what it holds next to nothing of.
#[test]
fn references_of_a_table_are_bounded() {
    // Of 1 to 5 a value each, of the others many.
    let of = |slivers: u64| {
        let logs = (1..=14_u64).map(|id| (id, if id <= slivers { 1 } else { 30 }));
        logs.flat_map(|(id, count)| std::iter::repeat_n(id, count)).collect::<Vec<_>>()
    };
    let picked = |logs: &[u64], picker: VlogPicker| {
        let scene = scene(&[(40, 6, (0, 9), logs)]);
        let whole: Vec<_> = (1..=14).map(|id| (id, 100)).collect();
        let values = view_of(&scene, picker, &whole);
        let view = scene.view().with_values(Some(&values));
        let picked = values.pick(&Inputs::select(&view, [TableId::new(40)]));
        assert!(!picked.frees, "nothing of it is garbage");
        // No merge is made for it.
        assert!(ValueGc::default().plan(&view).is_idle());
        picked.logs.into_keys().map(VlogId::get).collect::<Vec<_>>()
    };
    let default = VlogPicker::default();
    assert_eq!(picked(&of(0), default), Vec::<u64>::new(), "each holds its part");
    assert_eq!(picked(&of(3), default), [1, 2, 3]);
    assert_eq!(picked(&of(7), default), [1, 2, 3, 4, 5], "nine are left, and the one they go to");
    let few = VlogPicker { table_references_max: 3, ..default };
    assert_eq!(picked(&of(7), few), [1, 2, 3, 4, 5, 6, 7]);
    let many = VlogPicker { table_references_max: 14, ..default };
    assert_eq!(picked(&of(7), many), Vec::<u64>::new());
}

#[test]
fn damaged_value_logs_are_left_where_they_are() {
    let scene = scene(&TABLES);
    let damaged = STALE.map(|(id, live)| VlogFigures { is_damaged: id != 103, ..log(id, live, &[12, 13]) });
    let values = ValuesView::new(damaged, VlogPicker { table_references_max: 1, ..VlogPicker::ALWAYS });
    let view = scene.view().with_values(Some(&values));
    let picked = values.pick(&Inputs::select(&view, [TableId::new(12), TableId::new(11)]));
    assert_eq!(picked.logs.into_keys().map(VlogId::get).collect::<Vec<_>>(), [103]);
}

/// Proves C-126: what slices move are value logs that no other table leads to and that give back what was copied.
#[test]
fn slices_move_what_only_they_lead_to() {
    let scene = scene(&[(40, 6, (0, 4), &[1, 2, 3]), (41, 6, (5, 9), &[2, 3])]);
    let figures = [log(1, 20, &[40]), log(2, 20, &[40, 41]), log(3, 100, &[40, 41])];
    let picked = |tables: &[u64], refused: u64| {
        let values = ValuesView::new(figures.clone(), VlogPicker::ALWAYS);
        let view = scene.view().with_values(Some(&values));
        let inputs = Inputs::select(&view, tables.iter().map(|id| TableId::new(*id)).collect::<Vec<_>>());
        let picked = values.pick_alone(&inputs, |log| log.get() != refused);
        (picked.logs.into_keys().map(VlogId::get).collect::<Vec<_>>(), picked.frees)
    };
    assert_eq!(picked(&[40], 0), (vec![1], true));
    assert_eq!(picked(&[41], 0), (vec![], false));
    assert_eq!(picked(&[40, 41], 0), (vec![1, 2, 3], true));
    assert_eq!(picked(&[40, 41], 2), (vec![1, 3], true));
    assert_eq!(picked(&[40], 1), (vec![], false));
}

/// Value logs that are to go, such as those under a key that was replaced, are rewritten though nothing in them is garbage,
/// unless they cannot be read.
#[test]
fn what_is_due_is_rewritten_whatever_is_in_it() {
    let scene = scene(&[(40, 6, (0, 4), &[1, 2, 3])]);
    let mut figures = [log(1, 100, &[40]), log(2, 100, &[40]), log(3, 100, &[40])];
    figures[2].is_damaged = true;
    let due = |ids: &[u64]| {
        let due = ids.iter().map(|id| VlogId::new(*id)).collect();
        let values = ValuesView::new(figures.clone(), VlogPicker::NEVER).due(due);
        let view = scene.view().with_values(Some(&values));
        let picked = values.pick_alone(&Inputs::select(&view, [TableId::new(40)]), |_| true);
        (picked.logs.into_keys().map(VlogId::get).collect::<Vec<_>>(), picked.frees)
    };
    assert_eq!(due(&[]), (vec![], false));
    assert_eq!(due(&[2, 3]), (vec![2], true));
}
