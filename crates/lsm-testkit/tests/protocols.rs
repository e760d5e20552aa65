//! The simulator finds what is wrong with protocols that are known to be wrong, and nothing in those that are right.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;

use lsm_fs::{Fs, OpenOptions, SyncLevel};
use lsm_testkit::sim::{FaultPlan, FaultRule, ImageId, SimFs, Strategy};
use lsm_types::{IoError, IoKind, IoOp};

/// What a store promised, and when: by this point of the trace, this value.
type Promises = Vec<(usize, u64)>;

/// Which value a store has after a crash; `None` when it is empty, `Err` when it does not open.
type Found = Result<Option<u64>, String>;

/// A store that holds one number: it is written three times, each time a larger one.
trait Store {
    fn run(&self, fs: &SimFs, promises: &mut Promises) -> Result<(), IoError>;
    fn recover(&self, fs: &SimFs) -> Found;
}

const LAST: u64 = 3;

/// Looks for an image in which an acknowledged value is missing, or one appears that was never written.
fn first_violation(store: &dyn Store, faults: FaultPlan, strategy: &Strategy) -> Option<(ImageId, String)> {
    let fs = SimFs::default();
    fs.set_faults(faults);
    let mut promises = Vec::new();
    store.run(&fs, &mut promises).unwrap();
    assert_eq!(promises.last().map(|&(_, value)| value), Some(LAST));
    let epochs = promises.clone();
    let epoch = move |point| epochs.iter().filter(|(at, _)| *at <= point).count() as u64;
    fs.sweep(strategy).epochs(epoch).find_map(|(id, image)| {
        let owed = promises.iter().rfind(|(at, _)| *at <= id.point).map(|&(_, value)| value);
        match store.recover(&image) {
            Ok(found) if found >= owed && found <= Some(LAST) => None,
            found => {
                // The id alone reproduces what went wrong.
                let again = id.to_string().parse::<ImageId>().unwrap();
                assert_eq!(store.recover(&fs.image(again.point, again.choice)), found);
                Some((id, format!("owed {owed:?}, found {found:?}")))
            }
        }
    })
}

#[track_caller]
fn caught(store: &dyn Store, faults: FaultPlan) {
    assert!(first_violation(store, faults, &Strategy::GATE).is_some(), "the gate lets it pass");
}

#[track_caller]
fn passes(store: &dyn Store, faults: FaultPlan) {
    assert_eq!(first_violation(store, faults.clone(), &Strategy::GATE), None);
    assert_eq!(first_violation(store, faults, &Strategy::FULL), None);
}

/// A value over several sectors, so that a part of it is recognised as one.
fn encode(value: u64) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().repeat(160);
    bytes.extend((!value).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let value = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (bytes == encode(value)).then_some(value)
}

fn read(fs: &SimFs, path: &str) -> Option<Vec<u8>> {
    fs.files().remove(Path::new(path))
}

/// A snapshot per value, and a pointer to the newest one.
#[derive(PartialEq)]
enum Snapshots {
    Right,
    /// The switch of the pointer is not made durable.
    NoDirectorySync,
    /// The pointer gets its name before its contents are durable.
    RenameBeforeSync,
    /// The pointer leads to a snapshot that is synced only afterwards.
    PointerBeforeSnapshot,
    /// The old snapshot goes before the pointer has left it.
    UnlinkBeforeInstall,
    /// A failed sync of the snapshot is tried again and believed.
    SyncRetried,
    /// The snapshot is synced through a handle that did not write it, and its own error goes unseen.
    ErrorIgnored,
}

const ROOT: &str = "/";

impl Snapshots {
    /// Writes a snapshot under a number never used before, so that a failed one can be abandoned.
    fn write(&self, fs: &SimFs, name: &mut u64, value: u64) -> Result<(), IoError> {
        loop {
            *name += 1;
            let file = fs.open(Path::new(&format!("/snapshot-{name}")), &OpenOptions::CREATE_NEW)?;
            file.append(&encode(value))?;
            if *self == Self::PointerBeforeSnapshot {
                return Ok(());
            }
            match file.sync(SyncLevel::Full) {
                Err(_) if *self == Self::SyncRetried => return file.sync(SyncLevel::Full),
                Err(_) if *self != Self::ErrorIgnored => {}
                _ => return Ok(()),
            }
        }
    }

    fn point_at(&self, fs: &SimFs, name: u64) -> Result<(), IoError> {
        let (aside, pointer) = (Path::new("/CURRENT.tmp"), Path::new("/CURRENT"));
        let file = fs.open(aside, &OpenOptions::REPLACE)?;
        file.append(&name.to_le_bytes())?;
        if *self != Self::RenameBeforeSync {
            file.sync(SyncLevel::Full)?;
        }
        fs.rename(aside, pointer)?;
        if *self == Self::RenameBeforeSync {
            file.sync(SyncLevel::Full)?;
        }
        if *self != Self::NoDirectorySync {
            fs.sync_dir(Path::new(ROOT), SyncLevel::Full)?;
        }
        Ok(())
    }
}

impl Store for Snapshots {
    fn run(&self, fs: &SimFs, promises: &mut Promises) -> Result<(), IoError> {
        let mut name = 0;
        for value in 1..=LAST {
            let old = format!("/snapshot-{name}");
            self.write(fs, &mut name, value)?;
            if *self != Self::NoDirectorySync {
                fs.sync_dir(Path::new(ROOT), SyncLevel::Full)?;
            }
            if *self == Self::UnlinkBeforeInstall && value > 1 {
                fs.remove_file(Path::new(&old))?;
            }
            self.point_at(fs, name)?;
            if *self == Self::PointerBeforeSnapshot {
                let path = format!("/snapshot-{name}");
                fs.open(Path::new(&path), &OpenOptions::WRITE)?.sync(SyncLevel::Full)?;
            }
            promises.push((fs.len(), value));
            if *self != Self::UnlinkBeforeInstall && value > 1 {
                fs.remove_file(Path::new(&old))?;
            }
        }
        Ok(())
    }

    fn recover(&self, fs: &SimFs) -> Found {
        let Some(pointer) = read(fs, "/CURRENT") else { return Ok(None) };
        let name = u64::from_le_bytes(pointer.as_slice().try_into().map_err(|_| "the pointer is torn")?);
        let snapshot = read(fs, &format!("/snapshot-{name}")).ok_or("the snapshot is missing")?;
        decode(&snapshot).map(Some).ok_or("the snapshot is damaged".into())
    }
}

/// One file of records, the last of which is the value.
#[derive(PartialEq)]
enum Log {
    Right,
    /// After an append that failed half-way, the next record goes behind the torn one.
    AppendAfterTorn,
    /// A record is acknowledged before it is synced.
    NoSync,
    /// A record is acknowledged once its order is settled.
    BarrierAlone,
    /// The log's own name is not made durable.
    NameNotSynced,
}

impl Store for Log {
    fn run(&self, fs: &SimFs, promises: &mut Promises) -> Result<(), IoError> {
        let file = fs.open(Path::new("/log"), &OpenOptions::CREATE_NEW)?;
        if *self != Self::NameNotSynced {
            fs.sync_dir(Path::new(ROOT), SyncLevel::Full)?;
        }
        for value in 1..=LAST {
            let good = file.len()?;
            while file.append(&encode(value)).is_err() {
                if *self != Self::AppendAfterTorn {
                    file.set_len(good)?;
                    file.sync(SyncLevel::Full)?;
                }
            }
            match self {
                Self::NoSync => {}
                Self::BarrierAlone => file.sync(SyncLevel::Barrier)?,
                _ => file.sync(SyncLevel::Data)?,
            }
            promises.push((fs.len(), value));
        }
        Ok(())
    }

    fn recover(&self, fs: &SimFs) -> Found {
        let log = read(fs, "/log").unwrap_or_default();
        Ok(log.chunks(encode(0).len()).map_while(decode).last())
    }
}

fn torn_append() -> FaultPlan {
    FaultPlan::new().with(FaultRule::short(700, IoKind::NoSpace).on(IoOp::Write).path("/log").nth(1))
}

fn lost_sync() -> FaultPlan {
    FaultPlan::new().with(FaultRule::lose(IoKind::Other).on(IoOp::Sync).path("/snapshot-*").nth(1))
}

#[test]
fn right_protocols_pass() {
    passes(&Snapshots::Right, FaultPlan::new());
    passes(&Snapshots::Right, lost_sync());
    passes(&Log::Right, FaultPlan::new());
    passes(&Log::Right, torn_append());
}

/// What fails before it has any effect, and what fails after it had all of it, is survived too.
#[test]
fn right_protocols_pass_under_every_failing_sync() {
    for nth in 0..3 {
        for rule in [FaultRule::fail(IoKind::Other), FaultRule::fail_after(IoKind::Other)] {
            let plan = FaultPlan::new().with(rule.on(IoOp::Sync).path("/snapshot-*").nth(nth));
            passes(&Snapshots::Right, plan);
        }
    }
}

#[test]
fn a_missing_directory_sync_is_caught() {
    caught(&Snapshots::NoDirectorySync, FaultPlan::new());
    caught(&Log::NameNotSynced, FaultPlan::new());
}

#[test]
fn a_rename_before_the_sync_is_caught() {
    caught(&Snapshots::RenameBeforeSync, FaultPlan::new());
}

#[test]
fn an_append_behind_a_torn_one_is_caught() {
    passes(&Log::AppendAfterTorn, FaultPlan::new());
    caught(&Log::AppendAfterTorn, torn_append());
}

#[test]
fn a_retried_sync_is_caught() {
    passes(&Snapshots::SyncRetried, FaultPlan::new());
    caught(&Snapshots::SyncRetried, lost_sync());
    caught(&Snapshots::ErrorIgnored, lost_sync());
}

#[test]
fn an_unlink_before_the_install_is_caught() {
    caught(&Snapshots::UnlinkBeforeInstall, FaultPlan::new());
}

#[test]
fn a_pointer_before_its_snapshot_is_caught() {
    caught(&Snapshots::PointerBeforeSnapshot, FaultPlan::new());
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    caught(&Log::NoSync, FaultPlan::new());
    caught(&Log::BarrierAlone, FaultPlan::new());
}

/// An image is a file system like any other: a store goes on in it and may crash again.
#[test]
fn a_crash_may_follow_a_crash() {
    let fs = SimFs::default();
    Snapshots::Right.run(&fs, &mut Vec::new()).unwrap();
    let mut images = 0;
    for (id, image) in fs.sweep(&Strategy::GATE).step_by(7) {
        let owed = Snapshots::Right.recover(&image).unwrap();
        let mut name = 100;
        Snapshots::Right.write(&image, &mut name, 9).unwrap();
        image.sync_dir(Path::new(ROOT), SyncLevel::Full).unwrap();
        Snapshots::Right.point_at(&image, name).unwrap();
        for (second, image) in image.sweep(&Strategy::GATE) {
            let found = Snapshots::Right.recover(&image);
            assert!(found == Ok(owed) || found == Ok(Some(9)), "{id}, then {second}: {found:?}");
            images += 1;
        }
    }
    assert!(images > 100, "{images} images");
}
