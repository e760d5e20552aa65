//! What a decision costs, counted in comparisons of keys: no clock says how much of a tree was looked at.

use std::{
    cmp::Ordering,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lsm_compaction_planner::{
    CompactionStrategy, Fallback, Fifo, Inputs, KeyOrder, Level, Leveled, MergePlan, OutputSpec, Overdue,
    Plan, Reason, RunPart, validate,
};
use lsm_types::{Comparator, EditIndex, SeqNo, UnixNanos};

use crate::builder::{Builder, MIB, Scene, numbered};

/// Comparisons of a pick: for each of 128 tables a search, and two for each of some 1024 tables below.
const PICK_MAX: u64 = 4_000;

/// Byte order that counts how often it is asked.
#[derive(Default)]
struct Counting(AtomicU64);

impl Comparator for Counting {
    fn name(&self) -> &'static str {
        "test.counting"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.0.fetch_add(1, Relaxed);
        a.cmp(b)
    }
}

/// A tree, and how often its keys were compared.
struct Counted {
    scene: Scene,
    counting: Arc<Counting>,
}

impl Counted {
    /// A full tree of this many tables, each level a tenth of the next, the last but one too large.
    fn tree(table_count: u32) -> Self {
        let last = table_count * 100 / 111;
        Self::of(&[(4, last / 100), (5, last / 10 + last / 500 + 1), (6, last)])
    }

    fn of(levels: &[(u8, u32)]) -> Self {
        let counting = Arc::new(Counting::default());
        let mut builder = Builder::new(7, KeyOrder::new(counting.clone()));
        let mut id = 0;
        for (level, tables) in levels {
            builder.run(Level::new(*level));
            let width = u32::MAX / tables;
            for nth in 0..*tables {
                id += 1;
                let mut table = numbered(id, (nth * width, nth * width + width - 1), 64 * MIB);
                table.created_edit = EditIndex::new(u64::from(nth.wrapping_mul(2_654_435_761) >> 8));
                table.created_at = UnixNanos::new(u64::from(nth) * 1_000_000_000);
                builder.table(table);
            }
        }
        Self { scene: builder.scene(), counting }
    }

    fn count<T>(&self, work: impl FnOnce(&Scene) -> T) -> (u64, T) {
        let before = self.counting.0.load(Relaxed);
        let outcome = work(&self.scene);
        (self.counting.0.load(Relaxed) - before, outcome)
    }

    /// Comparisons for a plan and for its validation.
    #[track_caller]
    fn plan(&self, strategy: &dyn CompactionStrategy) -> (u64, u64, Plan) {
        let late = |scene: &Scene| {
            let view = scene.view().at(UnixNanos::new(u64::MAX)).with_watermark(SeqNo::LATEST);
            strategy.plan(&view)
        };
        let (planning, plan) = self.count(late);
        assert!(!plan.is_idle(), "{}", strategy.name());
        let (validating, valid) = self.count(|scene| validate(&plan, &scene.view()));
        assert_eq!(valid, Ok(()));
        (planning, validating, plan)
    }
}

/// A pick looks at 128 tables and about 1024 below them, however many there are.
///
/// Fault: compaction W-28.
#[test]
fn a_window_costs_the_same_in_any_tree() {
    let (small, large) = (Counted::tree(2_000), Counted::tree(40_000));
    let strategy = Leveled::default();
    let ((planned, validated, _), (planned_large, validated_large, _)) =
        (small.plan(&strategy), large.plan(&strategy));
    // Twenty times the tables: a few more steps of each search.
    assert!(planned_large * 4 <= planned * 5, "{planned} became {planned_large}");
    assert!(planned_large <= PICK_MAX, "{planned_large}");
    assert!(validated_large <= 400, "{validated} became {validated_large}");
    let (debt, _) = large.count(|scene| strategy.debt(&scene.view()));
    assert_eq!(debt, 0, "sizes are kept, not summed up");
}

/// What is idle is found to be idle from sums.
#[test]
fn a_tree_in_shape_costs_next_to_nothing() {
    let tree = Counted::of(&[(5, 2_000), (6, 20_000)]);
    let strategy = Leveled::default();
    let (compared, plan) = tree.count(|scene| strategy.plan(&scene.view()));
    assert_eq!((compared, plan), (0, Plan::Idle));
    let overdue = Fallback(Leveled::default(), Overdue::default());
    let (compared, plan) = tree.count(|scene| overdue.plan(&scene.view().with_watermark(SeqNo::LATEST)));
    assert_eq!((compared, plan), (0, Plan::Idle));
}

/// One table is found, and what it overlaps, by search; the oldest tables of a long row without any.
#[test]
fn what_is_due_is_found_without_a_walk() {
    let tree = Counted::of(&[(5, 2_000), (6, 20_000)]);
    let aged = Overdue { delete_percent: None, age_secs: Some(1), ..Overdue::default() };
    let (compared, _, plan) = tree.plan(&aged);
    assert!(compared <= 500, "{compared} for {plan}");
    let row = Counted::of(&[(0, 20_000)]);
    let (compared, _, plan) = row.plan(&Fifo::new(19_999 * 64 * MIB));
    assert_eq!((compared, plan.to_string().as_str()), (0, "drop 1"));
}

/// A plan made from parts costs by what it takes, not by what there is.
#[test]
fn overlaps_are_searched_not_walked() {
    let compare = |tables: u32| {
        let tree = Counted::of(&[(5, tables / 10), (6, tables)]);
        let level = Level::new(5);
        let (compared, plan) = tree.count(|scene| {
            let view = scene.view();
            let run = view.levels.level(level).runs().first().unwrap();
            let part = RunPart { level, run: run.id, tables: run.tables.iter().take(3).cloned().collect() };
            let inputs = Inputs::new([part]).with_overlapping(&view, Level::new(6));
            let output = OutputSpec::new(&view, &inputs, Level::new(6), Level::new(6), 64 * MIB);
            MergePlan { inputs, output, reason: Reason::Requested }
        });
        assert!((31..=34).contains(&plan.inputs.table_count()), "{}", plan.inputs.table_count());
        compared
    };
    let (few, many) = (compare(1_000), compare(20_000));
    assert!(many <= few + 100, "{few} became {many}");
}
