//! Copies of a store that share its files.
//!
//! ```text
//! sample the number -> flush, dropping nothing -> hold deletions -> cut: one state of all trees
//!   -> mark the files as exported -> link, clone or copy them -> write a manifest -> rename -> sync
//! ```
//!
//! Until the rename there is only a staging directory beside the target, which a crash leaves behind and the next
//! attempt clears away; after it the target is complete. The copy keeps the identity of the data, files and database
//! alike, and has a manifest of its own, so original and copy go their own ways: each new file has an identity that no
//! other file has.

mod cut;
mod staging;
mod transfer;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_compaction_executor::{Cancel, InstallError};
use lsm_fs::Fs;
use lsm_journal::{Journal, JournalEnv, Recovery, RecoveryMode};
use lsm_manifest::{Catalog, TreeEdit, TreeIdentity, VersionEdit};
use lsm_types::{EditIndex, FileKind, FileUuid, KeyOrder, Result, SeqNo, TableId, TreeId, VlogId};

pub use staging::{StagingGc, gc_staging};
pub use transfer::CopyMethod;

use cut::{CutFile, CutState};

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
    /// Table, delete vector or value log.
    pub kind: FileKind,
    /// Its number.
    pub table: TableId,
    /// The tree it belongs to.
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
    /// Its tables and value logs.
    pub files: Vec<CheckpointFile>,
    /// How often a better way of bringing a file there turned out to be impossible.
    pub fallbacks: u64,
}

impl CheckpointInfo {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Bytes of the files that came there by `method`.
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
        let folders = cut.folders();
        for folder in &folders {
            fs.create_dir(&folder.path(staging.path()))?;
        }
        let wanted = (options.reflink, options.hard_link);
        let means = Means::between(self.fs().as_ref(), fs.as_ref(), staging.path(), wanted, sync.table)?;
        if means.link {
            self.export(&cut.catalog)?;
        }
        let known = self.known_files(&fs, options)?;
        let mut info = CheckpointInfo { seqno, edit_index: cut.edit_index, files: Vec::new(), fallbacks: 0 };
        for (file, route) in cut.files() {
            let from = file.name.path(self.routes().root(self.root(), route));
            let (method, fallbacks) = bring(&means, staging.path(), (&file, &from), &known, &options.cancel)?;
            info.fallbacks += fallbacks;
            info.files.push(file.into_info(method));
        }
        drop(held);
        for folder in &folders {
            fs.sync_dir(&folder.path(staging.path()), sync.directory)?;
        }
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

    /// Notes, durably, that these files are about to get second names.
    fn export(&self, catalog: &Catalog) -> Result<()> {
        let tables = catalog
            .trees()
            .flat_map(|(tree, version)| version.levels.tables().map(move |(_, table)| (tree, table.id)));
        let tables: Vec<(TreeId, TableId)> =
            tables.filter(|(_, table)| !catalog.is_exported(*table)).collect();
        let logs = catalog.trees().flat_map(|(tree, version)| {
            let new = version.vlogs.iter().filter(|log| !log.is_exported);
            new.map(move |log| (tree, log.vlog.id))
        });
        let logs: Vec<(TreeId, VlogId)> = logs.collect();
        let numbers = tables.iter().map(|(_, table)| *table);
        self.reclaimer().mark_exported(numbers.chain(logs.iter().map(|(_, log)| TableId::new(log.get()))));
        let build = Box::new(move |draft: &mut Draft<'_>| {
            let mut edit = VersionEdit::default();
            // What a compaction has replaced meanwhile is never cut: that is marked in memory.
            for (tree, id) in tables.into_iter().filter(|(_, table)| draft.holds(*table)) {
                edit.push(tree, TreeEdit::ExportTable { id });
            }
            for (tree, id) in logs {
                if draft.version(tree).is_some_and(|version| version.vlogs.get(id).is_some()) {
                    edit.push(tree, TreeEdit::ExportVlog { id });
                }
            }
            Ok(edit)
        });
        let publish = Box::new(|_: &Catalog| {});
        self.install(Proposal { build, publish, outputs: Vec::new() }).map_err(InstallError::into_error)
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
        let found = CutState { edit_index: EditIndex::new(0), catalog };
        let files = found.files().map(|(file, _)| (file.id, file)).collect();
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
                edit.push(
                    file.tree,
                    match file.kind {
                        FileKind::ValueLog => TreeEdit::ExportVlog { id: VlogId::new(file.table.get()) },
                        FileKind::DeleteVector => continue, // never changed or cut, whoever has it
                        _ => TreeEdit::ExportTable { id: file.table },
                    },
                );
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

/// Brings one file into the checkpoint at `root`.
fn bring(
    means: &Means<'_>,
    root: &Path,
    (file, from): (&CutFile, &Path),
    known: &Known,
    cancel: &Cancel,
) -> Result<(CopyMethod, u64)> {
    if cancel.is_cancelled() {
        return Err(EngineError::Cancelled.into());
    }
    let to = file.name.path(root);
    let (method, fallbacks) = if known.link(means, file, &to) {
        (CopyMethod::Reused, 0)
    } else {
        means.transfer(from, &to, &file.consumed, cancel)?
    };
    check_len(means.target, &to, (file.id, file.len))?;
    Ok((method, fallbacks))
}

/// Files of an earlier checkpoint.
#[derive(Default)]
struct Known {
    dir: PathBuf,
    files: HashMap<TableId, CutFile>,
}

impl Known {
    /// Links a file from the earlier checkpoint, if the very same file is there, and has all of what is wanted of it.
    fn link(&self, means: &Means<'_>, file: &CutFile, to: &Path) -> bool {
        if !self.files.get(&file.id).is_some_and(|known| known.holds(file)) {
            return false;
        }
        let from = file.name.path(&self.dir);
        // Its owner may have done anything with it meanwhile.
        let is_whole = means.target.metadata(&from).is_ok_and(|found| found.len == file.len);
        is_whole && means.target.hard_link(&from, to).is_ok()
    }
}
