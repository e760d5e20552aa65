//! A directory and everything in it: manifest, file numbers, caches, lock; for one tree or many.

mod accept;
mod ballast;
mod closing;
mod files;
mod folders;
mod guards;
mod ids;
mod install;
mod keys;
mod lineage;
mod lock;
mod lossy;
mod open;
mod orphans;
mod place;
mod rebuild;
mod reclaim;
mod refresh;
mod replace;
mod report;
mod rest;
mod room;
mod routed_fs;
mod routes;
mod settle;
mod slices;
mod small_tables;
mod space;
mod storage_stats;
mod values;
mod write_gate;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use lsm_compaction_executor::{CompactionPool, InstallError, Parallelism, RateLimiter};
use lsm_fs::Fs;
use lsm_journal::{FileName, Folder};
use lsm_manifest::{Catalog, DatabaseEdit, TreeEdit, TreeIdentity, Version, VersionEdit};
use lsm_table::{BlockCache, ConsumedPrefix, DecoderPool, DescriptorCache, ObsoleteFile, TableEnv, VlogEnv};
use lsm_types::{Clock, EditIndex, FileUuid, Result, Spawner, TableId, TreeId};
use parking_lot::Mutex;

pub use closing::CloseHandle;
pub use files::LostFile;
pub use guards::{DeletionHold, WeakStore};
pub(crate) use install::{Draft, Proposal, output_names};
pub use keys::KeyUsage;
pub(crate) use open::journal_options;
pub use orphans::FilesReport;
pub(crate) use place::{place_tables, relocate_tables, run_age};
pub use rebuild::{LeftOut, RebuildReport};
pub use reclaim::{ReclaimOptions, ReclaimStats};
pub use report::{OpenReport, TreeReport};
pub use room::{RoomReport, RoomStep, SpacePlan, SpaceStep};
pub(crate) use routes::{LevelRoute, Routes, validate as validate_routes};
pub(crate) use slices::TightRoom;
pub use space::{SpaceOptions, SpaceReport, SpaceStatus};
pub use storage_stats::{StorageStats, TreeStorage};

use crate::{
    EngineError, JobProgress, NameMismatch, StoreOptions, Tree, TreeOptions,
    columns::{check_schemas, new_schemas},
    events::Jobs,
    options::{DEFAULT_LEVEL_COUNT, SyncPolicy},
    tree::TreeInner,
};
use accept::Pending;
use ballast::Ballast;
use closing::ClosedOnDrop;
use ids::{FileIds, Grant};
use install::Installs;
use lock::DirectoryLock;
use reclaim::Reclaimer;
use space::SpaceGate;
pub(crate) use write_gate::Asks;
use write_gate::WriteGate;

/// Bytes from which on a thread that helps to write them is worth asking for.
const HELP_MIN_BYTES: u64 = 1 << 20;

/// An open directory. Handles are cheap to clone and share it; it stays locked until the last handle, tree, view
/// and iterator is gone.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<StoreInner>,
}

pub(crate) struct StoreInner {
    options: StoreOptions,
    root: PathBuf,
    database: FileUuid,
    ids: FileIds,
    /// Empty in a store that is only read.
    installs: OnceLock<Installs>,
    /// The state of a store that is only read.
    read_only: Option<Mutex<Catalog>>,
    /// What has to be accepted before the store can be written.
    pending: Mutex<Option<Box<Pending>>>,
    last_edit: AtomicU64,
    cache: BlockCache,
    descriptors: DescriptorCache,
    decoders: DecoderPool,
    report: OpenReport,
    trees: Mutex<BTreeMap<TreeId, Weak<TreeInner>>>,
    is_closed: AtomicBool,
    reclaimer: Reclaimer,
    jobs: Jobs,
    space: SpaceGate,
    writes: WriteGate,
    ballast: Arc<Ballast>,
    /// Helps compactions; begun by the first that is worth splitting.
    pool: OnceLock<Option<Arc<dyn Spawner>>>,
    /// Shared by the compactions of all trees.
    limiter: Arc<RateLimiter>,
    /// Directories besides the root, for tables of some levels.
    routes: Routes,
    /// Dropped behind everything else: nothing of ours touches the directory after it.
    _lock: Option<DirectoryLock>,
    /// Dropped last: says so.
    closed: ClosedOnDrop,
}

impl Store {
    /// Opens or creates a database.
    ///
    /// # Errors
    /// `Locked`, `NotFound`, `AlreadyExists`, `ComparatorMismatch` for a tree whose comparator was not given;
    /// `PartialState`, `Corruption`, `ManifestRegression`, `MissingFiles`, `FileLengthMismatch` for what a directory
    /// should not hold. An open that fails changes nothing.
    pub fn open(options: StoreOptions) -> Result<Self> {
        open::open(options, None)
    }

    /// As [`Store::open`], creating the tree of a new database in the same step.
    pub(crate) fn open_for(options: StoreOptions, tree: &TreeOptions) -> Result<Self> {
        tree.validate()?;
        let options = options.comparator(tree.comparator.clone());
        open::open(options, Some(tree))
    }

    pub(crate) fn of(inner: Arc<StoreInner>) -> Self {
        Self { inner }
    }

    /// Opens the tree with this number, creating it where it does not exist.
    ///
    /// # Errors
    /// `ComparatorMismatch` and `OptionMismatch` when it was created otherwise; `AlreadyExists` when it is open.
    pub fn tree(&self, id: TreeId, options: &TreeOptions) -> Result<Tree> {
        self.start_tree(id, options, false)
    }

    pub(crate) fn start_tree(&self, id: TreeId, options: &TreeOptions, owns_store: bool) -> Result<Tree> {
        options.validate()?;
        let mut trees = self.inner.trees.lock();
        if trees.get(&id).is_some_and(|tree| tree.strong_count() > 0) {
            return Err(EngineError::TreeInUse { tree: id }.into());
        }
        let mut version = match self.inner.version(id) {
            Some(version) => version,
            None => self.inner.create_tree(id, options)?,
        };
        check_names(&version, options)?;
        self.inner.name_operator(id, &mut version, options)?;
        self.inner.store_schemas(id, &mut version, options)?;
        let env = Arc::new(self.inner.table_env(id, options));
        let vlogs = self.inner.vlog_env(&env, options)?;
        let tree = Tree::start(id, self.inner.clone(), owns_store, options, (env, vlogs), &version);
        trees.insert(id, Arc::downgrade(&tree.inner));
        Ok(tree)
    }

    /// How the directory was found.
    pub fn report(&self) -> &OpenReport {
        self.inner.report()
    }

    /// Numbers of the trees, open or not.
    pub fn trees(&self) -> Vec<TreeId> {
        self.inner.with_catalog(|catalog| catalog.trees().map(|(id, _)| id).collect())
    }

    /// The block cache.
    pub fn cache(&self) -> &BlockCache {
        &self.inner.cache
    }

    /// Makes what a lossy recovery found the truth, after which the database can be written; what it gave up stands in
    /// the [report](Store::report). Files of ours that are not part of it are moved to `quarantine/`, manifests of
    /// before stay. Nothing happens where there is nothing to accept.
    ///
    /// # Errors
    /// `Unsupported` on a store that was opened read-only. What the file system says: the call can be repeated.
    pub fn accept_recovery(&self) -> Result<()> {
        self.inner.accept()
    }

    /// Tries to state anew what the database holds, after a change of which nobody knows whether it is on disk. Every
    /// change does so, too; without such a change nothing happens.
    ///
    /// # Errors
    /// `Fenced` while the manifest cannot be written: no change is possible, reads are.
    pub fn lift_fence(&self) -> Result<()> {
        self.inner.lift_fence()
    }

    /// Stops the jobs of all trees and waits for them, notes that the database was closed in order, and removes the
    /// files that are not needed any more. No change is taken after it; reads go on until their handles are dropped.
    ///
    /// # Errors
    /// What the file system says; nothing is lost then, the next open only misses the note.
    pub fn close(&self) -> Result<()> {
        self.inner.stop_trees();
        self.inner.close()
    }

    /// Tells when nothing can touch the directory any more.
    pub fn close_handle(&self) -> CloseHandle {
        self.inner.close_handle()
    }

    /// A handle that does not keep the store open.
    pub fn downgrade(&self) -> WeakStore {
        WeakStore { inner: Arc::downgrade(&self.inner) }
    }

    /// Holds back the removal of files until the guard is dropped: for tools that copy the directory. Guards nest.
    pub fn hold_deletions(&self) -> DeletionHold {
        DeletionHold::new(self.inner.clone())
    }

    /// Limits how fast the compactions of all trees read and write, taken together; its rate may be changed at any time.
    pub fn compaction_limiter(&self) -> &Arc<RateLimiter> {
        self.inner.limiter()
    }

    /// The compactions that run now, oldest first, and how far they are.
    pub fn running_jobs(&self) -> Vec<JobProgress> {
        self.inner.jobs.running()
    }

    /// Files that are not needed any more.
    pub fn reclaim_stats(&self) -> ReclaimStats {
        self.inner.reclaimer.stats()
    }

    /// Files and bytes that the thread removes per second from now on, 0 for as many as it can.
    pub fn set_reclaim_pace(&self, files_per_s: u64, bytes_per_s: u64) {
        self.inner.reclaimer.set_pace(files_per_s, bytes_per_s);
    }
}

/// Holds what is stored about a tree against what it is opened with.
fn check_names(stored: &Version, options: &TreeOptions) -> Result<()> {
    check_identity(&stored.identity, options)?;
    let (stored_mode, supplied) = (stored.separates, options.separation.is_some());
    if stored_mode != supplied {
        return Err(EngineError::TreeTypeMismatch { stored: stored_mode, supplied }.into());
    }
    check_schemas(&stored.schemas, options.columns.as_ref(), options.on_name_mismatch)?;
    let Some(name) = &stored.merge_operator else { return Ok(()) };
    let supplied = options.merge_operator.as_ref().map(|operator| operator.name().to_owned());
    if supplied.as_ref() == Some(name) {
        return Ok(());
    }
    if options.on_name_mismatch == NameMismatch::Error {
        return Err(EngineError::OperatorMismatch { stored: name.clone(), supplied }.into());
    }
    tracing::warn!(stored = %name, ?supplied, "operands were written for another merge operator");
    Ok(())
}

fn check_identity(stored: &TreeIdentity, options: &TreeOptions) -> Result<()> {
    let supplied = options.comparator.name();
    if stored.comparator != supplied {
        let (stored, supplied) = (stored.comparator.clone(), supplied.to_owned());
        return Err(EngineError::ComparatorMismatch { stored, supplied }.into());
    }
    if let Some(count) = options.level_count.filter(|count| *count != stored.level_count) {
        return Err(EngineError::OptionMismatch {
            option: "level_count",
            stored: stored.level_count.into(),
            supplied: count.into(),
        }
        .into());
    }
    Ok(())
}

/// What a new tree is to be.
pub(crate) fn new_identity(options: &TreeOptions) -> TreeIdentity {
    TreeIdentity::new(options.comparator.name(), options.level_count.unwrap_or(DEFAULT_LEVEL_COUNT))
}

impl StoreInner {
    pub(crate) fn clock(&self) -> &dyn Clock {
        self.options.clock.as_ref()
    }

    pub(crate) fn report(&self) -> &OpenReport {
        &self.report
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.options
    }

    pub(crate) fn fs(&self) -> &Arc<dyn Fs> {
        &self.options.fs
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place { fs: self.fs().as_ref(), root: &self.root, routes: &self.routes }
    }

    pub(crate) fn database(&self) -> FileUuid {
        self.database
    }

    pub(crate) fn sync_policy(&self) -> SyncPolicy {
        self.options.sync
    }

    /// `None` for a store that is only read.
    pub(crate) fn installs(&self) -> Option<&Installs> {
        self.installs.get()
    }

    pub(crate) fn check_open_for_writing(&self) -> Result<()> {
        self.check_not_read_only()?;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(EngineError::Closed.into());
        }
        Ok(())
    }

    /// The trees that are open.
    pub(crate) fn open_trees(&self) -> Vec<Arc<TreeInner>> {
        self.trees.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.installs.get().is_none()
    }

    /// Refuses where nothing can be written.
    pub(crate) fn check_not_read_only(&self) -> Result<()> {
        if !self.is_read_only() {
            return Ok(());
        }
        let awaits = self.pending.lock().is_some();
        Err(if awaits { EngineError::NotAccepted } else { EngineError::ReadOnly }.into())
    }

    /// Makes a change durable and then visible.
    pub(crate) fn install(&self, proposal: Proposal) -> Result<(), InstallError> {
        let Some(installs) = self.installs.get() else {
            return Err(InstallError::NotApplied(EngineError::ReadOnly.into()));
        };
        if self.is_closed.load(Ordering::Acquire) {
            return Err(InstallError::NotApplied(EngineError::Closed.into()));
        }
        let outcome = installs.install(proposal);
        self.options.fs.yield_point();
        self.last_edit.fetch_max(installs.last_edit().get(), Ordering::AcqRel);
        outcome
    }

    /// Returns when changes are possible again after one whose outcome is unknown.
    pub(crate) fn lift_fence(&self) -> Result<()> {
        let Some(installs) = self.installs.get() else { return Ok(()) };
        installs.lift_fence()?;
        self.last_edit.fetch_max(installs.last_edit().get(), Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let noted = self.installs.get().map_or(Ok(()), Installs::close);
        self.reclaimer.shut_down();
        noted
    }

    pub(crate) fn close_handle(&self) -> CloseHandle {
        self.closed.handle()
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn reclaimer(&self) -> &Reclaimer {
        &self.reclaimer
    }

    /// How a compaction of so many bytes is shared out.
    pub(crate) fn parallelism(&self, segment_min_bytes: u64, input_bytes: u64) -> Parallelism {
        let threads = self.options.compaction_threads;
        let is_worth_it = input_bytes / 2 >= segment_min_bytes || input_bytes >= HELP_MIN_BYTES;
        let is_worth_it = threads > 1 && is_worth_it;
        let pool = if is_worth_it { self.pool() } else { None };
        Parallelism { pool, threads, segment_min_bytes }
    }

    /// Threads that help to write tables of so many bytes.
    pub(crate) fn helpers(&self, bytes: u64) -> Option<Arc<dyn Spawner>> {
        if self.options.compaction_threads > 1 && bytes >= HELP_MIN_BYTES { self.pool() } else { None }
    }

    pub(crate) fn limiter(&self) -> &Arc<RateLimiter> {
        &self.limiter
    }

    fn pool(&self) -> Option<Arc<dyn Spawner>> {
        let pool = self.pool.get_or_init(|| {
            let own = || {
                // The thread of the job is one of them.
                let pool = CompactionPool::new(self.options.compaction_threads.saturating_sub(1))?;
                Some(Arc::new(pool) as Arc<dyn Spawner>)
            };
            self.options.compaction_pool.clone().or_else(own)
        });
        pool.clone()
    }

    /// Stops the jobs of all trees and waits until none is left.
    fn stop_trees(&self) {
        let trees = self.open_trees();
        for tree in &trees {
            tree.stop.cancel();
        }
        for tree in &trees {
            tree.wait_for_jobs();
        }
    }

    fn version(&self, tree: TreeId) -> Option<Version> {
        self.with_catalog(|catalog| catalog.tree(tree).cloned())
    }

    pub(crate) fn with_catalog<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        static NOTHING: std::sync::LazyLock<Catalog> = std::sync::LazyLock::new(Catalog::default);
        match (self.installs.get(), &self.read_only) {
            (Some(installs), _) => installs.with_catalog(read),
            (None, Some(catalog)) => read(&catalog.lock()),
            (None, None) => read(&NOTHING),
        }
    }

    fn create_tree(&self, id: TreeId, options: &TreeOptions) -> Result<Version> {
        let identity = new_identity(options);
        let order = lsm_types::KeyOrder::new(options.comparator.clone());
        let mut edit = VersionEdit::default();
        edit.create_tree(id, identity);
        if options.separation.is_some() {
            edit.push(id, TreeEdit::Separate);
        }
        let build = Box::new(move |_: &mut Draft<'_>| Ok(edit));
        let publish = Box::new(|_: &Catalog| {});
        self.install(Proposal { build, publish, outputs: Vec::new() }).map_err(InstallError::into_error)?;
        if let Some(installs) = self.installs.get() {
            installs.set_order(id, order);
        }
        self.version(id).ok_or_else(|| EngineError::Bug { invariant: "a created tree exists" }.into())
    }

    /// Stores the name of the merge operator where it is not stored yet.
    fn name_operator(&self, id: TreeId, version: &mut Version, options: &TreeOptions) -> Result<()> {
        let name = options.merge_operator.as_ref().map(|operator| operator.name());
        let Some(name) = name.filter(|name| version.merge_operator.as_deref() != Some(name)) else {
            return Ok(());
        };
        if self.is_read_only() {
            return Ok(());
        }
        version.merge_operator = Some(name.to_owned());
        let mut edit = VersionEdit::default();
        edit.push(id, TreeEdit::MergeOperator(name.to_owned()));
        let build = Box::new(move |_: &mut Draft<'_>| Ok(edit));
        let publish = Box::new(|_: &Catalog| {});
        self.install(Proposal { build, publish, outputs: Vec::new() }).map_err(InstallError::into_error)
    }

    /// Stores the schemas that are not stored yet.
    fn store_schemas(&self, id: TreeId, version: &mut Version, options: &TreeOptions) -> Result<()> {
        let policy = options.columns.as_ref().filter(|_| !self.is_read_only());
        let new = policy.map_or_else(Vec::new, |policy| new_schemas(&version.schemas, policy));
        if new.is_empty() {
            return Ok(());
        }
        let mut edit = VersionEdit::default();
        edit.trees.extend(new.into_iter().map(|schema| (id, TreeEdit::AddSchema(schema))));
        let build = Box::new(move |_: &mut Draft<'_>| Ok(edit));
        let publish = Box::new(|_: &Catalog| {});
        self.install(Proposal { build, publish, outputs: Vec::new() }).map_err(InstallError::into_error)?;
        *version = self.version(id).ok_or(EngineError::Bug { invariant: "an open tree exists" })?;
        Ok(())
    }

    fn table_env(self: &Arc<Self>, tree: TreeId, options: &TreeOptions) -> TableEnv {
        let columns = lsm_table::ColumnDesk::default();
        if let Some(policy) = &options.columns {
            columns.set(policy.scheme());
        }
        TableEnv {
            fs: self.options.fs.clone(),
            folder: Folder::Tables.path(&self.root),
            routes: self.routes.for_tables(),
            cache: self.cache.clone(),
            descriptors: self.descriptors.clone(),
            decoders: self.decoders.clone(),
            order: lsm_types::KeyOrder::new(options.comparator.clone()),
            database: self.database,
            tree,
            ids: self.clone(),
            reclaim: self.clone(),
            clock: self.options.clock.clone(),
            random: self.options.random.clone(),
            encryption: self.options.encryption.clone(),
            policy: options.tables.clone(),
            prefix_extractor: options.prefix_extractor.clone(),
            domains: options.key_domains.clone(),
            columns,
            filters: lsm_table::FilterDesk::default(),
            lineage: lsm_table::LineageDesk::default(),
            sync_file: self.options.sync.table,
            sync_folder: self.options.sync.directory,
            file_name: |table| FileName::Table(table).to_string(),
        }
    }
}

impl StoreInner {
    /// Where the long values of a tree go, with the folder for them; `None` where they stay in tables.
    fn vlog_env(&self, tables: &Arc<TableEnv>, options: &TreeOptions) -> Result<Option<Arc<VlogEnv>>> {
        let Some(policy) = options.separation.clone() else { return Ok(None) };
        if !self.is_read_only() {
            folders::ensure_folder(self.place(), Folder::Blobs, self.options.sync.directory)?;
        }
        Ok(Some(Arc::new(VlogEnv {
            tables: tables.clone(),
            folder: Folder::Blobs.path(&self.root),
            file_name: |vlog| FileName::ValueLog(vlog).to_string(),
            policy,
        })))
    }
}

impl lsm_table::FileIds for StoreInner {
    fn next(&self) -> Result<TableId> {
        loop {
            let bound = match self.ids.next() {
                Grant::Id(id) => return Ok(id),
                Grant::Reserve(bound) => bound,
            };
            // Two callers may both find the numbers used up; the bound only grows, and what the slower one
            // reserves on top is used like the rest.
            let build = Box::new(move |draft: &mut Draft<'_>| {
                let mut edit = VersionEdit::default();
                if draft.reserved_ids() < bound {
                    edit.database.push(DatabaseEdit::ReserveIds(bound));
                }
                Ok(edit)
            });
            let publish = Box::new(|_: &Catalog| {});
            self.install(Proposal { build, publish, outputs: Vec::new() })
                .map_err(InstallError::into_error)?;
            self.ids.extend(bound);
        }
    }

    fn last_edit(&self) -> EditIndex {
        EditIndex::new(self.last_edit.load(Ordering::Acquire))
    }
}

impl lsm_table::Reclaim for StoreInner {
    fn note_obsolete(&self, file: TableId, bytes: u64) {
        self.reclaimer.note_obsolete(file, bytes);
    }

    fn obsolete(&self) -> Vec<TableId> {
        self.reclaimer.obsolete()
    }

    fn release(&self, file: ObsoleteFile) {
        self.reclaimer.release(file);
    }

    fn release_prefix(&self, prefix: ConsumedPrefix) {
        // Whoever only reads gives nothing back.
        if !self.is_read_only() {
            self.reclaimer.release_prefix(prefix);
        }
    }

    fn retry(&self, file: ObsoleteFile) {
        self.reclaimer.enqueue(file);
    }
}

/// The file system and the root of a store, for what looks at its files.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) root: &'a Path,
    /// As far as they are known.
    pub(crate) routes: &'a Routes,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &self.inner.database).finish_non_exhaustive()
    }
}
