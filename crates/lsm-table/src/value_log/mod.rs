//! Value logs on a file system: written by a [`VlogWriter`], read through a [`ValueLog`].
//!
//! They share caches, descriptors, keys and the way files are given up with the tables of their tree.

mod batch;
mod found;
mod frames;
mod log;
mod rest;
mod staged;
mod writer;

pub use found::{FoundVlog, read_vlog};
pub use frames::Frames;
pub(crate) use log::CachedValue;
pub use log::{CacheUse, ValueLog, consumed_values};
pub use rest::RestOfVlog;
pub use staged::StagedVlog;
pub use writer::VlogWriter;

use std::{path::PathBuf, sync::Arc};

use lsm_block::{FileIdentity, Superblock, Transforms};
use lsm_codec::Compression;
use lsm_manifest::{DirectoryHandle, VlogDescriptor};
use lsm_types::{FileKind, FileUuid, Level, Result, ValueUsage, VlogId};
pub use lsm_vlog::DictionaryOptions;
use lsm_vlog::{VlogSummary, properties::Properties};

use crate::TableEnv;

/// How value logs are written.
#[derive(Clone, Debug)]
pub struct VlogPolicy {
    /// Values of at least so many bytes are separated, for each level that tables are written for; the last one holds for
    /// deeper levels, too. None where there is no entry.
    pub thresholds: Vec<u32>,
    /// Compression of new values.
    pub compression: Compression,
    /// A dictionary for each file, learnt from its first values; `None` for none. For Zstandard alone; pays for many values
    /// of up to a few KiB that are alike.
    pub dictionary: Option<DictionaryOptions>,
    /// A file that has reached this length takes no further value, in bytes.
    pub target_bytes: u64,
    /// The place of every so-manieth value is recorded.
    pub directory_every: u32,
}

impl Default for VlogPolicy {
    /// Values of 1 KiB and more; LZ4 where it is built in, no dictionary, 64 MiB, every 64th value.
    fn default() -> Self {
        let (compression, target_bytes) = (Compression::Lz4, 64 << 20);
        Self { thresholds: vec![1 << 10], compression, dictionary: None, target_bytes, directory_every: 64 }
    }
}

impl VlogPolicy {
    /// Length from which on values in tables of `level` are separated.
    pub fn threshold(&self, level: Level) -> Option<usize> {
        let own = self.thresholds.get(usize::from(level.get()));
        own.or(self.thresholds.last()).and_then(|bytes| usize::try_from(*bytes).ok())
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

/// What the manifest will say about a finished value log.
fn describe(superblock: &Superblock, summary: &VlogSummary) -> VlogDescriptor {
    let properties = &summary.properties;
    VlogDescriptor {
        id: VlogId::new(superblock.identity.file_id),
        uuid: superblock.identity.uuid,
        file_len: summary.file_len,
        digest: summary.digest,
        format: (superblock.version.major, superblock.version.minor),
        features: superblock.features.incompat,
        key_id: superblock.sealing.as_ref().map_or(0, |sealing| sealing.key.get()),
        created_at: superblock.created,
        created_edit: superblock.edit_index,
        total: total(properties),
        directory: DirectoryHandle { offset: summary.directory.offset, len: summary.directory.len },
        tail_len: u32::try_from(summary.tail_len).unwrap_or(u32::MAX),
        is_ordered: summary.is_ordered,
    }
}

/// All values of a value log.
fn total(properties: &Properties) -> ValueUsage {
    ValueUsage {
        entries: properties.values,
        value_bytes: properties.value_bytes,
        stored_bytes: properties.stored_bytes,
    }
}
