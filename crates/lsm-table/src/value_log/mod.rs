//! Value logs on a file system: written by a [`VlogWriter`], read through a [`ValueLog`].
//!
//! They share caches, descriptors, keys and the way files are given up with the tables of their tree.

mod batch;
mod log;
mod staged;
mod writer;

pub(crate) use log::CachedValue;
pub use log::{CacheUse, ValueLog};
pub use staged::StagedVlog;
pub use writer::VlogWriter;

use std::{path::PathBuf, sync::Arc};

use lsm_block::{FileIdentity, Handle, Superblock, Transforms};
use lsm_codec::Compression;
use lsm_types::{FileKind, FileUuid, Result, VlogId};
use lsm_vlog::VlogSummary;

use crate::TableEnv;

/// How value logs are written.
#[derive(Clone, Debug)]
pub struct VlogPolicy {
    /// Compression of new values.
    pub compression: Compression,
    /// A file that has reached this length takes no further value, in bytes.
    pub target_bytes: u64,
    /// The place of every so-manieth value is recorded.
    pub directory_every: u32,
}

impl Default for VlogPolicy {
    /// LZ4 where it is built in, 64 MiB, every 64th value.
    fn default() -> Self {
        Self { compression: Compression::Lz4, target_bytes: 64 << 20, directory_every: 64 }
    }
}

/// What the value logs of one tree share.
pub struct VlogEnv {
    /// What they share with its tables; they take their numbers from there, too.
    pub tables: Arc<TableEnv>,
    /// The folder of the value logs.
    pub folder: PathBuf,
    /// Name of the file of a value log.
    pub file_name: fn(VlogId) -> String,
    /// How they are written.
    pub policy: VlogPolicy,
}

impl VlogEnv {
    /// The path of a value log.
    pub fn path(&self, log: VlogId) -> PathBuf {
        self.folder.join((self.file_name)(log))
    }

    /// Makes the names of all files written so far durable.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync_directory(&self) -> Result<()> {
        Ok(self.tables.fs.sync_dir(&self.folder, self.tables.sync_folder)?)
    }

    fn identity(&self, log: VlogId, uuid: FileUuid) -> FileIdentity {
        let (database, tree) = (self.tables.database, self.tables.tree);
        FileIdentity { kind: FileKind::ValueLog, file_id: log.get(), uuid, database, tree }
    }

    /// The head of a new value log, and what happens to its frames.
    fn begin(&self, log: VlogId) -> Result<(Superblock, Transforms)> {
        let env = &self.tables;
        let mut uuid = [0; 16];
        env.random.fill(&mut uuid);
        let identity = self.identity(log, FileUuid::from_bytes(uuid));
        let superblock = Superblock::new(identity, env.clock.now(), env.ids.last_edit());
        Ok(superblock.begin(env.encryption.as_ref(), |salt| env.random.fill(salt))?)
    }
}

/// What has to be known about a value log to read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlogFacts {
    /// Its number.
    pub id: VlogId,
    /// Its identity.
    pub uuid: FileUuid,
    /// What was known when its last byte was written.
    pub summary: VlogSummary,
}

impl VlogFacts {
    /// Where its directory lies.
    pub const fn directory(&self) -> Handle {
        self.summary.directory
    }
}
