//! Copies of a store that share its files.
//!
//! ```text
//! sample the number -> flush, dropping nothing -> hold deletions -> cut: one state of all trees
//!   -> mark the tables as exported -> link, clone or copy them -> write a manifest -> rename -> sync
//! ```
//!
//! Until the rename there is only a staging directory beside the target, which a crash leaves behind and the next
//! attempt clears away; after it the target is complete. The copy keeps the identity of the data, files and database
//! alike, and has a manifest of its own, so original and copy go their own ways: each new file has an identity that no
//! other file has.

mod staging;
mod transfer;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_compaction_executor::{Cancel, InstallError};
use lsm_fs::Fs;
use lsm_journal::{FileName, Folder, Journal, JournalEnv, Recovery, RecoveryMode};
use lsm_manifest::{Catalog, TableDescriptor, TreeEdit, TreeIdentity, VersionEdit};
use lsm_types::{EditIndex, FileUuid, KeyOrder, Result, SeqNo, TableId, TreeId};

pub use staging::{StagingGc, gc_staging};
pub use transfer::CopyMethod;

pub(crate) use staging::Staging;
pub(crate) use transfer::{Means, check_len};

use crate::{
    DeletionHold, EngineError, FlushOptions, Store, Tree,
    store::{Draft, Proposal, StoreInner, journal_options},
};

/// How a checkpoint is taken.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct CheckpointOptions {
    /// Whether memtables are flushed first. Default: yes. Otherwise the checkpoint holds what is in tables.
    pub flush: bool,
    /// Whether files are cloned where the file system can. Default: yes.
    pub reflink: bool,
    /// Whether files get second names where they cannot be cloned. Default: yes. Otherwise their bytes are copied.
    pub hard_link: bool,
    /// The file system of the target. Default: that of the store.
    pub fs: Option<Arc<dyn Fs>>,
    /// An earlier checkpoint on the file system of the target: files that are in it already are linked from there.
    pub since: Option<PathBuf>,
    /// Stops it from outside.
    pub cancel: Cancel,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { flush: true, reflink: true, hard_link: true, fs: None, since: None, cancel: Cancel::new() }
    }
}

/// A file of a checkpoint.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointFile {
    /// The table in it.
    pub table: TableId,
    /// The tree of the table.
    pub tree: TreeId,
    /// Identity of the file, the same as in the store.
    pub uuid: FileUuid,
    /// Its length in bytes.
    pub len: u64,
    /// Digest over its frames.
    pub digest: u64,
    /// How it came there.
    pub method: CopyMethod,
}

/// What a checkpoint holds.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointInfo {
    /// Every write numbered below it that had returned is in the checkpoint; others may be.
    pub seqno: SeqNo,
    /// The last edit of the manifest that is in the checkpoint.
    pub edit_index: EditIndex,
    /// Its tables.
    pub files: Vec<CheckpointFile>,
    /// How often a better way of bringing a file there turned out to be impossible.
    pub fallbacks: u64,
}

impl CheckpointInfo {
    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Bytes of the tables that came there by `method`.
    pub fn bytes_by(&self, method: CopyMethod) -> u64 {
        self.files.iter().filter(|file| file.method == method).map(|file| file.len).sum()
    }
}

impl Store {
    /// Creates `target`, a directory that opens as an independent store with the same trees; its parent has to exist.
    ///
    /// Readers notice nothing, and writers wait no longer than for a new memtable. Files that become obsolete meanwhile
    /// stay until it is done.
    ///
    /// # Errors
    /// `AlreadyExists` when the target is there, or another checkpoint is about to make it; `Cancelled`, `NoSpace`,
    /// `Io`: the target does not exist and nothing is left of it; the store is as it was.
    pub fn checkpoint(
        &self,
        target: impl AsRef<Path>,
        options: &CheckpointOptions,
    ) -> Result<CheckpointInfo> {
        self.inner.checkpoint(target.as_ref(), options)
    }
}

impl Tree {
    /// As [`Store::checkpoint`], for the store of the tree.
    ///
    /// # Errors
    /// As [`Store::checkpoint`].
    pub fn checkpoint(
        &self,
        target: impl AsRef<Path>,
        options: &CheckpointOptions,
    ) -> Result<CheckpointInfo> {
        self.inner.store.checkpoint(target.as_ref(), options)
    }
}

/// One durable state of all trees.
struct CutState {
    catalog: Catalog,
    edit_index: EditIndex,
}

impl StoreInner {
    fn checkpoint(self: &Arc<Self>, target: &Path, options: &CheckpointOptions) -> Result<CheckpointInfo> {
        self.check_open_for_writing()?;
        let target = self.check_target(target, options)?;
        let fs = options.fs.clone().unwrap_or_else(|| self.fs().clone());
        if fs.exists(&target)? {
            return Err(EngineError::TargetExists.into());
        }
        let seqno = self.flush_for_checkpoint(options)?;
        // Held before the cut is made: what the cut names is there, and stays.
        let held = DeletionHold::new(self.clone());
        let cut = self.cut()?;
        let sync = self.sync_policy();
        let staging = Staging::claim(fs.clone(), target, sync.directory)?;
        let folder = Folder::Tables.path(staging.path());
        fs.create_dir(&folder)?;
        let wanted = (options.reflink, options.hard_link);
        let means = Means::between(self.fs().as_ref(), fs.as_ref(), staging.path(), wanted, sync.table)?;
        if means.link {
            self.export(&cut.catalog)?;
        }
        let known = self.known_files(&fs, options)?;
        let mut info = CheckpointInfo { seqno, edit_index: cut.edit_index, files: Vec::new(), fallbacks: 0 };
        for (tree, version) in cut.catalog.trees() {
            for (_, table) in version.levels.tables() {
                let (method, fallbacks) =
                    self.bring(&means, staging.path(), table, &known, &options.cancel)?;
                info.fallbacks += fallbacks;
                info.files.push(file_of(tree, table, method));
            }
        }
        self.bring_values(&fs, staging.path(), &cut.catalog, &mut info, options)?;
        drop(held);
        fs.sync_dir(&folder, sync.directory)?;
        self.write_manifest(&fs, staging.path(), &cut, &info)?;
        if options.cancel.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        staging.publish()?;
        Ok(info)
    }

    /// The target as an absolute path outside of this store.
    pub(crate) fn check_target(&self, target: &Path, options: &CheckpointOptions) -> Result<PathBuf> {
        let invalid = |problem| EngineError::InvalidArgument { argument: "target", problem };
        let target = std::path::absolute(target).map_err(|_| invalid("cannot be made absolute"))?;
        if options.fs.is_none() && target.starts_with(self.root()) {
            return Err(invalid("lies in the directory of the store").into());
        }
        Ok(target)
    }

    /// Samples the number, and then brings everything below it into tables.
    fn flush_for_checkpoint(&self, options: &CheckpointOptions) -> Result<SeqNo> {
        let trees = self.open_trees();
        let ends = trees.iter().map(|tree| tree.visible_end());
        let closed = self.with_catalog(|catalog| {
            let highest = catalog.trees().filter_map(|(_, version)| version.max_seqno).max();
            highest.map_or(SeqNo::ZERO, SeqNo::next)
        });
        let end = ends.max().unwrap_or_default().max(closed);
        if !options.flush {
            let in_memory = trees.iter().filter_map(|tree| tree.min_unflushed());
            return Ok(in_memory.min().map_or(end, |min| min.min(end)));
        }
        let flush = FlushOptions { cancel: options.cancel.clone() };
        for tree in trees {
            tree.seal(None);
            tree.flush(&flush, true)?;
        }
        Ok(end)
    }

    fn cut(&self) -> Result<CutState> {
        let Some(installs) = self.installs() else { return Err(EngineError::ReadOnly.into()) };
        // The index moves under the same lock as the catalog.
        Ok(installs
            .with_catalog(|catalog| CutState { catalog: catalog.clone(), edit_index: installs.last_edit() }))
    }

    /// Notes, durably, that the files of these tables are about to get second names.
    fn export(&self, catalog: &Catalog) -> Result<()> {
        let places = catalog
            .trees()
            .flat_map(|(tree, version)| version.levels.tables().map(move |(_, table)| (tree, table.id)));
        let new: Vec<(TreeId, TableId)> = places.filter(|(_, table)| !catalog.is_exported(*table)).collect();
        self.reclaimer().mark_exported(new.iter().map(|(_, table)| *table));
        let build = Box::new(move |draft: &mut Draft<'_>| {
            let mut edit = VersionEdit::default();
            // What a compaction has replaced meanwhile is never cut: that is marked in memory.
            for (tree, id) in new.into_iter().filter(|(_, table)| draft.holds(*table)) {
                edit.push(tree, TreeEdit::ExportTable { id });
            }
            Ok(edit)
        });
        let publish = Box::new(|_: &Catalog| {});
        self.install(Proposal { build, publish, outputs: Vec::new() }).map_err(InstallError::into_error)
    }

    /// Brings one table into the checkpoint at `root`.
    fn bring(
        &self,
        means: &Means<'_>,
        root: &Path,
        table: &TableDescriptor,
        known: &Known,
        cancel: &Cancel,
    ) -> Result<(CopyMethod, u64)> {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let name = FileName::Table(table.id);
        let to = name.path(root);
        let (method, fallbacks) = if known.link(means, table, &to) {
            (CopyMethod::Reused, 0)
        } else {
            means.transfer(&name.path(self.routes().root(self.root(), table.route)), &to, cancel)?
        };
        check_len(means.target, &to, (table.id, table.file_len))?;
        Ok((method, fallbacks))
    }

    /// Brings the value logs into the checkpoint at `root`. They are copied, never linked: that a file has a second
    /// name is not noted of them.
    fn bring_values(
        &self,
        fs: &Arc<dyn Fs>,
        root: &Path,
        catalog: &Catalog,
        info: &mut CheckpointInfo,
        options: &CheckpointOptions,
    ) -> Result<()> {
        if catalog.trees().all(|(_, version)| !version.separates) {
            return Ok(());
        }
        let (sync, folder) = (self.sync_policy(), Folder::Blobs.path(root));
        fs.create_dir(&folder)?;
        let means =
            Means::between(self.fs().as_ref(), fs.as_ref(), root, (options.reflink, false), sync.table)?;
        for (tree, version) in catalog.trees() {
            for log in version.vlogs.iter().map(|log| &log.vlog) {
                if options.cancel.is_cancelled() {
                    return Err(EngineError::Cancelled.into());
                }
                let (name, table) = (FileName::ValueLog(log.id), TableId::new(log.id.get()));
                let to = name.path(root);
                let (method, fallbacks) = means.transfer(&name.path(self.root()), &to, &options.cancel)?;
                check_len(means.target, &to, (table, log.file_len))?;
                let (uuid, len, digest) = (log.uuid, log.file_len, log.digest);
                info.files.push(CheckpointFile { table, tree, uuid, len, digest, method });
                info.fallbacks += fallbacks;
            }
        }
        Ok(fs.sync_dir(&folder, sync.directory)?)
    }

    /// The files of the earlier checkpoint.
    fn known_files(&self, fs: &Arc<dyn Fs>, options: &CheckpointOptions) -> Result<Known> {
        let Some(dir) = &options.since else { return Ok(Known::default()) };
        let env = self.journal_env(fs.clone(), dir.clone());
        // The order of keys does not matter to who only looks for files.
        let orders = |_: TreeId, _: &TreeIdentity| Some(KeyOrder::bytewise());
        let found = Recovery::read(&env, RecoveryMode::TolerateTail, &orders);
        let Ok(Some(recovery)) = found else {
            let problem = "is not a checkpoint that can be read";
            return Err(EngineError::InvalidArgument { argument: "since", problem }.into());
        };
        let (catalog, _) = recovery.into_parts();
        let tables = catalog.trees().flat_map(|(_, version)| version.levels.tables());
        let files = tables.map(|(_, table)| (table.id, table.clone())).collect();
        Ok(Known { dir: dir.clone(), files })
    }

    fn write_manifest(
        &self,
        fs: &Arc<dyn Fs>,
        root: &Path,
        cut: &CutState,
        info: &CheckpointInfo,
    ) -> Result<()> {
        // A checkpoint has all tables in one place.
        let mut catalog =
            if self.routes().is_empty() { cut.catalog.clone() } else { cut.catalog.without_routes()? };
        let mut edit = VersionEdit::default();
        for file in &info.files {
            if matches!(file.method, CopyMethod::Linked | CopyMethod::Reused) {
                edit.push(file.tree, TreeEdit::ExportTable { id: file.table });
            }
        }
        catalog.apply_in_place(&edit)?;
        let env = self.journal_env(fs.clone(), root.to_path_buf());
        let options = journal_options(self.options());
        let mut journal = Journal::fork(env, options, self.database(), cut.edit_index, &catalog)?;
        Ok(journal.close()?)
    }

    pub(crate) fn journal_env(&self, fs: Arc<dyn Fs>, dir: PathBuf) -> JournalEnv {
        let options = self.options();
        let encryption = options.encryption.clone();
        JournalEnv { fs, dir, clock: options.clock.clone(), random: options.random.clone(), encryption }
    }
}

fn file_of(tree: TreeId, table: &TableDescriptor, method: CopyMethod) -> CheckpointFile {
    let TableDescriptor { id, uuid, file_len, digest, .. } = table;
    CheckpointFile { table: *id, tree, uuid: *uuid, len: *file_len, digest: *digest, method }
}

/// Files of an earlier checkpoint.
#[derive(Default)]
struct Known {
    dir: PathBuf,
    files: HashMap<TableId, Arc<TableDescriptor>>,
}

impl Known {
    /// Links the file of `table` from the earlier checkpoint, if the very same file is there.
    fn link(&self, means: &Means<'_>, table: &TableDescriptor, to: &Path) -> bool {
        let is_same = |known: &Arc<TableDescriptor>| {
            (known.uuid, known.file_len, known.digest) == (table.uuid, table.file_len, table.digest)
        };
        if !self.files.get(&table.id).is_some_and(is_same) {
            return false;
        }
        let from = FileName::Table(table.id).path(&self.dir);
        // Its owner may have done anything with it meanwhile.
        let is_whole = means.target.metadata(&from).is_ok_and(|found| found.len == table.file_len);
        is_whole && means.target.hard_link(&from, to).is_ok()
    }
}
