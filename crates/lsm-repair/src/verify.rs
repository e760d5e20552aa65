//! The one way in: what to check, how deep, and how.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_block::{BlockError, Superblock};
use lsm_fs::{Fs, OpenOptions};
use lsm_journal::{FileName, Folder, Generation};
use lsm_manifest::{LiveVlog, TableDescriptor, TreeIdentity};
use lsm_types::{
    FileKind, FileUuid, KeyOrder, Level, Location, PrefixExtractor, Result, TableId, TreeId, VlogId,
};

use crate::{
    Depth, RepairError, VerifyOptions, VerifyReport,
    directory::{Directory, stored_order},
    generation::{self, Known},
    items::{Items, lone_log, lone_table},
    meter::Meter,
    pool::{self, Item},
    table::Subject,
};

/// What is checked.
#[derive(Clone, Debug)]
pub enum Scope<'a> {
    /// The directory of a database, or a copy of one. Nothing in it is changed, and a writer may be at work.
    Directory {
        /// Where it lives.
        fs: &'a Arc<dyn Fs>,
        /// The directory.
        root: &'a Path,
    },
    /// Tables and value logs that the caller keeps from being removed: those of an open tree.
    Tables {
        /// Where they live.
        fs: &'a Arc<dyn Fs>,
        /// The database.
        database: FileUuid,
        /// The tables, in any order.
        tables: Vec<LiveTable>,
        /// The value logs they refer to, tree by tree.
        values: Vec<LiveValues>,
    },
    /// One file by itself: a table, a value log or a copy of a manifest generation.
    File {
        /// Where it lives.
        fs: &'a Arc<dyn Fs>,
        /// The file.
        path: &'a Path,
    },
}

/// A table of an open tree.
#[derive(Clone)]
pub struct LiveTable {
    /// The tree.
    pub tree: TreeId,
    /// The level.
    pub level: Level,
    /// What the manifest says about it.
    pub descriptor: Arc<TableDescriptor>,
    /// Order of its keys.
    pub order: KeyOrder,
    /// What names the prefixes in its filters, where the tree has such.
    pub prefix_extractor: Option<Arc<dyn PrefixExtractor>>,
    /// The directory in whose folder of tables it lies.
    pub root: PathBuf,
}

/// The value logs of an open tree.
#[derive(Clone, Debug)]
pub struct LiveValues {
    /// The tree.
    pub tree: TreeId,
    /// What the manifest says about them.
    pub logs: Vec<LiveVlog>,
    /// Order of their keys.
    pub order: KeyOrder,
    /// The directory in whose folder of value logs they lie.
    pub root: PathBuf,
}

impl std::fmt::Debug for LiveTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LiveTable({} in level {} of tree {})", self.descriptor.id, self.level, self.tree)
    }
}

/// Checks what `scope` names, down to `depth`, and goes on after everything it finds wrong.
///
/// Reads through the file system it is given, past any cache, and changes nothing. Memory: one frame and a few
/// pages of findings for each thread, and one manifest generation.
///
/// # Errors
/// Only what keeps the check from beginning: `NotFound` where no database is, `ComparatorMismatch` for a tree whose
/// comparator is not at hand, `UnsupportedFormat` for the manifest of a later version, `NotOurs` for a single file
/// that is none of ours, what the file system says about the directory or the file itself. Damage is in the report.
pub fn verify(scope: &Scope<'_>, depth: Depth, options: &VerifyOptions<'_>) -> Result<VerifyReport> {
    match scope {
        Scope::Directory { fs, root } => Directory { fs, root, depth, options }.check(),
        Scope::Tables { fs, database, tables, values } => {
            let mut items = Items::new(options);
            for values in values {
                items.tree(values, *database);
            }
            for table in tables {
                items.table(table, *database);
            }
            let meter = Meter::new(options);
            let mut report = VerifyReport::new(depth);
            pool::run(fs.as_ref(), &items.finish(), depth, &meter, &mut report);
            Ok(report)
        }
        Scope::File { fs, path } => file(fs, path, depth, options),
    }
}

/// A file by itself: its head says what it is, or else its name.
fn file(
    shared: &Arc<dyn Fs>,
    path: &Path,
    depth: Depth,
    options: &VerifyOptions<'_>,
) -> Result<VerifyReport> {
    let fs = shared.as_ref();
    let meter = Meter::new(options);
    let mut report = VerifyReport::new(depth);
    if let Some(number) = manifest_number(fs, path)? {
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let orders = |_: TreeId, identity: &TreeIdentity| options.order(&identity.comparator);
        let name = path.file_name().unwrap_or_default();
        let is_primary = matches!(FileName::parse(Folder::Root, name), Some(FileName::Manifest(_)));
        let is_there = (is_primary, !is_primary);
        let known = Known { generation: number, database: None, is_used: true, is_there };
        let checked = generation::check(fs, folder, &known, &orders, depth, &meter);
        // The other copy is no part of what was asked for.
        for file in checked.files.into_iter().filter(|file| file.file.as_os_str() == name) {
            report.take(file);
        }
        return Ok(report);
    }
    let item = if is_value_log(fs, path)? {
        Item::ValueLog(lone_log(VlogId::new(0), path.to_path_buf(), path.to_path_buf()))
    } else {
        let order = stored_order(fs, path, options);
        let table = lone_table(TableId::new(0), path.to_path_buf(), path.to_path_buf(), order);
        let expected =
            beside(path).and_then(|(root, id)| Directory { fs: shared, root, depth, options }.restricted(id));
        Item::Table(Subject { expected, ..table })
    };
    pool::run(fs, &[item], depth, &meter, &mut report);
    // A file of ours may be damaged beyond recognition; then its name still tells.
    let is_named = path.file_name().is_some_and(|name| {
        [Folder::Tables, Folder::Blobs].into_iter().any(|folder| FileName::parse(folder, name).is_some())
    });
    if let Err(error @ BlockError::NotOurs { .. }) = head(fs, path)?
        && !is_named
        && report.frames == 0
    {
        return Err(error.into());
    }
    Ok(report)
}

/// The directory of the database that a table lies in, by its name and that of its folder.
fn beside(path: &Path) -> Option<(&Path, TableId)> {
    let folder = path.parent()?;
    let is_folder = folder.file_name().is_some_and(|name| name == Folder::Tables.name());
    match FileName::parse(Folder::Tables, path.file_name()?) {
        Some(FileName::Table(id)) if is_folder => Some((folder.parent()?, id)),
        _ => None,
    }
}

/// Whether a file holds separated values, by its head or else by its name.
fn is_value_log(fs: &dyn Fs, path: &Path) -> Result<bool> {
    let is_named = path.file_name().is_some_and(|name| FileName::parse(Folder::Blobs, name).is_some());
    Ok(head(fs, path)?.map_or(is_named, |head| head.identity.kind == FileKind::ValueLog))
}

/// The number of a file that is a copy of a manifest generation, under the name of one.
fn manifest_number(fs: &dyn Fs, path: &Path) -> Result<Option<Generation>> {
    let is_manifest = head(fs, path)?.is_ok_and(|head| head.identity.kind == FileKind::Manifest);
    match path.file_name().and_then(|name| FileName::parse(Folder::Root, name)) {
        Some(FileName::Manifest(number) | FileName::Mirror(number)) => Ok(Some(number)),
        _ if is_manifest => {
            let what = "a manifest under a name that is not that of one";
            Err(RepairError::NotChecked { what }.into())
        }
        _ => Ok(None),
    }
}

/// What stands at the head of a file; what is missing of it counts as zeros.
fn head(fs: &dyn Fs, path: &Path) -> Result<Result<Superblock, BlockError>> {
    let mut bytes = [0; Superblock::LEN];
    fs.open(path, &OpenOptions::READ)?.read_at(0, &mut bytes)?;
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    Ok(Superblock::decode(at, &bytes))
}
