//! A directory that appears under its name complete or not at all.
//!
//! It is built beside its target, as `<target>.staging`, and renamed last. Its lock tells an attempt that is alive from
//! one that died: the second is cleared away by the next, and the first wins. Whatever is not ours is left alone.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_fs::{EntryKind, Fs, FsFile, LockMode, OpenOptions, SyncLevel};
use lsm_journal::{FileName, Folder};
use lsm_types::{IoError, IoKind, Result};

use crate::EngineError;

/// What became of the staging directory of a target.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StagingGc {
    /// There was none.
    Nothing,
    /// It was left behind by an attempt that died, and is gone.
    Removed,
    /// Somebody is at work in it.
    InUse,
}

/// Removes what a checkpoint to `target` that died has left behind. The next attempt does so by itself.
///
/// # Errors
/// `NotOurs` when there is something else in the directory, which then stays as it is; what the file system says.
pub fn gc_staging(fs: &dyn Fs, target: &Path) -> Result<StagingGc> {
    let path = staging_path(target)?;
    if !fs.exists(&path)? {
        return Ok(StagingGc::Nothing);
    }
    Ok(if clear_dead(fs, &path, target)? { StagingGc::Removed } else { StagingGc::InUse })
}

/// A directory on its way to its name. Dropping it removes it.
pub(crate) struct Staging {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    target: PathBuf,
    sync: SyncLevel,
    /// `None` where the file system has no locks.
    lock: Option<Arc<dyn FsFile>>,
    is_published: bool,
}

impl Staging {
    /// Takes the staging directory of `target`, whose name must be free.
    ///
    /// # Errors
    /// `AlreadyExists` when the target is there, or somebody else is about to make it.
    pub(crate) fn claim(fs: Arc<dyn Fs>, target: PathBuf, sync: SyncLevel) -> Result<Self> {
        let path = staging_path(&target)?;
        match fs.create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind == IoKind::AlreadyExists => {
                if fs.exists(&target)? {
                    return Err(EngineError::TargetExists.into());
                }
                if !clear_dead(fs.as_ref(), &path, &target)? {
                    return Err(EngineError::TargetBusy.into());
                }
                fs.create_dir(&path).map_err(|error| busy_if(IoKind::AlreadyExists, error))?;
            }
            Err(error) => return Err(error.into()),
        }
        let lock = match try_lock(fs.as_ref(), &path) {
            Ok(Locked::Taken(lock)) => Some(lock),
            Ok(Locked::NoLocks) => None,
            // Somebody took the directory for one that is dead, and clears it away.
            Ok(Locked::Held) => return Err(EngineError::TargetBusy.into()),
            Err(error) => {
                let _ = fs.remove_dir(&path);
                return Err(moved(error));
            }
        };
        let staging = Self { fs, path, target, sync, lock, is_published: false };
        // Asked while the staging directory is ours: nobody else can publish from now on.
        if staging.fs.exists(&staging.target)? {
            return Err(EngineError::TargetExists.into());
        }
        Ok(staging)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory, all of which has to be durable, its name.
    ///
    /// # Errors
    /// What the file system says; the target does not exist then, or, where it cannot be taken back either, is complete.
    pub(crate) fn publish(mut self) -> Result<()> {
        let parent = parent_of(&self.target);
        let renamed = self.fs.rename(&self.path, &self.target);
        let Err(error) = renamed.and_then(|()| self.fs.sync_dir(parent, self.sync)) else {
            self.is_published = true;
            return Ok(());
        };
        if !self.fs.exists(&self.path).unwrap_or(true) {
            // Taken back by its name first: a target must never be seen half removed.
            self.is_published = self.fs.rename(&self.target, &self.path).is_err();
        }
        Err(error.into())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        if let Err(error) = clear(self.fs.as_ref(), &self.path) {
            tracing::warn!(%error, "a staging directory is left to the next attempt");
        }
        drop(self.lock.take());
    }
}

fn busy_if(kind: IoKind, error: IoError) -> lsm_types::Error {
    if error.kind == kind { EngineError::TargetBusy.into() } else { error.into() }
}

/// What is gone from under somebody who looks at it was published, cleared away or taken by somebody else.
fn moved(error: IoError) -> lsm_types::Error {
    busy_if(IoKind::NotFound, error)
}

/// The directory that holds `target`.
fn parent_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn staging_path(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        let problem = "ends in no name; give the directory that is to be made";
        return Err(EngineError::InvalidArgument { argument: "target", problem }.into());
    };
    let mut staging = name.to_os_string();
    staging.push(".staging");
    Ok(target.with_file_name(staging))
}

enum Locked {
    Taken(Arc<dyn FsFile>),
    Held,
    /// The file system has no locks.
    NoLocks,
}

fn try_lock(fs: &dyn Fs, path: &Path) -> Result<Locked, IoError> {
    let name = FileName::Lock.path(path);
    let file = fs.open(&name, &OpenOptions::CREATE)?;
    // The directory may have been published or cleared away since the file was opened: then the lock is that of
    // another directory, or of none.
    let is_here = || match fs.metadata(&name) {
        Ok(found) => Ok(found.inode == file.metadata()?.inode),
        Err(error) if error.kind == IoKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    match file.try_lock(LockMode::Exclusive) {
        Ok(true) => Ok(if is_here()? { Locked::Taken(file) } else { Locked::Held }),
        Ok(false) => Ok(Locked::Held),
        Err(error) if error.kind == IoKind::Unsupported => Ok(Locked::NoLocks),
        Err(error) => Err(error),
    }
}

/// Removes the directory of an attempt that died; `false` when somebody may be at work in it.
fn clear_dead(fs: &dyn Fs, path: &Path, target: &Path) -> Result<bool> {
    // Looked at before a lock file is made in it.
    check_ours(fs, path)?;
    let is_target = || -> Result<bool, IoError> {
        let inode = fs.metadata(path)?.inode;
        Ok(inode.is_some() && fs.exists(target)? && fs.metadata(target)?.inode == inode)
    };
    if is_target().map_err(moved)? {
        return Ok(false);
    }
    match try_lock(fs, path).map_err(moved)? {
        Locked::Held => Ok(false),
        // Without locks nobody can tell; whoever asks for it by name knows that nobody is there.
        Locked::Taken(_) | Locked::NoLocks => clear(fs, path).map(|()| true),
    }
}

/// The names in a folder of a staging directory: files of ours, and folders.
fn list(fs: &dyn Fs, root: &Path, folder: Folder) -> Result<(Vec<FileName>, Vec<Folder>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs.read_dir(&folder.path(root)).map_err(moved)? {
        let file = FileName::parse(folder, &entry.name).filter(|_| entry.kind == EntryKind::File);
        let is_dir = folder == Folder::Root && entry.kind == EntryKind::Dir;
        let below = Folder::parse(&entry.name).filter(|_| is_dir);
        match (file, below) {
            (Some(file), _) => files.push(file),
            (_, Some(below)) => folders.push(below),
            _ => return Err(EngineError::ForeignFile { name: shown(&entry.name) }.into()),
        }
    }
    Ok((files, folders))
}

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn check_ours(fs: &dyn Fs, path: &Path) -> Result<()> {
    let (_, folders) = list(fs, path, Folder::Root)?;
    folders.into_iter().try_for_each(|folder| list(fs, path, folder).map(drop))
}

/// Removes the directory, if everything in it is ours.
fn clear(fs: &dyn Fs, path: &Path) -> Result<()> {
    check_ours(fs, path)?;
    let (files, folders) = list(fs, path, Folder::Root)?;
    for folder in folders {
        for file in list(fs, path, folder)?.0 {
            fs.remove_file(&file.path(path)).map_err(moved)?;
        }
        fs.remove_dir(&folder.path(path)).map_err(moved)?;
    }
    // The lock last: who finds it gone finds nothing else either.
    let is_lock = |file: &&FileName| **file == FileName::Lock;
    for file in files.iter().filter(|file| !is_lock(file)).chain(files.iter().filter(is_lock)) {
        fs.remove_file(&file.path(path)).map_err(moved)?;
    }
    match fs.remove_dir(path) {
        // Somebody came meanwhile and made a lock file: the directory is theirs now.
        Err(_) if fs.exists(&FileName::Lock.path(path))? => Err(EngineError::TargetBusy.into()),
        removed => removed.map_err(moved),
    }
}
