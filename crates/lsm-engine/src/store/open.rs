//! Opening a directory: look, check, and only then change anything.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use lsm_fs::{Fs, SyncLevel};
use lsm_journal::{FileName, Folder, Journal, JournalEnv, JournalOptions, Recovery, RecoveryReport};
use lsm_manifest::{Catalog, DatabaseEdit, TreeIdentity, VersionEdit};
use lsm_table::{BlockCache, DecoderPool, DescriptorCache};
use lsm_types::{EditIndex, ErrorKind, FileUuid, IoKind, KeyOrder, Result, TreeId};
use parking_lot::Mutex;

use super::{DirectoryLock, FileIds, FilesReport, Installs, Place, Store, StoreInner, files, new_identity};
use crate::{EngineError, OpenMode, StoreOptions, TreeOptions, options::DEFAULT_CACHE_BYTES};

/// How a directory was found.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Whether the database was created just now.
    pub created: bool,
    /// What recovering the manifest found; `None` for a new database.
    pub manifest: Option<RecoveryReport>,
    /// What lay among the tables.
    pub files: FilesReport,
}

pub(super) fn open(mut options: StoreOptions, tree: Option<&TreeOptions>) -> Result<Store> {
    options.validate()?;
    let root = std::path::absolute(&options.path)
        .map_err(|_| EngineError::InvalidConfig { option: "path", problem: "cannot be made absolute" })?;
    options.path.clone_from(&root);
    let fs = options.fs.clone();
    let place = Place { fs: fs.as_ref(), root: &root };
    if options.mode == OpenMode::ReadOnly {
        return open_read_only(options, place);
    }
    let exists = fs.exists(&root)?;
    if !exists {
        if options.mode == OpenMode::MustExist {
            return Err(EngineError::NotFound.into());
        }
        create_root(place, options.sync.directory)?;
    }
    let lock = lock_directory(&options, place, exists)?;
    let env = journal_env(&options);
    let orders = |_: TreeId, identity: &TreeIdentity| {
        options.comparator_named(&identity.comparator).map(KeyOrder::new)
    };
    let Some(recovery) = Recovery::read(&env, options.recovery_mode, &orders)? else {
        if options.mode == OpenMode::MustExist {
            return Err(EngineError::NotFound.into());
        }
        return create(options, env, lock, tree);
    };
    if options.mode == OpenMode::MustNotExist {
        return Err(EngineError::AlreadyExists.into());
    }
    if let Some((tree, version)) =
        tree.and_then(|tree| Some((tree, recovery.catalog().tree(TreeId::new(0))?)))
    {
        super::check_names(version, tree)?;
    }
    let database = recovery.database();
    let orphans = files::check(place, recovery.catalog(), database, recovery.high_water())?;

    // Nothing has been changed so far; from here on nothing is refused any more.
    let recovered = recovery.start(env, journal_options(&options))?;
    ensure_folder(place, Folder::Tables, options.sync.directory)?;
    let files = orphans.sweep(place, options.orphans, options.sync.directory);
    let report = OpenReport { created: false, manifest: Some(recovered.report), files };
    Ok(finish(options, Some(recovered.journal), recovered.catalog, report, lock))
}

/// The lock. A directory in which nothing of ours lies yet is looked at before the lock file is made in it, so that
/// opening a directory that is no database leaves nothing behind.
fn lock_directory(options: &StoreOptions, place: Place<'_>, exists: bool) -> Result<Option<DirectoryLock>> {
    if !options.directory_lock {
        return Ok(None);
    }
    if exists && options.mode == OpenMode::MustExist {
        let names = place.fs.read_dir(place.root)?;
        let is_manifest = |name: &OsStr| {
            let parsed = FileName::parse(Folder::Root, name);
            matches!(parsed, Some(FileName::Current | FileName::Manifest(_) | FileName::Mirror(_)))
        };
        if !names.iter().any(|entry| is_manifest(&entry.name) || Folder::parse(&entry.name).is_some()) {
            return Err(EngineError::NotFound.into());
        }
    }
    DirectoryLock::acquire(place.fs, place.root).map(Some)
}

fn open_read_only(options: StoreOptions, place: Place<'_>) -> Result<Store> {
    if !place.fs.exists(place.root)? {
        return Err(EngineError::NotFound.into());
    }
    let env = journal_env(&options);
    let orders = |_: TreeId, identity: &TreeIdentity| {
        options.comparator_named(&identity.comparator).map(KeyOrder::new)
    };
    let read = || -> Result<Recovery> {
        let found = Recovery::read(&env, options.recovery_mode, &orders)?;
        let recovery = found.ok_or(EngineError::NotFound)?;
        if options.check_files {
            files::check(place, recovery.catalog(), recovery.database(), recovery.high_water())?;
        }
        Ok(recovery)
    };
    let recovery = retry_beside_writer(read)?;
    let database = recovery.database();
    let last_edit = recovery.last_edit();
    let (catalog, manifest) = recovery.into_parts();
    let report = OpenReport { created: false, manifest: Some(manifest), files: FilesReport::default() };
    Ok(Store {
        inner: Arc::new(assemble(options, database, last_edit, Parts::ReadOnly(catalog), report, None)),
    })
}

/// A writer may remove tables, or make new ones, between the look at the manifest and that at the folder: what does
/// not fit is looked at again.
fn retry_beside_writer(mut read: impl FnMut() -> Result<Recovery>) -> Result<Recovery> {
    const TRIES: usize = 8;
    for _ in 1..TRIES {
        match read() {
            Err(error)
                if matches!(error.kind(), ErrorKind::MissingFiles | ErrorKind::ManifestRegression)
                    || error.kind() == ErrorKind::Io => {}
            done => return done,
        }
    }
    read()
}

fn create(
    options: StoreOptions,
    env: JournalEnv,
    lock: Option<DirectoryLock>,
    tree: Option<&TreeOptions>,
) -> Result<Store> {
    let place = Place { fs: options.fs.as_ref(), root: &options.path };
    // Before the manifest: the database exists from the moment its pointer does, and then all of it is there.
    ensure_folder(place, Folder::Tables, options.sync.directory)?;
    let mut first = VersionEdit::default();
    if let Some(tree) = tree {
        first.database.push(DatabaseEdit::CreateTree { tree: TreeId::new(0), identity: new_identity(tree) });
    }
    let mut catalog = Catalog::default();
    catalog.apply_in_place(&first)?;
    if let Some(tree) = tree {
        catalog.set_order(TreeId::new(0), KeyOrder::new(tree.comparator.clone()));
    }
    let database = env.new_uuid();
    let journal = Journal::create(env, journal_options(&options), database, &catalog)?;
    let report = OpenReport { created: true, ..OpenReport::default() };
    Ok(finish(options, Some(journal), catalog, report, lock))
}

fn finish(
    options: StoreOptions,
    journal: Option<Journal>,
    catalog: Catalog,
    report: OpenReport,
    lock: Option<DirectoryLock>,
) -> Store {
    let (database, last_edit) =
        journal.as_ref().map_or_else(Default::default, |journal| (journal.database(), journal.last_edit()));
    let parts = match journal {
        Some(journal) => Parts::Writable(catalog, Box::new(journal)),
        None => Parts::ReadOnly(catalog),
    };
    Store { inner: Arc::new(assemble(options, database, last_edit, parts, report, lock)) }
}

enum Parts {
    Writable(Catalog, Box<Journal>),
    ReadOnly(Catalog),
}

fn assemble(
    options: StoreOptions,
    database: FileUuid,
    last_edit: EditIndex,
    parts: Parts,
    report: OpenReport,
    lock: Option<DirectoryLock>,
) -> StoreInner {
    let (reserved, installs, read_only) = match parts {
        Parts::Writable(catalog, journal) => {
            (catalog.reserved_ids(), Some(Installs::new(catalog, *journal)), None)
        }
        Parts::ReadOnly(catalog) => (catalog.reserved_ids(), None, Some(catalog)),
    };
    StoreInner {
        root: options.path.clone(),
        database,
        ids: FileIds::new(reserved, options.file_id_block),
        installs,
        read_only,
        last_edit: AtomicU64::new(last_edit.get()),
        cache: options.cache.clone().unwrap_or_else(|| BlockCache::new(DEFAULT_CACHE_BYTES)),
        descriptors: options.descriptors.clone().unwrap_or_else(DescriptorCache::for_process),
        decoders: DecoderPool::new(),
        report,
        trees: Mutex::new(BTreeMap::new()),
        is_closed: AtomicBool::new(false),
        options,
        _lock: lock,
    }
}

fn journal_env(options: &StoreOptions) -> JournalEnv {
    JournalEnv {
        fs: options.fs.clone(),
        dir: options.path.clone(),
        clock: options.clock.clone(),
        random: options.random.clone(),
    }
}

fn journal_options(options: &StoreOptions) -> JournalOptions {
    JournalOptions {
        sync: options.sync.manifest,
        sync_dir: options.sync.directory,
        mirror: options.manifest_mirror,
        rotate_min_bytes: options.manifest_rotate_min,
        keep_generations: options.manifest_keep_generations,
    }
}

/// Makes the root and every missing folder above it, each durable before the next is used.
fn create_root(place: Place<'_>, sync: SyncLevel) -> Result<()> {
    let missing: Vec<PathBuf> = place
        .root
        .ancestors()
        .take_while(|path| !place.fs.exists(path).unwrap_or(true))
        .map(Path::to_path_buf)
        .collect();
    for path in missing.iter().rev() {
        make_folder(place.fs, path, sync)?;
    }
    Ok(())
}

fn ensure_folder(place: Place<'_>, folder: Folder, sync: SyncLevel) -> Result<()> {
    let path = folder.path(place.root);
    if place.fs.exists(&path)? { Ok(()) } else { make_folder(place.fs, &path, sync) }
}

fn make_folder(fs: &dyn Fs, path: &Path, sync: SyncLevel) -> Result<()> {
    match fs.create_dir(path) {
        Err(error) if error.kind != IoKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    if let Some(parent) = path.parent() {
        fs.sync_dir(parent, sync)?;
    }
    Ok(())
}
