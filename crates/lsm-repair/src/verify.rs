//! The one way in: what to check, how deep, and how.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_block::{BlockError, Superblock};
use lsm_fs::{Fs, OpenOptions};
use lsm_journal::{FileName, Folder, Generation};
use lsm_manifest::{TableDescriptor, TreeIdentity};
use lsm_types::{FileKind, FileUuid, KeyOrder, Level, Location, PrefixExtractor, Result, TableId, TreeId};

use crate::{
    Depth, RepairError, VerifyOptions, VerifyReport,
    directory::{Directory, stored_order},
    generation::{self, Known},
    meter::Meter,
    pool,
    report::TablePlace,
    table::{Expected, Subject},
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
    /// Tables that the caller keeps from being removed: those of an open tree.
    Tables {
        /// Where they live.
        fs: &'a Arc<dyn Fs>,
        /// The database.
        database: FileUuid,
        /// The tables, in any order.
        tables: Vec<LiveTable>,
    },
    /// One file by itself: a table or a copy of a manifest generation.
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
        Scope::Tables { fs, database, tables } => {
            let mut subjects: Vec<Subject> =
                tables.iter().filter_map(|table| live(table, *database, options)).collect();
            subjects.sort_by_key(|subject| subject.id);
            let meter = Meter::new(options);
            let mut report = VerifyReport::new(depth);
            pool::run(fs.as_ref(), &subjects, depth, &meter, &mut report);
            Ok(report)
        }
        Scope::File { fs, path } => file(fs.as_ref(), path, depth, options),
    }
}

fn live(table: &LiveTable, database: FileUuid, options: &VerifyOptions<'_>) -> Option<Subject> {
    let LiveTable { tree, level, descriptor, order, prefix_extractor, root } = table;
    let is_next = options.resume.is_none_or(|cursor| descriptor.id >= cursor.table);
    if !is_next || !options.selection.has(*tree, *level, descriptor, order) {
        return None;
    }
    let place = TablePlace { table: descriptor.id, tree: *tree, level: *level };
    let file = FileName::Table(descriptor.id);
    Some(Subject {
        id: descriptor.id,
        name: PathBuf::from(file.folder().name()).join(file.to_string()),
        path: file.path(root),
        expected: Some(Expected { place, database, descriptor: descriptor.clone() }),
        order: order.clone(),
        prefix_extractor: prefix_extractor.clone(),
    })
}

/// A file by itself: its head says what it is, or else its name.
fn file(fs: &dyn Fs, path: &Path, depth: Depth, options: &VerifyOptions<'_>) -> Result<VerifyReport> {
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
    let order = stored_order(fs, path, options);
    let subject = Subject {
        id: TableId::new(0),
        name: path.to_path_buf(),
        path: path.to_path_buf(),
        expected: None,
        order,
        prefix_extractor: None,
    };
    pool::run(fs, &[subject], depth, &meter, &mut report);
    // A file of ours may be damaged beyond recognition; then its name still tells.
    let is_named = path.file_name().is_some_and(|name| FileName::parse(Folder::Tables, name).is_some());
    if let Err(error @ BlockError::NotOurs { .. }) = head(fs, path)?
        && !is_named
        && report.frames == 0
    {
        return Err(error.into());
    }
    Ok(report)
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
