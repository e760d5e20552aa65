//! Modes that give up what cannot be read: what is left is right, what is gone is named, and nothing changes before
//! somebody accepts it.

use std::{collections::BTreeSet, path::PathBuf};

use lsm_fs::Fs;
use lsm_journal::{FileName, JournalOptions, Losses, RecoveryMode};
use lsm_testkit::sim::{Choice, SimFs};

use crate::common::{Life, disk, env_on, found, read, recover, tables};

const LONE: JournalOptions = JournalOptions {
    sync: lsm_fs::SyncLevel::Full,
    sync_dir: lsm_fs::SyncLevel::Full,
    mirror: false,
    rotate_min_bytes: 1 << 20,
    keep_generations: 2,
};

/// A generation with two edits, and one behind it with five more; tables 1 to 7. Where the second one's snapshot ends.
fn two_generations() -> (Life, PathBuf, u64) {
    let fs = disk();
    let mut life = Life::with_edits(&fs, LONE, 2);
    life.journal.rotate(&life.catalog).unwrap();
    let snapshot = life.journal.status().snapshot_bytes;
    for key_len in [8, 8, 5_000, 8, 8] {
        life.append(1, key_len).unwrap();
    }
    let path = FileName::Manifest(life.journal.status().generation).path("/db".as_ref());
    let fs = life.fs.image(life.fs.len(), Choice::Ceiling);
    (Life { fs, ..life }, path, snapshot)
}

/// What a mode finds; reading changes nothing.
#[track_caller]
fn lossy(fs: &SimFs, mode: RecoveryMode) -> (BTreeSet<u64>, Losses) {
    let before = fs.state_hash();
    let recovery = read(fs, mode).unwrap().unwrap();
    assert_eq!(fs.state_hash(), before, "reading changed something");
    (tables(recovery.catalog()), recovery.report().losses.clone().unwrap())
}

/// Proves D-37, D-49: any byte of the edits flipped. Up to a point in time, all edits before the damage are there;
/// skipping, all but the damaged ones are. Fault: durability W-22.
#[test]
fn damaged_edits_cost_what_they_held() {
    let (life, path, snapshot) = two_generations();
    let all = life.tables();
    let len = life.fs.metadata(&path).unwrap().len;
    let mut refusals = 0;
    for offset in (snapshot..len).step_by(11) {
        life.fs.flip(&path, offset, 2).unwrap();
        let strict = read(&life.fs, RecoveryMode::Strict).err();
        let (kept, losses) = lossy(&life.fs, RecoveryMode::PointInTime);
        assert_eq!(kept, (1..=kept.len() as u64).collect(), "{offset}: a beginning of the history");
        let lost = losses.lost.edit_count();
        assert_eq!(strict, losses.refused, "{offset}");
        let is_tail = losses.refused.is_none();
        assert!(is_tail || (lost > 0 && kept.len() as u64 + lost == 7), "{offset}: {losses:?}");

        let (skipped, losses) = lossy(&life.fs, RecoveryMode::SkipCorrupt);
        assert!(skipped.is_superset(&kept) && skipped.is_subset(&all), "{offset}: {skipped:?}");
        if !is_tail {
            assert_eq!((losses.lost.edit_count(), skipped.len()), (1, 6), "{offset}: {losses:?}");
            assert!(losses.bytes > 0);
            refusals += 1;
        }
        life.fs.flip(&path, offset, 2).unwrap();
    }
    assert!(refusals > 300, "{refusals}");
}

/// Proves D-49: any byte of header and snapshot flipped. The generation before it stands in: up to a point in time with
/// what it holds, skipping with the edits of the damaged one on top. Fault: durability W-22.
#[test]
fn a_damaged_snapshot_is_replaced_by_an_older_state() {
    let (life, path, snapshot) = two_generations();
    let mut stood_in = 0;
    for offset in 0..snapshot {
        life.fs.flip(&path, offset, 1).unwrap();
        if read(&life.fs, RecoveryMode::Strict).is_err() {
            let (kept, losses) = lossy(&life.fs, RecoveryMode::PointInTime);
            assert_eq!(kept, (1..=2).collect(), "{offset}");
            assert!(losses.refused.is_some());
            let (skipped, losses) = lossy(&life.fs, RecoveryMode::SkipCorrupt);
            if offset >= 512 {
                assert_eq!(skipped, life.tables(), "{offset}");
                assert_eq!(losses.base, Some(lsm_journal::Generation::new(1)));
                assert!(losses.lost.is_nothing() && losses.bytes > 0, "{offset} {losses:?}");
                stood_in += 1;
            }
        }
        life.fs.flip(&path, offset, 1).unwrap();
    }
    assert!(stood_in > 100, "{stood_in} of {snapshot}");
}

/// Proves D-46, D-49: what was accepted is the truth for a strict recovery, indices of lost edits are not used again,
/// and no older generation is removed.
/// Fault: durability W-40.
#[test]
fn what_is_accepted_is_the_truth() {
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt] {
        let (life, path, snapshot) = two_generations();
        life.fs.flip(&path, snapshot + 60, 0).unwrap();
        assert!(read(&life.fs, RecoveryMode::Strict).is_err());
        let recovery = read(&life.fs, mode).unwrap().unwrap();
        let furthest = recovery.report().losses.as_ref().unwrap().furthest;
        assert_eq!(furthest.get(), 7);
        let before = life.fs.files();
        let accepted = recovery.start(env_on(&life.fs), LONE).unwrap();
        assert!(accepted.journal.last_edit() > furthest);
        let kept = tables(&accepted.catalog);
        let after = life.fs.files();
        let manifests = before.iter().filter(|(path, _)| path.to_string_lossy().contains("MANIFEST"));
        assert!(manifests.clone().count() == 2);
        assert!(
            manifests.into_iter().all(|(path, bytes)| after.get(path) == Some(bytes)),
            "nothing is removed"
        );
        drop(accepted.journal);
        assert_eq!(found(&life.fs, &"accepted"), Some(kept.clone()));
        let again = recover(&life.fs, LONE);
        assert_eq!(tables(&again.catalog), kept);
    }
}

/// Proves D-49: nothing is given up where nothing is damaged, and there is no database where there is none.
#[test]
fn an_undamaged_database_loses_nothing() {
    let (life, _, _) = two_generations();
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt] {
        let (found, losses) = lossy(&life.fs, mode);
        assert_eq!(found, life.tables());
        assert!(losses.refused.is_none() && losses.lost.is_nothing() && losses.base.is_none());
        assert!(read(&disk(), mode).unwrap().is_none());
    }
}
