//! Looking at a database in a mode that gives up what cannot be made good (D-49). Changes nothing.

use lsm_journal::{HighWater, JournalEnv, Recovery, RecoveryReport};
use lsm_manifest::Catalog;
use lsm_types::{EditIndex, FileUuid, Result};

use super::{
    FilesReport, Place,
    files::{Stray, Survey},
    open::orders,
};
use crate::StoreOptions;

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
}

/// What the manifest says as far as it can be read, without the tables whose files are gone. `None` where there is no
/// database.
pub(super) fn look(options: &StoreOptions, place: Place<'_>, env: &JournalEnv) -> Result<Option<Remains>> {
    let Some(recovery) = Recovery::read(env, options.recovery_mode, &orders(options))? else {
        return Ok(None);
    };
    let (database, high_water) = (recovery.database(), recovery.high_water());
    let (mut catalog, manifest) = recovery.into_parts();
    let survey = Survey::take(place, &catalog, database)?;
    for lost in &survey.lost {
        catalog.forget(lost.table)?;
    }
    let furthest = manifest.losses.as_ref().map_or(manifest.last_edit, |losses| losses.furthest);
    Ok(Some(Remains::of(database, catalog, furthest, Some(manifest), survey, high_water)))
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
        strays.extend(
            lost.iter()
                .filter_map(|lost| Some(Stray { id: lost.table, len: lost.found?, created_edit: None })),
        );
        let ids = strays.iter().map(|stray| stray.id.get().saturating_add(1));
        catalog.reserve(ids.max().unwrap_or(0));
        let made = strays.iter().filter_map(|stray| stray.created_edit);
        let furthest = made.chain([furthest]).max().unwrap_or(furthest);
        let kept = strays.iter().map(|stray| stray.id).collect();
        let files = FilesReport { kept, newer, foreign, lost, ..FilesReport::default() };
        Self { database, catalog, furthest, manifest, files, strays }
    }
}
