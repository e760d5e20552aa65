//! A database opened in a mode that gives something up: it is read, and written only after somebody accepted the loss
//! (D-49).

use lsm_journal::{Journal, JournalEnv, JournalOptions};
use lsm_manifest::Catalog;
use lsm_types::{EditIndex, FileUuid, Result};

use super::{Installs, StoreInner, files::Stray, open::folders_of, orphans};
use crate::EngineError;

/// What a lossy recovery found, until it is accepted.
pub(super) struct Pending {
    pub(super) env: JournalEnv,
    pub(super) journal: JournalOptions,
    pub(super) database: FileUuid,
    /// No edit later than this one is known to have been made.
    pub(super) furthest: EditIndex,
    pub(super) catalog: Catalog,
    /// Files of ours that are not part of it.
    pub(super) strays: Vec<Stray>,
}

impl StoreInner {
    /// Makes what was found the truth.
    ///
    /// Files that are not part of it are set aside first. A crash in between leaves the old manifest, and a recovery
    /// in the same mode finds the same again, because it does not look at those files.
    pub(super) fn accept(&self) -> Result<()> {
        let mut pending = self.pending.lock();
        let Some(found) = pending.as_ref() else {
            return if self.is_read_only() { Err(EngineError::ReadOnly.into()) } else { self.start_routes() };
        };
        let place = self.place();
        orphans::set_aside_all(place, &found.strays, self.options.sync.directory)?;
        let journal = Journal::restate(
            found.env.clone(),
            found.journal,
            found.database,
            found.furthest,
            &found.catalog,
        )?;
        let Some(found) = pending.take() else { return Ok(()) };
        self.ids.restart(found.catalog.reserved_ids());
        self.last_edit.store(journal.last_edit().get(), std::sync::atomic::Ordering::Release);
        let installs = Installs::new(
            found.catalog,
            journal,
            (self.options.fs.clone(), self.ballast.clone()),
            folders_of(&self.options, &self.routes),
        );
        // Nobody else fills it: whoever does holds the lock on what is pending.
        let _ = self.installs.set(installs);
        self.start_routes()
    }
}
