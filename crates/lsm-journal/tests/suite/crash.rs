//! Power loss at every moment of a database's life, and of its recovery.

use lsm_fs::SyncLevel;
use lsm_journal::{FileName, Journal, JournalOptions, PointerState, RecoveryMode};
use lsm_testkit::sim::{Choice, SimFs, Strategy};

use crate::common::{DATABASE, Life, disk, env_on, first_state, found, orders, read, recover, tables};

/// Generations are replaced as soon as they are longer than their snapshots allow.
const BUSY: JournalOptions = JournalOptions {
    sync: SyncLevel::Full,
    sync_dir: SyncLevel::Full,
    mirror: true,
    rotate_min_bytes: 1,
    keep_generations: 1,
};

/// Fewer images, for crashes within crashes.
const NESTED: Strategy =
    Strategy { survivors: false, torn_sectors: 2, exhaustive: 0, random: 1, singles: 4, seed: 3 };

/// A life with all that happens to a journal: groups, records over several blocks, rotations, an end.
fn eventful(fs: &SimFs, options: JournalOptions) -> Life {
    let mut life = Life::create(fs, options).unwrap();
    for round in 0..6 {
        life.append(1 + round % 3, if round == 2 { 5_000 } else { 8 }).unwrap();
        if round % 2 == 0 {
            life.journal.settle_mirror();
        }
        if life.journal.wants_rotation() {
            life.journal.rotate(&life.catalog).unwrap();
        }
    }
    assert!(life.journal.status().rotations > 0);
    life.append(1, 8).unwrap();
    life.journal.close().unwrap();
    life
}

/// Checks every image of a life, and goes on with it.
fn sweep(life: &Life, strategy: &Strategy) -> usize {
    let mut images = 0;
    for (id, image) in life.fs.sweep(strategy).epochs(life.epochs()) {
        images += 1;
        let found = found(&image, &id);
        assert!(life.allowed(id.point).contains(&found), "{id}: {found:?} of {:?}", life.allowed(id.point));
        // The next one to write begins where the crash left off.
        let options = JournalOptions::default();
        if let Some(found) = found {
            let recovered = recover(&image, options);
            assert_eq!(tables(&recovered.catalog), found, "{id}");
        } else {
            let created = Journal::create(env_on(&image), options, DATABASE, &first_state());
            assert!(created.is_ok(), "{id}: {created:?}");
        }
        let again = read(&image, RecoveryMode::StrictNoTruncate).unwrap().expect("there is one now");
        assert!(again.report().tail.is_none(), "{id}");
    }
    assert!(life.fs.foreign_syncs().is_empty(), "syncs go through the handle that wrote");
    images
}

/// Proves D-14, D-32, D-35, D-41, D-45, D-48: creation, appends, rotations and the close, cut short anywhere by a
/// power loss. Fault: durability W-13, W-21.
#[test]
fn every_crash_keeps_what_was_acknowledged() {
    let life = eventful(&disk(), BUSY);
    let images = sweep(&life, &Strategy::GATE);
    assert!(images > 150, "{images}");
}

#[test]
fn without_a_mirror_too() {
    let life = eventful(&disk(), JournalOptions { mirror: false, ..BUSY });
    sweep(&life, &Strategy::GATE);
}

/// Proves D-47: a crash inside recovery, and inside the creation that follows a crash in creation, changes nothing
/// that the next recovery finds.
#[test]
fn recovery_itself_may_crash() {
    let life = eventful(&disk(), BUSY);
    let points = life.fs.crash_points();
    for point in points.into_iter().step_by(9) {
        for choice in [Choice::Floor, Choice::Ceiling, Choice::Random(7)] {
            let image = life.fs.image(point, choice);
            let before = found(&image, &point);
            match &before {
                Some(_) => drop(recover(&image, BUSY)),
                None => drop(Journal::create(env_on(&image), BUSY, DATABASE, &first_state()).unwrap()),
            }
            let at_last = before.clone().unwrap_or_default();
            for (id, nested) in image.sweep(&NESTED) {
                let after = found(&nested, &format!("{point} {choice:?} {id}"));
                let is_unchanged = after == before || before.is_none() && after == Some(at_last.clone());
                assert!(is_unchanged, "{point} {choice:?} {id}: {before:?} {after:?}");
                if after.is_some() {
                    assert_eq!(Some(tables(&recover(&nested, BUSY).catalog)), after);
                }
            }
        }
    }
}

/// What a killed process leaves is what every completed call made.
#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let life = eventful(&disk(), BUSY);
    for point in life.fs.crash_points() {
        let image = life.fs.image(point, Choice::Ceiling);
        let found = found(&image, &point);
        assert!(life.allowed(point).contains(&found), "{point}");
    }
}

/// Proves D-41, D-42: once a creation, a rotation or an open is done, the pointer to it is durable, name and bytes.
#[test]
fn the_pointer_is_durable_when_the_switch_is_done() {
    let check = |fs: &SimFs| {
        let image = fs.image(fs.len(), Choice::Floor);
        let recovery = read(&image, RecoveryMode::Strict).unwrap().unwrap();
        assert_eq!(recovery.report().pointer, PointerState::Agrees);
    };
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 1);
    check(&fs);
    life.journal.rotate(&life.catalog).unwrap();
    check(&fs);
    recover(&fs, JournalOptions::default());
    check(&fs);
}

/// Proves D-44: the mirror lags by one group of edits at most, and by none once it is settled.
#[test]
fn the_mirror_lags_by_one_group() {
    let fs = disk();
    let mut life = Life::create(&fs, JournalOptions::default()).unwrap();
    let without_primary = |life: &Life| {
        let image = fs.image(fs.len(), Choice::Floor);
        let generation = life.journal.status().generation;
        image.remove(&FileName::Manifest(generation).path("/db".as_ref())).unwrap();
        found(&image, &"the mirror alone")
    };
    for _ in 0..4 {
        let before = life.tables();
        life.append(2, 8).unwrap();
        assert_eq!(without_primary(&life), Some(before));
    }
    life.journal.settle_mirror();
    assert_eq!(without_primary(&life), Some(life.tables()));
}

/// Proves D-47, D-51: recovering twice tells the same.
#[test]
fn reports_repeat() {
    let fs = disk();
    let mut life = Life::with_edits(&fs, JournalOptions::default(), 5);
    life.append(2, 8).unwrap();
    let once = read(&fs, RecoveryMode::Strict).unwrap().unwrap();
    let twice = read(&fs, RecoveryMode::Strict).unwrap().unwrap();
    assert_eq!(once.report(), twice.report());
    assert_eq!(once.report().edits_replayed, 7);
    assert_eq!(once.report().reserved_ids, 1_000_000);
    assert!(!once.report().is_clean);
    life.journal.close().unwrap();
    assert!(read(&fs, RecoveryMode::Strict).unwrap().unwrap().report().is_clean);
    let recovered = Journal::recover(env_on(&fs), JournalOptions::default(), RecoveryMode::Strict, &orders);
    assert_eq!(tables(&recovered.unwrap().unwrap().catalog), life.tables());
}
