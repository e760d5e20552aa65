//! Opening databases, such that nothing is ever changed in a directory that is none.

use std::{fs, path::Path, sync::Arc};

use lsm::{
    ErrorKind,
    tree::{ColumnPolicy, Encryption, EventListener, NameMismatch, OpenMode, Tree, TreeOptions, VlogPolicy},
};

use crate::{columns, failure::Failure, keys::Keys};

/// Opens a database for reading. Takes no lock, writes nothing, works while another program writes.
pub(crate) fn open_to_read(path: &Path, keys: &Keys) -> Result<Tree, Failure> {
    open(path, OpenMode::ReadOnly, keys.encryption()?, None)
}

/// Opens a database that must be there.
pub(crate) fn open_existing(path: &Path, keys: &Keys) -> Result<Tree, Failure> {
    open_existing_with(path, keys.encryption()?)
}

/// As [`open_existing`], with keys that were looked at already.
pub(crate) fn open_existing_with(path: &Path, encryption: Option<Encryption>) -> Result<Tree, Failure> {
    // The engine would find out, but only behind the lock file.
    if !holds_manifest(path) {
        return Err(Failure::NoDatabase { path: path.to_owned() });
    }
    open(path, OpenMode::MustExist, encryption, None)
}

/// As [`open_existing`], and has `listener` told what goes on.
pub(crate) fn open_existing_told(
    path: &Path,
    keys: &Keys,
    listener: Arc<dyn EventListener>,
) -> Result<Tree, Failure> {
    let encryption = keys.encryption()?;
    if !holds_manifest(path) {
        return Err(Failure::NoDatabase { path: path.to_owned() });
    }
    let options = options(path, OpenMode::MustExist, encryption);
    open_with(path, options.store(|store| store.listener(listener)), None)
}

/// Opens a database, or creates one where there is nothing at all.
///
/// * `columns`: what its values are to be split into; without it, what they were.
pub(crate) fn open_or_create(
    path: &Path,
    keys: &Keys,
    columns: Option<ColumnPolicy>,
) -> Result<Tree, Failure> {
    let encryption = keys.encryption()?;
    if !holds_manifest(path) && holds_foreign_files(path)? {
        return Err(Failure::Occupied { path: path.to_owned() });
    }
    open(path, OpenMode::CreateIfMissing, encryption, columns)
}

fn open(
    path: &Path,
    mode: OpenMode,
    encryption: Option<Encryption>,
    columns: Option<ColumnPolicy>,
) -> Result<Tree, Failure> {
    open_with(path, options(path, mode, encryption), columns)
}

fn options(path: &Path, mode: OpenMode, encryption: Option<Encryption>) -> TreeOptions {
    TreeOptions::new(path).store(|store| match encryption {
        Some(encryption) => store.mode(mode).encryption(encryption),
        None => store.mode(mode),
    })
}

/// The program brings no merge operator: it shows the newest operand of a key, and keeps all of them.
fn open_with(path: &Path, options: TreeOptions, columns: Option<ColumnPolicy>) -> Result<Tree, Failure> {
    let mut options = options.on_name_mismatch(NameMismatch::Warn);
    let is_told = columns.is_some();
    if let Some(columns) = columns {
        options = options.columns(columns);
    }
    let failed = |source: lsm::Error| match source.kind() {
        ErrorKind::NotFound => Failure::NoDatabase { path: path.to_owned() },
        _ => Failure::Open { path: path.to_owned(), source },
    };
    // Whether its values are separated, and what they are split into, is known once it is looked at.
    let mut opened = Tree::open(options.clone());
    if opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::OptionMismatch) {
        options = options.separation(VlogPolicy::default());
        opened = Tree::open(options.clone());
    }
    let tree = opened.map_err(failed)?;
    if is_told {
        return Ok(tree);
    }
    let Some(schema) = columns::schema_of(&tree).map_err(failed)? else { return Ok(tree) };
    let policy = columns::policy(schema).map_err(failed)?;
    tree.close().map_err(failed)?;
    Tree::open(options.columns(policy)).map_err(failed)
}

fn is_manifest(name: &str) -> bool {
    name.starts_with("CURRENT") || name.starts_with("MANIFEST-")
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn holds_manifest(path: &Path) -> bool {
    names(path).iter().any(|name| is_manifest(name))
}

/// Whether something lies at `path` that a database which was never finished would not leave there.
fn holds_foreign_files(path: &Path) -> Result<bool, Failure> {
    let failed = |source| Failure::Folder { path: path.to_owned(), source };
    if !path.try_exists().map_err(failed)? {
        return Ok(false);
    }
    fs::read_dir(path).map_err(failed)?;
    Ok(names(path).iter().any(|name| name != "LOCK" && name != "tables"))
}
