//! Reading beside a writer: what was installed since, and files that went meanwhile.

use std::sync::atomic::Ordering;

use lsm_types::{IoError, IoKind, Result};

use super::{StoreInner, open};
use crate::EngineError;

impl StoreInner {
    /// Takes over what a writer has installed since; returns whether there was anything. Nothing for a store that is
    /// open for writing: there is no other writer.
    pub(crate) fn refresh(&self) -> Result<bool> {
        let Some(read_only) = &self.read_only else { return Ok(false) };
        if self.options.recovery_mode.is_lossy() {
            return Ok(false); // it shows what could be saved, and that was looked for once
        }
        let mut known = read_only.lock();
        // A route that came since is not known here: its tables are missing until this is opened anew.
        let (recovery, _, _) = open::read_beside_writer(&self.options, self.place())?;
        if recovery.database() != self.database {
            return Err(EngineError::NotFound.into());
        }
        let last_edit = recovery.last_edit().get();
        if self.last_edit.swap(last_edit, Ordering::AcqRel) == last_edit {
            return Ok(false);
        }
        (*known, _) = recovery.into_parts();
        for tree in self.open_trees() {
            if let Some(version) = known.tree(tree.id) {
                tree.show(version);
            }
        }
        Ok(true)
    }

    /// After a read that failed: `Ok` when that may have been because a writer has removed a file meanwhile, or a part of one, and the
    /// read may be tried again.
    #[cold]
    pub(crate) fn look_again(&self, error: lsm_types::Error) -> Result<()> {
        // A writer gives back the front of a file that its newest version has no use for: that reads as zeros then.
        let is_stale = error.is_corruption() && matches!(self.refresh(), Ok(true));
        if is_stale || (is_vanished(&error) && self.refresh().is_ok()) { Ok(()) } else { Err(error) }
    }
}

/// Whether a read failed because a file is gone, or is being cut before it goes.
pub(super) fn is_vanished(error: &lsm_types::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<IoError>() {
            return matches!(error.kind, IoKind::NotFound | IoKind::UnexpectedEof);
        }
        cause = error.source();
    }
    false
}
