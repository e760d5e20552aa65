//! The keys of sealed databases: from a file, never from the command line or the environment, where others see them.

use std::{fs, path::PathBuf, sync::Arc};

use lsm::tree::{Encryption, KeyChain};

use crate::failure::Failure;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Keys {
    /// File with the keys of a sealed database: a line `NUMBER HEX` for each, 64 hexadecimal digits; new files get the
    /// last one. A new database is sealed if this is given.
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Keys {
    /// What opens and seals files; `None` without a key file.
    pub(crate) fn encryption(&self) -> Result<Option<Encryption>, Failure> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let failed = |source| Failure::File { what: "read the key file", path: path.clone(), source };
        let bytes = fs::read(path).map_err(failed)?;
        let chain = KeyChain::from_file(bytes)
            .map_err(|source| Failure::KeyFile { path: path.clone(), source: source.into() })?;
        Ok(Some(Encryption::new(Arc::new(chain))))
    }
}
