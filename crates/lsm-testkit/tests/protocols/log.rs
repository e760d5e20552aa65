//! One file of records, the last of which is the value.

use std::path::Path;
use std::sync::Arc;

use lsm_fs::{Fs, FsFile, OpenOptions, SyncLevel};
use lsm_testkit::sim::SimFs;
use lsm_types::IoError;

use super::toy::{Protocol, Trouble, decode, doubt, encode, read};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Log {
    Right,
    /// After an append that failed half-way, the next record goes behind the torn one.
    AppendAfterTorn,
    /// A record is acknowledged before it is synced.
    NoSync,
    /// A record is acknowledged once its order is settled.
    BarrierAlone,
    /// The log's own name is not made durable.
    NameNotSynced,
    /// The length of the file is the value, and it is set after the sync.
    LengthNotSynced,
    /// What an open finds is taken to be durable, although it may be what a failed sync left to be seen.
    TailBelieved,
}

pub(crate) struct Db {
    file: Arc<dyn FsFile>,
    good: u64,
}

const RECORD: usize = 161 * 8;

impl Log {
    fn start(self, fs: &SimFs) -> Result<(Db, u64), IoError> {
        let (aside, path) = (Path::new("/log.new"), Path::new("/log"));
        let bytes = read(fs, "/log").unwrap_or_default();
        if self == Self::LengthNotSynced {
            let file = fs.open(path, &OpenOptions::CREATE)?;
            fs.sync_dir(Path::new("/"), SyncLevel::Full)?;
            return Ok((Db { file, good: bytes.len() as u64 }, bytes.len() as u64));
        }
        let values: Vec<u64> = bytes.chunks(RECORD).map_while(decode).collect();
        let good = bytes.get(..values.len() * RECORD).unwrap_or_default();
        let file = if self == Self::TailBelieved {
            let file = fs.open(path, &OpenOptions::CREATE)?;
            file.set_len(good.len() as u64)?;
            file.sync(SyncLevel::Full)?;
            file
        } else {
            // Written anew: what reads show of the old one may be what a failed sync has dropped.
            let _ = fs.remove_file(aside);
            let file = fs.open(aside, &OpenOptions::CREATE_NEW)?;
            file.append(good)?;
            file.sync(SyncLevel::Full)?;
            fs.rename(aside, path)?;
            file
        };
        if self != Self::NameNotSynced {
            fs.sync_dir(Path::new("/"), SyncLevel::Full)?;
        }
        Ok((Db { file, good: good.len() as u64 }, values.last().copied().unwrap_or(0)))
    }
}

impl Protocol for Log {
    type Db = Db;

    fn open(self, fs: &SimFs) -> Result<(Db, u64), String> {
        self.start(fs).map_err(|error| error.to_string())
    }

    fn write(self, db: &mut Db, value: u64) -> Result<(), Trouble> {
        let end = db.good + RECORD as u64;
        if self == Self::LengthNotSynced {
            db.file.sync(SyncLevel::Full).map_err(doubt)?;
            db.file.set_len(value).map_err(doubt)?;
            db.good = value;
            return Ok(());
        }
        let appended = match self {
            Self::AppendAfterTorn => db.file.append(&encode(value)).map(drop),
            _ => db.file.write_at(db.good, &encode(value)),
        };
        if let Err(error) = appended {
            if self != Self::AppendAfterTorn {
                db.file.set_len(db.good).map_err(doubt)?;
                db.file.sync(SyncLevel::Full).map_err(doubt)?;
            }
            return Err(Trouble::Refused(error.into()));
        }
        match self {
            Self::NoSync => {}
            Self::BarrierAlone => db.file.sync(SyncLevel::Barrier).map_err(doubt)?,
            _ => db.file.sync(SyncLevel::Data).map_err(doubt)?,
        }
        db.good = end;
        Ok(())
    }
}
