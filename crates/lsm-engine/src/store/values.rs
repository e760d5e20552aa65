//! Value logs in recoveries that give something up: which are there, and which tables lead to what is not.
//!
//! A table is worth nothing without its values, so it is left out with them and set aside, not deleted. Tables may also
//! refer to more of a value log than it holds: then one of them was replaced, and nobody knows by which. Of those the
//! older ones are left out, since what a compaction writes has higher numbers than what it read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lsm_journal::FileName;
use lsm_manifest::{Catalog, TableDescriptor, TreeEdit, VersionEdit, VlogDescriptor};
use lsm_table::read_vlog;
use lsm_types::{ErrorKind, FileKind, Level, Result, RouteId, TableId, TreeId, ValueUsage, VlogId};

use super::{
    Place,
    files::{LostFile, Stray, Survey},
    lossy::ID_LIMIT,
};
use crate::{EngineError, StoreOptions};

/// Value logs that no version names.
#[derive(Debug, Default)]
pub(super) struct FoundLogs {
    logs: BTreeMap<(TreeId, VlogId), Arc<VlogDescriptor>>,
    /// Files that are none, or not to be read, and why.
    pub(super) damaged: Vec<(TableId, lsm_types::Error)>,
}

impl FoundLogs {
    /// Those among `strays`.
    ///
    /// # Errors
    /// What the system says, and what is wrong with a key. Damage is no error here.
    pub(super) fn read(options: &StoreOptions, place: Place<'_>, strays: &[Stray]) -> Result<Self> {
        let mut found = Self::default();
        for stray in strays.iter().filter(|stray| stray.kind == FileKind::ValueLog) {
            match read_stray(options, place, stray) {
                Ok((tree, log)) => {
                    found.logs.insert((tree, log.id), Arc::new(log));
                }
                Err(error) if error.is_corruption() || error.kind() == ErrorKind::FileIdentityMismatch => {
                    found.damaged.push((stray.id, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    pub(super) fn get(&self, tree: TreeId, log: VlogId) -> Option<&Arc<VlogDescriptor>> {
        self.logs.get(&(tree, log))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TreeId, &Arc<VlogDescriptor>)> {
        self.logs.iter().map(|((tree, _), log)| (*tree, log))
    }

    /// How much each of them holds.
    pub(super) fn totals(&self) -> Totals {
        self.iter().map(|(tree, log)| ((tree, log.id), log.total)).collect()
    }
}

fn read_stray(options: &StoreOptions, place: Place<'_>, stray: &Stray) -> Result<(TreeId, VlogDescriptor)> {
    let path = FileName::ValueLog(VlogId::new(stray.id.get())).path(place.root);
    let found = read_vlog(place.fs, &path, options.encryption.as_ref())?;
    if found.descriptor.id.get() != stray.id.get() {
        return Err(EngineError::Misnamed { table: stray.id }.into());
    }
    if stray.id.get() >= ID_LIMIT {
        return Err(EngineError::Implausible { table: stray.id, what: "number" }.into());
    }
    Ok((found.tree, found.descriptor))
}

/// The value logs of `rebuilt` begin no further in front than what is left of the manifest says.
pub(super) fn keep_frontiers(rebuilt: &mut Catalog, known: &Catalog) -> Result<()> {
    let mut edit = VersionEdit::default();
    for (tree, version) in known.trees() {
        for log in version.vlogs.iter().filter(|log| log.frontier > 0) {
            let id = log.vlog.id;
            let there = rebuilt.tree(tree).and_then(|version| version.vlogs.get(id));
            if there.is_some_and(|there| there.vlog.uuid == log.vlog.uuid && there.frontier < log.frontier) {
                edit.push(tree, TreeEdit::AdvanceVlog { id, frontier: log.frontier });
            }
        }
    }
    Ok(rebuilt.apply_in_place(&edit)?)
}

/// How much value logs hold.
pub(super) type Totals = BTreeMap<(TreeId, VlogId), ValueUsage>;

/// Tables that lead to values that are not there, each with the value log they should lie in.
pub(super) fn without_values<'a>(
    tables: impl IntoIterator<Item = (TreeId, &'a TableDescriptor)>,
    mut left: Totals,
) -> BTreeMap<TableId, VlogId> {
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.sort_by_key(|(_, table)| std::cmp::Reverse(table.id));
    let mut out = BTreeMap::new();
    for (tree, table) in tables {
        let after = |(log, usage): (VlogId, ValueUsage)| {
            let rest = left.get(&(tree, log)).and_then(|left| left.checked_sub(usage));
            rest.map(|rest| ((tree, log), rest)).ok_or(log)
        };
        match table.references.iter().map(after).collect::<Result<Vec<_>, VlogId>>() {
            Ok(rest) => left.extend(rest),
            Err(log) => {
                out.insert(table.id, log);
            }
        }
    }
    out
}

/// Takes tables out of `catalog` whose files are gone, or whose values are, and says so in `survey`. Value logs that
/// nothing leads to any more are strays.
pub(super) fn forget_lost(catalog: &mut Catalog, survey: &mut Survey) -> Result<()> {
    let known: Vec<(TreeId, Arc<VlogDescriptor>)> = catalog
        .trees()
        .flat_map(|(tree, version)| version.vlogs.iter().map(move |log| (tree, log.vlog.clone())))
        .collect();
    let is_log = |lost: &&LostFile| lost.kind == FileKind::ValueLog;
    let lost_logs: BTreeSet<VlogId> =
        survey.lost.iter().filter(is_log).map(|lost| VlogId::new(lost.table.get())).collect();
    let lost_tables: BTreeSet<TableId> =
        survey.lost.iter().filter(|lost| !is_log(lost)).map(|lost| lost.table).collect();
    let there = known.iter().filter(|(_, log)| !lost_logs.contains(&log.id));
    let totals = there.clone().map(|(tree, log)| ((*tree, log.id), log.total)).collect();
    let tables = catalog
        .trees()
        .flat_map(|(tree, version)| version.levels.tables().map(move |(level, table)| (tree, level, table)));
    let left: Vec<(TreeId, Level, &Arc<TableDescriptor>)> =
        tables.filter(|(_, _, table)| !lost_tables.contains(&table.id)).collect();
    let without = without_values(left.iter().map(|(tree, _, table)| (*tree, table.as_ref())), totals);
    for (tree, level, table) in left {
        let Some(log) = without.get(&table.id) else { continue };
        survey.lost.push(LostFile {
            kind: FileKind::Table,
            table: table.id,
            tree,
            level,
            route: table.route,
            keys: table.entries.clone(),
            expected: table.file_len,
            found: Some(table.file_len),
            values_in: Some(*log),
        });
    }
    survey.lost.sort_by_key(|lost| lost.table);
    catalog.forget(lost_tables.into_iter().chain(without.into_keys()))?;
    let is_named = |id: VlogId| catalog.trees().any(|(_, version)| version.vlogs.get(id).is_some());
    // What was adopted is no stray, what is left without a table is one.
    survey.strays.retain(|stray| stray.kind != FileKind::ValueLog || !is_named(VlogId::new(stray.id.get())));
    let gone = there.filter(|(_, log)| !is_named(log.id)).map(|(_, log)| Stray {
        kind: FileKind::ValueLog,
        id: TableId::new(log.id.get()),
        route: RouteId::PRIMARY,
        len: log.file_len,
        created_edit: None,
    });
    let known_strays: BTreeSet<TableId> = survey.strays.iter().map(|stray| stray.id).collect();
    survey.strays.extend(gone.filter(|stray| !known_strays.contains(&stray.id)));
    Ok(())
}
