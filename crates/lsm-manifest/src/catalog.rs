//! The versions of all trees of a database.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use lsm_types::{FileUuid, KeyOrder, Level, RouteId, RunId, TableId, TreeId, ValueUsage, VlogId};

use crate::{DatabaseEdit, LiveVlog, ManifestError, TableDescriptor, TreeEdit, Version, VersionEdit, apply};

/// Where a table stands, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tree: TreeId,
    pub(crate) level: Level,
    pub(crate) run: RunId,
    pub(crate) table: Arc<TableDescriptor>,
    /// The file has, or had, a second name.
    pub(crate) is_exported: bool,
}

/// The state of a database: what a manifest says after its last edit.
///
/// Orders of keys are not stored, only their names: a catalog is given them by [`Catalog::set_order`] before it
/// is asked to apply edits under another order than byte order.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub(crate) trees: BTreeMap<TreeId, Version>,
    pub(crate) orders: BTreeMap<TreeId, KeyOrder>,
    pub(crate) places: BTreeMap<TableId, Place>,
    pub(crate) reserved_ids: u64,
    pub(crate) without_sync: bool,
    pub(crate) table_bytes: u64,
    pub(crate) routes: BTreeMap<RouteId, FileUuid>,
}

impl Catalog {
    /// The version of a tree.
    pub fn tree(&self, tree: TreeId) -> Option<&Version> {
        self.trees.get(&tree)
    }

    /// All trees.
    pub fn trees(&self) -> impl Iterator<Item = (TreeId, &Version)> {
        self.trees.iter().map(|(tree, version)| (*tree, version))
    }

    /// File numbers below this one may have been used.
    pub fn reserved_ids(&self) -> u64 {
        self.reserved_ids
    }

    /// Whether the database was ever written without syncs.
    pub fn was_without_sync(&self) -> bool {
        self.without_sync
    }

    /// Root directories besides that of the database, by number, each with its identity.
    pub fn routes(&self) -> impl Iterator<Item = (RouteId, FileUuid)> + '_ {
        self.routes.iter().map(|(route, uuid)| (*route, *uuid))
    }

    /// The same state with all tables in the directory of the database.
    ///
    /// # Errors
    /// None for a state that is consistent in itself.
    pub fn without_routes(&self) -> Result<Self, ManifestError> {
        let mut flat = Self { orders: self.orders.clone(), ..Self::default() };
        for mut edit in self.snapshot() {
            edit.database.retain(|step| !matches!(step, DatabaseEdit::AddRoute { .. }));
            for (_, step) in &mut edit.trees {
                if let TreeEdit::AddTable { table, .. } = step {
                    Arc::make_mut(table).route = RouteId::PRIMARY;
                }
            }
            flat = flat.replay(&edit)?;
        }
        Ok(flat)
    }

    /// Notes that the database is written without syncs from now on.
    pub fn mark_without_sync(&mut self) {
        self.without_sync = true;
    }

    /// Where a table stands: tree, level, run.
    pub fn place(&self, table: TableId) -> Option<(TreeId, Level, RunId)> {
        self.places.get(&table).map(|place| (place.tree, place.level, place.run))
    }

    /// What a table is.
    pub fn table(&self, table: TableId) -> Option<&Arc<TableDescriptor>> {
        self.places.get(&table).map(|place| &place.table)
    }

    /// Whether the file of a table was ever given a second name.
    pub fn is_exported(&self, table: TableId) -> bool {
        self.places.get(&table).is_some_and(|place| place.is_exported)
    }

    /// Tables whose files were given a second name.
    pub fn exported(&self) -> impl Iterator<Item = TableId> + '_ {
        self.places.iter().filter(|(_, place)| place.is_exported).map(|(table, _)| *table)
    }

    /// Number of tables of all trees.
    pub fn table_count(&self) -> usize {
        self.places.len()
    }

    /// Bytes of all tables and value logs of all trees; of a restricted table those that are left.
    pub fn file_bytes(&self) -> u64 {
        let vlogs = self.trees.values().map(|version| version.vlogs.file_bytes());
        vlogs.fold(self.table_bytes, u64::wrapping_add)
    }

    /// Tells the order of a tree's keys. Byte order until told.
    pub fn set_order(&mut self, tree: TreeId, order: KeyOrder) {
        self.orders.insert(tree, order);
    }

    /// The order of a tree's keys.
    pub fn order(&self, tree: TreeId) -> KeyOrder {
        self.orders.get(&tree).cloned().unwrap_or_default()
    }

    /// The state after `edit`, by copy: for tests and small catalogs.
    pub fn apply(&self, edit: &VersionEdit) -> Result<Self, ManifestError> {
        let mut next = self.clone();
        next.apply_in_place(edit)?;
        Ok(next)
    }

    /// Applies `edit` wholly or, on error, not at all. Costs what changes, not what exists.
    pub fn apply_in_place(&mut self, edit: &VersionEdit) -> Result<(), ManifestError> {
        let change = self.preview(edit)?;
        self.commit(change);
        Ok(())
    }

    /// The state after `edit`, for a state nobody needs when that fails. Copies nothing, so replaying a log of
    /// edits takes time in their size.
    pub fn replay(self, edit: &VersionEdit) -> Result<Self, ManifestError> {
        apply::replay(self, edit)
    }

    /// What `edit` would make of the trees it touches, without changing anything.
    pub fn preview(&self, edit: &VersionEdit) -> Result<Change, ManifestError> {
        apply::preview(self, edit)
    }

    /// As [`Catalog::preview`] for an edit that is to be made: steps are added to `edit` that remove the value logs it leaves
    /// without a reference.
    ///
    /// # Errors
    /// `VlogSums` when tables would refer to more of a value log than it holds; as [`Catalog::preview`].
    pub fn preview_whole(&self, edit: &mut VersionEdit) -> Result<Change, ManifestError> {
        let change = self.preview(edit)?;
        let dead: Vec<_> = change.dead_vlogs().collect();
        if dead.is_empty() {
            change.check_vlogs()?;
            return Ok(change);
        }
        edit.trees.extend(dead.into_iter().map(|(tree, id)| (tree, TreeEdit::RemoveVlog { id })));
        let change = self.preview(edit)?;
        change.check_vlogs()?;
        Ok(change)
    }

    /// Takes over what [`Catalog::preview`] computed from this very state.
    pub fn commit(&mut self, change: Change) {
        self.reserved_ids = change.reserved_ids;
        self.without_sync = change.without_sync;
        self.routes.extend(change.routes);
        self.trees.extend(change.trees);
        for (id, place) in change.places {
            // Lengths that an edit claims may pass any sum; modulo 2^64 what is added is taken off again.
            let added = place.as_ref().map_or(0, |place| place.table.live_bytes());
            let before = match place {
                Some(place) => self.places.insert(id, place),
                None => self.places.remove(&id),
            };
            let removed = before.map_or(0, |place| place.table.live_bytes());
            self.table_bytes = self.table_bytes.wrapping_add(added).wrapping_sub(removed);
        }
    }
}

/// Equal when the states are; the orders of keys are not part of the state.
impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.reserved_ids == other.reserved_ids
            && self.without_sync == other.without_sync
            && self.routes == other.routes
            && self.trees == other.trees
            && self.places == other.places
    }
}

impl Eq for Catalog {}

/// The outcome of an edit before it is taken over.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) trees: BTreeMap<TreeId, Version>,
    pub(crate) places: BTreeMap<TableId, Option<Place>>,
    pub(crate) reserved_ids: u64,
    pub(crate) without_sync: bool,
    /// Value logs that lost or gained references.
    pub(crate) touched: BTreeSet<(TreeId, VlogId)>,
    /// Those that are new.
    pub(crate) routes: BTreeMap<RouteId, FileUuid>,
}

impl Change {
    /// File numbers below this one may have been used.
    pub fn reserved_ids(&self) -> u64 {
        self.reserved_ids
    }

    /// A table as it stands after the edit, where `catalog` is what the edit was previewed on.
    pub fn table<'a>(&'a self, catalog: &'a Catalog, id: TableId) -> Option<&'a Arc<TableDescriptor>> {
        match self.places.get(&id) {
            Some(place) => place.as_ref().map(|place| &place.table),
            None => catalog.table(id),
        }
    }

    /// Value logs that nothing refers to any more after the edit. An edit is whole when it removes them.
    pub fn dead_vlogs(&self) -> impl Iterator<Item = (TreeId, VlogId)> {
        let is_dead = |log: &LiveVlog| log.live == ValueUsage::default();
        self.touched.iter().filter(move |at| self.vlog(at).is_some_and(is_dead)).copied()
    }

    /// Whether no value log is left that nothing refers to, or that is referred to for more than it holds.
    pub(crate) fn check_vlogs(&self) -> Result<(), ManifestError> {
        let is_wrong =
            |log: &LiveVlog| log.live.entries == 0 || log.vlog.total.checked_sub(log.live).is_none();
        match self.touched.iter().find(|at| self.vlog(at).is_some_and(is_wrong)) {
            Some((_, vlog)) => Err(ManifestError::VlogSums { vlog: *vlog }),
            None => Ok(()),
        }
    }

    fn vlog(&self, (tree, id): &(TreeId, VlogId)) -> Option<&LiveVlog> {
        self.trees.get(tree)?.vlogs.get(*id)
    }

    /// The next version of a tree; `None` when the edit does not touch it.
    pub fn tree(&self, tree: TreeId) -> Option<&Version> {
        self.trees.get(&tree)
    }
}
