//! What a decision of the leveled strategy costs, in trees of a thousand and of a hundred thousand tables.

#![expect(clippy::unwrap_used, reason = "a bench has nobody to hand an error to")]

#[path = "../tests/planner/builder.rs"]
mod builder;

use std::hint::black_box;

use builder::{Builder, MIB, Scene, numbered};
use criterion::{Criterion, criterion_group, criterion_main};
use lsm_compaction_planner::{CompactionStrategy, KeyOrder, Level, Leveled, validate};
use lsm_types::EditIndex;

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

criterion_group!(benches, bench);
criterion_main!(benches);
