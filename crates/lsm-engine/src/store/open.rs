//! Opening a directory: look, check, and only then change anything.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
};

use lsm_compaction_executor::RateLimiter;
use lsm_journal::{FileName, Folder, Journal, JournalEnv, JournalOptions, Recovery};
use lsm_manifest::{Catalog, DatabaseEdit, TreeEdit, TreeIdentity, VersionEdit};
use lsm_table::{BlockCache, DecoderPool, DescriptorCache};
use lsm_types::{EditIndex, ErrorKind, FileUuid, KeyOrder, Result, TableId, TreeId};
use parking_lot::Mutex;

use super::{
    ClosedOnDrop, DirectoryLock, FileIds, FilesReport, Installs, OpenReport, Pending, Place, Reclaimer,
    Routes, Store, StoreInner,
    ballast::Ballast,
    files::Survey,
    folders::{create_root, ensure_folder},
    keys,
    lossy::{self, Remains},
    new_identity, orphans,
    report::Stopwatch,
    routes,
    space::SpaceGate,
    write_gate::WriteGate,
};
use crate::{EngineError, OpenMode, StoreOptions, TreeOptions, options::DEFAULT_CACHE_BYTES};

pub(super) fn open(options: StoreOptions, tree: Option<&TreeOptions>) -> Result<Store> {
    options.validate()?;
    let mut options = options.with_sync_policy();
    let root = std::path::absolute(&options.path)
        .map_err(|_| EngineError::InvalidConfig { option: "path", problem: "cannot be made absolute" })?;
    options.path.clone_from(&root);
    routes::mount(&mut options)?;
    let (fs, no_routes) = (options.fs.clone(), Routes::default());
    let place = Place { fs: fs.as_ref(), root: &root, routes: &no_routes };
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
    let clock = Stopwatch::start(&options);
    let found = if options.recovery_mode.is_lossy() {
        lossy::look(&options, place, &env)?.map(Box::new).map(Found::Remains)
    } else {
        Recovery::read(&env, options.recovery_mode, &orders(&options))?.map(Box::new).map(Found::Whole)
    };
    let Some(found) = found else {
        if options.mode == OpenMode::MustExist {
            return Err(EngineError::NotFound.into());
        }
        return create(options, env, lock, tree);
    };
    if options.mode == OpenMode::MustNotExist {
        return Err(EngineError::AlreadyExists.into());
    }
    let known = tree.and_then(|tree| Some((tree, found.catalog().tree(TreeId::new(0))?)));
    if let Some((tree, version)) = known {
        super::check_names(version, tree)?;
    }
    let (mut recovery, manifest_us) = match found {
        Found::Whole(recovery) => (recovery, clock.us()),
        Found::Remains(remains) => {
            let report = OpenReport { manifest_us: clock.us(), ..OpenReport::default() };
            return Ok(await_acceptance(options, env, *remains, report, lock));
        }
    };
    let routes = Routes::look(&options, &root, recovery.database(), recovery.catalog())?;
    let place = Place { routes: &routes, ..place };
    let survey = Survey::take(place, recovery.catalog(), recovery.database())?;
    survey.check(recovery.high_water())?;
    keys::check(place, recovery.catalog(), options.encryption.as_ref())?;

    if options.sync.is_off {
        recovery.mark_without_sync();
    }
    // Nothing has been changed so far; from here on nothing is refused any more.
    let recovered = recovery.start(env, journal_options(&options))?;
    ensure_folder(place, Folder::Tables, options.sync.directory)?;
    let files = orphans::sweep(survey, place, options.orphans, options.sync.directory);
    let files_us = clock.us().saturating_sub(manifest_us);
    let manifest = Some(recovered.report);
    let report = OpenReport { manifest, files, manifest_us, files_us, ..OpenReport::default() };
    finish(options, recovered.journal, recovered.catalog, report, (routes, lock))
}

/// A database, as it was found.
enum Found {
    Whole(Box<Recovery>),
    Remains(Box<Remains>),
}

impl Found {
    fn catalog(&self) -> &Catalog {
        match self {
            Self::Whole(recovery) => recovery.catalog(),
            Self::Remains(remains) => &remains.catalog,
        }
    }
}

/// Finds the order of a tree by the name it was stored with.
pub(super) fn orders(options: &StoreOptions) -> impl Fn(TreeId, &TreeIdentity) -> Option<KeyOrder> + '_ {
    |_, identity| options.comparator_named(&identity.comparator).map(KeyOrder::new)
}

/// A store that is read, and becomes writable when its loss is accepted.
fn await_acceptance(
    options: StoreOptions,
    env: JournalEnv,
    remains: Remains,
    report: OpenReport,
    lock: Option<DirectoryLock>,
) -> Store {
    let Remains { database, mut catalog, furthest, manifest, files, strays, rebuilt, routes } = remains;
    if options.sync.is_off {
        catalog.mark_without_sync();
    }
    let report = OpenReport { manifest, files, rebuilt, awaits_acceptance: true, ..report };
    let pending = Box::new(Pending {
        env,
        journal: journal_options(&options),
        database,
        furthest,
        catalog: catalog.clone(),
        strays,
    });
    let parts = Parts::ReadOnly { catalog, pending: Some(pending) };
    Store { inner: Arc::new(assemble(options, (database, furthest), parts, report, (routes, lock))) }
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
    let clock = Stopwatch::start(&options);
    if options.recovery_mode.is_lossy() {
        let remains = lossy::look(&options, place, &env)?.ok_or(EngineError::NotFound)?;
        let Remains { database, catalog, furthest, manifest, files, rebuilt, routes, .. } = remains;
        let report =
            OpenReport { manifest, files, rebuilt, manifest_us: clock.us(), ..OpenReport::default() };
        let parts = Parts::ReadOnly { catalog, pending: None };
        let inner = assemble(options, (database, furthest), parts, report, (routes, None));
        return Ok(Store { inner: Arc::new(inner) });
    }
    let (recovery, routes, files) = read_beside_writer(&options, place)?;
    let database = recovery.database();
    let last_edit = recovery.last_edit();
    let (catalog, manifest) = recovery.into_parts();
    let report =
        OpenReport { manifest: Some(manifest), files, manifest_us: clock.us(), ..OpenReport::default() };
    let parts = Parts::ReadOnly { catalog, pending: None };
    let inner = assemble(options, (database, last_edit), parts, report, (routes, None));
    Ok(Store { inner: Arc::new(inner) })
}

/// The state of a directory in which somebody may write.
pub(super) fn read_beside_writer(
    options: &StoreOptions,
    place: Place<'_>,
) -> Result<(Recovery, Routes, FilesReport)> {
    let env = journal_env(options);
    retry_beside_writer(|| {
        let found = Recovery::read(&env, options.recovery_mode, &orders(options))?;
        let recovery = found.ok_or(EngineError::NotFound)?;
        let routes = Routes::look(options, place.root, recovery.database(), recovery.catalog())?;
        let place = Place { routes: &routes, ..place };
        let survey = Survey::take(place, recovery.catalog(), recovery.database())?;
        if options.check_files {
            survey.check(recovery.high_water())?;
            keys::check(place, recovery.catalog(), options.encryption.as_ref())?;
        }
        let kept = survey.strays.iter().map(|stray| stray.id).collect();
        let Survey { lost, foreign, .. } = survey;
        Ok((recovery, routes, FilesReport { kept, foreign, lost, ..FilesReport::default() }))
    })
}

/// A writer may remove tables, or make new ones, between the look at the manifest and that at the folder: what does
/// not fit is looked at again.
fn retry_beside_writer<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
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
    let place = Place { fs: options.fs.as_ref(), root: &options.path, routes: &Routes::default() };
    // Before the manifest: the database exists from the moment its pointer does, and then all of it is there.
    ensure_folder(place, Folder::Tables, options.sync.directory)?;
    let mut first = VersionEdit::default();
    if options.sync.is_off {
        first.database.push(DatabaseEdit::WithoutSync);
    }
    if let Some(tree) = tree {
        first.create_tree(TreeId::new(0), new_identity(tree));
        if tree.separation.is_some() {
            first.push(TreeId::new(0), TreeEdit::Separate);
        }
    }
    let mut catalog = Catalog::default();
    catalog.apply_in_place(&first)?;
    if let Some(tree) = tree {
        catalog.set_order(TreeId::new(0), KeyOrder::new(tree.comparator.clone()));
    }
    let database = env.new_uuid();
    let routes = Routes::look(&options, &options.path, database, &catalog)?;
    let journal = Journal::create(env, journal_options(&options), database, &catalog)?;
    let report = OpenReport { created: true, ..OpenReport::default() };
    finish(options, journal, catalog, report, (routes, lock))
}

fn finish(
    options: StoreOptions,
    journal: Journal,
    catalog: Catalog,
    report: OpenReport,
    held: (Routes, Option<DirectoryLock>),
) -> Result<Store> {
    let identity = (journal.database(), journal.last_edit());
    let parts = Parts::Writable(catalog, Box::new(journal));
    let store = Store { inner: Arc::new(assemble(options, identity, parts, report, held)) };
    store.inner.start_routes()?;
    store.inner.settle_ballast();
    Ok(store)
}

enum Parts {
    Writable(Catalog, Box<Journal>),
    ReadOnly { catalog: Catalog, pending: Option<Box<Pending>> },
}

fn assemble(
    options: StoreOptions,
    (database, last_edit): (FileUuid, EditIndex),
    parts: Parts,
    mut report: OpenReport,
    (routes, lock): (Routes, Option<DirectoryLock>),
) -> StoreInner {
    let (Parts::Writable(catalog, _) | Parts::ReadOnly { catalog, .. }) = &parts;
    let logs = catalog.trees().flat_map(|(_, version)| version.vlogs.iter());
    let logs = logs.filter(|log| log.is_exported).map(|log| TableId::new(log.vlog.id.get()));
    let exported: Vec<TableId> = catalog.exported().chain(logs).collect();
    let (wanted, sync) = (options.space.ballast_bytes, options.sync.directory);
    let ballast = Arc::new(Ballast::new(options.fs.clone(), options.path.clone(), sync, wanted));
    let (reserved, installs, read_only, pending) = match parts {
        Parts::Writable(catalog, journal) => {
            let reserved = catalog.reserved_ids();
            report.describe(&catalog);
            let installs = Installs::new(
                catalog,
                *journal,
                (options.fs.clone(), ballast.clone()),
                folders_of(&options, &routes),
            );
            (reserved, OnceLock::from(installs), None, None)
        }
        Parts::ReadOnly { catalog, pending } => {
            report.describe(&catalog);
            (catalog.reserved_ids(), OnceLock::new(), Some(catalog), pending)
        }
    };
    StoreInner {
        root: options.path.clone(),
        database,
        ids: FileIds::new(reserved, options.file_id_block),
        installs,
        read_only: read_only.map(Mutex::new),
        pending: Mutex::new(pending),
        last_edit: AtomicU64::new(last_edit.get()),
        cache: options.cache.clone().unwrap_or_else(|| BlockCache::new(DEFAULT_CACHE_BYTES)),
        descriptors: options.descriptors.clone().unwrap_or_else(DescriptorCache::for_process),
        decoders: DecoderPool::new(),
        report,
        trees: Mutex::new(BTreeMap::new()),
        is_closed: AtomicBool::new(false),
        pool: OnceLock::new(),
        routes,
        jobs: crate::events::Jobs::new(options.listener.clone()),
        space: SpaceGate::new(options.space),
        writes: WriteGate::new(options.space.writes),
        ballast,
        limiter: options
            .compaction_limiter
            .clone()
            .unwrap_or_else(|| Arc::new(RateLimiter::new(options.clock.clone(), 0))),
        reclaimer: Reclaimer::new(options.fs.clone(), options.clock.clone(), options.reclaim, exported),
        closed: ClosedOnDrop::default(),
        options,
        _lock: lock,
    }
}

/// The directories in which tables lie.
pub(super) fn folders_of(options: &StoreOptions, routes: &Routes) -> Vec<PathBuf> {
    routes.roots(&options.path).map(|(_, root)| root.to_path_buf()).collect()
}

fn journal_env(options: &StoreOptions) -> JournalEnv {
    JournalEnv {
        fs: options.fs.clone(),
        dir: options.path.clone(),
        clock: options.clock.clone(),
        random: options.random.clone(),
        encryption: options.encryption.clone(),
    }
}

pub(crate) fn journal_options(options: &StoreOptions) -> JournalOptions {
    JournalOptions {
        sync: options.sync.manifest,
        sync_dir: options.sync.directory,
        mirror: options.manifest_mirror,
        rotate_min_bytes: options.manifest_rotate_min,
        keep_generations: options.manifest_keep_generations,
    }
}
