//! `lsm get`: the value of a key.

use std::{ffi::OsString, path::PathBuf};

use lsm::tree::Reader;

use crate::{
    bytes::{JsonEntry, Notation},
    database,
    failure::{Ending, Failure},
    keys::Keys,
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// Directory of the database.
    db: PathBuf,
    /// The key.
    key: OsString,
    #[command(flatten)]
    notation: Notation,
    /// Prints the value as it is, byte for byte.
    #[arg(long, conflicts_with = "hex")]
    raw: bool,
}

impl Get {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let key = self.notation.parse("KEY", &self.key)?;
        let tree = database::open_to_read(&self.db, keys)?;
        let value = tree.get(&key)?;
        if output.is_json() {
            let entry = JsonEntry::new(self.notation, &key, value.as_deref());
            output.line(&serde_json::json!({ "found": value.is_some(), "entry": entry }))?;
        }
        let Some(value) = value else {
            if !output.is_json() {
                eprintln!("lsm: no such key: {}", self.notation.text(&key));
            }
            return Ok(Ending::Absent);
        };
        match (output.is_json(), self.raw) {
            (true, _) => {}
            (false, true) => output.bytes(&value)?,
            (false, false) => output.write(format_args!("{}\n", self.notation.text(&value)))?,
        }
        Ok(Ending::Clean)
    }
}
