//! Looking at a database in a mode that gives up what cannot be made good (D-49). Changes nothing.

use lsm_journal::{HighWater, JournalEnv, Recovery, RecoveryReport};
use lsm_manifest::Catalog;
use lsm_types::{EditIndex, FileKind, FileUuid, Result};

use super::{
    FilesReport, Place, RebuildReport, Routes,
    files::{Stray, Survey},
    keys,
    open::orders,
    rebuild, replace,
    rest::Look,
    values,
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
    let look = Look { options, place };
    let replaced = replace::broken(look, &mut catalog, &mut survey)?;
    values::forget_lost(&mut catalog, &mut survey)?;
    keys::check(place, &catalog, options.encryption.as_ref())?;
    look.tell_frontiers(&mut catalog)?;
    let furthest = manifest.losses.as_ref().map_or(manifest.last_edit, |losses| losses.furthest);
    let mut remains = Remains::of(database, catalog, furthest, Some(manifest), survey, high_water);
    remains.files.replaced = replaced;
    remains.routes = routes;
    Ok(Some(remains))
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
            // A table is set aside when its delete vector is what is missing.
            let (kind, len) = match lost.kind {
                FileKind::DeleteVector => (FileKind::Table, lost.found.unwrap_or_default()),
                kind => (kind, lost.found?),
            };
            Some(Stray { kind, id: lost.table, route: lost.route, len, created_edit: None })
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
