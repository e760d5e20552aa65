//! Directories besides that of the database, where tables of some levels lie (D-27).
//!
//! A route is known by the marker in its directory, not by its path: the manifest maps identities to numbers, each table
//! has the number of the route it lies on, and where the directory is, the options say. So directories may move and swap
//! places, and levels may be mapped anew; tables stay where they are until they are rewritten.
//!
//! A route comes to be in three steps, each durable before the next: the directory, its marker, the edit that gives it a
//! number. What a crash leaves of the first two is taken up by the next open.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_fs::{Fs, NamespaceId, OpenOptions, SyncLevel};
use lsm_journal::{FileName, Folder, RouteMarker};
use lsm_manifest::{Catalog, DatabaseEdit, VersionEdit};
use lsm_table::TableRoutes;
use lsm_types::{FileUuid, IoKind, Level, ReadAt, Result, RouteId};

use super::{
    Draft, Place, Proposal, StoreInner,
    folders::{create_root, ensure_folder},
    routed_fs::{Mount, RoutedFs},
};
use crate::{EngineError, StoreOptions};
use lsm_compaction_executor::InstallError;

/// A directory for the tables of some levels.
#[derive(Clone, Debug)]
pub(crate) struct LevelRoute {
    pub(crate) levels: RangeInclusive<u8>,
    pub(crate) path: PathBuf,
    pub(crate) fs: Arc<dyn Fs>,
}

/// Routes whose directories are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    /// The directories, as the file system of the store names them.
    roots: BTreeMap<RouteId, PathBuf>,
    /// The same, as the options name them.
    given: BTreeMap<RouteId, PathBuf>,
    /// The route of each level, as far as any has one.
    levels: Vec<RouteId>,
    /// Those that the manifest does not name yet.
    fresh: Vec<Fresh>,
}

#[derive(Clone, Debug)]
struct Fresh {
    route: RouteId,
    uuid: FileUuid,
    /// Where its marker has to be made.
    blank: Option<LevelRoute>,
}

/// Refuses what makes no sense.
pub(crate) fn validate(routes: &[LevelRoute]) -> Result<(), EngineError> {
    let invalid = |problem| Err(EngineError::InvalidConfig { option: "level_route", problem });
    let mut taken = BTreeSet::new();
    for route in routes {
        if route.levels.is_empty() {
            return invalid("has a range of levels that is empty");
        }
        if route.path.as_os_str().is_empty() {
            return invalid("has an empty path");
        }
        if !route.levels.clone().all(|level| taken.insert(level)) {
            return invalid("names a level that another route has");
        }
    }
    Ok(())
}

/// Makes the directories of the routes places in the file system of the store.
pub(super) fn mount(options: &mut StoreOptions) -> Result<(), EngineError> {
    if options.level_routes.is_empty() {
        return Ok(());
    }
    let mut mounts = Vec::new();
    for (number, route) in options.level_routes.iter_mut().enumerate() {
        let problem = "has a path that cannot be made absolute";
        let invalid = |_| EngineError::InvalidConfig { option: "level_route", problem };
        route.path = std::path::absolute(&route.path).map_err(invalid)?;
        let at = mount_point(&options.path, number);
        mounts.push(Mount { at, fs: route.fs.clone(), root: route.path.clone() });
    }
    let is_system = options.fs.namespace_id() == Some(NamespaceId::SYSTEM);
    options.reclaim.thread.get_or_insert(is_system);
    options.fs = Arc::new(RoutedFs { primary: options.fs.clone(), mounts });
    Ok(())
}

fn mount_point(root: &Path, number: usize) -> PathBuf {
    root.join(format!(".route-{number}"))
}

impl Routes {
    /// Finds out which route each directory of the options is. Changes nothing.
    ///
    /// # Errors
    /// `RouteMismatch` for a directory that belongs to another database, or is one; `RouteMissing` when tables lie on a
    /// route that none of the directories is; `InvalidConfig` when two of them are the same.
    pub(super) fn look(
        options: &StoreOptions,
        root: &Path,
        database: FileUuid,
        catalog: &Catalog,
    ) -> Result<Self> {
        let known: BTreeMap<FileUuid, RouteId> =
            catalog.routes().map(|(route, uuid)| (uuid, route)).collect();
        let mut free = known.values().max().copied().unwrap_or_default().get();
        let mut routes = Self::default();
        for (number, config) in options.level_routes.iter().enumerate() {
            let at = mount_point(root, number);
            let (uuid, is_blank) = match identity(options.fs.as_ref(), &at, config, database)? {
                Some(uuid) => (uuid, false),
                None => (new_uuid(options), true),
            };
            let route = known.get(&uuid).copied().unwrap_or_else(|| {
                free += 1;
                let route = RouteId::new(free);
                routes.fresh.push(Fresh { route, uuid, blank: is_blank.then(|| config.clone()) });
                route
            });
            let is_twice = routes.fresh.iter().filter(|fresh| fresh.uuid == uuid).count() > 1;
            if routes.roots.insert(route, at).is_some() || is_twice {
                let problem = "names a directory that another route has";
                return Err(EngineError::InvalidConfig { option: "level_route", problem }.into());
            }
            routes.given.insert(route, config.path.clone());
            for level in config.levels.clone() {
                let level = usize::from(level);
                routes.levels.resize(routes.levels.len().max(level + 1), RouteId::PRIMARY);
                if let Some(slot) = routes.levels.get_mut(level) {
                    *slot = route;
                }
            }
        }
        routes.check(catalog)?;
        Ok(routes)
    }

    fn check(&self, catalog: &Catalog) -> Result<(), EngineError> {
        let mut tables: BTreeMap<RouteId, usize> = BTreeMap::new();
        for (_, table) in catalog.trees().flat_map(|(_, version)| version.levels.tables()) {
            *tables.entry(table.route).or_default() += 1;
        }
        tables.retain(|route, _| *route != RouteId::PRIMARY && !self.roots.contains_key(route));
        let Some((route, tables)) = tables.pop_first() else { return Ok(()) };
        let expected = catalog.routes().find(|(known, _)| *known == route).map(|(_, uuid)| uuid);
        Err(EngineError::RouteMissing { route, expected: expected.unwrap_or_default(), tables })
    }

    /// The directory of a route; that of the database itself for the primary one.
    pub(crate) fn root<'a>(&'a self, primary: &'a Path, route: RouteId) -> &'a Path {
        self.roots.get(&route).map_or(primary, PathBuf::as_path)
    }

    /// The route that tables of a level are sent to.
    pub(crate) fn of_level(&self, level: Level) -> RouteId {
        self.levels.get(usize::from(level.get())).copied().unwrap_or_default()
    }

    /// All routes with their directories.
    pub(crate) fn roots<'a>(&'a self, primary: &'a Path) -> impl Iterator<Item = (RouteId, &'a Path)> {
        let others = self.roots.iter().map(|(route, root)| (*route, root.as_path()));
        std::iter::once((RouteId::PRIMARY, primary)).chain(others)
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// What writers of tables need to know.
    pub(crate) fn for_tables(&self) -> TableRoutes {
        let folders = |roots: &BTreeMap<RouteId, PathBuf>| {
            roots.iter().map(|(route, root)| (*route, Folder::Tables.path(root))).collect()
        };
        TableRoutes {
            folders: folders(&self.roots),
            given: folders(&self.given),
            levels: self.levels.clone(),
        }
    }

    /// Names for a manifest that knows none.
    pub(super) fn edits(&self) -> impl Iterator<Item = DatabaseEdit> + '_ {
        self.fresh.iter().map(|fresh| DatabaseEdit::AddRoute { route: fresh.route, uuid: fresh.uuid })
    }

    /// Makes the directories that are to be routes.
    fn prepare(&self, store: &StoreInner) -> Result<()> {
        let (fs, sync) = (store.fs().as_ref(), store.sync_policy());
        for fresh in &self.fresh {
            let Some(LevelRoute { path, fs, .. }) = &fresh.blank else { continue };
            // Through its own file system: those above it are none of the store's.
            let place = Place { fs: fs.as_ref(), root: path, routes: &Self::default() };
            create_root(place, sync.directory)?;
            write_marker(
                place,
                RouteMarker { database: store.database(), route: fresh.uuid },
                sync.directory,
            )?;
        }
        for root in self.roots.values() {
            let place = Place { fs, root, routes: &Self::default() };
            ensure_folder(place, Folder::Tables, sync.directory)?;
        }
        Ok(())
    }
}

impl StoreInner {
    /// Makes the routes that are new, and names them in the manifest.
    pub(super) fn start_routes(&self) -> Result<()> {
        if self.routes.is_empty() || self.is_read_only() {
            return Ok(());
        }
        self.routes.prepare(self)?;
        let known: BTreeSet<RouteId> =
            self.with_catalog(|catalog| catalog.routes().map(|(route, _)| route).collect());
        let mut edit = VersionEdit::default();
        edit.database.extend(
            self.routes.edits().filter(
                |step| !matches!(step, DatabaseEdit::AddRoute { route, .. } if known.contains(route)),
            ),
        );
        if edit.is_empty() {
            return Ok(());
        }
        let build = Box::new(move |_: &mut Draft<'_>| Ok(edit));
        let publish = Box::new(|_: &Catalog| {});
        self.install(Proposal { build, publish, outputs: Vec::new() }).map_err(InstallError::into_error)
    }
}

/// Whose the directory at `at` is; `None` for one that nobody has marked.
fn identity(fs: &dyn Fs, at: &Path, config: &LevelRoute, database: FileUuid) -> Result<Option<FileUuid>> {
    let mismatch =
        |found| EngineError::RouteMismatch { path: config.path.clone(), expected: database, found };
    let file = match fs.open(&at.join(RouteMarker::NAME), &OpenOptions::READ) {
        Ok(file) => file,
        Err(error) if error.kind == IoKind::NotFound => {
            // The directory of a database, perhaps this one's under another name, is no place for a route.
            let is_taken = fs.exists(&at.join("CURRENT"))? || fs.exists(&Folder::Tables.path(at))?;
            return if is_taken { Err(mismatch(None).into()) } else { Ok(None) };
        }
        Err(error) => return Err(error.into()),
    };
    if lsm_fs::FsFile::len(file.as_ref())? != RouteMarker::LEN as u64 {
        return Err(mismatch(None).into());
    }
    let mut bytes = [0; RouteMarker::LEN];
    ReadAt::read_exact_at(file.as_ref(), 0, &mut bytes)?;
    match RouteMarker::decode(&bytes) {
        Ok(marker) if marker.database == database => Ok(Some(marker.route)),
        Ok(marker) => Err(mismatch(Some(marker.database)).into()),
        Err(_) => Err(mismatch(None).into()),
    }
}

/// Writes the marker under another name first: it is there as a whole, or not at all.
fn write_marker(place: Place<'_>, marker: RouteMarker, sync: SyncLevel) -> Result<()> {
    let unborn = place.root.join(format!("{}.new", RouteMarker::NAME));
    match place.fs.remove_file(&unborn) {
        Err(error) if error.kind != IoKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = place.fs.open(&unborn, &OpenOptions::CREATE_NEW)?;
    file.write_at(0, &marker.encode()).map_err(|error| error.source)?;
    file.sync(sync)?;
    drop(file);
    place.fs.rename(&unborn, &place.root.join(RouteMarker::NAME))?;
    Ok(place.fs.sync_dir(place.root, sync)?)
}

fn new_uuid(options: &StoreOptions) -> FileUuid {
    let mut uuid = [0; 16];
    options.random.fill(&mut uuid);
    FileUuid::from_bytes(uuid)
}

impl Place<'_> {
    /// The same on another route.
    pub(super) fn at(&self, route: RouteId) -> Self {
        Self { root: self.routes.root(self.root, route), ..*self }
    }

    /// The path of a file.
    pub(super) fn table(&self, file: FileName, route: RouteId) -> PathBuf {
        file.path(self.at(route).root)
    }
}
