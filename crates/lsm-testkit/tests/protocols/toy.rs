//! What the toy stores have in common: a store holds one number, and each write makes it larger by one.

use std::path::Path;

use lsm_testkit::crash::{Failed, OpKind, Subject};
use lsm_testkit::dice::Dice;
use lsm_testkit::sim::SimFs;
use lsm_types::IoError;

/// How a store works.
pub(crate) trait Protocol: Copy + Sync {
    type Db;

    fn open(self, fs: &SimFs) -> Result<(Self::Db, u64), String>;

    /// Makes `value` durable.
    fn write(self, db: &mut Self::Db, value: u64) -> Result<(), Trouble>;

    /// Files that lie there and should not.
    fn leftovers(self, _db: &Self::Db, _fs: &SimFs) -> usize {
        0
    }

    fn is_named_once(self, _path: &Path) -> bool {
        false
    }
}

/// How a write fails.
pub(crate) enum Trouble {
    Refused(IoError),
    InDoubt(IoError),
}

impl From<IoError> for Trouble {
    fn from(error: IoError) -> Self {
        Self::Refused(error)
    }
}

/// The write may have happened: the store has to be opened again.
pub(crate) fn doubt(error: impl Into<IoError>) -> Trouble {
    Trouble::InDoubt(error.into())
}

/// A protocol as a subject of the driver.
pub(crate) struct Toy<P>(pub(crate) P);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Write,
    Reopen,
}

impl<P: Protocol> Subject for Toy<P> {
    type Op = Op;
    type Db = (P::Db, u64);
    type State = u64;

    fn open(&self, fs: &SimFs) -> Result<Self::Db, String> {
        self.0.open(fs)
    }

    fn empty(&self) -> u64 {
        0
    }

    fn kind(&self, op: &Op) -> OpKind {
        match op {
            Op::Write => OpKind::Commit,
            Op::Reopen => OpKind::Reopen,
        }
    }

    fn label(&self, op: &Op) -> &'static str {
        match op {
            Op::Write => "write",
            Op::Reopen => "reopen",
        }
    }

    fn model(&self, state: &mut u64, _op: &Op) {
        *state += 1;
    }

    fn apply(&self, (db, value): &mut Self::Db, _op: &Op) -> Result<(), Failed> {
        match self.0.write(db, *value + 1) {
            Ok(()) => {
                *value += 1;
                Ok(())
            }
            Err(Trouble::Refused(error)) => Err(Failed::Refused(error.to_string())),
            Err(Trouble::InDoubt(error)) => Err(Failed::InDoubt(error.to_string())),
        }
    }

    fn close(&self, _db: Self::Db) -> Result<(), String> {
        Ok(())
    }

    fn read(&self, (_, value): &Self::Db) -> Result<u64, String> {
        Ok(*value)
    }

    fn check(&self, (db, _): &Self::Db, fs: &SimFs) -> Result<(), String> {
        match self.0.leftovers(db, fs) {
            0 => Ok(()),
            count => Err(format!("{count} files are left behind")),
        }
    }

    fn is_named_once(&self, path: &Path) -> bool {
        self.0.is_named_once(path)
    }

    fn random_op(&self, dice: &mut Dice) -> Op {
        if dice.one_in(6) { Op::Reopen } else { Op::Write }
    }

    fn alphabet(&self) -> Vec<Op> {
        vec![Op::Write, Op::Reopen]
    }
}

/// A value over several sectors, so that a part of it is recognised as one.
pub(crate) fn encode(value: u64) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().repeat(160);
    bytes.extend((!value).to_le_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<u64> {
    let value = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (bytes == encode(value)).then_some(value)
}

pub(crate) fn read(fs: &SimFs, path: &str) -> Option<Vec<u8>> {
    fs.files().remove(Path::new(path))
}
