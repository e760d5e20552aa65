//! Telling whose a file is without knowing anything about it.

use std::path::Path;

use lsm_block::Superblock;
use lsm_fs::{Fs, OpenOptions};
use lsm_types::{EditIndex, FileKind, FileUuid, Location, Result};

/// What the front of a file says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileHead {
    /// It belongs to a database of ours.
    Ours {
        /// The database.
        database: FileUuid,
        /// Last edit of the manifest when the file was begun.
        created_edit: EditIndex,
    },
    /// Its head never reached the disk: the file is too short, or has zeros where the head would be.
    Unwritten,
    /// It is something else.
    Foreign,
}

/// The head of the file at `path`.
///
/// # Errors
/// What the system says about opening or reading it.
pub fn read_head(fs: &dyn Fs, path: &Path) -> Result<FileHead> {
    let file = fs.open(path, &OpenOptions::READ)?;
    let mut bytes = [0; Superblock::LEN];
    let len = file.read_at(0, &mut bytes)?;
    if len < bytes.len() || bytes.iter().all(|byte| *byte == 0) {
        return Ok(FileHead::Unwritten);
    }
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    Ok(Superblock::decode(at, &bytes).map_or(FileHead::Foreign, |head| FileHead::Ours {
        database: head.identity.database,
        created_edit: head.edit_index,
    }))
}
