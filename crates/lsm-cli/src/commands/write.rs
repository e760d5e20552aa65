//! `lsm put` and `lsm delete`: one durable write.

use std::{ffi::OsString, fmt, path::PathBuf};

use lsm::{
    SeqNo,
    tree::{FlushOptions, Tree},
};
use serde::Serialize;

use crate::{
    bytes::Notation,
    database,
    failure::{Ending, Failure},
    keys::Keys,
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// Directory of the database; made when nothing is there.
    db: PathBuf,
    /// The key.
    key: OsString,
    /// The value.
    value: OsString,
    #[command(flatten)]
    notation: Notation,
}

impl Put {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let key = self.notation.parse("KEY", &self.key)?;
        let value = self.notation.parse("VALUE", &self.value)?;
        let tree = database::open_or_create(&self.db, keys, None)?;
        let seqno = next_seqno(&tree);
        tree.insert(&key, &value, seqno)?;
        make_durable(tree)?;
        output.show(&Written { what: "stored", seqno: seqno.get() })?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// Directory of the database.
    db: PathBuf,
    /// The key; whether it is there makes no difference.
    key: OsString,
    #[command(flatten)]
    notation: Notation,
}

impl Delete {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let key = self.notation.parse("KEY", &self.key)?;
        let tree = database::open_existing(&self.db, keys)?;
        let seqno = next_seqno(&tree);
        tree.remove(&key, seqno)?;
        make_durable(tree)?;
        output.show(&Written { what: "deleted", seqno: seqno.get() })?;
        Ok(Ending::Clean)
    }
}

/// The number above everything that is in the database.
pub(super) fn next_seqno(tree: &Tree) -> SeqNo {
    tree.persisted().highest.map_or(SeqNo::ZERO, SeqNo::next)
}

fn make_durable(tree: Tree) -> Result<(), Failure> {
    tree.seal(None);
    tree.flush(&FlushOptions::default())?;
    Ok(tree.close()?)
}

#[derive(Debug, Serialize)]
struct Written {
    what: &'static str,
    seqno: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, durable", self.what)
    }
}
