//! `lsm rekey`: brings all files of a database under the last key of the key file.

use std::{fmt, path::PathBuf};

use lsm::tree::{CompactOptions, KeyId, KeyUsage, PlainFiles};
use serde::Serialize;

use crate::{
    database,
    failure::{Ending, Failure},
    interrupt,
    keys::Keys,
    output::Output,
    progress::Progress,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Rekey {
    /// Directory of the database.
    db: PathBuf,
    /// Takes files that are not sealed, too, and seals them: for a database that was not sealed before.
    #[arg(long)]
    accept_plain: bool,
}

impl Rekey {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let mut encryption = keys.encryption()?.ok_or(Failure::NoKeyFile)?;
        if self.accept_plain {
            encryption.plain_files = PlainFiles::Accept;
        }
        let tree = database::open_existing_with(&self.db, Some(encryption))?;
        let progress = Progress::steps("rewriting", None);
        let rekeyed = tree.rekey(&CompactOptions::default().cancel(cancel))?;
        let store = tree.store();
        store.renew_manifest()?;
        drop(progress);
        // Closing removes what was replaced.
        tree.close()?;
        let files = store.key_usage()?.iter().map(File::new).collect();
        output.show(&Report {
            tables: rekeyed.tables,
            bytes: rekeyed.bytes,
            values: rekeyed.values,
            value_bytes: rekeyed.value_bytes,
            keys: files,
        })?;
        Ok(Ending::Clean)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    tables: u64,
    bytes: u64,
    values: u64,
    value_bytes: u64,
    /// What all files of the directory are sealed under.
    keys: Vec<File>,
}

/// Files under one key.
#[derive(Debug, Serialize)]
struct File {
    /// `None` for files that are not sealed.
    key: Option<u32>,
    files: u64,
    bytes: u64,
}

impl File {
    fn new(usage: &KeyUsage) -> Self {
        Self { key: usage.key.map(KeyId::get), files: usage.files, bytes: usage.bytes }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = text::counted(self.tables, "table", "tables");
        writeln!(f, "{tables} rewritten, {}", text::size(self.bytes))?;
        if self.values > 0 {
            let values = text::counted(self.values, "value", "values");
            writeln!(f, "{values} moved, {}", text::size(self.value_bytes))?;
        }
        for file in &self.keys {
            let key = file.key.map_or_else(|| "no key".to_owned(), |key| format!("key {key}"));
            let files = text::counted(file.files, "file", "files");
            writeln!(f, "{key}: {files}, {}", text::size(file.bytes))?;
        }
        Ok(())
    }
}
