//! Bit rot, lost, cut, swapped and outdated files: full data, or a typed error and nothing changed; never loss.

use std::path::PathBuf;

use lsm_fs::{Fs, OpenOptions};
use lsm_journal::{
    CopyState, FileName, Generation, JournalError, JournalOptions, PointerState, RecoveryMode,
};
use lsm_testkit::sim::SimFs;
use lsm_types::{ErrorKind, Fault};

use crate::common::{Life, disk, found, read, recover, tables};

fn path(file: FileName) -> PathBuf {
    file.path("/db".as_ref())
}

fn copy_of(fs: &SimFs) -> SimFs {
    fs.image(fs.len(), lsm_testkit::sim::Choice::Ceiling)
}

/// A database that was closed in order, with long records and an older generation.
fn closed() -> Life {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    life.journal.rotate(&life.catalog).unwrap();
    life.append(1, 8).unwrap();
    life.append(1, 1_200).unwrap();
    life.append(1, 8).unwrap();
    life.journal.close().unwrap();
    Life { fs: copy_of(&life.fs), ..life }
}

/// The files of the generation in use.
fn in_use(life: &Life) -> [FileName; 3] {
    let generation = life.journal.status().generation;
    [FileName::Current, FileName::Manifest(generation), FileName::Mirror(generation)]
}

/// Proves D-42, D-44, D-45: one flipped bit in any byte of any of the three files costs nothing. Fault: durability
/// W-14.
#[test]
fn any_flipped_byte_is_made_up_for() {
    let life = closed();
    for file in in_use(&life) {
        let len = life.fs.metadata(&path(file)).unwrap().len;
        // Both copies are read alike; every byte of one and some of the other will do.
        let step = if matches!(file, FileName::Mirror(_)) { 5 } else { 1 };
        for offset in (0..len).step_by(step) {
            let bit = u8::try_from(offset % 8).unwrap();
            life.fs.flip(&path(file), offset, bit).unwrap();
            assert_eq!(found(&life.fs, &format!("{file} {offset}")), Some(life.tables()));
            life.fs.flip(&path(file), offset, bit).unwrap();
        }
    }
}

/// Proves D-44: any single file lost, emptied or cut anywhere costs nothing, and whoever writes next makes it whole.
#[test]
fn any_lost_or_cut_file_is_made_up_for() {
    let life = closed();
    for file in in_use(&life) {
        let gone = copy_of(&life.fs);
        gone.remove(&path(file)).unwrap();
        assert_eq!(found(&gone, &file), Some(life.tables()));
        let recovered = recover(&gone, JournalOptions::default());
        assert_eq!(tables(&recovered.catalog), life.tables());
        assert!(recovered.journal.status().has_mirror);
        assert_eq!(
            read(&gone, RecoveryMode::Strict).unwrap().unwrap().report().pointer,
            PointerState::Agrees
        );

        let len = life.fs.metadata(&path(file)).unwrap().len;
        for cut in (0..len).step_by(29) {
            let short = copy_of(&life.fs);
            short.truncate(&path(file), cut).unwrap();
            assert_eq!(found(&short, &format!("{file} cut to {cut}")), Some(life.tables()));
        }
    }
}

/// Proves D-44, D-48: the same byte flipped in both copies is refused with its place, or lies where nothing is
/// lost; nothing is changed, and it is never passed over.
#[test]
fn damage_in_both_copies_is_refused() {
    let life = closed();
    let [_, primary, mirror] = in_use(&life);
    let len = life.fs.metadata(&path(primary)).unwrap().len;
    let mut refused = 0;
    for offset in (0..len).step_by(7) {
        for file in [primary, mirror] {
            life.fs.flip(&path(file), offset, 0).unwrap();
        }
        let before = life.fs.state_hash();
        match read(&life.fs, RecoveryMode::Strict) {
            Ok(recovery) => assert_eq!(tables(recovery.unwrap().catalog()), life.tables(), "{offset}"),
            Err(error) => {
                assert!(lsm_types::Error::from(error).is_corruption(), "{offset}");
                refused += 1;
            }
        }
        assert_eq!(life.fs.state_hash(), before);
        for file in [primary, mirror] {
            life.fs.flip(&path(file), offset, 0).unwrap();
        }
    }
    assert!(refused > len / 12, "{refused} of {len}");
}

/// Proves D-48: without a mirror, damage before the last record is told from a torn tail.
#[test]
fn damage_in_a_lone_copy_is_named() {
    let fs = disk();
    let life = Life::with_edits(&fs, JournalOptions { mirror: false, ..JournalOptions::default() }, 4);
    let [_, primary, _] = in_use(&life);
    let fs = copy_of(&fs);
    let snapshot = life.journal.status().snapshot_bytes;
    fs.flip(&path(primary), snapshot + 40, 3).unwrap();
    let error = read(&fs, RecoveryMode::Strict).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { after_edit, .. } if after_edit.get() == 0), "{error:?}");
    assert_eq!(error.location().unwrap().offset, snapshot);
    fs.flip(&path(primary), snapshot + 40, 3).unwrap();
    // Two different places are worse than one, but each copy of a pair may have one.
    let fs = disk();
    let life = Life::with_edits(&fs, JournalOptions::default(), 4);
    let [_, primary, mirror] = in_use(&life);
    let fs = copy_of(&fs);
    let end = fs.metadata(&path(primary)).unwrap().len;
    for offset in [0, snapshot + 40, end - 200] {
        fs.flip(&path(primary), offset, 1).unwrap();
    }
    fs.flip(&path(mirror), snapshot - 10, 1).unwrap();
    assert_eq!(found(&fs, &"spliced"), Some(life.tables()));
    let report = read(&fs, RecoveryMode::Strict).unwrap().unwrap().report().copies;
    assert_eq!((report.primary, report.mirror), (CopyState::Unusable, CopyState::Damaged));
}

/// Proves D-45: a generation that `CURRENT` names and that is gone is missed. Fault: durability W-3.
#[test]
fn a_lost_generation_is_missed() {
    let life = closed();
    let [_, primary, mirror] = in_use(&life);
    for file in [primary, mirror] {
        life.fs.remove(&path(file)).unwrap();
    }
    let before = life.fs.state_hash();
    for mode in [RecoveryMode::Strict, RecoveryMode::StrictNoTruncate, RecoveryMode::TolerateTail] {
        let error = read(&life.fs, mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ManifestRegression, "{error:?}");
    }
    assert_eq!(life.fs.state_hash(), before);
}

/// Proves D-45: an older `CURRENT`, or that of another database, is outvoted.
#[test]
fn an_outdated_pointer_is_outvoted() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    let old = fs.files().remove(&path(FileName::Current)).unwrap();
    life.journal.rotate(&life.catalog).unwrap();
    life.append(1, 8).unwrap();
    put(&fs, FileName::Current, &old);
    assert_eq!(found(&fs, &"old"), Some(life.tables()));
    let report = read(&fs, RecoveryMode::Strict).unwrap().unwrap().report().clone();
    assert_eq!(report.pointer, PointerState::Names(Generation::new(1)));
    assert_eq!(report.generation, Generation::new(2));

    let mut foreign = lsm_journal::Pointer::decode(&old).unwrap();
    foreign.database = lsm_types::FileUuid::from_bytes([1; 16]);
    put(&fs, FileName::Current, &foreign.encode());
    assert_eq!(found(&fs, &"foreign"), Some(life.tables()));
    let pointer = read(&fs, RecoveryMode::Strict).unwrap().unwrap().report().pointer;
    assert_eq!(pointer, PointerState::Foreign);
}

/// Proves D-22: files that changed names, or are older copies of themselves, are not taken for what they are not.
#[test]
fn swapped_and_outdated_files_are_recognised() {
    let life = closed();
    let [_, primary, mirror] = in_use(&life);
    let (old_primary, old_mirror) =
        (FileName::Manifest(Generation::new(1)), FileName::Mirror(Generation::new(1)));
    for (one, other) in
        [(primary, old_primary), (mirror, old_mirror), (primary, mirror), (primary, old_mirror)]
    {
        let fs = copy_of(&life.fs);
        fs.swap(&path(one), &path(other)).unwrap();
        assert_eq!(found(&fs, &format!("{one} {other}")), Some(life.tables()));
    }
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 2);
    let old = fs.files();
    life.append(2, 8).unwrap();
    life.append(1, 8).unwrap();
    life.journal.settle_mirror();
    for file in in_use(&life) {
        let fs = copy_of(&fs);
        put(&fs, file, &old[&path(file)]);
        assert_eq!(found(&fs, &file), Some(life.tables()), "an older {file}");
    }
}

fn put(fs: &SimFs, file: FileName, bytes: &[u8]) {
    let handle = fs.open(&path(file), &OpenOptions::REPLACE).unwrap();
    handle.write_at(0, bytes).unwrap();
    handle.sync(lsm_fs::SyncLevel::Full).unwrap();
}

/// Proves D-49: what each mode does with a torn tail.
#[test]
fn modes_differ_in_torn_tails() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions { mirror: false, ..JournalOptions::default() }, 2);
    let before = life.tables();
    life.append(1, 8).unwrap();
    let [_, primary, _] = in_use(&life);
    let len = fs.metadata(&path(primary)).unwrap().len;
    let fs = copy_of(&fs);
    fs.truncate(&path(primary), len - 7).unwrap();
    let hash = fs.state_hash();
    for mode in [RecoveryMode::Strict, RecoveryMode::TolerateTail] {
        let recovery = read(&fs, mode).unwrap().unwrap();
        assert_eq!(tables(recovery.catalog()), before);
        let tail = recovery.report().tail.expect("it is reported");
        assert_eq!(tail.offset + tail.bytes, len - 7);
    }
    let error = read(&fs, RecoveryMode::StrictNoTruncate).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TornTail);
    assert_eq!(fs.state_hash(), hash, "a refusal changes nothing");
    // The torn file stays as it was; the next one to write leaves it behind.
    let torn = fs.files().remove(&path(primary)).unwrap();
    recover(&fs, JournalOptions::default());
    assert_eq!(fs.files().get(&path(primary)), Some(&torn));
    assert!(read(&fs, RecoveryMode::StrictNoTruncate).is_ok());
}

/// Proves D-49: a snapshot that is cut short in every copy is made up for by the generation before it, when that is
/// asked for and it reaches as far.
#[test]
fn a_snapshot_cut_short_needs_tolerance() {
    let fs = disk();
    let options = JournalOptions { mirror: false, ..JournalOptions::default() };
    let mut life = Life::with_edits(&fs, options, 3);
    life.journal.rotate(&life.catalog).unwrap();
    let fs = copy_of(&fs);
    let [_, primary, _] = in_use(&life);
    fs.truncate(&path(primary), 700).unwrap();
    let error = read(&fs, RecoveryMode::Strict).unwrap_err();
    assert!(matches!(error, JournalError::GenerationLost { found: Some(found), .. } if found.get() == 1));
    let recovery = read(&fs, RecoveryMode::TolerateTail).unwrap().unwrap();
    assert_eq!(tables(recovery.catalog()), life.tables());
    assert_eq!(recovery.report().generation, Generation::new(1));
    // The one before it lacks an edit: no tolerance helps.
    let old = path(FileName::Manifest(Generation::new(1)));
    fs.truncate(&old, fs.metadata(&old).unwrap().len - 7).unwrap();
    let error = read(&fs, RecoveryMode::TolerateTail).unwrap_err();
    assert!(matches!(error, JournalError::EditsLost { .. }), "{error:?}");
}
