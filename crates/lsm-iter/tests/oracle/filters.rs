//! What a filter is asked about, and what becomes of what it says.

use std::{cell::RefCell, rc::Rc};

use lsm_iter::FilterStage;
use lsm_types::{EntryRef, Kind, MergeError, Result, Verdict};

use crate::{
    support::at,
    survivors::{Job, job},
};

/// Says what it is told to about the entry with a number, and `Keep` about others. Remembers what it was asked about:
/// `v` for a value, `o` for an operand, and the number.
#[derive(Clone, Default)]
struct Says {
    verdicts: Vec<(String, Verdict)>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl FilterStage for Says {
    const IS_ACTIVE: bool = true;

    fn ask(&mut self, entry: EntryRef<'_>) -> Result<Verdict> {
        let what = match entry.kind {
            Kind::Put => "v",
            Kind::MergeOperand => "o",
            other => panic!("asked about {other:?}"),
        };
        let name = format!("{what}{}", entry.seqno);
        self.asked.borrow_mut().push(name.clone());
        let said = self.verdicts.iter().find(|(of, _)| *of == name);
        if name == "v13" {
            return Err(MergeError::Refused { problem: "thirteen".into() }.into());
        }
        Ok(said.map_or(Verdict::Keep, |(_, verdict)| verdict.clone()))
    }
}

/// Runs `job` over `input` with verdicts such as `v5=remove o7=destroy`; `asked` is what the filter is asked about.
#[track_caller]
fn check(job: Job, verdicts: &str, input: &str, asked: &str, expected: &str) {
    let verdict = |word: &str| {
        let (of, what) = word.split_once('=').unwrap();
        let verdict = match what {
            "remove" => Verdict::Remove,
            "weak" => Verdict::RemoveWeak,
            "destroy" => Verdict::Destroy,
            new => Verdict::Replace(new.into()),
        };
        (of.to_owned(), verdict)
    };
    let filter = Says { verdicts: verdicts.split_whitespace().map(verdict).collect(), ..Says::default() };
    let (told, filtered) = job.run(filter.clone(), input);
    assert_eq!(filter.asked.borrow().join(" "), asked);
    assert_eq!(told, expected);
    let highest = filter.verdicts.iter().filter(|(of, _)| filter.asked.borrow().contains(of));
    assert_eq!(filtered, highest.map(|(of, _)| at(of[1..].parse().unwrap())).max());
}

/// Proves C-83, C-84: each verdict, alone, without anything below W.
#[test]
fn verdicts() {
    let all = "a:put@9 b:put@8 c:put@7";
    check(job(0), "", all, "v9 v8 v7", "a:put@9 b:put@8 c:put@7 | |");
    check(job(0), "v8=remove", all, "v9 v8 v7", "a:put@9 b:del@8 c:put@7 | |");
    check(job(0), "v8=weak", all, "v9 v8 v7", "a:put@9 b:weak@8 c:put@7 | |");
    check(job(0), "v8=N", all, "v9 v8 v7", "a:put@9 b:put@8=N c:put@7 | |");
    check(job(0), "v8=destroy", all, "v9 v8 v7", "a:put@9 c:put@7 | destroyed b:put@8 |");
    check(
        job(0),
        "v9=destroy v8=destroy v7=destroy",
        all,
        "v9 v8 v7",
        "| destroyed a:put@9 destroyed b:put@8 destroyed c:put@7 |",
    );
}

/// Proves C-84: what a filter makes of an entry takes part in collection: a made tombstone hides what is older and goes
/// at the bottom, a made weak one takes its put along, a destroyed entry hides nothing.
#[test]
fn verdicts_come_before_collection() {
    let two = "a:put@9 a:put@5";
    check(job(10), "v9=remove", two, "v9", "a:del@9 | a:put@5 | F9");
    check(job(10).at_bottom(), "v9=remove", two, "v9", "| evicted a:del@9 a:put@5 | F9");
    check(job(10), "v9=weak", two, "v9", "| pair a:weak@9 pair a:put@5 | F9");
    check(job(10), "v9=weak", "a:put@9 a:del@5", "v9", "a:weak@9 | a:del@5 | F9");
    check(job(9), "v9=weak", two, "v9 v5", "a:weak@9 a:put@5 | |");
    check(job(10), "v9=destroy", two, "v9 v5", "a:put@5 | destroyed a:put@9 |");
    check(job(10), "v9=destroy v5=destroy", two, "v9 v5", "| destroyed a:put@9 destroyed a:put@5 |");
    check(job(10).at_bottom(), "v9=N", two, "v9", "a:put@0=N | a:put@5 | F9");
    check(job(6), "v9=remove v5=remove", two, "v9 v5", "a:del@9 a:del@5 | |");
}

/// Proves C-83, C-84: deletes, and what is garbage already, are not shown; neither is what a range tombstone below W
/// hides, nor the put of a weak pair.
#[test]
fn what_is_not_shown() {
    check(
        job(20),
        "",
        "a:del@9 a:put@5 b:weak@8 b:del@7 c:ind@6 d:put@4 d:put@3",
        "v4",
        "a:del@9 b:weak@8 c:ind@6 d:put@4 | a:put@5 b:del@7 d:put@3 | F19",
    );
    check(job(20), "", "a:weak@9 a:put@5 a:put@3", "v3", "a:put@3 | pair a:weak@9 pair a:put@5 | F19");
    check(job(9), "", "a:weak@9 a:put@5", "v5", "a:weak@9 a:put@5 | |");
    check(job(20).deleted(6), "v5=remove", "a:put@7 b:put@5 b:op@4", "v7", "a:put@7 b:put@5 | b:op@4 | F19");
    check(job(20).deleted(6).at_bottom(), "", "a:put@7 b:put@5", "v7", "a:put@7 | range b:put@5 | F19");
    check(job(6).deleted(6), "", "b:put@5", "v5", "b:put@5 | |");
}

/// Proves E-103, C-84: what a registered snapshot sees is not shown, nor what is kept for others.
#[test]
fn what_snapshots_see() {
    let versions = "a:put@9 a:put@7 a:put@5 a:put@3";
    check(
        job(0).holding(0, &[8]),
        "v9=remove v5=remove",
        versions,
        "v9 v5 v3",
        "a:del@9 a:put@7 a:del@5 a:put@3 | |",
    );
    check(job(0).holding(0, &[20]), "", versions, "v7 v5 v3", "a:put@9 a:put@7 a:put@5 a:put@3 | |");
    check(job(0).holding(0, &[6, 4]), "", versions, "v9 v7", "a:put@9 a:put@7 a:put@5 a:put@3 | |");
    check(
        job(0).holding(0, &[4, 8]),
        "v5=destroy",
        versions,
        "v9 v5",
        "a:put@9 a:put@7 a:put@3 | destroyed a:put@5 |",
    );
    check(job(0).filtering_below(5), "v3=N", versions, "v3", "a:put@9 a:put@7 a:put@5 a:put@3=N | |");
    // Operands hide nothing: the snapshot sees all of the chain.
    check(
        job(0).holding(0, &[10]),
        "",
        "a:op@9 a:op@7 a:put@5 b:put@11 b:op@9",
        "v11",
        "a:op@9 a:op@7 a:put@5 b:put@11 b:op@9 | |",
    );
    // A destroyed entry hides nothing either.
    check(
        job(0).holding(0, &[6]),
        "v9=destroy v7=destroy",
        versions,
        "v9 v7 v3",
        "a:put@5 a:put@3 | destroyed a:put@9 destroyed a:put@7 |",
    );
}

/// Proves C-84: every operand is shown once, and stays one; so is what a chain folds into. Fault: compaction W-32.
#[test]
fn operands() {
    let chain = "a:op@9 a:op@7 a:put@5 a:put@3";
    check(job(0), "o9=N", chain, "o9 o7 v5 v3", "a:op@9=N a:op@7 a:put@5 a:put@3 | |");
    check(job(20), "o9=N", chain, "o9 o7 v5", "a:op@9=N a:op@7 a:put@5 | a:put@3 | F19");
    let folded = "| fold a:op@7 fold a:put@5 a:put@3 | F19";
    check(job(20).joining(true), "", chain, "o9 o7 v5 v9", &format!("a:put@9=5+7+9 {folded}"));
    check(job(20).joining(true), "o9=N v5=M", chain, "o9 o7 v5 v9", &format!("a:put@9=M+7+N {folded}"));
    check(
        job(20).joining(true),
        "o7=N",
        chain,
        "o9 o7 v5 v9",
        "a:put@9=5+N+9 | fold a:op@7=N fold a:put@5 a:put@3 | F19",
    );
    check(job(20).joining(true), "v9=N", chain, "o9 o7 v5 v9", &format!("a:put@9=N {folded}"));
    check(job(20).joining(true), "v9=remove", chain, "o9 o7 v5 v9", &format!("a:del@9 {folded}"));
    check(job(20).joining(true), "v9=weak", chain, "o9 o7 v5 v9", &format!("a:weak@9 {folded}"));
    check(
        job(20).joining(true),
        "v9=destroy",
        chain,
        "o9 o7 v5 v9",
        "| fold a:op@7 fold a:put@5 destroyed a:put@9=5+7+9 a:put@3 | F19",
    );
    check(
        job(20).joining(true).at_bottom(),
        "v9=remove",
        chain,
        "o9 o7 v5 v9",
        "| fold a:op@7 fold a:put@5 evicted a:del@9 a:put@3 | F19",
    );
    // Verdicts within the chain.
    check(
        job(20).joining(true),
        "o9=destroy",
        chain,
        "o9 o7 v5 v7",
        "a:put@7=5+7 | destroyed a:op@9 fold a:put@5 a:put@3 | F19",
    );
    check(
        job(20).joining(true),
        "o7=destroy",
        chain,
        "o9 o7 v5 v9",
        "a:put@9=5+9 | destroyed a:op@7 fold a:put@5 a:put@3 | F19",
    );
    check(job(20).joining(true), "o7=remove", chain, "o9 o7 v9", "a:put@9 | a:op@7 a:put@5 a:put@3 | F19");
    check(
        job(20).joining(true),
        "o7=weak",
        chain,
        "o9 o7 v9",
        "a:put@9 | pair a:weak@7 pair a:put@5 a:put@3 | F19",
    );
    check(
        job(20).joining(true),
        "v5=remove",
        chain,
        "o9 o7 v5 v9",
        "a:put@9=7+9 | fold a:op@7 a:put@5 a:put@3 | F19",
    );
    check(
        job(20).joining(true),
        "v5=destroy",
        chain,
        "o9 o7 v5 v3 v9",
        "a:put@9=3+7+9 | destroyed a:put@5 fold a:op@7 fold a:put@3 | F19",
    );
    check(
        job(20).joining(true),
        "v5=weak",
        chain,
        "o9 o7 v5 v9",
        "a:put@9=7+9 | fold a:op@7 pair a:weak@5 pair a:put@3 | F19",
    );
    check(
        job(20).joining(true),
        "o7=weak",
        "a:op@9 a:op@7 b:put@1",
        "o9 o7 v9 v1",
        "a:put@9 a:weak@7 b:put@1 | |",
    );
    // A chain without a base: composed, or not.
    check(job(20).joining(true), "o7=N", "a:op@9 a:op@7", "o9 o7", "a:op@9=N+9 | fold a:op@7=N | F19");
    check(job(20).joining(false), "o7=N", "a:op@9 a:op@7", "o9 o7", "a:op@9 a:op@7=N | |");
    check(job(20).joining(true), "o9=remove", "a:op@9 a:op@7", "o9", "a:del@9 | a:op@7 | F19");
    check(
        job(8).joining(true),
        "o7=N v5=M",
        chain,
        "o9 o7 v5 v7",
        "a:op@9 a:put@7=M+N | fold a:put@5 a:put@3 | F7",
    );
}

/// Proves C-84: the verdict about a value below operands that do not fold is not lost, nor asked for again.
#[test]
fn values_below_failed_folds() {
    let chain = "a:op@14 a:op@12 a:put@5 b:put@1";
    let refused = "a:op@14 a:op@12=13";
    let failing = |verdicts: &str, expected: &str| {
        let verdicts = format!("o12=13 {verdicts}");
        check(job(20).joining(true), &verdicts, chain, "o14 o12 v5 v1", expected);
    };
    let text = |row: &str| row.replace("=13", "");
    failing("", &format!("{} a:put@5 b:put@1 | |", text(refused)));
    failing("v5=N", &format!("{} a:put@5=N b:put@1 | |", text(refused)));
    failing("v5=remove", &format!("{} a:del@5 b:put@1 | |", text(refused)));
    failing("v5=weak", &format!("{} a:weak@5 b:put@1 | |", text(refused)));
    failing("v5=destroy", &format!("{} b:put@1 | destroyed a:put@5 |", text(refused)));
}

/// Proves C-87: an error of the filter ends the walk, and says where.
#[test]
fn errors() {
    let fails = std::panic::catch_unwind(|| job(0).run(Says::default(), "a:put@14 b:put@13 c:put@1"));
    let told = *fails.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("FilterFailed") && told.contains("thirteen"), "{told}");
}

/// Is no filter, and hears of it when it is taken for one.
struct Never;

impl FilterStage for Never {
    const IS_ACTIVE: bool = false;

    fn ask(&mut self, entry: EntryRef<'_>) -> Result<Verdict> {
        panic!("asked about {entry:?}")
    }
}

/// Proves C-88: without a filter nothing is asked.
#[test]
fn nobody_is_asked() {
    let all = "a:op@9 a:op@7 a:put@5 b:put@4 c:weak@3 c:put@2 d:put@1";
    for composes in [false, true] {
        let (told, filtered) = job(20).joining(composes).run(Never, all);
        let kept =
            "a:put@9=5+7+9 b:put@4 d:put@1 | fold a:op@7 fold a:put@5 pair c:weak@3 pair c:put@2 | F19";
        assert_eq!((told.as_str(), filtered), (kept, None));
    }
}
