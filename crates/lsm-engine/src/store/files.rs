//! The table files of a directory, held against the manifest: what is missing, and what nobody names.

use std::{ffi::OsString, path::Path};

use lsm_fs::{EntryKind, SyncLevel};
use lsm_journal::{FileName, Folder, FoundFile, HighWater};
use lsm_manifest::Catalog;
use lsm_table::{FileHead, read_head};
use lsm_types::{FileKind, FileUuid, IoKind, Result, TableId};

use super::Place;
use crate::{EngineError, OrphanPolicy};

/// More orphans than this are not deleted but set aside: something else than a crash left them.
const FUSE_FILES: usize = 64;
/// Neither are orphans of more than one in so many bytes of the live files.
const FUSE_FRACTION: u64 = 4;

/// What lay in the folder of the tables besides what the manifest names.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesReport {
    /// Files of ours that no version names, and that were deleted.
    pub deleted: Vec<TableId>,
    /// Files of ours that no version names, and that were moved to `quarantine/`.
    pub quarantined: Vec<TableId>,
    /// Files of ours that no version names, and that stay.
    pub kept: Vec<TableId>,
    /// Names that are not ours; never touched.
    pub foreign: Vec<OsString>,
    /// Whether there were so many orphans that they were set aside instead of deleted.
    pub fuse_blown: bool,
}

/// Files of ours that no version names.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    files: Vec<(TableId, u64)>,
    live_bytes: u64,
    foreign: Vec<OsString>,
}

/// Holds the folder against the manifest. Changes nothing.
///
/// # Errors
/// `MissingFiles`, `FileLengthMismatch`; `ManifestRegression` when a file is newer than the manifest.
pub(super) fn check(
    place: Place<'_>,
    catalog: &Catalog,
    database: FileUuid,
    high_water: HighWater,
) -> Result<Orphans> {
    let folder = Folder::Tables.path(place.root);
    let entries = match place.fs.read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind == IoKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut orphans = Orphans::default();
    let mut found = 0_usize;
    for entry in entries {
        let id = match FileName::parse(Folder::Tables, &entry.name) {
            Some(FileName::Table(id)) if entry.kind == EntryKind::File => id,
            _ => {
                orphans.foreign.push(entry.name);
                continue;
            }
        };
        let path = folder.join(&entry.name);
        let len = place.fs.metadata(&path)?.len;
        match catalog.table(id) {
            Some(table) => {
                found += 1;
                if table.file_len != len {
                    let file = entry.name.to_string_lossy().into_owned();
                    return Err(EngineError::FileLengthMismatch {
                        file,
                        expected: table.file_len,
                        found: len,
                    }
                    .into());
                }
                orphans.live_bytes += len;
            }
            None => orphans.consider(place, &path, (id, len), database, high_water)?,
        }
    }
    if found < catalog.table_count() {
        return Err(missing(place, catalog));
    }
    Ok(orphans)
}

fn missing(place: Place<'_>, catalog: &Catalog) -> lsm_types::Error {
    let gone = |id: &TableId| !place.fs.exists(&FileName::Table(*id).path(place.root)).unwrap_or(false);
    let tables = catalog.trees().flat_map(|(_, version)| version.levels.tables()).map(|(_, table)| table.id);
    let gone: Vec<TableId> = tables.filter(gone).collect();
    let first = gone.first().map(|id| FileName::Table(*id).to_string()).unwrap_or_default();
    EngineError::MissingFiles { count: gone.len(), first }.into()
}

impl Orphans {
    /// A file that is named like one of ours is ours when its head says so, or when it never got one.
    fn consider(
        &mut self,
        place: Place<'_>,
        path: &Path,
        (id, len): (TableId, u64),
        database: FileUuid,
        high_water: HighWater,
    ) -> Result<()> {
        let created_edit = match read_head(place.fs, path)? {
            FileHead::Ours { database: owner, created_edit } if owner == database => Some(created_edit),
            FileHead::Unwritten => None,
            _ => {
                self.foreign.extend(path.file_name().map(Into::into));
                return Ok(());
            }
        };
        high_water.check(&FoundFile { kind: FileKind::Table, id: id.get(), created_edit })?;
        self.files.push((id, len));
        Ok(())
    }

    /// Does with the orphans what the policy says. What fails is left for the next open.
    pub(super) fn sweep(self, place: Place<'_>, policy: OrphanPolicy, sync: SyncLevel) -> FilesReport {
        let bytes: u64 = self.files.iter().map(|(_, len)| len).sum();
        let is_many = self.files.len() > FUSE_FILES && bytes > self.live_bytes / FUSE_FRACTION;
        let fuse_blown = is_many && policy == OrphanPolicy::Delete;
        let policy = if fuse_blown { OrphanPolicy::Quarantine } else { policy };
        let mut report = FilesReport { foreign: self.foreign, fuse_blown, ..FilesReport::default() };
        for (id, _) in self.files {
            let path = FileName::Table(id).path(place.root);
            let list = match policy {
                OrphanPolicy::Delete if place.fs.remove_file(&path).is_ok() => &mut report.deleted,
                OrphanPolicy::Quarantine if set_aside(place, id).is_ok() => &mut report.quarantined,
                _ => &mut report.kept,
            };
            list.push(id);
        }
        if !report.deleted.is_empty() || !report.quarantined.is_empty() {
            let _ = place.fs.sync_dir(&Folder::Tables.path(place.root), sync);
        }
        report
    }
}

fn set_aside(place: Place<'_>, id: TableId) -> Result<()> {
    let folder = Folder::Quarantine.path(place.root);
    place.fs.create_dir_all(&folder)?;
    place.fs.rename(&FileName::Table(id).path(place.root), &folder.join(FileName::Table(id).to_string()))?;
    Ok(())
}
