//! Making folders so that they are there after a crash (D-28).

use std::path::{Path, PathBuf};

use lsm_fs::{Fs, SyncLevel};
use lsm_journal::Folder;
use lsm_types::{IoKind, Result};

use super::Place;

/// Makes the root and every missing folder above it, each durable before the next is used.
pub(super) fn create_root(place: Place<'_>, sync: SyncLevel) -> Result<()> {
    let missing: Vec<PathBuf> = place
        .root
        .ancestors()
        .take_while(|path| !place.fs.exists(path).unwrap_or(true))
        .map(Path::to_path_buf)
        .collect();
    for path in missing.iter().rev() {
        make_folder(place.fs, path, sync)?;
    }
    Ok(())
}

pub(super) fn ensure_folder(place: Place<'_>, folder: Folder, sync: SyncLevel) -> Result<()> {
    let path = folder.path(place.root);
    if place.fs.exists(&path)? { Ok(()) } else { make_folder(place.fs, &path, sync) }
}

fn make_folder(fs: &dyn Fs, path: &Path, sync: SyncLevel) -> Result<()> {
    let created = match fs.create_dir(path) {
        Err(error) if error.kind != IoKind::AlreadyExists => return Err(error.into()),
        created => created.is_ok(),
    };
    if let Some(parent) = path.parent()
        && let Err(error) = fs.sync_dir(parent, sync)
    {
        // A name that a failed sync dropped may be there to be seen, and no later sync makes it durable. Whoever
        // tries again has to find nothing, and give the name anew.
        if created {
            let _ = fs.remove_dir(path);
        }
        return Err(error.into());
    }
    Ok(())
}
