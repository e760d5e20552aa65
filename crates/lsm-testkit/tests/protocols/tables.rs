//! A file per value, and a log that says which file counts: as an engine installs what a compaction wrote.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_fs::{Fs, FsFile, OpenOptions, SyncLevel};
use lsm_testkit::sim::SimFs;
use lsm_types::IoError;

use super::toy::{Protocol, Trouble, decode, doubt, encode, read};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Tables {
    Right,
    /// When the sync of the log fails, the file it may name durably is deleted.
    OutputsDeletedInDoubt,
    /// The old file goes before the log names the new one.
    InputsDeletedEarly,
    /// The next number is one above the largest that lies there.
    NumbersFromTheDirectory,
    /// What a crash left is not removed.
    OrphansStay,
}

pub(crate) struct Db {
    fs: SimFs,
    log: Arc<dyn FsFile>,
    /// Length of the log that is known to be good.
    good: u64,
    /// The file that counts; 0 for none.
    live: u64,
    next: u64,
    /// Numbers below this one are promised by the log.
    reserved: u64,
}

/// A record of the log: the number of the file that counts, the numbers promised so far, and a check.
fn record(live: u64, reserved: u64) -> Vec<u8> {
    [live, reserved, !(live ^ reserved.rotate_left(7))].iter().flat_map(|word| word.to_le_bytes()).collect()
}

const RECORD: usize = 24;

fn parse(bytes: &[u8]) -> Option<(u64, u64)> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (live, reserved) = (word(0)?, word(8)?);
    (bytes == record(live, reserved)).then_some((live, reserved))
}

fn path(number: u64) -> PathBuf {
    format!("/table-{number}").into()
}

fn files(fs: &SimFs) -> Vec<u64> {
    let number = |path: PathBuf| path.to_str()?.strip_prefix("/table-")?.parse().ok();
    fs.files().into_keys().filter_map(number).collect()
}

impl Db {
    fn say(&mut self, live: u64, reserved: u64) -> Result<(), Trouble> {
        if let Err(error) = self.log.write_at(self.good, &record(live, reserved)) {
            self.log.set_len(self.good).map_err(doubt)?;
            self.log.sync(SyncLevel::Full).map_err(doubt)?;
            return Err(Trouble::Refused(error.into()));
        }
        self.log.sync(SyncLevel::Full).map_err(doubt)?;
        self.good += RECORD as u64;
        (self.live, self.reserved) = (live, reserved);
        Ok(())
    }
}

impl Tables {
    fn start(self, fs: &SimFs) -> Result<(Db, u64), String> {
        let told = |error: IoError| error.to_string();
        let bytes = read(fs, "/log").unwrap_or_default();
        let records: Vec<_> = bytes.chunks(RECORD).map_while(parse).collect();
        let (live, reserved) = records.last().copied().unwrap_or((0, 1));
        let value = if live == 0 {
            0
        } else {
            let table = fs.files().remove(&path(live)).ok_or("a file is missing")?;
            decode(&table).ok_or("a file is damaged")?
        };
        // A new log under the old name: it states what was found, whatever became of the old one.
        let (aside, name) = (Path::new("/log.new"), Path::new("/log"));
        let _ = fs.remove_file(aside);
        let log = fs.open(aside, &OpenOptions::CREATE_NEW).map_err(told)?;
        log.append(&record(live, reserved)).map_err(|error| told(error.into()))?;
        log.sync(SyncLevel::Full).map_err(told)?;
        fs.rename(aside, name).map_err(told)?;
        fs.sync_dir(Path::new("/"), SyncLevel::Full).map_err(told)?;
        if self != Self::OrphansStay {
            for orphan in files(fs).into_iter().filter(|&number| number != live) {
                fs.remove_file(&path(orphan)).map_err(told)?;
            }
        }
        let next = match self {
            Self::NumbersFromTheDirectory => files(fs).into_iter().max().unwrap_or(0) + 1,
            _ => reserved,
        };
        Ok((Db { fs: fs.clone(), log, good: RECORD as u64, live, next, reserved }, value))
    }
}

impl Protocol for Tables {
    type Db = Db;

    fn open(self, fs: &SimFs) -> Result<(Db, u64), String> {
        self.start(fs)
    }

    fn write(self, db: &mut Db, value: u64) -> Result<(), Trouble> {
        if db.next >= db.reserved && self != Self::NumbersFromTheDirectory {
            db.say(db.live, db.next + 3)?;
        }
        let (old, new) = (db.live, db.next);
        db.next += 1;
        let written = (|| {
            let file = db.fs.open(&path(new), &OpenOptions::CREATE_NEW)?;
            file.append(&encode(value))?;
            file.sync(SyncLevel::Full)?;
            db.fs.sync_dir(Path::new("/"), SyncLevel::Full)
        })();
        if let Err(error) = written {
            let _ = db.fs.remove_file(&path(new));
            return Err(Trouble::Refused(error));
        }
        if self == Self::InputsDeletedEarly && old != 0 {
            let _ = db.fs.remove_file(&path(old));
        }
        match db.say(new, db.reserved.max(db.next)) {
            Err(trouble) => {
                if self == Self::OutputsDeletedInDoubt || matches!(trouble, Trouble::Refused(_)) {
                    let _ = db.fs.remove_file(&path(new));
                }
                return Err(trouble);
            }
            Ok(()) if old != 0 => _ = db.fs.remove_file(&path(old)),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Only looked at after an open, when nothing is on its way.
    fn leftovers(self, db: &Db, fs: &SimFs) -> usize {
        files(fs).into_iter().filter(|&number| number != db.live).count()
    }

    fn is_named_once(self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| path.starts_with("/table-"))
    }
}
