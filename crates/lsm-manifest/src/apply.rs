//! Applying an edit: copies the chunks it touches and nothing else.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lsm_types::{FileUuid, KeyOrder, Level, MAX_NAME_LEN, RouteId, RunId, TableId, TreeId, ValueReferences};

use crate::{
    Catalog, DatabaseEdit, ManifestError, Restriction, Run, TableDescriptor, TreeEdit, VectorDescriptor,
    Version, VersionEdit,
    catalog::{Change, Place},
    levels::LevelRuns,
    version::TOKEN_MAX,
};

pub(crate) fn preview(catalog: &Catalog, edit: &VersionEdit) -> Result<Change, ManifestError> {
    apply(catalog, BTreeMap::new(), edit)
}

/// Applies an edit to a catalog that nobody needs if that fails: versions are taken out and changed in place, so
/// that replaying an edit copies nothing.
pub(crate) fn replay(mut catalog: Catalog, edit: &VersionEdit) -> Result<Catalog, ManifestError> {
    let mut trees = BTreeMap::new();
    for (tree, _) in &edit.trees {
        if let Some(version) = catalog.trees.remove(tree) {
            trees.insert(*tree, version);
        }
    }
    let change = apply(&catalog, trees, edit)?;
    change.check_vlogs()?;
    catalog.commit(change);
    Ok(catalog)
}

fn apply(
    catalog: &Catalog,
    trees: BTreeMap<TreeId, Version>,
    edit: &VersionEdit,
) -> Result<Change, ManifestError> {
    let mut draft = Draft {
        catalog,
        change: Change {
            trees,
            places: BTreeMap::new(),
            reserved_ids: catalog.reserved_ids,
            without_sync: catalog.without_sync,
            touched: BTreeSet::new(),
            routes: BTreeMap::new(),
        },
    };
    for step in &edit.database {
        draft.apply_database(step)?;
    }
    for (tree, step) in &edit.trees {
        draft.apply_tree(*tree, step)?;
    }
    Ok(draft.change)
}

struct Draft<'a> {
    catalog: &'a Catalog,
    change: Change,
}

impl Draft<'_> {
    fn apply_database(&mut self, step: &DatabaseEdit) -> Result<(), ManifestError> {
        match step {
            DatabaseEdit::ReserveIds(bound) => {
                if *bound < self.change.reserved_ids {
                    return Err(ManifestError::Regression { what: "reserved file numbers" });
                }
                self.change.reserved_ids = *bound;
            }
            DatabaseEdit::WithoutSync => self.change.without_sync = true,
            DatabaseEdit::AddRoute { route, uuid } => {
                let known = self.catalog.routes.iter().chain(&self.change.routes);
                let is_taken =
                    |(number, identity): (&RouteId, &FileUuid)| number == route || identity == uuid;
                if *route == RouteId::PRIMARY || known.into_iter().any(is_taken) {
                    return Err(ManifestError::RouteExists { route: *route });
                }
                self.change.routes.insert(*route, *uuid);
            }
            DatabaseEdit::CreateTree { tree, identity } => {
                if self.change.trees.contains_key(tree) || self.catalog.trees.contains_key(tree) {
                    return Err(ManifestError::TreeExists { tree: *tree });
                }
                identity.check()?;
                self.change.trees.insert(*tree, Version::empty(identity.clone()));
            }
        }
        Ok(())
    }

    fn apply_tree(&mut self, tree: TreeId, step: &TreeEdit) -> Result<(), ManifestError> {
        let order = self.catalog.orders.get(&tree).cloned().unwrap_or_default();
        match step {
            TreeEdit::AddRun { level, run, age } => add_run(self.level(tree, *level)?, Run::new(*run, *age)),
            TreeEdit::AddTable { level, run, table } => {
                if self.place(table.id).is_some() {
                    return Err(ManifestError::TableExists { table: table.id });
                }
                if table.id.get() >= self.change.reserved_ids {
                    return Err(ManifestError::Unreserved { table: table.id });
                }
                if table.route != RouteId::PRIMARY && !self.has_route(table.route) {
                    return Err(ManifestError::UnknownRoute { table: table.id, route: table.route });
                }
                let version = self.version(tree)?;
                version.max_seqno = version.max_seqno.max(Some(table.seqnos.max));
                version.vlogs.refer(table.id, &table.references)?;
                self.change.touched.extend(table.references.iter().map(|(vlog, _)| (tree, vlog)));
                let place =
                    Place { tree, level: *level, run: *run, table: table.clone(), is_exported: false };
                self.insert(place, &order)
            }
            TreeEdit::RemoveTable { id } => {
                let table = self.remove(tree, *id, &order)?;
                self.version(tree)?.vlogs.release(table.id, &table.references)?;
                self.change.touched.extend(table.references.iter().map(|(vlog, _)| (tree, vlog)));
                Ok(())
            }
            TreeEdit::AddVlog { vlog } => {
                if vlog.id.get() >= self.change.reserved_ids {
                    return Err(ManifestError::UnreservedVlog { vlog: vlog.id });
                }
                if self.place(TableId::new(vlog.id.get())).is_some() {
                    return Err(ManifestError::VlogExists { vlog: vlog.id });
                }
                self.version(tree)?.vlogs.add(vlog.clone())
            }
            TreeEdit::RemoveVlog { id } => self.version(tree)?.vlogs.remove(*id),
            TreeEdit::ExportVlog { id } => self.version(tree)?.vlogs.export(*id),
            TreeEdit::AdvanceVlog { id, frontier } => self.version(tree)?.vlogs.advance(*id, *frontier),
            TreeEdit::MoveTable { id, level, run } => {
                let is_exported = self.place(*id).is_some_and(|place| place.is_exported);
                let table = self.remove(tree, *id, &order)?;
                self.insert(Place { tree, level: *level, run: *run, table, is_exported }, &order)
            }
            TreeEdit::ExportTable { id } => self.export(tree, *id),
            TreeEdit::RestrictTable { id, to, references } => {
                self.restrict(tree, *id, to, references, &order)
            }
            TreeEdit::AttachVector { id, vector } => self.attach(tree, *id, vector, &order),
            TreeEdit::RaiseFloor(floor) => {
                let version = self.version(tree)?;
                version.retention_floor = version.retention_floor.max(*floor);
                version.changes_from = version.changes_from.max(Version::changes_above(*floor));
                Ok(())
            }
            TreeEdit::RefuseReads(floor) => {
                let version = self.version(tree)?;
                version.retention_floor = version.retention_floor.max(*floor);
                Ok(())
            }
            TreeEdit::LowerFloor(floor) => {
                let version = self.version(tree)?;
                version.retention_floor = version.retention_floor.min(*floor);
                Ok(())
            }
            TreeEdit::ChangesFrom(bound) => {
                let version = self.version(tree)?;
                version.changes_from = version.changes_from.max(*bound);
                Ok(())
            }
            TreeEdit::MaxSeqNo(seqno) => {
                let version = self.version(tree)?;
                version.max_seqno = version.max_seqno.max(Some(*seqno));
                Ok(())
            }
            TreeEdit::Watermark(watermark) => {
                let version = self.version(tree)?;
                if watermark.seqno < version.watermark.seqno {
                    return Err(ManifestError::Regression { what: "the durable watermark" });
                }
                if watermark.token.as_ref().is_some_and(|token| token.len() > TOKEN_MAX) {
                    return Err(ManifestError::TooLong { what: "token of a watermark" });
                }
                version.watermark = watermark.clone();
                Ok(())
            }
            TreeEdit::Separate => {
                self.version(tree)?.separates = true;
                Ok(())
            }
            TreeEdit::MergeOperator(name) => {
                if !(1..=MAX_NAME_LEN).contains(&name.len()) {
                    return Err(ManifestError::TooLong { what: "name of a merge operator" });
                }
                self.version(tree)?.merge_operator = Some(name.clone());
                Ok(())
            }
            TreeEdit::AddSchema(schema) => self.version(tree)?.schemas.add(schema.clone()),
        }
    }

    fn insert(&mut self, place: Place, order: &KeyOrder) -> Result<(), ManifestError> {
        let (level, run, table) = (place.level, place.run, place.table.clone());
        let id = table.id;
        let runs = self.level(place.tree, level)?;
        let target = runs.run_mut(run).ok_or(ManifestError::UnknownRun { table: id, level, run })?;
        if !target.tables.insert(table, order) {
            return Err(ManifestError::Overlap { level, run, table: id });
        }
        self.change.places.insert(id, Some(place));
        Ok(())
    }

    fn export(&mut self, tree: TreeId, id: TableId) -> Result<(), ManifestError> {
        let unknown = ManifestError::UnknownTable { tree, table: id };
        let place = self.place(id).filter(|place| place.tree == tree).ok_or(unknown)?;
        let place = Place { is_exported: true, ..place.clone() };
        self.change.places.insert(id, Some(place));
        Ok(())
    }

    fn restrict(
        &mut self,
        tree: TreeId,
        id: TableId,
        to: &Restriction,
        references: &ValueReferences,
        order: &KeyOrder,
    ) -> Result<(), ManifestError> {
        let unknown = ManifestError::UnknownTable { tree, table: id };
        let place = self.place(id).filter(|place| place.tree == tree).cloned().ok_or(unknown)?;
        let table = place.table.restricted(to.clone(), references.clone(), order)?;
        let vlogs = &mut self.version(tree)?.vlogs;
        vlogs.release(id, &place.table.references)?;
        vlogs.refer(id, &table.references)?;
        self.change.touched.extend(place.table.references.iter().map(|(vlog, _)| (tree, vlog)));
        self.exchange(Place { table, ..place }, order)
    }

    fn attach(
        &mut self,
        tree: TreeId,
        id: TableId,
        vector: &Arc<VectorDescriptor>,
        order: &KeyOrder,
    ) -> Result<(), ManifestError> {
        let unknown = ManifestError::UnknownTable { tree, table: id };
        let place = self.place(id).filter(|place| place.tree == tree).cloned().ok_or(unknown)?;
        let file = TableId::new(vector.id.get());
        if file.get() >= self.change.reserved_ids || self.place(file).is_some() {
            let rule = "its number is a table's, or was never reserved";
            return Err(ManifestError::Vector { table: id, rule });
        }
        let table = place.table.with_vector(vector.clone())?;
        self.exchange(Place { table, ..place }, order)
    }

    /// Puts a table in the place of the one with its number, in the run where that stands.
    fn exchange(&mut self, place: Place, order: &KeyOrder) -> Result<(), ManifestError> {
        let (tree, level, run, id) = (place.tree, place.level, place.run, place.table.id);
        let unknown = ManifestError::UnknownTable { tree, table: id };
        let before = self.place(id).map(|place| place.table.clone()).ok_or(unknown)?;
        let target = self.level(tree, level)?.run_mut(run).ok_or(unknown)?;
        target.tables.remove(&before, order).ok_or(unknown)?;
        if !target.tables.insert(place.table.clone(), order) {
            return Err(ManifestError::Overlap { level, run, table: id });
        }
        self.change.places.insert(id, Some(place));
        Ok(())
    }

    fn remove(
        &mut self,
        tree: TreeId,
        id: TableId,
        order: &KeyOrder,
    ) -> Result<Arc<TableDescriptor>, ManifestError> {
        let unknown = ManifestError::UnknownTable { tree, table: id };
        let place = self.place(id).filter(|place| place.tree == tree).cloned().ok_or(unknown)?;
        let runs = self.level(tree, place.level)?;
        let run = runs.run_mut(place.run).ok_or(unknown)?;
        let table = run.tables.remove(&place.table, order).ok_or(unknown)?;
        let run_left = run.tables.is_empty();
        if run_left {
            runs.runs.retain(|run| run.id != place.run);
        }
        self.change.places.insert(id, None);
        Ok(table)
    }

    fn has_route(&self, route: RouteId) -> bool {
        self.catalog.routes.contains_key(&route) || self.change.routes.contains_key(&route)
    }

    fn place(&self, id: TableId) -> Option<&Place> {
        match self.change.places.get(&id) {
            Some(place) => place.as_ref(),
            None => self.catalog.places.get(&id),
        }
    }

    fn version(&mut self, tree: TreeId) -> Result<&mut Version, ManifestError> {
        if !self.change.trees.contains_key(&tree) {
            let version = self.catalog.trees.get(&tree).ok_or(ManifestError::UnknownTree { tree })?;
            self.change.trees.insert(tree, version.clone());
        }
        self.change.trees.get_mut(&tree).ok_or(ManifestError::UnknownTree { tree })
    }

    fn level(&mut self, tree: TreeId, level: Level) -> Result<&mut LevelRuns, ManifestError> {
        let version = self.version(tree)?;
        let count = version.identity.level_count;
        let runs = version.levels.levels.get_mut(usize::from(level.get()));
        runs.map(Arc::make_mut).ok_or(ManifestError::UnknownLevel { level, count })
    }
}

fn add_run(runs: &mut LevelRuns, run: Run) -> Result<(), ManifestError> {
    let taken = |other: &Run| other.id == run.id || other.age == run.age;
    if runs.runs.iter().any(taken) {
        return Err(ManifestError::RunExists { run: RunId::new(run.id.get()) });
    }
    let at = runs.runs.partition_point(|other| other.age > run.age);
    runs.runs.insert(at, run);
    Ok(())
}
