//! A snapshot per value, and a pointer to the newest one.

use std::path::Path;

use lsm_fs::{Fs, OpenOptions, SyncLevel};
use lsm_testkit::sim::SimFs;
use lsm_types::IoError;

use super::toy::{Protocol, Trouble, decode, doubt, encode, read};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Snapshots {
    Right,
    /// Neither the snapshot's name nor the switch of the pointer is made durable.
    NoDirectorySync,
    /// The pointer gets its name before its contents are durable.
    RenameBeforeSync,
    /// The pointer leads to a snapshot that is synced only afterwards.
    PointerBeforeSnapshot,
    /// The old snapshot goes before the pointer has left it.
    UnlinkBeforeInstall,
    /// A failed sync of the snapshot is tried again and believed.
    SyncRetried,
    /// A failed sync of the snapshot is taken for a success.
    SyncErrorIgnored,
    /// The snapshot is synced through a handle that did not write it.
    SyncedElsewhere,
}

pub(crate) struct Db {
    fs: SimFs,
    /// Number of the newest snapshot.
    name: u64,
}

fn path(name: u64) -> String {
    format!("/snapshot-{name}")
}

impl Snapshots {
    fn write_snapshot(self, fs: &SimFs, name: u64, value: u64) -> Result<(), IoError> {
        let path = path(name);
        let path = Path::new(&path);
        let file = fs.open(path, &OpenOptions::REPLACE)?;
        file.append(&encode(value))?;
        match self {
            Self::PointerBeforeSnapshot => return Ok(()),
            Self::SyncedElsewhere => {
                drop(file);
                fs.open(path, &OpenOptions::WRITE)?.sync(SyncLevel::Full)?;
            }
            Self::SyncRetried => file.sync(SyncLevel::Full).or_else(|_| file.sync(SyncLevel::Full))?,
            Self::SyncErrorIgnored => _ = file.sync(SyncLevel::Full),
            _ => file.sync(SyncLevel::Full)?,
        }
        self.sync_names(fs)
    }

    fn sync_names(self, fs: &SimFs) -> Result<(), IoError> {
        if self == Self::NoDirectorySync {
            return Ok(());
        }
        fs.sync_dir(Path::new("/"), SyncLevel::Full)
    }

    fn point_at(self, fs: &SimFs, name: u64) -> Result<(), Trouble> {
        let (aside, pointer) = (Path::new("/CURRENT.tmp"), Path::new("/CURRENT"));
        // Not emptied but removed: after a crash within a rename it may be the pointer itself under another name.
        let _ = fs.remove_file(aside);
        let file = fs.open(aside, &OpenOptions::CREATE_NEW)?;
        file.append(&name.to_le_bytes()).map_err(IoError::from)?;
        if self != Self::RenameBeforeSync {
            file.sync(SyncLevel::Full)?;
        }
        fs.rename(aside, pointer).map_err(doubt)?;
        if self == Self::RenameBeforeSync {
            file.sync(SyncLevel::Full).map_err(doubt)?;
        }
        self.sync_names(fs).map_err(doubt)
    }

    fn install(self, fs: &SimFs, old: u64, name: u64, value: u64) -> Result<(), Trouble> {
        self.write_snapshot(fs, name, value)?;
        if self == Self::UnlinkBeforeInstall {
            let _ = fs.remove_file(Path::new(&path(old)));
        }
        self.point_at(fs, name)?;
        if self == Self::PointerBeforeSnapshot {
            let file = fs.open(Path::new(&path(name)), &OpenOptions::WRITE).map_err(doubt)?;
            file.sync(SyncLevel::Full).map_err(doubt)?;
        }
        let _ = fs.remove_file(Path::new(&path(old)));
        Ok(())
    }
}

impl Protocol for Snapshots {
    type Db = Db;

    /// States what it finds anew: after a failed sync, what reads show may not be what a crash leaves.
    fn open(self, fs: &SimFs) -> Result<(Db, u64), String> {
        let (name, value) = match read(fs, "/CURRENT") {
            None => (0, 0),
            Some(pointer) => {
                let pointer = pointer.as_slice().try_into().map_err(|_| "the pointer is torn")?;
                let name = u64::from_le_bytes(pointer);
                let snapshot = read(fs, &path(name)).ok_or("the snapshot is missing")?;
                (name, decode(&snapshot).ok_or("the snapshot is damaged")?)
            }
        };
        let mut next = name + 1;
        while read(fs, &path(next)).is_some() {
            next += 1;
        }
        match self.install(fs, name, next, value) {
            Ok(()) => Ok((Db { fs: fs.clone(), name: next }, value)),
            Err(Trouble::Refused(error) | Trouble::InDoubt(error)) => Err(error.to_string()),
        }
    }

    /// Never writes under a number that failed before.
    fn write(self, db: &mut Db, value: u64) -> Result<(), Trouble> {
        let old = db.name;
        let mut next = old + 1;
        while read(&db.fs, &path(next)).is_some() {
            next += 1;
        }
        self.install(&db.fs, old, next, value)?;
        db.name = next;
        Ok(())
    }
}
