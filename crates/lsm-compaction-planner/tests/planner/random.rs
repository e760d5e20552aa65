//! Any levels at all.

use lsm_compaction_planner::{
    CompactionStrategy, KeyOrder, LazyLeveling, Level, Leveled, Major, Overdue, Plan, PlanView, Refusal,
    SizeTiered, TableDescriptor, TableId, validate,
};
use lsm_types::{Cut, RunId, SeqNo, Slice, UnixNanos};
use proptest::{prelude::*, sample::Index};

use crate::builder::{Builder, MIB, Scene, descriptor, numbered};

/// A run: for each table the gap before it, the width of its keys, its length, and what its tombstones do.
type RunShape = Vec<(u32, u32, u64, Widened)>;

#[derive(Clone, Copy, Debug)]
enum Widened {
    Not,
    By(u32),
    /// Range tombstones alone.
    Only,
}

fn widened() -> impl Strategy<Value = Widened> {
    prop_oneof![
        8 => Just(Widened::Not),
        1 => (0..200_u32).prop_map(Widened::By),
        1 => Just(Widened::Only),
    ]
}

fn levels(count: u8) -> impl Strategy<Value = Vec<(u8, Vec<RunShape>)>> {
    let run = || {
        let bytes = prop_oneof![Just(64 * MIB), 0..64 * MIB, 0..4096 * MIB, Just(u64::MAX / 4)];
        prop::collection::vec((0..120_u32, 0..120_u32, bytes, widened()), 1..12)
    };
    let runs = prop_oneof![3 => prop::collection::vec(run(), 1), 1 => prop::collection::vec(run(), 2..6)];
    prop::collection::vec((0..count, runs), 0..6)
}

fn scene(count: u8, shapes: &[(u8, Vec<RunShape>)], busy: &[Index]) -> Scene {
    let mut builder = Builder::new(count, KeyOrder::bytewise());
    let mut placed = Vec::new();
    let mut id = 0;
    for (level, runs) in shapes {
        let level = Level::new(*level);
        for run in runs {
            let mut next = 0;
            let mut open = false;
            for (gap, width, bytes, widened) in run {
                id += 1;
                let (min, max) = (next + gap, next + gap + width);
                next = max + 1;
                let table = table(id, (min, max), *bytes, *widened);
                let alone = table.entries.is_none();
                if !open || alone {
                    builder.run(level);
                }
                open = !alone;
                placed.push((level, RunId::new(builder.run.1), table.clone()));
                builder.table(table);
            }
        }
    }
    let mut scene = builder.scene();
    for index in busy.iter().filter(|_| !placed.is_empty()) {
        let (level, run, table) = index.get(&placed);
        scene.busy.insert(*level, *run, table);
    }
    scene
}

fn table(id: u64, keys: (u32, u32), bytes: u64, widened: Widened) -> TableDescriptor {
    let mut table = numbered(id, keys, bytes);
    let key = |at: u32| Slice::from(at.to_be_bytes().as_slice());
    let by = match widened {
        Widened::Not => return table,
        Widened::By(by) => by,
        Widened::Only => {
            table = descriptor(id, None, bytes);
            0
        }
    };
    table.coverage_start = Cut::Before(key(keys.0.saturating_sub(by)));
    table.coverage_end = Cut::After(key(keys.1 + by));
    table
}

fn strategy() -> impl Strategy<Value = Leveled> {
    let ratios = prop::collection::vec(prop_oneof![Just(10.0_f32), 0.5..20.0_f32, Just(f32::NAN)], 0..3);
    (0..6_u8, ratios, any::<bool>(), any::<bool>()).prop_map(
        |(l0_threshold, level_ratios, dynamic_level_bytes, multi_level)| Leveled {
            l0_threshold,
            level_ratios,
            dynamic_level_bytes,
            multi_level,
            ..Leveled::default()
        },
    )
}

fn counted() -> impl Strategy<Value = (u8, Vec<(u8, Vec<RunShape>)>)> {
    prop::sample::select(vec![2_u8, 3, 7, 9, 255]).prop_flat_map(|count| (Just(count), levels(count)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    /// Proves C-13, C-14, C-20, C-28. Fault: compaction W-5.
    #[test]
    fn every_plan_is_valid(
        (count, shapes) in counted(),
        strategy in strategy(),
        busy in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let scene = scene(count, &shapes, &busy);
        let lazy = LazyLeveling { merge_width: 2, last_ratio: 3, ..LazyLeveling::default() };
        let tiered = SizeTiered { min_merge_width: 2, ..SizeTiered::default() };
        let overdue = Overdue { age_secs: Some(1), ..Overdue::default() };
        let all: [&dyn CompactionStrategy; 5] = [&strategy, &Major::default(), &lazy, &tiered, &overdue];
        let view = scene.view().at(UnixNanos::new(u64::MAX)).with_watermark(SeqNo::LATEST);
        for strategy in all {
            let plan = strategy.plan(&view);
            prop_assert_eq!(validate(&plan, &view), Ok(()), "{}: {}", strategy.name(), plan);
            prop_assert_eq!(&plan, &strategy.plan(&view));
            strategy.debt(&view);
            if let Plan::Merge(merge) = &plan {
                for smaller in merge.smaller(&view) {
                    let smaller = Plan::Merge(smaller);
                    prop_assert_eq!(validate(&smaller, &view), Ok(()), "{} of {}", smaller, plan);
                    prop_assert_eq!(broken_pair(&smaller, &view), None, "{} of {}", smaller, plan);
                }
            }
        }
    }

    /// Proves C-15, C-17, C-18.
    #[test]
    fn accepted_plans_keep_newer_above_older(
        (count, shapes) in counted(),
        taken in prop::collection::vec(any::<Index>(), 1..6),
        dest in any::<Index>(),
    ) {
        let scene = scene(count, &shapes, &[]);
        let view = scene.view();
        let ids: Vec<TableId> = scene.levels.tables().map(|(_, table)| table.id).collect();
        prop_assume!(!ids.is_empty());
        let taken = taken.iter().map(|index| *index.get(&ids));
        let dest = Level::new(u8::try_from(dest.index(usize::from(count))).unwrap());
        let plan = Plan::merge(&view, taken, dest, 1);
        let verdict = validate(&plan, &view);
        let broken = broken_pair(&plan, &view);
        if verdict.is_ok() {
            prop_assert_eq!(broken, None);
        }
        // Nor is it stricter than that, but for what lies between runs in age.
        if let Err(Refusal::LeftBehind { .. } | Refusal::Overtaken { .. }) = verdict {
            prop_assert!(broken.is_some());
        }
    }
}

/// An input and a table that stays, overlapping it, whose order the plan would turn round.
fn broken_pair(plan: &Plan, view: &PlanView<'_>) -> Option<(TableId, TableId)> {
    let (Some(inputs), Some(output)) = (plan.inputs(), plan.output()) else { return None };
    let order = view.order();
    // Places from new to old, with room in between for outputs.
    let mut tables = Vec::new();
    for (level, runs) in view.levels.iter() {
        for (nth, run) in runs.runs().iter().enumerate() {
            tables.extend(run.tables.iter().map(|table| ((level, 2 * nth + 1), table)));
        }
    }
    let is_input = |id: TableId| inputs.tables().any(|table| table.id == id);
    let (taken, stay): (Vec<_>, Vec<_>) = tables.into_iter().partition(|(_, table)| is_input(table.id));
    let all_at_dest = taken.iter().all(|((level, _), _)| *level == output.dest);
    let newest = taken.first()?.0;
    let place = if all_at_dest { (newest.0, newest.1 + 1) } else { (output.dest, 0) };
    for (old_place, input) in &taken {
        for (other_place, other) in &stay {
            let overlaps = input.coverage_start.compare(&other.coverage_end, order).is_lt()
                && other.coverage_start.compare(&input.coverage_end, order).is_lt();
            let turned = (other_place < old_place) != (*other_place < place);
            if overlaps && turned && other_place != old_place {
                return Some((input.id, other.id));
            }
        }
    }
    None
}
