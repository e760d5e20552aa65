//! The guard against a manifest that went back in time (D-24).

use lsm_types::{EditIndex, FileKind};

use crate::JournalError;

/// How far the manifest has come: whatever lies beyond was made after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HighWater {
    /// File numbers below this one may have been used.
    pub reserved_ids: u64,
    /// The last edit.
    pub last_edit: EditIndex,
}

/// What a file that was found says about its making.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundFile {
    /// Kind of the file.
    pub kind: FileKind,
    /// Its number.
    pub id: u64,
    /// Last edit when it was begun; `None` when its header cannot be read.
    pub created_edit: Option<EditIndex>,
}

impl HighWater {
    /// Refuses a file that can only have been made after the manifest's last edit: newer edits were lost, and
    /// nothing may be deleted on the word of what is left.
    ///
    /// # Errors
    /// [`JournalError::FileFromTheFuture`], of kind `ManifestRegression`.
    pub fn check(&self, file: &FoundFile) -> Result<(), JournalError> {
        let is_newer = file.created_edit.is_some_and(|edit| edit > self.last_edit);
        if file.id < self.reserved_ids && !is_newer {
            return Ok(());
        }
        Err(JournalError::FileFromTheFuture { file: *file, high_water: *self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_types::{ErrorKind, Fault};

    #[track_caller]
    fn check(id: u64, created_edit: Option<u64>, fits: bool) {
        let high_water = HighWater { reserved_ids: 100, last_edit: EditIndex::new(7) };
        let created_edit = created_edit.map(EditIndex::new);
        let checked = high_water.check(&FoundFile { kind: FileKind::Table, id, created_edit });
        assert_eq!(checked.is_ok(), fits);
        assert!(checked.err().is_none_or(|error| error.kind() == ErrorKind::ManifestRegression));
    }

    /// Proves D-24.
    #[test]
    fn files_of_later_edits_are_refused() {
        check(99, Some(7), true);
        check(99, None, true);
        check(100, Some(7), false);
        check(100, None, false);
        check(3, Some(8), false);
    }
}
