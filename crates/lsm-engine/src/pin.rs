//! A tree's files and memtables, held as they are without touching a file.
//!
//! A pin is what a tool needs that moves a tree elsewhere by its own means: it lists what there is, gives out the bytes
//! of every table and the entries of every memtable, and nothing of it changes or goes as long as the pin lives.

use std::{path::Path, sync::Arc};

use lsm_fs::Fs;
use lsm_journal::{FileName, Folder, Journal};
use lsm_manifest::{Catalog, DatabaseEdit, LiveVlog, TableDescriptor, TreeEdit, Version, VersionEdit};
use lsm_table::{Table, consumed_range, consumed_values};
use lsm_types::{
    EntryCursor, FileUuid, KeyOrder, Level, RangeTombstone, Result, RouteId, SeqNo, Slice, TableId, TreeId,
};

use crate::{
    CheckpointOptions, EngineError, FlushOptions, NameMismatch, OpenMode, StoreOptions, Tree, TreeOptions,
    checkpoint::{Means, Staging, check_len},
    memtables::SealedMemtable,
    store::journal_options,
    super_version::SuperVersion,
    tree::TreeInner,
};

/// Tables and memtables of a tree, held as they are. Cloning shares the pin; the last one that goes lets go of them.
#[derive(Clone)]
pub struct PinnedFiles {
    tree: Arc<TreeInner>,
    /// Nothing is active in it.
    pinned: Arc<SuperVersion>,
}

/// A table of a pin.
#[derive(Clone, Debug)]
pub struct PinnedTable {
    table: Table,
    level: Level,
}

impl PinnedTable {
    /// Its number.
    pub fn id(&self) -> TableId {
        self.table.id()
    }

    /// The level it lies in.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Identity of its file.
    pub fn uuid(&self) -> FileUuid {
        self.table.descriptor().uuid
    }

    /// Length of its file in bytes.
    pub fn file_len(&self) -> u64 {
        self.table.descriptor().file_len
    }

    /// Digest over the frames of its file.
    pub fn digest(&self) -> u64 {
        self.table.descriptor().digest
    }

    /// The key from which on the table is part of the tree, where a merge in slices has taken over what lies below. The file
    /// holds more, or zeros in the place of it: who copies it has to leave out entries and range tombstones below.
    pub fn lower(&self) -> Option<&Slice> {
        self.table.descriptor().restriction.as_ref().map(|restriction| &restriction.lower)
    }

    /// Bytes of its file from `offset` on: `len` of them, or what is left.
    ///
    /// # Errors
    /// What opening or reading the file finds.
    pub fn read(&self, offset: u64, len: usize) -> Result<Slice> {
        self.table.read_raw(offset, len)
    }
}

/// A memtable of a pin.
#[derive(Clone)]
pub struct PinnedMemtable {
    sealed: Arc<SealedMemtable>,
}

impl PinnedMemtable {
    /// Bytes it takes in memory.
    pub fn bytes(&self) -> u64 {
        self.sealed.bytes()
    }

    /// Number of entries, versions and tombstones included.
    pub fn entry_count(&self) -> usize {
        self.sealed.entries.len()
    }

    /// Smallest and largest number in it.
    pub fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        self.sealed.seqnos()
    }

    /// Its range tombstones, in no order.
    pub fn range_tombstones(&self) -> impl Iterator<Item = &RangeTombstone> {
        self.sealed.deletes.tombstones()
    }

    /// A walk over all versions of all keys, in order, that stands on nothing yet.
    pub fn cursor(&self) -> impl EntryCursor + use<> {
        self.sealed.entries.cursor()
    }
}

impl std::fmt::Debug for PinnedMemtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedMemtable").field("entries", &self.entry_count()).finish_non_exhaustive()
    }
}

impl Tree {
    /// Holds all tables and memtables as they are. Touches no file.
    ///
    /// The active memtable is sealed, so that what is pinned does not grow.
    pub fn pin(&self) -> PinnedFiles {
        self.inner.seal(None);
        PinnedFiles { tree: self.inner.clone(), pinned: self.inner.current.load_full() }
    }
}

impl PinnedFiles {
    /// The tree.
    pub fn tree(&self) -> TreeId {
        self.tree.id
    }

    /// The tables, level by level, each run in key order, newer runs first.
    pub fn tables(&self) -> impl Iterator<Item = PinnedTable> + '_ {
        let version = &self.pinned.version;
        let levels = version.levels.iter().flat_map(|(level, runs)| runs.runs().iter().map(move |_| level));
        let runs = self.pinned.runs.iter().zip(levels);
        runs.flat_map(|(run, level)| {
            run.tables().map(move |table| PinnedTable { table: table.clone(), level })
        })
    }

    /// The memtables, newest first.
    pub fn memtables(&self) -> impl Iterator<Item = PinnedMemtable> + '_ {
        self.pinned.sealed.iter().map(|sealed| PinnedMemtable { sealed: sealed.clone() })
    }

    /// Bytes of the files held.
    pub fn file_bytes(&self) -> u64 {
        self.pinned.pinned_bytes().0
    }

    /// Every write numbered below it that had returned when the pin was made is in the pin.
    pub fn seqno(&self) -> SeqNo {
        let sealed = self.pinned.sealed.iter().map(|sealed| sealed.max_seqno);
        sealed.chain(self.pinned.version.max_seqno).max().map_or(SeqNo::ZERO, SeqNo::next)
    }

    /// Creates `target`, a directory that opens as a tree of its own with exactly what is pinned; memtables become
    /// tables there. The same as often as it is called: a crash leaves no target or all of it, and what an attempt that
    /// died left behind is cleared away by the next.
    ///
    /// # Errors
    /// As [`crate::Store::checkpoint`].
    pub fn restore_to(&self, target: impl AsRef<Path>, options: &CheckpointOptions) -> Result<()> {
        let store = &self.tree.store;
        let target = store.check_target(target.as_ref(), options)?;
        let fs = options.fs.clone().unwrap_or_else(|| store.fs().clone());
        if fs.exists(&target)? {
            return Err(EngineError::TargetExists.into());
        }
        let sync = store.sync_policy();
        let staging = Staging::claim(fs.clone(), target, sync.directory)?;
        let folder = Folder::Tables.path(staging.path());
        fs.create_dir(&folder)?;
        // Copied, never linked: a pin is not noted in the manifest, as a second name has to be.
        let means = Means::between(
            store.fs().as_ref(),
            fs.as_ref(),
            staging.path(),
            (options.reflink, false),
            sync.table,
        )?;
        for table in self.tables() {
            let name = FileName::Table(table.id());
            let to = name.path(staging.path());
            let root = store.routes().root(store.root(), table.table.descriptor().route);
            let consumed = consumed_range(table.table.descriptor());
            means.transfer(&name.path(root), &to, &consumed, &options.cancel)?;
            check_len(fs.as_ref(), &to, (table.id(), table.file_len()))?;
            if let Some(vector) = &table.table.descriptor().vector {
                let name = FileName::DeleteVector(vector.id);
                let to = name.path(staging.path());
                means.transfer(&name.path(root), &to, &(0..0), &options.cancel)?;
                check_len(fs.as_ref(), &to, (table.id(), vector.file_len))?;
            }
        }
        fs.sync_dir(&folder, sync.directory)?;
        let folder = Folder::Blobs.path(staging.path());
        fs.create_dir(&folder)?;
        for live in self.pinned.version.vlogs.iter() {
            let log = &live.vlog;
            let name = FileName::ValueLog(log.id);
            let to = name.path(staging.path());
            means.transfer(&name.path(store.root()), &to, &consumed_values(live), &options.cancel)?;
            check_len(fs.as_ref(), &to, (TableId::new(log.id.get()), log.file_len))?;
        }
        fs.sync_dir(&folder, sync.directory)?;
        self.write_manifest(&fs, staging.path())?;
        self.add_memtables(&fs, staging.path(), options)?;
        staging.publish()
    }

    fn write_manifest(&self, fs: &Arc<dyn Fs>, root: &Path) -> Result<()> {
        let store = &self.tree.store;
        let catalog = catalog_of(self.tree.id, &self.pinned.version, &self.tree.order)?;
        let env = store.journal_env(fs.clone(), root.to_path_buf());
        let options = journal_options(store.options());
        // As far as the manifest is now, the files held are older.
        let last_edit = lsm_table::FileIds::last_edit(store.as_ref());
        let mut journal = Journal::fork(env, options, store.database(), last_edit, &catalog)?;
        Ok(journal.close()?)
    }

    /// Lets the copy flush the memtables that the pin holds.
    fn add_memtables(&self, fs: &Arc<dyn Fs>, root: &Path, options: &CheckpointOptions) -> Result<()> {
        if self.pinned.sealed.is_empty() {
            return Ok(());
        }
        let mut store =
            StoreOptions::new(root).fs(fs.clone()).mode(OpenMode::MustExist).directory_lock(false);
        store.sync = self.tree.store.sync_policy();
        store = store.clock(self.tree.store.options().clock.clone());
        store = store.random(self.tree.store.options().random.clone());
        store = store.comparator(self.tree.comparator.clone());
        let how = TreeOptions::in_store(store.clone())
            .comparator(self.tree.comparator.clone())
            .on_name_mismatch(NameMismatch::Warn)
            .tables(self.tree.env.policy.clone())
            .table_target_bytes(self.tree.table_target_bytes);
        // It forgets nothing, so it folds nothing; the copy has the operator's name already.
        let how = match &self.tree.operator {
            Some(operator) => how.merge_operator(operator.clone()),
            None => how,
        };
        let how = match &self.tree.vlogs {
            Some(vlogs) => how.separation(vlogs.policy.clone()),
            None => how,
        };
        let copy = crate::Store::open(store)?;
        let tree = copy.tree(self.tree.id, &how)?;
        tree.inner.adopt(self.pinned.sealed.clone());
        let flush = FlushOptions { cancel: options.cancel.clone() };
        tree.inner.flush(&flush, true)?;
        copy.close()
    }
}

impl std::fmt::Debug for PinnedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedFiles")
            .field("tree", &self.tree.id)
            .field("tables", &self.pinned.version.table_count())
            .field("memtables", &self.pinned.sealed.len())
            .finish_non_exhaustive()
    }
}

/// The state of a database that consists of this version of one tree.
fn catalog_of(tree: TreeId, version: &Version, order: &KeyOrder) -> Result<Catalog> {
    let mut edit = VersionEdit::default();
    let tables = || version.levels.tables().map(|(_, table)| table);
    let tables = tables().map(|table: &Arc<TableDescriptor>| table.id.get() + 1);
    let vectors = version.levels.tables().filter_map(|(_, table)| Some(table.vector.as_ref()?.id.get() + 1));
    let bound =
        tables.chain(vectors).chain(version.vlogs.iter().map(|log| log.vlog.id.get() + 1)).max().unwrap_or(0);
    edit.database.push(DatabaseEdit::ReserveIds(bound));
    edit.create_tree(tree, version.identity.clone());
    edit.trees.extend(version.separates.then_some((tree, TreeEdit::Separate)));
    edit.trees.extend(version.vlogs.iter().map(|log| (tree, TreeEdit::AddVlog { vlog: log.vlog.clone() })));
    let advanced = version.vlogs.iter().filter(|log| log.frontier > 0);
    let advance = |log: &LiveVlog| TreeEdit::AdvanceVlog { id: log.vlog.id, frontier: log.frontier };
    edit.trees.extend(advanced.map(|log| (tree, advance(log))));
    for (level, runs) in version.levels.iter() {
        for run in runs.runs() {
            edit.push(tree, TreeEdit::AddRun { level, run: run.id, age: run.age });
            for table in run.tables.iter() {
                // The copy has all tables in one place.
                let mut table = table.clone();
                if table.route != RouteId::PRIMARY {
                    Arc::make_mut(&mut table).route = RouteId::PRIMARY;
                }
                edit.push(tree, TreeEdit::AddTable { level, run: run.id, table });
            }
        }
    }
    edit.push(tree, TreeEdit::RefuseReads(version.retention_floor));
    edit.push(tree, TreeEdit::ChangesFrom(version.changes_from));
    edit.trees.extend(version.merge_operator.clone().map(|name| (tree, TreeEdit::MergeOperator(name))));
    edit.trees.extend(version.schemas.iter().map(|schema| (tree, TreeEdit::AddSchema(schema.clone()))));
    if let Some(seqno) = version.max_seqno {
        edit.push(tree, TreeEdit::MaxSeqNo(seqno));
    }
    edit.push(tree, TreeEdit::Watermark(version.watermark.clone()));
    let mut catalog = Catalog::default();
    catalog.set_order(tree, order.clone());
    catalog.apply_in_place(&edit)?;
    Ok(catalog)
}
