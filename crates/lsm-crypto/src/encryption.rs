//! How a database is sealed.

use alloc::sync::Arc;

use crate::{KeyProvider, Suite};

/// What files a reader takes when it has keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PlainFiles {
    /// None: every file must be sealed, so nobody can slip in one that is not.
    #[default]
    Reject,
    /// Plain ones too, such as those of a database that was not always sealed. They can have been written by anyone.
    Accept,
}

/// How new files are sealed and old ones opened.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// Hands out keys.
    pub keys: Arc<dyn KeyProvider>,
    /// The cipher of new files.
    pub suite: Suite,
    /// What to make of files that are not sealed.
    pub plain_files: PlainFiles,
}

impl Encryption {
    /// Seals everything with keys of this provider and the default cipher, and takes no plain file.
    pub fn new(keys: Arc<dyn KeyProvider>) -> Self {
        Self { keys, suite: Suite::default(), plain_files: PlainFiles::default() }
    }
}
