//! What became of a damaged database, judged against what it held.

use std::{fmt, path::Path, sync::Arc};

use lsm_engine::{Reader, Tree};
use lsm_fs::Fs;
use lsm_repair::{Depth, Scope, VerifyOptions, verify};
use lsm_types::{Error, ErrorClass, ErrorKind, SeqNo};

use crate::common::sealed::encryption;
use crate::disk::{Contents, Database, Files, ROOT, contents, files, mount};

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Outcome {
    /// It opens and holds everything.
    Full,
    /// It opens and holds everything it held durably at an earlier moment.
    Older,
    /// It does not open, and the directory is as it was.
    Refused(Kind),
    /// It opens, and some reads fail; the others are right.
    ReadFails(Kind),
}

/// A kind of error that can be put in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Corruption,
    MissingFiles,
    Length,
    Identity,
    Regression,
    Partial,
}

impl Kind {
    /// Only kinds that say what happened to the files.
    fn of(error: &Error) -> Result<Self, String> {
        match error.kind() {
            ErrorKind::Corruption(_) | ErrorKind::Truncated => Ok(Self::Corruption),
            ErrorKind::MissingFiles => Ok(Self::MissingFiles),
            ErrorKind::FileLengthMismatch => Ok(Self::Length),
            ErrorKind::FileIdentityMismatch => Ok(Self::Identity),
            ErrorKind::ManifestRegression => Ok(Self::Regression),
            ErrorKind::PartialState => Ok(Self::Partial),
            kind => Err(format!("{kind:?} says nothing about damage: {error}")),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Older => f.write_str("an earlier durable state"),
            Self::Refused(kind) => write!(f, "refused ({kind:?})"),
            Self::ReadFails(kind) => write!(f, "reads fail ({kind:?})"),
        }
    }
}

/// Opens damaged files and reads everything. An error text is a broken promise.
pub(crate) fn judge(database: &Database, damaged: &Files, hurt: &Path) -> Result<Outcome, String> {
    let fs = mount(damaged);
    let outcome = match Tree::open(database.plan.options(&fs)) {
        Ok(tree) => opened(database, tree, hurt)?,
        Err(error) => {
            if without_lock(files(fs.as_ref(), Path::new(ROOT))) != without_lock(damaged.clone()) {
                return Err(format!("a refused open changed the directory ({error})"));
            }
            Outcome::Refused(Kind::of(&error)?)
        }
    };
    if matches!(outcome, Outcome::Full | Outcome::Older) && !holds_data(hurt) {
        goes_on(database, &fs)?;
    }
    Ok(outcome)
}

/// Whether a file is one of those that hold entries and values.
fn holds_data(path: &Path) -> bool {
    path.starts_with("/db/tables") || path.starts_with("/db/blobs")
}

fn without_lock(mut files: Files) -> Files {
    files.retain(|path, _| !path.ends_with("LOCK"));
    files
}

fn opened(database: &Database, tree: Tree, hurt: &Path) -> Result<Outcome, String> {
    let mut failed: Option<Error> = None;
    let mut found = Contents::new();
    // Point reads: each is right or says why not.
    let every = database.past.iter().flat_map(|(_, contents)| contents.keys());
    for key in every.chain(database.contents.keys()) {
        match tree.get(key) {
            Ok(Some(value)) => drop(found.insert(key.clone(), value.to_vec())),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
    }
    let mut scanned = Contents::new();
    for pair in tree.iter().pairs() {
        match pair {
            Ok((key, value)) => drop(scanned.insert(key.to_vec(), value.to_vec())),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let is_table = holds_data(hurt);
    let verified = tree.verify().map_err(|error| error.to_string())?;
    if verified.is_clean() == is_table {
        return Err(format!("verify finds {:?}", verified.findings));
    }
    if let Some(error) = failed {
        if error.kind().class() != ErrorClass::Corrupt {
            return Err(format!("a read fails with {:?}: {error}", error.kind()));
        }
        let is_right =
            |part: &Contents| part.iter().all(|(key, value)| database.contents.get(key) == Some(value));
        if !is_right(&found) || !is_right(&scanned) {
            return Err("a read returns what never was written".into());
        }
        let kind = Kind::of(&error)?;
        return Ok(Outcome::ReadFails(kind));
    }
    tree.close().map_err(|error| error.to_string())?;
    if found != scanned {
        return Err("point reads and scans differ".into());
    }
    if scanned == database.contents {
        return Ok(Outcome::Full);
    }
    if database.past.iter().any(|(_, past)| *past == scanned) {
        return Ok(Outcome::Older);
    }
    Err(format!("{} of {} entries, which it never held", scanned.len(), database.contents.len()))
}

/// What was made good stays good: the next open finds nothing to complain about, and the tree can be written.
fn goes_on(database: &Database, fs: &Arc<dyn Fs>) -> Result<(), String> {
    let options =
        VerifyOptions { encryption: database.plan.is_sealed.then(encryption), ..VerifyOptions::default() };
    let before = verify(&Scope::Directory { fs, root: Path::new(ROOT) }, Depth::Manifest, &options);
    let before = before.map_err(|error| format!("verify refuses the recovered directory: {error}"))?;
    let used = before.damage().find(|finding| {
        let name = finding.file.to_string_lossy();
        // Older generations stay as they are until they are swept.
        !name.starts_with("MANIFEST")
    });
    if let Some(finding) = used {
        return Err(format!("damage stays: {finding:?}"));
    }
    let tree = Tree::open(database.plan.options(fs)).map_err(|error| format!("second open: {error}"))?;
    let held = contents(&tree);
    let next = tree.persisted().highest.map_or(SeqNo::ZERO, SeqNo::next);
    tree.insert("zzz", "1", next).map_err(|error| error.to_string())?;
    tree.seal(None);
    tree.flush(&lsm_engine::FlushOptions::default()).map_err(|error| format!("flush: {error}"))?;
    let after = contents(&tree);
    if after.len() != held.len() + 1 {
        return Err(format!("{} entries after one more than {}", after.len(), held.len()));
    }
    tree.close().map_err(|error| error.to_string())
}
