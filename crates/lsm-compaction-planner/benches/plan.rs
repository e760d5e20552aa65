//! What a decision costs, in trees of a thousand and of a hundred thousand tables.

#![expect(clippy::unwrap_used, reason = "a bench has nobody to hand an error to")]

#[path = "../tests/planner/builder.rs"]
mod builder;

use std::hint::black_box;

use builder::{Builder, MIB, Scene, numbered};
use criterion::{Criterion, criterion_group, criterion_main};
use lsm_compaction_planner::{
    CompactionStrategy, DropRange, Fallback, Fifo, KeyOrder, LazyLeveling, Level, Leveled, Overdue,
    SizeTiered, validate,
};
use lsm_types::{Cut, EditIndex, RangeTombstone, SeqNo, TombstoneIndex, UnixNanos};

/// A full tree of tables of 64 MiB over one range of keys, each level a tenth of the next, the last but one too large.
fn tree(table_count: u32) -> Scene {
    let mut builder = Builder::new(7, KeyOrder::bytewise());
    let last = table_count * 100 / 111;
    let mut id = 0;
    for (level, tables) in [(4, last / 100), (5, last / 10 + last / 500), (6, last)] {
        builder.run(Level::new(level));
        let width = u32::MAX / tables.max(1);
        for nth in 0..tables {
            id += 1;
            let mut table = numbered(id, (nth * width, nth * width + width - 1), 64 * MIB);
            // Edits are spread over the level.
            table.created_edit = EditIndex::new(u64::from(nth.wrapping_mul(2_654_435_761) >> 8));
            builder.table(table);
        }
    }
    builder.scene()
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan/leveled");
    for (name, table_count) in [("1k", 1_000), ("100k", 100_000)] {
        let mut scene = tree(table_count);
        let strategy = Leveled::default();
        assert!(!strategy.plan(&scene.view()).is_idle(), "level 5 is too large");
        group.bench_function(name, |bencher| {
            bencher.iter(|| strategy.plan(black_box(&scene.view())));
        });
        // Two jobs running.
        for _ in 0..2 {
            let job = strategy.plan(&scene.view());
            assert!(scene.busy.lease(job.inputs().unwrap()));
        }
        group.bench_function(format!("{name}/busy"), |bencher| {
            bencher.iter(|| strategy.plan(black_box(&scene.view())));
        });
        let plan = strategy.plan(&scene.view());
        group.bench_function(format!("{name}/validate"), |bencher| {
            bencher.iter(|| validate(black_box(&plan), &scene.view()));
        });
        group.bench_function(format!("{name}/debt"), |bencher| {
            bencher.iter(|| strategy.debt(black_box(&scene.view())));
        });
    }
    group.finish();
}

/// A level 0 of two runs of these tables, the newer a fifth, over a last level of the same keys.
fn two_runs(table_count: u32, bottom: bool) -> Scene {
    let mut builder = Builder::new(7, KeyOrder::bytewise());
    let upper = if bottom { table_count / 5 } else { table_count };
    let runs = [(0, upper / 5, 1_u64), (0, upper - upper / 5, 2), (6, table_count - upper, 3)];
    for (level, tables, run) in runs.into_iter().filter(|run| run.1 > 0) {
        builder.run(Level::new(level));
        let width = u32::MAX / tables;
        for nth in 0..tables {
            let id = (run << 32) + u64::from(nth);
            let mut table = numbered(id, (nth * width, nth * width + width - 1), 64 * MIB);
            table.created_at = UnixNanos::new(u64::from(nth) * 1_000_000_000);
            builder.table(table);
        }
    }
    builder.scene()
}

/// The other strategies, in trees where they have something to do.
fn others(criterion: &mut Criterion) {
    const TABLES: u32 = 100_000;
    let leveled = tree(TABLES);
    let mut group = criterion.benchmark_group("plan/100k");
    let late = leveled.view().at(UnixNanos::new(u64::MAX)).with_watermark(SeqNo::LATEST);
    let aged = Overdue { delete_percent: None, age_secs: Some(1), ..Overdue::default() };
    assert!(!aged.plan(&late).is_idle());
    group.bench_function("overdue", |bencher| bencher.iter(|| aged.plan(black_box(&late))));
    let both = Fallback(Leveled::default(), Overdue::default());
    group.bench_function("fallback", |bencher| bencher.iter(|| both.plan(black_box(&late))));

    let key = |at: u32| Cut::Before(at.to_be_bytes().as_slice().into());
    let range =
        RangeTombstone { start: key(1 << 30), end: key((1 << 30) + (1 << 22)), seqno: SeqNo::MAX_WRITE };
    let deletes = TombstoneIndex::new(vec![range], KeyOrder::bytewise());
    let under = late.with_deletes(&deletes);
    assert!(!DropRange::default().plan(&under).is_idle());
    group.bench_function("drop-range", |bencher| {
        bencher.iter(|| DropRange::default().plan(black_box(&under)));
    });

    let lazy = two_runs(TABLES, true);
    let strategy = LazyLeveling::default();
    assert!(!strategy.plan(&lazy.view()).is_idle());
    group.bench_function("lazy", |bencher| bencher.iter(|| strategy.plan(black_box(&lazy.view()))));

    let tiers = two_runs(TABLES, false);
    let strategy = SizeTiered::default();
    assert!(strategy.plan(&tiers.view()).is_idle());
    group.bench_function("tiered/idle", |bencher| bencher.iter(|| strategy.plan(black_box(&tiers.view()))));

    let mut builder = Builder::new(7, KeyOrder::bytewise());
    builder.run(Level::new(0));
    for nth in 0..TABLES {
        let mut table = numbered(u64::from(nth) + 1, (nth * 16, nth * 16 + 15), 64 * MIB);
        table.created_at = UnixNanos::new(u64::from(nth) * 1_000_000_000);
        builder.table(table);
    }
    let series = builder.scene();
    let strategy = Fifo::new(u64::from(TABLES - 1) * 64 * MIB);
    assert_eq!(strategy.plan(&series.view()).to_string(), "drop 1");
    group.bench_function("fifo", |bencher| bencher.iter(|| strategy.plan(black_box(&series.view()))));
    group.finish();
}

criterion_group!(benches, bench, others);
criterion_main!(benches);
