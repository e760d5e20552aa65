//! Putting a database together from the files of its tables and value logs, when the manifest is not to be believed (D-49, D-109).
//! Plans in memory and changes nothing.
//!
//! Every table says which ones it was made from (see `settle.rs`). Of a compaction that had ended, what is left of
//! the inputs is left out; of one that may not have, the outputs are. What a merge took over slice by slice is left out of
//! its inputs. A table of which bytes are gone that nothing accounts for is left out.
//!
//! Tables go into level 0, each a run of its own, ordered in age by their numbers: reads find the newest version by
//! its number, and of two equal ones that of the newer file. History below the highest number found may be gone, so
//! reads of it are refused.
//!
//! What cannot be known: whether a table is superseded by one that was itself replaced and removed before it, and
//! what was dropped as a whole shortly before. So nothing is written before somebody has looked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lsm_journal::{FileName, JournalEnv, Recovery, RecoveryReport};
use lsm_manifest::{
    Catalog, DatabaseEdit, TableDescriptor, TreeEdit, TreeIdentity, VersionEdit, VlogDescriptor,
};
use lsm_table::{FoundTable, read_table};
use lsm_types::{
    Bytewise, Cut, EditIndex, ErrorKind, FileKind, FileUuid, KeyOrder, Level, Result, RunId, SeqNo, TableId,
    TreeId, VlogId,
};

use super::{
    Place, Routes,
    files::{Stray, Survey},
    lossy::{ID_LIMIT, Remains},
    open::orders,
    rest::Look,
    settle::{self, Files},
    values::{self, FoundLogs},
};
use crate::{EngineError, StoreOptions, options::DEFAULT_LEVEL_COUNT};

/// Value logs that are taken into the state, and the trees they belong to.
type Logs = Vec<(TreeId, Arc<VlogDescriptor>)>;

/// What became of a file that was not taken into the state.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum LeftOut {
    /// A compaction replaced it, and that had ended.
    Superseded {
        /// A table made from it.
        by: TableId,
    },
    /// It was made from tables that are all still there.
    Unfinished,
    /// A merge in slices took over the lower part of it and gave its bytes back, and no file tells up to where.
    Consumed,
    /// It cannot be read.
    Damaged(lsm_types::Error),
    /// A table that leads to values which are not there.
    WithoutValues {
        /// The value log they should lie in.
        log: VlogId,
    },
    /// A value log that no table leads to.
    Unused,
}

/// What was put together from files.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct RebuildReport {
    /// Tables taken into the state.
    pub adopted: Vec<TableId>,
    /// Value logs taken along with them.
    pub value_logs: Vec<VlogId>,
    /// Files of ours that are not part of it, and why.
    pub left_out: Vec<(TableId, LeftOut)>,
    /// Why the manifest could not be read at all; without it trees have the default number of levels.
    pub manifest: Option<lsm_types::Error>,
}

/// What the files say; `None` where there is neither a table nor a manifest.
pub(super) fn look(
    options: &StoreOptions,
    place: Place<'_>,
    env: &JournalEnv,
) -> Result<Option<(Remains, RebuildReport)>> {
    let mut report = RebuildReport::default();
    let known = match Recovery::read(env, options.recovery_mode, &orders(options)) {
        Ok(recovery) => recovery,
        Err(error) => {
            let error: lsm_types::Error = error.into();
            if !error.is_corruption()
                && !matches!(error.kind(), ErrorKind::PartialState | ErrorKind::ManifestRegression)
            {
                return Err(error);
            }
            report.manifest = Some(error);
            None
        }
    };
    let database = known.as_ref().map(Recovery::database);
    let Some(database) = database.map_or_else(|| owner(place), |known| Ok(Some(known)))? else {
        return Ok(None);
    };
    let catalog = known.as_ref().map(Recovery::catalog).cloned().unwrap_or_default();
    let routes = Routes::look(options, place.root, database, &catalog)?;
    let place = Place { routes: &routes, ..place };
    // Every file is a stray: no version is believed.
    let survey = Survey::take(place, &Catalog::default(), database)?;
    let mut tables = BTreeMap::new();
    for stray in survey.strays.iter().filter(|stray| stray.kind == FileKind::Table) {
        match read_stray(options, place, stray) {
            Ok(table) => {
                tables.insert(stray.id, table);
            }
            Err(error) if error.is_corruption() || error.kind() == ErrorKind::FileIdentityMismatch => {
                report.left_out.push((stray.id, LeftOut::Damaged(error)));
            }
            Err(error) => return Err(error),
        }
    }
    let identities = known.as_ref().map(|known| identities(known.catalog())).unwrap_or_default();
    let present = survey.tables();
    let bounds = known_bounds(&catalog);
    let look = Look { options, place };
    let settled = settle::settle(&Files {
        tables: &tables,
        present: &present,
        installed: &BTreeSet::new(),
        known: &bounds,
        reader: &look,
    });
    let wrong = misordered(&tables, &identities);
    report.left_out.extend(wrong.into_iter().filter(|(id, _)| !settled.out.contains_key(id)));
    report.left_out.extend(settled.out);
    for (id, _) in &report.left_out {
        tables.remove(id);
    }
    for (id, why) in look.bound(&mut tables, &settled.floors)? {
        tables.remove(&id);
        report.left_out.push((id, why));
    }
    let logs = add_values(options, place, &survey, &mut tables, &mut report)?;
    report.adopted = tables.keys().copied().collect();
    let named: Vec<_> =
        catalog.routes().map(|(route, uuid)| DatabaseEdit::AddRoute { route, uuid }).collect();
    let named = named.into_iter().chain(routes.edits());
    let separated = catalog.trees().filter(|(_, version)| version.separates).map(|(tree, _)| tree);
    let separated = separated.chain(logs.iter().map(|(tree, _)| *tree)).collect();
    let mut rebuilt = catalog_of(options, named, &tables, &identities, (&separated, &logs))?;
    values::keep_frontiers(&mut rebuilt, &catalog)?;
    look.tell_frontiers(&mut rebuilt)?;
    let mut remains = remains(known, database, rebuilt, survey, &report);
    remains.routes = routes;
    Ok(Some((remains, report)))
}

/// The value logs that `tables` lead to. Tables that lead elsewhere are left out.
fn add_values(
    options: &StoreOptions,
    place: Place<'_>,
    survey: &Survey,
    tables: &mut BTreeMap<TableId, FoundTable>,
    report: &mut RebuildReport,
) -> Result<Logs> {
    let found = FoundLogs::read(options, place, &survey.strays)?;
    let listed = tables.values().map(|table| (table.tree, &table.descriptor));
    let without = values::without_values(listed, found.totals());
    tables.retain(|id, _| !without.contains_key(id));
    let used: BTreeSet<VlogId> =
        tables.values().flat_map(|table| table.descriptor.references.iter().map(|(log, _)| log)).collect();
    report.left_out.extend(without.into_iter().map(|(id, log)| (id, LeftOut::WithoutValues { log })));
    let (logs, unused): (Logs, Logs) =
        found.iter().map(|(tree, log)| (tree, log.clone())).partition(|(_, log)| used.contains(&log.id));
    let unused = unused.into_iter().map(|(_, log)| (TableId::new(log.id.get()), LeftOut::Unused));
    report.left_out.extend(unused);
    let damaged = found.damaged.into_iter();
    report.left_out.extend(damaged.map(|(id, error)| (id, LeftOut::Damaged(error))));
    report.value_logs = logs.iter().map(|(_, log)| log.id).collect();
    Ok(logs)
}

/// What a file of ours says about itself.
pub(super) fn read_stray(options: &StoreOptions, place: Place<'_>, stray: &Stray) -> Result<FoundTable> {
    let id = stray.id;
    let path = place.table(FileName::Table(id), stray.route);
    let mut table = read_table(place.fs, &path, &all_orders(options), options.encryption.as_ref())?;
    if table.descriptor.id != id {
        return Err(EngineError::Misnamed { table: id }.into());
    }
    table.descriptor.route = stray.route;
    let implausible = |what| EngineError::Implausible { table: id, what };
    if id.get() >= ID_LIMIT {
        return Err(implausible("number").into());
    }
    let order = options.comparator_named(&table.comparator).map(KeyOrder::new);
    let is_inverted = order.zip(table.descriptor.entries.as_ref());
    if is_inverted.is_some_and(|(order, range)| order.compare(&range.min, &range.max).is_gt()) {
        return Err(implausible("key range").into());
    }
    Ok(table)
}

/// Tables that are ordered otherwise than their tree.
fn misordered(
    tables: &BTreeMap<TableId, FoundTable>,
    known: &BTreeMap<TreeId, TreeIdentity>,
) -> Vec<(TableId, LeftOut)> {
    let mut names: BTreeMap<TreeId, &str> =
        known.iter().map(|(tree, identity)| (*tree, identity.comparator.as_str())).collect();
    let mut out = Vec::new();
    for (id, table) in tables {
        if *names.entry(table.tree).or_insert(&table.comparator) != table.comparator {
            let error = EngineError::Implausible { table: *id, what: "comparator" };
            out.push((*id, LeftOut::Damaged(error.into())));
        }
    }
    out
}

fn remains(
    known: Option<Recovery>,
    database: FileUuid,
    catalog: Catalog,
    mut survey: Survey,
    report: &RebuildReport,
) -> Remains {
    let high_water = known.as_ref().map(Recovery::high_water);
    let manifest: Option<RecoveryReport> = known.map(|known| known.into_parts().1);
    let losses = manifest.as_ref().and_then(|manifest| manifest.losses.as_ref());
    let made = survey.strays.iter().filter_map(|stray| stray.created_edit);
    let furthest = losses.map(|losses| losses.furthest).into_iter().chain(made).max();
    let out: BTreeSet<TableId> = report.left_out.iter().map(|(id, _)| *id).collect();
    survey.strays.retain(|stray| out.contains(&stray.id));
    let furthest = furthest.unwrap_or(EditIndex::new(0));
    let high_water = high_water
        .unwrap_or(lsm_journal::HighWater { reserved_ids: catalog.reserved_ids(), last_edit: furthest });
    Remains::of(database, catalog, furthest, manifest, survey, high_water)
}

/// The database that the first readable table belongs to.
fn owner(place: Place<'_>) -> Result<Option<FileUuid>> {
    let folder = lsm_journal::Folder::Tables;
    let entries = match place.fs.read_dir(&folder.path(place.root)) {
        Ok(entries) => entries,
        Err(error) if error.kind == lsm_types::IoKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut owners = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.kind == lsm_fs::EntryKind::File) {
        let Some(file @ FileName::Table(_)) = FileName::parse(folder, &entry.name) else { continue };
        let head = lsm_table::read_head(place.fs, &file.path(place.root))?;
        if let lsm_table::FileHead::Ours { database, .. } = head {
            owners.insert(database);
        }
    }
    if owners.len() > 1 {
        return Err(EngineError::SeveralDatabases { count: owners.len() }.into());
    }
    Ok(owners.pop_first())
}

fn all_orders(options: &StoreOptions) -> Vec<KeyOrder> {
    let bytewise = KeyOrder::new(std::sync::Arc::new(Bytewise));
    std::iter::once(bytewise).chain(options.comparators.iter().cloned().map(KeyOrder::new)).collect()
}

fn identities(catalog: &Catalog) -> BTreeMap<TreeId, TreeIdentity> {
    catalog.trees().map(|(tree, version)| (tree, version.identity.clone())).collect()
}

/// Bounds that a manifest which is not believed knows of: they were durable all the same.
pub(super) fn known_bounds(catalog: &Catalog) -> Vec<(TableId, Cut)> {
    let tables = catalog.trees().flat_map(|(_, version)| version.levels.tables());
    let bound = |table: &TableDescriptor| {
        let lower = &table.restriction.as_ref()?.lower;
        Some((table.id, Cut::Before(lower.clone())))
    };
    tables.filter_map(|(_, table)| bound(table)).collect()
}

fn catalog_of(
    options: &StoreOptions,
    routes: impl Iterator<Item = DatabaseEdit>,
    tables: &BTreeMap<TableId, FoundTable>,
    known: &BTreeMap<TreeId, TreeIdentity>,
    (separated, logs): (&BTreeSet<TreeId>, &Logs),
) -> Result<Catalog> {
    let mut trees = known.clone();
    for table in tables.values() {
        let levels = table.level.get().saturating_add(1);
        let identity = || TreeIdentity::new(table.comparator.clone(), DEFAULT_LEVEL_COUNT);
        let identity = trees.entry(table.tree).or_insert_with(identity);
        identity.level_count = identity.level_count.max(levels);
    }
    let mut catalog = Catalog::default();
    let mut edit = VersionEdit::default();
    let ids = tables.keys().map(|id| id.get()).chain(logs.iter().map(|(_, log)| log.id.get()));
    edit.database.push(DatabaseEdit::ReserveIds(ids.max().map_or(0, |id| id.saturating_add(1))));
    edit.database.extend(routes);
    for (tree, identity) in trees {
        let order = options.comparator_named(&identity.comparator);
        let order =
            order.ok_or_else(|| EngineError::UnknownComparator { stored: identity.comparator.clone() })?;
        catalog.set_order(tree, KeyOrder::new(order));
        edit.create_tree(tree, identity);
    }
    edit.trees.extend(separated.iter().map(|tree| (*tree, TreeEdit::Separate)));
    edit.trees.extend(logs.iter().map(|(tree, vlog)| (*tree, TreeEdit::AddVlog { vlog: vlog.clone() })));
    let mut floors: BTreeMap<TreeId, SeqNo> = BTreeMap::new();
    for (id, table) in tables {
        let (level, run) = (Level::new(0), RunId::new(id.get()));
        edit.push(table.tree, TreeEdit::AddRun { level, run, age: id.get() });
        let descriptor = std::sync::Arc::new(table.descriptor.clone());
        edit.push(table.tree, TreeEdit::AddTable { level, run, table: descriptor });
        let floor = floors.entry(table.tree).or_default();
        *floor = (*floor).max(table.descriptor.seqnos.max);
    }
    for (tree, floor) in floors {
        edit.push(tree, TreeEdit::RaiseFloor(floor));
    }
    catalog.apply_in_place(&edit)?;
    catalog.check()?;
    Ok(catalog)
}
