//! Telling whose a file is, and whether its key is at hand, without knowing anything about it.

use std::path::Path;

use lsm_block::{BlockError, Encryption, KeyId, Superblock};
use lsm_fs::{Fs, OpenOptions};
use lsm_types::{EditIndex, FileKind, FileUuid, Location, Result, TreeId};

/// What the front of a file says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileHead {
    /// It belongs to a database of ours.
    Ours {
        /// The database.
        database: FileUuid,
        /// The tree; 0 for files of the whole database.
        tree: TreeId,
        /// Last edit of the manifest when the file was begun.
        created_edit: EditIndex,
        /// The key under which the file is sealed; `None` for a plain one.
        key: Option<KeyId>,
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
        tree: head.identity.tree,
        created_edit: head.edit_index,
        key: head.sealing.map(|sealing| sealing.key),
    }))
}

/// Makes sure that the key of the file at `path` is at hand and the right one, or that it may be plain. A damaged head is
/// left to whoever reads the file, which has copies of it.
///
/// # Errors
/// `KeyRequired`, `UnknownKey`, `WrongKey`, `PlaintextRejected`; what the system says.
pub fn check_key(fs: &dyn Fs, path: &Path, encryption: Option<&Encryption>) -> Result<()> {
    let file = fs.open(path, &OpenOptions::READ)?;
    let mut bytes = [0; Superblock::LEN];
    file.read_at(0, &mut bytes)?;
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    match Superblock::decode(at, &bytes).and_then(|head| head.transforms(encryption)) {
        Err(
            error @ (BlockError::Key { .. }
            | BlockError::KeyRequired { .. }
            | BlockError::PlaintextRejected { .. }),
        ) => Err(error.into()),
        _ => Ok(()),
    }
}
