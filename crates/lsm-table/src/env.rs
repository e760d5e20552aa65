//! What the tables of a tree share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_block::{Encryption, FileIdentity, Superblock, Transforms};
use lsm_fs::{Fs, SyncLevel};
use lsm_manifest::TableDescriptor;
use lsm_sst::TakenOver;
use lsm_types::{
    Clock, Cut, EditIndex, FileKind, FileUuid, KeyDomains, KeyOrder, Level, PrefixExtractor, Random, Result,
    RouteId, TableId, TreeId,
};
use parking_lot::Mutex;

use crate::{BlockCache, ColumnDesk, ConsumedPrefix, DecoderPool, DescriptorCache, FilterScene, TablePolicy};

/// Where numbers of new files come from.
pub trait FileIds: Send + Sync {
    /// A number that no file of the database ever had, and that none will have again after a crash.
    fn next(&self) -> Result<TableId>;

    /// The last edit of the manifest.
    fn last_edit(&self) -> EditIndex;
}

/// Where the tree says how it stands, and writers of tables say which filters they had to leave out.
#[derive(Debug, Default)]
pub struct FilterDesk {
    scene: Mutex<Arc<FilterScene>>,
    given_up: AtomicU64,
}

impl FilterDesk {
    /// Says how the tree stands, to tables that are begun from now on.
    pub fn set_scene(&self, scene: FilterScene) {
        *self.scene.lock() = Arc::new(scene);
    }

    /// How the tree stands.
    pub fn scene(&self) -> Arc<FilterScene> {
        self.scene.lock().clone()
    }

    pub(crate) fn note_given_up(&self, filters: u32) {
        self.given_up.fetch_add(filters.into(), Ordering::Relaxed);
    }

    /// Filters that could not be built: their tables were written without.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }
}

/// Where the tree says which of its tables are partly taken over, for new tables to note (`docs/adr/0026`).
#[derive(Debug, Default)]
pub struct LineageDesk {
    restricted: Mutex<Arc<[TakenOver]>>,
}

/// Most tables named that have left: with more of them waiting to be removed, the older ones are.
const LEFT_MAX: usize = 4 << 10;

impl LineageDesk {
    /// Says which tables have a lower bound, to tables that are begun from now on. The bounds are durable.
    pub fn set_restricted<'a>(&self, restricted: impl IntoIterator<Item = &'a TableDescriptor>) {
        let bound = |table: &TableDescriptor| {
            let lower = &table.restriction.as_ref()?.lower;
            Some(TakenOver { table: table.id, below: Cut::Before(lower.clone()) })
        };
        let list: Arc<[TakenOver]> = restricted.into_iter().filter_map(bound).collect();
        let mut restricted = self.restricted.lock();
        if **restricted != *list {
            *restricted = list;
        }
    }

    /// These tables, and those of `left`, of which nothing is part of the tree any more.
    pub(crate) fn taken_over(&self, mut left: Vec<TableId>) -> Vec<TakenOver> {
        left.sort_unstable();
        let newest = left.len().saturating_sub(LEFT_MAX);
        let whole = left.drain(newest..).map(|table| TakenOver { table, below: Cut::End });
        // A bound that is still shown for a table that has left is true, and the end says more.
        let whole: Vec<_> = whole.collect();
        whole.into_iter().chain(self.restricted.lock().iter().cloned()).collect()
    }
}

/// A file that no version names and nobody reads any more. Its handles are closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObsoleteFile {
    /// The table it held.
    pub table: TableId,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub len: u64,
}

/// Who removes files, when and how fast.
pub trait Reclaim: Send + Sync {
    /// No version names the file with this number any more; it is so many bytes long, those that were given back through
    /// [`Reclaim::release_prefix`] among them. Readers may still hold it.
    fn note_obsolete(&self, file: TableId, len: u64);

    /// Files of which [`Reclaim::note_obsolete`] was told and that may still be there.
    fn obsolete(&self) -> Vec<TableId>;

    /// Takes over a file of which [`Reclaim::note_obsolete`] was told, once its last reader is gone.
    fn release(&self, file: ObsoleteFile);

    /// Takes over the front of a file that all views of the table have done with. The same one may come again.
    fn release_prefix(&self, prefix: ConsumedPrefix);

    /// Takes over a file that never was part of a version and could not be removed at once.
    fn retry(&self, file: ObsoleteFile);
}

/// Which folder the tables of a level go to. The default sends all to the one of the database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableRoutes {
    /// The folders besides that of the database, as the file system of the tables names them.
    pub folders: BTreeMap<RouteId, PathBuf>,
    /// The same, as those who gave them do.
    pub given: BTreeMap<RouteId, PathBuf>,
    /// The route of each level; the directory of the database for those behind the last.
    pub levels: Vec<RouteId>,
}

impl TableRoutes {
    /// Where tables of `level` are written.
    pub fn of_level(&self, level: Level) -> RouteId {
        self.levels.get(usize::from(level.get())).copied().unwrap_or_default()
    }
}

/// Everything the tables of one tree share; made once per tree.
pub struct TableEnv {
    /// Where the files live.
    pub fs: Arc<dyn Fs>,
    /// The folder of the tables.
    pub folder: PathBuf,
    /// Other folders, for tables of some levels.
    pub routes: TableRoutes,
    /// Decoded blocks.
    pub cache: BlockCache,
    /// Open files.
    pub descriptors: DescriptorCache,
    /// Reusable decoders.
    pub decoders: DecoderPool,
    /// Order of keys.
    pub order: KeyOrder,
    /// The database the files belong to.
    pub database: FileUuid,
    /// The tree the files belong to.
    pub tree: TreeId,
    /// Numbers of new files.
    pub ids: Arc<dyn FileIds>,
    /// Removes files that are not needed any more.
    pub reclaim: Arc<dyn Reclaim>,
    /// Times of creation.
    pub clock: Arc<dyn Clock>,
    /// Identities of new files.
    pub random: Arc<dyn Random>,
    /// Seals what is written and opens what is read; `None` for a database that is not sealed.
    pub encryption: Option<Encryption>,
    /// How tables are written.
    pub policy: TablePolicy,
    /// Names the prefixes of keys that filters know; `None` for no filters over prefixes.
    pub prefix_extractor: Option<Arc<dyn PrefixExtractor>>,
    /// Domains of keys that no new table spans; `None` for one domain.
    pub domains: Option<Arc<dyn KeyDomains>>,
    /// Which tables are laid out in columns.
    pub columns: ColumnDesk,
    /// What the tree tells those who choose filters, and what they have to tell.
    pub filters: FilterDesk,
    /// What the tree tells new tables about older ones.
    pub lineage: LineageDesk,
    /// How durable a finished file is made.
    pub sync_file: SyncLevel,
    /// How durable its name is made.
    pub sync_folder: SyncLevel,
    /// Name of the file of a table.
    pub file_name: fn(TableId) -> String,
}

impl TableEnv {
    /// The path of a table.
    pub fn path(&self, table: TableId, route: RouteId) -> PathBuf {
        self.folder_of(route).join((self.file_name)(table))
    }

    /// The path of a table in the file system that was given for its route.
    pub(crate) fn real_path(&self, table: TableId, route: RouteId) -> PathBuf {
        self.routes.given.get(&route).unwrap_or(&self.folder).join((self.file_name)(table))
    }

    /// The folder of the tables of a route.
    pub fn folder_of(&self, route: RouteId) -> &Path {
        self.routes.folders.get(&route).unwrap_or(&self.folder)
    }

    /// The head of a new table, and what happens to its blocks.
    ///
    /// # Errors
    /// When a key is wanted and cannot be had.
    pub(crate) fn begin(&self, table: TableId) -> Result<(Superblock, Transforms)> {
        let mut uuid = [0; 16];
        self.random.fill(&mut uuid);
        let identity = FileIdentity {
            kind: FileKind::Table,
            file_id: table.get(),
            uuid: FileUuid::from_bytes(uuid),
            database: self.database,
            tree: self.tree,
        };
        let superblock = Superblock::new(identity, self.clock.now(), self.ids.last_edit());
        Ok(superblock.begin(self.encryption.as_ref(), |salt| self.random.fill(salt))?)
    }

    /// Makes the names of all files durable that were written so far on these routes, which may be named repeatedly.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync_folders(&self, routes: impl IntoIterator<Item = RouteId>) -> Result<()> {
        for route in routes.into_iter().collect::<BTreeSet<_>>() {
            self.fs.sync_dir(self.folder_of(route), self.sync_folder)?;
        }
        Ok(())
    }

    /// Removes the file of a table that never was part of a version, at once. What cannot be removed now is left to
    /// the reclaimer, which tries again.
    pub(crate) fn remove_unborn(&self, table: TableId, path: &Path) {
        match self.fs.remove_file(path) {
            Err(error) if error.kind != lsm_types::IoKind::NotFound => {
                tracing::warn!(%error, %table, "a file could not be removed");
                let len = self.fs.metadata(path).map_or(0, |found| found.len);
                let path = path.to_path_buf();
                self.reclaim.retry(ObsoleteFile { table, path, len });
            }
            _ => {}
        }
    }
}
