//! How a journal behaves.

use std::{fmt, path::PathBuf, sync::Arc};

use lsm_block::Encryption;
use lsm_fs::{Fs, SyncLevel};
use lsm_types::{Clock, Random};

/// Where a database lives, and what enters from outside.
#[derive(Clone)]
pub struct JournalEnv {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The directory of the database.
    pub dir: PathBuf,
    /// Stamps new files; decides nothing.
    pub clock: Arc<dyn Clock>,
    /// Gives new files their identity.
    pub random: Arc<dyn Random>,
    /// Seals what is written and opens what is read; `None` for a database that is not sealed.
    pub encryption: Option<Encryption>,
}

impl fmt::Debug for JournalEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalEnv").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// How a journal writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalOptions {
    /// How far manifest files and `CURRENT` are synced before an edit counts as durable.
    pub sync: SyncLevel,
    /// How far directories are synced.
    pub sync_dir: SyncLevel,
    /// Whether every record is also kept in a second file.
    pub mirror: bool,
    /// A generation is due for replacement when its edits take more bytes than this and than twice its snapshot.
    pub rotate_min_bytes: u64,
    /// Complete older generations that are kept.
    pub keep_generations: u32,
}

impl Default for JournalOptions {
    fn default() -> Self {
        let (sync, sync_dir) = if cfg!(target_os = "macos") {
            (SyncLevel::Device, SyncLevel::Device)
        } else {
            (SyncLevel::Full, SyncLevel::Full)
        };
        Self { sync, sync_dir, mirror: true, rotate_min_bytes: 1 << 20, keep_generations: 2 }
    }
}

/// What recovery makes of bytes that do not verify.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RecoveryMode {
    /// A tail that was never acknowledged is dropped and reported; any other damage is refused.
    #[default]
    Strict,
    /// Any damage is refused, also that of a tail.
    StrictNoTruncate,
    /// As [`RecoveryMode::Strict`], and a generation whose snapshot is cut short is replaced by the one before it,
    /// when that one reaches as far as the snapshot.
    TolerateTail,
    /// The state before the first record that is lost. What follows is given up and reported.
    PointInTime,
    /// Only records that cannot be read are lost; the rest is applied as far as it fits.
    SkipCorrupt,
    /// The manifest is not believed: the state is put together from the files of tables. For that the manifest is
    /// read as with [`RecoveryMode::SkipCorrupt`], to learn what trees there are.
    RebuildFromFiles,
}

impl RecoveryMode {
    /// Whether the mode may give up what had been durable. What it finds is looked at before it is written on.
    pub const fn is_lossy(self) -> bool {
        matches!(self, Self::PointInTime | Self::SkipCorrupt | Self::RebuildFromFiles)
    }
}
