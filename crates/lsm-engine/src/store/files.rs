//! The table files of a database, held against the manifest: what is missing, and what nobody names. Changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsString,
    path::Path,
    sync::Arc,
};

use lsm_fs::{EntryKind, Fs};
use lsm_journal::{FileName, Folder, FoundFile, HighWater};
use lsm_manifest::{Catalog, TableDescriptor};
use lsm_table::{FileHead, read_head};
use lsm_types::{
    EditIndex, FileKind, FileUuid, IoKind, KeyRange, Level, Result, RouteId, TableId, TreeId, VectorId,
    VlogId,
};

use super::Place;
use crate::EngineError;

/// A table, delete vector or value log that the manifest names and whose file is not there, or not as it was.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFile {
    /// Whether it held a table, its dead rows, or values.
    pub kind: FileKind,
    /// Its number; of a delete vector that of the table, which cannot be read without.
    pub table: TableId,
    /// The tree it belongs to.
    pub tree: TreeId,
    /// Its level; 0 for a value log.
    pub level: Level,
    /// Where its file belongs.
    pub route: RouteId,
    /// Smallest and largest key of its entries.
    pub keys: Option<KeyRange>,
    /// Bytes that the manifest expects.
    pub expected: u64,
    /// Bytes that are there; `None` when there is no file.
    pub found: Option<u64>,
    /// The table is there, and values that it leads to are not: they should lie in this value log.
    pub values_in: Option<VlogId>,
}

/// What lies in the folders of the tables.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Tables without a file, or with one of another length.
    pub(super) lost: Vec<LostFile>,
    /// Files of ours that no version names.
    pub(super) strays: Vec<Stray>,
    /// Names that are not ours.
    pub(super) foreign: Vec<OsString>,
    /// Bytes of the files that versions name.
    pub(super) live_bytes: u64,
}

/// A file of ours that no version names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    /// Table, delete vector or value log; these share their numbers.
    pub(super) kind: FileKind,
    pub(super) id: TableId,
    /// Where it lies.
    pub(super) route: RouteId,
    pub(super) len: u64,
    /// Last edit when it was begun; `None` when its head never reached the disk.
    pub(super) created_edit: Option<EditIndex>,
}

/// The delete vectors that were not found yet, each with its table.
type Vectors = HashMap<VectorId, Arc<TableDescriptor>>;

impl Survey {
    /// Holds the folders against the manifest.
    ///
    /// # Errors
    /// What the system says; what is found is no error here.
    pub(super) fn take(place: Place<'_>, catalog: &Catalog, database: FileUuid) -> Result<Self> {
        let mut survey = Self::default();
        let mut found = HashSet::new();
        let tables = catalog.trees().flat_map(|(_, version)| version.levels.tables());
        let vectors = tables.filter_map(|(_, table)| Some((table.vector.as_ref()?.id, table.clone())));
        let mut vectors: Vectors = vectors.collect();
        for (route, root) in place.routes.roots(place.root) {
            survey.look_into(place.fs, (route, root), (catalog, database), &mut found, &mut vectors)?;
        }
        survey.lost.extend(vectors.values().filter_map(|table| lost_vector(catalog, table, None)));
        survey.look_for_values(place, catalog, database)?;
        if found.len() < catalog.table_count() {
            let tables = catalog.trees().flat_map(|(_, version)| version.levels.tables());
            let gone = tables.filter(|(_, table)| !found.contains(&table.id));
            survey.lost.extend(gone.filter_map(|(_, table)| lost(catalog, table, None)));
        }
        survey.lost.sort_by_key(|lost| lost.table);
        survey.strays.sort_by_key(|stray| stray.id);
        survey.foreign.sort();
        Ok(survey)
    }

    fn look_into(
        &mut self,
        fs: &dyn Fs,
        (route, root): (RouteId, &Path),
        (catalog, database): (&Catalog, FileUuid),
        found: &mut HashSet<TableId>,
        vectors: &mut Vectors,
    ) -> Result<()> {
        let folder = Folder::Tables.path(root);
        let entries = match fs.read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind == IoKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let (kind, id) = match FileName::parse(Folder::Tables, &entry.name) {
                Some(FileName::Table(id)) if entry.kind == EntryKind::File => (FileKind::Table, id),
                Some(FileName::DeleteVector(id)) if entry.kind == EntryKind::File => {
                    (FileKind::DeleteVector, TableId::new(id.get()))
                }
                _ => {
                    self.foreign.push(entry.name);
                    continue;
                }
            };
            let path = folder.join(&entry.name);
            let len = fs.metadata(&path)?.len;
            if kind == FileKind::DeleteVector {
                let vector = VectorId::new(id.get());
                if vectors.get(&vector).is_some_and(|table| table.route == route)
                    && let Some(table) = vectors.remove(&vector)
                {
                    self.live_bytes += len;
                    if table.vector.as_ref().is_some_and(|vector| vector.file_len != len) {
                        self.lost.extend(lost_vector(catalog, &table, Some(len)));
                    }
                    continue;
                }
            } else if let Some(table) = catalog.table(id) {
                if table.route != route {
                    self.foreign.push(entry.name); // somebody's copy: ours lies elsewhere
                    continue;
                }
                found.insert(id);
                self.live_bytes += len;
                if table.file_len != len {
                    self.lost.extend(lost(catalog, table, Some(len)));
                }
                continue;
            }
            match read_head(fs, &path)? {
                FileHead::Ours { database: owner, created_edit, .. } if owner == database => {
                    self.strays.push(Stray { kind, id, route, len, created_edit: Some(created_edit) });
                }
                FileHead::Unwritten => {
                    self.strays.push(Stray { kind, id, route, len, created_edit: None });
                }
                _ => self.foreign.push(entry.name),
            }
        }
        Ok(())
    }

    /// The same for value logs, which all lie in the directory of the database.
    fn look_for_values(&mut self, place: Place<'_>, catalog: &Catalog, database: FileUuid) -> Result<()> {
        let (fs, folder) = (place.fs, Folder::Blobs.path(place.root));
        let mut wanted: BTreeMap<VlogId, (TreeId, u64)> = BTreeMap::new();
        for (tree, version) in catalog.trees() {
            wanted.extend(version.vlogs.iter().map(|log| (log.vlog.id, (tree, log.vlog.file_len))));
        }
        let entries = match fs.read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind == IoKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let id = match FileName::parse(Folder::Blobs, &entry.name) {
                Some(FileName::ValueLog(id)) if entry.kind == EntryKind::File => id,
                _ => {
                    self.foreign.push(entry.name);
                    continue;
                }
            };
            let path = folder.join(&entry.name);
            let len = fs.metadata(&path)?.len;
            if let Some((tree, expected)) = wanted.remove(&id) {
                self.live_bytes += len;
                if expected != len {
                    self.lost.push(lost_values(tree, id, expected, Some(len)));
                }
                continue;
            }
            let (kind, id, route) = (FileKind::ValueLog, TableId::new(id.get()), RouteId::PRIMARY);
            match read_head(fs, &path)? {
                FileHead::Ours { database: owner, created_edit, .. } if owner == database => {
                    self.strays.push(Stray { kind, id, route, len, created_edit: Some(created_edit) });
                }
                FileHead::Unwritten => self.strays.push(Stray { kind, id, route, len, created_edit: None }),
                _ => self.foreign.push(entry.name),
            }
        }
        let gone = wanted.into_iter().map(|(id, (tree, expected))| lost_values(tree, id, expected, None));
        self.lost.extend(gone);
        Ok(())
    }

    /// # Errors
    /// `ManifestRegression` when a file is newer than the manifest, `MissingFiles`, `FileLengthMismatch`.
    pub(super) fn check(&self, high_water: HighWater) -> Result<()> {
        for stray in &self.strays {
            high_water.check(&stray.found())?;
        }
        let gone: Vec<LostFile> = self.lost.iter().filter(|lost| lost.found.is_none()).cloned().collect();
        if !gone.is_empty() {
            return Err(EngineError::MissingFiles { files: gone }.into());
        }
        match self.lost.first() {
            Some(LostFile { table, expected, found: Some(found), .. }) => {
                Err(EngineError::FileLengthMismatch { table: *table, expected: *expected, found: *found }
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// Tables that no version names, those that cannot be read too.
    pub(super) fn tables(&self) -> BTreeSet<TableId> {
        let tables = self.strays.iter().filter(|stray| stray.kind == FileKind::Table);
        tables.map(|stray| stray.id).collect()
    }

    /// Strays that were made after the last edit of the manifest.
    pub(super) fn newer(&self, high_water: HighWater) -> Vec<TableId> {
        let newer = self.strays.iter().filter(|stray| high_water.check(&stray.found()).is_err());
        newer.map(|stray| stray.id).collect()
    }
}

impl Stray {
    /// Its name.
    pub(super) fn name(&self) -> FileName {
        match self.kind {
            FileKind::ValueLog => FileName::ValueLog(VlogId::new(self.id.get())),
            FileKind::DeleteVector => FileName::DeleteVector(VectorId::new(self.id.get())),
            _ => FileName::Table(self.id),
        }
    }

    fn found(&self) -> FoundFile {
        FoundFile { kind: self.kind, id: self.id.get(), created_edit: self.created_edit }
    }
}

fn lost_values(tree: TreeId, id: VlogId, expected: u64, found: Option<u64>) -> LostFile {
    let (kind, table, level) = (FileKind::ValueLog, TableId::new(id.get()), Level::new(0));
    LostFile {
        kind,
        table,
        tree,
        level,
        route: RouteId::PRIMARY,
        keys: None,
        expected,
        found,
        values_in: None,
    }
}

/// A table that cannot be read, its delete vector being gone or cut.
fn lost_vector(catalog: &Catalog, table: &TableDescriptor, found: Option<u64>) -> Option<LostFile> {
    let expected = table.vector.as_ref()?.file_len;
    Some(LostFile { kind: FileKind::DeleteVector, expected, ..lost(catalog, table, found)? })
}

pub(super) fn lost(catalog: &Catalog, table: &TableDescriptor, found: Option<u64>) -> Option<LostFile> {
    let (tree, level, _) = catalog.place(table.id)?;
    let (route, expected, keys) = (table.route, table.file_len, table.entries.clone());
    Some(LostFile {
        kind: FileKind::Table,
        table: table.id,
        tree,
        level,
        route,
        keys,
        expected,
        found,
        values_in: None,
    })
}
