//! Random histories, random splits, random jobs: what reads are promised they still get.

use std::{collections::BTreeSet, sync::Arc};

use lsm_iter::{Coverage, DropReason, KeyContext, Merge, Retention, Survivors};
use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind, MergeOperator, SeqNo};
use proptest::prelude::*;

use crate::{
    history::{Deletes, deletes, in_order, keys, resolve},
    support::{Join, Memory, Row, at, compare, operators, orders, rows},
};

const NUMBERS: u64 = 24;

/// A write to one key, or a gap.
#[derive(Clone, Copy, Debug)]
enum Write {
    Put,
    Indirection,
    Tombstone,
    Weak,
    Operand,
    Nothing,
}

/// What is written to one key, oldest first, at ascending numbers.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let all = [
        Write::Put,
        Write::Put,
        Write::Indirection,
        Write::Tombstone,
        Write::Weak,
        Write::Weak,
        Write::Operand,
        Write::Operand,
        Write::Nothing,
    ];
    let count = usize::try_from(NUMBERS).expect("small");
    prop::collection::vec(prop::sample::select(all.to_vec()), 0..count)
}

/// The rows of one key. A key either never sees a weak delete, or sees at most one put between two of them, and none
/// over an operand; an operand onto nothing counts as a put.
fn history(key: &[u8], writes: &[Write], deletes: &Deletes) -> Vec<Row> {
    let weak = writes.iter().any(|write| matches!(write, Write::Weak));
    let mut used = false;
    let mut rows: Vec<Row> = Vec::new();
    for (number, write) in (0..).zip(writes) {
        let exists = || resolve(&rows, deletes, None, key, at(number)).is_ok_and(|found| found.is_some());
        let kind = match write {
            Write::Nothing => continue,
            Write::Put | Write::Indirection if weak && used => Kind::WeakTombstone,
            Write::Operand if weak && used && !exists() => Kind::WeakTombstone,
            Write::Put => Kind::Put,
            Write::Indirection => Kind::Indirection,
            Write::Tombstone => Kind::Tombstone,
            Write::Weak => Kind::WeakTombstone,
            Write::Operand => Kind::MergeOperand,
        };
        used = match kind {
            Kind::WeakTombstone => false,
            Kind::Tombstone => used,
            _ => true,
        };
        let value = if kind.is_tombstone() { Vec::new() } else { format!("{number}").into_bytes() };
        rows.push(Row { key: key.into(), seqno: at(number), kind, value });
    }
    rows
}

/// What a job knows of the containers outside it: everything, or what key ranges and number bounds tell.
struct Outside<'a> {
    order: &'a KeyOrder,
    containers: Vec<&'a [Row]>,
    exact: bool,
    deletes: Deletes,
}

impl Outside<'_> {
    /// Whether some container may hold `key` with a number in `from..to`.
    fn may_hold(&self, key: &[u8], from: SeqNo, to: SeqNo) -> bool {
        let inside = |row: &&Row| from <= row.seqno && row.seqno < to;
        self.containers.iter().any(|rows| {
            if self.exact {
                return rows.iter().filter(inside).any(|row| row.key == key);
            }
            let covers = rows.iter().any(|row| self.order.compare(&row.key, key).is_le())
                && rows.iter().any(|row| self.order.compare(&row.key, key).is_ge());
            covers && rows.iter().any(|row| row.seqno < to) && rows.iter().any(|row| from <= row.seqno)
        })
    }
}

impl Coverage for Outside<'_> {
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        self.deletes.covering(key, before)
    }
}

impl KeyContext for Outside<'_> {
    fn bottom(&mut self, key: &[u8], seqno: SeqNo) -> bool {
        !self.may_hold(key, SeqNo::ZERO, seqno.next())
    }

    fn adjacent(&mut self, key: &[u8], newer: SeqNo, older: SeqNo) -> bool {
        !self.may_hold(key, older, newer)
    }
}

/// One job: which containers go in, what is promised, and where its output lands.
#[derive(Clone, Debug)]
struct Job {
    inputs: u16,
    watermark: u64,
    /// How many of the registered snapshots, oldest first, were released before.
    released: usize,
    exact: bool,
    may_zero: bool,
}

fn job() -> impl Strategy<Value = Job> {
    let parts = (any::<u16>(), 0..=NUMBERS + 2, 0_usize..4, any::<bool>(), any::<bool>());
    parts.prop_map(|(inputs, watermark, released, exact, may_zero)| Job {
        inputs,
        watermark,
        released,
        exact,
        may_zero,
    })
}

/// A tree at rest: containers newest first, the floor, and what was ever written to it.
struct Tree {
    order: KeyOrder,
    operator: Option<Arc<dyn MergeOperator>>,
    containers: Vec<Vec<Row>>,
    written: Vec<Row>,
    deletes: Deletes,
    floor: SeqNo,
    snapshots: Vec<SeqNo>,
}

impl Tree {
    /// Carries a job out as a flush or compaction would.
    fn run(&mut self, job: &Job) {
        let chosen = |place: usize| job.inputs >> place & 1 == 1;
        let inputs: Vec<Vec<Row>> = self
            .containers
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen(*at))
            .map(|(_, rows)| rows.clone())
            .collect();
        let outside = self.containers.iter().enumerate().filter(|(at, _)| !chosen(*at));
        let outside = Outside {
            order: &self.order,
            containers: outside.map(|(_, rows)| rows.as_slice()).collect(),
            exact: job.exact,
            deletes: self.deletes.clone(),
        };
        self.snapshots.drain(..job.released.min(self.snapshots.len()));
        let mut retention = Retention::with_snapshots(at(job.watermark), &self.snapshots);
        if !job.may_zero {
            retention = retention.zeroing_below(SeqNo::ZERO);
        }
        let cursors = inputs.iter().map(|rows| Memory::new(&self.order, rows.clone()));
        let mut merge = Merge::new(self.order.clone(), cursors);
        merge.seek_first().unwrap();
        let mut dropped = Vec::new();
        let sink = |_: DropReason, entry: EntryRef<'_>| dropped.push(Row::from(entry));
        let mut survivors = Survivors::new(merge, retention, outside, sink).folding(self.operator.clone());
        let mut output: Vec<Row> = Vec::new();
        while survivors.advance().unwrap() {
            output.push(survivors.entry().unwrap().into());
        }
        self.floor = self.floor.max(survivors.floor().unwrap_or_default());
        drop(survivors);

        assert!(output.is_sorted_by(|a, b| compare(&self.order, a, b).is_lt()), "{output:?}");
        self.check_conservation(&inputs, &output, dropped);
        let mut place = 0;
        self.containers.retain(|_| {
            place += 1;
            !chosen(place - 1)
        });
        self.containers.push(output);
    }

    /// Every entry of the inputs is written or dropped, once; what a fold made stands in place of its newest operand.
    fn check_conservation(&self, inputs: &[Vec<Row>], output: &[Row], mut dropped: Vec<Row>) {
        let mut all = inputs.concat();
        all.sort_by(|a, b| compare(&self.order, a, b));
        all.dedup_by(|a, b| compare(&self.order, a, b).is_eq());
        dropped.extend(output.iter().map(|row| {
            if all.contains(row) {
                return row.clone();
            }
            // The last part of a value is its number, also where that was replaced by zero.
            let last = row.value.rsplit(|&byte| byte == b'+').next().unwrap_or_default();
            let number = at(std::str::from_utf8(last).unwrap().parse().unwrap());
            let source = all.iter().find(|all| all.key == row.key && all.seqno == number);
            let source = source.expect("nothing is made up");
            assert!(row.seqno == number || row.seqno == SeqNo::ZERO);
            assert!(
                source.kind == Kind::MergeOperand || (source.kind, &source.value) == (row.kind, &row.value)
            );
            source.clone()
        }));
        dropped.sort_by(|a, b| compare(&self.order, a, b));
        assert_eq!(dropped, all);
    }

    /// Every read that is still allowed answers as the full history does.
    fn check_reads(&self) -> Result<(), TestCaseError> {
        let stored = self.containers.concat();
        let above = (0..=NUMBERS + 2).map(at).filter(|&read| self.floor < read || read == SeqNo::ZERO);
        for read in above.chain(self.snapshots.iter().copied()).chain([SeqNo::LATEST]) {
            for key in keys() {
                prop_assert_eq!(
                    resolve(&stored, &self.deletes, self.operator.as_deref(), &key, read),
                    resolve(&self.written, &self.deletes, self.operator.as_deref(), &key, read),
                    "{:?} at {} with floor {}: {:?} of {:?}",
                    key,
                    read,
                    self.floor,
                    stored,
                    self.written
                );
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Scenario {
    writes: Vec<Vec<Write>>,
    ranges: Vec<(Vec<u8>, Vec<u8>, u64)>,
    /// Where each row goes, and where a copy of it lies, if anywhere.
    places: Vec<(usize, Option<usize>)>,
    snapshots: BTreeSet<u64>,
    /// Rows numbered from here on arrive after the first jobs, which keep below it.
    late_from: u64,
    early: Vec<Job>,
    late: Vec<Job>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let rows = keys().len() * usize::try_from(NUMBERS).expect("small");
    let copy = prop_oneof![9 => Just(None), 1 => (0_usize..5).prop_map(Some)];
    (
        prop::collection::vec(writes(), keys().len()),
        deletes(NUMBERS, 2),
        prop::collection::vec((0_usize..5, copy), rows),
        prop::collection::btree_set(1..NUMBERS, 0..4),
        0..=NUMBERS + 2,
        prop::collection::vec(job(), 0..4),
        prop::collection::vec(job(), 0..4),
    )
        .prop_map(|(writes, ranges, places, snapshots, late_from, early, late)| Scenario {
            writes,
            ranges,
            places,
            snapshots,
            late_from,
            early,
            late,
        })
}

fn check(
    scenario: &Scenario,
    order: &KeyOrder,
    operator: Option<Arc<dyn MergeOperator>>,
) -> Result<(), TestCaseError> {
    let deletes = in_order(order, &scenario.ranges);
    let histories = keys().into_iter().zip(&scenario.writes);
    let rows: Vec<Row> = histories.flat_map(|(key, writes)| history(&key, writes, &deletes)).collect();
    let mut tree = Tree {
        order: order.clone(),
        operator,
        containers: vec![Vec::new(); 5],
        written: Vec::new(),
        deletes,
        floor: SeqNo::ZERO,
        snapshots: scenario
            .snapshots
            .iter()
            .filter(|&&read| read <= scenario.late_from)
            .map(|&read| at(read))
            .collect(),
    };
    let mut arrived = Vec::new();
    for (row, (place, copy)) in rows.into_iter().zip(&scenario.places) {
        if scenario.late_from <= row.seqno.get() {
            arrived.push(row);
            continue;
        }
        tree.written.push(row.clone());
        if let Some(copy) = copy.filter(|copy| copy != place) {
            tree.containers[copy].push(row.clone());
        }
        tree.containers[*place].push(row);
    }
    tree.check_reads()?;
    for job in &scenario.early {
        tree.run(&Job { watermark: job.watermark.min(scenario.late_from), ..job.clone() });
        tree.check_reads()?;
    }
    // Late rows arrive in two containers, neither of them older or newer than the other for every key.
    tree.written.extend(arrived.iter().cloned());
    let (even, odd): (Vec<_>, Vec<_>) = arrived.into_iter().partition(|row| row.seqno.get() % 2 == 0);
    tree.containers.insert(0, even);
    tree.containers.insert(0, odd);
    for job in &scenario.late {
        tree.run(job);
        tree.check_reads()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Proves C-64, C-68, C-69, C-71, C-73, C-74, C-75, C-89, C-91, C-93, E-55, E-56, E-100, E-101, E-105: whatever the split
    /// of a history over containers and whatever the jobs, with any watermark and any registered snapshots, every read
    /// above the floor and at every registered snapshot resolves as over the full history, and every entry is written
    /// or dropped once.
    #[test]
    fn allowed_reads_never_change(scenario in scenario(), order in 0_usize..5) {
        check(&scenario, &orders()[order], None)?;
    }

    /// Proves C-76, C-77, C-78, C-79, C-81, C-82, E-44, E-45, E-47, E-48: the same with an operator for which order matters, which
    /// composes or does not, and which fails on some operands: no job changes what a read folds.
    /// Fault: engine W-4, W-5.
    #[test]
    fn folds_never_change_allowed_reads(scenario in scenario(), order in 0_usize..5, operator in 1_usize..3) {
        check(&scenario, &orders()[order], operators()[operator].clone())?;
    }
}

/// Containers newest first as text, then jobs (inputs by their place, watermark) one after the other.
#[track_caller]
fn check_named(containers: &[&str], jobs: &[(u16, u64)]) {
    check_with_snapshot(containers, &[], jobs);
}

/// As [`check_named`], with a snapshot that is released after the first job.
#[track_caller]
fn check_with_snapshot(containers: &[&str], snapshot: &[SeqNo], jobs: &[(u16, u64)]) {
    let order = KeyOrder::bytewise();
    let containers: Vec<Vec<Row>> = containers.iter().map(|text| rows(text)).collect();
    let mut tree = Tree {
        order: order.clone(),
        operator: Some(Arc::new(Join::new(true).refusing(b"13"))),
        written: containers.concat(),
        containers,
        deletes: in_order(&order, &[]),
        floor: SeqNo::ZERO,
        snapshots: snapshot.to_vec(),
    };
    for (released, &(inputs, watermark)) in jobs.iter().enumerate() {
        tree.run(&Job { inputs, watermark, released, exact: true, may_zero: true });
        tree.check_reads().unwrap();
    }
}

/// Proves E-55, E-56: histories in which a weak delete could bring a value back. Outputs land last. Fault: engine W-16.
#[test]
fn weak_deletes_bring_nothing_back() {
    // The first put lies at the bottom, the rest is flushed with a watermark above.
    check_named(&["a:weak@4 a:put@3 a:weak@2", "a:put@1"], &[(0b01, 9), (0b11, 9)]);
    check_named(&["a:weak@4", "a:put@3", "a:weak@2", "a:put@1"], &[(0b0011, 9), (0b011, 9), (0b11, 9)]);
    check_named(&["a:weak@4", "a:put@3 a:weak@2", "a:put@1"], &[(0b010, 9), (0b101, 9), (0b11, 9)]);
    // A tombstone shadows the weak one, a put the tombstone, and a weak tombstone takes the put away.
    check_named(
        &["a:weak@14", "a:put@12", "a:del@9 a:weak@5", "a:put@3"],
        &[(0b0100, 20), (0b1010, 20), (0b101, 20), (0b11, 20)],
    );
    // The put of the pair is not the one directly below: another container holds what lies between.
    check_named(&["a:weak@4 a:put@1", "a:put@3 a:weak@2"], &[(0b01, 9), (0b11, 9)]);
    // A copy of the put lies in another container.
    check_named(&["a:weak@4 a:put@3", "a:put@3"], &[(0b01, 9), (0b11, 9)]);
    // A snapshot holds the first put while a newer put hides the weak tombstone from everybody else.
    check_with_snapshot(&["a:weak@8", "a:put@7 a:weak@5 a:put@1"], &[at(3)], &[(0b10, 10), (0b11, 20)]);
    // Operands end a chain and are no put.
    check_named(&["a:weak@3", "a:op@2", "a:put@1"], &[(0b101, 9), (0b11, 9)]);
}
