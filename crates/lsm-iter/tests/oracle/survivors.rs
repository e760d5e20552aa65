//! The decision table, row by row and by name.

use lsm_iter::{Coverage, DropReason, FilterStage, KeyContext, Merge, Retention, Survivors, Unfiltered};
use lsm_types::{Cut, EntryCursor, EntryRef, KeyOrder, Kind, MergeOperator, SeqNo};
use std::sync::Arc;

use crate::{
    history::{Deletes, in_order},
    support::{Join, Memory, Row, at, orders, rows},
};

/// A job with nothing, or anything, outside it.
pub(crate) struct Around {
    pub(crate) bottom: bool,
    pub(crate) adjacent: bool,
    pub(crate) deletes: Deletes,
}

impl Coverage for Around {
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        self.deletes.covering(key, before)
    }

    fn stretch(&self) -> Option<(&Cut, &Cut)> {
        self.deletes.stretch()
    }
}

impl KeyContext for Around {
    fn bottom(&mut self, _: &[u8], _: SeqNo) -> bool {
        self.bottom
    }

    fn adjacent(&mut self, _: &[u8], _: SeqNo, _: SeqNo) -> bool {
        self.adjacent
    }
}

/// One job over rows given as text; the result as text.
pub(crate) struct Job {
    order: KeyOrder,
    retention: Retention,
    pub(crate) around: Around,
    operator: Option<Arc<dyn MergeOperator>>,
}

pub(crate) fn job(watermark: u64) -> Job {
    let order = KeyOrder::bytewise();
    let around = Around { bottom: false, adjacent: true, deletes: in_order(&order, &[]) };
    Job { order, retention: Retention::above(at(watermark)), around, operator: None }
}

impl Job {
    pub(crate) fn at_bottom(mut self) -> Self {
        self.around.bottom = true;
        self
    }

    /// With an operator that composes, or does not.
    pub(crate) fn joining(mut self, composes: bool) -> Self {
        self.operator = Some(Arc::new(Join::new(composes).refusing(b"13")));
        self
    }

    /// With a range tombstone over all keys.
    pub(crate) fn deleted(mut self, seqno: u64) -> Self {
        self.around.deletes = in_order(&self.order, &[(b"a".to_vec(), b"z".to_vec(), seqno)]);
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Writes `out` as `key:kind@number`, with the value where it was joined, then ` | ` and what was dropped, then
    /// ` | F` and the floor.
    #[track_caller]
    pub(crate) fn check(self, input: &str, expected: &str) {
        assert_eq!(self.run(Unfiltered, input).0, expected);
    }

    /// What [`Job::check`] compares, and the highest number that was filtered.
    pub(crate) fn run(self, filter: impl FilterStage, input: &str) -> (String, Option<SeqNo>) {
        let mut out = String::new();
        let mut dropped = String::new();
        let mut cursor = Memory::new(&self.order, rows(input));
        cursor.seek_first().unwrap();
        let sink = |reason: DropReason, entry: EntryRef<'_>| {
            let reason = match reason {
                DropReason::Shadowed => "",
                DropReason::Evicted => "evicted ",
                DropReason::Annihilated => "pair ",
                DropReason::Folded => "fold ",
                DropReason::Filtered => "destroyed ",
                _ => "range ",
            };
            dropped = format!("{dropped}{reason}{} ", text(&Row::from(entry)));
        };
        let mut survivors = Survivors::new(cursor, self.retention, self.around, sink)
            .folding(self.operator)
            .filtered_by(filter);
        while survivors.advance().unwrap() {
            let row = Row::from(survivors.entry().unwrap());
            assert_eq!(&survivors.value()[..], row.value);
            out += &text(&row);
            out.push(' ');
        }
        assert!(survivors.entry().is_none() && !survivors.advance().unwrap());
        let floor = survivors.floor().map_or_else(String::new, |floor| format!("F{floor}"));
        let filtered = survivors.filtered();
        drop(survivors);
        (format!("{out}| {dropped}| {floor}").trim_end().to_owned(), filtered)
    }

    /// With registered snapshots below the watermark of the caller.
    pub(crate) fn holding(mut self, callers: u64, snapshots: &[u64]) -> Self {
        let snapshots: Vec<SeqNo> = snapshots.iter().copied().map(at).collect();
        self.retention = Retention::with_snapshots(at(callers), &snapshots);
        self
    }

    /// With numbers that filters are kept away from.
    pub(crate) fn filtering_below(mut self, limit: u64) -> Self {
        self.retention = self.retention.filtering_below(at(limit));
        self
    }
}

fn text(row: &Row) -> String {
    let text = format!("{row:?}");
    if text.contains(['+', 'N']) {
        return text;
    }
    text.split_once('=').map_or(text.clone(), |(head, _)| head.to_owned())
}

/// Proves C-68 (zero): with a watermark of zero nothing is forgotten, at the bottom either.
#[test]
fn watermark_zero_only_restructures() {
    let all = "a:put@9 a:weak@8 a:put@7 a:del@5 a:op@3 b:del@9 c:weak@2 c:put@1";
    job(0).check(all, &format!("{all} | |"));
    job(0).at_bottom().check(all, &format!("{all} | |"));
}

/// Proves C-68, C-70, E-100: an older version goes only when a newer one is below W; the newest never goes.
/// Fault: compaction W-24. Fault: engine W-7.
#[test]
fn values() {
    job(8).check("a:put@10 a:put@5", "a:put@10 a:put@5 | |");
    job(10).check("a:put@10 a:put@1", "a:put@10 a:put@1 | |");
    job(11).check("a:put@10 a:put@1", "a:put@10 | a:put@1 | F10");
    job(20).check(
        "a:put@10 a:put@5 a:ind@3 b:ind@10 b:put@9",
        "a:put@10 b:ind@10 | a:put@5 a:ind@3 b:put@9 | F19",
    );
    job(8).check("a:put@10 a:put@7 a:put@5", "a:put@10 a:put@7 | a:put@5 | F7");
    job(20).check("a:put@10 a:op@7 a:put@5", "a:put@10 | a:op@7 a:put@5 | F19");
    job(20).check("a:put@1", "a:put@1 | |");
}

/// Proves C-71, C-72, E-101: a tombstone goes at the bottom and below W, or under a newer entry below W.
#[test]
fn tombstones() {
    job(5).check("a:del@3 a:del@2 a:del@1", "a:del@3 | a:del@2 a:del@1 | F4");
    job(0).check("a:del@3 a:del@2 a:del@1", "a:del@3 a:del@2 a:del@1 | |");
    job(3).at_bottom().check("a:del@3", "a:del@3 | |");
    job(4).at_bottom().check("a:del@3", "| evicted a:del@3 |");
    job(4).check("a:del@3", "a:del@3 | |");
    job(4).at_bottom().check("a:del@3 a:put@2", "| evicted a:del@3 a:put@2 | F3");
    job(4).check("a:del@3 a:put@2", "a:del@3 | a:put@2 | F3");
    job(3).at_bottom().check("a:del@3 a:put@0", "a:del@3 a:put@0 | |");
    job(9).check("a:put@3 a:del@2", "a:put@3 | a:del@2 | F8");
}

/// Proves C-73, E-56, E-58: exactly the weak tombstone and the put directly below it go. Fault: compaction W-30.
#[test]
fn weak_tombstones() {
    job(0).check("a:weak@3 a:put@1", "a:weak@3 a:put@1 | |");
    job(3).check("a:weak@3 a:put@1", "a:weak@3 a:put@1 | |");
    job(4).check("a:weak@3 a:put@1", "| pair a:weak@3 pair a:put@1 | F3");
    job(4).check("a:weak@3 a:ind@1", "| pair a:weak@3 pair a:ind@1 | F3");
    job(4).check("a:weak@3 a:put@1 b:put@1", "b:put@1 | pair a:weak@3 pair a:put@1 | F3");
    job(9).check(
        "a:weak@3 a:put@1 b:weak@3 b:put@1",
        "| pair a:weak@3 pair a:put@1 pair b:weak@3 pair b:put@1 | F8",
    );
    job(9).check("a:weak@3 b:put@1", "a:weak@3 b:put@1 | |");
    job(9).at_bottom().check("a:weak@3", "| evicted a:weak@3 |");
    job(9).check("a:weak@3", "a:weak@3 | |");
    job(9).check("a:weak@3 a:op@2 a:put@1", "a:weak@3 | a:op@2 a:put@1 | F8");
    job(9).check("a:weak@3 a:del@2 a:put@1", "a:weak@3 | a:del@2 a:put@1 | F8");
    job(9).at_bottom().check("a:weak@3 a:op@2", "| evicted a:weak@3 a:op@2 | F8");
}

/// Proves E-56: what lies below an annihilated pair is judged as if the pair had not been there, and an older weak
/// tombstone outlives what shadows it, except at the bottom.
#[test]
fn below_a_weak_pair() {
    job(9).check(
        "a:weak@4 a:put@3 a:weak@2 a:put@1",
        "| pair a:weak@4 pair a:put@3 pair a:weak@2 pair a:put@1 | F8",
    );
    job(9).check("a:weak@4 a:put@3 a:weak@2", "a:weak@2 | pair a:weak@4 pair a:put@3 | F8");
    job(9).check("a:weak@4 a:put@3 a:del@2 a:put@1", "a:del@2 | pair a:weak@4 pair a:put@3 a:put@1 | F8");
    job(9).check("a:put@3 a:weak@2", "a:put@3 a:weak@2 | |");
    job(9)
        .at_bottom()
        .with(|job| job.retention = Retention::above(at(9)).zeroing_below(at(0)))
        .check("a:put@3 a:weak@2", "a:put@3 | evicted a:weak@2 |");
    job(9).check("a:weak@4 a:weak@2", "a:weak@4 a:weak@2 | |");
    job(9).check("a:del@4 a:weak@2", "a:del@4 a:weak@2 | |");
    job(9).check("a:put@5 a:weak@4 a:put@3 a:weak@2", "a:put@5 a:weak@2 | pair a:weak@4 pair a:put@3 | F8");
    job(9).with(|job| job.around.adjacent = false).check("a:weak@4 a:put@3", "a:weak@4 | a:put@3 | F8");
}

/// Proves C-78 (operands at or above W), E-51 (they are kept), the two operand rows without an operator.
#[test]
fn operands() {
    job(9).check("a:op@3 a:op@2 a:put@1", "a:op@3 a:op@2 a:put@1 | |");
    job(3).check("a:op@3 a:put@2 a:put@1", "a:op@3 a:put@2 | a:put@1 | F2");
    job(9).at_bottom().check("a:op@3 a:del@2 a:op@1", "a:op@3 | evicted a:del@2 a:op@1 | F8");
    job(9).check("a:op@3", "a:op@3 | |");
}

/// Proves C-69: between two snapshots what neither sees goes, weak tombstones and pairs excepted.
#[test]
fn between_snapshots() {
    let snapshots =
        |job: Job| job.with(|job| job.retention = Retention::with_snapshots(at(20), &[at(12), at(4)]));
    snapshots(job(0)).check(
        "a:put@25 a:put@19 a:put@15 a:put@13 a:put@11 a:put@8 a:put@3 a:put@2",
        "a:put@25 a:put@19 a:put@11 a:put@3 | a:put@15 a:put@13 a:put@8 a:put@2 | F19",
    );
    snapshots(job(0)).check("a:put@21 a:put@19", "a:put@21 a:put@19 | |");
    snapshots(job(0)).check("a:put@12 a:put@11", "a:put@12 a:put@11 | |");
    snapshots(job(0)).check("a:put@11 a:put@4", "a:put@11 | a:put@4 | F19");
    snapshots(job(0)).check("a:put@3 a:put@2", "a:put@3 | a:put@2 | F3");
    snapshots(job(0)).check("a:del@18 a:put@15 a:put@3", "a:del@18 a:put@3 | a:put@15 | F19");
    snapshots(job(0)).at_bottom().check("a:put@18 a:weak@16 a:put@15", "a:put@18 a:weak@16 | a:put@15 | F19");
    snapshots(job(0)).check("a:weak@16 a:put@15", "a:weak@16 a:put@15 | |");
    snapshots(job(0)).check("a:op@16 a:put@15", "a:op@16 a:put@15 | |");
}

/// Proves C-69 (the list is refreshed on the way): a snapshot released between two outputs no longer holds a version.
#[test]
fn the_snapshots_change_on_the_way() {
    let mut cursor = Memory::new(&KeyOrder::bytewise(), rows("a:put@9 a:put@5 b:put@9 b:put@5"));
    cursor.seek_first().unwrap();
    let retention = Retention::with_snapshots(at(20), &[at(7)]);
    let mut survivors = Survivors::new(cursor, retention, job(0).around, ());
    let mut written = Vec::new();
    while survivors.advance().unwrap() {
        written.push(text(&survivors.entry().unwrap().into()));
        if written.len() == 2 {
            assert_eq!(survivors.floor(), None);
            survivors.set_retention(Retention::above(at(20)));
        }
    }
    assert_eq!(written, ["a:put@9", "a:put@5", "b:put@9"]);
    assert_eq!(survivors.floor(), Some(at(19)));
}

/// Proves C-89 (strictness), C-91, E-105, and that zeroing counts as forgotten history.
#[test]
fn zeroing() {
    let deleted = |from: &str, to: &str, seqno: u64| {
        let ranges = [(from.as_bytes().to_vec(), to.as_bytes().to_vec(), seqno)];
        move |job: &mut Job| job.around.deletes = in_order(&job.order, &ranges)
    };
    job(9).at_bottom().check("a:put@5 b:ind@6 c:put@0", "a:put@0 b:ind@0 c:put@0 | | F8");
    job(5).at_bottom().check("a:put@5", "a:put@5 | |");
    job(9).at_bottom().check("a:put@5 a:put@3", "a:put@0 | a:put@3 | F8");
    job(5).at_bottom().check("a:put@7 a:put@3", "a:put@7 a:put@0 | | F4");
    job(9).at_bottom().check("a:op@5 a:put@3", "a:op@5 a:put@0 | | F8");
    job(9).at_bottom().with(deleted("a", "a", 2)).check("a:put@5 b:put@5", "a:put@5 b:put@0 | | F8");
    job(9).at_bottom().with(deleted("a", "a", 30)).check("a:put@5", "a:put@5 | |");
    job(9)
        .at_bottom()
        .with(|job| job.retention = Retention::above(at(9)).zeroing_below(at(5)))
        .check("a:put@5 b:put@4", "a:put@5 b:put@0 | | F8");
    job(9)
        .at_bottom()
        .with(deleted("a", "b", 5))
        .check("a:put@6 a:op@5 a:put@4 b:put@3", "a:put@6 | a:op@5 range a:put@4 range b:put@3 | F8");
    job(5).at_bottom().with(deleted("a", "b", 5)).check("a:put@4", "a:put@4 | |");
    job(9).with(deleted("a", "b", 5)).check("a:put@4", "a:put@4 | |");
}

/// Proves I-12: a key that sorts lower by its bytes comes after a weak tombstone unharmed. Fault: compaction W-11.
#[test]
fn other_orders() {
    for order in orders() {
        let (first, second) = if order.compare(b"a", b"b").is_lt() { ("a", "b") } else { ("b", "a") };
        let input = format!("{first}:weak@3 {second}:put@1");
        job(9).with(|job| job.order = order).check(&input, &format!("{input} | |"));
    }
}

/// Proves C-74, C-75: of copies in two containers one is written or dropped, once.
#[test]
fn copies_are_one_entry() {
    let order = KeyOrder::bytewise();
    let source = || Memory::new(&order, rows("a:op@5 a:put@4 a:put@3"));
    let mut merge = Merge::new(order.clone(), [source(), source()]);
    merge.seek_first().unwrap();
    let mut dropped = 0;
    let mut survivors =
        Survivors::new(merge, Retention::above(at(9)), job(9).around, |_, _: EntryRef<'_>| dropped += 1);
    let mut written = 0;
    while survivors.advance().unwrap() {
        written += 1;
    }
    drop(survivors);
    assert_eq!((written, dropped), (2, 1));
}

/// Proves C-66: an error ends the walk and never looks like its end.
#[test]
fn an_error_is_not_the_end() {
    for fails_in in 0..3 {
        let mut cursor = Memory::new(&KeyOrder::bytewise(), rows("a:weak@3 a:put@1 b:put@1"));
        cursor.seek_first().unwrap();
        cursor.meter.fails_in.set(Some(fails_in));
        let mut survivors = Survivors::new(cursor, Retention::above(at(9)), job(9).around, ());
        while let Ok(more) = survivors.advance() {
            assert!(more, "the end after a failing call {fails_in}");
        }
        assert!(survivors.entry().is_none());
        assert!(survivors.advance().is_err());
    }
}

/// Proves C-75 (every drop reported once): 10^5 versions of one key pass in constant memory, one step each.
#[test]
fn many_versions_of_one_key() {
    let count = 100_000;
    let versions = (1..=count).map(|number| Row {
        key: b"a".to_vec(),
        seqno: at(number),
        kind: Kind::Put,
        value: b"value".to_vec(),
    });
    let mut cursor = Memory::new(&KeyOrder::bytewise(), versions.collect());
    cursor.seek_first().unwrap();
    let meter = cursor.meter.clone();
    let mut dropped = 0;
    let retention = Retention::above(at(count / 2));
    let mut survivors = Survivors::new(cursor, retention, job(0).around, |_, _: EntryRef<'_>| dropped += 1);
    let mut written = 0;
    while survivors.advance().unwrap() {
        written += 1;
    }
    drop(survivors);
    assert_eq!((written, dropped, meter.steps.get()), (50_002, 49_998, 100_000));
}
