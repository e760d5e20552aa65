//! What a step of a merge, of a view and of the survival decision costs over cursors in memory.
//!
//! The sources give their entries for next to nothing, so the figures are the cost of this crate. Keys have sixteen
//! bytes and differ in the first eight, except where the name says `shared`: there the first eight are equal.
#![allow(missing_docs, reason = "criterion_group writes undocumented functions")]
#![allow(clippy::expect_used, reason = "cursors in memory do not fail")]
#![allow(clippy::indexing_slicing, reason = "keys have sixteen bytes")]

use std::{hint::black_box, ops::Bound, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lsm_iter::{Coverage, KeyContext, Merge, Retention, Survivors, Visible};
use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind, Result, SeqNo};

const ENTRIES: u64 = 64 * 1024;

#[derive(Clone, Copy)]
struct Row {
    key: [u8; 16],
    seqno: SeqNo,
}

/// A cursor over sorted rows, past either end when its index is.
#[derive(Clone)]
struct Rows {
    rows: Arc<Vec<Row>>,
    at: usize,
}

impl Rows {
    fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| a.key.cmp(&b.key).then(b.seqno.cmp(&a.seqno)));
        Self { rows: Arc::new(rows), at: usize::MAX }
    }

    fn point(&self, key: &[u8], before: SeqNo) -> usize {
        self.rows.partition_point(|row| row.key.as_slice().cmp(key).then(before.cmp(&row.seqno)).is_le())
    }
}

impl EntryCursor for Rows {
    fn seek_first(&mut self) -> Result<()> {
        self.at = 0;
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.at = self.rows.len().wrapping_sub(1);
        Ok(())
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.at = self.point(key, before);
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.at = self.point(key, before).wrapping_sub(1);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.at += usize::from(self.at < self.rows.len());
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.at = if self.at < self.rows.len() { self.at.wrapping_sub(1) } else { usize::MAX };
        Ok(())
    }

    #[inline]
    fn is_newest(&self) -> bool {
        let row = |at: usize| self.rows.get(at);
        row(self.at).zip(row(self.at.wrapping_sub(1))).is_some_and(|(row, before)| row.key != before.key)
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        let row = self.rows.get(self.at)?;
        Some(EntryRef { key: &row.key, seqno: row.seqno, kind: Kind::Put, value: &row.key })
    }
}

/// Scatters numbers, the same way every time.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 29
}

fn row(shared: bool, number: u64, seqno: u64) -> Row {
    let mut key = [0; 16];
    let from = if shared { 8 } else { 0 };
    key[from..from + 8].copy_from_slice(&number.to_be_bytes());
    Row { key, seqno: SeqNo::new(seqno).unwrap_or_default() }
}

/// Ascending keys, each in a run drawn at random.
fn interleaved(runs: u64, shared: bool) -> Vec<Rows> {
    spread(runs, shared, |number| mix(number) % runs)
}

/// Ascending keys in stretches of a thousand from one run.
fn dominant(runs: u64, shared: bool) -> Vec<Rows> {
    spread(runs, shared, |number| number / 1000 % runs)
}

fn spread(runs: u64, shared: bool, place: impl Fn(u64) -> u64) -> Vec<Rows> {
    let run = |at| {
        (0..ENTRIES).filter(|&number| place(number) == at).map(|number| row(shared, number, 1)).collect()
    };
    (0..runs).map(|at| Rows::new(run(at))).collect()
}

fn merge(sources: &[Rows]) -> Merge<Rows> {
    Merge::new(KeyOrder::bytewise(), sources.iter().cloned())
}

/// Walks to the end; the sum of the last key bytes keeps the entries in use.
fn drain(cursor: &mut impl EntryCursor) -> u64 {
    let mut sum = 0;
    cursor.seek_first().expect("memory does not fail");
    while let Some(entry) = cursor.entry() {
        sum += u64::from(entry.key[15]);
        cursor.next().expect("memory does not fail");
    }
    sum
}

fn next(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge/next");
    group.throughput(Throughput::Elements(ENTRIES));
    for runs in [1, 2, 4, 8, 16] {
        for (name, sources) in [
            ("dominant", dominant(runs, false)),
            ("interleaved", interleaved(runs, false)),
            ("interleaved-shared", interleaved(runs, true)),
        ] {
            let mut cursor = merge(&sources);
            group.bench_function(BenchmarkId::new(name, runs), |b| b.iter(|| drain(&mut cursor)));
        }
    }
    group.finish();
}

fn seek(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge/seek");
    for runs in [1, 4, 8, 16] {
        let mut cursor = merge(&interleaved(runs, false));
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(runs), |b| {
            b.iter(|| {
                number += 1;
                cursor.seek(&row(false, mix(number) % ENTRIES, 1).key, SeqNo::LATEST).expect("in memory");
                black_box(cursor.entry().is_some())
            });
        });
    }
    group.finish();
}

fn view(sources: &[Rows], before: SeqNo) -> Visible<Merge<Rows>> {
    Visible::new(merge(sources), KeyOrder::bytewise(), before, (Bound::Unbounded, Bound::Unbounded))
}

fn visible(c: &mut Criterion) {
    let mut group = c.benchmark_group("visible");
    group.throughput(Throughput::Elements(ENTRIES));
    for runs in [1, 4] {
        let mut view = view(&interleaved(runs, false), SeqNo::LATEST);
        group.bench_function(BenchmarkId::new("next", runs), |b| {
            b.iter(|| {
                let mut sum = 0;
                view.seek_first().expect("in memory");
                while let Some(entry) = view.entry() {
                    sum += u64::from(entry.key[15]);
                    view.move_next().expect("in memory");
                }
                sum
            });
        });
        group.bench_function(BenchmarkId::new("prev", runs), |b| {
            b.iter(|| {
                let mut sum = 0;
                view.seek_last().expect("in memory");
                while let Some(entry) = view.entry() {
                    sum += u64::from(entry.key[15]);
                    view.move_prev().expect("in memory");
                }
                sum
            });
        });
    }
    group.finish();
}

/// One key of ten thousand versions over four runs, between two others: all three are found.
fn versions(c: &mut Criterion) {
    let versions =
        |at: u64| (1..=10_000).filter(move |seqno| seqno % 4 == at).map(|seqno| row(false, 5, seqno));
    let ends = |at: u64| [row(false, 1, 1), row(false, 9, 1)].into_iter().filter(move |_| at == 0);
    let sources: Vec<_> = (0..4).map(|at| Rows::new(versions(at).chain(ends(at)).collect())).collect();
    let mut view = view(&sources, SeqNo::new(5_000).unwrap_or_default());
    c.bench_function("merge/versions10k", |b| {
        b.iter(|| {
            let mut seen = 0;
            view.seek_first().expect("in memory");
            while view.entry().is_some() {
                seen += 1;
                view.move_next().expect("in memory");
            }
            assert_eq!(black_box(seen), 3);
        });
    });
}

/// Something older may lie elsewhere, for every key.
struct Upper;

impl Coverage for Upper {
    #[inline]
    fn covering(&mut self, _: &[u8], _: SeqNo) -> Option<SeqNo> {
        None
    }
}

impl KeyContext for Upper {
    #[inline]
    fn bottom(&mut self, _: &[u8], _: SeqNo) -> bool {
        false
    }

    #[inline]
    fn adjacent(&mut self, _: &[u8], _: SeqNo, _: SeqNo) -> bool {
        true
    }
}

fn survivors(c: &mut Criterion) {
    let mut group = c.benchmark_group("survivors");
    group.throughput(Throughput::Elements(ENTRIES));
    let twice = |seqno: u64| Rows::new((0..ENTRIES / 2).map(|number| row(false, number, seqno)).collect());
    for (name, sources) in [
        ("distinct/1", interleaved(1, false)),
        ("distinct/4", interleaved(4, false)),
        ("overwritten/2", vec![twice(2), twice(1)]),
    ] {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let mut cursor = merge(&sources);
                cursor.seek_first().expect("in memory");
                let mut survivors = Survivors::new(cursor, Retention::above(SeqNo::LATEST), Upper, ());
                let mut sum = 0;
                while survivors.advance().expect("in memory") {
                    sum += survivors.entry().map_or(0, |entry| u64::from(entry.key[15]));
                }
                sum
            });
        });
    }
    for (name, sources) in [
        ("merge-only/1", interleaved(1, false)),
        ("merge-only/4", interleaved(4, false)),
        ("merge-only/2-overwritten", vec![twice(2), twice(1)]),
    ] {
        let mut cursor = merge(&sources);
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| drain(&mut cursor)));
    }
    group.finish();
}

criterion_group!(benches, next, seek, visible, versions, survivors);
criterion_main!(benches);
