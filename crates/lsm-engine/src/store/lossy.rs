//! Looking at a database in a mode that gives up what cannot be made good (D-49). Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use lsm_journal::{HighWater, JournalEnv, Recovery, RecoveryReport};
use lsm_manifest::Catalog;
use lsm_types::{EditIndex, ErrorClass, FileKind, FileUuid, Result, RouteId, TableId};

use super::{
    FilesReport, Place, RebuildReport, Routes,
    files::{LostFile, Stray, Survey},
    keys, lineage,
    open::orders,
    rebuild,
    values::{self, FoundLogs},
};
use crate::{RecoveryMode, StoreOptions};

/// File numbers from here on are not believed: nothing counts so far.
pub(super) const ID_LIMIT: u64 = 1 << 62;

/// What is left of a database.
pub(super) struct Remains {
    pub(super) database: FileUuid,
    pub(super) catalog: Catalog,
    /// No edit later than this one is known to have been made.
    pub(super) furthest: EditIndex,
    pub(super) manifest: Option<RecoveryReport>,
    pub(super) files: FilesReport,
    /// Files of ours that are not part of it.
    pub(super) strays: Vec<Stray>,
    pub(super) rebuilt: Option<RebuildReport>,
    pub(super) routes: Routes,
}

/// What the manifest says as far as it can be read, without the tables whose files are gone, or what the files say.
/// `None` where there is no database.
pub(super) fn look(options: &StoreOptions, place: Place<'_>, env: &JournalEnv) -> Result<Option<Remains>> {
    if options.recovery_mode == RecoveryMode::RebuildFromFiles {
        let found = rebuild::look(options, place, env)?;
        return Ok(found.map(|(remains, report)| Remains { rebuilt: Some(report), ..remains }));
    }
    let Some(recovery) = Recovery::read(env, options.recovery_mode, &orders(options))? else {
        return Ok(None);
    };
    let (database, high_water) = (recovery.database(), recovery.high_water());
    let (mut catalog, manifest) = recovery.into_parts();
    let routes = Routes::look(options, place.root, database, &catalog)?;
    let place = Place { routes: &routes, ..place };
    let mut survey = Survey::take(place, &catalog, database)?;
    let replaced = replace_gone(options, place, &mut catalog, &mut survey)?;
    values::forget_lost(&mut catalog, &mut survey)?;
    keys::check(place, &catalog, options.encryption.as_ref())?;
    let furthest = manifest.losses.as_ref().map_or(manifest.last_edit, |losses| losses.furthest);
    let mut remains = Remains::of(database, catalog, furthest, Some(manifest), survey, high_water);
    remains.files.replaced = replaced;
    remains.routes = routes;
    Ok(Some(remains))
}

/// Tables that are gone because a compaction replaced them, of which the manifest lost the edit: its outputs are there.
fn replace_gone(
    options: &StoreOptions,
    place: Place<'_>,
    catalog: &mut Catalog,
    survey: &mut Survey,
) -> Result<Vec<LostFile>> {
    let gone = survey.lost.iter().filter(|lost| lost.kind == FileKind::Table && lost.found.is_none());
    let gone: BTreeSet<TableId> = gone.map(|lost| lost.table).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = BTreeMap::new();
    for stray in survey.strays.iter().filter(|stray| stray.kind == FileKind::Table) {
        match rebuild::read_stray(options, place, stray) {
            Ok(table) => {
                found.insert(stray.id, table);
            }
            Err(error)
                if matches!(error.kind().class(), ErrorClass::Io | ErrorClass::Retry)
                    || error.kind().is_about_keys() =>
            {
                return Err(error);
            }
            Err(_) => {} // it replaces nothing, and stays what it is
        }
    }
    let logs = FoundLogs::read(options, place, &survey.strays)?;
    found.retain(|_, table| {
        let version = catalog.tree(table.tree);
        let is_known = |log| version.is_some_and(|version| version.vlogs.get(log).is_some());
        let mut wanted = table.descriptor.references.iter().map(|(log, _)| log);
        wanted.all(|log| is_known(log) || logs.get(table.tree, log).is_some())
    });
    let known: Vec<_> =
        catalog.trees().flat_map(|(_, it)| it.levels.tables()).map(|(_, it)| it.clone()).collect();
    let known_logs: Vec<_> =
        catalog.trees().flat_map(|(_, it)| it.vlogs.iter()).map(|it| it.vlog.clone()).collect();
    let replaced = lineage::replace(catalog, &gone, &found, &logs)?;
    // Nothing leads to these any more; one that is gone is no loss then.
    let is_named = |id| catalog.trees().any(|(_, version)| version.vlogs.get(id).is_some());
    for log in known_logs.iter().filter(|log| !is_named(log.id)) {
        let id = TableId::new(log.id.get());
        let lost = survey.lost.iter().position(|lost| lost.table == id);
        match lost.map(|at| survey.lost.remove(at)) {
            Some(LostFile { found: None, .. }) => {}
            _ => survey.strays.push(Stray {
                kind: FileKind::ValueLog,
                id,
                route: RouteId::PRIMARY,
                len: log.file_len,
                created_edit: None,
            }),
        }
    }
    // Inputs that are still there are no longer part of anything.
    let left = known.iter().filter(|table| replaced.inputs.contains(&table.id) && !gone.contains(&table.id));
    survey.strays.extend(left.map(|table| Stray {
        kind: FileKind::Table,
        id: table.id,
        route: table.route,
        len: table.file_len,
        created_edit: None,
    }));
    survey.strays.retain(|stray| !replaced.outputs.contains(&stray.id));
    let (made_good, lost) =
        std::mem::take(&mut survey.lost).into_iter().partition(|lost| replaced.inputs.contains(&lost.table));
    survey.lost = lost;
    Ok(made_good)
}

impl Remains {
    /// No number of what is left out is ever used again.
    pub(super) fn of(
        database: FileUuid,
        mut catalog: Catalog,
        furthest: EditIndex,
        manifest: Option<RecoveryReport>,
        survey: Survey,
        high_water: HighWater,
    ) -> Self {
        let newer = survey.newer(high_water);
        let Survey { lost, mut strays, foreign, .. } = survey;
        strays.extend(lost.iter().filter_map(|lost| {
            Some(Stray {
                kind: lost.kind,
                id: lost.table,
                route: lost.route,
                len: lost.found?,
                created_edit: None,
            })
        }));
        // A number so high was never given out; the file goes out of the way with the others.
        let plausible = strays.iter().map(|stray| stray.id.get()).filter(|id| *id < ID_LIMIT);
        let ids = plausible.map(|id| id + 1);
        catalog.reserve(ids.max().unwrap_or(0));
        let made = strays.iter().filter_map(|stray| stray.created_edit);
        let furthest = made.chain([furthest]).max().unwrap_or(furthest);
        let kept = strays.iter().map(|stray| stray.id).collect();
        let files = FilesReport { kept, newer, foreign, lost, ..FilesReport::default() };
        Self {
            database,
            catalog,
            furthest,
            manifest,
            files,
            strays,
            rebuilt: None,
            routes: Routes::default(),
        }
    }
}
