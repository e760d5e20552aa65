//! Failing writes, syncs and renames; disks that fill up.

use lsm_journal::{AppendError, CopyState, JournalError, JournalOptions, RecoveryMode, RotateError};
use lsm_testkit::sim::{Choice, FaultPlan, FaultRule, Strategy};
use lsm_types::{ErrorKind, Fault, IoKind, IoOp};

use crate::common::{Life, disk, found, read, recover, tables};

/// For telling the images of a failure apart, a small choice of them.
const FEW: Strategy =
    Strategy { survivors: false, torn_sectors: 1, exhaustive: 0, random: 2, singles: 3, seed: 1 };

/// A life in which the `nth` operation of a kind fails; `None` when there are not that many.
fn life_with_fault(rule: FaultRule, keep: bool) -> Option<Life> {
    let fs = disk();
    let options = JournalOptions { rotate_min_bytes: 0, keep_generations: 1, ..JournalOptions::default() };
    let mut life = Life::with_edits(&fs, options, 1);
    fs.set_faults(FaultPlan::new().with(rule));
    for round in 0..3 {
        life.append_or_reanchor(1 + round % 2, 8, keep);
        if round % 2 == 1 {
            life.journal.settle_mirror();
        }
        if round > 0 && life.journal.wants_rotation() {
            life.rotate_or_reanchor();
        }
    }
    let has_struck = fs.faults_struck() > 0;
    fs.set_faults(FaultPlan::new());
    life.append(1, 8).unwrap();
    has_struck.then_some(life)
}

/// Fails the n-th operation of a kind for every n, and looks at every crash afterwards. The truth that is stated
/// after an unknown outcome has the edit in it, and has it not, by turns.
fn check_each(op: IoOp, failure: impl Fn() -> FaultRule) {
    for nth in 0.. {
        let rule = failure().on(op).path("*db*").nth(nth);
        let Some(life) = life_with_fault(rule, nth % 2 == 0) else {
            assert!(nth > 1, "{op:?} was met {nth} times");
            break;
        };
        for (id, image) in life.fs.sweep(&FEW).epochs(life.epochs()) {
            let found = found(&image, &format!("{op:?} {nth} {id}"));
            let allowed = life.allowed(id.point);
            assert!(allowed.contains(&found), "{op:?} {nth} {id}: {found:?} of {allowed:?}");
        }
        assert_eq!(tables(&recover(&life.fs, JournalOptions::default()).catalog), life.tables());
    }
}

/// Proves D-16: a sync that fails and keeps its bytes.
#[test]
fn failing_syncs_that_keep_their_bytes() {
    check_each(IoOp::Sync, || FaultRule::fail(IoKind::Other));
}

/// Proves D-16: a sync that fails and drops its bytes, while reads still show them.
#[test]
fn failing_syncs_that_lose_their_bytes() {
    check_each(IoOp::Sync, || FaultRule::lose(IoKind::Other));
}

/// Proves D-16, D-41: a directory that does not sync. Fault: durability W-6, W-7.
#[test]
fn failing_directory_syncs() {
    check_each(IoOp::SyncDir, || FaultRule::fail(IoKind::Other));
    check_each(IoOp::SyncDir, || FaultRule::lose(IoKind::Other));
}

/// Proves D-16, D-41: renames that fail, with and without effect. Fault: durability W-6.
#[test]
fn failing_renames() {
    let rename = |rule: fn(IoKind) -> FaultRule| {
        for keep in [true, false] {
            let life = life_with_fault(rule(IoKind::Other).on(IoOp::Rename).nth(0), keep).unwrap();
            assert!(life.journal.status().reanchors == 1);
            for (id, image) in life.fs.sweep(&FEW).epochs(life.epochs()) {
                assert!(life.allowed(id.point).contains(&found(&image, &id)), "{id}");
            }
        }
    };
    rename(FaultRule::fail);
    rename(FaultRule::fail_after);
}

/// Proves D-17: writes that stop after some bytes.
#[test]
fn short_writes() {
    for bytes in [1, 100] {
        check_each(IoOp::Write, || FaultRule::short(bytes, IoKind::Other));
    }
}

#[test]
fn files_that_cannot_be_created_or_removed() {
    check_each(IoOp::Open, || FaultRule::fail(IoKind::TooManyOpenFiles));
    check_each(IoOp::Remove, || FaultRule::fail(IoKind::Other));
}

/// Proves D-17: a disk that is full after every possible byte of an append, then has room again. The edit is
/// definitely not there, nothing is fenced, and all that follows is kept. Fault: durability W-4.
#[test]
fn a_full_disk_during_an_append() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    for budget in 0.. {
        fs.set_budget(Some(budget));
        let outcome = life.append(2, 600);
        fs.set_budget(None);
        match outcome {
            Err(AppendError::NotApplied(error)) => assert_eq!(error.kind(), ErrorKind::NoSpace),
            Err(other) => panic!("{budget}: {other:?}"),
            Ok(()) => {
                assert!(budget > 2_500, "{budget}");
                break;
            }
        }
        if budget % 16 == 0 {
            // Nothing of the failed append is left, not even behind the end.
            let exact = read(&fs, RecoveryMode::StrictNoTruncate).unwrap().unwrap();
            assert_eq!(exact.report().copies.primary, CopyState::Whole);
            life.append(1, if budget % 32 == 0 { 8 } else { 600 }).unwrap();
            assert_eq!(found(&fs, &budget), Some(life.tables()), "{budget}");
        }
        if budget % 512 == 0 {
            let image = fs.image(fs.len(), Choice::Floor);
            assert_eq!(found(&image, &budget), Some(life.tables()), "{budget}");
        }
    }
}

/// Proves D-41: a disk that is full after every possible byte of a rotation. The generation in use stays, no file of
/// the attempt is left, and the next rotation works. Fault: durability W-23.
#[test]
fn a_full_disk_during_a_rotation() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    let files = fs.files().len();
    for budget in 0.. {
        fs.set_budget(Some(budget));
        let outcome = life.journal.rotate(&life.catalog);
        fs.set_budget(None);
        match outcome {
            Err(RotateError::NotSwitched(error)) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace);
                if budget % 16 == 0 {
                    assert_eq!(fs.files().len(), files, "{budget}: {:?}", fs.files().keys());
                }
            }
            Err(other) => panic!("{budget}: {other:?}"),
            Ok(()) if life.journal.status().has_mirror => {
                assert!(budget > 1_500, "{budget}");
                break;
            }
            Ok(()) => {
                life.journal.rotate(&life.catalog).unwrap();
                assert!(life.journal.status().has_mirror);
            }
        }
        if budget % 1_024 == 0 {
            life.append(1, 8).unwrap();
            for choice in [Choice::Floor, Choice::Ceiling] {
                let image = fs.image(fs.len(), choice);
                assert_eq!(found(&image, &budget), Some(life.tables()), "{budget}");
            }
        }
    }
}

/// Proves D-32: a disk that is full after every possible byte of a creation, which then works.
#[test]
fn a_full_disk_during_creation() {
    let mut budget = 0;
    loop {
        let fs = disk();
        fs.set_budget(Some(budget));
        let created = Life::create(&fs, JournalOptions::default());
        fs.set_budget(None);
        if created.is_ok_and(|life| life.journal.status().has_mirror) {
            break;
        }
        if found(&fs, &budget).is_none() {
            Life::create(&fs, JournalOptions::default()).unwrap();
        }
        recover(&fs, JournalOptions::default());
        budget += 7;
    }
    assert!(budget > 1_000, "{budget}");
}

/// Proves D-16: nothing is appended behind uncertain bytes, and an edit whose outcome was unknown stays out when
/// the truth says so, even where its bytes survive.
#[test]
fn a_fenced_journal_waits_for_the_truth() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    fs.set_faults(
        FaultPlan::new()
            .with(FaultRule::fail(IoKind::Other).on(IoOp::Sync).path("*MANIFEST-????????????????????")),
    );
    let unknown = life.append(1, 8).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::InstallOutcomeUnknown);
    assert!(life.journal.is_fenced() && !life.journal.wants_rotation());
    assert_eq!(life.append(1, 8), Err(AppendError::NotApplied(JournalError::Fenced)));
    assert_eq!(life.journal.rotate(&life.catalog), Err(RotateError::NotSwitched(JournalError::Fenced)));
    // The bytes are there for whoever looks now.
    assert_eq!(found(&fs, &"with the edit").map(|tables| tables.len()), Some(3));
    let before = life.journal.last_edit();
    life.reanchor();
    assert_eq!(life.journal.last_edit().get(), before.get() + 1, "the index is not used again");
    for choice in [Choice::Floor, Choice::Ceiling] {
        let image = fs.image(fs.len(), choice);
        assert_eq!(found(&image, &"without the edit"), Some(life.tables()));
    }
    life.append(1, 8).unwrap();
    assert_eq!(found(&fs, &"and on"), Some(life.tables()));
}

/// Proves D-41: a rotation whose outcome is unknown fences as an append does.
#[test]
fn a_rotation_of_unknown_outcome_fences() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    fs.set_faults(FaultPlan::new().with(FaultRule::fail_after(IoKind::Other).on(IoOp::Rename)));
    let unknown = life.journal.rotate(&life.catalog).unwrap_err();
    assert!(matches!(unknown, RotateError::Unknown(_)), "{unknown:?}");
    assert_eq!(unknown.kind(), ErrorKind::InstallOutcomeUnknown);
    assert_eq!(life.append(1, 8), Err(AppendError::NotApplied(JournalError::Fenced)));
    life.reanchor();
    life.append(1, 8).unwrap();
    assert_eq!(found(&fs, &"after all"), Some(life.tables()));
}

/// Proves D-44: a mirror that fails costs nothing but itself, and the next generation has one again.
#[test]
fn a_failing_mirror_is_given_up() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    fs.set_faults(FaultPlan::new().with(FaultRule::short(3, IoKind::NoSpace).on(IoOp::Write).path("*.m")));
    life.append(1, 8).unwrap();
    fs.set_faults(FaultPlan::new());
    assert!(!life.journal.status().has_mirror);
    life.append(1, 8).unwrap();
    assert_eq!(found(&fs, &"one copy"), Some(life.tables()));
    life.journal.rotate(&life.catalog).unwrap();
    assert!(life.journal.status().has_mirror);
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(IoOp::Sync).path("*.m")));
    life.append(1, 8).unwrap();
    life.journal.settle_mirror();
    assert!(!life.journal.status().has_mirror && !life.journal.is_fenced());
}
