//! When generations are replaced, and which ones stay.

use std::path::Path;

use lsm_fs::Fs;
use lsm_journal::{AppendError, FileName, Generation, JournalError, JournalOptions, RotateError};
use lsm_testkit::sim::{FaultPlan, FaultRule};
use lsm_types::{ErrorKind, Fault, IoKind, IoOp};

use crate::common::{Life, disk, found, recover};

fn generations(fs: &lsm_testkit::sim::SimFs) -> Vec<u64> {
    let names = fs.read_dir(Path::new("/db")).unwrap();
    let number = |name: &std::ffi::OsStr| match FileName::parse(lsm_journal::Folder::Root, name) {
        Some(FileName::Manifest(number)) => Some(number.get()),
        _ => None,
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    numbers
}

/// Proves D-41, D-56: complete older generations stay, as many as asked for.
#[test]
fn older_generations_stay() {
    for keep_generations in [0, 1, 2] {
        let fs = disk();
        let options = JournalOptions { keep_generations, ..JournalOptions::default() };
        let mut life = Life::create(&fs, options).unwrap();
        for _ in 0..5 {
            life.append(1, 8).unwrap();
            life.journal.rotate(&life.catalog).unwrap();
        }
        let expect: Vec<u64> = (6 - u64::from(keep_generations)..=6).collect();
        assert_eq!(generations(&fs), expect);
        // Every open begins a generation; numbers go on.
        assert_eq!(recover(&fs, options).journal.status().generation, Generation::new(7));
        let expect: Vec<u64> = (7 - u64::from(keep_generations)..=7).collect();
        assert_eq!(generations(&fs), expect);
        assert_eq!(found(&fs, &keep_generations), Some(life.tables()));
    }
}

/// Proves D-41: due when edits outgrow the least size and twice the snapshot.
#[test]
fn rotation_is_due_by_size() {
    let fs = disk();
    let options = JournalOptions { rotate_min_bytes: 3_000, ..JournalOptions::default() };
    let mut life = Life::create(&fs, options).unwrap();
    let mut sizes = Vec::new();
    for _ in 0..60 {
        life.append(1, 50).unwrap();
        let status = life.journal.status();
        let is_due = status.edit_bytes > 3_000.max(2 * status.snapshot_bytes);
        assert_eq!(life.journal.wants_rotation(), is_due);
        if is_due {
            sizes.push(status.edit_bytes);
            life.journal.rotate(&life.catalog).unwrap();
            assert_eq!(life.journal.status().edit_bytes, 0);
        }
    }
    assert!(sizes.len() >= 2 && sizes.is_sorted(), "{sizes:?}");
}

/// Proves D-41: a rotation that fails is tried again later, not at once; far beyond the size, edits are refused
/// until one works.
#[test]
fn rotations_that_fail_are_put_off_and_then_insisted_on() {
    let fs = disk();
    let options = JournalOptions { rotate_min_bytes: 1, mirror: false, ..JournalOptions::default() };
    let mut life = Life::create(&fs, options).unwrap();
    while !life.journal.wants_rotation() {
        life.append(1, 8).unwrap();
    }
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::NoSpace).on(IoOp::Open).from(0)));
    let refused = life.journal.rotate(&life.catalog).unwrap_err();
    assert!(matches!(&refused, RotateError::NotSwitched(JournalError::File { .. })), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    assert!(!life.journal.wants_rotation() && life.journal.status().failed_rotations == 1);
    let overdue = loop {
        match life.append(100, 30_000) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    let AppendError::NotApplied(JournalError::RotationOverdue { bytes, .. }) = overdue else {
        panic!("{overdue:?}");
    };
    assert!(bytes > 16 << 20 && life.journal.is_overdue());
    // No edit can make it due again: it stays due, however often it fails.
    assert!(life.journal.wants_rotation());
    assert!(life.journal.rotate(&life.catalog).is_err() && life.journal.wants_rotation());
    fs.set_faults(FaultPlan::new());
    life.journal.rotate(&life.catalog).unwrap();
    life.append(1, 8).unwrap();
    assert_eq!(found(&fs, &"after all"), Some(life.tables()));
}

#[test]
fn a_closed_journal_takes_nothing() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 1);
    life.journal.close().unwrap();
    let closed = || JournalError::Closed;
    assert_eq!(life.append(1, 8), Err(AppendError::NotApplied(closed())));
    assert_eq!(life.journal.rotate(&life.catalog), Err(RotateError::NotSwitched(closed())));
    assert_eq!(life.journal.reanchor(&life.catalog), Err(closed()));
    assert_eq!(life.journal.close(), Err(AppendError::NotApplied(closed())));
}

/// Proves D-35: a record may be long; what is longer still is refused and leaves no trace.
#[test]
fn records_have_an_upper_limit() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 1);
    life.append(20, 60_000).unwrap();
    assert_eq!(found(&fs, &"long"), Some(life.tables()));
    let len = fs.files().values().map(Vec::len).max();
    let error = life.append(1_200, 60_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EntryTooLarge);
    assert_eq!(fs.files().values().map(Vec::len).max(), len);
    life.append(1, 8).unwrap();
    assert_eq!(found(&fs, &"and on"), Some(life.tables()));
}
